"""A template mesh at several levels, each the one before with every triangle split into four at the middles of its edges."""

import functools
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.spatial import Delaunay
from torch import Tensor

LEVELS = 4
INNER, RIM = 72, 69  # points of the published half sphere's coarsest level


@dataclass(frozen=True)
class Level:
    """A level's triangles (F, 3) of V vertices; `edges` (E, 2) are those of the level before whose middles were added last."""

    count: int
    faces: np.ndarray
    parents: np.ndarray

    @cached_property
    def edges(self) -> np.ndarray:
        """The edges (E, 2), the lower vertex first, in order."""
        return edges_of(self.faces)

    @cached_property
    def neighbours(self) -> Tensor:
        """A sparse matrix (V, V) that gives each vertex the mean of its neighbours."""
        one, other = np.concatenate([self.edges, self.edges[:, ::-1]]).T
        weights = 1 / np.bincount(one, minlength=self.count)[one]
        csr = coo_matrix((weights, (one, other)), shape=(self.count, self.count)).tocsr()
        rows, columns = (torch.from_numpy(part.astype(np.int64)) for part in (csr.indptr, csr.indices))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse")  # that torch's support of such matrices is young
            return torch.sparse_csr_tensor(rows, columns, torch.from_numpy(csr.data).float(), size=csr.shape)


@dataclass(frozen=True)
class Template:
    """A mesh at all levels: `points` (V, 3) of the finest, of which each level has the first ones.

    `directions` (K, V, 3), if there are any, are how the points move along principal components, each by a standard deviation.
    """

    levels: tuple[Level, ...]
    points: np.ndarray
    directions: np.ndarray

    def __post_init__(self) -> None:
        assert self.points.shape == (self.levels[-1].count, 3) and self.directions.shape[1:] == self.points.shape

    def at(self, level: int) -> np.ndarray:
        """The points (V, 3) of a level."""
        return self.points[: self.levels[level].count]


def edges_of(faces: np.ndarray) -> np.ndarray:
    """The edges (E, 2) of triangles (F, 3), the lower vertex first, in order."""
    return np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)


def refined(level: Level) -> Level:
    """The level after another: a vertex in the middle of each edge, after those that were there."""
    edges = level.edges
    number = {(int(a), int(b)): level.count + index for index, (a, b) in enumerate(edges)}
    corners = level.faces
    middles = np.array([[number[min(a, b), max(a, b)] for a, b in zip(face, np.roll(face, -1), strict=True)] for face in corners])
    inner = middles
    parts = [np.stack([corners[:, k], middles[:, k], middles[:, k - 1]], axis=1) for k in range(3)]
    return Level(level.count + len(edges), np.concatenate([*parts, inner]), edges)


def levels_of(faces: np.ndarray, count: int, number: int = LEVELS) -> tuple[Level, ...]:
    """The levels that begin with a mesh of `count` vertices."""
    found = [Level(count, faces, np.zeros((0, 2), dtype=np.int64))]
    for _ in range(number - 1):
        found.append(refined(found[-1]))
    return tuple(found)


@functools.cache
def half_sphere(number: int = LEVELS, *, hole: bool = True) -> Template:
    """The published template: half a sphere of radius one in front (z >= 0), 141 vertices at first and 7,008 in the end.

    The published mesh has 210 triangles at first; a disc of 141 vertices with 69 on its rim has 211. So with a `hole`, one
    inside, the highest, is left out, without which there would be 7,029 vertices in the end. Middles of edges are moved onto the
    sphere.
    """
    step = np.arange(INNER) + 0.5
    angle = np.pi * (3 - np.sqrt(5)) * step  # the golden angle: an even spiral
    radius = 0.95 * np.sqrt(step / INNER)
    around = 2 * np.pi * np.arange(RIM) / RIM
    disc = np.concatenate(
        [np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), np.stack([np.cos(around), np.sin(around)], axis=1)]
    )
    faces = Delaunay(disc).simplices
    one, two, three = (disc[faces[:, k]] for k in range(3))
    across, along = two - one, three - one
    turned = across[:, 0] * along[:, 1] - across[:, 1] * along[:, 0] < 0
    faces[turned] = faces[turned][:, ::-1]
    if hole:
        inside = np.flatnonzero((faces < INNER).all(axis=1))
        faces = np.delete(faces, inside[np.argmax(disc[faces[inside]].mean(axis=1)[:, 1])], axis=0)
    levels = levels_of(faces.astype(np.int64), len(disc), number)
    polar = np.pi / 2 * np.linalg.norm(disc, axis=1)  # evenly by angle, as far as a disc allows
    flat = np.sin(polar)[:, None] * disc / np.maximum(np.linalg.norm(disc, axis=1, keepdims=True), 1e-9)
    points = np.concatenate([flat, np.cos(polar)[:, None]], axis=1)
    for level in levels[1:]:
        middles = points[level.parents].mean(axis=1)
        points = np.concatenate([points, middles / np.linalg.norm(middles, axis=1, keepdims=True)])
    return Template(levels, points, np.zeros((0, *points.shape)))
