"""Polls that wait must not use the WSGI server's threads up (in the world of greenlets each has its own, cheaply)."""

from __future__ import annotations

import pytest

from tests.conformance.raw import Endpoint
from tests.live.kinds import serve
from tests.live.peers import fetch
from tests.support.scenario import assert_clean
from tests.support.world import WORLD

pytestmark = pytest.mark.skipif(WORLD == "gevent", reason="about servers of threads")

CLIENTS = 60


@pytest.mark.parametrize("threads", [1, 4])
def test_many_parked_polls_leave_the_site_its_threads(threads: int) -> None:
    """More clients wait than there are threads; the site answers all the same, and every client gets its events."""
    with serve("gunicorn-gthread", {"threads": threads}) as server:
        endpoint = Endpoint(server.url, "/socket.io")
        sessions = [endpoint.open_polling() for _ in range(CLIENTS)]
        polls = [session.start_get() for session in sessions]
        before = server.thread_count()
        assert fetch(server, "/")
        for session in sessions:
            assert session.post("40").status == 200
        for poll in polls:
            response = poll.response()
            assert response.status == 200 and response.text.startswith("40{")
        assert server.thread_count() <= before + 2
        assert_clean(server)


def test_a_parked_poll_is_logged_as_the_request_it_was() -> None:
    with serve("gunicorn-gthread", {}) as server:
        session = Endpoint(server.url, "/socket.io").open_polling()
        poll = session.start_get()
        session.post("40")
        assert poll.response().status == 200
        lines = [line for line in server.log().splitlines() if "GET /socket.io/" in line]
        assert lines and all('" 200 ' in line for line in lines)
        assert_clean(server)
