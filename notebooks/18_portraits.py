# %% [markdown]
# # 18 · Portraits: single photographs of many people to learn from
#
# A method that makes a mesh from one photograph must first have seen many. These are of built-in people, each with four
# photographs in a light of their own, from other distances and angles and with other lenses. Eight at a time are relatives
# of a person who is made whole: they share hair and paint and have faces of their own, at a fifth of the cost. They are
# written once, in shards, and read photograph by photograph.

# %%
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("heads") is None and "HEADS_RUN" not in os.environ:
    if not os.path.exists("../pyproject.toml"):  # this notebook alone, as in Colab
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", "https://github.com/heads-authors/heads"], check=True)
        os.chdir("heads/notebooks")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", ".."], check=True)
# %% [markdown]
# The parameters. The seed determines the people.

# %% tags=["parameters"]
out: str = "runs/demo/prior/portraits"
people: "int >= 2" = 64
photographs: "int >= 1" = 4  # of each
size: "int >= 32" = 192  # pixels
seed: "int >= 0" = 0

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import records

run = records.begin("18_portraits", globals())
run.parameters

# %% [markdown]
# Shards that are there already are kept, so an interrupted run goes on.

# %%
import functools
import time

from heads.data import faces

said = functools.partial(print, f"{run.out.name}, people:", flush=True)
began = time.perf_counter()
faces.write(run.out, run.people, seed=run.seed, photographs=run.photographs, size=run.size, on_person=said)
seconds = time.perf_counter() - began
many = faces.read(run.out)
f"{len(many)} people with {many.photographs} photographs each, {seconds:.0f} s"

# %% [markdown]
# Some of them, a person a column. They should look like people, and not like each other.

# %%
import numpy as np

from heads.posts import plots

shown = np.linspace(0, len(many) - 1, 8).astype(int)
sheet = plots.contact_sheet(
    [[many.of(int(person), "pictures")[shot].numpy() for person in shown] for shot in range(min(3, many.photographs))]
)
sheet

# %% [markdown]
# What is learned of a face beside its photograph: 7,008 vertices that are at the same place on everybody.

# %%
from heads.methods.pixel2mesh import model

plots.heads([{f"{person}": model.surface(many.of(int(person), "face").numpy()) for person in shown[:6]}])

# %% [markdown]
# Who they are: how many are women, their age, and the ancestry that has the largest share.

# %%
import pandas as pd

traits = pd.DataFrame([many.of(person, "traits").tolist() for person in range(len(many))], columns=faces.TRAITS)
traits.describe().loc[["mean", "min", "max"]].round(2)

# %%
plots.save(sheet, run.out / "portraits.png")
run.finish(seconds=seconds, files=[*sorted(path.name for path in run.out.glob("people-*.safetensors")), "portraits.png"])
