# The DAG of a study: its notebooks, each a job that papermill runs and that leaves a record. `make study` starts it.
# What has to be run is decided by the records (heads.study.status). Its names are in the file that the config calls `jobs`; the
# DAG has these jobs alone, and Snakemake is told to run all of it. All inputs are `ancient`: their dates do not count.
# Nothing heavy is imported here, for on a cluster every job reads this file anew.

import json
import re
import sys
import threading
from pathlib import Path

from snakemake.exceptions import WorkflowError

from heads.study import contract, lock, plan

lock.join()
try:
    study = plan.read(config.get("study", "config/quick.yaml"))
except (ValueError, OSError) as error:
    raise WorkflowError(str(error))

JOBS = study.jobs
if "jobs" in config:
    JOBS = {name: JOBS[name] for name in Path(config["jobs"]).read_text(encoding="utf-8").splitlines()}
PRIORITY = {"data": 3, "prior": 2, "score": 1}  # the priors are what most wait for; the table fills while the study runs

# A job whose notebook raises still succeeds, with a record that says so: the others go on, and the table has a row for it.
# A job whose process dies fails. Executed notebooks are logs, because Snakemake deletes the outputs of a failed job.
RUN = "OMP_NUM_THREADS={threads} {PYTHON:q} -m heads run {input.notebook} {log} --record {output} {params.arguments:q}"
PYTHON = sys.executable


def arguments(wildcards):
    """The job's parameters, and what must have succeeded before it, as arguments of `python -m heads run`."""
    job = JOBS[wildcards.job]
    given = ["--parameters", json.dumps(job.parameters)]
    return given if job.stage == "table" else ["--soft", *given, "--after", *(str(study.jobs[name].record) for name in job.after)]


def end_at_once():
    """Forget when Snakemake wanted to look at waiting jobs again (max-jobs-per-timespan): it would wait for that before it ends."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


onsuccess:
    end_at_once()


onerror:
    end_at_once()


# Every record is asked for, not the table alone: one that is gone would not be missed as long as the table is there.
rule all:
    input:
        [job.record for job in JOBS.values()],


for notebook in dict.fromkeys(job.notebook for job in JOBS.values()):

    rule:
        name:
            notebook.partition("_")[2]
        input:
            notebook=ancient(f"notebooks/{notebook}.py"),
            lib=ancient(contract.closure(notebook)),
            after=lambda wildcards: ancient([str(JOBS[name].record) for name in JOBS[wildcards.job].after if name in JOBS]),
        output:
            f"runs/{study.name}/{{job}}/record.json",
        log:
            f"runs/{study.name}/notebooks/{{job}}.ipynb",
        params:
            arguments=arguments,
        wildcard_constraints:
            job="|".join(re.escape(job.name) for job in JOBS.values() if job.notebook == notebook),
        priority: lambda wildcards: PRIORITY.get(JOBS[wildcards.job].stage, 0)
        shell:
            RUN
