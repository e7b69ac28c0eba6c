"""What a server has been made with, to be looked at: parts of it are made of that, and would not hear of a change.

The connection's options are :class:`wsgi_sio.engineio.EngineConfig`, which is frozen for the same reason.
"""

from __future__ import annotations

from ..client_files import ClientFiles, InstalledClient
from .jsoncodec import JSONCodec
from .parser import Parser
from .recovery import RecoveryConfig


class ServerOptions:
    """See the module's text, and :class:`Server` for what each means."""

    _connect_timeout: float
    _json: JSONCodec | None
    _parser: Parser
    _recovery: RecoveryConfig | None
    _async_handlers: bool
    _max_mailbox: int
    _max_attachments: int
    _client_files: ClientFiles | InstalledClient | None
    _cleanup_empty_child_namespaces: bool

    @property
    def connect_timeout(self) -> float:
        """The option of this name, as the following are; none can be set later."""
        return self._connect_timeout

    @property
    def json(self) -> JSONCodec | None:
        """None for the built-in codec."""
        return self._json

    @property
    def parser(self) -> Parser:
        """How packets are written."""
        return self._parser

    @property
    def recovery(self) -> RecoveryConfig | None:
        """The option ``connection_state_recovery``; None without."""
        return self._recovery

    @property
    def async_handlers(self) -> bool:
        """Whether all handlers of a client's events run beside each other."""
        return self._async_handlers

    @property
    def max_mailbox(self) -> int:
        """Bytes that the unhandled events of one client may take."""
        return self._max_mailbox

    @property
    def max_attachments(self) -> int:
        """How many bytes values an event or an acknowledgement may have."""
        return self._max_attachments

    @property
    def client_files(self) -> ClientFiles | InstalledClient | None:
        """Where the browser's client is served from; None where it is not."""
        return self._client_files

    @property
    def cleanup_empty_child_namespaces(self) -> bool:
        """Whether a dynamic namespace is forgotten when its last client has left."""
        return self._cleanup_empty_child_namespaces
