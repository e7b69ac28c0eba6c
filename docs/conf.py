"""How Sphinx builds these pages: ``sphinx-build -W -b html docs docs/_build``."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import wsgi_sio
import wsgi_sio.client
import wsgi_sio.django.apps
import wsgi_sio.flask
import wsgi_sio.gunicorn
import wsgi_sio.testing.plugin

project = "wsgi_sio"
copyright = "the authors of wsgi_sio"
release = version = wsgi_sio.__version__

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
default_role = "literal"

html_theme = "furo"
html_title = f"wsgi_sio {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}


def import_for_types(module: ModuleType) -> None:
    """Do what ``module`` does for the type checker only, so that its annotations can be resolved."""
    for block in ast.parse(inspect.getsource(module)).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for statement in block.body:
                try:
                    exec(compile(ast.Module([statement], []), module.__name__, "exec"), vars(module))
                except ModuleNotFoundError:  # _typeshed, which exists for type checkers alone
                    vars(module).update({name.name: TypeVar(name.name) for name in getattr(statement, "names", [])})


for name, module in list(sys.modules.items()):
    if name.partition(".")[0] == "wsgi_sio":
        import_for_types(module)
