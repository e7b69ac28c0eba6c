"""Opening: the transports tried in their order until the server has given a session (2.4, `tryAllTransports`).

Its first packet is the open packet, read by :class:`Handshake`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...engineio.packet import OPEN, decode_packet
from ...exceptions import ConnectionFailed
from ...runtime import Timer
from ...validation import COUNT, check_option
from .candidate import Candidate, connect
from .interfaces import Engine
from .tcp import BlockingSockets

if TYPE_CHECKING:
    from .polling import PollingTransport


@dataclass(frozen=True, slots=True)
class Handshake:
    """The server's open packet: the session's id, the heartbeat's times, what may be upgraded to; all in seconds."""

    sid: str
    upgrades: tuple[str, ...]
    ping_interval: float
    ping_timeout: float
    max_payload: int | None

    @classmethod
    def of(cls, data: str | bytes) -> Handshake:
        """Read the packet.

        :raises ConnectionFailed: it is another, or has not what it must have.
        """
        try:
            packet = decode_packet(data)
            if packet.type != OPEN:
                raise ValueError("not an open packet")
            fields: Any = json.loads(packet.data or "")
            made = cls(
                sid=fields["sid"],
                upgrades=tuple(fields.get("upgrades", ())),
                ping_interval=fields["pingInterval"] / 1000,
                ping_timeout=fields["pingTimeout"] / 1000,
                max_payload=check_option("maxPayload", fields.get("maxPayload"), int | None, COUNT),
            )
            if not isinstance(made.sid, str) or not made.sid:
                raise ValueError("no session id")
            if not 0 < made.ping_interval + made.ping_timeout < math.inf:
                raise ValueError("no heartbeat")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            hint = f"{data[:100]!r} ({error})"
            raise ConnectionFailed(f"server error: this is no Engine.IO 4 handshake: {hint}") from error
        return made


class OpeningEngine(Engine, Protocol):
    """What the opening asks of its engine beside that."""

    def opened(self, transport: Any, handshake: Handshake) -> None: ...

    def not_opened(self, error: ConnectionFailed) -> None: ...


class Opening:
    """The attempts of one connection; each is over when the next begins."""

    __slots__ = ("_attempt", "_engine", "_names", "_over", "_timer")

    def __init__(self, engine: OpeningEngine, names: list[str]) -> None:
        self._engine = engine
        self._names = names
        self._attempt: PollingAttempt | DirectAttempt | None = None
        self._over = False
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin; never blocks."""
        engine = self._engine
        timeout = engine.options.timeout
        if timeout is not None:
            self._timer = engine.reactor.expire_after(timeout, lambda: engine.not_opened(ConnectionFailed("timeout")))
        if self._over:  # closed already
            self._stop_timer()
        self._try(self._names.pop(0))

    @property
    def is_last(self) -> bool:
        """Whether no other transport is left to be tried."""
        return not (self._names and self._engine.options.try_all_transports)

    def _try(self, name: str) -> None:
        attempt: PollingAttempt | DirectAttempt
        attempt = PollingAttempt(self._engine, self) if name == "polling" else DirectAttempt(self._engine, self, name)
        with self._engine.lock:
            late = self._over
            if not late:
                self._attempt = attempt
        if late:
            attempt.cancel()
        else:
            self._engine.tasks.spawn(attempt.run)

    def failed(self, attempt: PollingAttempt | DirectAttempt, error: ConnectionFailed) -> None:
        """``attempt`` has come to nothing; the first to say so counts."""
        engine = self._engine
        with engine.lock:
            if self._over or attempt is not self._attempt:
                return
            self._attempt = None
            following = self._names.pop(0) if self._names and engine.options.try_all_transports else None
            self._over = following is None
        attempt.cancel()
        if following is None:
            engine.not_opened(error)
        else:
            self._try(following)

    def succeeded(self, attempt: PollingAttempt | DirectAttempt) -> bool:
        """``attempt`` has a session; False when nobody wants it any more."""
        with self._engine.lock:
            wanted = not self._over and attempt is self._attempt
            self._over = True
        if wanted:
            self._stop_timer()
        return wanted

    def cancel(self) -> None:
        """Give up."""
        with self._engine.lock:
            self._over = True
            attempt, self._attempt = self._attempt, None
        self._stop_timer()
        if attempt is not None:
            attempt.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class PollingAttempt:
    """The handshake GET; its task goes on as the one that polls."""

    __slots__ = ("_engine", "_opening", "_transport")

    def __init__(self, engine: OpeningEngine, opening: Opening) -> None:
        from .polling import PollingTransport  # needs urllib3, which WebSocket can do without

        self._engine = engine
        self._opening = opening
        self._transport: PollingTransport = PollingTransport(engine)

    def run(self) -> None:
        """Open, and poll."""
        transport = self._transport
        try:
            packets, failure = transport.get()
            handshake = Handshake.of(packets[0].text() if packets else str(failure))
        except ConnectionFailed as error:
            self._opening.failed(self, error)
            return
        if self._opening.succeeded(self):
            self._engine.opened(transport, handshake)
            transport.deliver(packets[1:], failure)
            transport.poll()
        else:
            transport.stop()

    def cancel(self) -> None:
        self._transport.stop()


class DirectAttempt:
    """The handshake by WebSocket or WebTransport: it owns the candidate until the session is there."""

    __slots__ = ("_candidate", "_code", "_engine", "_name", "_opening", "_over", "_sockets")

    def __init__(self, engine: OpeningEngine, opening: Opening, name: str) -> None:
        self._engine = engine
        self._opening = opening
        self._name = name
        self._sockets = BlockingSockets()
        self._candidate: Candidate | None = None
        self._code: int | None = None
        self._over = False

    def run(self) -> None:
        """Open."""
        try:
            candidate, early, first = connect(self._name, self._engine, self, self._sockets, last=self._opening.is_last)
        except ConnectionFailed as error:
            self._opening.failed(self, error)
            return
        with self._engine.lock:
            late = self._over
            self._candidate = candidate
        if late:
            candidate.finish(self._code)
            return
        for packet in first:
            candidate.write_alone(packet)
        candidate.start(early)

    def receive(self, data: str | bytes) -> None:
        """Take the first packet."""
        candidate = self._candidate
        assert candidate is not None
        try:
            handshake = Handshake.of(data)
        except ConnectionFailed as error:
            self._opening.failed(self, error)
            return
        if self._opening.succeeded(self):
            candidate.owner = self._engine
            self._engine.opened(candidate, handshake)

    def close(self, reason: str, *, abort: bool = False, code: int | None = None) -> bool:
        """The candidate has broken."""
        self._code = code
        self._opening.failed(self, ConnectionFailed(f"{self._name} error: {reason}"))
        return True

    def cancel(self) -> None:
        with self._engine.lock:
            self._over = True
            candidate = self._candidate
        self._sockets.cancel()
        if candidate is not None:
            candidate.finish(self._code)
