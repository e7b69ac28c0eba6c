"""The browser client: served as the reference does (socketio-wire 1B.2), found, and installed by npm."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import zlib
from pathlib import Path

import pytest

from tests.support.require import require
from wsgi_sio.client_files import (
    CLIENT_VERSION,
    ClientFiles,
    ClientUnavailable,
    default_cache,
    find_client,
    install_client,
)

SCRIPTS = ("socket.io.js", "socket.io.min.js", "socket.io.msgpack.min.js", "socket.io.esm.min.js")
NAMES = SCRIPTS + tuple(f"{script}.map" for script in SCRIPTS)


def make_client(package: Path, version: str | None = "4.8.9") -> Path:
    """A directory laid out as npm lays the client out, each file holding its own name many times."""
    dist = package / "dist"
    dist.mkdir(parents=True)
    for name in NAMES:
        (dist / name).write_text(f"/* {name} */\n" * 100)
    if version is not None:
        (package / "package.json").write_text(f'{{"name": "socket.io-client", "version": "{version}"}}')
    return dist


@pytest.fixture
def files(tmp_path: Path) -> ClientFiles:
    return ClientFiles(make_client(tmp_path / "socket.io-client"))


def get(
    files: ClientFiles, name: str, match: str | None = None, accept: str | None = None
) -> tuple[str, dict[str, str], bytes]:
    response = files.respond(name, if_none_match=match, accept_encoding=accept)
    assert response is not None
    return response[0], dict(response[1]), response[2]


@pytest.mark.parametrize("name", NAMES)
def test_each_of_the_eight_files_is_served(files: ClientFiles, name: str) -> None:
    status, headers, body = get(files, name)
    assert status == "200 OK"
    assert headers["Content-Type"] == f"application/{'json' if name.endswith('.map') else 'javascript'}; charset=utf-8"
    assert headers["Cache-Control"] == "public, max-age=0"
    assert headers["ETag"] == '"4.8.9"'
    assert headers["Content-Length"] == str(len(body))
    assert body == (files.directory / name).read_bytes()


@pytest.mark.parametrize(
    "name", ["", "index.html", "../package.json", "/etc/passwd", "socket.io.js/", "Socket.io.js", "socket.io.js\0"]
)
def test_any_other_name_is_left_to_the_engine(files: ClientFiles, name: str) -> None:
    assert files.respond(name, if_none_match=None, accept_encoding=None) is None


def test_a_known_name_that_the_directory_lacks_is_left_to_the_engine(files: ClientFiles) -> None:
    (files.directory / "socket.io.msgpack.min.js").unlink()
    assert files.respond("socket.io.msgpack.min.js", if_none_match=None, accept_encoding=None) is None


@pytest.mark.parametrize("match", ['"4.8.9"', 'W/"4.8.9"', '"4.8.8", W/"4.8.9"', "*"])
def test_a_fresh_copy_is_answered_with_304_and_no_body(files: ClientFiles, match: str) -> None:
    status, headers, body = get(files, "socket.io.min.js", match)
    assert (status, body) == ("304 Not Modified", b"")
    assert headers["ETag"] == '"4.8.9"'
    assert "Content-Type" not in headers


@pytest.mark.parametrize("match", ['"4.8.8"', "4.8.9", ""])
def test_a_stale_copy_is_answered_in_full(files: ClientFiles, match: str) -> None:
    assert get(files, "socket.io.min.js", match)[0] == "200 OK"


def test_without_a_package_the_etag_follows_the_content(tmp_path: Path) -> None:
    files = ClientFiles(make_client(tmp_path / "plain", version=None))
    first, second = (get(files, name)[1]["ETag"] for name in SCRIPTS[:2])
    assert first != second
    assert get(files, SCRIPTS[0], first)[0] == "304 Not Modified"


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, None),
        ("", None),
        ("br", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip,br,deflate", "gzip"),
        ("deflate, gzip", "deflate"),
        ("gzip;q=0.5, deflate;q=0.9", "deflate"),
        ("gzip;q=0", None),
        ("gzip;q=nonsense", None),
        ("GZIP", "gzip"),
        ("*", "gzip"),
        ("*;q=0.1, gzip;q=0", "deflate"),
        ("identity, gzip;q=0.5", None),
    ],
)
def test_the_content_coding_is_negotiated(files: ClientFiles, accept: str | None, coding: str | None) -> None:
    _, headers, body = get(files, "socket.io.js", accept=accept)
    assert headers.get("Content-Encoding") == coding
    assert headers["Vary"] == "Accept-Encoding"
    decode = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[coding]
    assert decode(body) == (files.directory / "socket.io.js").read_bytes()


def test_the_compressed_bytes_are_made_once(files: ClientFiles) -> None:
    assert get(files, "socket.io.js", accept="gzip")[2] is get(files, "socket.io.js", accept="gzip")[2]


def test_a_directory_without_the_client_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ClientUnavailable, match=tmp_path.name):
        ClientFiles(tmp_path)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory and a user cache with nothing in them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path / "cwd"


def test_the_client_is_found_where_npm_puts_it_in_order_of_nearness(elsewhere: Path) -> None:
    assert find_client() is None
    cached = make_client(default_cache() / "node_modules" / "socket.io-client")
    assert find_client() == cached
    of_tests = make_client(elsewhere / "tests" / "js" / "node_modules" / "socket.io-client")
    assert find_client() == of_tests
    local = make_client(elsewhere / "node_modules" / "socket.io-client")
    assert find_client() == local
    assert find_client(cached) == cached


def test_a_given_directory_must_hold_the_client(elsewhere: Path) -> None:
    with pytest.raises(ClientUnavailable, match="expected socket.io.min.js"):
        find_client(elsewhere)


def test_without_npm_the_error_says_what_to_do(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(elsewhere))
    with pytest.raises(ClientUnavailable, match=r"install Node\.js.*--client-dir"):
        install_client()


def fake_npm(directory: Path, script: str) -> str:
    """A PATH whose npm is a shell script: a stand-in for the program, not for our code."""
    npm = directory / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"


def test_a_failing_npm_is_quoted_and_leaves_nothing_behind(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_npm(elsewhere, "echo network unreachable >&2; exit 7"))
    with pytest.raises(ClientUnavailable, match=r"exit code 7(.|\n)*network unreachable"):
        install_client()
    assert find_client() is None
    assert list(default_cache().parent.iterdir()) == []


def test_npm_is_asked_once_for_the_pinned_version(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    npm = fake_npm(
        elsewhere, f'echo "$@" >> {elsewhere}/calls; mkdir -p node_modules/socket.io-client/dist; '
        "echo x > node_modules/socket.io-client/dist/socket.io.min.js"
    )  # fmt: skip
    monkeypatch.setenv("PATH", npm)
    assert install_client() == install_client() == find_client()
    calls = (elsewhere / "calls").read_text().splitlines()
    assert len(calls) == 1 and calls[0].endswith(f"socket.io-client@{CLIENT_VERSION}") and "--no-save" in calls[0]
    assert capsys.readouterr().out.count("\n") == 1
    assert [entry.name for entry in default_cache().parent.iterdir()] == [default_cache().name]


def test_a_real_npm_installs_a_client_that_can_be_served(tmp_path: Path) -> None:
    require(shutil.which("npm") is not None, "npm is not installed")
    files = ClientFiles(install_client(tmp_path / "cache"))
    assert get(files, "socket.io.min.js")[1]["ETag"] == f'"{CLIENT_VERSION}"'
