"""Cameras against closed forms, and against OpenCV, which IDR and the h3ds package use."""

import numpy as np
import pytest
import torch

from heads import camera

PX_FROM_CAM = np.array([[700.0, 3.0, 250.0], [0.0, 720.0, 260.0], [0.0, 0.0, 1.0]])
POSITION = np.array([30.0, 120.0, 600.0])


def pose() -> np.ndarray:
    return camera.look_at(POSITION, np.array([5.0, -10.0, 20.0]), np.array([0.1, 1.0, 0.0]))


def projection(frame_from_cam: np.ndarray) -> np.ndarray:
    full = np.eye(4)
    full[:3] = PX_FROM_CAM @ np.linalg.inv(frame_from_cam)[:3]
    return full


@pytest.mark.parametrize("factor", [1.0, 0.02, -3.0])
def test_decompose_undoes_composition_for_any_factor(factor: float) -> None:
    for position in np.random.default_rng(2).normal(scale=500, size=(8, 3)):
        frame_from_cam = camera.look_at(position, np.zeros(3), np.array([0.1, 1.0, 0.0]))
        px_from_cam, found = camera.decompose(factor * projection(frame_from_cam))
        np.testing.assert_allclose(px_from_cam, PX_FROM_CAM, atol=1e-8)
        np.testing.assert_allclose(found, frame_from_cam, atol=1e-8)


def test_decompose_removes_the_scale_from_world_mat_times_scale_mat() -> None:
    mm_from_unit = np.diag([130.0, 130.0, 130.0, 1.0])
    mm_from_unit[:3, 3] = [4, -7, 11]
    px_from_cam, unit_from_cam = camera.decompose(projection(pose()) @ mm_from_unit)
    np.testing.assert_allclose(px_from_cam, PX_FROM_CAM, atol=1e-9)
    np.testing.assert_allclose(unit_from_cam[:3, :3], pose()[:3, :3], atol=1e-12)
    np.testing.assert_allclose(unit_from_cam[:3, 3], (POSITION - [4, -7, 11]) / 130, atol=1e-12)


def test_decompose_agrees_with_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    matrix = projection(pose()) @ np.diag([2.0, 2.0, 2.0, 1.0])
    intrinsics, cam_from_frame_rotation, centre = cv2.decomposeProjectionMatrix(matrix[:3])[:3]
    px_from_cam, frame_from_cam = camera.decompose(matrix)
    np.testing.assert_allclose(px_from_cam, intrinsics / intrinsics[2, 2], atol=1e-9)
    np.testing.assert_allclose(frame_from_cam[:3, :3], cam_from_frame_rotation.T, atol=1e-9)
    np.testing.assert_allclose(frame_from_cam[:3, 3], (centre[:3] / centre[3])[:, 0], atol=1e-9)


@pytest.mark.parametrize("broken", [np.full((4, 4), np.nan), np.zeros((4, 4)), np.diag([1.0, 1.0, 0.0, 1.0])])
def test_decompose_refuses_a_matrix_that_is_not_a_camera(broken: np.ndarray) -> None:
    with pytest.raises(ValueError, match="not the projection matrix of a camera"):
        camera.decompose(broken)


def test_projection_is_multiplication_by_the_matrix() -> None:
    points = np.random.default_rng(0).normal(scale=80, size=(50, 3))
    homogeneous = np.concatenate([points, np.ones((50, 1))], axis=1) @ projection(pose()).T
    seen = camera.project(torch.tensor(PX_FROM_CAM), torch.tensor(pose()), torch.tensor(points))
    np.testing.assert_allclose(seen.numpy(), homogeneous[:, :2] / homogeneous[:, 2:3], atol=1e-9)


def test_the_ray_through_a_projected_point_meets_the_point() -> None:
    points = torch.tensor(np.random.default_rng(1).normal(scale=80, size=(2, 50, 3)))
    px_from_cam = torch.tensor(PX_FROM_CAM).expand(2, 3, 3)
    other = camera.look_at(np.array([500.0, 0.0, -100.0]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
    frame_from_cam = torch.tensor(np.stack([pose(), other]))
    origins, directions = camera.rays(px_from_cam, frame_from_cam, camera.project(px_from_cam, frame_from_cam, points))
    assert origins.shape == directions.shape == (2, 50, 3)
    along = ((points - origins) * directions).sum(-1, keepdim=True)
    assert along.min() > 0
    torch.testing.assert_close(origins + along * directions, points, rtol=0, atol=1e-9)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(2, 50, dtype=torch.float64))


def test_pixels_are_at_integer_coordinates_without_a_half_pixel_offset() -> None:
    px_from_cam = torch.tensor([[100.0, 0, 0], [0, 100, 0], [0, 0, 1]])
    _, directions = camera.rays(px_from_cam, torch.eye(4), torch.tensor([[0.0, 0.0], [100.0, 0.0]]))
    torch.testing.assert_close(directions, torch.tensor([[0.0, 0.0, 1.0], [0.5**0.5, 0.0, 0.5**0.5]]))


def test_look_at_centres_the_target_with_up_above_it() -> None:
    target = torch.tensor([[5.0, -10.0, 20.0]], dtype=torch.float64)
    frame_from_cam = torch.tensor(pose())
    above = target + torch.tensor([0.1, 1.0, 0.0])
    pixels = camera.project(torch.tensor(PX_FROM_CAM), frame_from_cam, torch.cat([target, above]))
    np.testing.assert_allclose(pixels[0].numpy(), PX_FROM_CAM[:2, 2], atol=1e-9)
    assert pixels[1, 1] < pixels[0, 1]  # OpenCV: y runs down the picture
    assert torch.linalg.det(frame_from_cam[:3, :3]).item() == pytest.approx(1)
