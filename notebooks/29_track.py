# %% [markdown]
# # 29 · Track: a face of Gaussians from one photograph
#
# First the template is fitted to landmarks in the photographs. Then the code is looked for whose Gaussians, on that template,
# look like the photographs; from several photographs their colours may follow. What comes out is a mesh, and pictures from
# anywhere.

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
# The parameters. `prior` is the folder of a field (notebook 28). The template may be fitted to the landmarks of more photographs
# than the code is looked for in: as published, it was tracked with many cameras before. Those that are held out are not among
# them.

# %% tags=["parameters"]
out: str = "runs/demo/track/ada"
root: str = "runs/demo/field_people"
scenes: str = ""  # a TOML of scenes; empty: the one in `root`
subject: str = "ada"
prior: str = "runs/demo/prior/field"
views: "int >= 1" = 1
template_views: "int >= 0" = 0  # to whose landmarks the template is fitted; 0: those of `views`
way: Literal["code", "mean", "nearest", "free"] = "code"  # the code that fits best, the mean of all, the nearest, or no field
half: Literal["", "left", "right"] = ""  # the only half of the face that is looked at
preset: Literal["PAPER", "LAPTOP", "SMOKE"] = "LAPTOP"
tracking: "track.Config" = {}  # fields to set over the preset's
landmarks: "fit_landmarks.Config" = {}

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.methods import fit_landmarks
from heads.methods.identity_field import learn, track
from heads.study import records

run = records.begin("29_track", globals())
config = records.configured(track.PRESETS[run.preset], run.tracking | {"way": run.way})
fitting = records.configured(fit_landmarks.Config(), run.landmarks)
config

# %% [markdown]
# The photographs with the landmarks that a detector has found in them. Run on its own, the notebook first makes the person and
# has the field trained.

# %%
from heads.data import h3ds, landmarks_px
from heads.posts import fields, plots
from heads.study import checkpoints, runner

runner.first("01_data", f"{run.root}/{run.subject}", subject=run.subject, light="common", root=run.root)
runner.first("28_identity_field", f"{run.prior}/checkpoint.safetensors")
scene = h3ds.load_scene(run.root, run.subject, run.views, config=run.scenes or None)
run.use([f"{run.prior}/checkpoint.safetensors"])
model = learn.restored(*checkpoints.load(f"{run.prior}/checkpoint.safetensors"), run.prior)
fitted_to = list(scene.views)
if run.template_views > run.views:
    more = h3ds.load_scene(run.root, run.subject, run.template_views, config=run.scenes or None).views
    kept = set(h3ds.held_out(run.root, run.subject, run.views, config=run.scenes or None))  # for every method
    fitted_to = landmarks_px.with_landmarks(run.root, run.subject, [n for n in more if n not in kept], model.head.names)
whole = h3ds.load_scene(run.root, run.subject, fitted_to, config=run.scenes or None)
run.use(h3ds.scene_files(run.root, run.subject, [*scene.views, *fitted_to], config=run.scenes or None))
size_px = (whole.masks.shape[2], whole.masks.shape[1])
run.use([f"{run.root}/{run.subject}/{landmarks_px.FILE}"])
marks = landmarks_px.load(run.root, run.subject, whole.views, model.head.names, size_px)
plots.contact_sheet([fields.marked(whole, marks)])

# %% [markdown]
# The template, by how many pixels it misses the landmarks in the median, and where it lies on the photographs.

# %%
import time

import numpy as np

began = time.perf_counter()
fitted = fit_landmarks.fit(model.head, whole, marks, fitting)
template_mm = fitted.vertices_mm
shots = track.shots_in(scene, template_mm, model.head, half=run.half)
off_px = float(np.nanmedian(fitted.residuals_px))
plots.contact_sheet([fields.outlined(shots)], [f"{off_px:.1f} px"])

# %% [markdown]
# The code, and if need be the colours.

# %%
tracked = track.track(model, shots, template_mm, config)
seconds = time.perf_counter() - began
plots.losses({run.out.name: tracked.history}) if tracked.history else "nothing was optimised"

# %% [markdown]
# From the camera of the first photograph, and from those of all others. Of the others only the cameras are used here; notebook 30
# compares.

# %%
from heads.surface import render

others = h3ds.others(run.root, run.subject, scene.views, config=run.scenes or None)
cameras = h3ds.load_cameras(run.root, run.subject, others, config=run.scenes or None)
novel = track.render(tracked.gaussians, *cameras, scene.mm_from_unit, (size_px[1], size_px[0]))
pictures = render.save(run.out / "novel", others, novel)
shown = (novel.images[:8] * 255).round().byte().numpy()
first = track.render(tracked.gaussians, scene.px_from_cam[:1], scene.unit_from_cam[:1], scene.mm_from_unit, scene.masks.shape[1:])
again = (first.images[0] * 255).round().byte().numpy()
titles = ["as tracked", *(f"camera {number}" for number in others[:8])]
plots.contact_sheet([[again, *shown]], titles=titles)

# %%
import trimesh

from heads import mesh

mesh.save(trimesh.Trimesh(template_mm, model.head.faces, process=False), run.out / "mesh.ply")
checkpoints.save(
    run.out / "checkpoint.safetensors",
    track.tensors(tracked, fitted.code, template_mm),
    {"method": "tracked face", "way": run.way},
)
plots.save(again, run.out / "tracked.png")
run.finish(
    config=config,
    losses=tracked.history[-1] if tracked.history else {},
    device=config.device,
    seconds=seconds,
    pictures=scene.views,
    files=["mesh.ply", "checkpoint.safetensors", "tracked.png", *map(str, pictures)],
)
