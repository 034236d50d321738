"""Everything that touches runs/ and results/: where the repository is, parameters, records, checkpoints, progress, the table.

Files are written whole or not at all: beside their place first, then moved there. torch and pandas are imported only by the
functions that need them, because the runner of the notebooks, one process a job, needs neither.
"""

import ast
import hashlib
import importlib.util
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

import tqdm

from heads import files
from heads.study import lock
from heads.study.plan import Study, unknown

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from heads.surface.training import OnStep

Job = TypeVar("Job")
Config = TypeVar("Config")

METRICS = ("face_toolbox_mm", "head_toolbox_mm", "face_rigid_mm", "head_rigid_mm")
ASKED = ("subject", "method", "prior", "views", "seed", "preset")
LOSSES = ("trial_loss", "final_loss")  # of a fit to its photographs: after a fifth of its steps, and at its end
COLUMNS = (*ASKED[:5], "status", "reason", *METRICS, "seconds", "peak_mb", "device", "commit", "preset", "carry", *LOSSES)

TRIALS = ("subject", "prior", "views", "loss", "rgb", "mask", "fitted", "judged")  # of results/STUDY_trials.csv


def root() -> Path:
    """The repository: the nearest folder, from the current one upwards, that has a Snakefile; or a clone below; or here."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents, here / "heads") if (folder / "Snakefile").is_file()), here)


# ---- parameters


def parameters(namespace: Mapping[str, Any], job: type[Job]) -> Job:
    """The notebook's parameters, out of its `globals()`, as a job; ValueError for one that is ill-typed or unknown to the job.

    What papermill injected is read from the cell that it adds, so that running this again later finds nothing new. From here on a
    notebook that a study runs ends with it (`lock.join`).
    """
    known = {f.name for f in fields(job)}  # type: ignore[arg-type]
    injected = (cell for cell in namespace.get("In", []) if cell.startswith("# Parameters\n"))
    for name in (name for cell in injected for name in assigned(cell)):
        if name not in known:
            raise ValueError(f"parameter {unknown(name, known)}")
    hints = get_type_hints(job)
    lock.join()
    return job(**{name: coerced(namespace[name], hints[name], name) for name in known})


def assigned(source: str) -> list[str]:
    """The names that the statements of `source` assign, annotated or not."""
    found: list[str] = []
    for statement in ast.parse(source).body:
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [])
        found += [target.id for target in targets if isinstance(target, ast.Name)]
    return found


def configured(base: Config, overrides: Mapping[str, Any]) -> Config:
    """The config `base` with the fields in `overrides` set, as their types want them; a field that is a config takes a table.

    The device "auto" becomes the one that it means here.
    """
    hints = get_type_hints(type(base))
    changed = {}
    for name, value in overrides.items():
        if name not in hints:
            raise ValueError(f"overrides: {unknown(name, hints)}")
        old = getattr(base, name)
        changed[name] = configured(old, coerced(value, dict, name)) if is_dataclass(old) else coerced(value, hints[name], name)
    if changed.get("device", getattr(base, "device", "")) == "auto":
        from heads.surface import sdf

        changed["device"] = str(sdf.device("auto"))
    return replace(base, **changed)  # type: ignore[type-var]


def coerced(value: Any, kind: Any, name: str) -> Any:
    """`value` as `kind`: str, bool, int, float, dict, list[...] or tuple[..., ...].

    YAML 1.1 and papermill bring 1e-3 as text, and 3.0 where 3 is meant.
    """
    origin = get_origin(kind) or kind
    number = not isinstance(value, bool) and isinstance(value, int | float | str)
    if origin in (list, tuple) and isinstance(value, list | tuple):
        return origin(coerced(item, get_args(kind)[0], name) for item in value)
    try:
        if origin is float and number and math.isfinite(float(value)):
            return float(value)
        if origin is int and number and float(value) == int(float(value)):
            return int(value) if isinstance(value, int) else int(float(value))
        if origin in (str, bool, dict) and isinstance(value, origin):
            return value
    except (ValueError, OverflowError):
        pass
    words = {str: "text", bool: "true or false", int: "a whole number", float: "a number", dict: "a table"}
    raise ValueError(f"{name}: expected {words.get(origin, 'a list')}, not {value!r}")


# ---- records


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


@dataclass(frozen=True)
class Record:
    """What a run leaves behind: how it ended, what was asked and used, what it cost, and its scores; `files` lie beside it."""

    stage: str
    status: str = "ok"  # or failed
    reason: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    device: str = "cpu"
    commit: str = field(default_factory=commit)
    seconds: float | None = None
    peak_mb: float | None = field(default_factory=peak_mb)
    files: list[str] = field(default_factory=list)


def write_json(path: Path, value: Any) -> None:
    """Write tables, lists, numbers and text as JSON; a number that is none (NaN, infinite) becomes null."""
    text = json.dumps(_plain(value), indent=1, allow_nan=False)
    with files.replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def write_record(path: Path, record: Record) -> None:
    """Write a record as JSON."""
    write_json(path, asdict(record))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_record(path: Path) -> Record:
    """Read a record; ValueError names the file where it is none."""
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
                raise ValueError(f"{files.shown(value)} is no number")
        return record
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such record; the stage before this one has not been run") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: not a record of a run ({files.reason(error)}); delete it and run the study again") from None


# ---- checkpoints


def save_checkpoint(path: Path, tensors: Mapping[str, "Tensor"], about: Mapping[str, Any]) -> None:
    """Write named tensors and, in the same file's header, what they are, as JSON (safetensors)."""
    import safetensors.torch

    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    packed = safetensors.torch.save(whole, metadata={"about": json.dumps(_plain(dict(about)))})
    with files.replacing(path) as partial:
        partial.write_bytes(packed)


def load_checkpoint(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Tensors and description of a checkpoint; ValueError names the file when it is cut short or none. No pickle is read."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such checkpoint; the run that makes it has not been done, or failed")
    try:
        return _read_checkpoint(path)
    except ValueError as error:
        raise ValueError(f"{error}; delete it and run again") from None


def unfinished(path: Path, about: Mapping[str, Any]) -> "dict[str, Tensor] | None":
    """The state that `progress` saved of the same fit, if it was interrupted; None where there is none, or it is another's.

    One that cannot be read is said and left: the fit begins anew, and writes over it.
    """
    if not path.is_file():
        return None
    try:
        tensors, found = _read_checkpoint(path)
    except ValueError as error:
        print(f"{error}: what it was of begins anew", flush=True)
        return None
    return tensors if found == _plain(dict(about)) else None


def _read_checkpoint(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    import safetensors

    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, dict(about)  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path}: not a checkpoint, or cut short ({files.reason(error)})") from None


def digest(*values: object) -> str:
    """Sixteen digits for all tensors in these dataclasses, tables and lists; in `about`, a fit goes on with no others."""
    import torch

    found = hashlib.blake2b(digest_size=8)

    def add(value: object) -> None:
        if isinstance(value, torch.Tensor):
            found.update(value.detach().cpu().contiguous().numpy().tobytes())
        elif isinstance(value, Mapping):
            add([value[key] for key in sorted(value)])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        elif is_dataclass(value):
            add(vars(value))

    add(values)
    return found.hexdigest()


# ---- progress


def progress(
    label: str,
    *,
    every_s: float = 10.0,
    checkpoint: Path | None = None,
    about: Mapping[str, Any] | None = None,
    checkpoint_s: float = 10.0,
) -> "OnStep":
    """An `on_step` for a fit: a bar in a terminal, elsewhere a line every `every_s` seconds, later more seldom, with an estimate.

    With `checkpoint`, the fit's state is also saved there every `checkpoint_s` seconds, and its losses go to TensorBoard's event
    files in a folder beside it, where TensorBoard is installed.
    """
    began = saved = time.monotonic()
    due, first = 0.0, 0
    note = events(checkpoint.parent / "tensorboard") if checkpoint is not None else None
    bar = tqdm.tqdm(desc=label, unit="step", file=sys.stderr) if sys.stderr.isatty() else None

    def on_step(step: int, total: int, terms: dict[str, float], state: Callable[[], dict[str, "Tensor"]]) -> None:
        nonlocal due, saved, first
        now = time.monotonic()
        first = first or step
        if note is not None:
            note(terms, step == total)
        if checkpoint is not None and now - saved > checkpoint_s and step < total:
            save_checkpoint(checkpoint, state(), about or {})
            saved = now
        if bar is not None:
            bar.total = total
            bar.update(step - bar.n)
            if step == total:
                bar.close()
        elif now - began >= due or step == total:
            spent = now - began
            due = spent + max(every_s, 0.1 * spent)  # a fit of ten hours leaves about seventy lines
            shown = ", ".join(f"{name} {value:.3g}" for name, value in terms.items() if name not in ("step", "epoch"))
            left = f", about {spent / (step - first) * (total - step):.0f} s left" if first < step < total else ""
            sys.stdout.write(f"{label}: {step}/{total} steps, {spent:.0f} s{left}, {shown}\n")
            sys.stdout.flush()

    return on_step


def events(folder: Path) -> "Callable[[Mapping[str, float], bool], None] | None":
    """What writes each row of losses once to event files in `folder`, and closes them at the end; None without TensorBoard."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    writer: SummaryWriter | None = None
    last = -1.0

    def note(row: Mapping[str, float], ended: bool) -> None:
        nonlocal writer, last
        if row.get("step", last) > last:
            last = row["step"]
            # of an earlier call that was interrupted, what comes after this step counts no more
            writer = writer or SummaryWriter(folder, purge_step=int(last))  # type: ignore[no-untyped-call]
            for name, value in row.items():
                if name not in ("step", "epoch"):
                    writer.add_scalar(name, value, int(last))  # type: ignore[no-untyped-call]
        if ended and writer is not None:
            writer.close()  # type: ignore[no-untyped-call]

    return note


# ---- the table


def table(study: Study) -> "pd.DataFrame":
    """The records of a study, one row for each run it asks for, in its order; a run not done yet has the status missing."""
    import pandas as pd

    rows = []
    for fit in study.fit_jobs():
        path = root() / study.score_job(fit).record
        record = read_record(path) if path.is_file() else Record("04_evaluate", "missing", "not run yet", commit="", peak_mb=None)
        row = {name: getattr(fit, name) for name in ("subject", "method", "prior", "views", "seed", "preset")}
        row |= {name: getattr(record, name) for name in ("status", "reason", "device", "commit")}
        row |= {name: _rounded(record.scores.get(name), 4) for name in METRICS}
        row |= {"seconds": _rounded(record.seconds, 1), "peak_mb": _rounded(record.peak_mb, 0)}
        row |= {"carry": " ".join(fit.carry)} | {name: _rounded(record.losses.get(name), 6) for name in LOSSES}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def photograph_losses(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The loss of a fit's photographs, rgb + 100 mask: its mean over 15 to 25 % of the steps, a trial, and over the last tenth.

    `history` has rows with step, rgb and mask; NaN where a fit is so short that none falls there.
    """
    steps = history[-1]["step"] + 1 if history else 0.0

    def mean(first: float, last: float) -> float:
        losses = [row["rgb"] + 100 * row["mask"] for row in history if first * steps <= row["step"] < last * steps]
        return sum(losses) / len(losses) if losses else math.nan

    return {"trial_loss": mean(0.15, 0.25), "final_loss": mean(0.9, 1.0)}


def trials(study: Study) -> "pd.DataFrame":
    """The trials of a study, a row for each subject and prior, of the choices that were made; the rest is in their records.

    `fitted` and `judged` are the numbers of the photographs, `views` is how many there are.
    """
    import pandas as pd

    found = [pd.DataFrame(columns=list(TRIALS))]
    for job in study.choose_jobs():
        path = root() / job.record
        if path.is_file() and read_record(path).status == "ok":
            rows = read_trials(root() / job.folder / "trials.csv", TRIALS[1:2] + TRIALS[3:])
            found.append(rows.assign(subject=job.subject, views=job.views)[list(TRIALS)].round(6))
    return pd.concat(found[1:] or found, ignore_index=True)


def read_trials(path: Path, columns: Sequence[str] = TRIALS) -> "pd.DataFrame":
    """Read trials with these columns; FileNotFoundError or ValueError names the file."""

    if not path.is_file():
        raise FileNotFoundError(f"{path}: there are no such trials; `make study` writes them")
    text = ("subject", "prior", "fitted", "judged")
    rows = files.table(path, columns, "a table of trials", dtype=dict.fromkeys(text, str))
    if rows.empty or rows["loss"].dtype.kind not in "fi" or not rows["loss"].map(math.isfinite).all():
        raise ValueError(f"{path}: a row for each trial, and a loss in each, were expected")
    return rows


def stage_seconds(study: Study) -> dict[str, list[float]]:
    """For each stage, the seconds of each of its runs, whenever that was: papermill notes them in the executed notebooks."""
    taken: dict[str, list[float]] = {}
    for path in sorted((root() / "runs" / study.name / "notebooks").glob("*.ipynb")):
        if (seconds := executed(path).get("duration")) is not None:
            taken.setdefault(path.name.split(".")[0], []).append(float(seconds))
    return taken


def executed(path: Path) -> dict[str, Any]:
    """What papermill notes in an executed notebook: `start_time`, `duration` (None while it runs); empty where there is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["metadata"]["papermill"])
    except (OSError, ValueError, KeyError, TypeError):  # or an empty file, where a job was not run for a failure before it
        return {}


def _rounded(value: float | None, digits: int) -> float:
    return float("nan") if value is None else round(value, digits)


def write_table(path: Path, rows: "pd.DataFrame") -> None:
    """Write a table as CSV."""
    with files.replacing(path) as partial:
        rows.to_csv(partial, index=False)


def read_table(path: Path) -> "pd.DataFrame":
    """Read a study's table; FileNotFoundError or ValueError names the file."""

    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such table; `make study` writes it")
    text = ["subject", "method", "prior", "status", "reason", "device", "commit", "preset", "carry"]
    empty = {name: [""] for name in (*METRICS, "seconds", "peak_mb", *LOSSES)}
    what = "the table of a study"
    rows = files.table(path, COLUMNS, what, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=empty)
    if wrong := [name for name in (*empty, "views", "seed") if rows[name].dtype.kind not in "fi"]:
        raise ValueError(f"{path}: {what} was expected; its column {wrong[0]} has something else than numbers")
    return rows
