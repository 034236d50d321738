"""What surrounds the run of a study: its settings are tried first, what was half written goes, what failed is named."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import copies
import pandas as pd
import pytest
from test_plan import CHOICE, FULL, GOOD, changed, written

from heads import __main__ as command_line
from heads.study import contract, lock, plan, records, runner, status
from heads.study.records import Record

# ---- settings, before any work


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("{rays: 96, epochs: 7}", "{rays: 0}", "fit/ada.idr.v8.s0: rays must be positive, not 0"),
        ("fit: {epochs: 9}", "fit: {tracer: slow}", "fit/ada.baseh3d.one.v3.s0: tracer must be "),
        ("training: {steps: 20}", "training: {steps: 0}", "prior/heads: steps must be positive, not 0"),
        ("priors: [one, three], views: [3]", "priors: [one], views: [3]", "choose/ada.v3.s0: "),
    ],
)
def test_the_settings_of_every_job_are_tried_before_any_work_and_a_wrong_one_names_its_job(
    empty_repository: Path, old: str, new: str, sentence: str
) -> None:
    study = plan.read(changed(Path(), old, new, CHOICE))
    before = sorted(Path().rglob("*"))
    with pytest.raises(ValueError) as raised:
        runner.check(study.jobs.values())
    assert str(raised.value).startswith(sentence) and "\n" not in str(raised.value)
    assert sorted(Path().rglob("*")) == before


def test_what_is_not_run_is_not_tried_and_what_is_sound_is_passed(empty_repository: Path) -> None:
    study = plan.read(changed(Path(), "{rays: 96, epochs: 7}", "{rays: 0}", FULL))
    runner.check(job for job in study.jobs.values() if job.parameters.get("views") != 8)
    runner.check(plan.read(written(Path(), CHOICE)).jobs.values())


def test_settings_are_tried_once_for_all_jobs_that_have_them(empty_repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    begin = records.begin
    monkeypatch.setattr(records, "begin", lambda notebook, found: begun.append(found["fit"]) or begin(notebook, found))
    runner.check(plan.read(written(Path(), GOOD)).stage("fit"))
    assert len(begun) == 2 * 3  # two numbers of views; idr, and baseh3d from two priors: not two people and two seeds


# ---- parameters on the command line


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("subject", "010", "010"), ("subject", "no", "no"), ("subject", "1e3", "1e3"), ("subject", "null", "null"),
        ("prior", "", ""),
        ("views", "4", 4), ("views", "04", 4), ("views", "4.0", 4), ("preset", "SMOKE", "SMOKE"),
        ("carry", '["geometry"]', ["geometry"]), ("carry", "[geometry, colour]", ["geometry", "colour"]), ("carry", "[]", []),
        ("fit", '{"epochs": 5}', {"epochs": 5}), ("fit", "{epochs: 5, step_size: 1e-3}", {"epochs": 5, "step_size": 1e-3}),
        ("fit", "{shape: {width: 8}, device: cpu}", {"shape": {"width": 8}, "device": "cpu"}), ("fit", "{}", {}),
        ("fit", "{shape: {pairs: 3, reach: 1e-1}}", {"shape": {"pairs": 3, "reach": 0.1}}),
    ],
)  # fmt: skip
def test_a_value_on_the_command_line_is_read_as_what_the_parameter_takes_and_text_stays_as_typed(
    name: str, text: str, expected: object
) -> None:
    (found,) = command_line.values(contract.LIB.parents[1] / "notebooks" / "03_reconstruct.py", [(name, text)]).values()
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("views", "many", "-p views: expected a whole number, 1 or more, not 'many'"),
        ("views", "0", "-p views: expected a whole number, 1 or more, not 0"),
        ("veiws", "3", "03_reconstruct.py: parameter 'veiws' is not known; did you mean 'views'?"),
        ("preset", "SMOKY", "-p preset: 'SMOKY' is not known; did you mean 'SMOKE'?"),
        ("carry", "[hair]", "-p carry: 'hair' is not known ("),
        ("carry", "geometry", "-p carry: expected a list, not 'geometry'"),
        ("fit", "{epoch: 5}", "-p fit: 'epoch' is not known; did you mean 'epochs'?"),
        ("fit", "{epochs: 5", "-p fit: '{epochs: 5' cannot be read: "),
        ("fit", "[" * 10_000, "-p fit: "),
    ],
)
def test_a_wrong_value_on_the_command_line_is_said_in_a_sentence(name: str, text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        command_line.values(contract.LIB.parents[1] / "notebooks" / "03_reconstruct.py", [(name, text)])
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


def test_what_a_job_is_told_on_the_command_line_is_what_the_study_asks_of_it(tmp_path: Path) -> None:
    for job in plan.read(written(tmp_path, CHOICE)).jobs.values():
        said = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in job.parameters.items()]
        assert command_line.values(contract.LIB.parents[1] / "notebooks" / f"{job.notebook}.py", said) == job.parameters


# ---- what is left of a run


def test_what_was_half_written_is_swept_away_before_a_study_goes_on(empty_repository: Path) -> None:
    kept = [Path("runs/mine/fit/a/record.json"), Path("runs/other/.a.json.7.part"), Path("results/mine.csv")]
    gone = [
        Path("runs/mine/fit/a/.record.json.7.part"),
        Path("runs/mine/people/.ada.x1.part/image/img_0000.jpg"),
        Path("runs/mine/people/.ada.7.old/image/img_0000.jpg"),
        Path("runs/mine/fit/a/mesh.ply.part"),
        Path("results/.mine.csv.7.part"),
        Path("figures/mine/.losses.png.7.part"),
    ]
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    runner.sweep(plan.read(written(Path(), GOOD)))
    assert [path.exists() for path in (*kept, *gone)] == [True] * len(kept) + [False] * len(gone)


def test_what_has_no_score_and_no_choice_is_named_with_its_reason(empty_repository: Path) -> None:
    study = plan.read(written(Path(), CHOICE))
    for job in study.stage("score"):
        records.write(job.record, Record("04_evaluate"))
    ada, ben = study.stage("choose")
    records.write(ada.record, Record("08_choose", "failed", "no surface"))
    assert runner.failures(study) == [
        "failed: choose/ada.v3.s0: no surface",
        "not finished: choose/ben.v3.s0 (see runs/mine/notebooks)",
    ]
    records.write(ada.record, Record("08_choose"))
    records.write(ben.record, Record("08_choose"))
    assert runner.failures(study) == []
    score = study.stage("score")[1]
    records.write(score.record, Record("04_evaluate", "failed", "the fit diverged"))
    assert runner.failures(study) == [f"failed: {score.name.removeprefix('score/')}: the fit diverged"]


# ---- a study of notebooks that do nothing


def again(repository: Path, text: str = copies.LIGHT_STUDY) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    return copies.again(repository, text, "light")


def of(*names: str) -> set[str]:
    """The fits and scores of these runs."""
    return {f"{stage}/{name}.s0" for stage in ("fit", "score") for name in names}


DATA, FITS = {"data/people.ada", "data/people.ben"}, ("ada.mean", "ada.wide", "ben.mean")


@pytest.fixture(scope="module")
def first(repository: Path) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """The study run once, by somebody whose home cannot be written, with a fit that fails."""
    copies.light(repository)
    (repository / "photos" / "ben").write_text("fail")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", "/proc/nope")
        patch.delenv("XDG_CACHE_HOME", raising=False)
        return again(repository)


@pytest.fixture
def light(repository: Path, first: tuple[subprocess.CompletedProcess[str], set[str]]) -> Path:
    return repository


def test_a_study_whose_home_cannot_be_written_keeps_things_in_one_of_its_own(
    light: Path, first: tuple[subprocess.CompletedProcess[str], set[str]]
) -> None:
    done, ran = first
    assert ran == {*DATA, *of(*FITS), "table"}, done.stderr
    assert (light / "runs" / ".home" / ".cache" / "snakemake").is_dir()
    assert pd.read_csv(light / "results" / "light.csv")["face_rigid_mm"].tolist()[:2] == [1.5, 1.5]
    assert "Unable to parse" not in done.stderr  # as papermill says of types in quotes
    assert "runner.py" not in done.stderr  # as Python warns of a pipe that is not closed


def test_a_job_that_fails_keeps_its_row_and_those_that_wait_for_it_are_left_out(
    light: Path, first: tuple[subprocess.CompletedProcess[str], set[str]]
) -> None:
    done, _ = first
    assert done.returncode == 3, done.stderr
    assert (light / "runs/light/notebooks/score/ben.mean.s0.ipynb").read_text() == ""  # no kernel was started for it
    assert "failed: ben.mean.s0: ben: the fit diverged" in done.stderr.splitlines()
    rows = pd.read_csv(light / "results" / "light.csv")
    assert rows["status"].tolist() == ["ok", "ok", "failed"] and rows["reason"][2] == "ben: the fit diverged"


def test_a_second_run_does_only_what_is_missing_and_a_change_only_what_depends_on_it(
    light: Path, monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]
) -> None:
    monkeypatch.chdir(light)

    def to_run() -> set[str]:
        forget()
        return set(status.outdated(plan.read("config/light.yaml")))

    wanted = of("ben.mean") | {"table"}
    assert to_run() == wanted  # what had failed
    Path("photos", "ben").write_text("well")
    os.utime(Path("photos", "ben"), (1, 1))  # what has changed is read again, though it is older, and as large as before
    wanted |= {"data/people.ben"}
    assert to_run() == wanted
    shutil.rmtree(Path("runs", "light", "fit", "ada.mean.s0"))  # what is gone comes back, though the table is there
    wanted |= of("ada.mean")
    assert to_run() == wanted
    for name in ("61_person", "64_score"):  # the first of these only looks, and the fits wait for it
        with Path("notebooks", f"{name}.py").open("a") as file:
            file.write("'more code'.upper()\n")
    wanted |= {*DATA, "score/ada.wide.s0"}
    assert to_run() == wanted

    Path(".snakemake").rename("kept")  # what has changed is seen by the records alone
    done, ran = again(light)
    assert (done.returncode, ran) == (0, wanted), done.stderr
    assert pd.read_csv("results/light.csv")["status"].tolist() == ["ok"] * 3
    assert pd.read_csv("results/light.csv")["face_rigid_mm"].tolist() == [1.5] * 3

    shutil.rmtree(".snakemake")  # as if Snakemake had been killed before it heard that these had ended
    Path("kept").rename(".snakemake")
    done, ran = again(light)
    assert (done.returncode, ran) == (0, set()), done.stderr

    done, ran = again(light, copies.LIGHT_STUDY.replace("width: 9", "width: 10"))
    assert (done.returncode, ran) == (0, {*of("ada.wide"), "table"}), done.stderr


def test_a_value_that_a_notebook_refuses_costs_no_work_and_names_its_job(light: Path) -> None:
    before = sorted((light / "runs").rglob("*"))
    (light / "config" / "light.yaml").write_text(copies.LIGHT_STUDY.replace("label: Mean", "width: 13"))
    done = copies.heads(light, "study", "config/light.yaml")
    assert (
        done.returncode == 1
        and done.stderr.strip().splitlines()[-1] == "config/light.yaml: fit/ada.mean.s0: width must not be 13"
    )
    assert sorted((light / "runs").rglob("*")) == before


def test_a_study_that_is_killed_while_it_checks_leaves_no_lock(light: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (light / "config" / "light.yaml").write_text(copies.LIGHT_STUDY.replace("label: Mean", "width: 14"))
    command = [sys.executable, "-m", "heads", "study", "config/light.yaml"]
    with subprocess.Popen(command, cwd=light, env=copies.environment(light), stderr=subprocess.DEVNULL) as driver:
        while not (light / "runs" / "waits").exists() and driver.poll() is None:
            time.sleep(0.01)
        driver.kill()
    (light / "runs" / "waits").unlink()
    monkeypatch.chdir(light)
    began = time.monotonic()
    with lock.held("the next one"):  # for which it waits until whoever tried the settings has ended too
        assert time.monotonic() - began < 10


def test_where_snakemake_fails_before_any_job_its_reason_is_shown(light: Path) -> None:
    (light / "config" / "light.yaml").write_text(copies.LIGHT_STUDY.replace("label: Mean", "width: 9"))
    done = copies.heads(light, "study", "config/light.yaml", "--profile", "profiles/nowhere")
    said = done.stderr.partition("Snakemake ended with code ")[2]
    assert done.returncode == 1 and "before any job began:\n" in said and "profiles/nowhere" in said, done.stderr
    assert "not finished" not in done.stderr
