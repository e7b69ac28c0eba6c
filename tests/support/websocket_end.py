"""The client's end of a WebSocket, over a socket that is at hand. Every wait has a deadline."""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from contextlib import suppress
from typing import Any

from tests.support.waiting import DEADLINE
from wsgi_sio.websocket.frames import BINARY, CLOSE, TEXT, encode_close, encode_frame
from wsgi_sio.websocket.messages import Close, MessageDecoder, Violation

CLOSE_OPCODE = CLOSE
_MASK = b"\x01\x02\x03\x04"
_ENDED = 1006


class Closed(Exception):
    """The connection is over; ``code`` is 1006 when it ended without a close frame."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends (client, server) of a TCP connection over the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=DEADLINE)
        server, _ = listener.accept()
    return client, server


class Wire:
    """A client's way to the server, by the messages that come."""

    def receive(self, timeout: float = DEADLINE) -> str | bytes:
        """The next message. Raises Closed and TimeoutError."""
        raise NotImplementedError

    def wait_closed(self, timeout: float = DEADLINE) -> int:
        """Drop what comes until the server ends the WebSocket; the close code."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                self.receive(max(0.001, deadline - time.monotonic()))
        except Closed as closed:
            return closed.code

    def expect_silence(self, seconds: float) -> None:
        """Fail if anything comes within ``seconds``."""
        try:
            event = self.receive(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"unexpected {event!r}")


class WebSocket(Wire):
    """The client's end of a WebSocket, by our own codec in the client's role."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.accept = b""  # the 101
        self.answer_pings = True
        self._decoder = MessageDecoder(expect_masked=False, max_message_size=1 << 30)
        self._events: deque[Any] = deque()

    def read_accept(self) -> None:
        """Read the 101; what follows it belongs to the WebSocket."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._recv(time.monotonic() + DEADLINE)
        self.accept, _, rest = data.partition(b"\r\n\r\n")
        self._events += self._decoder.feed(rest)

    def _recv(self, deadline: float) -> bytes:
        self.sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.sock.recv(1 << 18)
        except TimeoutError:
            raise TimeoutError("nothing came before the deadline") from None
        except OSError:
            data = b""
        if not data:
            raise Closed(_ENDED)
        return data

    def next_event(self, timeout: float = DEADLINE) -> Any:
        """The next message (str or bytes), Ping or Pong. Raises Closed and TimeoutError."""
        deadline = time.monotonic() + timeout
        while not self._events:
            self._events += self._decoder.feed(self._recv(deadline))
        event = self._events.popleft()
        if isinstance(event, Close):
            raise Closed(event.code, event.reason)
        assert not isinstance(event, Violation), event
        return event

    def receive(self, timeout: float = DEADLINE) -> str | bytes:
        """The next message; Engine.IO's pings are answered and skipped, unless ``answer_pings`` is off."""
        deadline = time.monotonic() + timeout
        while (event := self.next_event(max(0.001, deadline - time.monotonic()))) == "2" and self.answer_pings:
            self.send("3")
        return event  # type: ignore[no-any-return]

    def wait_eof(self, timeout: float = DEADLINE) -> None:
        """Wait until the server closes the TCP connection."""
        deadline = time.monotonic() + timeout
        with suppress(Closed):
            while True:
                self._recv(deadline)

    def send(self, *messages: str | bytes) -> None:
        """Send messages in one write."""
        self.send_raw(b"".join(frame_of(message) for message in messages))

    def send_raw(self, data: bytes, timeout: float = DEADLINE) -> None:
        """Send bytes that need not be frames."""
        self.sock.settimeout(timeout)
        self.sock.sendall(data)

    def send_close(self, code: int = 1000) -> None:
        """Send a close frame."""
        self.send_raw(encode_close(code, mask=_MASK))

    def half_close(self) -> None:
        """Send a FIN and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the TCP connection by an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """End the connection without a close frame."""
        self.sock.close()


def frame_of(message: str | bytes) -> bytes:
    """A client's frame."""
    if isinstance(message, str):
        return encode_frame(TEXT, message.encode(), mask=_MASK)
    return encode_frame(BINARY, message, mask=_MASK)


def control_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A client's ping, pong or close frame."""
    return encode_frame(opcode, payload, mask=_MASK)
