"""``python -m wsgi_sio``: serve the demonstration, a chat to open in the browser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from wsgi_sio.client_files import ClientUnavailable, find_client, install_client


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` when ``arguments`` is None) and return the exit status."""
    options = build_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The command line: without a command it is the demonstration; a command sets its own ``run``."""
    parser = argparse.ArgumentParser(
        prog="python -m wsgi_sio", description="Serve a chat that shows what the library does."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--client-dir", metavar="DIR", help="directory that holds socket.io.min.js; npm is not asked")
    parser.add_argument("--server", choices=sorted(SERVERS), default="werkzeug", help="default: %(default)s")
    parser.set_defaults(run=run_demo)
    return parser


def run_demo(options: argparse.Namespace) -> int:
    """Serve the chat until it is interrupted; 1, after saying why, when that is not possible."""
    try:
        client = find_client(options.client_dir) or install_client()
        SERVERS[options.server](options.host, options.port, client)
    except (ClientUnavailable, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: cannot listen on {options.host} port {options.port}: {error}", file=sys.stderr)
        return 1
    return 0


def serve_with_werkzeug(host: str, port: int, client: Path) -> None:
    """Serve with one thread a request, as ``flask run`` does."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    from wsgi_sio.demo.chat import create_app

    class QuietHandler(WSGIRequestHandler):
        """Does not write a line for every poll."""

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            return

    server = make_server(host, port, create_app(client), threaded=True, request_handler=QuietHandler)
    _announce(host, server.port)
    server.serve_forever()


def serve_with_gevent(host: str, port: int, client: Path) -> None:
    """Serve with greenlets; the standard library is patched before anything makes a thread or a lock."""
    from gevent import monkey

    monkey.patch_all()
    from gevent.pywsgi import WSGIServer

    from wsgi_sio.demo.chat import create_app

    server = WSGIServer((host, port), create_app(client), log=None)
    server.start()
    _announce(host, server.server_port or port)
    server.serve_forever()


SERVERS = {"werkzeug": serve_with_werkzeug, "gevent": serve_with_gevent}


def _announce(host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    print(f"Chat: http://{shown}:{port}   (stop with Ctrl+C)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
