"""FLAME as a morphable head, from the files that its licence lets a reader download.

    FOLDER/flame2023.pkl, or generic_model.pkl            the model: template in metres, shape directions, faces
    FOLDER/flame_static_embedding.pkl                     51 landmarks, in triangles: those of iBUG but for the jaw
    FOLDER/FLAME_mask_vertexID.npy, or FLAME_masks.pkl    the vertices of the face, or of all regions by name
    FOLDER/head_template.obj, or head_template_mesh.obj   the template with its texture coordinates

The first mask is that of SLEIF's authors; from the second the same regions are taken, but for the inner rim of the lips, between
which they close the mouth. A pickle can run anything when it is read, so only arrays are let through here: sparse matrices, which
nothing here needs, are left out, and of chumpy's arrays, which older models have, the numbers are kept. The frame is in mm, y up,
the face towards +z, with its origin where that of built-in heads is: at the height of the eyes, midway from face to nape. Texture
coordinates have v upwards, as in the OBJ.
"""

import codecs
import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from heads import files
from heads.data.drawn import NAMES
from heads.morphable import Morphable

SHAPES = 300  # of the directions; expressions follow
MODELS, TEMPLATES = ("flame2023.pkl", "generic_model.pkl"), ("head_template.obj", "head_template_mesh.obj")
EMBEDDING, VERTICES, REGIONS = "flame_static_embedding.pkl", "FLAME_mask_vertexID.npy", "FLAME_masks.pkl"
PHOTOGRAPHED = ("face", "lips", "nose", "left_eyeball", "right_eyeball", "left_eye_region", "right_eye_region")
_MOST_MB = 500.0


class _Kept:
    """What a foreign object was made of: the array `x` of a chumpy.Ch, or what nobody asks for."""

    x: object = None

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.x = state.get("x")


def _remade(kind: Any, *_: object) -> Any:
    """Stands in for `copyreg._reconstructor`."""
    return kind()


_RECONSTRUCT = np.empty(0).__reduce__()[0]  # numpy keeps this one in private modules, which it has renamed
_SCALAR = np.float64(0).__reduce__()[0]
_FROM_BUFFER = np.empty(0).__reduce_ex__(5)[0]  # type: ignore[index]
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _RECONSTRUCT for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _SCALAR for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FROM_BUFFER for core in ("core", "_core")},
    ("_codecs", "encode"): codecs.encode,  # Python 3 writes bytes in this way for Python 2
    **{(module, "_reconstructor"): _remade for module in ("copy_reg", "copyreg")},
    **{(module, kind.__name__): kind for module in ("__builtin__", "builtins") for kind in (object, set, frozenset)},
    ("collections", "OrderedDict"): dict,
    ("chumpy.ch", "Ch"): _Kept,
    ("chumpy", "Ch"): _Kept,
}


class _Unpickler(pickle.Unpickler):
    """Reads arrays, and what stands in for sparse matrices and chumpy's arrays; ValueError names any other class."""

    def find_class(self, module: str, name: str) -> Any:
        if re.fullmatch(r"scipy\.sparse(\.\w+)?", module) and re.fullmatch(r"\w+_(matrix|array)", name):
            return _Kept
        if (module, name) not in _ADMITTED:
            raise ValueError(f"it asks for {module}.{name}; only arrays are read")
        return _ADMITTED[module, name]


def read(folder: str | Path) -> Morphable:
    """FLAME's neutral heads from a folder with the files above, its 300 shape directions, and 51 of iBUG's landmarks.

    FileNotFoundError or ValueError names a file that is missing, or not FLAME's.
    """
    model = _first(folder, MODELS)
    said = _table(model, ("v_template", "f", "shapedirs"))
    template_m, faces = _numbers(model, "v_template", said, (None, 3)), _numbers(model, "f", said, (None, 3))
    directions_m = _numbers(model, "shapedirs", said, (len(template_m), 3, None))
    if directions_m.shape[2] < SHAPES:
        raise ValueError(f"{model}: shapedirs has {directions_m.shape[2]} directions; FLAME's first {SHAPES} are shapes")
    faces = _indices(model, "f", faces, len(template_m))

    embedding = _first(folder, (EMBEDDING,))
    said = _table(embedding, ("lmk_face_idx", "lmk_b_coords"))
    names = tuple(name for name in NAMES if not name.startswith("jaw"))
    triangles = _indices(embedding, "lmk_face_idx", _numbers(embedding, "lmk_face_idx", said, (len(names),)), len(faces))
    weights = _numbers(embedding, "lmk_b_coords", said, (len(names), 3))
    eyes = [index for index, name in enumerate(names) if "eye " in name]
    eyes_m = np.einsum("lk,lkc->lc", weights[eyes], template_m[faces[triangles[eyes]]]).mean(axis=0)
    origin_m = [eyes_m[0], eyes_m[1], (template_m[:, 2].min() + template_m[:, 2].max()) / 2]
    return Morphable(
        mean_mm=(1000 * (template_m - origin_m)).astype(np.float32),
        directions_mm=np.ascontiguousarray(np.moveaxis(1000 * directions_m[:, :, :SHAPES], 2, 0), dtype=np.float32),
        faces=faces,
        face=_face(folder, len(template_m)),
        uv=_uv(_first(folder, TEMPLATES), len(template_m)),
        names=names,
        rows=faces[triangles],
        weights=weights.astype(np.float32),
    )


def files_of(folder: str | Path) -> list[str]:
    """The files that `read` reads."""
    masks = _first(folder, (VERTICES, REGIONS))
    return [str(path) for path in (_first(folder, MODELS), _first(folder, (EMBEDDING,)), masks, _first(folder, TEMPLATES))]


def unpickled(path: str | Path) -> dict[str, Any]:
    """The table that a pickle of Python 2 or 3 holds, arrays by name; ValueError names the file, and a class that is no array."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    data = files.content(path, _MOST_MB)
    try:
        found = _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # there are many ways to be damaged
        raise ValueError(f"{path}: not a pickle of FLAME that can be read ({files.reason(error)})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a table of arrays, not {files.shown(found)}")
    return {str(key): value.x if isinstance(value, _Kept) else value for key, value in found.items()}


def _first(folder: str | Path, names: tuple[str, ...]) -> Path:
    """The first of these files that a folder has."""
    for name in names:
        if Path(folder, name).is_file():
            return Path(folder, name)
    raise FileNotFoundError(f"{folder}: it has no {' or '.join(names)}; those who accept FLAME's licence get it from its website")


def _table(path: Path, needed: tuple[str, ...]) -> dict[str, Any]:
    found = unpickled(path)
    if missing := [name for name in needed if name not in found]:
        raise ValueError(f"{path}: it has no {missing[0]}, which FLAME's has")
    return found


def _numbers(path: Path, name: str, table: dict[str, Any], shape: tuple[int | None, ...]) -> np.ndarray:
    """An entry as an array of finite numbers whose shape is this, None for any length."""
    try:
        found = np.asarray(table[name], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {name} is not an array of numbers ({files.reason(error)})") from None
    right = found.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, found.shape, strict=True))
    if not right or found.size == 0 or not np.isfinite(found).all():
        wanted = " x ".join("N" if size is None else str(size) for size in shape)
        raise ValueError(
            f"{path}: {name} is {' x '.join(map(str, found.shape)) or 'one number'}; expected {wanted} finite numbers"
        )
    return found


def _indices(path: Path, name: str, values: np.ndarray, count: int) -> np.ndarray:
    """Numbers from 0 to `count` - 1 as int64."""
    if (values != np.round(values)).any() or values.min() < 0 or values.max() >= count:
        raise ValueError(f"{path}: {name} goes from {values.min():g} to {values.max():g}; expected whole numbers below {count}")
    return values.astype(np.int64)


def _face(folder: str | Path, count: int) -> np.ndarray:
    """The vertices (M,) of the region that is photographed, of `count`."""
    path = _first(folder, (VERTICES, REGIONS))
    if path.name == REGIONS:
        table = _table(path, PHOTOGRAPHED[:1])
        parts = [_indices(path, name, _numbers(path, name, table, (None,)), count) for name in PHOTOGRAPHED if name in table]
        return np.unique(np.concatenate(parts))
    try:
        found = np.load(path, allow_pickle=False)
    except Exception as error:  # there are many ways to be damaged
        raise ValueError(f"{path}: cannot be read as an array ({files.reason(error)})") from None
    return np.unique(_indices(path, "it", _numbers(path, "it", {"it": found}, (None,)), count))


def _uv(path: Path, count: int) -> np.ndarray:
    """Texture coordinates (N, 2) of `count` vertices; those of a vertex on a seam are the first that the OBJ gives it."""
    text = files.content(path, _MOST_MB).decode(errors="replace")
    try:
        coordinates = np.array(re.findall(r"^[ \t]*vt[ \t]+(\S+)[ \t]+(\S+)", text, re.MULTILINE), dtype=np.float64)
        lines = re.findall(r"^[ \t]*f[ \t]+(.*)$", text, re.MULTILINE)
        corners = np.array(re.findall(r"(\d+)/(\d+)", "\n".join(lines)), dtype=np.int64).reshape(-1, 2) - 1
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: cannot be read as an OBJ ({files.reason(error)})") from None
    vertices, first = np.unique(corners[:, 0], return_index=True)
    if not np.array_equal(vertices, np.arange(count)):
        raise ValueError(f"{path}: it gives {len(vertices)} vertices texture coordinates; the model has {count} vertices")
    used = corners[first, 1]
    if used.min() < 0 or used.max() >= len(coordinates):
        raise ValueError(f"{path}: a face names texture coordinates {used.max() + 1}; there are {len(coordinates)}")
    uv = coordinates[used]
    if not np.isfinite(uv).all() or uv.min() < 0 or uv.max() > 1:
        raise ValueError(f"{path}: texture coordinates from {uv.min():g} to {uv.max():g}; expected 0 to 1")
    return uv.astype(np.float32)
