"""Pictures and numbers of an identity field: its template, its anchors, people whom it has learned from, and tracked ones."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import igl
import numpy as np
import pandas as pd
import torch
import trimesh

from heads import files, lpips, pictures, rays
from heads.data import drawn, h3ds, truth
from heads.methods.identity_field import learn
from heads.methods.identity_field.field import Places
from heads.methods.identity_field.learn import Identities, Model, Shots
from heads.morphable import Morphable
from heads.posts import plots, portraits, results
from heads.posts.plots import Figure
from heads.posts.results import Results
from heads.scene import Scene
from heads.study import records
from heads.study.plan import Study
from heads.truth import Truth

SIZE = 320  # pixels a side of a drawn head
SHOWN = 5  # cameras in a row of pictures
FACING = 0.55  # of the pixels of the face: up to some 75 degrees from straight ahead
_DOT = np.array([30, 90, 220], dtype=np.uint8)


def landmarked(head: Morphable, azimuth: float) -> np.ndarray:
    """The mean head from an azimuth in degrees, its face region dark, with the landmarks that are seen from there."""
    mesh = trimesh.Trimesh(head.mean_mm, head.faces, process=False)
    inside = np.isin(np.arange(len(head.mean_mm)), head.face).astype(float)
    picture = plots.render(mesh, values=0.6 * inside, limits=(0, 1), azimuth=azimuth, size=SIZE)
    marks = np.full((len(head.names), 3), 255, dtype=np.uint8)
    return plots.with_points(picture, mesh, head.landmarks_mm(head.mean_mm), marks, azimuth)


def anchored(head: Morphable, where: Places, each: int, azimuth: float) -> np.ndarray:
    """The mean head with all Gaussians' centres, those of an anchor in one colour."""
    mesh = trimesh.Trimesh(head.mean_mm, head.faces, process=False)
    centres = where.means(torch.from_numpy(head.mean_mm)).numpy()
    colours = np.random.default_rng(0).integers(60, 255, (len(centres) // each, 3), dtype=np.uint8).repeat(each, axis=0)
    return plots.with_points(plots.render(mesh, azimuth=azimuth, size=SIZE), mesh, centres, colours, azimuth)


def left_out_mm(head: Morphable, people: int, *, seed: int) -> dict[str, float]:
    """How far drawn heads' faces are from the nearest that 0, 10, 30 and all components make, in mm from point to surface."""
    counts = sorted({0, 10, 30, len(head.directions_mm)} & set(range(len(head.directions_mm) + 1)))
    found: dict[str, list[float]] = {str(count): [] for count in counts}
    for number in range(people):
        truth = drawn.head_mm_of(seed, number)
        for count in counts:
            basis = head.directions_mm[:count][:, head.face].reshape(count, 3 * len(head.face))
            code = np.linalg.lstsq(basis.T, (truth - head.mean_mm)[head.face].ravel(), rcond=None)[0]
            made = head.vertices_mm(code)
            move, _, _ = trimesh.registration.procrustes(made[head.face], truth[head.face], reflection=False, scale=False)
            placed = trimesh.transform_points(made[head.face], move)
            squares = igl.point_mesh_squared_distance(placed, truth.astype(np.float64), head.faces)[0]
            found[str(count)].append(float(np.sqrt(squares).mean()))
    return {count: float(np.mean(values)) for count, values in found.items()}


def _kept(people: Identities, unseen: int) -> list[int]:
    """The pictures that are not learned from, or all where there are none."""
    return list(range(people.cameras - unseen, people.cameras)) if unseen else list(range(people.cameras))


@torch.no_grad()
def _made(model: Model, people: Identities, person: int, unseen: int) -> tuple[Shots, np.ndarray]:
    shots = learn.shots_of(people, person, _kept(people, unseen))
    device = next(model.field.parameters()).device
    template = people.of(person, "template_mm")[None].to(device)
    made = model.field(model.codes[person][None].to(device), template)[0]
    return shots, learn.seen(made, shots.views).clamp(0, 1).cpu().numpy()


def learned(model: Model, people: Identities, unseen: int) -> dict[str, float]:
    """The scores of everybody whom a field has learned from, by cameras that it has not: `pictures.in_faces`, over people."""
    rows = []
    for person in range(len(people)):
        shots, made = _made(model, people, person, unseen)
        rows.append(pictures.in_faces(made, shots.pictures.numpy(), shots.face[..., 0].numpy() > 0))
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def rows_of(model: Model, people: Identities, unseen: int, most: int = 3) -> list[list[np.ndarray]]:
    """Of some people the pictures of their faces, and below them the field's."""
    rows: list[list[np.ndarray]] = []
    for person in np.linspace(0, len(people) - 1, min(most, len(people))).astype(int):
        shots, made = _made(model, people, int(person), unseen)
        for shown in (shots.pictures.numpy(), made * shots.known.numpy()):
            rows.append([*(255 * shown[:6]).round().astype(np.uint8)])
    return rows


def marked(scene: Scene, landmarks_px: np.ndarray) -> list[np.ndarray]:
    """The photographs with the landmarks (V, L, 2) that were found in them."""
    found = []
    for image, marks in zip(scene.images, landmarks_px, strict=True):
        picture = (255 * image).round().byte().numpy().copy()
        for column, row in marks[np.isfinite(marks).all(axis=1)].round().astype(int):
            picture[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = _DOT
        found.append(picture)
    return found[:6]


def outlined(shots: Shots) -> list[np.ndarray]:
    """What is looked at of each photograph: the face on black."""
    return [*(255 * shots.pictures[:6]).round().byte().numpy()]


def masks_of(
    px_from_cam: torch.Tensor, mm_from_cam: torch.Tensor, size_px: tuple[int, int], scan: Truth, region: str
) -> np.ndarray:
    """Where cameras (V, 3, 3), (V, 4, 4) see a region of the scan (V, H, W) bool; ValueError if the scan has no such region."""
    if region not in scan.regions:
        raise ValueError(f"{scan.name}: the scan has no region {region!r}; expected one of {', '.join(scan.regions)}")
    vertices, faces = np.asarray(scan.mesh_mm.vertices), np.asarray(scan.mesh_mm.faces)
    return rays.masks(vertices, faces, scan.regions[region], px_from_cam.double().numpy(), mm_from_cam.double().numpy(), size_px)


def facing(masks: np.ndarray) -> list[int]:
    """Which photographs see most of the face: at least `FACING` of the pixels of the one that sees most."""
    areas = masks.sum(axis=(1, 2))
    return [int(index) for index in np.flatnonzero(areas >= max(1.0, FACING * areas.max()))]


def perceived(rendered: np.ndarray, photographs: np.ndarray, faces: np.ndarray) -> dict[str, float]:
    """`lpips`, the mean LPIPS of faces on black, where the reader has its weights (`lpips.find`); nothing elsewhere."""
    weights = lpips.find()
    if weights is None:
        return {}
    network = lpips.load(*weights)
    pairs = zip(cut(rendered, faces), cut(photographs * faces[..., None], faces), strict=True)
    values = [network.distance(*(torch.from_numpy(x).permute(2, 0, 1).float() / 255 for x in pair)) for pair in pairs]
    return {"lpips": float(np.mean(values))}


def cut(pictures: np.ndarray, faces: np.ndarray, margin: int = 6) -> list[np.ndarray]:
    """Pictures (V, H, W, 3) in [0, 1] as uint8, each a square around its face (H, W) bool, all of one size."""
    boxes = [[(where.min(), where.max()) for where in np.nonzero(face)] for face in faces]
    side = max(int(high - low) + 1 for box in boxes for low, high in box) + 2 * margin
    found = []
    for picture, box in zip(pictures, boxes, strict=True):
        middles = [(low + high + 1) // 2 for low, high in box]
        top, left = (
            int(np.clip(middle - side // 2, 0, max(0, size - side)))
            for middle, size in zip(middles, picture.shape[:2], strict=True)
        )
        part = (255 * picture[top : top + side, left : left + side]).round().astype(np.uint8)
        found.append(np.pad(part, [(0, side - part.shape[0]), (0, side - part.shape[1]), (0, 0)]))
    return found


def placed_mm(mesh_mm: trimesh.Trimesh, scan: Truth, region: str) -> dict[str, float]:
    """`placed_face_mm`: from the scan's region to the mesh as it lies, in mm, the mean over vertices."""
    points = np.asarray(scan.mesh_mm.vertices)[scan.regions[region]]
    squares = igl.point_mesh_squared_distance(points, np.asarray(mesh_mm.vertices), np.asarray(mesh_mm.faces, dtype=np.int64))[0]
    return {"placed_face_mm": float(np.sqrt(squares).mean())}


# ---- of a study

SCORES = {
    "face_psnr_db": "PSNR, dB",
    "face_ssim": "SSIM",
    "face_l1": "L1",
    "face_psnr_whole_db": "PSNR of the whole, dB",
}
HELD = {f"held_{name.removeprefix('face_')}": said for name, said in SCORES.items() if "whole" not in name}
SHAPES = {
    "face_rigid_mm": "face, mm",
    "placed_face_mm": "face as it lies, mm",
    "face_toolbox_mm": "face, toolbox, mm",
    "face_normals_mean_deg": "normals, deg",
    "head_rigid_mm": "head, mm",
}


def told(study: Study) -> dict[tuple[str, str], str]:
    """By method and name of a run, that name, and whether its template was tracked before, or in the same photographs."""
    found = {}
    for fit in study.stage("fit"):
        count = fit.parameters.get("template_views")
        template = "" if count is None else "tracked template" if count else "own template"
        found[fit.row["method"], fit.row["name"]] = ", ".join(filter(None, [fit.row["name"], template]))
    return found


def gathered(found: Results, scores: Mapping[str, str], said: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """`portraits.gather` for each number of photographs, without the methods that have no such score."""
    tables = {views: portraits.gather(results.at(found, views), scores, said).round(3) for views in found.views}
    return pd.concat({views: table[table["people"] > 0] for views, table in tables.items()}, names=["photographs"])


def without_fringe(found: Results, study: Study) -> Results:
    """The results of those people whose hair does not cover the face, by the tags of their data set."""
    roots = {fit.row["subject"]: fit.parameters["root"] for fit in study.stage("fit")}
    shown = []
    for subject, root in roots.items():
        if not Path(root).is_dir() or "fringe" not in h3ds.read_config(root)["scenes"][subject]["tags"]:
            shown.append(subject)
    return replace(found, table=found.table[found.table["subject"].isin(shown)])


def gains(found: Results, score: str) -> dict[str, dict[str, float]]:
    """Each method against those that the study compares it with, for each number of photographs: how much higher it is."""
    rows = {}
    for views in found.views:
        part = results.at(found, views)
        having = part.table.groupby("method")[score].transform("count") > 0 if score in part.table else part.table["status"] == ""
        part = replace(part, table=part.table[having])
        for (one, other), pair in portraits.differences(part, score).items():
            rows[f"{views}: {one} - {other}"] = {
                "dB": pair.mean,
                "from": pair.low,
                "to": pair.high,
                "higher on": float(len(pair.higher)),
                "of": float(pair.n),
            }
    return rows


def records_of(study: Study, notebook: str) -> dict[str, records.Record]:
    """The records of the priors that a notebook made and that are done."""
    jobs = [job for job in study.stage("prior") if job.notebook == notebook and job.record.is_file()]
    return {job.folder.name: records.read(job.record) for job in jobs}


def learned_table(study: Study) -> pd.DataFrame:
    """Of each field that was trained: how well it shows the people it has learned from by other cameras, and its seconds."""
    rows = [
        {"prior": name, **record.scores, "seconds": record.seconds}
        for name, record in records_of(study, "28_identity_field").items()
    ]
    return pd.DataFrame(rows).round(4)


def curves(study: Study) -> dict[str, pd.DataFrame]:
    """By prior, how well validation people were tracked (`psnr_db`) after so many steps (`step`)."""
    found = {}
    for job in study.stage("prior"):
        if job.notebook == "28_identity_field" and (job.folder / "curve.csv").is_file():
            table = files.table(job.folder / "curve.csv", ("step", "psnr_db"))
            if len(table):
                found[job.folder.name] = table
    return found


def gallery(study: Study, method: str, views: int) -> dict[str, Figure]:
    """Each person in a row: the photograph, the face as tracked, then as other cameras see it, each beside its photograph."""
    rows: dict[str, list[np.ndarray]] = {}
    for fit in study.stage("fit"):
        root, subject = fit.parameters["root"], fit.row["subject"]
        asked = fit.row["method"] == method and fit.row["views"] == views and not fit.row["name"]
        if not asked or subject in rows or not (fit.folder / "tracked.png").is_file():
            continue
        scene, scan = h3ds.load_scene(root, subject, 1), truth.load_truth(root, subject)
        numbers, rendered, _ = pictures.load(fit.folder / "novel")
        others = h3ds.load_scene(root, subject, numbers)
        size = (others.masks.shape[1], others.masks.shape[2])
        masks = masks_of(others.px_from_cam, others.mm_from_unit @ others.unit_from_cam, size, scan, "front")
        seen = facing(masks)
        some = [seen[n] for n in np.linspace(0, len(seen) - 1, SHOWN).astype(int)]
        tracked = plots.opened(fit.folder / "tracked.png")[None] / 255
        first = [(255 * scene.images[0]).round().byte().numpy(), *cut(tracked, tracked.max(axis=3) > 0.2)]
        made = cut(rendered[some], masks[some])
        true = cut(others.images.numpy()[some] * masks[some][..., None], masks[some])
        pairs = [one for both in zip(made, true, strict=True) for one in both]
        rows[subject] = [plots.enlarged(picture, SIZE // 2) for picture in (*first, *pairs)]
    titles = ["photograph", "tracked", *["made", "seen"] * SHOWN]
    return {"faces.png": plots.contact_sheet([*rows.values()], [*rows], titles)} if rows else {}
