"""All links of this process: who there is, what each sibling has told, and for whom :meth:`Siblings.join` waits."""

from __future__ import annotations

from ..runtime import Event, Rank, Timer, make_lock
from .frames import Hello
from .join_leave_events import JoinLeaveEvents
from .link import Link
from .sibling_state import SiblingState


class LinkTable:
    """See the module's text; plain data, and who wants to know has to be told by the caller.

    ``lock`` guards all of it; ``dialled`` and ``links`` are replaced, never changed, so they are read without it.

    :ivar dialled: the links that we have dialled, by tag.
    :ivar inbound: the links that others have dialled.
    :ivar strangers: those of them that have not yet said who they are, with the end of our patience.
    :ivar left: there is to be nobody any more.
    :ivar awaited: whom join() waits for; None before that is known.
    :ivar joining: who waits there.
    """

    __slots__ = ("_states", "awaited", "dialled", "events", "inbound", "joining", "left", "links", "lock", "strangers")

    def __init__(self) -> None:
        self.lock = make_lock(Rank.REGISTRY)
        self.dialled: dict[str, Link] = {}
        self.links: tuple[Link, ...] = ()
        self.inbound: set[Link] = set()
        self.strangers: dict[Link, Timer] = {}
        self.events = JoinLeaveEvents()
        self.left = False
        self.awaited: set[str] | None = None
        self.joining: list[Event] = []
        self._states: dict[str, SiblingState] = {}

    # -- links that we dial -------------------------------------------------------------------------------------

    def put_locked(self, link: Link) -> bool:
        """Keep a link that we have dialled; False: there is one, or nobody is to be there."""
        before = self.dialled.get(link.tag)
        if self.left or (before is not None and before.open):
            return False
        if before is not None:
            self._remove_locked(before)
        link.state = self._states.setdefault(link.tag, link.state)
        self._replace_locked(self.dialled | {link.tag: link})
        return True

    def _remove_locked(self, link: Link) -> bool:
        if self.dialled.get(link.tag) is not link:
            return False
        self._replace_locked({tag: other for tag, other in self.dialled.items() if other is not link})
        if link.announced:
            link.announced = False
            self.events.put(link, joined=False)
        return True

    def _replace_locked(self, dialled: dict[str, Link]) -> None:
        self.dialled = dialled
        self.links = tuple(dialled.values())

    def ended_locked(self, link: Link) -> tuple[bool, Timer | None]:
        """Forget a link: whether it was one that we had dialled, and what was timed."""
        self.inbound.discard(link)
        dialled = self._remove_locked(link)
        others = [other for other in self.inbound if other.tag == link.tag]
        if link.state.source is link:
            link.state.source = others[0] if others else None
        if link.tag not in self.dialled and not others:
            self._states.pop(link.tag, None)
        return dialled, self.strangers.pop(link, None)

    # -- what siblings tell -------------------------------------------------------------------------------------

    def learn_locked(self, link: Link, hello: Hello) -> Timer | None:
        """A sibling has said who it is, or has said so again; returns what was timed."""
        state = self._states.setdefault(hello.tag, link.state)
        if not link.tag or state.source in (None, link):  # else it has dialled anew, and tells there
            state.source = link
            state.learn(hello)
        link.tag, link.state = hello.tag, state
        self._announce_locked(hello.tag)
        return self.strangers.pop(link, None)

    def welcome_locked(self, link: Link) -> None:
        """A sibling knows us."""
        link.welcomed = True
        self._announce_locked(link.tag)

    def note_locked(self, link: Link, kind: int, number: int, topic: str) -> None:
        """A sibling tells of a change."""
        if link.state.source is link:
            link.state.note(kind, number, topic)

    def _announce_locked(self, tag: str) -> None:
        """Each may know the other now. Not before: what takes a call may be about to die."""
        link = self.dialled.get(tag)
        if link is not None and link.welcomed and link.state.known and not link.announced:
            link.announced = True
            self.events.put(link, joined=True)

    # -- joining ------------------------------------------------------------------------------------------------

    def await_all_locked(self) -> tuple[Event, ...]:
        """All have been dialled: wait for them. Who need not wait any longer."""
        self.awaited = set(self.dialled)
        return self.settle_locked(*self.dialled)

    def settle_locked(self, *tags: str) -> tuple[Event, ...]:
        """Something has changed about these siblings: who need not wait any longer."""
        if self.awaited is None:
            return ()
        for tag in tags:
            link = self.dialled.get(tag)
            if link is None or (link.welcomed and link.state.known):
                self.awaited.discard(tag)
        return () if self.awaited else self.let_go_locked()

    def let_go_locked(self) -> tuple[Event, ...]:
        """Nobody need wait any longer."""
        events, self.joining = tuple(self.joining), []
        return events

    def after_fork(self) -> list[Link]:
        """In a forked child: there is nobody. The links that are to be closed."""
        self.lock = make_lock(Rank.REGISTRY)
        links = [*self.links, *self.inbound]
        self.left = True
        self._replace_locked({})
        self.inbound.clear()
        self.strangers.clear()
        self.joining.clear()
        self.events.after_fork()
        return links
