"""WorkersAdapter: the processes of one server, which have joined as siblings.  It is what every server has by default.

Alone it is the adapter of one process, at the same cost, and with rooms of every kind.  With siblings a broadcast is
encoded once, by the process that emits, and goes to each of them as its clients get it; a room that is a client's id
goes to the one process that the id names.  Everything else is a message of the cluster (messages.py).  Nobody waits for
a sibling but who has asked it something, and the death of one ends that at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ...siblings import FrameTooLarge, Link, Siblings, encode
from ...socketio.adapter import AckCollector, Adapter
from ...socketio.broadcast_options import BroadcastOptions
from ...socketio.encoded_events import decode, wrap
from ...socketio.jsoncodec import dumps_of
from ...socketio.memory_adapter import MemoryAdapter
from ...socketio.packet import Packet
from ..adapter import AcksForAnother, ClusterAdapter
from ..cluster_node import Audience, ClusterNode
from ..messages import Message, encode_rooms
from ..pending_requests import AckRequest
from ..socket_id_rooms import Namesakes, tag_in
from . import frame_payloads
from .frame_payloads import Batch
from .message_router import Correspondent, MessageRouter

if TYPE_CHECKING:
    from ...socketio.namespace import Namespace
    from ...socketio.server import Server

logger = logging.getLogger("wsgi_sio.adapters")


def workers(server: Server) -> Callable[[Namespace], WorkersAdapter]:
    """What makes the adapters of ``server``."""
    router = MessageRouter(server)
    return lambda namespace: WorkersAdapter(namespace, router)


@dataclass(frozen=True, slots=True)
class _Workers(Audience):
    """Siblings.

    :ivar names: what stands for the links to them, from the beginning: one that ends meanwhile would get another name,
        and nobody be excused by that.
    """

    names: dict[Link, str]


class WorkersAdapter(ClusterAdapter, Correspondent):
    """See the module's text.

    :ivar closed: whether it has left the cluster.
    """

    def __init__(self, namespace: Namespace, router: MessageRouter, *, request_timeout: float = 5.0) -> None:
        super().__init__(namespace, request_timeout=request_timeout)
        self.closed = False
        self._router = router
        self._topic = namespace.name
        self._namesakes = Namesakes(namespace.name, self.room_size)
        self._joining = namespace.server.engine.joining

    # -- who is there -------------------------------------------------------------------------------------------

    def is_alone(self) -> bool:
        return self._joining.company is None

    def is_elsewhere(self, sid: object) -> bool:
        tag = tag_in(sid)
        return tag is not None and any(link.tag == tag for link in self._find_links(None))

    def look_around(self) -> None:
        if not self._joining.settled:
            self._joining.settle()

    def server_count(self) -> int:
        return 1 + len(self._find_links(None))

    def _find_links(self, options: BroadcastOptions | None) -> Sequence[Link]:
        """Those to the siblings that may have clients for a broadcast with ``options``, or (None) the namespace."""
        if options is not None and options.stays_here:
            return ()
        if not self._joining.settled:
            self._joining.settle()
        siblings = self._router.siblings
        if siblings is None or self.closed or not siblings.links():
            return ()
        links = siblings.links(self._topic)
        return links if not links or options is None else self._narrow(siblings, links, options)

    def _narrow(self, siblings: Siblings, links: Sequence[Link], options: BroadcastOptions) -> Sequence[Link]:
        """Leave out the siblings that have nobody in the room of one client, by its id, if that is meant."""
        if len(options.rooms) != 1:
            return links
        (room,) = options.rooms
        found = self._namesakes.find(siblings, links, room)
        return links if found is None else found

    def _audience(self, options: BroadcastOptions | None = None) -> Audience | None:
        return self._audience_of(self._find_links(options))

    def _audience_of(self, links: Sequence[Link]) -> Audience | None:
        if not links:
            return None
        node, names = self.join_cluster(), self._name(links)
        return _Workers(node, lambda: frozenset(names.values()), partial(self._publish_to, node, names), names)

    def _name(self, links: Sequence[Link]) -> dict[Link, str]:
        return {link: self._router.name_of(link) for link in links}

    # -- what the namespace asks for ----------------------------------------------------------------------------

    def begin(self) -> None:
        self._router.subscribe(self._topic)
        self._introduce()
        self._router.wait_until_heard()

    def _introduce(self) -> None:
        """Tell the siblings what else they are to know of the namespace."""

    def open(self, sid: str) -> None:
        MemoryAdapter.open(self, sid)

    def take_listeners(self, former: Adapter) -> None:
        super().take_listeners(former)
        if isinstance(former, WorkersAdapter):
            former._namesakes.stop_listening(self._listeners)

    def take_sibling(self, siblings: Siblings) -> None:
        self._namesakes.listen(siblings, self)
        with self._lock:
            rooms = list(self._members)
        self._namesakes.look_at(rooms)

    def broadcast(self, packet: Packet, options: BroadcastOptions) -> None:
        links: Sequence[Link] = ()
        if self._router.siblings is not None or not self._joining.settled:  # else alone, at no cost
            links = self._find_links(options)
        if not links:
            MemoryAdapter.broadcast(self, packet, options)
            return
        batch = self._namespace.server.encode(packet, options.compress)
        self._spread(links, batch, options)
        recipients = self.local_sockets(options)
        if recipients:
            self._deliver(recipients, packet.data, batch, options)

    def _spread(
        self, links: Sequence[Link], batch: list[Any], options: BroadcastOptions, request_id: str | None = None
    ) -> Sequence[Link]:
        """Send a broadcast to siblings.

        :return: the links to those that do not get it.
        :raises TypeError: a room cannot be named to them.
        """
        payload = frame_payloads.pack_batch(self._topic, options, [packet.data for packet in batch], request_id)
        try:
            frame = encode(frame_payloads.BATCH, 0, payload)
        except FrameTooLarge as error:
            logger.error("%r: an event reaches only the clients of this process: %s", self._namespace, error)
            return links
        return _send(links, frame)

    def _ask_for_acks(self, audience: Audience, packet: Packet, options: BroadcastOptions, acks: AckCollector) -> None:
        assert isinstance(audience, _Workers)
        batch = self._namespace.server.encode(packet, options.compress)
        encode_rooms(options.rooms | options.except_)
        request = AckRequest(audience.others(), acks)
        request_id = audience.node.ack_requests.add(request, self._patience(options))
        for link in self._spread([*audience.names], batch, options, request_id):
            audience.node.excuse(audience.names[link])

    def close(self) -> None:
        if self._roster is not None:
            self._roster.close()  # which tells the siblings, as long as it can
        self.closed = True
        super().close()
        self._router.unsubscribe(self._topic)
        self._namesakes.leave()

    # -- messages -----------------------------------------------------------------------------------------------

    def publish(self, message: Message) -> None:
        self._publish_to(self.join_cluster(), self._name(self._find_links(None)), message)

    def _publish_to(self, node: ClusterNode, names: dict[Link, str], message: Message) -> None:
        for link in _send([*names], encode(frame_payloads.MESSAGE, 0, self._pack(message))):
            node.excuse(names[link])

    def publish_response(self, requester: str, message: Message) -> None:
        link = self._router.link_named(requester)
        if link is not None:
            link.send(frame_payloads.MESSAGE, 0, self._pack(message))

    def _pack(self, message: Message) -> list[bytes]:
        return frame_payloads.pack_message(self._topic, message, dumps_of(self._namespace.server.json))

    def _respond(self, node: ClusterNode, requester: str, kind: int, data: dict[str, Any]) -> None:
        self._publish_response(node, requester, kind, data)  # at once, since links do not block

    # -- what siblings ask for (on the links' readers: nothing may block) ---------------------------------------

    def take_message(self, sender: str, message: dict[str, Any]) -> None:
        message["uid"] = sender
        self._receive(self.join_cluster(), message)

    def take_batch(self, sender: str, batch: Batch) -> None:
        recipients = self.local_sockets(batch.options)
        if batch.request_id is not None:
            acks = AcksForAnother(partial(self._respond, self.join_cluster(), sender), batch.request_id)
            self._take_question(batch, acks, bool(recipients))
        elif recipients:
            server, options = self._namespace.server, batch.options
            parts = batch.parts()
            listened = any(socket.listeners_any_outgoing for socket in recipients)
            data = decode(server, parts).data if listened else []
            self._deliver(recipients, data, wrap(parts, options.compress), options)

    def _take_question(self, batch: Batch, acks: AcksForAnother, anybody: bool) -> None:
        if not anybody:
            acks.server_asked(0)
            return
        packet = decode(self._namespace.server, batch.parts())
        MemoryAdapter.broadcast_with_ack(self, packet, batch.options, acks)

    def excuse(self, sender: str, request_id: str | None) -> None:
        node = self._node
        if node is None:
            return
        if request_id is None:
            node.excuse(sender)
        else:
            node.questions.update(request_id, lambda question: question.excuse_locked(sender))
            node.ack_requests.update(request_id, lambda request: request.excuse_locked(sender))


def _send(links: Sequence[Link], frame: bytes) -> list[Link]:
    """Send one frame to all: the links that have ended."""
    ended = [link for link in links if not link.place_encoded(frame)]
    for link in links:
        link.flush()
    return ended
