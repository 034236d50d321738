"""Made-up people: heads on the topology of `anatomy`, with hair, as the outer surface that a scanner sees."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.ndimage
import scipy.spatial
import trimesh
from skimage.measure import marching_cubes

from heads.data.anatomy import (
    CLOTH,
    EYE,
    HAIR,
    SKIN,
    Array,
    anatomy,
    ball,
    body_model,
    coarse_mm,
    collar,
    components,
    outside,
    sphere,
    subdivided,
)

HAIR_CELL_MM = 3.0
# How many women and men wear a style, how many more of African ancestry, and how thick it is in mm.
_STYLES = {
    "bald": (0.01, 0.10, 0, 0), "buzz": (0.04, 0.17, 0, 0), "short": (0.10, 0.28, 0, 9), "receding": (0, 0.17, 0, 7),
    "medium": (0.17, 0.14, 0, 16), "fringe": (0.12, 0.06, 0, 14), "bob": (0.27, 0.03, 0, 15), "bun": (0.12, 0.03, 0, 7),
    "ponytail": (0.12, 0.02, 0, 7), "afro": (0, 0, 0.35, 42), "curly": (0.10, 0.10, 0.25, 24),
}  # fmt: skip
STYLES = tuple(_STYLES)
_OVER_EARS = ("bob",)
_PARTS = ("cheek", "chin", "ear", "eyebrows", "eye", "forehead", "head", "mouth", "neck", "nose")
_FIXED = ("head-trans", "head-angle", "neck-trans", "chin-jaw-drop", "head-age", "mouth-trans-out", "nose-trans-out")


@dataclass(frozen=True)
class Person:
    """One head: its scan in mm, what each vertex and triangle is, and the streams of chance for paint, light and cameras.

    `canonical` (N, 3), `lips` and `ears` (N,) follow the vertices; `material` (M,) the faces. `anchors_mm` (A, 3) are NPHM's, on
    the skin, whether hair covers it or not. `head_mm` (K, 3) are all vertices of `anatomy`, and `numbers` (N,) says which of them
    a vertex is, -1 for hair.
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
    anchors_mm: Array
    head_mm: Array
    numbers: Array
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
    traits = draw_traits(np.random.default_rng(streams["traits"]))
    vertices, eye_centres = head_mm(traits, np.random.default_rng(streams["shape"]))
    return _with_hair(vertices, eye_centres, traits, streams)


def draw_traits(rng: np.random.Generator) -> dict[str, float]:
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


def coarse_head_mm(traits: dict[str, float], rng: np.random.Generator) -> Array:
    """The body model's vertices (V, 3) of somebody with these traits, in mm."""
    shared = body_model()
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
    for label in shared.changes:
        name = label[2:] if label[:2] in ("l-", "r-") else label
        if not name.startswith(_PARTS) or name.startswith(_FIXED):
            continue
        sigma = 0.12 if name.startswith(_DELICATE) else 0.18 if name.startswith(("mouth", "chin")) else 0.26
        if label.startswith("r-"):
            changes[label] = changes[f"l-{name}"] + float(rng.normal(0, 0.04))
        else:
            changes[label] = float(np.clip(rng.normal(0, sigma), -2.2 * sigma, 2.2 * sigma))
    changes["head-age-incr"] = 0.5 * old + float(rng.normal(0, 0.08))
    return coarse_mm(shared, phenotypes, changes)


def head_mm(traits: dict[str, float], rng: np.random.Generator) -> tuple[Array, Array]:
    """Refined vertices (N, 3) in mm and eye centres (2, 3), with the origin inside the head."""
    common, coarse = anatomy(), coarse_head_mm(traits, rng)
    skin, _ = subdivided(coarse, common.coarse_skin, 1)
    balls = [ball(coarse, eye)[0] for eye in common.coarse_eyes]
    centres = np.array([sphere(coarse[np.unique(eye)])[0] for eye in common.coarse_eyes])
    vertices = np.concatenate([skin, *balls, collar(skin, common.rim)])
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
    head, depth, normals = vertices, np.zeros(len(vertices)), _bare_normals(vertices)
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
        outer = outside(vertices, faces)
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
    canonical_tip = canonical[landmarks["nose_tip"]]
    nose = np.abs((canonical - canonical_tip - [0, 14, -14]) / [20, 28, 24]).max(axis=1) < 1
    regions = {
        "face": np.flatnonzero(is_skin & (canonical[:, 2] > -30) & (canonical[:, 1] < 75)),
        "face_sphere": _near_nose(vertices, landmarks["nose_tip"]),
        "nose": np.flatnonzero(is_skin & nose),
        "front": np.flatnonzero(is_skin & front_of_face(canonical)),
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
        anchors_mm=head[common.anchors],
        head_mm=head,
        numbers=np.where(used < len(head), used, -1),
        style=style,
        traits=traits,
        landmarks=landmarks,
        regions=regions,
        streams=streams,
    )


def front_of_face(canonical: Array) -> Array:
    """Which canonical points (N, 3) lie between hairline and chin, in front of the ears: about FLAME's mask of the face."""
    x, y, z = canonical.T
    inside = (x / 74) ** 2 + ((y + 25) / np.where(y > -25, 85, 92)) ** 2 < 1
    return np.asarray(inside & (z > 15 + np.maximum(0, -70 - y)))


def _bare_normals(head_mm: Array) -> Array:
    """Normals (K, 3) of a head without hair, those of the shirt by its own faces."""
    common = anatomy()
    normals = trimesh.Trimesh(head_mm, common.faces[common.material < HAIR], process=False).vertex_normals.copy()
    cloth = common.faces[common.material == CLOTH]
    on_cloth = np.unique(cloth)[len(common.rim) :]  # the rim itself, numbered first, shades as skin
    normals[on_cloth] = trimesh.Trimesh(head_mm, cloth, process=False).vertex_normals[on_cloth]
    return normals


BENEATH = 12  # vertices of the skin that a vertex of the hair follows


def relative(person: Person, chance: np.random.SeedSequence) -> Person:
    """Somebody with this person's traits, hair and paint, and another face: in a fraction of the time that a new person takes.

    The hair follows the skin nearest to it. Where hair ends on the skin, and which skin it hides, stays as it is.
    """
    streams = dict(zip(person.streams, chance.spawn(len(person.streams)), strict=True))
    head, eye_centres = head_mm(person.traits, np.random.default_rng(streams["shape"]))
    hair = person.numbers < 0
    vertices, normals = head[person.numbers], _bare_normals(head)[person.numbers]
    if hair.any():
        away, nearest = scipy.spatial.cKDTree(person.head_mm).query(person.vertices_mm[hair], k=BENEATH)
        weights = 1 / (away + 3.0)
        weights /= weights.sum(axis=1, keepdims=True)
        vertices[hair] = person.vertices_mm[hair] + np.einsum("nk,nkc->nc", weights, (head - person.head_mm)[nearest])
        faces = person.faces[person.material == HAIR]
        normals[hair] = trimesh.Trimesh(vertices, faces, process=False).vertex_normals[hair]
    strands = np.zeros_like(vertices)
    strands[hair] = _strand_directions(vertices[hair], normals[hair])
    return replace(
        person,
        vertices_mm=vertices,
        normals=normals,
        strands=strands,
        eye_centres_mm=eye_centres,
        anchors_mm=head[anatomy().anchors],
        head_mm=head,
        regions=person.regions | {"face_sphere": _near_nose(vertices, person.landmarks["nose_tip"])},
        streams=streams | {name: person.streams[name] for name in ("hair", "hairline", "paint")},
    )


def _near_nose(vertices_mm: Array, tip: int) -> Array:
    """The vertices of the region that H3DS scores: those within 95 mm of the tip of the nose."""
    return np.flatnonzero(np.linalg.norm(vertices_mm - vertices_mm[tip], axis=1) < 95)


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
    piece = components(faces, len(hair_mm))
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
