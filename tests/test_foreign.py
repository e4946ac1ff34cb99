"""Foreign ground: Colab, a hostile machine, more threads, other Pythons, the oldest libraries allowed.

Called as a script, this file runs notebooks and writes down what they did; its kernels may belong to
another environment than the script itself.
"""

import base64
import contextlib
import copy
import functools
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
# These need the extra "course" and nothing of "peers".
QUICK = ("test_patches", "test_layers", "test_attention_reading", "test_items", "test_look", "test_widgets")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="counts cores and memory as Linux does"),
]

# Where a notebook ran, asked in its own kernel. VmHWM is the most memory that the kernel ever held.
PLACE = """\
import json, locale, os, pathlib, resource, socket, matplotlib, mvit_lib, torch
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
kilobytes = int(status["VmHWM"].split()[0]) + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({
    "library": mvit_lib.__file__, "home": str(pathlib.Path.home()), "style": matplotlib.matplotlib_fname(),
    "threads": torch.get_num_threads(), "cores": len(os.sched_getaffinity(0)), "megabytes": kilobytes // 1024,
    "networks": [name for _, name in socket.if_nameindex()], "locale": locale.setlocale(locale.LC_CTYPE)}))"""


def shown(cell) -> dict[str, str]:
    """Everything a cell printed or shows as text: what `--nbval` compares, and no pictures."""
    texts = {}
    for i, output in enumerate(o for o in cell.get("outputs", ()) if o.output_type != "stream"):
        texts |= {f"{kind} {i}": text for kind, text in output.get("data", {}).items() if kind[:5] == "text/"}
    for output in cell.get("outputs", ()):
        if output.output_type == "stream":  # one text may come in pieces
            texts[output.name] = texts.get(output.name, "") + output.text
    return texts


def pictures(cell) -> list[np.ndarray]:
    encoded = [o.data["image/png"] for o in cell.get("outputs", ()) if "image/png" in o.get("data", {})]
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(p))).convert("RGBA"), dtype=int) for p in encoded
    ]


def differences(stored, fresh) -> Iterator[tuple[str, str]]:
    """("text" or "picture", words) for each cell that is compared and shows something else than is stored."""
    for old, new in zip(stored.cells, fresh.cells[:-1], strict=True):
        if old.cell_type == "code" and "nbval-ignore-output" not in old.metadata.get("tags", ()):
            texts, others = shown(old), shown(new)
            for kind in sorted(texts.keys() | others.keys()):
                if texts.get(kind) != others.get(kind):
                    words = f"{others.get(kind)!r:.1500} instead of {texts.get(kind)!r:.1500}"
                    yield "text", f"cell {old.id}, {kind}: {words}"
            for a, b in zip(pictures(old), pictures(new), strict=False):
                if a.shape != b.shape or np.abs(a - b).mean() > 3:  # of 255; a dark page differs by 200
                    yield (
                        "picture",
                        f"cell {old.id}: {b.shape}, corner {b[0, 0]} instead of {a.shape}, {a[0, 0]}",
                    )


def run_one(path: Path) -> dict:
    stored = nbformat.read(path, as_version=4)
    fresh = copy.deepcopy(stored)
    fresh.cells.append(nbformat.v4.new_code_cell(PLACE))
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(fresh, timeout=400, kernel_name="python3", resources=resources)
    told, start = {"error": [], "place": {}, "text": [], "picture": []}, time.perf_counter()
    try:
        client.execute()
    except (CellControlSignal, DeadKernelError) as error:  # a cell's own error, or too much time
        told["error"].append(re.sub(r"\x1b\[[\d;]*m", "", str(error)))  # a traceback comes in colours
    else:
        told["place"] = json.loads(fresh.cells[-1].outputs[0].text)
        for kind, words in differences(stored, fresh):
            told[kind].append(words)
    return told | {"seconds": time.perf_counter() - start}


def run_notebooks(
    folder, names, scratch, driver=sys.executable, kernel=None, env=(), before=(), one_core=False
):
    """What notebooks did, run by two processes of the Python `driver` in kernels of the Python `kernel`."""
    spec = scratch / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [str(kernel or driver), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "", "language": "python"}))
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PIP_", "MALLOC_")  # nothing that points back here
    clean = {key: value for key, value in os.environ.items() if key.startswith(kept)}
    clean |= {"JUPYTER_PATH": str(spec.parents[1]), "PYDEVD_DISABLE_FILE_VALIDATION": "1"} | dict(env)
    cores, runs = sorted(os.sched_getaffinity(0)), []
    for i in range(min(2, len(names))):
        command = ["taskset", "-c", str(cores[i % len(cores)])] if one_core else []
        command += [*before, str(driver), __file__, str(scratch / f"told_{i}.json")]
        command += [str(folder / name) for name in names[i::2]]
        with open(scratch / f"log_{i}.txt", "w") as log:
            runs.append(subprocess.Popen(command, env=clean, stdout=log, stderr=log))
    codes = [run.wait() for run in runs]
    logs = "\n".join(path.read_text(encoding="utf-8") for path in sorted(scratch.glob("log_*.txt")))
    assert not any(codes), logs[-4000:]
    files = (json.loads(path.read_text(encoding="utf-8")) for path in scratch.glob("told_*.json"))
    told = {name: one for file in files for name, one in file.items()}
    for name, one in sorted(told.items()):
        print(f"{name:45} {one['seconds']:6.1f} s {one['place'].get('megabytes', 0):5} MB")
    return told


def expect_none(told: dict[str, dict], kind: str) -> None:
    """Nothing went wrong in one of three ways: "error", "text" or "picture"."""
    lines = {name: "\n".join(one[kind]) for name, one in told.items() if one[kind]}
    assert not lines, "\n\n".join(f"{name}: {text}" for name, text in lines.items())


def in_the_repository() -> list[str]:
    """The files that a clone would have if all of this tree were committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(name for name in set(names) if (ROOT / name).is_file())


def copy_notebooks(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for name in names:
        shutil.copy(ROOT / "notebooks" / name, folder)
    return folder


KERNEL_OF_COLAB = {"ipykernel": "==6.17.1", "notebook": "<7", "jupyter_client": "<8"}
FOUND = """\
import importlib.util, json
print(json.dumps({name: bool(importlib.util.find_spec(name)) for name in %s}))"""


@contextlib.contextmanager
def serving_the_archive(folder: Path) -> Iterator[str]:
    """A server that has the repository's archive where GitHub has it; yields the repository's address."""
    archive = folder / "course" / "archive" / "refs" / "heads" / "main.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name in in_the_repository():
            file.write(ROOT / name, f"course-main/{name}")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/course"
    server.shutdown()


@pytest.fixture(scope="module")
def colab(new_venv, colab_versions, tmp_path_factory) -> SimpleNamespace:
    """Colab's libraries and the module `google.colab`; a folder with notebooks, and no checkout."""
    from notebooks import setup_cell

    packages = ("torch", "numpy", "pillow", "safetensors", "tqdm", "scikit-image", "matplotlib", "ipywidgets")
    python = new_venv("colab", *packages, "ipykernel", other=colab_versions | KERNEL_OF_COLAB)
    folder = tmp_path_factory.mktemp("colab")
    (package,) = (python.parents[1] / "lib").glob("python*/site-packages")
    (package / "google" / "colab").mkdir(parents=True)
    (package / "google" / "colab" / "__init__.py").touch()
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "colab.py").write_text("import google.colab\n")  # Colab's kernel has it loaded, too
    absent = ("mvit_lib", "torchinfo", "jupyterlab", "nbval")
    # -I: not in the folder where the tests run, which is the checkout.
    before = subprocess.run([python, "-I", "-c", FOUND % (absent,)], capture_output=True, check=True).stdout
    notebooks = copy_notebooks(folder / "content", NAMES)
    env = {"IPYTHONDIR": str(folder / "ipython"), "PIP_NO_CACHE_DIR": "1"}
    (folder / "scratch").mkdir()
    with serving_the_archive(folder / "served") as address:
        cell = nbformat.v4.new_code_cell(setup_cell(address))
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "content" / "setup.ipynb")
        first = run_notebooks(notebooks, ["setup.ipynb"], folder / "scratch", kernel=python, env=env)
    before = json.loads(before)
    return SimpleNamespace(python=python, env=env, notebooks=notebooks, before=before, first=first)


def test_the_set_up_cell_installs_the_library_in_colab(colab):
    assert not any(colab.before.values()), colab.before
    expect_none(colab.first, "error")
    assert Path(colab.first["setup.ipynb"]["place"]["library"]).is_relative_to(colab.python.parents[1])


def test_every_notebook_runs_with_the_versions_of_colab(colab, colab_versions, tmp_path):
    versions = colab_versions | KERNEL_OF_COLAB
    exact = [f"{name}{version}" for name, version in versions.items() if version.startswith("==")]
    listed = subprocess.run([colab.python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True)
    assert set(exact) <= set(listed.stdout.split()), listed.stdout
    told = run_notebooks(colab.notebooks, NAMES, tmp_path, kernel=colab.python, env=colab.env)
    expect_none(told, "error")
    assert not any(Path(one["place"]["library"]).is_relative_to(ROOT) for one in told.values())


# A network of its own, only with the loopback that kernels speak through, and a read-only folder.
ISOLATED = """\
PATH="$PATH:/usr/sbin:/sbin"
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && ip link set lo up || exit 77
shift
exec "$@"
"""


def isolated(folder: Path) -> tuple[str, ...]:
    """What to put before a command, so that it has no network and cannot write into a folder."""
    for namespaces in (("unshare", "-n", "-m"), ("unshare", "-r", "-n", "-m")):
        before = (*namespaces, "sh", "-c", ISOLATED, "sh", str(folder))
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([*before, "true"], capture_output=True).returncode == 0:
                return before
    pytest.skip("this machine gives no network and mount namespaces (unshare -n -m), mount, or ip")


def tree(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> SimpleNamespace:
    """Every notebook once, with all of it at the same time; the tests below tell what of it bites."""
    import matplotlib

    scratch = tmp_path_factory.mktemp("hostile")
    home = scratch / "Zoë Müller"
    checkout = home / "MobileViT für Anfänger"
    for name in in_the_repository():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    (home / ".config" / "matplotlib").mkdir(parents=True)
    dark = Path(matplotlib.get_data_path()) / "stylelib" / "dark_background.mplstyle"
    shutil.copy(dark, home / ".config" / "matplotlib" / "matplotlibrc")
    env = {"HOME": str(home), "LANG": "C", "LC_ALL": "C", "PYTHONPATH": str(checkout)}
    files = tree(checkout)
    before = isolated(checkout)
    told = run_notebooks(checkout / "notebooks", NAMES, scratch, env=env, before=before, one_core=True)
    return SimpleNamespace(told=told, home=home, checkout=checkout, files=files)


def test_every_notebook_runs_on_a_hostile_machine(hostile):
    expect_none(hostile.told, "error")


def test_the_machine_was_hostile(hostile):
    """Otherwise the tests around this one would show nothing."""
    for one in hostile.told.values():
        if one["error"]:
            continue
        place = one["place"]
        assert (place["networks"], place["cores"], place["locale"]) == (["lo"], 1, "C"), place
        assert place["home"] == str(hostile.home)
        assert Path(place["library"]).is_relative_to(hostile.checkout)
        assert Path(place["style"]).is_relative_to(hostile.home)


def test_without_network_on_one_core_in_the_locale_c_the_stored_words_are_printed(hostile):
    expect_none(hostile.told, "text")


def test_a_dark_style_of_the_user_does_not_reach_the_pictures(hostile):
    expect_none(hostile.told, "picture")


def test_no_notebook_writes_into_the_checkout(hostile):
    assert tree(hostile.checkout) == hostile.files


def test_4_gib_of_memory_are_enough(hostile):
    """The most a kernel ever held; a limit on addresses would count what PyTorch reserves and never uses."""
    most = {name: one["place"]["megabytes"] for name, one in hostile.told.items() if one["place"]}
    assert most and max(most.values()) < 4096, most


def test_two_threads_print_what_one_printed(tmp_path):
    """The stored outputs come from one thread (`make notebooks`); some notebooks ask for one themselves."""
    notebooks = copy_notebooks(tmp_path / "notebooks", NAMES)
    env = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}  # two kernels share the cores: no spinning
    told = run_notebooks(notebooks, NAMES, tmp_path, env=env)
    expect_none(told, "error")
    asks = [name for name in NAMES if "torch.set_num_threads(1)" in (notebooks / name).read_text()]
    ran = {name: one["place"]["threads"] for name, one in told.items()}
    assert ran == {name: 1 if name in asks else 2 for name in NAMES}
    assert len(asks) < len(NAMES)
    expect_none(told, "text")


def run_the_essentials(python: Path, names: list[str], tmp_path: Path) -> None:
    """Quick tests of the library, then notebooks, all in one environment."""
    notebooks = copy_notebooks(tmp_path / "notebooks", names)
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    command += [f"tests/{name}.py" for name in QUICK]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    told = run_notebooks(notebooks, names, tmp_path, driver=python, env={"OMP_NUM_THREADS": "1"})
    expect_none(told, "error")


def find_python(version: str) -> str:
    """An interpreter of that version: on the PATH, or beside the one that runs, as pyenv and CI keep them."""
    base = Path(sys.base_prefix)
    beside = [*base.parent.glob(f"{version}*"), *base.parent.parent.glob(f"{version}*/{base.name}")]
    for python in (shutil.which(f"python{version}"), *(str(p / "bin" / f"python{version}") for p in beside)):
        if python and Path(python).exists():
            done = subprocess.run([python, "-c", "import ensurepip"], capture_output=True)
            if done.returncode == 0:  # pyenv puts commands into the PATH that only say no
                return python
    pytest.skip(f"no Python {version} on this machine")


other_pythons = pytest.mark.parametrize(
    "version", [v for v in ("3.11", "3.12", "3.13", "3.14") if v != f"3.{sys.version_info.minor}"]
)


@other_pythons
def test_another_python_reads_every_line_without_a_warning(version, tmp_path):
    files = (ROOT / name for name in in_the_repository() if name.endswith(".py"))
    sources = [file.read_text(encoding="utf-8") for file in files]
    for name in NAMES:
        cells = nbformat.read(ROOT / "notebooks" / name, as_version=4).cells
        sources += [cell.source for cell in cells if cell.cell_type == "code" and "%pip" not in cell.source]
    (tmp_path / "sources.json").write_text(json.dumps(sources))
    script = "import json, sys; [compile(s, s[:60], 'exec') for s in json.load(open(sys.argv[1]))]"
    command = [find_python(version), "-W", "error", "-c", script, str(tmp_path / "sources.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@other_pythons
def test_another_python_runs_library_and_notebooks(version, new_venv, tmp_path):
    python = find_python(version)
    plan = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
    plan += ["--python-version", version, "--only-binary=:all:", "--target", str(tmp_path / "none")]
    plan += ["--report", "-", "-c", str(ROOT / "constraints.txt"), "torch"]
    done = subprocess.run(plan, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    planned = [package["metadata"]["name"] for package in json.loads(done.stdout)["install"]]
    if any(name.startswith("nvidia-") for name in planned):
        pytest.skip(f"PyTorch for Python {version} would bring gigabytes for NVIDIA GPUs; the README's "
                    "PIP_EXTRA_INDEX_URL takes the small build")  # fmt: skip
    packages = (f"{ROOT}[course]", "pytest", "hypothesis", "nbclient", "nbformat")
    python = new_venv(f"python{version}", *packages, other={}, python=python)
    run_the_essentials(python, ["00_start_here.ipynb", "06_mobilevit_block.ipynb"], tmp_path)


# What the oldest NumPy, ipywidgets and JupyterLab need, and pyproject.toml does not name.
OLDER = {"scipy": "==1.16.3", "jupyterlab_widgets": ">=1,<2", "widgetsnbextension": ">=3.6,<4",
         "notebook": ">=7.2,<7.3"}  # fmt: skip


def test_the_lowest_versions_of_pyproject_are_enough(new_venv, tmp_path):
    """All of them at once, but for PyTorch: the one of constraints.txt is what can be had everywhere."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    drivers = ("hypothesis>", "nbclient>", "nbformat>", "pytest>")
    driving = [line for line in extras["dev"] if line.startswith(drivers)]
    bounds = [line.split(">=") for line in [*project["dependencies"], *extras["course"], *driving]]
    lowest = {name: f"=={bound}" for name, bound in bounds if name != "torch"}
    packages = (f"{ROOT}[course]", *(line.split(">=")[0] for line in driving))
    python = new_venv("lowest", *packages, other=OLDER | lowest)
    print(subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True).stdout)
    names = [name for name in NAMES if name[:2] in ("00", "02", "10")]
    run_the_essentials(python, names, tmp_path)


if __name__ == "__main__":
    results = {Path(path).name: run_one(Path(path)) for path in sys.argv[2:]}
    Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
