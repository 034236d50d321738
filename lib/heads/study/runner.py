"""Runs notebooks and whole studies: what is missing or outdated of them, and nothing else."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from heads import files
from heads.study import contract, lock, plan, records, status, warm
from heads.study.plan import Job, Study
from heads.study.records import Record

DEMO = Path("runs/demo")  # where a notebook that runs alone keeps everything
TO_RUN = Path("runs/.to_run")  # the names of the jobs that the running study has to run, for the Snakefile


def say(sentence: str, code: int = 1) -> int:
    print(sentence, file=sys.stderr, flush=True)
    return code


# ---- notebooks


def run_notebook(
    source: Path, output: Path, parameters: dict[str, object], record: Path | None, after: list[Path], soft: bool
) -> int:
    """Run one notebook and leave a record in any case but a crash; a failure among `after` is passed on without a kernel."""
    label = output.with_suffix("").as_posix().partition("/notebooks/")[2] or output.stem
    for path in after:
        earlier = records.read(path)
        if earlier.status == "failed":
            if record is not None:
                records.write(record, Record(source.stem, "failed", earlier.reason, parameters, peak_mb=None))
            return say(f"{label}: not run: {earlier.reason}", 0 if soft else 1)

    from heads.study import notebooks

    lock.join()
    find_home()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    written = record.stat().st_mtime_ns if record is not None and record.exists() else None
    began = time.monotonic()
    try:
        notebooks.execute(source, output, parameters)
    except notebooks.Failed as failure:
        if record is not None:
            spent = time.monotonic() - began
            records.write(record, Record(source.stem, "failed", str(failure), parameters, seconds=spent, peak_mb=None))
        return say(f"{label}: failed: {failure} (see {output})", 0 if soft and record is not None else 1)
    if record is not None and (not record.exists() or record.stat().st_mtime_ns == written):
        raise RuntimeError(f"{source}: it ended without an error, but did not write {record}; do its parameters say so?")
    return say(f"{label}: {time.monotonic() - began:.0f} s", 0)


def first(notebook: str, wanted: Path | str, **parameters: object) -> None:
    """For a notebook that runs alone: let another one, with its defaults, make the demonstration's file or folder `wanted`."""
    if Path(wanted).exists() or DEMO not in Path(wanted).parents:
        return
    from heads.study import notebooks

    name = ".".join(map(str, (notebook, *parameters.values())))
    notebooks.execute(Path("notebooks", f"{notebook}.py"), DEMO / "notebooks" / f"{name}.ipynb", parameters)


def check_study(path: Path) -> int:
    """Check a study and every value that it sets for jobs that have to be run; ValueError says what is wrong."""
    study = plan.read(path)
    try:
        check(study.jobs[name] for name in status.outdated(study))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return 0


def check(jobs: Iterable[Job]) -> None:
    """Run the cells of each job's notebook up to its settings, so that a wrong value costs no work; ValueError names the job."""
    tried = set()
    for job in jobs:
        own = {key: value for key, value in job.parameters.items() if key not in ("out", "root", "subject", "head", "seed")}
        if (key := (job.notebook, json.dumps(own, sort_keys=True))) in tried:
            continue
        tried.add(key)
        namespace: dict[str, Any] = {}
        for cell in contract.cells(contract.NOTEBOOKS / f"{job.notebook}.py"):
            settled = "parameters" in namespace
            try:
                exec(compile(cell, job.notebook, "exec"), namespace)
            except ValueError as error:
                raise ValueError(f"{job.name}: {error}") from None
            except Exception as error:  # of a notebook that somebody is writing
                raise ValueError(f"{job.name}: {job.notebook}: {type(error).__name__}: {files.reason(error)}") from None
            if settled:
                break
            if 'tags=["parameters"]' in cell.split("\n", 1)[0]:
                namespace |= files.plain(job.parameters) | {"parameters": True}


# ---- studies


def run_study(path: Path, cores: str | None, profile: str) -> int:
    """Run what is missing or outdated of a study; prints what each stage took and a line for each run that failed.

    The exit code is 0, or 3 when the table is there but has rows that failed, or 1 when it is not.
    """
    study = plan.read(path)
    for folder in ("runs", "results", "figures"):
        writable(Path(folder))
    find_home()
    with lock.held(str(path)):
        sweep(study)
        to_run = status.outdated(study)
        began = time.time()
        code, said = _run_jobs(study, list(to_run), cores, profile) if to_run else (0, "")
    report(study, time.time() - began)
    failed = failures(study)
    for line in failed:
        say(line)
    if code and not any(job.log.is_file() and job.log.stat().st_mtime > began for job in study.jobs.values()):
        say(f"Snakemake ended with code {code} before any job began:\n{_logged(began)}\n{said}".strip())
    elif code and not failed:
        say(f"Snakemake ended with code {code}; the executed notebooks are in runs/{study.name}/notebooks")
    return 1 if code else 3 if failed else 0


def _run_jobs(study: Study, to_run: list[str], cores: str | None, profile: str) -> tuple[int, str]:
    """Try the settings of these jobs of a study, then run them; what Snakemake ended with, and its last lines."""
    # in a process of its own, for it imports torch, which this one would keep for hours; and one that inherits no lock from it
    checked = subprocess.run([sys.executable, "-m", "heads", "check", study.path], stderr=subprocess.PIPE, text=True)
    if checked.returncode:
        raise ValueError(
            checked.stderr.strip().splitlines()[-1] if checked.stderr.strip() else f"{study.path}: cannot be checked"
        )
    with files.replacing(TO_RUN) as partial:
        partial.write_text("\n".join(to_run), encoding="utf-8")
    snakemake = [sys.executable, "-m", "snakemake", "--profile", profile, "--config", f"study={study.path}", f"jobs={TO_RUN}"]
    snakemake += ["--forceall", *(["--cores", cores] if cores else [])]
    sources = {contract.NOTEBOOKS / f"{study.jobs[name].notebook}.py" for name in to_run}
    modules = warm.imported([source.read_text(encoding="utf-8") for source in sorted(sources)])
    with warm.kernels(modules) if len(to_run) > 1 else nullcontext():  # for one, a plain kernel costs less than the server
        return _snakemake(snakemake)


def _snakemake(command: list[str]) -> tuple[int, str]:
    """Run Snakemake; its exit code, and the last lines that it wrote to stderr."""
    environment = {name: value for name, value in os.environ.items() if name != "H3DS_TOKEN"}  # a cluster would keep it
    if any(Path(".snakemake/locks").glob("*")):  # left by a run that was killed, for no other holds our own lock
        unlocked = subprocess.run([*command, "--unlock"], env=environment, capture_output=True, text=True)
        if unlocked.returncode:
            raise RuntimeError(f"Snakemake cannot begin: {files.line(unlocked.stderr, most=1000)}")
    last: list[str] = []
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        while process.returncode is None:
            with suppress(KeyboardInterrupt):  # which Snakemake gets as well, and ends its jobs
                for line in process.stderr or ():
                    sys.stderr.write(line)
                    sys.stderr.flush()
                    last = [*last[-19:], line]
                process.wait()
    return process.returncode, "".join(last).strip()


def _logged(since: float) -> str:
    """The last lines of Snakemake's own log, where it wrote one since then."""
    logs = [path for path in Path(".snakemake/log").glob("*.log") if path.stat().st_mtime > since]
    return "\n".join(logs[-1].read_text(encoding="utf-8", errors="replace").splitlines()[-20:]) if logs else ""


def show_study(path: Path) -> int:
    """Print the jobs of a study, and which of them would be run, and why; nothing is run, and no data need be there."""
    study = plan.read(path)
    jobs = status.of(study)
    print(f"{path}: subjects {', '.join(study.subjects)}\n")
    print(f"{'stage':<16}{'jobs':>6}{'done':>6}{'to run':>8}")
    for stage, (counts, _) in status.stages(jobs).items():
        total = sum(counts.values())
        print(f"{stage:<16}{total:>6}{counts['done']:>6}{total - counts['done']:>8}")
    asked: dict[str, dict[str, list[str]]] = {}
    for fit in study.stage("fit"):
        row = {key: value for key, value in fit.row.items() if value not in ("", None)}
        subject, views, seed = (row.pop(key, None) for key in ("subject", "views", "seed"))
        what = row.pop("method") + (f" from {row.pop('prior')}" if "prior" in row else "")
        what += "".join(f", {value}" if key == "name" else f", {key} {value}" for key, value in row.items())
        number = f"{views or ''}{f' (seed {seed})' if 'seed' in fit.parameters else ''}".strip()
        asked.setdefault(what, {}).setdefault(number, []).append(str(subject))
    fits = len(study.stage("fit"))
    print(f"\n{fits} fits:")
    for what, numbers in asked.items():
        people = list(dict.fromkeys(name for names in numbers.values() for name in names))
        of = "" if people == study.subjects else f" of {', '.join(people)}"
        print(f"  {what:<{max(map(len, asked))}}  {'views ' * any(numbers)}{', '.join(numbers)}{of}".rstrip())
    for job in study.stage("choose")[:1]:
        print(f"\na choice for each subject among {', '.join(Path(folder).name for folder in job.parameters['priors'])}")
    print(f"\nto run: {status.to_run(jobs)} of {len(jobs)} jobs")
    for one in [one for one in jobs if one.why][:20]:
        print(f"  {one.name}: {one.state}, {one.why}")
    return 0


def writable(folder: Path) -> None:
    """OSError where a study could not write to the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise OSError(
            f"{folder}/: cannot be written to ({error.strerror}); a study writes to runs/, results/ and figures/"
        ) from None


def find_home() -> None:
    """Where the home folder cannot be written, as in some containers, let runs/.home serve as one."""
    home = Path(os.environ.get("HOME", "/"))
    for name, folder in {"HOME": home, "XDG_CACHE_HOME": Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")}.items():
        if not _can_write(folder):
            os.environ[name] = str(Path("runs", ".home").absolute() / ("" if name == "HOME" else ".cache"))
            Path(os.environ[name]).mkdir(parents=True, exist_ok=True)


def _can_write(folder: Path) -> bool:
    try:
        writable(folder)
    except OSError:
        return False
    return True


def sweep(study: Study) -> None:
    """Remove what was half written when something was killed; nobody else writes as long as the lock is held."""
    for folder in (Path("runs", study.name), Path("results"), Path("figures", study.name)):
        for path in (*folder.rglob("*.part"), *folder.rglob(".*.old")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def failures(study: Study) -> list[str]:
    """A line for each run of the study that has no score, and for each choice of a prior that was not made."""
    lines = []
    for job in study.stage("score", "choose"):
        name = job.name.removeprefix("score/")
        if not job.record.is_file():
            lines.append(f"not finished: {name} (see runs/{study.name}/notebooks)")
        elif (record := records.read(job.record)).status != "ok":
            lines.append(f"failed: {name}: {record.reason}")
    return lines


def report(study: Study, spent: float) -> None:
    """Print what each stage took, from the executed notebooks, whenever they ran."""
    from heads.study import table

    print(f"\n{'stage':<16}{'runs':>6}{'seconds':>10}")
    for stage, seconds in table.stage_seconds(study).items():
        print(f"{stage:<16}{len(seconds):>6}{sum(seconds):>10.0f}")
    print(f"this time: {spent:.0f} s from start to end\n", flush=True)
