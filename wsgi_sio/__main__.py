"""``python -m wsgi_sio``, and ``wsgi-sio``: serve the demonstration, a chat to open in the browser; or run one of the
``COMMANDS``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from wsgi_sio import __version__, command_line_client
from wsgi_sio.client_files import ClientUnavailable, copy_client, find_client, install_client
from wsgi_sio.compiled import is_compiled


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` when ``arguments`` is None) and return the exit status."""
    options = build_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The command line: without a command it is the demonstration."""
    prog = "wsgi-sio" if Path(sys.argv[0]).stem == "wsgi-sio" else "python -m wsgi_sio"
    parser = argparse.ArgumentParser(prog=prog, description="Serve a chat that shows what the library does.")
    version = f"wsgi_sio {__version__}{', compiled' if is_compiled() else ''}"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--client-dir", metavar="DIR", help="directory that holds socket.io.min.js; npm is not asked")
    parser.add_argument("--server", choices=sorted(SERVERS), default="werkzeug", help="default: %(default)s")
    parser.add_argument("--webtransport", action="store_true", help="take WebTransport too, on the same port by UDP")
    parser.set_defaults(run=run_demo)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help, description=f"{command.help}.")
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


class Command(NamedTuple):
    """What ``python -m wsgi_sio NAME`` does."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def run_demo(options: argparse.Namespace) -> int:
    """Serve the chat until it is interrupted; 1, after saying why, when that is not possible."""
    try:
        client = find_client(options.client_dir) or install_client()
        SERVERS[options.server](options.host, options.port, client, options.webtransport)
    except (ClientUnavailable, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: cannot listen on {options.host} port {options.port}: {error}", file=sys.stderr)
        return 1
    return 0


def serve_with_werkzeug(host: str, port: int, client: Path, webtransport: bool) -> None:
    """Serve with one thread a request, as ``flask run`` does."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    from wsgi_sio.demo.chat import create_app

    class QuietHandler(WSGIRequestHandler):
        """Does not write a line for every poll."""

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            return

    app = create_app(client)
    server = make_server(host, port, app, threaded=True, request_handler=QuietHandler)
    if webtransport:
        app.server.listen_webtransport(host, server.port)
    _announce(host, server.port)
    server.serve_forever()


def serve_with_gevent(host: str, port: int, client: Path, webtransport: bool) -> None:
    """Serve with greenlets; the standard library is patched before anything makes a thread or a lock."""
    from gevent import monkey

    monkey.patch_all()
    from gevent.pywsgi import WSGIServer

    from wsgi_sio.demo.chat import create_app

    app = create_app(client)
    server = WSGIServer((host, port), app, log=None)
    server.start()
    if webtransport:
        app.server.listen_webtransport(host, server.server_port or port)
    _announce(host, server.server_port or port)
    server.serve_forever()


SERVERS = {"werkzeug": serve_with_werkzeug, "gevent": serve_with_gevent}


def add_migrate_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``migrate``."""
    parser.add_argument("path", type=Path, help="a file, or a directory with all below it")
    parser.add_argument("--apply", action="store_true", help="rewrite the imports that need nothing else")


def run_migrate(options: argparse.Namespace) -> int:
    """List the uses, a line each; 1 when a file could not be read or written."""
    from wsgi_sio.migrate import migrate

    uses = edits = problems = 0
    try:
        for report in migrate(options.path, apply=options.apply):
            for use in report.uses:
                mark = "" if use.edit is None else " [rewritten]" if report.rewritten else " [--apply]"
                print(f"{report.path}:{use.line}: {use.what} -> {use.becomes}{mark}")
                edits += use.edit is not None
            if report.problem is not None:
                print(f"{report.path}: {report.problem}", file=sys.stderr)
                problems += 1
            uses += len(report.uses)
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{uses} uses; {edits} of them imports {'rewritten' if options.apply else 'for --apply to rewrite'}")
    return 1 if problems else 0


def add_client_files_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``client-files``."""
    parser.add_argument("directory", nargs="?", metavar="DIR", help="put the files there, for client_files=DIR")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="PACKAGE",
        help="take them from the npm package, a .tgz or a directory; npm is not asked",
    )


def run_client_files(options: argparse.Namespace) -> int:
    """Install the browser's client, or copy it into a directory; 1, after saying why, when that is not possible."""
    if options.source and not options.directory:
        print("error: --from needs DIR, where the files are to go", file=sys.stderr)
        return 2
    try:
        if options.directory is None:
            print(f"{install_client()}: served to pages by every server of this user, without an option")
            return 0
        names = copy_client(options.source or find_client() or install_client(), options.directory)
    except (ClientUnavailable, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(names)} files in {options.directory}: client_files={options.directory!r} serves them")
    return 0


COMMANDS = {
    "client-files": Command("Install the browser's client", add_client_files_arguments, run_client_files),
    "connect": Command(
        "Connect to a server and print its events as they come",
        command_line_client.add_arguments,
        command_line_client.run,
    ),
    "migrate": Command("List what code uses of Flask-SocketIO and python-socketio", add_migrate_arguments, run_migrate),
}


def _announce(host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    print(f"Chat: http://{shown}:{port}   (stop with Ctrl+C)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
