"""A study's YAML: what it asks for, and the sentence for everything that is wrong with one."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from heads import idr, priors, study

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


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(folder: Path, old: str, new: str) -> Path:
    assert GOOD.count(old) == 1, old
    return written(folder, GOOD.replace(old, new))


def test_a_study_asks_for_every_combination_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    jobs = study.read(written(tmp_path, GOOD)).fit_jobs()
    assert len(jobs) == len({job.name for job in jobs}) == 2 * 2 * 3 * 2
    assert [job.name for job in jobs[:3]] == ["ada.idr.sphere.v3.s0", "ada.idr.sphere.v3.s1", "ada.baseh3d.single.v3.s0"]
    assert [job.subject for job in jobs] == ["ada"] * 12 + ["ben"] * 12


def test_a_fit_gets_its_methods_overrides_over_the_studys_and_its_priors_schedule_and_parts(tmp_path: Path) -> None:
    jobs = {job.name: job for job in study.read(written(tmp_path, GOOD)).fit_jobs()}
    assert jobs["ada.idr.sphere.v3.s0"].overrides == {"rays": 64, "epochs": 9}
    single = jobs["ada.baseh3d.single.v4.s1"]
    assert (single.overrides, single.schedule, single.carry) == ({"rays": 64, "epochs": 5}, "shipped", ["geometry", "moments"])


def test_a_fit_waits_for_its_subject_and_its_prior_and_a_score_for_its_fit(tmp_path: Path) -> None:
    plan = study.read(written(tmp_path, GOOD))
    jobs = {job.name: job for job in plan.fit_jobs()}
    data = Path("runs/mine/data/synthetic.ben.json")
    assert plan.before(jobs["ben.idr.sphere.v3.s0"]) == [data]
    assert plan.before(jobs["ben.baseh3d.single.v3.s0"]) == [data, Path("runs/mine/prior/single/record.json")]
    assert plan.before(plan.prior_job("single")) == [Path("runs/mine/data/synthetic.eve.json")]
    score = plan.score_job(jobs["ben.baseh3d.single.v3.s0"])
    assert plan.before(score) == [Path("runs/mine/fit/ben.baseh3d.single.v3.s0/fit.json")]
    assert score.record == Path("runs/mine/fit/ben.baseh3d.single.v3.s0/record.json")


def test_a_prior_from_other_data_has_a_folder_of_its_own_and_equal_data_share_one(tmp_path: Path) -> None:
    plan = study.read(written(tmp_path, GOOD))
    assert plan.prior_job("single").root == plan.fit_jobs()[0].root == "runs/mine/data/synthetic"
    assert plan.prior_job("other").root == "runs/mine/data/other"
    same = study.read(changed(tmp_path, "{kind: synthetic, seed: 2}", "{kind: synthetic, seed: 2, size: 256}"))
    assert list(same.datasets) == ["synthetic", "other"]
    mine = study.read(changed(tmp_path, "data: {kind: synthetic, seed: 1}\n", "data: {kind: h3ds, root: /photos}\n"))
    assert mine.data_job("h3ds", "ada").root == "/photos"
    assert mine.prior_job("other").root == "runs/mine/data/synthetic"


def test_every_subject_is_made_once(tmp_path: Path) -> None:
    names = [job.name for job in study.read(written(tmp_path, GOOD)).data_jobs()]
    assert names == ["synthetic.eve", "other.ada", "synthetic.ada", "synthetic.ben"]
    shared = study.read(changed(tmp_path, "subject: ada, data: {kind: synthetic, seed: 2}", "subject: eve"))
    assert [job.name for job in shared.data_jobs()] == ["synthetic.eve", "synthetic.ada", "synthetic.ben"]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("data: {kind: synthetic, seed: 1}\n", "", "data is missing"),
        ("preset: SMOKE", "preset: smoke", "preset: 'smoke' is not known"),
        ("preset: SMOKE", "presets: SMOKE", "did you mean 'preset'?"),
        ("  idr:", "  idrr:", "methods: 'idrr' is not known; did you mean 'idr'? (known: baseh3d, idr)"),
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


def test_a_job_refuses_names_that_leave_its_folder() -> None:
    for name in ("../x", "a/b", "", "a.b"):
        with pytest.raises(ValueError, match=r"subject: .* is no name"):
            study.FitJob(subject=name)


def test_the_words_a_study_knows_are_those_of_the_library() -> None:
    assert set(study.PRESETS) == set(idr.PRESETS)
    assert study.SCHEDULES == idr.SCHEDULES
    assert study.PARTS == priors.PARTS


def test_a_score_has_only_parameters_that_its_fit_has() -> None:
    assert {f.name for f in fields(study.ScoreJob)} <= {f.name for f in fields(study.FitJob)}


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_the_committed_studies_are_sound(path: Path) -> None:
    assert study.read(path).fit_jobs()


def test_the_default_study_is_one_prior_and_four_others_in_three_views_by_both_methods() -> None:
    plan = study.read(ROOT / "config" / "quick.yaml")
    assert len(plan.trained_priors()) == 1 and len(plan.subjects) == 4 and plan.views == (3,)
    assert [(method.name, method.priors) for method in plan.methods] == [("idr", ("sphere",)), ("baseh3d", ("single",))]


def test_reading_a_study_imports_nothing_heavy() -> None:
    code = "import sys, heads.study; print([m for m in ('torch', 'numpy', 'pandas', 'papermill') if m in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
