"""What the modules that mypyc may compile tell it (setup.cfg has their list), and whether it has."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:

    def mypyc_attr(**_options: Any) -> Any:
        """Means something to the compiler only, which knows it by its name."""
        return lambda kind: kind


__all__ = ["is_compiled", "mypyc_attr"]


def is_compiled() -> bool:
    """Whether this installation's hot modules have been compiled."""
    spec = find_spec("wsgi_sio.websocket.frames")
    return spec is not None and not str(spec.origin).endswith(".py")
