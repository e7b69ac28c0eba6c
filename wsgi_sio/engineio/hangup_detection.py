"""Notices that the client of a request that waits in its thread or greenlet hangs up.

The WSGI server does not read meanwhile, so its socket may be watched beside it; nothing is consumed.  Where the client
sends something instead, such as its next request, there is no more to be seen, and the answer tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..runtime import Rank, Reactor, make_lock
from .hijack import hung_up


class HangupWatch:
    """Calls ``tell``, on an I/O thread or in gevent's hub, if the client hangs up while the block runs.

    :param sock: the WSGI server's; without TLS.
    """

    __slots__ = ("_lock", "_over", "_sock", "_tell", "_watch")

    def __init__(self, sock: Any, reactor: Reactor, tell: Callable[[], object]) -> None:
        self._sock = sock
        self._tell = tell
        self._lock = make_lock(Rank.LEAF)
        self._over = False
        self._watch = reactor.watch(self, reading=False)

    def __enter__(self) -> None:
        self._watch.resume()

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._over = True
        self._watch.close(_nothing)

    def fileno(self) -> int:
        return int(self._sock.fileno())

    def on_readable(self) -> None:
        self._watch.pause()  # whatever it is stays where it is, and would be told for ever
        # Under the lock, against the rule, lest it look at the connection's next request; it does not block.
        with self._lock:
            left = not self._over and hung_up(self._sock)
        if left:
            self._tell()

    def on_writable(self) -> None:
        """Never asked for."""


def _nothing() -> None:
    """The socket is the server's to close."""
