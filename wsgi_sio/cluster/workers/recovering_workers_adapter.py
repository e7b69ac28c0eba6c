"""RecoveringWorkersAdapter: the processes of one server, of which each can give clients back what another has kept.

A client whose network blinked comes back at any of them.  While that one lives which has its session, it is asked for
it: it takes the session out, and sends it with what the client has missed (event_history.py says how the rest is
added).  Nobody waits for that but the client.  Alone this is the adapter of one process with connection state recovery,
at the same cost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from ...logtext import one_line
from ...siblings import Link, is_tag
from ...socketio.adapter import SavedSession
from .. import messages
from ..cluster_node import ClusterNode
from ..messages import Message
from ..pending_requests import Question
from .event_numbering import NumberingAdapter
from .message_router import MessageRouter
from .session_transfer import pack_session, unpack_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...socketio.interfaces import SocketInterface
    from ...socketio.namespace import Namespace
    from ...socketio.recovery import RecoveryConfig
    from ...socketio.server import Server

logger = logging.getLogger("wsgi_sio.adapters")

# How long a client that is back waits for its session to come from another process (seconds); then it begins anew.
_PATIENCE = 1.0


def recovering_workers(server: Server, config: RecoveryConfig) -> Callable[[Namespace], RecoveringWorkersAdapter]:
    """What makes the adapters of ``server``."""
    router = MessageRouter(server)
    return lambda namespace: RecoveringWorkersAdapter(
        namespace, router, config.max_disconnection_duration, config.max_stored
    )


class RecoveringWorkersAdapter(NumberingAdapter):
    """See the module's text.

    :param duration: seconds for which sessions and events are kept.
    :param max_stored: bytes of events that are kept at most.
    """

    def __init__(self, namespace: Namespace, router: MessageRouter, duration: float, max_stored: int) -> None:
        super().__init__(namespace, router, duration, max_stored)
        self._told_of_data = False
        self._searches: list[Callable[[], None]] = []  # wait until all siblings have told where they stand

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

    def catch_up(self, socket: SocketInterface, session: SavedSession, offset: str, welcome: list[Any]) -> bool:
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
            self._namespace.take_restored(socket)  # here, since broadcasts reach it from now on
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
        if not links:
            return False
        search = partial(self._search, pid, offset, then)
        with self._lock:
            if self._kept.find_locked(pid) is not None:
                return False
            ready = self._all_stand_locked(links)
            if not ready:  # this process has just joined them: what it cannot compare cannot go on here
                self._searches.append(search)
        if ready:
            search()
        else:
            self._namespace.server.reactor.expire_after(_PATIENCE, partial(self._search_anyway, search))
        return True

    def _all_stand_locked(self, links: Sequence[Link]) -> bool:
        return all(self._history.knows(link.tag) for link in links)

    def heard(self) -> None:
        if not self._searches:
            return
        links = self._find_links(None)
        with self._lock:
            ready, self._searches = (self._searches, []) if self._all_stand_locked(links) else ([], self._searches)
        for search in ready:
            search()

    def _search_anyway(self, search: Callable[[], None]) -> None:
        with self._lock:
            waits = search in self._searches
            if waits:
                self._searches.remove(search)
        if waits:
            search()

    def _search(self, pid: str, offset: str, then: Callable[[], object]) -> None:
        links = self._find_links(None)
        with self._lock:
            links = [link for link in links if self._history.knows(link.tag)]  # others have nothing, perhaps
        audience = self._audience_of(links)
        if audience is None:
            then()
            return
        # All are asked, for it may have gone on from the one that the offset names, which need not live any more.
        search = _Search(audience.others(), partial(self._take_in, pid, offset, then), [])
        self._ask(audience, search, _PATIENCE, messages.FIND_SESSION, {"pid": pid, "offset": offset})

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


class _Search(Question):
    """Asks the siblings for what one of them has at most."""

    __slots__ = ()

    def complete(self) -> bool:
        return bool(self._answers) or super().complete()
