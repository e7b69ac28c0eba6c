"""A real RabbitMQ on a free port of the loopback, with a node, a home and an epmd of its own; tests may stop it, freeze
it and start it anew."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.inprocess import eventually
from tests.support.redis import free_port
from tests.support.require import require

# Debian's own script would change to the system's user and its files.
_SERVERS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
# It takes 9 s of a processor to boot, and more by the clock where there are others (seconds).
_BOOT = 240.0


class RabbitMQ:
    """A broker; :meth:`start` after :meth:`stop` gives an empty one on the same port."""

    def __init__(self) -> None:
        command = next(filter(None, map(shutil.which, _SERVERS)), None)
        epmd = shutil.which("epmd")
        require(command and epmd, "rabbitmq-server")
        assert command is not None and epmd is not None
        self._command = command
        self.folder = Path(tempfile.mkdtemp(prefix="wsgi-sio-rabbitmq-"))
        self.port, epmd_port = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self._node = f"wsgi-sio-{self.port}@localhost"
        self._environment = {
            **os.environ,
            "HOME": str(self.folder),  # where the cookie is
            "ERL_INETRC": str(self.folder / "inetrc"),  # no name server is asked for this machine's name
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
        }
        # A memory alarm of a small machine, or of one with little room on its disk, is none of the tests' business.
        (self.folder / "rabbitmq.conf").write_text(
            "vm_memory_high_watermark.absolute = 2GB\ndisk_free_limit.absolute = 1MB\n", encoding="ascii"
        )
        (self.folder / "inetrc").write_text(
            '{host, {127,0,0,1}, ["localhost"]}.\n{lookup, [file]}.\n', encoding="ascii"
        )
        self._epmd = subprocess.Popen([epmd, "-port", str(epmd_port), "-address", "127.0.0.1"])
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        shutil.rmtree(self.folder / "mnesia", ignore_errors=True)
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [self._command], env=self._environment, cwd=self.folder, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        eventually(self._answers, "an answer of RabbitMQ", _BOOT)

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self._output()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(b"AMQP\x00\x00\x09\x01")
            return sock.recv(1) == b"\x01"
        return False

    def _output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def stop(self) -> None:
        """End it at once, with all the processes that it is made of."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGCONT)
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            eventually(self._is_gone, "the end of RabbitMQ")

    def _is_gone(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return False
        return True

    def freeze(self) -> None:
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl, which takes seconds; what it prints."""
        command = [str(Path(self._command).with_name("rabbitmqctl")), "-q", "-n", self._node, *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def close(self) -> None:
        self.stop()
        self._epmd.kill()
        self._epmd.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running_rabbitmq() -> Iterator[RabbitMQ]:
    """A broker for the length of a ``with`` block."""
    broker = RabbitMQ()
    try:
        yield broker
    finally:
        broker.close()
