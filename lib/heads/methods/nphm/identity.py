"""Stage 1 of NPM and NPHM: one network for all neutral heads, with a code for each (`loss_functions.py`, `training.py`).

NPM is a single network with a code; NPHM an ensemble of small ones around anchors. Both learn from points on scans, of which the
face's normals count in full and the others' less, from points near them, and from points anywhere. Lengths are in units of
250 mm, as published: FLAME's metres times four.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from heads.methods import priors
from heads.methods.priors import Prior
from heads.scene import TrainingHead
from heads.surface import cuda_graph, ensemble, sdf, training

MM_PER_UNIT = 250.0
FRAME = f"units of {MM_PER_UNIT:g} mm"
SCHEDULES = ("published", "cosine")
TERMS = ("surface", "normal", "eikonal", "far", "code", "anchors", "symmetry")


class People(Protocol):
    """Neutral heads to learn from, in the frame of the network, all of them or one after the other from a disk."""

    def __len__(self) -> int: ...

    @property
    def anchors(self) -> Tensor:
        """(P, A, 3)"""

    def surface(self, person: int, count: int, *, face: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random points (count, 3) of a person's face, or of the rest of the head, with normals."""


@dataclass(frozen=True)
class Config:
    """How `train` works; the defaults are the published constants of NPHM (`nphm.yaml`)."""

    shape: ensemble.Shape | sdf.Shape = field(default_factory=ensemble.Shape)
    steps: int = 120_000  # the published 15,000 passes over 255 people, in batches
    heads: int = 32  # per step
    face_points: int = 750  # per head and step
    other_points: int = 50
    far_points: int = 93  # anywhere in a ball
    far_radius: float = 0.5 ** (1 / 3)  # of that; the published 0.5 is taken for its cube
    outside_radius: float = inf  # points farther away are outside of every head; as published, nothing says so of any
    near_points: int = 800
    near: float = 0.01  # the deviation of the near points from the surface
    step_size: float = 5e-4
    muon_step_size: float = 0.0  # Muon's, for matrices; with 0, as published, Adam takes them like the rest
    code_step_size: float = 1e-3
    weight_decay: float = 0.01
    schedule: str = "published"
    halved_every: int = 40_000  # steps; 5,000 passes
    clip: float = 0.1
    code_norm: float = 1.0  # codes are never longer; 0: they may
    surface_weight: float = 2.0
    normal_weight: float = 0.3
    eikonal_weight: float = 0.1
    far_weight: float = 0.01
    code_weight: float = 0.01
    anchors_weight: float = 7.5
    symmetry_weight: float = 0.01
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.shape.code < 1:
            raise ValueError("a network for many heads needs a code: shape.code must be positive")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, not {self.schedule!r}")
        sizes = ("steps", "heads", "face_points", "far_points", "far_radius", "outside_radius", "near", "halved_every")
        for name in (*sizes, "step_size", "code_step_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if min(self.other_points, self.near_points) < 0:
            raise ValueError(f"other_points and near_points must not be negative: {self.other_points}, {self.near_points}")

    @property
    def weights(self) -> dict[str, float]:
        """The weights of the losses; those of anchors only where the network has some."""
        names = TERMS if isinstance(self.shape, ensemble.Shape) else TERMS[:5]
        return {name: getattr(self, f"{name}_weight") for name in names}


PAPER = Config()
LAPTOP_SHAPE = ensemble.Shape(width=64, feature=16, code_global=32, code_local=16)
LAPTOP = replace(  # LOG.md says why, and what else was tried
    PAPER,
    shape=LAPTOP_SHAPE,
    steps=8000,
    heads=16,
    face_points=40,
    other_points=20,
    far_points=6,
    near_points=26,
    step_size=4e-3,
    code_step_size=1e-2,
    weight_decay=0.0,
    schedule="cosine",
    clip=1.0,
    code_norm=0.0,
)
SMOKE_SHAPE = ensemble.Shape(width=24, depth=2, feature=4, code_global=8, code_local=4, places_width=16)
SMOKE = replace(LAPTOP, shape=SMOKE_SHAPE, steps=60, heads=4)
PRESETS = {"PAPER": PAPER, "LAPTOP": LAPTOP, "SMOKE": SMOKE}
SINGLE = {  # NPM's: one network, which at the published size was trained for 7,770 passes
    "PAPER": replace(
        PAPER,
        shape=sdf.Shape(width=1024, depth=8, feature=1, octaves=0, code=512),
        steps=62_160,
        weight_decay=0.02,
        code_weight=0.002,
    ),
    "LAPTOP": replace(
        LAPTOP,
        shape=sdf.Shape(width=128, depth=4, feature=16, octaves=0, code=64),
        steps=16_000,
        step_size=1e-3,
        muon_step_size=4e-3,
        code_step_size=5e-3,
        code_weight=0.002,
    ),
    "SMOKE": replace(SMOKE, shape=sdf.Shape(width=24, depth=2, feature=4, octaves=0, code=8), code_weight=0.002),
}
MODELS = {"nphm": PRESETS, "npm": SINGLE}
IN_SPHERE = {  # NPHM's for heads in the sphere around them, which photographs are fitted in: more features, for their colours
    "PAPER": replace(PAPER, shape=ensemble.Shape(reach=0.12, feature=256), far_radius=1.4, outside_radius=0.95),
    "LAPTOP": replace(LAPTOP, shape=replace(LAPTOP_SHAPE, reach=0.12, feature=64), far_radius=1.4, outside_radius=0.95),
    "SMOKE": replace(SMOKE, shape=replace(SMOKE_SHAPE, reach=0.12), far_radius=1.4, outside_radius=0.95),
}


@dataclass(frozen=True)
class Scans:
    """Training heads in the unit frame, with hair and shoulders, for `train`."""

    heads: Sequence[TrainingHead]

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def anchors(self) -> Tensor:
        return torch.stack([head.anchors for head in self.heads])

    def surface(self, person: int, count: int, *, face: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As in `People`."""
        head = self.heads[person]
        rows = (head.face == face).nonzero()[:, 0]
        rows = rows[torch.randint(len(rows), (count,), generator=generator)]
        return head.points[rows], head.normals[rows]


class Batch(NamedTuple):
    """Points of H heads: F on each face and O on the rest with normals, near both, and anywhere, all (H, ., 3)."""

    face: Tensor
    face_normals: Tensor
    other: Tensor
    other_normals: Tensor
    near: Tensor
    far: Tensor


def draw(people: People, which: list[int], config: Config, generator: torch.Generator) -> Batch:
    """A step's points of these people."""

    def of(count: int, face: bool) -> tuple[Tensor, Tensor]:
        drawn = [people.surface(person, count, face=face, generator=generator) for person in which]
        return torch.stack([points for points, _ in drawn]), torch.stack([normals for _, normals in drawn])

    (face, face_normals), (other, other_normals) = of(config.face_points, True), of(config.other_points, False)
    surface = torch.cat([face, other], dim=1)
    chosen = torch.randint(surface.shape[1], (config.near_points,), generator=generator)
    near = surface[:, chosen]
    near = near + config.near * torch.randn(near.shape, generator=generator)
    direction = torch.randn((len(which), config.far_points, 3), generator=generator)
    radius = torch.rand((len(which), config.far_points, 1), generator=generator) ** (1 / 3) * config.far_radius
    return Batch(face, face_normals, other, other_normals, near, nn.functional.normalize(direction, dim=2) * radius)


def losses(network: sdf.Network, codes: Tensor, batch: Batch, anchors: Tensor, outside: float = inf) -> dict[str, Tensor]:
    """The published terms, unweighted, of heads with these codes (H, C) and anchors (H, A, 3).

    The published one of points anywhere asks for a distance, of either sign; from the radius `outside` on for a positive one.
    """
    parts = [batch.face, batch.other, batch.near, batch.far]
    points = torch.cat([part.flatten(0, 1) for part in parts])
    heads = torch.arange(len(codes), device=codes.device)
    owner = torch.cat([heads.repeat_interleave(part.shape[1]) for part in parts])
    value, gradient, _ = network.with_gradient(points, codes, owner)
    sizes = [len(codes) * part.shape[1] for part in parts]
    (on_face, on_other, _, far), (face, other, _, _) = value.split(sizes), gradient.split(sizes)
    wrong = (batch.far.flatten(0, 1).norm(dim=1) > outside) & (far < 0)
    turned = (face - batch.face_normals.flatten(0, 1)).norm(dim=1)
    turned_less = (other - batch.other_normals.flatten(0, 1)).norm(dim=1).clamp(max=0.75) / 2
    terms = {
        "surface": torch.cat([on_face, on_other]).abs().mean(),
        "normal": torch.cat([turned, turned_less]).mean(),
        "eikonal": (gradient.norm(dim=1) - 1).abs().mean(),
        "far": torch.where(wrong, 1 - 10 * far, torch.exp(-10 * far.abs())).mean(),
        "code": codes.square().sum(dim=1).mean(),
    }
    if isinstance(network, ensemble.Ensemble):
        terms["anchors"] = (network.places(codes) - anchors).square().mean()
        terms["symmetry"] = asymmetry(network.shape, codes)
    return terms


@torch.no_grad()
def shorten(codes: Sequence[Tensor], most: float) -> None:
    """Make each of the codes (C,) at most so long, as torch's embeddings with `max_norm` do when they are used."""
    for code in codes:
        code.mul_((most / code.norm().clamp(min=1e-9)).clamp(max=1))


def turn(people: int, step: int, count: int, seed: int) -> list[int]:
    """Who is seen at a step: `count` people, each once in every pass over them all, in another order in each pass."""
    places = range(step * count, (step + 1) * count)
    passes = {place // people for place in places}
    orders = {one: torch.randperm(people, generator=torch.Generator().manual_seed(seed + 1000 * one)) for one in passes}
    return [int(orders[place // people][place % people]) for place in places]


def schedule(name: str, steps: int, every: int) -> Callable[[int], float]:
    """A `factor` for `training.train`, by its name in `SCHEDULES`: as published, it halves after `every` steps."""
    return training.cosine(steps, end=0.05) if name == "cosine" else lambda step: 0.5 ** (step // every)


def asymmetry(shape: ensemble.Shape, codes: Tensor) -> Tensor:
    """How far the codes of pairs of anchors differ, on average."""
    first = shape.code_global
    right, left = codes[:, first : first + 2 * shape.pairs * shape.code_local].unflatten(1, (shape.pairs, 2, -1)).unbind(2)
    return (right - left).norm(dim=2).mean()


def train(
    name: str,
    people: People,
    config: Config,
    *,
    frame: str = FRAME,
    seed: int = 0,
    on_step: training.OnStep | None = None,
    resume: dict[str, Tensor] | None = None,
) -> priors.Learned:
    """Learn a network for all heads, which are in `frame`, and a code for each; the prior's own code is their mean."""
    if not len(people):
        raise ValueError(f"prior {name}: there is nobody to learn from")
    device = sdf.device(config.device)
    generator = torch.Generator().manual_seed(seed)
    network = config.shape.network(generator)
    if isinstance(network, ensemble.Ensemble):
        if people.anchors.shape[1] != network.shape.anchors:
            raise ValueError(f"prior {name}: expected {network.shape.anchors} anchors, the data have {people.anchors.shape[1]}")
        network.anchors.copy_(people.anchors.mean(dim=0))
    network = network.to(device)
    network.code.requires_grad_(False)
    first = torch.randn(len(people), config.shape.code, generator=generator) * (0.1 / math.sqrt(config.shape.code))
    codes = [nn.Parameter(code) for code in first.to(device)]  # one each: Adam leaves those alone that a step does not use
    named = {f"geometry.{key}": p for key, p in network.named_parameters() if key != "code"}
    decoder = list(named.values())
    named |= {f"codes.{index}": code for index, code in enumerate(codes)}
    optimizers = training.optimizers(
        training.Group(decoder, config.step_size, config.muon_step_size, config.weight_decay),
        training.Group(codes, config.code_step_size),
    )
    learner = training.Learner(f"prior {name}", named, optimizers, generator)
    anchors, count = people.anchors.to(device), min(config.heads, len(people))
    total, weights = config.steps, config.weights

    def step_of(step: int) -> dict[str, Tensor]:
        which = turn(len(people), step, count, seed)
        batch = Batch(*(part.to(device) for part in draw(people, which, config, generator)))
        if config.code_norm:
            shorten([codes[person] for person in which], config.code_norm)
        with parametrize.cached(), cuda_graph.tensor_cores():
            terms = losses(
                network, torch.stack([codes[person] for person in which]), batch, anchors[which], config.outside_radius
            )
            training.weighted_sum(terms, weights).backward()
        if config.clip:
            nn.utils.clip_grad_norm_(decoder, config.clip)
            nn.utils.clip_grad_norm_(codes, config.clip)
        training.end_step(optimizers)
        return terms

    factor = schedule(config.schedule, total, config.halved_every)
    state, history = training.train(learner, step_of, total, terms=weights, factor=factor, on_step=on_step, resume=resume)
    tensors = {key: state[key] for key in named if not key.startswith("codes.")}
    tensors |= {f"geometry.{key}": buffer.cpu() for key, buffer in network.named_buffers() if key == "anchors"}
    tensors["codes"] = torch.stack([state[f"codes.{index}"] for index in range(len(codes))])
    tensors["geometry.code"] = tensors["codes"].mean(dim=0)
    return priors.Learned(Prior(name, config.shape, 0, tensors, frame), history)
