"""A Socket.IO client on a bare TCP or TLS connection, and the small tools of the robustness tests.

It reads in bulk (a test process must keep up with the server) and can do what no decent client does: stop reading, stop
answering, reset. Frames it sends are masked with zeros, which costs nothing.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any, TypeVar

from tests.conformance.raw import Closed
from tests.support.servers import RunningServer

Value = TypeVar("Value")

TIMEOUT = 30.0  # seconds; longer than anything under test may take, on a busy machine
TEXT, CLOSE = 1, 8
OPEN_WEBSOCKET = "EIO=4&transport=websocket"


def text_frame(text: str, opcode: int = TEXT) -> bytes:
    """A client's frame."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size)) + b"\0\0\0\0" + payload
    form, kind = ("!BBH4x", 126) if size < 1 << 16 else ("!BBQ4x", 127)
    return struct.pack(form, 0x80 | opcode, 0x80 | kind, size) + payload


def event_frame(event: str, *args: Any) -> bytes:
    """The frame of a Socket.IO event of the main namespace."""
    return text_frame(f"42{json.dumps([event, *args])}")


class Peer:
    """One client; use it as a context manager, or :meth:`leave` it."""

    def __init__(
        self,
        server: RunningServer,
        query: str = OPEN_WEBSOCKET,
        *,
        path: str = "/socket.io",
        early: bytes = b"",
        receive_buffer: int | None = None,
    ) -> None:
        """Open the WebSocket; ``early`` goes out in the same segment as the handshake request."""
        self.socket = connect(server, receive_buffer)
        self._buffer = bytearray()
        self._acks = 0
        self._said_goodbye = False
        self.sid = ""
        request = (
            f"GET {path}/?{query} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.socket.sendall(request.encode() + early)
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._fill()
        assert self._buffer.startswith(b"HTTP/1.1 101 "), bytes(self._buffer)
        del self._buffer[: end + 4]

    # -- sending ------------------------------------------------------------------------------------------------

    def send(self, *packets: str) -> None:
        """Send Engine.IO packets, all in one write."""
        self.socket.sendall(b"".join(map(text_frame, packets)))

    def emit(self, event: str, *args: Any) -> None:
        """Send an event."""
        self.socket.sendall(event_frame(event, *args))

    def call(self, event: str, *args: Any, timeout: float = TIMEOUT) -> Any:
        """Send an event and return the arguments of its acknowledgement; other events that arrive are dropped."""
        self._acks += 1
        self.send(f"42{self._acks}{json.dumps([event, *args])}")
        prefix = f"43{self._acks}["
        deadline = time.monotonic() + timeout
        while not (packet := self.receive(deadline - time.monotonic())).startswith(prefix):
            continue
        return json.loads(packet[len(prefix) - 1 :])

    # -- receiving ----------------------------------------------------------------------------------------------

    def join(self) -> Peer:
        """Read the Engine.IO handshake and join the main namespace."""
        assert self.receive().startswith("0{")
        self.send("40")
        return self.joined()

    def joined(self) -> Peer:
        """Wait for the answer to a CONNECT that was sent."""
        answer = self.receive()
        assert answer.startswith("40{"), answer
        self.sid = json.loads(answer[2:])["sid"]
        return self

    def receive(self, timeout: float = TIMEOUT) -> str:
        """Return the next packet but pings, which are answered. Raises Closed or TimeoutError."""
        deadline = time.monotonic() + timeout
        while (packet := self.receive_any(deadline - time.monotonic())) == "2":
            self.send("3")
        return packet

    def receive_any(self, timeout: float = TIMEOUT) -> str:
        """Return the next packet, whatever it is."""
        self.socket.settimeout(max(timeout, 0.001))
        while (frame := self._next_frame()) is None:
            self._fill()
        opcode, payload = frame
        if opcode == CLOSE:
            raise Closed(int.from_bytes(payload[:2], "big") if payload else 1005, payload[2:].decode())
        assert opcode == TEXT, frame
        return payload.decode()

    def receive_event(self, timeout: float = TIMEOUT) -> list[Any]:
        """Return the next event: name and arguments."""
        packet = self.receive(timeout)
        assert packet.startswith("42["), packet
        event: list[Any] = json.loads(packet[2:])
        return event

    def wait_closed(self, timeout: float = TIMEOUT) -> Closed:
        """Read to the end of the stream; return how the server closed. Whatever comes must be WebSocket frames.

        A close frame is answered by one, as it has to be.
        """
        deadline = time.monotonic() + timeout
        try:
            while True:
                self.receive_any(deadline - time.monotonic())
        except Closed as closed:
            if closed.code != 1006:
                with suppress(OSError):
                    self.send_close()
                self._assert_silence(deadline)
            return closed

    def _assert_silence(self, deadline: float) -> None:
        """Nothing may follow a close frame, an HTTP response least of all."""
        with suppress(ConnectionError):
            while True:
                self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
                data = self.socket.recv(65536)
                self._buffer += data
                if not data:
                    break
        assert not self._buffer, bytes(self._buffer)

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, size = buffer[0], buffer[1]
        assert first in (0x81, 0x82, 0x88, 0x8A) and size < 128, f"not a server's frame: {bytes(buffer[:200])!r}"
        start = 2
        if size > 125:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + size:
            return None
        payload = bytes(buffer[start : start + size])
        del buffer[: start + size]
        return first & 0x0F, payload

    def _fill(self) -> None:
        try:
            data = self.socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if not data:
            raise Closed(1006, f"without a close frame, after {bytes(self._buffer)!r}")
        self._buffer += data

    # -- ways to go ---------------------------------------------------------------------------------------------

    def half_close(self) -> None:
        """Send a FIN, read on."""
        socket.socket.shutdown(self.socket, socket.SHUT_WR)  # that of a TLS socket would end the decryption too

    def reset(self) -> None:
        """Send an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send_close(self, code: int = 1000) -> None:
        """Send a close frame, once."""
        if self._said_goodbye:
            return
        self._said_goodbye = True
        self.socket.sendall(bytes((0x88, 0x82)) + b"\0\0\0\0" + code.to_bytes(2, "big"))

    def leave(self) -> None:
        """Say goodbye and go; safe to call when it has gone already."""
        with suppress(OSError):
            self.send_close()
        self.socket.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.leave()


def connect(server: RunningServer, receive_buffer: int | None = None) -> socket.socket:
    """A new connection to ``server``, with TLS where its URL says so."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(TIMEOUT)
    connection.connect(("127.0.0.1", server.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if server.url.startswith("https:"):
        return ssl._create_unverified_context().wrap_socket(connection)  # the certificate is our own, of a minute ago
    return connection


def fetch(server: RunningServer, path: str, timeout: float = TIMEOUT) -> bytes:
    """The body of a page, which must be there."""
    if server.url.startswith("https:"):
        context = ssl._create_unverified_context()
        connection: HTTPConnection = HTTPSConnection("127.0.0.1", server.port, timeout=timeout, context=context)
    else:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        assert response.status == 200, (response.status, response.read())
        return response.read()
    finally:
        connection.close()


def ask(server: RunningServer, question: str, timeout: float = TIMEOUT) -> Any:
    """Ask the application under test; see QUESTIONS in ``tests/apps/robustness.py``."""
    return json.loads(fetch(server, f"/debug/{question}", timeout))


def eventually(measure: Callable[[], Value], holds: Callable[[Value], object], timeout: float = TIMEOUT) -> Value:
    """Return the first ``measure()`` that ``holds``; another process has no event for it. Fails after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    while not holds(value := measure()):
        assert time.monotonic() < deadline, f"after {timeout} s it was still {value!r}"
        time.sleep(0.02)
    return value


def wait_for_end(server: RunningServer, sid: str, timeout: float = TIMEOUT) -> tuple[str, float]:
    """Return why and when (monotonic clock) the application was told that the client has left."""
    journal = eventually(lambda: ask(server, "journal"), lambda entries: sid in entries, timeout)
    reason, when = journal[sid]
    return reason, when


class Memory:
    """What the worker's memory does from now on, in bytes."""

    def __init__(self, server: RunningServer) -> None:
        self._proc = Path(f"/proc/{server.worker_pid}")
        (self._proc / "clear_refs").write_text("5")  # begin a new peak
        self._resident = self._read("status", "VmRSS:")
        self._proportional = self.proportional()

    def peak_growth(self) -> int:
        """How far the resident size has risen at most."""
        return self._read("status", "VmHWM:") - self._resident

    def growth(self) -> int:
        """How much larger the proportional size is now."""
        return self.proportional() - self._proportional

    def proportional(self) -> int:
        """The proportional set size: pages shared with other processes count by their share."""
        return self._read("smaps_rollup", "Pss:")

    def _read(self, file: str, label: str) -> int:
        for line in (self._proc / file).read_text().splitlines():
            if line.startswith(label):
                return int(line.split()[1]) * 1024
        raise LookupError(label)


def cpu_seconds(server: RunningServer) -> float:
    """Processor time the worker has used so far."""
    fields = Path(f"/proc/{server.worker_pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
