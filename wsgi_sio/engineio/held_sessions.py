"""Sessions in which something waits to be sent with what follows: none for longer than a moment, come what may.

As a rule whoever holds it back releases it in less than that; not when a handler blocks in between.
"""

from __future__ import annotations

from time import monotonic
from typing import Protocol

from ..runtime import Rank, Reactor, make_lock

# For how long it may wait (seconds).
_LONGEST = 0.002


class Holding(Protocol):
    """A :class:`SessionWriter`."""

    @property
    def held(self) -> float: ...

    def release(self) -> None: ...


class HeldSessions:
    """See the module's text; of one server."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._lock = make_lock(Rank.LEAF)  # guards the rest
        self._sessions: list[Holding] = []
        self._looking = False

    def add(self, session: Holding) -> None:
        """From now on something waits in ``session``."""
        with self._lock:
            self._sessions.append(session)
            look, self._looking = not self._looking, True
        if look:
            self._reactor.call_later(_LONGEST, self._look)

    def _look(self) -> None:
        with self._lock:
            sessions, self._sessions = self._sessions, []
            self._looking = False
        now = monotonic()
        for session in sessions:
            held = session.held
            if held and now - held < _LONGEST / 2:
                self.add(session)
            elif held:
                session.release()
