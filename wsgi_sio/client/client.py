"""Client: a socket with a manager of its own, for programs that connect to one namespace of one server."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from .manager import Manager
from .options import Auth
from .socket import ClientSocket

_SCHEMES = ("http", "https", "ws", "wss")


class Client(ClientSocket):
    """Connects to a Socket.IO server; ``client.io`` is its :class:`Manager`, with the options that may change.

    ::

        client = Client("http://localhost:5000/chat", auth={"token": "..."})

        @client.on("message")
        def message(text):
            print(text)

        with client:  # connects, or raises at once; disconnects at the end
            client.emit("join", "lobby")
            client.wait()

    ``with client.connect(timeout=10):`` waits ten seconds for a server that is just starting.

    Its connection belongs to the process that made it: a forked child finds itself disconnected, and may connect.

    :param url: where the server is; its path is the namespace, its query goes into every request.
    :param auth: a mapping to send when connecting, or a callable that makes it each time.
    :param options: see :class:`ClientOptions`.
    :raises TypeError: an option is unknown.
    :raises ValueError: an option or the URL makes no sense.
    """

    def __init__(self, url: str, auth: Auth = None, **options: Any) -> None:
        server, nsp = split_url(url)
        super().__init__(Manager(server, **options), nsp, auth=auth)
        self.io.adopt(self)


def split_url(url: str) -> tuple[str, str]:
    """The server's part of a URL, with the query, and the namespace.

    :raises ValueError: it does not begin with a scheme that we know.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise ValueError(f"{url!r} is no URL such as 'http://localhost:5000/namespace'")
    return urlunsplit((parts.scheme, parts.netloc, "", parts.query, "")), parts.path or "/"
