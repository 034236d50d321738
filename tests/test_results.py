"""Reading results: tables with any scores, what represents a method, and what results/STUDY.json says of methods and priors."""

from dataclasses import replace
from pathlib import Path

import invented
import numpy as np
import pandas as pd
import pytest
import yaml

from heads import files
from heads.posts import results
from heads.posts.results import Results

ROOT = Path(__file__).parents[1]


def whole() -> Results:
    published = pd.read_csv(ROOT / "blog" / "published.csv")
    return Results("whole", invented.whole(), about=invented.about(), published=published)


def test_a_table_may_hold_any_scores_and_parameters_that_vary(tmp_path: Path) -> None:
    table = invented.part("carry")
    table.insert(6, "epochs", 500)
    table.insert(list(table.columns).index("seconds"), "normal_deg", 12.5)
    files.write_table(tmp_path / "table.csv", table)
    read = results.read_table(tmp_path / "table.csv")
    assert Results("any", read).scores == [*invented.SCORES, "normal_deg"] and results.varied(read) == ["epochs"]
    pd.testing.assert_frame_equal(read, table.reset_index(drop=True), check_dtype=False)
    least = table[[*results.REQUIRED, "normal_deg"]]
    files.write_table(tmp_path / "table.csv", least)
    assert results.scores(results.read_table(tmp_path / "table.csv")) == ["normal_deg"]


def test_text_stays_text_whatever_it_looks_like(tmp_path: Path) -> None:
    table = invented.part("carry").head(3).assign(subject=["NA", "007", "nan"], commit=["0123", "1e5", ""])
    files.write_table(tmp_path / "table.csv", table)
    read = results.read_table(tmp_path / "table.csv")
    assert list(read["subject"]) == ["NA", "007", "nan"] and list(read["commit"]) == ["0123", "1e5", ""]
    assert list(read["name"]) == ["", "", "no-moments"] and read["prior"].iloc[0] == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda table: table.drop(columns="name"), "the table of a study was expected; it has no column name"),
        (lambda table: table.assign(views="three"), "its column views has values that are not numbers"),
        (lambda table: table.assign(face_rigid_mm="none"), "its column face_rigid_mm has values that are not numbers"),
        (lambda table: table.assign(face_rigid_mm=float("inf")), "its column face_rigid_mm has values that are not numbers"),
        (lambda table: table.assign(status="failed"), "at least one row with status ok, and in each of these all scores"),
    ],
)
def test_an_invalid_table_is_named(tmp_path: Path, change, sentence: str) -> None:
    invented.write(tmp_path, "carry", change(invented.part("carry")))
    (tmp_path / "blog").mkdir()
    (tmp_path / "blog" / "published.csv").write_bytes((ROOT / "blog" / "published.csv").read_bytes())
    with pytest.raises(ValueError, match=rf"carry\.csv: .*{sentence}"):
        results.read(tmp_path, "carry")


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", '{"a": NaN,}', "[" * 5000])
def test_an_invalid_description_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(ValueError, match=r"study\.json: the description of a study was expected"):
        results.read_about(tmp_path / "study.json")


def test_scores_may_be_missing_from_other_numbers_of_photographs_and_of_what_nothing_saw(tmp_path: Path) -> None:
    (tmp_path / "blog").mkdir()
    (tmp_path / "blog" / "published.csv").write_bytes((ROOT / "blog" / "published.csv").read_bytes())
    table = invented.part("views")
    table.insert(list(table).index("seconds"), "novel_ssim", np.where(table["views"] < 32, 0.5, np.nan))
    table.insert(list(table).index("seconds"), "head_unseen_mm", np.where(table.index % 2, 7.0, np.nan))
    invented.write(tmp_path, "views", table)
    assert {"novel_ssim", "head_unseen_mm"} <= set(results.read(tmp_path, "views").scores)
    table.loc[table.index[0], "novel_ssim"] = np.nan  # of one run from three photographs
    invented.write(tmp_path, "views", table)
    with pytest.raises(ValueError, match=r"views\.csv: at least one row with status ok"):
        results.read(tmp_path, "views")


def test_a_score_that_one_method_lacks_altogether_is_allowed(tmp_path: Path) -> None:
    table = invented.part("carry")
    table["head_toolbox_mm"] = table["head_toolbox_mm"].mask(table["method"] == "idr")
    invented.write(tmp_path, "carry", table)
    (tmp_path / "blog").mkdir()
    (tmp_path / "blog" / "published.csv").write_bytes((ROOT / "blog" / "published.csv").read_bytes())
    found = results.read(tmp_path, "carry")
    assert results.by_subject(found, "idr", "head_toolbox_mm").isna().all()
    assert results.by_subject(found, "baseh3d", "head_toolbox_mm").notna().all()


def test_a_method_is_represented_by_the_first_value_of_a_parameter_that_varies() -> None:
    table = invented.part("methods")
    again = pd.concat([table.assign(rays=64), table.assign(rays=128, face_rigid_mm=9.0)])
    columns = list(table.columns)
    columns.insert(columns.index("status"), "rays")
    found = replace(whole(), table=again[columns])
    assert results.varied(found.table) == ["rays"] and set(results.rows_of(found, "idr")["rays"]) == {64}
    assert results.by_subject(found, "baseh3d", "face_rigid_mm")["anna"] == pytest.approx(1.51)


def test_a_method_that_uses_no_photographs_is_there_with_any_number_of_them() -> None:
    table = invented.part("views")
    constant = table[(table["method"] == "idr") & (table["views"] == 3)].assign(method="mean head", views=np.nan)
    found = replace(whole(), table=pd.concat([table, constant], ignore_index=True))
    assert found.views == [3, 4, 8, 16, 32]
    for views in found.views:
        few = results.at(found, views)
        assert few.views == [views] and results.by_subject(few, "mean head", "face_rigid_mm").mean() == pytest.approx(2.2)
    with pytest.raises(ValueError, match="whole: runs with 5 photographs were expected, there are none"):
        results.at(found, 5)


def test_a_sample_is_the_first_prior_and_those_made_like_it_of_others_or_again() -> None:
    found = results.at(whole(), 3)
    assert results.sample(found, "baseh3d") == {"one-500": ("nora", 0), "two-500": ("omar", 0), "three-500": ("pia", 0)}
    assert results.sample(found, "idr") == {"": ("", 0)} and results.sample(found, "average") == {"mean": ("mean", 0)}
    assert set(results.sample(results.at(whole(), 4), "baseh3d")) == {"one-500"}
    assert set(results.sample(replace(found, about={}), "baseh3d")) == {"one-500"}  # nothing is known of the others
    assert results.training_of(found, "two-1000") == ("omar", 0)
    again = found.table[found.table["prior"] == "two-500"].assign(prior="two-500-s3")
    again["face_rigid_mm"] += 0.9
    about = {**found.about, "priors": found.about["priors"] | {"two-500-s3": found.about["priors"]["two-500"] | {"seed": 3}}}
    twice = replace(found, table=pd.concat([found.table, again]), about=about)
    assert results.sample(twice, "baseh3d")["two-500-s3"] == ("omar", 3)
    table = results.by_training(twice, "baseh3d", "face_rigid_mm")
    assert list(table.columns) == [("nora", 0), ("omar", 0), ("pia", 0), ("omar", 3)]
    assert table.loc["boris"].tolist() == pytest.approx([1.61, 1.2, 2.35, 2.1])
    errors = results.by_subject(twice, "baseh3d", "face_rigid_mm")
    assert errors["boris"] == pytest.approx((1.61 + (1.2 + 2.1) / 2 + 2.35) / 3)  # people count the same, however often trained


def test_more_photographs_are_judged_with_the_priors_that_were_there_at_every_number_of_them() -> None:
    found = results.tried_everywhere(whole())
    assert set(found.table.loc[found.table["method"] == "baseh3d", "prior"]) == {"one-500"} and found.methods == whole().methods
    assert set(results.tried_everywhere(results.at(whole(), 3)).table["prior"]) == set(whole().table["prior"])


def test_disturbances_are_the_sources_that_differ_from_an_undisturbed_one_in_nothing_else() -> None:
    found = Results("any", invented.disturbances(), about=invented.disturbed_about())
    known = {"noise": {0.0: "none", 1.0: "noise", 2.0: "noise2"}, "all": {0.0: "none", 1.0: "all", 2.0: "all2"}}
    assert results.disturbed(found) == known
    for source, told in {"all2": {"light": "common"}, "all": {"amounts": {"blur_mm": 3.0}}, "noise2": {"seed": 5}}.items():
        sources = found.about["sources"] | {source: found.about["sources"][source] | told}
        changed = replace(found, about=found.about | {"sources": sources})
        assert results.disturbed(changed) == {
            name: {strength: one for strength, one in of.items() if one != source} for name, of in known.items()
        }
    untried = replace(found, table=found.table[found.table["data"] != "noise"])
    assert results.disturbed(untried)["noise"] == {0.0: "none", 2.0: "noise2"}
    assert results.disturbed(replace(found, table=found.table[found.table["data"] != "none"])) == {}
    assert results.disturbed(replace(found, about=invented.about())) == results.disturbed(whole()) == {}
    with pytest.raises(ValueError, match="whole: fits to photographs with and without a disturbance were expected"):
        results.undisturbed(whole())


def test_a_method_is_represented_by_the_first_source_of_its_photographs(tmp_path: Path) -> None:
    (tmp_path / "any.csv").write_text(invented.disturbances().replace({"none": "010"}).to_csv(index=False))
    found = Results("any", results.read_table(tmp_path / "any.csv"))
    assert set(results.rows_of(found, "idr")["data"]) == {"010"}
    assert results.by_subject(found, "baseh3d", "face_rigid_mm").tolist() == pytest.approx([1.5, 1.6, 1.7, 1.8])


def test_what_matters_is_what_the_study_says_or_else_the_usual() -> None:
    for usual in (replace(whole(), about={}), None):
        assert (results.matters(usual, "face"), results.matters(usual, "head")) == (0.1, 0.3)
    said = replace(whole(), about={"matters": {"face_mm": 0.05, "head_mm": 0.2}})
    assert (results.matters(said, "face"), results.matters(said, "head")) == (0.05, 0.2)


def test_words_and_looks_come_from_the_entry_of_a_method() -> None:
    found = whole()
    assert results.label(found, "average") == "BaseH3D-Net (averaged)" and results.phrase(found, "idr") == "a sphere"
    assert results.against(found, "h3dnet+colour") == ["idr", "baseh3d", "h3dnet"] and results.baseline(found, "h3dnet") == "idr"
    assert found.looks == {entry[0]: entry[2] for entry in invented.ENTRIES.values()}
    without = replace(found, table=found.table[found.table["method"] != "idr"])
    assert results.against(without, "h3dnet") == ["baseh3d"] and "IDR" not in without.looks
    assert results.label(found, "sira++") == "SIRA++" and results.label(found, "hull") == "hull"  # published, and unknown
    assert results.label(replace(found, about={}), "h3dnet") == "H3D-Net"
    with pytest.raises(ValueError, match=r"whole\.json: methods: hull: a phrase was expected"):
        results.phrase(found, "hull")
    with pytest.raises(ValueError, match=r"whole\.json: methods: idr: against: a method of the table was expected"):
        results.baseline(found, "idr")


def test_a_method_carries_what_its_entry_or_its_ablation_says() -> None:
    found = whole()
    assert results.parts(found, "idr") == () and results.parts(found, "baseh3d") == results.PARTS
    assert results.parts(found, "average") == ("geometry", "colour")
    assert results.parts(found, "h3dnet+colour", "geometry") == ("geometry",)
    with pytest.raises(ValueError, match=r"whole\.json: methods: h3dnet: names: colour: a description was expected"):
        results.parts(found, "h3dnet", "colour")


def test_the_committed_studies_describe_all_that_their_tables_hold() -> None:
    paths = [path for path in (ROOT / "results").glob("*.json")]
    assert {*invented.STUDIES, "quick"} <= {path.stem for path in paths}
    numbers: dict[str, set[int]] = {}
    for path in paths:
        found = results.read(ROOT, path.stem)
        assert set(found.table["prior"]) - {""} <= set(found.about["priors"])
        for method, name in found.table[["method", "name"]].drop_duplicates().itertuples(index=False):
            assert results.phrase(found, method) and results.parts(found, method, name) is not None
        assert found.subjects == found.about["subjects"] and set(found.table["seed"]) == set(found.about["seeds"])
        written = yaml.safe_load((ROOT / "config" / path.name).with_suffix(".yaml").read_text(encoding="utf-8"))["methods"]
        firsts = {method: entry if isinstance(entry, dict) else entry[0] for method, entry in written.items()}
        for method in (method for method, first in firsts.items() if "colour" in first):  # no chart shows the others
            label = results.label(found, method)
            numbers.setdefault(label, set()).add(found.looks[label])
    assert all(len(of_method) == 1 for of_method in numbers.values())
    assert len({min(of_method) for of_method in numbers.values()}) == len(numbers)
