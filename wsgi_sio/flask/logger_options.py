"""Flask-SocketIO's ``logger=`` and ``engineio_logger=``: they switch the debug log on, or say where it goes.

True shows all lines, on stderr unless the application has a handler; a logger gets the lines that its level lets pass
when it is given.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

logger = logging.getLogger("wsgi_sio.flask")

# The logger whose children are all others of this package.
_PACKAGE = "wsgi_sio"
_OWN = {"logger": ("wsgi_sio.socketio", "wsgi_sio.flask"), "engineio_logger": ("wsgi_sio.engineio",)}


class _PassOn(logging.Handler):
    """Gives what a logger of ours has to say to one of the application's."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self.target = target

    def handle(self, record: logging.LogRecord) -> bool:
        self.target.handle(record)
        return True


def use_loggers(option: str, value: object) -> None:
    """Follow the option ``logger`` or ``engineio_logger``; None and False change nothing."""
    if value is None or value is False:
        return
    if value is not True and not isinstance(value, logging.Logger):
        logger.warning("%s= (%s) is ignored: it takes True, or a logging.Logger", option, type(value).__name__)
        return
    for own in map(logging.getLogger, _OWN[option]):
        if isinstance(value, logging.Logger):
            _pass_on(own, value)
        else:
            _show(own)


def _show(own: logging.Logger) -> None:
    if own.level == logging.NOTSET:  # else the application has said what it wants to see
        own.setLevel(logging.DEBUG)
    if not own.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logging.getLogger(_PACKAGE).addHandler(handler)


def _pass_on(own: logging.Logger, target: logging.Logger) -> None:
    if own in _line_of(target):
        return  # it is ours already
    own.setLevel(target.getEffectiveLevel())
    own.propagate = False
    if not any(isinstance(handler, _PassOn) and handler.target is target for handler in own.handlers):
        own.addHandler(_PassOn(target))


def _line_of(target: logging.Logger | None) -> Iterator[logging.Logger]:
    while target is not None:
        yield target
        target = target.parent
