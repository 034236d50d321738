"""What goes wrong when a head is photographed: how much of each disturbance, and what chance makes of it.

The scan stays the person as scanned; the photographs show the disturbed person, and `cameras.npz` holds the wrong cameras.
Paint and light on the surface stay those of the undisturbed person. Each disturbance has a stream of chance of its own, and its
draws are multiplied by its amount: switching one on or doubling it changes no other draw.
"""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.spatial

from heads.data.anatomy import HAIR, SKIN, Array
from heads.data.people import Person, smoothstep

TINT = 0.4  # of a wrong white balance: magenta or green; the rest is warm or cool, as light itself varies
WAVES = 24  # of a smooth random field
OUTLINE_LENGTH_MM = 25.0  # over which a hand wanders off an outline and back
SOFT_LENGTH_MM = 35.0  # about a cheek
HAIR_LENGTH_MM = 30.0  # about a lock


@dataclass(frozen=True)
class Amounts:
    """How much of each disturbance: standard deviations (`blur_mm`: root mean square; `shine`: a part added), 0 for none.

    A field holds for each photograph on its own, except `focal_percent`, `hair_mm` and `shine`, which all photographs share.
    """

    camera_rotation_deg: float = 0.0  # of the written camera about each axis through the head's middle
    camera_position_mm: float = 0.0  # of the written camera along each axis
    focal_percent: float = 0.0  # of the written focal length
    outline_mm: float = 0.0  # of a mask's outline, across it
    exposure_ev: float = 0.0
    white_balance_percent: float = 0.0  # of red and of blue against green, mostly one up and the other down
    read_noise_percent: float = 0.0  # of white, everywhere
    photon_noise_percent: float = 0.0  # of white at white; elsewhere it goes with the root of the light
    blur_mm: float = 0.0  # the circle of confusion's diameter on the head
    motion_deg: float = 0.0  # of the head about each axis through its middle
    motion_mm: float = 0.0  # of the head along each axis
    expression_mm: float = 0.0  # of cheeks, mouth and jaw along each axis
    hair_mm: float = 0.0  # of thick hair along each axis, between the scan and the photographs
    hair_moves_mm: float = 0.0  # of thick hair along each axis, between photographs
    shine: float = 0.0  # of the skin's highlights: 1 doubles them

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"{name} of a capture must be a number, 0 or more, not {value!r}")


STUDIO = Amounts()
FIELD = Amounts(
    camera_rotation_deg=0.15,
    camera_position_mm=0.6,
    focal_percent=0.3,
    outline_mm=1.5,
    exposure_ev=0.2,
    white_balance_percent=4.0,
    read_noise_percent=0.2,
    photon_noise_percent=1.5,
    blur_mm=1.5,
    motion_deg=0.4,
    motion_mm=1.0,
    expression_mm=0.5,
    hair_mm=4.0,
    hair_moves_mm=1.0,
    shine=2.0,
)
REASONS = {  # why each amount of the field is what it is
    "camera_rotation_deg": "a few dozen photographs of one head in structure from motion, few points on skin and hair",
    "camera_position_mm": "the same: a residual of about half a pixel of 256 on the head",
    "focal_percent": "a phone's lens, calibrated from these photographs",
    "outline_mm": "two people who outline the same head by hand differ by this much",
    "exposure_ev": "automatic exposure, as the share of hair and backdrop in the frame changes",
    "white_balance_percent": "automatic white balance, for the same reason",
    "read_noise_percent": "a phone indoors at about ISO 400, scaled down",
    "photon_noise_percent": "the same: some 4,000 photons at white",
    "blur_mm": "1/60 s by hand, and autofocus on the nose or an ear",
    "motion_deg": "standing people sway; a minute of photographs",
    "motion_mm": "the same",
    "expression_mm": "a neutral face is kept to less than a millimetre",
    "hair_mm": "the scan is of another minute, and a scanner rounds hair off",
    "hair_moves_mm": "the head turns and the air moves",
    "shine": "a scan's studio lights and powders skin to look matte; a lamp or a window in a room does not",
}
PRESETS = {"studio": STUDIO, "field": FIELD}
GROUPS = {  # of disturbances that have one cause
    "cameras": ("camera_rotation_deg", "camera_position_mm", "focal_percent"),
    "outlines": ("outline_mm",),
    "exposure": ("exposure_ev", "white_balance_percent"),
    "noise": ("read_noise_percent", "photon_noise_percent", "blur_mm"),
    "motion": ("motion_deg", "motion_mm", "expression_mm"),
    "hair": ("hair_mm", "hair_moves_mm"),
    "shine": ("shine",),
}


def chosen(preset: str, overrides: Mapping[str, float] | None = None, strength: float = 1.0, only: Sequence[str] = ()) -> Amounts:
    """The amounts of a preset, or of these `GROUPS` of it alone, with some fields overridden, all times `strength`."""
    if preset not in PRESETS:
        raise ValueError(f"capture must be one of {', '.join(PRESETS)}, not {preset!r}")
    if wrong := [name for name in overrides or {} if name not in vars(STUDIO)]:
        raise ValueError(f"{wrong[0]} is not an amount of a capture; these are {', '.join(vars(STUDIO))}")
    if wrong := [group for group in only if group not in GROUPS]:
        raise ValueError(f"{wrong[0]} is not a group of disturbances; these are {', '.join(GROUPS)}")
    if not 0 <= strength < math.inf:
        raise ValueError(f"strength of a capture must be a number, 0 or more, not {strength!r}")
    kept = {name for group in only or GROUPS for name in GROUPS[group]}
    amounts = {name: amount for name, amount in vars(PRESETS[preset]).items() if name in kept} | dict(overrides or {})
    return Amounts(**{name: strength * amount for name, amount in vars(Amounts(**amounts)).items()})


@dataclass(frozen=True)
class Drawn:
    """What chance made of the amounts, for V photographs, in the units of the names; rotations are vectors along their axes."""

    camera_rotation_deg: Array  # (V, 3)
    camera_position_mm: Array  # (V, 3)
    focal_percent: float
    exposure_ev: Array  # (V,)
    white_balance_percent: Array  # (V, 2) of red and blue
    blur_mm: Array  # (V,)
    motion_deg: Array  # (V, 3)
    motion_mm: Array  # (V, 3)


def draw(chance: np.random.SeedSequence, amounts: Amounts, count: int) -> Drawn:
    """The draws for the first `count` photographs; more photographs leave these as they are."""

    def normal(name: str, *shape: int) -> Array:
        return float(getattr(amounts, name)) * _rng(chance, name).standard_normal(shape)

    warm, tint = normal("white_balance_percent", count, 2).T * [[math.sqrt(1 - TINT**2)], [TINT]]
    return Drawn(
        camera_rotation_deg=normal("camera_rotation_deg", count, 3),
        camera_position_mm=normal("camera_position_mm", count, 3),
        focal_percent=float(normal("focal_percent", 1)[0]),
        exposure_ev=normal("exposure_ev", count),
        white_balance_percent=np.stack([tint + warm, tint - warm], axis=1),
        blur_mm=np.abs(normal("blur_mm", count)),
        motion_deg=normal("motion_deg", count, 3),
        motion_mm=normal("motion_mm", count, 3),
    )


def table(drawn: Drawn, views: Sequence[int]) -> list[dict[str, float]]:
    """A row for each of these photographs: what was drawn, three numbers of a vector as its length."""
    rows, lengths = [], ("camera_rotation_deg", "camera_position_mm", "motion_deg", "motion_mm")
    for view in views:
        red, blue = drawn.white_balance_percent[view]
        row = {"exposure_ev": drawn.exposure_ev[view], "red_percent": red, "blue_percent": blue}
        row |= {name: np.linalg.norm(getattr(drawn, name)[view]) for name in lengths} | {"blur_mm": drawn.blur_mm[view]}
        rows.append({"photograph": view} | {name: round(float(value), 2) for name, value in row.items()})
    return rows


def written(drawn: Drawn, intrinsics: Array, poses: Array, middle_mm: Array) -> Array:
    """The wrong px_from_mm (V, 4, 4) of true intrinsics (3, 3) and poses mm_from_cam (V, 4, 4).

    A camera is turned about the head's middle, not its own: bundle adjustment would see the head shifted, but hardly turned.
    """
    wrong = [
        _rigid(rotation, shift, middle_mm) @ pose
        for rotation, shift, pose in zip(drawn.camera_rotation_deg, drawn.camera_position_mm, poses, strict=True)
    ]
    px_from_mm = np.tile(np.eye(4), (len(poses), 1, 1))
    focal = 1 + drawn.focal_percent / 100
    px_from_mm[:, :3] = intrinsics * [[focal, 1, 1], [1, focal, 1], [1, 1, 1]] @ np.linalg.inv(wrong)[:, :3]
    return px_from_mm


def still_pose(drawn: Drawn, view: int, pose: Array, middle_mm: Array) -> Array:
    """The pose mm_from_cam (4, 4) from which a head that does not move looks as the moved one; so its light moves with it."""
    return np.linalg.inv(_rigid(drawn.motion_deg[view], drawn.motion_mm[view], middle_mm)) @ pose


def _rigid(rotation_deg: Array, shift_mm: Array, about_mm: Array) -> Array:
    """The motion (4, 4) that turns about a point and then shifts."""
    motion = np.eye(4)
    motion[:3, :3] = scipy.spatial.transform.Rotation.from_rotvec(rotation_deg, degrees=True).as_matrix()
    motion[:3, 3] = about_mm + shift_mm - motion[:3, :3] @ about_mm
    return motion


def vertices_mm(person: Person, amounts: Amounts, count: int) -> Iterator[Array]:
    """The vertices (N, 3) that each photograph sees, before rigid motion; the same array as long as nothing changes."""
    chance = person.streams["cameras"]
    hair, soft = (np.unique(person.faces[person.material == material]) for material in (HAIR, SKIN))
    depth = np.maximum(person.depth_mm[hair], 0)
    loose = (depth / (depth + 6))[:, None]  # hair stays where it meets the skin, and does not sink below it
    x, y, z = person.canonical[soft].T
    move = smoothstep((-20 - y) / 35) * smoothstep((y + 125) / 20) * smoothstep((z - 10) / 40) * smoothstep((85 - np.abs(x)) / 20)
    soft, move = soft[move > 0], move[move > 0, None]

    def moved(vertices: Array, name: str, which: Array, basis: Array, *view: int) -> Array:
        result = vertices.copy()
        change = getattr(amounts, name) * basis @ _rng(chance, name, *view).standard_normal((basis.shape[1], 3))
        result[which] = np.round(result[which] + change, 4)  # rounded: a different BLAS must not give another picture
        return result

    always = person.vertices_mm
    if len(hair) and amounts.hair_mm + amounts.hair_moves_mm > 0:
        in_hair = loose * _waves(person.vertices_mm[hair], HAIR_LENGTH_MM, _rng(chance, "waves of hair"))
        if amounts.hair_mm > 0:
            always = moved(always, "hair_mm", hair, in_hair)
    if amounts.expression_mm > 0:
        in_soft = move * _waves(person.canonical[soft], SOFT_LENGTH_MM, _rng(chance, "waves of skin"))
    for view in range(count):
        shown = always
        if len(hair) and amounts.hair_moves_mm > 0:
            shown = moved(shown, "hair_moves_mm", hair, in_hair, view)
        if amounts.expression_mm > 0:
            shown = moved(shown, "expression_mm", soft, in_soft, view)
        yield shown


def exposed(linear: Array, amounts: Amounts, drawn: Drawn, view: int, mm_per_px: float, chance: np.random.SeedSequence) -> Array:
    """What the sensor makes of linear light (S, S, 3) float32: lens, exposure and white balance, then noise."""
    if (blur_px := drawn.blur_mm[view] / mm_per_px) > 0:
        linear = scipy.ndimage.gaussian_filter(linear, (blur_px / 4, blur_px / 4, 0), mode="nearest")  # a disc's deviation
    red, blue = np.exp(drawn.white_balance_percent[view] / 100)
    linear = linear * (2 ** drawn.exposure_ev[view] * np.array([red, 1, blue])).astype(np.float32)
    clean = linear
    for name, light in (("read_noise_percent", 1), ("photon_noise_percent", np.sqrt(np.maximum(clean, 0)))):
        if (amount := getattr(amounts, name)) > 0:
            linear = linear + amount / 100 * light * _rng(chance, name, view).standard_normal(linear.shape, dtype=np.float32)
    return linear


def outlined(mask: Array, amounts: Amounts, view: int, mm_per_px: float, chance: np.random.SeedSequence) -> Array:
    """The mask (S, S) as a hand would draw it: its outline wanders."""
    if amounts.outline_mm == 0:
        return mask
    rng = _rng(chance, "outline_mm", view)
    turns, weights = rng.standard_normal((2, WAVES)), rng.standard_normal(2 * WAVES)
    edt = scipy.ndimage.distance_transform_edt
    inside_mm = mm_per_px * np.where(mask, edt(mask) - 0.5, 0.5 - edt(~mask))
    row, column = near = np.nonzero(np.abs(inside_mm) < 5 * amounts.outline_mm)
    at = mm_per_px * np.stack([column, row], axis=1)
    result = mask.copy()
    result[near] = inside_mm[near] + amounts.outline_mm * _basis(at @ turns / OUTLINE_LENGTH_MM) @ weights > 0
    return result


def _waves(points: Array, length_mm: float, rng: np.random.Generator) -> Array:
    """A basis (N, 2 WAVES) at points (N, 3): with standard normal weights it gives smooth noise of unit deviation."""
    return _basis(points @ rng.standard_normal((3, WAVES)) / length_mm)


def _basis(phases: Array) -> Array:
    return np.concatenate([np.cos(phases), np.sin(phases)], axis=1) / math.sqrt(WAVES)


def _rng(chance: np.random.SeedSequence, name: str, *view: int) -> np.random.Generator:
    """The stream of chance of one disturbance, or of it in one photograph."""
    return np.random.default_rng(
        np.random.SeedSequence(chance.entropy, spawn_key=(*chance.spawn_key, zlib.crc32(name.encode()), *view))
    )
