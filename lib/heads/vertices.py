"""How far the vertices of a face are from the scan's surface, as Pixel2Mesh and its variant for faces report it.

Definitions are those of noahcao/Pixel2Mesh (`functions/evaluator.py`): from each predicted vertex to the nearest of random points
of the true surface, and back. Lengths are in units of `MM_PER_UNIT`:

    cd              the sum of both mean squared distances, times 1000
    f1_tau, f1_2tau harmonic mean of the shares of squared distances below TAU, and twice that: 2.1 mm, and 3.0
    nme_eyes        normalised mean error: from the true points to the nearest vertex, divided by the distance of the pupils
    nme_variant_e9  that of the variant for faces (its `evaluator.py`), times 10^9: half the sum of both mean *squared* distances,
                    in pixels / 1000 of its crop, divided by the face's size there and again by the number of true points

A face is what lies within `REACH_MM` of the true tip of the nose. All of this is once said of the mesh as it lies, and once
(`aligned_`) after the rigid motion that fits it best.
"""

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from heads import clouds, metric
from heads.truth import Truth

MM_PER_UNIT = 210.0
TAU = 1e-4  # of squared distances
REACH_MM = 95.0  # as the region of H3DS
POINTS = 10_000  # of the true surface
PX_PER_MM = 224 / 240  # of a crop as the variant's network sees it


def evaluate(mesh_mm: trimesh.Trimesh, truth: Truth) -> dict[str, float]:
    """All these scores of a predicted mesh; ValueError where none of it is near the face."""
    tip = truth.mesh_mm.vertices[truth.landmarks["nose_tip"]]
    away = np.linalg.norm(truth.mesh_mm.vertices - tip, axis=1)
    near = truth.mesh_mm.faces[(away < REACH_MM)[truth.mesh_mm.faces].all(axis=1)]
    points = clouds.sample(trimesh.Trimesh(truth.mesh_mm.vertices, near, process=False), POINTS, seed=0).points_mm
    eyes = [truth.mesh_mm.vertices[truth.landmarks[f"{side}_eye"]] for side in ("right", "left")]
    between = float(np.linalg.norm(eyes[0] - eyes[1]))
    size = float(np.sqrt(np.prod(np.ptp(points[:, :2], axis=0))))  # of the face from the front
    motion = metric.align(mesh_mm, truth, "rigid", region="face_sphere")
    scores: dict[str, float] = {}
    for prefix, vertices in {"": mesh_mm.vertices, "aligned_": trimesh.transform_points(mesh_mm.vertices, motion)}.items():
        mine = vertices[np.linalg.norm(vertices - tip, axis=1) < REACH_MM]
        if not len(mine):
            raise ValueError(f"{truth.name}: no vertex of the mesh is within {REACH_MM:g} mm of the tip of the nose")
        there, back = cKDTree(points).query(mine)[0], cKDTree(mine).query(points)[0]
        scores |= {f"{prefix}{name}": value for name, value in of_distances(there, back).items()}
        scores[f"{prefix}nme_eyes"] = float(back.mean()) / between
        pixels = [(distances * PX_PER_MM / 1000) ** 2 for distances in (there, back)]
        variant = float(pixels[0].mean() + pixels[1].mean()) / 2 / (len(points) * size * PX_PER_MM / 1000)
        scores[f"{prefix}nme_variant_e9"] = 1e9 * variant
    return scores


def of_distances(there_mm: np.ndarray, back_mm: np.ndarray) -> dict[str, float]:
    """Chamfer distance and F-scores of distances in mm: of the predicted vertices, and of the true points."""
    there, back = (there_mm / MM_PER_UNIT) ** 2, (back_mm / MM_PER_UNIT) ** 2
    return {
        "cd": 1000 * float(there.mean() + back.mean()),
        "f1_tau": clouds.f_score(there, back, TAU),
        "f1_2tau": clouds.f_score(there, back, 2 * TAU),
    }
