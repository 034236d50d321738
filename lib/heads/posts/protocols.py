"""What the two protocols of `metric` see and what they miss, measured on meshes with known errors: the page on the metric.

The head is one that a study has drawn (`figures/STUDY/head_*.json`), simplified, so that neither the body model nor a run is
needed. All numbers come from `metric.score`; figures and sentences are made from them.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import trimesh

from heads import mesh, metric
from heads.posts import plots
from heads.truth import Truth

NEITHER, MEASURED, ALIGNED = 0.0, 0.2, 0.5  # on the scale of plots.ERRORS
FACE_MM = 95.0  # the region face_sphere of H3DS, around the tip of the nose
SPHERE_MM = 50.0  # radius

Rows = dict[str, dict[str, float]]  # the name of a row -> column -> number


# ---- the head in all figures


def first_scan(folder: Path | str) -> trimesh.Trimesh:
    """The mesh, in mm, of the first scan that notebook 5 drew in 3D into a study's `folder`; which one depends on the errors."""
    paths = sorted(Path(folder).glob("head_*_truth.json"))
    if not paths:
        raise FileNotFoundError(f"{folder}: a 3D scan, head_*_truth.json, was expected; notebook 5 draws those of a study")
    return read_head(paths[0])


def read_head(path: Path | str) -> trimesh.Trimesh:
    """The mesh, in mm, of a head that `plots.interactive` drew and `plots.save` wrote; ValueError names an invalid file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such head; notebook 5 draws those of a study into figures/")
    try:
        drawn = json.loads(path.read_text(encoding="utf-8"))["data"][0]
        x, y, z, i, j, k = (
            np.frombuffer(base64.b64decode(drawn[axis]["bdata"]), dtype=drawn[axis]["dtype"])
            for axis in ("x", "y", "z", "i", "j", "k")
        )
    except (UnicodeDecodeError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{path}: a 3D head was expected, as plots.interactive draws it ({error!r})") from None
    return trimesh.Trimesh(np.stack([x, y, z], axis=1) / 10, np.stack([i, j, k], axis=1).astype(np.int64), process=False)


def as_scan(head_mm: trimesh.Trimesh, name: str = "head") -> Truth:
    """The mesh as a scan whose regions are found by position, for a centred head that looks towards +z.

    `face_sphere` is as in H3DS. `face`, on which the head score is aligned, is marked by hand in H3DS and by anatomy in the
    built-in set; here it is what lies in front of the ears and below the hair, between heights that suit a built-in head.
    """
    vertices, tip = np.asarray(head_mm.vertices), nose_tip(head_mm)
    low, high = tip[1] - 75, tip[1] + 90
    face = (vertices[:, 2] > -30) & (vertices[:, 1] > low) & (vertices[:, 1] < high)
    near = np.linalg.norm(vertices - tip, axis=1) < FACE_MM
    return Truth(name, head_mm, {}, {"face": np.flatnonzero(face), "face_sphere": np.flatnonzero(near)})


def nose_tip(head_mm: trimesh.Trimesh) -> np.ndarray:
    """The foremost vertex (3,) in the middle of a head that looks towards +z."""
    vertices = np.asarray(head_mm.vertices)
    middle = vertices[np.abs(vertices[:, 0]) < 15]
    return np.asarray(middle[middle[:, 2].argmax()])


def regions_figure(head_mm: trimesh.Trimesh) -> plots.Figure:
    """Where the two scores align and measure: dark for both, light for measured only, pale for neither."""
    truth, rows = as_scan(head_mm.subdivide()), []  # finer, so that the borders are smooth
    for name, elsewhere in (("face", NEITHER), ("head", MEASURED)):
        inside = np.zeros(len(truth.mesh_mm.vertices), dtype=bool)
        inside[truth.regions[metric.SCORES[name]]] = True
        painted = np.where(inside[truth.mesh_mm.faces].all(axis=1), ALIGNED, elsewhere)
        apart, values = _triangles_apart(truth.mesh_mm), np.repeat(painted, 3)
        rows.append([plots.render(apart, azimuth=a, values=values, limits=(0.0, 1.0)) for a, _ in plots.VIEWS.values()])
    return plots.contact_sheet(rows, list(metric.SCORES), list(plots.VIEWS))


def _triangles_apart(head_mm: trimesh.Trimesh) -> trimesh.Trimesh:
    """The mesh with three separate vertices for each triangle, so that colours may differ, and its original normals."""
    corners = head_mm.faces.reshape(-1)
    faces = np.arange(len(corners)).reshape(-1, 3)
    return trimesh.Trimesh(head_mm.vertices[corners], faces, vertex_normals=head_mm.vertex_normals[corners], process=False)


# ---- the floor


def floor(cells_mm: Sequence[float] = (1, 2, 3, 4, 5)) -> pd.DataFrame:
    """A perfect sphere meshed by marching cubes at each cell size, scored everywhere: `cell_mm`, `toolbox`, `rigid` in mm."""
    centre_mm = np.array([0.31, 0.17, 0.43])  # at no special place of the grids
    ball = trimesh.creation.icosphere(subdivisions=4, radius=SPHERE_MM)
    ball.apply_transform(trimesh.transformations.rotation_matrix(1.0, [1, 2, 3])).apply_translation(centre_mm)
    truth = Truth("sphere", ball, {}, {"face": np.arange(len(ball.vertices))})
    mm_per_unit = 1.2 * SPHERE_MM
    centre = torch.from_numpy(centre_mm / mm_per_unit).float()
    rows = []
    for cell_mm in cells_mm:
        sphere = mesh.extract(
            lambda points: (points - centre).norm(dim=1) - SPHERE_MM / mm_per_unit,
            mm_from_unit=torch.diag(torch.tensor([mm_per_unit] * 3 + [1.0])),
            cell_mm=cell_mm,
        )
        errors_mm = {protocol: metric.errors_mm(sphere, truth, protocol).mean() for protocol in metric.PROTOCOLS}
        rows.append({"cell_mm": cell_mm} | errors_mm)
    return pd.DataFrame(rows)


def floor_cells(rows: pd.DataFrame) -> float:
    """The toolbox's error of a perfect sphere in grid cells, the mean over the rows of `floor`."""
    return float((rows["toolbox"] / rows["cell_mm"]).mean())


def floor_figure(rows: pd.DataFrame) -> plots.Figure:
    """The error of a perfect sphere against the cell size of its mesh, in both protocols."""
    figure, axes = _panel("grid cell, mm", "error of a perfect sphere, mm")
    for i, protocol in enumerate(metric.PROTOCOLS):
        axes.plot(rows["cell_mm"], rows[protocol], "o-", color=plots.COLOURS[i], markersize=4, linewidth=1.2, label=protocol)
    reach = np.array([0, rows["cell_mm"].max()])
    line = floor_cells(rows)
    axes.plot(reach, line * reach, "--", color=plots.FAINT, linewidth=1, label=f"{line:.2f} × cell")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.legend(fontsize=8, frameon=False)
    return figure


def floor_said(rows: pd.DataFrame, cell_mm: float) -> str:
    """The size of the floor in cells, and in mm for cells of `cell_mm`."""
    line = floor_cells(rows)
    return (
        f"The toolbox gives a perfect sphere an error of {line:.2f} of a cell: with cells of {cell_mm:g} mm, as in the preset "
        f"for laptops, {line * cell_mm:.2f} mm. The rigid protocol gives the same spheres at most {rows['rigid'].max():.2f} mm, "
        "the distance between flat triangles and a round surface."
    )


# ---- scale


def scaled(truth: Truth, factors: Sequence[float] = (0.95, 0.975, 1.0, 1.025, 1.05)) -> pd.DataFrame:
    """The scan itself, scaled about the origin, as a prediction: `factor` and the scores."""
    return pd.DataFrame([{"factor": factor} | metric.score(_resized(truth.mesh_mm, factor), truth) for factor in factors])


def _resized(head_mm: trimesh.Trimesh, factor: float) -> trimesh.Trimesh:
    return trimesh.Trimesh(head_mm.vertices * factor, head_mm.faces, process=False)


def scale_heads(truth: Truth, rows: pd.DataFrame) -> plots.Figure:
    """The smallest, the true and the largest head of `scaled` in one framing, with the scores of each protocol."""
    factors = rows["factor"].to_numpy()
    chosen = [int(factors.argmin()), int(np.abs(factors - 1).argmin()), int(factors.argmax())]
    heads = [_resized(truth.mesh_mm, factors[row]) for row in chosen]
    frame = plots.frame_of(*heads)
    titles = []
    for row in chosen:
        scores = rows.iloc[row]
        said = [f"{p}: face {scores[f'face_{p}_mm']:.2f}, head {scores[f'head_{p}_mm']:.2f}" for p in metric.PROTOCOLS]
        titles.append("\n".join([f"{factors[row]:g} × the size", *said]))
    return plots.contact_sheet([[plots.render(head, azimuth=20.0, frame=frame) for head in heads]], titles=titles)


def scale_figure(rows: pd.DataFrame) -> plots.Figure:
    """The scores against the size of the prediction."""
    figure, axes = _panel("size of the prediction, times that of the scan", "error, mm")
    for i, protocol in enumerate(metric.PROTOCOLS):
        for score, style in (("face", "o-"), ("head", "s--")):
            values = rows[f"{score}_{protocol}_mm"]
            axes.plot(
                rows["factor"], values, style, color=plots.COLOURS[i], markersize=4, linewidth=1.2, label=f"{score}, {protocol}"
            )
    axes.set_ylim(bottom=-0.03 * axes.get_ylim()[1])
    axes.legend(fontsize=8, frameon=False)
    return figure


def scale_said(rows: pd.DataFrame) -> str:
    """What a wrong size costs: the largest scores of either protocol."""
    largest = rows.drop(columns="factor").max()
    per_cent = 100 * float((rows["factor"] - 1).abs().max())
    blind = max(largest["face_toolbox_mm"], largest["head_toolbox_mm"])
    return (
        f"Wrong by up to {per_cent:.0f} % in size, the heads score at most {blind:.2f} mm in the toolbox, and up to "
        f"{largest['face_rigid_mm']:.2f} mm (face) and {largest['head_rigid_mm']:.2f} mm (head) in the rigid protocol."
    )


# ---- too much and too little


def variants(truth: Truth) -> dict[str, trimesh.Trimesh]:
    """Predictions: the scan itself, with a hat, without the back of the head, and without one cheek."""
    head_mm, tip = truth.mesh_mm, nose_tip(truth.mesh_mm)
    centres = head_mm.triangles_center
    (_, _, back), (_, top, front) = head_mm.bounds
    hat = trimesh.creation.cylinder(radius=70.0, height=90.0, sections=64)
    hat.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    hat.apply_translation([0.0, top + 25.0, (back + front) / 2])
    cheek = head_mm.vertices[head_mm.kdtree.query(tip + np.array([45.0, 5.0, -35.0]))[1]]
    return {
        "the scan itself": head_mm,
        "with a hat": _with(head_mm, hat),
        "without its back": _without(head_mm, centres[:, 2] < back + 0.25 * (front - back)),
        "without a cheek": _without(head_mm, np.linalg.norm(centres - cheek, axis=1) < 22.0),
    }


def _with(head_mm: trimesh.Trimesh, other_mm: trimesh.Trimesh) -> trimesh.Trimesh:
    vertices = np.concatenate([head_mm.vertices, other_mm.vertices])
    return trimesh.Trimesh(vertices, np.concatenate([head_mm.faces, other_mm.faces + len(head_mm.vertices)]), process=False)


def _without(head_mm: trimesh.Trimesh, faces: np.ndarray) -> trimesh.Trimesh:
    kept = trimesh.Trimesh(head_mm.vertices, head_mm.faces[~faces], process=False)
    kept.remove_unreferenced_vertices()
    return kept


def variants_figure(heads_mm: Mapping[str, trimesh.Trimesh], scores: Rows) -> plots.Figure:
    """The predictions side by side in one framing, each with its rigid scores."""
    frame = plots.frame_of(*heads_mm.values())
    titles = [
        f"{name}\nface {scores[name]['face_rigid_mm']:.2f} mm\nhead {scores[name]['head_rigid_mm']:.2f} mm\n(rigid)"
        for name in heads_mm
    ]
    return plots.contact_sheet([[plots.render(head, azimuth=65.0, frame=frame) for head in heads_mm.values()]], titles=titles)


def scores_table(scores: Rows, first: str) -> str:
    """The scores of several predictions as a Markdown table; `first` is the heading of the column of names."""
    order = [(score, protocol) for score in metric.SCORES for protocol in metric.PROTOCOLS]
    lines = [
        f"| {first} | " + " | ".join(f"{score}, {protocol}" for score, protocol in order) + " |",
        "| :-- " + "| --: " * 4 + "|",
    ]
    for name, row in scores.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[f'{score}_{protocol}_mm']:.2f}" for score, protocol in order) + " |")
    return "\n".join(lines)


def judges_table(scores: Rows, first: str) -> str:
    """What the rigid head score of several predictions misses, as a Markdown table; `first` heads the column of names."""
    columns = {
        "head_rigid_mm": ("rigid, mm", 2), "head_accuracy_mm": ("accuracy, mm", 2), "head_f1_at_1mm": ("F1 at 1 mm", 3),
        "head_f1_at_5mm": ("F1 at 5 mm", 3), "head_normals_median_deg": ("normals, median °", 1),
    }  # fmt: skip
    lines = [f"| {first} | " + " | ".join(said for said, _ in columns.values()) + " |", "| :-- " + "| --: " * len(columns) + "|"]
    for name, row in scores.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[key]:.{digits}f}" for key, (_, digits) in columns.items()) + " |")
    return "\n".join(lines)


# ---- every vertex counts the same


def weighting(truth: Truth, *, bump_mm: float = 8.0) -> Rows:
    """One surface against a prediction whose nose is too long by `bump_mm`, with the scan's vertices distributed in three ways.

    Triangles of the scan are cut into four around the nose, or along the rim of the face; its surface stays the same. Columns:
    `vertices` in the face, the `score` (face, rigid), and `by_area`, the same errors weighted by the area around each vertex.
    """
    head_mm, tip = truth.mesh_mm, nose_tip(truth.mesh_mm)
    longer = head_mm.vertices.copy()
    longer[:, 2] += bump_mm * np.exp(-(((longer - tip) ** 2).sum(axis=1)) / (2 * 18.0**2))
    prediction = trimesh.Trimesh(longer, head_mm.faces, process=False)
    rows: Rows = {}
    for name, low, high in (("as it is", 0.0, 0.0), ("finer around the nose", 0.0, 30.0), ("finer along the rim", 60.0, FACE_MM)):
        scan = as_scan(_finer(head_mm, tip, low, high), truth.name)
        face = scan.regions["face_sphere"]
        errors_mm = metric.errors_mm(prediction, scan, "rigid", region="face_sphere")[face]
        area = np.bincount(scan.mesh_mm.faces.reshape(-1), np.repeat(scan.mesh_mm.area_faces / 3, 3), len(scan.mesh_mm.vertices))
        by_area = float(np.average(errors_mm, weights=area[face]))
        rows[name] = {"vertices": len(face), "score": float(errors_mm.mean()), "by_area": by_area}
    return rows


def _finer(head_mm: trimesh.Trimesh, tip: np.ndarray, low_mm: float, high_mm: float) -> trimesh.Trimesh:
    """The mesh with the triangles between two distances from the nose cut into four; the surface stays the same."""
    distance = np.linalg.norm(head_mm.triangles_center - tip, axis=1)
    chosen = np.flatnonzero((distance >= low_mm) & (distance < high_mm))
    if len(chosen) == 0:
        return head_mm
    vertices, faces = trimesh.remesh.subdivide(head_mm.vertices, head_mm.faces, face_index=chosen)
    return trimesh.Trimesh(vertices, faces, process=False)


def weighting_table(rows: Rows) -> str:
    """The rows of `weighting` as a Markdown table."""
    lines = ["| the scan's mesh | vertices in the face | face, rigid | weighted by area |", "| :-- | --: | --: | --: |"]
    for name, row in rows.items():
        lines.append(f"| {name} | {row['vertices']:.0f} | {row['score']:.2f} | {row['by_area']:.2f} |")
    return "\n".join(lines)


def weighting_said(rows: Rows) -> str:
    """How much the score and the mean by area differ between meshes of one surface."""
    score, by_area = ([row[column] for row in rows.values()] for column in ("score", "by_area"))
    return (
        f"The score lies between {min(score):.2f} and {max(score):.2f} mm; weighted by area, the same errors are between "
        f"{min(by_area):.2f} and {max(by_area):.2f} mm."
    )


def _panel(x: str, y: str) -> tuple[plots.Figure, Any]:
    """An empty figure with one panel in the usual look."""
    figure = plots.Figure(figsize=(5.4, 3.0), dpi=plots.DPI, facecolor="white", layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x, fontsize=8, color=plots.INK)
    axes.set_ylabel(y, fontsize=8, color=plots.INK)
    plots.plain(axes, 7)
    return figure, axes
