"""The heads that NPM and NPHM encode: a surface for a code of a person, moved by a code of an expression."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import trimesh
from torch import Tensor

from heads import mesh
from heads.methods import priors
from heads.methods.nphm import expression, identity
from heads.surface import sdf


@dataclass(frozen=True)
class Settings:
    """How both stages are trained."""

    heads: identity.Config
    expressions: expression.Config


class Model(NamedTuple):
    """A stage 1, and a stage 2 if there is one, with the codes that it has learned."""

    identity: priors.Prior
    moves: expression.Deformation | None = None
    expressions: Tensor | None = None


def restored(tensors: dict[str, Tensor], about: Mapping[str, Any]) -> Model:
    """The model in a checkpoint of both stages; ValueError where it is a prior of another kind."""
    if "expressions" not in about or "expressions" not in tensors:
        raise ValueError(
            f"prior {about.get('name', '')}: it has no expressions; its heads are in {about.get('frame', priors.UNIT_SPHERE)};"
            " expected a prior that notebook 12 makes"
        )
    of_identity = {key: value for key, value in tensors.items() if not key.startswith(("deformation.", "expressions"))}
    moves = expression.restored(tensors, about["expressions"]["shape"])
    return Model(priors.restored(of_identity, about), moves, tensors["expressions"])


def neutral_mesh(model: Model, who: Tensor, *, cell_mm: float) -> trimesh.Trimesh:
    """The neutral head in mm that a code (C,) encodes."""
    network = priors.network(model.identity, generator=torch.Generator())
    with torch.no_grad():
        network.code.copy_(who)
    mm = torch.tensor([identity.MM_PER_UNIT] * 3 + [1.0])
    return mesh.extract(sdf.distance(network), mm_from_unit=torch.diag(mm), cell_mm=cell_mm)


@torch.no_grad()
def posed_mesh(model: Model, neutral_mm: trimesh.Trimesh, who: Tensor, how: Tensor) -> trimesh.Trimesh:
    """A neutral head, moved into the expression (D,) of the person (C,)."""
    assert model.moves is not None
    anchors = expression.places_of(model.identity, who[None])
    told = model.moves.condition(how[None], who[None], anchors)
    points = torch.from_numpy(neutral_mm.vertices).float() / identity.MM_PER_UNIT
    moved = points + model.moves(points, told, torch.zeros(len(points), dtype=torch.long))
    return trimesh.Trimesh(moved.double().numpy() * identity.MM_PER_UNIT, neutral_mm.faces, process=False)
