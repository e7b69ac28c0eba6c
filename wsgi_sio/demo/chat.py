"""A chat with rooms, presence, typing, images and delivery ticks: made to be used, and to be read.

Events come in at the methods of `Chat`; what a method returns is the acknowledgement that the page waits for. One
client's handlers never overlap, but those of different clients run at the same time in several threads: so one lock
guards the rooms. An emit to a room never waits for a client, which is why it may be done under that lock: everybody
sees joins, leaves and messages in the order of the history.
"""

from __future__ import annotations

import functools
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from wsgi_sio import ConnectRefused, Server, Socket, WSGIApp
from wsgi_sio.demo.page import serve_page

LOBBY = "lobby"
HISTORY = 50  # messages a room remembers
NAME, TEXT, ROOMS_EACH, ROOMS = 24, 2000, 10, 100  # characters, characters, rooms a person is in, rooms in all
IMAGE, IMAGES = 1_000_000, 32  # bytes of one image, images remembered in all
DELIVERY = 10  # seconds in which the others confirm a message

_ROOM_NAME = re.compile(r"\w[\w -]{0,31}")
_ID = re.compile(r"[0-9a-f]{32}")
_IMAGE = re.compile(rb"(?P<png>\x89PNG\r\n)|(?P<jpeg>\xff\xd8\xff)|(?P<gif>GIF8)|(?P<webp>RIFF.{4}WEBP)", re.DOTALL)

Json = dict[str, Any]


class Refused(Exception):
    """What a client asked for is not possible; the text is shown to the person."""


def answering_refusals(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``handler`` raise `Refused`: the client is then answered ``{"error": text}``."""

    @functools.wraps(handler)
    def answer(*args: Any) -> Any:
        try:
            return handler(*args)
        except Refused as refusal:
            return {"error": str(refusal)}

    return answer


@dataclass
class Room:
    """Who is in a room (name by socket id) and its last messages."""

    members: dict[str, str] = field(default_factory=dict)
    history: deque[Json] = field(default_factory=lambda: deque(maxlen=HISTORY))


class Chat:
    """The state of the chat and the handlers of its events, registered on ``io``."""

    def __init__(self, io: Server) -> None:
        self.io = io
        self._lock = threading.Lock()
        self._rooms = {LOBBY: Room()}
        self._people: dict[str, Socket] = {}  # by name
        self._images: OrderedDict[tuple[str, str], bytes] = OrderedDict()  # by room and message, oldest first
        clients = (self.connect, self.connection, self.disconnect)
        for handler in (*clients, self.join, self.leave, self.message, self.image, self.get_image, self.typing):
            io.event(handler)

    def connect(self, socket: Socket, auth: Any) -> None:
        """Let a person in under a name that nobody else uses; the same browser tab takes over its older connection."""
        auth = auth if isinstance(auth, dict) else {}
        name, tab = " ".join(str(auth.get("name", "")).split()), str(auth.get("tab", ""))
        if not 1 <= len(name) <= NAME or not name.isprintable():
            raise ConnectRefused(f"Please pick a name of 1 to {NAME} characters.")
        with self._lock:
            other = self._people.get(name.casefold())
            if other is not None and other.connected and (other.data["tab"] != tab or not tab):
                raise ConnectRefused(f"Somebody called {name} is already here. Please pick another name.")
            socket.data.update(name=name, tab=tab)
            self._people[name.casefold()] = socket
        if other is not None:
            other.disconnect(close=True)

    def connection(self, socket: Socket) -> None:
        """Tell a newcomer what is possible here and which rooms there are."""
        with self._lock:
            rooms = self._list_locked()
        socket.emit("welcome", {"name": socket.data["name"], "limits": {"text": TEXT, "image": IMAGE}, "rooms": rooms})

    def disconnect(self, socket: Socket) -> None:
        """Take a person who is gone out of every room."""
        name = socket.data["name"]
        with self._lock:
            if self._people.get(name.casefold()) is socket:
                del self._people[name.casefold()]
            for room in [room for room, state in self._rooms.items() if socket.id in state.members]:
                self._leave_locked(socket, room)

    @answering_refusals
    def join(self, socket: Socket, room: Any) -> Json:
        """Enter a room, which is made if need be; the answer tells who is there and what was said."""
        room = " ".join(str(room).split()).casefold()
        if not _ROOM_NAME.fullmatch(room):
            raise Refused("A room's name has 1 to 32 letters, digits, spaces, - or _.")
        with self._lock:
            if sum(socket.id in state.members for state in self._rooms.values()) >= ROOMS_EACH:
                raise Refused(f"You are in {ROOMS_EACH} rooms already. Leave one first.")
            state = self._rooms.get(room) or self._make_room_locked(room)
            if socket.id not in state.members:
                socket.join(f"room:{room}")  # a prefix, because every socket's id is the name of a room too
                state.members[socket.id] = socket.data["name"]
                self._announce_locked(socket, room, "joined")
            return {"room": room, "members": list(state.members.values()), "history": list(state.history)}

    @answering_refusals
    def leave(self, socket: Socket, room: Any) -> Json:
        """Go out of a room."""
        with self._lock:
            self._state_locked(socket, room)
            self._leave_locked(socket, room)
        return {"room": room}

    @answering_refusals
    def message(self, socket: Socket, room: Any, id: Any, text: Any) -> Json:
        """Pass a text on to a room."""
        if not isinstance(text, str) or not 1 <= len(text.strip()) <= TEXT:
            raise Refused(f"A message has 1 to {TEXT} characters.")
        well_formed = text.strip().encode(errors="replace").decode()  # half an emoji cannot be sent
        return self._post(socket, room, id, {"text": well_formed})

    @answering_refusals
    def image(self, socket: Socket, room: Any, id: Any, data: Any) -> Json:
        """Pass an image on to a room; its type is read from its first bytes, whatever the sender says."""
        if not isinstance(data, bytes) or len(data) > IMAGE:
            raise Refused(f"An image has at most {IMAGE // 1000} kB.")
        kind = _IMAGE.match(data)
        if kind is None:
            raise Refused("Only PNG, JPEG, GIF and WebP images can be sent.")
        return self._post(socket, room, id, {"image": f"image/{kind.lastgroup}"}, data)

    @answering_refusals
    def get_image(self, socket: Socket, room: Any, id: Any) -> bytes | None:
        """The bytes of an image in a room's history, or None when they are no longer kept."""
        with self._lock:
            self._state_locked(socket, room)
            return self._images.get((room, str(id)))

    @answering_refusals
    def typing(self, socket: Socket, room: Any, on: Any) -> None:
        """Tell the others in a room that somebody is writing, or no longer is; not worth a queue, hence volatile."""
        with self._lock:
            self._state_locked(socket, room)
        socket.to(f"room:{room}").volatile.emit("typing", {"room": room, "name": socket.data["name"], "on": bool(on)})

    def _post(self, socket: Socket, room: str, id: Any, content: Json, data: bytes | None = None) -> Json:
        """Remember a message and send it to the others; one that comes twice, after a reconnection, counts once."""
        if not isinstance(id, str) or not _ID.fullmatch(id):
            raise Refused("This message has no proper id.")

        def confirmed(error: Exception | None, answers: list[Any]) -> None:
            socket.emit("delivered", {"room": room, "id": id, "count": len(answers), "all": error is None})

        with self._lock:
            state = self._state_locked(socket, room)
            known = next((message for message in state.history if message["id"] == id), None)
            if known is not None:
                return known
            message = {"room": room, "id": id, "name": socket.data["name"], "time": int(time.time() * 1000), **content}
            state.history.append(message)
            if data is not None:
                self._images[room, id] = data
                while len(self._images) > IMAGES:
                    self._images.popitem(last=False)
            others = socket.to(f"room:{room}").timeout(DELIVERY)
            others.emit("message", message if data is None else {**message, "data": data}, callback=confirmed)
        return message

    def _state_locked(self, socket: Socket, room: Any) -> Room:
        state = self._rooms.get(room) if isinstance(room, str) else None
        if state is None or socket.id not in state.members:
            raise Refused("You are not in this room.")
        return state

    def _make_room_locked(self, room: str) -> Room:
        """A new room, for which the oldest empty one goes when there are too many."""
        if len(self._rooms) >= ROOMS:
            empty = next((name for name, state in self._rooms.items() if not state.members and name != LOBBY), None)
            if empty is None:
                raise Refused("There are too many rooms. Join one of them.")
            del self._rooms[empty]
        return self._rooms.setdefault(room, Room())

    def _leave_locked(self, socket: Socket, room: str) -> None:
        socket.leave(f"room:{room}")
        del self._rooms[room].members[socket.id]
        self._announce_locked(socket, room, "left")

    def _announce_locked(self, socket: Socket, room: str, change: str) -> None:
        members = list(self._rooms[room].members.values())
        presence = {"room": room, "name": socket.data["name"], "change": change, "members": members}
        socket.to(f"room:{room}").emit("presence", presence)
        self.io.emit("rooms", self._list_locked())

    def _list_locked(self) -> list[Json]:
        return [{"room": room, "count": len(state.members)} for room, state in self._rooms.items()]


def create_app(client_files: str | PathLike[str]) -> WSGIApp:
    """The chat as a WSGI application; ``client_files`` is the directory of the browser client."""
    io = Server(
        max_http_buffer_size=IMAGE * 3 // 2,  # an image is base64 over polling
        client_files=client_files,
        transports=["polling", "websocket", "webtransport"],
    )
    Chat(io)

    def page(environ: Any, start_response: Any) -> Any:
        listener = io.engine.webtransport
        return serve_page(environ, start_response, None if listener is None else listener.certificate_hashes)

    return WSGIApp(io, page)
