"""What a post says, made from the committed results: its sentences that compare, its figures, and heads to turn.

Functions return MyST Markdown (`viewer` HTML, which may stand in it) for the code cells of the posts in blog/. The tables are in
`tables`. A method's number on a head is the mean over its seeds, of its first prior and of what this carries first; all that is
said of several methods is said of the same number of photographs.
"""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from heads import files
from heads.posts import stats
from heads.posts.stats import count
from heads.study import records as runs

LABELS = {
    "idr": "IDR",
    "baseh3d": "BaseH3D-Net",
    "average": "BaseH3D-Net (averaged)",
    "h3dnet": "H3D-Net",
    "h3dnet+colour": "H3D-Net + colour",
    "sira++": "SIRA++",
}
STARTS = {  # from what a method starts, in words
    "idr": "a sphere",
    "baseh3d": "one other head",
    "average": "the average of several other heads",
    "h3dnet": "a space of heads learned from many scans",
    "h3dnet+colour": "a space of heads and their colours learned from many scans and their photographs",
}
PROTOCOLS = ("rigid", "toolbox")
REGIONS = ("face", "head")
PUBLISHED = ("method", "views", "face", "face_std", "head", "head_std", "protocol", "source", "bib")
FLOOR_CELLS = 0.37  # toolbox error of a perfect sphere's mesh, in grid cells; tests/test_posts.py measures it


@dataclass(frozen=True)
class Results:
    """A study as the posts read it: `table` has a row for each run, `stages` one for each stage, `about` is results/STUDY.json.

    `published` are the numbers of others (method, views, face, face_std, head, head_std in mm, protocol, source, bib), `figures`
    the folder of the study's figures as a post names it, and `page` the post, which is part of the names of its tables. `trials`
    has a row for each subject and prior of the study's `choose` (runs.TRIALS), none where it has no such key.
    """

    study: str
    table: pd.DataFrame
    stages: pd.DataFrame = field(default_factory=pd.DataFrame)
    about: dict[str, Any] = field(default_factory=dict)
    published: pd.DataFrame = field(default_factory=pd.DataFrame)
    folder: Path = Path()
    figures: str = ""
    page: str = ""
    trials: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(runs.TRIALS)))

    @property
    def subjects(self) -> list[str]:
        return list(dict.fromkeys(self.table["subject"]))

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(self.table["method"]))

    @property
    def views(self) -> list[int]:
        """Numbers of photographs, the fewest first."""
        return sorted(int(views) for views in self.table["views"].unique())

    @property
    def ok(self) -> pd.DataFrame:
        return self.table[self.table["status"] == "ok"]


def read(root: Path | str, study: str, page: str = "") -> Results:
    """The results of a study below `root`; an error names the file that is not well."""
    root = Path(root)
    path = root / "results" / f"{study}.csv"
    table = runs.read_table(path)
    scores = table.loc[table["status"] == "ok", list(runs.METRICS)]
    if scores.empty or not np.isfinite(scores.to_numpy(dtype=float)).all():
        raise ValueError(f"{path}: four numbers in every row whose status is ok, and one such row, were expected")
    stages_path, about_path = root / "results" / f"{study}_stages.csv", root / "results" / f"{study}.json"
    about = json.loads(about_path.read_text(encoding="utf-8")) if about_path.is_file() else {}
    trials_path = root / "results" / f"{study}_trials.csv"
    return Results(
        study=study,
        table=table,
        stages=read_csv(stages_path, ("stage", "runs", "seconds")),
        about=about,
        published=read_csv(root / "blog" / "published.csv", PUBLISHED),
        folder=root / "figures" / study,
        figures=f"../figures/{study}",
        page=page,
        trials=runs.read_trials(trials_path) if about.get("choose") else pd.DataFrame(columns=list(runs.TRIALS)),
    )


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table that has these columns; FileNotFoundError or ValueError names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such table")
    return files.table(path, columns)


def at(results: Results, views: int) -> Results:
    """The runs with so many photographs; ValueError where there are none."""
    table = results.table[results.table["views"] == views]
    if table.empty:
        raise ValueError(f"{results.study}: runs with {views} photographs were expected, there are none")
    return replace(results, table=table, trials=results.trials[results.trials["views"] == views])


# ---- numbers in words


def mm(value: float, spread: float | None = None) -> str:
    """Millimetres with two decimals, and ± where there is a spread."""
    return f"{value:.2f}" if spread is None or np.isnan(spread) else f"{value:.2f} ± {spread:.2f}"


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))


def label(method: str) -> str:
    return LABELS.get(method, method)


def plural(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"


def code(text: str) -> str:
    """Text that can stand between backticks."""
    return " ".join(text.replace("`", "'").split())


def capital(text: str) -> str:
    """The text with a capital at its start."""
    return text[:1].upper() + text[1:]


# ---- comparisons, and what may be said of them


def start(results: Results, method: str) -> tuple[str, str]:
    """The prior that a method starts from in its first row, and what is carried of it: those that stand for the method."""
    rows = results.table[results.table["method"] == method]
    if rows.empty:
        raise ValueError(f"{results.study}: runs of {method} were expected, there are none")
    return str(rows["prior"].iloc[0]), str(rows["carry"].iloc[0])


def prior_label(results: Results, prior: str) -> str:
    """What a reader calls a prior: `omar (500 epochs)` where it is of one scan, else its name (results/STUDY.json)."""
    known = results.about.get("prior", {}).get(prior, {})
    return f"{known['subject']} ({known['epochs']} epochs)" if known.get("kind") == "scan" else prior


def rows_of(results: Results, method: str, prior: str | None = None, carry: str | None = None) -> pd.DataFrame:
    """The runs of a method from one prior of which one thing is carried; without these, from those that stand for it."""
    first = start(results, method)
    prior, carry = first[0] if prior is None else prior, first[1] if carry is None else carry
    rows = results.table[results.table["method"] == method]
    return rows[(rows["prior"] == prior) & (rows["carry"] == carry)]


def by_subject(results: Results, method: str, column: str, prior: str | None = None, carry: str | None = None) -> pd.Series:
    """One number a head: the mean over seeds of the runs that succeeded, all with one number of photographs."""
    if len(results.views) > 1:
        raise ValueError(
            f"{results.study}: one number of photographs was expected, not {listed([str(v) for v in results.views])}"
        )
    if method not in results.methods:
        return pd.Series(dtype=float)
    rows = rows_of(results, method, prior, carry)
    return rows[rows["status"] == "ok"].groupby("subject", sort=False)[column].mean()


def compare(results: Results, region: str, protocol: str, first: str = "baseh3d", second: str = "idr") -> stats.Paired:
    """`first` against `second` on the heads that both reconstructed; ValueError where there is none."""
    column = f"{region}_{protocol}_mm"
    try:
        return stats.paired(by_subject(results, first, column), by_subject(results, second, column))
    except ValueError:
        raise ValueError(f"{results.study}: no head was reconstructed by both {first} and {second}") from None


def comparable(results: Results, first: str = "baseh3d", second: str = "idr") -> bool:
    """Whether some head was reconstructed by both methods."""
    return bool(set(by_subject(results, first, "face_rigid_mm").index) & set(by_subject(results, second, "face_rigid_mm").index))


def sentence(results: Results, region: str, protocol: str = "rigid", first: str = "baseh3d", second: str = "idr") -> str:
    """What the two methods' errors on a region are, and what may be said of their difference."""
    if not comparable(results, first, second):
        return f"No head was reconstructed by both {label(first)} and {label(second)}, so nothing can be said about the {region}."
    c = compare(results, region, protocol, first, second)
    both = "" if c.n == len(results.subjects) else f" of the {c.n} {plural('head', c.n)} that both reconstructed"
    views = results.views[0]
    return (
        f"On the {region}{both}, {label(first)} is {mm(c.first)} mm from the scan on average, {label(second)} {mm(c.second)} mm "
        f"({protocol} protocol, {count(views)} {plural('photograph', views)}): {stats.sentence(c, label(first), label(second))}."
    )


def conclusion(results: Results, first: str = "baseh3d", second: str = "idr") -> str:
    """What the study says about the claim that it helps to start from a method's prior, region by region, in both protocols."""
    if not comparable(results, first, second):
        return f"No head was reconstructed by both {label(first)} and {label(second)}: this run says nothing about the claim."
    found = {
        f"{region} ({protocol})": compare(results, region, protocol, first, second)
        for region in REGIONS
        for protocol in PROTOCOLS
    }
    claim = f"that it helps to start from {STARTS[first]} instead of {STARTS[second]},"
    heads = next(iter(found.values())).n
    better = [name for name, c in found.items() if c.told == "lower"]
    worse = [name for name, c in found.items() if c.told == "higher"]
    open_ = [name for name, c in found.items() if not c.told]
    if heads < stats.LEAST:
        lower = [name for name, c in found.items() if c.mean < 0]
        means = f"lower for {listed(lower)}" if lower else "lower nowhere"
        rest = [name for name in found if name not in lower]
        means += f", and not lower for {listed(rest)}" if lower and rest else ""
        verdict = (
            f"The claim, {claim} cannot be decided here: {count(heads)} {plural('head', heads)} are too few to say which is "
            f"better. The mean error of {label(first)} is {means}."
        ).replace("one head are", "one head is")
    elif len(better) == len(found):
        verdict = f"The claim, {claim} holds here: {label(first)} is better on the face and on the whole head, in both protocols."
    elif not better:
        verdict = f"The claim, {claim} is not confirmed here: {label(first)} is better nowhere"
        verdict += f", and worse for {listed(worse)}." if worse else "."
    else:
        verdict = f"The claim, {claim} holds here in part: {label(first)} is better for {listed(better)}"
        verdict += f", not told apart from {label(second)} for {listed(open_)}" if open_ else ""
        verdict += f", and worse for {listed(worse)}." if worse else "."
    seeds = rows_of(results, first)["seed"].nunique()
    return (
        f"{verdict} It rests on {count(heads)} {plural('head', heads)}, one prior, and {count(seeds)} random "
        f"{plural('seed', seeds)} each."
    )


def failures(results: Results) -> str:
    """Which runs have no score, by name and with their reason."""
    failed = results.table[results.table["status"] != "ok"]
    if failed.empty:
        return f"All {count(len(results.table))} reconstructions succeeded."
    lines = [
        f"- **{row['subject']}**, {label(row['method'])} from {row['prior']}{_other_carry(results, row)}, {row['views']} "
        f"photographs, seed {row['seed']} ({row['status']}): `{code(row['reason']) or 'no reason given'}`"
        for row in failed.to_dict("records")
    ]
    verb = "is" if len(failed) == 1 else "are"
    start = f"Of {count(len(results.table))} reconstructions, {count(len(failed))} did not succeed and {verb} in no mean:"
    return "\n".join([start, "", *lines])


def _other_carry(results: Results, row: Mapping[Any, Any]) -> str:
    """What a run carries, in words, where it is not what its method carries first."""
    return "" if row["carry"] == start(results, row["method"])[1] else f" (its {listed(row['carry'].split())})"


def succeeded(results: Results, method: str) -> str:
    """On how many heads every run of a method succeeded."""
    rows = rows_of(results, method)
    whole = rows.groupby("subject")["status"].agg(lambda status: bool((status == "ok").all()))
    return f"{label(method)} reconstructed {stats.share(int(whole.sum()), len(whole))} heads without a failure."


def against_published(results: Results) -> str:
    """How much of IDR's error remained with the prior: here and in the published numbers of the same protocol."""
    if not comparable(results):
        return ""
    parts = []
    for region in REGIONS:
        here = compare(results, region, "toolbox").ratio
        ours, idr = published(results, "baseh3d", "polak2022"), published(results, "idr", "h3ds")
        parts.append(f"{here:.2f} of IDR's error on the {region} (published, on H3DS: {ours[region] / idr[region]:.2f})")
    return f"In the toolbox's protocol, BaseH3D-Net leaves {listed(parts)}."


def published(results: Results, method: str, bib: str, views: int = 3) -> pd.Series:
    """One row of the published numbers by method and bibliography key; ValueError where it is not there exactly once."""
    rows = results.published
    rows = rows[(rows["method"] == method) & (rows["bib"] == bib) & (rows["views"] == views)]
    if len(rows) != 1:
        raise ValueError(f"published.csv: one row of {method} from {bib}, {views} views, was expected, there are {len(rows)}")
    return rows.iloc[0]


# ---- views


def steps(results: Results, method: str = "idr", protocol: str = "rigid") -> str:
    """Whether a method gains from each further step in the number of photographs, region by region."""
    said = []
    for region in REGIONS:
        column = f"{region}_{protocol}_mm"
        numbers = [by_subject(at(results, views), method, column) for views in results.views]
        means = listed([mm(float(values.mean())) for values in numbers])
        failing: list[str] = []
        open_: list[str] = []
        for (fewer, before), (more, after) in pairwise(zip(results.views, numbers, strict=True)):
            pair = stats.paired(after, before)
            step = f"from {fewer} to {more}"
            if pair.told != "lower":
                (failing if pair.mean >= 0 else open_).append(step)
        views = listed([str(views) for views in results.views])
        verdict = "Every step makes it better"
        if failing or open_:
            verdict = "Not every step makes it better for sure"
            verdict += f"; the mean does not fall {listed(failing)}" if failing else ""
            verdict += f"; its fall {listed(open_)} is not told from chance" if open_ else ""
        said.append(
            f"On the {region}, the mean error of {label(method)} with {views} photographs is {means} mm ({protocol} protocol). "
            f"{verdict}."
        )
    return " ".join(said)


def helps_until(results: Results, first: str, second: str = "idr", protocol: str = "rigid") -> str:
    """With how many photographs a method is better than another, not told apart from it, or worse, region by region."""
    said = []
    for region in REGIONS:
        groups: dict[str, list[str]] = {"better than": [], "not told apart from": [], "worse than": []}
        for views in results.views:
            few = at(results, views)
            if not comparable(few, first, second):
                continue
            told = compare(few, region, protocol, first, second).told
            groups[{"lower": "better than", "higher": "worse than", "": "not told apart from"}[told]].append(str(views))
        if not any(groups.values()):
            raise ValueError(f"{results.study}: no head was reconstructed by both {first} and {second}")
        parts = [f"{relation} {label(second)} with {listed(views)} photographs" for relation, views in groups.items() if views]
        said.append(f"On the {region}, {label(first)} is {listed(parts)}.")
    return " ".join(said)


# ---- how it was made


def setup(results: Results) -> str:
    """How large the photographs are and how the priors were made, as far as results/STUDY.json says it."""
    data, said = results.about.get("data", {}), []
    if {"size", "photographs"} <= set(data) and data.get("kind") == "synthetic":
        views = f"; {count(results.views[0])} are used" if len(results.views) == 1 else ""
        said.append(f"There are {data['photographs']} photographs of each head, {data['size']} pixels wide and high{views}.")
    known = results.about.get("prior", {})
    for method in results.methods:
        prior = known.get(start(results, method)[0])
        if prior is None or prior["kind"] == "sphere":
            continue
        if prior["kind"] == "scan":
            what = f"{prior['subject']}, fitted to {prior['views']} photographs for {prior['epochs']} epochs"
        elif prior["kind"] == "average":
            what = f"the average of {listed([prior_label(results, name) for name in prior['of']])}"
        else:
            what = f"a space of heads learned from {prior['heads']} other heads"
            what += f" and {prior['photographs']} photographs of each" if prior.get("colour") else ""
        said.append(f"{label(method)} starts from {what}.")
    if known:
        said.append("No head from which a prior is made is among those that are reconstructed.")
    return " ".join(said) or "How many photographs there are, and how the priors were made, these results do not say."


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
    if fit.get("rays_near_mask"):
        said.append(f"{fit['rays_near_mask']:.0%} beside it, at most {fit['near_px']:g} pixels from its outline")
    if fit.get("blur_px"):
        pixels = "one pixel" if fit["blur_px"] == 1 else f"{fit['blur_px']:g} pixels"
        said.append(f"the photographs blurred inside their masks by {pixels} (published: as they are)")
    if fit.get("consistency_weight"):
        said.append(
            "a pixel compared with the colour network, and also with two other photographs, where the surface says that it is in "
            "them {cite:p}`darmon2022,fu2022` (published: with the network alone)"
        )
    if fit.get("one_pass"):
        said.append(
            "normals and features of where a ray was found to end (published: of that point as it moves with the surface)"
        )
    if (points := fit.get("eikonal_points", 0.5)) != 0.5:
        said.append(f"{points:g} points in the cube for each ray, where the gradient is to have length one (published: 0.5)")
    if fit["point_octaves"]:
        said.append("a colour network that sees places as waves of several lengths (published: as three coordinates)")
    if fit["colour_sees"] == "no_view_dir":
        said.append("and no direction of view, a mode of the published program (its default has it)")
    said.append(
        f"steps of {fit['step_size']:g} for the distance and {fit['colour_step_size']:g} for the colours, schedule "
        f"{fit['schedule']} (published: 0.0001 for both)"
    )
    if fit.get("muon_step_size") or fit.get("muon_colour_step_size"):
        said.append(
            f"the networks' matrices by the optimizer Muon {{cite:p}}`jordan2024,liu2025`, steps of {fit['muon_step_size']:g} "
            f"and {fit['muon_colour_step_size']:g} (published: Adam for all)"
        )
    if fit["tracer"] == "cached":
        said.append("rays traced on a grid of remembered distances and then corrected on the network (published: on the network)")
    return f"What runs here differs from the published program in its settings: {'; '.join(said)}. All methods run with the same."


def space(results: Results, method: str = "h3dnet") -> str:
    """Of what size the space of heads is from which a method starts, and how it was learned; ValueError where nothing says so."""
    name = start(results, method)[0]
    prior, config = (results.about.get(key, {}).get(name) for key in ("prior", "learned"))
    if prior is None or config is None:
        raise ValueError(f"{results.study}.json: a description of the prior {name}, and how it was learned, was expected")
    shape, loss = config["shape"], {"igr": "IGR's", "deepsdf": "DeepSDF's"}[config["loss"]]
    loss += " with the scans' normals" if config["loss"] == "igr" and config["normal_weight"] else ""
    return (
        f"Here the space is learned from {prior['heads']} built-in heads, drawn at random, none of them reconstructed in this "
        f"study. A code has {shape['code']} numbers, the network {shape['depth']} layers of {shape['width']} units; the loss is "
        f"{loss}, and there are {config['steps']} steps of {config['points']} points on each of {config['heads']} heads."
    )


def phases(results: Results) -> str:
    """How the two phases of a fit from a space of heads are set; ValueError where results/STUDY.json does not say it."""
    fit = results.about.get("fit", {})
    if "code_epochs" not in fit:
        raise ValueError(f"{results.study}.json: fit: code_epochs was expected")
    where = {"mean": "the mean of the training heads' codes", "zero": "zero"}[fit["start_code"]]
    return (
        "The paper's text leaves open when to switch, how strongly to keep the code short, and with which code to start. Here "
        f"the first phase takes {fit['code_epochs']:g} of {fit['epochs']} epochs, $\\mu$ is {fit['code_weight']:g}, and the code "
        f"starts at {where}, with steps of {fit['code_step_size']:g}. These are settings of the study; the project's log says "
        "what others do."
    )


def floor(results: Results) -> str:
    """The toolbox's error of a perfect surface, in grid cells and, where results/STUDY.json says how large these are, in mm."""
    general = f"For a perfect sphere its error is {FLOOR_CELLS} of a cell"
    cell_mm = results.about.get("fit", {}).get("cell_mm")
    return (
        f"{general}." if cell_mm is None else f"{general}; with cells of {cell_mm:g} mm, as here, {mm(FLOOR_CELLS * cell_mm)} mm."
    )


# ---- pictures


def anchor(results: Results, name: str) -> str:
    """The name of a table or figure of this study on this page."""
    return "-".join(filter(None, [name.replace("+", "-"), results.study, results.page]))


def figure(results: Results, file: str, name: str, caption: str) -> str:
    """A numbered figure of the study, which opens at full size; FileNotFoundError where it was not drawn."""
    if not (results.folder / file).is_file():
        raise FileNotFoundError(f"{results.folder / file}: the study did not leave this figure; run it again")
    options = f":name: {anchor(results, name)}\n:width: 100%\n:alt: {caption}"
    return f":::{{figure}} {results.figures}/{file}\n{options}\n\n{caption}\n:::"


def drawn(results: Results, subject: str) -> list[str]:
    """The methods of which the study draws one head: those whose run that stands for them, with its first seed, succeeded."""
    found = []
    for method in results.methods:
        rows = rows_of(results, method)
        found += [method] if (rows.loc[rows["subject"] == subject, "status"].iloc[:1] == "ok").any() else []
    return found


def photographs(results: Results, subject: str) -> str:
    """What a method saw of one head; a sentence where no method succeeded."""
    if not drawn(results, subject):
        return f"The photographs of {subject} are not shown, for no method reconstructed this head."
    caption = f"The {count(results.views[0])} photographs of {subject}, with the outlines of their masks."
    return figure(results, f"photographs_{subject}.png", f"photographs-{subject}", caption)


def comparison(results: Results, subject: str) -> str:
    """Truth, surfaces and error maps of one head; nothing where no method succeeded."""
    methods = drawn(results, subject)
    if not methods:
        return ""
    names = listed([label(method) for method in methods])
    caption = (
        f"{subject}: the scan, and what {names} made of the photographs. The coloured heads show, on the scan, how far the "
        "reconstruction is from each point after rigid alignment on the scan's face region."
    )
    return figure(results, f"comparison_{subject}.png", f"comparison-{subject}", caption)


def viewer(results: Results, subject: str) -> str:
    """HTML: the scan and the reconstructions of one head, to be turned; nothing where no method succeeded.

    heads.js draws them when they come into sight.
    """
    methods = drawn(results, subject)
    if not methods:
        return ""
    names = {"truth": "scan", **{method: label(method) for method in methods}}
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for key, name in names.items():
        path = results.folder / f"head_{subject}_{key}.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: the study did not leave this head; run it again")
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
        f'<div class="head-viewer" aria-label="{html.escape(subject)}, to be turned"><div class="head-choice">{buttons}</div>'
        f'<div class="head-canvas"></div><script type="application/json">{data}</script></div>'
    )


def pictures(results: Results, subject: str) -> str:
    """The comparison of one head and, of the extremes, the heads to turn; nothing where no method succeeded."""
    turned = viewer(results, subject) if subject in extremes(results) else ""
    return f"{comparison(results, subject)}\n\n{turned}".strip()


def leading(results: Results) -> str:
    """The method by whose errors the heads to be shown first are chosen: BaseH3D-Net, else the study's first."""
    return "baseh3d" if "baseh3d" in results.methods else results.methods[0]


def extremes(results: Results) -> list[str]:
    """The heads on which the leading method has its lowest and its highest face error (rigid), lowest first, or the only one.

    They are those that the study draws to be turned.
    """
    errors = by_subject(results, leading(results), "face_rigid_mm").sort_values(kind="stable")
    return list(dict.fromkeys([str(errors.index[0]), str(errors.index[-1])])) if len(errors) else []


def others(results: Results) -> list[str]:
    """The heads that are not among the extremes, in the order of the study."""
    return [subject for subject in results.subjects if subject not in extremes(results)]


def choice(results: Results) -> str:
    """Which heads are shown first, and why these."""
    shown, method = extremes(results), label(leading(results))
    if not shown:
        return f"{method} reconstructed no head; what there is stands in the appendix."
    if len(shown) == 1:
        return f"Only {shown[0]} was reconstructed by {method}."
    low, high = shown
    return f"The head on which the face error of {method} (rigid) is lowest, {low}, and the one on which it is highest, {high}."
