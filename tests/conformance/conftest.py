"""The servers that the conformance tests talk to.

Every test runs against each kind of server of this world. With ``WSGI_SIO_CONFORMANCE_URL=http://127.0.0.1:PORT`` it
runs against that server instead, for example a Node.js server with the paths, options and journal of
``tests/apps/protocol_engineio.py`` and ``tests/apps/protocol_socketio.py``: so the tests themselves are checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conformance.raw import Endpoint
from tests.support.servers import SERVERS, RunningServer, start_server

REFERENCE_URL = os.environ.get("WSGI_SIO_CONFORMANCE_URL")
REFERENCE = "reference"
POLLING_ONLY = {"waitress"}
BUFFERING = {"waitress"}  # reads the whole body before the application sees the request


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "websocket: needs a server that can upgrade to WebSocket")
    config.addinivalue_line("markers", "unbuffered: needs a server that hands a request over before its body has come")
    config.addinivalue_line("markers", "differs(why): deliberately unlike the reference, so not run against it")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" not in metafunc.fixturenames:
        return
    kinds = [REFERENCE] if REFERENCE_URL else list(SERVERS)
    if metafunc.definition.get_closest_marker("websocket"):
        kinds = [kind for kind in kinds if kind not in POLLING_ONLY]
    if metafunc.definition.get_closest_marker("unbuffered"):
        kinds = [kind for kind in kinds if kind not in BUFFERING]
    everyday, *others = kinds  # one server is enough for every day
    slow = [pytest.param(kind, marks=pytest.mark.slow) for kind in others]
    metafunc.parametrize("kind", [everyday, *slow], scope="module")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if REFERENCE_URL and (mark := item.get_closest_marker("differs")):
        pytest.skip(mark.args[0])


@pytest.fixture(scope="module")
def engineio_server(kind: str) -> Iterator[RunningServer | None]:
    """A process that serves ``tests.apps.protocol_engineio``; None for the reference."""
    yield from _serve(kind, "tests.apps.protocol_engineio:app")


@pytest.fixture(scope="module")
def socketio_server(kind: str) -> Iterator[RunningServer | None]:
    """A process that serves ``tests.apps.protocol_socketio``; None for the reference."""
    yield from _serve(kind, "tests.apps.protocol_socketio:app")


@pytest.fixture
def upgrades(kind: str) -> list[str]:
    """The transports that this kind of server can offer to a polling client."""
    return [] if kind in POLLING_ONLY else ["websocket"]


@pytest.fixture
def engine(engineio_server: RunningServer | None) -> Iterator[Endpoint]:
    """The Engine.IO echo server with the official suite's configuration."""
    yield from _healthy(engineio_server, "/engine.io")


@pytest.fixture
def calm_engine(engineio_server: RunningServer | None) -> Iterator[Endpoint]:
    """The Engine.IO echo server with a heartbeat too slow to be met in a test."""
    yield from _healthy(engineio_server, "/calm/engine.io")


@pytest.fixture
def socketio(socketio_server: RunningServer | None) -> Iterator[Endpoint]:
    """The Socket.IO server with the official suite's configuration."""
    yield from _healthy(socketio_server, "/socket.io")


@pytest.fixture
def calm_socketio(socketio_server: RunningServer | None) -> Iterator[Endpoint]:
    """The Socket.IO server with a heartbeat too slow to be met in a test."""
    yield from _healthy(socketio_server, "/calm/socket.io")


def _serve(kind: str, app: str) -> Iterator[RunningServer | None]:
    if REFERENCE_URL:
        yield None
        return
    with start_server(kind, app) as server:
        yield server


def _healthy(server: RunningServer | None, path: str) -> Iterator[Endpoint]:
    """Yield the endpoint; afterwards it must still serve a new client, and its log must show no error."""
    url = REFERENCE_URL or (server.url if server else "")
    known = len(server.problems()) if server else 0
    endpoint = Endpoint(url, path)
    yield endpoint
    endpoint.hang_up()
    fresh = Endpoint(url, path)
    fresh.open_polling()
    fresh.hang_up()
    if server:
        assert server.problems()[known:] == []
