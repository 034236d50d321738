"""The sentences of the posts, made from the committed results: comparisons, settings, captions, and 3D heads to rotate.

Functions return MyST Markdown (`viewer` returns HTML, which Markdown may contain) for the code cells of the posts in blog/. The
tables are in `tables`. A method's number on a head is the mean over its priors and seeds (`results.by_subject`); every
comparison of methods uses the same number of photographs for all of them. What is called better, worse or the same is a
`stats.verdict`.
"""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
import pandas as pd

from heads.posts import engine, stats
from heads.posts.results import (
    PROTOCOLS,
    REGIONS,
    Results,
    against,
    at,
    baseline,
    by_subject,
    by_training,
    disturbed,
    entry,
    extremes,
    first_prior,
    fit_of,
    heading,
    label,
    leading,
    matters,
    phrase,
    prior_label,
    rows_of,
    sample,
    seeing,
    short,
    tried_everywhere,
    undisturbed,
    varied,
)
from heads.posts.stats import count

STEPS = {  # a verdict on a step to more photographs
    stats.BETTER: "becomes better",
    stats.SAME: "changes by less than matters",
    stats.UNDECIDED: "does not decidedly change",
    stats.WORSE: "becomes worse",
    stats.FEW: "was tried on too few heads",
}
RELATIONS = {  # a verdict on a method against another, {}
    stats.BETTER: "is better than {}",
    stats.SAME: "is the same as {} to within what matters",
    stats.UNDECIDED: "is not decidedly better or worse than {}",
    stats.WORSE: "is worse than {}",
    stats.FEW: "was tried on too few heads to be compared with {}",
}
CALIBRATED = "idr-published"  # by whose published errors the amounts of the field were set, so that these are not foretold
CALIBRATED_AT = (3, 32)  # from these numbers of photographs
FORETOLD = {  # a method as published in a study -> what published.csv calls it, and whose numbers
    CALIBRATED: ("idr", "h3ds"),
    "baseh3d-published": ("baseh3d", "polak2022"),
    "h3dnet-published": ("h3dnet", "h3ds"),
}
FLOOR_CELLS = 0.37  # toolbox error of a perfect sphere's mesh, in grid cells; tests/test_posts.py measures it


# ---- numbers in words


def mm(value: float, spread: float | None = None) -> str:
    """Millimetres with two decimals, and ± where there is a spread."""
    return f"{value:.2f}" if spread is None or np.isnan(spread) else f"{value:.2f} ± {spread:.2f}"


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))


def plural(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"


def heads(number: int) -> str:
    """one head, ten heads."""
    return f"{count(number)} {plural('head', number)}"


def code(text: str) -> str:
    """Text that can be put between backticks."""
    return " ".join(text.replace("`", "'").split())


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


# ---- comparisons


def compare(results: Results, first: str, second: str, region: str, protocol: str = "rigid") -> stats.Paired:
    """`first` against `second` on the heads that both reconstructed; ValueError where there is none.

    Where both start from the same priors, they are compared prior by prior.
    """
    column = f"{region}_{protocol}_mm"
    try:
        return stats.paired(by_training(results, first, column), by_training(results, second, column))
    except ValueError:
        raise ValueError(f"{results.study}: no head was reconstructed by both {first} and {second}") from None


def comparable(results: Results, first: str, second: str) -> bool:
    """Whether at least one head was reconstructed by both methods."""
    return bool(set(by_subject(results, first, "face_rigid_mm").index) & set(by_subject(results, second, "face_rigid_mm").index))


def explanation(results: Results | None = None) -> str:
    """What the verdicts mean, to be said once on a page, with what matters in these results, else in any that do not say."""
    sizes = listed([f"{matters(results, region):g} mm on the {region}" for region in REGIONS])
    return (
        f"A difference matters here from {sizes}. We call a method *better* or *worse* where the {stats.LEVEL:.0%} interval of "
        "the difference excludes 0 and the mean difference matters; *the same to within* that size where the whole interval is "
        "smaller than it, which is a finding too; and everything else *undecided*. Where a method was tried from priors of "
        "several people, in one or more trainings, the interval is over priors as well as heads, and with fewer than five of "
        "either a rough one; from one prior, it speaks of that prior only."
    )


def versus(results: Results, first: str, second: str, region: str, protocol: str = "rigid") -> str:
    """The errors of two methods on a region, and the verdict on their difference."""
    one, other = label(results, first), label(results, second)
    if not comparable(results, first, second):
        return f"No head was reconstructed by both {one} and {other}, so nothing can be said about the {region}."
    c = compare(results, first, second, region, protocol)
    both = "" if c.n == len(results.subjects) else f" of the {c.n} {plural('head', c.n)} that both reconstructed"
    views = results.views[0]
    return (
        f"On the {region}{both}, {one} is {mm(c.first)} mm from the scan on average, {other} {mm(c.second)} mm "
        f"({protocol} protocol, {count(views)} {plural('photograph', views)}): "
        f"{stats.sentence(c, one, other, matters(results, region))}."
    )


def conclusion(results: Results, first: str, second: str = "") -> str:
    """Whether it helps to start from a method's prior instead of another's, its baseline's unless `second` is given."""
    second = second or baseline(results, first)
    one, other = label(results, first), label(results, second)
    if not comparable(results, first, second):
        return f"No head was reconstructed by both {one} and {other}: this run says nothing about the claim."
    pairs = {
        (region, protocol): compare(results, first, second, region, protocol) for region in REGIONS for protocol in PROTOCOLS
    }
    verdicts = {f"{region} ({protocol})": c.verdict(matters(results, region)) for (region, protocol), c in pairs.items()}
    better, worse, same, open_ = (
        [name for name, verdict in verdicts.items() if verdict == one]
        for one in (stats.BETTER, stats.WORSE, stats.SAME, stats.UNDECIDED)
    )
    claim = f"that it helps to start from {phrase(results, first)} instead of {phrase(results, second)},"
    pair = next(iter(pairs.values()))
    rest = [f"worse for {listed(worse)}"] if worse else []
    rest += [f"the same to within what matters for {listed(same)}"] if same else []
    rest += [f"undecided for {listed(open_)}"] if open_ else []
    if pair.n < stats.LEAST:
        lower = [f"{region} ({protocol})" for (region, protocol), c in pairs.items() if c.mean < 0]
        higher = [name for name in verdicts if name not in lower]
        means = f"lower for {listed(lower)}" if lower else "lower nowhere"
        means += f", and not lower for {listed(higher)}" if lower and higher else ""
        said = (
            f"The claim, {claim} cannot be decided here: {heads(pair.n)} {'is' if pair.n == 1 else 'are'} too few to say which "
            f"is better. The mean error of {one} is {means}."
        )
    elif len(better) == len(verdicts):
        said = (
            f"The claim, {claim} holds here: {one} is better than {other} on the face and on the whole head, in both protocols."
        )
    elif better:
        said = f"The claim, {claim} holds here in part: {one} is better than {other} for {listed(better)}; it is {listed(rest)}."
    elif len(open_) == len(verdicts):
        said = f"The claim, {claim} is undecided here: {one} may be better than {other} or not."
    else:
        said = f"The claim, {claim} is not confirmed here: {one} is better than {other} nowhere; it is {listed(rest)}."
    seeds = rows_of(results, first).groupby(["subject", "prior"])["seed"].nunique()
    fits = " or ".join(dict.fromkeys([count(seeds.min()), count(seeds.max())]))
    rests = listed([heads(pair.n), *map(_sample, pair.samples), f"{fits} random {plural('seed', seeds.max())} each"])
    alone = " It does not speak of priors in general." if pair.one_prior else ""
    return f"{said} It rests on {rests}.{alone}"


def same_source(results: Results, method: str) -> str:
    """That the heads of a method's prior come from the generator of those that it reconstructs; empty where they do not."""
    if results.about.get("data", {}).get("kind") != "synthetic" or not first_prior(results, method):
        return ""
    return (
        f"What {label(results, method)} starts from is made of heads from the same generator as those that it reconstructs here; "
        "this says nothing of heads from elsewhere."
    )


def commits(studies: Sequence[Results]) -> str:
    """At which commits the studies of a page were run, and what that means for numbers of different ones."""
    ran: dict[str, list[str]] = {}
    for one in studies:
        known = sorted({str(commit)[:7] for commit in one.table["commit"] if commit})
        ran.setdefault(listed(known) or "an unknown commit", []).append(f"`{one.study}`")
    said = "; ".join(f"{listed(names)} at {commit}" for commit, names in ran.items())
    apart = (
        " Programs differ between commits, so that the same method may have other errors in another study."
        if len(ran) > 1
        else ""
    )
    return f"The studies were run at these commits: {said}.{apart}"


def _sample(sample: stats.Sample) -> str:
    """one prior, five priors in nine trainings."""
    trained = f" in {count(sample.trainings)} trainings" if sample.trainings > sample.people else ""
    return f"{count(sample.people)} {plural('prior', sample.people)}{trained}"


def failures(results: Results) -> str:
    """The runs without a score, each with its reason."""
    total, failed = count(len(results.table)), results.table[results.table["status"] != "ok"]
    if failed.empty:
        return f"All {total} reconstructions of the study `{results.study}` succeeded."
    verb = "is" if len(failed) == 1 else "are"
    first = f"Of {total} reconstructions of the study `{results.study}`, {count(len(failed))} failed and {verb} in no mean:"
    return "\n".join([first, "", *(_failure(results, row) for row in failed.to_dict("records"))])


def _failure(results: Results, row: Mapping[Any, Any]) -> str:
    start = f" from {row['prior']}" if row["prior"] else ""
    ablation = f" ({row['name']})" if row["name"] else ""
    ablation += "".join(f", {name} {row[name]}" for name in varied(results.table) if pd.notna(row[name]) and row[name] != "")
    return (
        f"- **{row['subject']}**, {label(results, row['method'])}{start}{ablation}, {row['views']} photographs, "
        f"seed {row['seed']} ({row['status']}): `{code(row['reason']) or 'no reason given'}`"
    )


def succeeded(results: Results, method: str) -> str:
    """On how many heads every run of a method succeeded."""
    whole = rows_of(results, method).groupby("subject")["status"].agg(lambda status: bool((status == "ok").all()))
    return f"{label(results, method)} reconstructed {stats.share(int(whole.sum()), len(whole))} heads without a failure."


def published(results: Results, method: str, bib: str, views: int = 3) -> pd.Series:
    """One row of the published numbers by method and bibliography key; ValueError unless there is exactly one."""
    rows = _published(results, method, bib, views)
    if len(rows) != 1:
        raise ValueError(f"published.csv: one row of {method} from {bib}, {views} views, was expected, there are {len(rows)}")
    return rows.iloc[0]


def _published(results: Results, method: str, bib: str, views: int) -> pd.DataFrame:
    rows = results.published
    return rows[(rows["method"] == method) & (rows["bib"] == bib) & (rows["views"] == views)]


# ---- the claims of the posts, and what was foretold


@dataclass(frozen=True)
class Claim:
    """A method against another, by their ids, and the headings of both.

    `first` and `second` are what readers call them below their headings: the same where a method is compared with itself.
    """

    methods: tuple[str, str]
    headings: tuple[str, str]
    first: str
    second: str

    @property
    def heading(self) -> str:
        """The heading of both, or `improved here − as published` where they have two."""
        return " − ".join(one or "here" for one in self.headings) if self.across else self.headings[0]

    @property
    def across(self) -> bool:
        return self.headings[0] != self.headings[1]

    @property
    def words(self) -> str:
        """The claim in words: `H3D-Net against IDR, improved here`."""
        one, other = (f", {heading}" if heading else "" for heading in self.headings)
        if not self.across:
            return f"{self.first} against {self.second}{other}"
        return f"{self.first}{one} against {other[2:] if self.first == self.second and other else self.second + other}"


def claims_of(results: Results) -> list[Claim]:
    """The comparisons of a study by the entries of its methods, those of one heading together, across headings last."""
    found = [
        Claim(
            (method, other),
            (heading(results, method), heading(results, other)),
            short(results, method),
            short(results, other),
        )
        for method in results.methods
        for other in against(results, method)
    ]
    order = list(dict.fromkeys(one.heading for one in found))
    return sorted(found, key=lambda one: (one.across, bool(one.heading), order.index(one.heading)))


def claims(studio: Results, field: Results, methods: Sequence[str] = (), protocol: str = "rigid") -> str:
    """A sentence for each claim: the difference in mm, its interval and the verdict, in the studio and in the field.

    With `methods`, only the claims that are about these.
    """
    places = {"in the studio": studio, "in the field": field}
    known = {claim: None for one in places.values() for claim in claims_of(one) if claim.methods[0] in methods or not methods}
    if not known:
        raise ValueError(f"{studio.study}, {field.study}: methods that are compared with another were expected, there are none")
    said: list[str] = []
    pairs: list[stats.Paired] = []
    for claim in known:
        parts = []
        for place, one in places.items():
            if not set(claim.methods) <= set(one.methods) or not comparable(one, *claim.methods):
                parts.append(f"{place} not tried on a common head")
                continue
            found = {region: compare(one, *claim.methods, region, protocol) for region in REGIONS}
            pairs += found.values()
            verdicts: dict[str, list[str]] = {}
            for region, pair in found.items():
                interval = f", {stats.ends(pair)}" if pair.n >= stats.LEAST else ""
                said_of = f"on the {region} ({stats.signed(pair.mean)} mm{interval})"
                verdicts.setdefault(pair.verdict(matters(one, region)), []).append(said_of)
            parts.append(f"{place} {listed([f'{verdict} {listed(where)}' for verdict, where in verdicts.items()])}")
        said.append(f"- {claim.words}: {'; '.join(parts)}.")
    views = studio.views[0]
    lead = (
        f"Differences in mean error, in mm, with their {stats.LEVEL:.0%} intervals ({protocol} protocol, {count(views)} "
        f"{plural('photograph', views)}, {_range([pair.n for pair in pairs] or [0])}); below zero, the first is closer to "
        "the scan."
    )
    alone = f" {stats.ONE_PRIOR} For one prior only." if any(pair.one_prior for pair in pairs) else ""
    return "\n".join([lead + alone, "", *said])


@dataclass(frozen=True)
class Prediction:
    """What a study foretells of a published number, from so many photographs: a mean error, or a difference of two, in mm.

    `low` and `high` are the ends of the interval here, NaN for too few heads; `one_prior` as in `stats.Paired`.
    """

    name: str
    views: int
    region: str
    here: float
    low: float
    high: float
    published: float
    difference: bool
    one_prior: bool

    @property
    def verdict(self) -> str:
        return stats.foretold(self.published, self.low, self.high)

    @property
    def sign(self) -> str:
        """Whether the signs of a difference here and of the published one are `the same`, or `another`."""
        return "the same" if self.here * self.published > 0 else "another"


def predictions_of(results: Results) -> list[Prediction]:
    """The published methods of `FORETOLD` as they come out here, in the toolbox protocol: their errors, and their differences."""
    found = [one for views in results.views for one in _foretold(at(results, views))]
    if not found:
        raise ValueError(f"{results.study}: runs of {listed(list(FORETOLD))} were expected, there are none")
    return found


def _foretold(results: Results) -> list[Prediction]:
    """The predictions from one number of photographs."""
    views, theirs = results.views[0], {}
    for method in (method for method in FORETOLD if method in results.methods):
        if len(_published(results, *FORETOLD[method], views)):
            theirs[method] = published(results, *FORETOLD[method], views)
    found = []
    for (method, one), region in product(theirs.items(), REGIONS):
        if method == CALIBRATED and views in CALIBRATED_AT:
            continue
        table = by_training(results, method, f"{region}_toolbox_mm").dropna(how="all")
        mean, ends = float(stats.of_heads(table).mean()), stats.pigeonhole(table)
        alone = stats.NO_PRIOR not in table and table.columns.get_level_values(0).nunique() == 1
        found.append(Prediction(short(results, method), views, region, mean, *ends, float(one[region]), False, alone))
    for claim, region in product(claims_of(results), REGIONS):
        if set(claim.methods) <= set(theirs) and comparable(results, *claim.methods):
            pair = compare(results, *claim.methods, region, "toolbox")
            gap = float(theirs[claim.methods[0]][region] - theirs[claim.methods[1]][region])
            name = f"{claim.first} − {claim.second}"
            found.append(Prediction(name, views, region, pair.mean, pair.low, pair.high, gap, True, pair.one_prior))
    return found


def predictions(results: Results) -> str:
    """A sentence for each prediction, whether it is a hit, and how many are."""
    said, found = [], predictions_of(results)
    for one in found:
        number = stats.signed if one.difference else mm
        mark = f" {stats.ONE_PRIOR}" if one.one_prior else ""
        ends = "" if one.verdict == stats.FEW else f" ({stats.LEVEL:.0%} interval {number(one.low)} to {number(one.high)}{mark})"
        verdict = "too few heads for a verdict" if one.verdict == stats.FEW else f"a {one.verdict}"
        more = f"the sign is {one.sign}" if one.difference else f"{one.here / one.published:.2f} times the published error"
        said.append(
            f"- {one.name} on the {one.region} from {count(one.views)} {plural('photograph', one.views)}: {number(one.here)} mm "
            f"here{ends}, {number(one.published)} mm published: {verdict}; {more}."
        )
    hits = [one.verdict for one in found].count(stats.HIT)
    lead = f"{capital(stats.share(hits, len(found)))} predictions {'is a hit' if hits in (0, 1) else 'are hits'}"
    lead += ": the interval of what was measured here holds the published number. A wide interval is hit easily."
    alone = f" {stats.ONE_PRIOR} For one prior only." if any(one.one_prior for one in found) else ""
    return "\n".join([lead + alone, "", *said])


# ---- numbers of photographs


def more_photographs(results: Results, method: str, protocol: str = "rigid") -> str:
    """Whether each step to more photographs makes a method better, region by region, with the priors it has at every step."""
    said, results = [], tried_everywhere(results)
    tried = [views for views in results.views if method in at(results, views).methods]
    for region in REGIONS:
        column = f"{region}_{protocol}_mm"
        numbers = [by_training(at(results, views), method, column) for views in tried]
        means = [stats.of_heads(table) for table in numbers]
        steps: dict[str, list[str]] = {}
        for (fewer, before), (more, after) in pairwise(zip(tried, numbers, strict=True)):
            found = stats.paired(after, before).verdict(matters(results, region))
            steps.setdefault(found, []).append(f"from {fewer} to {more}")
        parts = [f"{STEPS[found]} {listed(steps[found])}" for found in STEPS if found in steps]
        verdict = "Every step makes it better" if list(steps) == [stats.BETTER] else f"It {listed(parts)}"
        views = listed([str(views) for views in tried])
        n = _range([len(values) for values in means])
        said.append(
            f"On the {region}, the mean error of {label(results, method)} with {views} photographs is "
            f"{listed([mm(float(values.mean())) for values in means])} mm ({protocol} protocol, {n}). {verdict}."
        )
    return " ".join(said)


def by_photographs(results: Results, first: str, second: str = "", protocol: str = "rigid") -> str:
    """With how many photographs a method is better than its baseline, or another method, region by region."""
    second, said, results = second or baseline(results, first), [], tried_everywhere(results)
    for region in REGIONS:
        pairs = {}
        for views in results.views:
            few = at(results, views)
            if comparable(few, first, second):
                pairs[views] = compare(few, first, second, region, protocol)
        if not pairs:
            raise ValueError(f"{results.study}: no head was reconstructed by both {first} and {second}")
        parts = []
        for found, relation in RELATIONS.items():
            if views_so := [str(views) for views, pair in pairs.items() if pair.verdict(matters(results, region)) == found]:
                parts.append(f"{relation.format(label(results, second))} with {listed(views_so)} photographs")
        n = _range([pair.n for pair in pairs.values()])
        said.append(f"On the {region} ({n}), {label(results, first)} {listed(parts)}.")
    if pairs and all(pair.one_prior for pair in pairs.values()):
        said.append("This is for one prior only and does not speak of priors in general.")
    return " ".join(said)


def when_priors_help(results: Results, protocol: str = "rigid") -> str:
    """Whether each method is better than its baseline with undisturbed photographs, and with each disturbance at its strongest.

    Where there are too few heads for a verdict, it says so and gives the mean differences.
    """
    results = at(results, results.views[0])
    seen, alone = {"no disturbance": undisturbed(results)}, True
    for name, sources in disturbed(results).items():
        seen[f"{max(sources):g}× {name}"] = seeing(results, sources[max(sources)])
    said = ["The disturbances of the photographs are in multiples of their amount where people photograph by hand."]
    compared = [(method, other) for method in results.methods for other in against(results, method)[:1]]
    for (first, second), region in product(compared, REGIONS):
        one, other, pairs = label(results, first), label(results, second), {}
        for name, few in seen.items():
            if {first, second} <= set(few.methods) and comparable(few, first, second):
                pairs[name] = compare(few, first, second, region, protocol)
        verdicts = {name: pair.verdict(matters(results, region)) for name, pair in pairs.items()}
        parts = [
            f"{relation.format(other)} with {listed(names)}"
            for found, relation in RELATIONS.items()
            if found != stats.FEW and (names := [name for name in pairs if verdicts[name] == found])
        ]
        if parts:
            n = _range([pair.n for name, pair in pairs.items() if verdicts[name] != stats.FEW])
            said.append(f"On the {region} ({n}), {one} {listed(parts)}.")
        if few_heads := {name: pair for name, pair in pairs.items() if verdicts[name] == stats.FEW}:
            n = _range([pair.n for pair in few_heads.values()])
            means = [f"{stats.signed(pair.mean)} mm with {name}" for name, pair in few_heads.items()]
            verb = "is" if n == heads(1) else "are"
            against_it = f"{one} against {other}; the mean difference is {listed(means)}"
            said.append(f"On the {region}, {n} {verb} too few for a verdict on {against_it}.")
        alone = alone and all(pair.one_prior for pair in pairs.values())
    return " ".join([*said, *(["This is for one prior only and does not speak of priors in general."] if alone else [])])


def _range(numbers: Sequence[int]) -> str:
    """ten heads, or eight to ten heads."""
    low, high = min(numbers), max(numbers)
    return heads(high) if low == high else f"{count(low)} to {heads(high)}"


# ---- how it was made


def setup(results: Results) -> str:
    """The photographs and the prior of each method, as far as results/STUDY.json describes them."""
    data, said = results.about.get("data", {}), []
    if {"size", "photographs"} <= set(data) and data.get("kind") == "synthetic":
        views = f"; {count(results.views[0])} are used" if len(results.views) == 1 else ""
        said.append(f"There are {data['photographs']} photographs of each head, {data['size']} pixels wide and high{views}.")
    known = results.about.get("priors", {})
    for method in results.methods:
        if prior := known.get(first_prior(results, method)):
            made = list(sample(results, method).values())
            of = stats.Sample(len({person for person, _ in made}), len(made))
            others = f" and, made in the same way, from others: {_sample(of)} in all" if of.trainings > 1 else ""
            said.append(f"{label(results, method)} starts from {_prior(results, prior)}{others}.")
    if known:
        said.append("No head from which a prior is made is among those that are reconstructed.")
    return " ".join(said) or "These results do not say how many photographs there are, nor how the priors were made."


def _prior(results: Results, prior: Mapping[str, Any]) -> str:
    """A prior in words, by the notebook that makes it."""
    if prior["notebook"] == "02_prior":
        return f"{prior['subject']}, fitted to {prior['views']} photographs for {prior['epochs']} epochs"
    if prior["notebook"] == "07_average":
        return f"the average of {listed([prior_label(results, name) for name in prior['priors']])}"
    if prior["notebook"] == "06_autodecoder":
        photographs = f" and {prior['photographs']} photographs of each" if prior.get("colour") else ""
        return f"a space of heads learned from {prior['heads']} other heads{photographs}"
    if prior["notebook"] == "16_hair":
        return f"a space of heads in an ensemble of local networks, learned from {prior['heads']} other heads"
    return f"what {prior['notebook']} makes"


def settings(results: Results, method: str = "") -> str:
    """How the fits of a method differ from the published IDR, as far as results/STUDY.json describes them, and why.

    Without a method, those of the first one below each heading, or one paragraph where no method has any.
    """
    groups = {heading(results, one): one for one in reversed(results.methods) if "shape" in entry(results, one).get("fit", {})}
    if not method and any(groups):
        return "\n\n".join(settings(results, one) for one in results.methods if one in groups.values())
    if "shape" not in (fit := fit_of(results, method)):
        return "These results do not say how the fits were set."
    changed = engine.changes(fit)
    if not method:
        said = [f"{one.name}: {here} (published: {theirs})" for one, here, theirs in changed]
        return (
            f"The settings here differ from those of the published program: {'; '.join(said)}. All methods use the same settings."
        )
    small = [f"{one.name} {here} (published: {theirs})" for one, here, theirs in changed if one.laptop]
    rest = [
        f"- {one.name}: {here} (published: {theirs}), so that {one.purpose}." for one, here, theirs in changed if not one.laptop
    ]
    name = label(results, method)
    sizes = f"{name} has a laptop's sizes: {listed(small)}." if small else f"{name} has the published sizes."
    if not rest:
        return f"{sizes} All else is as published."
    things = f"{count(len(rest))} {plural('setting', len(rest))}"
    return "\n".join([f"{sizes} Beyond that, it differs from the published program in {things}:", "", *rest])


def space(results: Results, method: str) -> str:
    """The space of heads that a method starts from: its size, and how it was learned; ValueError where nothing describes it."""
    name = first_prior(results, method)
    prior = results.about.get("priors", {}).get(name, {})
    if not (config := prior.get("config")):
        raise ValueError(f"{results.study}.json: a description of the prior {name}, with its config, was expected")
    shape, loss = config["shape"], {"igr": "IGR's", "deepsdf": "DeepSDF's"}[config["loss"]]
    loss += " with the scans' normals" if config["loss"] == "igr" and config["normal_weight"] else ""
    return (
        f"For {label(results, method)}, the space is learned from {prior['heads']} random built-in heads, none of which is "
        "reconstructed in this study. "
        f"A code has {shape['code']} numbers, the network {shape['depth']} layers of {shape['width']} units; the loss is {loss}. "
        f"Training takes {config['steps']} steps, each with {config['points']} points on each of {config['heads']} heads."
    )


def phases(results: Results, method: str) -> str:
    """The settings of the two phases of a fit from a space of heads; ValueError where results/STUDY.json lacks them."""
    fit = fit_of(results, method)
    if "code_epochs" not in fit:
        raise ValueError(f"{results.study}.json: fit: code_epochs was expected")
    where = {"mean": "the mean of the training heads' codes", "zero": "zero"}[fit["start_code"]]
    return (
        f"For {label(results, method)}, the first phase takes {fit['code_epochs']:g} of {fit['epochs']} epochs, $\\mu$ is "
        f"{fit['code_weight']:g}, and the code starts at {where}, with steps of {fit['code_step_size']:g}."
    )


def floor(results: Results) -> str:
    """The toolbox's error of a perfect surface in grid cells and, where results/STUDY.json gives their size, in mm."""
    general = f"For a perfect sphere its error is {FLOOR_CELLS} of a cell"
    cell_mm = results.about.get("fit", {}).get("cell_mm")
    return (
        f"{general}." if cell_mm is None else f"{general}; with cells of {cell_mm:g} mm, as here, {mm(FLOOR_CELLS * cell_mm)} mm."
    )


# ---- pictures


def anchor(results: Results, name: str) -> str:
    """The name of a table or figure of this study on this page, for links to it."""
    return "-".join(filter(None, [name.replace("+", "-"), results.study, results.page]))


def figure(results: Results, file: str, name: str, caption: str) -> str:
    """A numbered figure of the study; FileNotFoundError where the study did not draw it."""
    if not (results.folder / file).is_file():
        raise FileNotFoundError(f"{results.folder / file}: the study did not draw this figure; run it again")
    options = f":name: {anchor(results, name)}\n:width: 100%\n:alt: {caption}"
    return f":::{{figure}} {results.figures}/{file}\n{options}\n\n{caption}\n:::"


def drawn(results: Results, subject: str) -> list[str]:
    """The methods whose reconstruction of a head the study draws: those whose run from the first prior and seed succeeded."""
    found = []
    for method in results.methods:
        rows = rows_of(results, method, first_prior(results, method))
        found += [method] if (rows.loc[rows["subject"] == subject, "status"].iloc[:1] == "ok").any() else []
    return found


def photographs(results: Results, subject: str) -> str:
    """The photographs of one head; a sentence instead where no method reconstructed it."""
    if not drawn(results, subject):
        return f"The photographs of {subject} are not shown because no method reconstructed this head."
    seen = f"The {count(results.views[0])} photographs of {subject} in the study {results.study}"
    caption = f"{seen}, with the outlines of their masks."
    return figure(results, f"photographs_{subject}.png", f"photographs-{subject}", caption)


def comparison(results: Results, subject: str) -> str:
    """The scan, surfaces and error maps of one head; nothing where no method reconstructed it."""
    methods = drawn(results, subject)
    if not methods:
        return ""
    names = listed([label(results, method) for method in methods])
    caption = (
        f"{subject} in the study {results.study}: the scan, and the reconstructions by {names}. The coloured heads show the "
        "scan; the colours are distances to the reconstruction, after rigid alignment on the scan's face region."
    )
    return figure(results, f"comparison_{subject}.png", f"comparison-{subject}", caption)


def viewer(results: Results, subject: str) -> str:
    """HTML: the scan and the reconstructions of one head in 3D; nothing where no method reconstructed it.

    heads.js draws them when they scroll into view.
    """
    methods = drawn(results, subject)
    if not methods:
        return ""
    names = {"truth": "scan", **{method: label(results, method) for method in methods}}
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for key, name in names.items():
        path = results.folder / f"head_{subject}_{key}.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: the study did not draw this head; run it again")
        plot = json.loads(path.read_text(encoding="utf-8"))
        traces.append(plot["data"][0] | {"name": name, "visible": not traces})
        layout = layout or plot["layout"]
    layout = {key: value for key, value in layout.items() if key != "title"} | {"margin": {"l": 0, "r": 0, "t": 0, "b": 0}}
    data = json.dumps({"data": traces, "layout": layout}, separators=(",", ":")).replace("</", "<\\/")
    pressed = ["true"] + ["false"] * len(methods)
    buttons = "".join(
        f'<button type="button" aria-pressed="{p}">{html.escape(name)}</button>'
        for p, name in zip(pressed, names.values(), strict=True)
    )
    return (
        f'<div class="head-viewer" aria-label="{html.escape(subject)} in 3D"><div class="head-choice">{buttons}</div>'
        f'<div class="head-canvas"></div><script type="application/json">{data}</script></div>'
    )


def pictures(results: Results, subject: str) -> str:
    """The comparison of one head, with the 3D heads if it is one of the extremes; nothing where no method reconstructed it."""
    in_3d = viewer(results, subject) if subject in extremes(results) else ""
    return f"{comparison(results, subject)}\n\n{in_3d}".strip()


def choice(results: Results) -> str:
    """Which heads are shown first, and why."""
    shown, method = extremes(results), label(results, leading(results))
    if not shown:
        return f"{method} reconstructed no head; the appendix shows what there is."
    if len(shown) == 1:
        return f"Only {shown[0]} was reconstructed by {method}."
    low, high = shown
    return f"The heads with the lowest and the highest face error of {method} (rigid): {low} and {high}."
