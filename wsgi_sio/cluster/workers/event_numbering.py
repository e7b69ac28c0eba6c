"""NumberingAdapter: what is emitted is kept, and numbered for the siblings.

It is the half of RecoveringWorkersAdapter that knows nothing of sessions.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ...siblings import FrameTooLarge, Link, Siblings, encode
from ...socketio.broadcast_options import BroadcastOptions
from ...socketio.encoded_events import decode, messages_of, wrap
from ...socketio.packet import EVENT, Packet
from ...socketio.recovery_offsets import Offsets
from ...socketio.recovery_store import RecoveryStore
from ..socket_id_rooms import tag_in
from . import frame_payloads
from .event_history import Event, History
from .frame_payloads import Batch
from .message_router import MessageRouter
from .workers_adapter import WorkersAdapter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...socketio.namespace import Namespace

logger = logging.getLogger("wsgi_sio.adapters")


class NumberingAdapter(WorkersAdapter):
    """See :class:`SessionAwareAdapter` for what is kept, and why under one lock.

    Under that lock an event also has its number, and its place in what goes to each sibling.

    :param duration: seconds for which sessions and events are kept.
    :param max_stored: bytes of events that are kept at most.
    """

    def __init__(self, namespace: Namespace, router: MessageRouter, duration: float, max_stored: int) -> None:
        super().__init__(namespace, router)
        self._kept = RecoveryStore(namespace, self._lock, duration, max_stored)
        self._history = History(self._kept.log, duration)
        self._offsets = Offsets(namespace.server)

    def close(self) -> None:
        super().close()
        self._kept.close()

    # -- broadcasts ---------------------------------------------------------------------------------------------

    def broadcast(self, packet: Packet, options: BroadcastOptions) -> None:
        if packet.type != EVENT or packet.id is not None or options.volatile or self._kept.closed:
            super().broadcast(packet, options)
            return
        if not self._joining.settled:
            self._joining.settle()
        alone = self._only_one(options)
        if alone is not None:
            alone.wait_for_room()
        event = self._namespace.server.encode(packet, options.compress)
        siblings = self._siblings(options)
        links: Sequence[Link] = () if siblings is None else siblings.links(self._topic)
        # What is for one client, which is here, concerns nobody else: its session takes it along.
        private = alone is not None and not (siblings and links and super()._narrow(siblings, links, options))
        body = self._body(event, options) if links and not private else None
        origin, seq, error = "", 0, None
        with self._lock:
            batch = self._offsets.add(event, self._kept.log.next_offset())
            if siblings is None or (alone is not None and private and self._namespace.sockets.get(alone.id) is alone):
                links = ()
            else:
                links = siblings.links(self._topic)
                if links and body is None:  # somebody has come, or gone, meanwhile
                    body = self._body(event, options)
                origin, seq = self._history.name, self._history.count()
                links, error = self._place_locked(links, seq, body)
            self._kept.log.append(batch, options, origin, seq)
            unwatched = self._kept.begin_watch_locked()
            recipients = [socket for socket in self._find_locked(options) if not socket.gone]
            send = self._reserve_locked(recipients, batch, lambda: packet.data, alone is not None, options.posted)
        for link in links:
            link.flush()
        if unwatched:
            self._kept.watch()
        send()
        if error is not None:
            logger.error("%r: an event reaches only the clients of this process: %s", self._namespace, error)

    def _body(self, event: Event, options: BroadcastOptions) -> list[bytes]:
        return frame_payloads.pack_batch(self._topic, options, messages_of(event))

    def _place_locked(
        self, links: Sequence[Link], seq: int, body: list[bytes] | None
    ) -> tuple[Sequence[Link], Exception | None]:
        """Give an event its place behind what goes to the siblings: the links that have to be flushed."""
        if not links or body is None:
            return (), None
        try:
            frame = encode(frame_payloads.NUMBERED, 0, frame_payloads.pack_number(self._kept.log.name, seq, body))
        except FrameTooLarge as error:
            return (), error
        for link in links:
            link.place_encoded(frame)
        return links, None

    def _siblings(self, options: BroadcastOptions | None = None) -> Siblings | None:
        """Those for whom events are numbered; None when there are none, or the event stays here."""
        siblings = self._router.siblings
        if siblings is None or self.closed or (options is not None and options.stays_here):
            return None
        if not self._history.name:
            with self._lock:
                if not self._history.name:
                    self._history.join(siblings.tag)
        return siblings

    def _narrow(self, siblings: Siblings, links: Sequence[Link], options: BroadcastOptions) -> Sequence[Link]:
        return links  # a client that has moved keeps its id, with the tag of the process where it has been

    def is_elsewhere(self, sid: object) -> bool:
        return tag_in(sid) is not None and bool(self._find_links(None))

    def take_numbered(self, link: Link, log: str, seq: int, batch: Batch) -> None:
        server, options, origin = self._namespace.server, batch.options, f"{link.tag}.{log}"
        parts = batch.parts()
        event = wrap(parts, options.compress)
        self._siblings()
        with self._lock:
            if self._kept.closed:
                return
            marked = self._offsets.add(event, self._kept.log.next_offset())
            missing = self._history.hear(origin, seq)
            if missing < 0:
                return
            self._kept.log.append(marked, options, origin, seq)
            unwatched = self._kept.begin_watch_locked()
            recipients = [
                socket
                for socket in self._find_locked(options)
                if not socket.gone and not (socket.trail is not None and socket.trail.has_had(origin, seq))
            ]
            send = self._reserve_locked(recipients, marked, lambda: decode(server, parts).data, False, True)
        self._tell_missing(link, missing)
        self.heard()
        if unwatched:
            self._kept.watch()
        send()

    # -- where the siblings stand -------------------------------------------------------------------------------

    def _introduce(self) -> None:
        siblings = self._siblings()
        if siblings is not None:
            self._tell_standing(siblings.links(), asks=True)

    def greet(self, link: Link) -> None:
        if self._siblings() is not None:
            self._tell_standing((link,), asks=False)

    def _tell_standing(self, links: Sequence[Link], asks: bool) -> None:
        with self._lock:
            standing = frame_payloads.pack_standing(self._topic, self._kept.log.name, self._history.last, asks)
            for link in links:
                link.place(frame_payloads.STANDING, 0, standing)
        for link in links:
            link.flush()

    def take_standing(self, link: Link, log: str, seq: int, asks: bool) -> None:
        siblings = self._siblings()
        with self._lock:
            missing = self._history.stand(f"{link.tag}.{log}", seq)
        self._tell_missing(link, missing)
        self.heard()
        answer = siblings.reach(link.tag) if asks and siblings is not None else None
        if answer is not None:
            self._tell_standing((answer,), asks=False)

    def _tell_missing(self, link: Link, missing: int) -> None:
        if missing > 0:
            logger.error(
                "%r: %d events of the sibling %s have not come; clients that have missed them begin anew when they come"
                " back",
                self._namespace,
                missing,
                link.tag,
            )

    def heard(self) -> None:
        """More is known of where the siblings stand; called on a link's reader, so nothing may block."""

    def forget(self, tag: str) -> None:
        with self._lock:
            self._history.forget(tag)
        self.heard()
