"""What clients are measured against, whichever they are: for gunicorn, ``benchmarks.apps.peer_of_clients:app``."""

from wsgi_sio import Server, Socket, WSGIApp

io = Server()
app = WSGIApp(io)


@io.on("echo")
def echo(socket: Socket, data: object) -> object:
    return data


@io.on("flood")
def flood(socket: Socket, count: int, data: object) -> None:
    for number in range(count):
        io.emit("msg", number, data)
