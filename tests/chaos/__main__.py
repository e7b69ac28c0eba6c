"""``python -m tests.chaos``: see the package's text."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
from collections.abc import Sequence

import pytest

from tests.chaos.disturbances import NAMES
from tests.chaos.run import Run
from tests.chaos.setting import Setting
from tests.support.node import JS
from tests.support.npm import install

_LOG_TAIL = 60  # lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 when a promise was broken."""
    setting = read_setting(arguments)
    try:
        install(JS)
    except pytest.skip.Exception as reason:
        sys.exit(f"npm's clients are missing: {reason}")
    return report(perform(setting))


def perform(setting: Setting) -> Run:
    """One whole run."""
    print(f"{setting.clients} clients of gunicorn -k {setting.server}, seed {setting.seed}", flush=True)
    run = Run(setting, lambda text: print(text, flush=True))
    asyncio.run(run.perform())
    return run


def report(run: Run) -> int:
    """Print what came of it; 0 when everything held."""
    print("", *run.details(), sep="\n")
    if run.clean:
        print("everything held")
        return 0
    kinds = ", ".join(f"{promise} {count}" for promise, count in run.ledger.violations.most_common())
    print(
        f"\nBROKEN: {kinds or 'no promise of the ledger'}; {len(run.problems)} other problems", *run.problems, sep="\n"
    )
    print("\nthe first violations:", *run.ledger.examples, sep="\n")
    print("\nthe end of the server's log:", *run.log.splitlines()[-_LOG_TAIL:], sep="\n")
    print(f"\nrepeat it with: {repeat(run.setting)}", flush=True)
    return 1


def read_setting(arguments: Sequence[str] | None) -> Setting:
    """The command line; exits when it makes no sense."""
    default = Setting()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Disturb hundreds of clients.")
    parser.add_argument("--minutes", type=float, default=default.minutes, help="of disturbance (default: %(default)s)")
    parser.add_argument("--server", choices=("gevent", "gthread"), default=default.server, help="gunicorn's worker")
    parser.add_argument("--clients", type=int, default=default.clients, help="default: %(default)s")
    parser.add_argument("--rate", type=float, default=default.rate, help="events a second of each (%(default)s)")
    parser.add_argument("--seed", type=int, help="of clients and disturbances (default: any)")
    parser.add_argument("--without", metavar="A,B", default="", help=f"leave out some of {', '.join(NAMES)}")
    options = parser.parse_args(arguments)
    without = tuple(filter(None, options.without.split(",")))
    unknown = sorted(set(without) - set(NAMES))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if not options.minutes > 0 or options.clients < 2:
        parser.error("it takes some time, and two clients at least")
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    return Setting(options.minutes, options.server, options.clients, seed, without, options.rate)


def repeat(setting: Setting) -> str:
    """The command that runs the same again."""
    parts = [
        f"python -m tests.chaos --minutes {setting.minutes:g} --server {setting.server} --clients {setting.clients}",
        f"--rate {setting.rate:g} --seed {setting.seed}",
        *([f"--without {','.join(setting.without)}"] if setting.without else []),
    ]
    return " ".join(parts)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started ends with us
    sys.exit(main())
