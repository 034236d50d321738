"""What a reconstruction is judged by. No method imports it, nor what reads it."""

from dataclasses import dataclass

import numpy as np
import trimesh


@dataclass(frozen=True)
class Truth:
    """What only the judge may see: the scan, its landmarks (name -> vertex), its regions (name -> (n,) vertices)."""

    name: str
    mesh_mm: trimesh.Trimesh
    landmarks: dict[str, int]
    regions: dict[str, np.ndarray]
