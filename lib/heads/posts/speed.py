"""Speed in the posts, from results/bench.csv, which `make bench` writes, and bench_gpu.csv: sentences, tables, lines to plot.

A name such as `step_by_rays_1024_ms` is a point of a curve: what was measured, what it grows with, how much of that, the unit.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from heads.posts import tables
from heads.posts.results import REGIONS, read_csv
from heads.posts.sentences import listed

COLUMNS = ("name", "value", "unit", "machine", "commit")
POINT = re.compile(r"(?P<what>\w+)_by_(?P<by>[a-z]+)_(?P<size>\d+)(_(?P<region>face|head))?_(?P<unit>s|ms|mm)")
STARTS = {"sphere": "from a sphere", "prior": "from one other head"}
GROWS = {  # (what, by) -> title, axis
    ("step", "rays"): ("a step", "rays"),
    ("step", "width"): ("a step", "width of the network"),
    ("step", "grid"): ("a step", "grid points a side"),
    ("step", "views"): ("a step", "photographs"),
    ("heads", "subjects"): ("all heads", "heads"),
    ("extraction", "vertices"): ("extraction", "vertices of the mesh"),
}
STEPS = 6000  # of a fit at the published size, three photographs: 2000 epochs
SINGLE = {  # rows of the table, in its order
    "published_tracing_step_s": "a step at the published size, published tracing",
    "cached_tracing_step_s": "the same with the remembered grid",
    "published_step_speedup": "how many times faster that is",
    "published_step_floor_ms": "its matrix products alone, at the rate of a large one",
    "published_step_floor_of_bytes_ms": "their operands alone, at the rate of a large copy",
    "laptop_step_ms": "a step of LAPTOP",
    "laptop_step_with_1_threads_ms": "a step of LAPTOP, one thread",
    "laptop_step_with_2_threads_ms": "a step of LAPTOP, two threads",
    "laptop_step_floor_ms": "its matrix products alone",
    "laptop_step_floor_of_bytes_ms": "their operands alone",
    "published_head_s": "a head at the published size from a sphere, 6,000 steps: read, fitted, extracted, scored",
    "published_head_face_mm": "its error on the face",
    "published_head_head_mm": "its error on the head",
    "head_from_sphere_by_steps_240_s": "a head of LAPTOP from a sphere, 240 steps",
    "head_from_sphere_by_steps_240_face_mm": "its error on the face",
    "seconds_per_head": "a head from three photographs and a prior: read, fitted, extracted, scored",
    "two_heads_side_by_side_s": "two short fits side by side, a thread each",
    "heads_by_subjects_2_s": "the same two one after the other",
    "metric_rigid_s": "the protocol rigid, one region",
    "metric_toolbox_s": "the protocol toolbox, one region",
    "evaluation_s": "all four scores",
    "photograph_ms": "a synthetic photograph",
    "imports_of_a_fit_s": "the imports of notebook 3",
    "empty_notebook_s": "a notebook that does nothing",
}


def read(root: Path | str, name: str = "bench") -> pd.DataFrame:
    """The rows of results/NAME.csv below `root`; FileNotFoundError or ValueError names the invalid file."""
    path = Path(root, "results", f"{name}.csv")
    rows = read_csv(path, COLUMNS)
    wrong = rows[~np.isfinite(pd.to_numeric(rows["value"], errors="coerce"))]
    if len(wrong):
        raise ValueError(f"{path}: numbers were expected, {wrong['name'].iloc[0]} is {wrong['value'].iloc[0]}")
    return rows


def points(bench: pd.DataFrame) -> pd.DataFrame:
    """The points of all curves: `what`, `by`, `size`, `region` (empty for anything but an error), `unit`, `value`."""
    found = [
        match.groupdict("") | {"value": value}
        for name, value in zip(bench["name"], bench["value"], strict=True)
        if (match := POINT.fullmatch(name))
    ]
    return pd.DataFrame(found, columns=["what", "by", "size", "region", "unit", "value"]).astype({"size": int})


def error_lines(bench: pd.DataFrame) -> dict[str, dict[str, pd.DataFrame]]:
    """Region -> start -> rows of `steps`, `seconds` and `mm`: the error of a head against the seconds spent on it."""
    all_points = points(bench)
    lines: dict[str, dict[str, pd.DataFrame]] = {}
    for region in REGIONS:
        lines[region] = {}
        for start, title in STARTS.items():
            rows = all_points[all_points["what"] == f"head_from_{start}"]
            seconds, errors = rows[rows["unit"] == "s"], rows[(rows["unit"] == "mm") & (rows["region"] == region)]
            merged = seconds.merge(errors, on="size")[["size", "value_x", "value_y"]]
            merged.columns = pd.Index(["steps", "seconds", "mm"])
            lines[region][title] = merged.sort_values("steps", ignore_index=True)
    return lines


def growth_lines(bench: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """(title, axis) -> rows of `size` and `seconds`, the smallest first, for each cost that was measured at two sizes or more."""
    all_points = points(bench)
    lines = {}
    for (what, by), title in GROWS.items():
        rows = all_points[(all_points["what"] == what) & (all_points["by"] == by) & (all_points["unit"] != "mm")]
        seconds = rows["value"] * rows["unit"].map({"s": 1.0, "ms": 0.001})
        if len(rows) > 1:
            lines[title] = pd.DataFrame({"size": rows["size"], "seconds": seconds}).sort_values("size", ignore_index=True)
    return lines


def exponent(line: pd.DataFrame) -> float:
    """The power of the size with which a cost grows, from the smallest to the largest measured size; 1 is linear."""
    first, last = line.iloc[0], line.iloc[-1]
    return float(np.log(last["seconds"] / first["seconds"]) / np.log(last["size"] / first["size"]))


def growth(bench: pd.DataFrame) -> str:
    """A table of how each cost grows, and over what range."""
    rows = []
    for (title, axis), line in growth_lines(bench).items():
        ends = [f"{line['size'].iloc[i]:,}" for i in (0, -1)]
        cost = [f"{1000 * line['seconds'].iloc[i]:,.0f}" for i in (0, -1)]
        rows.append([title, axis, *ends, *cost, f"{exponent(line):.2f}".replace("-0.00", "0.00")])
    header = ["What", "grows with", "from", "to", "ms", "ms at the end", "power"]
    caption = "How the time grows: with this power of the size, between the two sizes given; a power of one is linear."
    return tables.grid(header, rows, "speed-growth", caption)


def costs(bench: pd.DataFrame, anchor: str = "speed-costs") -> str:
    """A table of single measurements, and the most memory that a group of them took."""
    value = {row["name"]: (row["value"], row["unit"]) for row in bench.to_dict("records")}
    rows = [[title, f"{value[name][0]:.3g}", value[name][1]] for name, title in SINGLE.items() if name in value]
    peaks = {name: number for name, (number, _) in value.items() if name.startswith("peak_of_") and name != "peak_of_floor_mb"}
    if peaks:
        rows.append(["the most memory of any group", f"{max(peaks.values()):.0f}", "MB"])
    commits = bench.groupby("machine", sort=False)["commit"].unique()
    where = "; ".join(f"{machine}, at {listed([commit[:7] for commit in at])}" for machine, at in commits.items())
    return tables.grid(["What", "Value", "Unit"], rows, anchor, f"What things cost: `make bench` on {where}.")


def conclusion(bench: pd.DataFrame) -> str:
    """The cost of a head, how close it comes to the best of its curve, and what the remembered grid saves, as far as measured."""
    value = dict(zip(bench["name"], bench["value"], strict=True))
    said = []
    if {"seconds_per_head", "face_error_per_head_over_the_best"} <= set(value):
        more = value["face_error_per_head_over_the_best"] - 1
        near = f"{more:.0%} above" if more > 0.005 else "that of"
        said.append(
            f"A head from three photographs and one other head takes {value['seconds_per_head']:.1f} seconds, from reading "
            f"the photographs to the score; its face error is {near} the lowest of its curve."
        )
    if "published_step_speedup" in value:
        said.append(
            f"At the published size, a step with the remembered grid takes {value['cached_tracing_step_s']:.2f} seconds, with "
            f"the published tracing {value['published_tracing_step_s']:.2f}: {value['published_step_speedup']:.1f} times as many."
        )
    return " ".join(said)


def published_size(gpu: pd.DataFrame, bench: pd.DataFrame) -> str:
    """The cost of a head at the published size on a GPU, and of its steps on the other machine, as far as measured."""
    there, here = (dict(zip(table["name"], table["value"], strict=True)) for table in (gpu, bench))
    said = []
    if {"published_head_s", "published_head_face_mm"} <= set(there):
        said.append(
            f"A head at the published size, with all its {STEPS:,} steps from a sphere, takes {there['published_head_s']:.0f} "
            "seconds from reading the photographs to the score, "
            f"and has an error of {there['published_head_face_mm']:.2f} mm on the face."
        )
    if {"cached_tracing_step_s", "published_tracing_step_s"} <= set(here):
        ours, published = (STEPS * here[f"{way}_tracing_step_s"] / 60 for way in ("cached", "published"))
        said.append(
            f"On the machine of the tables above, at its seconds for a step, the same steps would take {ours:.0f} minutes, "
            f"and with the published tracing {published / 60:.0f} hours."
        )
    return " ".join(said)
