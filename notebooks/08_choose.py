# %% [markdown]
# # 8 · Choose: which prior, when there is no scan to ask
#
# The original post tried several priors and took the one with the smallest error. That takes the scan, which nobody has
# of a head that is to be reconstructed. What one has are the photographs. So each prior gets a short trial, and the
# one from which the photographs are best explained is chosen. But which photographs? Those that a trial has used it
# explains about equally well from any start, for that is what a fit is made to do; on the one person on whom this was
# tried first, their loss hardly told the priors apart. So the last photograph is held out: no trial sees it, and it is
# the judge. The scan, where there is one, comes in at the very end, to see whether this was well chosen.

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
# The parameters. `priors` are folders of priors; with none, the notebook makes two small ones, and tries the sphere
# beside them. Without `held_out`, the trials see all photographs and are judged by them; the first post compares the
# two. Without `score`, no scan is needed.

# %% tags=["parameters"]
out: str = "runs/demo/choose/ada"
root: str = "runs/demo/people"
scenes: str = ""  # a TOML of scenes; empty: the one in `root`
subject: str = "ada"
priors: list[str] = []
views: "int >= 1" = 3
held_out: bool = True  # judge by the last photograph, which the trials do not see; or by all, which they have used
share: "0 < float <= 1" = 0.2  # of the epochs of a whole fit
seed: "int >= 0" = 0
preset: Literal["PAPER", "PUBLISHED", "LAPTOP", "SMOKE"] = "LAPTOP"
carry: dict = {}  # prior: the parts of it that a trial takes over, where these are not all
score: bool = True  # measure the trials' heads against the scan; a study scores the whole fits instead
fit: "idr.Config" = {}  # fields to set over the preset's

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import replace

from heads.methods import choose, idr
from heads.study import records

run = records.begin("08_choose", globals())
config = records.configured(idr.PRESETS[run.preset], run.fit)
choose.check(run.priors, run.views, run.held_out)
config

# %% [markdown]
# The photographs are all that is asked; the last one is the judge. Run on its own, the notebook first makes the
# person it needs.

# %%
from heads.data import h3ds
from heads.posts import plots
from heads.study import runner

runner.first("01_data", f"{run.root}/{run.subject}", subject=run.subject)
scene = h3ds.load_scene(run.root, run.subject, run.views, config=run.scenes or None)
run.use(h3ds.scene_files(run.root, run.subject, run.views, config=run.scenes or None))
plots.photographs(scene)

# %% [markdown]
# The priors. Small ones of two other people are made from 32 photographs each where none are named.

# %%
from heads.methods.priors import carrying, restored, single_scan, sphere
from heads.study import checkpoints
from heads.study.progress import progress

starts = [restored(*checkpoints.load(f"{folder}/checkpoint.safetensors")) for folder in run.priors]
run.use([f"{folder}/checkpoint.safetensors" for folder in run.priors])
starts = [carrying(start, run.carry.get(start.name, ["geometry", "colour", "moments"])) for start in starts]
if not run.priors:
    small = replace(config, epochs=40)
    for other in ("bea", "cal"):
        runner.first("01_data", f"{run.root}/{other}", subject=other)
        made = idr.fit(h3ds.load_scene(run.root, other, 32), sphere(small.shape, run.seed), small, on_step=progress(other))
        starts.append(single_scan(other, small.shape, small.epochs, made))
    starts.append(sphere(config.shape, run.seed))
[start.name for start in starts]

# %% [markdown]
# A trial is a fit like any other, of a share of the epochs, with step sizes that fall over these.

# %%
import time

began = time.perf_counter()
trials = choose.trial(scene, starts, config, share=run.share, seed=run.seed, held_out=run.held_out, progress=progress)
seconds = time.perf_counter() - began
plots.losses({one.prior: one.head.history for one in trials})

# %% [markdown]
# What the judging photograph says of each trial: `rgb`, the loss of the colours, `mask`, that of the outlines, and
# `loss`, their sum as it is weighted in a fit. The smallest loss is chosen.

# %%
import pandas as pd

rows = [{"prior": one.prior, "loss": one.loss, "rgb": one.rgb, "mask": one.mask} for one in trials]
chosen = choose.choose(trials)
table = pd.DataFrame(rows).assign(chosen=lambda rows: rows["prior"] == chosen)
for photographs in ("fitted", "judged"):
    table[photographs] = [" ".join(map(str, getattr(one, photographs))) for one in trials]
table.round(5)

# %% [markdown]
# The heads of the trials. They are not finished, but may already tell which way each is going.

# %%
pictures = [plots.render(one.head.mesh_mm, azimuth=azimuth, size=200) for azimuth in (20, 90) for one in trials]
plots.contact_sheet([pictures[: len(trials)], pictures[len(trials) :]], titles=[one.prior for one in trials])

# %% [markdown]
# Now the scan, for once, if it may be asked: how far these same heads are off, in mm. One subject shows how it works,
# not how well.

# %%
from heads import metric
from heads.data.truth import load_truth

scores = {}
if run.score:
    truth = load_truth(run.root, run.subject, config=run.scenes or None)
    scores = {one.prior: metric.score(one.head.mesh_mm, truth) for one in trials}
    table = table.join(pd.DataFrame(scores).T, on="prior")
table.round(3)

# %% [markdown]
# The choice, and what it cost against the best of these heads.

# %%
said = f"chosen: {chosen}"
if run.score:
    face = table.set_index("prior")["face_rigid_mm"]
    said += ", the best of them" if face.idxmin() == chosen else f"; {face.idxmin()} would have been the best"
    said += f"; it costs {face[chosen] - face.min():.2f} mm on the face (rigid) against the best"
said

# %%
from heads import files

files.write_table(run.out / "trials.csv", table)
run.finish(
    config=config,
    losses={one.prior: one.loss for one in trials},
    scores=scores.get(chosen, {}),
    device=config.device,
    seconds=seconds,
    pictures=scene.views,
    files=["trials.csv"],
)
