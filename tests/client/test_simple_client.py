"""SimpleClient: no handlers, for scripts."""

from __future__ import annotations

import pytest

from tests.client.wire import FAST, WireServer
from tests.support.inprocess import DEADLINE, Background, eventually
from wsgi_sio import AckTimeout, ConnectRefused, Disconnected
from wsgi_sio.client import SimpleClient
from wsgi_sio.exceptions import TimedOut


def test_connect_emit_call_receive(wire: WireServer) -> None:
    simple = SimpleClient(wire.url, auth={"token": 1}, **FAST)
    entered = Background(simple.__enter__)
    peer = wire.accept()
    assert peer.welcome() == {"token": 1}
    assert entered.result() is simple
    assert simple.connected and simple.id == "sid"
    simple.emit("x", 1, b"2")
    peer.expect("x", 1, b"2")
    call = Background(lambda: simple.call("y", timeout=DEADLINE))
    peer.acknowledge(peer.expect("y"), "answer")
    assert call.result() == "answer"
    with pytest.raises(AckTimeout):
        simple.call("z", timeout=0.02)
    peer.expect("z")
    peer.emit("news", 1, {"a": b"x"})
    peer.emit("asked", ack=5)
    assert simple.receive(timeout=DEADLINE) == ["news", 1, {"a": b"x"}]
    assert simple.receive() == ["asked"]
    assert peer.receive().data == []
    with pytest.raises(TimedOut, match=r"0\.02"):
        simple.receive(timeout=0.02)
    assert simple.__exit__(None, None, None) is None  # type: ignore[func-returns-value]
    assert not simple.connected
    peer.wait_gone()


def test_receive_waits_through_a_reconnection(wire: WireServer) -> None:
    simple = SimpleClient(**FAST)
    call = Background(lambda: simple.connect(wire.url))
    peer = wire.accept()
    peer.welcome()
    call.result()
    receive = Background(lambda: simple.receive(timeout=DEADLINE))
    peer.drop()
    peer = wire.accept()
    peer.welcome()
    peer.emit("here", 1)
    assert receive.result() == ["here", 1]
    simple.disconnect()


def test_receive_gives_what_came_and_then_tells_that_it_is_over(wire: WireServer) -> None:
    simple = SimpleClient(wire.url, **FAST)
    call = Background(simple.connect)
    peer = wire.accept()
    peer.welcome()
    call.result()
    peer.emit("last")
    peer.throw_out()
    eventually(lambda: not simple.connected, "the end")
    assert simple.receive(timeout=DEADLINE) == ["last"]
    with pytest.raises(Disconnected):
        simple.receive()
    again = Background(simple.connect)
    wire.accept().welcome()
    again.result()
    blocked = Background(simple.receive)
    simple.disconnect()
    with pytest.raises(Disconnected):
        blocked.result()


def test_receive_learns_that_no_attempt_is_left(wire: WireServer) -> None:
    simple = SimpleClient(wire.url, reconnection_attempts=1, **FAST)
    call = Background(simple.connect)
    peer = wire.accept()
    peer.welcome()
    call.result()
    receive = Background(simple.receive)
    wire.stop()
    peer.drop()
    with pytest.raises(Disconnected):
        receive.result()


def test_before_connecting(wire: WireServer) -> None:
    simple = SimpleClient()
    assert not simple.connected and simple.id is None
    with pytest.raises(ValueError, match="URL"):
        simple.connect()
    with pytest.raises(Disconnected):
        simple.emit("x")
    simple.disconnect()
    call = Background(lambda: simple.connect(wire.url, **FAST))
    wire.accept().refuse("no")
    with pytest.raises(ConnectRefused):
        call.result()
    with pytest.raises(TimedOut):
        simple.connect(wire.url, timeout=0.05, **FAST)


def test_an_empty_url_is_not_the_one_given_before() -> None:
    simple = SimpleClient("http://127.0.0.1:1")
    with pytest.raises(ValueError, match="'' is no URL"):
        simple.connect("")


def test_a_context_manager_connects_once_there_is_a_url(wire: WireServer) -> None:
    with SimpleClient(**FAST) as simple:
        call = Background(lambda: simple.connect(wire.url))
        wire.accept().welcome(sid="first")
        call.result()
        assert simple.__enter__() is simple and simple.id == "first"
    assert not simple.connected
    again = Background(simple.__enter__)
    wire.accept().welcome(sid="second")
    assert again.result().id == "second"
    simple.disconnect()
