"""A Sphinx extension: formulas become MathML while the site is built, with a font that comes along.

So a page needs no script and no network for them. The font is inside the style sheet, since Firefox does
not let a page opened from disk read a font beside it.
"""

import base64
import io
import logging
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from docutils import nodes
from fontTools import subset
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

STYLE = "formulas.css"
# First and last: Latin, accents, Greek, punctuation, letter-like signs, arrows, operators, brackets and
# braces; of the mathematical alphabets bold and italic, script, double-struck, sans-serif, Greek italic.
CHARACTERS = """
    20-7E A0-FF 2C6-2DD 300-338 370-3FF 2010-2044 20D0-20EF 2100-214F 2190-21FF 2200-22FF 2300-231F 23B0-23E1
    27E6-27FF 1D400-1D467 1D49C-1D4CF 1D538-1D56B 1D5A0-1D5D3 1D6E2-1D71B
"""

_logger = getLogger(__name__)
_converter = LatexToMathML()


def mathml(node: nodes.math | nodes.math_block) -> str:
    """The formula of a node; a warning, and its TeX, where that cannot be read."""
    tex = node.astext()
    try:
        return _converter.convert_with_local_state(tex, displaystyle=isinstance(node, nodes.math_block))
    except LatexError as error:
        _logger.warning("formula %r: %s", tex, error, location=node)
        return f"<code>{escape(tex)}</code>"


def write_inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(mathml(node))
    raise nodes.SkipNode


def write_block(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="formula">{mathml(node)}</div>\n')
    raise nodes.SkipNode


def font() -> bytes:
    """STIX Two Math as WOFF, with the characters above and their larger forms."""
    path = files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    options = subset.Options(
        layout_features=["ssty", "dtls", "flac"], name_IDs=["*"], flavor="woff", hinting=False
    )
    ends = [[int(end, 16) for end in span.split("-")] for span in CHARACTERS.split()]
    stored = io.BytesIO()
    with subset.load_font(str(path), options) as whole:
        cut = subset.Subsetter(options)
        cut.populate(unicodes=[code for first, last in ends for code in range(first, last + 1)])
        cut.subset(whole)
        subset.save_font(whole, stored, options)
    return stored.getvalue()


def write_style(app: Sphinx) -> None:
    path = Path(app.outdir) / "_static" / STYLE
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    data = base64.b64encode(font()).decode()
    path.write_text(
        "/* STIX Two Math, copyright The STIX Fonts Project Authors, under the SIL Open Font License 1.1:"
        " https://openfontlicense.org */\n"
        f'@font-face {{ font-family: "Course Math"; src: url("data:font/woff;base64,{data}"); }}\n'
        'math { font-family: "Course Math", math; }\n',
        encoding="utf-8",
    )


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (write_inline, None), (write_block, None))
    app.config.html_math_renderer = "mathml"
    app.connect("builder-inited", write_style)
    app.add_css_file(STYLE)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
