"""Who may import whom, folder by folder. Peeking at the truth is an import error."""

import ast
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parents[1] / "lib" / "heads"
JUDGES = {"metric", "pictures", "truth", "data/truth"}
MAY_IMPORT = {  # the modules of a folder -> folders and modules; each may import its own folder, except methods
    "": {""},
    "surface": {"files", "camera", "scene", "mesh"},
    "gaussians": {"camera"},
    "methods": {"files", "camera", "scene", "mesh", "morphable", "surface", "methods/priors"},
    "methods/nphm": {"files", "camera", "scene", "mesh", "surface", "methods/priors"},
    "methods/pixel2mesh": {"files", "camera", "scene", "mesh", "template", "surface"},
    "methods/identity_field": {"files", "camera", "scene", "mesh", "morphable", "rays", "surface", "gaussians"},
    "data": {"files", "camera", "scene", "mesh", "truth", "clouds", "template", "morphable", "rays"},
    "study": {"files"},
    "posts": {"", "surface", "gaussians", "methods", "methods/pixel2mesh", "methods/identity_field", "data"},
}
ALSO = {  # what single modules may import beside that
    "methods/choose": {"methods/idr"},  # it tries priors with fits
    "study/records": {"surface/sdf"},  # which device "auto" is, where there is a network to put on it
    "study/progress": {"surface/training"},  # the type of what it makes
    "posts/fields": {"study/plan", "study/records"},  # what a study has made, to show it
    "posts/results": {"study/plan"},  # the smallest effect that matters, where a study says none
    "__main__": {"study"},
}
ONLY_IMPORTERS = {  # packages that these modules alone know
    "anny": "data/anatomy",
    "warp": "data/anatomy gaussians/rasterizer",
    "gsplat": "gaussians/rasterizer",
    "plotly": "posts/plots",
    "matplotlib": "posts/plots",
    "papermill": "study/notebooks",
}
MODULES = sorted(path.relative_to(LIB).with_suffix("").as_posix() for path in LIB.rglob("*.py") if path.stem != "__init__")


def imports(module: str) -> set[str]:
    """Dotted names of all that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((LIB / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(module: str) -> set[str]:
    """The modules of the package that a module imports."""
    parts = [name.split(".")[1:] for name in imports(module) if name.startswith("heads.")]
    return {"/".join(part[:n]) for part in parts for n in (1, 2, 3) if "/".join(part[:n]) in MODULES}


def folder(module: str) -> str:
    return module.rpartition("/")[0]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_folder_may(module: str) -> None:
    own = {module} if folder(module) == "methods" else {folder(module)}
    allowed = MAY_IMPORT[folder(module)] | ALSO.get(module, set()) | own
    assert [other for other in sorted(ours(module)) if not {other, folder(other)} & allowed] == []


@pytest.mark.parametrize("module", [module for module in MODULES if folder(module).startswith(("surface", "methods"))])
def test_a_method_cannot_reach_the_truth_in_any_way(module: str) -> None:
    reached, new = set(), {module}
    while new:
        reached |= new
        new = set().union(*map(ours, new)) - reached
    assert not reached & JUDGES and not {folder(other) for other in reached} & {"data", "study", "posts"}


@pytest.mark.parametrize(("package", "modules"), ONLY_IMPORTERS.items())
def test_few_modules_know_each_of_these_packages(package: str, modules: str) -> None:
    assert {one for one in MODULES if package in {name.split(".")[0] for name in imports(one)}} == set(modules.split())


def test_a_study_is_planned_and_run_without_the_heavy_packages() -> None:
    heavy = {"torch", "pandas", "numpy", "trimesh", "safetensors", "jupytext", "jinja2"}
    for module in ["__main__", "files", *(one for one in MODULES if folder(one) == "study")]:
        tree = ast.parse((LIB / f"{module}.py").read_text(encoding="utf-8"))
        top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        top |= {f"{node.module}" for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert not {word.split(".")[0] for word in top} & heavy, module
