"""How far a predicted head is from the scan, in millimetres, by two protocols that are always named.

`toolbox` is the number of the h3ds package 0.4.0 (`H3DS.evaluate_scene`): the true region's vertices are aligned with
the predicted vertices by trimesh's ICP, scale included, and the distance is from true vertex to predicted vertex.
It is blind to a wrong size, and has a floor of 0.37 grid cells.
`rigid` aligns by rotation and translation only, and measures from the true vertex to the predicted surface.

Face: aligned and measured on region `face_sphere`. Head: aligned on `face`, measured on all true vertices. Both go
from the truth to the prediction: a hole costs, surplus geometry does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import igl
import numpy as np
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from heads.truth import Truth

Protocol = Literal["toolbox", "rigid"]
PROTOCOLS: tuple[Protocol, ...] = ("toolbox", "rigid")
SCORES = {"face": "face_sphere", "head": "face"}  # score -> region to align on


@dataclass(frozen=True)
class Evaluation:
    """The four scores, and, by protocol, the distances (N,) of all true vertices, whose mean is the head score."""

    scores: dict[str, float]
    errors_mm: dict[Protocol, np.ndarray]


@dataclass(frozen=True)
class Surface:
    """Triangles, without those of no area, and libigl's tree of their boxes, for closest points."""

    vertices: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3)
    tree: igl.AABB


def evaluate(
    mesh_mm: trimesh.Trimesh,
    truth: Truth,
    landmarks_mm: Mapping[str, np.ndarray] | None = None,
    protocols: Sequence[Protocol] = PROTOCOLS,
) -> Evaluation:
    """The four scores, mean distances over the true vertices of the face and of the head by both protocols, and the head's map.

    With only one of the `protocols` there are two. `landmarks_mm` (name -> (3,)) are points on the prediction; without them it
    must already be in the scan's world.
    """
    _check(mesh_mm, truth)
    surface = build_surface(mesh_mm)
    scores, errors_mm = {}, {}
    for protocol in protocols:
        for name, region in SCORES.items():
            truth_from_prediction = _align(mesh_mm, surface, truth, protocol, region, landmarks_mm)
            chosen = truth.regions[region] if name == "face" else slice(None)
            errors = _errors(mesh_mm, surface, truth.mesh_mm.vertices[chosen], truth_from_prediction, protocol)
            scores[f"{name}_{protocol}_mm"] = float(np.mean(errors))
            if name == "head":
                errors_mm[protocol] = errors
    return Evaluation(scores, errors_mm)


def score(mesh_mm: trimesh.Trimesh, truth: Truth, landmarks_mm: Mapping[str, np.ndarray] | None = None) -> dict[str, float]:
    """Only the four scores of `evaluate`: `face_toolbox_mm`, `head_toolbox_mm`, `face_rigid_mm`, `head_rigid_mm`."""
    return evaluate(mesh_mm, truth, landmarks_mm).scores


def align(
    mesh_mm: trimesh.Trimesh,
    truth: Truth,
    protocol: Protocol,
    *,
    region: str = "face",
    landmarks_mm: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """The transform truth_from_prediction (4, 4): a similarity for `toolbox`, a rigid motion for `rigid`.

    It starts from the landmarks if they are given, otherwise from the identity, and then fits the vertices of `region`.
    """
    _check(mesh_mm, truth)
    return _align(mesh_mm, build_surface(mesh_mm), truth, protocol, region, landmarks_mm)


def errors_mm(
    mesh_mm: trimesh.Trimesh,
    truth: Truth,
    protocol: Protocol,
    *,
    region: str = "face",
    landmarks_mm: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """Distances (N,) of all true vertices to the prediction aligned on `region`; for `face`, their mean is the head score."""
    _check(mesh_mm, truth)
    surface = build_surface(mesh_mm)
    truth_from_prediction = _align(mesh_mm, surface, truth, protocol, region, landmarks_mm)
    return _errors(mesh_mm, surface, truth.mesh_mm.vertices, truth_from_prediction, protocol)


def _check(mesh_mm: trimesh.Trimesh, truth: Truth) -> None:
    vertices, faces = len(mesh_mm.vertices), len(mesh_mm.faces)
    if vertices == 0 or faces == 0:
        raise ValueError(f"{truth.name}: the predicted mesh has {vertices} vertices and {faces} faces; nothing to score")
    if not np.isfinite(mesh_mm.vertices).all():
        raise ValueError(f"{truth.name}: the predicted mesh has vertices that are not finite")
    if mesh_mm.faces.min() < 0 or mesh_mm.faces.max() >= vertices:
        raise ValueError(f"{truth.name}: the predicted mesh has a face with a vertex that does not exist (there are {vertices})")
    if not (mesh_mm.area_faces > 0).any():
        raise ValueError(f"{truth.name}: the faces of the predicted mesh have no area; nothing to score")


def _align(
    mesh_mm: trimesh.Trimesh,
    surface: Surface,
    truth: Truth,
    protocol: Protocol,
    region: str,
    landmarks_mm: Mapping[str, np.ndarray] | None,
) -> np.ndarray:
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, not {protocol!r}")
    if region not in truth.regions:
        raise ValueError(f"{truth.name}: the scan has no region {region!r}, only {', '.join(truth.regions) or 'none'}")
    points = truth.mesh_mm.vertices[truth.regions[region]]
    coarse = np.eye(4)
    if landmarks_mm is not None:
        coarse = _align_landmarks(truth, landmarks_mm, protocol)
    if protocol == "rigid":
        return np.linalg.inv(_fit_rigid(points, surface, np.linalg.inv(coarse)))
    try:
        with np.errstate(all="ignore"):
            vertices = trimesh.transform_points(mesh_mm.vertices, coarse)
            prediction_from_truth = trimesh.registration.icp(points, vertices)[0]  # type: ignore[no-untyped-call]
        return np.linalg.inv(prediction_from_truth) @ coarse
    except np.linalg.LinAlgError:
        raise ValueError(f"{truth.name}: the toolbox's ICP shrinks the scan to a point; the prediction is too far away") from None


def _align_landmarks(truth: Truth, landmarks_mm: Mapping[str, np.ndarray], protocol: Protocol) -> np.ndarray:
    """truth_from_prediction (4, 4) from all landmarks of the scan, with scale for the toolbox only."""
    missing = [name for name in truth.landmarks if name not in landmarks_mm]
    if missing or len(truth.landmarks) < 3:
        raise ValueError(
            f"{truth.name}: aligning by landmarks needs at least three, and all of the scan's "
            f"({', '.join(truth.landmarks) or 'it has none'}); the prediction lacks {', '.join(missing) or 'none'}"
        )
    points = np.array([landmarks_mm[name] for name in truth.landmarks], dtype=np.float64)
    true_points = truth.mesh_mm.vertices[list(truth.landmarks.values())]
    scale = protocol == "toolbox"
    return np.asarray(trimesh.registration.procrustes(points, true_points, reflection=False, scale=scale, return_cost=False))


def _fit_rigid(points: np.ndarray, surface: Surface, start: np.ndarray) -> np.ndarray:
    """The rigid motion prediction_from_truth (4, 4) with the smallest squared distance of `points` (n, 3) to the surface.

    ICP by damped Gauss-Newton steps along the residuals (Chen and Medioni 1992): the minimum of the usual
    point-to-point steps, in a handful of steps instead of a hundred or more. A first pass takes about a thousand points.
    """
    motion = start
    for chosen in (points[:: len(points) // 1000 + 1], points):
        moved, damping = trimesh.transform_points(chosen, motion), 1e-4
        distances, towards = _residuals(moved, surface)
        for _ in range(30):
            centre = moved.mean(axis=0)
            size = np.sqrt(((moved - centre) ** 2).sum(axis=1).mean()) + 1e-9  # rotations are measured in mm at this radius
            slopes = np.hstack([np.cross((moved - centre) / size, towards), towards])
            step = np.linalg.solve(slopes.T @ slopes + damping * len(moved) * np.eye(6), -slopes.T @ distances)
            rotation = Rotation.from_rotvec(step[:3] / size).as_matrix()
            change = np.eye(4)
            change[:3, :3], change[:3, 3] = rotation, step[3:] + centre - rotation @ centre
            trial = change @ motion
            trial_moved = trimesh.transform_points(chosen, trial)
            trial_distances, trial_towards = _residuals(trial_moved, surface)
            gain = (distances**2).mean() - (trial_distances**2).mean()
            damping = max(damping / 10, 1e-4) if gain > 0 else damping * 10
            if gain > 0:
                motion, moved, distances, towards = trial, trial_moved, trial_distances, trial_towards
            if np.abs(step).max() < 1e-5 or 0 < gain < 1e-7 * (distances**2).mean():  # mm; of the cost
                break
    return motion


def _residuals(points: np.ndarray, surface: Surface) -> tuple[np.ndarray, np.ndarray]:
    """Distances (n,) to the surface and the unit vectors (n, 3) along which they grow (zero on the surface itself)."""
    away = points - closest_points(points, surface)
    distances = np.linalg.norm(away, axis=1)
    return distances, away / np.maximum(distances, 1e-6)[:, None]


def _errors(
    mesh_mm: trimesh.Trimesh, surface: Surface, points_mm: np.ndarray, truth_from_prediction: np.ndarray, protocol: Protocol
) -> np.ndarray:
    if protocol == "toolbox":
        vertices = trimesh.transform_points(mesh_mm.vertices, truth_from_prediction)
        return np.asarray(cKDTree(vertices).query(points_mm)[0])
    moved = trimesh.transform_points(points_mm, np.linalg.inv(truth_from_prediction))
    return np.asarray(np.linalg.norm(moved - closest_points(moved, surface), axis=1))


def build_surface(mesh: trimesh.Trimesh) -> Surface:
    """The faces of a mesh that have an area, ready for searching."""
    vertices = np.array(mesh.vertices, dtype=np.float64)
    faces = np.array(mesh.faces[mesh.area_faces > 0], dtype=np.int64)
    tree = igl.AABB()
    tree.init(vertices, faces)
    return Surface(vertices, faces, tree)


def closest_points(points: np.ndarray, surface: Surface) -> np.ndarray:
    """The points (n, 3) of the surface closest to `points` (n, 3)."""
    assert points.ndim == 2 and points.shape[1] == 3
    _, _, closest = surface.tree.squared_distance(surface.vertices, surface.faces, np.array(points, dtype=np.float64))
    return np.asarray(closest)
