"""TaskGroup: tasks that may block, and whatever else somebody has under way, so that the end of all can be awaited."""

from __future__ import annotations

from collections.abc import Callable

from .locks import Rank, make_lock
from .reactor import Reactor


class TaskGroup:
    """Its end is that of the last member, once :meth:`close` has said that no more will come."""

    __slots__ = ("_closed", "_ended", "_lock", "_members", "_reactor")

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._lock = make_lock(Rank.LEAF)
        self._members: set[object] = set()
        self._closed = False
        self._ended = reactor.event()

    def add(self, member: object) -> None:
        """``member`` has begun."""
        with self._lock:
            self._members.add(member)

    def remove(self, member: object) -> None:
        """``member`` has ended; it may be said twice."""
        with self._lock:
            self._members.discard(member)
        self._look()

    def close(self) -> None:
        """Nothing that is there now will begin anything else."""
        self._closed = True
        self._look()

    def join(self, timeout: float | None) -> bool:
        """Wait until all have ended, at most ``timeout`` seconds; whether they have."""
        return self._ended.wait(timeout)

    def spawn(self, target: Callable[[], object]) -> None:
        """Run ``target``, which may block, in a task of its own."""
        task = object()

        def run() -> None:
            try:
                target()
            finally:
                self.remove(task)

        self.add(task)
        self._reactor.spawn(run)

    def _look(self) -> None:
        if self._closed and not self._members:
            self._ended.set()
