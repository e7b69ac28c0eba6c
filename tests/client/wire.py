"""A Socket.IO server played by the test: it accepts when told to, reads packets, and answers whatever it likes."""

from __future__ import annotations

import hashlib
import json
import queue
import socket
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tests.support.inprocess import DEADLINE, Background, messages_of
from wsgi_sio.client import Client, ClientSocket
from wsgi_sio.socketio.packet import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Decoder, Encoder, Packet
from wsgi_sio.websocket.frames import BINARY, TEXT, encode_frame
from wsgi_sio.websocket.messages import Close, MessageDecoder, Violation

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Gone(Exception):
    """The client has closed the connection."""


class Peer:
    """The server's end of one connection, over WebSocket."""

    def __init__(self, sock: socket.socket, head: str, **opening: Any) -> None:
        self.sock = sock
        self.head = head
        self._messages: queue.Queue[str | bytes | None] = queue.Queue()
        self._frames = MessageDecoder(expect_masked=True, max_message_size=1 << 30)
        self._encoder = Encoder()
        self._decoder = Decoder()
        key = next(
            line.split(":")[1].strip() for line in head.splitlines() if line.lower().startswith("sec-websocket-key")
        )
        accept = b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
        sock.sendall(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        self.send_text("0" + json.dumps({"sid": "engine", "upgrades": [], "pingInterval": 25000, "pingTimeout": 20000,
                                         "maxPayload": 100_000, **opening}))  # fmt: skip
        sock.settimeout(None)
        Background(self._read)

    # -- bytes --------------------------------------------------------------------------------------------------

    def send_text(self, *messages: str | bytes) -> None:
        """Send engine packets in one write."""
        frames = [
            encode_frame(TEXT, message.encode()) if isinstance(message, str) else encode_frame(BINARY, message)
            for message in messages
        ]
        self.sock.sendall(b"".join(frames))

    def _read(self) -> None:
        """Read until the client closes its side, then close ours."""
        over = False
        while not over:
            try:
                data = self.sock.recv(1 << 16)
            except OSError:
                data = b""
            for event in self._frames.feed(data):
                assert not isinstance(event, Violation), event
                over = isinstance(event, Close)
                if isinstance(event, (str, bytes)):
                    self._messages.put(event)
            over = over or not data
        self._messages.put(None)
        self.drop()

    def receive_text(self, timeout: float = DEADLINE) -> str | bytes:
        """The next engine packet. Raises Gone and TimeoutError."""
        try:
            message = self._messages.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError("nothing came") from None
        if message is None:
            self._messages.put(None)
            raise Gone
        return message

    def drop(self) -> None:
        """End the connection without a word."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    # -- packets ------------------------------------------------------------------------------------------------

    def receive(self, timeout: float = DEADLINE) -> Packet:
        """The next Socket.IO packet; the engine's pongs are left out."""
        while True:
            message = self.receive_text(timeout)
            if message == "3":
                continue
            packet = self._decoder.add(message[1:] if isinstance(message, str) else message)
            if packet is not None:
                return packet

    def send(self, *packets: Packet) -> None:
        """Send packets in one write."""
        self.send_text(*messages_of(self._encoder, packets))

    def expect_connect(self, nsp: str = "/") -> Any:
        """The next packet, which must be CONNECT: its payload."""
        packet = self.receive()
        assert (packet.type, packet.nsp) == (CONNECT, nsp), packet
        return packet.data

    def welcome(self, nsp: str = "/", sid: str = "sid", **more: Any) -> Any:
        """Let the client into a namespace; what it sent."""
        auth = self.expect_connect(nsp)
        self.send(Packet(CONNECT, nsp, {"sid": sid, **more}))
        return auth

    def refuse(self, message: str, data: Any = None, nsp: str = "/") -> None:
        """Answer CONNECT with CONNECT_ERROR."""
        self.expect_connect(nsp)
        self.send(
            Packet(CONNECT_ERROR, nsp, {"message": message} if data is None else {"message": message, "data": data})
        )

    def expect(self, event: str, *args: Any, nsp: str = "/") -> int | None:
        """The next packet, which must be this event: its acknowledgement's id."""
        packet = self.receive()
        assert (packet.type, packet.nsp, packet.data) == (EVENT, nsp, [event, *args]), packet
        return packet.id

    def emit(self, event: str, *args: Any, nsp: str = "/", ack: int | None = None) -> None:
        self.send(Packet(EVENT, nsp, [event, *args], ack))

    def acknowledge(self, ack_id: int | None, *args: Any, nsp: str = "/") -> None:
        assert ack_id is not None
        self.send(Packet(ACK, nsp, list(args), ack_id))

    def throw_out(self, nsp: str = "/") -> None:
        self.send(Packet(DISCONNECT, nsp))

    def expect_silence(self, seconds: float = 0.1) -> None:
        with suppress(TimeoutError):
            raise AssertionError(f"unexpected {self.receive(seconds)}")

    def wait_gone(self) -> list[Packet]:
        """What comes until the client closes the connection."""
        packets = []
        try:
            while True:
                packets.append(self.receive())
        except Gone:
            return packets


class WireServer:
    """A listener; connections wait in its backlog until the test takes them."""

    def __init__(self) -> None:
        self._listener: socket.socket | None = None
        self._accepted: list[socket.socket] = []
        self.port = 0
        self.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen (again)."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(DEADLINE)
        self.port = self._listener.getsockname()[1]

    def stop(self) -> None:
        """Refuse connections; those that were accepted live on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _next(self) -> tuple[socket.socket, str]:
        assert self._listener is not None
        while True:
            sock, _ = self._listener.accept()
            self._accepted.append(sock)
            sock.settimeout(DEADLINE)
            with suppress(EOFError, ConnectionError):  # a connection that its client has given up
                return sock, read_head(sock)

    def accept(self, **opening: Any) -> Peer:
        """Take the next connection as far as the engine's handshake."""
        sock, head = self._next()
        return Peer(sock, head, **opening)

    def answer(self, status: str, body: str) -> None:
        """Give the next connection this HTTP answer instead."""
        sock, _ = self._next()
        sock.sendall(answer(body, status, "Connection: close"))
        sock.close()

    def close(self) -> None:
        self.stop()
        for sock in self._accepted:
            sock.close()


FAST = {"reconnection_delay": 0.01, "reconnection_delay_max": 0.05, "transports": ["websocket"]}


class Clients:
    """Makes clients of a wire server, over WebSocket and quick to reconnect; ends them with the test."""

    def __init__(self, server: WireServer) -> None:
        self.server = server
        self._made: list[ClientSocket] = []

    def __call__(self, nsp: str = "", **options: Any) -> Client:
        """A client that has not begun to connect."""
        client = Client(self.server.url + nsp, **{**FAST, **options})
        self._made.append(client)
        return client

    def connected(self, opening: Mapping[str, Any] = {}, **options: Any) -> tuple[Client, Peer]:
        """A client, and the server's end of its connection."""
        client = self(**options)
        return client, self.connect(client, **opening)

    def connect(self, client: Client, **opening: Any) -> Peer:
        """Connect a client, and let it in."""
        client.connect(wait=False)
        peer = self.server.accept(**opening)
        peer.welcome(client.nsp)
        client.connect(timeout=DEADLINE)
        return peer

    def close(self) -> None:
        for client in self._made:
            client.io.close()


def receive_head(connection: socket.socket) -> str:
    """One request's head, its body still to be read."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise EOFError
        data += byte
    return data.decode("latin-1")


def read_head(connection: socket.socket) -> str:
    """One request's head, and its body left out."""
    head = receive_head(connection)
    for line in head.splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            left = int(value)
            while left:
                chunk = connection.recv(min(left, 65536))
                if not chunk:
                    raise EOFError
                left -= len(chunk)
    return head


def answer(body: str | bytes, status: str = "200 OK", *headers: str) -> bytes:
    """An HTTP answer."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data
