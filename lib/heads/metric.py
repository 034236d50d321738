"""How far a predicted head is from the scan, in millimetres, by two protocols that are always named.

`toolbox` is the number of the h3ds package 0.4.0 (`H3DS.evaluate_scene`): the true region's vertices are aligned with
the predicted vertices by trimesh's ICP, scale included, and the distance is from true vertex to predicted vertex.
It is blind to a wrong size, and has a floor of 0.37 grid cells.
`rigid` aligns by rotation and translation only, and measures from the true vertex to the predicted surface.

Face: aligned and measured on region `face_sphere`. Head: aligned on `face`, measured on all true vertices. Both go
from the truth to the prediction: a hole costs, surplus geometry does not.

What these four do not see, others do, all in the rigid alignments, for the face and for the head:

    accuracy_mm                                the way back: mean distance from points of the predicted surface, uniform by area,
                                               to the scan; a hole costs nothing, surplus geometry does. (The completeness that
                                               belongs to it is the rigid score.)
    f1_at_1mm, f1_at_5mm                       harmonic mean of two shares: of these points near the scan, and of the scan's
                                               vertices near the predicted surface
    normals_mean_deg, normals_median_deg       angle between the scan's normal at a vertex and the normal of the closest triangle;
                                               its floor is about half the angle between neighbouring triangles
    seen_mm, unseen_mm (head), seen_mm (face)  the rigid score over the vertices that a photograph sees, and over the rest

A point of the prediction belongs to the face where the closest triangle of the scan does, with all its corners. One whose closest
point of the scan lies on the scan's open boundary counts nowhere: the scan ends there, and does not say what follows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import igl
import numpy as np
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from heads import clouds
from heads.truth import Truth

Protocol = Literal["toolbox", "rigid"]
PROTOCOLS: tuple[Protocol, ...] = ("toolbox", "rigid")
SCORES = {"face": "face_sphere", "head": "face"}  # score -> region to align on
SAMPLES = 30_000  # points of the predicted surface
THRESHOLDS_MM = (1, 5)  # of the F-scores
OFFSET_MM = 0.5  # above the scan, where the way to a camera begins
LEAST_COSINE = 0.1  # between the scan's normal and the direction of a camera that sees it


@dataclass(frozen=True)
class Evaluation:
    """All scores; by protocol, the distances (N,) of all true vertices, whose mean is the head score; and, if one is
    `rigid`, the angles (N,) there between the normals of the scan and of the prediction, NaN where a vertex has no triangle.
    """

    scores: dict[str, float]
    errors_mm: dict[Protocol, np.ndarray]
    normals_deg: np.ndarray | None = None


@dataclass(frozen=True)
class Cameras:
    """Those of the photographs that a method used: `px_from_cam` (V, 3, 3), `mm_from_cam` (V, 4, 4), `size` (width, height).

    `mm` is the scan's world, `cam` OpenCV's frame in any unit, and the centre of the first pixel is (0, 0) (`camera`).
    """

    px_from_cam: np.ndarray
    mm_from_cam: np.ndarray
    size: tuple[int, int]

    def __post_init__(self) -> None:
        assert self.px_from_cam.shape == (len(self.px_from_cam), 3, 3) and self.mm_from_cam.shape == (len(self.px_from_cam), 4, 4)


@dataclass(frozen=True)
class Surface:
    """Triangles, without those of no area, and libigl's tree of their boxes, for closest points."""

    vertices: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3)
    tree: igl.AABB


@dataclass(frozen=True)
class _Back:
    """Of points of the predicted surface: distances (n,) to the scan, its closest triangles (n, 3), and which lie at its end."""

    distances_mm: np.ndarray
    triangles: np.ndarray
    at_end: np.ndarray  # (n,) bool


def evaluate(
    mesh_mm: trimesh.Trimesh,
    truth: Truth,
    landmarks_mm: Mapping[str, np.ndarray] | None = None,
    protocols: Sequence[Protocol] = PROTOCOLS,
    seen_by: Cameras | None = None,
) -> Evaluation:
    """The scores, first of all the mean distances over the true vertices of the face and of the head by both protocols, and maps.

    With only one of the `protocols` there are two of these, and the others only with `rigid`. `landmarks_mm` (name -> (3,)) are
    points on the prediction; without them it must already be in the scan's world. What is seen and unseen is told apart only
    with `seen_by`, and an unseen part is scored only where there is one.
    """
    _check(mesh_mm, truth)
    surface = build_surface(mesh_mm)
    scores: dict[str, float] = {}
    more: dict[str, float] = {}
    errors_mm: dict[Protocol, np.ndarray] = {}
    normals_deg = None
    if "rigid" in protocols:
        scan = build_surface(truth.mesh_mm)
        normals, ends = vertex_normals(truth.mesh_mm), _ends(truth.mesh_mm)
        points_mm = clouds.sample(mesh_mm, SAMPLES, seed=0).points_mm
        seen = None if seen_by is None else visible(truth.mesh_mm, seen_by)
    for protocol in protocols:
        for name, region in SCORES.items():
            truth_from_prediction = _align(mesh_mm, surface, truth, protocol, region, landmarks_mm)
            chosen = truth.regions[region] if name == "face" else np.arange(len(truth.mesh_mm.vertices))
            errors, closest = _errors(mesh_mm, surface, truth.mesh_mm.vertices[chosen], truth_from_prediction, protocol)
            scores[f"{name}_{protocol}_mm"] = float(np.mean(errors))
            if name == "head":
                errors_mm[protocol] = errors
            if protocol != "rigid":
                continue
            back = _back(trimesh.transform_points(points_mm, truth_from_prediction), scan, ends)
            distances = back.distances_mm[_of_region(back, chosen, len(truth.mesh_mm.vertices))]
            more[f"{name}_accuracy_mm"] = float(np.mean(distances))
            for threshold in THRESHOLDS_MM:
                more[f"{name}_f1_at_{threshold}mm"] = clouds.f_score(distances, errors, threshold)
            angles = _angles(normals[chosen] @ truth_from_prediction[:3, :3], surface, closest)
            more[f"{name}_normals_mean_deg"] = float(np.nanmean(angles))
            more[f"{name}_normals_median_deg"] = float(np.nanmedian(angles))
            if name == "head":
                normals_deg = angles
            if seen is not None:
                parts = {"seen": seen[chosen], "unseen": ~seen[chosen]} if name == "head" else {"seen": seen[chosen]}
                more |= {f"{name}_{part}_mm": float(np.mean(errors[which])) for part, which in parts.items() if which.any()}
    return Evaluation(scores | more, errors_mm, normals_deg)


def score(mesh_mm: trimesh.Trimesh, truth: Truth, landmarks_mm: Mapping[str, np.ndarray] | None = None) -> dict[str, float]:
    """Only the scores of `evaluate`; the first are `face_toolbox_mm`, `head_toolbox_mm`, `face_rigid_mm`, `head_rigid_mm`."""
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
    return _errors(mesh_mm, surface, truth.mesh_mm.vertices, truth_from_prediction, protocol)[0]


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
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (n,) of the scan's points (n, 3) to the prediction, and its closest vertices (toolbox) or triangles (n,)."""
    if protocol == "toolbox":
        vertices = trimesh.transform_points(mesh_mm.vertices, truth_from_prediction)
        distances, closest = cKDTree(vertices).query(points_mm)
        return np.asarray(distances), np.asarray(closest)
    moved = trimesh.transform_points(points_mm, np.linalg.inv(truth_from_prediction))
    points, closest = _closest(moved, surface)
    return np.asarray(np.linalg.norm(moved - points, axis=1)), closest


# ---- the way back


def _ends(mesh: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray]:
    """The open boundary of a mesh: which sides (F, 3) of the triangles of its surface are on it, each opposite to a corner, and
    which vertices (V,).
    """
    sides = np.sort(mesh.faces[:, [[1, 2], [2, 0], [0, 1]]], axis=2)  # (F, 3, 2)
    names = sides[..., 0].astype(np.int64) * len(mesh.vertices) + sides[..., 1]
    _, which, counts = np.unique(names.ravel(), return_inverse=True, return_counts=True)
    open_sides = (counts == 1)[which].reshape(names.shape)
    vertices = np.zeros(len(mesh.vertices), dtype=bool)
    vertices[sides[open_sides]] = True
    return open_sides[mesh.area_faces > 0], vertices


def _back(points_mm: np.ndarray, scan: Surface, ends: tuple[np.ndarray, np.ndarray]) -> _Back:
    """What lies closest to points (n, 3) in the scan's world."""
    closest, face = _closest(points_mm, scan)
    triangles, (open_sides, open_vertices) = scan.faces[face], ends
    at_end = np.zeros(len(points_mm), dtype=bool)
    near = np.flatnonzero(open_vertices[triangles].any(axis=1))
    if len(near):
        weights = trimesh.triangles.points_to_barycentric(scan.vertices[triangles[near]], closest[near])
        on_side = (open_sides[face[near]] & (weights < 1e-6)).any(axis=1)
        at_end[near] = on_side | (open_vertices[triangles[near]] & (weights > 1 - 1e-6)).any(axis=1)
    return _Back(np.asarray(np.linalg.norm(points_mm - closest, axis=1)), triangles, at_end)


def _of_region(back: _Back, region: np.ndarray, vertices: int) -> np.ndarray:
    """Which points (n,) count for a region of the scan; all do where none is near it."""
    inside = np.zeros(vertices, dtype=bool)
    inside[region] = True
    counted = inside[back.triangles].all(axis=1) & ~back.at_end
    return counted if counted.any() else np.ones(len(counted), dtype=bool)


# ---- normals, and what photographs see


def vertex_normals(mesh: trimesh.Trimesh) -> np.ndarray:
    """Unit normals (V, 3), of the triangles around each vertex weighted by their areas; zero where there is none."""
    a, b, c = (np.asarray(mesh.vertices)[mesh.faces[:, k]] for k in range(3))
    doubled = np.repeat(np.cross(b - a, c - a), 3, axis=0)
    normals = np.stack([np.bincount(mesh.faces.ravel(), doubled[:, k], len(mesh.vertices)) for k in range(3)], axis=1)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)


def _angles(normals: np.ndarray, surface: Surface, triangles: np.ndarray) -> np.ndarray:
    """Degrees (n,) between normals (n, 3) in the prediction's world and those of its triangles (n,), NaN where one is zero."""
    a, b, c = (surface.vertices[surface.faces[triangles, k]] for k in range(3))
    others = np.cross(b - a, c - a)
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(normals, axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.degrees(np.arccos(np.clip((normals * others).sum(axis=1) / lengths, -1, 1))))


def visible(mesh_mm: trimesh.Trimesh, cameras: Cameras) -> np.ndarray:
    """Which vertices (N,) at least one camera sees: in its picture, turned towards it, and with nothing of the mesh between."""
    surface, normals = build_surface(mesh_mm), vertex_normals(mesh_mm)
    seen = np.zeros(len(mesh_mm.vertices), dtype=bool)
    for px_from_cam, mm_from_cam in zip(cameras.px_from_cam, cameras.mm_from_cam, strict=True):
        rest = np.flatnonzero(~seen)
        towards = mm_from_cam[:3, 3] - np.asarray(mesh_mm.vertices)[rest]
        facing = (normals[rest] * towards).sum(axis=1) > LEAST_COSINE * np.linalg.norm(towards, axis=1)
        rest = rest[facing & _inside(np.asarray(mesh_mm.vertices)[rest], px_from_cam, mm_from_cam, cameras.size)]
        origins = surface.vertices[rest] + OFFSET_MM * normals[rest]
        towards = mm_from_cam[:3, 3] - origins
        hit, at, _ = surface.tree.intersect_ray_first(surface.vertices, surface.faces, origins, towards)
        seen[rest[(hit < 0) | (at > 1)]] = True  # what lies behind the camera hides nothing
    return seen


def _inside(points_mm: np.ndarray, px_from_cam: np.ndarray, mm_from_cam: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which points (n,) are in front of a camera and project into its picture."""
    in_cam = trimesh.transform_points(points_mm, np.linalg.inv(mm_from_cam))
    homogeneous = in_cam @ px_from_cam.T
    front = in_cam[:, 2] > 0
    pixels = homogeneous[:, :2] / np.where(front, homogeneous[:, 2], 1)[:, None]
    return front & ((pixels >= -0.5) & (pixels < np.array(size) - 0.5)).all(axis=1)


# ---- surfaces


def build_surface(mesh: trimesh.Trimesh) -> Surface:
    """The faces of a mesh that have an area, ready for searching."""
    vertices = np.array(mesh.vertices, dtype=np.float64)
    faces = np.array(mesh.faces[mesh.area_faces > 0], dtype=np.int64)
    tree = igl.AABB()
    tree.init(vertices, faces)
    return Surface(vertices, faces, tree)


def closest_points(points: np.ndarray, surface: Surface) -> np.ndarray:
    """The points (n, 3) of the surface closest to `points` (n, 3)."""
    return _closest(points, surface)[0]


def _closest(points: np.ndarray, surface: Surface) -> tuple[np.ndarray, np.ndarray]:
    """The points (n, 3) of the surface closest to `points` (n, 3), and the triangles (n,) on which they lie."""
    assert points.ndim == 2 and points.shape[1] == 3
    _, faces, closest = surface.tree.squared_distance(surface.vertices, surface.faces, np.array(points, dtype=np.float64))
    return np.asarray(closest), np.asarray(faces)
