"""Photo-consistency: a surface point looks alike in all the photographs that see it, which gives a wrong surface away.

IDR learns colours and shape together, and the shape waits for the colours. Two photographs can be compared without any: a pixel
of one is looked up in another, where the surface puts it (the pixel warping of Darmon et al. 2022, "NeuralWarp"; the
photometric consistency of Fu et al. 2022, "Geo-Neus"). This assumes that a point has the same colour wherever it is seen from.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from heads import camera

OTHERS = 2  # most photographs in which a pixel is looked up
FACING = 0.3  # the least cosine between normal and viewing direction at which a camera sees a point well
IN_FRONT = ((0.03, 0.2, 6), (0.25, 1.0, 6))  # distances at which something may hide a point: from, to, how many, evenly
OFFSET = 0.03  # of the differences of the field that give a normal
INNER_PX = 2  # this near the outline, a pixel partly shows something else
Field = Callable[[Tensor], Tensor]  # rows of points (N, S, 3) -> signed distances (N, S), without gradients


class Photographs(NamedTuple):
    """What pixels are looked up in: `colours` (V, H, W, 3), `inner` (V, H, W) bool, the pixels that show nothing but the head,
    `px_from_cam` (V, 3, 3) and `unit_from_cam` (V, 4, 4)."""

    colours: Tensor
    inner: Tensor
    px_from_cam: Tensor
    unit_from_cam: Tensor


def inner(masks: Tensor) -> Tensor:
    """The pixels of the masks (V, H, W) that are more than `INNER_PX` away from everything outside."""
    structure = ndimage.generate_binary_structure(2, 1)[None]  # photographs are not neighbours
    return torch.from_numpy(ndimage.binary_erosion(masks.numpy(), structure, iterations=INNER_PX))


def draw_others(views: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """For pixels of photographs `views` (N,) out of `count`, other photographs (N, M), each at most once; M may be 0."""
    wanted = min(OTHERS, count - 1)
    order = torch.rand((len(views), count - 1), generator=generator).argsort(1)[:, :wanted].to(views.device)
    return (views[:, None] + 1 + order) % count


def visible(points: Tensor, centres: Tensor, field: Field) -> Tensor:
    """Whether surface points (N, 3) are seen from `centres` (N, M, 3): (N, M) bool.

    They are if they face them and the field is positive on the way there. Normals are differences of the field.
    """
    towards = functional.normalize(centres - points[:, None], dim=-1)
    offsets = OFFSET * torch.eye(3, device=points.device)
    values = field(torch.cat([points[:, None] + offsets, points[:, None] - offsets], dim=1))  # (N, 6)
    normals = functional.normalize(values[:, :3] - values[:, 3:], dim=-1)
    facing = (normals[:, None] * towards).sum(-1) > FACING
    distances = torch.cat([torch.linspace(*some, device=points.device) for some in IN_FRONT])
    way = points[:, None, None] + distances[:, None] * towards[:, :, None]  # (N, M, S, 3)
    return facing & (field(way.flatten(1, 2)).unflatten(1, way.shape[1:3]) > 0).all(-1)


def unseen(points: Tensor, masks: Tensor, px_from_cam: Tensor, unit_from_cam: Tensor, field: Field) -> Tensor:
    """Which surface points (N, 3) no camera sees, by the field, while all masks (V, H, W) leave room for them: (N,) bool."""
    views, height, width = masks.shape
    centres = unit_from_cam[:, :3, 3]
    column, row = camera.project(px_from_cam, unit_from_cam, points.expand(views, -1, -1)).round().long().unbind(-1)  # (V, N)
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    view = torch.arange(views, device=points.device)[:, None]
    on_head = outside | masks[view, row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return ~visible(points, centres.expand(len(points), -1, 3), field).any(1) & on_head.all(0)


def brighter(colours: Tensor, gains: Tensor) -> Tensor:
    """Colours (..., 3) in [-1, 1] as another exposure and white balance would show them; `gains` (..., 3) are logarithms."""
    return (colours + 1) * gains.exp() - 1


def disagreement(
    points: Tensor, colours: Tensor, others: Tensor, photographs: Photographs, field: Field, gains: Tensor | None = None
) -> Tensor:
    """How much the colours (N, 3) of pixels differ from those of the `others` (N, M) at their surface points (N, 3): (N,).

    The sum of absolute differences over those that, by the field, see the point; differentiable in the points and in `gains`
    (N, M, 3), the logarithms by which the pixel's photograph is brighter than each of the others.
    """
    if others.numel() == 0:
        return points.new_zeros(len(points))
    count, height, width, _ = photographs.colours.shape
    everywhere = camera.project(photographs.px_from_cam, photographs.unit_from_cam, points.expand(count, -1, -1))
    places = everywhere.transpose(0, 1).take_along_dim(others[..., None], 1)  # (N, M, 2)
    with torch.no_grad():
        column, row = places.round().long().unbind(-1)
        pictured = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        counts = pictured & photographs.inner[others, row.clamp(0, height - 1), column.clamp(0, width - 1)]
        counts &= visible(points, photographs.unit_from_cam[:, :3, 3][others], field)
    below = places[..., 1] + others * height  # all photographs form one, each below the last
    lookup = torch.stack([places[..., 0] / (width - 1), below / (height * count - 1)], dim=-1) * 2 - 1
    picture = photographs.colours.flatten(0, 1).permute(2, 0, 1)[None]
    seen = functional.grid_sample(picture, lookup[None], align_corners=True)[0].permute(1, 2, 0)  # (N, M, 3)
    seen = seen if gains is None else brighter(seen, gains)
    return ((seen - colours[:, None]).abs().sum(-1) * counts).sum(-1)
