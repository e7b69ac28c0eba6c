"""Notifications for Postgres that are sent at once and once, by whoever calls: without threads, and without a job."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...logtext import one_line
from .commands import Command, CommandsFailed
from .postgres_bus import NOTIFY_ROW
from .postgres_urls import check_table, check_url, shown

if TYPE_CHECKING:
    from .postgres_connection import PostgresConnection


class PostgresCommands:
    """A few connections, as many as there are callers at the same time; a fork makes its own.

    :param table: for rows; it is there.
    :param timeout: seconds for each step: to connect, to be answered.
    :raises ValueError: the URL or the table's name is not understood.
    :raises ImportError: psycopg is missing.
    """

    def __init__(self, url: str, table: str, timeout: float) -> None:
        self._url = check_url(url)
        self._notify_row = NOTIFY_ROW.format(table=check_table(table))
        self._timeout = timeout
        self._idle: deque[PostgresConnection] = deque()
        self._pid = os.getpid()

    @property
    def shown(self) -> str:
        """The URL, without passwords."""
        return shown(self._url)

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send all: ``channel, text``, or ``channel, content of a row, text before its number, text behind``.

        :return: 1 for each, since nobody knows how many listen; an exception where the server has refused it.
        :raises CommandsFailed: not all have been answered.
        """
        from .postgres_connection import Refused

        if self._pid != os.getpid():
            self._idle, self._pid = deque(), os.getpid()
        answers: list[Any] = []
        connection = self._connect()
        try:
            for channel, content, *around in commands:
                try:
                    if around:
                        connection.run(self._notify_row, (content, channel, *around))
                    else:
                        connection.run("SELECT pg_notify(%s, %s)", (channel, content))
                    answers.append(1)
                except Refused as refusal:
                    answers.append(refusal)
        except BaseException as error:
            connection.close()
            if isinstance(error, Exception):
                raise self._failure(error, perhaps=True) from error
            raise  # a time limit of the caller's, say
        self._idle.append(connection)
        return answers

    def _connect(self) -> PostgresConnection:
        from .postgres_connection import PostgresConnection

        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.is_alive():
                return connection
            connection.close()
        try:
            return PostgresConnection(self._url, timeout=self._timeout)
        except Exception as error:
            raise self._failure(error, perhaps=False) from error

    def _failure(self, error: BaseException, perhaps: bool) -> CommandsFailed:
        return CommandsFailed(f"{self.shown}: {one_line(f'{type(error).__name__}: {error}')}", perhaps)

    def close(self) -> None:
        """End the connections; the next command makes new ones."""
        while self._pid == os.getpid() and self._idle:
            self._idle.pop().close()
