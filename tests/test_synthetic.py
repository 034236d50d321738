"""The built-in people: what is written is what was photographed, and the same seed gives the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.spatial
import trimesh
from PIL import Image

from heads import h3ds, synthetic

SIZE = 96
PHOTOGRAPHS = 16


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    for name in ("ann", "bob"):
        synthetic.write_subject(folder, name, seed=1, size=SIZE, n_photographs=PHOTOGRAPHS)
    return folder


@pytest.fixture(scope="module")
def person() -> synthetic.Person:
    return synthetic.make_person(np.random.SeedSequence([3, 3]))


def projected(root: Path, name: str, view: int) -> np.ndarray:
    """Pixels (N, 2) of the scan's vertices, with nothing but the file and the pinhole equation."""
    vertices = h3ds.load_truth(root, name).mesh_mm.vertices
    homogeneous = (
        np.column_stack([vertices, np.ones(len(vertices))]) @ np.load(root / name / "cameras.npz")[f"world_mat_{view}"].T
    )
    return homogeneous[:, :2] / homogeneous[:, 2:3]


def mask(root: Path, name: str, view: int) -> np.ndarray:
    return np.asarray(Image.open(root / name / "mask" / f"mask_{view:04}.png").convert("L")) > 127


def test_the_view_lists_are_nested_and_begin_at_the_front_the_sides_and_the_back() -> None:
    lists = synthetic.VIEW_LISTS
    assert {count: len(set(numbers)) for count, numbers in lists.items()} == {3: 3, 4: 4, 8: 8, 16: 16, 32: 32}
    assert lists[3] == (0, 5, 35) and lists[4] == (0, 5, 35, 20)  # of 40 pictures, 9 degrees apart
    for fewer, more in zip((3, 4, 8, 16), (4, 8, 16, 32), strict=True):
        assert lists[more][:fewer] == lists[fewer]
    gaps = np.diff(np.sort([*lists[8], 40]))
    assert gaps.min() == gaps.max() == 5


@pytest.mark.parametrize("count", [8, 12, 16, 25, 33, 70])
def test_any_number_of_photographs_has_view_lists_without_a_repeat(count: int) -> None:
    for length, numbers in synthetic.view_lists(count).items():
        assert len(set(numbers)) == length and min(numbers) >= 0 and max(numbers) < count


@pytest.mark.parametrize("name", ["ann", "bob"])
def test_the_scan_projects_onto_the_masks_to_a_fraction_of_a_pixel(root: Path, name: str) -> None:
    for view in range(PHOTOGRAPHS):
        px, seen = projected(root, name, view), mask(root, name, view)
        near = np.rint(px).astype(int)
        assert near.min() >= 0 and near.max() < SIZE, "the head is cut"
        grown = np.pad(seen, 1)
        touched = sum(grown[1 + dy : SIZE + 1 + dy, 1 + dx : SIZE + 1 + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)) > 0
        assert touched[near[:, 1], near[:, 0]].all(), "a vertex lies outside the silhouette"
        rows, columns = np.nonzero(seen)
        # A silhouette's first and last pixel centres lie inside the outline, by between 0 and 1 pixel: half of one on average.
        inset = np.array(
            [
                columns.min() - px[:, 0].min(),
                px[:, 0].max() - columns.max(),
                rows.min() - px[:, 1].min(),
                px[:, 1].max() - rows.max(),
            ]
        )
        assert (inset > -1e-3).all() and (inset < 2.0).all()


def test_pixel_centres_are_at_integers(root: Path) -> None:
    """A half-pixel offset would move all silhouettes right or down against the scan, and here the two sides balance."""
    left_minus_right, top_minus_bottom = [], []
    for name in ("ann", "bob"):
        for view in range(PHOTOGRAPHS):
            px = projected(root, name, view)
            rows, columns = np.nonzero(mask(root, name, view))
            left_minus_right.append((columns.min() - px[:, 0].min()) - (px[:, 0].max() - columns.max()))
            top_minus_bottom.append((rows.min() - px[:, 1].min()) - (px[:, 1].max() - rows.max()))
    assert abs(np.mean(left_minus_right)) < 0.35 and abs(np.mean(top_minus_bottom)) < 0.35


def test_a_mask_is_what_rays_through_the_pixel_centres_meet(root: Path) -> None:
    mesh = h3ds.load_truth(root, "ann").mesh_mm
    camera = np.load(root / "ann" / "cameras.npz")["world_mat_2"]
    pixel = np.random.default_rng(0).integers(0, SIZE, (300, 2))
    inverse = np.linalg.inv(camera)
    centre = inverse[:3, 3]  # the third row of K[R|t] is z, so the camera centre solves R c + t = 0
    rays = np.column_stack([pixel, np.ones(300)]) @ inverse[:3, :3].T
    met = trimesh.ray.ray_triangle.RayMeshIntersector(mesh).intersects_any(np.tile(centre, (300, 1)), rays)
    assert (met == mask(root, "ann", 2)[pixel[:, 1], pixel[:, 0]]).mean() > 0.995


@pytest.mark.parametrize("name", ["ann", "bob"])
def test_the_head_fills_every_picture(root: Path, name: str) -> None:
    for view in range(PHOTOGRAPHS):
        rows, columns = np.nonzero(mask(root, name, view))
        assert max(np.ptp(rows), np.ptp(columns)) > 0.75 * SIZE


def test_the_head_lies_in_the_unit_sphere_without_telling_its_box(root: Path) -> None:
    mm_from_unit = np.load(root / "ann" / "cameras.npz")["scale_mat_0"]
    vertices = h3ds.load_truth(root, "ann").mesh_mm.vertices
    unit = (vertices - mm_from_unit[:3, 3]) / mm_from_unit[0, 0]
    assert 0.75 < np.linalg.norm(unit, axis=1).max() < 0.95
    assert np.abs((vertices.min(axis=0) + vertices.max(axis=0)) / 2 - mm_from_unit[:3, 3]).max() > 0.5


def test_landmarks_are_where_their_names_say(person: synthetic.Person) -> None:
    at = {name: person.vertices_mm[vertex] for name, vertex in person.landmarks.items()}
    assert at["right_eye"][0] < -20 < 20 < at["left_eye"][0]  # the face is towards +z: the person's right is -x
    assert at["right_lips"][0] < -10 < 10 < at["left_lips"][0]
    assert at["nose_tip"][2] > max(point[2] for name, point in at.items() if name != "nose_tip")
    heights = [at[name][1] for name in ("left_eye", "nose_tip", "nose_base", "left_lips")]
    assert heights == sorted(heights, reverse=True)
    assert np.linalg.norm(at["left_eye"] - at["right_eye"]) == pytest.approx(62, abs=10)  # mm, adults


def test_regions_are_what_the_metric_takes_them_for(person: synthetic.Person) -> None:
    tip = person.vertices_mm[person.landmarks["nose_tip"]]
    away = np.linalg.norm(person.vertices_mm - tip, axis=1)
    assert set(person.regions["face_sphere"]) == set(np.flatnonzero(away < 95))
    assert person.landmarks["nose_tip"] in person.regions["nose"]
    assert set(person.regions["nose"]) < set(person.regions["face"])
    hair = np.unique(person.faces[person.material == synthetic.HAIR])
    assert len(np.intersect1d(hair, person.regions["face"])) == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_scan_is_the_outer_surface_only(seed: int) -> None:
    """From nearly every point of the scan some direction leads outside: no mouth bag, no back of an eyeball."""
    someone = synthetic.make_person(np.random.SeedSequence([seed, 9]))
    triangles = someone.vertices_mm[someone.faces]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    area = np.linalg.norm(normals, axis=1)
    normals /= area[:, None] + 1e-12
    start = triangles.mean(axis=1) + 0.02 * normals
    scene, free = synthetic._scene(triangles), np.zeros(len(triangles), dtype=bool)
    for direction in synthetic._directions(150):
        free |= ~synthetic._blocked(scene, start, np.tile(direction, (len(start), 1))) & (normals @ direction > 0)
    assert area[~free].sum() < 0.03 * area.sum()  # the rims under lids and hair


def test_people_differ_and_the_name_decides_who_it_is(root: Path) -> None:
    first, second = (h3ds.load_truth(root, name) for name in ("ann", "bob"))
    apart = scipy.spatial.cKDTree(second.mesh_mm.vertices).query(first.mesh_mm.vertices[first.regions["face"]])[0]
    assert apart.mean() > 1.0


def test_no_eye_looks_through_its_lid(person: synthetic.Person) -> None:
    """Straight ahead of each eye centre, the first thing a ray meets is the eyeball."""
    scene = synthetic._scene(person.vertices_mm[person.faces])
    origins = (person.eye_centres_mm + np.array([0, 0, 200])).astype(np.float32)
    hit = scene.run(origins, np.tile(np.array([0, 0, -1], np.float32), (2, 1)), query="INTERSECT", output=True)
    assert (person.material[hit["primID"]] == synthetic.EYE).all()


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    synthetic.write_subject(here, "eve", seed=5, size=48, n_photographs=8)
    command = (
        "import sys; from heads import synthetic; synthetic.write_subject(sys.argv[1], 'eve', seed=5, size=48, n_photographs=8)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", command, str(there)], check=True, env=environment, capture_output=True)
    files = sorted(path.relative_to(here) for path in here.rglob("*") if path.is_file())
    assert len(files) > 20
    for file in files:
        assert (here / file).read_bytes() == (there / file).read_bytes(), file


def test_another_seed_gives_somebody_else(tmp_path: Path) -> None:
    scans = []
    for seed in (1, 2):
        synthetic.write_subject(tmp_path, "eve", seed=seed, size=16, n_photographs=8)
        scans.append(h3ds.load_truth(tmp_path, "eve"))
    first, second = (scan.mesh_mm.vertices[scan.regions["nose"]] for scan in scans)
    assert first.shape == second.shape  # one topology
    assert np.linalg.norm(first - second, axis=1).mean() > 1.0


def test_too_few_photographs_are_refused_by_their_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least 8 photographs .* not 3 of 64"):
        synthetic.write_subject(tmp_path, "eve", seed=1, size=64, n_photographs=3)
