"""Tells who has come and who has gone, in that order, whatever thread notices it: one tells at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..runtime import Rank, make_lock
from .descriptor_passing import call
from .link import Link


class JoinLeaveEvents:
    """See the module's text.

    :ivar on_joined: get the link to a sibling that is known from now on.
    :ivar on_left: get the tag of one that cannot be reached any more; once for each ``on_joined``.
    """

    __slots__ = ("_lock", "_queue", "_telling", "on_joined", "on_left")

    def __init__(self) -> None:
        self.on_joined: tuple[Callable[[Link], None], ...] = ()
        self.on_left: tuple[Callable[[str], None], ...] = ()
        self._lock = make_lock(Rank.LEAF)
        self._queue: deque[tuple[Link, bool]] = deque()
        self._telling = False

    def put(self, link: Link, joined: bool) -> None:
        """Queue a piece of news; :meth:`tell` has to be called soon, without a lock held."""
        with self._lock:
            self._queue.append((link, joined))

    def tell(self) -> None:
        """Tell what is queued, unless somebody does already."""
        with self._lock:
            claimed, self._telling = not self._telling, True
        while claimed and (piece := self._next()) is not None:
            link, joined = piece
            if joined:
                for welcome in self.on_joined:
                    call(welcome, link)
            else:
                for part in self.on_left:
                    call(part, link.tag)

    def _next(self) -> tuple[Link, bool] | None:
        with self._lock:
            idle = not self._queue
            self._telling = not idle  # without a call in between, for signal handlers
            return None if idle else self._queue.popleft()

    def after_fork(self) -> None:
        """In a forked child: it has no siblings."""
        self._lock = make_lock(Rank.LEAF)
        self._queue.clear()
        self._telling = False
        self.on_joined = self.on_left = ()
