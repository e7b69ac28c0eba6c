"""The recipes of ``docs/balancers.rst``: each session stays on its host, both have a share, one may die."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.live.balancers import FOLDER, RECIPES, Hosts, Recipe, balanced, clients, replaced
from tests.live.peers import eventually
from tests.live.several import crowd, exchange, fetch_at
from tests.support.scenario import assert_clean
from tests.support.world import WORLD, one_world

slow = pytest.mark.slow
NGINX, HAPROXY = RECIPES[0], RECIPES[3]
# Each recipe in one world, for balancers do not care what worker class is behind them; nginx and HAProxy are in both.
HERE = RECIPES[WORLD == "gevent" :: 2]
POLLING = "/socket.io/?EIO=4&transport=polling"
TRANSPORTS = (["polling"], ["websocket"], ["polling", "websocket"])


@pytest.fixture(
    scope="module",
    params=[HERE[0], *(pytest.param(each, marks=slow) for each in HERE[1:])],
    ids=lambda recipe: recipe.file,
)
def hosts(request: pytest.FixtureRequest) -> Iterator[Hosts]:
    """Of these nobody dies."""
    with balanced(request.param) as running:
        yield running


def test_the_page_shows_what_is_tested_here() -> None:
    page = (FOLDER.parent / "balancers.rst").read_text(encoding="utf-8")
    shown = re.findall(r"^\.\. literalinclude:: balancers/(\S+)$", page, re.MULTILINE)
    assert sorted(shown) == sorted(recipe.file for recipe in RECIPES) == sorted(path.name for path in FOLDER.iterdir())


def test_sessions_stay_on_their_host(hosts: Hosts) -> None:
    """Of raw clients, each of whose requests is a connection of its own; none is ever refused."""
    report = exchange(hosts.plan(24, 2.0))
    pids = {int(pid) for pid in report["pids"]}
    assert all(hosts.pids(name) & pids for name in "ab"), (pids, hosts.pids("a"), hosts.pids("b"))
    for server in hosts.servers.values():
        assert not server.warnings()
        assert_clean(server)


@slow
def test_many_sessions(hosts: Hosts) -> None:
    """And both hosts have a share of them that is worth the name."""
    report = exchange(hosts.plan(150, 8.0, period=1.0, arrive=4.0))
    shares = [
        sum(
            count
            for tag, count in report["tags"].items()
            if tag in {report["pids"].get(str(p)) for p in hosts.pids(name)}
        )
        for name in "ab"
    ]
    assert sum(shares) == 150 and min(shares) >= 30, shares


@slow
@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
@pytest.mark.parametrize("kind", ["python", "javascript"])
def test_real_clients(hosts: Hosts, kind: str, transports: list[str]) -> None:
    """Ours and npm's: connected at the first attempt, never disconnected, on both hosts."""
    with clients(kind, hosts.url, 16, transports) as running:
        begun = {number: seen["pid"] for number, seen in enumerate(running.seen)}
        seen = eventually(running.now, lambda seen: min(each["answers"] for each in seen) >= 20)
    assert [each["troubles"] for each in seen] == [[]] * 16
    assert {number: each["pid"] for number, each in enumerate(seen)} == begun
    assert all(hosts.pids(name) & set(begun.values()) for name in "ab"), begun


def test_the_tests_notice_when_nothing_is_sticky() -> None:
    """The same without the line that matters: half of the requests come to a host that knows nothing of them."""
    with balanced(NGINX, lambda text: replaced(r"\n    hash \$chat_key consistent;", "", text)) as running:
        answers = []
        for _ in range(10):
            sid = json.loads(fetch_at(running.port, POLLING)[1:])["sid"]
            answers.append(fetch_at(running.port, f"{POLLING}&sid={sid}", b"40"))
        assert any(b"Session ID unknown" in answer for answer in answers), answers
        report = exchange(running.plan(6, 1.5, modes=("websocket",)))  # one request each, which needs none of it
        assert not report["lost"]


@one_world
@slow
def test_a_line_of_haproxys_table_lasts_as_long_as_its_session() -> None:
    """Each request keeps it; without that, those below would be led to the wrong host after three seconds."""
    with balanced(HAPROXY, lambda text: replaced("expire 2m", "expire 3s", text)) as running:
        exchange(running.plan(12, 12.0, period=1.0, modes=("polling",)))


@slow
@pytest.mark.parametrize("recipe", HERE, ids=lambda recipe: recipe.file)
def test_a_host_dies(recipe: Recipe) -> None:
    """Its clients, and nobody else's, reconnect, to the other one; without any that cannot."""
    with balanced(recipe) as running, crowd(running.plan(18, 4.0)) as members:
        dead = running.pids("a")
        tags = {tag for pid, tag in members.joined["pids"].items() if int(pid) in dead}
        assert tags and set(members.joined["tags"]) - tags  # both have some
        running.kill("a")
        report = members.report()
        assert not report["wrongs"], report["wrong"]
        assert {tag for _, tag, _, _ in report["lost"] if tag} <= tags, report["lost"]
        assert not set(report["tags"]) & tags
        assert sum(report["tags"].values()) == 18
        assert_clean(running.servers["b"])


@slow
@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize("kind", ["python", "javascript"])
@pytest.mark.parametrize("recipe", HERE, ids=lambda recipe: recipe.file)
def test_a_host_dies_and_comes_back(recipe: Recipe, kind: str) -> None:
    """Real clients of all transports; who was on the other host notices neither."""
    with (
        balanced(recipe) as running,
        clients(kind, running.url, 14, ["polling"]) as polling,
        clients(kind, running.url, 14, ["polling", "websocket"]) as upgraded,
    ):
        moved = {group: group.of(running.pids("a")) for group in (polling, upgraded)}
        assert all(moved.values()), "the host that dies had nobody"
        running.kill("a")
        for group in moved:
            eventually(group.now, lambda seen: all(each["pid"] in running.pids("b") for each in seen))
        running.restart("a")
        # In Node.js, unlike browsers, npm's client begins each connection without a cookie: it may be led anywhere.
        keyed = kind == "python" or "cookies" not in recipe.plan
        if recipe.returns and keyed:
            eventually(polling.now, lambda _: polling.of(running.pids("a")) == moved[polling])
        for group, numbers in moved.items():
            group.all_get_answers()
            assert {number for number, each in enumerate(group.seen) if each["troubles"]} == numbers
            if recipe.returns and group is polling:
                assert group.of(running.pids("a")) <= numbers
            else:
                assert not group.of(running.pids("a"))
