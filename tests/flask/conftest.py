"""An app with its SocketIO, and clients of it in memory or over a WebSocket in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask
import pytest

from tests.support.inprocess import Client, InProcess
from wsgi_sio.flask import SocketIO, SocketIOTestClient


class Site:
    """A Flask app with its SocketIO, to be attached when the first client comes, as app factories do."""

    def __init__(self) -> None:
        self.app = flask.Flask(__name__)
        self.app.secret_key = "for the sessions"
        self.socketio = SocketIO()
        self._attached = False
        self._process: InProcess | None = None

    def attach(self, **options: Any) -> SocketIO:
        if not self._attached:
            self._attached = True
            self.socketio.init_app(self.app, **options)
        return self.socketio

    def client(self, namespace: str | None = None, **options: Any) -> SocketIOTestClient:
        """A client in memory."""
        return self.attach().test_client(self.app, namespace, **options)

    def wire(self, **options: Any) -> Client:
        """A client over a WebSocket that has joined nothing yet."""
        if self._process is None:
            self._process = InProcess(self.attach().io)
        return self._process.client(**options)

    def joined(self) -> tuple[Client, str]:
        """A client over a WebSocket in the namespace "/", and its id."""
        client = self.wire()
        return client, client.connect()

    def close(self) -> None:
        if self._process is not None:
            self._process.close()
        elif self._attached:
            self.socketio.io.close()
            self.socketio.io.reactor.close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()
