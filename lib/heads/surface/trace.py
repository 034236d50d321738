"""Where a ray hits the surface of a signed distance field, and how that point moves when the field does.

Names: a ray is `origins + t * directions` with origins, directions (N, 3) in the unit frame and unit directions; `t` (N,)
are distances along it. Both tracers return a `Trace` and know nothing of networks: the field is a callable.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from heads.surface.sdf import SDF

COARSEST = 16  # grid points per side at which a field is always evaluated
REACH = 1.0  # in coarse cells: how near the zero level the field is evaluated on a finer grid
STEEP = -0.05  # least slope at a grazing hit, so that it does not move without bound when the field does
LAST = 0.03  # longest last step, from the traced hit to the true one


class Trace(NamedTuple):
    """Where every ray hits the surface, or else comes closest to it."""

    hit: Tensor  # (N,) bool
    t_surface: Tensor  # (N,), only meaningful on a hit
    slope: Tensor  # (N,), the field's derivative along the ray there, negative, only meaningful on a hit
    t_closest: Tensor  # (N,), where the field is smallest


def sphere_interval(origins: Tensor, directions: Tensor, radius: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Entry and exit distances (N,) of rays through a sphere at the origin, and which meet it; for a miss, its closest point."""
    middle = -(origins * directions).sum(-1)
    under_root = middle**2 - (origins**2).sum(-1) + radius**2
    half = under_root.clamp(min=0).sqrt()
    return (middle - half).clamp(min=0), (middle + half).clamp(min=0), under_root > 0


def published(
    sdf: SDF,
    origins: Tensor,
    directions: Tensor,
    *,
    generator: torch.Generator,
    threshold: float = 5e-5,
    iterations: int = 10,
    samples: int = 100,
    secant_steps: int = 8,
    polish: Tensor | None = None,
) -> Trace:
    """Trace as IDR does (`ray_tracing.py`): two-sided sphere tracing, a sampler where it did not converge, the secant method.

    `polish` (N,) bool marks the rays whose surface is wanted exactly (in training those inside the mask); default all.
    `t_closest` is the best of `samples` random distances, as the published mask loss uses them.
    """
    near, far, inside = sphere_interval(origins, directions)

    def at(t: Tensor, rays: Tensor) -> Tensor:
        return sdf(origins[rays] + t[:, None] * directions[rays])

    front, back = near.clone(), far.clone()
    front_open, back_open = inside.clone(), inside.clone()
    value_front, value_back = torch.zeros_like(near), torch.zeros_like(near)
    value_front[inside] = at(front[inside], inside)
    value_back[inside] = at(back[inside], inside)
    for _ in range(iterations):
        front_open &= value_front > threshold
        back_open &= value_back > threshold
        if not (front_open.any() or back_open.any()):
            break
        for t, value, open_, sign in ((front, value_front, front_open, 1.0), (back, value_back, back_open, -1.0)):
            step = torch.where(open_, value, torch.zeros_like(value))
            t += sign * step
            value[open_] = at(t[open_], open_)
            for backtrack in range(3):  # a step through the surface is taken back by 1/2, 1/4, 1/8
                beyond = open_ & (value < 0)
                if not beyond.any():
                    break
                t[beyond] -= sign * 0.5 / 2**backtrack * step[beyond]
                value[beyond] = at(t[beyond], beyond)
        front_open &= front < back
        back_open &= front < back
    front_open &= value_front > threshold
    hit = inside & (front < back) & ~front_open
    t_surface = front.clone()

    unsure = inside & front_open & (front < back)
    if unsure.any():
        steps = torch.linspace(0, 1, samples, device=near.device)
        t = front[unsure, None] + steps * (back - front)[unsure, None]
        points = origins[unsure, None] + t[..., None] * directions[unsure, None]
        values = sdf(points.reshape(-1, 3)).reshape(t.shape)
        crossing, index = first_crossing(values)
        t_before, t_after = t.gather(1, index - 1)[:, 0], t.gather(1, index)[:, 0]
        v_before, v_after = values.gather(1, index - 1)[:, 0].clamp(min=0), values.gather(1, index)[:, 0]
        rays = unsure.nonzero()[:, 0]
        wanted = crossing if polish is None else crossing & polish[rays]

        def secant() -> Tensor:
            rise = v_after - v_before  # 0 if a sample lies exactly on the surface: about one in ten million does
            return t_before - v_before * (t_after - t_before) / rise.where(wanted & (rise != 0), torch.ones_like(rise))

        for _ in range(secant_steps):
            t_middle = secant()
            v_middle = torch.zeros_like(t_middle)
            v_middle[wanted] = at(t_middle[wanted], rays[wanted])
            outside = v_middle > 0
            t_before, v_before = t_middle.where(outside & wanted, t_before), v_middle.where(outside & wanted, v_before)
            t_after, v_after = t_middle.where(~outside & wanted, t_after), v_middle.where(~outside & wanted, v_after)
        t_surface[rays] = secant().where(wanted, t_after)
        hit[rays] = crossing

    small = 1e-3
    slope = torch.full_like(t_surface, STEEP)
    slope[hit] = ((at(t_surface[hit] + small, hit) - at(t_surface[hit] - small, hit)) / (2 * small)).clamp(max=STEEP)

    random = torch.rand(samples, generator=generator).sort().values.to(near.device)
    start = near.where(~hit, t_surface)
    t = start[:, None] + random * (far - start)[:, None]
    values = sdf((origins[:, None] + t[..., None] * directions[:, None]).reshape(-1, 3)).reshape(t.shape)
    t_closest = t.gather(1, values.argmin(1, keepdim=True))[:, 0]
    return Trace(hit, t_surface, slope, t_closest.where(inside, near))


def trace(
    grid: "CachedField | None", sdf: SDF, origins: Tensor, directions: Tensor, *, generator: torch.Generator, polish: Tensor
) -> Trace:
    """Trace on the grid, or as published if there is none."""
    if grid is None:
        return published(sdf, origins, directions, generator=generator, polish=polish)
    return cached(grid, sdf, origins, directions, polish=polish)


def chosen(wanted: Tensor) -> Tensor:
    """The indices (M,) of the rays to compute something for: those that are `wanted` (N,), or on a GPU all, wanted or not.

    A GPU has time for the others, but would have to stop to count them.
    """
    return wanted.nonzero()[:, 0] if wanted.device.type == "cpu" else torch.arange(len(wanted), device=wanted.device)


def first_crossing(values: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each row of `values` (N, S) turns negative, and the index (N, 1) at which it first does, at least 1."""
    negative = values < 0
    index = negative.int().argmax(1, keepdim=True)
    return negative.any(1), index.clamp(min=1)


def lattice(resolution: int, device: torch.device | str = "cpu") -> Tensor:
    """The points (resolution^3, 3) of a grid over the cube [-1, 1]^3, the last axis running fastest."""
    axis = torch.linspace(-1, 1, resolution, device=device)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)


def dilate(inside: Tensor) -> Tensor:
    """`inside` (X, Y, Z) bool with the 26 neighbours of all its cells."""
    for axis, size in enumerate(inside.shape):
        wider = inside.clone()
        wider.narrow(axis, 1, size - 1).logical_or_(inside.narrow(axis, 0, size - 1))
        wider.narrow(axis, 0, size - 1).logical_or_(inside.narrow(axis, 1, size - 1))
        inside = wider
    return inside


class CachedField:
    """A field cached on a grid over the cube [-1, 1]^3, looked up by trilinear interpolation; a callable like the field.

    Near its zero level the field is evaluated at every grid point; further away on a coarser grid, and interpolated.
    """

    def __init__(self, sdf: SDF, resolution: int, *, device: torch.device | str = "cpu") -> None:
        """Evaluate the field, coarse to fine.

        From one grid to the next, with cells half as large, the field is evaluated again at points where it may change sign
        within one coarse cell, assuming a slope of about one.
        """
        sizes = [resolution]
        while sizes[0] > 2 * COARSEST:
            sizes.insert(0, sizes[0] // 2)
        self.values = sdf(lattice(sizes[0], device))
        for coarse, fine in pairwise(sizes):
            volume = self.values.view(1, 1, coarse, coarse, coarse)
            self.values = functional.interpolate(volume, size=(fine,) * 3, mode="trilinear", align_corners=True).flatten()
            self.refresh(sdf, band=REACH * 2.0 / (coarse - 1))

    @property
    def resolution(self) -> int:
        """Grid points per side."""
        return round(len(self.values) ** (1 / 3))

    @property
    def cell(self) -> float:
        """The grid's spacing in the unit frame."""
        return 2.0 / (self.resolution - 1)

    def refresh(self, sdf: SDF, *, band: float) -> None:
        """Evaluate the field again where its cached magnitude is below `band`, and one cell around."""
        side = self.resolution
        near = dilate((self.values.abs() < band).view(side, side, side)).flatten().nonzero()[:, 0]
        column = torch.stack([near // side**2, near // side % side, near % side], dim=-1)
        self.values.index_copy_(0, near, sdf(column * self.cell - 1))

    def remake(self, sdf: SDF, resolution: int) -> None:
        """Evaluate the field again everywhere; at the same resolution the values stay where they are in memory."""
        new = CachedField(sdf, resolution, device=self.values.device).values
        self.values = self.values.copy_(new) if resolution == self.resolution else new

    def __call__(self, points: Tensor) -> Tensor:
        """The cached values at `points`, one row (S, 3) or many (N, S, 3), which are shared among threads."""
        rows = points.unflatten(0, (1, -1)) if points.ndim == 2 else points
        volume = self.values.view(1, 1, *(self.resolution,) * 3).expand(len(rows), -1, -1, -1, -1)
        lookup = rows.flip(-1)[:, None, None]  # grid_sample wants (z, y, x)
        return functional.grid_sample(volume, lookup, align_corners=True, padding_mode="border").view(points.shape[:-1])


def cached(
    field: CachedField, sdf: SDF, origins: Tensor, directions: Tensor, *, polish: Tensor | None = None, samples: int = 64
) -> Trace:
    """Trace on a cached grid: sample every ray evenly, find the first crossing, then a Newton step on the true field.

    `polish` (N,) bool marks the rays that get this step, default all hits. It leaves an error of a small fraction of a cell,
    which `differentiable_intersection` removes. The slow equivalent is `published`.
    """
    near, far, inside = sphere_interval(origins, directions)
    steps = torch.linspace(0, 1, samples, device=near.device)
    t = near[:, None] + steps * (far - near)[:, None]
    values = field(origins[:, None] + t[..., None] * directions[:, None])
    crossing, index = first_crossing(values)
    hit = crossing & inside
    t_closest = t.gather(1, values.argmin(1, keepdim=True))[:, 0]

    v_before, v_after = values.gather(1, index - 1)[:, 0], values.gather(1, index)[:, 0]
    step = t[:, 1] - t[:, 0]
    slope = ((v_after - v_before) / step.clamp(min=1e-9)).clamp(max=STEEP)
    t_surface = t.gather(1, index)[:, 0] - (v_after / slope).clamp(min=torch.zeros_like(step), max=step)
    wanted = hit if polish is None else hit & polish
    rays = chosen(wanted)
    origins, directions, wanted, reach = origins[rays], directions[rays], wanted[rays], field.cell
    t0 = t_surface[rays]
    v0 = sdf(origins + t0[:, None] * directions)
    t_surface[rays] = (t0 - (v0 / slope[rays]).clamp(-reach, reach)).where(wanted, t0)
    hit[rays] &= (v0.abs() < reach) | ~wanted  # the cached values there may be out of date
    return Trace(hit, t_surface, slope, t_closest)


def differentiable_intersection(t: Tensor, origins: Tensor, directions: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    """Surface points (N, 3) whose derivative with respect to the field's parameters is that of the true intersection.

    x(theta) = c + (t - f(x; theta) / (grad f . v)) v with `value` = f(x; theta) (N,) and `slope` = grad f . v (N,). IDR (eq. 3,
    `sample_network.py`) subtracts the value at theta_0, practically zero there; here it is the tracer's last step. The tracer
    keeps slopes of grazing rays from vanishing.
    """
    moved = t - (value / slope).clamp(-LAST, LAST)
    return origins + moved[:, None] * directions
