"""Where a new session goes: to the least loaded of the siblings, by its handshake, which is the only thing that moves.

Left to themselves the workers of one listening socket share clients badly: whoever is idle accepts, so that one of two
gunicorn workers had 98 of 100 WebSockets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from ...siblings import Link, Siblings, close_all
from ..config import Environ
from ..parked import Hijacked
from ..request import EngineRequest, Headers
from ..takeover import give, plain_socket
from .handed import Handed
from .messages import NEW, TAKEN, Handshake, pack_handshake
from .owner import Came, Owner

if TYPE_CHECKING:
    from ..server import EngineServer
    from .holder import Holder

# A sibling gets a new session when this process has so many times, and besides so many more, as it has.
_RATIO = 1.1
_MARGIN = 2
# The load of a process that is still joining, or may only emit, a task queue's worker perhaps: nobody gives it any.
NO_ROOM: Final = 0xFFFFFFFF


class Placement:
    """See the module's text."""

    def __init__(self, engine: EngineServer, siblings: Siblings, holder: Holder, owner: Owner) -> None:
        self._engine = engine
        self._siblings = siblings
        self._holder = holder
        self._owner = owner
        self._handed = Handed()
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
        try:
            descriptor, early = give(request.environ, self._engine.reactor)
        except OSError:
            return None
        sibling.told.load += 1  # at once, since what it tells of that comes later
        handshake = Handshake(kept, cors, accept, early)
        self._handed.add(sibling)
        returned = partial(self._open_here, sibling, handshake)
        self._holder.hand_over(sibling, NEW, pack_handshake(handshake), descriptor, returned)
        return Hijacked(None) if websocket else Hijacked(None, "200 OK")

    def _on_taken(self, link: Link, number: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            close_all((descriptor,))
        self._handed.taken(link)

    def _open_here(self, sibling: Link, handshake: Handshake, descriptor: int) -> None:
        """The sibling has gone before it got the connection."""
        self._handed.taken(sibling)
        came = Came(descriptor)
        try:
            self._owner.open(handshake, came)
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
        return wants and not (link.outbox_size or self._handed.waits(link))

    def tell(self) -> None:
        """The number of sessions has changed."""
        self._siblings.tell_load(len(self._engine.sessions))


def _is_plain(environ: Environ) -> bool:
    """Whether another process can have it."""
    return all(value is None or isinstance(value, (str, int, float)) for value in environ.values())
