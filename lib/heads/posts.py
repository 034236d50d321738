"""What a post says, made from the committed results: its tables, figures, heads to turn, and every sentence that compares.

Functions return MyST Markdown (`viewer` HTML, which may stand in it) for the code cells of the posts in blog/. A mean is over the
heads that succeeded, and ± is their standard deviation (over n, as the original post has it).
"""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from heads import runs

LABELS = {"idr": "IDR", "baseh3d": "BaseH3D-Net", "h3dnet": "H3D-Net"}
PROTOCOLS = ("rigid", "toolbox")
REGIONS = ("face", "head")
PUBLISHED = ("method", "face", "face_std", "head", "head_std", "protocol", "source", "bib")
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
FLOOR_CELLS = 0.37  # toolbox error of a perfect sphere's mesh, in grid cells; tests/test_posts.py measures it


@dataclass(frozen=True)
class Results:
    """A study as the posts read it: `table` has a row for each run, `stages` one for each stage, `about` is results/STUDY.json.

    `published` are the numbers of others (method, face, face_std, head, head_std in mm, protocol, source, bib), and `figures`
    the folder of the study's figures as a post names it.
    """

    study: str
    table: pd.DataFrame
    stages: pd.DataFrame
    about: dict[str, Any]
    published: pd.DataFrame
    folder: Path
    figures: str

    @property
    def subjects(self) -> list[str]:
        return list(dict.fromkeys(self.table["subject"]))

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(self.table["method"]))

    @property
    def ok(self) -> pd.DataFrame:
        return self.table[self.table["status"] == "ok"]


@dataclass(frozen=True)
class Comparison:
    """Two methods on the heads that both reconstructed: mean errors in mm, and where the first is lower, and where not."""

    first: str
    second: str
    first_mm: float
    second_mm: float
    lower: tuple[str, ...]
    not_lower: tuple[str, ...]

    @property
    def ratio(self) -> float:
        return self.first_mm / self.second_mm


def read(root: Path | str, study: str, views: int) -> Results:
    """The results of a study below `root`, of its runs with `views` photographs; an error names the file that is not well."""
    root = Path(root)
    path = root / "results" / f"{study}.csv"
    table = runs.read_table(path)
    table = table[table["views"] == views]
    if table.empty:
        raise ValueError(f"{path}: runs with {views} photographs were expected, there are none")
    scores = table.loc[table["status"] == "ok", list(runs.METRICS)]
    if scores.empty or not np.isfinite(scores.to_numpy(dtype=float)).all():
        raise ValueError(f"{path}: four numbers in every row whose status is ok, and one such row, were expected")
    stages_path, about_path = root / "results" / f"{study}_stages.csv", root / "results" / f"{study}.json"
    return Results(
        study=study,
        table=table,
        stages=_csv(stages_path, ("stage", "runs", "seconds")),
        about=json.loads(about_path.read_text(encoding="utf-8")) if about_path.is_file() else {},
        published=_csv(root / "blog" / "published.csv", PUBLISHED),
        folder=root / "figures" / study,
        figures=f"../figures/{study}",
    )


def _csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such table")
    rows = pd.read_csv(path)
    if missing := [column for column in columns if column not in rows.columns]:
        raise ValueError(f"{path}: a column {missing[0]} was expected")
    return rows


# ---- numbers in words


def count(number: int) -> str:
    """Small numbers as a word."""
    return WORDS[number] if 0 <= number < len(WORDS) else str(number)


def mm(value: float, spread: float | None = None) -> str:
    """Millimetres with two decimals, and ± where there is a spread."""
    return f"{value:.2f}" if spread is None or np.isnan(spread) else f"{value:.2f} ± {spread:.2f}"


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))


def label(method: str) -> str:
    return LABELS.get(method, method)


# ---- comparisons, and what may be said of them


def by_subject(results: Results, method: str, column: str) -> pd.Series:
    """One number a head: the mean over seeds and priors of the runs that succeeded."""
    rows = results.ok[results.ok["method"] == method]
    return rows.groupby("subject", sort=False)[column].mean()


def compare(results: Results, region: str, protocol: str, first: str = "baseh3d", second: str = "idr") -> Comparison:
    """`first` against `second` on the heads that both reconstructed; ValueError where there is none."""
    column = f"{region}_{protocol}_mm"
    both = pd.concat([by_subject(results, method, column).rename(method) for method in (first, second)], axis=1).dropna()
    if both.empty:
        raise ValueError(f"{results.study}: no head was reconstructed by both {first} and {second}; there is nothing to compare")
    lower = both[first] < both[second]
    first_mm, second_mm = (float(both[method].mean()) for method in (first, second))
    return Comparison(first, second, first_mm, second_mm, tuple(both.index[lower]), tuple(both.index[~lower]))


def comparable(results: Results, first: str = "baseh3d", second: str = "idr") -> bool:
    """Whether some head was reconstructed by both methods."""
    return bool(set(by_subject(results, first, "face_rigid_mm").index) & set(by_subject(results, second, "face_rigid_mm").index))


def sentence(results: Results, region: str, protocol: str = "rigid") -> str:
    """What the two methods' errors on a region are, how they relate, and for how many heads that holds."""
    if not comparable(results):
        return f"No head was reconstructed by both methods, so nothing can be said about the {region}."
    c = compare(results, region, protocol)
    heads = len(c.lower) + len(c.not_lower)
    both = "" if heads == len(results.subjects) else f" of the {_plural('head', heads)} that both reconstructed"
    first, second = f"{label(c.first)} is {mm(c.first_mm)} mm from the scan on average", f"{label(c.second)} {mm(c.second_mm)} mm"
    if mm(c.first_mm) == mm(c.second_mm):
        relation = "no difference at this precision"
    else:
        relation = f"{'lower' if c.ratio < 1 else 'higher'} by {abs(1 - c.ratio):.0%}"
    if heads == 1:
        spread = f"that is {listed(c.lower + c.not_lower)} alone"
    elif not c.not_lower:
        spread = f"it is lower on every one of the {count(heads)} heads"
    elif not c.lower:
        spread = f"it is lower on none of the {count(heads)} heads"
    else:
        spread = f"it is lower on {count(len(c.lower))} of the {count(heads)} heads, not on {listed(c.not_lower)}"
    return f"On the {region}{both}, {first}, {second} ({protocol} protocol): {relation}; {spread}."


def conclusion(results: Results) -> str:
    """What the study says about the claim that the prior helps, region by region and protocol by protocol."""
    if not comparable(results):
        return "No head was reconstructed by both methods: this run of the study says nothing about the claim."
    found = {(region, protocol): compare(results, region, protocol) for region in REGIONS for protocol in PROTOCOLS}
    helps = [key for key, c in found.items() if c.ratio < 1]
    always = [key for key in helps if not found[key].not_lower]
    names = {key: f"{key[0]} ({key[1]})" for key in found}
    if len(helps) == len(found):
        verdict = (
            "The claim holds here: started from one other head instead of a sphere, the reconstruction is closer to the scan on "
            "average, on the face and on the whole head, in both protocols."
        )
    elif not helps:
        verdict = (
            "The claim does not hold here: started from one other head instead of a sphere, the reconstruction is no closer to "
            "the scan on average, neither on the face nor on the whole head, in either protocol."
        )
    else:
        against = [names[key] for key in found if key not in helps]
        verdict = (
            "The claim, that it helps to start from one other head instead of a sphere, holds here in part: the mean error is "
            f"lower for {listed([names[key] for key in helps])}, but not for {listed(against)}."
        )
    heads = len(found["face", "rigid"].lower) + len(found["face", "rigid"].not_lower)
    if len(always) == len(found):
        verdict += f" That is so for every one of the {count(heads)} heads, not only for their mean." if heads > 1 else ""
    elif helps:
        exceptions = [f"{names[key]}: {listed(found[key].not_lower)}" for key in helps if found[key].not_lower]
        verdict += f" The mean hides exceptions ({'; '.join(exceptions)})." if exceptions else ""
    priors = results.table.loc[results.table["method"] == "baseh3d", "prior"].nunique()
    seeds = results.table["seed"].nunique()
    return (
        f"{verdict} It rests on {count(heads)} {_plural('head', heads)}, {count(priors)} {_plural('prior', priors)} and "
        f"{count(seeds)} random {_plural('seed', seeds)}: how much depends on whose head the prior is, it does not say."
    )


def _plural(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"


def failures(results: Results) -> str:
    """Which runs have no score, by name and with their reason."""
    failed = results.table[results.table["status"] != "ok"]
    if failed.empty:
        return f"All {count(len(results.table))} reconstructions succeeded."
    lines = [
        f"- **{row['subject']}**, {label(row['method'])} ({row['status']}): `{_code(row['reason']) or 'no reason given'}`"
        for row in failed.to_dict("records")
    ]
    verb = "is" if len(failed) == 1 else "are"
    start = f"Of {count(len(results.table))} reconstructions, {count(len(failed))} did not succeed and {verb} in no mean:"
    return "\n".join([start, "", *lines])


def _code(text: str) -> str:
    """Text that can stand between backticks."""
    return " ".join(text.replace("`", "'").split())


def published(results: Results, method: str, protocol: str) -> pd.Series:
    """One row of the published numbers; ValueError where it is not there exactly once."""
    rows = results.published[(results.published["method"] == method) & (results.published["protocol"] == protocol)]
    if len(rows) != 1:
        raise ValueError(f"published.csv: one row of {method} in protocol {protocol} was expected, there are {len(rows)}")
    return rows.iloc[0]


def published_like_with_like(results: Results) -> str:
    """What the published numbers say when only those of the same program are compared."""
    paper, tool = (published(results, "h3dnet", protocol) for protocol in ("paper", "toolbox"))
    ours, idr = (published(results, method, "toolbox") for method in ("baseh3d", "idr"))
    said = []
    for region in REGIONS:
        difference = ours[region] - tool[region]
        share = abs(difference) / ours[f"{region}_std"]
        lead = "H3D-Net" if difference > 0 else "BaseH3D-Net"
        values = f"{mm(tool[region])} against {mm(ours[region])}"
        said.append(
            f"on the {region} {lead} is lower by {mm(abs(difference))} mm ({values}), {share:.0%} of the spread between heads"
        )
    mixed = [region for region in REGIONS if (paper[region] > ours[region]) and not (tool[region] > ours[region])]
    moral = f"That BaseH3D-Net appeared ahead on the {listed(mixed)} came from the mixture. " if mixed else ""
    gain = " and ".join(f"from {mm(idr[region])} to {mm(ours[region])} mm on the {region}" for region in REGIONS)
    kept = (
        "is there with one program too"
        if all(ours[region] < idr[region] for region in REGIONS)
        else "is not there with one program"
    )
    return f"With one program for all, {'; '.join(said)}. {moral}The gain over IDR {kept}: {gain}."


def against_published(results: Results) -> str:
    """How much of IDR's error remained with the prior: here and in the published numbers of the same protocol."""
    if not comparable(results):
        return ""
    parts = []
    for region in REGIONS:
        here = compare(results, region, "toolbox").ratio
        there = float(published(results, "baseh3d", "toolbox")[region] / published(results, "idr", "toolbox")[region])
        parts.append(f"{here:.2f} of IDR's error on the {region} (published, on H3DS: {there:.2f})")
    return f"In the toolbox's protocol, BaseH3D-Net leaves {listed(parts)}."


def setup(results: Results) -> str:
    """How large the photographs are and how the prior was made, as far as results/STUDY.json says it."""
    data, said = results.about.get("data", {}), []
    if {"size", "photographs"} <= set(data) and data.get("kind") == "synthetic":
        views = count(results.table["views"].iloc[0])
        said.append(
            f"There are {data['photographs']} photographs of each head, {data['size']} pixels wide and high; {views} are used."
        )
    for prior in results.about.get("prior", {}).values():
        where = f"{prior['subject']}, fitted to {prior['views']} photographs for {prior['epochs']} epochs"
        said.append(
            f"The other head, from which BaseH3D-Net starts here, is {where}. It is not among the heads that are reconstructed."
        )
    return " ".join(said) or "How many photographs there are, and how the prior was made, these results do not say."


def engine(results: Results) -> str:
    """In what the fits of these results differ from the published IDR, as far as results/STUDY.json says it."""
    fit = results.about.get("fit", {})
    if not fit:
        return "How the fits were set, these results do not say."
    shape = fit["shape"]
    said = [f"{shape['depth']} layers of {shape['width']} units for the distance (published: 8 of 512)"]
    if fit["mixed_views"]:
        said.append(f"{fit['rays']} rays a step from all photographs together (published: 2048 from one)")
    if fit["rays_in_mask"]:
        said.append(f"{fit['rays_in_mask']:.0%} of the rays drawn on the head (published: anywhere in the picture)")
    if fit["point_octaves"]:
        said.append("a colour network that sees places as waves of several lengths (published: as three coordinates)")
    if fit["colour_sees"] == "no_view_dir":
        said.append("and no direction of view, a mode of the published program (its default has it)")
    said.append(
        f"steps of {fit['step_size']:g} for the distance and {fit['colour_step_size']:g} for the colours, schedule "
        f"{fit['schedule']} (published: 0.0001 for both)"
    )
    if fit["tracer"] == "cached":
        said.append("rays traced on a grid of remembered distances and then corrected on the network (published: on the network)")
    return (
        f"What runs here differs from the published program in its settings: {'; '.join(said)}. Both methods run with the same."
    )


def floor(results: Results) -> str:
    """The toolbox's error of a perfect surface, in grid cells and, where results/STUDY.json says how large these are, in mm."""
    general = f"For a perfect sphere its error is {FLOOR_CELLS} of a cell"
    cell_mm = results.about.get("fit", {}).get("cell_mm")
    return (
        f"{general}." if cell_mm is None else f"{general}; with cells of {cell_mm:g} mm, as here, {mm(FLOOR_CELLS * cell_mm)} mm."
    )


def choice(results: Results) -> str:
    """Which heads are shown first, and why these."""
    shown = extremes(results)
    if not shown:
        return "BaseH3D-Net reconstructed no head; what there is stands in the appendix."
    if len(shown) == 1:
        return f"Only {shown[0]} was reconstructed by BaseH3D-Net."
    rest = " The others are in the appendix." if others(results) else ""
    low, high = shown
    return (
        f"The head on which BaseH3D-Net's face error (rigid) is lowest, {low}, and the one on which it is highest, {high}.{rest}"
    )


# ---- tables


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], name: str, caption: str) -> str:
    """A captioned MyST table; columns of numbers are set to the right."""
    sides = ["--:" if title.startswith(("face", "head", "runs", "seconds")) else ":--" for title in header]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, sides, *rows))
    return f":::{{table}} {caption}\n:name: {name}\n\n{body}\n:::"


def means(results: Results, method: str, protocol: str) -> tuple[list[str], int]:
    """Mean ± spread over heads, for face and head, and the number of heads; no spread from a single head."""
    columns = [by_subject(results, method, f"{region}_{protocol}_mm") for region in REGIONS]
    shown = [mm(float(column.mean()), float(column.std(ddof=0)) if len(column) > 1 else None) for column in columns]
    return [cell if len(columns[0]) else "–" for cell in shown], len(columns[0])


def table2(results: Results) -> str:
    """The original post's Table 2: measured here in both protocols, and below it what was published, with protocol and source."""
    rows = []
    for protocol in PROTOCOLS:
        for method in results.methods:
            cells, heads = means(results, method, protocol)
            rows.append([label(method), protocol, *cells, f"measured here, {heads} built-in {_plural('head', heads)}"])
    for row in results.published.to_dict("records"):
        cells = [mm(row[region], row[f"{region}_std"]) for region in REGIONS]
        rows.append([f"*{label(row['method'])}*", row["protocol"], *cells, f"{row['source']} {{cite:p}}`{row['bib']}`"])
    views = results.table["views"].iloc[0]
    caption = (
        f"Mean error over heads from {count(views)} photographs, ± its standard deviation between heads; lower is better. Upper "
        "rows: measured here, on the built-in heads. Rows in italics: published, on H3DS. Only rows of one protocol and one data "
        "set compare."
    )
    return _grid(["Method", "Protocol", "face, mm", "head, mm", "Where from"], rows, f"table-2-{results.study}", caption)


def per_subject(results: Results) -> str:
    """Every run's four numbers and its seconds; a run without score says so."""
    rows = []
    columns = [(region, protocol) for protocol in PROTOCOLS for region in REGIONS]
    for row in results.table.to_dict("records"):
        cells = [mm(row[f"{region}_{protocol}_mm"]) if row["status"] == "ok" else "–" for region, protocol in columns]
        seconds = f"{row['seconds']:.0f}" if pd.notna(row["seconds"]) else "–"
        rows.append([row["subject"], label(row["method"]), *cells, seconds, row["status"]])
    header = ["Head", "Method", *(f"{region} {protocol}" for region, protocol in columns), "seconds", "status"]
    return _grid(header, rows, f"per-subject-{results.study}", "Every reconstruction of the study, errors in mm.")


def provenance(results: Results) -> str:
    """Where the numbers come from: command, commit, machine, seeds; what each stage took; and the settings of the study."""
    table = results.table
    facts = {"command": f"make study STUDY=config/{results.study}.yaml"}
    for column, name in {"commit": "commit", "device": "device", "seed": "random seeds", "preset": "preset"}.items():
        facts[name] = ", ".join(dict.fromkeys(str(value) for value in table[column].dropna()))
    if table["peak_mb"].notna().any():
        facts["most memory of one run"] = f"{table['peak_mb'].max():.0f} MB"
    stages = [[f"`{row['stage']}`", f"{row['runs']:.0f}", f"{row['seconds']:.0f}"] for row in results.stages.to_dict("records")]
    stages.append(["together", f"{results.stages['runs'].sum():.0f}", f"{results.stages['seconds'].sum():.0f}"])
    tables = [
        _grid(["What", "Value"], _rows(facts), f"provenance-{results.study}", "Where the numbers come from."),
        _grid(
            ["Stage", "runs", "seconds"], stages, f"stages-{results.study}", "Computing time by stage, added up over its runs."
        ),
    ]
    if settings := _rows(_flat(results.about)):
        tables.append(_grid(["Setting", "Value"], settings, f"settings-{results.study}", "The settings of the study."))
    return "\n\n".join(tables)


def _rows(facts: dict[str, str]) -> list[list[str]]:
    """A row for each fact that is not empty."""
    return [[name, f"`{_code(value)}`"] for name, value in facts.items() if value.strip()]


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested tables as `outer inner` -> text."""
    found: dict[str, str] = {}
    for key, item in value.items():
        text = ", ".join(map(str, item)) if isinstance(item, list) else str(item)
        found |= _flat(item, f"{prefix}{key} ") if isinstance(item, dict) else {f"{prefix}{key}": text}
    return found


# ---- pictures


def figure(results: Results, file: str, name: str, caption: str) -> str:
    """A numbered figure of the study, which opens at full size; FileNotFoundError where it was not drawn."""
    if not (results.folder / file).is_file():
        raise FileNotFoundError(f"{results.folder / file}: the study did not leave this figure; run it again")
    options = f":name: {name}-{results.study}\n:width: 100%\n:alt: {caption}"
    return f":::{{figure}} {results.figures}/{file}\n{options}\n\n{caption}\n:::"


def photographs(results: Results, subject: str) -> str:
    """What a method saw of one head; a sentence where no method succeeded."""
    if not (results.ok["subject"] == subject).any():
        return f"The photographs of {subject} are not shown, for no method reconstructed this head."
    caption = f"The {count(results.table['views'].iloc[0])} photographs of {subject}, with the outlines of their masks."
    return figure(results, f"photographs_{subject}.png", f"photographs-{subject}", caption)


def comparison(results: Results, subject: str) -> str:
    """Truth, surfaces and error maps of one head; nothing where no method succeeded."""
    rows = results.ok[results.ok["subject"] == subject]
    if rows.empty:
        return ""
    names = listed([label(method) for method in dict.fromkeys(rows["method"])])
    caption = (
        f"{subject}: the scan, and what {names} made of the photographs. The coloured heads show, on the scan, how far the "
        "reconstruction is from each point after rigid alignment on the scan's face region."
    )
    return figure(results, f"comparison_{subject}.png", f"comparison-{subject}", caption)


def viewer(results: Results, subject: str) -> str:
    """HTML: the scan and the reconstructions of one head, to be turned; nothing where no method succeeded.

    heads.js draws them when they come into sight.
    """
    methods = dict.fromkeys(results.ok.loc[results.ok["subject"] == subject, "method"])
    if not methods:
        return ""
    names = {"truth": "scan", **{method: label(method) for method in methods}}
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for key, name in names.items():
        path = results.folder / f"head_{subject}_{key}.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: the study did not leave this head; run it again")
        drawn = json.loads(path.read_text(encoding="utf-8"))
        traces.append(drawn["data"][0] | {"name": name, "visible": not traces})
        layout = layout or drawn["layout"]
    layout = {key: value for key, value in layout.items() if key != "title"} | {"margin": {"l": 0, "r": 0, "t": 0, "b": 0}}
    data = json.dumps({"data": traces, "layout": layout}, separators=(",", ":")).replace("</", "<\\/")
    pressed = ["true"] + ["false"] * len(methods)
    buttons = "".join(
        f'<button type="button" aria-pressed="{p}">{html.escape(name)}</button>'
        for p, name in zip(pressed, names.values(), strict=True)
    )
    return (
        f'<div class="head-viewer" aria-label="{html.escape(subject)}, to be turned"><div class="head-choice">{buttons}</div>'
        f'<div class="head-canvas"></div><script type="application/json">{data}</script></div>'
    )


def pictures(results: Results, subject: str) -> str:
    """The comparison of one head and the heads to turn; nothing where no method succeeded."""
    return f"{comparison(results, subject)}\n\n{viewer(results, subject)}".strip()


def extremes(results: Results) -> list[str]:
    """The heads on which BaseH3D-Net has its lowest and its highest face error (rigid), lowest first; fewer if it has fewer."""
    errors = by_subject(results, "baseh3d", "face_rigid_mm").sort_values(kind="stable")
    return list(dict.fromkeys([errors.index[0], errors.index[-1]])) if len(errors) else []


def others(results: Results) -> list[str]:
    """The heads that are not among the extremes, in the order of the study."""
    return [subject for subject in results.subjects if subject not in extremes(results)]
