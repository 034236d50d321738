"""The statistics against closed forms and scipy's bootstrap, and the sentence that may say "better"."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from heads.posts import stats

NAMES = [f"s{i}" for i in range(10)]


def series(values: list[float]) -> pd.Series:
    return pd.Series(values, index=NAMES[: len(values)])


def test_the_interval_is_that_of_another_bootstrap() -> None:
    values = np.random.default_rng(3).normal(-0.3, 0.6, size=10)
    other = bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(7))
    assert stats.interval(values) == pytest.approx(tuple(other.confidence_interval), abs=0.02)
    assert stats.interval(values) == stats.interval(values)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(0).normal(1.0, 1.0, size=(200, 30))
    held = [low <= 1.0 <= high for low, high in map(stats.interval, drawn)]
    assert 0.89 <= np.mean(held) <= 0.99


def test_a_mean_has_the_population_spread() -> None:
    found = stats.mean(series([1.0, 2.0, 3.0, np.nan]))
    assert (found.mean, found.n) == (2.0, 3) and found.std == pytest.approx(np.sqrt(2 / 3)) and np.isnan(found.low)
    with pytest.raises(ValueError, match="no subject has a number"):
        stats.mean(series([np.nan]))


def test_only_subjects_of_both_are_paired_whatever_their_order() -> None:
    first = series([1.0, 2.0, 3.0, np.nan, 5.0, 6.0])
    second = series([2.0, 4.0, 3.0, 1.0, 4.0, 9.0])[::-1]
    pair = stats.paired(first, second)
    assert pair.n == 5 and pair.mean == pytest.approx(-1.0) and pair.first == pytest.approx(3.4)
    assert pair.lower == ("s0", "s1", "s5") and pair.higher == ("s4",)
    with pytest.raises(ValueError, match="no subject has both"):
        stats.paired(series([1.0]), pd.Series([1.0], index=["other"]))


def test_better_and_worse_are_said_only_where_the_interval_excludes_zero() -> None:
    base = series([2.0, 3.0, 2.5, 3.5, 2.2, 2.8])
    lower, noise = base - np.array([0.5, 0.4, 0.6, 0.5, 0.45, 0.55]), base + np.array([0.5, -0.5, 0.4, -0.3, 0.2, -0.4])
    said = stats.sentence(stats.paired(lower, base), "A", "B")
    assert said.startswith("A is better than B by 0.50 mm (95% interval −0.5") and "lower on six of six heads" in said
    assert stats.sentence(stats.paired(base, lower), "B", "A").startswith("B is worse than A by 0.50 mm")
    said = stats.sentence(stats.paired(noise, base), "A", "B")
    assert (
        said.startswith("no clear difference between A and B (difference ")
        and "better" not in said
        and "lower on three of six heads" in said
    )


def test_from_few_heads_nothing_is_called_better() -> None:
    said = stats.sentence(stats.paired(series([1.0] * 4), series([5.0, 6.0, 7.0, 8.0])), "A", "B")
    assert said.startswith("the mean error of A is lower by 5.50 mm") and "four heads are too few to say which is better" in said
    assert stats.sentence(stats.paired(series([1.0]), series([5.0])), "A", "B").endswith(
        "one head is too few to say which is better"
    )
    assert "the same at this precision" in stats.sentence(stats.paired(series([1.0]), series([1.001])), "A", "B")


def test_a_choice_that_follows_the_errors_costs_nothing_and_one_that_does_not_is_counted() -> None:
    errors = pd.DataFrame({"one": [1.0, 2.0, 3.0], "two": [2.0, 1.0, 4.0], "three": [3.0, 3.0, 2.0]}, index=NAMES[:3])
    perfect = stats.choose(errors, errors * 7)
    assert perfect.best_chosen == perfect.n == 3 and (perfect.chosen == perfect.best).all()
    worst = stats.choose(errors, -errors)
    assert worst.best_chosen == 0 and worst.chosen.tolist() == [3.0, 3.0, 4.0]
    assert worst.first.tolist() == [1.0, 2.0, 3.0] and worst.mean.tolist() == pytest.approx([2.0, 2.0, 3.0])


def test_a_subject_without_all_its_numbers_does_not_count_and_none_is_an_error() -> None:
    errors = pd.DataFrame({"one": [1.0, 2.0], "two": [2.0, np.nan]}, index=NAMES[:2])
    assert stats.choose(errors, errors.fillna(0.0)).n == 1
    with pytest.raises(ValueError, match="no subject has an error and a loss"):
        stats.choose(errors, errors * np.nan)
    with pytest.raises(ValueError, match="of the same priors"):
        stats.choose(errors, errors[["two", "one"]])


@pytest.mark.parametrize(("value", "text"), [(-0.123, "−0.12"), (0.5, "+0.50"), (-0.001, "0.00")])
def test_signs(value: float, text: str) -> None:
    assert stats.signed(value) == text
