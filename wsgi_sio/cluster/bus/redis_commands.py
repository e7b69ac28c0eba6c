"""Commands for Redis or Valkey that are sent at once and once, by whoever calls: without threads, and without a job."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ...logtext import one_line
from .commands import Command, Commands, CommandsFailed
from .redis_urls import RedisUrl
from .redis_wire import is_quiet, pack


class RedisCommands(Commands):
    """A few connections, as many as there are callers at the same time; a fork makes its own.

    :param timeout: seconds for each step: to connect, to be greeted, to be answered.
    :raises ValueError: the URL is not understood.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url = RedisUrl.parse(url)
        self._timeout = timeout
        self._client: Any = None
        self._idle: deque[Any] = deque()
        self._pid = os.getpid()

    @property
    def shown(self) -> str:
        """The URL, without passwords."""
        return self._url.shown

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send all in one piece; their answers, which are exceptions where the server has refused a command.

        :raises CommandsFailed: not all have been answered.
        :raises ImportError: the client's package is not installed.
        """
        if self._pid != os.getpid():
            self._idle, self._client, self._pid = deque(), None, os.getpid()
        if self._url.variant == "cluster":
            return self._run_in_cluster(commands)
        connection = self._connect()
        try:
            connection.send_packed_command([b"".join(map(_pack, commands))], check_health=False)
            answers = [self._read(connection) for _ in commands]
        except BaseException as error:
            connection.disconnect()
            if isinstance(error, self._errors()):
                raise self._failure(error, perhaps=True) from error
            raise  # a time limit of the caller's, say
        self._idle.append(connection)
        return answers

    def _connect(self) -> Any:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if is_quiet(connection):
                return connection
            connection.disconnect()
        connection = None
        try:
            connection = self._made_client().connection_pool.make_connection()
            connection.connect()
        except BaseException as error:
            if connection is not None:
                connection.disconnect()
            if not isinstance(error, ImportError) and isinstance(error, self._errors()):
                raise self._failure(error, perhaps=False) from error
            raise
        return connection

    def _read(self, connection: Any) -> Any:
        try:
            return connection.read_response()
        except self._refusals() as refusal:
            return refusal

    def _made_client(self) -> Any:
        if self._client is None:
            self._client = self._url.client(socket_timeout=self._timeout, socket_connect_timeout=self._timeout)
        return self._client

    def _run_in_cluster(self, commands: Sequence[Command]) -> list[Any]:
        try:
            client = self._made_client()  # which connects
        except ImportError:
            raise
        except self._errors() as error:
            raise self._failure(error, perhaps=False) from error
        try:
            return [self._execute(client, command) for command in commands]
        except self._errors() as error:
            raise self._failure(error, perhaps=True) from error

    def _execute(self, client: Any, command: Command) -> Any:
        try:
            return client.execute_command(*command)
        except self._refusals() as refusal:
            return refusal

    def _refusals(self) -> tuple[type[Exception], ...]:
        """What the client raises where the server has said no."""
        errors = import_module(f"{self._url.package}.exceptions")
        return errors.ResponseError, errors.BusyLoadingError

    def _errors(self) -> tuple[type[Exception], ...]:
        """What the client raises for whatever goes wrong."""
        errors = import_module(f"{self._url.package}.exceptions")
        if self._url.package == "valkey":
            return errors.ValkeyError, errors.ValkeyClusterException, OSError
        return errors.RedisError, errors.RedisClusterException, OSError

    def _failure(self, error: BaseException, perhaps: bool) -> CommandsFailed:
        return CommandsFailed(f"{self.shown}: {one_line(f'{type(error).__name__}: {error}')}", perhaps)

    def close(self) -> None:
        """End the connections; the next command makes new ones."""
        if self._pid != os.getpid():
            return
        while self._idle:
            self._idle.pop().disconnect()
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _pack(command: Command) -> bytes:
    return pack(*[part.encode() if isinstance(part, str) else part for part in command])
