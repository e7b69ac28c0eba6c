"""A sibling in a process of its own: ``python -m tests.siblings.peer WORLD FD DIRECTORY [OPTIONS]``.

It joins, tells its tag on the socket FD, then does what it is asked there, a JSON list a line, and ends with the test.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import traceback
from typing import Any


class Peer:
    """What can be asked for."""

    def __init__(self, directory: str, options: dict[str, Any]) -> None:
        from tests.siblings.conftest import Member
        from wsgi_sio.runtime import create_reactor

        self.member = Member(create_reactor(), directory, **options)
        self.siblings = self.member.siblings
        self.children: list[subprocess.Popen[bytes]] = []

    def links(self) -> list[str]:
        return sorted(link.tag for link in self.siblings.links())

    def news(self) -> list[tuple[str, str]]:
        return self.member.news

    def knows(self) -> list[str]:
        return sorted(self.member.knows())

    def got(self) -> list[tuple[str, int, int, str]]:
        return [(tag, kind, number, payload.decode()) for tag, kind, number, payload, _ in self.member.got]

    def count(self) -> int:
        return len(self.member.got)

    def send(self, tag: str, kind: int, number: int, text: str) -> float | None:
        """How long it took; None: nobody is there."""
        began = time.monotonic()
        link = self.siblings.reach(tag)
        if link is None or not link.send(kind, number, text.encode()):
            return None
        return time.monotonic() - began

    def hand_over(self, tag: str, number: int) -> bool:
        """Send one end of a pair; whoever gets it answers there."""
        link = self.siblings.reach(tag)
        ours, theirs = socket.socketpair()
        ours.close()
        return link is not None and link.send(17, number, b"", theirs.detach())

    def descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    def limit(self, spare: int) -> None:
        """Let it open so many descriptors more."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(map(int, os.listdir("/proc/self/fd")))
        for descriptor in range(highest):  # the limit is one of numbers
            try:
                os.fstat(descriptor)
            except OSError:
                os.dup2(0, descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, most))

    def unlimit(self) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def sleepers(self) -> int:
        """Have a child of another program."""
        self.children.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]))
        return self.children[-1].pid

    def fork(self) -> int:
        """Have a child of this program, which does nothing."""
        pid = os.fork()
        if pid == 0:
            signal.alarm(120)
            while True:
                signal.pause()
        return pid

    def leave(self) -> None:
        self.siblings.leave()

    def exit(self) -> None:
        sys.exit(0)


def main(fd: int, directory: str, options: dict[str, Any]) -> None:
    with socket.socket(fileno=fd) as sock, sock.makefile("rwb") as file:

        def say(answer: Any) -> None:
            file.write(json.dumps(answer).encode() + b"\n")
            file.flush()

        peer = Peer(directory, options)
        peer.siblings.join(30)
        say(peer.siblings.tag)
        for line in file:
            what, *args = json.loads(line)
            try:
                say(getattr(peer, what)(*args))
            except Exception:
                say({"failed": traceback.format_exc()})


if __name__ == "__main__":
    world, descriptor, place, *rest = sys.argv[1:]
    if world == "gevent":
        from gevent import monkey

        monkey.patch_all()
    import logging

    logging.basicConfig(level=logging.DEBUG)
    main(int(descriptor), place, json.loads(rest[0]) if rest else {})
