"""A study's results as the posts read them: its table of runs, and what results/STUDY.json says of its methods and priors.

A *run* is one row of results/STUDY.csv: a subject, a method, the prior it starts from, and its scores in the columns between
`reason` and `seconds`. An *entry* is what results/STUDY.json says of a method: its label, its colour, what it is compared with.
A method is represented by its runs without a `name`, with the first value of every parameter that varies, from its *sample* of
priors: its first one, and those made in the same way of another person or in another training (`SAMPLED`). Priors that differ
in more, as in their epochs, are variations of it, and runs with a name are its ablations.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from heads import files
from heads.posts import stats
from heads.study.plan import MATTERS

PROTOCOLS = ("rigid", "toolbox")
REGIONS = ("face", "head")
TEXT = (
    "subject",
    "method",
    "prior",
    "name",
    "data",
    "status",
    "reason",
    "device",
    "commit",
)  # columns that hold text, empty or not
REQUIRED = ("subject", "method", "prior", "name", "views", "seed", "status", "reason")
MEASURED = ("seconds", "peak_mb", "device", "commit")  # the columns behind the scores
TRIALS = ("subject", "prior", "views", "loss", "rgb", "mask", "fitted", "judged")  # of results/STUDY_trials.csv
STAGES = ("stage", "runs", "seconds")  # of results/STUDY_stages.csv
PUBLISHED = ("method", "label", "views", "face", "face_std", "head", "head_std", "protocol", "source", "bib")
CAPTURE = ("capture", "only", "amounts", "strength")  # of a source: what is wrong with its photographs, and how much
SAMPLED = ("subject", "seed", "priors", "config")  # in which the priors of a sample differ; they are the same in all else
PARTS = ("geometry", "colour", "moments")  # of a prior, all of which a fit carries over where its entry does not say otherwise


def _empty(*columns: str) -> Callable[[], pd.DataFrame]:
    return lambda: pd.DataFrame(columns=list(columns))


@dataclass(frozen=True)
class Results:
    """One study: `table` has a row for each run, `stages` one for each stage, `about` is results/STUDY.json.

    `published` holds the numbers of others (PUBLISHED, in mm), `figures` is the folder of the study's figures as a page links to
    it and `folder` where it is, and `page` tells apart the tables that one study has on several pages. `trials` has a row for
    each subject and prior that a study with a `choose` tried (TRIALS). `stages` may be empty: then nothing is said of stages.
    """

    study: str
    table: pd.DataFrame
    stages: pd.DataFrame = field(default_factory=_empty(*STAGES))
    about: dict[str, Any] = field(default_factory=dict)
    published: pd.DataFrame = field(default_factory=_empty(*PUBLISHED))
    folder: Path = Path()
    figures: str = ""
    page: str = ""
    trials: pd.DataFrame = field(default_factory=_empty(*TRIALS))

    @property
    def subjects(self) -> list[str]:
        return list(dict.fromkeys(self.table["subject"]))

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(self.table["method"]))

    @property
    def views(self) -> list[int]:
        """Numbers of photographs from which methods are judged, the fewest first; a method that uses none has no number.

        One that only named runs have does not count: no method is represented there.
        """
        judged = self.table[self.table["name"] == ""] if "name" in self.table else self.table
        return sorted(int(views) for views in judged["views"].dropna().unique())

    @property
    def ok(self) -> pd.DataFrame:
        return self.table[self.table["status"] == "ok"]

    @property
    def scores(self) -> list[str]:
        """The names of the scores."""
        return scores(self.table)

    @property
    def looks(self) -> dict[str, int]:
        """A method's label -> the number of its colour and mark in `plots.PALETTE`, for every method that has one."""
        known = {method: entry(self, method) for method in self.methods}
        return {label(self, method): int(one["colour"]) for method, one in known.items() if "colour" in one}


# ---- files


def read(root: Path | str, study: str, page: str = "") -> Results:
    """The results of a study below `root`; FileNotFoundError or ValueError names the invalid file."""
    root = Path(root)
    folder = root / "results"
    table = read_table(folder / f"{study}.csv")
    _check_scores(table, folder / f"{study}.csv")
    about = read_about(folder / f"{study}.json")
    stages, trials = folder / f"{study}_stages.csv", folder / f"{study}_trials.csv"
    found = Results(
        study=study,
        table=table,
        about=about,
        published=read_csv(root / "blog" / "published.csv", PUBLISHED),
        folder=root / "figures" / study,
        figures=f"../figures/{study}",
        page=page,
    )
    found = replace(found, stages=read_csv(stages, STAGES)) if stages.is_file() else found
    return replace(found, trials=read_trials(trials)) if about.get("choose") else found


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table with these columns; FileNotFoundError or ValueError names the invalid file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such table")
    return files.table(path, columns)


def read_table(path: Path) -> pd.DataFrame:
    """A study's table of runs; FileNotFoundError or ValueError names the invalid file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such table; `make study` writes it")
    what = "the table of a study"
    numbers = {name: [""] for name in files.table(path, REQUIRED, what, nrows=0) if name not in TEXT}
    text = dict.fromkeys(TEXT, str)  # so that a subject named NA or 007 keeps its name
    rows = files.table(path, REQUIRED, what, dtype=text, keep_default_na=False, na_values=numbers)
    columns = ["views", "seed", *scores(rows), *(name for name in ("seconds", "peak_mb") if name in rows)]
    if wrong := [name for name in columns if rows[name].dtype.kind not in "fi" or np.isinf(rows[name]).any()]:
        raise ValueError(f"{path}: {what} was expected; its column {wrong[0]} has values that are not numbers")
    return rows


def read_about(path: Path) -> dict[str, Any]:
    """What results/STUDY.json says, nothing where there is no such file; ValueError names one that is not an object in JSON."""
    if not path.is_file():
        return {}
    try:
        about = json.loads(files.text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the description of a study was expected ({files.reason(error)})") from None
    if not isinstance(about, dict):
        raise ValueError(f"{path}: the description of a study was expected, an object in JSON, not {files.shown(about)}")
    return about


def read_trials(path: Path, columns: Sequence[str] = TRIALS) -> pd.DataFrame:
    """Trials with these columns; FileNotFoundError or ValueError names the invalid file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there are no such trials; `make study` writes them")
    text = dict.fromkeys(("subject", "prior", "fitted", "judged"), str)
    rows = files.table(path, columns, "a table of trials", dtype=text)
    if rows.empty or rows["loss"].dtype.kind not in "fi" or not np.isfinite(rows["loss"]).all():
        raise ValueError(f"{path}: a row for each trial, and a loss in each, were expected")
    return rows


def _check_scores(table: pd.DataFrame, path: Path) -> None:
    """ValueError unless there is a successful run, each such run has a score, and one that a method has, all its runs have.

    From another number of photographs it may have others: from many, none is held out. What no photograph saw may be nothing.
    """
    ok = table[table["status"] == "ok"]
    lacking = ok[scores(table)].isna()
    alike = lacking[[name for name in lacking if not str(name).endswith("seen_mm")]].groupby(
        [ok["method"], ok["views"]], dropna=False
    )
    if ok.empty or lacking.all(axis=1).any() or (alike.any() != alike.all()).to_numpy().any():
        raise ValueError(f"{path}: at least one row with status ok, and in each of these all scores of its method, were expected")


# ---- columns


def scores(table: pd.DataFrame) -> list[str]:
    """The names of the scores: the columns between `reason` and the seconds of a run."""
    columns = list(table.columns)
    behind = columns[columns.index("reason") + 1 :]
    return behind[: next((i for i, name in enumerate(behind) if name in MEASURED), len(behind))]


def varied(table: pd.DataFrame) -> list[str]:
    """The names of the parameters that vary: the columns between `seed` and `status`."""
    columns = list(table.columns)
    return columns[columns.index("seed") + 1 : columns.index("status")]


# ---- rows


def at(results: Results, views: int) -> Results:
    """The runs with this number of photographs, and those of methods that use none; ValueError where there are none."""
    known = results.table["views"]
    table = results.table[(known == views) | known.isna()]
    if views not in results.views:
        raise ValueError(f"{results.study}: runs with {views} photographs were expected, there are none")
    return replace(results, table=table, trials=results.trials[results.trials["views"] == views])


def seeing(results: Results, source: str) -> Results:
    """The runs that saw the photographs of one source, of those that the study tries; ValueError where there are none."""
    table = results.table[results.table["data"] == source]
    if table.empty:
        raise ValueError(f"{results.study}: runs with the data {source} were expected, there are none")
    return replace(results, table=table)


def tried_everywhere(results: Results) -> Results:
    """The runs from priors that their method has with every number of photographs with which it was tried.

    So a change with more photographs is not one of the priors.
    """
    table = results.table
    tried = table.groupby(["method", "name"])["views"].transform("nunique")
    return replace(results, table=table[table.groupby(["method", "name", "prior"])["views"].transform("nunique") == tried])


def rows_of(results: Results, method: str, prior: str | None = None, name: str = "") -> pd.DataFrame:
    """The runs that represent a method, or its ablation `name`; from its sample of priors unless one is given."""
    rows = results.table[(results.table["method"] == method) & (results.table["name"] == name)]
    rows = rows[rows["prior"].isin(sample(results, method) if prior is None else [prior])]
    for column in varied(results.table):
        rows = rows[rows[column].map(str) == str(rows[column].iloc[0])] if len(rows) else rows
    return rows


def first_prior(results: Results, method: str) -> str:
    """The prior of the first run that represents a method, empty where it has none; ValueError where there is no such run."""
    return next(iter(sample(results, method)))


def sample(results: Results, method: str) -> dict[str, tuple[str, int]]:
    """The priors from which a method is judged, by name, each with its person and training; ("", 0) without a prior.

    They are the first one and all that results/STUDY.json describes in the same way except for `SAMPLED`. ValueError where no
    run represents the method.
    """
    rows = results.table[(results.table["method"] == method) & (results.table["name"] == "")]
    if rows.empty:
        raise ValueError(f"{results.study}: runs of {method} were expected, there are none")
    known = results.about.get("priors", {})
    made = {
        prior: {key: value for key, value in known[prior].items() if key not in SAMPLED} if prior in known else prior
        for prior in dict.fromkeys(rows["prior"])
    }
    first = next(iter(made.values()))
    return {prior: training_of(results, prior) for prior, one in made.items() if one == first}


def training_of(results: Results, prior: str) -> tuple[str, int]:
    """The person of a prior and the seed of its training; one that is not of a single person stands for itself."""
    about = results.about.get("priors", {}).get(prior, {})
    return str(about.get("subject", prior)), int(about.get("seed", 0))


def by_training(results: Results, method: str, column: str, prior: str | None = None, name: str = "") -> pd.DataFrame:
    """One number for each head (row) and prior (person, training) (column): the mean over the seeds of the successful runs."""
    if len(results.views) > 1:
        numbers = ", ".join(map(str, results.views))
        raise ValueError(f"{results.study}: one number of photographs was expected, not several ({numbers})")
    rows = rows_of(results, method, prior, name)[lambda rows: rows["status"] == "ok"]
    of = [training_of(results, prior) for prior in rows["prior"]]
    rows = rows.assign(person=[person for person, _ in of], training=[training for _, training in of])
    found = rows.groupby(["subject", "person", "training"], sort=False)[column].mean().unstack(["person", "training"])
    return found.reindex(index=list(dict.fromkeys(rows["subject"])), columns=list(dict.fromkeys(of)))


def by_subject(results: Results, method: str, column: str, prior: str | None = None, name: str = "") -> pd.Series:
    """One number for each head: the mean over the people of its priors, of that over their trainings, of that over the seeds.

    Only successful runs count, all with one number of photographs.
    """
    if method not in results.methods:
        return pd.Series(dtype=float)
    return stats.of_heads(by_training(results, method, column, prior, name))


# ---- methods


def entry(results: Results, method: str) -> dict[str, Any]:
    """What results/STUDY.json says of a method; empty where it says nothing."""
    return dict(results.about.get("methods", {}).get(method, {}))


def label(results: Results, method: str) -> str:
    """What readers call a method: by its entry, else by the published numbers, else its id."""
    known = results.published.loc[results.published["method"] == method, "label"]
    return str(entry(results, method).get("label") or (known.iloc[0] if len(known) else method))


def phrase(results: Results, method: str) -> str:
    """What a method starts from, in words; ValueError where results/STUDY.json does not say."""
    if not (words := entry(results, method).get("phrase")):
        raise ValueError(f"{results.study}.json: methods: {method}: a phrase was expected")
    return str(words)


def against(results: Results, method: str) -> list[str]:
    """The methods of the table with which a method is compared, in the order of its entry."""
    return [other for other in entry(results, method).get("against", []) if other in results.methods]


def baseline(results: Results, method: str) -> str:
    """The first method with which a method is compared; ValueError where there is none."""
    if not (others := against(results, method)):
        raise ValueError(f"{results.study}.json: methods: {method}: against: a method of the table was expected")
    return others[0]


def leading(results: Results) -> str:
    """The method whose errors decide which heads are shown first: the first that is compared with another, else the first."""
    return next((method for method in results.methods if against(results, method)), results.methods[0])


def extremes(results: Results) -> list[str]:
    """The heads with the lowest and the highest face error (rigid) of the leading method; the study draws them in 3D.

    One head where there is only one, none where the method reconstructed none.
    """
    errors = by_subject(results, leading(results), "face_rigid_mm").sort_values(kind="stable")
    return list(dict.fromkeys([str(errors.index[0]), str(errors.index[-1])])) if len(errors) else []


def parts(results: Results, method: str, name: str = "") -> tuple[str, ...]:
    """What a method, or its ablation `name`, carries over from its prior (PARTS), nothing where it has no prior.

    ValueError where results/STUDY.json does not describe the ablation.
    """
    if not first_prior(results, method):
        return ()
    known = entry(results, method)
    if name and name not in known.get("names", {}):
        raise ValueError(f"{results.study}.json: methods: {method}: names: {name}: a description was expected")
    set_here = known.get("parameters", {}) | (known["names"][name] if name else {})
    return tuple(set_here.get("carry", PARTS))


def heading(results: Results, method: str) -> str:
    """The heading below which tables show a method, as `as published`; empty where its entry has none."""
    return str(entry(results, method).get("group", ""))


def fit_of(results: Results, method: str = "") -> dict[str, Any]:
    """How the first fit of a method was set, else the study's first fit; empty where results/STUDY.json does not say."""
    return dict(entry(results, method).get("fit") or results.about.get("fit", {}))


def short(results: Results, method: str) -> str:
    """A method's label without its heading, below which it stands: `IDR` for `IDR as published`."""
    return label(results, method).removesuffix(f" {heading(results, method)}")


def matters(results: Results | None, region: str) -> float:
    """The smallest difference in error on a region that matters, mm; the usual one without results that say another."""
    return float({**MATTERS, **(results.about.get("matters", {}) if results else {})}[f"{region}_mm"])


# ---- photographs in which something is wrong


def disturbed(results: Results) -> dict[str, dict[float, str]]:
    """What is wrong with the photographs (`noise`, or `all`) -> its strength, from 0 on -> the source, if several are tried.

    These are sources that results/STUDY.json describes as differing from an undisturbed one in groups of disturbances alone.
    """
    tried = set(results.table["data"]) if "data" in varied(results.table) else set()
    known = {name: one for name, one in results.about.get("sources", {}).items() if name in tried and set(CAPTURE) <= set(one)}
    strengths = {name: 0.0 if one["capture"] == "studio" else float(one["strength"]) for name, one in known.items()}
    rest = {name: {key: value for key, value in one.items() if key not in CAPTURE} for name, one in known.items()}
    plain = [name for name, one in known.items() if not one["amounts"]]
    none = next((name for name in plain if strengths[name] == 0), "")
    found: dict[str, dict[float, str]] = {}
    for name in plain:
        if none and strengths[name] > 0 and rest[name] == rest[none]:
            found.setdefault(" and ".join(known[name]["only"]) or "all", {0.0: none})[strengths[name]] = name
    return {name: dict(sorted(sources.items())) for name, sources in found.items()}


def undisturbed(results: Results) -> Results:
    """The runs that saw undisturbed photographs of the sources of `disturbed`; ValueError where it has none."""
    if not (found := disturbed(results)):
        raise ValueError(f"{results.study}: fits to photographs with and without a disturbance were expected, there are none")
    return seeing(results, next(iter(found.values()))[0.0])


# ---- priors


def prior_label(results: Results, prior: str) -> str:
    """What readers call a prior: `omar (500 epochs)` where it is of one scan, else its name; its seed too where it is not 0."""
    known = results.about.get("priors", {}).get(prior, {})
    seed = f", seed {known['seed']}" if known.get("seed") else ""
    return f"{known['subject']} ({known['epochs']} epochs{seed})" if known.get("notebook") == "02_prior" else prior


def scan_method(results: Results) -> str:
    """The first method that starts from a prior of one scan; ValueError where there is none, or a prior is not described."""
    known = results.about.get("priors", {})
    used = [prior for prior in dict.fromkeys(results.table["prior"]) if prior]
    if missing := [prior for prior in used if prior not in known]:
        raise ValueError(f"{results.study}.json: a description of the prior {missing[0]} was expected")
    rows = results.table[results.table["prior"].isin([prior for prior in used if known[prior].get("notebook") == "02_prior"])]
    if rows.empty:
        raise ValueError(f"{results.study}: runs from a prior of one scan were expected, there are none")
    return str(rows["method"].iloc[0])


def scans(results: Results) -> dict[str, dict[str, Any]]:
    """The priors of one scan from which `scan_method` starts, by name, as results/STUDY.json describes them."""
    known = {prior: one for prior, one in results.about.get("priors", {}).items() if one.get("notebook") == "02_prior"}
    rows = results.table[results.table["method"] == scan_method(results)]
    return {prior: known[prior] for prior in dict.fromkeys(rows["prior"]) if prior in known}
