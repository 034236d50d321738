# %% [markdown]
# # 15 · Results: NPM and NPHM on people whom they have not seen
#
# Everything that was scored becomes two tables, of the head and of the face, as NPHM reports them. Beside the distances
# stand the floor of the protocol and the distance to the surface itself; below ours stand the published rows, which are
# of other people, scanned in another way: only the order of the two methods can be compared.

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
study: str = "config/nphm.yaml"
save: bool = False

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import plan, records

run = records.begin("15_points_results", globals())
asked = plan.read(run.study)
{stage: len(asked.stage(stage)) for stage in ("data", "prior", "fit", "score")}

# %% [markdown]
# One row a run.

# %%
from pathlib import Path

from heads import files
from heads.posts import plots, points, results
from heads.study.table import stage_seconds, table

csv, folder = Path("results", f"{asked.name}.csv"), Path("figures", asked.name)
rows, about = table(asked), asked.described()
if run.save:
    files.write_table(csv, rows)
elif not (rows["status"] == "ok").any():
    rows = results.read_table(csv)
found = results.Results(asked.name, rows, about=about)
plots.table(rows)

# %% [markdown]
# The face, and the head: means over people, each the mean over their scans.

# %%
from IPython.display import display

published = Path("blog", "nphm_published.csv")
for region in points.REGIONS:
    display(points.gather(found, region, published=published).round(3))

# %% [markdown]
# The neutral heads alone, and the expressions alone, on the face.

# %%
for part in ("neutral_", "expressions_"):
    display(points.gather(found, "face", part).round(3))

# %% [markdown]
# NPHM against NPM, with intervals over people (one training of each).

# %%
import pandas as pd

pairs = {
    (region, kind): pair for region in points.REGIONS for kind, pair in points.differences(found, "nphm", "npm", region).items()
}
pd.DataFrame(
    {
        key: {"difference of L1, mm": pair.mean, "from": pair.low, "to": pair.high, "lower on": len(pair.lower)}
        for key, pair in pairs.items()
    }
).T.round(3)

# %% [markdown]
# Where the face moves more than two millimetres in an expression: how far, and how far off the reconstruction is there.

# %%
moved = {
    f"{results.label(found, method)}, {name or 'single view'}": {
        said: results.by_subject(found, method, f"expressions_moved_{column}", name=name).mean()
        for column, said in {"by_mm": "moved by, mm", "to_surface_mm": "off by, mm"}.items()
    }
    for method, name in points.ways(found)
}
pd.DataFrame(moved).T.round(2)

# %% [markdown]
# The scans of the first two people, and what was made of them.

# %%
import numpy as np
from PIL import Image

drawn = {}
for fit in asked.stage("fit"):
    picture = asked.score_of(fit).folder / "heads.png"
    if fit.row["subject"] in asked.subjects[:2] and picture.is_file():
        drawn[f"{fit.folder.name}.png"] = np.asarray(Image.open(picture).convert("RGB"))
for job in asked.stage("prior"):
    for picture in sorted(job.folder.glob("*.png")):
        drawn[f"{job.folder.name}_{picture.name}"] = np.asarray(Image.open(picture).convert("RGB"))
[display(Image.fromarray(picture)) for name, picture in drawn.items() if name.startswith(asked.subjects[0])]
list(drawn)

# %% [markdown]
# With `save`, all of this is written to results/ and figures/.

# %%
if run.save:
    for name, figure in drawn.items():
        plots.save(figure, folder / name, palette=True)
    for path in [path for path in folder.glob("*") if path.name not in drawn]:
        path.unlink()
    stages = [{"stage": stage, "runs": len(took), "seconds": sum(took)} for stage, took in stage_seconds(asked).items()]
    files.write_table(csv.with_name(f"{asked.name}_stages.csv"), pd.DataFrame(stages).round(1))
    for name, prior in about["priors"].items():
        made_by = asked.jobs[f"prior/{name}"].record
        prior["config"] = records.read(made_by).config if made_by.is_file() else {}
    about |= {"machine": records.machine()}
    files.write_json(csv.with_suffix(".json"), about)
    run.use([run.study, *(job.record for job in asked.stage("fit", "score"))])
    left = [*csv.parent.glob(f"{asked.name}.*"), *csv.parent.glob(f"{asked.name}_stages.csv"), *(folder / name for name in drawn)]
    run.finish(files=[str(path) for path in left])
