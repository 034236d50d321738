"""How well rendered pictures agree with photographs that the method has not seen: PSNR and SSIM, as scikit-image computes them.

What follows is how `score` compares; `in_faces`, for people who are all in one light, compares colours as they are.

Nobody can know the exposure and the white balance of a photograph that was held out. So each of its channels gets one factor for
the rendered picture, by least squares over the mask, before anything is compared. Only pixels of the photograph's mask count,
and one that the rendered picture misses is black: what it shows too much of costs nothing here.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from heads import files

MOST_DB = 100.0  # what equal pictures get, whose ratio is infinite: a record holds only finite numbers


def score(rendered: np.ndarray, hit: np.ndarray, photographs: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """`psnr_db` and `ssim`, each the mean over the photographs (V, H, W, 3) in [0, 1], inside their `masks` (V, H, W) bool.

    `rendered` (V, H, W, 3) in [0, 1] counts where it is `hit` (V, H, W) bool. ValueError if the sizes differ or a mask is empty.
    """
    if not rendered.shape == photographs.shape == (*masks.shape, 3) or hit.shape != masks.shape or len(masks) == 0:
        raise ValueError(
            f"rendered pictures of shape {rendered.shape} cannot be compared with photographs of {photographs.shape}"
        )
    if not masks.any(axis=(1, 2)).all():
        raise ValueError("the mask of a photograph to be compared with is empty")
    shown = exposed(rendered, hit, photographs, masks)
    seen = photographs.astype(np.float64) * masks[..., None]
    with np.errstate(divide="ignore"):  # of equal pictures
        ratios_db = [peak_signal_noise_ratio(b[m], a[m], data_range=1.0) for a, b, m in zip(shown, seen, masks, strict=True)]
    maps = [structural_similarity(a, b, channel_axis=-1, data_range=1.0, full=True)[1] for a, b in zip(shown, seen, strict=True)]
    likeness = [one[m].mean() for one, m in zip(maps, masks, strict=True)]
    return {"psnr_db": float(np.minimum(ratios_db, MOST_DB).mean()), "ssim": float(np.mean(likeness))}


def in_faces(rendered: np.ndarray, photographs: np.ndarray, faces: np.ndarray) -> dict[str, float]:
    """`psnr_db`, `ssim` and `l1` in the `faces` (V, H, W) bool of photographs (V, H, W, 3) in [0, 1], and `psnr_whole_db` of all.

    Pictures `rendered` (V, H, W, 3) on black are compared as they are; the whole is the photograph's face on black. Each is the
    mean over the photographs. ValueError if the sizes differ or a face is empty.
    """
    if not rendered.shape == photographs.shape == (*faces.shape, 3) or not faces.any(axis=(1, 2)).all():
        raise ValueError(f"pictures of shape {rendered.shape} cannot be compared with the faces of {photographs.shape}")
    alone = photographs * faces[..., None]
    pairs = list(zip(rendered.astype(np.float64), alone.astype(np.float64), faces, strict=True))
    with np.errstate(divide="ignore"):  # of equal pictures
        inside = [peak_signal_noise_ratio(b[m], a[m], data_range=1.0) for a, b, m in pairs]
        whole = [peak_signal_noise_ratio(b, a, data_range=1.0) for a, b, _ in pairs]
    maps = [
        structural_similarity(a * m[..., None], b, channel_axis=-1, data_range=1.0, full=True)[1][m].mean() for a, b, m in pairs
    ]
    return {
        "psnr_db": float(np.minimum(inside, MOST_DB).mean()),
        "ssim": float(np.mean(maps)),
        "l1": float(np.mean([np.abs(a - b)[m].mean() for a, b, m in pairs])),
        "psnr_whole_db": float(np.minimum(whole, MOST_DB).mean()),
    }


def exposed(rendered: np.ndarray, hit: np.ndarray, photographs: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The rendered pictures (V, H, W, 3) as they are compared: with the photographs' exposure, black outside of mask and hit."""
    shown = rendered.astype(np.float64) * (hit & masks)[..., None]
    squares = (shown**2).sum(axis=(1, 2), keepdims=True)
    factors = (shown * photographs).sum(axis=(1, 2), keepdims=True) / np.where(squares > 0, squares, 1.0)
    return np.clip(factors * shown, 0.0, 1.0)


def load(folder: Path | str) -> tuple[list[int], np.ndarray, np.ndarray]:
    """The pictures NUMBER.png of a folder: numbers, `rendered` (V, H, W, 3) float in [0, 1], `hit` (V, H, W) bool from the alpha.

    Nothing where there is no such folder; ValueError names a file that is not such a picture, or of another size.
    """
    paths = sorted((path for path in Path(folder).glob("*.png") if path.stem.isdecimal()), key=lambda path: int(path.stem))
    found = [_read(path) for path in paths]
    for path, one in zip(paths, found, strict=True):
        if one.shape != found[0].shape:
            raise ValueError(f"{path}: this picture has another size than {paths[0].name}")
    whole = np.stack(found) if found else np.zeros((0, 1, 1, 4), dtype=np.uint8)
    return [int(path.stem) for path in paths], whole[..., :3] / 255, whole[..., 3] > 127


def _read(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return np.array(picture.convert("RGBA"))
    except Exception as error:  # a broken picture can fail in many ways
        raise ValueError(f"{path}: not a picture that can be read: {files.reason(error)}") from None
