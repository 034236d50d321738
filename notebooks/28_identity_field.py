# %% [markdown]
# # 28 · An identity field: from a code to a face of Gaussians
#
# Each person is a code. A generator makes of it a map of features over the template's texture; at each anchor on the template
# small networks read off the colours, scales, rotations and opacities of a dozen Gaussians; these are splatted into pictures.
# Codes and networks learn together. Later a new person is found as the code whose pictures are nearest to a photograph.

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
# The parameters. `priors` are folders of identities (notebook 27): the field learns from the first, and the last, if there are
# several, are validation people, who decide when it is to stop. `prior` is the template (notebook 26).

# %% tags=["parameters"]
out: str = "runs/demo/prior/field"
priors: list[str] = ["runs/demo/prior/identities"]
prior: str = "runs/demo/prior/template"
people: "int >= 0" = 0  # to learn from; 0: all there are
seed: "int >= 0" = 0
preset: Literal["PAPER", "LAPTOP", "SMOKE"] = "LAPTOP"
training: "learn.Config" = {}  # fields to set over the preset's
tracking: "track.Config" = {}  # of validation people, by code and tone alone and in few steps, over the preset's

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict

from heads.methods.identity_field import learn, track
from heads.study import records

run = records.begin("28_identity_field", globals())
config = records.configured(learn.PRESETS[run.preset], run.training)
looking = records.configured(track.PRESETS[run.preset], {"steps": 40, "colour_steps": 0} | run.tracking)
config

# %% [markdown]
# The people, and where the Gaussians are: on the mean head, a colour for each anchor. Run on its own, the notebook first has the
# template and the people made.

# %%
from heads import morphable
from heads.data import identities, shards
from heads.methods.identity_field import field
from heads.posts import field_scores, fields, plots
from heads.study import checkpoints, runner

runner.first("26_template", f"{run.prior}/checkpoint.safetensors")
[runner.first("27_identities", f"{folder}/record.json") for folder in run.priors[:1]]
run.use([f"{run.prior}/checkpoint.safetensors", *(path for folder in run.priors for path in shards.paths(folder))])
tensors, said = checkpoints.load(f"{run.prior}/checkpoint.safetensors")
head = morphable.restored(tensors, tuple(said["landmarks"]), run.prior)
learners = identities.read(*(run.priors[:-1] or run.priors))
learners = learners.part(0, run.people or len(learners))
others = identities.read(run.priors[-1]) if len(run.priors) > 1 else None
if others:
    identities.check_apart(run.priors[:-1], run.priors[-1])
where = field.places(head, config.shape.anchors, config.shape.each)
plots.contact_sheet([[fields.anchored(head, where, config.shape.each, azimuth) for azimuth in (0, 60)]])

# %% [markdown]
# The training. Now and then validation people are tracked from the middle one of their pictures, and seen by their other cameras.

# %%
import functools
import time

from heads.study.progress import progress

began = time.perf_counter()
about = {
    "name": run.out.name,
    "parameters": run.parameters,
    "code": run.code,
    "config": asdict(config),
    "made_from": [shards.said(path) for folder in run.priors for path in shards.paths(folder)],
    "template": checkpoints.digest(head.tensors()),
}
unfinished = run.out / "unfinished.safetensors"
model, history, curve = learn.train(
    run.out.name,
    learners,
    head,
    config,
    seed=run.seed,
    look=functools.partial(track.look, people=others, config=looking, unseen=config.unseen) if others else None,
    on_step=progress(f"prior {run.out.name}", checkpoint=unfinished, about=about),
    resume=checkpoints.unfinished(unfinished, about),
)
seconds = time.perf_counter() - began
plots.losses({run.out.name: history})

# %% [markdown]
# How well validation people are tracked after more and more steps; the last that is about as good as the best is kept. Steps that
# become shorter and shorter make any field better at the end, so that over-fitting would show as a fall, and no fall does not
# show that there is none.

# %%
import pandas as pd

pd.DataFrame(curve, columns=["step", "validation, dB"]).set_index("step").round(2) if curve else "no validation people"

# %% [markdown]
# People it has learned from: their own pictures above, the field's below, from cameras that it has not learned from, where
# there are any.

# %%
scores = field_scores.learned(model, learners, config.unseen)
sheet = plots.contact_sheet(fields.rows_of(model, learners, config.unseen), ["photographed", "made"] * 3)
sheet

# %%
pd.Series(scores).round(3).to_frame("score")

# %%
checkpoints.save(run.out / "checkpoint.safetensors", learn.tensors(model), about | learn.about(config, model))
plots.save(sheet, run.out / "learned.png")
(pd.DataFrame(curve, columns=["step", "psnr_db"])).to_csv(run.out / "curve.csv", index=False)
run.finish(
    config=config,
    losses=history[-1],
    scores=scores,
    device=config.device,
    seconds=seconds,
    files=["checkpoint.safetensors", "learned.png", "curve.csv"],
)
unfinished.unlink(missing_ok=True)
