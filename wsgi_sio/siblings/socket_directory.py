"""The private directory in which the sockets of one server's processes lie: ``<base>/wsgi_sio-<uid>/<key>``.

Whoever can write there can pretend to be a sibling, and is given clients' connections.  So it is this user's alone, and
stands where nobody else can put another in its place.
"""

from __future__ import annotations

import _socket
import errno
import hashlib
import json
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence

# How the directories begin that hold those of one user's servers.
OWN = "wsgi_sio"

# Of the directories' layout: who has another does not look here.
_FORMAT = 1
# What a name of a Unix socket may have, without the zero behind it; and what a sibling's name adds ("/.abcd").
_LONGEST = (108 if sys.platform == "linux" else 104) - 1
_ADDED = 6
# How often something is made that somebody removes meanwhile.
_TRIES = 3
# No reason to look for another place: the siblings may be in this one.
_STARVED = (errno.EMFILE, errno.ENFILE)


class NoDirectory(OSError):
    """There is no place for the sockets.

    :ivar reasons: what is wrong with each that was tried.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


def make_directory(place_name: str, path: str, ordinal: int) -> str:
    """Return the directory of one Socket.IO server's processes, made if it is not there.

    :param place_name: of the WSGI server that they are.
    :param path: the URL path of the Socket.IO server.
    :param ordinal: which it is of those with that path.
    :raises NoDirectory: none can be had.
    :raises OSError: there is no descriptor left.
    """
    _check_unix_sockets()
    key = _key(place_name, path, ordinal)
    reasons = []
    for source, base in _bases():
        try:
            if not os.path.isabs(base):
                raise _Unfit("not an absolute path")
            return _make(base, key)
        except _Unfit as unfit:
            reasons.append(f"{base} ({source}): {unfit}")
        except OSError as error:
            if error.errno in _STARVED:
                raise
            reasons.append(f"{base} ({source}): {error.strerror or error}")
    raise NoDirectory(reasons)


class _Unfit(Exception):
    """A directory is there, or could be, but must not be used."""


def _check_unix_sockets() -> None:
    try:
        _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM).close()
    except OSError as error:
        if error.errno in _STARVED:
            raise
        raise NoDirectory([f"this process may have no Unix sockets ({error.strerror})"]) from error


def _key(place_name: str, path: str, ordinal: int) -> str:
    facts = [_FORMAT, _boot(), _network(), place_name, path, ordinal]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def _boot() -> str:
    """Of the kernel: a file system that several hosts share must not let them take each other's sockets for dead."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().strip().decode()
    except OSError:
        return ""


def _network() -> int:
    """The namespace in which a listening socket's name means something: containers may share a directory."""
    try:
        return os.stat("/proc/self/ns/net").st_ino
    except OSError:
        return 0


def _bases() -> Iterator[tuple[str, str]]:
    """What offers a place, and that, in the order of preference; each once."""
    seen = set()
    for source, base in _offers():
        if base and base not in seen:
            seen.add(base)
            yield source, base


def _offers() -> Iterator[tuple[str, str]]:
    for base in os.environ.get("RUNTIME_DIRECTORY", "").split(":"):  # systemd's, of which a service may have several
        yield "RUNTIME_DIRECTORY", base
    yield "XDG_RUNTIME_DIR", os.environ.get("XDG_RUNTIME_DIR", "")
    try:
        yield "temporary files, TMPDIR", tempfile.gettempdir()
    except FileNotFoundError:
        pass  # none of them can be written; gunicorn could not have started
    yield "shared memory", "/dev/shm"


def _make(base: str, key: str) -> str:
    home = os.path.join(base, f"{OWN}-{os.geteuid()}")
    directory = os.path.join(home, key)
    length = len(os.fsencode(directory)) + _ADDED
    if length > _LONGEST:
        raise _Unfit(f"too long: names of sockets in it would have {length} bytes of at most {_LONGEST}")
    _check_base(base)
    for tries_left in reversed(range(_TRIES)):
        try:
            _make_private(home)
            _make_private(directory)
            _try_socket(directory)
            break
        except FileNotFoundError:  # somebody tidies up
            if not tries_left:
                raise
    return directory


def _check_base(base: str) -> None:
    """Nobody else may rename what is in it."""
    info = os.stat(base)
    if not stat.S_ISDIR(info.st_mode):
        raise _Unfit("no directory")
    if info.st_uid not in (0, os.geteuid()):
        raise _Unfit(f"it belongs to another user ({info.st_uid})")
    if info.st_mode & 0o022 and not info.st_mode & stat.S_ISVTX:
        raise _Unfit(f"others may write in it, and remove what is not theirs (mode {stat.S_IMODE(info.st_mode):o})")


def _make_private(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    info = os.lstat(path)
    name = os.path.basename(path)
    if not stat.S_ISDIR(info.st_mode):
        raise _Unfit(f"{name} in it is no directory")
    if info.st_uid != os.geteuid():
        raise _Unfit(f"{name} in it belongs to another user ({info.st_uid})")
    if info.st_mode & 0o022:
        raise _Unfit(f"others may write in {name} (mode {stat.S_IMODE(info.st_mode):o}): remove it")
    if info.st_mode & 0o777 != 0o700:
        _repair(path)


def _repair(path: str) -> None:
    """Take what others may, give what we may not.

    To have been readable has let nobody leave anything in it, so it is as good as new; and to go elsewhere would part
    this process from siblings that are there already.  (Where others could write, only a new one is.)
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def _try_socket(directory: str) -> None:
    """Not every file system takes sockets: some that are shared with a virtual machine's host do not."""
    path = f"{directory}/.{secrets.token_hex(2)}"
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:  # else a sibling's, so they are taken
            raise
        return
    finally:
        sock.close()
    os.unlink(path)
