"""The README: its main path runs as it stands there, and its table of files names all that there are."""

import re
from pathlib import Path

import numpy as np
import pytest

from heads import mesh

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_main_path_runs_as_it_stands_there_only_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = re.findall(r"## The main path\n\n```python\n(.*?)```", README, re.DOTALL)
    small = path.replace("seed=0)  # 40 photographs", "seed=0, size=48, n_photographs=8)  # 8 photographs")
    small = small.replace("idr.LAPTOP.shape", "idr.SMOKE.shape").replace("idr.LAPTOP)", "replace(idr.SMOKE, epochs=60))")
    assert "LAPTOP" not in small and "n_photographs=8" in small
    monkeypatch.chdir(tmp_path)
    exec("from dataclasses import replace\n" + small, {})
    assert "head_rigid_mm" in capsys.readouterr().out
    assert np.ptp(mesh.load("ada.ply").vertices, axis=0).max() > 100  # mm


def test_every_folder_of_the_library_is_named_and_every_file_that_is_named_is_there() -> None:
    table = README.split("## Files, in reading order")[1].split("## Credits")[0]
    lib = ROOT / "lib" / "heads"
    assert set(re.findall(r"\*\*`(\w+)/`\*\*", table)) == {path.parent.name for path in lib.glob("*/__init__.py")}
    named = set(re.findall(r"`(\w+\.py)`", table))
    there = {path.name for path in lib.rglob("*.py")} - {"__init__.py"}
    assert named <= there
    new = {path.name for folder in ("methods", "data") for path in (lib / folder).glob("*.py")}  # a method needs no line here
    assert there - named <= new


def test_every_study_is_named() -> None:
    table = README.split("| `config/` | |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) >= {path.stem for path in (ROOT / "config").glob("*.yaml")}
