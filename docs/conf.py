"""How Sphinx builds the site; CONTRIBUTING.md has the command."""

import os
from xml.etree import ElementTree

import ziamath
from docutils import nodes

import fastnn

project = "fastnn"
author = "the authors of fastnn"
copyright = author
release = version = fastnn.__version__
exclude_patterns = ["_build"]

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
]

# Notebooks are text and hold no outputs: every build executes them, and an error ends it.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_output_stderr = "warn"
os.environ["TQDM_DISABLE"] = "1"  # a fit in a notebook says when it compiles, and how far it is

copybutton_prompt_text = "$ "  # is not copied, nor what comes out
copybutton_line_continuation_character = "\\"

# Signatures name arguments and defaults; the docstrings have their types.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
default_role = "autolink"
numpydoc_show_class_members = False
# No inventories are fetched: the site is built without a network.
nitpick_ignore_regex = [("py:.*", r"(numpy|matplotlib|sklearn|torch|tensorboard)\..*")]

html_theme = "furo"
html_title = "fastnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1d6ca6", "color-brand-content": "#1d6ca6"},
    "dark_css_variables": {"color-brand-primary": "#6cb2e6", "color-brand-content": "#6cb2e6"},
}
html_math_renderer = "svg"
pygments_dark_style = "github-dark"

ziamath.config.svg2 = False  # no symbols with ids, which would be the same in every formula
ziamath.config.math.color = "currentColor"


def _write_math(translator, node, inline):
    """Write a formula as a drawing: the same in every browser, without scripts, fonts or other hosts."""
    latex = node.astext().strip()
    drawing = ziamath.Latex(latex, size=18, inline=inline, margin=0).svgxml()  # its font is small beside the text's 16
    _, top, width, height = map(float, drawing.get("viewBox").split())
    drawing.set("width", f"{width / 16:.3f}em")
    drawing.set("height", f"{height / 16:.3f}em")
    drawing.set("style", f"vertical-align: {-(top + height) / 16:.3f}em")
    drawing.set("role", "img")
    drawing.set("aria-label", latex)
    tag = "span" if inline else "div"
    translator.body.append(f'<{tag} class="math">{ElementTree.tostring(drawing, encoding="unicode")}</{tag}>')
    raise nodes.SkipNode


def _show_prompts(app, doctree):
    """Show cells of commands as they are typed in a terminal: after a `$`, without the %%bash that runs them."""
    for cell in list(doctree.findall(nodes.literal_block)):
        first, *lines = cell.astext().split("\n")
        if first == "%%bash":
            begins = [True, *(not line.endswith("\\") for line in lines)]  # a command
            text = "\n".join("$ " * begun + line for begun, line in zip(begins, lines, strict=False))
            cell.replace_self(nodes.literal_block(text, text, language="console"))


def setup(app):
    """Have formulas written by `_write_math`, and commands after prompts."""
    app.connect("doctree-read", _show_prompts)
    app.add_html_math_renderer(
        "svg",
        (lambda translator, node: _write_math(translator, node, inline=True), None),
        (lambda translator, node: _write_math(translator, node, inline=False), None),
    )
