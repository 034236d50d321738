"""The metadata, the lock, the Makefile and the README speak of the same Pythons."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TEXT = {
    name: (ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "README.md", "requirements.lock", "environment.yml")
}
TOML = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = TOML["project"]


def minors(pattern: str, text: str) -> set[tuple[int, ...]]:
    """What a pattern's groups find, as numbers; it has to be found."""
    found = {tuple(map(int, match.groups())) for match in re.finditer(pattern, text, re.IGNORECASE)}
    assert found, f"nothing says {pattern}"
    return found


((FIRST,),) = minors(r"^>=3\.(\d+)$", PROJECT["requires-python"])
((AFTER,),) = minors(r"^python_version < '3\.(\d+)'$", "".join(TOML["tool"]["uv"]["environments"]))


def test_the_metadata_name_each() -> None:
    named = [
        name.rpartition(" ")[2] for name in PROJECT["classifiers"] if name.startswith("Programming Language :: Python :: 3.")
    ]
    assert named == [f"3.{minor}" for minor in range(FIRST, AFTER)]
    assert TOML["tool"]["ruff"]["target-version"] == f"py3{FIRST}"


@pytest.mark.parametrize("name", ["Makefile", "README.md", "requirements.lock"])
def test_the_first_and_the_last_are_named(name: str) -> None:
    assert minors(r"\bpython \(?3\.(\d+) to 3\.(\d+)", TEXT[name]) == {(FIRST, AFTER - 1)}


def test_the_makefile_refuses_others_and_makes_the_lock_for_all() -> None:
    assert minors(r"\(3, (\d+)\) <= sys\.version_info < \(3, (\d+)\)", TEXT["Makefile"]) == {(FIRST, AFTER)}
    assert minors(r"--python-version 3\.(\d+)", TEXT["Makefile"]) == {(FIRST,)}
    assert minors(r"python_full_version < '3\.(\d+)'", TEXT["Makefile"]) == {(AFTER,)}


def test_conda_takes_one_of_them() -> None:
    ((minor,),) = minors(r"- python=3\.(\d+)\n", TEXT["environment.yml"])
    assert FIRST <= minor < AFTER


@pytest.mark.parametrize("minor", range(FIRST, AFTER))
def test_the_lock_pins_on_each_what_the_package_requires(minor: int) -> None:
    version = {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.1"}
    here = version | {"sys_platform": "linux", "platform_machine": "x86_64"}
    pins = [Requirement(line) for line in TEXT["requirements.lock"].splitlines() if not line.startswith("#")]
    pinned = {canonicalize_name(pin.name) for pin in pins if pin.marker is None or pin.marker.evaluate(here)}
    required = ["torch", *chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())]
    assert {canonicalize_name(Requirement(one).name) for one in required} - pinned == {"h3ds"}  # the Makefile installs that
