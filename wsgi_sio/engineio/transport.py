"""How a session reaches its client: what polling.py and websocket.py have in common."""

from __future__ import annotations

from typing import ClassVar, Protocol

from .packet import Packet


class Transport(Protocol):
    """One way; ``idle`` means that nothing is being written, and is guarded by the session's lock."""

    idle: bool

    @property
    def name(self) -> str:
        """``polling`` or ``websocket``."""

    @property
    def gathers(self) -> bool:
        """Whether packets that come soon one after the other are better written together."""

    @property
    def linger(self) -> float:
        """How long a client may take to fetch what was sent before the end, in seconds."""

    @property
    def unsent(self) -> int:
        """Bytes of what has been written that the client has not taken yet, as far as is known."""

    @property
    def unread(self) -> bool:
        """Whether something has come from the client that has not been read, or is just being read."""

    def write(self, packets: list[Packet]) -> None:
        """Send ``packets`` without blocking; the caller found the transport idle and marked it busy."""

    def finish(self, code: int | None = None) -> None:
        """The write buffer is empty and nothing will follow: end in good order."""

    def abort(self, code: int | None = None) -> None:
        """End as soon as whoever writes lets go; at once when the client does not take what is written."""

    def pause(self) -> None:
        """Read nothing more from the client for now."""

    def resume(self) -> None:
        """Read again."""

    def read_on(self) -> None:
        """The session takes packets again, or, having ended, never will: look after those that wait to be taken."""


class EndedTransport:
    """What a session has in the place of a transport that has ended, which would keep the session as that keeps it:
    such a circle is garbage that only the collector finds.
    """

    __slots__ = ("idle", "name")

    gathers: ClassVar[bool] = False
    linger: ClassVar[float] = 0.0
    unsent: ClassVar[int] = 0
    unread: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.idle = False

    def write(self, packets: list[Packet]) -> None:
        """Nobody gets them."""

    def finish(self, code: int | None = None) -> None:
        """It has."""

    def abort(self, code: int | None = None) -> None:
        """It has ended."""

    def pause(self) -> None:
        """Nothing is read."""

    def resume(self) -> None:
        """Likewise."""

    def read_on(self) -> None:
        """Likewise."""
