"""What an Engine.IO connection of the client tells its owner."""

from __future__ import annotations

from typing import Protocol

from ...exceptions import ConnectionFailed


class EngineEvents(Protocol):
    """Who is told: on the thread where it happens, so it must not block; one call after the other, no lock held.

    Nothing is told after ``on_error`` or ``on_close``.
    """

    def on_open(self) -> None:
        """Packets may be sent."""

    def on_message(self, data: str | bytes) -> None:
        """A message has come."""

    def on_ping(self) -> None:
        """The server has been heard."""

    def on_upgrade(self, name: str) -> None:
        """The transport is another from now on."""

    def on_upgrade_error(self, error: ConnectionFailed) -> None:
        """It remains polling."""

    def on_error(self, error: ConnectionFailed) -> None:
        """It could not be opened."""

    def on_close(self, reason: str, detail: object) -> None:
        """It is over: "transport close", "transport error", "ping timeout", "parse error" or "forced close"."""
