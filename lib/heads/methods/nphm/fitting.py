"""Fit NPM or NPHM to points: one identity, and an expression for each observation (`models/fitting.py`).

An observation is a cloud of points on a part of a head. Its points are led back to the neutral head by solving for the place that
the deformation moves onto them, and there the distance has to vanish.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from heads.methods import priors
from heads.methods.nphm import expression, identity
from heads.methods.nphm.heads import Model
from heads.surface import ensemble, sdf, training

ROOTS = ("fixed point", "broyden")
PARAMETERS = ("code", "whitened")
# The published changes: at this share of the steps, divide by so much.
_DIVIDED = {
    "step": {0.2: 2, 0.4: 2, 0.6: 2, 0.8: 2},
    "expression": {0.6: 10},
    "global": {0.2: 3, 0.6: 10},
    "local": {0.5: 3, 0.6: 10},
    "symmetry": {0.2: 10, 0.5: 9999},
}
FIXED_STEPS, FIXED_NEAR = 4, 0.004  # a point whose last step is longer (1 mm) has not been found
FEWEST = 0.05  # of the points that have to be near the fitted head
_CLAMPS = {0.0: 0.1, 0.25: 0.05, 0.5: 0.0075}  # from this share of the steps on, points that are farther away do not count


@dataclass(frozen=True)
class Config:
    """How `fit` works; the defaults are the published constants (`fitting_pointclouds.py`)."""

    steps: int = 1000
    observations: int = 5  # per step
    points: int = 1000  # of each
    step_size: float = 0.01
    parameter: str = "code"  # what is fitted: a code, or its deviation from the mean of those learned, in standard deviations
    root: str = "broyden"
    surface_weight: float = 2.0
    expression_weight: float = 0.01
    global_weight: float = 0.25
    local_weight: float = 0.05
    unobserved_weight: float = 10.0
    symmetry_weight: float = 5.0
    whitened_weight: float = 0.0  # of the mean squared deviation
    robust: bool = True  # as published, points that stay far from the head count no longer
    cell_mm: float = 2.0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, known in {"root": ROOTS, "parameter": PARAMETERS}.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        for name in ("steps", "observations", "points", "step_size", "cell_mm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")


PAPER = Config()
LAPTOP = replace(  # principal deviations instead of the published terms, a fixed point instead of Broyden's method (LOG.md)
    PAPER,
    steps=300,
    observations=9,
    points=150,
    step_size=0.2,
    parameter="whitened",
    root="fixed point",
    global_weight=0.0,
    local_weight=0.0,
    unobserved_weight=0.0,
    symmetry_weight=0.0,
    expression_weight=0.0,
    whitened_weight=2e-4,
)
SMOKE = replace(LAPTOP, steps=20, points=40, cell_mm=8.0)
PRESETS = {"PAPER": PAPER, "LAPTOP": LAPTOP, "SMOKE": SMOKE}


class Fitted(NamedTuple):
    """An identity's code (C,), a code (E, D) of each observation's expression, the history of the losses, and the share of the
    points that were near the head in the end."""

    identity: Tensor
    expressions: Tensor
    history: list[dict[str, float]]
    near: float


def check(name: str, points: Tensor) -> None:
    """ValueError for a cloud (N, 3) that no head can be fitted to."""
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ValueError(f"{name}: expected points (N, 3), at least one, not an array of shape {tuple(points.shape)}")
    if not bool(points.isfinite().all()):
        raise ValueError(f"{name}: {int((~points.isfinite()).any(dim=1).sum())} of {len(points)} points are not finite")
    extent = float((points.amax(dim=0) - points.amin(dim=0)).norm()) * identity.MM_PER_UNIT
    if not 30 < extent < 1000:
        raise ValueError(f"{name}: the points extend over {extent:.3g} mm; are they in millimetres, and of one head?")
    if float(points.norm(dim=1).median()) > 1:
        raise ValueError(
            f"{name}: half of the points are more than {identity.MM_PER_UNIT:g} mm from the origin; it has to be inside the head"
        )


def fit(
    name: str,
    model: Model,
    clouds: Sequence[Tensor],
    config: Config,
    *,
    posed: Sequence[bool] | None = None,
    seed: int = 0,
    on_step: training.OnStep | None = None,
) -> Fitted:
    """Fit one identity to all `clouds` (N, 3), in units of 250 mm, and an expression to each that is `posed`: by default all."""
    if not clouds:
        raise ValueError(f"{name}: there are no points")
    for number, cloud in enumerate(clouds):
        check(f"{name}: observation {number}", cloud)
    if posed is not None and len(posed) != len(clouds):
        raise ValueError(f"{name}: {len(clouds)} observations, but posed has {len(posed)} values")
    moving = [model.moves is not None] * len(clouds) if posed is None else list(posed)
    if any(moving) and (model.moves is None or model.expressions is None):
        raise ValueError(f"{name}: an observation with an expression needs a stage 2")
    device, generator = sdf.device(config.device), torch.Generator().manual_seed(seed)
    network = priors.network(model.identity, generator=generator).to(device).requires_grad_(False)
    moves = None if model.moves is None else copy.deepcopy(model.moves).to(device).requires_grad_(False)
    learned = {"identity": model.identity.tensors["codes"].to(device)}
    if model.expressions is not None:
        learned["expressions"] = model.expressions.to(device)
    sizes = {
        "identity": (1, model.identity.shape.code),
        "expressions": (len(clouds), learned["expressions"].shape[1] if moves else 0),
    }
    variables = {key: nn.Parameter(torch.zeros(size, device=device)) for key, size in sizes.items()}
    whitened = config.parameter == "whitened"
    scales = {key: (codes.mean(dim=0), codes.std(dim=0)) for key, codes in learned.items()}
    optimizers = training.optimizers(training.Group(list(variables.values()), config.step_size))
    learner = training.Learner(name, variables, optimizers, generator)
    points = [cloud.to(device) for cloud in clouds]
    unseen = _unseen(network, points) if config.unobserved_weight else None

    def codes_of(key: str) -> Tensor:
        if not whitened or key not in scales:
            return variables[key]
        mean, deviation = scales[key]
        return mean + deviation * variables[key]

    last_near = 0.0

    def step_of(step: int) -> dict[str, Tensor]:
        nonlocal last_near
        share = step / config.steps
        which = torch.randint(len(points), (min(config.observations, len(points)),), generator=generator).tolist()
        drawn = [points[one][torch.randint(len(points[one]), (config.points,), generator=generator)] for one in which]
        who, how = codes_of("identity"), codes_of("expressions")
        places = torch.cat(drawn)
        found = torch.ones(len(places), dtype=torch.bool, device=device)
        if moves is not None and any(moving[one] for one in which):
            anchors = network.places(who) if isinstance(network, ensemble.Ensemble) else None
            told = moves.condition(
                how[which], who.expand(len(which), -1), None if anchors is None else anchors.expand(len(which), -1, -1)
            )
            owner = torch.arange(len(which), device=device).repeat_interleave(config.points)
            back, found = neutral_places(moves, places, told, owner, config.root)
            still = torch.tensor([not moving[one] for one in which], device=device).repeat_interleave(config.points)
            places, found = torch.where(still[:, None], places, back), found | still
        away = network.distance(places, who, torch.zeros(len(places), dtype=torch.long, device=device)).abs()
        near = found & (away.detach() < (_at(_CLAMPS, share) if config.robust else _CLAMPS[0.0]))
        terms = {"surface": (away * near).sum() / near.sum().clamp(min=1)}
        if step == config.steps - 1:
            last_near = float(near.float().mean())
        terms |= _regular(network, who, how[which], unseen)
        rows = [variables["identity"], variables["expressions"][which]]
        terms["whitened"] = torch.stack([row.square().mean() for row in rows if row.numel()]).sum()
        weights = {key: getattr(config, f"{key}_weight") / _divided(key, share) for key in terms}
        training.weighted_sum(terms, {key: weight for key, weight in weights.items() if weight}).backward()
        training.end_step(optimizers)
        return terms

    factor = training.cosine(config.steps, end=0.05) if whitened else lambda step: 1 / _divided("step", step / config.steps)
    terms = ("surface", "whitened")
    _, history = training.train(learner, step_of, config.steps, terms=terms, factor=factor, on_step=on_step)
    if last_near < FEWEST:
        limit = _at(_CLAMPS, 1) if config.robust else _CLAMPS[0.0]
        raise ValueError(
            f"{name}: after step {config.steps}, {last_near:.0%} of the points are within {limit:g} units of the fitted head;"
            f" expected at least {FEWEST:.0%}; are they of a head, and in the frame of those that the model has learned?"
        )
    return Fitted(codes_of("identity")[0].detach().cpu(), codes_of("expressions").detach().cpu(), history, last_near)


def _at(table: Mapping[float, float], share: float) -> float:
    """The value of the last entry that begins by this share of the steps."""
    return [value for first, value in table.items() if share >= first][-1]


def _divided(name: str, share: float) -> float:
    """By how much a weight, or the step size, has been divided by this share of the steps."""
    found = 1.0
    for first, divisor in _DIVIDED.get(name, {}).items():
        found *= divisor if share >= first else 1
    return found


def _unseen(network: sdf.Network, points: Sequence[Tensor]) -> list[int]:
    """The anchors of the mean head that have no point within twice their reach, and the background.

    As published, these are always the same three: two at the back of the head, and the background.
    """
    if not isinstance(network, ensemble.Ensemble):
        return []
    nearest = torch.cdist(network.anchors, torch.cat(list(points))).amin(dim=1)
    return [*(nearest > 2 * network.shape.reach).nonzero()[:, 0].tolist(), network.shape.anchors]


def _regular(network: sdf.Network, who: Tensor, how: Tensor, unseen: list[int] | None) -> dict[str, Tensor]:
    """The published terms that keep codes short, and those of pairs of anchors alike."""
    terms = {"expression": how.square().sum(dim=1).mean()} if how.numel() else {}
    if not isinstance(network, ensemble.Ensemble):
        return terms | {"global": who.square().sum(dim=1).mean()}
    first = network.shape.code_global
    local = who[:, first:].unflatten(1, (-1, network.shape.code_local))
    terms |= {"global": who[:, :first].square().sum(dim=1).mean(), "local": local.square().sum(dim=(1, 2)).mean()}
    if unseen is not None:
        terms["unobserved"] = local[:, unseen].square().sum(dim=(1, 2)).mean()
    return terms | {"symmetry": identity.asymmetry(network.shape, who)}


# ---- back to the neutral head


def neutral_places(moves: expression.Deformation, posed: Tensor, told: Tensor, owner: Tensor, root: str) -> tuple[Tensor, Tensor]:
    """The places (N, 3) of the neutral head that the deformation moves to `posed` (N, 3), and which of them were found (N,).

    Their derivative with respect to `told` is that of the implicit function. The fixed point takes the deformation's Jacobian as
    nothing against the identity, for the places and for the derivative.
    """
    with torch.no_grad():
        if root == "fixed point":
            places = before = posed
            for _ in range(FIXED_STEPS):
                before, places = places, posed - moves(places, told, owner)
            found = (places - before).norm(dim=1) < FIXED_NEAR
        else:
            places, found = broyden(moves, posed, told, owner)
    if root == "fixed point":
        return posed - moves(places, told, owner), found
    moved, slope = moves.with_jacobian(places, told.detach(), owner)
    inverse = torch.linalg.inv(torch.eye(3, dtype=slope.dtype, device=slope.device) + slope.detach())
    change = moves(places, told, owner) - moved.detach()
    return places - torch.einsum("nij,nj->ni", inverse, change), found


def broyden(
    moves: expression.Deformation,
    posed: Tensor,
    told: Tensor,
    owner: Tensor,
    *,
    steps: int = 15,
    near: float = 1e-6,
    far: float = 0.2,
) -> tuple[Tensor, Tensor]:
    """Broyden's method for each point, begun with the true Jacobian (`iterative_root_finding.py`); the best place of each.

    A point is found where what is left is less than `near`; one with more than `far` left stops.
    """
    places = posed.clone()
    moved, slope = moves.with_jacobian(places, told, owner)
    inverse = torch.linalg.inv(torch.eye(3, dtype=slope.dtype, device=slope.device) + slope)
    left = places + moved - posed
    best, least = places.clone(), left.norm(dim=1)
    for _ in range(steps):
        going = (least > near) & (left.norm(dim=1) < far)
        if not bool(going.any()):
            break
        step = -torch.einsum("nij,nj->ni", inverse, left) * going[:, None]
        places = places + step
        after = places + moves(places, told, owner) - posed
        change = after - left
        towards = torch.einsum("ni,nij->nj", step, inverse)
        size = torch.einsum("nj,nj->n", towards, change)
        size = torch.where(size.abs() < 1e-12, torch.full_like(size, 1e-12), size)
        update = (step - torch.einsum("nij,nj->ni", inverse, change)) / size[:, None]
        inverse = inverse + torch.where(going[:, None, None], update[:, :, None] * towards[:, None], 0.0)
        left, distance = after, after.norm(dim=1)
        better = distance < least
        best, least = torch.where(better[:, None], places, best), torch.where(better, distance, least)
    return best, least < 1e-4
