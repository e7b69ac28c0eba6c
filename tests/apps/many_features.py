"""The application of ``tests/live/test_several_workers_features.py``: clients have their worker do what is to be seen.

It is ``many.py`` with more handlers.
"""

from __future__ import annotations

import os
import re
from typing import Any

from tests.apps.many import app, io
from wsgi_sio import Socket

__all__ = ["app"]

notes: list[Any] = []
dynamic = io.of(re.compile(r"^/room-\d+$"))


@io.on("connection")
def listen(socket: Socket) -> None:
    sent: list[Any] = []
    socket.data["sent"] = sent
    socket.on_any_outgoing(lambda event, *args: sent.append([event, *args]) if event == "told" else None)


@io.on("sent")
def what_was_sent(socket: Socket) -> list[Any]:
    return socket.data["sent"]


@io.on("join")
def join(socket: Socket, room: str) -> str:
    socket.join(room)
    return room


@io.on("rooms")
def rooms(socket: Socket) -> list[Any]:
    return sorted(socket.rooms - {socket.id})


@io.on("tell")
def tell(socket: Socket, room: str | None, *args: Any) -> None:
    (io if room is None else io.to(room)).emit("told", *args)


@io.on("tell others")
def tell_others(socket: Socket, *args: Any) -> None:
    socket.broadcast.emit("told", *args)


@io.on("tell but")
def tell_but(socket: Socket, room: str, but: str, *args: Any) -> None:
    io.to(room).except_(but).emit("told", *args)


@io.on("tell mine")
def tell_mine(socket: Socket, *args: Any) -> None:
    io.local.emit("told", *args)


@io.on("ask")
def ask(socket: Socket, room: str | None) -> list[Any]:
    return sorted((io if room is None else io.to(room)).timeout(10).emit_with_ack("question", 7), key=str)


@io.on("ask one")
def ask_one(socket: Socket, sid: str) -> Any:
    (other,) = io.in_(sid).fetch_sockets()
    return other.emit_with_ack("question", 8)


@io.on("fetch")
def fetch(socket: Socket, room: str | None) -> list[Any]:
    return sorted(other.id for other in (io if room is None else io.in_(room)).fetch_sockets())


@io.on("sockets join")
def sockets_join(socket: Socket, room: str, other: str) -> None:
    io.in_(room).sockets_join(other)


@io.on("sockets leave")
def sockets_leave(socket: Socket, room: str, other: str) -> None:
    io.in_(room).sockets_leave(other)


@io.on("dismiss")
def dismiss(socket: Socket, room: str, close: bool = True) -> None:
    io.in_(room).disconnect_sockets(close)


@io.on("note")
def note(socket: Socket, value: Any) -> None:
    io.server_side_emit("note", value)


@io.on_server_side("note")
def keep(value: Any) -> None:
    notes.append(value)


@io.on("notes")
def what_was_noted(socket: Socket) -> list[Any]:
    return notes


@io.on("whose")
def whose(socket: Socket) -> list[Any]:
    return sorted(io.server_side_emit_with_ack("pid"))


@io.on_server_side("pid")
def pid() -> int:
    return os.getpid()


@dynamic.on("tell")
def tell_in_dynamic(socket: Socket, *args: Any) -> None:
    socket.nsp.emit("told", socket.nsp.name, *args)
