"""What a reconstruction starts from: a prior, and the ways to make one.

A prior is named tensors. `geometry.*` is the implicit network; a prior trained on photographs also has `colour.*` and the
optimizers' `moments.*`. `idr.fit` takes what is there and makes the rest afresh, so it does not ask what kind of prior it has.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heads.scene import Reconstruction
from heads.surface import ensemble, sdf, trace

PARTS = ("geometry", "colour", "moments")
UNIT_SPHERE = "the unit sphere around a head"


@dataclass(frozen=True)
class Prior:
    """A starting point: network tensors by name, the shape of the implicit network, and the epochs it was trained for.

    `frame` says where its heads are; photographs are fitted in the unit sphere.
    """

    name: str
    shape: sdf.Shape | ensemble.Shape
    epoch: int
    tensors: dict[str, Tensor]
    frame: str = UNIT_SPHERE


class Learned(NamedTuple):
    """A prior that was trained, and the history of its losses."""

    prior: Prior
    history: list[dict[str, float]]


def sphere(shape: sdf.Shape | ensemble.Shape, seed: int) -> Prior:
    """No prior at all: the geometric initialisation, the SDF of a sphere (IDR), with weights drawn from `seed`."""
    if not isinstance(shape, sdf.Shape):
        raise ValueError("a fresh ensemble is no sphere; only a single network can start as one")
    network = sdf.ImplicitNetwork(shape, torch.Generator().manual_seed(seed))
    return Prior("sphere", shape, 0, {f"geometry.{name}": value for name, value in network.state_dict().items()})


def single_scan(name: str, shape: sdf.Shape, epoch: int, reconstruction: Reconstruction) -> Prior:
    """Another person's reconstruction as a prior, as in BaseH3D-Net: IDR trained on all views of that one subject."""
    return Prior(name, shape, epoch, reconstruction.tensors)


def restored(tensors: dict[str, Tensor], about: Mapping[str, Any]) -> Prior:
    """The prior in a checkpoint: its tensors, and what its header says of them (name, shape, epoch, and a frame)."""
    sizes = about["shape"]
    kind = ensemble.Shape if "pairs" in sizes else sdf.Shape
    return Prior(about["name"], kind(**sizes), about["epoch"], tensors, about.get("frame", UNIT_SPHERE))


def carrying(prior: Prior, parts: Iterable[str]) -> Prior:
    """The prior with only the named parts of `PARTS`; the fit makes the others afresh. ValueError for a part of another name."""
    parts = tuple(parts)
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"the parts of a prior are {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    kept = {*parts, "codes"} if "geometry" in parts else set(parts)
    return replace(prior, tensors={name: value for name, value in prior.tensors.items() if name.split(".")[0] in kept})


def network(prior: Prior, *, generator: torch.Generator, start_code: str = "mean") -> sdf.ImplicitNetwork | ensemble.Ensemble:
    """The prior's implicit network, or a fresh sphere drawn from `generator` where it carries no geometry.

    A network of many heads starts from the prior's code, which is the mean of the training heads' codes, or from zero.
    """
    net = prior.shape.network(generator)
    weights = part(prior, "geometry")
    if weights:
        net.load_state_dict(weights)
    if start_code == "zero":
        torch.nn.init.zeros_(net.code)
    return net


def inside_share(field: sdf.SDF, resolution: int = 48) -> float:
    """The share of the cube [-1, 1]^3 in which the field is negative, sampled on a grid; for the unit ball it is 0.52."""
    return float((field(trace.lattice(resolution)) < 0).float().mean())


def check_surface(prior: Prior, resolution: int = 24) -> None:
    """ValueError for a prior that no fit to photographs can start from.

    Its frame is another, its values are not finite, or it has no surface in the unit sphere: rays are traced only inside that,
    and where the field is negative on most of it, they hit as soon as they enter.
    """
    if prior.frame != UNIT_SPHERE:
        raise ValueError(
            f"prior {prior.name}: its heads are in {prior.frame}, and photographs are fitted in {UNIT_SPHERE}; notebook 16 trains"
            " such a one"
        )
    for name, tensor in prior.tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"prior {prior.name}: {name} has values that are not finite; its training has diverged")
    if not part(prior, "geometry"):
        if isinstance(prior.shape, ensemble.Shape):
            raise ValueError(f"prior {prior.name}: carry its geometry: without it, an ensemble around anchors is no sphere")
        return  # the fit makes a sphere
    field = sdf.distance(network(prior, generator=torch.Generator()))
    points = trace.lattice(resolution)
    values = field(points)
    inside = values[points.norm(dim=1) < 1] < 0
    at_entry = field(torch.nn.functional.normalize(points, dim=1)) < 0
    if not bool(values.isfinite().all()):
        said = "is not finite everywhere"
    elif not bool(inside.any()):
        said = "is nowhere negative in the unit sphere"
    elif at_entry.float().mean() > 0.5:
        said = f"is negative on {at_entry.float().mean():.0%} of the unit sphere"
    else:
        return
    raise ValueError(
        f"prior {prior.name}: no surface to start from: its field {said} and is negative in {(values < 0).float().mean():.0%} of"
        " the cube around it; is it an average of networks that were trained from independent starts?"
    )


def check_space(prior: Prior) -> None:
    """ValueError for a prior that is no space of heads, with codes, in the unit sphere."""
    check_surface(prior)
    if "codes" not in prior.tensors:
        raise ValueError(f"prior {prior.name}: it has no codes of people; expected a space of heads, as notebooks 6 and 16 make")


def part(prior: Prior, prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix` and a dot, under the rest of their names."""
    return {name.removeprefix(prefix + "."): value for name, value in prior.tensors.items() if name.startswith(prefix + ".")}


def sample(prior: Prior, count: int, *, seed: int = 0) -> Tensor:
    """Codes (count, C) drawn from the normal distribution fitted to the training heads' codes."""
    codes = prior.tensors["codes"].double()
    middle, spread = codes.mean(dim=0), torch.linalg.svd(codes - codes.mean(dim=0), full_matrices=False)
    weights = torch.randn((count, len(spread.S)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (middle + weights * spread.S / math.sqrt(max(1, len(codes) - 1)) @ spread.Vh).float()


def interpolate(first: Tensor, second: Tensor, count: int) -> Tensor:
    """Codes (count, C) at even steps from one code (C,) to another, both included."""
    return torch.lerp(first[None], second[None], torch.linspace(0, 1, count)[:, None])
