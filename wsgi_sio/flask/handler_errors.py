"""What a handler raises: it refuses the client, goes to the handlers of errors, or is told to the test client."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from ..exceptions import ConnectRefused
from ..runtime import FAILURES
from ..socketio.handlers import NO_ACK
from ..socketio.socket import Socket
from ..socketio.testing_hooks import tell_tester
from .handler_arguments import EventHandler, WrongArguments

logger = logging.getLogger("wsgi_sio.flask")

ErrorHandler = Callable[[Any], Any]


class ConnectionRefusedError(ConnectRefused):
    """Raise it in a ``connect`` handler to refuse the client.

    :param args: the message, and what else the client is to get as the error's ``data``: one value, or a list of
        several.
    """

    def __init__(self, *args: Any) -> None:
        message, *data = args or ("Connection rejected by server",)
        super().__init__(str(message), (data[0] if len(data) == 1 else data) if data else None)


def guarded(
    handler: EventHandler, socket: Socket, args: tuple[Any, ...], error_handler: Callable[[str], ErrorHandler | None]
) -> Any:
    """Call ``handler``, and return what acknowledges the event.

    :param error_handler: the one for a namespace, if there is any.
    :raises ConnectRefused: the client is refused.
    """
    try:
        result = handler(args, f"client {socket.conn.log_id(socket)}")
        if isinstance(result, Response):  # such as the redirection of login_required
            raise HTTPException(response=result)
        return result
    except ConnectRefused:
        raise
    except FAILURES as error:
        try:
            on_error = error_handler(socket.nsp.name)
            if on_error is not None:
                return on_error(error)
        except FAILURES as another:
            _note(socket, another)
            raise
        if handler.event == "connect" and _is_refusal(error):
            raise ConnectRefused("Connection refused by server") from error
        _note(socket, error)
        if isinstance(error, (HTTPException, WrongArguments)):
            return _refuse(handler, error)
        raise


def _is_refusal(error: BaseException) -> bool:
    """Whether it is Python's ConnectionRefusedError, raised to refuse: the system raises it too, of other servers."""
    return isinstance(error, builtins.ConnectionRefusedError) and error.errno is None


def _refuse(handler: EventHandler, error: HTTPException | WrongArguments) -> Any:
    """What a handler that said no by an HTTP error, or could not be called, means to the client."""
    if isinstance(error, WrongArguments):
        status, text = "Internal Server Error", str(error)
    else:
        status = error.get_response().status
        text = f"handler {handler.where()} of {handler.event!r} answered {status}"
    logger.log(logging.DEBUG if handler.told else logging.WARNING, "%s", text)
    handler.told = True
    if handler.event == "connect":
        raise ConnectRefused(status)
    return NO_ACK


def _note(socket: Socket, error: BaseException) -> None:
    """Let a test client raise what its event has led to; a response that was returned is not an error."""
    if getattr(error, "response", None) is None:
        tell_tester(socket.handshake.environ, error)
