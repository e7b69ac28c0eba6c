"""A client that speaks the raw protocols, including badly: no Socket.IO library between the test and the wire."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse
from typing import Any

import websocket

from tests.support.waiting import readable

TIMEOUT = 30.0  # seconds; longer than anything the servers under test may take, on a busy machine
SEPARATOR = "\x1e"
CLOSED_WITHOUT_CODE = 1006
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@dataclass(frozen=True)
class Response:
    """An HTTP response, read to its end."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Closed(Exception):
    """The server closed the WebSocket; ``code`` is 1006 when the TCP connection ended without a close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Exchange:
    """A request that has been sent; its response is read when asked for."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection

    def response(self) -> Response:
        """Wait for the response and end the connection."""
        try:
            answer = self._connection.getresponse()
            return Response(answer.status, answer.headers, answer.read())
        finally:
            self._connection.close()

    @property
    def answered(self) -> bool:
        """Whether something of the response has arrived."""
        return readable(self._connection.sock)

    def abort(self) -> None:
        """End the TCP connection without reading the response."""
        self._connection.close()


class WebSocket:
    """A WebSocket connection that can also send bytes that are no valid frames."""

    def __init__(self, url: str, **options: Any) -> None:
        self._connection = websocket.create_connection(url, timeout=TIMEOUT, **options)
        assert self._connection.sock is not None
        self._socket: socket.socket = self._connection.sock

    def send(self, data: str | bytes) -> None:
        """Send one message: text for str, binary for bytes."""
        if isinstance(data, str):
            self._connection.send(data)
        else:
            self._connection.send_binary(data)

    def send_raw(self, data: bytes) -> None:
        """Write bytes to the TCP connection."""
        self._socket.sendall(data)

    def receive(self, timeout: float = TIMEOUT) -> str | bytes:
        """Return the next message. Raises :class:`Closed`, or TimeoutError after ``timeout`` seconds."""
        self._connection.settimeout(timeout)
        try:
            opcode, data = self._connection.recv_data()
        except websocket.WebSocketTimeoutException:
            raise TimeoutError(f"no message within {timeout} s") from None
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            raise Closed(CLOSED_WITHOUT_CODE, "") from None
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise Closed(int.from_bytes(data[:2], "big") if data else 1005, data[2:].decode())
        return str(data, "utf-8") if opcode == websocket.ABNF.OPCODE_TEXT else bytes(data)

    def receive_skipping_pings(self, timeout: float = TIMEOUT) -> str | bytes:
        """Return the next message that is no Engine.IO ping; answer the pings."""
        deadline = time.monotonic() + timeout
        while (message := self.receive(max(deadline - time.monotonic(), 0.001))) == "2":
            self.send("3")
        return message

    def wait_closed(self, timeout: float = TIMEOUT) -> Closed:
        """Drop messages until the server closes. Raises TimeoutError when it stays open for ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.receive(left)
        except Closed as closed:
            return closed
        raise TimeoutError(f"the server kept the connection open for {timeout} s")

    def half_close(self) -> None:
        """Send a TCP FIN and keep reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def vanish(self) -> None:
        """End the TCP connection without a close frame."""
        self._socket.close()

    def close(self) -> None:
        """Say goodbye with a close frame, without waiting for the answer, and end the TCP connection."""
        with suppress(OSError, websocket.WebSocketException):
            self._connection.send_close()
        self._socket.close()


class PollingSession:
    """An Engine.IO session over HTTP long-polling."""

    def __init__(self, endpoint: Endpoint, sid: str) -> None:
        self._endpoint = endpoint
        self.sid = sid
        self.query = f"EIO=4&transport=polling&sid={sid}"

    def get(self) -> Response:
        """Poll once."""
        return self._endpoint.request("GET", self.query)

    def start_get(self) -> Exchange:
        """Send a poll whose response can be read later."""
        return self._endpoint.start("GET", self.query)

    def post(self, body: str | bytes, headers: dict[str, str] | None = None) -> Response:
        """Send a payload."""
        headers = {"Content-Type": "text/plain;charset=UTF-8", **(headers or {})}
        return self._endpoint.request("POST", self.query, body, headers)

    def poll(self) -> list[str]:
        """Return the packets of the next response that has more than pings; answer the pings."""
        while True:
            response = self.get()
            assert response.status == 200, (response.status, response.body)
            packets = response.text.split(SEPARATOR)
            if "2" in packets:
                self.post("3")
            if others := [packet for packet in packets if packet != "2"]:
                return others

    def upgrade_url(self) -> str:
        """Query of the WebSocket that may take this session over."""
        return f"EIO=4&transport=websocket&sid={self.sid}"


class Endpoint:
    """One Engine.IO path of a running server, and the journal of the application behind it."""

    def __init__(self, url: str, path: str) -> None:
        self.url = url
        self.host, self.port = url.removeprefix("http://").split(":")
        self.path = path
        self._sessions: list[PollingSession] = []
        self._websockets: list[WebSocket] = []

    def start(
        self, method: str, query: str, body: str | bytes | None = None, headers: dict[str, str] | None = None
    ) -> Exchange:
        """Send a request whose response can be read later."""
        connection = HTTPConnection(self.host, int(self.port), timeout=TIMEOUT)
        connection.request(
            method, f"{self.path}/?{query}", body.encode() if isinstance(body, str) else body, headers or {}
        )
        return Exchange(connection)

    def request(
        self, method: str, query: str, body: str | bytes | None = None, headers: dict[str, str] | None = None
    ) -> Response:
        """Send a request and return its response."""
        return self.start(method, query, body, headers).response()

    def upgrade(self, query: str, method: str = "GET", headers: dict[str, str] | None = None) -> Response:
        """Ask for a WebSocket and return the server's answer, whatever it is."""
        return self.request(method, query, headers={**UPGRADE, **(headers or {})})

    def send_raw(self, data: bytes) -> Response | None:
        """Write bytes to a new TCP connection; return the first response, or None if the server just ends it."""
        with socket.create_connection((self.host, int(self.port)), timeout=TIMEOUT) as connection:
            with suppress(ConnectionError):  # the server need not read all of it
                connection.sendall(data)
            return read_response(connection)

    def request_head(self, method: str, query: str, *headers: str) -> bytes:
        """Bytes of a request's head, with exactly these headers besides Host."""
        lines = [f"{method} {self.path}/?{query} HTTP/1.1", f"Host: {self.host}:{self.port}", *headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def open_polling(self) -> PollingSession:
        """Open a session over HTTP long-polling."""
        response = self.request("GET", "EIO=4&transport=polling")
        assert response.status == 200, (response.status, response.body)
        session = PollingSession(self, json.loads(response.text.split(SEPARATOR)[0][1:])["sid"])
        self._sessions.append(session)
        return session

    def websocket(self, query: str = "EIO=4&transport=websocket", **options: Any) -> WebSocket:
        """Open a WebSocket; its first message, if any, is still to be read."""
        url = f"ws://{self.host}:{self.port}{self.path}/?{query}"
        connection = WebSocket(url, **options)
        self._websockets.append(connection)
        return connection

    def open_websocket(self) -> tuple[WebSocket, str]:
        """Open a session over WebSocket; return the connection and the session id."""
        connection = self.websocket()
        handshake = connection.receive()
        assert isinstance(handshake, str) and handshake.startswith("0"), handshake
        return connection, json.loads(handshake[1:])["sid"]

    def open_upgraded(self) -> tuple[WebSocket, PollingSession]:
        """Open a session over polling and upgrade it to WebSocket."""
        session = self.open_polling()
        connection = self.websocket(session.upgrade_url())
        connection.send("2probe")
        assert connection.receive() == "3probe"
        connection.send("5")
        return connection, session

    def journal(self, session_id: str) -> list[str]:
        """What the application noted about a session so far."""
        connection = HTTPConnection(self.host, int(self.port), timeout=TIMEOUT)
        connection.request("GET", f"/journal/{session_id}")
        entries: list[str] = Exchange(connection).response().json()
        return entries

    def wait_for_end(self, session_id: str, timeout: float = TIMEOUT) -> str:
        """Return the reason for which the session ended, once the application knows it."""
        deadline = time.monotonic() + timeout
        while True:
            for entry in self.journal(session_id):
                kind, _, reason = entry.partition(": ")
                if kind in ("close", "disconnect"):
                    return reason
            if time.monotonic() > deadline:
                raise TimeoutError(f"session {session_id} had not ended after {timeout} s")
            time.sleep(0.02)  # the journal is in another process: nothing to wait on

    def hang_up(self) -> None:
        """End all sessions that are still open, so that none keeps a thread of the server."""
        for connection in self._websockets:
            connection.close()
        for session in self._sessions:
            session.post("1")
        self._websockets.clear()
        self._sessions.clear()


def read_response(connection: socket.socket) -> Response | None:
    """Read one HTTP response from a socket; None if the peer ends or resets the connection instead."""
    answer = HTTPResponse(connection)
    try:
        answer.begin()
        return Response(answer.status, answer.headers, answer.read())
    except (HTTPException, ConnectionError):
        return None
    finally:
        answer.close()


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """Return a WebSocket frame (RFC 6455, section 5.2), valid or not; ``length`` may lie about the payload."""
    size = len(payload) if length is None else length
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = bytes([mask_bit | size])
    elif size < 1 << 16:
        head = bytes([mask_bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([mask_bit | 127]) + size.to_bytes(8, "big")
    first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if not masked:
        return first + head + payload
    mask = os.urandom(4)
    return first + head + mask + bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
