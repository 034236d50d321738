"""The command line: `python -m heads study FILE` runs a study, `status FILE` says how far it is.

`run NOTEBOOK OUT` runs one notebook, and `notebooks` makes the .ipynb.
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from heads import files
from heads.study import lock, status
from heads.study import plan as study
from heads.study import records as runs
from heads.study.records import Record


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m heads", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("study", help="run a whole study, only what is missing of it")
    command.add_argument("file", type=Path)
    command.add_argument("--cores", help="jobs side by side, where the profile's number is not wanted")
    command.add_argument("--profile", default="profiles/local", help="where the jobs run: a folder of profiles/")
    command.add_argument("--dry-run", action="store_true", help="check the study and print what it asks for, and run nothing")

    command = commands.add_parser(
        "status", help="what of a study is done, running, failed and missing, and how long the rest takes"
    )
    command.add_argument("file", type=Path)
    command.add_argument("--cores", type=side_by_side, default=2, help="jobs side by side, for the estimate")

    command = commands.add_parser("report", help="the same and all scores so far as one HTML page, runs/NAME/report.html")
    command.add_argument("file", type=Path)
    command.add_argument("--cores", type=side_by_side, default=2, help="jobs side by side, for the estimate")

    command = commands.add_parser("run", help="run one notebook, as a job of a study does")
    command.add_argument("notebook", type=Path)
    command.add_argument("output", type=Path)
    command.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter; the value as in YAML"
    )
    command.add_argument("--record", type=Path, help="the record that the notebook writes, or this command if the notebook fails")
    command.add_argument(
        "--after", type=Path, nargs="*", default=[], help="records that must be well, else this run fails for their reason"
    )
    command.add_argument("--soft", action="store_true", help="exit 0 when a cell raises and the record says so")

    commands.add_parser("notebooks", help="make notebooks/*.ipynb from their sources")

    given = parser.parse_args()
    os.chdir(runs.root())
    try:
        if given.command == "study":
            return show_study(given.file) if given.dry_run else run_study(given.file, given.cores, given.profile)
        if given.command == "status":
            print(status.text(study.read(given.file), given.cores))
            return 0
        if given.command == "report":
            print(status.report(study.read(given.file), given.cores))
            return 0
        if given.command == "run":
            values = {name: parsed(name, value) for name, value in given.p}
            return run_notebook(given.notebook, given.output, values, given.record, given.after, given.soft)
        return make_notebooks()
    except (ValueError, OSError, RuntimeError) as error:
        return say(str(error))
    except KeyboardInterrupt:
        return say("stopped", 130)


def parsed(name: str, value: str) -> object:
    """The value of a parameter, as in JSON, for which a study writes 1e-05, or as in YAML, for which that is text."""
    try:
        with suppress(json.JSONDecodeError):
            return json.loads(value)
        return yaml.safe_load(value)
    except Exception as error:  # a number or a date that is none can break the reader in many ways
        raise ValueError(f"-p {name}: {value!r} cannot be read: {files.reason(error)}") from None


def side_by_side(value: str) -> int:
    """A number of jobs, at least one; `all` is one for each core."""
    jobs = os.cpu_count() or 1 if value == "all" else int(value)
    if jobs < 1:
        raise argparse.ArgumentTypeError(f"at least one job side by side was expected, not {value}")
    return jobs


def say(sentence: str, code: int = 1) -> int:
    print(sentence, file=sys.stderr, flush=True)
    return code


# ---- notebooks


def make_notebooks() -> int:
    from heads.study import notebooks

    changed = notebooks.write_all(Path("notebooks"))
    print("\n".join(str(path) for path in changed) or "all notebooks are up to date")
    return 0


def run_notebook(
    source: Path, output: Path, parameters: dict[str, object], record: Path | None, after: list[Path], soft: bool
) -> int:
    """Run one notebook and leave a record in any case but a crash; a failure among `after` is passed on without a kernel."""
    label = f"{source.stem} {output.stem.removeprefix(source.stem).lstrip('.')}".rstrip()
    for path in after:
        earlier = runs.read_record(path)
        if earlier.status == "failed":
            if record is not None:
                runs.write_record(record, Record(source.stem, "failed", earlier.reason, parameters, peak_mb=None))
            return say(f"{label}: not run: {earlier.reason}", 0 if soft else 1)

    from heads.study import notebooks

    lock.join()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    written = record.stat().st_mtime_ns if record is not None and record.exists() else None
    began = time.monotonic()
    try:
        notebooks.execute(source, output, parameters)
    except notebooks.Failed as failure:
        if record is not None:
            spent = time.monotonic() - began
            runs.write_record(record, Record(source.stem, "failed", str(failure), parameters, seconds=spent, peak_mb=None))
        return say(f"{label}: failed: {failure} (see {output})", 0 if soft and record is not None else 1)
    if record is not None and (not record.exists() or record.stat().st_mtime_ns == written):
        raise RuntimeError(f"{source}: it ended well, but did not write {record}; do its parameters say so?")
    return say(f"{label}: {time.monotonic() - began:.0f} s", 0)


# ---- studies


def run_study(path: Path, cores: str | None, profile: str) -> int:
    """Run what is missing of a study; prints what each stage took and a line for each run that failed.

    The exit code is 0, or 3 when the table is there but has rows that failed, or 1 when it is not.
    """
    plan = study.read(path)
    check(plan)
    for folder in ("runs", "results", "figures"):
        writable(Path(folder))
    with lock.held(str(path)):
        snakemake = [sys.executable, "-m", "snakemake", "--profile", profile, "--config", f"study={path}"]
        snakemake += ["--cores", cores] if cores else []
        environment = {name: value for name, value in os.environ.items() if name != "H3DS_TOKEN"}  # a cluster would keep it
        if any(Path(".snakemake/locks").glob("*")):  # left by a run that was killed, for no other holds our own lock
            unlocked = subprocess.run([*snakemake, "--unlock"], env=environment, capture_output=True, text=True)
            if unlocked.returncode:
                raise RuntimeError(f"snakemake cannot begin: {files.line(unlocked.stderr, most=1000)}")
        sweep(plan)
        again = [str(record) for record in to_do_again(plan)]
        began = time.monotonic()
        process = subprocess.Popen([*snakemake, *(["--forcerun", *again] if again else [])], env=environment)
        while process.returncode is None:
            with suppress(KeyboardInterrupt):  # which snakemake gets as well, and ends its jobs
                process.wait()
        spent = time.monotonic() - began
    report(plan, spent)
    failed = failures(plan)
    for line in failed:
        say(line)
    if process.returncode and not failed:
        say(f"snakemake ended with code {process.returncode}; the executed notebooks are in runs/{plan.name}/notebooks")
    return 1 if process.returncode else 3 if failed else 0


def show_study(path: Path) -> int:
    """Check a study and print its jobs, how many of them are done, and its fits; nothing is run, and no data need be there."""
    plan = study.read(path)
    check(plan)
    fits = plan.fit_jobs()
    stages: dict[str, list[str]] = {}
    for job in plan.all_jobs():
        stages.setdefault(job.notebook, []).append(status.ended(job)[0])
    print(f"{path}: subjects {', '.join(plan.subjects)} of {plan.dataset}; preset {plan.preset}\n")
    print(f"{'stage':<16}{'jobs':>6}{'done':>6}")
    for stage, states in sorted(stages.items()):
        print(f"{stage:<16}{len(states):>6}{states.count('done'):>6}")
    each = sorted({sum(fit.subject == subject for fit in fits) for subject in plan.subjects})
    print(f"\n{len(fits)} fits, {' to '.join(map(str, dict.fromkeys((each[0], each[-1]))))} of each subject:")
    asked: dict[tuple[str, str], dict[int, list[int]]] = {}
    for fit in fits:
        carried = "" if set(fit.carry) == set(study.PARTS) else f", only its {' and '.join(fit.carry)}"
        what = f"{fit.method} from {fit.prior}{carried}"
        asked.setdefault((what, fit.subject), {}).setdefault(fit.views, []).append(fit.seed)
    people: dict[tuple[str, str], list[str]] = {}
    for (what, subject), seeds in asked.items():
        views = ", ".join(f"{views} (seed {', '.join(map(str, numbers))})" for views, numbers in seeds.items())
        people.setdefault((what, views), []).append(subject)
    width = max(len(what) for what, _ in people)
    for (what, views), names in people.items():
        print(f"  {what:<{width}}  views {views}{'' if len(names) == len(plan.subjects) else ' of ' + ', '.join(names)}")
    for job in plan.choose_jobs()[:1]:
        judged = (
            f"the last of {job.views} photographs held out" if job.held_out else f"judged by the {job.views} photographs used"
        )
        print(
            f"\na choice for each subject among {', '.join(job.of)}: trials of {job.share:g} of a fit, {judged} (seed {job.seed})"
        )
    return 0


def check(plan: study.Study) -> None:
    """Try the overrides of a study on the configs they are for, so that a wrong one costs no work."""
    from heads.methods import idr

    config = idr.PRESETS[plan.preset]
    tried: list[tuple[str, Any, dict[str, Any]]] = [("", config, plan.overrides)]
    for views in plan.view_sets:
        overrides = plan.overrides | views.overrides
        tried.append((f"views: {views.count}: ", config, overrides))
        for method in plan.methods:
            tried += [(f"methods: {method.name}: ", config, overrides | entry.overrides) for entry in method.entries]
    for name, prior in plan.priors.items():
        if isinstance(prior, study.ScanPrior):
            tried.append((f"priors: {name}: ", config, plan.overrides | prior.overrides))
        elif isinstance(prior, study.AutodecoderPrior):
            from heads.methods import autodecoder

            tried.append((f"priors: {name}: ", autodecoder.PRESETS[prior.preset or plan.preset], prior.overrides))
    for where, base, overrides in tried:
        try:
            runs.configured(base, overrides)
        except ValueError as error:
            raise ValueError(f"{plan.path}: {where}{error}") from None


def writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise OSError(
            f"{folder}/: cannot be written to ({error.strerror}); a study writes to runs/, results/ and figures/"
        ) from None


def sweep(plan: study.Study) -> None:
    """Remove what was half written when something was killed; nobody else writes as long as the lock is held."""
    for folder in (Path("runs", plan.name), Path("results"), Path("figures", plan.name)):
        for path in (*folder.rglob("*.part"), *folder.rglob(".*.old")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def to_do_again(plan: study.Study) -> list[Path]:
    """Records that no longer count: of failed runs, of other parameters than the study's, or without their files."""
    return [job.record for job in plan.all_jobs() if job.record.is_file() and status.ended(job)[0] != "done"]


def failures(plan: study.Study) -> list[str]:
    """A line for each run of the study that has no score, and for each choice of a prior that was not made."""
    lines = []
    asked = {fit.name: plan.score_job(fit).record for fit in plan.fit_jobs()}
    asked |= {f"choose.{job.name}": job.record for job in plan.choose_jobs()}
    for name, path in asked.items():
        if not path.is_file():
            lines.append(f"not finished: {name} (see runs/{plan.name}/notebooks)")
        elif (record := runs.read_record(path)).status != "ok":
            lines.append(f"failed: {name}: {record.reason}")
    return lines


def report(plan: study.Study, spent: float) -> None:
    """Print what each stage took, from the executed notebooks, whenever they ran."""
    print(f"\n{'stage':<16}{'runs':>6}{'seconds':>10}")
    for stage, seconds in runs.stage_seconds(plan).items():
        print(f"{stage:<16}{len(seconds):>6}{sum(seconds):>10.0f}")
    print(f"this time: {spent:.0f} s from start to end\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
