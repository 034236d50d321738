"""AFLW2000-3D in the form of Pixel2Mesh's variant for faces: read, learned from, and refused in a sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from heads.data import aflw
from heads.methods.pixel2mesh import learn, model

SIZE, LEFT, TOP = 80, 100.0, 40.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two faces that are half balls of 30 pixels, in the middle of crops."""
    (tmp_path / "nme").mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        directions = rng.normal(size=(300, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        directions[:, 2] = np.abs(directions[:, 2])  # towards the viewer
        px = directions * 30 + [LEFT + (SIZE - 1) / 2, TOP + (SIZE - 1) / 2, 50]
        table = np.column_stack([px, directions, np.arange(300) % 3])
        np.savetxt(tmp_path / f"image{number:05d}.txt", table)
        np.savetxt(tmp_path / f"image{number:05d}_crop.txt", [LEFT, TOP])
        np.savetxt(tmp_path / "nme" / f"image{number:05d}.txt", [60.0])
        Image.fromarray(rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)).save(tmp_path / f"image{number:05d}.jpg")
    return tmp_path


def test_points_lie_in_the_frame_of_the_crop(folder: Path) -> None:
    photographs = aflw.read(folder)
    one = photographs[1]
    assert len(photographs) == 2 and one.name == "image00001" and one.face_px == 60 and one.picture.shape == (SIZE, SIZE, 3)
    radius = 30 / (SIZE / 2) * aflw.HALF
    flat = np.hypot(one.points[:, 0], one.points[:, 1])
    assert flat.max() == pytest.approx(radius, rel=0.02)
    assert one.points[:, 2].max() == pytest.approx(radius / 2, rel=0.02)  # the nearest, as far from the origin as the farthest
    assert np.allclose(one.normals[:, 2], np.abs(one.normals[:, 2])) and np.allclose(np.linalg.norm(one.normals, axis=1), 1)


def test_a_batch_has_the_published_shares_of_points_where_its_camera_sees_them(folder: Path) -> None:
    config = replace(learn.PRESETS["published"]["SMOKE"], points=1800)
    batch = learn.crops_batch(aflw.read(folder), config, torch.Generator().manual_seed(0))
    assert batch.points.shape == (2, 1800, 3) and batch.images.shape == (2, 3, 64, 64)
    px = batch.camera.project(batch.points)
    assert float((px - 31.5).norm(dim=2).max()) == pytest.approx(30 * 64 / SIZE, rel=0.03)


def test_a_crop_that_is_not_square_is_seen_as_a_square_with_its_points(folder: Path) -> None:
    Image.fromarray(np.zeros((SIZE, SIZE // 2, 3), dtype=np.uint8)).save(folder / "image00000.jpg")
    one = aflw.read(folder, ["image00000"])
    batch = learn.crops_batch(one, replace(learn.PRESETS["published"]["SMOKE"], points=900), torch.Generator().manual_seed(0))
    px = batch.camera.project(batch.points)[0]
    assert float(np.ptp(px[:, 0].numpy()) / np.ptp(px[:, 1].numpy())) == pytest.approx(2, rel=0.05)


def test_the_published_losses_learn_from_it(folder: Path) -> None:
    config = replace(learn.PRESETS["published"]["SMOKE"], steps=2)
    learned, history = model.learned_from_crops("one", aflw.read(folder), config)
    assert learned.kind == "published" and len(history) == 2 and all(np.isfinite(list(row.values())).all() for row in history)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("image00000.txt", "1 2 3\n", "expected rows of 7 numbers|expected rows of 7 finite numbers, not an array of 1 x 3"),
        ("image00000.txt", "140 80 0 0 0 1 7\n", "its last column has other numbers than the regions 0, 1 and 2"),
        ("image00000.txt", "0.14 0.08 0 0 0 1 1\n", "none of its points is in the crop; expected pixels of the photograph"),
        ("image00000_crop.txt", "here\n", "expected rows of 2 numbers"),
        ("nme/image00000.txt", "nan\n", "expected rows of 1 finite numbers"),
        ("image00000.jpg", "no picture", "not a picture that can be read"),
    ],
)
def test_a_wrong_file_is_named(folder: Path, file: str, text: str, said: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(ValueError, match=said) as error:
        aflw.read(folder)[0]
    assert str(folder / file) in str(error.value)


def test_a_missing_file_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "image00000_crop.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"image00000_crop.txt: no such file"):
        aflw.read(folder)[0]
    with pytest.raises(FileNotFoundError, match=r"nobody.jpg: no such file"):
        aflw.read(folder, ["nobody"])
    with pytest.raises(FileNotFoundError, match=r"no \*.jpg; expected AFLW2000-3D"):
        aflw.read(tmp_path / "nme")
