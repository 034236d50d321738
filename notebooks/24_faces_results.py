# %% [markdown]
# # 24 · Results: faces from one photograph
#
# Everything that was scored becomes tables: Pixel2Mesh as published and as improved here, beside what it has to beat, which
# is the mean face and ridge regression, and beside what faces mixed of others could reach at best.

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
study: str = "config/pixel2mesh.yaml"
save: bool = False

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import plan, records

run = records.begin("24_faces_results", globals())
asked = plan.read(run.study)
{stage: len(asked.stage(stage)) for stage in ("data", "prior", "fit", "score")}

# %% [markdown]
# One row a run, and which groups each person belongs to.

# %%
from pathlib import Path

import pandas as pd

from heads import files
from heads.data import h3ds
from heads.posts import plots, portraits, results
from heads.study.table import stage_seconds, table

csv, folder = Path("results", f"{asked.name}.csv"), Path("figures", asked.name)
people = csv.with_name(f"{asked.name}_people.csv")
rows, about = table(asked), asked.described()
root = asked.stage("fit")[0].parameters["root"]  # of the portraits; who has seen other photographs belongs to the family below
if (rows["status"] == "ok").any():
    listed = h3ds.read_config(root)["scenes"]
    tags = {subject: listed[subject]["tags"][-3:] for subject in asked.subjects}
    groups = pd.DataFrame.from_dict(tags, orient="index", columns=list(portraits.GROUPS)).rename_axis("subject")
else:
    rows, groups = results.read_table(csv), results.read_csv(people, ("subject", *portraits.GROUPS)).set_index("subject")
if run.save:
    files.write_table(csv, rows)
    files.write_table(people, groups.reset_index())
of_faces = {fit.row["method"] for fit in asked.stage("fit") if fit.parameters["root"] == root}
told = {(fit.row["method"], fit.row["name"]): fit.parameters.get("given", "photograph") for fit in asked.stage("fit")}
alone = results.Results(asked.name, rows[rows["method"].isin(of_faces)], about=about)
family = results.Results(asked.name, rows[~rows["method"].isin(of_faces)], about=about)
plots.table(rows)

# %% [markdown]
# After the rigid motion that fits best: the mean distance from the scan's face with its interval over people, Pixel2Mesh's
# scores (a unit is 210 mm, so tau is a distance of 2.1 mm and 2 tau one of 3.0), and the two NMEs. A row that was told the
# `middle` knew the pixel where it is, and the oracle, which was told the `scan`, was fitted to it.

# %%
portraits.gather(alone, portraits.SCORES, told).round(3)

# %% [markdown]
# And as the meshes lie, placed by the camera and the sphere around the head. Here the distance from the camera counts.

# %%
portraits.gather(alone, portraits.PLACED, told).round(3)

# %% [markdown]
# Each method against what it has to beat, in mm on the face, with intervals over people and trainings.

# %%
pairs = portraits.differences(alone, "face_rigid_mm")
pd.DataFrame(
    {
        f"{one} - {other}": {"mm": pair.mean, "from": pair.low, "to": pair.high, "lower on": len(pair.lower), "of": pair.n}
        for (one, other), pair in pairs.items()
    }
).T.round(3)

# %% [markdown]
# What it costs that the face has to be found: the same training, told the photograph and told the middle too.

# %%
cost = {
    said: portraits.cost_of_finding(alone, method, score)
    for method in of_faces
    for score, said in (portraits.SCORES | portraits.PLACED).items()
    if score in ("face_rigid_mm", "aligned_cd", "cd") and (method, "middle") in told
}
pd.DataFrame({said: {"more by": pair.mean, "from": pair.low, "to": pair.high} for said, pair in cost.items()}).T.round(3)

# %% [markdown]
# The two means of Pixel2Mesh's tables: over people, in which a large group weighs more, and over groups, in which all weigh
# the same. Then the face in each group.

# %%
two = {name: portraits.SCORES[name] for name in ("aligned_cd", "aligned_f1_tau", "aligned_f1_2tau")}
portraits.grouped(alone, groups, two).round(3)

# %%
portraits.by_group(alone, groups, "face_rigid_mm").round(2)

# %% [markdown]
# In the family of all methods: heads from one photograph and from three, from a sphere, from the mean head, and from the
# head of the first photograph. Beside them stands the face of one photograph as it is, whose score of the head means nothing.

# %%
REFINED = {"face_rigid_mm": "face, mm", "head_rigid_mm": "head, mm", "face_normals_mean_deg": "normals, deg"}
gone_on = {views: results.at(family, views) for views in family.views}
parts = {views: portraits.gather(part, REFINED, told).round(3) for views, part in gone_on.items()}
pd.concat(parts, names=["photographs"]) if parts else "nothing was refined"

# %%
matters = about.get("matters") or {"face_mm": 0.1, "head_mm": 0.3}
verdicts = {
    (views, f"{one} - {other}, {region}"): {
        "mm": pair.mean,
        "from": pair.low,
        "to": pair.high,
        "verdict": pair.verdict(matters[f"{region}_mm"]),
    }
    for views, part in gone_on.items()
    for region in ("face", "head")
    for (one, other), pair in portraits.differences(part, f"{region}_rigid_mm").items()
}
pd.DataFrame(verdicts).T if verdicts else "nothing was refined"

# %% [markdown]
# Twelve of the photographs; below each the scan, and what was made of it.

# %%
import numpy as np
from PIL import Image

made: dict[str, dict[str, Path]] = {}
for fit in asked.stage("fit"):
    if fit.row["method"] in of_faces and not fit.row["name"] and (fit.folder / "mesh.ply").is_file():
        made.setdefault(fit.row["subject"], {}).setdefault(results.label(alone, fit.row["method"]), fit.folder / "mesh.ply")
some = dict(list(made.items())[:12])
drawn = {}
if some:
    drawn["faces.png"] = plots.gallery(portraits.shown(root, some))
for job in asked.stage("prior"):
    for picture in sorted(job.folder.glob("*.png")):
        drawn[f"{job.folder.name}_{picture.name}"] = np.asarray(Image.open(picture).convert("RGB"))
drawn.get("faces.png", "nothing was run here")

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
    left = [*csv.parent.glob(f"{asked.name}.*"), *csv.parent.glob(f"{asked.name}_*.csv"), *(folder / name for name in drawn)]
    run.finish(files=[str(path) for path in left])
