"""The browser client's files, as the WSGI application serves them below its path."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.inprocess import InProcess
from tests.test_client_files import NAMES, SCRIPTS, make_client
from wsgi_sio import Server, WSGIApp

SHOP = "https://good-origin.com"


class Site:
    """An application with the client's files (or without), and a request of it."""

    def __init__(self, **options: Any) -> None:
        self.io = Server(**options)
        self._app = WSGIApp(self.io)
        self._process = InProcess(self.io)

    def get(self, path: str, query: str = "", **headers: str) -> tuple[int, dict[str, str], bytes]:
        environ = self._process.environ("GET", {name.replace("_", "-"): value for name, value in headers.items()})
        environ |= {"PATH_INFO": path, "QUERY_STRING": query}
        told: list[Any] = []
        body = b"".join(self._app(environ, lambda *started: told.append(started)))
        status, answered = told[0]
        return int(status.split()[0]), {name.lower(): value for name, value in answered}, body

    def close(self) -> None:
        self._process.close()


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    return make_client(tmp_path / "socket.io-client")


@pytest.fixture
def site(dist: Path) -> Iterator[Site]:
    with closing(Site(client_files=dist)) as site:
        yield site


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("query", ["", f"buster={int(time.time())}"], ids=["plain", "with a query"])
def test_each_file_is_served_with_its_type_and_version(site: Site, dist: Path, name: str, query: str) -> None:
    status, headers, body = site.get(f"/socket.io/{name}", query)
    assert (status, body) == (200, (dist / name).read_bytes())
    kind = "javascript" if name in SCRIPTS else "json"
    assert headers["content-type"] == f"application/{kind}; charset=utf-8"
    assert headers["etag"] == '"4.8.9"'
    assert "x-sourcemap" not in headers


def test_a_file_is_compressed_for_who_takes_it(site: Site, dist: Path) -> None:
    status, headers, body = site.get("/socket.io/socket.io.js", accept_encoding="gzip,br,deflate")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert gzip.decompress(body) == (dist / "socket.io.js").read_bytes()


@pytest.mark.parametrize(
    ("etag", "expected"), [('"4.8.9"', 304), ('W/"4.8.9"', 304), ('"4.8.8"', 200)], ids=["strong", "weak", "stale"]
)
def test_who_has_the_file_is_told_so(site: Site, etag: str, expected: int) -> None:
    status, _, body = site.get("/socket.io/socket.io.js", if_none_match=etag)
    assert status == expected and bool(body) == (expected == 200)


@pytest.mark.parametrize("name", ["socket.io.esm.js", "index.html", "socket.io.js.gz"])
def test_other_names_below_the_path_are_bad_requests(site: Site, name: str) -> None:
    assert site.get(f"/socket.io/{name}")[0] == 400


def test_other_paths_are_not_ours(site: Site) -> None:
    assert site.get("/abcdefghij/socket.io.js")[0] == 404


def test_without_client_files_their_names_are_bad_requests() -> None:
    with closing(Site(client_files=False)) as site:
        status, _, body = site.get("/socket.io/socket.io.js")
    assert (status, json.loads(body)) == (400, {"code": 0, "message": "Transport unknown"})


def test_pages_of_allowed_origins_may_load_the_client(dist: Path) -> None:
    with closing(Site(client_files=dist, cors_allowed_origins=SHOP)) as site:
        status, headers, _ = site.get("/socket.io/socket.io.js", origin=SHOP)
    assert (status, headers.get("access-control-allow-origin")) == (200, SHOP)
