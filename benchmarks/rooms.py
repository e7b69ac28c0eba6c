"""``python -m benchmarks.rooms``: what joining, leaving and going cost as rooms, and clients, become many.

Two tables, in microseconds of CPU time for each operation: N clients that share one room, and a few clients in N rooms
each. What is linear as a whole has the same figures in all rows.

The server is in this process, with real sessions; the clients are the other ends of their sockets, in a child process,
so that each of the two needs only N descriptors and the clients' work is not measured.
"""

from __future__ import annotations

import argparse
import gc
import io as io_module
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.install import Unavailable
from benchmarks.limits import SPARE, allow_descriptors
from wsgi_sio import Server

SIZES = (1000, 2000, 5000, 10000)
FEW = 10  # clients that are in many rooms
_TIMEOUT = 60.0  # seconds for anything that others do
_JOIN = b"\x81\x82\0\0\0\0" + b"40"  # a client's frame: connect to the namespace /

Figures = dict[str, float]  # microseconds of CPU time for each operation, by its name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 1 when the system does not allow so many clients."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rooms", description="Measure what rooms cost.")
    parser.add_argument("--sizes", metavar="N,M", default=",".join(map(str, SIZES)), help="default: %(default)s")
    parser.add_argument("--gevent", action="store_true", help="greenlets instead of threads")
    options = parser.parse_args(arguments)
    if options.gevent:
        from gevent import monkey

        monkey.patch_all()
    sizes = [int(size) for size in options.sizes.split(",")]
    try:
        print(table("N clients in one room", {size: measure_members(size) for size in sizes}))
        print(table(f"{FEW} clients in N rooms each", {size: measure_rooms(size) for size in sizes}))
    except Unavailable as reason:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    return 0


# -- what is measured -------------------------------------------------------------------------------------------------


def measure_members(count: int) -> Figures:
    """``count`` clients join one room, leave it, and go: thrown out together, or all of a sudden by themselves.

    :raises Unavailable: the system does not allow so many descriptors.
    """
    figures: Figures = {}
    with Crowd(count) as crowd:
        figures["connect"] = crowd.spent / count
        sockets = crowd.io.fetch_sockets()
        figures["join"] = _cost(lambda: [client.join("room") for client in sockets]) / count
        figures["leave"] = _cost(lambda: [client.leave("room") for client in sockets]) / count
        crowd.io.sockets_join("room")
        throw_out = partial(crowd.io.in_("room").disconnect_sockets, close=True)
        figures["thrown out"] = _cost(lambda: crowd.wait_gone(throw_out)) / count
    with Crowd(count) as crowd:
        crowd.io.sockets_join("room")
        figures["vanished"] = _cost(lambda: crowd.wait_gone(crowd.vanish)) / count
    return figures


def measure_rooms(count: int) -> Figures:
    """:data:`FEW` clients join ``count`` rooms each, leave them one by one, and go when they have joined again.

    :raises Unavailable: see :func:`measure_members`.
    """
    rooms = [f"room {number}" for number in range(count)]
    operations = FEW * count
    with Crowd(FEW) as crowd:
        sockets = crowd.io.fetch_sockets()
        figures = {
            "join": _cost(lambda: [client.join(room) for client in sockets for room in rooms]) / operations,
            "leave": _cost(lambda: [client.leave(room) for client in sockets for room in rooms]) / operations,
        }
        for client in sockets:
            client.join(rooms)
        figures["vanished"] = _cost(lambda: crowd.wait_gone(crowd.vanish)) / operations
    return figures


def _cost(work: Callable[[], object]) -> float:
    """The CPU time of the whole process for ``work``, in microseconds."""
    gc.collect()  # what has gone before is not to be charged to it
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1e6


def growth(rows: dict[int, Figures], name: str) -> float:
    """How many times as much an operation costs at the largest size as at the smallest."""
    return rows[max(rows)][name] / rows[min(rows)][name]


def table(title: str, rows: dict[int, Figures]) -> str:
    """The figures, and in the last line how they have grown."""
    names = list(next(iter(rows.values())))
    lines = [[f"{size:,}", *(f"{figures[name]:.1f}" for name in names)] for size, figures in rows.items()]
    lines.append(["growth", *(f"{growth(rows, name):.2f}" for name in names)])
    head = [["N", *names], ["--:"] * (len(names) + 1)]
    return f"\n{title}, µs of CPU time each\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in head + lines)


# -- the clients ------------------------------------------------------------------------------------------------------


class Crowd:
    """A server with ``count`` connected clients, for the length of a ``with`` block.

    :ivar io: the server.
    :ivar spent: microseconds of CPU time that their connecting has cost the server.
    """

    def __init__(self, count: int) -> None:
        allow_descriptors(count + SPARE)
        self.io = Server(ping_interval=3600)
        self._count = count
        self._arrived = _Countdown(self.io, count)
        self._left = _Countdown(self.io, count)
        self.io.on("connection", lambda socket: self._arrived.step())
        self.io.on("disconnect", lambda socket: self._left.step())

    def __enter__(self) -> Crowd:
        with _listening() as listener:
            command = [sys.executable, "-m", "benchmarks.rooms", listener.getsockname(), str(self._count)]
            self._farm = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE)
            self.spent = _cost(lambda: self._accept(listener))
        return self

    def _accept(self, listener: socket.socket) -> None:
        for number in range(self._count):
            connection, _ = listener.accept()
            self.io.engine.handle(_handshake(connection))
            connection.close()
            if number % 100 == 0:
                self.io.sleep(0)  # gevent's loop gets no turn otherwise
        self._arrived.wait()

    def wait_gone(self, begin: Callable[[], object]) -> None:
        """Call ``begin`` and return when the handlers of ``disconnect`` have run for everybody."""
        begin()
        self._left.wait()

    def vanish(self) -> None:
        """All clients close their connections."""
        assert self._farm.stdin is not None
        self._farm.stdin.close()

    def __exit__(self, *exc_info: object) -> None:
        self._farm.kill()
        self._farm.wait()
        self.vanish()
        self.io.close()
        self.io.reactor.close()


class _Countdown:
    """An event that is set by the last of ``count`` steps, of which no two are lost to each other."""

    def __init__(self, io: Server, count: int) -> None:
        self._event = io.reactor.event()
        self._left = [None] * count

    def step(self) -> None:
        self._left.pop()
        if not self._left:
            self._event.set()

    def wait(self) -> None:
        if not self._event.wait(_TIMEOUT):
            raise Unavailable(f"{len(self._left)} clients were still missing after {_TIMEOUT:g} s")


@contextmanager
def _listening() -> Iterator[socket.socket]:
    with (
        tempfile.TemporaryDirectory(prefix="wsgi-sio-") as directory,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        listener.bind(f"{directory}/rooms")
        listener.listen(1000)
        listener.settimeout(_TIMEOUT)
        yield listener


def _handshake(connection: socket.socket) -> dict[str, Any]:
    """The environ of a client's request for a WebSocket, as gunicorn would make it."""
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/socket.io/",
        "QUERY_STRING": "EIO=4&transport=websocket",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_UPGRADE": "websocket",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
        "wsgi.input": io_module.BytesIO(),
        "wsgi.multithread": True,
        "wsgi.url_scheme": "http",
        "gunicorn.socket": connection,
    }


def farm(address: str, count: int) -> None:
    """In the child process: ``count`` clients connect, join, and stay until the standard input ends."""
    allow_descriptors(count + SPARE)
    clients = []
    for _ in range(count):
        client = socket.socket(socket.AF_UNIX)
        client.connect(address)
        client.sendall(_JOIN)
        clients.append(client)
    sys.stdin.read()


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[2].isdigit():
        farm(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit(main())
