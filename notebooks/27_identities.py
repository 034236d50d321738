# %% [markdown]
# # 27 · Identities: many people around the front of their faces
#
# What an identity field learns from: each person in one light that is everybody's, by sixteen cameras around the front of the
# face, cut out where the template's face is. Four more pictures of each are kept, to see how well a person that was learned
# from looks from elsewhere. They are written once, in shards, and kept if the run is interrupted.

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
# The parameters. The seed determines the people. With `source`, a folder of NeRSemble's people or INSTA's, these are read in
# their place, on the template of `prior` (notebook 26 with FLAME's files), by `cameras` cameras and no more.

# %% tags=["parameters"]
out: str = "runs/demo/prior/identities"
people: "int >= 1" = 32
cameras: "int >= 1" = 16
unseen: "int >= 0" = 4  # more pictures of each, that are not learned from
size: "int >= 32" = 128  # pixels
region: str = "face"  # or head: all skin
seed: "int >= 0" = 0
source: str = ""
without: list[str] = []  # people of `source` to be left out: with glasses, an open mouth, a long fringe
prior: str = ""

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import records

run = records.begin("27_identities", globals())
run.parameters

# %%
import functools
import time

from heads import morphable
from heads.data import identities, nersemble
from heads.study import checkpoints

said = functools.partial(print, f"{run.out.name}, people:", flush=True)
began = time.perf_counter()
if run.source:
    template = None
    if run.prior:
        run.use([f"{run.prior}/checkpoint.safetensors"])
        tensors, about = checkpoints.load(f"{run.prior}/checkpoint.safetensors")
        template = morphable.restored(tensors, tuple(about["landmarks"]), run.prior)
    run.use(nersemble.files_of(run.source, run.cameras, run.without))
    nersemble.write(run.source, run.out, run.size, cameras=run.cameras, template=template, without=run.without, on_person=said)
else:
    identities.write(
        run.out,
        run.people,
        seed=run.seed,
        cameras=run.cameras,
        unseen=run.unseen,
        size=run.size,
        region=run.region,
        on_person=said,
    )
seconds = time.perf_counter() - began
many = identities.read(run.out)
f"{len(many)} people with {many.cameras} pictures each, {seconds:.0f} s"

# %% [markdown]
# Some of them, a person a row: the first picture as it was taken, then what is learned from. What hair hides is black here, and
# not learned from.

# %%
import numpy as np

from heads.posts import plots

shown = np.linspace(0, len(many) - 1, min(5, len(many))).astype(int)
angles = np.linspace(0, many.cameras - 1, 7).astype(int)
rows = []
for person in shown:
    pictures, masks = (many.of(int(person), name).numpy() for name in ("pictures", "masks"))
    rows.append([pictures[angles[3]], *(pictures[angle] * (masks[angle] == 1)[..., None] for angle in angles)])
sheet = plots.contact_sheet(rows)
sheet

# %%
plots.save(sheet, run.out / "identities.png")
run.finish(seconds=seconds, files=[*sorted(path.name for path in run.out.glob("people-*.safetensors")), "identities.png"])
