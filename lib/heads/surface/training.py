"""The training loop of everything that learns here: its step sizes, the history of its losses, its checkpoints.

A method says what one step does. A checkpoint is named tensors: the parameters under their own names, what an optimizer keeps for
each of them under `moments.<name>.<key>`, then the generator's state, the number of steps done, and the history.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import cos, isfinite, pi
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from heads.surface.optimizers import Adam, Muon, Optimizer

History = list[dict[str, float]]
StateOf = Callable[[], dict[str, Tensor]]


class OnStep(Protocol):
    """Called after each step: how many of `total` are done, the latest row of losses, and a function that makes a checkpoint."""

    def __call__(self, step: int, total: int, terms: dict[str, float], state: StateOf) -> None: ...


class Learner(NamedTuple):
    """What a training changes: parameters by name, their optimizers, the generator of random numbers. `name` is for errors."""

    name: str
    named: dict[str, nn.Parameter]
    optimizers: list[Optimizer]
    generator: torch.Generator


class Group(NamedTuple):
    """Parameters that share a step size for Adam and one for Muon, which takes their matrices; if it is 0, so does Adam.

    `weight_decay` is Adam's, decoupled from the gradient (AdamW).
    """

    parameters: Sequence[nn.Parameter]
    step_size: float
    muon_step_size: float = 0.0
    weight_decay: float = 0.0


def check_finite(losses: dict[str, float]) -> str:
    """What is wrong with a step's losses: that one is not finite; empty if nothing is."""
    said = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
    return "" if all(isfinite(value) for value in losses.values()) else f"the training diverged ({said})"


def train(
    learner: Learner,
    step_of: Callable[[int], Mapping[str, Tensor | float]],
    total: int,
    *,
    terms: Iterable[str],
    factor: Callable[[int], float],
    check: Callable[[dict[str, float]], str] = check_finite,
    extra: StateOf = dict,
    on_step: OnStep | None = None,
    resume: dict[str, Tensor] | None = None,
    every: int = 10,
) -> tuple[dict[str, Tensor], History]:
    """Take steps 0 to `total` - 1, or those left after the checkpoint `resume`; returns the last checkpoint and the history.

    `step_of(step)` draws from the learner's generator, backpropagates, calls `end_step`, and returns scalars. At every `every`-th
    step and the last, those named in `terms` become a row of the history, and `check` is given them all; what it finds wrong
    becomes a ValueError. Step sizes are multiplied by `factor(step)`. `extra` makes what else belongs in a checkpoint; the
    caller restores that.
    """
    terms = tuple(terms)
    first, history = (0, []) if resume is None else go_on(learner, resume, ("step", *terms))

    def state(step: int) -> dict[str, Tensor]:
        return state_of(learner, step, history) | extra()

    for step in range(first, total):
        begin_step(learner.optimizers, factor(step))
        found = step_of(step)
        if step % every == 0 or step == total - 1:
            losses = {name: value.item() if isinstance(value, Tensor) else value for name, value in found.items()}
            if wrong := check(losses):
                raise ValueError(f"{learner.name}: before step {step}, {wrong}")
            history.append({"step": float(step)} | {name: losses[name] for name in terms})
        if on_step is not None:
            on_step(step + 1, total, history[-1], partial(state, step + 1))
    return state(total), history


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The terms that have a weight, each times that, added up in the order of the weights."""
    return sum((weight * terms[name] for name, weight in weights.items()), torch.zeros(()))


def cosine(total: int, end: float) -> Callable[[int], float]:
    """A `factor` for `train` that falls from 1 to `end` over `total` steps, along half a period of a cosine."""
    return lambda step: end + (1 - end) / 2 * (1 + cos(pi * step / total))


def optimizers(*groups: Group) -> list[Optimizer]:
    """Adam for all parameters; or Muon for the matrices of the groups with a step size for it, Adam for the rest.

    Muon (Jordan et al. 2024) steps along the momentum with all its singular values set to one, here scaled to the size of a step
    of Adam's (Liu et al. 2025). A layer of three rows or fewer does not count as a matrix.
    """
    device = groups[0].parameters[0].device

    def alike(parameters: list[nn.Parameter], step_size: float, weight_decay: float) -> dict[str, Any]:
        size = torch.tensor(step_size, device=device)  # a tensor, so that a recorded step reads its current value
        return {"params": parameters, "base": step_size, "lr": size, "weight_decay": weight_decay}

    by_adam, by_muon = [], []
    for group in groups:
        matrices = {p for p in group.parameters if group.muon_step_size > 0 and p.ndim == 2 and min(p.shape) > 3}
        by_adam.append(alike([p for p in group.parameters if p not in matrices], group.step_size, group.weight_decay))
        if matrices:
            by_muon.append(alike([p for p in group.parameters if p in matrices], group.muon_step_size, group.weight_decay))
    return [Adam(by_adam), Muon(by_muon)] if by_muon else [Adam(by_adam)]


def begin_step(optimizers: Sequence[Optimizer], factor: float) -> None:
    """Forget the gradients, and set each group's step size to `factor` times its own."""
    for optimizer in optimizers:
        optimizer.zero_grad()
        for group in optimizer.param_groups:
            group["lr"].fill_(group["base"] * factor)


def end_step(optimizers: Sequence[Optimizer]) -> None:
    """Move the parameters along their gradients."""
    for optimizer in optimizers:
        optimizer.step()


def state_of(learner: Learner, step: int, history: History) -> dict[str, Tensor]:
    """A checkpoint after `step` steps; ValueError for a training that has diverged, so that it replaces no earlier checkpoint."""
    for name, parameter in learner.named.items():
        if not bool(parameter.isfinite().all()):
            raise ValueError(f"{learner.name}: the training has diverged: after step {step}, {name} has non-finite values")
    tensors = {name: parameter.detach().cpu().clone() for name, parameter in learner.named.items()}
    for optimizer in learner.optimizers:
        for name, parameter in learner.named.items():
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"moments.{name}.{key}"] = value.detach().cpu().clone()
    rows = torch.tensor([list(row.values()) for row in history], dtype=torch.float64)
    return tensors | {"generator": learner.generator.get_state(), "step": torch.tensor(step), "history": rows}


def go_on(learner: Learner, state: dict[str, Tensor], names: Sequence[str]) -> tuple[int, History]:
    """Put a learner back where `state_of` found it; the steps done by then, and the history, whose rows have these `names`."""
    for name, parameter in learner.named.items():
        parameter.data.copy_(state[name])
    load_moments(learner, {name.removeprefix("moments."): value for name, value in state.items()})
    learner.generator.set_state(state["generator"].cpu())
    return int(state["step"]), [dict(zip(names, row, strict=True)) for row in state["history"].tolist()]


def load_moments(learner: Learner, moments: dict[str, Tensor]) -> None:
    """Give each optimizer those of the `moments`, named `<parameter>.<key>`, that are of its own kind."""
    names = {parameter: name for name, parameter in learner.named.items()}
    for optimizer in learner.optimizers:
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            keys = {key: f"{names[parameter]}.{key}" for key in optimizer.KEPT}
            if set(keys.values()) <= set(moments):
                optimizer.state[parameter] = {key: moments[name].clone().to(parameter.device) for key, name in keys.items()}
