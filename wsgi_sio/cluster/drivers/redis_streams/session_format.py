"""Sessions that are kept in Redis, as Node's streams adapter (0.3) writes them, and how they change hands.

Node saves a session when its client has gone, so that one whose process was killed is lost.  Here it is saved from its
beginning on, at each change, with the name of the server that has it (``live``): who wants it asks that one first, and
takes it over at once when nobody answers to the name any more.  All writing is by comparison: a server that has been
taken for dead, and comes back, does not undo what has happened since.  The format part is pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from ....socketio.broadcast_options import Room
from ...bus.redis_stream_reader import id_at, position_of
from ...messages import encode_rooms

# Sets a key (or, for nothing, deletes it), unless it has a value that is none of those by these digests.
# Its arguments: the value, for how long (milliseconds), and the digests.
WRITE: Final = b"""
local now = redis.call('GET', KEYS[1])
if now then
  local digest, mine = redis.sha1hex(now), false
  for i = 3, #ARGV do mine = mine or ARGV[i] == digest end
  if not mine then return 0 end
end
if ARGV[1] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1
"""
# Replaces the value of a key, if it is still that one.  Its arguments: the new value, for how long, the old one.
CLAIM: Final = b"""
if redis.call('GET', KEYS[1]) ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# How many positions of events that need not be sent again are kept with a session.
_MAX_HAD: Final = 1000


@dataclass(slots=True)
class Trail:
    """What the adapter knows of a socket's session.

    :ivar since: the position in the stream at its beginning: all its client may ever have missed is behind it.
    :ivar floor: up to which it is not sent what comes from the stream here, for its client has had it.
    :ivar number: how many events this server had emitted when it was let in here.
    :ivar had: positions of events that its client has had although its offset does not say so.
    :ivar content: what has been saved last; b"": nothing.
    :ivar renewed: when that was, by the monotonic clock.
    :ivar digests: of what its key may hold, as far as this server has written it.
    :ivar over: whether it is not saved any more.
    """

    since: int
    floor: int = 0
    number: int = 0
    had: frozenset[int] = frozenset()
    content: bytes = b""
    renewed: float = 0.0
    digests: deque[bytes] = field(default_factory=lambda: deque(maxlen=8))
    over: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """A session as it is kept.

    :ivar live: the server that has it; "": it is nobody's, its client has gone.
    :ivar since: see :class:`Trail`; None where Node has saved it.
    """

    sid: str
    pid: str
    rooms: frozenset[Room]
    data: dict[str, Any]
    live: str = ""
    since: int | None = None
    had: frozenset[int] = frozenset()


def pack_session(session: Stored) -> bytes:
    """Write a session as Node reads it; what Node does not know stands behind.

    :raises TypeError: something in it would not be the same in another process.
    :raises ValueError: likewise.
    """
    import msgpack

    rooms = sorted(encode_rooms(session.rooms), key=lambda room: (room != session.sid, repr(room)))
    values: dict[str, Any] = {"sid": session.sid, "pid": session.pid, "rooms": rooms, "data": session.data}
    if session.live:
        values["live"] = session.live
    if session.since is not None:
        values["since"] = id_at(session.since)
    if session.had:
        values["had"] = [id_at(position) for position in sorted(session.had)[-_MAX_HAD:]]
    return base64.b64encode(msgpack.packb(values, strict_types=True, datetime=True))


def unpack_session(raw: bytes, pid: str) -> Stored:
    """The mirror image.

    :raises ValueError: it is none, or another client's.
    """
    import msgpack

    try:
        values = msgpack.unpackb(base64.b64decode(raw, validate=True), strict_map_key=False, timestamp=3)
        since = values.get("since")
        stored = Stored(
            values["sid"],
            values["pid"],
            frozenset(values["rooms"]),
            {} if values["data"] is None else values["data"],
            values.get("live", ""),
            None if since is None else position_of(since),
            frozenset(map(position_of, values.get("had", ()))),
        )
        texts = all(type(text) is str for text in (stored.sid, stored.pid, stored.live))
    except (AttributeError, KeyError, TypeError, binascii.Error) as error:
        raise ValueError("not a session") from error
    if not texts or stored.pid != pid or type(stored.data) is not dict or not stored.sid:
        raise ValueError("not a session")
    return stored


def digest(value: bytes) -> bytes:
    """What :data:`WRITE` knows a value by."""
    return hashlib.sha1(value, usedforsecurity=False).hexdigest().encode()


def write(key: bytes, value: bytes, seconds: float, digests: Iterable[bytes]) -> tuple[bytes, ...]:
    """The command that does what :data:`WRITE` says; it answers 0 or 1."""
    return (b"EVAL", WRITE, b"1", key, value, b"%d" % round(seconds * 1000), *digests)


def claim(key: bytes, value: bytes, seconds: float, former: bytes) -> tuple[bytes, ...]:
    """The command that does what :data:`CLAIM` says; likewise."""
    return (b"EVAL", CLAIM, b"1", key, value, b"%d" % round(seconds * 1000), former)
