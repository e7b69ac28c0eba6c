"""Socket.IO servers for ``tests/conformance``.

``/socket.io`` has the configuration of the official protocol test suite; ``/calm/socket.io`` has the default, slow
heartbeat, so that tests of other matters never race it. ``/journal/<socket id>`` tells what a socket went through.
"""

from __future__ import annotations

from typing import Any

from tests.apps.protocol_engineio import allow_request
from tests.conformance.journal import Journal
from wsgi_sio import Server, Socket, WSGIApp

journal = Journal()


def configure(io: Server) -> Server:
    """Add the handlers that the official suite expects; they note what happens to each socket."""

    def greet(socket: Socket) -> None:
        journal.record(socket.id, "connection")
        socket.emit("auth", socket.handshake.auth)

    def message(socket: Socket, *args: Any) -> None:
        journal.record(socket.id, "message")
        socket.emit("message-back", *args)

    def message_with_ack(socket: Socket, *args: Any) -> tuple[Any, ...]:
        journal.record(socket.id, "message-with-ack")
        return args

    def disconnecting(socket: Socket, reason: str) -> None:
        journal.record(socket.id, f"disconnecting: {reason}")

    def disconnect(socket: Socket, reason: str) -> None:
        journal.record(socket.id, f"disconnect: {reason}")

    for namespace in (io.of("/"), io.of("/custom")):
        namespace.on("connection", greet)
        namespace.on("disconnecting", disconnecting)
        namespace.on("disconnect", disconnect)
    io.on("message", message)
    io.on("message-with-ack", message_with_ack)
    return io


quick = configure(
    Server(path="/socket.io", ping_interval=0.3, ping_timeout=0.2, connect_timeout=1.0, max_http_buffer_size=1_000_000)
)
calm = configure(Server(path="/calm/socket.io", allow_request=allow_request))
app = WSGIApp(quick, WSGIApp(calm, journal))
