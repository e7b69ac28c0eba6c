"""An application that gives clients their lost connections back; ``tests/js/recovery.js`` drives it."""

from __future__ import annotations

from wsgi_sio import Server, Socket, WSGIApp

io = Server(ping_interval=1, ping_timeout=5, connection_state_recovery=True)


@io.on("connection")
def connection(socket: Socket) -> None:
    socket.data["connections"] = socket.data.get("connections", 0) + 1
    socket.emit("welcome", socket.data["connections"])


@io.on("join")
def join(socket: Socket, room: str) -> None:
    socket.join(room)


@io.on("lose me")
def lose(socket: Socket, count: int) -> None:
    """Cut the connection off, and emit while it is gone."""
    socket.conn.session.close("transport close", abort=True)
    for number in range(count):
        io.to("room").emit("missed", number, b"\x00\xff")
        io.to("another room").emit("not missed")
        socket.emit("missed too", number)


app = WSGIApp(io)
