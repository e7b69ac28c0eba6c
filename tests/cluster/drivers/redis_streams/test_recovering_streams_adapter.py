"""Connection state recovery between servers of Node with @socket.io/redis-streams-adapter and ours, both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import simple_websocket

from tests.cluster.drivers.test_node_redis_interop import wait_for_readers
from tests.socketio.test_recovery import Visitor, gone, socket_of
from tests.support.inprocess import DEADLINE, Client, InProcess, eventually
from tests.support.node_peer import NodePeer
from tests.support.redis import RedisServer, running_redis
from wsgi_sio import Server
from wsgi_sio.adapters import redis_streams_adapter


class Wire:
    """A WebSocket to a real server."""

    def __init__(self, port: int) -> None:
        self._ws = simple_websocket.Client(f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket")
        self._ws._handle_events()  # what has come with the 101 it leaves lying until more comes
        assert self._ws.receive(DEADLINE).startswith("0")

    def send(self, *messages: Any) -> None:
        for message in messages:
            self._ws.send(message)

    def receive(self, timeout: float = DEADLINE) -> Any:
        while (message := self._ws.receive(timeout)) == "2":
            self._ws.send("3")
        assert message is not None, "nothing came"
        return message

    def close(self) -> None:
        self._ws.close()


class NodeProcess:
    """As :class:`InProcess`, for a server of Node."""

    def __init__(self, peer: NodePeer) -> None:
        self._port = peer.do("port")

    def client(self, transport: str) -> Client:
        return Client(Wire(self._port))  # type: ignore[arg-type]


class Both:
    def __init__(self, redis: RedisServer) -> None:
        more = {"connectionStateRecovery": {"maxDisconnectionDuration": 60_000}, "pingInterval": 5000}
        self.node = NodePeer("redis_peer.js", "streams", redis.url, "{}", json.dumps(more))
        self.io = Server(adapter=redis_streams_adapter(redis.url), connection_state_recovery=True)
        self.ours = InProcess(self.io)
        self.theirs: Any = NodeProcess(self.node)
        self.redis = redis

    def receive(self, visitor: Visitor, name: str) -> list[Any]:
        while (event := visitor.receive())[0] != name:
            pass
        return event

    def gone_from_node(self, visitor: Visitor) -> None:
        eventually(lambda: not any(visitor.sid in rooms for rooms in self.node.do("rooms")), "its end in Node")


@pytest.fixture
def both(node_modules: Path) -> Iterator[Both]:
    with running_redis() as redis:
        both = Both(redis)
        try:
            wait_for_readers(redis, 1)
            yield both
        finally:
            both.node.kill()
            both.io.close()
            both.ours.close()


def emit_from_both(both: Both, count: int) -> None:
    for number in range(count):
        if number % 2:
            both.io.to("nodes").emit("e", number, b"x")
            both.node.do("emitTo", "elsewhere", [], "no")
        else:
            both.node.do("emitTo", "nodes", [], "e", number, b"x")
            both.io.except_("nodes").emit("no")


def test_from_node_to_ours(both: Both) -> None:
    both.io.emit("x")
    bystander = Visitor(both.ours)
    visitor = Visitor(both.theirs)
    both.io.emit("first", b"\x01")
    assert both.receive(visitor, "first") == ["first", b"\x01"]
    both.receive(bystander, "first")
    visitor.events.clear()
    visitor.lose()
    both.gone_from_node(visitor)
    emit_from_both(both, 10)
    both.io.emit("end")
    both.receive(bystander, "end")
    visitor.process = both.ours
    assert visitor.back()
    if "end" not in visitor.names:
        both.receive(visitor, "end")
    numbers = [event[1] for event in visitor.events if event[0] == "e"]
    assert "no" not in visitor.names and sorted(numbers) == list(range(10))
    socket = socket_of(both.io, visitor)
    assert socket.rooms == {socket.id, "nodes"} and socket.data == {"name": "node"}
    both.node.do("emitTo", "nodes", [], "live")
    assert visitor.receive() == ["live"]


@pytest.mark.parametrize("killed", [False, True], ids=["left", "killed"])
def test_from_ours_to_node(both: Both, killed: bool) -> None:
    """Also when our process was killed, which in Node's own nobody could come back from."""
    visitor = Visitor(both.ours)
    socket = socket_of(both.io, visitor)
    socket.data["name"] = "python"
    socket.join("nodes")
    both.io.emit("first")
    assert both.receive(visitor, "first") == ["first"]
    visitor.events.clear()
    if killed:
        both.io.sockets.adapter._sessions.save(socket)  # type: ignore[attr-defined]
        both.io.sockets.adapter.bus.call((b"PING",))  # type: ignore[attr-defined]
        sid = socket.id
    else:
        sid = visitor.sid
        visitor.lose()
        gone(both.io, visitor)
    emit_from_both(both, 10)
    both.node.do("emit", "end")
    eventually(lambda: "end" in [event[0] for event in both.node.do("seen")], "the events in Node")
    visitor.process = both.theirs
    assert visitor.back() and visitor.sid == sid
    if "end" not in visitor.names:
        both.receive(visitor, "end")
    numbers = [event[1] for event in visitor.events if event[0] == "e"]
    assert "no" not in visitor.names and sorted(numbers) == list(range(10))
    (found,) = [one for one in both.node.do("fetchIn", "nodes") if one["id"] == visitor.sid][:1]
    assert set(found["rooms"]) == {visitor.sid, "nodes"}
    both.io.to("nodes").emit("live")
    assert visitor.receive() == ["live"]
