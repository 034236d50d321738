"""Rendered pictures against a sphere in closed form, and what a fit's own networks say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from heads import camera, pictures
from heads.methods import idr, priors
from heads.scene import Scene
from heads.surface import render, sdf
from heads.surface.colour import ColourNetwork

RADIUS, SIZE = 0.6, (40, 56)


class Ball(sdf.ImplicitNetwork):
    """The exact signed distance of a sphere, with a gradient twice as long as a normal, and the point as its features."""

    def distance(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        return x.norm(dim=-1) - RADIUS

    def with_gradient(self, x: Tensor, code: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        return self.distance(x), 2 * torch.nn.functional.normalize(x, dim=-1), x


def networks(sees: str = "idr", geometry: type[sdf.ImplicitNetwork] = Ball) -> tuple[sdf.ImplicitNetwork, ColourNetwork]:
    config = replace(idr.SMOKE, shape=sdf.Shape(32, 3, 3, 2), colour_sees=sees)
    return geometry(config.shape, torch.Generator()), ColourNetwork(config.colour_shape, torch.Generator().manual_seed(1))


def cameras() -> tuple[Tensor, Tensor]:
    """Two of them, one of which looks past the middle."""
    px_from_cam = torch.tensor([[70.0, 0, 27.5], [0, 70, 19.5], [0, 0, 1]]).expand(2, 3, 3)
    targets = (np.zeros(3), np.array([0.3, 0.2, 0.0]))
    poses = [
        camera.look_at(np.array(at), to, np.array([0, 1.0, 0])) for at, to in zip(((0, 0.4, 3), (3, 0, 1)), targets, strict=True)
    ]
    return px_from_cam, torch.tensor(np.stack(poses)).float()


def on_the_ball(px_from_cam: Tensor, unit_from_cam: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays meet a sphere: (V, H, W) bool, points and directions (V, H, W, 3)."""
    row, column = torch.meshgrid(*map(torch.arange, SIZE), indexing="ij")
    pixels = torch.stack([column, row], dim=-1).flatten(0, 1).double().expand(len(px_from_cam), -1, 2)
    origins, directions = camera.rays(px_from_cam.double(), unit_from_cam.double(), pixels)
    middle = -(origins * directions).sum(-1)
    under_root = middle**2 - (origins**2).sum(-1) + radius**2
    points = origins + (middle - under_root.clamp(min=0).sqrt())[..., None] * directions
    return (under_root > 0).unflatten(1, SIZE), points.unflatten(1, SIZE).float(), directions.unflatten(1, SIZE).float()


@pytest.mark.parametrize("sees", ["idr", "no_view_dir"])
def test_a_sphere_is_a_disc_in_the_colours_of_its_true_points(sees: str) -> None:
    geometry, colour = networks(sees)
    found = render.render(geometry, colour, *cameras(), SIZE)
    hit, points, directions = on_the_ball(*cameras(), RADIUS)
    assert found.images.shape == (2, *SIZE, 3) and found.hit.shape == (2, *SIZE)
    within, around = (on_the_ball(*cameras(), RADIUS + by)[0] for by in (-0.01, 0.01))  # a pixel is 0.04 there
    assert not (within & ~found.hit).any() and not (found.hit & ~around).any() and (found.hit != hit).float().mean() < 0.002
    both = hit & found.hit
    with torch.no_grad():
        x = points[both]
        expected = (colour(x, -directions[both], 2 * x / RADIUS, x) + 1) / 2
    error = (found.images[both] - expected).abs()
    assert error.mean() < 1e-5 and error.max() < 1e-2  # the largest at the outline, where rays graze
    assert (found.images[~found.hit] == 0).all() and found.images.min() >= 0 and found.images.max() <= 1
    assert not found.images.requires_grad


def test_without_cameras_or_a_surface_in_sight_there_is_nothing_to_see() -> None:
    px_from_cam, unit_from_cam = cameras()
    assert render.render(*networks(), px_from_cam[:0], unit_from_cam[:0], SIZE).images.shape == (0, *SIZE, 3)
    away = unit_from_cam @ torch.diag(torch.tensor([-1.0, 1, -1, 1]))
    assert not render.render(*networks(), px_from_cam, away, SIZE).hit.any()


def test_how_many_rays_are_traced_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = render.render(*networks(geometry=sdf.ImplicitNetwork), *cameras(), SIZE)
    monkeypatch.setattr(render, "CHUNK", 97)
    parts = render.render(*networks(geometry=sdf.ImplicitNetwork), *cameras(), SIZE)
    assert torch.equal(whole.hit, parts.hit)
    torch.testing.assert_close(whole.images, parts.images, atol=1e-4, rtol=0)


def test_a_fit_is_seen_as_its_photographs_show_it(ellipsoid_scene: Scene) -> None:
    config = replace(idr.SMOKE, epochs=200, shape=sdf.Shape(width=64, depth=4, feature=16), colour_width=64, rays=256, grid=40)
    start = priors.sphere(config.shape, 0)
    head = idr.fit(ellipsoid_scene, start, replace(config, shape=idr.SMOKE.shape))  # the prior's shape counts
    scene, size = ellipsoid_scene, tuple(ellipsoid_scene.masks.shape[1:])
    found = idr.render(head, start, replace(config, shape=idr.SMOKE.shape), scene.px_from_cam, scene.unit_from_cam, size)
    both, either = (found.hit & scene.masks).sum(), (found.hit | scene.masks).sum()
    assert both / either > 0.95
    scores = pictures.score(*(x.numpy() for x in (found.images, found.hit, scene.images, scene.masks)))
    black = pictures.score(*(x.numpy() for x in (0 * found.images, found.hit, scene.images, scene.masks)))
    assert scores["psnr_db"] > black["psnr_db"] + 10 and scores["ssim"] > 0.7


def test_pictures_are_kept_with_their_outline_and_those_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    images = torch.rand((2, 5, 7, 3), generator=torch.Generator().manual_seed(0))
    hit = torch.rand((2, 5, 7), generator=torch.Generator().manual_seed(1)) > 0.5
    rendered = render.Rendered(images * hit[..., None], hit)
    folder = tmp_path / "novel"
    render.save(folder, [3, 4], rendered)
    paths = render.save(folder, [12, 7], rendered)
    assert [path.name for path in paths] == ["0012.png", "0007.png"] and sorted(folder.iterdir()) == sorted(paths)
    numbers, again, there = pictures.load(folder)
    assert numbers == [7, 12]
    assert (there[::-1] == hit.numpy()).all() and np.abs(again[::-1] - rendered.images.numpy()).max() <= 0.5 / 255 + 1e-6
    with Image.open(paths[0]) as picture:
        assert picture.mode == "RGBA"
    assert render.save(folder, [], render.Rendered(images[:0], hit[:0])) == [] and pictures.load(folder)[0] == []
