"""What a reconstruction starts from: a prior, and the ways to make one.

A prior is named tensors. `geometry.*` is the implicit network; `colour.*` and `moments.*` (the optimizers') are there when it was
trained on photographs. `idr.fit` uses what it finds and makes the rest afresh, so it has no branch on the kind of prior.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heads.scene import Reconstruction
from heads.surface import sdf, trace
from heads.surface.optimizers import Adam, Muon, Optimizer

PARTS = ("geometry", "colour", "moments")


@dataclass(frozen=True)
class Prior:
    """A starting point: network tensors by name, the shape of the implicit network, and the epochs it was trained for."""

    name: str
    shape: sdf.Shape
    epoch: int
    tensors: dict[str, Tensor]


def sphere(shape: sdf.Shape, seed: int) -> Prior:
    """No prior at all: the geometric initialisation, the SDF of a sphere (IDR). The seed is that of its weights."""
    network = sdf.ImplicitNetwork(shape, torch.Generator().manual_seed(seed))
    return Prior("sphere", shape, 0, {f"geometry.{name}": value for name, value in network.state_dict().items()})


def single_scan(name: str, shape: sdf.Shape, epoch: int, reconstruction: Reconstruction) -> Prior:
    """Another person's reconstruction as a prior, BaseH3D-Net's: IDR trained on all views of that one subject."""
    return Prior(name, shape, epoch, reconstruction.tensors)


def carrying(prior: Prior, parts: Iterable[str]) -> Prior:
    """The prior with only the named parts of `PARTS`; what is left out is made afresh by the fit."""
    parts = tuple(parts)
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"a prior carries {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    kept = {*parts, "codes"} if "geometry" in parts else set(parts)
    return replace(prior, tensors={name: value for name, value in prior.tensors.items() if name.split(".")[0] in kept})


def network(prior: Prior, *, generator: torch.Generator, start_code: str = "mean") -> sdf.ImplicitNetwork:
    """The prior's implicit network, or a fresh sphere drawn from `generator` where it carries no geometry.

    One that holds many heads starts with the code that the prior has, the mean of its training heads' codes, or with zero.
    """
    net = sdf.ImplicitNetwork(prior.shape, generator)
    weights = part(prior, "geometry")
    if weights:
        net.load_state_dict(weights)
    if start_code == "zero":
        torch.nn.init.zeros_(net.code)
    return net


def inside_share(field: sdf.SDF, resolution: int = 48) -> float:
    """The share of the cube [-1, 1]^3 in which the field is negative, on a grid; the unit ball has 0.52 of it."""
    return float((field(trace.lattice(resolution)) < 0).float().mean())


def check_surface(prior: Prior, resolution: int = 24) -> None:
    """ValueError for a prior that no fit can start from: numbers that are not finite, or no surface inside the unit sphere.

    Rays are traced inside that sphere only. Where the field is negative on most of it, they hit where they enter it.
    """
    for name, tensor in prior.tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"prior {prior.name}: {name} has numbers that are not finite; its training has diverged")
    if not part(prior, "geometry"):
        return  # the fit makes a sphere
    field = sdf.distance(network(prior, generator=torch.Generator()))
    points = trace.lattice(resolution)
    values = field(points)
    inside = values[points.norm(dim=1) < 1] < 0
    at_entry = field(torch.nn.functional.normalize(points, dim=1)) < 0
    if not bool(values.isfinite().all()):
        said = "is not a number everywhere"
    elif not bool(inside.any()):
        said = "is nowhere negative in the unit sphere"
    elif at_entry.float().mean() > 0.5:
        said = f"is negative on {at_entry.float().mean():.0%} of the unit sphere"
    else:
        return
    raise ValueError(
        f"prior {prior.name}: no surface to start from: its field {said}, and in {(values < 0).float().mean():.0%} of the cube"
        " around it; is it an average of networks that were trained from independent starts?"
    )


def part(prior: Prior, prefix: str) -> dict[str, Tensor]:
    """The tensors below `prefix`, without it."""
    return {name.removeprefix(prefix + "."): value for name, value in prior.tensors.items() if name.startswith(prefix + ".")}


Named = dict[str, torch.nn.Parameter]
History = list[dict[str, float]]


class Group(NamedTuple):
    """Parameters that are trained alike: the step size of Adam and, for those that are matrices, of Muon (0: Adam's too)."""

    parameters: Sequence[torch.nn.Parameter]
    step_size: float
    muon_step_size: float = 0.0


def optimizers(*groups: Group) -> list[Optimizer]:
    """Adam for all parameters; or Muon for the matrices of the groups with a step size for it, Adam for the rest.

    Muon (Jordan et al. 2024) steps along the momentum with all its singular values set to one, here scaled to the size of a step
    of Adam's (Liu et al. 2025). A layer of three rows or fewer is no matrix. A group's own step size stays readable as `base`.
    """
    by_adam: list[dict[str, Any]] = []
    by_muon: list[dict[str, Any]] = []
    for group in groups:
        wide = [group.muon_step_size > 0 and p.ndim == 2 and min(p.shape) > 3 for p in group.parameters]
        matrices = [p for p, chosen in zip(group.parameters, wide, strict=True) if chosen]
        by_adam.append(
            {"params": [p for p, chosen in zip(group.parameters, wide, strict=True) if not chosen], "base": group.step_size}
        )
        if matrices:
            by_muon.append({"params": matrices, "base": group.muon_step_size})
    device = groups[0].parameters[0].device
    for made in (*by_adam, *by_muon):
        made["lr"] = torch.tensor(made["base"], device=device)  # no number, so that a recorded step can look it up
    return [Adam(by_adam), Muon(by_muon)] if by_muon else [Adam(by_adam)]


def begin_step(optimizers: Sequence[Optimizer], factor: float) -> None:
    """Forget the gradients, and set each group's step size to `factor` times its own."""
    for optimizer in optimizers:
        optimizer.zero_grad()
        for group in optimizer.param_groups:
            group["lr"].fill_(group["base"] * factor)


def state_of(
    optimizers: Sequence[Optimizer], named: Named, generator: torch.Generator, step: int, history: History
) -> dict[str, Tensor]:
    """All that a training needs to go on after `step`: copies of the named parameters, of what its optimizer keeps for each
    (below `moments.`), and the generator, the step, and the history's rows. ValueError for one that has diverged, so
    that no checkpoint of it takes the place of an earlier one.
    """
    for name, parameter in named.items():
        if not bool(parameter.isfinite().all()):
            raise ValueError(f"the training has diverged: after step {step}, {name} has numbers that are not finite")
    tensors = {name: parameter.detach().cpu().clone() for name, parameter in named.items()}
    for optimizer in optimizers:
        for name, parameter in named.items():
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"moments.{name}.{key}"] = value.detach().cpu().clone()
    rows = torch.tensor([list(row.values()) for row in history], dtype=torch.float64)
    return tensors | {"generator": generator.get_state(), "step": torch.tensor(step), "history": rows}


def go_on(
    optimizers: Sequence[Optimizer],
    named: Named,
    generator: torch.Generator,
    state: dict[str, Tensor],
    terms: Sequence[str],
) -> tuple[int, History]:
    """Put a training back where `state_of` left it; its step and its history, whose rows have the names `terms`."""
    for name, parameter in named.items():
        parameter.data.copy_(state[name])
    load_moments(optimizers, named, {name.removeprefix("moments."): value for name, value in state.items()})
    generator.set_state(state["generator"].cpu())
    return int(state["step"]), [dict(zip(terms, row, strict=True)) for row in state["history"].tolist()]


def load_moments(optimizers: Sequence[Optimizer], named: Named, moments: dict[str, Tensor]) -> None:
    """Give each optimizer the moments that are there of its own kind, `<parameter>.exp_avg` for one."""
    names = {parameter: name for name, parameter in named.items()}
    for optimizer in optimizers:
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            keys = {key: f"{names[parameter]}.{key}" for key in optimizer.KEPT}
            if set(keys.values()) <= set(moments):
                optimizer.state[parameter] = {key: moments[name].clone().to(parameter.device) for key, name in keys.items()}
