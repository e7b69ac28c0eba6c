"""Run tests against the package that is installed, not the one beside them: ``python -m tests.run_installed``.

``python -m pytest`` puts the directory that it runs in on the path, and there ``wsgi_sio/`` is pure Python, whatever
has been installed.  So the tests run in a copy of all that they need but the package.  Arguments are pytest's;
``--gevent`` in front runs them in that world.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("tests", "benchmarks", "setup.cfg")


def main(arguments: list[str]) -> int:
    """Run pytest in the copy; its exit status."""
    gevent = arguments[:1] == ["--gevent"]
    module = "tests.run_gevent" if gevent else "pytest"
    with tempfile.TemporaryDirectory(prefix="wsgi-sio-installed-") as copy:
        for name in NEEDED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "node_modules", ".*")
                shutil.copytree(source, Path(copy) / name, ignore=ignored)
            else:
                shutil.copy(source, copy)
        command = [sys.executable, "-m", module, *arguments[gevent:]]
        return subprocess.run(command, cwd=copy, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
