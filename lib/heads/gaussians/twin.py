"""The rasteriser again, slowly and in plain torch, in whatever precision its Gaussians have: what the fast ones are tested by."""

import torch
from torch import Tensor

from heads.gaussians.rasterizer import BLUR_PX2, CLEAR, LEAST, MARGIN, MOST, Gaussians, View


def rasterize(gaussians: Gaussians, view: View, *, near: float = 1.0) -> tuple[Tensor, Tensor]:
    """As `rasterizer.rasterize`: a picture (H, W, 3) and how much of each pixel is covered (H, W)."""
    height, width = view.size_px
    intrinsics, pose = (x.to(gaussians.means) for x in (view.px_from_cam, view.cam_from_world))
    at = gaussians.means @ pose[:3, :3].T + pose[:3, 3]
    depth = at[:, 2]
    px = at @ intrinsics.T / depth[:, None]
    limit = torch.tensor([width, height]).to(px)
    kept = (depth > near) & ((px[:, :2] >= -MARGIN * limit) & (px[:, :2] <= (1 + MARGIN) * limit)).all(dim=1)
    kept &= gaussians.opacities >= LEAST
    order = kept.nonzero().flatten()
    order = order[torch.argsort(depth[order])]
    at, px = at[order], px[order, :2]
    flat = torch.cat([torch.eye(2).to(at).expand(len(at), 2, 2), -at[:, :2, None] / at[:, 2, None, None]], dim=2)
    slopes = intrinsics[:2, :2] @ flat / at[:, 2, None, None]
    axes = pose[:3, :3] @ turned(gaussians.rotations[order]) * gaussians.log_scales[order].exp()[:, None]
    spread = slopes @ axes
    inverse = torch.linalg.inv(spread @ spread.transpose(1, 2) + BLUR_PX2 * torch.eye(2).to(at))
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    away = torch.stack([column, row], dim=-1).reshape(-1, 1, 2).to(px) - px
    alpha = gaussians.opacities[order] * torch.exp(-0.5 * torch.einsum("pgi,gij,pgj->pg", away, inverse, away))
    alpha = torch.where(alpha < LEAST, 0.0, alpha.clamp(max=MOST))
    passed = torch.cumprod(1 - alpha, dim=1)
    light = torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], dim=1)
    weights = torch.where(light < CLEAR, 0.0, alpha * light)
    return (weights @ gaussians.colours[order]).reshape(height, width, 3), weights.sum(dim=1).reshape(height, width)


def turned(rotations: Tensor) -> Tensor:
    """Rotation matrices (G, 3, 3) of quaternions w, x, y, z (G, 4) of any length."""
    w, x, y, z = torch.nn.functional.normalize(rotations, dim=1).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(part, dim=-1) for part in rows], dim=1)
