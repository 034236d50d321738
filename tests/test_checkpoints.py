"""Checkpoints: every bit comes back, nothing that was there is lost, and no pickle is read."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from heads.methods import idr, priors
from heads.scene import Scene
from heads.study import checkpoints

ROOT = Path(__file__).resolve().parents[1]
TENSORS = {"geometry.weight": torch.arange(6.0).view(2, 3).T, "step": torch.tensor(7), "generator": torch.Generator().get_state()}


def test_a_checkpoint_gives_back_every_bit_and_what_it_is(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "c.safetensors", TENSORS, {"name": "single", "shape": {"width": 8}, "milestones": (1, 2)})
    tensors, about = checkpoints.load(tmp_path / "c.safetensors")
    assert about == {"name": "single", "shape": {"width": 8}, "milestones": [1, 2]}
    assert set(tensors) == set(TENSORS)
    assert all(torch.equal(tensors[name], TENSORS[name]) and tensors[name].dtype == TENSORS[name].dtype for name in TENSORS)


def test_a_checkpoint_that_is_missing_is_named_with_what_would_make_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"c\.safetensors: there is no such checkpoint; the run that makes it"):
        checkpoints.load(tmp_path / "c.safetensors")


def test_a_write_that_the_system_cuts_short_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    checkpoints.save(path, {"a": torch.ones(3)}, {"epoch": 1})
    code = (
        "import resource, sys, torch, pathlib; from heads.study import checkpoints\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"  # the nearest thing to a full disk that needs no root
        f"try: checkpoints.save(pathlib.Path({str(path)!r}), {{'a': torch.ones(9999)}}, {{'epoch': 2}})\n"
        "except OSError as error: sys.exit(str(error))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "checkpoint.safetensors: cannot be written (File too large)" in done.stderr
    assert checkpoints.load(path)[1] == {"epoch": 1} and os.listdir(tmp_path) == ["checkpoint.safetensors"]


def test_a_checkpoint_cut_short_anywhere_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoints.save(path, TENSORS, {"name": "single"})
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"c\.safetensors: not a checkpoint, or cut short"):
            checkpoints.load(path)


def test_no_pickle_is_ever_opened(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "owned").touch, ())

    torch.save({"a": torch.ones(2)}, tmp_path / "torch.safetensors")
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps(Hostile()))
    for name in ("torch", "pickle"):
        with pytest.raises(ValueError, match="not a checkpoint"):
            checkpoints.load(tmp_path / f"{name}.safetensors")
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_without_our_description_is_refused(tmp_path: Path) -> None:
    import safetensors.torch

    for metadata in (None, {"about": "[3"}, {"about": "3"}, {"format": "pt"}):
        safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "c.safetensors", metadata=metadata)
        with pytest.raises(ValueError, match="not a checkpoint"):
            checkpoints.load(tmp_path / "c.safetensors")


def test_only_the_same_fit_resumes_from_what_was_left_unfinished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, about = tmp_path / "unfinished.safetensors", {"config": {"epochs": 5, "milestones": (1, 2)}}
    assert checkpoints.unfinished(path, about) is None
    checkpoints.save(path, TENSORS, about)
    resumed = checkpoints.unfinished(path, about)
    assert resumed is not None and resumed["step"] == 7
    assert checkpoints.unfinished(path, {"config": {"epochs": 6, "milestones": (1, 2)}}) is None
    path.write_bytes(path.read_bytes()[:-1])
    assert checkpoints.unfinished(path, about) is None
    assert f"{path}: not a checkpoint, or cut short" in capsys.readouterr().out


def test_the_digest_is_that_of_all_tensors_and_of_nothing_else(ellipsoid_scene: Scene) -> None:
    prior = priors.sphere(idr.SMOKE.shape, seed=0)
    digest = checkpoints.digest(ellipsoid_scene, prior)
    assert digest == checkpoints.digest(replace(ellipsoid_scene, name="another"), priors.sphere(idr.SMOKE.shape, seed=0))
    others = [
        checkpoints.digest(ellipsoid_scene, priors.sphere(idr.SMOKE.shape, seed=1)),
        checkpoints.digest(replace(ellipsoid_scene, masks=~ellipsoid_scene.masks), prior),
        checkpoints.digest([prior]),
    ]
    assert len({digest, *others}) == 4
