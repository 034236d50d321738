"""A study: the YAML that names data, subjects, methods and priors, and the jobs that it asks for.

Only the standard library and PyYAML are imported, so that the Snakefile may read a study at no cost. A job is one run of one
notebook: its fields are that notebook's parameters, its properties say where things lie, relative to the repository.
"""

import difflib
import re
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

STARTS = {"idr": "sphere", "baseh3d": "scan"}  # the methods, and the kind of prior that each starts from
DATA_KINDS = ("synthetic", "h3ds")
PRESETS = ("PAPER", "LAPTOP", "SMOKE")  # of idr.Config
SCHEDULES = ("readme", "shipped", "cosine")  # of idr.Config
PARTS = ("geometry", "colour", "moments")  # of priors.Prior
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


# ---- jobs: what a notebook is asked to do


@dataclass(frozen=True)
class DataJob:
    """01_data: write one subject of a built-in data set, or look at one that is there."""

    study: str = "demo"
    dataset: str = "synthetic"
    subject: str = "ada"
    kind: str = "synthetic"
    root: str = "runs/demo/data/synthetic"
    config: str = ""
    seed: int = 0
    size: int = 256
    photographs: int = 40
    views: int = 3  # to look at

    def __post_init__(self) -> None:
        _check_names(self, "study", "dataset", "subject")
        _one_of(self.kind, "kind", DATA_KINDS)

    @property
    def name(self) -> str:
        return f"{self.dataset}.{self.subject}"

    @property
    def record(self) -> Path:
        return Path("runs", self.study, "data", f"{self.name}.json")


@dataclass(frozen=True)
class PriorJob:
    """02_prior: train the prior `prior` on one scan of another subject."""

    study: str = "demo"
    prior: str = "single"
    dataset: str = "synthetic"
    root: str = "runs/demo/data/synthetic"
    config: str = ""
    subject: str = "bea"
    views: int = 32
    preset: str = "LAPTOP"
    epochs: int = 200  # 0: as the preset says
    seed: int = 0
    overrides: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_names(self, "study", "dataset", "subject", "prior")
        _one_of(self.preset, "preset", PRESETS)

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
class FitJob:
    """03_reconstruct: one subject, seen in `views` photographs, by one method from one prior ("sphere" is none)."""

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
        _one_of(self.method, "method", STARTS)
        _one_of(self.preset, "preset", PRESETS)
        _one_of(self.schedule or SCHEDULES[0], "schedule", SCHEDULES)
        for part in self.carry:
            _one_of(part, "carry", PARTS)

    @property
    def name(self) -> str:
        return f"{self.subject}.{self.method}.{self.prior}.v{self.views}.s{self.seed}"

    @property
    def folder(self) -> Path:
        return Path("runs", self.study, "fit", self.name)

    @property
    def record(self) -> Path:
        return self.folder / "fit.json"

    @property
    def prior_folder(self) -> Path:
        return Path("runs", self.study, "prior", self.prior)


@dataclass(frozen=True)
class ScoreJob:
    """04_evaluate: one reconstruction against the scan."""

    study: str = "demo"
    dataset: str = "synthetic"
    root: str = "runs/demo/data/synthetic"
    config: str = ""
    subject: str = "ada"
    method: str = "idr"
    prior: str = "sphere"
    views: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        _check_names(self, "study", "dataset", "subject", "prior")
        _one_of(self.method, "method", STARTS)

    @property
    def name(self) -> str:
        return f"{self.subject}.{self.method}.{self.prior}.v{self.views}.s{self.seed}"

    @property
    def folder(self) -> Path:
        return Path("runs", self.study, "fit", self.name)

    @property
    def record(self) -> Path:
        return self.folder / "record.json"


@dataclass(frozen=True)
class TableJob:
    """05_results: the records of a study in one table, and its figures; only `save` writes results/ and figures/."""

    study_yaml: str = "config/quick.yaml"
    save: bool = False

    @property
    def record(self) -> Path:
        return Path("runs", Path(self.study_yaml).stem, "results.json")


# ---- the study itself


@dataclass(frozen=True)
class Data:
    """A data set: `synthetic` heads from a seed, `size` pixels square; or scans in the H3DS layout below `root`."""

    kind: str
    seed: int = 0
    size: int = 256
    photographs: int = 40
    root: str = ""
    config: str = ""  # a TOML of scenes, or v1 or v2 for the official ones; "": root/config.toml


@dataclass(frozen=True)
class Prior:
    """A prior by name: the sphere, or one scan of `dataset`; `schedule` and `carry` are for the fits that start from it."""

    name: str
    kind: str
    dataset: str = ""
    subject: str = ""
    views: int = 32
    epochs: int = 0
    seed: int = 0
    schedule: str = ""
    carry: tuple[str, ...] = PARTS
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A method, and the priors it is tried from."""

    name: str
    priors: tuple[str, ...]
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """All of one YAML. `datasets` by name; the first is that of the test subjects."""

    name: str
    path: str
    datasets: dict[str, Data]
    subjects: tuple[str, ...]
    views: tuple[int, ...]
    methods: tuple[Method, ...]
    priors: dict[str, Prior]
    preset: str
    seeds: tuple[int, ...]
    overrides: dict[str, Any]

    @property
    def dataset(self) -> str:
        """The data set of the test subjects."""
        return next(iter(self.datasets))

    def root(self, dataset: str) -> str:
        """Where a data set lies in the H3DS layout."""
        data = self.datasets[dataset]
        return data.root or f"runs/{self.name}/data/{dataset}"

    def data_job(self, dataset: str, subject: str) -> DataJob:
        data, root = self.datasets[dataset], self.root(dataset)
        tested = dataset == self.dataset and subject in self.subjects
        views = (
            min(self.views)
            if tested
            else next(p.views for p in self.priors.values() if (p.dataset, p.subject) == (dataset, subject))
        )
        return DataJob(self.name, dataset, subject, data.kind, root, data.config, data.seed, data.size, data.photographs, views)

    def prior_job(self, name: str) -> PriorJob:
        prior = self.priors[name]
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
                views=views,
                seed=seed,
                preset=self.preset,
                schedule=self.priors[prior].schedule,
                carry=list(self.priors[prior].carry),
                overrides=self.overrides | method.overrides,
            )
            for subject in self.subjects
            for views in self.views
            for method in self.methods
            for prior in method.priors
            for seed in self.seeds
        ]

    def score_job(self, fit: FitJob) -> ScoreJob:
        return ScoreJob(**{f.name: getattr(fit, f.name) for f in fields(ScoreJob)})

    def data_jobs(self) -> list[DataJob]:
        """Every subject of the study, those of the priors first: the priors are what all others wait for."""
        pairs = [(self.priors[name].dataset, self.priors[name].subject) for name in self.trained_priors()]
        return [self.data_job(*pair) for pair in dict.fromkeys(pairs + [(self.dataset, subject) for subject in self.subjects])]

    def before(self, job: PriorJob | FitJob | ScoreJob) -> list[Path]:
        """The records that have to be there, and well, before `job`."""
        if isinstance(job, ScoreJob):
            return [job.folder / "fit.json"]
        records = [self.data_job(job.dataset, job.subject).record]
        if isinstance(job, FitJob) and job.prior in self.trained_priors():
            records.append(self.prior_job(job.prior).record)
        return records

    def trained_priors(self) -> list[str]:
        """Names of the priors that some method uses and that have to be trained."""
        used = dict.fromkeys(prior for method in self.methods for prior in method.priors)
        return [name for name in used if self.priors[name].kind != "sphere"]


# ---- reading


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, not the later one."""

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
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        others = ", ".join(str(other) for other in sorted(path.parent.glob("*.yaml")))
        raise FileNotFoundError(f"{path}: there is no such study; {path.parent} has {others or 'none'}") from None
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise ValueError(f"{path}: not valid YAML: {error.problem}{line}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    try:
        return _study(path, raw)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def unknown(word: object, known: Collection[str]) -> str:
    """The sentence for a word that is none of the known ones."""
    close = difflib.get_close_matches(str(word), known, n=1)
    return f"{word!r} is not known; " + (f"did you mean {close[0]!r}? " if close else "") + f"(known: {', '.join(sorted(known))})"


def _study(path: Path, raw: Any) -> Study:
    keys = ("data", "subjects", "views", "methods", "priors", "preset", "seeds", "overrides")
    table = _table(raw, "the study", keys, required=("data", "subjects", "views", "methods", "preset"))
    datasets = {}
    own = _data(table["data"], "data")
    datasets[own.kind] = own
    subjects = tuple(_name(subject, "subjects") for subject in _list(table["subjects"], "subjects"))

    priors = {"sphere": Prior("sphere", "sphere")}
    for name, value in _table(table.get("priors", {}), "priors", None).items():
        priors[name] = _prior(_name(name, "priors"), value, datasets)
        if priors[name].dataset == own.kind and priors[name].subject in subjects:
            raise ValueError(
                f"priors: {name}: subject {priors[name].subject!r} is a test subject too; a prior has to be somebody else"
            )

    methods = tuple(_method(name, value, priors) for name, value in _table(table["methods"], "methods", STARTS).items())
    if not methods:
        raise ValueError(f"methods: at least one is needed (known: {', '.join(sorted(STARTS))})")
    return Study(
        name=_name(path.stem, "the file's name"),
        path=str(path),
        datasets=datasets,
        subjects=subjects,
        views=tuple(_whole(number, "views", least=1) for number in _list(table["views"], "views")),
        methods=methods,
        priors=priors,
        preset=_one_of(table["preset"], "preset", PRESETS),
        seeds=tuple(_whole(number, "seeds", least=0) for number in _list(table.get("seeds", [0]), "seeds")),
        overrides=_table(table.get("overrides", {}), "overrides", None),
    )


def _data(raw: Any, where: str) -> Data:
    kind = _one_of(_table(raw, where, None, required=("kind",))["kind"], f"{where}: kind", DATA_KINDS)
    if kind == "h3ds":
        table = _table(raw, where, ("kind", "root", "config"), required=("root",))
        root, config = _text(table["root"], f"{where}: root"), _text(table.get("config", ""), f"{where}: config")
        return Data(kind, seed=0, size=0, photographs=0, root=str(Path(root).expanduser()), config=config)
    table = _table(raw, where, ("kind", "seed", "size", "photographs"))
    return Data(
        kind,
        seed=_whole(table.get("seed", 0), f"{where}: seed", least=0),
        size=_whole(table.get("size", Data.size), f"{where}: size", least=16),
        photographs=_whole(table.get("photographs", Data.photographs), f"{where}: photographs", least=8),
    )


def _prior(name: str, raw: Any, datasets: dict[str, Data]) -> Prior:
    """One prior; data of its own are added to `datasets`, unless they are there already."""
    where = f"priors: {name}"
    kind = _one_of(_table(raw, where, None, required=("kind",))["kind"], f"{where}: kind", sorted(set(STARTS.values())))
    if (kind == "sphere") != (name == "sphere"):
        raise ValueError(f"{where}: the prior of kind sphere is called sphere, and no other is")
    if kind == "sphere":
        _table(raw, where, ("kind",))
        return Prior("sphere", "sphere")
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
    return Prior(
        name,
        kind,
        dataset,
        subject=_name(table["subject"], f"{where}: subject"),
        views=_whole(table.get("views", Prior.views), f"{where}: views", least=1),
        epochs=_whole(table.get("epochs", 0), f"{where}: epochs", least=0),
        seed=_whole(table.get("seed", 0), f"{where}: seed", least=0),
        schedule=_one_of(table["schedule"], f"{where}: schedule", SCHEDULES) if "schedule" in table else "",
        carry=tuple(
            _one_of(part, f"{where}: carry", PARTS) for part in _list(table.get("carry", list(PARTS)), f"{where}: carry")
        ),
        overrides=_table(table.get("overrides", {}), f"{where}: overrides", None),
    )


def _method(name: str, raw: Any, priors: dict[str, Prior]) -> Method:
    where = f"methods: {name}"
    table = _table(raw, where, ("prior", "overrides"), required=("prior",))
    named = table["prior"] if isinstance(table["prior"], list) else [table["prior"]]
    starts = tuple(_one_of(prior, f"{where}: prior", priors) for prior in _list(named, f"{where}: prior"))
    for prior in starts:
        if priors[prior].kind != STARTS[name]:
            raise ValueError(
                f"{where}: it starts from a prior of kind {STARTS[name]}, but {prior!r} is of kind {priors[prior].kind}"
            )
    return Method(name, starts, _table(table.get("overrides", {}), f"{where}: overrides", None))


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
