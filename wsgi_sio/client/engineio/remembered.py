"""What one connection leaves to the next."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from http.cookiejar import CookieJar

from ..options import ClientOptions
from .cookies import make_jar
from .tls import make_context


@dataclass(slots=True)
class Remembered:
    """Kept by who reconnects.

    :ivar cookies: sent with every request; the server's are added.
    :ivar websocket_worked: whether the last connection reached the server by WebSocket.
    """

    options: ClientOptions
    cookies: CookieJar
    websocket_worked: bool = False
    _context: ssl.SSLContext | None = None

    @classmethod
    def of(cls, options: ClientOptions) -> Remembered:
        """What to begin with."""
        return cls(options, make_jar(options.cookies))

    def tls_context(self) -> ssl.SSLContext:
        """The TLS settings, read once.

        :raises OSError: a file of theirs cannot be read, or is no certificate.
        """
        if self._context is None:
            self._context = make_context(self.options)
        return self._context
