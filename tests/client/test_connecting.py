"""Connecting to namespaces, being refused, and leaving."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import Any

import pytest

from tests.client.wire import FAST, Clients, WireServer
from tests.support.inprocess import AT_ONCE, DEADLINE, Background, eventually
from wsgi_sio import ConnectionFailed, ConnectRefused, Disconnected, LocalProtocolError, RemoteProtocolError
from wsgi_sio.client import Client, Manager
from wsgi_sio.exceptions import TimedOut
from wsgi_sio.socketio.packet import CONNECT, DISCONNECT, EVENT, Packet


def test_connect_waits_for_the_servers_answer(clients: Clients, wire: WireServer) -> None:
    client = clients(auth={"token": 1})
    told: list[Any] = []
    client.on("connect", lambda: told.append(client.id))
    assert (client.connected, client.disconnected, client.active, client.id) == (False, True, False, None)
    call = Background(client.connect)
    peer = wire.accept()
    assert peer.expect_connect() == {"token": 1}
    assert not call.done and client.active and not client.connected
    peer.send(Packet(CONNECT, "/", {"sid": "abc"}))
    assert call.result() is client
    assert (client.connected, client.active, client.id, client.recovered) == (True, True, "abc", False)
    eventually(lambda: told == ["abc"], "the connect handler")
    client.connect()  # nothing happens
    peer.expect_silence(0.05)


def test_the_urls_path_is_the_namespace_and_its_query_travels(clients: Clients, wire: WireServer) -> None:
    client = clients("/admin?lang=fr")
    client.connect(wait=False)
    peer = wire.accept()
    assert peer.expect_connect("/admin") is None
    assert client.nsp == "/admin" and "lang=fr" in peer.head and "GET /socket.io/?" in peer.head


@pytest.mark.parametrize("url", ["localhost:5000", "ftp://x", "/chat", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no URL"):
        Client(url)
    with pytest.raises(ValueError, match="URL"):
        Manager(url)


def test_an_unknown_option_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(TypeError, match="reconnection_delay"):
        Client("http://127.0.0.1:1", reconection_delay=1)


def test_auth_may_be_a_callable_that_is_asked_each_time(clients: Clients, wire: WireServer) -> None:
    """It runs on a worker, so it may take its time, and be replaced."""
    tokens = iter("abc")

    def token() -> dict[str, str]:
        time.sleep(0.02)
        return {"token": next(tokens)}

    client = clients(auth=token)
    client.connect(wait=False)
    peer = wire.accept()
    assert peer.welcome() == {"token": "a"}
    peer.drop()
    peer = wire.accept()
    assert peer.welcome() == {"token": "b"}
    client.auth = {"token": "mine"}
    peer.drop()
    assert wire.accept().welcome() == {"token": "mine"}


def test_auth_that_fails_is_told_like_a_refusal(clients: Clients, wire: WireServer) -> None:
    def token() -> dict[str, str]:
        raise OSError("no token today")

    client = clients(auth=token)
    errors: list[Exception] = []
    client.on("connect_error", errors.append)
    call = Background(client.connect)
    peer = wire.accept()
    with pytest.raises(OSError, match="no token today"):
        call.result()
    peer.wait_gone()
    eventually(lambda: len(errors) == 1, "connect_error")
    assert not client.active


def test_auth_that_fails_for_a_connection_that_is_lost_does_not_matter(clients: Clients, wire: WireServer) -> None:
    go_on = threading.Event()
    asked: list[int] = []

    def token() -> dict[str, int]:
        asked.append(1)
        if len(asked) == 1:
            go_on.wait(DEADLINE)
            raise OSError("too late")
        return {"token": len(asked)}

    client = clients(auth=token)
    client.connect(wait=False)
    peer = wire.accept()
    eventually(lambda: asked, "the first question")
    peer.drop()
    peer = wire.accept()
    assert peer.expect_connect() == {"token": 2}
    go_on.set()
    peer.expect_silence(0.05)
    peer.send(Packet(CONNECT, "/", {"sid": "x"}))
    client.connect(timeout=DEADLINE)
    assert client.connected


@pytest.mark.parametrize(("auth", "error"), [("text", TypeError), ({"big": "x" * 2000}, LocalProtocolError)])
def test_auth_that_cannot_be_sent(clients: Clients, wire: WireServer, auth: Any, error: type[Exception]) -> None:
    client = clients(auth=auth)
    call = Background(client.connect)
    peer = wire.accept(maxPayload=1000)
    with pytest.raises(error):
        call.result()
    peer.wait_gone()


def test_no_secrets_of_the_url_are_in_the_log(clients: Clients) -> None:
    client = Client("http://me:secret@example.test:81/chat?token=secret")
    assert repr(client) == "<Client '/chat' of example.test:81>"
    assert repr(client.io) == "<Manager of example.test:81>"


def test_a_refusal_is_raised_and_nothing_reconnects(clients: Clients, wire: WireServer) -> None:
    client = clients()
    errors: list[ConnectRefused] = []
    client.on("connect_error", errors.append)
    call = Background(client.connect)
    peer = wire.accept()
    peer.refuse("not you", {"code": 401})
    with pytest.raises(ConnectRefused, match="not you") as caught:
        call.result()
    assert caught.value.data == {"code": 401}
    assert peer.wait_gone() == []
    eventually(lambda: [error.message for error in errors] == ["not you"], "connect_error")
    assert not client.active and client.wait(0)
    peer = clients.connect(client)  # by hand it may try again
    assert client.connected


def test_nothing_listens(clients: Clients, wire: WireServer) -> None:
    wire.stop()
    client = clients(reconnection=False)
    with pytest.raises(ConnectionFailed):
        client.connect(timeout=DEADLINE)
    assert client.wait(0) and not client.connected


def test_the_servers_http_refusal_is_in_the_error(clients: Clients, wire: WireServer) -> None:
    client = clients(reconnection=False)
    call = Background(client.connect)
    wire.answer("503 Service Unavailable", '{"code":3,"message":"Bad request"}')
    with pytest.raises(ConnectionFailed) as caught:
        call.result()
    assert caught.value.description == 503
    assert caught.value.context == '{"code":3,"message":"Bad request"}'


def test_connect_gives_up_when_its_time_is_over(clients: Clients, wire: WireServer) -> None:
    client = clients()
    started = time.monotonic()
    with pytest.raises(TimedOut, match=r"0\.1 s: the server has not answered") as caught:
        client.connect(timeout=0.1)
    assert time.monotonic() - started < AT_ONCE and caught.value.__cause__ is None
    assert not client.active and client.wait(0)


def test_an_interrupted_connect_is_abandoned(clients: Clients, wire: WireServer) -> None:
    """Ctrl-C leaves nothing behind that goes on trying."""
    client = clients()
    with subprocess.Popen(["sh", "-c", f"sleep 0.2; kill -INT {os.getpid()}"]), pytest.raises(KeyboardInterrupt):
        client.connect(timeout=DEADLINE)
    assert not client.active and client.wait(0)


def test_with_retry_a_failed_first_attempt_is_followed_by_others(clients: Clients, wire: WireServer) -> None:
    client = clients()
    errors: list[Exception] = []
    client.on("connect_error", errors.append)
    call = Background(lambda: client.connect(retry=True))
    for _ in range(2):
        wire.answer("500 Oops", "broken")
    peer = wire.accept()
    peer.welcome()
    call.result()
    eventually(lambda: len(errors) == 2, "both errors")
    assert client.connected


def test_a_server_of_version_2_is_named(clients: Clients, wire: WireServer) -> None:
    client = clients()
    call = Background(client.connect)
    wire.accept().send_text("40")
    with pytest.raises(RemoteProtocolError, match=r"v2\.x"):
        call.result()


def test_disconnect_in_another_thread_ends_the_waiting(clients: Clients, wire: WireServer) -> None:
    client = clients()
    call = Background(client.connect)
    peer = wire.accept()
    peer.expect_connect()
    client.disconnect()
    with pytest.raises(Disconnected):
        call.result()
    peer.wait_gone()


def test_events_before_the_answer_come_first(clients: Clients, wire: WireServer) -> None:
    """Those of a middleware, or of a recovered session: they are kept until CONNECT, and run before its handler."""
    client = clients()
    told: list[Any] = []
    client.on("early", told.append)
    client.on("connect", lambda: told.append("connect"))
    client.connect(wait=False)
    peer = wire.accept()
    peer.expect_connect()
    peer.emit("early", 1)
    peer.emit("early", 2)
    peer.send(Packet(CONNECT, "/", {"sid": "x"}), Packet(EVENT, "/", ["early", 3]))
    eventually(lambda: len(told) == 4, "all")
    assert told == [1, 2, "connect", 3]


def test_early_events_of_a_connection_that_ends_are_forgotten(clients: Clients, wire: WireServer) -> None:
    """The server sends them again: it has not heard that they came."""
    client = clients()
    told: list[Any] = []
    client.on("early", told.append)
    client.connect(wait=False)
    peer = wire.accept()
    peer.expect_connect()
    peer.emit("early", 1)
    peer.drop()
    peer = wire.accept()
    peer.welcome()
    peer.emit("early", 2)
    eventually(lambda: told, "the event")
    assert told == [2]


def test_namespaces_share_one_connection(clients: Clients, wire: WireServer) -> None:
    """The last one that leaves closes it."""
    first, peer = clients.connected()
    second = first.io.socket("admin", auth={"as": "root"})
    assert first.io.socket("/admin") is second and first.io.socket("/") is first
    call = Background(second.connect)
    assert peer.welcome("/admin", "other") == {"as": "root"}
    call.result()
    assert (first.id, second.id) == ("sid", "other")
    told: list[Any] = []
    second.on("news", told.append)
    first.on("news", lambda _: told.append("wrong namespace"))
    peer.emit("news", 1, nsp="/admin")
    eventually(lambda: told, "the event")
    assert told == [1]
    first.disconnect()
    packet = peer.receive()
    assert (packet.type, packet.nsp) == (DISCONNECT, "/")
    second.emit("still here")
    peer.expect("still here", nsp="/admin")
    second.disconnect()
    assert [packet.type for packet in peer.wait_gone()] == [DISCONNECT]


def test_a_late_answer_to_a_socket_that_has_left_is_declined(clients: Clients, wire: WireServer) -> None:
    """The server must not believe that it is there; asking again meanwhile does not send CONNECT twice."""
    first, peer = clients.connected()
    second = first.io.socket("/slow")
    second.connect(wait=False)
    peer.expect_connect("/slow")
    second.disconnect()
    peer.send(Packet(CONNECT, "/slow", {"sid": "late"}))
    packet = peer.receive()
    assert (packet.type, packet.nsp) == (DISCONNECT, "/slow")
    assert not second.connected
    second.connect(wait=False)
    peer.expect_connect("/slow")
    second.disconnect()
    second.connect(wait=False)
    peer.send(Packet(CONNECT, "/slow", {"sid": "new"}))
    second.connect(timeout=DEADLINE)
    assert second.id == "new"
    peer.expect_silence(0.05)


def test_disconnect_tells_the_server_and_the_handlers(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected()
    told: list[Any] = []
    client.on("disconnect", lambda reason, detail: told.append((reason, detail, client.id)))
    client.emit("last words")
    client.disconnect()
    client.disconnect()
    assert (client.connected, client.active, client.id, client.wait(0)) == (False, False, None, True)
    assert [(packet.type, packet.data) for packet in peer.wait_gone()] == [(EVENT, ["last words"]), (DISCONNECT, None)]
    eventually(lambda: told == [("io client disconnect", None, None)], "the disconnect handler")


def test_thrown_out_by_the_server_it_stays_out(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected()
    told: list[str] = []
    client.on("disconnect", told.append)
    peer.throw_out()
    assert client.wait(DEADLINE)
    peer.wait_gone()
    eventually(lambda: told == ["io server disconnect"], "the disconnect handler")
    assert not client.active


def test_a_disconnect_handler_may_connect_again_and_wait_for_it(clients: Clients, wire: WireServer) -> None:
    client, peer = clients.connected()
    again = threading.Event()

    @client.on("disconnect")
    def disconnected(reason: str) -> None:
        assert reason == "io server disconnect"
        client.connect(timeout=DEADLINE)
        again.set()

    peer.throw_out()
    wire.accept().welcome()
    assert again.wait(DEADLINE)
    assert client.connected


def test_a_context_manager_connects_and_disconnects(clients: Clients, wire: WireServer) -> None:
    client = clients()

    def use() -> bool:
        with client as entered:
            assert entered is client
            return client.connected

    call = Background(use)
    peer = wire.accept()
    peer.welcome()
    assert call.result()
    assert [packet.type for packet in peer.wait_gone()] == [DISCONNECT]


def test_a_manager_opens_and_closes_by_hand(wire: WireServer) -> None:
    manager = Manager(wire.url, **FAST)
    told: list[Any] = []
    for event in ("open", "close", "ping", "packet"):
        manager.on(event, lambda *args, event=event: told.append((event, *args)))
    socket = manager.socket("/a")
    manager.open()
    peer = wire.accept()
    eventually(lambda: manager.connected, "the connection")
    assert manager.transport_name == "websocket"
    call = Background(socket.connect)
    peer.welcome("/a")
    call.result()
    reasons: list[str] = []
    socket.on("disconnect", reasons.append)
    peer.send_text("2")
    assert peer.receive_text() == "3"
    eventually(lambda: ("ping",) in told, "ping")
    manager.close()
    peer.wait_gone()
    assert socket.wait(DEADLINE) and not manager.connected
    eventually(lambda: reasons == ["forced close"], "the disconnect handler")
    eventually(lambda: told[-1] == ("close", "forced close", None), "close")
    assert [event for event, *_ in told] == ["open", "packet", "ping", "close"]


def test_a_socket_that_comes_back_over_the_same_connection_hears_again(clients: Clients) -> None:
    client, peer = clients.connected()
    other = client.io.socket("/other")
    heard: list[int] = []
    other.on("news", heard.append)
    for number in range(3):
        call = Background(other.connect)
        peer.welcome("/other")
        call.result()
        peer.emit("news", number, nsp="/other")
        eventually(lambda number=number: heard == list(range(number + 1)), f"event {number}")
        other.disconnect()
        assert peer.receive().type == DISCONNECT
    assert client.connected
