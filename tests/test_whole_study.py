"""A whole study through Snakemake, on a foreign folder: its table, what a second run does, what it refuses."""

import ast
import fcntl
import json
import shutil
import subprocess
from pathlib import Path

import copies
import numpy as np
import pandas as pd
import pytest
import trimesh
from PIL import Image

from heads.scene import Scene
from heads.study import records as runs

ROOT = Path(__file__).resolve().parents[1]


STUDY = """
data: {kind: h3ds, root: photos, config: photos/mine.toml, pictures: true}
subjects: [anna, bert]
views: [3]
preset: SMOKE
overrides: {epochs: 20}
priors:
  single: {kind: scan, subject: eve, views: 8, epochs: 20, data: {kind: synthetic, seed: 3, size: 48, photographs: 8}}
methods:
  idr: {prior: sphere}
  baseh3d: {prior: single, subjects: [anna]}
"""
RUNS = ["anna.idr.sphere.v3.s0", "anna.baseh3d.single.v3.s0", "bert.idr.sphere.v3.s0"]


def executed(repository: Path) -> dict[str, int]:
    """When each notebook of the study was last executed."""
    return {path.stem: path.stat().st_mtime_ns for path in (repository / "runs" / "mine" / "notebooks").glob("*.ipynb")}


def again(repository: Path, text: str = STUDY) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run the study once more; the notebooks that were executed anew."""
    (repository / "config" / "mine.yaml").write_text(text)
    before = executed(repository)
    done = copies.heads(repository, "study", "config/mine.yaml")
    return done, {name for name, when in executed(repository).items() if before.get(name) != when}


@pytest.fixture(scope="module")
def studied(repository: Path, ellipsoid_scene: Scene) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The study run once, with the second photograph of bert missing."""
    copies.foreign_folder(repository / "photos", ellipsoid_scene, ["anna", "bert"])
    (repository / "photos" / "bert" / "image" / "img_0001.jpg").rename(repository / "hidden.jpg")
    done, _ = again(repository)
    return repository, done


def table(repository: Path) -> pd.DataFrame:
    return runs.read_table(repository / "results" / "mine.csv")


def test_a_study_on_a_foreign_folder_with_a_built_in_prior_gives_heads_and_scores_and_a_row_for_what_failed(
    studied: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    repository, done = studied
    rows = table(repository)
    assert (rows["subject"] + "." + rows["method"]).tolist() == ["anna.idr", "anna.baseh3d", "bert.idr"], done.stderr
    assert rows["status"].tolist() == ["ok", "ok", "failed"], rows["reason"].tolist()
    assert np.isfinite(rows.loc[rows["status"] == "ok", list(runs.METRICS)].to_numpy()).all()
    assert done.returncode == 3
    said = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert [line.split(":")[1].strip() for line in said] == RUNS[2:]
    assert all("bert" in reason and "image" in reason for reason in rows["reason"][2:])
    stages = ("01_data", "02_prior", "03_reconstruct", "04_evaluate", "05_results")
    assert all(stage in done.stdout for stage in stages), done.stdout
    head = trimesh.load(repository / "runs" / "mine" / "fit" / RUNS[0] / "mesh.ply")
    assert head.extents.min() > 80 and head.extents.max() < 300  # mm; the ellipsoid has 150, 180 and 210


def test_the_token_of_h3ds_is_in_no_file_of_a_study_and_in_nothing_that_it_says(
    studied: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    repository, done = studied
    assert copies.environment(repository)["H3DS_TOKEN"] == copies.TOKEN
    files = [path for path in repository.rglob("*") if path.is_file() and repository / "lib" not in path.parents]
    assert len(files) > 100
    assert [path for path in files if copies.TOKEN.encode() in path.read_bytes()] == []
    assert copies.TOKEN not in done.stdout + done.stderr


def test_a_second_run_does_only_what_is_missing_and_a_changed_parameter_only_what_depends_on_it(
    studied: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    repository, _ = studied
    first = table(repository)
    (repository / "hidden.jpg").rename(repository / "photos" / "bert" / "image" / "img_0001.jpg")
    shutil.rmtree(repository / "runs" / "mine" / "fit" / RUNS[0])  # what has gone comes back, though the table is there
    done, ran = again(repository)  # and what failed is tried again
    assert done.returncode == 0, done.stderr
    mine = [RUNS[0], *RUNS[2:]]
    fits = {f"{stage}.{run}" for stage in ("03_reconstruct", "04_evaluate") for run in mine}
    assert ran == {"01_data.h3ds.bert", *fits, "05_results"}
    assert table(repository)["status"].tolist() == ["ok"] * 3
    pd.testing.assert_frame_equal(table(repository)[list(runs.METRICS)][:2], first[list(runs.METRICS)][:2])
    pd.testing.assert_frame_equal(table(repository)[1:2], first[1:2])

    done, ran = again(repository)
    assert (done.returncode, ran) == (0, set()), done.stderr

    (repository / ".snakemake").rename(repository / "kept")  # a parameter that has changed is seen by the records alone
    changed = STUDY.replace("subjects: [anna]}", "subjects: [anna], overrides: {rays: 96}}")
    done, ran = again(repository, changed)
    assert ran == {f"03_reconstruct.{RUNS[1]}", f"04_evaluate.{RUNS[1]}", "05_results"}, done.stderr

    shutil.rmtree(repository / ".snakemake")  # as if Snakemake had been killed before it heard that these had ended
    (repository / "kept").rename(repository / ".snakemake")
    done, ran = again(repository, changed)
    assert (done.returncode, ran) == (0, set()), done.stderr

    photograph = repository / "photos" / "bert" / "image" / "img_0001.jpg"
    Image.open(photograph).save(photograph, quality=80)  # what has changed is read again
    done, ran = again(repository, changed)
    assert ran == {"01_data.h3ds.bert", f"03_reconstruct.{RUNS[2]}", f"04_evaluate.{RUNS[2]}", "05_results"}, done.stderr


def test_a_study_leaves_the_figures_that_the_posts_are_made_of(studied: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    repository, _ = studied
    made = {path.name for path in (repository / "figures" / "mine").iterdir()}
    assert {"contact_sheet.png", "losses.png", "photographs_anna.png", "comparison_anna.png"} <= made
    assert {f"head_anna_{name}.json" for name in ("truth", "idr", "baseh3d")} <= made
    about = json.loads((repository / "results" / "mine.json").read_text())
    assert about["fit"]["epochs"] == 20
    stages = pd.read_csv(repository / "results" / "mine_stages.csv")
    assert {"stage", "runs", "seconds"} <= set(stages.columns)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("  idr:", "  idrr:", "methods: 'idrr' is not known; did you mean 'idr'?"),
        ("{epochs: 20}", "{epochs: many}", "epochs: expected a whole number, not 'many'"),
    ],
)
def test_a_wrong_study_ends_at_once_with_one_line(repository: Path, old: str, new: str, sentence: str) -> None:
    (repository / "config" / "wrong.yaml").write_text(STUDY.replace(old, new, 1))
    done = copies.heads(repository, "study", "config/wrong.yaml")
    assert done.returncode == 1 and sentence in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (repository / "runs" / "wrong").exists()


def test_a_results_folder_that_cannot_be_written_is_said_before_any_work(tmp_path: Path, repository: Path) -> None:
    copy = tmp_path / "repository"
    shutil.copytree(repository, copy, ignore=shutil.ignore_patterns("runs", "results", "figures", ".snakemake"))
    (copy / "results").write_text("a file where a folder should be")
    (copy / "config" / "mine.yaml").write_text(STUDY)
    done = copies.heads(copy, "study", "config/mine.yaml")
    assert done.returncode == 1 and done.stderr.startswith("results/: cannot be written to (")
    assert (copy / "results").read_text() == "a file where a folder should be"
    assert list((copy / "runs").iterdir()) == []


def test_two_studies_do_not_run_in_one_repository(repository: Path) -> None:
    (repository / "config" / "mine.yaml").write_text(STUDY)
    (repository / "runs").mkdir(exist_ok=True)
    with open(repository / "runs" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = copies.heads(repository, "study", "config/mine.yaml")
    assert done.returncode == 1 and "another study is running here" in done.stderr


def test_every_module_that_a_rule_names_is_there() -> None:
    named: set[object] = {
        argument.value
        for node in ast.walk(ast.parse(_python_of_snakefile()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "lib"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }
    there = {path.relative_to(ROOT / "lib" / "heads").as_posix() for path in (ROOT / "lib" / "heads").rglob("*.py")}
    assert named and {f"{name}.py" for name in named} <= there


def _python_of_snakefile() -> str:
    """Each call of `lib(...)` in the Snakefile, a line each."""
    text = (ROOT / "Snakefile").read_text(encoding="utf-8")
    return "\n".join(f"lib({part.split(')')[0]})" for part in text.split("lib(")[1:] if part.startswith('"'))
