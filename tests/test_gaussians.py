"""Gaussians in pictures: both fast ways against the slow twin in double precision, that against finite differences; SSIM."""

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from skimage.metrics import structural_similarity
from torch import Tensor

from heads import camera
from heads.gaussians import likeness, rasterizer, twin
from heads.gaussians.rasterizer import Gaussians, View

WAYS = ("strips", "tiles")
CASES = [(0, 1, (5, 3)), (1, 30, (16, 16)), (2, 200, (20, 37)), (3, 200, (48, 64)), (4, 600, (33, 70)), (5, 900, (61, 18))]
SAID = {"means": "mean", "log_scales": "log scale", "rotations": "rotation", "opacities": "opacity", "colours": "colour"}
parametrized_ways = pytest.mark.parametrize("way", WAYS)


def view(size_px: tuple[int, int]) -> View:
    """A camera that is turned and skewed, whose principal point is not in the middle."""
    height, width = size_px
    pose = camera.look_at(np.array([40.0, -30.0, 600.0]), np.array([0.0, 5.0, 0.0]), np.array([0.1, 1.0, 0.0]))
    focal = 3.3 * max(size_px)
    intrinsics = [[focal, 0.05 * focal, 0.37 * width], [0, 1.1 * focal, 0.61 * height], [0, 0, 1]]
    return View(torch.tensor(intrinsics, dtype=torch.float64), torch.from_numpy(np.linalg.inv(pose)), size_px)


def crowd(seed: int, count: int) -> Gaussians:
    """Gaussians all over the picture of a `view`, some behind it, beside it, larger, hardly there, or as good as opaque."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    means, log_scales = drawn(count, 3, low=-80, high=80), drawn(count, 3, high=2.7)
    rotations = torch.randn(count, 4, generator=generator) * drawn(count, 1, low=0.1, high=5)
    opacities, part = drawn(count, low=0.02, high=0.95), count // 8
    means[:part, 2] += 900  # behind the camera
    means[part : 2 * part, 0] += 400 * means[part : 2 * part, 0].sign()
    log_scales[2 * part : 2 * part + min(part, 3)] += 3
    opacities[3 * part : 4 * part] = 0.9 * rasterizer.LEAST
    opacities[4 * part : 5 * part] = 0.9999
    return Gaussians(means, log_scales, rotations, opacities, drawn(count, 3))


def stack(opacity: float, count: int = 40) -> Gaussians:
    """Gaussians behind each other, all of them wider than the picture."""
    generator = torch.Generator().manual_seed(7)
    means = torch.cat([torch.randn(count, 2, generator=generator), torch.linspace(-50, 50, count)[:, None]], dim=1)
    rotations, colours = torch.randn(count, 4, generator=generator), torch.rand(count, 3, generator=generator)
    return Gaussians(means, torch.tensor([5.7, 6.0, 6.3]).repeat(count, 1), rotations, torch.full((count,), opacity), colours)


def found(rasterize: Callable[..., tuple[Tensor, Tensor]], gaussians: Gaussians, camera: View, **options: Any) -> list[Tensor]:
    """Picture, cover, and the gradients of a sum of both, with weights drawn at random, to what the Gaussians are."""
    leaves = Gaussians(*(value.detach().clone().requires_grad_() for value in gaussians))
    pictures = rasterize(leaves, camera, **options)
    generator = torch.Generator().manual_seed(9)
    weights = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x) for x in pictures]
    sum((x * w).sum() for x, w in zip(pictures, weights, strict=True)).backward()  # type: ignore[union-attr]
    return [x.detach().cpu() for x in (*pictures, *(value.grad for value in leaves))]  # type: ignore[union-attr]


def true(gaussians: Gaussians, camera: View) -> list[Tensor]:
    return found(twin.rasterize, Gaussians(*(value.double() for value in gaussians)), camera)


def assert_same(those: list[Tensor], true: list[Tensor], most: float = 1e-5) -> None:
    names = ("picture", "cover", *Gaussians._fields)
    errors = {n: float((x.double() - y).norm() / y.norm()) for n, x, y in zip(names, those, true, strict=True)}
    assert max(errors.values()) < most, errors


# ---- the rasteriser


@parametrized_ways
@pytest.mark.parametrize(("seed", "count", "size_px"), CASES)
def test_pictures_and_gradients_are_those_of_the_twin(way: str, seed: int, count: int, size_px: tuple[int, int]) -> None:
    gaussians = crowd(seed, count)
    assert_same(found(rasterizer.rasterize, gaussians, view(size_px), way=way), true(gaussians, view(size_px)))


@parametrized_ways
@pytest.mark.parametrize("opacity", [0.3, 0.8, 1.0])
def test_where_the_light_has_run_out_nothing_is_added_or_learned(way: str, opacity: float) -> None:
    gaussians, camera = stack(opacity), view((20, 24))
    expected, those = true(gaussians, camera), found(rasterizer.rasterize, gaussians, camera, way=way)
    assert float(expected[1].min()) > 1 - rasterizer.CLEAR
    assert_same(those, expected)
    hidden = expected[-1].abs().sum(dim=1) == 0
    assert 5 < int(hidden.sum()) < 40 and all(float(gradient[hidden].abs().max()) == 0 for gradient in those[2:])


@parametrized_ways
def test_of_what_hides_the_most_that_it_can_only_the_colour_is_learned(way: str) -> None:
    gaussians = stack(1.0, 1)._replace(log_scales=torch.full((1, 3), 7.0))
    picture, cover, *gradients = found(rasterizer.rasterize, gaussians, view((20, 24)), way=way)
    assert torch.allclose(cover, torch.tensor(rasterizer.MOST)) and torch.allclose(picture[3, 4], 0.99 * gaussians.colours[0])
    assert all(float(gradient.abs().max()) == 0 for gradient in gradients[:4]) and float(gradients[4].abs().min()) > 0


def test_the_twin_has_the_gradients_of_finite_differences() -> None:
    gaussians, camera = crowd(11, 5), view((5, 6))
    scattered = gaussians._replace(means=0.3 * gaussians.means, log_scales=gaussians.log_scales + 2)
    values = tuple(value.double().requires_grad_() for value in scattered)
    assert float(twin.rasterize(Gaussians(*values), camera)[1].detach().mean()) > 0.2
    assert torch.autograd.gradcheck(lambda *values: twin.rasterize(Gaussians(*values), camera), values)


@parametrized_ways
def test_gaussians_that_nobody_sees_get_no_gradients(way: str) -> None:
    gaussians, camera = crowd(2, 200), view((20, 37))
    unseen = torch.arange(200) < 50  # behind the camera, and beside its picture
    unseen[75:100] = True  # hardly there
    with_them = found(rasterizer.rasterize, gaussians, camera, way=way)
    without = found(rasterizer.rasterize, Gaussians(*(value[~unseen] for value in gaussians)), camera, way=way)
    assert torch.equal(with_them[0], without[0])
    assert all(float(gradient[unseen].abs().max()) == 0 < float(gradient[~unseen].abs().max()) for gradient in with_them[2:])


@parametrized_ways
@pytest.mark.parametrize("count", [0, 12])
def test_where_no_gaussian_is_seen_the_picture_is_black(way: str, count: int) -> None:
    gaussians = crowd(3, count)
    gaussians.means[:, 2] += 900
    picture, cover, *gradients = found(rasterizer.rasterize, gaussians, view((20, 37)), way=way)
    assert picture.shape == (20, 37, 3) and cover.shape == (20, 37) and float(picture.abs().max() + cover.abs().max()) == 0
    assert [gradient.shape for gradient in gradients] == [value.shape for value in gaussians]
    assert all(float(gradient.abs().sum()) == 0 for gradient in gradients)


@parametrized_ways
def test_the_order_of_gaussians_does_not_matter(way: str) -> None:
    gaussians, order = crowd(4, 300), torch.randperm(300, generator=torch.Generator().manual_seed(1))
    one = found(rasterizer.rasterize, gaussians, view((33, 40)), way=way)
    two = found(rasterizer.rasterize, Gaussians(*(value[order] for value in gaussians)), view((33, 40)), way=way)
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])
    assert all(torch.allclose(x[order], y, rtol=1e-4, atol=1e-6) for x, y in zip(one[2:], two[2:], strict=True))


@parametrized_ways
def test_quaternions_may_have_any_length(way: str) -> None:
    gaussians = crowd(5, 200)
    lengths = torch.logspace(-3, 3, 200)[:, None]
    one = found(rasterizer.rasterize, gaussians, view((20, 37)), way=way)
    other = found(rasterizer.rasterize, gaussians._replace(rotations=-lengths * gaussians.rotations), view((20, 37)), way=way)
    assert torch.allclose(one[0], other[0], atol=1e-5) and torch.allclose(one[4], -lengths * other[4], rtol=1e-2, atol=1e-4)


@parametrized_ways
def test_what_gaussians_and_camera_do_together_is_not_seen(way: str) -> None:
    gaussians, camera = crowd(6, 200), view((33, 40))
    turn, shift = Rotation.from_euler("xyz", [0.4, -1.1, 2.0]), np.array([100.0, -40.0, 70.0])
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = turn.as_matrix(), shift
    w, xyz = gaussians.rotations[:, :1].double().numpy(), gaussians.rotations[:, 1:].double().numpy()
    turned = (turn * Rotation.from_quat(np.hstack([xyz, w]))).as_quat()[:, [3, 0, 1, 2]]
    there = gaussians._replace(
        means=torch.from_numpy(turn.apply(gaussians.means.double().numpy()) + shift).float(),
        rotations=torch.from_numpy(turned).float(),
    )
    carried = camera._replace(cam_from_world=camera.cam_from_world @ torch.from_numpy(np.linalg.inv(moved)))
    before, after = (rasterizer.rasterize(g, c, way=way) for g, c in ((gaussians, camera), (there, carried)))  # type: ignore[arg-type]
    assert all(torch.allclose(x, y, atol=2e-4) for x, y in zip(before, after, strict=True)) and float(before[1].mean()) > 0.1


@parametrized_ways
def test_a_round_gaussian_straight_ahead_has_the_picture_of_a_normal_distribution(way: str) -> None:
    intrinsics = torch.tensor([[500.0, 0, 20.25], [0, 500, 15.5], [0, 0, 1]])
    colour, variance = torch.tensor([[0.2, 0.5, 0.9]]), (500 * 8 / 800) ** 2 + 0.3
    gaussian = Gaussians(
        torch.zeros(1, 3), torch.full((1, 3), math.log(8.0)), torch.tensor([[0.3, 1, -2, 0.5]]), torch.tensor([0.7]), colour
    )
    pose = torch.eye(4)
    pose[2, 3] = 800
    picture, cover = rasterizer.rasterize(gaussian, View(intrinsics, pose, (32, 41)), way=way)  # type: ignore[arg-type]
    row, column = torch.meshgrid(torch.arange(32), torch.arange(41), indexing="ij")
    expected = 0.7 * torch.exp(-((column - 20.25) ** 2 + (row - 15.5) ** 2) / (2 * variance))
    expected[expected < 1 / 255] = 0
    assert torch.allclose(cover, expected, atol=1e-5) and torch.allclose(picture, expected[..., None] * colour, atol=1e-5)
    assert float(expected[0, 0]) == 0 < float(expected[31, 20])


@parametrized_ways
@pytest.mark.parametrize(("beside_px", "seen"), [(30, True), (34, False)])
def test_a_gaussian_reaches_into_the_picture_from_as_far_as_it_is_wide(way: str, beside_px: int, seen: bool) -> None:
    intrinsics, pose = torch.tensor([[500.0, 0, 0], [0, 500, 8], [0, 0, 1]]), torch.eye(4)
    pose[2, 3] = 500  # a millimetre is a pixel
    gaussian = Gaussians(
        torch.tensor([[-float(beside_px), 0, 0]]),
        torch.full((1, 3), 3.5),
        torch.ones(1, 4),
        torch.tensor([0.9]),
        torch.ones(1, 3),
    )
    for rasterize in (rasterizer.rasterize, twin.rasterize):
        options = {"way": way} if rasterize is rasterizer.rasterize else {}
        assert bool(found(rasterize, gaussian, View(intrinsics, pose, (16, 32)), **options)[0].any()) == seen


@parametrized_ways
def test_a_needle_longer_than_the_picture_is_that_of_the_twin(way: str) -> None:
    gaussians = crowd(8, 30)
    needles = gaussians._replace(log_scales=torch.tensor([5.0, -1.0, -1.0]).repeat(30, 1))
    assert_same(found(rasterizer.rasterize, needles, view((40, 40)), way=way), true(needles, view((40, 40))), 1e-3)


@parametrized_ways
def test_gradients_of_a_gaussian_that_has_grown_beyond_all_numbers_stay_finite(way: str) -> None:
    gaussians = crowd(9, 30)
    gaussians.log_scales[-3:] = 40.0
    assert all(bool(x.isfinite().all()) for x in found(rasterizer.rasterize, gaussians, view((20, 20)), way=way))


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_gets_its_sentence(name: str, value: float) -> None:
    gaussians = crowd(0, 10)
    broken = getattr(gaussians, name).clone()
    broken.view(10, -1)[7, -1] = value
    with pytest.raises(ValueError, match=f"^Gaussian 7: its {SAID[name]} is not finite; the training has diverged$"):
        rasterizer.rasterize(gaussians._replace(**{name: broken}), view((8, 8)))


def test_finite_numbers_whose_sum_is_not_are_no_divergence() -> None:
    gaussians = crowd(0, 10)
    gaussians.means[:2] = 3e38  # beside the picture
    assert float(rasterizer.rasterize(gaussians, view((8, 8)))[0].max()) > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("way", ["tiles", "gsplat"])
@pytest.mark.parametrize(("seed", "count", "size_px"), CASES[1:])
def test_a_gpu_sees_and_learns_what_a_processor_does(way: str, seed: int, count: int, size_px: tuple[int, int]) -> None:
    gaussians, camera = crowd(seed, count), view(size_px)
    if way == "gsplat":
        if importlib.util.find_spec("gsplat") is None:
            pytest.skip("needs gsplat")
        camera.px_from_cam[0, 1] = 0  # it knows no skew,
        gaussians = gaussians._replace(opacities=0.5 * gaussians.opacities)  # and other limits of what is opaque,
        gaussians.log_scales.clamp_(max=2.7)  # of how far a Gaussian reaches
        gaussians.means[count // 8 : count // 4, 0] *= 3  # and of those beside the picture
    there = Gaussians(*(value.cuda() for value in gaussians))
    expected = found(rasterizer.rasterize, gaussians, camera, way="strips")
    assert_same(found(rasterizer.rasterize, there, camera, way=way), expected, 1e-4 if way == "tiles" else 0.02)


# ---- how alike pictures are


def pictures(seed: int, *size: int) -> Tensor:
    return torch.rand(*size, 3, generator=torch.Generator().manual_seed(seed))


def test_ssim_is_that_of_scikit_image_where_its_window_is_in_the_picture() -> None:
    edge = likeness.WINDOW // 2 + 1
    one, noise = pictures(0, 3, 30, 41), pictures(1, 3, 30, 41)
    other = (0.6 * one + 0.4 * noise).clone()
    for value in (one, other):  # black around, which is the same whether it is mirrored or goes on
        for part in (value[:, :edge], value[:, -edge:], value[:, :, :edge], value[:, :, -edge:]):
            part.zero_()
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    expected = [
        structural_similarity(a, b, channel_axis=-1, full=True, **options)[1].mean()
        for a, b in zip(one.double().numpy(), other.double().numpy(), strict=True)
    ]
    assert likeness.ssim(one, other).tolist() == pytest.approx(expected, abs=1e-4) and max(expected) < 0.99


def test_equal_pictures_are_as_alike_as_can_be() -> None:
    one = pictures(2, 2, 20, 24)
    assert likeness.ssim(one, one).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert float(likeness.loss(one, one)) == pytest.approx(0, abs=1e-6) and float(likeness.loss(one, 1 - one)) > 0.3


def test_the_loss_is_a_fifth_of_ssim_and_falls_along_its_gradient() -> None:
    one, other = pictures(3, 2, 20, 24), pictures(4, 2, 20, 24)
    expected = 0.8 * float((one - other).abs().mean()) + 0.2 * (1 - float(likeness.ssim(one, other).mean()))
    moved = one.clone().requires_grad_()
    value = likeness.loss(moved, other)
    value.backward()
    assert float(value.detach()) == pytest.approx(expected)
    assert moved.grad is not None and float(likeness.loss(one - 10 * moved.grad, other)) < expected
