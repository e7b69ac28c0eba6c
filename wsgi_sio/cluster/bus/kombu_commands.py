"""Commands for RabbitMQ: see commands.py."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from .commands import Command, PooledCommands
from .kombu_urls import KombuUrl
from .kombu_wire import Link, address_of, close


class KombuCommands(PooledCommands[Link]):
    """See :class:`Commands`.  The answer to PUBLISH is 0 when nobody hears it, else 1.

    :param timeout: seconds for each step: to connect, to be greeted, to be answered.
    :param exchanges: the channels that are fanout exchanges of their own.
    :raises ValueError: the URL is not understood.
    """

    def __init__(self, url: str, timeout: float, exchanges: Collection[str] = ()) -> None:
        super().__init__(timeout)
        self._url = KombuUrl.parse(url)
        self._exchanges = frozenset(exchanges)

    @property
    def shown(self) -> str:
        return self._url.shown

    def _connect(self) -> Link:
        connection = self._url.connect("emitter", timeout=self._timeout)
        try:
            return Link(connection, self._exchanges, self._timeout)
        except BaseException:
            close(connection)
            raise

    def _is_alive(self, connection: Link) -> bool:
        return connection.is_alive

    def _end(self, connection: Link) -> None:
        close(connection.connection)

    def _ask(self, connection: Link, commands: Sequence[Command]) -> list[Any]:
        return [self._run(connection, command) for command in commands]

    def _run(self, link: Link, command: Command) -> int | None:
        verb, *arguments = [part.decode() if isinstance(part, bytes) else part for part in command[:-1]]
        last = command[-1]
        if verb == "PUBSUB":
            return link.count(address_of(last if isinstance(last, str) else last.decode(), self._exchanges))
        payload = last.encode() if isinstance(last, str) else last
        link.publish(address_of(arguments[0], self._exchanges), payload, mandatory=True)
        return 0 if link.settle() else 1
