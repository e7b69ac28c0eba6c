"""Where this process can be found: its own file, which is made anew when it has gone, and the directory of them all."""

from __future__ import annotations

import _socket
import secrets
from collections.abc import Callable

from ..runtime import Rank, Reactor, make_lock
from .unix_sockets import Listener, dial, list_tags


class SocketFile:
    """See the module's text.

    ``_lock`` guards what has an underscore and changes.

    :param accepted: gets who dials us, see :class:`Listener`.
    :param make_directory: makes the directory again.
    :ivar tag: our own, the file's name; settled when it has been made.
    """

    def __init__(
        self,
        reactor: Reactor,
        directory: str,
        accepted: Callable[[_socket.socket, int], None],
        report: Callable[[str, str], None],
        make_directory: Callable[[], object] | None,
    ) -> None:
        self.tag = new_tag()
        self._reactor = reactor
        self._directory = directory
        self._accepted = accepted
        self._report = report
        self._make_directory = make_directory
        self._lock = make_lock(Rank.LEAF)
        self._listener: Listener | None = None
        self._left = False

    @property
    def open(self) -> bool:
        """Whether siblings can dial us, but for the file."""
        return self._listener is not None

    def listen(self) -> None:
        """Make our file, of our tag unless that is taken and nobody has heard of it yet.

        :raises OSError: it cannot be made.
        :raises RuntimeError: the system has no thread to watch it.
        """
        while True:
            try:
                listener = Listener(self._reactor, self._directory, self.tag, self._accepted, self._report)
                break
            except FileExistsError:
                if self.open:
                    raise
                self.tag = new_tag()
        with self._lock:
            left, before = self._left, self._listener
            if not left:
                self._listener = listener
        if left:
            listener.unlink()
            listener.close()
            return
        listener.start()
        if before is not None:
            before.close()

    def find_again(self) -> None:
        """Look after our file: somebody who cleans up may have removed it, with all siblings'.

        :raises OSError: it cannot be made anew.
        :raises RuntimeError: likewise.
        """
        listener = self._listener
        if listener is None or listener.present:
            return
        if self._make_directory is not None:
            self._make_directory()
        self.listen()

    def tags(self) -> list[str]:
        """Those of all siblings that have a file.

        :raises OSError: the directory cannot be read.
        """
        return [tag for tag in list_tags(self._directory) if tag != self.tag]

    def dial(self, tag: str) -> tuple[_socket.socket, int]:
        """See :func:`dial`."""
        return dial(self._directory, tag)

    def shut(self) -> None:
        """Listen no more, and remove the file."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.unlink()
            listener.close()

    def leave(self) -> None:
        """Likewise, for good."""
        with self._lock:
            self._left = True
        self.shut()

    def after_fork(self) -> None:
        """In a forked child: this is the parent's."""
        self._lock = make_lock(Rank.LEAF)
        self._left = True
        if self._listener is not None:
            self._listener.after_fork()
            self._listener = None


def new_tag() -> str:
    """Four of 64 characters; one that has been used is not used again, but for a chance of one in 16 million."""
    return secrets.token_urlsafe(3)
