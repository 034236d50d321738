"""Pictures and tables of an identity field: its template, its anchors, people whom it has learned from, and tracked ones.

Nothing here decides a score: that is in `field_scores`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import trimesh

from heads import files, pictures
from heads.data import h3ds, truth
from heads.methods.identity_field.field import Places
from heads.methods.identity_field.learn import Identities, Model, Shots
from heads.morphable import Morphable
from heads.posts import field_scores, plots, portraits, results
from heads.posts.plots import Figure
from heads.posts.results import Results
from heads.scene import Scene
from heads.study import records
from heads.study.plan import Study

SIZE = 320  # pixels a side of a drawn head
SHOWN = 5  # cameras in a row of pictures


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


def rows_of(model: Model, people: Identities, unseen: int, most: int = 3) -> list[list[np.ndarray]]:
    """Of some people the pictures of their faces, and below them the field's."""
    rows: list[list[np.ndarray]] = []
    for person in np.linspace(0, len(people) - 1, min(most, len(people))).astype(int):
        shots, made = field_scores.made(model, people, int(person), unseen)
        for shown in (shots.pictures.numpy(), made * shots.known.numpy()):
            rows.append([*(255 * shown[:6]).round().astype(np.uint8)])
    return rows


def marked(scene: Scene, landmarks_px: np.ndarray) -> list[np.ndarray]:
    """The photographs with the landmarks (V, L, 2) that were found in them."""
    seen = [torch.from_numpy(marks[np.isfinite(marks).all(axis=1)]) for marks in landmarks_px]
    return [plots.dotted(image.permute(2, 0, 1), marks) for image, marks in zip(scene.images[:6], seen[:6], strict=True)]


def outlined(shots: Shots) -> list[np.ndarray]:
    """What is looked at of each photograph: the face on black."""
    return [*(255 * shots.pictures[:6]).round().byte().numpy()]


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
    tables = {count: portraits.gather(results.at(found, count), scores, said).round(3) for count in found.views}
    return pd.concat({count: table[table["people"] > 0] for count, table in tables.items()}, names=["photographs"])


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
    for count in found.views:
        part = results.at(found, count)
        having = part.table.groupby("method")[score].transform("count") > 0 if score in part.table else part.table["status"] == ""
        part = replace(part, table=part.table[having])
        for (one, other), pair in portraits.differences(part, score).items():
            rows[f"{count}: {one} - {other}"] = {
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


def gallery(study: Study, method: str, count: int) -> dict[str, Figure]:
    """Each person in a row: the photograph, the face as tracked, then as other cameras see it, each beside its photograph."""
    rows: dict[str, list[np.ndarray]] = {}
    for fit in study.stage("fit"):
        root, subject = fit.parameters["root"], fit.row["subject"]
        asked = fit.row["method"] == method and fit.row["views"] == count and not fit.row["name"]
        if not asked or subject in rows or not (fit.folder / "tracked.png").is_file():
            continue
        scene, scan = h3ds.load_scene(root, subject, 1), truth.load_truth(root, subject)
        numbers, rendered, _ = pictures.load(fit.folder / "novel")
        others = h3ds.load_scene(root, subject, numbers)
        size = (others.masks.shape[1], others.masks.shape[2])
        masks = field_scores.masks_of(others.px_from_cam, others.mm_from_unit @ others.unit_from_cam, size, scan, "front")
        seen = field_scores.facing(masks)
        some = [seen[n] for n in np.linspace(0, len(seen) - 1, SHOWN).astype(int)]
        tracked = plots.opened(fit.folder / "tracked.png")[None] / 255
        first = [(255 * scene.images[0]).round().byte().numpy(), *field_scores.cut(tracked, tracked.max(axis=3) > 0.2)]
        made = field_scores.cut(rendered[some], masks[some])
        true = field_scores.cut(others.images.numpy()[some] * masks[some][..., None], masks[some])
        pairs = [one for both in zip(made, true, strict=True) for one in both]
        rows[subject] = [plots.enlarged(picture, SIZE // 2) for picture in (*first, *pairs)]
    titles = ["photograph", "tracked", *["made", "seen"] * SHOWN]
    return {"faces.png": plots.contact_sheet([*rows.values()], [*rows], titles)} if rows else {}
