"""The auto-decoder on heads known in closed form: spheres, whose only difference is their radius, and their colour."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from heads import mesh
from heads.methods import autodecoder, idr, priors
from heads.scene import Scene, TrainingHead
from heads.surface import colour, sdf, training

RADII = (0.35, 0.45, 0.55, 0.65)
TINY = replace(autodecoder.SMOKE, shape=sdf.Shape(width=32, depth=3, feature=8, octaves=1, code=2), steps=600, colour_weight=0.5)
COLOURS = colour.Shape(feature=8, width=16, depth=1, sees_view=False)


def sphere(radius: float, points: int = 2000) -> TrainingHead:
    """A sphere whose colour is its radius."""
    normals = torch.nn.functional.normalize(torch.randn(points, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    seen = normals[:500]
    face, anchors = normals[:, 2] > 0, radius * normals[:39]
    return TrainingHead(f"{radius}", radius * normals, normals, face, anchors, radius * seen, seen, torch.full((500, 3), radius))


HEADS = [sphere(radius) for radius in RADII]


def radius_of(prior: priors.Prior, code: Tensor) -> float:
    """The mean radius of a code's surface, in the unit frame."""
    vertices = autodecoder.surface(prior, code, cell_mm=10.0).vertices / autodecoder.MM_PER_UNIT
    return float((vertices**2).sum(axis=1).mean() ** 0.5)


@pytest.fixture(scope="module")
def trained() -> priors.Prior:
    return autodecoder.train("spheres", HEADS, TINY, colours=COLOURS).prior


@pytest.mark.parametrize(
    "changes", [{}, {"loss": "deepsdf"}, {"normal_weight": 0.0}], ids=["igr", "deepsdf", "igr without normals"]
)
def test_every_code_holds_its_head(changes: dict[str, object]) -> None:
    prior = autodecoder.train("spheres", HEADS, replace(TINY, **changes)).prior
    found = [radius_of(prior, code) for code in prior.tensors["codes"]]
    assert found == pytest.approx(list(RADII), abs=0.04)
    assert not any(name.startswith("colour.") for name in prior.tensors)


def test_the_prior_starts_from_the_mean_of_the_codes(trained: priors.Prior) -> None:
    assert torch.allclose(trained.tensors["geometry.code"], trained.tensors["codes"].mean(dim=0))
    mean, zero = (priors.network(trained, generator=torch.Generator(), start_code=start) for start in ("mean", "zero"))
    assert torch.equal(mean.code, trained.tensors["geometry.code"]) and not zero.code.any()


def test_the_colours_are_learned_with_the_codes(trained: priors.Prior) -> None:
    look = colour.ColourNetwork(COLOURS, torch.Generator())
    look.load_state_dict(priors.part(trained, "colour"))
    for head, code in zip(HEADS, trained.tensors["codes"], strict=True):
        geometry = priors.network(autodecoder.holding(trained, code), generator=torch.Generator())
        _, normals, features = geometry.with_gradient(head.seen)
        assert look(head.seen, head.seen, normals, features).mean().item() == pytest.approx(float(head.name), abs=0.05)


def test_a_head_is_completed_from_a_part_of_it(trained: priors.Prior) -> None:
    unseen = sphere(0.5)
    code = autodecoder.complete(trained, unseen.points[unseen.points[:, 2] > 0.2], TINY)
    assert radius_of(trained, code) == pytest.approx(0.5, abs=0.03)
    assert autodecoder.distance(trained, code, unseen.points) < 0.03


def test_between_two_heads_lie_heads(trained: priors.Prior) -> None:
    codes = trained.tensors["codes"]
    way = priors.interpolate(codes[0], codes[-1], 5)
    assert torch.equal(way[0], codes[0]) and torch.allclose(way[-1], codes[-1])
    radii = [radius_of(trained, code) for code in way]
    assert radii == sorted(radii) and radii[0] < 0.42 < 0.58 < radii[-1]


def test_samples_have_the_mean_and_the_spread_of_the_codes(trained: priors.Prior) -> None:
    codes, drawn = trained.tensors["codes"], priors.sample(trained, 4000, seed=1)
    assert torch.allclose(drawn.mean(dim=0), codes.mean(dim=0), atol=0.1 * float(codes.std()))
    assert torch.allclose(drawn.T.cov(), codes.T.cov(), atol=0.1 * float(codes.var()))
    assert torch.equal(drawn[:3], priors.sample(trained, 4000, seed=1)[:3])


def test_a_resumed_training_ends_where_an_undisturbed_one_does() -> None:
    config, states = replace(TINY, steps=40), {}

    def keep(step: int, total: int, terms: dict[str, float], state: training.StateOf) -> None:
        if step == 23:
            states["half"] = state()

    whole = autodecoder.train("spheres", HEADS, config, colours=COLOURS, on_step=keep)
    resumed = autodecoder.train("spheres", HEADS, config, colours=COLOURS, resume=states["half"])
    assert all(torch.equal(whole.prior.tensors[name], resumed.prior.tensors[name]) for name in whole.prior.tensors)
    assert whole.history == resumed.history


def test_signed_samples_are_the_distances_of_a_sphere() -> None:
    points, signed = autodecoder.distance_samples(sphere(0.5, points=20_000), torch.Generator().manual_seed(0), count=4000)
    true = points.norm(dim=1) - 0.5
    clear = true.abs() > 0.02  # nearer, the nearest of the sphere's points is not the nearest point of the sphere
    assert len(points) > 3000 and torch.equal(signed[clear] > 0, true[clear] > 0)
    assert (signed - true)[clear].abs().max() < 0.02


def test_a_fit_first_looks_for_the_code_alone(trained: priors.Prior, ellipsoid_scene: Scene) -> None:
    config = replace(idr.SMOKE, epochs=10, code_epochs=10, code_step_size=1e-2)
    prior = priors.carrying(trained, ["geometry"])
    frozen = idr.fit(ellipsoid_scene, prior, config)
    assert all(torch.equal(frozen.tensors[name], prior.tensors[name]) for name in prior.tensors if "geometry.layers" in name)
    assert not torch.equal(frozen.tensors["geometry.code"], prior.tensors["geometry.code"])
    free = idr.fit(ellipsoid_scene, prior, replace(config, code_epochs=5))
    assert not all(torch.equal(free.tensors[name], prior.tensors[name]) for name in prior.tensors if "geometry.layers" in name)
    assert isinstance(free.mesh_mm, mesh.trimesh.Trimesh)


def test_what_cannot_be_learned_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one head"):
        autodecoder.train("none", [], TINY)
    with pytest.raises(ValueError, match="no_view_dir"):
        autodecoder.train("spheres", HEADS, TINY, colours=replace(COLOURS, sees_view=True))
    blind = replace(HEADS[0], seen=torch.zeros(0, 3), seen_normals=torch.zeros(0, 3), colours=torch.zeros(0, 3))
    with pytest.raises(ValueError, match=r"0.35.*no photographs"):
        autodecoder.train("spheres", [blind], TINY, colours=COLOURS)
    with pytest.raises(ValueError, match="code of 2 numbers"):
        autodecoder.holding(priors.Prior("x", TINY.shape, 0, {}), torch.zeros(3))
    for name, value in (("loss", "nerf"), ("shape", sdf.Shape()), ("steps", 0)):
        with pytest.raises(ValueError, match=name if name != "shape" else "code"):
            replace(TINY, **{name: value})
