"""The crop around a face that the network sees, and the frame in which it answers.

A crop is what a camera would see that stands where the photograph's stands, but looks at the middle of the face, and is so long
that `HALF_MM` at the face's distance fill half of the picture. The middle is that of six landmarks. The crop's frame has its
origin there, x to the right, y up and z towards the camera; a unit is `MM_PER_UNIT`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from heads.methods.pixel2mesh.network import Camera

HALF_MM = 120.0
MIDDLE_OF_SPHERE = 0.52  # radii of a scene's unit sphere between its centre and the middle of a face; of built-in people, +- 0.05
MM_PER_UNIT = 100.0
FLIP = np.diag([1.0, -1.0, -1.0])  # from a camera's axes to the frame's


class Crop(NamedTuple):
    """Where a crop is: the photograph's intrinsics (3, 3) and pose mm_from_cam (4, 4), how the crop's camera is turned against it
    (3, 3), and how far away the middle of the face is, along the crop's axis."""

    px_from_cam: np.ndarray
    mm_from_cam: np.ndarray
    cam_from_crop: np.ndarray
    distance_mm: float

    @property
    def mm_from_frame(self) -> np.ndarray:
        """(4, 4): from the crop's frame to the world."""
        frame = np.eye(4)
        frame[:3, :3] = self.cam_from_crop @ FLIP * MM_PER_UNIT
        frame[:3, 3] = self.cam_from_crop @ [0, 0, self.distance_mm]
        return self.mm_from_cam @ frame

    def focal(self, size: int) -> float:
        """Of the crop's camera, in pixels of a crop `size` wide."""
        return size / 2 * self.distance_mm / HALF_MM


def around(px_from_cam: np.ndarray, mm_from_cam: np.ndarray, middle_mm: np.ndarray, roll: float = 0.0) -> Crop:
    """The crop around a face whose middle (3,) is known, rolled by some radians."""
    in_cam = (middle_mm - mm_from_cam[:3, 3]) @ mm_from_cam[:3, :3]
    distance = float(np.linalg.norm(in_cam))
    forward = in_cam / distance
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    return Crop(px_from_cam, mm_from_cam, np.stack([right, down, forward], axis=1), distance)


def distance_of_size(px_from_cam: np.ndarray, side_px: float) -> float:
    """How far away, in mm, a face is whose crop is `side_px` wide, if it is as large as most."""
    return float(px_from_cam[0, 0]) * 2 * HALF_MM / side_px


def distance_in_sphere(
    px_from_cam: np.ndarray, mm_from_cam: np.ndarray, middle_px: np.ndarray, mm_from_unit: np.ndarray
) -> float:
    """How far away, in mm, the middle of a face is that is seen at a pixel (2,), in the unit sphere of its scene."""
    direction = mm_from_cam[:3, :3] @ np.linalg.solve(px_from_cam, [*middle_px, 1.0])
    direction /= np.linalg.norm(direction)
    towards = mm_from_unit[:3, 3] - mm_from_cam[:3, 3]
    along = float(towards @ direction)
    squared = (MIDDLE_OF_SPHERE * np.cbrt(np.linalg.det(mm_from_unit[:3, :3]))) ** 2 - (towards @ towards - along**2)
    return along - float(np.sqrt(max(squared, 0.0)))


def met(seen: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """The place (3,) nearest to the rays of several photographs: of their intrinsics, poses mm_from_cam, and pixels (2,)."""
    normal, aim = np.zeros((3, 3)), np.zeros(3)
    for px_from_cam, mm_from_cam, pixel in seen:
        direction = mm_from_cam[:3, :3] @ np.linalg.solve(px_from_cam, [*pixel, 1.0])
        direction /= np.linalg.norm(direction)
        across = np.eye(3) - np.outer(direction, direction)
        normal, aim = normal + across, aim + across @ mm_from_cam[:3, 3]
    return np.linalg.solve(normal, aim)


def around_pixel(px_from_cam: np.ndarray, mm_from_cam: np.ndarray, middle_px: np.ndarray, distance_mm: float) -> Crop:
    """The crop around a face whose middle is seen at a pixel (2,), this far away."""
    direction = mm_from_cam[:3, :3] @ np.linalg.solve(px_from_cam, [*middle_px, 1.0])
    return around(px_from_cam, mm_from_cam, mm_from_cam[:3, 3] + distance_mm * direction / np.linalg.norm(direction))


def shrunk(picture: np.ndarray, crop: Crop, size: int) -> tuple[np.ndarray, Crop]:
    """The part of a picture (H, W, 3) uint8 that a crop `size` wide shows, its pixels about as large, and the crop there.

    Each new pixel is the mean of whole old ones, so that nothing is left out when a large picture is sampled.
    """
    half = (size - 1) / 2
    corners = np.array([[x, y, crop.focal(size)] for x in (-half, half) for y in (-half, half)])
    seen = corners @ (crop.px_from_cam @ crop.cam_from_crop).T
    pixels = seen[:, :2] / seen[:, 2:]
    times = max(1, int(np.ptp(pixels, axis=0).max() / size))
    limit = np.array(picture.shape[1::-1])
    low = np.clip(np.floor(pixels.min(axis=0)) - 2 * times, 0, limit - times).astype(int)
    high = np.clip(np.ceil(pixels.max(axis=0)) + 2 * times, low + times, limit).astype(int)
    region = np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]])
    if times > 1:
        region = np.array(Image.fromarray(region).reduce(times))
    to_region = np.array(
        [[1 / times, 0, (0.5 - low[0]) / times - 0.5], [0, 1 / times, (0.5 - low[1]) / times - 0.5], [0, 0, 1.0]]
    )
    return region, crop._replace(px_from_cam=to_region @ crop.px_from_cam)


def cut(pictures: Tensor, crops: list[Crop], size: int) -> tuple[Tensor, Camera]:
    """Crops (B, 3, size, size) in [0, 1] of pictures (B, H, W, 3) uint8, and their cameras, which see points of the frame."""
    height, width = pictures.shape[1:3]
    at = torch.arange(size) - (size - 1) / 2
    row, column = torch.meshgrid(at, at, indexing="ij")
    grids, matrices = [], []
    for crop in crops:
        focal = crop.focal(size)
        rays = torch.stack([column / focal, row / focal, torch.ones_like(row)], dim=-1)
        pixels = rays @ torch.from_numpy((crop.px_from_cam @ crop.cam_from_crop).T).float()
        pixels = pixels[..., :2] / pixels[..., 2:]
        grids.append((pixels + 0.5) / torch.tensor([width, height]) * 2 - 1)
        intrinsics = np.array([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1.0]])
        in_crop = np.concatenate([FLIP * MM_PER_UNIT, [[0], [0], [crop.distance_mm]]], axis=1)
        matrices.append(torch.from_numpy(intrinsics @ in_crop).float())
    images = pictures.permute(0, 3, 1, 2).float() / 255
    found = functional.grid_sample(images, torch.stack(grids), padding_mode="border", align_corners=False)
    return found, Camera(torch.stack(matrices), size)


def in_frame(points_mm: Tensor, crop: Crop) -> Tensor:
    """Points (N, 3) of the world in the crop's frame."""
    frame = torch.from_numpy(np.linalg.inv(crop.mm_from_frame)).float()
    return points_mm @ frame[:3, :3].T + frame[:3, 3]


def disturbed(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (B, 3, H, W) in other colours, contrast and sharpness, some grey, with noise."""
    count = len(pictures)
    gain = torch.exp(
        0.25 * torch.randn((count, 1, 1, 1), generator=generator) + 0.1 * torch.randn((count, 3, 1, 1), generator=generator)
    )
    power = torch.exp(0.25 * torch.randn((count, 1, 1, 1), generator=generator))
    changed = (pictures * gain).clamp(1e-3, 1) ** power
    grey = changed.mean(dim=1, keepdim=True)
    share = torch.where(
        torch.rand((count, 1, 1, 1), generator=generator) < 0.15, 1.0, 0.3 * torch.rand((count, 1, 1, 1), generator=generator)
    )
    changed = changed + share * (grey - changed)
    soft = functional.avg_pool2d(functional.pad(changed, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    changed = changed + torch.rand((count, 1, 1, 1), generator=generator) * (soft - changed)
    noise = 0.03 * torch.rand((count, 1, 1, 1), generator=generator) * torch.randn(pictures.shape, generator=generator)
    return (changed + noise).clamp(0, 1)
