"""The reference names everything public, each name has an executed example, and docstrings open with their subject."""

import ast
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "torch_symbreak"
#: The readers behind ``torch_symbreak.io.open_file``. Nobody imports them from elsewhere.
INTERNAL = {"torch_symbreak.io.formats"}
_OPENINGS = ("What", "Where", "How", "Which", "Whether", "Of")
_NODES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

Trees = dict[str, ast.Module]


def trees_of(package: Path) -> Trees:
    """Parse every file, by the path of its module."""
    trees = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        trees[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return trees


def names_of(tree: ast.Module) -> list[str]:
    """Return ``__all__``."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def public_names(trees: Trees) -> Iterator[tuple[str, str]]:
    """Yield the modules and names of every public ``__all__``. The package takes its own from ``_names``."""
    for path, tree in trees.items():
        parts = path.split(".")
        path = parts[0] if parts[1:] == ["_names"] else path
        if path not in INTERNAL and not any(part.startswith("_") for part in path.split(".")):
            yield from ((path, name) for name in names_of(tree) if not name.startswith("__"))


def definition(trees: Trees, path: str, name: str) -> tuple[str, ast.stmt] | None:
    """Follow the imports of a name to the module that defines it."""
    tree = trees[f"{path}._names" if path == "torch_symbreak" else path]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and name in [alias.asname or alias.name for alias in node.names]:
            return definition(trees, str(node.module), name) if node.module in trees else None
    for node in tree.body:
        targets = [getattr(node, "name", None), *(ast.unparse(t) for t in getattr(node, "targets", []))]
        if name in [*targets, ast.unparse(node.target) if isinstance(node, ast.AnnAssign) else None]:
            return path, node
    return None


def without_example(trees: Trees) -> list[str]:
    """Return the public classes and functions whose docstring has no doctest."""
    missing = []
    for path, name in public_names(trees):
        found = definition(trees, path, name)
        if found is None:
            missing.append(f"{path}.{name}: not defined")
        elif isinstance(found[1], _NODES) and ">>>" not in (ast.get_docstring(found[1]) or ""):
            missing.append(f"{path}.{name}")
    return missing


def documented(folder: Path) -> dict[str, set[str] | None]:
    """Return what each page of the reference shows: module to names, None for all of ``__all__``."""
    shown: dict[str, set[str] | None] = {}
    for page in folder.glob("*.md"):
        text = page.read_text()
        for path, members in re.findall(r"automodule:: (\S+)\n   :members:(.*)", text):
            shown[path] = {name.strip() for name in members.split(",")} if members.strip() else None
    return shown


def undocumented(trees: Trees, folder: Path) -> list[str]:
    """Return the public names that no page of the reference shows."""
    shown = documented(folder)
    texts = "\n".join(page.read_text() for page in folder.glob("*.md"))
    homes = set()
    for path, name in public_names(trees):
        if path in shown and (shown[path] is None or name in (shown[path] or ())):
            found = definition(trees, path, name)
            # Autodoc leaves out constants that are defined elsewhere: pages name those themselves.
            if found is not None and (isinstance(found[1], _NODES) or found[0] == path or f"`{name}`" in texts):
                homes.add((found[0], name))
    return [
        f"{path}.{name}"
        for path, name in public_names(trees)
        if (found := definition(trees, path, name)) is None or (found[0], name) not in homes
    ]


def test_every_public_name_has_an_example() -> None:
    trees = trees_of(PACKAGE)
    assert len(list(public_names(trees))) > 150
    assert not without_example(trees)


def test_every_public_name_is_in_the_reference() -> None:
    assert not undocumented(trees_of(PACKAGE), ROOT / "docs" / "api")


def test_the_names_of_daily_use_are_listed() -> None:
    page = (ROOT / "docs" / "api" / "torch_symbreak.md").read_text()
    names = names_of(trees_of(PACKAGE)["torch_symbreak._names"])
    assert [name for name in names if f"`{name} <" not in page and name not in ("__version__", "check_finite")] == []


def test_docstrings_open_with_their_subject() -> None:
    opened = [
        f"{path}: {text.splitlines()[0]}"
        for path, tree in trees_of(PACKAGE).items()
        for node in ast.walk(tree)
        if isinstance(node, _NODES) and (text := ast.get_docstring(node)) and text.split()[0].strip(".,:") in _OPENINGS
    ]
    assert not opened


@pytest.mark.parametrize("docstring", ["No example.", "Example:\n    >>> 1\n    1"])
def test_the_inventory_sees_what_is_missing(tmp_path: Path, docstring: str) -> None:
    package, pages = tmp_path / "torch_symbreak", tmp_path / "api"
    package.mkdir()
    pages.mkdir()
    (package / "_names.py").write_text('from torch_symbreak.part import shown\n__all__ = ["shown"]\n')
    (package / "part.py").write_text(f'__all__ = ["shown"]\ndef shown():\n    """{docstring}"""\n')
    trees = trees_of(package)
    expected = [] if ">>>" in docstring else ["torch_symbreak.part.shown", "torch_symbreak.shown"]
    assert sorted(without_example(trees)) == expected
    assert len(undocumented(trees, pages)) == 2
    (pages / "part.md").write_text("```\n.. automodule:: torch_symbreak.part\n   :members: other\n")
    assert len(undocumented(trees, pages)) == 2
    (pages / "part.md").write_text("```\n.. automodule:: torch_symbreak.part\n   :members:\n")
    assert not undocumented(trees, pages)


GALLERY = sorted((ROOT / "examples" / "gallery").glob("plot_*.py"))
QUICK = ("plot_02_orbit", "plot_05_template", "plot_06_ties")


@pytest.mark.parametrize(
    "script",
    [pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow) for path in GALLERY],
)
def test_the_gallery_runs(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    for name in ("lightning", "sklearn"):
        if f"{name}." in script.read_text():
            pytest.importorskip(name)
    runpy.run_path(str(script))
    plt.close("all")
