"""NPHM's protocol, on spheres and boxes whose distances are known."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from heads import chamfer, mesh
from heads.clouds import Cloud

ROUND = trimesh.creation.icosphere(4, 100.0)
LOW = np.array([[0.0, -60, 10], [10, -60, -5], [-10, -60, -5]])  # a level plane
FRONT = ROUND.vertices[:, 2] > 50
FACE = (ROUND.vertices[FRONT], ROUND.vertex_normals[FRONT])


def scores(other: trimesh.Trimesh, **changed: object) -> dict[str, float]:
    return chamfer.evaluate(other, ROUND, FACE, LOW, **{"count": 20_000} | changed)  # type: ignore[arg-type]


def test_the_same_surface_is_at_the_floor_and_a_larger_one_at_its_distance() -> None:
    same = scores(ROUND)
    for region in ("head", "face"):
        assert same[f"{region}_l1_mm"] == pytest.approx(same[f"{region}_floor_mm"], rel=0.03)
        assert same[f"{region}_to_surface_mm"] < 1e-3 and same[f"{region}_f1_at_5mm"] > 0.999 and same[f"{region}_normals"] > 0.99
    larger = scores(trimesh.creation.icosphere(4, 103.0))
    assert larger["head_to_surface_mm"] == pytest.approx(3, rel=0.01)
    assert 3 < larger["head_l1_mm"] < 3.4 and 9 < larger["face_l2_mm2"] < 11  # half of both directions
    assert larger["head_f1_at_1mm"] == 0 and larger["head_f1_at_5mm"] > 0.999
    assert scores(ROUND) == same


def test_what_no_camera_sees_and_what_is_below_the_throat_does_not_count() -> None:
    filled = trimesh.util.concatenate([ROUND, trimesh.creation.icosphere(3, 60.0)])
    assert scores(filled)["head_l1_mm"] == pytest.approx(scores(ROUND)["head_l1_mm"], rel=0.03)
    below = ROUND.copy()
    below.vertices[below.vertices[:, 1] < -65, 1] -= 30
    assert scores(below)["head_to_surface_mm"] < 0.2


def test_cameras_see_all_of_a_ball_and_the_same_of_two() -> None:
    cameras = chamfer.around(ROUND)
    cloud = chamfer.seen(ROUND, cameras, 60, np.random.default_rng(0))
    assert np.allclose(np.linalg.norm(cloud.points_mm, axis=1), 100, atol=0.5)
    away, _ = cKDTree(cloud.points_mm).query(ROUND.vertices)
    assert away.max() < 12  # no part of it is left out
    longer = trimesh.util.concatenate([ROUND, trimesh.creation.cylinder(5.0, segment=[[0, -95, 0], [0, -300, 0]])])
    same, other = scores(ROUND), scores(longer)
    assert other["head_l1_mm"] == pytest.approx(same["head_l1_mm"], rel=0.03)


def test_a_picture_is_cast_only_where_the_mesh_is_and_misses_nothing_of_it() -> None:
    leaf = trimesh.creation.box((4.0, 60.0, 300.0))  # far from the middle of the picture, and long
    leaf.vertices += [80, -100, 30]
    cameras = chamfer.around(trimesh.util.concatenate([ROUND, leaf]))
    for view in range(len(cameras.eyes_mm)):
        one = cameras._replace(eyes_mm=cameras.eyes_mm[view : view + 1])
        alone = chamfer.seen(leaf, one, 300, np.random.default_rng(0))
        framed = trimesh.util.concatenate([leaf, trimesh.Trimesh(_corners(one), [[0, 1, 1], [2, 3, 3]], process=False)])
        whole = chamfer.seen(framed, one, 300, np.random.default_rng(1))
        assert len(alone.points_mm) == pytest.approx(len(whole.points_mm), rel=0.05) and len(alone.points_mm) > 100
        assert np.allclose(alone.points_mm.min(axis=0), whole.points_mm.min(axis=0), atol=5)
        assert np.allclose(alone.points_mm.max(axis=0), whole.points_mm.max(axis=0), atol=5)


def _corners(camera: chamfer.Cameras) -> np.ndarray:
    """Points (4, 3) at the corners of a camera's picture."""
    towards = (camera.eyes_mm[0] - camera.middle_mm) / np.linalg.norm(camera.eyes_mm[0] - camera.middle_mm)
    across = np.cross([0.0, 1.0, 0.0], towards)
    across /= np.linalg.norm(across)
    sides = [(x, y) for x in (-1, 1) for y in (-1, 1)]
    return np.array([camera.middle_mm + 0.99 * camera.reach_mm * (x * across + y * np.cross(towards, across)) for x, y in sides])


def test_what_is_seen_from_behind_does_not_count() -> None:
    cut = ROUND.copy()
    cut.update_faces(ROUND.triangles_center[:, 1] > -50)  # one can look into it from below
    cloud = chamfer.seen(cut, chamfer.around(ROUND), 60, np.random.default_rng(0))
    assert ((cloud.points_mm * cloud.normals).sum(axis=1) > 0).all()
    assert len(cloud.points_mm) > 5000


def test_the_face_is_what_lies_near_it_on_both_surfaces() -> None:
    dented = ROUND.copy()
    dented.vertices[dented.vertices[:, 2] < -50] *= 0.9
    found = scores(dented)
    assert found["face_to_surface_mm"] < 1e-3 and found["head_to_surface_mm"] > 1
    cloud = Cloud(np.array([[0, 0, 101.0], [0, 0, 106], [0, 0, -100], [111, 0, 0]]), np.tile([0.0, 0, 1], (4, 1)))
    near = chamfer.near(
        cloud, np.array([[0, 0, 100.0], [103, 0, 0]]), np.array([[0.0, 0, 1], [0, 0, 1]]), distance_mm=10, plane_mm=5
    )
    assert near.tolist() == [True, False, False, True]


def test_what_moves_far_is_scored_on_its_own() -> None:
    moved = np.where(FACE[0][:, 0] > 0, 4.0, 1.0)
    shifted = ROUND.copy()
    shifted.vertices[shifted.vertices[:, 0] > 0] *= 1.02
    found = scores(shifted, moved_mm=moved)
    assert found["moved_by_mm"] == 4 and found["moved_to_surface_mm"] == pytest.approx(2, rel=0.1)
    assert "moved_by_mm" not in scores(ROUND, moved_mm=np.zeros(len(moved)))


def test_two_heads_in_different_places_are_refused() -> None:
    away = ROUND.copy()
    away.apply_translation([0, 0, 500])
    with pytest.raises(ValueError, match="no camera sees anything of the face above the throat; are both heads in one place"):
        scores(away)


def test_above_a_plane_is_where_y_grows_whatever_the_order_of_its_points() -> None:
    points = np.array([[0.0, -59, 0], [0, -61, 0], [50, -60.5, 3]])
    for plane in (LOW, LOW[::-1]):
        assert mesh.above(points, plane).tolist() == [True, False, False]
        assert mesh.above(points, plane, margin_mm=2).tolist() == [False, False, False]


def test_three_points_in_a_line_span_no_plane() -> None:
    with pytest.raises(ValueError, match="span no plane that has an above"):
        mesh.above(np.zeros((2, 3)), np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]))
