"""An application that is served by WebTransport too, on the UDP port of the same number, and a page that tries it.

What the page finds out it POSTs to ``/found``, where the test gets it. Options of the server can be given as JSON in
the environment variable ``SIO_OPTIONS``, those of listening in ``LISTEN`` (``null``: not at all).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from wsgi_sio import Server, Socket, WSGIApp

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS / "browser" / "webtransport.html"
CLIENT = TESTS / "js" / "node_modules" / "socket.io-client" / "dist"

io = Server(
    **{
        "transports": ["polling", "websocket", "webtransport"],
        "ping_interval": 1,
        "ping_timeout": 5,
        "client_files": CLIENT if CLIENT.is_dir() else None,
        **json.loads(os.environ.get("SIO_OPTIONS", "{}")),
    }
)
found: dict[str, Any] = {}
ended: list[list[str]] = []


@io.on("connect")
def greet(socket: Socket) -> None:
    environ = socket.handshake.environ
    socket.data["name"] = socket.handshake.auth.get("name", "")
    name = socket.conn.session.transport.name
    socket.emit("welcome", name, environ.get("HTTP_ORIGIN"), environ["REMOTE_ADDR"], environ["SERVER_PROTOCOL"])


@io.on("disconnect")
def note(socket: Socket, reason: str) -> None:
    ended.append([socket.data["name"], reason])


@io.on("echo")
def echo(socket: Socket, *args: Any) -> list[Any]:
    return list(args)


@io.on("again")
def send_again(socket: Socket, *args: Any) -> None:
    socket.emit("again", *args)


@io.on("count")
def count(socket: Socket, until: int) -> None:
    """Send as many numbers, a few milliseconds apart, whatever happens to the transport meanwhile."""

    def send() -> None:
        for number in range(until):
            socket.emit("number", number)
            io.sleep(0.002)

    io.start_background_task(send)


@io.on("numbers")
def take_numbers(socket: Socket, number: int) -> None:
    socket.data.setdefault("numbers", []).append(number)


@io.on("what came")
def tell_what_came(socket: Socket) -> Any:
    return socket.data.get("numbers", [])


@io.on("last words")
def say_last_words(socket: Socket, size: int) -> None:
    for number in range(5):
        socket.emit("word", number, b"x" * size)
    socket.disconnect(True)


@io.on("pid")
def tell_pid(socket: Socket) -> int:
    return os.getpid()


@io.on("transport")
def tell_transport(socket: Socket) -> str:
    return str(socket.conn.session.transport.name)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    status, kind, body = "200 OK", "application/json", b"{}"
    if path == "/":
        kind, body = "text/html; charset=utf-8", PAGE.read_bytes()
    elif path == "/found" and environ["REQUEST_METHOD"] == "POST":
        said = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        found[said["check"]] = said
    elif path == "/found":
        body = json.dumps({"found": found, "ended": ended, "threads": threading.active_count()}).encode()
    elif path == "/certificate":
        body = json.dumps(None if listener is None else listener.certificate_hashes).encode()
    elif path == "/blank":
        kind, body = "text/html", b"<title>blank</title>"
    else:
        status, body = "404 Not Found", b""
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


application = WSGIApp(io, app)
listen = json.loads(os.environ.get("LISTEN", "{}"))
listener = None if listen is None else io.listen_webtransport(**listen)
