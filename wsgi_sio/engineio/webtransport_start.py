"""WebTransport by an option: the process listens when it begins to serve, whoever has made it.

That is as a gunicorn worker begins, else with the first request that comes, a page's too; never where an application is
only imported: by a reloader, a command, the process that forks the workers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Protocol

from ..runtime import Rank, make_lock
from ..siblings import before_serving

logger = logging.getLogger("wsgi_sio.engineio")


class ListeningEngine(Protocol):
    """An :class:`EngineServer`."""

    notice: Callable[[], None]

    def listen_webtransport(self, *where: Any, **options: Any) -> object: ...

    def report(self, kind: str, text: str) -> None: ...


class WebTransportStart:
    """See the module's text.

    :param options: the parameters of :meth:`wsgi_sio.Server.listen_webtransport`.
    :raises ImportError: aioquic is missing.
    """

    def __init__(self, engine: ListeningEngine, options: Mapping[str, Any]) -> None:
        if find_spec("aioquic") is None:
            raise ImportError("webtransport= needs the aioquic library: pip install wsgi_sio[webtransport]")
        self._engine = engine
        self._options = options
        self._notice = engine.notice
        self._lock = make_lock(Rank.LEAF)
        self._done_in = 0
        engine.notice = self._notice_and_begin  # what is called with each request, until then
        before_serving(self.begin)

    def _notice_and_begin(self) -> None:
        self._notice()
        self.begin()

    def begin(self) -> None:
        """This process serves: listen, if it does not yet."""
        with self._lock:
            if self._done_in == os.getpid():
                return
            self._done_in = os.getpid()
            self._engine.notice = self._notice
        try:
            self._engine.listen_webtransport(**self._options)
        except OSError as error:
            self._engine.report(
                "no WebTransport",
                f"port {self._options.get('port', 443)} cannot be listened at ({error}), so clients of this process use"
                " the other transports; of several workers one alone can have it",
            )

    def after_fork(self) -> None:
        """In a forked child: it may serve as well."""
        self._lock = make_lock(Rank.LEAF)
        self._engine.notice = self._notice_and_begin
