"""The sentences on the original post follow from its files, and change with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from heads.posts import original, sentences
from heads.posts.results import REGIONS, Results

ROOT = Path(__file__).parents[1]


def results(published: pd.DataFrame | None = None) -> Results:
    rows = pd.read_csv(ROOT / "blog" / "published.csv") if published is None else published
    table = pd.DataFrame({"views": [3]})
    return Results("quick", table, published=rows)


def theirs() -> original.Original:
    return original.read(ROOT)


def test_the_ten_scans_have_the_published_mean() -> None:
    row = sentences.published(results(), "baseh3d", "polak2022")
    for region in REGIONS:
        assert round(theirs().scans[region].mean(), 2) == pytest.approx(row[region], abs=0.006)
        assert round(np.std(theirs().scans[region]), 2) == row[f"{region}_std"]
    assert len(theirs().scans) == 10


def test_published_numbers_are_compared_within_one_program() -> None:
    said = original.like_with_like(results())
    assert "on the face H3D-Net is lower by 0.15 mm (1.33 against 1.48), 50% of the spread" in said
    assert "BaseH3D-Net appeared ahead on the face and head only because two programs were mixed" in said
    assert "from 2.79 to 1.48 mm on the face" in said
    other = results().published.copy()
    other.loc[(other["bib"] == "h3ds") & (other["method"] == "h3dnet") & (other["views"] == 3), ["face", "head"]] = [1.58, 20.0]
    said = original.like_with_like(results(other))
    assert "on the face BaseH3D-Net is lower by 0.10 mm" in said and "mixed" not in said
    with pytest.raises(ValueError, match="one row of h3dnet from ramon2021, 3 views, was expected, there are 0"):
        original.like_with_like(results(other[other["protocol"] == "toolbox"]))
    assert "| IDR | paper | 3.52 | 17.04 |" in original.paper_against_toolbox(results())


def test_the_schedule_is_that_of_the_files() -> None:
    said = original.schedule(theirs())
    for row in ("| 500 to 1000 | 500 | 0.0001 | 0.0001 |", "| 1500 to 2500 | 1000 | 0.000025 | 0.0001 |"):
        assert row in said
    assert "at epochs 1000 and 1500, and ended at 0.25" in original.constant(theirs())
    settings = theirs().settings.replace({"value": {"1000 1500": "100 9000"}})
    other = replace(theirs(), settings=settings)
    assert "was constant, as the post says" in original.constant(other)
    assert "| 500 to 2500 | 2000 | 0.00005 | 0.0001 |" in original.schedule(other)
    with pytest.raises(ValueError, match="one row of factor was expected, there are 0"):
        original.schedule(replace(other, settings=settings[settings["setting"] != "factor"]))


def test_a_choice_made_on_a_test_subject_is_mentioned() -> None:
    said = original.chosen_on_test(theirs())
    assert "on scan 3 among nine priors; the chosen one has the lowest error of all on the face. Scan 3 is also" in said
    assert "1.48 mm with it and 1.51 without on the face" in said
    elsewhere = theirs().numbers
    elsewhere = elsewhere[(elsewhere["table"] == "priors") | (elsewhere["scan"] != 3)]
    assert "which is not among the nine scans" in original.chosen_on_test(replace(theirs(), numbers=elsewhere))


def test_an_interval_says_whether_the_other_mean_lies_inside() -> None:
    assert "H3D-Net's 1.33 lies inside; on the head 10.65 ± 3.42 mm" in original.certainty(results(), theirs())
    far = results().published.assign(face=0.5)
    assert "H3D-Net's 0.50 lies outside" in original.certainty(results(far), theirs())
    assert "| scan 16 | 1.42 | 18.67 |" in original.per_scan(theirs())
