"""The colour network: what a surface point looks like, from its position, its normal, the viewing direction and its features.

IDR's rendering network (Yariv et al. 2020, `implicit_differentiable_renderer.py`), with two settings of our own: points may be
encoded as waves, and the viewing direction may be left out (the published mode `no_view_dir`).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from heads.surface.sdf import encode


@dataclass(frozen=True)
class Shape:
    """The sizes of a colour network, and its inputs; the defaults are the published ones (`dtu_fixed_cameras.conf`)."""

    feature: int = 256  # of the implicit network
    width: int = 512
    depth: int = 4
    view_octaves: int = 4  # multires_view
    point_octaves: int = 0
    sees_view: bool = True


class ColourNetwork(nn.Module):
    """Points, view directions, normals (N, 3) and features (N, F) -> colours (N, 3) in [-1, 1]."""

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        view = (3 + 6 * shape.view_octaves) if shape.sees_view else 0
        sizes = [6 + 6 * shape.point_octaves + view + shape.feature] + [shape.width] * shape.depth + [3]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layer = nn.Linear(inputs, outputs)
            with torch.no_grad():
                nn.init.uniform_(layer.weight, -(inputs**-0.5), inputs**-0.5, generator=generator)  # PyTorch's default
                nn.init.uniform_(layer.bias, -(inputs**-0.5), inputs**-0.5, generator=generator)
            layers += [parametrizations.weight_norm(layer), nn.ReLU()]
        layers[-1] = nn.Tanh()
        self.layers = nn.Sequential(*layers)

    def forward(self, points: Tensor, views: Tensor, normals: Tensor, features: Tensor) -> Tensor:
        seen = [encode(views, self.shape.view_octaves)] if self.shape.sees_view else []
        return self.layers(torch.cat([encode(points, self.shape.point_octaves), *seen, normals, features], dim=-1))
