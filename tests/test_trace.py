"""Tracing against closed forms, and the fast tracer against the published one."""

import pytest
import torch
from torch import Tensor

from heads.surface import sdf, trace

RADIUS = 0.6


def sphere(points: Tensor) -> Tensor:
    return points.norm(dim=-1) - RADIUS


def blobs(points: Tensor) -> Tensor:
    """Two spheres and a dent: rays can leave and re-enter."""
    two = torch.minimum(
        (points - torch.tensor([0.3, 0.0, 0.0])).norm(dim=-1) - 0.3, (points + torch.tensor([0.4, 0.1, 0.0])).norm(dim=-1) - 0.35
    )
    return torch.maximum(two, 0.25 - (points - torch.tensor([0.3, 0.4, 0.2])).norm(dim=-1))


def rays(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    origins = 3 * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    targets = (torch.rand(count, 3, generator=generator) * 2 - 1) * 0.8
    return origins, torch.nn.functional.normalize(targets - origins, dim=1)


def sphere_hits(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    near, _, hit = trace.sphere_interval(origins, directions, RADIUS)
    return near, hit


def run(name: str, field: sdf.SDF, origins: Tensor, directions: Tensor) -> trace.Trace:
    if name == "published":
        return trace.published(field, origins, directions, generator=torch.Generator().manual_seed(0))
    return trace.cached(trace.CachedField(field, 64), field, origins, directions)


@pytest.mark.parametrize("tracer", ["published", "cached"])
def test_tracing_a_sphere_agrees_with_the_quadratic_formula(tracer: str) -> None:
    origins, directions = rays(2000)
    near, hit = sphere_hits(origins, directions)
    grazing = ((origins * directions).sum(1) ** 2 - (origins**2).sum(1) + RADIUS**2).abs() < 0.02
    result = run(tracer, sphere, origins, directions)
    assert torch.equal(result.hit[~grazing], hit[~grazing])
    both = hit & ~grazing
    assert (result.t_surface - near)[both].abs().max() < (1e-4 if tracer == "published" else 3e-3)
    at = origins + result.t_surface[:, None] * directions
    points = trace.differentiable_intersection(result.t_surface, origins, directions, sphere(at), result.slope)
    assert sphere(points)[both].abs().max() < 1e-4
    slope = ((origins + near[:, None] * directions) / RADIUS * directions).sum(1)
    assert (result.slope - slope)[both & (slope < -0.3)].abs().max() < 0.05


@pytest.mark.parametrize("tracer", ["published", "cached"])
def test_a_miss_gives_the_closest_point_of_the_ray(tracer: str) -> None:
    origins, directions = rays(2000)
    result = run(tracer, sphere, origins, directions)
    closest = -(origins * directions).sum(1)
    missed = ~result.hit
    found = (origins + result.t_closest[:, None] * directions).norm(dim=1)
    expected = (origins + closest[:, None] * directions).norm(dim=1)
    assert missed.sum() > 200
    assert (found - expected)[missed].abs().max() < 0.02


def test_the_cached_tracer_finds_the_published_surface() -> None:
    origins, directions = rays(4000, seed=3)
    published, cached = run("published", blobs, origins, directions), run("cached", blobs, origins, directions)
    assert (published.hit == cached.hit).float().mean() > 0.99
    both = published.hit & cached.hit
    gap = (published.t_surface - cached.t_surface)[both].abs()
    assert gap.median() < 1e-4 and (gap < 5e-3).float().mean() > 0.99


def test_the_cached_tracer_evaluates_the_network_far_less() -> None:
    evaluated = {"published": 0, "cached": 0}

    def counting(name: str) -> sdf.SDF:
        def field(points: Tensor) -> Tensor:
            evaluated[name] += len(points)
            return blobs(points)

        return field

    origins, directions = rays(1000)
    grid = trace.CachedField(blobs, 64)
    run("published", counting("published"), origins, directions)
    trace.cached(grid, counting("cached"), origins, directions)
    assert evaluated["cached"] * 20 < evaluated["published"]


def test_only_polished_rays_evaluate_the_network() -> None:
    origins, directions = rays(100)
    grid = trace.CachedField(sphere, 32)

    def forbidden(points: Tensor) -> Tensor:
        assert len(points) == 0, "the network was evaluated"
        return points.new_zeros(0)

    trace.cached(grid, forbidden, origins, directions, polish=torch.zeros(100, dtype=torch.bool))


def test_unwanted_rays_that_a_gpu_computes_are_left_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    origins, directions = rays(500)
    grid = trace.CachedField(blobs, 16)  # coarse enough that the steps on the true field move something
    polish = torch.rand(500, generator=torch.Generator().manual_seed(1)) < 0.5
    some = trace.cached(grid, blobs, origins, directions, polish=polish)
    monkeypatch.setattr(trace, "chosen", lambda wanted: torch.arange(len(wanted)))
    for one, other in zip(some, trace.cached(grid, blobs, origins, directions, polish=polish), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(some.t_surface, trace.cached(grid, blobs, origins, directions).t_surface)


def test_a_grid_that_is_remade_stays_in_place_unless_its_size_changes() -> None:
    grid = trace.CachedField(sphere, 32)
    values = grid.values
    grid.remake(blobs, 32)
    assert grid.values is values and torch.equal(values, trace.CachedField(blobs, 32).values)
    grid.remake(blobs, 16)
    assert grid.resolution == 16 and torch.equal(grid.values, trace.CachedField(blobs, 16).values)


@pytest.mark.parametrize("tracer", ["published", "cached"])
def test_a_sample_that_is_exactly_zero_is_a_root_and_causes_no_division_by_zero(tracer: str) -> None:
    def flat(points: Tensor) -> Tensor:  # so gentle that sphere tracing leaves it to the samples, and zero at several of them
        return (0.01 * points[:, 2]).where(points[:, 2].abs() > 0.1, torch.zeros(())) - 0.01 * (points[:, 2] < -0.1)

    origins, directions = torch.tensor([[0.0, 0.0, 2.0]]), torch.tensor([[0.0, 0.0, -1.0]])
    found = run(tracer, flat, origins, directions)
    assert bool(found.hit) and torch.isfinite(torch.stack([found.t_surface, found.slope, found.t_closest])).all()
    assert 1.89 < float(found.t_surface) < 2.13


def test_a_field_without_a_surface_is_never_hit() -> None:
    origins, directions = rays(200)
    for tracer in ("published", "cached"):
        result = run(tracer, lambda points: points.norm(dim=-1) + 0.1, origins, directions)
        assert not result.hit.any() and result.t_closest.isfinite().all()


def test_intersection_moves_as_the_sphere_grows() -> None:
    origins, directions = rays(500)
    near, hit = sphere_hits(origins, directions)
    origins, directions, t = origins[hit], directions[hit], near[hit]
    surface = origins + t[:, None] * directions
    slope = (surface / RADIUS * directions).sum(1)
    steep = slope < -0.2
    radius = torch.tensor(RADIUS, requires_grad=True)
    moved = trace.differentiable_intersection(t, origins, directions, surface.norm(dim=1) - radius, slope)
    (derivative,) = torch.autograd.grad(((moved - origins) * directions).sum(1)[steep].sum(), radius)
    assert torch.allclose(moved, surface, atol=1e-5)
    expected = (1 / slope)[steep].sum()  # dt/dr of |c + t v| = r
    assert torch.allclose(derivative, expected, rtol=1e-4)


def test_a_narrow_band_refresh_equals_a_full_one_near_the_surface() -> None:
    grid, moved = trace.CachedField(sphere, 32), lambda points: (points - 0.02).norm(dim=-1) - RADIUS
    full = trace.CachedField(moved, 32)
    grid.refresh(moved, band=0.2)
    near = full.values.abs() < 0.1
    assert torch.allclose(grid.values[near], full.values[near], atol=1e-6)
    assert not torch.allclose(grid.values, full.values, atol=1e-3)


def test_a_grid_given_the_values_of_another_has_its_resolution_and_returns_the_same_row_by_row() -> None:
    grid, fine = trace.CachedField(sphere, 16), trace.CachedField(sphere, 48)
    points = torch.rand((9, 3), generator=torch.Generator().manual_seed(0)) - 0.5
    grid.values = fine.values
    assert grid.cell == fine.cell and torch.equal(grid(points), fine(points))
    assert torch.equal(fine(points.view(3, 3, 3)), fine(points).view(3, 3))


def test_a_refresh_from_coarse_to_fine_equals_the_dense_grid_near_the_surface_and_evaluates_far_less() -> None:
    evaluated = 0

    def field(points: Tensor) -> Tensor:
        nonlocal evaluated
        evaluated += len(points)
        return blobs(points)

    grid, dense = trace.CachedField(field, 64), blobs(trace.lattice(64))
    near = dense.abs() < grid.cell
    assert torch.allclose(grid.values[near], dense[near], atol=1e-6)
    clear = dense.abs() > 1e-6
    assert (grid.values - dense).abs().max() < 0.05 and torch.equal((grid.values < 0)[clear], (dense < 0)[clear])
    assert evaluated < 64**3 / 3
