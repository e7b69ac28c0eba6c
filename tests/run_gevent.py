"""Run the test suite in the gevent world: ``python tests/run_gevent.py [pytest arguments]``."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402  (nothing may be imported before the patching)
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as `python -m pytest` from the root would have it
    sys.exit(pytest.main(sys.argv[1:]))
