"""Commands that are carried out at once and once, by whoever calls: without threads, and without a job.

They are those of Redis; of them other buses know ``PUBLISH channel payload``, and ``PUBSUB NUMSUB channel``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Union

Command = tuple[Union[str, bytes], ...]


class CommandsFailed(Exception):
    """They have no answer.

    :ivar perhaps: whether they may have been carried out all the same: the connection broke behind them, or the answer
        did not come in time.
    """

    def __init__(self, message: str, perhaps: bool) -> None:
        super().__init__(message)
        self.perhaps = perhaps


class Commands(Protocol):
    """A few connections, as many as there are callers at the same time; a fork makes its own."""

    @property
    def shown(self) -> str:
        """The URL, without passwords."""

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send all in one piece; their answers, which are exceptions where the server has refused a command.

        :raises CommandsFailed: not all have been answered.
        :raises ImportError: the client's package is not installed.
        """

    def close(self) -> None:
        """End the connections; the next command makes new ones."""
