"""The tables of the posts, made from the committed results, and the numbers that their plots draw.

Functions return MyST Markdown for the code cells of the posts in blog/, or plain numbers for `plots`. What is called better,
worse or the same is a `stats.verdict`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from string import ascii_lowercase
from typing import Any

import numpy as np
import pandas as pd

from heads.posts import engine, sentences, stats
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
    first_prior,
    fit_of,
    heading,
    label,
    matters,
    parts,
    phrase,
    prior_label,
    read_csv,
    rows_of,
    sample,
    scan_method,
    scans,
    seeing,
    training_of,
    tried_everywhere,
    undisturbed,
)
from heads.posts.sentences import anchor, code, listed, mm
from heads.posts.stats import ONE_PRIOR, count, digits, ends, signed

HARD = "\u00a0"  # a space at which no line is broken
NUMBER = re.compile(r"[-+−±–./\d\s]*(of \d+)?")
CHOOSERS = {  # rules for choosing a prior by a loss on photographs
    "held_out": "smallest loss on a photograph held out, after a short trial",
    "trial_loss": "smallest loss on the photographs used, after a fifth of the fit",
    "final_loss": "smallest loss on the photographs used, at the end of the fit",
}
PARTS = {"geometry": "geometry", "colour": "colour network", "moments": "optimizer's moments"}  # of a prior, in words


def grid(header: Sequence[str], rows: Sequence[Sequence[str]], name: str, caption: str) -> str:
    """A captioned MyST table; columns of numbers are aligned to the right."""
    right = [all(NUMBER.fullmatch(row[i]) for row in rows) for i in range(len(header))]
    sides = ["--:" if column and rows else ":--" for column in right]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, sides, *rows))
    return f":::{{table}} {caption}\n:name: {name}\n\n{body}\n:::"


def cite(row: Mapping[Any, Any] | pd.Series) -> str:
    """The source of a published number, in words and as a reference."""
    return f"{row['source']} {{cite:p}}`{row['bib']}`"


def bullets(items: Sequence[str]) -> str:
    """The sentences as a list, each with a capital and a full stop."""
    return "\n".join(f"- {sentences.capital(item)}." for item in items)


def spread(values: pd.Series) -> str:
    """Mean ± population standard deviation; without ± for one number, a dash for none."""
    values = values.dropna()
    return mm(float(values.mean()), float(values.std(ddof=0)) if len(values) > 1 else None) if len(values) else "–"


# ---- methods


def table2(results: Results, with_published: bool = True) -> str:
    """The original post's Table 2: errors measured here in both protocols, below them the published ones with their source."""
    rows, views = [], results.views[0]
    groups = list(dict.fromkeys(sorted((heading(results, method) for method in results.methods), key=bool)))
    for group in groups:  # methods without one first
        rows += [[f"**{group}**", "", "", "", ""]] if group else []
        for protocol, method in product(PROTOCOLS, (one for one in results.methods if heading(results, one) == group)):
            numbers = [by_subject(results, method, f"{region}_{protocol}_mm") for region in REGIONS]
            n = len(numbers[0])
            where = f"measured here, {n} built-in {sentences.plural('head', n)}"
            rows.append([label(results, method), protocol, *map(spread, numbers), where])
    caption = (
        f"Mean error over the heads of the study `{results.study}` from {count(views)} photographs, ± its standard deviation "
        "between heads; lower is better."
    )
    if any(len(sample(results, method)) > 1 for method in results.methods):
        caption += " A head's error is the mean over the priors of a method."
    if with_published:
        for row in results.published[results.published["views"] == views].to_dict("records"):
            cells = [mm(row[region], row[f"{region}_std"]) for region in REGIONS]
            rows.append([f"*{label(results, row['method'])}*", row["protocol"], *cells, cite(row)])
        caption += (
            " Upper rows: measured here, on the built-in heads. Rows in italics: published, on H3DS. Only rows with the same "
            "protocol and data set can be compared."
        )
    return grid(["Method", "Protocol", "face, mm", "head, mm", "Source"], rows, anchor(results, "table-2"), caption)


JUDGES = {  # a score -> what heads its column, and the decimals
    "accuracy_mm": ("accuracy", 2),
    "f1_at_1mm": ("F1, 1 mm", 2),
    "f1_at_5mm": ("F1, 5 mm", 2),
    "normals_median_deg": ("median angle", 1),
    "normals_mean_deg": ("mean angle", 1),
    "seen_mm": ("seen", 2),
    "unseen_mm": ("unseen", 2),
    "psnr_db": ("PSNR, dB", 1),
    "ssim": ("SSIM", 2),
}


def judges(results: Results, region: str) -> str:
    """What the other judges say of each method on the face, the head, or held-out photographs (`novel`): means over heads."""
    known = {key: column for key, column in JUDGES.items() if f"{region}_{key}" in results.scores}
    rows = []
    for method in results.methods:
        numbers = {key: by_subject(results, method, f"{region}_{key}").dropna() for key in known}
        if any(map(len, numbers.values())):
            cells = [f"{numbers[key].mean():.{digits}f}" if len(numbers[key]) else "–" for key, (_, digits) in known.items()]
            rows.append([label(results, method), *cells])
    said = {
        "face": "The face by the other judges, rigid: distance from the reconstruction to the scan (accuracy, mm), F1, angle "
        "between the normals (degrees), and distance from what photographs saw of the scan (mm).",
        "head": "The head by the other judges, rigid: distance from the reconstruction to the scan (accuracy, mm), F1, angle "
        "between the normals (degrees), and distance from what photographs saw of the scan, and from what none saw (mm).",
        "novel": "Colours in photographs that were held out, inside their masks, each channel scaled to the photograph.",
    }
    over = f"means over {sentences.heads(len(results.subjects))} of the study `{results.study}`"
    views = f"{sentences.capital(count(results.views[0]))} photographs, {over}."
    return grid(
        ["Method", *(said for said, _ in known.values())], rows, anchor(results, f"judges-{region}"), f"{said[region]} {views}"
    )


def comparisons(results: Results) -> list[tuple[str, str]]:
    """Each method with each of those it is compared with, by its entry, if they share a head."""
    found = [(method, other) for method in results.methods for other in against(results, method)]
    return [pair for pair in found if sentences.comparable(results, *pair)]


def differences(results: Results, protocol: str) -> str:
    """For each comparison and region: the mean difference, its interval, the heads on which the first is lower, the verdict."""
    rows, pairs = [], []
    for first, second in comparisons(results):
        for region in REGIONS:
            pair = sentences.compare(results, first, second, region, protocol)
            lower, both = f"{len(pair.lower)} of {pair.n}", f"{label(results, first)} − {label(results, second)}"
            rows.append([both, region, signed(pair.mean), ends(pair), lower, pair.verdict(matters(results, region))])
            pairs.append(pair)
    resampled = "heads"
    if any(one.trainings > 1 for pair in pairs for one in pair.samples):
        resampled += " and, where a method has several priors, the people of these and their trainings"
    least = listed([f"{matters(results, region):g} mm ({region})" for region in REGIONS])
    caption = (
        f"Paired differences in mean error between methods, study `{results.study}` ({protocol} protocol, "
        f"{count(results.views[0])} photographs), in mm: "
        f"the mean over heads, its {stats.LEVEL:.0%} bootstrap interval, which resamples {resampled}, and the number of heads "
        "on which the first method has the lower error. A negative difference means that the first method is closer to the "
        f"scan; the verdict is about the first, and the smallest difference that matters is {least}. The intervals are not "
        "corrected for their number: among so many, one or another may exclude 0 by chance."
    )
    if any(pair.one_prior for pair in pairs):
        caption += f" {ONE_PRIOR} One prior: the interval is for that one only and does not speak of priors in general."
    header = ["Difference", "Region", "mean", "interval", "lower on", "verdict"]
    return grid(header, rows, anchor(results, f"differences-{protocol}"), caption)


def variance(results: Results, method: str, protocol: str = "rigid") -> str:
    """Where the errors of a method, and its differences to its baseline, vary: standard deviations by source, and shares.

    A difference is that of a run to the mean of the baseline's runs on the same head.
    """
    columns: dict[str, list[str]] = {}
    for other in ("", *against(results, method)[:1]):
        for region in REGIONS:
            column = f"{region}_{protocol}_mm"
            values = runs(results, method, column)
            if other:
                values["value"] -= values["head"].map(by_subject(results, other, column))
            found = stats.components(values).clip(lower=0)
            total = float(found.sum())
            shares = found / total if total > 0 else found
            columns[f"{region} − {label(results, other)}, mm" if other else f"{region}, mm"] = [
                "–" if np.isnan(one) else f"{one**0.5:.2f} ({share:.0%})" for one, share in zip(found, shares, strict=True)
            ] + [f"{total**0.5:.2f}"]
    rows = [list(row) for row in zip((*stats.SOURCES, "**all**"), *columns.values(), strict=True)]
    caption = (
        f"Where the errors of {label(results, method)} come from in the study `{results.study}` ({protocol} protocol, "
        f"{count(results.views[0])} photographs): "
        "the standard deviation of each source in mm, and its share of the variance. A dash: nothing tried here tells this "
        "source from the one above or below it. Sums of squares are set equal to their expectations (Henderson's first method); "
        "an estimate below zero is shown as zero."
    )
    return grid(["Source", *columns], rows, anchor(results, f"variance-{method}-{protocol}"), caption)


def runs(results: Results, method: str, column: str) -> pd.DataFrame:
    """The successful runs that represent a method, as `stats.components` takes them: head, person, training, seed, value."""
    rows = rows_of(results, method)[lambda rows: rows["status"] == "ok"]
    made = [training_of(results, prior) for prior in rows["prior"]]
    persons, trainings = [person for person, _ in made], [training for _, training in made]
    found = {"head": rows["subject"], "person": persons, "training": trainings, "seed": rows["seed"], "value": rows[column]}
    return pd.DataFrame(found)


def per_subject(results: Results, protocol: str) -> str:
    """The two errors of every head by every method, means over its seeds; a dash where no run succeeded."""
    numbers = {
        method: [by_subject(results, method, f"{region}_{protocol}_mm") for region in REGIONS] for method in results.methods
    }
    rows = []
    for subject in results.subjects:
        cells = [[mm(values[subject]) if subject in values.index else "–" for values in pair] for pair in numbers.values()]
        rows.append([subject, *(f"{face} / {head}" for face, head in cells)])
    rows.append(
        ["mean", *(" / ".join(mm(float(v.mean())) if len(v.dropna()) else "–" for v in pair) for pair in numbers.values())]
    )
    caption = (
        f"Every head of the study `{results.study}`: error on the face / on the head in mm ({protocol} protocol), the mean over "
        "priors and random seeds."
    )
    header = ["Head", *(label(results, method) for method in numbers)]
    return grid(header, rows, anchor(results, f"per-subject-{protocol}"), caption)


def strips(results: Results, protocol: str) -> dict[str, dict[str, pd.Series]]:
    """Region -> method's label -> one error for each head, for `plots.strips`."""
    return {
        region: {label(results, method): by_subject(results, method, f"{region}_{protocol}_mm") for method in results.methods}
        for region in REGIONS
    }


# ---- the claims of the posts, what was foretold, and how it was made


def claims(studio: Results, field: Results, protocol: str = "rigid") -> str:
    """Every comparison of the methods in the studio and in the field: the difference, its interval and the verdict."""
    studies = (studio, field)
    known = list(dict.fromkeys(claim for one in studies for claim in sentences.claims_of(one)))
    if not known:
        raise ValueError(f"{studio.study}, {field.study}: methods that are compared with another were expected, there are none")
    rows: list[list[str]] = []
    pairs: list[stats.Paired] = []
    above = ""
    for claim in known:
        if claim.heading != above:
            rows.append([f"**{claim.heading}**", *[""] * len(studies) * len(REGIONS)])
            above = claim.heading
        row = [f"{claim.first} − {claim.second}" if claim.first != claim.second else claim.first]
        for one, region in product(studies, REGIONS):
            if set(claim.methods) <= set(one.methods) and sentences.comparable(one, *claim.methods):
                pairs.append(sentences.compare(one, *claim.methods, region, protocol))
                row.append(_claim(pairs[-1], matters(one, region)))
            else:
                row.append("–")
        rows.append(row)
    caption = (
        f"Every claim at once: differences in mean error, in mm, with {stats.LEVEL:.0%} intervals and verdicts ({protocol} "
        f"protocol, {count(studio.views[0])} photographs). Below zero, the first is closer to the scan."
    )
    caption += f" {ONE_PRIOR} For one prior only." if any(pair.one_prior for pair in pairs) else ""
    header = ["Difference", *(f"{place}, {region}" for place, region in product(("studio", "field"), REGIONS))]
    return grid(header, rows, anchor(studio, f"claims-{protocol}"), caption)


def _claim(pair: stats.Paired, least: float) -> str:
    """−0.12, undecided (−0.30 to +0.05): a line may break before the bracket only."""
    said = [f"{signed(pair.mean)}, {pair.verdict(least)}", *([f"({ends(pair)})"] if pair.n >= stats.LEAST else [])]
    return " ".join(one.replace(" ", HARD) for one in said)


def claim_lines(studio: Results, field: Results, protocol: str = "rigid") -> dict[str, dict[str, pd.DataFrame]]:
    """Region -> studio, field -> a row for each method with a prior, for `plots.claims`.

    A row has the method's label, its name and heading, and its difference to the baseline below the same heading (label, name,
    heading, mean, low, high).
    """
    lines: dict[str, dict[str, pd.DataFrame]] = {}
    for region, (place, one) in product(REGIONS, {"studio": studio, "field": field}.items()):
        rows = []
        for claim in sentences.claims_of(one):
            method, other = claim.methods
            if (
                not claim.across
                and first_prior(one, method)
                and not first_prior(one, other)
                and sentences.comparable(one, method, other)
            ):
                pair = sentences.compare(one, method, other, region, protocol)
                row = {"label": label(one, method), "name": claim.first, "heading": claim.heading}
                rows.append(row | {"mean": pair.mean, "low": pair.low, "high": pair.high})
        columns = ["label", "name", "heading", "mean", "low", "high"]
        lines.setdefault(region, {})[place] = pd.DataFrame(rows, columns=columns)
    return lines


def calibration(results: Results, method: str = "idr", bib: str = "h3ds") -> str:
    """A method as published, in the field and in the studio, beside its published errors: what the amounts were set by.

    The field is what the method's first entry sees, the studio its entry `studio`; both in the toolbox protocol.
    """
    rows, ratios = [], []
    for place, name in {"field": "", "studio": "studio"}.items():
        of_place = results.table[(results.table["method"] == method) & (results.table["name"] == name)]
        for views in sorted(int(views) for views in of_place["views"].unique()):
            theirs, said = sentences.published(results, method, bib, views), []
            for region in REGIONS:
                here = by_subject(at(results, views), method, f"{region}_toolbox_mm", name=name).dropna()
                if here.empty:
                    continue
                mean, there = float(here.mean()), float(theirs[region])
                numbers = [spread(here), mm(there), signed(mean - there), f"{mean / there:.2f}"]
                rows.append([place, str(views), region, *numbers])
                said.append(f"{mean / there:.2f} on the {region}")
            if said:
                ratios.append(f"with {count(views)} photographs in the {place} {listed(said)}")
    if not rows:
        raise ValueError(f"{results.study}: runs of {method} with a score were expected, there are none")
    source = sentences.published(results, method, bib)
    people = results.subjects
    caption = (
        f"{label(results, method)} as published, on the {count(len(people))} people of the study `{results.study}` "
        f"({listed(people)}): mean error in mm ± standard deviation between heads, toolbox protocol; published: {cite(source)}. "
        "The amounts of the field were set by the rows of the field, which are therefore no predictions. What the amounts do not "
        f"explain is left in the ratios of the error here to the published one: {'; '.join(ratios)}."
    )
    header = ["Photographs", "number", "Region", "here", "published, on H3DS", "difference", "ratio"]
    return grid(header, rows, anchor(results, "calibration"), caption)


def predictions(results: Results) -> str:
    """What a study in the field foretells of the published numbers, by the number of photographs, and whether these come out."""
    found = sentences.predictions_of(results)
    rows = []
    for one in found:
        number = signed if one.difference else mm
        mark = f" {ONE_PRIOR}" if one.one_prior else ""
        interval = "–" if one.verdict == stats.FEW else f"{number(one.low)} to {number(one.high)}{mark}"
        verdict = f"{one.verdict}, {one.sign} sign" if one.difference else one.verdict
        rows.append([one.name, str(one.views), one.region, number(one.here), interval, number(one.published), verdict])
    known = [source for method, source in sentences.FORETOLD.items() if method in results.methods]
    sources = listed(list(dict.fromkeys(cite(sentences.published(results, *source)) for source in known)))
    caption = (
        f"What {sentences.heads(len(results.subjects))} of the study `{results.study}` foretell of errors on H3DS, in mm "
        f"(toolbox protocol, by the number of photographs). A hit: the {stats.LEVEL:.0%} interval of what was measured "
        "here, over heads and priors, holds the published number, whose own interval is not known; a wide interval is hit easily."
        f" Published: {sources}."
    )
    caption += f" {ONE_PRIOR} For one prior only." if any(one.one_prior for one in found) else ""
    header = ["Prediction", "from", "Region", "here", "interval", "published", "verdict"]
    return grid(header, rows, anchor(results, "predictions"), caption)


def settings(results: Results) -> str:
    """Each setting of the published program, of the methods below each heading, and what a change of it is for."""
    fits: dict[str, dict[str, dict[str, None]]] = {}
    for method in results.methods:
        grouped = any(heading(results, one) for one in results.methods)
        if "shape" in (fit := fit_of(results, method) if not grouped else entry(results, method).get("fit", {})):
            for name, words in engine.told(fit).items():
                fits.setdefault(heading(results, method) or "here", {}).setdefault(name, {})[words] = None
    if not fits:
        raise ValueError(f"{results.study}.json: fit: the settings of a fit were expected")
    theirs, rows = engine.told({}), []
    for one in engine.SETTINGS:
        published = theirs[one.name]
        here = [" / ".join("the same" if words == published else words for words in of[one.name]) for of in fits.values()]
        if any(words != "the same" for words in here):
            rows.append([one.name, published, *here, one.purpose])
    caption = (
        "How the fits are set where they are not as in the published program {cite:p}`yariv2020`, and what each change is for."
    )
    return grid(["Setting", "published program", *fits, "what for"], rows, anchor(results, "engine"), caption)


UNITS = {"deg": "°", "mm": " mm", "percent": " %", "ev": " EV"}  # by the ends of the names of amounts


def amounts() -> str:
    """How much goes wrong in the field, by what goes wrong together, and the reason of each amount."""
    from heads.data import capture  # with what computes people, which the other tables do without

    rows = []
    for group, names in capture.GROUPS.items():
        for i, name in enumerate(names):
            rest, _, unit = name.rpartition("_")
            what = (rest if unit in UNITS else name).replace("_", " ")
            amount = f"{getattr(capture.FIELD, name):g}{UNITS.get(unit, '')}"
            rows.append([f"**{group}**" if i == 0 else "", what, amount, capture.REASONS[name]])
    caption = (
        "What goes wrong in the field, and how much of it: standard deviations, for blur the root mean square, and for shine how "
        "much is added to highlights of one. Each photograph has its own, but all share the focal length, the hair that differs "
        "from the scan, and the shine."
    )
    return grid(["Together", "what", "amount", "because"], rows, "amounts", caption)


# ---- numbers of photographs


def sweep(results: Results) -> str:
    """Error against the number of photographs: the last rows of the H3D-Net paper's table, published and measured."""
    columns = sorted({*results.views, *(int(views) for views in results.published["views"].unique())})
    rows, results = [], tried_everywhere(results)
    for protocol in PROTOCOLS:
        for method in results.methods:
            cells = []
            for views in columns:
                few = at(results, views) if views in results.views else None
                numbers = [by_subject(few, method, f"{region}_{protocol}_mm") for region in REGIONS] if few else []
                cells.append(_both([float(values.mean()) for values in numbers if len(values)]))
            rows.append([label(results, method), protocol, *cells, "here"])
    letters: dict[str, str] = {}
    for _, group in results.published.groupby(["method", "bib", "protocol"], sort=False):
        of = {int(row["views"]): [float(row[region]) for region in REGIONS] for row in group.to_dict("records")}
        one = group.iloc[0]
        letter = letters.setdefault(cite(one), ascii_lowercase[len(letters)])
        name = f"*{label(results, one['method'])}*"
        rows.append([name, one["protocol"], *(_both(of.get(views, [])) for views in columns), letter])
    known = "; ".join(f"({letter}) {source}" for source, letter in letters.items())
    caption = (
        "Mean error on the face / on the head in mm, by the number of photographs. Rows in italics: published, on H3DS; the "
        f"others: measured here, on {count(len(results.subjects))} built-in heads. A dash: not measured, or not known to us. "
        f"Only rows with the same protocol and data set can be compared. From: {known}."
    )
    header = ["Method", "Protocol", *map(str, columns), "From"]
    return grid(header, rows, anchor(results, "table-views"), caption)


def _both(numbers: Sequence[float]) -> str:
    return f"{mm(numbers[0])} / {mm(numbers[1])}" if numbers else "–"


def sweep_lines(results: Results, protocol: str) -> dict[str, dict[str, pd.DataFrame]]:
    """Region -> method's label -> a row for each number of photographs (views, mean, std in mm), for `plots.view_sweep`."""
    lines: dict[str, dict[str, pd.DataFrame]] = {}
    results = tried_everywhere(results)
    for region in REGIONS:
        lines[region] = {}
        for method in results.methods:
            rows = []
            for views in results.views:
                values = by_subject(at(results, views), method, f"{region}_{protocol}_mm")
                if len(values):
                    found = stats.mean(values)
                    rows.append({"views": views, "mean": found.mean, "std": found.std})
            lines[region][label(results, method)] = pd.DataFrame(rows)
    return lines


def gain_lines(results: Results, protocol: str, second: str) -> dict[str, dict[str, pd.DataFrame]]:
    """Region -> method's label -> its difference to `second` by views (views, mean, low, high), for `plots.view_gains`.

    Of the methods below the same heading as `second`.
    """
    lines: dict[str, dict[str, pd.DataFrame]] = {}
    results = tried_everywhere(results)
    for region in REGIONS:
        lines[region] = {}
        for method in (one for one in results.methods if heading(results, one) == heading(results, second)):
            rows = []
            for few in (at(results, views) for views in results.views):
                if method != second and sentences.comparable(few, method, second):
                    pair = sentences.compare(few, method, second, region, protocol)
                    rows.append({"views": few.views[0], "mean": pair.mean, "low": pair.low, "high": pair.high})
            if rows:
                lines[region][label(results, method)] = pd.DataFrame(rows)
    return lines


# ---- photographs in which something is wrong


def disturbances(results: Results, protocol: str) -> str:
    """What each disturbance of the photographs adds to the errors of each method, at each of its strengths."""
    results = at(results, results.views[0])
    methods, known = undisturbed(results).methods, disturbed(results)
    strengths = sorted({strength for sources in known.values() for strength in sources if strength > 0})
    rows: list[list[str]] = []
    pairs: list[stats.Paired] = []
    for name, sources in known.items():
        row = [name]
        for method, region in product(methods, REGIONS):
            found = [added(results, method, f"{region}_{protocol}_mm", sources, strength) for strength in strengths]
            row.append(" / ".join(_added(pair) if pair else "–" for pair in found))
            pairs += [pair for pair in found if pair]
        rows.append(row)
    numbers = sorted({pair.n for pair in pairs})
    caption = (
        f"What disturbances of the photographs add to the mean error, in mm ({protocol} protocol, {count(results.views[0])} "
        f"photographs): the paired difference to photographs without any, at {' / '.join(f'{one:g}×' for one in strengths)} the "
        f"amount where people photograph by hand. n = {' to '.join(map(str, dict.fromkeys([numbers[0], numbers[-1]])))} heads, "
    )
    enough = [pair for pair in pairs if pair.n >= stats.LEAST]
    caption += f"with the {stats.LEVEL:.0%} bootstrap interval." if enough else "too few for an interval."
    caption += f" {ONE_PRIOR} For one prior only." if any(pair.one_prior for pair in enough) else ""
    header = ["Disturbance", *(f"{label(results, method)}, {region}" for method, region in product(methods, REGIONS))]
    return grid(header, rows, anchor(results, f"disturbances-{protocol}"), caption)


def added(results: Results, method: str, column: str, sources: Mapping[float, str], strength: float) -> stats.Paired | None:
    """A method's numbers with a disturbance of a strength against those without; None where no head has both."""
    if strength not in sources:
        return None
    both = [seeing(results, sources[one]) for one in (strength, 0.0)]
    after, before = (by_training(one, method, column) if method in one.methods else pd.DataFrame() for one in both)
    return stats.paired(after, before) if set(after.index) & set(before.index) else None


def _added(pair: stats.Paired) -> str:
    return signed(pair.mean) + (f" ({ends(pair)})" if pair.n >= stats.LEAST else "")


def disturbance_lines(results: Results, protocol: str) -> dict[str, dict[str, dict[str, pd.DataFrame]]]:
    """Disturbance -> region -> method's label -> a row for each strength (strength, mean in mm), for `plots.disturbances`.

    The means of a panel are over the same heads: those that every method reconstructed at every strength.
    """
    results = at(results, results.views[0])
    lines: dict[str, dict[str, dict[str, pd.DataFrame]]] = {}
    for name, sources in disturbed(results).items():
        lines[name] = {}
        for region in REGIONS:
            errors = {
                (label(results, method), strength): by_subject(seeing(results, source), method, f"{region}_{protocol}_mm")
                for method in results.methods
                for strength, source in sources.items()
            }
            means = pd.DataFrame({key: values for key, values in errors.items() if len(values)}).dropna().mean().dropna()
            lines[name][region] = {
                str(method): of_method.droplevel(0).rename_axis("strength").rename("mean").reset_index()
                for method, of_method in means.groupby(level=0, sort=False)
            }
    return lines


# ---- priors of one head


def by_prior(results: Results, column: str) -> pd.DataFrame:
    """One number for each head (row) and prior of one scan (column), the mean over the seeds that all these priors have."""
    method, names = scan_method(results), list(scans(results))
    rows = pd.concat([rows_of(results, method, name) for name in names])
    seeds = set.intersection(*(set(group["seed"]) for _, group in rows.groupby("prior")))
    if not seeds:
        raise ValueError(f"{results.study}: a random seed that every prior of {label(results, method)} has was expected")
    rows = rows[(rows["status"] == "ok") & rows["seed"].isin(seeds)]
    found = rows.pivot_table(column, "subject", "prior", aggfunc="mean", dropna=False)
    return found.reindex(index=results.subjects, columns=names)


def table1(results: Results, protocol: str, original: pd.DataFrame | None = None) -> str:
    """The original post's Table 1: whose head the prior is, and how long it was fitted, on the first head and on all heads.

    `original` holds its published cells (table, prior, epochs, scan, face, head), if their protocol is this one.
    """
    about = scans(results)
    epochs = sorted({int(prior["epochs"]) for prior in about.values()})
    owners = list(dict.fromkeys(prior["subject"] for prior in about.values()))
    made: dict[tuple[str, int], list[str]] = {}
    for name, prior in about.items():
        made.setdefault((prior["subject"], int(prior["epochs"])), []).append(name)
    tables = {region: by_prior(results, f"{region}_{protocol}_mm") for region in REGIONS}
    blocks: dict[str, dict[tuple[str, str, int], pd.Series]] = {}
    for shown, heads in {
        results.subjects[0]: results.subjects[:1],
        f"all {count(len(results.subjects))}": results.subjects,
    }.items():
        blocks[shown] = {
            (region, owner, number): tables[region].loc[heads, of].mean(axis=1)
            for region in REGIONS
            for (owner, number), of in made.items()
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
        f"Error by the head of the prior and the epochs for which it was fitted: mean in mm ({protocol} protocol, "
        f"{count(results.views[0])} photographs), ± its standard deviation between heads. AVG: mean over the priors, ± the "
        "standard deviation between them."
    )
    if len(made) < len(about):
        caption += " A prior that was trained more than once counts with its mean."
    if original is not None:
        caption += " Rows in italics: published, on H3DS; their AVG is computed from the published cells."
    header = ["Prior", "Heads", *(f"{region}, {e}" for e in epochs for region in REGIONS), "Source"]
    return grid(header, rows, anchor(results, f"table-1-{protocol}"), caption)


def _original1(original: pd.DataFrame, epochs: Sequence[int]) -> list[list[str]]:
    """The published Table 1 as rows; ValueError unless its epochs are those of the columns."""
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
    """Whether a prior that was fitted for longer is worse: the most epochs against the fewest, averaged over whose head it is."""
    about = scans(results)
    counts = sorted({int(prior["epochs"]) for prior in about.values()})
    if len(counts) < 2:
        raise ValueError(f"{results.study}: priors of at least two numbers of epochs were expected, there is {counts}")
    said, priors = [], 0
    for region in REGIONS:
        numbers = by_prior(results, f"{region}_{protocol}_mm")
        pair = stats.paired(*(_trainings(results, numbers, wanted) for wanted in (counts[0], counts[-1])))
        words = f"a prior of {counts[0]} epochs", f"one of {counts[-1]}"
        said.append(f"On the {region}: {stats.sentence(pair, *words, matters(results, region))}.")
        priors = sum(sample.trainings for sample in pair.samples) * 2 // len(pair.samples)
    return f"Over {count(priors)} priors and {sentences.heads(len(results.subjects))} ({protocol} protocol). " + " ".join(said)


def _trainings(results: Results, numbers: pd.DataFrame, epochs: int) -> pd.DataFrame:
    """The columns of the priors of one scan with this number of epochs, named by person and training."""
    names = [name for name, prior in scans(results).items() if prior["epochs"] == epochs]
    return numbers[names].set_axis(pd.MultiIndex.from_tuples([training_of(results, name) for name in names]), axis=1)


def on_one_head(results: Results, protocol: str = "rigid") -> str:
    """How the prior that is best on the first head does on the others, against their best prior and the mean of all priors."""
    said = []
    for region in REGIONS:
        numbers = by_prior(results, f"{region}_{protocol}_mm").dropna()
        chooser, rest = numbers.iloc[0], numbers.iloc[1:]
        if rest.empty:
            raise ValueError(f"{results.study}: two heads that every prior reconstructed were expected")
        means = rest.mean().sort_values()
        name = str(chooser.idxmin())
        shown = prior_label(results, name)
        rank = list(means.index).index(name) + 1
        said.append(
            f"On the {region}, the prior that is best on {numbers.index[0]}, {shown}, has {mm(chooser[name])} mm there and "
            f"{mm(means[name])} mm on the other {count(len(rest))}, where it is number {rank} of {len(means)} "
            f"(best: {mm(means.iloc[0])}, mean of all priors: {mm(float(means.mean()))})."
        )
    return " ".join(said)


# ---- choosing a prior without the scan


def candidates(results: Results) -> dict[str, list[str]]:
    """Sets of priors to choose among: those that had a trial and, if there are more, all that are of one scan."""
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
        raise ValueError(f"{path}: the prior {missing[0]} was tried, but no fit starts from it")
    return trials.pivot(index="subject", columns="prior", values="loss").reindex(index=results.subjects, columns=names)


def losses(results: Results, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """For each rule of `CHOOSERS` for which all priors `names` have a loss: the losses by head (row) and prior (column).

    A head without one of the numbers is left out of every rule, so that all rules are tried on the same heads; ValueError if none
    is left.
    """
    found = {"held_out": held_out(results)} if set(names) <= set(held_out(results).columns) else {}
    found |= {rule: by_prior(results, rule) for rule in CHOOSERS if rule in results.table}
    if not found:
        raise ValueError(f"{results.study}: losses of the fits from {listed(names)} were expected, there are none")
    whole = pd.Series(True, index=results.subjects)
    for rule, table in found.items():
        whole &= table[list(names)].notna().all(axis=1)
        if not whole.any():
            raise ValueError(f"{results.study}: {rule}: no head has a loss from all of {listed(names)}")
    return {rule: table.loc[whole, list(names)] for rule, table in found.items()}


def chosen(results: Results, names: Sequence[str], rule: str, region: str, protocol: str = "rigid") -> stats.Choice:
    """The result of choosing among the priors `names` by a rule of `CHOOSERS`, in mm of the whole fits from them."""
    loss = losses(results, names)[rule]
    errors = by_prior(results, f"{region}_{protocol}_mm").loc[loss.index, list(names)]
    try:
        return stats.choose(errors, loss)
    except ValueError as error:
        raise ValueError(f"{results.study}: {rule}: {error}") from None


def choices(results: Results, protocol: str = "rigid") -> str:
    """Rules for choosing a prior without the scan: how often each takes the best prior, its mean error, and what it costs."""
    rows = []
    for names in candidates(results).values():
        found = {rule: [chosen(results, names, rule, region, protocol) for region in REGIONS] for rule in losses(results, names)}
        either = next(iter(found.values()))  # every rule has the same best, first and mean
        lines = {CHOOSERS[rule]: [c.chosen for c in both] for rule, both in found.items()}
        lines[f"always the first, {prior_label(results, names[0])}"] = [c.first for c in either]
        lines["one at random"] = [c.mean for c in either]
        lines["the best (known only from the scan)"] = [c.best for c in either]
        for rule, errors in lines.items():
            cells = []
            for taken, c in zip(errors, either, strict=True):
                often = (
                    f"{int((taken <= c.best).sum())} of {c.n}" if rule != "one at random" else f"{c.n / c.priors:.1f} of {c.n}"
                )
                cells += [often, spread(taken), cost(taken, c.best)]
            rows.append([count(len(names)), rule, *cells])
    caption = (
        f"Choosing a prior for each head without its scan: how often a rule takes the best prior, the error of the fit from it "
        f"({protocol} protocol, {count(results.views[0])} photographs), mean ± standard deviation between heads, and by how much "
        f"this exceeds the error from the best prior, with the {stats.LEVEL:.0%} bootstrap interval. Losses are those of colours "
        "and outlines in the photographs. Among the same priors, all rules choose for the same heads."
    )
    header = ["Priors", "Rule", *(f"{region}: {what}" for region in REGIONS for what in ("best taken", "mm", "cost, mm"))]
    return grid(header, rows, anchor(results, "choices"), caption)


def cost(taken: pd.Series, best: pd.Series) -> str:
    """By how much the errors of what was taken exceed those of the best, with the interval where there are enough heads."""
    over = stats.mean(taken - best)
    return mm(over.mean) + ("" if over.n < stats.LEAST else f" ({digits(over.low)} to {digits(over.high)})")


def choice_sentences(results: Results, rule: str = "held_out", protocol: str = "rigid") -> str:
    """What choosing among the tried priors by a rule costs against the best, the first, a random one, and the other rules."""
    said = []
    among, names = next(iter(candidates(results).items()))
    for region in REGIONS:
        c = chosen(results, names, rule, region, protocol)
        over = stats.mean(c.chosen - c.best)
        interval = "" if over.n < stats.LEAST else f" ({stats.LEVEL:.0%} interval {digits(over.low)} to {digits(over.high)})"
        others = {"always taking the first": c.first, "drawing one at random": c.mean}
        for other in (other for other in losses(results, names) if other != rule):
            others[f"the rule “{CHOOSERS[other]}”"] = chosen(results, names, other, region, protocol).chosen
        verdicts = [
            stats.sentence(stats.paired(c.chosen, errors), "this rule", name, matters(results, region))
            for name, errors in others.items()
        ]
        said.append(
            f"On the {region}, the rule “{CHOOSERS[rule]}” takes the best of {among} on {stats.share(c.best_chosen, c.n)} heads "
            f"(a random draw: on {c.n / c.priors:.1f}) and costs {mm(over.mean)} mm against it{interval}.\n\n" + bullets(verdicts)
        )
    return "\n\n".join([*said, f"All of this is for these {count(len(names))} priors only."])


# ---- what a prior carries


def ways(results: Results) -> list[tuple[str, str]]:
    """Each method and name of its ablations, in the order of the table."""
    columns = results.table[["method", "name"]].drop_duplicates()
    return [(str(row.method), str(row.name_)) for row in columns.rename(columns={"name": "name_"}).itertuples(index=False)]


def ablation(results: Results) -> Results:
    """The runs of all methods with ablations and of their baselines, from the fewest photographs.

    Of each method only the priors of its sample that all its ablations have, and only the heads and random seeds that every one
    of these has; ValueError where there is none.
    """
    few = at(results, results.views[0])
    of_all = few.table.groupby("method")["name"].transform("nunique")
    whole = few.table[few.table.groupby(["method", "prior"])["name"].transform("nunique") == of_all]
    table = whole[[prior in sample(few, method) for method, prior in zip(whole["method"], whole["prior"], strict=True)]]
    several = [name for name in few.methods if table.loc[table["method"] == name, "name"].nunique() > 1]
    if not several:
        raise ValueError(f"{results.study}: runs of a method and of its ablations were expected")
    table = table[table["method"].isin([*several, *(baseline(few, method) for method in several)])]
    groups = [set(zip(way["subject"], way["seed"], strict=True)) for _, way in table.groupby(["method", "name", "prior"])]
    shared = set.intersection(*groups)
    if not shared:
        raise ValueError(f"{results.study}: a head with the same random seed in every method and ablation was expected")
    return replace(few, table=table[[pair in shared for pair in zip(table["subject"], table["seed"], strict=True)]])


def carry_words(results: Results, method: str, name: str) -> str:
    """What a fit takes over from its prior, in words."""
    taken = listed([PARTS[part] for part in parts(results, method, name)])
    return taken or f"nothing ({phrase(results, method)})"


def carry(results: Results, protocol: str = "rigid") -> str:
    """What a prior carries: the errors for each choice of its parts, and the difference to the baseline, which has no prior."""
    rows: list[list[str]] = []
    pairs: list[stats.Paired] = []
    for method, name in ways(results):
        row = [label(results, method), carry_words(results, method, name)]
        for region in REGIONS:
            values, pair = by_training(results, method, f"{region}_{protocol}_mm", name=name), None
            if against(results, method):
                nothing = by_training(results, baseline(results, method), f"{region}_{protocol}_mm")
                pair = stats.paired(values, nothing) if set(values.index) & set(nothing.index) else None
                pairs += [pair] if pair else []
            row += [spread(stats.of_heads(values)), f"{signed(pair.mean)} ({ends(pair)})" if pair else "–"]
        rows.append(row)
    caption = (
        f"What is carried over from the prior: error in mm ({protocol} protocol, {count(results.views[0])} "
        f"photographs, {sentences.heads(len(results.subjects))}), mean ± standard deviation between heads, and the paired "
        f"difference to carrying nothing with its {stats.LEVEL:.0%} bootstrap interval."
    )
    caption += f" {ONE_PRIOR} For one prior only." if any(pair.one_prior for pair in pairs) else ""
    header = ["Method", "carried over", "face, mm", "face − nothing", "head, mm", "head − nothing"]
    return grid(header, rows, anchor(results, "carry"), caption)


def carry_sentences(results: Results, method: str, protocol: str = "rigid") -> str:
    """For one method: each part of its prior alone and all together against carrying nothing, and what each adds to the others.

    The moments have no meaning alone: what they add to the geometry and the colours is said where both were tried.
    """
    names = {parts(results, method, name): name for one, name in ways(results) if one == method}
    alone, colours, both = ("geometry",), ("colour",), ("geometry", "colour")
    wanted = {alone: "the geometry alone", colours: "the colour network alone", both: "the geometry with the colours"}
    if missing := [" ".join(one) for one in wanted if one not in names]:
        raise ValueError(f"{results.study}: runs of {label(results, method)} that carry {missing[0]!r} were expected")
    if PARTS.keys() == set(whole := max(names, key=len)):
        wanted[whole] = "everything"
    said = []
    for region in REGIONS:
        column = f"{region}_{protocol}_mm"
        numbers = {one: by_training(results, method, column, name=names[one]) for one in wanted}
        others = [(one, by_training(results, baseline(results, method), column), "carrying nothing") for one in wanted]
        others += [(both, numbers[one], wanted[one]) for one in (alone, colours)]
        others += [(one, numbers[both], wanted[both]) for one in wanted if len(one) > len(both)]
        least = matters(results, region)
        words = [stats.sentence(stats.paired(numbers[one], other), wanted[one], name, least) for one, other, name in others]
        said.append(f"On the {region}, by what is carried over:\n\n{bullets(words)}")
    return "\n\n".join(said)


# ---- the averaged prior


def averaging(results: Results, method: str) -> str:
    """What remains of heads when their networks are averaged, at the end of the lesson of notebook 7, for the method's prior.

    The numbers are in results/STUDY_PRIOR.csv (start, step, network, inside_share, surface, iou, l1, first_loss).
    """
    prior = first_prior(results, method)
    columns = ("start", "step", "network", "inside_share", "surface", "iou", "l1", "first_loss")
    lesson = read_csv(results.folder.parents[1] / "results" / f"{results.study}_{prior}.csv", columns)
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
        f"Averages of {count(networks)} small networks after {steps} steps of training: the share of the cube of the traced rays "
        "that is inside, whether there is still a surface, the overlap (intersection over union) with the mean of the networks' "
        "distances, the mean difference to it in units of the sphere's radius, and the first loss of a fit to another head."
    )
    header = ["Average", "inside", "surface", "overlap", "difference", "first loss"]
    return grid(header, rows, anchor(results, "averaging"), caption)


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
            few = at(results, views)
            runs = rows_of(few, method) if method in few.methods else few.table[:0]
            seconds = runs.loc[runs["status"] == "ok", "seconds"].dropna()
            cells.append(f"{seconds.median():.0f}" if len(seconds) else "–")
        peak = rows_of(results, method)["peak_mb"].dropna()
        rows.append([label(results, method), *cells, f"{peak.max():.0f}" if len(peak) else "–"])
    caption = (
        f"Cost of one fit in the study `{results.study}`: median seconds by the number of photographs, and the most memory of a "
        "process in MB."
    )
    return grid(["Method", *(f"{views}" for views in results.views), "MB"], rows, anchor(results, "costs"), caption)


def provenance(results: Results) -> str:
    """Where the numbers come from: command, commit, machine, seeds; how long each stage took, if known; and all settings."""
    table = results.table
    facts = {"command": f"make study STUDY=config/{results.study}.yaml"}
    for column, name in {"commit": "commit", "device": "device", "seed": "random seeds"}.items():
        facts[name] = ", ".join(dict.fromkeys(str(value) for value in table[column].dropna()))
    facts["preset"] = str(results.about.get("every", {}).get("preset", ""))
    if table["peak_mb"].notna().any():
        facts["most memory of one run"] = f"{table['peak_mb'].max():.0f} MB"
    caption = f"Where the numbers of the study `{results.study}` come from."
    tables = [grid(["What", "Value"], _rows(facts), anchor(results, "provenance"), caption)]
    if len(results.stages):
        tables.append(_stages(results))
    if settings := _rows(_flat(results.about)):
        table_of_all = grid(["Setting", "Value"], settings, anchor(results, "settings"), "The settings of the study.")
        tables.append(f"<details>\n<summary>All settings of the study {results.study}</summary>\n\n{table_of_all}\n\n</details>")
    return "\n\n".join(tables)


def _stages(results: Results) -> str:
    ended = results.stages[results.stages["runs"] > 0]  # the table is written before its own stage has ended
    rows = [[f"`{row['stage']}`", f"{row['runs']:.0f}", f"{row['seconds']:.0f}"] for row in ended.to_dict("records")]
    rows.append(["total", f"{results.stages['runs'].sum():.0f}", f"{results.stages['seconds'].sum():.0f}"])
    caption = "Computing time by stage, the sum over its runs."
    return grid(["Stage", "runs", "seconds"], rows, anchor(results, "stages"), caption)


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
