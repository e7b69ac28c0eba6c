"""Values of models can be emitted as they are."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import pytest
from django.utils.translation import gettext_lazy

from tests.django.conftest import Site
from wsgi_sio.django import Socket

VALUES = {
    "when": datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc),
    "day": datetime.date(2026, 1, 2),
    "price": decimal.Decimal("1.50"),
    "key": uuid.UUID(int=1),
    "title": gettext_lazy("poll"),
    "list": ({"span": datetime.timedelta(seconds=90)}, 1, True, None, float("nan"), "é"),
}
JSON = {
    "when": "2026-01-02T03:04:05.678Z",
    "day": "2026-01-02",
    "price": "1.50",
    "key": "00000000-0000-0000-0000-000000000001",
    "title": "poll",
    "list": [{"span": "P0DT00H01M30S"}, 1, True, None, None, "é"],
}


def test_what_jsonresponse_takes_can_be_emitted(site: Site) -> None:
    @site.io.on("values")
    def values(socket: Socket) -> Any:
        socket.emit("values", VALUES)
        site.io.emit("values", VALUES)
        return VALUES

    client = site.joined()
    client.emit("values", ack=1)
    assert client.expect("values") == [JSON]
    assert client.expect("values") == [JSON]
    assert client.receive().data == [JSON]


def test_bytes_stay_attachments(site: Site) -> None:
    site.io.on("echo", lambda socket, *args: args)
    args = [b"\0\1", {"deep": [b"x"]}, "text"]
    assert site.joined().call("echo", *args) == args


def test_the_rest_is_refused_with_its_type(site: Site) -> None:
    site.joined()
    with pytest.raises(TypeError, match="Site"):
        site.io.emit("x", site)
