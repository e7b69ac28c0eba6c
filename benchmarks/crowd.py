"""Very many WebSockets in one process, at little cost: from several loopback addresses, back by themselves when lost.

An address has some 28,000 ports at most, some of which are still held by connections that have ended.
"""

from __future__ import annotations

import random
import select
import socket
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from time import monotonic

from benchmarks.load import TEXT_FRAME, LoadError, masked_frame

_PER_ADDRESS = 5000
# What the browser's client does by default: seconds before the first attempt, at most, and of that more or less.
_DELAY, _DELAY_MAX, _RANDOM = 1.0, 5.0, 0.5
_JOIN, _PONG = masked_frame(b"40"), masked_frame(b"3")
_CLOSE_FRAME = 0x88

_OPENING, _JOINING, _UP, _DOWN = range(4)


class _Member:
    __slots__ = ("attempts", "number", "rest", "seen", "socket", "state")

    def __init__(self, number: int) -> None:
        self.number = number
        self.attempts = 0
        self._reset()

    def _reset(self) -> None:
        self.socket: socket.socket | None = None
        self.state = _DOWN
        self.rest = b""
        self.seen = 0


class Crowd:
    """The clients; none is connected at first.

    :param ahead: how many handshakes are under way at once, of the first time.
    :param busy: see :class:`EventLoop`; of that time as well.
    :ivar returning: whoever is lost, or not let in, comes again.
    :ivar count: how many they are.
    :ivar up: how many of them are connected.
    :ivar heard: deliveries of broadcasts, of all.
    :ivar events: what has happened beside that, by name.
    """

    def __init__(self, port: int, count: int, *, ahead: int = 64, busy: bool = False) -> None:
        self.count = count
        self.up = 0
        self.heard = 0
        self.returning = False
        self.events: Counter[str] = Counter()
        self._port = port
        self._ahead = ahead
        self._patience = 0.0 if busy else 0.01
        self._under_way = 0
        self._members = [_Member(number) for number in range(count)]
        self._open: dict[int, _Member] = {}
        self._due: list[tuple[float, int]] = []
        self._epoll = select.epoll()
        key = b64encode(bytes(16))  # nobody checks that no other client has the same
        self._request = (
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % (port, key)
        )

    def connect(self, seconds: float) -> bool:
        """Have all come, some at a time; whether they have within so many seconds."""
        coming = iter(self._members)
        left = len(self._members)
        deadline = monotonic() + seconds
        while self.up < len(self._members) and monotonic() < deadline:
            while left and self._under_way < self._ahead:
                self._begin(next(coming))
                left -= 1
            self.poll(self._patience)
        return self.up == len(self._members)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Do what is to do for so many seconds, or until ``until()``; whether it was the latter."""
        deadline = monotonic() + seconds
        while not (reached := until()) and monotonic() < deadline:
            self.poll(0.01)
        return reached

    def poll(self, timeout: float) -> None:
        """Take what has come, and let those come again whose time it is."""
        now = monotonic()
        while self._due and self._due[0][0] <= now:
            self._begin(self._members[heappop(self._due)[1]])
        for fd, _ in self._epoll.poll(timeout, 256):
            member = self._open[fd]
            try:
                self._read(member)
            except BlockingIOError:
                continue
            except OSError as error:
                self._lose(member, error)

    def publish(self, text: bytes) -> None:
        """The first client has the server tell all."""
        first = self._members[0].socket
        assert first is not None
        first.send(masked_frame(b'42["pub","%s"]' % text))

    def close(self) -> None:
        for member in self._open.values():
            if member.socket is not None:
                member.socket.close()
        self._open.clear()
        self._epoll.close()

    # -- one client ---------------------------------------------------------------------------------------------------

    def _begin(self, member: _Member) -> None:
        """Connect and ask; on a loopback that is at once, or refused, or waits for the server to accept."""
        member.attempts += 1
        member.state = _OPENING
        self._under_way += 1
        sock = socket.socket()
        member.socket = sock
        self._open[sock.fileno()] = member
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.bind((f"127.0.0.{2 + member.number // _PER_ADDRESS}", 0))
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(("127.0.0.1", self._port))
            self._epoll.register(sock, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        except OSError as error:
            self._lose(member, error)

    def _read(self, member: _Member) -> None:
        assert member.socket is not None
        if member.state == _OPENING and not member.seen:
            with suppress(BlockingIOError):
                member.seen = member.socket.send(self._request)
                self._epoll.modify(member.socket, select.EPOLLIN)
        data = member.socket.recv(65536)
        if not data:
            raise LoadError("closed by the server")
        member.rest += data
        if member.state == _OPENING:
            head, ended, rest = member.rest.partition(b"\r\n\r\n")
            if not ended:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                raise LoadError(f"no WebSocket: {head[:30]!r}")
            member.rest = rest
            member.state = _JOINING
            member.socket.send(_JOIN)
        self._take(member, member.socket)

    def _take(self, member: _Member, sock: socket.socket) -> None:
        """The frames that are complete."""
        data = member.rest
        at, end = 0, len(data)
        while at + 2 <= end:
            start, size = at + 2, data[at + 1]
            if size == 126:
                start, size = at + 4, int.from_bytes(data[at + 2 : at + 4], "big")
            if start + size > end:
                break
            if data[at] == _CLOSE_FRAME:
                raise LoadError("closed by the server")
            if data[at] != TEXT_FRAME:
                raise LoadError(f"not a text frame: {data[at]:#x}")
            message = data[start : start + size]
            if message.startswith(b'42["msg"'):
                self.heard += 1
            elif message == b"2":
                sock.send(_PONG)
            elif message.startswith(b"40{") and member.state == _JOINING:
                member.state = _UP
                member.attempts = 0
                self._under_way -= 1
                self.up += 1
            elif message[:2] not in (b"0{", b"41"):
                raise LoadError(f"unexpected: {message[:20]!r}")
            at = start + size
        member.rest = data[at:]

    def _lose(self, member: _Member, error: OSError) -> None:
        sock = member.socket
        assert sock is not None
        del self._open[sock.fileno()]
        sock.close()  # which takes it out of the epoll as well
        if member.state == _UP:
            self.up -= 1
        else:
            self._under_way -= 1
        self.events["lost" if member.state == _UP else f"not let in ({error.strerror or error})"] += 1
        member._reset()
        if self.returning:
            delay = min(_DELAY_MAX, _DELAY * 2**member.attempts)
            heappush(self._due, (monotonic() + delay * random.uniform(1 - _RANDOM, 1 + _RANDOM), member.number))
