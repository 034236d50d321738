"""A morphable head: a mean mesh and its principal components, with landmarks, a face region and texture coordinates.

That of built-in people is made by `data.drawn`; `data.flame` reads FLAME's. The head's frame is in mm, y up, the face towards +z.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Morphable:
    """`mean_mm` (N, 3) and `directions_mm` (K, N, 3), each a standard deviation along a principal component; `faces` (F, 3).

    `face` (M,) are the vertices of the region that is photographed, `uv` (N, 2) texture coordinates in [0, 1]. Landmark
    `names[i]` lies on the vertices `rows[i]` (L, 3) with `weights[i]` (L, 3).
    """

    mean_mm: np.ndarray
    directions_mm: np.ndarray
    faces: np.ndarray
    face: np.ndarray
    uv: np.ndarray
    names: tuple[str, ...]
    rows: np.ndarray
    weights: np.ndarray

    def __post_init__(self) -> None:
        assert self.directions_mm.shape[1:] == self.mean_mm.shape == (len(self.uv), 3)
        assert self.rows.shape == self.weights.shape == (len(self.names), 3)

    def vertices_mm(self, code: np.ndarray) -> np.ndarray:
        """The vertices (N, 3), in the head's frame, of a code (K,) in standard deviations."""
        return np.asarray(self.mean_mm + np.tensordot(code, self.directions_mm[: len(code)], axes=1))

    def landmarks_mm(self, vertices_mm: np.ndarray) -> np.ndarray:
        """Where the landmarks (L, 3) are on vertices (N, 3) of this topology."""
        return np.einsum("lk,lkc->lc", self.weights, vertices_mm[self.rows])

    def check(self, vertices_mm: np.ndarray, where: str) -> None:
        """ValueError for vertices that are not of this topology."""
        if vertices_mm.shape != self.mean_mm.shape:
            raise ValueError(f"{where}: a mesh of {len(vertices_mm)} vertices; the template has {len(self.mean_mm)}")

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for a checkpoint; the names of the landmarks belong in what the checkpoint says of itself."""
        arrays = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}


def restored(tensors: dict[str, Tensor], names: tuple[str, ...], where: str) -> Morphable:
    """A head from its `tensors`; ValueError, which names `where`, if one is missing or they do not fit together."""
    kept = [name for name in Morphable.__annotations__ if name != "names"]
    if missing := [name for name in kept if name not in tensors]:
        raise ValueError(f"{where}: not a morphable head, {missing[0]} is missing")
    arrays = {name: tensors[name].numpy() for name in kept}
    vertices = len(arrays["mean_mm"])
    indices = [arrays[name] for name in ("faces", "face", "rows")]
    if any(len(part) and not 0 <= part.min() <= part.max() < vertices for part in indices) or len(names) != len(arrays["rows"]):
        raise ValueError(f"{where}: not a morphable head, its indices are not those of {vertices} vertices")
    try:
        return Morphable(names=names, **arrays)
    except AssertionError:
        raise ValueError(f"{where}: not a morphable head, its arrays do not fit together") from None
