"""The siblings of this process: it listens in their directory, dials each of them, and is dialled by each.

So each two have two links: what one wants of the other goes out on the link that it has dialled, and only answers come
back on that.  A link's end is the sibling's death, or as good as that; who is found to be alive after all is dialled
again.  What a sibling tells of itself comes on the link that *it* has dialled.
"""

from __future__ import annotations

import _socket
import atexit
import logging
import os
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from weakref import ref

from ..runtime import FAILURES, Event, Reactor, Timer, tell_in_child, wait_patiently
from . import frames
from .descriptor_passing import close_all
from .frames import Frame, FrameError, Hello
from .link import Link
from .outgoing_links import OutgoingLinks
from .socket_file import SocketFile

logger = logging.getLogger("wsgi_sio.siblings")

Handler = Callable[[Link, int, bytes, "int | None"], None]

# How long who has dialled may take to say who it is (seconds), and how many may be about to.
_INTRODUCTION = 5.0
_MAX_STRANGERS = 512
# After how long the file of one that has ended a link at once is looked at (seconds).
_LAST_BREATH = 0.5
# How often our own file is looked for, and those of siblings that we have no link to (seconds).
_LOOK = 60.0
# How long who leaves waits until everything has been written (seconds).
_LAST_WORDS = 1.0


class Siblings(OutgoingLinks):
    """See the module's text.  All methods but :meth:`links` are to be called without a lock held.

    :ivar lost: how many frames were lost for siblings that took nothing.
    """

    def __init__(
        self,
        reactor: Reactor,
        directory: str,
        *,
        max_outbox: int = 32_000_000,
        make_directory: Callable[[], object] | None = None,
        look_every: float = _LOOK,
    ) -> None:
        """:param make_directory: makes the directory again, if it has gone."""
        super().__init__(reactor, max_outbox)
        self.lost = 0
        self._look_every = look_every
        self._pid = os.getpid()
        self._handlers: dict[int, Handler] = {}
        self._socket_file = SocketFile(reactor, directory, self._let_in, self.report, make_directory)
        self._looks: Timer | None = None
        self._begun = False  # somebody has called join()
        self._failure: OSError | None = None
        self._at_exit = partial(_leave, ref(self))
        tell_in_child(self)

    # -- what is to be told and done, before join() -------------------------------------------------------------

    def handle(self, kind: int, handler: Handler) -> None:
        """Have ``handler(link, number, payload, descriptor)`` called for each frame of ``kind``.

        It runs on an I/O thread or in gevent's hub, so it must not block; the descriptor is its own.
        """
        if not frames.FIRST_FOREIGN <= kind <= frames.LAST_FOREIGN or kind in self._handlers:
            raise ValueError(f"{kind} is no kind that is free")
        self._handlers[kind] = handler

    def on_joined(self, listener: Callable[[Link], None]) -> None:
        """Call ``listener``, which must not block, when a sibling is known, with the link that we have dialled."""
        self._table.events.on_joined += (listener,)

    def on_left(self, listener: Callable[[str], None]) -> None:
        """Call ``listener``, which must not block, with the tag of each that had joined, when its link has ended."""
        self._table.events.on_left += (listener,)

    # -- joining ------------------------------------------------------------------------------------------------

    def join(self, patience: float = 1.0) -> None:
        """Listen, dial all siblings, and wait until they know us, for at most ``patience`` seconds (in which they could
        be heard). Further calls wait for the first.

        :raises OSError: this process cannot listen: there is no such directory, or no Unix sockets for us.
        """
        event = self._reactor.event()
        with self._table.lock:
            if self._table.left or self._table.awaited == set():
                return
            first, self._begun = not self._begun, True
            self._table.joining.append(event)
        if first:
            self._begin()
        if self._reactor.may_wait() and not wait_patiently(partial(self._reactor.wait, event), patience):
            self._wait_no_more()
        if self._failure is not None:
            raise self._failure

    def _begin(self) -> None:
        try:
            self._socket_file.listen()
            tags = self._socket_file.tags()
        except (OSError, RuntimeError) as error:
            self._socket_file.shut()
            with self._table.lock:
                self._begun = False
                self._failure = error if isinstance(error, OSError) else OSError(*error.args)
                events = self._table.let_go_locked()
        else:
            self._failure = None
            atexit.register(self._at_exit)
            for tag in tags:
                self.reach(tag)
            with self._table.lock:
                events = self._table.await_all_locked()
            self._look_again()
        _set(events)

    def _wait_no_more(self) -> None:
        """Who has not answered by now is slow, or stopped; it will."""
        with self._table.lock:
            if self._table.awaited is None:  # the first is still about to dial
                return
            self._table.awaited = set()
            events = self._table.let_go_locked()
        _set(events)

    def _look_again(self) -> None:
        looks = self._reactor.call_later(self._look_every, lambda: self._reactor.submit(self._look))
        with self._table.lock:
            left = self._table.left
            if not left:
                self._looks = looks
        if left:
            looks.cancel()

    def _look(self) -> None:
        """On a worker: be found again if our file has gone, and find whom we have missed."""
        if self._table.left:
            return
        try:
            self._socket_file.find_again()
            for tag in self._socket_file.tags():
                self.reach(tag)
        except (OSError, RuntimeError) as error:
            if not self._table.left:
                self.report("no file", f"siblings that start from now on cannot find this process: {error}")
        self._look_again()

    # -- links that others dial ---------------------------------------------------------------------------------

    def _let_in(self, sock: _socket.socket, pid: int) -> None:
        """Somebody has dialled."""
        try:
            link = Link(self._reactor, sock, self, pid=pid, max_outbox=self._max_outbox, max_frame=frames.MAX_HELLO)
        except (OSError, RuntimeError) as error:
            sock.close()
            self.report("no descriptor", f"a sibling cannot be let in: {error}")
            return
        timer = self._reactor.expire_after(_INTRODUCTION, partial(self._give_up_on, link))
        with self._table.lock:
            room = not self._table.left and len(self._table.strangers) < _MAX_STRANGERS
            if room:
                self._table.inbound.add(link)
                self._table.strangers[link] = timer
        if room:
            link.start()
        else:
            timer.cancel()
            link.close()
            self.report("too many strangers", f"{_MAX_STRANGERS} have dialled and not yet said who they are")

    def _give_up_on(self, stranger: Link) -> None:
        self.report("no introduction", f"somebody (pid {stranger.pid}) dials and does not say who it is")
        stranger.close()

    # -- what comes ---------------------------------------------------------------------------------------------

    def received(self, link: Link, frame: Frame) -> None:
        """See :class:`LinkOwner`."""
        kind, number, payload, descriptor = frame
        handler = self._handlers.get(kind)
        if handler is None or not link.tag:
            if descriptor is not None:
                close_all((descriptor,))
                if kind < frames.FIRST_FOREIGN:
                    raise FrameError("a descriptor with a frame that has no use for one")
            self._obey(link, kind, number, payload)
            return
        if link.inbound and link.tag not in self._table.dialled:
            self.reach(link.tag)  # it was given up, and lives
        try:
            handler(link, number, payload, descriptor)
        except FAILURES:
            logger.exception("a frame of the sibling %s failed", link.tag)

    def _obey(self, link: Link, kind: int, number: int, payload: bytes) -> None:
        if link.inbound and kind == frames.HELLO:
            self._meet(link, frames.decode_hello(payload))
        elif not link.inbound and kind == frames.WELCOME:
            self._welcomed(link, frames.decode_welcome(payload))
        elif link.inbound and link.tag and frames.LOAD <= kind <= frames.BYE:
            self._note(link, kind, number, payload)
        elif link.tag and kind >= frames.FIRST_FOREIGN:
            self.report("unknown kind", f"the sibling {link.tag} sends frames of kind {kind}, which nobody here knows")
        else:
            raise FrameError(f"a frame of kind {kind}, which may not come here, or not yet")

    def _meet(self, link: Link, hello: Hello) -> None:
        """A sibling says who it is, for the first time or again."""
        if hello.version != frames.VERSION:
            self._report_version(hello.version)
            link.send(frames.WELCOME, 0, frames.encode_welcome())  # so that it knows why
            link.close()
            return
        tag = hello.tag
        if tag == self.tag or link.tag not in ("", tag):
            raise FrameError(f"it says that it is {tag}, and is not")
        dialled = self.reach(tag)
        if dialled is None and tag not in self._redialled:
            raise FrameError(f"it says that it is {tag}, which cannot be dialled")
        if dialled is not None and dialled.pid != link.pid:
            raise FrameError(f"it says that it is {tag}, and is not (pid {link.pid}, not {dialled.pid})")
        self._learn(link, hello)
        link.send(frames.WELCOME, 0, frames.encode_welcome())

    def _learn(self, link: Link, hello: Hello) -> None:
        with self._table.lock:
            timer = self._table.learn_locked(link, hello)
            events = self._table.settle_locked(hello.tag)
        link.allow(frames.MAX_FRAME)
        if timer is not None:
            timer.cancel()
        _set(events)
        self._table.events.tell()

    def _welcomed(self, link: Link, version: int) -> None:
        if version != frames.VERSION:
            self._foreign.add(link.tag)
            self._report_version(version)
            link.close()
            return
        with self._table.lock:
            self._table.welcome_locked(link)
            events = self._table.settle_locked(link.tag)
        _set(events)
        self._table.events.tell()

    def _note(self, link: Link, kind: int, number: int, payload: bytes) -> None:
        """A sibling tells how it is, or what it wants to hear of."""
        topic = frames.decode_topic(payload) if kind in (frames.SUBSCRIBE, frames.UNSUBSCRIBE) else ""
        with self._table.lock:
            self._table.note_locked(link, kind, number, topic)

    # -- the end of links ---------------------------------------------------------------------------------------

    def fell_behind(self, link: Link, count: int, size: int) -> None:
        """See :class:`LinkOwner`."""
        with self._table.lock:
            self.lost += count
        logger.error(
            "the sibling %s takes nothing: it is cut off, and %d messages (%d bytes) are lost", link.tag, count, size
        )

    def ended(self, link: Link, by_sibling: bool) -> None:
        """See :class:`LinkOwner`."""
        with self._table.lock:
            dialled, timer = self._table.ended_locked(link)
            events = self._table.settle_locked(link.tag)
        if timer is not None:
            timer.cancel()
        _set(events)
        self._table.events.tell()
        if by_sibling and link.tag and not link.state.gone:
            self._look_after(link, dialled)

    def _look_after(self, link: Link, dialled: bool) -> None:
        """A sibling has ended a link: as a rule it has died, and its file is to be removed."""
        if dialled and link.welcomed:
            self.reach(link.tag)
            return
        if not link.inbound:
            if dialled:  # it does not want us, or has died while we dialled
                self._reactor.call_later(_LAST_BREATH, partial(self._sweep, link.tag))
            return
        ours = self._table.dialled.get(link.tag)
        if ours is None or not self._greet(ours):
            self.reach(link.tag)

    # -- leaving ------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Say good-bye, and have no siblings any more; what has been placed is written, if that is soon done."""
        table = self._table
        if os.getpid() != self._pid:
            return
        with table.lock:
            if table.left:
                return
            table.left = True
            looks, self._looks = self._looks, None
            events = table.let_go_locked()
            inbound = list(table.inbound)
        atexit.unregister(self._at_exit)
        self._socket_file.leave()
        if looks is not None:
            looks.cancel()
        self._tell(self._own_state.leave)
        if self._reactor.may_wait():
            self._wait_until_written(table.links)
        for link in (*table.links, *inbound):
            link.close()
        _set(events)

    def _wait_until_written(self, links: Iterable[Link]) -> None:
        """The process may be about to end, and with it those who write."""
        pause, deadline = self._reactor.event(), monotonic() + _LAST_WORDS
        while any(link.busy for link in links) and monotonic() < deadline:
            self._reactor.wait(pause, _LAST_WORDS / 100)

    def after_fork(self) -> None:
        """In a forked child: all this is the parent's, whose siblings must hear nothing of the child."""
        atexit.unregister(self._at_exit)
        self._socket_file.after_fork()
        for link in self._table.after_fork():
            link.after_fork()


def _set(events: Iterable[Event]) -> None:
    for event in events:
        event.set()


def _leave(siblings: ref[Siblings]) -> None:
    """At exit."""
    here = siblings()
    if here is not None:
        here.leave()
