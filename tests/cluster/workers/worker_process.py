"""A worker as a process of its own, with one client that answers nothing: prints its tag and the events it is asked."""

from __future__ import annotations

import sys
import threading

from tests.cluster.conftest import sibling
from tests.support.inprocess import InProcess


def main() -> None:
    io = sibling()
    io.on_server_side("hello", lambda: print("hello", flush=True) or threading.Event().wait())
    client = InProcess(io).client()
    client.connect()
    print(io.engine.tag, flush=True)
    while True:
        print(client.receive(60).data[0], flush=True)


if __name__ == "__main__":
    sys.exit(main())
