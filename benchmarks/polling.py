"""Load over HTTP long-polling: each client keeps a GET waiting and sends with POSTs, on two kept-alive connections."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable

from benchmarks.load import EchoBook, EventLoop, LoadError, Tally

_SEPARATOR = b"\x1e"
_CHUNK = 65536
_find_length = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE).search
_find_chunked = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE).search
_find_close = re.compile(rb"\r\nconnection: *close", re.IGNORECASE).search


def parse_response(data: bytes) -> tuple[bytes, bool] | None:
    """The body of a whole HTTP/1.1 response, and whether the connection stays; None while bytes are missing.

    :raises LoadError: the status is not 200, or the body has no length.
    """
    head, end_of_head, rest = data.partition(b"\r\n\r\n")
    if not end_of_head:
        return None
    if not head.startswith(b"HTTP/1.1 200 "):
        raise LoadError(f"HTTP: {head[9:60]!r}")
    stays = not _find_close(head)
    if _find_chunked(head):
        body = _join_chunks(rest)
        return None if body is None else (body, stays)
    length = _find_length(head)
    if length is None:
        raise LoadError("a response without length")
    return None if len(rest) < int(length[1]) else (rest, stays)


def _join_chunks(data: bytes) -> bytes | None:
    chunks: list[bytes] = []
    while True:
        size_line, found, data = data.partition(b"\r\n")
        size = int(size_line, 16) if found else 0
        if not found or len(data) < size + 2:
            return None
        if not size:
            return b"".join(chunks)
        chunks.append(data[:size])
        data = data[size + 2 :]


class HttpConnection:
    """One request at a time on a connection that is opened again when the server has closed it.

    :param on_body: called with the body of each response.
    """

    def __init__(self, loop: EventLoop, port: int, on_body: Callable[[bytes], None]) -> None:
        self.busy = False
        self._loop = loop
        self._port = port
        self._on_body = on_body
        self._socket: socket.socket | None = None
        self._reused = False
        self._request = b""
        self._received = b""

    def request(self, data: bytes) -> None:
        """Send a whole request; the connection must not be ``busy``."""
        self.busy = True
        self._request = data
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=5)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setblocking(False)
            self._loop.add(self._socket, self._on_readable)
        if self._socket.send(data) != len(data):
            raise LoadError("the server does not read")

    def close(self) -> None:
        sock, self._socket = self._socket, None
        self._reused = False
        if sock is not None:
            self._loop.remove(sock)
            sock.close()

    def _on_readable(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(_CHUNK)
        if not data:
            self._on_end()
            return
        self._received += data
        response = parse_response(self._received)
        if response is None:
            return
        body, stays = response
        self._received = b""
        self._reused = True
        self.busy = False
        if not stays:
            self.close()
        self._on_body(body)

    def _on_end(self) -> None:
        """A server may close an idle connection at any time, even while a request is on its way."""
        again = self.busy and self._reused and not self._received
        if self.busy and not again:
            raise LoadError("closed in the middle of a response")
        self.close()
        if again:
            self.request(self._request)


class PollingClient:
    """One Socket.IO client over polling in the namespace ``/``.

    :param on_ack: called with each packet that is an acknowledgement.
    """

    def __init__(self, loop: EventLoop, port: int, on_ack: Callable[[bytes], None]) -> None:
        self.connected = False
        self._on_ack = on_ack
        self._outbox: list[bytes] = []
        self._getter = HttpConnection(loop, port, self._on_payload)
        self._poster = HttpConnection(loop, port, lambda _ok: self._flush())
        self._target = b"/socket.io/?EIO=4&transport=polling"
        self._host = b" HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port
        self._get()

    def send(self, packet: bytes) -> None:
        """Send it with the next POST, which is now unless one is under way."""
        self._outbox.append(packet)
        self._flush()

    def close(self) -> None:
        self._getter.close()
        self._poster.close()

    def _get(self) -> None:
        self._getter.request(b"GET " + self._target + self._host + b"\r\n")

    def _flush(self) -> None:
        if self._outbox and not self._poster.busy:
            body = _SEPARATOR.join(self._outbox)
            self._outbox.clear()
            head = b"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n" % len(body)
            self._poster.request(b"POST " + self._target + self._host + head + body)

    def _on_payload(self, payload: bytes) -> None:
        packets = payload.split(_SEPARATOR)
        if packets[0].startswith(b"0{"):
            self._target += b"&sid=" + json.loads(packets.pop(0)[1:])["sid"].encode()
            self.send(b"40")
        self._get()
        for packet in packets:
            if packet.startswith(b"43"):
                self._on_ack(packet)
            elif packet == b"2":
                self.send(b"3")
            elif packet.startswith(b"40{"):
                self.connected = True
            elif packet != b"6":
                raise LoadError(f"unexpected packet {packet[:40]!r}")


class PollingLoad:
    """Every client keeps one echo in flight."""

    event = "echo"

    def __init__(self, loop: EventLoop, port: int, clients: int) -> None:
        self.tally = Tally()
        self.stopping = False
        self._clients = [self._make_client(loop, port, number) for number in range(clients)]

    def _make_client(self, loop: EventLoop, port: int, number: int) -> tuple[PollingClient, EchoBook]:
        book = EchoBook(self.tally, number)

        def on_ack(packet: bytes) -> None:
            if book.check(packet) and not self.stopping:
                client.send(book.request())

        client = PollingClient(loop, port, on_ack)
        return client, book

    def connected(self) -> bool:
        """Whether all clients are."""
        return all(client.connected for client, _ in self._clients)

    def begin(self) -> None:
        for client, book in self._clients:
            client.send(book.request())

    def outstanding(self) -> int:
        """Answers still to come."""
        return sum(len(book.pending) for _, book in self._clients)

    def close(self) -> None:
        for client, _ in self._clients:
            client.close()
