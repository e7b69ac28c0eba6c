"""Notices that the server has gone silent, and that this machine has slept (Engine.IO protocol, "Heartbeat")."""

from __future__ import annotations

from collections.abc import Callable

from ...runtime import Reactor, Timer, sleepless_clock

# How long what has come while this process stood still may take to be read, at most (seconds).
_GRACE = 1.0
# How far behind the deadline the judgement comes (seconds), lest the difference of two clocks puts it before.
_BEHIND = 0.001


class Heartbeat:
    """Calls ``on_silence`` when nobody has called :meth:`feed` for too long.

    A process that has stood still for longer than that (SIGSTOP, a suspended machine) first reads what has come
    meanwhile: only what happens in the grace then counts.

    :param on_silence: called on a reactor's thread; must not block.
    :param unread: tells whether something from the server lies in the kernel, or is just being read.
    :param clock: in seconds; tests bring their own.
    """

    __slots__ = (
        "_clock",
        "_deadline",
        "_grace",
        "_on_silence",
        "_patience",
        "_reactor",
        "_running",
        "_timer",
        "_unread",
    )

    def __init__(
        self,
        reactor: Reactor,
        on_silence: Callable[[], object],
        unread: Callable[[], bool],
        clock: Callable[[], float] = sleepless_clock,
    ) -> None:
        self._reactor = reactor
        self._on_silence = on_silence
        self._unread = unread
        self._clock = clock
        self._patience = 0.0
        self._grace = 0.0
        self._deadline = 0.0
        self._running = False
        self._timer: Timer | None = None

    def start(self, patience: float) -> None:
        """Begin to watch; ``patience`` is in seconds."""
        self._patience = patience
        self._grace = min(_GRACE, patience / 2)
        self._running = True
        self.feed()
        self._watch()

    def feed(self) -> None:
        """The server has been heard."""
        self._deadline = self._clock() + self._patience

    def postpone(self) -> None:
        """Something else has been heard: if the server is overdue, it may have the grace."""
        if self._overdue():
            self._deadline = self._clock() + self._grace

    @property
    def expired(self) -> bool:
        """Whether the server has been silent for too long, or should have been heard while the machine slept."""
        # In this order: what was unread may have fed us meanwhile.
        return self._running and self._overdue() and not self._unread() and self._overdue()

    def stop(self) -> None:
        """Watch no longer."""
        self._running = False
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _overdue(self) -> bool:
        return self._clock() > self._deadline

    def _watch(self) -> None:
        """Come again when only the grace is left, and then at its end; a ping costs no timer."""
        left = self._deadline - self._clock()
        if left > self._grace:
            timer = self._reactor.call_later(left - self._grace + _BEHIND, self._watch)
        else:
            timer = self._reactor.expire_after(self._grace, self._judge)
        self._timer = timer
        if not self._running:  # stopped meanwhile
            timer.cancel()

    def _judge(self) -> None:
        if self.expired:
            self._on_silence()
        elif self._running:
            self._watch()
