"""``socketio.server``: python-socketio's server as Flask-SocketIO's users know it, naming clients by session id."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from ..exceptions import AckTimeout, Disconnected
from ..refuse_async import refuse_async
from ..runtime import Task, threads_are_greenlets
from ..server import Server
from ..socketio.broadcast_operator import BroadcastOperator
from ..socketio.broadcast_options import Room, as_rooms
from ..socketio.dynamic_namespaces import ParentNamespace
from ..socketio.namespace import Namespace
from ..socketio.remote_socket import RemoteOperator
from ..socketio.socket import Socket
from .disconnect_reason import Reason
from .emit_parameters import as_arguments, as_clients, either
from .external_process import WriteOnlyServer
from .manager_and_eio import EngineView, EnvironView, ManagerView

# How long a callback waits for the answers of several clients (seconds).
_ANSWERS_WITHIN = 60.0


class PeerServer:
    """One app's server: methods by session id, over a :class:`wsgi_sio.Server`.

    A client whose ``connect`` handler is running already gets what is sent to it, to its rooms or to everybody:
    handlers start tasks that emit at once.

    :param elsewhere: reaches the clients of other processes in namespaces that this one does not have.
    :ivar io: the :class:`wsgi_sio.Server`, with the whole API of this package.
    """

    reason = Reason

    def __init__(self, io: Server, elsewhere: WriteOnlyServer | None = None) -> None:
        self.io = io
        self._others = elsewhere
        self._namespaces: dict[str, Namespace] = {}
        self._parents: list[ParentNamespace] = []
        self._admitting: WeakValueDictionary[tuple[str, str], Socket] = WeakValueDictionary()

    # -- which namespaces and clients there are (told by dispatcher.py) --------------------------------------------

    def add_namespace(self, namespace: Namespace) -> None:
        """Clients may join ``namespace``; or its children, if it is a parent."""
        if isinstance(namespace, ParentNamespace):
            self._parents.append(namespace)
        else:
            self._namespaces[namespace.name] = namespace

    def namespace(self, name: str | None) -> Namespace | None:
        """The namespace of that name, if clients may join it."""
        name = name or "/"
        found = self._namespaces.get(name)
        return found or next((parent.children[name] for parent in self._parents if name in parent.children), None)

    def namespaces(self) -> list[Namespace]:
        """All namespaces that clients may be in."""
        children = [child for parent in self._parents for child in list(parent.children.values())]
        return [*self._namespaces.values(), *children]

    def admit(self, socket: Socket) -> None:
        """The ``connect`` handler of ``socket`` is about to run."""
        self._admitting[socket.nsp.name, socket.id] = socket

    def admitted(self, socket: Socket) -> None:
        """It is over: the client is in, or refused."""
        self._admitting.pop((socket.nsp.name, socket.id), None)

    def socket(self, sid: Any, namespace: str | None) -> Socket | None:
        """The client of that id, one that is still connecting included; None for anything else."""
        found = self.namespace(namespace)
        if found is None:
            return None
        return found.sockets.get(sid) or self._admitting.get((found.name, sid))

    # -- sending ------------------------------------------------------------------------------------------------

    def emit(
        self,
        event: str,
        data: Any = None,
        to: Any = None,
        room: Any = None,
        skip_sid: Any = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """Send an event to everybody in ``namespace``, or in the room (or rooms) ``to``.

        :param data: the argument; None is none, a tuple is several.
        :param skip_sid: one or several clients to leave out.
        :param callback: called with the acknowledgement of the one client that ``to`` names, or with the list of the
            answers that several have given within a minute.
        :param ignore_queue: only to clients of this process; means nothing without a message queue.
        :raises LocalProtocolError: the event's name is reserved.
        :raises TypeError: an argument is not JSON and not bytes.
        :raises ValueError: there are more bytes values than ``max_attachments``.
        """
        nsp = self.namespace(namespace)
        ignore_queue = ignore_queue and self._others is not None
        if nsp is None:
            if self._others is not None and not ignore_queue:
                self._others.emit(event, data, to, room, skip_sid, namespace, callback)
            return
        target = either(to, room)
        args, rooms, skipped = as_arguments(data), None if target is None else as_rooms(target), as_clients(skip_sid)
        if callback is not None and rooms is not None and len(rooms) == 1:
            (room,) = rooms
            client = self.socket(room, nsp.name)
            elsewhere = self._elsewhere(room, nsp)
            if client is not None:
                client.emit(event, *args, callback=callback)
                return
            if elsewhere is not None and not ignore_queue:
                RemoteOperator(elsewhere, _ANSWERS_WITHIN).emit(event, *args, callback=callback)
                return
        early = self._early(nsp, rooms, skipped)
        for socket in early:
            socket.emit(event, *args)
        # Leaving those out by name is what keeps one that is let in just now from getting it twice.
        others = nsp.except_([*skipped, *(socket.id for socket in early)])
        others = others if rooms is None else others.to(rooms)
        others = others.local if ignore_queue else others
        if callback is None:
            others.emit(event, *args)
        else:
            refuse_async(callback, "the callback")
            others.timeout(_ANSWERS_WITHIN).emit(event, *args, callback=lambda error, answers: callback(answers))

    def _elsewhere(self, sid: Any, nsp: Namespace | None) -> BroadcastOperator | None:
        """The client of that id, if it can be told that it is another worker's."""
        return nsp.in_(sid) if nsp is not None and nsp.adapter.is_elsewhere(sid) else None

    def _early(self, nsp: Namespace, rooms: Collection[Any] | None, skipped: Collection[Any]) -> list[Socket]:
        """Those whose ``connect`` handler is running and who are meant: all, or those in ``rooms``."""
        if not self._admitting:
            return []
        everyone = [socket for reference in self._admitting.valuerefs() if (socket := reference()) is not None]
        here = [socket for socket in everyone if socket.nsp is nsp and socket.id not in skipped]
        return [socket for socket in here if rooms is None or not {socket.id, *socket.rooms}.isdisjoint(rooms)]

    def send(self, data: Any, to: Any = None, **kwargs: Any) -> None:
        """Send the event ``message``; see :meth:`emit`."""
        self.emit("message", data, to, **kwargs)

    def call(
        self,
        event: str,
        data: Any = None,
        to: Any = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float | None = 60,
        ignore_queue: bool = False,
    ) -> Any:
        """Send an event to one client, block until it acknowledges, and return that: None, one value or a tuple.

        :param to: the client's session id, or a room with nobody else in it; ``sid`` is the same.
        :param timeout: seconds; None: 60.
        :raises AckTimeout: no acknowledgement came in time, or can come any more; it is a :class:`TimeoutError`.
        :raises ValueError: it is not one client that is asked.
        """
        target = either(to, sid)
        rooms = () if target is None else as_rooms(target)
        if len(rooms) != 1:
            raise ValueError("call() asks one client: name it with to=sid")
        (room,) = rooms
        client = self.socket(room, namespace) or self._only_one(room, namespace)
        try:
            return client.emit_with_ack(event, *as_arguments(data), timeout=timeout)
        except Disconnected as gone:
            raise AckTimeout(str(gone)) from gone

    def _only_one(self, room: Room, namespace: str | None) -> Socket | RemoteOperator:
        nsp = self.namespace(namespace)
        elsewhere = self._elsewhere(room, nsp)
        if elsewhere is not None:  # what has the form of an id is one client's: old servers can be asked for no other
            return RemoteOperator(elsewhere, _ANSWERS_WITHIN)
        sockets = [] if nsp is None else nsp.in_(room).fetch_sockets()
        if not sockets:
            raise AckTimeout(f"nobody can answer: no client is, or is in, {room!r} of namespace {namespace or '/'!r}")
        if len(sockets) > 1:
            raise ValueError(f"call() asks one client, and {len(sockets)} are in {room!r}: use emit(callback=)")
        return sockets[0]

    # -- rooms --------------------------------------------------------------------------------------------------

    def enter_room(self, sid: str, room: Any, namespace: str | None = None) -> None:
        """Put a client, of whatever worker, into ``room``; nothing happens when it has gone."""
        socket = self.socket(sid, namespace)
        if socket is not None:
            socket.join([room])
        elif elsewhere := self._elsewhere(sid, self.namespace(namespace)):
            elsewhere.sockets_join([room])

    def leave_room(self, sid: str, room: Any, namespace: str | None = None) -> None:
        """Take a client, of whatever worker, out of ``room``."""
        socket = self.socket(sid, namespace)
        if socket is not None:
            socket.leave(room)
        elif elsewhere := self._elsewhere(sid, self.namespace(namespace)):
            elsewhere.sockets_leave([room])

    def close_room(self, room: Any, namespace: str | None = None) -> None:
        """Make everybody leave ``room``."""
        nsp = self.namespace(namespace)
        if nsp is not None:
            for socket in self._early(nsp, [room], []):
                socket.leave(room)
            nsp.in_([room]).sockets_leave([room])
        elif self._others is not None:
            self._others.close_room(room, namespace)

    def rooms(self, sid: str, namespace: str | None = None) -> list[Any]:
        """The rooms of a client of this process, its own first; ``fetch_sockets()`` knows those of others."""
        socket = self.socket(sid, namespace)
        return [] if socket is None else [socket.id, *(socket.rooms - {socket.id})]

    # -- about one client ---------------------------------------------------------------------------------------

    def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Disconnect a client, of whatever worker, from the namespace."""
        socket = self.socket(sid, namespace)
        if socket is not None:
            socket.disconnect()
        elif elsewhere := self._elsewhere(sid, self.namespace(namespace)):
            elsewhere.disconnect_sockets()

    def get_environ(self, sid: str, namespace: str | None = None) -> dict[str, Any] | None:
        """The environ of a client's handshake; None when there is no such client."""
        socket = self.socket(sid, namespace)
        return None if socket is None else socket.handshake.environ

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """How a client is connected: ``polling`` or ``websocket``.

        :raises KeyError: there is no such client.
        """
        return self._existing(sid, namespace).conn.session.transport.name

    def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """What the application keeps about a client: its socket's ``data``.

        :raises KeyError: there is no such client.
        """
        return self._existing(sid, namespace).data

    def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        """Replace what :meth:`get_session` gives.

        :raises KeyError: there is no such client.
        """
        self._existing(sid, namespace).data = session

    @contextmanager
    def session(self, sid: str, namespace: str | None = None) -> Iterator[dict[str, Any]]:
        """What :meth:`get_session` gives, for a ``with`` block."""
        session = self.get_session(sid, namespace)
        yield session
        self.save_session(sid, session, namespace)

    def _existing(self, sid: str, namespace: str | None) -> Socket:
        socket = self.socket(sid, namespace)
        if socket is None:
            raise KeyError(f"no client {sid!r} in namespace {namespace or '/'!r}")
        return socket

    # -- the rest -----------------------------------------------------------------------------------------------

    @property
    def async_mode(self) -> str:
        """``gevent`` where gevent has patched the standard library, else ``threading``."""
        return "gevent" if threads_are_greenlets() else "threading"

    def start_background_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Run ``target(*args, **kwargs)`` in a thread (or greenlet) of its own; the result has ``join(timeout)``."""
        return self.io.start_background_task(target, *args, **kwargs)

    def sleep(self, seconds: float = 0) -> None:
        """Sleep for ``seconds``."""
        self.io.sleep(seconds)

    def shutdown(self) -> None:
        """Stop serving clients."""
        self.io.close()

    @property
    def manager(self) -> ManagerView:
        """Deprecated: who is in which room."""
        _deprecated("manager", "socketio.server.io.in_(room).fetch_sockets()")
        return ManagerView(self)

    @property
    def eio(self) -> EngineView:
        """Deprecated: the engine's options and sessions."""
        _deprecated("eio", "socketio.server.io.engine")
        return EngineView(self.io.engine)

    @property
    def environ(self) -> Mapping[str, dict[str, Any]]:
        """Deprecated: the environs of the handshakes by the engine sessions' ids."""
        _deprecated("environ", "socketio.server.get_environ(sid)")
        return EnvironView(self.io.engine)


def _deprecated(name: str, instead: str) -> None:
    warnings.warn(
        f"socketio.server.{name} is a view, kept for old code; use {instead}", DeprecationWarning, stacklevel=3
    )
