"""The H3DS layout on disk: one folder of scenes, read, written, and, for those with a token, downloaded.

    ROOT/config.toml                                scenes, tags, and which pictures make the 3-view, 4-view, ... set
    ROOT/version.txt                                one line, the `version` of that TOML
    ROOT/SCENE/{image,mask}/                        one photograph and one mask per picture number, sorted by name
    ROOT/SCENE/cameras.npz                          world_mat_i (px_from_mm) and scale_mat_0 (mm_from_unit), 4x4
    ROOT/SCENE/full_head.obj                        the scan, in millimetres
    ROOT/SCENE/landmarks.txt, regions/NAME.txt      vertices of the scan

The picture number is the position in the sorted folder and the i of `world_mat_i`, as in the h3ds package and IDR.
A `config` is None (the folder's own TOML, or the official one of its version), "v1" or "v2" (official), or a path.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import io
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import tomllib
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
import trimesh
from PIL import Image

from heads import files

if TYPE_CHECKING:
    from torch import Tensor

    from heads.scene import Scene  # torch takes two seconds to import, and scoring does not need it

VERSION = "1.0"  # of the folders we write; the official ones are 0.2 and 0.4
OFFICIAL = {"v1": "0.2", "v2": "0.4"}
SUFFIXES = {".jpg", ".jpeg", ".png"}
MOST_MEGAPIXELS = 64  # of a photograph

# ---- reading


def read_config(root: str | Path, config: str | Path | None = None) -> dict[str, Any]:
    """The TOML of the folder `root`, checked against its version.txt."""
    root = Path(root)
    version_file, found = root / "version.txt", _version(root)
    path = _toml_path(root, config)
    settings = _read_toml(path)
    if found is None and config in OFFICIAL:
        raise FileNotFoundError(f"{version_file}: no such file; H3DS {config} is missing or incomplete")
    if found is not None and found != str(settings["version"]):
        raise ValueError(f"{version_file}: the data are version {found}, but {path} is for version {settings['version']}")
    return settings


def _version(root: Path) -> str | None:
    """The first line of version.txt, None if there is none."""
    path = root / "version.txt"
    return files.text(path).split("\n")[0].strip() if path.is_file() else None


def _toml_path(root: Path, config: str | Path | None) -> Path:
    """The TOML that lists the scenes below `root`."""
    if config is None and not (root / "config.toml").is_file():
        config = next((name for name, version in OFFICIAL.items() if version == _version(root)), None)
    return _config_path(config or root / "config.toml")


def scenes(root: str | Path, *, tag: str | None = None, config: str | Path | None = None) -> list[str]:
    """Names of the scenes that the TOML lists, in its order, or of those tagged `tag`."""
    listed = read_config(root, config)["scenes"]
    return [scene_id for scene_id, entry in listed.items() if tag is None or tag in entry.get("tags", [])]


def scene_files(root: str | Path, scene_id: str, views: int | Sequence[int], *, config: str | Path | None = None) -> list[str]:
    """What `load_scene` reads: the scene's table in the TOML (`PATH#scenes.NAME`), cameras, folders, requested pictures."""
    folder, _, numbers, image_paths, mask_paths = _locate(root, scene_id, views, config)
    pictures = [paths[number] for number in numbers for paths in (image_paths, mask_paths)]
    used = (folder / "cameras.npz", folder / "image", folder / "mask", *pictures)
    return [f"{_toml_path(Path(root), config)}#scenes.{scene_id}", *map(str, used)]


def load_scene(root: str | Path, scene_id: str, views: int | Sequence[int], *, config: str | Path | None = None) -> "Scene":
    """Photographs, masks and cameras of one scene; `views` is a number of views in the TOML, or a list of picture numbers.

    Only the requested pictures are decoded. The unit frame is that of `scale_mat_0`, for all views.
    """
    import torch

    from heads.scene import Scene

    folder, cameras, numbers, image_paths, mask_paths = _locate(root, scene_id, views, config)
    mm_from_unit = _matrix(cameras, "scale_mat_0", folder, scene_id)
    images: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    intrinsics: list[np.ndarray] = []
    poses: list[np.ndarray] = []
    for number in numbers:
        image = _decode(image_paths[number], "RGB", scene_id)
        mask = _decode(mask_paths[number], "L", scene_id) > 127.5
        if mask.shape != image.shape[:2]:
            raise ValueError(
                f"{mask_paths[number]}: the mask of scene {scene_id} is {_size(mask)} pixels, its image "
                f"{image_paths[number].name} is {_size(image)}"
            )
        if images and image.shape != images[0].shape:
            raise ValueError(
                f"{image_paths[number]}: the image of scene {scene_id} is {_size(image)} pixels, others are {_size(images[0])}"
            )
        if not mask.any():
            raise ValueError(f"{mask_paths[number]}: the mask of scene {scene_id} is empty (no pixel is brighter than 127.5)")
        px_from_cam, unit_from_cam = _camera(cameras, number, folder, scene_id)
        images.append(image)
        masks.append(mask)
        intrinsics.append(px_from_cam)
        poses.append(unit_from_cam)
    return Scene(
        name=scene_id,
        views=tuple(numbers),
        images=torch.from_numpy(np.stack(images)).float() / 255,
        masks=torch.from_numpy(np.stack(masks)),
        px_from_cam=torch.from_numpy(np.stack(intrinsics)).float(),
        unit_from_cam=torch.from_numpy(np.stack(poses)).float(),
        mm_from_unit=torch.from_numpy(mm_from_unit).float(),
    )


def load_cameras(
    root: str | Path, scene_id: str, numbers: Sequence[int], *, config: str | Path | None = None
) -> "tuple[Tensor, Tensor]":
    """`px_from_cam` (V, 3, 3) and `unit_from_cam` (V, 4, 4) of these picture numbers; their pictures are not looked at."""
    import torch

    folder, _ = scene_folder(root, scene_id, config)
    cameras = _read_cameras(folder / "cameras.npz", scene_id)
    found = [_camera(cameras, number, folder, scene_id) for number in numbers]
    intrinsics, poses = (np.array([one[i] for one in found]).reshape(-1, side, side) for i, side in enumerate((3, 4)))
    return torch.from_numpy(intrinsics).float(), torch.from_numpy(poses).float()


def others(root: str | Path, scene_id: str, views: int | Sequence[int], *, config: str | Path | None = None) -> list[int]:
    """All picture numbers of a scene that are not among `views`, a number of views in the TOML or a list."""
    _, _, used, pictures, _ = _locate(root, scene_id, views, config)
    return sorted(set(range(len(pictures))) - set(used))


def held_out(
    root: str | Path, scene_id: str, views: int | Sequence[int], most: int = 4, *, config: str | Path | None = None
) -> list[int]:
    """Up to `most` picture numbers that are not among `views`, to judge by; none if all pictures of the scene are used.

    They are evenly spread, the first and the last included, over what is left of the shortest longer list of the TOML that has
    twice as many left, else of all pictures. In a ring that begins at the face, with 3, 4 or 8 photographs used, two of four
    look at the face, between these, and two at the sides or the back, of which three or four photographs show little.
    """
    _, _, used, pictures, _ = _locate(root, scene_id, views, config)
    others = set(range(len(pictures))) - set(used)
    lists = scene_folder(root, scene_id, config)[1].get("default_views_configs", {}).values()
    longer = sorted((some for some in lists if isinstance(some, list) and len(some) > len(used)), key=len)
    left = [[number for number in others if number in some] for some in longer]
    rest = sorted(next((some for some in left if len(some) >= 2 * most), others))
    if len(rest) <= most:
        return rest
    places = np.linspace(0, len(rest) - 1, most) if most > 1 else [(len(rest) - 1) / 2]
    return [rest[round(place)] for place in places]


def _locate(
    root: str | Path, scene_id: str, views: int | Sequence[int], config: str | Path | None
) -> tuple[Path, dict[str, np.ndarray], list[int], list[Path], list[Path]]:
    """Folder, cameras, the requested picture numbers, and the paths of all images and masks of a scene."""
    folder, entry = scene_folder(root, scene_id, config)
    numbers = _view_list(entry, views, f"{root}: scene {scene_id}")
    cameras = _read_cameras(folder / "cameras.npz", scene_id)
    count = entry.get("views", sum(key.startswith("world_mat_") and key[10:].isdigit() for key in cameras))
    if not isinstance(count, int):
        raise ValueError(f"{root}: scene {scene_id}: views in the TOML is {files.shown(count)}, not the number of its pictures")
    image_paths, mask_paths = (
        _pictures(folder / kind, stem, count, scene_id) for kind, stem in (("image", "img"), ("mask", "mask"))
    )
    if wrong := [number for number in numbers if not 0 <= number < count]:
        raise ValueError(f"{root}: scene {scene_id}: there is no picture {wrong[0]}; it has pictures 0 to {count - 1}")
    return folder, cameras, numbers, image_paths, mask_paths


def scene_folder(root: str | Path, scene_id: str, config: str | Path | None) -> tuple[Path, dict[str, Any]]:
    """Folder and TOML entry of a scene; a foreign name never leads out of `root`."""
    listed = read_config(root, config)["scenes"]
    if scene_id not in listed or scene_id in ("", ".", "..") or Path(scene_id).name != scene_id or "\\" in scene_id:
        raise ValueError(f"{root}: there is no scene {scene_id!r}; the TOML lists {', '.join(listed) or 'none'}")
    folder = Path(root) / scene_id
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; scene {scene_id} is listed in the TOML, but missing")
    return folder, listed[scene_id]


def _view_list(entry: Mapping[str, Any], views: int | Sequence[int], where: str) -> list[int]:
    """Picture numbers for a number of views, or the given ones."""
    known = entry.get("default_views_configs", {})
    if not isinstance(known, dict):
        raise ValueError(f"{where}: default_views_configs in the TOML is {files.shown(known)}, not a table of lists")
    if isinstance(views, int) and str(views) not in known:
        raise ValueError(f"{where} has no list of {views} views; the TOML has {', '.join(known) or 'none'}")
    numbers = known[str(views)] if isinstance(views, int) else views
    if not isinstance(numbers, Sequence) or not numbers or not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"{where}: views must be a number of views or a list of picture numbers, not {files.shown(numbers)}")
    return list(numbers)


def _pictures(folder: Path, stem: str, count: int, scene_id: str) -> list[Path]:
    """The `count` pictures of a folder, sorted by name, img_2 before img_10; after a gap all would get the wrong camera."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; scene {scene_id} needs its pictures")
    paths = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    paths.sort(key=lambda path: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)])
    if len(paths) != count:
        names = {path.stem for path in paths}
        missing = next((f"{stem}_{i:04}" for i in range(count) if f"{stem}_{i:04}" not in names), None)
        which = f"; {missing}.* is missing" if missing and len(paths) < count and f"{stem}_0000" in names | {missing} else ""
        raise FileNotFoundError(f"{folder}: scene {scene_id} has {len(paths)} pictures where {count} are expected{which}")
    return paths


def _decode(path: Path, mode: str, scene_id: str) -> np.ndarray:
    """Pixels of a picture, (H, W, 3) for "RGB" or (H, W) for "L", uint8."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=("JPEG", "PNG")) as picture:
            warnings.simplefilter("ignore")
            if picture.width * picture.height > 1e6 * MOST_MEGAPIXELS:
                raise ValueError(f"it has {picture.width}x{picture.height} pixels; the limit is {MOST_MEGAPIXELS} million")
            return np.array(picture.convert(mode))
    except Exception as error:  # a broken picture can fail in many ways
        raise ValueError(f"{path}: not a picture that can be read (scene {scene_id}): {files.reason(error)}") from None


def _read_cameras(path: Path, scene_id: str) -> dict[str, np.ndarray]:
    """The arrays of a cameras.npz; pickled objects are refused."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; scene {scene_id} needs its cameras")
    try:
        with np.load(io.BytesIO(files.content(path)), allow_pickle=False) as arrays:
            if sum(member.file_size for member in arrays.zip.infolist()) > 1e6 * files.MOST_MB:
                raise ValueError(f"it unpacks to more than {files.MOST_MB:g} MB")
            return {key: arrays[key] for key in arrays.files if re.fullmatch(r"world_mat_\d+|scale_mat_0", key)}
    except Exception as error:  # an archive, or an array in it, can fail in many ways
        raise ValueError(f"{path}: the cameras of scene {scene_id} cannot be read ({files.reason(error)})") from None


def _matrix(cameras: Mapping[str, np.ndarray], key: str, folder: Path, scene_id: str) -> np.ndarray:
    """A finite 4x4 matrix of a cameras.npz (a 3x4 one gets its last row)."""
    if key not in cameras:
        raise ValueError(f"{folder / 'cameras.npz'}: scene {scene_id} has no {key}")
    matrix = np.asarray(cameras[key])
    if matrix.dtype.kind not in "fiu" or matrix.shape not in ((4, 4), (3, 4)) or not np.isfinite(matrix).all():
        raise ValueError(f"{folder / 'cameras.npz'}: {key} of scene {scene_id} is not a finite 4x4 matrix: {_describe(matrix)}")
    full = np.eye(4)
    full[: len(matrix)] = matrix
    if key.startswith("scale"):
        scale = np.cbrt(np.linalg.det(full[:3, :3]))
        if scale <= 0 or np.abs(full[:3, :3].T @ full[:3, :3] / scale**2 - np.eye(3)).max() > 1e-3:
            raise ValueError(f"{folder / 'cameras.npz'}: {key} of scene {scene_id} is not a scaling, rotation and translation")
    return full


def _camera(cameras: Mapping[str, np.ndarray], number: int, folder: Path, scene_id: str) -> tuple[np.ndarray, np.ndarray]:
    """`px_from_cam` (3, 3) and `unit_from_cam` (4, 4) of a picture number."""
    from heads import camera  # with torch

    mm_from_unit = _matrix(cameras, "scale_mat_0", folder, scene_id)
    px_from_mm = _matrix(cameras, f"world_mat_{number}", folder, scene_id)
    try:
        return camera.decompose(px_from_mm @ mm_from_unit)
    except ValueError as error:
        raise ValueError(f"{folder / 'cameras.npz'}: world_mat_{number} of scene {scene_id}: {error}") from None


def _describe(matrix: np.ndarray) -> str:
    """The numbers of a small matrix, the size of a large one, the kind of one that is not numeric."""
    if matrix.dtype.kind not in "fiu":
        return f"an array of kind {matrix.dtype.kind}"
    return str(matrix.tolist()) if matrix.size <= 16 else " x ".join(map(str, matrix.shape))


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"


# ---- writing


def write_scene(
    root: str | Path,
    scene_id: str,
    *,
    images: np.ndarray,
    masks: np.ndarray,
    world_mat: np.ndarray,
    scale_mat: np.ndarray,
    mesh_mm: trimesh.Trimesh,
    landmarks: Mapping[str, int],
    regions: Mapping[str, np.ndarray],
    jpeg_quality: int = 95,
) -> Path:
    """Write one scene, whole or not at all: the same values give the same bytes.

    `images` (V, H, W, 3) uint8, `masks` (V, H, W) bool, `world_mat` (V, 4, 4) px_from_mm, `scale_mat` (4, 4)
    mm_from_unit, landmarks and regions as vertices of `mesh_mm`. An existing scene of that name is replaced.
    """
    views, height, width = masks.shape
    assert images.shape == (views, height, width, 3) and images.dtype == np.uint8 and masks.dtype == np.bool_
    assert world_mat.shape == (views, 4, 4) and scale_mat.shape == (4, 4)
    _check_name(scene_id)
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{scene_id}.", suffix=".part", dir=root))
    try:
        folder.chmod(0o755)
        for name in ("image", "mask", "regions"):
            (folder / name).mkdir()
        for i in range(views):
            Image.fromarray(images[i]).save(folder / "image" / f"img_{i:04}.jpg", quality=jpeg_quality)
            Image.fromarray(masks[i].astype(np.uint8) * 255).save(folder / "mask" / f"mask_{i:04}.png")
        matrices: dict[str, Any] = {f"world_mat_{i}": world_mat[i] for i in range(views)}
        matrices |= {f"scale_mat_{i}": scale_mat for i in range(views)}
        np.savez(folder / "cameras.npz", **matrices)
        (folder / "full_head.obj").write_text(_obj(mesh_mm))
        (folder / "landmarks.txt").write_text("".join(f"{name} {int(vertex)}\n" for name, vertex in landmarks.items()))
        for name, region in regions.items():
            (folder / "regions" / f"{name}.txt").write_text("".join(f"{int(vertex)}\n" for vertex in region))
        _put(folder, root / scene_id)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return root / scene_id


def _check_name(scene_id: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", scene_id):
        raise ValueError(f"a scene's name may have letters, digits, _ and - only, not {scene_id!r}")


def register(
    root: str | Path, scene_id: str, *, n_views: int, view_lists: Mapping[int, Sequence[int]], tags: Sequence[str] = ()
) -> None:
    """Add or update a scene in root/config.toml (and version.txt), safely while other processes do the same."""
    _check_name(scene_id)
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(root / ".config.toml.lock"):
        settings: dict[str, Any] = {"version": VERSION, "scenes": {}}
        if (root / "config.toml").is_file():
            settings = read_config(root)
        settings["scenes"][scene_id] = {
            "tags": list(tags),
            "views": n_views,
            "default_views_configs": {str(key): [int(i) for i in numbers] for key, numbers in sorted(view_lists.items())},
        }
        lines = [f"{key} = {_toml(value)}" for key, value in settings.items() if key != "scenes"]
        for name in sorted(settings["scenes"]):
            entry = dict(settings["scenes"][name])
            lists = entry.pop("default_views_configs", {})
            lines += ["", f"[scenes.{_toml(name)}]", *(f"{key} = {_toml(value)}" for key, value in entry.items())]
            lines += [
                f"[scenes.{_toml(name)}.default_views_configs]",
                *(f"{key} = {_toml(value)}" for key, value in lists.items()),
            ]
        text = "\n".join(lines) + "\n"
        if tomllib.loads(text) != settings:
            raise ValueError(f"{root / 'config.toml'}: contains more than scenes; add scene {scene_id} by hand")
        for name, content in (("version.txt", f"{settings['version']}\n"), ("config.toml", text)):
            with files.replacing(root / name) as part:
                part.write_text(content)


def _toml(value: str | float | Sequence[Any]) -> str:
    """A number, text or list as TOML (as Python writes them, but with double quotes)."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (int, float)):
        return repr(value).lower()
    return "[" + ", ".join(_toml(item) for item in value) + "]"


def _obj(mesh_mm: trimesh.Trimesh) -> str:
    """A mesh as OBJ text, to a nanometre; no comments, since the official reader counts "v " in them too."""
    vertices = ["v {:.6f} {:.6f} {:.6f}".format(*row) for row in mesh_mm.vertices.tolist()]
    normals = ["vn {:.6f} {:.6f} {:.6f}".format(*row) for row in mesh_mm.vertex_normals.tolist()]
    faces = ["f {0}//{0} {1}//{1} {2}//{2}".format(*row) for row in (mesh_mm.faces + 1).tolist()]
    return "\n".join(vertices + normals + faces) + "\n"


def _put(new: Path, place: Path) -> None:
    """Move a finished folder or file to its place; what was there is removed only once the new one is in place, and on disk."""
    for path in filter(Path.is_file, (new, *new.rglob("*"))):
        files.to_disk(path)
    if not place.is_dir():
        os.replace(new, place)
        return
    old = place.with_name(f".{place.name}.{os.getpid()}.old")
    os.replace(place, old)
    try:
        os.replace(new, place)
    except OSError:
        os.replace(old, place)
        raise
    shutil.rmtree(old)


# ---- the official package and data


def _config_path(config: str | Path) -> Path:
    """A user's TOML, or that of H3DS "v1" or "v2" inside the h3ds package (not imported: that changes all logging)."""
    if config not in OFFICIAL:
        return Path(config)
    spec = importlib.util.find_spec("h3ds")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"config {config!r} is part of the h3ds package, which is not installed: pip install h3ds==0.4.0")
    return Path(spec.submodule_search_locations[0]) / f"config_{config}.toml"


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a data set in the H3DS layout needs a TOML of its scenes")
    try:
        settings = tomllib.loads(files.text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a TOML file ({files.reason(error)})") from None
    listed = settings.get("scenes")
    if not isinstance(listed, dict) or not all(isinstance(entry, dict) for entry in listed.values()) or "version" not in settings:
        raise ValueError(f"{path}: expected a `version` and a table of `scenes`")
    return settings


@contextlib.contextmanager
def official_package() -> Iterator[Any]:
    """The class `H3DS` of the h3ds package 0.4.0, usable inside the `with` on today's NumPy, with nothing left changed.

    The package needs `np.int`, gone since NumPy 1.24, and makes its logger class everyone's when imported.
    """
    logger_class, had_int = logging.getLoggerClass(), "int" in vars(np)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not had_int:
                vars(np)["int"] = int
            yield importlib.import_module("h3ds.dataset").H3DS
    finally:
        logging.setLoggerClass(logger_class)
        if not had_int:
            vars(np).pop("int", None)


def download(root: str | Path, config: str | Path = "v2", *, fetch: Callable[[str, Path], object] | None = None) -> Path:
    """Fetch the official data into `root` with the token in the environment variable H3DS_TOKEN; a second call resumes.

    The archive is checked by its MD5, unpacked aside, and moved in scene by scene, version.txt last. `fetch(file_id,
    path)` fetches the archive, by default from Google Drive, and resumes what an earlier call left.
    """
    root = Path(root)
    settings = _read_toml(_config_path(config))
    version = str(settings["version"])
    if "file_id" not in settings or "file_md5" not in settings:
        raise ValueError(f"{_config_path(config)}: there is nothing to download without `file_id` and `file_md5`")
    found = _version(root)
    if found is not None:
        if found != version:
            raise ValueError(f"{root}: already holds version {found}; version {version} needs a folder of its own")
        if _is_complete(root, settings):
            return root
    token = os.environ.get("H3DS_TOKEN", "")
    if not token:
        raise ValueError("H3DS is available on request: set the environment variable H3DS_TOKEN to the token that came with it")
    aside = root / ".download"
    aside.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(aside / "lock"):
        archive = aside / f"h3ds_{version}.zip"
        if not archive.is_file():
            try:
                (fetch or _fetch_from_drive)(str(settings["file_id"]), archive)
            except ImportError:
                raise
            except Exception as error:
                reason = files.reason(error)
                raise ConnectionError(f"{archive}: the download was interrupted; call it again to resume ({reason})") from error
        with archive.open("rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
        if md5 != settings["file_md5"]:
            os.replace(archive, broken := archive.with_suffix(".broken"))
            raise ValueError(f"{broken}: MD5 is {md5}, expected {settings['file_md5']}; the next call fetches it again")
        unpacked = aside / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        _unzip(archive, unpacked, token)
        for item in sorted(unpacked.iterdir(), key=lambda item: (item.name == "version.txt", item.name)):
            _put(item, root / item.name)
        shutil.rmtree(unpacked)
        archive.unlink()
    return root


def _is_complete(root: Path, settings: Mapping[str, Any]) -> bool:
    """Whether every file that the official package asks for is there."""
    for scene_id, entry in settings["scenes"].items():
        names = [name for i in range(int(entry["views"])) for name in (f"image/img_{i:04}.jpg", f"mask/mask_{i:04}.png")]
        if not all((root / scene_id / name).is_file() for name in ("full_head.obj", "cameras.npz", *names)):
            return False
    return True


def _fetch_from_drive(file_id: str, path: Path) -> None:
    """Fetch a file from Google Drive to `path`; what an earlier call fetched is kept beside it as *.part and resumed."""
    import gdown  # here, since it comes with the h3ds package, and only a download needs it

    gdown.download(id=file_id, output=str(path), resume=True, quiet=not sys.stderr.isatty())


def _unzip(archive: Path, folder: Path, token: str) -> None:
    """Unpack an encrypted archive into a new folder, nothing outside it; with `unzip` if it is available, 30 times faster.

    unzip gets the token through its environment, which only the user's own processes can read; `unzip -P` shows it to everyone.
    """
    try:
        bundle = zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive}: not a zip that can be read ({files.reason(error)})") from None
    with bundle:
        members = bundle.infolist()
        for member in members:
            parts = re.split(r"[/\\]", member.filename)
            if parts[0] == "" or ".." in parts or ":" in parts[0] or stat.S_ISLNK(member.external_attr >> 16):
                raise ValueError(f"{archive}: refused, since its member {member.filename!r} would leave the folder")
        folder.mkdir()
        needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
        if needed > free:
            folder.rmdir()
            raise OSError(f"{archive}: refused, since it unpacks to {needed / 1e9:.0f} GB, but only {free / 1e9:.0f} GB are free")
        reason = "unzip"
        if shutil.which("unzip") and re.fullmatch(r"[^\s\"\\-][^\s\"\\]*", token) and token.isascii():
            environment = {**os.environ, "UNZIP": f"-P {token}"}
            command = ["unzip", "-q", "-o", str(archive.absolute()), "-d", str(folder.absolute())]
            done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            reason = f"unzip ended with {done.returncode}"
        else:
            try:
                bundle.extractall(folder, pwd=token.encode())
            except (RuntimeError, zlib.error, zipfile.BadZipFile) as error:
                reason = type(error).__name__
    for member in members:
        place = folder / member.filename
        if not (place.is_dir() if member.is_dir() else place.is_file() and place.stat().st_size == member.file_size):
            shutil.rmtree(folder)
            raise ValueError(
                f"{archive}: {member.filename} could not be unpacked ({reason}); is H3DS_TOKEN right, or the disk full?"
            )
