"""What a prior carries, and which priors no fit may start from."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from heads.methods import priors
from heads.surface import sdf

SHAPE = sdf.Shape(width=64, depth=4, feature=8)


def shifted(prior: priors.Prior, by: float) -> priors.Prior:
    """The prior with its field raised by so much everywhere."""
    name = f"geometry.layers.{prior.shape.depth}.bias"
    raised = prior.tensors[name].clone()
    raised[0] += by
    return replace(prior, tensors=prior.tensors | {name: raised})


def test_inside_share_of_a_ball_is_its_volume() -> None:
    def ball(points: Tensor) -> Tensor:
        return points.norm(dim=1) - 0.7

    assert priors.inside_share(ball, 96) == pytest.approx(math.pi / 6 * 0.7**3, rel=0.04)


def test_a_sphere_has_a_surface_and_so_has_one_without_geometry() -> None:
    prior = priors.sphere(SHAPE, 0)
    priors.check_surface(prior)
    priors.check_surface(priors.carrying(prior, ["colour"]))


def test_a_prior_that_fills_the_space_of_the_rays_is_refused_with_its_name_and_share() -> None:
    with pytest.raises(ValueError, match=r"prior sphere: no surface.* negative on \d+% of the unit sphere.*independent"):
        priors.check_surface(shifted(priors.sphere(SHAPE, 0), -1.0))


def test_a_prior_that_is_nowhere_inside_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prior sphere: no surface.* nowhere negative.* 0% of the cube"):
        priors.check_surface(shifted(priors.sphere(SHAPE, 0), 2.0))


def test_a_prior_with_numbers_that_are_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prior sphere: geometry\.layers\.4\.bias .*not finite"):
        priors.check_surface(shifted(priors.sphere(SHAPE, 0), math.nan))
    nothing = priors.sphere(SHAPE, 0)
    zeros = {name: torch.zeros_like(value) for name, value in nothing.tensors.items()}  # weight_norm divides by zero
    with pytest.raises(ValueError, match=r"prior sphere: no surface.* not finite everywhere"):
        priors.check_surface(replace(nothing, tensors=zeros))


def test_carrying_keeps_the_named_parts_and_the_codes_go_with_the_geometry() -> None:
    tensors = {name: torch.zeros(1) for name in ("geometry.a", "colour.a", "moments.a.step", "codes", "generator")}
    prior = priors.Prior("all", SHAPE, 0, tensors)
    assert set(priors.carrying(prior, ["geometry", "moments"]).tensors) == {"geometry.a", "moments.a.step", "codes"}
    assert set(priors.carrying(prior, ["colour"]).tensors) == {"colour.a"}
    with pytest.raises(ValueError, match="looks"):
        priors.carrying(prior, ["looks"])
