"""The surface of a signed distance field as a triangle mesh in millimetres."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import trimesh
from skimage import measure

if TYPE_CHECKING:
    from torch import Tensor

    from heads.sdf import SDF


def extract(field: "SDF", *, mm_from_unit: "Tensor", cell_mm: float) -> trimesh.Trimesh:
    """Isosurface f = 0 inside the cube [-1, 1]^3 at a cell size of `cell_mm`, its largest component, in mm.

    The field is asked coarse to fine, at the grid's own points only near the surface (`trace.CachedField`). ValueError where it
    has no zero crossing.
    """
    from heads.trace import CachedField

    if not cell_mm > 0:
        raise ValueError(f"cell_mm must be positive, not {cell_mm}")
    mm_per_unit = float(abs(np.linalg.det(mm_from_unit[:3, :3].double().numpy())) ** (1 / 3))
    resolution = int(np.ceil(2 * mm_per_unit / cell_mm)) + 1
    fine = CachedField(field, resolution).values.view(resolution, resolution, resolution)
    if not bool((fine < 0).any() and (fine > 0).any()):
        side = "positive" if bool((fine >= 0).all()) else "negative"
        raise ValueError(f"the field has no surface: it is {side} in the whole cube")
    vertices, faces, _, _ = measure.marching_cubes(fine.numpy(), level=0.0)
    unit = vertices.astype(np.float64) * (2.0 / (resolution - 1)) - 1
    mesh = largest_component(trimesh.Trimesh(unit, faces, process=False))
    mesh.apply_transform(mm_from_unit.double().numpy())
    return mesh


def largest_component(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """The connected part of `mesh` with the largest area, as IDR's evaluation keeps it (`plots.py`)."""
    labels = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))
    area = np.bincount(labels, weights=mesh.area_faces)
    kept = mesh.copy()
    kept.update_faces(labels == area.argmax())
    kept.remove_unreferenced_vertices()
    return kept


def save(mesh: trimesh.Trimesh, path: Path) -> None:
    """Write a mesh as binary PLY, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".part")
    partial.write_bytes(trimesh.exchange.ply.export_ply(mesh))
    partial.replace(path)


def load(path: Path) -> trimesh.Trimesh:
    """Read a mesh, keeping its vertex order; ValueError names the file when it holds no triangles."""
    try:
        mesh = trimesh.load_mesh(path, process=False, maintain_order=True)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{path}: cannot be read as a mesh ({error})") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise ValueError(f"{path}: a mesh with triangles was expected, it has none")
    return mesh
