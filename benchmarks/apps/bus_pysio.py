"""python-socketio with its RedisManager, the same; ASYNC_MODE is gevent or threading."""

import os
import socket
import threading

import socketio

manager = socketio.RedisManager(os.environ["REDIS_URL"], channel=os.environ["REDIS_KEY"])
sio = socketio.Server(async_mode=os.environ["ASYNC_MODE"], client_manager=manager)
app = socketio.WSGIApp(sio)


@sio.event
def connect(sid: str, environ: object) -> None:
    sio.enter_room(sid, "room")


@sio.event
def pace(sid: str) -> int:
    sock = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=emit, args=(sock,), daemon=True).start()
    return int(sock.getsockname()[1])


def emit(server: socket.socket) -> None:
    sock, _ = server.accept()
    number = 0
    while counts := sock.recv(4096):
        for _ in range(sum(counts)):
            number += 1
            sio.emit("msg", f"{number:08d}".ljust(100, "."), room="room")
