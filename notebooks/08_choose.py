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

if importlib.util.find_spec("heads") is None:
    if not os.path.exists("../pyproject.toml"):  # this notebook alone, as in Colab
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", "https://github.com/heads-authors/heads"], check=True)
        os.chdir("heads/notebooks")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", ".."], check=True)

# %% [markdown]
# The parameters. `of` names priors of this study; with none, the notebook makes two small ones, and tries the sphere
# beside them. Without `held_out`, the trials see all photographs and are judged by them; the first post compares the
# two. Without `score`, no scan is needed.

# %% tags=["parameters"]
study: str = "demo"
dataset: str = "synthetic"
root: str = "runs/demo/data/synthetic"
config: str = ""
subject: str = "ada"
of: list = []
views: int = 3
held_out: bool = True  # judge by the last photograph, which the trials do not see; or by all, which they have used
share: float = 0.2  # of the epochs of a whole fit
seed: int = 0
preset: str = "LAPTOP"  # or PAPER, SMOKE
schedule: str = ""  # of the step size: readme, shipped or cosine; empty: as the preset says
carry: dict = {}  # prior: the parts of it that a trial takes over, where these are not all
score: bool = True  # measure the trials' heads against the scan; a study scores the whole fits instead
overrides: dict = {}  # fields of idr.Config

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict, replace
from pathlib import Path

from heads.methods import idr
from heads.study import records as runs
from heads.study.plan import ChooseJob

os.chdir(runs.root())
job = runs.parameters(globals(), ChooseJob)
fit_config = runs.configured(idr.PRESETS[job.preset], ({"schedule": job.schedule} if job.schedule else {}) | job.overrides)
fit_config

# %% [markdown]
# The photographs are all that is asked; the last one is the judge. Run on its own, the notebook first makes the
# person it needs.

# %%
from heads.data import h3ds, synthetic
from heads.data.truth import load_truth
from heads.posts import plots

if job.study == "demo" and not Path(job.root, job.subject).exists():
    synthetic.write_subject(job.root, job.subject, seed=0)
scene = h3ds.load_scene(job.root, job.subject, job.views, config=job.config or None)
plots.photographs(scene)

# %% [markdown]
# The priors. Small ones of two other people are made from 32 photographs each where none are named.

# %%
from heads.methods import priors
from heads.surface import sdf

starts = []
for folder in job.of_folders:
    tensors, saved = runs.load_checkpoint(folder / "checkpoint.safetensors")
    start = priors.Prior(saved["name"], sdf.Shape(**saved["shape"]), saved["epoch"], tensors)
    starts.append(priors.carrying(start, job.carry.get(start.name, priors.PARTS)))
if not job.of:
    small = replace(fit_config, epochs=40)
    for other in ("bea", "cal"):
        if not Path(job.root, other).exists():
            synthetic.write_subject(job.root, other, seed=0)
        from_sphere = priors.sphere(small.shape, job.seed)
        made = idr.fit(h3ds.load_scene(job.root, other, 32), from_sphere, small, on_step=runs.progress(other))
        starts.append(priors.single_scan(other, small.shape, small.epochs, made))
    starts.append(priors.sphere(fit_config.shape, job.seed))
[start.name for start in starts]

# %% [markdown]
# A trial is a fit like any other, of a share of the epochs, with step sizes that fall over these.

# %%
import time

from heads.methods import choose

began = time.perf_counter()
trials = choose.trial(scene, starts, fit_config, share=job.share, seed=job.seed, held_out=job.held_out, progress=runs.progress)
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

scores = {}
if job.score:
    truth = load_truth(job.root, job.subject, config=job.config or None)
    scores = {one.prior: metric.score(one.head.mesh_mm, truth) for one in trials}
    table = table.assign(**{name: [scores[prior][name] for prior in table["prior"]] for name in runs.METRICS})
table.round(3)

# %% [markdown]
# The choice, and what it cost against the best of these heads.

# %%
said = f"chosen: {chosen}"
if job.score:
    face = table.set_index("prior")["face_rigid_mm"]
    said += ", the best of them" if face.idxmin() == chosen else f"; {face.idxmin()} would have been the best"
    said += f"; it costs {face[chosen] - face.min():.2f} mm on the face (rigid) against the best"
said

# %%
runs.write_table(job.folder / "trials.csv", table)
record = runs.Record(
    "08_choose",
    parameters=asdict(job),
    config=asdict(fit_config),
    losses={one.prior: one.loss for one in trials},
    scores=scores.get(chosen, {}),
    device=fit_config.device,
    seconds=seconds,
    peak_mb=runs.peak_mb(fit_config.device),
    files=[str(job.folder / "trials.csv")],
)
runs.write_record(job.record, record)
