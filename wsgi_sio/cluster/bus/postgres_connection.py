"""One connection to Postgres, by psycopg 3: statements and notifications, each in bounded time.  Only this imports it.

Nothing here is for several threads at a time.  Under gevent psycopg's own way to wait would hold up all greenlets if it
was imported before the monkey patching, and so would its look-up of a host's address: both are done here.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Generator, Sequence
from math import ceil
from typing import Any

import psycopg
from psycopg import waiting
from psycopg.conninfo import conninfo_to_dict

from ...runtime import disown, threads_are_greenlets
from .postgres_urls import TIMEOUT

# How long one look at a socket lasts where psycopg waits (seconds); a number of them is the patience with a server.
_LOOK = 0.1
# The classes of SQLSTATE that blame what has been asked, not the server: data, no such schema, table or right.
_BLAMES = ("0A", "22", "23", "3F", "42")


class Refused(Exception):
    """The server has refused a statement, for what it says: another one may do."""


class _Patient(psycopg.Connection[tuple[Any, ...]]):
    """Its statements fail when the server says nothing for too long.

    :ivar patience: how long that is (seconds).
    """

    patience = TIMEOUT

    def wait(self, gen: Any, interval: float = _LOOK, timeout: float | None = None) -> Any:
        counted = _count_looks(gen, self.patience)
        options = {} if timeout is None else {"timeout": timeout}  # before 3.3 there is none
        if threads_are_greenlets():
            # select.poll is looked up when it is called, so it is gevent's by then
            return waiting.wait_poll(counted, self.pgconn.socket, interval, **options)
        return super().wait(counted, interval, **options)


def _count_looks(gen: Any, patience: float) -> Generator[Any, Any, Any]:
    """``gen``, ended when it has waited in vain so often.

    Looks are counted, not seconds, lest the server be blamed for a time in which this process stood still.
    """
    try:
        wanted, vain = next(gen), 0
        while True:
            ready = yield wanted
            vain = 0 if ready else vain + 1
            if vain * _LOOK > patience:
                raise TimeoutError(f"it has not answered for {patience:g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


class PostgresConnection:
    """A connection that has been greeted; each statement is a transaction of its own.

    :param url: as libpq has it.
    :param heard: where the notifications go that come: the channel, what is written in it.
    :param timeout: how long the server may take for an answer; rounded up to whole seconds, to take a connection.
    :raises Exception: the server cannot be reached, or does not want it.
    """

    def __init__(self, url: str, heard: deque[tuple[str, bytes]] | None = None, timeout: float = TIMEOUT) -> None:
        given = conninfo_to_dict(url)
        options: dict[str, Any] = {
            "connect_timeout": max(2, ceil(timeout)),  # libpq's least
            "fallback_application_name": "wsgi_sio",
            **given,
            "client_encoding": "UTF8",
        }
        if threads_are_greenlets():
            options.update(_addresses(options))
        # No prepared statements, which a pooler in between need not have.
        self._connection = _Patient.connect(autocommit=True, prepare_threshold=None, **options)
        self._connection.patience = timeout
        if heard is not None:
            keep = heard.append
            self._connection.pgconn.notify_handler = lambda notify: keep((notify.relname.decode(), notify.extra))

    def run(self, statement: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement; what it finds.

        :raises Refused: the server does not like it, and the connection goes on.
        :raises Exception: it has failed otherwise, and the connection is of no use any more.
        """
        try:
            cursor = self._connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            if not self._connection.closed and (error.sqlstate or "").startswith(_BLAMES):
                raise Refused(str(error)) from error
            raise

    def look(self, seconds: float) -> None:
        """Wait up to ``seconds`` for something to come; notifications are where they go then.

        :raises Exception: the connection has ended.
        """
        self._connection.wait(_look(self._connection.pgconn), seconds)

    def is_alive(self) -> bool:
        """Whether the server has not ended it, as far as can be told without asking."""
        try:
            pgconn = self._connection.pgconn
            for _ in range(2):  # the first time there may be words of farewell
                pgconn.consume_input()
        except psycopg.Error:
            return False
        return not self._connection.closed

    def close(self) -> None:
        """End it."""
        self._connection.close()

    def abandon(self) -> None:
        """In a forked child: it is the parent's."""
        if not self._connection.closed:
            disown([self._connection.pgconn.socket])


def _look(pgconn: Any) -> Generator[Any, Any, None]:
    if (yield waiting.WAIT_R):
        pgconn.consume_input()
    while notify := pgconn.notifies():
        pgconn.notify_handler(notify)


def _addresses(options: dict[str, Any]) -> dict[str, Any]:
    """The addresses of the hosts of a connection, one for each, looked up in a way that lets others run."""
    hosts = str(options.get("host") or "").split(",")
    if options.get("hostaddr") or not all(hosts) or any(host.startswith(("/", "@")) for host in hosts):
        return {}
    found: list[tuple[str, str, str]] = []
    ports = str(options.get("port") or "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    error: OSError | None = None
    for host, port in zip(hosts, ports, strict=True):
        try:
            infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as failure:
            error = failure
            continue
        found += [(host, str(info[4][0]), port) for info in infos]
    if error is not None and not found:
        raise error
    names, addresses, numbers = ([each[place] for each in found] for place in range(3))
    return {"host": ",".join(names), "hostaddr": ",".join(addresses), "port": ",".join(numbers)}
