"""The Unix sockets of a directory: a file for each sibling, named by its tag, that the others dial.

A file is made under another name and gets its own when it listens, so "refused" means that its process has died.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..runtime import Rank, Reactor, Watch, make_lock
from .descriptor_passing import close_all
from .frames import is_tag

# How many may dial before they are heard.
_BACKLOG = 1024
# How many are let in before others have their turn.
_AT_ONCE = 64
# How long to wait before others are let in again when there was no descriptor for one (seconds).
_BREATH = 1.0
# A file that is older than this and has not got its name was left behind (seconds).
_BEING_MADE = 60.0
# The longest path that a socket can have; Linux's is the longest of all.
_LONGEST = 107 if sys.platform == "linux" else 103


class Stranger(Exception):
    """At the other end is no process of ours."""


class Listener:
    """This process's own file.

    :param accepted: gets each connection, non-blocking, and the pid of who has dialled (0: unknown).
    :param report: is told of what is not as it should be.
    """

    def __init__(
        self,
        reactor: Reactor,
        directory: str,
        tag: str,
        accepted: Callable[[_socket.socket, int], None],
        report: Callable[[str, str], None],
    ) -> None:
        """Listen; :meth:`start` begins to let others in.

        :raises FileExistsError: there is such a file.
        :raises OSError: it cannot be made.
        """
        self._reactor = reactor
        self._path = os.path.join(directory, tag)
        self._accepted = accepted
        self._report = report
        self._lock = make_lock(Rank.LEAF)
        self._closed = False
        self._sock = _socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._sock.setblocking(False)
            self._inode = self._bind(directory, tag)
            self._watch: Watch = self._watched()
        except BaseException:
            self._sock.close()
            raise

    def _watched(self) -> Watch:
        try:
            return self._reactor.watch(self, reading=False)
        except BaseException:
            self.unlink()
            raise

    def _bind(self, directory: str, tag: str) -> int:
        if os.path.lexists(self._path):
            raise FileExistsError(errno.EEXIST, "a sibling has that tag", self._path)
        unnamed = f".{tag}"
        with _address(directory, unnamed) as address:
            try:
                self._sock.bind(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                raise FileExistsError(errno.EEXIST, "a sibling is taking that tag", address) from None
        made = os.path.join(directory, unnamed)
        try:
            os.chmod(made, 0o600)
            self._sock.listen(_BACKLOG)
            os.rename(made, self._path)
            return os.lstat(self._path).st_ino
        except OSError:
            _unlink(made)
            raise

    @property
    def present(self) -> bool:
        """Whether the file can still be found."""
        try:
            return os.lstat(self._path).st_ino == self._inode
        except OSError:
            return False

    def fileno(self) -> int:
        return self._sock.fileno()

    def start(self) -> None:
        """Let others in."""
        self._watch.resume()

    def on_readable(self) -> None:
        for _ in range(_AT_ONCE):
            sock = self._accept()
            if sock is None:
                return
            try:
                pid = _peer(sock)
            except (OSError, Stranger) as error:
                sock.close()
                self._report("a stranger", f"who dials this process is turned away: {error}")
                continue
            self._accepted(sock, pid)

    def _accept(self) -> _socket.socket | None:
        try:
            # Under the lock, against the rule, lest the number be another socket's; it does not block.
            with self._lock:
                if self._closed:
                    return None
                descriptor, _ = self._sock._accept()  # type: ignore[attr-defined]  # what accept() is made of
        except (BlockingIOError, ConnectionError):
            return None
        except OSError as error:
            self._rest(error)
            return None
        sock = _socket.socket(fileno=descriptor)
        sock.setblocking(False)
        return sock

    def _rest(self, error: OSError) -> None:
        """There is no descriptor for one more: it would be told again and again."""
        self._report(
            "no descriptor", f"a sibling cannot be let in ({error}); raise the limit of open files (ulimit -n)"
        )
        self._watch.pause()
        self._reactor.call_later(_BREATH, self._watch.resume)

    def on_writable(self) -> None:
        """Never asked for."""

    def close(self) -> None:
        """Listen no more; the file stays."""
        with self._lock:
            self._closed = True
        self._watch.close(self._sock.close)

    def unlink(self) -> None:
        """Remove the file, if it is still this one."""
        if self.present:
            _unlink(self._path)

    def after_fork(self) -> None:
        """In a forked child: the parent goes on listening."""
        self._lock = make_lock(Rank.LEAF)
        self._closed = True
        self._sock.close()


def dial(directory: str, tag: str) -> tuple[_socket.socket, int]:
    """Connect to a sibling; its socket, non-blocking, and its pid (0: unknown). A file of one that has died is removed.

    :raises BlockingIOError: it has not let in all those who have dialled before.
    :raises Stranger: it is no process of ours.
    :raises OSError: there is no such sibling.
    """
    sock = _socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with _address(directory, tag) as address:
            sock.connect(address)
        return sock, _peer(sock)
    except BaseException as error:
        sock.close()
        if isinstance(error, ConnectionRefusedError):
            _remove_socket(os.path.join(directory, tag))
        raise


def list_tags(directory: str) -> list[str]:
    """The tags of all that have a file; those that have been left half made are removed.

    :raises OSError: the directory cannot be read.
    """
    names = os.listdir(directory)
    for name in names:
        if name.startswith(".") and is_tag(name[1:]):
            _remove_socket(os.path.join(directory, name), age=_BEING_MADE)
    return [name for name in names if is_tag(name)]


def _peer(sock: _socket.socket) -> int:
    """The pid of who is at the other end, which has to be of our user and of our pid namespace."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0  # nobody else can be in the directory
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if uid != os.geteuid():
        raise Stranger(f"it is of another user ({uid})")
    if pid == 0:
        raise Stranger("it is of another container (its pid cannot be seen)")
    return int(pid)


@contextmanager
def _address(directory: str, name: str) -> Iterator[str]:
    """What to bind or to connect to: the path, or a way round it where it is too long for a socket.

    :raises OSError: there is no way round.
    """
    path = os.path.join(directory, name)
    if len(os.fsencode(path)) <= _LONGEST:
        yield path
        return
    if sys.platform != "linux":
        raise OSError(errno.ENAMETOOLONG, "too long a path for a Unix socket; choose a shorter directory", path)
    parent = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{parent}/{name}"
    finally:
        close_all((parent,))


def _remove_socket(path: str, age: float = 0.0) -> None:
    """Remove what a process has left behind, if it is a socket, and last changed ``age`` seconds ago."""
    try:
        info = os.lstat(path)
    except OSError:
        return  # another sibling was faster
    if stat.S_ISSOCK(info.st_mode) and time.time() - info.st_mtime >= age:
        _unlink(path)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # another was faster, or the directory is not ours to change
