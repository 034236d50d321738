"""What of a study is done, what would be run and why, and that all who say so agree."""

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import copies
import pytest
from test_plan import CHOICE, FULL, GOOD, written

from heads import files
from heads.data import h3ds
from heads.scene import Scene
from heads.study import contract, plan, records, report, runner, status
from heads.study.plan import Job, Study
from heads.study.records import Record, Run

STUDY = """
data:
  scans: {notebook: 01_data, kind: h3ds, root: photos, scenes: photos/mine.toml}
  people: {notebook: 01_data, size: 48, photographs: 8}
subjects: [anna, bert]
views: [3]
every: {preset: SMOKE}
priors:
  single: {notebook: 02_prior, data: people, subject: eve, views: 8}
methods:
  idr: {notebook: 03_reconstruct}
  baseh3d: {notebook: 03_reconstruct, prior: single}
"""


def finish(job: Job, reason: str = "") -> None:
    """Leave what a run of the job would leave: its record, which knows the photographs that a fit has used."""
    given = {name: parameter.default for name, parameter in contract.parameters(job.notebook).items()} | job.parameters
    run = Run(job.notebook, files.plain(given), records.code(job.notebook), time.monotonic())
    if given.get("root") == "photos" and job.stage in ("data", "fit"):
        run.use(h3ds.scene_files("photos", given["subject"], given["views"], config=given["scenes"]))
    if reason:
        records.write(job.record, Record(job.notebook, "failed", reason, job.parameters))
    else:
        run.finish()


def to_run(text: str = STUDY) -> dict[str, str]:
    """The jobs that a study would run, and why; its status and its dry run say as many."""
    study = plan.read(written(Path(), text))
    found = {name: why or state for name, (state, why) in status.outdated(study).items()}
    assert f"to run: {len(found)} of {len(study.jobs)} jobs" in status.text(study, 2)
    assert status.to_run(status.of(study)) == len(found)
    counts = status.stages(status.of(study))
    assert sum(number for states, _ in counts.values() for state, number in states.items() if state != "done") == len(found)
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, ellipsoid_scene: Scene) -> Path:
    folder = tmp_path_factory.mktemp("somebody") / "photos"
    copies.foreign_folder(folder, ellipsoid_scene, ["anna", "bert"])
    return folder


@pytest.fixture
def done(empty_repository: Path, photos: Path) -> Study:
    """A study of somebody's photographs and a built-in prior, of which all is done."""
    shutil.copytree(photos, empty_repository / "photos")
    study = plan.read(written(Path(), STUDY))
    for job in study.jobs.values():
        finish(job)
    return study


FITS = ["anna.idr.v3.s0", "anna.baseh3d.single.v3.s0", "bert.idr.v3.s0", "bert.baseh3d.single.v3.s0"]
ALL = ["data/people.eve", "data/scans.anna", "data/scans.bert", "prior/single"]
ALL += [f"{stage}/{fit}" for stage in ("fit", "score") for fit in FITS] + ["table"]
OF_PRIOR = [f"{stage}/{name}.baseh3d.single.v3.s0" for stage in ("fit", "score") for name in ("anna", "bert")]


# ---- what would be run


def test_a_study_that_was_never_run_is_run_whole_and_one_that_is_done_not_at_all(done: Study) -> None:
    assert list(done.jobs) == ALL and to_run() == {}
    for job in done.jobs.values():
        job.record.unlink()
    assert to_run() == dict.fromkeys(ALL, "missing")


def test_what_waits_for_a_job_that_is_run_again_is_run_again_too(done: Study) -> None:
    done.jobs["prior/single"].record.unlink()
    found = to_run()
    assert list(found) == ["prior/single", *OF_PRIOR, "table"]
    assert found["prior/single"] == "missing" and found[OF_PRIOR[0]] == "prior/single has to be run"
    assert found[OF_PRIOR[2]] == f"{OF_PRIOR[0]} has to be run" and found["table"].endswith("has to be run")


def test_a_job_that_made_its_files_makes_those_outdated_that_have_used_them(done: Study) -> None:
    finish(done.jobs["data/people.eve"], "no light")
    assert list(to_run()) == ["data/people.eve", "prior/single", *OF_PRIOR, "table"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("data: people, subject", "data: people, epochs: 20, subject", "epochs is now 20"),
        ("views: 8}", "views: 8, fit: {rays: 96}}", "fit is now {'rays': 96}"),
    ],
)
def test_a_record_counts_only_for_the_parameters_it_was_made_with(done: Study, old: str, new: str, said: str) -> None:
    found = to_run(STUDY.replace(old, new))
    assert list(found) == ["prior/single", *OF_PRIOR, "table"] and found["prior/single"] == said
    assert to_run() == {}


def test_a_parameter_that_is_set_to_its_default_has_not_changed(done: Study) -> None:
    same = STUDY.replace("03_reconstruct}", "03_reconstruct, carry: [geometry, colour, moments]}").replace(
        "views: 8}", "views: 8.0}"
    )
    assert to_run(same) == {}


def test_a_number_is_the_same_whether_it_comes_from_the_study_or_from_a_command_line(done: Study) -> None:
    text = STUDY.replace("{preset: SMOKE}", "{preset: SMOKE, fit: {step_size: 0.00001}}")
    for job in plan.read(written(Path(), text)).jobs.values():
        given = json.loads(json.dumps(job.parameters))  # as on the command line of its job
        finish(Job(job.study, job.name, job.notebook, given))
    assert to_run(text) == to_run(text.replace("0.00001", "1e-5")) == {}


def test_a_new_default_counts_for_those_who_have_not_set_another_value(done: Study, forget: Callable[[], None]) -> None:
    source = Path("notebooks", "02_prior.py")
    source.write_text(source.read_text(encoding="utf-8").replace('epochs: "int >= 0" = 500', 'epochs: "int >= 0" = 501'))
    forget()
    found = to_run()
    assert list(found) == ["prior/single", *OF_PRIOR, "table"] and found["prior/single"] == "epochs is now 501"


def test_what_failed_is_run_again_and_what_was_left_out_for_it(done: Study) -> None:
    for name in ("fit/bert.idr.v3.s0", "score/bert.idr.v3.s0"):
        finish(done.jobs[name], "no mask")
    assert to_run() == {
        "fit/bert.idr.v3.s0": "no mask",
        "score/bert.idr.v3.s0": "no mask",
        "table": "score/bert.idr.v3.s0 has to be run",
    }


def test_a_record_whose_files_are_gone_or_that_is_not_one_counts_as_failed(done: Study) -> None:
    score, table = done.jobs["score/anna.idr.v3.s0"], done.jobs["table"]
    records.write(score.record, Record("04_evaluate", files=["runs/mine/nowhere.npz"]))
    assert to_run() == {score.name: "runs/mine/nowhere.npz is gone", "table": f"{score.name} has to be run"}
    finish(score)
    table.record.write_text("{")
    (found,) = to_run().values()
    assert "not a record of a run" in found


# ---- photographs and code that have changed


def photograph(name: str) -> Path:
    return Path("photos", "bert", "image", f"img_{name}.jpg")


OF_BERT = ["data/scans.bert", *(f"{stage}/{fit}" for stage in ("fit", "score") for fit in FITS[2:]), "table"]


def test_a_changed_photograph_is_noticed_even_if_it_is_older_and_as_large_as_the_one_before(done: Study) -> None:
    path = photograph("0001")
    content = path.read_bytes()
    path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    os.utime(path, (1, 1))
    found = to_run()
    assert list(found) == OF_BERT
    assert found["data/scans.bert"] == found["fit/bert.idr.v3.s0"] == f"{path} has changed"


def test_a_file_that_was_only_touched_has_not_changed(done: Study) -> None:
    os.utime(photograph("0001"))
    assert to_run() == {}


def test_a_photograph_that_no_fit_has_used_does_not_count_unless_another_name_moves_all_the_numbers(done: Study) -> None:
    photograph("0004").write_bytes(b"another")
    assert to_run() == {}
    photograph("0004").rename(photograph("0003b"))
    assert list(to_run()) == OF_BERT


def test_another_list_of_views_in_the_toml_is_noticed_for_the_scene_that_it_is_of(done: Study) -> None:
    path = Path("photos", "mine.toml")
    before, _, after = path.read_text().partition("[scenes.bert]")
    path.write_text(f"# mine\n{before}[scenes.bert]{after.replace('[0, 1, 2]', '[3, 1, 2]')}")
    found = to_run()
    assert list(found) == OF_BERT
    assert found["fit/bert.baseh3d.single.v3.s0"] == "photos/mine.toml#scenes.bert has changed"


def test_who_only_looks_at_files_makes_nothing_outdated_unless_nobody_has_looked_yet(
    done: Study, forget: Callable[[], None]
) -> None:
    anna = done.jobs["data/scans.anna"]
    assert anna.looks and not done.jobs["data/people.eve"].looks
    finish(anna, "interrupted")
    assert to_run() == {anna.name: "interrupted"}
    anna.record.unlink()
    waiting = [f"{stage}/{fit}" for stage in ("fit", "score") for fit in FITS[:2]]
    assert list(to_run()) == [anna.name, *waiting, "table"]
    finish(anna)
    source = Path("notebooks", "01_data.py")
    source.write_text(source.read_text(encoding="utf-8") + "\n# %%\nprint(3)\n")
    forget()
    found = to_run()
    assert list(found) == [*ALL[:4], *OF_PRIOR, "table"]  # the fits of idr wait for those who only look
    assert {found[name] for name in ALL[:3]} == {"its code has changed"} and found[
        "prior/single"
    ] == "data/people.eve has to be run"


def test_changed_code_makes_its_jobs_outdated_and_changed_prose_none(done: Study, forget: Callable[[], None]) -> None:
    source = Path("notebooks", "04_evaluate.py")
    text = source.read_text(encoding="utf-8")
    source.write_text(text + "\n# %% [markdown]\n# That was it.\n")
    forget()
    assert to_run() == {}
    source.write_text(text + "\n# %%\nevaluation.scores\n")
    forget()
    found = to_run()
    assert list(found) == [f"score/{fit}" for fit in FITS] + ["table"]
    assert found["score/anna.idr.v3.s0"] == "its code has changed"


def test_a_changed_module_makes_those_outdated_whose_result_it_decides(
    done: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]
) -> None:
    for source in contract.LIB.rglob("*.py"):
        copy = tmp_path / "lib" / source.relative_to(contract.LIB)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    monkeypatch.setattr(contract, "LIB", tmp_path / "lib")

    def add(line: str, *names: str) -> list[str]:
        for name in names:
            with (tmp_path / "lib" / name).open("a") as file:
                file.write(f"\n{line}\n")
        records._code.cache_clear()
        forget()
        return list(to_run())

    assert add("# a comment", "methods/idr.py", "mesh.py") == add("NEW = 1", "study/runner.py", "methods/choose.py") == []
    assert add("NEW = 1", "posts/plots.py") == ["table"]
    assert add("NEW = 1", "methods/idr.py") == [name for name in ALL if not name.startswith("data/")]


# ---- as it is printed


def test_a_dry_run_counts_the_jobs_of_each_stage_and_names_each_kind_of_fit_once(
    empty_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = plan.read(written(Path(), FULL))
    eve, ada, *_ = study.stage("data")
    finish(eve)
    finish(ada, "no light")
    assert runner.show_study(Path("mine.yaml")) == 0
    lines = capsys.readouterr().out.splitlines()
    counts = {line.split()[0]: line.split()[1:] for line in lines if re.match(r"\d\d_", line)}
    fits = len(study.stage("fit"))
    assert counts == {
        "01_data": ["5", "1", "4"],
        "02_prior": ["3", "0", "3"],
        "03_reconstruct": [str(fits), "0", str(fits)],
        "04_evaluate": [str(fits), "0", str(fits)],
        "05_results": ["1", "0", "1"],
        "06_autodecoder": ["2", "0", "2"],
        "07_average": ["1", "0", "1"],
    }
    assert f"to run: {len(status.outdated(study))} of {len(study.jobs)} jobs" in lines
    assert f"  {ada.name}: failed, no light" in lines
    assert f"to run: {len(study.jobs) - 1} of {len(study.jobs)} jobs" in lines
    said = [" ".join(line.split()) for line in lines]
    first = said.index(f"{fits} fits:") + 1
    assert said[first : first + 6] == [
        "idr views 3 (seed 0), 3 (seed 1), 4 (seed 0), 8 (seed 0)",
        "baseh3d from one views 3 (seed 0), 3 (seed 1), 4 (seed 0), 8 (seed 0)",
        "baseh3d from one, parts views 3 (seed 5)",
        "baseh3d from three, parts views 3 (seed 5)",
        "average from mean views 3 (seed 0), 3 (seed 1), 4 (seed 0), 8 (seed 0)",
        "h3dnet from heads views 3 (seed 0), 3 (seed 1), 4 (seed 0)",
    ]
    written(Path(), FULL.replace("seeds: [5],", "seeds: [5], subjects: [ben],"))
    assert runner.show_study(Path("mine.yaml")) == 0
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"{fits - 2} fits:" in said and "baseh3d from three, parts views 3 (seed 5) of ben" in said


def test_a_dry_run_says_among_what_is_chosen_and_what_varies(empty_repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(Path(), CHOICE.replace("idr: {notebook: 03_reconstruct,", "idr: {notebook: 03_reconstruct, preset: [SMOKE, LAPTOP],"))
    runner.show_study(Path("mine.yaml"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith("08_")] == [["08_choose", "2", "0", "2"]]
    assert "a choice for each subject among one, three" in lines
    assert [line.split("  views")[0].strip() for line in lines if line.startswith("  idr")] == [
        "idr, preset SMOKE",
        "idr, preset LAPTOP",
    ]


def test_a_dry_run_needs_no_data_and_leaves_nothing(empty_repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(Path(), STUDY)
    before = sorted(Path().rglob("*"))
    assert runner.show_study(Path("mine.yaml")) == 0
    assert f"to run: {len(ALL)} of {len(ALL)} jobs" in capsys.readouterr().out and sorted(Path().rglob("*")) == before


def test_the_status_counts_what_is_done_running_failed_and_missing_and_estimates_the_rest(empty_repository: Path) -> None:
    study = plan.read(written(Path(), GOOD))
    done, failed, gone, running = study.stage("data")

    def executed(job: Job, duration: float | None, seconds_ago: float = 0) -> None:
        start = (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.log.write_text(json.dumps({"metadata": {"papermill": {"duration": duration, "start_time": start}}}))

    finish(done)
    finish(failed, "no light")
    records.write(gone.record, Record("01_data", files=["runs/mine/nowhere.png"]))
    executed(done, 600.0)
    executed(running, None, seconds_ago=120)

    def said() -> list[str]:
        return [" ".join(line.split()) for line in status.text(study, 2).splitlines()]

    lines, jobs = said(), len(study.jobs)
    assert lines[0] == "stage done running failed outdated missing s each"
    assert lines[1] == "01_data 1 0 2 0 1 600"  # nobody holds the lock
    assert "02_prior 0 0 0 0 2" in lines and "05_results 0 0 0 0 1" in lines
    rest = "02_prior, 03_reconstruct, 04_evaluate, 05_results, of which none has finished yet"
    assert f"to run: {jobs - 1} of {jobs} jobs, about 15 minutes with 2 side by side, and {rest}" in lines
    assert f"failed: {failed.name}: no light" in lines
    assert f"failed: {gone.name}: runs/mine/nowhere.png is gone" in lines
    others = [("another.yaml", 300), (study.path, 60)]  # that of another study, and one begun after the job was interrupted
    for name, seconds_ago in (*others, (study.path, 300)):
        with open("runs/.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(f"{name}, process 7 on here since then ({time.time_ns() - seconds_ago * 10**9})\n")
            lock.flush()
            lines = said()
        assert lines[1] == ("01_data 1 1 2 0 0 600" if (name, seconds_ago) == (study.path, 300) else "01_data 1 0 2 0 1 600")
    assert f"to run: {jobs - 1} of {jobs} jobs, about 14 minutes with 2 side by side, and {rest}" in lines
    assert any(re.fullmatch(rf"running: {re.escape(running.name)}, for 12\d s", line) for line in lines)


def test_the_status_says_why_something_is_run_again(done: Study) -> None:
    text = status.text(plan.read(written(Path(), STUDY.replace("data: people, subject", "data: people, epochs: 20, subject"))), 2)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "03_reconstruct 2 0 0 2 0" in lines and "02_prior 0 0 0 1 0" in lines
    assert "outdated: prior/single: epochs is now 20" in lines
    assert "outdated: fit/anna.baseh3d.single.v3.s0: prior/single has to be run" in lines
    assert status.text(done, 2).endswith(f"to run: 0 of {len(ALL)} jobs")


def test_the_report_is_one_page_with_all_runs_and_what_is_wrong_and_takes_no_markup_from_anybody(empty_repository: Path) -> None:
    study = plan.read(written(Path(), GOOD))
    fit = study.stage("fit")[0]
    scores = {"face_toolbox_mm": 1.234, "head_toolbox_mm": 2.0, "face_rigid_mm": 1.0, "head_rigid_mm": 2.5}
    records.write(fit.record, Record("03_reconstruct"))
    records.write(study.score_of(fit).record, Record("04_evaluate", scores=scores))
    finish(study.stage("data")[0], "<script>alert(1)</script>")
    page = report.write(study, 2)
    assert page == Path("runs", "mine", "report.html")
    text = page.read_text(encoding="utf-8")
    assert "1.23" in text and text.count('<tr class="missing">') == len(study.stage("fit")) - 1
    assert "<script" not in text and "&lt;script&gt;alert(1)" in text
    assert not re.search(r"(src|href)=\"(https?:)?//", text)
    states = [job.state for job in status.of(study)]
    assert f"{states.count('missing')} missing" in text and f"{states.count('failed')} failed" in text
