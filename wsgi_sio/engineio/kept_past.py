"""What is remembered of a connection that has been kept, while it is gunicorn's."""

from __future__ import annotations

from .gunicorn_calls import Call
from .kept_connection import KeptConnection
from .known_heads import Head

# A connection that has been kept so often in vain, since its requests have ever other headers, is left to gunicorn for
# so many requests; then it has as many attempts as it takes to know a client's GETs and POSTs.
_IN_VAIN, _REST, _ATTEMPTS = 8, 100, 4


class Past:
    """See the module's text.

    :ivar head: that of the request that has been given back.
    :ivar number: which of gunicorn's requests on this connection that is: no other has that head.
    :ivar in_vain: how often it has been kept, of late, without a poll that could be answered.
    """

    __slots__ = ("head", "in_vain", "number")

    def __init__(self) -> None:
        self.head: Head | None = None
        self.number = 0
        self.in_vain = 0

    def rests(self) -> bool:
        """Whether it is better left to gunicorn, once more."""
        if self.in_vain < _IN_VAIN:
            return False
        self.in_vain += 1
        if self.in_vain > _IN_VAIN + _REST:
            self.in_vain = _IN_VAIN - _ATTEMPTS
        return self.in_vain >= _IN_VAIN

    def note(self, connection: KeptConnection, call: Call) -> None:
        """It has been kept, and is gunicorn's again."""
        self.head = connection.parsing
        self.number = call.response.req.req_number + 1
        self.in_vain = 0 if connection.polls > 0 else self.in_vain + 1
