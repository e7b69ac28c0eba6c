"""What is known of gunicorn's gevent and gthread workers: whether a request is a call of theirs, and what they miss of
others.

The facts are read from the objects of the worker, as the frames below the request and ``start_response`` lead to them.
"""

from __future__ import annotations

import sys
from copy import copy
from types import FrameType
from typing import Any, NamedTuple

from .config import Environ
from .hijack import plain_socket

# What may stand between the worker and us, by module and function: it hands the answer on as it is, and what it does to
# a request depends on nothing but that request's head.
_TRANSPARENT = frozenset(
    [
        ("flask.app", "__call__"),
        ("werkzeug.middleware.dispatcher", "__call__"),
        ("werkzeug.middleware.proxy_fix", "__call__"),
    ]
)
_WORKERS = (("gunicorn.workers.base_async", "handle_request"), ("gunicorn.workers.gthread", "handle_request"))
_HOOKS = ("pre_request", "post_request")


class Call(NamedTuple):
    """A request that gunicorn's worker has parsed, and will answer.

    :ivar worker: the worker.
    :ivar conn: what gthread knows of the connection; None with gevent.
    :ivar response: gunicorn's response.
    :ivar sock: the connection's socket; with gevent the C socket below it.
    :ivar before: what gunicorn writes of an answer between its status and its date.
    :ivar after: what it writes between that and the answer's own headers.
    """

    worker: Any
    conn: Any
    response: Any
    sock: Any
    before: str
    after: str

    @property
    def unreader(self) -> Any:
        """Where gunicorn reads from, and can be given back what belongs to it."""
        return self.response.req.unreader

    @property
    def peer(self) -> bytes:
        """Who has sent it, as far as gunicorn trusts some more than others."""
        address = self.response.req.peer_addr
        return str(address[0] if isinstance(address, tuple) else "").encode()

    @property
    def more(self) -> bool:
        """Whether gunicorn has read what comes behind the request."""
        return bool(self.unreader.buf.getvalue())

    @property
    def goes_on(self) -> bool:
        """Whether, the answer having been sent, the connection is for further requests, none of which has come."""
        return not (self.response.should_close() or not self.worker.alive or self.more)

    def misses(self, unlogged: bool) -> bool:
        """Whether gunicorn misses a request that it is not told of: in a hook of the user's, a metric, or a log.

        :param unlogged: whether the access log does not matter.
        """
        settings, log = self.worker.cfg.settings, self.worker.log
        if type(log).__module__ != "gunicorn.glogging" or (log.access_log_enabled and not unlogged):
            return True
        return any(settings[name].get() is not settings[name].default for name in _HOOKS)


def find_call(environ: Environ, through: bool = False) -> Call | None:
    """The call in which the present request is; None where it is another server's, goes through others, or ends the
    connection.

    :param through: whether it may go through others.
    """
    try:
        return _find_call(environ, through)
    except (AttributeError, KeyError, ValueError):  # a version of gunicorn that has it otherwise
        return None


def spare_answer(start_response: Any) -> None:
    """Spare gunicorn the answer that nobody reads, which has been started: it would format it, write it into a dead
    socket, and recover from that. Its log has the request as before; another server's is left alone.
    """
    response: Any = getattr(start_response, "__self__", None)
    # A version of gunicorn that has no such attribute is left alone as well.
    if _name(response) == _KINDS[0] and getattr(response, "headers_sent", True) is False:
        response.headers_sent = True
        response.force_close()


def _find_call(environ: Environ, through: bool) -> Call | None:
    local, sock = _find_worker(sys._getframe(), through), plain_socket(environ)
    if local is None or sock is None:
        return None
    worker, conn, response = local["self"], local.get("conn"), local["resp"]
    parts = (response, response.req)
    if [_name(part) for part in parts] != _KINDS or sock is not response.sock:
        return None
    told = copy(response)
    if not told.headers_sent:  # as if it had been answered
        told.status, told.status_code, told.response_length, told.chunked = "200 OK", 200, 0, False
    _, before, date, after = told.default_headers()
    if not date.startswith("Date: ") or after != "Connection: keep-alive\r\n":
        return None
    return Call(worker, conn, response, sock if conn is not None else sock._sock, before, after)


def _name(part: object) -> str:
    kind = type(part)
    return f"{kind.__module__}.{kind.__name__}"


_KINDS = ["gunicorn.http.wsgi.Response", "gunicorn.http.message.Request"]


def _find_worker(frame: FrameType | None, through: bool) -> dict[str, Any] | None:
    """What the worker that has called us knows, with nobody in between who would miss what is not told to it, or
    ``through`` whomever.
    """
    while frame is not None:
        place = (str(frame.f_globals.get("__name__")), frame.f_code.co_name)
        if place in _WORKERS:
            return frame.f_locals
        if not (through or place in _TRANSPARENT or place[0].startswith(_OURS)):
            return None
        frame = frame.f_back
    return None


_OURS = __name__.partition(".")[0] + "."
