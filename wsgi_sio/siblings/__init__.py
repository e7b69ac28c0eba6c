"""The processes that accept connections from the same listening sockets, and how they find and talk to each other.

Several workers serve one address, and the kernel gives each connection to whichever is quickest.  So each process joins
its siblings: in a private directory (socket_directory.py) it listens on a Unix socket whose file is named by its
**tag**, four characters, and dials all that it finds there.  Who is dialled dials back.  A **link** is such a
connection; each two siblings have two, one in each direction: what one wants of the other goes out on the link that it
has dialled, in order, and answers come back on that.

A frame on a link may carry a descriptor: a client's connection that belongs to the other process from then on.  Whoever
has placed one is told if it never left, and still has it then; once the kernel has it, it is the sibling's, for better
or worse, and nothing is ever sent twice.

Nobody waits for a sibling.  Links are read by the reactor, written by whoever has something to say and finds nobody
writing; what a sibling does not take waits in an outbox, and one over its bound is cut off.  There are no heartbeats: a
process that dies, by whatever signal, has its sockets closed by the kernel, and that is told at once.  A file whose
process has died refuses, and is removed by whoever notices.

All belongs to the process that has joined: a forked child closes what it has inherited without a word.  What comes from
a link is checked as if a stranger had sent it, and a link that does not keep to the format is broken, and told once.
"""

from __future__ import annotations

from .descriptor_passing import Returned, close_all
from .frames import MAX_FRAME, FrameTooLarge, encode, is_tag
from .link import Link
from .server_identity import Alone, ServerIdentity, before_serving, gunicorn_worker, identify_server
from .siblings import Handler, Siblings
from .socket_directory import NoDirectory, make_directory

__all__ = [
    "MAX_FRAME",
    "Alone",
    "FrameTooLarge",
    "Handler",
    "Link",
    "NoDirectory",
    "Returned",
    "ServerIdentity",
    "Siblings",
    "before_serving",
    "close_all",
    "encode",
    "gunicorn_worker",
    "identify_server",
    "is_tag",
    "make_directory",
]
