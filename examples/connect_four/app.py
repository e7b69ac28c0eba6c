"""Connect Four: a room for each game, the first two in it play, the others watch.

``python app.py``, then http://127.0.0.1:8000 in two windows. Behind a production server, with one worker because the
games are in its memory::

    gunicorn --worker-class gevent app:app
    gunicorn --threads 16 app:app
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from pathlib import Path
from typing import Any

from game import Game
from werkzeug.exceptions import NotFound
from werkzeug.middleware.shared_data import SharedDataMiddleware

from wsgi_sio import Server, Socket, WSGIApp
from wsgi_sio.client_files import find_client, install_client

HERE = Path(__file__).resolve().parent
CODE = re.compile(r"[a-z0-9]{4,12}")

Json = dict[str, Any]


class Table:
    """A game and who is at it: a colour's player is the socket on its seat."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.game = Game()
        self.seats: dict[str, Socket | None] = {"red": None, "yellow": None}
        self.people: set[Socket] = set()

    @property
    def room(self) -> str:
        return f"table {self.code}"  # a prefix, because every socket's id is the name of a room too

    def colour_of(self, socket: Socket) -> str | None:
        """What somebody plays: known by the seat, whatever a client says."""
        return next((colour for colour, player in self.seats.items() if player is socket), None)

    def sit(self, socket: Socket, colour: str) -> None:
        self.seats[colour] = socket
        socket.emit("you", colour)

    def show(self) -> None:
        """Send everybody the state of the game."""
        taken = {colour: player is not None for colour, player in self.seats.items()}
        watching = len(self.people) - sum(taken.values())
        io.to(self.room).emit("table", {**self.game.state(), "taken": taken, "watching": watching})


io = Server(client_files=find_client() or install_client(), max_http_buffer_size=1000)
tables: dict[str, Table] = {}  # by code; there is none with nobody at it
lock = threading.Lock()  # the handlers of different clients run side by side


def table_of(socket: Socket) -> Table | None:
    return tables.get(socket.data.get("code", ""))


@io.on("enter")
def enter(socket: Socket, code: Any) -> Json:
    """Go to the table of this code, or to a new one; whoever is the first or second there gets a seat."""
    if code is not None and not (isinstance(code, str) and CODE.fullmatch(code)):
        return {"error": "A code has 4 to 12 letters and digits."}
    with lock:
        leave(socket)
        code = code or secrets.token_hex(3)
        table = tables.setdefault(code, Table(code))
        socket.data["code"] = code
        socket.join(table.room)
        table.people.add(socket)
        socket.emit("you", None)
        free = next((colour for colour, player in table.seats.items() if player is None), None)
        if free is not None:
            table.sit(socket, free)
        table.show()
    return {"code": code}


@io.on("sit")
def sit(socket: Socket, colour: Any) -> None:
    """Take the seat of a player who has left."""
    with lock:
        table = table_of(socket)
        if table and colour in ("red", "yellow") and table.seats[colour] is None and not table.colour_of(socket):
            table.sit(socket, colour)
            table.show()


@io.on("drop")
def drop(socket: Socket, column: Any) -> None:
    """Play a disc, if it is this client's turn; the page shows when it is, so other attempts get no answer."""
    with lock:
        table = table_of(socket)
        if table is None or None in table.seats.values() or table.colour_of(socket) != table.game.turn:
            return
        if table.game.drop(column):
            table.show()


@io.on("again")
def again(socket: Socket) -> None:
    """A new game, when the old one is over and a player wants it."""
    with lock:
        table = table_of(socket)
        if table and table.colour_of(socket) and table.game.turn is None:
            table.game.begin()
            table.show()


@io.on("leave")
def leave_table(socket: Socket) -> None:
    with lock:
        leave(socket)


@io.on("disconnect")
def disconnect(socket: Socket) -> None:
    with lock:
        leave(socket)


def leave(socket: Socket) -> None:
    """Leave the table, whose seat is free then; the last one takes the table along."""
    table = table_of(socket)
    if table is None:
        return
    del socket.data["code"]
    socket.leave(table.room)
    table.people.discard(socket)
    colour = table.colour_of(socket)
    if colour is not None:
        table.seats[colour] = None
    if table.people:
        table.show()
    else:
        del tables[table.code]


files = {"/static": HERE / "static", "/shared": HERE.parent / "shared", "/": HERE / "page.html"}
app = WSGIApp(io, SharedDataMiddleware(NotFound(), {url: str(path) for url, path in files.items()}, cache=False))

if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(os.environ.get("PORT", "8000")), app, threaded=True)
