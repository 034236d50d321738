# %% [markdown]
# # 22 · Evaluate: how far is a face from the scan?
#
# Pixel2Mesh counts vertices near the true surface: a Chamfer distance of squares, and F-scores at a threshold and at twice
# that. They are of the mesh as it lies, and again after the rigid motion that fits it best, for nobody can tell from one
# photograph how far away a face is. Beside them stand the scores of notebook 4, of which those of the face mean something
# here, and those of the head only for methods that make one.

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
# The parameters name one reconstruction, the folder with its `mesh.ply`.

# %% tags=["parameters"]
out: str = "runs/demo/face_score/ada"
root: str = "runs/demo/people"
scenes: str = ""  # a TOML of scenes; empty: the one in `root`
subject: str = "ada"
head: str = "runs/demo/face/ada"
views: "int >= 0" = 1  # how many photographs the method used; 0: unknown
label: str = "reconstruction"  # what the picture calls it

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import records

run = records.begin("22_evaluate_faces", globals())
run.parameters

# %% [markdown]
# Run on its own, the notebook first has notebook 21 make the face.

# %%
from heads import mesh, metric, vertices
from heads.data import h3ds, truth
from heads.study import runner

runner.first("21_face", f"{run.head}/mesh.ply", subject=run.subject)
face_mm = mesh.load(f"{run.head}/mesh.ply")
scan = truth.load_truth(run.root, run.subject, config=run.scenes or None)
run.use([f"{run.head}/mesh.ply", *truth.truth_files(run.root, run.subject)])
f"{len(face_mm.faces):,} triangles of the face, {len(scan.mesh_mm.faces):,} of the scan"

# %% [markdown]
# First the scores of Pixel2Mesh, then all others of the face.

# %%
import pandas as pd

scores = vertices.evaluate(face_mm, scan)
pd.Series(scores).round(4).to_frame("score")

# %%
cameras = None
if run.views:
    scene = h3ds.load_scene(run.root, run.subject, run.views, config=run.scenes or None)
    run.use(h3ds.scene_files(run.root, run.subject, run.views, config=run.scenes or None))
    mm_from_cam = (scene.mm_from_unit @ scene.unit_from_cam).numpy()
    cameras = metric.Cameras(scene.px_from_cam.numpy(), mm_from_cam, (scene.masks.shape[2], scene.masks.shape[1]))
evaluation = metric.evaluate(face_mm, scan, seen_by=cameras)
pd.Series({name: value for name, value in evaluation.scores.items() if name.startswith("face")}).round(3).to_frame("score")

# %% [markdown]
# The scan, the face, and where the error sits.

# %%
from heads.posts import plots

figure = plots.comparison(
    scan.mesh_mm, {run.label: face_mm}, {run.label: evaluation.errors_mm["rigid"]}, {run.label: evaluation.scores}
)
figure

# %%
run.finish(scores=evaluation.scores | scores, files=[])
