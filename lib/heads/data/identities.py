"""People to learn an identity field from: each photographed around the front of the face in everybody's light, with a template.

Pictures are square crops around the face, of which a camera's principal point may lie anywhere. A mask is 1 where the template's
face region is seen, and 2 where it would be seen if hair were not in front of it. NeRSemble's people are written in the same form
by `nersemble`.
"""

import json
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heads import rays
from heads.data import anatomy, drawn, people, shards, synthetic
from heads.data.anatomy import Array

FRAME_PX = 256  # of the photographs that crops are cut out of, as the head fills them
FILLS = 0.94  # of a crop, by the longer side of the face
HALF_DEG = 80.0  # to either side of straight ahead
NAMES = ("pictures", "masks", "px_from_mm", "template_mm", "faces")
COMMON = ("faces",)
EACH = 8  # people in a file: half a minute of work that an interruption can cost
_HIDING = ("fringe",)  # a hair style that covers the face: such people are not learned from, nor by the original
_MADE_BY = (shards, anatomy, drawn, people, synthetic, sys.modules[__name__])


def write(
    folder: Path,
    count: int,
    *,
    seed: int,
    cameras: int = 16,
    unseen: int = 4,
    size: int = 128,
    region: str = "face",
    on_person: Callable[[int], None] = lambda done: None,
) -> None:
    """Photograph `count` people into shards, each with `cameras` pictures evenly around the front, then `unseen` ones anywhere
    between; those that are there are kept."""
    if count < 1 or cameras < 1 or unseen < 0 or size < 32 or region not in ("face", "head"):
        raise ValueError(
            f"identities need at least one person and camera, 32 pixels, and a region face or head; "
            f"not {count}, {cameras} and {unseen}, {size} and {region!r}"
        )
    about = {"seed": seed, "cameras": cameras, "unseen": unseen, "size": size, "region": region}
    about["program"] = shards.program(*_MADE_BY)

    def person(number: int) -> dict[str, Array]:
        return photographed(_drawn(seed, number), cameras, unseen, size, region)

    shards.write(folder, count, about, person, common=COMMON, each=EACH, on_person=on_person)


def _drawn(seed: int, number: int) -> people.Person:
    """Somebody whose hair does not cover the face."""
    for attempt in range(20):
        person = people.make_person(np.random.SeedSequence([seed, zlib.crc32(b"identity"), number, attempt]))
        if person.style not in _HIDING:
            return person
    raise ValueError(f"nobody of seed {seed} and number {number} shows their face")


def photographed(person: people.Person, cameras: int, unseen: int, size: int, region: str) -> dict[str, Array]:
    """The arrays `NAMES` of a built-in person."""
    rng = np.random.default_rng(person.streams["cameras"])
    azimuths = np.radians(np.concatenate([np.linspace(-HALF_DEG, HALF_DEG, cameras), rng.uniform(-75, 75, unseen)]))
    intrinsics, poses = synthetic.ring_cameras(person.vertices_mm, FRAME_PX, azimuths, rng)
    studio = synthetic.studio(person, size, "common")
    shown = region_triangles(person, region)
    around = person.vertices_mm[np.unique(person.faces[shown])]
    faces, region_rows = anatomy.anatomy().faces, drawn.region_vertices(region)
    crops = np.stack([cropped(intrinsics, pose, around, size) for pose in poses])
    bare = rays.masks(person.head_mm, faces, region_rows, crops, poses, (size, size))
    pictures, masks, matrices = [], [], []
    for crop, pose, whole in zip(crops, poses, bare, strict=True):
        pictures.append(synthetic.developed(studio, crop, pose, rng))
        seen = synthetic.mask_of(studio, crop, pose, shown, size)
        masks.append(np.where(seen, 1, np.where(whole, 2, 0)))
        matrices.append(crop @ np.linalg.inv(pose)[:3])
    return {
        "pictures": np.stack(pictures),
        "masks": np.stack(masks).astype(np.uint8),
        "px_from_mm": np.stack(matrices).astype(np.float32),
        "template_mm": person.head_mm.astype(np.float32),
        "faces": faces.astype(np.int64),
    }


def region_triangles(person: people.Person, region: str) -> Array:
    """Which triangles (M,) of a person's scan are of the face, or of all skin and eyes."""
    bare = person.material <= anatomy.EYE
    return bare & np.isin(person.faces, person.regions["front"]).all(axis=1) if region == "face" else bare


def cropped(px_from_cam: Array, mm_from_cam: Array, points_mm: Array, size: int) -> Array:
    """Intrinsics (3, 3) of a square crop, `size` wide, that these points (N, 3) fill."""
    seen = (points_mm - mm_from_cam[:3, 3]) @ mm_from_cam[:3, :3] @ px_from_cam.T
    px = seen[:, :2] / seen[:, 2:]
    low, high = px.min(axis=0), px.max(axis=0)
    scale = FILLS * (size - 1) / float((high - low).max())
    shift = (size - 1) / 2 - scale * (low + high) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1.0]]) @ px_from_cam


@dataclass(frozen=True)
class Identities(shards.People):
    """People in shards, each with C pictures of S pixels a side: the arrays `NAMES`."""

    @property
    def cameras(self) -> int:
        """How many pictures each person has."""
        return self.parts[0]["pictures"].shape[1]

    @property
    def size(self) -> int:
        """Pixels along a side of a picture."""
        return self.parts[0]["pictures"].shape[2]


def read(*folders: str | Path) -> Identities:
    """The people that were written into these folders; FileNotFoundError or ValueError where they are missing or damaged."""
    parts = [part for folder in folders for part in shards.read(folder, NAMES, COMMON)]
    said = [json.loads(shards.said(path)) for folder in folders for path in shards.paths(folder)]
    if len({one.get("region") for one in said}) > 1:
        raise ValueError(f"{', '.join(map(str, folders))}: some show the face and some the head; expected one region")
    kinds = {tuple(tuple(part[name].shape[name not in COMMON :]) for name in NAMES) for part in parts}
    if len(kinds) > 1:
        raise ValueError(f"{', '.join(map(str, folders))}: their people have other pictures or other templates than each other")
    return Identities(tuple(parts), shards.rows_of(parts, "template_mm"))


def check_apart(folders: Sequence[str | Path], validation: str | Path) -> None:
    """ValueError if a folder of validation people has some of those in the others: built-in people of the same seed."""
    seeds = {json.loads(shards.said(path)).get("seed") for folder in folders for path in shards.paths(folder)} - {None}
    for path in shards.paths(validation):
        if (seed := json.loads(shards.said(path)).get("seed")) in seeds:
            raise ValueError(f"{validation}: its people are of seed {seed}, as some that are learned from; expected others")
