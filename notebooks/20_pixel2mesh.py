# %% [markdown]
# # 20 · Pixel2Mesh: from a template to a face
#
# A template is deformed to what one photograph shows. Each vertex looks up features of the photograph where the camera sees
# it, and graph convolutions say where it goes: from 141 vertices to 492, 1,824 and 7,008. As published, the template is half
# a sphere, and the mesh is drawn to points of the surface. Here faces are registered, so the template may be their mean, and
# every vertex has a target of its own. Beside them stands what they have to beat: the mean face, and ridge regression.

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
# The parameters. `priors` are folders of portraits (notebook 18), and `prior` is that of the localiser (notebook 19), which
# becomes a part of the model.

# %% tags=["parameters"]
out: str = "runs/demo/prior/registered"
priors: list[str] = ["runs/demo/prior/portraits"]
prior: str = "runs/demo/prior/localiser"
kind: Literal["mean", "ridge", "published", "registered", "components"] = "registered"
seed: "int >= 0" = 0
preset: Literal["PAPER", "LAPTOP", "SMOKE"] = "LAPTOP"
training: "learn.Config" = {}  # fields to set over the preset's

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict

from heads.methods.pixel2mesh import learn, locate, model
from heads.study import records

run = records.begin("20_pixel2mesh", globals())
config = records.configured(learn.PRESETS["published" if run.kind == "published" else "registered"][run.preset], run.training)
config

# %% [markdown]
# Crops as the network sees them, and on them the vertices of the coarsest level: where the camera of the crop sees the
# registered face. This has to fit, or features are looked up in the wrong place.

# %%
import torch

from heads.data import faces, shards
from heads.posts import plots
from heads.study import checkpoints, runner

[runner.first("18_portraits", f"{folder}/record.json") for folder in run.priors[:1]]
run.use([path for folder in run.priors for path in shards.paths(folder)])
runner.first("19_localiser", f"{run.prior}/checkpoint.safetensors")
run.use([f"{run.prior}/checkpoint.safetensors"])
localiser, said = checkpoints.load(f"{run.prior}/checkpoint.safetensors")
locate.restored(localiser, said, run.prior)
people = faces.read(*run.priors)
some = learn.draw(people, [(person, 0) for person in range(min(8, len(people)))], config, torch.Generator().manual_seed(0))
places = some.camera.project(some.vertices[:, :141])
plots.contact_sheet([[plots.dotted(image, dots) for image, dots in zip(some.images, places, strict=True)]])

# %% [markdown]
# The template at its four levels.

# %%
template = model.template_of(run.kind, people, config)
levels = [template.at(number) * 100 for number in range(len(template.levels))]
plots.heads([{f"{len(points):,} vertices": model.surface(points) for points in levels}])

# %% [markdown]
# The training. As published, the losses are Chamfer distances, normals, edges, Laplacians and moves; with registered
# vertices they are the mean distances at each level.

# %%
import time

from heads.study.progress import progress

began = time.perf_counter()
about = {
    "name": run.out.name,
    **model.about(run.kind, config),
    "parameters": run.parameters,
    "code": run.code,
    "config": asdict(config),
    "made_from": [shards.said(path) for folder in run.priors for path in shards.paths(folder)],
}
unfinished = run.out / "unfinished.safetensors"
learned, history = model.learned(
    run.kind,
    run.out.name,
    people,
    config,
    seed=run.seed,
    on_step=progress(f"prior {run.out.name}", checkpoint=unfinished, about=about),
    resume=checkpoints.unfinished(unfinished, about),
)
seconds = time.perf_counter() - began
plots.losses({run.out.name: history}) if history else "nothing is trained by steps"

# %% [markdown]
# What it makes of photographs that it has learned from, below the photographs.

# %%
pictures = [people.of(person, "pictures")[0].numpy() for person in range(min(8, len(people)))]
crops = [learn.crop_of(people, person, 0, learn.EXACT) for person in range(len(pictures))]
made = [model.surface(model.levels_mm(learned, picture, crop)[-1]) for picture, crop in zip(pictures, crops, strict=True)]
frame = plots.frame_of(*made)
sheet = plots.contact_sheet([pictures, [plots.render(mesh, azimuth=0, size=192, frame=frame) for mesh in made]])
sheet

# %%
plots.save(sheet, run.out / "learned.png")
checkpoints.save(run.out / "checkpoint.safetensors", *model.with_localiser(learned, about, localiser, said))
run.finish(
    config=config,
    losses=history[-1] if history else {},
    device=config.device,
    seconds=seconds,
    files=["checkpoint.safetensors", "learned.png"],
)
unfinished.unlink(missing_ok=True)
