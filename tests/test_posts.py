"""The sentences of the posts follow from the numbers: each is tested with results that change what it says."""

import re
from dataclasses import asdict, replace
from pathlib import Path

import invented
import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree
from skimage import measure

from heads.methods import idr
from heads.posts import results as studies
from heads.posts import sentences
from heads.posts.results import Results

ROOT = Path(__file__).parents[1]
FIVE = ("ada", "ben", "cleo", "dan", "eva")


def rows(idr: list[float], baseh3d: list[float]) -> pd.DataFrame:
    """A table of one head for each pair of numbers; NaN is a run that failed. The head's errors are twice the face's."""
    return invented.quick({"idr": tuple(idr), "baseh3d": tuple(baseh3d)}, FIVE[: len(idr)])


def results(idr: list[float], baseh3d: list[float]) -> Results:
    stages = pd.DataFrame({"stage": ["01_data", "02_prior"], "runs": [5, 1], "seconds": [40.4, 60.0]})
    published = pd.read_csv(ROOT / "blog" / "published.csv")
    about = {"data": {"kind": "synthetic", "size": 256, "photographs": 40}, "methods": invented.about()["methods"]}
    return Results("quick", rows(idr, baseh3d), stages, about, published, Path("figures"), "../figures/quick")


def whole() -> Results:
    published = pd.read_csv(ROOT / "blog" / "published.csv")
    return Results("whole", invented.whole(), about=invented.about(), published=published)


def versus(found: Results, region: str, protocol: str = "rigid") -> str:
    return sentences.versus(found, "baseh3d", "idr", region, protocol)


def conclusion(found: Results) -> str:
    return sentences.conclusion(found, "baseh3d")


def test_better_is_said_where_the_interval_excludes_zero_and_the_difference_matters() -> None:
    said = versus(results([4, 5, 6, 7, 8], [2, 3, 3, 4, 5]), "face")
    assert said.startswith(
        "On the face, BaseH3D-Net is 3.40 mm from the scan on average, IDR 6.00 mm (rigid protocol, three photo"
    )
    assert "BaseH3D-Net is better than IDR by 2.60 mm" in said and "lower on five of five heads" in said
    said = versus(results([2, 3, 3, 4, 5], [4, 5, 6, 7, 8]), "head", "toolbox")
    assert "BaseH3D-Net is worse than IDR by" in said and "(toolbox protocol" in said and "lower on none of five" in said
    said = versus(results([4, 5, 6, 7, 8], [5, 4, 7, 6, 8.1]), "face")
    assert "it is undecided whether BaseH3D-Net or IDR is better (difference +0.02 mm" in said
    assert said.endswith("the interval is for this one prior only and does not speak of priors in general.")
    said = versus(results([4, 5, 6, 7, 8], [3.98, 4.95, 5.94, 6.96, 7.97]), "face")
    assert "BaseH3D-Net and IDR are the same to within 0.1 mm (difference −0.04 mm" in said and "better" not in said


def test_a_few_heads_are_not_taken_for_many() -> None:
    said = versus(results([4], [2]), "face")
    assert "lower by 2.00 mm" in said and "one head is too few to say which is better" in said
    concluded = conclusion(results([4], [2]))
    assert "one head is too few" in concluded and "cannot be decided here" in concluded and "holds" not in concluded


def test_only_heads_that_both_reconstructed_are_compared_and_failures_named() -> None:
    found = results([4, np.nan, 6], [2, 100, 3])
    said = versus(found, "face")
    assert "On the face of the 2 heads that both reconstructed, " in said and "2.50 mm" in said
    failed = sentences.failures(found)
    assert "Of six reconstructions of the study `quick`, one failed and is in no mean:" in failed
    assert "- **ben**, IDR, 3 photographs, seed 0 (failed): `mask | of view 2 is <empty>`" in failed
    assert sentences.failures(results([1], [1])) == "All two reconstructions of the study `quick` succeeded."
    assert sentences.succeeded(found, "idr") == "IDR reconstructed two of three heads without a failure."


def test_without_a_common_head_nothing_is_compared() -> None:
    found = results([np.nan, 3], [2, np.nan])
    assert "nothing can be said" in versus(found, "face")
    assert "says nothing about the claim" in conclusion(found)
    with pytest.raises(ValueError, match="no head was reconstructed by both baseh3d and idr"):
        sentences.compare(found, "baseh3d", "idr", "face")


def test_the_conclusion_follows_the_intervals() -> None:
    high, low = [4.0, 5, 6, 7, 8], [2.0, 3, 3, 4, 5]
    assert "holds here: BaseH3D-Net is better than IDR on the face and on the whole head" in conclusion(results(high, low))
    said = conclusion(results(low, high))
    assert "is not confirmed here: BaseH3D-Net is better than IDR nowhere; it is worse for face (rigid)" in said
    said = conclusion(results(high, [5, 4, 7, 6, 8.1]))
    assert "is undecided here: BaseH3D-Net may be better than IDR or not. It rests" in said
    said = conclusion(results(high, [one + 0.01 for one in high]))
    assert "better than IDR nowhere; it is the same to within what matters for face (rigid), face (toolbox)" in said
    mixed = results(high, low)
    mixed.table.loc[mixed.table["method"] == "baseh3d", "head_rigid_mm"] = 50.0
    said = conclusion(mixed)
    better = "in part: BaseH3D-Net is better than IDR for face (rigid), face (toolbox) and head (toolbox); it is "
    assert f"{better}worse for head (rigid)." in said
    mixed.table.loc[mixed.table["method"] == "baseh3d", "head_rigid_mm"] = [8, 10, 12, 14, 16.5]
    assert f"{better}the same to within what matters for head (rigid)." in conclusion(mixed)
    mixed.table.loc[mixed.table["method"] == "baseh3d", "head_rigid_mm"] = [8, 10, 12, 14, 18.5]
    assert f"{better}undecided for head (rigid)." in conclusion(mixed)
    assert conclusion(mixed).endswith(
        "It rests on five heads, one prior and one random seed each. It does not speak of priors in general."
    )
    said = sentences.conclusion(studies.at(whole(), 3), "baseh3d")
    assert "is undecided here: BaseH3D-Net may be better than IDR or not." in said
    assert said.endswith("It rests on ten heads, three priors and one or two random seeds each.")


def test_a_method_is_the_mean_over_the_people_of_its_priors_and_over_its_seeds() -> None:
    few = studies.at(whole(), 3)
    numbers = studies.by_subject(few, "baseh3d", "face_rigid_mm")
    assert list(numbers.index) == list(invented.TEN) and numbers["anna"] == pytest.approx((1.51 + 2.15 + 2.25) / 3)
    assert studies.by_subject(few, "baseh3d", "face_rigid_mm", "two-500")["boris"] == pytest.approx(1.2)
    with pytest.raises(ValueError, match=r"one number of photographs was expected, not several \(3, 4, 8, 16, 32\)"):
        studies.by_subject(whole(), "idr", "face_rigid_mm")
    with pytest.raises(ValueError, match="runs with 5 photographs were expected"):
        studies.at(whole(), 5)


def test_steps_that_do_not_help_are_named() -> None:
    found = whole()
    said = sentences.more_photographs(found, "idr")
    assert said.count("Every step makes it better.") == 1  # on the face
    assert "It becomes better from 4 to 8, from 8 to 16 and from 16 to 32 and changes by less than matters from 3 to 4." in said
    found.table.loc[found.table["views"] == 16, "face_rigid_mm"] += 5
    said = sentences.more_photographs(found, "idr")
    assert "It becomes better from 3 to 4, from 4 to 8 and from 16 to 32 and becomes worse from 8 to 16." in said


def test_where_a_prior_stops_to_help_is_said() -> None:
    said = sentences.by_photographs(whole(), "baseh3d")
    same = "is the same as IDR to within what matters with 8, 16 and 32 photographs."
    assert f"On the face (ten heads), BaseH3D-Net is better than IDR with 3 and 4 photographs and {same}" in said
    assert said.endswith("This is for one prior only and does not speak of priors in general.")
    assert "worse than IDR with 3, 4, 8, 16 and 32 photographs." in sentences.by_photographs(whole(), "average")
    assert "H3D-Net + colour is better than IDR with 3 photographs." in sentences.by_photographs(whole(), "h3dnet+colour")


def test_where_photographs_are_disturbed_a_prior_helps_by_its_verdicts_or_there_are_too_few_heads_for_any() -> None:
    about = invented.disturbed_about()
    said = sentences.when_priors_help(Results("whole", invented.disturbances(10), about=about))
    better = "BaseH3D-Net is better than IDR with no disturbance and 2× noise"
    assert f"On the face (ten heads), {better} and is the same as IDR to within what matters with 2× all." in said
    assert said.endswith("This is for one prior only and does not speak of priors in general.") and "mean difference" not in said
    few = sentences.when_priors_help(Results("whole", invented.disturbances(4), about=about))
    means = "−0.50 mm with no disturbance, −0.50 mm with 2× noise and 0.00 mm with 2× all"
    expected = f"On the face, four heads are too few for a verdict on BaseH3D-Net against IDR; the mean difference is {means}."
    assert expected in few and "better" not in few and "the same as" not in few
    mixed = invented.disturbances(5)
    mixed.loc[(mixed["subject"] == "elif") & (mixed["data"] == "all2"), "status"] = "failed"
    said = sentences.when_priors_help(Results("whole", mixed, about=about))
    assert f"On the face (five heads), {better}. On the face, four heads are too few for a verdict" in said
    assert "the mean difference is 0.00 mm with 2× all." in said
    failed = sentences.failures(Results("whole", mixed, about=about))
    assert "- **elif**, BaseH3D-Net from one-500, data all2, 3 photographs" in failed
    with pytest.raises(ValueError, match="whole: fits to photographs with and without a disturbance were expected"):
        sentences.when_priors_help(whole())


def test_the_floor_of_the_toolbox_is_what_a_perfect_sphere_scores() -> None:
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 61)] * 3, indexing="ij"), axis=-1)
    cell = 2 / 60
    vertices = measure.marching_cubes(np.linalg.norm(grid, axis=-1) - 0.9, 0.0, spacing=(cell,) * 3)[0] - 1
    points = np.random.default_rng(0).normal(size=(20000, 3))
    points *= 0.9 / np.linalg.norm(points, axis=1, keepdims=True)
    assert cKDTree(vertices).query(points)[0].mean() / cell == pytest.approx(sentences.FLOOR_CELLS, abs=0.01)
    found = results([4], [2])
    assert sentences.floor(found) == "For a perfect sphere its error is 0.37 of a cell."
    assert "with cells of 2 mm, as here, 0.74 mm" in sentences.floor(replace(found, about={"fit": {"cell_mm": 2.0}}))


def test_the_first_heads_shown_are_the_lowest_and_the_highest() -> None:
    found = results([4, 4, 4], [2, 5, 1])
    assert studies.extremes(found) == ["cleo", "ben"] and studies.leading(found) == "baseh3d"
    assert studies.extremes(replace(found, table=found.table.query("method == 'idr'"))) == ["ada", "cleo"]
    assert sentences.choice(found) == "The heads with the lowest and the highest face error of BaseH3D-Net (rigid): cleo and ben."
    assert sentences.choice(replace(found, about={})).startswith("The heads with the lowest and the highest face error of IDR")
    assert studies.extremes(results([4], [np.nan])) == []


def write(root: Path, table: pd.DataFrame) -> None:
    (root / "results").mkdir()
    (root / "blog").mkdir()
    table.to_csv(root / "results" / "quick.csv", index=False)
    pd.DataFrame({"stage": ["01_data"], "runs": [1], "seconds": [1.0]}).to_csv(root / "results" / "quick_stages.csv", index=False)
    (root / "blog" / "published.csv").write_bytes((ROOT / "blog" / "published.csv").read_bytes())


def test_results_that_are_not_there_or_not_whole_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"other\.csv"):
        studies.read(tmp_path, "other")
    write(tmp_path, rows([4, 5], [2, 3]).assign(face_rigid_mm=[np.nan, 3.0, 2.0, 1.0]))
    with pytest.raises(ValueError, match=r"quick\.csv: at least one row with status ok, and in each of these all scores"):
        studies.read(tmp_path, "quick")
    rows([4], [2]).to_csv(tmp_path / "results" / "quick.csv", index=False)
    (tmp_path / "results" / "quick_stages.csv").write_text("stage,runs\n01_data,1\n")
    with pytest.raises(ValueError, match=r"quick_stages\.csv: a table was expected; it has no column seconds"):
        studies.read(tmp_path, "quick")


def test_the_trials_of_a_study_that_makes_a_choice_are_read_and_have_to_be_there(tmp_path: Path) -> None:
    write(tmp_path, rows([4], [2]))
    assert studies.read(tmp_path, "quick").trials.empty  # it makes none
    trials = invented.trials()
    invented.write(tmp_path, "quick", rows([4], [2]), trials=pd.concat([trials, trials.assign(views=4, loss=9.0)]))
    found = studies.read(tmp_path, "quick")
    assert len(found.trials) == 60 and (found.trials["fitted"] == "5 31").all() and (found.trials["judged"] == "12").all()
    pd.testing.assert_frame_equal(studies.at(found, 3).trials.reset_index(drop=True), trials.reset_index(drop=True))
    path = tmp_path / "results" / "quick_trials.csv"
    for broken, sentence in ((trials[:0], "a loss in each"), (trials.drop(columns="judged"), "it has no column judged")):
        broken.to_csv(path, index=False)
        with pytest.raises(ValueError, match=rf"quick_trials\.csv: .*{sentence}"):
            studies.read(tmp_path, "quick")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"quick_trials\.csv: there are no such trials"):
        studies.read(tmp_path, "quick")


def test_a_figure_that_was_not_drawn_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"comparison_ada\.png: the study did not draw this figure"):
        sentences.comparison(results([4], [2]), "ada")


def test_a_head_is_drawn_as_the_first_seed_of_what_represents_each_method_made_it() -> None:
    few = studies.at(whole(), 3)
    assert sentences.drawn(few, "anna") == few.methods
    table = few.table.copy()
    first = (table["subject"] == "anna") & (table["seed"] == 0) & (table["name"] == "") & (table["prior"] == "one-500")
    table.loc[first, ["status", "reason"]] = "failed", "no light"
    table.loc[(table["subject"] == "boris") & (table["name"] == "colour"), ["status", "reason"]] = "failed", "too dark"
    lost = replace(few, table=table)
    assert sentences.drawn(lost, "anna") == [method for method in few.methods if method != "baseh3d"]  # its other runs succeeded
    assert sentences.drawn(lost, "boris") == few.methods
    said = sentences.failures(lost)
    assert "**anna**, BaseH3D-Net from one-500, 3 photographs, seed 0 (failed): `no light`" in said
    assert "**boris**, BaseH3D-Net from one-500 (colour), 3 photographs, seed 0 (failed): `too dark`" in said


def test_a_head_that_no_method_reconstructed_needs_no_pictures() -> None:
    found = results([np.nan, 4], [np.nan, 2])
    assert sentences.pictures(found, "ada") == ""
    assert (
        sentences.photographs(found, "ada") == "The photographs of ada are not shown because no method reconstructed this head."
    )


def test_every_study_that_a_post_reads_has_its_results_in_the_repository() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "blog").glob("*.md"))
    named = set(re.findall(r'results\.read\("\.\.", "(\w+)"', text))
    for several in re.findall(r'results\.read\("\.\.", name.*?\) for name in \((.*?)\)', text):
        named |= set(re.findall(r'"(\w+)"', several))
    for page in (ROOT / "blog").glob("*.md"):  # where another study is named, only the head of a page changes
        cells = re.findall(r"^```\{code-cell\}\n.*?^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        assert not [cell for cell in cells[1:] if ".read(" in cell], page.name
    assert {*invented.STUDIES, "quick"} <= named
    assert [name for name in named if not (ROOT / "results" / f"{name}.csv").is_file()] == []


def test_the_setup_is_as_the_study_says() -> None:
    found = results([4], [2])
    assert sentences.setup(found) == "There are 40 photographs of each head, 256 pixels wide and high; three are used."
    assert "do not say" in sentences.setup(replace(found, about={}))
    said = sentences.setup(studies.at(whole(), 3))
    fitted = "BaseH3D-Net starts from nora, fitted to 32 photographs for 500 epochs"
    assert f"{fitted} and, made in the same way, from others: three priors in all." in said
    assert f"{fitted}." in sentences.setup(studies.at(whole(), 4))
    assert "BaseH3D-Net (averaged) starts from the average of nora (500 epochs), omar (500 epochs) and pia (500 epochs)." in said
    assert "H3D-Net starts from a space of heads learned from 200 other heads. H3D-Net + colour" in said


def test_what_the_verdicts_mean_is_told_with_what_matters_in_the_study() -> None:
    assert "matters here from 0.1 mm on the face and 0.3 mm on the head." in sentences.explanation()
    told = sentences.explanation(replace(whole(), about={"matters": {"face_mm": 0.2, "head_mm": 0.5}}))
    assert "matters here from 0.2 mm on the face and 0.5 mm on the head." in told and "everything else *undecided*" in told


def test_the_space_and_the_phases_are_told_from_the_study_or_it_is_said_what_is_missing() -> None:
    space, phases = sentences.space(whole(), "h3dnet"), sentences.phases(whole(), "h3dnet")
    assert (
        space.startswith("For H3D-Net, the space is learned from 200 random built-in heads") and "A code has 8 numbers" in space
    )
    assert phases.startswith("For H3D-Net, the first phase takes") and "the mean of the training heads' codes" in phases
    with pytest.raises(ValueError, match=r"whole\.json: a description of the prior heads"):
        sentences.space(replace(whole(), about={}), "h3dnet")
    with pytest.raises(ValueError, match=r"whole\.json: fit: code_epochs was expected"):
        sentences.phases(replace(whole(), about={}), "h3dnet")


def test_the_engine_is_told_from_its_config_alone() -> None:
    found = results([2.0], [1.0])
    told = {name: sentences.settings(replace(found, about={"fit": asdict(preset)})) for name, preset in idr.PRESETS.items()}
    assert "direction of view in the colour network: none" in told["LAPTOP"] and "0.0005" in told["LAPTOP"]
    assert "in all photographs: 75% on the head, 19% at most 12 pixels beside it" in told["LAPTOP"]
    assert "direction of view" not in told["PAPER"] and "waves" not in told["PAPER"] and "units" not in told["PAPER"]
    assert "tracing of rays: on a grid" in told["PAPER"] and told["PAPER"].count("(published: ") == 1
    assert told["LAPTOP"].count("8 layers of 512 units") == 1 and "a mode of the published program" in told["LAPTOP"]
    assert "two other photographs" in told["LAPTOP"] and "two other photographs" not in told["PAPER"]
    assert "Muon" in told["LAPTOP"] and "0.016" in told["LAPTOP"] and "Muon" not in told["PAPER"]
    assert "do not say" in sentences.settings(replace(found, about={}))


def test_studies_of_several_commits_are_told_apart() -> None:
    one = results([4.0], [2.0])
    other = replace(one, study="views", table=one.table.assign(commit="89abcdef0"))
    assert sentences.commits([one, replace(one, study="views")]) == (
        "The studies were run at these commits: `quick` and `views` at 0123abc."
    )
    said = sentences.commits([one, other])
    assert "`quick` at 0123abc; `views` at 89abcde. Programs differ between commits" in said
