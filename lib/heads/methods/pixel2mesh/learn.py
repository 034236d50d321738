"""How Pixel2Mesh is trained: as published, by Chamfer distances to points of the surface, or by vertices that are registered.

The published losses are those of noahcao/Pixel2Mesh with the settings of the variant for faces: Chamfer distances of all levels,
in which the way from the mesh to the surface counts 0.55; edges short; Laplacian coordinates kept from level to level; moves
small; edges at right angles to the surface's normals. Nearest neighbours come from a k-d tree.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import igl
import numpy as np
import torch
import trimesh
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from heads import camera
from heads.methods.pixel2mesh import backbones
from heads.methods.pixel2mesh import crop as cropping
from heads.methods.pixel2mesh.crop import Crop
from heads.methods.pixel2mesh.network import Camera, Network, Placed, Shape
from heads.surface import sdf, training
from heads.template import Template

TARGETS = ("surface", "registered")
REGIONS = (11_000, 4_000, 3_000)  # points that the variant for faces draws of each of its regions
EXACT = np.zeros(5)  # a crop around the true middle


class Faces(Protocol):
    """People with photographs of their faces to learn from, as `data.faces` has them."""

    @property
    def photographs(self) -> int:
        """How many each person has."""

    @property
    def head(self) -> dict[str, Tensor]:
        """The mean head: `head_mm` (N, 3), `head_faces` (F, 3), and where the registered vertices are on it, `mean_mm` (V, 3)."""

    def __len__(self) -> int: ...

    def of(self, person: int, name: str) -> Tensor:
        """Of a person: `pictures` (P, S, S, 3) uint8 and `px_from_mm` (P, 3, 4); `face` (V, 3), `landmarks_mm` (6, 3); `points`
        and `normals` (N, 3)."""


class Cropped(Protocol):
    """A crop of a photograph by an orthographic camera, as `data.aflw` has them.

    `picture` (H, W, 3) uint8; points of the face (N, 3) and `normals` (N, 3) in the crop's frame, in units; `regions` (N,) of
    them.
    """

    @property
    def picture(self) -> np.ndarray:
        """What is seen."""

    @property
    def points(self) -> np.ndarray:
        """Where the face is."""

    @property
    def normals(self) -> np.ndarray:
        """The face's, there."""

    @property
    def regions(self) -> np.ndarray:
        """Which of `REGIONS` each point is of."""


class Crops(Protocol):
    """Many of these."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Cropped: ...


@dataclass(frozen=True)
class Config:
    """How `train` works; the defaults are the published constants of the variant for faces."""

    shape: Shape = field(default_factory=Shape)
    target: str = "surface"
    steps: int = 150_000  # 100 passes over 1,500 pictures
    whole_steps: int = 0  # of these, in the beginning, that only turn, move and shape the template as a whole: they are cheap
    pictures: int = 1  # per step
    points: int = 18_000  # of the surface, per picture
    components: int = 0  # principal components of the registered faces that a posed network is given as directions
    step_size: float = 1e-4
    whole_step_size: float = 1e-4  # of what says how the template is turned, moved and shaped: its inputs are many
    schedule: str = "published"  # 0.3 times as long after 30, 45, 60, 75 % of the steps; or cosine
    chamfer_weight: float = 100.0
    chamfer_levels: tuple[float, ...] = (0.5, 1.0, 1.0, 1.0)
    opposite: float = 0.55
    edge_weight: float = 0.1
    laplace_weight: float = 0.5
    laplace_levels: tuple[float, ...] = (0.2, 1.5, 1.2, 1.0)
    move_weight: float = 0.033
    normal_weight: float = 1.6e-4
    recognised_weight: float = 1.0  # of where on the template features say that they are from, where vertices are registered,
    shape_weight: float = 3.0  # of the shape that the template is given as a whole,
    place_weight: float = 0.2  # and of the vertices' middle
    clip: float = 0.0  # of the gradient's norm; 0: none
    disturbed: bool = False  # whether photographs are learned from in other colours and contrasts too
    jitter_mm: float = 4.0  # of the middle of the crop in training, in each direction,
    depth_jitter_mm: float = 12.0  # and, besides, along the view
    roll_jitter_degrees: float = 0.0
    weights: str = ""  # the file of those that an encoder other than our own begins with
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.weights and self.shape.encoder == "own":
            raise ValueError(f"weights: our own encoder begins with random ones, not with {self.weights}")
        if self.target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)}, not {self.target!r}")
        for name in ("steps", "pictures", "points", "step_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if (self.target == "registered") != self.shape.posed or (self.whole_steps and not self.shape.posed):
            raise ValueError(
                "registered vertices are the target of a posed network, and points of the surface that of another one"
            )


PAPER = Config()
PUBLISHED = replace(  # in the minutes that a laptop has for either
    PAPER,
    shape=Shape(hidden=(32, 32, 32, 32), residuals=2, channels=(16, 32, 64, 128), crop=112),
    steps=2200,
    pictures=2,
    points=2000,
    schedule="cosine",
    step_size=1e-3,
    clip=1.0,
)
LAPTOP = replace(
    PUBLISHED,
    shape=Shape(hidden=(48, 32), residuals=2, channels=(32, 64, 128, 256), looked_up=24, crop=112, posed=True),
    target="registered",
    components=64,
    steps=3600,
    whole_steps=600,
    pictures=16,
    disturbed=True,
    roll_jitter_degrees=8.0,
    whole_step_size=2e-4,
)
REGISTERED_PAPER = replace(
    LAPTOP, shape=replace(PAPER.shape, posed=True, looked_up=64, hidden=(192, 192, 192)), steps=100_000, whole_steps=20_000
)
PUBLISHED_SMOKE = replace(PUBLISHED, shape=Shape((16, 16, 16, 16), 1, (8, 8, 16, 16), crop=64), steps=10, pictures=2, points=500)
SMOKE = replace(
    LAPTOP,
    shape=Shape((16, 16), 1, (8, 8, 16, 16), looked_up=8, crop=64, posed=True),
    components=4,
    steps=20,
    pictures=2,
    points=500,
)
PRESETS = {
    "published": {"PAPER": PAPER, "LAPTOP": PUBLISHED, "SMOKE": PUBLISHED_SMOKE},
    "registered": {"PAPER": REGISTERED_PAPER, "LAPTOP": LAPTOP, "SMOKE": SMOKE},
}


class Batch(NamedTuple):
    """Crops with their cameras, and what is in them, in their frames: registered vertices (B, V, 3), and points of the surface
    with normals (B, N, 3). `shapes` (B, V, 3) are the registered vertices of heads that look straight ahead, about their
    middle."""

    images: Tensor
    camera: Camera
    vertices: Tensor
    shapes: Tensor
    points: Tensor
    normals: Tensor


def crop_of(faces: Faces, person: int, photograph: int, off: np.ndarray) -> Crop:
    """The crop around a learned face whose middle is taken to be beside that of its landmarks: by three numbers of the world, and
    a
    fourth along the view, away from the camera; a fifth rolls the crop, in radians."""
    px_from_cam, mm_from_cam = camera.decompose(faces.of(person, "px_from_mm")[photograph].double().numpy())
    middle = faces.of(person, "landmarks_mm").mean(dim=0).double().numpy()
    away = middle - mm_from_cam[:3, 3]
    return cropping.around(px_from_cam, mm_from_cam, middle + off[:3] + off[3] * away / np.linalg.norm(away), off[4])


def draw(faces: Faces, which: list[tuple[int, int]], config: Config, generator: torch.Generator) -> Batch:
    """A batch of (person, photograph)."""
    spread = torch.tensor([config.jitter_mm] * 3 + [config.depth_jitter_mm, np.radians(config.roll_jitter_degrees)])
    off = (spread * torch.randn((len(which), 5), generator=generator)).double().numpy()
    crops = [crop_of(faces, person, photograph, o) for (person, photograph), o in zip(which, off, strict=True)]
    pictures = torch.stack([faces.of(person, "pictures")[photograph] for person, photograph in which])
    images, seen = cropping.cut(pictures, crops, config.shape.crop)
    if config.disturbed:
        images = cropping.disturbed(images, generator)
    vertices, shapes, points, normals = [], [], [], []
    for (person, _), crop in zip(which, crops, strict=True):
        face = faces.of(person, "face")
        vertices.append(cropping.in_frame(face, crop))
        shapes.append((face - face.mean(dim=0)) / cropping.MM_PER_UNIT)
        rows = torch.randint(
            len(faces.of(person, "points")), (config.points if config.target == "surface" else 1,), generator=generator
        )
        points.append(cropping.in_frame(faces.of(person, "points")[rows], crop))
        turn = torch.from_numpy(crop.mm_from_frame[:3, :3] / cropping.MM_PER_UNIT).float()
        normals.append(faces.of(person, "normals")[rows] @ turn)
    return Batch(images, seen, torch.stack(vertices), torch.stack(shapes), torch.stack(points), torch.stack(normals))


class Mirror(NamedTuple):
    """Where the mirror image of each registered vertex is: on a triangle of vertices (V, 3), with these weights (V, 3)."""

    rows: Tensor
    weights: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """The registered vertices (V, 3) of the mirrored face."""
        return (self.weights[..., None] * points[self.rows]).sum(dim=1) * torch.tensor([-1.0, 1.0, 1.0])


def mirror(mean_mm: Tensor, faces: np.ndarray) -> Mirror:
    """How the template's vertices (V, 3) on the mean head, and its triangles, are mirrored."""
    points = mean_mm.double().numpy()
    _, triangles, closest = igl.point_mesh_squared_distance(points * [-1, 1, 1], points, faces)
    rows = faces[triangles]
    weights = trimesh.triangles.points_to_barycentric(points[rows], closest)
    return Mirror(torch.from_numpy(rows), torch.from_numpy(weights).float())


def random_batch(faces: Faces, config: Config, generator: torch.Generator, mirrored: Mirror | None = None) -> Batch:
    """A batch of random people, of whom half are mirrored if it is said how."""
    people = torch.randint(len(faces), (config.pictures,), generator=generator).tolist()
    shots = torch.randint(faces.photographs, (config.pictures,), generator=generator).tolist()
    batch = draw(faces, list(zip(people, shots, strict=True)), config, generator)
    if mirrored is None:
        return batch
    chosen = torch.rand(config.pictures, generator=generator) < 0.5
    flip = torch.where(chosen[:, None, None], torch.tensor([-1.0, 1.0, 1.0]), torch.ones(3))
    return Batch(
        torch.where(chosen[:, None, None, None], batch.images.flip(3), batch.images),
        batch.camera,
        torch.stack([mirrored(one) if turned else one for one, turned in zip(batch.vertices, chosen, strict=True)]),
        torch.stack([mirrored(one) if turned else one for one, turned in zip(batch.shapes, chosen, strict=True)]),
        batch.points * flip,
        batch.normals * flip,
    )


def crops_batch(crops: Crops, config: Config, generator: torch.Generator) -> Batch:
    """A batch of random crops by an orthographic camera, with the published numbers of points of each region, or their shares."""
    size, images, points, normals, matrices = config.shape.crop, [], [], [], []
    for number in torch.randint(len(crops), (config.pictures,), generator=generator).tolist():
        one = crops[number]
        picture = torch.from_numpy(one.picture).permute(2, 0, 1)[None].float() / 255
        images.append(functional.interpolate(picture, size=(size, size), mode="bilinear", antialias=True)[0])
        regions = [np.flatnonzero(one.regions == region) for region in range(len(REGIONS))]
        shares = [share * (len(rows) > 0) for share, rows in zip(REGIONS, regions, strict=True)]
        counts = [round(config.points * share / sum(shares)) for share in shares]
        counts[shares.index(max(shares))] += config.points - sum(counts)
        drawn = [
            rows[torch.randint(max(1, len(rows)), (n,), generator=generator).numpy()]
            for rows, n in zip(regions, counts, strict=True)
        ]
        chosen = np.concatenate(drawn)
        points.append(torch.from_numpy(one.points[chosen]).float())
        normals.append(torch.from_numpy(one.normals[chosen]).float())
        across = size / 2 * cropping.MM_PER_UNIT / cropping.HALF_MM
        down = across * one.picture.shape[1] / one.picture.shape[0]  # pictures that are not square become so
        matrices.append(torch.tensor([[across, 0, 0, (size - 1) / 2], [0, -down, 0, (size - 1) / 2], [0, 0, 0, 1.0]]))
    seen = Camera(torch.stack(matrices), size)
    return Batch(
        torch.stack(images),
        seen,
        torch.zeros(len(images), 0, 3),
        torch.zeros(len(images), 0, 3),
        torch.stack(points),
        torch.stack(normals),
    )


def train(
    name: str,
    batches: Callable[[torch.Generator], Batch],
    template: Template,
    config: Config,
    *,
    seed: int = 0,
    on_step: training.OnStep | None = None,
    resume: dict[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], training.History]:
    """Learn the network from random batches: its tensors, and the history of the losses."""
    device, generator = sdf.device(config.device), torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(config.shape, template)
    if config.weights and isinstance(network.encoder, backbones.Backbone):
        backbones.load(network.encoder, config.weights)
    network = network.to(device)
    named = dict(network.named_parameters())
    wide = [parameter for key, parameter in named.items() if key.startswith("whole.")]
    rest = [parameter for key, parameter in named.items() if not key.startswith("whole.")]
    groups = [training.Group(rest, config.step_size), *([training.Group(wide, config.whole_step_size)] if wide else [])]
    optimizers = training.optimizers(*groups)
    learner = training.Learner(f"network {name}", named, optimizers, generator)
    weights = {"recognised": config.recognised_weight, "shape": config.shape_weight, "place": config.place_weight} | {
        f"level{number}": 1.0 for number in range(len(template.levels))
    }
    if config.target == "surface":
        weights = {key: getattr(config, f"{key}_weight") for key in ("chamfer", "normal", "edge", "laplace", "move")}

    def step_of(step: int) -> dict[str, Tensor]:
        batch = batches(generator)
        batch = Batch(
            batch.images.to(device), Camera(batch.camera.matrix.to(device), batch.camera.size), *(x.to(device) for x in batch[2:])
        )
        early = step < config.whole_steps
        placed = network.placed(batch.images, 1 if early else -1)
        if early:
            terms = dict.fromkeys(weights, torch.zeros((), device=device)) | registered_losses([placed.whole], placed, batch)
            terms["recognised"] = recognised_loss(network, placed, batch)
        else:
            found, before = network.traced(placed, batch.camera)
            if config.target == "surface":
                terms = published_losses(found, before, batch, template, config)
            else:
                terms = registered_losses(found, placed, batch) | {"recognised": recognised_loss(network, placed, batch)}
        training.weighted_sum(terms, weights).backward()
        if config.clip:
            torch.nn.utils.clip_grad_norm_(named.values(), config.clip)
        training.end_step(optimizers)
        return terms

    def factor(step: int) -> float:
        if config.schedule == "published":
            return stepped(step / config.steps)
        first, last = (0, config.whole_steps) if step < config.whole_steps else (config.whole_steps, config.steps)
        return training.cosine(last - first, end=0.02)(step - first)

    state, history = training.train(learner, step_of, config.steps, terms=weights, factor=factor, on_step=on_step, resume=resume)
    kept = {key: value.cpu() for key, value in network.state_dict().items() if key.startswith("encoder.")}  # also statistics
    return kept | {key: state[key] for key in named}, history


def stepped(share: float) -> float:
    """The published schedule: 0.3 times as long from each of four shares of the steps on."""
    return 0.3 ** sum(share >= first for first in (0.3, 0.45, 0.6, 0.75))


def registered_losses(found: list[Tensor], placed: Placed, batch: Batch) -> dict[str, Tensor]:
    """How far each level's vertices are from where they are registered, in units: all but their middle, and the middle.

    The two are apart because a photograph hardly tells how far away a face is, and that would drown the rest. So would the turn
    drown the shape, which therefore has a term of its own.
    """
    shape = placed.shape - placed.shape.mean(dim=1, keepdim=True)
    true = batch.shapes[:, : shape.shape[1]]
    terms = {"shape": (shape - (true - true.mean(dim=1, keepdim=True))).norm(dim=2).mean()}
    terms |= {"place": (found[-1].mean(dim=1) - batch.vertices[:, : found[-1].shape[1]].mean(dim=1)).norm(dim=1).mean()}
    for number, points in enumerate(found):
        away = points - batch.vertices[:, : points.shape[1]]
        terms[f"level{number}"] = (away - away.mean(dim=1, keepdim=True)).norm(dim=2).mean()
    return terms


def recognised_loss(network: Network, placed: Placed, batch: Batch, level: int = 1) -> Tensor:
    """How far features, looked up where vertices really are, are from telling which these are, over those that face the camera.

    Features that tell it see at once how far a vertex is from its place. In units, as a mean of distances.
    """
    faces = torch.from_numpy(network.levels[level].faces).to(batch.vertices.device)
    points = batch.vertices[:, : network.levels[level].count]
    one, two, three = (points[:, faces[:, corner]] for corner in range(3))
    normals = torch.linalg.cross(two - one, three - one)
    facing = torch.zeros_like(points[..., 2])
    for corner in range(3):
        facing = facing.index_add(1, faces[:, corner], normals[..., 2] / normals.norm(dim=2).clamp(min=1e-9))
    says = network.places(placed.maps, batch.camera, points)
    away = (says - network.points[: points.shape[1]]).norm(dim=2)
    return away[facing > 1.0].mean()


def published_losses(
    found: list[Tensor], before: list[Tensor], batch: Batch, template: Template, config: Config
) -> dict[str, Tensor]:
    """The published terms, summed over levels and without their weights, of the mesh at each level and `before` it was moved."""
    terms = {name: found[0].new_zeros(()) for name in ("chamfer", "normal", "edge", "laplace", "move")}
    for number, (points, old, level) in enumerate(zip(found, before, template.levels, strict=True)):
        there, back = nearest(points, batch.points)
        away = (points - gathered(batch.points, there)).square().sum(dim=2).mean()
        towards = (batch.points - gathered(points, back)).square().sum(dim=2).mean()
        terms["chamfer"] = terms["chamfer"] + config.chamfer_levels[number] * (towards + config.opposite * away)
        neighbours = level.neighbours.to(points.device)
        one, other = (torch.from_numpy(level.edges[:, end]).to(points.device) for end in (0, 1))
        edges = points[:, other] - points[:, one]
        terms["edge"] = terms["edge"] + edges.square().sum(dim=2).mean()
        normals = gathered(batch.normals, there)[:, one]
        cosine = functional.cosine_similarity(edges, normals, dim=2, eps=1e-8)
        terms["normal"] = terms["normal"] + cosine.abs().mean()
        change = laplacian(points, neighbours) - laplacian(old, neighbours)
        terms["laplace"] = terms["laplace"] + config.laplace_levels[number] * change.square().sum(dim=2).mean()
        if number:
            terms["move"] = terms["move"] + config.laplace_levels[number] * (points - old).square().sum(dim=2).mean()
    return terms


def nearest(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """For each of (B, N, 3) the nearest of (B, M, 3), and the reverse: numbers (B, N) and (B, M)."""
    a, b = one.detach().cpu().numpy(), other.detach().cpu().numpy()
    there = [cKDTree(q).query(p)[1] for p, q in zip(a, b, strict=True)]
    back = [cKDTree(p).query(q)[1] for p, q in zip(a, b, strict=True)]
    return torch.from_numpy(np.stack(there)).to(one.device), torch.from_numpy(np.stack(back)).to(one.device)


def gathered(values: Tensor, rows: Tensor) -> Tensor:
    """Rows (B, N) of values (B, M, C)."""
    return values.gather(1, rows[..., None].expand(-1, -1, values.shape[2]))


def laplacian(points: Tensor, neighbours: Tensor) -> Tensor:
    """How far vertices (B, V, 3) are from the means of their neighbours."""
    flat = points.transpose(0, 1).flatten(1)
    return points - (neighbours @ flat).view(points.shape[1], len(points), 3).transpose(0, 1)
