# mypy: disable-error-code="valid-type,arg-type,no-untyped-def,no-untyped-call,untyped-decorator"
# Warp reads the types of a kernel's arguments, which are calls.
"""A differentiable rasteriser of 3D Gaussians (Kerbl et al. 2023), written in NVIDIA Warp: one source for processors and GPUs.

Each Gaussian is projected by the camera's derivative at its centre (EWA, Zwicker et al. 2001), is widened by `BLUR_PX2`, and
covers the pixels where its opacity is at least `LEAST`. Those of a pixel are composited from the front until less than `CLEAR` of
the light is left. On a processor, strips of rows are gone through Gaussian by Gaussian; on a GPU, each pixel goes through those
of its tile, and gsplat is used instead where it is installed. Pixels have integer centres, as in `camera`.
"""

import importlib.util
import logging
import math
from typing import Any, Literal, NamedTuple

import torch
import warp as wp
from torch import Tensor

BLUR_PX2 = 0.3  # added to the variances of a projected Gaussian: about what a pixel averages over
LEAST = 1 / 255  # the opacity from which on a Gaussian covers a pixel
MOST = 0.99  # what a Gaussian can hide of what lies behind it
CLEAR = 0.9e-4  # less than what two Gaussians that hide the most leave, or rounding would decide about a third
MARGIN = 1.0  # pictures beside the picture where the centre of a Gaussian may be; farther away its derivative means nothing
WIDEST_PX = 1.0e6  # the deviation of a Gaussian; beyond, single precision knows no covariance
STRIP = 16  # rows
TILE = 16  # pixels a side
Way = Literal["auto", "strips", "tiles", "gsplat"]

wp.config.log_level = logging.ERROR  # else it introduces itself; that it finds no GPU driver it says all the same
wp.init()
_least, _most, _clear, _blur, _tile = (wp.constant(value) for value in (LEAST, MOST, CLEAR, BLUR_PX2, TILE))


class Gaussians(NamedTuple):
    """G Gaussians: `means` (G, 3), `log_scales` (G, 3) of their axes, `rotations` (G, 4) as quaternions w, x, y, z of any length,
    `opacities` (G,) and `colours` (G, 3) in [0, 1]. Lengths are those of the camera's world."""

    means: Tensor
    log_scales: Tensor
    rotations: Tensor
    opacities: Tensor
    colours: Tensor


class View(NamedTuple):
    """A camera: intrinsics `px_from_cam` (3, 3) with the principal point anywhere, `cam_from_world` (4, 4), and height and width
    of its picture."""

    px_from_cam: Tensor
    cam_from_world: Tensor
    size_px: tuple[int, int]


def rasterize(gaussians: Gaussians, view: View, *, near: float = 1.0, way: Way = "auto") -> tuple[Tensor, Tensor]:
    """A picture (H, W, 3) on black and how much of each pixel is covered (H, W), with gradients to all that Gaussians are.

    `near` is how far in front of the camera a Gaussian has to be. ValueError where one of them has a number that is not finite.
    """
    for name, value in gaussians._asdict().items():
        if not bool(torch.isfinite(value.sum())):
            wrong = (~value.flatten(1).isfinite().all(dim=1) if value.ndim > 1 else ~value.isfinite()).nonzero()[:1].flatten()
            if len(wrong):  # and not only their sum
                said = {"opacities": "opacity"}.get(name, name.rstrip("s").replace("_", " "))
                raise ValueError(f"Gaussian {int(wrong[0])}: its {said} is not finite; the training has diverged")
    cuda = gaussians.means.is_cuda
    if way == "auto":
        way = ("gsplat" if importlib.util.find_spec("gsplat") else "tiles") if cuda else "strips"
    if way == "gsplat":
        return _by_gsplat(gaussians, view, near)
    picture: Tensor = _Rasterize.apply(*(value.contiguous() for value in gaussians), view, near, way)
    return picture[..., :3], 1 - picture[..., 3]


def _by_gsplat(gaussians: Gaussians, view: View, near: float) -> tuple[Tensor, Tensor]:
    import gsplat

    device = gaussians.means.device
    intrinsics = view.px_from_cam.to(device, torch.float32).clone()
    intrinsics[:2, 2] += 0.5  # its pixels have their centres at a half
    pictures, covered, _ = gsplat.rasterization(
        gaussians.means,
        gaussians.rotations,
        gaussians.log_scales.exp(),
        gaussians.opacities,
        gaussians.colours,
        view.cam_from_world.to(device, torch.float32)[None],
        intrinsics[None],
        view.size_px[1],
        view.size_px[0],
        near_plane=near,
        eps2d=BLUR_PX2,
        packed=False,
    )
    return pictures[0], covered[0, ..., 0]


class _Rasterize(torch.autograd.Function):
    """From Gaussians to (H, W, 4): colours, and how much light passes."""

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        log_scales: Tensor,
        rotations: Tensor,
        opacities: Tensor,
        colours: Tensor,
        view: View,
        near: float,
        way: str,
    ) -> Tensor:
        device, count, (height, width) = means.device, len(means), view.size_px
        places, conics = means.new_empty((count, 3)), means.new_empty((count, 3))  # column, row, depth; inverse covariance
        projection = [
            wp.from_torch(log_scales.detach(), wp.vec3),
            wp.from_torch(rotations.detach(), wp.vec4),
            *_camera(view, near),
        ]
        inputs = [wp.from_torch(means.detach(), wp.vec3), *projection]
        _launch(_project, count, device, inputs, [wp.from_torch(places, wp.vec3), wp.from_torch(conics, wp.vec3)])
        boxes = torch.empty((count, 4), dtype=torch.int32, device=device)
        seen = [wp.from_torch(places, wp.vec3), wp.from_torch(conics, wp.vec3), wp.from_torch(opacities.detach())]
        _launch(_box, count, device, [*seen, height, width], [wp.from_torch(boxes, wp.vec4i)])
        visible = (boxes[:, 1] > boxes[:, 0]).nonzero().flatten()
        order = visible[torch.argsort(places[visible, 2])].int()
        picture = means.new_zeros((height, width, 4))
        picture[..., 3] = 1
        work = [*seen, wp.from_torch(colours.detach(), wp.vec3), wp.from_torch(boxes, wp.vec4i)]
        if way == "strips":
            lists = [order]
            _launch(
                _strip,
                math.ceil(height / STRIP),
                device,
                [wp.from_torch(order), *work, height, width],
                [_pixels(picture, wp.vec4)],
            )
        else:
            lists = list(_tiles(order, boxes, height, width))
            _launch(
                _tile_pixel,
                _threads(height, width),
                device,
                [*map(wp.from_torch, lists), *work, height, width],
                [_pixels(picture, wp.vec4)],
            )
        ctx.save_for_backward(means, log_scales, rotations, opacities, colours, places, conics, boxes, picture, *lists)
        ctx.view, ctx.near, ctx.way = view, near, way
        return picture

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        means, log_scales, rotations, opacities, colours, places, conics, boxes, picture, *lists = ctx.saved_tensors
        device, count, (height, width) = means.device, len(means), ctx.view.size_px
        towards = gradients[0].contiguous().clone()
        left = torch.empty((height, width, 2), device=device)  # of what lies behind: what it adds to the loss, and the light
        left[..., 0] = (towards * picture).sum(dim=-1) - towards[..., 3]
        left[..., 1] = 1
        towards[..., 3].neg_()  # what is covered is what does not pass
        to_places, to_conics, to_colours = (torch.zeros_like(x) for x in (places, conics, colours))
        to_opacities = torch.zeros_like(opacities)
        work = [wp.from_torch(places, wp.vec3), wp.from_torch(conics, wp.vec3), wp.from_torch(opacities.detach())]
        work += [wp.from_torch(colours.detach(), wp.vec3), wp.from_torch(boxes, wp.vec4i), _pixels(towards, wp.vec4)]
        outputs = [_pixels(left, wp.vec2), *(wp.from_torch(x, wp.vec3) for x in (to_places, to_conics, to_colours))]
        outputs.append(wp.from_torch(to_opacities))
        if ctx.way == "strips":
            _launch(_strip_back, math.ceil(height / STRIP), device, [wp.from_torch(lists[0]), *work, height, width], outputs)
        else:
            inputs = [*map(wp.from_torch, lists), *work, height, width]
            _launch(_tile_pixel_back, _threads(height, width), device, inputs, outputs)
        found = [torch.zeros_like(x) for x in (means, log_scales, rotations)]
        types = [wp.vec3, wp.vec3, wp.vec4]
        with wp.ScopedDevice(_device(device)):
            wp.launch(
                _project,
                dim=count,
                inputs=[
                    *(wp.from_torch(x.detach(), t) for x, t in zip((means, log_scales, rotations), types, strict=True)),
                    *_camera(ctx.view, ctx.near),
                ],
                outputs=[wp.from_torch(places, wp.vec3), wp.from_torch(conics, wp.vec3)],
                adj_inputs=[*(wp.from_torch(x, t) for x, t in zip(found, types, strict=True)), None, None, None, None, None],
                adj_outputs=[wp.from_torch(to_places, wp.vec3), wp.from_torch(to_conics, wp.vec3)],
                adjoint=True,
                stream=_stream(device),
            )
        return (*found, to_opacities, to_colours, None, None, None)


def _device(device: torch.device) -> str:
    return str(wp.device_from_torch(device))


def _stream(device: torch.device) -> Any:
    return wp.stream_from_torch(device) if device.type == "cuda" else None


def _launch(kernel: Any, dim: int, device: torch.device, inputs: list[Any], outputs: list[Any]) -> None:
    wp.launch(kernel, dim=dim, inputs=inputs, outputs=outputs, device=_device(device), stream=_stream(device))


def _pixels(picture: Tensor, kind: Any) -> Any:
    return wp.from_torch(picture.flatten(0, 1), kind)


def _threads(height: int, width: int) -> int:
    return math.ceil(height / TILE) * math.ceil(width / TILE) * TILE * TILE


def _camera(view: View, near: float) -> list[Any]:
    """What `_project` is told: rotation and translation, intrinsics, the picture's height and width, the nearest depth."""
    pose, intrinsics = view.cam_from_world.double().cpu(), view.px_from_cam.double().cpu()
    rotation = wp.mat33(*pose[:3, :3].flatten().tolist())
    upper = wp.mat33(*(intrinsics / intrinsics[2, 2]).flatten().tolist())
    return [rotation, wp.vec3(*pose[:3, 3].tolist()), upper, wp.vec2(float(view.size_px[1]), float(view.size_px[0])), near]


def _tiles(order: Tensor, boxes: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """For each tile the Gaussians that may touch it, from the front, all in one list, and where each tile's begin (T + 1,)."""
    across, down = math.ceil(width / TILE), math.ceil(height / TILE)
    low_row, high_row, low_column, high_column = boxes[order].long().T
    first_row, first_column = low_row // TILE, low_column // TILE
    rows, columns = (high_row - 1) // TILE - first_row + 1, (high_column - 1) // TILE - first_column + 1
    counts = rows * columns
    which = torch.repeat_interleave(torch.arange(len(order), device=order.device), counts)
    number = torch.arange(len(which), device=order.device) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    tile = (first_row[which] + number // columns[which]) * across + first_column[which] + number % columns[which]
    sort = torch.argsort(tile, stable=True)
    starts = torch.searchsorted(tile[sort], torch.arange(across * down + 1, device=order.device))
    return order[which[sort]].int(), starts.int()


# ---------------------------------------------------------------------------------------------------- kernels


@wp.kernel
def _project(
    means: wp.array(dtype=wp.vec3),
    log_scales: wp.array(dtype=wp.vec3),
    rotations: wp.array(dtype=wp.vec4),
    rotation: wp.mat33,
    translation: wp.vec3,
    intrinsics: wp.mat33,
    size: wp.vec2,
    near: float,
    places: wp.array(dtype=wp.vec3),
    conics: wp.array(dtype=wp.vec3),
):
    """Column, row and depth of a Gaussian, and the inverse of its covariance in pixels; depth 0 if it cannot be seen."""
    i = wp.tid()
    at = rotation * means[i] + translation
    depth = at[2]
    if depth <= near:
        places[i] = wp.vec3(0.0, 0.0, 0.0)
        conics[i] = wp.vec3(1.0, 0.0, 1.0)
        return
    x = at[0] / depth
    y = at[1] / depth
    column = intrinsics[0, 0] * x + intrinsics[0, 1] * y + intrinsics[0, 2]
    row = intrinsics[1, 1] * y + intrinsics[1, 2]
    margin = wp.static(MARGIN)
    if (
        column < -margin * size[0]
        or column > (1.0 + margin) * size[0]
        or row < -margin * size[1]
        or row > (1.0 + margin) * size[1]
    ):
        places[i] = wp.vec3(0.0, 0.0, 0.0)
        conics[i] = wp.vec3(1.0, 0.0, 1.0)
        return
    q = wp.normalize(rotations[i])
    w, a, b, c = q[0], q[1], q[2], q[3]
    turn = wp.mat33(
        1.0 - 2.0 * (b * b + c * c), 2.0 * (a * b - w * c), 2.0 * (a * c + w * b),
        2.0 * (a * b + w * c), 1.0 - 2.0 * (a * a + c * c), 2.0 * (b * c - w * a),
        2.0 * (a * c - w * b), 2.0 * (b * c + w * a), 1.0 - 2.0 * (a * a + b * b),
    )  # fmt: skip
    s = log_scales[i]
    if wp.exp(wp.max(wp.max(s[0], s[1]), s[2])) * intrinsics[0, 0] > wp.static(WIDEST_PX) * depth:
        places[i] = wp.vec3(0.0, 0.0, 0.0)
        conics[i] = wp.vec3(1.0, 0.0, 1.0)
        return
    axes = rotation * turn * wp.diag(wp.vec3(wp.exp(s[0]), wp.exp(s[1]), wp.exp(s[2])))
    over_column = wp.vec3(
        intrinsics[0, 0] / depth, intrinsics[0, 1] / depth, -(intrinsics[0, 0] * x + intrinsics[0, 1] * y) / depth
    )
    over_row = wp.vec3(0.0, intrinsics[1, 1] / depth, -intrinsics[1, 1] * y / depth)
    one = wp.transpose(axes) * over_column
    two = wp.transpose(axes) * over_row
    xx = wp.dot(one, one) + _blur
    xy = wp.dot(one, two)
    yy = wp.dot(two, two) + _blur
    normal = wp.cross(one, two)
    det = wp.dot(normal, normal) + _blur * (wp.dot(one, one) + wp.dot(two, two) + _blur)
    places[i] = wp.vec3(column, row, depth)
    conics[i] = wp.vec3(yy / det, -xy / det, xx / det)


@wp.kernel(enable_backward=False)
def _box(
    places: wp.array(dtype=wp.vec3),
    conics: wp.array(dtype=wp.vec3),
    opacities: wp.array(dtype=float),
    height: int,
    width: int,
    boxes: wp.array(dtype=wp.vec4i),
):
    """The rows and columns, from the first to before the last, that a Gaussian may cover; no rows if it covers nothing."""
    i = wp.tid()
    boxes[i] = wp.vec4i(0, 0, 0, 0)
    place, conic = places[i], conics[i]
    reach = 2.0 * wp.log(wp.max(opacities[i], 1.0e-20) / _least)
    if place[2] <= 0.0 or reach <= 0.0:
        return
    det = conic[0] * conic[2] - conic[1] * conic[1]
    up = wp.sqrt(reach * conic[0] / det)
    side = wp.sqrt(reach * conic[2] / det)
    low = wp.max(int(wp.ceil(place[1] - up)), 0)
    high = wp.min(int(wp.floor(place[1] + up)) + 1, height)
    left = wp.max(int(wp.ceil(place[0] - side)), 0)
    right = wp.min(int(wp.floor(place[0] + side)) + 1, width)
    if low < high and left < right:
        boxes[i] = wp.vec4i(low, high, left, right)


@wp.func
def _span(place: wp.vec3, conic: wp.vec3, opacity: float, row: int, width: int):
    """The columns of a row, from the first to before the last, that lie in a Gaussian's ellipse."""
    down = float(row) - place[1]
    reach = 2.0 * wp.log(opacity / _least)
    square = reach * conic[0] - (conic[0] * conic[2] - conic[1] * conic[1]) * down * down
    half = wp.sqrt(wp.max(square, 0.0)) / conic[0]
    middle = place[0] - conic[1] * down / conic[0]
    low = wp.max(int(wp.ceil(middle - half)), 0)
    high = wp.min(int(wp.floor(middle + half)) + 1, width)
    if square < 0.0:
        high = low
    return low, high


@wp.func
def _opacity(place: wp.vec3, conic: wp.vec3, opacity: float, column: int, row: int):
    across = float(column) - place[0]
    down = float(row) - place[1]
    return opacity * wp.exp(-0.5 * (conic[0] * across * across + conic[2] * down * down) - conic[1] * across * down)


@wp.func
def _step(conic: wp.vec3, across: float, down: float):
    """By what the opacity is multiplied from a pixel to the next."""
    return wp.exp(-conic[0] * (across + 0.5) - conic[1] * down)


@wp.kernel(enable_backward=False)
def _strip(
    order: wp.array(dtype=int),
    places: wp.array(dtype=wp.vec3),
    conics: wp.array(dtype=wp.vec3),
    opacities: wp.array(dtype=float),
    colours: wp.array(dtype=wp.vec3),
    boxes: wp.array(dtype=wp.vec4i),
    height: int,
    width: int,
    picture: wp.array(dtype=wp.vec4),
):
    """Composite all Gaussians over a strip of rows. Along a row the opacity is a product, begun anew every eight pixels."""
    first = wp.tid() * wp.static(STRIP)
    last = wp.min(first + wp.static(STRIP), height)
    for n in range(order.shape[0]):
        i = order[n]
        box = boxes[i]
        low = wp.max(box[0], first)
        high = wp.min(box[1], last)
        if low < high:
            place, conic, opacity, colour = places[i], conics[i], opacities[i], colours[i]
            ratio = wp.exp(-conic[0])
            for row in range(low, high):
                left, right = _span(place, conic, opacity, row, width)
                down = float(row) - place[1]
                alpha = float(0.0)
                step = float(0.0)
                for column in range(left, right):
                    if (column - left) % 8 == 0:
                        alpha = _opacity(place, conic, opacity, column, row)
                        step = _step(conic, float(column) - place[0], down)
                    was = picture[row * width + column]
                    if was[3] >= _clear:
                        hides = wp.min(alpha, _most)
                        weight = hides * was[3]
                        picture[row * width + column] = wp.vec4(
                            was[0] + weight * colour[0],
                            was[1] + weight * colour[1],
                            was[2] + weight * colour[2],
                            was[3] - weight,
                        )
                    alpha = alpha * step
                    step = step * ratio


@wp.kernel(enable_backward=False)
def _strip_back(
    order: wp.array(dtype=int),
    places: wp.array(dtype=wp.vec3),
    conics: wp.array(dtype=wp.vec3),
    opacities: wp.array(dtype=float),
    colours: wp.array(dtype=wp.vec3),
    boxes: wp.array(dtype=wp.vec4i),
    towards: wp.array(dtype=wp.vec4),
    height: int,
    width: int,
    behind: wp.array(dtype=wp.vec2),
    to_places: wp.array(dtype=wp.vec3),
    to_conics: wp.array(dtype=wp.vec3),
    to_colours: wp.array(dtype=wp.vec3),
    to_opacities: wp.array(dtype=float),
):
    """The gradients of `_strip`, from the front too: what lies behind is the whole less what has passed."""
    first = wp.tid() * wp.static(STRIP)
    last = wp.min(first + wp.static(STRIP), height)
    for n in range(order.shape[0]):
        i = order[n]
        box = boxes[i]
        low = wp.max(box[0], first)
        high = wp.min(box[1], last)
        if low < high:
            place, conic, opacity, colour = places[i], conics[i], opacities[i], colours[i]
            ratio = wp.exp(-conic[0])
            red, green, blue = float(0.0), float(0.0), float(0.0)
            x, y, xx, xy, yy, whole = float(0.0), float(0.0), float(0.0), float(0.0), float(0.0), float(0.0)
            for row in range(low, high):
                left, right = _span(place, conic, opacity, row, width)
                down = float(row) - place[1]
                alpha = float(0.0)
                step = float(0.0)
                none, once, twice = float(0.0), float(0.0), float(0.0)  # sums over the row: times 1, across, and its square
                for column in range(left, right):
                    across = float(column) - place[0]
                    if (column - left) % 8 == 0:
                        alpha = _opacity(place, conic, opacity, column, row)
                        step = _step(conic, across, down)
                    was = behind[row * width + column]
                    if was[1] >= _clear:
                        to = towards[row * width + column]
                        hides = wp.min(alpha, _most)
                        weight = hides * was[1]
                        adds = to[0] * colour[0] + to[1] * colour[1] + to[2] * colour[2] + to[3]
                        rest = was[0] - adds * weight
                        behind[row * width + column] = wp.vec2(rest, was[1] - weight)
                        red += weight * to[0]
                        green += weight * to[1]
                        blue += weight * to[2]
                        if alpha < _most:
                            slope = (was[1] * adds - rest / (1.0 - hides)) * alpha
                            none += slope
                            once += slope * across
                            twice += slope * across * across
                    alpha = alpha * step
                    step = step * ratio
                x += conic[0] * once + conic[1] * down * none
                y += conic[1] * once + conic[2] * down * none
                xx -= 0.5 * twice
                xy -= down * once
                yy -= 0.5 * down * down * none
                whole += none
            to_places[i] = to_places[i] + wp.vec3(x, y, 0.0)
            to_conics[i] = to_conics[i] + wp.vec3(xx, xy, yy)
            to_colours[i] = to_colours[i] + wp.vec3(red, green, blue)
            to_opacities[i] = to_opacities[i] + whole / opacity


@wp.func
def _pixel_of(thread: int, width: int):
    """Tile, row and column of a thread: those of a tile follow each other."""
    tile = thread // (_tile * _tile)
    within = thread % (_tile * _tile)
    across = (width + _tile - 1) // _tile
    return tile, tile // across * _tile + within // _tile, tile % across * _tile + within % _tile


@wp.kernel(enable_backward=False)
def _tile_pixel(
    order: wp.array(dtype=int),
    starts: wp.array(dtype=int),
    places: wp.array(dtype=wp.vec3),
    conics: wp.array(dtype=wp.vec3),
    opacities: wp.array(dtype=float),
    colours: wp.array(dtype=wp.vec3),
    boxes: wp.array(dtype=wp.vec4i),
    height: int,
    width: int,
    picture: wp.array(dtype=wp.vec4),
):
    """Composite over a pixel the Gaussians of its tile."""
    tile, row, column = _pixel_of(wp.tid(), width)
    if row >= height or column >= width:
        return
    red, green, blue, light = float(0.0), float(0.0), float(0.0), float(1.0)
    for n in range(starts[tile], starts[tile + 1]):
        if light < _clear:
            break
        i = order[n]
        alpha = _opacity(places[i], conics[i], opacities[i], column, row)
        if alpha >= _least:
            weight = wp.min(alpha, _most) * light
            colour = colours[i]
            red += weight * colour[0]
            green += weight * colour[1]
            blue += weight * colour[2]
            light -= weight
    picture[row * width + column] = wp.vec4(red, green, blue, light)


@wp.kernel(enable_backward=False)
def _tile_pixel_back(
    order: wp.array(dtype=int),
    starts: wp.array(dtype=int),
    places: wp.array(dtype=wp.vec3),
    conics: wp.array(dtype=wp.vec3),
    opacities: wp.array(dtype=float),
    colours: wp.array(dtype=wp.vec3),
    boxes: wp.array(dtype=wp.vec4i),
    towards: wp.array(dtype=wp.vec4),
    height: int,
    width: int,
    behind: wp.array(dtype=wp.vec2),
    to_places: wp.array(dtype=wp.vec3),
    to_conics: wp.array(dtype=wp.vec3),
    to_colours: wp.array(dtype=wp.vec3),
    to_opacities: wp.array(dtype=float),
):
    """The gradients of `_tile_pixel`, added up over the pixels."""
    tile, row, column = _pixel_of(wp.tid(), width)
    if row >= height or column >= width:
        return
    to = towards[row * width + column]
    rest = behind[row * width + column][0]
    light = float(1.0)
    for n in range(starts[tile], starts[tile + 1]):
        if light < _clear:
            break
        i = order[n]
        conic, opacity, colour = conics[i], opacities[i], colours[i]
        alpha = _opacity(places[i], conic, opacity, column, row)
        if alpha >= _least:
            hides = wp.min(alpha, _most)
            weight = hides * light
            adds = to[0] * colour[0] + to[1] * colour[1] + to[2] * colour[2] + to[3]
            rest -= adds * weight
            wp.atomic_add(to_colours, i, wp.vec3(weight * to[0], weight * to[1], weight * to[2]))
            if alpha < _most:
                slope = (light * adds - rest / (1.0 - hides)) * alpha
                across = float(column) - places[i][0]
                down = float(row) - places[i][1]
                wp.atomic_add(
                    to_places, i, slope * wp.vec3(conic[0] * across + conic[1] * down, conic[1] * across + conic[2] * down, 0.0)
                )
                wp.atomic_add(to_conics, i, slope * wp.vec3(-0.5 * across * across, -across * down, -0.5 * down * down))
                wp.atomic_add(to_opacities, i, slope / opacity)
            light -= weight
