"""The visual hull: the largest body whose silhouettes fit into the masks of all photographs (Laurentini, PAMI 1994).

It knows nothing but masks and cameras: no colours, no other heads, no smoothness. Whatever it gets right, every other method
should.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from heads import camera, mesh
from heads.scene import Reconstruction, Scene


@dataclass(frozen=True)
class Config:
    """How finely the hull is carved; `cell_mm` is the size of a cell of its mesh."""

    cell_mm: float = 2.0

    def __post_init__(self) -> None:
        if not self.cell_mm > 0:
            raise ValueError(f"cell_mm must be positive, not {self.cell_mm}")


def carve(scene: Scene, config: Config) -> Reconstruction:
    """The visual hull of the masks of `scene` inside the unit sphere; ValueError where they have no body in common."""
    outside_px = torch.stack([signed_distance_px(mask) for mask in scene.masks])

    def field(points: Tensor) -> Tensor:
        return torch.maximum(outside(scene, outside_px, points), points.norm(dim=-1) - 1)

    try:
        surface = mesh.extract(field, mm_from_unit=scene.mm_from_unit, cell_mm=config.cell_mm)
    except ValueError as error:
        raise ValueError(
            f"scene {scene.name}: the masks have no body in common ({error}); do they belong to the cameras?"
        ) from None
    return Reconstruction(surface, {}, [])


def signed_distance_px(mask: Tensor) -> Tensor:
    """How many pixels each pixel of a mask (H, W) is away from its outline, negative inside."""
    inside = mask.numpy()
    away = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    return torch.from_numpy((away - np.sign(away) / 2).astype(np.float32))  # the outline lies between two pixels' centres


def outside(scene: Scene, outside_px: Tensor, points: Tensor) -> Tensor:
    """How far points (N, 3) of the unit frame are outside the body that all masks allow, (N,), negative inside.

    `outside_px` (V, H, W) are the masks' signed distances. What lies beside a photograph is taken to go on as its border does.
    """
    views, height, width = outside_px.shape
    pixels = camera.project(scene.px_from_cam, scene.unit_from_cam, points.expand(views, -1, 3))  # (V, N, 2)
    grid = 2 * pixels / torch.tensor([width - 1, height - 1]) - 1
    px = functional.grid_sample(outside_px[:, None], grid[:, None], padding_mode="border", align_corners=True)[:, 0, 0]
    forward = scene.unit_from_cam[:, :3, 2]
    depth = ((points - scene.unit_from_cam[:, None, :3, 3]) * forward[:, None]).sum(dim=-1)
    return (px * depth / scene.px_from_cam[:, :1, 0]).amax(dim=0)
