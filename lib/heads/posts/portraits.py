"""Tables of what methods make from one photograph: Pixel2Mesh's scores and those of the face, over people and over groups."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import trimesh

from heads import mesh
from heads.data import h3ds, truth
from heads.methods.pixel2mesh import predict
from heads.posts import results, stats
from heads.posts.results import Results

SCORES = {  # what is shown of the mesh after the rigid motion that fits it best
    "face_rigid_mm": "face, mm",
    "aligned_cd": "CD x 1000",
    "aligned_f1_tau": "F1, tau",
    "aligned_f1_2tau": "F1, 2 tau",
    "face_normals_mean_deg": "normals, deg",
    "aligned_nme_eyes": "NME, eyes",
    "aligned_nme_variant_e9": "NME of the variant x 10^9",
}
PLACED = {"cd": "CD x 1000", "f1_tau": "F1, tau", "f1_2tau": "F1, 2 tau"}  # of the mesh as it lies
GROUPS = ("sex", "ancestry", "age")


def ways(found: Results) -> list[tuple[str, str]]:
    """The methods, each with the names of its runs: "" for those that represent it."""
    return list(dict.fromkeys(zip(found.table["method"], found.table["name"].fillna(""), strict=True)))


def gather(found: Results, scores: Mapping[str, str], told: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """A row for each way: the means over people, and the interval of the first score; `told` says what each has seen."""
    rows, first = [], next(iter(scores))
    for method, name in ways(found):
        values = {said: results.by_subject(found, method, score, name=name).dropna() for score, said in scores.items()}
        errors = values[scores[first]]
        low, high = stats.interval(errors.to_numpy()) if len(errors) else (np.nan, np.nan)  # where all its runs failed
        row: dict[str, object] = {"method": results.label(found, method), "told": told[method, name], "people": len(errors)}
        row |= {said: series.mean() for said, series in values.items()}
        rows.append(row | {"from": low, "to": high})
    return pd.DataFrame(rows)


def grouped(found: Results, groups: pd.DataFrame, scores: Mapping[str, str]) -> pd.DataFrame:
    """For each method the mean over people, in which a large group weighs more, and the mean over groups, in which it does not.

    `groups` has a row for each subject and a column for each of `GROUPS`.
    """
    rows = []
    for method, name in ways(found):
        if name:
            continue
        for score, said in scores.items():
            values = results.by_subject(found, method, score).dropna()
            row: dict[str, object] = {"method": results.label(found, method), "score": said, "over people": values.mean()}
            rows.append(row | {f"over {by}": values.groupby(groups[by].reindex(values.index)).mean().mean() for by in groups})
    return pd.DataFrame(rows)


def by_group(found: Results, groups: pd.DataFrame, score: str) -> pd.DataFrame:
    """The mean of a score in each group, with the number of people in it."""
    rows = {}
    for method, name in ways(found):
        if not name:
            values = results.by_subject(found, method, score).dropna()
            rows[results.label(found, method)] = {
                f"{group} ({len(part)})": part.mean()
                for by in groups
                for group, part in values.groupby(groups[by].reindex(values.index))
            }
    return pd.DataFrame(rows).T


def shown(
    root: Path | str, made: Mapping[str, Mapping[str, Path]]
) -> list[tuple[np.ndarray, trimesh.Trimesh, dict[str, trimesh.Trimesh]]]:
    """Of each subject below `root` the first photograph, the scan, and by method the mesh that it made."""
    rows = []
    for subject, paths in made.items():
        picture = (h3ds.load_scene(root, subject, 1).images[0].numpy() * 255).round().astype(np.uint8)
        meshes = {method: predict.filled(mesh.load(path)) for method, path in paths.items()}
        rows.append((picture, truth.load_truth(root, subject).mesh_mm, meshes))
    return rows


def cost_of_finding(found: Results, method: str, score: str) -> stats.Paired:
    """A method that has to find the face against the same, in the same training, that was told its middle."""
    prior = results.first_prior(found, method)
    one, other = (results.by_subject(found, method, score, prior, name) for name in ("", "middle"))
    return stats.paired(one, other)


def differences(found: Results, score: str) -> dict[tuple[str, str], stats.Paired]:
    """Each method against those that the study compares it with."""
    pairs = {}
    for method in found.methods:
        for other in results.against(found, method):
            both = [results.by_subject(found, one, score).dropna() for one in (method, other) if one in found.methods]
            if len(both) == 2 and len(both[0].index.intersection(both[1].index)):
                pair = stats.paired(results.by_training(found, method, score), results.by_training(found, other, score))
                pairs[results.label(found, method), results.label(found, other)] = pair
    return pairs
