# %% [markdown]
# # 23 · From the face in one photograph to the head in several
#
# The face that a model makes of the first photograph becomes a whole head: the mean head, bent so that its face is that one.
# A network learns the distance to it, and from there IDR goes on with all photographs, as from any other prior. With the mean
# face instead of the photograph's, this is the comparison that shows what the photograph has said.

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
# The parameters. `prior` is the folder of a model (notebook 20) with registered vertices.

# %% tags=["parameters"]
out: str = "runs/demo/refined/ada"
root: str = "runs/demo/people"
scenes: str = ""  # a TOML of scenes; empty: the one in `root`
subject: str = "ada"
prior: str = "runs/demo/prior/registered"
views: "int >= 1" = 3
seed: "int >= 0" = 0
preset: Literal["PAPER", "PUBLISHED", "LAPTOP", "SMOKE"] = "LAPTOP"
fit: "idr.Config" = {}  # fields to set over the preset's
distances: "from_mesh.Config" = {}  # and of the network that learns the distance to the head

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict

from heads.methods import from_mesh, idr
from heads.study import records

run = records.begin("23_refine", globals())
config = records.configured(idr.PRESETS[run.preset], run.fit)
distances = records.configured(from_mesh.Config(), run.distances)
config

# %% [markdown]
# The photographs, the model, and where each photograph shows the face. Several together say how far away it is.

# %%
from heads.data import h3ds
from heads.methods.pixel2mesh import locate, model
from heads.posts import plots
from heads.study import checkpoints, runner

runner.first("01_data", f"{run.root}/{run.subject}", subject=run.subject)
runner.first("20_pixel2mesh", f"{run.prior}/checkpoint.safetensors")
scene = h3ds.load_scene(run.root, run.subject, run.views, config=run.scenes or None)
run.use([*h3ds.scene_files(run.root, run.subject, run.views, config=run.scenes or None), f"{run.prior}/checkpoint.safetensors"])
held_out = h3ds.held_out(run.root, run.subject, run.views, config=run.scenes or None)
cameras = h3ds.load_cameras(run.root, run.subject, held_out, config=run.scenes or None)
tensors, said = checkpoints.load(f"{run.prior}/checkpoint.safetensors")
learned, network = model.restored(tensors, said, run.prior), model.localiser(tensors, said, run.prior)
pictures = [(image.numpy() * 255).round().astype("uint8") for image in scene.images]
seen = [locate.find(network, picture) for picture in pictures]
first = locate.the_face(network, pictures[0], f"{run.root}: photograph {scene.views[0]} of {run.subject}")
plots.contact_sheet([[plots.marked(picture, faces[:1]) for picture, faces in zip(pictures, seen, strict=True)]])

# %% [markdown]
# The face, and the head that it becomes.

# %%
import time

began = time.perf_counter()
middles = [first.middle_px, *[faces[0].middle_px if faces else None for faces in seen[1:]]]
crop = model.crop_in_scene(scene, *middles)
face = model.levels_mm(learned, pictures[0], crop)[-1]
whole = model.head_mm(learned, face)
plots.heads([{"face": model.surface(face), "head": whole}])

# %% [markdown]
# The network that learns how far away this head is, and the fit from there, as in notebook 3.

# %%
from heads.study.progress import progress

start = from_mesh.prior(
    run.out.name, from_mesh.in_unit(whole, scene.mm_from_unit.numpy()), config.shape, distances, seed=run.seed
)
about = {
    "name": run.out.name,
    "epoch": start.epoch + config.epochs,
    "shape": asdict(start.shape),
    "parameters": run.parameters,
    "code": run.code,
    "config": asdict(config),
    "made_from": checkpoints.digest(scene, start),
}
unfinished = run.out / "unfinished.safetensors"
head = idr.fit(
    scene,
    start,
    config,
    seed=run.seed,
    on_step=progress(run.out.name, checkpoint=unfinished, about=about),
    resume=checkpoints.unfinished(unfinished, about),
)
seconds = time.perf_counter() - began
plots.losses({run.out.name: head.history})

# %%
plots.head(head.mesh_mm)

# %%
from heads.surface import render

novel = idr.render(head, start, config, *cameras, tuple(scene.masks.shape[1:]))
novel_files = render.save(run.out / "novel", held_out, novel)
shown = (novel.images.where(novel.hit[..., None], 1.0) * 255).byte().numpy()
plots.contact_sheet([[*shown]], titles=[f"camera {number}" for number in held_out]) if held_out else "no photograph is held out"

# %%
import pandas as pd

from heads import files, mesh

checkpoints.save(run.out / "checkpoint.safetensors", head.tensors, about)
mesh.save(head.mesh_mm, run.out / "mesh.ply")
mesh.save(whole, run.out / "start.ply")
files.write_table(run.out / "history.csv", pd.DataFrame(head.history))
run.finish(
    config=config,
    losses=head.history[-1] | idr.photograph_losses(head.history),
    device=config.device,
    seconds=seconds,
    pictures=scene.views,
    files=["mesh.ply", "start.ply", "checkpoint.safetensors", "history.csv", *map(str, novel_files)],
)
unfinished.unlink(missing_ok=True)
