# %% [markdown]
# # 12 · NPM and NPHM: a space of heads and a space of expressions
#
# Both models are trained in two stages. First a network learns the neutral heads, with a code for each person. Then a
# second one learns where the points of a neutral head go in an expression, with a code for each expression. NPM has one
# network for a whole head; NPHM has forty small ones around anchors on the face, so that a nose needs to know little of
# an ear.

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
# The parameters. `prior` is the folder of the people to learn from (notebook 11).

# %% tags=["parameters"]
out: str = "runs/demo/prior/nphm"
prior: str = "runs/demo/prior/crowd"
model: Literal["nphm", "npm"] = "nphm"
seed: "int >= 0" = 0
preset: Literal["PAPER", "LAPTOP", "SMOKE"] = "LAPTOP"
training: "identity.Config" = {}  # fields to set over the preset's, of the space of heads
moving: "expression.Config" = {}  # and of the space of expressions
cell_mm: "float > 0" = 3.0  # of the pictures

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from dataclasses import asdict

from heads.methods import priors
from heads.methods.nphm import expression, heads, identity
from heads.study import records

run = records.begin("12_nphm", globals())
config = records.configured(identity.MODELS[run.model][run.preset], run.training)
moves_config = records.configured(expression.MODELS[run.model][run.preset], run.moving)
config

# %% [markdown]
# The people, and the anchors of the first, which are vertices with names: sixteen pairs, right and left, and seven in
# the middle. Run on its own, the notebook first makes the people.

# %%
from heads.data import crowd, shards
from heads.posts import plots
from heads.study import runner

runner.first("11_crowd", f"{run.prior}/record.json")
people = crowd.read(run.prior)
run.use(shards.paths(run.prior))
plots.points({"anchors": people.anchors[0].numpy(), "mean anchors": people.anchors.mean(dim=0).numpy()})

# %% [markdown]
# Stage 1. On the scans' points the field vanishes and its gradient is the normal; everywhere the gradient has length
# one; codes stay short. NPHM's code also says where the anchors are, and pairs of anchors have similar codes.

# %%
import time

from heads.study import checkpoints
from heads.study.progress import progress

began = time.perf_counter()
about = {
    "name": run.out.name,
    "epoch": 0,
    "frame": identity.FRAME,
    "shape": asdict(config.shape),
    "parameters": run.parameters,
    "code": run.code,
    "config": asdict(config),
    "made_from": checkpoints.digest(people),
}
unfinished = run.out / "unfinished.safetensors"
learned, history = identity.train(
    run.out.name,
    people,
    config,
    seed=run.seed,
    on_step=progress(f"prior {run.out.name}, heads", checkpoint=unfinished, about=about),
    resume=checkpoints.unfinished(unfinished, about),
)
seconds = {"heads": time.perf_counter() - began}
plots.losses({run.out.name: history})

# %% [markdown]
# Stage 2. The network is given corresponding points near neutral faces and near the same faces with an expression, and
# points of the rest of the head, which are to stay where they are.

# %%
began = time.perf_counter()
shape = expression.shape_for(learned, moves_config.shape)
about_moves = about | {"moves": asdict(moves_config), "made_from": checkpoints.digest(people, learned.tensors)}
unfinished_moves = run.out / "unfinished_moves.safetensors"
moves, moves_history = expression.train(
    run.out.name,
    people,
    learned,
    moves_config,
    seed=run.seed,
    on_step=progress(f"prior {run.out.name}, expressions", checkpoint=unfinished_moves, about=about_moves),
    resume=checkpoints.unfinished(unfinished_moves, about_moves),
)
seconds["expressions"] = time.perf_counter() - began
about["expressions"] = {"shape": asdict(shape), "config": asdict(moves_config)}
checkpoints.save(run.out / "checkpoint.safetensors", learned.tensors | moves, about)
plots.losses({run.out.name: moves_history})

# %% [markdown]
# Heads of nobody in particular: codes drawn from the normal distribution that the learned codes have.

# %%
model = heads.Model(learned, expression.restored(moves, asdict(shape)), moves["expressions"])
random = priors.sample(learned, 10, seed=run.seed)
neutral = [heads.neutral_mesh(model, code, cell_mm=run.cell_mm) for code in random]
figures = {"samples.png": plots.heads([{f"{i}": head for i, head in enumerate(row)} for row in (neutral[:5], neutral[5:])])}
figures["samples.png"]

# %% [markdown]
# From one learned person to another, in even steps, with the expression held: first neutral, then with one of the first
# person's.

# %%
codes, shown = learned.tensors["codes"], moves["expressions"][people.expressions - 1]
way = priors.interpolate(codes[0], codes[-1], 6)
between = [heads.neutral_mesh(model, code, cell_mm=run.cell_mm) for code in way]
posed = [heads.posed_mesh(model, head, code, shown) for head, code in zip(between, way, strict=True)]
figures["identities.png"] = plots.heads([{f"{i}": head for i, head in enumerate(row)} for row in (between, posed)])
figures["identities.png"]

# %% [markdown]
# And from one expression to another, with the person held.

# %%
steps = priors.interpolate(moves["expressions"][0], shown, 6)
moved = {f"{i}": heads.posed_mesh(model, between[0], codes[0], how) for i, how in enumerate(steps)}
figures["expressions.png"] = plots.heads([moved])
figures["expressions.png"]

# %%
from heads import mesh

mesh.save(heads.neutral_mesh(model, learned.tensors["geometry.code"], cell_mm=run.cell_mm), run.out / "mesh.ply")
for name, figure in figures.items():
    plots.save(figure, run.out / name)
run.finish(
    config=heads.Settings(config, moves_config),
    losses=history[-1] | {f"expressions_{name}": value for name, value in moves_history[-1].items()},
    device=config.device,
    seconds=seconds["heads"] + seconds["expressions"],
    files=["checkpoint.safetensors", "mesh.ply", *figures],
)
unfinished.unlink(missing_ok=True)
unfinished_moves.unlink(missing_ok=True)
