"""The surface of a signed distance field as a triangle mesh in millimetres."""

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import trimesh
from skimage import measure

from heads import files

if TYPE_CHECKING:
    from torch import Tensor

    SDF = Callable[[Tensor], Tensor]  # signed distances (N,), unit frame, of points (N, 3)

COARSEST = 32  # most cells per side of the grid on which the surface is first looked for
CORNERS = np.array(list(np.ndindex(2, 2, 2)))  # of a cell
FACES = [(axis, side, CORNERS[:, axis] == side) for axis in range(3) for side in (0, 1)]  # of a cell, with its corners


def extract(field: "SDF", *, mm_from_unit: "Tensor", cell_mm: float) -> trimesh.Trimesh:
    """Isosurface f = 0 inside the cube [-1, 1]^3 at a cell size of `cell_mm`, its largest component, in mm.

    The field is evaluated only where the surface is, on finer and finer grids, so that the cost grows with its area.
    ValueError if it has no zero crossing, or is not finite.
    """
    if not cell_mm > 0:
        raise ValueError(f"cell_mm must be positive, not {cell_mm}")
    mm_per_unit = float(abs(np.linalg.det(mm_from_unit[:3, :3].double().numpy())) ** (1 / 3))
    sizes = [ceil(2 * mm_per_unit / cell_mm)]  # cells per side of each grid, the last being the one wanted
    cell = 2.0 / sizes[0]
    while sizes[0] > COARSEST:
        sizes.insert(0, ceil(sizes[0] / 2))  # its last cells may stick out of the cube
    cells = np.argwhere(np.ones((sizes[0],) * 3, dtype=bool))
    for size, spacing in zip(sizes, cell * 2.0 ** np.arange(len(sizes) - 1, -1, -1), strict=True):
        cells = cells[(cells < size).all(1)]
        values, crossed = follow_surface(field, cells, size, spacing)
        if size != sizes[-1]:
            cells = octants(values, crossed, spacing)
    vertices, faces, _, _ = measure.marching_cubes(values, level=0.0, mask=np.pad(crossed, ((1, 0),) * 3))
    mesh = largest_component(trimesh.Trimesh(vertices.astype(np.float64) * cell - 1, faces, process=False))
    mesh.apply_transform(mm_from_unit.double().numpy())
    return mesh


def follow_surface(field: "SDF", cells: np.ndarray, size: int, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Follow the surface on the grid of `size` cells per side, from `cells` (N, 3) to all that it reaches from them.

    Returns the field at the corners evaluated (size + 1, three times), NaN elsewhere, and which cells the surface crosses.
    """
    import torch

    values = np.full((size + 1,) * 3, np.nan, dtype=np.float32)
    crossed, seen = np.zeros((size,) * 3, dtype=bool), np.zeros((size,) * 3, dtype=bool)
    while len(cells):
        seen[tuple(cells.T)] = True
        corners = np.ravel_multi_index(tuple((cells[:, None] + CORNERS).T), values.shape).T  # (N, 8)
        new = pd.unique(corners.ravel())
        new = new[np.isnan(values.flat[new])]
        points = np.stack(np.unravel_index(new, values.shape), axis=1) * spacing - 1
        values.flat[new] = found = field(torch.from_numpy(points).float()).numpy()
        if not np.isfinite(found).all():
            raise ValueError(f"the field is not finite at {np.count_nonzero(~np.isfinite(found))} of {len(found)} points")
        inside = values.flat[corners] <= 0  # as in marching cubes
        crossed[tuple(cells[inside.any(1) & ~inside.all(1)].T)] = True
        beyond = []
        for axis, side, face in FACES:
            out = cells[inside[:, face].any(1) & ~inside[:, face].all(1)]
            out[:, axis] += 2 * side - 1
            beyond.append(out[(out[:, axis] >= 0) & (out[:, axis] < size)])
        cells = np.concatenate(beyond)
        cells = np.unique(cells[~seen[tuple(cells.T)]], axis=0)
    if not crossed.any():
        raise ValueError(
            f"the field has no surface: it is {'negative' if (values <= 0).any() else 'positive'} everywhere in the cube"
        )
    return values, crossed


def octants(values: np.ndarray, crossed: np.ndarray, spacing: float) -> np.ndarray:
    """The octants (N, 3) of the cells `crossed` that the surface should cross, if the field is nearly linear in each cell."""
    cells = np.argwhere(crossed)
    weights = np.array(
        [[np.prod(1 - np.abs((octant + corner) / 2 - CORNERS), axis=1) for corner in CORNERS] for octant in CORNERS]
    )
    expected = np.tensordot(values[tuple((cells[:, None] + CORNERS).T)].T, weights, axes=(1, 2))  # (N, 8 octants, 8 corners)
    near = (expected.min(2) < spacing / 8) & (expected.max(2) > -spacing / 8)
    return (2 * cells[:, None] + CORNERS)[near]


def open_share(field: "SDF", resolution: int = 48) -> float:
    """The share of the faces of the cube [-1, 1]^3 on which the field is negative: how far its surface leaves it open."""
    import torch

    axis = torch.linspace(-1, 1, resolution)
    face = torch.cartesian_prod(axis, axis)
    sides = [torch.cat([face, torch.full((len(face), 1), side)], dim=1) for side in (-1.0, 1.0)]
    return float((field(torch.cat([side.roll(turn, dims=1) for side in sides for turn in range(3)])) < 0).float().mean())


def largest_component(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """The connected part of `mesh` with the largest area, as in IDR's evaluation (`plots.py`)."""
    labels = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))
    area = np.bincount(labels, weights=mesh.area_faces)
    kept = mesh.copy()
    kept.update_faces(labels == area.argmax())
    kept.remove_unreferenced_vertices()
    return kept


def save(mesh: trimesh.Trimesh, path: str | Path) -> None:
    """Write a mesh as binary PLY, all or nothing."""
    with files.replacing(Path(path)) as partial:
        partial.write_bytes(trimesh.exchange.ply.export_ply(mesh))


def save_glb(mesh_mm: trimesh.Trimesh, path: str | Path) -> None:
    """Write a mesh as GLB, in metres, as its standard says."""
    metres = trimesh.Trimesh(mesh_mm.vertices / 1000, mesh_mm.faces, process=False)
    with files.replacing(Path(path)) as partial:
        partial.write_bytes(trimesh.exchange.gltf.export_glb(trimesh.Scene(metres)))


def load(path: str | Path) -> trimesh.Trimesh:
    """Read a mesh, keeping its vertex order; ValueError names the file if it has no triangles."""
    try:
        mesh = trimesh.load_mesh(path, process=False, maintain_order=True)
    except Exception as error:  # a broken mesh can fail in many ways
        raise ValueError(f"{path}: cannot be read as a mesh ({files.reason(error)})") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise ValueError(f"{path}: the mesh has no triangles")
    return mesh


def above(points_mm: np.ndarray, plane_mm: np.ndarray, margin_mm: float = 0.0) -> np.ndarray:
    """Which points (N, 3) lie above the plane through three points (3, 3), up being +y, by more than a margin."""
    first, second, third = plane_mm
    normal = np.cross(second - first, third - first)
    if not abs(normal[1]) > 1e-6 * np.linalg.norm(np.ptp(plane_mm, axis=0)) ** 2:
        raise ValueError(f"three points {np.round(plane_mm, 1).tolist()} span no plane that has an above")
    normal *= np.sign(normal[1]) / np.linalg.norm(normal)
    return np.asarray((points_mm - first) @ normal > margin_mm)
