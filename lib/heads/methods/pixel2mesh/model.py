"""What is learned from many faces, and what it says of one photograph: Pixel2Mesh, and what it has to beat.

Kinds of models, in the order of what they know:

    mean         the mean face, as everybody's
    ridge        a linear map from the crop's grey pixels to how the mean face is turned, moved and shaped (ridge regression)
    published    Pixel2Mesh with the published losses, from half a sphere
    registered   Pixel2Mesh from the mean face, with registered vertices as its target
    components   principal components of faces, for an oracle that is fitted to the scan itself
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import igl
import numpy as np
import torch
import trimesh
from torch import Tensor
from torch.nn import functional

from heads import template as templates
from heads.methods.pixel2mesh import crop as cropping
from heads.methods.pixel2mesh import learn, locate, whole
from heads.methods.pixel2mesh.crop import Crop
from heads.methods.pixel2mesh.learn import Config, Faces
from heads.methods.pixel2mesh.network import Network, Shape, posed
from heads.scene import Scene
from heads.surface import training
from heads.template import Template

KINDS = ("mean", "ridge", "published", "registered", "components")
GREY = 32  # pixels a side of what ridge regression sees
ORACLE_COMPONENTS = 100
_PENALTIES = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)
_SHOTS = 3  # crops of each photograph that ridge regression learns from


@dataclass(frozen=True)
class Model:
    """One that is learned: its `kind`, its tensors by name, and the shape of its network if it has one."""

    kind: str
    tensors: dict[str, Tensor]
    shape: Shape | None = None

    @property
    def template(self) -> Template:
        """The mesh that it deforms, in units of the crop's frame."""
        half = templates.half_sphere()
        return Template(half.levels, self.tensors["points"].double().numpy(), self.tensors["directions"].double().numpy())


def about(kind: str, config: Config) -> dict[str, Any]:
    """What a checkpoint says of a model."""
    return {"kind": kind, "shape": asdict(config.shape) if kind in ("published", "registered") else None}


def restored(tensors: Mapping[str, Tensor], said: Mapping[str, Any], where: str) -> Model:
    """The model of a checkpoint; ValueError, beginning with `where`, for one of something else or of another size."""
    kind = said.get("kind")
    if kind not in KINDS:
        raise ValueError(f"{where}: not a model of faces ({kind!r}); expected one of {', '.join(KINDS)}, as notebook 20 makes")
    count = templates.half_sphere().levels[-1].count
    for name in ("points", "directions"):
        if name not in tensors or tuple(tensors[name].shape[-2:]) != (count, 3):
            raise ValueError(f"{where}: its {name} are not those of a template of {count} vertices; train it again")
    if kind not in ("published", "registered"):
        return Model(kind, dict(tensors))
    known: dict[str, Any] = dict(said["shape"])
    shape = Shape(**known | {name: tuple(known[name]) for name in ("hidden", "channels")})
    model = Model(kind, dict(tensors), shape)
    expected = {name: value.shape for name, value in Network(shape, model.template).state_dict().items()}
    for name, size in expected.items():
        if name not in tensors or tensors[name].shape != size:
            found = tuple(tensors[name].shape) if name in tensors else "missing"
            raise ValueError(f"{where}: {name} is {found}, and the network that it describes needs {tuple(size)}")
    return model


# ---- learning


def face_space(faces: Faces, components: int) -> Template:
    """The mean face about the middle of its landmarks as a template, with principal components of the people as directions."""
    half = templates.half_sphere()
    middles = torch.stack([faces.of(person, "landmarks_mm").mean(dim=0) for person in range(len(faces))])
    all_of = torch.stack([faces.of(person, "face") for person in range(len(faces))]) - middles[:, None]
    all_of = all_of.double() / cropping.MM_PER_UNIT
    mean = all_of.mean(dim=0)
    away = (all_of - mean).flatten(1)
    values, vectors = torch.linalg.eigh(away @ away.T)  # fewer people than coordinates
    count = min(components, len(faces) - 1)
    values, vectors = values.flip(0)[:count].clamp(min=1e-12), vectors.flip(1)[:, :count]
    directions = (vectors / values.sqrt()).T @ away * (values / len(faces)).sqrt()[:, None]
    return Template(half.levels, mean.numpy(), directions.unflatten(1, mean.shape).numpy())


def template_of(kind: str, faces: Faces, config: Config) -> Template:
    """What a model of this kind begins with."""
    if kind == "published":
        half = templates.half_sphere()
        return replace(half, points=half.points - [0, 0, 1])  # about where a face is, as large as one
    count = {"registered": config.components, "mean": 0}.get(kind, ORACLE_COMPONENTS)
    return face_space(faces, count)


def learned(
    kind: str,
    name: str,
    faces: Faces,
    config: Config,
    *,
    seed: int = 0,
    on_step: training.OnStep | None = None,
    resume: dict[str, Tensor] | None = None,
) -> tuple[Model, training.History]:
    """A model of this kind, and the history of its losses, which is empty where nothing is trained by steps."""
    template = template_of(kind, faces, config)
    basis = {"points": torch.from_numpy(template.points).float(), "directions": torch.from_numpy(template.directions).float()}
    head = {f"head.{name}": values for name, values in faces.head.items()}
    if kind in ("mean", "components"):
        return Model(kind, basis | head), []
    if kind == "ridge":
        return Model(kind, basis | head | ridge(faces, template, config, seed)), []

    mirrored = learn.mirror(faces.head["mean_mm"], template.levels[-1].faces) if kind == "registered" else None

    def batches(generator: torch.Generator) -> learn.Batch:
        return learn.random_batch(faces, config, generator, mirrored)

    tensors, history = learn.train(name, batches, template, config, seed=seed, on_step=on_step, resume=resume)
    return Model(kind, tensors | basis | head, config.shape), history


def learned_from_crops(
    name: str,
    crops: learn.Crops,
    config: Config,
    *,
    seed: int = 0,
    on_step: training.OnStep | None = None,
    resume: dict[str, Tensor] | None = None,
) -> tuple[Model, training.History]:
    """The published model of crops by an orthographic camera, whose faces are not registered, and the history of its losses."""
    half = templates.half_sphere()
    template = replace(half, points=half.points - [0, 0, 0.5])

    def batches(generator: torch.Generator) -> learn.Batch:
        return learn.crops_batch(crops, config, generator)

    tensors, history = learn.train(name, batches, template, config, seed=seed, on_step=on_step, resume=resume)
    basis = {"points": torch.from_numpy(template.points).float(), "directions": torch.from_numpy(template.directions).float()}
    return Model("published", tensors | basis, config.shape), history


def ridge(faces: Faces, template: Template, config: Config, seed: int) -> dict[str, Tensor]:
    """Ridge regression from grey crops to pose (9) and directions; the penalty is what errs least on a fifth of the people."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.from_numpy(template.directions).flatten(1)
    mean = torch.from_numpy(template.points)
    weights = torch.linalg.solve(directions @ directions.T, directions)
    pixels, said, held = [], [], []
    small = replace(config, shape=replace(config.shape, crop=GREY), points=1)
    for person in range(len(faces)):
        middle = faces.of(person, "landmarks_mm").mean(dim=0)
        away = (faces.of(person, "face") - middle).double() / cropping.MM_PER_UNIT - mean
        code = weights @ away.flatten()
        for shot in list(range(faces.photographs)) * _SHOTS:
            spread = torch.tensor([config.jitter_mm] * 3 + [config.depth_jitter_mm, 0.0]).double()
            off = (spread * torch.randn(5, generator=generator, dtype=torch.float64)).numpy()
            crop = learn.crop_of(faces, person, shot, off)
            image, _ = cropping.cut(faces.of(person, "pictures")[shot][None], [crop], small.shape.crop)
            turn = torch.from_numpy(np.linalg.inv(crop.mm_from_frame)[:3, :3] * cropping.MM_PER_UNIT)
            axes = (turn - torch.eye(3, dtype=turn.dtype))[:, :2].T.flatten()
            pose = torch.cat([axes, cropping.in_frame(middle[None], crop)[0].double()])
            pixels.append(grey(image)[0])
            said.append(torch.cat([pose, code]))
            held.append(person >= 0.8 * len(faces))  # not every fifth, who would be of the others' families
    lengths = directions.square().sum(dim=1)
    x, y, out = torch.stack(pixels).double(), torch.stack(said), torch.tensor(held)

    def fitted(rows: Tensor, penalty: float) -> tuple[Tensor, Tensor, Tensor]:
        mx, my = x[rows].mean(dim=0), y[rows].mean(dim=0)
        a = x[rows] - mx
        return torch.linalg.solve(a.T @ a + penalty * torch.eye(a.shape[1], dtype=a.dtype), a.T @ (y[rows] - my)), mx, my

    def error(penalty: float) -> float:
        w, mx, my = fitted(~out, penalty)
        away = ((x[out] - mx) @ w + my - y[out])[:, 9:]
        return float((away.square() * lengths).sum(dim=1).mean()) if bool(out.any()) else penalty

    w, mx, my = fitted(torch.ones_like(out), min(_PENALTIES, key=error))
    return {"weights": w.float(), "pixels": mx.float(), "said": my.float()}


def grey(images: Tensor) -> Tensor:
    """Crops (B, 3, S, S) as grey pixels (B, 32 * 32), each with mean zero and deviation one."""
    small = functional.interpolate(images, size=(GREY, GREY), mode="area").mean(dim=1).flatten(1)
    return (small - small.mean(dim=1, keepdim=True)) / small.std(dim=1, keepdim=True).clamp(min=1e-3)


# ---- one photograph


def with_localiser(
    model: Model, said: Mapping[str, Any], localiser: Mapping[str, Tensor], of_localiser: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A model's checkpoint with the localiser in it, so that it finds faces itself."""
    return (
        model.tensors | {f"localiser.{name}": values for name, values in localiser.items()},
        {**said, "localiser": {"kind": of_localiser["kind"], "config": of_localiser["config"]}},
    )


def localiser(tensors: Mapping[str, Tensor], said: Mapping[str, Any], where: str) -> locate.Locator:
    """The localiser of such a checkpoint."""
    own = {name.removeprefix("localiser."): values for name, values in tensors.items() if name.startswith("localiser.")}
    return locate.restored(own, said.get("localiser") or {}, where)


def pixel_of(scene: Scene, place_mm: np.ndarray) -> np.ndarray:
    """Where a scene's first photograph shows a place (3,), as a pixel (2,)."""
    px_from_cam, mm_from_cam = _camera(scene, 0)
    seen = px_from_cam @ mm_from_cam[:3, :3].T @ (place_mm - mm_from_cam[:3, 3])
    return np.asarray(seen[:2] / seen[2])


def crop_in_scene(scene: Scene, *middles_px: np.ndarray | None) -> Crop:
    """The crop around the face of a scene's first photograph, from where its photographs show the middle (2,), or None.

    Several say together how far away it is; one alone is taken to be where its ray enters the ball of `MIDDLE_OF_SPHERE`.
    """
    known = [(*_camera(scene, number), pixel) for number, pixel in enumerate(middles_px) if pixel is not None]
    px_from_cam, mm_from_cam, first = known[0]
    if len(known) > 1:
        distance = float(np.linalg.norm(cropping.met(known) - mm_from_cam[:3, 3]))
    else:
        distance = cropping.distance_in_sphere(px_from_cam, mm_from_cam, first, scene.mm_from_unit.double().numpy())
    return cropping.around_pixel(px_from_cam, mm_from_cam, first, distance)


def _camera(scene: Scene, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics (3, 3) and pose mm_from_cam (4, 4) of one of a scene's photographs."""
    pose = (scene.mm_from_unit.double() @ scene.unit_from_cam[number].double()).numpy()
    pose[:3, :3] /= np.cbrt(np.linalg.det(pose[:3, :3]))
    return scene.px_from_cam[number].double().numpy(), pose


def head_mm(model: Model, face_mm: np.ndarray) -> trimesh.Trimesh:
    """The whole head of a face (V, 3); ValueError for a model whose vertices are not registered."""
    if model.kind == "published":
        raise ValueError(
            "the published Pixel2Mesh has vertices that are nowhere in particular on a face; expected registered ones"
        )
    head = {name: model.tensors[f"head.{name}"].double().numpy() for name in ("mean_mm", "head_mm")}
    return whole.head_mm(face_mm, head["mean_mm"], head["head_mm"], model.tensors["head.head_faces"].numpy())


@torch.no_grad()
def levels_mm(model: Model, picture: np.ndarray, crop: Crop) -> list[np.ndarray]:
    """What a photograph (H, W, 3) uint8 says of a face: the vertices (V, 3) at each level, in mm of the photograph's world."""
    size = model.shape.crop if model.shape else GREY
    near, crop_of_near = cropping.shrunk(picture, crop, size)
    images, camera = cropping.cut(torch.from_numpy(near)[None], [crop_of_near], size)
    template = model.template
    points, directions = model.tensors["points"], model.tensors["directions"]
    if model.kind in ("mean", "components"):  # it looks as the axes of the world say
        turned = points @ torch.from_numpy(np.linalg.inv(crop.mm_from_frame)[:3, :3].T * cropping.MM_PER_UNIT).float()
        found = [turned[: level.count] for level in template.levels]
    elif model.kind == "ridge":
        said = (grey(images) - model.tensors["pixels"]) @ model.tensors["weights"] + model.tensors["said"]
        shaped = points + torch.einsum("k,kvc->vc", said[0, 9:], directions)
        turned = posed(shaped[None], said[:, :9])[0]
        found = [turned[: level.count] for level in template.levels]
    else:
        found = [points[0] for points in network(model)(images, camera)]
    frame = crop.mm_from_frame
    return [points.double().numpy() @ frame[:3, :3].T + frame[:3, 3] for points in found]


def network(model: Model) -> Network:
    """The network of a model, ready to be asked."""
    assert model.shape is not None
    made = Network(model.shape, model.template)
    made.load_state_dict({name: model.tensors[name] for name in made.state_dict()})
    return made.eval()


def surface(points: np.ndarray) -> trimesh.Trimesh:
    """A mesh of the vertices (V, 3) of any level."""
    faces = {level.count: level.faces for level in templates.half_sphere().levels}
    return trimesh.Trimesh(points, faces[len(points)], process=False)


def oracle_mm(model: Model, scan_mm: trimesh.Trimesh, landmarks_mm: np.ndarray, rows: np.ndarray, rounds: int = 30) -> np.ndarray:
    """The vertices (V, 3) that the components come nearest with to vertices `rows` of the scan itself, by iterated closest
    points.

    Nobody who has only a photograph can know this: it is what faces that are mixed of others can reach.
    """
    template, targets = model.template, np.asarray(scan_mm.vertices)[rows]
    basis = template.directions * cropping.MM_PER_UNIT
    mean = template.points * cropping.MM_PER_UNIT + landmarks_mm.mean(axis=0)
    faces, code, move = template.levels[-1].faces, np.zeros(len(basis)), np.zeros(3)
    for _ in range(rounds):
        points = mean + move + np.einsum("k,kvc->vc", code, basis)
        tree = igl.AABB()
        tree.init(points, faces)
        _, triangles, closest = tree.squared_distance(points, faces, targets)
        corners = faces[triangles]
        a, b, c = (points[corners[:, k]] for k in range(3))
        weights = trimesh.triangles.points_to_barycentric(np.stack([a, b, c], axis=1), closest)
        normals = np.cross(b - a, c - a)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        near = np.linalg.norm(targets - closest, axis=1) < 10
        slopes = np.einsum("nk,mnkc,nc->nm", weights[near], basis[:, corners[near]], normals[near])
        slopes = np.concatenate([slopes, normals[near]], axis=1)
        away = ((targets - closest)[near] * normals[near]).sum(axis=1)
        hold = np.diag([0.02 * near.sum() / 100] * len(basis) + [1e-6] * 3)
        now = np.concatenate([code, np.zeros(3)])
        step = np.linalg.solve(slopes.T @ slopes + hold, slopes.T @ away - hold @ now)
        code, move = code + step[: len(basis)], move + step[len(basis) :]
    return np.asarray(mean + move + np.einsum("k,kvc->vc", code, basis))
