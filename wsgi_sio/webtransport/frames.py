"""Engine.IO's frames on the stream of a WebTransport session (engine.io-parser, ``createPacketEncoderStream``).

A header byte: the top bit tells binary from text, the others are the length, or 126 (16 bits of length follow) or 127
(64 bits). Then the payload: a packet as text, or the bytes of a message. Everything here is pure.
"""

from __future__ import annotations

from collections.abc import Iterator

_BINARY = 0x80
_LENGTH = 0x7F
_SHORT, _LONG = 126, 127
_PLUS_16_BITS, _PLUS_64_BITS = 3, 9


class FrameError(ValueError):
    """What the peer sent is no frame.

    :ivar too_large: whether it is only larger than is taken.
    """

    def __init__(self, text: str, *, too_large: bool = False) -> None:
        super().__init__(text)
        self.too_large = too_large


def encode_frame(payload: bytes, *, binary: bool) -> bytes:
    """One frame; that of empty bytes is one that JavaScript's decoder refuses."""
    mark = _BINARY if binary else 0
    size = len(payload)
    if size < _SHORT:
        return bytes((mark | size,)) + payload
    if size < 65536:
        return bytes((mark | _SHORT,)) + size.to_bytes(2, "big") + payload
    return bytes((mark | _LONG,)) + size.to_bytes(8, "big") + payload


class FrameDecoder:
    """Takes the stream in pieces of any size.

    :param max_size: the longest payload that is taken, in bytes.
    """

    __slots__ = ("_buffer", "_max_size", "_wanted")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._buffer = bytearray()
        self._wanted = 1  # bytes before there is anything to do

    def feed(self, data: bytes) -> Iterator[str | bytes]:
        """The payloads that are complete now: str or bytes; what is not UTF-8 becomes U+FFFD, as in JavaScript.

        Whoever leaves the iterator early, or gets an error of it, must not feed it again.

        :raises FrameError: a frame is empty, or larger than is taken; that is known from its header.
        """
        buffer = self._buffer
        buffer += data
        available = len(buffer)
        start, end = 0, self._wanted
        while end <= available:
            head = buffer[start]
            size = head & _LENGTH
            body = start + 1
            if size >= _SHORT:
                end = body = start + (_PLUS_16_BITS if size == _SHORT else _PLUS_64_BITS)
                if available < body:
                    break
                size = int.from_bytes(buffer[start + 1 : body], "big")
            if size > self._max_size:
                raise FrameError(f"a frame of {size} bytes, of which {self._max_size} are taken", too_large=True)
            if size == 0 and not head & _BINARY:  # Node's encoder makes empty binary ones, though its decoder has none
                raise FrameError("an empty frame")
            end = body + size
            if available < end:
                break
            payload = bytes(buffer[body:end])
            start, end = end, end + 1
            yield payload if head & _BINARY else payload.decode("utf-8", "replace")
        self._wanted = end - start
        if start:
            del buffer[:start]
