"""HTTPSession: what the connections to one server have in common, one after the other: cookies, TLS, the way there."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http.cookiejar import Cookie, CookieJar
from typing import Any

from ..options import ClientOptions
from .proxy import Proxy, open_tunnel
from .tcp import BlockingSockets, connect_tcp, limit
from .url import Address


@dataclass(slots=True)
class HTTPSession:
    """Kept by who reconnects, and used by both transports.

    :ivar cookies: sent with every request; the server's are added.
    :ivar worked: the transport, other than polling, by which the last connection reached the server; or none.
    """

    options: ClientOptions
    cookies: CookieJar
    worked: str = ""
    _tls_context: ssl.SSLContext | None = None

    @classmethod
    def of(cls, options: ClientOptions) -> HTTPSession:
        """What to begin with."""
        return cls(options, _make_jar(options.cookies))

    def cookie_header(self, url: str) -> str | None:
        """The Cookie header of a request to ``url``; None without cookies for it."""
        request = urllib.request.Request(url)
        self.cookies.add_cookie_header(request)
        return request.get_header("Cookie")

    def tls_context(self) -> ssl.SSLContext:
        """The TLS settings, read once.

        :raises OSError: a file of theirs cannot be read, or is no certificate.
        """
        if self._tls_context is None:
            self._tls_context = _make_tls_context(self.options)
        return self._tls_context

    def connect(
        self, address: Address, proxy: Proxy | None, sockets: BlockingSockets, deadline: float | None, *, tunnel: bool
    ) -> Any:
        """A socket that is connected to the server, or to a proxy that is to be sent plain HTTP; ``sockets`` knows it.

        It blocks, so it belongs into a task of its own; ``sockets`` lets another thread end it.

        :param tunnel: whether to ask ``proxy`` for a way through in any case, not for TLS only.
        :raises OSError: it cannot be reached, or is not to be trusted.
        :raises ValueError: its name is none.
        """
        with ExitStack() as unwound:
            first = proxy or address
            sock: Any = connect_tcp(first.host, first.port, sockets, deadline)
            unwound.callback(sock.close)
            if proxy is not None and (tunnel or address.secure):
                open_tunnel(sock, address, proxy, deadline)
            if address.secure:
                limit(sock, deadline)
                sockets.remove(sock)
                context = self.tls_context()
                sock = context.wrap_socket(sock, server_hostname=address.host, do_handshake_on_connect=False)
                unwound.callback(sock.close)
                sockets.add(sock)
                sock.do_handshake()
            unwound.pop_all()
        return sock


def _make_tls_context(options: ClientOptions) -> ssl.SSLContext:
    """The context that ``ssl_context``, or ``verify`` and ``cert``, ask for."""
    if options.ssl_context is not None:
        return options.ssl_context
    context = ssl.create_default_context(cafile=options.verify if isinstance(options.verify, str) else None)
    context.set_alpn_protocols(["http/1.1"])
    if options.verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if isinstance(options.cert, str):
        context.load_cert_chain(options.cert)
    elif options.cert is not None:
        context.load_cert_chain(*options.cert)
    return context


def _make_jar(cookies: CookieJar | Mapping[str, str] | None) -> CookieJar:
    """The jar that the option ``cookies`` asks for: that of others, or one with these for every server."""
    if isinstance(cookies, CookieJar):
        return cookies
    jar = CookieJar()
    for name, value in (cookies or {}).items():
        jar.set_cookie(_for_every_server(name, value))
    return jar


def _for_every_server(name: str, value: str) -> Cookie:
    return Cookie(
        version=0,
        name=name,
        value=value,
        port=None,
        port_specified=False,
        domain="",
        domain_specified=False,
        domain_initial_dot=False,
        path="/",
        path_specified=True,
        secure=False,
        expires=None,
        discard=True,
        comment=None,
        comment_url=None,
        rest={},
    )
