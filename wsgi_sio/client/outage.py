"""While there is no connection: why not, for the log and for those who wait for one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..exceptions import ConnectionFailed, TimedOut
from ..logtext import one_line

if TYPE_CHECKING:
    from .manager import Manager

logger = logging.getLogger("wsgi_sio.client.outage")

# How much of a failure's text is shown, the server's words included (characters).
_SHOWN = 300


class Outage:
    """The failed attempts since there was a connection: the first is a warning, the others are logged at DEBUG.

    :ivar cause: the last failure; None before one, and while all is well.
    """

    __slots__ = ("_manager", "_told", "cause")

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._told = False
        self.cause: Exception | None = None

    def end(self) -> None:
        """There is a connection, or nobody wants one any more. Under the manager's lock."""
        self._told = False
        self.cause = None

    def goes_on(self, delay: float) -> None:
        """An attempt has failed; the next one follows in ``delay`` seconds."""
        manager, cause = self._manager, self.cause
        if cause is None or self._told:
            logger.debug("%r: no connection: %s; next attempt in %.1f s", manager, _show(cause), delay)
            return
        self._told = True
        most = manager.reconnection_attempts
        logger.warning(
            "%r cannot connect: %s; it tries again in %.1f s, later every %g s at most, %s; from now on failures are"
            " logged at DEBUG",
            manager, _show(cause), delay, manager.reconnection_delay_max,
            "until connect(timeout=) or reconnection_attempts= ends that" if most is None
            else f"up to reconnection_attempts={most}",
        )  # fmt: skip

    def stays(self) -> None:
        """An attempt has failed, and was the last."""
        manager = self._manager
        why = f"after reconnection_attempts={manager.reconnection_attempts}" if manager.reconnection else "at once"
        logger.warning("%r cannot connect, and gives up %s: %s", manager, why, _show(self.cause))

    def timed_out(self, seconds: float) -> TimedOut:
        """The error for somebody who has waited in vain so long."""
        error = TimedOut(f"not connected within {seconds:g} s: {_show(self.cause)}")
        error.__cause__ = self.cause
        return error


def _show(cause: Exception | None) -> str:
    if cause is None:
        return "the server has not answered"
    said = cause.context if isinstance(cause, ConnectionFailed) else None
    return one_line(f"{cause}: {said}" if said else str(cause), _SHOWN)
