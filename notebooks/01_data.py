# %% [markdown]
# # 1 · Data: a head, its photographs and its scan
#
# Everything starts from a data set in the layout of H3DS: for each person photographs with masks and cameras, and a
# scan in millimetres that only the judge will see. This notebook makes one person of the built-in data set (a head
# from the `anny` model, with hair, skin and light of its own) and looks at it. With `kind = "h3ds"` it looks at a
# person of somebody else's folder instead.

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
# The parameters. The seed and the subject's name make the person: the same two always give the same.

# %% tags=["parameters"]
study: str = "demo"  # runs/STUDY holds what is made
dataset: str = "synthetic"
subject: str = "ada"
kind: str = "synthetic"  # or h3ds: look at what lies in `root`
root: str = "runs/demo/data/synthetic"
config: str = ""  # a TOML of scenes; empty: the one in `root`
seed: int = 0
size: int = 256  # pixels
photographs: int = 40
light: str = "varied"  # each person in a light of their own; or common, one for all
views: int = 3  # how many photographs a method will see

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict

from heads.study import records as runs
from heads.study.plan import DataJob

os.chdir(runs.root())
job = runs.parameters(globals(), DataJob)
job

# %% [markdown]
# A built-in person is made in a few seconds: one body model, a hundred shape targets drawn at random, hair, and forty
# photographs around it, under a light that is this person's own or, if you say `light = "common"`, everybody's. (The
# first time ever, the body model takes about a minute to set up.)

# %%
import time

from heads.data import h3ds, synthetic
from heads.data.truth import load_truth
from heads.posts import plots

began = time.perf_counter()
if job.kind == "synthetic":
    synthetic.write_subject(job.root, job.subject, seed=job.seed, size=job.size, n_photographs=job.photographs, light=job.light)

# %% [markdown]
# These are the first of the photographs that a method will see, each with the outline of its mask: from the front,
# and from about 45 degrees at either side.

# %%
scene = h3ds.load_scene(job.root, job.subject, job.views, config=job.config or None)
plots.photographs(h3ds.load_scene(job.root, job.subject, scene.views[:4], config=job.config or None))

# %% [markdown]
# And this is the truth, the outer surface as a scanner sees it. Methods never get it: it serves to measure them.

# %%
truth = load_truth(job.root, job.subject, config=job.config or None)
plots.head(truth.mesh_mm)

# %%
{"vertices": len(truth.mesh_mm.vertices), "landmarks": list(truth.landmarks), "regions": list(truth.regions)}

# %% [markdown]
# What was made is written down: the record is what the next stages wait for.

# %%
record = runs.Record(
    "01_data", parameters=asdict(job), seconds=time.perf_counter() - began, files=[f"{job.root}/{job.subject}/cameras.npz"]
)
runs.write_record(job.record, record)
