"""Sessions in which something waits to be sent with what follows: none for longer than a moment, come what may.

As a rule whoever holds it back releases it in much less than that; not when a handler blocks in between.
"""

from __future__ import annotations

from time import monotonic
from typing import Protocol

from ..runtime import Rank, Reactor, make_lock

# For how long it may wait: 2 ms, less what a timer may be late; and after how long a timer that comes early takes it
# along (seconds).
_LONGEST, _LONG = 0.0015, 0.001


class Holding(Protocol):
    """A :class:`SessionWriter`."""

    @property
    def held(self) -> float: ...

    def release(self) -> None: ...


class HeldSessions:
    """See the module's text; of one server in one process."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._lock = make_lock(Rank.LEAF)  # guards the rest
        self._sessions: set[Holding] = set()
        self._looking = False

    def add(self, session: Holding) -> None:
        """From now on something waits in ``session``."""
        self._look_after({session}, _LONGEST)

    def _look_after(self, sessions: set[Holding], delay: float) -> None:
        with self._lock:
            self._sessions |= sessions
            look, self._looking = not self._looking, True
        if look:
            try:
                self._reactor.call_later(delay, self._look)
            except BaseException:  # no thread for the clock, or a signal handler's
                self._looking = False
                raise

    def _look(self) -> None:
        with self._lock:
            sessions, self._sessions = self._sessions, set()
            self._looking = False
        oldest = now = monotonic()
        young: set[Holding] = set()
        try:
            while sessions:
                session = sessions.pop()
                held = session.held
                if held and now - held < _LONG:  # it has been released and waits anew
                    young.add(session)
                    oldest = min(oldest, held)
                elif held:
                    session.release()
        finally:
            if young or sessions:
                self._look_after(young | sessions, oldest + _LONGEST - now)
