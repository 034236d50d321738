# %% [markdown]
# # 14 · Evaluate: how far is a surface from points?
#
# The protocol of NPHM. Points are drawn on both surfaces where cameras all around see them, and cut at the throat; the
# head is all of them, the face those near the registered face. Chamfer distances go both ways, L2 is halved as there,
# normals count without their sign. Nothing is aligned. Two drawings of the same surface are not at distance zero: that
# is the floor of the protocol, here of the neutral head. Beside it stands the distance from the points of the scan to the
# surface itself.

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
# The parameters name one fit, the folder with its `head_000.ply` and the others.

# %% tags=["parameters"]
out: str = "runs/demo/score/uma"
root: str = "runs/demo/talkers"
subject: str = "uma"
head: str = "runs/demo/fit/uma"
views: "int >= 0" = 0  # not used: nothing is known of photographs here
label: str = "reconstruction"  # what the picture calls it
points: "int >= 1000" = 250_000  # on each surface and region, as published
seed: "int >= 0" = 0

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import records

run = records.begin("14_evaluate_points", globals())
run.parameters

# %% [markdown]
# For the neutral head and each expression, the scores of the head and of the face.

# %%
import numpy as np
import pandas as pd

from heads import chamfer, mesh
from heads.data import nphm
from heads.study import runner

runner.first("13_fit_points", f"{run.head}/head_000.ply", subject=run.subject)
person = nphm.subject(run.root, run.subject)
numbers = [person.neutral, *person.expressions]
paths = {number: f"{run.head}/head_{number:03d}.ply" for number in numbers}
run.use([*paths.values(), *person.files()])
heads, scans = {number: mesh.load(path) for number, path in paths.items()}, {number: person.scan(number) for number in numbers}
still, rows = person.face(person.neutral)[0], {}
for number in numbers:
    face = person.face(number)
    moved = np.linalg.norm(face[0] - still, axis=1)
    throat = person.throat_mm(number)
    rows[number] = chamfer.evaluate(
        heads[number],
        scans[number],
        face,
        throat,
        count=run.points,
        seed=run.seed,
        moved_mm=moved,
        floor=number == person.neutral,
    )
table = pd.DataFrame(rows).T
table.index = ["neutral", *person.expressions.values()]
table.round(3)

# %% [markdown]
# The scans above, the reconstructions below.

# %%
from heads.posts import plots

frame = plots.frame_of(*scans.values(), *heads.values())
sheet = [[plots.render(one[number], azimuth=25, size=140, frame=frame) for number in numbers] for one in (scans, heads)]
figure = plots.contact_sheet(sheet, ["scan", run.label], [name.replace(" ", "\n", 1) for name in table.index])
figure

# %% [markdown]
# The means become a part of the fit's row in the table: of all scans, and of the neutral one and the expressions apart.

# %%
plots.save(figure, run.out / "heads.png")
means = {"": table.mean(), "neutral_": table.iloc[0], "expressions_": table.iloc[1:].mean()}
scores = {f"{part}{name}": value for part, series in means.items() for name, value in series.dropna().items()}
run.finish(scores=scores, files=["heads.png"])
