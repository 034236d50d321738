"""Invented results, in the shape of the studies that the posts read, with numbers that the tests know."""

import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import trimesh

from heads.methods import idr
from heads.posts import plots
from heads.study import records as runs

ALL = "geometry colour moments"
TEN = ("anna", "boris", "carla", "david", "elif", "farid", "greta", "hiro", "ines", "jamal")
OWNERS = {"one": "nora", "two": "omar", "three": "pia"}
EPOCHS = (500, 1000, 2000)
APART = {  # what the first prior of a method carries in further runs of the full study, and the gain on the face (mm)
    "baseh3d": {"geometry colour": -0.5, "geometry": -0.1, "colour": -0.4},
    "average": {"geometry": 0.3},
    "h3dnet+colour": {"geometry": -1.0},
}


def row(subject: str, method: str, prior: str, face: float, *, views: int = 3, seed: int = 0, carry: str = ALL) -> dict[str, Any]:
    """One run. The head's error is twice the face's, the toolbox's 1.1 times the rigid one; NaN is a run that failed."""
    well = not np.isnan(face)
    scores = dict(zip(runs.METRICS, (1.1 * face, 2.2 * face, face, 2 * face), strict=True))
    found = {"subject": subject, "method": method, "prior": prior, "views": views, "seed": seed}
    found |= {"status": "ok" if well else "failed", "reason": "" if well else "mask | of view 2 is <empty>"} | scores
    found |= {"seconds": 31.0, "peak_mb": 640.0, "device": "cpu", "commit": "0123abcd", "preset": "SMOKE", "carry": carry}
    return found | {"trial_loss": face / 10, "final_loss": face / 20}


def quick(errors: dict[str, tuple[float, ...]], subjects: tuple[str, ...] = ("ada", "ben", "cleo")) -> pd.DataFrame:
    """The default study: errors on the face (rigid, mm) by method, one a subject."""
    priors = {"idr": "sphere", "baseh3d": "single"}
    return pd.DataFrame(
        [row(subject, method, priors[method], errors[method][i]) for i, subject in enumerate(subjects) for method in errors]
    )


def synthetic() -> pd.DataFrame:
    """The full study, with errors on the face (rigid, mm) of 2.0 to 2.9 by IDR from 3 photographs, and less with more of them.

    baseh3d is 0.5 lower, but from 8 photographs on 0.1 lower on half of the heads and 0.1 higher on the others; average is 0.2
    higher, h3dnet 1.0 lower, with colour 1.1. Of the priors of one head, two-500 is the best on every head but the first, where
    one-1000 is. The loss of a trial follows the error, so that it always chooses the best. The first five heads have the runs of
    `APART` too.
    """
    found = []
    carries = {"average": "geometry colour", "h3dnet": "geometry", "h3dnet+colour": "geometry colour"}
    starts = {"idr": "sphere", "baseh3d": "one-500", "average": "mean", "h3dnet": "heads", "h3dnet+colour": "heads-colour"}
    for (i, subject), views, (method, prior) in itertools.product(enumerate(TEN), (3, 4, 8, 16, 32), starts.items()):
        if method == "h3dnet+colour" and views > 3:
            continue
        base = 2.0 + 0.1 * i - 0.3 * np.log2(views / 3)
        gain = {"idr": 0.0, "baseh3d": -0.5, "average": 0.2, "h3dnet": -1.0, "h3dnet+colour": -1.1}[method]
        if method == "baseh3d" and views >= 8:
            gain = 0.1 if i % 2 else -0.1
        for seed in (0, 1) if views == 3 else (0,):
            error = base + gain + (0.02 if seed else 0.0)
            found.append(row(subject, method, prior, error, views=views, seed=seed, carry=carries.get(method, ALL)))
        if (method, views) == ("baseh3d", 3):
            for (k, name), epochs in itertools.product(enumerate(OWNERS), EPOCHS):
                if (name, epochs) != ("one", 500):
                    better = (name, epochs) == (("one", 1000) if i == 0 else ("two", 500))
                    error = base - 0.9 if better else base + 0.1 * k + epochs / 10000
                    found.append(row(subject, method, f"{name}-{epochs}", error))
        if views == 3 and i < 5:
            found += [row(subject, method, prior, base + less, carry=parts) for parts, less in APART.get(method, {}).items()]
    return pd.DataFrame(found)


def trials() -> pd.DataFrame:
    """The trials of the full study: the loss follows the error of the priors of 500 epochs, but for jamal's, whose is reversed.

    So two-500 is chosen, as is right, on eight heads, and one-500 on the first, where it is right, as the best of these three.
    For jamal three-500 is chosen, which is 1.15 mm worse than the best.
    """
    table = synthetic()
    table = table[table["prior"].isin([f"{name}-500" for name in OWNERS]) & (table["carry"] == ALL)]
    table = table[(table["views"] == 3) & (table["seed"] == 0)]
    sign = table["subject"].map(lambda subject: -1.0 if subject == "jamal" else 1.0)
    loss = 1 + sign * table["face_rigid_mm"] / 10
    found = table[["subject", "prior", "views"]].assign(loss=loss, rgb=0.8 * loss, mask=0.002 * loss, fitted="5 31", judged="12")
    return found[list(runs.TRIALS)]


def carry() -> pd.DataFrame:
    """What a prior carries, on five heads: from idr's 2.0 to 2.4, the geometry takes 0.1, the colours 0.4, both 0.6."""
    gains = {ALL: -0.6, "geometry colour": -0.6, "geometry": -0.1, "colour": -0.4}
    found = []
    for i, subject in enumerate(TEN[:5]):
        base = 2.0 + 0.1 * i
        found.append(row(subject, "idr", "sphere", base))
        found += [row(subject, "baseh3d", "one-500", base + gain, carry=parts) for parts, gain in gains.items()]
        learned = ("geometry colour", "geometry")
        found += [row(subject, "h3dnet+colour", "heads-colour", base + gains[parts], carry=parts) for parts in learned]
    return pd.DataFrame(found)


def tracing() -> pd.DataFrame:
    """The full study's fits from three photographs, traced as published: 0.1 mm less on the face, in three times the seconds."""
    table = synthetic()
    first = table["prior"].isin(["sphere", "one-500"]) & (table["carry"] == ALL)
    table = table[first & (table["views"] == 3) & (table["seed"] == 0)].copy()
    table["seconds"] *= 3
    table["face_rigid_mm"] -= 0.1
    return table


def about(light: str = "varied") -> dict[str, Any]:
    """What results/STUDY.json says."""
    scans = {
        f"{name}-{epochs}": {"name": f"{name}-{epochs}", "kind": "scan", "subject": owner, "views": 32, "epochs": epochs}
        for (name, owner), epochs in itertools.product(OWNERS.items(), EPOCHS)
    }
    others = {
        "mean": {"name": "mean", "kind": "average", "of": ["one-500", "two-500", "three-500"]},
        "heads": {"name": "heads", "kind": "autodecoder", "heads": 200, "colour": False, "photographs": 8},
        "heads-colour": {"name": "heads-colour", "kind": "autodecoder", "heads": 200, "colour": True, "photographs": 8},
        "single": {"name": "single", "kind": "scan", "subject": "eve", "views": 32, "epochs": 500},
    }
    return {
        "data": {"kind": "synthetic", "seed": 77, "size": 256, "photographs": 40, "light": light},
        "prior": scans | others,
        "learned": {
            "heads": {
                "shape": {"width": 32, "depth": 3, "code": 8},
                "loss": "igr",
                "normal_weight": 0.1,
                "steps": 200,
                "points": 64,
                "heads": 4,
            }
        },
        "fit": asdict(replace(idr.SMOKE, cell_mm=3.0)),
    }


def write(root: Path, study: str, table: pd.DataFrame, light: str = "varied", trials: pd.DataFrame | None = None) -> None:
    """The committed results of a study below `root`; with `trials`, it makes a choice."""
    folder = root / "results"
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / f"{study}.csv", index=False)
    stages = pd.DataFrame({"stage": ["01_data", "03_reconstruct"], "runs": [4, 6], "seconds": [12.0, 187.0]})
    stages.to_csv(folder / f"{study}_stages.csv", index=False)
    choose = {} if trials is None else {"of": list(dict.fromkeys(trials["prior"])), "share": 0.2, "views": 3, "held_out": True}
    if trials is not None:
        trials.to_csv(folder / f"{study}_trials.csv", index=False)
    (folder / f"{study}.json").write_text(json.dumps(about(light) | {"choose": choose}))


def write_lesson(root: Path) -> None:
    """What notebook 7 leaves of its lesson: after 64 and 300 steps, three heads and their mean by its start."""
    found = []
    for start, step in itertools.product(("independent", "common"), (64, 300)):
        lost = start == "independent" and step == 300
        for network in ("ada", "ben", "cleo", "mean"):
            bad = lost and network == "mean"
            found.append([start, step, network, 0.91 if bad else 0.12, not bad, 0.13 if bad else 0.9, 0.3, 8.2 if bad else 0.25])
    found.append(["distilled", 300, "mean", 0.11, True, 0.97, 0.01, 0.21])
    columns = ["start", "step", "network", "inside_share", "surface", "iou", "l1", "first_loss"]
    pd.DataFrame(found, columns=columns).to_csv(root / "results" / "synthetic_mean.csv", index=False)


def draw(folder: Path, table: pd.DataFrame, extra: tuple[str, ...] = ()) -> None:
    """Figures of a study, grey and small, and heads to turn for every subject."""
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=100)
    grey = np.full((30, 90, 3), 120, np.uint8)
    folder.mkdir(parents=True)
    subjects, methods = table["subject"].unique(), table["method"].unique()
    names = [f"{what}_{subject}.png" for what in ("photographs", "comparison") for subject in subjects]
    for name in [*names, "contact_sheet.png", "losses.png", *extra]:
        plots.save(grey, folder / name)
    for subject, name in itertools.product(subjects, ("truth", *methods)):
        plots.save(plots.interactive(sphere, title=name), folder / f"head_{subject}_{name}.json")


EXTRA = ("priors.png", "epochs.png", "mean_average.png", "heads_samples.png", "heads_interpolation.png")
EXTRA += ("heads_completion_points.png", "heads_completion.png")


def bench() -> pd.DataFrame:
    """Some of the rows that the benchmark writes."""
    rows = [
        *((f"step_by_rays_{rays}_ms", 10 + rays / 64, "ms") for rays in (256, 512, 1024)),
        *((f"extraction_by_vertices_{count}_s", count / 1e5, "s") for count in (40_000, 10_000)),
        *((f"head_from_prior_by_steps_{steps}_s", steps / 30, "s") for steps in (75, 300)),
        *((f"head_from_prior_by_steps_{steps}_face_mm", 1 + 60 / steps, "mm") for steps in (300, 75)),
        ("seconds_per_head", 10.0, "s"),
        ("face_error_per_head_over_the_best", 1.04, "times"),
        ("cached_tracing_step_s", 0.4, "s"),
        ("published_tracing_step_s", 3.8, "s"),
        ("published_step_speedup", 9.5, "times"),
        ("peak_of_floor_mb", 900.0, "MB"),
        ("peak_of_growth_mb", 1200.0, "MB"),
    ]
    return pd.DataFrame([(*row, "a machine", "abc1234") for row in rows], columns=["name", "value", "unit", "machine", "commit"])
