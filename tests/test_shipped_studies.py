"""The studies of config/: planned whole, and that of H3DS, which chooses its prior, run small on made-up photographs."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import copies
import numpy as np
import pytest
import yaml

from heads.data import synthetic
from heads.posts import results
from heads.scene import Scene
from heads.study import plan, records, runner, status

ROOT = Path(__file__).resolve().parents[1]
SCORES = ["face_toolbox_mm", "head_toolbox_mm", "face_rigid_mm", "head_rigid_mm"]


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_a_study_is_planned_without_its_data_and_its_settings_are_sound(
    path: Path, empty_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(path, empty_repository)
    study = plan.read(path.name)
    runner.check(job for job in study.jobs.values() if job.parameters.get("fit", {}).get("device") != "cuda")
    assert runner.show_study(Path(path.name)) == 0
    said = capsys.readouterr().out
    assert f"{len(study.stage('fit'))} fits:" in said and f"to run: {len(study.jobs)} of {len(study.jobs)} jobs" in said
    assert not Path("runs").exists()


def test_snakemake_plans_the_jobs_of_the_study_of_h3ds(repository: Path) -> None:
    study = plan.read(repository / "config" / "h3ds.yaml")
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--config", "study=config/h3ds.yaml"]
    dag = subprocess.run(command, cwd=repository, env=copies.environment(repository), capture_output=True, text=True)
    assert dag.returncode == 0, dag.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", dag.stdout + dag.stderr, re.MULTILINE))
    stages = {"01_data": "data", "02_prior": "prior", "03_reconstruct": "reconstruct", "04_evaluate": "evaluate"}
    stages |= {"05_results": "results", "06_autodecoder": "autodecoder", "07_average": "average", "08_choose": "choose"}
    notebooks = [job.notebook for job in study.jobs.values()]
    assert {rule: int(counts[rule]) for rule in stages.values()} == {
        rule: notebooks.count(notebook) for notebook, rule in stages.items()
    }
    assert int(counts["total"]) == len(study.jobs) + 1 and not (repository / "runs" / "h3ds").exists()


def test_the_study_of_h3ds_runs_on_a_made_up_set_in_its_layout_and_a_choice_that_is_gone_comes_back(
    repository: Path, ellipsoid_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """config/h3ds.yaml with the names of this set, small and on the CPU: one scene, and two others as priors."""
    copies.foreign_folder(repository / "scans", ellipsoid_scene, ["anna", "bert", "carl"])
    asked = yaml.safe_load((ROOT / "config" / "h3ds.yaml").read_text(encoding="utf-8"))
    asked |= {"subjects": ["anna"], "views": [3], "every": {"preset": "SMOKE", "fit": {"epochs": 20}}}
    asked["data"] |= {"root": "scans", "scenes": "scans/mine.toml"}
    priors = {name: asked["priors"][name] for name in ("one-500", "two-500", "mean", "heads")}
    for name, subject in (("one-500", "bert"), ("two-500", "carl")):
        priors[name] |= {"subject": subject, "views": 3, "epochs": 20}
    priors["mean"] |= {"priors": ["one-500", "two-500"], "steps": 10}
    priors["heads"] |= {"heads": 2, "training": {"steps": 20}}
    methods = asked["methods"] | {"baseh3d": asked["methods"]["baseh3d"][0]}
    del methods["idr"]  # which is run by test_whole_study
    for method in methods.values():
        method["against"] = [name for name in method["against"] if name != "idr"]
    asked |= {"priors": priors, "methods": methods}
    asked["choose"] |= {"priors": ["one-500", "two-500"], "share": 0.5}
    people = repository / "runs" / "scanned" / "prior" / "mean" / "people"  # of the lesson, which draws those that it lacks
    synthetic.write_subject(people, "cas", seed=0, size=48, n_photographs=8)
    listed = (people / "config.toml").read_text()
    for name in ("dan", "eli"):
        shutil.copytree(people / "cas", people / name)
        with (people / "config.toml").open("a") as file:
            file.write(listed.partition("\n")[2].replace('"cas"', f'"{name}"'))
    text = yaml.safe_dump(asked, sort_keys=False)
    done, ran = copies.again(repository, text, "scanned")
    rows = results.read_table(repository / "results" / "scanned.csv")
    assert rows["status"].tolist() == ["ok"] * 3, rows["reason"].tolist()
    assert rows["method"].tolist() == ["baseh3d", "average", "h3dnet"] and done.returncode == 0, done.stderr
    assert ran == set(plan.read(repository / "config" / "scanned.yaml").jobs)
    assert np.isfinite(rows[[*SCORES, "final_loss"]].to_numpy()).all()
    assert not [path for path in (repository / "figures" / "scanned").iterdir() if "anna" in path.name or "contact" in path.name]

    path = repository / "results" / "scanned_trials.csv"
    first = results.read_trials(path)
    assert first[["subject", "prior", "views", "fitted", "judged"]].to_numpy().tolist() == [
        ["anna", "one-500", 3, "0 1", "2"],
        ["anna", "two-500", 3, "0 1", "2"],
    ]
    np.testing.assert_allclose(first["loss"], first["rgb"] + 100 * first["mask"], atol=1e-4)
    about = json.loads((repository / "results" / "scanned.json").read_text())
    chosen = {"priors": ["one-500", "two-500"], "share": 0.5, "views": 3, "held_out": True}
    assert {name: about["choose"][name] for name in chosen} == chosen
    record = records.read(repository / "runs" / "scanned" / "choose" / "anna.v3.s0" / "record.json")
    assert (record.status, record.scores, record.config["epochs"]) == ("ok", {}, 20)
    assert record.losses == pytest.approx(first.set_index("prior")["loss"].to_dict(), abs=1e-6)

    shutil.rmtree(repository / "runs" / "scanned" / "choose")
    monkeypatch.chdir(repository)
    study = plan.read("config/scanned.yaml")
    assert set(status.outdated(study)) == {"choose/anna.v3.s0", "table"}
    (job,) = study.stage("choose")  # alone, as the study would run it
    given = ["--parameters", json.dumps(job.parameters), "--record", str(job.record)]
    done = copies.heads(repository, "run", f"notebooks/{job.notebook}.py", str(job.log), *given)
    assert done.returncode == 0, done.stderr
    again = records.read(job.record)
    assert (again.status, again.losses, again.inputs) == ("ok", record.losses, record.inputs)
    assert set(status.outdated(study)) == {"table"}  # which has used the record
