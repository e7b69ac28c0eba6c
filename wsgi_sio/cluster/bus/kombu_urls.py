"""A URL of RabbitMQ -> a connection of py-amqp's, made by kombu, which knows such URLs; it repeats nothing by itself.

``amqp://[user[:password]@]host[:port]/[virtual host]``, the same with ``pyamqp``; the virtual host ``/`` is ``%2F``, or
nothing.  Several brokers of a cluster, separated by ``;``, are tried in turn.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

SCHEMES = ("amqp", "pyamqp")

# How long the broker may take to answer, or to take a connection (seconds).
TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class KombuUrl:
    """A URL, understood.

    :ivar urls: of each broker.
    """

    urls: tuple[str, ...]

    @classmethod
    def parse(cls, url: str) -> KombuUrl:
        """Understand ``url``.

        :raises ValueError: its scheme is none of ours, or its port makes no sense.
        """
        urls = tuple(part.strip() for part in url.split(";") if part.strip()) if isinstance(url, str) else ()
        for part in urls or ("",):
            parts = urlsplit(part)
            if parts.scheme.lower() not in SCHEMES:
                raise ValueError(f"no bus for the scheme {parts.scheme!r}; there are {', '.join(SCHEMES)}")
            if parts.port == 0:
                raise ValueError("the port of a broker cannot be 0")
        return cls(urls)

    @property
    def shown(self) -> str:
        """As the log may show it: without passwords."""
        split = [urlsplit(url) for url in self.urls]
        return ";".join(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" for parts in split)

    def connect(self, name: str, *, heartbeat: int = 0, timeout: float = TIMEOUT, **options: Any) -> Any:
        """A connection that has been opened, whose reads and writes last up to ``timeout`` seconds.

        :param name: how the broker's operators are shown it.
        :param heartbeat: after how many seconds of silence, about twice, the broker gives it up; 0: never.
        :param options: more of py-amqp's.
        :raises ImportError: kombu is not installed.
        :raises Exception: no broker can be reached.
        """
        kombu = self._library()
        properties = {"connection_name": f"wsgi_sio {name} of {socket.gethostname()}"}
        failure: Exception | None = None
        for url in self.urls:
            client = kombu.Connection(
                url, transport_options={"client_properties": properties, "write_timeout": timeout, **options}
            )
            client.heartbeat, client.connect_timeout = heartbeat, timeout  # above what stands in the URL
            try:
                connection = client.transport.establish_connection()
            except Exception as error:  # of py-amqp
                failure = error
            else:
                connection.sock.settimeout(timeout)
                return connection
        assert failure is not None
        raise failure

    def require_client(self) -> None:
        """See to it that there is a client.

        :raises ImportError: the package is not installed.
        """
        self._library()

    def _library(self) -> Any:
        try:
            import kombu

            return kombu
        except ImportError as error:
            raise ImportError(f"{self.shown} needs the package kombu: pip install 'wsgi-sio[kombu]'") from error
