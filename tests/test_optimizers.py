"""Adam and Muon: the same steps as torch's own, without Muon's rounding."""

import subprocess
import sys

import pytest
import torch

from heads.surface import optimizers, training

SHAPES = ((128, 47), (128, 128), (65, 128), (4, 9))


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_one_and_singular_vectors_are_kept(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ optimizers.orthogonal(matrix, steps=7) @ right.T
    values = inner.diagonal()
    assert values.min() > 0.5 and values.max() < 1.3
    torch.testing.assert_close(inner, torch.diag(values), atol=1e-9, rtol=0)


def test_zero_stays_zero() -> None:
    assert not optimizers.orthogonal(torch.zeros((5, 3))).any()


def test_muon_steps_equal_those_of_torch_except_for_rounding() -> None:
    """bfloat16 keeps eight bits; the two agree to one or two hundredths of a step, even after ten steps."""
    chance = torch.Generator().manual_seed(1)
    start = [torch.randn(shape, generator=chance) for shape in SHAPES]
    ours, theirs = ([torch.nn.Parameter(matrix.clone()) for matrix in start] for _ in range(2))
    groups = [[{"params": of[:2], "lr": 1e-2}, {"params": of[2:], "lr": 3e-2}] for of in (ours, theirs)]
    both = optimizers.Muon(groups[0]), torch.optim.Muon(groups[1], weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for _ in range(10):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=chance)
            other.grad = mine.grad.clone()
        for optimizer in both:
            optimizer.step()
    for mine, other, began in zip(ours, theirs, start, strict=True):
        assert (mine - other).norm() < 0.02 * (other - began).norm()


def test_adam_steps_equal_those_of_torch_with_new_step_sizes_too() -> None:
    chance = torch.Generator().manual_seed(2)
    start = [torch.randn(shape, generator=chance) for shape in ((64, 7), (5,), ())]
    ours, theirs = ([torch.nn.Parameter(tensor.clone()) for tensor in start] for _ in range(2))
    mine = training.optimizers(training.Group(ours[:2], 1e-2), training.Group(ours[2:], 3e-2))
    theirs_by_size = [{"params": theirs[:2], "lr": torch.tensor(1e-2)}, {"params": theirs[2:], "lr": torch.tensor(3e-2)}]
    other = torch.optim.Adam(theirs_by_size, fused=True)
    for number in range(6):
        factor = 0.5 if number > 3 else 1.0
        training.begin_step(mine, factor)
        for group, size in zip(other.param_groups, (1e-2, 3e-2), strict=True):
            group["lr"].fill_(size * factor)
        for one, of_torch in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=chance)
            of_torch.grad = one.grad.clone()
        ours[1].grad = theirs[1].grad = None if number % 2 else ours[1].grad  # one without a gradient stays where it is
        mine[0].step()
        other.step()
    assert all(torch.equal(one, of_torch) for one, of_torch in zip(ours, theirs, strict=True))
    assert mine[0].state[ours[1]]["step"] == 3


def test_a_fit_does_not_wait_for_the_compiler_of_torch() -> None:
    """Its import takes two seconds."""
    imports = "import sys; from heads.methods import priors; from heads.surface import training; import torch"
    create = "p = torch.nn.Parameter(torch.ones(4, 5)); found = training.optimizers(training.Group([p], 0.1, 0.1))"
    step = "p.sum().backward(); [one.step() for one in found]; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"{imports}\n{create}\n{step}"], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
