"""gevent's own server in several processes, as gevent's documentation has it: ``python -m ... PORT PROCESSES``."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

from tests.apps.many import app  # noqa: E402


def main(port: int, processes: int) -> None:
    """Serve in the children and wait for them."""
    server = WSGIServer(("127.0.0.1", port), app, log=None)
    server.init_socket()
    pids = []
    for _ in range(processes):
        pid = gevent.fork()
        if not pid:
            gevent.signal_handler(signal.SIGTERM, server.stop)
            server.serve_forever()
            sys.exit(0)
        pids.append(pid)
    gevent.signal_handler(signal.SIGTERM, lambda: [os.kill(pid, signal.SIGTERM) for pid in pids])
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
