# %% [markdown]
# # 3 · Reconstruct: three photographs in, a head out
#
# IDR looks for a surface and its colours that explain the photographs: it shoots rays through pixels, finds where
# they meet the surface, compares colour and silhouette, and corrects both. From a sphere three photographs leave a lot
# open; from another person's head there is less to find out.

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
# The parameters. `prior` is the folder of a prior made by notebook 2, 6, 7 or 16; without one, the fit starts from a sphere.
# `carry` says what is taken over from it.

# %% tags=["parameters"]
out: str = "runs/demo/fit/ada"
root: str = "runs/demo/people"
scenes: str = ""  # a TOML of scenes; empty: the one in `root`
subject: str = "ada"
prior: str = ""
carry: list[Literal["geometry", "colour", "moments"]] = ["geometry", "colour", "moments"]
views: "int >= 1" = 3
seed: "int >= 0" = 0
preset: Literal["PAPER", "PUBLISHED", "LAPTOP", "SMOKE"] = "LAPTOP"
fit: "idr.Config" = {}  # fields to set over the preset's

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict

from heads.methods import idr
from heads.study import records

run = records.begin("03_reconstruct", globals())
config = records.configured(idr.PRESETS[run.preset], run.fit)
config

# %% [markdown]
# This is all that the method sees: photographs, masks, and (not shown) where the cameras were. Of a few photographs that
# are held out, it is told where their cameras were, never what they show. Run on its own, the notebook first makes the
# person it needs.

# %%
from heads.data import h3ds
from heads.posts import plots
from heads.study import runner

runner.first("01_data", f"{run.root}/{run.subject}", subject=run.subject)
scene = h3ds.load_scene(run.root, run.subject, run.views, config=run.scenes or None)
run.use(h3ds.scene_files(run.root, run.subject, run.views, config=run.scenes or None))
held_out = h3ds.held_out(run.root, run.subject, run.views, config=run.scenes or None)
cameras = h3ds.load_cameras(run.root, run.subject, held_out, config=run.scenes or None)
plots.photographs(scene)

# %% [markdown]
# The starting point: the head before the first step.

# %%
from heads import mesh
from heads.methods import priors
from heads.study import checkpoints

start = priors.sphere(config.shape, run.seed)
if run.prior:
    run.use([f"{run.prior}/checkpoint.safetensors"])
    start = priors.carrying(priors.restored(*checkpoints.load(f"{run.prior}/checkpoint.safetensors")), run.carry)
plots.head(mesh.load(f"{run.prior}/mesh.ply")) if run.prior else start.name

# %% [markdown]
# Now the fit itself. The first three losses are those of the colours, of the silhouettes, and of a gradient that should
# have length one. The fourth, which IDR does not have, is by how much photographs disagree with each other at the surface.

# %%
import time

from heads.study.progress import progress

began = time.perf_counter()
about = {
    "name": run.out.name,
    "epoch": start.epoch + config.epochs,
    "shape": asdict(start.shape),
    "parameters": run.parameters,
    "code": run.code,
    "config": asdict(config),
    "made_from": checkpoints.digest(scene, start),
}
unfinished = run.out / "unfinished.safetensors"
head = idr.fit(
    scene,
    start,
    config,
    seed=run.seed,
    on_step=progress(run.out.name, checkpoint=unfinished, about=about),
    resume=checkpoints.unfinished(unfinished, about),
)
seconds = time.perf_counter() - began
plots.losses({run.out.name: head.history})

# %% [markdown]
# The head, from the front and from the sides. Where no photograph looked, it is the prior or nothing that speaks.

# %%
plots.head(head.mesh_mm)

# %% [markdown]
# What the cameras of the held-out photographs would see of this head, in the colours that it was given. Only the cameras
# are used here; notebook 4 compares these pictures with the photographs.

# %%
from heads.surface import render

novel = idr.render(head, start, config, *cameras, tuple(scene.masks.shape[1:]))
pictures = render.save(run.out / "novel", held_out, novel)
shown = (novel.images.where(novel.hit[..., None], 1.0) * 255).byte().numpy()
plots.contact_sheet([[*shown]], titles=[f"camera {number}" for number in held_out]) if held_out else "no photograph is held out"

# %%
import pandas as pd

from heads import files

checkpoints.save(run.out / "checkpoint.safetensors", head.tensors, about)
mesh.save(head.mesh_mm, run.out / "mesh.ply")
files.write_table(run.out / "history.csv", pd.DataFrame(head.history))
run.finish(
    config=config,
    losses=head.history[-1] | idr.photograph_losses(head.history),
    device=config.device,
    seconds=seconds,
    pictures=scene.views,
    files=["mesh.ply", "checkpoint.safetensors", "history.csv", *map(str, pictures)],
)
unfinished.unlink(missing_ok=True)
