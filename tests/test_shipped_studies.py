"""The studies of config/: planned whole, and that of H3DS, which chooses its prior, run small on made-up photographs."""

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

from heads.scene import Scene
from heads.study import plan as study
from heads.study import records as runs

ROOT = Path(__file__).resolve().parents[1]


def test_the_study_of_h3ds_is_planned_without_its_data(repository: Path) -> None:
    plan = study.read(repository / "config" / "h3ds.yaml")
    shown = copies.heads(repository, "study", "config/h3ds.yaml", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert f"{len(plan.fit_jobs())} fits" in shown.stdout and not (repository / "runs" / "h3ds").exists()
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--config", "study=config/h3ds.yaml"]
    dag = subprocess.run(command, cwd=repository, env=copies.environment(repository), capture_output=True, text=True)
    assert dag.returncode == 0, dag.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", dag.stdout + dag.stderr, re.MULTILINE))
    kinds = [plan.priors[prior].kind for prior in plan.trained_priors()]
    assert int(counts["prior"]) == kinds.count("scan") and int(counts["autodecoder"]) == kinds.count("autodecoder")
    assert int(counts["data"]) == len(plan.data_jobs()) and int(counts["reconstruct"]) == len(plan.fit_jobs())
    assert int(counts.get("choose", 0)) == len(plan.choose_jobs())


def test_the_study_of_h3ds_runs_on_a_made_up_set_in_its_layout_and_a_choice_that_has_gone_comes_back(
    repository: Path, ellipsoid_scene: Scene
) -> None:
    """config/h3ds.yaml with the names of this set, small and on the CPU: one scene, and two others as priors."""
    copies.foreign_folder(repository / "scans", ellipsoid_scene, ["anna", "bert", "carl"])
    asked = yaml.safe_load((ROOT / "config" / "h3ds.yaml").read_text(encoding="utf-8"))
    asked |= {"subjects": ["anna"], "views": [3], "preset": "SMOKE", "overrides": {"epochs": 20}}
    asked["data"] |= {"root": "scans", "config": "scans/mine.toml"}
    priors = {name: asked["priors"][name] for name in ("one-500", "two-500", "mean", "heads")}
    for name, subject in (("one-500", "bert"), ("two-500", "carl")):
        priors[name] |= {"subject": subject, "views": 3, "epochs": 20, "seed": 0}
    priors["mean"] |= {"of": ["one-500", "two-500"], "steps": 30}
    priors["heads"] |= {"heads": 3, "overrides": {}}
    asked |= {"priors": priors, "methods": asked["methods"] | {"baseh3d": asked["methods"]["baseh3d"][0]}}
    asked["choose"] |= {"of": ["one-500", "two-500"], "share": 0.5}
    text = yaml.safe_dump(asked, sort_keys=False)
    (repository / "config" / "scanned.yaml").write_text(text)
    done = copies.heads(repository, "study", "config/scanned.yaml")
    rows = runs.read_table(repository / "results" / "scanned.csv")
    assert rows["status"].tolist() == ["ok"] * 4, rows["reason"].tolist()
    assert rows["method"].tolist() == ["idr", "baseh3d", "average", "h3dnet"] and done.returncode == 0, done.stderr
    assert np.isfinite(rows[[*runs.METRICS, "final_loss"]].to_numpy()).all()
    assert not [path for path in (repository / "figures" / "scanned").iterdir() if "anna" in path.name or "contact" in path.name]

    path = repository / "results" / "scanned_trials.csv"
    first = runs.read_trials(path)
    assert first[["subject", "prior", "views", "fitted", "judged"]].to_numpy().tolist() == [
        ["anna", "one-500", 3, "0 1", "2"],
        ["anna", "two-500", 3, "0 1", "2"],
    ]
    np.testing.assert_allclose(first["loss"], first["rgb"] + 100 * first["mask"], atol=1e-4)
    about = json.loads((repository / "results" / "scanned.json").read_text())
    assert about["choose"] == {"of": ["one-500", "two-500"], "share": 0.5, "views": 3, "held_out": True}
    record = runs.read_record(repository / "runs" / "scanned" / "choose" / "anna.v3.s0" / "record.json")
    assert (record.status, record.scores, record.config["epochs"]) == ("ok", {}, 20)
    assert record.losses == pytest.approx(first.set_index("prior")["loss"].to_dict(), abs=1e-6)

    shutil.rmtree(repository / "runs" / "scanned" / "choose")
    path.unlink()
    again = copies.heads(repository, "study", "config/scanned.yaml")
    assert again.returncode == 0, again.stderr
    pd.testing.assert_frame_equal(runs.read_trials(path), first)
