"""The metric against the h3ds package, closed forms, invariances, and slow equivalents."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roma
import torch
import trimesh

from heads import metric
from heads.data import h3ds
from heads.data.truth import load_truth

NOSE_TIP = [0, -11, 120]
PLACES = {
    "right_eye": [-28, 20, 85], "left_eye": [28, 20, 85], "nose_base": [0, -25, 100],
    "right_lips": [-22, -45, 85], "left_lips": [22, -45, 85], "nose_tip": NOSE_TIP,
}  # fmt: skip


def head(subdivisions: int, *, seed: int = 0, bumps_mm: float = 0.0) -> trimesh.Trimesh:
    """A shape with a nose and eye sockets, and bumps that depend on the seed; its vertices lie on one smooth surface."""
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    directions, rng = np.asarray(ball.vertices), np.random.default_rng(seed)
    vertices = directions * [75, 110, 95]
    for centre, height in (([0, -0.1, 1], 25), ([0.3, 0.2, 0.9], -8), ([-0.3, 0.2, 0.9], -8)):
        vertices = vertices + directions * height * np.exp(-((directions - centre) ** 2).sum(axis=1, keepdims=True) / 0.02)
    for _ in range(10):
        wave = np.sin(directions @ rng.normal(scale=4, size=3) + rng.uniform(0, 6))
        vertices = vertices + bumps_mm * directions * wave[:, None]
    return trimesh.Trimesh(vertices, ball.faces, process=False)


def moved(mesh: trimesh.Trimesh, *, degrees: float = 0.0, shift: Any = (0, 0, 0), scale: float = 1.0) -> trimesh.Trimesh:
    matrix = trimesh.transformations.rotation_matrix(np.deg2rad(degrees), [0.3, 1, 0.2])
    matrix[:3] *= scale
    matrix[:3, 3] = shift
    return mesh.copy().apply_transform(matrix)


def without(mesh: trimesh.Trimesh, faces: np.ndarray) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces[~faces], process=False)


def landmarks_of(mesh: trimesh.Trimesh) -> dict[str, int]:
    return {name: int(mesh.kdtree.query(place)[1]) for name, place in PLACES.items()}


def truth_of(mesh: trimesh.Trimesh, face_mm: float = 130.0, sphere_mm: float = 95.0) -> metric.Truth:
    far = np.linalg.norm(mesh.vertices - NOSE_TIP, axis=1)
    regions = {"face": np.flatnonzero(far < face_mm), "face_sphere": np.flatnonzero(far < sphere_mm)}
    return metric.Truth("head", mesh, landmarks_of(mesh), regions)


PREDICTIONS = {
    "another head": head(4, seed=1, bumps_mm=1.5),
    "coarser": head(3, seed=2, bumps_mm=1.0),
    "finer, turned and shifted": moved(head(5, seed=3, bumps_mm=1.0), degrees=5, shift=(4, -3, 6)),
    "too large": moved(head(4, seed=4, bumps_mm=1.0), scale=1.08),
    "mirrored": head(4, seed=5, bumps_mm=1.0).apply_transform(np.diag([-1.0, 1, 1, 1])),
    "with a hole": without(head(4, seed=6), head(4).triangles_center[:, 2] < -60),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the H3DS layout with the scan `head`."""
    root, truth = tmp_path_factory.mktemp("h3ds"), truth_of(head(4))
    h3ds.write_scene(
        root, "head", images=np.zeros((1, 8, 8, 3), np.uint8), masks=np.ones((1, 8, 8), bool), world_mat=np.eye(4)[None],
        scale_mat=np.eye(4), mesh_mm=truth.mesh_mm, landmarks=truth.landmarks, regions=truth.regions,
    )  # fmt: skip
    h3ds.register(root, "head", n_views=1, view_lists={1: [0]})
    return root


@pytest.mark.parametrize("with_landmarks", [False, True])
@pytest.mark.parametrize("name", PREDICTIONS)
def test_toolbox_scores_equal_those_of_the_h3ds_package(written: Path, name: str, with_landmarks: bool) -> None:
    if importlib.util.find_spec("h3ds") is None:
        pytest.skip("the h3ds package is not installed")
    mesh = PREDICTIONS[name]
    vertices = landmarks_of(mesh) if with_landmarks else None
    with h3ds.official_package() as official:
        dataset = official(str(written), config_path=str(written / "config.toml"))
        prediction = dataset.load_mesh("head")
        prediction.vertices, prediction.faces = np.array(mesh.vertices), np.array(mesh.faces)
        face = dataset.evaluate_scene("head", prediction, vertices, "face_sphere")[0]
        head_errors = dataset.evaluate_scene("head", prediction, vertices, None)[0]
    places = {key: mesh.vertices[vertex] for key, vertex in vertices.items()} if vertices else None
    truth = load_truth(written, "head")
    scores = metric.score(mesh, truth, places)
    assert scores["face_toolbox_mm"] == pytest.approx(np.mean(face), abs=1e-9)
    assert scores["head_toolbox_mm"] == pytest.approx(np.mean(head_errors), abs=1e-9)
    np.testing.assert_allclose(metric.errors_mm(mesh, truth, "toolbox", landmarks_mm=places), head_errors, atol=1e-9)


def test_rigid_sees_a_wrong_size_and_toolbox_does_not() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=100)
    everywhere = np.arange(len(ball.vertices))
    truth = metric.Truth("ball", ball, {}, {"face": everywhere, "face_sphere": everywhere})
    scores = metric.score(moved(ball, scale=1.05), truth)
    assert scores["face_toolbox_mm"] == pytest.approx(0, abs=1e-6) and scores["head_toolbox_mm"] == pytest.approx(0, abs=1e-6)
    # 5 mm less the height of the facets, over whose centres the fit turns the vertices
    assert scores["face_rigid_mm"] == pytest.approx(5, abs=0.1) and scores["head_rigid_mm"] == pytest.approx(5, abs=0.1)


def test_rigid_has_no_floor_where_toolbox_does() -> None:
    coarse = trimesh.creation.box(extents=[160, 200, 180])  # 12 triangles, the same surface as any finer mesh of it
    fine = coarse.subdivide_to_size(12.0)
    everywhere = np.arange(len(fine.vertices))
    truth = metric.Truth("box", fine, {}, {"face": everywhere, "face_sphere": everywhere})
    assert metric.score(coarse, truth)["head_rigid_mm"] == pytest.approx(0, abs=1e-6)
    assert metric.score(coarse, truth)["head_toolbox_mm"] > 30


def test_rigid_scores_do_not_depend_on_where_the_prediction_is() -> None:
    truth, mesh = truth_of(head(4)), head(4, seed=7, bumps_mm=1.5)
    here, there = metric.score(mesh, truth), metric.score(moved(mesh, degrees=-8, shift=(5, 9, -6)), truth)
    assert here["face_rigid_mm"] > 0.5
    assert there["face_rigid_mm"] == pytest.approx(here["face_rigid_mm"], abs=1e-3)
    assert there["head_rigid_mm"] == pytest.approx(here["head_rigid_mm"], abs=1e-3)


def test_rigid_alignment_finds_the_motion_that_was_applied() -> None:
    truth = truth_of(head(4))
    matrix = trimesh.transformations.rotation_matrix(np.deg2rad(6), [1, 0.5, -0.3])
    matrix[:3, 3] = [3, -8, 4]
    found = metric.align(truth.mesh_mm.copy().apply_transform(matrix), truth, "rigid")
    np.testing.assert_allclose(found, np.linalg.inv(matrix), atol=1e-4)
    assert metric.score(truth.mesh_mm.copy().apply_transform(matrix), truth)["head_rigid_mm"] == pytest.approx(0, abs=1e-4)


def test_landmarks_start_the_rigid_alignment_of_a_prediction_that_is_far_away() -> None:
    truth, mesh = truth_of(head(4)), head(4, seed=7, bumps_mm=1.0)
    far = moved(mesh, degrees=160, shift=(300, -500, 200))
    places = {name: far.vertices[vertex] for name, vertex in landmarks_of(mesh).items()}
    scores = metric.score(far, truth, places)
    assert scores["face_rigid_mm"] == pytest.approx(metric.score(mesh, truth)["face_rigid_mm"], abs=1e-3)
    rotation = metric.align(far, truth, "rigid", landmarks_mm=places)[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_rigid_alignment_is_the_minimum_that_plain_icp_slowly_approaches() -> None:
    truth, mesh = truth_of(head(3)), moved(head(4, seed=8, bumps_mm=2.0), degrees=4, shift=(2, -3, 5))
    points = np.array(truth.mesh_mm.vertices[truth.regions["face"]])
    surface, motion = metric.build_surface(mesh), np.eye(4)
    for _ in range(500):
        at = trimesh.transform_points(points, motion)
        closest = metric.closest_points(at, surface)
        rotation, shift = roma.rigid_points_registration(torch.from_numpy(at), torch.from_numpy(closest))
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = rotation.numpy(), shift.numpy()
        motion = step @ motion
    np.testing.assert_allclose(metric.align(mesh, truth, "rigid"), np.linalg.inv(motion), atol=5e-3)


def test_residuals_of_all_points_exert_no_force_or_torque_at_the_rigid_alignment() -> None:
    truth, mesh = truth_of(head(5)), moved(head(4, seed=8, bumps_mm=2.0), degrees=4, shift=(2, -3, 5))
    points = truth.mesh_mm.vertices[truth.regions["face"]]
    assert len(points) > 2000  # the first pass takes only some of them
    at = trimesh.transform_points(points, np.linalg.inv(metric.align(mesh, truth, "rigid")))
    pull = metric.closest_points(at, metric.build_surface(mesh)) - at
    np.testing.assert_allclose(pull.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cross(at - at.mean(axis=0), pull).mean(axis=0), 0, atol=0.1)  # mm^2


def test_closest_points_equal_those_of_a_slow_search() -> None:
    base = head(3, seed=9, bumps_mm=1.0)
    sliver = [[0, 0, 150], [60, 0, 150], [120, 0.001, 150]]
    giant = [[-900, -120, -900], [900, -120, -900], [0, -120, 900]]
    point = [[0, 0, 101], [0, 0, 101], [0, 0, 101]]  # a triangle without area
    corners = np.concatenate([base.vertices, sliver, giant, point])
    extra = len(base.vertices) + np.arange(9).reshape(3, 3)
    mesh = trimesh.Trimesh(corners, np.concatenate([base.faces, extra]), process=False)
    mesh = trimesh.Trimesh(*trimesh.remesh.subdivide(mesh.vertices, mesh.faces, face_index=np.arange(40)), process=False)
    points = np.random.default_rng(0).normal(scale=90, size=(400, 3))
    points[:20] *= 0.01  # in the middle everything is equally far away
    points[20:40] *= 10
    soup = trimesh.Trimesh(np.random.default_rng(1).normal(scale=60, size=(900, 3)), np.arange(900).reshape(-1, 3), process=False)
    for case in (mesh, soup):
        closest = metric.closest_points(points, metric.build_surface(case))
        _, distances, _ = trimesh.proximity.closest_point(without(case, case.area_faces == 0), points)
        np.testing.assert_allclose(np.linalg.norm(points - closest, axis=1), distances, atol=1e-9)


@pytest.mark.parametrize("protocol", metric.PROTOCOLS)
def test_scores_are_means_of_the_errors_per_vertex(protocol: metric.Protocol) -> None:
    truth, mesh = truth_of(head(4)), PREDICTIONS["finer, turned and shifted"]
    scores = metric.score(mesh, truth)
    errors = metric.errors_mm(mesh, truth, protocol)
    assert errors.shape == (len(truth.mesh_mm.vertices),)
    assert scores[f"head_{protocol}_mm"] == pytest.approx(errors.mean(), abs=1e-12)
    evaluation = metric.evaluate(mesh, truth)
    assert evaluation.scores == scores and np.array_equal(evaluation.errors_mm[protocol], errors)
    alone = metric.evaluate(mesh, truth, protocols=[protocol])
    assert alone.scores == {f"{name}_{protocol}_mm": scores[f"{name}_{protocol}_mm"] for name in metric.SCORES}
    assert list(alone.errors_mm) == [protocol]
    face = metric.errors_mm(mesh, truth, protocol, region="face_sphere")[truth.regions["face_sphere"]]
    assert scores[f"face_{protocol}_mm"] == pytest.approx(face.mean(), abs=1e-12)


def test_surplus_geometry_is_free_and_a_hole_is_not() -> None:
    truth, mesh = truth_of(head(4)), head(4, seed=3, bumps_mm=1.0)
    plain = metric.score(mesh, truth)
    ball = trimesh.creation.icosphere(radius=50).apply_translation([400, 0, 0])
    surplus = metric.score(trimesh.util.concatenate([mesh, ball]), truth)
    assert surplus == pytest.approx(plain, abs=1e-9)
    holed = metric.score(without(mesh, mesh.triangles_center[:, 2] < -60), truth)
    assert holed["head_rigid_mm"] > plain["head_rigid_mm"] + 0.5


def nan_mesh() -> trimesh.Trimesh:
    vertices = np.array(head(2).vertices)
    vertices[3, 1] = np.nan
    return trimesh.Trimesh(vertices, head(2).faces, process=False)


@pytest.mark.parametrize(
    ("mesh", "words"),
    [
        (trimesh.Trimesh(), "0 vertices and 0 faces"),
        (trimesh.Trimesh(head(2).vertices), "and 0 faces"),
        (nan_mesh(), "not finite"),
        (trimesh.Trimesh(np.zeros((3, 3)), [[0, 1, 2]], process=False), "no area"),
        (trimesh.Trimesh(head(2).vertices, [[0, 1, 99999]], process=False, validate=False), "does not exist"),
    ],
)
def test_the_error_says_why_a_prediction_cannot_be_scored(mesh: trimesh.Trimesh, words: str) -> None:
    with pytest.raises(ValueError, match=f"^head: .*{words}"):
        metric.score(mesh, truth_of(head(3)))


def test_the_error_says_that_the_toolbox_shrinks_the_scan_to_one_corner_of_the_prediction() -> None:
    truth = truth_of(head(3))
    truth.mesh_mm.apply_translation([0, 0, 5000])
    cone = trimesh.creation.cone(50, 100).apply_translation([0, 0, -100])  # its apex at the origin
    with pytest.raises(ValueError, match=r"^head: .*too far away"):
        metric.align(cone, truth, "toolbox")


def test_unknown_regions_and_protocols_and_missing_landmarks_are_refused() -> None:
    truth, mesh = truth_of(head(3)), head(3)
    with pytest.raises(ValueError, match="no region 'ear', only face, face_sphere"):
        metric.align(mesh, truth, "rigid", region="ear")
    with pytest.raises(ValueError, match="one of toolbox, rigid, not 'chamfer'"):
        metric.errors_mm(mesh, truth, "chamfer")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lacks right_eye, left_eye"):
        metric.score(mesh, truth, {name: mesh.vertices[0] for name in ("nose_base", "right_lips", "left_lips", "nose_tip")})
