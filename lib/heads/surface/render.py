"""Pictures of a fitted surface: what a camera would see of it, in the colours that its colour network gives it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils import parametrize

from heads import camera, files
from heads.surface import sdf, trace
from heads.surface.colour import ColourNetwork

CHUNK = 2**13  # rays that are traced at a time on a processor
CHUNK_GPU = 2**16


class Rendered(NamedTuple):
    """Pictures `images` (V, H, W, 3) in [0, 1], black where no surface is, and `hit` (V, H, W) bool, where one is."""

    images: Tensor
    hit: Tensor


@torch.no_grad()
def render(
    geometry: sdf.Network,
    colour: ColourNetwork,
    px_from_cam: Tensor,
    unit_from_cam: Tensor,
    size_px: tuple[int, int],
    *,
    grid: int = 128,
) -> Rendered:
    """Pictures of `size_px` (height, width) as cameras (V, 3, 3), (V, 4, 4) see the surface, a ray through each pixel's centre.

    Rays are traced as in a fit: inside the unit sphere, on a grid of `grid` points a side that is exact near the surface (for
    the outlines, twice as fine as a fit's), then by two Newton steps. The networks' device computes; the result is on the
    processor.
    """
    views, (height, width) = len(px_from_cam), size_px
    device = geometry.code.device
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([column, row], dim=-1).flatten(0, 1).float()
    origins, directions = (x.flatten(0, 1) for x in camera.rays(px_from_cam, unit_from_cam, pixels.expand(views, -1, 2)))
    images, hit = torch.zeros((len(origins), 3)), torch.zeros(len(origins), dtype=torch.bool)
    meets = trace.sphere_interval(origins, directions)[2].nonzero()[:, 0]
    with parametrize.cached():
        field = sdf.distance(geometry)
        cache = trace.CachedField(field, grid, device=device)
        for rays in meets.split(CHUNK if device.type == "cpu" else CHUNK_GPU):
            start, towards = origins[rays].to(device), directions[rays].to(device)
            found = trace.cached(cache, field, start, towards)
            seen = found.hit
            points = start[seen] + found.t_surface[seen, None] * towards[seen]
            colours = _colours(geometry, colour, points, towards[seen], found.slope[seen])
            hit[rays], images[rays[seen.cpu()]] = seen.cpu(), colours.cpu()
    return Rendered(images.view(views, height, width, 3), hit.view(views, height, width))


def _colours(geometry: sdf.Network, colour: ColourNetwork, points: Tensor, directions: Tensor, slope: Tensor) -> Tensor:
    """Colours (N, 3) in [0, 1] where rays along `directions` (N, 3) hit near `points` (N, 3); the rest is as in `idr.losses`."""
    found = [points.new_zeros((0, 3))]
    size = 2048 if points.device.type == "cpu" else CHUNK_GPU
    for x, v, steep in zip(points.split(size), directions.split(size), slope.split(size), strict=True):
        value, gradient, feature = geometry.with_gradient(x)
        x = trace.differentiable_intersection(x.new_zeros(len(x)), x, v, value, steep)
        found.append((colour(x, -v, gradient, feature) + 1) / 2)
    return torch.cat(found)


def save(folder: Path, views: Sequence[int], rendered: Rendered) -> list[Path]:
    """Write each picture as `folder`/NUMBER.png, transparent where no surface is; other PNG files in the folder are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{view:04}.png" for view in views]
    for path in set(folder.glob("*.png")) - set(paths):
        path.unlink()
    whole = torch.cat([rendered.images, rendered.hit[..., None]], dim=-1)
    for path, picture in zip(paths, (whole * 255).round().numpy().astype(np.uint8), strict=True):
        with files.replacing(path) as partial:
            Image.fromarray(picture).save(partial, format="PNG")
    return paths
