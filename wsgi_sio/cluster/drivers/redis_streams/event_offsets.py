"""OffsetsAdapter: the events of a Redis stream, each with its entry's id as its offset.

It is the half of RecoveringStreamsAdapter that knows nothing of sessions.  Each server sends its clients what it reads
from the stream, its own events too, so that an offset says what a client has had, whoever has sent it.  While Redis is
away, or slow, a server's own events go to its own clients without waiting; they carry the offset that was the last
then, and are not sent again when they are read.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ....socketio.adapter import RoomChange
from ....socketio.broadcast_options import BroadcastOptions, Room
from ....socketio.jsoncodec import dumps_of
from ....socketio.packet import EVENT, Packet
from ....socketio.recovery_offsets import Batch, Offsets
from ....socketio.recovery_store import RecoveryStore
from ... import messages
from ...bus import SharedBus
from ...bus.redis_stream_reader import Fields, id_at
from ...bus.redis_streams_bus import Unanswered
from ...cluster_node import ClusterNode
from ...messages import Message
from .events_in_flight import EventInFlight, EventsInFlight, wants
from .stream_entries import entry_of, pack_data
from .streams_adapter import RedisStreamsAdapter

if TYPE_CHECKING:
    from ....socketio.interfaces import SocketInterface
    from ....socketio.namespace import Namespace
    from ....socketio.recovery import RecoveryConfig

logger = logging.getLogger("wsgi_sio.adapters")

# How long an event of this server's may take through Redis before its clients get it without (seconds)...
_PATIENCE: Final = 1.0
# ...how often that is looked at, and how quickly one has to come again before that is over.
_LOOK: Final = 0.25
# For how long it may turn up in the stream after all.
_MEMORY: Final = 60.0
# How many of those that did are remembered, for clients that go on at another server.
_MAX_EARLY: Final = 1000
_EVER: Final = 1 << 200


class OffsetsAdapter(RedisStreamsAdapter):
    """See the module's text.

    :param recovery: for how long, and how much, is kept.
    :ivar early: the positions of this server's events that were sent before they were read, and when that was, as
        :attr:`EventInFlight.turn` has it.
    """

    def __init__(
        self, namespace: Namespace, shared: SharedBus, stream: str, recovery: RecoveryConfig, **options: Any
    ) -> None:
        super().__init__(namespace, shared, stream, **options)
        self._offsets = Offsets(namespace.server)
        self._kept = RecoveryStore(namespace, self._lock, recovery.max_disconnection_duration, recovery.max_stored)
        # Guarded by the adapter's lock:
        self._own = EventsInFlight()
        self._place = 0  # up to which this namespace's entries have been sent
        self._base = 0  # the log has all that came after it
        self._away = False  # own events do not wait for Redis
        self._looking = False  # a timer is set for own events that take too long
        self.early: deque[tuple[int, int]] = deque(maxlen=_MAX_EARLY)

    def start(self) -> None:
        super().start()
        if self._reader is not None:
            with self._lock:
                self._base = self._reader.position

    def close(self) -> None:
        super().close()
        self._kept.close()

    def here_locked(self) -> int:
        """Up to which all entries of the stream that concern this namespace have been sent."""
        return max(self._place, 0 if self._reader is None else self._reader.position)

    # -- what goes out ------------------------------------------------------------------------------------------

    def broadcast(self, packet: Packet, options: BroadcastOptions) -> None:
        if packet.type != EVENT or packet.id is not None or options.volatile or self._kept.closed:
            super().broadcast(packet, options)
            return
        alone = self._only_one(options)
        if alone is not None:
            alone.wait_for_room()
        batch = self._namespace.server.encode(packet, options.compress)
        node = None if options.stays_here else self.join_cluster()
        bus = self._bus
        if node is None or bus is None or node.closed:
            self._send_early(batch, packet.data, options, alone is not None)
            return
        opts = messages.encode_options(options)
        written = pack_data(
            {"packet": messages.encode_packet(packet), "opts": opts}, dumps_of(self._namespace.server.json)
        )
        own = EventInFlight(written, batch, packet.data, options, alone is not None)
        with self._lock:
            self._own.add(own)
            self._away = away = self._away or bus.outage.lasts
            starts, self._looking = not self._looking, True
        entry = entry_of(self._message(node, messages.BROADCAST, None), written)
        bus.post(*self._head, *entry, done=partial(self._answered, own))
        if starts:
            self._namespace.server.reactor.call_later(_LOOK, self._look)
        if away:
            self._send_late()

    def _send_early(self, batch: Batch, data: list[Any], options: BroadcastOptions, alone: bool) -> None:
        """Send an event to the clients of this server only, with the latest offset: those who have it have had all."""
        with self._lock:
            marked = self._offsets.add(batch, id_at(self.here_locked()))
            recipients = [socket for socket in self._find_locked(options) if not socket.gone]
            send = self._reserve_locked(recipients, marked, lambda: data, alone, options.posted)
        send()

    def _send_late(self) -> None:
        """Send what should have come through Redis by now to the clients of this server."""
        while True:
            with self._lock:
                late = self._own.late_one()
                if late is None:
                    return
                marked = self._offsets.add(late.batch, id_at(self.here_locked()))
                recipients = self._recipients_locked(late.options, _EVER, None, late)
                # Nobody has a turn: who left before it has been sent to him would count as one who has had it.
                data = partial(getattr, late, "data")
                send = self._reserve_locked(recipients, marked, data, late.alone, False, at_once=True)
            send()

    def _answered(self, own: EventInFlight, answer: Any) -> None:
        """The stream has an event of this server's, or not."""
        if not isinstance(answer, Exception):
            self._appended(answer)
            return
        with self._lock:
            self._away = True
        self._send_late()
        if not isinstance(answer, Unanswered) or not answer.sent:  # else it may turn up yet
            with self._lock:
                self._own.remove(own)
        self._appended(answer)

    def _look(self) -> None:
        """Look for own events that take too long; on an I/O thread."""
        node, now = self._node, time.monotonic()
        with self._lock:
            oldest = self._own.oldest()
            late = oldest is not None and oldest < now - _PATIENCE
            self._away = self._away or late
            self._own.forget(now - _MEMORY)
            self._looking = goes_on = len(self._own) > 0 and node is not None and not node.closed
        reactor = self._namespace.server.reactor
        if late:
            reactor.submit(self._send_late)
        if goes_on:
            reactor.call_later(_LOOK, self._look)

    def say_farewell(self, socket: SocketInterface) -> None:
        super().say_farewell(socket)
        trail = socket.trail
        if trail is None:
            return
        with self._lock:
            owed = self._own.owed(self._rooms.get(socket.id, set()))
            trail.floor = _EVER  # nothing more from the stream
            offset = id_at(self.here_locked())
            sends = [socket.reserve(self._offsets.add(own.batch, offset)) for own in owed]
        for send in sends:
            send()
        for own in owed:
            socket.tell_outgoing(own.data)

    def _leave_locked(self, sid: str, room: Room, changes: list[RoomChange]) -> None:
        self._own.left(sid, room)
        super()._leave_locked(sid, room, changes)

    # -- what comes in (on the stream's reader: nothing may block) ----------------------------------------------

    def _on_entry(self, entry_id: str, position: int, fields: Fields) -> None:
        node = self._node
        if node is None or node.closed:
            return
        if fields.get(b"uid") != node.uid.encode():
            super()._on_entry(entry_id, position, fields)
        elif fields.get(b"type") == b"%d" % messages.BROADCAST:
            with self._lock:
                own = self._own.match(fields.get(b"data", b""))
            if own is not None:  # else it is volatile
                self._send_entry(entry_id, position, own.batch, own.options, lambda: own.data, own)

    def take_entry(self, node: ClusterNode, message: Message, entry_id: str, position: int) -> None:
        event = self.event_in(message)
        if event is None:
            self.on_message(message)
        else:
            batch, options, data = event
            self._send_entry(entry_id, position, batch, options, lambda: data, None)

    def event_in(self, message: Message) -> tuple[Batch, BroadcastOptions, list[Any]] | None:
        """The event for clients in a message, encoded; None: it is none that is kept for those who come back.

        :raises Exception: it makes no sense.
        """
        data = message.get("data")
        if message["type"] != messages.BROADCAST or not isinstance(data, dict) or data.get("requestId") is not None:
            return None
        options = messages.decode_options(data["opts"])
        if options.volatile:
            return None
        packet = messages.decode_packet(data["packet"], self._namespace.name)
        return self._namespace.server.encode(packet, options.compress), options, packet.data

    def _send_entry(
        self,
        entry_id: str,
        position: int,
        batch: Batch,
        options: BroadcastOptions,
        data: Callable[[], list[Any]],
        own: EventInFlight | None,
    ) -> None:
        marked = self._offsets.add(batch, entry_id)
        with self._lock:
            if self._kept.closed:
                return
            if position <= self._place:  # another stream than before
                self._kept.log.clear()
                self._base = self._kept.log.forgotten = 0
            self._kept.log.append(marked, options, entry_id, position)
            unwatched = self._kept.begin_watch_locked()
            recipients = self._recipients_locked(options, position, own, own)
            self._place = position
            if own is not None:
                self._read_locked(own, position)
            send = self._reserve_locked(recipients, marked, data, own is not None and own.alone, True)
        if unwatched:
            self._kept.watch()
        send()

    def _read_locked(self, own: EventInFlight, position: int) -> None:
        """An own event has come through Redis."""
        if own.early:
            self.early.append((position, own.turn))
        if self._away and time.monotonic() - own.since < _LOOK and self._bus is not None:
            self._away = self._bus.outage.lasts
        self._own.tidy()

    def _recipients_locked(
        self, options: BroadcastOptions, position: int, own: EventInFlight | None, left: EventInFlight | None
    ) -> list[SocketInterface]:
        """Who gets an event.

        :param own: it, if it is this server's and has come through Redis.
        :param left: it, if it is this server's: those who have left its rooms meanwhile get it, too.
        """
        found = self._find_locked(options)
        if left is not None:
            known = {socket.id for socket in found}
            sockets = self._namespace.sockets
            found += [sockets[sid] for sid in self._own.leavers(left) if sid in sockets and sid not in known]
        return [socket for socket in found if not socket.gone and wants(socket.trail, position, own)]
