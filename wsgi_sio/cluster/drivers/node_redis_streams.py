"""Node's Redis streams adapter (``@socket.io/redis-streams-adapter`` 0.3), with connection state recovery.

What is for clients goes through a stream, which all servers read; questions and answers go by publish and subscribe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..bus.redis_streams_bus import redis_streams
from .msgpack_values import require_packages
from .redis_streams.recovering_streams_adapter import RecoveringStreamsAdapter
from .redis_streams.stream_entries import TOPIC, stream_of
from .redis_streams.streams_adapter import RedisStreamsAdapter

if TYPE_CHECKING:
    from ...socketio.namespace import Namespace

__all__ = ["RecoveringStreamsAdapter", "RedisStreamsAdapter", "redis_streams_adapter"]


def redis_streams_adapter(
    url: str,
    *,
    stream_name: str = "socket.io",
    stream_count: int = 1,
    channel_prefix: str = "socket.io",
    max_len: int = 10_000,
    read_count: int = 100,
    session_key_prefix: str = "sio:session:",
    session_save_interval: float = 2.0,
    request_timeout: float = 5.0,
) -> Callable[[Namespace], RedisStreamsAdapter]:
    """An adapter for servers on one Redis, of this kind and Node's: ``Server(adapter=redis_streams_adapter(url))``.

    With ``connection_state_recovery`` a client goes on at any server, also when the one where it was has been killed:
    its session is in Redis from its beginning on.

    :param url: such as ``redis://localhost:6379/0``.
    :param stream_name: the stream's key; this and the next three are the same on all servers.
    :param stream_count: over how many streams the namespaces are spread.
    :param channel_prefix: what the names of the channels for questions and answers begin with.
    :param session_key_prefix: what the keys of sessions begin with.
    :param max_len: about how many entries a stream keeps, and so how much a client may have missed.
    :param read_count: how many entries are read at most at a time.
    :param session_save_interval: seconds after which a change of ``socket.data`` is saved at the latest; rooms are at
        once.
    :param request_timeout: seconds to wait for the answers of other servers.
    :raises ImportError: a package is not installed.
    :raises ValueError: there is no such URL.
    """
    require_packages(url)
    shared = redis_streams(url, topic=TOPIC, read_count=read_count)

    def make(namespace: Namespace) -> RedisStreamsAdapter:
        stream, recovery = stream_of(namespace.name, stream_name, stream_count), namespace.server.recovery
        if recovery is None:
            return RedisStreamsAdapter(
                namespace, shared, stream, prefix=channel_prefix, max_len=max_len, request_timeout=request_timeout
            )
        return RecoveringStreamsAdapter(
            namespace,
            shared,
            stream,
            recovery,
            prefix=channel_prefix,
            max_len=max_len,
            request_timeout=request_timeout,
            session_prefix=session_key_prefix,
            save_interval=session_save_interval,
        )

    return make
