"""Shared fixtures: a scene whose surface, silhouettes and colours are known in closed form; copies of the repository."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import copies
import numpy as np
import pytest
import torch
from torch import Tensor

from heads import camera
from heads.scene import Scene

torch.set_num_threads(1)

SEMI_AXES = torch.tensor([0.5, 0.7, 0.6])


def ellipsoid_distance(points: Tensor) -> Tensor:
    """First-order distance (N,) of points (N, 3) to the ellipsoid that `ellipsoid_scene` photographs."""
    scaled = (points / SEMI_AXES).norm(dim=-1)
    return scaled * (scaled - 1) / ((points / SEMI_AXES**2).norm(dim=-1) + 1e-9)


@pytest.fixture(scope="session")
def ellipsoid_scene() -> Scene:
    """Five photographs of 96 x 96 pixels of a coloured ellipsoid; 1 unit is 150 mm."""
    size, images, masks, poses = 96, [], [], []
    px_from_cam = torch.tensor([[150.0, 0, size / 2 - 0.5], [0, 150, size / 2 - 0.5], [0, 0, 1]])
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    pixels = torch.stack([column, row], dim=-1).reshape(-1, 2).float()
    for azimuth in np.radians([0, 45, -45, 90, 180]):
        position = np.array([3 * np.sin(azimuth), 0.3, 3 * np.cos(azimuth)])
        pose = torch.tensor(camera.look_at(position, np.zeros(3), np.array([0.0, 1.0, 0.0]))).float()
        origins, directions = camera.rays(px_from_cam, pose, pixels)
        o, d = origins / SEMI_AXES, directions / SEMI_AXES
        a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
        hit = b**2 - a * c > 0
        points = origins + ((-b - (b**2 - a * c).clamp(min=0).sqrt()) / a)[:, None] * directions
        normals = torch.nn.functional.normalize(points / SEMI_AXES**2, dim=-1)
        colours = (0.5 + 0.25 * torch.sin(8 * points) + 0.25 * normals[:, 1:2].clamp(min=0)) * hit[:, None]
        images.append(colours.view(size, size, 3))
        masks.append(hit.view(size, size))
        poses.append(pose)
    return Scene(
        "ellipsoid",
        (0, 1, 2, 3, 4),
        torch.stack(images),
        torch.stack(masks),
        px_from_cam.expand(5, 3, 3).contiguous(),
        torch.stack(poses),
        torch.diag(torch.tensor([150.0, 150.0, 150.0, 1.0])),
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a study needs, one for each file of tests."""
    return copies.repository(tmp_path_factory.mktemp("a repository"))


@pytest.fixture
def forget() -> Iterator[Callable[[], None]]:
    """`copies.forget`, before the test and after it too."""
    copies.forget()
    yield copies.forget
    copies.forget()


@pytest.fixture
def empty_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of the notebooks alone, which is the current folder; the library is that of the tests."""
    (tmp_path / "Snakefile").touch()
    shutil.copytree(copies.ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns("*.ipynb"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What takes longest goes first, so that nobody waits for it in the end. Whoever begins with a file of one or two tests is given a
# second file at once; hence the three short ones among them.
FIRST = ["slurm", "shipped_studies", "whole_study", "blog", "runner", "readme", "kill", "optimizers", "warm", "protocols"]
FIRST += ["synthetic", "choose", "idr", "status", "notebooks", "lock", "speed", "autodecoder", "hostile", "tables", "average"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of the files, of those that it does not name as it was."""
    order = {f"test_{name}.py": number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, len(FIRST)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have found out, as they said with `record_property("said", ...)`."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    said = [(report.nodeid, value) for report in reports for name, value in report.user_properties if name == "said"]
    for place, value in said:
        terminalreporter.section(place, sep="-")
        terminalreporter.write_line(str(value))
