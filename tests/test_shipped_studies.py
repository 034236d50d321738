"""A study that chooses its prior; and those of config/: planned whole, and that of H3DS run small on made-up photographs."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import copies
import numpy as np
import pandas as pd
import pytest
import yaml

from heads import runs, study
from heads.scene import Scene

ROOT = Path(__file__).resolve().parents[1]


CHOICE = """
data: {kind: h3ds, root: faces, config: faces/mine.toml}
subjects: [anna]
views: {3: {overrides: {epochs: 10}}}
preset: SMOKE
priors:
  long: {kind: scan, subject: bert, views: 3, epochs: 20, carry: [geometry, colour]}
  short: {kind: scan, subject: carl, views: 3, epochs: 1}
methods:
  baseh3d: {prior: [long, short]}
choose: {of: [long, short], share: 0.5}
"""


def test_a_study_that_chooses_leaves_its_trials_which_come_back_when_they_have_gone(
    repository: Path, ellipsoid_scene: Scene
) -> None:
    copies.foreign_folder(repository / "faces", ellipsoid_scene, ["anna", "bert", "carl"])
    (repository / "config" / "chosen.yaml").write_text(CHOICE)
    done = copies.heads(repository, "study", "config/chosen.yaml")
    assert done.returncode == 0, done.stderr
    path = repository / "results" / "chosen_trials.csv"
    first = runs.read_trials(path)
    assert first[["subject", "prior", "views", "fitted", "judged"]].to_numpy().tolist() == [
        ["anna", "long", 3, "0 1", "2"],
        ["anna", "short", 3, "0 1", "2"],
    ]
    np.testing.assert_allclose(first["loss"], first["rgb"] + 100 * first["mask"], atol=1e-4)
    about = json.loads((repository / "results" / "chosen.json").read_text())
    assert about["choose"] == {"of": ["long", "short"], "share": 0.5, "views": 3, "held_out": True}
    record = runs.read_record(repository / "runs" / "chosen" / "choose" / "anna.v3.s0" / "record.json")
    assert (record.status, record.scores, record.config["epochs"]) == ("ok", {}, 10)
    assert record.losses == pytest.approx(first.set_index("prior")["loss"].to_dict(), abs=1e-6)

    shutil.rmtree(repository / "runs" / "chosen" / "choose")
    path.unlink()
    again = copies.heads(repository, "study", "config/chosen.yaml")
    assert again.returncode == 0, again.stderr
    pd.testing.assert_frame_equal(runs.read_trials(path), first)


@pytest.mark.parametrize("name", ["synthetic", "h3ds"])
def test_the_large_studies_are_planned_without_their_data(repository: Path, name: str) -> None:
    plan = study.read(repository / "config" / f"{name}.yaml")
    shown = copies.heads(repository, "study", f"config/{name}.yaml", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert f"{len(plan.fit_jobs())} fits" in shown.stdout and not (repository / "runs" / name).exists()
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--config", f"study=config/{name}.yaml"]
    dag = subprocess.run(command, cwd=repository, env=copies.environment(repository), capture_output=True, text=True)
    assert dag.returncode == 0, dag.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", dag.stdout + dag.stderr, re.MULTILINE))
    kinds = [plan.priors[prior].kind for prior in plan.trained_priors()]
    assert int(counts["prior"]) == kinds.count("scan") and int(counts["autodecoder"]) == kinds.count("autodecoder")
    assert int(counts["data"]) == len(plan.data_jobs()) and int(counts["reconstruct"]) == len(plan.fit_jobs())
    assert int(counts.get("choose", 0)) == len(plan.choose_jobs())


def test_the_study_of_h3ds_runs_on_a_made_up_set_in_its_layout(repository: Path, ellipsoid_scene: Scene) -> None:
    """config/h3ds.yaml with the names of this set, small and on the CPU: one scene, and another one as prior."""
    copies.foreign_folder(repository / "scans", ellipsoid_scene, ["anna", "bert"])
    asked = yaml.safe_load((ROOT / "config" / "h3ds.yaml").read_text(encoding="utf-8"))
    asked |= {"subjects": ["anna"], "views": [3], "preset": "SMOKE", "overrides": {"epochs": 20}}
    asked["data"] |= {"root": "scans", "config": "scans/mine.toml"}
    priors = {name: asked["priors"][name] for name in ("one-500", "two-500", "mean", "heads")}
    for name in ("one-500", "two-500"):
        priors[name] |= {"subject": "bert", "views": 3, "epochs": 20, "seed": 0}
    priors["mean"] |= {"of": ["one-500", "two-500"], "steps": 30}
    priors["heads"] |= {"heads": 3, "overrides": {}}
    asked |= {"priors": priors, "methods": asked["methods"] | {"baseh3d": asked["methods"]["baseh3d"][0]}}
    del asked["choose"]
    text = yaml.safe_dump(asked, sort_keys=False)
    (repository / "config" / "scanned.yaml").write_text(text)
    done = copies.heads(repository, "study", "config/scanned.yaml")
    rows = runs.read_table(repository / "results" / "scanned.csv")
    assert rows["status"].tolist() == ["ok"] * 4, rows["reason"].tolist()
    assert rows["method"].tolist() == ["idr", "baseh3d", "average", "h3dnet"] and done.returncode == 0, done.stderr
    assert np.isfinite(rows[[*runs.METRICS, "final_loss"]].to_numpy()).all()
    assert not [path for path in (repository / "figures" / "scanned").iterdir() if "anna" in path.name or "contact" in path.name]
