"""What clients may do: vote, once they have logged in, and see the results."""

from __future__ import annotations

from django.db.models import F

from polls.models import Choice, results
from wsgi_sio.django import ConnectRefused, Namespace, Socket, io


@io.on("whoami")
def whoami(socket: Socket) -> str:
    return socket.request.user.get_username()


@io.on("vote")
def vote(socket: Socket, text: str) -> bool:
    if not socket.request.user.is_authenticated:
        return False
    Choice.objects.filter(text=text).update(votes=F("votes") + 1)
    io.emit("results", results())
    return True


@io.on("remember")
def remember(socket: Socket, word: str) -> int:
    """Keep a word in the session, as views do; how many there are."""
    words = socket.request.session.setdefault("words", [])
    words.append(word)
    socket.request.session.modified = True
    return len(words)


class Staff(Namespace):
    """For members of the staff."""

    def on_connect(self, socket: Socket) -> None:
        if not socket.request.user.is_staff:
            raise ConnectRefused("for the staff", {"user": socket.request.user.get_username()})

    def on_add(self, socket: Socket, text: str) -> int:
        return Choice.objects.get_or_create(text=text)[0].pk


io.of("/staff", Staff)
