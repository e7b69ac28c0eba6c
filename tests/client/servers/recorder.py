"""Writes every numbered event down before it acknowledges it; the file outlives the process, however that ends."""

from __future__ import annotations

import os

from tests.client.servers.site import site
from wsgi_sio import Server, Socket, WSGIApp

io = Server(ping_interval=1, ping_timeout=1)
record = os.open(os.environ["RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@io.on("number")
def number(socket: Socket, name: str, number: int) -> bool:
    os.write(record, f"{name} {number}\n".encode())
    return True


app = WSGIApp(io, site)
