"""How NPHM judges a head (`scripts/evaluation/eval.py`): points on what cameras see of two surfaces, and how far they are apart.

Both surfaces are cut at the throat. The head is all that is left, the face what lies near the registered face. Nothing is
aligned.
"""

from typing import NamedTuple

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from heads import clouds, mesh, metric
from heads.clouds import Cloud
from heads.rays import embree_scene

CAMERAS, DISTANCE = 10, 4.0  # radii of the scan from its middle
PIXELS_A_POINT = 1.27  # a side of a picture has so many times the root of the points to draw: the face is a tenth of the hits
THROAT_MARGIN_MM = 0.75  # above the plane, so that the bottom of a reconstruction does not count
FACE_MM, FACE_PLANE_MM = 10.0, 5.0  # from the registered face's vertices, and from the planes there
SEEN_MM = 1.5  # from the nearest pixel: a vertex that is farther away is hidden
MOVED_MM = 2.0  # what moves farther in an expression is scored on its own


class Cameras(NamedTuple):
    """Where to look at heads from: eyes (V, 3) around a middle (3,), whose fields of view a ball of `reach_mm` fills."""

    eyes_mm: np.ndarray
    middle_mm: np.ndarray
    reach_mm: float


def around(mesh_mm: trimesh.Trimesh, count: int = CAMERAS) -> Cameras:
    """Cameras evenly around a mesh (on a Fibonacci sphere), from whose pictures it and what is compared with it are sampled."""
    low, high = mesh_mm.bounds
    middle, reach = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    height, angle = 1 - 2 * (np.arange(count) + 0.5) / count, np.pi * (1 + 5**0.5) * np.arange(count)
    flat = np.sqrt(1 - height**2)
    return Cameras(
        middle + DISTANCE * reach * np.stack([flat * np.cos(angle), height, flat * np.sin(angle)], axis=1), middle, reach
    )


def seen(mesh_mm: trimesh.Trimesh, cameras: Cameras, pixels: int, rng: np.random.Generator) -> Cloud:
    """What cameras see of a mesh, a random point in each of `pixels` x `pixels` of each picture, with its normal.

    As NPHM samples both surfaces (`render_utils.py`), so that nothing inside a head counts, nor a surface seen from behind.
    ValueError if they see nothing.
    """
    scene = embree_scene(np.asarray(mesh_mm.triangles))
    normals, points, faces = np.asarray(mesh_mm.face_normals), [], []
    wide = cameras.reach_mm * DISTANCE / np.sqrt(DISTANCE**2 - 1)  # of the ball's outline, in the plane through its middle
    for eye in cameras.eyes_mm:
        towards = (eye - cameras.middle_mm) / np.linalg.norm(eye - cameras.middle_mm)
        across = np.cross([0.0, 1.0, 0.0], towards) / np.linalg.norm(np.cross([0.0, 1.0, 0.0], towards))
        upwards = np.cross(towards, across)
        away = np.asarray(mesh_mm.vertices) - eye
        shown = away @ np.stack([across, upwards], axis=1) * (DISTANCE * cameras.reach_mm / wide / -(away @ towards))[:, None]
        low, high = (np.clip((edge + 1) / 2 * pixels, 0, pixels) for edge in (shown.min(axis=0), shown.max(axis=0)))
        columns, rows = (np.arange(int(low[k]), int(np.ceil(high[k]))) for k in range(2))  # the rest of the picture is empty
        column, row = (axis.ravel() for axis in np.meshgrid(columns, rows))
        place = (np.stack([column, row], axis=1) + rng.random((len(column), 2))) / pixels * 2 - 1
        rays = cameras.middle_mm - eye + wide * place @ np.stack([across, upwards])
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        starts = np.broadcast_to(eye, rays.shape).astype(np.float32)
        hit = scene.run(starts, rays.astype(np.float32), query="INTERSECT", output=True)
        met = np.flatnonzero(hit["primID"] >= 0)
        met = met[(normals[hit["primID"][met]] * rays[met]).sum(axis=1) < -0.01]
        points.append(eye + hit["tfar"][met, None] * rays[met])
        faces.append(hit["primID"][met])
    found, face = np.concatenate(points), np.concatenate(faces)
    if len(found) == 0:
        raise ValueError("no camera sees anything of the mesh")
    return Cloud(found, normals[face])


def near(cloud: Cloud, points_mm: np.ndarray, normals: np.ndarray, *, distance_mm: float, plane_mm: float) -> np.ndarray:
    """Which points of a cloud (N,) are near one of `points_mm` (M, 3), and near the plane there, whose normals (M, 3) are given.

    NPHM has the face so, of the scan and of what is compared with it: within 10 and 5 mm of the registered face.
    """
    box = np.abs(cloud.points_mm - (points_mm.min(axis=0) + points_mm.max(axis=0)) / 2)
    maybe = np.flatnonzero((box <= np.ptp(points_mm, axis=0) / 2 + distance_mm).all(axis=1))
    away, index = cKDTree(points_mm).query(cloud.points_mm[maybe], distance_upper_bound=distance_mm)
    index = np.minimum(index, len(points_mm) - 1)  # of those that are farther away there is none
    off = np.abs(((cloud.points_mm[maybe] - points_mm[index]) * normals[index]).sum(axis=1))
    chosen = np.zeros(len(cloud.points_mm), dtype=bool)
    chosen[maybe[(away <= distance_mm) & (off <= plane_mm)]] = True
    return chosen


def drawn(cloud: Cloud, count: int, rng: np.random.Generator) -> Cloud:
    """`count` random points of a cloud, in its order: neighbours are then searched for one after the other, in half the time."""
    return cloud.part(np.sort(rng.integers(len(cloud.points_mm), size=count)))


def compare(one: Cloud, truth: Cloud) -> dict[str, float]:
    """NPHM's scores of a surface against the true one: L1 in mm, L2 in mm^2, normals, and F at 1 and 5 mm."""
    found = clouds.nearest(one, truth)
    both = found.there_mm, found.back_mm
    return {
        "l1_mm": clouds.chamfer_l1(*both),
        "l2_mm2": clouds.chamfer_l2(*both),
        "normals": clouds.normal_consistency(found.there_cosines, found.back_cosines),
        "f1_at_1mm": clouds.f_score(*both, 1.0),
        "f1_at_5mm": clouds.f_score(*both, 5.0),
    }


def evaluate(
    head_mm: trimesh.Trimesh,
    scan_mm: trimesh.Trimesh,
    face: tuple[np.ndarray, np.ndarray],
    throat_mm: np.ndarray,
    *,
    count: int,
    seed: int = 0,
    moved_mm: np.ndarray | None = None,
    floor: bool = True,
) -> dict[str, float]:
    """The scores `head_*` and `face_*` of a reconstruction, with `count` points on either surface in either region.

    `face` are the vertices (F, 3) of the registered face and their normals, `throat_mm` (3, 3) three points of the plane to cut
    at, and `moved_mm` (F,) how far each vertex is from where it is on the neutral head. `*_floor_mm` is what `*_l1_mm` says of
    two drawings of the scan itself, unless it is left out for the sake of time; `*_to_surface_mm` is the mean distance of the
    scan's points from the surface between them.
    """
    rng, cameras = np.random.default_rng(seed), around(scan_mm)
    pixels = max(32, round(PIXELS_A_POINT * np.sqrt(count)))

    def parts(mesh_mm: trimesh.Trimesh) -> dict[str, Cloud]:
        whole = seen(mesh_mm, cameras, pixels, rng)
        head = whole.part(mesh.above(whole.points_mm, throat_mm, THROAT_MARGIN_MM))
        return {"head": head, "face": head.part(near(head, *face, distance_mm=FACE_MM, plane_mm=FACE_PLANE_MM))}

    surface = metric.build_surface(head_mm)
    scores: dict[str, float] = {}
    predicted, true, again = parts(head_mm), parts(scan_mm), parts(scan_mm) if floor else {}
    for region in ("head", "face"):
        if not len(predicted[region].points_mm) or not len(true[region].points_mm):
            raise ValueError(f"no camera sees anything of the {region} above the throat; are both heads in one place?")
        truth = drawn(true[region], count, rng)
        scores |= {f"{region}_{name}": value for name, value in compare(drawn(predicted[region], count, rng), truth).items()}
        if floor:
            scores[f"{region}_floor_mm"] = compare(drawn(again[region], count, rng), truth)["l1_mm"]
        few = truth.points_mm[:: max(1, count // 10_000)]
        scores[f"{region}_to_surface_mm"] = float(np.linalg.norm(metric.closest_points(few, surface) - few, axis=1).mean())
    shown = moved_mm is not None and cKDTree(true["face"].points_mm).query(face[0])[0] < SEEN_MM
    if moved_mm is not None and (far := (moved_mm > MOVED_MM) & shown).any():
        away = np.linalg.norm(metric.closest_points(face[0][far], surface) - face[0][far], axis=1)
        scores |= {"moved_to_surface_mm": float(away.mean()), "moved_by_mm": float(moved_mm[far].mean())}
    return scores
