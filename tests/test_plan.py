"""A study's YAML: the jobs that it asks for, and the sentence for everything that is wrong with one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from heads.methods import autodecoder, idr, priors
from heads.study import contract, plan
from heads.study.plan import Job

ROOT = Path(__file__).resolve().parents[1]
GOOD = """
data: {notebook: 01_data, seed: 1}
subjects: [ada, ben]
views: [3, 4]
seeds: [0, 1]
every: {preset: SMOKE, fit: {rays: 64, epochs: 5}}
priors:
  single: {notebook: 02_prior, subject: eve, epochs: 500}
  other: {notebook: 02_prior, subject: fay, seed: 4}
methods:
  idr: {notebook: 03_reconstruct, label: IDR, fit: {epochs: 9}}
  baseh3d: {notebook: 03_reconstruct, prior: [single, other], carry: [geometry, moments]}
"""
FULL = """
data:
  people: {notebook: 01_data, seed: 1, light: common}
  scans: {notebook: 01_data, kind: h3ds, root: ~/scans, scenes: v2}
subjects: [ada, ben]
views: {3: {seeds: [0, 1]}, 4: {}, 8: {fit: {rays: 96, epochs: 7}}}
every: {preset: SMOKE, fit: {rays: 64, grid: 16}}
priors:
  mean: {notebook: 07_average, priors: [one, two], steps: 50, seed: 3}
  one: {notebook: 02_prior, subject: eve, epochs: 5}
  two: {notebook: 02_prior, subject: fay, epochs: 5}
  three: {notebook: 02_prior, subject: ada, data: scans, views: 8}
  heads: {notebook: 06_autodecoder, heads: 9, seed: 4, training: {steps: 20}}
  tinted: {notebook: 06_autodecoder, heads: 6, colour: true, photographs: 4, size: 64, light: common, preset: LAPTOP}
methods:
  idr: {notebook: 03_reconstruct, label: IDR, phrase: a sphere, colour: 3}
  baseh3d:
    - {notebook: 03_reconstruct, label: BaseH3D-Net, against: [idr], prior: one, fit: {epochs: 9}}
    - {name: parts, prior: [one, three], views: [3], seeds: [5], carry: [moments, geometry]}
  average: {notebook: 03_reconstruct, prior: mean}
  h3dnet: {notebook: 03_reconstruct, prior: heads, views: [3, 4]}
  h3dnet+colour: {notebook: 03_reconstruct, prior: tinted, views: [3], seeds: [2, 3]}
"""
CHOICE = FULL + "choose: {notebook: 08_choose, priors: [one, three], views: [3], seeds: [0], score: false}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(folder: Path, old: str, new: str, text: str = GOOD) -> Path:
    assert text.count(old) == 1, old
    return written(folder, text.replace(old, new))


def jobs_of(folder: Path, text: str = FULL) -> dict[str, Job]:
    return plan.read(written(folder, text)).jobs


def names(jobs: dict[str, Job], stage: str) -> list[str]:
    return [name.removeprefix(f"{stage}/") for name in jobs if name.startswith(f"{stage}/")]


# ---- what it asks for


def test_a_study_asks_for_every_combination_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, GOOD)
    fits = names(jobs, "fit")
    assert len(fits) == len(set(fits)) == 2 * 2 * 3 * 2
    assert fits[:3] == ["ada.idr.v3.s0", "ada.idr.v3.s1", "ada.baseh3d.single.v3.s0"]
    assert [jobs[f"fit/{name}"].row["subject"] for name in fits] == ["ada"] * 12 + ["ben"] * 12
    assert names(jobs, "score") == fits
    assert jobs["fit/ada.baseh3d.single.v3.s0"].row == {
        "subject": "ada", "method": "baseh3d", "prior": "single", "name": "", "views": 3, "seed": 0,
    }  # fmt: skip


def test_an_entry_wins_over_the_views_and_these_over_every_and_tables_are_merged(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path)
    assert jobs["fit/ada.idr.v4.s0"].parameters["fit"] == {"rays": 64, "grid": 16}
    assert jobs["fit/ada.idr.v8.s0"].parameters["fit"] == {"rays": 96, "grid": 16, "epochs": 7}
    assert jobs["fit/ada.baseh3d.one.v8.s0"].parameters["fit"] == {"rays": 96, "grid": 16, "epochs": 9}
    few = jobs_of(tmp_path, GOOD)
    assert few["fit/ada.idr.v3.s0"].parameters["fit"] == {"rays": 64, "epochs": 9}
    assert few["fit/ben.baseh3d.single.v4.s1"].parameters == {
        "out": "runs/mine/fit/ben.baseh3d.single.v4.s1", "root": "runs/mine/people", "subject": "ben", "views": 4, "seed": 1,
        "prior": "runs/mine/prior/single", "preset": "SMOKE", "carry": ["geometry", "moments"], "fit": {"rays": 64, "epochs": 5},
    }  # fmt: skip


def test_a_fit_waits_for_its_subject_and_its_prior_and_a_score_for_its_fit(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, GOOD)
    assert jobs["fit/ben.idr.v3.s0"].after == ("data/people.ben",)
    assert jobs["fit/ben.baseh3d.single.v3.s0"].after == ("data/people.ben", "prior/single")
    assert jobs["prior/single"].after == ("data/people.eve",)
    score = jobs["score/ben.baseh3d.single.v3.s0"]
    assert score.after == ("fit/ben.baseh3d.single.v3.s0", "data/people.ben")
    assert score.parameters["head"] == "runs/mine/fit/ben.baseh3d.single.v3.s0" and score.parameters["label"] == "baseh3d"
    assert jobs["score/ben.idr.v3.s0"].parameters["label"] == "IDR"
    assert score.record == Path("runs/mine/score/ben.baseh3d.single.v3.s0/record.json")
    assert jobs["table"].after == tuple(name for name in jobs if name.startswith("score/"))
    order = list(jobs)
    assert all(order.index(before) < order.index(name) for name, job in jobs.items() for before in job.after)


def test_a_prior_may_have_data_of_its_own_in_a_folder_that_somebody_gives(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path)
    assert jobs["prior/one"].parameters["root"] == jobs["fit/ada.idr.v3.s0"].parameters["root"] == "runs/mine/people"
    three = jobs["prior/three"].parameters
    assert (three["root"], three["scenes"], three["views"]) == (str(Path("~/scans").expanduser()), "v2", 8)
    assert jobs["data/scans.ada"].looks and not jobs["data/people.ada"].looks


def test_every_person_is_made_once_those_of_priors_first_with_the_photographs_that_are_looked_at(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path)
    assert names(jobs, "data") == ["people.eve", "scans.ada", "people.fay", "people.ada", "people.ben"]
    assert [jobs[f"data/{name}"].parameters.get("views") for name in names(jobs, "data")] == [None, 8, None, None, None]
    assert {jobs[f"data/{name}"].parameters.get("light") for name in names(jobs, "data")} == {"common", None}
    shared = jobs_of(tmp_path, GOOD.replace("subject: fay", "subject: eve"))
    assert names(shared, "data") == ["people.eve", "people.ada", "people.ben"]


def test_a_number_of_views_may_have_seeds_of_its_own_and_an_entry_may_have_others(tmp_path: Path) -> None:
    fits = [name.removeprefix("ada.") for name in names(jobs_of(tmp_path), "fit") if name.startswith("ada.")]
    assert fits == [
        "idr.v3.s0", "idr.v3.s1",
        "baseh3d.one.v3.s0", "baseh3d.one.v3.s1",
        "baseh3d.one.parts.v3.s5", "baseh3d.three.parts.v3.s5",
        "average.mean.v3.s0", "average.mean.v3.s1",
        "h3dnet.heads.v3.s0", "h3dnet.heads.v3.s1",
        "h3dnet+colour.tinted.v3.s2", "h3dnet+colour.tinted.v3.s3",
        "idr.v4.s0", "baseh3d.one.v4.s0", "average.mean.v4.s0", "h3dnet.heads.v4.s0",
        "idr.v8.s0", "baseh3d.one.v8.s0", "average.mean.v8.s0",
    ]  # fmt: skip


def test_a_later_entry_starts_from_the_first_one_of_its_method(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path)
    parts = jobs["fit/ben.baseh3d.one.parts.v3.s5"]
    assert parts.notebook == "03_reconstruct" and parts.row["name"] == "parts"
    assert parts.parameters["carry"] == ["moments", "geometry"] and parts.parameters["fit"]["epochs"] == 9


def test_an_entry_may_be_for_some_of_the_subjects(tmp_path: Path) -> None:
    text = FULL.replace("views: [3], seeds: [5],", "views: [3], seeds: [5], subjects: [ben],")
    every, some = names(jobs_of(tmp_path), "fit"), names(jobs_of(tmp_path, text), "fit")
    assert some == [name for name in every if name not in [f"ada.baseh3d.{prior}.parts.v3.s5" for prior in ("one", "three")]]


def test_a_list_where_a_notebook_takes_one_value_is_a_sweep_and_varies_in_the_table(tmp_path: Path) -> None:
    text = GOOD.replace("label: IDR,", "label: IDR, preset: [LAPTOP, SMOKE],")
    jobs = jobs_of(tmp_path, text)
    assert "ada.idr.preset-LAPTOP.v3.s0" in names(jobs, "fit") and "ada.idr.preset-SMOKE.v3.s0" in names(jobs, "fit")
    fit = jobs["fit/ada.idr.preset-LAPTOP.v3.s0"]
    assert fit.row["preset"] == fit.parameters["preset"] == "LAPTOP"


DISTURBED = """
data:
  none: {notebook: 01_data, seed: 1}
  noise: {notebook: 01_data, seed: 1, capture: field, only: [noise]}
  noise2: {notebook: 01_data, seed: 1, capture: field, only: [noise], strength: 2}
  others: {notebook: 01_data, seed: 2}
subjects: [ada, ben]
views: [3]
priors:
  one: {notebook: 02_prior, subject: eve, data: none}
  two: {notebook: 02_prior, subject: ada, data: others}
methods:
  idr: {notebook: 03_reconstruct, data: [none, noise, noise2]}
  baseh3d: {notebook: 03_reconstruct, prior: [one, two], data: noise}
"""


def test_several_sources_of_a_method_are_a_sweep_and_each_is_fitted_and_scored_with_its_own_people(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, DISTURBED)
    fits = [name.removeprefix("ada.") for name in names(jobs, "fit") if name.startswith("ada.")]
    swept = [f"idr.data-{source}.v3.s0" for source in ("none", "noise", "noise2")]
    assert fits == [*swept, "baseh3d.one.v3.s0", "baseh3d.two.v3.s0"]
    for source in ("none", "noise", "noise2"):
        name = f"ben.idr.data-{source}.v3.s0"
        fit, score = jobs[f"fit/{name}"], jobs[f"score/{name}"]
        assert fit.row["data"] == source and fit.after == (f"data/{source}.ben",)
        assert score.after == (f"fit/{name}", f"data/{source}.ben") and score.row == fit.row
        assert fit.parameters["root"] == score.parameters["root"] == f"runs/mine/{source}" and "data" not in fit.parameters
    assert jobs["data/noise2.ben"].parameters == {
        "out": "runs/mine/data/noise2.ben", "root": "runs/mine/noise2", "subject": "ben",
        "seed": 1, "capture": "field", "only": ["noise"], "strength": 2.0,
    }  # fmt: skip
    assert "data" not in jobs["fit/ada.baseh3d.one.v3.s0"].row and jobs["fit/ada.baseh3d.one.v3.s0"].after[0] == "data/noise.ada"
    assert "data/others.ben" not in jobs


def test_the_sources_of_a_study_are_told_by_name_where_there_are_several(tmp_path: Path) -> None:
    said = plan.read(written(tmp_path, DISTURBED)).described()
    assert list(said["sources"]) == ["none", "noise", "noise2", "others"] and said["data"] == said["sources"]["none"]
    told = [(one["capture"], one["only"], one["strength"], one["seed"]) for one in said["sources"].values()]
    assert told == [("studio", [], 1.0, 1), ("field", ["noise"], 1.0, 1), ("field", ["noise"], 2.0, 1), ("studio", [], 1.0, 2)]
    assert plan.read(written(tmp_path, GOOD)).described()["sources"] == {}


def test_each_prior_is_made_by_its_own_notebook_with_what_the_study_says(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path)
    assert jobs["prior/mean"].parameters == {
        "out": "runs/mine/prior/mean", "priors": ["runs/mine/prior/one", "runs/mine/prior/two"], "preset": "SMOKE", "steps": 50,
        "seed": 3, "fit": {"rays": 64, "grid": 16},
    }  # fmt: skip
    assert jobs["prior/heads"].parameters == {
        "out": "runs/mine/prior/heads", "heads": 9, "seed": 4, "preset": "SMOKE", "training": {"steps": 20},
    }  # fmt: skip
    tinted = jobs["prior/tinted"].parameters
    assert (tinted["colour"], tinted["photographs"], tinted["size"], tinted["preset"]) == (True, 4, 64, "LAPTOP")
    assert [jobs[f"prior/{name}"].notebook for name in ("one", "mean", "heads")] == ["02_prior", "07_average", "06_autodecoder"]


def test_an_average_waits_for_what_it_is_of_which_is_made_even_if_no_method_starts_from_it(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path)
    assert names(jobs, "prior") == ["one", "two", "three", "mean", "heads", "tinted"]
    assert jobs["prior/mean"].after == ("prior/one", "prior/two") and jobs["prior/heads"].after == ()
    assert jobs["fit/ben.average.mean.v4.s0"].after == ("data/people.ben", "prior/mean")
    unused = jobs_of(
        tmp_path, FULL.replace("average: {notebook: 03_reconstruct, prior: mean}", "other: {notebook: 03_reconstruct}")
    )
    assert "mean" not in names(unused, "prior") and "two" not in names(unused, "prior")


def test_a_choice_is_made_for_every_subject_with_the_settings_of_its_fits(tmp_path: Path) -> None:
    assert names(jobs_of(tmp_path), "choose") == []
    jobs = jobs_of(tmp_path, CHOICE)
    assert names(jobs, "choose") == ["ada.v3.s0", "ben.v3.s0"]
    ada = jobs["choose/ada.v3.s0"]
    assert ada.parameters["priors"] == ["runs/mine/prior/one", "runs/mine/prior/three"]
    assert (ada.parameters["score"], ada.parameters["fit"]) == (False, {"rays": 64, "grid": 16})
    assert ada.after == ("data/people.ada", "prior/one", "prior/three") and "choose/ada.v3.s0" in jobs["table"].after
    only = jobs_of(
        tmp_path,
        CHOICE.replace("prior: [one, three], ", "").replace("views: [3], seeds: [0], score", "share: 1, views: [8], score"),
    )
    assert names(only, "choose") == ["ada.v8.s0", "ben.v8.s0"] and "three" in names(only, "prior")
    assert only["choose/ada.v8.s0"].parameters["share"] == 1.0
    assert only["choose/ada.v8.s0"].parameters["fit"] == {"rays": 96, "grid": 16, "epochs": 7}


def test_a_notebook_without_views_or_seed_is_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebooks").mkdir()
    for source in (ROOT / "notebooks").glob("*.py"):
        (tmp_path / "notebooks" / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "notebooks" / "50_mean.py").write_text(
        '# %% tags=["parameters"]\nout: str = "x"\nroot: str = "y"\nsubject: str = "ada"\n'
    )
    contract.parameters.cache_clear()
    monkeypatch.chdir(tmp_path)
    jobs = jobs_of(tmp_path, GOOD + "  mean: {notebook: 50_mean}\n")
    contract.parameters.cache_clear()
    assert [name for name in names(jobs, "fit") if "mean" in name] == ["ada.mean", "ben.mean"]
    assert jobs["fit/ada.mean"].row == {"subject": "ada", "method": "mean", "prior": "", "name": "", "views": None, "seed": 0}
    assert jobs["score/ada.mean"].parameters["views"] == 0 and jobs["score/ada.idr.v4.s0"].parameters["views"] == 4


def test_names_stay_as_they_were_typed(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, GOOD.replace("subjects: [ada, ben]", "subjects: [010, no, 1e3, null]"))
    assert names(jobs, "data")[2:] == ["people.010", "people.no", "people.1e3", "people.null"]


def test_people_of_somebody_elses_set_are_drawn_only_where_the_study_says_so(tmp_path: Path) -> None:
    assert "pictures" not in jobs_of(tmp_path)["table"].parameters
    assert jobs_of(tmp_path, FULL + "table: {pictures: true}\n")["table"].parameters == {
        "out": "runs/mine/table", "study": str(tmp_path / "mine.yaml"), "save": True, "pictures": True,
    }  # fmt: skip


def test_what_the_posts_are_told_of_a_study(tmp_path: Path) -> None:
    said = plan.read(written(tmp_path, CHOICE)).described()
    assert said["study"] == "mine" and said["subjects"] == ["ada", "ben"] and said["data"]["light"] == "common"
    assert said["methods"]["idr"] == {
        "label": "IDR", "phrase": "a sphere", "colour": 3, "against": [], "notebook": "03_reconstruct", "prior": "",
        "group": "", "parameters": {}, "names": {},
    }  # fmt: skip
    assert said["matters"] == {"face_mm": 0.1, "head_mm": 0.3}
    single = said["methods"]["baseh3d"]
    assert (single["label"], single["prior"], single["against"]) == ("BaseH3D-Net", "one", ["idr"])
    assert single["names"]["parts"]["carry"] == ["moments", "geometry"]
    assert [entry["colour"] for entry in said["methods"].values()] == [3, 0, 1, 2, 4]  # each its own
    assert said["priors"]["mean"]["priors"] == ["one", "two"] and said["priors"]["one"]["epochs"] == 5
    assert said["choose"]["priors"] == ["one", "three"] and said["choose"]["share"] == 0.2
    assert said["views"] == {"3": {"seeds": [0, 1]}, "4": {}, "8": {"fit": {"rays": 96, "epochs": 7}}}


def test_a_study_says_what_matters_and_how_its_methods_are_grouped(tmp_path: Path) -> None:
    text = CHOICE.replace("label: IDR,", "label: IDR, group: as published,") + "matters: {head_mm: 0.5}\n"
    said = plan.read(written(tmp_path, text)).described()
    assert said["matters"] == {"face_mm": 0.1, "head_mm": 0.5} and said["methods"]["idr"]["group"] == "as published"


# ---- what is wrong


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("data: {notebook: 01_data, seed: 1}\n", "", "data is missing"),
        ("preset: SMOKE", "preset: smoke", "every: preset: 'smoke' is not known"),
        ("preset: SMOKE", "presets: SMOKE", "every: 'presets' is not known; did you mean 'preset'?"),
        ("subjects: [ada", "subject: [ada", "'subject' is not known; did you mean 'subjects'?"),
        ("label: IDR,", "lable: IDR,", "methods: idr: 'lable' is not known; did you mean 'label'?"),
        ("methods:\n  idr: {notebook: 03_reconstruct,", "methods:\n  idr: {", "methods: idr: notebook is missing"),
        ("{notebook: 03_reconstruct, label", "{notebook: 03_reconstrct, label",
         "notebook: '03_reconstrct' is not known; did you mean"),
        ("views: [3, 4]", "views: abc", "views: expected a list of at least one entry, not 'abc'"),
        ("views: [3, 4]", "views: [3, abc]", "views: expected a whole number, 1 or more, not 'abc'"),
        ("views: [3, 4]", "views: [3, 0]", "views: expected a whole number, 1 or more, not '0'"),
        ("views: [3, 4]", "views: [3, true]", "views: expected a whole number, 1 or more, not 'true'"),
        ("views: [3, 4]", "views: []", "views: expected a list of at least one entry, not []"),
        ("views: [3, 4]", "views: [3, 3]", "views: '3' is listed twice"),
        ("seeds: [0, 1]", "seeds: [-1]", "seeds: expected a whole number, 0 or more, not '-1'"),
        ("subjects: [ada, ben]", "subjects: [ada, ada]", "subjects: 'ada' is listed twice"),
        ("subjects: [ada, ben]", "subjects: [../ada]", "subjects: '../ada' is not a valid name"),
        ("subjects: [ada, ben]", "subjects: [a/b]", "subjects: 'a/b' is not a valid name (letters, digits, - and _)"),
        ("subjects: [ada, ben]", "subjects: [..]", "subjects: '..' is not a valid name"),
        ("subjects: [ada, ben]", "subjects: [1.5]", "subjects: '1.5' is not a valid name"),
        ("  idr: {", "  i/dr: {", "methods: 'i/dr' is not a valid name"),
        ("  single: {", "  sin gle: {", "priors: 'sin gle' is not a valid name"),
        ("subject: eve", "subject: ada", "priors: single: subject 'ada' is a test subject too; a prior must be of somebody else"),
        ("subject: eve, ", "", "priors: single: subject is missing"),
        ("single: {notebook: 02_prior", "single: {notebook: 02_prio",
         "priors: single: notebook: '02_prio' is not known; did you mean"),
        ("epochs: 500", "epochs: many", "priors: single: epochs: expected a whole number, 0 or more, not 'many'"),
        ("epochs: 500", "epoch: 500", "priors: single: 'epoch' is not known; did you mean 'epochs'?"),
        ("[geometry, moments]", "[geometri]", "methods: baseh3d: carry: 'geometri' is not known; did you mean 'geometry'?"),
        ("[geometry, moments]", "geometry", "methods: baseh3d: carry: expected a list, not 'geometry'"),
        ("[single, other]", "[singel]", "methods: baseh3d: prior: 'singel' is not known; did you mean 'single'?"),
        ("[single, other]", "[]", "methods: baseh3d: prior: expected a list of at least one entry, not []"),
        ("{notebook: 01_data, seed: 1}", "{notebook: 01_dat}", "data: notebook: '01_dat' is not known; did you mean '01_data'?"),
        ("{notebook: 01_data, seed: 1}", "{notebook: 01_data, kind: anny}", "data: kind: 'anny' is not known"),
        ("{notebook: 01_data, seed: 1}", "{notebook: 01_data, size: 8}",
         "data: size: expected a whole number, 16 or more, not '8'"),
        ("{notebook: 01_data, seed: 1}", "{notebook: 01_data, rot: x}", "data: 'rot' is not known; did you mean 'root'?"),
        ("data: {notebook: 01_data, seed: 1}\n", "data: synthetic\n", "data: expected a table, not 'synthetic'"),
        ("fit: {rays: 64, epochs: 5}", "fit: 5", "every: fit: expected a table, not '5'"),
        ("preset: SMOKE", "preset: SMOKE, preset: PAPER", "not valid YAML: duplicate key 'preset'"),
        ("preset: SMOKE", "preset: [SMOKE", "not valid YAML"),
        ("seeds: [0, 1]", "seeds: [0, 1]\n1: x", "'1' is not known"),
        ("every: {", "table: {picture: true}\nevery: {", "table: 'picture' is not known; did you mean 'pictures'?"),
        ("every: {", "table: {pictures: 1}\nevery: {", "table: pictures: expected true or false, not '1'"),
        ("every: {", "evaluate: {notebook: 04_evalute}\nevery: {", "evaluate: notebook: '04_evalute' is not known"),
        ("\nevery: {preset", "\nmatters: {nose_mm: 1}\nevery: {preset", "matters: 'nose_mm' is not known"),
        ("\nevery: {preset", "\nmatters: {face_mm: 0}\nevery: {preset", "matters: face_mm: expected a number, more than 0"),
        ("label: IDR,", "label: IDR, colour: red,", "methods: idr: colour: expected a whole number, 0 or more, not 'red'"),
        ("label: IDR,", "label: IDR, against: [bash3d],",
         "methods: idr: against: 'bash3d' is not known; did you mean 'baseh3d'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_that_names_the_file(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = changed(tmp_path, old, new)
    with pytest.raises(ValueError) as raised:
        plan.read(path)
    assert sentence in str(raised.value)
    assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("4: {}", "0: {}", "views: expected a whole number, 1 or more, not '0'"),
        ("4: {}", "four: {}", "views: expected a whole number, 1 or more, not 'four'"),
        ("4: {}", "4: ", "views: 4: expected a table"),
        ("4: {}", "4: {seds: [0]}", "views: 4: 'seds' is not known; did you mean 'seeds'?"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "views: 3: seeds: '0' is listed twice"),
        ("{3: {seeds: [0, 1]}, 4: {}, 8: {fit: {rays: 96, epochs: 7}}}", "{}", "views: expected a list of at least one"),
        ("seed: 1, light: common", "light: comon", "data: people: light: 'comon' is not known; did you mean 'common'?"),
        ("priors: [one, two]", "priors: [one, tow]", "priors: mean: priors: 'tow' is not known; did you mean 'two'?"),
        ("priors: [one, two]", "priors: [one, mean]", "priors: mean: it depends on itself"),
        ("priors: [one, two]", "priors: [one, one]", "priors: mean: priors: 'one' is listed twice"),
        ("priors: [one, two]", "of: [one, two]", "priors: mean: 'of' is not known"),
        ("steps: 50", "how: median", "priors: mean: how: 'median' is not known"),
        ("steps: 50", "overrides: {}", "priors: mean: 'overrides' is not known"),
        ("subject: fay", "subject: ada", "priors: two: subject 'ada' is a test subject too; a prior must be of somebody else"),
        ("data: scans", "data: scan", "priors: three: data: 'scan' is not known; did you mean 'scans'?"),
        ("heads: 9", "heads: 0", "priors: heads: heads: expected a whole number, 1 or more, not '0'"),
        ("heads: 9", "heads: 9, subject: eve", "priors: heads: 'subject' is not known"),
        ("colour: true", "colour: red", "priors: tinted: colour: expected true or false, not 'red'"),
        ("photographs: 4", "photographs: 0", "priors: tinted: photographs: expected a whole number, 1 or more, not '0'"),
        ("64, light: common", "64, light: commn", "priors: tinted: light: 'commn' is not known; did you mean 'common'?"),
        ("preset: LAPTOP", "preset: LAPTP", "priors: tinted: preset: 'LAPTP' is not known; did you mean 'LAPTOP'?"),
        ("views: [3, 4]", "views: [3, 5]", "methods: h3dnet: views: 5 is not among the study's (3, 4, 8)"),
        ("seeds: [5]", "seeds: [5], subjects: [bem]", "methods: baseh3d: subjects: 'bem' is not known; did you mean 'ben'?"),
        ("seeds: [5]", "seeds: [5], subjects: ben", "baseh3d: subjects: expected a list of at least one entry, not 'ben'"),
        ("seeds: [5]", "seeds: [5], subjects: []", "baseh3d: subjects: expected a list of at least one entry, not []"),
        ("seeds: [5]", "seeds: [5], subjects: [ben, ben]", "methods: baseh3d: subjects: 'ben' is listed twice"),
        ("seeds: [5]", "seeds: [5], subjects: [3]", "methods: baseh3d: subjects: '3' is not known"),
        ("seeds: [5]", "seeds: [-5]", "methods: baseh3d: seeds: expected a whole number, 0 or more, not '-5'"),
        ("[moments, geometry]", "[moments, geometri]", "methods: baseh3d: carry: 'geometri' is not known"),
        ("average: {notebook: 03_reconstruct, prior: mean}", "average: []",
         "average: expected a list of at least one entry, not []"),
        ("name: parts, prior: [one, three], views: [3], seeds: [5]", "seeds: [1]",
         "two entries ask for the same run, ada.baseh3d.one.v3.s1"),
        ("name: parts", "name: a/b", "methods: baseh3d: name: 'a/b' is not a valid name"),
        ("{rays: 64, grid: 16}", "{ray: 64}", "every: fit: 'ray' is not known; did you mean 'rays'?"),
        ("{rays: 96, epochs: 7}", "{rays: few}", "views: 8: fit: rays: expected a whole number, not 'few'"),
        ("{epochs: 9}", "{epochs: many}", "methods: baseh3d: fit: epochs: expected a whole number, not 'many'"),
        ("{steps: 20}", "{rays: 20}", "priors: heads: training: 'rays' is not known"),
        ("{steps: 20}", "{shape: {widht: 20}}", "priors: heads: training: shape: 'widht' is not known; did you mean 'width'?"),
        ("kind: h3ds, ", "kind: h3d, ", "data: scans: kind: 'h3d' is not known; did you mean 'h3ds'?"),
        ("8: {fit", "3.0: {}, 8: {fit", "views: 3 is listed twice"),
        ("against: [idr]", "against: idr", "methods: baseh3d: against: expected a list of at least one entry, not 'idr'"),
        ("against: [idr]", "against: [baseh3d]", "methods: baseh3d: against: 'baseh3d' is not known"),
        ("name: parts, prior", "name: parts, label: X, prior", "methods: baseh3d: label is set once, by the first entry"),
        ("label: BaseH3D-Net,", "name: x, label: BaseH3D-Net,", "baseh3d: the first entry represents the method and has no name"),
        ("label: BaseH3D-Net,", "label: IDR,", "methods: two of them have the label 'IDR'"),
        ("label: BaseH3D-Net,", "colour: 3,", "methods: two of them have the colour '3'"),
        ("average: {notebook: 03_reconstruct, prior", "average: {notebook: 06_autodecoder, x", "'x' is not known"),
        ("average: {notebook: 03_reconstruct, prior: mean}",
         "average: {notebook: 06_autodecoder}", "has a parameter 'colour', which"),
        ("average: {notebook: 03_reconstruct, prior: mean}",
         "average: {notebook: 03_reconstruct, prior: }", "prior: '' is not known"),
        ("average: {notebook: 03_reconstruct, prior: mean}",
         "x: {notebook: 03_reconstruct, scenes: [a/b, c]}", "'scenes' is not known"),
        ("preset: LAPTOP}",
         "preset: LAPTOP}\n  unused: {notebook: 02_prior, subject: eve, epochs: many}", "priors: unused: epochs: expected"),
        ("preset: LAPTOP}",
         "preset: LAPTOP}\n  unused: {notebook: 02_prior, subject: eve, data: nowhere}", "unused: data: 'nowhere' is"),
        ("  scans: {", "  a b: {", "data: 'a b' is not a valid name"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_views_priors_and_entries_is_said_too(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = changed(tmp_path, old, new, FULL)
    with pytest.raises(ValueError) as raised:
        plan.read(path)
    assert sentence in str(raised.value)
    assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "{notebook: 08_choose, priors: [one, three], views: [3], seeds: [0], score: false}",
            "[one]",
            "choose: expected a table",
        ),
        ("notebook: 08_choose, priors", "priors", "choose: notebook is missing"),
        ("priors: [one, three]", "priors: one", "choose: priors: expected a list, not 'one'"),
        ("priors: [one, three]", "priors: [one, one]", "choose: priors: 'one' is listed twice"),
        ("priors: [one, three]", "priors: [one, thre]", "choose: priors: 'thre' is not known; did you mean 'three'?"),
        ("score: false", "share: 0", "choose: share: expected a number, more than 0 and at most 1, not '0'"),
        ("score: false", "share: 20%", "choose: share: expected a number, more than 0 and at most 1, not '20%'"),
        ("views: [3], seeds: [0], score", "views: [5], score", "choose: views: 5 is not among the study's (3, 4, 8)"),
        ("score: false", "held_out: 3", "choose: held_out: expected true or false, not '3'"),
        ("score: false", "heldout: true", "choose: 'heldout' is not known; did you mean 'held_out'?"),
        ("notebook: 08_choose, priors: [one, three], views", "notebook: 08_choose, views", "choose: priors is missing"),
        ("score: false", "share: [0.2, 0.20]", "choose: two entries ask for the same run, ada.share-0.2.v3.s0"),
    ],
)
def test_what_is_wrong_with_a_choice_is_said(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        plan.read(changed(tmp_path, old, new, CHOICE))
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[none, noise, noise2]", "[none, nois]", "methods: idr: data: 'nois' is not known; did you mean 'noise'?"),
        ("[none, noise, noise2]", "[none, noise, none]", "methods: idr: data: 'none' is listed twice"),
        ("[none, noise, noise2]", "[]", "methods: idr: data: expected a list of at least one entry, not []"),
        ("[none, noise, noise2]", "{none: 1}", "methods: idr: data: {'none': '1'} is not known"),
        ("[none, noise, noise2]", "[[none], noise]", "methods: idr: data: ['none'] is not known"),
        ("only: [noise]}", "only: [nose]}", "data: noise: only: 'nose' is not known; did you mean 'noise'?"),
        ("eve, data: none", "eve, data: [none, noise]", "priors: one: data: ['none', 'noise'] is not known"),
        ("eve, data: none", "ada, data: none", "priors: one: subject 'ada' is a test subject too; a prior must be of somebody"),
        ("eve, data: none", "ada, data: noise2", "priors: one: subject 'ada' is a test subject too"),  # however photographed
        ("others: {notebook: 01_data, seed: 2}", "others: {notebook: 01_data, seed: 1, light: common, size: 64}",
         "priors: two: subject 'ada' is a test subject too"),
        ("[none, noise, noise2]", "[noise, others]", "priors: two: subject 'ada' is a test subject too"),
        ("[one, two], data: noise", "[one, two], data: [noise, others]", "priors: two: subject 'ada' is a test subject too"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_several_sources_is_said(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = changed(tmp_path, old, new, DISTURBED)
    with pytest.raises(ValueError) as raised:
        plan.read(path)
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


def test_people_of_the_same_folder_are_the_same_and_of_a_source_that_is_not_tested_they_may_be_a_prior(tmp_path: Path) -> None:
    text = DISTURBED.replace("others: {notebook: 01_data, seed: 2}", "others: {notebook: 01_data, kind: h3ds, root: scans}")
    assert "prior/two" in jobs_of(tmp_path, text)
    again = text.replace("data:\n  none", "data:\n  again: {notebook: 01_data, kind: h3ds, root: ./scans, scenes: v2}\n  none")
    assert "prior/two" in jobs_of(tmp_path, again)  # `again` is the first, but no entry tests it
    with pytest.raises(ValueError, match="priors: two: subject 'ada' is a test subject too"):
        jobs_of(tmp_path, again.replace("[none, noise, noise2]", "[none, again]"))


@pytest.mark.parametrize(
    "text", ["", "3", "[1, 2]", "a: b", "\0", "!!python/object/apply:os.system [ls]", "&a [*a]", "? {a: 1}\n: 2"]
)
def test_a_file_that_is_no_study_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"mine\.yaml: "):
        plan.read(written(tmp_path, text))


def test_a_missing_study_names_those_that_are_there(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    with pytest.raises(FileNotFoundError, match=r"quik\.yaml: there is no such study; .* has .*mine\.yaml"):
        plan.read(tmp_path / "quik.yaml")


def test_a_file_whose_name_cannot_be_a_folders_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my study.yaml"
    path.write_text(GOOD)
    with pytest.raises(ValueError, match="the file's name: 'my study' is not a valid name"):
        plan.read(path)


# ---- what a notebook takes


@pytest.mark.parametrize(
    ("value", "takes", "expected"),
    [
        ("010", "str", "010"), ("1e-3", "float", 1e-3), (1, "float", 1.0), (3.0, "int", 3), ("03", "int", 3), ("1e1", "int", 10),
        ("true", "bool", True), (False, "bool", False), (["3", 4.0], "tuple[int, ...]", (3, 4)), (("a",
         "b"), "list[str]", ["a", "b"]),
        ("5", "int >= 5", 5), ("0.5",
         "0 < float <= 1", 0.5), ({"width": "4"}, "sdf.Shape", {"width": 4}), ({"a": 1}, "dict", {"a": 1}),
    ],
)  # fmt: skip
def test_a_value_is_read_as_what_the_parameter_takes(value: Any, takes: str, expected: Any) -> None:
    found = contract.typed(value, takes, "it")
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "takes", "sentence"),
    [
        ("abc", "int", "it: expected a whole number, not 'abc'"), (2.5, "int", "it: expected a whole number, not 2.5"),
        (True, "int", "it: expected a whole number, not True"), (float("inf"), "int", "it: expected a whole number, not inf"),
        ("nan", "float", "it: expected a number, not 'nan'"), (None, "float", "it: expected a number, not None"),
        (5, "str", "it: expected text, not 5"), ("yes", "bool", "it: expected true or false, not 'yes'"), (1, "bool", "not 1"),
        ("geometry", "list[str]", "it: expected a list, not 'geometry'"), ([1], "list[str]", "it: expected text, not 1"),
        ([1], "dict", "it: expected a table, not [1]"), (4, "int >= 5", "it: expected a whole number, 5 or more, not 4"),
        (1.5, "0 < float <= 1", "it: expected a number, more than 0 and at most 1, not 1.5"),
        ("LAPTP", "Literal['LAPTOP', 'SMOKE']", "it: 'LAPTP' is not known; did you mean 'LAPTOP'? (known: LAPTOP, SMOKE)"),
        ({"widht": 5}, "sdf.Shape", "it: 'widht' is not known; did you mean 'width'?"),
    ],
)  # fmt: skip
def test_a_value_that_a_parameter_does_not_take_is_said_in_a_sentence(value: Any, takes: str, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        contract.typed(value, takes, "it")
    assert sentence in str(raised.value)


@pytest.mark.parametrize("source", sorted((ROOT / "notebooks").glob("[0-9]*.py")), ids=lambda path: path.stem)
def test_the_defaults_of_a_notebook_are_what_it_takes_and_its_tables_are_of_fields_that_there_are(source: Path) -> None:
    found = contract.read(source)
    assert found["out"].default.startswith("runs/demo/")
    for name, parameter in found.items():
        assert contract.typed(parameter.default, parameter.takes, name) == parameter.default
        if "." in parameter.takes and " " not in parameter.takes:
            assert contract.fields(*parameter.takes.split("."))


@pytest.mark.parametrize(
    "cell",
    ["a: number = 3", "a: int | None = 3", 'a: "idr.Confg" = {}', 'a: "int > x" = 3',
     "a: Literal[1, 2] = 1", "a: int = 2 * 3", "a: int =", "a: 'int >' = 1"],
)  # fmt: skip
def test_a_parameter_that_cannot_be_understood_is_named_with_its_notebook(tmp_path: Path, cell: str) -> None:
    (tmp_path / "50_mine.py").write_text(f'# %% tags=["parameters"]\nout: str = "x"\n{cell}\n')
    with pytest.raises(ValueError, match=r"50_mine\.py: (parameter a: .* cannot|has no|not valid Python|parameter a)"):
        contract.read(tmp_path / "50_mine.py")


def test_a_score_is_by_the_scan_of_the_person_whom_the_fit_saw(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, FULL.replace("label: IDR,", "label: IDR, data: scans,").replace("subject: ada", "subject: gil"))
    fit, score = jobs["fit/ada.idr.v3.s0"], jobs["score/ada.idr.v3.s0"]
    assert fit.parameters["root"] == score.parameters["root"] == str(Path("~/scans").expanduser())
    assert fit.after == ("data/scans.ada",) and score.after == ("fit/ada.idr.v3.s0", "data/scans.ada")


def test_a_score_knows_how_many_photographs_its_fit_saw_and_no_entry_may_say_otherwise(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, FULL)
    assert {name: job.parameters["views"] for name, job in jobs.items() if name.startswith("score/ada.idr")} == {
        "score/ada.idr.v3.s0": 3, "score/ada.idr.v3.s1": 3, "score/ada.idr.v4.s0": 4, "score/ada.idr.v8.s0": 8
    }  # fmt: skip
    with pytest.raises(ValueError, match="evaluate: 'views' is not known"):
        plan.read(written(tmp_path, FULL + "evaluate: {notebook: 04_evaluate, views: 4}\n"))


def test_another_number_of_photographs_or_method_changes_no_job_that_was_there(tmp_path: Path) -> None:
    few = jobs_of(tmp_path, GOOD)
    for text in (
        GOOD.replace("views: [3, 4]", "views: [3, 4, 1]"),
        GOOD.replace("methods:\n", "methods:\n  new: {notebook: 03_reconstruct, prior: eves}\n").replace(
            "priors:\n", "priors:\n  eves: {notebook: 02_prior, subject: eve, views: 16}\n"
        ),
    ):
        more = jobs_of(tmp_path, text)
        assert len(more) > len(few) and all(more[name].parameters == job.parameters for name, job in few.items())


def test_the_words_of_the_parameters_are_those_of_the_library() -> None:
    takes = contract.parameters("03_reconstruct")
    assert set(idr.PRESETS) == set(autodecoder.PRESETS) == set(eval(takes["preset"].takes.removeprefix("Literal")))
    assert takes["carry"].default == list(priors.PARTS)


def test_what_decides_a_fit_does_not_include_the_judge_nor_what_draws_or_runs_it() -> None:
    fit = {path.relative_to(contract.LIB).as_posix() for path in contract.closure("03_reconstruct")}
    assert {"methods/idr.py", "methods/priors.py", "surface/trace.py", "data/h3ds.py", "mesh.py", "camera.py"} <= fit
    assert not {"metric.py", "data/truth.py", "data/people.py", "methods/average.py", "posts/plots.py", "study/plan.py"} & fit
    score = {path.relative_to(contract.LIB).as_posix() for path in contract.closure("04_evaluate")}
    assert {"metric.py", "data/truth.py"} <= score and "methods/idr.py" not in score
    for notebook, decides in {"28_identity_field": {"posts/field_scores.py"}, "29_track": set[str]()}.items():
        field = {path.relative_to(contract.LIB).as_posix() for path in contract.closure(notebook)}
        assert decides <= field and not {"posts/plots.py", "posts/fields.py", "posts/results.py"} & field
    for notebook in ("01_data", "02_prior", "06_autodecoder"):
        assert contract.LIB / "metric.py" not in contract.closure(notebook)  # fits wait for these
    table = {path.relative_to(contract.LIB).as_posix() for path in contract.closure("05_results", drawing=True)}
    assert {"posts/plots.py", "posts/tables.py"} <= table


# ---- the committed studies


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_the_committed_studies_are_sound(path: Path) -> None:
    study = plan.read(path)
    assert study.stage("fit") and study.described()


def test_a_method_has_one_label_phrase_and_colour_in_all_studies() -> None:
    seen: dict[str, set[tuple[Any, ...]]] = {}
    for path in (ROOT / "config").glob("*.yaml"):
        written = yaml.safe_load(path.read_text(encoding="utf-8"))["methods"]
        for method, entry in plan.read(path).described()["methods"].items():
            first = written[method] if isinstance(written[method], dict) else written[method][0]
            seen.setdefault(method, set()).add((entry["label"], entry["phrase"], first.get("colour")))
    assert all(len(said) == 1 for said in seen.values())
    colours = [colour for said in seen.values() for *_, colour in said if colour is not None]  # no chart shows the others
    assert len(set(colours)) == len(colours) > 10


def test_the_default_study_is_one_prior_and_four_others_in_three_views_by_both_methods() -> None:
    study = plan.read(ROOT / "config" / "quick.yaml")
    assert len(study.stage("prior")) == 1 and len(study.subjects) == 4 and study.views == [3]
    starts = {method: entry["prior"] for method, entry in study.described()["methods"].items()}
    assert (starts["idr"], starts["baseh3d"]) == ("", "single")


def test_the_studies_of_the_posts_ask_for_the_same_in_the_studio_and_in_the_field_and_for_sampled_priors() -> None:
    studio, field = (plan.read(ROOT / "config" / f"{name}.yaml") for name in ("studio", "field"))
    apart = {key: value for key, value in field.described()["data"].items() if value != studio.described()["data"][key]}
    assert apart == {"capture": "field"} and len(studio.subjects) == 10
    for one, other in zip(studio.jobs.values(), field.jobs.values(), strict=True):
        said = {key: str(value).replace("/field/", "/studio/") for key, value in other.parameters.items() if key != "capture"}
        assert one.stage == "table" or said == {key: str(value) for key, value in one.parameters.items()}
    trained = [(job.parameters["subject"], job.parameters.get("seed", 0)) for job in studio.stage("prior") if _improved(job)]
    people = [person for person, _ in trained]
    assert len(set(people)) >= 5 and sum(people.count(person) >= 3 for person in set(people)) >= 2
    crossed = {(fit.row["subject"], fit.row["prior"]) for fit in studio.stage("fit") if fit.row["method"] == "baseh3d"}
    assert len(crossed) == len(studio.subjects) * len(trained) == 90


def _improved(job: plan.Job) -> bool:
    """Whether it is a prior of one head that the methods as improved here start from."""
    return "epochs" in job.parameters and job.parameters["preset"] == "LAPTOP"


def test_the_study_of_priors_has_nine_of_one_head_and_their_parts_and_chooses_among_three() -> None:
    study = plan.read(ROOT / "config" / "priors.yaml")
    scans = sorted((job.parameters["subject"], job.parameters["epochs"]) for job in study.stage("prior") if _improved(job))
    assert scans == sorted((s, e) for s in ("nora", "omar", "pia") for e in (500, 1000, 2000)) and len(study.subjects) == 5
    assert [job.row["subject"] for job in study.stage("choose")] == study.subjects
    ways = {(fit.row["method"], fit.row["name"]): tuple(fit.parameters.get("carry", ())) for fit in study.stage("fit")}
    assert ways["baseh3d", ""] == ways["average", ""] == ways["h3dnet+colour", ""] == ("geometry", "colour")
    assert ways["baseh3d", "moments"] == ("geometry", "colour", "moments") and ways["baseh3d", "colour"] == ("colour",)
    assert ways["baseh3d", "geometry"] == ways["h3dnet+colour", "geometry"] == ("geometry",)


def test_fits_that_several_studies_have_are_the_same_in_all() -> None:
    """They have the same data, priors and settings, so that `test_committed` can set their numbers side by side."""
    count = dict.fromkeys((("studio", "priors"), ("field", "views")), 0)
    for names in count:
        own: dict[str, dict[str, Any]] = {}
        for name in names:
            for job in plan.read(ROOT / "config" / f"{name}.yaml").stage("data", "prior", "fit"):
                said = {key: str(value).replace(f"runs/{name}/", "runs/") for key, value in job.parameters.items()}
                if job.parameters.get("preset") == "PUBLISHED":  # one study says what is so without saying
                    assert job.parameters.get("fit", {}) in ({}, {"steps_per_view": 1})
                    said["fit"] = ""
                count[names] += job.name in own
                known = own.setdefault(job.name, said)
                shared = {key: said[key] for key in said if not (job.stage == "data" and key == "views")}
                assert {key: known[key] for key in shared} == shared, job.name
    assert all(count.values())


def test_the_study_of_disturbances_has_each_group_and_all_at_two_strengths_on_people_who_are_never_tested() -> None:
    study = plan.read(ROOT / "config" / "disturbances.yaml")
    assert study.subjects == plan.read(ROOT / "config" / "calibration.yaml").subjects and study.views == [3]
    for other in (ROOT / "config").glob("*.yaml"):
        if other.stem not in ("calibration", "disturbances"):
            assert not set(plan.read(other).subjects) & set(study.subjects)
    sources, groups = study.described()["sources"], ("cameras", "outlines", "exposure", "noise", "motion", "hair", "shine")
    told = {name: (one["capture"], one["only"], one["strength"], one["seed"]) for name, one in sources.items()}
    expected = {"none": ("studio", [], 1.0, 3), "all": ("field", [], 1.0, 3), "all2": ("field", [], 2.0, 3)}
    expected |= {group: ("field", [group], 1.0, 3) for group in groups}
    assert told == expected | {f"{group}2": ("field", [group], 2.0, 3) for group in groups}
    for method in ("idr", "baseh3d", "h3dnet"):
        fits = [fit.row["data"] for fit in study.stage("fit") if fit.row["method"] == method and fit.row["subject"] == "vera"]
        assert fits == list(sources)
    assert [job.name for job in study.stage("data") if job.parameters["subject"] == "omar"] == ["data/none.omar"]


def test_the_study_of_h3ds_is_on_its_official_ten_at_the_published_sizes() -> None:
    study = plan.read(ROOT / "config" / "h3ds.yaml")
    ten = {  # tagged h3d-net in its TOML
        "1b2a8613401e42a8", "3b5a2eb92a501d54", "444ea0dc5e85ee0b", "5ae021f2805c0854", "5cd49557ea450c89",
        "609cc60fd416e187", "7dd427509fe84baa", "868765907f66fd85", "e98bae39fad2244e", "f7e930d8a9ff2091",
    }  # fmt: skip
    assert set(study.subjects) == ten and {job.parameters["preset"] for job in study.stage("fit", "prior")} == {"PAPER"}
    data = study.stage("data")
    assert {(job.parameters["kind"], job.parameters["root"], job.parameters["scenes"]) for job in data} == {
        ("h3ds", "data/h3ds", "v2")
    }
    assert {job.parameters["subject"] for job in data} - ten == {"168f8ca5c2dce5bc", "1141a3328d7e9c4e", "3219815d5a1e7be3"}
    assert study.views == [3, 4, 8, 16, 32]
    assert {job.parameters["fit"]["device"] for job in study.stage("fit")} == {"cuda"}


def test_reading_a_study_imports_nothing_heavy() -> None:
    code = (
        "import sys, heads.__main__; from heads.study import plan; plan.read('config/quick.yaml')\n"
        "print([m for m in ('torch', 'numpy', 'pandas', 'papermill', 'nbformat', 'trimesh') if m in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    assert done.stdout.strip() == "[]"
