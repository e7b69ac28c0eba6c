"""MessageRouter: what one server's namespaces have for those of its siblings, over the links between them.

Each namespace is a topic, which a process asks its siblings for as soon as it has it: nothing goes to a process that
lacks the namespace, and nobody waits for it.  What a process wants of another goes out on the link that it has dialled,
in order; an answer comes back on the link that the question has come on.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial, wraps
from itertools import count
from typing import TYPE_CHECKING, Any

from ...runtime import Event
from ...siblings import Link, Siblings, close_all
from . import frame_payloads
from .frame_payloads import Batch

if TYPE_CHECKING:
    from ...socketio.server import Server

logger = logging.getLogger("wsgi_sio.adapters")

# How long the first client of a namespace may wait until all siblings know that it is here (seconds): as a rule that
# takes less than a millisecond.
_PATIENCE = 0.2

Handler = Callable[["MessageRouter", Link, bytes], None]


class Correspondent(ABC):
    """The adapter of a namespace; called on the reader of a link, so nothing may block."""

    closed: bool

    @abstractmethod
    def take_sibling(self, siblings: Siblings) -> None:
        """There is another one; called on a worker."""

    @abstractmethod
    def take_message(self, sender: str, message: dict[str, Any]) -> None:
        """A sibling has sent a message."""

    @abstractmethod
    def take_batch(self, sender: str, batch: Batch) -> None:
        """A sibling has sent a broadcast."""

    def take_numbered(self, link: Link, log: str, seq: int, batch: Batch) -> None:
        """Likewise, one that the sibling keeps in its ``log``, with its number there."""
        self.take_batch("", batch)

    def take_standing(self, link: Link, log: str, seq: int, asks: bool) -> None:
        """A sibling tells the number of its latest event, and perhaps wants to know ours."""

    def greet(self, link: Link) -> None:
        """A sibling is known; ``link`` leads to it."""

    def forget(self, tag: str) -> None:
        """A sibling has ended, or is as good as dead."""

    @abstractmethod
    def excuse(self, sender: str, request_id: str | None) -> None:
        """A sibling will not answer that request; or (None) none at all."""


def _told_once(handler: Handler) -> Callable[[MessageRouter, Link, int, bytes, int | None], None]:
    """Drop what makes no sense, and say so once."""

    @wraps(handler)
    def receive(self: MessageRouter, link: Link, number: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            close_all((descriptor,))  # os.close() of gevent's may wait, and this is the hub
        try:
            handler(self, link, payload)
        except Exception as error:
            level, self._junk_seen = logging.DEBUG if self._junk_seen else logging.WARNING, True
            logger.log(level, "what the sibling %s sends makes no sense (told once)", link.tag, exc_info=error)

    return receive


class MessageRouter:
    """See the module's text.

    :ivar siblings: those of this process; None before it has any.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.siblings: Siblings | None = None
        self._junk_seen = False
        self._numbers = count()
        self._echoes: dict[bytes, tuple[set[Link], Event]] = {}
        self._forget_links()
        server.engine.joining.before(self._join)

    def _forget_links(self) -> None:
        self._names: dict[Link, str] = {}
        self._links: dict[str, Link] = {}

    def _join(self, siblings: Siblings) -> None:
        """This process is about to join its siblings; perhaps its parent had joined others before it was forked."""
        self._forget_links()
        siblings.handle(frame_payloads.MESSAGE, self._on_message)
        siblings.handle(frame_payloads.BATCH, self._on_batch)
        siblings.handle(frame_payloads.NONE, self._on_none)
        siblings.handle(frame_payloads.NUMBERED, self._on_numbered)
        siblings.handle(frame_payloads.STANDING, self._on_standing)
        siblings.handle(frame_payloads.ECHO, self._on_echo)
        siblings.on_joined(lambda link: self._server.reactor.submit(self._take_sibling))
        siblings.on_joined(self._greet)
        siblings.on_left(self._on_left)
        self.siblings = siblings
        for topic in list(self._server.namespaces):
            if self._find(topic) is not None:
                siblings.subscribe(topic)

    def _take_sibling(self) -> None:
        if self.siblings is not None:
            for correspondent in self._correspondents():
                correspondent.take_sibling(self.siblings)

    def _find(self, topic: str) -> Correspondent | None:
        namespace = self._server.namespaces.get(topic)
        adapter = None if namespace is None else namespace.adapter
        return adapter if isinstance(adapter, Correspondent) and not adapter.closed else None

    def _greet(self, link: Link) -> None:
        for correspondent in self._correspondents():
            correspondent.greet(link)

    def _on_left(self, tag: str) -> None:
        for correspondent in self._correspondents():
            correspondent.forget(tag)

    def _correspondents(self) -> list[Correspondent]:
        return [found for topic in list(self._server.namespaces) if (found := self._find(topic)) is not None]

    # -- topics -------------------------------------------------------------------------------------------------

    def subscribe(self, topic: str) -> None:
        """Let the siblings know that the namespace is here."""
        if self.siblings is not None:
            self.siblings.subscribe(topic)

    def wait_until_heard(self) -> None:
        """Return when the siblings have read all that they have been told, or soon; at once for who must not wait.

        What they emit from then on comes here, if it is for a namespace that they have been told of.
        """
        links = () if self.siblings is None else self.siblings.links()
        if not links:  # before the reactor is asked for, which is made by that
            return
        reactor = self._server.reactor
        if not reactor.may_wait():
            return
        question, silent, heard = str(next(self._numbers)).encode(), set(links), reactor.event()
        self._echoes[question] = silent, heard
        for link in links:
            if not link.send(frame_payloads.ECHO, 0, question):
                self._hear(link, question)
        reactor.wait(heard, _PATIENCE)
        del self._echoes[question]

    def _hear(self, link: Link, answer: bytes) -> None:
        silent, heard = self._echoes.get(answer, (set(), None))
        silent.discard(link)
        if heard is not None and not silent:
            heard.set()

    def unsubscribe(self, topic: str) -> None:
        """The namespace is not here any more, unless it is again already: another may have taken its place."""
        siblings = self.siblings
        if siblings is None or self._find(topic) is not None:
            return
        siblings.unsubscribe(topic)
        if self._find(topic) is not None:
            siblings.subscribe(topic)
            return
        for link in list(self._links.values()):
            if link.inbound:
                link.send(frame_payloads.NONE, 0, frame_payloads.pack_none(topic, None))

    # -- links by their names -----------------------------------------------------------------------------------

    def name_of(self, link: Link) -> str:
        """What stands for a link where servers have names: another one for each, so that none is mistaken for one that
        has ended."""
        name = self._names.get(link)
        if name is None:
            made = f"{link.tag}.{next(self._numbers)}"
            name = self._names.setdefault(link, made)
            self._links[name] = link
            if name is made:
                link.on_end(partial(self._gone, link))
        return name

    def link_named(self, name: str) -> Link | None:
        """The mirror image; None when it has ended."""
        return self._links.get(name)

    def _gone(self, link: Link) -> None:
        name = self._names.pop(link, None)
        if name is None:
            return
        self._links.pop(name, None)
        for namespace in list(self._server.namespaces.values()):
            if isinstance(namespace.adapter, Correspondent):
                namespace.adapter.excuse(name, None)

    # -- what comes (on the links' readers) ---------------------------------------------------------------------

    @_told_once
    def _on_message(self, link: Link, payload: bytes) -> None:
        topic, message = frame_payloads.unpack_message(payload)
        correspondent = self._find(topic)
        if correspondent is not None:
            correspondent.take_message(self.name_of(link), message)
        elif link.inbound:
            self._decline(link, topic, message["data"].get("requestId"))

    @_told_once
    def _on_batch(self, link: Link, payload: bytes) -> None:
        batch = frame_payloads.unpack_batch(payload)
        correspondent = self._find(batch.topic)
        if correspondent is not None:
            correspondent.take_batch(self.name_of(link), batch)
        else:
            self._decline(link, batch.topic, batch.request_id)

    def _decline(self, link: Link, topic: str, request_id: str | None) -> None:
        if request_id is not None:
            link.send(frame_payloads.NONE, 0, frame_payloads.pack_none(topic, request_id))

    @_told_once
    def _on_none(self, link: Link, payload: bytes) -> None:
        topic, request_id = frame_payloads.unpack_none(payload)
        correspondent = self._find(topic)
        if correspondent is not None:
            correspondent.excuse(self.name_of(link), request_id)

    @_told_once
    def _on_echo(self, link: Link, payload: bytes) -> None:
        if link.inbound:
            link.send(frame_payloads.ECHO, 0, payload)
        else:
            self._hear(link, payload)

    @_told_once
    def _on_numbered(self, link: Link, payload: bytes) -> None:
        log, seq, batch = frame_payloads.unpack_number(payload)
        correspondent = self._find(batch.topic)
        if correspondent is not None:
            correspondent.take_numbered(link, log, seq, batch)

    @_told_once
    def _on_standing(self, link: Link, payload: bytes) -> None:
        topic, log, seq, asks = frame_payloads.unpack_standing(payload)
        correspondent = self._find(topic)
        if correspondent is not None:
            correspondent.take_standing(link, log, seq, asks)
