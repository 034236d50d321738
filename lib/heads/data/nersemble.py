"""People to learn a field of identities from: NeRSemble's as SLEIF's authors prepare it, and the videos of INSTA.

    ROOT/SUBJECT/calibration/camera_params.json         `world_2_cam` (4 x 4, OpenCV's axes) by serial number, and `intrinsics`
                                                        (3 x 3), the same for all, of pictures of 2200 x 3208 pixels
    ROOT/SUBJECT/sequences/EXP-1-head/timesteps/frame_00000/
        images-2x/cam_SERIAL.jpg                        the photographs, at half of that size
        flamemask_proj/cam_SERIAL_b.png                 the face in each; where it is not there, it is projected here
        00000.ply                                       the tracked FLAME mesh, as large as the person, in its own frame
        flame_cano2world.txt                            3 x 4, its pose in the world, times a scale that the mesh already has

    ROOT/SUBJECT/transforms.json                        size and intrinsics of a video; for each frame the pose of its camera in
                                                        the head's frame (OpenCV's axes), and names of the two files beside it
    ROOT/SUBJECT/images/FRAME.png                       the frame, with the background's alpha
    ROOT/SUBJECT/meshes/FRAME.obj                       the tracked FLAME mesh in the head's frame

Worlds are in metres. Both take the corner of the first pixel for the origin, as their programs do, not its centre. INSTA's head
stands still and its camera moves, so that each chosen frame becomes a camera; the mesh moves only with the expression, and that
of the first chosen frame is taken for the person's.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from heads import camera, files, mesh, rays
from heads.data import shards
from heads.data.anatomy import Array
from heads.morphable import Morphable

FRAME = Path("sequences", "EXP-1-head", "timesteps", "frame_00000")
CALIBRATED_PX = (2200, 3208)  # width and height of the pictures that NeRSemble's intrinsics are of
MARGIN = 0.1  # of the face's size, left on each side of it in a crop
COMMON = ("faces",)  # the arrays that are the same for everybody


@dataclass(frozen=True)
class _View:
    """A picture with its mesh, the face's mask if there is one, and its camera (3, 4), whose pixels those of `size_px` are."""

    picture: Path
    mask: Path | None
    mesh: Path
    px_from_mm: Array
    size_px: tuple[float, float]


@dataclass(frozen=True)
class _Tracked:
    """One person: the files that say where cameras and mesh are, the views, and the mesh's pose (4, 4) in the world in mm."""

    said: tuple[Path, ...]
    views: tuple[_View, ...]
    mm_from_mesh: Array

    def read(self) -> set[Path]:
        """All that is read of this person."""
        views = {path for one in self.views for path in (one.picture, one.mask, one.mesh) if path}
        return {*self.said, *views}


def subjects(folder: str | Path) -> list[str]:
    """The people of a folder, by name; FileNotFoundError if there are none."""
    said = ("calibration/camera_params.json", "transforms.json")
    found = sorted(path.name for path in Path(folder).glob("*") if any((path / name).is_file() for name in said))
    if not found:
        raise FileNotFoundError(f"{folder}: no */{said[0]} as in NeRSemble, nor */{said[1]} as in INSTA")
    return found


def files_of(folder: str | Path, cameras: int = 16, without: Sequence[str] = ()) -> list[str]:
    """All files that are read of a folder's people but those named."""
    names = [name for name in subjects(folder) if name not in without]
    return sorted({str(path) for name in names for path in _tracked(Path(folder, name), cameras).read()})


def person(
    folder: str | Path, subject: str, size: int, cameras: int = 16, template: Morphable | None = None
) -> dict[str, np.ndarray]:
    """Crops of `size` pixels around the face of one person, seen by cameras or frames evenly chosen among those there are.

    `pictures` (C, S, S, 3), `masks` (C, S, S) uint8, the latter 0 or 1; `px_from_mm` (C, 3, 4) float32 onto pixels of the crop,
    whose first has its centre at (0, 0); `template_mm` (N, 3) float32, the tracked mesh in the world, and `faces` (F, 3) int64.
    Where there are no masks, the face of the `template` is projected. FileNotFoundError or ValueError names a wrong file.
    """
    tracked = _tracked(Path(folder, subject), cameras)
    meshes = {path: _mesh_mm(path, tracked.mm_from_mesh, template) for path in {one.mesh for one in tracked.views}}
    crops = [_crop(view, *meshes[view.mesh], size, template) for view in tracked.views]
    pictures, masks, px_from_mm = (np.stack(parts) for parts in zip(*crops, strict=True))
    vertices_mm, faces = meshes[tracked.views[0].mesh]
    return {
        "pictures": pictures,
        "masks": masks,
        "px_from_mm": px_from_mm.astype(np.float32),
        "template_mm": vertices_mm.astype(np.float32),
        "faces": faces,
    }


def write(
    source: str | Path,
    folder: Path,
    size: int,
    *,
    cameras: int = 16,
    template: Morphable | None = None,
    without: Sequence[str] = (),
    on_person: Callable[[int], None] = lambda done: None,
) -> None:
    """Write the people of a `source` but those named, as `person` reads them, as shards in a `folder`."""
    names = subjects(source)
    if unknown := sorted(set(without) - set(names)):
        raise ValueError(f"{source}: {unknown[0]!r}, who is to be left out, is not there")
    names = [name for name in names if name not in without]
    read = hashlib.sha256(b"" if template is None else np.ascontiguousarray(template.face).tobytes())
    for path in map(Path, files_of(source, cameras, without)):
        read.update(f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    program = shards.program(camera, mesh, shards, sys.modules[__name__])
    about = {"subjects": names, "size": size, "cameras": cameras, "files": read.hexdigest(), "program": program}
    made = (len(names), about, lambda number: person(source, names[number], size, cameras, template))
    shards.write(folder, *made, common=COMMON, on_person=on_person)


def _tracked(root: Path, cameras: int) -> _Tracked:
    if (root / "calibration" / "camera_params.json").is_file():
        return _nersemble(root, cameras)
    if (root / "transforms.json").is_file():
        return _insta(root, cameras)
    raise FileNotFoundError(f"{root}: no calibration/camera_params.json as in NeRSemble, nor transforms.json as in INSTA")


def _nersemble(root: Path, cameras: int) -> _Tracked:
    said, pose = root / "calibration" / "camera_params.json", root / FRAME / "flame_cano2world.txt"
    table = _json(said)
    intrinsics = _matrix(said, "intrinsics", table.get("intrinsics"), 3)
    poses = table.get("world_2_cam")
    if not isinstance(poses, dict):
        raise ValueError(f"{said}: world_2_cam is {files.shown(poses)}; expected poses by the cameras' serial numbers")
    views = []
    for serial in _evenly(sorted(poses), cameras, f"{said}: it has %d cameras"):
        picture = _existing([root / FRAME / "images-2x" / f"cam_{serial}.{ending}" for ending in ("jpg", "png")])
        masks = [root / FRAME / "flamemask_proj" / f"cam_{serial}{ending}.png" for ending in ("_b", "")]
        mask = _existing(masks) if masks[0].parent.is_dir() else None
        px_from_mm = _px_from_mm(intrinsics, _matrix(said, f"world_2_cam of {serial}", poses[serial], 4))
        views.append(_View(picture, mask, _existing([root / FRAME / "00000.ply"]), px_from_mm, CALIBRATED_PX))
    world_from_mesh = np.eye(4)
    world_from_mesh[:3] = _pose(pose)
    left, _, right = np.linalg.svd(world_from_mesh[:3, :3])
    world_from_mesh[:3, :3] = left @ right  # the nearest rotation: the mesh has the scale already
    return _Tracked((said, pose), tuple(views), _mm_from_m(world_from_mesh))


def _insta(root: Path, cameras: int) -> _Tracked:
    said = root / "transforms.json"
    table = _json(said)
    try:
        width, height, fx, fy, cx, cy = (float(table[name]) for name in ("w", "h", "fl_x", "fl_y", "cx", "cy"))
        frames = sorted(table["frames"], key=lambda frame: str(frame["file_path"]))  # the file has them in any order
        named = [(str(one["file_path"]), str(one["mesh_path"]), one["transform_matrix"]) for one in frames]
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else files.reason(error)
        raise ValueError(f"{said}: expected w, h, fl_x, fl_y, cx, cy and frames as INSTA writes them ({what})") from None
    intrinsics = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    views = []
    for picture, shape, pose in _evenly(named, cameras, f"{said}: it has %d frames"):
        head_from_cam = _matrix(said, f"transform_matrix of {picture}", pose, 4)
        paths = (_existing([_inside(root, picture)]), None, _existing([_inside(root, shape)]))
        views.append(_View(*paths, _px_from_mm(intrinsics, np.linalg.inv(head_from_cam)), (width, height)))
    return _Tracked((said,), tuple(views), _mm_from_m(np.eye(4)))


def _crop(view: _View, vertices_mm: Array, faces: Array, size: int, template: Morphable | None) -> tuple[Array, Array, Array]:
    """A square picture (S, S, 3) and mask (S, S) around the face, and the camera (3, 4) that sees it so."""
    picture = _picture(view.picture)
    width, height = picture.size
    if abs(height - view.size_px[1] * width / view.size_px[0]) > 1:
        calibrated = " x ".join(f"{side:g}" for side in view.size_px)
        raise ValueError(f"{view.picture}: {width} x {height} pixels; its camera is calibrated for {calibrated}, in this shape")
    factors = np.array([width, height]) / view.size_px
    px_from_mm = _placed(factors, -0.5) @ view.px_from_mm  # from the first pixel's corner to its centre
    if view.mask is not None:
        mask = _picture(view.mask).convert("L")
        if mask.size != picture.size:
            raise ValueError(f"{view.mask}: {mask.size[0]} x {mask.size[1]} pixels; its picture has {width} x {height}")
    elif template is not None:
        mask = Image.fromarray(255 * _projected(px_from_mm, vertices_mm, faces, template.face, (width, height)).astype(np.uint8))
    else:
        raise ValueError(f"{view.picture}: there is no folder flamemask_proj; give a template, so that its face can be projected")
    rows, columns = np.nonzero(np.asarray(mask) > 127)
    if len(rows) == 0:
        raise ValueError(f"{view.mask or view.picture}: nothing of the face is in this picture; expected a camera in front of it")
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
    side = int(np.ceil((high - low).max() * (1 + 2 * MARGIN)))
    left, top = (int(corner) for corner in np.round((low + high - side) / 2))
    box = (left, top, left + side, top + side)  # black where it leaves the picture
    crop = picture.crop(box).resize((size, size), Image.Resampling.LANCZOS)
    inside = np.asarray(mask.crop(box).resize((size, size), Image.Resampling.BOX)) > 127
    factor = size / side
    crop_from_px = _placed(np.array([factor, factor]), factor * (0.5 - np.array([left, top])) - 0.5)
    return np.asarray(crop), inside.astype(np.uint8), crop_from_px @ px_from_mm


def _projected(px_from_mm: Array, vertices_mm: Array, faces: Array, face: Array, size_px: tuple[int, int]) -> Array:
    """Where (H, W) a camera sees the triangles (of the `face` (M,) all three vertices) that no other part of the head hides."""
    intrinsics, mm_from_cam = camera.decompose(px_from_mm)
    return np.asarray(rays.masks(vertices_mm, faces, face, intrinsics[None], mm_from_cam[None], size_px[::-1])[0])


def _mesh_mm(path: Path, mm_from_mesh: Array, template: Morphable | None) -> tuple[Array, Array]:
    """Vertices (N, 3) and faces (F, 3) in the world."""
    found = mesh.load(path)
    vertices_mm = np.asarray(found.vertices) @ mm_from_mesh[:3, :3].T + mm_from_mesh[:3, 3]
    if template is not None:
        template.check(vertices_mm, str(path))
    long_mm = float(np.linalg.norm(np.ptp(vertices_mm, axis=0)))
    if not 120 < long_mm < 1500:
        raise ValueError(f"{path}: a head {long_mm / 1000:.3g} units long; expected metres, and a head of 0.12 to 1.5")
    return vertices_mm, np.asarray(found.faces, dtype=np.int64)


def _px_from_mm(intrinsics: Array, cam_from_world: Array) -> Array:
    """The projection (3, 4) from the world in mm onto pixels of the calibration."""
    cam_from_mm = cam_from_world[:3].copy()
    cam_from_mm[:, 3] *= 1000
    return np.asarray(intrinsics @ cam_from_mm)


def _mm_from_m(world_from_mesh: Array) -> Array:
    return np.diag([1000.0, 1000.0, 1000.0, 1.0]) @ world_from_mesh


def _placed(factors: Array, offset: Array | float) -> Array:
    """Pixels (3, 3) times two factors, plus an offset."""
    placed = np.diag([*factors, 1.0])
    placed[:2, 2] = offset
    return placed


def _evenly(found: Sequence[Any], count: int, told: str) -> list[Any]:
    """As many of these as are wanted, evenly chosen, the first among them; ValueError if there are fewer."""
    if len(found) < count or count < 1:
        raise ValueError(f"{told % len(found)}, of which {count} cannot be chosen")
    return [found[number * len(found) // count] for number in range(count)]


def _existing(paths: Sequence[Path]) -> Path:
    for path in paths:
        if path.is_file():
            return path
    raise FileNotFoundError(f"{paths[0]}: no such file")


def _inside(root: Path, name: str) -> Path:
    """A file that transforms.json names; ValueError if it is not in the folder."""
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{root / 'transforms.json'}: it names {files.shown(name)}; expected a file beside it")
    return path


def _picture(path: Path) -> Image.Image:
    """A picture in RGB, on white where it is transparent."""
    try:
        with Image.open(path) as picture:
            whole = picture.convert("RGBA")
    except Exception as error:  # a broken picture can fail in many ways
        raise ValueError(f"{path}: not a picture that can be read ({files.reason(error)})") from None
    return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")


def _pose(path: Path) -> Array:
    """Three rows of four numbers."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the pose of the tracked mesh")
    try:
        found = np.array([[float(word) for word in line.split()] for line in files.text(path).splitlines() if line.strip()])
    except ValueError as error:
        raise ValueError(f"{path}: expected three rows of four numbers ({files.reason(error)})") from None
    if found.shape != (3, 4) or not np.isfinite(found).all() or np.linalg.det(found[:, :3]) <= 0:
        raise ValueError(f"{path}: expected three rows of four numbers, a rotation times a scale and a translation")
    return found


def _matrix(path: Path, name: str, value: object, size: int) -> Array:
    """A square matrix of finite numbers that can be inverted."""
    try:
        found = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.shape != (size, size) or not np.isfinite(found).all() or abs(np.linalg.det(found)) < 1e-12:
        raise ValueError(f"{path}: {name} is {files.shown(value)}; expected {size} x {size} numbers that can be inverted")
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(files.text(path, 200))  # a video of an hour has many frames
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a table, not {files.shown(found)}")
    return found
