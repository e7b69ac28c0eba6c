"""RecoveringWorkersAdapter: the processes of one server, of which each can give clients back what another has kept.

A client whose network blinked comes back at any of them.  While that one lives which has its session, it is asked for
it: it takes the session out, and sends it with what the client has missed (history.py says how the rest is added).
Nobody waits for that but the client.  Alone this is the adapter of one process with connection state recovery, at the
same cost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from ..logtext import one_line
from ..siblings import FrameTooLarge, Link, Siblings, encode, is_tag
from ..socketio.adapter import BroadcastOptions, SavedSession
from ..socketio.encoded import decode, messages_of, wrap
from ..socketio.keeper import Keeper
from ..socketio.offsets import Offsets
from ..socketio.packet import EVENT, Packet
from . import messages, payloads
from .departures import pack_session, unpack_session
from .exchange import Exchange
from .history import Event, History
from .messages import Message
from .namesakes import tag_in
from .nodes import ClusterNode
from .payloads import Batch
from .requests import Question
from .workers import WorkersAdapter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..socketio.namespace import Namespace
    from ..socketio.recovery import RecoveryConfig
    from ..socketio.server import Server
    from ..socketio.socket import Socket

logger = logging.getLogger("wsgi_sio.adapters")

# How long a client that is back waits for its session to come from another process (seconds); then it begins anew.
_PATIENCE = 1.0


def recovering_workers(server: Server, config: RecoveryConfig) -> Callable[[Namespace], RecoveringWorkersAdapter]:
    """What makes the adapters of ``server``."""
    exchange = Exchange(server)
    return lambda namespace: RecoveringWorkersAdapter(
        namespace, exchange, config.max_disconnection_duration, config.max_stored
    )


class RecoveringWorkersAdapter(WorkersAdapter):
    """See the module's text, and :class:`SessionAwareAdapter` for what is kept, and why under one lock.

    Under that lock an event also has its place in what goes to each sibling.

    :param duration: seconds for which sessions and events are kept.
    :param max_stored: bytes of events that are kept at most.
    """

    def __init__(self, namespace: Namespace, exchange: Exchange, duration: float, max_stored: int) -> None:
        super().__init__(namespace, exchange)
        self._kept = Keeper(namespace, self._lock, duration, max_stored)
        self._history = History(self._kept.log, duration)
        self._offsets = Offsets(namespace.server)
        self._told_of_data = False

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
            sends = [socket.reserve(batch, alone is not None) for socket in recipients]
        for link in links:
            link.flush()
        self._send_all(unwatched, recipients, sends, lambda: packet.data)
        if error is not None:
            logger.error("%r: an event reaches only the clients of this process: %s", self._namespace, error)

    def _body(self, event: Event, options: BroadcastOptions) -> list[bytes]:
        return payloads.pack_batch(self._topic, options, messages_of(event))

    def _place_locked(
        self, links: Sequence[Link], seq: int, body: list[bytes] | None
    ) -> tuple[Sequence[Link], Exception | None]:
        """Give an event its place behind what goes to the siblings: the links that have to be flushed."""
        if not links or body is None:
            return (), None
        try:
            frame = encode(payloads.NUMBERED, 0, payloads.pack_number(self._kept.log.name, seq, body))
        except FrameTooLarge as error:
            return (), error
        for link in links:
            link.place_encoded(frame)
        return links, None

    def _send_all(
        self,
        unwatched: bool,
        recipients: list[Socket],
        sends: list[Callable[[], None]],
        data: Callable[[], list[Any]],
    ) -> None:
        if unwatched:
            self._kept.watch()
        for send in sends:  # all, before any listener may wait, or raise, while the others' clients get nothing
            send()
        listeners = [socket for socket in recipients if socket.listeners_any_outgoing]
        if listeners:
            told = data()
            for socket in listeners:
                socket.tell_outgoing(told)

    def _siblings(self, options: BroadcastOptions | None = None) -> Siblings | None:
        """Those for whom events are numbered; None when there are none, or the event stays here."""
        siblings = self._exchange.siblings
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
            sends = [socket.reserve(marked) for socket in recipients]
        self._tell_missing(link, missing)
        self._send_all(unwatched, recipients, sends, lambda: decode(server, parts).data)

    # -- where the siblings stand -------------------------------------------------------------------------------

    def begin(self) -> None:
        super().begin()
        siblings = self._siblings()
        if siblings is not None:
            self._tell_standing(siblings.links(), asks=True)

    def greet(self, link: Link) -> None:
        if self._siblings() is not None:
            self._tell_standing((link,), asks=False)

    def _tell_standing(self, links: Sequence[Link], asks: bool) -> None:
        with self._lock:
            standing = payloads.pack_standing(self._topic, self._kept.log.name, self._history.last, asks)
            for link in links:
                link.place(payloads.STANDING, 0, standing)
        for link in links:
            link.flush()

    def take_standing(self, link: Link, log: str, seq: int, asks: bool) -> None:
        siblings = self._siblings()
        with self._lock:
            missing = self._history.stand(f"{link.tag}.{log}", seq)
        self._tell_missing(link, missing)
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

    def forget(self, tag: str) -> None:
        with self._lock:
            self._history.forget(tag)

    # -- sessions here ------------------------------------------------------------------------------------------

    def persist_session(self, session: SavedSession) -> None:
        self._kept.persist(session)

    def restore_session(self, pid: str, offset: str) -> SavedSession | None:
        living = self._living()
        with self._lock:
            session = self._kept.find_locked(pid)
            if session is None or not self._goes_on_locked(session, offset, living):
                return None
            return self._kept.pop_locked(pid)

    def _goes_on_locked(self, session: SavedSession, offset: str, living: Collection[str]) -> bool:
        """Whether all that a client with that offset has missed is known."""
        trail = session.trail
        if trail is None or trail.missed is None:
            return self._history.locate(trail, offset) is not None
        return offset == trail.offset and self._history.above(trail.floor, living) is not None

    def catch_up(self, socket: Socket, session: SavedSession, offset: str, welcome: list[Any]) -> bool:
        living, trail, history = self._living(), session.trail, self._history
        with self._lock:
            if trail is not None and trail.missed is not None:
                events = history.let_in(trail, session.rooms, living, self._offsets.add, self._offsets.remove)
            else:
                number = history.locate(trail, offset)
                missed = () if number is None else history.missed(number, trail, session.rooms)
                events = None if number is None else [event for _, event in missed]
            if events is None:
                return False
            self._namespace.sockets[socket.id] = socket  # here, since broadcasts reach it from now on
            send = socket.reserve([*[part for event in events for part in event], *welcome])
            unwatched = self._kept.begin_watch_locked()
        if unwatched:
            self._kept.watch()
        send()
        return True

    def _living(self) -> frozenset[str]:
        siblings = self._siblings()
        return frozenset() if siblings is None else frozenset([link.tag for link in siblings.links()])

    # -- sessions elsewhere -------------------------------------------------------------------------------------

    def call_session(self, pid: str, offset: str, then: Callable[[], object]) -> bool:
        tag, _, rest = offset.partition(".")
        if not rest or not is_tag(tag):
            return False
        links = self._find_links(None)
        with self._lock:
            if self._kept.find_locked(pid) is not None:
                return False
            links = [link for link in links if self._history.knows(link.tag)]  # another version keeps nothing, perhaps
        audience = self._audience_of(links)
        if audience is None:
            return False
        # All are asked, for it may have gone on from the one that the offset names, which need not live any more.
        search = _Search(audience.others(), partial(self._take_in, pid, offset, then), [])
        self._ask(audience, search, _PATIENCE, messages.FIND_SESSION, {"pid": pid, "offset": offset})
        return True

    def _take_in(
        self, pid: str, offset: str, then: Callable[[], object], error: Exception | None, found: list[Any]
    ) -> None:
        """The siblings have answered: the session is kept here from now on, as if it had always been."""
        try:
            if found:
                self._kept.persist(unpack_session(found[0], pid, offset))
        except ValueError:
            logger.exception("%r does not understand the session that a sibling sends", self._namespace)
        finally:
            then()

    def _receive(self, node: ClusterNode, message: Message) -> None:
        sender, kind, data = message["uid"], message["type"], message.get("data") or {}
        if kind == messages.FIND_SESSION:
            job = partial(self._look_for, node, sender, data["requestId"], data["pid"], data["offset"])
            self._namespace.server.reactor.submit(job)
        elif kind == messages.FIND_SESSION_RESPONSE:
            found = data.get("packet")
            answers = [] if found is None else [found]
            node.questions.update(data["requestId"], lambda search: search.answer_locked(sender, answers))
        else:
            super()._receive(node, message)

    def _look_for(self, node: ClusterNode, sender: str, request_id: str, pid: str, offset: str) -> None:
        """A sibling has a client that wants its session; if its connection here is not quite over, it will be soon."""
        recovery = self._namespace.recovery
        answer = partial(self._answer, node, sender, request_id)
        hand_over = partial(self._hand_over, answer, pid, offset)
        begin = partial(self._namespace.server.reactor.submit, hand_over)
        if recovery is None or not recovery.follow(pid, begin, partial(answer, None)):
            hand_over()

    def _hand_over(self, answer: Callable[[Any], None], pid: str, offset: str) -> None:
        with self._lock:
            session = self._kept.find_locked(pid)
            departure = None if session is None else self._history.give(session.trail, session.rooms, offset)
            if departure is not None:
                self._kept.pop_locked(pid)
        if session is None or departure is None:
            answer(None)
            return
        try:
            missed = [self._offsets.remove(event, place) if place else event for place, event in departure.missed]
            packed = pack_session(session, missed, departure.vector)
        except (TypeError, ValueError, RuntimeError) as error:
            self._tell_of_data(error)
            answer(None)
        else:
            answer(packed)

    def _tell_of_data(self, error: Exception) -> None:
        level, self._told_of_data = logging.DEBUG if self._told_of_data else logging.WARNING, True
        logger.log(
            level,
            "%r: a client's session cannot go on in another process, so the client begins anew there: %s. Keep plain"
            " values in socket.data (None, booleans, numbers, strings, bytes, lists, dicts by strings), and name rooms"
            " by strings (told once)",
            self._namespace,
            one_line(str(error)),
        )

    def _answer(self, node: ClusterNode, sender: str, request_id: str, session: Any) -> None:
        self._respond(node, sender, messages.FIND_SESSION_RESPONSE, {"requestId": request_id, "packet": session})

    def close(self) -> None:
        super().close()
        self._kept.close()


class _Search(Question):
    """Asks the siblings for what one of them has at most."""

    __slots__ = ()

    def complete(self) -> bool:
        return bool(self._answers) or super().complete()
