"""A whiteboard for everybody who opens the page; whoever comes later sees what has been drawn before.

``python app.py``, then http://127.0.0.1:8000 in two windows. Behind a production server, with one worker because the
drawing is in its memory::

    gunicorn --worker-class gevent app:app
    gunicorn --threads 16 app:app
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from pathlib import Path
from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.middleware.shared_data import SharedDataMiddleware

from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.client_files import find_client, install_client

HERE = Path(__file__).resolve().parent
COLOURS, WIDTHS = 8, 3  # numbers of them: the page knows what they look like
POINTS, LINES = 32, 5000  # in one line; that are remembered

Line = dict[str, Any]

io = Server(client_files=find_client() or install_client(), max_http_buffer_size=10_000)
lines: deque[Line] = deque(maxlen=LINES)
numbers = itertools.count(1)  # of people, so that nobody learns the others' ids
lock = threading.Lock()  # the handlers of different clients run side by side


@io.on("connection")
def connection(socket: Socket) -> None:
    """Show a newcomer the drawing; under the lock, so that they get each line once: in it, or afterwards."""
    socket.data["number"] = next(numbers)
    with lock:
        socket.emit("lines", list(lines))
        socket.join("board")
        io.to("board").emit("people", len(io.sockets.sockets))


@io.on("disconnect")
def disconnect(socket: Socket) -> None:
    with lock:
        io.to("board").emit("left", socket.data["number"])
        io.to("board").emit("people", len(io.sockets.sockets))


@io.on("draw")
def draw(socket: Socket, line: Any) -> None:
    """Remember a piece of a line and pass it on."""
    checked = check_line(line)
    if checked is None:
        return
    with lock:
        lines.append(checked)
        socket.to("board").emit("draw", checked)


@io.on("clear")
def clear(socket: Socket) -> None:
    with lock:
        lines.clear()
        io.to("board").emit("lines", [])


@io.on("point")
def point(socket: Socket, x: Any, y: Any) -> None:
    """Show the others where somebody points; whoever cannot keep up does without, hence volatile."""
    if is_share(x) and is_share(y):
        socket.to("board").volatile.emit("point", socket.data["number"], x, y)


def check_line(line: Any) -> Line | None:
    """What may be passed on of what a client has sent; None if it is no line."""
    match line:
        case {"colour": int(colour), "width": int(width), "points": list(points)}:
            fits = 0 <= colour < COLOURS and 0 <= width < WIDTHS and 2 <= len(points) <= 2 * POINTS
            if fits and len(points) % 2 == 0 and all(map(is_share, points)):
                return {"colour": colour, "width": width, "points": [round(value, 4) for value in points]}
    return None


def is_share(value: Any) -> bool:
    """Whether this is a number from 0 to 1: a place as a share of the board's width or height."""
    return isinstance(value, (int, float)) and 0 <= value <= 1


files = {"/static": HERE / "static", "/shared": HERE.parent / "shared", "/": HERE / "page.html"}
app = WSGIApp(io, SharedDataMiddleware(NotFound(), {url: str(path) for url, path in files.items()}, cache=False))

if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(os.environ.get("PORT", "8000")), app, threaded=True)
