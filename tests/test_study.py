"""A study's YAML: what it asks for, and the sentence for everything that is wrong with one."""

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from heads.__main__ import failures, parsed, show_study, sweep, to_do_again
from heads.methods import autodecoder, idr, priors
from heads.study import plan as study
from heads.study import records as runs
from heads.study import status

ROOT = Path(__file__).resolve().parents[1]
GOOD = """
data: {kind: synthetic, seed: 1}
subjects: [ada, ben]
views: [3, 4]
preset: SMOKE
seeds: [0, 1]
overrides: {rays: 64, epochs: 5}
priors:
  single: {kind: scan, subject: eve, epochs: 500, schedule: shipped, carry: [geometry, moments]}
  other: {kind: scan, subject: ada, data: {kind: synthetic, seed: 2}}
methods:
  idr: {prior: sphere, overrides: {epochs: 9}}
  baseh3d: {prior: [single, other]}
"""
FULL = """
data: {kind: synthetic, seed: 1, light: common}
subjects: [ada, ben]
views: {3: {seeds: [0, 1]}, 4: {}, 8: {overrides: {rays: 96, epochs: 7}}}
preset: SMOKE
overrides: {rays: 64, grid: 16}
priors:
  mean: {kind: average, of: [one, two], steps: 50, seed: 3}
  one: {kind: scan, subject: eve, epochs: 5}
  two: {kind: scan, subject: fay, epochs: 5}
  three: {kind: scan, subject: gil, epochs: 5, carry: [geometry, colour]}
  heads: {kind: autodecoder, heads: 9, seed: 4, overrides: {steps: 20}}
  tinted: {kind: autodecoder, heads: 6, colour: true, photographs: 4, size: 64, light: common, preset: LAPTOP}
methods:
  idr: {prior: sphere}
  baseh3d:
    - {prior: one, overrides: {epochs: 9}}
    - {prior: [one, three], views: [3], seeds: [5], carry: [moments, geometry]}
  average: {prior: mean}
  h3dnet: {prior: heads, views: [3, 4]}
  h3dnet+colour: {prior: tinted, views: [3], seeds: [2, 3]}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(folder: Path, old: str, new: str, text: str = GOOD) -> Path:
    assert text.count(old) == 1, old
    return written(folder, text.replace(old, new))


SINGLE = "ada.baseh3d.single.v3.s0.geometry+moments"


def test_a_study_asks_for_every_combination_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    jobs = study.read(written(tmp_path, GOOD)).fit_jobs()
    assert len(jobs) == len({job.name for job in jobs}) == 2 * 2 * 3 * 2
    assert [job.name for job in jobs[:3]] == ["ada.idr.sphere.v3.s0", "ada.idr.sphere.v3.s1", SINGLE]
    assert [job.subject for job in jobs] == ["ada"] * 12 + ["ben"] * 12


def test_a_fit_gets_its_methods_overrides_over_the_studys_and_its_priors_schedule_and_parts(tmp_path: Path) -> None:
    jobs = {job.name: job for job in study.read(written(tmp_path, GOOD)).fit_jobs()}
    assert jobs["ada.idr.sphere.v3.s0"].overrides == {"rays": 64, "epochs": 9}
    single = jobs["ada.baseh3d.single.v4.s1.geometry+moments"]
    assert (single.overrides, single.schedule, single.carry) == ({"rays": 64, "epochs": 5}, "shipped", ["geometry", "moments"])


def test_a_fit_waits_for_its_subject_and_its_prior_and_a_score_for_its_fit(tmp_path: Path) -> None:
    plan = study.read(written(tmp_path, GOOD))
    jobs = {job.name: job for job in plan.fit_jobs()}
    data = Path("runs/mine/data/synthetic.ben.json")
    assert plan.before(jobs["ben.idr.sphere.v3.s0"]) == [data]
    fit = jobs[SINGLE.replace("ada", "ben")]
    assert plan.before(fit) == [data, Path("runs/mine/prior/single/record.json")]
    assert plan.before(plan.prior_job("single")) == [Path("runs/mine/data/synthetic.eve.json")]
    score = plan.score_job(fit)
    assert plan.before(score) == [fit.record]
    assert score.record == Path("runs/mine/fit/ben.baseh3d.single.v3.s0.geometry+moments/record.json")


def test_a_prior_from_other_data_has_a_folder_of_its_own_and_equal_data_share_one(tmp_path: Path) -> None:
    plan = study.read(written(tmp_path, GOOD))
    assert plan.prior_job("single").root == plan.fit_jobs()[0].root == "runs/mine/data/synthetic"
    assert plan.prior_job("other").root == "runs/mine/data/other"
    same = study.read(changed(tmp_path, "{kind: synthetic, seed: 2}", "{kind: synthetic, seed: 2, size: 256}"))
    assert list(same.datasets) == ["synthetic", "other"]
    mine = study.read(changed(tmp_path, "data: {kind: synthetic, seed: 1}\n", "data: {kind: h3ds, root: /photos}\n"))
    assert mine.data_job("h3ds", "ada").root == "/photos"
    assert not mine.table_job().pictures
    assert mine.prior_job("other").root == "runs/mine/data/synthetic"


def test_every_subject_is_made_once(tmp_path: Path) -> None:
    names = [job.name for job in study.read(written(tmp_path, GOOD)).data_jobs()]
    assert names == ["synthetic.eve", "other.ada", "synthetic.ada", "synthetic.ben"]
    shared = study.read(changed(tmp_path, "subject: ada, data: {kind: synthetic, seed: 2}", "subject: eve"))
    assert [job.name for job in shared.data_jobs()] == ["synthetic.eve", "synthetic.ada", "synthetic.ben"]


def fits_of(folder: Path, text: str = FULL) -> dict[str, study.FitJob]:
    return {job.name: job for job in study.read(written(folder, text)).fit_jobs()}


def test_a_number_of_views_may_have_seeds_of_its_own_and_a_method_entry_may_have_others(tmp_path: Path) -> None:
    jobs = [name.removeprefix("ada.") for name in fits_of(tmp_path) if name.startswith("ada.")]
    assert jobs == [
        "idr.sphere.v3.s0", "idr.sphere.v3.s1",
        "baseh3d.one.v3.s0", "baseh3d.one.v3.s1",
        "baseh3d.one.v3.s5.geometry+moments", "baseh3d.three.v3.s5.geometry+moments",
        "average.mean.v3.s0", "average.mean.v3.s1",
        "h3dnet.heads.v3.s0", "h3dnet.heads.v3.s1",
        "h3dnet+colour.tinted.v3.s2", "h3dnet+colour.tinted.v3.s3",
        "idr.sphere.v4.s0", "baseh3d.one.v4.s0", "average.mean.v4.s0", "h3dnet.heads.v4.s0",
        "idr.sphere.v8.s0", "baseh3d.one.v8.s0", "average.mean.v8.s0",
    ]  # fmt: skip


def test_the_overrides_of_a_method_entry_win_over_those_of_the_views_and_these_over_the_studys(tmp_path: Path) -> None:
    jobs = fits_of(tmp_path)
    assert jobs["ada.idr.sphere.v4.s0"].overrides == {"rays": 64, "grid": 16}
    assert jobs["ada.idr.sphere.v8.s0"].overrides == {"rays": 96, "grid": 16, "epochs": 7}
    assert jobs["ada.baseh3d.one.v8.s0"].overrides == {"rays": 96, "grid": 16, "epochs": 9}


def test_a_method_entry_may_carry_other_parts_than_its_prior_says(tmp_path: Path) -> None:
    text = FULL.replace(", views: [3], seeds: [5], carry: [moments, geometry]", ", views: [4]").replace(
        "prior: [one, three]", "prior: three"
    )
    assert fits_of(tmp_path, text)["ada.baseh3d.three.v4.s0.geometry+colour"].carry == ["geometry", "colour"]
    assert fits_of(tmp_path)["ada.baseh3d.three.v3.s5.geometry+moments"].carry == ["geometry", "moments"]


def test_a_method_entry_may_be_for_some_of_the_subjects(tmp_path: Path) -> None:
    text = FULL.replace("views: [3], seeds: [5],", "views: [3], seeds: [5], subjects: [ben],")
    every, some = fits_of(tmp_path), fits_of(tmp_path, text)
    lacking = [f"ada.baseh3d.{prior}.v3.s5.geometry+moments" for prior in ("one", "three")]
    assert list(some) == [name for name in every if name not in lacking]


def test_each_kind_of_prior_is_made_by_its_own_notebook_with_what_the_study_says(tmp_path: Path) -> None:
    plan = study.read(written(tmp_path, FULL))
    scan, mean, heads, tinted = map(plan.prior_job, ("one", "mean", "heads", "tinted"))
    assert [job.notebook for job in (scan, mean, heads, tinted)] == ["02_prior", "07_average", "06_autodecoder", "06_autodecoder"]
    assert scan.overrides == mean.overrides == {"rays": 64, "grid": 16} and heads.overrides == {"steps": 20}
    assert mean == study.AverageJob("mine", "mean", ["one", "two"], "distil", "SMOKE", 50, 3, {"rays": 64, "grid": 16})
    assert heads == study.AutodecoderJob("mine", "heads", 9, 4, False, 8, 128, "varied", "SMOKE", {"steps": 20})
    assert tinted == study.AutodecoderJob("mine", "tinted", 6, 0, True, 4, 64, "common", "LAPTOP", {})
    assert {job.folder for job in (scan, mean)} == {Path("runs/mine/prior/one"), Path("runs/mine/prior/mean")}
    with pytest.raises(ValueError, match="'sphere' is not made by a job"):
        plan.prior_job("sphere")


def test_an_average_waits_for_what_it_is_of_which_is_made_even_if_no_method_starts_from_it(tmp_path: Path) -> None:
    plan = study.read(written(tmp_path, FULL))
    assert plan.trained_priors() == ["one", "three", "two", "mean", "heads", "tinted"]
    assert plan.before(plan.prior_job("mean")) == [Path(f"runs/mine/prior/{name}/record.json") for name in ("one", "two")]
    assert plan.before(plan.prior_job("heads")) == []
    records = plan.before(fits_of(tmp_path)["ben.average.mean.v4.s0"])
    assert records == [Path("runs/mine/data/synthetic.ben.json"), Path("runs/mine/prior/mean/record.json")]


def test_only_scans_are_subjects_and_all_are_seen_in_the_light_of_the_data(tmp_path: Path) -> None:
    jobs = study.read(written(tmp_path, FULL)).data_jobs()
    assert [job.subject for job in jobs] == ["eve", "gil", "fay", "ada", "ben"]
    assert {job.light for job in jobs} == {"common"}
    assert {job.light for job in study.read(written(tmp_path, GOOD)).data_jobs()} == {"varied"}


CHOICE = FULL + "choose: {of: [one, three]}\n"


def test_a_choice_is_made_for_every_subject_with_the_settings_of_its_fits_and_the_first_seed(tmp_path: Path) -> None:
    assert study.read(written(tmp_path, FULL)).choose_jobs() == []
    jobs = study.read(written(tmp_path, CHOICE)).choose_jobs()
    assert [job.name for job in jobs] == ["ada.v3.s0", "ben.v3.s0"]
    expected = study.ChooseJob(
        "mine", "synthetic", "runs/mine/data/synthetic", subject="ada", of=["one", "three"], views=3, held_out=True, share=0.2,
        seed=0, preset="SMOKE", carry={"three": ["geometry", "colour"]}, score=False, overrides={"rays": 64, "grid": 16},
    )  # fmt: skip
    assert jobs[0] == expected
    text = CHOICE.replace("of: [one, three]", "of: [one, two], share: 1, views: 8, held_out: false").replace(
        "seed: 1,", "seed: 1, size: 64,"
    )
    text = text.replace("8: {overrides", "8: {seeds: [7, 0], overrides")
    (job, _) = study.read(written(tmp_path, text)).choose_jobs()
    assert (job.of, job.share, job.views, job.held_out, job.seed, job.carry) == (["one", "two"], 1.0, 8, False, 7, {})
    assert job.overrides == {"rays": 96, "grid": 16, "epochs": 7}
    text = CHOICE.replace("epochs: 5, carry", "epochs: 5, schedule: shipped, carry").replace("eve,", "eve, schedule: shipped,")
    assert study.read(written(tmp_path, text)).choose_jobs()[0].schedule == "shipped"


def test_a_choice_waits_for_its_subject_and_its_priors_which_are_made_even_if_no_method_starts_from_them(tmp_path: Path) -> None:
    text = GOOD.replace("[single, other]", "single").replace("schedule: shipped, ", "") + "choose: {of: [other, single]}\n"
    plan = study.read(written(tmp_path, text))
    assert plan.trained_priors() == ["single", "other"] and "other.ada" in [job.name for job in plan.data_jobs()]
    names = ("data/synthetic.ben", "prior/other/record", "prior/single/record")
    assert plan.before(plan.choose_jobs()[1]) == [Path(f"runs/mine/{name}.json") for name in names]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("{of: [one, three]}", "[one, three]", "choose: expected a table of of, share, views, held_out, not ['one', 'three']"),
        ("{of: [one, three]}", "{}", "choose: of is missing"),
        ("{of: [one, three]}", "{of: one}", "choose: of: expected a list of at least one entry, not 'one'"),
        ("{of: [one, three]}", "{of: [one]}", "choose: of: a choice takes two priors at least, not 'one' alone"),
        ("{of: [one, three]}", "{of: [one, one]}", "choose: of: 'one' stands twice"),
        ("{of: [one, three]}", "{of: [one, thre]}", "choose: of: 'thre' is not known; did you mean 'three'?"),
        ("{of: [one, three]}", "{of: [one, mean]}", "priors of kind scan are tried, but 'mean' is of kind average"),
        ("{of: [one, three]}", "{of: [one, sphere]}", "priors of kind scan are tried, but 'sphere' is of kind sphere"),
        ("[one, three]}", "[one, three], share: 0}", "choose: share: expected a number above 0 and at most 1, not 0"),
        ("[one, three]}", "[one, three], share: 20%}", "choose: share: expected a number above 0 and at most 1, not '20%'"),
        ("[one, three]}", "[one, three], views: 5}", "choose: views: 5 is none of the study's (3, 4, 8)"),
        ("[one, three]}", "[one, three], held_out: 3}", "choose: held_out: expected true or false, not 3"),
        ("[one, three]}", "[one, three], heldout: true}", "choose: 'heldout' is not known; did you mean 'held_out'?"),
        ("gil,", "gil, schedule: shipped,", "choose: of: 'one' and 'three' have different schedules"),
    ],
)
def test_what_is_wrong_with_a_choice_is_said(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        study.read(changed(tmp_path, old, new, CHOICE))
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


def test_from_one_photograph_nothing_can_be_held_out(tmp_path: Path) -> None:
    text = CHOICE.replace("4: {},", "4: {}, 1: {},").replace("[one, three]}", "[one, three], views: 1, held_out: false}")
    assert [job.views for job in study.read(written(tmp_path, text)).choose_jobs()] == [1, 1]
    with pytest.raises(ValueError, match="choose: views: holding out a photograph takes two at least, not 1"):
        study.read(written(tmp_path, text.replace("held_out: false", "held_out: true")))


def test_a_choice_that_failed_is_named_and_done_again_and_one_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = study.read(written(tmp_path, CHOICE))
    for job in map(plan.score_job, plan.fit_jobs()):
        runs.write_record(job.record, runs.Record("04_evaluate"))
    ada, ben = plan.choose_jobs()
    runs.write_record(ada.record, runs.Record("08_choose", "failed", "no surface"))
    assert failures(plan) == [
        "failed: choose.ada.v3.s0: no surface",
        "not finished: choose.ben.v3.s0 (see runs/mine/notebooks)",
    ]
    assert to_do_again(plan) == [ada.record]
    runs.write_record(ada.record, runs.Record("08_choose"))
    runs.write_record(ben.record, runs.Record("08_choose", files=["gone.csv"]))
    assert failures(plan) == [] and to_do_again(plan) == [ben.record]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("4: {}", "0: {}", "views: expected a whole number, 1 or more, not 0"),
        ("4: {}", "four: {}", "views: expected a whole number, 1 or more, not 'four'"),
        ("4: {}", "4: ", "views: 4: expected a table of seeds, overrides, not None"),
        ("4: {}", "4: {seed: [0]}", "views: 4: 'seed' is not known; did you mean 'seeds'?"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "views: 3: seeds: 0 stands twice"),
        ("{3: {seeds: [0, 1]}, 4: {}, 8: {overrides: {rays: 96, epochs: 7}}}", "{}", "views: expected a list of at least one"),
        ("seed: 1, light: common", "light: comon", "data: light: 'comon' is not known; did you mean 'common'?"),
        ("of: [one, two]", "of: [one, tow]", "priors: mean: of: 'tow' is not known; did you mean 'two'?"),
        ("of: [one, two]", "of: [one, heads]", "of: an average takes priors of kind scan, but 'heads' is of kind autodecoder"),
        ("of: [one, two]", "of: [one, one]", "priors: mean: of: 'one' stands twice"),
        ("of: [one, two]", "of: [one]", "priors: mean: of: an average takes two priors at least, not 'one' alone"),
        ("of: [one, two], ", "", "priors: mean: of is missing"),
        ("steps: 50", "how: median", "priors: mean: how: 'median' is not known"),
        ("steps: 50", "overrides: {}", "priors: mean: 'overrides' is not known"),
        ("subject: fay", "subject: ada", "priors: two: subject 'ada' is a test subject too; a prior has to be somebody else"),
        ("heads: 9, ", "", "priors: heads: heads is missing"),
        ("heads: 9", "heads: 0", "priors: heads: heads: expected a whole number, 1 or more, not 0"),
        ("heads: 9", "heads: 9, subject: eve", "priors: heads: 'subject' is not known"),
        ("colour: true", "colour: red", "priors: tinted: colour: expected true or false, not 'red'"),
        ("photographs: 4", "photographs: 0", "priors: tinted: photographs: expected a whole number, 1 or more, not 0"),
        ("64, light: common", "64, light: commn", "priors: tinted: light: 'commn' is not known; did you mean 'common'?"),
        ("preset: LAPTOP", "preset: LAPTP", "priors: tinted: preset: 'LAPTP' is not known; did you mean 'LAPTOP'?"),
        ("{prior: heads,", "{prior: tinted,", "methods: h3dnet: 'tinted' learns colours (colour: true); it is for h3dnet+colour"),
        ("{prior: tinted,", "{prior: heads,", "h3dnet+colour: 'heads' does not learn colours (colour: false); it is for h3dnet"),
        ("average: {prior: mean}", "average: {prior: one}", "it starts from a prior of kind average, but 'one' is of kind scan"),
        ("views: [3, 4]", "views: [3, 5]", "methods: h3dnet: views: 5 is none of the study's (3, 4, 8)"),
        ("seeds: [5]", "seeds: [5], subjects: [bem]", "methods: baseh3d: subjects: 'bem' is not known; did you mean 'ben'?"),
        ("seeds: [5]", "seeds: [5], subjects: ben", "baseh3d: subjects: expected a list of at least one entry, not 'ben'"),
        ("seeds: [5]", "seeds: [5], subjects: []", "baseh3d: subjects: expected a list of at least one entry, not []"),
        ("seeds: [5]", "seeds: [5], subjects: [ben, ben]", "methods: baseh3d: subjects: 'ben' stands twice"),
        ("seeds: [5]", "seeds: [5], subjects: [3]", "methods: baseh3d: subjects: 3 is not known"),
        ("seeds: [5]", "seeds: [-5]", "methods: baseh3d: seeds: expected a whole number, 0 or more, not -5"),
        ("idr: {prior: sphere}", "idr: {prior: sphere, carry: [geometry]}", "idr: carry: a sphere has nothing to carry over"),
        ("[moments, geometry]", "[moments, geometri]", "methods: baseh3d: carry: 'geometri' is not known"),
        ("average: {prior: mean}", "average: []", "methods: average: expected a list of at least one entry, not []"),
        (
            "seeds: [5], carry: [moments, geometry]",
            "seeds: [1]",
            "methods: baseh3d: two entries ask for the same run, ada.baseh3d.one.v3.s1",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_views_priors_and_entries_is_said_too(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = changed(tmp_path, old, new, FULL)
    with pytest.raises(ValueError) as raised:
        study.read(path)
    assert sentence in str(raised.value)
    assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)


# ---- the plan, printed


def test_a_dry_run_counts_the_jobs_of_each_stage_and_names_each_kind_of_fit_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = study.read(written(tmp_path, FULL))
    runs.write_record(plan.data_jobs()[0].record, runs.Record("01_data"))
    runs.write_record(plan.data_jobs()[1].record, runs.Record("01_data", "failed", "no light"))
    assert show_study(Path("mine.yaml")) == 0
    lines = capsys.readouterr().out.splitlines()
    counts = {line.split()[0]: line.split()[1:] for line in lines if re.match(r"\d\d_", line)}
    fits = len(plan.fit_jobs())
    assert counts == {
        "01_data": ["5", "1"],
        "02_prior": ["3", "0"],
        "03_reconstruct": [str(fits), "0"],
        "04_evaluate": [str(fits), "0"],
        "05_results": ["1", "0"],
        "06_autodecoder": ["2", "0"],
        "07_average": ["1", "0"],
    }
    said = [" ".join(line.split()) for line in lines]
    assert f"{fits} fits, {fits // 2} of each subject:" in said and not any(
        line.endswith((" of ada", " of ben")) for line in said
    )
    assert said[-7:] == [
        "idr from sphere views 3 (seed 0, 1), 4 (seed 0), 8 (seed 0)",
        "baseh3d from one views 3 (seed 0, 1), 4 (seed 0), 8 (seed 0)",
        "baseh3d from one, only its geometry and moments views 3 (seed 5)",
        "baseh3d from three, only its geometry and moments views 3 (seed 5)",
        "average from mean views 3 (seed 0, 1), 4 (seed 0), 8 (seed 0)",
        "h3dnet from heads views 3 (seed 0, 1), 4 (seed 0)",
        "h3dnet+colour from tinted views 3 (seed 2, 3)",
    ]
    written(tmp_path, FULL.replace("seeds: [5],", "seeds: [5], subjects: [ben],"))
    assert show_study(Path("mine.yaml")) == 0
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"{fits - 2} fits, {fits // 2 - 2} to {fits // 2} of each subject:" in said
    assert said[-1] == "baseh3d from three, only its geometry and moments views 3 (seed 5) of ben"


def test_the_status_counts_what_is_done_running_failed_and_missing_and_estimates_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = study.read(written(tmp_path, GOOD))
    done, failed, gone, running, *missing = plan.data_jobs()
    assert not missing

    def executed(job: study.DataJob, duration: float | None, seconds_ago: float = 0) -> None:
        start = (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()
        path = tmp_path / f"runs/mine/notebooks/01_data.{job.name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"metadata": {"papermill": {"duration": duration, "start_time": start}}}), encoding="utf-8")

    runs.write_record(done.record, runs.Record("01_data"))
    runs.write_record(failed.record, runs.Record("01_data", "failed", "no light"))
    runs.write_record(gone.record, runs.Record("01_data", files=["runs/mine/nowhere.png"]))
    executed(done, 600.0)
    executed(running, None, seconds_ago=120)

    def said() -> list[str]:
        return [" ".join(line.split()) for line in status.text(plan, 2).splitlines()]

    lines = said()
    assert lines[0] == "stage done running failed missing s each" and lines[1] == "01_data 1 0 2 1 600"  # nobody holds the lock
    assert "02_prior 0 0 0 2" in lines and "05_results 0 0 0 1" in lines
    rest = "02_prior, 03_reconstruct, 04_evaluate, 05_results, of which none has ended yet"
    assert f"left: about 15 minutes with 2 side by side, and {rest}" in lines
    assert f"failed: 01_data {failed.name}: no light" in lines
    assert f"failed: 01_data {gone.name}: runs/mine/nowhere.png has gone" in lines
    others = [("another.yaml", 300), (plan.path, 60)]  # that of another study, and one begun after the job was interrupted
    for name, seconds_ago in (*others, (plan.path, 300)):
        with open("runs/.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(f"{name}, process 7 on here since then ({time.time_ns() - seconds_ago * 10**9})\n")
            lock.flush()
            lines = said()
        assert lines[1] == ("01_data 1 1 2 0 600" if (name, seconds_ago) == (plan.path, 300) else "01_data 1 0 2 1 600")
    assert f"left: about 14 minutes with 2 side by side, and {rest}" in lines
    assert any(re.fullmatch(rf"running: 01_data.{re.escape(running.name)}, for 12\d s", line) for line in lines)


def test_a_record_counts_only_for_the_parameters_it_was_made_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = study.read(written(tmp_path, GOOD.replace("rays: 64", "rays: 64, step_size: 0.00001")))
    same, other, *_ = plan.fit_jobs()
    used = {name: parsed(name, json.dumps(value)) for name, value in asdict(same).items()}  # as on the command line of its job
    runs.write_record(same.record, runs.Record("03_reconstruct", parameters=used))
    runs.write_record(plan.score_job(same).record, runs.Record("04_evaluate", parameters=used))
    runs.write_record(other.record, runs.Record("03_reconstruct", parameters=asdict(replace(other, overrides={"rays": 65}))))
    states = {(job.stage, job.name): job.state for job in status.of(plan)}
    assert (states["03_reconstruct", same.name], states["04_evaluate", same.name]) == ("done", "done")
    assert states["03_reconstruct", other.name] == "missing" and to_do_again(plan) == [other.record]


def test_what_was_half_written_is_swept_away_before_a_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = study.read(written(tmp_path, GOOD))
    kept = [tmp_path / "runs/mine/fit/a/record.json", tmp_path / "runs/other/.a.json.7.part", tmp_path / "results/mine.csv"]
    gone = [
        tmp_path / "runs/mine/fit/a/.record.json.7.part",
        tmp_path / "runs/mine/data/synthetic/.ada.x1.part/image/img_0000.jpg",
        tmp_path / "runs/mine/data/synthetic/.ada.7.old/image/img_0000.jpg",
        tmp_path / "runs/mine/fit/a/mesh.ply.part",
        tmp_path / "results/.mine.csv.7.part",
        tmp_path / "figures/mine/.losses.png.7.part",
    ]
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    sweep(plan)
    assert [path.exists() for path in (*kept, *gone)] == [True] * len(kept) + [False] * len(gone)


def test_the_report_is_one_page_with_all_runs_and_what_is_wrong_and_takes_no_markup_from_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = study.read(written(tmp_path, GOOD))
    fit = plan.fit_jobs()[0]
    scores = dict(zip(runs.METRICS, (1.234, 2.0, 1.0, 2.5), strict=True))
    runs.write_record(plan.score_job(fit).record, runs.Record("04_evaluate", scores=scores))
    runs.write_record(plan.data_jobs()[0].record, runs.Record("01_data", "failed", "<script>alert(1)</script>"))
    page = status.report(plan, 2)
    assert page == Path("runs", "mine", "report.html")
    text = page.read_text(encoding="utf-8")
    assert "1.23" in text and text.count('<tr class="missing">') == len(plan.fit_jobs()) - 1
    assert "<script" not in text and "&lt;script&gt;alert(1)" in text
    assert not re.search(r"(src|href)=\"(https?:)?//", text)


def test_a_dry_run_says_among_what_is_chosen_and_by_which_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, CHOICE)
    show_study(Path("mine.yaml"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith("08_")] == [["08_choose", "2", "0"]]
    said = "a choice for each subject among one, three: trials of 0.2 of a fit, the last of 3 photographs held out (seed 0)"
    assert lines[-1] == said
    written(tmp_path, CHOICE.replace("of: [one, three]", "of: [one, three], held_out: false, views: 4"))
    show_study(Path("mine.yaml"))
    assert "0.2 of a fit, judged by the 4 photographs used (seed 0)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("{rays: 64, grid: 16}", "{ray: 64}", "mine.yaml: overrides: 'ray' is not known; did you mean 'rays'?"),
        ("{rays: 96, epochs: 7}", "{rays: 0}", "mine.yaml: views: 8: rays must be positive, not 0"),
        ("{epochs: 9}", "{epochs: many}", "mine.yaml: methods: baseh3d: epochs: expected a whole number, not 'many'"),
        ("gil, epochs: 5,", "gil, overrides: {epoch: 5},", "mine.yaml: priors: three: overrides: 'epoch' is not known"),
        ("{steps: 20}", "{rays: 20}", "mine.yaml: priors: heads: overrides: 'rays' is not known"),
    ],
)
def test_a_dry_run_tries_every_override_on_the_config_that_it_is_for(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = changed(tmp_path, old, new, FULL)
    with pytest.raises(ValueError) as raised:
        show_study(path)
    assert sentence in str(raised.value)


# ---- what is wrong


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("data: {kind: synthetic, seed: 1}\n", "", "data is missing"),
        ("preset: SMOKE", "preset: smoke", "preset: 'smoke' is not known"),
        ("preset: SMOKE", "presets: SMOKE", "did you mean 'preset'?"),
        (
            "  idr:",
            "  idrr:",
            "methods: 'idrr' is not known; did you mean 'idr'? (known: average, baseh3d, h3dnet, h3dnet+colour, idr)",
        ),
        ("views: [3, 4]", "views: abc", "views: expected a list of at least one entry, not 'abc'"),
        ("views: [3, 4]", "views: [3, abc]", "views: expected a whole number, 1 or more, not 'abc'"),
        ("views: [3, 4]", "views: [3, 0]", "views: expected a whole number, 1 or more, not 0"),
        ("views: [3, 4]", "views: [3, true]", "views: expected a whole number, 1 or more, not True"),
        ("views: [3, 4]", "views: []", "views: expected a list of at least one entry, not []"),
        ("views: [3, 4]", "views: [3, 3]", "views: 3 stands twice"),
        ("seeds: [0, 1]", "seeds: [-1]", "seeds: expected a whole number, 0 or more, not -1"),
        ("subjects: [ada, ben]", "subjects: [ada, ada]", "subjects: 'ada' stands twice"),
        ("subjects: [ada, ben]", "subjects: [../ada]", "subjects: '../ada' is no name"),
        ("subjects: [ada, ben]", "subjects: [a/b]", "subjects: 'a/b' is no name"),
        ("subjects: [ada, ben]", "subjects: [..]", "subjects: '..' is no name"),
        ("subjects: [ada, ben]", "subjects: [12]", "subjects: 12 is no name (letters, digits, - and _); put it in quotes"),
        ("subject: eve", "subject: ada", "priors: single: subject 'ada' is a test subject too"),
        ("subject: eve, ", "", "priors: single: subject is missing"),
        ("  single: {kind: scan", "  single: {kind: mean", "priors: single: kind: 'mean' is not known"),
        ("  single: {kind: scan, subject: eve,", "  single: {kind: sphere,", "the prior of kind sphere is called sphere"),
        ("epochs: 500", "epochs: many", "priors: single: epochs: expected a whole number, 0 or more, not 'many'"),
        ("epochs: 500", "epoch: 500", "priors: single: 'epoch' is not known; did you mean 'epochs'?"),
        ("schedule: shipped", "schedule: shiped", "priors: single: schedule: 'shiped' is not known; did you mean 'shipped'?"),
        ("[geometry, moments]", "[geometri]", "priors: single: carry: 'geometri' is not known; did you mean 'geometry'?"),
        ("prior: sphere", "prior: single", "methods: idr: it starts from a prior of kind sphere, but 'single' is of kind scan"),
        ("[single, other]", "[singel]", "methods: baseh3d: prior: 'singel' is not known; did you mean 'single'?"),
        ("{kind: synthetic, seed: 1}", "{kind: anny}", "data: kind: 'anny' is not known; (known: h3ds, synthetic)"),
        ("{kind: synthetic, seed: 1}", "{kind: h3ds}", "data: root is missing"),
        ("{kind: synthetic, seed: 1}", "{kind: synthetic, size: 8}", "data: size: expected a whole number, 16 or more, not 8"),
        ("{kind: synthetic, seed: 1}", "{kind: synthetic, root: x}", "data: 'root' is not known"),
        ("{kind: synthetic, seed: 1}", "{kind: h3ds, root: x, pictures: 1}", "data: pictures: expected true or false, not 1"),
        ("data: {kind: synthetic, seed: 1}\n", "data: synthetic\n", "data: expected a table, not 'synthetic'"),
        ("overrides: {rays: 64, epochs: 5}", "overrides: 5", "overrides: expected a table, not 5"),
        ("preset: SMOKE", "preset: SMOKE\npreset: PAPER", "not valid YAML: 'preset' stands twice"),
        ("preset: SMOKE", "preset: [SMOKE", "not valid YAML"),
        ("preset: SMOKE", "preset: SMOKE\n1: x", "the key 1 is not text"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_that_names_the_file(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = changed(tmp_path, old, new)
    with pytest.raises(ValueError) as raised:
        study.read(path)
    assert sentence in str(raised.value)
    assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "3", "[1, 2]", "a: b", "\0", "!!python/object/apply:os.system [ls]", "&a [*a]", "? {a: 1}\n: 2"]
)
def test_a_file_that_is_no_study_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"mine\.yaml: "):
        study.read(written(tmp_path, text))


def test_a_missing_study_names_those_that_are_there(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    with pytest.raises(FileNotFoundError, match=r"quik\.yaml: there is no such study; .* has .*mine\.yaml"):
        study.read(tmp_path / "quik.yaml")


def test_people_of_somebody_elses_set_are_drawn_only_where_the_study_says_so(tmp_path: Path) -> None:
    for given, shown in (("", False), (", pictures: true", True)):
        path = changed(tmp_path, "data: {kind: synthetic, seed: 1}\n", f"data: {{kind: h3ds, root: /photos{given}}}\n")
        assert study.read(path).table_job() == study.TableJob(str(path), save=True, pictures=shown)


def test_a_job_refuses_names_that_leave_its_folder() -> None:
    for name in ("../x", "a/b", "", "a.b"):
        with pytest.raises(ValueError, match=r"subject: .* is no name"):
            study.FitJob(subject=name)


def test_the_words_a_study_knows_are_those_of_the_library() -> None:
    assert set(study.PRESETS) == set(idr.PRESETS) == set(autodecoder.PRESETS)
    assert set(study.METHODS.values()) == set(study.PRIOR_KINDS)
    assert study.SCHEDULES == idr.SCHEDULES
    assert study.PARTS == priors.PARTS


def test_a_name_says_what_is_carried_over_where_that_is_not_all() -> None:
    fit = study.FitJob(subject="ada", method="h3dnet+colour", prior="heads", carry=["colour", "geometry"])
    assert fit.name == "ada.h3dnet+colour.heads.v3.s0.geometry+colour"
    assert replace(fit, carry=["moments", "colour", "geometry"]).name == "ada.h3dnet+colour.heads.v3.s0"
    assert replace(fit, carry=["geometry"]).name == "ada.h3dnet+colour.heads.v3.s0.geometry"


@pytest.mark.parametrize(
    ("job", "changes", "sentence"),
    [
        (study.AutodecoderJob, {"heads": 0}, "heads: expected a whole number, 1 or more, not 0"),
        (study.AutodecoderJob, {"prior": "a/b"}, "prior: 'a/b' is no name"),
        (study.AverageJob, {"how": "median"}, "how: 'median' is not known"),
        (study.AverageJob, {"of": ["../one"]}, "of: '../one' is no name"),
        (study.DataJob, {"light": "dark"}, "light: 'dark' is not known"),
        (study.ScoreJob, {"carry": ["hair"]}, "carry: 'hair' is not known"),
        (study.ChooseJob, {"carry": {"one": ["geometry"]}}, "carry: 'one' is not known"),
        (study.ChooseJob, {"of": ["one"], "carry": {"one": ["hair"]}}, "carry: one: 'hair' is not known"),
        (study.ChooseJob, {"share": 1.5}, "share: expected a number above 0 and at most 1, not 1.5"),
        (study.ChooseJob, {"schedule": "slow"}, "schedule: 'slow' is not known"),
    ],
)
def test_a_job_that_cannot_be_done_is_refused(job: type, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        job(**changes)


def test_a_score_has_only_parameters_that_its_fit_has() -> None:
    assert {f.name for f in fields(study.ScoreJob)} <= {f.name for f in fields(study.FitJob)}


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_the_committed_studies_are_sound(path: Path) -> None:
    assert study.read(path).fit_jobs()


def test_the_default_study_is_one_prior_and_four_others_in_three_views_by_both_methods() -> None:
    plan = study.read(ROOT / "config" / "quick.yaml")
    assert len(plan.trained_priors()) == 1 and len(plan.subjects) == 4 and plan.views == (3,)
    assert [(method.name, method.priors) for method in plan.methods] == [("idr", ("sphere",)), ("baseh3d", ("single",))]


def test_the_full_study_is_ten_others_in_five_numbers_of_views_and_nine_single_priors_at_three() -> None:
    plan = study.read(ROOT / "config" / "synthetic.yaml")
    assert (len(plan.subjects), plan.views) == (10, (3, 4, 8, 16, 32))
    scans = [prior for prior in plan.priors.values() if isinstance(prior, study.ScanPrior)]
    assert sorted((p.subject, p.epochs) for p in scans) == sorted(
        (s, e) for s in ("nora", "omar", "pia") for e in (500, 1000, 2000)
    )
    fits = [fit for fit in plan.fit_jobs() if fit.subject == "anna"]
    assert {fit.prior for fit in fits if (fit.method, fit.views) == ("baseh3d", 3)} == {prior.name for prior in scans}
    choices = plan.choose_jobs()
    assert [job.subject for job in choices] == list(plan.subjects) and all(job.held_out for job in choices)
    assert {(*job.of, job.views, job.seed) for job in choices} == {("one-500", "two-500", "three-500", 3, 0)}
    assert choices[0].overrides == fits[0].overrides and choices[0].preset == fits[0].preset
    for method in ("idr", "baseh3d", "average", "h3dnet"):
        asked = {(fit.views, fit.seed) for fit in fits if fit.method == method}
        assert asked == {(3, 0), (3, 1), (4, 0), (8, 0), (16, 0), (32, 0)}


def test_what_a_prior_carries_is_asked_in_the_same_way_in_both_lights() -> None:
    varied, common = (study.read(ROOT / "config" / f"{name}.yaml") for name in ("synthetic", "carry_common"))
    own, same = ({fit.name: fit for fit in plan.fit_jobs()} for plan in (varied, common))
    assert set(same) < set(own) and all(fit.overrides == own[name].overrides for name, fit in same.items())
    averaged = {f"{subject}.average.mean.v3.s0.geometry" for subject in common.subjects}
    ways = ["idr.sphere.v3.s0"]
    ways += [f"baseh3d.one-500.v3.s0{carry}" for carry in ("", ".geometry+colour", ".geometry", ".colour")]
    ways += [f"h3dnet+colour.heads-colour.v3.s0.{carry}" for carry in ("geometry+colour", "geometry")]
    assert set(same) == {f"{subject}.{way}" for subject in common.subjects for way in ways}
    assert averaged < set(own)
    rest = [fit for fit in own.values() if fit.subject not in common.subjects]
    assert {(fit.method, *fit.carry) for fit in rest if fit.method != "idr"} == {
        ("baseh3d", "geometry", "colour", "moments"), ("average", "geometry", "colour"),
        ("h3dnet", "geometry"), ("h3dnet+colour", "geometry", "colour"),
    }  # fmt: skip
    assert [{job.light for job in plan.data_jobs()} for plan in (varied, common)] == [{"varied"}, {"common"}]
    assert [plan.prior_job("heads-colour").light for plan in (varied, common)] == ["varied", "common"]


def test_the_fits_with_either_tracing_differ_from_the_full_study_in_the_tracing_alone() -> None:
    full = study.read(ROOT / "config" / "synthetic.yaml")
    fast = {fit.name: fit for fit in full.fit_jobs()}
    for name, tracer in {"tracing": "published", "tracing_cached": "cached"}.items():
        traced = study.read(ROOT / "config" / f"{name}.yaml")
        assert len(traced.fit_jobs()) == 20
        for fit in traced.fit_jobs():
            other = replace(fast[fit.name], study=name, root=fit.root)
            assert fit == replace(other, overrides=other.overrides | {"tracer": tracer})
        assert traced.prior_job("one-500") == replace(full.prior_job("one-500"), study=name, root=traced.root("synthetic"))


def test_the_study_of_h3ds_is_on_its_official_ten_at_the_published_sizes() -> None:
    plan = study.read(ROOT / "config" / "h3ds.yaml")
    ten = {  # tagged h3d-net in its TOML
        "1b2a8613401e42a8", "3b5a2eb92a501d54", "444ea0dc5e85ee0b", "5ae021f2805c0854", "5cd49557ea450c89",
        "609cc60fd416e187", "7dd427509fe84baa", "868765907f66fd85", "e98bae39fad2244e", "f7e930d8a9ff2091",
    }  # fmt: skip
    assert set(plan.subjects) == ten and plan.preset == "PAPER"
    assert [(job.kind, job.root, job.config) for job in plan.data_jobs()] == [("h3ds", "data/h3ds", "v2")] * 13
    assert {job.subject for job in plan.data_jobs()} - ten == {"168f8ca5c2dce5bc", "1141a3328d7e9c4e", "3219815d5a1e7be3"}
    asked = study.read(ROOT / "config" / "synthetic.yaml")
    assert [views.count for views in plan.view_sets] == [views.count for views in asked.view_sets]
    assert {method.name for method in plan.methods} == {method.name for method in asked.methods} - {"h3dnet+colour"}


def test_reading_a_study_imports_nothing_heavy() -> None:
    code = "import sys, heads.study.plan; print([m for m in ('torch', 'numpy', 'pandas', 'papermill') if m in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
