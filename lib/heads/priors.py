"""What a reconstruction starts from: a prior, and the ways to make one.

A prior is named tensors. `geometry.*` is the implicit network; `colour.*` and `moments.*` (Adam's) are there when it was
trained on photographs. `idr.fit` uses what it finds and makes the rest afresh, so it has no branch on the kind of prior.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from heads import sdf
from heads.scene import Reconstruction

PARTS = ("geometry", "colour", "moments")


@dataclass(frozen=True)
class Prior:
    """A starting point: network tensors by name, the shape of the implicit network, and the epochs it was trained for."""

    name: str
    shape: sdf.Shape
    epoch: int
    tensors: dict[str, Tensor]


def sphere(shape: sdf.Shape, seed: int) -> Prior:
    """No prior at all: the geometric initialisation, the SDF of a sphere (IDR). The seed is that of its weights."""
    network = sdf.ImplicitNetwork(shape, torch.Generator().manual_seed(seed))
    return Prior("sphere", shape, 0, {f"geometry.{name}": value for name, value in network.state_dict().items()})


def single_scan(name: str, shape: sdf.Shape, epoch: int, reconstruction: Reconstruction) -> Prior:
    """Another person's reconstruction as a prior, BaseH3D-Net's: IDR trained on all views of that one subject."""
    return Prior(name, shape, epoch, reconstruction.tensors)


def carrying(prior: Prior, parts: Iterable[str]) -> Prior:
    """The prior with only the named parts of `PARTS`; what is left out is made afresh by the fit."""
    parts = tuple(parts)
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"a prior carries {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    return replace(prior, tensors={name: value for name, value in prior.tensors.items() if name.split(".")[0] in parts})


def network(prior: Prior, *, generator: torch.Generator, start_code: str = "mean") -> sdf.ImplicitNetwork:
    """The prior's implicit network, or a fresh sphere drawn from `generator` where it carries no geometry.

    One that holds many heads starts with the code that the prior has, the mean of its training heads' codes, or with zero.
    """
    net = sdf.ImplicitNetwork(prior.shape, generator)
    weights = part(prior, "geometry")
    if weights:
        net.load_state_dict(weights)
    if start_code == "zero":
        torch.nn.init.zeros_(net.code)
    return net


def part(prior: Prior, prefix: str) -> dict[str, Tensor]:
    """The tensors below `prefix`, without it."""
    return {name.removeprefix(prefix + "."): value for name, value in prior.tensors.items() if name.startswith(prefix + ".")}
