"""Pixel2Mesh's scores of a face, against numbers that are known."""

import numpy as np
import pytest
import trimesh

from heads import vertices
from heads.truth import Truth


@pytest.fixture(scope="module")
def truth() -> Truth:
    """Half a ball of 80 mm, densely meshed, that looks along z."""
    ball = trimesh.creation.icosphere(5, 80.0)
    front = ball.submesh([np.flatnonzero(ball.triangles_center[:, 2] > 0)], append=True)
    tip = int(np.argmax(front.vertices[:, 2]))
    right = int(np.argmin(np.linalg.norm(front.vertices - [-30, 20, 71], axis=1)))
    left = int(np.argmin(np.linalg.norm(front.vertices - [30, 20, 71], axis=1)))
    region = np.flatnonzero(np.linalg.norm(front.vertices - front.vertices[tip], axis=1) < 95)
    landmarks = {"nose_tip": tip, "right_eye": right, "left_eye": left}
    return Truth("ball", front, landmarks, {"face": region, "face_sphere": region})


def test_the_scan_itself_is_near_perfect(truth: Truth) -> None:
    scores = vertices.evaluate(truth.mesh_mm, truth)
    assert scores["f1_tau"] > 0.99 and scores["cd"] < 0.1 and scores["aligned_nme_eyes"] < 0.02


def test_a_mesh_that_lies_elsewhere_is_bad_as_it_lies_and_good_once_aligned(truth: Truth) -> None:
    moved = trimesh.Trimesh(truth.mesh_mm.vertices + np.array([0, 0, 8.0]), truth.mesh_mm.faces, process=False)
    scores = vertices.evaluate(moved, truth)
    assert scores["f1_tau"] < 0.75 and scores["aligned_f1_tau"] > 0.99 and scores["cd"] > 10 * scores["aligned_cd"]


def test_distances_become_the_published_scores() -> None:
    there, back = np.array([0.0, 2.0, 2.5, 10.0]), np.array([2.0, 2.2])  # tau is 2.1 mm, 2 tau 2.97
    scores = vertices.of_distances(there, back)
    assert scores["f1_tau"] == pytest.approx(0.5) and scores["f1_2tau"] == pytest.approx(2 * 0.75 / 1.75)
    expected = 1000 * ((there**2).mean() + (back**2).mean()) / 210**2
    assert scores["cd"] == pytest.approx(expected)


def test_the_two_nmes_are_what_they_are_called(truth: Truth) -> None:
    larger = trimesh.Trimesh(truth.mesh_mm.vertices * 1.02, truth.mesh_mm.faces, process=False)
    scores = vertices.evaluate(larger, truth)
    eyes = np.linalg.norm(np.subtract(*(truth.mesh_mm.vertices[truth.landmarks[f"{side}_eye"]] for side in ("right", "left"))))
    assert 1.6 / eyes < scores["nme_eyes"] < 2.2 / eyes  # to the nearest vertex, not to the surface
    assert 0 < scores["nme_variant_e9"] < 1e6 * scores["nme_eyes"]  # of squares, divided by the number of points again


def test_a_mesh_far_from_the_face_is_refused(truth: Truth) -> None:
    small = trimesh.creation.icosphere(1, 5.0)
    small.apply_translation([0, 0, 3000.0])
    with pytest.raises(ValueError, match=r"ball: no vertex of the mesh is within 95 mm of the tip of the nose"):
        vertices.evaluate(small, truth)
