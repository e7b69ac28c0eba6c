"""``wsgi_sio.Server``: the server of ``socketio``, with the adapter that it has unless it is given one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from .adapters import Adapter
from .cluster.workers.recovering_workers_adapter import recovering_workers
from .cluster.workers.workers_adapter import workers
from .socketio import server as core_server
from .socketio.namespace import Namespace

if TYPE_CHECKING:
    from .engineio.webtransport_listener import WebTransportListener


class Server(core_server.Server):
    __doc__ = core_server.Server.__doc__

    # The choice is made here, above cluster/, so that nothing has to be imported upwards for it. It is every server's
    # that an application can have: tests/test_architecture.py sees to it that the frameworks take this class.
    def _default_adapter(self) -> Callable[[Namespace], Adapter]:
        if self.engine.config.siblings is False:
            return super()._default_adapter()
        return workers(self) if self.recovery is None else recovering_workers(self, self.recovery)

    @property
    def webtransport(self) -> WebTransportListener | None:
        """Where clients connect to this process by WebTransport; None where they do not, or not yet."""
        return self.engine.webtransport

    def listen_webtransport(
        self,
        host: str = "",
        port: int = 443,
        certfile: str | os.PathLike[str] | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        *,
        password: str | None = None,
        prefix: str = "",
        max_connections: int = 10_000,
    ) -> WebTransportListener:
        """Let clients of this process connect by WebTransport, which is QUIC, on a UDP port; call it where it serves.

        ``transports`` has to have ``webtransport``; polling clients are offered it from now on. Browsers look for it at
        the page's own port, unless the client's ``transportOptions`` say otherwise.

        :param host: the address; empty for all of them, IPv6 and IPv4.
        :param port: 0 for any that is free.
        :param certfile: a certificate, with those that vouch for it, in a PEM file; None makes one on the spot, which
            browsers take from pages that know its hash: see ``certificate_hashes`` of what is returned.
        :param keyfile: its key; None if that is in ``certfile`` too. Both files are read again when they change.
        :param password: of the key.
        :param prefix: the URL's path before Socket.IO's, where the application is mounted below one.
        :param max_connections: how many there may be; each takes about 100 KB.
        :raises ImportError: aioquic is missing: ``pip install wsgi_sio[webtransport]``.
        :raises OSError: the port cannot be had, or a file not be read.
        :raises ValueError: a file has not what it should have, or it is not for this server.
        """
        return self.engine.listen_webtransport(
            host, port, certfile, keyfile, password=password, prefix=prefix, max_connections=max_connections
        )
