"""The tables of the posts, made from the committed results, and the numbers that their plots draw.

Functions return MyST Markdown for the code cells of the posts in blog/, or plain numbers for `plots`. "Better" and "worse" are
written by `stats.sentence` alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from string import ascii_lowercase
from typing import Any

import pandas as pd

from heads.posts import sentences as posts
from heads.posts import stats
from heads.posts.sentences import PROTOCOLS, REGIONS, Results, code, label, listed, mm, plural
from heads.posts.stats import count, signed

NUMBER = re.compile(r"[-+−±–./\d\s]*(of \d+)?")
CHOOSERS = {  # by which loss of the photographs a prior is chosen
    "held_out": "smallest loss on a photograph held out, after a short trial",
    "trial_loss": "smallest loss on the photographs used, after a fifth of the fit",
    "final_loss": "smallest loss on the photographs used, at the end of the fit",
}


def grid(header: Sequence[str], rows: Sequence[Sequence[str]], name: str, caption: str) -> str:
    """A captioned MyST table; columns of numbers are set to the right."""
    right = [all(NUMBER.fullmatch(row[i]) for row in rows) for i in range(len(header))]
    sides = ["--:" if column and rows else ":--" for column in right]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, sides, *rows))
    return f":::{{table}} {caption}\n:name: {name}\n\n{body}\n:::"


def cite(row: Mapping[Any, Any] | pd.Series) -> str:
    """Where a published number comes from, in words and as a reference."""
    return f"{row['source']} {{cite:p}}`{row['bib']}`"


def bullets(sentences: Sequence[str]) -> str:
    """The sentences as a list, each with a capital and a full stop."""
    return "\n".join(f"- {posts.capital(sentence)}." for sentence in sentences)


def spread(values: pd.Series) -> str:
    """Mean ± population standard deviation; no spread from one number, a dash from none."""
    values = values.dropna()
    return mm(float(values.mean()), float(values.std(ddof=0)) if len(values) > 1 else None) if len(values) else "–"


# ---- methods


def table2(results: Results, with_published: bool = True) -> str:
    """The original post's Table 2: measured here in both protocols, and below it what was published, with protocol and source."""
    rows, views = [], results.views[0]
    for protocol in PROTOCOLS:
        for method in results.methods:
            numbers = [posts.by_subject(results, method, f"{region}_{protocol}_mm") for region in REGIONS]
            heads = len(numbers[0])
            where = f"measured here, {heads} built-in {plural('head', heads)}"
            rows.append([label(method), protocol, *map(spread, numbers), where])
    caption = f"Mean error over heads from {count(views)} photographs, ± its standard deviation between heads; lower is better."
    if with_published:
        for row in results.published[results.published["views"] == views].to_dict("records"):
            cells = [mm(row[region], row[f"{region}_std"]) for region in REGIONS]
            rows.append([f"*{label(row['method'])}*", row["protocol"], *cells, cite(row)])
        caption += (
            " Upper rows: measured here, on the built-in heads. Rows in italics: published, on H3DS. Only rows of one protocol "
            "and one data set compare."
        )
    return grid(["Method", "Protocol", "face, mm", "head, mm", "Where from"], rows, posts.anchor(results, "table-2"), caption)


def pairs(results: Results) -> list[tuple[str, str]]:
    """The comparisons that the posts make: every method with IDR, and each prior with the simplest one."""
    wanted = [(first, "idr") for first in ("baseh3d", "average", "h3dnet", "h3dnet+colour")]
    wanted += [("average", "baseh3d"), ("h3dnet", "baseh3d"), ("h3dnet+colour", "baseh3d"), ("h3dnet+colour", "h3dnet")]
    return [pair for pair in wanted if set(pair) <= set(results.methods) and posts.comparable(results, *pair)]


def differences(results: Results, protocol: str) -> str:
    """For every pair of methods and each region: the mean difference, its interval, and on how many heads the first is lower."""
    rows = []
    for first, second in pairs(results):
        for region in REGIONS:
            pair = posts.compare(results, region, protocol, first, second)
            verdict = {"lower": "better", "higher": "worse", "": "not told apart"}[pair.told]
            verdict = verdict if pair.n >= stats.LEAST else "too few heads"
            lower, both = f"{len(pair.lower)} of {pair.n}", f"{label(first)} − {label(second)}"
            rows.append([both, region, signed(pair.mean), ends(pair), lower, verdict])
    caption = (
        f"Paired differences in mean error between methods ({protocol} protocol, {count(results.views[0])} photographs), in mm: "
        f"the mean over heads, its {stats.LEVEL:.0%} bootstrap interval, and the number of heads on which the first method is "
        "lower. A negative difference says that the first is closer to the scan. Each interval stands for itself: among so many, "
        "one or the other may exclude 0 by chance."
    )
    header = ["Difference", "Region", "mean", "interval", "lower on", "so the first is"]
    return grid(header, rows, posts.anchor(results, f"differences-{protocol}"), caption)


def ends(pair: stats.Paired) -> str:
    """The interval of a difference, a dash where there are too few heads for one."""
    return f"{signed(pair.low)} to {signed(pair.high)}" if pair.n >= stats.LEAST else "–"


def per_subject(results: Results, protocol: str) -> str:
    """Every head's two errors by every method, the mean over its seeds; a dash where no run succeeded."""
    numbers = {
        method: [posts.by_subject(results, method, f"{region}_{protocol}_mm") for region in REGIONS] for method in results.methods
    }
    rows = []
    for subject in results.subjects:
        cells = [[mm(values[subject]) if subject in values.index else "–" for values in pair] for pair in numbers.values()]
        rows.append([subject, *(f"{face} / {head}" for face, head in cells)])
    rows.append(
        ["mean", *(" / ".join(mm(float(v.mean())) if len(v.dropna()) else "–" for v in pair) for pair in numbers.values())]
    )
    caption = f"Every head: error on the face / on the head in mm ({protocol} protocol), the mean over its random seeds."
    return grid(["Head", *map(label, numbers)], rows, posts.anchor(results, f"per-subject-{protocol}"), caption)


def strips(results: Results, protocol: str) -> dict[str, dict[str, pd.Series]]:
    """Region -> method's label -> one error a head, for `plots.strips`."""
    return {
        region: {label(method): posts.by_subject(results, method, f"{region}_{protocol}_mm") for method in results.methods}
        for region in REGIONS
    }


# ---- numbers of photographs


def sweep(results: Results) -> str:
    """Error against the number of photographs: the last rows of the H3D-Net paper's table, published and measured."""
    columns = sorted({*results.views, *(int(views) for views in results.published["views"].unique())})
    rows = []
    for protocol in PROTOCOLS:
        for method in results.methods:
            cells = []
            for views in columns:
                few = posts.at(results, views) if views in results.views else None
                numbers = [posts.by_subject(few, method, f"{region}_{protocol}_mm") for region in REGIONS] if few else []
                cells.append(_both([float(values.mean()) for values in numbers if len(values)]))
            rows.append([label(method), protocol, *cells, "here"])
    letters: dict[str, str] = {}
    for _, group in results.published.groupby(["method", "bib", "protocol"], sort=False):
        of = {int(row["views"]): [float(row[region]) for region in REGIONS] for row in group.to_dict("records")}
        one = group.iloc[0]
        letter = letters.setdefault(cite(one), ascii_lowercase[len(letters)])
        rows.append([f"*{label(one['method'])}*", one["protocol"], *(_both(of.get(views, [])) for views in columns), letter])
    known = "; ".join(f"({letter}) {source}" for source, letter in letters.items())
    caption = (
        "Mean error on the face / on the head in mm, by the number of photographs. Rows in italics: published, on H3DS; the "
        "others: measured here, on built-in heads. A dash: not measured, or not known to us. Only rows of one protocol and one "
        f"data set compare. From: {known}."
    )
    header = ["Method", "Protocol", *map(str, columns), "From"]
    return grid(header, rows, posts.anchor(results, "table-views"), caption)


def _both(numbers: Sequence[float]) -> str:
    return f"{mm(numbers[0])} / {mm(numbers[1])}" if numbers else "–"


def sweep_lines(results: Results, protocol: str) -> dict[str, dict[str, pd.DataFrame]]:
    """Region -> method's label -> a row for each number of photographs (views, mean, std in mm), for `plots.view_sweep`."""
    lines: dict[str, dict[str, pd.DataFrame]] = {}
    for region in REGIONS:
        lines[region] = {}
        for method in results.methods:
            rows = []
            for views in results.views:
                values = posts.by_subject(posts.at(results, views), method, f"{region}_{protocol}_mm")
                if len(values):
                    found = stats.mean(values)
                    rows.append({"views": views, "mean": found.mean, "std": found.std})
            lines[region][label(method)] = pd.DataFrame(rows)
    return lines


def gain_lines(results: Results, protocol: str, second: str = "idr") -> dict[str, dict[str, pd.DataFrame]]:
    """Region -> method's label -> its difference to another method by views (views, mean, low, high), for `plots.view_gains`."""
    lines: dict[str, dict[str, pd.DataFrame]] = {}
    for region in REGIONS:
        lines[region] = {}
        for method in results.methods:
            rows = []
            for few in (posts.at(results, views) for views in results.views):
                if method != second and posts.comparable(few, method, second):
                    pair = posts.compare(few, region, protocol, method, second)
                    rows.append({"views": few.views[0], "mean": pair.mean, "low": pair.low, "high": pair.high})
            if rows:
                lines[region][label(method)] = pd.DataFrame(rows)
    return lines


# ---- priors of one head


def scans(results: Results) -> dict[str, dict[str, Any]]:
    """The single-scan priors of the study by name, as results/STUDY.json describes them, in the order of the table."""
    known = results.about.get("prior", {})
    used = dict.fromkeys(results.table.loc[results.table["method"] == "baseh3d", "prior"])
    if missing := [prior for prior in used if prior not in known]:
        raise ValueError(f"{results.study}.json: a description of the prior {missing[0]} was expected")
    return {prior: known[prior] for prior in used if known[prior]["kind"] == "scan"}


def by_prior(results: Results, column: str) -> pd.DataFrame:
    """One number for each head (row) and single-scan prior (column), the mean over the seeds that all these priors have."""
    names = list(scans(results))
    rows = pd.concat([posts.rows_of(results, "baseh3d", prior) for prior in names])
    seeds = set.intersection(*(set(group["seed"]) for _, group in rows.groupby("prior")))
    if not seeds:
        raise ValueError(f"{results.study}: a random seed with which every prior of BaseH3D-Net was used was expected")
    rows = rows[(rows["status"] == "ok") & rows["seed"].isin(seeds)]
    found = rows.pivot_table(column, "subject", "prior", aggfunc="mean", dropna=False)
    return found.reindex(index=results.subjects, columns=names)


def table1(results: Results, protocol: str, original: pd.DataFrame | None = None) -> str:
    """The original post's Table 1: whose head the prior is against how long it was fitted, on the first head and on all.

    `original` are the published cells of it (table, prior, epochs, scan, face, head), where their protocol is this one.
    """
    about = scans(results)
    epochs = sorted({int(prior["epochs"]) for prior in about.values()})
    owners = list(dict.fromkeys(prior["subject"] for prior in about.values()))
    where = {"subject": {name: prior["subject"] for name, prior in about.items()}}
    tables = {region: by_prior(results, f"{region}_{protocol}_mm") for region in REGIONS}
    blocks: dict[str, dict[tuple[str, str, int], pd.Series]] = {}
    for shown, heads in {
        results.subjects[0]: results.subjects[:1],
        f"all {count(len(results.subjects))}": results.subjects,
    }.items():
        blocks[shown] = {
            (region, where["subject"][name], int(about[name]["epochs"])): tables[region].loc[heads, name]
            for region in REGIONS
            for name in about
        }
    rows = []
    for shown, cells in blocks.items():
        for owner in owners:
            numbers = [
                spread(cells[region, owner, e]) if (region, owner, e) in cells else "–" for e in epochs for region in REGIONS
            ]
            rows.append([owner, shown, *numbers, "measured here"])
        average = [
            spread(pd.Series([cells[region, owner, e].mean() for owner in owners if (region, owner, e) in cells]))
            for e in epochs
            for region in REGIONS
        ]
        rows.append(["**AVG**", shown, *average, "measured here"])
    if original is not None:
        rows += _original1(original, epochs)
    caption = (
        f"Whose head the prior is, and for how many epochs it was fitted: mean error in mm ({protocol} protocol, "
        f"{count(results.views[0])} photographs), ± its standard deviation between heads. AVG: mean over the priors, ± the "
        "standard deviation between them."
    )
    if original is not None:
        caption += " Rows in italics: published, on H3DS; their AVG is computed from the published cells."
    header = ["Prior", "Heads", *(f"{region}, {e}" for e in epochs for region in REGIONS), "Where from"]
    return grid(header, rows, posts.anchor(results, f"table-1-{protocol}"), caption)


def _original1(original: pd.DataFrame, epochs: Sequence[int]) -> list[list[str]]:
    """The published Table 1 as rows; its epochs have to be those of the columns, or its columns would say something else."""
    cells = original[original["table"] == "priors"]
    if sorted(cells["epochs"].unique()) != list(epochs):
        raise ValueError(f"original.csv: the published Table 1 has other epochs than {', '.join(map(str, epochs))}")
    rows = []
    for prior, group in cells.groupby("prior", sort=False):
        of = {int(row["epochs"]): row for row in group.to_dict("records")}
        numbers = [mm(of[e][region]) for e in epochs for region in REGIONS]
        rows.append([f"*scan {prior}*", f"scan {group['scan'].iloc[0]}", *numbers, cite(group.iloc[0])])
    average = [spread(cells.loc[cells["epochs"] == e, region]) for e in epochs for region in REGIONS]
    return [*rows, ["***AVG***", f"scan {cells['scan'].iloc[0]}", *average, cite(cells.iloc[0])]]


def epochs(results: Results, protocol: str = "rigid") -> str:
    """Whether a prior that was fitted for longer is worse: the most epochs against the fewest, mean over whose head it is."""
    about = scans(results)
    counts = sorted({int(prior["epochs"]) for prior in about.values()})
    if len(counts) < 2:
        raise ValueError(f"{results.study}: priors of at least two numbers of epochs were expected, there is {counts}")
    ends = {wanted: [name for name in about if about[name]["epochs"] == wanted] for wanted in (counts[0], counts[-1])}
    said = []
    for region in REGIONS:
        numbers = by_prior(results, f"{region}_{protocol}_mm")
        few, many = (numbers[names].mean(axis=1, skipna=False) for names in ends.values())
        pair = stats.paired(few, many)
        words = stats.sentence(pair, f"a prior of {counts[0]} epochs", f"one of {counts[-1]}")
        said.append(f"On the {region}, {words}.")
    return f"Over {count(sum(map(len, ends.values())))} priors, {protocol} protocol: " + " ".join(said)


def on_one_head(results: Results, protocol: str = "rigid") -> str:
    """What choosing the prior by the scan of the first head alone brings the others, against their best and their mean prior."""
    said = []
    for region in REGIONS:
        numbers = by_prior(results, f"{region}_{protocol}_mm").dropna()
        chooser, rest = numbers.iloc[0], numbers.iloc[1:]
        if rest.empty:
            raise ValueError(f"{results.study}: two heads that every prior reconstructed were expected")
        means = rest.mean().sort_values()
        name = str(chooser.idxmin())
        called = posts.prior_label(results, name)
        rank = list(means.index).index(name) + 1
        said.append(
            f"On the {region}, the prior that is best on {numbers.index[0]}, {called}, has {mm(chooser[name])} mm there and "
            f"{mm(means[name])} mm on the other {count(len(rest))}, where it is number {rank} of {len(means)} "
            f"(best: {mm(means.iloc[0])}, mean of all priors: {mm(float(means.mean()))})."
        )
    return " ".join(said)


# ---- choosing a prior without the scan


def candidates(results: Results) -> dict[str, list[str]]:
    """Sets of single-scan priors to choose among: those that had a trial, and all, where these are more."""
    everyone, tried = list(scans(results)), list(held_out(results).columns)
    sets = {f"the {count(len(tried))} that were tried": tried}
    return sets | ({f"all {count(len(everyone))}": everyone} if len(everyone) > len(tried) else {})


def held_out(results: Results) -> pd.DataFrame:
    """The loss of the photograph held out, by head (row) and prior that was tried (column); NaN where a trial is missing."""
    trials, path = results.trials, f"{results.study}_trials.csv"
    if trials.empty:
        raise ValueError(f"{path}: trials from as many photographs as the fits were expected, there are none")
    if any(set(trial["fitted"].split()) & set(trial["judged"].split()) for trial in trials.to_dict("records")):
        raise ValueError(f"{path}: trials judged by a photograph that they have not seen were expected")
    names = list(dict.fromkeys(trials["prior"]))
    if missing := [name for name in names if name not in scans(results)]:
        raise ValueError(f"{path}: the prior {missing[0]} was tried, but no fit of BaseH3D-Net starts from it")
    return trials.pivot(index="subject", columns="prior", values="loss").reindex(index=results.subjects, columns=names)


def losses(results: Results, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """By each rule of `CHOOSERS` that all priors `names` allow, the losses of every head (row) from each of them (column).

    A head that lacks one of the numbers is left out of all, so that the rules are tried on the same heads; ValueError where
    none is left.
    """
    found = {"held_out": held_out(results)} if set(names) <= set(held_out(results).columns) else {}
    found |= {rule: by_prior(results, rule) for rule in CHOOSERS if rule != "held_out"}
    whole = pd.Series(True, index=results.subjects)
    for rule, table in found.items():
        whole &= table[list(names)].notna().all(axis=1)
        if not whole.any():
            raise ValueError(f"{results.study}: {rule}: no head has a loss from all of {listed(names)}")
    return {rule: table.loc[whole, list(names)] for rule, table in found.items()}


def chosen(results: Results, names: Sequence[str], rule: str, region: str, protocol: str = "rigid") -> stats.Choice:
    """What choosing among the priors `names` by a rule (`CHOOSERS`) comes to, in mm of the whole fits from them."""
    loss = losses(results, names)[rule]
    errors = by_prior(results, f"{region}_{protocol}_mm").loc[loss.index, list(names)]
    try:
        return stats.choose(errors, loss)
    except ValueError as error:
        raise ValueError(f"{results.study}: {rule}: {error}") from None


def choices(results: Results, protocol: str = "rigid") -> str:
    """Rules for choosing a prior without the scan, how often each takes the best prior, their mean errors, and what they cost."""
    rows = []
    for names in candidates(results).values():
        found = {rule: [chosen(results, names, rule, region, protocol) for region in REGIONS] for rule in losses(results, names)}
        either = found["final_loss"]
        lines = {CHOOSERS[rule]: [c.chosen for c in both] for rule, both in found.items()}
        lines[f"always the first, {posts.prior_label(results, names[0])}"] = [c.first for c in either]
        lines["one at random"] = [c.mean for c in either]
        lines["the best (only the scan tells)"] = [c.best for c in either]
        for rule, errors in lines.items():
            cells = []
            for taken, c in zip(errors, either, strict=True):
                often = (
                    f"{int((taken <= c.best).sum())} of {c.n}" if rule != "one at random" else f"{c.n / c.priors:.1f} of {c.n}"
                )
                cells += [often, spread(taken), cost(taken, c.best)]
            rows.append([count(len(names)), rule, *cells])
    caption = (
        f"Choosing a prior for each head, without its scan: how often a rule takes the prior that is best, the error of the fit "
        f"from it ({protocol} protocol, {count(results.views[0])} photographs), mean ± standard deviation between heads, and by "
        f"how much this is more than that of the best, with its {stats.LEVEL:.0%} bootstrap interval. The loss is that of the "
        "photographs alone, their colours and outlines. Among the same priors, all rules choose for the same heads."
    )
    header = ["Priors", "Rule", *(f"{region}: {what}" for region in REGIONS for what in ("best taken", "mm", "cost, mm"))]
    return grid(header, rows, posts.anchor(results, "choices"), caption)


def cost(taken: pd.Series, best: pd.Series) -> str:
    """By how much the errors of what was taken exceed those of the best, with the interval where there are heads enough."""
    over = stats.mean(taken - best)
    return mm(over.mean) + ("" if over.n < stats.LEAST else f" ({mm(over.low)} to {mm(over.high)})")


def choice_sentences(results: Results, rule: str = "held_out", protocol: str = "rigid") -> str:
    """What choosing among the tried priors by a rule costs against the best, the first, a random one, and the other rules."""
    said = []
    among, names = next(iter(candidates(results).items()))
    for region in REGIONS:
        c = chosen(results, names, rule, region, protocol)
        over = stats.mean(c.chosen - c.best)
        ends_ = "" if over.n < stats.LEAST else f" ({stats.LEVEL:.0%} interval {mm(over.low)} to {mm(over.high)})"
        this = "the prior chosen so"
        against = {"always the first": c.first, "one drawn at random": c.mean}
        for other in (other for other in losses(results, names) if other != rule):
            against[f"that of the {CHOOSERS[other]},"] = chosen(results, names, other, region, protocol).chosen
        verdicts = [stats.sentence(stats.paired(c.chosen, errors), this, name) for name, errors in against.items()]
        said.append(
            f"On the {region}, the {CHOOSERS[rule]}, takes the best of {among} on {stats.share(c.best_chosen, c.n)} heads "
            f"(a draw at random would on {c.n / c.priors:.1f}) and costs {mm(over.mean)} mm against it{ends_}.\n\n"
            + bullets(verdicts)
        )
    return "\n\n".join(said)


# ---- what a prior carries


def carried(results: Results) -> list[tuple[str, str, str]]:
    """Every way (method, prior, carry) in which the study starts a fit, in the order of the table."""
    columns = results.table[["method", "prior", "carry"]].drop_duplicates()
    return [(str(row.method), str(row.prior), str(row.carry)) for row in columns.itertuples(index=False)]


def ablation(results: Results) -> Results:
    """What tells what a prior carries: the runs of IDR and of all methods with several carries, from the fewest photographs.

    Each is from its method's first prior, of the heads and with the random seeds that IDR and every carry have; ValueError where
    there is none.
    """
    few = posts.at(results, results.views[0])
    table = few.table[few.table["prior"] == few.table["method"].map({name: posts.start(few, name)[0] for name in few.methods})]
    several = [name for name in few.methods if table.loc[table["method"] == name, "carry"].nunique() > 1]
    if not several or "idr" not in few.methods:
        raise ValueError(f"{results.study}: runs of IDR, and of a method that carries now more and now less, were expected")
    table = table[table["method"].isin(["idr", *several])]
    ways = [set(zip(way["subject"], way["seed"], strict=True)) for _, way in table.groupby(["method", "carry"])]
    shared = set.intersection(*ways)
    if not shared:
        raise ValueError(f"{results.study}: a head with runs of IDR and of every carry with the same random seed was expected")
    return replace(few, table=table[[pair in shared for pair in zip(table["subject"], table["seed"], strict=True)]])


def carry_words(method: str, carry: str) -> str:
    """What a fit takes over from its prior, in words."""
    words = {"geometry": "geometry", "colour": "colour network", "moments": "optimizer's moments"}
    return "nothing (a sphere)" if method == "idr" else listed([words[part] for part in carry.split()])


def carry(results: Results, protocol: str = "rigid") -> str:
    """What a prior carries: the errors for every part of it that is taken over, and the difference to taking over nothing."""
    rows = []
    for method, prior, parts in carried(results):
        row = [label(method), carry_words(method, parts)]
        for region in REGIONS:
            column = f"{region}_{protocol}_mm"
            values, nothing = posts.by_subject(results, method, column, prior, parts), posts.by_subject(results, "idr", column)
            pair = stats.paired(values, nothing) if method != "idr" and len(values) and len(nothing) else None
            row += [spread(values), f"{signed(pair.mean)} ({ends(pair)})" if pair else "–"]
        rows.append(row)
    light = results.about.get("data", {}).get("light")
    if light is None:
        raise ValueError(f"{results.study}.json: data: light (varied or common) was expected")
    heads = len(results.subjects)
    caption = (
        f"What is carried over from the prior, under {light} light: error in mm ({protocol} protocol, {count(results.views[0])} "
        f"photographs, {count(heads)} {plural('head', heads)}), mean ± standard deviation between heads, and the paired "
        f"difference to carrying nothing with its {stats.LEVEL:.0%} bootstrap interval."
    )
    header = ["Method", "carried over", "face, mm", "face − nothing", "head, mm", "head − nothing"]
    return grid(header, rows, posts.anchor(results, "carry"), caption)


def carry_sentences(results: Results, protocol: str = "rigid") -> str:
    """For BaseH3D-Net: the geometry alone and the colours alone against nothing, and what each adds to the other."""
    ways = {parts: prior for method, prior, parts in carried(results) if method == "baseh3d"}
    wanted = {
        "geometry": "the geometry alone",
        "colour": "the colour network alone",
        "geometry colour": "the geometry with the colours",
    }
    if missing := [parts for parts in wanted if parts not in ways]:
        raise ValueError(f"{results.study}: BaseH3D-Net that carries {missing[0]!r} was expected")
    said = []
    for region in REGIONS:
        column = f"{region}_{protocol}_mm"
        numbers = {parts: posts.by_subject(results, "baseh3d", column, ways[parts], parts) for parts in wanted}
        against = [(parts, posts.by_subject(results, "idr", column), "nothing") for parts in wanted]
        against += [("geometry colour", numbers[parts], wanted[parts]) for parts in ("geometry", "colour")]
        words = [stats.sentence(stats.paired(numbers[parts], other), wanted[parts], name) for parts, other, name in against]
        said.append(f"On the {region}, of what is carried over:\n\n{bullets(words)}")
    return "\n\n".join(said)


# ---- the averaged prior


def averaging(results: Results) -> str:
    """What is left of heads when their networks are averaged, at the end of the lesson of notebook 7, in numbers.

    They are in results/STUDY_PRIOR.csv (start, step, network, inside_share, surface, iou, l1, first_loss).
    """
    prior = posts.start(results, "average")[0]
    columns = ("start", "step", "network", "inside_share", "surface", "iou", "l1", "first_loss")
    lesson = posts.read_csv(results.folder.parents[1] / "results" / f"{results.study}_{prior}.csv", columns)
    names = {
        "independent": "of parameters, independent starts",
        "common": "of parameters, common start",
        "distilled": "of functions",
    }
    last = lesson[lesson["step"] == lesson["step"].max()]
    single = last[last["network"] != "mean"]
    rows = [["none: one head alone", *_average(single)]] if len(single) else []
    for start, name in names.items():
        mean = last[(last["start"] == start) & (last["network"] == "mean")]
        if len(mean) != 1:
            raise ValueError(
                f"{results.study}_{prior}.csv: one mean of the start {start!r} at the last step was expected, not {len(mean)}"
            )
        rows.append([name, *_average(mean)])
    networks, steps = single["network"].nunique(), lesson["step"].max()
    caption = (
        f"Averages of {count(networks)} small networks after {steps} steps of training: the share of the cube in which rays are "
        "traced that they call inside, whether a surface is left, the overlap (intersection over union) with the mean of what "
        "the networks say, the mean difference to it where the radius of the sphere is one, and the loss with which a fit to "
        "another head would start."
    )
    header = ["Average", "inside", "surface", "overlap", "difference", "first loss"]
    return grid(header, rows, posts.anchor(results, "averaging"), caption)


def _average(rows: pd.DataFrame) -> list[str]:
    """One row of `averaging`, the mean over `rows`."""
    numbers = rows[["inside_share", "iou", "l1", "first_loss"]].mean()
    surface = "yes" if rows["surface"].all() else "no" if not rows["surface"].any() else "some"
    share, rest = f"{numbers['inside_share']:.0%}", [f"{numbers[name]:.2f}" for name in ("iou", "l1", "first_loss")]
    return [share, surface, *rest]


# ---- where the numbers come from


def costs(results: Results) -> str:
    """What a fit of each method takes by number of photographs: seconds, and the most memory."""
    rows = []
    for method in results.methods:
        cells = []
        for views in results.views:
            few = posts.at(results, views)
            runs_ = posts.rows_of(few, method) if method in few.methods else few.table[:0]
            seconds = runs_.loc[runs_["status"] == "ok", "seconds"].dropna()
            cells.append(f"{seconds.median():.0f}" if len(seconds) else "–")
        peak = posts.rows_of(results, method)["peak_mb"].dropna()
        rows.append([label(method), *cells, f"{peak.max():.0f}" if len(peak) else "–"])
    caption = "What one fit takes: median seconds by the number of photographs, and the most memory of a process in MB."
    return grid(["Method", *(f"{views}" for views in results.views), "MB"], rows, posts.anchor(results, "costs"), caption)


def tracing(fast: Results, published: Results, protocol: str = "rigid") -> str:
    """The errors of fits that differ in nothing but how rays are traced, and how far `fast` is from `published`.

    The runs of `published` say which: those of `fast` of the same subjects, methods, priors, photographs and seeds are compared.
    ValueError where one is missing.
    """
    keys = ["subject", "method", "prior", "carry", "views", "seed"]
    both = published.ok.merge(fast.ok, on=keys, suffixes=("_published", "_fast"))
    if len(both) < len(published.ok):
        raise ValueError(
            f"{fast.study}: every run of {published.study} was expected, {len(published.ok) - len(both)} are missing"
        )
    rows = []
    for method in published.methods:
        of_method = both[both["method"] == method].groupby("subject", sort=False).mean(numeric_only=True)
        for region in REGIONS:
            column = f"{region}_{protocol}_mm"
            pair = stats.paired(of_method[f"{column}_fast"], of_method[f"{column}_published"])
            cells = [
                mm(pair.second),
                mm(pair.first),
                f"{signed(pair.mean)} ({ends(pair)})",
                f"{signed(100 * (pair.ratio - 1))} %",
            ]
            rows.append([label(method), region, *cells])
        seconds = [f"{of_method[f'seconds_{way}'].median():.0f}" for way in ("published", "fast")]
        rows.append([label(method), "seconds of a fit", *seconds, "", ""])
    heads, views = both["subject"].nunique(), both["views"].iloc[0]
    caption = (
        f"The same fits with the published sphere tracing and with the remembered grid: same steps, same seed, "
        f"{count(heads)} {plural('head', heads)}, {count(views)} photographs, mean error in mm ({protocol}), and the paired "
        f"difference with its {stats.LEVEL:.0%} bootstrap interval. Seconds are the median of a fit on one core."
    )
    header = ["Method", "Region", "published", "remembered grid", "difference", "of the error"]
    return grid(header, rows, posts.anchor(fast, "tracing"), caption)


def provenance(results: Results) -> str:
    """Where the numbers come from: command, commit, machine, seeds; what each stage took; and the settings of the study."""
    table = results.table
    facts = {"command": f"make study STUDY=config/{results.study}.yaml"}
    for column, name in {"commit": "commit", "device": "device", "seed": "random seeds", "preset": "preset"}.items():
        facts[name] = ", ".join(dict.fromkeys(str(value) for value in table[column].dropna()))
    if table["peak_mb"].notna().any():
        facts["most memory of one run"] = f"{table['peak_mb'].max():.0f} MB"
    ended = results.stages[results.stages["runs"] > 0]  # the table is written before its own stage has ended
    stages = [[f"`{row['stage']}`", f"{row['runs']:.0f}", f"{row['seconds']:.0f}"] for row in ended.to_dict("records")]
    stages.append(["together", f"{results.stages['runs'].sum():.0f}", f"{results.stages['seconds'].sum():.0f}"])
    name, caption = posts.anchor(results, "provenance"), f"Where the numbers of the study `{results.study}` come from."
    tables = [grid(["What", "Value"], _rows(facts), name, caption)]
    name, caption = posts.anchor(results, "stages"), "Computing time by stage, added up over its runs."
    tables.append(grid(["Stage", "runs", "seconds"], stages, name, caption))
    if settings := _rows(_flat(results.about)):
        table_of_all = grid(["Setting", "Value"], settings, posts.anchor(results, "settings"), "The settings of the study.")
        tables.append(f"<details>\n<summary>All settings of the study {results.study}</summary>\n\n{table_of_all}\n\n</details>")
    return "\n\n".join(tables)


def _rows(facts: dict[str, str]) -> list[list[str]]:
    """A row for each fact that is not empty."""
    return [[name, f"`{code(value)}`"] for name, value in facts.items() if value.strip()]


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested tables as `outer inner` -> text."""
    found: dict[str, str] = {}
    for key, item in value.items():
        text = ", ".join(map(str, item)) if isinstance(item, list) else str(item)
        found |= _flat(item, f"{prefix}{key} ") if isinstance(item, dict) else {f"{prefix}{key}": text}
    return found
