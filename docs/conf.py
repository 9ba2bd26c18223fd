"""How the documentation site is built: ``make docs``."""

import importlib.metadata

project = "asyncopt"
author = "The asyncopt authors"
version = release = importlib.metadata.version("asyncopt")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "gallery/[!i]*.md"]  # captions are in the gallery's own page already
html_theme = "furo"
html_title = "asyncopt"

# Names in docstrings are in single backticks, as in this package's own prose: a link where there is one.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes, dtypes and units are in the texts; spelt out, the types of arrays fill pages
napoleon_use_rtype = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# Notebooks show the outputs they are kept with; the tests execute them.
nb_execution_mode = "off"
