"""The chat's page: the few static files of ``page/``, as a WSGI application."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_TYPES = {
    "index.html": "text/html",
    "style.css": "text/css",
    "chat.js": "text/javascript",
    "composer.js": "text/javascript",
    "drawers.js": "text/javascript",
    "images.js": "text/javascript",
    "options.js": "text/javascript",
    "view.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

_HEADERS = {
    # Whatever somebody types: nothing runs in the page but its own files.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


# options.js where WebTransport is served: a browser takes a certificate that nobody has signed by its hash.
_WEBTRANSPORT = """
const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
const serverCertificateHashes = %s.map(({ algorithm, value }) => ({ algorithm, value: bytes(value) }));

export const options = {
  transports: ["polling", "websocket", "webtransport"],
  transportOptions: { webtransport: { serverCertificateHashes } },
};
"""


def serve_page(
    environ: WSGIEnvironment, start_response: StartResponse, hashes: list[dict[str, Any]] | None = None
) -> Iterable[bytes]:
    """A WSGI application: the page at ``/``, what it is made of beside it, 404 elsewhere.

    :param hashes: of the certificates of WebTransport, if that is served.
    """
    request = Request(environ)
    name = request.path.removeprefix("/") or "index.html"
    if name not in _TYPES or request.method not in ("GET", "HEAD"):
        return Response("Not found\n", 404)(environ, start_response)
    body = files("wsgi_sio.demo").joinpath("page", name).read_bytes()
    if name == "options.js" and hashes is not None:
        body = (_WEBTRANSPORT % json.dumps(hashes)).encode()
    response = Response(body, content_type=f"{_TYPES[name]}; charset=utf-8", headers=_HEADERS)
    response.add_etag()
    response.make_conditional(request)
    response.headers.pop("Date", None)  # every server adds its own
    return response(environ, start_response)
