"""A connection to a sibling: frames and descriptors over one Unix socket, both ways, never blocking.

Reading happens in the reactor, by one thread at a time.  Writing happens in whatever thread has the baton: placing a
frame settles its order, whoever then finds nobody writing writes until the outbox is empty, and what the kernel does
not take waits for writability, baton included.

A link ends in two steps.  When nothing more can be written it takes nothing more (``open``), and gives back what it
still has; what the sibling has sent before is read to its end all the same, for a last word may be among it.  Then, or
at once by :meth:`Link.close`, all who wanted to know are told.  The descriptor's number is given up when neither the
reader nor a writer nor who ends the link is using it: by then it could be another connection's.
"""

from __future__ import annotations

import _socket
import array
import errno
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from ..runtime import FAILURES, Rank, Reactor, Watch, make_lock
from .frames import MAX_FRAME, Frame, FrameDecoder, FrameError, encode

logger = logging.getLogger("wsgi_sio.siblings")

# How much is read at once, and about how much is written (bytes); above, malloc maps memory for each read.
_CHUNK = 65536
# Room for the descriptors of one read: the kernel gives those of one frame at a time.
_ROOM = socket.CMSG_SPACE(4 * array.array("i").itemsize)
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
# The kernel does not take this descriptor, and the link is none the worse: too many are under way, or it is none.
_NOT_TAKEN = (errno.ETOOMANYREFS, errno.EBADF)

Returned = Callable[[int], None]
# A frame in the outbox or half way out of it: its bytes, its descriptor, who gets that back.
_Placed = tuple[bytes | memoryview, int | None, Returned | None]


class Told:
    """What a sibling has told of itself; replaced as a whole or field by field, never changed inside.

    :ivar known: whether it has told anything yet.
    :ivar gone: it has said that it leaves.
    :ivar source: the link on which it tells.
    """

    __slots__ = ("draining", "gone", "known", "load", "source", "topics")

    def __init__(self) -> None:
        self.known = False
        self.load = 0
        self.draining = False
        self.topics: frozenset[str] = frozenset()
        self.gone = False
        self.source: Link | None = None


class LinkOwner(Protocol):
    """Who has a link; called on an I/O thread or in gevent's hub, the latter two by anybody: nothing here may block."""

    def received(self, link: Link, frame: Frame) -> None:
        """A frame has come; its descriptor is the owner's from now on.

        :raises FrameError: it may not come, so the link is to be broken.
        """

    def broken(self, link: Link, why: str) -> None:
        """The sibling does not keep to the format; the link is about to end."""

    def fell_behind(self, link: Link, frames: int, size: int) -> None:
        """The sibling takes nothing, so it is cut off, and so many frames (and bytes) are lost."""

    def ended(self, link: Link, by_sibling: bool) -> None:
        """There is no link any more."""


class Link:
    """See the module's text.

    :ivar tag: the sibling's; "" until it has said it.
    :ivar inbound: whether the sibling has dialled.
    :ivar pid: the sibling's process, 0 where the system does not tell.
    :ivar open: whether frames are taken.
    :ivar told: what the sibling has told of itself.
    :ivar welcomed: whether the sibling has answered our HELLO; its owner's.
    :ivar announced: whether others have been told of it; its owner's.

    ``_lock`` guards all that has an underscore but the decoder, which is the reader's, and the last user's.
    """

    __slots__ = (
        "_callbacks",
        "_cut",
        "_decoder",
        "_ended",
        "_lock",
        "_max_outbox",
        "_outbox",
        "_owner",
        "_released",
        "_size",
        "_sock",
        "_unsent",
        "_users",
        "_watch",
        "_writing",
        "announced",
        "inbound",
        "open",
        "pid",
        "tag",
        "told",
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
        self.tag = tag
        self.inbound = not tag
        self.pid = pid
        self.open = True
        self.told = Told()
        self.welcomed = False
        self.announced = False
        self._owner = owner
        self._sock = sock
        self._max_outbox = max_outbox
        self._lock = make_lock(Rank.LEAF)
        self._outbox: deque[_Placed] = deque()
        self._size = 0  # of what is in it
        self._writing = False  # somebody has the baton
        self._unsent: _Placed | None = None  # what the baton waits with until the kernel takes bytes
        self._users = 0  # who may be in a system call with the descriptor
        self._cut = False
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
        return self.told.load

    @property
    def draining(self) -> bool:
        """Whether the sibling wants no more sessions."""
        return self.told.draining

    @property
    def topics(self) -> frozenset[str]:
        """What the sibling wants to hear of."""
        return self.told.topics

    @property
    def outbox_size(self) -> int:
        """Bytes that wait for the sibling, apart from what is being written."""
        return self._size

    def fileno(self) -> int:
        return self._sock.fileno()

    def start(self) -> None:
        """Begin to read."""
        self._watch.resume()

    def allow(self, max_frame: int) -> None:
        """Let the sibling send frames of up to so many bytes, from the next one on; for who has just received one."""
        self._decoder.limit = max_frame

    # -- placing ------------------------------------------------------------------------------------------------

    def place(
        self,
        kind: int,
        number: int,
        payload: bytes | Sequence[bytes],
        descriptor: int | None = None,
        returned: Returned | None = None,
    ) -> bool:
        """Give a frame its place in the outbox; :meth:`flush` has to be called soon, without a lock held.

        :param descriptor: the link's if this returns True: it is closed once it has been sent.
        :param returned: gets the descriptor instead if no byte of the frame has reached the kernel, and none will: the
            link has ended, or the kernel takes no more descriptors. Called without a lock held, by anybody.
        :return: False when the link has ended.
        :raises FrameTooLarge: a ValueError: the payload is.
        """
        return self._place(
            (encode(kind, number, payload, with_descriptor=descriptor is not None), descriptor, returned)
        )

    def place_encoded(self, frame: bytes) -> bool:
        """Likewise, what :func:`encode` has made, which many links may share."""
        return self._place((frame, None, None))

    def send(
        self,
        kind: int,
        number: int,
        payload: bytes | Sequence[bytes],
        descriptor: int | None = None,
        returned: Returned | None = None,
    ) -> bool:
        """:meth:`place` and :meth:`flush` in one."""
        placed = self.place(kind, number, payload, descriptor, returned)
        self.flush()
        return placed

    def _place(self, placed: _Placed) -> bool:
        with self._lock:
            if not self.open:
                return False
            self._outbox.append(placed)
            self._size += len(placed[0])
        return True

    # -- writing (by the holder of the baton) -------------------------------------------------------------------

    def flush(self) -> None:
        """Write what has been placed, unless somebody does already; never blocks."""
        with self._lock:
            if not self._outbox:
                return
            claimed, self._writing = not self._writing, True
            if claimed:
                self._users += 1
            # The first one may be of any size. While somebody is writing the sibling is taking.
            behind = self._unsent is not None and self._size - len(self._outbox[0][0]) > self._max_outbox
        if claimed:
            self._write()
        elif behind:
            self._stop_taking(cut=True)

    def on_writable(self) -> None:
        with self._lock:
            unsent, self._unsent = self._unsent, None
            if unsent is None:
                return
            self._users += 1
        self._write(unsent)

    def _write(self, batch: _Placed | None = None) -> None:
        """Empty the outbox, ``batch`` first; the caller has the baton, and is one of ``_users``."""
        try:
            batch = batch or self._next_batch()
            while batch is not None and self._send(*batch):
                batch = self._next_batch()
        finally:
            self._leave()

    def _next_batch(self) -> _Placed | None:
        """A frame with a descriptor, or several without; None: there is none, and the baton has been let go of."""
        with self._lock:
            outbox = self._outbox
            # No call in between: a signal handler that sends must find a writer, or the outbox looked after.
            idle = not outbox
            self._writing = not idle
            if idle:
                return None
            batch = outbox.popleft()
            size = len(batch[0])
            more = []
            while outbox and batch[1] is outbox[0][1] is None and size + len(outbox[0][0]) <= _CHUNK:
                more.append(outbox.popleft()[0])
                size += len(more[-1])
            self._size -= size
        return (b"".join((batch[0], *more)), None, None) if more else batch

    def _send(self, data: bytes | memoryview, descriptor: int | None, returned: Returned | None) -> bool:
        """Whether to go on: else the baton waits, or the link takes no more."""
        try:
            if descriptor is None:
                sent = self._sock.send(data)
            else:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
                sent = self._sock.sendmsg([data], rights)
                _close_all((descriptor,))  # it has gone with the first byte
                descriptor = None
        except BlockingIOError:
            sent = 0
        except OSError as error:
            if descriptor is not None:
                _give_back(descriptor, returned)
                if error.errno in _NOT_TAKEN:
                    logger.warning("a connection could not be handed to the sibling %s: %s", self.tag, error)
                    return True
            self._stop_taking()
            return False
        if sent == len(data):
            return True
        return self._park((memoryview(data)[sent:], descriptor, returned))

    def _park(self, unsent: _Placed) -> bool:
        with self._lock:
            parked = self.open
            if parked:
                self._unsent = unsent
        if parked:
            self._watch.want_write()
        elif unsent[1] is not None:
            _give_back(unsent[1], unsent[2])
        return False

    # -- reading ------------------------------------------------------------------------------------------------

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
            data, ancillary, flags, _ = self._sock.recvmsg(_CHUNK, _ROOM, _FLAGS)
        except BlockingIOError:
            return
        except OSError:  # a reset: the sibling has ended without having read everything
            data, ancillary, flags = b"", [], 0
        descriptors = _descriptors_in(ancillary)
        self._decoder.feed(data, descriptors)
        if not data:
            self._end(by_sibling=True)
            return
        try:
            if flags & socket.MSG_CTRUNC:
                raise FrameError("more descriptors than may come, or than this process may open (ulimit -n)")
            while not self._ended and (frame := self._decoder.take()) is not None:
                self._owner.received(self, frame)
        except FrameError as error:
            self._owner.broken(self, str(error))
            self._end()

    # -- the end ------------------------------------------------------------------------------------------------

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, when the link ends; at once if it has. It must not block."""
        with self._lock:
            ended = self._ended
            if not ended:
                self._callbacks.append(callback)
        if ended:
            _call(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        """Undo :meth:`on_end`; harmless when it has been called."""
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    def close(self) -> None:
        """End at once: what has been placed and not written is given back, what has not been read is lost."""
        self._end()

    def _stop_taking(self, *, cut: bool = False) -> None:
        """Nothing more can be written, or (``cut``) too much waits; the reader ends the link when it has read all."""
        with self._lock:
            if not self.open:
                return
            self._cut = cut
            frames, size = len(self._outbox), self._size
            if self._unsent is not None:
                frames, size = frames + 1, size + len(self._unsent[0])
            lost = self._take_all_locked()
            self._users += 1
        self._shut_down()
        self._leave()
        if cut:
            self._owner.fell_behind(self, frames, size)
        _give_all_back(lost)

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
        _give_all_back(lost)
        self._owner.ended(self, by_sibling)
        for callback in callbacks:
            _call(callback)

    def _take_all_locked(self) -> list[_Placed]:
        self.open = False
        lost = [*self._outbox] if self._unsent is None else [self._unsent, *self._outbox]
        self._outbox.clear()
        self._size = 0
        self._unsent = None
        return lost

    def _shut_down(self) -> None:
        # A forked process that has not let go of its copy yet must not keep the link alive.
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the sibling was faster

    def _leave(self) -> None:
        """The caller uses the descriptor no more; the last one gives up its number."""
        with self._lock:
            self._users -= 1
            release = self._ended and not self._users and not self._released
            if release:
                self._released = True
        if release:
            _close_all(self._decoder.drain())
            self._watch.close(self._sock.close)

    def after_fork(self) -> None:
        """In a forked child: close what is the parent's, without a word to the sibling."""
        self._lock = make_lock(Rank.LEAF)
        self._ended = self._released = True
        self._callbacks.clear()
        _close_all(placed[1] for placed in self._take_all_locked() if placed[1] is not None)
        _close_all(self._decoder.drain())
        self._sock.close()


def _descriptors_in(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Those that have come; they close when another program is run."""
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if not _FLAGS:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
    return list(descriptors)


def _give_all_back(lost: Iterable[_Placed]) -> None:
    for _, descriptor, returned in lost:
        if descriptor is not None:
            _give_back(descriptor, returned)


def _give_back(descriptor: int, returned: Returned | None) -> None:
    if returned is None:
        _close_all((descriptor,))
    else:
        _call(returned, descriptor)


def _close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError:
            pass  # it was none


def _call(callback: Callable[..., None], *args: Any) -> None:
    try:
        callback(*args)
    except FAILURES:
        logger.exception("a callback of a link failed")
