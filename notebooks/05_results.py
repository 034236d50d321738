# %% [markdown]
# # 5 · Results: the table, and the heads side by side
#
# Every run has left a record; together they are the study's table. A run that failed has its row too, with the
# reason. Where this machine has not run the study, the table is the one that came with the repository.

# %%
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("heads") is None:
    if not os.path.exists("../pyproject.toml"):  # this notebook alone, as in Colab
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", "https://github.com/heads-authors/heads"], check=True)
        os.chdir("heads/notebooks")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", ".."], check=True)

# %% [markdown]
# The parameters: which study, whether to write results/ and figures/ anew (the study itself does; a reader need
# not), and whether people from H3DS may be drawn, which its licence leaves to the reader.

# %% tags=["parameters"]
study_yaml: str = "config/quick.yaml"
save: bool = False
pictures: bool = False

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict
from pathlib import Path

from heads import mesh
from heads.data import h3ds
from heads.data.truth import load_truth
from heads.posts import plots, tables
from heads.posts import sentences as posts
from heads.study import plan as study
from heads.study import records as runs
from heads.study.plan import TableJob

os.chdir(runs.root())
job = runs.parameters(globals(), TableJob)
plan = study.read(job.study_yaml)
plan

# %% [markdown]
# One row a run.

# %%
table = runs.table(plan)
csv = Path("results", f"{plan.name}.csv")
if job.save:
    runs.write_table(csv, table)
elif not (table["status"] == "ok").any():
    table = runs.read_table(csv)
plots.table(table)

# %% [markdown]
# The mean over the subjects, and how many there are.

# %%
done = table[table["status"] == "ok"]
ways = done.groupby(["method", "prior", "carry", "views"])
means = ways[[*runs.METRICS, "seconds"]].mean()
means.insert(0, "runs", ways.size())
plots.table(means.reset_index())

# %% [markdown]
# Every head's error from the fewest photographs, in the protocol that sees a wrong size, and the mean error against
# the number of photographs.

# %%
from IPython.display import display

results = posts.Results(plan.name, table)
few = posts.at(results, min(plan.views))
if len(done):
    display(plots.strips(tables.strips(few, "rigid")))
if len(done) and len(results.views) > 1:
    display(plots.view_sweep(tables.sweep_lines(results, "rigid")))

# %% [markdown]
# The heads of the study, seen by some of their cameras.

# %%
import numpy as np

made = [one for one in plan.data_jobs() if one.record.is_file() and runs.read_record(one.record).status == "ok"]
shown = {one.name: one for one in made if one.kind == "synthetic" or job.pictures}
sheet = []
for one in shown.values():
    lists = h3ds.read_config(one.root, one.config or None)["scenes"][one.subject].get("default_views_configs", {"3": []})
    views = min(map(int, lists), key=lambda count: abs(count - 8))
    scene = h3ds.load_scene(one.root, one.subject, views, config=one.config or None)
    sheet.append([(image.numpy() * 255).round().astype(np.uint8) for image in scene.images])
drawn = {}
if sheet:
    drawn["contact_sheet.png"] = plots.contact_sheet(sheet, [one.subject for one in shown.values()])
drawn.get("contact_sheet.png", "no picture of this study may be shown, or there is no run of it on this machine")

# %% [markdown]
# What stands for a method is its first prior, with what is carried of it first, from the fewest photographs and with
# the first seed. How the losses of the first subject's fits fell:

# %%
import pandas as pd

first, starts = {}, {}
for fit in plan.fit_jobs():
    if fit.views == min(plan.views):
        start = starts.setdefault(fit.method, (fit.prior, fit.carry))
        if (fit.prior, fit.carry) == start:
            first.setdefault((fit.subject, fit.method), fit)
records = {fit.name: plan.score_job(fit).record for fit in plan.fit_jobs()}
well = [fit for fit in plan.fit_jobs() if records[fit.name].is_file() and runs.read_record(records[fit.name]).status == "ok"]
scored = [fit for fit in first.values() if fit in well]
histories = {
    posts.label(fit.method): pd.read_csv(fit.folder / "history.csv").to_dict("records")
    for fit in scored
    if fit.subject == scored[0].subject
}
if histories:
    drawn["losses.png"] = plots.losses(histories)
drawn.get("losses.png", "no run of this study on this machine")

# %% [markdown]
# And the heads: the scan, then each method's surface and where it is off. Those on which the error is lowest and
# highest are kept to be turned, too.

# %%
for subject in dict.fromkeys(fit.subject for fit in scored if f"{plan.dataset}.{fit.subject}" in shown):
    one = shown[f"{plan.dataset}.{subject}"]
    truth_mm = load_truth(one.root, subject, config=one.config or None).mesh_mm
    fits = {posts.label(fit.method): fit for fit in scored if fit.subject == subject}
    heads_mm = {name: mesh.load(fit.folder / "mesh.ply") for name, fit in fits.items()}
    errors_mm = {name: np.load(fit.folder / "errors.npz")["rigid"] for name, fit in fits.items()}
    scores = {name: runs.read_record(records[fit.name]).scores for name, fit in fits.items()}
    drawn[f"comparison_{subject}.png"] = plots.comparison(truth_mm, heads_mm, errors_mm, scores)
    drawn[f"photographs_{subject}.png"] = plots.photographs(
        h3ds.load_scene(one.root, subject, min(plan.views), config=one.config or None)
    )
    turned = {"truth": truth_mm} | {fit.method: heads_mm[name] for name, fit in fits.items()}
    frame = plots.frame_of(*turned.values())
    for name in turned if subject in posts.extremes(few) else []:
        drawn[f"head_{subject}_{name}.json"] = plots.interactive(turned[name], frame=frame)
    display(drawn[f"comparison_{subject}.png"])

# %% [markdown]
# The priors of one head each, after more and more epochs, and the scan of that head.

# %%
scans = [plan.priors[name] for name in plan.trained_priors() if plan.priors[name].kind == "scan"]
scans = [prior for prior in scans if f"{prior.dataset}.{prior.subject}" in shown]
rows = {}
for subject, dataset in dict.fromkeys((prior.subject, prior.dataset) for prior in scans):
    one = shown[f"{dataset}.{subject}"]
    paths = {prior.epochs: plan.prior_job(prior.name).folder / "mesh.ply" for prior in scans if prior.subject == subject}
    row = {f"{epochs} epochs": mesh.load(path) for epochs, path in sorted(paths.items()) if path.is_file()}
    row["scan"] = load_truth(one.root, subject, config=one.config or None).mesh_mm
    frame = plots.frame_of(*row.values())
    rows[subject] = {name: plots.render(head_mm, frame=frame, azimuth=25) for name, head_mm in row.items()}
if rows and len({tuple(row) for row in rows.values()}) == 1:
    drawn["priors.png"] = plots.contact_sheet([list(row.values()) for row in rows.values()], list(rows), list(rows[subject]))
drawn.get("priors.png", "no prior of this study may be shown, or there is none on this machine")

# %% [markdown]
# The first subject from the first prior's head, fitted for more and more epochs.

# %%
owner = scans[0].subject if scans else ""
main = first.get((plan.subjects[0], "baseh3d"))
grown = {
    f"{plan.priors[fit.prior].epochs} epochs": fit
    for fit in well
    if main is not None and fit.prior in [prior.name for prior in scans if prior.subject == owner]
    if (fit.subject, fit.method, fit.views, fit.seed) == (main.subject, main.method, main.views, main.seed)
    if fit.carry == main.carry
}
if len(grown) > 1 and f"{plan.dataset}.{plan.subjects[0]}" in shown:
    one = shown[f"{plan.dataset}.{plan.subjects[0]}"]
    truth_mm = load_truth(one.root, one.subject, config=one.config or None).mesh_mm
    heads_mm = {name: mesh.load(fit.folder / "mesh.ply") for name, fit in grown.items()}
    errors_mm = {name: np.load(fit.folder / "errors.npz")["rigid"] for name, fit in grown.items()}
    scores = {name: runs.read_record(records[fit.name]).scores for name, fit in grown.items()}
    drawn["epochs.png"] = plots.comparison(truth_mm, heads_mm, errors_mm, scores)
drawn.get("epochs.png", "there are no fits from one head's prior after several numbers of epochs")

# %% [markdown]
# Where it was asked for, all of this is written to results/ and figures/, from which the posts are made, with what the
# notebooks of the priors drew. What an earlier run left in figures/ and this one did not draw goes.

# %%
from PIL import Image

for name in plan.trained_priors():
    left = plan.prior_job(name).folder
    for picture in ("samples", "interpolation", "completion_points", "completion", "average"):
        if (left / f"{picture}.png").is_file() and (plan.datasets[plan.dataset].kind == "synthetic" or job.pictures):
            drawn[f"{name}_{picture}.png"] = np.asarray(Image.open(left / f"{picture}.png").convert("RGB"))
    if job.save and (left / "average.csv").is_file():
        runs.write_table(csv.with_name(f"{plan.name}_{name}.csv"), pd.read_csv(left / "average.csv"))
if job.save:
    folder = Path("figures", plan.name)
    for name, figure in drawn.items():
        plots.save(figure, folder / name, palette=True)
    for path in [path for path in folder.glob("*") if path.name not in drawn]:
        path.unlink()
    stages = [{"stage": stage, "runs": len(took), "seconds": sum(took)} for stage, took in runs.stage_seconds(plan).items()]
    runs.write_table(csv.with_name(f"{plan.name}_stages.csv"), pd.DataFrame(stages).round(1))
    if plan.choose is not None:
        runs.write_table(csv.with_name(f"{plan.name}_trials.csv"), runs.trials(plan))
    learned = [plan.priors[name] for name in plan.trained_priors() if plan.priors[name].kind == "autodecoder"]
    learned = [prior for prior in learned if plan.prior_job(prior.name).record.is_file()]
    about = {
        "data": asdict(plan.datasets[plan.dataset]),
        "prior": {name: asdict(plan.priors[name]) for name in plan.trained_priors()},
        "learned": {prior.name: runs.read_record(plan.prior_job(prior.name).record).config for prior in learned},
        "views": {views.count: views.overrides for views in plan.view_sets},
        "choose": asdict(plan.choose) if plan.choose is not None else {},
        "fit": runs.read_record(records[scored[0].name]).config if scored else {},
        "machine": runs.machine(),
    }
    runs.write_json(csv.with_suffix(".json"), about)
    files = [str(csv), *(str(folder / name) for name in drawn)]
    runs.write_record(job.record, runs.Record("05_results", parameters=asdict(job), files=files))
