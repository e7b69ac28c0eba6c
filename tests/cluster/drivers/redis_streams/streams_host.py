"""One host's process with clients over Redis streams: ``python -m`` this module's name, ``URL NAME RATE``.

Prints its port; emits ``e`` with its name and a number to everybody and, in turn, to a room, ``RATE`` times a second.
"""

from __future__ import annotations

import sys
import time
from itertools import count

from werkzeug.serving import make_server

from wsgi_sio import Server, WSGIApp
from wsgi_sio.adapters import redis_streams_adapter
from wsgi_sio.cluster.drivers.redis_streams import event_offsets


def main(url: str, name: str, rate: str) -> None:
    event_offsets._PATIENCE = 30.0  # a busy machine is no outage of Redis
    io = Server(adapter=redis_streams_adapter(url), connection_state_recovery=True)
    io.on("connection", lambda socket: socket.join("r"))

    def emit() -> None:
        for number in count():
            target = io.to("r") if number % 2 else io
            target.emit("e", name, number)
            time.sleep(1 / float(rate))

    http = make_server("127.0.0.1", 0, WSGIApp(io), threaded=True)
    print(http.port, flush=True)
    io.start_background_task(emit)
    http.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
