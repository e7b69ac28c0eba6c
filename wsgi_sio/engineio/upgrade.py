"""From polling to another transport: the probe, the switch, the time-out (Engine.IO protocol, "Upgrade").

``2probe`` -> ``3probe``; then a noop every 100 ms lets a waiting GET return; ``5`` makes the candidate the transport.
Anything else, or silence, ends the candidate and leaves the session on polling.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from ..runtime import Reactor, Timer
from ..websocket.frames import TEXT, encode_frame
from .packet import PONG, UPGRADE, Packet
from .polling import NOOP_PACKET, PollingTransport
from .session import Session
from .transport import Transport
from .websocket import Owner

logger = logging.getLogger("wsgi_sio.engineio")

_NOOP_EVERY = 0.1

_PROBE = "2probe"
_PROBED = Packet(PONG, frame=encode_frame(TEXT, b"3probe"))
_UPGRADE = str(UPGRADE)
# For people.
_NAMES: Mapping[str, str] = {"websocket": "WebSocket", "webtransport": "WebTransport"}


class Candidate(Transport, Protocol):
    """A transport that may become a session's."""

    owner: Owner

    def start(self, early: bytes) -> None:
        """Begin to read; ``early`` has been read already."""

    def write_alone(self, packet: Packet) -> None:
        """Send one small packet, which is none of the session's."""

    def turn_away(self) -> None:
        """End it: the session does not want it, nor hear of it."""


class Upgrade:
    """One attempt; it owns the candidate until the session does."""

    __slots__ = ("_candidate", "_noop", "_polling", "_probed", "_reactor", "_session", "_timeout")

    def __init__(self, session: Session, polling: PollingTransport, candidate: Candidate, reactor: Reactor) -> None:
        self._session = session
        self._polling = polling
        self._candidate = candidate
        candidate.owner = self
        self._reactor = reactor
        self._probed = False
        self._timeout: Timer | None = None
        self._noop: Timer | None = None

    def start(self, early: bytes, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the client to probe and to switch."""
        self._timeout = self._reactor.expire_after(timeout, self.cancel)
        self._candidate.start(early)

    def receive(self, data: str | bytes) -> None:
        """Take a packet from the candidate."""
        if not self._probed and data == _PROBE:
            self._probed = True
            self._candidate.write_alone(_PROBED)
            self._release_get_later()
        elif self._probed and data == _UPGRADE:
            self._stop_timers()
            self._candidate.owner = self._session
            if self._session.switch(self, self._candidate):
                logger.debug("a session has gone from polling to %s", _NAMES[self._candidate.name])
                self._polling.leave()
            else:
                self._candidate.turn_away()
        else:
            self.cancel()

    def close(self, reason: str, *, abort: bool = False, code: int | None = None) -> bool:
        """The candidate has broken: the session stays on polling."""
        self.cancel(code)
        return True

    def cancel(self, code: int | None = None) -> None:
        """Give the candidate up, unless the switch has been made."""
        self._stop_timers()
        if self._session.end_upgrade(self):
            logger.debug("an upgrade to %s is given up, so the session stays on polling", _NAMES[self._candidate.name])
            self._candidate.finish(code)

    def _release_get_later(self) -> None:
        self._noop = self._reactor.call_later(_NOOP_EVERY, self._release_get)

    def _release_get(self) -> None:
        if self._session.upgrade is self:
            self._session.send([NOOP_PACKET], volatile=True)
            self._release_get_later()

    def _stop_timers(self) -> None:
        for timer in (self._timeout, self._noop):
            if timer is not None:
                timer.cancel()
