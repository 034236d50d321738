"""Statistics over test heads and priors: paired differences with an interval, a verdict on them, and shares of the variance.

The errors of a method are a table, one number for each head (row) and prior (column), the mean over the seeds of its fits. A
prior is a person and a training: the columns are pairs (person, training). A method without a prior has the one column
`NO_PRIOR`. A head's error is the mean over people of the mean over their trainings.

An interval is a 95 % percentile bootstrap interval of a mean over heads, from 10,000 draws (Efron 1979). Where priors of
several people were tried, the draws resample heads *and* priors (Owen 2007, The pigeonhole bootstrap): people, and within each
of those drawn the trainings. Where there is one prior, nothing can be said of others, and `sentence` says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

DRAWS = 10_000
LEVEL = 0.95
LEAST = 5  # with n subjects and no difference, all differ the same way with probability 2^(1-n): 1 in 8 for four
ZERO = 5e-5  # mm; less than the last digit of the tables of runs is no difference
NO_PRIOR = ("", 0)
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
ONE_PRIOR = "†"  # marks an interval that is for one prior only
HIT, MISS = "hit", "miss"  # what a prediction may be
BETTER, WORSE, SAME, UNDECIDED, FEW = "better", "worse", "the same", "undecided", "too few heads"  # what a verdict may be
SOURCES = ("test heads", "prior people", "trainings of a prior", "heads × priors", "seeds of a fit")  # of variance


@dataclass(frozen=True)
class Mean:
    """A mean over `n` subjects, its population standard deviation, and its interval, which is NaN for fewer than `LEAST`."""

    mean: float
    std: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Sample:
    """How many prior people an interval resamples, and how many trainings of theirs."""

    people: int
    trainings: int


@dataclass(frozen=True)
class Paired:
    """Two methods on the heads that both have: their means, and their difference, first - second, all in the same unit.

    `low` and `high` are the ends of the difference's interval, NaN where there are fewer heads than `LEAST`; the first is lower
    on the heads `lower` and higher on `higher`. `samples` are the priors: none where neither method has any, one where one of
    them has or both have the same, else two.
    """

    first: float
    second: float
    mean: float
    low: float
    high: float
    lower: tuple[str, ...]
    higher: tuple[str, ...]
    n: int
    samples: tuple[Sample, ...] = ()

    @property
    def ratio(self) -> float:
        return self.first / self.second

    @property
    def one_prior(self) -> bool:
        """Whether the priors of a method are of one person, so that the interval does not speak of priors in general."""
        return any(sample.people == 1 for sample in self.samples)

    def verdict(self, matters: float) -> str:
        """The verdict on the first method, with the smallest difference that matters."""
        return FEW if self.n < LEAST else verdict(self.mean, self.low, self.high, matters)


@dataclass(frozen=True)
class Choice:
    """The result of choosing one prior for each subject: the errors, and for how many of `n` subjects the choice was the best.

    The errors (n,), by subject, are those of the chosen prior, of the best (known only from the scan), of always the first, and
    the mean over the `priors` priors, which is the expected error of a prior drawn at random.
    """

    best_chosen: int
    n: int
    priors: int
    chosen: pd.Series
    best: pd.Series
    first: pd.Series
    mean: pd.Series


# ---- intervals


def interval(values: Sequence[float] | np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Ends of the bootstrap interval of the mean of `values` (n,); NaN for fewer than `LEAST` values."""
    values = np.asarray(values, dtype=float)
    if len(values) < LEAST:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(len(values), size=(DRAWS, len(values)))
    return _ends(values[drawn].mean(axis=1))


def pigeonhole(*tables: pd.DataFrame, seed: int = 0) -> tuple[float, float]:
    """Ends of the interval of the mean over heads of the sum of the tables, each head (row) x (person, training) (column).

    A cell may be NaN. All tables have the same heads, which are resampled together; their priors are resampled apart. Of P
    people, P - 1 are drawn, as the variance of a mean over P would else come out too small by the factor (P - 1) / P, which
    matters for P = 5; and so it is with the trainings of an only person. NaN for fewer than `LEAST` heads.
    """
    n = len(tables[0])
    if n < LEAST:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    heads = generator.integers(n, size=(DRAWS, n))
    errors = np.sum([np.broadcast_to(_resampled(table, generator), (DRAWS, n)) for table in tables], axis=0)
    drawn = np.take_along_axis(errors, heads, axis=1)
    there = np.isfinite(drawn)
    counts = there.sum(axis=1)
    return _ends(np.where(there, drawn, 0).sum(axis=1)[counts > 0] / counts[counts > 0])


def _resampled(table: pd.DataFrame, generator: np.random.Generator) -> np.ndarray:
    """The error of each head (DRAWS, heads) over resampled priors, (1, heads) for a single prior; NaN without a cell."""
    values = table.to_numpy(dtype=float)  # (heads, priors)
    if values.shape[1] == 1:
        return values.T
    codes, people = pd.factorize(table.columns.get_level_values(0))
    slots = max(len(people) - 1, 1)
    person = generator.integers(len(people), size=(DRAWS, slots))
    weights = np.zeros((DRAWS, slots, len(codes)))  # how often a prior was drawn
    for one in range(len(people)):
        columns, (draw, slot) = np.flatnonzero(codes == one), np.nonzero(person == one)
        size = len(columns) if len(people) > 1 else len(columns) - 1
        times = generator.multinomial(size, np.full(len(columns), 1 / len(columns)), size=len(draw))
        weights[draw[:, None], slot[:, None], columns] = times
    there = np.isfinite(values)
    total, number = weights @ np.where(there, values, 0).T, weights @ there.T.astype(float)  # (draws, slots, heads)
    means = np.divide(total, number, out=np.zeros_like(total), where=number > 0)
    used = (number > 0).sum(axis=1)
    return np.divide(means.sum(axis=1), used, out=np.full(used.shape, np.nan), where=used > 0)


def _ends(means: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean(values: pd.Series) -> Mean:
    """Mean, population standard deviation and interval over subjects (index); ValueError where there is none."""
    values = values.dropna()
    if values.empty:
        raise ValueError("a mean over subjects was asked for, and no subject has a number")
    return Mean(float(values.mean()), float(values.std(ddof=0)), *interval(values.to_numpy()), len(values))


def of_heads(table: pd.DataFrame) -> pd.Series:
    """The error of each head of a table head (row) x (person, training): the mean over people of that over their trainings."""
    if not table.shape[1]:
        return pd.Series(np.nan, index=table.index, dtype=float)
    return table.T.groupby(level=0, sort=False).mean().mean().reindex(table.index)


def paired(first: pd.Series | pd.DataFrame, second: pd.Series | pd.DataFrame) -> Paired:
    """`first` against `second`: numbers by head (index), or tables head (row) x (person, training) (column).

    Two methods that share priors are compared on these, prior by prior. ValueError where no head has both.
    """
    one, other = _table(first), _table(second)
    if shared := [column for column in one if column in other]:
        one, other = one[shared], other[shared]
        both = one.index[one.index.isin(other.index)]
        one, other = (_table(a.loc[both].where(b.loc[both].notna())) for a, b in ((one, other), (other, one)))
    errors = pd.concat([of_heads(one).rename("first"), of_heads(other).rename("second")], axis=1).dropna()
    if errors.empty:
        raise ValueError("a difference over subjects was asked for, and no subject has both numbers")
    one, other = one.loc[errors.index], other.loc[errors.index]
    ends = pigeonhole(one - other) if shared else pigeonhole(one, -other)
    tables = [table for table in ([one] if shared else [one, other]) if NO_PRIOR not in table]
    difference = errors["first"] - errors["second"]
    return Paired(
        float(errors["first"].mean()),
        float(errors["second"].mean()),
        float(difference.mean()),
        *ends,
        tuple(map(str, errors.index[difference < 0])),
        tuple(map(str, errors.index[difference > 0])),
        len(errors),
        tuple(Sample(table.columns.get_level_values(0).nunique(), table.shape[1]) for table in tables),
    )


def _table(errors: pd.Series | pd.DataFrame) -> pd.DataFrame:
    """Errors as a table head (row) x (person, training), without the priors that have no number."""
    if isinstance(errors, pd.Series):
        return errors.to_frame().set_axis(pd.MultiIndex.from_tuples([NO_PRIOR]), axis=1)
    return errors.dropna(axis=1, how="all")


# ---- verdicts


def verdict(mean: float, low: float, high: float, matters: float) -> str:
    """What a difference in error and its interval say, where a difference of `matters` > 0 is the smallest that matters.

    `SAME` (to within `matters`) where the whole interval is that close to 0, with 0 in it or not; `BETTER` (lower) or `WORSE`
    where the interval excludes 0 and the mean is at least `matters`; `UNDECIDED` otherwise: the interval holds 0 and differences
    that matter, or it excludes 0 but the difference may be too small to matter. `FEW` without an interval. No verdict hangs on
    less than `ZERO`.
    """
    if not matters > 0:
        raise ValueError(f"the smallest effect that matters has to be above 0, not {matters}")
    if any(map(np.isnan, (mean, low, high))):
        return FEW
    if max(-low, high) <= matters + ZERO:
        return SAME
    if high <= -ZERO and mean <= -matters + ZERO:
        return BETTER
    if low >= ZERO and mean >= matters - ZERO:
        return WORSE
    return UNDECIDED


def foretold(published: float, low: float, high: float) -> str:
    """Whether what was measured here foretells a published number.

    It is a `HIT` if the interval here, `low` to `high`, holds that number, else a `MISS`, and `FEW` without an interval. A wide
    interval is hit easily: its ends belong beside every hit.
    """
    if np.isnan(low) or np.isnan(high):
        return FEW
    return HIT if low - ZERO <= published <= high + ZERO else MISS


def sentence(pair: Paired, first: str, second: str, matters: float, unit: str = "mm") -> str:
    """A difference in error in words, by its verdict: with its interval, and what of the priors this speaks of."""
    heads = f"{count(pair.n)} heads" if pair.n > 1 else "one head"
    spread = f"lower on {share(len(pair.lower), pair.n)} heads" if pair.n > 1 else heads
    found = pair.verdict(matters)
    if found == FEW:
        relation = f"the mean error of {first} is {'lower' if pair.mean < 0 else 'higher'} by {digits(pair.mean)} {unit}"
        relation += f" than that of {second}"
        if abs(pair.mean) < ZERO:
            relation = f"the mean errors of {first} and {second} are the same at this precision"
        return f"{relation} ({spread}), but {heads} {'is' if pair.n == 1 else 'are'} too few to say which is better"
    spread = f"{LEVEL:.0%} interval {signed(pair.low)} to {signed(pair.high)}{_over(pair)}; {spread}"
    difference, least = f"difference {signed(pair.mean)} {unit}, {spread}", f"{matters:g} {unit}"
    if found in (BETTER, WORSE):
        said = f"{first} is {found} than {second} by {digits(pair.mean)} {unit} ({spread})"
    elif found == SAME:
        said = f"{first} and {second} are the same to within {least} ({difference})"
    elif pair.low < ZERO and pair.high > -ZERO:
        said = f"it is undecided whether {first} or {second} is better ({difference})"
    else:
        relation = "lower" if pair.mean < 0 else "higher"
        said = f"the error of {first} is {relation} than that of {second}, but whether by the {least} that matter is undecided"
        said += f" ({difference})"
    return f"{said}; {_only(pair)}" if pair.one_prior else said


def _over(pair: Paired) -> str:
    """` over heads and five priors`: what the interval resamples beside heads, empty where that is nothing."""
    several = [sample for sample in pair.samples if sample.trainings > 1]
    said = [f"{count(one.people)} {'prior' if one.people == 1 else 'priors'}" + _trained(one) for one in several]
    return f" over heads and {' and '.join(said)}" if said else ""


def _trained(sample: Sample) -> str:
    return f" in {count(sample.trainings)} trainings" if sample.trainings > sample.people else ""


def _only(pair: Paired) -> str:
    """That an interval says nothing of priors that were not tried."""
    alone = "this one prior" if len(pair.samples) == 1 else "these two priors"
    where = "the interval is for" if all(one.people == 1 for one in pair.samples) else "for one of the two, the interval is for"
    alone = alone if where == "the interval is for" else "one prior"
    return f"{where} {alone} only and does not speak of priors in general"


def ends(pair: Paired) -> str:
    """The interval of a difference, marked where it is for one prior only, and a dash where there are too few heads for one."""
    if pair.n < LEAST:
        return "–"
    return f"{signed(pair.low)} to {signed(pair.high)}{f' {ONE_PRIOR}' if pair.one_prior else ''}"


# ---- where the variance comes from


def components(errors: pd.DataFrame) -> pd.Series:
    """The variance of errors by `SOURCES`, in the square of their unit: a row for each run (head, person, training, seed, value).

    Each source is a random effect: a head, a person, a training of a person, a head with one of the priors (what is left, where
    fits are not repeated with other seeds), and a seed. The sums of squares of every source are set equal to their expectations,
    with the coefficients of unbalanced data (Henderson 1953, method I); with balanced data this is the analysis of variance. The
    estimates are unbiased, and so may be below 0, which tables show as 0. NaN for a source that varies together with another:
    trainings where nobody has two, which then count with the people, or seeds where no fit has two, which then count with
    heads × priors, or with the heads where there is one prior or none.
    """
    errors = errors.dropna(subset="value").reset_index(drop=True)
    keys = (["head"], ["person"], ["person", "training"], ["head", "person", "training"])
    groups = [*(errors.groupby(key, sort=False).ngroup().to_numpy() for key in keys), np.arange(len(errors))]
    sizes = [len(np.unique(group)) for group in groups]
    known = [sizes[0] > 1, sizes[1] > 1, sizes[2] > sizes[1], sizes[3] > max(sizes[0], sizes[2]), sizes[4] > sizes[3]]
    found = pd.Series(np.nan, index=list(SOURCES))
    if not any(known):
        return found
    effects = [group for group, one in zip(groups, known, strict=True) if one]
    values = errors["value"].to_numpy(dtype=float)
    values = values - values.mean()
    everything = np.zeros(len(values), dtype=int)
    squares = np.array([_square(group, values) for group in effects]) - _square(everything, values)
    expected = np.array([[_expected(rows, effect) - _expected(everything, effect) for effect in effects] for rows in effects])
    estimates = np.linalg.lstsq(expected, squares, rcond=None)[0]
    found[[name for name, one in zip(SOURCES, known, strict=True) if one]] = estimates
    return found


def _square(group: np.ndarray, values: np.ndarray) -> float:
    """The sum over groups (n,) of the squared sum of values (n,) divided by their number."""
    return float((np.bincount(group, values) ** 2 / np.bincount(group)).sum())


def _expected(group: np.ndarray, effect: np.ndarray) -> float:
    """The factor of the variance of `effect` (n,) in the expectation of `_square(group, ...)`."""
    pairs, counts = np.unique(np.stack([group, effect]), axis=1, return_counts=True)
    return float((counts**2 / np.bincount(group)[pairs[0]]).sum())


# ---- choices


def choose(errors: pd.DataFrame, losses: pd.DataFrame) -> Choice:
    """For each subject (row) the prior (column) with the smallest loss, judged by the errors in mm; the first of equal ones.

    Only subjects with an error and a loss from every prior count; ValueError where there is none.
    """
    if list(errors.columns) != list(losses.columns):
        raise ValueError(
            f"errors and losses of the same priors were expected, not {list(errors.columns)}, {list(losses.columns)}"
        )
    whole = errors.notna().all(axis=1) & losses.reindex(errors.index).notna().all(axis=1)
    errors, losses = errors[whole], losses.reindex(errors.index)[whole]
    if errors.empty:
        raise ValueError("no subject has an error and a loss from every prior, so no prior can be chosen")
    picked = losses.to_numpy().argmin(axis=1)
    chosen = pd.Series(errors.to_numpy()[np.arange(len(errors)), picked], index=errors.index)
    best = errors.min(axis=1)
    return Choice(int((chosen <= best).sum()), len(errors), errors.shape[1], chosen, best, errors.iloc[:, 0], errors.mean(axis=1))


# ---- numbers in words


def count(number: int) -> str:
    """A small number as a word, a larger one in digits."""
    return WORDS[number] if 0 <= number < len(WORDS) else str(number)


def share(number: int, total: int) -> str:
    """three of ten."""
    return f"{count(number) if number else 'none'} of {count(total)}"


def digits(value: float) -> str:
    """A size with two decimals, and up to four where it would else look like zero without being it (`ZERO`)."""
    decimals = next((decimals for decimals in (2, 3) if round(abs(value), decimals) > 0), 4 if abs(value) >= ZERO else 2)
    return f"{abs(value):.{decimals}f}"


def signed(value: float) -> str:
    """`digits` with a typographic sign; zero has no sign."""
    return digits(value) if abs(value) < ZERO else f"{'−' if value < 0 else '+'}{digits(value)}"
