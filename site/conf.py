"""Sphinx's settings: the stored outputs as they are, everything on the reader's own disk."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # our two extensions: docstrings, formulas

project = "MobileViT from first principles"
language = "en"
smartquotes = False
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.githubpages", "docstrings", "formulas"]
exclude_patterns = ["downloads", "extra"]

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # widgets need a kernel: their printed sentence stands instead
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
nb_code_prompt_show = "Show the set-up"
nb_code_prompt_hide = "Hide the set-up"
myst_enable_extensions = ["attrs_block", "dollarmath"]
myst_heading_anchors = 3

autodoc_inherit_docstrings = False  # torch's own docstrings belong to torch
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_display_short_literal_types = True
maximum_signature_line_length = 100
add_module_names = False

html_theme = "furo"
html_title = project
html_static_path = ["style.css", "frames.js"]
html_css_files = ["style.css"]
html_copy_source = False
html_domain_indices = False
html_use_index = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_permalinks_icon = "#"
# A page opened from disk may not read its neighbours, so no lines of them under the results there.
html_js_files = [
    ("frames.js", {"defer": "defer"}),
    (None, {"body": "DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = location.protocol !== 'file:';"}),
]
# The ring's orange and the first place's blue, dark and light enough to be read.
COLOURS = {"light": ("#a8431a", "#1b67a6"), "dark": ("#f0895a", "#6db6f2")}
html_theme_options = {
    f"{scheme}_css_variables": {
        "color-brand-primary": orange,
        "color-brand-content": blue,
        "color-api-name": blue,
        "color-sidebar-link-text--top-level": "var(--color-foreground-primary)",
    }
    for scheme, (orange, blue) in COLOURS.items()
}
