"""A process with the old packages on a Redis or RabbitMQ: ``python -m tests.support.old_peer KIND URL CHANNEL``.

KIND is ``socketio`` or ``flask`` (a server, with one client of its own) or ``write-only`` or ``flask-write-only`` (no
server).  Commands come on stdin, a JSON line each, ``{"do": name, "args": [...], "kwargs": {...}}``, and are answered
on stdout with ``{"result": value}``.  Bytes are ``{"bytes": [...]}`` there.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from typing import Any

from tests.support.inprocess import eventually


class OldPeer:
    """Such a process, for the tests.

    :ivar sid: of its client, in ``/``; empty for who only writes.
    """

    def __init__(self, kind: str, url: str, channel: str) -> None:
        command = [sys.executable, "-m", "tests.support.old_peer", kind, url, channel]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.sid: str = self._result()

    def _result(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the old process has ended"
        return from_json(json.loads(line)["result"])

    def do(self, command: str, *args: Any, **kwargs: Any) -> Any:
        """Run a command; its result."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, "args": to_json(args), "kwargs": kwargs}) + "\n")
        self._process.stdin.flush()
        return self._result()

    def expect(self, event: str, *args: Any) -> None:
        """The next event that its client has got is this one."""
        eventually(lambda: self.do("waiting"), f"{event!r} for the old server's client")
        assert self.do("next") == [event, *args]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": [*value]}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return {key: to_json(item) for key, item in value.items()} if isinstance(value, dict) else value


def from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if isinstance(value, dict):
        return bytes(value["bytes"]) if "bytes" in value else {key: from_json(item) for key, item in value.items()}
    return value


class _Old:
    """The commands."""

    def __init__(self, kind: str, url: str, channel: str) -> None:
        import socketio

        self._events: list[list[Any]] = []
        self._callbacks: list[list[Any]] = []
        self.sid = ""
        self._sender: Any
        if kind == "write-only":
            self._sender = _manager(url)(url, channel=channel, write_only=True)
            return
        if kind == "flask-write-only":
            from flask_socketio import SocketIO

            self._sender = SocketIO(message_queue=url, channel=channel)
            return
        app: Any
        if kind == "flask":
            import flask
            from flask_socketio import SocketIO

            app = flask.Flask(__name__)
            extension = SocketIO(app, message_queue=url, channel=channel, async_mode="threading")
            self._sender, self._server = extension, extension.server
        else:
            manager = _manager(url)(url, channel=channel)
            self._sender = self._server = socketio.Server(client_manager=manager, async_mode="threading")
            app = socketio.WSGIApp(self._server)
        self._server.on("connect", lambda *args: None)
        self._serve(app)

    def _serve(self, app: Any) -> None:
        import socketio
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = make_server("127.0.0.1", 0, app, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._client = client = socketio.Client(reconnection=False, handle_sigint=False)
        client.on("disconnect", lambda *args: self._events.append(["disconnect"]))
        client.on("*", self._got)
        # over polling it would lose all of an answer with more than 16 packets
        client.connect(f"http://127.0.0.1:{server.server_port}", transports=["websocket"], wait_timeout=20)
        self.sid = client.get_sid("/")

    def _got(self, event: str, *args: Any) -> Any:
        self._events.append([event, *args])
        return ("answer", len(args))

    def emit(self, event: str, *args: Any, **kwargs: Any) -> None:
        data = args[0] if len(args) == 1 else args or None
        self._sender.emit(event, data, **kwargs)

    def ask(self, event: str, *args: Any, **kwargs: Any) -> None:
        """Emit with a callback, whose arguments :meth:`answers` has."""
        self.emit(event, *args, callback=lambda *answer: self._callbacks.append([*answer]), **kwargs)

    def answers(self) -> list[list[Any]]:
        return self._callbacks

    def call(self, event: str, *args: Any, **kwargs: Any) -> Any:
        return self._sender.call(event, args, timeout=10, **kwargs)

    def disconnect(self, sid: str, namespace: str = "/") -> None:
        self._with_methods().disconnect(sid, namespace)

    def enter_room(self, sid: str, room: Any, namespace: str = "/") -> None:
        self._change("enter_room", sid, room, namespace)

    def leave_room(self, sid: str, room: Any, namespace: str = "/") -> None:
        self._change("leave_room", sid, room, namespace)

    def _with_methods(self) -> Any:
        """python-socketio's server; without one, the manager."""
        return getattr(self._sender, "server", None) or self._sender

    def _change(self, method: str, sid: str, room: Any, namespace: str) -> None:
        sender = self._with_methods()
        order = (sid, namespace, room) if type(sender).__name__.endswith("Manager") else (sid, room, namespace)
        getattr(sender, method)(*order)

    def close_room(self, room: Any, namespace: str = "/") -> None:
        self._sender.close_room(room, namespace)

    def rooms(self) -> list[Any]:
        return sorted(room for room in self._server.rooms(self.sid, "/") if room != self.sid)

    def waiting(self) -> int:
        return len(self._events)

    def next(self) -> list[Any]:
        return self._events.pop(0)


def _manager(url: str) -> Any:
    import socketio

    return socketio.KombuManager if url.startswith("amqp") else socketio.RedisManager


def main(kind: str, url: str, channel: str) -> None:
    old = _Old(kind, url, channel)
    print(json.dumps({"result": old.sid}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            result = getattr(old, command["do"])(*from_json(command["args"]), **command["kwargs"])
        except Exception as error:
            result = {"error": repr(error)}
        print(json.dumps({"result": to_json(result)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
