"""npm packages for the scripts below ``tests/js``, in the versions that a folder's ``package.json`` pins."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from pathlib import Path

from tests.support.require import require


def install(folder: Path) -> Path:
    """Directory of the folder's packages; installs them when one is missing or of another version.

    One process does, while others wait for it.
    """
    require(shutil.which("node") and shutil.which("npm"), "Node.js and npm")
    modules = folder / "node_modules"
    with (folder / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _up_to_date(folder, modules):
            command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]
            result = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=180)
            require(result.returncode == 0, f"npm packages: {result.stderr.strip()}")
    return modules


def _up_to_date(folder: Path, modules: Path) -> bool:
    pinned: dict[str, str] = json.loads((folder / "package.json").read_text())["dependencies"]
    manifests = {name: modules / name / "package.json" for name in pinned}
    return all(
        manifests[name].exists() and json.loads(manifests[name].read_text())["version"] == version
        for name, version in pinned.items()
    )
