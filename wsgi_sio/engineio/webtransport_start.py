"""WebTransport by an option: the process listens when it begins to serve, whoever has made it.

That is as a gunicorn worker begins, else with the first request that comes, a page's too; never where an application is
only imported: by a reloader, a command, the process that forks the workers.

Of several workers the first has the port, and tells the others, whose clients it serves as well (relay/). When it has
gone, or is about to go and has let go of the port, another one takes it.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Protocol

from ..runtime import Rank, Reactor, make_lock
from ..siblings import Link, Siblings, before_serving, close_all
from .relay.joining import Joining
from .relay.wire_format import LISTENS

logger = logging.getLogger("wsgi_sio.engineio")

# How often the port is tried that another process has (seconds): at first, for so long, since that may be the process
# whose place this one takes, and from then on.
_SOON, _FRESH, _AGAIN = 0.25, 30.0, 2.0
# What a sibling says of the port.
_HAS_IT, _HAS_LET_GO = 0, 1


class ListeningEngine(Protocol):
    """An :class:`EngineServer`."""

    notice: Callable[[], None]
    joining: Joining
    webtransport: Any

    @property
    def reactor(self) -> Reactor: ...

    def listen_webtransport(self, *where: Any, **options: Any) -> object: ...

    def report(self, kind: str, text: str) -> None: ...

    @property
    def is_draining(self) -> bool: ...


class WebTransportStart:
    """See the module's text.

    :param options: the parameters of :meth:`wsgi_sio.Server.listen_webtransport`.
    """

    def __init__(self, engine: ListeningEngine, options: Mapping[str, Any]) -> None:
        self._engine = engine
        self._options = options
        self._notice = engine.notice
        self._lock = make_lock(Rank.LEAF)
        self._done_in = 0
        self._trying = False
        self._waits = False  # for the next attempt
        self._began = 0.0
        self._listening: set[Link] = set()  # the siblings that do
        engine.joining.before(self._meet)
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
            self._began = monotonic()
            self._engine.notice = self._notice
        self._listen(first=True)

    def _listen(self, first: bool = False) -> None:
        engine = self._engine
        with self._lock:
            if self._trying or self._done_in != os.getpid() or engine.webtransport is not None or engine.is_draining:
                return
            self._trying = True
        try:
            engine.listen_webtransport(**self._options)
        except (OSError, ValueError, TypeError) as error:
            self._try_again_later()
            # Another worker that has it may not have said so yet.
            early = first or monotonic() - self._began < _AGAIN
            soon = early and isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            if not soon and not self._listening:
                engine.report(
                    "no WebTransport",
                    f"port {self._options.get('port', 443)} cannot be listened at ({error}), so clients of this process"
                    " use the other transports, unless that is another worker's; it is tried again",
                )
        else:
            self._tell_all(_HAS_IT)
        finally:
            self._trying = False

    def _try_again_later(self) -> None:
        with self._lock:
            waits, self._waits = self._waits, True
        if not waits:
            delay = _SOON if monotonic() - self._began < _FRESH else _AGAIN
            self._engine.reactor.call_later(delay, lambda: self._engine.reactor.submit(self._listen_again))

    def _listen_again(self) -> None:
        self._waits = False
        self._listen()

    # -- the siblings -------------------------------------------------------------------------------------------

    @property
    def is_a_siblings(self) -> bool:
        """Whether a sibling has the port, and serves our clients too."""
        return bool(self._listening)

    def tell_that_the_port_is_free(self) -> None:
        """This process has let go of it."""
        self._tell_all(_HAS_LET_GO)

    def _meet(self, siblings: Siblings) -> None:
        """They are about to be joined."""
        siblings.handle(LISTENS, self._on_listens)
        siblings.on_joined(self._tell)

    def _tell(self, link: Link) -> None:
        if self._engine.webtransport is not None and not self._engine.is_draining:
            link.send(LISTENS, _HAS_IT, b"")

    def _tell_all(self, what: int) -> None:
        company = self._engine.joining.company
        for link in () if company is None else company.siblings.links():
            link.send(LISTENS, what, b"")

    def _on_listens(self, link: Link, number: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            close_all((descriptor,))
        if number == _HAS_LET_GO:
            self._on_free(link)
        else:
            self._listening.add(link)
            link.on_end(lambda: self._on_free(link))

    def _on_free(self, link: Link) -> None:
        """A sibling has gone, or let go of the port: the first that tries has it."""
        if link in self._listening:
            self._listening.discard(link)
            self._engine.reactor.submit(lambda: self._listen(first=True))

    def after_fork(self) -> None:
        """In a forked child: it may serve as well."""
        self._lock = make_lock(Rank.LEAF)
        self._listening = set()
        self._trying = self._waits = False
        self._engine.notice = self._notice_and_begin
