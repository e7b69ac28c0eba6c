"""Where a new session goes: to the least loaded of the siblings, by its handshake, which is the only thing that moves.

Left to themselves the workers of one listening socket share clients badly: whoever is idle accepts, so that one of two
gunicorn workers had 98 of 100 WebSockets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final
from weakref import WeakKeyDictionary

from ...runtime import Rank, make_lock
from ...siblings import Link, Siblings, close_all
from ..config import Environ
from ..hijack import give, plain_socket
from ..interfaces import Engine
from ..request import EngineRequest
from ..response import Headers, Hijacked
from .forwarder import Forwarder, persists
from .receiver import Came, Receiver
from .wire_format import NEW, TAKEN, Handshake, pack_handshake

# A sibling gets a new session when this process has so many times, and besides so many more, as it has.
_RATIO = 1.1
_MARGIN = 2
# The load of a process that is still joining, or may only emit, a task queue's worker perhaps: nobody gives it any.
NO_ROOM: Final = 0xFFFFFFFF
# How long a handover may be under way before its sibling is given no more (seconds): as a rule it takes a millisecond.
_TAKES = 0.25


class LoadBalancer:
    """See the module's text."""

    def __init__(self, engine: Engine, siblings: Siblings, forwarder: Forwarder, receiver: Receiver) -> None:
        self._engine = engine
        self._siblings = siblings
        self._forwarder = forwarder
        self._receiver = receiver
        self._under_way = UnderWay()
        siblings.handle(TAKEN, self._on_taken)

    def place(
        self, request: EngineRequest, cors: Headers, keep: Callable[[Environ], Environ], leaving: bool
    ) -> Hijacked | None:
        """Have a sibling open the session that ``request`` asks for; None when it is to be opened here.

        :param keep: picks what the session keeps of the request's environ.
        :param leaving: whether this process takes no more sessions.
        :raises EngineError: the request is to be refused.
        """
        sibling = self._choose(leaving)
        if sibling is None or plain_socket(request.environ) is None:
            return None
        kept = keep(request.environ)
        if not _is_plain(kept):
            return None
        websocket = request.query["transport"] == "websocket"
        accept = self._engine.acceptance.compose(request, cors) if websocket else b""
        persistent = not websocket and persists(request)
        try:
            descriptor, early = give(request.environ, self._engine.reactor)
        except OSError:
            return None
        sibling.state.load += 1  # at once, since what it tells of that comes later
        handshake = Handshake(kept, cors, accept, early, persistent)
        self._under_way.add(sibling)
        returned = partial(self._open_here, sibling, handshake)
        self._forwarder.hand_over(sibling, NEW, pack_handshake(handshake), descriptor, returned)
        return Hijacked(None) if websocket else Hijacked(None, "200 OK")

    def _on_taken(self, link: Link, number: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            close_all((descriptor,))
        self._under_way.taken(link)

    def _open_here(self, sibling: Link, handshake: Handshake, descriptor: int) -> None:
        """The sibling has gone before it got the connection."""
        self._under_way.taken(sibling)
        came = Came(descriptor)
        try:
            self._receiver.open(handshake, came)
        finally:
            came.close()

    def _choose(self, leaving: bool) -> Link | None:
        candidates = [link for link in self._siblings.links() if self._takes(link)]
        if not candidates:
            return None
        least = min(candidates, key=lambda link: link.load)
        load, limit = len(self._engine.sessions), self._engine.config.max_sessions
        full = limit is not None and load >= limit > least.load
        return least if leaving or full or load > _RATIO * least.load + _MARGIN else None

    def _takes(self, link: Link) -> bool:
        """Whether a sibling wants sessions, and seems to be moving: one that has been stopped tells nothing of it."""
        wants = link.known and link.load < NO_ROOM and not link.draining
        return wants and not (link.outbox_size or self._under_way.waits(link))

    def tell(self) -> None:
        """The number of sessions has changed."""
        self._siblings.tell_load(len(self._engine.sessions))


class UnderWay:
    """Which siblings have been handed a client and have not yet said that they have taken it.

    One that stands still looks like the least loaded of all, otherwise.
    """

    def __init__(self) -> None:
        self._lock = make_lock(Rank.LEAF)
        self._under_way: WeakKeyDictionary[Link, tuple[int, float]] = WeakKeyDictionary()  # how many, since when

    def add(self, link: Link) -> None:
        """A client is about to be handed over."""
        with self._lock:
            number, since = self._under_way.get(link, (0, monotonic()))
            self._under_way[link] = number + 1, since

    def taken(self, link: Link) -> None:
        """The sibling has taken one, or it has come back."""
        with self._lock:
            number, _ = self._under_way.pop(link, (0, 0.0))
            if number > 1:
                self._under_way[link] = number - 1, monotonic()

    def waits(self, link: Link) -> bool:
        """Whether one has been under way for long."""
        found = self._under_way.get(link)
        return found is not None and monotonic() - found[1] > _TAKES


def _is_plain(environ: Environ) -> bool:
    """Whether another process can have it."""
    return all(value is None or isinstance(value, (str, int, float)) for value in environ.values())
