"""ClusterAdapter: all that several servers need to be one, but for the way their messages travel.

The messages are those of Node's ClusterAdapter (messages.py), so that servers of both kinds can share a bus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from ..socketio.acks import gather
from ..socketio.adapter import AckCollector
from ..socketio.broadcast_options import BroadcastOptions, Room
from ..socketio.long_broadcasts import FEW, Send
from ..socketio.packet import Packet
from ..socketio.remote_socket import RemoteSocket, describe
from . import messages, socket_counts
from .cluster_node import Audience, ClusterNode, NodeAdapter
from .messages import Message
from .pending_requests import AckRequest, Question
from .presence import EVENT as PRESENCE
from .presence import ClusterRoster
from .socket_id_rooms import looks_like_an_id

if TYPE_CHECKING:
    from ..socketio.acks import Done
    from ..socketio.interfaces import SocketInterface
    from ..socketio.local_presence import Roster


class ClusterAdapter(NodeAdapter):
    """Rooms and broadcasts of a namespace over several servers.

    A driver says how messages travel: it implements :meth:`publish` and :meth:`server_count`, where it is of use
    :meth:`publish_response`, :meth:`start` and :meth:`close`, and gives what arrives to :meth:`on_message`.  It may
    lose messages (requests end by their time-out then); to repeat or reorder them does no harm to requests, but a
    repeated broadcast is sent twice.

    The server becomes a part of the cluster with its first client or broadcast, in the process that serves.

    :param request_timeout: seconds to wait for the answers of other servers.
    """

    _together: EventsTogether | None = None

    # -- what the namespace asks for ------------------------------------------------------------------------------

    def open(self, sid: str) -> None:
        self.join_cluster()
        super().open(sid)

    def is_elsewhere(self, sid: object) -> bool:
        return looks_like_an_id(sid) and not self.room_size(sid)  # nobody else's ids are known

    def broadcast(self, packet: Packet, options: BroadcastOptions) -> None:
        audience = self._audience(options)
        if audience is not None:
            opts = messages.encode_options(options)
            self._announce(audience, messages.BROADCAST, {"packet": messages.encode_packet(packet), "opts": opts})
        super().broadcast(packet, options)

    def broadcast_with_ack(self, packet: Packet, options: BroadcastOptions, acks: AckCollector) -> None:
        acks.await_servers(1)  # ourselves: not complete before our clients are asked, however fast the others answer
        audience = self._audience(options)
        if audience is not None:
            self._ask_for_acks(audience, packet, options, acks)
        super().broadcast_with_ack(packet, options, acks)
        acks.server_asked(0)

    def _ask_for_acks(self, audience: Audience, packet: Packet, options: BroadcastOptions, acks: AckCollector) -> None:
        opts = messages.encode_options(options)
        requests, request = audience.node.ack_requests, AckRequest(audience.others(), acks)
        request_id = requests.add(request, self._patience(options))
        data = {"packet": messages.encode_packet(packet), "opts": opts, "requestId": request_id}
        try:
            self._announce(audience, messages.BROADCAST, data)
        except Exception as error:
            requests.give_up(request_id, error)
            raise

    def fetch_sockets(self, options: BroadcastOptions) -> list[Any]:
        return self._ask_all(options, [*self.local_sockets(options)])

    def _ask_all(self, options: BroadcastOptions, found: list[Any], **wanted: Any) -> list[Any]:
        """Add to ``found`` what the other servers have for ``options``: sockets, unless something else is wanted."""
        audience = self._audience(options)
        others = 0 if audience is None else audience.others()
        if audience is None or not others:
            return found
        patience, data = self._patience(options), {"opts": messages.encode_options(options), **wanted}
        return gather(
            self._namespace.server.reactor,
            lambda done: self._ask(audience, Question(others, done, found), patience, messages.FETCH_SOCKETS, data),
        )

    def count_sockets(self, options: BroadcastOptions) -> int:
        here = super().count_sockets(options)
        return socket_counts.total(lambda: self._ask_all(options, [here], count=True))

    def count_rooms(self, options: BroadcastOptions, rooms: frozenset[Room] | None) -> dict[Room, int]:
        here = super().count_rooms(options, rooms)
        wanted = socket_counts.ALL_ROOMS if rooms is None else messages.encode_rooms(rooms)
        return socket_counts.by_room(lambda: self._ask_all(options, [here], count=wanted), rooms)

    def add_sockets(self, options: BroadcastOptions, rooms: frozenset[Room]) -> None:
        audience = self._audience(options)
        if audience is not None:
            self._announce_for(audience, messages.SOCKETS_JOIN, options, rooms=messages.encode_rooms(rooms))
        super().add_sockets(options, rooms)

    def del_sockets(self, options: BroadcastOptions, rooms: frozenset[Room]) -> None:
        audience = self._audience(options)
        if audience is not None:
            self._announce_for(audience, messages.SOCKETS_LEAVE, options, rooms=messages.encode_rooms(rooms))
        super().del_sockets(options, rooms)

    def disconnect_sockets(self, options: BroadcastOptions, close: bool) -> None:
        audience = self._audience(options)
        if audience is not None:
            self._announce_for(audience, messages.DISCONNECT_SOCKETS, options, close=close)
        super().disconnect_sockets(options, close)

    def _patience(self, options: BroadcastOptions) -> float:
        return self.request_timeout if options.timeout is None else options.timeout

    def _announce_for(self, audience: Audience, kind: int, options: BroadcastOptions, **data: Any) -> None:
        self._announce(audience, kind, {"opts": messages.encode_options(options), **data})

    def server_side_emit(self, data: list[Any], done: Done | None) -> None:
        audience = self._audience()
        message = {"packet": data}
        if done is None:
            if audience is not None:
                self._announce(audience, messages.SERVER_SIDE_EMIT, message)
        elif audience is not None and (others := audience.others()):
            self._ask(audience, Question(others, done, []), self.request_timeout, messages.SERVER_SIDE_EMIT, message)
        else:
            done(None, [])

    def publish_presence(self, told: dict[str, Any]) -> None:
        """Let the other servers know something about presence; may block."""
        audience = self._audience()
        if audience is not None:
            self._announce(audience, messages.SERVER_SIDE_EMIT, {"packet": [PRESENCE, told]})

    def _make_roster(self) -> Roster:
        return ClusterRoster(self._namespace, self)

    # -- what other servers ask for (on the driver's thread: nothing may block) -----------------------------------

    def _receive(self, node: ClusterNode, message: Message) -> None:
        sender, kind, data = message["uid"], message["type"], message.get("data") or {}
        if kind == messages.BROADCAST and data.get("requestId") is None:
            self._receive_broadcast(data)
            return
        self._send_what_waits()
        match kind:
            case messages.BROADCAST:
                self._receive_broadcast_with_ack(node, sender, data)
            case messages.SOCKETS_JOIN:
                super().add_sockets(messages.decode_options(data["opts"]), frozenset(data["rooms"]))
            case messages.SOCKETS_LEAVE:
                super().del_sockets(messages.decode_options(data["opts"]), frozenset(data["rooms"]))
            case messages.DISCONNECT_SOCKETS:
                super().disconnect_sockets(messages.decode_options(data["opts"]), bool(data.get("close")))
            case messages.FETCH_SOCKETS:
                self._receive_fetch(node, sender, data)
            case messages.SERVER_SIDE_EMIT:
                self._receive_event(node, sender, data)
            case messages.INITIAL_HEARTBEAT | messages.HEARTBEAT | messages.ADAPTER_CLOSE:
                pass  # the bus itself knows who is there
            case _:
                self._receive_response(node, sender, kind, data)

    def _receive_broadcast(self, data: Mapping[str, Any]) -> None:
        packet = messages.decode_packet(data["packet"], self._namespace.name)
        self._send_here(packet, messages.decode_options(data["opts"]))

    def _receive_broadcast_with_ack(self, node: ClusterNode, sender: str, data: Mapping[str, Any]) -> None:
        packet = messages.decode_packet(data["packet"], self._namespace.name)
        options = messages.decode_options(data["opts"])
        options = options._replace(timeout=self._patience(options))
        respond = partial(self._respond, node, sender)
        super().broadcast_with_ack(packet, options, AcksForAnother(respond, data["requestId"]))

    def _receive_fetch(self, node: ClusterNode, sender: str, data: dict[str, Any]) -> None:
        options, request_id, wanted = messages.decode_options(data["opts"]), data["requestId"], data.get("count")
        if wanted is None:
            node.outbox.put(self._describe_sockets, node, sender, options, request_id, cost=1)
            return
        answer = {"requestId": request_id, "sockets": [], "count": socket_counts.answer(self, options, wanted)}
        self._respond(node, sender, messages.FETCH_SOCKETS_RESPONSE, answer)

    def _send_here(self, packet: Packet, options: BroadcastOptions) -> None:
        """Send another server's event to clients; nobody is held back, even if it is for one that is far behind."""
        recipients = self.local_sockets(options)
        if not recipients:
            return
        batch = self._namespace.server.encode(packet, options.compress)
        together = self._together
        if together is not None and not options.volatile:
            together.add(recipients, packet.data, batch)
            return
        self._send_what_waits()  # or it would be overtaken
        self._deliver(recipients, packet.data, batch, options)

    @contextmanager
    def _taking_together(self) -> Iterator[None]:
        """What other servers send to a client leaves in one piece at the end; for a bus's one reader only."""
        together = self._together = EventsTogether()
        try:
            yield
        finally:
            self._together = None  # first, and whatever comes of it: what comes alone would wait for ever
            self._send_together(together)

    def _send_what_waits(self) -> None:
        if self._together is not None:
            self._send_together(self._together)

    def _send_together(self, together: EventsTogether) -> None:
        recipients, send = together.take()
        if self._long.under_way or len(recipients) > FEW:
            self._run_long(recipients, send, posted=True)
            return
        for socket in recipients:
            send(socket)

    def _describe_sockets(self, node: ClusterNode, sender: str, options: BroadcastOptions, request_id: str) -> None:
        sockets = [describe(socket) for socket in self.local_sockets(options)]
        data = {"requestId": request_id, "sockets": sockets}
        self._publish_response(node, sender, messages.FETCH_SOCKETS_RESPONSE, data)

    def _receive_event(self, node: ClusterNode, sender: str, data: dict[str, Any]) -> None:
        event, request_id = data["packet"], data.get("requestId")
        if not isinstance(event, list) or not event:
            raise ValueError("not an event")
        if event[0] == PRESENCE:
            roster = self.roster()
            assert isinstance(roster, ClusterRoster)
            roster.receive(sender, event[1])
            return
        if request_id is None:
            node.events.put(self._namespace.server_side_handlers.run, event, cost=1)
        else:  # not in order: the handlers of two servers that ask each other must not wait for one another
            self._namespace.server.submit(partial(self._answer_event, node, sender, event, request_id))

    def _answer_event(self, node: ClusterNode, sender: str, event: list[Any], request_id: str) -> None:
        answer = self._namespace.server_side_handlers.run(event)
        data = {"requestId": request_id, "packet": answer}
        self._respond(node, sender, messages.SERVER_SIDE_EMIT_RESPONSE, data)

    def _receive_response(self, node: ClusterNode, sender: str, kind: int, data: dict[str, Any]) -> None:
        request_id = data["requestId"]
        match kind:
            case messages.FETCH_SOCKETS_RESPONSE:
                found = self._read_sockets(data)
                node.questions.update(request_id, lambda question: question.answer_locked(sender, found))
            case messages.SERVER_SIDE_EMIT_RESPONSE:
                answer = data.get("packet")
                node.questions.update(request_id, lambda question: question.answer_locked(sender, [answer]))
            case messages.BROADCAST_CLIENT_COUNT:
                clients = int(data["clientCount"])
                node.ack_requests.update(request_id, lambda request: request.count_locked(sender, clients))
            case messages.BROADCAST_ACK:
                args = [data["packet"]] if "packet" in data else []
                number = data.get("number")
                node.ack_requests.update(request_id, lambda request: request.ack_locked(sender, number, args))
            case _:
                raise ValueError(f"unknown type of message {kind!r}")

    def _read_sockets(self, data: dict[str, Any]) -> list[Any]:
        if "count" in data:
            return [socket_counts.read(data["count"])]
        return [RemoteSocket(self._namespace, values, self.request_timeout) for values in data["sockets"]]


class EventsTogether:
    """Events of other servers that came together: each client is sent all of its own in one piece."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events: dict[SocketInterface, list[tuple[list[Any], list[Any]]]] = {}

    def add(self, recipients: Sequence[SocketInterface], data: list[Any], batch: list[Any]) -> None:
        """One more event, and what it is encoded to."""
        event = data, batch
        for socket in recipients:
            mine = self._events.get(socket)
            if mine is None:
                self._events[socket] = [event]
            else:
                mine.append(event)

    def take(self) -> tuple[Sequence[SocketInterface], Send]:
        """Those who are to be sent something, and what sends one of them all there is for it."""
        events, self._events = self._events, {}

        def send(socket: SocketInterface) -> None:
            if socket.gone:
                return
            for data, _ in events[socket]:
                socket.tell_outgoing(data)
            socket.conn.session.send([packet for _, batch in events[socket] for packet in batch])

        return list(events), send


class AcksForAnother:
    """Tells another server of the acknowledgements it has asked this one for."""

    __slots__ = ("_numbers", "_request_id", "_respond")

    def __init__(self, respond: partial[None], request_id: str) -> None:
        self._respond = respond
        self._request_id = request_id
        self._numbers = count()

    def await_servers(self, count: int) -> None:
        """It knows that."""

    def server_asked(self, clients: int) -> None:
        data = {"requestId": self._request_id, "clientCount": clients}
        self._respond(messages.BROADCAST_CLIENT_COUNT, data)

    def server_gone(self, clients: int) -> None:
        """Only this one has been asked."""

    def answer(self, args: list[Any]) -> None:
        # The number is ours, so that a message which comes twice counts once. Without an argument there is no "packet",
        # as where JavaScript's undefined is written.
        data = {"requestId": self._request_id, "number": next(self._numbers)}
        self._respond(messages.BROADCAST_ACK, {**data, "packet": args[0]} if args else data)

    def lost(self) -> None:
        """Its time-out tells it."""
