"""python-socketio with its RedisManager, the same; ASYNC_MODE is gevent or threading."""

import os

import socketio

from benchmarks.apps.pace import listen

manager = socketio.RedisManager(os.environ["REDIS_URL"], channel=os.environ["REDIS_KEY"])
sio = socketio.Server(async_mode=os.environ["ASYNC_MODE"], client_manager=manager)
app = socketio.WSGIApp(sio)


@sio.event
def connect(sid: str, environ: object) -> None:
    sio.enter_room(sid, "room")


@sio.event
def pace(sid: str) -> int:
    return listen(lambda text: sio.emit("msg", text, room="room"))
