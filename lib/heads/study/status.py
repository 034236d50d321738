"""How far a study has got: what is done, and what `make study` would run and why."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from heads import files
from heads.study import lock, records
from heads.study.plan import Job, Study

STATES = ("done", "running", "failed", "outdated", "missing")


@dataclass(frozen=True)
class JobState:
    """One job of a study: its notebook as stage, name, state, the seconds it took or has run for, and why it is run again."""

    stage: str
    name: str
    state: str
    seconds: float | None
    why: str


@dataclass(frozen=True)
class Left:
    """What is left to do: an estimate of the seconds of work, and the stages without a finished job to estimate from."""

    seconds: float
    unknown: list[str]

    def told(self, side_by_side: int) -> str:
        parts = [f"about {self.seconds / side_by_side / 60:.0f} minutes with {side_by_side} side by side"]
        parts = parts if self.seconds or not self.unknown else []
        return ", and ".join(parts + ([f"{', '.join(self.unknown)}, of which none has finished yet"] if self.unknown else []))


def of(study: Study) -> list[JobState]:
    """The jobs of a study in its order, as their records and executed notebooks tell."""
    found, (running, since) = [], lock.holder() or ("", 0.0)
    to_run = outdated(study)
    for job in study.jobs.values():
        noted = executed(job.log)
        seconds = noted.get("duration")
        state, why = to_run.get(job.name, ("done", ""))
        if state != "done":
            now = Path(running).resolve() == Path(study.path).resolve() and began(noted) >= since and seconds is None
            state, seconds = ("running", time.time() - began(noted)) if now else (state, seconds if state == "failed" else None)
        found.append(JobState(job.notebook, job.name, state, None if seconds is None else float(seconds), why))
    return found


def outdated(study: Study) -> dict[str, tuple[str, str]]:
    """The jobs that `make study` runs, in its order, each with its state (missing, failed, outdated) and the reason.

    A job is run again when its record is not whole, when its parameters, its code or a file that it used have changed, or when a
    job that it waits for is run; except where that one only looks at files which somebody else made.
    """
    found: dict[str, tuple[str, str]] = {}
    for job in study.jobs.values():
        state, why = ended(job)
        for name in job.after:
            if state == "done" and name in found and not (study.jobs[name].looks and found[name][0] != "missing"):
                state, why = "outdated", f"{name} has to be run"
        if state != "done":
            found[job.name] = (state, why)
    return found


def ended(job: Job) -> tuple[str, str]:
    """How a job ended by itself: done, missing, failed, or outdated; and why."""
    if not job.record.is_file():
        return "missing", ""
    try:
        record = records.read(job.record)
    except ValueError as error:
        return "failed", str(error)
    if record.status != "ok":
        return "failed", record.reason or f"{job.record}: the run failed without a reason"
    if gone := next((file for file in record.files if not os.path.exists(file)), None):
        return "failed", f"{files.line(gone, 200)} is gone"
    wanted = files.plain(job.all_parameters)
    if differ := [name for name in wanted if record.parameters.get(name) != wanted[name]]:
        return "outdated", f"{differ[0]} is now {files.shown(wanted[differ[0]])}"
    if record.code != records.code(job.notebook):
        return "outdated", "its code has changed"
    if changed := [path for path, digest in record.inputs.items() if records.digest(path) != digest]:
        return "outdated", f"{files.line(changed[0], 200)} has changed"
    return "done", ""


def executed(path: Path) -> dict[str, Any]:
    """What papermill notes in an executed notebook: `start_time`, `duration` (None while it runs); empty where there is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["metadata"]["papermill"])
    except (OSError, ValueError, KeyError, TypeError):  # or an empty file, where a job was not run for a failure before it
        return {}


def began(noted: Mapping[str, Any]) -> float:
    """When an executed notebook was begun (`time.time`), as papermill notes in it; 0 where it notes nothing."""
    return datetime.fromisoformat(noted["start_time"]).timestamp() if noted else 0.0


def stages(jobs: Sequence[JobState]) -> dict[str, tuple[dict[str, int], float | None]]:
    """For each stage, how many of its jobs are in each state, and the median seconds of those done, None where none is."""
    found = {}
    for stage in sorted({job.stage for job in jobs}):
        counts = {state: sum((job.stage, job.state) == (stage, state) for job in jobs) for state in STATES}
        taken = [job.seconds for job in jobs if (job.stage, job.state) == (stage, "done") and job.seconds is not None]
        found[stage] = (counts, median(taken) if taken else None)
    return found


def left(jobs: Sequence[JobState]) -> Left:
    """What is left, taking each job for as long as the others of its stage; those that failed are done again."""
    each = {stage: seconds for stage, (_, seconds) in stages(jobs).items()}
    seconds = 0.0
    for job in jobs:
        if job.state != "done":
            seconds += max(0.0, (each[job.stage] or 0.0) - ((job.seconds or 0.0) if job.state == "running" else 0.0))
    known = {stage for stage, found in each.items() if found is not None}
    known |= {stage for stage in each if all(job.state in ("done", "failed") for job in jobs if job.stage == stage)}
    return Left(seconds, sorted(set(each) - known))


def text(study: Study, side_by_side: int) -> str:
    """The state of a study for a terminal, with what is left if so many jobs run side by side."""
    jobs = of(study)
    lines = [f"{'stage':<16}" + "".join(f"{state:>9}" for state in STATES) + f"{'s each':>8}"]
    for stage, (counts, seconds) in stages(jobs).items():
        each = "" if seconds is None else f"{seconds:.0f}"
        lines.append(f"{stage:<16}" + "".join(f"{n:>9}" for n in counts.values()) + f"{each:>8}")
    told = f", {left(jobs).told(side_by_side)}" if to_run(jobs) else ""
    lines += ["", f"to run: {to_run(jobs)} of {len(jobs)} jobs{told}"]
    lines += [f"running: {job.name}, for {job.seconds:.0f} s" for job in jobs if job.state == "running"]
    lines += [f"{job.state}: {job.name}: {job.why}" for job in jobs if job.state in ("failed", "outdated")]
    return "\n".join(lines)


def to_run(jobs: Sequence[JobState]) -> int:
    """The number of jobs that are not done."""
    return sum(job.state != "done" for job in jobs)
