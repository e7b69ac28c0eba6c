"""What the layers above may ask of the world they run in; threads.py and greenlets.py answer it.

The rules for callbacks: ``on_readable``, ``on_writable`` and timers run on an I/O thread (or gevent's hub), so they
must not block; jobs given to :meth:`Reactor.submit` may.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from .patience import PatientTimer


class Watched(Protocol):
    """A non-blocking descriptor with its callbacks."""

    def fileno(self) -> int: ...

    def on_readable(self) -> None:
        """Bytes (or the end of the stream, or an error) can be read. Never called twice at once."""

    def on_writable(self) -> None:
        """The descriptor takes bytes again after :meth:`Watch.want_write`. Called once for each such wish."""


class Watch(Protocol):
    """A registration; all of its methods may be called from any thread."""

    def pause(self) -> None:
        """Stop calling ``on_readable``: the kernel's buffer fills and TCP slows the peer down."""

    def resume(self) -> None:
        """Call ``on_readable`` again."""

    def want_write(self) -> None:
        """Call ``on_writable`` once, as soon as the descriptor takes bytes."""

    @property
    def reading(self) -> bool:
        """Whether some thread is in the middle of ``on_readable``, or a handler was begun there."""

    def close(self, release: Callable[[], None]) -> None:
        """Forget the descriptor, then call ``release``, which closes it; the second call does nothing.

        A callback under way in another thread may still finish afterwards.
        """


class Timer(Protocol):
    """A pending call."""

    def cancel(self) -> None:
        """Do not make the call; harmless when it has been made."""


class Event(Protocol):
    """A flag that one thread or greenlet waits for and any other sets."""

    def set(self) -> None: ...

    def clear(self) -> None: ...

    def is_set(self) -> bool: ...

    def wait(self, timeout: float | None = None) -> bool: ...


class Task(Protocol):
    """A background task started by the application."""

    def join(self, timeout: float | None = None) -> None: ...

    def is_alive(self) -> bool: ...


class Reactor(ABC):
    """Watches descriptors, keeps time and runs jobs."""

    @abstractmethod
    def watch(self, conn: Watched, *, reading: bool = True) -> Watch:
        """Call ``conn.on_readable()`` whenever ``conn.fileno()`` has something to read.

        :param reading: False begins paused.
        """

    @abstractmethod
    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` (which must not block) in ``delay`` seconds.

        This is for what we are to do; for the time-out of what others are to do see :meth:`expire_after`.
        """

    def expire_after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` (which must not block) when others have had ``seconds`` in which they could be heard.

        While this process stood still they could not; and what has come by then is read first.
        """
        return PatientTimer(self.call_later, seconds, callback)

    @abstractmethod
    def submit(self, job: Callable[[], None]) -> None:
        """Run ``job``, which may block, on a pooled worker."""

    @abstractmethod
    def event(self) -> Event:
        """Make an event that may be waited for by a worker and set from anywhere."""

    @abstractmethod
    def tell_when_stuck(self) -> None:
        """Log, from now on, when handlers keep all others from running; for a server."""

    @abstractmethod
    def close(self) -> None:
        """Stop watching, timing and accepting jobs; those under way finish on their own."""

    @abstractmethod
    def inside(self) -> bool:
        """Whether the caller runs on one of the reactor's threads or workers."""

    @abstractmethod
    def join(self, timeout: float) -> bool:
        """After :meth:`close`: wait up to ``timeout`` seconds for threads or workers to end, but not for the caller.

        :return: whether they have.
        """

    def spawn(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Run a long task of its own thread or greenlet."""
        # gevent's monkey patch turns this very class into a greenlet.
        thread = threading.Thread(target=target, args=args, kwargs=kwargs, daemon=True, name="wsgi_sio-task")
        thread.start()
        return thread
