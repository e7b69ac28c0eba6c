"""wsgi_sio with its Redis adapter, for ``benchmarks.bus``: every client is in the room, to which it emits when
somebody tells it to; REDIS_URL, REDIS_KEY."""

import os

from benchmarks.apps.pace import listen
from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.adapters import redis_adapter

io = Server(adapter=redis_adapter(os.environ["REDIS_URL"], key=os.environ["REDIS_KEY"]))
app = WSGIApp(io)


@io.on("connection")
def connection(client: Socket) -> None:
    client.join("room")


@io.on("pace")
def pace(client: Socket) -> int:
    return listen(lambda text: io.to("room").emit("msg", text))
