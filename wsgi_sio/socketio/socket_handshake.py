"""What a socket knows of the request that opened its connection."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

Environ = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Handshake:
    """The handshake of one socket; everything but ``auth`` is shared by the sockets of a connection.

    :ivar environ: the WSGI environ of the engine's handshake, without the server's own objects.
    :ivar auth: what the client sent along when it connected to this namespace.
    :ivar issued: when, in milliseconds since 1970.
    """

    environ: Environ
    auth: dict[str, Any]
    issued: int = field(default_factory=lambda: int(time.time() * 1000))

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers, their names in lower case."""
        headers = {
            key[5:].replace("_", "-").lower(): value for key, value in self.environ.items() if key[:5] == "HTTP_"
        }
        for key, name in (("CONTENT_TYPE", "content-type"), ("CONTENT_LENGTH", "content-length")):
            if self.environ.get(key):
                headers[name] = self.environ[key]
        return headers

    @property
    def query(self) -> dict[str, str]:
        """All query parameters, those of the engine included."""
        return dict(parse_qsl(self.environ.get("QUERY_STRING", ""), keep_blank_values=True))

    @property
    def url(self) -> str:
        """Path and query of the request."""
        path = self.environ.get("SCRIPT_NAME", "") + self.environ.get("PATH_INFO", "")
        query = self.environ.get("QUERY_STRING", "")
        return f"{path}?{query}" if query else path

    @property
    def address(self) -> str:
        """The remote address; behind a proxy, let werkzeug's ProxyFix correct it."""
        return str(self.environ.get("REMOTE_ADDR", ""))

    @property
    def time(self) -> str:
        """When, as an HTTP date."""
        return formatdate(self.issued / 1000, usegmt=True)

    @property
    def secure(self) -> bool:
        """Whether the client came over TLS."""
        return self.environ.get("wsgi.url_scheme") == "https"

    @property
    def xdomain(self) -> bool:
        """Whether the request had an Origin."""
        return "HTTP_ORIGIN" in self.environ
