"""TestClient: a client in memory that speaks the real protocol to the real server, without a network.

Opening it is an HTTP request through the application, middlewares and all; its packets are encoded, decoded and
dispatched as anybody's.  Only the socket is missing, so there is nothing to wait for: when :meth:`TestClient.emit`
returns, the handlers have run, and what they sent is there.  They run in the thread that uses the client:
inline_executor.py.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, NoReturn, Protocol
from urllib.parse import urlencode

from werkzeug.test import Client as HTTPClient

from ..engineio.config import TRANSPORTS
from ..engineio.packet import MESSAGE, PING
from ..engineio.packet import Packet as EnginePacket
from ..exceptions import AckTimeout, ConnectionFailed, ConnectRefused, Disconnected
from ..runtime import SerialQueue
from ..server import Server
from ..socketio.acks import unpack
from ..socketio.packet import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Packet
from ..socketio.socket import Socket
from ..socketio.testing_hooks import RAISED_KEY, SUBMIT_KEY
from ..wsgi import WSGIApp
from .inline_executor import InlineExecutor, Mark
from .transport import MemoryTransport, put_in_place

# How long what the client waits for may take before it calls it a failure (seconds).
PATIENCE = 30.0


class HTTP(Protocol):
    """Makes the handshake request: werkzeug's test client, or Flask's, whose cookies then go along."""

    def get(self, path: str, *, query_string: str, headers: Any) -> Any: ...


@dataclass(frozen=True)
class Received:
    """An event that has come from the server.

    :ivar acknowledge: ``acknowledge(*args)`` answers it, and returns when the server's callback has run; None when the
        server has not asked for an answer.
    """

    name: str
    args: list[Any]
    namespace: str
    acknowledge: Callable[..., None] | None = field(default=None, repr=False, compare=False)


class TestClient:
    """A client of ``server`` that has opened its connection and joined no namespace yet.

    It belongs to one thread (or greenlet) at a time; several clients are several users.  Handlers of its events run in
    that very thread, each in a copy of the caller's :class:`contextvars.Context`: with its database connections, and
    within Flask's app context if one is pushed.  Those that may run beside each other are run one after the other.

    :param server: a :class:`wsgi_sio.Server`, or the :class:`wsgi_sio.WSGIApp` around the application.
    :param query_string: sent with the handshake; text or a mapping.
    :param headers: likewise.
    :param http: what makes the handshake request; None makes it to the server's own WSGI application.
    :param timeout: seconds to wait for what does not run in the caller's thread, such as the handlers of
        :meth:`on`, before a :class:`TimeoutError` is raised here.
    :raises ConnectionFailed: the handshake was refused; its ``description`` is the HTTP status, its ``context`` the
        text.
    """

    __test__ = False  # for pytest, which collects classes of such names

    def __init__(
        self,
        server: Server | WSGIApp,
        *,
        query_string: str | Mapping[str, str] = "",
        headers: Any = None,
        http: HTTP | None = None,
        timeout: float = PATIENCE,
    ) -> None:
        app = server if isinstance(server, WSGIApp) else WSGIApp(server)
        if not isinstance(app.server, Server):
            raise TypeError("a TestClient needs a wsgi_sio.Server, or the WSGIApp around one")
        self._server = app.server
        self._reactor = self._server.reactor
        self._timeout = timeout
        self._sockets: dict[str, Socket] = {}
        self._joined: dict[str, str] = {}
        self._answers: dict[str, tuple[Mark, list[Packet]]] = {}
        self._handlers: dict[tuple[str, str], Callable[..., Any]] = {}
        self._received: defaultdict[str, deque[Received]] = defaultdict(deque)
        self._acks: dict[tuple[str, int], list[Any]] = {}
        self._last_ack_id = 0
        self._busy = 0
        self._encoder = self._server.parser.Encoder(self._server.json, self._server.max_attachments)
        self._decoder = self._server.parser.Decoder(self._server.json, self._server.max_attachments)
        limitless = _Limitless()
        self._outgoing = SerialQueue(self._reactor.submit, limit=1, owner=limitless)
        self._incoming = SerialQueue(self._reactor.submit, limit=1, owner=limitless)
        self.session = self._server.engine.sessions[
            self._open(_Direct(app, self._server.test_host) if http is None else http, query_string, headers)
        ]
        self._executor = InlineExecutor(self._reactor)
        self._raised: list[BaseException] = []
        self.session.environ.update({SUBMIT_KEY: self._executor.submit, RAISED_KEY: self._raised})
        self._transport = MemoryTransport(self.session, self._reactor, self._on_packet, self._on_end)
        if not put_in_place(self._transport, self._reactor):
            raise ConnectionFailed("the server closed the connection at once")

    def _open(self, http: HTTP, query_string: str | Mapping[str, str], headers: Any) -> str:
        extra = query_string.lstrip("?") if isinstance(query_string, str) else urlencode(query_string)
        query = "EIO=4&transport=polling" + (f"&{extra}" if extra else "")
        engine = self._server.engine
        config = engine.config
        # The only way in without a socket is polling: a server that does not offer it does so for this moment.
        engine.config = replace(config, transports=TRANSPORTS)
        try:
            answer = http.get(f"{config.path}/", query_string=query, headers=headers)
        finally:
            engine.config = config
        if answer.status_code != 200:
            refusal = f"the handshake was refused: {answer.status_code} {answer.text}"
            raise ConnectionFailed(refusal, answer.status_code, answer.text)
        return str(json.loads(answer.text.partition("\x1e")[0][1:])["sid"])

    # -- joining ------------------------------------------------------------------------------------------------

    def connect(self, namespace: str = "/", auth: Any = None) -> str:
        """Join a namespace; the ``connect`` handlers have run when it returns.

        :return: the id of the client's socket.
        :raises ConnectRefused: the server refuses, with this message and data.
        :raises Disconnected: the server closed the connection instead of answering.
        :raises TimeoutError: the handlers take too long.
        """
        answers: list[Packet] = []
        if not self.session.open:
            raise Disconnected("the server has closed the connection")
        with self._executor.visit():
            answered = self._executor.mark()
            self._answers[namespace] = answered, answers
            self._send(Packet(CONNECT, namespace, auth))
            self._wait(answered, f"whether {namespace!r} can be joined")
            del self._answers[namespace]
            if not answers:
                raise Disconnected("the server has closed the connection")
            answer = answers[0]
            if answer.type != CONNECT:
                raise ConnectRefused(answer.data["message"], answer.data.get("data"))
            self._settle()
        return str(answer.data["sid"])

    def is_connected(self, namespace: str = "/") -> bool:
        """Whether the client is in ``namespace``."""
        return namespace in self._joined

    def sid(self, namespace: str = "/") -> str:
        """The id of the client's socket in ``namespace``.

        :raises Disconnected: it is not in there.
        """
        return self._joined[namespace] if namespace in self._joined else _not_in(namespace)

    def disconnect(self, namespace: str = "/") -> None:
        """Leave ``namespace``; the ``disconnect`` handlers have run when it returns.

        :raises Disconnected: the client is not in there.
        """
        self._leave(namespace)
        self._send_and_settle(Packet(DISCONNECT, namespace))

    def close(self) -> None:
        """End the connection, if the server has not: all namespaces at once."""
        self._joined.clear()
        if self.session.open:
            with self._executor.visit():
                self._outgoing.put(self.session.receive, "1")
                self._settle()

    def __enter__(self) -> TestClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- events -------------------------------------------------------------------------------------------------

    def emit(self, event: str, *args: Any, namespace: str = "/") -> None:
        """Send an event; the handlers have run when it returns.

        Called by a handler of this very client, it returns at once: an event's handlers run behind that one.

        :raises Disconnected: the client is not in ``namespace``.
        :raises TypeError: an argument is not JSON and not bytes.
        :raises TimeoutError: what does not run in this thread takes too long.
        """
        self._emit(event, args, namespace, None)

    def call(self, event: str, *args: Any, namespace: str = "/") -> Any:
        """Send an event and return its acknowledgement: None, the one argument, or a tuple of several.

        :raises AckTimeout: its handlers have run, and none has acknowledged; the log says why.  The cause of the
            error, if it has one, is that what a handler returned cannot be sent.
        :raises Disconnected: likewise :meth:`emit`, and the other errors too.
        """
        self._raised.clear()
        args_of_ack = self.ask(event, *args, namespace=namespace)
        if args_of_ack is None:
            cause = self._raised[-1] if self._raised else None
            text = f"nobody has acknowledged {event!r}: no handler took it, or it failed (see the log)"
            raise AckTimeout(text) from cause
        return unpack(args_of_ack)

    def ask(self, event: str, *args: Any, namespace: str = "/") -> list[Any] | None:
        """Like :meth:`call`, but gives the arguments as they came, or None when nobody has acknowledged."""
        self._last_ack_id += 1
        ack_id = self._last_ack_id
        self._emit(event, args, namespace, ack_id)
        return self._acks.pop((namespace, ack_id), None)

    def _emit(self, event: str, args: tuple[Any, ...], namespace: str, ack_id: int | None) -> None:
        if namespace not in self._joined:
            _not_in(namespace)
        self._send_and_settle(Packet(EVENT, namespace, [event, *args], ack_id))

    def on(self, event: str, handler: Callable[..., Any], namespace: str = "/") -> None:
        """Call ``handler(*args)`` for ``event``, and acknowledge with what it returns, like a server's handler.

        Needed for what the server waits for, such as ``emit_with_ack``; it runs on a thread of the server's, since
        the handler that waits has the caller's.
        """
        self._handlers[namespace, event] = handler

    def received(self, namespace: str = "/") -> list[Received]:
        """What has come since the last call, but for the events that :meth:`on` handles."""
        events = self._received[namespace]
        return [events.popleft() for _ in range(len(events))]

    # -- from the server (one call at a time, on whatever thread sends) ------------------------------------------

    def _on_packet(self, engine_packet: EnginePacket) -> None:
        if engine_packet.type == PING:
            self._outgoing.put(self.session.receive, "3")
        elif engine_packet.type == MESSAGE and engine_packet.data is not None:
            packet = self._decoder.add(engine_packet.data)
            if packet is not None:
                self._on_message(packet)

    def _on_message(self, packet: Packet) -> None:
        namespace = packet.nsp
        if packet.type in (CONNECT, CONNECT_ERROR):
            answered, answers = self._answers[namespace]
            answers.append(packet)
            if packet.type == CONNECT:
                sid = self._joined[namespace] = packet.data["sid"]
                self._sockets[namespace] = self._server.of(namespace).sockets[sid]
            answered.set()
        elif packet.type == DISCONNECT:
            self._joined.pop(namespace, None)
        elif packet.type == ACK and packet.id is not None:
            self._acks[namespace, packet.id] = packet.data
        elif packet.type == EVENT:
            self._on_event(packet)

    def _on_event(self, packet: Packet) -> None:
        name, *args = packet.data
        handler = self._handlers.get((packet.nsp, name))
        if handler is not None:
            self._busy += 1
            self._incoming.put(self._handle, handler, args, packet)
            return
        acknowledge = None if packet.id is None else lambda *answer: self._acknowledge(packet, answer)
        self._received[packet.nsp].append(Received(name, args, packet.nsp, acknowledge))

    def _handle(self, handler: Callable[..., Any], args: list[Any], packet: Packet) -> None:
        result = handler(*args)
        if packet.id is not None:
            answer = [] if result is None else list(result) if isinstance(result, tuple) else [result]
            self._send(Packet(ACK, packet.nsp, answer, packet.id))

    def _on_end(self) -> None:
        self._joined.clear()
        for answered, _ in list(self._answers.values()):
            answered.set()

    # -- to the server ------------------------------------------------------------------------------------------

    def _acknowledge(self, packet: Packet, answer: tuple[Any, ...]) -> None:
        self._send_and_settle(Packet(ACK, packet.nsp, list(answer), packet.id))

    def _send_and_settle(self, packet: Packet) -> None:
        with self._executor.visit():
            self._send(packet)
            self._settle()

    def _send(self, packet: Packet) -> None:
        messages = [f"4{part}" if isinstance(part, str) else part for part in self._encoder.encode(packet)]
        self._outgoing.put(self._feed, messages)

    def _feed(self, messages: list[str | bytes]) -> None:
        for message in messages:
            self._transport.wait_readable()
            self.session.receive(message)

    def _leave(self, namespace: str) -> None:
        if self._joined.pop(namespace, None) is None:
            _not_in(namespace)

    def _settle(self) -> None:
        """Wait until all that was sent has been handled, and what that has led to in this client as well."""
        busy = -1
        while busy != self._busy:
            busy = self._busy
            self._flush(self._incoming.put, "this client's own handlers")
            self._flush(self._outgoing.put, "the server's reading")
            if self._executor.busy:
                return  # a handler calls us, and the others are behind it
            for socket in list(self._sockets.values()):
                self._flush(socket.run_in_order, f"the handlers of {socket!r}")

    def _flush(self, put: Callable[[Callable[[], None]], object], what: str) -> None:
        done = self._executor.mark()
        put(done.set)
        self._wait(done, what)

    def _wait(self, mark: Mark, what: str) -> None:
        if not self._executor.run_until(mark, self._timeout):
            raise TimeoutError(f"waited {self._timeout:g} s for {what}: does one of them block?")


class _Direct:
    """Makes the handshake to a WSGI application, without cookies."""

    def __init__(self, app: WSGIApp, host: str) -> None:
        self._client = HTTPClient(app, use_cookies=False)
        self._base_url = f"http://{host}/"

    def get(self, path: str, *, query_string: str, headers: Any) -> Any:
        return self._client.get(path, base_url=self._base_url, query_string=query_string, headers=headers)


class _Limitless:
    """Owns the client's queues, which nothing bounds: their jobs cost nothing."""

    def mailbox_full(self) -> None:
        """Does not happen."""

    def mailbox_has_room(self) -> None:
        """Does not happen."""

    def mailbox_overflows(self) -> None:
        """Does not happen."""


def _not_in(namespace: str) -> NoReturn:
    raise Disconnected(f"the client is not in namespace {namespace!r}: connect({namespace!r}) first")
