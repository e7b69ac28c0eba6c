"""History: what one process remembers of a namespace's events, so that a client may go on in another. No I/O, no locks.

Each process is an **origin** of events, which it numbers.  All processes get them in that order, but the events of two
origins come in another order here than there: so there are as many logs as processes, and an offset names one of them
(``tag.log.number``).  How far a process has heard each origin is its **vector**.

A session that moves from X to Y takes along what its client has missed there, and X's vector.  Y adds what it has in
its own log above that vector: both together are the **prelude**, which goes into Y's log for this client alone, with
offsets of its own.  From then on the client gets what comes, but for what X has had before Y: up to the **floor**.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ...socketio.broadcast_options import BroadcastOptions, Room
from ...socketio.recovery_event_log import Entry, EventLog

# How far each origin has been heard.
Vector = dict[str, int]
# An encoded event, with or without its offset.
Event = list[Any]

TAG: Final = 4  # how long what names a process is, with which its origins and offsets begin


class Trail:
    """How a session has come to this process from another.

    :ivar offset: the last one that its client is known to have, in the log of another process, or of an earlier stay.
    :ivar floor: how far it has had the events of each origin, or has missed them in the other process; once let in, of
        those of which not so many have come here yet.
    :ivar missed: those, until the client has been let in; then None.
    :ivar start: from then on, the number of the first entry of this log that it has not had before.
    :ivar since: when that was, or else when it came.
    """

    __slots__ = ("floor", "missed", "offset", "since", "start")

    def __init__(self, offset: str, floor: Vector, missed: list[Event]) -> None:
        self.offset = offset
        self.floor = floor
        self.missed: list[Event] | None = missed
        self.start = 0
        self.since = time.monotonic()

    def has_had(self, origin: str, seq: int) -> bool:
        """Whether an event is behind the client."""
        return seq <= self.floor.get(origin, -1)  # what is not numbered has never been had elsewhere


class Departure(NamedTuple):
    """What a session takes along.

    :ivar missed: events, with the offsets that stand in them.
    """

    missed: list[tuple[str, Event]]
    vector: Vector


@dataclass(slots=True)
class Stream:
    """The events of one origin, as they come here.

    :ivar base: all after that one have come...
    :ivar last: ...up to this one.
    :ivar heard: when something was heard of it.
    """

    base: int
    last: int
    heard: float


class History:
    """See the module's text; guarded by its owner's lock.

    :param log: in which the events are, in the order in which they have come.
    :param duration: seconds for which its events are kept.
    :ivar name: this process as an origin; "" before it has siblings.
    """

    def __init__(self, log: EventLog, duration: float) -> None:
        self.log = log
        self.name = ""
        self._duration = duration
        self._streams: dict[str, Stream] = {}
        self._own = Stream(0, 0, 0.0)
        self._current: dict[str, str] = {}  # the latest origin of each process, by its tag

    # -- events and where they come from --------------------------------------------------------------------------

    def join(self, tag: str) -> None:
        """This process has siblings, among which it has that tag."""
        self.log.tag(tag)
        self.name = f"{tag}.{self.log.name}"
        self._streams[self.name] = self._own
        self._current[tag] = self.name

    @property
    def last(self) -> int:
        """The number of the latest event of this process."""
        return self._own.last

    def count(self) -> int:
        """Give an event of this process, for all, its number."""
        self._own.last += 1
        return self._own.last

    def stand(self, origin: str, seq: int) -> int:
        """Another process tells that all its events after ``seq`` will come here.

        :return: how many of those before that should have come.
        """
        stream = self._streams.get(origin)
        if stream is None:
            self._meet(origin, seq)
            return 0
        stream.heard = time.monotonic()
        self._current[origin[:TAG]] = origin
        missing = seq - stream.last
        if missing > 0:
            stream.base = stream.last = seq
        return max(0, missing)

    def hear(self, origin: str, seq: int) -> int:
        """An event of another process has come.

        :return: how many should have come before it; -1: it is not new.
        """
        missing = self.stand(origin, seq - 1)
        stream = self._streams[origin]
        if seq <= stream.last:
            return -1
        stream.last = seq
        return missing

    def _meet(self, origin: str, seq: int) -> None:
        now = time.monotonic()
        for name, stream in list(
            self._streams.items()
        ):  # those that have ended, and whose events are not kept any more
            if stream is not self._own and self._current.get(name[:TAG]) != name and self._is_old(stream.heard, now):
                del self._streams[name]
        self._streams[origin] = Stream(seq, seq, now)
        self._current[origin[:TAG]] = origin

    def knows(self, tag: str) -> bool:
        """Whether that process has told where it stands."""
        return tag in self._current

    def forget(self, tag: str) -> None:
        """That process has ended."""
        origin = self._current.pop(tag, None)
        if origin is not None and origin in self._streams:
            self._streams[origin].heard = time.monotonic()

    def _is_old(self, since: float, now: float) -> bool:
        return since < now - 2 * self._duration

    # -- a session's way ------------------------------------------------------------------------------------------

    def give(self, trail: Trail | None, rooms: frozenset[Room], offset: str) -> Departure | None:
        """What a session takes along that leaves for another process, whose client has events up to ``offset``; None:
        that is not known any more."""
        if trail is not None and trail.missed is not None:  # it has been here only for a moment
            known = offset == trail.offset
            return Departure([("", event) for event in trail.missed], dict(trail.floor)) if known else None
        number = self.locate(trail, offset)
        if number is None:
            return None
        return Departure(list(self.missed(number, trail, rooms)), self.vector(trail))

    def locate(self, trail: Trail | None, offset: str) -> int | None:
        """The number of the first entry that a client with ``offset`` has not had; None: that is not known any more.

        :param trail: that of its session, if it has come from another process and has been let in.
        """
        if trail is None or offset != trail.offset:
            return self.log.number_after(offset)
        return trail.start if self.log.reaches(trail.start) else None

    def missed(self, number: int, trail: Trail | None, rooms: frozenset[Room]) -> Iterator[tuple[str, Event]]:
        """The events from an entry on that are for a session in ``rooms``, with their offsets."""
        for at, entry in enumerate(self.log.since(number), number):
            if trail is None:
                wanted = entry.is_for(rooms)
            else:
                wanted = trail in entry.rooms or (entry.is_for(rooms) and not trail.has_had(entry.origin, entry.seq))
            if wanted:
                yield self.log.offset_of(at), entry.batch

    def vector(self, trail: Trail | None) -> Vector:
        """How far a client that has been here has had everything, or else takes it along."""
        vector = {origin: stream.last for origin, stream in self._streams.items()}
        if trail is not None and not self._is_old(trail.since, time.monotonic()):
            _raise(vector, trail.floor)
        elif trail is not None:
            _raise(vector, {origin: seq for origin, seq in trail.floor.items() if origin in vector})
        return vector

    def above(self, vector: Vector, living: Collection[str]) -> list[tuple[int, Entry]] | None:
        """The entries above ``vector``, with their numbers; None: not all of them are here, or it is not known.

        :param living: the tags of the other processes.
        """
        wanted = self._wanted(vector, living)
        if wanted is None:
            return None
        found: list[tuple[int, Entry]] = []
        open_ = sum(self._streams[origin].last - seq for origin, seq in wanted.items())
        for number, entry in self.log.backwards() if open_ else ():
            if entry.origin in wanted and entry.seq > wanted[entry.origin]:
                found.append((number, entry))
                open_ -= 1
                if not open_:
                    break
        found.reverse()
        return None if open_ else found

    def _wanted(self, vector: Vector, living: Collection[str]) -> Vector | None:
        """Above which numbers there are events here."""
        for origin in vector:
            tag = origin[:TAG]
            if origin not in self._streams and tag not in self._current and tag in living:
                return None  # it has not told yet where it stands
        wanted: Vector = {}
        for origin, stream in self._streams.items():
            seq = vector.get(origin)
            if seq is None:
                if self._current.get(origin[:TAG]) != origin:
                    continue  # it ended before the other process had heard of it: before its clients came
                if stream.base:
                    return None
                seq = 0  # that process had heard nothing of it yet
            if stream.last > seq:
                if stream.base > seq:
                    return None
                wanted[origin] = seq
        return wanted

    def let_in(
        self,
        trail: Trail,
        rooms: frozenset[Room],
        living: Collection[str],
        add: Callable[[Event, str], Event],
        remove: Callable[[Event, str], Event],
    ) -> list[Event] | None:
        """A session that has come from another process goes on here, in one step.

        :param add: puts an offset to an event.
        :param remove: takes it away again.
        :return: its prelude, with offsets; None: something is missing, so it cannot go on.
        """
        above = self.above(trail.floor, living)
        if above is None or trail.missed is None:
            return None
        own = [remove(entry.batch, self.log.offset_of(number)) for number, entry in above if entry.is_for(rooms)]
        start, prelude = self.log.next, []
        options = BroadcastOptions(rooms=frozenset([trail]))  # which is in no other's rooms
        for event in (*trail.missed, *own):
            prelude.append(add(event, self.log.next_offset()))
            self.log.append(prelude[-1], options)
        heard = self.vector(None)
        trail.floor = {origin: seq for origin, seq in trail.floor.items() if seq > heard.get(origin, 0)}
        trail.missed, trail.start, trail.since = None, start, time.monotonic()
        return prelude


def _raise(vector: Vector, other: Vector) -> None:
    """Make ``vector`` the higher one of both, origin by origin."""
    for origin, seq in other.items():
        if seq > vector.get(origin, -1):
            vector[origin] = seq
