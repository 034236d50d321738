"""NPHM's space of heads with hair, as a prior for photographs."""

import json
from dataclasses import replace
from pathlib import Path

import copies
import numpy as np
import pandas as pd
import pytest
import torch

from heads.data import synthetic
from heads.methods import average, idr, priors
from heads.methods.nphm import identity
from heads.posts import results
from heads.scene import Scene
from heads.surface import ensemble

STUDY = """
data: {notebook: 01_data, seed: 5, size: 48, photographs: 8}
subjects: [ada]
views: [3, 1]
every: {preset: SMOKE}
priors:
  heads: {notebook: 06_autodecoder, heads: 2}
  local: {notebook: 16_hair, heads: 2, unseen: 1, prior: heads, training: {steps: 200}}
methods:
  nphm:
    - {notebook: 03_reconstruct, label: NPHM, views: [3], prior: local, carry: [geometry], fit: {epochs: 40}}
    - {name: code-of-one, views: [1], fit: {epochs: 40, code_epochs: 100}}
"""


@pytest.fixture(scope="module")
def two() -> identity.Scans:
    return identity.Scans([synthetic.training_head(3, index, points=3000) for index in range(2)])


@pytest.fixture(scope="module")
def learned(two: identity.Scans) -> priors.Prior:
    return identity.train("two", two, replace(identity.IN_SPHERE["SMOKE"], steps=200), frame=priors.UNIT_SPHERE).prior


def test_anchors_are_on_the_skin_and_the_face_in_front(two: identity.Scans) -> None:
    assert two.anchors.shape == (2, 39, 3)
    for head in two.heads:
        tip = head.anchors[34]  # of the nose
        assert (tip[2] > head.anchors[torch.arange(39) != 34, 2]).all()
        right, left = head.anchors[:32:2], head.anchors[1:32:2]
        assert (right[:, 0] < left[:, 0]).all()
        assert torch.cdist(tip[None], head.points).min() < 0.05  # of 3,000 points all over
    generator = torch.Generator().manual_seed(0)
    face, normals = two.surface(0, 500, face=True, generator=generator)
    rest, _ = two.surface(0, 500, face=False, generator=generator)
    assert face[:, 2].mean() > rest[:, 2].mean() + 0.3 and torch.allclose(normals.norm(dim=1), torch.ones(500), atol=1e-4)


def test_photographs_can_start_from_an_ensemble_and_with_its_code_alone(learned: priors.Prior, ellipsoid_scene: Scene) -> None:
    assert isinstance(learned.shape, ensemble.Shape)
    config = replace(idr.SMOKE, epochs=20, hold_weight=0.0)
    free = idr.fit(ellipsoid_scene, learned, replace(config, code_epochs=0))
    alone = idr.fit(ellipsoid_scene, learned, replace(config, code_epochs=100))
    assert free.history[-1]["mask"] < free.history[0]["mask"] and np.isfinite(free.mesh_mm.vertices).all()
    weights = [name for name in learned.tensors if name.startswith("geometry.weights")]
    assert weights and all(torch.equal(alone.tensors[name], learned.tensors[name]) for name in weights)
    assert not any(torch.equal(free.tensors[name], learned.tensors[name]) for name in weights)
    assert not torch.equal(alone.tensors["geometry.code"], learned.tensors["geometry.code"])


def test_a_prior_in_another_frame_is_refused_before_any_step(learned: priors.Prior, ellipsoid_scene: Scene) -> None:
    with pytest.raises(ValueError, match="two: its heads are in units of 250 mm, and photographs are fitted in the unit sphere"):
        idr.fit(ellipsoid_scene, replace(learned, frame=identity.FRAME), idr.SMOKE)


def test_what_cannot_be_done_with_an_ensemble_is_said(learned: priors.Prior) -> None:
    with pytest.raises(ValueError, match="prior two: carry its geometry"):
        priors.check_surface(priors.carrying(learned, ["colour"]))
    with pytest.raises(ValueError, match="prior two: averages are of single networks"):
        average.average_weights("both", [learned, learned])


def test_a_prior_of_one_head_is_no_space_of_heads(learned: priors.Prior) -> None:
    priors.check_space(learned)
    with pytest.raises(ValueError, match="prior sphere: it has no codes of people; expected a space of heads"):
        priors.check_space(priors.sphere(idr.SMOKE.shape, 0))  # type: ignore[arg-type]


def test_an_ensemble_is_no_sphere() -> None:
    with pytest.raises(ValueError, match="a fresh ensemble is no sphere"):
        priors.sphere(ensemble.Shape(), 0)


def test_a_study_starts_from_the_space_and_compares_it_with_another(repository: Path) -> None:
    done, ran = copies.again(repository, STUDY)
    assert done.returncode == 0, done.stderr[-2000:]
    written = repository / "results"
    about = json.loads((written / "mine.json").read_text(encoding="utf-8"))
    found = results.Results("mine", results.read_table(written / "mine.csv"), about=about)
    assert found.views == [3] and found.table["status"].tolist() == ["ok"] * 2
    assert {"prior/heads", "prior/local", "fit/ada.nphm.local.v3.s0", "fit/ada.nphm.local.code-of-one.v1.s0"} <= ran
    assert {"comparison_ada.png", "losses.png"} <= {path.name for path in (repository / "figures" / "mine").iterdir()}
    unseen = pd.read_csv(repository / "runs" / "mine" / "prior" / "local" / "unseen.csv")
    assert unseen["space"].tolist() == ["local", "heads"] and (unseen[["face_mm", "rest_mm"]] < 100).all(axis=None)
