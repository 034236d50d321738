"""How far a study is: what is done, running, failed and missing, in lines for a terminal, and as one HTML page of the run."""

import base64
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from heads import files
from heads.study import lock
from heads.study import records as runs
from heads.study.plan import Job, Study

STATES = ("done", "running", "failed", "missing")


@dataclass(frozen=True)
class JobState:
    """One job of a study: its stage and name, its state, the seconds it took or has run for, and why it failed."""

    stage: str
    name: str
    state: str
    seconds: float | None
    why: str

    @property
    def label(self) -> str:
        return f"{self.stage}.{self.name}".rstrip(".")


@dataclass(frozen=True)
class Left:
    """What is left to do: about so many seconds of work, and the stages of which no job has ended, so that nobody knows."""

    seconds: float
    unknown: list[str]

    def told(self, side_by_side: int) -> str:
        parts = [f"about {self.seconds / side_by_side / 60:.0f} minutes with {side_by_side} side by side"]
        parts = parts if self.seconds or not self.unknown else []
        return ", and ".join(parts + ([f"{', '.join(self.unknown)}, of which none has ended yet"] if self.unknown else []))


def of(plan: Study) -> list[JobState]:
    """The jobs of a study in its order, as their records and executed notebooks tell."""
    found, (running, since) = [], lock.holder() or ("", 0.0)
    for job in plan.all_jobs():
        label = f"{job.notebook}.{job.name}".rstrip(".")
        noted = runs.executed(Path("runs", plan.name, "notebooks", f"{label}.ipynb"))
        state, why = ended(job)
        seconds = noted.get("duration")
        if state == "missing":
            now = Path(running).resolve() == Path(plan.path).resolve() and began(noted) >= since and seconds is None
            state, seconds = ("running", time.time() - began(noted)) if now else ("missing", None)
        found.append(JobState(job.notebook, job.name, state, None if seconds is None else float(seconds), why))
    return found


def began(noted: Mapping[str, Any]) -> float:
    """When an executed notebook was begun (`time.time`), as papermill notes in it; 0 where it notes nothing."""
    return datetime.fromisoformat(noted["start_time"]).timestamp() if noted else 0.0


def ended(job: Job) -> tuple[str, str]:
    """How a job ended, done or failed, and why it failed; it is missing where there is no record, or one of other parameters."""
    if not job.record.is_file():
        return "missing", ""
    if why := fault(job.record):
        return "failed", why
    used = runs.read_record(job.record).parameters  # of a score, those of its fit
    same = all(used[name] == value for name, value in asdict(job).items() if name in used)
    return ("done" if same else "missing"), ""


def fault(path: Path) -> str:
    """Why a record is not whole, in a sentence: it cannot be read, its run failed, or its files have gone; empty where it is."""
    try:
        record = runs.read_record(path)
    except ValueError as error:
        return str(error)
    if record.status != "ok":
        return record.reason or f"{path}: the run failed without a reason"
    return next((f"{files.line(file, 200)} has gone" for file in record.files if not os.path.exists(file)), "")


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
    known |= {stage for stage in each if all(job.state == "failed" for job in jobs if job.stage == stage)}
    return Left(seconds, sorted(set(each) - known))


def text(plan: Study, side_by_side: int) -> str:
    """The state of a study for a terminal, with what is left if so many jobs run side by side."""
    jobs = of(plan)
    lines = [f"{'stage':<16}" + "".join(f"{state:>8}" for state in STATES) + f"{'s each':>8}"]
    for stage, (counts, seconds) in stages(jobs).items():
        each = "" if seconds is None else f"{seconds:.0f}"
        lines.append(f"{stage:<16}" + "".join(f"{n:>8}" for n in counts.values()) + f"{each:>8}")
    lines += ["", f"left: {left(jobs).told(side_by_side)}"]
    lines += [f"running: {job.label}, for {job.seconds:.0f} s" for job in jobs if job.state == "running"]
    lines += [f"failed: {job.stage} {job.name}: {job.why}" for job in jobs if job.state == "failed"]
    return "\n".join(lines)


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ plan.name }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; white-space: nowrap }
td:last-child { white-space: normal; min-width: 12rem }
th { border-bottom: 1px solid #999 } td.n, th.n { text-align: right } .failed { color: #a30 } .wide { overflow-x: auto }
img { max-width: 100% } pre { background: #f5f5f5; padding: 1rem; overflow-x: auto }
</style>
</head>
<body>
<h1>{{ plan.name }}</h1>
<p>{{ plan.path }}, as it was on {{ now }} at {{ commit }}.
{% for state, number in totals.items() %}{{ number }} {{ state }}{{ ", " if not loop.last else "." }}{% endfor %}
{% if left %}Left: {{ left }}.{% endif %}</p>
<h2>Stages</h2>
<div class="wide"><table>
<tr><th>stage</th>{% for state in states %}<th class="n">{{ state }}</th>{% endfor %}<th class="n">seconds each</th></tr>
{% for stage, (counts, seconds) in stages.items() %}
<tr><td>{{ stage }}</td>{% for n in counts.values() %}<td class="n">{{ n }}</td>{% endfor %}
<td class="n">{{ "" if seconds is none else "%.0f" % seconds }}</td></tr>
{% endfor %}</table></div>
{% if unwell %}<h2>Failed and running</h2>
<div class="wide"><table><tr><th>job</th><th>state</th><th></th></tr>
{% for job in unwell %}<tr class="{{ job.state }}"><td><a href="notebooks/{{ job.label }}.ipynb">{{ job.label }}</a></td>
<td>{{ job.state }}</td><td>{{ job.why or "for %.0f s" % job.seconds }}</td></tr>
{% endfor %}</table></div>{% endif %}
<h2>Runs</h2>
<p>Errors in mm, as in <code>results/{{ plan.name }}.csv</code>.</p>
<div class="wide"><table>
<tr>{% for name in columns %}<th class="{{ "n" if name in numbers }}">{{ name.removesuffix("_mm") }}</th>{% endfor %}</tr>
{% for row in rows %}<tr class="{{ row.status }}">
{% for name in columns %}<td class="{{ "n" if name in numbers }}">{{ row[name] }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% for name, picture in pictures.items() %}<h2>{{ name }}</h2>
<p><img alt="{{ name }}" src="data:image/png;base64,{{ picture }}"></p>
{% endfor %}
<h2>The study</h2>
<pre>{{ yaml }}</pre>
</body>
</html>
"""
SHOWN = {"contact_sheet.png": "The heads", "losses.png": "The losses"}  # of figures/STUDY


def report(plan: Study, side_by_side: int) -> Path:
    """Write runs/STUDY/report.html, a page of the run that needs nothing beside it but the notebooks that it links."""
    import jinja2  # here, for every job imports this module and none needs that one

    jobs, table = of(plan), runs.table(plan)
    numbers = [*runs.METRICS, "views", "seed", "seconds"]
    columns = ["subject", "method", "prior", "carry", "views", "seed", "status", *runs.METRICS, "seconds", "reason"]
    shown = table[columns].astype(object)
    shown[[*runs.METRICS]] = shown[[*runs.METRICS]].map("{:.2f}".format)
    shown["seconds"] = shown["seconds"].map("{:.0f}".format)
    drawn = any((job.stage, job.state) == (plan.table_job().notebook, "done") for job in jobs)  # else they are another run's
    figures = {title: Path("figures", plan.name, file) for file, title in SHOWN.items() if drawn}
    page = (
        jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
        .from_string(PAGE)
        .render(
            plan=plan,
            now=time.strftime("%F %H:%M"),
            commit=runs.commit(),
            totals={state: sum(job.state == state for job in jobs) for state in STATES},
            left=left(jobs).told(side_by_side) if any(job.state != "done" for job in jobs) else "",
            states=STATES,
            stages=stages(jobs),
            unwell=[job for job in jobs if job.state in ("failed", "running")],
            columns=columns,
            numbers=numbers,
            rows=shown.where(table[columns].notna(), "").to_dict("records"),
            pictures={t: base64.b64encode(path.read_bytes()).decode() for t, path in figures.items() if path.is_file()},
            yaml=Path(plan.path).read_text(encoding="utf-8"),
        )
    )
    path = Path("runs", plan.name, "report.html")
    with files.replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path
