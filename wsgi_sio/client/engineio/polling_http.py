"""HTTP for long-polling, by urllib3's connections; the only module that imports it."""

from __future__ import annotations

import _socket
import socket
import urllib.request
from collections.abc import Callable
from contextlib import closing
from email.message import Message
from functools import cached_property
from http.client import HTTPException
from typing import Any, cast

try:
    from urllib3 import BaseHTTPResponse, make_headers
    from urllib3.connection import HTTPConnection
    from urllib3.exceptions import HTTPError
except ImportError as error:
    raise ImportError(
        "long-polling needs the urllib3 library: pip install 'wsgi_sio[client]'; or do without it:"
        " transports=['websocket'] (connect: --transport websocket)"
    ) from error

from ...exceptions import ConnectionFailed
from .http_session import HTTPSession
from .proxy import Proxy, choose_proxy
from .tcp import BlockingSockets, deadline_after
from .url import Address

_CHUNK = 65536
# What is kept of the text of a refusal (bytes).
_MAX_REFUSAL = 65536


class HTTPClient:
    """The requests of one connection to the server; two at a time, from two tasks, as long-polling needs them.

    :param session: has the cookies to send, which is the place for those that come, and makes connections.
    :param on_answer: called when the answer to a GET begins to come, while that still lies in the kernel.
    """

    def __init__(self, address: Address, session: HTTPSession, on_answer: Callable[[], None]) -> None:
        self._address = address
        self._options = address.options
        self._session = session
        self._on_answer = on_answer
        self._sockets = BlockingSockets()
        self._idle: list[HTTPConnection] = []
        self._closed = False

    def get(self, url: str) -> str:
        """Return the answer to a GET, which may take as long as the server likes.

        :raises ConnectionFailed: there was none, or not the right one.
        """
        return self._request("poll", "GET", url, None).decode("utf-8", "replace")

    def post(self, url: str, body: bytes) -> None:
        """POST a payload.

        :raises ConnectionFailed: it has not been accepted, as far as is known.
        """
        self._request("post", "POST", url, body)

    def cancel(self) -> None:
        """End whatever blocks, now and later; from any thread."""
        self._sockets.cancel()

    @property
    def unread(self) -> bool:
        """Whether part of an answer lies in the kernel."""
        return self._sockets.unread

    def close(self) -> None:
        """Let idle connections go, now and later."""
        self._closed = True
        while (connection := self._pop()) is not None:
            connection.close()

    # -- requests -----------------------------------------------------------------------------------------------

    def _request(self, what: str, method: str, url: str, body: bytes | None) -> bytes:
        try:
            connection = self._idle_connection() or self._connect()
            try:
                with closing(self._exchange(connection, method, url, body)) as response:
                    answer = self._take(what, response, url)
            except BaseException:
                connection.close()
                raise
        except ConnectionFailed:
            raise
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            raise ConnectionFailed(f"polling error: {what}: {_innermost(error)}") from error
        self._keep(connection)
        return answer

    def _exchange(self, connection: HTTPConnection, method: str, url: str, body: bytes | None) -> BaseHTTPResponse:
        headers = self._headers if body is None else {**self._headers, "Content-Type": "text/plain;charset=UTF-8"}
        if len(self._session.cookies):
            cookies = self._session.cookie_header(url)
            headers = headers if cookies is None else {"Cookie": cookies, **headers}
        connection.timeout = self._options.timeout
        try:
            connection.request(method, url[self._omitted :], body, headers, preload_content=False)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server may have answered before it had everything
        connection.timeout = self._options.request_timeout
        if body is None:
            self._await_answer(connection.sock)
        return connection.getresponse()

    def _await_answer(self, sock: Any) -> None:
        sock.settimeout(self._options.request_timeout)
        if isinstance(sock, _socket.socket):  # gevent's is none, and need not: nobody runs between reading and delivery
            _socket.socket.recv(sock, 1, socket.MSG_PEEK)
            self._on_answer()

    def _take(self, what: str, response: BaseHTTPResponse, url: str) -> bytes:
        if "Set-Cookie" in response.headers:
            self._session.cookies.extract_cookies(cast(Any, _Answer(response)), urllib.request.Request(url))
        if response.status != 200:
            raise _refusal(what, response)
        limit = self._options.max_message_size
        size = response.length_remaining
        if size and size <= min(limit, _CHUNK) and "Content-Encoding" not in response.headers:
            return response.read()  # the usual case, by one call
        body = bytearray()
        while chunk := response.read(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > limit:
                raise ConnectionFailed(f"polling error: the answer is over max_message_size={limit} bytes")
        return bytes(body)

    # -- what is asked for once, with the first request, which is alone -----------------------------------------

    @cached_property
    def _proxy(self) -> Proxy | None:
        return choose_proxy(self._address)

    @cached_property
    def _is_forwarded(self) -> bool:
        """Whether a proxy reads the requests."""
        return self._proxy is not None and not self._address.secure

    @cached_property
    def _omitted(self) -> int:
        """How many characters of a URL are for nobody but a proxy."""
        return 0 if self._is_forwarded else len(f"{self._address.scheme}://{self._address.netloc}")

    @cached_property
    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "*/*", **make_headers(keep_alive=True, accept_encoding=True), **self._address.headers()}
        if self._proxy is not None and self._is_forwarded and self._proxy.authorization is not None:
            headers["Proxy-Authorization"] = self._proxy.authorization
        return headers

    # -- connections --------------------------------------------------------------------------------------------

    def _idle_connection(self) -> HTTPConnection | None:
        while (connection := self._pop()) is not None and not connection.is_connected:
            connection.close()
        return connection

    def _pop(self) -> HTTPConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self) -> HTTPConnection:
        address = self._address
        deadline = deadline_after(self._options.timeout)
        connection = HTTPConnection(address.host, address.port)
        connection.sock = self._session.connect(address, self._proxy, self._sockets, deadline, tunnel=False)
        return connection

    def _keep(self, connection: HTTPConnection) -> None:
        if not connection.is_closed:  # as the server may want it
            self._idle.append(connection)
        if self._closed:  # perhaps meanwhile
            self.close()


class _Answer:
    """A response as the cookie jar wants it."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self._headers = Message()
        for cookie in response.headers.getlist("Set-Cookie"):
            self._headers["Set-Cookie"] = cookie

    def info(self) -> Message:
        return self._headers


def _refusal(what: str, response: BaseHTTPResponse) -> ConnectionFailed:
    text = b""
    try:
        while len(text) < _MAX_REFUSAL and (chunk := response.read(4096, decode_content=True)):
            text += chunk
    except HTTPError:
        pass  # the refusal counts, with what there is of its text
    status = response.status
    location = response.headers.get("Location")
    hint = f", which redirects to {location!r}" if location else ""
    return ConnectionFailed(
        f"polling error: the server answered {what} with {status}{hint}",
        status,
        text[:_MAX_REFUSAL].decode("utf-8", "replace"),
    )


def _innermost(error: BaseException) -> BaseException:
    """What happened, without the layers that pass it on."""
    while error.__cause__ is not None or error.__context__ is not None:
        inner = error.__cause__ or error.__context__
        assert inner is not None
        error = inner
    return error
