"""What a method may see, and what it returns. The truth is not part of it: that is in `metric`, which no method imports."""

from dataclasses import dataclass

import torch
import trimesh
from torch import Tensor


@dataclass(frozen=True)
class Scene:
    """Photographs of one head with masks and cameras, in the unit frame.

    `views` are the data set's picture numbers, `images` (V, H, W, 3) float in [0, 1], `masks` (V, H, W) bool,
    `px_from_cam` (V, 3, 3), `unit_from_cam` (V, 4, 4), `mm_from_unit` (4, 4), all float32.
    """

    name: str
    views: tuple[int, ...]
    images: Tensor
    masks: Tensor
    px_from_cam: Tensor
    unit_from_cam: Tensor
    mm_from_unit: Tensor

    def __post_init__(self) -> None:
        views, height, width = self.masks.shape
        assert len(self.views) == views > 0
        assert self.images.shape == (views, height, width, 3) and self.images.dtype == torch.float32
        assert self.masks.dtype == torch.bool
        assert self.px_from_cam.shape == (views, 3, 3) and self.unit_from_cam.shape == (views, 4, 4)
        assert self.mm_from_unit.shape == (4, 4)


@dataclass(frozen=True)
class TrainingHead:
    """A head that a prior may learn from, in the unit frame: its surface, and its colours where photographs see it.

    `points`, `normals` (N, 3) are uniform by area on the outer surface, and `face` (N,) says which are of the face; `anchors`
    (A, 3) are NPHM's. `seen`, `seen_normals` (M, 3) are surface points at pixels of photographs, with their `colours` (M, 3) in
    [-1, 1] as photographed. All float32, unit normals; M may be 0.
    """

    name: str
    points: Tensor
    normals: Tensor
    face: Tensor
    anchors: Tensor
    seen: Tensor
    seen_normals: Tensor
    colours: Tensor

    def __post_init__(self) -> None:
        assert self.points.shape == self.normals.shape == (len(self.points), 3) and len(self.points) > 0
        assert self.face.shape == (len(self.points),) and self.face.dtype == torch.bool and self.anchors.shape[1:] == (3,)
        assert self.seen.shape == self.seen_normals.shape == self.colours.shape == (len(self.seen), 3)
        assert {x.dtype for x in (self.points, self.normals, self.seen, self.seen_normals, self.colours)} == {torch.float32}


@dataclass(frozen=True)
class Reconstruction:
    """A head: its surface in millimetres, the networks that made it, and how the fit went.

    `mesh_mm` is in the data set's world; `tensors` holds everything a later fit may carry over (networks, optimizer
    moments, generator), by name; `history` has one row of losses (name -> value) per logged step.
    """

    mesh_mm: trimesh.Trimesh
    tensors: dict[str, Tensor]
    history: list[dict[str, float]]
