"""The names of listening sockets, as they are read from the descriptors of this process."""

from __future__ import annotations

import _socket
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.forking import forked
from wsgi_sio.siblings.server_addresses import anywhere, forms, is_listening, listening_names, name_of


@contextmanager
def accepted(listener: Any) -> Iterator[Any]:
    """A connection to ``listener``, the server's end of it; both plain sockets of C, as no server's loop is here."""
    with _socket_of(listener.family) as client, listener:
        name = listener.getsockname()
        if listener.family != socket.AF_UNIX and name[0] in ("0.0.0.0", "::"):
            name = ("::1" if name[0] == "::" else "127.0.0.1", name[1])
        client.connect(name)
        server = listener.accept()[0]
        with server:
            yield server


def _socket_of(family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM)


def unix_listener(path: str | bytes) -> socket.socket:
    sock = _socket_of(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    return sock


def six_listener(host: str, dual: bool = False) -> socket.socket:
    try:
        return socket.create_server((host, 0), family=socket.AF_INET6, dualstack_ipv6=dual)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


def test_names() -> None:
    with socket.create_server(("127.0.0.1", 0)) as four, six_listener("::1") as six:
        assert name_of(four) == f"127.0.0.1:{four.getsockname()[1]}"
        assert name_of(six) == f"[::1]:{six.getsockname()[1]}"


def test_a_socket_without_a_name() -> None:
    one, other = socket.socketpair()
    with one, other, socket.socket() as unbound:
        assert name_of(one) is None
        assert name_of(unbound) is None
    assert name_of(one) is None  # closed
    assert name_of(object()) is None


def test_a_path_is_absolute_whatever_it_was_bound_as(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with unix_listener("app.sock") as sock:
        assert name_of(sock) == f"unix:{tmp_path}/app.sock"


def test_a_path_that_is_no_text(tmp_path: Path) -> None:
    with unix_listener(os.fsencode(tmp_path) + b"/\xff\n") as sock:
        name = name_of(sock)
    assert name == f"unix:{tmp_path}/\\xff\n"
    assert name.encode("utf-8")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="abstract names are Linux's")
def test_an_abstract_name_and_one_that_the_kernel_gave() -> None:
    abstract = f"\0wsgi_sio test {os.getpid()}"
    with unix_listener(abstract) as named, unix_listener("") as given:
        assert name_of(named) == f"unix:@{abstract[1:]}"
        assert name_of(given) == f"unix:@{given.getsockname()[1:].decode()}"
        assert {name_of(named), name_of(given)} <= listening_names()


def test_only_those_that_listen_are_found() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        accepted(socket.create_server(("127.0.0.1", 0))) as connection,
        socket.socket() as bound,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        bound.bind(("127.0.0.1", 0))
        datagrams.bind(("127.0.0.1", 0))
        names = listening_names()
        assert name_of(listener) in names
        assert name_of(connection) in names  # its listener's, which still listens
        assert not {name_of(bound), name_of(datagrams)} & names
    assert name_of(listener) not in listening_names()


def test_a_listener_that_was_inherited() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        name = name_of(listener)
        with forked(lambda: name in listening_names()) as child:
            assert child.outcome() == "True"


def test_a_bare_descriptor_is_found() -> None:
    """Whatever object of whatever library holds it, or none."""
    listener = socket.create_server(("127.0.0.1", 0))
    name = name_of(listener)
    descriptor = listener.detach()
    try:
        assert name in listening_names()
        os.fstat(descriptor)  # and is still there
    finally:
        os.close(descriptor)


def test_other_descriptors_stay_as_they_are() -> None:
    """A default timeout makes sockets non-blocking when an object is made of them; those of C libraries must not be."""
    one, other = _socket.socketpair()
    with closing(one), closing(other), socket.create_server(("127.0.0.1", 0)) as listener:
        other.setblocking(False)
        inodes = [os.fstat(sock.fileno()).st_ino for sock in (one, other)]
        socket.setdefaulttimeout(5)
        try:
            assert name_of(listener) in listening_names()
        finally:
            socket.setdefaulttimeout(None)
        assert os.get_blocking(one.fileno()) and not os.get_blocking(other.fileno())
        assert [os.fstat(sock.fileno()).st_ino for sock in (one, other)] == inodes


def test_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsgi_sio.siblings.server_addresses._LISTED", "/nonexistent")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert name_of(listener) in listening_names()


class Untold:
    """A socket of a system whose kernel does not tell whether one listens."""

    def __init__(self, inside: socket.socket) -> None:
        self._inside = inside
        self.type = inside.type
        self.getpeername = inside.getpeername

    def getsockopt(self, level: int, option: int) -> int:
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")


def test_where_the_kernel_does_not_tell() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    assert is_listening(Untold(listener))
    with accepted(listener) as connection, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert not is_listening(Untold(connection))
        assert not is_listening(Untold(datagrams))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_forms_of_ipv4(host: str) -> None:
    listener = socket.create_server((host, 0))
    name = name_of(listener)
    with accepted(listener) as connection:
        assert name in forms(str(name_of(connection)))


@pytest.mark.parametrize("host", ["::1", "::"])
def test_forms_of_ipv6(host: str) -> None:
    listener = six_listener(host)
    name = name_of(listener)
    with accepted(listener) as connection:
        assert name in forms(str(name_of(connection)))


def test_forms_of_ipv4_that_came_by_ipv6() -> None:
    with six_listener("::", dual=True) as listener, socket.socket() as client:
        client.connect(("127.0.0.1", listener.getsockname()[1]))
        with listener.accept()[0] as connection:
            local = str(name_of(connection))
            assert local.startswith("[::ffff:127.0.0.1]:")
            assert name_of(listener) in forms(local)


def test_forms_of_a_path(tmp_path: Path) -> None:
    listener = unix_listener(str(tmp_path / "app.sock"))
    name = name_of(listener)
    with accepted(listener) as connection:
        assert forms(str(name_of(connection))) == (name,)


def test_no_form_is_another_port_or_address() -> None:
    assert forms("10.0.0.1:80") == ("10.0.0.1:80", "0.0.0.0:80")
    assert forms("[fe80::1%2]:80") == ("[fe80::1%2]:80", "[::]:80", "[::ffff:0.0.0.0]:80")


def test_anywhere() -> None:
    assert anywhere("10.0.0.1:80") == anywhere("[::1]:80") == "*:80"
    assert anywhere("unix:/run/app.sock") == "unix:/run/app.sock"
