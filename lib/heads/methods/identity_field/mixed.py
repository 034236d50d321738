"""Faces between people, and of nobody: mixtures of codes and of templates, and codes drawn as learned ones are spread."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import trimesh
from torch import Tensor

from heads import camera
from heads.gaussians import rasterizer
from heads.gaussians.rasterizer import View
from heads.methods.identity_field import track
from heads.methods.identity_field.learn import Model

DISTANCE_MM, FOCAL = 850.0, 3.6  # of the camera that looks at a face, and how long it is in widths of the picture
SPREAD = 0.7  # of drawn codes, against that of learned ones: a mean of few people is no face of the many


class Face(NamedTuple):
    """A code (C,), a template (N, 3) in the head's frame, and what is added to the logits of the Gaussians' colours (G, 3)."""

    code: Tensor
    template_mm: Tensor
    added: Tensor


def learned(model: Model, person: int) -> Face:
    """One of the people whom a field has learned from."""
    return Face(model.codes[person], _centred(model, model.people_mm[person]), torch.zeros(len(model.field.mean_opacity), 3))


def face_of(model: Model, tensors: dict[str, Tensor], about: dict[str, Any], where: str) -> Face:
    """A tracked person from a checkpoint; ValueError if it is none, or was tracked without a code, or on another template."""
    if about.get("method") != "tracked face" or "code" not in tensors:
        raise ValueError(f"{where}: not a face that was tracked with a code; expected what notebook 29 leaves")
    model.head.check(tensors["template_mm"].numpy(), where)
    return Face(tensors["code"], _centred(model, tensors["template_mm"]), tensors["added"])


def _centred(model: Model, template_mm: Tensor) -> Tensor:
    """A template turned and moved onto the mean head, as nearly as its face allows."""
    mine, mean = template_mm.numpy()[model.head.face], model.head.mean_mm[model.head.face]
    motion, _, _ = trimesh.registration.procrustes(mine, mean, reflection=False, scale=False)
    return torch.from_numpy(trimesh.transform_points(template_mm.numpy(), motion)).float()


def between(people: Sequence[Face], steps: int, *, there_and_back: bool = False) -> list[Face]:
    """Faces from each of the people to the next in so many steps, linear in everything; on request back to the first."""
    path = [*people, people[0]] if there_and_back and len(people) > 1 else list(people)
    found = []
    for one, other in pairwise(path):
        for share in np.linspace(0, 1, steps, endpoint=False):
            found.append(Face(*(torch.lerp(a, b, float(share)) for a, b in zip(one, other, strict=True))))
    return [*found, path[-1]]


def drawn(model: Model, count: int, seed: int) -> list[Face]:
    """People of nobody: codes about as learned ones are spread, templates of components that are drawn."""
    rng = np.random.default_rng(seed)
    codes = model.codes
    mean, found = codes.mean(dim=0), []
    for _ in range(count):
        weights = torch.from_numpy(rng.standard_normal(len(codes)) / np.sqrt(max(1, len(codes) - 1))).float()
        template = model.head.vertices_mm(rng.standard_normal(len(model.head.directions_mm)))
        none = torch.zeros(len(model.field.mean_opacity), 3)
        found.append(Face(mean + SPREAD * weights @ (codes - mean), torch.from_numpy(template).float(), none))
    return found


@torch.no_grad()
def picture(model: Model, face: Face, azimuth_deg: float, size: int) -> np.ndarray:
    """The face (size, size, 3) uint8 on black, from an azimuth."""
    device = next(model.field.parameters()).device
    made = model.field(face.code[None].to(device), face.template_mm[None].to(device))[0]
    made = track.coloured(made, face.added.to(device))
    middle = face.template_mm[torch.from_numpy(model.head.face)].double().mean(dim=0).numpy()
    angle = np.radians(azimuth_deg)
    eye = middle + DISTANCE_MM * np.array([np.sin(angle), 0.0, np.cos(angle)])
    pose = np.linalg.inv(camera.look_at(eye, middle, np.array([0.0, 1.0, 0.0])))
    intrinsics = torch.tensor([[FOCAL * size, 0, (size - 1) / 2], [0, FOCAL * size, (size - 1) / 2], [0, 0, 1]]).double()
    shown, _ = rasterizer.rasterize(made, View(intrinsics, torch.from_numpy(pose), (size, size)))
    return np.asarray((255 * shown.clamp(0, 1)).round().byte().cpu().numpy())
