"""RemoteSocket: a client of another server of the cluster; what is done with it goes through the adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from ..logtext import quote
from .acks import BlockingAck, BroadcastAcks, CallbackAck
from .broadcast_operator import Sends
from .handlers import check_event
from .plain_values import is_plain, portable

if TYPE_CHECKING:
    from .broadcast_operator import BroadcastOperator
    from .broadcast_options import Room
    from .interfaces import SocketInterface
    from .namespace import Namespace


@dataclass(frozen=True, slots=True)
class RemoteHandshake:
    """What is known of another server's :class:`Handshake`: all of it but the WSGI environ."""

    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    auth: dict[str, Any] = field(default_factory=dict)
    url: str = ""
    address: str = ""
    issued: int = 0
    time: str = ""
    secure: bool = False
    xdomain: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> RemoteHandshake:
        """Read what another server has written; other kinds of servers know more, or less."""
        return cls(**{name: values[name] for name in _HANDSHAKE if name in values})


_HANDSHAKE = tuple(field.name for field in fields(RemoteHandshake))


class RemoteOperator(Sends):
    """How to emit to one remote socket: what its ``volatile``, ``compress`` and ``timeout`` return. Immutable."""

    __slots__ = ("_operator", "_patience")

    def __init__(self, operator: BroadcastOperator, patience: float) -> None:
        self._operator = operator
        self._patience = patience  # seconds to wait for an acknowledgement, unless timeout() says otherwise

    @property
    def volatile(self) -> RemoteOperator:
        """See :attr:`Socket.volatile`."""
        return RemoteOperator(self._operator.volatile, self._patience)

    def compress(self, compress: bool) -> RemoteOperator:
        """See :meth:`Socket.compress`."""
        return RemoteOperator(self._operator.compress(compress), self._patience)

    def timeout(self, seconds: float) -> RemoteOperator:
        """See :meth:`Socket.timeout`."""
        return RemoteOperator(self._operator.timeout(seconds), self._patience)

    def emit(self, event: str, *args: Any, callback: Callable[..., Any] | None = None) -> bool:
        """Send an event to the client.

        :param callback: called, as a job, with the first argument of the client's acknowledgement; after
            :meth:`timeout` with an error (or None) before it, and then also when none comes.
        :return: True; whether the client is still there is not known here.
        :raises LocalProtocolError: the event's name is reserved.
        """
        if callback is None:
            return self._operator.emit(event, *args)
        submit = self._operator.namespace.server.submit
        with_error = self._operator.options.timeout is not None
        waiter = CallbackAck(callback, lambda func, *answer: submit(partial(func, *answer)), with_error)
        self._ask(event, args, waiter, None)
        return True

    def emit_with_ack(self, event: str, *args: Any, timeout: float | None = None) -> Any:
        """Send an event and block until the client acknowledges it.

        :param timeout: seconds; None waits as long as :meth:`timeout` has said, or else the adapter's time for
            requests.
        :return: the first argument of the acknowledgement: more do not come through the cluster.
        :raises AckTimeout: none came in time.
        :raises Disconnected: no server of the cluster has the client any more.
        """
        waiter = BlockingAck(self._operator.namespace.server.reactor)
        self._ask(event, args, waiter, timeout)
        return waiter.wait(None)

    def _ask(self, event: str, args: tuple[Any, ...], waiter: BlockingAck | CallbackAck, timeout: float | None) -> None:
        check_event(event)
        seconds = timeout if timeout is not None else self._operator.options.timeout
        operator = self._operator.timeout(self._patience if seconds is None else seconds)
        operator.collect(event, args, _OneAnswer(partial(_tell, waiter)))


class RemoteSocket(RemoteOperator):
    """A client of another server, as it was when :meth:`BroadcastOperator.fetch_sockets` asked.

    It is used like a :class:`Socket`, but has no listeners, and one argument is all that comes back of an
    acknowledgement.

    :ivar id: as that server knows it.
    :ivar nsp: its namespace, as this server has it.
    :ivar handshake: headers, query, auth and more of how it connected.
    :ivar rooms: a snapshot of those whose names can travel; :meth:`join` and :meth:`leave` do not change it.
    :ivar data: a snapshot of what can travel: None, booleans, numbers, strings, bytes, lists and dicts.
    """

    __slots__ = ("data", "handshake", "id", "nsp", "rooms")

    def __init__(self, namespace: Namespace, values: Mapping[str, Any], patience: float) -> None:
        """
        :param values: what :func:`describe` has given on the other server.
        :param patience: seconds to wait for acknowledgements, unless told otherwise.
        """
        self.id: str = values["id"]
        super().__init__(namespace.to(self.id), patience)
        self.nsp = namespace
        self.handshake = RemoteHandshake.of(values["handshake"])
        self.rooms: set[Room] = set(values["rooms"])
        self.data: dict[str, Any] = values.get("data", {})

    def __repr__(self) -> str:
        return f"<RemoteSocket {self.id} of {quote(self.nsp.name)}>"

    def join(self, room: Room | Iterable[Room]) -> None:
        """Make it join a room, or several."""
        self._operator.sockets_join(room)

    def leave(self, room: Room) -> None:
        """Make it leave a room."""
        self._operator.sockets_leave(room)

    def disconnect(self, close: bool = False) -> None:
        """See :meth:`Socket.disconnect`."""
        self._operator.disconnect_sockets(close)


class _OneAnswer(BroadcastAcks):
    """The acknowledgement of one client, with all the arguments that come."""

    __slots__ = ()

    def answer(self, args: list[Any]) -> None:
        super().answer([args])


def _tell(waiter: BlockingAck | CallbackAck, error: Exception | None, answers: list[list[Any]]) -> None:
    if error is not None:
        waiter.fail(error)
    elif answers:
        waiter.answer(answers[0])
    else:
        waiter.lost()  # no server has asked a client


def describe(socket: SocketInterface) -> dict[str, Any]:
    """What another server needs for its :class:`RemoteSocket`; this one's data is copied on the way."""
    handshake = {name: getattr(socket.handshake, name) for name in _HANDSHAKE}
    rooms = sorted(filter(is_plain, socket.rooms), key=repr)
    described: dict[str, Any] = portable({"id": socket.id, "handshake": handshake, "rooms": rooms, "data": socket.data})
    return described
