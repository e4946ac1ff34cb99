"""After a run over notebooks: how long each took, against its budget."""

from collections import defaultdict

import pytest

BUDGET_PER_NOTEBOOK = 45
BUDGET_PER_CELL = 15


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print seconds per notebook and its slowest cell; reports come with durations from every worker."""
    cells = defaultdict(list)
    for reports in terminalreporter.stats.values():
        for report in reports:
            name = getattr(report, "nodeid", "").split("::")[0]
            if name.endswith(".ipynb") and getattr(report, "when", "") == "call":
                cells[name.rsplit("/", 1)[-1]].append(report.duration)
    if cells:
        terminalreporter.section("notebooks: seconds of budget")
    for name, seconds in sorted(cells.items()):
        over = sum(seconds) > BUDGET_PER_NOTEBOOK or max(seconds) > BUDGET_PER_CELL
        terminalreporter.write_line(
            f"{name:45} {sum(seconds):5.1f} of {BUDGET_PER_NOTEBOOK}, "
            f"slowest cell {max(seconds):4.1f} of {BUDGET_PER_CELL}" + ("  OVER BUDGET" if over else "")
        )
