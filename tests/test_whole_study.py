"""A whole study through Snakemake, on a foreign folder: its table, what a second run does, what it refuses."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import copies
import numpy as np
import pandas as pd
import pytest
import trimesh
from PIL import Image

from heads import __main__ as command_line
from heads.posts import results
from heads.scene import Scene
from heads.study import plan, status

STUDY = """
data:
  scans: {notebook: 01_data, kind: h3ds, root: photos, scenes: photos/mine.toml}
  people: {notebook: 01_data, seed: 3, size: 32, photographs: 8}
subjects: [anna, bert]
views: [3]
every: {preset: SMOKE, fit: {epochs: 15}}
priors:
  single: {notebook: 02_prior, data: people, subject: eve, views: 3, epochs: 15}
methods:
  idr: {notebook: 03_reconstruct, label: IDR}
  baseh3d: {notebook: 03_reconstruct, label: BaseH3D-Net, prior: single, subjects: [anna]}
table: {pictures: true}
"""
CHANGED = STUDY.replace("[anna, bert]", "[anna]").replace("subjects: [anna]}", "fit: {rays: 96}}")
RUNS = ["anna.idr.v3.s0", "anna.baseh3d.single.v3.s0", "bert.idr.v3.s0"]
SCORES = ["face_toolbox_mm", "head_toolbox_mm", "face_rigid_mm", "head_rigid_mm"]
Studied = tuple[Path, subprocess.CompletedProcess[str], set[str]]


@pytest.fixture(scope="module")
def studied(repository: Path, ellipsoid_scene: Scene) -> Studied:
    """The study run once, with the second photograph of bert missing; what it said, and the jobs that were run."""
    copies.foreign_folder(repository / "photos", ellipsoid_scene, ["anna", "bert"])
    (repository / "photos" / "bert" / "image" / "img_0001.jpg").rename(repository / "hidden.jpg")
    return repository, *copies.again(repository, STUDY)


def table(repository: Path) -> pd.DataFrame:
    return results.read_table(repository / "results" / "mine.csv")


def of(*names: str) -> set[str]:
    """The fits and scores of these runs."""
    return {f"{stage}/{name}" for stage in ("fit", "score") for name in names}


def test_a_study_on_a_foreign_folder_with_a_built_in_prior_gives_heads_and_scores_and_a_row_for_what_failed(
    studied: Studied,
) -> None:
    repository, done, ran = studied
    rows = table(repository)
    assert (rows["subject"] + "." + rows["method"]).tolist() == ["anna.idr", "anna.baseh3d", "bert.idr"], done.stderr
    assert rows["status"].tolist() == ["ok", "ok", "failed"], rows["reason"].tolist()
    assert np.isfinite(rows.loc[rows["status"] == "ok", SCORES].to_numpy()).all()
    assert done.returncode == 3
    assert ran == {"data/people.eve", "data/scans.anna", "data/scans.bert", "prior/single", "table"} | of(*RUNS)
    said = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert [line.split(":")[1].strip() for line in said] == RUNS[2:]
    assert all("bert" in reason and "image" in reason for reason in rows["reason"][2:])
    stages = ("01_data", "02_prior", "03_reconstruct", "04_evaluate", "05_results")
    assert all(stage in done.stdout for stage in stages), done.stdout
    head = trimesh.load(repository / "runs" / "mine" / "fit" / RUNS[0] / "mesh.ply")
    assert head.extents.min() > 80 and head.extents.max() < 300  # mm; the ellipsoid has 150, 180 and 210


def test_a_study_leaves_the_figures_that_the_posts_are_made_of(studied: Studied) -> None:
    repository, *_ = studied
    made = {path.name for path in (repository / "figures" / "mine").iterdir()}
    assert {"contact_sheet.png", "losses.png", "photographs_anna.png", "comparison_anna.png"} <= made
    assert {f"head_anna_{name}.json" for name in ("truth", "idr", "baseh3d")} <= made
    about = json.loads((repository / "results" / "mine.json").read_text())
    assert about["fit"]["epochs"] == about["priors"]["single"]["config"]["epochs"] == 15
    assert [entry["label"] for entry in about["methods"].values()] == ["IDR", "BaseH3D-Net"]
    stages = pd.read_csv(repository / "results" / "mine_stages.csv")
    assert {"stage", "runs", "seconds"} <= set(stages.columns)


def test_the_token_of_h3ds_is_in_no_file_of_a_study_and_in_nothing_that_it_says(studied: Studied) -> None:
    repository, done, _ = studied
    assert copies.environment(repository)["H3DS_TOKEN"] == copies.TOKEN
    files = [path for path in repository.rglob("*") if path.is_file() and repository / "lib" not in path.parents]
    assert len(files) > 100
    assert [path for path in files if copies.TOKEN.encode() in path.read_bytes()] == []
    assert copies.TOKEN not in done.stdout + done.stderr


def to_run() -> set[str]:
    return set(status.outdated(plan.read("config/mine.yaml")))


def test_what_had_failed_would_be_run_again_whether_the_photograph_is_there_or_not(
    studied: Studied, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, *_ = studied
    monkeypatch.chdir(repository)
    assert to_run() == {"data/scans.bert", *of(RUNS[2]), "table"}
    Path("hidden.jpg").rename(Path("photos", "bert", "image", "img_0001.jpg"))
    assert to_run() == {"data/scans.bert", *of(RUNS[2]), "table"}


def test_a_second_run_does_what_is_gone_and_what_has_changed_and_nothing_else(studied: Studied) -> None:
    repository, *_ = studied
    first = table(repository)
    shutil.rmtree(repository / "runs" / "mine" / "score" / RUNS[0])
    done, ran = copies.again(repository, CHANGED)
    assert done.returncode == 0, done.stderr
    assert ran == {*of(RUNS[1]), f"score/{RUNS[0]}", "table"}
    assert table(repository)["status"].tolist() == ["ok"] * 2
    pd.testing.assert_frame_equal(table(repository)[:1], first[:1])
    assert (table(repository)[SCORES].loc[1] != first[SCORES].loc[1]).any()


def test_a_run_after_which_nothing_has_changed_does_nothing(studied: Studied) -> None:
    repository, *_ = studied
    done, ran = copies.again(repository, CHANGED)
    assert (done.returncode, ran) == (0, set()), done.stderr


def test_a_photograph_that_has_changed_would_be_read_again_though_it_is_older_and_another_list_of_views_too(
    studied: Studied, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, *_ = studied
    monkeypatch.chdir(repository)
    assert to_run() == set()
    photograph, toml = Path("photos/anna/image/img_0001.jpg"), Path("photos/mine.toml")
    content, text = photograph.read_bytes(), toml.read_text()
    Image.open(photograph).save(photograph, quality=80)
    os.utime(photograph, (1, 1))
    assert to_run() == {"data/scans.anna", *of(*RUNS[:2]), "table"}
    photograph.write_bytes(content)
    assert to_run() == set()  # whatever its date

    anna, mark, bert = text.partition("[scenes.bert]")
    toml.write_text(f"{anna}{mark}{bert.replace('[0, 1, 2]', '[0, 3, 2]')}")
    assert to_run() == set()  # it is of somebody else
    toml.write_text(f"{anna.replace('[0, 1, 2]', '[0, 3, 2]')}{mark}{bert}")
    assert to_run() == {"data/scans.anna", *of(*RUNS[:2]), "table"}
    toml.write_text(text)
    for name in ("full_head.obj", "regions/face.txt"):  # of the scan: the judge's alone
        with Path("photos", "anna", name).open("a") as file:
            file.write("\n")
        assert to_run() == {*(f"score/{run}" for run in RUNS[:2]), "table"}


# ---- what is refused


def study(repository: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> int:
    """`python -m heads study PATH`, without a process of its own, for studies that end before any job."""
    monkeypatch.chdir(repository)
    monkeypatch.setattr(sys, "argv", ["heads", "study", path])
    return command_line.main()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "  idr: {notebook: 03_reconstruct",
            "  idr: {notebook: 03_reconstruc",
            "notebook: '03_reconstruc' is not known; did you mean",
        ),
        ("{epochs: 15}", "{epochs: many}", "epochs: expected a whole number, not 'many'"),
        ("{epochs: 15}", "{rays: 0}", "prior/single: rays must be positive, not 0"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of a process that runs tests, and has threads
def test_a_wrong_study_ends_at_once_with_one_line(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], old: str, new: str, sentence: str
) -> None:
    (repository / "config" / "wrong.yaml").write_text(STUDY.replace(old, new, 1))
    assert study(repository, monkeypatch, "config/wrong.yaml") == 1
    said = capsys.readouterr().err
    assert sentence in said and len(said.strip().splitlines()) == 1
    assert not (repository / "runs" / "wrong").exists()


def test_a_results_folder_that_cannot_be_written_is_said_before_any_work(
    empty_repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_repository / "results").write_text("a file where a folder should be")
    (empty_repository / "mine.yaml").write_text(STUDY)
    assert study(empty_repository, monkeypatch, "mine.yaml") == 1
    assert capsys.readouterr().err.startswith("results/: cannot be written to (")
    assert (empty_repository / "results").read_text() == "a file where a folder should be"
    assert list((empty_repository / "runs").iterdir()) == []


def test_two_studies_do_not_run_in_one_repository(
    empty_repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_repository / "mine.yaml").write_text(STUDY)
    (empty_repository / "runs").mkdir()
    with open(empty_repository / "runs" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert study(empty_repository, monkeypatch, "mine.yaml") == 1
    assert "another study is running here" in capsys.readouterr().err
