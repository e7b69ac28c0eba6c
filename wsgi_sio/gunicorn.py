"""Hooks for gunicorn: a worker that is told to stop drains its Socket.IO server meanwhile.

When a worker is told by SIGTERM (a shutdown, a reload, a scale-down) or has served ``max_requests``:

==============================  ===================================  ===========================================
what it does                    gthread (and sync)                   gevent
==============================  ===================================  ===========================================
it stops accepting              at once                              within 1 s: it looks once a second
it then waits for requests      while any is under way, up to        likewise, looking once a second; a GET that
                                ``graceful_timeout``                 waits for packets, or TLS, is a request
``worker_exit`` runs            after that, in the main thread;      after that, in the main greenlet; the hub
                                the other threads go on              runs on while that waits
it is killed                    ``graceful_timeout`` after the signal, if gunicorn as a whole ends; ``timeout``
                                after its last sign of life, which is before ``worker_exit``
==============================  ===================================  ===========================================

So ``worker_exit`` alone would come too late where requests are what keeps the worker: the drain begins with the signal,
beside gunicorn's own waiting, and ``worker_exit`` only holds the process until the drain is over.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from importlib import import_module
from operator import attrgetter
from types import FrameType
from typing import Any, Protocol

from .runtime import Event, Task
from .server import Server

# What part of the time that gunicorn gives a worker the spread, and the spread with the last handlers, may take.
_SPREAD = 0.7
_ALL = 0.9
# For the handlers of ``disconnect`` when nobody has time (seconds).
_QUICK = 0.5
# How often a worker is asked whether it has served its ``max_requests``, which it tells nobody (seconds).
_LOOK = 1.0


class Worker(Protocol):
    """What is used of gunicorn's worker."""

    alive: bool
    cfg: Any


WorkerHook = Callable[[Worker], None]
ExitHook = Callable[[object, Worker], None]


def drain_hooks(
    server: Server | str, seconds: float = 5.0, notice: Sequence[Any] | None = None
) -> tuple[WorkerHook, WorkerHook, ExitHook]:
    """Make the three hooks; in ``gunicorn.conf.py``::

        from wsgi_sio.gunicorn import drain_hooks

        post_worker_init, worker_int, worker_exit = drain_hooks("chat:io", seconds=5)

    :param server: the :class:`~wsgi_sio.Server`, or a ``SocketIO`` that has one; better the name of it,
        ``module:attribute``, which is looked up in the worker, when the application has been loaded.
    :param seconds: over how many the ends of the connections are spread; at most 70 % of gunicorn's
        ``graceful_timeout`` and of its ``timeout``.
    :param notice: an event with its arguments that all clients get before; see :meth:`wsgi_sio.Server.drain`.
    """
    drain = _Drain(server, seconds, notice)
    return drain.post_worker_init, drain.worker_int, drain.worker_exit


class _Drain:
    """Made in gunicorn's configuration, hence perhaps before a fork; at work in one worker."""

    def __init__(self, server: Server | str, seconds: float, notice: Sequence[Any] | None) -> None:
        self._target = server
        self._seconds = seconds
        self._notice = notice
        self._hurry = False
        self._at_work: _AtWork | None = None

    def post_worker_init(self, worker: Worker) -> None:
        """The application has been loaded: wait for the worker's end."""
        self._at_work = _AtWork(worker, _find(self._target), self._seconds, self._notice)

    def worker_int(self, worker: Worker) -> None:
        """SIGINT or SIGQUIT: somebody wants an end at once."""
        self._hurry = True

    def worker_exit(self, arbiter: object, worker: Worker) -> None:
        """The worker has nothing left to do; it goes when this returns."""
        at_work = self._at_work
        if at_work is None:
            return  # this is the arbiter, or the application could not be loaded
        patient = not worker.alive and not self._hurry  # alive: the arbiter has died, and nobody has told the worker
        try:
            if patient:
                at_work.finish()
        finally:  # the signal of an impatient end makes gunicorn leave by SystemExit
            if not patient or self._hurry:
                at_work.break_off()


class _AtWork:
    """A drain that waits for its worker to be told to stop."""

    def __init__(self, worker: Worker, io: Server, seconds: float, notice: Sequence[Any] | None) -> None:
        config = worker.cfg
        limit = min(config.graceful_timeout, config.timeout or config.graceful_timeout)
        self._worker = worker
        self._io = io
        self._spread = min(seconds, _SPREAD * limit)
        self._limit = _ALL * limit
        self._notice = notice
        self._signalled = False
        self._told: Event = io.reactor.event()
        self._then = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.siginterrupt(signal.SIGTERM, False)  # as gunicorn has it
        self._task: Task = io.start_background_task(self._run)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if callable(self._then):
            self._then(number, frame)
        if not self._signalled:  # gunicorn repeats itself, and an event is not to be set while it is being set
            self._signalled = True
            self._told.set()

    def _run(self) -> None:
        self._io.engine.joining.settle()  # before any request, so that siblings can give it clients from the start
        while self._worker.alive and not self._told.wait(_LOOK):
            continue
        self._io.drain(self._spread, notice=self._notice, grace=self._limit - self._spread)

    def finish(self) -> None:
        """Block until the drain is over, or the time is."""
        self._signalled = True
        self._told.set()
        self._task.join(self._limit)

    def break_off(self) -> None:
        """End all connections now."""
        self._io.drain(0, grace=_QUICK)


def _find(target: Server | str) -> Server:
    """The server that is meant, be it inside a ``SocketIO``.

    :raises ValueError: there is none.
    """
    found: Any = target
    if isinstance(target, str):
        module, _, attribute = target.partition(":")
        found = attrgetter(attribute or "io")(import_module(module))
    for inside in ("server", "io"):
        if not isinstance(found, Server):
            found = getattr(found, inside, found)
    if not isinstance(found, Server):
        raise ValueError(f"{target!r} is no wsgi_sio.Server, nor does it have one")
    return found
