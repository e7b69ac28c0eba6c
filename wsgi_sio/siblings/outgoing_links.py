"""The half of the siblings that speaks: the links that we dial, and what we tell on them of ourselves."""

from __future__ import annotations

import logging
from abc import ABC
from collections.abc import Callable
from functools import partial

from ..logtext import one_line
from ..runtime import Reactor
from .frames import HELLO, VERSION, is_tag
from .link import Link, LinkOwner
from .link_table import LinkTable
from .sibling_state import OwnState
from .socket_file import SocketFile
from .unix_sockets import Stranger

logger = logging.getLogger("wsgi_sio.siblings")

# After how long one that was too busy to be dialled is dialled again (seconds).
_REDIAL = 0.25


class OutgoingLinks(LinkOwner, ABC):
    """See the module's text; the other half is :class:`Siblings`.

    The lock is the table's.  Frames that tell of this process, HELLO first, are placed under it, so that a link has
    them in the order of the changes.
    """

    _socket_file: SocketFile

    def __init__(self, reactor: Reactor, max_outbox: int) -> None:
        self._reactor = reactor
        self._max_outbox = max_outbox
        self._table = LinkTable()
        self._own_state = OwnState()
        self._reported: set[str] = set()
        self._redialled: set[str] = set()  # in a while
        self._foreign: set[str] = set()  # whose version is another

    @property
    def tag(self) -> str:
        """Names this process among its siblings; settled by :meth:`Siblings.join`."""
        return self._socket_file.tag

    # -- links that we dial -------------------------------------------------------------------------------------

    def links(self, topic: str | None = None) -> tuple[Link, ...]:
        """The links that we have dialled.

        :param topic: leave out those to siblings that have not asked for it; of one that has told nothing yet, being
            slow or stopped, nobody knows (``known``), and what it missed would be missing for its clients.
        """
        links = self._table.links
        if topic is None:
            return links
        return tuple([link for link in links if topic in link.state.topics or not link.state.known])

    def reach(self, tag: str) -> Link | None:
        """The link that we have dialled, or dial now, to a sibling; None: it does not live, or not among us."""
        link = self._table.dialled.get(tag)
        if link is not None and link.open:
            return link
        if not self._socket_file.open or tag == self.tag or tag in self._foreign or not is_tag(tag):
            return None
        try:
            return self._dial(tag)
        except BlockingIOError:
            self._redial_later(tag)
        except (FileNotFoundError, ConnectionRefusedError):
            pass  # it has gone
        except (OSError, RuntimeError, Stranger) as error:
            self.report("not reached", f"the sibling {tag} cannot be dialled: {error}")
        return None

    def _dial(self, tag: str) -> Link | None:
        sock, pid = self._socket_file.dial(tag)
        try:
            link = Link(self._reactor, sock, self, tag=tag, pid=pid, max_outbox=self._max_outbox)
        except (OSError, RuntimeError):
            sock.close()
            raise
        with self._table.lock:
            link.place(HELLO, 0, self._own_state.hello(self.tag))  # before anybody finds the link, and places a frame
            kept = self._table.put_locked(link)
        if not kept:  # another thread was faster
            link.close()
            return self._table.dialled.get(tag)
        self._table.events.tell()
        link.start()
        link.flush()
        return link

    def _redial_later(self, tag: str) -> None:
        with self._table.lock:
            if tag in self._redialled or self._table.left:
                return
            self._redialled.add(tag)

        def redial() -> None:
            self._redialled.discard(tag)
            self.reach(tag)

        self._reactor.call_later(_REDIAL, redial)

    def _sweep(self, tag: str) -> None:
        """Have a sibling's file removed if it has died."""
        try:
            sock, _ = self._socket_file.dial(tag)
        except (OSError, Stranger):
            return
        sock.close()

    def _greet(self, link: Link) -> bool:
        """Say hello again to one that may have cut us off, so that it dials us anew."""
        with self._table.lock:
            placed = link.place(HELLO, 0, self._own_state.hello(self.tag))
        link.flush()
        return placed

    # -- telling of ourselves -----------------------------------------------------------------------------------

    def subscribe(self, topic: str) -> None:
        """Ask all siblings for what they have of ``topic``."""
        self._tell(partial(self._own_state.subscribe, topic))

    def unsubscribe(self, topic: str) -> None:
        """Undo :meth:`subscribe`."""
        self._tell(partial(self._own_state.unsubscribe, topic))

    def tell_load(self, load: int) -> None:
        """How much this process has to do: the number of its sessions. Told when it has changed by 2 %, or 1."""
        self._tell(partial(self._own_state.load, load))

    def tell_draining(self) -> None:
        """This process wants no more sessions."""
        self._tell(self._own_state.drain)

    def _tell(self, change: Callable[[], bytes | None]) -> None:
        with self._table.lock:
            frame = change()
            if frame is None:
                return
            links = self._table.links
            for link in links:
                link.place_encoded(frame)
        for link in links:
            link.flush()

    def report(self, kind: str, text: str) -> None:
        """Log what is not as it should be: the first time at WARNING, then at DEBUG."""
        first = kind not in self._reported
        self._reported.add(kind)
        logger.log(logging.WARNING if first else logging.DEBUG, "siblings (%s): %s", kind, one_line(text))

    def _report_version(self, version: int) -> None:
        self.report(
            "another version",
            f"a process of the same server speaks version {version} between processes, this one {VERSION}: they"
            " share nothing, and clients that reach both connect again and again; let all run one version of wsgi_sio",
        )
