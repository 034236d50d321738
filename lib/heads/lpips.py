"""LPIPS (Zhang et al. 2018, version 0.1) with VGG-16: how differently a network that knows photographs sees two pictures.

Weights are not part of this package. A reader who has them names two files, each a state dict as .pth or .safetensors: VGG-16 as
torchvision distributes it (`vgg16-397923af.pth`), and the weights of LPIPS's channels (`weights/v0.1/vgg.pth` of the package
lpips).
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from heads import files

VARIABLE = "HEADS_LPIPS"  # names a folder with both files
VGG, LINEAR = "vgg16-397923af.pth", "vgg.pth"
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, and convolutions before each pooling
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of colours in [-1, 1]
SMALLEST_PX = 2 ** (len(STAGES) - 1)  # what is left of it after four poolings is a pixel


@dataclass(frozen=True)
class Lpips:
    """Kernels and biases of the convolutions, stage by stage, and the weights (C,) of each stage's channels."""

    stages: tuple[tuple[tuple[Tensor, Tensor], ...], ...]
    linear: tuple[Tensor, ...]

    @torch.no_grad()
    def distance(self, a: Tensor, b: Tensor) -> float:
        """LPIPS of two pictures (3, H, W) in [0, 1], zero for equal ones; ValueError if they are no such pictures, or differ."""
        for one in (a, b):
            if one.ndim != 3 or one.shape[0] != 3 or a.shape != b.shape or min(one.shape[1:]) < SMALLEST_PX:
                raise ValueError(
                    f"pictures of {tuple(a.shape)} and {tuple(b.shape)} cannot be compared; expected (3, H, W) of the same size, "
                    f"at least {SMALLEST_PX} pixels wide and high"
                )
            if not (one.min() > -0.01 and one.max() < 1.01):  # nor if it is not finite
                raise ValueError(f"a picture with colours from {one.min():.3g} to {one.max():.3g}; expected 0 to 1")
        pairs = zip(self.linear, self._maps(torch.stack([a, b])), strict=True)
        return sum(float((weights @ (first - second).square().flatten(1)).mean()) for weights, (first, second) in pairs)

    def _maps(self, pictures: Tensor) -> list[Tensor]:
        """What the last convolution of each stage makes of pictures (B, 3, H, W), every pixel of unit length."""
        device = self.linear[0].device
        shift, scale = (torch.tensor(values, device=device)[:, None, None] for values in (SHIFT, SCALE))
        hidden = (2 * pictures.to(device, torch.float32) - 1 - shift) / scale
        maps = []
        for number, convolutions in enumerate(self.stages):
            hidden = hidden if number == 0 else functional.max_pool2d(hidden, 2)
            for kernel, bias in convolutions:
                hidden = functional.relu(functional.conv2d(hidden, kernel, bias, padding=1))
            maps.append(hidden / (hidden.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return maps


def load(vgg: str | Path, linear: str | Path, device: str = "cpu") -> Lpips:
    """LPIPS with the weights of these files; FileNotFoundError or ValueError names one that is missing, or another network's."""
    found = _tensors(Path(vgg), "VGG-16's weights")
    stages, inputs, layer = [], 3, 0
    for width, count in STAGES:
        convolutions = []
        for _ in range(count):
            kernel = _tensor(Path(vgg), found, f"features.{layer}.weight", (width, inputs, 3, 3), device)
            convolutions.append((kernel, _tensor(Path(vgg), found, f"features.{layer}.bias", (width,), device)))
            inputs, layer = width, layer + 2  # a ReLU follows
        stages.append(tuple(convolutions))
        layer += 1  # the pooling
    found = _tensors(Path(linear), "LPIPS's weights of VGG-16's channels")
    shapes = {f"lin{number}.model.1.weight": (1, width, 1, 1) for number, (width, _) in enumerate(STAGES)}
    weights = [_tensor(Path(linear), found, name, shape, device).flatten() for name, shape in shapes.items()]
    return Lpips(tuple(stages), tuple(weights))


def find() -> tuple[Path, Path] | None:
    """The two files for `load`, from the folder that HEADS_LPIPS names or torch's cache of weights; None if it has not both.

    FileNotFoundError if HEADS_LPIPS names a folder without them.
    """
    said = os.environ.get(VARIABLE)
    folder = Path(said) if said else Path(torch.hub.get_dir(), "checkpoints")
    found = (folder / VGG, folder / LINEAR)
    missing = [path for path in found if not path.is_file()]
    if said and missing:
        raise FileNotFoundError(f"{missing[0]}: no such file; {VARIABLE} has to name a folder with {VGG} and {LINEAR}")
    return None if missing else found


def _tensors(path: Path, what: str) -> dict[str, Tensor]:
    import safetensors.torch

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected {what}")
    try:
        is_safe = path.suffix == ".safetensors"
        found = safetensors.torch.load_file(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
        return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    except Exception as error:  # there are many ways to be no such file
        raise ValueError(f"{path}: not a state dict that can be read ({files.reason(error)})") from None


def _tensor(path: Path, found: dict[str, Tensor], name: str, shape: tuple[int, ...], device: str) -> Tensor:
    if name not in found or found[name].shape != shape:
        what = tuple(found[name].shape) if name in found else "missing"
        raise ValueError(f"{path}: {name} is {what}; LPIPS with VGG-16 needs {shape}")
    return found[name].to(device, torch.float32)
