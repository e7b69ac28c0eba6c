"""The picture of the house in ``docs/how_it_works.rst``, drawn from the imports: ``python -m tests.docs.house``.

Each folder of the package stands on the diagonal, above all that it imports. An arrow leaves it to the right, turns
down at a dot, and ends in the folder that is imported: so every arrow goes down.
"""

from __future__ import annotations

from functools import cache
from xml.sax.saxutils import escape

from tests.docs.pages import DOCS
from tests.test_architecture import MODULES, PACKAGE, TOP, imports, own_modules

PICTURE = DOCS / "_static" / "house.svg"

# What each folder is, for who sees it for the first time.
WHAT = {
    "adapters": "the public names of what cluster/ and socketio/ have",
    "client": "the Python client",
    "cluster": "several processes that are one server",
    "command_line_client": "python -m wsgi_sio connect",
    "demo": "the chat that python -m wsgi_sio serves",
    "django": "an app for INSTALLED_APPS",
    "engineio": "sessions over the transports",
    "flask": "Flask-SocketIO's names and contract",
    "migrate": "finds what code uses of the peers",
    "runtime": "threads or greenlets, locks, timers",
    "siblings": "the processes of one listening socket",
    "socketio": "namespaces, sockets, rooms, handlers",
    "testing": "for the tests of applications",
    "websocket": "RFC 6455 without I/O",
    "webtransport": "QUIC and HTTP/3, without sessions",
}

_ROW, _STEP, _LEFT, _WIDTH, _HEIGHT = 46, 40, 310, 190, 34


def folders() -> dict[str, list[str]]:
    """The folders of the package, each with those inside it."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_dir() and path.name != "__pycache__":
            top, *inner = path.relative_to(PACKAGE).parts
            found.setdefault(top, []).extend(["/".join(inner)] if inner else [])
    return found


@cache
def arrows() -> set[tuple[str, str]]:
    """Which folder imports from which, by types too; what is inside one is no matter of the others."""
    known, modules = folders(), own_modules()
    found = set()
    for path in MODULES:
        folder, *rest = path.relative_to(PACKAGE).parts
        for imported in imports(path, for_types=True) if rest else ():
            package, _, name = imported.partition(".")
            target = name.partition(".")[0]
            if package == "wsgi_sio" and target in known and target in modules and target != folder:
                found.add((folder, target))
    return found


def floors() -> list[str]:
    """The folders from the top of the house to the bottom: none stands above what imports it.

    :raises ValueError: some import each other in a circle.
    """
    left, lines = set(folders()), arrows()
    found: list[str] = []
    while left:
        on_top = sorted(name for name in left if not any(target == name and a in left for a, target in lines))
        if not on_top:
            raise ValueError(f"a circle: {sorted(left)}")
        # What people touch comes first, and who imports the most, so that arrows are short further down.
        on_top.sort(key=lambda name: (name not in TOP, -sum(a == name for a, _ in lines)))
        left.discard(on_top[0])
        found.append(on_top[0])
    return found


def draw() -> str:
    """The picture, as SVG."""
    order, inner, lines = floors(), folders(), arrows()
    right = {name: _LEFT + _WIDTH + _STEP * number for number, name in enumerate(order)}  # of its box
    middle = {name: 10 + _ROW * number + _HEIGHT // 2 for number, name in enumerate(order)}
    width, height = max(right.values()) + 10, max(middle.values()) + _HEIGHT // 2 + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="13">',
        "<title>The folders of wsgi_sio, and which imports from which</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#456"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, name in enumerate(order):
        if number % 2:
            parts.append(f'<rect y="{middle[name] - _ROW // 2}" width="{width}" height="{_ROW}" fill="#f5f7f9"/>')
    for name, target in sorted(lines, key=lambda line: (order.index(line[0]), order.index(line[1]))):
        x, y = right[target] - _STEP // 2, middle[name]
        parts.append(
            f'<g stroke="#456" fill="none"><path d="M{right[name]} {y}H{x}V{middle[target] - _HEIGHT // 2}"'
            f' marker-end="url(#tip)"/><circle cx="{x}" cy="{y}" r="2.5" fill="#456"/>'
            f"<title>{name} imports from {target}</title></g>"
        )
    for name in order:
        x, y = right[name] - _WIDTH, middle[name]
        within = f' <tspan font-size="11" fill="#567">{", ".join(inner[name])}</tspan>' if inner[name] else ""
        parts += [
            f'<text x="8" y="{y + 4}" fill="#567">{escape(WHAT[name])}</text>',
            f'<rect x="{x}" y="{y - _HEIGHT // 2}" width="{_WIDTH}" height="{_HEIGHT}" rx="4" fill="#e3edf7"'
            ' stroke="#456"/>',
            f'<text x="{x + 8}" y="{y + 4}" fill="#123"><tspan font-weight="bold">{name}</tspan>{within}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
