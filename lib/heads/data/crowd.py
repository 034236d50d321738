"""Many talking heads on a disk, to learn from: written once in shards, and read point by point, however many they are.

Lengths are whole numbers of 1/32767 of `MM_PER_UNIT`, 0.008 mm.
"""

import functools
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from torch import Tensor

from heads import clouds, mesh
from heads.clouds import Cloud
from heads.data import anatomy, expressions, shards
from heads.data import people as people_of
from heads.data.anatomy import Array

MM_PER_UNIT = 250.0  # FLAME's metres times four, as NPHM has them
NAMES, COMMON = ("points", "normals", "still", "anchors", "neutral", "offsets", "triangles"), ("triangles",)
FACE_POINTS, OTHER_POINTS, STILL_POINTS = 12_000, 8_000, 2_000
STILL_MM = 0.3  # what moves no farther in any expression is still
_STEPS = 32767
_MADE_BY = (clouds, mesh, shards, anatomy, people_of, expressions, sys.modules[__name__])


def write(folder: Path, people: int, count: int, *, seed: int, on_person: Callable[[int], None] = lambda done: None) -> None:
    """Make talkers with `count` random expressions each, in shards; those that the same program made of the same are kept."""
    if people < 1 or count < 1:
        raise ValueError(f"a crowd needs at least one person and one expression, not {people} and {count}")
    about = {"seed": seed, "expressions": count, "program": shards.program(*_MADE_BY)}
    shards.write(folder, people, about, lambda number: _person(seed, number, count), common=COMMON, on_person=on_person)


def _person(seed: int, number: int, count: int) -> dict[str, Array]:
    chance = np.random.SeedSequence([seed, zlib.crc32(b"crowd"), number])
    body, manner, points = chance.spawn(3)
    amounts = expressions.drawn_expressions(count, np.random.default_rng(manner))
    talker = expressions.make_talker(f"{number}", body, amounts)
    shared = expressions.topology()
    front = shared.front[shared.faces].all(axis=1)
    above = mesh.above(talker.neutral_mm[shared.faces].mean(axis=1), talker.neutral_mm[shared.throat], -15)
    moves = np.linalg.norm(talker.posed_mm - talker.neutral_mm, axis=2).max(axis=0) > STILL_MM
    rest = ~front & shared.seen & above
    parts = {FACE_POINTS: front & shared.seen, OTHER_POINTS: rest, STILL_POINTS: rest & ~moves[shared.faces].any(axis=1)}
    drawn = [
        clouds.sample(
            trimesh.Trimesh(talker.neutral_mm, shared.faces[part], process=False), size, seed=int(points.generate_state(1)[0])
        )
        for size, part in parts.items()
    ]
    own = np.cumsum(shared.front) - 1
    triangles = own[shared.faces[shared.front[shared.faces].all(axis=1)]]
    posed = talker.posed_mm[:, shared.front]
    return arrays(drawn, talker.neutral_mm[shared.anchors], talker.neutral_mm[shared.front], posed, triangles)


def arrays(drawn: Sequence[Cloud], anchors_mm: Array, neutral_mm: Array, posed_mm: Array, triangles: Array) -> dict[str, Array]:
    """A person as a shard has them.

    Drawn are `FACE_POINTS` of the neutral head, `OTHER_POINTS` of its rest, and `STILL_POINTS` that do not move. Then come its
    anchors (A, 3), and the face's vertices, neutral (V, 3) and with each expression (E, V, 3), whose `triangles` (F, 3) are the
    same for everybody.
    """
    assert [len(part.points_mm) for part in drawn] == [FACE_POINTS, OTHER_POINTS, STILL_POINTS]
    face, rest, still = drawn
    return {
        "points": _whole(np.concatenate([face.points_mm, rest.points_mm]) / MM_PER_UNIT),
        "normals": _whole(np.concatenate([face.normals, rest.normals])),
        "still": _whole(still.points_mm / MM_PER_UNIT),
        "anchors": anchors_mm.astype(np.float32) / MM_PER_UNIT,
        "neutral": _whole(neutral_mm / MM_PER_UNIT),
        "offsets": _whole((posed_mm - neutral_mm) / MM_PER_UNIT),
        "triangles": triangles.astype(np.int64),
    }


def _whole(values: Array) -> Array:
    """Numbers in [-1, 1] as whole ones of 16 bits."""
    if not np.abs(values).max() <= 1:
        raise ValueError(
            f"a head reaches {np.abs(values).max() * MM_PER_UNIT:.0f} mm from the origin; expected {MM_PER_UNIT:g} at most"
        )
    return np.round(values * _STEPS).astype(np.int16)


@dataclass(frozen=True)
class Crowd:
    """The people of a folder of shards, in units of `MM_PER_UNIT`; what is not asked for stays on the disk.

    `anchors` (P, A, 3) are those of the neutral heads; `expressions` is the number of them that everybody has.
    """

    shards: tuple[dict[str, Tensor], ...]
    anchors: Tensor
    expressions: int

    def __len__(self) -> int:
        return len(self.anchors)

    def _of(self, person: int, name: str) -> Tensor:
        return self.shards[person // shards.SIZE][name][person % shards.SIZE]

    @functools.cached_property
    def _reached(self) -> Tensor:
        """The sums (F,) of the areas of the face's triangles, of the first person."""
        corners = self.shards[0]["neutral"][0].float()[self.shards[0]["triangles"]]
        sides = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        return torch.linalg.cross(*sides).norm(dim=1).cumsum(0)

    def surface(self, person: int, count: int, *, face: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random points (count, 3) of the face of a person's neutral head, or of the rest, with their normals."""
        first, size = (0, FACE_POINTS) if face else (FACE_POINTS, OTHER_POINTS)
        rows = first + torch.randint(size, (count,), generator=generator)
        return self._of(person, "points")[rows].float() / _STEPS, self._of(person, "normals")[rows].float() / _STEPS

    def still(self, person: int, count: int, generator: torch.Generator) -> Tensor:
        """Random points (count, 3) of a person's neutral head that no expression moves."""
        return self._of(person, "still")[torch.randint(STILL_POINTS, (count,), generator=generator)].float() / _STEPS

    def correspondences(
        self, which: Sequence[tuple[int, int]], count: int, spread: Sequence[float], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """For each person and expression of `which` random points (W, count, 3) about the neutral face, and where they move to.

        They are even by area (that of the first person), also behind the lips and the lids, which an expression may show, and lie
        off the surface along the normals, as far as NPHM's: by normal deviations of `spread`, an equal share each.
        """
        triangles, reached = self.shards[0]["triangles"], self._reached
        drawn = torch.rand((len(which), count), generator=generator) * reached[-1]
        rows = triangles[torch.searchsorted(reached, drawn).clamp(max=len(triangles) - 1)]
        across, along = torch.rand((2, len(which), count), generator=generator)
        across = across.sqrt()
        weights = torch.stack([1 - across, across * (1 - along), across * along], dim=2)
        neutral, moved = torch.empty(2, len(which), count, 3, 3)
        for number, shard in enumerate(self.shards):
            mine = torch.tensor(
                [place for place, (person, _) in enumerate(which) if person // shards.SIZE == number], dtype=torch.long
            )
            person = torch.tensor([which[place][0] % shards.SIZE for place in mine.tolist()], dtype=torch.long)[:, None, None]
            expression = torch.tensor([which[place][1] for place in mine.tolist()], dtype=torch.long)[:, None, None]
            neutral[mine] = shard["neutral"][person, rows[mine]].float() / _STEPS
            moved[mine] = shard["offsets"][person, expression, rows[mine]].float() / _STEPS
        off = (
            torch.randn((len(which), count), generator=generator) * torch.tensor(spread).repeat(-(-count // len(spread)))[:count]
        )
        return _off(neutral, weights, off), _off(neutral + moved, weights, off)

    def motions(self, count: int = 300) -> Tensor:
        """How some of the face's vertices move in each expression of each person, (P E, 3 count)."""
        rows = torch.linspace(0, self.shards[0]["offsets"].shape[2] - 1, count).long()
        return torch.cat([shard["offsets"][:, :, rows].float().flatten(0, 1).flatten(1) / _STEPS for shard in self.shards])


def _off(corners: Tensor, weights: Tensor, off: Tensor) -> Tensor:
    """Points (..., 3) of triangles (..., 3, 3), moved along their normals by `off` (...)."""
    normals = torch.linalg.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
    return (weights[..., None] * corners).sum(-2) + off[..., None] * torch.nn.functional.normalize(normals, dim=-1)


def read(folder: str | Path) -> Crowd:
    """The crowd that `write` made; FileNotFoundError or ValueError where it is missing or damaged."""
    found = shards.read(folder, NAMES, COMMON)
    return Crowd(tuple(found), torch.cat([shard["anchors"] for shard in found]), found[0]["offsets"].shape[1])
