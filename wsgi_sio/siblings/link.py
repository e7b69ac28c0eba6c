"""A connection to a sibling: frames and descriptors over one Unix socket, both ways, never blocking.

Reading happens in the reactor, by one thread at a time; writing is link_writer.py's.  A link ends in two steps.  When
nothing more can be written it takes nothing more (``open``), and gives back what it still has; what the sibling has
sent before is read to its end all the same, for a last word may be among it.  Then, or at once by :meth:`Link.close`,
all who wanted to know are told.
"""

from __future__ import annotations

import _socket
import socket
from collections.abc import Callable
from typing import Protocol

from ..runtime import Rank, Reactor, Watch, make_lock
from .descriptor_passing import FLAGS, ROOM, call, close_all, unpack
from .frames import MAX_FRAME, Frame, FrameDecoder, FrameError, encode
from .link_writer import LinkWriter, give_all_back
from .sibling_state import SiblingState

# How much is read at once (bytes); above, malloc maps memory for each read.
_CHUNK = 65536
# As a plain number: an enum's & costs a microsecond.
_CTRUNC = int(socket.MSG_CTRUNC)

_TRUNCATED = "more descriptors than may come, or than this process may open (ulimit -n)"


class LinkOwner(Protocol):
    """Who has a link; called without a lock held, on an I/O thread, in gevent's hub or by who sends: never to block."""

    def received(self, link: Link, frame: Frame) -> None:
        """A frame has come; its descriptor is the owner's from now on.

        :raises FrameError: it may not come, so the link is to be broken.
        """

    def report(self, kind: str, text: str) -> None:
        """Something is not as it should be; to be told once for each kind."""

    def fell_behind(self, link: Link, frames: int, size: int) -> None:
        """The sibling takes nothing, so it is cut off, and so many frames (and bytes) are lost."""

    def ended(self, link: Link, by_sibling: bool) -> None:
        """There is no link any more."""


class Link(LinkWriter):
    """See the module's text.

    :ivar tag: the sibling's; "" until it has said it.
    :ivar inbound: whether the sibling has dialled.
    :ivar pid: the sibling's process, 0 where the system does not tell.
    :ivar state: what the sibling has told of itself.
    :ivar welcomed: whether the sibling has answered our HELLO; its owner's, as is
    :ivar announced: whether others have been told of it.

    ``_lock`` guards all that has an underscore but the decoder, which is the reader's, and the last user's.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_decoder",
        "_ended",
        "_owner",
        "_released",
        "_watch",
        "announced",
        "inbound",
        "pid",
        "state",
        "tag",
        "welcomed",
    )

    encode = staticmethod(encode)

    def __init__(
        self,
        reactor: Reactor,
        sock: _socket.socket,
        owner: LinkOwner,
        *,
        tag: str = "",
        pid: int = 0,
        max_outbox: int = 32_000_000,
        max_frame: int = MAX_FRAME,
    ) -> None:
        """Have a link on ``sock``, a non-blocking socket; :meth:`start` begins to read.

        :raises OSError: the system cannot watch more.
        :raises RuntimeError: the system has no thread for it.
        """
        super().__init__(sock, max_outbox)
        self.tag = tag
        self.inbound = not tag
        self.pid = pid
        self.state = SiblingState()
        self.welcomed = False
        self.announced = False
        self._owner = owner
        self._ended = False
        self._released = False
        self._callbacks: list[Callable[[], None]] = []
        self._decoder = FrameDecoder(max_frame)
        self._watch: Watch = reactor.watch(self, reading=False)

    def __repr__(self) -> str:
        return f"<Link {'from' if self.inbound else 'to'} {self.tag or '?'}{'' if self.open else ', ended'}>"

    @property
    def load(self) -> int:
        """What the sibling has told last of its load."""
        return self.state.load

    @property
    def draining(self) -> bool:
        """Whether the sibling wants no more sessions."""
        return self.state.draining

    @property
    def topics(self) -> frozenset[str]:
        """What the sibling wants to hear of."""
        return self.state.topics

    @property
    def known(self) -> bool:
        """Whether the sibling has told anything of itself yet."""
        return self.state.known

    def fileno(self) -> int:
        return self._sock.fileno()

    # -- reading ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read."""
        self._watch.resume()

    def allow(self, max_frame: int) -> None:
        """Let the sibling send frames of up to so many bytes, from the next one on; for who is receiving one."""
        self._decoder.limit = max_frame

    def on_readable(self) -> None:
        with self._lock:
            if self._ended:
                return
            self._users += 1
        try:
            self._read()
        finally:
            self._leave()

    def _read(self) -> None:
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(_CHUNK, ROOM, FLAGS)
        except BlockingIOError:
            return
        except OSError:  # a reset: the sibling has ended without having read everything
            data, ancillary, flags = b"", [], 0
        self._decoder.feed(data, unpack(ancillary))
        if not data:
            self._end(by_sibling=True)
            return
        try:
            while not self._ended and (frame := self._decoder.take()) is not None:
                self._owner.received(self, frame)
        except FrameError as error:
            self._break(_TRUNCATED if flags & _CTRUNC else str(error))
        else:
            if flags & _CTRUNC:
                self._break(_TRUNCATED)

    def _break(self, why: str) -> None:
        self._owner.report("broken link", f"the link with {self._name()} is closed, for what has come on it: {why}")
        self._end()

    # -- the end ------------------------------------------------------------------------------------------------

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, when the link ends; at once if it has. It must not block."""
        with self._lock:
            ended = self._ended
            if not ended:
                self._callbacks.append(callback)
        if ended:
            call(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        """Undo :meth:`on_end`; harmless when it has been called."""
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    def close(self) -> None:
        """End at once: what has been placed and not written is given back, what has not been read is lost."""
        self._end()

    def _end(self, *, by_sibling: bool = False) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
            lost = self._take_all_locked()
            callbacks, self._callbacks = self._callbacks, []
            by_sibling = by_sibling and not self._cut
            self._users += 1
        self._shut_down()
        self._leave()
        give_all_back(lost)
        self._owner.ended(self, by_sibling)
        for callback in callbacks:
            call(callback)

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            release = self._ended and not self._users and not self._released
            if release:
                self._released = True
        if release:
            close_all(self._decoder.drain())
            self._watch.close(self._sock.close)

    def _not_taken(self, error: OSError) -> None:
        self._owner.report("descriptor not sent", f"a connection cannot be handed to {self._name()}: {error}")

    def _fell_behind(self, frames: int, size: int) -> None:
        self._owner.fell_behind(self, frames, size)

    def _name(self) -> str:
        return f"the sibling {self.tag or '(not known yet)'} (pid {self.pid})"

    def after_fork(self) -> None:
        """In a forked child: close what is the parent's, without a word to the sibling."""
        self._lock = make_lock(Rank.LEAF)
        self._ended = self._released = True
        self._callbacks.clear()
        close_all([placed[1] for placed in self._take_all_locked() if placed[1] is not None])
        close_all(self._decoder.drain())
        self._sock.close()
