"""NeRSemble's folders and INSTA's: a coloured ball instead of a head, read, cropped, and refused in a sentence."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from heads import camera, mesh
from heads.data import identities, nersemble, shards
from heads.methods.identity_field import learn
from heads.morphable import Morphable

BALL_M, CENTRE_M = 0.1, np.array([0.02, -0.03, 0.05])
SIZE = 48
SCALE = 1.25  # of the mesh that flame_cano2world.txt repeats
TURN = trimesh.transformations.rotation_matrix(0.4, [1, 2, 3])[:3, :3]
FULL_PX, SMALL_PX = (2200, 3208), (275, 401)  # of the calibration, and of the pictures here
INTRINSICS = np.array([[5000.0, 0, 1180], [0, 5000, 1500], [0, 0, 1]])  # corner of the first pixel at (0, 0)


def ball() -> trimesh.Trimesh:
    return trimesh.creation.icosphere(4, radius=BALL_M)


def template(low: float = 0.03) -> Morphable:
    """The ball's topology; its face is what lies above z = `low`, in the mesh's frame in metres."""
    whole = ball()
    count = len(whole.vertices)
    face = np.flatnonzero(whole.vertices[:, 2] > low)
    rows = np.zeros((1, 3), dtype=int)
    shapes = np.zeros((1, count, 3))
    return Morphable(
        1000 * whole.vertices, shapes, whole.faces, face, np.zeros((count, 2)), ("nose 1",), rows, np.ones((1, 3)) / 3
    )


def poses(axes: np.ndarray) -> list[np.ndarray]:
    """World from camera in metres, OpenCV's axes, of cameras on the side that the mesh's z axis, one of `axes`, points to."""
    away = [np.array([side, 0.1, 1.0]) @ axes.T for side in (-0.4, 0.0, 0.5)]
    return [camera.look_at(CENTRE_M + direction, CENTRE_M, axes[:, 1]) for direction in away]


def colours(normals: np.ndarray) -> np.ndarray:
    return np.asarray(127.5 + 100 * normals)


def seen(px_from_cam: np.ndarray, world_from_cam: np.ndarray, px: np.ndarray, per_m: float) -> np.ndarray:
    """Normals (N, 3) of the ball where the rays of pixels (N, 2) meet it, NaN where they do not; `per_m` units are a metre."""
    rays = np.column_stack([px, np.ones(len(px))]) @ np.linalg.inv(px_from_cam).T @ world_from_cam[:3, :3].T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    start = world_from_cam[:3, 3] / per_m - CENTRE_M
    along = rays @ start
    under = along**2 - start @ start + BALL_M**2
    return np.asarray((start + (-along - np.sqrt(np.where(under > 0, under, np.nan)))[:, None] * rays) / BALL_M)


def photographed(px_from_cam: np.ndarray, world_from_cam: np.ndarray, size_px: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) and what of it is the ball; pixels have their centres at halves, as those of the calibration."""
    width, height = size_px
    column, row = (axis.ravel() for axis in np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5))
    normals = seen(px_from_cam, world_from_cam, np.column_stack([column, row]), 1)
    hit = np.isfinite(normals[:, 0])
    shown = np.where(hit[:, None], colours(np.nan_to_num(normals)), 60)
    return shown.round().astype(np.uint8).reshape(height, width, 3), hit.reshape(height, width)


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    """Two people of NeRSemble with three cameras."""
    for name in ("017", "030"):
        frame = tmp_path / name / nersemble.FRAME
        for folder in (tmp_path / name / "calibration", frame / "images-2x", frame / "flamemask_proj"):
            folder.mkdir(parents=True)
        said: dict[str, Any] = {"world_2_cam": {}, "intrinsics": INTRINSICS.tolist()}
        small = np.diag([*(np.array(SMALL_PX) / FULL_PX), 1]) @ INTRINSICS
        for number, world_from_cam in enumerate(poses(TURN)):
            said["world_2_cam"][f"22220003{number}"] = np.linalg.inv(world_from_cam).tolist()
            picture, inside = photographed(small, world_from_cam, SMALL_PX)
            Image.fromarray(picture).save(frame / "images-2x" / f"cam_22220003{number}.jpg", quality=95, subsampling=0)
            Image.fromarray(255 * inside.astype(np.uint8)).save(frame / "flamemask_proj" / f"cam_22220003{number}_b.png")
        (tmp_path / name / "calibration" / "camera_params.json").write_text(json.dumps(said))
        np.savetxt(frame / "flame_cano2world.txt", np.column_stack([SCALE * TURN, CENTRE_M]))
        mesh.save(ball(), frame / "00000.ply")
    return tmp_path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """One person of INSTA, whose six frames are out of order."""
    root = tmp_path / "obama"
    for folder in ("images", "meshes"):
        (root / folder).mkdir(parents=True)
    intrinsics = np.array([[600.0, 0, 130], [0, 600, 125], [0, 0, 1]])
    frames = []
    for number, world_from_cam in enumerate([pose for pose in poses(np.eye(3)) for _ in range(2)]):
        picture, inside = photographed(intrinsics, world_from_cam, (256, 256))
        alpha = np.dstack([picture, 255 * inside.astype(np.uint8)])
        Image.fromarray(alpha).save(root / "images" / f"{number:05d}.png")
        moved = ball()
        moved.vertices += CENTRE_M
        moved.export(root / "meshes" / f"{number:05d}.obj")
        names = {"file_path": f"images/{number:05d}.png", "mesh_path": f"meshes/{number:05d}.obj"}
        frames.append(names | {"transform_matrix": world_from_cam.tolist()})
    size = {"w": 256.0, "h": 256.0, "fl_x": 600.0, "fl_y": 600.0, "cx": 130.0, "cy": 125.0}
    (root / "transforms.json").write_text(json.dumps(size | {"frames": [frames[number] for number in (3, 0, 5, 1, 4, 2)]}))
    return tmp_path


def shift_px(picture: np.ndarray, px_from_mm: np.ndarray) -> np.ndarray:
    """By how much (2,) of a crop's pixels a picture lies beside what its camera says, by least squares over the ball's middle."""
    px_from_cam, mm_from_cam = camera.decompose(px_from_mm.astype(np.float64))
    row, column = (axis.ravel() for axis in np.mgrid[: len(picture), : len(picture)])
    px = np.column_stack([column, row]).astype(float)
    expected = colours(seen(px_from_cam, mm_from_cam, px, 1000))
    middle = np.linalg.norm(px - (len(picture) - 1) / 2, axis=1) < 0.3 * len(picture)
    slopes = [colours(seen(px_from_cam, mm_from_cam, px + step, 1000)) - expected for step in ([-1.0, 0.0], [0.0, -1.0])]
    system = np.stack([slope[middle].ravel() for slope in slopes], axis=1)
    return np.linalg.lstsq(system, (picture.reshape(-1, 3) - expected)[middle].ravel(), rcond=None)[0]


def check(found: dict[str, np.ndarray], size: int) -> None:
    assert found["pictures"].shape == (3, size, size, 3) and found["pictures"].dtype == np.uint8
    assert found["masks"].shape == (3, size, size) and set(np.unique(found["masks"])) == {0, 1}
    assert found["px_from_mm"].shape == (3, 3, 4) and found["px_from_mm"].dtype == np.float32
    assert found["template_mm"].dtype == np.float32 and found["faces"].dtype == np.int64
    assert np.allclose(np.linalg.norm(found["template_mm"] - 1000 * CENTRE_M, axis=1), 1000 * BALL_M, atol=0.01)
    for picture, px_from_mm in zip(found["pictures"], found["px_from_mm"], strict=True):
        assert np.abs(shift_px(picture, px_from_mm)).max() < 0.1


@pytest.mark.parametrize("size", [SIZE, 96])
def test_a_crop_is_seen_by_its_camera(studio: Path, size: int) -> None:
    assert nersemble.subjects(studio) == ["017", "030"]
    found = nersemble.person(studio, "017", size, cameras=3)
    check(found, size)
    assert np.allclose(found["template_mm"], 1000 * (ball().vertices @ TURN.T + CENTRE_M), atol=0.01)
    for picture, mask in zip(found["pictures"], found["masks"], strict=True):
        rows, columns = np.nonzero(mask)
        wide = np.array([columns.max() - columns.min(), rows.max() - rows.min()]) + 1
        assert np.abs(wide - size / (1 + 2 * nersemble.MARGIN)).max() < 0.05 * size
        assert np.abs(picture[0, 0].astype(int) - 60).max() < 8  # no mask is applied


def test_a_crop_over_the_edge_of_its_picture_is_black_there(studio: Path) -> None:
    said = studio / "017" / "calibration" / "camera_params.json"
    moved = np.array(INTRINSICS)
    moved[0, 2] = 500
    small = np.diag([*(np.array(SMALL_PX) / FULL_PX), 1]) @ moved
    frame, found = studio / "017" / nersemble.FRAME, json.loads(said.read_text()) | {"intrinsics": moved.tolist()}
    said.write_text(json.dumps(found))
    picture, inside = photographed(small, poses(TURN)[0], SMALL_PX)
    Image.fromarray(picture).save(frame / "images-2x" / "cam_222200030.jpg", quality=95)
    Image.fromarray(255 * inside.astype(np.uint8)).save(frame / "flamemask_proj" / "cam_222200030_b.png")
    one = nersemble.person(studio, "017", SIZE, cameras=1)
    assert (one["pictures"][0][:, 0] < 3).all() and one["masks"][0][:, 0].sum() == 0
    assert np.abs(shift_px(one["pictures"][0], one["px_from_mm"][0])).max() < 0.1


@pytest.mark.parametrize("low", [0.03, -0.2])
def test_a_mask_that_is_not_there_is_projected(studio: Path, low: float) -> None:
    shutil.rmtree(studio / "017" / nersemble.FRAME / "flamemask_proj")
    found = nersemble.person(studio, "017", SIZE, cameras=3, template=template(low))
    check(found, SIZE)
    row, column = (axis.ravel() for axis in np.mgrid[:SIZE, :SIZE])
    for mask, px_from_mm in zip(found["masks"], found["px_from_mm"], strict=True):
        normals = seen(*camera.decompose(px_from_mm.astype(np.float64)), np.column_stack([column, row]).astype(float), 1000)
        expected = (BALL_M * normals @ TURN)[:, 2] > low  # not where it is NaN
        assert (expected == mask.ravel().astype(bool)).mean() > 0.96


def test_what_is_behind_the_head_is_in_no_mask(studio: Path) -> None:
    shutil.rmtree(studio / "017" / nersemble.FRAME / "flamemask_proj")
    behind = template()
    behind = Morphable(**vars(behind) | {"face": np.flatnonzero(behind.mean_mm[:, 2] < -60)})
    with pytest.raises(ValueError, match=r"cam_222200030.jpg: nothing of the face is in this picture"):
        nersemble.person(studio, "017", SIZE, cameras=3, template=behind)


def test_frames_of_a_video_are_cameras(video: Path) -> None:
    assert nersemble.subjects(video) == ["obama"]
    found = nersemble.person(video, "obama", SIZE, cameras=3, template=template(-0.2))
    check(found, SIZE)
    poses_mm = np.stack([camera.decompose(one)[1][:3, 3] for one in found["px_from_mm"]])
    assert np.allclose(poses_mm, [1000 * pose[:3, 3] for pose in poses(np.eye(3))], atol=1)  # in the order of their names
    assert (found["pictures"][:, 0, 0] > 250).all()  # white behind what is transparent


def test_people_are_written_as_shards(studio: Path, tmp_path: Path) -> None:
    done: list[int] = []
    nersemble.write(studio, tmp_path / "shards", SIZE, cameras=2, on_person=done.append)
    names = ("pictures", "masks", "px_from_mm", "template_mm", "faces")
    (shard,) = shards.read(tmp_path / "shards", names, common=nersemble.COMMON)
    assert shard["pictures"].shape == (2, 2, SIZE, SIZE, 3) and shard["faces"].ndim == 2 and done == [2]
    people = identities.read(tmp_path / "shards")
    shots = learn.shots_of(people, 1, [0, 1])
    assert (len(people), people.cameras, people.size) == (2, 2, SIZE) and float(shots.face.mean()) > 0.1
    (path,) = shards.paths(tmp_path / "shards")
    about = json.loads(shards.said(path))
    assert about["subjects"] == ["017", "030"] and about["size"] == SIZE and about["cameras"] == 2
    before = path.stat().st_mtime_ns
    nersemble.write(studio, tmp_path / "shards", SIZE, cameras=2)
    assert path.stat().st_mtime_ns == before  # it says what is wanted
    nersemble.write(studio, tmp_path / "shards", SIZE, cameras=2, without=["017"])
    assert json.loads(shards.said(path))["subjects"] == ["030"]
    with pytest.raises(ValueError, match="'nobody', who is to be left out, is not there"):
        nersemble.write(studio, tmp_path / "shards", SIZE, without=["nobody"])


CALIBRATION, POSE = "calibration/camera_params.json", f"{nersemble.FRAME}/flame_cano2world.txt"
PICTURE, MASK = f"{nersemble.FRAME}/images-2x/cam_222200031.jpg", f"{nersemble.FRAME}/flamemask_proj/cam_222200031_b.png"
EYE = json.dumps(np.eye(3).tolist())


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (CALIBRATION, "{", "not valid JSON"),
        (CALIBRATION, "[]", "expected a table, not []"),
        (CALIBRATION, "{}", "intrinsics is None; expected 3 x 3 numbers that can be inverted"),
        (CALIBRATION, f'{{"intrinsics": {EYE}}}', "world_2_cam is None; expected poses by the cameras' serial numbers"),
        (CALIBRATION, f'{{"intrinsics": {EYE}, "world_2_cam": {{"1": 0}}}}', "it has 1 cameras, of which 3 cannot be chosen"),
        (POSE, "1 0 0 0\n", "expected three rows of four numbers, a rotation times a scale and a translation"),
        (POSE, "one\n", "expected three rows of four numbers ("),
        (POSE, "1 0 0 0\n0 1 0 0\n0 0 -1 0\n", "expected three rows of four numbers, a rotation"),
        (PICTURE, "no picture", "not a picture that can be read"),
        (PICTURE, (100, 100), "100 x 100 pixels; its camera is calibrated for 2200 x 3208, in this shape"),
        (MASK, (100, 100), "100 x 100 pixels; its picture has 275 x 401"),
        (MASK, SMALL_PX, "nothing of the face is in this picture; expected a camera in front of it"),
        (f"{nersemble.FRAME}/00000.ply", "no mesh", "cannot be read as a mesh"),
    ],
)
def test_a_wrong_file_of_nersembles_is_named(studio: Path, file: str, text: str | tuple[int, int], said: str) -> None:
    path = studio / "017" / file
    if isinstance(text, str):
        path.write_text(text)
    else:
        Image.new("RGB", text).save(path)
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        nersemble.person(studio, "017", SIZE, cameras=3)
    assert str(path) in str(error.value)


def test_a_camera_with_no_pose_is_named(studio: Path) -> None:
    said = studio / "017" / CALIBRATION
    table = json.loads(said.read_text())
    table["world_2_cam"]["222200031"] = [[0] * 4] * 4
    said.write_text(json.dumps(table))
    with pytest.raises(ValueError, match=r"world_2_cam of 222200031 is \[\[0.*expected 4 x 4 numbers that can be inverted"):
        nersemble.person(studio, "017", SIZE, cameras=3)


def test_a_mesh_of_another_size_or_topology_is_named(studio: Path) -> None:
    path = studio / "017" / nersemble.FRAME / "00000.ply"
    large = ball()
    large.vertices *= 1000
    mesh.save(large, path)
    with pytest.raises(ValueError, match=r"00000.ply: a head 346 units long; expected metres, and a head of 0.12 to 1.5"):
        nersemble.person(studio, "017", SIZE, cameras=3)
    mesh.save(trimesh.creation.icosphere(2, radius=BALL_M), path)
    with pytest.raises(ValueError, match=r"00000.ply: a mesh of 162 vertices; the template has 2562"):
        nersemble.person(studio, "017", SIZE, cameras=3, template=template())


@pytest.mark.parametrize("file", [POSE, PICTURE, MASK, f"{nersemble.FRAME}/00000.ply"])
def test_a_missing_file_of_nersembles_is_named(studio: Path, file: str) -> None:
    (studio / "017" / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"{re.escape(str(studio / '017' / file))}: no such file"):
        nersemble.person(studio, "017", SIZE, cameras=3)


def test_a_missing_folder_is_named(studio: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \*/calibration/camera_params.json as in NeRSemble, nor \*/transforms.json"):
        nersemble.subjects(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"018: no calibration/camera_params.json as in NeRSemble, nor transforms.json"):
        nersemble.person(studio, "018", SIZE)
    shutil.rmtree(studio / "017" / nersemble.FRAME / "flamemask_proj")
    with pytest.raises(ValueError, match="there is no folder flamemask_proj; give a template, so that its face can be projected"):
        nersemble.person(studio, "017", SIZE, cameras=3)


def test_wrong_files_of_a_video_are_named(video: Path) -> None:
    said = video / "obama" / "transforms.json"
    right = json.loads(said.read_text())

    def refused(change: dict[str, Any], sentence: str, kind: type[Exception] = ValueError) -> None:
        said.write_text(json.dumps({key: value for key, value in (right | change).items() if value is not None}))
        with pytest.raises(kind, match=re.escape(sentence)):
            nersemble.person(video, "obama", SIZE, cameras=3, template=template())

    first = right["frames"][1]
    refused(
        {"fl_x": None}, "transforms.json: expected w, h, fl_x, fl_y, cx, cy and frames as INSTA writes them ('fl_x' is missing)"
    )
    refused({"w": "wide"}, "frames as INSTA writes them (could not convert string to float: 'wide')")
    refused({"frames": [first]}, "transforms.json: it has 1 frames, of which 3 cannot be chosen")
    refused(
        {"frames": [first | {"transform_matrix": 1}] * 3}, "transform_matrix of images/00000.png is 1; expected 4 x 4 numbers"
    )
    refused({"frames": [first | {"mesh_path": "../x.obj"}] * 3}, "it names '../x.obj'; expected a file beside it")
    refused({"h": 300}, "00000.png: 256 x 256 pixels; its camera is calibrated for 256 x 300, in this shape")
    refused({"frames": [first | {"mesh_path": "x.obj"}] * 3}, "x.obj: no such file", FileNotFoundError)
