"""Clients of an engine in this very process: no WSGI server, but the real takeover of a real socket.

A request is an environ made by hand and given to :meth:`EngineServer.handle`; a WebSocket is one end of a socket pair
(or of a TCP connection over the loopback) whose other end is in the environ, as gunicorn puts it there. Every wait has
a deadline.
"""

from __future__ import annotations

import gc
import io
import json
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from wsgi_sio import Server
from wsgi_sio.engineio import EngineServer
from wsgi_sio.engineio.pools import THREADS
from wsgi_sio.engineio.request import Response
from wsgi_sio.engineio.server import Hijacked
from wsgi_sio.socketio.packet import ACK, CONNECT, EVENT, Decoder, Encoder, Packet
from wsgi_sio.websocket.frames import BINARY, CLOSE, TEXT, encode_close, encode_frame
from wsgi_sio.websocket.messages import Close, MessageDecoder, Violation

# Seconds. What must happen has happened after the first, however busy the machine is. What takes less than the second
# has not waited for something that takes the first.
DEADLINE = 30.0
AT_ONCE = 10.0
SEPARATOR = "\x1e"
_MASK = b"\x01\x02\x03\x04"
_ENDED = 1006

Environ = dict[str, Any]


class Closed(Exception):
    """The connection is over; ``code`` is 1006 when it ended without a close frame."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The engine answered a WebSocket handshake with ``response``."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status, response.body)
        self.response = response


class Background:
    """A call in another thread (or greenlet): its result, or what it raised, when asked for."""

    def __init__(self, target: Callable[..., Any], *args: Any) -> None:
        self._target = target
        self._args = args
        self._result: Any = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._target(*self._args)
        except BaseException as error:  # it is raised again in result()
            self._error = error
        finally:
            self._done.set()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def result(self, timeout: float = DEADLINE) -> Any:
        """Wait for the end. Raises TimeoutError, or what the call raised."""
        if not self._done.wait(timeout):
            raise TimeoutError(f"{self._target} did not return within {timeout} s")
        if self._error is not None:
            raise self._error
        return self._result


def at_once(count: int, target: Callable[[int], Any], timeout: float = DEADLINE) -> list[Any]:
    """Run ``target(0)`` to ``target(count - 1)`` in as many threads, started together; their results in order."""
    ready = threading.Barrier(count)

    def run(number: int) -> Any:
        ready.wait(timeout)
        return target(number)

    calls = [Background(run, number) for number in range(count)]
    return [call.result(timeout) for call in calls]


def eventually(condition: Callable[[], Any], what: str = "the condition", timeout: float = DEADLINE) -> Any:
    """Wait until ``condition()`` is true and return its value; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(0.005)
    return value


def open_descriptors() -> int:
    """How many file descriptors this process has, forgotten objects not counted."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else -1


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends (client, server) of a TCP connection over the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=DEADLINE)
        server, _ = listener.accept()
    return client, server


class WebSocket:
    """The client's end of a WebSocket, by our own codec in the client's role."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.accept = b""  # the 101
        self.answer_pings = True
        self._decoder = MessageDecoder(expect_masked=False, max_message_size=1 << 30)
        self._events: deque[Any] = deque()

    def read_accept(self) -> None:
        """Read the 101; what follows it belongs to the WebSocket."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._recv(time.monotonic() + DEADLINE)
        self.accept, _, rest = data.partition(b"\r\n\r\n")
        self._events += self._decoder.feed(rest)

    def _recv(self, deadline: float) -> bytes:
        self.sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.sock.recv(1 << 18)
        except TimeoutError:
            raise TimeoutError("nothing came before the deadline") from None
        except OSError:
            data = b""
        if not data:
            raise Closed(_ENDED)
        return data

    def next_event(self, timeout: float = DEADLINE) -> Any:
        """The next message (str or bytes), Ping or Pong. Raises Closed and TimeoutError."""
        deadline = time.monotonic() + timeout
        while not self._events:
            self._events += self._decoder.feed(self._recv(deadline))
        event = self._events.popleft()
        if isinstance(event, Close):
            raise Closed(event.code, event.reason)
        assert not isinstance(event, Violation), event
        return event

    def receive(self, timeout: float = DEADLINE) -> str | bytes:
        """The next message; Engine.IO's pings are answered and skipped, unless ``answer_pings`` is off."""
        deadline = time.monotonic() + timeout
        while (event := self.next_event(max(0.001, deadline - time.monotonic()))) == "2" and self.answer_pings:
            self.send("3")
        return event  # type: ignore[no-any-return]

    def wait_closed(self, timeout: float = DEADLINE) -> int:
        """Drop what comes until the server ends the WebSocket; the close code."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                self.receive(max(0.001, deadline - time.monotonic()))
        except Closed as closed:
            return closed.code

    def wait_eof(self, timeout: float = DEADLINE) -> None:
        """Wait until the server closes the TCP connection."""
        deadline = time.monotonic() + timeout
        with suppress(Closed):
            while True:
                self._recv(deadline)

    def expect_silence(self, seconds: float) -> None:
        """Fail if anything comes within ``seconds``."""
        try:
            event = self.receive(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"unexpected {event!r}")

    def send(self, *messages: str | bytes) -> None:
        """Send messages in one write."""
        self.send_raw(b"".join(frame_of(message) for message in messages))

    def send_raw(self, data: bytes, timeout: float = DEADLINE) -> None:
        """Send bytes that need not be frames."""
        self.sock.settimeout(timeout)
        self.sock.sendall(data)

    def send_close(self, code: int = 1000) -> None:
        """Send a close frame."""
        self.send_raw(encode_close(code, mask=_MASK))

    def half_close(self) -> None:
        """Send a FIN and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the TCP connection by an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """End the connection without a close frame."""
        self.sock.close()


def frame_of(message: str | bytes) -> bytes:
    """A client's frame."""
    if isinstance(message, str):
        return encode_frame(TEXT, message.encode(), mask=_MASK)
    return encode_frame(BINARY, message, mask=_MASK)


def control_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A client's ping, pong or close frame."""
    return encode_frame(opcode, payload, mask=_MASK)


CLOSE_OPCODE = CLOSE


class Polling:
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
        from wsgi_sio.engineio.packet import decode_packet

        texts = [decode_packet(message).text() for message in messages]
        answer = self.post(SEPARATOR.join(texts))
        assert (answer.status, answer.body) == (200, b"ok"), answer

    def receive(self, timeout: float = DEADLINE) -> str | bytes:
        """The next packet that is neither ping nor noop. Raises Closed for the engine's CLOSE or a refused GET."""
        from wsgi_sio.engineio.packet import decode_packet

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

    def expect_silence(self, seconds: float) -> None:
        try:
            event = self.receive(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"unexpected {event!r}")

    def wait_closed(self, timeout: float = DEADLINE) -> int:
        deadline = time.monotonic() + timeout
        try:
            while True:
                self.receive(max(0.001, deadline - time.monotonic()))
        except Closed as closed:
            return closed.code

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


class Client:
    """A Socket.IO client by hand: it sends packets and reads them in order."""

    def __init__(self, wire: WebSocket | Polling, max_attachments: int = 10) -> None:
        self.wire = wire
        self._encoder = Encoder(None, max_attachments)
        self._decoder = Decoder(None, max_attachments)

    def send(self, *packets: Packet) -> None:
        """Send packets in one write."""
        messages: list[str | bytes] = []
        for packet in packets:
            first, *attachments = self._encoder.encode(packet)
            assert isinstance(first, str)
            messages += ["4" + first, *attachments]
        self.wire.send(*messages)

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
