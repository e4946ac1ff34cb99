"""Run the parts of `make test` or `make prove`, each against its time budget, and sum them up."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
PYTEST = [sys.executable, "-m", "pytest", "-q"]
RUFF = [sys.executable, "-m", "ruff"]
NBVAL = "--nbval" if sys.platform == "linux" else "--nbval-lax"
NOTEBOOKS = [*PYTEST, NBVAL, "--nbval-current-env", "--nbval-cell-timeout=120"]
NOTEBOOKS += ["-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider", "notebooks"]

# name, seconds it may take on two cores, commands
SUITES = {
    "test": [
        ("lint", 30, [[*RUFF, "check", "."], [*RUFF, "format", "--check", "."]]),
        ("unit tests", 390, [[*PYTEST, "-n", "2", "-m", "not slow and not browser and not online"]]),
        ("notebooks", 600, [NOTEBOOKS]),
        ("browser", 120, [[*PYTEST, "-m", "browser and not slow", "tests/browser"]]),
    ],
    "prove": [
        ("long proofs", 2700, [[*PYTEST, "-m", "slow and not browser"]]),
        ("browser", 1200, [[*PYTEST, "-m", "browser", "tests/browser"]]),
    ],
}


def run(commands: list[list[str]], times: Counter) -> bool:
    """Run the commands one after another, on one thread each, until one fails; add what their tests took."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    for command in commands:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            listed = [f"--junitxml={report}"] if command[:3] == PYTEST[:3] else []
            code = subprocess.run([*command, *listed], cwd=ROOT, env=env).returncode
            if report.is_file():
                times.update(seconds_in(report))
        if code:
            return False
    return True


def seconds_in(report: Path) -> Counter:
    """Seconds of every test in pytest's report; the cells of a notebook are added up."""
    seconds = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        group = case.get("classname", "")
        is_notebook = group.endswith(".ipynb")
        name = group.removeprefix("notebooks.") if is_notebook else f"{group}::{case.get('name')}"
        seconds[name] += float(case.get("time", 0))
    return seconds


def main() -> int:
    width = min(shutil.get_terminal_size().columns, 72)
    rows, times = [], Counter()
    for name, budget, commands in SUITES[sys.argv[1]]:
        print(f"\n== {name} (budget {budget} s) ".ljust(width, "="), flush=True)
        start = time.perf_counter()
        passed = run(commands, times)
        rows.append((name, passed, time.perf_counter() - start, budget))
    print("\nslowest ten, seconds (a notebook is the sum of its cells)")
    for name, seconds in times.most_common(10):
        print(f"{seconds:8.1f}  {name}")
    print("\n" + "part".ljust(14), "result", "  seconds", " budget")
    for name, passed, seconds, budget in rows:
        over = "  over budget" if seconds > budget else ""
        print(f"{name:14} {'passed' if passed else 'FAILED'} {seconds:9.0f} {budget:7}{over}")
    good = sum(passed for _, passed, _, _ in rows)
    seconds = sum(row[2] for row in rows)
    print(f"make {sys.argv[1]}: {good} of {len(rows)} parts passed in {seconds / 60:.1f} min")
    return 0 if good == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
