"""The arguments of ``connect``, and its exit status: 0 for success, 1 without a connection, 2 for senseless input."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from .console import Console, Failed
from .input_syntax import Emission, NotUnderstood, read_json, read_seconds
from .screen import complain

_FOREVER = "forever"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``connect``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Connect to a Socket.IO server and print its events as they come.\n\n"
        "On a terminal there is a prompt: /help tells what can be typed. Otherwise the same is read from the standard\n"
        "input, line by line. With --emit or --listen nothing is read: it emits, listens and ends."
    )
    parser.epilog = (
        "exit status: 0 for success, 1 if the server cannot be reached, refuses, goes away or does not answer, "
        "2 for\nwhat makes no sense, 130 for Ctrl-C"
    )
    parser.add_argument("url", metavar="URL", type=_url, help="such as localhost:5000, or https://example.com/chat")
    parser.add_argument("--namespace", metavar="NS", help="default: the path of the URL")
    parser.add_argument("--auth", metavar="JSON", type=_auth, help='the credentials, such as \'{"token": "abc"}\'')
    parser.add_argument(
        "--emit",
        metavar=("EVENT", "JSON"),
        nargs="+",
        action="append",
        default=[],
        help="emit an event; EVENT? waits for its acknowledgement. May be given several times",
    )
    parser.add_argument("--listen", metavar="SECONDS", type=_listen, help="how long to stay then, or: forever")
    parser.add_argument("--transport", choices=("polling", "websocket"), help="only this one (default: both)")
    parser.add_argument("--header", metavar="'NAME: VALUE'", type=_header, action="append", default=[])
    parser.add_argument("--path", default="/socket.io", help="of the server (default: %(default)s)")
    parser.add_argument("--msgpack", action="store_true", help="the server uses the msgpack parser")
    parser.add_argument("--insecure", action="store_true", help="do not check the server's certificate")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_timeout,
        default=10.0,
        help="for connecting and for each acknowledgement (default: %(default)g)",
    )


def run(options: argparse.Namespace) -> int:
    """Connect, and do what is wanted; the exit status, with one line on the standard error where it is not 0."""
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]  # whatever characters come
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    logging.getLogger("wsgi_sio.client.outage").addHandler(logging.NullHandler())  # the console tells each failure
    try:
        emissions = [Emission.of_words(words) for words in options.emit]
        console = Console(options.url, options.namespace, options.timeout, _client_options(options))
    except (NotUnderstood, ValueError) as error:
        complain(str(error))
        return 2
    except ImportError as error:
        complain(str(error))
        return 1
    try:
        with console.interrupts:
            console.connect()
            if emissions or options.listen is not None:
                return console.emit_and_listen(emissions, None if options.listen == _FOREVER else options.listen or 0)
            if sys.stdin.isatty() and sys.stdout.isatty():
                return console.run_prompt()
            return console.run_script(sys.stdin)
    except Failed as error:
        complain(str(error))
        return error.status
    finally:
        console.close()


def _client_options(options: argparse.Namespace) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "auth": options.auth,
        "extra_headers": dict(options.header),
        "path": options.path,
        "timeout": options.timeout,
        "verify": not options.insecure,
    }
    if options.transport:
        chosen["transports"] = [options.transport]
    if options.msgpack:
        from ..socketio import packet_msgpack

        chosen["parser"] = packet_msgpack
    return chosen


# -- types of arguments; argparse makes one line of their errors -----------------------------------------------------


def _url(text: str) -> str:
    return text if "://" in text else f"http://{text}"


def _auth(text: str) -> Any:
    try:
        auth = read_json(text)
    except NotUnderstood as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not isinstance(auth, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return auth


def _listen(text: str) -> float | str:
    if text == _FOREVER:
        return text
    try:
        return read_seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of seconds nor {_FOREVER!r}") from None


def _timeout(text: str) -> float:
    try:
        seconds = read_seconds(text)
    except ValueError:
        seconds = 0.0
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not 'Name: value'")
    return name.strip(), value.strip()
