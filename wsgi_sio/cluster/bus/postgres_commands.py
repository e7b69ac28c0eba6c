"""Notifications for Postgres, as commands: see commands.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .commands import Command, PooledCommands
from .postgres_bus import NOTIFY_ROW
from .postgres_urls import check_table, check_url, shown

if TYPE_CHECKING:
    from .postgres_connection import PostgresConnection


class PostgresCommands(PooledCommands["PostgresConnection"]):
    """See :class:`Commands`.  They are ``channel, text``, or ``channel, content of a row, text before its number, text
    behind``; the answer is 1 for each, since nobody knows how many listen.

    :param table: for rows; it is there.
    :param timeout: seconds for each step: to connect, to be answered.
    :raises ValueError: the URL or the table's name is not understood.
    :raises ImportError: psycopg is missing.
    """

    def __init__(self, url: str, table: str, timeout: float) -> None:
        super().__init__(timeout)
        self._url = check_url(url)
        self._notify_row = NOTIFY_ROW.format(table=check_table(table))

    @property
    def shown(self) -> str:
        return shown(self._url)

    def _connect(self) -> PostgresConnection:
        from .postgres_connection import PostgresConnection  # here, since psycopg has to be imported after patching

        return PostgresConnection(self._url, timeout=self._timeout)

    def _is_alive(self, connection: PostgresConnection) -> bool:
        return connection.is_alive()

    def _end(self, connection: PostgresConnection) -> None:
        connection.close()

    def _ask(self, connection: PostgresConnection, commands: Sequence[Command]) -> list[Any]:
        from .postgres_connection import Refused

        answers: list[Any] = []
        for channel, content, *around in commands:
            try:
                if around:
                    connection.run(self._notify_row, (content, channel, *around))
                else:
                    connection.run("SELECT pg_notify(%s, %s)", (channel, content))
                answers.append(1)
            except Refused as refusal:
                answers.append(refusal)
        return answers
