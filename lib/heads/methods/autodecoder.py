"""A prior learned from many heads: one implicit network and a code for each head, found together (DeepSDF's auto-decoder).

H3D-Net (Ramon et al., ICCV 2021) trains it as IGR does (Gropp et al., ICML 2020): the field vanishes on the scans' points, its
gradient has length one, codes stay short. DeepSDF's own loss (Park et al., CVPR 2019), the clamped distance of samples, is the
other option. With a colour network beside it the codes hold the heads' looks as well (SIRA++, Caselles et al. 2023).
Heads are `scene.TrainingHead`s, all in the unit frame.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
import trimesh
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn.utils import parametrize

from heads import mesh
from heads.methods import priors
from heads.methods.priors import Prior
from heads.scene import TrainingHead
from heads.surface import colour, sdf

LOSSES = ("igr", "deepsdf")
MM_PER_UNIT = 210.0  # of a head that is shown: the unit frame is a sphere around it, whose radius differs from head to head


@dataclass(frozen=True)
class Config:
    """How `train` and `complete` work; the defaults are H3D-Net's sizes, with IGR's weights where its text leaves them open."""

    shape: sdf.Shape = field(default_factory=lambda: sdf.Shape(code=256))
    loss: str = "igr"
    steps: int = 100_000
    heads: int = 16  # of a step
    points: int = 512  # of each of these
    step_size: float = 5e-4
    muon_step_size: float = 0.0  # of the geometry's matrices, by Muon; 0 as published: Adam takes them like the rest
    muon_colour_step_size: float = 0.0  # of the colours' matrices, likewise
    code_step_size: float = 1e-3
    normal_weight: float = 0.0  # igr; H3D-Net needs no normals
    eikonal_weight: float = 0.1  # igr
    near: float = 0.1  # igr: half of the eikonal points lie about this far from the surface, the rest anywhere
    clamp: float = 0.1  # deepsdf: distances beyond count as this
    code_weight: float = 1e-3  # of the mean squared length of the codes
    colour_weight: float = 0.5
    completion_steps: int = 800  # DeepSDF, reconstruct.py
    completion_step_size: float = 5e-3  # a tenth of it after half the steps
    device: str = "auto"  # where `train` works

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {self.loss!r}")
        if self.shape.code < 1:
            raise ValueError("an auto-decoder's network needs a code: shape.code must be positive")
        for name in ("steps", "heads", "points", "step_size", "code_step_size", "near", "clamp", "completion_steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")


PAPER = Config()
LAPTOP = Config(
    shape=sdf.Shape(width=128, depth=4, feature=64, code=64),
    steps=4000,
    heads=16,
    points=64,
    step_size=1e-3,
    muon_step_size=4e-3,
    muon_colour_step_size=8e-3,
    code_step_size=2e-3,
    normal_weight=0.1,
    colour_weight=0.1,
)
SMOKE = replace(LAPTOP, shape=sdf.Shape(width=32, depth=3, feature=16, octaves=2, code=8), steps=200, heads=4, points=64)
PRESETS = {"PAPER": PAPER, "LAPTOP": LAPTOP, "SMOKE": SMOKE}

StateOf = Callable[[], dict[str, Tensor]]
OnStep = Callable[[int, int, dict[str, float], StateOf], None]


class Trained(NamedTuple):
    """A prior of many heads, and how its losses fell."""

    prior: Prior
    history: list[dict[str, float]]


def train(
    name: str,
    heads: Sequence[TrainingHead],
    config: Config,
    *,
    colours: colour.Shape | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
    resume: dict[str, Tensor] | None = None,
) -> Trained:
    """Fit one network, and a code for each head, to all heads; with `colours`, a colour network to their photographs too."""
    _check(heads, colours)
    device = sdf.device(config.device)
    generator = torch.Generator().manual_seed(seed)
    geometry = sdf.ImplicitNetwork(config.shape, generator).to(device)
    geometry.code.requires_grad_(False)
    first_codes = torch.randn(len(heads), config.shape.code, generator=generator) / math.sqrt(config.shape.code)
    codes = nn.Parameter(first_codes.to(device))
    look = colour.ColourNetwork(colours, generator).to(device) if colours else None
    named = {f"geometry.{key}": p for key, p in geometry.named_parameters() if key != "code"} | {"codes": codes}
    weights = [parameter for key, parameter in named.items() if key != "codes"]
    groups = [priors.Group(weights, config.step_size, config.muon_step_size), priors.Group([codes], config.code_step_size)]
    if look is not None:
        named |= {f"colour.{key}": p for key, p in look.named_parameters()}
        groups.append(priors.Group(list(look.parameters()), config.step_size, config.muon_colour_step_size))
    optimizers = priors.optimizers(*groups)
    samples = [distance_samples(head, generator) for head in heads] if config.loss == "deepsdf" else []

    first = 0
    history: priors.History = []
    if resume is not None:
        first, history = priors.go_on(optimizers, named, generator, resume, ("step", *terms_of(config, colours)))

    def state(step: int) -> dict[str, Tensor]:
        return priors.state_of(optimizers, named, generator, step, history)

    for step in range(first, config.steps):
        which = torch.randint(len(heads), (min(config.heads, len(heads)),), generator=generator).tolist()
        with parametrize.cached():
            if config.loss == "igr":
                terms = igr_terms(geometry, codes, heads, which, config, generator)
            else:
                terms = deepsdf_terms(geometry, codes, samples, which, config, generator)
            if look is not None:
                terms["colour"] = colour_term(geometry, look, codes, heads, which, config, generator)
        terms["code"] = codes.square().sum(dim=1).mean()
        loss = sum((WEIGHTS[key](config) * term for key, term in terms.items()), torch.zeros((), device=device))
        priors.begin_step(optimizers, 0.05 + 0.475 * (1 + math.cos(math.pi * step / config.steps)))
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        if step % 10 == 0 or step == config.steps - 1:
            history.append({"step": float(step)} | {key: term.item() for key, term in terms.items()})
            if not math.isfinite(loss.item()):
                raise ValueError(f"prior {name}: the training diverged before step {step}")
        if on_step is not None:
            on_step(step + 1, config.steps, history[-1], lambda done=step + 1: state(done))  # type: ignore[misc]

    tensors = {key: parameter.detach().cpu().clone() for key, parameter in named.items()}
    return Trained(Prior(name, config.shape, 0, tensors | {"geometry.code": tensors["codes"].mean(dim=0)}), history)


WEIGHTS: dict[str, Callable[[Config], float]] = {
    "surface": lambda config: 1.0,
    "normal": lambda config: config.normal_weight,
    "eikonal": lambda config: config.eikonal_weight,
    "distance": lambda config: 1.0,
    "colour": lambda config: config.colour_weight,
    "code": lambda config: config.code_weight,
}


def terms_of(config: Config, colours: colour.Shape | None) -> list[str]:
    """The names of the losses, in the order of the history's rows."""
    shape = ["surface", "normal", "eikonal"] if config.loss == "igr" else ["distance"]
    return [*shape, *(["colour"] if colours else []), "code"]


def _check(heads: Sequence[TrainingHead], colours: colour.Shape | None) -> None:
    if not heads:
        raise ValueError("an auto-decoder needs at least one head to learn from")
    if colours is not None and colours.sees_view:
        raise ValueError("the training heads' colours come without the direction of view: colour_sees has to be no_view_dir")
    for head in heads:
        if colours is not None and len(head.seen) == 0:
            raise ValueError(f"training head {head.name}: it has no photographs to learn colours from")


def _draw(values: Sequence[Tensor], count: int, generator: torch.Generator) -> list[Tensor]:
    """The same random `count` rows of each of `values`."""
    index = torch.randint(len(values[0]), (count,), generator=generator)
    return [value[index] for value in values]


def igr_terms(
    geometry: sdf.ImplicitNetwork,
    codes: Tensor,
    heads: Sequence[TrainingHead],
    which: Sequence[int],
    config: Config,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """IGR's terms (`shapespace/train.py`), unweighted: |f| and the normals on the scans, the gradient's length around them."""
    drawn = [_draw((heads[i].points, heads[i].normals), config.points, generator) for i in which]
    surface, normals = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    owner = torch.tensor(which).repeat_interleave(config.points)
    half = len(surface) // 2
    near = surface[:half] + config.near * torch.randn((half, 3), generator=generator)
    anywhere = torch.rand((len(surface) - half, 3), generator=generator) * 2 - 1
    points, normals = torch.cat([surface, near, anywhere]).to(codes.device), normals.to(codes.device)
    value, gradient, _ = geometry.with_gradient(points, codes[torch.cat([owner, owner])])
    return {
        "surface": value[: len(surface)].abs().mean(),
        "normal": (gradient[: len(surface)] - normals).norm(dim=1).mean(),
        "eikonal": ((gradient.norm(dim=1) - 1) ** 2).mean(),
    }


def deepsdf_terms(
    geometry: sdf.ImplicitNetwork,
    codes: Tensor,
    samples: Sequence[tuple[Tensor, Tensor]],
    which: Sequence[int],
    config: Config,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """DeepSDF's term (`train_deep_sdf.py`): the difference of clamped distances."""
    points, distances = (
        torch.cat(part) for part in zip(*(_draw(samples[i], config.points, generator) for i in which), strict=True)
    )
    points, distances = points.to(codes.device), distances.to(codes.device)
    value = geometry.distance(points, codes[torch.tensor(which).repeat_interleave(config.points)])
    reach = config.clamp
    return {"distance": (value.clamp(-reach, reach) - distances.clamp(-reach, reach)).abs().mean()}


def colour_term(
    geometry: sdf.ImplicitNetwork,
    look: colour.ColourNetwork,
    codes: Tensor,
    heads: Sequence[TrainingHead],
    which: Sequence[int],
    config: Config,
    generator: torch.Generator,
) -> Tensor:
    """The mean difference, summed over channels, of the colours of points that the photographs show (IDR's RGB term)."""
    drawn = [_draw((heads[i].seen, heads[i].colours), config.points // 2, generator) for i in which]
    points, colours = (torch.cat(parts).to(codes.device) for parts in zip(*drawn, strict=True))
    code = codes[torch.tensor(which).repeat_interleave(config.points // 2)]
    _, normals, features = geometry.with_gradient(points, code)
    return (look(points, points, normals, features) - colours).abs().sum(dim=1).mean()


def distance_samples(head: TrainingHead, generator: torch.Generator, count: int = 20_000) -> tuple[Tensor, Tensor]:
    """Points (N, 3) and signed distances (N,) to one head, as DeepSDF draws them (`PreprocessMesh.cpp`).

    47 of 50 lie near the surface (variances 0.005 and 0.0005), the rest anywhere. The sign is the vote of the 11 nearest surface
    points' normals; without a unanimous one the sample is dropped.
    """
    near = round(count * 47 / 50)
    surface = head.points[torch.randint(len(head.points), (near,), generator=generator)]
    spread = torch.where(torch.arange(near) % 2 == 0, math.sqrt(0.005), math.sqrt(0.0005))
    points = torch.cat(
        [
            surface + spread[:, None] * torch.randn((near, 3), generator=generator),
            torch.rand((count - near, 3), generator=generator) * 2 - 1,
        ]
    )
    distance, nearest = cKDTree(head.points.numpy()).query(points.numpy(), 11)
    away = points[:, None] - head.points[torch.from_numpy(nearest)]
    outside = (away * head.normals[torch.from_numpy(nearest)]).sum(dim=-1) > 0
    sure = outside.all(dim=1) | (~outside).all(dim=1)
    signed = torch.from_numpy(distance[:, 0]).float() * torch.where(outside[:, 0], 1.0, -1.0)
    return points[sure], signed[sure]


def complete(prior: Prior, points: Tensor, config: Config, *, seed: int = 0) -> Tensor:
    """The code (C,) of the head of which `points` (N, 3), unit frame, are some of the surface; the network stays as it is.

    As DeepSDF's `reconstruct.py`, with the distance of surface points, which is zero.
    """
    generator = torch.Generator().manual_seed(seed)
    geometry = priors.network(prior, generator=generator).requires_grad_(False)
    code = nn.Parameter(prior.tensors["geometry.code"].clone())
    optimizers = priors.optimizers(priors.Group([code], config.completion_step_size))
    for step in range(config.completion_steps):
        (drawn,) = _draw((points,), min(len(points), 16 * config.points), generator)
        loss = geometry.distance(drawn, code).abs().mean() + config.code_weight * code.square().sum()
        priors.begin_step(optimizers, 0.1 if 2 * step >= config.completion_steps else 1.0)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    return code.detach()


def holding(prior: Prior, code: Tensor) -> Prior:
    """The prior with another code (C,) to start from: the head that the code stands for."""
    if code.shape != (prior.shape.code,):
        raise ValueError(
            f"prior {prior.name}: a code of {prior.shape.code} numbers was expected, not of shape {tuple(code.shape)}"
        )
    return replace(prior, tensors=prior.tensors | {"geometry.code": code.detach().clone()})


def surface(prior: Prior, code: Tensor, *, cell_mm: float = 3.0) -> trimesh.Trimesh:
    """The head that a code (C,) stands for, in mm, of a usual size; ValueError where it has no surface."""
    network = priors.network(holding(prior, code), generator=torch.Generator())
    scale = torch.tensor([MM_PER_UNIT, MM_PER_UNIT, MM_PER_UNIT, 1.0])
    return mesh.extract(sdf.distance(network), mm_from_unit=torch.diag(scale), cell_mm=cell_mm)


def distance(prior: Prior, code: Tensor, points: Tensor) -> float:
    """The mean distance, in the unit frame, of points (N, 3) from the surface of a code (C,), as the field has it."""
    return float(sdf.distance(priors.network(holding(prior, code), generator=torch.Generator()))(points).abs().mean())


def sample(prior: Prior, count: int, *, seed: int = 0) -> Tensor:
    """Codes (count, C) drawn from the normal distribution that the training heads' codes have."""
    codes = prior.tensors["codes"].double()
    middle, spread = codes.mean(dim=0), torch.linalg.svd(codes - codes.mean(dim=0), full_matrices=False)
    weights = torch.randn((count, len(spread.S)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (middle + weights * spread.S / math.sqrt(max(1, len(codes) - 1)) @ spread.Vh).float()


def interpolate(first: Tensor, second: Tensor, count: int) -> Tensor:
    """Codes (count, C) evenly from one code (C,) to another."""
    return torch.lerp(first[None], second[None], torch.linspace(0, 1, count)[:, None])
