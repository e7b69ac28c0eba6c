"""Flask's session in handlers, in Flask-SocketIO's two ways: a copy for the connection, or Flask's own each time."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

import flask
from flask.sessions import SecureCookieSessionInterface, SessionMixin

logger = logging.getLogger("wsgi_sio.flask")

# Where a connection's copy lives in the environ of its handshake; Flask-SocketIO's users know the name.
_SAVED = "saved_session"


class ManagedSession(dict[str, Any], SessionMixin):
    """The session of one connection's handlers: a copy of the handshake's, for as long as the connection lasts."""


def restore(context: Any, environ: MutableMapping[str, Any]) -> None:
    """Give a request context, before it is pushed, the connection's copy, so that Flask need not open its own."""
    saved = environ.get(_SAVED)
    if saved is not None:
        context._session = saved


def fork(context: Any, environ: MutableMapping[str, Any]) -> None:
    """Make the connection's copy of the session, when there is none yet; the context is pushed."""
    if _SAVED not in environ:
        context._session = environ.setdefault(_SAVED, ManagedSession(flask.session))


class OwnSessions:
    """Saves Flask's own sessions after events, and says so, once, when that cannot work."""

    def __init__(self) -> None:
        self._warned = False

    def save(self, app: flask.Flask) -> None:
        """Save the current session, if it has been changed."""
        session: Any = flask.session._get_current_object()  # type: ignore[attr-defined]
        if not getattr(session, "modified", True):
            return
        if isinstance(app.session_interface, SecureCookieSessionInterface):
            self._warn()
        else:
            app.session_interface.save_session(app, session, app.response_class())

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "a handler has changed the session, which lives in a cookie: events have no response that could carry"
                " a new one, so the change is lost; use manage_session=True, whose session lasts as long as the"
                " connection, or keep sessions on the server (Flask-Session)"
            )
