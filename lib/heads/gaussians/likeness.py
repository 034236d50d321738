"""How alike pictures are, as a loss: the mean absolute difference, and SSIM with the window of Wang et al. (2004)."""

import functools

import torch
from torch import Tensor

WINDOW, DEVIATION = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
SSIM_WEIGHT = 0.2  # of 1 - SSIM, the rest is of the mean absolute difference (Kerbl et al. 2023)


@functools.lru_cache(maxsize=16)
def _band(size: int, device: torch.device) -> Tensor:
    """The matrix (size, size) that smooths a column with the window, with zeros beyond its ends."""
    at = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-(at**2) / (2 * DEVIATION**2))
    weights /= weights.sum()
    rows = torch.arange(size)
    offset = rows[None] - rows[:, None] + WINDOW // 2
    inside = (offset >= 0) & (offset < WINDOW)
    return torch.where(inside, weights[offset.clamp(0, WINDOW - 1)], 0.0).float().to(device)


def ssim(one: Tensor, other: Tensor) -> Tensor:
    """The structural similarity (B,) of pictures (B, H, W, 3) in [0, 1], the mean over pixels and channels."""
    down, across = _band(one.shape[1], one.device), _band(one.shape[2], one.device)
    x, y = one.permute(0, 3, 1, 2), other.permute(0, 3, 1, 2)
    smooth = down @ torch.cat([x, y, x * x, y * y, x * y], dim=1) @ across.T
    mx, my, xx, yy, xy = smooth.split(3, dim=1)
    mxx, myy, mxy = mx * mx, my * my, mx * my
    top = (2 * mxy + C1) * (2 * (xy - mxy) + C2)
    return (top / ((mxx + myy + C1) * (xx - mxx + yy - myy + C2))).mean(dim=(1, 2, 3))


def loss(one: Tensor, other: Tensor) -> Tensor:
    """0.8 of the mean absolute difference and 0.2 of 1 - SSIM, the mean over pictures (B, H, W, 3)."""
    return (1 - SSIM_WEIGHT) * (one - other).abs().mean() + SSIM_WEIGHT * (1 - ssim(one, other)).mean()
