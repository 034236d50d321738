# %% [markdown]
# # 4 · Evaluate: how many millimetres is it off?
#
# Only now the scan comes in. Two protocols are used, and always named. `toolbox` is that of the `h3ds` package, by
# which the papers' numbers were made: the prediction may be scaled to fit, and distances go from vertex to vertex.
# `rigid` moves the prediction but does not scale it, and measures to its surface: a head of the wrong size is wrong.

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
# The parameters name one reconstruction of notebook 3.

# %% tags=["parameters"]
study: str = "demo"
dataset: str = "synthetic"
root: str = "runs/demo/data/synthetic"
config: str = ""
subject: str = "ada"
method: str = "idr"
prior: str = "sphere"
views: int = 3
seed: int = 0
carry: list = ["geometry", "colour", "moments"]  # what the reconstruction took over from its prior

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import replace
from pathlib import Path

from heads import files
from heads.study import records as runs
from heads.study.plan import ScoreJob

os.chdir(runs.root())
job = runs.parameters(globals(), ScoreJob)
job

# %% [markdown]
# Run on its own, the notebook first has notebook 3 make the reconstruction it needs, with its defaults.

# %%
from heads import mesh, metric
from heads.data.truth import load_truth
from heads.posts import plots
from heads.posts import sentences as posts

if job == ScoreJob() and not (job.folder / "mesh.ply").exists():
    from heads.study import notebooks

    notebooks.execute(Path("notebooks/03_reconstruct.py"), Path("runs/demo/notebooks/03_reconstruct.ipynb"), {})
head_mm = mesh.load(job.folder / "mesh.ply")
truth = load_truth(job.root, job.subject, config=job.config or None)
f"{len(head_mm.faces):,} triangles of the reconstruction, {len(truth.mesh_mm.faces):,} of the scan"

# %% [markdown]
# Four numbers: the mean distance from the scan to the reconstruction over the face and over the whole head, in either
# protocol.

# %%
import numpy as np

evaluation = metric.evaluate(head_mm, truth)
with files.replacing(job.folder / "errors.npz") as partial, partial.open("wb") as file:
    np.savez_compressed(file, **{protocol: errors.astype(np.float32) for protocol, errors in evaluation.errors_mm.items()})
evaluation.scores

# %% [markdown]
# The scan, the reconstruction, and where on the head the error sits.

# %%
name = posts.label(job.method)
plots.comparison(truth.mesh_mm, {name: head_mm}, {name: evaluation.errors_mm["rigid"]}, {name: evaluation.scores})

# %% [markdown]
# The record of the fit, with its scores, becomes a row of the table.

# %%
fit = runs.read_record(job.folder / "fit.json")
runs.write_record(job.record, replace(fit, stage="04_evaluate", scores=evaluation.scores, files=[str(job.folder / "errors.npz")]))
