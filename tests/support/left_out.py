"""At the end of a run: which tests were left out for want of what a machine may lack, and why."""

from collections import defaultdict

import pytest


def _reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line per reason, with how many tests it cost and where they are."""
    reports = terminalreporter.stats
    skipped = [r for r in reports.get("skipped", []) if "interop" in getattr(r, "keywords", {})]
    ran = [
        r
        for outcome in ("passed", "failed")
        for r in reports.get(outcome, [])
        if "interop" in getattr(r, "keywords", {})
    ]
    if not skipped and not ran:
        return
    terminalreporter.section("tests with what a machine may lack")
    terminalreporter.write_line(f"{len(ran)} ran, {len(skipped)} left out")
    by_reason: dict[str, list[str]] = defaultdict(list)
    for report in skipped:
        by_reason[_reason(report)].append(report.nodeid.split("::")[0])
    for reason, files in sorted(by_reason.items()):
        names = ", ".join(sorted(set(files)))
        terminalreporter.write_line(f"  left out: {len(files)} in {names}: {reason}", yellow=True)
