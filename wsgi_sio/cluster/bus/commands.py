"""Commands that are carried out at once and once, by whoever calls: without threads, and without a job.

They are those of Redis; of them other buses know ``PUBLISH channel payload``, and ``PUBSUB NUMSUB channel``.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar, Union

from ...logtext import one_line

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


Connection = TypeVar("Connection")


class PooledCommands(Commands, Generic[Connection]):
    """The connections of one kind of server: those that nobody uses wait for the next caller.

    :param timeout: seconds for each step: to connect, to be greeted, to be answered.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._idle: deque[Connection] = deque()
        self._pid = os.getpid()

    def run(self, commands: Sequence[Command]) -> list[Any]:
        self._leave_parent()
        connection = self._find()
        if connection is None:
            connection = self._make()
        try:
            answers = self._ask(connection, commands)
        except BaseException as error:
            self._end(connection)
            if self._is_failure(error):
                raise self._failure(error, perhaps=True) from error
            raise  # a time limit of the caller's, say
        self._idle.append(connection)
        return answers

    def _leave_parent(self) -> None:
        if self._pid != os.getpid():
            self._idle, self._pid = deque(), os.getpid()

    def _find(self) -> Connection | None:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if self._is_alive(connection):
                return connection
            self._end(connection)
        return None

    def _make(self) -> Connection:
        try:
            return self._connect()
        except ImportError:
            raise
        except BaseException as error:
            if self._is_failure(error):
                raise self._failure(error, perhaps=False) from error
            raise

    def _is_failure(self, error: BaseException) -> bool:
        """Whether it is the server's, or the network's."""
        return isinstance(error, Exception)

    def _failure(self, error: BaseException, perhaps: bool) -> CommandsFailed:
        return CommandsFailed(f"{self.shown}: {one_line(f'{type(error).__name__}: {error}')}", perhaps)

    def close(self) -> None:
        while self._pid == os.getpid() and self._idle:
            self._end(self._idle.pop())

    @abstractmethod
    def _connect(self) -> Connection:
        """A new connection, which has been greeted."""

    @abstractmethod
    def _ask(self, connection: Connection, commands: Sequence[Command]) -> list[Any]:
        """See :meth:`Commands.run`."""

    @abstractmethod
    def _is_alive(self, connection: Connection) -> bool:
        """Whether an idle connection is still there."""

    @abstractmethod
    def _end(self, connection: Connection) -> None:
        """Close it."""
