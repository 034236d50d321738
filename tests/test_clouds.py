"""Distances between clouds of points: closed forms, and slow equivalents."""

import numpy as np
import pytest
import trimesh

from heads import clouds
from heads.clouds import Cloud


def plane(height_mm: float, *, up: float = 1.0, seed: int = 0) -> Cloud:
    """A square of 100 mm at a height, its normals upwards or downwards."""
    mesh = trimesh.Trimesh([[0, 0, 0], [100, 0, 0], [100, 100, 0], [0, 100, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    found = clouds.sample(mesh, 4000, seed)
    return Cloud(found.points_mm + np.array([0, 0, height_mm]), up * found.normals)


def ball(radius_mm: float, *, subdivisions: int = 5) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius_mm)


def measured(one: Cloud, other: Cloud) -> tuple[float, float, float]:
    found = clouds.nearest(one, other)
    far = found.there_mm, found.back_mm
    return clouds.chamfer_l1(*far), clouds.chamfer_l2(*far), clouds.normal_consistency(found.there_cosines, found.back_cosines)


def test_of_two_parallel_planes_all_is_known() -> None:
    low, high = plane(0), plane(3, up=-1.0)  # the same points, 3 mm above
    assert measured(low, high) == pytest.approx((3, 9, 1))  # the sign of a normal does not count
    found = clouds.nearest(low, high)
    assert found.there_cosines == pytest.approx(-1) and found.back_cosines == pytest.approx(-1)
    assert [clouds.f_score(found.there_mm, found.back_mm, threshold) for threshold in (2.999, 3.001)] == [0, 1]
    tilted = Cloud(high.points_mm, np.tile([np.sin(0.5), 0, np.cos(0.5)], (len(high.points_mm), 1)))
    assert measured(low, tilted)[2] == pytest.approx(np.cos(0.5))


def test_of_two_concentric_spheres_the_distance_is_that_of_the_radii() -> None:
    one, other = (clouds.sample(ball(radius), 60_000, seed) for seed, radius in enumerate((100, 110)))
    l1, l2, normals = measured(one, other)
    assert l1 == pytest.approx(10, abs=0.1) and l2 == pytest.approx(100, abs=2)  # the points are a little apart sideways
    assert normals == pytest.approx(1, abs=1e-3)


def test_a_hole_costs_in_one_direction_only_and_the_scores_take_half_of_both() -> None:
    whole, half = plane(0), plane(0)
    half = Cloud(half.points_mm[half.points_mm[:, 0] < 50], half.normals[half.points_mm[:, 0] < 50])
    found = clouds.nearest(whole, half)
    assert found.back_mm.max() == 0 and found.there_mm.max() > 49
    assert clouds.chamfer_l1(found.there_mm, found.back_mm) == pytest.approx(
        12.5 / 2, rel=0.05
    )  # half are 25 mm away, on average
    assert clouds.chamfer_l2(found.there_mm, found.back_mm) == pytest.approx(2500 / 6 / 2, rel=0.05)
    assert clouds.f_score(found.there_mm, found.back_mm, 10) == pytest.approx(2 * 0.6 / 1.6, rel=0.02)
    assert clouds.f_score(found.there_mm, found.back_mm, 10) == clouds.f_score(found.back_mm, found.there_mm, 10)


def test_an_f_score_counts_what_lies_at_the_threshold_and_is_zero_where_nothing_is_near() -> None:
    assert clouds.f_score(np.array([1.0, 2.0]), np.array([1.0]), 1.0) == pytest.approx(2 * 0.5 / 1.5)
    assert clouds.f_score(np.array([1.0]), np.array([5.0]), 0.5) == 0.0
    assert clouds.f_score(np.array([1.0]), np.array([5.0]), 2.0) == 0.0


def test_nearest_points_equal_those_of_a_slow_search() -> None:
    rng = np.random.default_rng(3)
    one, other = (Cloud(rng.normal(scale=20, size=(n, 3)), trimesh.unitize(rng.normal(size=(n, 3)))) for n in (150, 90))
    found = clouds.nearest(one, other)
    for a, b, distances, cosines in (
        (one, other, found.there_mm, found.there_cosines), (other, one, found.back_mm, found.back_cosines)
    ):  # fmt: skip
        for i, point in enumerate(a.points_mm):
            best, at = np.inf, -1
            for j, candidate in enumerate(b.points_mm):
                far = float(np.sqrt(((point - candidate) ** 2).sum()))
                best, at = (far, j) if far < best else (best, at)
            assert distances[i] == pytest.approx(best) and cosines[i] == pytest.approx(float(a.normals[i] @ b.normals[at]))


def test_samples_lie_on_the_surface_with_its_normals_and_are_uniform_by_area() -> None:
    mesh = trimesh.creation.box(extents=[10, 20, 40]).subdivide()
    mesh.update_faces(np.arange(len(mesh.faces)) != 5)
    mesh = trimesh.Trimesh(mesh.vertices, np.concatenate([[[0, 0, 1]], mesh.faces, [[0, 0, 1]]]), process=False)  # of no area
    found = clouds.sample(mesh, 20_000, 1)
    size = np.abs(found.points_mm) / [5, 10, 20]
    assert size.max(axis=1) == pytest.approx(1) and np.linalg.norm(found.normals, axis=1) == pytest.approx(1)
    outwards = (found.normals * found.points_mm).sum(axis=1)
    assert (outwards > 4.99).all()
    areas = {axis: 2 * np.prod(np.delete([10, 20, 40], axis)) for axis in range(3)}
    lost = mesh.area_faces.sum() / sum(areas.values())
    for axis, area in areas.items():
        share = (np.abs(found.normals[:, axis]) > 0.5).mean() * lost * sum(areas.values())
        assert area * 0.74 < share <= area * 1.001  # one of the faces has lost a triangle
    middle = found.points_mm[found.normals[:, 0] > 0.5]
    assert middle.mean(axis=0)[1:] == pytest.approx([0, 0], abs=3) and middle.std(axis=0)[1:] == pytest.approx(
        [5.8, 11.5], rel=0.1
    )


def test_the_same_seed_gives_the_same_samples_and_another_gives_others() -> None:
    first, again, other = (clouds.sample(ball(50, subdivisions=2), 100, seed).points_mm for seed in (4, 4, 5))
    assert np.array_equal(first, again) and not np.allclose(first, other)


def test_a_mesh_without_area_cannot_be_sampled() -> None:
    with pytest.raises(ValueError, match="no area"):
        clouds.sample(trimesh.Trimesh(np.zeros((3, 3)), [[0, 1, 2]], process=False, validate=False), 10, 0)
