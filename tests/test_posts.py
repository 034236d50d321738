"""What a post says follows from the numbers: each sentence is tried with results that make it say something else."""

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
from heads.posts import sentences as posts

ROOT = Path(__file__).parents[1]
FIVE = ("ada", "ben", "cleo", "dan", "eva")


def rows(idr: list[float], baseh3d: list[float]) -> pd.DataFrame:
    """A table of one head for each pair of numbers; NaN is a run that failed. The head's errors are twice the face's."""
    return invented.quick({"idr": tuple(idr), "baseh3d": tuple(baseh3d)}, FIVE[: len(idr)])


def results(idr: list[float], baseh3d: list[float]) -> posts.Results:
    stages = pd.DataFrame({"stage": ["01_data", "02_prior"], "runs": [5, 1], "seconds": [40.4, 60.0]})
    published = pd.read_csv(ROOT / "blog" / "published.csv")
    about = {"data": {"kind": "synthetic", "size": 256, "photographs": 40, "config": ""}}
    return posts.Results("quick", rows(idr, baseh3d), stages, about, published, Path("figures"), "../figures/quick")


def full() -> posts.Results:
    published = pd.read_csv(ROOT / "blog" / "published.csv")
    return posts.Results("synthetic", invented.synthetic(), about=invented.about(), published=published)


def test_better_is_said_where_the_interval_excludes_zero() -> None:
    said = posts.sentence(results([4, 5, 6, 7, 8], [2, 3, 3, 4, 5]), "face")
    assert said.startswith(
        "On the face, BaseH3D-Net is 3.40 mm from the scan on average, IDR 6.00 mm (rigid protocol, three photo"
    )
    assert "BaseH3D-Net is better than IDR by 2.60 mm" in said and "lower on five of five heads" in said
    said = posts.sentence(results([2, 3, 3, 4, 5], [4, 5, 6, 7, 8]), "head", "toolbox")
    assert "BaseH3D-Net is worse than IDR by" in said and "(toolbox protocol" in said and "lower on none of five" in said
    said = posts.sentence(results([4, 5, 6, 7, 8], [5, 4, 7, 6, 8.1]), "face")
    assert "not told apart" in said and "better" not in said


def test_a_few_heads_are_not_taken_for_many() -> None:
    said = posts.sentence(results([4], [2]), "face")
    assert "lower by 2.00 mm" in said and "one head is too few to say which is better" in said
    concluded = posts.conclusion(results([4], [2]))
    assert "one head is too few" in concluded and "cannot be decided here" in concluded and "holds" not in concluded


def test_only_heads_that_both_reconstructed_are_compared_and_failures_named() -> None:
    found = results([4, np.nan, 6], [2, 100, 3])
    said = posts.sentence(found, "face")
    assert "On the face of the 2 heads that both reconstructed, " in said and "2.50 mm" in said
    failed = posts.failures(found)
    assert "Of six reconstructions, one did not succeed and is in no mean" in failed
    assert "- **ben**, IDR from sphere, 3 photographs, seed 0 (failed): `mask | of view 2 is <empty>`" in failed
    assert posts.failures(results([1], [1])) == "All two reconstructions succeeded."
    assert posts.succeeded(found, "idr") == "IDR reconstructed two of three heads without a failure."


def test_without_a_common_head_nothing_is_compared() -> None:
    found = results([np.nan, 3], [2, np.nan])
    assert "nothing can be said" in posts.sentence(found, "face")
    assert "says nothing about the claim" in posts.conclusion(found)
    assert posts.against_published(found) == ""
    with pytest.raises(ValueError, match="no head was reconstructed by both baseh3d and idr"):
        posts.compare(found, "face", "rigid")


def test_the_conclusion_follows_the_intervals() -> None:
    high, low = [4.0, 5, 6, 7, 8], [2.0, 3, 3, 4, 5]
    assert "holds here: BaseH3D-Net is better on the face and on the whole head" in posts.conclusion(results(high, low))
    said = posts.conclusion(results(low, high))
    assert "is not confirmed here: BaseH3D-Net is better nowhere, and worse for face (rigid)" in said
    assert "is better nowhere. It rests" in posts.conclusion(results(high, [5, 4, 7, 6, 8.1]))
    mixed = results(high, low)
    mixed.table.loc[mixed.table["method"] == "baseh3d", "head_rigid_mm"] = 50.0
    said = posts.conclusion(mixed)
    assert (
        "holds here in part: BaseH3D-Net is better for face (rigid), face (toolbox) and head (toolbox), and worse for head"
        in said
    )
    mixed.table.loc[mixed.table["method"] == "baseh3d", "head_rigid_mm"] = [8, 10, 12, 14, 16.5]
    assert "not told apart from IDR for head (rigid)." in posts.conclusion(mixed)
    assert "five heads, one prior, and one random seed each" in posts.conclusion(mixed)


def test_a_method_is_its_first_prior_and_the_mean_over_its_seeds() -> None:
    few = posts.at(full(), 3)
    numbers = posts.by_subject(few, "baseh3d", "face_rigid_mm")
    assert list(numbers.index) == list(invented.TEN) and numbers["anna"] == pytest.approx(1.51)
    assert posts.by_subject(few, "baseh3d", "face_rigid_mm", "two-500")["boris"] == pytest.approx(1.2)
    with pytest.raises(ValueError, match="one number of photographs was expected, not 3, 4, 8, 16 and 32"):
        posts.by_subject(full(), "idr", "face_rigid_mm")
    with pytest.raises(ValueError, match="runs with 5 photographs were expected"):
        posts.at(full(), 5)


def test_steps_that_do_not_help_are_named() -> None:
    found = full()
    assert posts.steps(found).count("Every step makes it better.") == 2
    found.table.loc[found.table["views"] == 16, "face_rigid_mm"] += 5
    assert "Not every step makes it better for sure; the mean does not fall from 8 to 16." in posts.steps(found)
    assert posts.steps(found).count("Every step makes it better.") == 1  # on the head


def test_where_a_prior_stops_to_help_is_said() -> None:
    said = posts.helps_until(full(), "baseh3d")
    assert "better than IDR with 3 and 4 photographs and not told apart from IDR with 8, 16 and 32 photographs" in said
    assert "worse than IDR with 3, 4, 8, 16 and 32 photographs." in posts.helps_until(full(), "average")
    assert "H3D-Net + colour is better than IDR with 3 photographs." in posts.helps_until(full(), "h3dnet+colour")


def test_the_floor_of_the_toolbox_is_what_a_perfect_sphere_scores() -> None:
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 61)] * 3, indexing="ij"), axis=-1)
    cell = 2 / 60
    vertices = measure.marching_cubes(np.linalg.norm(grid, axis=-1) - 0.9, 0.0, spacing=(cell,) * 3)[0] - 1
    points = np.random.default_rng(0).normal(size=(20000, 3))
    points *= 0.9 / np.linalg.norm(points, axis=1, keepdims=True)
    assert cKDTree(vertices).query(points)[0].mean() / cell == pytest.approx(posts.FLOOR_CELLS, abs=0.01)
    found = results([4], [2])
    assert posts.floor(found) == "For a perfect sphere its error is 0.37 of a cell."
    assert "with cells of 2 mm, as here, 0.74 mm" in posts.floor(replace(found, about={"fit": {"cell_mm": 2.0}}))


def test_the_first_heads_shown_are_the_lowest_and_the_highest() -> None:
    found = results([4, 4, 4], [2, 5, 1])
    assert posts.extremes(found) == ["cleo", "ben"] and posts.others(found) == ["ada"]
    assert posts.extremes(replace(found, table=found.table.query("method == 'idr'"))) == ["ada", "cleo"]
    assert "lowest, cleo, and the one on which it is highest, ben" in posts.choice(found)
    assert posts.extremes(results([4], [np.nan])) == []


def write(root: Path, table: pd.DataFrame) -> None:
    (root / "results").mkdir()
    (root / "blog").mkdir()
    table.to_csv(root / "results" / "quick.csv", index=False)
    pd.DataFrame({"stage": ["01_data"], "runs": [1], "seconds": [1.0]}).to_csv(root / "results" / "quick_stages.csv", index=False)
    (root / "blog" / "published.csv").write_bytes((ROOT / "blog" / "published.csv").read_bytes())


def test_results_that_are_not_there_or_not_whole_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"other\.csv"):
        posts.read(tmp_path, "other")
    write(tmp_path, rows([4], [2]).assign(face_rigid_mm=np.nan))
    with pytest.raises(ValueError, match=r"quick\.csv: four numbers in every row whose status is ok"):
        posts.read(tmp_path, "quick")
    rows([4], [2]).to_csv(tmp_path / "results" / "quick.csv", index=False)
    (tmp_path / "results" / "quick_stages.csv").write_text("stage,runs\n01_data,1\n")
    with pytest.raises(ValueError, match=r"quick_stages\.csv: a table was expected; it has no column seconds"):
        posts.read(tmp_path, "quick")


def test_the_trials_of_a_study_that_makes_a_choice_are_read_and_have_to_be_there(tmp_path: Path) -> None:
    write(tmp_path, rows([4], [2]))
    assert posts.read(tmp_path, "quick").trials.empty  # it makes none
    trials = invented.trials()
    invented.write(tmp_path, "quick", rows([4], [2]), trials=pd.concat([trials, trials.assign(views=4, loss=9.0)]))
    found = posts.read(tmp_path, "quick")
    assert len(found.trials) == 60 and (found.trials["fitted"] == "5 31").all() and (found.trials["judged"] == "12").all()
    pd.testing.assert_frame_equal(posts.at(found, 3).trials.reset_index(drop=True), trials.reset_index(drop=True))
    path = tmp_path / "results" / "quick_trials.csv"
    for broken, sentence in ((trials[:0], "a loss in each"), (trials.drop(columns="judged"), "it has no column judged")):
        broken.to_csv(path, index=False)
        with pytest.raises(ValueError, match=rf"quick_trials\.csv: .*{sentence}"):
            posts.read(tmp_path, "quick")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"quick_trials\.csv: there are no such trials"):
        posts.read(tmp_path, "quick")


def test_a_figure_that_was_not_drawn_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"comparison_ada\.png: the study did not leave this figure"):
        posts.comparison(results([4], [2]), "ada")


def test_a_head_is_drawn_as_the_first_seed_of_what_stands_for_each_method_made_it() -> None:
    few = posts.at(full(), 3)
    assert posts.drawn(few, "anna") == few.methods
    table = few.table.copy()
    first = (table["subject"] == "anna") & (table["seed"] == 0) & (table["carry"] == invented.ALL) & (table["prior"] == "one-500")
    table.loc[first, ["status", "reason"]] = "failed", "no light"
    table.loc[(table["subject"] == "boris") & (table["carry"] == "colour"), ["status", "reason"]] = "failed", "too dark"
    lost = replace(few, table=table)
    assert posts.drawn(lost, "anna") == [
        "idr",
        "average",
        "h3dnet",
        "h3dnet+colour",
    ]  # the second seed and the other carries are well
    assert posts.drawn(lost, "boris") == few.methods
    said = posts.failures(lost)
    assert "**anna**, BaseH3D-Net from one-500, 3 photographs, seed 0 (failed): `no light`" in said
    assert "**boris**, BaseH3D-Net from one-500 (its colour), 3 photographs, seed 0 (failed): `too dark`" in said


def test_a_head_that_no_method_reconstructed_needs_no_pictures() -> None:
    found = results([np.nan, 4], [np.nan, 2])
    assert posts.pictures(found, "ada") == ""
    assert posts.photographs(found, "ada") == "The photographs of ada are not shown, for no method reconstructed this head."


def test_every_study_that_a_post_reads_has_its_results_in_the_repository() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "blog").glob("*.md"))
    named = set(re.findall(r'posts\.read\("\.\.", "(\w+)"', text))
    assert {"synthetic", "quick", "tracing", "tracing_cached", "carry_common"} <= named
    assert [name for name in named if not (ROOT / "results" / f"{name}.csv").is_file()] == []


def test_the_setup_is_as_the_study_says() -> None:
    found = results([4], [2])
    assert posts.setup(found) == "There are 40 photographs of each head, 256 pixels wide and high; three are used."
    assert "do not say" in posts.setup(replace(found, about={}))
    said = posts.setup(posts.at(full(), 3))
    assert "BaseH3D-Net starts from nora, fitted to 32 photographs for 500 epochs." in said
    assert "BaseH3D-Net (averaged) starts from the average of nora (500 epochs), omar (500 epochs) and pia (500 epochs)." in said
    assert "H3D-Net starts from a space of heads learned from 200 other heads. H3D-Net + colour" in said


def test_the_space_and_the_phases_are_told_from_the_study_or_it_is_said_what_is_missing() -> None:
    assert "200 built-in heads" in posts.space(full()) and "A code has 8 numbers" in posts.space(full())
    assert "the first phase takes" in posts.phases(full()) and "the mean of the training heads' codes" in posts.phases(full())
    with pytest.raises(ValueError, match=r"synthetic\.json: a description of the prior heads"):
        posts.space(replace(full(), about={}))
    with pytest.raises(ValueError, match=r"synthetic\.json: fit: code_epochs was expected"):
        posts.phases(replace(full(), about={}))


def test_the_engine_is_told_from_its_config_alone() -> None:
    found = results([2.0], [1.0])
    told = {name: posts.engine(replace(found, about={"fit": asdict(preset)})) for name, preset in idr.PRESETS.items()}
    assert "no direction of view" in told["LAPTOP"] and "75% of the rays" in told["LAPTOP"] and "0.0005" in told["LAPTOP"]
    assert (
        "no direction of view" not in told["PAPER"] and "waves" not in told["PAPER"] and "8 layers of 512 units" in told["PAPER"]
    )
    assert "two other photographs" in told["LAPTOP"] and "two other photographs" not in told["PAPER"]
    assert "Muon" in told["LAPTOP"] and "0.016" in told["LAPTOP"] and "Muon" not in told["PAPER"]
    assert "do not say" in posts.engine(replace(found, about={}))
