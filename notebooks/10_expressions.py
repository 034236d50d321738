# %% [markdown]
# # 10 · Expressions: one head that talks
#
# NPM and NPHM are head models with expressions. They learn from people who were scanned again and again, neutral and
# with one expression after the other, and are fitted to what a single depth camera sees. This notebook makes such a
# person: a head from the `anny` model, moved by the same model's 52 movements of the face, each person in a manner of
# their own. What it writes is in the folders of NPHM's data set, so whoever has that can take its place.

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
# The parameters. The seed and the subject's name determine the person.

# %% tags=["parameters"]
out: str = "runs/demo/data/talkers.uma"  # where the record of this run is written
root: str = "runs/demo/talkers"  # the data set
subject: str = "uma"
kind: Literal["synthetic", "nphm"] = "synthetic"  # nphm: look at what is in `root`
seed: "int >= 0" = 0
expression_count: "1 <= int <= 28" = 8
points: "int >= 1" = 2500  # that a view has

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import records

run = records.begin("10_expressions", globals())
run.parameters

# %% [markdown]
# Every expression is a recipe of movements. How far each goes, how lopsided it is and which others come with it is the
# person's own. The neutral head has its mouth a little open, so that the lips can part.

# %%
from heads.data import nphm

if run.kind == "synthetic":
    from heads.data import expressions

    names = list(expressions.RECIPES)[: run.expression_count]
    talker = expressions.talker(run.subject, run.seed, {name: expressions.recipe(name) for name in names})
    front = {name: expressions.observe(talker.mesh(name), run.points, azimuth=0, seed=i) for i, name in enumerate(["", *names])}
    behind = {"": expressions.observe(talker.mesh(), run.points, azimuth=180)}
    nphm.write(run.root, talker, front, behind)
person = nphm.subject(run.root, run.subject)
person.expressions

# %% [markdown]
# The neutral head and the first expressions, from the front and from the side. The same vertex is the same place on all
# of them.

# %%
from heads.posts import plots

numbers = [person.neutral, *person.expressions][:9]
scans = {number: person.scan(number) for number in numbers}
frame = plots.frame_of(*scans.values())
rows = [[plots.render(scan, azimuth=azimuth, size=160, frame=frame) for scan in scans.values()] for azimuth in (0, 40)]
plots.contact_sheet(rows, titles=["neutral", *(person.expressions[number].replace(" ", "\n", 1) for number in numbers[1:])])

# %% [markdown]
# What a method gets: the points that one depth camera sees of each expression from the front, and of the neutral head
# from behind as well. Points below the throat are left out.

# %%
seen = {"neutral" if number == person.neutral else person.expressions[number]: person.observed_mm(number) for number in numbers}
plots.points({name: points for name, points in list(seen.items())[:4]})

# %%
left = person.files()
run.use([] if run.kind == "synthetic" else left)
run.finish(files=[str(path) for path in left if run.kind == "synthetic"])
