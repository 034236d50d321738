"""Stage 2 of NPM and NPHM: how a neutral head moves into an expression (`train_corresp.py`, `compute_loss_corresp_forward`).

A network takes a point of a neutral head, a code of the expression, and who it is, and says where the point goes. In NPHM who it
is comes through a narrow linear map of the identity's code and anchors; in NPM it is the identity's code as it is. The network
learns from points that correspond: near the face of a registered neutral head, and near the same face with an expression.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from heads.methods import priors
from heads.methods.nphm import identity
from heads.surface import cuda_graph, ensemble, sdf, training
from heads.surface.sdf import SHARPNESS

STARTS = ("random", "components")
STILL = ("anywhere", "head")
DEVIATION = 0.3  # of a code that starts from a principal component
REGULAR_CUBE = 1.25  # the published half side of the cube in which nothing else is to move


class People(identity.People, Protocol):
    """Registered heads with expressions, each person as many as any other."""

    @property
    def expressions(self) -> int: ...

    def correspondences(
        self, which: Sequence[tuple[int, int]], count: int, spread: Sequence[float], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """For each (person, expression) random points (W, count, 3) near a neutral face, and where the expression has them."""

    def still(self, person: int, count: int, generator: torch.Generator) -> Tensor:
        """Random points (count, 3) of a person's neutral head that no expression moves."""

    def motions(self) -> Tensor:
        """How some vertices move in each expression of each person (P E, K)."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a deformation; the defaults are NPHM's (`nphm_def.yaml`)."""

    width: int = 512
    depth: int = 6
    code: int = 200  # of an expression
    who: int = 32  # numbers that say who it is; 0: the whole identity code, as in NPM
    identity: int = 1344  # width of an identity's code
    anchors: int = 39  # of the identity's network; 0 for NPM

    def __post_init__(self) -> None:
        if min(self.width, self.code, self.identity) < 1 or min(self.who, self.anchors) < 0 or self.depth < 2:
            raise ValueError(f"a deformation must have positive sizes and depth >= 2, not {self}")
        if self.width <= self.inputs:
            raise ValueError(f"a deformation's width must exceed its {self.inputs} inputs, not {self.width}")

    @property
    def inputs(self) -> int:
        return 3 + self.code + (self.who or self.identity)


class Deformation(nn.Module):
    """Points (N, 3) of a neutral head -> how far they move (N, 3), for expressions (H, E) of people (H, C), by `owner` (N,)."""

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.shape, self.skip = shape, shape.depth // 2
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for index in range(shape.depth + 1):
            inputs = shape.inputs if index == 0 else shape.width
            outputs = 3 if index == shape.depth else shape.width - (shape.inputs if index + 1 == self.skip else 0)
            bound = (
                1 / math.sqrt(inputs) if index < shape.depth else 0.01 / math.sqrt(inputs)
            )  # a fresh one hardly moves anything
            self.weights.append(ensemble.uniform((outputs, inputs), bound, generator))
            self.biases.append(ensemble.uniform((outputs,), bound, generator))
        if shape.who:
            known = shape.identity + 3 * shape.anchors
            self.compress = ensemble.uniform((shape.who, known), 1 / math.sqrt(known), generator)

    def condition(self, expressions: Tensor, people: Tensor, places: Tensor | None, noise: Tensor | None = None) -> Tensor:
        """All that the network is told of each head (H, D); with anchors `places` (H, A, 3), where the identity has some."""
        if not self.shape.who:
            return torch.cat([expressions, people], dim=1)
        known = people if places is None else torch.cat([people, places.flatten(1)], dim=1)
        who = functional.linear(known, self.compress)
        return torch.cat([expressions, who if noise is None else who + noise], dim=1)

    def forward(self, x: Tensor, told: Tensor, owner: Tensor) -> Tensor:
        """How far points (N, 3) move, of the heads `owner` (N,) of whom `told` (H, D) is what `condition` says."""
        return self._run(x, told, owner, None)[0]

    def with_jacobian(self, x: Tensor, told: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and its derivative (N, 3, 3): the second index is that of the point's coordinate."""
        moved, slope = self._run(x, told, owner, torch.eye(3, dtype=x.dtype, device=x.device).expand(len(x), 3, 3))
        assert slope is not None
        return moved, slope.transpose(1, 2)

    def _run(self, x: Tensor, told: Tensor, owner: Tensor, slope: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The network, and with the directions `slope` (N, K, 3) the change (N, K, 3) along each."""
        hidden, first = x, slope
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if index in (0, self.skip):
                weight = weight / math.sqrt(2.0) if index else weight
                of_told = functional.linear(told, weight[:, -told.shape[1] :], bias).index_select(0, owner)
                weight = weight[:, : -told.shape[1]]
                hidden = torch.cat([hidden, x], dim=1) if index else x
                slope = torch.cat([slope, first], dim=2) if index and slope is not None and first is not None else slope
                before = of_told + functional.linear(hidden, weight)
            else:
                before = functional.linear(hidden, weight, bias)
            slope = None if slope is None else slope @ weight.T
            if index == self.shape.depth:
                return before, slope
            hidden = functional.softplus(before, beta=SHARPNESS)
            slope = None if slope is None else slope * torch.sigmoid(SHARPNESS * before)[:, None]
        raise AssertionError


@dataclass(frozen=True)
class Config:
    """How `train` works; the defaults are the published constants of NPHM (`nphm_def.yaml`)."""

    shape: Shape = field(default_factory=Shape)  # its widths of the identity's code and anchors are taken from the prior
    steps: int = 400_000  # the published 2,500 passes over the expressions of all people, in batches
    heads: int = 32  # per step
    points: int = 1000  # corresponding ones, per head and step
    spread: tuple[float, ...] = (0.01, 0.002)  # how far they lie off the surface
    step_size: float = 1e-4
    code_step_size: float = 5e-4
    schedule: str = "published"
    halved_every: int = 96_000  # steps; 600 passes
    weight_decay: float = 5e-4
    clip: float = 0.025  # of the network's gradient, and of the codes'
    code_norm: float = 1.0  # codes are never longer; 0: they may
    start: str = "random"  # the codes' values at first: random as published, or the motions' principal components
    noise: float = 1 / 200  # added to who it is while training, a deviation
    correspondence_weight: float = 100.0
    code_weight: float = 5e-5
    still_weight: float = 5e-5
    still: str = "anywhere"  # where nothing is to move: anywhere, as published, or where no expression moves a head
    still_points: int = 100  # of them, per head and step
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.schedule not in identity.SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(identity.SCHEDULES)}, not {self.schedule!r}")
        if self.start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(STARTS)}, not {self.start!r}")
        if self.still not in STILL:
            raise ValueError(f"still must be one of {', '.join(STILL)}, not {self.still!r}")
        for name in ("steps", "heads", "points", "still_points", "step_size", "code_step_size", "halved_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")


PAPER = Config()
LAPTOP = replace(
    PAPER,
    shape=Shape(width=128, depth=4, code=32, who=16),
    steps=4000,
    heads=64,
    points=32,
    step_size=3e-3,
    code_step_size=5e-3,
    schedule="cosine",
    weight_decay=0.0,
    clip=1.0,
    code_norm=0.0,
    start="components",
    still_weight=10.0,
    still="head",
    still_points=8,
)
SMOKE = replace(LAPTOP, shape=Shape(width=32, depth=3, code=8, who=4, identity=1, anchors=0), steps=60, heads=4)
PRESETS = {"PAPER": PAPER, "LAPTOP": LAPTOP, "SMOKE": SMOKE}
_SINGLE = {  # NPM's are told the whole identity; as published, no loss keeps the rest of space still
    "PAPER": Shape(width=1024, depth=8, who=0, identity=512, anchors=0),
    "LAPTOP": Shape(width=128, depth=4, code=32, who=0, identity=64, anchors=0),
    "SMOKE": Shape(width=32, depth=3, code=8, who=0, identity=8, anchors=0),
}
MODELS = {
    "nphm": PRESETS,
    "npm": {name: replace(preset, shape=_SINGLE[name]) for name, preset in PRESETS.items()}
    | {"PAPER": replace(PAPER, shape=_SINGLE["PAPER"], still_weight=0.0)},
}


def train(
    name: str,
    people: People,
    known: priors.Prior,
    config: Config,
    *,
    seed: int = 0,
    on_step: training.OnStep | None = None,
    resume: dict[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], training.History]:
    """Learn how the people of a stage 1, `known`, move: tensors `deformation.*` and `expressions` (P E, D), and the history."""
    if len(people) < len(known.tensors["codes"]):
        raise ValueError(f"expressions {name}: {len(people)} people, but the prior has learned {len(known.tensors['codes'])}")
    device, generator = sdf.device(config.device), torch.Generator().manual_seed(seed)
    shape = shape_for(known, config.shape)
    network = Deformation(shape, generator).to(device)
    codes = known.tensors["codes"].to(device)
    places = places_of(known, codes)
    total_heads = len(codes) * people.expressions
    first = torch.randn((total_heads, shape.code), generator=generator) * (0.1 / math.sqrt(shape.code))
    if config.start == "components":
        first = components(people.motions(), shape.code)[:total_heads]
    moves = [nn.Parameter(code) for code in first.to(device)]
    named = {f"deformation.{key}": p for key, p in network.named_parameters()}
    decoder = list(named.values())
    named |= {f"expressions.{index}": code for index, code in enumerate(moves)}
    optimizers = training.optimizers(
        training.Group(decoder, config.step_size, weight_decay=config.weight_decay),
        training.Group(moves, config.code_step_size),
    )
    learner = training.Learner(f"expressions {name}", named, optimizers, generator)
    count = min(config.heads, total_heads)
    weights = {key: getattr(config, f"{key}_weight") for key in ("correspondence", "code", "still")}

    def step_of(step: int) -> dict[str, Tensor]:
        which = identity.turn(total_heads, step, count, seed)
        who = [one // people.expressions for one in which]
        pairs = [(person, one % people.expressions) for person, one in zip(who, which, strict=True)]
        if config.code_norm:
            identity.shorten([moves[one] for one in which], config.code_norm)
        drawn = people.correspondences(pairs, config.points, config.spread, generator)
        neutral, posed = (part.flatten(0, 1).to(device) for part in drawn)
        noise = config.noise * torch.randn((count, shape.who), generator=generator) if shape.who and config.noise else None
        elsewhere = still_points(people, who, config, generator).flatten(0, 1).to(device)
        owner = torch.arange(count, device=device)
        with cuda_graph.tensor_cores():
            own = torch.stack([moves[one] for one in which])
            told = network.condition(
                own, codes[who], None if places is None else places[who], None if noise is None else noise.to(device)
            )
            moved = neutral + network(neutral, told, owner.repeat_interleave(config.points))
            terms = {"correspondence": (moved - posed).square().mean(), "code": own.square().sum(dim=1).mean()}
            terms["still"] = torch.zeros((), device=device)
            if config.still_weight:
                terms["still"] = network(elsewhere, told, owner.repeat_interleave(config.still_points)).square().mean()
            training.weighted_sum(terms, weights).backward()
        if config.clip:
            nn.utils.clip_grad_norm_(decoder, config.clip)
            nn.utils.clip_grad_norm_(moves, config.clip)
        training.end_step(optimizers)
        return terms

    total, factor = config.steps, identity.schedule(config.schedule, config.steps, config.halved_every)
    state, history = training.train(learner, step_of, total, terms=weights, factor=factor, on_step=on_step, resume=resume)
    tensors = {key: state[key] for key in named if key.startswith("deformation.")}
    return tensors | {"expressions": torch.stack([state[f"expressions.{index}"] for index in range(total_heads)])}, history


def still_points(people: People, who: Sequence[int], config: Config, generator: torch.Generator) -> Tensor:
    """Points (H, S, 3) of neutral heads that an expression is to leave where they are."""
    if config.still == "head":
        return torch.stack([people.still(person, config.still_points, generator) for person in who])
    return (2 * torch.rand((len(who), config.still_points, 3), generator=generator) - 1) * REGULAR_CUBE


def components(motions: Tensor, count: int) -> Tensor:
    """The motions (M, K) by `count` principal components (M, count), each of the same deviation; zero where there are fewer."""
    centred = motions - motions.mean(dim=0)
    values, vectors = torch.linalg.eigh((centred.T @ centred).double())
    largest = vectors[:, -count:].flip(1)
    found = centred.double() @ largest / (values[-count:].flip(0).clamp(min=1e-12) / len(motions)).sqrt()
    return DEVIATION * torch.nn.functional.pad(found.float(), (0, count - found.shape[1]))


def shape_for(known: priors.Prior, shape: Shape) -> Shape:
    """The shape with the widths of the identities that it is for."""
    anchors = known.shape.anchors if isinstance(known.shape, ensemble.Shape) else 0
    return replace(shape, identity=known.shape.code, anchors=anchors)


def places_of(known: priors.Prior, codes: Tensor) -> Tensor | None:
    """The anchors (H, A, 3) of identities (H, C), where their network has some."""
    network = priors.network(known, generator=torch.Generator()).to(codes.device)
    if not isinstance(network, ensemble.Ensemble):
        return None
    with torch.no_grad():
        return network.places(codes)


def restored(tensors: dict[str, Tensor], shape: dict[str, Any]) -> Deformation:
    """The network of a checkpoint; ValueError where its tensors are of another shape."""
    network = Deformation(Shape(**shape), torch.Generator())
    part = {key.removeprefix("deformation."): value for key, value in tensors.items() if key.startswith("deformation.")}
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    if wrong := [key for key in expected if key not in part or tuple(part[key].shape) != expected[key]]:
        found = tuple(part[wrong[0]].shape) if wrong[0] in part else "missing"
        raise ValueError(f"expressions: tensor deformation.{wrong[0]}: expected {expected[wrong[0]]}, found {found}")
    network.load_state_dict(part)
    return network
