"""Finds what a module uses of the old packages: names are followed from imports to attributes and to instances."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .advice import CLASSES, FLASK_NAMES, PACKAGES, PRIVATE, WORKERS, advice_for, option_advice
from .imports import NEW, OLD, Edit, Lines, edit_from, edit_import


@dataclass(frozen=True)
class Use:
    """One use.

    :ivar what: how it stands there, in short.
    :ivar becomes: what to make of it.
    :ivar edit: what makes it so, where that is all there is to do.
    """

    line: int
    what: str
    becomes: str
    edit: Edit | None = None


def instances(trees: Iterable[ast.Module]) -> dict[str, str]:
    """The names that modules give to what they make of the old packages' classes: ``{"sio": "socketio.Server()"}``.

    Other modules import it by that name.
    """
    found: dict[str, str] = {}
    for tree in trees:
        found.update(_Names(tree, {}).instances)
    return found


def _package(module: str) -> str:
    return module.partition(".")[0]


def _old_name(module: str) -> str:
    """What has been migrated already is looked at as well: its options may not be what they were."""
    return OLD if module == NEW else module


class _Names:
    """What the names of a module stand for, as dotted names of the old packages.

    :param shared: instances of other modules, by name.
    :ivar instances: those that it makes itself.
    """

    def __init__(self, tree: ast.Module, shared: Mapping[str, str]) -> None:
        self._imported: dict[str, str] = {}
        self.instances: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._import(alias)
            elif isinstance(node, ast.ImportFrom):
                module = "" if node.level else _old_name(node.module or "")
                for alias in node.names:
                    peer = f"{module}.{alias.name}" if _package(module) in PACKAGES else None
                    if origin := peer or shared.get(alias.name):
                        self._imported[alias.asname or alias.name] = origin
        for node in ast.walk(tree):
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
                made = self.resolve(node.value.func)
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if made in CLASSES:
                        self.instances[ast.unparse(target)] = f"{made}()"

    def _import(self, alias: ast.alias) -> None:
        name = _old_name(alias.name)
        if _package(name) in PACKAGES:
            origin = name if alias.asname else _package(name)
            self._imported[alias.asname or origin] = origin

    def resolve(self, node: ast.expr) -> str | None:
        """The dotted name that an expression stands for, if it is of the old packages."""
        if isinstance(node, ast.Name):
            return self.instances.get(node.id) or self._imported.get(node.id)
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and (made := self.instances.get(f"{node.value.id}.{node.attr}")):
                return made  # self.sio
            base = self.resolve(node.value)
            return None if base is None else f"{base}.{node.attr}"
        return None


class Finder(ast.NodeVisitor):
    """Collects the uses of one module.

    :param shared: what :func:`instances` has found in all modules.
    """

    def __init__(self, source: str, tree: ast.Module, shared: Mapping[str, str]) -> None:
        self._source = source
        self._lines = Lines(source)
        self._names = _Names(tree, shared)
        self._uses: list[Use] = []
        attributes = [self._names.resolve(node) or "" for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        used = {name.split(".")[1].removesuffix("()") for name in attributes if name.startswith(f"{OLD}.")}
        self._replaceable = used <= FLASK_NAMES  # wsgi_sio.flask can stand for the whole package
        self.visit(tree)

    @property
    def uses(self) -> tuple[Use, ...]:
        """In the order of their lines."""
        return tuple(sorted(self._uses, key=lambda use: use.line))

    def _found(self, node: ast.expr | ast.stmt | ast.alias | ast.keyword, what: str, becomes: str | None) -> None:
        if becomes is not None:
            self._uses.append(Use(node.lineno, what, becomes))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if _package(alias.name) not in PACKAGES:
                continue
            edit = edit_import(alias, self._source, self._lines) if self._replaceable else None
            what = f"import {ast.unparse(alias)}"
            if edit is not None:
                self._uses.append(Use(alias.lineno, what, f"import {NEW} as {alias.asname or OLD}", edit))
            else:
                self._found(alias, what, advice_for(alias.name))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level or _package(module) not in PACKAGES:
            return
        edit = edit_from(node, self._source, self._lines)
        if edit is not None:
            names = ", ".join(map(ast.unparse, node.names))
            self._uses.append(Use(node.lineno, f"from {module} import {names}", f"from {NEW} import {names}", edit))
            return
        for alias in node.names:
            what = f"from {module} import {ast.unparse(alias)}"
            if _package(module) == OLD and alias.name in FLASK_NAMES:
                becomes: str | None = f"from {NEW} import {ast.unparse(alias)}, without the others"
            else:
                becomes = advice_for(f"{module}.{alias.name}")
            self._found(node, what, becomes)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self._names.resolve(node)
        text = ast.unparse(node)
        private = PRIVATE.get((node.value.attr, node.attr)) if isinstance(node.value, ast.Attribute) else None
        if name is not None:
            plain = name.startswith(f"{OLD}.") and name.split(".")[1] in FLASK_NAMES
            self._found(node, text, None if plain else advice_for(name))
        elif private and "socketio" in text:
            self._found(node, text, private)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        call = self._names.resolve(node.func) or ""
        for keyword in node.keywords:
            if keyword.arg is not None:  # else **options
                self._found(keyword, f"{keyword.arg}={ast.unparse(keyword.value)}", option_advice(call, keyword.arg))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """What a ``gunicorn.conf.py`` sets."""
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id == "worker_class" and isinstance(node.value, ast.Constant):
            self._found(node, ast.unparse(node), WORKERS.get(str(node.value.value)))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Names in strings, such as those that mock.patch takes."""
        if isinstance(node.value, str) and re.fullmatch(rf"{OLD}(?:\.\w+)*", node.value):
            self._found(node, repr(node.value), repr(node.value.replace(OLD, NEW, 1)))
