"""ClusterAdapterWithHeartbeat: for buses that cannot tell who listens, the servers tell each other."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..runtime import PIECES, HeardTime, Rank, Timer, make_lock, sleepless_clock
from . import messages
from .adapter import ClusterAdapter
from .cluster_node import Audience, ClusterNode
from .messages import Message
from .pending_requests import Others

if TYPE_CHECKING:
    from ..socketio.namespace import Namespace

logger = logging.getLogger("wsgi_sio.adapters")


class ClusterAdapterWithHeartbeat(ClusterAdapter):
    """Knows the other servers by the messages they send, so that requests do not wait for those that have died.

    A server that has just started knows none until they have answered its first message: what it asks before that, it
    asks too few.

    :param heartbeat_interval: seconds after its last message when a server shows that it is alive.
    :param heartbeat_timeout: seconds without a message after which a server is taken for dead.
    """

    def __init__(
        self,
        namespace: Namespace,
        *,
        heartbeat_interval: float = 5.0,
        heartbeat_timeout: float = 10.0,
        request_timeout: float = 5.0,
    ) -> None:
        super().__init__(namespace, request_timeout=request_timeout)
        self._interval = heartbeat_interval
        self._timeout = heartbeat_timeout
        self._peers_lock = make_lock(Rank.ADAPTER)  # guards the three below
        self._heard = HeardTime(heartbeat_timeout / PIECES)
        self._seen: dict[str, float] = {}  # when each of the other servers was heard of, in that time
        self._left: dict[str, float] = {}  # when it said goodbye, which late messages must not undo
        self._published = 0.0
        self._timer: Timer | None = None

    def start(self) -> None:
        super().start()
        with self._peers_lock:
            self._seen, self._left = {}, {}  # a fork has inherited them
            self._heard = HeardTime(self._timeout / PIECES)
        self._show(messages.INITIAL_HEARTBEAT)
        self._tick()

    def _leave(self, node: ClusterNode) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            self.publish(self._message(node, messages.ADAPTER_CLOSE, None))
        except Exception as error:
            logger.warning("%r could not say goodbye to other servers: %r", self._namespace, error)

    def hears_others(self) -> bool:
        """Whether other servers could be heard just now; while they cannot, none is taken for dead."""
        return True

    def server_count(self) -> int:
        self.join_cluster()
        return 1 + len(self._seen)

    def _others(self, node: ClusterNode) -> Others:
        with self._peers_lock:
            return frozenset() if node.closed else frozenset(self._seen)

    def _publish(self, audience: Audience, kind: int, data: dict[str, Any] | None = None) -> None:
        self._published = sleepless_clock()
        super()._publish(audience, kind, data)

    def _show(self, kind: int) -> None:
        """Let the other servers know that this one lives."""
        node = self._node
        if node is not None:
            self._announce(Audience(node, frozenset, self.publish), kind)

    def _receive(self, node: ClusterNode, message: Message) -> None:
        sender, kind = message["uid"], message["type"]
        if kind == messages.ADAPTER_CLOSE:
            self._forget(node, sender, for_good=True)
            return
        if sender != messages.EMITTER:
            with self._peers_lock:
                if sender not in self._left:
                    self._seen[sender] = self._heard.read()
        if kind == messages.INITIAL_HEARTBEAT:
            node.outbox.put(self._show, messages.HEARTBEAT, cost=1)
        elif kind != messages.HEARTBEAT:
            super()._receive(node, message)

    def _forget(self, node: ClusterNode, uid: str, for_good: bool = False) -> None:
        with self._peers_lock:
            self._seen.pop(uid, None)
            if for_good:
                self._left[uid] = self._heard.read()
        node.excuse(uid)

    def _tick(self) -> None:
        """Forget the dead, show that this server lives, and come again when the next of both may be due."""
        node = self._node
        if node is None or node.closed:
            return
        now = sleepless_clock()
        with self._peers_lock:
            judges, heard = self._heard.look(), self._heard.read()
            if not self.hears_others():
                self._seen = dict.fromkeys(self._seen, heard)
            dead = [uid for uid, seen in self._seen.items() if judges and heard - seen >= self._timeout]
            self._left = {uid: since for uid, since in self._left.items() if heard - since < self._timeout}
        for uid in dead:
            logger.warning("%r has not heard of the server %s for %g s", self._namespace, uid, self._timeout)
            self._forget(node, uid)
        if now - self._published >= self._interval:
            self._published = now
            node.outbox.put(self._show, messages.HEARTBEAT, cost=1)
        with self._peers_lock:
            ends = [self._heard.until(seen + self._timeout) for seen in self._seen.values()]
            delay = max(0.01, min([self._published + self._interval - now, *ends]))
            self._heard.expect_look(delay)
        self._timer = self._namespace.server.reactor.call_later(delay, self._tick)
