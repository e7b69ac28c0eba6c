"""The official browser client (``socket.io.min.js`` and friends): serve it from a directory, find it, install it.

Nothing of it is shipped with this package. `ClientFiles` serves a directory as the reference does (socketio-wire 1B.2),
`InstalledClient` whatever `find_client` finds where npm puts it; `install_client` lets npm fetch one pinned version
into the user's cache, and `copy_client` takes the files out of an npm package that is there already.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .http_compression import encode, negotiate

__all__ = [
    "CLIENT_VERSION",
    "ClientFiles",
    "ClientUnavailable",
    "InstalledClient",
    "copy_client",
    "default_cache",
    "find_client",
    "install_client",
    "is_client_file",
]

CLIENT_VERSION = "4.8.4"
"""The version that `install_client` asks npm for."""

_SCRIPTS = ("socket.io.js", "socket.io.min.js", "socket.io.msgpack.min.js", "socket.io.esm.min.js")
_NAMES = frozenset(_SCRIPTS) | {f"{script}.map" for script in _SCRIPTS}
_DIST = Path("node_modules", "socket.io-client", "dist")
_DISTS = ("dist", "client-dist")  # in the npm package socket.io-client, and in the server's, socket.io
_NPM_SECONDS = 300

Response = tuple[str, list[tuple[str, str]], bytes]


class ClientUnavailable(RuntimeError):
    """The browser client is not where it should be, or npm could not install it. The message says what to do."""


def is_client_file(name: str) -> bool:
    """Whether ``name`` is one of the eight files that pages may ask for."""
    return name in _NAMES


class ClientFiles:
    """The eight files of the browser client in ``directory``, each read and compressed once, when first asked for.

    Raises `ClientUnavailable` when the directory holds none of them. Safe to use from several threads.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        if not _holds_client(self.directory):
            raise ClientUnavailable(f"no Socket.IO browser client in {self.directory}: expected {_SCRIPTS[1]} there")
        self._version = _package_version(self.directory)
        # Two threads may fill the same entry at once: both write equal bytes.
        self._bodies: dict[tuple[str, str], bytes] = {}

    def respond(self, name: str, *, if_none_match: str | None, accept_encoding: str | None) -> Response | None:
        """The answer (status line, headers, body) to a GET of ``name``, or None when it is no file of the client.

        ``name`` is what follows ``<path>/`` in the URL, without the query; the two others are the request's headers.
        """
        plain = self._body(name, "identity")
        if plain is None:
            return None
        etag = f'"{self._version or hashlib.sha256(plain).hexdigest()[:16]}"'
        headers = [("Cache-Control", "public, max-age=0"), ("ETag", etag), ("Vary", "Accept-Encoding")]
        if if_none_match is not None and _matches(if_none_match, etag):
            return "304 Not Modified", headers, b""
        kind = "json" if name.endswith(".map") else "javascript"
        headers.append(("Content-Type", f"application/{kind}; charset=utf-8"))
        encoding = negotiate(accept_encoding or "")
        body = self._body(name, encoding) or plain
        if encoding != "identity":
            headers.append(("Content-Encoding", encoding))
        headers.append(("Content-Length", str(len(body))))
        return "200 OK", headers, body

    def _body(self, name: str, encoding: str) -> bytes | None:
        """The file in one content coding, or None when there is no such file."""
        if name not in _NAMES:
            return None
        body = self._bodies.get((name, encoding))
        if body is None:
            try:
                body = encode((self.directory / name).read_bytes(), encoding)
            except FileNotFoundError:
                return None
            self._bodies[name, encoding] = body
        return body


class InstalledClient:
    """The client's files wherever `find_client` finds them, which it is asked until they are there.

    So a client that is installed while the server runs is served. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._files: ClientFiles | None = None

    def respond(self, name: str, *, if_none_match: str | None, accept_encoding: str | None) -> Response | None:
        """As `ClientFiles.respond`; None when the client is not installed either."""
        files = self._files
        if files is None:
            try:
                directory = find_client()
                if directory is None:
                    return None
                files = self._files = ClientFiles(directory)  # another thread may do the same: either will do
            except ClientUnavailable:  # a user without a home; or somebody is removing it
                return None
        return files.respond(name, if_none_match=if_none_match, accept_encoding=accept_encoding)


def find_client(extra: str | os.PathLike[str] | None = None) -> Path | None:
    """The directory of an installed browser client, or None; never uses the network.

    Looks in ``extra`` alone when it is given (`ClientUnavailable` if the client is not there), else in the current
    directory's ``node_modules``, in ``tests/js/node_modules`` and in the user's cache.
    """
    if extra is not None:
        return ClientFiles(extra).directory
    candidates = (Path.cwd() / _DIST, Path.cwd() / "tests" / "js" / _DIST, default_cache() / _DIST)
    return next((directory for directory in candidates if _holds_client(directory)), None)


def default_cache() -> Path:
    """Where `install_client` puts the client: one folder a version, in the user's cache directory (XDG_CACHE_HOME).

    Raises `ClientUnavailable` for a user without a home.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise ClientUnavailable(f"no place for the browser client ({error}): set XDG_CACHE_HOME") from error
    return Path(base, "wsgi_sio", f"socket.io-client-{CLIENT_VERSION}")


def install_client(cache: str | os.PathLike[str] | None = None) -> Path:
    """The directory of the pinned client in ``cache`` (`default_cache` when None); npm installs it if it is not there.

    Raises `ClientUnavailable` when npm is missing or fails.
    """
    target = Path(cache) if cache is not None else default_cache()
    if _holds_client(target / _DIST):
        return target / _DIST
    npm = shutil.which("npm")
    if npm is None:
        raise ClientUnavailable(
            "the Socket.IO browser client is not installed, and npm, which would fetch it, was not found: "
            "install Node.js, or pass a directory that holds socket.io.min.js (client_files=DIR, --client-dir DIR), "
            "made from the npm package socket.io-client: python -m wsgi_sio client-files DIR --from PACKAGE"
        )
    print(f"Installing the browser client (socket.io-client {CLIENT_VERSION}) with npm into {target}...", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Installed aside and renamed: an interrupted npm leaves nothing that looks installed.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".installing-") as scratch:
        _run_npm(npm, scratch)
        try:
            os.replace(Path(scratch, "node_modules"), _made(target) / "node_modules")
        except OSError as error:
            if not _holds_client(target / _DIST):  # else another process was faster
                raise ClientUnavailable(f"cannot put the browser client into {target}: {error}") from error
    return target / _DIST


def _run_npm(npm: str, prefix: str) -> None:
    options = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", prefix]
    command = [npm, "install", *options, f"socket.io-client@{CLIENT_VERSION}"]
    try:
        done = subprocess.run(command, cwd=prefix, capture_output=True, text=True, timeout=_NPM_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClientUnavailable(f"npm could not install the Socket.IO browser client: {error}") from error
    if done.returncode != 0 or not _holds_client(Path(prefix) / _DIST):
        said = (done.stderr or done.stdout).strip()[-800:]
        raise ClientUnavailable(
            f"npm could not install the Socket.IO browser client (exit code {done.returncode}). Is the network there? "
            f"A directory that holds socket.io.min.js also does: client_files=DIR, --client-dir DIR\n{said}"
        )


def copy_client(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> list[str]:
    """Copy the client's files from ``source`` into the directory ``target``, which is made; return their names.

    ``source`` is the npm package as a ``.tgz`` (such as ``npm pack socket.io-client`` makes), or a directory: that of
    the files, of the package, or of a project with a ``node_modules``.

    Raises `ClientUnavailable` when there is no client in ``source``, `OSError` when it cannot be read or ``target``
    cannot be written.
    """
    origin, directory = Path(source), Path(target)
    try:
        bodies = dict(_in_directory(origin) if origin.is_dir() else _in_archive(origin))
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ClientUnavailable(f"{origin} is neither a directory nor an npm package (.tgz): {error}") from error
    if not bodies:
        raise ClientUnavailable(f"no Socket.IO browser client in {origin}: expected {_SCRIPTS[1]} there")
    for name, body in bodies.items():
        (_made(directory) / name).write_bytes(body)
    return sorted(bodies)


def _in_directory(directory: Path) -> Iterator[tuple[str, bytes]]:
    packages = (directory, directory / "socket.io-client", (directory / _DIST).parent)
    places = [directory, *(package / dist for package in packages for dist in _DISTS)]
    for place in places:
        if _holds_client(place):
            for name in _NAMES:
                if (place / name).is_file():
                    yield name, (place / name).read_bytes()
            return


def _in_archive(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as members:
        for member in members:
            _, *inside = PurePosixPath(member.name).parts or ("",)  # "package", as a rule
            if len(inside) == 2 and inside[0] in _DISTS and inside[1] in _NAMES:
                opened = members.extractfile(member)
                if opened is not None:  # else a folder or a link
                    yield inside[1], opened.read()


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _holds_client(directory: Path) -> bool:
    # Unlike Path.is_file, this bears a directory that we may not look into.
    return any(os.path.isfile(directory / script) for script in _SCRIPTS)


def _package_version(directory: Path) -> str | None:
    """The version in the npm package around ``directory`` (``dist/`` or ``client-dist/``), if it is one."""
    try:
        package = json.loads((directory.parent / "package.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    version = package.get("version") if isinstance(package, dict) else None
    return version if isinstance(version, str) else None


def _matches(if_none_match: str, etag: str) -> bool:
    """Whether an If-None-Match header names ``etag``, weak or strong (RFC 9110, 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]
