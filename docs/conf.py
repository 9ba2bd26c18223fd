"""How the documentation site is built: ``make docs``."""

import importlib.metadata
import pathlib

project = "asyncopt"
author = "the asyncopt authors"
copyright = f"2026, {author}"
version = release = importlib.metadata.version("asyncopt")

extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx-mathjax-offline",
    "sphinx_copybutton",
]  # fmt: skip
exclude_patterns = ["_build", "gallery/[!i]*.md"]  # captions are in the gallery's own page already
html_theme = "furo"
html_title = "asyncopt"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
# The theme's own sizes are 10 pixels for the title of a page's contents, and 9.8 for code in them.
html_theme_options = {"light_css_variables": {"toc-title-font-size": "0.75rem", "toc-font-size": "0.875rem"}}

# Names in docstrings are in single backticks, as in this package's own prose: a link where there is one.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes, dtypes and units are in the texts; spelt out, the types of arrays fill pages
napoleon_use_rtype = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# Notebooks show the outputs they are kept with; the tests execute them.
nb_execution_mode = "off"


_HEAD = """# All settings

The files of `conf/` as they are. On the command line, `group=option` chooses a file, `key=value` changes a value in it,
and `+group=option` adds an option of a group that has none by default. `asyncopt --help group=option` prints the files
that are chosen.
"""


def _configuration() -> str:
    """Returns the page on all settings."""
    folder = pathlib.Path(__file__).parents[1] / "conf"
    lines, group = [_HEAD], None
    for path in [folder / "config.yaml", *sorted(folder.glob("*/**/*.yaml"))]:
        if path.parent != group:
            group = path.parent
            lines += [f"## {group.relative_to(folder.parent)}/", ""]
        name = path.relative_to(folder).with_suffix("")
        lines += [f"### {name}", "", "```yaml", path.read_text().strip(), "```", ""]
    return "\n".join(lines)


(pathlib.Path(__file__).parent / "configuration.md").write_text(_configuration())
