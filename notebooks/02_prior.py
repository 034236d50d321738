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
from typing import Literal

if importlib.util.find_spec("heads") is None and "HEADS_RUN" not in os.environ:
    if not os.path.exists("../pyproject.toml"):  # this notebook alone, as in Colab
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", "https://github.com/heads-authors/heads"], check=True)
        os.chdir("heads/notebooks")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", ".."], check=True)
# %% [markdown]
# The parameters. `epochs` decides how detailed the other head becomes.

# %% tags=["parameters"]
out: str = "runs/demo/prior/single"
root: str = "runs/demo/people"
scenes: str = ""  # a TOML of scenes; empty: the one in `root`
subject: str = "bea"  # whose head it is
views: "int >= 1" = 32
preset: Literal["PAPER", "PUBLISHED", "LAPTOP", "SMOKE"] = "LAPTOP"
epochs: "int >= 0" = 500  # 0: as the preset says
seed: "int >= 0" = 0
fit: "idr.Config" = {}  # fields to set over the preset's

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict

from heads.methods import idr
from heads.study import records

run = records.begin("02_prior", globals())
config = records.configured(idr.PRESETS[run.preset], run.fit | ({"epochs": run.epochs} if run.epochs else {}))
config

# %% [markdown]
# Run on its own, the notebook first makes the person it needs.

# %%
from heads.data import h3ds
from heads.posts import plots
from heads.study import runner

runner.first("01_data", f"{run.root}/{run.subject}", subject=run.subject)
scene = h3ds.load_scene(run.root, run.subject, run.views, config=run.scenes or None)
run.use(h3ds.scene_files(run.root, run.subject, run.views, config=run.scenes or None))
plots.photographs(h3ds.load_scene(run.root, run.subject, scene.views[:4], config=run.scenes or None))

# %% [markdown]
# Training starts from a sphere. What has been learned is saved now and then, so that an interrupted training resumes
# where it was.

# %%
from heads import mesh
from heads.methods import priors
from heads.study import checkpoints
from heads.study.progress import progress

about = {
    "name": run.out.name,
    "epoch": config.epochs,
    "shape": asdict(config.shape),
    "parameters": run.parameters,
    "code": run.code,
    "config": asdict(config),
    "made_from": checkpoints.digest(scene),
}
unfinished = run.out / "unfinished.safetensors"
head = idr.fit(
    scene,
    priors.sphere(config.shape, run.seed),
    config,
    seed=run.seed,
    on_step=progress(f"prior {run.out.name}", checkpoint=unfinished, about=about),
    resume=checkpoints.unfinished(unfinished, about),
)
plots.losses({run.out.name: head.history})

# %% [markdown]
# The head that it has learned, and below it the scan, which it has not seen.

# %%
from heads.data.truth import load_truth

plots.head(head.mesh_mm, load_truth(run.root, run.subject, config=run.scenes or None).mesh_mm)

# %% [markdown]
# The networks and the state of the optimizer are the prior. They are kept as plain tensors.

# %%
checkpoints.save(run.out / "checkpoint.safetensors", head.tensors, about)
mesh.save(head.mesh_mm, run.out / "mesh.ply")
run.finish(
    config=config,
    losses=head.history[-1],
    device=config.device,
    pictures=scene.views,
    files=["checkpoint.safetensors", "mesh.ply"],
)
unfinished.unlink(missing_ok=True)
