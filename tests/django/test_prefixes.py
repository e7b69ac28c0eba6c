"""reverse() in handlers gives what it gives in views, below a prefix too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from django.urls import reverse

from tests.django.conftest import Site
from tests.support.inprocess import Client, eventually
from wsgi_sio.django import Socket


def below(site: Site, prefix: str) -> Client:
    """A client whose handshake came with this SCRIPT_NAME."""
    return site.process.client(extra={"SCRIPT_NAME": prefix})


def test_events_acknowledgements_and_the_end_have_the_prefix_of_the_handshake(site: Site) -> None:
    urls: list[Any] = []
    site.io.on("connect", lambda socket: urls.append(["connect", reverse("results")]))
    site.io.on("connection", lambda socket: urls.append(["connection", reverse("results")]))
    site.io.on("disconnect", lambda socket: urls.append(["disconnect", reverse("results")]))

    @site.io.on("ask")
    def ask(socket: Socket) -> str:
        socket.emit("question", callback=lambda: urls.append(["answer", reverse("results")]))
        return reverse("results")

    client = below(site, "/shop")
    client.connect()
    client.emit("ask", ack=1)
    client.answer(client.receive())
    assert client.receive().data == ["/shop/"]
    client.close()
    eventually(lambda: len(urls) == 4)
    assert urls == [[event, "/shop/"] for event in ("connect", "connection", "answer", "disconnect")]


def test_the_prefix_of_one_client_is_not_that_of_another(database: Path) -> None:
    site = Site({"max_workers": 1})
    site.io.on("url", lambda socket: reverse("results"))
    clients = [below(site, prefix) for prefix in ("/shop", "", "/forum/")]
    for client in clients:
        client.connect()
    assert [client.call("url") for client in clients] == [["/shop/"], ["/"], ["/forum/"]]
    site.close()


def test_a_background_task_has_that_of_what_starts_it(site: Site) -> None:
    urls: list[str] = []
    site.io.on("task", lambda socket: site.io.start_background_task(lambda: urls.append(reverse("results"))) and None)
    client = below(site, "/shop")
    client.connect()
    client.emit("task")
    eventually(lambda: urls)
    assert urls == ["/shop/"]


@pytest.mark.parametrize("prefix", ["", "/shop"])
def test_a_forced_prefix_is_had_by_all_work(site: Site, prefix: str) -> None:
    urls: list[str] = []
    site.io.on("url", lambda socket: reverse("results"))
    site.io.on_server_side("url", lambda: urls.append(reverse("results")))
    with override_settings(FORCE_SCRIPT_NAME="/forced"):
        client = below(site, prefix)
        client.connect()
        assert client.call("url") == ["/forced/"]
        site.io.sockets.server_side_handlers.run(["url"])  # as adapters do
    assert urls == ["/forced/"]
    assert reverse("results") == "/"  # what was before is there again
