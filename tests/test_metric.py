"""The metric against the h3ds package, closed forms, invariances, and slow equivalents."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roma
import torch
import trimesh

from heads import camera, metric
from heads.data import h3ds
from heads.data.truth import load_truth

NOSE_TIP = [0, -11, 120]
FOUR = ["face_toolbox_mm", "head_toolbox_mm", "face_rigid_mm", "head_rigid_mm"]
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
    four = {f"{name}_{protocol}_mm": scores[f"{name}_{protocol}_mm"] for name in metric.SCORES}
    assert alone.scores == (four | {name: scores[name] for name in list(scores)[4:]} if protocol == "rigid" else four)
    assert list(alone.errors_mm) == [protocol]
    face = metric.errors_mm(mesh, truth, protocol, region="face_sphere")[truth.regions["face_sphere"]]
    assert scores[f"face_{protocol}_mm"] == pytest.approx(face.mean(), abs=1e-12)


def test_surplus_geometry_is_free_in_the_four_scores_and_a_hole_is_not() -> None:
    truth, mesh = truth_of(head(4)), head(4, seed=3, bumps_mm=1.0)
    plain = metric.score(mesh, truth)
    ball = trimesh.creation.icosphere(radius=50).apply_translation([400, 0, 0])
    surplus = metric.score(trimesh.util.concatenate([mesh, ball]), truth)
    assert {name: surplus[name] for name in FOUR} == pytest.approx({name: plain[name] for name in FOUR}, abs=1e-9)
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


# ---- the judges of what the four scores do not see


def ball_of(radius: float = 100.0, subdivisions: int = 5) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)


def all_of(mesh: trimesh.Trimesh) -> metric.Truth:
    """A scan that is a face all around."""
    everywhere = np.arange(len(mesh.vertices))
    return metric.Truth("ball", mesh, {}, {"face": everywhere, "face_sphere": everywhere})


def cameras_at(*places: Any, size: tuple[int, int] = (200, 200), focal: float = 200.0, unit: float = 1.0) -> metric.Cameras:
    """Cameras that look at the origin from these places, with coordinates in units of so many mm."""
    poses = [camera.look_at(np.array(place, dtype=float), np.zeros(3), np.array([0.0, 1, 0.1])) for place in places]
    px_from_cam = np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]])
    scaled = np.array(poses) @ np.diag([unit, unit, unit, 1])
    return metric.Cameras(np.tile(px_from_cam, (len(places), 1, 1)), scaled, size)


def turned_away() -> metric.Cameras:
    """One that has everything behind it."""
    one = cameras_at([0, 0, 900])
    return metric.Cameras(one.px_from_cam, one.mm_from_cam @ np.diag([-1.0, 1, -1, 1]), one.size)


def test_the_four_scores_come_first_and_the_others_are_named_by_what_they_are() -> None:
    scores = metric.score(head(3, seed=2, bumps_mm=1.0), truth_of(head(3)))
    more = ("accuracy_mm", "f1_at_1mm", "f1_at_5mm", "normals_mean_deg", "normals_median_deg")
    assert list(scores) == FOUR + [f"{region}_{name}" for region in ("face", "head") for name in more]
    found = metric.evaluate(head(3, seed=2, bumps_mm=1.0), truth_of(head(3)), seen_by=cameras_at([0, 0, 900])).scores
    assert {name: found[name] for name in scores} == scores
    assert set(found) - set(scores) == {"face_seen_mm", "head_seen_mm", "head_unseen_mm"}


def test_a_prediction_that_is_the_scan_has_no_errors_and_one_of_the_wrong_size_those_that_are_known() -> None:
    same = metric.score(ball_of(), all_of(ball_of()))
    assert same["head_accuracy_mm"] == pytest.approx(0, abs=1e-6) and same["head_f1_at_1mm"] == same["face_f1_at_5mm"] == 1
    assert same["head_normals_median_deg"] < 2  # a vertex against a triangle beside it
    larger = metric.score(ball_of(103), all_of(ball_of()))
    assert larger["head_accuracy_mm"] == pytest.approx(3, abs=0.05) == larger["head_rigid_mm"]
    assert (larger["head_f1_at_1mm"], larger["head_f1_at_5mm"]) == (0, 1)


def test_surplus_geometry_costs_in_accuracy_and_f_and_a_hole_in_the_scores_and_f() -> None:
    truth, mesh = truth_of(head(4)), head(4, seed=3, bumps_mm=1.0)
    plain = metric.score(mesh, truth)
    hat = trimesh.creation.icosphere(radius=40).apply_translation([0, 160, 0])
    surplus = metric.score(trimesh.util.concatenate([mesh, hat]), truth)
    assert surplus["head_rigid_mm"] == pytest.approx(plain["head_rigid_mm"], abs=1e-9)
    assert surplus["head_accuracy_mm"] > plain["head_accuracy_mm"] + 3
    assert surplus["head_f1_at_5mm"] < plain["head_f1_at_5mm"] - 0.03
    assert surplus["face_accuracy_mm"] == pytest.approx(plain["face_accuracy_mm"], abs=0.05)  # it is not on the face
    nose = trimesh.creation.icosphere(radius=10).apply_translation([0, -11, 150])
    longer = metric.score(trimesh.util.concatenate([mesh, nose]), truth)
    assert longer["face_rigid_mm"] == pytest.approx(plain["face_rigid_mm"], abs=0.01)
    assert longer["face_accuracy_mm"] > plain["face_accuracy_mm"] + 1
    holed = metric.score(without(mesh, mesh.triangles_center[:, 2] < -60), truth)
    assert holed["head_accuracy_mm"] < plain["head_accuracy_mm"] + 0.1
    assert holed["head_f1_at_5mm"] < plain["head_f1_at_5mm"] - 0.05


@pytest.mark.parametrize("sliver", [False, True])
def test_what_lies_beyond_the_end_of_an_open_scan_costs_nothing(sliver: bool) -> None:
    closed = head(5)
    scan = without(closed, closed.triangles_center[:, 1] < -60)
    scan.remove_unreferenced_vertices()
    faces = scan.faces if not sliver else np.concatenate([scan.faces[[7]][:, [0, 0, 1]], scan.faces])  # of no area
    truth = truth_of(trimesh.Trimesh(scan.vertices, faces, process=False))
    whole, cut = metric.score(closed, truth), metric.score(scan, truth)
    assert whole["head_accuracy_mm"] == pytest.approx(0, abs=1e-3) == cut["head_accuracy_mm"]
    below = trimesh.creation.icosphere(radius=20).apply_translation([0, -200, 0])
    assert metric.score(trimesh.util.concatenate([closed, below]), truth)["head_accuracy_mm"] == pytest.approx(0, abs=1e-3)
    above = below.copy().apply_translation([0, 400, 0])
    assert metric.score(trimesh.util.concatenate([closed, above]), truth)["head_accuracy_mm"] > 1


def test_a_crack_that_a_triangle_of_no_area_fills_is_not_the_end_of_a_scan() -> None:
    square = [[0, 0, 0], [100, 0, 0], [100, 100, 0], [0, 100, 0], [50, 50, 0]]  # the last on a side of two triangles
    scan = trimesh.Trimesh(square, [[0, 2, 4], [0, 1, 2], [0, 4, 3], [4, 2, 3]], process=False)
    assert np.count_nonzero(scan.area_faces > 0) == 3
    open_sides, _ = metric._ends(scan)
    assert open_sides.tolist() == [[True, False, True], [False, True, False], [True, False, False]]


def test_bumps_turn_the_normals_more_than_a_wrong_size_of_the_same_distance() -> None:
    ball, truth = ball_of(), all_of(ball_of())
    directions = np.asarray(ball.vertices) / 100
    waves = np.sin(12 * directions).prod(axis=1) ** 2
    bumpy = trimesh.Trimesh(ball.vertices + directions * (6 * waves / waves.mean())[:, None] * 0.2, ball.faces, process=False)
    rough = metric.score(bumpy, truth)
    smooth = metric.score(ball_of(100 + rough["head_rigid_mm"]), truth)
    assert smooth["head_rigid_mm"] == pytest.approx(rough["head_rigid_mm"], rel=0.05)
    for name in ("head_normals_mean_deg", "head_normals_median_deg", "face_normals_mean_deg"):
        assert rough[name] > smooth[name] + 3


def test_angles_are_those_of_tilted_planes_and_of_a_surface_inside_out() -> None:
    ball = ball_of()
    inside_out = trimesh.Trimesh(ball.vertices, ball.faces[:, ::-1], process=False)
    assert metric.score(inside_out, all_of(ball))["head_normals_median_deg"] > 178
    truth, mesh = all_of(ball), ball_of(101, subdivisions=3)
    found = metric.evaluate(mesh, truth)
    assert found.normals_deg is not None and found.normals_deg.shape == (len(ball.vertices),)
    assert found.scores["head_normals_mean_deg"] == pytest.approx(found.normals_deg.mean())
    assert found.scores["head_normals_median_deg"] == pytest.approx(np.median(found.normals_deg))
    motion = metric.align(mesh, truth, "rigid")
    at, normals = trimesh.transform_points(ball.vertices, np.linalg.inv(motion)), metric.vertex_normals(ball)
    _, _, faces = trimesh.proximity.closest_point(mesh, at[:300])
    cosines = (normals[:300] @ motion[:3, :3] * mesh.face_normals[faces]).sum(axis=1)
    assert np.median(np.abs(found.normals_deg[:300] - np.degrees(np.arccos(cosines)))) < 1e-6  # ties go to either triangle


def test_a_normal_of_a_vertex_is_weighted_by_area_and_zero_without_triangles() -> None:
    corners = [[0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 1], [5, 5, 5]]
    mesh = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)  # areas 2 (+z) and 1 (+x)
    normals = metric.vertex_normals(mesh)
    np.testing.assert_allclose(normals[[0, 2]], [np.array([1, 0, 2]) / np.sqrt(5)] * 2)
    np.testing.assert_allclose(normals[[1, 3, 4]], [[0, 0, 1], [1, 0, 0], [0, 0, 0]])


def test_the_judges_do_not_depend_on_where_the_prediction_is_and_give_the_same_again() -> None:
    truth, mesh = truth_of(head(4)), head(4, seed=7, bumps_mm=1.5)
    cameras = cameras_at([0, 0, 900], [600, 0, 500])
    here = metric.evaluate(mesh, truth, seen_by=cameras).scores
    assert metric.evaluate(mesh.copy(), truth, seen_by=cameras).scores == here
    there = metric.evaluate(moved(mesh, degrees=-8, shift=(5, 9, -6)), truth, seen_by=cameras).scores
    assert here["head_accuracy_mm"] > 0.5 and 0 < here["head_f1_at_1mm"] < 1 and here["head_normals_mean_deg"] > 1
    for name in (name for name in here if "toolbox" not in name):
        assert there[name] == pytest.approx(here[name], abs=0.05 if name.endswith("deg") else 2e-3), name


@pytest.mark.parametrize("unit", [1.0, 123.0])
def test_one_camera_sees_the_half_of_a_sphere_that_faces_it(unit: float) -> None:
    ball = ball_of()
    seen = metric.visible(ball, cameras_at([0, 0, 100_000], focal=90_000, unit=unit))
    height = ball.vertices[:, 2] / 100
    assert seen[height > metric.LEAST_COSINE + 0.03].all() and not seen[height < metric.LEAST_COSINE - 0.03].any()
    both = metric.visible(ball, cameras_at([0, 0, 100_000], [0, 0, -100_000], focal=90_000, unit=unit))
    assert both.mean() == pytest.approx(1 - metric.LEAST_COSINE, abs=0.02)


def test_a_camera_sees_nothing_behind_it_outside_its_picture_or_behind_something() -> None:
    ball = ball_of()
    front = ball.vertices[:, 2] > 50
    assert metric.visible(ball, cameras_at([0, 0, 900]))[front].all()
    assert not metric.visible(ball, turned_away()).any()
    part = metric.visible(ball, cameras_at([0, 0, 900], size=(20, 200)))  # 10 pixels, or 45 mm at the centre, to either side
    assert part.any() and np.abs(ball.vertices[part][:, 0]).max() < 46
    plate = trimesh.creation.box(extents=[500, 500, 1]).apply_translation([0, 0, 300])
    hidden = metric.visible(trimesh.util.concatenate([ball, plate]), cameras_at([0, 0, 900]))
    assert not hidden[: len(ball.vertices)].any() and hidden[len(ball.vertices) :].any()
    beyond = trimesh.util.concatenate([ball, plate.apply_translation([0, 0, 700])])  # behind the camera
    assert metric.visible(beyond, cameras_at([0, 0, 900]))[: len(ball.vertices)][front].all()


def test_seen_and_unseen_are_parts_of_the_head_score() -> None:
    truth, mesh = truth_of(head(4)), head(4, seed=3, bumps_mm=1.5)
    mesh.vertices[mesh.vertices[:, 2] < -30] *= 1.1  # worse where the camera does not see it
    cameras = cameras_at([0, 0, 900])
    found, seen = metric.evaluate(mesh, truth, seen_by=cameras), metric.visible(truth.mesh_mm, cameras)
    errors = found.errors_mm["rigid"]
    assert 0.2 < seen.mean() < 0.8
    assert found.scores["head_seen_mm"] == pytest.approx(errors[seen].mean())
    assert found.scores["head_unseen_mm"] == pytest.approx(errors[~seen].mean())
    assert found.scores["head_unseen_mm"] > found.scores["head_seen_mm"] + 2
    face, of_face = truth.regions["face_sphere"], metric.errors_mm(mesh, truth, "rigid", region="face_sphere")
    assert found.scores["face_seen_mm"] == pytest.approx(of_face[face][seen[face]].mean())
    everything = metric.evaluate(ball_of(101), all_of(ball_of()), seen_by=turned_away()).scores
    assert "head_seen_mm" not in everything and everything["head_unseen_mm"] == pytest.approx(everything["head_rigid_mm"])
