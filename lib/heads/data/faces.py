"""Single photographs of many people, to learn from: each with its camera and landmarks, and the face in front of it.

Eight people at a time are relatives of one that is made whole, and share hair and paint (`people.relative`). What is written in
shards is read photograph by photograph, however many people there are. Lengths are whole numbers of 1/32767 of `MM_PER_UNIT`.
"""

import functools
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from torch import Tensor

from heads import clouds, rays, template
from heads.data import anatomy, people, shards, synthetic
from heads.data.anatomy import Array

MM_PER_UNIT = 250.0
FAMILY = 8  # who share hair and paint
POINTS = 6000  # of the face's surface
REACH_MM = 100.0  # from the tip of the nose: the region that is learned and judged
COMMON = ("head_mm", "head_faces", "mean_mm")  # the mean head, and where the registered vertices are on it
NAMES = ("pictures", "px_from_mm", "face", "points", "normals", "landmarks_mm", "traits", *COMMON)
TRAITS = ("female", "years", "african", "asian", "caucasian")
_STEPS = 32767
_CENTRE = np.array([0.0, -20.0, -40.0])  # canonical: the template is seen from there,
_SIDE, _UP, _DOWN = np.radians([55, 58, 44])  # and reaches so far
_MADE_BY = (clouds, template, shards, anatomy, people, synthetic, sys.modules[__name__])


def write(
    folder: Path,
    count: int,
    *,
    seed: int,
    photographs: int = 4,
    size: int = 192,
    on_person: Callable[[int], None] = lambda done: None,
) -> None:
    """Photograph `count` people, each `photographs` times in a light of their own, in shards; those that are there are kept."""
    if count < 1 or photographs < 1 or size < 32:
        raise ValueError(f"faces need at least one person and photograph, of 32 pixels; not {count}, {photographs} and {size}")
    about = {"seed": seed, "photographs": photographs, "size": size, "program": shards.program(*_MADE_BY)}
    shards.write(
        folder, count, about, lambda number: _person(seed, number, photographs, size), common=COMMON, on_person=on_person
    )


@functools.lru_cache(maxsize=1)
def _family(seed: int, number: int) -> tuple[people.Person, tuple[Array, Array]]:
    person = people.make_person(np.random.SeedSequence([seed, zlib.crc32(b"face"), number]))
    return person, synthetic.painted(person)


def _person(seed: int, number: int, photographs: int, size: int) -> dict[str, Array]:
    first, paint = _family(seed, number // FAMILY)
    chance = np.random.SeedSequence([seed, zlib.crc32(b"relative"), number])
    person = people.relative(first, chance)
    cameras, points = chance.spawn(2)
    studio = synthetic.studio(person, size, "varied", paint)
    rng = np.random.default_rng(cameras)
    shots = [synthetic.portrait(person.vertices_mm, size, rng) for _ in range(photographs)]
    pictures = [synthetic.developed(studio, *shot, rng) for shot in shots]
    matrices = [intrinsics @ np.linalg.inv(pose)[:3] for intrinsics, pose in shots]
    cloud = face_points(person, POINTS, seed=int(points.generate_state(1)[0]))
    rows, weights = registered()
    return {
        "pictures": np.stack(pictures),
        "px_from_mm": np.stack(matrices).astype(np.float32),
        "face": _whole(np.einsum("vk,vkc->vc", weights, person.head_mm[rows]) / MM_PER_UNIT),
        "points": _whole(cloud.points_mm / MM_PER_UNIT),
        "normals": _whole(cloud.normals),
        "landmarks_mm": person.vertices_mm[list(person.landmarks.values())].astype(np.float32),
        "traits": np.array([person.traits[name] for name in TRAITS], dtype=np.float32),
        "head_mm": anatomy.anatomy().canonical.astype(np.float32),
        "head_faces": anatomy.anatomy().faces.astype(np.int64),
        "mean_mm": mean_mm().astype(np.float32),
    }


def face_points(person: people.Person, count: int, *, seed: int) -> clouds.Cloud:
    """Points on the skin and eyes that can be seen of a person, within `REACH_MM` of the tip of the nose."""
    tip = person.vertices_mm[person.landmarks["nose_tip"]]
    near = np.linalg.norm(person.vertices_mm - tip, axis=1) < REACH_MM
    faces = person.faces[near[person.faces].all(axis=1) & (person.material <= anatomy.EYE)]
    return clouds.sample(trimesh.Trimesh(person.vertices_mm, faces, process=False), count, seed)


@functools.cache
def registered() -> tuple[Array, Array]:
    """Where the template's vertices are on everybody: three vertices of `anatomy` (V, 3), and their weights (V, 3)."""
    shared, half = anatomy.anatomy(), template.half_sphere()
    bare = np.flatnonzero(shared.material <= anatomy.EYE)
    flat = half.points[:, :2] / np.maximum(np.linalg.norm(half.points[:, :2], axis=1, keepdims=True), 1e-9)
    reach = np.hypot(flat[:, 0] * _SIDE, flat[:, 1] * np.where(flat[:, 1] > 0, _UP, _DOWN))
    polar = np.arccos(np.clip(half.points[:, 2], -1, 1)) * reach / (np.pi / 2)
    towards = np.concatenate([np.sin(polar)[:, None] * flat, np.cos(polar)[:, None]], axis=1).astype(np.float32)
    scene = rays.embree_scene(shared.canonical[shared.faces[bare]])
    far = (_CENTRE + 400 * towards).astype(np.float32)  # from outside, so that the outer of several surfaces is met
    hit = scene.run(far, -towards, query="INTERSECT", output=True)
    if (hit["primID"] < 0).any():
        raise ValueError("the template looks past the mean head")
    one, two = hit["u"].astype(float), hit["v"].astype(float)
    return shared.faces[bare[hit["primID"]]], np.stack([1 - one - two, one, two], axis=1)


def mean_mm() -> Array:
    """The template's vertices (V, 3) on the mean head, canonical mm."""
    rows, weights = registered()
    return np.einsum("vk,vkc->vc", weights, anatomy.anatomy().canonical[rows])


def _whole(values: Array) -> Array:
    """Numbers in [-1, 1] as whole ones of 16 bits."""
    if not np.abs(values).max() <= 1:
        raise ValueError(f"a face reaches {np.abs(values).max() * MM_PER_UNIT:.0f} mm; expected {MM_PER_UNIT:g} at most")
    return np.round(values * _STEPS).astype(np.int16)


@dataclass(frozen=True)
class Faces(shards.People):
    """People in shards, each with P photographs.

    `head_mm` (N, 3) and `head_faces` (F, 3) are the mean head, `mean_mm` (V, 3) where the registered vertices are on it.
    """

    @property
    def photographs(self) -> int:
        """How many each person has."""
        return self.parts[0]["pictures"].shape[1]

    def of(self, person: int, name: str) -> Tensor:
        """One of a person's arrays, lengths in mm, normals as they are."""
        found = super().of(person, name)
        scale = {"face": MM_PER_UNIT, "points": MM_PER_UNIT, "normals": 1.0}.get(name)
        return found if scale is None else found.float() * (scale / _STEPS)

    @property
    def head(self) -> dict[str, Tensor]:
        """What everybody shares: `COMMON` by name."""
        return {name: self.parts[0][name] for name in COMMON}


def read(*folders: str | Path) -> Faces:
    """The faces that `write` made in these folders; FileNotFoundError or ValueError where they are missing or damaged."""
    parts = [part for folder in folders for part in shards.read(folder, NAMES, COMMON)]
    if len({part["pictures"].shape[1:] for part in parts}) > 1:
        raise ValueError(f"{', '.join(map(str, folders))}: their people have photographs of other numbers or sizes")
    return Faces(tuple(parts), shards.rows_of(parts, "traits"))
