"""The visual hull against bodies that are known in closed form, and against a slow twin."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SEMI_AXES
from scipy.spatial import cKDTree

from heads import camera
from heads.methods import visual_hull
from heads.methods.choose import only
from heads.scene import Scene


def test_the_hull_holds_the_body_and_shrinks_towards_it_with_every_photograph(ellipsoid_scene: Scene) -> None:
    points = torch.nn.functional.normalize(torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)), dim=1) * SEMI_AXES
    volumes = []
    for index in ([0], [0, 3], [0, 1, 3], [0, 1, 2, 3, 4]):
        scene = only(ellipsoid_scene, index)
        outside_px = torch.stack([visual_hull.signed_distance_px(mask) for mask in scene.masks])
        assert float(visual_hull.outside(scene, outside_px, points).max()) < 0.02  # a pixel is 0.02 of the radius
        hull = visual_hull.carve(scene, visual_hull.Config(cell_mm=6.0)).mesh_mm
        volumes.append(abs(hull.volume))
    exact = 4 / 3 * np.pi * float(SEMI_AXES.prod()) * 150**3
    assert volumes == sorted(volumes, reverse=True) and exact < volumes[-1] < 1.35 * exact < volumes[0]


def test_the_silhouettes_of_the_hull_are_the_masks(ellipsoid_scene: Scene) -> None:
    hull = visual_hull.carve(ellipsoid_scene, visual_hull.Config(cell_mm=3.0)).mesh_mm
    unit = torch.from_numpy(np.asarray(hull.vertices) / 150).float()
    for number in range(len(ellipsoid_scene.views)):
        px = camera.project(ellipsoid_scene.px_from_cam[number], ellipsoid_scene.unit_from_cam[number], unit).numpy()
        mask = ellipsoid_scene.masks[number].numpy()
        column, row = np.round(px).astype(int).clip(0, mask.shape[0] - 1).T
        grown = np.pad(mask, 1)
        grown = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:] | mask
        assert grown[row, column].mean() > 0.999
        inside = np.argwhere(mask)[:, ::-1]
        assert cKDTree(px).query(inside)[0].max() < 4  # every pixel of the mask has a vertex in front of it


def test_a_point_is_outside_where_a_photograph_says_so_as_a_slow_twin_has_it(ellipsoid_scene: Scene) -> None:
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    outside_px = torch.stack([visual_hull.signed_distance_px(mask) for mask in ellipsoid_scene.masks])
    found = visual_hull.outside(ellipsoid_scene, outside_px, points)
    inside = torch.ones(len(points), dtype=torch.bool)
    for k, r, mask in zip(ellipsoid_scene.px_from_cam, ellipsoid_scene.unit_from_cam, ellipsoid_scene.masks, strict=True):
        for i, point in enumerate(points):
            in_cam = r[:3, :3].T @ (point - r[:3, 3])
            column, row, _ = (k @ in_cam / in_cam[2]).round().long().tolist()
            inside[i] &= bool(mask[min(max(row, 0), 95), min(max(column, 0), 95)])
    sure = found.abs() > 0.02
    assert sure.sum() > 200 and torch.equal((found < 0)[sure], inside[sure])


def test_masks_that_have_no_body_in_common_are_refused(ellipsoid_scene: Scene) -> None:
    masks = ellipsoid_scene.masks.clone()
    masks[0], masks[1] = False, False
    masks[0, :9, :9], masks[1, -9:, -9:] = True, True
    with pytest.raises(ValueError, match="scene ellipsoid: the masks have no body in common"):
        visual_hull.carve(replace(ellipsoid_scene, masks=masks), visual_hull.Config())
    with pytest.raises(ValueError, match="cell_mm must be positive"):
        visual_hull.Config(cell_mm=0.0)
