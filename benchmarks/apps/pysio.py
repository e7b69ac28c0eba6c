"""python-socketio, its defaults: for gunicorn, ``benchmarks.apps.pysio:app``; ASYNC_MODE is gevent or threading."""

import os
from itertools import count

import socketio

sio = socketio.Server(async_mode=os.environ["ASYNC_MODE"])
app = socketio.WSGIApp(sio)

echoed, published = count(), count()


@sio.event
def echo(sid: str, data: object) -> object:
    next(echoed)
    return data


@sio.event
def pub(sid: str, data: object) -> None:
    next(published)
    sio.emit("msg", data)


@sio.event
def stats(sid: str) -> dict[str, int]:
    # count's repr is the only way to look at it without counting.
    return {"echo": int(repr(echoed)[6:-1]), "pub": int(repr(published)[6:-1])}
