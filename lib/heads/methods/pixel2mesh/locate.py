"""Where the face is in a photograph: its middle, how large it is there, and six landmarks, found by a small network.

The network marks the cells of a picture in which the middle of a face lies, and says of such a cell the rest (as CenterNet, Zhou
et al. 2019). It sees the whole picture first, then what is around the face. The middle and the size are those of the crop that
the face is then reconstructed from: the middle is that of the landmarks, and the side of its square is `2 * HALF_MM`
there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from heads import camera
from heads.methods.pixel2mesh import crop as cropping
from heads.methods.pixel2mesh.crop import HALF_MM
from heads.methods.pixel2mesh.learn import Faces
from heads.methods.pixel2mesh.network import GROUPS, Encoder
from heads.surface import sdf, training

LANDMARKS = ("right_eye", "left_eye", "nose_base", "right_lips", "left_lips", "nose_tip")  # right and left of the person
LEAST_PX = 32  # of a picture's shorter side
WHOLE_PX = 640  # of the longer side of what is looked at
CONFIDENT = 0.4  # from here on a cell has a face
APART = 0.5  # of the larger one's side: nearer together than this, two cells have the same face
MOST_ROLL_DEGREES = 45.0
_STRIDE = 8  # pixels of a cell
_OUTPUTS = 4 + 2 * len(LANDMARKS)


@dataclass(frozen=True)
class Face:
    """A face in pixels of its photograph: the middle (2,), the side of its square, and `LANDMARKS` (6, 2)."""

    middle_px: np.ndarray
    side_px: float
    landmarks_px: np.ndarray
    confidence: float

    @property
    def roll_degrees(self) -> float:
        """How far the line from the eyes to the lips is turned from down, clockwise in the picture."""
        right, left, _, right_lips, left_lips, _ = self.landmarks_px
        down = (right_lips + left_lips - right - left) / 2
        return float(np.degrees(np.arctan2(-down[0], down[1])))


@dataclass(frozen=True)
class Config:
    """How `train` works."""

    channels: tuple[int, ...] = (16, 32, 64, 64)
    width: int = 48  # of what the maps are joined to
    size: int = 96  # pixels a side of the pictures that the network sees
    steps: int = 3000
    pictures: int = 16  # per step
    step_size: float = 2e-3
    place_weight: float = 5.0  # of the middle, in squares' sides
    size_weight: float = 2.0
    landmark_weight: float = 3.0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("width", "size", "steps", "pictures", "step_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.size % 32:
            raise ValueError(f"size must be a multiple of 32, not {self.size}")


PAPER = Config(channels=(32, 64, 128, 128), width=96, size=128, steps=20_000, pictures=64)
LAPTOP = Config()
SMOKE = replace(LAPTOP, channels=(8, 8, 16, 16), width=16, size=64, steps=250, pictures=8)
PRESETS = {"PAPER": PAPER, "LAPTOP": LAPTOP, "SMOKE": SMOKE}


class Locator(nn.Module):
    """Pictures (B, 3, S, S) in [0, 1] -> for each cell (B, 16, S / 8, S / 8): the score of a face, then what it says of the face.

    That is how far the middle is from the cell's (2), the logarithm of the side in cells, and the landmarks' places from the
    middle in sides (12).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.size = config.size
        self.encoder = Encoder(config.channels)
        self.joined = nn.ModuleList(nn.Conv2d(width, config.width, 1) for width in config.channels[1:])
        last = nn.Conv2d(config.width, _OUTPUTS, 1)
        last.bias = nn.Parameter(torch.tensor([-3.0] + [0.0] * (_OUTPUTS - 1)))  # hardly a cell has a face
        smooth = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.head = nn.Sequential(smooth, nn.GroupNorm(GROUPS, config.width), nn.ReLU(), last)

    def forward(self, pictures: Tensor) -> Tensor:
        """What every cell says."""
        maps = self.encoder(pictures)[1:]
        joined = self.joined[-1](maps[-1])
        for one, values in zip(self.joined[-2::-1], maps[-2::-1], strict=True):
            joined = functional.interpolate(joined, size=values.shape[2:], mode="nearest") + one(values)
        return self.head(joined)


# ---- learning


def truths(faces: Faces, which: Sequence[tuple[int, int]]) -> Tensor:
    """Of (person, photograph) the middle, the side, and the landmarks (N, 15) in pixels."""
    rows = []
    for person, photograph in which:
        px_from_mm = faces.of(person, "px_from_mm")[photograph].double()
        landmarks = faces.of(person, "landmarks_mm").double()
        middle = landmarks.mean(dim=0)
        points = torch.cat([middle[None], landmarks])
        seen = points @ px_from_mm[:, :3].T + px_from_mm[:, 3]
        px_from_cam, mm_from_cam = camera.decompose(px_from_mm.numpy())
        distance = float(np.linalg.norm(middle.numpy() - mm_from_cam[:3, 3]))
        places = seen[:, :2] / seen[:, 2:]
        rows.append(torch.cat([places[0], torch.tensor([px_from_cam[0, 0] * 2 * HALF_MM / distance]), places[1:].flatten()]))
    return torch.stack(rows).float()


def canvases(faces: Faces, config: Config, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (B, 3, S, S) that are made of photographs, and of the two faces that may be in one what they should say.

    That is (B, 2, 15), in pixels, and whether a face is there (B, 2). Most have one face, somewhere, larger or smaller and
    rolled; some have two side by side, and some have none: only what is beside a face, or one in shuffled parts.
    """
    count, size = config.pictures, config.size

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    kind = torch.rand(count, generator=generator)
    two, beside, shuffled = kind < 0.15, (kind >= 0.15) & (kind < 0.2), (kind >= 0.2) & (kind < 0.25)
    split = torch.where(two, uniform(0.4, 0.6, count), torch.ones(count)) * size
    canvas = torch.zeros(count, 3, size, size)
    said, there = torch.zeros(count, 2, 3 + 2 * len(LANDMARKS)), torch.zeros(count, 2, dtype=torch.bool)
    row, column = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    for place in range(2):
        people = torch.randint(len(faces), (count,), generator=generator).tolist()
        shots = torch.randint(faces.photographs, (count,), generator=generator).tolist()
        which = list(zip(people, shots, strict=True))
        known = truths(faces, which)
        pictures = torch.stack([faces.of(person, "pictures")[shot] for person, shot in which]).permute(0, 3, 1, 2).float() / 255
        low, high = (torch.zeros(count), split) if place == 0 else (split, torch.full((count,), float(size)))
        most = torch.where(two, (high - low) / size * 1.2, 1.15)
        side = size * torch.exp(uniform(0, 1, count) * (most / 0.2).log() + np.log(0.2))
        free = (high - low - 0.5 * side).clamp(min=0)  # most of the face's square is in the picture
        across = (low + high) / 2 + uniform(-0.5, 0.5, count) * free
        down = size / 2 + uniform(-0.5, 0.5, count) * (size - 0.5 * side).clamp(min=0)
        middle = torch.stack([across, down], dim=1)
        away = uniform(0.6, 0.9, count)[:, None] * torch.nn.functional.normalize(
            torch.randn(count, 2, generator=generator), dim=1
        )
        middle = torch.where(beside[:, None], size / 2 + size * 1.2 * away, middle)
        angle = torch.deg2rad(12.0 * torch.randn(count, generator=generator))
        turn = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1)
        scale = known[:, 2] / side  # pixels of the photograph in a pixel of the canvas
        at = torch.stack([column, row], dim=2)[None] - middle[:, None, None]
        source = torch.einsum("bij,bhwj->bhwi", turn * scale[:, None, None], at) + known[:, None, None, :2]
        grid = (source + 0.5) / torch.tensor([pictures.shape[3], pictures.shape[2]]) * 2 - 1
        found = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
        beyond = (grid.abs() > 1).any(dim=3)[:, None]
        smooth = functional.interpolate(
            torch.rand((count, 3, 4, 4), generator=generator), size=size, mode="bicubic", align_corners=False
        )
        found = torch.where(beyond & (torch.rand((count, 1, 1, 1), generator=generator) < 0.7), smooth.clamp(0, 1), found)
        mine = (column >= low[:, None, None]) & (column < high[:, None, None])
        canvas = torch.where(mine[:, None], found, canvas)
        marks = known[:, 3:].unflatten(1, (-1, 2)) - known[:, None, :2]
        marks = torch.einsum("bji,bkj->bki", turn / scale[:, None, None], marks) + middle[:, None]
        said[:, place] = torch.cat([middle, side[:, None], marks.flatten(1)], dim=1)
        inside = (middle[:, 0] >= low) & (middle[:, 0] < high) & (middle[:, 1] >= 0) & (middle[:, 1] < size)
        there[:, place] = inside & ~beside & ~shuffled & (two if place else True)
    parts = canvas.unfold(2, size // 4, size // 4).unfold(3, size // 4, size // 4).flatten(2, 3)
    parts = (
        parts[:, :, torch.randperm(16, generator=generator)]
        .unflatten(2, (4, 4))
        .permute(0, 1, 2, 4, 3, 5)
        .flatten(4, 5)
        .flatten(2, 3)
    )
    canvas = torch.where(shuffled[:, None, None, None], parts, canvas)
    return cropping.disturbed(canvas, generator), said, there


def losses(found: Tensor, said: Tensor, there: Tensor) -> dict[str, Tensor]:
    """What the cells (B, 16, H, W) say against what they should (B, 2, 15): the score everywhere, the rest near a middle."""
    count, _, height, width = found.shape
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cells = (torch.stack([column, row], dim=2).to(found) + 0.5) * _STRIDE - 0.5
    away = said[:, :, None, None, :2] - cells  # (B, 2, H, W, 2)
    near = torch.exp(-(away / _STRIDE).square().sum(dim=4) / (2 * 0.6**2)) * there[:, :, None, None]
    heat, whose = near.max(dim=1)
    score = found[:, 0].sigmoid().clamp(1e-4, 1 - 1e-4)
    hit = heat > 0.5
    focal = -torch.where(hit, heat * (1 - score) ** 2 * score.log(), (1 - heat) ** 4 * score**2 * (1 - score).log())
    rows = torch.arange(count, device=found.device)[:, None, None].expand_as(whose)
    place, i, j = rows[hit], *torch.nonzero(hit, as_tuple=True)[1:]
    aim, says = said[place, whose[hit]], found[place, 1:, i, j]
    side = aim[:, 2:3] / _STRIDE
    middle = cells[i, j] / _STRIDE + says[:, :2]
    marks = (aim[:, 3:].unflatten(1, (-1, 2)) - aim[:, None, :2]) / aim[:, 2:3, None]
    return {
        "score": focal.sum() / hit.sum().clamp(min=1),
        "place": ((middle - aim[:, :2] / _STRIDE) / side).abs().sum() / len(says) if len(says) else found.sum() * 0,
        "size": (says[:, 2] - side[:, 0].log()).abs().mean() if len(says) else found.sum() * 0,
        "landmarks": (says[:, 3:].unflatten(1, (-1, 2)) - marks).abs().sum(dim=2).mean() if len(says) else found.sum() * 0,
    }


def train(
    name: str,
    faces: Faces,
    config: Config,
    *,
    seed: int = 0,
    on_step: training.OnStep | None = None,
    resume: dict[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], training.History]:
    """Learn the network: its tensors, and the history of the losses."""
    device, generator = sdf.device(config.device), torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Locator(config).to(device)
    named = dict(network.named_parameters())
    optimizers = training.optimizers(training.Group(list(named.values()), config.step_size))
    learner = training.Learner(f"localiser {name}", named, optimizers, generator)
    weights = {"score": 1.0, "place": config.place_weight, "size": config.size_weight, "landmarks": config.landmark_weight}

    def step_of(step: int) -> dict[str, Tensor]:
        pictures, said, there = (values.to(device) for values in canvases(faces, config, generator))
        terms = losses(network(pictures), said, there)
        training.weighted_sum(terms, weights).backward()
        torch.nn.utils.clip_grad_norm_(named.values(), 5.0)
        training.end_step(optimizers)
        return terms

    factor = training.cosine(config.steps, end=0.02)
    state, history = training.train(learner, step_of, config.steps, terms=weights, factor=factor, on_step=on_step, resume=resume)
    return {key: state[key] for key in named}, history


def restored(tensors: Mapping[str, Tensor], said: Mapping[str, Any], where: str) -> Locator:
    """The network of a checkpoint; ValueError, beginning with `where`, for one of something else or of another size."""
    if said.get("kind") != "localiser":
        raise ValueError(f"{where}: not a localiser ({said.get('kind')!r}); expected one as notebook 19 makes")
    known: dict[str, Any] = dict(said["config"])
    config = Config(**known | {"channels": tuple(known["channels"])})
    network = Locator(config)
    for name, values in network.state_dict().items():
        if name not in tensors or tensors[name].shape != values.shape:
            found = tuple(tensors[name].shape) if name in tensors else "missing"
            raise ValueError(
                f"{where}: {name} of the localiser is {found}, and what it says of itself needs {tuple(values.shape)}"
            )
    network.load_state_dict(dict(tensors))
    return network.eval()


def errors(network: Locator, faces: Faces) -> list[dict[str, float]]:
    """For each photograph how far off middle and landmarks are, in pixels and in mm at the face, and the size in per cent.

    They are NaN where no face was found, or several, or one elsewhere.
    """
    rows = []
    for person in range(len(faces)):
        for photograph in range(faces.photographs):
            true = truths(faces, [(person, photograph)])[0].double().numpy()
            found = find(network, faces.of(person, "pictures")[photograph].numpy())
            if len(found) != 1 or np.linalg.norm(found[0].middle_px - true[:2]) > APART * true[2]:
                rows.append(dict.fromkeys(("middle_px", "middle_mm", "size_percent", "landmarks_px", "landmarks_mm"), np.nan))
                continue
            middle = float(np.linalg.norm(found[0].middle_px - true[:2]))
            marks = float(np.linalg.norm(found[0].landmarks_px - true[3:].reshape(-1, 2), axis=1).mean())
            mm = 2 * HALF_MM / true[2]
            size = 100 * abs(found[0].side_px / true[2] - 1)
            rows.append(
                {
                    "middle_px": middle,
                    "middle_mm": middle * mm,
                    "size_percent": size,
                    "landmarks_px": marks,
                    "landmarks_mm": marks * mm,
                }
            )
    return rows


# ---- finding


@torch.no_grad()
def find(network: Locator, picture: np.ndarray) -> list[Face]:
    """The faces of a picture (H, W, 3) uint8, the most certain first; ValueError for a picture that is too small."""
    height, width = picture.shape[:2]
    if min(height, width) < LEAST_PX:
        raise ValueError(f"a picture of {width} x {height} pixels; expected at least {LEAST_PX} a side")
    times = max(1, max(height, width) // WHOLE_PX)
    small = np.array(Image.fromarray(picture).reduce(times)) if times > 1 else picture
    values = torch.from_numpy(np.ascontiguousarray(small)).permute(2, 0, 1)[None].float() / 255
    height, width = small.shape[:2]
    side, middle = float(max(width, height)), np.array([width - 1, height - 1]) / 2
    first = _seen(network, values, middle, side)
    if not first:  # perhaps one that is small in the picture
        steps = [side * step / 4 for step in (-1, 0, 1)]
        first = [face for x in steps for y in steps for face in _seen(network, values, middle + np.array([x, y]), side / 2)]
    found = []
    for one in first:
        again = _seen(network, values, one.middle_px, 1.7 * one.side_px)
        nearest = [face for face in again if np.linalg.norm(face.middle_px - one.middle_px) < APART * one.side_px]
        found += [_enlarged(face, times) for face in nearest[:1]]
    return _apart(found)


def _enlarged(face: Face, times: int) -> Face:
    """A face of a picture in one that is so many times as large."""
    places = ((face.middle_px + 0.5) * times - 0.5, (face.landmarks_px + 0.5) * times - 0.5)
    return Face(places[0], face.side_px * times, places[1], face.confidence)


def _seen(network: Locator, values: Tensor, middle: np.ndarray, side: float) -> list[Face]:
    """What the network sees in the square about a place of a picture (1, 3, H, W)."""
    size, (height, width) = network.size, values.shape[2:]
    scale = side / size
    if scale > 1:  # the mean of what falls into a pixel
        values = functional.interpolate(values, size=(max(1, round(height / scale)), max(1, round(width / scale))), mode="area")
    at = (torch.arange(size) - (size - 1) / 2) * scale
    rows, columns = at + float(middle[1]), at + float(middle[0])
    grid = torch.stack(torch.meshgrid((rows + 0.5) / height * 2 - 1, (columns + 0.5) / width * 2 - 1, indexing="ij")[::-1], dim=2)
    square = functional.grid_sample(values, grid[None], padding_mode="border", align_corners=False)
    says = network(square)[0]
    score = says[0].sigmoid()
    peaks = (score == functional.max_pool2d(score[None], 3, stride=1, padding=1)[0]) & (score > CONFIDENT)
    faces = []
    for i, j in peaks.nonzero().tolist():
        of = says[:, i, j].double().numpy()
        place = ((np.array([j, i]) + 0.5 + of[1:3]) * _STRIDE - 0.5 - (size - 1) / 2) * scale + middle
        length = float(np.exp(of[3]) * _STRIDE * scale)
        faces.append(Face(place, length, place + length * of[4:].reshape(-1, 2), float(score[i, j])))
    return _apart(faces)


def _apart(faces: list[Face]) -> list[Face]:
    """Those faces that are no repetition of a more certain one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda one: -one.confidence):
        if all(np.linalg.norm(face.middle_px - one.middle_px) > APART * max(face.side_px, one.side_px) for one in kept):
            kept.append(face)
    return kept


def the_face(network: Locator, picture: np.ndarray, where: str) -> Face:
    """The one face of a picture (H, W, 3) uint8; ValueError begins with `where` if it has none or several, or if it is turned."""
    try:
        faces = find(network, picture)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if not faces:
        for quarters, said in ((1, "to the right"), (3, "to the left"), (2, "upside down")):
            if find(network, np.ascontiguousarray(np.rot90(picture, quarters))):
                raise ValueError(f"{where}: the picture is turned {said}; expected an upright one")
        raise ValueError(
            f"{where}: no face was found; expected one that looks about towards the camera and fills a tenth of the picture"
        )
    if len(faces) > 1:
        places = " and ".join(f"({face.middle_px[0]:.0f}, {face.middle_px[1]:.0f})" for face in faces[:3])
        raise ValueError(f"{where}: {len(faces)} faces were found, at {places} px; expected one, so cut the picture about it")
    if abs(faces[0].roll_degrees) > MOST_ROLL_DEGREES:
        raise ValueError(f"{where}: the face is turned by {faces[0].roll_degrees:.0f} degrees; expected an upright one")
    return faces[0]
