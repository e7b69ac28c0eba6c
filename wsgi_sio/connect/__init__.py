"""``python -m wsgi_sio connect``: a client for the command line, for people who debug a server.

Reading order: ``command`` (arguments and exit status), ``session`` (what is done), ``language`` (what can be typed),
``screen`` (how things are printed), ``interrupts`` (Ctrl-C ends it), ``hints`` (what may be wrong when there is no
connection).
"""

from .command import add_arguments, run

__all__ = ["add_arguments", "run"]
