"""Each of the common mistakes is made, and what the page shows is what is written."""

from __future__ import annotations

import http.client
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.docs.pages import blocks, files
from tests.docs.terminal import PORT, Terminals
from tests.support.freezing import freeze, thaw
from tests.support.inprocess import eventually
from wsgi_sio.client import Client, SimpleClient
from wsgi_sio.exceptions import AckTimeout, LocalProtocolError

PAGE = "common_mistakes.rst"
MESSAGES = {block.name.removeprefix("message-"): block.text.strip() for block in blocks(PAGE) if block.name}
APP = "gunicorn --threads 4 --bind 127.0.0.1:5000"
HANDSHAKE = "/socket.io/?EIO=4&transport=polling"

_SOCKET_ID = re.compile(r"(?<=<Socket )[\w-]{20}")


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    """A directory with the files of the page."""
    with Terminals(tmp_path) as terminals:
        for name, text in files(PAGE).items():
            terminals.write(name, text)
        yield terminals


def check(terminals: Terminals, name: str) -> None:
    """The server's log will hold the message of that name, but for ids, directories and the port."""
    expected = _SOCKET_ID.sub("ID", MESSAGES[name])
    eventually(lambda: expected in log_of(terminals), f"{expected!r} in the log")


def log_of(terminals: Terminals) -> str:
    return plain(terminals, terminals.log())


def plain(terminals: Terminals, text: str) -> str:
    text = _SOCKET_ID.sub("ID", text).replace(f"{terminals.directory}{os.sep}", "")
    # Python 3.13 and 3.10 differ in how they mark the place in a line of a traceback.
    return re.sub(r"^ *[~^]+\n", "", text.replace(str(terminals.port), PORT), flags=re.MULTILINE)


def request(
    terminals: Terminals, path: str, method: str = "GET", body: str = "", headers: Mapping[str, str] = {}
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", terminals.port, timeout=10)
    try:
        connection.request(method, path, body, {"Host": f"localhost:{terminals.port}", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def handshake(terminals: Terminals) -> str:
    """Open a session over polling; its id."""
    _, body = request(terminals, HANDSHAKE)
    sid: str = json.loads(body[1:])["sid"]
    return sid


def test_the_page_has_ten() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / PAGE).read_text(encoding="utf-8")
    assert len(re.findall(r"^-{5,}$", text, re.MULTILINE)) == 10


def test_wrong_arity(terminals: Terminals) -> None:
    terminals.serve(f"{APP} arity:app")
    with SimpleClient(terminals.url) as client:
        assert client.call("say", "hello") == "said"
        with pytest.raises(AckTimeout):
            client.call("say", "lobby", "hello", timeout=0.3)
    check(terminals, "arity")


def test_emit_outside_a_handler(terminals: Terminals) -> None:
    terminals.serve(f"{APP} context:app")
    assert request(terminals, "/news", "POST")[0] == 500
    check(terminals, "view")
    failure = terminals.run_to_failure("python -c 'import context; context.in_a_thread()'")
    assert failure.rstrip().endswith(MESSAGES["thread"])


def test_an_unpatched_gevent_server(terminals: Terminals) -> None:
    terminals.serve("python unpatched.py")
    assert request(terminals, HANDSHAKE)[0] == 500
    check(terminals, "unpatched")


def test_a_page_of_another_origin(terminals: Terminals) -> None:
    terminals.serve(f"{APP} arity:app")
    answer = request(terminals, HANDSHAKE, headers={"Origin": "https://shop.example"})
    assert answer == (403, '{"code":4,"message":"Forbidden"}')
    check(terminals, "origin")


def test_a_client_of_another_version(terminals: Terminals) -> None:
    terminals.serve(f"{APP} arity:app")
    answer = request(terminals, "/socket.io/?EIO=3&transport=polling")
    assert answer == (400, '{"code":5,"message":"Unsupported protocol version"}')
    check(terminals, "version")


def test_a_variable_and_several_workers(terminals: Terminals) -> None:
    terminals.serve(f"{APP} --workers 2 counter:app")
    with ExitStack() as stack:
        clients: list[SimpleClient] = []

        def heard_wrong() -> bool:
            clients.append(stack.enter_context(SimpleClient(terminals.url)))
            return any(client.call("how many?", timeout=10) != len(clients) for client in clients)

        eventually(heard_wrong, "clients in both workers")
    terminals.serve(f"{APP} --workers 2 counter_right:app")
    with ExitStack() as stack:
        clients = [stack.enter_context(SimpleClient(terminals.url)) for _ in range(10)]
        assert [client.call("how many?", timeout=10) for client in clients] == [10] * 10


def test_workers_that_are_not_one_server(terminals: Terminals) -> None:
    """One worker is halted, then the other, so it is known which of them answers."""
    terminals.serve(f"{APP} --workers 2 alone:app")
    one, other = eventually(lambda: len(terminals.workers) == 2 and terminals.workers, "two workers")
    try:
        freeze(other)
        sid = handshake(terminals)
        freeze(one)
        thaw(other)
        answer = request(terminals, f"{HANDSHAKE}&sid={sid}")
    finally:
        for worker in (one, other):
            thaw(worker)
    assert answer == (400, '{"code":1,"message":"Session ID unknown"}')
    check(terminals, "workers")


def test_too_large_a_message_over_websocket(terminals: Terminals) -> None:
    terminals.serve(f"{APP} arity:app")
    url = f"ws://127.0.0.1:{terminals.port}/socket.io/?EIO=4&transport=websocket"
    client: Any = websocket.create_connection(url, timeout=10)
    client.recv()
    client.send("4" + "x" * 2_000_000)
    _, frame = client.recv_data_frame()
    client.close()
    assert int.from_bytes(frame.data[:2], "big") == 1009
    check(terminals, "large-websocket")


def test_too_large_a_message_over_polling(terminals: Terminals) -> None:
    terminals.serve(f"{APP} arity:app")
    sid = handshake(terminals)
    try:
        assert request(terminals, f"{HANDSHAKE}&sid={sid}", "POST", "4" + "x" * 2_000_000)[0] == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server need not read the body before it answers, nor wait until we have read that
    check(terminals, "large-polling")


def test_too_large_a_message_from_our_client(terminals: Terminals) -> None:
    terminals.serve(f"{APP} arity:app")
    with Client(terminals.url) as client, pytest.raises(LocalProtocolError) as refused:
        client.emit("file", "x" * 2_000_000)
    kind = type(refused.value)
    shown = f"{kind.__module__}.{kind.__qualname__}: {refused.value}"
    sizes = re.compile(r"packet of \d+ bytes")  # an acknowledgement's number or a name may be longer
    assert sizes.sub("", shown) == sizes.sub("", MESSAGES["large-client"])


def test_no_secret_key(terminals: Terminals) -> None:
    terminals.serve(f"{APP} secret:app")
    with SimpleClient(terminals.url) as client, pytest.raises(AckTimeout):
        client.call("login", "ann", timeout=0.3)
    check(terminals, "secret")


@pytest.mark.slow
def test_a_handler_that_blocks_gevent(terminals: Terminals) -> None:
    terminals.serve("python blocking.py")
    with SimpleClient(terminals.url) as client:
        client.emit("count", 80_000_000)
        check(terminals, "blocking")
    where = [line.strip() for line in MESSAGES["blocking-place"].splitlines()]
    logged = [line.strip() for line in log_of(terminals).splitlines()]
    numbers = re.compile(r"line \d+")  # whatever line of the loop it was
    at = [numbers.sub("", line) for line in logged].index(numbers.sub("", where[0]))
    assert logged[at + 1] in ("while number < to:", where[1])


def test_a_misspelt_option(terminals: Terminals) -> None:
    assert terminals.run_to_failure("python option.py").rstrip().endswith(MESSAGES["option"])
