"""The half of a link that writes: frames, each perhaps with a descriptor, in the order of their places, never blocking.

Placing a frame settles its order.  Whoever then finds nobody writing has the baton, and writes until the outbox is
empty; what the kernel does not take waits for writability, baton included.  When nothing more can be written the link
takes nothing more, and gives back the descriptors that it still has.
"""

from __future__ import annotations

import _socket
import errno
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence

from ..runtime import Rank, Watch, make_lock
from .descriptor_passing import Returned, close_all, give_back, pack
from .frames import encode

# About how much is written at once (bytes).
_CHUNK = 65536
# The kernel does not take this descriptor, and the link is none the worse: too many are under way, or it is none.
_NOT_TAKEN = (errno.ETOOMANYREFS, errno.EBADF)

# A frame in the outbox or half way out of it: its bytes, its descriptor, who gets that back.
Placed = tuple[bytes | memoryview, int | None, Returned | None]


class LinkWriter(ABC):
    """See the module's text; the other half is :class:`Link`.

    The descriptor's number is given up when neither the reader nor a writer nor who ends the link may be in a system
    call with it (``_users``): by then it could be another connection's.

    :ivar open: whether frames are taken.
    """

    __slots__ = ("_cut", "_lock", "_max_outbox", "_outbox", "_size", "_sock", "_unsent", "_users", "_writing", "open")

    _watch: Watch

    def __init__(self, sock: _socket.socket, max_outbox: int) -> None:
        self.open = True
        self._sock = sock
        self._max_outbox = max_outbox
        self._lock = make_lock(Rank.LEAF)
        self._outbox: deque[Placed] = deque()
        self._size = 0  # of what is in it
        self._writing = False  # somebody has the baton
        self._unsent: Placed | None = None  # what the baton waits with until the kernel takes bytes
        self._users = 0
        self._cut = False  # for taking nothing

    @property
    def busy(self) -> bool:
        """Whether frames wait to be written."""
        return self.open and (self._writing or bool(self._outbox))

    @property
    def outbox_size(self) -> int:
        """Bytes that wait for the sibling, apart from what is being written."""
        return self._size

    @abstractmethod
    def _leave(self) -> None:
        """The caller is none of ``_users`` any more."""

    @abstractmethod
    def _not_taken(self, error: OSError) -> None:
        """The kernel has not taken a descriptor."""

    @abstractmethod
    def _fell_behind(self, frames: int, size: int) -> None:
        """The link has been cut, and so much is lost."""

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
            link has ended, or the kernel takes no more descriptors. Called without a lock held, by anybody; it must not
            block.
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
        placed = (encode(kind, number, payload, with_descriptor=descriptor is not None), descriptor, returned)
        with self._lock:
            if not self.open:
                return False
            # Nothing waits, as a rule: then it need not go through the outbox.
            claimed = not (self._writing or self._outbox)
            if claimed:
                self._writing = True
                self._users += 1
        if claimed:
            self._write(placed)
            return True
        kept = self._place(placed)
        self.flush()
        return kept

    def _place(self, placed: Placed) -> bool:
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
            # The first one may be of any size; and while somebody is writing, the sibling is taking.
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

    def _write(self, batch: Placed | None = None) -> None:
        """Empty the outbox, ``batch`` first; the caller has the baton, and is one of ``_users``."""
        try:
            batch = batch or self._next_batch()
            while batch is not None and self._send(*batch):
                batch = self._next_batch()
        finally:
            self._leave()

    def _next_batch(self) -> Placed | None:
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
                sent = self._sock.sendmsg([data], pack(descriptor))
                close_all((descriptor,))  # it has gone with the first byte
                descriptor = None
        except BlockingIOError:
            sent = 0
        except OSError as error:
            only_this = descriptor is not None and error.errno in _NOT_TAKEN
            if only_this:
                self._not_taken(error)
            else:
                self._stop_taking()
            if descriptor is not None:  # behind that, so that who gets it can see whether the link goes on
                give_back(descriptor, returned)
            return only_this
        if sent == len(data):
            return True
        self._park((memoryview(data)[sent:], descriptor, returned))
        return False

    def _park(self, unsent: Placed) -> None:
        with self._lock:
            parked = self.open
            if parked:
                self._unsent = unsent
        if parked:
            self._watch.want_write()
        elif unsent[1] is not None:
            give_back(unsent[1], unsent[2])

    # -- the end ------------------------------------------------------------------------------------------------

    def _stop_taking(self, *, cut: bool = False) -> None:
        """Nothing more can be written, or (``cut``) too much waits; the reader ends the link when it has read all."""
        with self._lock:
            if not self.open:
                return
            self._cut = cut
            lost = self._take_all_locked()
            self._users += 1
        self._shut_down()
        self._leave()
        if cut:
            self._fell_behind(len(lost), sum([len(placed[0]) for placed in lost]))
        give_all_back(lost)

    def _take_all_locked(self) -> list[Placed]:
        self.open = False
        lost = [*self._outbox] if self._unsent is None else [self._unsent, *self._outbox]
        self._outbox.clear()
        self._size = 0
        self._unsent = None
        return lost

    def _shut_down(self) -> None:
        """Let both ends read an end, even if a forked process has not let go of its copy yet; for one of ``_users``."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the sibling was faster


def give_all_back(lost: Sequence[Placed]) -> None:
    """They have not been sent, and will not be."""
    for _, descriptor, returned in lost:
        if descriptor is not None:
            give_back(descriptor, returned)
