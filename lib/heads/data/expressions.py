"""Made-up people who move their faces: registered heads, neutral and with expressions, as a scanner sees them.

Every head has the same triangles, and the same vertex is the same place on everybody in every expression. A neutral head has its
mouth a little open, as NPHM's have, so that the lips can part. Heads are bald and end below the throat. Nobody smiles like
anybody else: how far each movement goes, how lopsided it is, and which others come with it are a person's own.
"""

import functools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import igl
import numpy as np
import scipy.sparse
import scipy.spatial
import trimesh

from heads import mesh
from heads.data import anatomy as anatomies
from heads.data.anatomy import Array
from heads.data.people import coarse_head_mm, draw_traits, noise
from heads.rays import embree_scene

NEUTRAL = {"jawOpen": 0.25}
_BOTH = ("Left", "Right")


def _both(**amounts: float) -> dict[str, float]:
    """Movements of the face by name, those that have two sides on both of them."""
    names = set(anatomies.body_model().action_names.tolist())
    return {
        name: amount for stem, amount in amounts.items() for name in ((stem,) if stem in names else [stem + s for s in _BOTH])
    }


RECIPES: dict[str, dict[str, float]] = {
    "mouth closed": {},
    "jaw wide open": {"jawOpen": 1.0},
    "smile": {"mouthSmile": 0.9, "cheekSquint": 0.5, "eyeSquint": 0.3},
    "smile with teeth": {"mouthSmile": 0.8, "mouthUpperUp": 0.5, "mouthLowerDown": 0.4, "jawOpen": 0.15, "cheekSquint": 0.4},
    "grin": {"mouthStretch": 0.8, "mouthDimple": 0.6, "mouthSmile": 0.4},
    "frown": {"mouthFrown": 0.9, "browDown": 0.5, "mouthShrugLower": 0.4},
    "anger": {"browDown": 1.0, "noseSneer": 0.6, "mouthPress": 0.5, "eyeSquint": 0.4},
    "disgust": {"noseSneer": 1.0, "mouthUpperUp": 0.7, "browDown": 0.4, "jawOpen": 0.1},
    "surprise": {"browInnerUp": 0.9, "browOuterUp": 1.0, "eyeWide": 0.9, "jawOpen": 0.6},
    "fear": {"browInnerUp": 1.0, "eyeWide": 0.7, "mouthStretch": 0.8, "jawOpen": 0.25},
    "sadness": {"browInnerUp": 0.9, "mouthFrown": 0.7, "eyeBlink": 0.25},
    "kiss": {"mouthPucker": 1.0},
    "whistle": {"mouthFunnel": 0.9, "jawOpen": 0.3},
    "lips pressed": {"mouthPress": 1.0, "mouthRollLower": 0.5, "mouthRollUpper": 0.5},
    "cheeks puffed": {"cheekPuff": 1.0},
    "eyes closed": {"eyeBlink": 1.0, "jawOpen": 0.25},
    "left wink": {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.8, "mouthSmileLeft": 0.4},
    "right wink": {"eyeBlinkRight": 1.0, "cheekSquintRight": 0.8, "mouthSmileRight": 0.4},
    "brows up": {"browInnerUp": 1.0, "browOuterUp": 1.0, "jawOpen": 0.25},
    "brows down": {"browDown": 1.0, "eyeSquint": 0.5, "jawOpen": 0.25},
    "mouth to the left": {"mouthLeft": 1.0},
    "mouth to the right": {"mouthRight": 1.0},
    "jaw to the left": {"jawLeft": 1.0, "jawOpen": 0.3},
    "jaw to the right": {"jawRight": 1.0, "jawOpen": 0.3},
    "a": {"jawOpen": 0.6, "mouthLowerDown": 0.2},
    "e": {"mouthStretch": 0.6, "jawOpen": 0.3},
    "o": {"mouthFunnel": 0.7, "jawOpen": 0.45},
    "f": {"mouthRollLower": 0.8, "mouthUpperUp": 0.4},
}


# ---------------------------------------------------------------------------------------------------- topology, the same for all

_THROAT = ((0, -125, 55), (-55, -100, -40), (55, -100, -40))  # canonical mm, in the plane that ends a head
_MOUTH_RINGS = 3  # of triangles behind the lips, and there the mouth is closed as if by teeth and tongue
_INNER_RINGS = ((0.65, 0.6), (0.3, 1.0))  # of that end: how large they are, and how much of the depth they have
_DEPTH = 0.7  # of an open mouth, by how far it is open


@dataclass(frozen=True)
class Topology:
    """What all talking heads share: `faces` (M, 3) with their `material` (M,), `canonical` mm (N, 3), and parts by vertex.

    `front` (N,) marks the face, and `seen` (M,) what of a neutral head can be seen from outside; `anchors` (A,) are those of
    NPHM, pairs first, in turn right and left, and `throat` (3,) span the plane where a head ends. The rest is how vertices are
    made: `skin` (V,) are the coarse ones of the skin, `refine` (S, V + R) refines them and the R that close the `mouth` (L,),
    and the balls of `eyes` are refined on their own.
    """

    faces: Array
    material: Array
    canonical: Array
    front: Array
    seen: Array
    anchors: Array
    throat: Array
    skin: Array
    mouth: Array
    refine: scipy.sparse.csr_matrix
    eyes: tuple[Array, Array]


@functools.cache
def topology() -> Topology:
    """The shared topology."""
    sources = [Path(anatomies.__file__), Path(__file__)]
    return anatomies.cached("talkers", sources, lambda: _packed(_computed()), _unpacked)


def _packed(shared: Topology) -> dict[str, Array]:
    arrays = {name: value for name, value in vars(shared).items() if name not in ("refine", "eyes")}
    arrays["right_ball"], arrays["left_ball"] = shared.eyes
    for name in ("data", "indices", "indptr", "shape"):
        arrays[f"refine_{name}"] = np.asarray(getattr(shared.refine, name))
    return arrays


def _unpacked(arrays: dict[str, Array]) -> Topology:
    data, indices, indptr, shape = (arrays.pop(f"refine_{name}") for name in ("data", "indices", "indptr", "shape"))
    refine = scipy.sparse.csr_matrix((data, indices, indptr), shape=tuple(shape))
    eyes = (arrays.pop("right_ball"), arrays.pop("left_ball"))
    return Topology(**arrays, refine=refine, eyes=eyes)


def _computed() -> Topology:
    body = anatomies.body_model()
    coarse = anatomies.coarse_mm(body, {"age": 0.7}, {})
    triangles, piece = body.triangles, anatomies.components(body.triangles, len(coarse))
    sizes = np.bincount(piece)
    balls = np.flatnonzero((sizes < 100) & (sizes > 0))
    low, high = coarse.min(axis=0), coarse.max(axis=0)
    coarse = coarse - [0, coarse[np.isin(piece, balls), 1].mean(), (low[2] + high[2]) / 2 - 19]
    of_skin, of_balls = piece[triangles[:, 0]] == np.argmax(sizes), np.isin(piece[triangles[:, 0]], balls)
    wide = coarse + _moved({"eyeWideLeft": 1.2, "eyeWideRight": 1.2})
    seen = anatomies.seen_from_outside(coarse, triangles) | anatomies.seen_from_outside(wide, triangles)
    eyes = []
    for side in (-1, 1):
        ball = of_balls & (np.sign(coarse[triangles[:, 0], 0]) == side)
        eyes.append(anatomies.grow(triangles[ball & seen], triangles[ball], rings=2))
    to_eye = scipy.spatial.cKDTree(coarse[np.unique(np.concatenate(eyes))]).query(coarse[triangles].mean(axis=1))[0]
    skin = triangles[of_skin & seen]
    skin = np.unique(np.concatenate([skin, anatomies.grow(skin, triangles[of_skin & (to_eye < 7)], rings=1)]), axis=0)
    lips = next(loop for loop in anatomies.loops(skin) if coarse[loop, 1].mean() > -100 and abs(coarse[loop, 0].mean()) < 10)
    centres = coarse[triangles].mean(axis=1)
    inside = of_skin & (np.abs(centres[:, 0]) < 45) & (centres[:, 1] < -30) & (centres[:, 1] > -100)
    behind = anatomies.grow(skin[np.isin(skin, lips).any(axis=1)], triangles[inside], rings=_MOUTH_RINGS)
    skin = np.unique(np.concatenate([skin, behind]), axis=0)
    mouth = next(loop for loop in anatomies.loops(skin) if coarse[loop, 1].mean() > -100 and abs(coarse[loop, 0].mean()) < 10)
    used, skin = np.unique(skin, return_inverse=True)
    skin, loop = skin.reshape(-1, 3), np.searchsorted(used, mouth)
    rings = [loop, *(len(used) + ring * len(loop) + np.arange(len(loop)) for ring in range(len(_INNER_RINGS)))]
    for a, c in pairwise(rings):
        b, d = np.roll(a, -1), np.roll(c, -1)
        skin = np.concatenate([skin, np.stack([b, a, c], axis=1), np.stack([b, c, d], axis=1)])
    opened = coarse + _moved({"jawOpen": 1.0})
    skin = np.concatenate([skin, anatomies.fill(_with_mouth(opened[used], loop), list(rings[-1]))])
    refine, fine = igl.loop_matrix(skin.astype(np.int64), int(skin.max()) + 1)
    refine = scipy.sparse.csr_matrix(refine)
    parts, all_faces, material = [refine @ _with_mouth(coarse[used], loop)], [np.asarray(fine)], [len(fine)]
    for eye in eyes:
        vertices, ball = anatomies.ball(coarse, eye)
        all_faces.append(ball + sum(map(len, parts)))
        parts.append(vertices)
        material.append(len(ball))
    canonical = np.concatenate(parts)
    on_skin = scipy.spatial.cKDTree(canonical[: len(parts[0])])
    faces = np.concatenate(all_faces)

    def refined(amounts: Mapping[str, float]) -> Array:
        return np.concatenate([refine @ _with_mouth((coarse + _moved(amounts))[used], loop), *parts[1:]])

    # In a mouth that is a little open also what only a wide one shows; of the eyes only what is seen of them.
    neutral, opened = (anatomies.seen_from_outside(refined(one), faces) for one in (NEUTRAL, {"jawOpen": 1.0}))
    seen = neutral | (opened & (np.repeat(range(3), material) == 0))
    front = (canonical[:, 2] > 25) & (canonical[:, 1] < 55) & (canonical[:, 1] > -122)
    return Topology(
        faces=faces,
        material=np.repeat([anatomies.SKIN, anatomies.EYE, anatomies.EYE], material),
        canonical=canonical,
        front=front,
        seen=seen,
        anchors=on_skin.query(anatomies.anchor_places())[1],
        throat=on_skin.query(_THROAT)[1],
        skin=used,
        mouth=loop,
        refine=refine,
        eyes=(eyes[0], eyes[1]),
    )


def _moved(amounts: Mapping[str, float]) -> Array:
    """How far movements of these amounts move the coarse vertices (V, 3), in mm, on everybody's average."""
    body = anatomies.body_model()
    weights = np.array([amounts.get(name, 0.0) for name in body.action_names.tolist()])
    used = weights != 0
    return anatomies.turned_mm((weights[used, None, None] * body.actions[used]).sum(axis=0))


def _with_mouth(skin: Array, loop: Array) -> Array:
    """Coarse skin vertices and, after them, those that close the mouth behind the lips, the deeper the more it is open."""
    edge = skin[loop]
    middle = edge.mean(axis=0)
    depth = _DEPTH * (np.ptp(edge[:, 1]) - 0.45 * np.ptp(edge[:, 0]))
    rings = [middle + size * (edge - middle) - [0, 0, share * max(depth, 0.0)] for size, share in _INNER_RINGS]
    return np.concatenate([skin, *rings])


# ---------------------------------------------------------------------------------------------------- one person


@dataclass(frozen=True)
class Talker:
    """One person with expressions, in mm: `neutral_mm` (N, 3), and `posed_mm` (E, N, 3) with those named `expressions`."""

    name: str
    neutral_mm: Array
    expressions: tuple[str, ...]
    posed_mm: Array

    def mesh(self, expression: str = "") -> trimesh.Trimesh:
        """The neutral head, or that with an expression."""
        points = self.posed_mm[self.expressions.index(expression)] if expression else self.neutral_mm
        return trimesh.Trimesh(points.copy(), topology().faces.copy(), process=False)

    def observed_mm(self, expression: str = "", *, azimuth: float) -> Array:
        """What `observe` sees of that head above the throat, at most 2,500 points as in NPHM."""
        whole = self.mesh(expression)
        points = observe(whole, 2500, azimuth=azimuth)
        return points[mesh.above(points, np.asarray(whole.vertices)[topology().throat])]


@dataclass(frozen=True)
class _Manner:
    """How somebody moves: gains (A,) of the movements, the others (A, A) that come with each, and a gain (V,) by place."""

    gains: Array
    others: Array
    places: Array


def talker(name: str, seed: int, expressions: Mapping[str, Mapping[str, float]]) -> Talker:
    """The person whom a seed and a name determine."""
    return make_talker(name, np.random.SeedSequence([seed, zlib.crc32(name.encode())]), expressions)


def make_talker(name: str, chance: np.random.SeedSequence, expressions: Mapping[str, Mapping[str, float]]) -> Talker:
    """A bald person from a stream of chance, with expressions that are given as amounts of the body model's movements."""
    traits, shape, manner = chance.spawn(3)
    coarse = coarse_head_mm(draw_traits(np.random.default_rng(traits)), np.random.default_rng(shape))
    moves = _manner(np.random.default_rng(manner))
    posed = np.stack([_posed(coarse, moves, amounts) for amounts in (NEUTRAL, *expressions.values())])
    shared = topology()
    centres = [anatomies.sphere(coarse[np.unique(eye)])[0] for eye in shared.eyes]
    origin = np.array([posed[0, :, 0].mean(), np.mean(centres, axis=0)[1], (posed[0, :, 2].min() + posed[0, :, 2].max()) / 2])
    posed = np.round(posed - origin, 4)
    return Talker(name, posed[0], tuple(expressions), posed[1:])


def drawn_expressions(count: int, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Random expressions: two recipes each, in random amounts, the second often none."""
    found = {}
    for number in range(count):
        first, second = rng.choice(len(RECIPES), 2, replace=False)
        shares = rng.uniform(0.5, 1.1), rng.uniform(0.0, 0.7) * (rng.random() < 0.6)
        amounts: dict[str, float] = {}
        for index, share in zip((first, second), shares, strict=True):
            for movement, amount in recipe(list(RECIPES)[index]).items():
                amounts[movement] = amounts.get(movement, 0.0) + share * amount
        found[f"{number}"] = {movement: min(amount, 1.1) for movement, amount in amounts.items()}
    return found


def recipe(name: str) -> dict[str, float]:
    """The movements of a named expression; ValueError for an unknown one."""
    if name not in RECIPES:
        raise ValueError(f"expression {name!r}: expected one of {', '.join(RECIPES)}")
    return _both(**RECIPES[name])


def _manner(rng: np.random.Generator) -> _Manner:
    names = anatomies.body_model().action_names.tolist()
    stems = [name.removesuffix("Left").removesuffix("Right") for name in names]
    gain = {stem: np.exp(rng.normal(0, 0.2)) for stem in dict.fromkeys(stems)}
    lopsided = {stem: np.exp(rng.normal(0, 0.12)) for stem in dict.fromkeys(stems)}
    sides = [
        1.0 if name == stem else lopsided[stem] if name.endswith("Left") else 1 / lopsided[stem]
        for name, stem in zip(names, stems, strict=True)
    ]
    region = np.array([stem[:3] for stem in stems])
    alike = (region[:, None] == region) & ~np.eye(len(names), dtype=bool) & ~np.char.startswith(names, ("eyeLook"))
    others = np.where(alike, 0.05 * rng.standard_normal((len(names), len(names))), 0.0)
    coarse = anatomies.coarse_mm(anatomies.body_model(), {"age": 0.7}, {})
    return _Manner(
        np.array([gain[stem] * side for stem, side in zip(stems, sides, strict=True)]),
        others,
        np.exp(0.12 * noise(coarse, 45, rng)),
    )


def _posed(coarse: Array, manner: _Manner, amounts: Mapping[str, float]) -> Array:
    """Refined vertices (N, 3) of somebody whose coarse ones are given, with these amounts of movements."""
    shared, body = topology(), anatomies.body_model()
    asked = np.array([amounts.get(name, 0.0) for name in body.action_names.tolist()])
    done = np.clip((asked + asked @ manner.others) * manner.gains, 0, 1.2)
    moved = (
        coarse[shared.skin]
        + (manner.places[:, None] * _moved(dict(zip(body.action_names.tolist(), done, strict=True))))[shared.skin]
    )
    balls = [anatomies.ball(coarse, eye)[0] for eye in shared.eyes]
    return np.concatenate([shared.refine @ _with_mouth(moved, shared.mouth), *balls])


def observe(talker_mesh_mm: trimesh.Trimesh, count: int, *, azimuth: float, elevation: float = 0.0, seed: int = 0) -> Array:
    """Points (count, 3) in mm of what a depth camera sees from `azimuth` and `elevation` in degrees, 0 being the front.

    As in NPHM (`generate_single_view_observations.py`): a rendered depth picture, back-projected, and `count` of its pixels.
    """
    points = np.asarray(talker_mesh_mm.vertices)
    middle, away = (points.min(axis=0) + points.max(axis=0)) / 2, 900.0
    angle, rise = np.radians([azimuth, elevation])
    direction = np.array([np.sin(angle) * np.cos(rise), np.sin(rise), np.cos(angle) * np.cos(rise)])
    across = np.cross([0, 1, 0], direction) / np.linalg.norm(np.cross([0, 1, 0], direction))
    up = np.cross(direction, across)
    side = np.linspace(-0.17, 0.17, 240)
    columns, rows = np.meshgrid(side, side)
    rays = -direction + columns.reshape(-1, 1) * across + rows.reshape(-1, 1) * up
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    scene = embree_scene(talker_mesh_mm.triangles)
    eye = np.tile(middle + away * direction, (len(rays), 1))
    hit = scene.run(eye.astype(np.float32), rays.astype(np.float32), query="DISTANCE")
    seen = np.flatnonzero(hit < 2 * away)
    if len(seen) == 0:
        raise ValueError(f"a camera at azimuth {azimuth} and elevation {elevation} degrees sees nothing of the head")
    chosen = np.random.default_rng(seed).choice(seen, count, replace=count > len(seen))
    return eye[chosen] + hit[chosen, None] * rays[chosen]
