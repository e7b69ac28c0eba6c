"""ClusterRoster: who is in the rooms that are watched, on all servers of the cluster.

A server that watches rooms says so every few seconds (``want``).  While somebody wants to know of a room, each server
tells all others of its own clients there, ``[room, joined, left]``: at first who they are (``left`` is null), then who
has joined and left, gathered for 50 ms.  What it tells is numbered, so that who has missed something sees that and asks
for the whole (``lost``: whom).  Who is not heard of any more has no clients, and wants nothing.

All this is one event between servers, which those of Node do not listen to: it goes wherever these go.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Set
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..runtime import PIECES, HeardTime
from ..socketio.local_presence import BEAT, KnowsRooms, RoomDiff, Roster, Watcher
from ..socketio.plain_values import is_plain

if TYPE_CHECKING:
    from ..socketio.interfaces import NamespaceInterface
    from .cluster_node import ClusterNode

logger = logging.getLogger("wsgi_sio.adapters")

# The event between servers.
EVENT: Final = "wsgi_sio:presence"

# After how long without a word a server is taken for dead (seconds), where nothing else tells that.
_DEAD: Final = 10.0
# How long who has missed something waits before it asks again (seconds).
_AGAIN: Final = 1.0

Rooms = frozenset[Any]


class TellsServers(KnowsRooms, Protocol):
    """The adapter of a namespace that several servers share."""

    def join_cluster(self) -> ClusterNode: ...

    def publish_presence(self, told: dict[str, Any]) -> None: ...

    def report_junk(self, error: Exception) -> None: ...


class _Peer:
    """Another server.

    :ivar sender: its name in the cluster, as the driver has it.
    :ivar heard: when it was heard of, in that time.
    :ivar wants: the rooms that it watches.
    :ivar number: of the last that it has told; None: it is not known who is there.
    :ivar asked: when it has been asked for the whole.
    """

    __slots__ = ("asked", "heard", "number", "sender", "wants")

    def __init__(self, sender: str, heard: float) -> None:
        self.sender = sender
        self.heard = heard
        self.wants: Rooms = frozenset()
        self.number: int | None = None
        self.asked = -_AGAIN


class ClusterRoster(Roster):
    """See the module's text."""

    def __init__(self, namespace: NamespaceInterface, adapter: TellsServers) -> None:
        super().__init__(namespace, adapter)
        self._cluster = adapter
        node = adapter.join_cluster()
        self._uid = node.uid
        node.on_gone = partial(self._jobs.put, self._forget_sender)
        # Only jobs touch these.
        self._heard = HeardTime(_DEAD / PIECES)
        self._peers: dict[str, _Peer] = {}
        self._asked_for: Rooms = frozenset()  # by any of them
        self._number = 0
        self._owes_rooms: set[Any] = set()  # of which others are to know the whole
        self._owes_wants = False  # what is watched here has changed since it was told
        self._anew: set[Any] = set()  # what is watched anew, perhaps after others were told that it is watched
        self._lost: set[str] = set()  # who is to be asked for the whole

    def receive(self, sender: str, told: Any) -> None:
        """Another server has told something.

        :raises ValueError: it makes no sense.
        """
        if not isinstance(told, dict) or not isinstance(told.get("node"), str):
            raise ValueError("not a message about presence")
        if told["node"] != self._uid:
            self._jobs.put(self._receive, sender, told, cost=1)

    def close(self) -> None:
        talks = not self.closed and bool(self._rooms)
        super().close()
        if talks:
            self._cluster.publish_presence({"node": self._uid, "bye": True})

    # -- jobs: what is told -------------------------------------------------------------------------------------

    def _wanted(self) -> Rooms:
        return super()._wanted() | self._asked_for

    def _watch(self, presence: Watcher) -> None:
        super()._watch(presence)
        self._anew.add(presence.room)
        self._owes_wants = True
        self._run_soon()

    def _unwatch(self, presence: Watcher) -> None:
        super()._unwatch(presence)
        if not self._watching:
            self._peers = {uid: peer for uid, peer in self._peers.items() if peer.wants}
        self._owes_wants = True
        self._run_soon()

    def _look_at_changed(self) -> None:
        super()._look_at_changed()  # which tells changes
        if self._owes_wants or self._lost:
            self._publish([])

    def _on_beat(self) -> None:
        if self.closed or not self._rooms:
            self._beat = None
            return
        judges, heard = self._heard.look(), self._heard.read()
        for uid in [uid for uid, peer in self._peers.items() if judges and heard - peer.heard >= _DEAD]:
            logger.info("%r has not heard of the server %s for %g s", self._namespace, uid, _DEAD)
            self._forget(uid)
        super()._on_beat()
        self._owes_wants = bool(self._watching)
        self._publish([])
        self._heard.expect_look(BEAT)

    def _tell(self, diffs: list[RoomDiff]) -> None:
        super()._tell(diffs)
        if self._owes_rooms or any(diff.room in self._asked_for for diff in diffs):
            self._publish(diffs)

    def _publish(self, diffs: Iterable[RoomDiff]) -> None:
        """Tell the others whatever there is to tell."""
        told: dict[str, Any] = {"node": self._uid}
        if self._owes_wants:
            told["want"], told["anew"] = list(self._watching), list(self._anew)
            self._owes_wants, self._anew = False, set()
        if self._lost:
            self._lost, told["lost"] = set(), list(self._lost)
        if self._asked_for:
            owed, self._owes_rooms = self._owes_rooms & self._asked_for, set()
            rooms: list[Any] = [[room, list(self._seen.get(room, ())), None] for room in owed]
            others = self._asked_for - owed
            rooms += [[room, list(joined), list(left)] for room, joined, left in diffs if room in others]
            self._number += bool(rooms)
            told["number"], told["rooms"] = self._number, rooms
        if not self.closed:
            self._cluster.publish_presence(told)

    # -- jobs: what others tell ---------------------------------------------------------------------------------

    def _receive(self, sender: str, told: dict[str, Any]) -> None:
        try:
            self._understand(sender, told)
        except Exception as error:
            self._cluster.report_junk(error)

    def _understand(self, sender: str, told: dict[str, Any]) -> None:
        uid: str = told["node"]
        if self.closed or told.get("bye"):
            self._forget(uid)
            return
        peer = self._peers.get(uid)
        if peer is None:
            peer = self._peers[uid] = _Peer(sender, 0.0)
        peer.sender, peer.heard = sender, self._heard.read()
        if "want" in told:
            self._take_wants(peer, frozenset(told["want"]), told.get("anew", ()))
        if self._uid in told.get("lost", ()):
            self._owe(peer.wants)
        if "number" in told and self._watching:
            self._take_number(uid, peer, told)
        if not (peer.wants or self._watching):
            self._peers.pop(uid, None)

    def _take_wants(self, peer: _Peer, wants: Rooms, anew: Iterable[Any]) -> None:
        if not all(room is None or is_plain(room) for room in wants):
            raise ValueError("not the name of a room")
        news, peer.wants = (wants - peer.wants) | wants.intersection(anew), wants
        if news:
            self._owe(news)
        self._count_wants()

    def _owe(self, rooms: Rooms) -> None:
        self._owes_rooms |= rooms
        self._run_soon()

    def _count_wants(self) -> None:
        asked_for = frozenset().union(*[peer.wants for peer in self._peers.values()])
        if asked_for != self._asked_for:
            self._asked_for = asked_for
            self._choose_rooms()

    def _take_number(self, uid: str, peer: _Peer, told: dict[str, Any]) -> None:
        number, known = int(told["number"]), peer.number
        rooms = {room: (_ids(joined), left if left is None else _ids(left)) for room, joined, left in told["rooms"]}
        if known is not None and number <= known:
            return  # it is known, or comes late
        goes_on = known is not None and number == known + 1 and bool(rooms)
        if not goes_on and not all(room in rooms and rooms[room][1] is None for room in self._watching):
            self._ask_again(uid, peer)
            return
        peer.number = number
        for room, (joined, left) in rooms.items():
            presence = self._watching.get(room)
            if presence is not None:
                presence.update(uid, joined, left or frozenset(), whole=left is None)

    def _ask_again(self, uid: str, peer: _Peer) -> None:
        now = self._heard.read()
        if now - peer.asked >= _AGAIN:
            peer.asked = now
            self._lost.add(uid)
            self._run_soon()

    # -- jobs: who has gone -------------------------------------------------------------------------------------

    def _forget_sender(self, sender: str) -> None:
        for uid in [uid for uid, peer in self._peers.items() if peer.sender == sender]:
            self._forget(uid)

    def _forget(self, uid: str) -> None:
        if self._peers.pop(uid, None) is None:
            return
        for presence in self._watching.values():
            presence.update(uid, frozenset(), whole=True)
        self._count_wants()


def _ids(values: Any) -> Set[str]:
    found = frozenset(values)
    if not all(isinstance(value, str) for value in found):
        raise ValueError("not the ids of sockets")
    return found
