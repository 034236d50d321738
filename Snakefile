# The DAG of a study: its notebooks, each a job that papermill runs and that leaves a record. `make study` starts it.
# Nothing heavy is imported here, for every job reads this file anew.

import json
import re
import sys
import threading
from dataclasses import asdict

from snakemake.exceptions import WorkflowError

from heads.study import lock, plan as study

lock.join()
try:
    plan = study.read(config.get("study", "config/quick.yaml"))
except (ValueError, OSError) as error:
    raise WorkflowError(str(error))

HERE = f"runs/{plan.name}"
DATA = {job.name: job for job in plan.data_jobs()}
PRIOR = {name: plan.prior_job(name) for name in plan.trained_priors()}
SCAN, AUTODECODER, AVERAGE = (
    [name for name, job in PRIOR.items() if isinstance(job, kind)]
    for kind in (study.PriorJob, study.AutodecoderJob, study.AverageJob)
)
FIT = {job.name: job for job in plan.fit_jobs()}
CHOICE = {job.name: job for job in plan.choose_jobs()}

# A job whose notebook raises still ends well, with a record that says so: the others go on, and the table has a row for it.
# A job whose process dies fails. Executed notebooks are logs, because Snakemake deletes the outputs of a failed job.
RUN = (
    "OMP_NUM_THREADS={threads} {PYTHON:q} -m heads run {input.notebook} {log} --record {output} --soft"
    " --after {input.after:q} {params.arguments:q}"
)
PYTHON = sys.executable


def arguments(job):
    """The job's fields as arguments of `python -m heads run`."""
    return [word for name, value in asdict(job).items() for word in ("-p", name, json.dumps(value))]


def lib(*modules):
    """The modules on which a rule's result depends."""
    return [f"lib/heads/{module}.py" for module in modules]


def named(names):
    """A wildcard that is one of these names."""
    return "|".join(map(re.escape, names)) or "none"


# What decides a fit's result. `metric` is not among them, though h3ds names its Truth: a fit never sees it.
METHODS = lib("camera", "scene", "data/h3ds", "surface/sdf", "surface/colour", "surface/trace", "surface/consistency", "surface/cuda_graph", "surface/optimizers", "methods/priors", "methods/idr", "mesh")


wildcard_constraints:
    data=named(DATA),
    fit=named(FIT),
    choice=named(CHOICE),


def end_at_once():
    """Forget when Snakemake wanted to look at waiting jobs again (max-jobs-per-timespan): it would wait for that before it ends."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


onsuccess:
    end_at_once()


onerror:
    end_at_once()


# Every record is asked for, not the table alone: one that has gone would not be missed as long as the table is newer.
rule all:
    input:
        f"{HERE}/results.json",
        [job.record for job in (*DATA.values(), *PRIOR.values(), *FIT.values(), *CHOICE.values())],
        [plan.score_job(fit).record for fit in FIT.values()],


rule data:
    input:
        notebook="notebooks/01_data.py",
        lib=lib("camera", "data/h3ds", "data/people", "data/synthetic"),
        photos=lambda wildcards: DATA[wildcards.data].photos,
        after=[],
    output:
        f"{HERE}/data/{{data}}.json",
    log:
        f"{HERE}/notebooks/01_data.{{data}}.ipynb",
    params:
        arguments=lambda wildcards: arguments(DATA[wildcards.data]),
    priority: 2  # so that the prior, the longest job, can begin early
    shell:
        RUN


rule prior:
    input:
        notebook="notebooks/02_prior.py",
        lib=METHODS,
        after=lambda wildcards: plan.before(PRIOR[wildcards.prior]),
    output:
        f"{HERE}/prior/{{prior}}/record.json",
    log:
        f"{HERE}/notebooks/02_prior.{{prior}}.ipynb",
    params:
        arguments=lambda wildcards: arguments(PRIOR[wildcards.prior]),
    priority: 1
    wildcard_constraints:
        prior=named(SCAN),
    shell:
        RUN


rule autodecoder:
    input:
        notebook="notebooks/06_autodecoder.py",
        lib=lib("camera", "scene", "data/people", "data/synthetic", "surface/sdf", "surface/colour", "surface/trace", "surface/consistency", "surface/cuda_graph", "surface/optimizers", "methods/priors", "methods/idr", "methods/autodecoder", "mesh"),
        after=[],
    output:
        f"{HERE}/prior/{{prior}}/record.json",
    log:
        f"{HERE}/notebooks/06_autodecoder.{{prior}}.ipynb",
    params:
        arguments=lambda wildcards: arguments(PRIOR[wildcards.prior]),
    priority: 1
    wildcard_constraints:
        prior=named(AUTODECODER),
    shell:
        RUN


rule average:
    input:
        notebook="notebooks/07_average.py",
        lib=METHODS + lib("data/people", "data/synthetic", "methods/average", "posts/lessons"),
        after=lambda wildcards: plan.before(PRIOR[wildcards.prior]),
    output:
        f"{HERE}/prior/{{prior}}/record.json",
    log:
        f"{HERE}/notebooks/07_average.{{prior}}.ipynb",
    params:
        arguments=lambda wildcards: arguments(PRIOR[wildcards.prior]),
    priority: 1
    wildcard_constraints:
        prior=named(AVERAGE),
    shell:
        RUN


rule reconstruct:
    input:
        notebook="notebooks/03_reconstruct.py",
        lib=METHODS,
        after=lambda wildcards: plan.before(FIT[wildcards.fit]),
    output:
        f"{HERE}/fit/{{fit}}/fit.json",
    log:
        f"{HERE}/notebooks/03_reconstruct.{{fit}}.ipynb",
    params:
        arguments=lambda wildcards: arguments(FIT[wildcards.fit]),
    shell:
        RUN


rule evaluate:
    input:
        notebook="notebooks/04_evaluate.py",
        lib=lib("data/h3ds", "data/truth", "mesh", "metric"),
        scan=lambda wildcards: plan.data_job(FIT[wildcards.fit].dataset, FIT[wildcards.fit].subject).scan,
        after=lambda wildcards: plan.before(plan.score_job(FIT[wildcards.fit])),
    output:
        f"{HERE}/fit/{{fit}}/record.json",
    log:
        f"{HERE}/notebooks/04_evaluate.{{fit}}.ipynb",
    params:
        arguments=lambda wildcards: arguments(plan.score_job(FIT[wildcards.fit])),
    priority: 1  # so that the table fills while the study runs
    shell:
        RUN


rule choose:
    input:
        notebook="notebooks/08_choose.py",
        lib=METHODS + lib("methods/choose"),
        after=lambda wildcards: plan.before(CHOICE[wildcards.choice]),
    output:
        f"{HERE}/choose/{{choice}}/record.json",
    log:
        f"{HERE}/notebooks/08_choose.{{choice}}.ipynb",
    params:
        arguments=lambda wildcards: arguments(CHOICE[wildcards.choice]),
    shell:
        RUN


# The table and the figures are no outputs: Snakemake would delete the old ones before it is known whether there will be new ones.
rule results:
    input:
        notebook="notebooks/05_results.py",
        lib=lib("study/records", "posts/plots", "posts/stats", "posts/sentences", "posts/tables"),
        records=[job.record for job in (*map(plan.score_job, FIT.values()), *CHOICE.values())],
    output:
        f"{HERE}/results.json",
    log:
        f"{HERE}/notebooks/05_results.ipynb",
    params:
        arguments=arguments(plan.table_job()),
    shell:
        "{PYTHON:q} -m heads run {input.notebook} {log} --record {output} {params.arguments:q}"
