"""A study: the YAML that names data, subjects, methods and priors, and the jobs that it asks for.

Only the standard library and PyYAML are imported, so that the Snakefile may read a study at no cost. A job is one run of one
notebook: its fields are that notebook's parameters, its properties say where things lie, relative to the repository.
"""

import difflib
import re
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import yaml

from heads import files

METHODS = {  # and the kind of prior that each starts from
    "idr": "sphere",
    "baseh3d": "scan",
    "average": "average",
    "h3dnet": "autodecoder",
    "h3dnet+colour": "autodecoder",  # one that has learned colours as well
}
PRIOR_KINDS = ("sphere", "scan", "average", "autodecoder")
DATA_KINDS = ("synthetic", "h3ds")
LIGHTS = ("varied", "common")  # of the built-in heads: each its own, or one for all
PRESETS = ("PAPER", "LAPTOP", "SMOKE")  # of idr.Config and of autodecoder.Config
SCHEDULES = ("readme", "shipped", "cosine")  # of idr.Config
PARTS = ("geometry", "colour", "moments")  # of priors.Prior
AVERAGES = ("distil", "weights")  # of what the networks say, or of their parameters
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


# ---- jobs: what a notebook is asked to do


@dataclass(frozen=True)
class DataJob:
    """01_data: write one subject of a built-in data set, or look at one that is there."""

    notebook: ClassVar[str] = "01_data"
    study: str = "demo"
    dataset: str = "synthetic"
    subject: str = "ada"
    kind: str = "synthetic"
    root: str = "runs/demo/data/synthetic"
    config: str = ""
    seed: int = 0
    size: int = 256
    photographs: int = 40
    light: str = "varied"
    views: int = 3  # to look at

    def __post_init__(self) -> None:
        _check_names(self, "study", "dataset", "subject")
        _one_of(self.kind, "kind", DATA_KINDS)
        _one_of(self.light, "light", LIGHTS)

    @property
    def name(self) -> str:
        return f"{self.dataset}.{self.subject}"

    @property
    def record(self) -> Path:
        return Path("runs", self.study, "data", f"{self.name}.json")

    @property
    def photos(self) -> list[Path]:
        """Photographs, masks and cameras of somebody else's scene: where they change, what was made of them is made again."""
        return self._given("image/*", "mask/*", "cameras.npz")

    @property
    def scan(self) -> list[Path]:
        """The scan of somebody else's scene and its regions: where they change, it is scored again."""
        return self._given("full_head.obj", "regions/*")

    def _given(self, *patterns: str) -> list[Path]:
        """Files of a scene that this job does not write; without those whose names Snakemake would take for a pattern."""
        folder = Path(self.root, self.subject)
        found = [path for pattern in patterns for path in sorted(folder.glob(pattern))] if self.kind != "synthetic" else []
        return [path for path in found if path.is_file() and path.name[0] != "." and not {"{", "}"} & set(str(path))]


class _MakesPrior:
    """Where a job that makes a prior leaves it."""

    study: str
    prior: str

    @property
    def name(self) -> str:
        return self.prior

    @property
    def folder(self) -> Path:
        return Path("runs", self.study, "prior", self.prior)

    @property
    def record(self) -> Path:
        return self.folder / "record.json"


@dataclass(frozen=True)
class PriorJob(_MakesPrior):
    """02_prior: train the prior `prior` on one scan of another subject."""

    notebook: ClassVar[str] = "02_prior"
    study: str = "demo"
    prior: str = "single"
    dataset: str = "synthetic"
    root: str = "runs/demo/data/synthetic"
    config: str = ""
    subject: str = "bea"
    views: int = 32
    preset: str = "LAPTOP"
    epochs: int = 500  # 0: as the preset says
    seed: int = 0
    overrides: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_names(self, "study", "dataset", "subject", "prior")
        _one_of(self.preset, "preset", PRESETS)


@dataclass(frozen=True)
class AutodecoderJob(_MakesPrior):
    """06_autodecoder: train the prior `prior`, one network for many built-in heads drawn from a seed of its own."""

    notebook: ClassVar[str] = "06_autodecoder"
    study: str = "demo"
    prior: str = "heads"
    heads: int = 24  # how many; a person each
    seed: int = 0  # of the heads and of the training
    colour: bool = False  # learn the colours of their photographs too
    photographs: int = 8  # of each head, and
    size: int = 128  # pixels, where colours are learned
    light: str = "varied"  # in which they are photographed
    preset: str = "LAPTOP"
    overrides: dict[str, Any] = field(default_factory=dict)  # fields of autodecoder.Config

    def __post_init__(self) -> None:
        _check_names(self, "study", "prior")
        _one_of(self.light, "light", LIGHTS)
        _one_of(self.preset, "preset", PRESETS)
        for name, least in (("heads", 1), ("seed", 0), ("photographs", 1), ("size", 16)):
            _whole(getattr(self, name), name, least)


@dataclass(frozen=True)
class AverageJob(_MakesPrior):
    """07_average: the prior `prior`, the average of the priors `of` of the same study; none: the notebook makes its own."""

    notebook: ClassVar[str] = "07_average"
    study: str = "demo"
    prior: str = "mean"
    of: list[str] = field(default_factory=list)
    how: str = "distil"
    preset: str = "LAPTOP"
    steps: int = 0  # of the distillation, 0: as average.Config says
    seed: int = 0
    overrides: dict[str, Any] = field(default_factory=dict)  # fields of idr.Config: the priors' own

    def __post_init__(self) -> None:
        _check_names(self, "study", "prior")
        for name in self.of:
            _name(name, "of")
        _one_of(self.how, "how", AVERAGES)
        _one_of(self.preset, "preset", PRESETS)
        for name in ("steps", "seed"):
            _whole(getattr(self, name), name, least=0)

    @property
    def of_folders(self) -> list[Path]:
        return [Path("runs", self.study, "prior", name) for name in self.of]


class _OfFit:
    """Where a fit and its score lie; what is carried over is in the name where that is not all."""

    study: str
    subject: str
    method: str
    prior: str
    views: int
    seed: int
    carry: list[str]

    @property
    def name(self) -> str:
        name = f"{self.subject}.{self.method}.{self.prior}.v{self.views}.s{self.seed}"
        return name if set(self.carry) == set(PARTS) else f"{name}.{'+'.join(part for part in PARTS if part in self.carry)}"

    @property
    def folder(self) -> Path:
        return Path("runs", self.study, "fit", self.name)


@dataclass(frozen=True)
class FitJob(_OfFit):
    """03_reconstruct: one subject, seen in `views` photographs, by one method from one prior ("sphere" is none)."""

    notebook: ClassVar[str] = "03_reconstruct"
    study: str = "demo"
    dataset: str = "synthetic"
    root: str = "runs/demo/data/synthetic"
    config: str = ""
    subject: str = "ada"
    method: str = "idr"
    prior: str = "sphere"
    views: int = 3
    seed: int = 0
    preset: str = "LAPTOP"
    schedule: str = ""  # "": as the preset says
    carry: list[str] = field(default_factory=lambda: list(PARTS))
    overrides: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_names(self, "study", "dataset", "subject", "prior")
        _one_of(self.method, "method", METHODS)
        _one_of(self.preset, "preset", PRESETS)
        _one_of(self.schedule or SCHEDULES[0], "schedule", SCHEDULES)
        for part in self.carry:
            _one_of(part, "carry", PARTS)

    @property
    def record(self) -> Path:
        return self.folder / "fit.json"

    @property
    def prior_folder(self) -> Path:
        return Path("runs", self.study, "prior", self.prior)


@dataclass(frozen=True)
class ScoreJob(_OfFit):
    """04_evaluate: one reconstruction against the scan."""

    notebook: ClassVar[str] = "04_evaluate"
    study: str = "demo"
    dataset: str = "synthetic"
    root: str = "runs/demo/data/synthetic"
    config: str = ""
    subject: str = "ada"
    method: str = "idr"
    prior: str = "sphere"
    views: int = 3
    seed: int = 0
    carry: list[str] = field(default_factory=lambda: list(PARTS))

    def __post_init__(self) -> None:
        _check_names(self, "study", "dataset", "subject", "prior")
        _one_of(self.method, "method", METHODS)
        for part in self.carry:
            _one_of(part, "carry", PARTS)

    @property
    def record(self) -> Path:
        return self.folder / "record.json"


@dataclass(frozen=True)
class TableJob:
    """05_results: the records of a study in one table, and its figures; only `save` writes results/ and figures/."""

    notebook: ClassVar[str] = "05_results"
    study_yaml: str = "config/quick.yaml"
    save: bool = False
    pictures: bool = False  # draw people from a set of kind h3ds too, whose licence may forbid it

    @property
    def name(self) -> str:
        return ""  # a study has one

    @property
    def record(self) -> Path:
        return Path("runs", Path(self.study_yaml).stem, "results.json")


@dataclass(frozen=True)
class ChooseJob:
    """08_choose: which of the priors `of` of a study a subject should start from, by its photographs; none: two are made."""

    notebook: ClassVar[str] = "08_choose"
    study: str = "demo"
    dataset: str = "synthetic"
    root: str = "runs/demo/data/synthetic"
    config: str = ""
    subject: str = "ada"
    of: list[str] = field(default_factory=list)
    views: int = 3
    held_out: bool = True  # judge by the last photograph, which the trials do not see; or by all, which they have used
    share: float = 0.2  # of the epochs of a whole fit
    seed: int = 0
    preset: str = "LAPTOP"
    schedule: str = ""  # "": as the preset says
    carry: dict[str, Any] = field(default_factory=dict)  # prior -> the parts carried over, where these are not all
    score: bool = True  # at the end, measure the heads of the trials against the scan; a study scores whole fits instead
    overrides: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_names(self, "study", "dataset", "subject")
        for name in self.of:
            _name(name, "of")
        _one_of(self.preset, "preset", PRESETS)
        _one_of(self.schedule or SCHEDULES[0], "schedule", SCHEDULES)
        for name, parts in self.carry.items():
            _one_of(name, "carry", self.of)
            _carry(parts, f"carry: {name}")
        _share(self.share, "share")
        _whole(self.seed, "seed", least=0)

    @property
    def name(self) -> str:
        return f"{self.subject}.v{self.views}.s{self.seed}"

    @property
    def folder(self) -> Path:
        return Path("runs", self.study, "choose", self.name)

    @property
    def record(self) -> Path:
        return self.folder / "record.json"

    @property
    def of_folders(self) -> list[Path]:
        return [Path("runs", self.study, "prior", name) for name in self.of]


Job = DataJob | PriorJob | FitJob | ScoreJob | TableJob | AutodecoderJob | AverageJob | ChooseJob
JOBS = (DataJob, PriorJob, FitJob, ScoreJob, TableJob, AutodecoderJob, AverageJob, ChooseJob)  # 01 to 08


# ---- the study itself


@dataclass(frozen=True)
class Data:
    """A data set: `synthetic` heads from a seed, `size` pixels square; or scans in the H3DS layout below `root`."""

    kind: str
    seed: int = 0
    size: int = 256
    photographs: int = 40
    light: str = "varied"
    root: str = ""
    config: str = ""  # a TOML of scenes, or v1 or v2 for the official ones; "": root/config.toml
    pictures: bool = False  # of kind h3ds: whether figures/ may show these people


@dataclass(frozen=True)
class Prior:
    """A prior by name, or the sphere; `schedule` and `carry` are for the fits that start from it."""

    name: str
    kind: str
    schedule: str = ""
    carry: tuple[str, ...] = PARTS


@dataclass(frozen=True)
class ScanPrior(Prior):
    """One scan of `dataset`, reconstructed from many views."""

    dataset: str = ""
    subject: str = ""
    views: int = 32
    epochs: int = 0
    seed: int = 0
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AveragePrior(Prior):
    """The average of the scan priors `of`."""

    of: tuple[str, ...] = ()
    how: str = "distil"
    steps: int = 0
    seed: int = 0


@dataclass(frozen=True)
class AutodecoderPrior(Prior):
    """One network for many built-in heads, none of which has a name, so that none is a test subject."""

    heads: int = 1
    seed: int = 0
    colour: bool = False
    photographs: int = 8
    size: int = 128
    light: str = "varied"
    preset: str = ""  # "": the study's
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Views:
    """A number of photographs; `seeds` (None: the study's) and `overrides` are for the fits to so many."""

    count: int
    seeds: tuple[int, ...] | None = None
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """Priors that a method is tried from; None: all the study's subjects and views, its seeds, and what each prior carries."""

    priors: tuple[str, ...]
    subjects: tuple[str, ...] | None = None
    views: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None
    carry: tuple[str, ...] | None = None
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A method, and all that it is tried from."""

    name: str
    entries: tuple[Entry, ...]

    @property
    def priors(self) -> tuple[str, ...]:
        """Names of the priors that it is tried from."""
        return tuple(dict.fromkeys(prior for entry in self.entries for prior in entry.priors))


@dataclass(frozen=True)
class Choose:
    """A choice among the scan priors `of` for each test subject, from `views` photographs: trials of a `share` of a fit."""

    of: tuple[str, ...]
    share: float = 0.2
    views: int = 3
    held_out: bool = True


@dataclass(frozen=True)
class Study:
    """All of one YAML. `datasets` by name; the first is that of the test subjects."""

    name: str
    path: str
    datasets: dict[str, Data]
    subjects: tuple[str, ...]
    view_sets: tuple[Views, ...]
    methods: tuple[Method, ...]
    priors: dict[str, Prior]
    preset: str
    seeds: tuple[int, ...]
    overrides: dict[str, Any]
    choose: Choose | None = None

    @property
    def dataset(self) -> str:
        """The data set of the test subjects."""
        return next(iter(self.datasets))

    @property
    def views(self) -> tuple[int, ...]:
        """The numbers of photographs."""
        return tuple(views.count for views in self.view_sets)

    def root(self, dataset: str) -> str:
        """Where a data set lies in the H3DS layout."""
        data = self.datasets[dataset]
        return data.root or f"runs/{self.name}/data/{dataset}"

    def data_job(self, dataset: str, subject: str) -> DataJob:
        """What makes one subject, or looks at it."""
        data = self.datasets[dataset]
        scanned = [
            p.views for p in self.priors.values() if isinstance(p, ScanPrior) and (p.dataset, p.subject) == (dataset, subject)
        ]
        tested = dataset == self.dataset and subject in self.subjects
        return DataJob(
            study=self.name,
            dataset=dataset,
            subject=subject,
            kind=data.kind,
            root=self.root(dataset),
            config=data.config,
            seed=data.seed,
            size=data.size,
            photographs=data.photographs,
            light=data.light,
            views=min(self.views) if tested else scanned[0],
        )

    def prior_job(self, name: str) -> PriorJob | AutodecoderJob | AverageJob:
        """What makes a prior."""
        prior = self.priors[name]
        if isinstance(prior, ScanPrior):
            return PriorJob(
                study=self.name,
                prior=name,
                dataset=prior.dataset,
                root=self.root(prior.dataset),
                config=self.datasets[prior.dataset].config,
                subject=prior.subject,
                views=prior.views,
                preset=self.preset,
                epochs=prior.epochs,
                seed=prior.seed,
                overrides=self.overrides | prior.overrides,
            )
        if isinstance(prior, AutodecoderPrior):
            return AutodecoderJob(
                study=self.name,
                prior=name,
                heads=prior.heads,
                seed=prior.seed,
                colour=prior.colour,
                photographs=prior.photographs,
                size=prior.size,
                light=prior.light,
                preset=prior.preset or self.preset,
                overrides=prior.overrides,
            )
        if isinstance(prior, AveragePrior):
            return AverageJob(
                study=self.name,
                prior=name,
                of=list(prior.of),
                how=prior.how,
                preset=self.preset,
                steps=prior.steps,
                seed=prior.seed,
                overrides=self.overrides,
            )
        raise ValueError(f"the prior {name!r} is not made by a job")

    def fit_jobs(self) -> list[FitJob]:
        """Every reconstruction of the study, in the order of the table."""
        return [
            FitJob(
                study=self.name,
                dataset=self.dataset,
                root=self.root(self.dataset),
                config=self.datasets[self.dataset].config,
                subject=subject,
                method=method.name,
                prior=prior,
                views=views.count,
                seed=seed,
                preset=self.preset,
                schedule=self.priors[prior].schedule,
                carry=list(entry.carry or self.priors[prior].carry),
                overrides=self.overrides | views.overrides | entry.overrides,
            )
            for subject in self.subjects
            for views in self.view_sets
            for method in self.methods
            for entry in method.entries
            if entry.subjects is None or subject in entry.subjects
            if entry.views is None or views.count in entry.views
            for prior in entry.priors
            for seed in entry.seeds or views.seeds or self.seeds
        ]

    def score_job(self, fit: FitJob) -> ScoreJob:
        """What measures a fit."""
        return ScoreJob(**{f.name: getattr(fit, f.name) for f in fields(ScoreJob)})

    def choose_jobs(self) -> list[ChooseJob]:
        """A choice among the priors of `choose` for each test subject, with the settings and the first seed of its fits."""
        if self.choose is None:
            return []
        views = next(views for views in self.view_sets if views.count == self.choose.views)
        carried = {name: list(self.priors[name].carry) for name in self.choose.of}
        return [
            ChooseJob(
                study=self.name,
                dataset=self.dataset,
                root=self.root(self.dataset),
                config=self.datasets[self.dataset].config,
                subject=subject,
                of=list(self.choose.of),
                views=views.count,
                held_out=self.choose.held_out,
                share=self.choose.share,
                seed=(views.seeds or self.seeds)[0],
                preset=self.preset,
                schedule=self.priors[self.choose.of[0]].schedule,
                carry={name: parts for name, parts in carried.items() if set(parts) != set(PARTS)},
                score=False,
                overrides=self.overrides | views.overrides,
            )
            for subject in self.subjects
        ]

    def all_jobs(self) -> list[Job]:
        """Every job, what is needed by others first."""
        fits = self.fit_jobs()
        made = [*self.data_jobs(), *map(self.prior_job, self.trained_priors())]
        return [*made, *fits, *map(self.score_job, fits), *self.choose_jobs(), self.table_job()]

    def table_job(self) -> TableJob:
        """What makes the table and the figures, and saves them."""
        return TableJob(self.path, save=True, pictures=self.datasets[self.dataset].pictures)

    def data_jobs(self) -> list[DataJob]:
        """Every subject of the study, those of the priors first: the priors are what all others wait for."""
        scans = [prior for prior in map(self.priors.get, self.trained_priors()) if isinstance(prior, ScanPrior)]
        pairs = [(prior.dataset, prior.subject) for prior in scans] + [(self.dataset, subject) for subject in self.subjects]
        return [self.data_job(*pair) for pair in dict.fromkeys(pairs)]

    def before(self, job: PriorJob | AutodecoderJob | AverageJob | FitJob | ScoreJob | ChooseJob) -> list[Path]:
        """The records that have to be there, and well, before `job`."""
        if isinstance(job, ScoreJob):
            return [job.folder / "fit.json"]
        if isinstance(job, AutodecoderJob):
            return []
        if isinstance(job, AverageJob):
            return [self.prior_job(name).record for name in job.of]
        records = [self.data_job(job.dataset, job.subject).record]
        if isinstance(job, FitJob) and self.priors[job.prior].kind != "sphere":
            records.append(self.prior_job(job.prior).record)
        if isinstance(job, ChooseJob):
            records += [self.prior_job(name).record for name in job.of]
        return records

    def trained_priors(self) -> list[str]:
        """Names of the priors that have to be made: those that a method or a choice uses, after those they are averages of."""
        found: dict[str, None] = {}
        for name in (*(prior for method in self.methods for prior in method.priors), *(self.choose.of if self.choose else ())):
            prior = self.priors[name]
            found |= dict.fromkeys(prior.of if isinstance(prior, AveragePrior) else ())
            found |= {} if prior.kind == "sphere" else {name: None}
        return list(found)


# ---- reading


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, not the later one; so are aliases: a few of them say a million words."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias (*) has no place in a study", problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(problem=f"{key!r} stands twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def read(path: str | Path) -> Study:
    """The study in a YAML file; ValueError or FileNotFoundError says in a sentence what is wrong with it."""
    path = Path(path)
    try:
        text = files.text(path)
    except FileNotFoundError:
        others = ", ".join(str(other) for other in sorted(path.parent.glob("*.yaml")))
        raise FileNotFoundError(f"{path}: there is no such study; {path.parent} has {others or 'none'}") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        raw = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise ValueError(f"{path}: not valid YAML: {error.problem}{line}") from None
    except Exception as error:  # a number or a date that is none can break the reader in many ways
        raise ValueError(f"{path}: cannot be read: {files.reason(error)}") from None
    try:
        return _study(path, raw)
    except ValueError as error:
        raise ValueError(f"{path}: {files.reason(error, most=400)}") from None


def unknown(word: object, known: Collection[str]) -> str:
    """The sentence for a word that is none of the known ones."""
    close = difflib.get_close_matches(str(word), known, n=1)
    return f"{word!r} is not known; " + (f"did you mean {close[0]!r}? " if close else "") + f"(known: {', '.join(sorted(known))})"


def _study(path: Path, raw: Any) -> Study:
    keys = ("data", "subjects", "views", "methods", "priors", "preset", "seeds", "overrides", "choose")
    table = _table(raw, "the study", keys, required=("data", "subjects", "views", "methods", "preset"))
    datasets = {}
    own = _data(table["data"], "data")
    datasets[own.kind] = own
    subjects = tuple(_name(subject, "subjects") for subject in _list(table["subjects"], "subjects"))
    view_sets = _view_sets(table["views"])

    priors = {"sphere": Prior("sphere", "sphere")}
    for name, value in _table(table.get("priors", {}), "priors", None).items():
        prior = _prior(_name(name, "priors"), value, datasets)
        if isinstance(prior, ScanPrior) and prior.dataset == own.kind and prior.subject in subjects:
            raise ValueError(f"priors: {name}: subject {prior.subject!r} is a test subject too; a prior has to be somebody else")
        priors[name] = prior
    for name, prior in priors.items():
        for other in prior.of if isinstance(prior, AveragePrior) else ():
            _one_of(other, f"priors: {name}: of", priors)
            if priors[other].kind != "scan":
                raise ValueError(
                    f"priors: {name}: of: an average takes priors of kind scan, but {other!r} is of kind {priors[other].kind}"
                )

    methods = tuple(
        _method(name, value, priors, subjects, [views.count for views in view_sets])
        for name, value in _table(table["methods"], "methods", METHODS).items()
    )
    if not methods:
        raise ValueError(f"methods: at least one is needed (known: {', '.join(sorted(METHODS))})")
    study = Study(
        name=_name(path.stem, "the file's name"),
        path=str(path),
        datasets=datasets,
        subjects=subjects,
        view_sets=view_sets,
        methods=methods,
        priors=priors,
        preset=_one_of(table["preset"], "preset", PRESETS),
        seeds=_seeds(table.get("seeds", [0]), "seeds"),
        overrides=_table(table.get("overrides", {}), "overrides", None),
        choose=_choose(table["choose"], priors, [views.count for views in view_sets]) if "choose" in table else None,
    )
    seen = set()
    for fit in study.fit_jobs():
        if fit.name in seen:
            raise ValueError(f"methods: {fit.method}: two entries ask for the same run, {fit.name}")
        seen.add(fit.name)
    return study


def _data(raw: Any, where: str) -> Data:
    kind = _one_of(_table(raw, where, None, required=("kind",))["kind"], f"{where}: kind", DATA_KINDS)
    if kind == "h3ds":
        table = _table(raw, where, ("kind", "root", "config", "pictures"), required=("root",))
        root, config = _text(table["root"], f"{where}: root"), _text(table.get("config", ""), f"{where}: config")
        pictures = _yes_or_no(table.get("pictures", False), f"{where}: pictures")
        return Data(kind, seed=0, size=0, photographs=0, root=str(Path(root).expanduser()), config=config, pictures=pictures)
    table = _table(raw, where, ("kind", "seed", "size", "photographs", "light"))
    return Data(
        kind,
        seed=_whole(table.get("seed", 0), f"{where}: seed", least=0),
        size=_whole(table.get("size", Data.size), f"{where}: size", least=16),
        photographs=_whole(table.get("photographs", Data.photographs), f"{where}: photographs", least=8),
        light=_one_of(table.get("light", Data.light), f"{where}: light", LIGHTS),
    )


def _view_sets(raw: Any) -> tuple[Views, ...]:
    """A list of numbers of photographs, or a table from each to the seeds and overrides of its fits."""
    if not isinstance(raw, dict) or not raw:
        return tuple(Views(_whole(count, "views", least=1)) for count in _list(raw, "views"))
    found = []
    for count, value in raw.items():
        where = f"views: {_whole(count, 'views', least=1)}"
        table = _table(value, where, ("seeds", "overrides"))
        seeds = _seeds(table["seeds"], f"{where}: seeds") if "seeds" in table else None
        found.append(Views(count, seeds, _table(table.get("overrides", {}), f"{where}: overrides", None)))
    return tuple(found)


def _prior(name: str, raw: Any, datasets: dict[str, Data]) -> Prior:
    """One prior; data of its own are added to `datasets`, unless they are there already."""
    where = f"priors: {name}"
    kind = _one_of(_table(raw, where, None, required=("kind",))["kind"], f"{where}: kind", PRIOR_KINDS)
    if (kind == "sphere") != (name == "sphere"):
        raise ValueError(f"{where}: the prior of kind sphere is called sphere, and no other is")
    if kind == "sphere":
        _table(raw, where, ("kind",))
        return Prior("sphere", "sphere")
    read = {"scan": _scan_prior, "average": _average_prior, "autodecoder": _autodecoder_prior}
    return read[kind](name, raw, where, datasets)


def _scan_prior(name: str, raw: Any, where: str, datasets: dict[str, Data]) -> ScanPrior:
    keys = ("kind", "subject", "views", "epochs", "seed", "schedule", "carry", "data", "overrides")
    table = _table(raw, where, keys, required=("subject",))
    dataset = next(iter(datasets))
    if "data" in table:
        data = _data(table["data"], f"{where}: data")
        dataset = next(
            (known for known, other in datasets.items() if other == data), data.kind if data.kind not in datasets else name
        )
        if datasets.setdefault(dataset, data) != data:
            raise ValueError(f"{where}: call this prior otherwise; {name!r} is the name of a data set")
    return ScanPrior(
        name,
        "scan",
        **_for_fits(table, where),
        dataset=dataset,
        subject=_name(table["subject"], f"{where}: subject"),
        views=_whole(table.get("views", ScanPrior.views), f"{where}: views", least=1),
        epochs=_whole(table.get("epochs", 0), f"{where}: epochs", least=0),
        seed=_whole(table.get("seed", 0), f"{where}: seed", least=0),
        overrides=_table(table.get("overrides", {}), f"{where}: overrides", None),
    )


def _average_prior(name: str, raw: Any, where: str, datasets: dict[str, Data]) -> AveragePrior:
    table = _table(raw, where, ("kind", "of", "how", "steps", "seed", "schedule", "carry"), required=("of",))
    of = tuple(_name(other, f"{where}: of") for other in _list(table["of"], f"{where}: of"))
    if len(of) < 2:
        raise ValueError(f"{where}: of: an average takes two priors at least, not {of[0]!r} alone")
    return AveragePrior(
        name,
        "average",
        **_for_fits(table, where),
        of=of,
        how=_one_of(table.get("how", AveragePrior.how), f"{where}: how", AVERAGES),
        steps=_whole(table.get("steps", 0), f"{where}: steps", least=0),
        seed=_whole(table.get("seed", 0), f"{where}: seed", least=0),
    )


def _autodecoder_prior(name: str, raw: Any, where: str, datasets: dict[str, Data]) -> AutodecoderPrior:
    keys = ("kind", "heads", "seed", "colour", "photographs", "size", "light", "preset", "schedule", "carry", "overrides")
    table = _table(raw, where, keys, required=("heads",))
    return AutodecoderPrior(
        name,
        "autodecoder",
        **_for_fits(table, where),
        heads=_whole(table["heads"], f"{where}: heads", least=1),
        seed=_whole(table.get("seed", 0), f"{where}: seed", least=0),
        colour=_yes_or_no(table.get("colour", False), f"{where}: colour"),
        photographs=_whole(table.get("photographs", AutodecoderPrior.photographs), f"{where}: photographs", least=1),
        size=_whole(table.get("size", AutodecoderPrior.size), f"{where}: size", least=16),
        light=_one_of(table.get("light", AutodecoderPrior.light), f"{where}: light", LIGHTS),
        preset=_one_of(table["preset"], f"{where}: preset", PRESETS) if "preset" in table else "",
        overrides=_table(table.get("overrides", {}), f"{where}: overrides", None),
    )


def _for_fits(table: dict[str, Any], where: str) -> dict[str, Any]:
    """What a prior of any kind says of the fits that start from it."""
    return {
        "schedule": _one_of(table["schedule"], f"{where}: schedule", SCHEDULES) if "schedule" in table else "",
        "carry": _carry(table["carry"], f"{where}: carry") if "carry" in table else PARTS,
    }


def _carry(raw: Any, where: str) -> tuple[str, ...]:
    named = [_one_of(part, where, PARTS) for part in _list(raw, where)]
    return tuple(part for part in PARTS if part in named)


def _method(name: str, raw: Any, priors: dict[str, Prior], subjects: Collection[str], views: Collection[int]) -> Method:
    where = f"methods: {name}"
    entries = _list(raw, where) if isinstance(raw, list) else [raw]
    return Method(name, tuple(_entry(name, entry, where, priors, subjects, views) for entry in entries))


def _entry(
    method: str, raw: Any, where: str, priors: dict[str, Prior], subjects: Collection[str], views: Collection[int]
) -> Entry:
    table = _table(raw, where, ("prior", "subjects", "views", "seeds", "carry", "overrides"), required=("prior",))
    named = table["prior"] if isinstance(table["prior"], list) else [table["prior"]]
    starts = tuple(_one_of(prior, f"{where}: prior", priors) for prior in _list(named, f"{where}: prior"))
    for name in starts:
        prior = priors[name]
        if prior.kind != METHODS[method]:
            raise ValueError(f"{where}: it starts from a prior of kind {METHODS[method]}, but {name!r} is of kind {prior.kind}")
        if isinstance(prior, AutodecoderPrior) and prior.colour != (method == "h3dnet+colour"):
            has = "learns" if prior.colour else "does not learn"
            other = "h3dnet+colour" if prior.colour else "h3dnet"
            raise ValueError(f"{where}: {name!r} {has} colours (colour: {str(prior.colour).lower()}); it is for {other}")
        if prior.kind == "sphere" and "carry" in table:
            raise ValueError(f"{where}: carry: a sphere has nothing to carry over")
    people = tuple(_list(table["subjects"], f"{where}: subjects")) if "subjects" in table else None
    for subject in people or ():
        _one_of(subject, f"{where}: subjects", subjects)
    counts = tuple(_list(table["views"], f"{where}: views")) if "views" in table else None
    for count in counts or ():
        if _whole(count, f"{where}: views", least=1) not in views:
            raise ValueError(f"{where}: views: {count} is none of the study's ({', '.join(map(str, views))})")
    return Entry(
        starts,
        people,
        counts,
        seeds=_seeds(table["seeds"], f"{where}: seeds") if "seeds" in table else None,
        carry=_carry(table["carry"], f"{where}: carry") if "carry" in table else None,
        overrides=_table(table.get("overrides", {}), f"{where}: overrides", None),
    )


def _choose(raw: Any, priors: dict[str, Prior], views: Collection[int]) -> Choose:
    table = _table(raw, "choose", ("of", "share", "views", "held_out"), required=("of",))
    of = tuple(_one_of(name, "choose: of", priors) for name in _list(table["of"], "choose: of"))
    for name in of:
        if priors[name].kind != "scan":
            raise ValueError(f"choose: of: priors of kind scan are tried, but {name!r} is of kind {priors[name].kind}")
        if priors[name].schedule != priors[of[0]].schedule:
            raise ValueError(f"choose: of: {of[0]!r} and {name!r} have different schedules; their trials would not compare")
    if len(of) < 2:
        raise ValueError(f"choose: of: a choice takes two priors at least, not {of[0]!r} alone")
    count = _whole(table.get("views", Choose.views), "choose: views", least=1)
    if count not in views:
        raise ValueError(f"choose: views: {count} is none of the study's ({', '.join(map(str, views))})")
    held_out = _yes_or_no(table.get("held_out", True), "choose: held_out")
    if held_out and count < 2:
        raise ValueError("choose: views: holding out a photograph takes two at least, not 1")
    return Choose(of, _share(table.get("share", Choose.share), "choose: share"), count, held_out)


def _seeds(raw: Any, where: str) -> tuple[int, ...]:
    return tuple(_whole(seed, where, least=0) for seed in _list(raw, where))


def _table(raw: Any, where: str, known: Collection[str] | None, required: Collection[str] = ()) -> dict[str, Any]:
    """A table whose keys are all among `known` (None: any text), with none of `required` left out."""
    if not isinstance(raw, dict):
        raise ValueError(f"{where}: expected a table{' of ' + ', '.join(known) if known else ''}, not {raw!r}")
    for key in raw:
        if not isinstance(key, str):
            raise ValueError(f"{where}: the key {key!r} is not text; put it in quotes")
        if known is not None and key not in known:
            raise ValueError(f"{where}: {unknown(key, known)}")
    for key in required:
        if key not in raw:
            raise ValueError(f"{where}: {key} is missing")
    return raw


def _list(raw: Any, where: str) -> list[Any]:
    if not isinstance(raw, list) or not raw:
        raise ValueError(f"{where}: expected a list of at least one entry, not {raw!r}")
    for value in raw:
        if raw.count(value) > 1:
            raise ValueError(f"{where}: {value!r} stands twice")
    return raw


def _whole(raw: Any, where: str, least: int) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or raw < least:
        raise ValueError(f"{where}: expected a whole number, {least} or more, not {raw!r}")
    return raw


def _share(raw: Any, where: str) -> float:
    if not isinstance(raw, int | float) or isinstance(raw, bool) or not 0 < raw <= 1:
        raise ValueError(f"{where}: expected a number above 0 and at most 1, not {raw!r}")
    return float(raw)


def _yes_or_no(raw: Any, where: str) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"{where}: expected true or false, not {raw!r}")
    return raw


def _text(raw: Any, where: str) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"{where}: expected text, not {raw!r}")
    return raw


def _name(raw: Any, where: str) -> str:
    if not isinstance(raw, str) or not NAME.fullmatch(raw):
        hint = "; put it in quotes" if not isinstance(raw, str) else ""
        raise ValueError(f"{where}: {raw!r} is no name (letters, digits, - and _){hint}")
    return raw


def _check_names(job: Any, *names: str) -> None:
    for name in names:
        _name(getattr(job, name), name)


def _one_of(raw: Any, where: str, known: Collection[str]) -> str:
    if not isinstance(raw, str) or raw not in known:
        raise ValueError(f"{where}: {unknown(raw, known)}")
    return raw
