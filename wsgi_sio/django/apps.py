"""The app of ``INSTALLED_APPS``: it owns the project's server and finds the handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import cached_property
from django.utils.module_loading import autodiscover_modules

from ..wsgi import WSGIApp
from .checks import check_options, check_wsgi_application
from .hosts_and_origins import HandshakePolicy
from .json_codec import DjangoJSON
from .server import Server
from .settings import load_options

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_LABEL = "wsgi_sio"


class SocketIOConfig(AppConfig):
    """``"wsgi_sio.django"`` in ``INSTALLED_APPS``.

    :ivar serving: whether an application of this process has been wrapped.
    """

    name = "wsgi_sio.django"
    label = _LABEL
    verbose_name = "Socket.IO"
    serving = False

    def ready(self) -> None:
        checks.register(check_options)
        checks.register(check_wsgi_application)
        autodiscover_modules("sio_events")

    @cached_property
    def server(self) -> Server:
        """The project's server, made of ``settings.WSGI_SIO`` on first use.

        With a wrong setting it has no options: views and handlers can be imported all the same, so that
        ``manage.py check`` lives to tell what is wrong.
        """
        options = {} if check_options() else load_options(getattr(settings, "WSGI_SIO", {}))
        return Server(**{"json": DjangoJSON(), **HandshakePolicy(options).options})

    def wrap(self, application: WSGIApplication) -> WSGIApp:
        """Put Socket.IO in front of ``application``.

        :raises ImproperlyConfigured: ``settings.WSGI_SIO`` is wrong.
        """
        errors = check_options()
        if errors:
            raise ImproperlyConfigured("; ".join(error.msg for error in errors))
        self.serving = True
        return WSGIApp(self.server, application)


def installed_app() -> SocketIOConfig:
    """The app of this project.

    :raises ImproperlyConfigured: it is not installed.
    """
    try:
        app = apps.get_app_config(_LABEL)
    except LookupError:
        raise ImproperlyConfigured("Socket.IO is not installed: add 'wsgi_sio.django' to INSTALLED_APPS") from None
    assert isinstance(app, SocketIOConfig)
    return app
