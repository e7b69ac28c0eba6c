"""HTTP for long-polling, by urllib3: keep-alive, TLS, proxies; the only module that imports it."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable
from email.message import Message
from http.client import HTTPException
from time import monotonic
from typing import Any, cast

try:
    from urllib3 import (
        BaseHTTPResponse,
        PoolManager,
        ProxyManager,
        Timeout,
        make_headers,
    )
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.exceptions import HTTPError, NewConnectionError
    from urllib3.util import parse_url
except ImportError as error:
    raise ImportError(
        "long-polling needs the urllib3 library: pip install 'wsgi_sio[client]', or use transports=['websocket']"
    ) from error

from ..exceptions import ConnectionFailed
from .address import Address, basic_authorization
from .memory import Memory
from .wires import Wires, connect_tcp

_CHUNK = 65536
# What is kept of the text of a refusal (bytes).
_MAX_REFUSAL = 65536


class HTTPSession:
    """The requests of one connection to the server; two at a time, from two tasks, as long-polling needs them.

    :param memory: has the cookies to send, which is the place for those that come, and the TLS settings.
    """

    def __init__(self, address: Address, memory: Memory) -> None:
        options = address.options
        self._limit = options.max_message_size
        self._timeout = Timeout(connect=options.timeout, read=options.request_timeout)
        self._address = address
        self._memory = memory
        self._wires = Wires()
        self._headers = {
            **make_headers(keep_alive=True, accept_encoding=True),
            "Accept": "*/*",
            **address.headers(),
        }
        self._pools: PoolManager | None = None
        self._open: Callable[..., BaseHTTPResponse] | None = None
        self._omit = 0  # how much of a URL is not told to ``open``

    def get(self, url: str) -> str:
        """Return the answer to a GET, which may take as long as the server likes.

        :raises ConnectionFailed: there was none, or not the right one.
        """
        return self._request("poll", "GET", url, None, self._headers).decode("utf-8", "replace")

    def post(self, url: str, body: bytes) -> None:
        """POST a payload.

        :raises ConnectionFailed: it has not been accepted, as far as is known.
        """
        headers = {**self._headers, "Content-Type": "text/plain;charset=UTF-8"}
        self._request("post", "POST", url, body, headers)

    def cut(self) -> None:
        """End whatever blocks, now and later; from any thread."""
        self._wires.cut()

    def close(self) -> None:
        """Let idle connections go."""
        if self._pools is not None:
            self._pools.clear()

    def _request(
        self,
        what: str,
        method: str,
        url: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> bytes:
        try:
            opener = self._open or self._make_opener()  # the first request is alone
            response = opener(
                method,
                url[self._omit :],
                body=body,
                headers=self._with_cookies(headers, url),
                timeout=self._timeout,
                redirect=False,
                retries=False,
                preload_content=False,
            )
            try:
                answer = self._take(what, response, url)
            except BaseException:
                response.close()
                raise
            response.release_conn()
        except ConnectionFailed:
            raise
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            raise ConnectionFailed(f"polling error: {what}: {_innermost(error)}") from error
        return answer

    def _take(self, what: str, response: BaseHTTPResponse, url: str) -> bytes:
        if "Set-Cookie" in response.headers:
            self._memory.cookies.extract_cookies(cast(Any, _Answer(response)), urllib.request.Request(url))
        if response.status != 200:
            raise _refusal(what, response)
        size = response.length_remaining
        if size and size <= min(self._limit, _CHUNK) and "Content-Encoding" not in response.headers:
            return response.read()  # the usual case, by one call
        body = bytearray()
        while chunk := response.read(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > self._limit:
                raise ConnectionFailed(f"polling error: the answer is over max_message_size={self._limit} bytes")
        return bytes(body)

    def _with_cookies(self, headers: dict[str, str], url: str) -> dict[str, str]:
        cookies = self._memory.cookie_header(url) if len(self._memory.cookies) else None
        return headers if cookies is None else {"Cookie": cookies, **headers}

    def _make_opener(self) -> Callable[..., BaseHTTPResponse]:
        address, proxy = self._address, self._address.proxy()
        options: dict[str, Any] = {"num_pools": 1, "maxsize": 2}
        if address.secure:
            options["ssl_context"] = self._memory.tls_context()
        if proxy is None:
            pools = PoolManager(**options)
        else:
            user, _, password = (parse_url(proxy).auth or "").partition(":")
            authorization = basic_authorization(user or None, password)
            headers = {} if authorization is None else {"Proxy-Authorization": authorization}
            pools = ProxyManager(proxy, proxy_headers=headers, **options)
        classes: Any = {
            "http": _pool_maker(HTTPConnectionPool, _Connection, self._wires),
            "https": _pool_maker(HTTPSConnectionPool, _TLSConnection, self._wires),
        }
        pools.pool_classes_by_scheme = classes
        self._pools = pools
        self._open = pools.urlopen
        if proxy is None:  # then the pool of our only server is enough
            origin = f"{address.scheme}://{address.netloc}"
            self._open = pools.connection_from_url(origin).urlopen
            self._omit = len(origin)
        return self._open


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


# -- connections that can be cut ------------------------------------------------------------------------------------


class _Tracked:
    """A connection whose socket is known to ``wires``."""

    wires: Wires
    host: str
    port: int
    timeout: Any
    sock: Any

    def _new_conn(self) -> socket.socket:
        deadline = monotonic() + self.timeout if isinstance(self.timeout, (int, float)) else None
        try:
            return connect_tcp(self.host, self.port, self.wires, deadline)
        except OSError as error:  # as it is, urllib3 would take a reset for one of an early answer
            raise NewConnectionError(cast(HTTPConnection, self), str(error)) from error

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.wires.add(self.sock)


class _Connection(_Tracked, HTTPConnection):
    pass


class _TLSConnection(_Tracked, HTTPSConnection):
    pass


def _pool_maker(pool_class: Any, connection_class: Any, wires: Wires) -> Callable[..., Any]:
    """Makes pools whose connections are of ``connection_class`` and know ``wires``."""

    def connection(*args: Any, **kwargs: Any) -> Any:
        made = connection_class(*args, **kwargs)
        made.wires = wires
        return made

    def pool(*args: Any, **kwargs: Any) -> Any:
        made = pool_class(*args, **kwargs)
        made.ConnectionCls = connection
        return made

    return pool
