"""How an identity field is scored: what it leaves out, how people look from other cameras, and where these see a face.

What is drawn of it is in `fields`, which decides no score.
"""

import igl
import numpy as np
import torch
import trimesh

from heads import lpips, pictures, rays
from heads.data import drawn
from heads.methods.identity_field import learn
from heads.methods.identity_field.learn import Identities, Model, Shots
from heads.morphable import Morphable
from heads.truth import Truth

FACING = 0.55  # of the pixels of the face: up to some 75 degrees from straight ahead


def left_out_mm(head: Morphable, people: int, *, seed: int) -> dict[str, float]:
    """How far drawn heads' faces are from the nearest that 0, 10, 30 and all components make, in mm from point to surface."""
    counts = sorted({0, 10, 30, len(head.directions_mm)} & set(range(len(head.directions_mm) + 1)))
    found: dict[str, list[float]] = {str(count): [] for count in counts}
    for number in range(people):
        truth = drawn.head_mm_of(seed, number)
        for count in counts:
            basis = head.directions_mm[:count][:, head.face].reshape(count, 3 * len(head.face))
            code = np.linalg.lstsq(basis.T, (truth - head.mean_mm)[head.face].ravel(), rcond=None)[0]
            made = head.vertices_mm(code)
            move, _, _ = trimesh.registration.procrustes(made[head.face], truth[head.face], reflection=False, scale=False)
            placed = trimesh.transform_points(made[head.face], move)
            squares = igl.point_mesh_squared_distance(placed, truth.astype(np.float64), head.faces)[0]
            found[str(count)].append(float(np.sqrt(squares).mean()))
    return {count: float(np.mean(values)) for count, values in found.items()}


def _kept(people: Identities, unseen: int) -> list[int]:
    """The pictures that are not learned from, or all where there are none."""
    return list(range(people.cameras - unseen, people.cameras)) if unseen else list(range(people.cameras))


@torch.no_grad()
def made(model: Model, people: Identities, person: int, unseen: int) -> tuple[Shots, np.ndarray]:
    """A learned person's pictures that were not learned from, or all where there are none, and the field's (V, S, S, 3)."""
    shots = learn.shots_of(people, person, _kept(people, unseen))
    device = next(model.field.parameters()).device
    template = people.of(person, "template_mm")[None].to(device)
    gaussians = model.field(model.codes[person][None].to(device), template)[0]
    return shots, learn.seen(gaussians, shots.views).clamp(0, 1).cpu().numpy()


def learned(model: Model, people: Identities, unseen: int) -> dict[str, float]:
    """The scores of everybody whom a field has learned from, by cameras that it has not: `pictures.in_faces`, over people."""
    rows = []
    for person in range(len(people)):
        shots, shown = made(model, people, person, unseen)
        rows.append(pictures.in_faces(shown, shots.pictures.numpy(), shots.face[..., 0].numpy() > 0))
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def masks_of(
    px_from_cam: torch.Tensor, mm_from_cam: torch.Tensor, size_px: tuple[int, int], scan: Truth, region: str
) -> np.ndarray:
    """Where cameras (V, 3, 3), (V, 4, 4) see a region of the scan (V, H, W) bool; ValueError if the scan has no such region."""
    if region not in scan.regions:
        raise ValueError(f"{scan.name}: the scan has no region {region!r}; expected one of {', '.join(scan.regions)}")
    vertices, faces = np.asarray(scan.mesh_mm.vertices), np.asarray(scan.mesh_mm.faces)
    return rays.masks(vertices, faces, scan.regions[region], px_from_cam.double().numpy(), mm_from_cam.double().numpy(), size_px)


def facing(masks: np.ndarray) -> list[int]:
    """Which photographs see most of the face: at least `FACING` of the pixels of the one that sees most."""
    areas = masks.sum(axis=(1, 2))
    return [int(index) for index in np.flatnonzero(areas >= max(1.0, FACING * areas.max()))]


def perceived(rendered: np.ndarray, photographs: np.ndarray, faces: np.ndarray) -> dict[str, float]:
    """`lpips`, the mean LPIPS of faces on black, where the reader has its weights (`lpips.find`); nothing elsewhere."""
    weights = lpips.find()
    if weights is None:
        return {}
    network = lpips.load(*weights)
    pairs = zip(cut(rendered, faces), cut(photographs * faces[..., None], faces), strict=True)
    values = [network.distance(*(torch.from_numpy(x).permute(2, 0, 1).float() / 255 for x in pair)) for pair in pairs]
    return {"lpips": float(np.mean(values))}


def cut(pictures: np.ndarray, faces: np.ndarray, margin: int = 6) -> list[np.ndarray]:
    """Pictures (V, H, W, 3) in [0, 1] as uint8, each a square around its face (H, W) bool, all of one size."""
    boxes = [[(where.min(), where.max()) for where in np.nonzero(face)] for face in faces]
    side = max(int(high - low) + 1 for box in boxes for low, high in box) + 2 * margin
    found = []
    for picture, box in zip(pictures, boxes, strict=True):
        middles = [(low + high + 1) // 2 for low, high in box]
        top, left = (
            int(np.clip(middle - side // 2, 0, max(0, size - side)))
            for middle, size in zip(middles, picture.shape[:2], strict=True)
        )
        part = (255 * picture[top : top + side, left : left + side]).round().astype(np.uint8)
        found.append(np.pad(part, [(0, side - part.shape[0]), (0, side - part.shape[1]), (0, 0)]))
    return found


def placed_mm(mesh_mm: trimesh.Trimesh, scan: Truth, region: str) -> dict[str, float]:
    """`placed_face_mm`: from the scan's region to the mesh as it lies, in mm, the mean over vertices."""
    points = np.asarray(scan.mesh_mm.vertices)[scan.regions[region]]
    squares = igl.point_mesh_squared_distance(points, np.asarray(mesh_mm.vertices), np.asarray(mesh_mm.faces, dtype=np.int64))[0]
    return {"placed_face_mm": float(np.sqrt(squares).mean())}
