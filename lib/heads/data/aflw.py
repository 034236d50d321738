"""AFLW2000-3D in the form that Pixel2Mesh's variant for faces prepares: crops of photographs, with points of the face in them.

    FOLDER/NAME.jpg         the crop
    FOLDER/NAME.txt         N rows of 7 numbers: a point in pixels of the photograph (x to the right, y down, z to the viewer),
                            its normal, and 0, 1 or 2, which region it is of
    FOLDER/NAME_crop.txt    left and top of the crop, in pixels
    FOLDER/nme/NAME.txt     the size of the face, in pixels

The camera is orthographic. Faces are not registered, so that only the published losses can learn from them. A crop's frame has
its origin in its middle, x to the right, y up and z towards the viewer, and `HALF` units are half its width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from heads import files

HALF = 1.2  # units that half a crop is wide


@dataclass(frozen=True)
class Photograph:
    """A crop (H, W, 3) uint8; `points` (N, 3) and `normals` (N, 3) in its frame, `regions` (N,); `face_px` is the face's size.

    What is nearest and what is farthest are equally far from the frame's origin.
    """

    name: str
    picture: np.ndarray
    points: np.ndarray
    normals: np.ndarray
    regions: np.ndarray
    face_px: float


@dataclass(frozen=True)
class Photographs:
    """All photographs of a folder, by name; each is read when it is asked for."""

    folder: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Photograph:
        """One of them; FileNotFoundError or ValueError names the file that is missing or wrong."""
        name = self.names[number]
        table, corner = _numbers(self.folder / f"{name}.txt", 7), _numbers(self.folder / f"{name}_crop.txt", 2).reshape(-1)
        size = _numbers(self.folder / "nme" / f"{name}.txt", 1).reshape(-1)
        regions = table[:, 6].astype(int)
        if not np.isin(table[:, 6], (0, 1, 2)).all():
            raise ValueError(f"{self.folder / name}.txt: its last column has other numbers than the regions 0, 1 and 2")
        try:
            with Image.open(self.folder / f"{name}.jpg", formats=("JPEG",)) as picture:
                crop = np.array(picture.convert("RGB"))
        except Exception as error:  # a broken picture can fail in many ways
            raise ValueError(f"{self.folder / name}.jpg: not a picture that can be read ({files.reason(error)})") from None
        half = np.array([crop.shape[1] - 1, crop.shape[0] - 1]) / 2
        scale = crop.shape[1] / 2 / HALF  # pixels in a unit
        px = table[:, :3]
        depth = (px[:, 2].min() + px[:, 2].max()) / 2
        if not ((px[:, :2] > corner - 1) & (px[:, :2] < corner + crop.shape[1::-1])).all(axis=1).any():
            raise ValueError(f"{self.folder / name}.txt: none of its points is in the crop; expected pixels of the photograph")
        points = np.stack([px[:, 0] - corner[0] - half[0], corner[1] + half[1] - px[:, 1], px[:, 2] - depth], axis=1) / scale
        return Photograph(name, crop, points, table[:, 3:6] * [1, -1, 1], regions, float(size[0]))


def read(folder: str | Path, names: Sequence[str] | None = None) -> Photographs:
    """The photographs of a folder, or those of these names; FileNotFoundError where there are none."""
    root = Path(folder)
    found = [path.stem for path in sorted(root.glob("*.jpg"))]
    chosen = found if names is None else list(names)
    if missing := [name for name in chosen if name not in found]:
        raise FileNotFoundError(f"{root / missing[0]}.jpg: no such file")
    if not chosen:
        raise FileNotFoundError(f"{root}: no *.jpg; expected AFLW2000-3D as Pixel2Mesh's variant for faces prepares it")
    return Photographs(root, tuple(chosen))


def _numbers(path: Path, columns: int) -> np.ndarray:
    """A table (N, columns) of finite numbers; FileNotFoundError or ValueError names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected AFLW2000-3D as Pixel2Mesh's variant for faces prepares it")
    try:
        table = np.array(
            [[float(word) for word in line.replace(",", " ").split()] for line in files.text(path).splitlines() if line.strip()]
        )
    except ValueError as error:
        raise ValueError(f"{path}: expected rows of {columns} numbers ({files.reason(error)})") from None
    if table.size == columns:
        table = table.reshape(1, columns)
    if table.ndim != 2 or not len(table) or table.shape[1] != columns or not np.isfinite(table).all():
        raise ValueError(
            f"{path}: expected rows of {columns} finite numbers, not an array of {' x '.join(map(str, table.shape))}"
        )
    return table
