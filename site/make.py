"""Build the static site of the course: `make site`, or `python site/make.py [folder]`.

Writes Sphinx's sources into the folder, from what stands elsewhere (README, notebooks, docstrings), and
has Sphinx turn them into `folder/html`. A warning is an error: a formula, link or name that fails, fails.
"""

import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

SITE = Path(__file__).resolve().parent


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else SITE / "build")
    sys.path.insert(0, str(SITE))
    from pages import write_sources

    write_sources(folder / "source")
    shutil.rmtree(folder / "html", ignore_errors=True)  # no page of a notebook that is gone
    options = ["--quiet", "--fail-on-warning", "--keep-going", "--write-all"]
    options += ["--conf-dir", str(SITE), "--doctree-dir", str(folder / "doctrees")]
    if (folder / "source" / "extra").exists():
        options += ["--define", f"html_extra_path={folder.resolve() / 'source' / 'extra'}"]
    failed = sphinx([*options, str(folder / "source"), str(folder / "html")])
    if not failed:
        print(f"The site: {folder / 'html' / 'index.html'}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
