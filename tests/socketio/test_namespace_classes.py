"""Namespaces whose handlers are the methods of a class."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.socketio.conftest import Serve
from tests.support.inprocess import Client, eventually
from wsgi_sio import ConnectRefused, Namespace, Server, Socket
from wsgi_sio.socketio.packet import CONNECT, CONNECT_ERROR, Packet


class Chat(Namespace):
    """Notes what happens."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(server, name)
        self.seen: list[Any] = []

    def on_connect(self, socket: Socket, auth: dict[str, Any]) -> None:
        if auth.get("stranger"):
            raise ConnectRefused("strangers stay out")
        self.seen.append("connect")

    def on_connection(self, socket: Socket) -> None:
        self.seen.append("connection")

    def on_say(self, socket: Socket, text: str) -> str:
        self.emit("said", text)
        return self.name

    def on_fail(self, socket: Socket) -> None:
        raise ValueError("bad")

    def on_disconnect(self, socket: Socket, reason: str) -> None:
        self.seen.append(("disconnect", reason))

    def helper(self) -> str:
        return "not for clients"


class Loud(Chat):
    def on_say(self, socket: Socket, text: str) -> str:
        return super().on_say(socket, text.upper())

    def on_whisper(self, socket: Socket, text: str) -> str:
        return text.lower()


def ask(client: Client, event: str, *args: Any, nsp: str) -> list[Any]:
    """The acknowledgement of an event, other events skipped."""
    client.emit(event, *args, nsp=nsp, ack=3)
    while (packet := client.receive()).id != 3:
        pass
    return list(packet.data)


def test_methods_handle_the_events_of_their_names(serve: Serve) -> None:
    io = Server()
    chat = io.of("/chat", Chat)
    assert isinstance(chat, Chat) and chat is io.of("chat")
    client = serve(io).client()
    client.connect("/chat")
    client.emit("say", "hello", nsp="/chat", ack=1)
    assert client.expect("said", "/chat") == ["hello"]
    assert client.receive().data == ["/chat"]
    client.close()
    eventually(lambda: len(chat.seen) == 3, "the end")
    assert chat.seen == ["connect", "connection", ("disconnect", "transport close")]


def test_a_gate_that_is_a_method_refuses(serve: Serve) -> None:
    io = Server()
    io.of("/chat", Chat)
    client = serve(io).client()
    client.send(Packet(CONNECT, "/chat", {"stranger": True}))
    packet = client.receive()
    assert (packet.type, packet.data) == (CONNECT_ERROR, {"message": "strangers stay out"})


def test_a_subclass_inherits_overrides_and_adds(serve: Serve) -> None:
    io = Server()
    io.of("/loud", Loud)
    client = serve(io).client()
    client.connect("/loud")
    client.emit("say", "hello", nsp="/loud")
    assert client.expect("said", "/loud") == ["HELLO"]
    assert ask(client, "whisper", "PSST", nsp="/loud") == ["psst"]


@pytest.mark.parametrize("event", ["helper", "on_say", "error", "emit"])
def test_other_methods_are_nothing_for_clients(serve: Serve, event: str) -> None:
    """Nor are those of Namespace itself, whatever their names begin with."""
    io = Server()
    chat = io.of("/chat", Chat)
    chat.on("*", lambda socket, event, *args: "unhandled")
    client = serve(io).client()
    client.connect("/chat")
    assert ask(client, event, nsp="/chat") == ["unhandled"]


def test_handlers_can_be_added_to_it_and_removed(serve: Serve) -> None:
    io = Server()
    chat = io.of("/chat", Chat)
    assert isinstance(chat, Chat)
    chat.on_error(lambda socket, error, event, args: str(error))
    chat.on("more", lambda socket: "more")
    chat.off("say", chat.on_say)
    client = serve(io).client()
    client.connect("/chat")
    client.emit("say", "hello", nsp="/chat", ack=1)
    assert ask(client, "more", nsp="/chat") == ["more"]
    assert ask(client, "fail", nsp="/chat") == ["bad"]


def test_two_namespaces_of_a_class_share_nothing(serve: Serve) -> None:
    io = Server()
    one, two = io.of("/one", Chat), io.of("/two", Chat)
    assert isinstance(one, Chat) and isinstance(two, Chat)
    client = serve(io).client()
    client.connect("/one")
    assert ask(client, "say", "x", nsp="/one") == ["/one"]
    assert one.seen == ["connect", "connection"] and two.seen == []


def test_a_namespace_that_was_made_before_stays_what_it_is() -> None:
    io = Server()
    plain = io.of("/chat")
    assert io.of("/chat", Chat) is plain and type(plain) is Namespace


def test_the_children_of_a_pattern_are_of_its_class(serve: Serve) -> None:
    io = Server()
    rooms = io.of(re.compile(r"^/room-\d+$"), Chat)
    rooms.on("extra", lambda socket: "extra")
    client = serve(io).client()
    for name in ("/room-1", "/room-2"):
        client.connect(name)
        assert ask(client, "say", "x", nsp=name) == [name]
        assert ask(client, "extra", nsp=name) == ["extra"]
    children = [rooms.children[name] for name in ("/room-1", "/room-2")]
    assert [type(child) for child in children] == [Chat, Chat]
    by_hand = io.of("/room-3")
    assert isinstance(by_hand, Chat)


def test_a_class_that_cannot_be_made_refuses_its_clients(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Namespace):
        def __init__(self, server: Server, name: str) -> None:
            raise OSError("no database")

    io = Server()
    io.of(re.compile("^/broken$"), Broken)
    client = serve(io).client()
    client.wire.send("40/broken,")
    assert client.receive().data == {"message": "Invalid namespace"}
    assert "no database" in caplog.text
    client.connect()


def test_a_method_on_error_gets_what_the_handlers_raise(serve: Serve) -> None:
    class Careful(Chat):
        def on_error(self, socket: Socket, error: Exception, event: str, args: list[Any]) -> Any:  # type: ignore[override]
            return {"error": str(error), "event": event}

    io = Server()
    io.of("/careful", Careful)
    client = serve(io).client()
    client.connect("/careful")
    assert ask(client, "fail", nsp="/careful") == [{"error": "bad", "event": "fail"}]
    assert ask(client, "say", "x", nsp="/careful")[0] == "/careful"


def test_a_name_that_a_pattern_accepts_may_be_of_another_class(serve: Serve) -> None:
    io = Server()
    rooms = io.of(re.compile("^/room"), Chat)
    special = io.of("/room-1", Loud)
    assert type(special) is Loud and type(io.of("/room-2")) is Chat
    assert set(rooms.children) == {"/room-1", "/room-2"}


def test_the_children_of_a_parent_keep_their_handler_of_errors(serve: Serve) -> None:
    class Failing(Namespace):
        def on_x(self, socket: Socket) -> None:
            raise ValueError("no")

        def on_error(self, socket: Socket, error: Exception, event: str, args: list[Any]) -> Any:  # type: ignore
            return f"{event} failed"

    io = Server()
    io.of(re.compile("/room.*"), Failing)
    client = serve(io).client()
    client.connect("/room1")
    client.emit("x", nsp="/room1", ack=1)
    assert client.receive().data == ["x failed"]
