# %% [markdown]
# # 11 · A crowd: many people to learn from
#
# A model of heads needs hundreds of them. They are made once, with expressions drawn at random, and written in shards:
# points of every neutral head, and how the face's vertices move. Whoever trains on them reads single points, so two
# thousand people need no more memory than two hundred.

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
# The parameters. The seed determines the people. Or they are those of NPHM's data set, in its folders in `dataset`: all of
# them but those in `without`, who are kept for a test.

# %% tags=["parameters"]
out: str = "runs/demo/prior/crowd"
kind: Literal["synthetic", "nphm"] = "synthetic"
dataset: str = ""  # nphm: the folder
without: list[str] = []
people: "int >= 1" = 100
expression_count: "int >= 1" = 20
seed: "int >= 0" = 0

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.data import nphm
from heads.study import records

run = records.begin("11_crowd", globals())
scanned = nphm.subjects(run.dataset, run.without) if run.kind == "nphm" else []
run.parameters

# %% [markdown]
# Shards that are there already are kept, so an interrupted run goes on.

# %%
import functools
import time

from heads.data import crowd

said = functools.partial(print, f"{run.out.name}, people:", flush=True)
began = time.perf_counter()
if run.kind == "synthetic":
    crowd.write(run.out, run.people, run.expression_count, seed=run.seed, on_person=said)
else:
    nphm.write_crowd(run.out, scanned, run.expression_count, on_person=said)
    run.use([path for one in scanned for path in one.files()])
seconds = time.perf_counter() - began
many = crowd.read(run.out)
f"{len(many)} people with {many.expressions} expressions each, {seconds:.0f} s"

# %% [markdown]
# Six built-in people with six expressions that have names. They should look like people talking.

# %%
from heads.data import expressions
from heads.posts import plots

names = ("mouth closed", "jaw wide open", "smile with teeth", "surprise", "anger", "kiss")
talkers = [expressions.talker(f"{run.seed} {i}", run.seed, {name: expressions.recipe(name) for name in names}) for i in range(6)]
rows = [[plots.render(talker.mesh(name), azimuth=20, size=140) for name in names] for talker in talkers]
sheet = plots.contact_sheet(rows, titles=names)
sheet

# %% [markdown]
# How far the points of the face move, on average over the face, in mm: of each person's expressions the median, and the
# most.

# %%
import pandas as pd

moved = [(shard["offsets"].float() / 32767).norm(dim=3).mean(dim=2) * crowd.MM_PER_UNIT for shard in many.shards]
each = [values for part in moved for values in part]
pd.DataFrame({"median": [float(one.median()) for one in each], "most": [float(one.max()) for one in each]}).describe().round(2)

# %%
plots.save(sheet, run.out / "expressions.png")
run.finish(seconds=seconds, files=[*sorted(path.name for path in run.out.glob("people-*.safetensors")), "expressions.png"])
