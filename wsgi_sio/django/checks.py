"""``manage.py check``: what is wrong with the settings.

* ``wsgi_sio.E001``  WSGI_SIO is not a dictionary.
* ``wsgi_sio.E002``  It has an unknown option.
* ``wsgi_sio.E003``  An option's value has the wrong type, or is a dotted path to nothing.
* ``wsgi_sio.E004``  The server does not take an option's value.
* ``wsgi_sio.E005``  WSGI_APPLICATION cannot be loaded.
* ``wsgi_sio.W001``  WSGI_APPLICATION does not serve Socket.IO.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.core.servers.basehttp import get_internal_wsgi_application

from ..engineio.config import refuse_unknown_options
from ..server import Server
from ..validation import fits, misfit, trial
from ..wsgi import WSGIApp
from .settings import known_options, load_options


def check_options(**kwargs: Any) -> list[CheckMessage]:
    """The errors in ``settings.WSGI_SIO``."""
    setting = getattr(settings, "WSGI_SIO", {})
    if not isinstance(setting, Mapping):
        what = type(setting).__name__
        return [Error(f"WSGI_SIO must be a dictionary of the server's options, not a {what}", id="wsgi_sio.E001")]
    return _misspelt(setting) or _mistyped(setting) or _refused(setting)


def _misspelt(setting: Mapping[str, Any]) -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    for name in setting:
        try:
            refuse_unknown_options([name], known_options())
        except TypeError as error:
            errors.append(Error(f"WSGI_SIO has an {error}", id="wsgi_sio.E002"))
    return errors


def _mistyped(setting: Mapping[str, Any]) -> list[CheckMessage]:
    known = known_options()
    errors: list[CheckMessage] = []
    for name, value in setting.items():
        try:
            loaded = load_options({name: value})[name]
        except (ImportError, AttributeError, ValueError) as error:
            errors.append(Error(f"WSGI_SIO[{name!r}] names what is not there: {error}", id="wsgi_sio.E003"))
        else:
            if not fits(loaded, known[name]):
                errors.append(Error(f"WSGI_SIO[{name!r}] {misfit(loaded, known[name])}", id="wsgi_sio.E003"))
    return errors


def _refused(setting: Mapping[str, Any]) -> list[CheckMessage]:
    # An adapter may connect to something, which is not for a check to do.
    options = {name: value for name, value in load_options(setting).items() if name != "adapter"}
    try:
        with trial():
            Server(**options)
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        return [Error(f"WSGI_SIO: {error}", id="wsgi_sio.E004")]
    return []


def check_wsgi_application(**kwargs: Any) -> list[CheckMessage]:
    """Whether what ``runserver`` serves, and other servers most likely too, has Socket.IO in front."""
    if check_options():
        return []  # it could not be loaded for that reason alone
    try:
        application = get_internal_wsgi_application()
    except ImproperlyConfigured as error:
        return [Error(f"{error} ({error.__cause__})", id="wsgi_sio.E005")]
    # Other middlewares may be around it, so the app is asked too.
    if isinstance(application, WSGIApp) or getattr(apps.get_containing_app_config(__name__), "serving", False):
        return []
    return [
        Warning(
            f"WSGI_APPLICATION ({settings.WSGI_APPLICATION!r}) does not serve Socket.IO",
            hint="In wsgi.py, import get_wsgi_application from wsgi_sio.django instead of django.core.wsgi.",
            id="wsgi_sio.W001",
        )
    ]
