"""What stands below a gevent socket whose connection has been taken: it does what one end of a pair does when the other
is closed, without the system calls and the kernel's objects that such a pair would cost each connection.

gevent itself puts something of the kind below a socket that has been closed.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, ClassVar, NoReturn


def _fail(*args: Any) -> NoReturn:
    raise OSError(errno.EINVAL, "the connection has been taken")


class GoneSocket:
    """A C socket, as gevent's uses it, whose peer has hung up; it has no state."""

    __slots__ = ()

    family: ClassVar = socket.AF_UNIX
    type: ClassVar = socket.SOCK_STREAM
    proto: ClassVar = 0

    def fileno(self) -> int:
        """There is no descriptor."""
        return -1

    detach = fileno

    def close(self) -> None:
        """There is nothing to close."""

    def shutdown(self, how: int, /) -> None:
        """Likewise."""

    def gettimeout(self) -> float:
        """Nothing waits (seconds)."""
        return 0.0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """The end of the stream."""
        return b""

    def recv_into(self, *args: Any) -> int:
        """Likewise."""
        return 0

    def send(self, *args: Any) -> NoReturn:
        """The pipe is broken.

        :raises BrokenPipeError: always.
        """
        raise BrokenPipeError(errno.EPIPE, "the connection has been taken")

    sendall = sendto = sendmsg = send

    def getsockopt(self, level: int, option: int, length: int = 0, /) -> int | bytes:
        """No error, no size: gevent's own ``sendall`` asks for one, before it sends."""
        return bytes(length) if length else 0

    def setsockopt(self, *args: Any) -> None:
        """There is nothing to set."""

    def getsockname(self) -> str:
        """Both ends of a pair are nameless."""
        return ""

    getpeername = getsockname

    recvfrom = recvfrom_into = recvmsg = recvmsg_into = accept = _accept = bind = connect = listen = _fail


GONE = GoneSocket()
