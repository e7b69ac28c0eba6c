"""The client's options, checked once and frozen."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from http.cookiejar import CookieJar
from typing import Any, Union

from ..engineio.config import HTTP_TRANSPORTS, TRANSPORTS, refuse_unknown_options
from ..runtime import Reactor
from ..socketio.packet import MAX_ATTACHMENTS
from ..validation import BYTES, COUNT, COUNT_OR_NONE_AT_ALL, DELAY_SECONDS, SECONDS, SHARE, check_options, type_hints

# A mapping, None, or a callable that makes one at each connect.
Auth = Union[Mapping[str, Any], Callable[[], Any], None]


def credentials(auth: Auth) -> Mapping[str, Any] | None:
    """What to send with CONNECT; calls a callable.

    :raises TypeError: it is no mapping.
    """
    made = auth() if callable(auth) else auth
    if made is not None and not isinstance(made, Mapping):
        raise TypeError(f"auth must be a mapping, not {type(made).__name__}")
    return made


POLICIES = ("raise", "drop_oldest", "drop_newest")

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")

_NUMBERS = {
    "timeout": SECONDS,
    "request_timeout": SECONDS,
    "reconnection_attempts": COUNT_OR_NONE_AT_ALL,
    "reconnection_delay": DELAY_SECONDS,
    "reconnection_delay_max": DELAY_SECONDS,
    "randomization_factor": SHARE,
    "retries": COUNT_OR_NONE_AT_ALL,
    "ack_timeout": SECONDS,
    "max_send_buffer": COUNT,
    "max_workers": COUNT,
    "webtransport_port": COUNT,
    "max_outbox": BYTES,
    "max_message_size": BYTES,
    "max_attachments": COUNT,
}


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """Options of the client; the names are the JavaScript client's, in snake case, and times are in seconds.

    :param path: URL prefix of the engine on the server.
    :param transports: what may be used, in order of preference, of ``polling``, ``websocket`` and ``webtransport``.
    :param upgrade: whether to go from polling to another of them where the server offers it: to WebTransport first.
    :param remember_upgrade: begin with WebSocket, or WebTransport, when it worked the last time.
    :param try_all_transports: try the next transport when one fails while opening.
    :param query: parameters added to the URL of every request; they override those of the URL.
    :param extra_headers: headers added to every request and to the WebSocket handshake.
    :param protocols: WebSocket subprotocols to offer.
    :param auth: the CONNECT packet's payload, or a callable that makes it at each connect.
    :param timeout: how long opening the connection may take, DNS to the server's handshake; None for ever.
    :param request_timeout: how long the server may take to answer a polling request; None as long as it pings.
    :param reconnection: whether to reconnect.
    :param reconnection_attempts: how often before giving up; None for ever.
    :param reconnection_delay: wait before the first attempt; it doubles each time.
    :param reconnection_delay_max: the longest wait.
    :param randomization_factor: how far a wait may be off, 0 to 1.
    :param retries: how often an unacknowledged event is sent again; None sends each once, without waiting.
    :param ack_timeout: how long to wait for an acknowledgement; None for ever.
    :param max_send_buffer: events kept while disconnected; None for any number.
    :param send_buffer_policy: what becomes of one too many: ``raise``, ``drop_oldest`` or ``drop_newest``.
    :param timestamp_requests: whether to make each URL unique; None: over polling only.
    :param timestamp_param: the name of the parameter that does.
    :param proxies: URLs of proxies (``http://…``) by the scheme of the server's, ``{"http": …, "https": …}``, before
        those of the environment; WebSocket goes through them by CONNECT.
    :param verify: check the server's certificate: True, False, or the path of the authorities to trust.
    :param cert: the client's certificate: a path, or those of the certificate and its key.
    :param ssl_context: does all of that instead.
    :param webtransport_port: the server's UDP port; None: that of its URL.
    :param certificate_hashes: SHA-256 (bytes, or text in base64) of the certificates that a server of WebTransport may
        show, instead of whatever ``verify`` says.
    :param cookies: sent from the beginning: a mapping, or a jar to share with others.
    :param json: the JSON library (``dumps``, ``loads``); None takes the standard one.
    :param parser: a module or object with ``Encoder`` and ``Decoder`` like :mod:`wsgi_sio.socketio.packet`; None takes
        that one.
    :param reactor: the reactor to share with others; None makes one.
    :param max_workers: how many handlers may run at once (None: 64 threads or 1000 greenlets).
    :param max_outbox: bytes that may wait for a server that is slower than we send, before emitting raises an error.
    :param max_message_size: the largest message, or polling answer, accepted from the server, in bytes.
    :param max_attachments: how many bytes values an event or an acknowledgement may hold, either way.
    :raises TypeError: for a value of the wrong type.
    :raises ValueError: for a value that makes no sense.
    """

    path: str = "/socket.io"
    transports: tuple[str, ...] = HTTP_TRANSPORTS
    upgrade: bool = True
    remember_upgrade: bool = False
    try_all_transports: bool = False
    query: Mapping[str, str] = field(default_factory=dict)
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    protocols: tuple[str, ...] = ()
    auth: Auth = None
    timeout: float | None = 20.0
    request_timeout: float | None = None
    reconnection: bool = True
    reconnection_attempts: int | None = None
    reconnection_delay: float = 1.0
    reconnection_delay_max: float = 5.0
    randomization_factor: float = 0.5
    retries: int | None = None
    ack_timeout: float | None = None
    max_send_buffer: int | None = None
    send_buffer_policy: str = "raise"
    timestamp_requests: bool | None = None
    timestamp_param: str = "t"
    proxies: Mapping[str, str] = field(default_factory=dict)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    ssl_context: ssl.SSLContext | None = None
    webtransport_port: int | None = None
    certificate_hashes: tuple[str | bytes, ...] = ()
    cookies: CookieJar | Mapping[str, str] | None = None
    json: Any = None
    parser: Any = None
    reactor: Reactor | None = None
    max_workers: int | None = None
    max_outbox: int = 16_000_000
    max_message_size: int = 100_000_000
    max_attachments: int = MAX_ATTACHMENTS

    def __post_init__(self) -> None:
        for name, value in check_options(vars(self), type_hints(ClientOptions), _NUMBERS).items():
            object.__setattr__(self, name, value)
        if self.send_buffer_policy not in POLICIES:
            raise ValueError(f"send_buffer_policy must be one of {POLICIES}, not {self.send_buffer_policy!r}")
        for name, value in self.extra_headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"extra_headers: {name!r}: {value!r} is no header")
        transports = (self.transports,) if isinstance(self.transports, str) else tuple(self.transports)
        if not transports or not set(transports) <= set(TRANSPORTS):
            raise ValueError(f"transports must be some of {TRANSPORTS}, not {self.transports!r}")
        object.__setattr__(self, "transports", transports)
        object.__setattr__(self, "path", "/" + self.path.strip("/"))

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ClientOptions:
        """Make them of keyword arguments.

        :raises TypeError: for an unknown name, it tells the known one that is closest; for a value of the wrong type.
        :raises ValueError: for a value that makes no sense.
        """
        refuse_unknown_options(options, [field.name for field in fields(cls)])
        return cls(**options)
