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
# The parameters: which study, and whether to write results/ and figures/ anew (the study itself does; a reader need
# not).

# %% tags=["parameters"]
study_yaml: str = "config/quick.yaml"
save: bool = False

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict
from pathlib import Path

from heads import h3ds, mesh, plots, posts, runs, study
from heads.study import TableJob

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
means = done.groupby(["method", "prior", "views"])[[*runs.METRICS, "seconds"]].mean()
means.insert(0, "runs", done.groupby(["method", "prior", "views"]).size())
plots.table(means.reset_index())

# %% [markdown]
# The heads of the study, seen by some of their cameras.

# %%
import numpy as np

made = [one for one in plan.data_jobs() if one.record.is_file() and runs.read_record(one.record).status == "ok"]
opened = {one.name: (one.root, one.subject, one.config or None) for one in made}
sheet = []
for root, subject, config in opened.values():
    lists = h3ds.read_config(root, config)["scenes"][subject].get("default_views_configs", {"3": []})
    scene = h3ds.load_scene(root, subject, min(map(int, lists), key=lambda views: abs(views - 8)), config=config)
    sheet.append([(image.numpy() * 255).round().astype(np.uint8) for image in scene.images])
drawn = {}
if sheet:
    drawn["contact_sheet.png"] = plots.contact_sheet(sheet, [name.split(".")[1] for name in opened])
drawn.get("contact_sheet.png", "no run of this study on this machine")

# %% [markdown]
# How the losses fell, of the first number of views and the first seed.

# %%
import pandas as pd

scored = [
    fit
    for fit in plan.fit_jobs()
    if (fit.views, fit.seed) == (plan.views[0], plan.seeds[0])
    and plan.score_job(fit).record.is_file()
    and runs.read_record(plan.score_job(fit).record).status == "ok"
]
histories = {f"{fit.method} {fit.subject}": pd.read_csv(fit.folder / "history.csv").to_dict("records") for fit in scored}
if histories:
    drawn["losses.png"] = plots.losses(histories)
drawn.get("losses.png", "no run of this study on this machine")

# %% [markdown]
# And the heads: the scan, then each method's surface and where it is off.

# %%
from IPython.display import display

for subject in dict.fromkeys(fit.subject for fit in scored):
    root, _, config = opened[f"{plan.dataset}.{subject}"]
    fits = {posts.label(fit.method): fit for fit in scored if fit.subject == subject}
    truth_mm = h3ds.load_truth(root, subject, config=config).mesh_mm
    heads_mm = {name: mesh.load(fit.folder / "mesh.ply") for name, fit in fits.items()}
    errors_mm = {name: np.load(fit.folder / "errors.npz")["rigid"] for name, fit in fits.items()}
    scores = {name: runs.read_record(plan.score_job(fit).record).scores for name, fit in fits.items()}
    drawn[f"comparison_{subject}.png"] = plots.comparison(truth_mm, heads_mm, errors_mm, scores)
    drawn[f"photographs_{subject}.png"] = plots.photographs(h3ds.load_scene(root, subject, plan.views[0], config=config))
    frame = plots.frame_of(truth_mm, *heads_mm.values())
    for name, head_mm in ({"truth": truth_mm} | {fit.method: heads_mm[name] for name, fit in fits.items()}).items():
        drawn[f"head_{subject}_{name}.json"] = plots.interactive(head_mm, frame=frame)
    display(drawn[f"comparison_{subject}.png"])

# %% [markdown]
# Where it was asked for, all of this is written to results/ and figures/, from which the posts are made.

# %%
import platform

import torch

if job.save:
    for name, figure in drawn.items():
        plots.save(figure, Path("figures", plan.name, name))
    stages = [{"stage": stage, "runs": len(took), "seconds": sum(took)} for stage, took in runs.stage_seconds(plan).items()]
    runs.write_table(csv.with_name(f"{plan.name}_stages.csv"), pd.DataFrame(stages).round(1))
    about = {
        "data": asdict(plan.datasets[plan.dataset]),
        "prior": {name: asdict(plan.priors[name]) for name in plan.trained_priors()},
        "fit": runs.read_record(plan.score_job(scored[0]).record).config if scored else {},
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    runs.write_json(csv.with_suffix(".json"), about)
    files = [str(csv), *(f"figures/{plan.name}/{name}" for name in drawn)]
    runs.write_record(job.record, runs.Record("05_results", parameters=asdict(job), files=files))
