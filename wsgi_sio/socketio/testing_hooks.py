"""What a test client puts into the environ of its handshake: who runs its handlers, and hears what they raise."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context

from ..runtime import MailboxOwner, SerialQueue
from .socket_handshake import Environ

# A callable that takes the jobs of the client's sockets, and runs them in a context that is for handlers to see.
SUBMIT_KEY = "wsgi_sio.testing.submit"

# A list for what handlers raise.
RAISED_KEY = "wsgi_sio.testing.raised"


def make_mailbox(
    environ: Environ, submit: Callable[[Callable[[], None]], None], limit: int, owner: MailboxOwner
) -> SerialQueue:
    """A socket's mailbox, whose jobs ``submit`` runs unless the client is one for tests."""
    tester: Callable[[Callable[[], None]], None] | None = environ.get(SUBMIT_KEY)
    if tester is None:
        return SerialQueue(submit, limit=limit, owner=owner)
    return SerialQueue(tester, limit=limit, owner=owner, context=copy_context)


def tell_tester(environ: Environ, error: BaseException) -> None:
    """Let a test raise what one of its events has led to."""
    raised: list[BaseException] | None = environ.get(RAISED_KEY)
    if raised is not None:
        raised.append(error)
