"""The implicit network: a signed distance field f(x), negative inside, with features for the network that colours its surface.

Architecture and geometric initialisation are IDR's (Yariv et al. 2020, `implicit_differentiable_renderer.py`): positional
encoding without the factor pi, Softplus(beta=100), one skip connection in the middle divided by sqrt(2), weight
normalisation, and weights that make a fresh network the SDF of a sphere.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

SHARPNESS = 100.0  # of the softplus (beta)
SDF = Callable[[Tensor], Tensor]  # points (N, 3) in the unit frame -> signed distances (N,)


class Network(Protocol):
    """What a fit asks of an implicit network: distances, gradients and features at points (N, 3), for a code that it holds.

    Other codes may be given: one (C,), or several (H, C) with each point's `owner` (N,).
    """

    code: nn.Parameter

    def distance(self, x: Tensor, code: Tensor | None = None, owner: Tensor | None = None) -> Tensor: ...

    def with_gradient(
        self, x: Tensor, code: Tensor | None = None, owner: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]: ...


@dataclass(frozen=True)
class Shape:
    """The sizes of an implicit network; the defaults are the published ones (`dtu_fixed_cameras.conf`)."""

    width: int = 512
    depth: int = 8
    feature: int = 256  # feature_vector_size
    octaves: int = 6  # multires
    radius: float = 0.6  # bias: of the initial sphere
    code: int = 0  # width of the latent code of a network for many shapes (DeepSDF); 0: for one

    def __post_init__(self) -> None:
        if (
            min(self.width, self.depth, self.feature) < 1
            or self.depth < 2
            or min(self.octaves, self.code) < 0
            or not 0 < self.radius < 1
        ):
            raise ValueError(f"network shape must have positive sizes, depth >= 2 and a radius below 1, not {self}")
        if self.width <= self.encoded:
            raise ValueError(f"network width must exceed the {self.encoded} encoded coordinates, not {self.width}")

    @property
    def encoded(self) -> int:
        """Width of an encoded point."""
        return 3 + 6 * self.octaves

    def network(self, generator: torch.Generator) -> "ImplicitNetwork":
        """A fresh network of these sizes."""
        return ImplicitNetwork(self, generator)


def device(name: str) -> torch.device:
    """The device of that name, "auto" being a GPU if there is one.

    ValueError if it is a GPU that this machine, or this build of torch, does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: torch {torch.__version__} finds no GPU here; use device: cpu, or another machine")
    return torch.device(name)


def encode(x: Tensor, octaves: int) -> Tensor:
    """Positional encoding (N, D + 2 D octaves) of `x` (N, D): x, sin(x), cos(x), sin(2x), cos(2x), ... (IDR, `embedder.py`)."""
    angles = [x * 2.0**octave for octave in range(octaves)]
    return torch.cat([x] + [wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=-1)


class ImplicitNetwork(nn.Module):
    """Points (N, 3) -> (N, 1 + feature): signed distance, then features. A fresh one is a sphere of `shape.radius`.

    `code` (shape.code,) is that of the current shape; others may be given with the points: one, one for each point, or several
    (H, C) with each point's `owner` (N,). A fresh network ignores it.
    Unlike DeepSDF's, the code adds to the width of the layer after the skip, and takes nothing from the one before it.
    """

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        self.code = nn.Parameter(torch.zeros(shape.code))
        self.skip = shape.depth // 2
        layers = []
        for index in range(shape.depth + 1):
            inputs = (shape.encoded if index == 0 else shape.width) + (shape.code if index in (0, self.skip) else 0)
            outputs = 1 + shape.feature if index == shape.depth else shape.width
            if index + 1 == self.skip:
                outputs -= shape.encoded
            layer = nn.Linear(inputs, outputs)
            with torch.no_grad():
                nn.init.zeros_(layer.bias)
                if index == shape.depth:
                    nn.init.normal_(layer.weight, math.sqrt(math.pi / inputs), 1e-4, generator=generator)
                    nn.init.constant_(layer.bias, -shape.radius)
                else:
                    nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / outputs), generator=generator)
                if index == 0:  # a fresh network ignores the sines and cosines, and the code
                    layer.weight[:, 3:] = 0.0
                elif index == self.skip:
                    layer.weight[:, shape.width - shape.encoded + 3 :] = 0.0
            layers.append(parametrizations.weight_norm(layer))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, code: Tensor | None = None, owner: Tensor | None = None) -> Tensor:
        return self.layers[-1](self._hidden(x, code, owner)[0])

    def distance(self, x: Tensor, code: Tensor | None = None, owner: Tensor | None = None) -> Tensor:
        """The signed distance (N,) alone, without computing the last layer's features."""
        last = self._layer(-1)
        return nn.functional.linear(self._hidden(x, code, owner)[0], last.weight[:1], last.bias[:1])[:, 0]

    def with_gradient(self, x: Tensor, code: Tensor | None = None, owner: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Signed distance (N,), its spatial gradient (N, 3) and the features (N, F) at `x` (N, 3), all differentiable.

        The gradient is written out, from the last layer to the first, so that its own derivative is an ordinary one: torch need
        not record a backward pass, and the features play no part in it.
        """
        hidden, encoded, before = self._hidden(x, code, owner)
        output = self.layers[-1](hidden)
        waves = self.shape.encoded
        slope = self._layer(-1).weight[:1].expand(len(x), -1)  # of the distance with respect to the layer's input
        for index in reversed(range(self.shape.depth)):
            slope = (slope * torch.sigmoid(SHARPNESS * before[index])) @ self._layer(index).weight
            if index == self.skip:
                slope, skipped = (slope / math.sqrt(2.0)).tensor_split([-encoded.shape[1]], dim=1)
        slope = (slope + skipped)[:, :waves]
        sine, cosine = encoded[:, 3:waves].unflatten(1, (self.shape.octaves, 2, 3)).unbind(2)  # (N, octaves, 3)
        by_sine, by_cosine = slope[:, 3:].unflatten(1, (self.shape.octaves, 2, 3)).unbind(2)
        frequency = 2.0 ** torch.arange(self.shape.octaves, dtype=x.dtype, device=x.device)[:, None]
        gradient = slope[:, :3] + (frequency * (by_sine * cosine - by_cosine * sine)).sum(1)
        return output[:, 0], gradient, output[:, 1:]

    def _layer(self, index: int) -> nn.Linear:
        layer = self.layers[index]
        assert isinstance(layer, nn.Linear)
        return layer

    def _hidden(self, x: Tensor, code: Tensor | None, owner: Tensor | None) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The input of the last layer, the encoded points with their code, and the input of every activation."""
        assert x.ndim == 2 and x.shape[1] == 3
        encoded = encode(x, self.shape.octaves)
        if self.shape.code:
            code = self.code if code is None else code if owner is None else code.index_select(0, owner)
            encoded = torch.cat([encoded, code.expand(len(x), self.shape.code)], dim=1)
        hidden = encoded
        before = []
        for index, layer in enumerate(self.layers[:-1]):
            if index == self.skip:
                hidden = torch.cat([hidden, encoded], dim=1) / math.sqrt(2.0)
            before.append(layer(hidden))
            hidden = nn.functional.softplus(before[-1], beta=SHARPNESS)
        return hidden, encoded, before


def distance(network: Network, *, chunk: int | None = None) -> SDF:
    """The network's signed distance as a plain function of points (N, 3) -> (N,), without gradients.

    It is evaluated on the network's device, `chunk` points at a time (by default what a processor's cache holds, or what keeps
    a GPU busy); the result is on that of the points.
    """

    @torch.no_grad()
    def sdf(points: Tensor) -> Tensor:
        device = network.code.device
        size = chunk or (2048 if device.type == "cpu" else 65536)
        values = [network.distance(part) for part in points.to(device).split(size)]
        return torch.cat(values).to(points.device) if values else points.new_zeros(0)

    return sdf


def on_surface(network: Network, count: int, generator: torch.Generator) -> Tensor:
    """Points (N, 3), at most `count`, of the network's surface in the unit sphere: random ones of the cube that move onto it."""
    points = (torch.rand((count, 3), generator=generator) * 2 - 1).to(network.code.device)
    with torch.no_grad():
        for _ in range(6):
            value, slope, _ = network.with_gradient(points)
            points = points - value[:, None] * slope / slope.square().sum(-1, keepdim=True).clamp(min=1e-6)
        return points[(network.distance(points).abs() < 0.005) & (points.norm(dim=-1) < 1)]
