"""A study on a Slurm of one node: somebody's photographs are missing, the driver is killed, the GPU slot is counted."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import copies
import pytest
import yaml

from heads.posts import results
from heads.scene import Scene
from heads.study import lock, records, status

SCRIPT = copies.ROOT / "tests" / "slurm.sh"
PROGRAMS, PATH = ("slurmctld", "slurmd", "munged", "sbatch"), f"{os.environ['PATH']}:/usr/sbin"
MISSING = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
OTHER = Path("/etc/slurm/slurm.conf")
MISSING += ["HEADS_FAULTS in the environment (`make faults`)"] * ("HEADS_FAULTS" not in os.environ)
MISSING += ["root"] * (os.getuid() != 0) + ["machine without a Slurm of its own"] * (OTHER.is_file() and not OTHER.is_symlink())
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"Slurm cannot be started here: there is no {', no '.join(MISSING)}")
STUDY = """
data: {notebook: 01_data, kind: h3ds, root: photos, scenes: photos/mine.toml}
subjects: [anna, bert, cleo, dora]
views: [3]
every: {preset: SMOKE, fit: {epochs: 200}}
methods:
  idr: {notebook: 03_reconstruct}
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("slurm")
    environment = os.environ | {"PATH": PATH}
    try:
        subprocess.run([SCRIPT, "start", folder], env=environment, check=True, timeout=60)
        yield folder
    finally:
        subprocess.run([SCRIPT, "stop", folder], env=environment, check=True, timeout=60)
        if "HEADS_ARTEFACTS" in os.environ:
            shutil.copytree(folder / "log", Path(os.environ["HEADS_ARTEFACTS"], "slurm"), dirs_exist_ok=True)


def prepared(folder: Path, scene: Scene) -> Path:
    """A repository with a study whose second subject lacks a photograph; the profile for Slurm asks for its jobs more often."""
    repository = copies.repository(folder)
    copies.foreign_folder(repository / "photos", scene, ["anna", "bert", "cleo", "dora"])
    (repository / "photos" / "bert" / "image" / "img_0001.jpg").unlink()
    (repository / "config" / "mine.yaml").write_text(STUDY)
    path = repository / "profiles" / "slurm" / "config.yaml"
    profile = yaml.safe_load(path.read_text())
    profile |= {"slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 2, "latency-wait": 5, "jobs": 4}
    profile["default-resources"] |= {"runtime": 10, "mem_mb": 500}
    path.write_text(yaml.safe_dump(profile))
    return repository


def queued() -> list[str]:
    return subprocess.run(["squeue", "-h", "-o", "%i %T"], capture_output=True, text=True, check=True).stdout.split("\n")[:-1]


def test_a_study_on_slurm_survives_a_killed_driver_and_a_failing_subject(
    slurm: Path,
    tmp_path: Path,
    ellipsoid_scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    repository = prepared(tmp_path / "repository", ellipsoid_scene)
    command = [sys.executable, "-m", "heads", "study", "config/mine.yaml", "--profile", "profiles/slurm"]
    with (slurm / "log" / "first_driver.log").open("w") as log:
        driver = subprocess.Popen(command, cwd=repository, env=copies.environment(repository), stdout=log, stderr=log)
        while driver.poll() is None and not list((repository / "runs").glob("mine/fit/[acd]*/record.json")):
            time.sleep(0.02)  # so soon that Snakemake, which asks for its jobs every few seconds, does not know it yet
        assert driver.poll() is None, (slurm / "log" / "first_driver.log").read_text()
        driver.kill()
        driver.wait()
    before = {path: path.read_text() for path in (repository / "runs").rglob("record.json")}
    ended = {path: text for path, text in before.items() if json.loads(text)["status"] == "ok"}
    assert any("fit" in path.parts for path in ended)

    done = copies.heads(repository, "study", "config/mine.yaml", "--profile", "profiles/slurm")
    (slurm / "log" / "second_driver.log").write_text(done.stdout + done.stderr)
    assert done.returncode == 3, done.stderr
    failed = [line for line in done.stderr.splitlines() if line.startswith(("failed: ", "not finished: "))]
    assert len(failed) == 1 and failed[0].startswith("failed: bert.idr.v3.s0: photos/bert/image: scene bert has 4 pictures")
    table = results.read_table(repository / "results" / "mine.csv").set_index("subject")
    assert table["status"].to_dict() == {"anna": "ok", "bert": "failed", "cleo": "ok", "dora": "ok"}
    assert [path for path, text in ended.items() if path.read_text() != text] == []  # they say how many seconds it took

    spans = []  # of the fits, two of them by the second driver: one GPU slot, so one at a time
    for name in ("anna", "cleo", "dora"):
        fit = f"{name}.idr.v3.s0"
        noted = status.executed(repository / f"runs/mine/notebooks/fit/{fit}.ipynb")
        record = records.read(repository / f"runs/mine/fit/{fit}/record.json")
        began = datetime.fromisoformat(noted["start_time"])
        spans.append((began, began + timedelta(seconds=record.seconds or 0.0)))
    spans.sort()
    assert all(one[0] < one[1] <= other[0] for one, other in pairwise(spans))

    for _ in range(100):  # the jobs of the first driver have ended by themselves
        if not queued():
            break
        time.sleep(0.2)
    assert queued() == []
    monkeypatch.chdir(repository)
    assert lock.holder() is None
    kept = [path for path in slurm.rglob("*") if path.is_file() and copies.TOKEN.encode() in path.read_bytes()]
    assert kept == []  # no job is given H3DS_TOKEN, which Slurm would write down
    log_of_slurm = (slurm / "log" / "slurmctld.log").read_text()
    jobs = log_of_slurm.count("_slurm_rpc_submit_batch_job")
    record_property("said", f"{jobs} jobs of Slurm, one driver killed, one subject failed:\n  {failed[0]}")
