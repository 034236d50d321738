# %% [markdown]
# # 31 · Results: faces from other cameras
#
# Everything that was scored becomes tables: the identity field beside the mean code, the nearest code, Gaussians without a field,
# and IDR; from one photograph and from three; with a template that was tracked with many cameras, and with one of the same
# photographs.

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
# The parameters. Without `save`, nothing is written but this notebook.

# %% tags=["parameters"]
out: str = "runs/demo/table"
study: str = "config/identity_field.yaml"
save: bool = False

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import plan, records

run = records.begin("31_fields_results", globals())
asked = plan.read(run.study)
{stage: len(asked.stage(stage)) for stage in ("data", "prior", "fit", "score")}

# %% [markdown]
# One row a run.

# %%
from pathlib import Path

import pandas as pd

from heads import files
from heads.posts import fields, plots, results
from heads.study.table import stage_seconds, table

csv, folder = Path("results", f"{asked.name}.csv"), Path("figures", asked.name)
rows, about = table(asked), asked.described()
if not (rows["status"] == "ok").any():
    rows = results.read_table(csv)
if run.save:
    files.write_table(csv, rows)
found = results.Results(asked.name, rows, about=about)
told = fields.told(asked)
plots.table(rows)

# %% [markdown]
# People whom it has learned from, seen by cameras that it has not learned from; of each training.

# %%
learned = fields.records_of(asked, "28_identity_field")
pd.DataFrame({name: record.scores for name, record in learned.items()}).T.round(3)

# %% [markdown]
# New people, from the cameras that see their faces and that no method has used: PSNR, with its interval over people, SSIM and the
# mean difference in the face, and the PSNR of the whole picture. A template was tracked before, with up to sixteen photographs,
# or is fitted to the landmarks of the same photographs as the code. `plain` has no tone and no colours of its own, as published.

# %%
fields.gathered(found, fields.SCORES, told)

# %% [markdown]
# Each method against what it has to beat, in decibels: positive is better. With intervals over people, and over the trainings
# that both have.

# %%
pd.DataFrame(fields.gains(found, "face_psnr_db")).T.round(3)

# %% [markdown]
# The same on the few photographs that are held out for every method, IDR among them, which makes pictures of no others.

# %%
fields.gathered(found, fields.HELD, told)

# %%
pd.DataFrame(fields.gains(found, "held_psnr_db")).T.round(3)

# %% [markdown]
# Without the people whose hair covers a part of the face: it is taken for skin there when they are tracked.

# %%
bare = fields.without_fringe(found, asked)
fields.gathered(bare, fields.SCORES, told)

# %% [markdown]
# The tracked template as geometry: the face after the rigid motion that fits best, the same as it lies, and by the toolbox.

# %%
fields.gathered(found, fields.SHAPES, told)

# %% [markdown]
# How well validation people were tracked after more and more steps of training, in each training.

# %%
curves = fields.curves(asked)
curve = plots.decibels_by_steps(curves) if curves else "nothing was trained here"
curve

# %% [markdown]
# Each person in a row: the photograph that was used, the face that was tracked, and what it looks like from other cameras, each
# beside the photograph that was taken there.

# %%
methods = [*about["methods"]]
drawn = fields.gallery(asked, "identity-field" if "identity-field" in methods else methods[-1], 1)
for job in asked.stage("prior"):
    drawn |= {f"{job.folder.name}_{path.name}": plots.opened(path) for path in sorted(job.folder.glob("*.png"))}
drawn.get("faces.png", "nothing was run here")

# %% [markdown]
# With `save`, all of this is written to results/ and figures/.

# %%
if run.save:
    drawn |= {"curve.png": curve} if curves else {}
    for name, figure in drawn.items():
        plots.save(figure, folder / name, palette=True)
    for path in [path for path in folder.glob("*") if path.name not in drawn]:
        path.unlink()
    stages = [{"stage": stage, "runs": len(took), "seconds": sum(took)} for stage, took in stage_seconds(asked).items()]
    files.write_table(csv.with_name(f"{asked.name}_stages.csv"), pd.DataFrame(stages).round(1))
    files.write_table(csv.with_name(f"{asked.name}_learned.csv"), fields.learned_table(asked))
    for name, prior in about["priors"].items():
        made_by = asked.jobs[f"prior/{name}"].record
        prior["config"] = records.read(made_by).config if made_by.is_file() else {}
    about |= {"machine": records.machine()}
    files.write_json(csv.with_suffix(".json"), about)
    run.use([run.study, *(job.record for job in asked.stage("fit", "score"))])
    left = [*csv.parent.glob(f"{asked.name}.*"), *csv.parent.glob(f"{asked.name}_*.csv"), *(folder / name for name in drawn)]
    run.finish(files=[str(path) for path in left])
