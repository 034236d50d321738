"""The network of Pixel2Mesh: features of a photograph, looked up where a camera sees each vertex, and graphs that move them.

Sizes are those of noahcao/Pixel2Mesh and of the variant for faces (`models/backbones`, `models/layers`): three or four blocks of
residual graph convolutions, between which edges get a vertex in their middle. A graph convolution is A (X W) + X V + b, with the
mean of the neighbours as A. Three things differ from theirs: a block says how far a vertex goes, and not where it is; features
are looked up after vertices were added, and not before; and the last block is not followed by one more convolution.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from heads.methods.pixel2mesh import backbones
from heads.template import Template

GROUPS = 8  # of channels that are normalised together


@dataclass(frozen=True)
class Shape:
    """The sizes of a network; the defaults are the published ones, but for the encoder, which is our own.

    `hidden` has the width of each level's block; finer levels than there are blocks get their vertices from unpooling alone. A
    `posed` network is first told how the template as a whole is turned, moved and, along its directions, shaped; what the blocks
    refine is how far vertices are from there.
    """

    hidden: tuple[int, ...] = (192, 192, 192, 192)
    residuals: int = 6  # of a block, two graph convolutions each
    channels: tuple[int, ...] = (64, 128, 256, 512)  # of the encoder's maps, each of half the size of the one before
    looked_up: int = (
        0  # channels of each map that vertices look up, joined from coarse to fine; 0: all, as the encoder leaves them
    )
    crop: int = 224  # pixels a side of what it sees
    encoder: str = "own"  # or resnet50 or vgg16, whose `channels` are what they are
    posed: bool = False

    def __post_init__(self) -> None:
        sizes = (*self.hidden, *self.channels, self.residuals, self.crop)
        if min(sizes) < 1 or not self.hidden or not self.channels or any(width % GROUPS for width in self.channels):
            raise ValueError(f"a network of Pixel2Mesh has positive sizes, and multiples of {GROUPS} as channels, not {self}")
        known = backbones.CHANNELS.get(self.encoder, self.channels)
        if self.encoder not in ("own", *backbones.CHANNELS) or self.channels != known:
            raise ValueError(
                f"the encoder is own, resnet50 or vgg16, of which the last two have channels of their own, not {self}"
            )
        if self.posed and self.looked_up < 1:
            raise ValueError("a posed network looks up joined maps; expected looked_up of 1 or more")


class Encoder(nn.Module):
    """Photographs (B, 3, S, S) in [0, 1] -> maps of features (B, C, S / 4, S / 4), and each next of half that size."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels[0], 5, stride=2, padding=2), nn.GroupNorm(GROUPS, channels[0]), nn.ReLU())
        self.stages = nn.ModuleList()
        before = channels[0]
        for width in channels:
            self.stages.append(Residual(before, width))
            before = width

    def forward(self, images: Tensor) -> list[Tensor]:
        middle, spread = images.mean(dim=(1, 2, 3), keepdim=True), images.std(dim=(1, 2, 3), keepdim=True)
        hidden, maps = self.stem((images - middle) / (4 * spread + 1e-3)), []
        for stage in self.stages:
            hidden = stage(hidden)
            maps.append(hidden)
        return maps


class Residual(nn.Module):
    """Two convolutions beside a shortcut, at half the size."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, stride=2, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, width, 1, stride=2)
        self.norms = nn.ModuleList([nn.GroupNorm(GROUPS, width), nn.GroupNorm(GROUPS, width)])

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.norms[0](self.first(x)))
        return functional.relu(self.norms[1](self.second(hidden)) + self.shortcut(x))


class GraphConvolution(nn.Module):
    """A (X W) + X V + b for features (V, B, C) of V vertices."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.near, self.own = nn.Linear(inputs, outputs, bias=False), nn.Linear(inputs, outputs)

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        near = self.near(x)
        return (neighbours @ near.flatten(1)).view_as(near) + self.own(x)


class Block(nn.Module):
    """Features (V, B, C) -> where the vertices go (V, B, 3), and their new features (V, B, H)."""

    def __init__(self, inputs: int, hidden: int, residuals: int) -> None:
        super().__init__()
        self.first, self.last = GraphConvolution(inputs, hidden), GraphConvolution(hidden, 3)
        self.ones, self.twos = (nn.ModuleList(GraphConvolution(hidden, hidden) for _ in range(residuals)) for _ in range(2))

    def forward(self, x: Tensor, neighbours: Tensor) -> tuple[Tensor, Tensor]:
        hidden = functional.relu(self.first(x, neighbours))
        for one, two in zip(self.ones, self.twos, strict=True):
            inner = functional.relu(one(hidden, neighbours))
            hidden = (hidden + functional.relu(two(inner, neighbours))) / 2
        return self.last(hidden, neighbours), hidden


class Camera(NamedTuple):
    """How photographs see points: `matrix` (B, 3, 4) from the template's frame to homogeneous pixels of a picture `size` wide.

    Of an orthographic camera the last row is (0, 0, 0, 1).
    """

    matrix: Tensor
    size: int

    def project(self, points: Tensor) -> Tensor:
        """Pixels (B, V, 2), with the centre of the first at (0, 0), of points (B, V, 3)."""
        homogeneous = torch.cat([points, torch.ones_like(points[..., :1])], dim=2) @ self.matrix.transpose(1, 2)
        return homogeneous[..., :2] / homogeneous[..., 2:]


def pooled(maps: list[Tensor], camera: Camera, points: Tensor) -> Tensor:
    """The features (B, V, C) of all maps, bilinear, at the pixels where the camera sees points (B, V, 3), or at the edge."""
    place = (camera.project(points) + 0.5) / camera.size * 2 - 1
    found = [functional.grid_sample(one, place[:, None], padding_mode="border", align_corners=False)[:, :, 0] for one in maps]
    return torch.cat(found, dim=1).transpose(1, 2)


class Placed(NamedTuple):
    """The maps that vertices look up, and the template (B, V, 3): shaped, and then also turned and moved."""

    maps: list[Tensor]
    shape: Tensor
    whole: Tensor


class Network(nn.Module):
    """Photographs (B, 3, S, S) and their cameras -> the template's vertices (B, V, 3) at each level, in its frame.

    As published, a level starts from where the one before has left the vertices. For a `posed` one the smallest map, in which
    nothing of a place is lost, says how the template is turned, moved and shaped.
    """

    points: Tensor
    directions: Tensor

    def __init__(self, shape: Shape, template: Template) -> None:
        super().__init__()
        if len(shape.hidden) > len(template.levels):
            raise ValueError(
                f"a network of {len(shape.hidden)} blocks needs as many levels; the template has {len(template.levels)}"
            )
        self.shape, self.levels = shape, template.levels
        self.encoder = Encoder(shape.channels) if shape.encoder == "own" else backbones.made(shape.encoder)
        self.register_buffer("points", torch.from_numpy(template.points).float())
        self.register_buffer("directions", torch.from_numpy(template.directions).float())
        self.reduced = nn.ModuleList(nn.Conv2d(width, shape.looked_up, 1) for width in shape.channels if shape.looked_up)
        self.smoothed = nn.ModuleList(nn.Conv2d(shape.looked_up, shape.looked_up, 3, padding=1) for _ in self.reduced)
        looked_up = shape.looked_up * len(shape.channels) or sum(shape.channels)
        seen = (6 if shape.posed else 3) + looked_up
        carried = (0, *shape.hidden[:-1])
        self.blocks = nn.ModuleList(
            Block(seen + more, hidden, shape.residuals) for more, hidden in zip(carried, shape.hidden, strict=True)
        )
        self.middles = nn.ParameterList(torch.full((len(level.parents),), 0.5) for level in self.levels[1:])
        if shape.posed:
            side = math.ceil(shape.crop / 2 ** (1 + len(shape.channels)))
            self.whole = nn.Linear(shape.channels[-1] * side**2, 9 + len(self.directions))
            nn.init.normal_(self.whole.weight, std=1e-3)
            nn.init.zeros_(self.whole.bias)
            self.recognised = nn.Linear(looked_up, 3)

    def forward(self, images: Tensor, camera: Camera) -> list[Tensor]:
        """The vertices at each level."""
        return self.traced(self.placed(images), camera)[0]

    def traced(self, placed: Placed, camera: Camera) -> tuple[list[Tensor], list[Tensor]]:
        """The vertices at each level, and where they were before its block moved them."""
        maps, _, whole = placed
        moved = torch.zeros_like(whole[:, : self.levels[0].count])
        hidden: Tensor | None = None
        found: list[Tensor] = []
        before: list[Tensor] = []
        for number, level in enumerate(self.levels):
            start = whole[:, : level.count]
            if number:
                moved = self.unpooled(moved, number)
                if not self.shape.posed:
                    start, moved = self.unpooled(found[-1], number), torch.zeros_like(start)
            before.append(start + moved)
            if number < len(self.blocks):
                features = torch.cat([before[-1], pooled(maps, camera, before[-1])], dim=2)
                if self.shape.posed:  # which vertex it is
                    features = torch.cat([features, self.points[: level.count].expand(len(features), -1, -1)], dim=2)
                if hidden is not None:
                    features = torch.cat([features, self.unpooled(hidden, number)], dim=2)
                further, after = self.blocks[number](features.transpose(0, 1), level.neighbours.to(whole.device))
                moved, hidden = moved + further.transpose(0, 1), after.transpose(0, 1)
            found.append(start + moved)
        return found, before

    def placed(self, images: Tensor, level: int = -1) -> "Placed":
        """The template as a whole, of which a level has that many vertices."""
        whole_maps, count = self.encoder(images), self.levels[level].count
        maps = whole_maps
        if self.shape.looked_up:
            maps = self.joined(whole_maps)
        shape = self.points[:count].expand(len(images), -1, -1)
        if not self.shape.posed:
            return Placed(maps, shape, shape)
        said = self.whole(whole_maps[-1].flatten(1))
        shape = shape + torch.einsum("bk,kvc->bvc", said[:, 9:], self.directions[:, :count])
        return Placed(maps, shape, posed(shape, said[:, :9]))

    def joined(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps of as many channels as are looked up, each of which has also been told what the coarser ones say."""
        found: list[Tensor] = []
        for values, reduce, smooth in zip(maps[::-1], self.reduced[::-1], self.smoothed[::-1], strict=True):
            own = reduce(values)
            if found:
                own = own + functional.interpolate(found[-1], size=own.shape[2:], mode="bilinear", align_corners=False)
            found.append(functional.relu(smooth(own)))
        return found[::-1]

    def places(self, maps: list[Tensor], camera: Camera, points: Tensor) -> Tensor:
        """Where on the template (B, V, 3) the features are from that the camera sees points (B, V, 3) at, as far as they tell."""
        return self.recognised(pooled(maps, camera, points))

    def unpooled(self, values: Tensor, number: int) -> Tensor:
        """The values (B, V, C) with those of the middles after them, of which each edge has its own place, learned, in [0, 1]."""
        one, other = (values[:, torch.from_numpy(self.levels[number].parents[:, end])] for end in (0, 1))
        place = self.middles[number - 1].clamp(0, 1)[:, None]
        return torch.cat([values, one + place * (other - one)], dim=1)


def posed(points: Tensor, pose: Tensor) -> Tensor:
    """Points (B, V, 3), turned by the two axes that six numbers give (Zhou et al. 2019) and moved by three more (B, 9)."""
    identity = torch.tensor([1.0, 0, 0, 0, 1, 0], device=pose.device)
    first, second = (pose[:, :6] + identity).unflatten(1, (2, 3)).unbind(1)
    x = functional.normalize(first, dim=1)
    y = functional.normalize(second - (x * second).sum(dim=1, keepdim=True) * x, dim=1)
    turn = torch.stack([x, y, torch.linalg.cross(x, y)], dim=2)
    return points @ turn.transpose(1, 2) + pose[:, None, 6:]
