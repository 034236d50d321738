"""Tables of fits to points, in NPHM's protocol: head and face, over all people, beside what was published."""

from pathlib import Path

import pandas as pd

from heads.posts import results, stats
from heads.posts.results import Results

REGIONS = ("head", "face")
MEASURES = {"l1_mm": "L1, mm", "l2_mm2": "L2, mm²", "normals": "NC", "f1_at_1mm": "F@1", "f1_at_5mm": "F@5"}
BESIDE = {"floor_mm": "floor of L1, mm", "to_surface_mm": "to the surface, mm"}  # which the original does not have
PUBLISHED = ("method", "region", *MEASURES)


def gather(found: Results, region: str, part: str = "", published: Path | None = None) -> pd.DataFrame:
    """A row for each method and kind of points: the means over people of a region's scores.

    `part` is "" for all scans, "neutral_" or "expressions_". The rows of `published`, a CSV with the columns `PUBLISHED`, are of
    other people and another model of them: nothing but the order compares.
    """
    rows = []
    for method, name in ways(found):
        means = {
            said: results.by_subject(found, method, f"{part}{region}_{measure}", name=name).mean()
            for measure, said in (MEASURES | BESIDE).items()
            if f"{part}{region}_{measure}" in found.scores  # the floor is that of neutral heads
        }
        people = len(results.by_subject(found, method, f"{part}{region}_l1_mm", name=name).dropna())
        rows.append({"method": results.label(found, method), "points": name or "single view", "people": people} | means)
    if published is not None:
        known = results.read_csv(published, PUBLISHED).query("region == @region")
        for one in known.to_dict("records"):
            rows.append(
                {"method": f"{one['method']}, published", "points": "single view"} | {MEASURES[key]: one[key] for key in MEASURES}
            )
    return pd.DataFrame(rows)


def ways(found: Results) -> list[tuple[str, str]]:
    """The methods, each with the kinds of points that it was fitted to: "" for single views."""
    return list(dict.fromkeys(zip(found.table["method"], found.table["name"].fillna(""), strict=True)))


def differences(found: Results, first: str, second: str, region: str, part: str = "") -> dict[str, stats.Paired]:
    """By the kind of points: the L1 of a method against another's, on the people that both have."""
    column = f"{part}{region}_l1_mm"
    kinds = [name for method, name in ways(found) if method == first and (second, name) in ways(found)]
    return {
        name or "single view": stats.paired(
            results.by_training(found, first, column, name=name), results.by_training(found, second, column, name=name)
        )
        for name in kinds
    }
