"""Emitter: events for clients from processes that are no server: Celery's, cron's, scripts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .cluster.bus.commands import Commands as Bus
from .cluster.bus.commands import CommandsFailed
from .cluster.bus.urls import ALL, Family, commands_at, family_of
from .cluster.drivers.emitter_formats import (
    FORMATS,
    Classic,
    Commands,
    EmitterFormat,
    FlaskSocketIO,
    Kombu,
    Postgres,
    Streams,
)
from .exceptions import LocalProtocolError, NotPublished
from .socketio.broadcast_options import EVERYBODY, NOBODY, BroadcastOptions, Room, as_rooms
from .socketio.handlers import check_event
from .socketio.jsoncodec import JSONCodec
from .socketio.server_side_emit import check_server_side_event
from .validation import SECONDS, check_option

logger = logging.getLogger("wsgi_sio.emitter")

# How long each step of an emit may take, unless told otherwise (seconds).
TIMEOUT = 2.0


class _Connection:
    """What an emitter has in common with all that are made of it."""

    def __init__(self, commands: Bus, formats: tuple[EmitterFormat, ...]) -> None:
        self._commands = commands
        self._formats = formats
        self._unheard = False

    def send(self, make: Callable[[EmitterFormat], Commands]) -> int:
        batches = [batch for batch in map(make, self._formats) if batch]
        if not batches:
            return 0
        try:
            answers = self._commands.run([command for batch in batches for command in batch])
        except CommandsFailed as failed:
            raise NotPublished(str(failed), failed.perhaps) from failed
        heard: list[int] = []
        begin = 0
        for batch in batches:
            mine = answers[begin : begin + len(batch)]
            begin += len(batch)
            if isinstance(mine[0], Exception):
                text = f"{self._commands.shown} has refused it: {mine[0]}"
                raise NotPublished(text, perhaps=bool(heard)) from mine[0]
            heard.append(_listeners(mine[-1]))
        if not any(heard) and not self._unheard:
            self._unheard = True
            logger.warning(
                "what is emitted to %s is heard by no server (told once): is one running, and have both the same format"
                " and key (or channel)?",
                self._commands.shown,
            )
        return max(heard)

    def close(self) -> None:
        self._commands.close()


def _listeners(answer: Any) -> int:
    """What PUBLISH answers, or PUBSUB NUMSUB: a list of names, each followed by a number; 1 where that is forbidden, or
    cannot be said."""
    if answer is None or isinstance(answer, Exception):
        return 1
    if isinstance(answer, dict):
        answer = list(answer.values())
    while isinstance(answer, (list, tuple)):
        answer = answer[-1] if answer else 0
    return int(answer)


@dataclass(frozen=True, slots=True, init=False)
class Emitter:
    """Emits to the clients of servers that share a Redis or a RabbitMQ: no server, no threads, no acknowledgements.

    It connects with the first emit, and may be made at import, used by several threads or greenlets, and by the
    children of a fork. Like a broadcast it is immutable: ``emitter.of("/admin").to("room").emit("event", 1)``.

    Whatever is done is done when the method returns: it has been published, once, and the number of servers that listen
    is returned (of a Redis Cluster: of those at one node; of Flask-SocketIO's at RabbitMQ, who cannot be counted: 1 if
    there is any). 0 is nobody: the first time a warning says so. Nothing is ever sent a second time. Each step of the
    network takes ``timeout`` at most; there is one where a connection is open, and where one has to be made first as
    many as the server is greeted with: to connect, log in, choose the database.

    With a Postgres nobody knows how many listen: 1 is returned then.

    :param url: of Redis, Valkey, RabbitMQ or Postgres, as for the servers' adapter.
    :param key: as the servers have it: the prefix of their channels, or the stream's name; for ``flask-socketio`` the
        channel. None: what they have unless told otherwise (``socket.io``, ``flask-socketio``).
    :param format: ``classic``: servers of this package or Node's with the Redis adapter; ``streams``: with the streams
        adapter, where what is emitted also reaches clients that come back; ``kombu``: servers of this package at
        RabbitMQ; ``flask-socketio``: servers of Flask-SocketIO or python-socketio (5.14 or later). None: ``classic``,
        or at RabbitMQ ``kombu``. With a Postgres there is only one, and None for it.
    :param table_name: with a Postgres, as the servers have it; it is not made.
    :param timeout: seconds.
    :param json: writes JSON, where it is written: an object with ``dumps``.
    :raises ValueError: there is no such format, or no bus for the URL's scheme.
    """

    _connection: _Connection
    _nsp: str
    _options: BroadcastOptions

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        format: str | None = None,
        table_name: str = "socket_io_attachments",
        timeout: float = TIMEOUT,
        json: JSONCodec | None = None,
    ) -> None:
        seconds = check_option("timeout", timeout, float, SECONDS)
        made = _format(family_of(url, ALL), format, key, json)
        exchanges = [made.channel] if isinstance(made, FlaskSocketIO) else []
        commands = commands_at(url, seconds, exchanges, table_name)
        self._become(_Connection(commands, (made,)))

    @classmethod
    def for_mixed(cls, url: str, key: str, channel: str, json: JSONCodec | None = None) -> Emitter:
        """For servers of this package and old ones, side by side; the former have been told of the latter.

        :param key: of the former.
        :param channel: of the latter.
        """
        made = cls.__new__(cls)
        ours = Kombu(key, json) if family_of(url) == "amqp" else Classic(key, json)
        formats = (ours, FlaskSocketIO(channel, json, strict=False))
        made._become(_Connection(commands_at(url, TIMEOUT, [channel]), formats))
        return made

    def _become(self, connection: _Connection, nsp: str = "/", options: BroadcastOptions = EVERYBODY) -> None:
        object.__setattr__(self, "_connection", connection)
        object.__setattr__(self, "_nsp", nsp)
        object.__setattr__(self, "_options", options)

    def _with(self, nsp: str | None = None, **changes: Any) -> Emitter:
        made = Emitter.__new__(Emitter)
        made._become(self._connection, self._nsp if nsp is None else nsp, self._options._replace(**changes))
        return made

    def __repr__(self) -> str:
        return f"<Emitter of {self._nsp!r}>"

    # -- to whom, and how ---------------------------------------------------------------------------------------

    def of(self, nsp: str) -> Emitter:
        """Clients in that namespace."""
        return self._with(nsp=nsp if nsp.startswith("/") else f"/{nsp}")

    def to(self, room: Room | Iterable[Room]) -> Emitter:
        """Those in ``room`` (or any of several), in addition to the rooms named before; a client's id is a room.

        An empty list adds nobody: if no room is named before or after, nobody is meant.
        """
        named, rooms = self._options.rooms, as_rooms(room)
        return self._with(rooms=(rooms if named is NOBODY else named | rooms) or NOBODY)

    in_ = to

    def except_(self, room: Room | Iterable[Room]) -> Emitter:
        """Without those in ``room`` (or any of several)."""
        return self._with(except_=self._options.except_ | as_rooms(room))

    @property
    def volatile(self) -> Emitter:
        """May be lost: each client gets it only if it can take it at once."""
        return self._with(volatile=True)

    def compress(self, compress: bool) -> Emitter:
        """Whether a polling answer that carries it may be compressed."""
        return self._with(compress=compress)

    # -- what ---------------------------------------------------------------------------------------------------

    def emit(self, event: str, *args: Any) -> int:
        """Send an event to all clients described.

        :return: how many servers have it.
        :raises NotPublished: it could not be published; ``perhaps`` says whether it may have been nevertheless.
        :raises LocalProtocolError: the event's name is reserved.
        :raises TypeError: an argument cannot be written, or a room not be named to other processes.
        """
        check_event(event)
        if callable(args[-1] if args else None):
            raise TypeError("an emitter has no acknowledgements: no function can be an argument")
        return self._send(lambda form: form.emit(self._nsp, self._options, [event, *args]))

    def send(self, *args: Any) -> int:
        """Emit the event "message"."""
        return self.emit("message", *args)

    write = send

    def sockets_join(self, room: Room | Iterable[Room]) -> int:
        """Make all of them join ``room`` (or several); as :meth:`emit`."""
        rooms = as_rooms(room)
        return self._send(lambda form: form.join(self._nsp, self._options, rooms))

    def sockets_leave(self, room: Room | Iterable[Room]) -> int:
        """Make all of them leave ``room`` (or several); as :meth:`emit`."""
        rooms = as_rooms(room)
        return self._send(lambda form: form.leave(self._nsp, self._options, rooms))

    def disconnect_sockets(self, close: bool = False) -> int:
        """Disconnect all of them, from the namespace or (``close``) altogether; as :meth:`emit`."""
        return self._send(lambda form: form.disconnect(self._nsp, self._options, close))

    def server_side_emit(self, event: str, *args: Any) -> int:
        """Send an event to the servers, whose ``on_server_side`` handlers get it, not to clients; as :meth:`emit`.

        :raises LocalProtocolError: the event's name is reserved, or whom it is for has been narrowed down.
        """
        check_server_side_event(event)
        if self._options != EVERYBODY:
            raise LocalProtocolError("server_side_emit() is for all servers of a namespace: emitter.of(namespace)")
        return self._connection.send(lambda form: form.server_side_emit(self._nsp, [event, *args]))

    def _send(self, make: Callable[[EmitterFormat], Commands]) -> int:
        return 0 if self._options.rooms is NOBODY else self._connection.send(make)

    def close(self) -> None:
        """End the connections; those of all emitters that were made of this one."""
        self._connection.close()

    def __enter__(self) -> Emitter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _format(family: Family, name: str | None, key: str | None, json: JSONCodec | None) -> EmitterFormat:
    """The format of that name, or (None) the usual one of what is at the URL."""
    if family == "postgres" and name is not None:
        raise ValueError(f"with a Postgres there is no format {name!r}: leave it out")
    wanted = name or {"redis": "classic", "amqp": "kombu", "postgres": "postgres"}[family]
    if wanted in {"redis": ("kombu",), "amqp": ("classic", "streams"), "postgres": ()}[family]:
        raise ValueError(f"the format {wanted!r} is none for {'RabbitMQ' if family == 'amqp' else 'Redis'}")
    match wanted, family:
        case "classic", _:
            return Classic(key or "socket.io", json)
        case "streams", _:
            return Streams(key or "socket.io", json)
        case "kombu", _:
            return Kombu(key or "socket.io", json)
        case "flask-socketio", _:
            return FlaskSocketIO(key or "flask-socketio", json)
        case "postgres", "postgres":
            return Postgres(key or "socket.io", json)
    raise ValueError(f"format must be one of {', '.join(map(repr, FORMATS))}, not {wanted!r}")
