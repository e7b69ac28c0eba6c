"""Installs the peers into a cache directory: a venv for python-socketio, a node_modules for Node's socket.io."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

_TIMEOUT = 600  # seconds, for everything that downloads

PYTHON_PEER = ("python-socketio", "python-engineio", "simple-websocket", "gevent", "gunicorn")
# What both run on: gunicorn takes its parser in C, which makes it faster, wherever that is installed.
_PARSER = "gunicorn_h1c"
_SHARED = ("gevent", "gunicorn", _PARSER)
_LIST_VERSIONS = (
    "import importlib.metadata as m, json, sys; "
    "print(json.dumps({name: found.version for name in sys.argv[1:] for found in m.distributions(name=name)}))"
)


class Unavailable(Exception):
    """A server cannot be measured here; says why."""


class Cache:
    """What is installed stays for the next run.

    :param directory: made when it is first needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _make(self) -> Path:
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / ".gitignore").write_text("*\n")
        return self._directory

    def python_socketio(self) -> tuple[Path, dict[str, str]]:
        """The interpreter of a venv with python-socketio, and the versions in it; gevent, gunicorn and its parser
        are the same as ours.

        :raises Unavailable: it could not be installed.
        """
        venv = self._directory / "venv"
        python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
        ours = own_versions()
        versions = _versions(python)
        shared = {name: version for name, version in versions.items() if name in ours or name == _PARSER}
        if shared != ours or not versions.keys() >= set(PYTHON_PEER):
            self._make()
            wanted = {*PYTHON_PEER, "packaging", *ours}  # gunicorn's gevent worker imports packaging
            pinned = [f"{name}=={ours[name]}" if name in ours else name for name in sorted(wanted)]
            _run("python-socketio", [sys.executable, "-m", "venv", "--clear", str(venv)])
            _run("python-socketio", [str(python), "-m", "pip", "install", "--quiet", *pinned])
            versions = _versions(python)
        return python, versions

    def socket_io(self) -> tuple[Path, dict[str, str]]:
        """The node_modules directory with socket.io, and its version and Node's.

        :raises Unavailable: there is no Node.js or npm, or it could not be installed.
        """
        if not (shutil.which("node") and shutil.which("npm")):
            raise Unavailable("Node.js and npm are not installed")
        prefix = self._directory / "node"
        manifest = prefix / "node_modules" / "socket.io" / "package.json"
        if not manifest.exists():
            self._make()
            prefix.mkdir(exist_ok=True)
            _run("socket.io", ["npm", "install", "--no-fund", "--no-audit", "--prefix", str(prefix), "socket.io@4"])
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=30, check=True)
        return manifest.parents[1], {
            "socket.io": json.loads(manifest.read_text())["version"],
            "node": node.stdout.strip().lstrip("v"),
        }


def own_versions() -> dict[str, str]:
    """The versions of gevent, gunicorn and its parser in this interpreter's environment, where installed."""
    return {name: found.version for name in _SHARED for found in metadata.distributions(name=name)}


def _versions(python: Path) -> dict[str, str]:
    """What is installed beside ``python``, of what is needed."""
    if not python.exists():
        return {}
    command = [str(python), "-c", _LIST_VERSIONS, *dict.fromkeys((*PYTHON_PEER, *_SHARED))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    versions: dict[str, str] = json.loads(result.stdout) if result.returncode == 0 else {}
    return versions


def _run(what: str, command: list[str]) -> None:
    print(f"installing {what} ...", file=sys.stderr, flush=True)
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"installing {what} took more than {_TIMEOUT} s") from None
    if result.returncode:
        last_line = (result.stderr.strip() or "no message").splitlines()[-1]
        raise Unavailable(f"installing {what} failed: {last_line}")
