"""URLs of Redis and Valkey: what is understood, and that each kind reaches a server."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.bus.conftest import Listener, MakeBus
from tests.support.inprocess import eventually
from tests.support.redis import RedisServer, free_port, running_redis
from tests.support.require import require
from wsgi_sio.cluster.bus.redis_urls import SCHEMES, RedisUrl


def works(make_bus: MakeBus, url: str) -> None:
    """A message comes through the bus at ``url``, and is counted."""
    bus, listener = make_bus(url), Listener()
    assert bus.subscribe(["c"], ["d*"], listener).wait_subscribed(30)
    bus.publish("c", b"1")
    bus.publish("d2", b"2")
    eventually(lambda: len(listener.heard) == 2, "the messages")
    assert listener.heard == [("c", b"1"), ("d2", b"2")] and bus.count("c") == 1
    bus.close()


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_tcp(make_bus: MakeBus, redis: RedisServer, scheme: str) -> None:
    works(make_bus, redis.url.replace("redis", scheme))
    works(make_bus, redis.url.replace("redis", scheme.upper()) + "/2?protocol=3&decode_responses=true")


def test_unix(make_bus: MakeBus, redis: RedisServer) -> None:
    works(make_bus, f"unix://{redis.unix_path}?db=1")


def test_names_and_passwords(make_bus: MakeBus, redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    redis.do("ACL", "SETUSER", "me", "on", ">p@ss/word", "allcommands", "allchannels", "allkeys")
    redis.do("ACL", "SETUSER", "default", "off")
    works(make_bus, redis.url.replace("//", "//me:p%40ss%2Fword@"))
    bus = make_bus(redis.url.replace("//", "//me:s3cret@"))
    bus.subscribe(["c"], [], Listener())
    eventually(lambda: "AuthenticationError" in caplog.text, "the refusal in the log")
    assert "s3cret" not in caplog.text


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1."""
    require(shutil.which("openssl"), "openssl")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True
    )
    return folder


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_tls(make_bus: MakeBus, certificate: Path, scheme: str) -> None:
    require(hasattr(ssl, "SSLContext"), "ssl")
    port = free_port()
    cert, key = certificate / "cert.pem", certificate / "key.pem"
    with running_redis("--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key),
                       "--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no"):  # fmt: skip
        works(make_bus, f"{scheme}://127.0.0.1:{port}?ssl_ca_certs={cert}")
        bus, listener = make_bus(f"{scheme}://127.0.0.1:{port}?ssl_ca_certs={cert}"), Listener()
        for number in range(3):  # which the reader has to ask for, and does without being told
            assert bus.subscribe([f"c{number}"], [], listener).wait_subscribed(30)


@pytest.fixture
def sentinel(redis: RedisServer) -> Iterator[tuple[RedisServer, RedisServer, int]]:
    """A server, a replica of it, and a sentinel that watches the two."""
    port = free_port()
    with running_redis("--replicaof", f"127.0.0.1 {redis.port}") as replica:
        config = Path(replica.folder) / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {redis.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        )
        with subprocess.Popen(["redis-server", str(config), "--sentinel"], stdout=subprocess.DEVNULL) as process:
            try:
                watcher = RedisServer.__new__(RedisServer)
                watcher.port = port
                eventually(watcher._answers, "an answer of the sentinel")
                eventually(lambda: watcher.do("SENTINEL", "REPLICAS", "main"), "that it knows the replica")
                yield redis, replica, port
            finally:
                process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["redis+sentinel", "valkey+sentinel"])
def test_sentinel(make_bus: MakeBus, sentinel: tuple[RedisServer, RedisServer, int], scheme: str) -> None:
    master, replica, port = sentinel
    works(make_bus, f"{scheme}://127.0.0.1:{port},127.0.0.1:1/0/main")
    bus, listener = make_bus(f"{scheme}://127.0.0.1:{port}/main"), Listener()
    assert bus.subscribe(["c"], [], listener).wait_subscribed(30)
    master.stop()

    def heard() -> bool:
        bus.publish("c", b"to the new master")
        time.sleep(0.05)
        return bool(listener.heard)

    eventually(heard, "a message through the new master")
    assert replica.do("ROLE")[0] == "master"


@pytest.mark.parametrize(
    "url", ["", "host:6379", "http://host", "redis+what://host", "kafka://host", "amqp://", "rediss+unix://"]
)
def test_unknown_schemes(url: str) -> None:
    with pytest.raises(ValueError, match=r"there are redis, .*redis\+sentinel") as caught:
        RedisUrl.parse(url)
    assert all(scheme in str(caught.value) for scheme in SCHEMES)


def test_what_the_log_shows() -> None:
    assert RedisUrl.parse("redis://me:secret@host:1/2?password=other").shown == "redis://host:1/2"
    assert RedisUrl.parse("unix:///var/run/redis.sock").shown == "unix:///var/run/redis.sock"
