# %% [markdown]
# # 4 · Evaluate: how many millimetres is it off?
#
# Only now the scan comes in. Two protocols are used, and always named. `toolbox` is that of the `h3ds` package, by
# which the papers' numbers were made: the prediction may be scaled to fit, and distances go from vertex to vertex.
# `rigid` moves the prediction but does not scale it, and measures to its surface: a head of the wrong size is wrong.
# Both are means of distances from the scan, and miss what other judges see: surplus surface, bumps, and where no
# photograph looked.

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
# The parameters name one reconstruction, the folder with its `mesh.ply`, and how many photographs it was made from.

# %% tags=["parameters"]
out: str = "runs/demo/score/ada"
root: str = "runs/demo/people"
scenes: str = ""  # a TOML of scenes; empty: the one in `root`
subject: str = "ada"
head: str = "runs/demo/fit/ada"
views: "int >= 0" = 3  # how many photographs the method used; 0: unknown
label: str = "reconstruction"  # what the picture calls it

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import records

run = records.begin("04_evaluate", globals())
run.parameters

# %% [markdown]
# Run on its own, the notebook first has notebook 3 make the reconstruction it needs.

# %%
from heads import mesh, metric
from heads.data import h3ds, truth
from heads.posts import plots
from heads.study import runner

runner.first("03_reconstruct", f"{run.head}/mesh.ply", subject=run.subject)
head_mm = mesh.load(f"{run.head}/mesh.ply")
scan = truth.load_truth(run.root, run.subject, config=run.scenes or None)
run.use([f"{run.head}/mesh.ply", *truth.truth_files(run.root, run.subject)])
cameras = None
if run.views:
    scene = h3ds.load_scene(run.root, run.subject, run.views, config=run.scenes or None)
    run.use(h3ds.scene_files(run.root, run.subject, run.views, config=run.scenes or None))
    mm_from_cam = (scene.mm_from_unit @ scene.unit_from_cam).numpy()
    cameras = metric.Cameras(scene.px_from_cam.numpy(), mm_from_cam, (scene.masks.shape[2], scene.masks.shape[1]))
f"{len(head_mm.faces):,} triangles of the reconstruction, {len(scan.mesh_mm.faces):,} of the scan"

# %% [markdown]
# For the face and for the whole head, the mean distance from the scan to the reconstruction in either protocol. Then the
# other judges, all in the rigid one: the accuracy is the distance on the way back, from the reconstruction to the scan,
# to which surplus surface adds. F1 is the share of both surfaces that is near the other, from 0 to 1. The angles between
# the normals tell bumps from a smooth surface at the same distance. And the rigid score is split into what at least one
# photograph sees of the scan, and what none does.

# %%
import numpy as np
import pandas as pd

from heads import files

evaluation = metric.evaluate(head_mm, scan, seen_by=cameras)
with files.replacing(run.out / "errors.npz") as partial, partial.open("wb") as file:
    np.savez_compressed(file, **{protocol: errors.astype(np.float32) for protocol, errors in evaluation.errors_mm.items()})
table = {}
for name, value in evaluation.scores.items():
    region, _, measure = name.partition("_")
    table.setdefault(region, {})[measure] = value
pd.DataFrame(table).T.round(3)

# %% [markdown]
# The scan, the reconstruction, and where on the head the error sits.

# %%
plots.comparison(scan.mesh_mm, {run.label: head_mm}, {run.label: evaluation.errors_mm["rigid"]}, {run.label: evaluation.scores})

# %% [markdown]
# How far the reconstruction's normals are turned from those of the scan, from 0 degrees (pale) to 60 and more (dark).

# %%
angles = [
    plots.render(scan.mesh_mm, values=evaluation.normals_deg, limits=(0, 60), azimuth=azimuth, elevation=elevation, size=220)
    for azimuth, elevation in plots.VIEWS.values()
]
plots.contact_sheet([angles], titles=list(plots.VIEWS))

# %% [markdown]
# A method with colours is also judged by photographs that it has not seen, inside their masks: how far the rendered
# colours are off, in decibels (PSNR), and how alike the patterns are (SSIM, at best 1). The exposure of such a
# photograph is unknown, so each of its channels first gets one factor, by least squares.

# %%
from pathlib import Path

from heads import pictures

novel, novel_scores = sorted(Path(run.head, "novel").glob("*.png")), {}
if novel:
    numbers, rendered, hit = pictures.load(f"{run.head}/novel")
    run.use([*novel, *h3ds.scene_files(run.root, run.subject, numbers, config=run.scenes or None)])
    held_out = h3ds.load_scene(run.root, run.subject, numbers, config=run.scenes or None)
    seen, masks = held_out.images.numpy(), held_out.masks.numpy()
    novel_scores = {f"novel_{name}": value for name, value in pictures.score(rendered, hit, seen, masks).items()}
novel_scores

# %% [markdown]
# Rendered above, photographed below, as they are compared: in the photograph's exposure, and black outside its mask.

# %%
rows = [pictures.exposed(rendered, hit, seen, masks), seen * masks[..., None]] if novel else []
rows = [[*(255 * row).round().astype(np.uint8)] for row in rows]
plots.contact_sheet(rows, ["rendered", "photographed"], [f"photograph {n}" for n in numbers]) if novel else "nothing rendered"

# %% [markdown]
# The scores become a part of the reconstruction's row in the table.

# %%
run.finish(scores=evaluation.scores | novel_scores, files=["errors.npz"])
