"""PSNR and SSIM of rendered pictures against what they are in closed form."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from heads import pictures

VIEWS, HEIGHT, WIDTH = 3, 60, 50


@pytest.fixture
def masks() -> np.ndarray:
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([(row - 30) ** 2 + (column - 20 - 5 * i) ** 2 < 18**2 for i in range(VIEWS)])


@pytest.fixture
def photographs() -> np.ndarray:
    """Between 0.2 and 0.8, so that neither noise nor a factor leads out of the picture's range."""
    return np.random.default_rng(0).uniform(0.2, 0.8, (VIEWS, HEIGHT, WIDTH, 3))


def test_equal_pictures_are_alike_and_their_infinite_ratio_is_capped(photographs: np.ndarray, masks: np.ndarray) -> None:
    scores = pictures.score(photographs, masks, photographs, masks)
    assert scores == {"psnr_db": pytest.approx(100.0), "ssim": pytest.approx(1.0)}
    assert scores["psnr_db"] <= pictures.MOST_DB


def test_noise_gives_the_ratio_of_its_size(photographs: np.ndarray, masks: np.ndarray) -> None:
    for sigma in (0.01, 0.05):
        noise = np.random.default_rng(1).normal(0, sigma, photographs.shape)
        scores = pictures.score(photographs + noise, masks, photographs, masks)
        assert scores["psnr_db"] == pytest.approx(-20 * np.log10(sigma), abs=0.2)
        assert 0 < scores["ssim"] < 1


def test_the_exposure_of_a_picture_and_its_white_balance_do_not_count(photographs: np.ndarray, masks: np.ndarray) -> None:
    rendered = photographs + np.random.default_rng(1).normal(0, 0.05, photographs.shape)
    other = rendered.copy()
    other[1] *= 1.2
    other[2] *= [0.5, 0.9, 1.1]
    expected = pictures.score(rendered, masks, photographs, masks)
    assert pictures.score(other, masks, photographs, masks) == pytest.approx(expected)
    darker = photographs * np.array([1.0, 0.6, 0.9])[:, None, None, None]  # of the photographs themselves: alike they stay so
    assert pictures.score(photographs, masks, darker, masks) == pytest.approx({"psnr_db": 100.0, "ssim": 1.0})


def test_what_lies_outside_the_masks_does_not_count(photographs: np.ndarray, masks: np.ndarray) -> None:
    rendered = photographs + np.random.default_rng(1).normal(0, 0.05, photographs.shape)
    everywhere = np.ones_like(masks)
    elsewhere, background = (np.where(masks[..., None], some, 0.9) for some in (rendered, photographs))
    expected = pictures.score(rendered, masks, photographs, masks)
    assert pictures.score(elsewhere, everywhere, background, masks) == pytest.approx(expected)


def test_a_pixel_of_the_mask_that_is_missed_is_black(masks: np.ndarray) -> None:
    photographs = np.full((VIEWS, HEIGHT, WIDTH, 3), 0.5)
    hit = masks & (np.arange(HEIGHT) < 30)[:, None]
    scores = pictures.score(photographs, hit, photographs, masks)
    missed = 1 - hit.sum((1, 2)) / masks.sum((1, 2))
    assert scores["psnr_db"] == pytest.approx(float(np.mean(-10 * np.log10(missed * 0.25))))
    assert scores["ssim"] < 0.7
    nothing = pictures.score(photographs, ~everything(masks), photographs, masks)
    assert nothing["psnr_db"] == pytest.approx(-10 * np.log10(0.25)) and nothing["ssim"] < 0.1


def everything(masks: np.ndarray) -> np.ndarray:
    return np.ones_like(masks)


def test_the_scores_are_the_means_of_those_of_each_photograph(photographs: np.ndarray, masks: np.ndarray) -> None:
    rendered = (
        photographs + np.random.default_rng(1).normal(0, 1, photographs.shape) * np.array([0.01, 0.03, 0.1])[:, None, None, None]
    )
    apart = [pictures.score(*(x[i : i + 1] for x in (rendered, masks, photographs, masks))) for i in range(VIEWS)]
    for name, value in pictures.score(rendered, masks, photographs, masks).items():
        assert value == pytest.approx(np.mean([one[name] for one in apart]))


def test_with_a_mask_of_everything_ssim_is_the_mean_of_its_map(photographs: np.ndarray, masks: np.ndarray) -> None:
    rendered, everywhere = 0.9 * photographs[::-1], everything(masks)
    shown = pictures.exposed(rendered, everywhere, photographs, everywhere)
    maps = [
        structural_similarity(a, b, channel_axis=-1, data_range=1.0, full=True)[1]
        for a, b in zip(shown, photographs, strict=True)
    ]
    assert pictures.score(rendered, everywhere, photographs, everywhere)["ssim"] == pytest.approx(np.mean(maps))


def test_pictures_of_other_sizes_and_empty_masks_are_refused(photographs: np.ndarray, masks: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"rendered pictures of shape \(3, 60, 49, 3\) cannot be compared"):
        pictures.score(photographs[:, :, 1:], masks[:, :, 1:], photographs, masks)
    with pytest.raises(ValueError, match="cannot be compared"):
        pictures.score(photographs[:0], masks[:0], photographs[:0], masks[:0])
    masks[1] = False
    with pytest.raises(ValueError, match=r"mask of a photograph .* is empty"):
        pictures.score(photographs, masks, photographs, masks)


def test_a_folder_without_pictures_has_none_and_a_broken_one_is_named(tmp_path: Path) -> None:
    numbers, rendered, hit = pictures.load(tmp_path / "novel")
    assert numbers == [] and rendered.shape[0] == hit.shape[0] == 0
    (tmp_path / "0003.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"0003\.png: not a picture that can be read"):
        pictures.load(tmp_path)
    for name, size in (("0003", (4, 5)), ("0004", (5, 4))):
        Image.new("RGBA", size).save(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match=r"0004\.png: this picture has another size than 0003\.png"):
        pictures.load(tmp_path)
