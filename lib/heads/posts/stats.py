"""Statistics over subjects: spread, paired differences with a bootstrap interval, and sentences that say no more than these.

A method's error on a subject is one number, the mean over its seeds; the bootstrap resamples subjects. An interval is the 95 %
percentile bootstrap interval of a mean over subjects, from 10,000 draws (Efron 1979).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

DRAWS = 10_000
LEVEL = 0.95
LEAST = 5  # with n subjects and no difference, all differ the same way with probability 2^(1-n): 1 in 8 for four
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True)
class Mean:
    """A mean over `n` subjects, its population standard deviation, and its interval, which is NaN for fewer than `LEAST`."""

    mean: float
    std: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Paired:
    """Two methods on the subjects that both have: their means, and their difference, first - second, all in the same unit.

    `low` and `high` are the ends of the difference's interval, NaN where there are fewer subjects than `LEAST`; the first is
    lower on the subjects `lower` and higher on `higher`.
    """

    first: float
    second: float
    mean: float
    low: float
    high: float
    lower: tuple[str, ...]
    higher: tuple[str, ...]
    n: int

    @property
    def told(self) -> str:
        """`lower` or `higher` where the interval excludes 0, else the empty string."""
        return "lower" if self.high < 0 else "higher" if self.low > 0 else ""

    @property
    def ratio(self) -> float:
        return self.first / self.second


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


def interval(values: Sequence[float] | np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Ends of the bootstrap interval of the mean of `values` (n,); NaN for fewer than `LEAST` values."""
    values = np.asarray(values, dtype=float)
    if len(values) < LEAST:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean(values: pd.Series) -> Mean:
    """Mean, population standard deviation and interval over subjects (index); ValueError where there is none."""
    values = values.dropna()
    if values.empty:
        raise ValueError("a mean over subjects was asked for, and no subject has a number")
    return Mean(float(values.mean()), float(values.std(ddof=0)), *interval(values.to_numpy()), len(values))


def paired(first: pd.Series, second: pd.Series) -> Paired:
    """`first` against `second`, numbers by subject (index); ValueError where no subject has both."""
    both = pd.concat([first.rename("first"), second.rename("second")], axis=1).dropna()
    if both.empty:
        raise ValueError("a difference over subjects was asked for, and no subject has both numbers")
    difference = both["first"] - both["second"]
    return Paired(
        float(both["first"].mean()),
        float(both["second"].mean()),
        float(difference.mean()),
        *interval(difference.to_numpy()),
        tuple(map(str, both.index[difference < 0])),
        tuple(map(str, both.index[difference > 0])),
        len(both),
    )


def sentence(pair: Paired, first: str, second: str, unit: str = "mm") -> str:
    """A difference in error in words: "better" and "worse" only where its interval excludes 0."""
    heads = f"{count(pair.n)} heads" if pair.n > 1 else "one head"
    spread = f"lower on {share(len(pair.lower), pair.n)} heads" if pair.n > 1 else heads
    size, ends = f"{abs(pair.mean):.2f} {unit}", f"{LEVEL:.0%} interval {signed(pair.low)} to {signed(pair.high)}"
    if pair.n < LEAST:
        relation = f"the mean error of {first} is {'lower' if pair.mean < 0 else 'higher'} by {size} than that of {second}"
        if f"{pair.mean:.2f}" in ("0.00", "-0.00"):
            relation = f"the mean errors of {first} and {second} are the same at this precision"
        return f"{relation} ({spread}), but {heads} {'is' if pair.n == 1 else 'are'} too few to say which is better"
    if not pair.told:
        return f"no clear difference between {first} and {second} (difference {signed(pair.mean)} {unit}, {ends}; {spread})"
    return f"{first} is {'better' if pair.told == 'lower' else 'worse'} than {second} by {size} ({ends}; {spread})"


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


def count(number: int) -> str:
    """A small number as a word, a larger one in digits."""
    return WORDS[number] if 0 <= number < len(WORDS) else str(number)


def share(number: int, total: int) -> str:
    """three of ten."""
    return f"{count(number) if number else 'none'} of {count(total)}"


def signed(value: float) -> str:
    """Two decimals with a typographic sign; zero has no sign."""
    text = f"{abs(value):.2f}"
    return text if text == "0.00" else f"{'−' if value < 0 else '+'}{text}"
