"""Tells the log of workers that are all in handlers for long, while jobs wait for one."""

from __future__ import annotations

import logging
from time import monotonic

logger = logging.getLogger("wsgi_sio.runtime")

# How long it has to be so before it is told (seconds).
_JAM = 1.0


class JamWarning:
    """See the module's text; once for each jam.

    :ivar enabled: whether it is told.
    """

    def __init__(self) -> None:
        self.enabled = False
        self._since: float | None = None

    def look(self, busy: int, most: int, waiting: int) -> None:
        """Called now and then.

        :param busy: how many workers are in handlers.
        :param most: how many may be.
        :param waiting: how many jobs wait.
        """
        if busy < most or not waiting:
            self._since = None
        elif self._since is None:
            self._since = monotonic()
        elif self.enabled and monotonic() - self._since > _JAM:
            self._since = float("inf")
            logger.warning(
                "all %d workers have been in handlers for %g s, and %d jobs wait: raise max_workers=, or do long work"
                " with start_background_task()",
                busy,
                _JAM,
                waiting,
            )
