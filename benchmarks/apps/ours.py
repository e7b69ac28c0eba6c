"""wsgi_sio, its defaults: for gunicorn, ``benchmarks.apps.ours:app``."""

from itertools import count

from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.socketio.jsoncodec import LIBRARIES

io = Server()
app = WSGIApp(io)

echoed, published = count(), count()


@io.on("echo")
def echo(socket: Socket, data: object) -> object:
    next(echoed)
    return data


@io.on("pub")
def pub(socket: Socket, data: object) -> None:
    next(published)
    io.emit("msg", data)


@io.on("stats")
def stats(socket: Socket) -> dict[str, int]:
    # count's repr is the only way to look at it without counting.
    return {"echo": int(repr(echoed)[6:-1]), "pub": int(repr(published)[6:-1]), "fast": bool(LIBRARIES)}
