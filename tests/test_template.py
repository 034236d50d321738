"""The template of Pixel2Mesh's variant for faces: its published numbers, and what refining does."""

import numpy as np
import pytest

from heads import template


def test_the_half_sphere_has_the_published_numbers_of_vertices_and_triangles() -> None:
    levels = template.half_sphere().levels
    assert [level.count for level in levels] == [141, 492, 1824, 7008]
    assert [len(level.faces) for level in levels] == [210, 840, 3360, 13440]


def test_a_disc_without_the_hole_has_one_triangle_more() -> None:
    whole = template.half_sphere(hole=False)
    assert len(whole.levels[0].faces) == 211 and len(whole.points) == 7029


def test_every_vertex_lies_on_the_sphere_in_front_and_every_triangle_looks_outwards() -> None:
    half = template.half_sphere()
    assert np.allclose(np.linalg.norm(half.points, axis=1), 1) and half.points[:, 2].min() > -1e-9
    for number, level in enumerate(half.levels):
        a, b, c = (half.at(number)[level.faces[:, k]] for k in range(3))
        assert ((np.cross(b - a, c - a) * (a + b + c)).sum(axis=1) > 0).all()


def test_new_vertices_are_the_middles_of_the_edges_and_old_ones_stay() -> None:
    one = template.Level(4, np.array([[0, 1, 2], [2, 1, 3]]), np.zeros((0, 2), dtype=np.int64))
    two = template.refined(one)
    assert two.count == 9 and two.parents.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]] and len(two.faces) == 8
    corners = np.array([[0.0, 0], [2, 0], [0, 2], [2, 2]])
    points = np.concatenate([corners, corners[two.parents].mean(axis=1)])
    sides = points[two.faces]
    across, along = sides[:, 1] - sides[:, 0], sides[:, 2] - sides[:, 0]
    areas = (across[:, 0] * along[:, 1] - across[:, 1] * along[:, 0]) / 2
    assert areas == pytest.approx(np.full(8, 0.5))  # all turn the same way and are a quarter as large


def test_neighbours_give_each_vertex_the_mean_of_those_that_an_edge_joins_it_to() -> None:
    import torch

    level = template.half_sphere().levels[0]
    values = torch.randn(level.count, 3, generator=torch.Generator().manual_seed(0))
    found = level.neighbours @ values
    for vertex in (0, 70, 140):
        joined = [int(b if a == vertex else a) for a, b in level.edges if vertex in (a, b)]
        assert torch.allclose(found[vertex], values[joined].mean(dim=0), atol=1e-6)
