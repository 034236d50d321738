# %% [markdown]
# # 32 · New faces: between two people, and of nobody
#
# A field is also a space of faces. Between the codes and the templates of two people lie faces that nobody has; and codes drawn
# about as those of real people are spread give people who do not exist.

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
# The parameters. `prior` is the folder of a field (notebook 28). `heads` are people tracked by notebook 29, to go from one to
# the next; without any, people are taken whom the field has learned from.

# %% tags=["parameters"]
out: str = "runs/demo/new_faces"
prior: str = "runs/demo/prior/field"
heads: list[str] = []
frames: "int >= 2" = 24  # from one to the next
drawn: "int >= 1" = 8  # new people
size: "int >= 32" = 256  # pixels
seed: "int >= 0" = 0

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import records

run = records.begin("32_new_faces", globals())
run.parameters

# %%
from heads.methods.identity_field import learn, mixed
from heads.posts import plots
from heads.study import checkpoints, runner

runner.first("28_identity_field", f"{run.prior}/checkpoint.safetensors")
run.use([f"{folder}/checkpoint.safetensors" for folder in (run.prior, *run.heads)])
model = learn.restored(*checkpoints.load(f"{run.prior}/checkpoint.safetensors"), run.prior)
tracked = [mixed.face_of(model, *checkpoints.load(f"{folder}/checkpoint.safetensors"), folder) for folder in run.heads]
people = tracked or [mixed.learned(model, person) for person in range(min(4, len(model.people_mm)))]
f"{len(people)} people"

# %% [markdown]
# From each to the next, in code and template alike: from the front, and from the side. A ghost would be a second outline or
# features seen twice.

# %%
steps = mixed.between(people, 5)
shown = [mixed.picture(model, face, azimuth, run.size) for azimuth in (0, 40) for face in steps]
sheet = plots.contact_sheet([shown[: len(steps)][:16], shown[len(steps) :][:16]])
sheet

# %% [markdown]
# As a moving picture, turning from side to side.

# %%
import numpy as np
from IPython.display import Image

path = mixed.between(people, run.frames, there_and_back=True)
turns = 30 * np.sin(np.linspace(0, 2 * np.pi * (len(people) - 1), len(path)))
moving = plots.animation([mixed.picture(model, face, turn, run.size) for face, turn in zip(path, turns, strict=True)])
Image(data=moving, format="webp")

# %% [markdown]
# People of nobody: codes as the learned ones are spread, templates as heads are drawn.

# %%
new = mixed.drawn(model, run.drawn, run.seed)
people_sheet = plots.contact_sheet([[mixed.picture(model, face, azimuth, run.size) for face in new] for azimuth in (-35, 0, 35)])
people_sheet

# %%
from heads import files

for name, figure in {"between.png": sheet, "drawn.png": people_sheet}.items():
    plots.save(figure, run.out / name)
with files.replacing(run.out / "between.webp") as partial:
    partial.write_bytes(moving)
run.finish(files=["between.png", "drawn.png", "between.webp"])
