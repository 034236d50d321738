"""Pinhole cameras: from a projection matrix to intrinsics and pose, and between pixels and rays.

Frames: `mm` is the data set's world, `unit` has the head inside the unit sphere, `cam` is OpenCV's (x right, y down,
z forward). A transform is called `b_from_a` and is 4x4. A pixel is (column, row) in integer coordinates with no
half-pixel offset, as in IDR and H3DS: the centre of the first pixel is (0, 0).
"""

import numpy as np
import scipy.linalg
import torch
from torch import Tensor


def decompose(px_from_frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split a projection (4, 4) or (3, 4) into intrinsics `px_from_cam` (3, 3) and pose `frame_from_cam` (4, 4).

    Any positive or negative factor in the projection is removed, so `world_mat @ scale_mat` of an IDR or H3DS
    `cameras.npz` gives a rigid pose in the scaled frame (IDR, `rend_util.load_K_Rt_from_P`).
    """
    left = np.asarray(px_from_frame, dtype=np.float64)[:3, :3]
    offset = np.asarray(px_from_frame, dtype=np.float64)[:3, 3]
    if not np.isfinite(left).all() or not np.isfinite(offset).all() or abs(np.linalg.det(left)) < 1e-12:
        raise ValueError(f"not the projection matrix of a camera: {np.asarray(px_from_frame).tolist()}")
    if np.linalg.det(left) < 0:
        left, offset = -left, -offset
    upper, cam_from_frame_rotation = scipy.linalg.rq(left)
    signs = np.diag(np.sign(np.diag(upper)))  # RQ is unique once the diagonal of the intrinsics is positive
    upper, cam_from_frame_rotation = upper @ signs, signs @ cam_from_frame_rotation
    frame_from_cam = np.eye(4)
    frame_from_cam[:3, :3] = cam_from_frame_rotation.T
    frame_from_cam[:3, 3] = -np.linalg.solve(left, offset)
    return upper / upper[2, 2], frame_from_cam


def rays(px_from_cam: Tensor, frame_from_cam: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Origins and unit directions (..., N, 3) of the rays through `pixels` (..., N, 2) of cameras (..., 3, 3), (..., 4, 4)."""
    assert pixels.shape[-1] == 2 and px_from_cam.shape[-2:] == (3, 3) and frame_from_cam.shape[-2:] == (4, 4)
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], dim=-1)
    in_cam = homogeneous @ torch.linalg.inv(px_from_cam).transpose(-1, -2)
    directions = in_cam @ frame_from_cam[..., :3, :3].transpose(-1, -2)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    return frame_from_cam[..., None, :3, 3].expand_as(directions), directions


def project(px_from_cam: Tensor, frame_from_cam: Tensor, points: Tensor) -> Tensor:
    """Pixels (..., N, 2) at which cameras (..., 3, 3) and (..., 4, 4) see `points` (..., N, 3)."""
    assert points.shape[-1] == 3
    in_cam = (points - frame_from_cam[..., None, :3, 3]) @ frame_from_cam[..., :3, :3]
    homogeneous = in_cam @ px_from_cam.transpose(-1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def look_at(position: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Pose `frame_from_cam` (4, 4) of a camera at `position` (3,) looking at `target` (3,), with `up` (3,) upwards."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, up)
    right = right / np.linalg.norm(right)
    frame_from_cam = np.eye(4)
    frame_from_cam[:3, :4] = np.stack([right, np.cross(forward, right), forward, position], axis=1)
    return frame_from_cam
