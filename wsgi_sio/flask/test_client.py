"""SocketIOTestClient: Flask-SocketIO's test client, by the real protocol (see :mod:`wsgi_sio.testing`)."""

from __future__ import annotations

from typing import Any, Protocol

import flask
from flask.testing import EnvironBuilder
from werkzeug.test import Client as HTTPClient

from ..exceptions import ConnectRefused
from ..server import Server
from ..socketio.testing_hooks import RAISED_KEY
from ..testing import Received, TestClient


class ServedBy(Protocol):
    """A SocketIO, of which a test client needs only the server."""

    @property
    def io(self) -> Server:
        """The server of the current app."""


class SocketIOTestClient:
    """A client of ``app`` that has joined ``namespace``, or been refused: see :meth:`is_connected`.

    When a method returns, the handlers have run, in the caller's thread and within its app context if it has one.
    What one of them raises (and no error handler takes) is raised here; so is why what it returns cannot be sent.

    :param app: the app.
    :param socketio: its SocketIO.
    :param namespace: the namespace to join.
    :param query_string: sent with the handshake.
    :param headers: likewise.
    :param auth: what ``connect`` handlers get.
    :param flask_test_client: ``app.test_client()``, to have its cookies, hence its session.
    :ivar eio_sid: the id of the engine's session.
    """

    def __init__(
        self,
        app: flask.Flask,
        socketio: ServedBy,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: Any = None,
        auth: Any = None,
        flask_test_client: Any = None,
    ) -> None:
        self.app = app
        self.socketio = socketio
        self.flask_test_client = flask_test_client
        self.eio_sid = ""
        self._clients: dict[str, TestClient] = {}
        self._refusals: dict[str, ConnectRefused] = {}
        self._raised: list[Exception] = []
        self.connect(namespace, query_string, headers, auth)

    def connect(
        self, namespace: str | None = None, query_string: str | None = None, headers: Any = None, auth: Any = None
    ) -> None:
        """Join a namespace: over the connection there is, or a new one when the handshake is to carry more.

        :raises ConnectionFailed: the handshake was refused.
        :raises Exception: what the ``connect`` handler raises.
        """
        name = namespace or "/"
        shared = next(iter(self._clients.values()), None)
        if shared is None or query_string or headers or not shared.session.open:
            shared = self._open(query_string, headers)
        self._refusals.pop(name, None)
        self._clients[name] = shared
        try:
            shared.connect(name, auth)
        except ConnectRefused as refusal:
            self._refusals[name] = refusal
        self._raise()

    def _open(self, query_string: str | None, headers: Any) -> TestClient:
        with self.app.app_context():
            io = self.socketio.io
        http = _PlainClient(self.app) if self.flask_test_client is None else self.flask_test_client
        query = (query_string or "").lstrip("?")
        client = TestClient(io, query_string=query, headers=headers, http=http)
        client.session.environ["QUERY_STRING"] = query  # as tests know it: without the engine's own parameters
        client.session.environ[RAISED_KEY] = self._raised
        self.eio_sid = client.session.id
        return client

    def is_connected(self, namespace: str | None = None) -> bool:
        """Whether the client is in ``namespace``."""
        client = self._clients.get(namespace or "/")
        return client is not None and client.is_connected(namespace or "/")

    def connect_error(self, namespace: str | None = None) -> dict[str, Any] | None:
        """What a client that was refused has got: ``message``, and perhaps ``data``; None when it was not refused."""
        refusal = self._refusals.get(namespace or "/")
        if refusal is None:
            return None
        return {"message": refusal.message, **({} if refusal.data is None else {"data": refusal.data})}

    def disconnect(self, namespace: str | None = None) -> None:
        """Leave ``namespace``.

        :raises RuntimeError: the client is not in there.
        """
        self._client(namespace).disconnect(namespace or "/")
        self._raise()

    def emit(self, event: str, *args: Any, callback: bool = False, namespace: str | None = None, **ignored: Any) -> Any:
        """Send an event.

        :param callback: ask for an acknowledgement, and return it: the one value, or the list of several.
        :return: None without ``callback``, or when no handler has acknowledged.
        :raises RuntimeError: the client is not in ``namespace``.
        :raises Exception: what the handler raises.
        """
        client, name = self._client(namespace), namespace or "/"
        answer = None
        if callback:
            answer = client.ask(event, *args, namespace=name)
        else:
            client.emit(event, *args, namespace=name)
        self._raise()
        return answer[0] if answer is not None and len(answer) == 1 else answer

    def send(self, data: Any, json: bool = False, callback: bool = False, namespace: str | None = None) -> Any:
        """Emit the event ``message`` (or ``json``)."""
        return self.emit("json" if json else "message", data, callback=callback, namespace=namespace)

    def get_received(self, namespace: str | None = None) -> list[dict[str, Any]]:
        """What has come since the last call: ``name``, ``args`` and ``namespace`` of each event.

        ``args`` is a list, but of the events ``message`` and ``json`` the bare value.

        :raises RuntimeError: the client is not in ``namespace``.
        """
        return [_as_dict(event) for event in self._client(namespace).received(namespace or "/")]

    def on(self, event: str, handler: Any, namespace: str | None = None) -> None:
        """Answer what the server asks with ``callback`` or ``call``; see :meth:`wsgi_sio.testing.TestClient.on`.

        :raises RuntimeError: the client is not in ``namespace``.
        """
        self._client(namespace).on(event, handler, namespace or "/")

    def _client(self, namespace: str | None) -> TestClient:
        client = self._clients.get(namespace or "/")
        if client is None or not client.is_connected(namespace or "/"):
            raise RuntimeError(f"not connected to namespace {namespace or '/'!r}")
        return client

    def _raise(self) -> None:
        if self._raised:
            error = self._raised[0]
            self._raised.clear()
            raise error


class _PlainClient:
    """Makes the handshake to an app without the headers and cookies of Flask's test client."""

    def __init__(self, app: flask.Flask) -> None:
        self._app = app

    def get(self, path: str, *, query_string: str, headers: Any) -> Any:
        here = {"REMOTE_ADDR": "127.0.0.1"}
        request = EnvironBuilder(self._app, path, query_string=query_string, headers=headers, environ_base=here)
        return HTTPClient(self._app).open(request)


def _as_dict(event: Received) -> dict[str, Any]:
    bare = event.name in ("message", "json") and event.args
    return {"name": event.name, "args": event.args[0] if bare else event.args, "namespace": event.namespace}
