"""Commands for RabbitMQ: see commands.py."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from ...logtext import one_line
from .commands import Command, Commands, CommandsFailed
from .kombu_urls import KombuUrl
from .kombu_wire import Link, address_of, close


class KombuCommands(Commands):
    """See :class:`Commands`.  The answer to PUBLISH is 0 when nobody hears it, else 1.

    :param timeout: seconds for each step: to connect, to be greeted, to be answered.
    :param exchanges: the channels that are fanout exchanges of their own.
    :raises ValueError: the URL is not understood.
    """

    def __init__(self, url: str, timeout: float, exchanges: Collection[str] = ()) -> None:
        self._url = KombuUrl.parse(url)
        self._timeout = timeout
        self._exchanges = frozenset(exchanges)
        self._idle: deque[Link] = deque()
        self._pid = os.getpid()

    @property
    def shown(self) -> str:
        return self._url.shown

    def run(self, commands: Sequence[Command]) -> list[Any]:
        if self._pid != os.getpid():
            self._idle, self._pid = deque(), os.getpid()
        link = self._link()
        try:
            answers = [self._run(link, command) for command in commands]
        except BaseException as error:
            close(link.connection)
            if isinstance(error, Exception):  # of py-amqp
                raise self._failure(error, perhaps=True) from error
            raise  # a time limit of the caller's, say
        self._idle.append(link)
        return answers

    def _run(self, link: Link, command: Command) -> int | None:
        verb, *arguments = [part.decode() if isinstance(part, bytes) else part for part in command[:-1]]
        last = command[-1]
        if verb == "PUBSUB":
            return link.count(address_of(last if isinstance(last, str) else last.decode(), self._exchanges))
        payload = last.encode() if isinstance(last, str) else last
        link.publish(address_of(arguments[0], self._exchanges), payload, mandatory=True)
        return 0 if link.settle() else 1

    def _link(self) -> Link:
        while self._idle:
            try:
                link = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if link.is_alive:
                return link
            close(link.connection)
        try:
            connection = self._url.connect("emitter", timeout=self._timeout)
        except ImportError:
            raise
        except Exception as error:  # of py-amqp
            raise self._failure(error, perhaps=False) from error
        try:
            return Link(connection, self._exchanges, self._timeout)
        except BaseException as error:
            close(connection)
            if isinstance(error, Exception):
                raise self._failure(error, perhaps=False) from error
            raise

    def _failure(self, error: BaseException, perhaps: bool) -> CommandsFailed:
        return CommandsFailed(f"{self.shown}: {one_line(f'{type(error).__name__}: {error}')}", perhaps)

    def close(self) -> None:
        if self._pid == os.getpid():
            while self._idle:
                close(self._idle.pop().connection)
