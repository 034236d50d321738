"""A morphable head fitted to the landmarks of one or more photographs with known cameras, by Levenberg and Marquardt's method.

What is found is a pose and a code. From one photograph nobody can tell a small head from one that is far away; so the fit is also
told about where heads are in the unit sphere of their scene, as far as that is so, and how codes are spread.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from heads.morphable import Morphable
from heads.scene import Scene

FEWEST = 6  # landmarks
# The origin of the head's frame, from the centre of the unit sphere, along the head's axes: its mean in radii, and how it varies.
# Of 60 built-in people with hair. The radius and how high the hair is would say a little more: 10 mm of a face's depth, not 12.
ORIGIN_RADII = (0.0, 0.042, 0.047)
ORIGIN_DEVIATION_MM = (4.2, 10.8, 8.7)
_ROLLS, _TURNS = np.radians([0, 90, 180, 270]), np.radians([-50, 0, 50])  # of the head, against the camera, to begin with


@dataclass(frozen=True)
class Config:
    """How far off landmarks are in pixels, and from how many of these on they count as outliers; how much of the head varies."""

    noise_px: float = 1.0
    outlier: float = 3.0
    components: int = 60
    iterations: int = 60
    origin_radii: tuple[float, float, float] = ORIGIN_RADII
    origin_deviation_mm: tuple[float, float, float] = ORIGIN_DEVIATION_MM
    most_noise: float = 10.0  # the median residual of a fit that is believed

    def __post_init__(self) -> None:
        if not (min(self.noise_px, self.outlier, self.most_noise, *self.origin_deviation_mm) > 0):
            raise ValueError(f"the noise, the outliers, and the origin's deviations must be above 0, not {self}")
        if self.iterations < 1 or self.components < 0:
            raise ValueError(f"a fit takes at least 1 iteration, and 0 or more components, not {self}")


class Fitted(NamedTuple):
    """A head's vertices (N, 3) in the world, code (K,) and pose (4, 4), and how far off landmarks (V, L) are, NaN if unseen."""

    vertices_mm: np.ndarray
    code: np.ndarray
    mm_from_head: np.ndarray
    residuals_px: np.ndarray


class State(NamedTuple):
    """A head's `rotation` (3, 3), its frame's origin (3,) from the sphere's centre along the head's axes, and its code (K,)."""

    rotation: np.ndarray
    origin_mm: np.ndarray
    code: np.ndarray

    def moved(self, step: np.ndarray) -> "State":
        """The state after a step (6 + K,): a turn in the world, a shift, and a change of the code."""
        return State(_turn(step[:3]) @ self.rotation, self.origin_mm + step[3:6], self.code + step[6:])


@dataclass(frozen=True)
class Problem:
    """S landmarks that are seen: where they are on the mean head (S, 3) and move by code (K, S, 3), and their photographs.

    `projections` (S, 3, 4) see places in mm from the sphere's centre at the pixels `seen_px` (S, 2). The origin's mean (3,) and
    deviation (3,) are in mm.
    """

    mean_mm: np.ndarray
    directions_mm: np.ndarray
    projections: np.ndarray
    seen_px: np.ndarray
    origin_mm: np.ndarray
    deviation_mm: np.ndarray
    noise_px: float

    def residuals(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """How far off landmarks (S, 2) are in units of noise, and the code and origin (3 + K,) in deviations."""
        held = np.concatenate([(state.origin_mm - self.origin_mm) / self.deviation_mm, state.code])
        at = np.einsum("sij,sj->si", self.projections[:, :, :3], self._places(state)) + self.projections[:, :, 3]
        return (at[:, :2] / np.maximum(at[:, 2:], 1e-3) - self.seen_px) / self.noise_px, held

    def jacobian(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """The slopes (S, 2, 6 + K) and (3 + K, 6 + K) of both by a step from the state."""
        places, count = self._places(state), len(state.code)
        at = np.einsum("sij,sj->si", self.projections[:, :, :3], places) + self.projections[:, :, 3]
        depth = np.maximum(at[:, 2], 1e-3)[:, None, None]
        of_place = (self.projections[:, :2, :3] - (at[:, :2, None] / depth) * self.projections[:, 2:, :3]) / depth / self.noise_px
        turned = np.cross(np.eye(3)[None], places[:, None])  # (S, 3, 3): the place's speed by a turn about each axis
        moves = np.concatenate(
            [
                turned,
                np.broadcast_to(state.rotation.T, turned.shape),
                (self.directions_mm[:count] @ state.rotation.T).transpose(1, 0, 2),
            ],
            axis=1,
        )
        held = np.zeros((3 + count, 6 + count))
        held[:, 3:] = np.diag(np.concatenate([1 / self.deviation_mm, np.ones(count)]))
        return np.einsum("sij,skj->sik", of_place, moves), held

    def _places(self, state: State) -> np.ndarray:
        shape = self.mean_mm + np.tensordot(state.code, self.directions_mm[: len(state.code)], axes=1)
        return np.asarray((shape + state.origin_mm) @ state.rotation.T)


def fit(head: Morphable, scene: Scene, landmarks_px: np.ndarray, config: Config | None = None) -> Fitted:
    """The head that was photographed, of its landmarks (V, L, 2) in the scene's photographs, NaN where they are not seen.

    ValueError where too few are seen, one is outside its picture, or no head has such landmarks.
    """
    config = config or Config()
    _check(head, scene, landmarks_px)
    shot, landmark = np.nonzero(np.isfinite(landmarks_px).all(axis=2))
    mm_from_unit = scene.mm_from_unit.double().numpy()
    radius_mm = float(np.cbrt(np.linalg.det(mm_from_unit[:3, :3])))
    mm_from_cam = _poses_mm(scene)
    projections = _projections(scene, mm_from_cam, mm_from_unit[:3, 3])
    problem = Problem(
        mean_mm=head.landmarks_mm(head.mean_mm.astype(np.float64))[landmark],
        directions_mm=np.einsum("lc,klcx->klx", head.weights, head.directions_mm[: config.components, head.rows])[:, landmark],
        projections=projections[shot],
        seen_px=landmarks_px[shot, landmark].astype(np.float64),
        origin_mm=radius_mm * np.array(config.origin_radii),
        deviation_mm=np.array(config.origin_deviation_mm),
        noise_px=config.noise_px,
    )
    most = mm_from_cam[np.bincount(shot, minlength=len(mm_from_cam)).argmax(), :3, :3]
    start = min((_solved(problem, begin, config.outlier, 15) for begin in _starts(problem, most)), key=lambda s: s[1])[0]
    state, _ = _solved(problem, start._replace(code=np.zeros(len(problem.directions_mm))), config.outlier, config.iterations)
    off_px = np.linalg.norm(problem.residuals(state)[0], axis=1) * config.noise_px
    if not np.median(off_px) <= config.most_noise * config.noise_px:
        raise ValueError(
            f"scene {scene.name}: no head has these landmarks, the best is off by {np.median(off_px):.0f} px in the median; "
            f"expected {config.most_noise * config.noise_px:g} px at most, of landmarks in the order that the template has"
        )
    mm_from_head = np.eye(4)
    mm_from_head[:3, :3] = state.rotation
    mm_from_head[:3, 3] = mm_from_unit[:3, 3] + state.rotation @ state.origin_mm
    residuals = np.full(landmarks_px.shape[:2], np.nan)
    residuals[shot, landmark] = off_px
    vertices = head.vertices_mm(state.code) @ mm_from_head[:3, :3].T + mm_from_head[:3, 3]
    return Fitted(vertices, state.code, mm_from_head, residuals)


def _check(head: Morphable, scene: Scene, landmarks_px: np.ndarray) -> None:
    expected = (len(scene.views), len(head.names), 2)
    if landmarks_px.shape != expected:
        raise ValueError(f"scene {scene.name}: landmarks of the shape {landmarks_px.shape}; expected {expected}")
    there = np.isfinite(landmarks_px).all(axis=2)
    if not there.any(axis=1).all():
        view = scene.views[int(np.argmin(there.any(axis=1)))]
        raise ValueError(
            f"scene {scene.name}: photograph {view} has no landmarks; expected photographs in which the face is seen"
        )
    if there.sum() < FEWEST:
        raise ValueError(f"scene {scene.name}: {there.sum()} landmarks are seen; expected at least {FEWEST} in all photographs")
    height, width = scene.masks.shape[1:]
    out = there & ((landmarks_px < -0.5) | (landmarks_px > [width - 0.5, height - 0.5])).any(axis=2)
    if out.any():
        shot, landmark = np.argwhere(out)[0]
        column, row = landmarks_px[shot, landmark]
        raise ValueError(
            f"scene {scene.name}: {head.names[landmark]} is at column {column:.1f} and row {row:.1f} of photograph "
            f"{scene.views[shot]}, outside of its {width} x {height} pixels"
        )


def _poses_mm(scene: Scene) -> np.ndarray:
    """Where the cameras (V, 4, 4) are in the world, without the unit's scale."""
    mm_from_unit = scene.mm_from_unit.double().numpy()
    poses = mm_from_unit @ scene.unit_from_cam.double().numpy()
    poses[:, :3, :3] /= np.cbrt(np.linalg.det(mm_from_unit[:3, :3]))
    return poses


def _projections(scene: Scene, mm_from_cam: np.ndarray, centre_mm: np.ndarray) -> np.ndarray:
    """Cameras (V, 3, 4) that see places in mm from the sphere's centre."""
    moved = mm_from_cam.copy()
    moved[:, :3, 3] -= centre_mm
    return scene.px_from_cam.double().numpy() @ np.linalg.inv(moved)[:, :3]


def _starts(problem: Problem, world_from_cam: np.ndarray) -> list[State]:
    """Mean heads about where heads are, that look towards a camera in several ways."""
    facing = world_from_cam @ np.diag([1.0, -1.0, -1.0])
    turns = [facing @ _turn(np.array([0, 0, roll])) @ _turn(np.array([0, turn, 0])) for roll in _ROLLS for turn in _TURNS]
    return [State(turn, problem.origin_mm, np.zeros(0)) for turn in turns]


def _solved(problem: Problem, state: State, outlier: float, iterations: int) -> tuple[State, float]:
    """The state of least cost near another one, and its cost; landmarks far off count by their distance, not its square."""
    damping, cost = 1e-3, _cost(problem, state, outlier)
    for _ in range(iterations):
        (off, held), (slopes, held_slopes) = problem.residuals(state), problem.jacobian(state)
        weights = 1 / np.sqrt(1 + (off**2).sum(axis=1) / outlier**2)
        curve = np.einsum("sik,s,sil->kl", slopes, weights, slopes, optimize=True) + held_slopes.T @ held_slopes
        downhill = np.einsum("sik,s,si->k", slopes, weights, off) + held_slopes.T @ held
        before = cost
        while damping < 1e8:
            step = -np.linalg.solve(curve + damping * np.diag(np.diag(curve)), downhill)
            after = state.moved(step)
            if (now := _cost(problem, after, outlier)) < cost:
                state, cost, damping = after, now, max(damping / 10, 1e-9)
                break
            damping *= 10
        if before - cost <= 1e-7 * before:
            break
    return state, cost


def _cost(problem: Problem, state: State, outlier: float) -> float:
    off, held = problem.residuals(state)
    soft = 2 * outlier**2 * (np.sqrt(1 + (off**2).sum(axis=1) / outlier**2) - 1)
    return float(soft.sum() + held @ held)


def _turn(vector: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) about a vector (3,) by its length in radians."""
    angle = float(np.linalg.norm(vector))
    across = np.cross(np.eye(3), vector)  # times another vector, the cross product of `vector` and that
    if angle < 1e-12:
        return np.eye(3) + across
    return np.eye(3) + np.sin(angle) / angle * across + (1 - np.cos(angle)) / angle**2 * across @ across
