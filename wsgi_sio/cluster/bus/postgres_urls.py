"""URLs of Postgres, and names there; without psycopg, which may not be installed, or has to be imported later."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

# How long a server may take to answer, or to take a connection (seconds).
TIMEOUT: Final = 5.0
# How many bytes the name of a channel may have, and what is written in a notification (the server's own limits).
MAX_NAME: Final = 63
MAX_NOTIFICATION: Final = 7999

SCHEMES: Final = ("postgresql", "postgres")

_PART = r'(?:[A-Za-z_][A-Za-z0-9_$]*|"[^"\0]+")'
_TABLE = re.compile(rf"{_PART}(?:\.{_PART})?")


def check_url(url: str) -> str:
    """``url`` itself, if it can be understood.

    :raises ValueError: its scheme is none of ours.
    :raises ImportError: psycopg is missing.
    """
    scheme = urlsplit(url).scheme.lower() if isinstance(url, str) else ""
    if scheme not in SCHEMES:
        raise ValueError(f"no bus for the scheme {scheme!r}; there are {', '.join(SCHEMES)}")
    if find_spec("psycopg") is None:
        raise ImportError("Postgres needs the package psycopg: pip install 'wsgi-sio[postgres]'")
    return url


def check_table(name: str) -> str:
    """``name`` itself, if it is a table's as SQL has it: plain or in double quotes, a schema and a dot before it.

    :raises ValueError: it is none.
    """
    if not isinstance(name, str) or not _TABLE.fullmatch(name):
        raise ValueError(f"table_name is the name of a table, as SQL has it, not {name!r}")
    return name


def shown(url: str) -> str:
    """``url`` as the log may show it: without passwords."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def quoted(name: str) -> str:
    """A name as it stands in a statement."""
    return '"' + name.replace('"', '""') + '"'
