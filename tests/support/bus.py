"""A driver for clusters inside this process: a model for real ones, and a bus that misbehaves when told to.

Messages travel as bytes and arrive on a thread (or greenlet) per receiver, so that nothing is shared and no sender sees
a receiver's work.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from wsgi_sio import Namespace
from wsgi_sio.adapters import ClusterAdapter, ClusterAdapterWithHeartbeat
from wsgi_sio.cluster.messages import Message, decode

# What becomes of a message on its way to a receiver (a uid): the delays, in seconds, with which it comes.
Fate = Callable[[str, Message], list[float]]


class Inbox:
    """One receiver's messages, in order unless fate delays them."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self._receive = receive
        self._queue: queue.Queue[bytes | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, data: bytes, delay: float) -> None:
        if delay:
            threading.Timer(delay, self._queue.put, [data]).start()
        else:
            self._queue.put(data)

    def close(self) -> None:
        self._queue.put(None)

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            self._receive(data)


class Bus:
    """Channels with receivers.

    :ivar fate: decides on each delivery; None: everything arrives once and at once.
    :ivar broken: nothing can be sent.
    :ivar sent: all messages so far.
    """

    def __init__(self) -> None:
        self.fate: Fate | None = None
        self.broken = False
        self.sent: list[Message] = []
        self._lock = threading.Lock()
        self._channels: dict[str, dict[str, Inbox]] = {}

    def subscribe(self, channel: str, uid: str, inbox: Inbox) -> None:
        with self._lock:
            self._channels.setdefault(channel, {})[uid] = inbox

    def unsubscribe(self, channel: str, uid: str) -> None:
        with self._lock:
            self._channels.get(channel, {}).pop(uid, None)

    def count(self, channel: str) -> int:
        with self._lock:
            return len(self._channels.get(channel, {}))

    def send(self, channel: str, data: bytes) -> None:
        if self.broken:
            raise ConnectionError("the bus is down")
        message = decode(data)
        with self._lock:
            self.sent.append(message)
            receivers = list(self._channels.get(channel, {}).items())
        for uid, inbox in receivers:
            for delay in [0.0] if self.fate is None else self.fate(uid, message):
                inbox.put(data, delay)


class OverBus(ClusterAdapter):
    """What a driver is made of."""

    def __init__(self, namespace: Namespace, bus: Bus, **options: Any) -> None:
        super().__init__(namespace, **options)
        self.bus = bus
        self.channel = f"socket.io#{namespace.name}#"
        self.inbox: Inbox | None = None

    def publish(self, message: Message) -> None:
        self._send(self.channel, message)

    def publish_response(self, requester: str, message: Message) -> None:
        self._send(f"{self.channel}{requester}#", message)

    def _send(self, channel: str, message: Message) -> None:
        if self.inbox is not None:
            self.bus.send(channel, self.encode(message))

    def start(self) -> None:
        self.inbox = Inbox(self.on_message)
        self.bus.subscribe(self.channel, self.uid, self.inbox)
        self.bus.subscribe(f"{self.channel}{self.uid}#", self.uid, self.inbox)
        super().start()

    def close(self) -> None:
        super().close()
        self.die()

    def die(self) -> None:
        """Neither listen nor speak any more, without a word."""
        inbox, self.inbox = self.inbox, None
        if inbox is not None:
            self.bus.unsubscribe(self.channel, self.uid)
            self.bus.unsubscribe(f"{self.channel}{self.uid}#", self.uid)
            inbox.close()


class CountingAdapter(OverBus):
    """The bus knows how many listen."""

    def server_count(self) -> int:
        return max(1, self.bus.count(self.channel))


class HeartbeatAdapter(OverBus, ClusterAdapterWithHeartbeat):
    """The servers tell each other."""
