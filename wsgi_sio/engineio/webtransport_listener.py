"""Where clients of an engine connect by WebTransport: a UDP port of this process, and the certificate shown there."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, Union

from ..runtime import Timer
from ..webtransport.certificates import Certificate, make_certificate, read_certificate
from ..webtransport.driver import Driver
from ..webtransport.listener import Listener, bind
from .webtransport import WebTransportTransport
from .webtransport_handshake import Handshake, WebTransportEngine

logger = logging.getLogger("wsgi_sio.engineio")

PathLike = Union[str, os.PathLike[str]]

# How often the certificate's files are looked at (seconds).
_LOOK = 60.0
# How long before its end one of ours is made anew.
_IN_TIME = timedelta(days=6)
# The shortest time of silence after which a connection may be given up (seconds).
_IDLE = 30.0


class WebTransportListener:
    """Made by :meth:`wsgi_sio.Server.listen_webtransport`, whose parameters these are."""

    def __init__(
        self,
        engine: WebTransportEngine,
        host: str = "",
        port: int = 443,
        certfile: PathLike | None = None,
        keyfile: PathLike | None = None,
        *,
        password: str | None = None,
        prefix: str = "",
        max_connections: int = 10_000,
    ) -> None:
        self._engine = engine
        self._names = {"localhost", "127.0.0.1", "::1", *([host] if host not in ("", "::", "0.0.0.0") else [])}
        self._prefix = prefix.rstrip("/")
        self._read: Callable[[], Certificate] | None = None
        self._files: list[PathLike] = []
        if certfile is not None:
            self._read = partial(read_certificate, certfile, keyfile, password)
            self._files = [certfile] if keyfile is None else [certfile, keyfile]
        self._seen = self._look()
        self._certificates = [make_certificate(self._names) if self._read is None else self._read()]
        config = engine.config
        self._listener = Listener(
            engine.reactor,
            bind(host, port),
            self._certificates[0],
            self._welcome,
            idle_timeout=max(_IDLE, 2 * (config.ping_interval + config.ping_timeout)),
            max_connections=max_connections,
            report=engine.report,
        )
        self.host, self.port = self._listener.address[:2]
        self._timer: Timer = engine.reactor.call_later(_LOOK, self._time_to_look)

    def __len__(self) -> int:
        """How many clients are connected, or are connecting."""
        return len(self._listener)

    def _welcome(self, driver: Driver) -> Handshake:
        return Handshake(self._engine, driver, self.port, self._prefix)

    # -- the certificate ----------------------------------------------------------------------------------------

    @property
    def certificate_hashes(self) -> list[dict[str, Any]]:
        """For a page, as JSON: ``serverCertificateHashes``, the hashes' bytes in base64.

        Browsers take them for certificates that are valid for two weeks at most, such as those made here.
        """
        return [
            {"algorithm": "sha-256", "value": base64.b64encode(certificate.sha256).decode()}
            for certificate in self._certificates
        ]

    def renew(self) -> None:
        """Show the certificate that the files have now, or if there are none, a new one; connections go on.

        Files that have changed are noticed within a minute without this.

        :raises OSError: one cannot be read.
        :raises ValueError: one has not what it should have.
        """
        self._seen = self._look()
        certificate = make_certificate(self._names) if self._read is None else self._read()
        self._listener.renew(certificate)
        # Pages that were loaded before know the one before.
        self._certificates = [certificate, *self._certificates[: 1 if self._read is None else 0]]
        logger.info("WebTransport has a new certificate, which is good until %s", certificate.expires)

    def _look(self) -> list[object]:
        """What tells that the files have changed."""
        found: list[object] = []
        for file in self._files:
            status = os.stat(file)
            found.append((Path(file).resolve(), status.st_mtime_ns, status.st_size))
        return found

    def _time_to_look(self) -> None:
        self._timer = self._engine.reactor.call_later(_LOOK, self._time_to_look)
        self._engine.reactor.submit(self._renew_if_it_is_time)

    def _renew_if_it_is_time(self) -> None:
        try:
            if self._read is None:
                due = self._certificates[0].expires - datetime.now(timezone.utc) < _IN_TIME
            else:
                due = self._look() != self._seen
            if due:
                self.renew()
        except (OSError, ValueError, TypeError) as error:
            self._engine.report("certificate", f"that of WebTransport could not be renewed: {error}")

    # -- the end ------------------------------------------------------------------------------------------------

    def close(self) -> bool:
        """Take no new clients; those that there are stay, and another process may have the port.

        :return: whether it may have it at once; else, on some systems, when the last client has left.
        """
        self._timer.cancel()
        return self._listener.close()

    def dismiss(self) -> None:
        """End all connections in good order: sessions have ended, apart from those of siblings."""
        for user in self._listener.users:
            if isinstance(user, (Handshake, WebTransportTransport)):
                user.dismiss()

    def wait_until_deserted(self, seconds: float) -> bool:
        """Block until all connections have ended, for ``seconds`` at most; whether they have."""
        return self._listener.wait_until_deserted(seconds)

    def hang_up(self) -> None:
        """Let no client linger."""
        self._listener.hang_up()
