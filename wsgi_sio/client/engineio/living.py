"""What a connection has under way, so that its end can be waited for: tasks that may block, and transports."""

from __future__ import annotations

from collections.abc import Callable

from ...runtime import Rank, Reactor, make_lock


class Living:
    """See the module's text."""

    __slots__ = ("_ended", "_last", "_lock", "_reactor", "_things")

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._lock = make_lock(Rank.LEAF)
        self._things: set[object] = set()
        self._last = False
        self._ended = reactor.event()

    def add(self, thing: object) -> None:
        """``thing`` has begun."""
        with self._lock:
            self._things.add(thing)

    def remove(self, thing: object) -> None:
        """``thing`` has ended; it may be said twice."""
        with self._lock:
            self._things.discard(thing)
        self._look()

    def expect_no_more(self) -> None:
        """Nothing that is there now will begin anything else."""
        self._last = True
        self._look()

    def wait(self, timeout: float | None) -> bool:
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
        if self._last and not self._things:
            self._ended.set()
