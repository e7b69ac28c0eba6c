"""From polling to another transport, the client's side: probe, pause, switch (Engine.IO protocol, "Upgrade").

``2probe`` -> ``3probe``; then the GET and the POST under way are waited for, so that all they carry comes first; then
``5`` and, behind it, what has been queued meanwhile.  If one does not come to that, the next one is tried; whatever
else goes wrong before that leaves the session on polling.
"""

from __future__ import annotations

from typing import Any, Protocol

from ...engineio.packet import PING, UPGRADE, Packet
from ...exceptions import ConnectionFailed
from ...runtime import Timer
from .candidate import Candidate, connect
from .interfaces import Engine, Pollable
from .tcp import BlockingSockets

_PROBED = "3probe"

CONNECTING, PROBING, PAUSING, OVER = range(4)


class UpgradableEngine(Engine, Protocol):
    """What an upgrade asks of its engine beside that."""

    upgrade: Any

    def switch_locked(self, transport: Any) -> list[Packet]: ...

    def switched(self) -> None: ...

    def upgrade_failed(self, error: ConnectionFailed) -> None: ...


class Upgrade:
    """One attempt; it owns the candidate until the engine does. All its fields are guarded by the engine's lock.

    :param names: the transports to be tried, one after the other.
    :ivar phase: CONNECTING, PROBING, PAUSING or OVER.
    :ivar posts: whether the POSTing task still has the engine's flush baton.
    """

    __slots__ = ("_candidate", "_engine", "_names", "_polling", "_sockets", "_timer", "phase", "posts")

    def __init__(self, engine: UpgradableEngine, polling: Pollable, names: list[str]) -> None:
        self.phase = CONNECTING
        self.posts = True
        self._engine = engine
        self._names = names
        self._polling = polling
        self._sockets = BlockingSockets()
        self._candidate: Candidate | None = None
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin; never blocks."""
        engine = self._engine
        if engine.options.timeout is not None:
            self._timer = engine.reactor.expire_after(engine.options.timeout, self._took_too_long)
        if self.phase == OVER:  # closed already
            self._stop_timer()
            return
        engine.tasks.spawn(self._connect)

    def _connect(self) -> None:
        name = self._names.pop(0)
        try:
            candidate, early, first = connect(name, self._engine, self, self._sockets, last=not self._names)
        except ConnectionFailed as error:
            self._fail_or_go_on(error)
            return
        with self._engine.lock:
            late = self.phase == OVER
            if not late:
                self.phase = PROBING
                self._candidate = candidate
        if late:
            candidate.finish()
            return
        for packet in (*first, Packet(PING, "probe")):
            candidate.write_alone(packet)
        candidate.start(early)

    # -- what the candidate brings ------------------------------------------------------------------------------

    def receive(self, data: str | bytes) -> None:
        """Take a packet from the candidate."""
        if data == _PROBED and self.phase == PROBING:
            self._engine.http_session.worked = self._candidate_name
            self._pause()
        elif (
            not self._fail_or_go_on(ConnectionFailed(f"probe error: the server sent {data[:20]!r}"))
            and self._switched()
        ):
            self._engine.receive(data)

    def close(self, reason: str, *, abort: bool = False, code: int | None = None) -> bool:
        """The candidate has broken."""
        if not self._fail_or_go_on(ConnectionFailed(f"probe error: {reason}"), code) and self._switched():
            self._engine.close(reason, abort=abort, code=code)
        return True

    @property
    def _candidate_name(self) -> str:
        return "" if self._candidate is None else self._candidate.name

    def _fail_or_go_on(self, error: ConnectionFailed, code: int | None = None) -> bool:
        """This transport comes to nothing: try the next one, or :meth:`fail`; whether this call did."""
        with self._engine.lock:
            goes_on = self.phase in (CONNECTING, PROBING) and bool(self._names)
            if goes_on:
                self.phase = CONNECTING
                candidate, self._candidate = self._candidate, None
        if not goes_on:
            return self.fail(error, code)
        if candidate is not None:
            candidate.turn_away()
        self._engine.tasks.spawn(self._connect)
        return True

    def _took_too_long(self) -> None:
        self.fail(ConnectionFailed("probe error: timeout"))

    def _switched(self) -> bool:
        """Whether the candidate has become the engine's while it was bringing something."""
        return self._candidate is not None and self._candidate.owner is not self

    # -- the switch ---------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        with self._engine.lock:
            if self.phase != PROBING:
                return
            self.phase = PAUSING
            polling = self._polling
            self.posts = not polling.idle
            polling.idle = False
            polling.paused = True
        self.proceed()

    def take_baton_locked(self) -> bool:
        """From the POSTing task between two requests; False when it may go on. The caller holds the engine's lock."""
        if self.phase == PAUSING:
            self.posts = False
        return self.phase == PAUSING

    def proceed(self) -> None:
        """Switch, if neither task is in a request any more."""
        engine = self._engine
        candidate = self._candidate
        with engine.lock:
            if self.phase != PAUSING or self.posts or self._polling.polls or engine.upgrade is not self:
                return
            assert candidate is not None
            self.phase = OVER
            candidate.owner = engine
            batch = engine.switch_locked(candidate)
        self._stop_timer()
        engine.switched()
        candidate.write([Packet(UPGRADE), *batch])
        self._polling.stop()

    def fail(self, error: ConnectionFailed | None, code: int | None = None) -> bool:
        """Give the candidate up, unless the switch has been made; None: the engine itself is ending.

        :return: whether this call did.
        """
        engine = self._engine
        with engine.lock:
            if self.phase == OVER:
                return False
            paused = self.phase == PAUSING
            self.phase = OVER
            engine.upgrade = None
            polling = self._polling
            polling.paused = False
            polls_again = not polling.polls and error is not None
            polling.polls |= polls_again
            posts_again = paused and not self.posts
        self._stop_timer()
        self._sockets.cancel()
        if self._candidate is not None:
            self._candidate.finish(code)
        if polls_again:
            engine.tasks.spawn(polling.poll)
        if posts_again:
            polling.carry_on()
        if error is not None:
            engine.upgrade_failed(error)
        return True

    def hurry(self) -> None:
        """Wait no longer for the server to close a candidate that has been given up."""
        if self._candidate is not None:
            self._candidate.hurry()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
