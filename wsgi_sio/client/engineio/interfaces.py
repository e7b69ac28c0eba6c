"""What the parts of a connection ask of each other, and what the connection tells its owner."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from ...engineio.packet import Packet
from ...exceptions import ConnectionFailed
from ...runtime import Reactor, TaskGroup
from ..options import ClientOptions
from .http_session import HTTPSession
from .url import Address


class EngineEvents(Protocol):
    """Who is told: on the thread where it happens, so it must not block; one call after the other, no lock held.

    Nothing is told after ``on_error`` or ``on_close``.
    """

    def on_open(self) -> None:
        """Packets may be sent."""

    def on_message(self, data: str | bytes) -> None:
        """A message has come."""

    def on_ping(self) -> None:
        """The server has been heard."""

    def on_upgrade(self, name: str) -> None:
        """The transport is another from now on."""

    def on_upgrade_error(self, error: ConnectionFailed) -> None:
        """It remains polling."""

    def on_error(self, error: ConnectionFailed) -> None:
        """It could not be opened."""

    def on_close(self, reason: str, detail: object) -> None:
        """It is over: "transport close", "transport error", "ping timeout", "parse error" or "forced close"."""


class Transport(Protocol):
    """What carries the packets of a connection; whoever finds it idle writes, see :class:`EngineClient`.

    :ivar name: ``polling`` or ``websocket``.
    :ivar idle: whether nobody is writing. Guarded by the engine's lock.
    """

    idle: bool

    @property
    def name(self) -> str: ...

    @property
    def unread(self) -> bool:
        """Whether something from the server lies in the kernel, or is just being read."""

    def write(self, packets: list[Packet]) -> None:
        """Send these, then what :meth:`Engine.next_batch` gives."""

    def finish(self, code: int | None = None) -> None:
        """Everything has been written: say goodbye, and end."""

    def abort(self, code: int | None = None, *, baton: bool = False) -> None:
        """End without writing what waits; ``baton``: nobody is writing."""

    def hurry(self) -> None:
        """End now, without waiting for the server."""


class Pollable(Transport, Protocol):
    """Long-polling, for the upgrade that takes over from it. All of this is guarded by the engine's lock.

    :ivar polls: whether the GETting task is running.
    :ivar paused: whether it is to stop after its present request.
    """

    polls: bool
    paused: bool

    def poll(self) -> None:
        """GET until the end, or until it is paused."""

    def carry_on(self) -> None:
        """Let the POSTing task look for what is to be sent."""

    def stop(self) -> None:
        """End both tasks at once, whatever they wait for."""


class Engine(Protocol):
    """One connection, for its transports; opening.py and upgrade.py ask more of it."""

    id: str
    max_payload: int | None
    lock: AbstractContextManager[Any]
    paused: bool

    @property
    def options(self) -> ClientOptions: ...

    @property
    def reactor(self) -> Reactor: ...

    @property
    def address(self) -> Address: ...

    @property
    def http_session(self) -> HTTPSession: ...

    @property
    def tasks(self) -> TaskGroup: ...

    def send(self, packets: list[Packet], *, volatile: bool = False, bounded: bool = True) -> bool: ...

    def send_own(self, packet: Packet) -> None: ...

    def next_batch(self, transport: object, limit: int, count: int = ...) -> list[Packet] | None: ...

    def receive(self, data: str | bytes) -> None: ...

    def may_poll(self, transport: Pollable) -> bool: ...

    def heard(self) -> None: ...

    def close(
        self, reason: str = ..., *, abort: bool = False, code: int | None = None, detail: object = None
    ) -> bool: ...

    def closed(self, transport: Any) -> None: ...
