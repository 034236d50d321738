# %% [markdown]
# # 21 · A face from one photograph
#
# The face is found in a photograph, cut out, and a model that has learned from many others makes a mesh of it. Where a scene
# says where its camera stood, and in which sphere the head is, that gives the mesh its place and its size.

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
# The parameters. `prior` is the folder of a model (notebook 20). What it is told beside the photograph is for comparison:
# the pixel where the middle of the face really is, or, for an oracle, the scan itself.

# %% tags=["parameters"]
out: str = "runs/demo/face/ada"
root: str = "runs/demo/people"
scenes: str = ""  # a TOML of scenes; empty: the one in `root`
subject: str = "ada"
prior: str = "runs/demo/prior/registered"
views: "int >= 1" = 1  # of which the first is used
given: Literal["photograph", "middle", "scan"] = "photograph"

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import records

run = records.begin("21_face", globals())
run.parameters

# %% [markdown]
# The photograph, and the model. Run on its own, the notebook first makes the person, and has the model trained.

# %%
from heads.data import h3ds
from heads.methods.pixel2mesh import locate, model
from heads.posts import plots
from heads.study import checkpoints, runner

runner.first("01_data", f"{run.root}/{run.subject}", subject=run.subject, cameras="portraits")
runner.first("20_pixel2mesh", f"{run.prior}/checkpoint.safetensors")
scene = h3ds.load_scene(run.root, run.subject, run.views, config=run.scenes or None)
run.use([*h3ds.scene_files(run.root, run.subject, run.views, config=run.scenes or None), f"{run.prior}/checkpoint.safetensors"])
tensors, said = checkpoints.load(f"{run.prior}/checkpoint.safetensors")
learned, network = model.restored(tensors, said, run.prior), model.localiser(tensors, said, run.prior)
picture = (scene.images[0].numpy() * 255).round().astype("uint8")
f"{learned.kind}, {len(learned.tensors)} tensors"

# %% [markdown]
# Where the face is, and the square that is cut out around it.

# %%
import time

from heads.data import truth

began = time.perf_counter()
if run.given == "photograph":
    face = locate.the_face(network, picture, f"{run.root}: photograph {scene.views[0]} of {run.subject}")
    crop = model.crop_in_scene(scene, face.middle_px)
    marks = [face]
else:
    scan = truth.load_truth(run.root, run.subject, config=run.scenes or None)
    run.use(truth.truth_files(run.root, run.subject))
    landmarks_mm = scan.mesh_mm.vertices[list(scan.landmarks.values())]
    crop = model.crop_in_scene(scene, model.pixel_of(scene, landmarks_mm.mean(axis=0)))
    marks = []
plots.contact_sheet([[plots.marked(picture, marks)]])

# %% [markdown]
# The mesh at each of its levels, from coarse to fine.

# %%
levels = model.levels_mm(learned, picture, crop)
if run.given == "scan":
    levels = [
        model.oracle_mm(learned, scan.mesh_mm, landmarks_mm, scan.regions["face_sphere"])[: len(points)] for points in levels
    ]
seconds = time.perf_counter() - began
meshes = [model.surface(points) for points in levels]
plots.heads([{f"{len(mesh.vertices):,} vertices": mesh for mesh in meshes}], azimuth=0)

# %%
from heads import mesh

mesh.save(meshes[-1], run.out / "mesh.ply")
run.finish(seconds=seconds, pictures=scene.views[:1], files=["mesh.ply"])
