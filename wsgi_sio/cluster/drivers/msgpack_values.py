"""MessagePack as notepack.io and @msgpack/msgpack write it in Node, and what JSON would make of it.

Needs the package msgpack.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from struct import unpack as unpack_struct
from typing import Any

from ..bus.redis_urls import RedisUrl

# How a time begins: the three forms of the extension -1, and the one of notepack.io 2.
_TIMES = (b"\xd6\xff", b"\xd7\xff", b"\xc7\x0c\xff", b"\xd7\x00")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def require_packages(url: str) -> None:
    """See to it that there is what an adapter for ``url`` needs, before it has clients.

    Nothing is imported: gunicorn's ``--preload`` would do so before gevent patches what is imported.

    :raises ImportError: the package of the client, or msgpack, is not installed.
    :raises ValueError: the URL is not understood.
    """
    parsed = RedisUrl.parse(url)
    for package in (parsed.package, "msgpack"):
        if find_spec(package) is None:
            raise ImportError(f"{parsed.shown} needs the package {package}: pip install 'wsgi-sio[{parsed.package}]'")


def pack(value: Any, dumps: Callable[[Any], str], *, times: bool = False) -> bytes:
    """Write ``value``.

    :param dumps: the server's JSON, by which values go that MessagePack does not know.
    :param times: a datetime is a timestamp, instead of what ``dumps`` makes of it.
    :raises TypeError: nor does JSON.
    :raises ValueError: circular, or too deep nesting.
    """
    import msgpack

    def other(value: Any) -> Any:
        if isinstance(value, int):
            return float(value)  # too large, and all that a number is in JavaScript
        return json.loads(dumps(value))

    packed: bytes = msgpack.packb(value, default=other, datetime=times, unicode_errors="surrogatepass")
    return packed


def unpack(payload: bytes) -> Any:
    """Read a value; times are strings, as JavaScript's JSON writes them.

    :raises ValueError: it is none.
    """
    import msgpack

    value = msgpack.unpackb(payload, strict_map_key=False, timestamp=3, ext_hook=_extension)
    # What is of ASCII alone has none of these two bytes, and most is.
    if (b"\xff" in payload or b"\xd7" in payload) and any(begin in payload for begin in _TIMES):
        return _write_times(value)
    return value


def _extension(code: int, data: bytes) -> Any:
    if code == 0 and len(data) == 8:
        return _EPOCH + timedelta(milliseconds=unpack_struct(">q", data)[0])
    if code == 0 and len(data) == 1:
        return None  # undefined
    raise ValueError(f"a MessagePack extension of type {code}")


def _write_times(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    if isinstance(value, list):
        return [_write_times(item) for item in value]
    if isinstance(value, dict):
        return {key: _write_times(item) for key, item in value.items()}
    return value
