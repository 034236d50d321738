"""The morphable head of built-in people: principal components of drawn heads, and the 68 landmarks of iBUG on them."""

import functools
import zlib

import igl
import numpy as np
import trimesh

from heads.data import people
from heads.data.anatomy import EYE, SKIN, Array, anatomy, blocked
from heads.morphable import Morphable
from heads.rays import embree_scene

REGIONS = ("face", "head")
COLLAR_MM = -120.0  # canonical height above which the skin is the head's
_THROUGH_MM = 2.0  # of what lies in front of a landmark and still shows it
Place = tuple[float, float, float]
# Where the landmarks are on the mean head, canonical mm: of those with two sides the person's right one, the left mirrored.
_JAW: list[Place] = [
    (-75.9, 0.3, 20.9), (-75.3, -20, 21.4), (-72.7, -39.3, 24.9), (-66.3, -58.1, 30), (-60.1, -76.5, 39.9), (-51.2, -92.9, 53.1),
    (-39.1, -103.1, 74), (-22.5, -112.6, 91.3),
]  # fmt: skip
_CHIN: Place = (0, -114.9, 103.4)
_BROW: list[Place] = [(-51, 17.7, 98.2), (-42, 19.7, 105.7), (-32, 20.2, 110.6), (-22, 18.9, 113.1), (-12, 17, 114.1)]
_BRIDGE: list[Place] = [(0, 1, 111.6), (0, -13, 115.7), (0, -27, 125), (0, -40, 131.6)]
_NOSTRIL: list[Place] = [(-14, -49, 113.6), (-7, -51.5, 118.2)]
_NOSE_BASE: Place = (0, -54, 120)
_EYE: list[Place] = [
    (-45, -1.3, 96.5), (-38, 2.6, 103.8), (-27, 2.2, 104.5), (-20.5, -3, 100.2), (-27, -5.5, 102.7), (-38, -5.6, 102),
]  # fmt: skip
_LIPS: list[tuple[list[Place], Place]] = [  # the outer edge of the upper lip and of the lower one, then the inner edges
    ([(-24.2, -73.5, 108.3), (-15, -65.3, 118.9), (-6, -63, 122.9)], (0, -63.2, 124)),
    ([(-16, -82.8, 113.4), (-7, -85.2, 116.7)], (0, -85.9, 117.3)),
    ([(-21.5, -73.4, 107), (-8, -72.4, 115)], (0, -72.4, 116.6)),
    ([(-8, -74.3, 117)], (0, -74.4, 118.4)),
]
NAMES = tuple(
    f"{part} {number}"
    for part, count in {"jaw": 17, "right brow": 5, "left brow": 5, "nose": 9, "right eye": 6, "left eye": 6, "mouth": 20}.items()
    for number in range(1, count + 1)
)


def _mirrored(right: list[Place]) -> list[Place]:
    """The left ones in the opposite order, as iBUG numbers them."""
    return [(-x, y, z) for x, y, z in reversed(right)]


def _across(right: list[Place], middle: Place) -> list[Place]:
    """From the person's right to the left."""
    return [*right, middle, *_mirrored(right)]


def places_mm() -> Array:
    """About where the landmarks (68, 3) are on the mean head, in the order of iBUG."""
    outer_upper, outer_lower, inner_upper, inner_lower = (_across(*lip) for lip in _LIPS)
    found = _across(_JAW, _CHIN) + _BROW + _mirrored(_BROW) + _BRIDGE + _across(_NOSTRIL, _NOSE_BASE)
    left_eye = _mirrored(_EYE[:4]) + _mirrored(_EYE[4:])
    mouth = outer_upper + outer_lower[::-1] + inner_upper + inner_lower[::-1]
    return np.array(found + _EYE + left_eye + mouth, dtype=float)


@functools.cache
def landmarks() -> tuple[tuple[str, ...], Array, Array]:
    """The names of the 68 landmarks of iBUG, the vertices of `anatomy` (68, 3) they lie on, and the weights (68, 3) of these."""
    common = anatomy()
    skin = np.ascontiguousarray(common.faces[common.material == SKIN], dtype=np.int64)
    _, nearest, closest = igl.point_mesh_squared_distance(places_mm(), common.canonical, skin)
    return NAMES, skin[nearest], trimesh.triangles.points_to_barycentric(common.canonical[skin[nearest]], closest)


def landmarks_mm(head_mm: Array) -> Array:
    """Where the landmarks (68, 3) are on all vertices (N, 3) of `anatomy` of a head."""
    _, rows, weights = landmarks()
    return np.einsum("lk,lkc->lc", weights, head_mm[rows])


def seen(person: people.Person, px_from_mm: Array, size: int, noise_px: float, rng: np.random.Generator) -> Array:
    """The pixels (V, 68, 2) at which photographs, `size` px wide and high, see a person's landmarks, with Gaussian noise.

    NaN for landmarks behind hair or head, and for those outside the picture.
    """
    places = landmarks_mm(person.head_mm)
    scene = embree_scene(person.vertices_mm[person.faces])
    found = np.full((len(px_from_mm), len(places), 2), np.nan)
    for pixels, projection in zip(found, px_from_mm, strict=True):
        camera_mm = -np.linalg.solve(projection[:3, :3], projection[:3, 3])
        away = camera_mm - places
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        homogeneous = places @ projection[:3, :3].T + projection[:3, 3]
        at = homogeneous[:, :2] / homogeneous[:, 2:] + rng.normal(0, noise_px, (len(places), 2))
        inside = (np.abs(at - (size - 1) / 2) <= size / 2).all(axis=1)
        free = inside & ~blocked(scene, places + _THROUGH_MM * away, away)
        pixels[free] = at[free]
    return found


def morphable(count: int = 400, components: int = 60, *, seed: int, region: str = "face") -> Morphable:
    """The mean of `count` drawn heads and its principal components, those of the `region` that is photographed.

    The components are of the vertices in the region; all other vertices follow as they go with these in the drawn heads.
    """
    if not 1 <= components < count:
        raise ValueError(f"{count} drawn heads have 1 to {count - 1} principal components, not {components}")
    vertices = region_vertices(region)
    heads = np.stack([head_mm_of(seed, number) for number in range(count)])
    mean = heads.mean(axis=0, dtype=np.float64)
    away = (heads - mean.astype(np.float32)).reshape(count, -1)
    of_region = (heads[:, vertices] - mean[vertices]).reshape(count, -1)
    _, turns = np.linalg.eigh(of_region @ of_region.T / (count - 1))
    mixed = turns[:, ::-1][:, :components] / np.sqrt(count - 1)
    mixed *= np.sign((mixed**3).sum(axis=0))  # or the sign would be left to chance
    names, rows, weights = landmarks()
    return Morphable(
        mean_mm=mean.astype(np.float32),
        directions_mm=(mixed.T.astype(np.float32) @ away).reshape(components, *mean.shape),
        faces=anatomy().faces.astype(np.int64),
        face=vertices,
        uv=cylinder(vertices).astype(np.float32),
        names=names,
        rows=rows,
        weights=weights,
    )


def head_mm_of(seed: int, number: int) -> Array:
    """All vertices (N, 3) of one of endlessly many heads, without hair."""
    rng = np.random.default_rng([seed, zlib.crc32(b"drawn head"), number])
    return people.head_mm(people.draw_traits(rng), rng)[0].astype(np.float32)


def region_vertices(region: str) -> Array:
    """The vertices (M,) of `anatomy` of the face between hairline and chin, or of all skin and eyes above the collar."""
    if region not in REGIONS:
        raise ValueError(f"region must be one of {', '.join(REGIONS)}, not {region!r}")
    common = anatomy()
    bare = np.unique(common.faces[common.material <= EYE])
    at = common.canonical[bare]
    return bare[people.front_of_face(at) if region == "face" else at[:, 1] > COLLAR_MM]


def cylinder(vertices: Array) -> Array:
    """Texture coordinates (N, 2) of all vertices in [0, 1]: the azimuth and the height, of which the given ones take the most."""
    points = anatomy().canonical
    coordinates = np.stack([np.arctan2(points[:, 0], points[:, 2]), points[:, 1]], axis=1)
    low, high = coordinates[vertices].min(axis=0), coordinates[vertices].max(axis=0)
    return np.clip(0.02 + 0.96 * (coordinates - low) / (high - low), 0, 1)
