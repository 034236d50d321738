# %% [markdown]
# # 16 · NPHM with hair: local networks as a prior for photographs
#
# NPHM knows bald heads, in millimetres. People in photographs have hair and shoulders, and are fitted in the sphere
# around them. So its space of heads is trained once more, on the heads that H3D-Net's is trained on (notebook 6), in
# their frame. What comes out is a prior like any other, which notebook 3 can start from. Does an ensemble around anchors
# carry hair better than one network for all?

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
# The parameters. `prior` is the folder of another space of heads in the same frame, to compare with; empty, there is none.

# %% tags=["parameters"]
out: str = "runs/demo/prior/hair"
prior: str = ""
heads: "int >= 2" = 24  # how many to learn from, a person each
unseen: "int >= 1" = 2  # how many more, to judge by
seed: "int >= 0" = 0  # of the heads and of the training
preset: Literal["PAPER", "LAPTOP", "SMOKE"] = "LAPTOP"
training: "identity.Config" = {}  # fields to set over the preset's
fit: "fitting.Config" = {"points": 1000, "robust": False}  # and over those of the fits to unseen heads

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict

from heads.methods import autodecoder, priors
from heads.methods.nphm import fitting, identity
from heads.methods.nphm.heads import Model
from heads.study import records

run = records.begin("16_hair", globals())
config = records.configured(identity.IN_SPHERE[run.preset], run.training)
fit_config = records.configured(fitting.PRESETS[run.preset], run.fit)
config

# %% [markdown]
# The heads, with hair and shoulders, and where their anchors are: on the skin, also where hair covers it.

# %%
from heads import mesh
from heads.data import synthetic
from heads.posts import plots
from heads.study import checkpoints, runner

spaces = {}
if run.prior:
    runner.first("06_autodecoder", f"{run.prior}/checkpoint.safetensors")
    run.use([f"{run.prior}/checkpoint.safetensors"])
    one = priors.restored(*checkpoints.load(f"{run.prior}/checkpoint.safetensors"))
    priors.check_space(one)
    spaces[one.name] = one
drawn = []
for index in range(run.heads + run.unseen):
    drawn.append(synthetic.training_head(run.seed, index))
    if index % 10 == 9:
        print(f"{run.out.name}: {index + 1}/{run.heads + run.unseen} heads", flush=True)
learned, others = drawn[: run.heads], drawn[run.heads :]
plots.points(
    {
        "a head": learned[0].points.numpy(),
        "its face": learned[0].points[learned[0].face].numpy(),
        "its anchors": learned[0].anchors.numpy(),
    }
)

# %% [markdown]
# Training, with NPHM's losses.

# %%
import time

from heads.study.progress import progress

began = time.perf_counter()
about = {
    "name": run.out.name,
    "epoch": 0,
    "shape": asdict(config.shape),
    "parameters": run.parameters,
    "code": run.code,
    "config": asdict(config),
    "made_from": checkpoints.digest(learned),
}
unfinished = run.out / "unfinished.safetensors"
trained = identity.train(
    run.out.name,
    identity.Scans(learned),
    config,
    frame=priors.UNIT_SPHERE,
    seed=run.seed,
    on_step=progress(f"prior {run.out.name}", checkpoint=unfinished, about=about),
    resume=checkpoints.unfinished(unfinished, about),
)
seconds = time.perf_counter() - began
local = trained.prior
plots.losses({run.out.name: trained.history})

# %% [markdown]
# The network and the codes are the prior. They are kept as plain tensors.

# %%
checkpoints.save(run.out / "checkpoint.safetensors", local.tensors, about)

# %% [markdown]
# Some learned heads, the mean code first, and heads of nobody in particular.

# %%
codes = local.tensors["codes"]
shown = {"mean code": autodecoder.surface(local, local.tensors["geometry.code"])}
shown |= {head.name: autodecoder.surface(local, code) for head, code in zip(learned[:4], codes, strict=False)}
new = {f"{i}": autodecoder.surface(local, code) for i, code in enumerate(priors.sample(local, 5, seed=run.seed))}
figures = {"samples.png": plots.heads([shown, new])}
figures["samples.png"]

# %% [markdown]
# Heads that this space has not learned: of each, the code that fits its points best. How far the points of the face and
# those of the rest (hair, ears, neck, shoulders) are from the surfaces so found, in mm of a head of usual size:

# %%
import numpy as np
import pandas as pd

from heads import metric

spaces = {run.out.name: local} | spaces
rows, surfaces = [], {}
for head in others:
    for name, space in spaces.items():
        code = fitting.fit(f"{name}, {head.name}", Model(space), [head.points], fit_config, seed=run.seed).identity
        surfaces[name, head.name] = autodecoder.surface(space, code)
        points = head.points.double().numpy() * autodecoder.MM_PER_UNIT
        away = np.linalg.norm(metric.closest_points(points, metric.build_surface(surfaces[name, head.name])) - points, axis=1)
        rows.append({"space": name, "head": head.name, "face_mm": away[head.face].mean(), "rest_mm": away[~head.face].mean()})
distances = pd.DataFrame(rows)
distances.groupby("space")[["face_mm", "rest_mm"]].mean().round(2)

# %% [markdown]
# The first of them: its points, and what each space makes of it.

# %%
first = others[0]
figures["unseen.png"] = plots.heads([{name: surfaces[name, first.name] for name in spaces}], size=320)
plots.points({first.name: first.points.numpy()})

# %%
figures["unseen.png"]

# %%
from heads import files

mesh.save(shown["mean code"], run.out / "mesh.ply")
files.write_table(run.out / "unseen.csv", distances)
for name, figure in figures.items():
    plots.save(figure, run.out / name)
means = distances.groupby("space")[["face_mm", "rest_mm"]].mean()
run.finish(
    config=config,
    losses=trained.history[-1],
    scores={f"{name} {column}": value for name, row in means.iterrows() for column, value in row.items()},
    device=config.device,
    seconds=seconds,
    files=["checkpoint.safetensors", "mesh.ply", "unseen.csv", *figures],
)
unfinished.unlink(missing_ok=True)
