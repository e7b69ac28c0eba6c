"""Echoes, in MessagePack."""

from __future__ import annotations

from typing import Any

from tests.client.servers.site import site
from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.socketio import packet_msgpack

io = Server(parser=packet_msgpack)


@io.on("echo")
def echo(socket: Socket, *args: Any) -> tuple[Any, ...]:
    return args


app = WSGIApp(io, site)
