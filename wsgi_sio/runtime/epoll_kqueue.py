"""epoll and kqueue behind one small interface, both one-shot: a descriptor that fired stays silent until re-armed."""

from __future__ import annotations

import select
import sys
from typing import Protocol

READ, WRITE = 1, 2


class Poller(Protocol):
    """A one-shot readiness queue that several threads may wait on."""

    def add(self, fd: int, interest: int) -> None: ...

    def arm(self, fd: int, interest: int) -> None: ...

    def remove(self, fd: int) -> None: ...

    def wait(self, timeout: float) -> tuple[int, int] | None:
        """Block up to ``timeout`` seconds for one descriptor: (fd, READ and/or WRITE), or None."""

    def close(self) -> None: ...


if sys.platform == "linux":
    # An error or a hang-up is told as "readable": the read then returns what happened.
    _IN = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
    # Indexed by interest; 0 listens for nothing.
    _MASKS = [
        select.EPOLLONESHOT,
        select.EPOLLONESHOT | select.EPOLLIN,
        select.EPOLLONESHOT | select.EPOLLOUT,
        select.EPOLLONESHOT | select.EPOLLIN | select.EPOLLOUT,
    ]

    class EpollPoller:
        """Linux."""

        def __init__(self) -> None:
            self._epoll = select.epoll()

        def add(self, fd: int, interest: int) -> None:
            self._epoll.register(fd, _MASKS[interest])

        def arm(self, fd: int, interest: int) -> None:
            self._epoll.modify(fd, _MASKS[interest])

        def remove(self, fd: int) -> None:
            self._epoll.unregister(fd)

        def wait(self, timeout: float) -> tuple[int, int] | None:
            # One at a time: a handler that blocks must not hold other clients' events hostage.
            events = self._epoll.poll(timeout, 1)
            if not events:
                return None
            fd, mask = events[0]
            return fd, (READ if mask & _IN else 0) | (WRITE if mask & select.EPOLLOUT else 0)

        def close(self) -> None:
            self._epoll.close()

    def make_poller() -> Poller:
        """The best poller of this platform."""
        return EpollPoller()

else:

    class KqueuePoller:
        """macOS and the BSDs."""

        def __init__(self) -> None:
            self._kqueue = select.kqueue()

        def add(self, fd: int, interest: int) -> None:
            self.arm(fd, interest)

        def arm(self, fd: int, interest: int) -> None:
            for flag, kind in ((READ, select.KQ_FILTER_READ), (WRITE, select.KQ_FILTER_WRITE)):
                action = select.KQ_EV_ADD | select.KQ_EV_ONESHOT if interest & flag else select.KQ_EV_DELETE
                try:
                    self._kqueue.control([select.kevent(fd, kind, action)], 0, 0)
                except FileNotFoundError:
                    continue  # nothing to delete: it fired or was never armed

        def remove(self, fd: int) -> None:
            self.arm(fd, 0)

        def wait(self, timeout: float) -> tuple[int, int] | None:
            events = self._kqueue.control(None, 1, timeout)
            if not events:
                return None
            return events[0].ident, READ if events[0].filter == select.KQ_FILTER_READ else WRITE

        def close(self) -> None:
            self._kqueue.close()

    def make_poller() -> Poller:
        """The best poller of this platform."""
        return KqueuePoller()
