"""The blended field against a slow twin that computes every network at every point, in double precision."""

import math

import pytest
import torch
from torch import Tensor

from heads.surface import ensemble
from heads.surface.ensemble import Ensemble, Shape

SHAPE = Shape(width=40, feature=3, pairs=3, middle=2, code_global=6, code_local=4, places_width=16, nearest=8)


def made(shape: Shape = SHAPE, seed: int = 0) -> Ensemble:
    generator = torch.Generator().manual_seed(seed)
    network = Ensemble(shape, generator).double()
    network.anchors.copy_(0.3 * torch.randn(network.anchors.shape, generator=generator, dtype=torch.float64))
    return network


def drawn(network: Ensemble, count: int = 50, heads: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Points, codes of several heads, and whose the points are."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((count, 3), generator=generator, dtype=torch.float64) - 0.5
    codes = 0.5 * torch.randn((heads, network.shape.code), generator=generator, dtype=torch.float64)
    return x, codes, torch.randint(heads, (count,), generator=generator)


def twin(network: Ensemble, x: Tensor, code: Tensor) -> Tensor:
    """Distance and features (1 + F,) at one point (3,) for one code (C,), network by network."""
    shape = network.shape
    places = network.places(code[None])[0]
    logits = torch.cat([-(x - places).square().sum(1) / shape.reach**2, x.new_tensor([ensemble.BACKGROUND])])
    share = logits.softmax(0)
    t = ((share - ensemble.FADE[0]) / (ensemble.FADE[1] - ensemble.FADE[0])).clamp(0, 1)
    amount = share * t * t * (3 - 2 * t)
    total = x.new_zeros(1 + shape.feature)
    for k in range(shape.anchors + 1):
        local = x - places[k] if k < shape.anchors else x
        if k < 2 * shape.pairs and k % 2:
            local = local * x.new_tensor([-1.0, 1.0, 1.0])
        own = code[shape.code_global + k * shape.code_local :][: shape.code_local]
        given = torch.cat([local, code[: shape.code_global], own])
        weights = k // 2 if k < 2 * shape.pairs else k - shape.pairs
        hidden = given
        for layer in range(shape.depth + 1):
            if layer == shape.depth // 2:
                hidden = torch.cat([hidden, given]) / math.sqrt(2)
            hidden = network.weights[layer][weights] @ hidden + network.biases[layer][weights]
            if layer < shape.depth:
                hidden = torch.nn.functional.softplus(hidden, beta=100)
        total = total + amount[k] * hidden
    return total / amount.sum()


@pytest.mark.parametrize("fixed", [False, True])
def test_only_the_networks_that_count_are_computed_and_the_field_is_that_of_all(fixed: bool) -> None:
    network = made()
    network.fixed = fixed
    x, codes, owner = drawn(network)
    expected = torch.stack([twin(network, point, codes[head]) for point, head in zip(x, owner, strict=True)])
    value, _, features = network.with_gradient(x, codes, owner)
    assert torch.allclose(value, expected[:, 0], atol=1e-12) and torch.allclose(features, expected[:, 1:], atol=1e-12)
    assert torch.allclose(network.distance(x, codes, owner), value, atol=1e-12)
    assert torch.allclose(network(x, codes, owner), expected, atol=1e-12)
    counted = network._blocks(network._shares(x, network.places(codes), owner)[0] * 0 + 1)
    assert len(counted.point) == len(x) * (SHAPE.nearest if fixed else SHAPE.anchors + 1)


def test_the_written_gradient_is_that_of_the_field_and_can_be_differentiated() -> None:
    network = made()
    x, codes, owner = drawn(network, 20)
    x.requires_grad_(True)
    codes.requires_grad_(True)
    _, gradient, _ = network.with_gradient(x, codes, owner)
    (expected,) = torch.autograd.grad(network.distance(x, codes, owner).sum(), x, create_graph=True)
    assert torch.allclose(gradient, expected, atol=1e-9)
    ours = torch.autograd.grad((gradient.norm(dim=1) - 1).square().sum(), [codes, *network.weights, *network.places_weights])
    theirs = torch.autograd.grad((expected.norm(dim=1) - 1).square().sum(), [codes, *network.weights, *network.places_weights])
    assert all(torch.allclose(one, other, atol=1e-7) for one, other in zip(ours, theirs, strict=True))


def test_the_field_has_no_creases_where_networks_begin_and_cease_to_count() -> None:
    network = made()
    _, codes, _ = drawn(network)
    start, end = torch.tensor([[-0.5, -0.4, -0.3], [0.5, 0.4, 0.45]], dtype=torch.float64)
    along = torch.linspace(0, 1, 20001, dtype=torch.float64)[:, None]
    value, gradient, _ = network.with_gradient(start + along * (end - start), codes[0])
    step = (end - start) / 20000
    assert (value.diff() - gradient[:-1] @ step).abs().max() < 5e-6  # a network that is cut off leaves a jump of 1e-3


def test_the_two_of_a_pair_are_mirror_images() -> None:
    shape = Shape(width=40, feature=2, pairs=3, middle=2, code_global=6, code_local=4, places_width=16, reach=0.02, nearest=8)
    network = made(shape)
    with torch.no_grad():
        network.anchors[1::2][: shape.pairs] = network.anchors[0::2][: shape.pairs] * torch.tensor([-1.0, 1, 1])
        for parameter in [*network.places_weights, *network.places_biases]:
            parameter.zero_()
    code = drawn(network)[1][0]
    pairs = code[6 : 6 + 24].view(3, 2, 4)
    pairs[:, 1] = pairs[:, 0]
    right = network.anchors[:6:2] + 0.001
    left = right * torch.tensor([-1.0, 1, 1])
    assert torch.allclose(network(right, code), network(left, code), atol=1e-9)


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"width": 13}, "must exceed the 13 inputs"), ({"pairs": 0}, "positive sizes"), ({"nearest": 9}, "at most 8 nearest")],
)
def test_impossible_sizes_are_refused(changed: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Shape(**{"width": 40, "pairs": 3, "middle": 2, "code_global": 6, "code_local": 4, "nearest": 8} | changed)
