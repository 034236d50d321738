# %% [markdown]
# # 9 · Visual hull: what the outlines alone say
#
# Before anything is learned or fitted: which body is the largest whose outlines fit into all the masks? Everything
# outside the head in any one photograph is carved away, and what is left is the *visual hull*. It knows no colours, no
# other heads and nothing of smoothness, takes two seconds, and is the baseline that every other method has to beat.

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
# The parameters. There is nothing to draw at random, so there is no seed.

# %% tags=["parameters"]
out: str = "runs/demo/hull/ada"
root: str = "runs/demo/people"
scenes: str = ""  # a TOML of scenes; empty: the one in `root`
subject: str = "ada"
views: "int >= 1" = 3
carving: "visual_hull.Config" = {}  # fields to set over the defaults

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.methods import visual_hull
from heads.study import records

run = records.begin("09_visual_hull", globals())
config = records.configured(visual_hull.Config(), run.carving)
config

# %% [markdown]
# All that is used of the photographs is the outline. Run on its own, the notebook first makes the person it needs.

# %%
from heads.data import h3ds
from heads.posts import plots
from heads.study import runner

runner.first("01_data", f"{run.root}/{run.subject}", subject=run.subject)
scene = h3ds.load_scene(run.root, run.subject, run.views, config=run.scenes or None)
run.use(h3ds.scene_files(run.root, run.subject, run.views, config=run.scenes or None))
plots.photographs(scene)

# %% [markdown]
# Each mask becomes a map of how far a pixel is from the outline. A point is outside by the most that any photograph
# says, and the hull is where that is zero.

# %%
import time

import numpy as np

began = time.perf_counter()
head = visual_hull.carve(scene, config)
seconds = time.perf_counter() - began
maps = [visual_hull.signed_distance_px(mask).numpy() for mask in scene.masks]
shades = [np.repeat(np.uint8(np.clip(128 + 2 * one, 0, 255))[..., None], 3, axis=2) for one in maps]
plots.contact_sheet([shades], titles=[f"photograph {number}" for number in scene.views])

# %% [markdown]
# From the front it is a head; from the side, where no outline was seen, it is whatever the two others leave.

# %%
plots.head(head.mesh_mm)

# %%
from heads import mesh

mesh.save(head.mesh_mm, run.out / "mesh.ply")
run.finish(config=config, seconds=seconds, pictures=scene.views, files=["mesh.ply"])
