"""Rooms that are named like a client of another process: an id is a room that any client may join.

What is emitted to an id goes to the process that the id names, and to no other.  So whoever has members in a room of
such a name tells its siblings, by a topic of its own; it is rare, on purpose (``socket.join(other.id)``) or by chance:
whatever has 20 characters of which the last four happen to be some process's tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..siblings import Link, Siblings
from ..socketio.adapter import Adapter, RoomListener
from ..socketio.broadcast_options import Room

# What an id ends in that names its process, and how long one is; one of v2's is /chat#its id.
_TAG = 4
_ID = 20
# How many of these rooms are told of one by one: above, this process is sent what is for any id.
_MANY = 256


def tag_in(room: object) -> str | None:
    """The tag of the process that ``room`` names, if it is the id of a client."""
    if isinstance(room, str) and (len(room) == _ID or room[-_ID - 1 : -_ID] == "#"):
        return room[-_TAG:]
    return None


def looks_like_an_id(room: object) -> bool:
    """Whether ``room`` may be the id of a client, of whatever server; a room's name may look so by chance."""
    if not isinstance(room, str) or len(room) != _ID or not room.isascii():
        return False
    return room.replace("-", "a").replace("_", "a").isalnum()


class Namesakes:
    """Those of a namespace in this process; it has them watched as soon as there is a sibling.

    :param room_size: how many members a room has here.
    """

    __slots__ = ("_all", "_prefix", "_room_size", "_rooms", "_siblings")

    def __init__(self, nsp: str, room_size: Callable[[Room], int]) -> None:
        self._prefix = f"@{nsp}@"  # as no namespace is called
        self._room_size = room_size
        self._rooms: set[Room] = set()
        self._all = False  # the siblings have been asked for everything
        self._siblings: Siblings | None = None

    def find(self, siblings: Siblings, links: Sequence[Link], room: Room) -> Sequence[Link] | None:
        """Those of ``links`` that lead to members of ``room``; None when it is not the id of any sibling's client."""
        tag = tag_in(room)
        if tag is None or (tag != siblings.tag and all(link.tag != tag for link in links)):
            return None
        topics = {self._prefix, f"{self._prefix}{room}"}
        return [link for link in links if link.tag == tag or not topics.isdisjoint(link.state.topics)]

    def listen(self, siblings: Siblings, adapter: Adapter) -> None:
        """Be told of the rooms of ``adapter`` from now on."""
        before, self._siblings = self._siblings, siblings
        if before is None:
            adapter.on("create-room", self._created)
            adapter.on("delete-room", self._deleted)

    def stop_listening(self, listeners: dict[str, tuple[RoomListener, ...]]) -> None:
        """Leave those that others have registered."""
        for event, listener in (("create-room", self._created), ("delete-room", self._deleted)):
            listeners[event] = tuple(other for other in listeners.get(event, ()) if other != listener)

    def look_at(self, rooms: Iterable[Room]) -> None:
        """There are ``rooms``."""
        for room in rooms:
            self._created(room)

    def _created(self, room: Room) -> None:
        tag, siblings = tag_in(room), self._siblings
        if tag is None or siblings is None or tag == siblings.tag or self._all or room in self._rooms:
            return
        if any(link.tag == tag for link in siblings.links()) and self._room_size(room):
            self._rooms.add(room)
            if len(self._rooms) > _MANY:
                self._all = True
                siblings.subscribe(self._prefix)
            else:
                siblings.subscribe(f"{self._prefix}{room}")

    def _deleted(self, room: Room) -> None:
        siblings = self._siblings
        if siblings is None or room not in self._rooms or self._room_size(room):
            return
        self._rooms.discard(room)
        siblings.unsubscribe(f"{self._prefix}{room}")
        self._created(room)  # if somebody has joined meanwhile

    def leave(self) -> None:
        """The namespace is not here any more."""
        siblings, self._siblings = self._siblings, None
        if siblings is not None:
            for topic in (self._prefix, *[f"{self._prefix}{room}" for room in list(self._rooms)]):
                siblings.unsubscribe(topic)
