"""A study that is killed again and again, anywhere and at any moment, ends with the table of one that nobody disturbed."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import copies
import pandas as pd
import psutil
import pytest

from heads.posts import results
from heads.scene import Scene

KILLS = int(os.environ.get("HEADS_KILLS", "0"))
STUDY = """
data: {notebook: 01_data, kind: h3ds, root: photos, scenes: photos/mine.toml}
subjects: [anna, bert]
views: [3]
every: {preset: SMOKE, fit: {epochs: 2000}}
priors:
  single: {notebook: 02_prior, subject: eve, views: 3, epochs: 2000}
methods:
  idr: {notebook: 03_reconstruct}
  baseh3d: {notebook: 03_reconstruct, prior: single}
table: {pictures: true}
"""


def prepared(folder: Path, scene: Scene) -> Path:
    """A repository with the study."""
    repository = copies.repository(folder)
    copies.foreign_folder(repository / "photos", scene, ["anna", "bert", "eve"])
    (repository / "config" / "mine.yaml").write_text(STUDY)
    return repository


def outcome(repository: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table without what a machine does to it, and the fingerprints of all meshes."""
    table = results.read_table(repository / "results" / "mine.csv").drop(columns=["seconds", "peak_mb"])
    meshes = sorted((repository / "runs" / "mine").rglob("mesh.ply"))
    return table, {str(path.relative_to(repository)): hashlib.sha256(path.read_bytes()).hexdigest() for path in meshes}


def started(repository: Path, study: str = "mine") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "heads", "study", f"config/{study}.yaml"]
    with (repository / "log.txt").open("ab") as log:
        return subprocess.Popen(command, cwd=repository, env=copies.environment(repository), stdout=log, stderr=log)


def role(process: psutil.Process) -> str:
    """What a process of a study does; empty for one that has ended."""
    try:
        words = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
    return next((name for name in ("warm", "ipykernel", "snakemake", "heads study", "heads run") if name in words), "other")


def killed(driver: subprocess.Popen[bytes], chance: random.Random) -> str:
    """Kill something of a running study, or all of it, as when the machine goes; what it was, empty where it had ended."""
    try:
        tree = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
        by_role: dict[str, list[psutil.Process]] = {}
        for process in tree:
            by_role.setdefault(role(process), []).append(process)
        by_role.pop("", None)
        what = chance.choice([*sorted(by_role), "everything"])
        for process in tree if what == "everything" else [chance.choice(by_role[what])]:
            process.kill()
    except psutil.NoSuchProcess:
        return ""
    return what


@pytest.mark.skipif(KILLS == 0, reason="it takes minutes: `make faults`")
def test_a_study_that_is_killed_at_random_moments_ends_like_an_undisturbed_one(
    tmp_path: Path, ellipsoid_scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    calm = prepared(tmp_path / "calm", ellipsoid_scene)
    began = time.monotonic()
    done = copies.heads(calm, "study", "config/mine.yaml")
    assert done.returncode == 0, done.stderr
    length = time.monotonic() - began

    stormy, chance = prepared(tmp_path / "stormy", ellipsoid_scene), random.Random(time.time_ns())
    driver, victims = started(stormy), []
    while len(victims) < KILLS:
        time.sleep(chance.uniform(0.0, min(15.0, length / 2)))
        if driver.poll() is None and (what := killed(driver, chance)):
            victims.append(what)
        for record in (stormy / "runs").rglob("*.json"):
            json.loads(record.read_text())
        if driver.poll() is not None or victims[-1:] in (["heads study"], ["everything"]):
            driver.wait()
            if driver.returncode == 0:  # it was quicker; all over again
                subprocess.run(["rm", "-rf", "runs/mine", "results", "figures"], cwd=stormy, check=True)
            driver = started(stormy)
    driver.wait()
    ended = copies.heads(stormy, "study", "config/mine.yaml")
    assert ended.returncode == 0, ended.stderr + (stormy / "log.txt").read_text()

    (expected, meshes), (table, found) = outcome(calm), outcome(stormy)
    pd.testing.assert_frame_equal(table, expected)
    assert found == meshes and len(meshes) == 5
    assert [path for path in stormy.rglob("*") if path.suffix in (".part", ".old")] == []
    counted = ", ".join(f"{name} {victims.count(name)}" for name in sorted(set(victims)))
    said = f"{len(victims)} kills ({counted}), {length:.0f} s undisturbed: the same table, the same {len(meshes)} meshes"
    record_property("said", said)


def test_what_had_ended_well_when_its_process_was_killed_is_not_done_again(repository: Path) -> None:
    copies.light(repository)
    text = copies.LIGHT_STUDY.replace("[ada, ben]", "[ada]").replace(
        "  wide: {notebook: 63_fit, width: 9, subjects: [ada]}\n", ""
    )
    (repository / "config" / "light.yaml").write_text(text)
    with (repository / "notebooks" / "63_fit.py").open("a") as file:
        file.write("\n# %%\nimport time\ntime.sleep(1.5)\n")  # so that it can be killed after its last words
    driver, fit = started(repository, "light"), repository / "runs/light/fit/ada.mean.s0/record.json"
    while driver.poll() is None and not fit.exists():
        time.sleep(0.005)
    tree = psutil.Process(driver.pid).children(recursive=True)
    jobs = [process for process in tree if role(process) == "heads run"]
    for process in jobs:  # before it could say that it ended
        process.kill()
    assert jobs and driver.wait() == 1, (repository / "log.txt").read_text()
    record = fit.read_text()  # which says how many seconds it took
    done, ran = copies.again(repository, text, "light")
    assert (done.returncode, ran) == (0, {"score/ada.mean.s0", "table"}), done.stderr
    assert fit.read_text() == record
