"""The proxy on the way to the server: which one, and its tunnel (RFC 9110, section 9.3.6)."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .tcp import read_head
from .url import Address, basic_authorization


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    :ivar host: without brackets.
    :ivar authorization: the Proxy-Authorization header that its URL asks for.
    """

    host: str
    port: int
    authorization: str | None

    @classmethod
    def of(cls, url: str) -> Proxy:
        """Take its URL apart.

        :raises ValueError: it is no http:// URL.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"a proxy's URL must be http://host[:port], not {parts.scheme}://")
        return cls(parts.hostname, parts.port or 80, basic_authorization(parts.username, parts.password))


def choose_proxy(address: Address) -> Proxy | None:
    """The proxy to go through: the options' or, failing that, the environment's.

    :raises ValueError: it is no http:// URL.
    """
    chosen = _choose(address.options.proxies, address.scheme, address.host)
    if chosen is None and not urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
        chosen = _choose(urllib.request.getproxies(), address.scheme, address.host)
    return Proxy.of(chosen) if chosen else None


def _choose(proxies: Mapping[str, str], scheme: str, host: str) -> str | None:
    """The most special entry that fits, by the rules of requests."""
    for key in (f"{scheme}://{host}", scheme, f"all://{host}", "all"):
        if key in proxies:
            return proxies[key]
    return None


def open_tunnel(sock: Any, address: Address, proxy: Proxy, deadline: float | None) -> None:
    """Have ``proxy``, to which ``sock`` is connected, pass on everything to the server from now on (CONNECT).

    :raises OSError: it does not.
    """
    where = f"[{address.host}]" if ":" in address.host else address.host
    where = f"{where}:{address.port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    head, _ = read_head(sock, deadline, chunk=1)  # what follows the head belongs to the server
    status = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(status) < 2 or not status[0].startswith(b"HTTP/") or not status[1].startswith(b"2"):
        line = b" ".join(status).decode("latin-1")
        raise OSError(f"the proxy refuses the tunnel: {line[:100]!r}")
