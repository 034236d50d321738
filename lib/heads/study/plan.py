"""A study: a YAML that names people, priors and methods, each the work of a notebook, and the jobs that follow from it.

An entry of the YAML sets parameters of its notebook; the notebook's parameters cell says which there are and what they take
(`contract`). A few names mean more than a value:

    out                what the notebook writes lies there; the study says where
    subject            the job waits for this person's data, and gets their `root` and `scenes`
    prior, priors      the job waits for the priors of these names, and gets their folders
    views, seed        the study tries its numbers of photographs and its seeds; a notebook without them is run once
    data               of a prior or a method: the source, of those below `data`, that makes its person; else the first

Where a notebook takes one value and the YAML gives a list, each is tried, and so is each of several sources of a method's data.
`every` is for all notebooks, a table below `views` for all fits to that number of photographs, an entry for itself: the later
wins, and tables are merged key by key.

Some of it is for the posts alone: of a method, `SAID` (`group` is the heading below which tables show it), and `matters`, the
smallest differences in error, in mm on the face and on the head, that may be called better or worse.
"""

import re
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from heads import files
from heads.study import contract
from heads.study.contract import typed, unknown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
VALUE = re.compile(r"[A-Za-z0-9+-][A-Za-z0-9_.+-]{0,39}")  # that is tried, and so is part of a name
TOP = ("data", "subjects", "views", "seeds", "every", "priors", "methods", "choose", "evaluate", "table", "matters")
SAID = ("label", "phrase", "colour", "against", "group")  # of a method, for the posts
MATTERS = {"face_mm": 0.1, "head_mm": 0.3}  # the smallest difference in error that matters, where a study says none
ENTRY = ("notebook", "name", "subjects", "data", "views", "seeds", *SAID)  # of an entry, beside the parameters of its notebook
GIVEN = ("out", "root", "scenes", "subject", "views", "seed")  # parameters that the study sets; some, an entry may set


@dataclass(frozen=True)
class Job:
    """One run of a notebook: `name` (`fit/ada.idr.v3.s0`) is that of its folder, `after` the jobs that it waits for.

    `row` is how the table names it: subject, method, prior, name, views, seed, and what else varies. One that only `looks` at
    somebody's files makes none that others could have to be made anew for.
    """

    study: str
    name: str
    notebook: str
    parameters: dict[str, Any]
    after: tuple[str, ...] = ()
    row: dict[str, Any] = field(default_factory=dict)
    looks: bool = False

    @property
    def stage(self) -> str:
        """What kind of work it is: data, prior, fit, score, choose, or table."""
        return self.name.partition("/")[0]

    @property
    def folder(self) -> Path:
        return Path("runs", self.study, self.name)

    @property
    def record(self) -> Path:
        return self.folder / "record.json"

    @property
    def all_parameters(self) -> dict[str, Any]:
        """The notebook's parameters with their values, those that nobody has set too."""
        return {name: known.default for name, known in contract.parameters(self.notebook).items()} | self.parameters

    @property
    def log(self) -> Path:
        """The executed notebook."""
        return Path("runs", self.study, "notebooks", f"{self.name}.ipynb")


@dataclass(frozen=True)
class Study:
    """All of one YAML. `raw` is what it says, `jobs` what follows by name, those that others wait for first."""

    name: str
    path: str
    raw: dict[str, Any]
    jobs: dict[str, Job]

    def stage(self, *stages: str) -> list[Job]:
        """The jobs of these stages, in the study's order."""
        return [job for job in self.jobs.values() if job.stage in stages]

    @property
    def subjects(self) -> list[str]:
        return list(self.raw["subjects"])

    @cached_property
    def views(self) -> list[int]:
        """The numbers of photographs."""
        return list(self.raw["views"])

    def score_of(self, fit: Job) -> Job:
        """What measures a fit."""
        return self.jobs[f"score/{fit.name.partition('/')[2]}"]

    def described(self) -> dict[str, Any]:
        """What results/STUDY.json says of the study: data, priors and methods with all that was set, for the posts."""
        priors = {job.name.partition("/")[2]: {"notebook": job.notebook} | _all(job) for job in self.stage("prior")}
        for prior in priors.values():
            if "priors" in prior:
                prior["priors"] = [Path(folder).name for folder in prior["priors"]]
        choices = [{"notebook": job.notebook} | _all(job) for job in self.stage("choose")[:1]]
        for choice in choices:
            choice["priors"] = [Path(folder).name for folder in choice["priors"]]
        methods = {}
        for method, entries in self.raw["methods"].items():
            first = entries[0]
            rows = [job for job in self.stage("fit") if job.row["method"] == method]
            methods[method] = {
                "label": first.get("label", method),
                "phrase": first.get("phrase", ""),
                "colour": first["colour"],
                "against": first.get("against", []),
                "group": first.get("group", ""),
                "notebook": first["notebook"],
                "prior": rows[0].row["prior"] if rows else "",
                "parameters": {key: value for key, value in first.items() if key not in (*ENTRY, "prior")},
                "names": {
                    entry["name"]: {key: value for key, value in entry.items() if key not in (*ENTRY, "prior")}
                    for entry in entries[1:]
                    if "name" in entry
                },
            }
        seen = [self.jobs[name] for fit in self.stage("fit") for name in fit.after if name.startswith("data/")]
        sources: dict[str, dict[str, Any]] = {}
        for job in [*seen, *self.stage("data")]:  # what the first fit saw first
            known = {"notebook": job.notebook} | {key: value for key, value in _all(job).items() if key != "subject"}
            sources.setdefault(job.folder.name.partition(".")[0], known)
        return {
            "study": self.name,
            "data": next(iter(sources.values())),
            "sources": sources if len(sources) > 1 else {},
            "subjects": self.subjects,
            "seeds": sorted({job.row["seed"] for job in self.stage("fit")}),
            "every": self.raw["every"],
            "priors": priors,
            "methods": methods,
            "matters": self.raw["matters"],
            "views": {str(count): settings for count, settings in self.raw["views"].items()},
            "choose": choices[0] if choices else {},
        }


def _all(job: Job) -> dict[str, Any]:
    """All parameters of a job with their values, the defaults too, without those that say where things are."""
    return {key: value for key, value in job.all_parameters.items() if key not in ("out", "root", "scenes")}


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
    except Exception as error:  # a broken file can break the reader in many ways
        raise ValueError(f"{path}: cannot be read: {files.reason(error)}") from None
    try:
        return _Planner(_name(path.stem, "the file's name"), path, raw).study()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {files.reason(error, most=400)}") from None


class _Loader(yaml.BaseLoader):
    """YAML whose every value is text, as typed, until a parameter says what it takes; duplicate keys and aliases are errors."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*) are not allowed in a study", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for number, (key, (where, _)) in enumerate(zip(keys, node.value, strict=True)):
            if key in keys[:number]:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key!r}", problem_mark=where.start_mark)
        return super().construct_mapping(node, deep)


class _Planner:
    """Makes the jobs of one study, each once, after those that it waits for."""

    def __init__(self, name: str, path: Path, raw: Any) -> None:
        self.name, self.path = name, path
        raw = _table(raw, "the study", TOP, required=("data", "subjects", "views", "methods"))
        data = _table(raw["data"], "data")
        self.data = {"people": data} if "notebook" in data else {name: _table(one, f"data: {name}") for name, one in data.items()}
        if not self.data:
            raise ValueError("data: at least one source is needed")
        self.first_source = next(iter(self.data))  # of whom no entry says more
        for name, one in self.data.items():
            self.check(one, f"data: {_name(name, 'data')}" if len(self.data) > 1 else "data", ("notebook",))
        self.subjects = [_name(subject, "subjects") for subject in _list(raw["subjects"], "subjects")]
        self.seeds = _whole_list(raw.get("seeds", ["0"]), "seeds", 0)
        self.every = _table(raw.get("every", {}), "every")
        self.priors = {
            _name(name, "priors"): _table(one, f"priors: {name}") for name, one in _table(raw.get("priors", {}), "priors").items()
        }
        for name, prior in self.priors.items():
            self.check(prior, f"priors: {name}", ("notebook", "data"), also=("subject", "views", "seed"))
            _one_of(prior.get("data", self.first_source), f"priors: {name}: data", self.data)
        self.methods = self.read_methods(_table(raw["methods"], "methods"))
        self.choose = _table(raw["choose"], "choose") if "choose" in raw else {}
        if "choose" in raw:
            self.check(self.choose, "choose", ("notebook", "views", "seeds", "subjects"))
            if "priors" not in self.choose:
                raise ValueError("choose: priors is missing")
        asking = [*(entry for entries in self.methods.values() for entry in entries), *([self.choose] if self.choose else [])]
        self.tested = {source for entry in asking for source in _several(entry.get("data", self.first_source))}
        given = _table(raw.get("matters", {}), "matters", MATTERS)
        self.matters = MATTERS | {key: typed(value, "0 < float", f"matters: {key}") for key, value in given.items()}
        self.evaluate = {"notebook": "04_evaluate"} | _table(raw.get("evaluate", {}), "evaluate")
        self.table = {"notebook": "05_results"} | _table(raw.get("table", {}), "table")
        self.check(self.evaluate, "evaluate", ("notebook",))
        self.check(self.table, "table", ("notebook",))
        entries = [*self.data.values(), *self.priors.values(), *asking, self.evaluate, self.table]
        self.notebooks = list(dict.fromkeys(entry["notebook"] for entry in entries))
        self.views = self.read_views(raw["views"])
        known = {name for notebook in self.notebooks for name in contract.parameters(notebook)}
        for key in self.every:
            if key not in known - set(GIVEN):
                raise ValueError(f"every: {unknown(key, known - set(GIVEN))}")
        rules = [notebook.partition("_")[2] for notebook in self.notebooks]
        for notebook, rule in zip(self.notebooks, rules, strict=True):
            if rule in ("", "all") or rules.count(rule) > 1:
                raise ValueError(
                    f"notebook {notebook}: what follows its number has to be a name that no other notebook of the study has"
                )
        for name, prior in self.priors.items():  # also those that nothing starts from
            self.given(prior, f"priors: {name}")
        self.jobs: dict[str, Job] = {}
        self.being_made: list[str] = []  # priors

    def read_methods(self, raw: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """Each method's entries; the later ones start from what the first says, except its name."""
        if not raw:
            raise ValueError("methods: at least one is needed")
        found: dict[str, list[dict[str, Any]]] = {}
        for method, value in raw.items():
            where = f"methods: {_name(method, 'methods', plus=True)}"
            own = [_table(entry, where) for entry in (_list(value, where, twice=True) if isinstance(value, list) else [value])]
            for entry in own:
                for key in ("name", *SAID):
                    if key in entry and key != "against":
                        typed(entry[key], "int >= 0" if key == "colour" else "str", f"{where}: {key}")
                if "name" in entry:
                    _name(entry["name"], f"{where}: name")
            if "name" in own[0]:
                raise ValueError(f"{where}: the first entry represents the method and has no name")
            for key in (key for entry in own[1:] for key in entry if key in SAID):
                raise ValueError(f"{where}: {key} is set once, by the first entry")
            first = own[0]
            found[method] = [dict(own[0]), *(_merged(first, entry) for entry in own[1:])]
            for entry in found[method]:
                self.check(entry, where, ENTRY)
                for source in _several(entry.get("data", self.first_source)):
                    _one_of(source, f"{where}: data", self.data)
                if clash := [name for name in (*SAID[1:], "name", "data") if name in contract.parameters(entry["notebook"])]:
                    raise ValueError(
                        f"{where}: {entry['notebook']} has a parameter {clash[0]!r}, which says something else of a method"
                    )
        taken = {int(entries[0]["colour"]) for entries in found.values() if "colour" in entries[0]}
        free = iter(number for number in range(len(found) + len(taken)) if number not in taken)
        for method, entries in found.items():
            colour = int(entries[0]["colour"]) if "colour" in entries[0] else next(free)
            where, others = f"methods: {method}: against", [other for other in found if other != method]
            named = _list(entries[0]["against"], where) if entries[0].get("against") != [] and "against" in entries[0] else []
            entries[0] |= {"colour": colour, "against": [_one_of(other, where, others) for other in named]}
        for key in ("label", "colour"):
            said = [str(entries[0].get(key, method)) for method, entries in found.items()]
            if twice := [value for value in said if said.count(value) > 1]:
                raise ValueError(f"methods: two of them have the {key} {twice[0]!r}")
        return found

    def read_views(self, raw: Any) -> dict[int, dict[str, Any]]:
        """Each number of photographs, and what is set for the fits to it."""
        if not isinstance(raw, dict) or not raw:
            return {count: {} for count in _whole_list(raw, "views", 1)}
        fitting = [entry["notebook"] for entries in self.methods.values() for entry in entries]
        fitting += [self.choose["notebook"]] if self.choose else []
        known = {name: parameter for notebook in fitting for name, parameter in contract.parameters(notebook).items()}
        allowed = {"seeds", *known} - set(GIVEN)
        found = {}
        for text, value in raw.items():
            count = typed(text, "int >= 1", "views")
            where = f"views: {count}"
            if count in found:
                raise ValueError(f"{where} is listed twice")
            settings = _table(value, where, allowed)
            found[count] = {
                key: typed(item, known[key].takes, f"{where}: {key}") for key, item in settings.items() if key in known
            }
            if "seeds" in settings:
                found[count]["seeds"] = _whole_list(settings["seeds"], f"{where}: seeds", 0)
        return found

    def check(self, entry: Mapping[str, Any], where: str, words: Collection[str], also: Collection[str] = ()) -> None:
        """ValueError for a key that is neither one of these words nor a parameter of the entry's notebook."""
        if "notebook" not in entry:
            raise ValueError(f"{where}: notebook is missing")
        try:
            known = contract.parameters(_name(entry["notebook"], f"{where}: notebook"))
        except ValueError as error:
            said = str(error)
            raise ValueError(said if said.startswith(where) else f"{where}: notebook: {said}") from None
        if "out" not in known:
            raise ValueError(f"{where}: notebook: {entry['notebook']} has no parameter `out` in a cell tagged `parameters`")
        looking = ("root", "scenes", "seed", "views") if where.startswith("data") else ()
        allowed = {*words, *(name for name in known if name not in GIVEN or name in (*also, *looking))}
        for key in entry:
            if key not in allowed:
                raise ValueError(f"{where}: {unknown(key, allowed)}")

    # ---- jobs

    def study(self) -> Study:
        for subject, views, (method, entries) in product(self.subjects, self.views, self.methods.items()):
            for entry in entries:
                self.fits(f"methods: {method}", method, entry, subject, views)
        for subject, views in product(self.subjects, self.views if self.choose else ()):
            self.fits("choose", "", self.choose, subject, views)
        for_priors = {name for job in self.jobs.values() if job.stage == "prior" for name in job.after}
        stages = ("data", "prior", "fit", "score", "choose")
        order = sorted(self.jobs.values(), key=lambda job: (stages.index(job.stage), job.name not in for_priors))
        jobs = {job.name: job for job in order}
        given = self.given(self.table, "table") | {"study": str(self.path), "save": True}
        last = tuple(name for name, job in jobs.items() if job.stage in ("score", "choose"))
        jobs["table"] = Job(self.name, "table", self.table["notebook"], given | {"out": f"runs/{self.name}/table"}, last)
        raw = {"subjects": self.subjects, "views": self.views, "every": self.every, "methods": self.methods}
        raw |= {"matters": self.matters}
        return Study(self.name, str(self.path), raw, jobs)

    def fits(self, where: str, method: str, entry: dict[str, Any], subject: str, views: int) -> None:
        """What an entry asks for of one person and one number of photographs: a job for each seed and each value to be tried."""
        notebook, known = entry["notebook"], contract.parameters(entry["notebook"])
        for other in _list(entry.get("subjects", self.subjects), f"{where}: subjects"):
            _one_of(other, f"{where}: subjects", self.subjects)
        counts = _whole_list(entry["views"], f"{where}: views", 1) if "views" in entry else list(self.views)
        if wrong := [count for count in counts if count not in self.views]:
            raise ValueError(f"{where}: views: {wrong[0]} is not among the study's ({', '.join(map(str, self.views))})")
        seeds = (
            _whole_list(entry["seeds"], f"{where}: seeds", 0) if "seeds" in entry else self.views[views].get("seeds", self.seeds)
        )
        if subject not in entry.get("subjects", [subject]) or views not in (counts if "views" in known else counts[:1]):
            return
        settings = {key: value for key, value in self.views[views].items() if key in known}
        for tried, swept in _tried(entry, known, where):
            given = self.given(tried, where, settings, f"views: {views}")
            row = {"subject": subject, "method": method, "prior": given.get("prior", ""), "name": tried.get("name", "")}
            varied = {key: given[key] for key in swept if key != "prior"}
            for key, value in varied.items():
                if not VALUE.fullmatch(str(value)):
                    raise ValueError(f"{where}: {key}: {value!r} is a value that cannot be tried: it would be part of a name")
            parts = [*row.values(), *(f"{key}-{value}" for key, value in varied.items())]
            for seed in seeds if "seed" in known else seeds[:1]:
                asked = given | {"subject": subject, "views": views, "seed": seed}
                shown = [*parts, f"v{views}" if "views" in known else "", f"s{seed}" if "seed" in known else ""]
                name = ".".join(filter(None, shown))
                numbers = {"views": views if "views" in known else None, "seed": seed}
                if f"{'fit' if method else 'choose'}/{name}" in self.jobs:
                    raise ValueError(f"{where}: two entries ask for the same run, {name}; give one of them another `name`")
                if not method:
                    self.add(f"choose/{name}", notebook, asked, where, row={"subject": subject, **varied, **numbers})
                    continue
                fit = self.add(f"fit/{name}", notebook, asked, where, row=row | numbers | varied)
                self.score(fit, name, method, given.get("data"))

    def score(self, fit: Job, name: str, method: str, source: str | None) -> None:
        """What measures a fit, by the scan of the person whom it saw."""
        known = contract.parameters(self.evaluate["notebook"])
        given = self.given(self.evaluate, "evaluate") | {"subject": fit.row["subject"], "head": str(fit.folder)}
        given |= {"data": source} if source else {}
        given["views"] = fit.row["views"] or 0  # a method may use no photographs, or not say how many
        if "label" in known:
            given["label"] = self.methods[method][0].get("label", method)
        self.add(f"score/{name}", self.evaluate["notebook"], given, "evaluate", row=fit.row, also=(fit.name,))

    def add(
        self,
        name: str,
        notebook: str,
        given: dict[str, Any],
        where: str,
        *,
        row: dict[str, Any] | None = None,
        also: tuple[str, ...] = (),
    ) -> Job:
        """The job of this name, after those that it waits for, which are made where they are not there yet."""
        known = contract.parameters(notebook)
        fixed: dict[str, Any] = {"out": f"runs/{self.name}/{name}"}
        after = list(also)
        if "subject" in known and not name.startswith("data/"):
            source = given.get("data", self.first_source)
            person = self.person(_one_of(source, f"{where}: data", self.data), given["subject"], given.get("views"))
            after.append(person.name)
            fixed |= {key: person.parameters[key] for key in ("root", "scenes") if key in known and key in person.parameters}
        for key in ("prior", "priors"):
            if key in known and key in given:
                names = given[key] if key == "priors" else [given[key]]
                folders = [self.prior(other, f"{where}: {key}") for other in _unique(names, f"{where}: {key}")]
                after += [job.name for job in folders]
                fixed[key] = [str(job.folder) for job in folders] if key == "priors" else str(folders[0].folder)
        parameters = {key: value for key, value in (given | fixed).items() if key in known}
        self.jobs[name] = Job(self.name, name, notebook, parameters, tuple(dict.fromkeys(after)), row or {})
        return self.jobs[name]

    def person(self, source: str, subject: str, views: int | None) -> Job:
        """What makes a person's data, or looks at them where the YAML says in which folder they are."""
        name = f"data/{source}.{subject}"
        if name in self.jobs:
            return self.jobs[name]
        entry, where = self.data[source], self.at(source)
        tested = source in self.tested and subject in self.subjects
        given: dict[str, Any] = {"root": f"runs/{self.name}/{source}"} | self.given(entry, where) | {"subject": subject}
        looks = self.looks(source)
        if looks and views is not None and "views" not in entry:  # somebody else's scene need not have a list of three
            given["views"] = min(self.views) if tested else views
        given |= {key: str(Path(given[key]).expanduser()) for key in ("root", "scenes") if given.get(key)}
        job = self.add(name, entry["notebook"], given, where)
        self.jobs[name] = Job(job.study, name, job.notebook, job.parameters, looks=looks)
        return self.jobs[name]

    def at(self, source: str) -> str:
        """Where the YAML speaks of a source."""
        return f"data: {source}" if len(self.data) > 1 else "data"

    def told(self, source: str, key: str) -> str:
        """A parameter of a source, empty where its notebook has none of this name."""
        entry, known = self.data[source], contract.parameters(self.data[source]["notebook"])
        return str(self.given(entry, self.at(source)).get(key, known[key].default)) if key in known else ""

    def looks(self, source: str) -> bool:
        """Whether a source has people who are there already; else it makes them."""
        return "root" in self.data[source] and self.told(source, "kind") != "synthetic"

    def people(self, source: str) -> tuple[str, str]:
        """Whose people these are: sources with the same have the same person by the same name, photographed in any way."""
        if self.looks(source):
            return "root", str(Path(self.told(source, "root")).expanduser())
        return self.data[source]["notebook"], self.told(source, "seed")

    def prior(self, name: str, where: str) -> Job:
        """What makes a prior."""
        _one_of(name, where, self.priors)
        if f"prior/{name}" in self.jobs:
            return self.jobs[f"prior/{name}"]
        if name in self.being_made:
            raise ValueError(f"priors: {name}: it depends on itself")
        self.being_made.append(name)
        entry, here = self.priors[name], f"priors: {name}"
        given = self.given(entry, here)
        known = contract.parameters(entry["notebook"])
        if "subject" in known:
            if "subject" not in entry:
                raise ValueError(f"{here}: subject is missing")
            people = self.people(entry.get("data", self.first_source))
            if _name(entry["subject"], f"{here}: subject") in self.subjects and people in map(self.people, self.tested):
                raise ValueError(f"{here}: subject {entry['subject']!r} is a test subject too; a prior must be of somebody else")
            given = ({"views": known["views"].default} if "views" in known else {}) | given
        return self.add(f"prior/{name}", entry["notebook"], given, here)

    def given(self, entry: Mapping[str, Any], where: str, settings: Mapping[str, Any] = {}, at: str = "") -> dict[str, Any]:
        """The parameters of an entry's notebook that are set for all, for its number of photographs, or by itself; each typed."""
        known = contract.parameters(entry["notebook"])
        found: dict[str, Any] = {"data": entry["data"]} if "data" in entry else {}
        for table, place in ((self.every, "every"), (settings, at), (entry, where)):
            for key in (
                key for key in table if key in known and not (key == "views" and where.startswith(("methods", "choose")))
            ):
                value = typed(table[key], known[key].takes, f"{place}: {key}")
                found[key] = _merged(found[key], value) if isinstance(value, dict) and key in found else value
        return found


def _tried(
    entry: Mapping[str, Any], known: Mapping[str, contract.Parameter], where: str
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The entry once for each combination of the values in lists, where its notebook takes a single one; and which these are."""
    single = {"data", *(key for key, parameter in known.items() if key != "views" and not parameter.takes_many)}
    swept = [key for key in entry if key in single and isinstance(entry[key], list)]
    for key in swept:
        _list(entry[key], f"{where}: {key}")
    for values in product(*(entry[key] for key in swept)):
        yield dict(entry) | dict(zip(swept, values, strict=True)), swept


def _merged(first: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """A table laid over another, key by key, and so are the tables in them."""
    both = {key: value for key, value in later.items() if isinstance(value, dict) and isinstance(first.get(key), dict)}
    return {**first, **later, **{key: _merged(first[key], value) for key, value in both.items()}}


# ---- what a YAML may say


def _table(raw: Any, where: str, known: Collection[str] | None = None, required: Collection[str] = ()) -> dict[str, Any]:
    if not isinstance(raw, dict):
        said = f" of {', '.join(known)}" if known is not None and len(known) < 6 else ""
        raise ValueError(f"{where}: expected a table{said}, not {raw!r}")
    for key in raw:
        if known is not None and key not in known:
            raise ValueError(f"{where}: {unknown(key, known)}" if where != "the study" else unknown(key, known))
    for key in required:
        if key not in raw:
            raise ValueError(f"{key} is missing")
    return raw


def _list(raw: Any, where: str, twice: bool = False) -> list[Any]:
    if not isinstance(raw, list) or not raw:
        raise ValueError(f"{where}: expected a list of at least one entry, not {raw!r}")
    return raw if twice else _unique(raw, where)


def _several(raw: Any) -> list[Any]:
    """What may be one or a list of several, as a list."""
    return raw if isinstance(raw, list) else [raw]


def _unique(raw: list[Any], where: str) -> list[Any]:
    for value in raw:
        if raw.count(value) > 1:
            raise ValueError(f"{where}: {value!r} is listed twice")
    return raw


def _whole_list(raw: Any, where: str, least: int) -> list[int]:
    return _unique([typed(value, f"int >= {least}", where) for value in _list(raw, where)], where)


def _name(raw: Any, where: str, plus: bool = False) -> str:
    """A name that may be part of a path; that of a method may have a + in it."""
    if not isinstance(raw, str) or not NAME.fullmatch(raw.replace("+", "-") if plus else raw):
        raise ValueError(f"{where}: {raw!r} is not a valid name (letters, digits, - and _)")
    return raw


def _one_of(raw: Any, where: str, known: Collection[str]) -> str:
    if not isinstance(raw, str) or raw not in known:
        raise ValueError(f"{where}: {unknown(raw, known)}")
    return raw
