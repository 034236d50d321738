"""A mesh becomes a prior: its network gives the distance to it, and a fit can start there."""

import numpy as np
import pytest
import torch
import trimesh

from heads.methods import from_mesh, priors
from heads.surface import sdf

SHAPE = sdf.Shape(width=32, depth=3, feature=16, octaves=2)
CONFIG = from_mesh.Config(steps=150, points=1024, samples=20_000)


@pytest.fixture(scope="module")
def egg() -> trimesh.Trimesh:
    made = trimesh.creation.icosphere(3, 1.0)
    made.apply_scale([0.4, 0.6, 0.5])
    return made


def test_samples_are_negative_inside_even_of_a_mesh_with_a_hole(egg: trimesh.Trimesh) -> None:
    holed = egg.submesh([np.flatnonzero(egg.triangles_center[:, 1] > -0.5)], append=True)
    points, distances = from_mesh.samples(holed, CONFIG, seed=0)
    inside = ((points.numpy() / [0.4, 0.6, 0.5]) ** 2).sum(axis=1) < 0.9
    high = points[:, 1].numpy() > -0.3
    assert (distances.numpy()[inside & high] < 0).mean() > 0.99 and (distances.numpy()[~inside & high] > -0.03).all()


def test_the_surface_of_the_prior_is_the_mesh_and_a_fit_may_start_there(egg: trimesh.Trimesh) -> None:
    prior = from_mesh.prior("egg", egg, SHAPE, CONFIG, seed=0)
    priors.check_surface(prior)
    field = sdf.distance(priors.network(prior, generator=torch.Generator()))
    on_surface = torch.from_numpy(np.array(egg.vertices)).float()
    assert float(field(on_surface).abs().mean()) < 0.02
    assert float(field(torch.zeros(1, 3))) < -0.2 and float(field(torch.tensor([[0.0, 0.9, 0.0]]))) > 0.2


def test_the_same_seed_gives_the_same_prior_and_a_mesh_that_is_too_large_is_refused(egg: trimesh.Trimesh) -> None:
    short = from_mesh.Config(steps=3, points=64, samples=100)
    one, two = (from_mesh.prior("egg", egg, SHAPE, short, seed=1) for _ in range(2))
    assert all(torch.equal(one.tensors[name], two.tensors[name]) for name in one.tensors)
    with pytest.raises(ValueError, match=r"prior egg: its mesh reaches 1.20 units from the origin; expected less than 1"):
        from_mesh.prior("egg", trimesh.Trimesh(egg.vertices * 2, egg.faces, process=False), SHAPE, short)


def test_a_mesh_in_mm_goes_into_the_unit_frame_and_wrong_settings_are_refused(egg: trimesh.Trimesh) -> None:
    mm_from_unit = np.diag([200.0, 200, 200, 1])
    mm_from_unit[:3, 3] = [5, 6, 7]
    mm = trimesh.Trimesh(egg.vertices * 200 + [5, 6, 7], egg.faces, process=False)
    assert np.allclose(from_mesh.in_unit(mm, mm_from_unit).vertices, egg.vertices)
    with pytest.raises(ValueError, match="near a share"):
        from_mesh.Config(near=1.5)
