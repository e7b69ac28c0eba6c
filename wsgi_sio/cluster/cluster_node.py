"""Being a node of a cluster: joining it in the process that serves, publishing, asking, and what drivers have to do."""

from __future__ import annotations

import logging
import os
import secrets
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..exceptions import Disconnected
from ..runtime import SerialQueue
from ..socketio.broadcast_options import BroadcastOptions
from ..socketio.jsoncodec import dumps_of
from ..socketio.memory_adapter import MemoryAdapter
from . import messages
from .messages import Message, Received
from .pending_requests import AckRequest, Others, Question, Requests

if TYPE_CHECKING:
    from ..socketio.namespace import Namespace
    from ..socketio.server import Server

logger = logging.getLogger("wsgi_sio.adapters")

# How many jobs may wait, for a bus or a handler that is too slow, before a warning.
_MANY = 10_000


class ClusterNode:
    """What an adapter is in its cluster, for as long as its process lives: a fork makes another one.

    :ivar ready: set once it has started.
    :ivar outbox: publishes what nobody waits for, in order.
    :ivar events: runs the handlers of other servers' events, in order.
    """

    def __init__(self, server: Server) -> None:
        reactor = server.reactor
        self.uid = secrets.token_hex(8)
        self.pid = os.getpid()
        self.ready = reactor.event()
        self.closed = False
        self.on_gone: Callable[[str], object] = lambda uid: None  # called when another server has left
        self.questions: Requests[Question] = Requests(reactor)
        self.ack_requests: Requests[AckRequest] = Requests(reactor)
        self.outbox = SerialQueue(reactor.submit, limit=_MANY, owner=_Backlog("messages to other servers"))
        self.events = SerialQueue(server.submit, limit=_MANY, owner=_Backlog("events from other servers"))

    def excuse(self, uid: str) -> None:
        """Wait no more for what the server ``uid`` has been asked: it has left."""
        self.on_gone(uid)
        self.questions.excuse(uid)
        self.ack_requests.excuse(uid)


@dataclass(frozen=True, slots=True)
class Audience:
    """The other servers that something is for.

    :ivar node: this one.
    :ivar others: who they are, or how many: a driver may have to ask for that.
    :ivar publish: sends them a message.
    """

    node: ClusterNode
    others: Callable[[], Others]
    publish: Callable[[Message], None]


class NodeAdapter(MemoryAdapter):
    """The half of :class:`ClusterAdapter` that knows nothing of sockets, but how to reach the other servers."""

    _namespace: Namespace  # all of it, for the remote sockets

    def __init__(self, namespace: Namespace, *, request_timeout: float = 5.0) -> None:
        super().__init__(namespace)
        self.request_timeout = request_timeout
        self._node: ClusterNode | None = None
        self._cut_off = False  # the last message could not be published
        self._junk_seen = False

    def is_alone(self) -> bool:
        return False

    # -- for drivers --------------------------------------------------------------------------------------------

    @abstractmethod
    def publish(self, message: Message) -> None:
        """Send a message to all servers; :meth:`encode` writes it. Not kept after returning, for its data may change.

        May block: it is called by whoever emits, and by jobs, but by no I/O thread and inside no :meth:`on_message`.

        :raises TypeError: it cannot be written.
        :raises Exception: it cannot be sent; that is logged, and this server goes on alone.
        """

    def publish_response(self, requester: str, message: Message) -> None:
        """Send a message that is only for the server ``requester`` (a uid); others that get it ignore it."""
        self.publish(message)

    def start(self) -> None:
        """Connect, and have :meth:`on_message` called from now on; :attr:`uid` is known.

        Called once in each process. If the bus cannot be reached, go on trying rather than raise.
        """

    def encode(self, message: Message) -> bytes:
        """Write a message as JSON (by the server's ``json``), or as MessagePack if there are bytes in it.

        :raises TypeError: something in it is neither JSON nor bytes.
        :raises ValueError: it is a broadcast of more than ``max_attachments``.
        """
        encoded = messages.encode(message, dumps_of(self._namespace.server.json))
        if not encoded.startswith(b"{"):
            self.check_attachments(message)
        return encoded

    def check_attachments(self, message: Message) -> None:
        """See that an event with bytes can be sent to clients: none of any server could be sent what this one's cannot.

        :raises ValueError: it is a broadcast of more than ``max_attachments``.
        """
        if message["type"] == messages.BROADCAST:
            self._namespace.server.encode(messages.decode_packet(message["data"]["packet"], message["nsp"]))

    @property
    def uid(self) -> str:
        """This server's name in the cluster, another one in each process and namespace; empty before :meth:`start`."""
        return "" if self._node is None else self._node.uid

    def on_message(self, received: Received) -> None:
        """Take a message as another server has written it, or as a dict. From any thread; neither blocks nor raises."""
        node = self._node
        if node is None or node.closed:
            return
        try:
            message = messages.decode(received)
            if message["uid"] != node.uid and message["nsp"] == self._namespace.name:
                self._receive(node, message)
        except Exception as error:
            self.report_junk(error)

    def report_junk(self, error: Exception) -> None:
        """What has come makes no sense and has been dropped: tell it, once."""
        level, self._junk_seen = logging.DEBUG if self._junk_seen else logging.WARNING, True
        logger.log(level, "%r does not understand another server (told once)", self._namespace, exc_info=error)

    # -- being a part of the cluster ------------------------------------------------------------------------------

    @abstractmethod
    def server_count(self) -> int: ...

    def join_cluster(self) -> ClusterNode:
        """Become a part of the cluster; nothing happens the second time, but in a new process."""
        node = self._node
        if node is None or node.pid != os.getpid():
            made = ClusterNode(self._namespace.server)
            with self._lock:
                node = self._node
                if node is None or node.pid != made.pid:
                    node = self._node = made
            if node is made:
                self._start(node)
        if not node.ready.is_set():
            node.ready.wait()  # another thread is at it
        return node

    def _start(self, node: ClusterNode) -> None:
        try:
            self.start()
        except Exception:
            logger.exception("%r could not join its cluster", self._namespace)
        finally:
            node.ready.set()

    def close(self) -> None:
        """Leave the cluster: what other servers have been asked fails."""
        super().close()
        node = self._node
        if node is None or node.closed or node.pid != os.getpid():
            return
        node.closed = True
        error = Disconnected("this server has left the cluster before all others had answered")
        node.questions.close(error)
        node.ack_requests.close(error)
        self._leave(node)

    def _leave(self, node: ClusterNode) -> None:
        """Say goodbye, if that is of use."""

    def _audience(self, options: BroadcastOptions | None = None) -> Audience | None:
        """The other servers, of which those count that have clients for ``options``; None when it is for none."""
        if options is not None and options.stays_here:
            return None
        node = self.join_cluster()
        return Audience(node, partial(self._others, node), self.publish)

    def _others(self, node: ClusterNode) -> Others:
        """The other servers, as far as they are known."""
        return 0 if node.closed else self.server_count() - 1

    @abstractmethod
    def _receive(self, node: ClusterNode, message: Message) -> None:
        """Act on a message of another server, on the driver's thread: nothing may block.

        :raises Exception: it makes no sense.
        """

    # -- publishing -----------------------------------------------------------------------------------------------

    def _publish(self, audience: Audience, kind: int, data: dict[str, Any] | None = None) -> None:
        if audience.node.closed:
            raise Disconnected("this server has left the cluster")
        audience.publish(self._message(audience.node, kind, data))

    def _message(self, node: ClusterNode, kind: int, data: dict[str, Any] | None) -> Message:
        message: Message = {"uid": node.uid, "nsp": self._namespace.name, "type": kind}
        if data is not None:
            message["data"] = data
        return message

    def _announce(self, audience: Audience, kind: int, data: dict[str, Any] | None = None) -> None:
        """Publish; what goes wrong, but for data that cannot be written, is logged once until it works again."""
        if audience.node.closed:
            return
        try:
            self._publish(audience, kind, data)
        except (TypeError, ValueError):
            raise
        except Exception as error:
            level, self._cut_off = logging.DEBUG if self._cut_off else logging.ERROR, True
            logger.log(level, "%r reaches only its own clients: %r", self._namespace, error)
        else:
            self._cut_off = False

    def _ask(self, audience: Audience, question: Question, timeout: float, kind: int, data: dict[str, Any]) -> None:
        node = audience.node
        request_id = node.questions.add(question, timeout)
        try:
            self._publish(audience, kind, {**data, "requestId": request_id})
        except Exception as error:
            node.questions.give_up(request_id, error)

    def _respond(self, node: ClusterNode, requester: str, kind: int, data: dict[str, Any]) -> None:
        node.outbox.put(self._publish_response, node, requester, kind, data, cost=1)

    def _publish_response(self, node: ClusterNode, requester: str, kind: int, data: dict[str, Any]) -> None:
        if node.closed:
            return
        try:
            self.publish_response(requester, self._message(node, kind, data))
        except (TypeError, ValueError):
            logger.exception("%r cannot write an answer to another server", self._namespace)
            if data.get("packet") is not None:  # None is better than a time-out
                self._publish_response(node, requester, kind, {**data, "packet": None})
        except Exception as error:
            logger.error("%r could not answer another server: %r", self._namespace, error)


class _Backlog:
    """Warns when jobs pile up."""

    def __init__(self, what: str) -> None:
        self._what = what

    def mailbox_full(self) -> None:
        logger.warning("%d %s are waiting: is a handler or the bus too slow?", _MANY, self._what)

    def mailbox_has_room(self) -> None:
        """Good."""

    def mailbox_overflows(self) -> None:
        """It has been said."""
