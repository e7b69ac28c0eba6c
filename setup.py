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
    """Translates the modules to C first; not before it is their turn, since pip runs this file several times."""

    def finalize_options(self) -> None:
        from mypyc.build import mypycify  # it is there only where a build asks for it

        config = ConfigParser()
        config.read("setup.cfg", encoding="utf-8")
        modules = config["wsgi_sio:compiled"]["modules"].split()
        self.distribution.ext_modules = mypycify([*MYPY_OPTIONS, *modules], group_name="wsgi_sio")
        super().finalize_options()


if COMPILE:
    requires = ConfigParser()
    requires.read("setup.cfg", encoding="utf-8")
    setup(
        distclass=Compiled,
        cmdclass={"build_ext": Mypyc},
        setup_requires=requires["wsgi_sio:compiled"]["requires"].split("\n")[1:],
    )
else:
    setup()
