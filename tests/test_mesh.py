"""The extracted surface against closed forms and dense extraction."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from skimage import measure
from torch import Tensor

from heads import mesh

MM_FROM_UNIT = torch.tensor([[150.0, 0, 0, 5], [0, 150, 0, -20], [0, 0, 150, 7], [0, 0, 0, 1]])


def sphere(points: Tensor) -> Tensor:
    return points.norm(dim=-1) - 0.6


def test_sphere_comes_back_in_millimetres_with_outward_faces() -> None:
    surface = mesh.extract(sphere, mm_from_unit=MM_FROM_UNIT, cell_mm=4.0)
    radius = np.linalg.norm(surface.vertices - [5, -20, 7], axis=1)
    assert np.abs(radius - 90).max() < 0.1
    assert surface.is_watertight
    assert surface.volume == pytest.approx(4 / 3 * np.pi * 90**3, rel=0.01)


def test_banded_extraction_equals_the_dense_one() -> None:
    def bumpy(points: Tensor) -> Tensor:
        return sphere(points) + 0.0137 + 0.02 * torch.sin(9 * points + 0.1).prod(dim=-1)

    surface = mesh.extract(bumpy, mm_from_unit=torch.eye(4), cell_mm=0.02)
    axis = torch.linspace(-1, 1, 101)
    dense = bumpy(torch.cartesian_prod(axis, axis, axis)).view(101, 101, 101)
    vertices, faces, _, _ = measure.marching_cubes(dense.numpy(), 0.0)
    assert len(faces) == len(surface.faces)
    assert np.allclose(np.sort(surface.vertices, axis=0), np.sort(vertices * 0.02 - 1, axis=0), atol=1e-5)


def test_the_points_evaluated_grow_with_the_surface() -> None:
    evaluated: dict[float, int] = {}
    for cell in (0.04, 0.02, 0.01):

        def counted(points: Tensor, cell: float = cell) -> Tensor:
            evaluated[cell] = evaluated.get(cell, 0) + len(points)
            return sphere(points)

        vertices = len(mesh.extract(counted, mm_from_unit=torch.eye(4), cell_mm=cell).vertices)
        assert evaluated[cell] < 4 * vertices + 33**3
    assert evaluated[0.01] < 5 * evaluated[0.02] < 25 * evaluated[0.04]


def test_only_the_largest_component_is_kept() -> None:
    small = trimesh.creation.icosphere(radius=1.0).apply_translation([5, 0, 0])
    large = trimesh.creation.icosphere(radius=2.0)
    kept = mesh.largest_component(trimesh.util.concatenate([small, large]))
    assert kept.area == pytest.approx(large.area)


@pytest.mark.parametrize(("sign", "word"), [(1.0, "positive"), (-1.0, "negative")])
def test_a_field_without_a_surface_is_refused(sign: float, word: str) -> None:
    with pytest.raises(ValueError, match=f"no surface.*{word}"):
        mesh.extract(lambda points: torch.full((len(points),), sign), mm_from_unit=MM_FROM_UNIT, cell_mm=10.0)


def test_a_field_that_is_not_finite_is_refused_with_the_number_of_points() -> None:
    def torn(points: Tensor) -> Tensor:
        return sphere(points).where(points[:, 0] < 0.5, torch.nan)

    with pytest.raises(ValueError, match=r"not finite at \d+ of \d+ points"):
        mesh.extract(torn, mm_from_unit=MM_FROM_UNIT, cell_mm=10.0)


def test_the_open_share_is_the_share_of_the_faces_of_the_cube_inside_the_surface() -> None:
    assert mesh.open_share(sphere) == 0
    assert mesh.open_share(lambda points: points.norm(dim=-1) - 2) == 1
    assert mesh.open_share(lambda points: points.norm(dim=-1) - 1.25) == pytest.approx(np.pi * (1.25**2 - 1) / 4, rel=0.05)
    assert mesh.open_share(lambda points: points[:, 1]) == pytest.approx(0.5, abs=0.01)


def test_ply_round_trip_keeps_the_surface(tmp_path: Path) -> None:
    surface = mesh.extract(sphere, mm_from_unit=MM_FROM_UNIT, cell_mm=10.0)
    mesh.save(surface, tmp_path / "head.ply")
    again = mesh.load(tmp_path / "head.ply")
    assert np.allclose(again.vertices, surface.vertices, atol=1e-4) and np.array_equal(again.faces, surface.faces)
    assert [file.name for file in tmp_path.iterdir()] == ["head.ply"]


def test_an_error_names_a_mesh_without_faces_or_a_broken_file(tmp_path: Path) -> None:
    points = tmp_path / "points.ply"
    trimesh.PointCloud(np.eye(3)).export(points)
    broken = tmp_path / "broken.ply"
    broken.write_bytes(b"ply\nformat nonsense")
    for path in (points, broken, tmp_path / "absent.ply"):
        with pytest.raises(ValueError, match=path.name):
            mesh.load(path)
