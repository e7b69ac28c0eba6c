"""``python -m wsgi_sio migrate``: finds the uses of the old packages, and rewrites imports and nothing else."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
from pathlib import Path

import pytest

import wsgi_sio.flask
from tests.support.world import one_world
from wsgi_sio.__main__ import main
from wsgi_sio.flask import SocketIO
from wsgi_sio.flask.options import check
from wsgi_sio.flask.run import _OWN, _RELOADER, _WERKZEUG, Runner
from wsgi_sio.migrate import FileReport, migrate
from wsgi_sio.migrate.advice import ADVICE, FLASK_NAMES, KEYWORDS, OPTIONS

pytestmark = one_world

GEVENT_WORKER = "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"


def write(folder: Path, **files: str) -> Path:
    """Python files; two underscores stand for a slash."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


def found(root: Path) -> list[tuple[str, int, str, str]]:
    return [(report.path.stem, use.line, use.what, use.becomes) for report in migrate(root) for use in report.uses]


def rewritten(folder: Path, source: str) -> str:
    path = write(folder, app=source) / "app.py"
    assert list(migrate(folder)) and path.read_bytes().decode() == source, "a dry run changes nothing"
    for _ in range(2):  # the second time changes nothing more
        list(migrate(folder, apply=True))
    ast.parse(path.read_bytes())
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    "source",
    [
        "from @ import SocketIO, emit\n",
        "from @ import emit as e  # noqa\n",
        "from @ import (\n  emit,  # why\n  send,\n)\n",
        "from   @\\\n  import emit\n",
        "import @@\nflask_socketio.emit('x')\n",
        "import os, @@, sys\n",
        "import os, @ as f, sys\nf.SocketIO(app)\n",
        "def f():\n\tif x: from @ import rooms\n",
        "x = 'é€😀'; from @ import emit; y = 1\n",
        "\ufefffrom @ import emit\r\nx = 1\r\n",
        "x = '''\n\x0c\x0b\u2028'''\nfrom @ import emit\n",
        "try:\n  import @@\nexcept ImportError:\n  pass\n",
    ],
)
def test_imports_are_rewritten_and_nothing_else(tmp_path: Path, source: str) -> None:
    """@ is the package, and @@ the package where its name has to stay."""
    before = source.replace("@@", "flask_socketio").replace("@", "flask_socketio")
    after = source.replace("@@", "wsgi_sio.flask as flask_socketio").replace("@", "wsgi_sio.flask")
    assert rewritten(tmp_path, before) == after


def test_names_from_inside_the_package_come_from_its_top(tmp_path: Path) -> None:
    source = "from flask_socketio.{} import {}\n"
    for module, name in (("namespace", "Namespace"), ("test_client", "SocketIOTestClient")):
        assert rewritten(tmp_path, source.format(module, name)) == f"from wsgi_sio.flask import {name}\n"


@pytest.mark.parametrize(
    "source",
    [
        "from flask_socketio import emit, has_no_such_name\n",
        "from flask_socketio import *\n",
        "from flask_socketio.namespace import Frob\n",
        "import flask_socketio.namespace\n",
        "import flask_socketio\nflask_socketio.frob()\n",
        "import socketio\nsio = socketio.Server()\n",
        "from socketio.exceptions import ConnectionRefusedError\n",
        "patch('flask_socketio.emit')\n",
    ],
)
def test_what_needs_more_than_another_name_is_left_to_people(tmp_path: Path, source: str) -> None:
    assert rewritten(tmp_path, source) == source
    assert found(tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        "from .flask_socketio import emit\n",
        "import my_flask_socketio\n",
        "text = 'from flask_socketio import emit'\n",
        "# import flask_socketio\n",
        "from wsgi_sio.flask import SocketIO\nsocketio = SocketIO(app)\nsocketio.emit('x')\n",
        "server.manager.start()  # no socketio here\n",
    ],
)
def test_what_is_none_of_our_business(tmp_path: Path, source: str) -> None:
    write(tmp_path, app=source)
    assert list(migrate(tmp_path, apply=True)) == []
    assert (tmp_path / "app.py").read_text() == source


def test_other_encodings_stay(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    before = "# coding: latin-1\nx = 'é'; from flask_socketio import emit\n"
    path.write_bytes(before.encode("latin-1"))
    list(migrate(path, apply=True))
    assert path.read_bytes() == before.replace("flask_socketio", "wsgi_sio.flask").encode("latin-1")


def test_names_are_followed_through_the_code(tmp_path: Path) -> None:
    write(
        tmp_path,
        server="import socketio as s\nsio = s.Server(async_handlers=True)\napp = s.WSGIApp(sio, app)\n",
        handlers="from server import sio as io\n@io.event\ndef x(sid, data):\n    io.enter_room(sid, data)\n",
        thing="from socketio import Client\nclass T:\n  def f(self):\n    self.c = Client()\n    self.c.call('x')\n",
    )
    uses = found(tmp_path)
    assert [use[:3] for use in uses] == [
        ("handlers", 2, "io.event"),
        ("handlers", 4, "io.enter_room"),
        ("server", 1, "import socketio as s"),
        ("server", 2, "async_handlers=True"),
        ("server", 2, "s.Server"),
        ("server", 3, "s.WSGIApp"),
        ("thing", 1, "from socketio import Client"),
        ("thing", 5, "self.c.call"),
    ]
    assert uses[1][3] == "socket.join(room)"
    assert uses[5][3].startswith("wsgi_sio.WSGIApp(io, app)")


def test_what_has_no_like_is_said_to_have_none(tmp_path: Path) -> None:
    write(tmp_path, app="import engineio\nengineio.packet.NOOP\nfrom socketio import get_tornado_handler\n")
    assert [use[3] for use in found(tmp_path)][1:] == ["there is nothing like it"] * 2


def test_what_hides_behind_flask_socketio(tmp_path: Path) -> None:
    """Options that are not what they were, and looks behind the scenes; after the imports have been rewritten too."""
    write(
        tmp_path,
        app="from flask_socketio import SocketIO\nsocketio = SocketIO()\n"
        "socketio.init_app(app, async_mode='eventlet', cookie=None)\n",
        views="from app import socketio\nsocketio.server.manager.rooms\nsocketio.emit('x')\n"
        "current_app.extensions['socketio'].server.eio.sockets\n",
    )
    expected = [
        ("app", 3, "async_mode='eventlet'"),
        ("views", 2, "socketio.server.manager.rooms"),
        ("views", 4, "current_app.extensions['socketio'].server.eio"),
    ]
    assert [use[:3] for use in found(tmp_path)][1:] == expected
    list(migrate(tmp_path, apply=True))
    assert [use[:3] for use in found(tmp_path)] == expected


def test_requirements_and_commands(tmp_path: Path) -> None:
    (tmp_path / "requirements-dev.txt").write_text("Flask_SocketIO[x]>=5,<6  # flask-socketio\neventlet\nflask\n")
    (tmp_path / "pyproject.toml").write_text('dependencies = ["python-socketio ~= 5.0", "eventlet==0.3"]\n')
    (tmp_path / "Procfile").write_text("web: gunicorn -k eventlet app:app\n")
    (tmp_path / "setup.py").write_text("setup(install_requires=['flask-socketio'])\n")
    (tmp_path / "notes.txt").write_text("flask-socketio\n")
    assert [use[:3] for use in found(tmp_path)] == [
        ("Procfile", 1, "-k eventlet"),
        ("pyproject", 1, "python-socketio ~= 5.0"),
        ("pyproject", 1, "eventlet==0.3"),
        ("requirements-dev", 1, "Flask_SocketIO[x]>=5"),
        ("requirements-dev", 2, "eventlet"),
        ("setup", 1, "flask-socketio"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "what", "becomes"),
    [
        ("gunicorn.conf.py", "workers = 1\nworker_class = 'eventlet'\n", "worker_class = 'eventlet'", "'gevent', or"),
        ("conf.py", f"worker_class = '{GEVENT_WORKER}'\n", f"worker_class = '{GEVENT_WORKER}'", "'gevent'"),
        ("compose.yaml", "command: gunicorn --worker-class=eventlet a:b\n", "--worker-class=eventlet", "-k gevent, or"),
        ("docker-compose.prod.yml", 'command: ["-k", "eventlet"]\n', '-k", "eventlet', "-k gevent, or"),
        ("start.sh", f"exec gunicorn -k {GEVENT_WORKER} a:b\n", GEVENT_WORKER, "gevent"),
        ("start", "#!/usr/bin/env bash\ngunicorn -keventlet a:b\n", "-keventlet", "-k gevent, or"),
        ("Procfile.dev", "web: uwsgi --gevent 9 --http-websockets\n", "--http-websockets", "gunicorn -k gevent, or"),
        ("uwsgi.ini", "[uwsgi]\nhttp-websockets = true\n", "http-websockets", "gunicorn -k gevent, or"),
        (".env", "GUNICORN_CMD_ARGS=--worker-class eventlet\n", "--worker-class eventlet", "-k gevent, or"),
        ("Containerfile", "RUN pip install flask-socketio==5.3\n", "flask-socketio==5.3", "wsgi-sio[flask]"),
        ("environment.yml", "- python-socketio=5.1\n", "python-socketio=5.1", "wsgi-sio"),
    ],
)
def test_where_an_application_is_deployed(tmp_path: Path, name: str, text: str, what: str, becomes: str) -> None:
    (tmp_path / name).write_text(text)
    [use] = [use for report in migrate(tmp_path) for use in report.uses]
    assert use.what == what and use.becomes.startswith(becomes)


def test_other_files_without_a_suffix_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "NOTES").write_text("gunicorn -k eventlet\n")
    (tmp_path / "data").write_bytes(b"\x00\xff eventlet")
    assert list(migrate(tmp_path)) == []


@pytest.mark.parametrize(
    ("call", "keyword", "becomes"),
    [
        ("SocketIO(app, {}=1)", "debug", "an option of run(), not of SocketIO(...)"),
        ("SocketIO(app, {}=1)", "max_decode_packets", "leave it out: there is no such option"),
        ("SocketIO(app, {}=1)", "message_queue", "leave it out for the workers of one host; else it stays"),
        ("SocketIO(app, {}=1)", "channel", None),
        ("SocketIO(app, {}=1)", "old_servers", None),
        ("SocketIO(app, {}=1)", "cookie", None),
        ("SocketIO(app, {}=1)", "serializer", None),
        ("socketio.init_app(app, {}=1)", "use_reloader", "an option of run(), not of SocketIO(...)"),
        ("socketio.run(app, {}=1)", "cors_allowed_origins", "an option of SocketIO(...), not of run()"),
        ("socketio.run(app, {}=1)", "async_mode", "an option of SocketIO(...), not of run()"),
        ("socketio.run(app, {}=1)", "max_size", "no option where threads serve"),
        ("socketio.run(app, {}=1)", "log_output", None),
        ("socketio.run(app, {}=1)", "allow_unsafe_werkzeug", "leave it out"),
    ],
)
def test_every_keyword_is_looked_at(tmp_path: Path, call: str, keyword: str, becomes: str | None) -> None:
    source = f"from wsgi_sio.flask import SocketIO\nsocketio = SocketIO()\n{call.format(keyword)}\n"
    uses = found(write(tmp_path, app=source))
    assert [use[:3] for use in uses] == ([] if becomes is None else [("app", 3, f"{keyword}=1")])
    assert all(use[3].startswith(becomes or "") for use in uses)


def test_the_keywords_are_those_that_there_are() -> None:
    """Of our own signatures, which import Flask and the like, as the advice may not."""
    run = {*inspect.signature(SocketIO.run).parameters, *inspect.signature(Runner.run).parameters}
    run |= {*_OWN, *_WERKZEUG, *_RELOADER}
    run -= {"self", "io", "options", *OPTIONS["flask_socketio.SocketIO().run"]}
    assert KEYWORDS["flask_socketio.SocketIO().run"] == run
    options = KEYWORDS["flask_socketio.SocketIO"] - {"self", "app", "engine_options", "manage_session"}
    for keyword in options | (OPTIONS["flask_socketio.SocketIO"].keys() - {"allow_unsafe_werkzeug"}):
        try:
            check({keyword: None})
        except TypeError as error:
            assert f"{keyword} must be" in str(error), "it is known, but takes no None"


def test_other_peoples_code_is_left_out(tmp_path: Path) -> None:
    """Hidden folders, virtual environments, packages and links out of the code base; a file that is named is read."""
    source = "from flask_socketio import emit\n"
    write(tmp_path, env__lib__a=source, node_modules__b=source, x__site_packages=source)
    write(tmp_path / ".git", c=source)
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "x" / "site-packages").mkdir()
    write(tmp_path / "x" / "site-packages", d=source)
    outside = write(tmp_path / "..", outside=source) / "outside.py"
    (tmp_path / "link.py").symlink_to(outside)
    assert [report.path.name for report in migrate(tmp_path)] == ["site_packages.py"]
    assert len(list(migrate(tmp_path / "env" / "lib" / "a.py"))) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"print 'flask_socketio'\n",
        b"# coding: nowhere\nimport flask_socketio\n",
        b"import flask_socketio\n\xff\xfe\n",
        b"import flask_socketio\n\0\n",
        b"import flask_socketio\nx = " + b"(" * 5000,
    ],
)
def test_what_cannot_be_read_is_reported_and_left_alone(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "app.py").write_bytes(data)
    [report] = migrate(tmp_path, apply=True)
    assert report.problem is not None and report.problem.startswith("cannot be read")
    assert (tmp_path / "app.py").read_bytes() == data


def test_unreadable_files_that_are_of_no_interest_are_not_mentioned(tmp_path: Path) -> None:
    write(tmp_path, app="print 'hello'\n")
    assert list(migrate(tmp_path)) == []


def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, data: bytes) -> int:
        raise PermissionError("read-only")

    write(tmp_path, app="from flask_socketio import emit\n")
    monkeypatch.setattr(Path, "write_bytes", refuse)
    [report] = migrate(tmp_path, apply=True)
    assert report == FileReport(report.path, report.uses, problem="cannot be written: read-only")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, app="from flask_socketio import emit\nimport socketio\n")
    path = tmp_path / "app.py"
    assert main(["migrate", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{path}:1: from flask_socketio import emit -> from wsgi_sio.flask import emit [--apply]",
        f"{path}:2: import socketio -> {ADVICE['socketio']}",
        "2 uses; 1 of them imports for --apply to rewrite",
    ]
    assert main(["migrate", "--apply", str(tmp_path)]) == 0
    assert "[rewritten]" in capsys.readouterr().out
    assert path.read_text().startswith("from wsgi_sio.flask import emit\n")


def test_the_commands_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 when something could not be looked at."""
    assert main(["migrate", str(tmp_path / "nowhere")]) == 1
    assert "error: there is no" in capsys.readouterr().err
    write(tmp_path, app="import flask_socketio +\n")
    assert main(["migrate", str(tmp_path)]) == 1
    assert f"app.py: cannot be read{os.linesep}"[:20] in capsys.readouterr().err


def test_the_advice_names_what_there_is() -> None:
    """Every dotted name of ours that is recommended exists, and wsgi_sio.flask has the names imports are made of."""
    texts = [*ADVICE.values(), *(text for options in OPTIONS.values() for text in options.values())]
    names = {name for text in texts for name in re.findall(r"\bwsgi_sio(?:\.\w+)*", text)}
    for name in names:
        try:
            pkgutil.resolve_name(name)
        except AttributeError:
            importlib.import_module(name)
    assert set(wsgi_sio.flask.__all__) >= FLASK_NAMES
