"""Waiting in tests, with a deadline: for a call in the background, for several at once, for what comes true."""

from __future__ import annotations

import gc
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Seconds. What must happen has happened after the first, however busy the machine is. What takes less than the second
# has not waited for something that takes the first.
DEADLINE = 30.0
AT_ONCE = 10.0


def readable(file: int | Any, timeout: float = 0.0) -> bool:
    """Whether something, or its end, can be read from a descriptor; ``select.select()`` knows none beyond 1023.

    :param timeout: for so many seconds it may take.
    """
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


class Background:
    """A call in another thread (or greenlet): its result, or what it raised, when asked for."""

    def __init__(self, target: Callable[..., Any], *args: Any) -> None:
        self._target = target
        self._args = args
        self._result: Any = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._target(*self._args)
        except BaseException as error:  # it is raised again in result()
            self._error = error
        finally:
            self._done.set()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def result(self, timeout: float = DEADLINE) -> Any:
        """Wait for the end. Raises TimeoutError, or what the call raised."""
        if not self._done.wait(timeout):
            raise TimeoutError(f"{self._target} did not return within {timeout} s")
        if self._error is not None:
            raise self._error
        return self._result


def at_once(count: int, target: Callable[[int], Any], timeout: float = DEADLINE) -> list[Any]:
    """Run ``target(0)`` to ``target(count - 1)`` in as many threads, started together; their results in order."""
    ready = threading.Barrier(count)

    def run(number: int) -> Any:
        ready.wait(timeout)
        return target(number)

    calls = [Background(run, number) for number in range(count)]
    return [call.result(timeout) for call in calls]


def eventually(condition: Callable[[], Any], what: str = "the condition", timeout: float = DEADLINE) -> Any:
    """Wait until ``condition()`` is true and return its value; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(0.005)
    return value


def open_descriptors() -> int:
    """How many file descriptors this process has, forgotten objects not counted."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else -1
