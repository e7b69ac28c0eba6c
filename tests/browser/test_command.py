"""``python -m wsgi_sio`` when it cannot serve: one clear line and an exit status, no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import one_world

pytestmark = one_world

ROOT = Path(__file__).resolve().parents[2]


def run_command(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in ``cwd`` to its end."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    command = [sys.executable, "-m", "wsgi_sio", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def make_client(directory: Path) -> str:
    (directory / "socket.io.min.js").write_text("// the browser client")
    return str(directory)


@pytest.mark.parametrize("server", ["werkzeug", "gevent"])
def test_a_port_in_use_is_named(tmp_path: Path, server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_command("--port", port, "--server", server, "--client-dir", make_client(tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert port in done.stderr and "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_without_the_client_is_named(tmp_path: Path) -> None:
    done = run_command("--client-dir", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no Socket.IO browser client in") and done.stderr.count("\n") == 1


def test_without_client_and_npm_the_error_says_what_to_do(tmp_path: Path) -> None:
    done = run_command(cwd=tmp_path, PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "install Node.js" in done.stderr and "--client-dir" in done.stderr and done.stderr.count("\n") == 1
