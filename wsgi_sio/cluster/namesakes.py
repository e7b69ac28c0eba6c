"""Rooms that are named like a client of another process: an id is a room that any client may join.

What is emitted to an id goes to the process that the id names, and to no other.  So whoever has members in a room of
such a name tells its siblings, by a topic of its own; it is rare, on purpose (``socket.join(other.id)``) or by chance:
whatever has 20 characters of which the last four happen to be some process's tag.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from ..siblings import Link, Siblings
from ..socketio.adapter import Room

# What an id ends in that names its process, and how long one is; one of v2's is /chat#its id.
_TAG = 4
_ID = 20
# How many of these rooms are told of one by one: above, this process is sent what is for any id.
_MANY = 256


def tag_in(room: Room) -> str | None:
    """The tag of the process that ``room`` names, if it is the id of a client."""
    if isinstance(room, str) and (len(room) == _ID or room[-_ID - 1 : -_ID] == "#"):
        return room[-_TAG:]
    return None


class Namesakes:
    """Those of a namespace in this process.

    :param room_size: how many members a room has here.
    """

    __slots__ = ("_all", "_prefix", "_room_size", "_rooms")

    def __init__(self, nsp: str, room_size: Callable[[Room], int]) -> None:
        self._prefix = f"@{nsp}@"  # as no namespace is called
        self._room_size = room_size
        self._rooms: set[Room] = set()
        self._all = False  # the siblings have been asked for everything

    def __bool__(self) -> bool:
        return bool(self._rooms)

    def find(self, siblings: Siblings, links: Sequence[Link], room: Room) -> Sequence[Link] | None:
        """Those of ``links`` that lead to members of ``room``; None when it is not the id of any sibling's client."""
        tag = tag_in(room)
        if tag is None:
            return None
        if tag != siblings.tag and all(link.tag != tag for link in links):
            return None
        topics = {self._prefix, f"{self._prefix}{room}"}
        return [link for link in links if link.tag == tag or not topics.isdisjoint(link.told.topics)]

    def joined(self, siblings: Siblings, rooms: Iterable[Room]) -> None:
        """Somebody has joined ``rooms``."""
        for room in rooms:
            tag = tag_in(room)
            if tag is not None and tag != siblings.tag and room not in self._rooms:
                self._look_at(siblings, room, tag)

    def _look_at(self, siblings: Siblings, room: Any, tag: str) -> None:
        if self._all or all(link.tag != tag for link in siblings.links()):
            return
        self._rooms.add(room)
        if len(self._rooms) > _MANY:
            self._all = True
            siblings.subscribe(self._prefix)
        else:
            siblings.subscribe(f"{self._prefix}{room}")

    def among(self, rooms: Collection[Room]) -> set[Room]:
        """Those of ``rooms`` that have been told of."""
        return self._rooms.intersection(rooms)

    def left(self, siblings: Siblings, rooms: Iterable[Room]) -> None:
        """Somebody has left ``rooms``, which have been told of."""
        for room in rooms:
            if not self._room_size(room):
                self._rooms.discard(room)
                siblings.unsubscribe(f"{self._prefix}{room}")
                if self._room_size(room):  # somebody has joined meanwhile
                    self.joined(siblings, [room])

    def leave(self, siblings: Siblings) -> None:
        """The namespace is not here any more."""
        rooms, self._rooms = self._rooms, set()
        for topic in (self._prefix, *[f"{self._prefix}{room}" for room in rooms]):
            siblings.unsubscribe(topic)
