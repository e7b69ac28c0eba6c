"""``tests/apps/main.py`` with WebTransport whose sessions are TCP connections: for clients that have no QUIC.

The transport, its handshake and what drives a connection are the real ones; QUIC and HTTP/3 are replaced by a socket.
The port is in the environment variable ``WEBTRANSPORT_TCP_PORT``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

from tests.apps.main import app, io
from wsgi_sio.engineio.webtransport_handshake import Handshake
from wsgi_sio.webtransport.connection import Address, Closed, Ended, Event, Header, Received, Requested
from wsgi_sio.webtransport.driver import Driver

__all__ = ["app"]

PORT = int(os.environ["WEBTRANSPORT_TCP_PORT"])
HEADERS = ((b":authority", b"127.0.0.1"), (b":path", b"/socket.io/"))


class StreamConnection:
    """Stands in for :class:`wsgi_sio.webtransport.connection.Connection`."""

    deadline = None

    def __init__(self) -> None:
        self.is_over = False
        self.home: Any = None
        self._early = b""
        self._accepted = self._ending = False
        self._events: list[Event] = [Requested(HEADERS)]
        self._data: list[bytes] = []

    def receive(self, data: bytes, address: Address, now: float) -> None:
        if not data:
            self._events += [Ended("it closed the connection"), Closed("")]
            self.is_over = True
        elif self._accepted:
            self._events.append(Received(data))
        else:
            self._early += data

    def events(self) -> Iterator[Event]:
        while self._events:
            yield self._events.pop(0)

    def accept(self, headers: tuple[Header, ...]) -> None:
        self._accepted = True
        if self._early:
            self._events.append(Received(self._early))

    def refuse(self, status: int) -> None:
        self.close()

    def datagrams(self, now: float) -> list[tuple[bytes, Address]]:
        data, self._data = self._data, []
        return [(b"".join(data), None)]

    def send(self, data: bytes) -> bool:
        self._data.append(data)
        return not self.is_over

    @property
    def unsent(self) -> int:
        return sum(map(len, self._data)) + len(self.home.unsent)

    def hold_back(self, count: int) -> None:
        """TCP's window would do that."""

    def end_stream(self) -> None:
        self._ending = True

    @property
    def is_delivered(self) -> bool:
        return self.unsent == 0

    def end_session(self, code: int = 0, reason: str = "") -> None:
        self.home.shut_down()

    def close(self, reason: str = "", code: int = 0) -> None:
        self.home.shut_down()

    def give_up(self) -> None:
        self.is_over = True


class Stream:
    """Home of a connection: its socket."""

    unread = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._shut = False
        self.unsent = b""
        connection: Any = StreamConnection()
        connection.home = self
        self.driver = Driver(connection, io.reactor, self, sock.getpeername())
        self.driver.user = Handshake(io.engine, self.driver, PORT, "")
        self._watch = io.reactor.watch(self)
        self.driver.flush()

    def fileno(self) -> int:
        return self._sock.fileno()

    def on_readable(self) -> None:
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.driver.receive([(data, self.driver.address)])

    def on_writable(self) -> None:
        self.driver.post(lambda: self.send(b"", None))

    def send(self, data: bytes, address: Address) -> None:
        data = self.unsent + data
        try:
            self.unsent = data[self._sock.send(data) :] if data else b""
        except BlockingIOError:
            self.unsent = data
        except OSError:
            self.unsent = b""
        if self.unsent:
            self._watch.want_write()

    def shut_down(self) -> None:
        if not self._shut:
            self._shut = True
            for data, address in self.driver.connection.datagrams(0.0):
                self.send(data, address)
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the client was faster

    def flush_later(self, driver: Driver) -> None:
        io.reactor.call_later(0.001, driver.flush)

    def add_id(self, connection_id: bytes, driver: Driver) -> None: ...

    def remove_id(self, connection_id: bytes) -> None: ...

    def connected(self, driver: Driver) -> None: ...

    def gone(self, driver: Driver) -> None:
        self._watch.close(self._sock.close)


class Doors:
    """Listens; stands in for the engine's listener."""

    port = PORT

    def __init__(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", PORT), backlog=100)
        self._sock.setblocking(False)
        io.reactor.watch(self)

    def fileno(self) -> int:
        return self._sock.fileno()

    def on_readable(self) -> None:
        sock, _ = self._sock.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Stream(sock)

    def on_writable(self) -> None: ...

    def close(self) -> None:
        """The process ends."""


io.engine.webtransport = Doors()  # type: ignore[assignment]
