"""Where the server is: its URL taken apart once, the URL of each request, and the headers that all of them carry."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from ..options import ClientOptions

_SECURE = {"http": False, "ws": False, "https": True, "wss": True}
_PORTS = {False: 80, True: 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A server.

    :ivar host: a name or an IP address, without brackets.
    :ivar netloc: host and port as URLs and the Host header have them.
    :ivar authorization: the header that a URL with a user's name asks for.
    """

    secure: bool
    host: str
    port: int
    netloc: str
    authorization: str | None
    options: ClientOptions
    query: Mapping[str, str]

    @classmethod
    def of(cls, url: str, options: ClientOptions) -> Address:
        """Take ``url`` (http, https, ws or wss) apart; its path does not count.

        :raises ValueError: it is no such URL.
        """
        parts = urlsplit(url)
        secure = _SECURE.get(parts.scheme)
        if secure is None or not parts.hostname:
            raise ValueError(f"the server's URL must be http(s)://host[:port] or ws(s)://…, not {url!r}")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = parts.port or _PORTS[secure]
        return cls(
            secure=secure,
            host=parts.hostname,
            port=port,
            netloc=host if port == _PORTS[secure] else f"{host}:{port}",
            authorization=basic_authorization(parts.username, parts.password),
            options=options,
            query={**dict(parse_qsl(parts.query, keep_blank_values=True)), **options.query},
        )

    @property
    def scheme(self) -> str:
        """Of HTTP, which proxies and cookies go by."""
        return "https" if self.secure else "http"

    def url(self, transport: str, sid: str) -> str:
        """The URL of a transport's requests, in HTTP's scheme; not unique yet."""
        return f"{self.scheme}://{self.netloc}{self._target(transport, sid)}"

    def target(self, transport: str, sid: str) -> str:
        """The path and query of one request; ``sid`` is empty before the handshake."""
        return self.unique(self._target(transport, sid), transport)

    def unique(self, url: str, transport: str) -> str:
        """``url`` for one request: no cache shall answer it."""
        options = self.options
        wanted = transport == "polling" if options.timestamp_requests is None else options.timestamp_requests
        return f"{url}&{options.timestamp_param}={secrets.token_urlsafe(6)}" if wanted else url

    def _target(self, transport: str, sid: str) -> str:
        query = {**self.query, "EIO": "4", "transport": transport}
        if sid:
            query["sid"] = sid
        return f"{self.path}?{urlencode(query)}"

    @property
    def path(self) -> str:
        """That of the engine."""
        return quote(self.options.path.rstrip("/"), safe="/%:@!$&'()*+,;=~") + "/"

    def headers(self) -> dict[str, str]:
        """What every request carries; ``extra_headers`` may replace anything, in any case."""
        headers = {"Host": self.netloc, "User-Agent": "wsgi_sio"}
        if self.authorization is not None:
            headers["Authorization"] = self.authorization
        names = {name.lower(): name for name in headers}
        return headers | {names.get(name.lower(), name): value for name, value in self.options.extra_headers.items()}


def basic_authorization(user: str | None, password: str | None) -> str | None:
    """The header for a URL's user and password, None where it has none."""
    if user is None:
        return None
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")
