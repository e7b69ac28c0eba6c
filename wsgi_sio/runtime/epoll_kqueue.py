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

    def wait(self, timeout: float, most: int) -> list[tuple[int, int]]:
        """Block up to ``timeout`` seconds for ``most`` descriptors, or fewer: of each (fd, READ and/or WRITE)."""

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

        def wait(self, timeout: float, most: int) -> list[tuple[int, int]]:
            return [
                (fd, (READ if mask & _IN else 0) | (WRITE if mask & select.EPOLLOUT else 0))
                for fd, mask in self._epoll.poll(timeout, most)
            ]

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

        def wait(self, timeout: float, most: int) -> list[tuple[int, int]]:
            events = self._kqueue.control(None, most, timeout)
            return [(event.ident, READ if event.filter == select.KQ_FILTER_READ else WRITE) for event in events]

        def close(self) -> None:
            self._kqueue.close()

    def make_poller() -> Poller:
        """The best poller of this platform."""
        return KqueuePoller()
