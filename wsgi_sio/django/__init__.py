"""Socket.IO in a Django project: an app for ``INSTALLED_APPS``, and handlers in ``sio_events.py`` of any other app.

Settings::

    INSTALLED_APPS = [..., "wsgi_sio.django"]
    WSGI_SIO = {"max_http_buffer_size": 100_000}  # options of wsgi_sio.Server, if any

``wsgi.py``, which ``manage.py runserver`` (by ``WSGI_APPLICATION``) and every WSGI server load::

    from wsgi_sio.django import get_wsgi_application

    application = get_wsgi_application()

``polls/sio_events.py``, found as the admin finds ``admin.py``::

    from wsgi_sio.django import ConnectRefused, Socket, io

    @io.on("connect")
    def connect(socket: Socket) -> None:
        if not socket.request.user.is_authenticated:
            raise ConnectRefused("log in first")

    @io.on("vote")
    def vote(socket: Socket, choice: int) -> None:
        ...

``io`` is the project's one server; views, signals and commands import it from here as well, to emit.  What
``JsonResponse`` takes can be emitted: dates, decimals, UUIDs and lazy strings too.

Around each event happens what happens around a request: the query log is reset, old database connections are closed,
before and after.  :attr:`Socket.request` is the handshake as an ``HttpRequest``, with ``session`` and ``user`` as the
middlewares of ``MIDDLEWARE`` give them to views.  It is a fresh one for each event, so that a user who has logged out
or lost a permission is seen to have; nothing is read from the database before a handler asks.

A handshake is refused whose Host is not in ``ALLOWED_HOSTS``, or whose Origin a form could not be posted from: that is
the rule of ``CsrfViewMiddleware``, so ``CSRF_TRUSTED_ORIGINS`` allows more.  ``cors_allowed_origins`` in ``WSGI_SIO``
replaces the rule about origins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..exceptions import ConnectRefused
from ..socketio.handlers import NO_ACK
from .server import Namespace, Server, Socket

if TYPE_CHECKING:
    from ..wsgi import WSGIApp

    io: Server

__all__ = ["NO_ACK", "ConnectRefused", "Namespace", "Server", "Socket", "get_wsgi_application", "io"]


def get_wsgi_application() -> WSGIApp:
    """What ``django.core.wsgi.get_wsgi_application`` returns, with Socket.IO in front.

    :raises ImproperlyConfigured: ``wsgi_sio.django`` is not in ``INSTALLED_APPS``, or ``WSGI_SIO`` is wrong.
    """
    from django.core.wsgi import get_wsgi_application

    from .apps import installed_app

    application = get_wsgi_application()  # sets Django up: there are no apps before
    return installed_app().wrap(application)


def __getattr__(name: str) -> Any:
    """``io``: it is made by the installed app, so this module has nothing to keep."""
    if name == "io":
        from .apps import installed_app

        return installed_app().server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
