"""WebTransport by an option: the process listens when it begins to serve, whoever has made it.

That is as a gunicorn worker begins, else with the first request that comes, a page's too; never where an application is
only imported: by a reloader, a command, the process that forks the workers.

Of several workers the first has the port, and tells the others, whose clients it serves as well (relay/). When it has
gone another one takes the port.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Protocol

from ..runtime import Rank, Reactor, make_lock
from ..siblings import Link, Siblings, before_serving, close_all
from .relay.joining import Joining
from .relay.wire_format import LISTENS

logger = logging.getLogger("wsgi_sio.engineio")

# How often the port is tried that another process has (seconds).
_AGAIN = 2.0


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
    def is_closed(self) -> bool: ...


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
            self._engine.notice = self._notice
        self._listen()

    def _listen(self) -> None:
        engine = self._engine
        try:
            engine.listen_webtransport(**self._options)
        except OSError as error:
            if self._done_in == os.getpid():
                engine.reactor.call_later(_AGAIN, lambda: engine.reactor.submit(self._listen_again))
            if self._listening:
                return
            engine.report(
                "no WebTransport",
                f"port {self._options.get('port', 443)} cannot be listened at ({error}), so clients of this process use"
                " the other transports, unless that is another worker's; it is tried again",
            )
        else:
            company = engine.joining.company
            for link in () if company is None else company.siblings.links():
                self._tell(link)

    def _listen_again(self) -> None:
        if self._engine.webtransport is None and self._done_in == os.getpid() and not self._engine.is_closed:
            self._listen()

    # -- the siblings -------------------------------------------------------------------------------------------

    @property
    def is_a_siblings(self) -> bool:
        """Whether a sibling has the port, and serves our clients too."""
        return bool(self._listening)

    def _meet(self, siblings: Siblings) -> None:
        """They are about to be joined."""
        siblings.handle(LISTENS, self._on_listens)
        siblings.on_joined(self._tell)

    def _tell(self, link: Link) -> None:
        if self._engine.webtransport is not None:
            link.send(LISTENS, 0, b"")

    def _on_listens(self, link: Link, number: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            close_all((descriptor,))
        self._listening.add(link)
        link.on_end(lambda: self._listening.discard(link))

    def after_fork(self) -> None:
        """In a forked child: it may serve as well."""
        self._lock = make_lock(Rank.LEAF)
        self._listening = set()
        self._engine.notice = self._notice_and_begin
