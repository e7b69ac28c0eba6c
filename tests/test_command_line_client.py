"""``python -m wsgi_sio connect``: a process of its own against a real server, with a script, with arguments, and on a
terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.freezing import freeze, thaw
from tests.support.inprocess import DEADLINE, eventually
from tests.support.servers import ROOT, SERVERS, RunningServer, start_server
from tests.support.waiting import readable
from tests.support.world import one_world
from wsgi_sio.command_line_client.console import Console
from wsgi_sio.command_line_client.input_syntax import Command, Emission, NotUnderstood, read_line
from wsgi_sio.command_line_client.screen import show, show_event

pytestmark = one_world

COMMAND = [sys.executable, "-m", "wsgi_sio", "connect"]
ENVIRON = {**os.environ, "PYTHONUNBUFFERED": "1", "TERM": "xterm", "NO_COLOR": ""}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with start_server(SERVERS[0], "tests.apps.main:app") as running:
        yield running


def connect(*arguments: str, script: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, env=ENVIRON, input=script, capture_output=True, text=True, timeout=30
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What it printed, without the times (which must be there)."""
    assert "Traceback" not in done.stderr
    split = [re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} (.*)", line) for line in done.stdout.splitlines()]
    assert None not in split, done.stdout
    return [match[1] for match in split if match]


# -- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_emitting_and_listening(server: RunningServer, transport: str) -> None:
    arguments = ["--emit", "echo?", "1", '{"a": [null]}', "--emit", "echo event", '"x"', "--listen", "0.3"]
    done = connect(server.url, "--transport", transport, "--auth", '{"name": "cli"}', *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    printed = lines(done)
    assert re.fullmatch(rf"connected to / as \S+ over {transport}", printed[0])
    assert any(re.fullmatch(r'< welcome \{"id": .* "auth": \{"name": "cli"\}.*', line) for line in printed)
    assert {'> echo 1 {"a": [null]}', '= echo 1 {"a": [null]}', '> "echo event" "x"', '< echoed "x"'} <= {*printed}


def test_the_namespace_may_be_in_the_url_or_an_argument(server: RunningServer) -> None:
    for arguments in (
        [f"{server.url}/chat"],
        [server.url, "--namespace", "/chat"],
        [f"{server.url}/x", "--namespace", "chat"],
    ):
        done = connect(*arguments, "--listen", "0")
        assert done.returncode == 0 and lines(done)[0].startswith("connected to /chat as ")


def test_headers_and_query_reach_the_server(server: RunningServer) -> None:
    done = connect(f"{server.url}?lang=eo", "--header", "X-Test: a", "--emit", "echo?", "--listen", "0.1")
    assert '"lang": "eo"' in done.stdout and done.returncode == 0


def test_the_msgpack_parser() -> None:
    with start_server(SERVERS[0], "tests.apps.msgpack_parser:app") as running:
        done = connect(running.url, "--msgpack", "--listen", "0")
    assert done.returncode == 0 and lines(done)[0].startswith("connected to /")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--auth", '{"token": "wrong"}'], 'the server refused: "not authorized" {"code": 401, "hint": "wrong token"}'),
        (["--namespace", "/nowhere"], 'the server refused: "Invalid namespace" (the path of the URL is the namespace'),
        (["--path", "/elsewhere"], "is the path right? --path names it"),
        (["--path", "/elsewhere", "--transport", "websocket"], "is the path right? --path names it"),
        (
            ["--emit", "nobody knows?", "1", "--timeout", "0.3"],
            '"nobody knows" was not acknowledged: operation has timed out',
        ),
        (["--emit", "kick", "true", "--listen", "forever"], None),
    ],
)
def test_without_success_the_status_is_1(server: RunningServer, arguments: list[str], message: str | None) -> None:
    done = connect(server.url, *arguments)
    assert done.returncode == 1
    if message is None:
        assert "disconnected: io server disconnect" in lines(done)
    else:
        assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("transport", "status", "message"),
    [(None, 1, "pip install 'wsgi_sio[client]'; or do without it"), ("websocket", 0, "")],
)
def test_without_urllib3_there_is_websocket(
    server: RunningServer, transport: str | None, status: int, message: str
) -> None:
    """What the README's first command installs."""
    arguments = ["connect", server.url, "--listen", "0", *(["--transport", transport] if transport else [])]
    program = "import sys; sys.modules['urllib3'] = None; from wsgi_sio.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, env=ENVIRON, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == status and message in done.stderr and done.stderr.count("\n") == status


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--emit", "chat", "hello"], 'not JSON: hello (a string needs quotes: "hello")'),
        (["--emit", "disconnect"], "reserved event name"),
        (["--auth", "[1]"], "must be a JSON object"),
        (["--listen", "soon"], "'soon' is neither a number of seconds nor 'forever'"),
        (["--header", "nonsense"], "'nonsense' is not 'Name: value'"),
        (["--header", "Bad name: x"], "is no header"),
        (["--timeout", "0"], "no number of seconds above 0"),
        (["--namespace", "/x", "--emit", ""], "an event's name is missing"),
    ],
)
def test_nonsense_has_the_status_2(server: RunningServer, arguments: list[str], message: str) -> None:
    done = connect(server.url, *arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


# -- servers that are none, or other ones -----------------------------------------------------------------------------


@contextlib.contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """An HTTP server that says the same to everybody; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, '96:0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":5000}2:40', "Socket.IO v2"),
        (
            400,
            '{"code":5,"message":"Unsupported protocol version"}',
            'code 5, "Unsupported protocol version" (the server',
        ),
        (400, '{"code":1,"message":"Session ID unknown"}', "several hosts, or workers that are not one server"),
        (200, '118:0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":5000}2:40', "Socket.IO v2"),
        (200, "<!DOCTYPE html><p>hello", "is it a Socket.IO server"),
        (502, "<html>bad gateway", "a proxy answers"),
        (400, "\x1b[31mred", r"\u001b[31mred"),
    ],
)
def test_a_wrong_server_is_told_with_a_hint(status: int, body: str, message: str) -> None:
    with answering(status, body) as url:
        done = connect(url)
    assert done.returncode == 1
    assert done.stderr.startswith("error: could not connect: ") and message in done.stderr
    assert done.stderr.count("\n") == 1 and "\x1b" not in done.stderr


def test_nobody_listening_and_silence_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it never accepts
        port = silent.getsockname()[1]
        done = connect(f"127.0.0.1:{port}", "--timeout", "0.5")
    assert done.returncode == 1 and "error: could not connect: " in done.stderr
    done = connect(f"127.0.0.1:{port}")
    assert done.returncode == 1 and "is the server running" in done.stderr


def test_an_upgrade_is_told_once(server: RunningServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A connection that is told late, when it has been upgraded already, is told to be a WebSocket; that is all."""
    console = Console(server.url, None, DEADLINE, {})
    client = console._client
    client.off("connect")
    client.on("connect", lambda: eventually(lambda: client.io.transport_name == "websocket", "the upgrade"))
    client.on("connect", console._connected)
    console.connect()
    console.close()
    printed = capsys.readouterr().out
    assert "over websocket" in printed and "upgraded" not in printed


# -- scripts ----------------------------------------------------------------------------------------------------------


def test_a_script_is_done_in_order_to_its_end(server: RunningServer) -> None:
    script = 'echo? 1\n\n# a comment\n"send binary"?\n/disconnect\n/connect\n  echo? "again"\n'
    done = connect(server.url, script=script)
    assert (done.returncode, done.stderr) == (0, "")
    printed = lines(done)
    ours = [line for line in printed if line[0] in "=cd" and "upgraded" not in line]
    assert [line.split()[0] for line in ours] == ["connected", "=", "=", "disconnected:", "connected", "="]
    assert '= "send binary" <bytes 5: 61636b6564> {"inner": <bytes 4: 616c736f>}' in printed
    assert printed[-1] in ('= echo "again"', "upgraded to websocket")


def test_a_connection_that_is_lost_is_made_again(server: RunningServer) -> None:
    script = '"drop connection"\n/wait 0.3\necho? "back"\n'
    done = connect(server.url, "--transport", "websocket", script=script)
    assert done.returncode == 0
    printed = [line for line in lines(done) if not line.startswith("< ")]
    assert printed[1] == "disconnected: transport close" or printed[1].startswith("disconnected: transport close (")
    assert printed[2:4] == ["not connected: it waits until that changes", "reconnecting, attempt 1"]
    assert printed[4].startswith("connected to / as ") and printed[5] == '= echo "back"'


@pytest.mark.parametrize(
    ("script", "status", "message"),
    [
        ("echo? 1\nchat hello\necho? 2\n", 2, "line 2: not JSON: hello"),
        ("/dance\n", 2, "line 1: there is no command /dance"),
        ("/wait\n", 2, "/wait takes a number of seconds"),
        ("/quit\nnonsense here\n", 0, ""),
        ("kick false\n/wait 0.3\n", 1, ""),
    ],
)
def test_a_script_ends_where_it_cannot_go_on(server: RunningServer, script: str, status: int, message: str) -> None:
    done = connect(server.url, script=script)
    assert done.returncode == status and message in done.stderr and bool(message) == bool(done.stderr)
    assert "echo 2" not in done.stdout


def test_a_reader_that_goes_away_ends_it_quietly(server: RunningServer) -> None:
    command = [*COMMAND, server.url, "--emit", "echo event", "1", "--listen", "forever"]
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize("state", ["listening", "connecting", "the server hangs"])
def test_an_interrupt_ends_it_whatever_others_do(server: RunningServer, state: str) -> None:
    with contextlib.ExitStack() as stack:
        if state == "connecting":
            silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            silent.settimeout(DEADLINE)
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        else:
            url = server.url
        process = stack.enter_context(
            subprocess.Popen(
                [*COMMAND, url, "--listen", "forever", "--timeout", str(3 * DEADLINE)],
                cwd=ROOT,
                env=ENVIRON,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        assert process.stdout is not None and process.stderr is not None
        if state == "connecting":
            stack.enter_context(silent.accept()[0])
        else:
            while b" connected to " not in process.stdout.readline():
                assert process.poll() is None
        if state == "the server hangs":
            freeze(server.worker_pid)
            stack.callback(thaw, server.worker_pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 130
        assert process.stderr.read() == b""


# -- a terminal -------------------------------------------------------------------------------------------------------


class Terminal:
    """The command on a pseudo-terminal, and somebody who types and reads."""

    def __init__(self, *arguments: str, command: Sequence[str] = COMMAND, **environ: str) -> None:
        self._fd, its = pty.openpty()
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=ROOT,
            env={**ENVIRON, **environ},
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        os.close(its)
        self.text = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def expect(self, pattern: str) -> re.Match[str]:
        """Read until ``pattern`` shows up behind what has been expected before."""
        deadline = time.monotonic() + 2 * DEADLINE
        while (match := re.search(pattern, self.text)) is None:
            ready = readable(self._fd, max(0.0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} is not in {self.text!r}"
            try:
                self.text += os.read(self._fd, 65536).decode()
            except OSError:
                raise AssertionError(f"{pattern!r} is not in {self.text!r}, and it has ended") from None
        self.text = self.text[match.end() :]
        return match

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._fd)


def test_a_session_on_a_terminal(server: RunningServer) -> None:
    with Terminal(server.url, "--transport", "websocket") as terminal:
        terminal.expect("connected to / as")
        terminal.expect("/help for help")
        terminal.type("echo? 1 [2]\n")
        terminal.expect(r"= echo 1 \[2\]")
        terminal.type("silly stuff\n")
        terminal.expect("error: not JSON: stuff")
        terminal.type("/help\n")
        terminal.expect("asking for an acknowledgement")
        terminal.type("/disconnect\n")
        terminal.expect("disconnected: io client disconnect")
        terminal.type("/connect\n")
        terminal.expect("connected to / as")
        terminal.type('ask? "anything"\n')
        terminal.expect('< question "anything"')
        terminal.expect("= ask")
        terminal.type("\x04")  # the end of the input
        assert terminal.process.wait(DEADLINE) == 0


def test_what_comes_is_printed_above_what_is_being_typed(server: RunningServer) -> None:
    with Terminal(server.url, "--transport", "websocket") as terminal:
        terminal.expect("/help for help\r\n")
        terminal.expect("> ")
        terminal.type("tick 1 0.5\n")
        terminal.expect("(?s)tick 1 0.5.*< number 0.*> ")
        terminal.type("echo? 12")
        terminal.expect("echo\\? 12")
        terminal.expect("\r\x1b\\[K.*< ticked.*\r\n> echo\\? 12$")
        terminal.type("3\n")
        terminal.expect("(?s)= echo 123.*\n.*> ")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(DEADLINE) == 130


@pytest.mark.parametrize(
    ("hook", "interrupted"),
    [
        # readline drops what its hooks raise.
        ("startup", "lambda: (os.kill(os.getpid(), signal.SIGINT), hook())"),
        ("pre_input", "lambda: (hook(), os.kill(os.getpid(), signal.SIGINT))"),
        # No Python runs between this signal and the sleep.
        ("pre_input", "functools.partial(getattr(ctypes.CDLL(None), 'raise'), signal.SIGINT)"),
    ],
    ids=["before the prompt is drawn", "when it has been drawn", "before it waits for what is typed"],
)
def test_an_interrupt_at_the_prompt_is_not_lost(server: RunningServer, hook: str, interrupted: str) -> None:
    program = f"""if True:
        import ctypes, functools, os, readline, signal, sys
        from wsgi_sio.__main__ import main
        set_hook = readline.set_{hook}_hook
        readline.set_{hook}_hook = lambda hook: set_hook({interrupted})
        sys.exit(main(["connect", *sys.argv[1:]]))
    """
    command = [sys.executable, "-c", program]
    with Terminal(server.url, "--transport", "websocket", command=command) as terminal:
        terminal.expect("/help for help\r\n")
        assert terminal.process.wait(DEADLINE) == 130


def test_the_prompt_is_drawn_in_one_piece(server: RunningServer) -> None:
    """Whatever comes while it is drawn."""
    with Terminal(server.url, "--transport", "websocket") as terminal:
        terminal.expect("/help for help\r\n")
        terminal.type("tick 300 0.001\n")
        for _ in range(100):
            terminal.type("\n")
            time.sleep(0.003)  # some prompts for each event, some events for each prompt
        assert not re.search(">(?! )", terminal.expect("(?s).*< ticked")[0])


def test_colours_are_for_terminals_that_want_them(server: RunningServer) -> None:
    with Terminal(server.url) as terminal:
        terminal.expect("\x1b\\[33mconnected to")
    with Terminal(server.url, NO_COLOR="1") as terminal:
        before = terminal.expect("(?s)^.*?connected to")[0]
        assert "\x1b[3" not in before and "\x1b[2m" not in before
    assert "\x1b" not in connect(server.url, "--listen", "0").stdout


# -- what can be typed, and how values look ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", None),
        ("  # comment", None),
        ("chat", Emission("chat")),
        ("chat?", Emission("chat", asks=True)),
        ('chat "a b" [1, 2]  {"x":null}', Emission("chat", ("a b", [1, 2], {"x": None}))),
        ("chat 1true", Emission("chat", (1, True))),
        ('"my event" 1', Emission("my event", (1,))),
        ('"my event?"? 1', Emission("my event?", (1,), asks=True)),
        ('"/quit"', Emission("/quit")),
        ("/quit", Command("quit")),
        ("/wait 1.5", Command("wait", 1.5)),
    ],
)
def test_a_line_is_understood(line: str, said: object) -> None:
    assert read_line(line) == said


@pytest.mark.parametrize(
    "line", ["?", '""', '"', "chat {", "chat hello", "chat 1,2", "chat NaN", "/", "/Quit", "/quit now", "/wait -1",
             "/wait nan", "/wait inf", "a " + "[" * 100_000]
)  # fmt: skip
def test_a_line_is_not_understood(line: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        read_line(line)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\x00\xff" * 6, "<bytes 12: 00ff00ff00ff00ff…>"),
        (b"", "<bytes 0: >"),
        ({"a": [b"\x01", None, True, 1.5]}, '{"a": [<bytes 1: 01>, null, true, 1.5]}'),
        ("é\x1b[31m\x9b", '"\\u00e9\\u001b[31m\\u009b"'),
        ("é", '"é"'),
        ("x" * 301, '"' + "x" * 300 + '"… (301 characters)'),
    ],
)
def test_values_are_shown_for_people(value: object, shown: str) -> None:
    assert show(value) == shown


def test_an_event_is_shown_as_it_can_be_typed() -> None:
    for said in (Emission("chat", (1, ["a"])), Emission("my event", ({},)), Emission("\x1b[2J")):
        assert read_line(show_event(said.event, said.args)) == said


def test_nesting_without_end_is_shown_too() -> None:
    value: Any = json.loads("[" * 900 + "]" * 900)
    assert show(value).startswith(("[[", "<nested"))
