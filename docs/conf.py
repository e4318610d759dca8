"""Sphinx builds the site from these settings: ``make docs``. No network is needed."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "docs"))

from torch_symbreak import __version__  # noqa: E402

project = "torch_symbreak"
author = "The torch_symbreak authors"
copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["beyond-*"]  # parts of beyond.md

html_theme = "furo"
html_title = "torch_symbreak"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = [name for name in ("_extra",) if (ROOT / "docs" / name).is_dir()]
html_show_sourcelink = False

nitpicky = True
# These packages document their names on sites of their own, and none ships its inventory with the package. Without a
# network their names stay text.
nitpick_ignore_regex = [
    ("py:.*", r"(torch|torchvision|torchmetrics|lightning|kornia|deepinv|numpy|np|matplotlib|sklearn)(\..*)?"),
    # The standard library, and the short names that annotations use.
    ("py:.*", r"(collections|pathlib|typing|abc|dataclasses|enum)(\..*)?"),
    (
        "py:.*",
        r"(Any|bool|bytes|Callable|ClassVar|dict|float|Hashable|int|Iterable|Iterator|list|Literal|Mapping|NamedTuple|None|"
        r"object|optional|Path|Protocol|Sequence|Self|set|str|tuple|type|TypeVar|Union)",
    ),
    (
        "py:.*",
        r"(Array|Axes|Dataset|DataLoader|Figure|Generator|Module|ndarray|nn\.Module|Tensor|\w+Error|UserWarning)",
    ),
    # Type variables, and bases and aliases that are no part of the interface.
    ("py:.*", r"torch_symbreak\..*\b(_\w+|Array|Wrap|Box|Numbers|Row|Talk|S|T)(\..*)?"),
]
suppress_warnings = ["config.cache"]  # the gallery's settings hold a function

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_default_options = {"member-order": "bysource"}
autodoc_inherit_docstrings = False  # nn.Module has a text for every forward
autodoc_typehints = "none"  # the docstrings tell shapes and units, which types do not
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shape", ("Example", "example")]
napoleon_use_rtype = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf: dict[str, Any] = {
    "examples_dirs": [str(ROOT / "examples" / "gallery")],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "image_scrapers": ("matplotlib", "gallery_figures.scrape"),
    "reset_modules": ("gallery_figures.reset",),
    "remove_config_comments": True,
    "min_reported_time": 20,
    "write_computation_times": False,
    "within_subsection_order": "FileNameSortKey",
    "plot_gallery": "True",
}

#: Every public module, and the names that it shows. A name has its home where it stands first.
MODULES = (
    "symmetries",
    "canonical",
    "forward",
    "alignment",
    "metrics",
    "losses",
    "transforms",
    "datasets",
    "ensembles",
    "solvers",
    "diagnostics",
    "plots",
    "testing",
    "baselines",
    "models",
    "training",
    "io",
    "experiments",
    "cli",
    "interop.kornia",
    "interop.deepinv",
    "interop.lightning",
    "interop.torchmetrics",
)


def homes() -> dict[str, str]:
    """Map every path of a public name, also those of the files that define it, to the path that is documented."""
    found: dict[str, str] = {}
    by_object: dict[int, str] = {}
    for short in (*MODULES, ""):
        path = f"torch_symbreak.{short}".rstrip(".")
        module = importlib.import_module(path)
        for name in module.__all__:
            value = getattr(module, name)
            home = by_object.setdefault(id(value), f"{path}.{name}")
            found[f"{path}.{name}"] = home
            if hasattr(value, "__qualname__") and value.__qualname__ == name:
                found[f"{value.__module__}.{name}"] = home
    return found


def paths_of(target: str, node: nodes.Element) -> Iterator[str]:
    """Yield the documented paths that a reference may mean."""
    for known in (target, f"{node.get('py:module') or ''}.{target}"):
        name, _, last = known.rpartition(".")
        yield HOMES.get(known, "")
        if name in HOMES:
            yield f"{HOMES[name]}.{last}"
    first, _, last = target.partition(".")
    # Docstrings name a class of another module by its short name.
    for home in {home for home in HOMES.values() if home.rpartition(".")[2] == first}:
        yield f"{home}.{last}".rstrip(".")
    # A method that a base class documents.
    owner, _, name = HOMES.get(f"{node.get('py:module')}.{node.get('py:class')}", "").rpartition(".")
    if owner:
        bases = getattr(importlib.import_module(owner), name).__mro__
        yield from (f"{HOMES.get(f'{base.__module__}.{base.__name__}')}.{target}" for base in bases)


def resolve(app: Sphinx, env: Any, node: nodes.Element, contnode: nodes.Element) -> nodes.Element | None:
    """Resolve a reference by another path of a public name."""
    if node.get("refdomain") != "py" or not node.get("refdoc"):
        return None
    domain = env.get_domain("py")
    for path in paths_of(node["reftarget"], node):
        if path in domain.objects:
            return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], path, node, contnode)
    return None


_SECTION = re.compile(r"^(Shape|Example|Examples|References|Raises|Returns|Note): +(\S.*)$")
# Doctests up to the next empty line, literals and roles stay as they are.
_VERBATIM = re.compile(r"(^ *>>> .*?(?=\n *\n|\Z)|``.+?``|:[a-z:]+:`[^`]+`)", re.MULTILINE | re.DOTALL)


def to_rst(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite a docstring before napoleon reads it.

    Our docstrings are for ``help()``: sections start on the line of their heading, and ``*batch`` and ``|F x|²`` stand
    without the backslashes that reStructuredText wants.
    """
    made: list[str] = []
    open_section = False
    for line in lines:
        section = _SECTION.match(line)
        if section:
            made += ["", f"{section[1]}:", f"    {section[2]}"]
            open_section = True
            continue
        if not line.strip():
            open_section = False
        if open_section and not line.startswith(" "):
            line = f"    {line}"
        if line.lstrip().startswith(">>> ") and made and made[-1].strip() and not _in_doctest(made):
            made.append("")
        made.append(line)
    parts = _VERBATIM.split("\n".join(made))
    for place in range(0, len(parts), 2):
        parts[place] = re.sub(r"(?<!\\)([*|])(?=\S)|(?<=\w)(_)(?=[\s.,;:)])|(?<=\S)(\|)", _escaped, parts[place])
    lines[:] = "".join(parts).split("\n")
    if what in ("attribute", "data", "property"):
        lines.insert(0, "")  # or napoleon takes what stands before a colon for a type


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match[0]}"


def _in_doctest(lines: list[str]) -> bool:
    """Return whether the paragraph so far is a doctest."""
    for line in reversed(lines):
        if not line.strip():
            return False
        if line.lstrip().startswith(">>> "):
            return True
    return False


#: The gallery's picture of each transform, shown with its text.
PICTURES = {
    "CenterContent": 1,
    "FixConjugateFlip": 2,
    "FixGlobalPhase": 3,
    "FarFieldCanonicalizer": 4,
    "AlignToTemplate": 5,
    "FixSign": 6,
    "RandomSymmetry": 7,
    "OnRealImag": 8,
}


def add_picture(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Append the picture of a transform to its docstring."""
    number = PICTURES.get(name.rpartition(".")[2]) if what == "class" else None
    if number is not None:
        lines += [
            "",
            f".. image:: /gallery/images/sphx_glr_plot_03_transforms_{number:03}.png",
            "   :alt: before, after",
        ]


def edit_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """Join the parts of one page, and leave tables of single runs out of the menu. Pages link to them."""
    if docname == "beyond":  # other problems, one file each
        parts = sorted(Path(app.srcdir).glob("beyond-*.md"))
        links = source[0].index("- [")  # to the parts, for readers of the files themselves
        source[0] = source[0][:links] + "".join(f"\n```{{include}} {part.name}\n```\n" for part in parts)
    if docname.startswith("results/") and docname != "results/README":
        source[0] = f"---\norphan: true\n---\n\n{source[0]}"


def skip(app: Sphinx, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out Python's own text on the fields of named tuples."""
    text = getattr(obj, "__doc__", None) or ""
    return True if text.startswith("Alias for field number") else None


HOMES = homes()


def setup(app: Sphinx) -> None:
    """Connect the handlers."""
    app.connect("autodoc-process-docstring", to_rst, priority=100)
    app.connect("autodoc-process-docstring", add_picture, priority=900)
    app.connect("autodoc-skip-member", skip)
    app.connect("source-read", edit_source)
    app.connect("missing-reference", resolve)
