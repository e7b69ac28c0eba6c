"""What the log is told of clients and requests that are refused: (kind, text) for :meth:`EngineServer.report`.

The first of a kind is a warning.  Each text says what happened, by which bound, and what to do about it.
"""

from __future__ import annotations

from ..logtext import quote
from .config import EngineConfig, Environ
from .hijack import can_take
from .request import EngineRequest

Report = tuple[str, str]


def slow_client(config: EngineConfig) -> Report:
    """A client does not take what is sent to it as fast as that comes."""
    return "slow client", f"over max_outbox={config.max_outbox} bytes wait for it, so it is closed"


def stuck_client(config: EngineConfig) -> Report:
    """A client takes nothing at all, and somebody waits for that."""
    return (
        "slow client",
        f"half of max_outbox={config.max_outbox} bytes wait for it, and a handler for it to take them, but it has taken"
        f" nothing for ping_timeout={config.ping_timeout:g} s, so it is closed",
    )


def too_large(config: EngineConfig, consequence: str) -> Report:
    """A client has sent more than is taken."""
    return (
        "too large a message",
        f"a client sent more than max_http_buffer_size={config.max_http_buffer_size} bytes at once, so {consequence};"
        " raise it, or have clients send large data in pieces",
    )


def late_body(config: EngineConfig) -> Report:
    """The body of a POST has not arrived in time."""
    return (
        "late body",
        f"a client's POST took more than http_request_body_timeout={config.http_request_body_timeout:g} s to arrive, so"
        " the session is closed; raise it, or let a proxy read requests before it passes them on",
    )


def thread_held() -> Report:
    """A POST has waited for its client's handlers in a thread of the WSGI server's for long enough, twice."""
    return (
        "flood",
        "a client's handlers do not keep up with what it sends (max_mailbox), and its POSTs wait for them in a thread"
        " of the WSGI server, so it is closed; where the connection can be moved away from the thread (gunicorn, TLS"
        " in a proxy) they wait without one",
    )


def threads_used_up(clients: int, size: int, turn: float, setting: str) -> Report:
    """More clients wait than the WSGI server, in whose threads they do, runs requests at once."""
    return (
        "requests that wait",
        f"clients' requests wait in the WSGI server, which runs {size} at once; sessions: {clients}; so each is told to"
        f" ask again every {turn:g} s or so; raise {setting} above the number of clients, or serve with gunicorn"
        " (-k gevent, or --threads) and let a proxy end TLS",
    )


def no_thread_left(waiting: int) -> Report:
    """A WebSocket over TLS would take a thread that others need."""
    return (
        "WebSockets over TLS",
        f"each keeps a thread of the WSGI server, and no more can be spared ({waiting} wait already), so clients stay"
        " on polling; let a proxy end TLS, or give the server more threads",
    )


def parse_error(what: str) -> Report:
    """A client has sent what is no packet."""
    return "parse error", f"{what}; the connection is closed"


def no_descriptors(error: OSError) -> Report:
    """A connection could not be taken over."""
    return (
        "no descriptor",
        f"a connection could not be taken from the WSGI server ({error}), so no WebSocket begins and polls keep their"
        " threads; raise the limit of open files (ulimit -n)",
    )


def no_client_file(name: str) -> Report:
    """A page asks for a file of the browser's client, which this server does not have."""
    return (
        "no browser client",
        f"{name} is asked for, a file of the browser's client, which is not installed here: run 'python -m wsgi_sio"
        " client-files' once, as the user who serves; or name the directory that holds it, client_files=DIR",
    )


def several_processes() -> Report:
    """A session begins in one of several processes that know nothing of each other."""
    return (
        "several processes",
        "the WSGI server runs several processes (gunicorn --workers, wsgi.multiprocess), and siblings=False keeps them"
        " apart: a polling client is refused by all but its own, and what one process emits does not reach the clients"
        " of the others; leave siblings=False out, or let one serve all (gunicorn --workers 1 --threads 100)",
    )


def adapter_of_one_process() -> Report:
    """A session begins in one of several processes that pass on requests, but whose adapters know nothing of others."""
    return (
        "adapter of one process",
        "the server has an adapter that knows only the clients of its own process (adapter=), and several processes"
        " serve: requests find their session in any of them, but what one emits does not reach the clients of the"
        " others; leave adapter= out, or let one process serve all (gunicorn --workers 1 --threads 100)",
    )


def no_siblings(reason: object) -> Report:
    """The processes of this server cannot find each other."""
    return (
        "several processes",
        f"the processes that serve together cannot reach each other ({reason}), so each is alone: a polling client is"
        " refused by all but its own, and what one process emits does not reach the clients of the others; give them a"
        " directory of their user's own by RUNTIME_DIRECTORY or TMPDIR (systemd: RuntimeDirectory=), or let one serve"
        " all (gunicorn --workers 1 --threads 100)",
    )


def junk_from_sibling(tag: str, reason: object) -> Report:
    """Another process of this server sends what makes no sense."""
    return "junk from a sibling", f"the process {tag} sends what is dropped ({reason}): is it another program?"


def tasks_left_behind() -> Report:
    """A worker has its first client, and the process that it was forked from has started background tasks."""
    return (
        "background tasks before a fork",
        "background tasks were started before the server forked this process (gunicorn --preload), so they run in its"
        " parent, which has no clients; start them in post_worker_init, or with the first client",
    )


def emit_to_nobody() -> Report:
    """An emit reaches nobody in a process to which no request has come."""
    return (
        "emit in a process that serves nobody",
        "no request has come to this process, so it has no clients; a command, a task queue's worker or a scheduler"
        " does not reach those of the process that serves: let it ask that one to emit (an HTTP request to a view of"
        " the app), or give both the same siblings='a name', if they run on one host and as one user; a background task"
        " must not be started before the server forks (gunicorn --preload), but in post_worker_init or with the first"
        " client; in a server that has just been started it is harmless",
    )


def emit_after_fork() -> Report:
    """An emit reaches nobody in the child of a process that serves."""
    return (
        "emit in a forked process",
        "the clients are connected to the process that it was forked from, so none is reached: send what they are to"
        " get to that one (multiprocessing.Queue), or use an adapter that connects processes",
    )


def no_websocket(environ: Environ) -> str | None:
    """Why there can be no WebSocket on this server; None when there can."""
    if environ.get("wsgi.websocket") is not None:  # as gevent-websocket has it
        return (
            "the WSGI server has answered the WebSocket's handshake itself, as gevent-websocket does (gunicorn -k"
            " geventwebsocket.gunicorn.workers.GeventWebSocketWorker, handler_class=WebSocketHandler), so clients stay"
            " on polling, or cannot connect; leave it out: gunicorn -k gevent, or gevent's own handler"
        )
    if not can_take(environ):
        return (
            "this WSGI server does not give its socket away, so only polling works; gunicorn with -k gevent or"
            " --threads does"
        )
    return None


def origin_advice(request: EngineRequest) -> str:
    """A page may not connect."""
    host = request.environ.get("HTTP_HOST", "")
    if request.environ.get("wsgi.url_scheme") == "https":  # then the page's scheme may be what is wrong
        host = f"https://{host}"
    if request.origin is None:
        return (
            "a script polls (JSONP), and neither Sec-Fetch-Site nor Referer names a page that may: that of another"
            " origin has to be in cors_allowed_origins; where browsers send neither header, jsonp_without_origin=True"
            " or cors_allowed_origins='*' let any page poll, and read the answers"
        )
    hint = "behind a proxy, let it pass the Host header on"
    if "HTTP_X_FORWARDED_HOST" in request.environ and "werkzeug.proxy_fix.orig" not in request.environ:
        hint += "; its X-Forwarded-Host counts if ProxyFix stands outside of Socket.IO: set it after SocketIO(app)"
    return (
        f"the page is from {quote(request.origin)} and the server is {quote(host)}; to allow it set"
        f" cors_allowed_origins={quote(request.origin)} ({hint})"
    )
