"""The built-in data set: made-up people, painted, lit and photographed into a folder in the H3DS layout.

Colours are linear RGB until a photograph is developed. Paint is applied at the canonical coordinates of `people`.
"""

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.ndimage
import scipy.spatial
import torch
import trimesh
from embreex.rtcore_scene import EmbreeScene

from heads.camera import look_at
from heads.data import capture as capturing
from heads.data import drawn as faces_drawn
from heads.data import h3ds, landmarks_px
from heads.data.anatomy import CLOTH, CUT, EYE, HAIR, SKIN, Array, anatomy, blocked, even_directions
from heads.data.people import (
    Person,
    make_person,
    noise,
    scalp_mm,
    smoothstep,
    strand_coordinates,
)
from heads.rays import embree_scene
from heads.scene import TrainingHead

SAMPLES = 4  # colour samples along a triangle's edge
LIGHTS = ("varied", "common")
CAMERAS = ("ring", "portraits")
_RING = (0, 4, 28, 16, 8, 24, 12, 20, *range(2, 32, 4), *range(1, 32, 2))  # of 32 places, the front first, then +-45 degrees


def view_lists(n_photographs: int) -> dict[int, tuple[int, ...]]:
    """Nested picture numbers on a ring of `n_photographs`: front and +-45 degrees, the back, then finer and finer."""
    chosen = [round(step * n_photographs / 32) for step in _RING]
    return {count: tuple(chosen[:count]) for count in (1, 3, 4, 8, 16, 32) if count <= n_photographs}


VIEW_LISTS = view_lists(40)


def write_subject(
    root: str | Path,
    scene_id: str,
    *,
    seed: int,
    size: int = 256,
    n_photographs: int = 40,
    light: str = "varied",
    cameras: str = "ring",
    capture: capturing.Amounts = capturing.STUDIO,
    landmark_noise_px: float = 1.0,
) -> capturing.Drawn:
    """Make one person and write the scan, photographs, masks and cameras as scene `scene_id` of the H3DS-layout folder `root`.

    The light is each person's own (`varied`), or the same for everyone (`common`). The cameras stand in a ring around the head,
    or each takes a portrait for itself. `capture` is what goes wrong while they are photographed, nothing in the studio; what
    chance made of it for each photograph is returned. `landmarks_px.csv` says where photographs see landmarks, as a detector does
    that is off by so many pixels along each axis.
    """
    if n_photographs < 8 or size < 16:
        raise ValueError(f"a scene needs at least 8 photographs of 16 pixels, not {n_photographs} of {size}")
    person = make_person(np.random.SeedSequence([seed, zlib.crc32(scene_id.encode())]))
    photographs = photograph(person, size=size, n_photographs=n_photographs, light=light, cameras=cameras, capture=capture)
    noise_of = np.random.default_rng([zlib.crc32(b"landmarks"), *person.streams["cameras"].generate_state(2)])
    marks = faces_drawn.seen(person, photographs.px_from_still_mm, size, landmark_noise_px, noise_of)
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
    landmarks_px.write(Path(root, scene_id, landmarks_px.FILE), faces_drawn.NAMES, marks)
    h3ds.register(
        root,
        scene_id,
        n_views=n_photographs,
        view_lists=view_lists(n_photographs),
        tags=["synthetic", person.style, *groups(person.traits)],
    )
    return photographs.drawn


def groups(traits: dict[str, float]) -> list[str]:
    """The sex, the largest share of the ancestry, and the third of life from 18 to 80 that a person belongs to."""
    ancestry = max(("african", "asian", "caucasian"), key=lambda name: traits[name])
    age = "under-40" if traits["years"] < 40 else "under-60" if traits["years"] < 60 else "over-60"
    return ["female" if traits["female"] else "male", ancestry, age]


def training_head(
    seed: int, index: int, *, points: int = 20_000, photographs: int = 0, size: int = 128, light: str = "varied"
) -> TrainingHead:
    """One of endlessly many heads to learn from, in the unit frame of a test subject but never a test subject itself.

    All of the scan's surface counts, also hair, shirt and the cut below it; normals are those of its triangles.
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
    places, normals, on_face = _sample_surface(person, points, rng)
    seen, seen_normals, colours = np.zeros((3, 0, 3))
    if photographs > 0:
        azimuths = 2 * np.pi * np.array(_RING[:photographs]) / len(_RING)
        intrinsics, poses = ring_cameras(person.vertices_mm, size, azimuths, cameras)
        made = studio(person, size, light)
        images, _ = _develop(made, intrinsics, poses, cameras)
        seen, seen_normals, colours = _sample_photographs(person, made, intrinsics, poses, images, points, rng)
    centre, radius = mm_from_unit[:3, 3], mm_from_unit[0, 0]
    return TrainingHead(
        name=f"training-{seed}-{index}",
        points=torch.from_numpy((places - centre) / radius).float(),
        normals=torch.from_numpy(normals).float(),
        face=torch.from_numpy(on_face),
        anchors=torch.from_numpy((person.anchors_mm - centre) / radius).float(),
        seen=torch.from_numpy((seen - centre) / radius).float(),
        seen_normals=torch.from_numpy(seen_normals).float(),
        colours=torch.from_numpy(colours).float(),
    )


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
    """Weights (T, 3) of the colour samples of a triangle, and the table (SAMPLES + 1, SAMPLES + 1) of their indices."""
    table = np.zeros((SAMPLES + 1, SAMPLES + 1), dtype=int)
    weights: list[tuple[float, float, float]] = []
    for i in range(SAMPLES + 1):
        for j in range(SAMPLES + 1 - i):
            table[i, j] = len(weights)
            weights.append((1 - (i + j) / SAMPLES, i / SAMPLES, j / SAMPLES))
    return np.array(weights), table


def painted(person: Person) -> tuple[Array, Array]:
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
    thin = smoothstep((depth - 0.3) / 3 + 0.12 * noise(strand_coordinates(where), (1.8, 30, 20), rng))[:, None]
    albedo[hair] = (thin * strand_colour + (1 - thin) * (0.6 * strand_colour + 0.25 * tone)).reshape(*at[hair].shape)
    shine = np.exp(0.5 * noise(strand_coordinates(where), (2, 50, 30), rng))
    shine *= rng.uniform(0.15, 0.55) * (0.3 if person.style in ("afro", "curly") else 1.0)
    gloss[hair] = shine.reshape(at[hair].shape[:2])
    cloth = person.material == CLOTH
    dye = _linear(rng.uniform(30, 225) * np.exp(rng.normal(0, 0.25, 3)).clip(0.5, 1.1))
    where = at[cloth].reshape(-1, 3)
    knit = np.exp(0.10 * noise(where, 2, rng) + 0.08 * noise(where, 20, rng))[:, None]
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
    red = red + 0.16 * noise(p, 14, rng) + 0.15 * noise(p, 6, rng) + 0.08 * noise(p, 2.2, rng)
    shade = -0.30 * rng.uniform(0.4, 1.5) * spot(30, -8, 104, 10) - 0.12 * spot(0, 50, 110, 30) * rng.uniform(-1, 1)
    shade = shade + 0.05 * noise(p, 25, rng) + 0.04 * noise(p, 8, rng) + 0.04 * noise(p, 3, rng) + 0.03 * noise(p, 1.2, rng)
    freckles = rng.uniform(0, 1) ** 3 * (1.2 if traits["melanin"] < 0.3 else 0.4)
    speck = smoothstep((noise(p, 2.0, rng) - 1.6) / 0.6) * (spot(35, -20, 100, 30) + spot(0, -10, 118, 20) + 0.25)
    shade = shade - freckles * speck
    age_spots = smoothstep((noise(p, 5, rng) - 2.0) / 0.5) * max(0.0, traits["years"] - 45) / 60
    colour = tone * np.exp(shade - 0.5 * age_spots)[:, None] * np.exp(np.outer(blush * red, [0.02, -0.16, -0.13]))
    for _ in range(rng.poisson(2)):
        mole = np.array([rng.normal(0, 45), rng.uniform(-110, 60), 100.0])
        distance = np.hypot(p[:, 0] - mole[0], p[:, 1] - mole[1]) + 200 * (p[:, 2] < 40)
        colour = colour * (1 - 0.7 * smoothstep(1.8 - distance / rng.uniform(0.8, 1.6)))[:, None]

    lip = smoothstep((lips - 0.35) / 0.3)
    pink = tone * np.array([0.88, 0.52, 0.55]) * np.exp(rng.normal(0, 0.12, 3))
    if traits["female"] and rng.random() < 0.4:
        pink = _linear([(150, 40, 52), (168, 72, 78), (190, 96, 92), (120, 30, 45)][rng.integers(4)]) * np.exp(rng.normal(0, 0.1))
    pink = pink * np.exp(0.10 * noise(p, (1.5, 8, 8), rng))[:, None]
    colour = colour + (0.85 * lip)[:, None] * (pink - colour)

    hairs = hair_tone * 0.8
    if not traits["female"]:
        cheek = -30 - 45 * smoothstep((72 - side) / 45) + rng.normal(0, 4)  # the beard's upper edge, falling from the sideburns
        zone = smoothstep((cheek - p[:, 1]) / 12) * smoothstep((p[:, 1] + 132) / 15) * smoothstep((p[:, 2] - 15) / 15)
        moustache = smoothstep((-55 - 0.15 * side - p[:, 1]) / 5) * smoothstep((36 - side) / 12) * (p[:, 2] > 85)
        zone = np.maximum(zone, moustache)
        zone = zone * (1 - lip) * (1 - ears) * smoothstep((p[:, 2] - 20) / 20)
        amount = rng.choice([0.08, 0.25, 0.5, 0.9], p=[0.35, 0.3, 0.2, 0.15])
        dense = np.clip(amount * zone * (1 + 0.3 * noise(p, 1.2, rng) + 0.15 * noise(p, 7, rng)), 0, 0.9)
        colour = colour + dense[:, None] * (hairs - colour)

    colour = colour + _brows(p, side, traits, rng)[:, None] * (0.75 * hairs - colour)
    inside = scalp_mm(p, person.style, np.random.default_rng(person.streams["hairline"]))
    stubble = {"bald": 0.12, "buzz": 0.85}.get(person.style, 0.8)
    dense = stubble * smoothstep((inside - 0.5) / 9) * (1 - ears) * (1 + 0.07 * noise(p, 1.2, rng))
    colour = colour + np.clip(dense, 0, 0.95)[:, None] * (0.9 * hair_tone - colour)

    common = anatomy()
    ball = common.canonical[np.unique(common.faces[common.material == EYE])]
    rim, _ = scipy.spatial.cKDTree(ball).query(p, distance_upper_bound=6)
    upper = p[:, 1] > common.eye_centres[:, 1].mean()
    lash = np.where(upper, 0.85, 0.45) * (1.2 if traits["female"] else 0.8) * smoothstep((2.0 - rim) / 1.2)
    colour = colour * (1 - 0.9 * np.clip(lash, 0, 1))[:, None]
    shine = 0.35 + 0.35 * spot(0, -20, 125, 14) + 0.25 * spot(0, 50, 110, 30) + 0.5 * lip + 0.1 * noise(p, 2.5, rng)
    return np.clip(colour, 0.002, 0.95), np.clip(shine, 0.05, 1) * (1 - np.clip(dense, 0, 1))


def _brows(p: Array, side: Array, traits: dict[str, float], rng: np.random.Generator) -> Array:
    """How much of the skin at canonical points the eyebrows cover, in [0, 1]."""
    arch, lift = rng.normal(3.0, 1.2) + traits["female"], rng.normal(0, 1)
    thick = (3.8 if traits["female"] else 5.2) * np.exp(rng.normal(0, 0.2))
    x = (side - 12) / 40
    centre = 17 + lift + arch * np.sin(np.pi * np.clip(x, 0, 1) * 0.75) - 5 * np.clip(x - 0.6, 0, 1)
    half = thick * np.clip(1.1 - 0.75 * x, 0.15, 1)
    streak = noise(np.stack([side - 0.9 * p[:, 1], p[:, 1] * 0.35, p[:, 2] * 0.2], axis=1), 1.1, rng)
    inside = smoothstep(1.3 - np.abs(p[:, 1] - centre) / half) * smoothstep((x + 0.08) / 0.12) * smoothstep((1.05 - x) / 0.2)
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
    fibre = noise(np.stack([around * 4, off * 0.4, which * 40.0], axis=1), 0.6, rng)
    iris = tone * np.exp(0.22 * fibre - 0.9 * smoothstep((off - 4.6) / 1.2) + 0.2 * np.exp(-(((off - 3) / 1) ** 2)))[:, None]
    white = _linear((206, 198, 190)) * np.exp(-np.outer(smoothstep((off - 7) / 5), [0.1, 0.3, 0.25]))
    colour = white + smoothstep((6.2 - off) / 0.7)[:, None] * (iris - white)
    pupil = rng.uniform(1.6, 2.6)
    return colour * (1 - 0.97 * smoothstep((pupil + 0.3 - off) / 0.6))[:, None]


def _hair_colour(p: Array, tone: Array, person: Person, rng: np.random.Generator) -> Array:
    if person.style in ("afro", "curly"):
        streak = 0.24 * noise(p, 2.5, rng) + 0.16 * noise(p, 8, rng)
    else:
        s = strand_coordinates(p) + 5 * noise(p, 45, rng)[:, None]
        streak = 0.24 * noise(s, (1.5, 70, 20), rng) + 0.13 * noise(s, (4, 90, 30), rng) + 0.10 * noise(p, 25, rng)
    return np.clip(tone * np.exp((1.2 - 0.8 * tone.max()) * streak)[:, None], 0.002, 0.9)


# ---------------------------------------------------------------------------------------------------- light and photographs


@dataclass(frozen=True)
class Photographs:
    """Pictures (V, H, W, 3) uint8, masks (V, H, W) bool, cameras (V, 4, 4) as written, `mm_from_unit` (4, 4), JPEG quality to
    use, and what was drawn of the capture's disturbances. `px_from_still_mm` (V, 4, 4) are cameras as they would have to stand
    to see the head like this where the scan has it.
    """

    images: Array
    masks: Array
    px_from_mm: Array
    px_from_still_mm: Array
    mm_from_unit: Array
    jpeg_quality: int
    drawn: capturing.Drawn


@dataclass(frozen=True)
class Studio:
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


def photograph(
    person: Person,
    *,
    size: int,
    n_photographs: int,
    light: str = "varied",
    cameras: str = "ring",
    capture: capturing.Amounts = capturing.STUDIO,
) -> Photographs:
    """Photographs of a person in one light, their own or the common one: from a ring that the head fills, or portraits."""
    if cameras not in CAMERAS:
        raise ValueError(f"cameras must be one of {', '.join(CAMERAS)}, not {cameras!r}")
    made = studio(person, size, light)
    rng = np.random.default_rng(person.streams["cameras"])
    if cameras == "ring":
        intrinsics, poses = ring_cameras(person.vertices_mm, size, 2 * np.pi * np.arange(n_photographs) / n_photographs, rng)
    else:
        shots = [portrait(person.vertices_mm, size, rng) for _ in range(n_photographs)]
        intrinsics, poses = (np.array(parts) for parts in zip(*shots, strict=True))
    drawn = capturing.draw(person.streams["cameras"], capture, n_photographs)
    images, masks = _capture(person, made, intrinsics, poses, rng, capture, drawn)
    middle = _middle(person.vertices_mm)
    px_from_mm = capturing.written(drawn, intrinsics, poses, middle)
    still = np.tile(np.eye(4), (n_photographs, 1, 1))
    still_poses = [capturing.still_pose(drawn, number, pose, middle) for number, pose in enumerate(poses)]
    still[:, :3] = intrinsics @ np.linalg.inv(still_poses)[:, :3]
    return Photographs(images, masks, px_from_mm, still, _unit_frame(person.vertices_mm, rng), made.jpeg_quality, drawn)


def _middle(vertices_mm: Array) -> Array:
    return (vertices_mm.min(axis=0) + vertices_mm.max(axis=0)) / 2


def _unit_frame(vertices_mm: Array, rng: np.random.Generator) -> Array:
    """mm_from_unit (4, 4) with the head inside the unit sphere, but without giving away its centre or its size."""
    low, high = vertices_mm.min(axis=0), vertices_mm.max(axis=0)
    centre = (low + high) / 2 + rng.normal(0, 4, 3)
    radius = np.linalg.norm(vertices_mm - centre, axis=1).max() / rng.uniform(0.8, 0.9)
    mm_from_unit = np.diag([radius, radius, radius, 1.0])
    mm_from_unit[:3, 3] = centre
    return mm_from_unit


def studio(person: Person, size: int, light: str, paint: tuple[Array, Array] | None = None) -> Studio:
    """A person under their own light (`varied`) or under the same lamps, exposure and backdrops as everyone (`common`).

    `paint` is what `painted` has said of somebody with the same faces.
    """
    if light not in LIGHTS:
        raise ValueError(f"light must be one of {', '.join(LIGHTS)}, not {light!r}")
    rng = np.random.default_rng(person.streams["light"] if light == "varied" else _COMMON_LIGHT)
    albedo, gloss = paint or painted(person)
    scene = embree_scene(person.vertices_mm[person.faces])
    lamps, colours, irradiance, lit = _irradiance(person, scene, rng)
    skin = person.material == SKIN
    brightness = float(np.median(albedo[skin].mean(axis=-1)))  # a photographer exposes for the face, but not fully
    exposure = rng.uniform(0.85, 1.2) * 1.05 / float(np.median(irradiance.mean(axis=1))) * (brightness / 0.35) ** -0.35
    shine = rng.uniform(0.05, 0.13)
    return Studio(
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


def developed(studio: Studio, intrinsics: Array, pose: Array, rng: np.random.Generator, backdrop: int = 0) -> Array:
    """A picture (S, S, 3) uint8 from a pose mm_from_cam (4, 4), with the camera's noise."""
    return _printed(_render(studio, intrinsics, pose, studio.backgrounds[backdrop])[0], studio.noise, rng)


def mask_of(studio: Studio, intrinsics: Array, pose: Array, triangles: Array, size: int) -> Array:
    """The pixels (size, size) bool whose rays meet some of these triangles (M,) bool first."""
    _, near, first = _first_hits(studio, intrinsics, pose, size)
    mask = np.zeros(size * size, dtype=bool)
    mask[near] = (first["primID"] >= 0) & triangles[first["primID"]]
    return mask.reshape(size, size)


def _develop(studio: Studio, intrinsics: Array, poses: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Pictures (V, S, S, 3) uint8 and masks (V, S, S) from poses mm_from_cam (V, 4, 4), with the camera's noise."""
    size = studio.backgrounds.shape[1]
    images = np.zeros((len(poses), size, size, 3), dtype=np.uint8)
    masks = np.zeros((len(poses), size, size), dtype=bool)
    for i, pose in enumerate(poses):
        linear, masks[i] = _render(studio, intrinsics, pose, studio.backgrounds[i % len(studio.backgrounds)])
        images[i] = _printed(linear, studio.noise, rng)
    return images, masks


def _printed(linear: Array, deviation: float, rng: np.random.Generator) -> Array:
    """The picture (S, S, 3) uint8 of linear light, with noise of this deviation in [0, 1]."""
    picture = _srgb(1 - np.exp(-1.25 * linear)) + deviation * rng.standard_normal(linear.shape, dtype=np.float32)
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)


def _capture(
    person: Person,
    studio: Studio,
    intrinsics: Array,
    poses: Array,
    rng: np.random.Generator,
    amounts: capturing.Amounts,
    drawn: capturing.Drawn,
) -> tuple[Array, Array]:
    """As `_develop`, of a person who moves, taken with a camera that errs; intrinsics (3, 3) are of all or (V, 3, 3)."""
    images, masks = [], []
    chance, middle = person.streams["cameras"], _middle(person.vertices_mm)
    shines = np.where(studio.material == SKIN, np.float32(1 + amounts.shine), np.float32(1))
    studio = replace(studio, gloss=studio.gloss * shines[:, None])
    moved = capturing.vertices_mm(person, amounts, len(poses))
    each = np.broadcast_to(intrinsics, (len(poses), 3, 3))
    for i, (pose, vertices, intrinsics) in enumerate(zip(poses, moved, each, strict=True)):
        if vertices is not studio.vertices_mm:
            studio = replace(studio, vertices_mm=vertices, scene=embree_scene(vertices[person.faces]))
        mm_per_px = float(np.linalg.norm(pose[:3, 3] - middle) / intrinsics[0, 0])
        backdrop = studio.backgrounds[i % len(studio.backgrounds)]
        linear, mask = _render(studio, intrinsics, capturing.still_pose(drawn, i, pose, middle), backdrop)
        images.append(_printed(capturing.exposed(linear, amounts, drawn, i, mm_per_px, chance), studio.noise, rng))
        masks.append(capturing.outlined(mask, amounts, i, mm_per_px, chance))
    return np.array(images), np.array(masks)


def ring_cameras(vertices: Array, size: int, azimuths: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Shared intrinsics (3, 3) and poses mm_from_cam (V, 4, 4) near `azimuths` (V,) of a ring, each filled by the head."""
    middle, count = _middle(vertices), len(azimuths)
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


def portrait(vertices_mm: Array, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Intrinsics (3, 3) and pose mm_from_cam (4, 4) of a photograph as people take them: a head turned, near or far."""
    middle = _middle(vertices_mm)
    azimuth, elevation = np.clip(rng.normal(0, np.radians([25, 8])), -np.radians([60, 25]), np.radians([60, 25]))
    distance = np.exp(rng.uniform(np.log(450), np.log(1600)))
    pose = look_at(middle + distance * _direction(azimuth, elevation), middle, np.array([0.0, 1.0, 0.0]))
    roll = rng.normal(0, np.radians(6))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]
    pose = pose @ turn
    seen = (vertices_mm - pose[:3, 3]) @ pose[:3, :3]
    tangent = seen[:, :2] / seen[:, 2:]
    low, high = tangent.min(axis=0), tangent.max(axis=0)
    focal = rng.uniform(0.55, 0.95) * (size - 1) / float((high - low).max())
    free = (size - 1) - focal * (high - low)  # pixels beside the head
    offset = rng.uniform(0, 1, 2) * free - focal * low
    return np.array([[focal, 0, offset[0]], [0, focal, offset[1]], [0, 0, 1.0]]), pose


def _direction(azimuth: float, elevation: float) -> Array:
    return np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])


def _irradiance(person: Person, scene: EmbreeScene, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Lamp directions (L, 3) and colours (L, 3), irradiance (N, 3) per vertex, and how much of each lamp reaches it (N, L)."""
    vertices, normals = person.vertices_mm, person.normals
    strands, is_hair = person.strands, np.linalg.norm(person.strands, axis=1) > 0
    start = vertices + 0.6 * normals
    spread = even_directions(64)
    vertex, direction = np.nonzero(normals @ spread.T > 0.05)
    free = ~blocked(scene, start[vertex], spread[direction])
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
            free = ~blocked(scene, start[facing], np.tile(towards, (len(facing), 1)))
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


def _first_hits(studio: Studio, intrinsics: Array, pose: Array, size: int) -> tuple[Array, Array, dict[str, Array]]:
    """Rays (S * S, 3) through the pixel centres, indices (n,) of those that may meet the head, and what these hit first."""
    row, column = np.mgrid[0:size, 0:size].reshape(2, -1)
    in_cam = np.stack([column, row, np.ones(size * size)], axis=1) @ np.linalg.inv(intrinsics).T
    rays = (in_cam @ pose[:3, :3].T).astype(np.float32)
    near = np.flatnonzero(_in_box(studio, intrinsics, pose, column, row))
    origins = np.tile(pose[:3, 3].astype(np.float32), (len(near), 1))
    return rays, near, studio.scene.run(origins, rays[near], query="INTERSECT", output=True)


def _render(studio: Studio, intrinsics: Array, pose: Array, background: Array) -> tuple[Array, Array]:
    """Linear picture (S, S, 3) and mask (S, S): a pixel is in the mask if the ray through its centre meets the head.

    Highlights are sampled at the centre only, colour at four points of the pixel, one of them the centre.
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


def _in_box(studio: Studio, intrinsics: Array, pose: Array, column: Array, row: Array) -> Array:
    """Which pixels lie in the bounding box of the projected head."""
    seen = (studio.vertices_mm - pose[:3, 3]) @ pose[:3, :3] @ intrinsics.T
    px = seen[:, :2] / seen[:, 2:]
    low, high = px.min(axis=0) - 1, px.max(axis=0) + 1
    return (column >= low[0]) & (column <= high[0]) & (row >= low[1]) & (row <= high[1])


def _sample(u: Array, v: Array) -> Array:
    """Index of the colour sample nearest to barycentric coordinates u, v (N,) of a triangle's second and third corner."""
    i = np.rint(u * SAMPLES).astype(np.int64)
    j = np.minimum(np.rint(v * SAMPLES).astype(np.int64), SAMPLES - i)
    return _barycentric()[1][i, j]


# ---------------------------------------------------------------------------------------------------- heads to learn from


def _sample_surface(person: Person, count: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Points in mm and unit normals (count, 3), uniform by area, and which are of the face (count,)."""
    area = trimesh.triangles.area(person.vertices_mm[person.faces])
    face = rng.choice(len(area), size=count, p=area / area.sum())
    u, v = rng.random((2, count))
    beyond = u + v > 1  # the other half of the parallelogram, folded back onto the triangle
    on_face = np.isin(person.faces[face], person.regions["face"]).all(axis=1)
    places, normals = _at(person, face, np.where(beyond, 1 - u, u), np.where(beyond, 1 - v, v))
    return places, normals, np.asarray(on_face)


def _sample_photographs(
    person: Person, studio: Studio, intrinsics: Array, poses: Array, images: Array, most: int, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Points in mm, unit normals and colours in [-1, 1] (n, 3) seen by the pixels in a mask: `most` of them, or all."""
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
    """Points in mm at barycentric coordinates u, v (n,) of faces (n,), and the unit normals of these faces (n, 3)."""
    corners = person.vertices_mm[person.faces[face]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    weights = np.stack([1 - u - v, u, v], axis=1)
    return np.einsum("nc,nck->nk", weights, corners), normals / np.linalg.norm(normals, axis=1, keepdims=True)
