"""The averaged prior: several single-scan priors made into one, by averaging their parameters or their functions.

The mean of parameters is that of BaseH3D-Net's `avg_model_parameters.py`. It is a head only where the networks have a common
start, because the hidden units of networks from independent starts do not correspond. The mean of functions does not need one:
a fresh network learns the mean of the signed distances and of the colours (distillation).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import parametrize

from heads.methods import priors
from heads.methods.priors import Prior
from heads.surface import ensemble, sdf, trace, training
from heads.surface.colour import ColourNetwork
from heads.surface.colour import Shape as ColourShape


@dataclass(frozen=True)
class Config:
    """How `distil` works."""

    steps: int = 1200
    points: int = 1024  # per step: as many near the mean surface as anywhere in the cube
    band: float = 0.05  # how far from the mean surface the near points lie, unit frame
    samples: int = 20_000  # points of either kind at which the priors are evaluated, once
    step_size: float = 2e-3
    eikonal_weight: float = 0.1
    colour_weight: float = 0.1
    device: str = "auto"  # where the network learns; the priors are evaluated on the CPU

    def __post_init__(self) -> None:
        for name in ("steps", "points", "band", "samples", "step_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")


class Lessons(NamedTuple):
    """Samples of the mean of several priors: distances (S,) anywhere and near its surface, colours (S, 3) on that surface."""

    anywhere: Tensor  # (S, 3)
    anywhere_distance: Tensor
    near: Tensor  # (S, 3)
    near_distance: Tensor
    surface: Tensor  # (S, 3)
    views: Tensor  # (S, 3), unit vectors towards the camera
    colours: Tensor  # (S, 3) in [-1, 1]; (0, 3) unless all priors have colours


def check_several(of: Sequence[str]) -> None:
    """ValueError for the average of a single prior."""
    if len(of) == 1:
        raise ValueError(f"priors: an average takes at least two priors, not {of[0]!r} alone")


def average_weights(name: str, of: Sequence[Prior]) -> Prior:
    """The mean of the networks' parameters, tensor by tensor (`avg_model_parameters.py`: weight_norm's g and v separately).

    The optimizer's moments are left out, as there. `priors.check_surface` says whether the mean has a surface.
    """
    _check(of)
    networks = [key for key in of[0].tensors if key.split(".")[0] in ("geometry", "colour")]
    for prior in of[1:]:
        for key in networks:
            if key not in prior.tensors or prior.tensors[key].shape != of[0].tensors[key].shape:
                raise ValueError(f"average {name}: {key} of prior {of[0].name} has no counterpart in prior {prior.name}")
    return Prior(name, of[0].shape, of[0].epoch, {key: torch.stack([p.tensors[key] for p in of]).mean(dim=0) for key in networks})


def mean_field(of: Sequence[Prior]) -> sdf.SDF:
    """The mean of the priors' signed distances, as a function of points (N, 3) -> (N,), without gradients."""
    fields = [sdf.distance(priors.network(prior, generator=torch.Generator())) for prior in of]
    return lambda points: torch.stack([field(points) for field in fields]).mean(dim=0)


def agreement(one: Tensor, two: Tensor) -> dict[str, float]:
    """How alike two fields are, from their values (N,) at the same points: `iou` of their insides, `l1` mean difference."""
    either, both = (one < 0) | (two < 0), (one < 0) & (two < 0)
    return {"iou": float(both.sum() / either.sum().clamp(min=1)), "l1": float((one - two).abs().mean())}


def distil(
    name: str,
    of: Sequence[Prior],
    colour_shape: ColourShape,
    config: Config,
    *,
    seed: int = 0,
    on_step: training.OnStep | None = None,
    resume: dict[str, Tensor] | None = None,
) -> priors.Learned:
    """A fresh network that has learned the mean of the priors' signed distances, and of their colours if all have colours.

    It starts from a sphere of its own. An eikonal term keeps it a distance, which the mean of distances only nearly is.
    """
    _check(of)
    for prior in of:
        priors.check_surface(prior)
    device = sdf.device(config.device)
    generator = torch.Generator().manual_seed(seed)
    geometry = of[0].shape.network(generator).to(device)  # a sphere
    look = ColourNetwork(colour_shape, generator).to(device)
    named = {f"geometry.{key}": p for key, p in geometry.named_parameters()}
    lessons = Lessons(*(tensor.to(device) for tensor in ask(of, colour_shape, config, generator)))
    if len(lessons.colours):
        named |= {f"colour.{key}": p for key, p in look.named_parameters()}
    optimizers = training.optimizers(training.Group(list(named.values()), config.step_size))
    learner = training.Learner(f"prior {name}", named, optimizers, generator)
    weights = {"distance": 1.0, "eikonal": config.eikonal_weight}
    if len(lessons.colours):
        weights["colour"] = config.colour_weight

    def step_of(step: int) -> dict[str, Tensor]:
        index = torch.randint(config.samples, (3, config.points // 2), generator=generator).to(device)
        with parametrize.cached():
            terms = losses(geometry, look, lessons, index)
        training.weighted_sum(terms, weights).backward()
        training.end_step(optimizers)
        return terms

    factor = training.cosine(config.steps, end=0.02)
    state, history = training.train(learner, step_of, config.steps, terms=weights, factor=factor, on_step=on_step, resume=resume)
    return priors.Learned(Prior(name, of[0].shape, of[0].epoch, {key: state[key] for key in named}), history)


def ask(of: Sequence[Prior], colour_shape: ColourShape, config: Config, generator: torch.Generator) -> Lessons:
    """Evaluate the priors at `config.samples` points anywhere in the cube, as many near their mean surface, and as many on it."""
    field, networks = mean_field(of), [priors.network(prior, generator=torch.Generator()) for prior in of]
    anywhere = torch.rand((config.samples, 3), generator=generator) * 2 - 1
    grid = trace.CachedField(field, 64)
    points = trace.lattice(64)
    cells = points[(grid.values.abs() < grid.cell) & (points.norm(dim=1) < 1)]
    if len(cells) == 0:
        raise ValueError(f"the mean of the priors {', '.join(prior.name for prior in of)} has no surface in the unit sphere")
    cells = cells[torch.randint(len(cells), (config.samples,), generator=generator)]
    surface, normals = _onto_surface(networks, cells + grid.cell * (torch.rand(cells.shape, generator=generator) - 0.5))
    near = surface + config.band * torch.randn(surface.shape, generator=generator)
    views = functional.normalize(torch.randn(surface.shape, generator=generator), dim=1)
    views = views * torch.where((views * normals).sum(dim=1, keepdim=True) < 0, -1.0, 1.0)
    colours = surface[:0]
    if all(priors.part(prior, "colour") for prior in of):
        colours = torch.stack([_colours(prior, colour_shape, surface, views) for prior in of]).mean(dim=0)
    return Lessons(anywhere, field(anywhere), near, field(near), surface, views, colours)


def losses(geometry: sdf.Network, look: ColourNetwork, lessons: Lessons, index: Tensor) -> dict[str, Tensor]:
    """The unweighted terms at the points `index` (3, P) of the lessons: anywhere, near the surface, on it."""
    anywhere, near, on = index
    points = torch.cat([lessons.anywhere[anywhere], lessons.near[near], lessons.surface[on]])
    on_surface = lessons.near_distance.new_zeros(len(on))
    wanted = torch.cat([lessons.anywhere_distance[anywhere], lessons.near_distance[near], on_surface])
    value, gradient, feature = geometry.with_gradient(points)
    terms = {"distance": (value - wanted).abs().mean(), "eikonal": ((gradient.norm(dim=1) - 1) ** 2).mean()}
    if len(lessons.colours):
        surface, normals, feature = lessons.surface[on], gradient[-len(on) :], feature[-len(on) :]
        terms["colour"] = (look(surface, lessons.views[on], normals, feature) - lessons.colours[on]).abs().sum(dim=1).mean()
    return terms


def _check(of: Sequence[Prior]) -> None:
    if not of:
        raise ValueError("an average needs at least one prior")
    for prior in of:
        if isinstance(prior.shape, ensemble.Shape) or prior.frame != priors.UNIT_SPHERE:
            raise ValueError(
                f"prior {prior.name}: averages are of single networks in {priors.UNIT_SPHERE}, not of an ensemble, nor in"
                f" {prior.frame}"
            )
        if prior.shape != of[0].shape:
            raise ValueError(f"priors {of[0].name} and {prior.name} have networks of different shapes; they have no average")
        if prior.epoch != of[0].epoch:
            raise ValueError(
                f"prior {of[0].name} has {of[0].epoch} epochs but prior {prior.name} {prior.epoch}; an average needs equal ones"
            )


def _onto_surface(networks: Sequence[sdf.Network], points: Tensor, *, steps: int = 3) -> tuple[Tensor, Tensor]:
    """Points (N, 3) near the zero level of the networks' mean, moved onto it (Newton), and the gradients (N, 3) there."""
    moved = []
    for part in points.split(8192):
        for step in range(steps + 1):
            pairs = [network.with_gradient(part)[:2] for network in networks]
            value, gradient = (torch.stack(of).mean(dim=0).detach() for of in zip(*pairs, strict=True))
            if step < steps:
                part = part.detach() - value[:, None] * gradient / gradient.square().sum(dim=1, keepdim=True).clamp(min=0.1)
        moved.append((part, gradient))
    return torch.cat([part for part, _ in moved]), torch.cat([gradient for _, gradient in moved])


def _colours(prior: Prior, shape: ColourShape, points: Tensor, views: Tensor) -> Tensor:
    """The colours (N, 3) in [-1, 1] of one prior at the points of its own surface nearest to `points` (N, 3)."""
    network, look = priors.network(prior, generator=torch.Generator()), ColourNetwork(shape, torch.Generator())
    look.load_state_dict(priors.part(prior, "colour"))
    surface, _ = _onto_surface([network], points)
    shown = []
    for at, view in zip(surface.split(8192), views.split(8192), strict=True):
        _, gradient, feature = network.with_gradient(at)
        shown.append(look(at, view, gradient, feature).detach())
    return torch.cat(shown)
