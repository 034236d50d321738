"""The notebooks: generated faithfully, short, and run as they are shipped: by hand, by the runner, and as a whole study."""

import ast
import json
import re
import shutil
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import copies
import nbformat
import numpy as np
import pandas as pd
import pytest
import trimesh
import yaml

from heads import notebooks, runs, study
from heads.scene import Scene

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
JOBS = {job.notebook: job for job in study.JOBS}
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


# ---- as files


def test_every_notebook_is_the_work_of_one_job() -> None:
    assert [source.stem for source in SOURCES] == list(JOBS)


@each_source
def test_the_ipynb_is_what_its_source_gives_now(source: Path) -> None:
    text = nbformat.writes(notebooks.convert(source)) + "\n"
    assert source.with_suffix(".ipynb").read_text(encoding="utf-8") == text, "run `make notebooks`"
    nbformat.validate(nbformat.reads(text, as_version=4))


@each_source
def test_a_notebook_is_generated_twice_to_the_same_bytes_and_carries_no_output(source: Path) -> None:
    first, second = (notebooks.convert(source) for _ in range(2))
    assert nbformat.writes(first) == nbformat.writes(second)
    assert [cell.id for cell in first.cells] == [str(number) for number in range(len(first.cells))]
    assert all(not cell.outputs and cell.execution_count is None for cell in first.cells if cell.cell_type == "code")
    assert first.metadata.kernelspec.name == "python3" and "language_info" in first.metadata
    assert f"notebooks/{source.stem}.ipynb" in first.cells[0].source


def test_writing_all_touches_only_what_has_changed(tmp_path: Path) -> None:
    (tmp_path / "01_a.py").write_text("# %%\n1\n")
    (tmp_path / "02_b.py").write_text("# %%\n2\n")
    assert [path.name for path in notebooks.write_all(tmp_path)] == ["01_a.ipynb", "02_b.ipynb"]
    (tmp_path / "02_b.py").write_text("# %%\n3\n")
    assert [path.name for path in notebooks.write_all(tmp_path)] == ["02_b.ipynb"]


@each_source
def test_a_notebook_imports_and_never_defines(source: Path) -> None:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)]
    assert sum(cell.cell_type == "code" for cell in notebooks.convert(source).cells) <= 15


@each_source
def test_the_parameters_of_a_notebook_are_the_fields_of_its_job_with_their_defaults(source: Path) -> None:
    tagged = [cell for cell in notebooks.convert(source).cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    defaults = {
        node.target.id: ast.literal_eval(node.value)
        for node in ast.parse(tagged[0].source).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
    }
    assert defaults == {
        f.name: f.default_factory() if f.default_factory is not MISSING else f.default for f in fields(JOBS[source.stem])
    }


# ---- as they are run


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copies.repository(tmp_path_factory.mktemp("repository"))


@pytest.mark.parametrize(
    ("parameter", "sentence"),
    [
        (("nope", "1"), "parameter 'nope' is not known"),
        (("views", "abc"), "views: expected a whole number, not 'abc'"),
        (("subject", "../ada"), "subject: '../ada' is no name"),
        (("method", "idrr"), "method: 'idrr' is not known; did you mean 'idr'?"),
    ],
)
def test_a_wrong_parameter_by_hand_ends_in_the_second_code_cell_before_any_work(
    repository: Path, tmp_path: Path, parameter: tuple[str, str], sentence: str
) -> None:
    """With plain papermill, on the .ipynb, from the notebooks' folder, as a reader would."""
    command = [
        sys.executable,
        "-m",
        "papermill",
        "-k",
        "python3",
        "03_reconstruct.ipynb",
        str(tmp_path / "out.ipynb"),
        "-p",
        *parameter,
    ]
    done = subprocess.run(
        command, cwd=repository / "notebooks", env=copies.environment(repository), capture_output=True, text=True
    )
    assert done.returncode != 0 and f"ValueError: {sentence}" in done.stderr
    ran = [cell for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells if cell.get("execution_count")]
    assert "runs.parameters(globals()" in ran[-1].source
    assert not (repository / "runs" / "demo").exists()


def test_the_runner_refuses_an_unknown_parameter_without_a_kernel(repository: Path, tmp_path: Path) -> None:
    done = copies.heads(repository, "run", "notebooks/03_reconstruct.py", str(tmp_path / "out.ipynb"), "-p", "veiws", "3")
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        == f"notebooks/03_reconstruct.py: parameter {study.unknown('veiws', [f.name for f in fields(study.FitJob)])}"
    )
    assert not (tmp_path / "out.ipynb").exists()


TINY = """# %% tags=["parameters"]
record: str = ""
reason: str = ""
deadly: bool = False

# %%
import os
from pathlib import Path
from heads import runs

if reason:
    raise ValueError(reason)
if deadly:
    os._exit(9)
runs.write_record(Path(record), runs.Record("tiny"))
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """An empty repository with one small notebook."""
    (tmp_path / "Snakefile").touch()
    (tmp_path / "tiny.py").write_text(TINY)
    return tmp_path


def run_tiny(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "heads",
        "run",
        "tiny.py",
        "out.ipynb",
        "--record",
        "r.json",
        "-p",
        "record",
        "r.json",
        *words,
    ]
    environment = copies.environment(ROOT)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_notebook_that_ends_well_leaves_its_own_record(tiny: Path) -> None:
    assert run_tiny(tiny).returncode == 0
    assert runs.read_record(tiny / "r.json").status == "ok"


def test_a_failure_leaves_a_record_with_its_reason_and_the_executed_notebook(tiny: Path) -> None:
    hard = run_tiny(tiny, "-p", "reason", "the mask is\n empty")
    assert hard.returncode == 1 and "tiny out: failed: the mask is empty (see out.ipynb)" in hard.stderr.splitlines()
    soft = run_tiny(tiny, "-p", "reason", "the mask is empty", "--soft")
    assert soft.returncode == 0
    record = runs.read_record(tiny / "r.json")
    assert (record.status, record.reason) == ("failed", "the mask is empty")
    assert record.parameters == {"record": "r.json", "reason": "the mask is empty"}
    assert "the mask is empty" in (tiny / "out.ipynb").read_text()


def test_what_failed_before_is_passed_on_without_a_kernel(tiny: Path) -> None:
    runs.write_record(tiny / "before.json", runs.Record("01_data", "failed", "an image is missing"))
    assert run_tiny(tiny, "--after", "before.json", "--soft").returncode == 0
    assert runs.read_record(tiny / "r.json").reason == "an image is missing"
    assert not (tiny / "out.ipynb").exists()


def test_a_kernel_that_dies_is_a_hard_failure_in_one_sentence(tiny: Path) -> None:
    done = run_tiny(tiny, "-p", "deadly", "true", "--soft")
    assert done.returncode == 1 and not (tiny / "r.json").exists()
    assert "tiny.py: its kernel died" in done.stderr and "Traceback" not in done.stderr


def test_a_notebook_that_forgets_its_record_is_a_hard_failure(tiny: Path) -> None:
    runs.write_record(tiny / "r.json", runs.Record("tiny"))
    done = run_tiny(tiny, "-p", "record", "elsewhere.json", "--soft")
    assert done.returncode == 1 and "did not write r.json" in done.stderr


# ---- a whole study


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
  baseh3d: {prior: single}
"""
RUNS = [f"{subject}.{way}.v3.s0" for subject in ("anna", "bert") for way in ("idr.sphere", "baseh3d.single")]


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
    assert (rows["subject"] + "." + rows["method"]).tolist() == ["anna.idr", "anna.baseh3d", "bert.idr", "bert.baseh3d"], (
        done.stderr
    )
    assert rows["status"].tolist() == ["ok", "ok", "failed", "failed"], rows["reason"].tolist()
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
    done, ran = again(repository)  # what failed is tried again
    assert done.returncode == 0, done.stderr
    assert ran == {
        "01_data.h3ds.bert",
        *(f"03_reconstruct.{run}" for run in RUNS[2:]),
        *(f"04_evaluate.{run}" for run in RUNS[2:]),
        "05_results",
    }
    assert table(repository)["status"].tolist() == ["ok"] * 4
    pd.testing.assert_frame_equal(table(repository)[:2], first[:2])

    done, ran = again(repository)
    assert (done.returncode, ran) == (0, set()), done.stderr

    shutil.rmtree(repository / "runs" / "mine" / "fit" / RUNS[0])  # what has gone comes back, though the table is there
    done, ran = again(repository)
    assert ran == {f"03_reconstruct.{RUNS[0]}", f"04_evaluate.{RUNS[0]}", "05_results"}, done.stderr
    pd.testing.assert_frame_equal(table(repository)[list(runs.METRICS)][:2], first[list(runs.METRICS)][:2])

    done, ran = again(repository, STUDY.replace("prior: single}", "prior: single, overrides: {rays: 96}}"))
    mine = [run for run in RUNS if "baseh3d" in run]
    assert ran == {*(f"03_reconstruct.{run}" for run in mine), *(f"04_evaluate.{run}" for run in mine), "05_results"}, done.stderr


def test_a_study_leaves_the_figures_that_the_posts_are_made_of(studied: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    repository, _ = studied
    made = {path.name for path in (repository / "figures" / "mine").iterdir()}
    assert {"contact_sheet.png", "losses.png", "photographs_anna.png", "comparison_anna.png"} <= made
    assert {f"head_anna_{name}.json" for name in ("truth", "idr", "baseh3d")} <= made
    about = json.loads((repository / "results" / "mine.json").read_text())
    assert about["fit"]["epochs"] == 20
    stages = pd.read_csv(repository / "results" / "mine_stages.csv")
    assert {"stage", "runs", "seconds"} <= set(stages.columns)


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


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("  idr:", "  idrr:", "methods: 'idrr' is not known; did you mean 'idr'?"),
        ("{epochs: 20}", "{epoch: 20}", "overrides: 'epoch' is not known; did you mean 'epochs'?"),
        ("{epochs: 20}", "{epochs: many}", "epochs: expected a whole number, not 'many'"),
        ("views: [3]", "views: abc", "views: expected a list of at least one entry, not 'abc'"),
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
    import fcntl

    (repository / "config" / "mine.yaml").write_text(STUDY)
    (repository / "runs").mkdir(exist_ok=True)
    with open(repository / "runs" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = copies.heads(repository, "study", "config/mine.yaml")
    assert done.returncode == 1 and "another study is running here" in done.stderr


def test_every_module_that_a_rule_names_is_there() -> None:
    named: set[Any] = {
        argument.value
        for node in ast.walk(ast.parse(_python_of_snakefile()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "lib"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }
    assert named and {f"{name}.py" for name in named} <= {path.name for path in (ROOT / "lib" / "heads").glob("*.py")}


def _python_of_snakefile() -> str:
    """Each call of `lib(...)` in the Snakefile, a line each."""
    text = (ROOT / "Snakefile").read_text(encoding="utf-8")
    return "\n".join(f"lib({part.split(')')[0]})" for part in text.split("lib(")[1:] if part.startswith('"'))
