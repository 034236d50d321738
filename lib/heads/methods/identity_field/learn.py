"""How the field is trained: pictures of many people, of each the codes and of all the networks, and when to stop.

The loss, the step sizes and the order of people are those of Kato et al. (`PAPER`; only the epsilon of Adam is 1e-15 there), or
what trains in a processor's minutes (`LAPTOP`). Longer training makes the tracking of new people worse, they say; so validation
people are tracked from one picture on the way, and the last field that tracked them as well as any is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from heads import camera, morphable
from heads.gaussians import likeness, rasterizer
from heads.gaussians.rasterizer import Gaussians, View
from heads.methods.identity_field import field as fields
from heads.methods.identity_field.field import Field, Places, Shape
from heads.morphable import Morphable
from heads.surface import sdf, training

FACE, HIDDEN = 1, 2  # in a mask: the face region, and where something else, as hair, is in front of it
PARTS = {  # the parameters that share a step size, by how their names begin
    "generator": ("mapping", "constant", "levels"),
    "colour": ("colour",),
    "networks": ("scale", "rotation", "opacity", "position"),
    "embeddings": ("embeddings",),
    "codes": ("codes",),
    "means": ("mean_",),
}


class Identities(Protocol):
    """People with pictures of their faces to learn from, as `data.identities` has them."""

    @property
    def cameras(self) -> int:
        """How many pictures each person has."""

    @property
    def size(self) -> int:
        """Pixels along a side of a picture."""

    def __len__(self) -> int: ...

    def of(self, person: int, name: str) -> Tensor:
        """Of a person: `pictures` (C, S, S, 3) uint8, `masks` (C, S, S) of `FACE` and `HIDDEN`, `px_from_mm` (C, 3, 4),
        `template_mm` (N, 3)."""


@dataclass(frozen=True)
class Config:
    """How `train` works; the defaults are the published constants."""

    shape: Shape = field(default_factory=Shape)
    steps: int = 352_000  # 2,200 times 128 people, 8 at a time, 10 steps each
    people: int = 8  # per step
    pictures: int = 1  # of each, per step
    unseen: int = 0  # of each person's pictures the last so many are not learned from
    generator_step_size: float = 4e-3
    colour_step_size: float = 2e-3
    networks_step_size: float = 1e-3
    embeddings_step_size: float = 1e-3
    codes_step_size: float = 1e-3
    means_step_size: float = 1e-4
    warm_up: int = 0  # steps
    schedule: str = "constant"  # or cosine
    scale_weight: float = 1e-3  # of the Gaussians' size, in spacings,
    scale_from: float = 2000 / 2200  # from this part of the steps on
    looks: int = 10  # how often validation people are tracked,
    as_good_db: float = 0.2  # by how much less than the best a later field is as good: about what chance makes of so few people
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("steps", "people", "pictures", "looks", *(f"{part}_step_size" for part in PARTS)):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("unseen", "warm_up", "scale_weight", "as_good_db"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f"schedule must be constant or cosine, not {self.schedule!r}")


PAPER = Config()
LAPTOP = replace(
    PAPER,
    shape=Shape(channels=(64, 64, 64, 48, 32), anchors=1024, each=8, opacity=0.5, spread=1.0, reach=1.5),
    steps=5000,
    people=1,
    pictures=4,
    unseen=4,
    networks_step_size=2e-3,
    embeddings_step_size=2e-3,
    codes_step_size=1e-2,
    means_step_size=5e-3,
    looks=8,
    warm_up=100,
    schedule="cosine",
)
SMOKE = replace(
    LAPTOP,
    shape=Shape(
        code=8, latent=8, channels=(8, 8, 8), features=8, anchors=40, each=4, hidden=8, opacity=0.3, spread=1.0, reach=1.5
    ),
    steps=12,
    pictures=2,
    warm_up=2,
    looks=2,
)
PRESETS = {"PAPER": PAPER, "LAPTOP": LAPTOP, "SMOKE": SMOKE}


class Shots(NamedTuple):
    """Pictures (V, H, W, 3) in [0, 1], black outside the face, what is `known` of them (V, H, W, 1), 0 or 1, and their cameras.

    `face` (V, H, W, 1) is 1 in the face.
    """

    pictures: Tensor
    known: Tensor
    face: Tensor
    views: list[View]

    def to(self, device: torch.device | str) -> "Shots":
        """The same on another device; cameras stay where they are."""
        return Shots(self.pictures.to(device), self.known.to(device), self.face.to(device), self.views)

    def of(self, which: list[int]) -> "Shots":
        """Some of them."""
        return Shots(self.pictures[which], self.known[which], self.face[which], [self.views[n] for n in which])


def view_of(px_from_mm: np.ndarray, size_px: tuple[int, int]) -> View:
    """The camera of a projection (3, 4)."""
    px_from_cam, mm_from_cam = camera.decompose(px_from_mm)
    return View(torch.from_numpy(px_from_cam), torch.from_numpy(np.linalg.inv(mm_from_cam)), size_px)


def shots_of(people: Identities, person: int, which: list[int], views: list[View] | None = None) -> Shots:
    """Some pictures of a person to learn from; `views` are all the cameras, where they are known already."""
    masks = people.of(person, "masks")[which, :, :, None]
    face = (masks == FACE).float()
    pictures = people.of(person, "pictures")[which].float() / 255 * face
    if views is None:
        matrices = people.of(person, "px_from_mm").double().numpy()
        chosen = [view_of(matrices[number], (people.size, people.size)) for number in which]
    else:
        chosen = [views[number] for number in which]
    return Shots(pictures, (masks != HIDDEN).float(), face, chosen)


def seen(gaussians: Gaussians, views: list[View]) -> Tensor:
    """Pictures (V, H, W, 3) on black."""
    return torch.stack([rasterizer.rasterize(gaussians, view)[0] for view in views])


def loss(gaussians: Gaussians, shots: Shots) -> Tensor:
    """How far the Gaussians' pictures are from these, where they are known."""
    return likeness.loss(seen(gaussians, shots.views) * shots.known, shots.pictures * shots.known)


def psnr_db(pictures: Tensor, shots: Shots) -> float:
    """The mean over pictures (V, H, W, 3), each of which shows some of the face, of the PSNR in the face, in decibels."""
    squares = ((pictures - shots.pictures).square() * shots.face).sum(dim=(1, 2, 3)) / (3 * shots.face.sum(dim=(1, 2, 3)))
    return float((-10 * squares.clamp(min=1e-10).log10()).mean())


class Model(NamedTuple):
    """A field, on the template that it was learned with, and the templates (P, N, 3) of the people whose codes it has."""

    field: Field
    head: Morphable
    people_mm: Tensor

    @property
    def codes(self) -> Tensor:
        """Everybody's (P, C)."""
        return torch.stack(list(self.field.codes)).detach()


def train(
    name: str,
    people: Identities,
    head: Morphable,
    config: Config,
    *,
    seed: int = 0,
    look: Callable[[Model], float] | None = None,
    on_step: training.OnStep | None = None,
    resume: dict[str, Tensor] | None = None,
) -> tuple[Model, training.History, list[tuple[int, float]]]:
    """Learn a field, and keep the last for which `look`, which tracks validation people, gave about the most; losses, and what
    it gave as (step, decibels)."""
    head.check(people.of(0, "template_mm").numpy(), f"the first of the people of {name}")
    if people.cameras <= config.unseen:
        raise ValueError(f"{name}: people have {people.cameras} pictures; expected more than the {config.unseen} to leave out")
    device, generator = sdf.device(config.device), torch.Generator().manual_seed(seed)
    where = fields.places(head, config.shape.anchors, config.shape.each)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Field(config.shape, len(people), where).to(device)
    templates = [people.of(person, "template_mm") for person in range(len(people))]
    model = Model(network, head, torch.stack(templates))
    groups = [
        training.Group(fields.named(network, begins), getattr(config, f"{part}_step_size")) for part, begins in PARTS.items()
    ]
    learner = training.Learner(f"field {name}", dict(network.named_parameters()), training.optimizers(*groups), generator)
    matrices = [people.of(person, "px_from_mm").double().numpy() for person in range(len(people))]
    views = [[view_of(matrix, (people.size, people.size)) for matrix in own] for own in matrices]
    spacing = where.spacing_mm.to(device)[:, None]
    marks = {round(config.steps * (number + 1) / config.looks) for number in range(config.looks)}
    curve: list[tuple[int, float]] = []
    best = {key: value.clone() for key, value in network.state_dict().items()}
    if resume is not None:
        curve = [(int(step), float(value)) for step, value in resume["curve"].tolist()]
        best = {key.removeprefix("best."): value.to(device) for key, value in resume.items() if key.startswith("best.")}

    def step_of(step: int) -> dict[str, Tensor]:
        who = torch.randint(len(people), (config.people,), generator=generator).tolist()
        codes = torch.stack([network.codes[person] for person in who])
        terms = {"picture": torch.zeros((), device=device), "scale": torch.zeros((), device=device)}
        for person, made in zip(who, network(codes, torch.stack([templates[person] for person in who]).to(device)), strict=True):
            which = torch.randperm(people.cameras - config.unseen, generator=generator)[: config.pictures].tolist()
            terms["picture"] = terms["picture"] + loss(made, shots_of(people, person, which, views[person]).to(device))
            terms["scale"] = terms["scale"] + (made.log_scales.exp() / spacing).mean()
        late = config.scale_weight if step >= config.scale_from * config.steps else 0.0
        total = (terms["picture"] + late * terms["scale"]) / config.people
        total.backward()  # type: ignore[no-untyped-call]
        training.end_step(learner.optimizers)
        if step + 1 in marks and look is not None:
            curve.append((step + 1, look(model)))
            if curve[-1][1] >= max(value for _, value in curve) - config.as_good_db:
                best.update({key: value.clone() for key, value in network.state_dict().items()})
        return {key: value.detach() / config.people for key, value in terms.items()}

    def factor(step: int) -> float:
        slow = min(1.0, (step + 1) / config.warm_up) if config.warm_up else 1.0
        return slow * (training.cosine(config.steps, 0.02)(step) if config.schedule == "cosine" else 1.0)

    def extra() -> dict[str, Tensor]:
        kept = {f"best.{key}": value.detach().cpu().clone() for key, value in best.items()}
        return kept | {"curve": torch.tensor(curve, dtype=torch.float64).reshape(-1, 2)}

    _, history = training.train(
        learner,
        step_of,
        config.steps,
        terms=("picture", "scale"),
        factor=factor,
        extra=extra,
        on_step=on_step,
        resume=resume,
    )
    if curve:
        network.load_state_dict(best)
    return model, history, curve


def about(config: Config, model: Model) -> dict[str, Any]:
    """What a checkpoint has to say, so that it can be restored."""
    return {
        "method": "identity field",
        "shape": vars(config.shape),
        "people": len(model.people_mm),
        "landmarks": model.head.names,
    }


def tensors(model: Model) -> dict[str, Tensor]:
    """All of a model by name."""
    parts = {"field": model.field.state_dict(), "template": model.head.tensors(), "places": vars(model.field.where)}
    named = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    return named | {"people_mm": model.people_mm}


def restored(found: dict[str, Tensor], said: dict[str, Any], where: str) -> Model:
    """A model from a checkpoint's tensors and description; ValueError, which names `where`, if it is none."""
    if said.get("method") != "identity field":
        raise ValueError(f"{where}: not a checkpoint of an identity field")

    def part(name: str) -> dict[str, Tensor]:
        return {key.removeprefix(f"{name}."): value for key, value in found.items() if key.startswith(f"{name}.")}

    try:
        shape = Shape(**dict(said["shape"], channels=tuple(said["shape"]["channels"])))
        network = Field(shape, int(said["people"]), Places(**part("places")))
        network.load_state_dict(part("field"))
        people_mm = found["people_mm"]
    except (KeyError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ValueError(f"{where}: not a field of the shape that it says ({type(error).__name__})") from None
    return Model(network.requires_grad_(False), morphable.restored(part("template"), tuple(said["landmarks"]), where), people_mm)
