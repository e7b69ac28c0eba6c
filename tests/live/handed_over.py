"""Clients of a server of several gunicorn workers, and connections that are with another worker than their sessions."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.live.kept import PAGE, PATIENT, Client, Line
from tests.live.peers import eventually
from tests.live.several import SeveralWorkers, gunicorn
from tests.support.world import WORLD

APP = "tests.apps.handed_over:app"
KIND = "-k gevent" if WORLD == "gevent" else "-k gthread --threads 8"
# So many clients of a few workers are not all with one.
_ATTEMPTS = 30
# For a poll to begin to wait, which cannot be seen from outside; without it the test tries less, and passes (seconds).
SETTLE = 0.05


@contextmanager
def handing_over(
    options: str = "",
    workers: int = 3,
    keep_alive: int = PATIENT,
    ports: Iterable[int] = (),
    app: str = APP,
    **others: Any,
) -> Iterator[SeveralWorkers]:
    """gunicorn with some workers that know each other, and an access log of pids, methods and paths."""
    options = f"{KIND} -w {workers} --keep-alive {keep_alive} {options}"
    options += " --access-logfile - --access-logformat %(p)s%(m)s%(U)s"
    with gunicorn(options, app=app, ports=ports, **{"keep_polling_connections": True, **others}) as server:
        wait_for_all(server, workers)
        yield server


def wait_for_all(server: SeveralWorkers, workers: int) -> None:
    """Return when so many workers know each other, as far as can be seen."""

    def known() -> bool:
        return all(page_at(server)["siblings"] == workers - 1 for _ in range(10))

    eventually(known, bool, 60)


def page(line: Line) -> dict[str, Any]:
    """What the worker that has a connection tells."""
    answer = line.ask(PAGE)
    assert answer.status == 200, answer
    found: dict[str, Any] = json.loads(answer.text)
    return found


def page_at(server: SeveralWorkers) -> dict[str, Any]:
    """What any worker tells."""
    with Line(server.port) as line:
        return page(line)


class Crossing(NamedTuple):
    """A client, the pid of its session's worker, and a connection of its own to another worker, of some pid."""

    client: Client
    owner: int
    line: Line
    pid: int

    def say(self, number: int) -> None:
        """Let there be something for the client, by its own connection."""
        assert self.client.line.ask(self.client.post(b'420["echo",%d]' % number)).text == "ok"

    def wait(self, number: int) -> None:
        """Poll on the other connection until there is something, and see that the connection goes on."""
        self.line.send(self.client.get())
        time.sleep(SETTLE)
        self.say(number)
        answer = self.line.answer()
        assert answer.text == f"430[{number}]" and not answer.last


@contextmanager
def crossing(server: SeveralWorkers, port: int = 0) -> Iterator[Crossing]:
    """See :class:`Crossing`.

    :param port: where the other connection is made, if that is not the server's first.
    """
    with Line(port or server.port) as line:
        pid = page(line)["pid"]
        for _ in range(_ATTEMPTS):
            with Line(server.port, anew=True) as own:
                client, owner = client_at(own)
                if owner != pid:
                    yield Crossing(client, owner, line, pid)
                    return
                assert own.ask(client.post(b"1")).text == "ok"
        raise AssertionError("all sessions are with one worker")


def client_at(line: Line) -> tuple[Client, int]:
    """A client on a connection, and the pid of its session's worker."""
    client = Client(line).join()
    assert line.ask(client.post(b'420["who"]')).text == "ok"
    found = re.fullmatch(r"430\[(\d+)\]", line.ask(client.get()).text)
    assert found
    return client, int(found[1])


def requests_of(server: SeveralWorkers, pid: int | None = None) -> int:
    """How many requests of sessions a worker has logged, or all."""
    return len(re.findall(rf"<{pid or '[0-9]+'}>(?:GET|POST)/socket\.io/", server.log()))
