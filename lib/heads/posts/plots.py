"""The look of every figure: calm, the same everywhere, legible to the colour-blind. The only importer of matplotlib and plotly.

Heads are drawn in the data set's world: millimetres, y up, the face towards +z. An azimuth turns the camera about y to
the head's left (+x), an elevation raises it, both in degrees. Nothing is cropped: a frame contains everything it was made for.

A figure that shows methods takes `looks`, the number in `PALETTE` of each method by its label, so that a method looks the same in
every figure. Methods without a number get the free ones in their order.
"""

import io
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import trimesh
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.path import Path as Path2D
from matplotlib.ticker import FuncFormatter, LogFormatter, ScalarFormatter
from pandas.io.formats.style import Styler
from PIL import Image, ImageDraw
from scipy.interpolate import splev, splprep
from scipy.spatial import cKDTree

from heads import files

if TYPE_CHECKING:
    from torch import Tensor

    from heads.methods.pixel2mesh.locate import Face
    from heads.scene import Scene  # with torch, which a picture of numbers does without

INK, FAINT = "#2b2f36", "#8a9099"
PALETTE = (  # colour and mark; they differ in lightness, hue and shape, so that the colour-blind can distinguish them
    ("#3b6fa0", "o"),
    ("#d1812c", "s"),
    ("#4f9a73", "D"),
    ("#9a5f97", "^"),
    ("#7a7f87", "v"),
    ("#dcc94f", "P"),
    ("#1f2a54", "X"),
    ("#b3263f", "*"),
    ("#8cc4ea", "<"),
    ("#6b4423", ">"),
    ("#e58fb1", "p"),
    ("#1d5f4f", "h"),
)
COLOURS = tuple(colour for colour, _ in PALETTE)  # of what is not a method
CLAY = np.array([0.83, 0.81, 0.79])
INSIDE = np.array([0.45, 0.47, 0.52])  # where a hole shows the back of a surface
ERRORS = LinearSegmentedColormap.from_list("errors", ["#f4f1ec", "#f3d59a", "#e89a5b", "#c8544f", "#7d2a5e", "#2d1140"])
VIEWS = {"front": (0.0, 0.0), "three-quarter": (45.0, 0.0), "profile": (90.0, 0.0)}
Frame = tuple[np.ndarray, float]  # centre (3,) and half side of the picture, mm
DPI = 150


class Figure(MatplotlibFigure):
    """A figure that a notebook displays by itself, without pyplot and its global state."""

    def _repr_png_(self) -> bytes:
        return png(self)


def _styles(names: Iterable[str], looks: Mapping[str, int] | None) -> dict[str, tuple[str, str]]:
    """Colour and mark by name: those of its number in `looks`, else of the first number that no other name has."""
    names, looks = list(dict.fromkeys(names)), looks or {}
    taken = {looks[name] for name in names if name in looks}
    free = (number for number in itertools.count() if number not in taken)
    return {name: PALETTE[(looks[name] if name in looks else next(free)) % len(PALETTE)] for name in names}


# ---- heads


def frame_of(*meshes_mm: trimesh.Trimesh) -> Frame:
    """Centre and half side of the smallest cube along the axes, and 4 % of margin, that holds every mesh from every side."""
    corners = np.concatenate([mesh.bounds for mesh in meshes_mm])
    low, high = corners.min(axis=0), corners.max(axis=0)
    centre = (low + high) / 2
    across = max(np.hypot(*(mesh.vertices - centre)[:, [0, 2]].T).max() for mesh in meshes_mm)  # in every azimuth
    return centre, 1.04 * float(max(across, (high - low)[1] / 2))


def render(
    mesh_mm: trimesh.Trimesh,
    *,
    azimuth: float = 0.0,
    elevation: float = 0.0,
    size: int = 320,
    values: np.ndarray | None = None,
    limits: tuple[float, float] | None = None,
    frame: Frame | None = None,
) -> np.ndarray:
    """Orthographic picture (size, size, 3) uint8 of a mesh, as grey clay or, with `values` (N,) per vertex, as a heat map.

    `limits` are the values at the two ends of the colours. There are four rays a pixel; the back of a surface is dark. `frame`
    gives several meshes the same framing.
    """
    return _painted(mesh_mm, _seen(mesh_mm, azimuth, elevation, size, frame), values, limits)


class _Seen(NamedTuple):
    """What four rays a pixel hit: `ray` (n,) numbers the rays that hit a triangle, `face` (n,) is that triangle, `weights` are
    the barycentric weights of its corners, and `outside` (n,) says whether its outer side was hit; `camera`: see `_camera`.
    """

    size: int
    ray: np.ndarray
    face: np.ndarray
    weights: list[np.ndarray]
    outside: np.ndarray
    camera: tuple[np.ndarray, np.ndarray, np.ndarray]


def _seen(mesh_mm: trimesh.Trimesh, azimuth: float, elevation: float, size: int, frame: Frame | None) -> _Seen:
    centre, half = frame if frame is not None else frame_of(mesh_mm)
    right, up, back = _camera(azimuth, elevation)
    relative = np.asarray(mesh_mm.vertices) - centre
    across = relative @ np.stack([right, up], axis=1) / half  # (N, 2): position of each vertex in the picture, from -1 to 1
    steps = (np.arange(2 * size) + 0.5) / size - 1
    uv = np.stack(np.meshgrid(steps, -steps), axis=-1).reshape(-1, 2)
    (left, low), (stop, high) = across.min(axis=0), across.max(axis=0)
    ray = np.flatnonzero((uv[:, 0] >= left) & (uv[:, 0] <= stop) & (uv[:, 1] >= low) & (uv[:, 1] <= high))
    origins = centre + half * uv[ray] @ np.stack([right, up]) + ((relative @ back).max() + 0.01 * half) * back
    face = mesh_mm.ray.intersects_first(origins, np.broadcast_to(-back, origins.shape))
    ray, face = ray[face >= 0], face[face >= 0]
    corners = mesh_mm.faces[face]
    # barycentric weights in the picture's plane: twice the areas of the triangles opposite to each corner
    a, b, c = (across[corners[:, i]] - uv[ray] for i in range(3))
    weights = [p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0] for p, q in ((b, c), (c, a), (a, b))]
    total = weights[0] + weights[1] + weights[2]
    wide = np.abs(total) > 1e-12
    weights = [np.clip(np.where(wide, weight / np.where(wide, total, 1), 1 / 3), 0, 1) for weight in weights]
    return _Seen(size, ray, face, weights, total > 0, (right, up, back))  # from outside, corners run counter-clockwise


def with_points(
    picture: np.ndarray, mesh_mm: trimesh.Trimesh, points_mm: np.ndarray, colours: np.ndarray, azimuth: float
) -> np.ndarray:
    """What `render` drew of a mesh from an azimuth, with the points (N, 3) on it that are seen, in colours (N, 3) uint8."""
    centre, half = frame_of(mesh_mm)
    right, up, back = _camera(azimuth, 0.0)
    start = points_mm + 1.0 * back
    free = ~mesh_mm.ray.intersects_any(start, np.broadcast_to(back, start.shape))
    at = (points_mm[free] - centre) @ np.stack([right, -up], axis=1) / half
    column, row = np.round(((at + 1) * len(picture) - 1) / 2).astype(int).T
    found = picture.copy()
    reach = 1 if len(points_mm) < 500 else 0
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            inside = (row + down >= 0) & (row + down < len(found)) & (column + across >= 0) & (column + across < len(found))
            found[row[inside] + down, column[inside] + across] = colours[free][inside]
    return found


def _camera(azimuth: float, elevation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors to the right, upwards, and from the head to the camera."""
    a, e = np.radians([azimuth, elevation])
    back = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    return right, np.cross(back, right), back


def _painted(mesh: trimesh.Trimesh, seen: _Seen, values: np.ndarray | None, limits: tuple[float, float] | None) -> np.ndarray:
    """The picture (size, size, 3) uint8 of the visible part of a mesh."""
    if values is not None and len(values) != len(mesh.vertices):
        raise ValueError(f"values must have one number for each of the {len(mesh.vertices)} vertices, not {len(values)}")
    right, up, back = seen.camera
    corners = mesh.faces[seen.face].T

    def between(values: np.ndarray) -> np.ndarray:
        return np.asarray(sum(weight * values[corner] for weight, corner in zip(seen.weights, corners, strict=True)))

    side = np.where(seen.outside, 1.0, -1.0)
    key = (-0.45 * right + 0.55 * up + 0.70 * back) / np.linalg.norm([0.45, 0.55, 0.70])
    fill = (0.80 * right - 0.05 * up + 0.60 * back) / np.linalg.norm([0.80, 0.05, 0.60])
    lit = [side * between(np.asarray(mesh.vertex_normals) @ lamp) for lamp in (key, fill)]
    light = 0.34 + 0.66 * np.clip(lit[0], 0, None) + 0.26 * np.clip(lit[1], 0, None)
    if values is None:
        colours = np.where(seen.outside[:, None], CLAY, INSIDE) * light[:, None]
    else:
        low, high = limits if limits is not None else (float(np.min(values)), float(np.max(values)))
        shown = np.clip((between(np.asarray(values, dtype=float)) - low) / max(high - low, 1e-12), 0, 1)
        colours = ERRORS(shown)[:, :3] * (0.55 + 0.45 * light[:, None])
    picture = np.ones((2 * seen.size, 2 * seen.size, 3), dtype=np.float32)
    picture.reshape(-1, 3)[seen.ray] = np.clip(colours, 0, 1)
    smooth = (picture[::2, ::2] + picture[1::2, ::2] + picture[::2, 1::2] + picture[1::2, 1::2]) / 4
    return np.asarray((smooth * 255).round().astype(np.uint8))


def head(mesh_mm: trimesh.Trimesh, truth: trimesh.Trimesh | None = None, *, size: int = 320) -> Figure:
    """A head from the front, from three quarters and from the side; below it, if given, the truth in the same framing."""
    rows = {"reconstruction": mesh_mm} if truth is None else {"reconstruction": mesh_mm, "ground truth": truth}
    shared = frame_of(*rows.values())
    cells = [[render(mesh, azimuth=a, elevation=e, size=size, frame=shared) for a, e in VIEWS.values()] for mesh in rows.values()]
    return _grid(cells, list(VIEWS), list(rows) if truth is not None else [])


def comparison(
    truth_mm: trimesh.Trimesh,
    meshes_mm: Mapping[str, trimesh.Trimesh],
    errors_mm: Mapping[str, np.ndarray],
    scores: Mapping[str, Mapping[str, float]],
    *,
    looks: Mapping[str, int] | None = None,
    limit_mm: float = 10.0,
    size: int = 280,
) -> Figure:
    """The truth on top, then a row for each method: its surface in three views and, on the truth, the distance to it (N,) in mm.

    All rows share one framing and one colour scale; `scores` (method -> name -> mm) are written beside the rows. The caller
    leaves out a method that failed and has no mesh.
    """
    shared = frame_of(truth_mm, *meshes_mm.values())

    def seen(mesh: trimesh.Trimesh) -> list[_Seen]:
        return [_seen(mesh, azimuth, elevation, size, shared) for azimuth, elevation in VIEWS.values()]

    truth_seen = seen(truth_mm)
    rows, names = [[_painted(truth_mm, one, None, None) for one in truth_seen]], ["ground truth"]
    for name, mesh in meshes_mm.items():
        errors = [_painted(truth_mm, one, errors_mm[name], (0.0, limit_mm)) for one in truth_seen]
        rows.append([_painted(mesh, one, None, None) for one in seen(mesh)] + errors)
        said = [f"{part} {scores[name][f'{part}_rigid_mm']:.1f} mm" for part in ("face", "head")]
        names.append("\n".join([name.replace(" as ", "\nas "), *said]))
    beside = 0.5 + 0.13 * (max(name.count("\n") for name in names) - 2)
    figure = _grid(rows, [*VIEWS], names, trim=True, beside=beside)
    width, height = figure.get_size_inches()
    for text, (colour, mark) in zip(figure.texts[1:], _styles(meshes_mm, looks).values(), strict=False):  # titles follow names
        at = [(beside - 0.015) / width], [text.get_position()[1]]  # between the name and the pictures
        figure.add_artist(Line2D(*at, color=colour, marker=mark, markersize=5.5, linestyle="none"))
    first = figure.axes[0].get_position()
    middle = (first.y0 + first.y1) / 2
    axes = figure.add_axes((0.60, middle, 0.34, 0.11 / height))
    bar = figure.colorbar(ScalarMappable(Normalize(0, limit_mm), ERRORS), cax=axes, orientation="horizontal", extend="max")
    bar.set_label("distance from the scan to the\nreconstruction (rigid), mm", color=INK, fontsize=8)
    bar.outline.set_edgecolor(FAINT)
    axes.tick_params(labelsize=8, colors=INK, length=2)
    return figure


# ---- photographs


def photographs(scene: "Scene") -> Figure:
    """The photographs that a method uses, each with the outline of its mask and its number in the data set."""
    cells = [[(image.numpy() * 255).round().astype(np.uint8) for image in scene.images]]
    figure = _grid(cells, [f"photograph {view}" for view in scene.views], [])
    for axes, mask in zip(figure.axes, scene.masks.numpy(), strict=True):
        if mask.any() and not mask.all():
            axes.contour(mask.astype(float), levels=[0.5], colors="white", linewidths=2.2)
            axes.contour(mask.astype(float), levels=[0.5], colors=COLOURS[1], linewidths=1.0)
    return figure


def marked(picture: np.ndarray, faces: Iterable["Face"]) -> np.ndarray:
    """A picture (H, W, 3) with the square of each face that was found in it, and its landmarks."""
    drawn = Image.fromarray(picture).convert("RGB")
    pen, width = ImageDraw.Draw(drawn), max(1, round(max(picture.shape) / 150))
    for face in faces:
        low, high = face.middle_px - face.side_px / 2, face.middle_px + face.side_px / 2
        pen.rectangle((*low, *high), outline=COLOURS[1], width=width)
        for x, y in face.landmarks_px:
            pen.ellipse((x - 1.5 * width, y - 1.5 * width, x + 1.5 * width, y + 1.5 * width), fill=COLOURS[0])
    return np.asarray(drawn)


def wrapped(rows: Sequence[Sequence[np.ndarray]], width: int, blank: np.ndarray) -> list[list[np.ndarray]]:
    """Rows of pictures cut into groups of so many columns, one below the other, the last filled up with blank ones."""
    groups = range(0, len(rows[0]), width) if len(rows[0]) > width else [0]
    wide = min(width, len(rows[0]))
    return [[*row[first : first + wide], *[blank] * (first + wide - len(row))] for first in groups for row in rows]


def squared(picture: np.ndarray, size: int) -> np.ndarray:
    """A picture (H, W, 3) in a white square of this many pixels."""
    shrunk = Image.fromarray(picture)
    shrunk.thumbnail((size, size))
    square = Image.new("RGB", (size, size), "white")
    square.paste(shrunk, ((size - shrunk.width) // 2, (size - shrunk.height) // 2))
    return np.asarray(square)


def animation(frames: Sequence[np.ndarray], milliseconds: int = 80) -> bytes:
    """Pictures (H, W, 3) one after the other, again and again, as an animated WebP."""
    first, *rest = [Image.fromarray(frame) for frame in frames]
    packed = io.BytesIO()
    first.save(packed, "WEBP", save_all=True, append_images=rest, duration=milliseconds, loop=0, quality=80)
    return packed.getvalue()


def gallery(rows: Sequence[tuple[np.ndarray, trimesh.Trimesh, Mapping[str, trimesh.Trimesh]]]) -> Figure:
    """Photographs, each a column, above the scan and above what methods made of it, all seen from the front."""
    names = ["photograph", "scan", *(name.replace(" ", "\n", 1) for name in rows[0][2])]
    cells: list[list[np.ndarray]] = [[] for _ in names]
    for picture, scan, made in rows:
        frame = frame_of(*made.values())
        cells[0].append(squared(picture, 200))
        for place, mesh in enumerate([scan, *made.values()]):
            cells[place + 1].append(render(mesh, azimuth=20, size=200, frame=frame))
    return _grid(cells, [], names, beside=0.4, width=11.0)


def dotted(image: "Tensor", places_px: "Tensor") -> np.ndarray:
    """A picture (3, H, W) in [0, 1] with dots at pixels (N, 2)."""
    drawn = Image.fromarray((image.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    pen = ImageDraw.Draw(drawn)
    for x, y in places_px.tolist():
        pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill=COLOURS[1])
    return np.asarray(drawn)


def contact_sheet(rows: Sequence[Sequence[np.ndarray]], names: Sequence[str] = (), titles: Sequence[str] = ()) -> Figure:
    """Pictures (H, W, 3) in rows, with names for the rows and titles for the columns, if given."""
    return _grid(rows, titles, names)


def _grid(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    names: Sequence[str],
    *,
    trim: bool = False,
    beside: float = 0.25,
    width: float = 7.2,
) -> Figure:
    """Pictures side by side without gaps, titles above the first row, row names on the left; all in inches.

    `trim` crops columns of pixels that are white in every picture; `beside` is the space for the row names.
    """
    if not rows or not rows[0]:
        raise ValueError("there are no pictures to show")
    if trim:
        used = np.flatnonzero(np.any([(picture < 250).any(axis=(0, 2)) for row in rows for picture in row], axis=0))
        margin = rows[0][0].shape[1] // 50
        left, stop = (max(used[0] - margin, 0), used[-1] + 1 + margin) if len(used) else (0, rows[0][0].shape[1])
        rows = [[picture[:, left:stop] for picture in row] for row in rows]
    columns = max(len(row) for row in rows)
    tall, wide = rows[0][0].shape[:2]
    above = 0.20 + 0.16 * max((title.count("\n") for title in titles), default=0) if titles else 0.0
    beside = beside if names else 0.0
    cell = (width - beside) / columns
    cell_height = cell * tall / wide
    height = above + cell_height * len(rows)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    gap = 0.02
    for i, row in enumerate(rows):
        bottom = height - above - (i + 1) * cell_height
        for j, picture in enumerate(row):
            box = (beside + j * cell + gap, bottom + gap, cell - 2 * gap, cell_height - 2 * gap)
            axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
            axes.imshow(picture, interpolation="antialiased", aspect="auto")
            axes.set_axis_off()
        if names:
            at = ((beside / 2 - 0.025) / width, (bottom + cell_height / 2) / height)
            size = 9 if "\n" not in names[i] else 7.5
            figure.text(*at, names[i], rotation=90, ha="center", va="center", color=INK, fontsize=size, linespacing=1.15)
    longest = max((len(line) for title in titles for line in title.split("\n")), default=1)
    fitting = min(9.0, 72 * cell / (0.55 * longest))  # a letter is about 0.55 of its size wide
    for j, title in enumerate(titles):
        at = ((beside + (j + 0.5) * cell) / width, (height - above + 0.03) / height)
        figure.text(*at, title, ha="center", va="bottom", color=INK, fontsize=fitting, linespacing=1.15)
    return figure


# ---- curves


def plain(axes: Axes, size: float, *, grid: Literal["both", "x", "y"] = "both") -> None:
    """The usual look of axes: small tick labels (`size` in points), a faint grid, no frame."""
    axes.tick_params(which="both", labelsize=size, colors=INK)
    axes.grid(True, axis=grid, color="#e4e6e9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def losses(histories: Mapping[str, Sequence[Mapping[str, float]]], looks: Mapping[str, int] | None = None) -> Figure:
    """The losses of several fits over their steps: a panel for each term, a line for each fit, values on a log scale.

    Of a long history, the median of each forty-eighth is drawn. Fits of very different lengths are drawn over the share of their
    steps.
    """
    named = (key for rows in histories.values() for row in rows for key in row)
    terms = [key for key in dict.fromkeys(named) if key not in ("step", "epoch", "alpha")]
    if not terms:
        raise ValueError("there are no losses to draw: every history is empty")
    ends = {name: max((row["step"] for row in rows), default=0) for name, rows in histories.items()}
    apart = max(ends.values()) > 3 * max(min(ends.values()), 1)
    below = 0.5 + 0.18 * -(-len(histories) // 4)  # inches for the axis and the legend
    figure = Figure(figsize=(7.2, 2.1 + below), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(1, len(terms)))
    figure.subplots_adjust(left=0.065, right=0.99, top=1 - 0.25 / (2.1 + below), bottom=below / (2.1 + below), wspace=0.32)
    for axes, term in zip(panels, terms, strict=True):
        for (name, rows), (colour, mark) in zip(histories.items(), _styles(histories, looks).values(), strict=True):
            points = [(row["step"], row[term]) for row in rows if term in row and row[term] > 0]
            if len(points) > 96:
                points = [tuple(np.median(part, axis=0)) for part in np.array_split(points, 48)]
            if apart:
                points = [(100 * step / max(ends[name], 1), value) for step, value in points]
            if points:
                few = {"marker": mark, "markersize": 3.5, "markevery": 0.25}  # a mark every quarter of the panel
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.2, label=name, **few)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter(labelOnlyBase=False))
        axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1, 0.4)))
        axes.set_title(term, fontsize=9, color=INK)
        axes.set_xlabel("% of the steps" if apart else "step", fontsize=8, color=INK)
        plain(axes, 7)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=min(len(labels), 4), fontsize=8, frameon=False)
    return figure


def decibels_by_steps(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """How well people are tracked (`psnr_db`) by the steps of training (`step`), a line for each training, its best ringed."""
    figure = Figure(figsize=(6.4, 3.2), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for (name, table), (colour, mark) in zip(curves.items(), _styles(curves, None).values(), strict=True):
        best = table.iloc[int(table["psnr_db"].to_numpy().argmax())]
        axes.plot(table["step"], table["psnr_db"], color=colour, marker=mark, label=name)
        axes.plot([best["step"]], [best["psnr_db"]], "o", markersize=14, markerfacecolor="none", color=colour)
    plain(axes, 9)
    axes.set_xlabel("steps of training", fontsize=9, color=INK)
    axes.set_ylabel("PSNR of validation people, dB", fontsize=9, color=INK)
    axes.legend(frameon=False, fontsize=9)
    figure.tight_layout()
    return figure


def enlarged(picture: np.ndarray, size: int) -> np.ndarray:
    """A square picture (S, S, 3) uint8 in another size."""
    return np.array(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def opened(path: Path | str) -> np.ndarray:
    """A picture (H, W, 3) uint8 that was saved."""
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


def _panels(regions: Sequence[str], height: float) -> tuple[Figure, list[Axes]]:
    """A panel for each region, one above the other to fit a narrow screen, each `height` inches high."""
    figure = Figure(figsize=(5.6, height * len(regions) + 0.5), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(np.atleast_1d(figure.subplots(len(regions), 1)))
    for axes, region in zip(panels, regions, strict=True):
        axes.set_title(region, fontsize=10, color=INK, loc="left")
        plain(axes, 8.5, grid="y")
        axes.set_axisbelow(True)
    return figure, panels


def _by_views(
    lines: Mapping[str, Mapping[str, pd.DataFrame]], title: str, looks: Mapping[str, int] | None, *, from_zero: bool
) -> tuple[Figure, list[Axes]]:
    """Means against the number of photographs, a line for each method, with bars between the columns `low` and `high`."""
    if not any(len(line) for methods in lines.values() for line in methods.values()):
        raise ValueError("there is nothing to draw: no method has a number for any number of photographs")
    figure, panels = _panels(list(lines), 2.6)
    styles = _styles((name for methods in lines.values() for name in methods), looks)
    ticks = sorted({int(views) for methods in lines.values() for line in methods.values() for views in line.get("views", [])})
    for axes, methods in zip(panels, lines.values(), strict=True):
        for i, (name, line) in enumerate((name, line) for name, line in methods.items() if len(line)):
            shift = 2 ** (0.05 * (i - (len(methods) - 1) / 2))  # so that bars do not hide each other
            bars = np.abs(line[["low", "high"]].to_numpy().T - line["mean"].to_numpy())
            colour, mark = styles[name]
            look: dict[str, Any] = {"color": colour, "markersize": 4.5, "linewidth": 1.4, "capsize": 2.5, "elinewidth": 0.9}
            axes.errorbar(line["views"] * shift, line["mean"], bars, fmt=f"-{mark}", label=name, **look)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(views) for views in ticks])
        axes.minorticks_off()
        axes.set_ylabel(title, fontsize=8.5, color=INK)
        if from_zero:
            axes.set_ylim(bottom=0)
    panels[-1].set_xlabel("photographs", fontsize=8.5, color=INK)
    handles = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=8.5, frameon=False)
    return figure, panels


def view_sweep(lines: Mapping[str, Mapping[str, pd.DataFrame]], looks: Mapping[str, int] | None = None) -> Figure:
    """Error against the number of photographs: region -> method -> rows of views, mean, std (mm); bars are the std."""
    spread = {
        region: {
            name: line.assign(low=line["mean"] - line["std"], high=line["mean"] + line["std"]) if len(line) else line
            for name, line in methods.items()
        }
        for region, methods in lines.items()
    }
    return _by_views(spread, "mean error, mm", looks, from_zero=True)[0]


def view_gains(lines: Mapping[str, Mapping[str, pd.DataFrame]], other: str, looks: Mapping[str, int] | None = None) -> Figure:
    """Difference to another method against the number of photographs: rows of views, mean, low, high (mm); bars are intervals."""
    figure, panels = _by_views(lines, f"mean difference to {other}, mm", looks, from_zero=False)
    for axes in panels:
        axes.axhline(0, color=INK, linewidth=0.9)
    return figure


def disturbances(lines: Mapping[str, Mapping[str, Mapping[str, pd.DataFrame]]], looks: Mapping[str, int] | None = None) -> Figure:
    """Error against the strength of each disturbance: disturbance -> region -> method -> rows of strength, mean (mm).

    A column for each disturbance, at most four side by side, with a panel for each region; a region has one scale.
    """
    drawn = [line for regions in lines.values() for methods in regions.values() for line in methods.values() if len(line)]
    if not drawn:
        raise ValueError("there is nothing to draw: no method has a number for any disturbance")
    regions = list(dict.fromkeys(region for panels in lines.values() for region in panels))
    styles = _styles((name for panels in lines.values() for methods in panels.values() for name in methods), looks)
    ticks = sorted({float(strength) for line in drawn for strength in line["strength"]})
    columns = min(4, len(lines))
    rows = -(-len(lines) // columns) * len(regions)
    figure = Figure(figsize=(5.6, 1.35 * rows + 0.6), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for (i, (name, panels)), (j, region) in itertools.product(enumerate(lines.items()), enumerate(regions)):
        axes = grid[i // columns * len(regions) + j, i % columns]
        axes.set_axis_on()
        if i > 0:
            axes.sharey(grid[j, 0])
        plain(axes, 9, grid="y")
        for method, line in panels.get(region, {}).items():
            colour, mark = styles[method]
            axes.plot(line["strength"], line["mean"], f"-{mark}", color=colour, markersize=4.5, linewidth=1.4, label=method)
        axes.set_xticks(ticks, [f"{one:g}" for one in ticks])
        axes.set_xlim(ticks[0] - 0.1 * (ticks[-1] - ticks[0]), ticks[-1] + 0.1 * (ticks[-1] - ticks[0]))
        below, left = j == len(regions) - 1, i % columns == 0
        axes.tick_params(bottom=below, labelbottom=below, left=left, labelleft=left)
        if j == 0:
            axes.set_title(name, fontsize=10, color=INK, loc="left")
        if left:
            axes.set_ylabel(f"{region}, mm", fontsize=9.5, color=INK)
    figure.align_ylabels()
    figure.supxlabel("times the amount where people photograph by hand", fontsize=9.5, color=INK)
    handles = {name: handle for axes in grid.flat for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3, fontsize=9.5, frameon=False)
    return figure


def claims(
    lines: Mapping[str, Mapping[str, pd.DataFrame]],
    matters: Mapping[str, float],
    other: str,
    looks: Mapping[str, int] | None = None,
) -> Figure:
    """When a prior helps: region -> place -> rows of label, name, heading, mean, low, high (mm, the difference to `other`).

    A column for each place, a row of panels for each region, and in it a line for each method; a grey band as wide as what does
    not matter (`matters`, mm, by region). A region has one scale.
    """
    tables = [rows for places in lines.values() for rows in places.values()]
    named = pd.concat(tables).drop_duplicates("label") if tables else pd.DataFrame()
    if named.empty:
        raise ValueError("there is nothing to draw: no method has a difference to one without a prior")
    places = list(dict.fromkeys(place for of_region in lines.values() for place in of_region))
    styles, at = _styles(named["label"], looks), {label: -i for i, label in enumerate(named["label"])}
    height = (0.42 * len(at) + 0.35) * len(lines) + 0.6
    figure = Figure(figsize=(5.6, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(lines), len(places), squeeze=False, sharex="row", sharey=True)
    for (i, (region, of_region)), (j, place) in itertools.product(enumerate(lines.items()), enumerate(places)):
        axes = grid[i, j]
        plain(axes, 9, grid="x")
        axes.set_axisbelow(True)
        axes.axvspan(-matters[region], matters[region], color="#e4e6e9", linewidth=0)
        axes.axvline(0, color=INK, linewidth=0.9)
        for row in of_region.get(place, named[:0]).to_dict("records"):
            colour, mark = styles[row["label"]]
            bars = np.abs(np.array([[row["low"]], [row["high"]]]) - row["mean"])
            look: dict[str, Any] = {"color": colour, "markersize": 6, "capsize": 3, "elinewidth": 1.6}
            axes.errorbar([row["mean"]], [at[row["label"]]], xerr=bars, fmt=mark, label=row["label"], **look)
        said = [f"{row['name']}\n{row['heading']}".strip() for row in named.to_dict("records")]
        axes.set_yticks(list(at.values()), said)
        axes.set_ylim(-len(at) + 0.4, 0.6)
        axes.tick_params(axis="y", length=0, labelleft=j == 0)
        axes.spines["left"].set_visible(False)
        axes.set_title(f"{region}, {place}", fontsize=10, color=INK, loc="left")
    figure.supxlabel(f"difference to {other}, mm\n← closer to the scan · farther from it →", fontsize=9.5, color=INK)
    return figure


def error_by_seconds(lines: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """Error against computing time: region -> start -> rows of steps, seconds, mm; each point is labelled with its steps."""
    figure, panels = _panels(list(lines), 2.6)
    for axes, starts in zip(panels, lines.values(), strict=True):
        highest = pd.concat(starts.values()).groupby("steps")["mm"].max()
        for (name, line), (colour, mark) in zip(starts.items(), PALETTE, strict=False):
            axes.plot(line["seconds"], line["mm"], f"-{mark}", color=colour, markersize=4.5, linewidth=1.4, label=name)
            for steps, seconds, error in line[["steps", "seconds", "mm"]].itertuples(index=False):
                look: dict[str, Any] = {"fontsize": 7.5, "color": colour, "ha": "center", "textcoords": "offset points"}
                axes.annotate(f"{steps:.0f}", (seconds, error), xytext=(0, 6 if error == highest[steps] else -11), **look)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.margins(y=0.15)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("mean error, mm", fontsize=8.5, color=INK)
    panels[-1].set_xlabel(
        "seconds for a head, from its photographs to its score; numbers at the points are steps", fontsize=8.5, color=INK
    )
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8.5, frameon=False)
    return figure


def growth(lines: Mapping[tuple[str, str], pd.DataFrame]) -> Figure:
    """How costs grow: (title, axis) -> rows of size and seconds, on log scales; a dotted line shows linear growth."""
    columns = 2
    figure = Figure(figsize=(5.6, 2.1 * -(-len(lines) // columns)), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(-(-len(lines) // columns), columns, squeeze=False).ravel()
    for axes, ((title, axis), line) in zip(panels, lines.items(), strict=False):
        axes.plot(line["size"], line["seconds"], "-o", color=COLOURS[0], markersize=3.5, linewidth=1.4)
        last = line.iloc[-1]
        axes.plot(line["size"], last["seconds"] * line["size"] / last["size"], ":", color=FAINT, linewidth=1.2)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(line["size"], [f"{size:,}" for size in line["size"]], fontsize=7)
        axes.minorticks_off()
        axes.set_title(title, fontsize=9, color=INK, loc="left")
        axes.set_xlabel(axis, fontsize=8, color=INK)
        axes.set_ylabel("ms", fontsize=8, color=INK)
        ends = [line["seconds"].min(), line["seconds"].max()]
        axes.set_yticks(ends if ends[1] > 1.5 * ends[0] else ends[1:])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{1000 * seconds:,.0f}"))
        plain(axes, 7)
    for axes in panels[len(lines) :]:
        axes.set_visible(False)
    return figure


def strips(values: Mapping[str, Mapping[str, pd.Series]], looks: Mapping[str, int] | None = None) -> Figure:
    """Errors of single heads: region -> method -> one number for each head (mm), as points over a box of quartiles."""
    if not any(len(series) for methods in values.values() for series in methods.values()):
        raise ValueError("there is nothing to draw: no method has a number for any head")
    figure, panels = _panels(list(values), 2.6)
    styles = _styles((name for methods in values.values() for name in methods), looks)
    for axes, methods in zip(panels, values.values(), strict=True):
        for i, (name, series) in enumerate(methods.items()):
            numbers, (colour, mark) = series.dropna().to_numpy(), styles[name]
            if not len(numbers):
                continue
            line = {"color": colour, "linewidth": 1.0}
            look: dict[str, Any] = {"boxprops": line | {"facecolor": (colour, 0.22)}, "whiskerprops": line, "capprops": line}
            look["medianprops"] = line | {"linewidth": 1.8}
            axes.boxplot(
                [numbers],
                positions=[i],
                widths=0.55,
                whis=(0, 100),
                manage_ticks=False,
                patch_artist=True,
                showfliers=False,
                **look,
            )
            beside = np.linspace(-0.16, 0.16, len(numbers)) if len(numbers) > 1 else np.zeros(1)
            axes.plot(i + beside, numbers, mark, color=colour, markersize=4.5, alpha=0.9, markeredgewidth=0)
        size = 8.5 if len(methods) < 6 else 7.5
        axes.set_xticks(range(len(methods)), [name.replace(" ", "\n") for name in methods], fontsize=size)
        axes.set_xlim(-0.6, len(methods) - 0.4)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("error, mm", fontsize=8.5, color=INK)
    return figure


def choices(errors: Mapping[str, pd.DataFrame], losses: Mapping[str, pd.DataFrame]) -> Figure:
    """The errors of every head from several priors (region -> heads x priors, mm); the first and the chosen priors are marked.

    `losses` (rule -> heads x priors, at most three rules): a rule chooses the prior with the smallest loss if a head has all.
    """
    priors = {tuple(table.columns) for table in (*errors.values(), *losses.values())}
    if (
        not losses
        or len(priors) != 1
        or any(set(loss.index) - set(table.index) for table in errors.values() for loss in losses.values())
    ):
        raise ValueError("an error for each head and prior of the losses was expected")
    figure, panels = _panels(list(errors), 2.4)
    for axes, table in zip(panels, errors.values(), strict=True):
        for i, (head, row) in enumerate(zip(table.index, table.to_numpy(), strict=True)):
            axes.plot(np.full(len(row), i), row, "o", color=FAINT, markersize=4, alpha=0.7, markeredgewidth=0, label="a prior")
            axes.plot(i - 0.18, row[0], ">", color=COLOURS[0], markersize=5.5, label="the first prior")
            for k, (rule, loss) in enumerate(losses.items()):
                if head in loss.index and np.isfinite(loss.loc[head]).all():
                    taken = row[loss.loc[head].to_numpy().argmin()]
                    axes.plot(i + 0.16 + 0.14 * k, taken, "<^v"[k], color=COLOURS[1 + k], markersize=5.5, label=rule)
        axes.set_xticks(range(len(table)), [str(name) for name in table.index], rotation=45 if len(table) > 6 else 0)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("error, mm", fontsize=8.5, color=INK)
    handles = {name: handle for handle, name in zip(*panels[0].get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, fontsize=8.5, frameon=False)
    return figure


def distance_sketch() -> Figure:
    """A signed distance function in two dimensions: level lines around a head's outline, and sphere tracing along one ray."""
    face = "-50 55 -58 30 -60 12 -56 2 -66 -10 -75 -21 -66 -26 -60 -28 -63 -36 -58 -40 -61 -46 -56 -52 -59 -63 -50 -71"
    rest = "-32 -66 -20 -62 -18 -95 5 -99 28 -95 33 -55 50 -25 62 10 55 50 25 78 -15 80"
    knots = np.array(f"{face} {rest}".split(), dtype=float).reshape(-1, 2).T / 100
    spline = splprep(np.c_[knots, knots[:, :1]], s=2e-3, per=True)[0]
    outline = np.stack(splev(np.linspace(0, 1, 4000), spline), axis=1)
    tree, inside = cKDTree(outline), Path2D(outline)

    def distance(points: np.ndarray) -> np.ndarray:
        return np.asarray(tree.query(points)[0] * np.where(inside.contains_points(points), -1, 1))

    x, y = np.meshgrid(np.linspace(-1.75, 1.15, 290), np.linspace(-1.1, 1.1, 220))
    values = distance(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape)
    figure = Figure(figsize=(7.2, 5.1), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.contour(x, y, values, levels=np.arange(0.1, 1.3, 0.1), colors=FAINT, linewidths=0.5, alpha=0.7)
    axes.contour(x, y, values, levels=np.arange(-0.6, -0.05, 0.1), colors=FAINT, linewidths=0.5, linestyles="--", alpha=0.7)
    axes.fill(*outline.T, color=COLOURS[0], alpha=0.10, linewidth=0)
    axes.plot(*outline.T, color=COLOURS[0], linewidth=2)
    start, ray = np.array([-1.62, 0.52]), np.array([0.738, -0.675])
    travelled = [0.0]
    while (step := distance((start + travelled[-1] * ray)[None])[0]) > 4e-3 and len(travelled) < 40:
        centre = start + travelled[-1] * ray
        axes.add_patch(Circle((float(centre[0]), float(centre[1])), step, fill=False, edgecolor=COLOURS[1], linewidth=1))
        travelled.append(travelled[-1] + float(step))
    stops = start + np.array(travelled)[:, None] * ray
    axes.plot(*stops.T, ".-", color=COLOURS[1], markersize=5, linewidth=1.2)
    for text, at in {"f > 0": (-0.42, 0.93), "f < 0": (0.0, 0.15), "f = 0": (0.66, 0.32)}.items():
        axes.text(*at, text, color=INK, fontsize=11, style="italic")
    axes.text(start[0] + 0.04, start[1] + 0.06, "camera", color=COLOURS[1], fontsize=10, ha="center")
    axes.set(aspect="equal", xlim=(-1.75, 1.15), ylim=(-1.03, 1.03))
    axes.set_axis_off()
    return figure


# ---- heads in 3D


def heads(rows: Sequence[Mapping[str, trimesh.Trimesh]], *, azimuth: float = 30.0, size: int = 200) -> Figure:
    """Rows of heads in one framing, seen from `azimuth` degrees; a single row has the names above the heads."""
    shared = frame_of(*(mesh for row in rows for mesh in row.values()))
    sheets = [[render(mesh, azimuth=azimuth, size=size, frame=shared) for mesh in row.values()] for row in rows]
    if len(rows) == 1:
        return _grid(sheets, list(rows[0]), [])
    return _grid(sheets, [], [])


def points(clouds: Mapping[str, np.ndarray]) -> Figure:
    """Point clouds (N, 3) of heads, by name, from the front; nearer points are darker, those at the back are left out."""
    figure = Figure(figsize=(7.2, 7.2 / len(clouds) + 0.25), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, cloud) in zip(np.atleast_1d(figure.subplots(1, len(clouds))), clouds.items(), strict=True):
        front = np.asarray(cloud)[np.asarray(cloud)[:, 2] > 0]
        axes.scatter(front[:, 0], front[:, 1], s=0.4, c=front[:, 2], cmap="Greys", vmin=-0.5, linewidths=0)
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(name, fontsize=8, color=INK)
    return figure


def simplify(mesh_mm: trimesh.Trimesh, max_faces: int) -> trimesh.Trimesh:
    """The same surface with at most about `max_faces` triangles (quadric error decimation)."""
    if len(mesh_mm.faces) <= max_faces:
        return mesh_mm
    return mesh_mm.simplify_quadric_decimation(face_count=max_faces, aggression=5)


def interactive(
    mesh_mm: trimesh.Trimesh,
    max_faces: int = 12000,
    values: np.ndarray | None = None,
    title: str = "",
    *,
    limits: tuple[float, float] | None = None,
    frame: Frame | None = None,
) -> go.Figure:
    """A simplified head to rotate in the browser, as clay or, with `values` (N,) per vertex, as a heat map.

    Coordinates are stored as integer tenths of a millimetre to keep the file small. `frame` gives several heads the same framing.
    """
    small = simplify(mesh_mm, max_faces)
    tenths, largest = np.asarray(small.vertices * 10).round(), np.iinfo(np.int16).max
    if np.abs(tenths).max() > largest:
        raise ValueError(f"a mesh in mm, near the origin, was expected; it reaches {np.abs(tenths).max() / 10:.0f} mm")
    x, y, z = tenths.astype(np.int16).T
    index = np.uint16 if len(x) <= np.iinfo(np.uint16).max else np.uint32
    i, j, k = small.faces.astype(index).T
    look: dict[str, object] = {"color": "rgb(212,208,202)"}
    if values is not None:
        nearest = cKDTree(mesh_mm.vertices).query(small.vertices)[1]
        low, high = limits if limits is not None else (0.0, float(np.max(values)))
        scale = [[float(t), f"rgb{tuple(int(255 * c) for c in ERRORS(t)[:3])}"] for t in np.linspace(0, 1, 9)]
        look = {
            "intensity": np.asarray(values, dtype=np.float32)[nearest].round(1),
            "cmin": low,
            "cmax": high,
            "colorscale": scale,
            "colorbar": {"title": {"text": "mm"}, "thickness": 12, "len": 0.7},
        }
    look["lighting"] = {"ambient": 0.28, "diffuse": 0.74, "specular": 0.05, "roughness": 0.9, "fresnel": 0.05}
    look["lightposition"] = {"x": -3e4, "y": 3e4, "z": 3e4}
    centre, half = frame if frame is not None else frame_of(mesh_mm)
    axes = [{"visible": False, "range": [10 * float(middle - half), 10 * float(middle + half)]} for middle in centre]
    return go.Figure(
        go.Mesh3d(x=x, y=y, z=z, i=i, j=j, k=k, name=title, hoverinfo="skip", **look),
        layout={
            "title": {"text": title},
            "margin": {"l": 0, "r": 0, "t": 30 if title else 0, "b": 0},
            "template": "none",
            "scene": {
                "xaxis": axes[0],
                "yaxis": axes[1],
                "zaxis": axes[2],
                "aspectmode": "cube",
                "dragmode": "orbit",
                "camera": {"up": {"x": 0, "y": 1, "z": 0}, "eye": {"x": 0.45, "y": 0.1, "z": 1.25}},
            },
        },
    )


# ---- tables and files


def table(rows: pd.DataFrame) -> Styler:
    """A table for a notebook: numbers with two decimals, a dash for a missing one, failed rows in grey."""

    def grey(row: pd.Series) -> list[str]:
        return [f"color: {FAINT}" if row.get("status") == "failed" else ""] * len(row)

    return rows.style.format(precision=2, na_rep="–").apply(grey, axis=1).hide(axis="index")


def png(figure: MatplotlibFigure) -> bytes:
    """The figure as PNG, with the same bytes each time: without the date and the version of the software."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi, metadata={"Software": None})
    return buffer.getvalue()


def small(content: bytes) -> bytes:
    """A PNG with a palette of 256 colours, a third of the size."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    # k-means afterwards, because the median cut alone drops rare colours (lilac clothes came out white and pink); it stops when
    # fewer than one pixel in a hundred changes its colour, for the last steps take longest and are invisible
    rest = picture.width * picture.height // 100
    palette = picture.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=rest, dither=Image.Dither.NONE)
    palette.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def save(figure: MatplotlibFigure | go.Figure | np.ndarray, path: Path | str, *, palette: bool = False) -> None:
    """Write a figure or a picture (H, W, 3) as PNG, or a 3D head as JSON, whole or not at all; the folder is created.

    With `palette`, a PNG has only 256 colours.
    """
    path = Path(path)
    if isinstance(figure, go.Figure):
        content = json.dumps(json.loads(figure.to_json()), separators=(",", ":"), sort_keys=True).encode()
    elif isinstance(figure, np.ndarray):
        buffer = io.BytesIO()
        Image.fromarray(figure).save(buffer, format="PNG", optimize=not palette)
        content = buffer.getvalue()
    else:
        content = png(figure)
    expected = ".json" if isinstance(figure, go.Figure) else ".png"
    if path.suffix != expected:
        raise ValueError(f"{path}: a figure of this kind is saved as {expected}")
    with files.replacing(path) as partial:
        partial.write_bytes(small(content) if palette and expected == ".png" else content)
