"""Ctrl-C and SIGTERM end ``socketio.run()``; the same once more, from the terminal and from a wrapper, does no harm."""

from __future__ import annotations

import atexit
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

# So long after the first signal another one is the same request, should the end have come meanwhile (seconds).
_ECHO = 2.0


@contextmanager
def ended_by_signals(stop: Callable[[], None], clock: Callable[[], float] = monotonic) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM call ``stop``, unless the application, or the reloader, has a way of its own.

    Raising KeyboardInterrupt, as Python does, would hit whatever runs at that moment; under gevent, any greenlet.
    """
    ending = _Ending(stop, clock)
    ending.begin()
    try:
        yield
    finally:
        ending.finish()


class _Ending:
    """A handler of signals: the first one stops, the second one is forgiven, and who asks a third time is in a hurry.

    When all has been stopped that goes on for a moment: a wrapper may be slower than we are.
    """

    def __init__(self, stop: Callable[[], None], clock: Callable[[], float]) -> None:
        self._stop = stop
        self._clock = clock
        self._turns = iter((True, False))
        self._asked: float | None = None  # when the first one came
        self._finished = False
        self._before: dict[int, Any] = {}  # what Python would have done

    def begin(self) -> None:
        """Be the handler, in the main thread; of others signals are no business."""
        ways: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        try:
            for number in ways:
                former = signal.getsignal(number)
                if isinstance(former, _Ending):
                    former.restore()
            ours = {number: way for number, way in ways.items() if signal.getsignal(number) is way}
            for number in ours:
                signal.signal(number, self)
        except ValueError:
            return
        self._before.update(ours)

    def __call__(self, number: int, frame: object) -> None:
        if self._finished:
            self.restore()
            if not self._is_recent():
                signal.raise_signal(number)
        elif not next(self._turns, False):
            self.restore()
        else:
            self._asked = self._clock()
            self._stop()

    def finish(self) -> None:
        """All has been stopped."""
        self._stop = _nothing
        self._finished = True
        if self._is_recent() and any(signal.getsignal(number) is self for number in self._before):
            atexit.register(self._ignore)
        else:
            self.restore()

    def restore(self) -> None:
        """Have Python do again what it did."""
        for number, way in self._before.items():
            if signal.getsignal(number) is self:
                signal.signal(number, way)
        atexit.unregister(self._ignore)

    def _is_recent(self) -> bool:
        return self._asked is not None and self._clock() - self._asked < _ECHO

    def _ignore(self) -> None:
        """The program ends: there will be nobody to call."""
        if self._is_recent():
            for number in self._before:
                if signal.getsignal(number) is self:
                    signal.signal(number, signal.SIG_IGN)


def _nothing() -> None:
    """There is nothing to stop any more."""
