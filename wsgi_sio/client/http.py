"""HTTP for long-polling, by requests: keep-alive, cookies, TLS, proxies; the only module that imports it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any, cast

try:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.exceptions import NewConnectionError
except ImportError as error:
    raise ImportError(
        "long-polling needs the requests library: pip install 'wsgi_sio[client]', or use transports=['websocket']"
    ) from error

from ..exceptions import ConnectionFailed
from .address import Address
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
        self._timeout = (options.timeout, options.request_timeout)
        self._wires = Wires()
        self._session = session = requests.Session()
        session.trust_env = False  # the address knows the proxies, and nobody shall read ~/.netrc for each request
        session.cookies = memory.cookies  # type: ignore[assignment]  # any jar will do
        session.headers.update(address.headers())
        proxy = address.proxy()
        if proxy is not None:
            session.proxies = {address.scheme: proxy}
        context = memory.tls_context() if address.secure else None
        session.verify = context is None or context.verify_mode != ssl.CERT_NONE
        session.mount(f"{address.scheme}://", _Adapter(context, self._wires))

    def get(self, url: str) -> str:
        """Return the answer to a GET, which may take as long as the server likes.

        :raises ConnectionFailed: there was none, or not the right one.
        """
        return self._request("poll", url, None).decode("utf-8", "replace")

    def post(self, url: str, body: bytes) -> None:
        """POST a payload.

        :raises ConnectionFailed: it has not been accepted, as far as is known.
        """
        self._request("post", url, body)

    def cut(self) -> None:
        """End whatever blocks, now and later; from any thread."""
        self._wires.cut()

    def close(self) -> None:
        """Let idle connections go."""
        self._session.close()

    def _request(self, what: str, url: str, body: bytes | None) -> bytes:
        try:
            with self._session.request(
                "GET" if body is None else "POST",
                url,
                data=body,
                headers=None if body is None else {"Content-Type": "text/plain;charset=UTF-8"},
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                if response.status_code == 200:
                    return _read(response, self._limit)
                raise _refusal(what, response)
        except ConnectionFailed:
            raise
        except (requests.RequestException, OSError, ValueError) as error:
            raise ConnectionFailed(f"polling error: {what}: {_innermost(error)}") from error


def _read(response: requests.Response, limit: int) -> bytes:
    """The body, as long as it is within ``limit``."""
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > limit:
            raise ConnectionFailed(f"polling error: the answer is over max_message_size={limit} bytes")
    return bytes(body)


def _refusal(what: str, response: requests.Response) -> ConnectionFailed:
    text = b""
    try:
        for chunk in response.iter_content(4096):
            text += chunk
            if len(text) > _MAX_REFUSAL:
                break
    except requests.RequestException:
        pass  # the refusal counts, with what there is of its text
    status = response.status_code
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


class _Adapter(HTTPAdapter):
    """Uses our TLS context as it is, and tells ``wires`` of each connection."""

    def __init__(self, context: ssl.SSLContext | None, wires: Wires) -> None:
        self._context = context
        self._pools = {
            "http": _pool_maker(HTTPConnectionPool, _Connection, wires),
            "https": _pool_maker(HTTPSConnectionPool, _TLSConnection, wires),
        }
        super().__init__(pool_connections=1, pool_maxsize=2)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **{**kwargs, **self._tls()})
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **{**kwargs, **self._tls()})
        manager.pool_classes_by_scheme = self._pools
        return manager

    def cert_verify(self, *args: Any) -> None:
        """The context knows whom to trust, and is not to be taught others."""

    def _tls(self) -> dict[str, Any]:
        return {} if self._context is None else {"ssl_context": self._context}


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
