"""Descriptors on their way: those that have come with a read, and those that nobody needs any more."""

from __future__ import annotations

import _socket
import array
import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..runtime import FAILURES

logger = logging.getLogger("wsgi_sio.siblings")

# Gets a descriptor back that has not been sent.
Returned = Callable[[int], None]

# Room for the descriptors of one read: the kernel gives those of one frame at a time.
ROOM = socket.CMSG_SPACE(4 * array.array("i").itemsize)
# They close when another program is run.
FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def pack(descriptor: int) -> list[tuple[int, int, array.array[int]]]:
    """What to send so that ``descriptor`` goes with it."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]


def unpack(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors that have come."""
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if not FLAGS:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
    return list(descriptors)


def give_back(descriptor: int, returned: Returned | None) -> None:
    """Nobody is sent ``descriptor``: it goes back to who gave it, or is closed."""
    if returned is None:
        close_all((descriptor,))
    else:
        call(returned, descriptor)


def close_all(descriptors: Iterable[int]) -> None:
    """Close them, now; what is none does no harm."""
    for descriptor in descriptors:
        try:
            _socket.close(descriptor)  # gevent's os.close() puts it off, and may wait, which its hub must not
        except OSError:
            pass  # it was none


def call(callback: Callable[..., object], *args: Any) -> None:
    """Call somebody who wants to be told; that it fails is its own affair."""
    try:
        callback(*args)
    except FAILURES:
        logger.exception("a callback for siblings failed")
