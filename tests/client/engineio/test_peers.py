"""The engine against others' servers: the reference from npm, python-engineio, and ours under real WSGI servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.conftest import TRANSPORTS, Connect
from tests.live.kinds import first_everyday
from tests.support.inprocess import DEADLINE, eventually
from tests.support.node import start_node
from tests.support.servers import SERVERS, start_server

WAYS = (*TRANSPORTS, TRANSPORTS)
each_way = pytest.mark.parametrize("transports", WAYS, ids=["polling", "websocket", "upgrade"])


@each_way
def test_the_reference(node_modules: Path, client: Connect, transports: Any) -> None:
    """Socket.IO packets by hand: CONNECT, then echoes, text and binary, before, during and after the upgrade."""
    with start_node("reference_server.js") as script:
        opened = client(script.next_line()["url"], transports=transports).open()
        opened.send("0")
        eventually(lambda: len(opened.messages) == 2, "CONNECT and welcome")
        opened.messages.clear()
        for number in range(200):
            opened.send(
                f'2["echo event",{number},"é€😀"]', '51-["echo event",{"_placeholder":true,"num":0}]', b"\x00\xff"
            )
        expected: list[str | bytes] = []
        for number in range(200):
            expected += [f'2["echoed",{number},"é€😀"]', '51-["echoed",{"_placeholder":true,"num":0}]', b"\x00\xff"]
        opened.expect(*expected, timeout=15)
        if transports == TRANSPORTS:
            opened.upgraded()
        eventually(lambda: ("ping",) in opened.told, "a ping")
        assert opened.close() == ("forced close", None)


@pytest.fixture
def python_engineio() -> Iterator[str]:
    """The URL of a python-engineio server that echoes."""
    import engineio
    from werkzeug.serving import make_server

    server = engineio.Server(async_mode="threading", ping_interval=1, ping_timeout=2)
    server.on("message", server.send)
    http = make_server("127.0.0.1", 0, engineio.WSGIApp(server), threaded=True)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join(DEADLINE)


@each_way
def test_python_engineio(python_engineio: str, client: Connect, transports: Any) -> None:
    opened = client(python_engineio, path="/engine.io", transports=transports).open()
    messages: list[str | bytes] = []
    for number in range(100):
        messages += [f"é {number}", bytes([number])]
        opened.send(*messages[-2:])
    eventually(lambda: len(opened.messages) == 200, "the echoes", 15)
    assert sorted(map(repr, opened.messages)) == sorted(map(repr, messages))  # its handlers run beside each other
    if transports == TRANSPORTS:
        opened.upgraded()
    eventually(lambda: ("ping",) in opened.told, "a ping")
    assert opened.close()[0] == "forced close"


@each_way
@pytest.mark.parametrize("kind", first_everyday(SERVERS))
def test_our_server_under_real_servers(client: Connect, kind: str, transports: Any) -> None:
    with start_server(kind, "tests.apps.protocol_engineio:app") as server:
        if kind == "waitress" and transports == "websocket":
            client(server.url, path="/engine.io", transports=transports).fail()
            return
        opened = client(server.url, path="/engine.io", transports=transports).open()
        messages: list[str | bytes] = []
        for number in range(200):
            messages += [f"é {number}", bytes([number])]
            opened.send(*messages[-2:])
        opened.expect(*messages, timeout=15)
        if transports == TRANSPORTS and kind != "waitress":
            opened.upgraded()
        eventually(lambda: opened.told.count(("ping",)) > 1, "pings")
        assert opened.close() == ("forced close", None)
        assert server.problems() == []
