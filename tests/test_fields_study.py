"""An identity field as a study: a template, identities, a field, tracked faces, scores, tables; and new faces."""

from pathlib import Path

import copies
import numpy as np
import pandas as pd
import pytest

from heads.posts import field_scores, fields, results

STUDY = """
data: {notebook: 01_data, seed: 7, light: common, size: 96, photographs: 16}
subjects: [ada]
views: [1, 3]
every: {preset: SMOKE}
evaluate: {notebook: 30_evaluate_views}
table: {notebook: 31_fields_results}
priors:
  template: {notebook: 26_template, heads: 24, components: 10}
  people: {notebook: 27_identities, people: 2, seed: 3, size: 48, cameras: 4, unseen: 1}
  validation: {notebook: 27_identities, people: 1, seed: 97, size: 48, cameras: 4, unseen: 1}
  field: {notebook: 28_identity_field, priors: [people, validation], prior: template, training: {unseen: 1}}
methods:
  nearest-code: {notebook: 29_track, label: nearest code, prior: field, way: nearest, views: [1]}
  identity-field:
    - {notebook: 29_track, label: identity field, against: [nearest-code], prior: field, template_views: 8}
    - {name: half, half: left, views: [1]}
  idr: {notebook: 03_reconstruct, label: IDR, fit: {epochs: 20}, views: [1]}
"""


def test_a_study_of_a_field_ends_in_tables_and_faces(repository: Path) -> None:
    done, ran = copies.again(repository, STUDY)
    found = results.read_table(repository / "results" / "mine.csv")
    assert found["status"].tolist() == ["ok"] * 5, (found["reason"].tolist(), done.stderr[-2000:])
    assert {"prior/template", "prior/people", "prior/field", "fit/ada.identity-field.field.half.v1"} <= ran
    tracked = found[found["method"] != "idr"]
    assert np.isfinite(tracked[["face_psnr_db", "face_ssim", "face_l1", "face_psnr_whole_db", "face_rigid_mm"]].to_numpy()).all()
    assert np.isfinite(found.loc[found["views"] == 1, "held_psnr_db"]).all()
    assert tracked["placed_face_mm"].max() < 60 and tracked.loc[tracked["views"] == 3, "placed_face_mm"].max() < 5
    learned = pd.read_csv(repository / "results" / "mine_learned.csv")
    assert learned["prior"].tolist() == ["field"] and learned["psnr_db"][0] > 5
    drawn = {path.name for path in (repository / "figures" / "mine").iterdir()}
    assert {"faces.png", "curve.png", "field_learned.png", "people_identities.png", "template_template.png"} == drawn - {
        "validation_identities.png"
    }
    of = ["-p", "prior", "runs/mine/prior/field", "-p", "frames", "2", "-p", "drawn", "2", "-p", "size", "64"]
    tracked_twice = "[runs/mine/fit/ada.identity-field.field.v1, runs/mine/fit/ada.identity-field.field.v3]"
    words = ["notebooks/32_new_faces.py", "new.ipynb", "-p", "out", "runs/new", *of, "-p", "heads", tracked_twice]
    mixed = copies.heads(repository, "run", *words)
    assert mixed.returncode == 0, mixed.stderr[-2000:]
    assert {"between.png", "drawn.png", "between.webp"} <= {path.name for path in (repository / "runs" / "new").iterdir()}


def test_decibels_are_compared_person_by_person() -> None:
    rows = [
        {"subject": person, "method": method, "prior": "", "name": "", "views": 1, "held_psnr_db": value}
        for person, values in {"ann": (20.0, 24.0), "bob": (21.0, 23.0)}.items()
        for method, value in zip(("nearest", "field"), values, strict=True)
    ]
    table = pd.DataFrame(rows).assign(seed=0, status="ok", reason="")
    about = {"methods": {"field": {"label": "field", "against": ["nearest"]}, "nearest": {"label": "nearest", "against": []}}}
    gains = fields.gains(results.Results("mine", table, about=about), "held_psnr_db")
    assert gains["1: field - nearest"]["dB"] == pytest.approx(3.0)
    assert gains["1: field - nearest"]["higher on"] == gains["1: field - nearest"]["of"] == 2


def test_cameras_that_see_little_of_the_face_do_not_count() -> None:
    masks = np.zeros((4, 10, 10), dtype=bool)
    masks[0], masks[1, :6], masks[2, :5], masks[3, 0, 0] = True, True, True, True
    assert field_scores.facing(masks) == [0, 1]
