"""Commands for Redis or Valkey: see commands.py."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from .commands import Command, PooledCommands
from .redis_urls import RedisUrl
from .redis_wire import is_quiet, pack


class RedisCommands(PooledCommands[Any]):
    """See :class:`Commands`.

    :param timeout: seconds for each step: to connect, to be greeted, to be answered.
    :raises ValueError: the URL is not understood.
    """

    def __init__(self, url: str, timeout: float) -> None:
        super().__init__(timeout)
        self._url = RedisUrl.parse(url)
        self._client: Any = None

    @property
    def shown(self) -> str:
        return self._url.shown

    def run(self, commands: Sequence[Command]) -> list[Any]:
        if self._url.variant != "cluster":
            return super().run(commands)
        self._leave_parent()
        return self._run_in_cluster(commands)

    def _leave_parent(self) -> None:
        if self._pid != os.getpid():
            self._client = None
        super()._leave_parent()

    def _connect(self) -> Any:
        connection = self._made_client().connection_pool.make_connection()
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def _is_alive(self, connection: Any) -> bool:
        return is_quiet(connection)

    def _end(self, connection: Any) -> None:
        connection.disconnect()

    def _ask(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        connection.send_packed_command([b"".join(map(_pack, commands))], check_health=False)
        return [self._read(connection) for _ in commands]

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

    def _is_failure(self, error: BaseException) -> bool:
        return isinstance(error, self._errors())

    def close(self) -> None:
        super().close()
        if self._pid == os.getpid():
            client, self._client = self._client, None
            if client is not None:
                client.close()


def _pack(command: Command) -> bytes:
    return pack(*[part.encode() if isinstance(part, str) else part for part in command])
