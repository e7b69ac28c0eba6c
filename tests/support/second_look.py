"""A second look at the few tests that fail in a long run: again, by themselves, in a process of their own.

Thousands of tests with real clients and servers share two cores for half an hour.  A test that fails there and passes
by itself says that something is too slow, or depends on what ran before: a defect, which the summary names, but no
reason to run all the others again.  What fails twice has failed, and so has everything when there is much of it.
"""

from __future__ import annotations

import pytest

AGAIN = "failed at first"  # instead of "failed", as the outcome of a report


class SecondLook:
    """Which tests have failed once, and what they have told."""

    def __init__(self, most: int) -> None:
        """Have a look at up to ``most`` tests."""
        self._most = most
        self._reports: dict[str, list[pytest.TestReport]] = {}

    def keep(self, report: pytest.TestReport) -> None:
        """Make what has failed a reason to look again."""
        if report.failed and self._most:
            self._reports.setdefault(report.nodeid, []).append(report)
            report.outcome = AGAIN  # type: ignore[assignment]

    def close(self) -> set[str]:
        """From now on what fails has failed.

        :return: the tests that are to be looked at again; none if they are too many, which are failures at once.
        """
        tests = set(self._reports)
        if len(tests) > self._most:
            for report in self._kept:
                report.outcome = "failed"
            tests = set()
        self._most = 0
        return tests

    @property
    def failures(self) -> list[pytest.TestReport]:
        """What has failed for good without a second look."""
        return [report for report in self._kept if report.failed]

    @property
    def _kept(self) -> list[pytest.TestReport]:
        return [report for reports in self._reports.values() for report in reports]

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        return (AGAIN, "A", "AGAIN") if report.outcome == AGAIN else None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        kept = [report for report in self._kept if not report.failed]
        if kept:
            terminalreporter.section("failed at first, and were run again by themselves", sep="=", yellow=True)
        for report in kept:
            terminalreporter.section(f"{report.nodeid} ({report.when})", sep="_", yellow=True)
            terminalreporter.line(report.longreprtext)
