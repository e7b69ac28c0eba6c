"""``socket.request``: session and user as in views, fresh for every event."""

from __future__ import annotations

import contextvars
import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client as Browser
from django.test import override_settings
from django.utils import translation

from tests.django.conftest import Site, log_in
from tests.support.inprocess import eventually
from wsgi_sio.django import NO_ACK, Namespace, Socket
from wsgi_sio.socketio.packet import CONNECT, CONNECT_ERROR, Packet


def test_the_user_of_the_session_cookie(site: Site) -> None:
    assert site.joined().call("whoami") == [""]
    assert site.joined(log_in("ada")).call("whoami") == ["ada"]


def test_who_logs_out_is_nobody_from_the_next_event_on(site: Site) -> None:
    browser = log_in("ada")
    client = site.joined(browser)
    assert client.call("whoami") == ["ada"]
    browser.logout()
    assert client.call("whoami") == [""]


def test_a_permission_lost_is_seen_by_the_next_event(site: Site) -> None:
    from django.contrib.auth.models import User

    site.io.on("is staff", lambda socket: socket.request.user.is_staff)
    client = site.joined(log_in("ada", is_staff=True))
    assert client.call("is staff") == [True]
    User.objects.filter(username="ada").update(is_staff=False)
    assert client.call("is staff") == [False]


def test_a_handler_may_leave_its_event_unacknowledged(site: Site) -> None:
    site.io.on("maybe", lambda socket, silent: NO_ACK if silent else "yes")
    client = site.joined()
    client.emit("maybe", True, ack=1)
    assert client.call("maybe", False, ack=2) == ["yes"]


def test_a_connect_handler_refuses_by_user(site: Site) -> None:
    for browser, kind in ((log_in("ada", is_staff=True), CONNECT), (log_in("bob"), CONNECT_ERROR)):
        client = site.client(browser)
        client.send(Packet(CONNECT, "/staff"))
        answer = client.receive()
        assert answer.type == kind
    assert answer.data == {"message": "for the staff", "data": {"user": "bob"}}


def test_one_request_an_event(site: Site) -> None:
    """Whatever runs for an event shares a request, which is that of the handshake; the next event has another."""
    seen: list[Any] = []

    @site.io.use
    def middleware(socket: Socket) -> None:
        seen.append(socket.request)

    @site.io.on("connect")
    def connect(socket: Socket) -> None:
        seen.append(socket.request)

    @site.io.on("look")
    def look(socket: Socket) -> list[str]:
        seen.extend([socket.request, socket.request])
        return [socket.request.path, socket.request.GET["transport"], socket.request.headers["X-Test"]]

    client = site.client(**{"X-Test": "yes"})
    client.connect()
    assert client.call("look") == [["/socket.io/", "websocket", "yes"]]
    client.call("look")
    assert [seen[0] is seen[1], seen[2] is seen[3], seen[4] is seen[5]] == [True] * 3
    assert len(set(map(id, seen))) == 3


def test_events_beside_each_other_have_requests_of_their_own(site: Site) -> None:
    both = threading.Barrier(2)
    seen: list[Any] = []

    @site.io.on("meet", concurrent=True)
    def meet(socket: Socket) -> None:
        seen.append(socket.request)
        both.wait(5)

    client = site.joined()
    client.emit("meet")
    client.emit("meet")
    eventually(lambda: len(seen) == 2)
    assert seen[0] is not seen[1]


def test_the_request_of_another_client(site: Site) -> None:
    """A handler that looks at the others sees their users."""

    @site.io.on("who else")
    def who_else(socket: Socket) -> list[str]:
        users = [other.request.user.get_username() for other in site.io.fetch_sockets() if other is not socket]
        return users

    ada, bob = site.joined(log_in("ada")), site.joined(log_in("bob"))
    assert ada.call("who else") == [["bob"]]
    assert bob.call("who else") == [["ada"]]


def test_handlers_of_one_socket_acknowledgements_and_the_end_have_requests(site: Site) -> None:
    names: list[str] = []

    @site.io.on("connection")
    def connection(socket: Socket) -> None:
        socket.on("own", lambda: names.append("own " + socket.request.user.get_username()))
        socket.emit("question", callback=lambda: names.append("answer " + socket.request.user.get_username()))

    @site.io.on("disconnect")
    def disconnect(socket: Socket) -> None:
        names.append("end " + socket.request.user.get_username())

    client = site.joined(log_in("ada"))
    client.answer(client.receive())
    client.call("own")
    client.close()
    eventually(lambda: len(names) == 3)
    assert names == ["answer ada", "own ada", "end ada"]


def test_outside_of_events_each_access_makes_a_request(site: Site) -> None:
    names: list[str] = []

    @site.io.on("later")
    def later(socket: Socket) -> None:
        def task() -> None:
            assert socket.request is not socket.request
            names.append(socket.request.user.get_username())

        site.io.start_background_task(task)

    site.joined(log_in("ada")).emit("later")
    eventually(lambda: names)
    assert names == ["ada"]


def test_what_an_event_leaves_behind_with_its_context_sees_fresh_users(site: Site) -> None:
    """gevent.spawn and asgiref hand the context variables on."""
    contexts: list[contextvars.Context] = []

    @site.io.on("leave behind")
    def leave_behind(socket: Socket) -> str:
        contexts.append(contextvars.copy_context())
        return socket.id

    client = site.joined(log_in("ada"))
    [sid] = client.call("leave behind")
    client.call("whoami")  # so the event before is over
    [socket] = site.io.in_(sid).fetch_sockets()
    first, second = (contexts[0].run(lambda: socket.request) for _ in range(2))
    assert first is not second
    assert first.user.get_username() == "ada"


def test_the_session_is_saved_before_the_acknowledgement(site: Site) -> None:
    browser = log_in("ada")
    client = site.joined(browser)
    assert [client.call("remember", word) for word in ("one", "two")] == [[1], [2]]
    assert browser.session["words"] == ["one", "two"]


def test_a_session_that_was_not_touched_is_not_read(site: Site) -> None:
    """No query but for what a handler asks."""
    from django.db import connection

    @site.io.on("queries")
    def queries(socket: Socket, touch: bool) -> int:
        user = socket.request.user
        if touch:
            user.get_username()
        return len(connection.queries)

    client = site.joined(log_in("ada"))
    assert client.call("queries", False) == [0]
    assert client.call("queries", True) == [2]
    assert client.call("queries", False) == [0]


def test_a_session_deleted_during_the_event_is_reported(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    browser = log_in("ada")

    @site.io.on("race")
    def race(socket: Socket) -> None:
        socket.request.session["late"] = True
        browser.session.delete()

    client = site.joined(browser)
    with caplog.at_level(logging.ERROR, "wsgi_sio.django"):
        client.emit("race")
        assert client.call("whoami") == [""]
    assert re.search("session of <Socket .*could not be saved", caplog.text)
    assert "SessionInterrupted" in caplog.text


def test_a_cookie_that_cannot_be_set_is_told_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    client = site.joined()
    with caplog.at_level(logging.WARNING, "wsgi_sio.django"):
        for word in ("one", "two"):
            assert client.call("remember", word) == [1]  # forgotten: the browser has no session
    assert len(caplog.records) == 1
    assert "cannot set cookies" in caplog.text and "in a view" in caplog.text


def test_a_log_out_needs_no_cookie_but_in_cookie_sessions(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    from django.contrib.auth import logout

    site.io.on("leave", lambda socket: logout(socket.request))
    with caplog.at_level(logging.WARNING, "wsgi_sio.django"):
        client = site.joined(log_in("ada"))
        client.call("leave")
        assert client.call("whoami") == [""]
        assert not caplog.records
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
            other = Site({})
            other.io.on("leave", lambda socket: logout(socket.request))
            try:
                client = other.joined(log_in("bob"))
                assert client.call("whoami") == ["bob"]
                client.call("leave")
                assert client.call("whoami") == ["bob"]
            finally:
                other.close()
    assert "signed_cookies" in caplog.text


@pytest.mark.parametrize("path", ["none", "session"])
def test_without_the_middlewares_there_is_no_user(site: Site, path: str) -> None:
    """As in views."""
    chosen = {"none": [], "session": ["django.contrib.sessions.middleware.SessionMiddleware"]}[path]
    site.io.on("has", lambda socket: [hasattr(socket.request, name) for name in ("session", "user")])
    with override_settings(MIDDLEWARE=["django.middleware.common.CommonMiddleware", *chosen]):
        assert site.joined(Browser()).call("has") == [[bool(chosen), False]]


def test_classes_and_dynamic_namespaces(site: Site) -> None:
    parent = site.io.of(re.compile("^/room-"))
    parent.on("whoami", lambda socket: socket.request.user.get_username())
    client = site.client(log_in("ada"))
    client.connect("/room-1")
    client.emit("whoami", nsp="/room-1", ack=1)
    assert client.receive().data == ["ada"]


def test_a_namespace_class_of_the_core_is_refused(site: Site) -> None:
    import wsgi_sio

    class Chat(wsgi_sio.Namespace):
        pass

    with pytest.raises(TypeError, match=r"Chat must derive from wsgi_sio\.django\.Namespace"):
        site.io.of("/chat", Chat)
    assert type(site.io.of("/other")) is Namespace


def test_the_language_of_one_clients_event_is_not_that_of_anothers(database: Path) -> None:
    site = Site({"max_workers": 1})

    @site.io.on("translate")
    def translate(socket: Socket, language: str) -> str:
        before = translation.get_language()
        translation.activate(language)
        return before

    assert [site.joined().call("translate", language) for language in ("de", "fr")] == [["en-us"], ["en-us"]]
    site.close()


def test_the_events_of_one_worker_share_its_connections_to_caches(database: Path) -> None:
    """Where each event is a new context of asgiref's, Django would connect anew for each."""
    site = Site({"max_workers": 1})
    seen: list[object] = []
    site.io.on("look", lambda socket: seen.append(caches["default"]))
    client = site.joined()
    for _ in range(3):
        client.call("look")
    other = override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}})
    with other:
        client.call("look")
    site.close()
    assert seen[0] is seen[1] is seen[2]
    assert type(seen[3]).__name__ == "DummyCache"
