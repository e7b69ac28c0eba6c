"""Forked children of a test, which do one thing and tell how it went."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.support.inprocess import DEADLINE, eventually
from tests.support.waiting import readable


class Forked:
    """A child; :meth:`outcome` is what it has told."""

    def __init__(self, pid: int, reading: int) -> None:
        self.pid = pid
        self._reading = reading

    @property
    def done(self) -> bool:
        return readable(self._reading)

    def outcome(self) -> str:
        """Wait for the child: what its function returned, or the traceback of what it raised."""
        eventually(lambda: self.done, "the child's word", 2 * DEADLINE)
        return os.read(self._reading, 100_000).decode()


@contextmanager
def forked(target: Callable[[], object]) -> Iterator[Forked]:
    """A child that runs ``target``; killed at the end."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later warn of forking with threads
        pid = os.fork()
    if pid == 0:
        try:
            outcome = str(target())
        except BaseException:
            outcome = traceback.format_exc()
        os.write(writing, outcome.encode())
        os._exit(0)
    os.close(writing)
    try:
        yield Forked(pid, reading)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):  # gevent has noticed its end already
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
