"""A connection of WebTransport whose one stream is a TCP connection: for peers that have no QUIC, such as Node.

The transport, its handshake and what drives a connection are the real ones; QUIC and HTTP/3 are replaced by a socket.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

from wsgi_sio.runtime import Reactor
from wsgi_sio.webtransport.connection import (
    Address,
    Answered,
    Closed,
    Connected,
    Ended,
    Event,
    Header,
    Received,
    Requested,
)
from wsgi_sio.webtransport.driver import Driver, User

HEADERS = ((b":authority", b"127.0.0.1"), (b":path", b"/socket.io/"))


class StreamConnection:
    """Stands in for :class:`wsgi_sio.webtransport.connection.Connection`.

    :param is_client: the server's end takes a session to be requested at once.
    """

    deadline = None

    peer_certificate_hash = None

    def __init__(self, is_client: bool) -> None:
        self.is_over = False
        self.home: Any = None
        self._early = b""
        self._accepted = is_client
        self._ending = False
        self._events: list[Event] = [Connected() if is_client else Requested(HEADERS)]
        self._data: list[bytes] = []

    def receive(self, data: bytes, address: Address, now: float) -> None:
        if not data:
            self._events += [Ended("it closed the connection"), Closed("")]
            self.is_over = True
        elif self._accepted:
            self._events.append(Received(data))
        else:
            self._early += data

    @property
    def has_news(self) -> bool:
        return bool(self._events)

    def events(self) -> Iterator[Event]:
        while self._events:
            yield self._events.pop(0)

    def request(self, headers: list[Header]) -> None:
        self._events.append(Answered(200))

    def open_stream(self) -> None:
        """There is one."""

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

    def __init__(
        self, reactor: Reactor, sock: socket.socket, make_user: Callable[[Driver], User], *, is_client: bool
    ) -> None:
        self._reactor = reactor
        self._sock = sock
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._shut = False
        self.unsent = b""
        connection: Any = StreamConnection(is_client)
        connection.home = self
        self.driver = Driver(connection, reactor, self, sock.getpeername())
        self.driver.user = make_user(self.driver)
        self._watch = reactor.watch(self)
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
        self._reactor.call_later(0.001, driver.flush)

    def add_id(self, connection_id: bytes, driver: Driver) -> None: ...

    def remove_id(self, connection_id: bytes) -> None: ...

    def connected(self, driver: Driver) -> None: ...

    def gone(self, driver: Driver) -> None:
        self._watch.close(self._sock.close)
