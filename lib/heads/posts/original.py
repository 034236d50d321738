"""The original post's own numbers and files: its ten heads, its schedule, and published numbers compared like with like.

The numbers are in blog/original.csv and blog/schedule.csv, each with its source. Functions return MyST Markdown.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pandas as pd

from heads.posts import stats, tables
from heads.posts.results import REGIONS, Results, label, read_csv
from heads.posts.sentences import anchor, listed, mm, published

NUMBERS = ("table", "prior", "epochs", "scan", "face", "head", "source", "bib")
SETTINGS = ("setting", "value", "source", "bib")


@dataclass(frozen=True)
class Original:
    """The post's single errors in mm (`numbers`: the cells of Table 1, and the ten scans) and its schedule (`settings`)."""

    numbers: pd.DataFrame
    settings: pd.DataFrame

    @property
    def scans(self) -> pd.DataFrame:
        """One row for each scan of the post's final mean."""
        return self.numbers[self.numbers["table"] == "scans"]

    def setting(self, name: str) -> str:
        """One value of the schedule; ValueError unless there is exactly one."""
        rows = self.settings.loc[self.settings["setting"] == name, "value"]
        if len(rows) != 1:
            raise ValueError(f"schedule.csv: one row of {name} was expected, there are {len(rows)}")
        return str(rows.iloc[0])


def read(root: Path | str) -> Original:
    """The original's numbers and settings below `root`."""
    blog = Path(root) / "blog"
    return Original(read_csv(blog / "original.csv", NUMBERS), read_csv(blog / "schedule.csv", SETTINGS))


# ---- two protocols in one table


def like_with_like(results: Results) -> str:
    """The published numbers compared within one program."""
    paper, tool = published(results, "h3dnet", "ramon2021"), published(results, "h3dnet", "h3ds")
    ours, idr = published(results, "baseh3d", "polak2022"), published(results, "idr", "h3ds")
    own = published(results, "idr", "polak2022h3dnet")
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
    moral = f"BaseH3D-Net appeared ahead on the {listed(mixed)} only because two programs were mixed. " if mixed else ""
    gain = listed([f"from {mm(idr[region])} to {mm(ours[region])} mm on the {region}" for region in REGIONS])
    again = listed([f"{mm(own[region])} on the {region}" for region in REGIONS])
    kept = "remains with one program" if all(ours[r] < idr[r] for r in REGIONS) else "does not remain with one program"
    return (
        f"With one program for all, {'; '.join(said)}. {moral}The gain over IDR {kept}: {gain} (by the authors' own runs of IDR: "
        f"from {again}, in mm)."
    )


def paper_against_toolbox(results: Results) -> str:
    """The published numbers of each method side by side: those of the paper and those of the toolbox."""
    views = results.views[0]
    few = results.published[results.published["views"] == views]
    rows = []
    for method in dict.fromkeys(few["method"]):
        for row in few[few["method"] == method].to_dict("records"):
            rows.append([label(results, method), row["protocol"], *(mm(row[region], row[f"{region}_std"]) for region in REGIONS)])
            rows[-1].append(tables.cite(row))
    caption = f"Published errors on H3DS from {stats.count(views)} photographs, sorted by method: two programs, two numbers."
    return tables.grid(["Method", "Program", "face, mm", "head, mm", "Source"], rows, anchor(results, "programs"), caption)


# ---- the schedule


def schedule(original: Original) -> str:
    """The step size over the fine-tuning, by the published configuration and the stored state."""
    start, stop = int(original.setting("start_epoch")), int(original.setting("stop_epoch"))
    step, factor = float(original.setting("first_step_size")), float(original.setting("factor"))
    milestones = [int(epoch) for epoch in original.setting("milestones").split()]
    ends = [start, *(epoch for epoch in milestones if start < epoch < stop), stop]
    rows = []
    for begin, end in pairwise(ends):
        size = step * factor ** sum(epoch <= begin for epoch in milestones)
        rows.append([f"{begin} to {end}", f"{end - begin}", _decimal(size), _decimal(step)])
    sources = "; ".join(dict.fromkeys(tables.cite(row) for row in original.settings.to_dict("records")))
    caption = f"The step size of the original fine-tuning, by its files and by the post. Sources: {sources}."
    return tables.grid(["Epochs", "number", "step size by the files", "by the post"], rows, "schedule", caption)


def _decimal(value: float) -> str:
    return f"{value:.8f}".rstrip("0")


def constant(original: Original) -> str:
    """Whether the step size was constant, in a sentence."""
    start, stop = int(original.setting("start_epoch")), int(original.setting("stop_epoch"))
    halved = [epoch for epoch in map(int, original.setting("milestones").split()) if start < epoch < stop]
    if not halved:
        return "By the files, the step size was constant, as the post says."
    factor = float(original.setting("factor"))
    return (
        f"By the files, the step size was not constant: it was multiplied by {factor:g} at epochs "
        f"{listed([str(epoch) for epoch in halved])}, and ended at {factor ** len(halved):g} of what the post says."
    )


# ---- the choice of the prior


def chosen_on_test(original: Original) -> str:
    """Whether the head on which the prior was chosen is among those of the final mean, and the mean without it."""
    cells, heads = original.numbers[original.numbers["table"] == "priors"], original.scans
    on = int(cells["scan"].iloc[0])
    if on not in set(heads["scan"]):
        return f"The prior was chosen on scan {on}, which is not among the {stats.count(len(heads))} scans of the mean."
    rest = heads[heads["scan"] != on]
    parts = [
        f"{mm(float(heads[region].mean()))} mm with it and {mm(float(rest[region].mean()))} without on the {region}"
        for region in REGIONS
    ]
    best = [region for region in REGIONS if (cells[region] >= cells.loc[_used(original), region].iloc[0]).all()]
    lowest = f"; the chosen one has the lowest error of all on the {listed(best)}" if best else ""
    return (
        f"Which head should be the prior, and for how long it should be fitted, was chosen by the errors on scan {on} among "
        f"{stats.count(len(cells))} priors{lowest}. Scan {on} is also one of the {stats.count(len(heads))} scans of the final "
        f"mean: {listed(parts)}."
    )


def _used(original: Original) -> pd.Series:
    """Which cells of Table 1 belong to the prior of the final mean."""
    row, cells = original.scans.iloc[0], original.numbers
    return (cells["table"] == "priors") & (cells["prior"] == row["prior"]) & (cells["epochs"] == row["epochs"])


def certainty(results: Results, original: Original) -> str:
    """The interval of the post's mean over its scans, and whether H3D-Net's mean by the same program lies inside."""
    tool, said = published(results, "h3dnet", "h3ds"), []
    for region in REGIONS:
        found = stats.mean(original.scans.set_index("scan")[region])
        inside = "lies inside" if found.low <= tool[region] <= found.high else "lies outside"
        said.append(
            f"on the {region} {mm(found.mean, found.std)} mm, interval {mm(found.low)} to {mm(found.high)}; H3D-Net's "
            f"{mm(tool[region])} {inside}"
        )
    heads = stats.count(len(original.scans))
    return (
        f"From the {heads} errors that the authors published one by one, with one prior and one run each, the mean and its "
        f"{stats.LEVEL:.0%} bootstrap interval over heads are: {'. '.join(said)}."
    ).replace(". on the", "; on the")


def per_scan(original: Original) -> str:
    """The post's ten errors, one by one."""
    rows = [[f"scan {row['scan']}", *(mm(row[region]) for region in REGIONS)] for row in original.scans.to_dict("records")]
    rows.append(["mean", *(tables.spread(original.scans[region]) for region in REGIONS)])
    caption = (
        f"The original's errors scan by scan, in mm (toolbox protocol, H3DS). Source: {tables.cite(original.scans.iloc[0])}."
    )
    return tables.grid(["Scan", "face", "head"], rows, "original-scans", caption)
