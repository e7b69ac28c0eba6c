"""The reference: every public name is in it, and nothing that is not there."""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import resolve_name

import pytest

from tests.docs.pages import DOCS

DOCUMENTED = re.findall(
    r"^\.\. (?:auto(?:class|exception|function|method)|data):: (\S+)$",
    "\n".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "api").glob("*.rst"))),
    re.MULTILINE,
)
PACKAGES = ("wsgi_sio", "wsgi_sio.flask", "wsgi_sio.django", "wsgi_sio.client", "wsgi_sio.testing", "wsgi_sio.adapters")
# Not classes: a description of types, and the object that a project's settings make.
ALIASES = {"wsgi_sio.adapters.Room", "wsgi_sio.django.io"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_reference(package: str) -> None:
    documented = {id(resolve_name(name)) for name in DOCUMENTED}
    public = {f"{package}.{name}" for name in import_module(package).__all__} - ALIASES
    assert [name for name in sorted(public) if id(resolve_name(name)) not in documented] == []
