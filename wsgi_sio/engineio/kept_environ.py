"""What a session remembers of its handshake: the WSGI environ without the server's own objects, in little memory."""

from __future__ import annotations

from .config import Environ

# How many strings are known, before others begin to be: somebody may send as many different ones as he likes.
_MOST = 1000
# A longer one is hardly anybody else's (characters).
_LONGEST = 300
# These are nobody else's, and some are secrets that are not to outlive their session.
_OWN = frozenset(
    ["HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_SEC_WEBSOCKET_KEY", "QUERY_STRING", "RAW_URI", "REQUEST_URI"]
)
# But not a query that says no more than this, as that of most WebSockets.
_COMMON = frozenset(["EIO=4&transport=websocket"])


class EnvironKeeper:
    """Keeps the environs of many sessions, for as long as they live.

    Clients have most of it in common, but a server makes each string anew for each request; here those that are equal
    are one, which saves a kilobyte a session.  ``sys.intern`` would keep them for ever, from Python 3.12 on.
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def keep(self, environ: Environ) -> Environ:
        """A copy without what is only of use while the request is answered."""
        known = self._known
        if len(known) > _MOST:
            known = self._known = {}
        kept = {
            known.setdefault(key, key): known.setdefault(value, value)
            if type(value) is str and len(value) <= _LONGEST and (key not in _OWN or _is_common(key, value))
            else value
            for key, value in environ.items()
            if not key.startswith(("wsgi.", "gunicorn.", "werkzeug."))
        }
        kept["wsgi.url_scheme"] = environ.get("wsgi.url_scheme", "http")
        return kept


def _is_common(key: str, value: str) -> bool:
    query = value if key == "QUERY_STRING" else value.partition("?")[2] if key.endswith("_URI") else ""
    return query in _COMMON
