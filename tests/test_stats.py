"""The statistics against closed forms, simulated data and scipy's bootstrap; the verdict, and the sentence that states it."""

import time
from itertools import product

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


PRIORS = [(person, training) for person, trainings in zip("abcde", (3, 3, 1, 1, 1), strict=True) for training in range(trainings)]


def crossed(deviations: tuple[float, float, float, float], generator: np.random.Generator, mean: float = 0.0) -> pd.DataFrame:
    """Ten heads by nine trainings of five people: normal effects of heads, people, trainings, and of both together."""
    of_head, of_person, of_training, of_both = deviations
    person = dict(zip("abcde", generator.normal(0, of_person, 5), strict=True))
    columns = np.array([person[one] + generator.normal(0, of_training) for one, _ in PRIORS])
    values = mean + generator.normal(0, of_head, (10, 1)) + columns + generator.normal(0, of_both, (10, len(PRIORS)))
    return pd.DataFrame(values, index=NAMES, columns=pd.MultiIndex.from_tuples(PRIORS))


def test_with_one_prior_or_none_the_interval_is_that_over_heads() -> None:
    table = crossed((0.5, 0.5, 0.5, 0.5), np.random.default_rng(1))
    one, other = table[[("c", 0)]], series([0.1 * i for i in range(10)])
    pair = stats.paired(one, other)
    assert (pair.low, pair.high) == pytest.approx(stats.interval(one["c", 0] - other))
    assert pair.samples == (stats.Sample(1, 1),) and pair.one_prior
    assert stats.paired(other, other + 1).samples == () and not stats.paired(other, other + 1).one_prior


def test_an_interval_over_priors_is_as_wide_as_their_differences_make_it() -> None:
    generator = np.random.default_rng(5)
    alike, different = crossed((0.3, 0.0, 0.0, 0.1), generator), crossed((0.3, 0.8, 0.4, 0.1), generator)
    widths = [np.subtract(*stats.pigeonhole(table)[::-1]) for table in (alike, different)]
    assert widths[0] < 0.6 < widths[1]
    assert stats.pigeonhole(different) == stats.pigeonhole(different)
    same = different.sub(different.mean(axis=1), axis=0) * 0 + 0.7  # no variance at all
    assert stats.pigeonhole(same) == pytest.approx((0.7, 0.7))


@pytest.mark.parametrize("deviations", [(0.8, 0.5, 0.4, 0.5), (0.5, 0.0, 0.0, 0.5)])
def test_an_interval_over_priors_covers_the_true_mean_about_as_often_as_it_says(
    deviations: tuple[float, float, float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "DRAWS", 1000)
    generator, hits, alone = np.random.default_rng(1), [], []
    for _ in range(150):
        table = crossed(deviations, generator, mean=1.0)
        low, high = stats.pigeonhole(table)
        hits.append(low <= 1.0 <= high)
        low, high = stats.interval(table["a", 0])
        alone.append(low <= 1.0 <= high)
    assert np.mean(hits) >= 0.89
    assert deviations[1] == 0 or np.mean(alone) < 0.7  # what an interval over heads alone promises of priors in general


def test_missing_cells_and_heads_are_left_out_and_the_draws_take_less_than_a_second() -> None:
    table = crossed((0.3, 0.3, 0.3, 0.3), np.random.default_rng(2), mean=1.0)
    table.loc["s0", ("a", 1)] = table.loc["s1", "b"] = np.nan
    table.loc["s9"] = np.nan
    began = time.perf_counter()
    pair = stats.paired(table, series([0.0] * 10))
    assert time.perf_counter() - began < 1
    assert pair.n == 9 and pair.low < pair.mean < pair.high and pair.samples == (stats.Sample(5, 9),)
    means = [table.loc["s0", person].mean() for person in "abcde"]
    assert stats.of_heads(table)["s0"] == pytest.approx(np.mean(means))
    assert stats.of_heads(table)["s1"] == pytest.approx(np.mean([table.loc["s1", person].mean() for person in "acde"]))


def test_methods_with_the_same_priors_are_compared_prior_by_prior_and_others_apart() -> None:
    table = crossed((0.5, 1.0, 0.5, 0.3), np.random.default_rng(3), mean=2.0)
    pair = stats.paired(table[["a", "b", "c"]] - 0.4, table)
    assert (pair.mean, pair.low, pair.high) == pytest.approx((-0.4, -0.4, -0.4)) and pair.samples == (stats.Sample(3, 7),)
    named = table.rename(columns=str.upper, level=0)
    apart = stats.paired(named - 0.4, table)
    assert apart.samples == (stats.Sample(5, 9), stats.Sample(5, 9)) and apart.low < -1 and apart.high > 0
    assert apart.mean == pytest.approx(-0.4) and apart.verdict(0.3) == "undecided"


D = 0.3


@pytest.mark.parametrize(
    ("mean", "low", "high", "expected"),
    [
        (-0.5, -0.8, -0.3, "better"),  # all of the interval matters
        (-0.5, -0.9, -0.1, "better"),  # less is possible, but not nothing
        (-0.3, -0.5, -0.1, "better"),  # the mean just matters
        (-0.25, -0.4, -0.1, "undecided"),  # lower, but by more or less than matters
        (-0.2, -0.3, -0.1, "the same"),  # lower, but by less than matters
        (-0.5, -1.1, 0.0, "undecided"),  # 0 is not excluded
        (-0.5, -1.1, 0.1, "undecided"),
        (-0.1, -0.4, 0.2, "undecided"),  # it may matter in one direction
        (0.0, -0.9, 0.9, "undecided"),  # or in both
        (0.0, -0.3, 0.3, "the same"),
        (0.0, -0.30001, 0.3, "the same"),  # by less than the last digit of a table
        (-0.29999, -0.5, -0.1, "better"),
        (0.05, -0.1, 0.2, "the same"),
        (0.0, 0.0, 0.0, "the same"),
        (0.1, -0.2, 0.4, "undecided"),
        (0.5, -0.1, 1.1, "undecided"),
        (0.5, 0.0, 1.1, "undecided"),
        (0.5, 0.00001, 1.1, "undecided"),  # less than the last digit of a table
        (0.2, 0.1, 0.3, "the same"),
        (0.25, 0.1, 0.4, "undecided"),
        (0.3, 0.1, 0.5, "worse"),
        (0.5, 0.1, 0.9, "worse"),
        (0.5, 0.3, 0.8, "worse"),
        (-0.2, -0.9, -0.4, "undecided"),  # a mean outside of its interval
        (0.5, np.nan, np.nan, "too few heads"),
    ],
)
def test_a_verdict_needs_an_interval_that_excludes_zero_and_a_mean_that_matters(
    mean: float, low: float, high: float, expected: str
) -> None:
    assert stats.verdict(mean, low, high, D) == expected
    mirrored = {"better": "worse", "worse": "better"}
    assert stats.verdict(-mean, -high, -low, D) == mirrored.get(expected, expected)


def test_every_interval_has_one_verdict_and_what_matters_is_above_zero() -> None:
    grid = np.linspace(-1, 1, 21)
    found = {stats.verdict(mean, low, high, D) for mean, low, high in product(grid, grid, grid) if low <= high}
    assert found == {"better", "worse", "the same", "undecided"}
    for wrong in (0.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="the smallest effect that matters has to be above 0"):
            stats.verdict(0.0, -1.0, 1.0, wrong)


def test_a_sentence_says_the_verdict_the_interval_and_what_matters() -> None:
    base = series([2.0, 3.0, 2.5, 3.5, 2.2, 2.8])
    steps = np.array([0.5, 0.4, 0.6, 0.5, 0.45, 0.55])
    said = stats.sentence(stats.paired(base - steps, base), "A", "B", 0.3)
    assert said.startswith("A is better than B by 0.50 mm (95% interval −0.5") and said.endswith("lower on six of six heads)")
    assert stats.sentence(stats.paired(base, base - steps), "B", "A", 0.3).startswith("B is worse than A by 0.50 mm")
    noise = base + np.array([0.5, -0.5, 0.4, -0.3, 0.2, -0.4])
    said = stats.sentence(stats.paired(noise, base), "A", "B", 0.1)
    assert said.startswith("it is undecided whether A or B is better (difference ") and "lower on three of six heads" in said
    assert stats.sentence(stats.paired(noise, base), "A", "B", 1.0).startswith("A and B are the same to within 1 mm (difference ")
    said = stats.sentence(stats.paired(base - steps, base), "A", "B", 0.52)
    assert said.startswith("the error of A is lower than that of B, but whether by the 0.52 mm that matter is undecided (diff")


def test_a_sentence_says_of_which_priors_it_speaks() -> None:
    table, other = crossed((0.5, 0.2, 0.2, 0.2), np.random.default_rng(3), mean=9.0), series([1.0] * 10)
    said = stats.sentence(stats.paired(table, other), "A", "B", 0.3)
    assert " over heads and five priors in nine trainings; lower on none of ten heads)" in said and "only" not in said
    assert " over heads and three priors; lower" in stats.sentence(stats.paired(table[["c", "d", "e"]], other), "A", "B", 0.3)
    said = stats.sentence(stats.paired(table[["a"]], other), "A", "B", 0.3)
    assert " over heads and one prior in three trainings; " in said
    alone = "is for this one prior only and does not speak of priors in general"
    assert said.endswith(f"; the interval {alone}")
    assert stats.sentence(stats.paired(table[["c"]], other), "A", "B", 0.3).endswith(f"; the interval {alone}")
    apart = stats.paired(table[["a", "b", "c"]], table[["d"]])
    assert "for one of the two, the interval is for one prior only" in stats.sentence(apart, "A", "B", 0.3)
    apart = stats.paired(table[["c"]], table[["d"]])
    assert "the interval is for these two priors only" in stats.sentence(apart, "A", "B", 0.3)


def test_from_few_heads_nothing_is_called_better() -> None:
    said = stats.sentence(stats.paired(series([1.0] * 4), series([5.0, 6.0, 7.0, 8.0])), "A", "B", 0.3)
    assert said.startswith("the mean error of A is lower by 5.50 mm") and "four heads are too few to say which is better" in said
    one = series([1.0])
    assert stats.sentence(stats.paired(one, one + 4), "A", "B", 0.3).endswith("one head is too few to say which is better")
    assert "the same at this precision" in stats.sentence(stats.paired(one, one + 1e-5), "A", "B", 0.3)


# ---- components


def effects(
    deviations: tuple[float, ...], heads: int, trainings: list[int], seeds: int, generator: np.random.Generator
) -> pd.DataFrame:
    """Errors with known standard deviations by `stats.SOURCES`, with so many trainings of each person."""
    of_head, of_person, of_training, of_both, of_seed = deviations
    head, rows = generator.normal(0, of_head, heads), []
    for person, several in enumerate(trainings):
        shift = generator.normal(0, of_person)
        for training in range(several):
            prior = shift + generator.normal(0, of_training)
            for one in range(heads):
                cell = 5 + head[one] + prior + generator.normal(0, of_both)
                rows += [(one, person, training, seed, cell + generator.normal(0, of_seed)) for seed in range(seeds)]
    return pd.DataFrame(rows, columns=["head", "person", "training", "seed", "value"])


@pytest.mark.parametrize("trainings", [[3] * 80, [3, 1] * 40])
def test_known_components_are_recovered(trainings: list[int]) -> None:
    deviations = (1.0, 0.8, 0.6, 0.5, 0.3)
    rows = effects(deviations, 80, trainings, 2, np.random.default_rng(4))
    rows = rows.drop(rows.sample(frac=0.05, random_state=1).index)  # failed runs
    assert np.sqrt(stats.components(rows).to_numpy()) == pytest.approx(deviations, rel=0.2)


def test_components_are_unbiased_where_a_study_is_as_small_as_ours() -> None:
    generator, deviations = np.random.default_rng(6), (0.8, 0.5, 0.4, 0.5, 0.0)
    found = np.mean([stats.components(effects(deviations, 10, [3, 3, 1, 1, 1], 1, generator)) for _ in range(200)], axis=0)
    assert found[:4] == pytest.approx(np.square(deviations[:4]), abs=0.06) and np.isnan(found[4])


def test_balanced_components_are_those_of_the_analysis_of_variance() -> None:
    heads, people = 4, 3
    values = np.array([[1.0, 2.0, 4.0], [2.0, 2.5, 5.0], [0.0, 2.0, 3.0], [3.0, 3.0, 7.5]])
    rows = [(head, person, 0, 0, values[head, person]) for head, person in product(range(heads), range(people))]
    table = pd.DataFrame(rows, columns=["head", "person", "training", "seed", "value"])
    by_head, by_person = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_head[:, None] - by_person + values.mean()
    residual = (rest**2).sum() / ((heads - 1) * (people - 1))
    expected = [(people * by_head.var(ddof=1) - residual) / people, (heads * by_person.var(ddof=1) - residual) / heads]
    found = stats.components(table)
    assert list(found.index) == list(stats.SOURCES) and list(found[:2]) == pytest.approx(expected)
    assert np.isnan(found["trainings of a prior"]) and found["heads × priors"] == pytest.approx(residual)
    assert np.isnan(found["seeds of a fit"])


def test_a_source_that_does_not_vary_has_no_component() -> None:
    rows = effects((1.0, 0.0, 0.0, 0.0, 0.5), 10, [1], 2, np.random.default_rng(0))
    found = stats.components(rows)
    assert found.isna().tolist() == [False, True, True, True, False]
    assert stats.components(rows[:1]).isna().all()


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


@pytest.mark.parametrize(
    ("value", "text"), [(-0.123, "−0.12"), (0.5, "+0.50"), (-0.001, "−0.001"), (0.0003, "+0.0003"), (0.00001, "0.00")]
)
def test_a_number_looks_like_zero_only_if_it_is(value: float, text: str) -> None:
    assert stats.signed(value) == text
