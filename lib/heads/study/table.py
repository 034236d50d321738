"""A study's records as tables: one row a run, one a trial, and the seconds of each stage."""

from pathlib import Path
from typing import TYPE_CHECKING

from heads import files
from heads.study import records
from heads.study.plan import Study
from heads.study.records import Record
from heads.study.status import executed

if TYPE_CHECKING:
    import pandas as pd

TRIALS = ("subject", "prior", "views", "loss", "rgb", "mask", "fitted", "judged")  # of results/STUDY_trials.csv


def table(study: Study) -> "pd.DataFrame":
    """One row for each run that the study asks for, in its order: what varies, how it ended, whatever scores there are, its cost.

    A run that is not done yet has the status missing.
    """
    import pandas as pd

    rows = []
    for fit in study.stage("fit"):
        made, scored = (_record(job.record) for job in (fit, study.score_of(fit)))
        failed = next((one for one in (made, scored) if one.status != "ok"), scored)
        row = fit.row | {"status": failed.status, "reason": failed.reason}
        row |= {name: _rounded(value, 4) for name, value in scored.scores.items()}
        row |= {"seconds": _rounded(made.seconds, 1), "peak_mb": _rounded(made.peak_mb, 0), "device": made.device}
        row |= {"commit": made.commit} | {
            name: _rounded(value, 6) for name, value in made.losses.items() if name.endswith("_loss")
        }
        rows.append(row)
    asked = dict.fromkeys(name for fit in study.stage("fit") for name in fit.row)  # a parameter may vary for one method alone
    last = ["seconds", "peak_mb", "device", "commit"]
    columns = list(dict.fromkeys([*asked, *(name for row in rows for name in row)]))
    losses = [name for name in columns if name.endswith("_loss")]
    return pd.DataFrame(rows, columns=[name for name in columns if name not in (*last, *losses)] + last + losses)


def _record(path: Path) -> Record:
    return records.read(path) if path.is_file() else Record("", "missing", "not run yet", device="", commit="", peak_mb=None)


def _rounded(value: float | None, digits: int) -> float:
    return float("nan") if value is None else round(value, digits)


def trials(study: Study) -> "pd.DataFrame":
    """The trials of a study, a row for each subject and prior, of the choices that were made; the rest is in their records.

    `fitted` and `judged` are the numbers of the photographs, `views` is how many there are.
    """
    import pandas as pd

    found = [pd.DataFrame(columns=list(TRIALS))]
    for job in study.stage("choose"):
        if job.record.is_file() and records.read(job.record).status == "ok":
            path = job.folder / "trials.csv"
            if not path.is_file():
                raise FileNotFoundError(f"{path}: there are no such trials; run the study again")
            columns = [name for name in TRIALS if name not in ("subject", "views")]
            rows = files.table(path, columns, "a table of trials", dtype=dict.fromkeys(("prior", "fitted", "judged"), str))
            found.append(rows.assign(subject=job.row["subject"], views=job.row["views"])[list(TRIALS)].round(6))
    return pd.concat(found[1:] or found, ignore_index=True)


def stage_seconds(study: Study) -> dict[str, list[float]]:
    """For each notebook, the seconds of each of its runs, whenever that was: papermill notes them in the executed notebooks."""
    taken: dict[str, list[float]] = {}
    for job in study.jobs.values():
        if (seconds := executed(job.log).get("duration")) is not None:
            taken.setdefault(job.notebook, []).append(float(seconds))
    return dict(sorted(taken.items()))
