"""Heads of requests that the WSGI server's own parser has accepted: one that is the same need not be parsed again.

A client's polls have the same headers, to the byte, but for the length of a body.  So nothing here judges a header:
a head is compared with those that the server has parsed, for the same peer, path and method, and whatever has not been
seen is the server's to parse, and to refuse.  What differs from poll to poll, the query and that length, has to be
written in the plainest way.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple

from .config import Environ
from .response import Headers

# A longer head is not looked at (bytes).
_LONGEST = 8190
# So many are known, before others begin to be: somebody may send as many different ones as he likes.
_MOST = 5000

# Of the query only what encodeURIComponent() and yeast() leave as it is: nothing that URL parsers disagree on.
_LINE = re.compile(rb"(GET|POST) ([!\"$->@-~]+)\?([\w.~!'()*%=&+-]*) HTTP/1\.1(?=\r\n)")
_LENGTH = re.compile(rb"\r\n(?i:content-length): ?([0-9]{1,7})(?=\r\n|\Z)")

# What the answer to a poll depends on, beside its query and body.
_FACTS = ("HTTP_ACCEPT_ENCODING", "CONTENT_TYPE")
# Headers that ask for more than an answer.
_DEMANDS = ("HTTP_UPGRADE", "HTTP_EXPECT", "HTTP_TRANSFER_ENCODING", "HTTP_TRAILER", "HTTP_TE", "HTTP_HTTP2_SETTINGS")


class Head(NamedTuple):
    """The head of a request in the form of a poll.

    :ivar target: path and query, as they stand in its first line.
    :ivar key: the same for all polls that differ in no more than query and length.
    :ivar line: length of the first line.
    :ivar end: where the body begins.
    :ivar length: that of the body.
    """

    method: str
    target: str
    query: str
    key: bytes
    line: int
    end: int
    length: int


def read_head(data: bytes, peer: bytes) -> Head | None:
    """The head with which ``data`` begins; None when it is not there as a whole, or has not the form of a poll.

    :param peer: who has sent it, as far as the server trusts some more than others.
    """
    end = data.find(b"\r\n\r\n")
    line = _LINE.match(data)
    if line is None or not 0 < end <= _LONGEST:
        return None
    method, path, query = line.groups()
    block = data[line.end() : end]
    length = 0
    if method == b"POST":
        found = _LENGTH.search(block)
        if found is None:
            return None
        length = int(found[1])
        block = block[: found.start()] + block[found.end() :]
    # A digest, for what a block holds may be secret, and is not to outlive its connection.
    key = blake2b(b"%b %b %b%b" % (peer, method, path, block), digest_size=32).digest()
    text = query.decode()
    return Head(method.decode(), f"{path.decode()}?{text}", text, key, line.end(), end + 4, length)


def is_plain(environ: Environ) -> bool:
    """Whether a GET or POST that the server has parsed wants nothing but an answer, and a GET has no body."""
    if environ.get("SERVER_PROTOCOL") != "HTTP/1.1" or not environ.get("HTTP_HOST"):
        return False
    if environ.get("HTTP_CONNECTION", "keep-alive").lower() != "keep-alive":
        return False
    with_body = "CONTENT_LENGTH" in environ
    return with_body == (environ["REQUEST_METHOD"] == "POST") and not any(name in environ for name in _DEMANDS)


class Known(NamedTuple):
    """What is to be known of the polls with one head.

    :ivar environ: what an answer depends on.
    :ivar cors: headers for it.
    :ivar longest: how long the first line may be.
    """

    environ: Environ
    cors: Headers
    longest: int


class KnownHeads:
    """See the module's text."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def find(self, head: Head) -> Known | None:
        """What is known of heads like this one."""
        known = self._known.get(head.key)
        return known if known is not None and head.line <= known.longest else None

    def learn(self, head: Head, environ: Environ, cors: Headers, limit: int) -> None:
        """The server has parsed ``head``, if that is what came to ``environ``, and what it asks for is allowed.

        :param limit: how long the server lets a first line be; 0: as long as it likes.
        """
        if (head.method, head.target) != (environ["REQUEST_METHOD"], environ.get("RAW_URI")):
            return
        if head.length != int(environ.get("CONTENT_LENGTH", 0)):
            return
        if len(self._known) >= _MOST:
            self._known = {}
        facts = {name: environ[name] for name in _FACTS if name in environ}
        self._known[head.key] = Known(facts, cors, limit or _LONGEST)
