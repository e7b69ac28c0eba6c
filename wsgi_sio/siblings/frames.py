"""The format of a link, without I/O: frames, each perhaps with a descriptor, and what a sibling tells of itself.

A frame is length (u32, of the payload), kind (u8; bit 7: a descriptor comes with it), number (u32) and payload.  Its
descriptor travels with its first byte, hence must be there when its head is; descriptors and the frames that announce
them pair in order.  Whatever else comes breaks the link, for nobody can tell any more what belongs to what.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, NamedTuple

# The format of what is sent; who speaks another is not understood.
VERSION = 1

# The siblings' own kinds; those from FIRST_FOREIGN on belong to who registers handlers.
HELLO, WELCOME, LOAD, SUBSCRIBE, UNSUBSCRIBE, DRAINING, BYE = range(1, 8)
FIRST_FOREIGN = 16
LAST_FOREIGN = 127

# The longest payload, and the longest of who has not yet said who it is (bytes).
MAX_FRAME = 256 << 20
MAX_HELLO = 16 << 20

_HEAD = Struct("<IBI")
_KIND = 4  # where it is in the head
_WITH_DESCRIPTOR = 0x80

_TAG = re.compile(r"[A-Za-z0-9_-]{4}")


class FrameTooLarge(ValueError):
    """A frame of more than :data:`MAX_FRAME` bytes was to be sent."""


class FrameError(Exception):
    """What has come is no frame, or not one that may come now."""


class Frame(NamedTuple):
    """What has come; its descriptor, if any, belongs to who gets it."""

    kind: int
    number: int
    payload: bytes
    descriptor: int | None


def encode(kind: int, number: int, payload: bytes | Sequence[bytes], *, with_descriptor: bool = False) -> bytes:
    """Make a frame.

    :param payload: whole or in pieces.
    :raises FrameTooLarge: there is too much of it.
    """
    pieces = (payload,) if isinstance(payload, bytes) else payload
    size = sum(map(len, pieces))
    if size > MAX_FRAME:
        raise FrameTooLarge(f"{size} bytes are too many for a sibling ({MAX_FRAME} at most)")
    return b"".join((_HEAD.pack(size, kind | _WITH_DESCRIPTOR if with_descriptor else kind, number), *pieces))


class FrameDecoder:
    """Cuts a stream into frames.  It keeps no more than has come, whatever has been promised.

    :ivar limit: how long a payload may be.
    """

    __slots__ = ("_at", "_buffer", "_descriptors", "limit")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._at = 0  # where the next frame begins
        self._descriptors: list[int] = []

    def feed(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Take what has come together."""
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data
        self._descriptors += descriptors

    def take(self) -> Frame | None:
        """The next frame, or None when the rest of it has yet to come.

        :raises FrameError: the stream is broken.
        """
        rest = len(self._buffer) - self._at
        if rest < _HEAD.size:
            if self._descriptors:
                self._check_pairs(rest)
            return None
        size, kind, number = _HEAD.unpack_from(self._buffer, self._at)
        if size > self.limit:
            raise FrameError(f"a frame of {size} bytes, where {self.limit} are allowed")
        announced = bool(kind & _WITH_DESCRIPTOR)
        if announced and not self._descriptors:
            raise FrameError("a frame without the descriptor that it announces")
        if rest - _HEAD.size < size:
            if self._descriptors:
                self._check_pairs(rest)
            return None
        begin = self._at + _HEAD.size
        with memoryview(self._buffer) as view:
            payload = bytes(view[begin : begin + size])
        self._at = begin + size
        descriptor = self._descriptors.pop(0) if announced else None
        return Frame(kind & ~_WITH_DESCRIPTOR, number, payload, descriptor)

    def _check_pairs(self, rest: int) -> None:
        """No descriptor may be there but that of the frame of which ``rest`` bytes have come."""
        may_announce = rest > 0 and (rest <= _KIND or self._buffer[self._at + _KIND] & _WITH_DESCRIPTOR)
        if len(self._descriptors) > 1 or not may_announce:
            raise FrameError("a descriptor that no frame announces")

    def drain(self) -> list[int]:
        """The descriptors that have not been given to anybody: there will be no more frames."""
        descriptors, self._descriptors = self._descriptors, []
        self._buffer, self._at = bytearray(), 0
        return descriptors


def is_tag(text: object) -> bool:
    """Whether ``text`` may be the tag of a sibling, and so the name of a file."""
    return isinstance(text, str) and _TAG.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Hello:
    """What a sibling says first.

    :ivar version: of its format; of another than ours nothing else is read.
    """

    version: int
    tag: str
    load: int
    draining: bool
    topics: frozenset[str]

    def encode(self) -> bytes:
        told = {
            "version": self.version,
            "tag": self.tag,
            "load": self.load,
            "draining": self.draining,
            "topics": sorted(self.topics),
        }
        return json.dumps(told).encode()


def decode_hello(payload: bytes) -> Hello:
    """Read a HELLO.

    :raises FrameError: it is none.
    """
    told = _decode_object(payload)
    if _version(told) != VERSION:
        return Hello(_version(told), "", 0, False, frozenset())
    tag, load, draining, topics = (told.get(key) for key in ("tag", "load", "draining", "topics"))
    if not isinstance(tag, str) or not is_tag(tag):
        raise FrameError("a HELLO with a tag that is none")
    if type(load) is not int or load < 0 or type(draining) is not bool:
        raise FrameError("a HELLO without a load")
    if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
        raise FrameError("a HELLO without topics")
    return Hello(VERSION, tag, load, draining, frozenset(topics))


def encode_welcome() -> bytes:
    """What is said to a HELLO, of whatever version."""
    return json.dumps({"version": VERSION}).encode()


def decode_welcome(payload: bytes) -> int:
    """The version of who says WELCOME.

    :raises FrameError: it is none.
    """
    return _version(_decode_object(payload))


def encode_topic(topic: str) -> bytes:
    """The payload of SUBSCRIBE and UNSUBSCRIBE."""
    return topic.encode("utf-8", "surrogatepass")


def decode_topic(payload: bytes) -> str:
    """Likewise.

    :raises FrameError: it is no text.
    """
    try:
        return payload.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise FrameError("a topic that is no text") from None


def _decode_object(payload: bytes) -> dict[str, Any]:
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        raise FrameError("junk in place of a greeting") from None
    if not isinstance(told, dict):
        raise FrameError("a greeting that is no object")
    return told


def _version(told: dict[str, Any]) -> int:
    version = told.get("version")
    if type(version) is not int:
        raise FrameError("a greeting without a version")
    return version
