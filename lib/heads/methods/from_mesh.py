"""A mesh as a prior: a network that gives the distance to it, from which `idr.fit` can start.

The mesh may be open where nobody looks; which side is inside is what its generalised winding number says (Jacobson et al. 2013).
"""

from dataclasses import dataclass

import igl
import numpy as np
import torch
import trimesh
from torch import Tensor
from torch.nn.utils import parametrize

from heads.methods import priors
from heads.surface import sdf, training


@dataclass(frozen=True)
class Config:
    """How `prior` learns the distances: a share `near` of points is about the surface by `spread` units, the rest anywhere."""

    steps: int = 600
    points: int = 4096  # per step
    near: float = 0.7  # share
    spread: float = 0.05
    step_size: float = 1e-3
    muon_step_size: float = 4e-3
    eikonal_weight: float = 0.02
    samples: int = 100_000  # all that are drawn

    def __post_init__(self) -> None:
        if not (self.steps > 0 and self.points > 0 and 0 < self.near < 1 and self.samples >= self.points):
            raise ValueError(f"steps and points must be positive, near a share, and samples at least points, not {self}")


def prior(name: str, mesh_unit: trimesh.Trimesh, shape: sdf.Shape, config: Config, *, seed: int = 0) -> priors.Prior:
    """A prior whose surface is this mesh, given in the unit frame; ValueError for a mesh that leaves the unit sphere."""
    reach = float(np.linalg.norm(mesh_unit.vertices, axis=1).max())
    if not reach < 1:
        raise ValueError(f"prior {name}: its mesh reaches {reach:.2f} units from the origin; expected less than 1")
    generator = torch.Generator().manual_seed(seed)
    points, distances = samples(mesh_unit, config, seed)
    network = sdf.ImplicitNetwork(shape, generator)
    network.code.requires_grad_(False)
    named = {f"geometry.{key}": parameter for key, parameter in network.named_parameters() if key != "code"}
    optimizers = training.optimizers(training.Group(list(named.values()), config.step_size, config.muon_step_size))
    learner = training.Learner(f"prior {name}", named, optimizers, generator)
    weights = {"distance": 1.0, "eikonal": config.eikonal_weight}

    def step_of(step: int) -> dict[str, Tensor]:
        rows = torch.randint(len(points), (config.points,), generator=generator)
        with parametrize.cached():
            value, gradient, _ = network.with_gradient(points[rows])
            terms = {
                "distance": (value - distances[rows]).abs().mean(),
                "eikonal": (gradient.norm(dim=1) - 1).square().mean(),
            }
        training.weighted_sum(terms, weights).backward()
        training.end_step(optimizers)
        return terms

    training.train(learner, step_of, config.steps, terms=weights, factor=training.cosine(config.steps, end=0.02))
    return priors.Prior(
        name, shape, 0, {f"geometry.{key}": value.detach().clone() for key, value in network.state_dict().items()}
    )


def in_unit(mesh_mm: trimesh.Trimesh, mm_from_unit: np.ndarray) -> trimesh.Trimesh:
    """A mesh in mm in a scene's unit frame."""
    return trimesh.Trimesh(trimesh.transform_points(mesh_mm.vertices, np.linalg.inv(mm_from_unit)), mesh_mm.faces, process=False)


def samples(mesh_unit: trimesh.Trimesh, config: Config, seed: int) -> tuple[Tensor, Tensor]:
    """Points (N, 3) around a mesh and anywhere in the unit cube, and their signed distances (N,), negative inside."""
    rng = np.random.default_rng(seed)
    near = int(config.near * config.samples)
    surface = mesh_unit.sample(near, seed=seed)
    points = np.concatenate([surface + rng.normal(0, config.spread, (near, 3)), rng.uniform(-1, 1, (config.samples - near, 3))])
    vertices, faces = np.asarray(mesh_unit.vertices, dtype=np.float64), np.asarray(mesh_unit.faces)
    squared = igl.point_mesh_squared_distance(points, vertices, faces)[0]
    inside = igl.fast_winding_number(vertices, faces, points) > 0.5
    return torch.from_numpy(points).float(), torch.from_numpy(np.where(inside, -1, 1) * np.sqrt(squared)).float()
