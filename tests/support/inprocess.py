"""Clients of an engine in this very process: no WSGI server, but the real takeover of a real socket.

A request is an environ made by hand and given to :meth:`EngineServer.handle`; a WebSocket is one end of a socket pair
(or of a TCP connection over the loopback) whose other end is in the environ, as gunicorn puts it there. Every wait has
a deadline.
"""

from __future__ import annotations

import io
import json
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from tests.support.waiting import AT_ONCE, DEADLINE, Background, at_once, eventually, open_descriptors
from tests.support.websocket_end import CLOSE_OPCODE, Closed, WebSocket, Wire, control_frame, frame_of, tcp_pair
from wsgi_sio import Server
from wsgi_sio.engineio import EngineServer
from wsgi_sio.engineio.packet import decode_packet
from wsgi_sio.engineio.response import Hijacked, Response
from wsgi_sio.engineio.wsgi_pool_size import THREADS
from wsgi_sio.socketio.packet import ACK, CONNECT, EVENT, Decoder, Encoder, Packet

__all__ = [
    "AT_ONCE",
    "CLOSE_OPCODE",
    "DEADLINE",
    "SEPARATOR",
    "UPGRADE",
    "Background",
    "Client",
    "Closed",
    "Environ",
    "InProcess",
    "Polling",
    "Refused",
    "WebSocket",
    "at_once",
    "control_frame",
    "event_packet",
    "eventually",
    "frame_of",
    "in_process",
    "open_descriptors",
    "tcp_pair",
]

SEPARATOR = "\x1e"

Environ = dict[str, Any]


class Refused(Exception):
    """The engine answered a WebSocket handshake with ``response``."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status, response.body)
        self.response = response


class Polling(Wire):
    """A long-polling client; ``send`` and ``receive`` are those of :class:`WebSocket`."""

    def __init__(self, process: InProcess) -> None:
        self._process = process
        opened = process.request("GET", transport="polling")
        assert opened.status == 200, opened
        self.opened = opened
        first, *rest = opened.body.decode().split(SEPARATOR)
        self.handshake: dict[str, Any] = json.loads(first[1:])
        self.sid: str = self.handshake["sid"]
        self._packets: deque[str] = deque(rest)
        self._pending: Background | None = None

    def get(self, **extra: Any) -> Response:
        return self._process.request("GET", transport="polling", sid=self.sid, **extra)

    def start_get(self, **extra: Any) -> Background:
        """A GET that waits; it is parked when this returns, or has been answered."""
        call = Background(lambda: self.get(**extra))
        session = self._process.engine.sessions.get(self.sid)
        if session is not None:
            transport = session.transport
            eventually(lambda: call.done or transport.idle, "a parked GET")
        return call

    def post(self, body: str | bytes, **extra: Any) -> Response:
        data = body.encode() if isinstance(body, str) else body
        return self._process.request("POST", transport="polling", sid=self.sid, body=data, **extra)

    def send(self, *messages: str | bytes) -> None:
        """POST messages together."""
        texts = [decode_packet(message).text() for message in messages]
        answer = self.post(SEPARATOR.join(texts))
        assert (answer.status, answer.body) == (200, b"ok"), answer

    def receive(self, timeout: float = DEADLINE) -> str | bytes:
        """The next packet that is neither ping nor noop. Raises Closed for the engine's CLOSE or a refused GET."""
        deadline = time.monotonic() + timeout
        while True:
            while self._packets:
                text = self._packets.popleft()
                if text == "2":
                    self.send("3")
                elif text == "1":
                    raise Closed(1000, "close packet")
                elif text != "6":
                    packet = decode_packet(text)
                    return packet.data if isinstance(packet.data, bytes) else text
            if self._pending is None:
                self._pending = Background(self.get)
            answer = self._pending.result(max(0.001, deadline - time.monotonic()))
            self._pending = None
            if answer.status != 200:
                raise Closed(answer.status, answer.body.decode())
            self._packets += answer.body.decode().split(SEPARATOR)

    def close(self) -> None:
        """Tell the server goodbye."""
        self.post("1")


class InProcess:
    """The way to an engine, without a WSGI server in between."""

    def __init__(self, server: Server | EngineServer) -> None:
        self.engine = server if isinstance(server, EngineServer) else server.engine
        self._sockets: list[socket.socket] = []

    def environ(self, method: str, headers: Mapping[str, str] = {}, body: bytes | None = None, **query: str) -> Environ:
        """What a WSGI server would pass: ``headers`` by their HTTP names."""
        environ: Environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.engine.config.path + "/",
            "QUERY_STRING": urlencode({"EIO": "4", **query}),
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1",
            "wsgi.input": io.BytesIO(body or b""),
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
            THREADS: 1000,  # no server is there to be asked
        }
        if body is not None:
            environ["CONTENT_LENGTH"] = str(len(body))
            environ["CONTENT_TYPE"] = "text/plain;charset=UTF-8"
        for name, value in headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        return environ

    def request(
        self,
        method: str,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        extra: Mapping[str, Any] = {},
        **query: str,
    ) -> Response:
        """One HTTP request; ``extra`` goes into the environ."""
        answer = self.engine.handle({**self.environ(method, headers, body, **query), **extra})
        assert isinstance(answer, Response)
        return answer

    def polling(self) -> Polling:
        """Open a session over polling."""
        return Polling(self)

    def websocket(
        self,
        sid: str | None = None,
        *,
        early: Iterable[str | bytes] = (),
        tcp: bool = False,
        buffers: int | None = None,
        pair: tuple[socket.socket, socket.socket] | None = None,
        headers: Mapping[str, str] = {},
        extra: Mapping[str, Any] = {},
    ) -> WebSocket:
        """Open a WebSocket, for a new session or for that of ``sid``, and read the 101.

        :param early: messages that arrive with the handshake.
        :param buffers: bytes for SO_SNDBUF and SO_RCVBUF of both ends.
        :raises Refused: the engine answers with something else.
        """
        client, server = pair or (tcp_pair() if tcp else socket.socketpair())
        self._sockets.append(client)
        if buffers is not None:
            for end in (client, server):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        query = {"transport": "websocket"} if sid is None else {"transport": "websocket", "sid": sid}
        environ = self.environ("GET", {**UPGRADE, **headers}, **query)
        environ["gunicorn.socket"] = server
        environ.update(extra)
        websocket = WebSocket(client)
        if early:
            websocket.send(*early)
        answer = self.engine.handle(environ)
        if isinstance(answer, Response):
            server.close()
            raise Refused(answer)
        assert isinstance(answer, Hijacked)
        if answer.held is None:
            server.close()
        websocket.read_accept()
        return websocket

    def opened(self, **options: Any) -> tuple[WebSocket, str]:
        """Open a session over WebSocket and read its handshake; the session's id comes along."""
        websocket = self.websocket(**options)
        first = websocket.receive()
        assert isinstance(first, str) and first[0] == "0", first
        return websocket, json.loads(first[1:])["sid"]

    def client(self, transport: str = "websocket", max_attachments: int = 10, **options: Any) -> Client:
        """A Socket.IO client that has joined no namespace yet."""
        wire = self.polling() if transport == "polling" else self.opened(**options)[0]
        return Client(wire, max_attachments)

    def close(self) -> None:
        """End everything; the reactor as well."""
        self.engine.close()
        for sock in self._sockets:
            sock.close()
        self.engine.reactor.close()


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def messages_of(encoder: Encoder, packets: Iterable[Packet]) -> list[str | bytes]:
    """The messages that carry packets, as they are over a WebSocket."""
    messages: list[str | bytes] = []
    for packet in packets:
        first, *attachments = encoder.encode(packet)
        assert isinstance(first, str)
        messages += ["4" + first, *attachments]
    return messages


class Client:
    """A Socket.IO client by hand: it sends packets and reads them in order."""

    def __init__(self, wire: WebSocket | Polling, max_attachments: int = 10) -> None:
        self.wire = wire
        self._encoder = Encoder(None, max_attachments)
        self._decoder = Decoder(None, max_attachments)

    def send(self, *packets: Packet) -> None:
        """Send packets in one write."""
        self.wire.send(*messages_of(self._encoder, packets))

    def receive(self, timeout: float = DEADLINE) -> Packet:
        """The next packet. Raises Closed and TimeoutError."""
        while True:
            message = self.wire.receive(timeout)
            packet = self._decoder.add(message[1:] if isinstance(message, str) else message)
            if packet is not None:
                return packet

    def connect(self, nsp: str = "/", auth: Mapping[str, Any] | None = None) -> str:
        """Join a namespace; the socket's id."""
        self.send(Packet(CONNECT, nsp, auth))
        answer = self.receive()
        assert (answer.type, answer.nsp) == (CONNECT, nsp), answer
        return str(answer.data["sid"])

    def emit(self, event: str, *args: Any, nsp: str = "/", ack: int | None = None) -> None:
        self.send(event_packet(event, *args, nsp=nsp, ack=ack))

    def answer(self, packet: Packet, *args: Any) -> None:
        """Acknowledge an event."""
        self.send(Packet(ACK, packet.nsp, list(args), packet.id))

    def expect(self, event: str, nsp: str = "/", timeout: float = DEADLINE) -> list[Any]:
        """The arguments of the next packet, which must be this event."""
        packet = self.receive(timeout)
        assert (packet.type, packet.nsp) == (EVENT, nsp) and packet.data[0] == event, packet
        return list(packet.data[1:])

    def call(self, event: str, *args: Any, ack: int = 7, timeout: float = DEADLINE) -> list[Any]:
        """Emit, and give the arguments of the acknowledgement, which must be the next packet."""
        self.emit(event, *args, ack=ack)
        packet = self.receive(timeout)
        assert (packet.type, packet.id) == (ACK, ack), packet
        return list(packet.data)

    def expect_silence(self, seconds: float) -> None:
        self.wire.expect_silence(seconds)

    def wait_closed(self, timeout: float = DEADLINE) -> int:
        return self.wire.wait_closed(timeout)

    def close(self) -> None:
        self.wire.close()


def event_packet(event: str, *args: Any, nsp: str = "/", ack: int | None = None) -> Packet:
    """An EVENT packet."""
    return Packet(EVENT, nsp, [event, *args], ack)


@contextmanager
def in_process(server: Server | EngineServer) -> Iterator[InProcess]:
    """Clients of ``server`` for the length of a ``with`` block."""
    process = InProcess(server)
    try:
        yield process
    finally:
        process.close()
