"""The private directory of one server's processes, in good surroundings and in bad ones."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.forking import forked
from tests.support.servers import ROOT
from wsgi_sio.siblings import socket_directory
from wsgi_sio.siblings.socket_directory import NoDirectory, make_directory

NOBODY = 65534
ME = os.geteuid()
PLACE = ("127.0.0.1:8000", "/socket.io", 0)
as_root = pytest.mark.skipif(ME != 0, reason="only root can be two users")
as_user = pytest.mark.skipif(ME == 0, reason="root may do everything")


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only base that there is: short, as paths of sockets have to be, and not in a directory of pytest's."""
    path = Path(tempfile.mkdtemp(prefix="sio"))
    offer(monkeypatch, path)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def offer(monkeypatch: pytest.MonkeyPatch, *bases: Path) -> None:
    """Let these be all bases."""
    monkeypatch.setattr(socket_directory, "_offers", lambda: iter([("tested", str(base)) for base in bases]))


def reasons() -> tuple[str, ...]:
    with pytest.raises(NoDirectory) as caught:
        make_directory(*PLACE)
    assert str(caught.value) == "; ".join(caught.value.reasons)
    return caught.value.reasons


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_it_is_private_and_always_the_same(base: Path) -> None:
    made = Path(make_directory(*PLACE))
    assert made.parent == base / f"wsgi_sio-{ME}"
    assert mode(made) == mode(made.parent) == 0o700
    assert os.listdir(made) == []
    assert make_directory(*PLACE) == str(made)


def test_who_shares_it(base: Path) -> None:
    """The same server, its Socket.IO server at the same path, the same of several at that: and nobody else."""
    places = [("a:1", "/socket.io", 0), ("a:2", "/socket.io", 0), ("a:1", "/ws", 0), ("a:1", "/socket.io", 1)]
    made = {make_directory(*place) for place in places}
    assert len(made) == len(places)
    with forked(lambda: make_directory(*places[0])) as child:
        assert child.outcome() in made


@pytest.mark.parametrize("fact", ["_network", "_boot"])
def test_another_network_or_host_is_another_place(fact: str, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_directory(*PLACE)
    monkeypatch.setattr(socket_directory, fact, lambda: 1)
    assert make_directory(*PLACE) != made


def test_a_place_of_strange_characters(base: Path) -> None:
    assert os.path.isdir(make_directory("unix:/run/\udcff\n", "/ß", 0))


def test_the_order_of_bases(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{base}/one:{base}/two")
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{base}/three")
    monkeypatch.setattr(tempfile, "tempdir", f"{base}/four")
    for name in ("four", "three", "two", "one"):
        (base / name).mkdir(0o755)
        assert make_directory(*PLACE).startswith(f"{base}/{name}/")


def test_nothing_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither variables nor a directory for temporary files, as where everything is read-only."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert [source for source, _ in socket_directory._bases()] == ["shared memory"]


def test_a_base_that_is_offered_twice_is_tried_once(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, base / "none", base / "none")
    assert len(reasons()) == 1


def test_the_next_base_is_taken_and_all_reasons_are_told(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "file").write_text("")
    bad = (Path("relative"), base / "none", base / "file")
    offer(monkeypatch, *bad)
    assert reasons() == (
        "relative (tested): not an absolute path",
        f"{base}/none (tested): No such file or directory",
        f"{base}/file (tested): no directory",
    )
    offer(monkeypatch, *bad, base)
    assert make_directory(*PLACE).startswith(f"{base}/wsgi_sio-")


def test_a_path_may_be_as_long_as_a_sockets(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sibling's name behind it; then a socket can be bound there, and in a longer one it is not tried."""
    rest = len(f"/wsgi_sio-{ME}/0123456789ab/.abcd")
    fitting = base / ("x" * (socket_directory._LONGEST - rest - len(f"{base}/")))
    longer = Path(f"{fitting}x")
    for path in (fitting, longer):
        path.mkdir()
    offer(monkeypatch, fitting)
    assert len(make_directory(*PLACE)) + len("/.abcd") == socket_directory._LONGEST
    offer(monkeypatch, longer)
    assert "too long: names of sockets in it would have" in reasons()[0]
    assert os.listdir(longer) == []


def plant_file(path: Path) -> None:
    path.write_text("")


def plant_link(path: Path) -> None:
    (path.parent / "elsewhere").mkdir(0o700)
    path.symlink_to("elsewhere")


def plant_dangling_link(path: Path) -> None:
    path.symlink_to("elsewhere")


def plant_fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("level", ["home", "key"])
@pytest.mark.parametrize("plant", [plant_file, plant_link, plant_dangling_link, plant_fifo])
def test_something_else_in_its_place(level: str, plant: Callable[[Path], None], base: Path) -> None:
    """A link not even to a directory of our own, which whoever has made it could turn round."""
    made = Path(make_directory(*PLACE))
    shutil.rmtree(made.parent if level == "home" else made)
    path = made.parent if level == "home" else made
    plant(path)
    assert reasons() == (f"{base} (tested): {path.name} in it is no directory",)


@pytest.mark.parametrize("open_mode", [0o755, 0o711, 0o750, 0o600, 0o500, 0o1700])
def test_a_mode_that_has_let_nobody_in_is_repaired(open_mode: int, base: Path) -> None:
    made = Path(make_directory(*PLACE))
    for path in (made, made.parent):
        path.chmod(open_mode)
    assert make_directory(*PLACE) == str(made)
    assert mode(made) & 0o777 == mode(made.parent) & 0o777 == 0o700


@pytest.mark.parametrize("open_mode", [0o770, 0o702, 0o1777])
def test_where_others_could_write_nothing_is_to_be_trusted(open_mode: int, base: Path) -> None:
    made = Path(make_directory(*PLACE))
    made.chmod(open_mode)
    assert reasons() == (f"{base} (tested): others may write in {made.name} (mode {open_mode:o}): remove it",)
    assert mode(made) == open_mode  # as it was, for its owner to see
    shutil.rmtree(made)
    assert make_directory(*PLACE) == str(made)


def test_a_group_that_directories_inherit_is_no_harm(base: Path) -> None:
    base.chmod(0o2755)
    made = make_directory(*PLACE)
    assert make_directory(*PLACE) == made


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o177, 0o777])
def test_the_umask_is_no_matter(mask: int, base: Path) -> None:
    before = os.umask(mask)
    try:
        if mask == 0o777 and ME != 0:
            pytest.skip("only root gets back into a directory that may not be read")
        made = make_directory(*PLACE)
    finally:
        os.umask(before)
    assert mode(made) == mode(Path(made).parent) == 0o700


@pytest.mark.parametrize("base_mode", [0o777, 0o775])
def test_a_base_in_which_others_could_exchange_it(base_mode: int, base: Path) -> None:
    base.chmod(base_mode)
    assert reasons() == (
        f"{base} (tested): others may write in it, and remove what is not theirs (mode {base_mode:o})",
    )
    base.chmod(base_mode | stat.S_ISVTX)
    assert make_directory(*PLACE)


@as_user
def test_a_base_that_may_not_be_written(base: Path) -> None:
    base.chmod(0o555)
    assert reasons() == (f"{base} (tested): Permission denied",)


class Removing:
    """Somebody who removes what has just been made, ``times`` times."""

    def __init__(self, target: Path, times: int) -> None:
        self._target = target
        self._times = times
        self._real: Any = socket_directory._make_private

    def __call__(self, path: str) -> None:
        self._real(path)
        if Path(path) == self._target and self._times:
            self._times -= 1
            shutil.rmtree(self._target)


@pytest.mark.parametrize("level", ["home", "key"])
def test_it_is_removed_while_it_is_made(level: str, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Path(make_directory(*PLACE))
    target = made.parent if level == "home" else made
    monkeypatch.setattr(socket_directory, "_make_private", Removing(target, 2))
    assert make_directory(*PLACE) == str(made)
    assert mode(made) == 0o700
    monkeypatch.setattr(socket_directory, "_make_private", Removing(target, 3))
    assert reasons() == (f"{base} (tested): No such file or directory",)


def test_removed_later_it_is_made_anew(base: Path) -> None:
    made = make_directory(*PLACE)
    shutil.rmtree(base / f"wsgi_sio-{ME}")
    assert make_directory(*PLACE) == made
    assert os.path.isdir(made)


def test_many_make_it_at_once(base: Path) -> None:
    """Workers that begin together: all have the same, and leave nothing in it."""
    code = f"""
from wsgi_sio.siblings import socket_directory
socket_directory._offers = lambda: iter([("tested", {str(base)!r})])
input()
print({{socket_directory.make_directory(*{PLACE!r}) for _ in range(50)}})
"""
    children = [start(code) for _ in range(3)]
    answers = {child.communicate("go\n", timeout=30)[0] for child in children}
    assert len(answers) == 1 and all(child.returncode == 0 for child in children)
    assert os.listdir(make_directory(*PLACE)) == []


def start(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def run_as_nobody(base: Path) -> str:
    """What a process of another user is told: the directory's path or the reasons."""
    code = f"""
import os
from wsgi_sio.siblings import socket_directory
socket_directory._offers = lambda: iter([("tested", {str(base)!r})])
os.setegid({NOBODY}); os.seteuid({NOBODY})
try:
    print(socket_directory.make_directory(*{PLACE!r}))
except socket_directory.NoDirectory as error:
    print(error)
"""
    child = start(code)
    answer = child.communicate(timeout=30)[0]
    assert child.returncode == 0
    return answer.strip()


@as_root
def test_another_user_has_another(base: Path) -> None:
    base.chmod(0o1777)
    mine = make_directory(*PLACE)
    other = run_as_nobody(base)
    assert other == mine.replace(f"wsgi_sio-{ME}", f"wsgi_sio-{NOBODY}")
    assert os.lstat(other).st_uid == NOBODY and mode(other) == 0o700


@as_root
def test_another_user_may_not_write_in_the_base(base: Path) -> None:
    base.chmod(0o755)
    assert run_as_nobody(base) == f"{base} (tested): Permission denied"
    base.chmod(0o700)
    assert run_as_nobody(base) == f"{base} (tested): Permission denied"


@as_root
@pytest.mark.parametrize("level", ["home", "key"])
def test_squatted_by_another_user(level: str, base: Path) -> None:
    """Who makes it first, and leaves it to us to use, could look on."""
    base.chmod(0o1777)
    made = Path(make_directory(*PLACE))
    path = made.parent if level == "home" else made
    os.chown(path, NOBODY, NOBODY)
    assert reasons() == (f"{base} (tested): {path.name} in it belongs to another user ({NOBODY})",)


@as_root
def test_a_base_of_another_user(base: Path) -> None:
    """XDG_RUNTIME_DIR that sudo has kept: its owner could exchange what root makes there."""
    os.chown(base, NOBODY, NOBODY)
    assert reasons() == (f"{base} (tested): it belongs to another user ({NOBODY})",)


@as_root
def test_a_read_only_file_system(base: Path) -> None:
    """In a mount namespace of its own, where the machine lets us have one."""
    code = f"""
from wsgi_sio.siblings import socket_directory
socket_directory._offers = lambda: iter([("tested", {str(base)!r})])
try:
    socket_directory.make_directory(*{PLACE!r})
except socket_directory.NoDirectory as error:
    print(error)
except BaseException as error:
    print(repr(error))
"""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    mount = f'mount -t tmpfs -o ro,mode=755 none "{base}" || exit 77; exec "{sys.executable}" -c "$0"'
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, code], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    if run.returncode in (1, 77):  # unshare's own, or mount's
        pytest.skip(f"cannot mount here: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == f"{base} (tested): Read-only file system"


class Refusing:
    """Sockets of a process that may not have them (systemd's RestrictAddressFamilies), or of a file system without."""

    def __init__(self, at: str, number: int) -> None:
        self._at = at
        self._number = number

    def __call__(self, *args: int) -> Refusing:
        return self._do("socket")

    def _do(self, what: str, *args: object) -> Refusing:
        if what == self._at:
            raise OSError(self._number, os.strerror(self._number))
        return self

    def bind(self, path: str) -> None:
        self._do("bind")

    def close(self) -> None:
        """As a socket has it."""


def test_unix_sockets_are_forbidden(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_directory._socket, "socket", Refusing("socket", errno.EAFNOSUPPORT))
    told = reasons()
    monkeypatch.undo()
    assert told == ("this process may have no Unix sockets (Address family not supported by protocol)",)


@pytest.mark.parametrize("at", ["socket", "bind"])
def test_no_descriptor_is_left(at: str, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is no reason to look for another place: siblings may be in this."""
    monkeypatch.setattr(socket_directory._socket, "socket", Refusing(at, errno.EMFILE))
    with pytest.raises(OSError) as caught:
        make_directory(*PLACE)
    monkeypatch.undo()
    assert not isinstance(caught.value, NoDirectory)


def test_a_file_system_without_sockets(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_directory._socket, "socket", Refusing("bind", errno.EOPNOTSUPP))
    told = reasons()
    monkeypatch.undo()
    assert told == (f"{base} (tested): Operation not supported",)


@pytest.mark.skipif(not Path("/proc/self/ns/net").exists(), reason="namespaces are Linux's")
def test_the_facts_of_this_host() -> None:
    assert socket_directory._network() == os.stat("/proc/self/ns/net").st_ino
    assert len(socket_directory._boot()) == 36
