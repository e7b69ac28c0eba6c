"""The half of an engine that serves WebTransport where that is wanted; it takes a library that few need."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .config import EngineConfig
from .handshake import Handshakes

if TYPE_CHECKING:
    from .webtransport_listener import WebTransportListener
    from .webtransport_start import WebTransportStart


class ServesWebTransport:
    """The other half is :class:`EngineServer`.

    :ivar webtransport: where this process's clients connect by WebTransport, if they can.
    """

    config: EngineConfig
    handshakes: Handshakes
    webtransport: WebTransportListener | None = None
    _start: WebTransportStart | None = None

    def _prepare_webtransport(self) -> None:
        """Listen when this process begins to serve, if the option says so.

        :raises ImportError: aioquic is missing.
        """
        if self.config.webtransport is not None:
            _require_library("webtransport=")
            from .webtransport_start import WebTransportStart

            self._start = WebTransportStart(self, self.config.webtransport)  # type: ignore[arg-type]

    def begin_serving(self) -> None:
        """Do what is to be done before the first request, if somebody knows that this process serves."""
        if self._start is not None:
            self._start.begin()

    @property
    def is_draining(self) -> bool:
        """Whether it takes no more sessions."""
        return self.handshakes.closed

    @property
    def offers_webtransport(self) -> bool:
        """Whether clients can connect by it, to this process or a sibling."""
        return self.webtransport is not None or (self._start is not None and self._start.is_a_siblings)

    def listen_webtransport(self, *where: Any, **options: Any) -> WebTransportListener:
        """See :meth:`wsgi_sio.Server.listen_webtransport`."""
        _require_library("WebTransport")
        from .webtransport_listener import WebTransportListener

        if "webtransport" not in self.config.transports:
            raise ValueError(f"transports={self.config.transports} has no 'webtransport', so nobody may use it")
        if self.webtransport is not None:
            raise ValueError(f"WebTransport is served on port {self.webtransport.port} already")
        self.webtransport = WebTransportListener(self, *where, **options)  # type: ignore[arg-type]
        return self.webtransport

    # -- the end ------------------------------------------------------------------------------------------------

    def _let_go_of_port(self) -> None:
        if self.webtransport is not None and self.webtransport.close() and self._start is not None:
            self._start.tell_that_the_port_is_free()

    def wait_for_last_words(self, seconds: float) -> None:
        """Block until clients of WebTransport have got what was sent to them last, for ``seconds`` at most.

        What is sent to the others is the kernel's, and arrives even if this process ends.
        """
        if self.webtransport is not None and not self.webtransport.wait_until_deserted(seconds):
            self.webtransport.hang_up()


def _require_library(what: str) -> None:
    if find_spec("aioquic") is None:
        raise ModuleNotFoundError(f"{what} needs the aioquic library: pip install wsgi_sio[webtransport]")
