"""Choosing a prior: the photographs' loss against a slow twin, what a trial sees, and that it finds the better prior."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import trimesh
from torch.nn import functional

from heads import camera
from heads.data import h3ds
from heads.methods import choose, idr, priors
from heads.scene import Reconstruction, Scene
from heads.study import checkpoints, records
from heads.surface import colour, sdf, training

ROOT = Path(__file__).resolve().parents[1]

CONFIG = replace(idr.SMOKE, epochs=60)


@pytest.fixture(scope="module")
def fitted(ellipsoid_scene: Scene) -> Reconstruction:
    return idr.fit(ellipsoid_scene, priors.sphere(CONFIG.shape, 0), replace(CONFIG, epochs=150))


@pytest.fixture(scope="module")
def starts(fitted: Reconstruction) -> list[priors.Prior]:
    return [priors.sphere(CONFIG.shape, 0), priors.single_scan("own", CONFIG.shape, 150, fitted)]


def slow_loss(tensors: dict[str, torch.Tensor], scene: Scene, view: int) -> dict[str, float]:
    """One photograph, every fourth pixel, by marching along every ray in 600 steps and halving the last one 20 times."""
    generator, saved = torch.Generator(), priors.Prior("", CONFIG.shape, 0, tensors)
    geometry = priors.network(saved, generator=generator)
    painter = colour.ColourNetwork(CONFIG.colour_shape, generator)
    painter.load_state_dict(priors.part(saved, "colour"))
    field = sdf.distance(geometry)
    total, rgb, mask = 0, 0.0, 0.0
    for row in range(0, scene.masks.shape[1], 2):
        pixels = torch.stack([torch.arange(0, scene.masks.shape[2], 2), torch.full((scene.masks.shape[2] // 2,), row)], dim=1)
        origins, directions = camera.rays(scene.px_from_cam[view], scene.unit_from_cam[view], pixels.float())
        t = torch.linspace(0, 5, 600).expand(len(pixels), -1)
        points = origins[:, None] + t[..., None] * directions[:, None]
        within, values = points.norm(dim=-1) <= 1, torch.full(t.shape, 9.0)
        values[within] = field(points[within])
        first = (values < 0).int().argmax(dim=1, keepdim=True)  # what it is of rays that miss does not matter
        low, high = t.gather(1, (first - 1).clamp(min=0)), t.gather(1, first)
        for _ in range(20):
            middle = (low + high) / 2
            inside = field(origins + middle * directions)[:, None] < 0
            low, high = low.where(inside, middle), middle.where(inside, high)
        for i, (column, _) in enumerate(pixels.tolist()):
            total += 1
            on_head, below = bool(scene.masks[view, row, column]), bool((values[i] < 0).any())
            if on_head and below:
                x = (origins[i] + high[i] * directions[i])[None]
                _, normal, feature = geometry.with_gradient(x)
                seen = painter(x, -directions[i][None], normal, feature)[0]
                rgb += (seen - (scene.images[view, row, column] * 2 - 1)).abs().sum().item()
            else:
                logit = -CONFIG.alpha * values[i].min()
                mask += functional.binary_cross_entropy_with_logits(logit, torch.tensor(float(on_head))).item() / CONFIG.alpha
    return {"rgb": rgb / total, "mask": mask / total, "loss": rgb / total + CONFIG.mask_weight * mask / total}


def test_the_loss_of_a_photograph_is_that_of_marching_along_every_ray(ellipsoid_scene: Scene, fitted: Reconstruction) -> None:
    found = choose.photograph_loss(
        fitted.tensors, choose.only(ellipsoid_scene, [1]), replace(CONFIG, grid=64, gain_step_size=0.0)
    )
    expected = slow_loss(fitted.tensors, ellipsoid_scene, 1)
    assert found["rgb"] == pytest.approx(expected["rgb"], rel=0.03)
    assert found["mask"] == pytest.approx(expected["mask"], rel=0.1)
    assert found["loss"] == pytest.approx(found["rgb"] + 100 * found["mask"])


def test_the_loss_depends_neither_on_the_tracer_nor_on_how_many_rays_are_asked_at_once(
    ellipsoid_scene: Scene, fitted: Reconstruction
) -> None:
    first = choose.photograph_loss(fitted.tensors, ellipsoid_scene, CONFIG)
    assert choose.photograph_loss(fitted.tensors, ellipsoid_scene, replace(CONFIG, rays=5000)) == pytest.approx(first, rel=1e-4)
    fine = choose.photograph_loss(fitted.tensors, ellipsoid_scene, replace(CONFIG, grid=64))
    published = choose.photograph_loss(fitted.tensors, ellipsoid_scene, replace(CONFIG, tracer="published"))
    assert published["loss"] == pytest.approx(fine["loss"], rel=0.03)


def test_the_loss_of_all_photographs_is_the_mean_of_those_of_each(ellipsoid_scene: Scene, fitted: Reconstruction) -> None:
    whole = choose.photograph_loss(fitted.tensors, ellipsoid_scene, CONFIG)["loss"]
    each = [choose.photograph_loss(fitted.tensors, choose.only(ellipsoid_scene, [view]), CONFIG)["loss"] for view in range(5)]
    assert sum(each) / 5 == pytest.approx(whole, rel=1e-5)


def test_the_loss_sees_no_exposure_where_gains_are_learned(ellipsoid_scene: Scene, fitted: Reconstruction) -> None:
    def loss(channels: float | list[float], config: idr.Config) -> dict[str, float]:
        lit = replace(ellipsoid_scene, images=ellipsoid_scene.images * torch.tensor(channels))
        return choose.photograph_loss(fitted.tensors, choose.only(lit, [4]), config)

    published = replace(CONFIG, gain_step_size=0.0)
    same, plain = loss(1.0, CONFIG), loss(1.0, published)
    for channels in (1.2, [1.3, 1.0, 0.8]):
        assert loss(channels, CONFIG) == pytest.approx(same, rel=1e-3)
        assert loss(channels, published)["rgb"] > 1.5 * plain["rgb"]
    assert same["mask"] == plain["mask"]
    for factor in (0.9, 0.97, 1.0, 1.03, 1.1):
        assert same["rgb"] < 1.001 * loss(factor, published)["rgb"]


def test_each_photograph_has_an_exposure_of_its_own(ellipsoid_scene: Scene, fitted: Reconstruction) -> None:
    lit = replace(ellipsoid_scene, images=ellipsoid_scene.images * torch.linspace(0.6, 1.4, 5)[:, None, None, None])
    alike = [choose.photograph_loss(fitted.tensors, scene, CONFIG) for scene in (ellipsoid_scene, lit)]
    assert alike[1] == pytest.approx(alike[0], rel=1e-3)


def test_a_surface_that_no_photograph_sees_has_a_finite_loss(ellipsoid_scene: Scene, fitted: Reconstruction) -> None:
    empty = replace(ellipsoid_scene, masks=torch.zeros_like(ellipsoid_scene.masks))
    found = choose.photograph_loss(fitted.tensors, empty, CONFIG)
    assert found["rgb"] == 0 and found["loss"] < float("inf")


def test_a_photograph_is_held_out_if_nothing_else_is_said(ellipsoid_scene: Scene, starts: list[priors.Prior]) -> None:
    (one,) = choose.trial(ellipsoid_scene, starts[:1], replace(CONFIG, epochs=1), share=1)
    assert one.fitted == (0, 1, 2, 3) and one.judged == (4,)


@pytest.mark.parametrize("held_out", [False, True])
def test_the_prior_that_knows_the_head_is_chosen_before_the_sphere(
    ellipsoid_scene: Scene, starts: list[priors.Prior], held_out: bool
) -> None:
    trials = choose.trial(ellipsoid_scene, starts, CONFIG, held_out=held_out)
    assert [one.prior for one in trials] == ["sphere", "own"] and {one.epochs for one in trials} == {12}
    assert {(one.fitted, one.judged) for one in trials} == (
        {((0, 1, 2, 3), (4,))} if held_out else {((0, 1, 2, 3, 4), (0, 1, 2, 3, 4))}
    )
    assert trials[1].loss < trials[0].loss / 2
    assert choose.choose(trials) == choose.choose(trials[::-1]) == "own"


def test_a_trial_does_not_see_the_photograph_that_is_held_out(ellipsoid_scene: Scene, starts: list[priors.Prior]) -> None:
    images = ellipsoid_scene.images.clone()
    images[-1] = 1 - images[-1]
    honest, spoiled = (
        choose.trial(scene, starts[:1], CONFIG, held_out=True)[0]
        for scene in (ellipsoid_scene, replace(ellipsoid_scene, images=images))
    )
    assert honest.head.mesh_mm.vertices.tobytes() == spoiled.head.mesh_mm.vertices.tobytes()
    assert spoiled.rgb > honest.rgb


def test_a_trial_is_a_fit_of_a_share_of_the_epochs(ellipsoid_scene: Scene, starts: list[priors.Prior]) -> None:
    steps: dict[str, int] = {}

    def progress(name: str) -> training.OnStep:
        return lambda step, total, terms, state: steps.update({name: total})

    trials = choose.trial(ellipsoid_scene, starts, CONFIG, share=0.5, seed=3, held_out=False, progress=progress)
    assert steps == {"sphere": 30, "own": 30}
    alone = idr.fit(ellipsoid_scene, starts[0], replace(CONFIG, epochs=30), seed=3)
    assert trials[0].head.mesh_mm.vertices.tobytes() == alone.mesh_mm.vertices.tobytes()


def row(prior: str, loss: float, epochs: int = 10) -> choose.Trial:
    return choose.Trial(prior, loss, loss, 0.0, epochs, (0,), (0,), head=None)  # type: ignore[arg-type]


def test_the_smallest_loss_is_chosen_and_the_first_of_equal_ones() -> None:
    assert choose.choose([row("a", 2.0), row("b", 1.0), row("c", 1.0)]) == "b"


@pytest.mark.parametrize(
    ("trials", "sentence"),
    [
        ([], "no trial to choose from"),
        ([row("a", 1.0), row("b", float("nan"))], "prior b: the loss of its trial is nan"),
        ([row("a", 1.0), row("b", 2.0, epochs=20)], "differ in their epochs or photographs"),
    ],
)
def test_trials_that_cannot_be_compared_are_refused_with_a_sentence(trials: list[choose.Trial], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        choose.choose(trials)


def test_wrong_input_is_refused_before_any_fit(
    ellipsoid_scene: Scene, starts: list[priors.Prior], fitted: Reconstruction
) -> None:
    one = choose.only(ellipsoid_scene, [0])
    for call, sentence in (
        (lambda: choose.trial(ellipsoid_scene, [], CONFIG), "there is no prior to try"),
        (lambda: choose.trial(ellipsoid_scene, [starts[0]] * 2, CONFIG), "two of the priors to try are named 'sphere'"),
        (lambda: choose.trial(ellipsoid_scene, starts, CONFIG, share=0), "share must lie above 0 and be at most 1, not 0"),
        (
            lambda: choose.trial(one, starts, CONFIG, held_out=True),
            "scene ellipsoid: holding out a photograph needs at least two",
        ),
        (lambda: choose.photograph_loss(starts[0].tensors, one, CONFIG), "the tensors hold no colour network"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()


def write_folder(root: Path, scene: Scene) -> None:
    """The ellipsoid as subject `egg` of a folder in the H3DS layout."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    ball.apply_transform(scene.mm_from_unit.numpy() @ np.diag([0.5, 0.7, 0.6, 1.0]))
    px_from_unit = torch.eye(4).repeat(len(scene.views), 1, 1)
    px_from_unit[:, :3] = scene.px_from_cam @ torch.linalg.inv(scene.unit_from_cam)[:, :3]
    front = np.flatnonzero(ball.vertices[:, 2] > 20)
    h3ds.write_scene(
        root,
        "egg",
        images=(scene.images.numpy() * 255).round().astype(np.uint8),
        masks=scene.masks.numpy(),
        world_mat=(px_from_unit @ torch.linalg.inv(scene.mm_from_unit)).double().numpy(),
        scale_mat=scene.mm_from_unit.double().numpy(),
        mesh_mm=ball,
        landmarks={},
        regions={"face": front, "face_sphere": front},
    )
    h3ds.register(root, "egg", n_views=len(scene.views), view_lists={3: [0, 1, 2]})


def test_the_notebook_tries_the_named_priors_of_a_study_and_says_which_is_chosen(
    tmp_path: Path, ellipsoid_scene: Scene, starts: list[priors.Prior]
) -> None:
    for name in ("lib", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (tmp_path / "Snakefile").touch()
    write_folder(tmp_path / "photos", ellipsoid_scene)
    for start in starts:
        about = {"name": start.name, "epoch": start.epoch, "shape": asdict(start.shape)}
        checkpoints.save(tmp_path / "runs/mine/prior" / start.name / "checkpoint.safetensors", start.tensors, about)
    folders = json.dumps([f"runs/mine/prior/{start.name}" for start in starts])
    given = {"out": "runs/mine/choose/egg.v3.s0", "root": "photos", "subject": "egg", "priors": folders, "preset": "SMOKE"}
    given |= {"share": "0.1", "carry": "{own: [geometry, colour]}", "fit": "{epochs: 60}"}
    command = [sys.executable, "-m", "heads", "run", "notebooks/08_choose.py", "out.ipynb", "--record"]
    command += ["runs/mine/choose/egg.v3.s0/record.json", *(word for pair in given.items() for word in ("-p", *pair))]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "lib"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_csv(tmp_path / "runs/mine/choose/egg.v3.s0/trials.csv").set_index("prior")
    assert list(table.index) == ["sphere", "own"] and table["chosen"].tolist() == [False, True]
    assert table.loc["own", "face_rigid_mm"] < table.loc["sphere", "face_rigid_mm"]
    record = records.read(tmp_path / "runs/mine/choose/egg.v3.s0/record.json")
    assert record.losses == pytest.approx(table["loss"].to_dict())
    assert record.scores["face_rigid_mm"] == pytest.approx(table.loc["own", "face_rigid_mm"])
    assert "chosen: own, the best of them; it costs 0.00 mm" in (tmp_path / "out.ipynb").read_text()
    assert table["fitted"].tolist() == ["0 1", "0 1"] and table["judged"].tolist() == [2, 2]
    scene = h3ds.load_scene(tmp_path / "photos", "egg", 3)
    carried = [priors.carrying(start, ("geometry", "colour")) for start in starts]
    expected = choose.trial(scene, carried, CONFIG, share=0.1)
    assert table["loss"].tolist() == pytest.approx([one.loss for one in expected], rel=1e-3)
