"""RedisStreamsAdapter: servers on one Redis stream, without connection state recovery."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from ....socketio.jsoncodec import dumps_of
from ...adapter import ClusterAdapter
from ...bus import SharedBus, Subscription
from ...bus.redis_stream_reader import StreamReader
from ...bus.redis_streams_bus import RedisStreams, Unanswered
from ...cluster_node import ClusterNode
from ...messages import Message
from .stream_entries import Fields, entry_of, is_ephemeral, message_of, pack_data, pack_message

if TYPE_CHECKING:
    from ....socketio.namespace import Namespace

logger = logging.getLogger("wsgi_sio.adapters")

# How long the first client or broadcast waits until this server hears the others (seconds).
_SETTLE: Final = 1.0


class RedisStreamsAdapter(ClusterAdapter):
    """See :func:`wsgi_sio.adapters.redis_streams_adapter`; without connection state recovery.

    :param shared: gives the bus of a process.
    :param stream: the stream of this namespace.
    :param max_len: about how many entries it keeps.
    """

    def __init__(
        self,
        namespace: Namespace,
        shared: SharedBus,
        stream: str,
        *,
        prefix: str = "socket.io",
        max_len: int = 10_000,
        request_timeout: float = 5.0,
    ) -> None:
        super().__init__(namespace, request_timeout=request_timeout)
        self._shared = shared
        self._stream = stream.encode()
        self._topic = namespace.name.encode()
        self._channel = f"{prefix}#{namespace.name}#"
        self._head = (b"XADD", self._stream, b"MAXLEN", b"~", b"%d" % max_len, b"*")
        self._bus: RedisStreams | None = None
        self._reader: StreamReader | None = None
        self._subscription: Subscription | None = None

    def start(self) -> None:
        reactor = self._namespace.server.reactor
        bus = self._shared.join(reactor, self)
        assert isinstance(bus, RedisStreams)
        own = f"{self._channel}{self.uid}#"
        self._subscription = subscription = bus.subscribe([self._channel, own], (), self._on_published)
        self._reader = reader = bus.listen(self._stream, self._topic, self._on_entry)
        self._bus = bus
        if reactor.may_wait():
            reactor.wait(reader.placed, _SETTLE)
            subscription.wait_subscribed(_SETTLE)

    def close(self) -> None:
        super().close()
        if self._reader is not None:
            self._reader.forget(self._topic, self._on_entry)
        if self._subscription is not None:
            self._subscription.close()
        self._shared.leave(self)

    def server_count(self) -> int:
        self.join_cluster()
        return max(1, (self._bus and self._bus.count(self._channel)) or 1)

    # -- what goes out ------------------------------------------------------------------------------------------

    def publish(self, message: Message) -> None:
        bus = self._bus
        if bus is None:
            return
        dumps = dumps_of(self._namespace.server.json)
        if is_ephemeral(message):
            self.check_attachments(message)
            bus.publish(self._channel, pack_message(message, dumps))
            return
        data = message.get("data")
        packed = None if data is None else pack_data(data, dumps)
        if packed is not None and not packed.startswith(b"{"):
            self.check_attachments(message)
        bus.post(*self._head, *entry_of(message, packed), done=self._appended)

    def _appended(self, answer: Any) -> None:
        if isinstance(answer, Exception) and not isinstance(answer, Unanswered):
            level, self._cut_off = logging.DEBUG if self._cut_off else logging.ERROR, True
            logger.log(level, "%r reaches only its own clients: Redis refuses an event: %s", self._namespace, answer)
        else:
            self._cut_off = False

    def publish_response(self, requester: str, message: Message) -> None:
        if self._bus is not None:
            packed = pack_message(message, dumps_of(self._namespace.server.json))
            self._bus.publish(f"{self._channel}{requester}#", packed)

    # -- what comes in (on the bus's readers: nothing may block) ------------------------------------------------

    def _on_published(self, channel: str, payload: bytes) -> None:
        self.on_message(payload)

    def _on_entry(self, entry_id: str, position: int, fields: Fields) -> None:
        node = self._node
        if node is None or node.closed or fields.get(b"uid") == node.uid.encode():
            return  # what is of this server has been done at once
        try:
            self.take_entry(node, message_of(fields), entry_id, position)
        except Exception as error:  # junk, of whatever kind
            self.report_junk(error)

    def take_entry(self, node: ClusterNode, message: Message, entry_id: str, position: int) -> None:
        """Take what another server has appended to the stream."""
        self.on_message(message)
