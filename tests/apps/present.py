"""The application of ``tests/live/test_presence.py``: clients ask who is there, as their worker knows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from wsgi_sio import AckTimeout, Server, Socket, WSGIApp
from wsgi_sio.adapters import redis_adapter

url = os.environ.get("REDIS_URL")
io = Server(adapter=redis_adapter(url) if url else None)
told: set[str] = set()
online, lobby = io.presence(), io.presence("lobby")


@online.on_change
def changed(change: Any) -> None:
    told.update(change.joined)
    told.difference_update(change.left)
    io.local.emit("online", change.count)


@io.on("connect")
def connect(socket: Socket) -> None:
    socket.join("lobby")


@io.on("pid")
def pid(socket: Socket) -> int:
    return os.getpid()


@io.on("who is there?")
def who(socket: Socket) -> dict[str, Any]:
    try:
        asked = io.count()
    except AckTimeout:  # Redis has not noticed yet that one is dead
        asked = -1
    return {
        "ids": sorted(online.ids),
        "told": sorted(told),
        "count": online.count,
        "lobby": lobby.count,
        "asked": asked,
    }


def page(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


app = WSGIApp(io, page)
