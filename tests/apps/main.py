"""The application that ``tests/js/scenario.js`` drives; ``tests/js/reference_server.js`` is the same one on Node.js.

Options of the server can be given as JSON in the environment variable ``SIO_OPTIONS``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from wsgi_sio import AckTimeout, ConnectRefused, Server, Socket, WSGIApp

NAMESPACES = ("/", "/chat", "/members")

io = Server(**{"ping_interval": 1, "ping_timeout": 5, **json.loads(os.environ.get("SIO_OPTIONS", "{}"))})


# --- connecting ---


@io.on("connect")
def authorize(socket: Socket, auth: Any) -> bool | None:
    token = socket.handshake.auth.get("token")
    if token == "wrong":
        raise ConnectRefused("not authorized", {"code": 401, "hint": "wrong token"})
    return False if token == "banned" else None


@io.on("connection")
def greet(socket: Socket) -> None:
    handshake = socket.handshake
    socket.emit("welcome", {"id": socket.id, "auth": handshake.auth, "lang": handshake.query.get("lang")})
    socket.on("private", lambda *args: [socket.id, *args])
    socket.once("private once", lambda: "first")


@io.on("disconnecting")
def remember_rooms(socket: Socket) -> None:
    socket.data["rooms"] = sorted(socket.rooms - {socket.id})


@io.on("disconnect")
def report_leaving(socket: Socket, reason: str) -> None:
    name = socket.handshake.auth.get("name")
    io.to(f"watching {name}").emit("left", name, reason, socket.data["rooms"], sorted(socket.rooms))


@io.on("kick")
def kick(socket: Socket, close: bool) -> None:
    socket.disconnect(close=close)


@io.on("drop connection")
def drop_connection(socket: Socket) -> None:
    socket.conn.close()


# --- events and acks ---


@io.on("echo")
def echo(socket: Socket, *args: Any) -> tuple[Any, ...]:
    return args


@io.on("echo event")
def echo_event(socket: Socket, *args: Any) -> None:
    socket.emit("echoed", *args)


@io.on("message")
def message(socket: Socket, *args: Any) -> None:
    socket.send(*args)


@io.on("ack none")
def ack_none(socket: Socket) -> None:
    return None


@io.on("ack list")
def ack_list(socket: Socket) -> list[Any]:
    return ["one", "argument"]


@io.on("ack tuple")
def ack_tuple(socket: Socket) -> tuple[Any, ...]:
    return "a", 2, {"three": [3, None]}


@io.on("describe")
def describe(socket: Socket, *args: Any) -> list[Any]:
    """Answer with what arrived, binary data as its length and its first byte."""
    return [summarize(arg) for arg in args]


def summarize(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"binary {len(value)} {value[:1].hex()}"
    if isinstance(value, dict):
        return {key: summarize(item) for key, item in value.items()}
    return [summarize(item) for item in value] if isinstance(value, list) else value


@io.on("send binary")
def send_binary(socket: Socket) -> tuple[bytes, dict[str, Any]]:
    socket.emit("binary", b"\x00\x01", {"deep": [b"\xff" * 3, {"er": b""}]}, "text")
    return b"acked", {"inner": bytearray(b"also")}


@io.on("ask")
def ask(socket: Socket, question: Any) -> Any:
    return socket.emit_with_ack("question", question, timeout=5)


@io.on("ask with callback")
def ask_with_callback(socket: Socket, question: Any) -> None:
    socket.emit("question", question, callback=lambda *answer: socket.emit("answered", *answer))


@io.on("ask in vain")
def ask_in_vain(socket: Socket) -> str:
    try:
        socket.emit_with_ack("silence", timeout=0.2)
    except AckTimeout:
        return "timeout"
    return "answer"


@io.on("ask in vain with callback")
def ask_in_vain_with_callback(socket: Socket) -> None:
    socket.timeout(0.2).emit("silence", callback=lambda error, *answer: socket.emit("gave up", error is not None))


@io.on("vote")
def vote(socket: Socket, room: str, question: str) -> list[Any]:
    return io.to(room).timeout(5).emit_with_ack("vote", question)


@io.on("emit reserved")
def emit_reserved(socket: Socket, event: str) -> str:
    try:
        socket.emit(event)
    except Exception as error:  # whatever its type, it must not reach the client as an event
        return type(error).__name__
    return ""


# --- rooms ---


@io.on("join")
def join(socket: Socket, rooms: str | list[str]) -> list[str]:
    socket.join(rooms)
    return sorted(socket.rooms - {socket.id})


@io.on("leave")
def leave(socket: Socket, room: str) -> list[str]:
    socket.leave(room)
    return sorted(socket.rooms - {socket.id})


@io.on("publish")
def publish(socket: Socket, by: str, chain: list[list[Any]], *args: Any) -> None:
    """Emit "published" through a chain of operators: ``[["to", "a"], ["except", "b"], ["local"]]``."""
    operator: Any = io if by == "server" else socket
    for name, *parameters in chain:
        operator = getattr(operator, {"in": "in_", "except": "except_"}.get(name, name))
        if parameters:
            operator = operator(*parameters)
    operator.emit("published", *args)


# --- many events ---


@io.on("count")
def count(socket: Socket, number: int) -> None:
    socket.data.setdefault("counted", []).append(number)


@io.on("counted")
def counted(socket: Socket) -> list[int]:
    return socket.data.get("counted", [])


@io.on("burst")
def burst(socket: Socket, length: int) -> None:
    for number in range(length):
        socket.emit("number", number)


@io.on("tick")
def tick(socket: Socket, length: int, pause: float) -> None:
    """Emit ``length`` numbers from a background task, one every ``pause`` seconds."""
    io.start_background_task(send_ticks, socket, length, pause)


def send_ticks(socket: Socket, length: int, pause: float) -> None:
    for number in range(length):
        socket.emit("number", number)
        io.sleep(pause)
    io.to(socket.id).emit("ticked")


# --- other namespaces ---

chat = io.of("/chat")
members = io.of("/members")


@chat.on("echo")
def echo_in_chat(socket: Socket, *args: Any) -> tuple[Any, ...]:
    return ("chat", socket.nsp.name, *args)


@chat.on("publish")
def publish_in_chat(socket: Socket, *args: Any) -> None:
    chat.emit("published", *args)


@chat.on("kick")
def kick_from_chat(socket: Socket, close: bool) -> None:
    socket.disconnect(close=close)


@members.use
def only_members(socket: Socket) -> None:
    if "name" not in socket.handshake.auth:
        raise ConnectRefused("members only", {"code": 403})
    socket.data["name"] = socket.handshake.auth["name"].title()


@members.on("who am i")
def who_am_i(socket: Socket) -> str:
    return socket.data["name"]


# --- the site around it ---


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Every page of the site: how many sockets each namespace has."""
    body = json.dumps({name: len(io.of(name).sockets) for name in NAMESPACES}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


app = WSGIApp(io, site)
