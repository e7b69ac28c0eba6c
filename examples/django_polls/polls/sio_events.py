"""What pages may ask for over Socket.IO; found as the admin finds ``admin.py``."""

from __future__ import annotations

from typing import Any

from polls.models import Question
from wsgi_sio.django import Socket, io


@io.on("follow")
def follow(socket: Socket, pk: Any) -> dict[str, str]:
    """Get the results of a question, now and after each vote."""
    question = Question.objects.filter(pk=pk).first() if isinstance(pk, int) else None
    if question is None:
        return {"error": "There is no such question."}
    socket.join(question.room)
    socket.emit("results", question.results())
    return {}
