"""What the log is told of clients and requests that are refused: (kind, text) for :meth:`EngineServer.report`.

The first of a kind is a warning.  Each text says what happened, by which bound, and what to do about it.
"""

from __future__ import annotations

from .config import EngineConfig

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
