"""The scan of a scene, by which reconstructions are judged; kept apart from what a fit imports, so that no method can see it."""

import re
from pathlib import Path

import numpy as np
import trimesh

from heads import files
from heads.data.h3ds import scene_folder
from heads.truth import Truth

MOST_MB = 1000  # of a scan
NEEDED = ("face", "face_sphere")  # the regions that the scores use


def truth_files(root: str | Path, scene_id: str) -> list[str]:
    """What `load_truth` reads of a scene: its scan, landmarks if there are any, and regions."""
    folder = Path(root, scene_id)
    regions = folder / "regions"
    return [str(path) for path in (folder / "full_head.obj", folder / "landmarks.txt", regions, *sorted(regions.glob("*.txt")))]


def load_truth(root: str | Path, scene_id: str, *, config: str | Path | None = None) -> Truth:
    """The scan of one scene in millimetres, vertices in the order of its file, with its regions and any landmarks."""
    folder, _ = scene_folder(root, scene_id, config)
    mesh_mm = read_obj(folder / "full_head.obj", scene_id)
    landmarks: dict[str, int] = {}
    for line in _lines(folder / "landmarks.txt", scene_id) if (folder / "landmarks.txt").is_file() else []:
        name, _, index = line.partition(" ")
        if not index.isdecimal():
            raise ValueError(
                f"{folder / 'landmarks.txt'}: a line of scene {scene_id} is not a name and a vertex: {files.shown(line)}"
            )
        landmarks[name] = int(index)
    regions: dict[str, np.ndarray] = {}
    for path in sorted({*(folder / "regions").glob("[!.]*.txt"), *(folder / "regions" / f"{name}.txt" for name in NEEDED)}):
        try:
            regions[path.stem] = np.array([int(line) for line in _lines(path, scene_id)], dtype=np.int64)
        except (ValueError, OverflowError) as error:
            raise ValueError(
                f"{path}: a region of scene {scene_id} is one vertex number a line ({files.reason(error)})"
            ) from None
        if len(regions[path.stem]) == 0:
            raise ValueError(f"{path}: this region of scene {scene_id} is empty")
    named = [(folder / "landmarks.txt", np.array([vertex])) for vertex in landmarks.values()]
    for path, vertices in named + [(folder / "regions" / f"{name}.txt", region) for name, region in regions.items()]:
        wrong = vertices[(vertices < 0) | (vertices >= len(mesh_mm.vertices))]
        if len(wrong):
            last = len(mesh_mm.vertices) - 1
            raise ValueError(f"{path}: vertex {wrong[0]} of scene {scene_id} does not exist, the last of its mesh is {last}")
    return Truth(name=scene_id, mesh_mm=mesh_mm, landmarks=landmarks, regions=regions)


def read_obj(path: str | Path, scene_id: str) -> trimesh.Trimesh:
    """A Wavefront OBJ, vertices exactly as in the file: general readers split them along texture seams and drop unused ones.

    Polygons become fans; colours, texture and normals are ignored.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; scene {scene_id} needs its mesh")
    text = files.content(path, MOST_MB).decode(errors="replace")
    try:
        rows = re.findall(r"^[ \t]*v[ \t]+(\S+[ \t]+\S+[ \t]+\S+)", text, re.MULTILINE)
        vertices = np.array(" ".join(rows).split(), dtype=np.float64).reshape(-1, 3)
        corners = re.sub(r"/\S*", "", "\n".join(re.findall(r"^[ \t]*f[ \t]+(.*)$", text, re.MULTILINE)))
        lengths = np.array([len(row.split()) for row in corners.split("\n")] if corners else [], dtype=np.int64)
        indices = np.array(corners.split(), dtype=np.int64) - 1
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: the mesh of scene {scene_id} cannot be read ({files.reason(error)})") from None
    if len(vertices) == 0 or len(indices) == 0:
        raise ValueError(f"{path}: the mesh of scene {scene_id} has {len(vertices)} vertices and {len(lengths)} faces")
    if not np.isfinite(vertices).all():
        raise ValueError(f"{path}: the mesh of scene {scene_id} has a vertex that is not finite")
    if indices.min() < 0 or indices.max() >= len(vertices) or lengths.min() < 3:
        raise ValueError(f"{path}: a face of scene {scene_id} names a vertex that does not exist (there are {len(vertices)})")
    starts = np.cumsum(lengths) - lengths
    fans = [indices[starts[lengths > k + 1][:, None] + [0, k, k + 1]] for k in range(1, int(lengths.max()) - 1)]
    return trimesh.Trimesh(vertices=vertices, faces=np.concatenate(fans), process=False)


def _lines(path: Path, scene_id: str) -> list[str]:
    """Lines of a text file that are not blank."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file (scene {scene_id})")
    return [" ".join(line.split()) for line in files.content(path).decode(errors="replace").splitlines() if line.strip()]
