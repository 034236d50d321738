"""IDR: fit an implicit surface and its colour to photographs by differentiable rendering (Yariv et al., NeurIPS 2020).

`fit` is the whole method: draw pixels, find where their rays meet the surface, compare colour and silhouette, step.
Where the published code has another name for a thing, the comment gives it. Epochs are the published ones: one pass
over the photographs, `steps_per_view` optimizer steps for each of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import cos, nan, pi
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from heads import camera, mesh
from heads.methods import priors
from heads.scene import Reconstruction, Scene
from heads.surface import consistency, cuda_graph, ensemble, sdf, trace, training
from heads.surface import render as rendering
from heads.surface.colour import ColourNetwork
from heads.surface.colour import Shape as ColourShape

SCHEDULES = ("readme", "shipped", "cosine")
COLOUR_SEES = ("idr", "no_view_dir")
TRACERS = ("cached", "published")
START_CODES = ("mean", "zero")
OFTEN = 4  # the early steps, in which the cached grid is refreshed most often, are at most this many times refresh_every
HELD = 20_000  # points of the prior's surface, of which those that no photograph sees are held
TERMS = ("rgb", "mask", "eikonal", "consistency")


@dataclass(frozen=True)
class Config:
    """How `fit` works; the defaults are the published constants (`dtu_fixed_cameras.conf`, `idr_train.py`)."""

    shape: sdf.Shape | ensemble.Shape = field(default_factory=sdf.Shape)
    colour_width: int = 512
    colour_depth: int = 4
    view_octaves: int = 4  # multires_view
    point_octaves: int = 0  # the published colour network does not encode the points
    colour_sees: str = "idr"  # mode: idr, or no_view_dir, which leaves out the direction of view
    epochs: int = 2000  # nepoch, in addition to the prior's
    steps_per_view: float = 1.0
    rays: int = 2048  # num_pixels per step, from one photograph or, with mixed_views, from all
    mixed_views: bool = False
    rays_in_mask: float = 0.0  # with mixed_views, the share of the rays that is drawn inside the masks
    rays_near_mask: float = 0.0  # and the share outside, within near_px of them; the rest is drawn anywhere
    near_px: float = 12.0
    blur_px: float = 0.0  # sigma of the Gaussian that blurs the photographs inside their masks
    tracer: str = "cached"
    grid: int = 64  # points a side of the cached tracer's grid
    refresh_every: int = 25  # steps between two refreshes of the cached grid
    schedule: str = "shipped"
    step_size: float = 1e-4  # lr
    colour_step_size: float = 1e-4
    consistency_weight: float = 0.0  # of the difference between photographs at a surface point; 0 as published: none is computed
    eikonal_weight: float = 0.1
    eikonal_points: float = 0.5  # drawn in the cube, per ray
    one_pass: bool = False  # take normals and features where the tracer ended, not, as published, at the point that moves
    mask_weight: float = 100.0
    muon_step_size: float = 0.0  # Muon's, for the geometry's matrices; with 0, as published, Adam takes them like the rest
    muon_colour_step_size: float = 0.0  # likewise for the colours' matrices
    clip: float = 0.0  # bound on the gradient's norm; 0, as published, for none
    code_epochs: float = 100.0  # with a prior that has codes, the decoder is frozen for so long (H3D-Net's text does not say)
    code_step_size: float = 1e-3
    code_weight: float = 1e-3  # of the code's squared length
    hold_weight: float = 0.0  # of the prior's surface where no photograph looks; with 0, as published, nothing holds it there
    gain_step_size: float = 0.0  # of the photographs' gains, learned with the head; with 0, as published, there are none
    start_code: str = "mean"  # mean of the training heads' codes, or zero
    alpha: float = 50.0
    alpha_epochs: tuple[int, ...] = (250, 500, 750, 1000, 1250)  # where alpha doubles
    cell_mm: float = 1.0  # of the extracted mesh
    device: str = "auto"

    def __post_init__(self) -> None:
        known = {"schedule": SCHEDULES, "tracer": TRACERS, "colour_sees": COLOUR_SEES, "start_code": START_CODES}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {', '.join(values)}, not {getattr(self, name)!r}")
        sizes = ("epochs", "steps_per_view", "rays", "grid", "refresh_every", "cell_mm", "alpha", "eikonal_points")
        for name in (*sizes, "step_size", "colour_step_size", "code_step_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not (min(self.rays_in_mask, self.rays_near_mask) >= 0 and self.rays_in_mask + self.rays_near_mask <= 1):
            raise ValueError(
                "rays_in_mask and rays_near_mask are shares of the rays, together at most 1, not"
                f" {self.rays_in_mask} and {self.rays_near_mask}"
            )
        weights = ("near_px", "blur_px", "consistency_weight", "code_epochs", "code_weight", "hold_weight", "clip")
        for name in (*weights, "gain_step_size", "muon_step_size", "muon_colour_step_size"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative: {getattr(self, name)}")

    @property
    def colour_shape(self) -> ColourShape:
        """The shape of the colour network."""
        sees_view = self.colour_sees == "idr"
        return ColourShape(
            self.shape.feature, self.colour_width, self.colour_depth, self.view_octaves, self.point_octaves, sees_view
        )


PAPER = Config()
PUBLISHED = replace(  # as published, but for how rays are traced, the networks' sizes and the number of rays
    PAPER, shape=sdf.Shape(width=64, depth=4, feature=64), colour_width=64, colour_depth=3, rays=128, cell_mm=2.0
)
LAPTOP = Config(  # LOG.md says why, and what else was tried
    shape=sdf.Shape(width=128, depth=4, feature=64),
    colour_width=128,
    colour_depth=3,
    point_octaves=6,
    colour_sees="no_view_dir",
    steps_per_view=0.04,
    rays=1024,
    mixed_views=True,
    rays_in_mask=0.75,
    rays_near_mask=0.1875,
    blur_px=1.0,
    consistency_weight=1.0,
    eikonal_points=0.25,
    one_pass=True,
    schedule="cosine",
    step_size=5e-4,
    muon_step_size=2e-3,
    muon_colour_step_size=16e-3,
    colour_step_size=4e-3,
    clip=2.0,
    code_epochs=400.0,
    hold_weight=0.1,
    gain_step_size=5e-3,
    cell_mm=2.0,
)
SMOKE = replace(
    LAPTOP,
    shape=sdf.Shape(width=32, depth=3, feature=16, octaves=2),
    colour_width=32,
    colour_depth=2,
    epochs=100,
    steps_per_view=0.2,
    rays=128,
    grid=24,
    refresh_every=10,
    cell_mm=8.0,
)
PRESETS = {"PAPER": PAPER, "PUBLISHED": PUBLISHED, "LAPTOP": LAPTOP, "SMOKE": SMOKE}


def blurred(images: Tensor, masks: Tensor, sigma_px: float) -> Tensor:
    """The photographs (V, H, W, 3), blurred inside their masks (V, H, W) by a Gaussian that sees only pixels in the mask.

    With few rays, a pixel is drawn once or twice, if at all; blurred, it stands for its neighbours too.
    """
    weights = masks.float().numpy()
    smooth = ndimage.gaussian_filter(images.numpy() * weights[..., None], (0, sigma_px, sigma_px, 0))
    share = ndimage.gaussian_filter(weights, (0, sigma_px, sigma_px))
    return torch.from_numpy(smooth / share.clip(min=1e-6)[..., None]).where(masks[..., None], images)


def near(masks: Tensor, distance_px: float) -> Tensor:
    """Which pixels (V, H, W) lie outside their photograph's mask but within `distance_px` of it."""
    away = [ndimage.distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, np.inf) for mask in masks.numpy()]
    return torch.from_numpy(np.stack(away) <= distance_px) & ~masks


class Batch(NamedTuple):
    """The rays of a step: their pixels' `colours` (N, 3) in [-1, 1] and `mask` (N,), `origins` and `directions` (N, 3), and the
    numbers of their photographs, `view` (N,), and of the `others` (N, M) that each is compared with."""

    colours: Tensor
    mask: Tensor
    origins: Tensor
    directions: Tensor
    view: Tensor
    others: Tensor


class Pixels:
    """Draws pixels of a scene with their colours, mask and rays: as published from one photograph per step, or from all."""

    def __init__(self, scene: Scene, config: Config, device: torch.device) -> None:
        self.config, self.shape = config, scene.masks.shape
        views, height, width = self.shape
        self.inside = scene.masks.flatten().nonzero()[:, 0]
        if len(self.inside) == 0:
            raise ValueError(f"scene {scene.name}: the masks of views {list(scene.views)} are all empty")
        around = near(scene.masks, config.near_px) if config.rays_near_mask else torch.zeros_like(scene.masks)
        self.near = around.flatten().nonzero()[:, 0]
        row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        pixels = torch.stack([column, row], dim=-1).flatten(0, 1).float()
        _, directions = camera.rays(scene.px_from_cam, scene.unit_from_cam, pixels.expand(views, -1, 2))
        self.directions, self.masks = directions.flatten(0, 1).to(device), scene.masks.flatten().to(device)
        images = blurred(scene.images, scene.masks, config.blur_px) if config.blur_px else scene.images
        colours, unit_from_cam = (images * 2 - 1).to(device), scene.unit_from_cam.to(device)
        self.colours, self.centres = colours.flatten(0, 2), unit_from_cam[:, :3, 3]
        self.photographs = None  # what pixels are compared with
        if config.consistency_weight:
            inner = consistency.inner(scene.masks).to(device)
            self.photographs = consistency.Photographs(colours, inner, scene.px_from_cam.to(device), unit_from_cam)

    def draw(self, step: int, generator: torch.Generator) -> Batch:
        """The rays of this step, N = `rays`; without a `consistency_weight`, `others` is (N, 0)."""
        return self.at(*self.choose(step, generator))

    def choose(self, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The pixels of this step as numbers (N,) that count through all photographs, and the `others` (N, M) of each."""
        views, height, width = self.shape
        count = self.config.rays
        if self.config.mixed_views:
            in_mask = round(count * self.config.rays_in_mask)
            near_mask = round(count * self.config.rays_near_mask) if len(self.near) else 0
            inside = _some(self.inside, in_mask, generator)
            anywhere = torch.randint(views * height * width, (count - in_mask - near_mask,), generator=generator)
            index = torch.cat([inside, anywhere, _some(self.near, near_mask, generator)])
        else:
            index = (step % views) * height * width + torch.randint(height * width, (count,), generator=generator)
        view = index // (height * width)
        return index, consistency.draw_others(view, views, generator) if self.photographs else view.new_zeros((count, 0))

    def at(self, index: Tensor, others: Tensor) -> Batch:
        """The rays of the pixels `index` (N,), given on the photographs' device."""
        _, height, width = self.shape
        view = index // (height * width)
        return Batch(self.colours[index], self.masks[index], self.centres[view], self.directions[index], view, others)


def _some(of: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` random pixels out of `of`, which may be empty if `count` is 0."""
    return of[torch.randint(max(1, len(of)), (count,), generator=generator)]


def in_cube(config: Config, generator: torch.Generator) -> Tensor:
    """Random points (M, 3), uniform in the cube [-1, 1]^3, for a step's eikonal term."""
    return torch.rand((max(1, round(config.rays * config.eikonal_points)), 3), generator=generator) * 2 - 1


def losses(
    geometry: sdf.Network,
    colour: ColourNetwork,
    traced: trace.Trace,
    batch: Batch,
    uniform: Tensor,
    alpha: float | Tensor,
    photographs: consistency.Photographs | None = None,
    field: consistency.Field | None = None,
    one_pass: bool = False,
    gains: Tensor | None = None,
) -> dict[str, Tensor]:
    """IDR's three unweighted terms (`loss.py`): `rgb`, `mask` and `eikonal`, the last also at the points `uniform` (M, 3).

    A fourth, `consistency`, is zero unless `photographs` are given, and with them a `field` to tell what hides a point from them.
    With `one_pass`, the network is evaluated once for the distance, the normal and the features of a surface point. `gains`
    (V, 3) are logarithms, by which a photograph's red, green and blue are brighter than those of the colour network.
    """
    colours, mask, origins, directions, view, others = batch
    surface = traced.hit & mask
    t = traced.t_surface.where(surface, traced.t_closest)
    points = origins + t[:, None] * directions
    rays = trace.chosen(surface)
    counts, v = surface[rays], directions[rays]  # a GPU computes the rays without a surface too, but they do not count
    if one_pass:
        rest = trace.chosen(~surface)
        distance, gradient, feature = geometry.with_gradient(torch.cat([points[rays], uniform]))
        value = torch.zeros_like(t).index_copy(0, rays, distance[: len(rays)])
        value = value.index_copy(0, rest, geometry.distance(points[rest]))
    else:
        value = geometry.distance(points)
    x = trace.differentiable_intersection(t[rays], origins[rays], v, value[rays], traced.slope[rays])
    if not one_pass:
        _, gradient, feature = geometry.with_gradient(torch.cat([x, uniform]))
    normal, feature = gradient[: len(x)], feature[: len(x)]

    pixels, shown = colours[rays], colour(x, -v, normal, feature)
    if gains is not None:
        shown = consistency.brighter(shown, gains[view[rays]])
    rgb = ((shown - pixels).abs() * counts[:, None]).sum()
    silhouette = functional.binary_cross_entropy_with_logits(-alpha * value, mask.float(), (~surface).float(), reduction="sum")
    also = torch.cat([counts, counts.new_ones(len(uniform))])
    eikonal = ((gradient.norm(dim=-1) - 1) ** 2 * also).sum() / also.sum()
    terms = {"rgb": rgb / len(t), "mask": silhouette / alpha / len(t), "eikonal": eikonal, "consistency": rgb.new_zeros(())}
    if photographs is not None and field is not None:
        relative = None if gains is None else gains[view[rays], None] - gains[others[rays]]
        differ = consistency.disagreement(x, pixels, others[rays], photographs, field, relative)
        terms["consistency"] = (differ * counts).sum() / len(t)
    return terms


def check_cameras(scene: Scene) -> None:
    """ValueError for a view from inside the unit sphere, or whose mask looks past it: rays are traced only inside it."""
    for i, view in enumerate(scene.views):
        pixels = scene.masks[i].nonzero().flip(-1).float()
        pixels = pixels[:: max(1, len(pixels) // 1000)]
        origins, directions = camera.rays(scene.px_from_cam[i], scene.unit_from_cam[i], pixels)
        near, far, meets = trace.sphere_interval(origins, directions)
        share, away = float((meets & (far > near)).float().mean()), float(scene.unit_from_cam[i, :3, 3].norm())
        if away <= 1 or share < 0.5:
            said = "it is taken from inside the unit sphere" if away <= 1 else f"{share:.0%} of its mask looks at the unit sphere"
            raise ValueError(
                f"scene {scene.name}: view {view}: {said} (the camera is {away:.3g} radii from its middle); is world_mat"
                " in another convention or unit, or scale_mat another scene's?"
            )


def trouble(row: dict[str, float], unseen: int) -> str:
    """What is wrong with a fit whose losses are `row` and whose last `unseen` checks saw no surface; empty if nothing is."""
    photographs = row["rgb"] + row["mask"] + row["consistency"]
    if not row["eikonal"] < 100 or not photographs < 100:  # a gradient's length should be one; NaN fails these tests too
        said = ", ".join(f"{name} {row[name]:.3g}" for name in TERMS)
        return f"the fit diverged ({said}); are the steps too large, or does the prior come from other settings?"
    if unseen > 1:
        return (
            "the surface has vanished: no ray through a mask hits it any more; do the masks show the head and not the background,"
            " and do all cameras follow the same convention?"
        )
    return ""


def step_size_factor(config: Config, epoch: float, start: int) -> float:
    """The factor on the step sizes at `epoch`, in a fit that began at the prior's epoch `start`.

    `readme`: constant, as BaseH3D-Net's text says. `shipped`: halved at epochs 1000 and 1500, as its files do, counting the
    prior's epochs. `cosine`: falls to 5 % over the fit's own epochs.
    """
    if config.schedule == "readme":
        return 1.0
    if config.schedule == "shipped":
        return 0.5 ** ((epoch >= 1000) + (epoch >= 1500))
    return 0.05 + 0.95 * 0.5 * (1 + cos(pi * min(1.0, (epoch - start) / config.epochs)))


def alpha_at(config: Config, epoch: float) -> float:
    """The sharpness of the silhouette at `epoch`: `alpha`, doubled at every epoch of `alpha_epochs`."""
    return config.alpha * 2.0 ** sum(epoch >= milestone for milestone in config.alpha_epochs)


def early(config: Config, total: int) -> int:
    """Number of early steps, at most a third of `total`: the surface moves most, so the grid is coarse and often refreshed."""
    return min(OFTEN * config.refresh_every, total // 3)


def refresh_at(config: Config, step: int, total: int) -> str:
    """How the cached grid is refreshed before `step`: "full", "band" (near the surface), or "" for not at all.

    Step 0 needs no refresh, as a new grid is exact; in the early steps the band is refreshed five times as often.
    """
    every = config.refresh_every
    if step > 0 and step % every == 0:
        times = step // every
        return "full" if times & (times - 1) == 0 or times % 8 == 0 else "band"  # at 1, 2, 4, 8, 16, 24, ... times
    return "band" if 0 < step < early(config, total) and step % max(1, every // 5) == 0 else ""


def grid_at(config: Config, step: int, total: int) -> int:
    """Points a side of the cached grid at `step` of `total`: half as many in the early steps."""
    return max(2, config.grid // 2) if step < early(config, total) else config.grid


def fit(
    scene: Scene,
    prior: priors.Prior,
    config: Config,
    *,
    seed: int = 0,
    on_step: training.OnStep | None = None,
    resume: dict[str, Tensor] | None = None,
) -> Reconstruction:
    """Fit a head to the photographs of `scene`, starting from `prior`; `resume` is a checkpoint of an interrupted call."""
    priors.check_surface(prior)
    check_cameras(scene)
    device = sdf.device(config.device)
    generator = torch.Generator().manual_seed(seed)
    config = replace(config, shape=prior.shape)
    geometry = priors.network(prior, generator=generator, start_code=config.start_code).to(device)
    colour = ColourNetwork(config.colour_shape, generator).to(device)
    if weights := priors.part(prior, "colour"):
        colour.load_state_dict(weights)
    named = {f"geometry.{name}": p for name, p in geometry.named_parameters()}
    named |= {f"colour.{name}": p for name, p in colour.named_parameters()}
    gains = nn.Parameter(torch.zeros(len(scene.views), 3, device=device))  # of the photographs, relative to the first
    learned = {"gains": gains} if config.gain_step_size else {}
    named |= learned
    decoder = [p for p in geometry.parameters() if p is not geometry.code]
    optimizers = training.optimizers(
        training.Group(decoder, config.step_size, config.muon_step_size),
        training.Group([geometry.code], config.code_step_size),
        training.Group(list(colour.parameters()), config.colour_step_size, config.muon_colour_step_size),
        *(training.Group([gain], config.gain_step_size) for gain in learned.values()),
    )
    learner = training.Learner(f"scene {scene.name}", named, optimizers, generator)
    moments = {name: value for name, value in priors.part(prior, "moments").items() if not name.startswith("gains.")}
    training.load_moments(learner, moments)  # not those of the gains: they are of other photographs

    field = sdf.distance(geometry)
    pixels = Pixels(scene, config, device)
    steps_per_epoch = config.steps_per_view * len(scene.views)
    total = max(1, round(config.epochs * steps_per_epoch))
    frozen = round(config.code_epochs * steps_per_epoch) if config.shape.code else 0  # steps in which only the code moves
    grid = trace.CachedField(field, grid_at(config, 0, total), device=device) if config.tracer == "cached" else None

    def rows(points: Tensor) -> Tensor:
        return field(points.flatten(0, 1)).view(points.shape[:2])

    def work(index: Tensor, others: Tensor, uniform: Tensor, alpha: Tensor, held: Tensor) -> dict[str, Tensor]:
        batch = pixels.at(index, others)
        with torch.no_grad(), parametrize.cached():
            traced = trace.trace(grid, field, batch.origins, batch.directions, generator=generator, polish=batch.mask)
        with parametrize.cached(), cuda_graph.tensor_cores():
            to_see = rows if grid is None else grid
            relative = gains - gains[:1] if learned else None
            terms = losses(geometry, colour, traced, batch, uniform, alpha, pixels.photographs, to_see, config.one_pass, relative)
            loss = terms["rgb"] + config.mask_weight * terms["mask"] + config.eikonal_weight * terms["eikonal"]
            if len(held):
                loss = loss + config.hold_weight * geometry.distance(held).abs().mean()
            loss = loss + config.consistency_weight * terms["consistency"] + config.code_weight * geometry.code.square().sum()
            loss.backward()
        if config.clip:
            nn.utils.clip_grad_norm_(named.values(), config.clip)
        training.end_step(optimizers)
        seen = (traced.hit & batch.mask).any() | ~batch.mask.any()
        return {name: term.detach() for name, term in terms.items()} | {"seen": seen}

    unseen = 0
    recorded = cuda_graph.Step(work, device, record=device.type == "cuda" and grid is not None)

    def epoch_at(step: int) -> float:
        return prior.epoch + step / steps_per_epoch

    holds = bool(config.hold_weight and priors.part(prior, "geometry"))
    held = torch.zeros((0, 3), device=device) if resume is None or not holds else resume["held"].to(device)

    def step_of(step: int) -> dict[str, Tensor | float]:
        nonlocal held
        for parameter in decoder:
            parameter.requires_grad_(step >= frozen)
        refresh, side = refresh_at(config, step, total), grid_at(config, step, total)
        if grid is not None:
            with torch.no_grad(), parametrize.cached():
                if refresh == "full" or side != grid.resolution:
                    grid.remake(field, side)
                elif refresh:
                    grid.refresh(field, band=2 * grid.cell)
        if holds and step == frozen:  # the prior's word: a head that the photographs have moved at most by its code
            surface = sdf.on_surface(geometry, HELD, torch.Generator().manual_seed(seed))
            cameras = (scene.masks.to(device), scene.px_from_cam.to(device), scene.unit_from_cam.to(device))
            held = surface[consistency.unseen(surface, *cameras, rows if grid is None else grid)]
        chosen, others = pixels.choose(step, generator)
        alpha = torch.tensor(alpha_at(config, epoch_at(step)))
        uniform = in_cube(config, generator)
        of_held = torch.randint(max(1, len(held)), (config.rays // 4 * bool(len(held)),), generator=generator).to(device)
        terms = recorded((side, step >= frozen), chosen, others, uniform, alpha, held[of_held])
        return {"epoch": epoch_at(step), **terms}

    def check(losses: dict[str, float]) -> str:
        nonlocal unseen
        unseen = 0 if losses["seen"] else unseen + 1
        return trouble(losses, unseen)

    if resume is not None and grid is not None:
        grid.values = resume["grid"].to(device, copy=True)
    state, history = training.train(
        learner,
        step_of,
        total,
        terms=("epoch", *TERMS),
        factor=lambda step: step_size_factor(config, epoch_at(step), prior.epoch),
        check=check,
        extra=lambda: ({} if grid is None else {"grid": grid.values.cpu().clone()}) | ({"held": held.cpu()} if holds else {}),
        on_step=on_step,
        resume=resume,
    )
    ended = f"scene {scene.name}: after step {total}"
    try:
        surface = mesh.extract(field, mm_from_unit=scene.mm_from_unit, cell_mm=config.cell_mm)
    except ValueError as error:
        raise ValueError(f"{ended}, {error}; do the masks and the cameras belong together?") from None
    if (share := mesh.open_share(field)) > 0.1:  # a short fit leaves a little of it open, in corners that no ray meets
        raise ValueError(
            f"{ended}, the surface runs out of the cube around the unit sphere, {share:.0%} of whose faces are inside it; do the"
            " masks show the head and not the background, and is it inside the sphere (scale_mat)?"
        )
    fixed = {f"geometry.{name}": value.cpu() for name, value in geometry.state_dict().items() if f"geometry.{name}" not in state}
    return Reconstruction(surface, state | fixed, history)


def photograph_losses(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The loss of a fit's photographs, rgb + 100 mask: its mean over 15 to 25 % of the steps, a trial, and over the last tenth.

    `history` has rows with step, rgb and mask; NaN where a fit is so short that none falls there.
    """
    steps = history[-1]["step"] + 1 if history else 0.0

    def mean(first: float, last: float) -> float:
        losses = [row["rgb"] + 100 * row["mask"] for row in history if first * steps <= row["step"] < last * steps]
        return sum(losses) / len(losses) if losses else nan

    return {"trial_loss": mean(0.15, 0.25), "final_loss": mean(0.9, 1.0)}


def render(
    head: Reconstruction,
    prior: priors.Prior,
    config: Config,
    px_from_cam: Tensor,
    unit_from_cam: Tensor,
    size_px: tuple[int, int],
) -> rendering.Rendered:
    """What cameras (V, 3, 3), (V, 4, 4) with pictures of `size_px` (height, width) see of a head that `fit` made from `prior`."""
    device, fitted = sdf.device(config.device), replace(prior, tensors=head.tensors)
    geometry = priors.network(fitted, generator=torch.Generator()).to(device)
    colour = ColourNetwork(replace(config, shape=prior.shape).colour_shape, torch.Generator()).to(device)
    colour.load_state_dict(priors.part(fitted, "colour"))
    return rendering.render(geometry, colour, px_from_cam, unit_from_cam, size_px, grid=2 * config.grid)
