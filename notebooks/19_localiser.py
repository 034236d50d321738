# %% [markdown]
# # 19 · Where is the face?
#
# A mesh is made of a crop around the face, so the face has to be found first. A small network learns it from the same
# portraits, put into pictures larger and smaller, rolled, side by side, in other colours and in grey: where the middle of
# six landmarks is, how large the face is there, and where each landmark is.

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
# The parameters. `priors` are folders of portraits (notebook 18); the last `unseen` of their people are kept for the test
# below.

# %% tags=["parameters"]
out: str = "runs/demo/prior/localiser"
priors: list[str] = ["runs/demo/prior/portraits"]
unseen: "int >= 1" = 8
seed: "int >= 0" = 0
preset: Literal["PAPER", "LAPTOP", "SMOKE"] = "LAPTOP"
training: "locate.Config" = {}  # fields to set over the preset's

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict

from heads.methods.pixel2mesh import locate
from heads.study import records

run = records.begin("19_localiser", globals())
config = records.configured(locate.PRESETS[run.preset], run.training)
config

# %% [markdown]
# Pictures as the network learns from them. It should also recognise two faces, none, or mere parts of one.

# %%
import torch

from heads.data import faces, shards
from heads.posts import plots
from heads.study import runner

[runner.first("18_portraits", f"{folder}/record.json") for folder in run.priors[:1]]
run.use([path for folder in run.priors for path in shards.paths(folder)])
everybody = faces.read(*run.priors)
learners, others = everybody.part(0, len(everybody) - run.unseen), everybody.part(len(everybody) - run.unseen, len(everybody))
made = [
    locate.canvases(learners, config, torch.Generator().manual_seed(number))[0] for number in range(-(-16 // config.pictures))
]
made = [picture.permute(1, 2, 0).numpy() for picture in (torch.cat(made)[:16] * 255).byte()]
plots.contact_sheet([made[:8], made[8:]])

# %% [markdown]
# The training. The losses are of the score of each cell, and of the place, size and landmarks that it says.

# %%
import time

from heads.study import checkpoints
from heads.study.progress import progress

began = time.perf_counter()
about = {
    "name": run.out.name,
    "kind": "localiser",
    "parameters": run.parameters,
    "code": run.code,
    "config": asdict(config),
    "made_from": [shards.said(path) for folder in run.priors for path in shards.paths(folder)],
}
unfinished = run.out / "unfinished.safetensors"
tensors, history = locate.train(
    run.out.name,
    learners,
    config,
    seed=run.seed,
    on_step=progress(f"prior {run.out.name}", checkpoint=unfinished, about=about),
    resume=checkpoints.unfinished(unfinished, about),
)
seconds = time.perf_counter() - began
checkpoints.save(run.out / "checkpoint.safetensors", tensors, about)
plots.losses({run.out.name: history})

# %% [markdown]
# How far off it is on people whom it has not seen, in pixels of the photograph and in mm at the face: the median, and the
# 95th percentile. A photograph in which it finds nobody, or several, or somebody elsewhere, is missed.

# %%
import pandas as pd

network = locate.restored(tensors, about, str(run.out))
errors = pd.DataFrame(locate.errors(network, others))
found = errors.dropna()
pd.DataFrame({"median": found.median(), "95th percentile": found.quantile(0.95), "missed": errors.isna().mean()}).round(2)

# %% [markdown]
# Some of these photographs: the square that is cut out, and the landmarks.

# %%
shown = [others.of(person, "pictures")[0].numpy() for person in range(min(8, len(others)))]
sheet = plots.contact_sheet([[plots.marked(picture, locate.find(network, picture)) for picture in shown]])
sheet

# %%
plots.save(sheet, run.out / "found.png")
run.finish(
    config=config,
    losses=history[-1]
    | {f"median_{name}": float(value) for name, value in found.median().items()}
    | {"missed": float(errors["middle_px"].isna().mean())},
    device=config.device,
    seconds=seconds,
    files=["checkpoint.safetensors", "found.png"],
)
unfinished.unlink(missing_ok=True)
