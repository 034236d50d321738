# %% [markdown]
# # 30 · Evaluate: a face from the other cameras
#
# The photographs that a method has not seen now come in, with the scan that says where in each the face is. In it the rendered
# picture is compared with the photograph as it is: no exposure is fitted, for everybody is in one light. PSNR and SSIM are of the
# face alone; the whole is the face on black. Beside them stand the scores of notebook 4, of the mesh.

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
# The parameters name one reconstruction: the folder with its `mesh.ply` and its pictures in `novel`.

# %% tags=["parameters"]
out: str = "runs/demo/views_score/ada"
root: str = "runs/demo/field_people"
scenes: str = ""  # a TOML of scenes; empty: the one in `root`
subject: str = "ada"
head: str = "runs/demo/track/ada"
views: "int >= 1" = 1  # how many photographs the method used,
most_views: "int >= 1" = 3  # and the method of the study that used most: all are scored by what none has used
region: str = "front"  # of the scan: what counts as the face
label: str = "reconstruction"  # what the picture calls it

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import records

run = records.begin("30_evaluate_views", globals())
run.parameters

# %% [markdown]
# Run on its own, the notebook first has notebook 29 track the person.

# %%
from pathlib import Path

from heads import mesh, metric, pictures
from heads.data import h3ds, truth
from heads.posts import field_scores
from heads.study import runner

runner.first("29_track", f"{run.head}/mesh.ply", subject=run.subject)
head_mm = mesh.load(f"{run.head}/mesh.ply")
scan = truth.load_truth(run.root, run.subject, config=run.scenes or None)
scene = h3ds.load_scene(run.root, run.subject, run.views, config=run.scenes or None)
numbers, rendered, _ = pictures.load(f"{run.head}/novel")
photographed = h3ds.load_scene(run.root, run.subject, numbers, config=run.scenes or None)
run.use([f"{run.head}/mesh.ply", *sorted(Path(run.head, "novel").glob("*.png")), *truth.truth_files(run.root, run.subject)])
run.use(h3ds.scene_files(run.root, run.subject, [*scene.views, *numbers], config=run.scenes or None))
everywhere = sorted([*scene.views, *h3ds.others(run.root, run.subject, scene.views, config=run.scenes or None)])
px_from_cam, unit_from_cam = h3ds.load_cameras(run.root, run.subject, everywhere, config=run.scenes or None)
size_px = (scene.masks.shape[1], scene.masks.shape[2])
masks = field_scores.masks_of(px_from_cam, scene.mm_from_unit @ unit_from_cam, size_px, scan, run.region)
f"{len(numbers)} pictures"

# %% [markdown]
# Of the photographs that no method has used, those count that see most of the face. Of a method that has made pictures of a few
# of them only, these few are scored, which are held out for every method.

# %%
import pandas as pd

unused = h3ds.others(run.root, run.subject, run.most_views, config=run.scenes or None)
facing = [number for number in field_scores.facing(masks) if number in unused]
held_out = h3ds.held_out(run.root, run.subject, run.views, config=run.scenes or None)
chosen = {"held": [number for number in facing if number in held_out], "face": facing}
seen = photographed.images.numpy()
by_camera: dict[str, float] = {}
for name, which in chosen.items():
    if which and set(which) <= set(numbers):
        rows = [numbers.index(number) for number in which]
        last = (rendered[rows], seen[rows], masks[which])
        scored = pictures.in_faces(*last) | (field_scores.perceived(*last) if name == "face" else {})
        by_camera |= {f"{name}_{score}": value for score, value in scored.items()}
pd.Series(by_camera).round(3).to_frame(f"{len(facing)} photographs, {len(chosen['held'])} of them held out for all")

# %% [markdown]
# Made above, photographed below.

# %%
import numpy as np

from heads.posts import plots

made = [number for number in facing if number in numbers]
some = [made[index] for index in np.linspace(0, len(made) - 1, min(8, len(made))).astype(int)]
rows = [numbers.index(number) for number in some]
pair = [field_scores.cut(one, masks[some]) for one in (rendered[rows], seen[rows] * masks[some][..., None])]
sheet = plots.contact_sheet(pair, ["made", "photographed"], [f"photograph {number}" for number in some])
sheet

# %% [markdown]
# The mesh, in the two protocols and by the other judges.

# %%
cameras = metric.Cameras(
    scene.px_from_cam.numpy(),
    (scene.mm_from_unit @ scene.unit_from_cam).numpy(),
    (scene.masks.shape[2], scene.masks.shape[1]),
)
evaluation = metric.evaluate(head_mm, scan, seen_by=cameras)
pd.Series(evaluation.scores).round(3).to_frame("score")

# %%
plots.save(sheet, run.out / "views.png")
run.finish(scores=evaluation.scores | by_camera | field_scores.placed_mm(head_mm, scan, run.region), files=["views.png"])
