"""The house's rules, read out of the source: who may import whom, sizes, no hidden state, nothing of this machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.require import require
from tests.support.world import one_world

pytestmark = one_world

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "wsgi_sio"
MODULES = sorted(PACKAGE.rglob("*.py"))

PURE = (
    "compiled",
    "websocket",
    "webtransport.frames",
    "webtransport.capsules",
    "engineio.packet",
    "engineio.packet_v3",
    "socketio.packet",
    "socketio.jsoncodec",
    "socketio.fast_json",
)
# What they may import beside the standard library: it computes, and is not needed.
PURE_LIBRARIES = {"socketio.fast_json": {"msgspec", "orjson"}}
TOP = ("server", "wsgi", "development_server", "flask", "django", "testing", "client_files", "command_line_client",
       "demo", "gunicorn", "migrate", "__main__", "__init__")  # fmt: skip

# Which parts of the package each part may import, from the bottom upwards; its own modules always.
ALLOWED: dict[str, tuple[str, ...]] = {
    "compiled": (),
    "exceptions": (),
    "logtext": (),
    "refuse_async": (),
    "validation": ("logtext",),
    "websocket": (),
    "runtime": ("compiled",),
    "sockets": ("runtime",),
    "http_compression": (),
    "client_files": ("http_compression",),
    "siblings": ("runtime", "logtext"),
    "webtransport": ("runtime", "logtext"),
    "engineio": (
        "compiled",
        "websocket",
        "webtransport",
        "runtime",
        "sockets",
        "siblings",
        "http_compression",
        "logtext",
        "refuse_async",
        "validation",
    ),
    "socketio": (
        "compiled",
        "engineio",
        "siblings",
        "runtime",
        "exceptions",
        "client_files",
        "logtext",
        "refuse_async",
        "validation",
    ),
    "cluster.bus": ("runtime", "logtext"),
    "cluster": ("socketio", "siblings", "runtime", "exceptions", "logtext", "refuse_async"),
    "adapters": ("socketio", "cluster"),
    "emitter": ("cluster", "socketio", "exceptions", "validation"),
    "client.engineio": (
        "client.options",
        "websocket",
        "webtransport",
        "engineio.packet",
        "engineio.websocket",
        "engineio.webtransport",
        "engineio.write_buffer",
        "runtime",
        "sockets",
        "exceptions",
        "validation",
    ),
    "client": (
        "engineio.config",
        "engineio.packet",
        "socketio.packet",
        "socketio.jsoncodec",
        "socketio.parser",
        "socketio.handlers",
        "socketio.listens",
        "socketio.on_any",
        "socketio.acks",
        "runtime",
        "exceptions",
        "logtext",
        "refuse_async",
        "validation",
    ),
}

# Third-party packages, and the only places that may import them.
THIRD_PARTY: dict[str, tuple[str, ...]] = {
    # the latter two serve with it when asked to
    "gevent": ("runtime.greenlet_reactor", "runtime.blocked_hub_warning", "__main__", "development_server"),
    "greenlet": ("runtime.greenlet_reactor",),
    "simple_websocket": ("client.engineio.websocket",),
    "wsproto": ("engineio.websocket_handshake", "client.engineio.websocket"),
    "aioquic": (
        "webtransport.connection",
        "webtransport.credit",
        "webtransport.quic",
        "webtransport.retry",
        "webtransport.sealing",
        "webtransport.shortcuts",
        "webtransport.stateless_reset",
    ),
    "pylsqpack": ("webtransport.quic",),
    "cryptography": ("webtransport.certificates",),
    "werkzeug": ("engineio", "wsgi", "development_server", "flask", "demo", "__main__", "testing"),
    "pytest": ("testing.plugin",),
    "flask": ("flask", "demo"),
    "django": ("django",),
    "asgiref": ("django",),
    "redis": ("cluster.bus.redis_urls",),
    "valkey": ("cluster.bus.redis_urls",),
    "psycopg": ("cluster.bus.postgres_connection",),
    "kombu": ("cluster.bus.kombu_urls",),
    "amqp": ("cluster.bus.kombu_wire",),
    "msgpack": ("cluster.drivers", "cluster.messages", "socketio.packet_msgpack"),
    "urllib3": ("client.engineio.polling_http",),
    # they need not be there
    "msgspec": ("socketio.fast_json",),
    "orjson": ("socketio.fast_json",),
    # for types alone: its decorators mean something to the compiler
    "mypy_extensions": ("compiled",),
}

IO_OF_THE_STANDARD_LIBRARY = {"socket", "_socket", "select", "selectors", "threading", "_thread", "ssl", "time",
                              "asyncio", "subprocess", "queue", "concurrent", "multiprocessing"}  # fmt: skip


def name_of(path: Path) -> str:
    """Such as ``engineio.session``; a package is named like its folder, the whole package ``__init__``."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path, for_types: bool = False) -> tuple[str, ...]:
    """What a module imports at run time, absolute; below ``if TYPE_CHECKING`` only ``for_types``."""
    package = ["wsgi_sio", *path.relative_to(PACKAGE).parts[:-1]]

    def visit(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not for_types:
            for child in node.orelse:
                yield from visit(child)
            return
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    return tuple(visit(tree_of(path)))


def within(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.startswith(part + ".") for part in parts)


def own_modules() -> set[str]:
    return {name_of(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_who_imports_whom(path: Path) -> None:
    """DESIGN, section 2: each layer knows only those below it, by its types too."""
    name = name_of(path)
    if within(name, TOP) and name != "client_files":
        return
    part = max((part for part in ALLOWED if within(name, (part,))), key=len)
    modules = own_modules()
    for imported in imports(path, for_types=True):
        if not imported.startswith("wsgi_sio."):
            continue
        target = imported.removeprefix("wsgi_sio.")
        while target and target not in modules:
            target = target.rpartition(".")[0]  # the name of a thing inside a module
        if target and not within(target, (part,)):
            assert within(target, ALLOWED[part]), f"{name} imports {target}"


def test_arrows_go_down_only() -> None:
    """What a part may import stands above it in the table, so no two parts can ever need each other."""
    below: list[str] = []
    for part, allowed in ALLOWED.items():
        folder = part.partition(".")[0]
        assert [other for other in allowed if not within(other, (*below, folder))] == [], part
        below.append(part)


# Modules that import each other in a circle, if only for types, and why.
CIRCLES = {
    ("flask.extension", "flask.namespace"): "a namespace is registered with a SocketIO, and Namespace.socketio is one:"
    " applications use, and type checkers know, the whole of it",
    (
        "socketio.broadcast_operator",
        "socketio.dynamic_namespaces",
        "socketio.namespace",
        "socketio.remote_socket",
        "socketio.server",
        "socketio.socket",
    ): "socket.nsp, namespace.server, server.of(), fetch_sockets(): what applications reach from one another is the"
    " whole of it, and their type checkers know it. Everybody else sees these through socketio/interfaces.py",
    ("client.manager", "client.socket"): "a Manager makes sockets, and what client.io is applications' type checkers"
    " want to know",
}


def test_no_modules_import_each_other_but_for_a_reason() -> None:
    own = own_modules()
    graph = {name_of(path): set(_own_imports(path, own)) for path in MODULES}
    reached: dict[str, set[str]] = {}
    for name in graph:
        found, pending = set(), [name]
        while pending:
            new = graph[pending.pop()] - found
            found |= new
            pending += new
        reached[name] = found
    circles = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
        if name in reached[name]
    }
    assert [circle for circle in circles if not any(all(within(m, known) for m in circle) for known in CIRCLES)] == []
    assert [known for known in CIRCLES if len(known) > 1 and known not in circles] == [], "it is gone: take it out"


def _own_imports(path: Path, own: set[str]) -> Iterator[str]:
    """The modules of the package that one imports; ``from . import name`` is that of the module, not of the package."""
    name = name_of(path)
    found = [imported.removeprefix("wsgi_sio.") for imported in imports(path, for_types=True)
             if imported.startswith("wsgi_sio.")]  # fmt: skip
    modules = {imported for imported in found if imported in own}
    for imported in found:
        target = imported
        while target and target not in own:
            target = target.rpartition(".")[0]
        only_on_the_way = any(module.startswith(f"{target}.") for module in modules)
        if target and target != name and not only_on_the_way:
            yield target


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p) not in ("server", "socketio.server")], ids=name_of)
def test_every_server_is_the_one_that_chooses_the_adapter(path: Path) -> None:
    """server.py sets the default adapter; who made or subclassed socketio's own server would have another."""
    assert not {"wsgi_sio.socketio.server", "wsgi_sio.socketio.server.Server"} & set(imports(path))


@pytest.mark.parametrize("path", [p for p in MODULES if within(name_of(p), PURE)], ids=name_of)
def test_the_codecs_do_no_io_and_know_nobody(path: Path) -> None:
    """The standard library, with one exception; no threads, sockets or clock; only each other."""
    for imported in imports(path):
        top = imported.split(".")[0]
        if top == "wsgi_sio":
            target = imported.removeprefix("wsgi_sio").lstrip(".")
            package = name_of(path).split(".")[0]
            assert not target or target == package or within(target, PURE), f"{name_of(path)} imports {imported}"
        else:
            allowed = sys.stdlib_module_names | PURE_LIBRARIES.get(name_of(path), set())
            assert top in allowed and top not in IO_OF_THE_STANDARD_LIBRARY, imported


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_third_parties_are_imported_in_their_places_only(path: Path) -> None:
    name = name_of(path)
    for imported in imports(path):
        top = imported.split(".")[0]
        if top != "wsgi_sio" and top not in sys.stdlib_module_names:
            assert top in THIRD_PARTY, f"{name} imports {top}, which nobody may"
            assert within(name, THIRD_PARTY[top]), f"{name} imports {top}; only {THIRD_PARTY[top]} may"


@pytest.mark.parametrize("path", [p for p in MODULES if not within(name_of(p), ("runtime", "demo"))], ids=name_of)
def test_only_the_runtime_makes_threads_locks_and_selectors(path: Path) -> None:
    """The demonstration is an application, and may have a lock of its own."""
    for imported in imports(path):
        top = imported.split(".")[0]
        assert top not in ("threading", "_thread", "select", "selectors", "asyncio", "queue", "concurrent"), imported


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_has_mutable_state(path: Path) -> None:
    """No list, dict or set at module or class level that could change, no ``global``, no module-level lock.

    A constant table is fine: its name is in capitals, and nothing in the module changes it.
    """
    tree = tree_of(path)
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Global), f"line {node.lineno}: global"
    changed = set(_names_changed(tree))
    scopes: list[ast.Module | ast.ClassDef] = [tree, *(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef))]
    for scope in scopes:
        for statement in scope.body:
            if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
                continue
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name) and _is_mutable(statement.value):
                    constant = target.id.strip("_").isupper() or target.id.startswith("__")
                    assert constant and target.id not in changed, f"line {statement.lineno}: {target.id} is mutable"


def _is_mutable(value: ast.expr) -> bool:
    if isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)):
        return True
    if not isinstance(value, ast.Call):
        return False
    made = ast.unparse(value.func).split(".")[-1]
    return made in {"list", "dict", "set", "deque", "defaultdict", "OrderedDict", "WeakValueDictionary", "make_lock",
                    "WeakKeyDictionary", "Lock", "RLock", "Event", "Condition", "count", "bytearray"}  # fmt: skip


def _names_changed(tree: ast.AST) -> Iterator[str]:
    """Names at which something is put, taken or deleted: ``x[k] = v``, ``x.append(v)``..."""
    mutators = {
        "append",
        "add",
        "update",
        "pop",
        "popitem",
        "setdefault",
        "clear",
        "extend",
        "insert",
        "remove",
        "discard",
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name):
            yield node.value.id
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in mutators
            and isinstance(node.func.value, ast.Name)
        ):
            yield node.func.value.id


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_stay_readable(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400
    assert not [number for number, line in enumerate(lines, 1) if len(line) > 140]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_swallowed_or_left_to_do(path: Path) -> None:
    """No bare ``except:``, no ``except Exception: pass``, no TODO, no print outside the command line."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: bare except"
            broad = ast.unparse(node.type) in ("Exception", "BaseException")
            assert not (broad and all(isinstance(s, ast.Pass) for s in node.body)), f"line {node.lineno}: swallowed"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            assert within(name_of(path), ("__main__", "client_files", "demo")), f"line {node.lineno}: print"


def test_importing_the_package_starts_nothing_and_needs_no_gevent() -> None:
    """No thread at import, and neither gevent nor a web framework comes along."""
    code = (
        "import sys, threading, wsgi_sio, wsgi_sio.engineio, wsgi_sio.runtime; "
        "print(threading.active_count(), sorted({'gevent', 'flask', 'django', 'redis', 'psycopg'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split(maxsplit=1) == ["1", "[]\n"]


# The hosts and paths are written in pieces, so that this file passes its own test.
FORBIDDEN = {
    "a package registry's host": re.compile(
        r"pypi\.(?:python\.)?org|pythonhosted\.org|registry\.npm(?:js)?\.\w+|npmjs\.(?:org|com)|proxy\.golang\.org"
    ),
    "a path of one machine": re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/|(?<![\w.])/tmp/(?!\W|$)"),
}


def test_no_file_names_a_registry_or_a_machine() -> None:
    """Neither a package registry's host nor a machine's path stands in any tracked file."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    require(listed.returncode == 0, "a git checkout")
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path == Path(__file__).resolve() or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # an image
        for what, pattern in FORBIDDEN.items():
            found += [f"{name}: {what}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []


def test_the_rules_know_every_part() -> None:
    """A new folder or top-level module has to be given its place above."""
    parts = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in MODULES}
    assert parts <= set(ALLOWED) | set(TOP)
