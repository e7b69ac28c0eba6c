"""The first part of ``many.py`` in Django: a project in one file."""

from __future__ import annotations

import os

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["127.0.0.1", "test"],
    ROOT_URLCONF="tests.apps.many_django",
    INSTALLED_APPS=["wsgi_sio.django"],
    WSGI_SIO={"ping_interval": 5, "ping_timeout": 40},
    DATABASES={},
    USE_TZ=True,
)
django.setup()

from wsgi_sio.django import Socket, get_wsgi_application, io  # noqa: E402


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


urlpatterns = [path("", index)]
application = get_wsgi_application()


@io.on("connection")
def welcome(socket: Socket) -> None:
    assert socket.request.path == "/socket.io/"
    socket.emit("welcome", os.getpid(), io.engine.tag)


@io.on("put")
def put(socket: Socket, number: int) -> None:
    socket.emit("echo", number)
