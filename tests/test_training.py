"""The training loop on a tiny problem, and which optimizer takes which parameter."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from heads.methods import idr
from heads.surface import colour, optimizers, sdf, training

STEPS = 25
Walk = tuple[dict[str, Tensor], training.History]


def walk(steps: int = STEPS, far: float = 1.0, **options: Any) -> Walk:
    """Adam and Muon let two parameters follow random targets, from 0 to `far`; the last checkpoint, and the history."""
    named = {"matrix": torch.nn.Parameter(torch.ones(4, 5)), "bias": torch.nn.Parameter(torch.zeros(5))}
    groups = [training.Group([named["matrix"]], 0.1, 0.1), training.Group([named["bias"]], 0.2)]
    learner = training.Learner("walk", named, training.optimizers(*groups), torch.Generator().manual_seed(0))

    def step_of(step: int) -> dict[str, Tensor | float]:
        target = far * torch.rand(5, generator=learner.generator)
        terms = {"distance": (named["matrix"].sum(dim=0) + named["bias"] - target).square().sum()}
        terms["size"] = named["bias"].square().sum()
        training.weighted_sum(terms, {"distance": 1.0, "size": 0.1}).backward()
        training.end_step(learner.optimizers)
        return {"share": step / steps, "unnamed": 7.0, **terms}

    options = {"factor": training.cosine(steps, end=0.1)} | options
    return training.train(learner, step_of, steps, terms=("share", "distance"), **options)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def whole() -> Walk:
    return walk()


@pytest.mark.parametrize("stop", [1, 10, 13, STEPS])
def test_a_resumed_training_ends_where_an_undisturbed_one_does(whole: Walk, stop: int) -> None:
    states: dict[int, dict[str, Tensor]] = {}
    seen: list[int] = []

    def keep(step: int, total: int, terms: dict[str, float], state: training.StateOf) -> None:
        if step == stop:
            states[step] = state()

    assert same(walk(on_step=keep)[0], whole[0])
    state, history = walk(resume=states[stop], on_step=lambda step, total, terms, state: seen.append(step))
    assert same(state, whole[0]) and history == whole[1]
    assert seen == list(range(stop + 1, STEPS + 1))


def test_a_checkpoint_names_all_that_a_training_goes_on_from(whole: Walk) -> None:
    moments = ["matrix.momentum_buffer", "bias.step", "bias.exp_avg", "bias.exp_avg_sq"]
    expected = {"matrix", "bias", *(f"moments.{name}" for name in moments), "generator", "step", "history"}
    assert set(whole[0]) == expected and whole[0]["step"] == STEPS
    given: list[dict[str, Tensor]] = []
    walk(extra=lambda: {"grid": torch.ones(2)}, on_step=lambda step, total, terms, state: given.append(state()))
    assert set(given[-1]) == expected | {"grid"}


def test_a_row_is_written_every_so_often_and_at_the_end_with_the_named_terms(whole: Walk) -> None:
    assert [row["step"] for row in whole[1]] == [0, 10, 20, 24]
    assert all(list(row) == ["step", "share", "distance"] for row in whole[1])
    assert whole[1][1]["share"] == 10 / 25
    assert [row["step"] for row in walk(every=12)[1]] == [0, 12, 24]
    latest: list[float] = []
    walk(on_step=lambda step, total, terms, state: latest.append(terms["step"]))
    assert latest == [0] * 10 + [10] * 10 + [20] * 4 + [24]


def test_what_is_wrong_ends_a_training_with_its_name_and_step() -> None:
    with pytest.raises(ValueError, match=r"walk: before step 0, the training diverged \(share 0, unnamed 7, distance inf"):
        walk(far=1e30)
    with pytest.raises(ValueError, match="walk: before step 20, it is late"):
        walk(check=lambda losses: "it is late" if losses["share"] > 0.5 and losses["unnamed"] == 7 else "")


def test_no_checkpoint_is_made_of_numbers_that_are_not_finite() -> None:
    bias = torch.nn.Parameter(torch.tensor([0.0, math.nan]))
    learner = training.Learner("one", {"bias": bias}, training.optimizers(training.Group([bias], 0.1)), torch.Generator())
    with pytest.raises(ValueError, match="one: the training has diverged: after step 3, bias has"):
        training.state_of(learner, 3, [])


def test_every_parameter_has_one_optimizer_and_the_published_one_is_adam() -> None:
    geometry = sdf.ImplicitNetwork(replace(idr.LAPTOP.shape, code=8), torch.Generator())
    look = colour.ColourNetwork(idr.LAPTOP.colour_shape, torch.Generator())
    weights = [parameter for parameter in geometry.parameters() if parameter is not geometry.code]
    groups = [
        training.Group(weights, 1e-3, 2e-3),
        training.Group([geometry.code], 5e-3),
        training.Group([*look.parameters()], 1e-3, 4e-3),
    ]
    for chosen, kinds in (
        (groups, [optimizers.Adam, optimizers.Muon]),
        ([group._replace(muon_step_size=0.0) for group in groups], [optimizers.Adam]),
    ):
        made = training.optimizers(*chosen)
        assert [type(optimizer) for optimizer in made] == kinds
        taken = [parameter for optimizer in made for group in optimizer.param_groups for parameter in group["params"]]
        assert sorted(map(id, taken)) == sorted(map(id, [*geometry.parameters(), *look.parameters()]))
    geometry_matrices, colour_matrices = (group["params"] for group in training.optimizers(*groups)[1].param_groups)
    assert [tuple(matrix.shape) for matrix in geometry_matrices][::4] == [(128, 47), (65, 128)]  # the first and the last layer
    assert len(geometry_matrices) == 5 and len(colour_matrices) == 3  # not the last one of the colours, which has three rows


def test_step_sizes_follow_their_factor() -> None:
    at: list[Tensor] = []
    walk(factor=lambda step: float(step < 3), on_step=lambda step, total, terms, state: at.append(state()["bias"]))
    assert all(not torch.equal(one, other) for one, other in pairwise(at[:3]))
    assert all(torch.equal(one, at[2]) for one in at[3:])


def test_a_cosine_falls_from_one_to_its_end_and_is_half_way_in_the_middle() -> None:
    factor = training.cosine(10, end=0.2)
    assert [factor(step) for step in (0, 5, 10)] == pytest.approx([1.0, 0.6, 0.2])
