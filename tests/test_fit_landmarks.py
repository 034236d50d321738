"""Landmarks of built-in people, their file, and the morphable head fitted to them; what is wrong is said in a sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heads import camera
from heads.data import anatomy, drawn, landmarks_px, people
from heads.methods import fit_landmarks
from heads.morphable import Morphable
from heads.scene import Scene

SIZE = 256
CENTRE_MM = np.array([3.0, -2.0, 5.0])  # of the unit sphere
RADIUS_MM = 210.0
NAMES = drawn.NAMES


@pytest.fixture(scope="module")
def head() -> Morphable:
    return drawn.morphable(40, 20, seed=5)


@pytest.fixture(scope="module")
def person() -> people.Person:
    return people.make_person(np.random.SeedSequence([97, 1, 1]))


def ring(*degrees: float, turned: float = 0.0) -> tuple[Scene, np.ndarray]:
    """Photographs from around the head, each turned about its axis, and px_from_mm (V, 4, 4)."""
    px_from_cam = np.array([[600.0, 0, SIZE / 2 - 0.5], [0, 600, SIZE / 2 - 0.5], [0, 0, 1]])
    poses, projections = [], []
    for azimuth in np.radians(degrees):
        position = np.array([np.sin(azimuth), 0.05, np.cos(azimuth)]) * 850
        up = np.array([np.sin(turned) * np.cos(azimuth), np.cos(turned), -np.sin(turned) * np.sin(azimuth)])
        pose = camera.look_at(position, np.zeros(3), up)
        projection = np.eye(4)
        projection[:3] = px_from_cam @ np.linalg.inv(pose)[:3]
        projections.append(projection)
        pose[:3, 3] = (pose[:3, 3] - CENTRE_MM) / RADIUS_MM
        poses.append(pose)
    mm_from_unit = np.diag([RADIUS_MM, RADIUS_MM, RADIUS_MM, 1.0])
    mm_from_unit[:3, 3] = CENTRE_MM
    count = len(degrees)
    scene = Scene(
        "somebody",
        tuple(range(count)),
        torch.zeros(count, SIZE, SIZE, 3),
        torch.zeros(count, SIZE, SIZE, dtype=torch.bool),
        torch.from_numpy(px_from_cam).float().expand(count, 3, 3),
        torch.from_numpy(np.array(poses)).float(),
        torch.from_numpy(mm_from_unit).float(),
    )
    return scene, np.array(projections)


def seen_of(head: Morphable, vertices_mm: np.ndarray, px_from_mm: np.ndarray) -> np.ndarray:
    """Where photographs see all landmarks (V, L, 2), as if nothing were in the way."""
    at = np.einsum("vij,lj->vli", px_from_mm[:, :3, :3], head.landmarks_mm(vertices_mm)) + px_from_mm[:, None, :3, 3]
    return at[..., :2] / at[..., 2:]


# ---- landmarks


def test_landmarks_are_symmetric_and_on_the_skin_of_the_mean_head() -> None:
    common = anatomy.anatomy()
    names, rows, weights = drawn.landmarks()
    assert len(names) == len(set(names)) == 68 and rows.shape == weights.shape == (68, 3)
    assert np.allclose(weights.sum(axis=1), 1) and weights.min() > -1e-6
    found = drawn.landmarks_mm(common.canonical)
    assert np.linalg.norm(found - drawn.places_mm(), axis=1).max() < 0.5
    pairs = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    pairs += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    pairs += [*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1)]
    assert np.allclose(found[pairs], found * [-1, 1, 1], atol=0.02)


def test_landmarks_are_where_they_belong_on_the_face() -> None:
    common = anatomy.anatomy()
    at = dict(zip(NAMES, drawn.landmarks_mm(common.canonical), strict=True))
    for side, centre in zip(("right", "left"), common.eye_centres, strict=True):
        lids = np.array([at[f"{side} eye {number}"] for number in range(1, 7)])
        assert np.linalg.norm(lids.mean(axis=0)[:2] - centre[:2]) < 3 and np.ptp(lids[:, 0]) == pytest.approx(24.5, abs=1)
        assert lids[[1, 2], 1].min() > centre[1] > lids[[4, 5], 1].max()
        brow = np.array([at[f"{side} brow {number}"] for number in range(1, 6)])
        assert (brow[:, 1] > lids[:, 1].max() + 10).all()
    known = {name: common.canonical[vertex] for name, vertex in common.landmarks.items()}
    same = {"mouth 1": "right_lips", "mouth 7": "left_lips", "nose 4": "nose_tip", "nose 7": "nose_base"}
    assert all(np.linalg.norm(at[name] - known[other]) < 1.5 for name, other in same.items())
    assert at["jaw 1"][0] < -70 < 70 < at["jaw 17"][0] and at["jaw 9"][1] < -110


def test_a_photograph_sees_what_is_in_front(person: people.Person) -> None:
    _, px_from_mm = ring(0, 90, 180)
    found = drawn.seen(person, px_from_mm, SIZE, 0.0, np.random.default_rng(0))
    there = np.isfinite(found[..., 0])
    side = np.array([place[0] for place in drawn.places_mm()])
    assert there[0].sum() > 45 and not there[1][side < -12].any() and there[1][side > 25].any() and not there[2].any()
    again = drawn.seen(person, px_from_mm, SIZE, 1.0, np.random.default_rng(0))
    assert 0.8 < np.nanstd(again - found) < 1.2
    small = drawn.seen(person, px_from_mm, SIZE // 2, 0.0, np.random.default_rng(0))
    assert np.nanmax(small) <= SIZE / 2 - 0.5 and np.isfinite(small).sum() < np.isfinite(found).sum()


# ---- principal components


def test_components_are_orthogonal_on_the_face_and_reproduce_the_drawn_heads(head: Morphable) -> None:
    heads = np.stack([drawn.head_mm_of(5, number) for number in range(12)])
    full = drawn.morphable(12, 11, seed=5)
    basis = full.directions_mm[:, full.face].reshape(11, -1).astype(np.float64)
    gram = basis @ basis.T
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-4 * gram[0, 0] and (np.diff(np.diag(gram)) < 0).all()
    away = (heads - full.mean_mm).astype(np.float64)
    codes = away[:, full.face].reshape(12, -1) @ basis.T / np.diag(gram)
    assert np.allclose(codes.var(axis=0, ddof=1), 1, atol=1e-3)
    made = np.stack([full.vertices_mm(code) for code in codes])
    assert np.abs(made - heads).max() < 0.01  # all vertices, not only those of the face
    assert np.allclose(full.vertices_mm(codes[0][:3]), full.vertices_mm(np.pad(codes[0][:3], (0, 8))), atol=1e-4)


def test_the_region_is_that_of_the_photographs_and_takes_most_of_the_texture(head: Morphable) -> None:
    whole = drawn.morphable(3, 2, seed=5, region="head")
    assert set(head.face) < set(whole.face) and len(head.face) == 8038
    for made in (head, whole):
        assert made.uv.min() >= 0 and made.uv.max() <= 1
        assert np.allclose([made.uv[made.face].min(axis=0), made.uv[made.face].max(axis=0)], [[0.02] * 2, [0.98] * 2], atol=1e-6)
    middle = head.uv[head.rows[NAMES.index("nose 4")]].mean(axis=0)
    assert middle[0] == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match="region must be one of face, head, not 'ear'"):
        drawn.morphable(3, 2, seed=5, region="ear")
    with pytest.raises(ValueError, match="3 drawn heads have 1 to 2 principal components, not 3"):
        drawn.morphable(3, 3, seed=5)


# ---- the file


def test_landmarks_are_read_as_they_were_written(tmp_path: Path) -> None:
    px = np.random.default_rng(0).uniform(0, 200, (4, len(NAMES), 2))
    px[0, 5:20] = np.nan
    px[2] = np.nan
    landmarks_px.write(tmp_path / "a" / "landmarks_px.csv", NAMES, px)
    found = landmarks_px.load(tmp_path, "a", (3, 0), NAMES, (201, 200))
    assert np.allclose(found, px[[3, 0]], atol=6e-4, equal_nan=True)
    some = landmarks_px.load(tmp_path, "a", (0,), NAMES[40:], (201, 200))
    assert np.allclose(some, px[:1, 40:], atol=6e-4)


HEADER = "photograph,landmark,column,row\n"
ROWS = [f"0,{name},{10 + index},20.5\n" for index, name in enumerate(NAMES)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("photograph,landmark,column\n", "landmark, column, row was expected; it has no column row$"),
        ("photograph,landmark,column,row,score\n", "was expected; it has another column, 'score'$"),
        ("", "a table of the columns .* was expected "),
        (HEADER + ROWS[0] + "0,jaw 2,ten,4\n", "csv, line 3: column is 'ten'; expected a number of pixels$"),
        (HEADER + "0,jaw 2,4,inf\n", "csv, line 2: row is 'inf'; expected a number of pixels$"),
        (HEADER + "0,jaw 2,4\n", "csv, line 2: row is ''; expected a number of pixels$"),
        (HEADER + "front,jaw 2,4,4\n", "csv, line 2: photograph is 'front'; expected the number of a photograph$"),
        (HEADER + "0.5,jaw 2,4,4\n", "csv, line 2: photograph is '0.5'; expected the number of a photograph$"),
        (HEADER, "photograph 0 has no landmarks; expected some for each photograph that is used$"),
        (HEADER + "".join(ROWS).replace("0,", "1,"), "photograph 0 has no landmarks; "),
        (HEADER + "".join(ROWS[:5]), "photograph 0 has 5 of the landmarks; expected at least 6 with names like jaw 1, jaw 2$"),
        (HEADER + "".join(ROWS).replace("jaw", "chin").replace(" ", "-"), "photograph 0 has 0 of the landmarks; expected at "),
        (HEADER + "".join(ROWS) + ROWS[3], "jaw 4 is listed twice for photograph 0; expected once$"),
        (HEADER + "".join(ROWS[1:]) + "0,jaw 1,300,4\n", "jaw 1 of photograph 0 is at column 300 and row 4, a face out of the "),
        (
            HEADER + "".join(ROWS[1:]) + "0,jaw 1,30,-4\n",
            "row -4, a face out of the picture; expected it within 256 x 256 pixels$",
        ),
    ],
)
def test_what_is_wrong_with_the_file_is_said_in_a_sentence(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "landmarks_px.csv").write_text(text)
    with pytest.raises(ValueError, match=said) as raised:
        landmarks_px.load(tmp_path, "a", (0,), NAMES, (256, 256))
    assert str(raised.value).startswith(str(tmp_path / "a" / "landmarks_px.csv")) and "\n" not in str(raised.value)


def test_without_the_file_it_is_said_who_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"landmarks_px.csv: no such file; 01_data writes it .* of the 68 iBUG landmarks"):
        landmarks_px.load(tmp_path, "a", (0,), NAMES, (256, 256))


# ---- the fit


def drawn_face(head: Morphable, seed: int) -> np.ndarray:
    """Vertices (N, 3) of a head that the components can make, a little turned and moved."""
    turn = fit_landmarks._turn(np.array([0.1, -0.2, 0.05]))
    return head.vertices_mm(np.random.default_rng(seed).normal(0, 1, 20)) @ turn.T + [4, 12, 10]


@pytest.mark.parametrize("turned", [0.0, np.pi / 2])
def test_exact_landmarks_of_three_photographs_give_the_head(head: Morphable, turned: float) -> None:
    scene, px_from_mm = ring(0, 45, -45, turned=turned)
    true = drawn_face(head, 1)
    found = fit_landmarks.fit(head, scene, seen_of(head, true, px_from_mm), fit_landmarks.Config(noise_px=0.05))
    assert np.linalg.norm((found.vertices_mm - true)[head.face], axis=1).mean() < 0.2
    assert found.residuals_px.shape == (3, 68) and found.residuals_px.max() < 0.1
    again = head.vertices_mm(found.code) @ found.mm_from_head[:3, :3].T + found.mm_from_head[:3, 3]
    assert np.allclose(again, found.vertices_mm)


def test_noise_outliers_and_hidden_landmarks_cost_little(head: Morphable) -> None:
    scene, px_from_mm = ring(0, 45, -45)
    rng, true = np.random.default_rng(0), drawn_face(head, 2)
    seen = seen_of(head, true, px_from_mm) + rng.normal(0, 1, (3, 68, 2))
    seen[1, :8], seen[2, 9:17] = np.nan, np.nan
    noisy = np.linalg.norm((fit_landmarks.fit(head, scene, seen).vertices_mm - true)[head.face], axis=1).mean()
    seen[0, [3, 30, 50]] += [40, -30]
    found = fit_landmarks.fit(head, scene, seen)
    assert noisy < 2 and np.linalg.norm((found.vertices_mm - true)[head.face], axis=1).mean() < noisy + 1
    assert np.isnan(found.residuals_px[1, :8]).all() and (found.residuals_px[0, [3, 30, 50]] > 30).all()


def test_one_photograph_gives_the_shape_and_about_the_distance(head: Morphable) -> None:
    scene, px_from_mm = ring(20)
    true = drawn_face(head, 3)
    found = fit_landmarks.fit(head, scene, seen_of(head, true, px_from_mm), fit_landmarks.Config(noise_px=0.2))
    off = (found.vertices_mm - true)[head.face].mean(axis=0)
    towards = px_from_mm[0, 2, :3]
    assert abs(off @ towards) < 30 and np.linalg.norm(off - (off @ towards) * towards) < 3
    assert np.median(found.residuals_px) < 0.3


def test_a_built_in_person_is_fitted_where_the_head_is(head: Morphable, person: people.Person) -> None:
    scene, px_from_mm = ring(0, 45, -45)
    seen = drawn.seen(person, px_from_mm, SIZE, 1.0, np.random.default_rng(0))
    found = fit_landmarks.fit(head, scene, seen)
    assert np.linalg.norm((found.vertices_mm - person.head_mm)[head.face], axis=1).mean() < 3


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=10, deadline=None)
def test_slopes_are_those_of_finite_differences(seed: int, far: bool) -> None:
    rng = np.random.default_rng(seed)
    px_from_mm = ring(0, 45)[1][:, :3]
    problem = fit_landmarks.Problem(
        mean_mm=rng.normal(0, 60, (9, 3)),
        directions_mm=rng.normal(0, 3, (4, 9, 3)),
        projections=px_from_mm[rng.integers(0, 2, 9)],
        seen_px=rng.uniform(0, SIZE, (9, 2)),
        origin_mm=np.array([0.0, 9, 10]),
        deviation_mm=np.array([4.0, 10, 8]),
        noise_px=0.7,
    )
    turn = fit_landmarks._turn(rng.normal(0, 1.5, 3))
    state = fit_landmarks.State(turn, rng.normal(0, 60 if far else 5, 3), rng.normal(0, 1, 4))
    for part in (0, 1):
        slopes = problem.jacobian(state)[part]
        for k, step in enumerate(1e-5 * np.eye(10)):
            ahead, behind = (problem.residuals(state.moved(sign * step))[part] for sign in (1, -1))
            assert np.allclose((ahead - behind) / 2e-5, slopes[..., k], rtol=1e-4, atol=1e-4)


def test_a_turn_is_a_rotation_by_its_length() -> None:
    turn = fit_landmarks._turn(np.array([0, 0, np.pi / 2]))
    assert np.allclose(turn @ [1, 0, 0], [0, 1, 0]) and np.array_equal(fit_landmarks._turn(np.zeros(3)), np.eye(3))


def test_landmarks_that_cannot_be_fitted_get_a_sentence(head: Morphable) -> None:
    scene, px_from_mm = ring(0, 45)
    seen = seen_of(head, drawn_face(head, 1), px_from_mm)
    with pytest.raises(ValueError, match=r"somebody: landmarks of the shape \(1, 68, 2\); expected \(2, 68, 2\)$"):
        fit_landmarks.fit(head, scene, seen[:1])
    none, few, out = seen.copy(), seen.copy(), seen.copy()
    none[1] = np.nan
    with pytest.raises(ValueError, match=r"somebody: photograph 1 has no landmarks; expected photographs in which the face is "):
        fit_landmarks.fit(head, scene, none)
    few[0, 3:], few[1, 2:] = np.nan, np.nan
    with pytest.raises(ValueError, match=r"somebody: 5 landmarks are seen; expected at least 6 in all photographs$"):
        fit_landmarks.fit(head, scene, few)
    out[1, 2] = 12.0, 256.0
    with pytest.raises(
        ValueError, match=r"jaw 3 is at column 12.0 and row 256.0 of photograph 1, outside of its 256 x 256 pixels$"
    ):
        fit_landmarks.fit(head, scene, out)
    mixed = np.random.default_rng(0).permutation(seen, axis=1)
    with pytest.raises(ValueError, match=r"no head has these landmarks, the best is off by \d+ px in the median; expected 10 px"):
        fit_landmarks.fit(head, scene, mixed)
    for wrong in ({"noise_px": 0.0}, {"outlier": -1.0}, {"noise_px": float("nan")}, {"origin_deviation_mm": (0.0, 1.0, 1.0)}):
        with pytest.raises(ValueError, match="must be above 0"):
            replace(fit_landmarks.Config(), **wrong)
    with pytest.raises(ValueError, match="at least 1 iteration, and 0 or more components"):
        fit_landmarks.Config(components=-1)
