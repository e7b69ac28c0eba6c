"""The client's long-polling: one task GETs, another POSTs; one request of each at a time.

``idle`` means that nothing is being POSTed; who finds it so gives the packets to the POSTing task, which empties the
engine's write buffer before it waits again.
"""

from __future__ import annotations

from ...engineio.packet import CLOSE, SEPARATOR, Packet, PacketError, decode_payload, to_utf8
from ...exceptions import ConnectionFailed
from .interfaces import Engine
from .polling_http import HTTPClient

_GOODBYE = Packet(CLOSE)
# How much is POSTed at once to a server that names no limit (bytes).
_DEFAULT_LIMIT = 1_000_000
# How many packets are POSTed at once: python-engineio takes no more.
_MAX_PACKETS = 16


class PollingTransport:
    """See the module's text.

    :ivar polls: whether the GETting task is running; guarded by the engine's lock, like ``idle`` and ``paused``.
    :ivar paused: whether it is to stop after its present request.
    """

    __slots__ = (
        "_engine",
        "_given",
        "_http",
        "_posts",
        "_session_url",
        "_sid",
        "_stopped",
        "_wake",
        "idle",
        "paused",
        "polls",
    )

    name = "polling"

    def __init__(self, engine: Engine) -> None:
        self.idle = False
        self.paused = False
        self.polls = True
        self._engine = engine
        self._http = HTTPClient(engine.address, engine.http_session, engine.heard)
        self._sid = engine.id
        self._session_url = engine.address.url(self.name, engine.id)  # of this id
        self._given: list[Packet] | None = None
        self._posts = False
        self._stopped = False
        self._wake = engine.reactor.event()
        engine.tasks.add(self)

    # -- GET (in its own task) ----------------------------------------------------------------------------------

    def get(self) -> tuple[list[Packet], PacketError | None]:
        """The packets of one answer, and what is wrong with the rest of it; the first answer gives the session.

        :raises ConnectionFailed: there was none.
        """
        return decode_payload(self._http.get(self._url()))

    def poll(self) -> None:
        """GET until the end, or until it is paused."""
        while self._engine.may_poll(self):
            try:
                answer = self.get()
            except ConnectionFailed as error:
                self._break(error)
                return
            self.deliver(*answer)

    def deliver(self, packets: list[Packet], failure: PacketError | None = None) -> None:
        """Hand the packets of an answer to the engine."""
        self._engine.heard()  # the ping may come with the next
        for packet in packets:
            if packet.type == CLOSE:
                self._engine.close("transport close", abort=True, detail="the server closed the session")
                return
            self._engine.receive(packet.data if type(packet.data) is bytes else packet.text())
        if failure is not None:
            self._engine.close("parse error", abort=True, detail=failure)

    @property
    def unread(self) -> bool:
        """Whether something has come that has not been read."""
        return self._http.unread

    # -- POST (by the holder of the baton, in another task) -----------------------------------------------------

    def write(self, packets: list[Packet]) -> None:
        self._given = packets
        self.carry_on()

    def carry_on(self) -> None:
        """Let the POSTing task look for what is to be sent; the caller gives it the baton."""
        if not self._posts:
            self._posts = True
            self._engine.tasks.spawn(self._post_loop)
        self._wake.set()

    def _post_loop(self) -> None:
        engine = self._engine
        limit = engine.max_payload or _DEFAULT_LIMIT
        while True:
            self._wake.wait()
            self._wake = engine.reactor.event()
            if self._stopped:
                return
            batch = self._given or engine.next_batch(self, limit, _MAX_PACKETS)
            self._given = None
            try:
                while batch:
                    for body in split_payload(batch, limit):
                        self._post(body)
                    batch = engine.next_batch(self, limit, _MAX_PACKETS)
                if batch is None:
                    continue
                self._post(to_utf8(_GOODBYE.text()))
            except ConnectionFailed as error:
                self._break(error)
            self.stop()
            return

    def _post(self, body: bytes) -> None:
        self._http.post(self._url(), body)

    def _url(self) -> str:
        """Where the next request goes."""
        engine = self._engine
        if self._sid != engine.id:
            self._sid = engine.id
            self._session_url = engine.address.url(self.name, engine.id)
        return engine.address.unique(self._session_url, self.name)

    # -- the end ------------------------------------------------------------------------------------------------

    def finish(self, code: int | None = None) -> None:
        """The write buffer is empty and the engine is closing: the POSTing task finds that, and says goodbye."""
        self.carry_on()

    def abort(self, code: int | None = None, *, baton: bool = False) -> None:
        self.stop()

    def hurry(self) -> None:
        self.stop()

    def stop(self) -> None:
        """End both tasks at once, whatever they wait for."""
        with self._engine.lock:
            again, self._stopped = self._stopped, True
        if again:
            return
        self._http.cancel()
        self._http.close()
        self._wake.set()
        self._engine.closed(self)

    def _break(self, error: ConnectionFailed) -> None:
        if not self._stopped:
            self._engine.close("transport error", abort=True, detail=error)
            self.stop()


def split_payload(packets: list[Packet], limit: int) -> list[bytes]:
    """The bodies that carry ``packets`` in order.

    :param limit: bytes that each has at most, unless one packet alone is larger.
    """
    separator = to_utf8(SEPARATOR)
    bodies: list[bytes] = []
    parts: list[bytes] = []
    size = 0
    for packet in packets:
        part = to_utf8(packet.text())
        if len(parts) == _MAX_PACKETS or (parts and size + len(separator) + len(part) > limit):
            bodies.append(separator.join(parts))
            parts = []
            size = 0
        size += len(part) + (len(separator) if parts else 0)
        parts.append(part)
    bodies.append(separator.join(parts))
    return bodies
