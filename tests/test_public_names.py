"""What applications may rely on: the names, and that each of them is explained."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

import wsgi_sio
import wsgi_sio.engineio
import wsgi_sio.exceptions

DOCUMENTED = [
    "NO_ACK",
    "AckTimeout",
    "BroadcastOperator",
    "Client",
    "ClientSocket",
    "ConnectRefused",
    "ConnectionFailed",
    "Disconnected",
    "Emitter",
    "Handshake",
    "LocalProtocolError",
    "Manager",
    "Namespace",
    "NoAck",
    "NotPublished",
    "OutOfContext",
    "RemoteProtocolError",
    "RemoteSocket",
    "Server",
    "SimpleClient",
    "Socket",
    "SocketIOError",
    "TimedOut",
    "WSGIApp",
]

ENGINE = ["MESSAGE", "EngineConfig", "EngineRequest", "EngineServer", "Packet", "Response", "Session"]

METHODS = {
    "Server": "close compress emit event except_ fetch_sockets in_ local of off on once send sleep sockets "
    "sockets_join sockets_leave disconnect_sockets start_background_task timeout to use volatile "
    "server_side_emit server_side_emit_with_ack on_server_side count room_counts presence",
    "Namespace": "compress disconnect_sockets emit event except_ fetch_sockets in_ local off on once send "
    "sockets_join sockets_leave timeout to use volatile server_side_emit server_side_emit_with_ack on_server_side "
    "count room_counts presence",
    "Socket": "broadcast compress connected disconnect disconnected emit emit_with_ack except_ in_ join leave local "
    "off on once rooms send timeout to volatile",
    "BroadcastOperator": "compress disconnect_sockets emit emit_with_ack except_ fetch_sockets in_ local send "
    "sockets_join sockets_leave timeout to volatile count room_counts",
    "Emitter": "close compress disconnect_sockets emit except_ in_ of send server_side_emit sockets_join sockets_leave "
    "to volatile write",
    "Client": "connect open disconnect close wait emit emit_with_ack send volatile timeout compress on once off event "
    "on_any prepend_any off_any on_any_outgoing connected disconnected active",
    "Manager": "socket open close connected transport_name reconnection reconnection_delay reconnection_delay_max "
    "randomization_factor timeout on once off",
    "SimpleClient": "connect emit call receive disconnect",
    "Handshake": "address headers query secure time url xdomain",
}


def test_the_public_names() -> None:
    assert wsgi_sio.__all__ == DOCUMENTED
    assert sorted(wsgi_sio.engineio.__all__) == sorted(ENGINE)
    for name in DOCUMENTED:
        assert getattr(wsgi_sio, name).__module__.startswith("wsgi_sio.")
    assert wsgi_sio.__version__.count(".") == 2


@pytest.mark.parametrize("name", METHODS)
def test_the_public_methods(name: str) -> None:
    cls = getattr(wsgi_sio, name)
    missing = [method for method in METHODS[name].split() if not hasattr(cls, method)]
    assert missing == []


def test_the_names_of_the_reference_work_on_sockets_and_operators_alike() -> None:
    """``to`` and ``in_`` are one; nothing is called by a Python keyword."""
    for cls in (wsgi_sio.Server, wsgi_sio.Namespace, wsgi_sio.Socket, wsgi_sio.BroadcastOperator):
        assert inspect.getattr_static(cls, "to") is not None and inspect.getattr_static(cls, "in_") is not None


def public_things() -> list[Any]:
    """Every public class and function of the two public modules, with the public members they define."""
    things: list[Any] = []
    for module, names in ((wsgi_sio, DOCUMENTED), (wsgi_sio.engineio, ENGINE)):
        for name in names:
            thing = getattr(module, name)
            if not inspect.isclass(thing):
                continue
            things.append(pytest.param(thing, id=name))
            for member in sorted(set(dir(thing))):
                static = inspect.getattr_static(thing, member)
                owner = next(base for base in thing.__mro__ if member in vars(base))
                if member.startswith("_") or not owner.__module__.startswith("wsgi_sio"):
                    continue
                if isinstance(static, property) or inspect.isfunction(static):
                    things.append(pytest.param(static, id=f"{name}.{member}"))
    return things


@pytest.mark.parametrize("thing", public_things())
def test_everything_public_is_explained(thing: Any) -> None:
    """Its own docstring, not the one that dataclasses or object would lend."""
    text = inspect.getdoc(thing) if not inspect.isclass(thing) else thing.__dict__.get("__doc__")
    assert text and len(text) > 10
    assert not text.startswith(f"{getattr(thing, '__name__', '')}("), "that is what dataclass made up"


def test_modules_are_explained() -> None:
    import pkgutil

    unexplained = []
    for info in pkgutil.walk_packages(wsgi_sio.__path__, "wsgi_sio."):
        spec = info.module_finder.find_spec(info.name, None)  # type: ignore[call-arg]
        assert spec is not None and spec.loader is not None
        source = spec.loader.get_source(info.name)  # type: ignore[attr-defined]
        if not source.lstrip().startswith('"""'):
            unexplained.append(info.name)
    assert unexplained == []


def test_options_are_explained() -> None:
    """Each option of the engine and of the server stands in the docstring that lists them."""
    engine = wsgi_sio.engineio.EngineConfig
    for field in dataclasses.fields(engine):
        assert f":param {field.name}:" in (engine.__doc__ or ""), field.name
    for name, parameter in inspect.signature(wsgi_sio.Server.__init__).parameters.items():
        if name != "self" and parameter.kind is not parameter.VAR_KEYWORD:
            assert f":param {name}:" in (wsgi_sio.Server.__doc__ or ""), name


def test_the_error_tree() -> None:
    """Everything raised on purpose is a SocketIOError; none shadows a builtin."""
    import builtins

    for name in wsgi_sio.exceptions.__all__:
        error = getattr(wsgi_sio, name)
        assert issubclass(error, wsgi_sio.SocketIOError)
        assert not hasattr(builtins, name)
        assert name in (wsgi_sio.exceptions.__doc__ or "")
    assert issubclass(wsgi_sio.AckTimeout, TimeoutError)
    assert issubclass(wsgi_sio.OutOfContext, RuntimeError)
