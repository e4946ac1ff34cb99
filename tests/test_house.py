"""The house rules: floors, sizes, docstrings, one set of requirements, one version, one address."""

import ast
import csv
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mvit_lib"
FILES = sorted(PACKAGE.rglob("*.py"))

# A file never imports from a floor above its own.
FLOORS = {
    "layers": 1, "patches": 1, "memory": 1,
    "transforms": 2, "augment": 2, "classifier": 2, "vit": 2, "mobilenet": 2, "mobilevit": 2,
    "heads": 3, "data": 3, "layouts": 3, "weights": 3, "attention": 3, "attention_reading": 3, "cost": 3,
    "train": 4, "look": 5, "export": 5, "course": 6,
}  # fmt: skip


def modules_imported(path: Path) -> set[str]:
    """Dotted names below mvit_lib that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.startswith("mvit_lib.")}


def room(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def test_no_file_imports_from_a_floor_above():
    for path in FILES:
        if path == PACKAGE / "__init__.py":
            continue
        own = FLOORS[room(path)]
        for name in modules_imported(path):
            target = name.split(".")[1]
            assert FLOORS.get(target, 0) <= own, f"{room(path)} imports {name}"


def test_no_import_cycles_between_files():
    graph = {}
    for path in FILES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = modules_imported(path) - {name}
    done, stack = set(), []

    def visit(name):
        assert name not in stack, f"cycle: {[*stack, name]}"
        if name in done or name not in graph:
            return
        stack.append(name)
        for target in graph[name]:
            visit(target)
        stack.pop()
        done.add(name)

    for name in graph:
        if name.count("."):
            visit(name)


def code_lines(path: Path) -> int:
    """Lines that are neither blank, comment nor docstring."""
    source = path.read_text(encoding="utf-8")
    skipped = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            doc = node.body[0]
            skipped |= set(range(doc.lineno, doc.end_lineno + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(
        n not in skipped and bool(line.strip()) and not line.strip().startswith("#") for n, line in lines
    )


def test_small_means_small():
    for path in FILES:
        length = len(path.read_text(encoding="utf-8").splitlines())
        assert length <= (300 if path.name == "mobilevit.py" else 400), f"{path.name}: {length} lines"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                doc = node.body[0] if ast.get_docstring(node) else None
                body = node.end_lineno - node.lineno + 1 - (doc.end_lineno - doc.lineno + 1 if doc else 0)
                assert body <= 40, f"{path.name}: {node.name} has {body} lines"
    # Three tasks with metrics, conversion, distributed training, export; PixelZoo's drawings are content.
    outside = [p for p in FILES if room(p) not in ("course", "look") and p.parent.name != "zoo"]
    assert sum(map(code_lines, outside)) <= 5500


def test_every_public_thing_has_a_docstring():
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_import_pulls_in_nothing_heavy():
    heavy = ["matplotlib", "IPython", "ipywidgets", "skimage", "huggingface_hub", "transformers"]
    heavy += ["torchinfo", "onnx", "coremltools", "executorch", "scipy"]
    code = f"import sys, torch; before = set(sys.modules); import mvit_lib; print([m for m in {heavy} "
    code += "if m in sys.modules], any(m.startswith('torch._dynamo') for m in set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "False"]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch", "build": "python-build", "playwright": "playwright-python"}


def requirements(*extras: str) -> dict[str, str]:
    lines = [
        *PROJECT["dependencies"],
        *(line for e in extras for line in PROJECT["optional-dependencies"][e]),
    ]
    parsed = [Requirement(line) for line in lines]
    return {r.name: str(r.specifier) for r in parsed}


def test_environment_yml_holds_the_same_set():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    conda = [Requirement(line) for line in listed if isinstance(line, str)]
    found = {r.name: str(r.specifier) for r in conda if r.name not in ("python", "pip")}
    wanted = requirements("course", "hub", "dev")
    assert found == {CONDA_NAMES.get(name, name): bound for name, bound in wanted.items()}
    assert next(str(r.specifier) for r in conda if r.name == "python") == PROJECT["requires-python"]
    assert listed[-1] == {"pip": ["-e ."]}


def test_bounds_are_lower_bounds_and_constraints_meet_them():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, version = line.split("==")
            pins[name.lower().replace("_", "-")] = version
    for extra in PROJECT["optional-dependencies"]:
        for name, bound in requirements(extra).items():
            assert re.fullmatch(r">=[\d.]+", bound), f"{name}{bound}"
            pin = pins[name.lower().replace("_", "-")]
            assert Requirement(f"{name}{bound}").specifier.contains(pin), f"{name} {pin} {bound}"


def test_one_version_everywhere():
    version = PROJECT["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == version


@pytest.mark.skipif(sys.platform == "win32", reason="no make")
def test_make_lists_every_target():
    words = {
        "lab", "test", "prove", "notebooks", "figures", "runs", "references", "bench", "site",
        "lint", "help",
    }  # fmt: skip
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert words <= {line.split()[1] for line in done.stdout.splitlines()}
    for target in words:
        plan = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
        for script in re.findall(r"(?:tools|benchmarks|site)/\w+\.py", plan.stdout):
            assert (ROOT / script).is_file(), script


def test_readme_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / target).exists(), target


def rows_of(path: str | Path, **wanted: str) -> list[dict[str, str]]:
    """The rows of a CSV that have the wanted values."""
    with open(ROOT / path, newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if all(row[k] == v for k, v in wanted.items())]


def the_row(path: str, **wanted: str) -> dict[str, str]:
    """The one row of a CSV that has the wanted values."""
    (row,) = rows_of(path, **wanted)
    return row


def span(values: list[float], digits: str = ".2f") -> list[str]:
    """The least and the largest of the values, as the README writes them."""
    return [f"{min(values):{digits}}", f"{max(values):{digits}}"]


def speeds() -> dict[str, list[str]]:
    """The README's results about time and memory, by the first cell of their rows."""
    bench, loop = "benchmarks/results.csv", "benchmarks/training.csv"

    def ratios(**wanted: str) -> list[str]:
        rows = rows_of(bench, pages="default", **wanted)
        return span([float(row["ratio"]) for row in rows if row["ratio"]])

    def megabytes(size: str, candidate: str) -> float:
        rows = rows_of(bench, size=size, task="training", candidate=candidate)
        return next(float(row["peak_mb"]) for row in rows if row["peak_mb"])

    one = {"task": "forward", "batch": "1"}
    memory = [megabytes(size, "ours") / megabytes(size, "transformers") for size in ("XXS", "XS", "S")]
    fit = the_row(loop, what="throughput of fit", note="images/s as a share of the bare step's, 0 workers")
    epochs = ("epoch time, multi-scale / fixed", "the same, predicted from multiply-accumulates")
    moves = (ROOT / "tests" / "browser" / "test_explorer.py").read_text(encoding="utf-8")
    return {
        "one image on a CPU": ratios(candidate="ours, folded", **one)
        + ratios(candidate="ours, recording attention", **one),
        "a training step": ratios(task="training", candidate="ours") + span(memory),
        "the training loop": [f"{100 * float(fit['value']):.0f}"],
        "multi-scale: time": [f"{float(the_row(loop, what=what)['value']):.2f}" for what in epochs],
        "the explorer": re.findall(r"assert median < (\d+)", moves),
    }


def trainings() -> dict[str, list[str]]:
    """The README's results about what was learned, by the first cell of their rows."""
    runs = "mvit_lib/assets/runs"

    def mean(table: str, name: str, score: str) -> str:
        found = rows_of(f"{runs}/{table}.csv", name=name)
        assert len(found) == 3, "the README speaks of three seeds"
        return f"{sum(float(row[score]) for row in found) / 3:.1f}"

    def top1(data: str, sampler: str, side: int) -> str:
        return mean("multi_scale", f"{data}, {sampler}", f"top1_{side}")

    def marks(unfold: str) -> list[str]:
        found = rows_of(f"{runs}/two_marks.csv", name=f"{unfold}, far apart")
        assert len(found) == 5, "the README speaks of five seeds"
        return [value.removesuffix(".0") for value in span([float(row["accuracy"]) for row in found], ".1f")]

    digits = [top1("Sign Language Digits", sampler, 80) for sampler in ("multi-scale", "fixed")]
    zoo = [top1("PixelZoo", sampler, 128) for sampler in ("multi-scale", "fixed")]
    return {
        "multi-scale: top-1": ["80", digits[0], "128", digits[1], "128", "12", *zoo],
        "a wrong unfold": ["2", "2", *marks("2×2 patches"), *marks("bands")],
        "TrashNet": [
            mean("transfer", start, "top1_test") for start in ("scratch", "sign-digits-xxs", "pixelzoo-xxs")
        ],
        "BCCD": [
            mean("detection", f"BCCD, {start}", "ap50") for start in ("scratch", "pixelzoo-xxs-ssdlite")
        ],
    }


def exactness() -> dict[str, list[str]]:
    """The README's results about what is equal, by the first cell of their rows."""
    source = (ROOT / "tests" / "test_mobilevit.py").read_text(encoding="utf-8")
    body = source.split("def test_equals_transformers(")[1].split("\n\n\n")[0]
    (bound,) = set(re.findall(r"atol=1e-(\d+)", body))
    parts = rows_of("mvit_lib/assets/tables/mobilevit_counts.csv", size="S")
    totals = [f"{sum(int(row[kind]) for row in parts):,}" for kind in ("parameters", "macs")]
    assert all(len(re.findall("transformers|timm|ml-cvnets", row["source"])) == 3 for row in parts)
    exponent = bound.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return {"the same function": [f"10⁻{exponent}"], "the same size": ["256", "256", *totals]}


def results_in_readme() -> dict[str, tuple[list[str], str]]:
    """First cell of each row of the README's results -> the numbers in the second, and the command."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.split("| what | measured | command |\n|---|---|---|\n")[1].split("\n\n")[0]
    number = r"(?<![\w.-])\d+(?:[.,]\d+)*(?:⁻[⁰¹²³⁴⁵⁶⁷⁸⁹]+)?"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {name: (re.findall(number, said), command) for name, said, command in cells}


def run_tables() -> list[Path]:
    """The tables of recorded trainings; a log has no names in it."""
    return [path for path in (PACKAGE / "assets" / "runs").glob("*.csv") if not path.stem.startswith("log_")]


def test_every_result_in_the_readme_is_recorded():
    """Each number of the table stands in a file of the repository, and no row goes unchecked."""
    found = {name: numbers for name, (numbers, _) in results_in_readme().items()}
    weights = {name: found.pop(name) for name in list(found) if name.startswith("`")}
    assert found == exactness() | speeds() | trainings()
    tables = [path for path in run_tables() if path.stem in ("shipped", "detection", "segmentation")]
    for name, numbers in weights.items():
        (recorded,) = [row for path in tables for row in rows_of(path, name=name.strip("`"))]
        assert {number.replace(",", "") for number in numbers} <= set(recorded.values()), name


def test_every_command_beside_a_result_leads_somewhere():
    recorded = {f"{path.stem}: {row['name']}" for path in run_tables() for row in rows_of(path)}
    options = (ROOT / "benchmarks" / "run.py").read_text(encoding="utf-8")
    for name, (_, command) in results_in_readme().items():
        words = command.strip("`")
        if words.startswith("make runs"):
            beginning = re.fullmatch(r'make runs ARGS=("?)(.+)\1', words)[2]
            assert any(row.startswith(beginning) for row in recorded), name
        elif words.startswith("make bench"):
            assert words == "make bench" or f'"{words.removeprefix("make bench ARGS=")}"' in options, name
        else:
            path, part = re.fullmatch(r"pytest (\S+) -k (\w+)", words).groups()
            assert re.search(rf"def test_\w*{part}", (ROOT / path).read_text(encoding="utf-8")), name
