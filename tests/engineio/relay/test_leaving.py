"""A server that has been closed, in a process that lives on, leaves its siblings when it has nothing left for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engineio.conftest import Engine
from tests.engineio.relay.conftest import MakeSiblings, assert_unknown, body_of, company, get, get_by_value, post
from tests.engineio.relay.test_load_balancing import handshake, opened
from tests.support.inprocess import eventually, open_descriptors
from wsgi_sio.engineio import Response
from wsgi_sio.engineio.packet import MESSAGE, Packet


def close(engine: Engine) -> None:
    """As Socket.IO's server does it: what is queued is sent, and the end with it."""
    for session in list(engine.engine.sessions.values()):
        session.close("server shutting down")
    engine.engine.close()


def has_left(engine: Engine) -> bool:
    return engine.engine.joining.company is None


def by_its_connection(engine: Engine, sid: str) -> Response:
    return get(engine, sid).response()


def by_value(engine: Engine, sid: str) -> Response:
    answer: Response = get_by_value(engine, sid).result()
    return answer


@pytest.mark.parametrize("poll", [by_its_connection, by_value])
def test_it_leaves_when_the_last_client_has_fetched_its_end(
    make_siblings: MakeSiblings, poll: Callable[[Engine, str], Response]
) -> None:
    """That is through a sibling, if it may be; then nothing of it is left, here or there."""
    holder, owner = make_siblings(2)
    joined = open_descriptors()
    sid = opened(handshake(owner).response())["sid"]
    owner.sessions[0].send([Packet(MESSAGE, "last words")])
    close(owner)
    assert not has_left(owner)
    assert body_of(poll(holder, sid)) == "4last words"
    assert body_of(poll(holder, sid)).endswith("1")
    eventually(lambda: has_left(owner), "the good-bye")
    eventually(lambda: company(holder).siblings.links() == (), "the news")
    assert_unknown(poll(holder, sid))
    eventually(lambda: open_descriptors() <= joined - 5, "a listener and both ends of two links to be closed")


def test_it_leaves_though_a_client_never_fetches_its_end(
    make_siblings: MakeSiblings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has half a minute for that."""
    monkeypatch.setattr("wsgi_sio.engineio.polling._LINGER", 0.1)
    _, owner = make_siblings(2)
    handshake(owner).response()
    owner.sessions[0].send([Packet(MESSAGE, "last words")])
    close(owner)
    eventually(lambda: has_left(owner), "the good-bye")


def test_without_clients_it_leaves_soon(make_siblings: MakeSiblings) -> None:
    holder, owner = make_siblings(2)
    owner.engine.close()
    eventually(lambda: has_left(owner) and not company(holder).siblings.links(), "the good-bye")
    owner.engine.joining.settle()  # an emit
    assert has_left(owner)


def test_what_it_gets_of_others_it_still_passes_on(make_siblings: MakeSiblings) -> None:
    """The WSGI server goes on, so that may be a poll of a sibling's client, or a new one: so it joins again."""
    busy, closed = make_siblings(2)
    session = opened(handshake(busy).response())["sid"]
    closed.engine.close()
    eventually(lambda: has_left(closed), "the good-bye")
    assert body_of(post(closed, session, "4hello").response()) == "ok"
    eventually(lambda: busy.received == ["hello"], "what was sent")
    assert opened(handshake(closed).response())["sid"][-4:] == busy.engine.tag
    (link,) = company(busy).siblings.links()
    eventually(lambda: link.draining, "it to say that it takes no sessions")
