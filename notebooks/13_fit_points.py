# %% [markdown]
# # 13 · Fit a head model to points
#
# One person, seen by a depth camera in several expressions, and once from behind. NPM and NPHM are fitted to all of it
# at once: one code of the person, and one of each expression. The networks stay as they are.

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
# The parameters. `prior` is the folder of the model (notebook 12), and `points` are those of the single views, or of the
# whole scans.

# %% tags=["parameters"]
out: str = "runs/demo/fit/uma"
root: str = "runs/demo/talkers"
subject: str = "uma"
prior: str = "runs/demo/prior/nphm"
points: Literal["single view", "dense"] = "single view"
seed: "int >= 0" = 0
preset: Literal["PAPER", "LAPTOP", "SMOKE"] = "LAPTOP"
fit: "fitting.Config" = {}  # fields to set over the preset's

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.methods.nphm import fitting
from heads.methods.nphm import heads as decoded
from heads.study import records

run = records.begin("13_fit_points", globals())
config = records.configured(fitting.PRESETS[run.preset], run.fit)
config

# %% [markdown]
# The points. Run on its own, the notebook first makes the person.

# %%
import torch

from heads.data import crowd, nphm
from heads.posts import plots
from heads.study import runner

runner.first("10_expressions", f"{run.root}/dataset/{run.subject}/expressions.json", subject=run.subject)
person = nphm.subject(run.root, run.subject)
names = {person.neutral: "neutral"} | person.expressions
seen = {number: person.observed_mm(number) if run.points == "single view" else person.dense_mm(number) for number in names}
run.use(person.files())
plots.points({names[number]: points for number, points in list(seen.items())[:4]})

# %% [markdown]
# The model, and the fit. For every point the place of the neutral head is sought that the expression moves to it; there
# the distance has to vanish.

# %%
import time

from heads.study import checkpoints
from heads.study.progress import progress

runner.first("12_nphm", f"{run.prior}/checkpoint.safetensors")
run.use([f"{run.prior}/checkpoint.safetensors"])
model = decoded.restored(*checkpoints.load(f"{run.prior}/checkpoint.safetensors"))
began = time.perf_counter()
clouds = [torch.from_numpy(points).float() / crowd.MM_PER_UNIT for points in seen.values()]
found = fitting.fit(
    run.out.name,
    model,
    clouds,
    config,
    posed=[number != person.neutral for number in names],
    seed=run.seed,
    on_step=progress(run.out.name),
)
plots.losses({run.out.name: found.history})

# %% [markdown]
# The heads: the neutral one is where the distance is zero, and the others are what its vertices become.

# %%
heads = {person.neutral: decoded.neutral_mesh(model, found.identity, cell_mm=config.cell_mm)}
for index, number in list(enumerate(names))[1:]:
    heads[number] = decoded.posed_mesh(model, heads[person.neutral], found.identity, found.expressions[index])
seconds = time.perf_counter() - began
plots.heads([{names[number]: head for number, head in list(heads.items())[:6]}])

# %%
from pathlib import Path

import pandas as pd

from heads import files, mesh

paths = [Path(f"head_{number:03d}.ply") for number in heads]
for path, head in zip(paths, heads.values(), strict=True):
    mesh.save(head, run.out / path)
mesh.save(heads[person.neutral], run.out / "mesh.ply")
checkpoints.save(
    run.out / "codes.safetensors", {"identity": found.identity, "expressions": found.expressions}, {"of": list(names)}
)
files.write_table(run.out / "history.csv", pd.DataFrame(found.history))
run.finish(
    config=config,
    losses=found.history[-1] | {"near": found.near},
    device=config.device,
    seconds=seconds,
    files=["mesh.ply", "codes.safetensors", "history.csv", *map(str, paths)],
)
