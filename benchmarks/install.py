"""Installs what is measured beside ours into a cache directory: a venv for python-socketio, a node_modules for
socket.io on Node and Bun, a directory for the extra ``fast``."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

_TIMEOUT = 600  # seconds, for everything that downloads

PYTHON_PEER = (
    "python-socketio",
    "python-engineio",
    "simple-websocket",
    "gevent",
    "gunicorn",
    "packaging",  # gunicorn's gevent worker imports it
    "requests",  # its client's long-polling
    "websocket-client",  # its client's WebSocket
)
_FAST = ("msgspec", "orjson")
# What both run on: gunicorn takes its parser in C, which makes it faster, wherever that is installed.
_PARSER = "gunicorn_h1c"
_SHARED = ("gevent", "gunicorn", _PARSER)
_TOLD = {"python-socketio", "python-engineio", "simple-websocket", *_SHARED}  # what the figures depend on most
_LIST_VERSIONS = (
    "import importlib.metadata as m, json, sys; "
    "print(json.dumps({name: found.version for name in sys.argv[1:] for found in m.distributions(name=name)}"
    " | {'': sys.version}))"
)
_IS_COMPILED = "from wsgi_sio.compiled import is_compiled; print(is_compiled())"


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
        """The interpreter of a venv with python-socketio, and the versions in it; the interpreter, gevent, gunicorn and
        its parser are the same as ours.

        :raises Unavailable: it could not be installed.
        """
        venv = self._directory / "venv"
        python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
        ours = own_versions()
        versions = _versions(python)
        shared = {name: version for name, version in versions.items() if name in ours or name == _PARSER}
        if versions.get("") != sys.version or shared != ours or not versions.keys() >= set(PYTHON_PEER):
            self._make()
            pinned = [f"{name}=={ours[name]}" if name in ours else name for name in sorted({*PYTHON_PEER, *ours})]
            if versions.get("") != sys.version or shared.keys() - ours:
                _run("python-socketio", [sys.executable, "-m", "venv", "--clear", str(venv)])
            _run("python-socketio", [str(python), "-m", "pip", "install", "--quiet", *pinned])
            versions = _versions(python)
        return python, {name: version for name, version in versions.items() if name in _TOLD}

    def socket_io(self) -> tuple[Path, dict[str, str]]:
        """The node_modules directory with socket.io, and its version and Node's.

        :raises Unavailable: there is no Node.js or npm, or it could not be installed.
        """
        if not (shutil.which("node") and shutil.which("npm")):
            raise Unavailable("Node.js and npm are not installed")
        modules = self._npm("socket.io@4")
        return modules, {"socket.io": _npm_version(modules / "socket.io"), "node": _program_version("node")}

    def bun(self, script: Path) -> tuple[Path, Path, dict[str, str]]:
        """Bun, a copy of ``script`` where it finds socket.io and its engine for it, and the versions.

        :raises Unavailable: there is no npm, or no Bun for this machine, or it could not be installed.
        """
        if not shutil.which("npm"):
            raise Unavailable("npm is not installed")
        machine = {"x86_64": "x64", "AMD64": "x64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
        package = f"@oven/bun-{sys.platform}-{machine}"
        modules = self._npm("socket.io@4", "@socket.io/bun-engine", package)
        bun = modules / package / "bin" / "bun"
        versions = {
            "bun": _program_version(str(bun)),
            "@socket.io/bun-engine": _npm_version(modules / "@socket.io" / "bun-engine"),
        }
        return bun, Path(shutil.copy(script, modules.parent)), versions

    def _npm(self, *packages: str) -> Path:
        """The node_modules directory, where these are."""
        prefix = self._directory / "node"
        modules = prefix / "node_modules"
        if not all((modules / re.sub(r"(?<!^)@.*", "", package)).exists() for package in packages):
            self._make()
            prefix.mkdir(exist_ok=True)
            what = packages[-1].partition("@4")[0]
            _run(what, ["npm", "install", "--no-fund", "--no-audit", "--prefix", str(prefix), *packages])
        return modules.resolve()

    def fast(self) -> Path:
        """A directory for PYTHONPATH with the libraries of the extra ``fast``.

        :raises Unavailable: they could not be installed.
        """
        place = (self._directory / f"fast-{sys.implementation.cache_tag}").resolve()
        if not all((place / name).exists() for name in _FAST):
            self._make()
            _run("fast", [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(place), *_FAST])
        return place

    def beside_installed(self, python: Path, benchmarks: Path) -> Path:
        """A directory in which ``python`` finds our applications, and the wsgi_sio that is installed in it.

        :raises Unavailable: that is not compiled.
        """
        place = self._make() / "installed"
        place.mkdir(exist_ok=True)
        link = place / benchmarks.name
        if not link.exists():
            link.symlink_to(benchmarks)
        command = [str(python.absolute()), "-c", _IS_COMPILED]
        try:
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60, check=False)
        except OSError as error:
            raise Unavailable(f"{python}: {error.strerror}") from error
        if done.stdout.strip() != "True":
            raise Unavailable(f"{python} has no compiled wsgi_sio")
        return place.resolve()


def own_versions() -> dict[str, str]:
    """The versions of gevent, gunicorn and its parser in this interpreter's environment, where installed."""
    return {name: found.version for name in _SHARED for found in metadata.distributions(name=name)}


def _npm_version(package: Path) -> str:
    version: str = json.loads((package / "package.json").read_text())["version"]
    return version


def _program_version(program: str) -> str:
    """The version that it tells."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip().lstrip("v")


def _versions(python: Path) -> dict[str, str]:
    """What is installed beside ``python``, of what is needed; under the empty name its own."""
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
