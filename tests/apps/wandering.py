"""An application of several workers whose clients lose their connections; ``tests/js/wandering.js`` drives it."""

from __future__ import annotations

import os
import threading
from itertools import count

from wsgi_sio import Server, Socket, WSGIApp

io = Server(ping_interval=1, ping_timeout=5, connection_state_recovery=True)
in_order, numbers = threading.Lock(), count()


@io.on_server_side("shout")
def shout() -> None:
    """Emit what each client has to get once, in this order."""
    with in_order:
        io.to("room").emit("shout", os.getpid(), next(numbers))


@io.on("connection")
def connection(socket: Socket) -> None:
    socket.data["connections"] = socket.data.get("connections", 0) + 1
    socket.join("room")
    socket.emit("welcome", os.getpid(), socket.data["connections"])


@io.on("lose me")
def lose(socket: Socket) -> None:
    """Cut the connection off; all workers emit while it is gone, or is just coming back."""
    socket.conn.session.close("transport close", abort=True)
    for _ in range(3):
        shout()
    io.server_side_emit("shout")


app = WSGIApp(io)
