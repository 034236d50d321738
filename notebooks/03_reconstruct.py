# %% [markdown]
# # 3 · Reconstruct: three photographs in, a head out
#
# IDR looks for a surface and its colours that explain the photographs: it shoots rays through pixels, finds where
# they meet the surface, compares colour and silhouette, and corrects both. From a sphere (`prior = "sphere"`) three
# photographs leave a lot open; from another person's head there is less to find out.

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
# The parameters. `prior` names a prior of this study, made by notebook 2, 6 or 7; "sphere" is none. `carry` says what
# is taken over from it.

# %% tags=["parameters"]
study: str = "demo"
dataset: str = "synthetic"
root: str = "runs/demo/data/synthetic"
config: str = ""
subject: str = "ada"
method: str = "idr"  # or baseh3d, average, h3dnet, h3dnet+colour, which start from a prior
prior: str = "sphere"
views: int = 3
seed: int = 0
preset: str = "LAPTOP"  # or PAPER, SMOKE
schedule: str = ""  # of the step size: readme, shipped or cosine; empty: as the preset says
carry: list = ["geometry", "colour", "moments"]
overrides: dict = {}  # fields of idr.Config

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict

from heads.methods import idr
from heads.study import records as runs
from heads.study.plan import FitJob

os.chdir(runs.root())
job = runs.parameters(globals(), FitJob)
fit_config = runs.configured(idr.PRESETS[job.preset], ({"schedule": job.schedule} if job.schedule else {}) | job.overrides)
fit_config

# %% [markdown]
# This is all that the method sees: photographs, masks, and (not shown) where the cameras were. Run on its own, the
# notebook first makes the person it needs.

# %%
from pathlib import Path

from heads.data import h3ds
from heads.posts import plots

if job.study == "demo" and not Path(job.root, job.subject).exists():
    from heads.data import synthetic

    synthetic.write_subject(job.root, job.subject, seed=0)
scene = h3ds.load_scene(job.root, job.subject, job.views, config=job.config or None)
plots.photographs(scene)

# %% [markdown]
# The starting point, and the head before the first step.

# %%
from heads import mesh
from heads.methods import priors
from heads.surface import sdf

if job.prior == "sphere":
    start = priors.sphere(fit_config.shape, job.seed)
else:
    tensors, saved = runs.load_checkpoint(job.prior_folder / "checkpoint.safetensors")
    start = priors.carrying(priors.Prior(saved["name"], sdf.Shape(**saved["shape"]), saved["epoch"], tensors), job.carry)
plots.head(mesh.load(job.prior_folder / "mesh.ply")) if job.prior != "sphere" else start.name

# %% [markdown]
# Now the fit itself. The first three losses are those of the colours, of the silhouettes, and of a gradient that should
# have length one. The fourth, which IDR does not have, is by how much photographs disagree with each other at the surface.

# %%
import time

began = time.perf_counter()
about = {
    "name": job.name,
    "epoch": start.epoch + fit_config.epochs,
    "shape": asdict(start.shape),
    "job": asdict(job),
    "config": asdict(fit_config),
    "made_from": runs.digest(scene, start),
}
unfinished = job.folder / "unfinished.safetensors"
head = idr.fit(
    scene,
    start,
    fit_config,
    seed=job.seed,
    on_step=runs.progress(job.name, checkpoint=unfinished, about=about),
    resume=runs.unfinished(unfinished, about),
)
seconds = time.perf_counter() - began
plots.losses({job.method: head.history})

# %% [markdown]
# The head, from the front and from the sides. Where no photograph looked, it is the prior or nothing that speaks.

# %%
plots.head(head.mesh_mm)

# %%
import pandas as pd

runs.save_checkpoint(job.folder / "checkpoint.safetensors", head.tensors, about)
mesh.save(head.mesh_mm, job.folder / "mesh.ply")
runs.write_table(job.folder / "history.csv", pd.DataFrame(head.history))
record = runs.Record(
    "03_reconstruct",
    parameters=asdict(job),
    config=asdict(fit_config),
    losses=head.history[-1] | runs.photograph_losses(head.history),
    device=fit_config.device,
    seconds=seconds,
    peak_mb=runs.peak_mb(fit_config.device),
    files=[str(job.folder / name) for name in ("mesh.ply", "checkpoint.safetensors", "history.csv")],
)
runs.write_record(job.record, record)
unfinished.unlink(missing_ok=True)
