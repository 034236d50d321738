"""Records: what a run leaves behind, written last and whole, and what decides whether it still counts.

A notebook begins with `begin`, names the files that it reads with `use`, and ends with `finish`. Its record holds all parameters,
a digest of the code that decides its result, and one of each file that it used: where any of these has changed, the run is
outdated (`status`).
"""

import ast
import functools
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from heads import files
from heads.files import plain
from heads.study import contract, lock

Config = TypeVar("Config")


def root() -> Path:
    """The repository: the nearest folder, from the current one upwards, that has a Snakefile; or a clone below; or here."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents, here / "heads") if (folder / "Snakefile").is_file()), here)


def commit() -> str:
    """The commit of the repository that runs, with `-dirty` behind it where files differ from it; `unknown` outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=root(), capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """What computes here, and with what: a GPU if there is one, the processor with its widest instructions, Python, torch."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = named[0] if named else platform.processor() or platform.machine()
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    cpu = f"{processor} with {torch.backends.cpu.get_cpu_capability()}"
    return ", ".join([*gpu, cpu, f"{os.cpu_count()} cores", f"Python {platform.python_version()}", f"torch {torch.__version__}"])


def peak_mb(device: str = "cpu") -> float:
    """The most memory that this process has held so far, on the GPU where that did the work, in MB."""
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated(device) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


# ---- records


@dataclass(frozen=True)
class Record:
    """How a run ended, what was asked and used, what it cost, and its scores; its `files` lie beside it.

    `inputs` are the files that it used (digest by path), `pictures` the numbers of the photographs, `code` a digest of sources.
    """

    notebook: str
    status: str = "ok"  # or failed
    reason: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    pictures: list[int] = field(default_factory=list)
    code: str = ""
    losses: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    device: str = "cpu"
    commit: str = field(default_factory=commit)
    seconds: float | None = None
    peak_mb: float | None = field(default_factory=peak_mb)
    files: list[str] = field(default_factory=list)


def write(path: Path, record: Record) -> None:
    """Write a record as JSON."""
    files.write_json(path, asdict(record))


def read(path: Path) -> Record:
    """Read a record; ValueError names a file that is not one."""
    try:
        record = Record(**json.loads(files.text(path)))
        for name, kind in get_type_hints(Record).items():
            if not isinstance(
                getattr(record, name), int | float | None if name in ("seconds", "peak_mb") else get_origin(kind) or kind
            ):
                raise ValueError(f"{name} is {getattr(record, name)!r}")
        if record.status not in ("ok", "failed") or not all(isinstance(file, str) for file in record.files):
            raise ValueError(f"status {record.status!r}, files {record.files!r}")
        for value in (*record.scores.values(), *record.losses.values()):
            if not isinstance(value, int | float | None):
                raise ValueError(f"{files.shown(value)} is not a number")
        return record
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such record; the stage before this one has not been run") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: not a record of a run ({files.reason(error)}); delete it and run the study again") from None


def succeeded(path: Path) -> bool:
    """Whether a run has left its record there, and did not fail."""
    return path.is_file() and read(path).status == "ok"


# ---- a notebook's run


@dataclass(frozen=True)
class Run:
    """One run of a notebook, its parameters as attributes: `run.subject`. What it writes lies in the folder `out`."""

    notebook: str
    parameters: dict[str, Any]
    code: str
    began: float
    inputs: dict[str, str] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["parameters"][name]
        except KeyError:
            raise AttributeError(f"{name} is not a parameter of this notebook") from None

    @property
    def out(self) -> Path:
        return Path(self.parameters["out"])

    def use(self, paths: Iterable[Path | str]) -> None:
        """Note the files that this run reads: it is outdated when they change. `PATH#a.b` is one table of a TOML file."""
        self.inputs.update({str(path): digest(str(path)) for path in paths})

    def finish(
        self,
        *,
        config: Any = None,
        losses: Mapping[str, float] | None = None,
        scores: Mapping[str, float] | None = None,
        device: str = "cpu",
        seconds: float | None = None,
        pictures: Sequence[int] = (),
        files: Sequence[str] = (),
    ) -> None:
        """Write the record, the last act of a run. `files` are paths in its folder, or below the repository."""
        record = Record(
            self.notebook,
            parameters=self.parameters,
            config={} if config is None else asdict(config),
            inputs=self.inputs,
            pictures=[int(number) for number in pictures],
            code=self.code,
            losses=dict(losses or {}),
            scores=dict(scores or {}),
            device=device,
            seconds=time.monotonic() - self.began if seconds is None else seconds,
            peak_mb=peak_mb(device),
            files=[name if "/" in name else str(self.out / name) for name in files],
        )
        write(self.out / "record.json", record)


def begin(notebook: str, namespace: Mapping[str, Any]) -> Run:
    """The run of a notebook, with its parameters from its `globals()`; ValueError for one that is unknown or of another type.

    The current folder becomes the repository's. What papermill injected is read from the cell that it adds, so that running this
    again later finds nothing new. From here on a notebook that a study runs ends when the study does (`lock.join`).
    """
    os.chdir(root())
    known = contract.parameters(notebook)
    injected = (cell for cell in namespace.get("In", []) if cell.startswith("# Parameters\n"))
    for name in (name for cell in injected for name in assigned(cell)):
        if name not in known:
            raise ValueError(f"parameter {contract.unknown(name, known)}")
    values = {name: contract.typed(namespace[name], parameter.takes, name) for name, parameter in known.items()}
    lock.join()
    return Run(notebook, plain(values), code(notebook), time.monotonic())


def assigned(source: str) -> list[str]:
    """The names that the statements of `source` assign, annotated or not."""
    found: list[str] = []
    for statement in ast.parse(source).body:
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [])
        found += [target.id for target in targets if isinstance(target, ast.Name)]
    return found


def configured(base: Config, changes: Mapping[str, Any]) -> Config:
    """The config `base` with the fields in `changes` set, as their types want them; a field that is a config takes a table.

    The device "auto" becomes the one that it means here.
    """
    known: dict[str, Any] = {one.name: one.type for one in fields(base)}  # type: ignore[arg-type]
    changed: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            raise ValueError(contract.unknown(name, known))
        old, kind = getattr(base, name), known[name]
        if is_dataclass(old) and not isinstance(old, type):
            changed[name] = configured(old, contract.typed(value, "dict", name))
        else:
            changed[name] = contract.typed(value, kind.__name__ if isinstance(kind, type) else str(kind), name)
    if changed.get("device", getattr(base, "device", "")) == "auto":
        from heads.surface import sdf

        changed["device"] = str(sdf.device("auto"))
    return replace(base, **changed)  # type: ignore[type-var]


# ---- digests


@functools.cache
def code(notebook: str) -> str:
    """A digest of the code that decides what a notebook writes: its cells and what they import (contract.closure).

    Comments, docstrings, prose and layout do not count, nor does what draws, but for the notebook of a table: it keeps pictures.
    """
    drawing = "study" in contract.parameters(notebook)
    source = contract.NOTEBOOKS / f"{notebook}.py"
    found = hashlib.blake2b(_dumped("\n".join(contract.cells(source)), source), digest_size=8)
    for path in contract.closure(notebook, drawing):
        found.update(_code(path))
    return found.hexdigest()


@functools.cache
def _code(path: Path) -> bytes:
    return _dumped(path.read_text(encoding="utf-8"), path)


def _dumped(source: str, path: Path) -> bytes:
    tree = contract.parsed(source, path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]  # type: ignore[attr-defined]
    return ast.dump(tree).encode()


def digest(path: str) -> str:
    """A digest of a file, of one table of a TOML file (`PATH#scenes.ada`), or of a folder's names; empty where nothing is."""
    name, _, key = (path, "", "") if os.path.exists(path) else path.rpartition("#")
    try:
        status = os.stat(name)
    except OSError:
        return ""
    return _digest(name, key, status.st_mtime_ns, status.st_size)


@functools.cache
def _digest(name: str, key: str, *_: int) -> str:
    path = Path(name)
    names = sorted(one.name for one in path.iterdir() if one.name[0] != ".") if path.is_dir() else []
    content = "/".join(names).encode() if path.is_dir() else path.read_bytes()
    if key:
        with suppress(
            ValueError, AttributeError, RecursionError
        ):  # where it is no such TOML, all of it counts: its reader says why
            table: Any = tomllib.loads(content.decode("utf-8-sig"))
            for part in key.split(".", 1):
                table = table.get(part, {})
            content = json.dumps(table, sort_keys=True, default=str).encode()
    return hashlib.blake2b(content, digest_size=8).hexdigest()
