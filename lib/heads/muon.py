"""Muon, an optimizer for the matrices of a network (Jordan et al. 2024), in the numbers of its parameters.

`torch.optim.Muon` multiplies in bfloat16 whatever it is given. A processor without instructions for that, as in most laptops,
takes some fifteen times as long for it as for float32, longer than for all the rest of a step.
"""

from collections.abc import Iterable
from math import sqrt
from typing import Any

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's: brings singular values near one, rather than to it, in five steps


class Muon(torch.optim.Optimizer):
    """Steps along the momentum with all its singular values near one, each as long as one of Adam's (Liu et al. 2025).

    `params` are matrices, or groups of them. The same as torch's with `weight_decay=0` and `adjust_lr_fn="match_rms_adamw"`.
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float = 1e-3, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure: nobody here has one
        """Move all parameters that have a gradient."""
        for group in self.param_groups:
            for matrix in (matrix for matrix in group["params"] if matrix.grad is not None):
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix)
                momentum = state["momentum_buffer"]
                momentum.lerp_(matrix.grad, 1 - group["momentum"])
                update = orthogonal(matrix.grad.lerp(momentum, group["momentum"]))  # Nesterov's look ahead
                matrix.sub_(update * (group["lr"] * 0.2 * sqrt(max(matrix.shape))))


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """A matrix (N, M) with its singular values near one instead, by Newton and Schulz's iteration (Jordan et al. 2024)."""
    a, b, c = QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
