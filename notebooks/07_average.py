# %% [markdown]
# # 7 · Average: a head that is nobody's
#
# Instead of one other head, why not start from the mean of several? BaseH3D-Net's authors averaged the parameters of
# three trained networks, and the training that was to start from there ended with an error. This notebook shows in a
# few minutes what goes wrong, and two ways to average that work; the last one makes the prior.

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
# The parameters. `priors` are folders of priors made by notebook 2. Without any, the notebook averages the three small
# heads of its lesson.

# %% tags=["parameters"]
out: str = "runs/demo/prior/mean"
priors: list[str] = []  # the priors to average
how: Literal["distil", "weights"] = "distil"  # what the networks say, or their parameters
preset: Literal["PAPER", "PUBLISHED", "LAPTOP", "SMOKE"] = "LAPTOP"
steps: "int >= 0" = 0  # of the distillation, 0: as average.Config says
seed: "int >= 0" = 0
fit: "idr.Config" = {}  # fields to set over the preset's, as in the fits of the priors

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict, replace

from heads.methods import average, idr
from heads.posts import lessons
from heads.study import records

run = records.begin("07_average", globals())
average.check_several(run.priors)
lesson = lessons.PRESETS[run.preset]
fit_config = records.configured(idr.PRESETS[run.preset], run.fit) if run.priors else lesson
config = average.Config(device=fit_config.device, **({"steps": run.steps} if run.steps else {}))
config

# %% [markdown]
# For the lesson, three small people to learn from, eight photographs each, and a fourth, of whom three photographs
# will be the test.

# %%
from heads.data import h3ds, synthetic
from heads.posts import plots

people, root = ("bea", "cas", "dan", "eli"), run.out / "people"
for name in people:
    if not (root / name).exists():
        synthetic.write_subject(root, name, seed=0, size=128, n_photographs=8)
*heads, test = [h3ds.load_scene(root, name, 3 if name == people[-1] else 8) for name in people]
plots.photographs(test)

# %% [markdown]
# Each of the three is learned twice: by networks that start from random weights of their own, as the authors' did, and
# by networks that all start from the same random weights. Every 32 steps a copy of the networks is put aside.

# %%
from heads.study.progress import progress

starts = {"independent": (0, 1, 2), "common": (0, 0, 0)}
kept = {start: lessons.trained(heads, seeds, lesson, every=32, progress=progress) for start, seeds in starts.items()}

# %% [markdown]
# Now the mean of the three networks' parameters, tensor by tensor, at each of these steps. From independent starts it is
# no head: hidden unit seven of one network has nothing to do with unit seven of another. The more the networks learn,
# the more space the mean calls inside. When that is all the space in which rays are traced, no surface is left, and a
# fit from there is refused. From a common start the units still correspond, and the mean stays a head.

# %%
import pandas as pd

rows = pd.concat([lessons.course(start, steps, test, lesson) for start, steps in kept.items()], ignore_index=True)
lessons.figure(rows)

# %% [markdown]
# The other way is to average not the parameters but what the networks say. A fresh network learns the mean of their
# distances and of their colours (distillation); where they started from does not matter.

# %%
last = {start: steps[max(steps)] for start, steps in kept.items()}
means = {f"parameters, {start} start": average.average_weights(f"{start} starts", of) for start, of in last.items()}
short = replace(config, steps=min(300, config.steps), device="cpu")  # they are small
learned = average.distil("distilled", last["independent"], lesson.colour_shape, short, seed=run.seed)
means["distilled, independent start"] = learned.prior
plots.losses({"distilled": learned.history})

# %% [markdown]
# All in numbers: the share of the cube inside, whether there is a surface, how well the mean agrees with what its
# networks say on average (overlap, and mean difference in the unit frame), and the first loss of a fit to the fourth
# person. Above the means, one of the heads.

# %%
owners = {"parameters, common start": last["common"]}
compared = {"one head": last["independent"][0]} | means
table = pd.DataFrame(
    [
        {"start from": name} | lessons.measures(one, owners.get(name, last["independent"]), test, lesson)
        for name, one in compared.items()
    ]
)
table.round(3)

# %% [markdown]
# This is how a fit refuses the first of the means, before its first step.

# %%
lessons.refusal(means["parameters, independent start"]) or "it has a surface still"

# %% [markdown]
# And this is what they look like, cut through the middle, the face to the right.

# %%
shown = lessons.figure(rows, {name: average.mean_field([one]) for name, one in compared.items()})
shown

# %% [markdown]
# The prior itself: of the priors that were asked for, or of the three heads from independent starts. What has been
# learned is saved now and then, so that an interrupted distillation resumes where it was.

# %%
from heads.methods.priors import check_surface, restored
from heads.study import checkpoints

loaded = [restored(*checkpoints.load(f"{folder}/checkpoint.safetensors")) for folder in run.priors]
run.use([f"{folder}/checkpoint.safetensors" for folder in run.priors])
sources = loaded or last["independent"]
about = {
    "name": run.out.name,
    "epoch": sources[0].epoch,
    "shape": asdict(sources[0].shape),
    "parameters": run.parameters,
    "code": run.code,
    "config": asdict(config),
    "made_from": checkpoints.digest(sources),
}
unfinished = run.out / "unfinished.safetensors"
if run.how == "distil":
    result, history = average.distil(
        run.out.name,
        sources,
        replace(fit_config, shape=sources[0].shape).colour_shape,
        config,
        seed=run.seed,
        on_step=progress(f"prior {run.out.name}", checkpoint=unfinished, about=about),
        resume=checkpoints.unfinished(unfinished, about),
    )
else:
    result, history = average.average_weights(run.out.name, sources), []
check_surface(result)

# %% [markdown]
# Its surface, in millimetres as the first person's frame has them.

# %%
from heads import mesh

field = average.mean_field([result])
head_mm = mesh.extract(field, mm_from_unit=heads[0].mm_from_unit, cell_mm=fit_config.cell_mm)
plots.head(head_mm)

# %% [markdown]
# The networks are the prior. They are kept as plain tensors, with the numbers and the figure of the lesson.

# %%
from heads import files

checkpoints.save(run.out / "checkpoint.safetensors", result.tensors, about)
mesh.save(head_mm, run.out / "mesh.ply")
distilled = table.iloc[[-1]].assign(start="distilled", step=max(rows["step"]), network=lessons.MEAN)
files.write_table(run.out / "table.csv", pd.concat([rows, distilled[rows.columns]]).round(5))
plots.save(shown, run.out / "average.png")
run.finish(
    config=config,
    losses=history[-1] if history else {},
    device=config.device,
    files=["checkpoint.safetensors", "mesh.ply", "table.csv", "average.png"],
)
unfinished.unlink(missing_ok=True)
