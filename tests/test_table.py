"""A study's table and its trials, from records: a row for every run that was asked for."""

from pathlib import Path

import pandas as pd
import pytest

from heads import files
from heads.posts import results
from heads.study import plan, records, table
from heads.study.plan import Study
from heads.study.records import Record

STUDY = """
data: {notebook: 01_data}
subjects: [ben, ada]
views: [3]
seeds: [1, 0]
every: {preset: SMOKE}
methods:
  idr: {notebook: 03_reconstruct}
"""
CHOICE = """
data: {notebook: 01_data}
subjects: [ben, ada, cleo]
views: [3]
every: {preset: SMOKE}
priors:
  one: {notebook: 02_prior, subject: eve}
  two: {notebook: 02_prior, subject: fay}
methods:
  idr: {notebook: 03_reconstruct}
choose: {notebook: 08_choose, priors: [one, two]}
"""
SCORES = ("face_toolbox_mm", "head_toolbox_mm", "face_rigid_mm", "head_rigid_mm")


@pytest.fixture
def study(empty_repository: Path) -> Study:
    """A study of two subjects, whose first run has a score, whose second could not be measured, and whose third fit failed."""
    (empty_repository / "mine.yaml").write_text(STUDY)
    study = plan.read("mine.yaml")
    first, second, third, _ = study.stage("fit")
    losses = {"rgb": 0.5, "trial_loss": 0.123456789, "final_loss": float("nan")}
    made = Record("03_reconstruct", losses=losses, seconds=12.345, peak_mb=512.7, commit="abc")
    for fit in (first, second):
        records.write(fit.record, made)
    records.write(third.record, Record("03_reconstruct", "failed", "the fit diverged"))
    records.write(study.score_of(third).record, Record("04_evaluate", "failed", "the fit diverged"))
    scores = {name: 1.23456 + i for i, name in enumerate(SCORES)}
    records.write(study.score_of(first).record, Record("04_evaluate", scores=scores, seconds=99.0, peak_mb=9.0, commit="def"))
    records.write(study.score_of(second).record, Record("04_evaluate", "failed", 'no "mask", none'))
    return study


def test_the_table_has_a_row_for_each_run_in_the_studys_order_failed_and_missing_ones_too(study: Study) -> None:
    rows = table.table(study)
    asked = ["subject", "method", "prior", "name", "views", "seed", "status", "reason"]
    assert list(rows.columns) == [*asked, *SCORES, "seconds", "peak_mb", "device", "commit", "trial_loss", "final_loss"]
    assert list(zip(rows["subject"], rows["seed"], rows["status"], strict=True)) == [
        ("ben", 1, "ok"), ("ben", 0, "failed"), ("ada", 1, "failed"), ("ada", 0, "missing"),
    ]  # fmt: skip
    assert rows["reason"].tolist() == ["", 'no "mask", none', "the fit diverged", "not run yet"]
    assert rows["face_toolbox_mm"][0] == 1.2346
    assert rows["head_rigid_mm"].isna().tolist() == [False, True, True, True]


def test_a_rows_cost_and_losses_are_those_of_its_fit(study: Study) -> None:
    rows = table.table(study)
    assert rows["seconds"][0] == 12.3 and rows["peak_mb"][0] == 513 and rows["commit"][0] == "abc"
    assert rows["trial_loss"][0] == 0.123457 and rows["trial_loss"][2:].isna().all() and rows["final_loss"].isna().all()
    assert rows["seconds"].isna().tolist() == [False, False, True, True]


def test_a_value_that_one_method_tries_is_no_score(empty_repository: Path) -> None:
    (empty_repository / "mine.yaml").write_text(f"{STUDY}  other: {{notebook: 03_reconstruct, preset: [SMOKE, LAPTOP]}}\n")
    rows = table.table(plan.read("mine.yaml"))
    assert results.varied(rows) == ["preset"] and results.scores(rows) == []


def test_a_value_that_is_tried_is_a_column(empty_repository: Path) -> None:
    (empty_repository / "mine.yaml").write_text(STUDY.replace("03_reconstruct}", "03_reconstruct, preset: [SMOKE, LAPTOP]}"))
    rows = table.table(plan.read("mine.yaml"))
    assert results.varied(rows) == ["preset"] and list(rows.columns)[4:8] == ["views", "seed", "preset", "status"]
    assert rows["preset"].tolist()[:4] == ["SMOKE", "SMOKE", "LAPTOP", "LAPTOP"] and (rows["status"] == "missing").all()


def test_the_same_records_give_the_same_bytes(study: Study, tmp_path: Path) -> None:
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    files.write_table(first, table.table(study))
    files.write_table(second, table.table(study))
    assert first.read_bytes() == second.read_bytes()
    text = dict.fromkeys(("prior", "name", "reason", "device", "commit"), str)
    read = pd.read_csv(
        first, keep_default_na=False, na_values={name: [""] for name in (*SCORES, "seconds", "peak_mb")}, dtype=text
    )
    kept = [name for name in read if not name.endswith("_loss")]
    pd.testing.assert_frame_equal(read[kept], table.table(study)[kept], check_dtype=False)


def test_the_trials_of_a_study_are_those_of_the_choices_that_were_made(empty_repository: Path) -> None:
    (empty_repository / "mine.yaml").write_text(CHOICE)
    study = plan.read("mine.yaml")
    ben, ada, cleo = study.stage("choose")
    assert table.trials(study).empty and list(table.trials(study).columns) == list(table.TRIALS)
    rows = pd.DataFrame({"prior": ["one", "two"], "loss": [0.12345678, 2.0], "rgb": 0.1, "mask": 0.2, "chosen": [True, False]})
    for job in (ben, ada):
        files.write_table(job.folder / "trials.csv", rows.assign(fitted="0 1", judged="2"))
    records.write(ben.record, Record("08_choose"))
    records.write(ada.record, Record("08_choose", "failed", "no prior"))  # its table is an earlier run's
    found = table.trials(study)
    assert list(found.columns) == list(table.TRIALS)
    assert found.to_dict("list") == {
        "subject": ["ben", "ben"], "prior": ["one", "two"], "views": [3, 3], "loss": [0.123457, 2.0], "rgb": [0.1, 0.1],
        "mask": [0.2, 0.2], "fitted": ["0 1", "0 1"], "judged": ["2", "2"],
    }  # fmt: skip
    records.write(cleo.record, Record("08_choose"))
    with pytest.raises(FileNotFoundError, match=r"cleo\.v3\.s0/trials\.csv: there are no such trials"):
        table.trials(study)
    (cleo.folder / "trials.csv").write_text("prior,loss\none,1\n")
    with pytest.raises(ValueError, match=r"cleo\.v3\.s0/trials\.csv: a table of trials was expected; it has no column rgb"):
        table.trials(study)


def test_the_seconds_of_a_stage_are_those_of_its_executed_notebooks(study: Study) -> None:
    for fit, seconds in zip(study.stage("fit"), ("2.5", "null", "4"), strict=False):
        fit.log.parent.mkdir(parents=True, exist_ok=True)
        fit.log.write_text(f'{{"metadata": {{"papermill": {{"duration": {seconds}}}}}}}')
    study.score_of(study.stage("fit")[0]).log.parent.mkdir(parents=True)
    study.score_of(study.stage("fit")[0]).log.touch()  # as that of a run that was left out, for a failure before it
    assert table.stage_seconds(study) == {"03_reconstruct": [2.5, 4.0]}
