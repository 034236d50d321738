"""Adam, and Muon, an optimizer for the matrices of a network (Jordan et al. 2024): the end of a training step.

torch has classes for both. Creating one of them imports torch's compiler, which is not used here, two seconds of every fit. And
`torch.optim.Muon` multiplies in bfloat16 whatever it is given: a processor without instructions for that, as in most laptops,
takes some fifteen times as long as with float32, longer than for all the rest of a step.
"""

from collections import defaultdict
from collections.abc import Iterable
from math import sqrt
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.adam import adam

QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's: brings singular values near one, not exactly to it, in five steps


class Optimizer:
    """Groups of parameters with a step size `lr` each, a tensor on their device, and the state of each parameter (`KEPT`)."""

    KEPT: ClassVar[tuple[str, ...]]

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        self.param_groups = [dict(group) for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self) -> None:
        """Update all parameters that have a gradient."""
        raise NotImplementedError


class Adam(Optimizer):
    """The same as torch's with `fused=True`, to the last bit."""

    KEPT = ("step", "exp_avg", "exp_avg_sq")

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            updated = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in updated:
                if not self.state[parameter]:
                    zeros = (parameter.new_zeros(()), torch.zeros_like(parameter), torch.zeros_like(parameter))
                    self.state[parameter] = dict(zip(self.KEPT, zeros, strict=True))
            steps, means, squares = ([self.state[parameter][name] for parameter in updated] for name in self.KEPT)
            adam(
                updated,
                [parameter.grad for parameter in updated],
                means,
                squares,
                [],
                steps,
                fused=True,
                capturable=group["lr"].device.type == "cuda",
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=group["lr"],
                weight_decay=group.get("weight_decay", 0.0),
                decoupled_weight_decay=True,
                eps=1e-8,
                maximize=False,
            )


class Muon(Optimizer):
    """Steps along the momentum with all its singular values near one, each as long as one of Adam's (Liu et al. 2025).

    All parameters are matrices. The same as torch's with `weight_decay=0` and `adjust_lr_fn="match_rms_adamw"`.
    """

    KEPT = ("momentum_buffer",)
    MOMENTUM = 0.95

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for matrix in (matrix for matrix in group["params"] if matrix.grad is not None):
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix)
                momentum = state["momentum_buffer"]
                momentum.lerp_(matrix.grad, 1 - self.MOMENTUM)
                update = orthogonal(matrix.grad.lerp(momentum, self.MOMENTUM))  # Nesterov's look-ahead
                matrix.sub_(update * (group["lr"] * 0.2 * sqrt(max(matrix.shape))))


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """A matrix (N, M) with its singular values brought near one, by Newton-Schulz iteration (Jordan et al. 2024)."""
    a, b, c = QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
