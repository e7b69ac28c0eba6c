"""The recipes of ``docs/balancers.rst``, run by the real nginx, HAProxy and Caddy in front of two hosts.

The "hosts" are two gunicorns of two workers each, which have neither listening sockets nor a directory in common. A
recipe is taken as the page shows it; only the addresses are others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.live.crowd import Plan, has_ended
from tests.live.peers import eventually
from tests.live.several import SeveralWorkers, fetch_at, free_ports, gunicorn, run, wait_for_siblings
from tests.support.node import JS
from tests.support.require import require
from tests.support.servers import ROOT, free_port
from tests.support.world import WORLD

FOLDER = ROOT / "docs" / "balancers"
WORKERS = 2
_KIND = "-k gevent" if WORLD == "gevent" else "-k gthread --threads 8"


@dataclass(frozen=True)
class Recipe:
    """A file of the page.

    :ivar program: what runs it.
    :ivar plan: what clients must do for it.
    :ivar options: what it wants of the Socket.IO server.
    :ivar returns: whether the clients of a host that was away go back to it.
    """

    file: str
    program: str
    plan: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    returns: bool = False

    def text(self) -> str:
        return (FOLDER / self.file).read_text(encoding="utf-8")


RECIPES = (
    Recipe("nginx-cookie.conf", "nginx", {"cookies": True}, returns=True),
    Recipe("nginx-address.conf", "nginx", {"forwarded": True}, returns=True),
    Recipe("haproxy-cookie.cfg", "haproxy", {"cookies": True}),
    Recipe("haproxy-table.cfg", "haproxy", {}, {"cookie": "io"}),
    Recipe("Caddyfile", "caddy", {"cookies": True}),
)


def program(name: str) -> str:
    """Its path; Debian's servers are where only root looks."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    require(found, f"{name}: apt-get install {name}")
    assert found
    return found


class Hosts:
    """Two hosts, by the names ``a`` and ``b``, behind a balancer."""

    def __init__(self, stack: ExitStack, recipe: Recipe, text: str) -> None:
        self._recipe = recipe
        self._path = program(recipe.program)
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sio")))
        self._stacks = {name: stack.enter_context(ExitStack()) for name in "ab"}
        self._ports = dict(zip("ab", free_ports(2), strict=True))
        with ThreadPoolExecutor(2) as pool:
            self.servers = dict(zip("ab", pool.map(self._start, "ab"), strict=True))
        self.port = free_port()
        self.balancer = stack.enter_context(run(*self._command(text), port=self.port, sio_options="{}"))
        eventually(self._passes, bool)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def plan(self, clients: int, seconds: float, **options: Any) -> Plan:
        """Clients of a crowd, which does what the recipe wants of clients."""
        return Plan((self.port,), clients, seconds, **{**self._recipe.plan, **options})

    def pids(self, name: str) -> set[int]:
        """The workers of a host."""
        return set(self.servers[name].worker_pids)

    def kill(self, name: str) -> None:
        """All processes of a host at once, without a word: as when its power fails, but the kernel still refuses."""
        server, pids = self.servers[name], self.pids(name)
        os.killpg(server.pid, signal.SIGKILL)
        server.process.wait()
        eventually(lambda: all(map(has_ended, pids)), bool)

    def restart(self, name: str) -> None:
        """A host that has ended comes back, with workers that know of nothing."""
        self._stacks[name].close()
        self.servers[name] = self._start(name, again=True)

    def _start(self, name: str, *, again: bool = False) -> SeveralWorkers:
        directory = self._folder / name
        directory.mkdir(exist_ok=True)
        command = gunicorn(
            f"{_KIND} -w {WORKERS}",
            env={"RUNTIME_DIRECTORY": str(directory)},
            ports=[self._ports[name]],
            **self._recipe.options,
        )
        server = self._stacks[name].enter_context(command)
        wait_for_siblings(server, self._ports[name], WORKERS, busy=again)  # clients come back at once
        return server

    def _passes(self) -> bool:
        assert self.balancer.process.poll() is None, self.balancer.log()
        with suppress(ConnectionError):
            return b'"pid"' in fetch_at(self.port)
        return False

    def _command(self, text: str) -> tuple[list[str], dict[str, str]]:
        """What runs the recipe in the foreground, with the addresses of here; and its environment."""
        for number, name in enumerate("ab", 1):
            text = replaced(rf"10\.0\.0\.{number}:8000", f"127.0.0.1:{self._ports[name]}", text)
        file = self._folder / self._recipe.file
        folder = str(self._folder)
        if self._recipe.program == "nginx":
            file.write_text(replaced(r"listen 80;", f"listen 127.0.0.1:{self.port};", text))
            main = self._folder / "nginx.conf"
            main.write_text(_NGINX.format(folder=folder, recipe=file, user="user root;" if os.geteuid() == 0 else ""))
            return [self._path, "-p", folder, "-c", str(main), "-e", "stderr"], {}
        if self._recipe.program == "haproxy":
            file.write_text(replaced(r"bind :80", f"bind 127.0.0.1:{self.port}", text))
            return [self._path, "-db", "-f", str(file)], {}
        own = replaced(r"http://chat\.example\.org \{", f"http://:{self.port} {{\n\tbind 127.0.0.1", text)
        file.write_text("{\n\tadmin off\n}\n" + own)
        homes = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), folder)
        return [self._path, "run", "--config", str(file), "--adapter", "caddyfile"], homes


# What surrounds a recipe of nginx; the clients say themselves which address they come from.
_NGINX = """
daemon off;
{user}
worker_processes 2;
pid {folder}/nginx.pid;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Forwarded-For;
    include {recipe};
}}
"""


def replaced(pattern: str, by: str, text: str) -> str:
    """The text, in which the pattern occurs once."""
    result, count = re.subn(pattern, lambda _: by, text)
    assert count == 1, (pattern, count)
    return result


@contextmanager
def balanced(recipe: Recipe, change: Callable[[str], str] = str) -> Iterator[Hosts]:
    """Run a recipe in front of two hosts.

    :param change: to the recipe's text.
    """
    with ExitStack() as stack:
        yield Hosts(stack, recipe, change(recipe.text()))


class Clients:
    """Clients of one kind in a process of their own, which are connected."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.seen = self._line()

    def now(self) -> list[dict[str, Any]]:
        """What each of them has seen so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.seen = self._line()
        return self.seen

    def of(self, pids: set[int]) -> set[int]:
        """The numbers of those that some processes served when it was last asked."""
        return {number for number, each in enumerate(self.seen) if each["pid"] in pids}

    def all_get_answers(self, count: int = 40) -> None:
        """Wait until each has so many more."""
        goals = [each["answers"] + count for each in self.now()]
        eventually(self.now, lambda seen: all(each["answers"] >= goal for each, goal in zip(seen, goals, strict=True)))

    def _line(self) -> list[dict[str, Any]]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the clients ended with status {self._process.wait()}"
        found: list[dict[str, Any]] = json.loads(line)
        return found


@contextmanager
def clients(kind: str, url: str, count: int, transports: list[str]) -> Iterator[Clients]:
    """Run clients of ours (``python``), or npm's (``javascript``)."""
    ours = [sys.executable, "-m", "tests.live.balanced"], ROOT
    command, folder = ours if kind == "python" else (["node", "balanced.js"], JS)
    with subprocess.Popen(
        [*command, url, str(count), json.dumps(transports)],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Clients(process)
        finally:
            process.kill()
