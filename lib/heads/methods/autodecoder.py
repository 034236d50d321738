"""A prior learned from many heads: one implicit network and a code for each head, trained together (DeepSDF's auto-decoder).

H3D-Net (Ramon et al., ICCV 2021) trains it as IGR does (Gropp et al., ICML 2020): the field vanishes on the scans' points, its
gradient has length one, codes stay short. DeepSDF's own loss (Park et al., CVPR 2019), the clamped distance of samples, is the
other option. With a colour network beside it, the codes hold the heads' looks as well (SIRA++, Caselles et al. 2023).
Heads are `scene.TrainingHead`s, all in the unit frame.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import trimesh
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn.utils import parametrize

from heads import mesh
from heads.methods import priors
from heads.methods.priors import Prior
from heads.scene import TrainingHead
from heads.surface import colour, sdf, training

LOSSES = ("igr", "deepsdf")
MM_PER_UNIT = 210.0  # for display: the unit sphere lies around each head, so that its true radius differs from head to head


@dataclass(frozen=True)
class Config:
    """How `train` and `complete` work; the defaults are H3D-Net's sizes, and IGR's weights where its text gives none."""

    shape: sdf.Shape = field(default_factory=lambda: sdf.Shape(code=256))
    loss: str = "igr"
    steps: int = 100_000
    heads: int = 16  # per step
    points: int = 512  # per head and step
    step_size: float = 5e-4
    muon_step_size: float = 0.0  # Muon's, for the geometry's matrices; with 0, as published, Adam takes them like the rest
    muon_colour_step_size: float = 0.0  # likewise for the colours' matrices
    code_step_size: float = 1e-3
    normal_weight: float = 0.0  # igr; H3D-Net needs no normals
    eikonal_weight: float = 0.1  # igr
    near: float = 0.1  # igr: half of the added eikonal points lie about this far from the surface, the rest anywhere
    clamp: float = 0.1  # deepsdf: distances beyond count as this
    code_weight: float = 1e-3  # for the mean squared length of the codes
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
PUBLISHED = replace(PAPER, shape=sdf.Shape(width=64, depth=4, feature=64, code=64), steps=4000, points=64)  # a laptop's
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
PRESETS = {"PAPER": PAPER, "PUBLISHED": PUBLISHED, "LAPTOP": LAPTOP, "SMOKE": SMOKE}


def train(
    name: str,
    heads: Sequence[TrainingHead],
    config: Config,
    *,
    colours: colour.Shape | None = None,
    seed: int = 0,
    on_step: training.OnStep | None = None,
    resume: dict[str, Tensor] | None = None,
) -> priors.Learned:
    """Fit one network to all heads, with a code for each; with `colours`, also a colour network to their photographs."""
    _check(heads, colours)
    device = sdf.device(config.device)
    generator = torch.Generator().manual_seed(seed)
    geometry = sdf.ImplicitNetwork(config.shape, generator).to(device)
    geometry.code.requires_grad_(False)
    first_codes = torch.randn(len(heads), config.shape.code, generator=generator) / math.sqrt(config.shape.code)
    codes = nn.Parameter(first_codes.to(device))
    look = colour.ColourNetwork(colours, generator).to(device) if colours else None
    named = {f"geometry.{key}": p for key, p in geometry.named_parameters() if key != "code"} | {"codes": codes}
    decoder = [parameter for key, parameter in named.items() if key != "codes"]
    groups = [training.Group(decoder, config.step_size, config.muon_step_size), training.Group([codes], config.code_step_size)]
    if look is not None:
        named |= {f"colour.{key}": p for key, p in look.named_parameters()}
        groups.append(training.Group(list(look.parameters()), config.step_size, config.muon_colour_step_size))
    learner = training.Learner(f"prior {name}", named, training.optimizers(*groups), generator)
    samples = [distance_samples(head, generator) for head in heads] if config.loss == "deepsdf" else []
    weights = weights_of(config, colours)

    def step_of(step: int) -> dict[str, Tensor]:
        which = torch.randint(len(heads), (min(config.heads, len(heads)),), generator=generator).tolist()
        with parametrize.cached():
            if config.loss == "igr":
                terms = igr_terms(geometry, codes, heads, which, config, generator)
            else:
                terms = deepsdf_terms(geometry, codes, samples, which, config, generator)
            if look is not None:
                terms["colour"] = colour_term(geometry, look, codes, heads, which, config, generator)
        terms["code"] = codes.square().sum(dim=1).mean()
        training.weighted_sum(terms, weights).backward()
        training.end_step(learner.optimizers)
        return terms

    factor = training.cosine(config.steps, end=0.05)
    state, history = training.train(learner, step_of, config.steps, terms=weights, factor=factor, on_step=on_step, resume=resume)
    tensors = {key: state[key] for key in named}
    return priors.Learned(Prior(name, config.shape, 0, tensors | {"geometry.code": tensors["codes"].mean(dim=0)}), history)


def weights_of(config: Config, colours: colour.Shape | None) -> dict[str, float]:
    """The weights of the losses, in the order of the history's rows."""
    igr = {"surface": 1.0, "normal": config.normal_weight, "eikonal": config.eikonal_weight}
    seen = {"colour": config.colour_weight} if colours else {}
    return (igr if config.loss == "igr" else {"distance": 1.0}) | seen | {"code": config.code_weight}


def _check(heads: Sequence[TrainingHead], colours: colour.Shape | None) -> None:
    if not heads:
        raise ValueError("an auto-decoder needs at least one head to learn from")
    if colours is not None and colours.sees_view:
        raise ValueError("the training heads' colours have no direction of view: colour_sees has to be no_view_dir")
    for head in heads:
        if colours is not None and len(head.seen) == 0:
            raise ValueError(f"training head {head.name}: there are no photographs to learn its colours from")


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
    """IGR's unweighted terms (`shapespace/train.py`): |f| and normals on the scans, the gradient's length also around them."""
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
    """The mean difference in colour, summed over channels, at points that the photographs show (IDR's RGB term)."""
    drawn = [_draw((heads[i].seen, heads[i].colours), config.points // 2, generator) for i in which]
    points, colours = (torch.cat(parts).to(codes.device) for parts in zip(*drawn, strict=True))
    code = codes[torch.tensor(which).repeat_interleave(config.points // 2)]
    _, normals, features = geometry.with_gradient(points, code)
    return (look(points, points, normals, features) - colours).abs().sum(dim=1).mean()


def distance_samples(head: TrainingHead, generator: torch.Generator, count: int = 20_000) -> tuple[Tensor, Tensor]:
    """Points (N, 3) and signed distances (N,) to one head, as DeepSDF draws them (`PreprocessMesh.cpp`).

    47 of 50 lie near the surface (variances 0.005 and 0.0005), the rest anywhere. The sign is a vote among the normals of the 11
    nearest surface points; where that is not unanimous, the sample is dropped.
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
    """The code (C,) of a head from `points` (N, 3) on part of its surface, in the unit frame; the network stays as it is.

    As in DeepSDF's `reconstruct.py`, but all samples are surface points, whose distance is zero.
    """
    generator = torch.Generator().manual_seed(seed)
    geometry = priors.network(prior, generator=generator).requires_grad_(False)
    code = nn.Parameter(prior.tensors["geometry.code"].clone())
    optimizers = training.optimizers(training.Group([code], config.completion_step_size))

    def step_of(step: int) -> dict[str, Tensor]:
        (drawn,) = _draw((points,), min(len(points), 16 * config.points), generator)
        loss = geometry.distance(drawn, code).abs().mean() + config.code_weight * code.square().sum()
        loss.backward()
        training.end_step(optimizers)
        return {"loss": loss}

    learner, steps = training.Learner(f"prior {prior.name}", {"code": code}, optimizers, generator), config.completion_steps
    training.train(learner, step_of, steps, terms=["loss"], factor=lambda step: 0.1 if 2 * step >= steps else 1.0)
    return code.detach()


def holding(prior: Prior, code: Tensor) -> Prior:
    """The prior with another code (C,) to start from, and so with the head that it encodes; ValueError for another length."""
    if code.shape != (prior.shape.code,):
        raise ValueError(
            f"prior {prior.name}: expected a code of {prior.shape.code} numbers, not one of shape {tuple(code.shape)}"
        )
    return replace(prior, tensors=prior.tensors | {"geometry.code": code.detach().clone()})


def surface(prior: Prior, code: Tensor, *, cell_mm: float = 3.0) -> trimesh.Trimesh:
    """The head that a code (C,) encodes, in mm, scaled to a typical size; ValueError if it has no surface."""
    network = priors.network(holding(prior, code), generator=torch.Generator())
    scale = torch.tensor([MM_PER_UNIT, MM_PER_UNIT, MM_PER_UNIT, 1.0])
    return mesh.extract(sdf.distance(network), mm_from_unit=torch.diag(scale), cell_mm=cell_mm)


def distance(prior: Prior, code: Tensor, points: Tensor) -> float:
    """The mean distance, in the unit frame, of points (N, 3) from the surface of a code (C,), according to the field."""
    return float(sdf.distance(priors.network(holding(prior, code), generator=torch.Generator()))(points).abs().mean())
