"""Fixtures for pytest, which loads this module by itself once the package is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .client import TestClient
    from .live import LiveServer

# What is imported in the fixtures is not imported into the tests of those who use neither.


@pytest.fixture
def sio_client() -> Iterator[Callable[..., TestClient]]:
    """``sio_client(server, namespace="/", auth=None, **options)``: a :class:`wsgi_sio.testing.TestClient`.

    It has joined ``namespace`` (None: no namespace) and is closed with the test; ``options`` are the client's.
    """
    from .client import TestClient

    with ExitStack() as clients:

        def connect(server: Any, namespace: str | None = "/", auth: Any = None, **options: Any) -> TestClient:
            client = clients.enter_context(TestClient(server, **options))
            if namespace is not None:
                client.connect(namespace, auth)
            return client

        yield connect


@pytest.fixture
def sio_live_server() -> Iterator[Callable[..., LiveServer]]:
    """``sio_live_server(app)``: a :class:`wsgi_sio.testing.LiveServer` for a WSGI application or a Server.

    Its ``url`` is for real clients; it is stopped with the test.
    """
    from .live import LiveServer

    with ExitStack() as servers:
        yield lambda app, **options: servers.enter_context(LiveServer(app, **options))
