"""The tables of the README and of the documentation are those that ``python -m benchmarks --readme`` makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import pages
from benchmarks.__main__ import main, write_pages
from benchmarks.client import KINDS as CLIENTS
from benchmarks.pages import PAGE, README, read, sections, write
from benchmarks.report import CLIENT_LINES, LINES, SCALE_LINES, Results
from benchmarks.scenarios import SCENARIOS, Sample
from benchmarks.servers import with_compiled
from benchmarks.tables import Table, parse_rst
from tests.support.world import one_world

KINDS = with_compiled(Path("python"))
TITLES = {kind.name: kind.title for kind in KINDS} | {kind.name: kind.title for kind in CLIENTS}
FACTS = {"machine": "a machine", "interpreter": "CPython", "build": "wsgi_sio", "versions": "wsgi_sio 1", "run": "one"}
SECTIONS = ("figures", "ratios", "client", "scale")

pytestmark = one_world


def run_of(servers: list[str], scenarios: list[str]) -> Results:
    """As if all of them had been measured."""
    samples = [
        Sample(scenario, server, number, count=10, seconds=1.0, cpu=1.5e-5 * (number + 1), memory=5000.0)
        for scenario in scenarios
        for server in servers
        if scenario.startswith("client") == server.startswith("client")
        for number in range(2)
    ]
    return Results(TITLES, samples)


def made() -> dict[str, str]:
    return sections(run_of(list(TITLES), [scenario.name for scenario in SCENARIOS]), FACTS)


def table_of(section: str) -> tuple[list[str], list[list[str]]]:
    return parse_rst(section[section.index("===") :])


@pytest.mark.parametrize(
    ("name", "path"), [("figures", README), ("ratios", README), *((name, PAGE) for name in SECTIONS)]
)
def test_a_table_on_a_page_has_the_rows_and_columns_that_the_tool_makes(name: str, path: Path) -> None:
    """Of the columns those that were measured, in their order; nothing is said about figures."""
    heads, rows = table_of(read(name, path))
    all_heads, all_rows = table_of(made()[name])
    assert heads == [head for head in all_heads if head in heads]
    assert [row[0] for row in rows] == [row[0] for row in all_rows]
    if name in ("figures", "ratios"):
        assert heads[1].startswith("wsgi_sio")
    assert len(heads) > 2 and {len(row) for row in rows} == {len(heads)}


@pytest.mark.parametrize(
    ("name", "path"), [("figures", README), *((name, PAGE) for name in SECTIONS if name != "ratios")]
)
def test_the_machine_and_the_build_are_told_above_the_figures(name: str, path: Path) -> None:
    told = read(name, path).partition("\n\n")[0]
    assert "core" in told and "Python" in told


def test_a_run_replaces_what_it_has_measured_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.rst"
    for path in (README, PAGE):
        page.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        replaced = write(made(), page)
        assert replaced == [name for name in SECTIONS if read(name, path)]
        for name in replaced:
            assert read(name, page) == made()[name]
        assert write({name: read(name, path) for name in replaced}, page) == replaced
        assert page.read_text(encoding="utf-8") == path.read_text(encoding="utf-8")


def test_only_tables_that_are_complete_are_made() -> None:
    names = {line.scenario for line in LINES}
    assert list(sections(run_of(list(TITLES), sorted(names)), FACTS)) == ["figures", "ratios"]
    assert sections(run_of(list(TITLES), sorted(names - {"json"})), FACTS) == {}
    assert sections(run_of(["ours-gevent"], sorted(names)), FACTS) == {}, "nobody to compare with"
    assert list(sections(run_of(list(TITLES), [line.scenario for line in CLIENT_LINES]), FACTS)) == ["client"]
    assert list(sections(run_of(list(TITLES), [SCALE_LINES[0].scenario]), FACTS)) == ["scale"]


def test_a_run_in_which_something_went_wrong_changes_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("README", "PAGE"):
        path = tmp_path / name
        path.write_text(getattr(pages, name).read_text(encoding="utf-8"), encoding="utf-8")
        monkeypatch.setattr(pages, name, path)
    before = [path.read_text(encoding="utf-8") for path in (pages.README, pages.PAGE)]
    results = run_of(list(TITLES), [scenario.name for scenario in SCENARIOS])
    assert not write_pages(results, FACTS, failed=True)
    assert [path.read_text(encoding="utf-8") for path in (pages.README, pages.PAGE)] == before
    assert write_pages(results, FACTS, failed=False)
    assert [path.read_text(encoding="utf-8") for path in (pages.README, pages.PAGE)] != before


def test_a_first_impression_is_not_for_the_readme() -> None:
    with pytest.raises(SystemExit, match="first impression"):
        main(["--quick", "--readme"])


def test_a_table_can_be_read_back() -> None:
    table = Table("Title", ["", "one of two", "x"], [["a row", "1.0 (0.9–1.1)", "–"], ["b", "–", "1,000"]])
    assert table.rst().splitlines() == [
        "=====  =============  =====",
        "\\      one            x",
        "       of",
        "       two",
        "=====  =============  =====",
        "a row  1.0 (0.9–1.1)  –",
        "b      –              1,000",
        "=====  =============  =====",
    ]
    assert parse_rst(table.rst()) == (table.heads, table.rows)
