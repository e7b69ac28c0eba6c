"""Node's Postgres adapter (``@socket.io/postgres-adapter`` 0.5): its channels, its table, its bytes.

A message is the JSON of a notification; what is large or has bytes is MessagePack in a row of a table, and the
notification names the row.  Everybody hears everything, answers too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ...socketio.jsoncodec import BinaryFound, dumps_of
from ..adapter_with_heartbeat import ClusterAdapterWithHeartbeat
from ..bus import SharedBus, Subscription
from ..bus.postgres_bus import PostgresBus, postgres_bus
from ..bus.postgres_urls import MAX_NAME, MAX_NOTIFICATION
from ..messages import Message
from .msgpack_values import pack, unpack
from .redis_streams.stream_entries import in_order

if TYPE_CHECKING:
    from ...socketio.namespace import Namespace

logger = logging.getLogger("wsgi_sio.adapters")

# How long the first client or broadcast waits until this server hears the others (seconds).
_SETTLE: Final = 1.0
# Node's column is a bigserial.
_LARGEST_ID: Final = (1 << 63) - 1


def postgres_adapter(
    url: str,
    *,
    channel_prefix: str = "socket.io",
    table_name: str = "socket_io_attachments",
    payload_threshold: int = 8000,
    cleanup_interval: float = 30.0,
    heartbeat_interval: float = 5.0,
    heartbeat_timeout: float = 10.0,
    request_timeout: float = 5.0,
    error_handler: Callable[[Exception], None] | None = None,
) -> Callable[[Namespace], PostgresAdapter]:
    """An adapter for servers on one Postgres, of this kind and Node's: ``Server(adapter=postgres_adapter(url))``.

    :param url: such as ``postgresql://user:password@localhost:5432/database``; libpq's options may follow a ``?``.
    :param channel_prefix: what the channels' names begin with; this and the next are the same on all servers.
    :param table_name: where what is large or has bytes goes; made when it is missing, if that is allowed.
    :param payload_threshold: the bytes that a notification may have; Postgres has a limit of its own, 7999.
    :param cleanup_interval: seconds after which rows of that table are deleted, and how often that is done.
    :param heartbeat_interval: seconds after its last message when a server shows that it is alive.
    :param heartbeat_timeout: seconds without a message after which a server is taken for dead.
    :param request_timeout: seconds to wait for the answers of other servers.
    :param error_handler: called with what Postgres refuses, instead of logging it; by a job, so it may take its time.
    :raises ValueError: there is no such URL or table.
    :raises ImportError: psycopg is missing.
    """
    shared = postgres_bus(url, table=table_name, cleanup_interval=cleanup_interval, on_refusal=error_handler)
    return lambda namespace: PostgresAdapter(
        namespace,
        shared,
        channel_prefix,
        threshold=payload_threshold,
        heartbeat_interval=heartbeat_interval,
        heartbeat_timeout=heartbeat_timeout,
        request_timeout=request_timeout,
    )


def write(message: Message, dumps: Callable[[Any], str], threshold: int) -> tuple[bytes, tuple[str, str] | None]:
    """What is published for a message: a notification; or a row, and the notification before and behind its number.

    :raises TypeError: something in it is neither JSON nor bytes.
    """
    message = in_order(message)
    try:
        text = dumps(message).encode()
    except BinaryFound:
        pass
    else:
        if len(text) <= min(threshold, MAX_NOTIFICATION):
            return text, None
    header = json.dumps({"uid": message["uid"], "type": message["type"], "attachmentId": ""}, separators=(",", ":"))
    return pack(message, dumps), (header[:-2], header[-2:])


def read_header(notification: bytes) -> tuple[Message, int | None]:
    """A notification, and the number of the row that it stands for.

    :raises ValueError: it makes no sense.
    """
    message = json.loads(notification)
    if not isinstance(message, dict):
        raise ValueError("not a message of the cluster")
    number = message.get("attachmentId")
    if not number:
        return message, None
    digits = str(number) if type(number) in (str, int) else ""
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) <= _LARGEST_ID):
        raise ValueError("not the number of a row")
    return message, int(digits)


class PostgresAdapter(ClusterAdapterWithHeartbeat):
    """See :func:`postgres_adapter`; there is no connection state recovery with it, here or in Node.

    :param shared: gives the bus of a process.
    :param threshold: the bytes that a notification may have.
    """

    def __init__(
        self, namespace: Namespace, shared: SharedBus, prefix: str, *, threshold: int, **options: float
    ) -> None:
        super().__init__(namespace, **options)
        self._shared = shared
        self._threshold = threshold
        self._channel = f"{prefix}#{namespace.name}"
        self._bus: PostgresBus | None = None
        self._subscription: Subscription | None = None

    def start(self) -> None:
        if len(self._channel.encode("utf-8", "surrogatepass")) > MAX_NAME:
            logger.error(
                "%r reaches only its own clients: the name of its channel, %r, is longer than the %d bytes of Postgres",
                self._namespace,
                self._channel,
                MAX_NAME,
            )
            return
        reactor = self._namespace.server.reactor
        bus = self._shared.join(reactor, self)
        assert isinstance(bus, PostgresBus)
        self._subscription = subscription = bus.subscribe([self._channel], (), self._on_notification)
        self._bus = bus
        if reactor.may_wait():
            subscription.wait_subscribed(_SETTLE)
        super().start()

    def close(self) -> None:
        super().close()
        if self._subscription is not None:
            self._subscription.close()
        self._shared.leave(self)

    def hears_others(self) -> bool:
        return self._bus is None or not self._bus.outage.lasts

    # -- what goes out ------------------------------------------------------------------------------------------

    def publish(self, message: Message) -> None:
        bus = self._bus
        if bus is None:
            return
        payload, around = write(message, dumps_of(self._namespace.server.json), self._threshold)
        if around is None:
            bus.publish(self._channel, payload)
        else:
            self.check_attachments(message)
            bus.publish_row(self._channel, payload, *around)

    # -- what comes in (on the bus's reader) --------------------------------------------------------------------

    def _on_notification(self, channel: str, payload: bytes) -> None:
        node, bus = self._node, self._bus
        if node is None or node.closed or bus is None:
            return
        try:
            message, number = read_header(payload)
            if message.get("uid") == node.uid:
                return
            if number is not None:
                row = bus.row(number)
                if row is None:
                    raise ValueError(f"there is no row {number}: is cleanup_interval the same on all servers?")
                message = unpack(row)
                if not isinstance(message, dict):
                    raise ValueError("not a message of the cluster")
            message.setdefault("nsp", self._namespace.name)  # Node's emitter leaves it out
        except ConnectionError:
            raise  # it will come again
        except Exception as error:  # junk, of whatever kind
            self.report_junk(error)
            return
        self.on_message(message)
