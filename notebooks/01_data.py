# %% [markdown]
# # 1 · Data: a head, its photographs and its scan
#
# Everything starts from a data set in the layout of H3DS: for each person photographs with masks and cameras, and a
# scan in millimetres that only the judge will see. This notebook makes one person of the built-in data set (a head
# from the `anny` model, with hair, skin and light of its own) and looks at it. With `kind = "h3ds"` it looks at a
# person in your own folder instead.

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
# The parameters. The seed and the subject's name determine the person: the same two always give the same head.

# %% tags=["parameters"]
out: str = "runs/demo/data/people.ada"  # where the record of this run is written
root: str = "runs/demo/people"  # the data set
subject: str = "ada"
kind: Literal["synthetic", "h3ds"] = "synthetic"  # h3ds: look at what is in `root`
scenes: str = ""  # a TOML of scenes; empty: the one in `root`
seed: "int >= 0" = 0
size: "int >= 16" = 256  # pixels
photographs: "int >= 8" = 40
light: Literal["varied", "common"] = "varied"  # each person in a light of their own, or one for all
cameras: Literal["ring", "portraits"] = "ring"  # portraits: each photograph from another distance, angle and focal length
capture: Literal["studio", "field"] = "studio"  # nothing goes wrong, or what goes wrong where people photograph by hand
only: list[Literal["cameras", "outlines", "exposure", "noise", "motion", "hair", "shine"]] = []  # of `capture`; empty: all
amounts: "capture.Amounts" = {}  # of single disturbances, in place of those of `capture`
strength: "float >= 0" = 1.0  # times all amounts
landmark_noise_px: "float >= 0" = 1.0  # how far off the landmarks are that a detector finds in the photographs
views: "int >= 1" = 3  # how many photographs a method will see

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import records

run = records.begin("01_data", globals())
run.parameters

# %% [markdown]
# A built-in person is made in a few seconds: one body model, a hundred shape targets drawn at random, hair, and forty
# photographs around it, under a light that is this person's own or, if you say `light = "common"`, everybody's. (The
# first time ever, the body model takes about a minute to set up.)
#
# In the studio all is as it should be. With `capture = "field"` the photographs are as people take them: cameras are
# known to a millimetre or so, exposure and colours differ, masks are drawn by hand, the head and its hair move; the scan
# stays the same. `only = ["cameras"]` leaves the rest as in the studio, `amounts = {"blur_mm": 3}` switches one
# disturbance, and `strength` scales them all.

# %%
from heads.data import h3ds
from heads.data.capture import STUDIO, chosen, table
from heads.posts import plots

wrong, drawn = chosen(run.capture, run.amounts, run.strength, run.only), None
if run.kind == "synthetic":
    from heads.data import synthetic

    drawn = synthetic.write_subject(
        run.root,
        run.subject,
        seed=run.seed,
        size=run.size,
        n_photographs=run.photographs,
        light=run.light,
        cameras=run.cameras,
        capture=wrong,
        landmark_noise_px=run.landmark_noise_px,
    )

# %% [markdown]
# These are the first of the photographs that a method will see, each with the outline of its mask: from the front,
# and from about 45 degrees at either side.

# %%
scene = h3ds.load_scene(run.root, run.subject, run.views, config=run.scenes or None)
run.use(h3ds.scene_files(run.root, run.subject, run.views, config=run.scenes or None))
plots.photographs(h3ds.load_scene(run.root, run.subject, scene.views[:4], config=run.scenes or None))

# %% [markdown]
# What chance did to these photographs, which no method is told: exposure, white balance, the errors of the cameras as
# written down, the blur, and how far the head had turned and moved.

# %%
import pandas

pandas.DataFrame(table(drawn, scene.views)) if drawn and wrong != STUDIO else "nothing: no photograph was disturbed here"

# %% [markdown]
# And this is the truth, the outer surface as a scanner sees it. Methods never get it: it serves to measure them.

# %%
from heads.data.truth import load_truth

truth = load_truth(run.root, run.subject, config=run.scenes or None)
plots.head(truth.mesh_mm)

# %%
{"vertices": len(truth.mesh_mm.vertices), "landmarks": list(truth.landmarks), "regions": list(truth.regions)}

# %% [markdown]
# What was made is written down: the next stages wait for this record.

# %%
run.finish(pictures=scene.views, files=[f"{run.root}/{run.subject}/cameras.npz"])
