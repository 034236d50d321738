"""The implicit network against closed forms and finite differences."""

import pytest
import torch

from heads.surface import sdf

SMALL = sdf.Shape(width=64, depth=4, feature=8)


def fresh(shape: sdf.Shape = SMALL) -> sdf.ImplicitNetwork:
    return sdf.ImplicitNetwork(shape, torch.Generator().manual_seed(0))


def test_encoding_has_the_published_order_without_pi() -> None:
    x = torch.tensor([[0.1, -0.2, 0.3]])
    waves = [f(x * scale) for scale in (1, 2) for f in (torch.sin, torch.cos)]
    assert torch.equal(sdf.encode(x, 2), torch.cat([x, *waves], dim=1))


def test_published_shape_has_the_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in fresh(sdf.Shape()).parameters()) == 1_975_220


def test_fresh_network_is_the_sdf_of_a_sphere() -> None:
    network = fresh(sdf.Shape(width=256, depth=8, feature=8))
    directions = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(1)), dim=1)
    for radius in (0.4, 0.6, 0.9):
        value, gradient, _ = network.with_gradient(radius * directions)
        assert abs(value.mean().item() - (radius - 0.6)) < 0.1
        assert (torch.nn.functional.normalize(gradient, dim=1) * directions).sum(1).mean() > 0.95


def test_gradient_agrees_with_finite_differences() -> None:
    network = fresh().double()
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) / 2
    _, gradient, _ = network.with_gradient(x)
    field = sdf.distance(network)
    for axis in range(3):
        offset = 1e-6 * torch.eye(3, dtype=torch.float64)[axis]
        assert torch.allclose(gradient[:, axis], (field(x + offset) - field(x - offset)) / 2e-6, atol=1e-5)


@pytest.mark.parametrize("shape", [SMALL, sdf.Shape(64, 2, 8, octaves=0), sdf.Shape(64, 3, 8, octaves=2, code=7)])
def test_the_written_out_gradient_and_its_derivative_agree_with_autograd(shape: sdf.Shape) -> None:
    generator = torch.Generator().manual_seed(3)
    network = fresh(shape).double()
    with torch.no_grad():
        for parameter in network.parameters():  # away from the sphere, which ignores waves and code
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    x = torch.randn(20, 3, generator=generator, dtype=torch.float64).requires_grad_()
    value, gradient, feature = network.with_gradient(x)
    output = network(x)
    (slow,) = torch.autograd.grad(output[:, 0].sum(), x, create_graph=True)
    assert torch.allclose(torch.cat([value[:, None], feature], dim=1), output)
    assert torch.allclose(network.distance(x), value)
    assert torch.allclose(gradient, slow, rtol=1e-6)
    inputs = [x, *(p for name, p in network.named_parameters() if p.numel() and "layers.0.bias" not in name)]
    for ours, theirs in zip(
        torch.autograd.grad(gradient.norm(dim=1).sum() + feature.square().sum(), inputs),
        torch.autograd.grad(slow.norm(dim=1).sum() + output[:, 1:].square().sum(), inputs),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


def test_gradients_reach_the_weights_through_the_normals() -> None:
    network = fresh()
    _, gradient, _ = network.with_gradient(torch.rand(5, 3))
    gradient.norm(dim=1).sum().backward()
    assert all(p.grad is not None for name, p in network.named_parameters() if "original1" in name)


def test_distance_does_not_depend_on_the_chunk_and_accepts_zero_points() -> None:
    network, x = fresh(), torch.rand(1000, 3)
    assert torch.allclose(sdf.distance(network)(x), sdf.distance(network, chunk=77)(x), atol=1e-6)
    assert sdf.distance(network)(x[:0]).shape == (0,)


def test_the_seed_determines_the_weights() -> None:
    same, other = fresh(), sdf.ImplicitNetwork(SMALL, torch.Generator().manual_seed(1))
    weights = [p.flatten() for p in fresh().parameters()]
    assert torch.equal(torch.cat(weights), torch.cat([p.flatten() for p in same.parameters()]))
    assert not torch.equal(torch.cat(weights), torch.cat([p.flatten() for p in other.parameters()]))


def test_an_invalid_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="depth"):
        sdf.Shape(depth=1)
    with pytest.raises(ValueError, match="39"):
        sdf.Shape(width=39)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_reported() -> None:
    with pytest.raises(ValueError, match=r"'cuda': torch .* finds no GPU here"):
        sdf.device("cuda")
    assert sdf.device("cpu") == torch.device("cpu")
