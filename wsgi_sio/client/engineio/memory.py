"""What one connection leaves to the next."""

from __future__ import annotations

import ssl
import urllib.request
from dataclasses import dataclass
from http.cookiejar import Cookie, CookieJar

from ..options import ClientOptions


@dataclass(slots=True)
class Memory:
    """Kept by who reconnects.

    :ivar cookies: sent with every request; the server's are added.
    :ivar websocket_worked: whether the last connection reached the server by WebSocket.
    """

    options: ClientOptions
    cookies: CookieJar
    websocket_worked: bool = False
    _context: ssl.SSLContext | None = None

    @classmethod
    def of(cls, options: ClientOptions) -> Memory:
        """The memory to begin with."""
        if isinstance(options.cookies, CookieJar):
            return cls(options, options.cookies)
        jar = CookieJar()
        for name, value in (options.cookies or {}).items():
            jar.set_cookie(_for_every_server(name, value))
        return cls(options, jar)

    def cookie_header(self, url: str) -> str | None:
        """The Cookie header of a request to ``url``."""
        request = urllib.request.Request(url)
        self.cookies.add_cookie_header(request)
        return request.get_header("Cookie")

    def tls_context(self) -> ssl.SSLContext:
        """The TLS settings, read once.

        :raises OSError: a file of theirs cannot be read, or is no certificate.
        """
        if self._context is None:
            self._context = _make_context(self.options)
        return self._context


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


def _make_context(options: ClientOptions) -> ssl.SSLContext:
    """The context that ``ssl_context``, or ``verify`` and ``cert``, ask for.

    :raises OSError: a file of theirs cannot be read, or is no certificate.
    """
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
