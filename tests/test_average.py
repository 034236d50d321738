"""The mean of priors, by their parameters and by what they say, on spheres, where both are known."""

from dataclasses import replace

import pytest
import torch
from test_priors import shifted
from torch import Tensor

from heads.methods import average, priors
from heads.surface import sdf, trace, training
from heads.surface.colour import ColourNetwork
from heads.surface.colour import Shape as ColourShape

SHAPE = sdf.Shape(width=64, depth=3, feature=8, octaves=2)
COLOURS = ColourShape(feature=8, width=32, depth=2, view_octaves=0, point_octaves=0, sees_view=False)
CONFIG = average.Config(steps=150, points=256, samples=3000)


def sphere(radius: float, seed: int, name: str = "") -> priors.Prior:
    """About the signed distance of a sphere."""
    return replace(shifted(priors.sphere(SHAPE, seed), 0.6 - radius), name=name or f"r{radius}")


def painted(prior: priors.Prior, colour: float) -> priors.Prior:
    """The prior with a colour network that says the same grey in [-1, 1] everywhere."""
    network = ColourNetwork(COLOURS, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "layers.4" in name:  # the last
                parameter.copy_(torch.atanh(torch.tensor(colour)) if name.endswith("bias") else parameter)
                parameter.mul_(0.0 if name.endswith("original0") else 1.0)
    return replace(prior, tensors=prior.tensors | {f"colour.{name}": p.detach() for name, p in network.named_parameters()})


def values(*of: priors.Prior) -> Tensor:
    return average.mean_field(of)(trace.lattice(24))


def radius(prior: priors.Prior) -> float:
    """The radius of the ball with the volume of what is inside."""
    return float((6 / torch.pi * priors.inside_share(average.mean_field([prior]), 64)) ** (1 / 3))


def test_the_mean_of_parameters_that_differ_in_the_last_bias_is_the_mean_of_the_fields() -> None:
    of = [sphere(0.3, seed=0), sphere(0.5, seed=0), sphere(0.7, seed=0)]
    assert torch.allclose(values(average.average_weights("mean", of)), values(*of), atol=1e-5)


def test_the_mean_of_parameters_takes_the_networks_and_leaves_the_moments() -> None:
    prior = painted(sphere(0.5, seed=0), 0.2)
    prior = replace(prior, tensors=prior.tensors | {"moments.geometry.code.step": torch.ones(1), "step": torch.tensor(7)})
    mean = average.average_weights("mean", [prior, prior])
    assert {name.split(".")[0] for name in mean.tensors} == {"geometry", "colour"}
    assert all(torch.allclose(value, prior.tensors[name]) for name, value in mean.tensors.items())


def test_a_distilled_mean_has_the_mean_radius_though_the_starts_are_independent() -> None:
    of = [sphere(0.35, seed=1), sphere(0.65, seed=2)]
    learned = average.distil("mean", of, COLOURS, CONFIG, seed=3)
    wanted = values(*of)
    assert average.agreement(values(learned.prior), wanted)["iou"] > 0.95
    assert radius(learned.prior) == pytest.approx((radius(of[0]) + radius(of[1])) / 2, abs=0.03)
    assert not priors.part(learned.prior, "colour")  # none was there to learn
    priors.check_surface(learned.prior)


def test_distilled_colours_are_the_mean_of_the_colours() -> None:
    of = [painted(sphere(0.5, seed=1), -0.2), painted(sphere(0.6, seed=2), 0.6)]
    learned = average.distil("mean", of, COLOURS, CONFIG)
    assert learned.history[-1]["colour"] < 0.1
    look = ColourNetwork(COLOURS, torch.Generator())
    look.load_state_dict(priors.part(learned.prior, "colour"))
    network = priors.network(learned.prior, generator=torch.Generator())
    points = 0.55 * torch.nn.functional.normalize(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    _, normals, features = network.with_gradient(points)
    assert look(points, normals, normals, features).mean().item() == pytest.approx(0.2, abs=0.05)


def test_parameters_from_independent_starts_average_to_another_shape_and_from_a_common_start_do_not() -> None:
    targets = [sphere(0.5, seed=7), sphere(0.55, seed=8), sphere(0.6, seed=9)]
    config, agreement = replace(CONFIG, steps=100, step_size=5e-4), {}
    for start, seeds in {"independent": (0, 1, 2), "common": (0, 0, 0)}.items():
        taught = [average.distil("one", [t], COLOURS, config, seed=seed).prior for t, seed in zip(targets, seeds, strict=True)]
        assert min(average.agreement(values(p), values(t))["iou"] for p, t in zip(taught, targets, strict=True)) > 0.9
        agreement[start] = average.agreement(values(average.average_weights("mean", taught)), values(*taught))
    assert agreement["common"]["iou"] > 0.85
    assert agreement["independent"]["iou"] < 0.65
    assert agreement["independent"]["l1"] > 5 * agreement["common"]["l1"]


def test_a_resumed_distillation_ends_where_an_undisturbed_one_does() -> None:
    config, of = replace(CONFIG, steps=23), [painted(sphere(0.4, seed=1), 0.1), painted(sphere(0.5, seed=2), 0.3)]
    states = {}

    def keep(step: int, total: int, terms: dict[str, float], state: training.StateOf) -> None:
        if step == 14:
            states[step] = state()

    whole = average.distil("mean", of, COLOURS, config, on_step=keep)
    resumed = average.distil("mean", of, COLOURS, config, resume=states[14])
    assert all(torch.equal(value, resumed.prior.tensors[name]) for name, value in whole.prior.tensors.items())
    assert whole.history == resumed.history


def test_priors_that_have_no_average_are_refused_by_name() -> None:
    one = sphere(0.5, seed=0, name="one")
    other_shape = priors.sphere(replace(SHAPE, width=48), 0)
    for average_of in (lambda of: average.average_weights("mean", of), lambda of: average.distil("mean", of, COLOURS, CONFIG)):
        with pytest.raises(ValueError, match="at least one"):
            average_of([])
        with pytest.raises(ValueError, match=r"one and sphere.*different shapes"):
            average_of([one, other_shape])
        with pytest.raises(ValueError, match=r"one has 0 epochs but prior two 5"):
            average_of([one, replace(one, name="two", epoch=5)])
    with pytest.raises(ValueError, match=r"colour\..* of prior one has no counterpart in prior two"):
        average.average_weights("mean", [painted(one, 0.1), replace(one, name="two")])
    with pytest.raises(ValueError, match=r"prior full: no surface"):
        average.distil("mean", [one, sphere(1.6, seed=1, name="full")], COLOURS, CONFIG)
    with pytest.raises(ValueError, match="steps"):
        average.Config(steps=0)
