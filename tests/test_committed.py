"""The committed studies against each other: the same run, asked for by two studies, has to come out the same."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import invented
import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from heads.posts import results
from heads.posts.results import Results

ROOT = Path(__file__).parents[1]
RESOLUTION = 1e-3  # mm; the last digits of two machines


def runs(found: Results) -> pd.DataFrame:
    """The successful runs, each with all that decides it, as text: the data, the fit's settings, and how its prior was made."""
    rows = found.ok.copy()
    rows["way"] = [_way(found, row) for row in rows.to_dict("records")]
    return rows


def _way(found: Results, row: dict[Any, Any]) -> str:
    about, method = found.about, results.entry(found, row["method"])
    own = method["parameters"] | method["names"].get(row["name"], {})
    here = {key: value for key, value in about.get("views", {}).get(f"{row['views']:g}", {}).items() if key != "seeds"}
    known, set_here = results.fit_of(found, row["method"]), here.get("fit", {}) | own.get("fit", {})
    fit = known | {key: type(known.get(key, value))(value) for key, value in set_here.items()} | {"device": "any"}
    said = about.get("every", {}) | here | own | {"carry": results.parts(found, row["method"], row["name"]), "fit": fit}
    data = about.get("sources", {}).get(row.get("data"), about["data"])
    of = {"data": data, "notebook": method["notebook"], "prior": _made(about, row["prior"]), "settings": said}
    return json.dumps(of | {"views": row["views"], "seed": row["seed"]}, sort_keys=True)


def _made(about: dict[str, Any], prior: str) -> Any:
    """How a prior was made, by the parameters of its notebook, with the priors that it is made of instead of their names."""
    one = {key: value for key, value in about["priors"].get(prior, {}).items() if key != "config"}
    return one | {"priors": [_made(about, other) for other in one["priors"]]} if "priors" in one else one


def both(first: Results, second: Results) -> pd.DataFrame:
    """The runs that two studies have in common."""
    return runs(first).merge(runs(second), on=["subject", "method", "name", "way"], suffixes=("_first", "_second"))


def disagreements(first: Results, second: Results) -> list[str]:
    """Where the same runs of two studies differ on average, over their heads, by more than their own spread explains.

    For each way of reconstructing that both have, and each score: a t-test of the differences head by head, the level divided by
    the number of tests. Of one head there is no spread, and nothing is said.
    """
    scores = [name for name in first.scores if name in second.scores]
    groups = [group for _, group in both(first, second).groupby(["method", "name", "way"]) if len(group) > 1]
    said = []
    for group, score in itertools.product(groups, scores):
        differences = (group[f"{score}_first"] - group[f"{score}_second"]).dropna()
        n, mean = len(differences), float(differences.mean())
        level = 1 - 0.05 / (2 * len(groups) * len(scores))
        explained = float(t.ppf(level, n - 1) * differences.std() / np.sqrt(n)) if n > 1 else np.inf
        if abs(mean) > max(explained, RESOLUTION):
            one = group.iloc[0]
            where = f"{one['method']} {one['name']} from {one['prior_first']}, {one['views_first']:g} photographs, seed "
            where = f"{where}{one['seed_first']}: {score}"
            said.append(f"{first.study} − {second.study}: {where}: {mean:+.3f} mm over {n} heads, ±{explained:.3f} is explained")
    return said


def test_committed_studies_agree_on_the_runs_that_they_share() -> None:
    """Any two studies that ran the same fit, from a prior made in the same way, differ by no more than their spread explains."""
    names = sorted(path.stem for path in (ROOT / "results").glob("*.json"))
    studies = [results.read(ROOT, name) for name in names]
    of = {one.study: one for one in studies}
    assert len(both(of["studio"], of["priors"])) == 20 and len(both(of["field"], of["views"])) == 25  # so there is what can agree
    assert [line for pair in itertools.combinations(studies, 2) for line in disagreements(*pair)] == []


def test_the_same_runs_agree_also_with_noise_and_a_prior_that_came_out_another_way_does_not() -> None:
    found = Results("one", invented.part("methods"), about=invented.about())
    assert disagreements(found, replace(found, study="two")) == []
    noise = np.random.default_rng(0).normal(0, 0.3, len(found.table))
    table = found.table.assign(head_rigid_mm=found.table["head_rigid_mm"] + noise)
    assert disagreements(found, replace(found, study="two", table=table)) == []
    worse = table.assign(head_rigid_mm=table["head_rigid_mm"] + 1.5 * (table["method"] == "baseh3d"))
    said = disagreements(found, replace(found, study="two", table=worse))
    assert len(said) == 2 and all("one − two: baseh3d  from one-500, 3 photographs, seed" in line for line in said)
    assert "head_rigid_mm: −1." in said[0].replace("-", "−")


@pytest.mark.parametrize(
    "change",
    [{"data": {"seed": 4}}, {"every": {"preset": "PAPER"}}, {"fit": {"rays": 1}}, {"views": {"3": {"fit": {"rays": 1}}}}],
)
def test_runs_with_other_data_or_settings_are_not_the_same(change: dict[str, Any]) -> None:
    found = Results("one", invented.part("methods"), about=invented.about())
    other = replace(found, table=found.table.assign(face_rigid_mm=9.0), about=invented.about() | change)
    assert disagreements(found, other) == []


def test_priors_that_were_made_in_another_way_are_not_the_same_and_their_names_say_nothing() -> None:
    found, about = Results("one", invented.part("methods"), about=invented.about()), invented.about()
    about["priors"]["one-500"] = about["priors"]["one-500"] | {"seed": 1}
    other = replace(found, table=found.table.assign(face_rigid_mm=9.0), about=about)
    assert {line.split(": ")[1].split()[0] for line in disagreements(found, other)} == {"idr", "h3dnet", "h3dnet+colour"}
    renamed = invented.about()
    renamed["priors"]["mine"] = renamed["priors"]["one-500"]
    table = found.table.replace({"prior": {"one-500": "mine"}}).assign(face_rigid_mm=9.0)
    assert any(": baseh3d " in line for line in disagreements(found, replace(found, table=table, about=renamed)))
