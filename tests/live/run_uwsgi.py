"""uWSGI as a module that can be run: ``python -m tests.live.run_uwsgi [its options]``."""

from __future__ import annotations

import sys

import pyuwsgi

if __name__ == "__main__":
    pyuwsgi.run(sys.argv[1:])
