"""Muon: the step that torch's own takes, without its rounding."""

import pytest
import torch

from heads import muon

SHAPES = ((128, 47), (128, 128), (65, 128), (4, 9))


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_one_and_the_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ muon.orthogonal(matrix, steps=7) @ right.T
    values = inner.diagonal()
    assert values.min() > 0.5 and values.max() < 1.3
    torch.testing.assert_close(inner, torch.diag(values), atol=1e-9, rtol=0)


def test_nothing_stays_nothing() -> None:
    assert not muon.orthogonal(torch.zeros((5, 3))).any()


def test_its_steps_are_those_of_torch_but_for_the_rounding() -> None:
    """bfloat16 keeps eight bits; the two agree to one or two hundredths of a step, and after ten steps still."""
    chance = torch.Generator().manual_seed(1)
    start = [torch.randn(shape, generator=chance) for shape in SHAPES]
    ours, theirs = ([torch.nn.Parameter(matrix.clone()) for matrix in start] for _ in range(2))
    groups = [[{"params": of[:2], "lr": 1e-2}, {"params": of[2:], "lr": 3e-2}] for of in (ours, theirs)]
    optimizers = (muon.Muon(groups[0]), torch.optim.Muon(groups[1], weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
    for _ in range(10):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=chance)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, other, began in zip(ours, theirs, start, strict=True):
        assert (mine - other).norm() < 0.02 * (other - began).norm()
