"""The folders of NPHM's data set: scans of people with expressions, registered meshes, and points that a single view sees.

    ROOT/dataset/SUBJECT/EEE/scan.ply            a scan, and
    ROOT/dataset/SUBJECT/EEE/registration.ply    a template fitted to it: the same vertex is the same place
    ROOT/dataset/SUBJECT/EEE/flame.ply           FLAME's, which says where the throat is (only in the original)
    ROOT/dataset/neutrals_open.json              which expression is a subject's neutral one, -1 for none
    ROOT/dataset/SUBJECT/expressions.json        the same of one subject, with names of the others (only ours)
    ROOT/single_view/SUBJECT/E/obs.npy           points seen from the front; obs_back.npy, where there is one, from behind

Subjects are numbers of three digits there, and names here. Lengths are FLAME's metres times four: a unit is 250 mm. Which
vertices of the registered meshes are NPHM's anchors, the face and the throat is said by whole numbers in anchors.npy, face.npy
and throat.npy of ROOT/dataset. The original has the first among the assets of its program (`lm_inds_39.npy`), the vertices of
its face region have to be looked up there too, and the throat is in its text.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from heads import clouds, files, mesh
from heads.data import crowd, expressions, shards
from heads.data.anatomy import Array
from heads.data.crowd import MM_PER_UNIT
from heads.data.expressions import Talker

FACE_MM, FAR_MM = 10.0, 30.0  # nearer to the registered face a scan is face, and farther away it does not move
_FLAME_THROAT = (3276, 3207, 3310)  # vertices of flame.ply (`cut_throat`)


class NoNeutral(ValueError):
    """A subject without a neutral scan."""


@dataclass(frozen=True)
class Subject:
    """One person of a data set: the numbers of the `neutral` expression and of the others, with names where they have some."""

    root: Path
    name: str
    neutral: int
    expressions: dict[int, str]

    def scan(self, number: int) -> trimesh.Trimesh:
        """A scan in mm."""
        return _mesh_mm(self._folder(number) / "scan.ply")

    def registration(self, number: int) -> trimesh.Trimesh:
        """The registered mesh in mm."""
        return _mesh_mm(self._folder(number) / "registration.ply")

    def anchors_mm(self, number: int) -> Array:
        """Where NPHM's anchors (A, 3) are."""
        return self._vertices(number, "anchors")

    def face(self, number: int) -> tuple[Array, Array]:
        """The vertices (F, 3) of the registered face in mm, and their normals (F, 3)."""
        registered = self.registration(number)
        rows = self._rows("face", len(registered.vertices))
        return np.asarray(registered.vertices)[rows], np.asarray(registered.vertex_normals)[rows]

    def throat_mm(self, number: int) -> Array:
        """Three points (3, 3) of the plane that a head ends at."""
        if (self.root / "dataset" / "throat.npy").is_file():
            return self._vertices(number, "throat")
        return np.asarray(_mesh_mm(self._folder(number) / "flame.ply").vertices)[list(_FLAME_THROAT)]

    def observed_mm(self, number: int) -> Array:
        """The points (N, 3) of a single view, and those from behind where there are any, above the throat."""
        folder = self.root / "single_view" / self.name / str(number)
        paths = [folder / "obs.npy", *(path for path in [folder / "obs_back.npy"] if path.is_file())]
        views = {path: _array(path, (None, 3)) * MM_PER_UNIT for path in paths}
        for path, seen in views.items():
            _check_size(path, seen)
        points = np.concatenate(list(views.values()))
        return points[mesh.above(points, self.throat_mm(number))]

    def dense_mm(self, number: int, count: int = 20_000) -> Array:
        """Points (count, 3) all over a scan, above the throat."""
        points = clouds.sample(self.scan(number), count, seed=0).points_mm
        return points[mesh.above(points, self.throat_mm(number))]

    def registered(self, *, neutral: bool = False) -> dict[int, str]:
        """The expressions that have a registered mesh; the neutral one too, if asked for."""
        numbers = {self.neutral: "neutral"} | self.expressions if neutral else self.expressions
        return {number: name for number, name in numbers.items() if (self._folder(number) / "registration.ply").is_file()}

    def files(self) -> list[Path]:
        """All that is read of this subject."""
        parts = [self.root / "dataset" / f"{part}.npy" for part in ("anchors", "face", "throat")]
        folders = [self._folder(number) for number in (self.neutral, *self.expressions)]
        views = [self.root / "single_view" / self.name / str(number) for number in (self.neutral, *self.expressions)]
        said = [self.root / "dataset" / self.name / "expressions.json", self.root / "dataset" / "neutrals_open.json"]
        found = [folder / f"{name}.ply" for folder in folders for name in ("scan", "registration", "flame")]
        found += [folder / f"{name}.npy" for folder in views for name in ("obs", "obs_back")]
        return [path for path in [*said, *parts, *found] if path.is_file()]

    def _folder(self, number: int) -> Path:
        return self.root / "dataset" / self.name / f"{number:03d}"

    def _rows(self, part: str, vertices: int) -> Array:
        """The numbers of a part's vertices, of those that the registered mesh has."""
        path = self.root / "dataset" / f"{part}.npy"
        rows = _array(path, (None,))
        if not (rows == np.round(rows)).all() or rows.min() < 0 or rows.max() >= vertices:
            raise ValueError(
                f"{path}: expected numbers of the registration's {vertices} vertices, found {rows.min()} to {rows.max()}"
            )
        return rows.astype(int)

    def _vertices(self, number: int, part: str) -> Array:
        vertices = np.asarray(self.registration(number).vertices)
        return vertices[self._rows(part, len(vertices))]


def subject(root: str | Path, name: str) -> Subject:
    """A subject of a data set; ValueError or FileNotFoundError where it has no neutral scan, or is not there."""
    root = Path(root)
    folder, neutrals = root / "dataset" / name, root / "dataset" / "neutrals_open.json"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such subject")
    numbers = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit() and (path / "scan.ply").is_file())
    if (folder / "expressions.json").is_file():
        said, where = _json(folder / "expressions.json"), "expressions.json"
        neutral, names = said.get("neutral", -1), {int(key): value for key, value in said.get("names", {}).items()}
        numbers = [number for number in numbers if number == neutral or number in names]
    else:
        said, where, names = _json(neutrals), neutrals.name, {}
        neutral = next((number for key, number in said.items() if f"{key:0>3}" == name), -1)
    if neutral not in numbers:
        raise NoNeutral(f"{folder}: it has no neutral scan: {where} says {neutral}, and its scans are {numbers}")
    return Subject(root, name, neutral, {number: names.get(number, f"{number}") for number in numbers if number != neutral})


def subjects(root: str | Path, without: Sequence[str] = ()) -> list[Subject]:
    """All subjects of a data set but those named, of which there are a neutral scan and an expression, both registered.

    ValueError if there are none, or if one of `without` is not there.
    """
    found = []
    folders = sorted(path.name for path in Path(root, "dataset").glob("*") if path.is_dir())
    if unknown := set(without) - set(folders):
        raise ValueError(f"{root}: {sorted(unknown)[0]!r}, who is to be left out, is not there")
    for name in folders:
        if name not in without:
            with suppress(NoNeutral):  # some have none
                found.append(subject(root, name))
    registered = [replace(one, expressions=one.registered()) for one in found if one.neutral in one.registered(neutral=True)]
    if not any(one.expressions for one in registered):
        raise ValueError(f"{root}: nobody in its folder dataset has a neutral scan and an expression, both registered")
    return [one for one in registered if one.expressions]


def write_crowd(
    folder: Path, people: Sequence[Subject], count: int, *, on_person: Callable[[int], None] = lambda done: None
) -> None:
    """Write subjects as shards to learn from, of each `count` expressions; those of somebody who has fewer more than once."""
    read = hashlib.sha256()
    for path in sorted({path for one in people for path in one.files()}):
        read.update(f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    program = shards.program(clouds, mesh, shards, crowd, sys.modules[__name__])
    about = {"subjects": [one.name for one in people], "expressions": count, "files": read.hexdigest(), "program": program}
    made = (len(people), about, lambda number: _learnable(people[number], count))
    shards.write(folder, *made, common=crowd.COMMON, on_person=on_person)


def _learnable(one: Subject, count: int) -> dict[str, Array]:
    """A subject's arrays in a shard."""
    scan, registered, throat = one.scan(one.neutral), one.registration(one.neutral), one.throat_mm(one.neutral)
    rows = one._rows("face", len(registered.vertices))
    own = np.full(len(registered.vertices), -1)
    own[rows] = np.arange(len(rows))
    triangles = own[registered.faces]
    face_mm = np.asarray(registered.vertices)[rows]
    centres = scan.triangles_center
    head = mesh.above(centres, throat) & (np.abs(scan.triangles).max(axis=(1, 2)) < MM_PER_UNIT)
    away = cKDTree(face_mm).query(centres)[0]
    parts = {"face": head & (away < FACE_MM), "rest": head & (away >= FACE_MM), "still": head & (away >= FAR_MM)}
    drawn = []
    for (part, chosen), size in zip(parts.items(), (crowd.FACE_POINTS, crowd.OTHER_POINTS, crowd.STILL_POINTS), strict=True):
        if not chosen.any():
            raise ValueError(
                f"{one.name}: the scan has nothing above the throat that belongs to the {part}; is it registered to it?"
            )
        drawn.append(clouds.sample(trimesh.Trimesh(scan.vertices, scan.faces[chosen], process=False), size, seed=0))
    numbers = list(one.expressions)
    posed = {number: np.asarray(one.registration(number).vertices)[rows] for number in numbers[:count]}
    chosen = np.stack([posed[numbers[index % len(numbers)]] for index in range(count)])
    return crowd.arrays(drawn, one.anchors_mm(one.neutral), face_mm, chosen, triangles[(triangles >= 0).all(axis=1)])


def write(root: str | Path, talker: Talker, observed_mm: Mapping[str, Array], behind_mm: Mapping[str, Array]) -> None:
    """Write somebody's heads, the neutral one as number 0, and what single views see of each, by its expression ("": neutral)."""
    root = Path(root)
    shared = expressions.topology()
    for folder in (root / "dataset" / talker.name, root / "single_view" / talker.name):
        shutil.rmtree(folder, ignore_errors=True)  # what was written of them before, maybe with other expressions
        folder.mkdir(parents=True)
    for part, rows in {"anchors": shared.anchors, "face": np.flatnonzero(shared.front), "throat": shared.throat}.items():
        _write_array(root / "dataset" / f"{part}.npy", rows)
    for number, expression in enumerate(["", *talker.expressions]):
        whole = talker.mesh(expression)
        folder = root / "dataset" / talker.name / f"{number:03d}"
        folder.mkdir(exist_ok=True)
        whole.vertices /= MM_PER_UNIT
        mesh.save(whole, folder / "registration.ply")
        whole.update_faces(shared.seen)  # a scanner does not see behind the lids, nor inside a mouth
        whole.remove_unreferenced_vertices()
        mesh.save(whole, folder / "scan.ply")
        seen = root / "single_view" / talker.name / str(number)
        seen.mkdir(parents=True, exist_ok=True)
        for name, points in {"obs": observed_mm, "obs_back": behind_mm}.items():
            if expression in points:
                _write_array(seen / f"{name}.npy", points[expression] / MM_PER_UNIT)
    names = {str(number + 1): name for number, name in enumerate(talker.expressions)}
    files.write_json(root / "dataset" / talker.name / "expressions.json", {"neutral": 0, "names": names})


def _mesh_mm(path: Path) -> trimesh.Trimesh:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such mesh")
    found = mesh.load(path)
    found.vertices *= MM_PER_UNIT
    _check_size(path, np.asarray(found.vertices))
    return found


def _check_size(path: Path, points_mm: Array) -> None:
    """ValueError for a head of another size than heads have: its file is in metres, or in millimetres."""
    size = float(np.linalg.norm(np.ptp(points_mm, axis=0)))
    if not 120 < size < 1500:
        raise ValueError(f"{path}: a head of {size / MM_PER_UNIT:.3g} units; expected one to two, a unit of {MM_PER_UNIT:g} mm")


def _array(path: Path, shape: tuple[int | None, ...]) -> Array:
    """An array of numbers whose shape is this, None for any length; ValueError names the file."""
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such array") from None
    except Exception as error:  # there are many ways to be damaged
        raise ValueError(f"{path}: cannot be read as an array ({files.reason(error)})") from None
    right = found.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, found.shape, strict=True))
    if not right or found.size == 0 or not np.issubdtype(found.dtype, np.number) or not np.isfinite(found).all():
        wanted = ", ".join("N" if size is None else str(size) for size in shape)
        raise ValueError(f"{path}: expected finite numbers ({wanted}), at least one, found {found.dtype} {found.shape}")
    return np.asarray(found)


def _write_array(path: Path, values: Array) -> None:
    with files.replacing(path) as partial, partial.open("wb") as file:
        np.save(file, values)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(files.text(path))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a table, not {files.shown(found)}")
    return found
