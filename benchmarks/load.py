"""Load over WebSocket: clients that keep the server busy and check everything it answers.

The frames are built by hand and the sockets driven by one loop, so that one core can load a server that has another.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import selectors
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Protocol

TEXT_FRAME = 0x81
# RFC 6455 wants an unpredictable key against caches that misread the stream; between two ends of a loopback any key
# but zero, which servers treat specially, costs the server the same.
MASK = b"\x25\xa1\x5e\xc3"
_CHUNK = 65536
_HANDSHAKE_TIMEOUT = 20.0


class LoadError(ConnectionError):
    """A connection ended, or the server spoke no Socket.IO on it."""


class Tally:
    """What was asked for, what has been answered as it should, and what should not have happened.

    :ivar answered: acknowledgements, or deliveries of a broadcast.
    :ivar faults: how often, by name.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.faults: Counter[str] = Counter()


class Load(Protocol):
    """Clients at work: those below, and in polling.py."""

    event: str
    tally: Tally
    stopping: bool

    def begin(self) -> None: ...

    def outstanding(self) -> int: ...


class EventLoop:
    """Calls a connection's callback when bytes have arrived for it.

    :param busy: ask the kernel again and again instead of sleeping, so that what the server sends never costs it the
        time to wake a sleeping core; needs a core of its own.
    """

    def __init__(self, busy: bool) -> None:
        self._selector = selectors.DefaultSelector()
        self._timeout = 0.0 if busy else 0.05
        self.dropped: Counter[str] = Counter()

    def add(self, sock: socket.socket, callback: Callable[[], None]) -> None:
        """Watch ``sock``; an OSError out of ``callback`` is counted in ``dropped`` and ends the watching."""
        self._selector.register(sock, selectors.EVENT_READ, callback)

    def remove(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Run for ``seconds`` or until ``until()``; return whether it was the latter."""
        deadline = monotonic() + seconds
        while not (reached := until()) and monotonic() < deadline:
            self.poll(self._timeout)
        return reached

    def poll(self, timeout: float = 0.0) -> None:
        """Call back for what has arrived, or arrives within ``timeout`` seconds."""
        for key, _ in self._selector.select(timeout):
            try:
                key.data()
            except OSError as error:
                self.dropped[f"connections dropped ({error})"] += 1
                self._selector.unregister(key.fileobj)

    def close(self) -> None:
        self._selector.close()


def masked_frame(text: bytes) -> bytes:
    """A client's text frame (RFC 6455, section 5.2)."""
    size = len(text)
    key = (MASK * (size // 4 + 1))[:size]
    masked = (int.from_bytes(text, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    head = bytes((TEXT_FRAME, 0x80 | size)) if size < 126 else bytes((TEXT_FRAME, 0xFE)) + size.to_bytes(2, "big")
    return head + MASK + masked


class WebSocketClient:
    """One connection in the namespace ``/``; the constructor does both handshakes, then nothing blocks any more.

    :raises LoadError: the server refused, or an OSError.
    """

    def __init__(self, port: int) -> None:
        self._rest = b""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_HANDSHAKE_TIMEOUT)
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open_websocket(port)
            self.sid: str = json.loads(b"{" + self.expect(b"0{"))["sid"]
            self.send(b"40")
            self.expect(b"40{")
        except BaseException:
            self.socket.close()
            raise
        self.socket.setblocking(False)

    def _open_websocket(self, port: int) -> None:
        key = base64.b64encode(os.urandom(16))
        self.socket.sendall(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % (port, key)
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._receive_bytes()
        head, _, self._rest = answer.partition(b"\r\n\r\n")
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        if not head.startswith(b"HTTP/1.1 101 ") or accept not in head:
            raise LoadError(f"no WebSocket: {head[:100]!r}")

    def expect(self, start: bytes) -> bytes:
        """During a handshake: wait for one message and return what follows ``start`` in it."""
        messages = self._take_messages()  # it may have come with what was before it
        while not messages:
            messages = self.receive()
        if len(messages) != 1 or not messages[0].startswith(start):
            raise LoadError(f"{messages!r} instead of {start!r}")
        return messages[0][len(start) :]

    def ask(self, event: bytes) -> bytes:
        """Emit an event without arguments, wait, and return the acknowledgement's JSON."""
        self.socket.settimeout(_HANDSHAKE_TIMEOUT)
        self.send(b'420["%s"]' % event)
        return self.expect(b"430")

    def send(self, *texts: bytes) -> None:
        """Send messages in one piece."""
        frames = b"".join(map(masked_frame, texts))
        if self.socket.send(frames) != len(frames):
            raise LoadError("the server does not read")

    def receive(self) -> list[bytes]:
        """The messages that have arrived; heartbeats are answered here."""
        self._rest += self._receive_bytes()
        return self._take_messages()

    def _take_messages(self) -> list[bytes]:
        data = self._rest
        messages = []
        at, end = 0, len(data)
        while at + 2 <= end:
            start, size = at + 2, data[at + 1]
            if size == 126:
                start, size = at + 4, int.from_bytes(data[at + 2 : at + 4], "big")
            if start + size > end:
                break
            if data[at] != TEXT_FRAME or size == 127:
                raise LoadError(f"not a text frame of at most 64 KB: {data[at : at + 10]!r}")
            message = data[start : start + size]
            if message == b"2":
                self.send(b"3")
            else:
                messages.append(message)
            at = start + size
        self._rest = data[at:]
        return messages

    def _receive_bytes(self) -> bytes:
        data = self.socket.recv(_CHUNK)
        if not data:
            raise LoadError("closed by the server")
        return data

    def close(self) -> None:
        self.socket.close()


class EchoBook:
    """What one client has asked for and not been told yet; a message is right if it was asked for and comes once."""

    __slots__ = ("_argument", "_next_id", "_tally", "pending")

    def __init__(self, tally: Tally, client: int, data: bytes = b"") -> None:
        self._tally = tally
        text = b'"%s"' % (b"client %d " % client).ljust(32, b".")
        self._argument = (b"[%s,%s]]" % (text, data)) if data else text + b"]"
        self._next_id = 0
        self.pending: set[bytes] = set()

    def request(self) -> bytes:
        """The next packet to send."""
        self._next_id += 1
        ack_id = b"%d" % self._next_id
        self.pending.add(ack_id)
        self._tally.sent += 1
        return b'42%s["echo",%s' % (ack_id, self._argument)

    def check(self, message: bytes) -> bool:
        """Whether ``message`` is the right answer to something; it counts itself."""
        head, _, payload = message.partition(b"[")
        ack_id = head[2:]
        if head[:2] != b"43" or payload != self._argument:
            self._tally.faults["wrong answers"] += 1
        elif ack_id not in self.pending:
            self._tally.faults["answered twice"] += 1
        else:
            self.pending.remove(ack_id)
            self._tally.answered += 1
            return True
        return False


class EchoLoad:
    """Every client keeps ``depth`` echoes in flight, of ``data`` if there is any."""

    event = "echo"

    def __init__(self, loop: EventLoop, clients: Sequence[WebSocketClient], depth: int, data: bytes = b"") -> None:
        self.tally = Tally()
        self.stopping = False
        self._loop = loop
        self._depth = depth
        self._data = data
        self._clients: list[tuple[WebSocketClient, EchoBook]] = []
        for client in clients:
            self.add(client)

    def add(self, client: WebSocketClient) -> None:
        """One more client; from now on its heartbeats are answered."""
        book = EchoBook(self.tally, len(self._clients), self._data)
        self._clients.append((client, book))
        self._loop.add(client.socket, partial(self._on_readable, client, book))

    def begin(self) -> None:
        for client, book in self._clients:
            client.send(*[book.request() for _ in range(self._depth)])

    def outstanding(self) -> int:
        """Answers still to come."""
        return sum(len(book.pending) for _, book in self._clients)

    def _on_readable(self, client: WebSocketClient, book: EchoBook) -> None:
        answered = [message for message in client.receive() if book.check(message)]
        if answered and not self.stopping:
            client.send(*[book.request() for _ in answered])


class BroadcastLoad:
    """The first client publishes; once all, itself included, have the message, it publishes the next."""

    event = "pub"

    def __init__(self, loop: EventLoop, clients: Sequence[WebSocketClient], size: int = 64) -> None:
        self.tally = Tally()
        self.stopping = False
        self._publisher = clients[0]
        self._seen = [0] * len(clients)  # by client: number of the last message it got
        self._remaining = 0
        self._filler = b"." * (size - 8)
        self._message = b""
        for number, client in enumerate(clients):
            loop.add(client.socket, partial(self._on_readable, client, number))

    def begin(self) -> None:
        """Publish."""
        self.tally.sent += 1
        self._remaining = len(self._seen)
        argument = b"%08d%s" % (self.tally.sent, self._filler)
        self._message = b'42["msg","%s"]' % argument
        self._publisher.send(b'42["pub","%s"]' % argument)

    def outstanding(self) -> int:
        """Deliveries still to come."""
        return self._remaining

    def _on_readable(self, client: WebSocketClient, number: int) -> None:
        for message in client.receive():
            if message != self._message:
                self.tally.faults["wrong deliveries"] += 1
            elif self._seen[number] == self.tally.sent:
                self.tally.faults["delivered twice"] += 1
            else:
                self._seen[number] = self.tally.sent
                self.tally.answered += 1
                self._remaining -= 1
        if not self._remaining and not self.stopping:
            self.begin()
