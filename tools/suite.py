"""Run the parts of `make test` or `make prove`, each against its time budget, and sum them up."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTEST = [sys.executable, "-m", "pytest", "-q", "--durations=10", "--durations-min=5"]
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
        ("long proofs", 1800, [[*PYTEST, "-m", "slow and not browser"]]),
        ("browser", 1200, [[*PYTEST, "-m", "browser", "tests/browser"]]),
    ],
}


def run(commands: list[list[str]]) -> bool:
    """Run the commands one after another, on one thread each, until one fails."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return all(subprocess.run(command, cwd=ROOT, env=env).returncode == 0 for command in commands)


def main() -> int:
    width = min(shutil.get_terminal_size().columns, 72)
    rows = []
    for name, budget, commands in SUITES[sys.argv[1]]:
        print(f"\n== {name} (budget {budget} s) ".ljust(width, "="), flush=True)
        start = time.perf_counter()
        passed = run(commands)
        rows.append((name, passed, time.perf_counter() - start, budget))
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
