# %% [markdown]
# # 25 · Your own pictures: a face from each
#
# A folder of pictures goes in, each of one person who looks about towards the camera and fills a tenth of it or more; a mesh
# of each face comes out. The model has learned from built-in people alone, so of a stranger it makes a guess from those. How
# the head is turned comes from the picture. Of what makes a face differ from the mean, a picture tells a third, around the
# nose a sixth (on people whom it has not seen; LOG.md); the rest is the mean's. How large a face is cannot be seen in one.

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
# The parameters. `prior` is the folder of a model (notebook 20), `pictures` one of JPEG and PNG files.

# %% tags=["parameters"]
out: str = "runs/demo/predicted"
pictures: str = "runs/demo/people/uma/image"
prior: str = "runs/demo/prior/registered"
field_of_view_deg: "0 < float < 120" = 50.0  # across the longer side, of pictures that do not say it themselves

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import records

run = records.begin("25_predict", globals())
run.parameters

# %% [markdown]
# The model, and the pictures. Run on its own, the notebook first has the model trained, which takes some minutes, and makes
# a built-in person whom it does not know.

# %%
from heads.methods.pixel2mesh import model, predict
from heads.study import checkpoints, runner

runner.first("01_data", run.pictures, subject="uma", cameras="portraits")
runner.first("20_pixel2mesh", f"{run.prior}/checkpoint.safetensors")
paths = predict.pictures(run.pictures)
run.use([f"{run.prior}/checkpoint.safetensors", *paths])
tensors, said = checkpoints.load(f"{run.prior}/checkpoint.safetensors")
learned, network = model.restored(tensors, said, run.prior), model.localiser(tensors, said, run.prior)
f"{len(paths)} pictures"

# %% [markdown]
# A face of each picture. One that cannot be used is named with the reason, and the others go on.

# %%
import time

import pandas as pd

found, rows = {}, []
for path in paths:
    began = time.perf_counter()
    try:
        found[path] = predict.predict(learned, network, path, run.field_of_view_deg)
        reason = ""
    except ValueError as error:
        reason = str(error)
    rows.append({"picture": path.name, "seconds": round(time.perf_counter() - began, 3), "refused": reason})
pd.DataFrame(rows)

# %% [markdown]
# Above the pictures, with the square that was cut out and six landmarks; below the meshes, as the camera sees them, and turned
# by 40 and by 80 degrees.

# %%
import numpy as np

from heads.posts import plots

if not found:
    raise ValueError(f"{run.pictures}: no picture could be used; the first: {rows[0]['refused']}")
meshes = {path.name: predict.filled(model.surface(one.levels_mm[-1])) for path, one in found.items()}
frame = plots.frame_of(*meshes.values())
marked = [plots.squared(plots.marked(one.picture, [one.face]), 240) for one in found.values()]
views = [[plots.render(mesh, azimuth=at, size=240, frame=frame) for mesh in meshes.values()] for at in (0, 40, 80)]
blank = np.full((240, 240, 3), 255, dtype=np.uint8)
sheet = plots.contact_sheet(plots.wrapped([marked, *views], 8, blank))
sheet

# %% [markdown]
# And how the first came about: from the template, level by level.

# %%
from IPython.display import Image

first = next(iter(found.values()))
steps = predict.deformation(learned, first.levels_mm, 10)
made = [predict.filled(model.surface(points)) for points in steps]
turns = [40 * (i / len(made) * 2 - 1) for i in range(len(made))]
shared = plots.frame_of(*made)
moving = plots.animation(
    [plots.render(mesh, azimuth=turn, size=280, frame=shared) for mesh, turn in zip(made, turns, strict=True)]
)
Image(data=moving, format="webp")

# %%
from heads import files, mesh

for name, one in meshes.items():
    mesh.save(one, run.out / f"{name}.ply")
    mesh.save_glb(one, run.out / f"{name}.glb")
plots.save(sheet, run.out / "sheet.png")
with files.replacing(run.out / "deformation.webp") as partial:
    partial.write_bytes(moving)
files.write_table(run.out / "pictures.csv", pd.DataFrame(rows))
left = [f"{name}.{suffix}" for name in meshes for suffix in ("ply", "glb")]
run.finish(files=[*left, "sheet.png", "deformation.webp", "pictures.csv"])
