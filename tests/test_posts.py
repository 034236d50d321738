"""What a post says follows from the numbers: each sentence is tried with results that make it say something else."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree
from skimage import measure

from heads import idr, posts, runs

ROOT = Path(__file__).parents[1]


def rows(idr: list[float], baseh3d: list[float]) -> pd.DataFrame:
    """A table of one head for each pair of numbers; NaN is a run that failed. The head's errors are twice the face's."""
    found = []
    for subject, *errors in zip(("ada", "ben", "cleo")[: len(idr)], idr, baseh3d, strict=True):
        for method, error in zip(("idr", "baseh3d"), errors, strict=True):
            well = not np.isnan(error)
            scores = dict(zip(runs.METRICS, (error, 2 * error, error, 2 * error), strict=True))
            found.append(
                {"subject": subject, "method": method, "prior": "sphere" if method == "idr" else "single", "views": 3, "seed": 0}
                | {"status": "ok" if well else "failed", "reason": "" if well else "the mask of view 2 is `empty`"}
                | scores
                | {"seconds": 30.0, "peak_mb": 500.0, "device": "cpu", "commit": "abc", "preset": "SMOKE"}
            )
    return pd.DataFrame(found)


def results(idr: list[float], baseh3d: list[float]) -> posts.Results:
    stages = pd.DataFrame({"stage": ["01_data", "02_prior"], "runs": [5, 1], "seconds": [40.4, 60.0]})
    published = pd.read_csv(ROOT / "blog" / "published.csv")
    about = {"data": {"kind": "synthetic", "size": 256, "photographs": 40, "config": ""}}
    return posts.Results("quick", rows(idr, baseh3d), stages, about, published, Path("figures"), "../figures/quick")


def test_a_lower_error_on_every_head_is_said_to_be_lower() -> None:
    said = posts.sentence(results([4, 6], [2, 3]), "face")
    assert "BaseH3D-Net is 2.50 mm" in said and "IDR 5.00 mm" in said and "(rigid protocol)" in said
    assert "lower by 50%" in said and "every one of the two heads" in said


def test_a_higher_error_is_said_to_be_higher() -> None:
    said = posts.sentence(results([2, 3], [4, 6]), "head", "toolbox")
    assert "higher by 100%" in said and "on none of the two heads" in said and "(toolbox protocol)" in said


def test_a_single_head_is_not_taken_for_many() -> None:
    assert "lower by 50%; that is ada alone." in posts.sentence(results([4], [2]), "face")
    concluded = posts.conclusion(results([4], [2]))
    assert "on one head, one prior" in concluded and "every one" not in concluded


def test_heads_against_the_mean_are_named() -> None:
    assert "lower on two of the three heads, not on cleo" in posts.sentence(results([5, 5, 2], [2, 2, 3]), "face")


def test_a_difference_below_the_precision_is_not_called_one() -> None:
    assert "no difference at this precision" in posts.sentence(results([2.001, 3], [2.0, 3]), "face")


def test_only_heads_that_both_reconstructed_are_compared_and_failures_named() -> None:
    found = results([4, np.nan, 6], [2, 100, 3])
    said = posts.sentence(found, "face")
    assert "On the face of the heads that both reconstructed, " in said and "2.50 mm" in said
    failed = posts.failures(found)
    assert "Of six reconstructions, one did not succeed and is in no mean" in failed
    assert "- **ben**, IDR (failed): `the mask of view 2 is 'empty'`" in failed
    assert posts.failures(results([1], [1])) == "All two reconstructions succeeded."


def test_without_a_common_head_nothing_is_compared() -> None:
    found = results([np.nan, 3], [2, np.nan])
    assert "nothing can be said" in posts.sentence(found, "face")
    assert "says nothing about the claim" in posts.conclusion(found)
    assert posts.against_published(found) == ""


def test_the_conclusion_follows_the_numbers() -> None:
    assert posts.conclusion(results([4, 6], [2, 3])).startswith("The claim holds here:")
    assert "every one of the two heads" in posts.conclusion(results([4, 6], [2, 3]))
    assert posts.conclusion(results([2, 3], [4, 6])).startswith("The claim does not hold here:")
    mixed = results([4, 6], [2, 3])
    mixed.table.loc[mixed.table["method"] == "baseh3d", "head_rigid_mm"] = 50.0
    said = posts.conclusion(mixed)
    assert "holds here in part" in said and "not for head (rigid)." in said
    hidden = posts.conclusion(results([9, 2], [2, 3]))
    assert hidden.startswith("The claim holds here:") and "exceptions" in hidden and "face (rigid): ben" in hidden
    assert "two heads, one prior and one random seed" in hidden


def test_the_table_holds_means_and_spreads_of_the_heads_that_succeeded() -> None:
    said = posts.table2(results([4, 6, np.nan], [2, 3, 4]))
    assert "| IDR | rigid | 5.00 ± 1.00 | 10.00 ± 2.00 | measured here, 2 built-in heads |" in said
    assert "| BaseH3D-Net | toolbox | 3.00 ± 0.82 | 6.00 ± 1.63 | measured here, 3 built-in heads |" in said
    assert "| *H3D-Net* | toolbox | 1.33 | 10.52 | README of the h3ds package {cite:p}`h3ds` |" in said
    assert "| *BaseH3D-Net* | toolbox | 1.48 ± 0.30 | 10.65 ± 3.42 |" in said
    alone = posts.table2(results([4], [2]))
    assert "| IDR | rigid | 4.00 | 8.00 | measured here, 1 built-in head |" in alone
    assert "| – | – |" in posts.table2(results([np.nan], [2]))


def test_published_numbers_are_compared_within_one_program() -> None:
    found = results([4], [2])
    said = posts.published_like_with_like(found)
    assert "on the face H3D-Net is lower by 0.15 mm (1.33 against 1.48), 50% of the spread" in said
    assert "appeared ahead on the face and head came from the mixture" in said
    assert "from 2.79 to 1.48 mm on the face" in said
    other = found.published.copy()
    other.loc[(other["method"] == "h3dnet") & (other["protocol"] == "toolbox"), ["face", "head"]] = [1.58, 20.0]
    said = posts.published_like_with_like(replace(found, published=other))
    assert "on the face BaseH3D-Net is lower by 0.10 mm" in said and "mixture" not in said
    with pytest.raises(ValueError, match="one row of h3dnet in protocol paper was expected, there are 0"):
        posts.published_like_with_like(replace(found, published=other[other["protocol"] == "toolbox"]))


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
    assert "lowest, cleo, and the one on which it is highest, ben" in posts.choice(found)
    assert posts.extremes(results([4], [np.nan])) == []


def test_provenance_names_commit_machine_and_times() -> None:
    said = posts.provenance(results([4], [2]))
    assert "`make study STUDY=config/quick.yaml`" in said and "| commit | `abc` |" in said
    assert "| data size | `256` |" in said and "config |" not in said
    assert "| `01_data` | 5 | 40 |" in said and "| together | 6 | 100 |" in said


def write(root: Path, table: pd.DataFrame) -> None:
    (root / "results").mkdir()
    (root / "blog").mkdir()
    table.to_csv(root / "results" / "quick.csv", index=False)
    pd.DataFrame({"stage": ["01_data"], "runs": [1], "seconds": [1.0]}).to_csv(root / "results" / "quick_stages.csv", index=False)
    (root / "blog" / "published.csv").write_bytes((ROOT / "blog" / "published.csv").read_bytes())


def test_results_are_read_for_one_number_of_views(tmp_path: Path) -> None:
    both = pd.concat([rows([4], [2]), rows([1], [1]).assign(views=8)])
    write(tmp_path, both)
    assert posts.read(tmp_path, "quick", views=3).table["face_rigid_mm"].tolist() == [4, 2]
    with pytest.raises(ValueError, match=r"quick\.csv: runs with 5 photographs were expected"):
        posts.read(tmp_path, "quick", views=5)


def test_results_that_are_not_there_or_not_whole_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"other\.csv"):
        posts.read(tmp_path, "other", views=3)
    write(tmp_path, rows([4], [2]).assign(face_rigid_mm=np.nan))
    with pytest.raises(ValueError, match=r"quick\.csv: four numbers in every row whose status is ok"):
        posts.read(tmp_path, "quick", views=3)
    rows([4], [2]).to_csv(tmp_path / "results" / "quick.csv", index=False)
    (tmp_path / "results" / "quick_stages.csv").write_text("stage,runs\n01_data,1\n")
    with pytest.raises(ValueError, match=r"quick_stages\.csv: a column seconds was expected"):
        posts.read(tmp_path, "quick", views=3)


def test_a_figure_that_was_not_drawn_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"comparison_ada\.png: the study did not leave this figure"):
        posts.comparison(results([4], [2]), "ada")


def test_a_head_that_no_method_reconstructed_needs_no_pictures() -> None:
    found = results([np.nan, 4], [np.nan, 2])
    assert posts.pictures(found, "ada") == ""
    assert posts.photographs(found, "ada") == "The photographs of ada are not shown, for no method reconstructed this head."


def test_the_setup_is_as_the_study_says() -> None:
    found = results([4], [2])
    assert posts.setup(found) == "There are 40 photographs of each head, 256 pixels wide and high; three are used."
    with_prior = replace(found, about={"prior": {"single": {"subject": "eve", "views": 32, "epochs": 500}}})
    assert "is eve, fitted to 32 photographs for 500 epochs" in posts.setup(with_prior)
    assert "do not say" in posts.setup(replace(found, about={}))


def test_the_engine_is_told_from_its_config_alone() -> None:
    found = results([2.0], [1.0])
    told = {name: posts.engine(replace(found, about={"fit": asdict(preset)})) for name, preset in idr.PRESETS.items()}
    assert "no direction of view" in told["LAPTOP"] and "75% of the rays" in told["LAPTOP"] and "0.0005" in told["LAPTOP"]
    assert (
        "no direction of view" not in told["PAPER"] and "waves" not in told["PAPER"] and "8 layers of 512 units" in told["PAPER"]
    )
    assert "do not say" in posts.engine(replace(found, about={}))
