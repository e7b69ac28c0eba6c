"""The behaviours that the reference's own tests assert, in our words; docs/reference_tests.rst says which is which."""

from __future__ import annotations

from typing import Any

import pytest

from tests.socketio.conftest import Serve, serve
from tests.support.inprocess import Client, InProcess, eventually
from wsgi_sio import Server, Socket

__all__ = ["TRANSPORTS", "Serve", "join", "serve", "settle", "sync"]

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "polling"])


def join(
    process: InProcess, io: Server, nsp: str = "/", transport: str = "websocket", **options: Any
) -> tuple[Client, Socket]:
    """A client that has joined a namespace, and its socket."""
    client = process.client(transport, **options)
    return client, io.of(nsp).sockets[client.connect(nsp)]


def sync(client: Client, socket: Socket) -> list[list[Any]]:
    """The events that the client was sent until now, as lists of name and arguments."""
    socket.emit("that was all")
    events = []
    while (data := client.receive().data) != ["that was all"]:
        events.append(data)
    return events


def settle(*sockets: Socket) -> None:
    """Wait until nothing is on its way to these clients, so that they can take a volatile event (polling: a GET waits).

    That a client has what was sent to it does not say that whoever wrote it has noticed.
    """
    for socket in sockets:
        eventually(lambda socket=socket: socket.conn.session.transport.idle, "an idle transport")
