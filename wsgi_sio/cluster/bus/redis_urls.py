"""A URL of Redis or Valkey -> a client of redis-py or valkey-py, whose connections fail at once rather than repeat.

``redis://[[user]:password@]host[:port][/db]``, ``rediss://`` (TLS), ``unix:///path``, with redis-py's options behind a
``?``; ``redis+sentinel://[user:password@]host:port,host:port/db/service`` (``rediss+sentinel`` where Redis itself
speaks TLS); ``redis+cluster://host:port`` (``rediss+cluster``).  The same with ``valkey`` and ``valkeys``.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from socket import SHUT_RDWR
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

# How long a server may take to answer, or to take a connection (seconds).
TIMEOUT = 5.0

# The scheme without its "+..." -> the package, and whether it means TLS.
_CLIENTS = {
    "redis": ("redis", False),
    "rediss": ("redis", True),
    "unix": ("redis", False),
    "valkey": ("valkey", False),
    "valkeys": ("valkey", True),
}
_VARIANTS = ("", "sentinel", "cluster")

SCHEMES = tuple(f"{name}+{variant}" if variant else name
                for name in _CLIENTS for variant in (_VARIANTS if name != "unix" else ("",)))  # fmt: skip


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL, understood.

    :ivar url: as it was given.
    :ivar package: ``redis`` or ``valkey``.
    :ivar variant: "", "sentinel" or "cluster".
    :ivar tls: whether the connections are encrypted.
    """

    url: str
    package: str
    variant: str
    tls: bool

    @classmethod
    def parse(cls, url: str) -> RedisUrl:
        """Understand ``url``.

        :raises ValueError: its scheme is none of ours.
        """
        scheme = urlsplit(url).scheme.lower() if isinstance(url, str) else ""
        name, _, variant = scheme.partition("+")
        if scheme not in SCHEMES:
            raise ValueError(f"no bus for the scheme {scheme!r}; there are {', '.join(SCHEMES)}")
        package, tls = _CLIENTS[name]
        return cls(url, package, variant, tls)

    @property
    def shown(self) -> str:
        """As the log may show it: without passwords."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def client(self, **options: Any) -> Any:
        """Make a client, of redis-py or valkey-py; only that of a cluster connects at once.

        Its answers are bytes, it repeats nothing by itself, and it waits for an answer up to :data:`TIMEOUT`.

        :param options: for the client's class, above the URL's.
        :raises ImportError: the package is not installed.
        :raises ValueError: the URL makes no sense.
        """
        library, client_class = self._library()
        settled = {
            "retry": library.retry.Retry(library.backoff.NoBackoff(), 0),
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "socket_keepalive": True,
            "protocol": 2,
            "decode_responses": False,
            "health_check_interval": 0,
            **options,
        }
        if self.variant == "cluster":
            return self._cluster(library, settled)
        if self.variant == "sentinel":
            return self._sentinel(library, settled)
        url = self._without(settled)
        if url.startswith("unix"):
            settled.pop("socket_keepalive")
        return client_class.from_url(url, **settled)

    def _without(self, settled: dict[str, Any]) -> str:
        """The URL without options that are settled, above which they would stand; its scheme in small letters."""
        parts = urlsplit(self.url)
        options = [option for option in parts.query.split("&") if option.partition("=")[0] not in settled]
        return f"{parts.scheme}://{parts.netloc}{parts.path}{'?' if options else ''}{'&'.join(options)}"

    def _library(self) -> tuple[Any, Any]:
        try:
            if self.package == "valkey":
                import valkey
                import valkey.backoff
                import valkey.cluster
                import valkey.retry
                import valkey.sentinel

                return valkey, valkey.Valkey
            import redis
            import redis.backoff
            import redis.cluster
            import redis.retry
            import redis.sentinel

            return redis, redis.Redis
        except ImportError as error:
            raise ImportError(
                f"{self.shown} needs the package {self.package}: pip install 'wsgi-sio[{self.package}]'"
            ) from error

    def _credentials(self) -> dict[str, Any]:
        parts = urlsplit(self.url)
        found = {"username": parts.username, "password": parts.password}
        return {name: unquote(value) for name, value in found.items() if value}

    def _addresses(self) -> list[tuple[str, int]]:
        default = 26379 if self.variant == "sentinel" else 6379
        hosts = urlsplit(self.url).netloc.rpartition("@")[2].split(",")
        addresses = []
        for host in hosts:
            name, _, port = host.rpartition(":") if ":" in host.rpartition("]")[2] else (host, "", "")
            addresses.append((name.strip("[]"), int(port or default)))
        return addresses

    def _sentinel(self, library: Any, settled: dict[str, Any]) -> Any:
        """Sentinels; as python-socketio has it, and with the service alone as the path, too."""
        parts = urlsplit(self.url)
        path = [part for part in parts.path.split("/") if part]
        service = path[-1] if path and not path[-1].isdigit() else "mymaster"
        options = {**self._credentials(), **_options_in(parts.query, settled)}
        if path and path[0].isdigit():
            options["db"] = int(path[0])
        own = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
        for name in ("username", "password"):
            value = options.pop(f"sentinel_{name}", None)
            if value is not None:
                own[name] = value
        if self.tls:
            options["ssl"] = True
        # Both, since a connection class is chosen by the options that the pool is made with.
        sentinel = library.sentinel.Sentinel(self._addresses(), sentinel_kwargs=own, **options)
        return sentinel.master_for(service, **settled)

    def _cluster(self, library: Any, settled: dict[str, Any]) -> Any:
        parts = urlsplit(self.url)
        cluster = library.cluster
        nodes = [cluster.ClusterNode(host, port) for host, port in self._addresses()]
        client_class = cluster.ValkeyCluster if self.package == "valkey" else cluster.RedisCluster
        if self.tls:
            settled["ssl"] = True
        return client_class(startup_nodes=nodes, **self._credentials(), **_options_in(parts.query, settled), **settled)


def _options_in(query: str, settled: dict[str, Any]) -> dict[str, Any]:
    """The options behind the ``?``, without those that are settled."""
    return {name: value for name, value in parse_qsl(query) if name not in settled}


def set_timeout(connection: Any, seconds: float) -> None:
    """How long one of their connections waits for something to read.  There is no public way: can_read() sets it for
    each message anew, and sets it back, which costs as much as to read it."""
    connection._sock.settimeout(seconds)


def socket_of(connection: Any) -> Any:
    """The socket of one of their connections; None when it has none.  There is no public way to ask."""
    return getattr(connection, "_sock", None)


def descriptor_of(connection: Any) -> int:
    """Its descriptor, -1 when it has none."""
    sock = socket_of(connection)
    return -1 if sock is None else int(sock.fileno())


def write_to(connection: Any, data: bytes) -> None:
    """Write to one of their connections, whatever somebody else does with it.

    :raises OSError: it has ended.
    """
    sock = connection._sock
    if sock is None:
        raise ConnectionError("the connection has ended")
    sock.sendall(data)


def cut(connection: Any) -> None:
    """End one of their connections for those who are at it: they notice, and its descriptor is not used again yet."""
    with suppress(OSError, AttributeError):
        connection._sock.shutdown(SHUT_RDWR)
