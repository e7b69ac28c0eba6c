"""Event handlers: their tables, signatures inspected once, and running them so that their errors are told apart."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from ..exceptions import LocalProtocolError
from ..logtext import kinds, quote
from ..refuse_async import refuse_async
from ..runtime import Rank, make_lock
from .packet import RESERVED_EVENTS

logger = logging.getLogger("wsgi_sio.socketio")

# Handlers of these take as many of the offered arguments as they have parameters for.
LIFE_CYCLE = frozenset(("connect", "connection", "disconnecting", "disconnect", "new_namespace"))

# The event name under which handlers are registered that get what nobody else handles.
CATCH_ALL = "*"


class NoAck:
    """The type of :data:`~wsgi_sio.NO_ACK`, for annotations: ``def handler(socket: Socket) -> str | NoAck``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NO_ACK"


# What a handler returns to leave its event unacknowledged; also what running handlers gives when there is none, or one
# of them raised.
NO_ACK: Final = NoAck()

# All that a client is told of what went wrong here: what was meant for it comes as ConnectRefused.
INTERNAL_ERROR = "Internal error"

_UNLIMITED = 1 << 30

_NO_EVENTS: Final[frozenset[Any]] = frozenset()


def check_event(event: Any) -> None:
    """Refuse the names that the protocol keeps for itself; an event may be called by a number, too.

    :raises LocalProtocolError: ``event`` is reserved.
    """
    if event in RESERVED_EVENTS:
        raise LocalProtocolError(f"{event!r} is a reserved event name")


class Handler:
    """One registered callable.

    :ivar run: calls it, with what a framework puts around it.
    :ivar concurrent: run it beside the client's other events instead of in their order.
    :raises TypeError: it is ``async def``.
    """

    __slots__ = ("concurrent", "event", "fewest", "func", "most", "once", "run")

    def __init__(
        self,
        event: Any,
        func: Callable[..., Any],
        *,
        run: Callable[..., Any] | None = None,
        concurrent: bool = False,
        once: bool = False,
    ) -> None:
        refuse_async(func, f"a handler of {event!r}")
        self.event = event
        self.func = func
        self.run = func if run is None else run
        self.concurrent = concurrent
        self.once = once
        self.fewest, self.most = _arity(func)

    def where(self) -> str:
        """Name, file and line, for the log."""
        func = inspect.unwrap(self.func)
        code = getattr(func, "__code__", None)
        name = getattr(func, "__qualname__", repr(func))
        return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name


def _arity(func: Callable[..., Any]) -> tuple[int, int]:
    """The fewest and the most positional arguments ``func`` takes."""
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        return 0, _UNLIMITED  # a builtin that does not tell
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    fewest = sum(p.default is p.empty for p in positional)
    endless = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return fewest, _UNLIMITED if endless else len(positional)


class HandlerTable:
    """The handlers of one namespace or socket, by event; lookups take no lock.

    :param frame: puts around a handler what is to be around each, as :meth:`Server.as_handler` does.
    :param lock: guards changes, likewise.
    :ivar concurrent: the events all of whose handlers may run beside a client's other events.
    """

    __slots__ = ("_handlers", "_lock", "concurrent", "frame")

    def __init__(
        self,
        frame: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda func: func,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self.frame = frame
        self.concurrent = _NO_EVENTS
        self._handlers: dict[Any, tuple[Handler, ...]] = {}
        self._lock = make_lock(Rank.LEAF) if lock is None else lock

    def like(self) -> HandlerTable:
        """An empty one for one of many, which share what they can."""
        return HandlerTable(self.frame, self._lock)

    def after_fork(self) -> None:
        """In a forked child: no other thread is at it."""
        self._lock = make_lock(Rank.LEAF)

    def add(self, handler: Handler) -> None:
        """Register ``handler`` behind those that its event has already."""
        with self._lock:
            self._set_locked(handler.event, (*self._handlers.get(handler.event, ()), handler))

    def add_all(self, other: HandlerTable) -> None:
        """Register what ``other`` has."""
        for handlers in list(other._handlers.values()):
            for handler in handlers:
                self.add(handler)

    def remove(self, event: Any, func: Callable[..., Any] | None) -> None:
        """Forget one handler of an event, all of it, or everything."""
        with self._lock:
            for name in list(self._handlers) if event is None else [event]:
                kept = () if func is None else tuple(h for h in self.find(name) if h.func != func)
                self._set_locked(name, kept)

    def find(self, event: Any) -> tuple[Handler, ...]:
        """The handlers of ``event``, which a client may have called by a number, in the order of registration."""
        return self._handlers.get(event, ())

    def claim(self, handler: Handler) -> bool:
        """For a handler that runs once: True for the one call that may."""
        with self._lock:
            handlers = self._handlers.get(handler.event, ())
            if handler not in handlers:
                return False
            self._set_locked(handler.event, tuple(h for h in handlers if h is not handler))
            return True

    def _set_locked(self, event: Any, handlers: tuple[Handler, ...]) -> None:
        if handlers:
            self._handlers[event] = handlers
        else:
            self._handlers.pop(event, None)
        concurrent = all(handler.concurrent for handler in handlers) and bool(handlers)
        self.concurrent = self.concurrent | {event} if concurrent else self.concurrent - {event}

    def __bool__(self) -> bool:
        return bool(self._handlers)


def call(
    table: HandlerTable,
    handlers: Sequence[Handler],
    event: Any,
    args: tuple[Any, ...],
    sender: object,
    own: int = 1,
    spare: int = 0,
    result: Any = None,
) -> Any:
    """Run ``handlers`` in order and return the first result that is not None; NO_ACK only if no other gives one.

    A handler that cannot take so many arguments is not called, and NO_ACK returned unless another gives a result: the
    log says which handler, where it is, and what came.

    :param sender: who sent the event, for the log.
    :param own: how many of ``args`` are ours: the socket in front.
    :param spare: how many of the last ``args`` a handler may do without.
    :param result: what handlers of the same event have given already.
    :raises Exception: what a handler raises.
    """
    for handler in handlers:
        given = args
        if not handler.fewest <= len(args) <= handler.most:
            if event in LIFE_CYCLE:
                given = args[: handler.most]
            elif spare and handler.fewest <= len(args) - spare <= handler.most:
                given = args[:-spare]
            else:
                _report_arity(handler, event, args[own:], own, sender)
                result = NO_ACK if result is None else result
                continue
        if handler.once and not table.claim(handler):
            continue
        returned = handler.run(*given)
        if result is None or (result is NO_ACK and returned is not None):
            result = returned
    return result


def _report_arity(handler: Handler, event: Any, sent: tuple[Any, ...], own: int, sender: object) -> None:
    fewest, most = handler.fewest - own, handler.most - own
    span = (
        f"at least {fewest}" if handler.most >= _UNLIMITED else f"{fewest}" if fewest == most else f"{fewest} to {most}"
    )
    where = handler.where()
    logger.warning(
        "handler %s of %s takes %s arguments, but %s sent %d (%s)",
        where,
        quote(event),
        span,
        sender,
        len(sent),
        kinds(sent),
    )
