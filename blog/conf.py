"""Sphinx configuration of the posts. A page opens from the file system with the network off: all that it loads lies beside it."""

import importlib.util
import shutil
from pathlib import Path

import plotly
from sphinx.application import Sphinx

project = "heads"
author = "the heads authors"
project_copyright = author
language = "en"

extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinxcontrib.bibtex"]
exclude_patterns = ["_build", "_generated"]
numfig = True

# The posts only read results; their cells are run at every build.
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_render_markdown_format = "myst"
nb_mime_priority_overrides = [("html", "text/html", 0), ("html", "text/markdown", 1), ("html", "image/png", 2)]
myst_enable_extensions = ["dollarmath", "colon_fence"]
suppress_warnings = ["config.cache"]

bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
bibtex_default_style = "unsrt"

html_theme = "furo"
html_title = "heads"
html_static_path = ["_static"]
html_css_files = ["heads.css"]
html_js_files = [("heads.js", {"defer": "defer"})]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_last_updated_fmt = None
mathjax_path = "tex-svg-full.js"


def vendor(app: Sphinx) -> None:
    """Put plotly.js and MathJax, from their Python packages, beside the pages."""
    mathjax = importlib.util.find_spec("sphinx-mathjax-offline")
    if mathjax is None or mathjax.origin is None:
        raise ModuleNotFoundError("the posts need the package sphinx-mathjax-offline: pip install sphinx-mathjax-offline")
    static = Path(app.outdir, "_static")
    static.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(plotly.__file__).parent / "package_data" / "plotly.min.js", static / "plotly.min.js")
    shutil.copyfile(Path(mathjax.origin).parent / "static" / "mathjax" / mathjax_path, static / mathjax_path)


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", vendor)
