"""The browser client: served as the reference does (socketio-wire 1B.2), found, and installed by npm."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest

from tests.docs.pages import DOCS
from tests.support.require import require
from wsgi_sio import Server, WSGIApp
from wsgi_sio.__main__ import main
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


@pytest.mark.timeout(330)  # npm is given 300 s, and asks again where a registry is slow
def test_a_real_npm_installs_a_client_that_can_be_served(tmp_path: Path) -> None:
    require(shutil.which("npm") is not None, "npm is not installed")
    files = ClientFiles(install_client(tmp_path / "cache"))
    assert get(files, "socket.io.min.js")[1]["ETag"] == f'"{CLIENT_VERSION}"'


def ask(app: WSGIApp, path: str) -> tuple[str, str]:
    """The status and the body of a GET."""
    told: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "HTTP_ORIGIN": "http://testserver",
        "HTTP_HOST": "testserver",
    }
    body = b"".join(app(environ, lambda status, headers: told.append(status)))
    return told[0], body.decode()


def test_a_missing_client_is_answered_with_the_step_that_brings_it_and_then_served(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the server runs, by the command that the answer and the log name."""
    app = WSGIApp(Server())
    for name in SCRIPTS[:2]:
        status, body = ask(app, f"/socket.io/{name}")
        assert status == "400 Bad Request" and "python -m wsgi_sio client-files" in body
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1 and "python -m wsgi_sio client-files" in warned[0].getMessage()
    made = make_client(elsewhere / "made")  # what npm is to bring
    monkeypatch.setenv(
        "PATH", fake_npm(elsewhere, f"mkdir node_modules; cp -r {made.parent} node_modules/socket.io-client")
    )
    assert main(["client-files"]) == 0
    assert ask(app, "/socket.io/socket.io.min.js") == ("200 OK", (made / "socket.io.min.js").read_text())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a home")
def test_a_user_without_a_home_is_answered_likewise(elsewhere: Path) -> None:
    """As in a container that runs under any number."""
    program = (
        "import os, wsgi_sio; os.setuid(54321); told = []; environ = {'REQUEST_METHOD': 'GET', "
        "'PATH_INFO': '/socket.io/socket.io.min.js', 'HTTP_HOST': 'x'}; "
        "wsgi_sio.WSGIApp(wsgi_sio.Server())(environ, lambda status, headers: told.append(status)); print(told)"
    )
    homeless = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    command = [sys.executable, "-c", program]
    for env in (homeless, homeless | {"HOME": "/root"}):
        env["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
        done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "['400 Bad Request']\n"


def test_a_directory_that_lacks_a_file_says_so(tmp_path: Path) -> None:
    dist = make_client(tmp_path / "socket.io-client")
    (dist / "socket.io.msgpack.min.js").unlink()
    status, body = ask(WSGIApp(Server(client_files=dist)), "/socket.io/socket.io.msgpack.min.js")
    assert status == "400 Bad Request" and "socket.io.msgpack.min.js is asked for" in body


@pytest.mark.parametrize("where", ["", "dist", "node_modules", ".", "package.tgz"])
def test_the_files_are_copied_out_of_whatever_npm_has_made(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    """Without npm: of the package, its folder of files, what it is in, the project, and what ``npm pack`` makes."""
    package = elsewhere / "node_modules" / "socket.io-client"
    dist = make_client(package)
    with tarfile.open(elsewhere / "package.tgz", "w:gz") as archive:
        archive.add(package, "package")
    source = {"": package, "dist": dist, "node_modules": package.parent}.get(where, elsewhere / where)
    monkeypatch.setenv("PATH", "")
    assert main(["client-files", "static/sio", "--from", str(source)]) == 0
    assert capsys.readouterr().out == "8 files in static/sio: client_files='static/sio' serves them\n"
    assert {path.name: path.read_bytes() for path in Path("static/sio").iterdir()} == {
        path.name: path.read_bytes() for path in dist.iterdir()
    }


def test_a_directory_is_filled_with_the_installed_client(elsewhere: Path) -> None:
    make_client(default_cache() / "node_modules" / "socket.io-client")
    assert main(["client-files", "static"]) == 0
    assert ClientFiles("static").respond("socket.io.js", if_none_match=None, accept_encoding=None) is not None


def test_a_package_without_the_client_is_refused_with_its_name(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "broken.tgz").write_bytes(b"\x1f\x8b no archive")
    (elsewhere / "empty").mkdir()
    with tarfile.open(elsewhere / "other.tgz", "w:gz") as archive:
        archive.add(__file__, "package/../dist/socket.io.js")
    for source in ("broken.tgz", "empty", "other.tgz", "missing.tgz"):
        assert main(["client-files", "static", "--from", source]) == 1
        assert source in capsys.readouterr().err
    assert main(["client-files", "--from", "empty"]) == 2
    assert "--from needs DIR" in capsys.readouterr().err
    assert not Path("static").exists()


def test_the_page_names_the_pinned_version() -> None:
    page = (DOCS / "browser_client.rst").read_text(encoding="utf-8")
    assert set(re.findall(r"\d+\.\d+\.\d+", page)) == {CLIENT_VERSION}
