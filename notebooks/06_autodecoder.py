# %% [markdown]
# # 6 · Prior: many heads in one network
#
# H3D-Net's prior is learned from many scans. One network holds them all: it is given a point and a *code*, a short list
# of numbers that says which head is meant. Network and codes are found together, from points on the scans and their
# normals. A new head is then a new code, and three photographs have to find far fewer numbers than the weights of a
# network.

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
# The parameters. With `colour`, the codes hold the heads' looks too, learned from photographs of each.

# %% tags=["parameters"]
out: str = "runs/demo/prior/heads"
heads: "int >= 1" = 24  # how many to learn from, a person each
seed: "int >= 0" = 0  # of the heads and of the training
colour: bool = False
photographs: "int >= 1" = 8  # of each head, and
size: "int >= 16" = 128  # pixels, where colours are learned
light: Literal["varied", "common"] = "varied"
preset: Literal["PAPER", "PUBLISHED", "LAPTOP", "SMOKE"] = "LAPTOP"
training: "autodecoder.Config" = {}  # fields to set over the preset's

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict

from heads.methods import autodecoder, idr, priors
from heads.study import records

run = records.begin("06_autodecoder", globals())
config = records.configured(autodecoder.PRESETS[run.preset], run.training)
colours = idr.PRESETS[run.preset].colour_shape if run.colour else None
config

# %% [markdown]
# The heads are drawn now, from a stream of chance that no test subject comes from; nothing is kept of them but points.
# One more is drawn that will not be learned, for the end of this notebook.

# %%
from heads import mesh
from heads.data import synthetic
from heads.posts import plots

drawn = []
for index in range(run.heads + 1):
    shots = run.photographs if run.colour else 0
    drawn.append(synthetic.training_head(run.seed, index, photographs=shots, size=run.size, light=run.light))
    if index % 10 == 9:
        print(f"{run.out.name}: {index + 1}/{run.heads + 1} heads", flush=True)
*learned, unseen = drawn
plots.points({head.name: head.points.numpy() for head in learned[:4]})

# %% [markdown]
# Training: the field is to vanish on the points, its gradient to be the normal there and to have length one everywhere,
# the codes to stay short.

# %%
from heads.study import checkpoints
from heads.study.progress import progress

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
trained = autodecoder.train(
    run.out.name,
    learned,
    config,
    colours=colours,
    seed=run.seed,
    on_step=progress(f"prior {run.out.name}", checkpoint=unfinished, about=about),
    resume=checkpoints.unfinished(unfinished, about),
)
many = trained.prior
plots.losses({run.out.name: trained.history})

# %% [markdown]
# A head is what the network says for one code. These were learned; the mean code comes first. They are shown in a usual
# size, for the unit frame is the sphere around head and shoulders.

# %%
codes = many.tensors["codes"]
shown = {"mean code": autodecoder.surface(many, many.tensors["geometry.code"])}
shown |= {head.name: autodecoder.surface(many, code) for head, code in zip(learned[:4], codes, strict=False)}
plots.heads([shown])

# %% [markdown]
# New heads: codes drawn from the normal distribution that the learned codes have.

# %%
new = [autodecoder.surface(many, code) for code in priors.sample(many, 10, seed=run.seed)]
figures = {"samples.png": plots.heads([{f"{i}": new[i] for i in range(5)}, {f"{i}": new[i] for i in range(5, 10)}])}
figures["samples.png"]

# %% [markdown]
# From one learned head to another, in equal steps of the code.

# %%
way = priors.interpolate(codes[0], codes[-1], 6)
figures["interpolation.png"] = plots.heads([{f"{i / 5:.1f}": autodecoder.surface(many, code) for i, code in enumerate(way)}])
figures["interpolation.png"]

# %% [markdown]
# A head that was not learned, of which only points in front of the ears are known: the code that fits them best says how
# the rest might be. How far the unseen head's points are from the surface so found, in thousandths of the sphere's radius:

# %%
import pandas as pd

known = unseen.points[:, 2] > 0.1
code = autodecoder.complete(many, unseen.points[known], config, seed=run.seed)
guesses = {"the mean code": many.tensors["geometry.code"], "completed": code}
parts = {"in front, known": known, "behind, unknown": ~known}
away = {
    name: [1000 * autodecoder.distance(many, guess, unseen.points[part]) for part in parts.values()]
    for name, guess in guesses.items()
}
pd.DataFrame(away, index=list(parts)).T.round(1)

# %%
seen = {"all points": unseen.points.numpy(), "known": unseen.points[known].numpy()}
figures["completion_points.png"] = plots.points(seen)
figures["completion.png"] = plots.heads([{name: autodecoder.surface(many, guess) for name, guess in guesses.items()}], size=320)
figures["completion.png"]

# %% [markdown]
# The network, the codes and, if there are any, the colours are the prior. They are kept as plain tensors.

# %%
checkpoints.save(run.out / "checkpoint.safetensors", many.tensors, about)
mesh.save(shown["mean code"], run.out / "mesh.ply")
for name, figure in figures.items():
    plots.save(figure, run.out / name)
run.finish(
    config=config, losses=trained.history[-1], device=config.device, files=["checkpoint.safetensors", "mesh.ply", *figures]
)
unfinished.unlink(missing_ok=True)
