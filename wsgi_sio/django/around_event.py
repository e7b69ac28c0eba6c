"""What Django does around a request, for events: query log, database connections, caches, the prefix of URLs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from asgiref.local import Local
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.handlers.wsgi import get_script_name
from django.db import connections
from django.urls import set_script_prefix

from ..socketio import socket as core_socket

if TYPE_CHECKING:
    from django.http import HttpRequest

logger = logging.getLogger("wsgi_sio.django")


class Event:
    """An event under way.

    :ivar requests: those that its handlers have asked for.
    :ivar over: what it has started may live longer, with the same context variables: a greenlet, say.
    """

    __slots__ = ("over", "requests")

    def __init__(self) -> None:
        self.requests: dict[core_socket.Socket, HttpRequest] = {}
        self.over = False


EVENT: ContextVar[Event] = ContextVar("wsgi_sio.django.event")


class Caches:
    """The caches of a worker: in each event's fresh context Django would make them anew, connections included."""

    def __init__(self) -> None:
        self._worker = Local(thread_critical=True)

    def use(self) -> None:
        """Let the event have those of the one before."""
        if getattr(self._worker, "settings", None) is not caches.settings:  # the first event, or a test's override
            self._worker.settings, self._worker.made = caches.settings, {alias: caches[alias] for alias in caches}
        made: dict[str, BaseCache] = self._worker.made
        for alias, cache in made.items():
            caches[alias] = cache


def tidy(*steps: Callable[[], object]) -> None:
    """Take all steps; what one of them raises must neither hinder the others nor the event."""
    for step in steps:
        try:
            step()
        except Exception:
            logger.exception("tidying up around an event failed")


def set_prefix(socket: core_socket.Socket | None) -> None:
    """Let ``reverse()`` give what it gives to views: Django sets the prefix for each request, and so only there."""
    if socket is not None:
        set_script_prefix(get_script_name(socket.handshake.environ))
    elif settings.FORCE_SCRIPT_NAME is not None:
        set_script_prefix(settings.FORCE_SCRIPT_NAME)


def close_old_connections() -> None:
    """Django's function of that name, but for connections in a transaction: that is the caller's, such as a test."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
