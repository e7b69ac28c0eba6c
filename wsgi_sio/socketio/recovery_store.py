"""RecoveryStore: the sessions and events that an adapter keeps for clients that come back, each for a while."""

from __future__ import annotations

import time
import weakref
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..runtime import Timer
from .adapter import SavedSession
from .recovery_event_log import EventLog

if TYPE_CHECKING:
    from .interfaces import NamespaceInterface

# What has expired is dropped in this many steps a duration: late by less than one of them, and not for each event.
_STEPS = 10


class RecoveryStore:
    """See the module's text.

    :param lock: its adapter's, which guards it.
    :param duration: seconds for which sessions and events are kept.
    :param max_stored: bytes of events that are kept at most.
    :ivar closed: whether nothing is kept any more.
    """

    def __init__(
        self, namespace: NamespaceInterface, lock: AbstractContextManager[Any], duration: float, max_stored: int
    ) -> None:
        self.log = EventLog(max_stored)
        self.duration = duration
        self.closed = False
        self._namespace = namespace
        self._lock = lock
        self._sessions: dict[str, tuple[float, SavedSession]] = {}  # by pid, the oldest first
        self._watched = False  # whether a timer is set, or about to be, for what is kept
        self._timer: Timer | None = None

    def persist(self, session: SavedSession) -> None:
        """Keep a session, in place of another of the same client."""
        with self._lock:
            if self.closed:
                return
            self._sessions.pop(session.pid, None)
            self._sessions[session.pid] = time.monotonic(), session
            unwatched = self.begin_watch_locked()
        if unwatched:
            self.watch()

    def find_locked(self, pid: str) -> SavedSession | None:
        """The session of that client, if it is not too old."""
        since, session = self._sessions.get(pid, (0.0, None))
        return session if since >= time.monotonic() - self.duration else None

    def pop_locked(self, pid: str) -> SavedSession | None:
        """Likewise, taking it out."""
        session = self.find_locked(pid)
        self._sessions.pop(pid, None)
        return session

    def begin_watch_locked(self) -> bool:
        """Something is kept: whether :meth:`watch` has to be called, with no lock held."""
        unwatched, self._watched = not self._watched, True
        return unwatched

    def watch(self) -> None:
        """Set the timer for what is kept first."""
        self._drop_in(self.duration)

    def _drop_in(self, seconds: float) -> None:
        store = weakref.ref(self)  # a forgotten namespace is not kept alive for what it has kept

        def drop() -> None:
            alive = store()
            if alive is not None:
                alive._drop_expired()

        self._timer = self._namespace.server.reactor.call_later(seconds, drop)

    def _drop_expired(self) -> None:
        """Drop what is too old, and come again when the next will be; not when nothing is left."""
        now = time.monotonic()
        expired = now - self.duration
        with self._lock:
            oldest = self.log.drop_until(expired)
            for pid, (since, _) in list(self._sessions.items()):
                if since > expired:
                    oldest = since if oldest is None else min(oldest, since)
                    break
                del self._sessions[pid]
            self._watched = oldest is not None
        if oldest is not None:
            self._drop_in(max(oldest - expired, self.duration / _STEPS))

    def close(self) -> None:
        """Keep nothing any more."""
        with self._lock:
            self.closed = True
            self._sessions.clear()
            self.log.clear()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
