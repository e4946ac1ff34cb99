"""The sources of the site: nothing is written twice, all of it comes from where it stands already.

Front page and "The library" are README.md, the notebooks are copied with their stored outputs, a card's
picture is that of the README's table, and the reference is a list of names for autodoc.
"""

import importlib
import inspect
import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from notebooks import badge, repository  # noqa: E402

FRONT = ("The course", "Two commands")  # these sections of the README; the others are "The library"

# Title, module, names in the order of the page; what else stands in the module's __all__ follows.
ROOMS = (
    ("The networks", "mvit_lib",
     "MobileViT MobileViTConfig mobilevit_xxs mobilevit_xs mobilevit_s MobileViTBlock "
     "ViT ViTConfig MobileNetV2"),
    ("Moving pixels", "mvit_lib.patches",
     "patchify unpatchify unfold_patches fold_patches im2col col2im conv2d_by_matmul"),
    ("Attention", "mvit_lib.attention", "record_attention attention_from_pixel attention_rollout"),
    ("Costs", "mvit_lib.cost",
     "count_parameters count_macs vit_attention_macs mobilevit_attention_macs"),
    ("Weights", "mvit_lib.weights", "load_weights save_weights convert_state_dict"),
    ("Data", "mvit_lib.data",
     "PixelZoo ImageFolder VOCDetection VOCSegmentation CocoDetection MultiScaleSampler collate"),
    ("Detection and segmentation", "mvit_lib.heads", "SSDLite DeepLabV3"),
    ("Training", "mvit_lib.train", "Recipe fit evaluate"),
    ("Pictures", "mvit_lib.look", "plot_attention attention_explorer"),
    ("Export", "mvit_lib.export", "to_onnx to_coreml to_executorch"),
    ("In the notebooks", "mvit_lib.course", "check hint solution progress compare setup"),
)  # fmt: skip


def names_of(module: str, first: str) -> list[str]:
    """The names on a room's page; one that has another room, as load_weights, stands only there."""
    elsewhere = {name for _, other, names in ROOMS if other != module for name in names.split()}
    rest = getattr(importlib.import_module(module), "__all__", [])
    return [*first.split(), *(n for n in rest if n not in first.split() and n not in elsewhere)]


# What a docstring may call by its short name, with its full one.
PUBLIC = {name: f"{module}.{name}" for _, module, first in ROOMS for name in names_of(module, first)}


def write_sources(folder: Path) -> None:
    """All that Sphinx reads. What is there already is left alone: Sphinx then has nothing to do."""
    files = {folder / name: content for name, content in sources().items()}
    for path in folder.rglob("*"):
        if path.is_file() and path not in files:
            path.unlink()
    for path, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def sources() -> dict[str, str | bytes]:
    """Path in the site -> content, of pages, pictures and notebooks to take home."""
    readme = sections((ROOT / "README.md").read_text(encoding="utf-8"))
    library = {title: text for title, text in readme.items() if title and title not in FRONT}
    linked = [p for p in re.findall(r"\]\(([\w/]+\.md)\)", "".join(readme.values())) if (ROOT / p).is_file()]
    files = {"library.md": library_page(library, linked)}
    files |= {name: for_site((ROOT / name).read_text(encoding="utf-8")) for name in linked}
    files |= {f"{reference(module)}.md": reference_page(*room) for room in ROOMS for module in room[1:2]}
    for path in [*(ROOT / "figures").rglob("*.png"), *(ROOT / "figures").glob("*.html")]:
        extra = "extra/" if path.suffix == ".html" else ""  # goes along as it is
        files[extra + path.relative_to(ROOT).as_posix()] = path.read_bytes()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        files[f"downloads/{path.name}"] = path.read_bytes()
        files[f"notebooks/{path.name}"] = nbformat.writes(for_reading(notebook, path.name))
    return files | {"index.md": front_page(readme)}


def sections(readme: str) -> dict[str, str]:
    """Title of a section -> its text; "" for what stands before the first."""
    first, *rest = re.split(r"^## (.+)$", readme, flags=re.MULTILINE)
    return {"": first} | dict(zip(rest[::2], rest[1::2], strict=True))


def address_in_repository(path: str) -> str:
    """Where a file is shown online; "" until the repository has a real address (see pyproject.toml)."""
    return "" if "your_account" in repository() else f"{repository()}/blob/main/{path}"


def for_site(text: str) -> str:
    """Markdown of the repository: a link to what is no page leads to the repository, if it has an address."""

    def turn(link: re.Match) -> str:
        label, target = link.groups()
        if target.startswith(("http", "#")) or target.endswith((".md", ".ipynb")):
            return link[0]
        if re.fullmatch(r"figures/\w+\.html", target):
            return f'<a href="{target}">{label}</a>'
        address = address_in_repository(target)
        return f"[{label}]({address})" if address else label

    return re.sub(r"(?<!!)\[([^\]]*)\]\(([^)]*)\)", turn, text)


def front_page(readme: dict[str, str]) -> str:
    parts = [readme[""], *(f"## {title}\n{readme[title]}" for title in FRONT)]
    table = re.compile(r"^\| *# *\|.*\n\|[-| ]+\n((?:\|.*\n)+)", re.MULTILINE)
    text = table.sub(lambda rows: cards(rows[1]), for_site("\n".join(parts)))
    rooms = "\n".join(reference(module) for _, module, _ in ROOMS)
    return f"""{text}
```{{toctree}}
:hidden:
:caption: The course
:glob:

notebooks/*
```

```{{toctree}}
:hidden:
:caption: The library

library
{rooms}
```
"""


def cards(rows: str) -> str:
    """The table of the notebooks as a list of cards: picture (if there is one), name, question."""
    text = "{.cards}\n"
    for row in rows.splitlines():
        number, link, image, question = (cell.strip() for cell in row.strip("|").split("|"))
        picture = f"{image}\n\n  " if image else ""
        text += f"- {picture}**{number} · {link}**\n\n  {question}\n\n"
    return text


def library_page(readme: dict[str, str], linked: list[str]) -> str:
    text = "# The library\n\n" + "\n".join(f"## {title}\n{words}" for title, words in readme.items())
    pages = "\n".join(dict.fromkeys(linked))
    return f"{for_site(text)}\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"


def reference(module: str) -> str:
    """The page of a room, without its ending."""
    return f"reference/{module.removeprefix('mvit_lib.')}"


def reference_page(title: str, module: str, first: str) -> str:
    text = f"# {title}\n\n```{{eval-rst}}\n.. automodule:: {module}\n\n"
    for name in names_of(module, first):
        is_class = inspect.isclass(getattr(importlib.import_module(module), name))
        text += f".. auto{'class' if is_class else 'function'}:: {module}.{name}\n"
        if is_class:
            text += "   :members:\n   :inherited-members: Module, Dataset, Sampler, tuple, BaseException\n"
        text += "\n"
    return text + "```\n"


def for_reading(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """The set-up cell folded; where the badge was, ways to open the notebook and run it."""
    old = badge(repository(), name)
    ways = [f"{{download}}`Download this notebook <../downloads/{name}>`"]
    ways.append("[how to run it](../index.md#two-commands)")
    if address_in_repository(name):
        ways.append(f"[open it in Colab]({old.rpartition('](')[2]}")
    notebook.cells[0].source = notebook.cells[0].source.replace(old, " · ".join(ways))
    next(cell for cell in notebook.cells if cell.cell_type == "code").metadata.tags = ["hide-input"]
    return notebook
