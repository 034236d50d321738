"""Who may import whom: nouns, machinery, methods and adapters, what runs them. Peeking at the truth is an import error."""

import ast
import re
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parents[1] / "lib" / "heads"
OUTSIDE = {"files", "lock"}  # files and processes; they know nothing of heads
NOUNS = {"camera", "scene"}
MACHINERY = {"sdf", "colour", "trace", "consistency", "cuda_graph", "optimizers", "mesh", "metric"}
METHODS = {"priors", "average", "autodecoder", "idr", "choose"}
ADAPTERS = {"h3ds", "people", "synthetic"}
WORDS = {"posts", "tables", "original", "speed", "protocols", "lessons"}
ENGINE = {"study", "runs", "status", "plots", "stats", "notebooks", "__main__"} | WORDS
JUDGE = {"metric"}

MAY_IMPORT = (
    {name: set() for name in OUTSIDE}
    | dict.fromkeys(NOUNS, NOUNS)
    | dict.fromkeys(MACHINERY, NOUNS | MACHINERY - JUDGE | {"files"})
    | dict.fromkeys(METHODS, NOUNS | MACHINERY - JUDGE | METHODS)
    | dict.fromkeys(ADAPTERS, NOUNS | MACHINERY | ADAPTERS | {"files"})
    | dict.fromkeys(ENGINE, OUTSIDE | NOUNS | MACHINERY | METHODS | ADAPTERS | ENGINE)
    # light, for every job starts with them; `runs` asks `sdf` for the device only where there is a network to put on it
    | {"study": {"files"}, "runs": OUTSIDE | {"study", "sdf"}, "notebooks": {"files", "study", "runs"}}
)
ONLY_IMPORTER = {"anny": "people", "warp": "people", "plotly": "plots", "matplotlib": "plots", "papermill": "notebooks"}


def imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    """The modules of the package that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("heads.")}


MODULES = sorted(path for path in LIB.glob("*.py") if path.stem != "__init__")


def test_every_module_has_its_place() -> None:
    assert {path.stem for path in MODULES} == OUTSIDE | NOUNS | MACHINERY | METHODS | ADAPTERS | ENGINE


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_imports_only_what_is_below_it(path: Path) -> None:
    assert ours(path) - {path.stem} <= MAY_IMPORT[path.stem]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_method_cannot_reach_the_truth_by_any_way(method: str) -> None:
    assert not reached(method) & (JUDGE | ADAPTERS | ENGINE)


def reached(module: str) -> set[str]:
    """The modules that one imports, that these import, and so on, itself among them."""
    found, new = set(), {module}
    while new:
        found |= new
        new = set().union(*(ours(LIB / f"{name}.py") for name in new)) - found
    return found


@pytest.mark.parametrize(("rule", "method"), [("METHODS = lib(", "idr"), ('        lib=lib("camera", "scene"', "autodecoder")])
def test_the_study_makes_anew_what_a_changed_module_of_its_method_made(rule: str, method: str) -> None:
    line = next(line for line in (LIB.parents[1] / "Snakefile").read_text(encoding="utf-8").splitlines() if line.startswith(rule))
    assert reached(method) - OUTSIDE <= set(re.findall(r'"(\w+)"', line))


@pytest.mark.parametrize(("package", "module"), ONLY_IMPORTER.items())
def test_one_module_alone_knows_each_of_these_packages(package: str, module: str) -> None:
    assert {path.stem for path in MODULES if package in {name.split(".")[0] for name in imports(path)}} == {module}


def test_the_engine_starts_without_the_heavy_packages() -> None:
    heavy = {"torch", "pandas", "numpy", "trimesh", "safetensors", "jupytext", "jinja2"}
    for name in ("study", "runs", "status", "notebooks", "__main__"):
        tree = ast.parse((LIB / f"{name}.py").read_text(encoding="utf-8"))
        top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        top |= {f"{node.module}" for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert not {word.split(".")[0] for word in top} & heavy
