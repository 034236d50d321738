"""From the face that one photograph gives to a whole head: the mean head, bent so that its face becomes that one."""

import numpy as np
import trimesh
from scipy.spatial import cKDTree

BENT_BY = 8  # vertices of the face that a vertex of the head follows
FADES_MM = 40.0  # away from the face, the bend becomes the motion and the scaling of the whole


def head_mm(face_mm: np.ndarray, mean_face_mm: np.ndarray, mean_head_mm: np.ndarray, faces: np.ndarray) -> trimesh.Trimesh:
    """A head whose face has these vertices (V, 3), of which the mean head (N, 3) has others (V, 3): moved, scaled, then bent."""
    motion = trimesh.registration.procrustes(mean_face_mm, face_mm, reflection=False, scale=True, return_cost=False)
    face, head = (trimesh.transform_points(points, motion) for points in (mean_face_mm, mean_head_mm))
    away, nearest = cKDTree(face).query(head, k=BENT_BY)
    weights = 1 / (away + 1.0)
    weights /= weights.sum(axis=1, keepdims=True)
    bend = np.einsum("nk,nkc->nc", weights, (face_mm - face)[nearest])
    return trimesh.Trimesh(head + np.exp(-((away[:, :1] / FADES_MM) ** 2)) * bend, faces, process=False)
