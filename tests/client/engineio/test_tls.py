"""TLS: what is trusted, large messages through it, and proxies on the way."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.conftest import TRANSPORTS, Connect, ServeLocally, echo
from tests.client.listener import Relay
from tests.client.wire import receive_head
from tests.support.inprocess import open_descriptors
from tests.support.require import require

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    require(shutil.which("openssl"), "the openssl command")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key, cert = path.with_name("key.pem"), path.with_name("cert.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    subject = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True, timeout=60)
    path.write_bytes(key.read_bytes() + cert.read_bytes())
    return path


@pytest.fixture
def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@each_transport
def test_the_certificate_is_checked(
    serve: ServeLocally, client: Connect, server_side: ssl.SSLContext, certificate: Path, transport: str
) -> None:
    server = serve(echo, context=server_side)
    error = client(server.url, transports=transport).fail()
    assert "certificate" in str(error).lower()
    named = server.url.replace("127.0.0.1", "localhost")
    assert "hostname" in str(client(named, transports=transport, verify=str(certificate)).fail()).lower()
    trusting = ssl.create_default_context(cafile=certificate)
    for options in ({"verify": str(certificate)}, {"verify": False}, {"ssl_context": trusting}):
        opened = client(server.url, transports=transport, **options).open()
        opened.send("x", b"y")
        opened.expect("x", b"y")
        opened.close()
    assert trusting.verify_mode == ssl.CERT_REQUIRED and trusting.check_hostname
    assert len(trusting.get_ca_certs()) == len(ssl.create_default_context(cafile=certificate).get_ca_certs())


@each_transport
def test_the_client_shows_its_own_certificate(
    serve: ServeLocally, client: Connect, server_side: ssl.SSLContext, certificate: Path, transport: str
) -> None:
    server_side.verify_mode = ssl.CERT_REQUIRED
    server_side.load_verify_locations(certificate)
    server = serve(echo, context=server_side)
    client(server.url, transports=transport, verify=False).fail()
    both = (str(certificate.with_name("cert.pem")), str(certificate.with_name("key.pem")))
    for cert in (str(certificate), both):
        client(server.url, transports=transport, verify=False, cert=cert).open().close()


@pytest.mark.parametrize("options", [{"verify": "no-such-file.pem"}, {"cert": "no-such-file.pem"}])
def test_files_that_do_not_exist_are_told_at_once(client: Connect, options: dict[str, str]) -> None:
    with pytest.raises(FileNotFoundError):
        client("https://127.0.0.1", **options)


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_upgrade_and_large_messages_over_tls(
    serve: ServeLocally, client: Connect, server_side: ssl.SSLContext, certificate: Path, scheme: str
) -> None:
    """Records, partial writes, decrypted bytes that wait inside OpenSSL: nothing gets stuck or torn."""
    server = serve(echo, context=server_side, max_http_buffer_size=3_000_000, max_outbox=40_000_000)
    opened = client(server.url.replace("https", scheme), verify=str(certificate)).open().upgraded()
    for size in (1, 1000, 16_384, 16_385, 70_000, 2_000_000):
        opened.send(b"x" * size, f"{size}")
        opened.expect(b"x" * size, f"{size}", timeout=15)
    messages: list[str | bytes] = [f"{number} " + "x" * (number % 7000) for number in range(700)]
    opened.send(*messages)
    opened.expect(*messages, timeout=15)
    assert opened.close() == ("forced close", None)


@each_transport
def test_nothing_is_left_of_connections_over_tls(
    serve: ServeLocally, client: Connect, server_side: ssl.SSLContext, transport: str
) -> None:
    server = serve(echo, context=server_side)
    client(server.url, transports=transport, verify=False).open().close()
    before = open_descriptors()
    for number in range(10):
        opened = client(server.url, transports=transport, verify=False).open()
        if number % 2:
            opened.engine.abort()
            opened.wait_end()
        else:
            opened.close()
        client(server.url, transports=transport).fail()
    assert open_descriptors() <= before + 2


# -- proxies ----------------------------------------------------------------------------------------------------------


class Proxy(Relay):
    """An HTTP proxy: CONNECT, and plain requests passed on as they are."""

    def __init__(self, status: str = "200 Connection established") -> None:
        self.heads: list[str] = []
        self._status = status
        super().__init__()
        self.url = f"http://user:pass@127.0.0.1:{self.port}"

    def serve(self, client: socket.socket) -> None:
        head = receive_head(client)
        self.heads.append(head)
        method, target, _ = head.split(" ", 2)
        host, _, port = target.removeprefix("http://").split("/")[0].partition(":")
        server = self.keep(socket.create_connection((host, int(port))))
        if method == "CONNECT":
            client.sendall(f"HTTP/1.1 {self._status}\r\nX-Proxy: yes\r\n\r\n".encode())
        self.join(client, server, b"" if method == "CONNECT" else head.encode("latin-1"))


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("given", ["option", "environment"])
def test_both_transports_go_through_a_proxy(
    serve: ServeLocally,
    client: Connect,
    server_side: ssl.SSLContext,
    certificate: Path,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    secure: bool,
    given: str,
) -> None:
    server = serve(echo, context=server_side if secure else None)
    options: dict[str, Any] = {"verify": str(certificate)}
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if given == "option":
        options["proxies"] = {"https" if secure else "http": proxy.url}
        monkeypatch.setenv("no_proxy", "127.0.0.1")
    else:
        monkeypatch.setenv("https_proxy" if secure else "http_proxy", proxy.url)
    opened = client(server.url, **options).open()
    opened.send("one")
    opened.upgraded()
    opened.send("two", b"3" * 100_000)
    opened.expect("one", "two", b"3" * 100_000)
    assert opened.close() == ("forced close", None)
    tunnels = [head for head in proxy.heads if head.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.")]
    assert len(tunnels) >= (2 if secure else 1)
    assert all("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n" in head for head in proxy.heads)
    assert all("Proxy-Authorization" not in str(environ) for environ in server.requests if secure)


def test_no_proxy(serve: ServeLocally, client: Connect, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    client(serve(echo).url).open().upgraded().close()
    assert proxy.heads == []


@each_transport
@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1", "https://127.0.0.1:1", "http://127.0.0.1:1", "http://:x"])
def test_a_proxy_that_cannot_be_used(serve: ServeLocally, client: Connect, transport: str, url: str) -> None:
    server = serve(echo)
    error = client(server.url, transports=transport, proxies={"http": url}).fail()
    assert "a proxy's URL must be http://host[:port]" in str(error) or "refused" in str(error)


@pytest.mark.parametrize(("transport", "secure"), [("websocket", False), ("websocket", True), ("polling", True)])
def test_a_proxy_that_refuses_the_tunnel(
    serve: ServeLocally, client: Connect, server_side: ssl.SSLContext, transport: str, secure: bool
) -> None:
    proxy = Proxy("407 Proxy Authentication Required")
    server = serve(echo, context=server_side if secure else None)
    options = {"https" if secure else "http": proxy.url}
    error = client(server.url, transports=transport, proxies=options).fail()
    assert "407 Proxy Authentication Required" in str(error)
    proxy.close()
