"""The client's end of a WebTransport session, over a UDP socket of its own. Every wait has a deadline.

It lives while somebody calls it: a client that is not asked for anything neither reads nor acknowledges.
"""

from __future__ import annotations

import os
import random
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from tests.support.waiting import DEADLINE
from tests.support.websocket_end import Closed, Wire
from wsgi_sio.webtransport.connection import (
    Answered,
    Connected,
    Connection,
    Ended,
    Event,
    Received,
)
from wsgi_sio.webtransport.connection import Closed as ConnectionClosed
from wsgi_sio.webtransport.frames import FrameDecoder, encode_frame
from wsgi_sio.webtransport.quic import configure
from wsgi_sio.webtransport.stateless_reset import ClientQuic

# How long one look at the socket may take (seconds), which bounds how late a timer is noticed.
_LOOK = 0.02


class QuicEnd(Wire):
    """See the module's text.

    :param loss: how many of a hundred datagrams are lost either way, and as many come twice, or behind the next one.
    :param seed: which ones.
    :ivar status: what the server has answered to the request for a session.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        path: str = "/socket.io/",
        headers: Mapping[str, str] = {},
        loss: int = 0,
        seed: int = 7,
        idle_timeout: float = 60.0,
    ) -> None:
        self.address = address
        self.status = 0
        self.answer_pings = True
        self.events: list[Event] = []
        self.ended: str | None = None
        self.connected = False
        self.closed = False
        self._path = path
        self._headers = headers
        self._loss = loss
        self._dice = random.Random(seed)
        self._late: list[bytes] = []
        self._decoder = FrameDecoder(1 << 40)
        self._messages: deque[str | bytes] = deque()
        self.sock = self._make_socket()
        self.quic = ClientQuic(
            replace(configure(None, idle_timeout), verify_mode=ssl.CERT_NONE, server_name="localhost")
        )
        self.connection = Connection(self.quic)
        self.quic.connect(address, time.monotonic())

    def _make_socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        return sock

    # -- driving it ---------------------------------------------------------------------------------------------

    def pump(self, until: Callable[[], object] = lambda: False, timeout: float = DEADLINE) -> bool:
        """Send and read until a condition is true; whether it is."""
        deadline = time.monotonic() + timeout
        while True:
            self._take()
            self.flush()
            if self.connection.is_over and not self.closed:
                return False
            if until():
                return True
            now = time.monotonic()
            if now >= deadline or self.closed:
                return False
            self._read(min(deadline - now, _LOOK))
            timer = self.connection.deadline
            if timer is not None and timer <= time.monotonic():
                self.connection.handle_timer(time.monotonic())

    def flush(self) -> None:
        """Send what is to be sent."""
        for data, address in self.connection.datagrams(time.monotonic()):
            if not self._is_lost():
                with suppress(OSError):
                    self.sock.sendto(data, address)

    def _is_lost(self) -> bool:
        return self._dice.randrange(100) < self._loss

    def _read(self, timeout: float) -> None:
        self.sock.settimeout(max(0.001, timeout))
        try:
            data = self.sock.recv(65536)
        except OSError:
            return
        if self._is_lost():
            return
        if self._is_lost():
            self._late.append(data)
            return
        arrived = [data, *self._late] if self._late else [data, data] if self._is_lost() else [data]
        self._late = []
        for each in arrived:
            self.connection.receive(each, self.address, time.monotonic())

    def _take(self) -> None:
        for event in self.connection.events():
            self.events.append(event)
            if isinstance(event, Received):
                self._messages += self._decoder.feed(event.data)
            elif isinstance(event, Answered):
                self.status = event.status
            elif isinstance(event, Connected):
                self.connected = True
            elif isinstance(event, Ended):
                self.ended = event.reason
            elif isinstance(event, ConnectionClosed):
                self.closed = True
                self.ended = self.ended or event.reason

    # -- opening ------------------------------------------------------------------------------------------------

    def request(self, **pseudo: str) -> int:
        """Connect, ask for a session, and read the answer's status (0: none came before the end)."""
        assert self.pump(lambda: self.connected), f"no connection: {self.ended}"
        fields = {
            "method": "CONNECT",
            "protocol": "webtransport",
            "scheme": "https",
            "authority": f"{self.address[0]}:{self.address[1]}",
            "path": self._path,
            **pseudo,
        }
        headers = [(f":{name}".encode(), value.encode()) for name, value in fields.items()]
        headers += [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
        self.connection.request(headers)
        self.pump(lambda: self.status or self.closed)
        return self.status

    def open(self) -> QuicEnd:
        """A session with its stream, on which nothing has been sent."""
        assert self.request() == 200, self.status
        self.connection.open_stream()
        return self

    # -- messages -----------------------------------------------------------------------------------------------

    def send(self, *messages: str | bytes) -> None:
        """Send messages at once."""
        self.send_raw(b"".join(frame_of(message) for message in messages))

    def send_raw(self, data: bytes) -> None:
        """Send bytes that need not be frames."""
        assert self.connection.send(data), self.ended
        self.flush()

    def receive(self, timeout: float = DEADLINE) -> str | bytes:
        deadline = time.monotonic() + timeout
        while True:
            self.pump(lambda: self._messages or self.ended, deadline - time.monotonic())
            if not self._messages:
                if self.ended:
                    raise Closed(1000, self.ended)
                raise TimeoutError("nothing came before the deadline")
            message = self._messages.popleft()
            if message != "2" or not self.answer_pings:
                return message
            self.send("3")

    def delivered(self, timeout: float = DEADLINE) -> None:
        """Wait until the server has acknowledged all that was sent."""
        assert self.pump(lambda: self.connection.unsent == 0, timeout), "not delivered"

    # -- the end ------------------------------------------------------------------------------------------------

    def migrate(self) -> None:
        """Go on from another port."""
        self.sock.close()
        self.sock = self._make_socket()

    def vanish(self) -> None:
        """Be gone without a word."""
        self.sock.close()
        self.connection.give_up()

    def close(self) -> None:
        """End the session and the connection, as a browser does."""
        with suppress(OSError):
            self.connection.end_session()
            self.flush()
            self.connection.close()
            self.flush()
        self.vanish()


def frame_of(message: str | bytes) -> bytes:
    """A client's frame; empty bytes as JavaScript's encoder writes them."""
    if isinstance(message, str):
        return encode_frame(message.encode(), binary=False)
    return encode_frame(message, binary=True)


def initial(address: tuple[str, int]) -> bytes:
    """The first datagram of a connection that nobody goes on with."""
    quic = ClientQuic(replace(configure(None, 30.0), verify_mode=ssl.CERT_NONE))
    quic.connect(address, time.monotonic())
    return quic.datagrams_to_send(time.monotonic())[0][0]


def bare_initial() -> bytes:
    """What looks like one, which costs nothing to make."""
    return b"\xc3\0\0\0\1\x08" + os.urandom(8) + b"\x08" + os.urandom(8) + b"\0\x44\x9a" + os.urandom(1178)
