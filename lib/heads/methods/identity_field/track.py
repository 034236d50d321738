"""A new person, tracked from photographs: the code that explains them best, on a template that fits them.

First the code is looked for, from the mean of all, and with it a tone, by which all colours are multiplied and shifted; then the
colour of each Gaussian may move a little, held where it was, for from one photograph free colours make other views worse. Beside
that stands what it has to beat: the mean code, the nearest code of those that were learned from, and Gaussians without a field.
Hair in front of a face is taken for skin.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from heads import camera, rays
from heads.gaussians import rasterizer
from heads.gaussians.rasterizer import Gaussians, View
from heads.methods.identity_field import learn
from heads.methods.identity_field.learn import Model, Shots
from heads.morphable import Morphable
from heads.scene import Scene
from heads.surface import sdf, training
from heads.surface.render import Rendered

WAYS = ("code", "mean", "nearest", "free")
MARGIN_PX = 8  # around the face that is looked at
FEWEST_PX = 100  # of a face that can be tracked


@dataclass(frozen=True)
class Config:
    """How `track` works; the published one takes 1,000 steps of 1e-3 and moves nothing but the code."""

    way: str = "code"
    steps: int = 80
    step_size: float = 0.03
    tone_step_size: float = 0.02  # in logits of the colours; 0: they keep the tone that the field gives them
    colour_steps: int = 60
    colour_step_size: float = 0.02  # in logits
    hold: float = 0.5  # how much colours are held where they were, shared among the photographs
    free_steps: int = 300  # of Gaussians without a field
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise ValueError(f"way must be one of {', '.join(WAYS)}, not {self.way!r}")
        if min(self.steps, self.colour_steps, self.free_steps, self.tone_step_size, self.hold) < 0:
            raise ValueError(f"a tracking needs numbers of 0 or more, not {self}")
        if not min(self.step_size, self.colour_step_size) > 0:
            raise ValueError(f"a tracking needs step sizes above 0, not {self.step_size} and {self.colour_step_size}")


PAPER = Config(steps=1000, step_size=1e-3, tone_step_size=0, colour_steps=0)
LAPTOP = Config()
SMOKE = Config(steps=2, colour_steps=2, free_steps=2)
PRESETS = {"PAPER": PAPER, "LAPTOP": LAPTOP, "SMOKE": SMOKE}


class Tracked(NamedTuple):
    """The Gaussians; the code (C,) that they are of, if there is one, and what is added to the logits of its colours (G, 3); and
    the loss after each step."""

    gaussians: Gaussians
    code: Tensor | None
    added: Tensor
    history: training.History


def shots_in(scene: Scene, template_mm: np.ndarray, head: Morphable, *, half: str = "") -> Shots:
    """A scene's photographs where the template's face is seen, cut out around it; of a `half`, only that side of the face.

    `half` is left or right, the person's own. ValueError where the face is not in a photograph.
    """
    pictures, known, faces, views = [], [], [], []
    region = head.face
    if half:
        right = head.mean_mm[region, 0] < 0  # the person's right is at negative x
        region = region[right if half == "right" else ~right]
    mm_from_cam = (scene.mm_from_unit @ scene.unit_from_cam).double().numpy()
    size = (scene.masks.shape[1], scene.masks.shape[2])
    cameras = [
        camera.decompose(k @ np.linalg.inv(pose)[:3])
        for k, pose in zip(scene.px_from_cam.double().numpy(), mm_from_cam, strict=True)
    ]
    for number, (image, outline, (px_from_cam, pose)) in enumerate(zip(scene.images, scene.masks, cameras, strict=True)):
        one = (px_from_cam[None], pose[None], size)
        try:
            whole = rays.masks(template_mm, head.faces, head.face, *one)[0]
        except ValueError as error:
            raise ValueError(
                f"{scene.name}: in photograph {scene.views[number]}, {error}; is the template fitted to it?"
            ) from None
        part = rays.masks(template_mm, head.faces, region, *one)[0] if half else whole
        inside = whole & outline.numpy()
        if inside.sum() < FEWEST_PX or inside.sum() < 0.5 * whole.sum():
            raise ValueError(f"{scene.name}: the template's face is not in photograph {scene.views[number]}; is it fitted to it?")
        row, column = np.nonzero(whole)
        low = np.maximum([row.min() - MARGIN_PX, column.min() - MARGIN_PX], 0)
        high = np.minimum([row.max() + MARGIN_PX + 1, column.max() + MARGIN_PX + 1], whole.shape)
        cut = (slice(low[0], high[0]), slice(low[1], high[1]))
        face = torch.from_numpy(part & outline.numpy())[cut][..., None].float()
        seen_half = torch.from_numpy(~whole | part)[cut][..., None].float()
        pictures.append(image[cut] * face)
        known.append(seen_half)
        faces.append(face)
        shifted = px_from_cam - np.array([[0, 0, low[1]], [0, 0, low[0]], [0, 0, 0]])
        cut_px = (int(high[0] - low[0]), int(high[1] - low[1]))
        views.append(View(torch.from_numpy(shifted), torch.from_numpy(np.linalg.inv(pose)), cut_px))
    if sum(float(face.sum()) for face in faces) < FEWEST_PX:
        raise ValueError(f"{scene.name}: no photograph sees the {half} half of the face")
    return _padded(pictures, known, faces, views)


def _padded(pictures: list[Tensor], known: list[Tensor], faces: list[Tensor], views: list[View]) -> Shots:
    """Cuts of several sizes as one batch, black and unseen beyond their own."""
    height, width = (max(view.size_px[k] for view in views) for k in range(2))

    def pad(parts: list[Tensor]) -> Tensor:
        return torch.stack([torch.nn.functional.pad(x, (0, 0, 0, width - x.shape[1], 0, height - x.shape[0])) for x in parts])

    return Shots(pad(pictures), pad(known), pad(faces), [view._replace(size_px=(height, width)) for view in views])


def track(model: Model, shots: Shots, template_mm: np.ndarray, config: Config = LAPTOP) -> Tracked:
    """The Gaussians of a person on a template (N, 3), as one of `WAYS`; ValueError if it is not of the model's topology."""
    model.head.check(template_mm, "the tracked template")
    device = sdf.device(config.device)
    field, shots, template = model.field.to(device), shots.to(device), torch.from_numpy(template_mm).float().to(device)
    codes, history = model.codes.to(device), list[dict[str, float]]()

    def made(code: Tensor) -> Gaussians:
        return field(code[None], template[None])[0]

    if config.way == "free":
        found = _free(_grey(model, template), shots, config, history)
        return Tracked(found, None, torch.zeros_like(found.colours).cpu(), history)
    code = nearest(model, shots, template) if config.way == "nearest" else codes.mean(dim=0)
    tone = torch.zeros((2, 3), device=device)
    moved = [(code, config.step_size if config.way == "code" else 0.0), (tone, config.tone_step_size)]
    code, tone = _optimized(lambda code, tone: learn.loss(_toned(made(code), tone), shots), moved, config.steps, history)
    with torch.no_grad():
        plain = made(code)
        toned = _toned(plain, tone)
    hold = config.hold / len(shots.views)

    def held(added: Tensor) -> Tensor:
        return learn.loss(coloured(toned, added), shots) + hold * added.square().mean()

    start_at = [(torch.zeros_like(toned.colours), config.colour_step_size)]
    (added,) = _optimized(held, start_at, config.colour_steps, history)
    found = coloured(toned, added)
    return Tracked(found, code.cpu(), (_logits(found.colours) - _logits(plain.colours)).cpu(), history)


def _logits(colours: Tensor) -> Tensor:
    return torch.logit(colours, eps=1e-4)


def coloured(gaussians: Gaussians, added: Tensor) -> Gaussians:
    """Gaussians to whose colours' logits something (G, 3) is added."""
    return gaussians._replace(colours=torch.sigmoid(_logits(gaussians.colours) + added))


def _toned(gaussians: Gaussians, tone: Tensor) -> Gaussians:
    """Gaussians with the logits of each colour multiplied by one more than the first of a tone (2, 3), the second added."""
    return gaussians._replace(colours=torch.sigmoid(_logits(gaussians.colours) * (1 + tone[0]) + tone[1]))


def look(model: Model, people: learn.Identities, config: Config, unseen: int = 0) -> float:
    """How well people are tracked from the middle of their pictures: the PSNR of the others that show their face, in dB.

    The last `unseen` pictures are not in a row with the rest, and are none to track from.
    """
    middle = (people.cameras - unseen - 1) // 2
    found = []
    for person in range(len(people)):
        template = people.of(person, "template_mm").numpy()
        shots = learn.shots_of(people, person, list(range(people.cameras)))
        tracked = track(model, shots.of([middle]), template, config)
        shown = shots.face.flatten(1).any(dim=1)
        rest = shots.of([number for number in range(people.cameras) if number != middle and shown[number]])
        with torch.no_grad():
            found.append(learn.psnr_db(learn.seen(tracked.gaussians, rest.views).cpu(), rest))
    return float(np.mean(found))


@torch.no_grad()
def render(
    gaussians: Gaussians, px_from_cam: Tensor, unit_from_cam: Tensor, mm_from_unit: Tensor, size_px: tuple[int, int]
) -> Rendered:
    """Pictures of `size_px` (height, width) as cameras (V, 3, 3), (V, 4, 4) of a scene see Gaussians, on black."""
    mm_from_cam = (mm_from_unit @ unit_from_cam).double().numpy()
    pictures, covered = [], []
    for intrinsics, pose in zip(px_from_cam.double().numpy(), mm_from_cam, strict=True):
        view = learn.view_of(intrinsics @ np.linalg.inv(pose)[:3], size_px)
        picture, part = rasterizer.rasterize(gaussians, view)
        pictures.append(picture.cpu())
        covered.append(part.cpu() > rasterizer.LEAST)
    height, width = size_px
    if not pictures:
        return Rendered(torch.zeros((0, height, width, 3)), torch.zeros((0, height, width), dtype=torch.bool))
    return Rendered(torch.stack(pictures).clamp(0, 1), torch.stack(covered))


def tensors(tracked: Tracked, template_code: np.ndarray, template_mm: np.ndarray) -> dict[str, Tensor]:
    """What there is of a tracked person, by name: the Gaussians, the code, and the template with its own code."""
    named = {name: value.detach().cpu() for name, value in tracked.gaussians._asdict().items()}
    named |= {"template_code": torch.from_numpy(template_code), "template_mm": torch.from_numpy(template_mm)}
    return named | {"added": tracked.added} | ({"code": tracked.code} if tracked.code is not None else {})


@torch.no_grad()
def nearest(model: Model, shots: Shots, template_mm: Tensor) -> Tensor:
    """The code, of those that were learned from, whose Gaussians on a template (N, 3) explain the photographs best."""
    codes = model.codes.to(template_mm.device)
    losses = [float(learn.loss(model.field(code[None], template_mm[None])[0], shots)) for code in codes]
    return codes[int(np.argmin(losses))]


def _grey(model: Model, template_mm: Tensor) -> Gaussians:
    """Grey, round Gaussians on a template, as large as they are apart: what a field begins with."""
    where, count = model.field.where.to(template_mm.device), len(model.field.mean_opacity)
    half = template_mm.new_full((count,), 0.5)
    around = template_mm.new_tensor([1.0, 0, 0, 0]).expand(count, 4)
    return Gaussians(
        where.means(template_mm), where.spacing_mm.log()[:, None].expand(-1, 3), around, half, half[:, None].expand(-1, 3)
    )


def _free(start: Gaussians, shots: Shots, config: Config, history: training.History) -> Gaussians:
    """Gaussians that become, but for their places, whatever explains the photographs."""
    moved = [_logits(start.colours), start.log_scales, start.rotations, torch.logit(start.opacities, eps=1e-4)]

    def of(colours: Tensor, log_scales: Tensor, rotations: Tensor, opacities: Tensor) -> Gaussians:
        return Gaussians(start.means, log_scales, rotations, torch.sigmoid(opacities), torch.sigmoid(colours))

    values = [(value, config.colour_step_size) for value in moved]
    found = of(*_optimized(lambda *now: learn.loss(of(*now), shots), values, config.free_steps, history))
    return Gaussians(*(value.detach() for value in found))


def _optimized(
    loss: Callable[..., Tensor], start: list[tuple[Tensor, float]], steps: int, history: training.History
) -> list[Tensor]:
    """The values that make a loss small, each from its start with its step size, along a cosine; those of step size 0 stay."""
    if not any(size for _, size in start):
        return [value for value, _ in start]
    values = [torch.nn.Parameter(value.detach().clone(), requires_grad=size > 0) for value, size in start]
    groups = [training.Group([value], size) for value, (_, size) in zip(values, start, strict=True) if size > 0]
    optimizers, factor = training.optimizers(*groups), training.cosine(max(1, steps), 0.05)
    for step in range(steps):
        training.begin_step(optimizers, factor(step))
        found = loss(*values)
        moving = [value for value in values if value.requires_grad]
        for value, gradient in zip(moving, torch.autograd.grad(found, moving), strict=True):  # of no network
            value.grad = gradient
        training.end_step(optimizers)
        history.append({"step": float(len(history)), "picture": float(found.detach())})
        if wrong := training.check_finite(history[-1]):
            raise ValueError(f"tracking: before step {step}, {wrong}")
    return [value.detach() for value in values]
