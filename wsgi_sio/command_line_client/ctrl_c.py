"""Ctrl-C at any moment: a KeyboardInterrupt that gets lost is raised again."""

from __future__ import annotations

import signal
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_REMINDED = 0.25  # seconds between two looks at whether one was lost


class _Interrupted(KeyboardInterrupt):
    """One that can be referred to weakly."""


class Interrupts:
    """While it is entered, in the main thread, a SIGINT ends what is being done, whatever that is.

    Python alone does not see to that. A SIGINT waits for the next instruction of the main thread, and where that has
    just gone to sleep in a function in C, as at the prompt, there is none. And the KeyboardInterrupt is thrown away
    where nobody could catch it: in a function that C has called, such as readline's hooks, or in a ``__del__``. Hence
    another signal comes from time to time. It wakes the main thread, and raises the KeyboardInterrupt again if it
    has gone and we are still here. In the end it is a KeyboardInterrupt whatever has become of it on its way: two
    signals at once make a SystemError of ``input()``.
    """

    def __init__(self) -> None:
        self._came = False
        self._raised: Callable[[], object] = _nothing  # the last KeyboardInterrupt, while anybody has it in hand
        self._postponed = False
        self._before: list[tuple[int, Any]] | None = None

    def __enter__(self) -> None:
        if (
            not hasattr(signal, "setitimer")  # on Windows
            or signal.getsignal(signal.SIGINT) is not signal.default_int_handler  # it is to be ignored, say
        ):
            return
        self._came = False
        try:
            alarm_before = signal.signal(signal.SIGALRM, self._remind)
        except ValueError:
            return  # another thread than the main one, which has no signals
        interrupt_before = signal.signal(signal.SIGINT, self._interrupt)
        self._before = [(signal.SIGALRM, alarm_before), (signal.SIGINT, interrupt_before)]
        signal.setitimer(signal.ITIMER_REAL, _REMINDED, _REMINDED)

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        came, self._came = self._came, False
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in reversed(self._before):
                signal.signal(number, handler)
            self._before = None
        if came and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt

    @contextmanager
    def postponed(self) -> Iterator[None]:
        """For what must not be broken off in the middle, and would not let a KeyboardInterrupt through anyway."""
        self._postponed = True
        try:
            yield
        finally:
            self._postponed = False

    def _interrupt(self, number: int, frame: object) -> None:
        self._came = True
        if not self._postponed:
            raise self._new()

    def _remind(self, number: int, frame: object) -> None:
        if self._came and not self._postponed and self._raised() is None:
            raise self._new()

    def _new(self) -> KeyboardInterrupt:
        error = _Interrupted()  # in a variable of who raises it, it would never be gone
        self._raised = weakref.ref(error)
        return error


def _nothing() -> None:
    return None
