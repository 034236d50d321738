"""A stranger's picture becomes a face: found, cut out and deformed, with no camera but a guess at its lens."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image, ImageOps

from heads import files
from heads.methods.pixel2mesh import crop as cropping
from heads.methods.pixel2mesh import locate, model
from heads.methods.pixel2mesh.crop import Crop

SUFFIXES = {".jpg", ".jpeg", ".png"}
MOST_MEGAPIXELS = 64.0
FRAME_MM = 36.0  # the longer side of the film that a focal length is said for
_FOCAL_LENGTH_OF_FILM, _EXIF = 0xA405, 0x8769  # in EXIF: in mm, for film; and where EXIF is


@dataclass(frozen=True)
class Prediction:
    """A picture (H, W, 3) uint8, the face that was found in it, and its vertices (V, 3) at each level.

    They are in mm about the middle of the face, x to the right in the picture, y up and z towards the camera. The size is that of
    most people, for nobody can tell it from a picture.
    """

    picture: np.ndarray
    face: locate.Face
    crop: Crop
    levels_mm: list[np.ndarray]


def pictures(folder: str | Path) -> list[Path]:
    """The JPEG and PNG files of a folder; FileNotFoundError where there are none."""
    found = [path for path in sorted(Path(folder).glob("*")) if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not found:
        raise FileNotFoundError(f"{folder}: no pictures; expected a folder of JPEG or PNG files")
    return found


def read(path: Path) -> tuple[np.ndarray, float | None]:
    """A picture (H, W, 3) uint8, turned as its EXIF says, and its focal length in pixels or None; ValueError names the file."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=("JPEG", "PNG")) as picture:
            warnings.simplefilter("ignore")
            if picture.width * picture.height > 1e6 * MOST_MEGAPIXELS:
                raise ValueError(f"it has {picture.width}x{picture.height} pixels; the limit is {MOST_MEGAPIXELS:g} million")
            film_mm = _film_mm(picture)
            upright = np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    except Exception as error:  # a broken picture can fail in many ways
        raise ValueError(f"{path}: not a picture that can be read ({files.reason(error)})") from None
    focal_px = film_mm / FRAME_MM * max(upright.shape[:2]) if film_mm else None
    return upright, focal_px


def _film_mm(picture: Image.Image) -> float | None:
    """The focal length that EXIF says for film, in mm; None where it says none, or nonsense."""
    try:
        said = float(picture.getexif().get_ifd(_EXIF)[_FOCAL_LENGTH_OF_FILM])
    except Exception:  # EXIF can be broken in many ways, and the picture is none the worse for it
        return None
    return said if 5 < said < 2000 else None


def predict(learned: model.Model, network: locate.Locator, path: Path, field_of_view_deg: float) -> Prediction:
    """The face of a picture on the disk; ValueError, which names the file, if it has none, or several, or cannot be used."""
    picture, focal_px = read(path)
    height, width = picture.shape[:2]
    if np.ptp(picture) < 8:
        raise ValueError(f"{path}: every pixel is about the same; expected a photograph")
    face = locate.the_face(network, picture, str(path))
    focal = focal_px or max(width, height) / 2 / np.tan(np.radians(field_of_view_deg) / 2)
    px_from_cam = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    mm_from_cam = np.eye(4)
    mm_from_cam[:3, :3] = cropping.FLIP  # a world with y up, to which a face looks straight ahead
    crop = cropping.around_pixel(px_from_cam, mm_from_cam, face.middle_px, cropping.distance_of_size(px_from_cam, face.side_px))
    frame = crop.mm_from_frame
    levels = [
        (points - frame[:3, 3]) @ frame[:3, :3] / cropping.MM_PER_UNIT for points in model.levels_mm(learned, picture, crop)
    ]
    return Prediction(picture, face, crop, levels)


def filled(face: trimesh.Trimesh) -> trimesh.Trimesh:
    """A face without the hole of the published template: every open boundary but the longest gets a vertex in its middle."""
    edges = face.edges[trimesh.grouping.group_rows(face.edges_sorted, require_count=1)]
    after = {int(one): int(other) for one, other in edges}  # in the order of the triangles beside it
    loops: list[list[int]] = []
    while after:
        loop = [next(iter(after))]
        while loop[-1] in after:
            loop.append(after.pop(loop[-1]))
        loops.append(loop[:-1])
    vertices, faces = [np.asarray(face.vertices)], [np.asarray(face.faces)]
    for number, loop in enumerate(sorted(loops, key=len)[:-1]):
        vertices.append(face.vertices[loop].mean(axis=0, keepdims=True))
        faces.append(
            np.array([[len(face.vertices) + number, two, one] for one, two in zip(loop, [*loop[1:], loop[0]], strict=True)])
        )
    return trimesh.Trimesh(np.concatenate(vertices), np.concatenate(faces), process=False)


def deformation(learned: model.Model, levels_mm: list[np.ndarray], frames: int) -> list[np.ndarray]:
    """From the template to the face in so many steps a level: the vertices (V, 3) of each, in mm.

    At first the coarsest level moves from the template to where its block leaves it, then each next from where it was unpooled.
    """
    template, steps, before = learned.template, [], None
    for number, points in enumerate(levels_mm):
        parents = template.levels[number].parents
        start = template.at(number) * cropping.MM_PER_UNIT
        if before is not None:
            start = np.concatenate([before, before[parents].mean(axis=1)])
        steps += [start + share * (points - start) for share in np.linspace(0, 1, frames)]
        before = points
    return steps
