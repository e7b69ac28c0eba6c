"""Compiles the hot modules when WSGI_SIO_COMPILE=1 asks for it; all the rest is in setup.cfg.

A plain install stays pure Python: only a build that is asked to compile needs mypy, a C compiler and Python's headers.
"""

import os
from configparser import ConfigParser

from setuptools import Distribution, setup
from setuptools.command.build_ext import build_ext

COMPILE = os.environ.get("WSGI_SIO_COMPILE") == "1"

# What the modules import is not there when they are built, so it is taken as it comes; `mypy` looks at it elsewhere.
MYPY_OPTIONS = ["--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]


class Compiled(Distribution):
    """A wheel for one Python and one machine."""

    def has_ext_modules(self) -> bool:
        return True


class Mypyc(build_ext):
    """Translates the modules to C first; not before it is their turn, for pip asks this file about other things too."""

    def run(self) -> None:
        from mypyc.build import mypycify  # it is there only where a build asks for it

        self.distribution.ext_modules = mypycify([*MYPY_OPTIONS, *named("modules")], group_name="wsgi_sio")
        self.swig_opts = None  # as before the first time
        self.finalize_options()  # anew, now that there is something to build
        super().run()


def named(key: str) -> list[str]:
    """The lines that setup.cfg has under the key."""
    config = ConfigParser()
    config.read("setup.cfg", encoding="utf-8")
    return [line for line in config["wsgi_sio:compiled"][key].splitlines() if line]


if COMPILE:
    setup(distclass=Compiled, cmdclass={"build_ext": Mypyc}, setup_requires=named("requires"))
else:
    setup()
