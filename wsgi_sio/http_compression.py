"""Which content coding a client takes (RFC 9110, 12.5.3), and putting bodies into it."""

from __future__ import annotations

import gzip
import zlib

_COMPRESSED = ("gzip", "deflate")


def negotiate(accept_encoding: str) -> str:
    """The coding the client likes best of gzip, deflate and identity; the header's order breaks ties."""
    weights: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        coding, _, parameters = item.partition(";")
        weights.setdefault(coding.strip(), _quality(parameters))
    others = weights.pop("*", 0.0)
    for coding in _COMPRESSED:
        weights.setdefault(coding, others)
    usable = [coding for coding in weights if coding in (*_COMPRESSED, "identity") and weights[coding] > 0]
    return max(usable, key=weights.__getitem__, default="identity")


def _quality(parameters: str) -> float:
    """The ``q`` of one Accept-Encoding item: 1 when absent, 0 when it cannot be read."""
    key, _, value = parameters.partition("=")
    if key.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def encode(body: bytes, coding: str, level: int = 9) -> bytes:
    """``body`` in a coding that :func:`negotiate` has chosen, compressed at ``level`` (1: fast, to 9: small)."""
    if coding == "gzip":
        return gzip.compress(body, compresslevel=level, mtime=0)
    return zlib.compress(body, level) if coding == "deflate" else body
