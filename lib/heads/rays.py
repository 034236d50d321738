"""What rays meet of triangles, by Embree."""

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene


def embree_scene(triangles: np.ndarray) -> EmbreeScene:
    """What rays can meet: triangles (M, 3, 3)."""
    scene = EmbreeScene()
    TriangleMesh(scene, np.ascontiguousarray(triangles, dtype=np.float32))
    return scene


def masks(
    vertices_mm: np.ndarray,
    faces: np.ndarray,
    region: np.ndarray,
    px_from_cam: np.ndarray,
    mm_from_cam: np.ndarray,
    size_px: tuple[int, int],
) -> np.ndarray:
    """The pixels (V, H, W) bool through whose centres cameras (V, 3, 3), (V, 4, 4) see a region of a mesh (N, 3), (F, 3): its
    triangles with all corners among the region's vertices (M,), in front of all others. ValueError where a part of it lies behind
    a camera."""
    scene, inside = embree_scene(vertices_mm[faces]), np.asarray(np.isin(faces, region).all(axis=1))
    seen = np.zeros((len(px_from_cam), *size_px), dtype=bool)
    for mask, intrinsics, pose in zip(seen, px_from_cam, mm_from_cam, strict=True):
        at = (vertices_mm[region] - pose[:3, 3]) @ pose[:3, :3] @ intrinsics.T
        if not (at[:, 2] > 0).all():
            raise ValueError("a part of the face lies behind the camera")
        px = at[:, 1::-1] / at[:, 2:]
        low, high = (np.clip(edge, 0, size_px).astype(int) for edge in (np.floor(px.min(axis=0)), np.ceil(px.max(axis=0)) + 1))
        row, column = (axis.ravel() for axis in np.mgrid[low[0] : high[0], low[1] : high[1]])
        if len(row):
            in_cam = np.stack([column, row, np.ones(len(row))], axis=1) @ np.linalg.inv(intrinsics).T
            towards = (in_cam @ pose[:3, :3].T).astype(np.float32)
            first = scene.run(np.tile(pose[:3, 3].astype(np.float32), (len(towards), 1)), towards)
            mask[row, column] = (first >= 0) & inside[first]
    return seen
