"""What the learner has solved so far; kept in a small file, or in memory where none can be written."""

import json
import os
from pathlib import Path

_in_memory: dict[str, bool] = {}


def progress_file() -> Path:
    """$MVIT_HOME/progress.json, or ~/.mvit/progress.json."""
    return Path(os.environ.get("MVIT_HOME") or Path.home() / ".mvit") / "progress.json"


def solved() -> dict[str, bool]:
    """Exercise number -> whether its last check found the answer right, for those tried so far."""
    try:
        stored = json.loads(progress_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no file yet, or not ours: what is in memory still counts
        stored = {}
    stored = stored if isinstance(stored, dict) else {}
    return {str(number): value is True for number, value in stored.items()} | _in_memory


def remember(number: str, is_right: bool) -> None:
    """Note the result of a check; an exercise once solved stays solved."""
    before = solved()
    _in_memory[number] = is_right or before.get(number, False)
    if before.get(number) == _in_memory[number]:
        return
    path = progress_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(before | _in_memory, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(temporary, path)
    except OSError:
        return


def show(numbers: list[str]) -> None:
    """Print a line per notebook: which of its exercises are solved (●), tried (◐), untouched (○)."""
    tried = solved()
    marks = {True: "●", False: "◐", None: "○"}
    for notebook in sorted({number.partition(".")[0] for number in numbers}):
        own = sorted(
            (number for number in numbers if number.startswith(f"{notebook}.")),
            key=lambda number: int(number.partition(".")[2]),
        )
        dots = "".join(marks[tried.get(number)] for number in own)
        print(f"{notebook}  {dots}   {sum(tried.get(number, False) for number in own)} of {len(own)}")
