"""WebSocket messages out of a byte stream: fragments, UTF-8, size limit, closing (RFC 6455, sections 5.4, 5.5, 7.1
and 8.1).

`MessageDecoder` is fed whatever the socket gave and returns what it meant. It never raises for what a peer sends: a
breach of the protocol is a `Violation`, found at the first byte that proves it, so that the caller can close with its
code at once.
"""

from __future__ import annotations

from codecs import utf_8_decode
from dataclasses import dataclass
from typing import Final, TypeAlias

from wsgi_sio.websocket.frames import (
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    CloseCode,
    FrameError,
    FrameHeader,
    apply_mask,
    is_close_code,
    read_header,
)

__all__ = ["Close", "Event", "MessageDecoder", "Ping", "Pong", "Violation"]


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping; the answer is a pong with the same `data`, at most 125 bytes (section 5.5.2)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong, asked for or not (section 5.5.3)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The peer's close frame; `code` is 1005 when the frame had none (section 7.1.5). Nothing follows it."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Violation:
    """The peer broke the protocol: `code` (1002, 1007 or 1009) and `reason` are for the close frame. Nothing follows
    it.
    """

    code: int
    reason: str


# str is a text message, bytes a binary one.
Event: TypeAlias = str | bytes | Ping | Pong | Close | Violation

_FIN_TEXT: Final = 0x80 | TEXT
_SHORT: Final = 125


def _unfinished_utf8(data: bytes) -> bytes:
    """Check the beginning of a text; return the bytes at its end that only begin a character. Raises
    UnicodeDecodeError.
    """
    tail = data[utf_8_decode(data, "strict", False)[1] :]
    if tail[:1] == b"\xed" and tail[1:2] > b"\x9f":
        # CPython waits for the third byte of a surrogate, though the second has already settled it.
        raise UnicodeDecodeError("utf-8", tail, 0, 2, "surrogate")
    return tail


def _read_close(payload: bytes, complete: bool) -> Close:
    """Check a close frame's payload, or the part of it that has arrived (section 5.5.1)."""
    if len(payload) < 2:
        if payload and complete:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "close frame with half a code")
        return Close(int(CloseCode.NO_STATUS), "")
    code = int.from_bytes(payload[:2], "big")
    if not is_close_code(code):
        raise FrameError(CloseCode.PROTOCOL_ERROR, f"invalid close code {code}")
    if complete:
        return Close(code, payload[2:].decode())
    _unfinished_utf8(payload[2:])
    return Close(code, "")


class _Message:
    """A message that is still arriving: its payload so far, and where it stands within the current frame."""

    __slots__ = ("announced", "fin", "is_text", "left", "mask", "payload", "unfinished")

    def __init__(self, is_text: bool) -> None:
        self.is_text = is_text
        self.payload = bytearray()
        self.unfinished = b""  # text only: the first bytes of a character whose rest is to come
        self.announced = 0  # sum of the frames' lengths
        self.fin = False
        self.left = 0  # payload bytes of the current frame still to come
        self.mask = b""

    def begin_frame(self, header: FrameHeader) -> None:
        self.fin = header.fin
        self.left = header.length
        self.mask = header.mask
        self.announced += header.length

    def add(self, chunk: bytes) -> None:
        """Take the next bytes of the current frame as they came. Raises UnicodeDecodeError at the first wrong byte of
        a text.
        """
        self.left -= len(chunk)
        if self.mask:
            turn = len(chunk) & 3
            chunk = apply_mask(chunk, self.mask)
            self.mask = self.mask[turn:] + self.mask[:turn]
        self.payload += chunk
        if self.is_text:
            self.unfinished = _unfinished_utf8(self.unfinished + chunk)

    def finish(self) -> str | bytes:
        return self.payload.decode() if self.is_text else bytes(self.payload)


class MessageDecoder:
    """The receiving half of one connection: bytes in, events out, no I/O.

    `expect_masked`: True in the server role, False in the client role. `max_message_size`: bytes of payload that one
    message may have; a larger one is refused (1009) from the header that announces it. Memory grows only with bytes
    received and not yet delivered.
    """

    __slots__ = ("_ended", "_expect_masked", "_max_message_size", "_message", "_pending", "_short")

    def __init__(self, *, expect_masked: bool, max_message_size: int) -> None:
        self._expect_masked = expect_masked
        self._max_message_size = max_message_size
        self._short = min(_SHORT, max_message_size)
        self._message: _Message | None = None
        self._pending = b""  # the beginning of a header or of a control frame
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes of the stream; return the events they complete, in order.

        A `Close` or `Violation` is the last event ever: from then on the answer is an empty list.
        """
        events: list[Event] = []
        if self._ended:
            return events
        if self._pending:
            data = self._pending + data
            self._pending = b""
        pos = 0
        end = len(data)
        try:
            while pos < end:
                if self._message is None:
                    pos = self._read_short_texts(data, pos, events)
                    if pos == end:
                        break
                pos = self._read_frame(data, pos, events)
        except FrameError as error:
            self._end()
            events.append(Violation(error.code, error.reason))
        except UnicodeDecodeError:
            self._end()
            events.append(Violation(int(CloseCode.INVALID_DATA), "invalid UTF-8"))
        return events

    def _end(self) -> None:
        self._ended = True
        self._message = None

    def _read_short_texts(self, data: bytes, pos: int, events: list[Event]) -> int:
        """The fast path: whole unfragmented text frames of less than 126 bytes, which are nearly all of a live
        connection's traffic.

        Returns the position of the first byte that is something else; there `_read_frame` takes over, and judges.
        """
        end = len(data)
        masked = self._expect_masked
        short = self._short
        while end - pos > 1 and data[pos] == _FIN_TEXT:
            if masked:
                size = data[pos + 1] - 128
                stop = pos + 6 + size
                if not 0 <= size <= short or stop > end:
                    break
                # The key XORed with itself is zero: taking it along as four leading bytes saves one slice.
                key = (data[pos + 2 : pos + 6] * 33)[: size + 4]
                plain = int.from_bytes(data[pos + 2 : stop], "big") ^ int.from_bytes(key, "big")
                events.append(plain.to_bytes(size, "big").decode())
            else:
                size = data[pos + 1]
                stop = pos + 2 + size
                if size > short or stop > end:
                    break
                events.append(data[pos + 2 : stop].decode())
            pos = stop
        return pos

    def _read_frame(self, data: bytes, pos: int, events: list[Event]) -> int:
        """Read one frame, or the part of it that is there; return the position behind what was taken."""
        message = self._message
        if message is not None and message.left:
            return self._read_payload(message, data, pos, events)
        header = read_header(data, pos, self._expect_masked)
        if header is None:
            self._pending = data[pos:]
            return len(data)
        if header.opcode >= CLOSE:
            return self._read_control(header, data, pos, events)
        if (message is None) is (header.opcode == CONTINUATION):
            what = "nothing to continue" if message is None else "new message inside a fragmented one"
            raise FrameError(CloseCode.PROTOCOL_ERROR, what)
        announced = header.length if message is None else message.announced + header.length
        if announced > self._max_message_size:
            limit = self._max_message_size
            raise FrameError(CloseCode.MESSAGE_TOO_BIG, f"message of {announced} bytes, limit is {limit}")
        pos += header.size
        stop = pos + header.length
        if message is None:
            if header.fin and stop <= len(data):
                payload = apply_mask(data[pos:stop], header.mask) if header.mask else data[pos:stop]
                events.append(payload.decode() if header.opcode == TEXT else payload)
                return stop
            message = self._message = _Message(header.opcode == TEXT)
        message.begin_frame(header)
        return self._read_payload(message, data, pos, events)

    def _read_payload(self, message: _Message, data: bytes, pos: int, events: list[Event]) -> int:
        stop = pos + message.left
        message.add(data[pos:stop])
        if message.left:
            return len(data)
        if message.fin:
            events.append(message.finish())
            self._message = None
        return stop

    def _read_control(self, header: FrameHeader, data: bytes, pos: int, events: list[Event]) -> int:
        """Control frames are at most 131 bytes: an incomplete one waits, raw, for its rest (section 5.5)."""
        start = pos + header.size
        stop = start + header.length
        complete = stop <= len(data)
        payload = data[start:stop]
        if header.mask:
            payload = apply_mask(payload, header.mask)
        if header.opcode == CLOSE:
            close = _read_close(payload, complete)
            if complete:
                self._end()
                events.append(close)
                return len(data)
        elif complete:
            events.append(Ping(payload) if header.opcode == PING else Pong(payload))
        if not complete:
            self._pending = data[pos:]
            return len(data)
        return stop
