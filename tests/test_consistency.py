"""Photo-consistency on an ellipsoid whose surface, and the part each photograph sees, are known in closed form."""

from dataclasses import replace

import pytest
import torch
from conftest import SEMI_AXES, ellipsoid_distance
from torch import Tensor
from torch.nn import functional

from heads import camera
from heads.scene import Scene
from heads.surface import consistency, trace


def photographs(scene: Scene) -> consistency.Photographs:
    return consistency.Photographs(scene.images * 2 - 1, consistency.inner(scene.masks), scene.px_from_cam, scene.unit_from_cam)


def surface(count: int = 2000) -> tuple[Tensor, Tensor]:
    """Points (N, 3) of the front of the ellipsoid, and their normals, of any length."""
    on_sphere = functional.normalize(torch.randn((count, 3), generator=torch.Generator().manual_seed(0)), dim=1)
    on_sphere[:, 2].abs_()
    return on_sphere * SEMI_AXES, on_sphere / SEMI_AXES


def disagreement(scene: Scene, points: Tensor, other: int) -> float:
    """That of grey pixels with the photograph `other` at their points."""
    others = torch.full((len(points), 1), other)
    grey = torch.zeros_like(points)
    return consistency.disagreement(points, grey, others, photographs(scene), ellipsoid_distance).sum().item()


def pixels_of_the_first(scene: Scene) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Origins, directions, distances to the surface, and colours of the pixels where it faces the first camera."""
    pixels = consistency.inner(scene.masks)[0].nonzero().flip(1)
    origins, directions = camera.rays(scene.px_from_cam[0], scene.unit_from_cam[0], pixels.float())
    traced = trace.cached(trace.CachedField(ellipsoid_distance, 64), ellipsoid_distance, origins, directions)
    facing = traced.hit & (traced.slope < -0.5)
    colours = scene.images[0][pixels[:, 1], pixels[:, 0]] * 2 - 1
    return origins[facing], directions[facing], traced.t_surface[facing], colours[facing]


def empty(points: Tensor) -> Tensor:
    """A field with the ellipsoid's normals, in which nothing hides anything."""
    return ellipsoid_distance(points) + 10


def test_photographs_agree_at_the_surface_and_a_gradient_leads_back_to_it(ellipsoid_scene: Scene) -> None:
    """Points are moved along their pixels' rays, as a fit does."""
    origins, directions, t, colours = pixels_of_the_first(ellipsoid_scene)
    others = torch.ones((len(t), 1), dtype=torch.long)
    at, pull = {}, {}
    for offset in (-0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1):
        moved = torch.full_like(t, offset, requires_grad=True)
        points = origins + (t + moved)[:, None] * directions
        total = consistency.disagreement(points, colours, others, photographs(ellipsoid_scene), empty).sum()
        total.backward()
        assert moved.grad is not None
        at[offset], pull[offset] = total.item(), moved.grad.mean().item()
    assert at[-0.1] > at[-0.05] > at[-0.02] > 3 * at[0.0] and 3 * at[0.0] < at[0.02] < at[0.05] < at[0.1]
    assert max(pull[-0.1], pull[-0.05], pull[-0.02]) < 0 < min(pull[0.02], pull[0.05], pull[0.1])


def test_only_points_that_face_a_camera_and_are_not_hidden_are_seen(ellipsoid_scene: Scene) -> None:
    points, normals = surface(500)
    centres = ellipsoid_scene.unit_from_cam[None, :, :3, 3].expand(len(points), -1, -1)
    seen = consistency.visible(points, centres, ellipsoid_distance)
    towards = functional.normalize(centres - points[:, None], dim=2)
    cosine = (functional.normalize(normals, dim=1)[:, None] * towards).sum(2)
    sure = (cosine - consistency.FACING).abs() > 0.02
    assert torch.equal(seen[sure], cosine[sure] > consistency.FACING)  # a convex body hides what faces away, and nothing else

    def and_a_ball(x: Tensor) -> Tensor:
        return torch.minimum(ellipsoid_distance(x), (x - torch.tensor([0.0, 0.15, 1.0])).norm(dim=-1) - 0.15)

    hidden = seen & ~consistency.visible(points, centres, and_a_ball)
    to_ball = torch.tensor([0.0, 0.15, 1.0]) - points[:, None]
    passes = (to_ball - (to_ball * towards).sum(2, keepdim=True) * towards).norm(dim=2)  # how far from it a line of sight passes
    assert (passes[hidden] < 0.15).all() and hidden[:, 0].any() and not hidden[:, 4].any()
    assert (hidden[:, 0] | (passes[:, 0] > 0.1))[seen[:, 0]].all()


def test_points_not_shown_in_the_other_photograph_do_not_count(ellipsoid_scene: Scene) -> None:
    points, _ = surface()
    assert disagreement(ellipsoid_scene, points, 1) > 0
    assert disagreement(ellipsoid_scene, points, 4) == 0.0  # taken from behind
    outside = points + torch.tensor([5.0, 0.0, 0.0])
    assert disagreement(ellipsoid_scene, outside, 1) == 0.0
    masks = ellipsoid_scene.masks.clone()
    masks[1] = False
    assert disagreement(replace(ellipsoid_scene, masks=masks), points, 1) == 0.0


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_pixel_is_compared_with_other_photographs_once_each(count: int) -> None:
    views = torch.randint(count, (500,), generator=torch.Generator().manual_seed(0))
    others = consistency.draw_others(views, count, torch.Generator().manual_seed(1))
    assert others.shape == (500, min(2, count - 1))
    assert ((others >= 0) & (others < count) & (others != views[:, None])).all()
    assert all(len(set(row)) == len(row) for row in others.tolist())
    if count > 1:
        assert set(others.flatten().tolist()) == set(range(count))


def test_one_photograph_alone_agrees_with_itself(ellipsoid_scene: Scene) -> None:
    points, _ = surface(10)
    none = torch.zeros((10, 0), dtype=torch.long)
    given = (none, photographs(ellipsoid_scene), ellipsoid_distance)
    assert not consistency.disagreement(points, torch.zeros((10, 3)), *given).any()
    assert consistency.disagreement(points[:0], torch.zeros((0, 3)), none[:0], *given[1:]).shape == (0,)


def test_pixels_near_the_outline_are_left_out() -> None:
    masks = torch.zeros((2, 12, 12), dtype=torch.bool)
    masks[0, 2:10, 2:11] = True
    expected = torch.zeros_like(masks)
    expected[0, 4:8, 4:9] = True
    assert torch.equal(consistency.inner(masks), expected)


def test_the_right_gains_undo_another_exposure(ellipsoid_scene: Scene) -> None:
    origins, directions, t, colours = pixels_of_the_first(ellipsoid_scene)
    points, others = origins + t[:, None] * directions, torch.ones((len(t), 1), dtype=torch.long)
    gains = torch.tensor([-0.3, -0.1, -0.2])
    as_it_is = consistency.disagreement(points, colours, others, photographs(ellipsoid_scene), empty).sum()
    darker = replace(ellipsoid_scene, images=ellipsoid_scene.images.clone())
    darker.images[1] *= gains.exp()
    without = consistency.disagreement(points, colours, others, photographs(darker), empty).sum()
    undone = consistency.disagreement(points, colours, others, photographs(darker), empty, -gains.expand(*others.shape, 3)).sum()
    assert without > 3 * as_it_is
    assert undone.item() == pytest.approx(as_it_is.item(), rel=0.02)


def test_unseen_is_what_no_camera_looks_at_and_no_mask_rules_out(ellipsoid_scene: Scene) -> None:
    front, _ = surface()
    points = torch.cat([front, -front])
    cameras = (ellipsoid_scene.px_from_cam[:1], ellipsoid_scene.unit_from_cam[:1])
    normals = functional.normalize(points / SEMI_AXES**2, dim=1)
    facing = (normals * functional.normalize(cameras[1][0, :3, 3] - points, dim=1)).sum(1)
    unseen = consistency.unseen(points, ellipsoid_scene.masks[:1], *cameras, ellipsoid_distance)
    assert unseen[facing < 0].float().mean() > 0.9  # but for the rim, which a pixel of the mask cuts off
    assert not unseen[facing > 0.5].any()
    assert not consistency.unseen(points, torch.zeros_like(ellipsoid_scene.masks[:1]), *cameras, ellipsoid_distance).any()
