"""Why there is no connection, in one line, and what may be wrong."""

from __future__ import annotations

import json
import re

from ..exceptions import ConnectionFailed, ConnectRefused, SocketIOError
from .screen import show

_OLD = "the server speaks an older protocol: Socket.IO v2, or v1"
_ENGINE_CODES = {
    0: "the server does not offer this transport: try another with --transport",
    1: "the session is over, or of another server: several hosts, or workers that are not one server, without sticky"
    " sessions? --transport websocket does without them",
    4: "the server refuses by its own rules; does it want another --header, such as 'Origin: ...' or a cookie?",
    5: _OLD,
}
_ELSEWHERE = "is it a Socket.IO server, and is the path right? --path names it, /socket.io by default"
_STATUS = {
    200: _ELSEWHERE,
    404: _ELSEWHERE,
    401: "the server, or a proxy, wants credentials: --header 'Authorization: ...'",
    403: _ENGINE_CODES[4],
    502: "a proxy answers, but nobody behind it",
    503: "a proxy answers, but nobody behind it",
}
# By what is found in the message.
_MESSAGES = (
    # Its payloads begin with a length, "97:0{...": types 7 to 9 do not exist, others are shown as they came.
    (re.compile(r"handshake: (['\"]\d+:0\{|.unknown packet type '[789]')"), _OLD),
    (re.compile(r"no Engine\.IO 4 handshake|is no HTTP"), _ELSEWHERE),
    (re.compile(r"CERTIFICATE_VERIFY_FAILED"), "--insecure does without the check"),
    (re.compile(r"WRONG_VERSION_NUMBER|wrong version number"), "does the server speak http:// rather than https://?"),
    (re.compile(r"refused\]?$|Connection refused"), "is the server running, and is the port right?"),
    (re.compile(r"Name or service|nodename|getaddrinfo"), "is the host's name right?"),
    (re.compile(r"^timeout$"), "nothing answers at this address: is it the right one?"),
    (re.compile(r"redirects to"), "use that address"),
)


def explain(error: Exception) -> str:
    """One line for an error of :meth:`Client.connect`, with a hint where there is one."""
    if isinstance(error, ConnectRefused):
        return _explain_refusal(error)
    if isinstance(error, ConnectionFailed):
        said, code = _what_the_server_said(error)
        hint = _hint(error, code)
        return f"could not connect: {one_line(str(error))}{said}{f' ({hint})' if hint else ''}"
    if isinstance(error, SocketIOError):
        return f"could not connect: {one_line(str(error))}"
    return f"{type(error).__name__}: {one_line(str(error))}"


def _explain_refusal(error: ConnectRefused) -> str:
    data = "" if error.data is None else f" {show(error.data)}"
    hint = ""
    if error.message == "Invalid namespace":
        hint = " (the path of the URL is the namespace; that of the server is --path)"
    return f"the server refused: {show(error.message)}{data}{hint}"


def _what_the_server_said(error: ConnectionFailed) -> tuple[str, int | None]:
    """The message of its refusal and Engine.IO's code for it, or the beginning of whatever it answered."""
    if not error.context:
        return "", None
    try:
        body = json.loads(error.context)
        return f": code {int(body['code'])}, {show(body['message'])}", int(body["code"])
    except (ValueError, TypeError, KeyError, RecursionError):
        text = error.context.strip()
        return f": {show(text[:80])}" if text and not text.startswith("<") else "", None


def _hint(error: ConnectionFailed, code: int | None) -> str | None:
    if code in _ENGINE_CODES:
        return _ENGINE_CODES[code]
    if error.description in _STATUS:
        return _STATUS[error.description]
    return next((hint for pattern, hint in _MESSAGES if pattern.search(str(error))), None)


def one_line(text: str) -> str:
    """What others say, with nothing in it that a terminal would obey."""
    text = " ".join(text.split())
    return text if text.isprintable() else ascii(text)
