# %% [markdown]
# # 2 · Prior: one other head
#
# BaseH3D-Net's idea is an embarrassingly simple prior: reconstruct *one* other person from all photographs there are,
# and start from those networks when the next person comes with three photographs only. This notebook trains such a
# prior, which is nothing but IDR on 32 views for a given number of epochs.

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
# The parameters. `epochs` decides how detailed the other head becomes.

# %% tags=["parameters"]
study: str = "demo"
prior: str = "single"  # its name
dataset: str = "synthetic"
root: str = "runs/demo/data/synthetic"
config: str = ""
subject: str = "bea"  # whose head it is
views: int = 32
preset: str = "LAPTOP"  # or PAPER, SMOKE
epochs: int = 500  # 0: as the preset says
seed: int = 0
overrides: dict = {}  # fields of idr.Config

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict

from heads.methods import idr
from heads.study import records as runs
from heads.study.plan import PriorJob

os.chdir(runs.root())
job = runs.parameters(globals(), PriorJob)
fit_config = runs.configured(idr.PRESETS[job.preset], job.overrides | ({"epochs": job.epochs} if job.epochs else {}))
fit_config

# %% [markdown]
# Run on its own, the notebook first makes the person it needs.

# %%
from pathlib import Path

from heads.data import h3ds, synthetic
from heads.data.truth import load_truth
from heads.posts import plots

if job.study == "demo" and not Path(job.root, job.subject).exists():
    synthetic.write_subject(job.root, job.subject, seed=0)
scene = h3ds.load_scene(job.root, job.subject, job.views, config=job.config or None)
plots.photographs(h3ds.load_scene(job.root, job.subject, scene.views[:4], config=job.config or None))

# %% [markdown]
# Training starts from a sphere. What has been learned is saved now and then, so that an interrupted training goes on
# where it was.

# %%
import time

from heads import mesh
from heads.methods import priors

began = time.perf_counter()
about = {
    "name": job.prior,
    "epoch": fit_config.epochs,
    "shape": asdict(fit_config.shape),
    "job": asdict(job),
    "config": asdict(fit_config),
    "made_from": runs.digest(scene),
}
unfinished = job.folder / "unfinished.safetensors"
head = idr.fit(
    scene,
    priors.sphere(fit_config.shape, job.seed),
    fit_config,
    seed=job.seed,
    on_step=runs.progress(f"prior {job.prior}", checkpoint=unfinished, about=about),
    resume=runs.unfinished(unfinished, about),
)
plots.losses({job.prior: head.history})

# %% [markdown]
# The head that it has learned, and below it the scan, which it has not seen.

# %%
plots.head(head.mesh_mm, load_truth(job.root, job.subject, config=job.config or None).mesh_mm)

# %% [markdown]
# The networks and the state of the optimizer are the prior. They are kept as plain tensors.

# %%
checkpoint = job.folder / "checkpoint.safetensors"
runs.save_checkpoint(checkpoint, head.tensors, about)
mesh.save(head.mesh_mm, job.folder / "mesh.ply")
record = runs.Record(
    "02_prior",
    parameters=asdict(job),
    config=asdict(fit_config),
    losses=head.history[-1],
    device=fit_config.device,
    seconds=time.perf_counter() - began,
    peak_mb=runs.peak_mb(fit_config.device),
    files=[str(checkpoint), str(job.folder / "mesh.ply")],
)
runs.write_record(job.record, record)
unfinished.unlink(missing_ok=True)
