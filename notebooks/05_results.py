# %% [markdown]
# # 5 · Results: the table, and the heads side by side
#
# Every run has left a record; together they are the study's table. A run that failed has its row too, with the
# reason. Where this machine has not run the study, the table is the one that came with the repository.

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
# The parameters: which study, whether to write results/ and figures/ anew (the study itself does; a reader need
# not), and whether people from H3DS may be drawn, which its licence leaves to the reader.

# %% tags=["parameters"]
out: str = "runs/demo/table"
study: str = "config/quick.yaml"
save: bool = False
pictures: bool = False

# %% [markdown]
# A wrong or unknown parameter ends the notebook here, before any work.

# %%
from heads.study import plan, records

run = records.begin("05_results", globals())
asked = plan.read(run.study)
{stage: len(asked.stage(stage)) for stage in ("data", "prior", "fit", "score", "choose")}

# %% [markdown]
# One row a run.

# %%
from pathlib import Path

from heads import files
from heads.posts import plots, results, tables
from heads.study.table import stage_seconds, table, trials

csv, folder = Path("results", f"{asked.name}.csv"), Path("figures", asked.name)
rows, about = table(asked), asked.described()
if run.save:
    files.write_table(csv, rows)
elif not (rows["status"] == "ok").any():
    rows = results.read_table(csv)
plots.table(rows)

# %% [markdown]
# The mean over the subjects, and how many there are.

# %%
found = results.Results(asked.name, rows, about=about)
done = found.ok.fillna({"views": 0})
ways = done.groupby(["method", "prior", "name", "views", *results.varied(rows)], dropna=False, sort=False)
means = ways[[*found.scores, "seconds"]].mean()
means.insert(0, "runs", ways.size())
plots.table(means.reset_index())

# %% [markdown]
# Every head's error from the fewest photographs, in the protocol that sees a wrong size, and the mean error against
# the number of photographs.

# %%
from IPython.display import display

fewest = found.views[0]
few, looks = results.at(found, fewest), found.looks
if len(done):
    display(plots.strips(tables.strips(few, "rigid"), looks=looks))
if len(done) and len(found.views) > 1:
    display(plots.view_sweep(tables.sweep_lines(found, "rigid"), looks=looks))

# %% [markdown]
# Where a study disturbs its photographs, what that adds to the errors.

# %%
drawn, disturbed = {}, tables.disturbance_lines(few, "rigid")
if any(methods for regions in disturbed.values() for methods in regions.values()):
    drawn["disturbances.png"] = plots.disturbances(disturbed, looks=looks)
drawn.get("disturbances.png", "this study disturbs no photographs, or no head was reconstructed from all of them")

# %% [markdown]
# The heads of the study, seen by some of their cameras.

# %%
import numpy as np

from heads.data import h3ds

made = [one for one in asked.stage("data") if one.record.is_file() and records.read(one.record).status == "ok"]
seen = {}  # of several sources, a test subject is shown as the first fit saw them
for name in (name for fit in asked.stage("fit") for name in fit.after if name.startswith("data/")):
    seen.setdefault(asked.jobs[name].parameters["subject"], name)
made = [one for one in made if seen.get(one.parameters["subject"], one.name) == one.name]
shown = {one.parameters["subject"]: records.read(one.record).parameters for one in made if run.pictures or not one.looks}
sheet = []
for subject, one in shown.items():
    lists = h3ds.read_config(one["root"], one["scenes"] or None)["scenes"][subject].get("default_views_configs", {"3": []})
    views = min(map(int, lists), key=lambda count: abs(count - 8))
    scene = h3ds.load_scene(one["root"], subject, views, config=one["scenes"] or None)
    sheet.append([(image.numpy() * 255).round().astype(np.uint8) for image in scene.images])
if sheet:
    drawn["contact_sheet.png"] = plots.contact_sheet(sheet, list(shown))
drawn.get("contact_sheet.png", "no picture of this study may be shown, or there is no run of it on this machine")

# %% [markdown]
# A method is represented by its first entry: the first prior, the fewest photographs, the first seed. How the losses of
# the first subject's fits fell:

# %%
import pandas as pd

well = [fit for fit in asked.stage("fit") if records.succeeded(fit.record) and records.succeeded(asked.score_of(fit).record)]
first = {}
for fit in asked.stage("fit"):
    entry = about["methods"][fit.row["method"]]
    if fit.row["name"] == "" and fit.row["prior"] == entry["prior"] and fit.row["views"] in (None, fewest):
        first.setdefault((fit.row["subject"], fit.row["method"]), fit)
first = {key: fit for key, fit in first.items() if fit in well}
label = {method: entry["label"] for method, entry in about["methods"].items()}
lines = [(fit, fit.folder / "history.csv") for (subject, _), fit in first.items() if subject == next(iter(first))[0]]
histories = {label[fit.row["method"]]: pd.read_csv(path).to_dict("records") for fit, path in lines if path.is_file()}
if histories:
    drawn["losses.png"] = plots.losses(histories, looks=looks)
drawn.get("losses.png", "no run of this study on this machine")

# %% [markdown]
# And the heads: the scan, then each method's surface and where it is off. Those on which the error is lowest and
# highest are kept to be turned, too.

# %%
from heads import mesh
from heads.data.truth import load_truth

for subject in [subject for subject in asked.subjects if subject in shown and any(subject == key[0] for key in first)]:
    one = shown[subject]
    scan_mm = load_truth(one["root"], subject, config=one["scenes"] or None).mesh_mm
    fits = {fit.row["method"]: fit for key, fit in first.items() if key[0] == subject}
    heads_mm = {label[method]: mesh.load(fit.folder / "mesh.ply") for method, fit in fits.items()}
    errors = {label[method]: np.load(asked.score_of(fit).folder / "errors.npz")["rigid"] for method, fit in fits.items()}
    scores = {label[method]: records.read(asked.score_of(fit).record).scores for method, fit in fits.items()}
    drawn[f"comparison_{subject}.png"] = plots.comparison(scan_mm, heads_mm, errors, scores, looks=looks)
    scene = h3ds.load_scene(one["root"], subject, fewest, config=one["scenes"] or None)
    drawn[f"photographs_{subject}.png"] = plots.photographs(scene)
    turned = {"truth": scan_mm} | {method: heads_mm[label[method]] for method in fits}
    frame = plots.frame_of(*turned.values())
    for name in turned if subject in results.extremes(few) else []:
        drawn[f"head_{subject}_{name}.json"] = plots.interactive(turned[name], frame=frame)
    display(drawn[f"comparison_{subject}.png"])

# %% [markdown]
# The priors of one head each, after more and more epochs, and the scan of that head.

# %%
scans = {job.folder.name: job for job in asked.stage("prior") if "epochs" in job.parameters and records.succeeded(job.record)}
rows_of = {}
for subject in dict.fromkeys(job.parameters["subject"] for job in scans.values() if job.parameters["subject"] in shown):
    one = shown[subject]
    own = sorted((job.parameters["epochs"], job.folder) for job in scans.values() if job.parameters["subject"] == subject)
    row = {f"{epochs} epochs": mesh.load(folder_of / "mesh.ply") for epochs, folder_of in own}
    row["scan"] = load_truth(one["root"], subject, config=one["scenes"] or None).mesh_mm
    frame = plots.frame_of(*row.values())
    rows_of[subject] = {name: plots.render(head_mm, frame=frame, azimuth=25) for name, head_mm in row.items()}
if rows_of and len({tuple(row) for row in rows_of.values()}) == 1:
    titles = list(next(iter(rows_of.values())))
    drawn["priors.png"] = plots.contact_sheet([list(row.values()) for row in rows_of.values()], list(rows_of), titles)
drawn.get("priors.png", "no prior of this study may be shown, or there is none on this machine")

# %% [markdown]
# The first subject from the first prior's head, fitted for more and more epochs.

# %%
subject = asked.subjects[0]
tried = {fit.row["prior"]: fit for fit in reversed(well) if fit.row["subject"] == subject and fit.row["prior"] in scans}
owner = scans[next(reversed(tried))].parameters["subject"] if tried else ""
ordered = sorted((scans[prior].parameters["epochs"], prior) for prior in tried if scans[prior].parameters["subject"] == owner)
grown = {f"{epochs} epochs": tried[prior] for epochs, prior in ordered if tried[prior].row["name"] == ""}
if len(grown) > 1 and subject in shown:
    one = shown[subject]
    scan_mm = load_truth(one["root"], subject, config=one["scenes"] or None).mesh_mm
    heads_mm = {name: mesh.load(fit.folder / "mesh.ply") for name, fit in grown.items()}
    errors = {name: np.load(asked.score_of(fit).folder / "errors.npz")["rigid"] for name, fit in grown.items()}
    scores = {name: records.read(asked.score_of(fit).record).scores for name, fit in grown.items()}
    drawn["epochs.png"] = plots.comparison(scan_mm, heads_mm, errors, scores)
drawn.get("epochs.png", "there are no fits from one head's prior after several numbers of epochs")

# %% [markdown]
# With `save`, all of this is written to results/ and figures/, from which the posts are made, with the pictures and the
# table that the notebooks of the priors left. Figures of an earlier run that this one did not draw are removed.

# %%
from PIL import Image

for job in asked.stage("prior"):
    for picture in sorted(job.folder.glob("*.png")) if run.pictures or not any(one.looks for one in made) else []:
        drawn[f"{job.folder.name}_{picture.name}"] = np.asarray(Image.open(picture).convert("RGB"))
    if run.save and (job.folder / "table.csv").is_file():
        files.write_table(csv.with_name(f"{asked.name}_{job.folder.name}.csv"), pd.read_csv(job.folder / "table.csv"))
if run.save:
    for name, figure in drawn.items():
        plots.save(figure, folder / name, palette=True)
    for path in [path for path in folder.glob("*") if path.name not in drawn]:
        path.unlink()
    stages = [{"stage": stage, "runs": len(took), "seconds": sum(took)} for stage, took in stage_seconds(asked).items()]
    files.write_table(csv.with_name(f"{asked.name}_stages.csv"), pd.DataFrame(stages).round(1))
    if asked.stage("choose"):
        files.write_table(csv.with_name(f"{asked.name}_trials.csv"), trials(asked))
    for name, prior in about["priors"].items():
        made_by = asked.jobs[f"prior/{name}"].record
        prior["config"] = records.read(made_by).config if made_by.is_file() else {}
    for fit in reversed(well):
        about["methods"][fit.row["method"]]["fit"] = records.read(fit.record).config
    about |= {"fit": records.read(well[0].record).config if well else {}, "machine": records.machine()}
    files.write_json(csv.with_suffix(".json"), about)
    run.use([run.study, *(job.record for job in asked.stage("fit", "score", "choose"))])
    left = [*csv.parent.glob(f"{asked.name}.*"), *csv.parent.glob(f"{asked.name}_stages.csv"), *(folder / name for name in drawn)]
    run.finish(files=[str(path) for path in left])
