"""Encoders that others have trained, ResNet-50 and VGG-16, under the names that torchvision gives their weights.

Weights are not part of this package. A reader who has them (a state dict of `torchvision.models.resnet50` or `vgg16`, as .pth or
.safetensors) names the file; what belongs to the classification is left out.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from heads import files

CHANNELS = {
    "resnet50": (256, 512, 1024, 2048),
    "vgg16": (256, 512, 512, 512),
}  # at a quarter of the size, and each next half of it
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours


class Backbone(nn.Module):
    """Photographs (B, 3, S, S) in [0, 1] -> maps of `CHANNELS`. Normalisations keep the statistics of their weights' training."""

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode of everything but the normalisations."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def normalised(self, images: Tensor) -> Tensor:
        """The photographs as these networks were shown them."""
        mean, deviation = (torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, DEVIATION))
        return (images - mean) / deviation


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut (He et al. 2016), the stride in the second, as in torchvision."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        if stride > 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride=stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.bn1(self.conv1(x)))
        hidden = functional.relu(self.bn2(self.conv2(hidden)))
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        return functional.relu(self.bn3(self.conv3(hidden)) + shortcut)


class ResNet50(Backbone):
    """The maps of the four stages of ResNet-50."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for number, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
            blocks = []
            for index in range(count):
                blocks.append(Bottleneck(inputs, width, 2 if index == 0 and number > 1 else 1))
                inputs = 4 * width
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.train()

    def forward(self, images: Tensor) -> list[Tensor]:
        hidden = functional.relu(self.bn1(self.conv1(self.normalised(images))))
        hidden, maps = functional.max_pool2d(hidden, 3, stride=2, padding=1), []
        for number in range(1, 5):
            hidden = getattr(self, f"layer{number}")(hidden)
            maps.append(hidden)
        return maps


class VGG16(Backbone):
    """The maps of VGG-16 (Simonyan and Zisserman 2015) before its third, fourth and fifth pooling, and after that."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(count):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> list[Tensor]:
        hidden, maps = self.normalised(images), []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(hidden)
            hidden = layer(hidden)
        return [*maps[2:], hidden]


def made(name: str) -> Backbone:
    """One of `CHANNELS`, with random weights."""
    return ResNet50() if name == "resnet50" else VGG16()


def load(backbone: Backbone, path: str | Path) -> None:
    """Give a backbone the weights of a file; FileNotFoundError or ValueError names one that is missing, or another network's."""
    import safetensors.torch

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the weights of {type(backbone).__name__}")
    try:
        found = safetensors.torch.load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
        tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    except Exception as error:  # there are many ways to be no such file
        raise ValueError(f"{path}: not a state dict that can be read ({files.reason(error)})") from None
    for name, value in backbone.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name not in tensors or tensors[name].shape != value.shape:
            what = tuple(tensors[name].shape) if name in tensors else "missing"
            raise ValueError(f"{path}: {name} is {what}; {type(backbone).__name__} needs {tuple(value.shape)}")
    backbone.load_state_dict({name: tensors.get(name, value) for name, value in backbone.state_dict().items()})
