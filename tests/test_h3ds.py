"""The H3DS layout: what is written is read back, by us and by the official package; errors name what is broken."""

import base64
import hashlib
import http.server
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
import traceback
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from heads import camera
from heads.data import h3ds
from heads.data.truth import load_truth, read_obj

needs_official = pytest.mark.skipif(importlib.util.find_spec("h3ds") is None, reason="the h3ds package is not installed")
VIEWS, HEIGHT, WIDTH = 5, 24, 32


def parts(height: int = HEIGHT, width: int = WIDTH) -> dict[str, Any]:
    """A scene's values, as `write_scene` takes them: smooth pictures, cameras on a ring, a ball of 100 mm radius."""
    row, column = np.mgrid[:height, :width]
    ramp = [np.stack([row * 4 + 20 * i, column * 4, 0 * row + 100], axis=-1) for i in range(VIEWS)]
    px_from_cam = np.array([[90.0, 0, width / 2, 0], [0, 90, height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    poses = [
        camera.look_at(np.array([600 * np.sin(a), 50, 600 * np.cos(a)]), np.zeros(3), np.array([0, 1.0, 0])) for a in range(VIEWS)
    ]
    ball = trimesh.creation.icosphere(subdivisions=2, radius=100)
    mm_from_unit = np.diag([140.0, 140.0, 140.0, 1.0])
    mm_from_unit[:3, 3] = [3, -4, 5]
    return {
        "images": np.stack(ramp).astype(np.uint8),
        "masks": np.broadcast_to((row - height / 2) ** 2 + (column - width / 2) ** 2 < 80, (VIEWS, height, width)).copy(),
        "world_mat": np.stack([px_from_cam @ np.linalg.inv(pose) for pose in poses]),
        "scale_mat": mm_from_unit,
        "mesh_mm": ball,
        "landmarks": {"nose_tip": 3, "nose_base": 5},
        "regions": {"face": np.arange(80), "face_sphere": np.arange(40)},
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the scene `s0`, whose view lists are not sorted, as some official ones are not."""
    h3ds.write_scene(tmp_path / "data", "s0", **parts())
    h3ds.register(tmp_path / "data", "s0", n_views=VIEWS, view_lists={1: [0], 3: [4, 0, 2]}, tags=["test"])
    return tmp_path / "data"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- written and read back


def test_a_scene_is_read_back_as_it_was_written(root: Path) -> None:
    written, scene = parts(), h3ds.load_scene(root, "s0", 3)
    assert scene.name == "s0" and scene.views == (4, 0, 2)
    assert (scene.masks.numpy() == written["masks"][[4, 0, 2]]).all()
    assert np.abs(scene.images.numpy() * 255 - written["images"][[4, 0, 2]]).max() < 8  # JPEG
    np.testing.assert_allclose(scene.mm_from_unit, written["scale_mat"])
    points_mm = np.random.default_rng(0).normal(scale=50, size=(20, 3))
    points = trimesh.transform_points(points_mm, np.linalg.inv(written["scale_mat"]))
    pixels = camera.project(scene.px_from_cam, scene.unit_from_cam, torch.tensor(points).float().expand(3, -1, -1))
    for place, number in enumerate(scene.views):
        homogeneous = np.c_[points_mm, np.ones(20)] @ written["world_mat"][number].T
        np.testing.assert_allclose(pixels[place], homogeneous[:, :2] / homogeneous[:, 2:3], atol=1e-3)


def test_the_truth_is_read_back_as_it_was_written(root: Path) -> None:
    written, truth = parts(), load_truth(root, "s0")
    assert truth.name == "s0" and truth.landmarks == written["landmarks"]
    np.testing.assert_allclose(truth.mesh_mm.vertices, written["mesh_mm"].vertices, atol=1e-6)
    assert (truth.mesh_mm.faces == written["mesh_mm"].faces).all()
    assert {name: list(region) for name, region in truth.regions.items()} == {"face": [*range(80)], "face_sphere": [*range(40)]}


def test_a_mask_is_where_the_grey_value_is_above_half(root: Path) -> None:
    grey = np.full((HEIGHT, WIDTH), 127, np.uint8)
    grey[:, 7:] = 128
    Image.fromarray(grey).save(root / "s0" / "mask" / "mask_0002.png")
    assert (h3ds.load_scene(root, "s0", [2]).masks[0].numpy() == (grey == 128)).all()


def test_views_may_be_a_list_of_picture_numbers(root: Path) -> None:
    chosen, everything = h3ds.load_scene(root, "s0", [3, 1]), h3ds.load_scene(root, "s0", range(VIEWS))
    assert chosen.views == (3, 1)
    assert torch.equal(chosen.images, everything.images[[3, 1]]) and torch.equal(
        chosen.unit_from_cam, everything.unit_from_cam[[3, 1]]
    )


def test_only_the_requested_pictures_are_decoded(root: Path) -> None:
    before = h3ds.load_scene(root, "s0", 3)
    for name in ("image/img_0001.jpg", "mask/mask_0003.png"):
        (root / "s0" / name).write_bytes(b"no picture")
    assert torch.equal(h3ds.load_scene(root, "s0", 3).images, before.images)


def test_the_same_values_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    again = h3ds.write_scene(tmp_path / "again", "s0", **parts())
    assert tree(again) == tree(root / "s0")
    h3ds.register(tmp_path / "again", "s0", n_views=VIEWS, view_lists={3: [4, 0, 2], 1: [0]}, tags=["test"])
    assert (tmp_path / "again" / "config.toml").read_bytes() == (root / "config.toml").read_bytes()


def test_a_write_that_fails_leaves_the_old_scene_and_nothing_else(root: Path) -> None:
    before = tree(root)
    with pytest.raises(ValueError, match="not a vertex"):
        h3ds.write_scene(root, "s0", **parts() | {"landmarks": {"nose_tip": "not a vertex"}})
    assert tree(root) == before
    h3ds.write_scene(root, "s0", **parts() | {"landmarks": {"nose_tip": 7}})
    assert load_truth(root, "s0").landmarks == {"nose_tip": 7}
    assert sorted(path.name for path in root.iterdir()) == [".config.toml.lock", "config.toml", "s0", "version.txt"]


def test_scenes_registered_at_the_same_time_are_all_kept(root: Path) -> None:
    names = [f"t{i:02}" for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: h3ds.register(root, name, n_views=1, view_lists={1: [0]}, tags=["many"]), names))
    assert h3ds.scenes(root) == ["s0", *names]
    assert h3ds.scenes(root, tag="many") == names and h3ds.scenes(root, tag="test") == ["s0"]


@pytest.mark.parametrize("name", ["../s1", "a/b", "", "..", "a.b", "x y"])
def test_a_scene_whose_name_is_a_path_is_not_written(root: Path, name: str) -> None:
    before = tree(root.parent)
    with pytest.raises(ValueError, match="letters, digits"):
        h3ds.write_scene(root, name, **parts())
    with pytest.raises(ValueError, match="letters, digits"):
        h3ds.register(root, name, n_views=1, view_lists={1: [0]})
    assert tree(root.parent) == before


# ---- what is held out


def ring(tmp_path: Path, view_lists: dict[int, list[int]], count: int = 40) -> Path:
    """A scene of empty files, as only their names are looked at, with cameras."""
    for kind, stem in (("image", "img"), ("mask", "mask")):
        (tmp_path / "s0" / kind).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "s0" / kind / f"{stem}_{number:04}.png").touch()
    matrices = {f"world_mat_{i}": parts()["world_mat"][i % VIEWS] for i in range(count)}
    np.savez(tmp_path / "s0" / "cameras.npz", scale_mat_0=parts()["scale_mat"], **matrices)
    h3ds.register(tmp_path, "s0", n_views=count, view_lists=view_lists)
    return tmp_path


LISTS = {
    3: [0, 5, 35],
    4: [0, 5, 35, 20],
    8: [0, 5, 35, 20, 10, 30, 15, 25],
    16: [*range(0, 40, 5), 2, 8, 12, 18, 22, 28, 32, 38],
}


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        (3, [2, 15, 25, 38]),  # of the list of 16: the shorter ones have too few left
        (4, [2, 15, 25, 38]),
        (8, [2, 12, 28, 38]),
        (16, [1, 14, 26, 39]),  # no list is longer: of all pictures
        ([7, 20], [0, 12, 25, 38]),
        (list(range(38)), [38, 39]),
        (list(range(40)), []),
    ],
)
def test_photographs_are_held_out_that_are_not_used_and_spread(
    tmp_path: Path, views: int | list[int], expected: list[int]
) -> None:
    root = ring(tmp_path, LISTS)
    found = h3ds.held_out(root, "s0", views)
    assert found == expected == h3ds.held_out(root, "s0", views)
    assert not set(found) & set(LISTS[views] if isinstance(views, int) else views)


def test_as_many_are_held_out_as_are_asked_for_and_never_a_used_one(tmp_path: Path) -> None:
    root = ring(tmp_path, LISTS | {5: [0, 1, 2, 3, 99]})  # a list of a broken TOML, with a picture that does not exist
    for views, most in itertools.product((3, 4, 8, 16), (1, 2, 3, 5, 8)):
        found = h3ds.held_out(root, "s0", views, most)
        assert len(found) == len(set(found)) == most and found == sorted(found) and not {*found} & {*LISTS[views], 99}


def test_cameras_are_read_without_their_pictures(root: Path) -> None:
    scene = h3ds.load_scene(root, "s0", [4, 1])
    shutil.rmtree(root / "s0" / "image")
    px_from_cam, unit_from_cam = h3ds.load_cameras(root, "s0", [4, 1])
    assert torch.equal(px_from_cam, scene.px_from_cam) and torch.equal(unit_from_cam, scene.unit_from_cam)
    assert [len(x) for x in h3ds.load_cameras(root, "s0", [])] == [0, 0]
    with pytest.raises(ValueError, match="scene s0 has no world_mat_5"):
        h3ds.load_cameras(root, "s0", [5])


# ---- the official package


@needs_official
def test_the_official_package_reads_our_files_as_we_do(root: Path) -> None:
    scene, truth = h3ds.load_scene(root, "s0", 3), load_truth(root, "s0")
    with h3ds.official_package() as official:
        dataset = official(str(root), config_path=str(root / "config.toml"))
        assert dataset.is_available() and dataset.scenes() == ["s0"] and dataset.default_views_configs("s0") == ["1", "3"]
        mesh, images, masks, cameras = dataset.load_scene("s0", "3", normalized=True)
        mesh_mm, landmarks = dataset.load_mesh("s0"), dataset.load_landmarks("s0")
        regions = {name: dataset.load_region("s0", name) for name in ("face", "face_sphere")}
    assert (np.array([np.array(image) for image in images]) == (scene.images * 255).round().numpy()).all()
    assert (np.array([np.array(mask) for mask in masks]) > 127).tolist() == scene.masks.tolist()
    for place, (px_from_cam, unit_from_cam) in enumerate(cameras):
        np.testing.assert_allclose(scene.px_from_cam[place], px_from_cam, atol=1e-2)
        np.testing.assert_allclose(scene.unit_from_cam[place], unit_from_cam, atol=1e-4)
    assert (mesh_mm.vertices == truth.mesh_mm.vertices).all() and (mesh_mm.faces == truth.mesh_mm.faces).all()
    np.testing.assert_allclose(np.linalg.norm(mesh_mm.vertex_normals, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(trimesh.transform_points(mesh.vertices, scene.mm_from_unit), truth.mesh_mm.vertices, atol=1e-4)
    assert landmarks == truth.landmarks
    assert all((regions[name] == truth.regions[name]).all() for name in regions)


@needs_official
@pytest.mark.parametrize(
    ("config", "version", "count", "keys"), [("v1", "0.2", 23, "3, 4, 8, 16, 32"), ("v2", "0.4", 59, "1, 3, 4, 6, 8, 16, 32")]
)
def test_the_official_configs_are_found_by_name_and_by_version(
    tmp_path: Path, config: str, version: str, count: int, keys: str
) -> None:
    (tmp_path / "version.txt").write_text(version + "\n")
    assert h3ds.scenes(tmp_path) == h3ds.scenes(tmp_path, config=config)
    assert len(h3ds.scenes(tmp_path)) == count and len(h3ds.scenes(tmp_path, tag="h3d-net")) == 10
    scene_id = "1b2a8613401e42a8"
    assert h3ds.read_config(tmp_path)["scenes"][scene_id]["default_views_configs"]["3"] == [0, 18, 65]
    (tmp_path / scene_id).mkdir()
    with pytest.raises(ValueError, match=f"no list of 5 views; the TOML has {keys}"):
        h3ds.load_scene(tmp_path, scene_id, 5)


@needs_official
def test_the_official_package_is_imported_only_when_used_and_leaves_no_trace(root: Path, tmp_path: Path) -> None:
    (tmp_path / "version.txt").write_text("0.2\n")
    code = """
import logging, sys
import numpy as np
from heads.data import h3ds
root, empty = sys.argv[1:]
assert len(h3ds.scenes(empty)) == 23 and not {"h3ds", "cv2"} & set(sys.modules)
with h3ds.official_package() as official:
    assert logging.getLoggerClass() is not logging.Logger  # its effect on everyone when imported
    official(root, config_path=root + "/config.toml").load_region("s0", "face")
assert logging.getLoggerClass() is logging.Logger and "int" not in vars(np)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(h3ds.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code, str(root), str(tmp_path)], check=True, env=environment)


# ---- foreign folders


def test_a_foreign_folder_is_read_with_its_own_toml_names_sizes_and_scale(tmp_path: Path) -> None:
    written = parts(height=37, width=53)
    turned = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3]) @ np.diag([55.0, 55.0, 55.0, 1.0])
    folder = tmp_path / "data" / "somebody.else"
    for name in ("image", "mask", "regions"):
        (folder / name).mkdir(parents=True)
    for i in range(VIEWS):  # unpadded: sorted as text, picture 10 would come before picture 8
        Image.fromarray(written["images"][i]).save(folder / "image" / f"shot {i + 8}.PNG")
        Image.fromarray(written["masks"][i]).save(folder / "mask" / f"shot {i + 8}.png")  # one bit per pixel
    (folder / "image" / ".DS_Store").write_bytes(b"x")
    (folder / "mask" / "._shot 8.png").write_bytes(b"x")
    matrices = {f"world_mat_{i}": matrix.astype(np.float32)[:3] for i, matrix in enumerate(written["world_mat"])}
    np.savez(folder / "cameras.npz", scale_mat_0=turned, **matrices)
    (folder / "full_head.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    for name in ("face", "face_sphere"):
        (folder / "regions" / f"{name}.txt").write_text("0\n2\n")
    toml = tmp_path / "theirs.toml"
    toml.write_text(
        "version = 7\n[scenes.'somebody.else']\nviews = 5\n[scenes.'somebody.else'.default_views_configs]\n2 = [4, 1]\n"
    )
    scene = h3ds.load_scene(tmp_path / "data", "somebody.else", 2, config=toml)
    assert scene.images.shape == (2, 37, 53, 3) and scene.views == (4, 1)
    assert ((scene.images * 255).round().numpy() == written["images"][[4, 1]]).all()
    assert (scene.masks.numpy() == written["masks"][[4, 1]]).all()
    origin = camera.project(scene.px_from_cam[0], scene.unit_from_cam[0], torch.zeros(1, 3))
    np.testing.assert_allclose(origin[0], [53 / 2, 37 / 2], atol=1e-3)  # every camera looks at the origin of the world
    truth = load_truth(tmp_path / "data", "somebody.else", config=toml)
    assert truth.landmarks == {} and list(truth.regions["face"]) == [0, 2]


def test_obj_vertices_keep_their_numbers_whatever_else_the_file_contains(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text(
        "# v 9 9 9 in a comment, and f 1 2 3\nmtllib a.mtl\no v\nv 0 0 0 0.5 0.5 0.5\nv 1 0 0\n\tv 1 1 1e0\r\nv 0 1 0\nv 7 7 7\n"
        "vt 0 0\nvt 1 0\nvt 1 1\nvn 0 0 1\nvn 1 0 0\nusemtl one\nf 1/1/1 2/2/1 3/3/2\nusemtl two\nf 1//2 3//1 4//1\nf 1 2 3 4\n"
    )
    mesh = read_obj(tmp_path / "a.obj", "s0")
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 1], [0, 1, 0], [7, 7, 7]]
    assert sorted(mesh.faces.tolist()) == [[0, 1, 2], [0, 1, 2], [0, 2, 3], [0, 2, 3]]


# ---- errors name what is broken, and its scene


def change_cameras(root: Path, **changed: Any) -> None:
    path = root / "s0" / "cameras.npz"
    with np.load(path) as arrays:
        kept = dict(arrays) | changed
    np.savez(path, allow_pickle=True, **{key: value for key, value in kept.items() if value is not None})


def replace_text(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def save_mask(root: Path, mask: np.ndarray) -> None:
    Image.fromarray(mask.astype(np.uint8) * 255).save(root / "s0" / "mask" / "mask_0002.png")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "image missing": (lambda root: (root / "s0/image/img_0002.jpg").unlink(), r"image: scene s0 has 4 pictures .* 5 .*img_0002"),
    "first image missing": (
        lambda root: (root / "s0/image/img_0000.jpg").unlink(),
        "image: scene s0 has 4 pictures .* 5 .*img_0000",
    ),
    "mask missing": (lambda root: (root / "s0/mask/mask_0004.png").unlink(), "mask: scene s0 has 4 pictures .* 5 .*mask_0004"),
    "no images": (lambda root: shutil.rmtree(root / "s0/image"), "image: no such folder; scene s0"),
    "not a picture": (
        lambda root: (root / "s0/image/img_0002.jpg").write_text("hello"),
        r"img_0002.jpg: not a picture .*scene s0",
    ),
    "half a picture": (lambda root: os.truncate(root / "s0/image/img_0002.jpg", 500), r"img_0002.jpg: not a picture .*scene s0"),
    "mask empty": (lambda root: save_mask(root, np.zeros((HEIGHT, WIDTH))), "mask_0002.png: the mask of scene s0 is empty"),
    "mask of another size": (
        lambda root: save_mask(root, np.ones((9, 7))),
        r"mask_0002.png: .* s0 is 7x9 .*img_0002.jpg is 32x24",
    ),
    "no cameras": (lambda root: (root / "s0/cameras.npz").unlink(), "cameras.npz: no such file; scene s0"),
    "cameras not an archive": (
        lambda root: (root / "s0/cameras.npz").write_text("hello"),
        "cameras.npz: the cameras of scene s0",
    ),
    "view missing": (lambda root: change_cameras(root, world_mat_2=None), "cameras.npz: scene s0 has no world_mat_2"),
    "scale missing": (lambda root: change_cameras(root, scale_mat_0=None), "cameras.npz: scene s0 has no scale_mat_0"),
    "NaN camera": (
        lambda root: change_cameras(root, world_mat_4=np.full((4, 4), np.nan)),
        "cameras.npz: world_mat_4 of scene s0",
    ),
    "camera of zeros": (lambda root: change_cameras(root, world_mat_4=np.zeros((4, 4))), "cameras.npz: world_mat_4 of scene s0"),
    "camera of another shape": (lambda root: change_cameras(root, world_mat_4=np.eye(3)), "cameras.npz: world_mat_4 of scene s0"),
    "pickled camera": (lambda root: change_cameras(root, world_mat_4=np.array([{}])), "cameras.npz: the cameras of scene s0"),
    "NaN scale": (
        lambda root: change_cameras(root, scale_mat_0=np.full((4, 4), np.nan)),
        "scale_mat_0 of scene s0 is not a finite",
    ),
    "scale not a similarity": (lambda root: change_cameras(root, scale_mat_0=np.diag([1.0, 2, 3, 1])), "scale_mat_0 of scene s0"),
    "mesh missing": (lambda root: (root / "s0/full_head.obj").unlink(), "full_head.obj: no such file; scene s0"),
    "mesh without faces": (
        lambda root: (root / "s0/full_head.obj").write_text("v 0 0 0\n"),
        "of scene s0 has 1 vertices and 0 faces",
    ),
    "mesh of words": (
        lambda root: (root / "s0/full_head.obj").write_text("v a b c\nf 1 2 3\n"),
        "full_head.obj: the mesh of scene s0",
    ),
    "mesh with NaN": (lambda root: (root / "s0/full_head.obj").write_text("v nan 0 0\nf 1 1 1\n"), "scene s0 .* not finite"),
    "face out of range": (lambda root: (root / "s0/full_head.obj").write_text("v 0 0 0\nf 1 1 2\n"), "face of scene s0"),
    "landmark out of range": (
        lambda root: (root / "s0/landmarks.txt").write_text("nose_tip 162\n"),
        r"landmarks.txt: vertex 162 .*s0 .* 161",
    ),
    "landmark not a number": (
        lambda root: (root / "s0/landmarks.txt").write_text("nose_tip x\n"),
        r"landmarks.txt: .*s0 .*'nose_tip x'",
    ),
    "region missing": (lambda root: (root / "s0/regions/face.txt").unlink(), r"face.txt: no such file \(scene s0\)"),
    "region empty": (lambda root: (root / "s0/regions/face.txt").write_text("\n"), r"face.txt: this region of scene s0 is empty"),
    "region out of range": (
        lambda root: (root / "s0/regions/face.txt").write_text("5\n-1\n"),
        r"face.txt: vertex -1 of scene s0",
    ),
    "region not numbers": (lambda root: (root / "s0/regions/face.txt").write_text("5 6\n"), r"face.txt: a region of scene s0"),
    "version mismatch": (lambda root: (root / "version.txt").write_text("0.4\n"), r"version.txt: .* version 0.4, but .* 1.0"),
    "no TOML": (lambda root: (root / "config.toml").unlink(), "config.toml: no such file"),
    "TOML of words": (lambda root: (root / "config.toml").write_text("hello"), "config.toml: not a TOML file"),
    "TOML without scenes": (lambda root: (root / "config.toml").write_text("a = 1"), "config.toml: expected .*scenes"),
    "scene folder missing": (lambda root: (root / "s0").rename(root / "x"), "s0: no such folder; scene s0"),
    "views out of range": (
        lambda root: replace_text(root / "config.toml", "[4, 0, 2]", "[4, 0, 5]"),
        "scene s0: there is no picture 5",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_error_names_what_is_broken_in_one_sentence(root: Path, name: str) -> None:
    damage, words = BROKEN[name]
    damage(root)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        h3ds.load_scene(root, "s0", 3)
        load_truth(root, "s0")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("views", ["abc", "3", [], [0.5], ["0"], None])
def test_views_that_are_neither_a_number_nor_a_list_are_refused(root: Path, views: Any) -> None:
    with pytest.raises(ValueError, match="scene s0: views must be"):
        h3ds.load_scene(root, "s0", views)


def test_an_error_about_an_unknown_name_lists_the_known_ones(root: Path) -> None:
    with pytest.raises(ValueError, match=r"no scene 's9'; the TOML lists s0"):
        h3ds.load_scene(root, "s9", 3)
    with pytest.raises(ValueError, match=r"scene s0 has no list of 4 views; the TOML has 1, 3"):
        h3ds.load_scene(root, "s0", 4)


def test_a_scene_name_in_a_toml_does_not_lead_out_of_the_folder(root: Path) -> None:
    shutil.copytree(root / "s0", root.parent / "outside")
    for name in ("../outside", str(root.parent / "outside"), ".."):
        toml = root.parent / "evil.toml"
        toml.write_text(f'version = "1.0"\n[scenes."{name}"]\nviews = 5\n[scenes."{name}".default_views_configs]\n1 = [0]\n')
        with pytest.raises(ValueError, match="there is no scene"):
            h3ds.load_scene(root, name, 1, config=toml)
        with pytest.raises(ValueError, match="there is no scene"):
            load_truth(root, name, config=toml)


# ---- download

TOKEN = "open-sesame"
# zip -X -r -P open-sesame, of a version.txt ("0.9") and one scene s0 with one picture, a letter or a line in each file
ARCHIVE = base64.b64decode(
    """
    UEsDBAoACQAAAHANdV3zKO0NEAAAAAQAAAALAAAAdmVyc2lvbi50eHSQ8hOJWYsvoYUgPYych4p6UEsHCPMo7Q0QAAAABAAAAFBLAwQKAAAAAABwDXVd
    AAAAAAAAAAAAAAAAAwAAAHMwL1BLAwQKAAkAAABwDXVdb9+5Bg0AAAABAAAADgAAAHMwL2NhbWVyYXMubnB6yqExz/9gcwbFkoINiFBLBwhv37kGDQAA
    AAEAAABQSwMECgAAAAAAcA11XQAAAAAAAAAAAAAAAAkAAABzMC9pbWFnZS9QSwMECgAJAAAAcA11XXE2bOYNAAAAAQAAABUAAABzMC9pbWFnZS9pbWdf
    MDAwMC5qcGfpr/pr1hOj074nMMMJUEsHCHE2bOYNAAAAAQAAAFBLAwQUAAkACABwDXVd5zfu8hMAAAAIAAAAEAAAAHMwL2Z1bGxfaGVhZC5vYmpzFjhH
    barRVaP/jewGnJjKxNQ2UEsHCOc37vITAAAACAAAAFBLAwQKAAAAAABwDXVdAAAAAAAAAAAAAAAACAAAAHMwL21hc2svUEsDBAoACQAAAHANdV1o8gHh
    DQAAAAEAAAAVAAAAczAvbWFzay9tYXNrXzAwMDAucG5nnEQ9psBfIhffA6s7QVBLBwho8gHhDQAAAAEAAABQSwECHgMKAAkAAABwDXVd8yjtDRAAAAAE
    AAAACwAAAAAAAAABAAAApIEAAAAAdmVyc2lvbi50eHRQSwECHgMKAAAAAABwDXVdAAAAAAAAAAAAAAAAAwAAAAAAAAAAABAA7UFJAAAAczAvUEsBAh4D
    CgAJAAAAcA11XW/fuQYNAAAAAQAAAA4AAAAAAAAAAQAAAKSBagAAAHMwL2NhbWVyYXMubnB6UEsBAh4DCgAAAAAAcA11XQAAAAAAAAAAAAAAAAkAAAAA
    AAAAAAAQAO1BswAAAHMwL2ltYWdlL1BLAQIeAwoACQAAAHANdV1xNmzmDQAAAAEAAAAVAAAAAAAAAAEAAACkgdoAAABzMC9pbWFnZS9pbWdfMDAwMC5q
    cGdQSwECHgMUAAkACABwDXVd5zfu8hMAAAAIAAAAEAAAAAAAAAABAAAApIEqAQAAczAvZnVsbF9oZWFkLm9ialBLAQIeAwoAAAAAAHANdV0AAAAAAAAA
    AAAAAAAIAAAAAAAAAAAAEADtQXsBAABzMC9tYXNrL1BLAQIeAwoACQAAAHANdV1o8gHhDQAAAAEAAAAVAAAAAAAAAAEAAACkgaEBAABzMC9tYXNrL21h
    c2tfMDAwMC5wbmdQSwUGAAAAAAgACADXAQAA8QEAAAAA
    """
)
SCENE_FILES = ["s0/cameras.npz", "s0/full_head.obj", "s0/image/img_0000.jpg", "s0/mask/mask_0000.png", "version.txt"]


@pytest.fixture
def official_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TOML like the official ones, for `ARCHIVE`, and the right token."""
    monkeypatch.setenv("H3DS_TOKEN", TOKEN)
    return write_toml(tmp_path / "official.toml", ARCHIVE)


def write_toml(path: Path, archive: bytes) -> Path:
    path.write_text(
        f"version = 0.9\nfile_id = 'a-file'\nfile_md5 = '{hashlib.md5(archive).hexdigest()}'\n[scenes.s0]\nviews = 1\n"
    )
    return path


def fetched(content: bytes) -> Callable[[str, Path], None]:
    return lambda file_id, path: path.write_bytes(content) and None


def never(file_id: str, path: Path) -> None:
    raise AssertionError("fetched again")


@pytest.mark.parametrize(
    "unzip", [pytest.param(True, marks=pytest.mark.skipif(not shutil.which("unzip"), reason="no unzip")), False]
)
def test_a_download_leaves_the_data_and_nothing_else(
    tmp_path: Path, official_toml: Path, unzip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not unzip:
        monkeypatch.setattr(shutil, "which", lambda name: None)
    root = h3ds.download(tmp_path / "h3ds", official_toml, fetch=fetched(ARCHIVE))
    assert [name for name in tree(root) if name != ".download/lock"] == SCENE_FILES
    assert (root / "s0/full_head.obj").read_text() == "v 0 0 0\n"
    h3ds.download(root, official_toml, fetch=never)


@pytest.mark.parametrize(
    "unzip", [pytest.param(True, marks=pytest.mark.skipif(not shutil.which("unzip"), reason="no unzip")), False]
)
def test_a_wrong_token_is_reported_but_not_shown_and_needs_no_second_download(
    tmp_path: Path, official_toml: Path, unzip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not unzip:
        monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("H3DS_TOKEN", "wrong-secret")
    with pytest.raises(ValueError, match="is H3DS_TOKEN right") as caught:
        h3ds.download(tmp_path / "h3ds", official_toml, fetch=fetched(ARCHIVE))
    assert "wrong-secret" not in "".join(traceback.format_exception(caught.value))
    assert [path.name for path in (tmp_path / "h3ds").iterdir()] == [".download"]
    monkeypatch.setenv("H3DS_TOKEN", TOKEN)
    h3ds.download(tmp_path / "h3ds", official_toml, fetch=never)
    assert (tmp_path / "h3ds" / "version.txt").read_text() == "0.9\n"


def test_without_a_token_nothing_is_fetched(tmp_path: Path, official_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("H3DS_TOKEN")
    with pytest.raises(ValueError, match="environment variable H3DS_TOKEN"):
        h3ds.download(tmp_path / "h3ds", official_toml, fetch=never)
    assert not (tmp_path / "h3ds").exists()


@pytest.mark.skipif(not shutil.which("unzip"), reason="no unzip")
def test_the_token_is_not_in_any_command_line(tmp_path: Path, official_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy, log = tmp_path / "bin" / "unzip", tmp_path / "arguments"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/sh\necho "$@" > {log}\nexec {shutil.which("unzip")} "$@"\n')
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", f"{spy.parent}{os.pathsep}{os.environ['PATH']}")
    h3ds.download(tmp_path / "h3ds", official_toml, fetch=fetched(ARCHIVE))
    assert "h3ds_0.9.zip" in log.read_text() and TOKEN not in log.read_text()


def test_an_archive_with_another_checksum_is_set_aside(tmp_path: Path, official_toml: Path) -> None:
    with pytest.raises(ValueError, match=r"h3ds_0.9.broken: MD5 is \w+, expected \w+"):
        h3ds.download(tmp_path / "h3ds", official_toml, fetch=fetched(ARCHIVE[:-1]))
    h3ds.download(tmp_path / "h3ds", official_toml, fetch=fetched(ARCHIVE))


@pytest.mark.parametrize("member", ["../out.txt", "/tmp/out.txt", "s0/../../out.txt", "..\\out.txt", "C:/out.txt", "link"])
def test_an_archive_that_would_write_elsewhere_is_refused(tmp_path: Path, official_toml: Path, member: str) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("version.txt", "0.9\n")
        info = zipfile.ZipInfo(member)
        info.external_attr = (0o120777 if member == "link" else 0o100644) << 16
        archive.writestr(info, "/etc/passwd")
    content = (tmp_path / "evil.zip").read_bytes()
    write_toml(official_toml, content)
    with pytest.raises(ValueError, match="refused, since its member"):
        h3ds.download(tmp_path / "h3ds", official_toml, fetch=fetched(content))
    assert [path.name for path in (tmp_path / "h3ds").iterdir()] == [".download"] and not (tmp_path / "out.txt").exists()


def test_data_of_another_version_are_not_overwritten(root: Path, official_toml: Path) -> None:
    before = tree(root)
    with pytest.raises(ValueError, match=r"already holds version 1\.0"):
        h3ds.download(root, official_toml, fetch=never)
    assert tree(root) == before


LARGE = bytes(2**20) + ARCHIVE  # a zip may follow something else; gdown keeps whole chunks of half a MiB


class HalfThenRest(http.server.BaseHTTPRequestHandler):
    """Serves `LARGE`, but stops in the middle when asked for all of it."""

    ranges: list[str | None]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.ranges.append(wanted)
        start = int(re.findall(r"\d+", wanted)[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(LARGE) - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(LARGE) - 1}/{len(LARGE)}")
        self.end_headers()
        self.wfile.write(LARGE[start:] if wanted else LARGE[:700_000])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    HalfThenRest.ranges = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HalfThenRest) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_an_interrupted_download_resumes_where_it_stopped(
    tmp_path: Path, official_toml: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gdown = pytest.importorskip("gdown")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    download = gdown.download
    write_toml(official_toml, LARGE)

    def from_here(*, id: str, **options: Any) -> object:
        return download(url=f"{server}/{id}", use_cookies=False, **options)

    monkeypatch.setattr(gdown, "download", from_here)
    with pytest.raises(ConnectionError, match="interrupted; call it again to resume") as caught:
        h3ds.download(tmp_path / "h3ds", official_toml)
    assert TOKEN not in str(caught.value)
    assert not (tmp_path / "h3ds" / "version.txt").exists()
    h3ds.download(tmp_path / "h3ds", official_toml)
    assert HalfThenRest.ranges[-1] == "bytes=524288-"
    assert (tmp_path / "h3ds" / "version.txt").read_text() == "0.9\n"
