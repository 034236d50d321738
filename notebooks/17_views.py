# %% [markdown]
# # 17 · A head from one view, and a face from five
#
# What does a head model know of somebody it has not learned? From the points that one depth camera sees, a code of the
# person says what the rest of the head is like. And five cameras, each with another expression before it, are one person:
# one code of who it is, and one of each expression.

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
# The parameters. `prior` is the folder of the model (notebook 12).

# %% tags=["parameters"]
out: str = "runs/demo/prior/views"
prior: str = "runs/demo/prior/nphm"
seed: "int >= 0" = 0  # of the person and of the fits
preset: Literal["PAPER", "LAPTOP", "SMOKE"] = "LAPTOP"
fit: "fitting.Config" = {}  # fields to set over the preset's

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.methods.nphm import fitting
from heads.methods.nphm import heads as decoded
from heads.study import records

run = records.begin("17_views", globals())
config = records.configured(fitting.PRESETS[run.preset], run.fit)
config

# %% [markdown]
# The model, and a built-in person. Run on its own, the notebook first trains the model, which takes some minutes.

# %%
from heads.data import expressions
from heads.posts import plots
from heads.study import checkpoints, runner

runner.first("12_nphm", f"{run.prior}/checkpoint.safetensors")
run.use([f"{run.prior}/checkpoint.safetensors"])
model = decoded.restored(*checkpoints.load(f"{run.prior}/checkpoint.safetensors"))
names = ("jaw wide open", "smile with teeth", "surprise", "kiss")
other = expressions.talker("unseen", run.seed, {name: expressions.recipe(name) for name in names})
plots.points({"from the front": other.observed_mm(azimuth=0), "jaw wide open": other.observed_mm("jaw wide open", azimuth=0)})

# %% [markdown]
# The points that a camera in front sees of the neutral head, and the head of the code that was found for them. What the
# camera did not see is what the learned heads have there.

# %%
import torch

from heads import metric
from heads.data import crowd

points = torch.from_numpy(other.observed_mm(azimuth=0)).float() / crowd.MM_PER_UNIT
one_view = fitting.fit("one view", model, [points], config, posed=[False], seed=run.seed)
completed = decoded.neutral_mesh(model, one_view.identity, cell_mm=config.cell_mm)
frame = plots.frame_of(other.mesh(), completed)
views = {"front": 0, "side": 90, "back": 180}
sheet = [[plots.render(head, azimuth=at, size=200, frame=frame) for at in views.values()] for head in (other.mesh(), completed)]
figures = {"completion.png": plots.contact_sheet(sheet, ["scan", "completed"], list(views))}
figures["completion.png"]

# %% [markdown]
# And the same person from five views at once, each from another side and with another expression: one code of the
# person, and one of each expression. Below the scans what was made of them, and how far the face's vertices are from it.

# %%
import time

import numpy as np
import pandas as pd

began = time.perf_counter()
views = {"": 0, "jaw wide open": 0, "smile with teeth": 40, "surprise": -40, "kiss": 20}
clouds = [torch.from_numpy(other.observed_mm(name, azimuth=at)).float() / crowd.MM_PER_UNIT for name, at in views.items()]
five = fitting.fit("five views", model, clouds, config, posed=[bool(name) for name in views], seed=run.seed)
joint = {"": decoded.neutral_mesh(model, five.identity, cell_mm=config.cell_mm)}
for name, how in list(zip(views, five.expressions, strict=True))[1:]:
    joint[name] = decoded.posed_mesh(model, joint[""], five.identity, how)
seconds = time.perf_counter() - began
shared = expressions.topology()
on_face = np.intersect1d(np.flatnonzero(shared.front), shared.faces[shared.seen])
away_mm = {}
for name, head in joint.items():
    face_mm = other.mesh(name).vertices[on_face]
    nearest = metric.closest_points(face_mm, metric.build_surface(head))
    away_mm[name or "neutral"] = float(np.linalg.norm(nearest - face_mm, axis=1).mean())
scans = {name: other.mesh(name) for name in views}
frame = plots.frame_of(*scans.values(), *joint.values())
sheet = [[plots.render(head, azimuth=20, size=200, frame=frame) for head in row.values()] for row in (scans, joint)]
figures["five_views.png"] = plots.contact_sheet(sheet, ["scan", "fitted"], list(away_mm))
pd.DataFrame({"face, mm": away_mm}).T.round(2)

# %%
figures["five_views.png"]

# %%
from heads import mesh

mesh.save(completed, run.out / "mesh.ply")
for name, figure in figures.items():
    plots.save(figure, run.out / name)
run.finish(
    config=config,
    scores={f"{name}, face, mm": value for name, value in away_mm.items()},
    device=config.device,
    seconds=seconds,
    files=["mesh.ply", *figures],
)
