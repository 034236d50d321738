"""The field: from a code to the Gaussians of a face, on the points of a template.

The structure is that of Kato et al. (`identity_learner_simple_styleGAN`): the code's numbers mix learned embeddings, a generator
like StyleGAN2's makes a map of features over the template's texture, anchors look up theirs, and small networks say what colours,
scales, rotations and opacities the Gaussians of each anchor have. Where they are is not learned: on the template.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

from heads import rays
from heads.gaussians.rasterizer import Gaussians
from heads.morphable import Morphable

FIRST = 4  # pixels a side of the generator's first map


@dataclass(frozen=True)
class Shape:
    """How large a field is; the defaults are the published numbers."""

    code: int = 80
    latent: int = 64
    channels: tuple[int, ...] = (64, 64, 64, 64, 64)  # of the generator's maps, each twice as wide as the one before
    features: int = 64
    anchors: int = 3007
    each: int = 12  # Gaussians of an anchor
    hidden: int = 64
    opacity: float = 0.1  # at first
    spread: float = 0.01  # of the codes, at first
    reach: float = 0.0  # of log-scales around what is the same for everybody; 0: no bound

    def __post_init__(self) -> None:
        if min(self.code, self.latent, *self.channels, self.features, self.anchors, self.each, self.hidden) < 1:
            raise ValueError(f"a field needs sizes of at least 1, not {self}")
        if self.anchors * self.each < 4:
            raise ValueError(f"a field needs at least 4 Gaussians, not {self.anchors} x {self.each}")
        if not 0 < self.opacity < 1:
            raise ValueError(f"opacity must lie between 0 and 1, not {self.opacity}")


@dataclass(frozen=True)
class Places:
    """Where G Gaussians are on a template: on its vertices `rows` (G, 3) with `weights` (G, 3), those of an anchor after each
    other; `mean_mm` (G, 3) is that on the mean head. `anchor_uv` (A, 2) are the anchors' texture coordinates, `spacing_mm` (G,)
    says how far apart Gaussians are."""

    rows: Tensor
    weights: Tensor
    mean_mm: Tensor
    anchor_uv: Tensor
    spacing_mm: Tensor

    def means(self, template_mm: Tensor) -> Tensor:
        """The centres (G, 3) on the template of a person (N, 3)."""
        return (self.weights[..., None] * template_mm[self.rows]).sum(dim=1)

    def turn(self, means_mm: Tensor) -> Tensor:
        """How a person's centres (G, 3) are turned against those of the mean head: a quaternion w, x, y, z (4,) (Horn 1987)."""
        mine, mean = (points - points.mean(dim=0) for points in (means_mm.double(), self.mean_mm.double()))
        (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = mean.T @ mine
        rows = [
            [xx + yy + zz, yz - zy, zx - xz, xy - yx],
            [yz - zy, xx - yy - zz, xy + yx, zx + xz],
            [zx - xz, xy + yx, yy - xx - zz, yz + zy],
            [xy - yx, zx + xz, yz + zy, zz - xx - yy],
        ]
        return torch.linalg.eigh(torch.stack([torch.stack(row) for row in rows]))[1][:, -1].float()

    def to(self, device: torch.device) -> "Places":
        """The same on another device."""
        return Places(*(value.to(device) for value in vars(self).values()))


def places(head: Morphable, anchors: int, each: int, *, seed: int = 0) -> Places:
    """Anchors evenly over the face region of the mean head, and around each, evenly over what is nearest to it, its Gaussians.

    Only what can be seen from some side in front of the head counts, not the back of an eyeball.
    """
    rng = np.random.default_rng(seed)
    region = np.zeros(len(head.mean_mm), dtype=bool)
    region[head.face] = True
    faces = head.faces[region[head.faces].all(axis=1)]
    surface = trimesh.Trimesh(head.mean_mm, faces, process=False)
    if len(faces) == 0:
        raise ValueError("the template's face region has no triangle")
    area = trimesh.triangles.area(surface.triangles)
    count = anchors * each * 12
    which = rng.choice(len(faces), size=count, p=area / area.sum())
    one, two = rng.random((2, count))
    beyond = one + two > 1
    one, two = np.where(beyond, 1 - one, one), np.where(beyond, 1 - two, two)
    weights = np.stack([1 - one - two, one, two], axis=1)
    points = np.einsum("nk,nkc->nc", weights, head.mean_mm[faces[which]])
    shown = _seen(points, surface.face_normals[which], head)
    which, weights, points = which[shown], weights[shown], points[shown]
    middles = _spread(points, points[rng.choice(len(points), anchors, replace=False)])
    _, nearest = cKDTree(middles).query(points)
    chosen = np.concatenate(
        [_apart(points, np.flatnonzero(nearest == anchor), each, middles[anchor]) for anchor in range(anchors)]
    )
    rows, uv = faces[which[chosen]], np.einsum("nk,nkc->nc", weights[chosen], head.uv[faces[which[chosen]]])
    away, _ = cKDTree(points[chosen]).query(points[chosen], k=4)
    return Places(
        torch.from_numpy(rows),
        torch.from_numpy(weights[chosen]).float(),
        torch.from_numpy(points[chosen]).float(),
        torch.from_numpy(uv.reshape(anchors, each, 2).mean(axis=1)).float(),
        torch.from_numpy(away[:, 1:].mean(axis=1)).float(),
    )


def _seen(points: np.ndarray, normals: np.ndarray, head: Morphable) -> np.ndarray:
    """Which points (N, 3) of the mean head can be seen from in front, or from up to 75 degrees beside, above or below that."""
    scene, found = rays.embree_scene(head.mean_mm[head.faces]), np.zeros(len(points), dtype=bool)
    angles = np.radians([0, -40, 40, -75, 75])
    for azimuth, elevation in ((a, e) for a in angles for e in angles if abs(e) < 1):
        towards = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
        left = np.flatnonzero(~found & (normals @ towards > 0.05))
        origins = (points[left] + 0.2 * normals[left]).astype(np.float32)
        met = scene.run(origins, np.tile(towards.astype(np.float32), (len(left), 1)), query="OCCLUDED")
        found[left[met == -1]] = True
    return found


def _spread(points: np.ndarray, middles: np.ndarray, rounds: int = 8) -> np.ndarray:
    """The middles (A, 3) moved to those of the points (N, 3) that are nearest to each (Lloyd 1982)."""
    for _ in range(rounds):
        _, nearest = cKDTree(middles).query(points)
        counts = np.bincount(nearest, minlength=len(middles))
        sums = np.stack([np.bincount(nearest, weights=points[:, k], minlength=len(middles)) for k in range(3)], axis=1)
        middles = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], middles)
    return middles


def _apart(points: np.ndarray, own: np.ndarray, count: int, middle: np.ndarray) -> np.ndarray:
    """`count` of these rows of points, each as far from those before as can be; the nearest again where there are too few."""
    if len(own) < count:
        own = np.argsort(np.linalg.norm(points - middle, axis=1))[:count]
    mine = points[own]
    chosen = [int(np.argmin(np.linalg.norm(mine - middle, axis=1)))]
    away = np.linalg.norm(mine - mine[chosen[0]], axis=1)
    for _ in range(count - 1):
        chosen.append(int(np.argmax(away)))
        away = np.minimum(away, np.linalg.norm(mine - mine[chosen[-1]], axis=1))
    middles, left = _spread(mine, mine[chosen]), mine.copy()
    for number, place in enumerate(middles):  # the farthest alone would be on the rim, near those of the next anchor
        chosen[number] = int(np.argmin(np.linalg.norm(left - place, axis=1)))
        left[chosen[number]] = np.inf
    return own[chosen]


class Modulated(nn.Module):
    """A convolution whose inputs a latent scales, demodulated so that its outputs keep their size (Karras et al. 2020)."""

    def __init__(self, inputs: int, outputs: int, latent: int, *, kernel: int = 3, demodulated: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.style = Equal(latent, inputs, bias=1.0)
        self.scale, self.demodulated, self.padding = (inputs * kernel * kernel) ** -0.5, demodulated, kernel // 2

    def forward(self, maps: Tensor, latents: Tensor) -> Tensor:
        style, weight = self.style(latents), self.weight * self.scale
        found = functional.conv2d(maps * style[:, :, None, None], weight, padding=self.padding)
        if self.demodulated:
            found = found * torch.rsqrt(style.square() @ weight.square().sum(dim=(2, 3)).T + 1e-8)[:, :, None, None]
        return found + self.bias[:, None, None]


class Equal(nn.Module):
    """A linear layer whose weights are scaled when they are used, so that all learn equally fast (Karras et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(outputs, inputs)), nn.Parameter(torch.full((outputs,), bias))
        self.scale = inputs**-0.5

    def forward(self, values: Tensor) -> Tensor:
        return functional.linear(values, self.weight * self.scale, self.bias)


def _leaky(values: Tensor) -> Tensor:
    return functional.leaky_relu(values, 0.2) * 2**0.5


class Level(nn.Module):
    """One size of map: it is made twice as large, but for the first, convolved, and adds its features to those so far."""

    def __init__(self, inputs: int, outputs: int, latent: int, features: int, size: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.convolutions = nn.ModuleList(
            [*([] if first else [Modulated(inputs, outputs, latent)]), Modulated(outputs, outputs, latent)]
        )
        self.noise = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in self.convolutions])
        for number in range(len(self.convolutions)):
            self.register_buffer(f"pattern{number}", torch.randn(size, size))
        self.features = Modulated(outputs, features, latent, kernel=1, demodulated=False)

    def forward(self, maps: Tensor, features: Tensor | None, latents: Tensor) -> tuple[Tensor, Tensor]:
        if not self.first:
            maps = functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
        for number, (convolution, strength) in enumerate(zip(self.convolutions, self.noise, strict=True)):
            maps = _leaky(convolution(maps, latents) + strength * getattr(self, f"pattern{number}"))
        own = self.features(maps, latents)
        if features is not None:
            own = own + functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        return maps, own


class Field(nn.Module):
    """From codes to Gaussians; `codes` are those of the people it learns from, each a parameter of its own."""

    def __init__(self, shape: Shape, people: int, where: Places) -> None:
        super().__init__()
        count = shape.anchors * shape.each
        assert where.rows.shape == (count, 3) and where.anchor_uv.shape == (shape.anchors, 2)
        self.shape, self.where = shape, where
        self.codes = nn.ParameterList([nn.Parameter(shape.spread * torch.randn(shape.code)) for _ in range(people)])
        self.embeddings = nn.Parameter(torch.randn(shape.code, shape.latent) * shape.code**-0.5)
        self.mapping = nn.ModuleList([Equal(shape.latent, shape.latent) for _ in range(2)])
        self.constant = nn.Parameter(torch.randn(1, shape.channels[0], FIRST, FIRST))
        sizes = [FIRST * 2**number for number in range(len(shape.channels))]
        before = (shape.channels[0], *shape.channels)
        self.levels = nn.ModuleList(
            [
                Level(one, other, shape.latent, shape.features, size, first=number == 0)
                for number, (one, other, size) in enumerate(zip(before, shape.channels, sizes, strict=False))
            ]
        )
        self.position = nn.Parameter(torch.zeros(shape.anchors, shape.features))
        self.colour, self.scale, self.rotation, self.opacity = (
            nn.Sequential(nn.Linear(shape.features, shape.hidden), nn.ReLU(), nn.Linear(shape.hidden, numbers * shape.each))
            for numbers in (3, 3, 4, 1)
        )
        for head in (self.scale, self.rotation, self.opacity):  # at first the same for everybody
            for parameter in head[2].parameters():
                nn.init.zeros_(parameter)
        self.mean_scale = nn.Parameter(where.spacing_mm.log()[:, None].repeat(1, 3))
        self.mean_rotation = nn.Parameter(torch.tensor([1.0, 0, 0, 0]).repeat(count, 1))
        self.mean_opacity = nn.Parameter(torch.full((count,), float(np.log(shape.opacity / (1 - shape.opacity)))))

    def latents(self, codes: Tensor) -> Tensor:
        """Codes (B, C) mapped to what scales the generator's maps (B, L)."""
        values = codes @ self.embeddings
        values = values * torch.rsqrt(values.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.mapping:
            values = _leaky(layer(values))
        return values

    def maps(self, codes: Tensor) -> Tensor:
        """Features (B, F, S, S) over the template's texture."""
        latents = self.latents(codes)
        maps, features = self.constant.expand(len(codes), -1, -1, -1), None
        for level in self.levels:
            maps, features = level(maps, features, latents)
        assert features is not None
        return features

    def forward(self, codes: Tensor, templates_mm: Tensor) -> list[Gaussians]:
        """The Gaussians of each of B people, of codes (B, C) and template vertices (B, N, 3)."""
        where = self.where.to(codes.device)
        grid = (2 * where.anchor_uv - 1)[None, :, None].expand(len(codes), -1, -1, -1)
        features = functional.grid_sample(self.maps(codes), grid, padding_mode="border", align_corners=False)[..., 0]
        features = features.transpose(1, 2) + self.position
        count = len(self.mean_opacity)
        colours, rotations = (head(features).reshape(len(codes), count, -1) for head in (self.colour, self.rotation))
        scales, opacities = self.scale(features).reshape(len(codes), count, 3), self.opacity(features).reshape(len(codes), count)
        if self.shape.reach:
            scales = self.shape.reach * torch.tanh(scales / self.shape.reach)
        found = []
        for number, template in enumerate(templates_mm):
            means = where.means(template)
            around = product(where.turn(means), self.mean_rotation + rotations[number])
            opacity = torch.sigmoid(self.mean_opacity + opacities[number])
            found.append(Gaussians(means, self.mean_scale + scales[number], around, opacity, torch.sigmoid(colours[number])))
        return found


def product(one: Tensor, other: Tensor) -> Tensor:
    """The quaternions (G, 4) that turn by others (G, 4) first, then by one (4,)."""
    w, x, y, z = one
    matrix = torch.stack([torch.stack(row) for row in ((w, -x, -y, -z), (x, w, -z, y), (y, z, w, -x), (z, -y, x, w))])
    return other @ matrix.T


def named(field: Field, names: Sequence[str]) -> list[nn.Parameter]:
    """The parameters whose names begin with one of these."""
    return [value for name, value in field.named_parameters() if name.startswith(tuple(names))]
