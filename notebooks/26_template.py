# %% [markdown]
# # 26 · A morphable head: a mean, and how heads vary
#
# An identity field needs a template that fits its person: a mesh whose every vertex is at the same place on everybody. FLAME
# is the usual one, and licensed. Here it is the mean of drawn heads and their principal components, with 68 landmarks, a
# region of the face that is photographed, and texture coordinates. Those who have FLAME's files may say `kind = "flame"`.

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
# The parameters. `flame` is the folder of FLAME's files, where they are used.

# %% tags=["parameters"]
out: str = "runs/demo/prior/template"
kind: Literal["built-in", "flame"] = "built-in"
flame: str = ""
heads: "int >= 2" = 400  # that are drawn,
components: "int >= 1" = 60  # and as many of their principal components
region: Literal["face", "head"] = "face"  # what is photographed: the face between hairline and chin, or all skin
seed: "int >= 0" = 5

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import records

run = records.begin("26_template", globals())
run.parameters

# %% [markdown]
# The head, in some ten seconds.

# %%
import time

from heads.data import drawn
from heads.data import flame as flames

began = time.perf_counter()
if run.kind == "flame":
    run.use(flames.files_of(run.flame))
    head = flames.read(run.flame)
else:
    head = drawn.morphable(run.heads, run.components, seed=run.seed, region=run.region)
seconds = time.perf_counter() - began
f"{len(head.mean_mm):,} vertices, {len(head.face):,} of them photographed, {len(head.directions_mm)} components"

# %% [markdown]
# The mean, and its first components: two standard deviations down, and up.

# %%
import numpy as np
import trimesh

from heads.posts import plots

codes = np.eye(len(head.directions_mm))[:4]
rows = [
    {f"{sign * 2:+d} of component {number + 1}": head.vertices_mm(2.0 * sign * code) for number, code in enumerate(codes)}
    for sign in (-1, 1)
]
rows = [{"mean": head.mean_mm} | row for row in rows]
plots.heads(
    [{name: trimesh.Trimesh(points, head.faces, process=False) for name, points in row.items()} for row in rows], azimuth=0
)

# %% [markdown]
# The landmarks, and the region. A landmark that is misplaced here is misplaced on everybody.

# %%
from heads.posts import field_scores, fields

sheet = plots.contact_sheet([[fields.landmarked(head, azimuth) for azimuth in (0, 45, 90)]])
sheet

# %% [markdown]
# How much of a head the components leave out, on average over the face: of heads that nobody has learned from.

# %%
import pandas as pd

left = field_scores.left_out_mm(head, 16, seed=run.seed + 1) if run.kind == "built-in" else {}
pd.Series(left, name="mm").rename_axis("components").round(2).to_frame() if left else "only of built-in heads"

# %%
from heads.study import checkpoints

checkpoints.save(run.out / "checkpoint.safetensors", head.tensors(), {"method": "morphable head", "landmarks": head.names})
plots.save(sheet, run.out / "template.png")
run.finish(
    seconds=seconds,
    scores={f"left_out_{count}_mm": value for count, value in left.items()},
    files=["checkpoint.safetensors", "template.png"],
)
