"""The bridge to old servers: Flask-SocketIO's and python-socketio's processes on the same bus, while one moves over.

It stands beside another adapter, which connects the servers of this package, and listens on the old ones' channel.
Each process of ours hears what they publish and gives it to its own clients only, so nothing has to be passed on; while
nobody publishes there it costs one subscription.  With ``old_servers`` what is done here is published there too, for
the clients that are still connected to them; the processes of ours know it by its host id, and leave it alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from ...logtext import one_line
from ...runtime import Rank, make_lock, tell_in_child
from ...socketio.adapter import AckCollector, Adapter
from ...socketio.broadcast_options import NOBODY, BroadcastOptions, Room
from ...socketio.handlers import check_event
from ...socketio.jsoncodec import dumps_of
from ...socketio.packet import EVENT, Packet
from ..bus import Bus, SharedBus, Subscription
from ..bus.urls import bus_at
from ..messages import encode_rooms
from ..socket_id_rooms import looks_like_an_id
from . import flask_socketio_messages
from .delegating_adapter import DelegatingAdapter
from .emitter_formats import memberships
from .flask_socketio_bridge_acks import AnswerOnce, WithOldServers
from .flask_socketio_messages import OURS, Answer, Callback, Emit, Membership, OldMessage

if TYPE_CHECKING:
    from ...socketio.interfaces import NamespaceInterface
    from ...socketio.namespace import Namespace

logger = logging.getLogger("wsgi_sio.adapters")

MakeAdapter = Callable[["Namespace"], Adapter]

# How long the client that comes first waits until the process hears the old ones (seconds).
_FIRST = 1.0
# How long an acknowledgement from an old server's client is waited for, unless it is said (seconds).
_PATIENCE = 60.0


def bridged(
    adapter: MakeAdapter, bus: SharedBus | str, *, channel: str = "flask-socketio", old_servers: bool = False
) -> Bridge:
    """What makes the adapters of a server that is also reached by old processes.

    :param adapter: makes the adapter that connects the servers of this package.
    :param bus: that of ``adapter``, or a URL, which means connections of its own.
    :param channel: the old processes' channel: ``socketio`` for python-socketio, unless they say otherwise.
    :param old_servers: some of them have clients, which are to get what is emitted here.
    :raises ValueError: there is no bus for the URL's scheme.
    """
    return Bridge(adapter, bus_at(bus, [channel]) if isinstance(bus, str) else bus, channel, old_servers)


class _Ear(NamedTuple):
    """What listens.

    :ivar user: under which the bus is shared.
    """

    user: object
    bus: Bus
    subscription: Subscription


class Bridge:
    """One for all namespaces of a process: hears the old ones, and speaks to them.

    :ivar speaks: whether old servers have clients.
    """

    def __init__(self, adapter: MakeAdapter, bus: SharedBus, channel: str, speaks: bool) -> None:
        self.speaks = speaks
        self._make_adapter = adapter
        self._shared = bus
        self._channel = channel
        self._lock = make_lock(Rank.ADAPTER)  # guards the rest
        self._told: set[str] = set()
        self._begin()
        tell_in_child(self)

    def after_fork(self) -> None:
        """See :class:`Forkable`: the child's adapters join by themselves."""
        self._lock = make_lock(Rank.ADAPTER)
        self._begin()

    def _begin(self) -> None:
        self._host = flask_socketio_messages.our_host()
        self._adapters: dict[str, tuple[BridgedAdapter, ...]] = {}  # its values are replaced, never changed
        self._ear: _Ear | None = None
        self._asked: dict[int, WithOldServers] = {}
        self._numbers = count(1)

    def __call__(self, namespace: Namespace) -> BridgedAdapter:
        return BridgedAdapter(namespace, self._make_adapter(namespace), self)

    # -- who of this process takes part -------------------------------------------------------------------------

    def join(self, adapter: BridgedAdapter, namespace: NamespaceInterface, patience: float = 0.0) -> None:
        """Have ``adapter`` hear what is for its namespace; nothing happens the second time.

        :param patience: seconds to wait until the old ones are heard, if nobody has joined before.
        """
        with self._lock:
            others = self._adapters.get(namespace.name, ())
            if adapter in others:
                return
            deaf = self._ear is None
            self._adapters[namespace.name] = (*others, adapter)
        if deaf:
            try:
                self._listen(namespace, patience)
            except Exception as error:  # a bus that cannot even be made; clients are served all the same
                self._tell_once("old processes cannot be heard", error)
                self.leave(adapter, namespace.name)

    def _listen(self, namespace: NamespaceInterface, patience: float) -> None:
        user = object()
        bus = self._shared.join(namespace.server.reactor, user)
        made = _Ear(user, bus, bus.subscribe([self._channel], [], self._on_message))
        with self._lock:
            wanted = bool(self._adapters) and self._ear is None
            if wanted:
                self._ear = made
        if not wanted:
            self._stop(made)
        elif patience:
            made.subscription.wait_subscribed(patience)

    def leave(self, adapter: BridgedAdapter, name: str) -> None:
        """``adapter`` is closed; the last one ends the listening."""
        with self._lock:
            others = tuple(other for other in self._adapters.get(name, ()) if other is not adapter)
            if others:
                self._adapters[name] = others
            else:
                self._adapters.pop(name, None)
            ended = None
            if not self._adapters:
                ended, self._ear = self._ear, None
        if ended is not None:
            self._stop(ended)

    def _stop(self, ear: _Ear) -> None:
        ear.subscription.close()
        self._shared.leave(ear.user)

    # -- hearing (on the bus's reader: nothing may block) -------------------------------------------------------

    def _on_message(self, channel: str, payload: bytes) -> None:
        if flask_socketio_messages.is_ours(payload):
            return
        try:
            host, message = flask_socketio_messages.decode(payload)
            self._receive(host, message)
        except Exception as error:
            self._tell_once(f"what is published on the channel {channel!r} makes no sense here", error)

    def _receive(self, host: str, message: OldMessage) -> None:
        if isinstance(message, Answer):
            asked = self._asked.pop(message.callback.id, None) if host == self._host else None
            if asked is not None:
                asked.answer_of_old(message.args)
        elif not host.startswith(OURS):
            for adapter in self._adapters.get(message.namespace, ()):
                if isinstance(message, Emit):
                    adapter.take_event(message)
                else:
                    adapter.take_membership(message)

    def _tell_once(self, what: str, error: Exception) -> None:
        text = f"{what} (told once): {one_line(str(error))}"
        with self._lock:
            kind = what if str(error) != flask_socketio_messages.OLD_PICKLE else str(error)
            level = logging.DEBUG if kind in self._told else logging.WARNING
            self._told.add(kind)
        logger.log(level, "%s", text)

    # -- speaking -----------------------------------------------------------------------------------------------

    def publish(self, payload: bytes) -> None:
        """Send it to the old ones."""
        ear = self._ear
        if ear is not None:
            ear.bus.publish(self._channel, payload)

    def tell_event(
        self, packet: Packet, options: BroadcastOptions, namespace: NamespaceInterface, ack: int | None
    ) -> None:
        """Have the old servers' clients get an event."""
        rooms = encode_rooms(options.rooms) if options.rooms else None
        skip, dumps = encode_rooms(options.except_), dumps_of(namespace.server.json)
        try:
            payload = flask_socketio_messages.emit(self._host, packet.nsp, packet.data, rooms, skip, ack, dumps)
        except TypeError as error:
            self._tell_once("an event cannot be written for the old servers", error)
        else:
            self.publish(payload)

    def tell_answer(self, callback: Callback, args: list[Any]) -> None:
        """Give the old one that has asked a client of ours what that has answered."""
        try:
            self.publish(flask_socketio_messages.answer(callback, args))
        except TypeError as error:
            self._tell_once("an acknowledgement cannot be written for the old servers", error)

    def tell_membership(self, method: str, nsp: str, options: BroadcastOptions, rooms: frozenset[Room]) -> None:
        """Have old servers do it to their clients, if they have words for that."""
        changes = memberships(method, nsp, options, rooms)
        if not changes:
            hint = LookupError("they know single clients by their ids, and whole rooms only to close them")
            self._tell_once(f"old servers cannot be told such a change ({method})", hint)
        try:
            for change in changes:
                self.publish(flask_socketio_messages.membership(self._host, change))
        except TypeError as error:
            self._tell_once("a change of rooms cannot be written for the old servers", error)

    def ask(self, acks: WithOldServers, namespace: NamespaceInterface, seconds: float) -> int:
        """Expect an acknowledgement of an old server's client; the number that it is to bring."""
        number = next(self._numbers)
        self._asked[number] = acks
        namespace.server.reactor.expire_after(seconds, partial(self._give_up, number))
        return number

    def _give_up(self, number: int) -> None:
        self._asked.pop(number, None)


class BridgedAdapter(DelegatingAdapter):
    """An adapter with the bridge beside it."""

    def __init__(self, namespace: Namespace, inner: Adapter, bridge: Bridge) -> None:
        super().__init__(namespace, inner)
        self._bridge = bridge
        self._name = namespace.name

    # -- what old processes want --------------------------------------------------------------------------------

    def take_event(self, message: Emit) -> None:
        """An event for clients of ours.

        :raises Exception: it cannot be sent to them.
        """
        check_event(message.data[0])
        rooms = message.rooms
        whom = frozenset() if rooms is None else rooms or NOBODY
        options = BroadcastOptions(whom, message.skip, local=True, posted=True)
        packet = Packet(EVENT, self._name, message.data)
        if message.callback is None:
            self.inner.broadcast(packet, options)
        elif self.inner.local_sockets(options):
            self.inner.broadcast_with_ack(packet, options, AnswerOnce(self._bridge.tell_answer, message.callback))

    def take_membership(self, message: Membership) -> None:
        """Something to do to a client of ours, or a room."""
        if message.method == "close_room":
            room = frozenset([message.room])
            self.inner.del_sockets(BroadcastOptions(room, local=True), room)
            return
        socket = self._namespace.sockets.get(str(message.sid))
        if socket is None:
            return
        if message.method == "disconnect":
            socket.disconnect()
        elif message.method == "enter_room":
            socket.join([message.room])
        else:
            socket.leave(message.room)

    # -- what the namespace asks for ----------------------------------------------------------------------------

    def open(self, sid: str) -> None:
        self._bridge.join(self, self._namespace, _FIRST)
        self.inner.open(sid)

    def _tells(self, options: BroadcastOptions) -> bool:
        """Whether the old ones are to know; whoever emits takes part."""
        if not self._bridge.speaks or options.stays_here:
            return False
        self._bridge.join(self, self._namespace)
        return True

    def broadcast(self, packet: Packet, options: BroadcastOptions) -> None:
        self.inner.broadcast(packet, options)
        if self._tells(options):
            self._bridge.tell_event(packet, options, self._namespace, None)

    def broadcast_with_ack(self, packet: Packet, options: BroadcastOptions, acks: AckCollector) -> None:
        if not self._tells(options):
            self.inner.broadcast_with_ack(packet, options, acks)
            return
        number = None
        if len(options.rooms) == 1:  # they can ask one client only
            acks = both = WithOldServers(acks)
            seconds = _PATIENCE if options.timeout is None else options.timeout
            number = self._bridge.ask(both, self._namespace, seconds)
        self.inner.broadcast_with_ack(packet, options, acks)
        self._bridge.tell_event(packet, options, self._namespace, number)

    def add_sockets(self, options: BroadcastOptions, rooms: frozenset[Room]) -> None:
        self.inner.add_sockets(options, rooms)
        if self._tells(options):
            self._bridge.tell_membership("enter_room", self._name, options, rooms)

    def del_sockets(self, options: BroadcastOptions, rooms: frozenset[Room]) -> None:
        self.inner.del_sockets(options, rooms)
        if self._tells(options):
            self._bridge.tell_membership("leave_room", self._name, options, rooms)

    def disconnect_sockets(self, options: BroadcastOptions, close: bool) -> None:
        self.inner.disconnect_sockets(options, close)
        if self._tells(options):
            self._bridge.tell_membership("disconnect", self._name, options, frozenset())

    def is_elsewhere(self, sid: object) -> bool:
        if self.inner.is_elsewhere(sid):
            return True
        return self._bridge.speaks and looks_like_an_id(sid) and not self.inner.room_size(sid)

    def is_alone(self) -> bool:
        return self.inner.is_alone() and not self._bridge.speaks

    def close(self) -> None:
        self.inner.close()
        self._bridge.leave(self, self._name)
