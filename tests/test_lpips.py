"""LPIPS: its formula, with weights made up, and its refusals."""

import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from heads import lpips

LAYERS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256), 17: (256, 512),
          19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512)}  # fmt: skip
ENDS = (2, 7, 14, 21, 28)  # layers before a pooling


@pytest.fixture(scope="module")
def weights() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    vgg = {}
    for layer, (inputs, outputs) in LAYERS.items():
        vgg[f"features.{layer}.weight"] = torch.randn((outputs, inputs, 3, 3), generator=generator) * (2 / 9 / inputs) ** 0.5
        vgg[f"features.{layer}.bias"] = torch.randn(outputs, generator=generator) / 10
    sizes = [LAYERS[layer][1] for layer in ENDS]
    linear = {
        f"lin{number}.model.1.weight": torch.rand((1, size, 1, 1), generator=generator) for number, size in enumerate(sizes)
    }
    return vgg | {"classifier.0.bias": torch.zeros(4096)}, linear


@pytest.fixture(scope="module")
def folder(weights: tuple[dict[str, Tensor], dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("weights")
    torch.save(weights[0], root / lpips.VGG)
    torch.save(weights[1], root / lpips.LINEAR)
    return root


def spelt_out(vgg: dict[str, Tensor], linear: dict[str, Tensor], a: Tensor, b: Tensor) -> float:
    """The published formula, pixel by pixel."""
    maps: list[list[np.ndarray]] = []
    for picture in (a, b):
        colour = [(2 * picture[c] - 1 - (-0.030, -0.088, -0.188)[c]) / (0.458, 0.448, 0.450)[c] for c in range(3)]
        hidden, found = torch.stack(colour)[None], []
        for layer in LAYERS:
            hidden = functional.conv2d(hidden, vgg[f"features.{layer}.weight"], vgg[f"features.{layer}.bias"], padding=1).relu()
            if layer in ENDS:
                found.append(hidden[0].double().numpy())
                hidden = functional.max_pool2d(hidden, 2, 2)
        maps.append(found)
    total = 0.0
    for number, (one, other) in enumerate(zip(*maps, strict=True)):
        scale = linear[f"lin{number}.model.1.weight"].numpy().ravel()
        _, height, width = one.shape
        for y, x in np.ndindex(height, width):
            first, second = (part[:, y, x] / (np.linalg.norm(part[:, y, x]) + 1e-10) for part in (one, other))
            total += float(scale @ (first - second) ** 2) / (height * width)
    return total


def test_the_distance_is_the_published_one(folder: Path, weights: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand((2, 3, 37, 34), generator=generator)
    measured = lpips.load(folder / lpips.VGG, folder / lpips.LINEAR)
    assert measured.distance(a, b) == pytest.approx(spelt_out(*weights, a, b), rel=1e-4)
    assert measured.distance(a, a) == 0 and measured.distance(a, b) == pytest.approx(measured.distance(b, a))
    assert 0 < measured.distance(a, (a + 0.02).clamp(max=1)) < measured.distance(a, b)


def test_safetensors_are_read_too(folder: Path, tmp_path: Path, weights: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
    safetensors.torch.save_file(weights[1], tmp_path / "linear.safetensors")
    read, saved = (lpips.load(folder / lpips.VGG, path) for path in (folder / lpips.LINEAR, tmp_path / "linear.safetensors"))
    assert all(torch.equal(one, other) for one, other in zip(read.linear, saved.linear, strict=True))


def test_wrong_pictures_are_refused(folder: Path) -> None:
    measured = lpips.load(folder / lpips.VGG, folder / lpips.LINEAR)
    picture = torch.zeros(3, 16, 16)
    for other in (torch.zeros(3, 16, 17), torch.zeros(16, 16, 3), torch.zeros(1, 3, 16, 16)):
        with pytest.raises(ValueError, match=r"cannot be compared; expected \(3, H, W\) of the same size"):
            measured.distance(picture, other)
    with pytest.raises(ValueError, match="at least 16 pixels wide and high"):
        measured.distance(torch.zeros(3, 15, 99), torch.zeros(3, 15, 99))
    for wrong in (255.0, float("nan")):
        with pytest.raises(ValueError, match=rf"a picture with colours from {wrong:.3g} to {wrong:.3g}; expected 0 to 1"):
            measured.distance(picture, torch.full((3, 16, 16), wrong))


def test_wrong_files_are_named(folder: Path, tmp_path: Path, weights: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
    vgg, linear = folder / lpips.VGG, folder / lpips.LINEAR
    with pytest.raises(FileNotFoundError, match=r"none.pth: no such file; expected VGG-16's weights"):
        lpips.load(tmp_path / "none.pth", linear)
    with pytest.raises(FileNotFoundError, match=r"none.pth: no such file; expected LPIPS's weights of VGG-16's channels"):
        lpips.load(vgg, tmp_path / "none.pth")
    with pytest.raises(ValueError, match=r"vgg.pth: features.0.weight is missing; LPIPS with VGG-16 needs \(64, 3, 3, 3\)"):
        lpips.load(linear, linear)
    torch.save(weights[1] | {"lin3.model.1.weight": torch.zeros(1, 384, 1, 1)}, tmp_path / "alex.pth")
    with pytest.raises(ValueError, match=re.escape("alex.pth: lin3.model.1.weight is (1, 384, 1, 1); LPIPS with VGG-16 needs")):
        lpips.load(vgg, tmp_path / "alex.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ValueError, match=r"text.pth: not a state dict that can be read \("):
        lpips.load(vgg, tmp_path / "text.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list.pth: not a state dict that can be read \("):
        lpips.load(vgg, tmp_path / "list.pth")


def test_files_are_found_where_torch_or_the_reader_keeps_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(lpips.VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert lpips.find() is None
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / lpips.VGG).touch()
    assert lpips.find() is None  # without the other
    (cache / lpips.LINEAR).touch()
    assert lpips.find() == (cache / lpips.VGG, cache / lpips.LINEAR)
    monkeypatch.setenv(lpips.VARIABLE, str(folder))
    assert lpips.find() == (folder / lpips.VGG, folder / lpips.LINEAR)
    monkeypatch.setenv(lpips.VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"vgg16-397923af.pth: no such file; HEADS_LPIPS has to name a folder with vgg16"):
        lpips.find()
