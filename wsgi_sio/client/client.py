"""Client and SimpleClient: for programs that connect to one namespace of one server; with handlers, or without."""

from __future__ import annotations

from collections import deque
from time import monotonic
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..exceptions import Disconnected, TimedOut
from ..runtime import make_event
from ..socketio.handlers import CATCH_ALL
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


class SimpleClient:
    """A client without handlers, for scripts and tests: connect, emit, call, receive.

    Events are kept until :meth:`receive` takes them; one that asks for it is acknowledged with no arguments.

    ::

        with SimpleClient("http://localhost:5000") as client:
            client.emit("join", "lobby")
            event, *args = client.receive(timeout=5)

    :param url: as for :class:`Client`; None leaves it to :meth:`connect`.
    :param options: as for :class:`Client`.
    """

    def __init__(self, url: str | None = None, **options: Any) -> None:
        self._url = url
        self._options = options
        self._client: Client | None = None
        self._events: deque[list[Any]] = deque()
        self._news = make_event()
        self._left = False  # whether the events before the end of the connection have all been kept

    @property
    def client(self) -> Client:
        """What is underneath.

        :raises Disconnected: before :meth:`connect`.
        """
        if self._client is None:
            raise Disconnected("not connected: call connect() first")
        return self._client

    @property
    def connected(self) -> bool:
        """Whether the connection stands just now; a lost one is made again by itself."""
        return self._client is not None and self._client.connected

    @property
    def id(self) -> str | None:
        """The server's name for this client; None while it is not connected."""
        return None if self._client is None else self._client.id

    def connect(
        self, url: str | None = None, *, timeout: float | None = None, retry: bool | None = None, **options: Any
    ) -> SimpleClient:
        """Connect, and wait for it.

        :param url: None for the one given before.
        :param timeout: seconds in which to try, as often as that allows; None for one attempt.
        :param retry: True for as many as it takes, False for one in any case; see :meth:`Client.connect`.
        :param options: in addition to those given before.
        :return: itself.
        :raises ValueError: there is no URL.
        :raises SocketIOError: see :meth:`Client.connect`.
        """
        self._url = self._url if url is None else url
        if self._url is None:
            raise ValueError("connect() needs a URL")
        self.disconnect()
        self._events.clear()
        client = Client(self._url, **{**self._options, **options})
        client.on(CATCH_ALL, self._keep)
        client.on("connect", lambda: self._note_end(False))
        client.on("disconnect", lambda: self._note_end(True))  # it comes behind the last event
        client.when_over(self._news.set)
        client.connect(timeout=timeout, retry=retry)
        self._client = client
        return self

    def _keep(self, *event: Any) -> None:
        self._events.append(list(event))
        self._news.set()

    def _note_end(self, left: bool) -> None:
        self._left = left
        self._news.set()

    def emit(self, event: str, *args: Any) -> None:
        """Send an event; see :meth:`Client.emit`."""
        self.client.emit(event, *args)

    def call(self, event: str, *args: Any, timeout: float | None = 60.0) -> Any:
        """Send an event and wait for its acknowledgement; see :meth:`Client.emit_with_ack`."""
        return self.client.emit_with_ack(event, *args, timeout=timeout)

    def receive(self, timeout: float | None = None) -> list[Any]:
        """The next event: its name, and its arguments.

        :param timeout: how many seconds to wait for one; None for ever.
        :raises TimedOut: none came.
        :raises Disconnected: the connection is over for good, and all events have been received.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            self._news.clear()
            over = self.client.wait(0) and self._left
            try:
                return self._events.popleft()
            except IndexError:
                if over:
                    raise Disconnected("the connection is over") from None
            finally:
                if over or self._events:  # there may be another receiver
                    self._news.set()
            left = None if deadline is None else deadline - monotonic()
            if (left is not None and left <= 0) or not self._news.wait(left):
                raise TimedOut(f"no event came within {timeout:g} s")

    def disconnect(self) -> None:
        """Leave, and wait for the end."""
        if self._client is not None:
            self._client.disconnect()

    def __enter__(self) -> SimpleClient:
        at_rest = self._client is None or self._client.wait(0)
        return self.connect() if at_rest and self._url is not None else self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.disconnect()


def split_url(url: str) -> tuple[str, str]:
    """The server's part of a URL, with the query, and the namespace.

    :raises ValueError: it does not begin with a scheme that we know.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise ValueError(f"{url!r} is no URL such as 'http://localhost:5000/namespace'")
    return urlunsplit((parts.scheme, parts.netloc, "", parts.query, "")), parts.path or "/"
