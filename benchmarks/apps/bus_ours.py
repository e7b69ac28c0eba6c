"""wsgi_sio with its Redis adapter, for ``benchmarks.bus``: every client is in the room, to which it emits when
somebody tells it to; REDIS_URL, REDIS_KEY."""

import os
import socket
import threading

from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.adapters import redis_adapter

io = Server(adapter=redis_adapter(os.environ["REDIS_URL"], key=os.environ["REDIS_KEY"]))
app = WSGIApp(io)


@io.on("connection")
def connection(client: Socket) -> None:
    client.join("room")


@io.on("pace")
def pace(client: Socket) -> int:
    """Emit as many events as each byte says that comes by a connection: the port for it."""
    sock = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=emit, args=(sock,), daemon=True).start()
    return int(sock.getsockname()[1])


def emit(server: socket.socket) -> None:
    sock, _ = server.accept()
    number = 0
    while counts := sock.recv(4096):
        for _ in range(sum(counts)):
            number += 1
            io.to("room").emit("msg", f"{number:08d}".ljust(100, "."))
