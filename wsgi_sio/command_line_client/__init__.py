"""``python -m wsgi_sio connect``: a client for the command line, for people who debug a server.

Reading order: ``arguments`` (of the command, and its exit status), ``console`` (what is done), ``input_syntax`` (what
can be typed), ``screen`` (how things are printed), ``ctrl_c`` (it ends at any moment), ``connect_error_hints`` (what
may be wrong when there is no connection).
"""

from .arguments import add_arguments, run

__all__ = ["add_arguments", "run"]
