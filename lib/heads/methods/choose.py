"""Which of several priors to start from, by the photographs alone: a short fit from each, and the one that explains them best.

The scan has no part in it. The photographs that a fit has used it explains about equally well from any start (LOG.md, on one
person), so it is judged by one that it has not seen. What is compared is the loss of the photographs, `rgb + mask_weight * mask`
(the eikonal term says nothing about them), over all pixels and at one sharpness `config.alpha`, because priors of other epochs
are trained at others. Where fits learn the photographs' gains, a judging photograph is first brought to the exposure and white
balance of the rendering, which nobody can know of one that was held out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from heads import camera
from heads.methods import idr, priors
from heads.scene import Reconstruction, Scene
from heads.surface import render, sdf, trace, training
from heads.surface.colour import ColourNetwork

EVERY = 2  # pixels, along rows and columns: every fourth pixel of a photograph is asked


@dataclass(frozen=True)
class Trial:
    """A short fit from one prior: what the photographs `judged` (the data set's numbers) say of it, and its head.

    `rgb` and `mask` are the unweighted terms, `loss` their weighted sum; `fitted` are the photographs that the fit has seen.
    """

    prior: str
    loss: float
    rgb: float
    mask: float
    epochs: int
    fitted: tuple[int, ...]
    judged: tuple[int, ...]
    head: Reconstruction


def trial(
    scene: Scene,
    starts: Sequence[priors.Prior],
    config: idr.Config,
    *,
    share: float = 0.2,
    seed: int = 0,
    held_out: bool = True,
    progress: Callable[[str], training.OnStep] | None = None,
) -> list[Trial]:
    """A short fit from each prior, `share` of the epochs of `config`, judged by the last photograph, which it does not see.

    Without `held_out`, it sees all and is judged by all. A trial is a whole fit of fewer epochs, with step sizes that fall over
    these. What of a prior is carried over is for `priors.carrying` to say.
    `progress` makes the `on_step` of a fit from its prior's name. ValueError for priors of one name, or a share not in (0, 1].
    """
    names = [start.name for start in starts]
    if not names:
        raise ValueError("there is no prior to try; at least one is needed")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two of the priors to try are named {twice[0]!r}; what is chosen is told by its name")
    if not 0 < share <= 1:
        raise ValueError(f"share must lie above 0 and be at most 1, not {share}")
    if held_out and len(scene.views) < 2:
        raise ValueError(f"scene {scene.name}: holding out a photograph needs at least two, there is {len(scene.views)}")
    last = len(scene.views) - 1
    fitted = only(scene, range(last)) if held_out else scene
    judged = only(scene, [last]) if held_out else scene
    short = replace(config, epochs=max(1, round(share * config.epochs)), code_epochs=share * config.code_epochs)
    trials = []
    for start in starts:
        on_step = progress(start.name) if progress is not None else None
        head = idr.fit(fitted, start, short, seed=seed, on_step=on_step)
        terms = photograph_loss(head.tensors, judged, replace(config, shape=start.shape))
        trials.append(Trial(start.name, **terms, epochs=short.epochs, fitted=fitted.views, judged=judged.views, head=head))
    return trials


def check(priors: Sequence[str], views: int, held_out: bool) -> None:
    """ValueError for a choice that cannot be made: of a single prior, or with no photograph left to fit to."""
    if len(priors) == 1:
        raise ValueError(f"priors: a choice takes at least two priors, not {priors[0]!r} alone")
    if held_out and views < 2:
        raise ValueError(f"views: holding out a photograph takes at least two, not {views}")


def choose(trials: Sequence[Trial]) -> str:
    """The prior whose trial has the smallest loss, the first of several alike; ValueError where the trials cannot be compared."""
    if not trials:
        raise ValueError("there is no trial to choose from")
    if len({(one.epochs, one.fitted, one.judged) for one in trials}) > 1:
        raise ValueError("the trials to choose from differ in their epochs or photographs; their losses do not compare")
    for one in trials:
        if not isfinite(one.loss):
            raise ValueError(f"prior {one.prior}: the loss of its trial is {one.loss}; there is nothing to choose by")
    return min(trials, key=lambda one: one.loss).prior


def photograph_loss(tensors: dict[str, Tensor], scene: Scene, config: idr.Config) -> dict[str, float]:
    """How badly networks explain the photographs of `scene`: `rgb`, `mask`, and `loss`, their sum weighted as in a fit.

    `tensors` are those of a reconstruction (`geometry.*`, `colour.*`), `config.shape` that of its geometry. Means over every
    fourth pixel of every photograph, whatever its mask says: no pixel is drawn by chance, so that equal heads have equal losses.
    With a `config.gain_step_size`, each channel of a photograph gets the factor with which its `rgb` is least.
    """
    device, generator = sdf.device(config.device), torch.Generator().manual_seed(0)
    saved = priors.Prior("reconstruction", config.shape, 0, tensors)
    for name in ("geometry", "colour"):
        if not priors.part(saved, name):
            raise ValueError(f"the tensors hold no {name} network; to draw the photographs again takes geometry and colour")
    geometry = priors.network(saved, generator=generator).to(device)
    colour = ColourNetwork(config.colour_shape, generator).to(device)
    colour.load_state_dict(priors.part(saved, "colour"))
    for network in (geometry, colour):
        network.requires_grad_(False)
    field = sdf.distance(geometry)
    grid = trace.CachedField(field, config.grid, device=device) if config.tracer == "cached" else None

    _, height, width = scene.masks.shape
    row, column = torch.meshgrid(torch.arange(0, height, EVERY), torch.arange(0, width, EVERY), indexing="ij")
    pixels = torch.stack([column, row], dim=-1).reshape(-1, 2).float()
    origins, directions = camera.rays(scene.px_from_cam, scene.unit_from_cam, pixels.expand(len(scene.views), -1, 2))
    photographs, masks = scene.images[:, ::EVERY, ::EVERY], scene.masks[:, ::EVERY, ::EVERY]
    if config.gain_step_size:
        fewer = torch.tensor([1 / EVERY, 1 / EVERY, 1])[:, None] * scene.px_from_cam
        drawn = render.render(geometry, colour, fewer, scene.unit_from_cam, (masks.shape[1], masks.shape[2]), grid=config.grid)
        photographs = photographs * _factors(drawn.images, photographs, drawn.hit & masks)
    colours, mask = (photographs * 2 - 1).reshape(-1, 3), masks.flatten()
    origins, directions = origins.flatten(0, 1), directions.flatten(0, 1)
    view = torch.arange(len(scene.views)).repeat_interleave(len(mask) // len(scene.views))
    nobody = torch.zeros((len(mask), 0), dtype=torch.long)  # is each pixel compared with
    sums = {"rgb": 0.0, "mask": 0.0}
    with parametrize.cached():
        for first in range(0, len(mask), config.rays):
            part = slice(first, first + config.rays)
            rays = (values[part].to(device) for values in (colours, mask, origins, directions, view, nobody))
            batch = idr.Batch(*rays)
            with torch.no_grad():
                traced = trace.trace(grid, field, batch.origins, batch.directions, generator=generator, polish=batch.mask)
            nowhere = torch.zeros((1, 3), device=device)  # the eikonal term is not asked for
            terms = idr.losses(geometry, colour, traced, batch, nowhere, config.alpha)
            sums = {name: total + terms[name].item() * len(batch.mask) for name, total in sums.items()}
    means = {name: total / len(mask) for name, total in sums.items()}
    return {"loss": means["rgb"] + config.mask_weight * means["mask"]} | means


def _factors(shown: Tensor, photographs: Tensor, counts: Tensor) -> Tensor:
    """What makes `photographs` most alike to those `shown` (V, H, W, 3) where it `counts` (V, H, W): (V, 1, 1, 3), 1 if nowhere.

    The sum of absolute differences is least at the median of the ratios, weighted by what they are the ratios to.
    """
    weights = (photographs * counts[..., None]).flatten(1, 2)
    ratios, order = (shown.flatten(1, 2) / photographs.flatten(1, 2).clamp(min=1e-6)).sort(dim=1)
    below = weights.gather(1, order).cumsum(dim=1)
    middle = (below < below[:, -1:] / 2).sum(dim=1, keepdim=True)
    return ratios.gather(1, middle).where(below[:, -1:] > 0, 1.0)[:, None]


def only(scene: Scene, chosen: Sequence[int]) -> Scene:
    """The scene with only its photographs at the positions `chosen` (of its own, from 0)."""
    index = list(chosen)
    return replace(
        scene,
        views=tuple(scene.views[one] for one in index),
        images=scene.images[index],
        masks=scene.masks[index],
        px_from_cam=scene.px_from_cam[index],
        unit_from_cam=scene.unit_from_cam[index],
    )
