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
import secrets
from collections.abc import Callable
from functools import partial
from weakref import ref

from ..logtext import one_line
from ..runtime import FAILURES, Event, Rank, Reactor, Timer, make_lock, tell_in_child, wait_patiently
from . import frames
from .frames import Frame, FrameError, Hello
from .link import Link, Told
from .listener import Listener, Stranger, dial, list_tags
from .news import News

logger = logging.getLogger("wsgi_sio.siblings")

Handler = Callable[[Link, int, bytes, "int | None"], None]

# How long who has dialled may take to say who it is (seconds), and how many may be about to.
_INTRODUCTION = 5.0
_MAX_STRANGERS = 512
# After how long one that was too busy to be dialled is dialled again (seconds).
_REDIAL = 0.25
# How often our own file is looked for, and those of siblings that we have no link to (seconds).
_LOOK = 60.0
# By how much of what was told last our load must have changed to be told again.
_LOAD_STEP = 0.02
_MAX_NUMBER = 0xFFFFFFFF


class Siblings:
    """See the module's text.

    ``_lock`` guards the tables.  ``_dialled`` and ``_links`` are replaced, never changed, so they are read without it.
    Frames that tell of this process, HELLO first, are placed under it, so a link has them in the order of the changes.

    :ivar tag: names this process among its siblings; settled by :meth:`join`.
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
        self.tag = _new_tag()
        self.lost = 0  # frames, for siblings that took nothing
        self._reactor = reactor
        self._directory = directory
        self._max_outbox = max_outbox
        self._make_directory = make_directory
        self._look_every = look_every
        self._lock = make_lock(Rank.REGISTRY)
        self._pid = os.getpid()
        self._handlers: dict[int, Handler] = {}
        self._news = News()
        self._reported: set[str] = set()
        self._listener: Listener | None = None
        self._looks: Timer | None = None
        self._begun = False  # somebody has called join()
        self._left = False
        self._failure: OSError | None = None
        # Whose WELCOME and HELLO join() waits for, None before they are known; and who waits there.
        self._awaited: set[str] | None = None
        self._joining: list[Event] = []
        self._dialled: dict[str, Link] = {}
        self._links: tuple[Link, ...] = ()
        self._inbound: set[Link] = set()
        self._strangers: dict[Link, Timer] = {}  # those of them that have not yet said who they are
        self._told: dict[str, Told] = {}
        self._redialled: set[str] = set()  # in a while
        self._load = 0
        self._told_load = 0
        self._draining = False
        self._topics: frozenset[str] = frozenset()
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
        self._news.on_joined += (listener,)

    def on_left(self, listener: Callable[[str], None]) -> None:
        """Call ``listener``, which must not block, with the tag of each that had joined, when its link has ended."""
        self._news.on_left += (listener,)

    # -- joining ------------------------------------------------------------------------------------------------

    def join(self, patience: float = 1.0) -> None:
        """Listen, dial all siblings, and wait until they know us, for at most ``patience`` seconds (in which they could
        be heard). Further calls wait for the first.

        :raises OSError: this process cannot listen: there is no such directory, or no Unix sockets for us.
        """
        event = self._reactor.event()
        with self._lock:
            if self._left or self._awaited == set():
                return
            first, self._begun = not self._begun, True
            self._joining.append(event)
        if first:
            self._begin_joining()
        if self._reactor.may_wait():
            wait_patiently(partial(self._reactor.wait, event), patience)
        if self._failure is not None:
            raise self._failure

    def _begin_joining(self) -> None:
        try:
            self._listen()
            tags = list_tags(self._directory)
        except (OSError, RuntimeError) as error:
            self._stop_listening()
            with self._lock:
                self._begun = False
                self._failure = error if isinstance(error, OSError) else OSError(*error.args)
                events = self._let_go_locked()
        else:
            self._failure = None
            atexit.register(self._at_exit)
            for tag in tags:
                self.reach(tag)
            with self._lock:
                self._awaited = {tag for tag in self._dialled if not self._is_settled_locked(tag)}
                events = () if self._awaited else self._let_go_locked()
            self._look_again()
        for event in events:
            event.set()

    def _listen(self) -> None:
        """Make our file; of our tag, unless it is taken and nobody has heard of ours yet."""
        while True:
            try:
                listener = Listener(self._reactor, self._directory, self.tag, self._let_in)
                break
            except FileExistsError:
                if self._listener is not None:
                    raise
                self.tag = _new_tag()
        with self._lock:
            left, before = self._left, self._listener
            if not left:
                self._listener = listener
        if left:
            before = listener
            listener.unlink()
        if before is not None:
            before.close()

    def _stop_listening(self) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.unlink()
            listener.close()

    def _is_settled_locked(self, tag: str) -> bool:
        """Whether nothing more of that sibling is waited for: we know each other, or it has gone."""
        link = self._dialled.get(tag)
        return link is None or (link.welcomed and link.told.known)

    def _settle_locked(self, tag: str) -> tuple[Event, ...]:
        """Who need wait no longer, after something of that sibling has changed."""
        if not self._awaited or not self._is_settled_locked(tag):
            return ()
        self._awaited.discard(tag)
        return () if self._awaited else self._let_go_locked()

    def _let_go_locked(self) -> tuple[Event, ...]:
        events, self._joining = tuple(self._joining), []
        return events

    # -- looking after the directory ----------------------------------------------------------------------------

    def _look_again(self) -> None:
        looks = self._reactor.call_later(self._look_every, lambda: self._reactor.submit(self._look))
        with self._lock:
            left = self._left
            if not left:
                self._looks = looks
        if left:
            looks.cancel()

    def _look(self) -> None:
        """On a worker: be found again if our file has gone, and find whom we have missed."""
        listener = self._listener
        if self._left or listener is None:
            return
        try:
            if not listener.present:
                if self._make_directory is not None:
                    self._make_directory()
                self._listen()
            for tag in list_tags(self._directory):
                self.reach(tag)
        except (OSError, RuntimeError) as error:
            self._report("no file", f"siblings that start from now on cannot find this process: {error}")
        self._look_again()

    # -- links that we dial -------------------------------------------------------------------------------------

    def links(self, topic: str | None = None) -> tuple[Link, ...]:
        """The links that we have dialled.

        :param topic: leave out those to siblings that have not asked for it; of one that has told nothing yet, being
            slow or stopped, nobody knows, and what it missed would be missing for its clients.
        """
        if topic is None:
            return self._links
        return tuple([link for link in self._links if topic in link.told.topics or not link.told.known])

    def reach(self, tag: str) -> Link | None:
        """The link that we have dialled, or dial now, to a sibling; None: it does not live, or not among us."""
        link = self._dialled.get(tag)
        if link is not None and link.open:
            return link
        if self._listener is None or tag == self.tag or not frames.is_tag(tag):
            return None
        try:
            return self._dial(tag)
        except BlockingIOError:
            self._redial_later(tag)
        except (FileNotFoundError, ConnectionRefusedError):
            pass  # it has gone
        except (OSError, RuntimeError, Stranger) as error:
            self._report("not reached", f"the sibling {tag} cannot be dialled: {error}")
        return None

    def _dial(self, tag: str) -> Link | None:
        sock, pid = dial(self._directory, tag)
        try:
            link = Link(self._reactor, sock, self, tag=tag, pid=pid, max_outbox=self._max_outbox)
        except (OSError, RuntimeError):
            sock.close()
            raise
        with self._lock:
            before = self._dialled.get(tag)
            usable = not self._left and (before is None or not before.open)
            if usable:
                if before is not None:
                    self._remove_locked(before)
                link.told = self._told.setdefault(tag, link.told)
                link.place(frames.HELLO, 0, self._hello_locked())
                self._put_dialled_locked(self._dialled | {tag: link})  # from now on others place frames behind that
                self._announce_locked(link)
        if not usable:  # another thread was faster
            link.close()
            return before if before is not None and before.open else None
        link.start()
        link.flush()
        self._news.tell()
        return link

    def _put_dialled_locked(self, dialled: dict[str, Link]) -> None:
        self._dialled = dialled
        self._links = tuple(dialled.values())

    def _remove_locked(self, link: Link) -> bool:
        """Forget a link that we have dialled; whether it was in use."""
        if self._dialled.get(link.tag) is not link:
            return False
        self._put_dialled_locked({tag: other for tag, other in self._dialled.items() if other is not link})
        if link.announced:
            link.announced = False
            self._news.put(link, joined=False)
        return True

    def _announce_locked(self, link: Link) -> None:
        """The sibling may be known now."""
        if link.told.known and not link.announced:
            link.announced = True
            self._news.put(link, joined=True)

    def _redial_later(self, tag: str) -> None:
        with self._lock:
            if tag in self._redialled or self._left:
                return
            self._redialled.add(tag)

        def redial() -> None:
            self._redialled.discard(tag)
            self.reach(tag)

        self._reactor.call_later(_REDIAL, redial)

    # -- links that others dial ---------------------------------------------------------------------------------

    def _let_in(self, sock: _socket.socket, pid: int) -> None:
        """Somebody has dialled."""
        try:
            link = Link(self._reactor, sock, self, pid=pid, max_outbox=self._max_outbox, max_frame=frames.MAX_HELLO)
        except (OSError, RuntimeError) as error:
            sock.close()
            self._report("no descriptor", f"a sibling cannot be let in: {error}")
            return
        timer = self._reactor.expire_after(_INTRODUCTION, partial(self._give_up_on, link))
        with self._lock:
            room = not self._left and len(self._strangers) < _MAX_STRANGERS
            if room:
                self._inbound.add(link)
                self._strangers[link] = timer
        if room:
            link.start()
        else:
            timer.cancel()
            link.close()

    def _give_up_on(self, stranger: Link) -> None:
        self._report("no introduction", f"somebody (pid {stranger.pid}) dials and does not say who it is")
        stranger.close()

    # -- what comes ---------------------------------------------------------------------------------------------

    def received(self, link: Link, frame: Frame) -> None:
        """See :class:`LinkOwner`."""
        kind, number, payload, descriptor = frame
        if kind < frames.FIRST_FOREIGN:
            if descriptor is not None:
                os.close(descriptor)
                raise FrameError("a descriptor with a frame that needs none")
            self._obey(link, kind, number, payload)
            return
        if not link.tag:
            if descriptor is not None:
                os.close(descriptor)
            raise FrameError("it speaks before it has said who it is")
        handler = self._handlers.get(kind)
        if handler is None:
            if descriptor is not None:
                os.close(descriptor)
            self._report("unknown kind", f"the sibling {link.tag} sends frames of kind {kind}, which nobody here knows")
            return
        if link.inbound and link.tag not in self._dialled:
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
        else:
            raise FrameError(f"a frame of kind {kind}, which may not come here")

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
        with self._lock:
            link.tag = hello.tag
            timer = self._strangers.pop(link, None)
            told = link.told = self._told.setdefault(hello.tag, link.told)
            told.source = link
            told.load, told.draining, told.topics = hello.load, hello.draining, hello.topics
            told.known = True
            dialled = self._dialled.get(hello.tag)
            if dialled is not None:
                self._announce_locked(dialled)
            events = self._settle_locked(hello.tag)
        link.allow(frames.MAX_FRAME)
        if timer is not None:
            timer.cancel()
        for event in events:
            event.set()
        self._news.tell()

    def _welcomed(self, link: Link, version: int) -> None:
        if version != frames.VERSION:
            self._report_version(version)
            link.close()
            return
        with self._lock:
            link.welcomed = True
            events = self._settle_locked(link.tag)
        for event in events:
            event.set()

    def _note(self, link: Link, kind: int, number: int, payload: bytes) -> None:
        """A sibling tells how it is, or what it wants to hear of."""
        topic = frames.decode_topic(payload) if kind in (frames.SUBSCRIBE, frames.UNSUBSCRIBE) else ""
        with self._lock:
            told = link.told
            if told.source is not link:
                return  # it has dialled anew, and said it all there
            if kind == frames.LOAD:
                told.load = number
            elif kind == frames.SUBSCRIBE:
                told.topics |= {topic}
            elif kind == frames.UNSUBSCRIBE:
                told.topics -= {topic}
            else:
                told.draining = True
                told.gone = kind == frames.BYE

    # -- the end of links ---------------------------------------------------------------------------------------

    def broken(self, link: Link, why: str) -> None:
        """See :class:`LinkOwner`."""
        self._report("broken link", f"{link.tag or 'somebody'} (pid {link.pid}) sends what may not be: {why}")

    def fell_behind(self, link: Link, count: int, size: int) -> None:
        """See :class:`LinkOwner`."""
        with self._lock:
            self.lost += count
        logger.error(
            "the sibling %s takes nothing: it is cut off, and %d messages (%d bytes) are lost", link.tag, count, size
        )

    def ended(self, link: Link, by_sibling: bool) -> None:
        """See :class:`LinkOwner`."""
        with self._lock:
            timer = self._strangers.pop(link, None)
            self._inbound.discard(link)
            dialled = self._remove_locked(link)
            if dialled or link.inbound:
                self._forget_locked(link.tag)
            events = self._settle_locked(link.tag)
        if timer is not None:
            timer.cancel()
        for event in events:
            event.set()
        self._news.tell()
        if by_sibling and link.tag and not link.told.gone and not self._left:
            self._look_after(link, dialled)

    def _forget_locked(self, tag: str) -> None:
        """Keep what a sibling has told for no longer than there is a link."""
        if tag not in self._dialled and not any(link.tag == tag for link in self._inbound):
            self._told.pop(tag, None)

    def _look_after(self, link: Link, dialled: bool) -> None:
        """A sibling has ended a link: as a rule it has died, and its file is to be removed."""
        if dialled:
            if link.welcomed:  # else it does not want us, and would not the next time
                self.reach(link.tag)
            return
        ours = self._dialled.get(link.tag)
        if ours is None or not self._greet(ours):
            self.reach(link.tag)

    def _greet(self, link: Link) -> bool:
        """Say hello again to one that may have cut us off, so that it dials us anew."""
        with self._lock:
            placed = link.place(frames.HELLO, 0, self._hello_locked())
        link.flush()
        return placed

    # -- telling of ourselves -----------------------------------------------------------------------------------

    def _hello_locked(self) -> bytes:
        return Hello(frames.VERSION, self.tag, self._told_load, self._draining, self._topics).encode()

    def subscribe(self, topic: str) -> None:
        """Ask all siblings for what they have of ``topic``; no lock may be held."""
        with self._lock:
            if topic in self._topics:
                return
            self._topics |= {topic}
            links = self._place_locked(frames.SUBSCRIBE, 0, frames.encode_topic(topic))
        _flush(links)

    def unsubscribe(self, topic: str) -> None:
        """Undo :meth:`subscribe`."""
        with self._lock:
            if topic not in self._topics:
                return
            self._topics -= {topic}
            links = self._place_locked(frames.UNSUBSCRIBE, 0, frames.encode_topic(topic))
        _flush(links)

    def tell_load(self, load: int) -> None:
        """How much this process has to do: the number of its sessions. Small changes are kept to ourselves."""
        if abs(load - self._told_load) < max(1, _LOAD_STEP * self._told_load):
            return
        with self._lock:
            self._told_load = load
            links = self._place_locked(frames.LOAD, min(load, _MAX_NUMBER), b"")
        _flush(links)

    def tell_draining(self) -> None:
        """This process wants no more sessions."""
        with self._lock:
            if self._draining:
                return
            self._draining = True
            links = self._place_locked(frames.DRAINING, 0, b"")
        _flush(links)

    def _place_locked(self, kind: int, number: int, payload: bytes) -> tuple[Link, ...]:
        frame = frames.encode(kind, number, payload)
        for link in self._links:
            link.place_encoded(frame)
        return self._links

    def _report(self, kind: str, text: str) -> None:
        """Log what was refused: the first time at WARNING, then at DEBUG."""
        first = kind not in self._reported
        self._reported.add(kind)
        logger.log(logging.WARNING if first else logging.DEBUG, "siblings (%s): %s", kind, one_line(text))

    def _report_version(self, version: int) -> None:
        self._report(
            "another version",
            f"a process of the same server speaks version {version} between processes, this one {frames.VERSION}: they"
            " share nothing, and clients that reach both connect again and again; let all run one version of wsgi_sio",
        )

    # -- leaving ------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Say good-bye, and have no siblings any more."""
        with self._lock:
            if self._left or os.getpid() != self._pid:
                return
            self._left = True
            looks, self._looks = self._looks, None
            events = self._let_go_locked()
            links = self._place_locked(frames.BYE, 0, b"")
            inbound = list(self._inbound)
        atexit.unregister(self._at_exit)
        self._stop_listening()
        if looks is not None:
            looks.cancel()
        _flush(links)
        for link in (*links, *inbound):
            link.close()
        for event in events:
            event.set()

    def after_fork(self) -> None:
        """In a forked child: all this is the parent's, whose siblings must hear nothing of the child."""
        self._lock = make_lock(Rank.REGISTRY)
        self._left = True
        self._news.after_fork()
        atexit.unregister(self._at_exit)
        if self._listener is not None:
            self._listener.after_fork()
            self._listener = None
        for link in {*self._links, *self._inbound}:
            link.after_fork()
        self._put_dialled_locked({})
        self._inbound.clear()
        self._strangers.clear()
        self._joining.clear()


def _new_tag() -> str:
    """Four of 64 characters; one that has been used is not used again, but for a chance of one in 16 million."""
    return secrets.token_urlsafe(3)


def _flush(links: tuple[Link, ...]) -> None:
    for link in links:
        link.flush()


def _leave(siblings: ref[Siblings]) -> None:
    """At exit."""
    here = siblings()
    if here is not None:
        here.leave()
