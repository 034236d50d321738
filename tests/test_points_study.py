"""NPM and NPHM as a study: people, a crowd, two trainings, fits to points, scores and tables, in small."""

import os
from pathlib import Path

import copies
import numpy as np
import pandas as pd
import pytest

from heads.posts import points, results
from heads.posts.results import Results
from heads.study import plan

STUDY = """
data: {notebook: 10_expressions, seed: 5, expression_count: 2, points: 300}
subjects: [uma]
views: [1]
every: {preset: SMOKE}
evaluate: {notebook: 14_evaluate_points, points: 2000}
table: {notebook: 15_points_results}
priors:
  crowd: {notebook: 11_crowd, people: 2, expression_count: 2}
  nphm: {notebook: 12_nphm, prior: crowd, cell_mm: 12}
  npm: {notebook: 12_nphm, prior: crowd, model: npm, cell_mm: 12}
methods:
  npm: {notebook: 13_fit_points, label: NPM, prior: npm}
  nphm:
    - {notebook: 13_fit_points, label: NPHM, prior: nphm, against: [npm]}
    - {name: dense, points: dense}
"""


def test_a_study_of_points_ends_in_a_table_of_head_and_face(repository: Path) -> None:
    os.symlink(Path(__file__).parents[1] / "blog", repository / "blog") if not (repository / "blog").exists() else None
    done, ran = copies.again(repository, STUDY)
    found = results.read_table(repository / "results" / "mine.csv")
    assert found["status"].tolist() == ["ok"] * 3, (found["reason"].tolist(), done.stderr[-2000:])
    assert {
        "data/people.uma",
        "prior/crowd",
        "prior/nphm",
        "prior/npm",
        "fit/uma.npm.npm.s0",
        "score/uma.nphm.nphm.dense.s0",
    } <= ran
    scores = results.scores(found)
    assert {"head_l1_mm", "face_f1_at_1mm", "face_floor_mm", "neutral_head_l1_mm", "expressions_face_l1_mm"} <= set(scores)
    assert np.isfinite(found[["head_l1_mm", "face_l1_mm", "face_to_surface_mm"]].to_numpy()).all()
    assert (found["face_l1_mm"] > found["face_floor_mm"]).all() and (found["face_l1_mm"] < 100).all()
    pictures = {path.name for path in (repository / "figures" / "mine").iterdir()}
    assert {"nphm_samples.png", "crowd_expressions.png", "uma.npm.npm.s0.png"} <= pictures
    views = ["-p", "out", "runs/views", "-p", "prior", "runs/mine/prior/nphm", "-p", "preset", "SMOKE"]
    shown = copies.heads(repository, "run", "notebooks/17_views.py", "views.ipynb", *views, "-p", "fit", "{robust: false}")
    assert shown.returncode == 0, shown.stderr[-2000:]
    assert {"completion.png", "five_views.png", "mesh.ply"} <= {path.name for path in (repository / "runs" / "views").iterdir()}
    study = plan.read(repository / "config" / "mine.yaml")
    assert study.jobs["prior/nphm"].after == ("prior/crowd",)


ABOUT = {"methods": {name: {"label": name.upper(), "group": "", "prior": name} for name in ("npm", "nphm")}, "priors": {}}


def invented() -> Results:
    """Six people with both methods, from single views and from dense points; NPHM is 0.1 mm better on all of them."""
    rows = []
    for subject in range(6):
        for method, better in (("npm", 0.0), ("nphm", 0.1)):
            for name, nearer in (("", 0.0), ("dense", 0.3)):
                error = 0.8 + 0.05 * subject - better - nearer
                measures = {key: error for key in (*points.MEASURES, *points.BESIDE)}
                scores = {
                    f"{region}_{key}": value + (region == "head") for region in points.REGIONS for key, value in measures.items()
                }
                row = {"subject": f"{subject}", "method": method, "prior": method, "name": name, "views": 1, "seed": 0}
                rows.append(row | {"status": "ok", "reason": ""} | scores | {"seconds": 1.0})
    return Results("mine", pd.DataFrame(rows), about=ABOUT)


def test_the_tables_have_a_row_for_each_method_and_kind_of_points_and_the_published_ones() -> None:
    found = points.gather(invented(), "face", published=Path(__file__).parents[1] / "blog" / "nphm_published.csv")
    assert found["method"].tolist() == ["NPM", "NPM", "NPHM", "NPHM", "NPM, published", "NPHM, published"]
    assert found["points"].tolist() == ["single view", "dense", "single view", "dense", "single view", "single view"]
    assert found["L1, mm"].tolist() == pytest.approx([0.925, 0.625, 0.825, 0.525, 0.657, 0.531])
    assert points.gather(invented(), "head")["L1, mm"].tolist() == pytest.approx([1.925, 1.625, 1.825, 1.525])


def test_differences_are_of_the_same_people_by_the_kind_of_points() -> None:
    found = points.differences(invented(), "nphm", "npm", "face")
    assert list(found) == ["single view", "dense"]
    assert all(pair.mean == pytest.approx(-0.1) and pair.n == 6 and len(pair.lower) == 6 for pair in found.values())
