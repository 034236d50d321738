"""How far two surfaces are from each other, by points on both: the distances that NPHM reports, in either direction.

Definitions are those of NPHM (Giebenhain et al. 2023, `evaluation/metrics.py`): Chamfer distances are half the sum of both
directions, normals are compared without their sign, and an F-score is the harmonic mean of precision and recall.
"""

from dataclasses import dataclass

import numpy as np
import trimesh
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class Cloud:
    """Points (N, 3) of a surface in mm and its unit normals (N, 3) there."""

    points_mm: np.ndarray
    normals: np.ndarray

    def __post_init__(self) -> None:
        assert self.points_mm.shape == self.normals.shape == (len(self.points_mm), 3)

    def part(self, chosen: np.ndarray) -> "Cloud":
        """The points that are chosen, by a mask or by numbers."""
        return Cloud(self.points_mm[chosen], self.normals[chosen])


@dataclass(frozen=True)
class Nearest:
    """For each of N points the nearest of M others (`there`), and the reverse (`back`): distance and cosine of the normals."""

    there_mm: np.ndarray  # (N,)
    back_mm: np.ndarray  # (M,)
    there_cosines: np.ndarray  # (N,)
    back_cosines: np.ndarray  # (M,)


def sample(mesh_mm: trimesh.Trimesh, count: int, seed: int) -> Cloud:
    """`count` points of a mesh, uniform by area, with the normals of their triangles; one in each `count`-th part of the area.

    The parts follow the order of the triangles, so that neighbours share the points evenly. The same mesh gives the same points.
    """
    rng, corners = np.random.default_rng(seed), np.asarray(mesh_mm.triangles, dtype=np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = np.linalg.norm(normals, axis=1)  # areas
    reached = np.cumsum(doubled)
    if not reached[-1] > 0:
        raise ValueError("the mesh has no area to sample")
    at = (np.arange(count) + rng.random(count)) / count * reached[-1]
    last = np.flatnonzero(doubled)[-1]  # rounding must not lead to a triangle of no area behind it
    face = np.minimum(np.searchsorted(reached, at, side="right"), last)
    across, along = np.sqrt(rng.random(count))[:, None], rng.random(count)[:, None]  # uniform in a triangle: Osada et al. 2002
    first, second, third = (corners[face, k] for k in range(3))
    points = (1 - across) * first + across * (1 - along) * second + across * along * third
    return Cloud(points, normals[face] / doubled[face, None])


def nearest(one: Cloud, other: Cloud) -> Nearest:
    """From every point of either cloud to the nearest point of the other; ValueError where one has none."""
    if not len(one.points_mm) or not len(other.points_mm):
        raise ValueError(f"clouds of {len(one.points_mm)} and {len(other.points_mm)} points: each needs at least one")
    there_mm, there = cKDTree(other.points_mm, balanced_tree=False).query(one.points_mm)
    back_mm, back = cKDTree(one.points_mm, balanced_tree=False).query(other.points_mm)
    there_cosines = (one.normals * other.normals[there]).sum(axis=1)
    return Nearest(there_mm, back_mm, there_cosines, (other.normals * one.normals[back]).sum(axis=1))


def chamfer_l1(there_mm: np.ndarray, back_mm: np.ndarray) -> float:
    """Half the sum of the mean distances in both directions, in mm."""
    return float(np.mean(there_mm) + np.mean(back_mm)) / 2


def chamfer_l2(there_mm: np.ndarray, back_mm: np.ndarray) -> float:
    """Half the sum of the mean squared distances in both directions, in mm^2."""
    return float(np.mean(there_mm**2) + np.mean(back_mm**2)) / 2


def normal_consistency(there_cosines: np.ndarray, back_cosines: np.ndarray) -> float:
    """Half the sum of the mean absolute cosines in both directions, 1 for the same surface whichever side is its outside."""
    return float(np.mean(np.abs(there_cosines)) + np.mean(np.abs(back_cosines))) / 2


def f_score(there_mm: np.ndarray, back_mm: np.ndarray, threshold_mm: float) -> float:
    """The harmonic mean, in [0, 1], of the shares of either direction's distances that are no more than the threshold."""
    shares = float(np.mean(there_mm <= threshold_mm)), float(np.mean(back_mm <= threshold_mm))
    return 2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0
