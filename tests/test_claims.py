"""The claims of the posts, what the field foretells, and how fits are set, on invented results of the studies of config/."""

import re
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import invented
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from heads.data import capture
from heads.methods import idr
from heads.posts import engine, plots, results, sentences, stats, tables
from heads.posts.results import Results

ROOT = Path(__file__).parents[1]


def study(name: str, **shift: float) -> Results:
    """A study of the posts; `shift` is added to the face's error of a method (_ for -), and twice that to the head's."""
    table, about = invented.posts(name)
    for method, less in shift.items():
        rows = table["method"] == method.replace("_", "-")
        for score, factor in invented.SCORES.items():
            table.loc[rows, score] += factor * less
    return Results(name, table, about=about, published=pd.read_csv(ROOT / "blog" / "published.csv"))


def cells(said: str) -> list[list[str]]:
    """The rows of a table, its header first."""
    lines = [line for line in said.splitlines() if line.startswith("| ")]
    return [re.split(r" \| ", line.strip("| ")) for line in lines if not line.startswith("| :") and not line.startswith("| --")]


# ---- settings


def changed(field: str) -> Any:
    """Another value of a field of `idr.Config` than the published one."""
    others = {"colour_sees": "no_view_dir", "tracer": "cached", "schedule": "cosine", "mixed_views": True, "one_pass": True}
    others |= {"shape": {"width": 64, "depth": 3, "feature": 17}, "alpha_epochs": [7]}
    return others.get(field, 7)


def test_every_field_of_a_config_is_told_and_changes_what_is_said_or_has_a_reason_not_to() -> None:
    told = [field for setting in engine.SETTINGS for field in setting.fields]
    assert sorted([*told, *engine.UNTOLD]) == sorted(field.name for field in fields(idr.Config))
    mixed = {"mixed_views": True, "rays_in_mask": 0.5, "rays_near_mask": 0.25}
    for setting in engine.SETTINGS:
        for field in setting.fields:
            base = mixed if field in ("rays_in_mask", "rays_near_mask", "near_px") else {}
            before, after = engine.told(base), engine.told(base | {field: 0.1 if field.startswith("rays_") else changed(field)})
            moved = [name for name in before if before[name] != after[name]]
            assert setting.name in moved or field.startswith("muon"), field
    for part in ("width", "depth", "feature"):
        shape = asdict(idr.PAPER.shape)
        assert engine.changes({"shape": shape | {part: 7}}) and not engine.changes({"shape": shape})


def test_the_words_of_the_schedules_are_those_of_the_fit() -> None:
    assert set(engine.SCHEDULES) == set(idr.SCHEDULES) and set(engine.TRACERS) == set(idr.TRACERS)
    shipped, cosine = (replace(idr.PAPER, schedule=name, epochs=2000) for name in ("shipped", "cosine"))
    assert [idr.step_size_factor(shipped, epoch, 500) for epoch in (999, 1000, 1499, 1500)] == [1, 0.5, 0.5, 0.25]
    assert "1000 and 1500" in engine.SCHEDULES["shipped"] and "5%" in engine.SCHEDULES["cosine"]
    assert idr.step_size_factor(cosine, 2500, 500) == pytest.approx(0.05)


def test_a_method_as_published_differs_in_sizes_and_tracing_alone_and_an_improved_one_says_what_each_change_is_for() -> None:
    found = study("studio")
    said = sentences.settings(found, "idr-published")
    width = idr.PUBLISHED.shape.width
    assert f"distance network 4 layers of {width} units, 64 features (published: 8 layers of 512 units, 256 features)" in said
    assert "in one setting:" in said and said.count("\n- ") == 1 and "- tracing of rays: on a grid" in said
    said = sentences.settings(found, "baseh3d")
    assert said.startswith("BaseH3D-Net has a laptop's sizes") and "rays a step 1024 (published: 2048)" in said
    assert "- gains of photographs: learned, steps of 0.005 (published: none), so that neither exposure" in said
    found.about["methods"]["baseh3d"]["fit"]["gain_step_size"] = 0.0
    assert "gains" not in sentences.settings(found, "baseh3d")
    paper = {"fit": asdict(idr.PAPER) | {"tracer": "published"}}
    found.about["methods"]["idr"] |= paper
    assert sentences.settings(found, "idr") == "IDR has the published sizes. All else is as published."
    assert sentences.settings(study("field")) == "\n\n".join(
        sentences.settings(study("field"), method) for method in ("idr-published", "idr")
    )


def test_settings_without_gains_and_groups_are_told_too() -> None:
    fit = {name: value for name, value in asdict(idr.LAPTOP).items() if name != "gain_step_size"}
    found = Results("old", invented.quick({"idr": (1.0,), "baseh3d": (1.0,)}, ("ada",)), about=invented.about() | {"fit": fit})
    assert "gains" not in sentences.settings(found) and "rays a step: 1024 (published: 2048)" in sentences.settings(found)
    header, *rows = cells(tables.settings(found))
    assert header == ["Setting", "published program", "here", "what for"] and "rays a step" in [row[0] for row in rows]


def test_the_table_of_settings_has_a_column_for_the_published_program_and_each_group() -> None:
    found = study("studio")
    header, *rows = cells(tables.settings(found))
    assert header == ["Setting", "published program", "as published", "improved here", "what for"]
    of = {row[0]: row[1:] for row in rows}
    assert of["rays a step"] == [f"{idr.PAPER.rays}", f"{idr.PUBLISHED.rays}", f"{idr.LAPTOP.rays}", "a laptop's size"]
    assert of["gains of photographs"][:3] == ["none", "the same", f"learned, steps of {idr.LAPTOP.gain_step_size:g}"]
    assert of["tracing of rays"][0] == "on the network" and of["tracing of rays"][1] == of["tracing of rays"][2]
    assert "weights of the losses" not in of  # as published in all
    found.about["methods"]["h3dnet"]["fit"]["rays"] = 99
    assert {row[0]: row for row in cells(tables.settings(found))}["rays a step"][3] == "1024 / 99"
    with pytest.raises(ValueError, match=r"studio\.json: fit: the settings of a fit"):
        tables.settings(replace(found, about={}))


def test_the_phases_are_those_of_the_method_that_has_them() -> None:
    assert "takes 400 of 2000" in sentences.phases(study("studio"), "h3dnet")
    assert "takes 100 of 2000" in sentences.phases(study("studio"), "h3dnet-published")


# ---- the field


def test_every_amount_of_the_field_is_in_the_table_with_its_unit_and_its_reason() -> None:
    names = [name for group in capture.GROUPS.values() for name in group]
    assert sorted(capture.REASONS) == sorted(names) == sorted(vars(capture.FIELD)) and all(capture.REASONS.values())
    header, *rows = cells(tables.amounts())
    assert header == ["Together", "what", "amount", "because"] and [row[-1] for row in rows] == [
        capture.REASONS[n] for n in names
    ]
    said = tables.amounts()
    assert f"| **cameras** | camera rotation | {capture.FIELD.camera_rotation_deg:g}° |" in said
    assert f"|  | white balance | {capture.FIELD.white_balance_percent:g} % |" in said
    assert f"| exposure | {capture.FIELD.exposure_ev:g} EV |" in said and f"| shine | {capture.FIELD.shine:g} |" in said


def test_the_calibration_has_each_row_beside_the_published_one_and_says_what_is_left() -> None:
    found = study("calibration")
    said = tables.calibration(found)
    here = results.by_subject(results.at(found, 32), "idr", "head_toolbox_mm").mean()
    header, *rows = cells(said)
    assert [row[:3] for row in rows] == [
        [place, views, region]
        for place, views in (("field", "3"), ("field", "32"), ("studio", "3"))
        for region in results.REGIONS
    ]
    assert rows[3][3].startswith(f"{here:.2f} ± ") and rows[3][4:] == ["5.71", stats.signed(here - 5.71), f"{here / 5.71:.2f}"]
    assert f"and {here / 5.71:.2f} on the head" in said and "vera, walt, xenia and yuri" in said and "no predictions" in said
    assert header[4] == "published, on H3DS"
    worse = cells(tables.calibration(study("calibration", idr=1.0)))
    assert float(worse[1][-1]) > float(rows[0][-1]) + 0.3
    studio = results.by_subject(results.at(found, 3), "idr", "face_toolbox_mm", name="studio").mean()
    assert rows[4][3].startswith(f"{studio:.2f} ± ") and rows[0][3] != rows[4][3]
    with pytest.raises(ValueError, match="one row of idr from nobody"):
        tables.calibration(found, bib="nobody")


def test_a_prediction_is_a_hit_where_its_interval_holds_the_published_number() -> None:
    assert stats.foretold(1.0, 0.9, 1.1) == stats.foretold(1.1, 0.9, 1.1) == stats.HIT
    assert stats.foretold(1.2, 0.9, 1.1) == stats.foretold(0.8, 0.9, 1.1) == stats.MISS
    assert stats.foretold(1.0, np.nan, np.nan) == stats.FEW


def as_measured(found: Results) -> Results:
    """The same with published errors that are those measured here."""
    published = found.published.copy()
    for method, (name, bib) in sentences.FORETOLD.items():
        row = (published["method"] == name) & (published["bib"] == bib) & (published["views"] == 3)
        for region in results.REGIONS:
            published.loc[row, region] = results.by_subject(found, method, f"{region}_toolbox_mm").mean()
    return replace(found, published=published)


def test_predictions_are_the_methods_that_were_not_calibrated_and_their_differences() -> None:
    found = study("field")
    header, *rows = cells(tables.predictions(found))
    names = ["BaseH3D-Net", "H3D-Net", "BaseH3D-Net − IDR", "H3D-Net − IDR", "H3D-Net − BaseH3D-Net"]
    assert header[-1] == "verdict"
    assert [row[:3] for row in rows] == [[name, "3", region] for name in names for region in results.REGIONS]
    pair = sentences.compare(found, "baseh3d-published", "idr-published", "face", "toolbox")
    assert rows[4][3:] == [stats.signed(pair.mean), stats.ends(pair), stats.signed(1.48 - 2.79), "miss, the same sign"]
    assert pair.samples == (stats.Sample(3, 3),) and "†" not in rows[4][4] and "†" in rows[6][4]
    assert (
        sentences.predictions(found)
        .splitlines()[0]
        .startswith(f"{sentences.capital(stats.share(sum('hit' in row[-1] for row in rows), 10))} predictions ")
    )


def test_other_numbers_of_photographs_are_foretold_too_and_the_calibrated_row_where_it_was_not_calibrated() -> None:
    found = sentences.predictions_of(study("views"))
    of_both = [(name, n) for n in (4, 8) for name in ("IDR", "H3D-Net", "H3D-Net − IDR")]
    expected = [("H3D-Net", 3), ("H3D-Net − IDR", 3), *of_both]
    assert [(one.name, one.views) for one in found] == [pair for pair in expected for _ in results.REGIONS]
    assert found[4].published == 1.88 and found[9].published == 7.71 - 8.99
    assert "on the face from eight photographs" in sentences.predictions(study("views"))


def test_a_method_that_was_not_tried_with_every_number_of_photographs_is_told_with_those_it_has() -> None:
    views = study("views")
    assert "with 3, 4 and 8 photographs is" in sentences.more_photographs(views, "idr-published")
    assert "with 3, 4, 8 and 32 photographs is" in sentences.more_photographs(views, "idr")
    gains = tables.gain_lines(views, "rigid", "idr")["face"]
    assert {name: list(rows["views"]) for name, rows in gains.items()} == {
        "BaseH3D-Net": [3, 4, 8, 32],
        "H3D-Net": [3, 4, 8, 32],
    }


def test_predictions_follow_the_published_numbers() -> None:
    right = as_measured(study("field"))
    assert [one.verdict for one in sentences.predictions_of(right)] == [stats.HIT] * 10
    assert sentences.predictions(right).startswith("Ten of ten predictions are hits")
    wrong = replace(right, table=study("field", baseh3d_published=5.0, h3dnet_published=0.5).table)
    assert {one.verdict for one in sentences.predictions_of(wrong)} == {stats.MISS}
    said = sentences.predictions(wrong)
    assert said.startswith("None of ten predictions is a hit")
    other = next(line for line in said.splitlines() if line.startswith("- BaseH3D-Net − IDR on the face"))
    assert "published: a miss; the sign is another." in other and "+" in other
    ratio = next(line for line in said.splitlines() if line.startswith("- BaseH3D-Net on the face"))
    assert re.search(r": a miss; [234]\.\d\d times the published error\.$", ratio)


def test_too_few_heads_foretell_nothing_and_methods_that_are_not_there_are_named() -> None:
    found = study("field")
    few = replace(found, table=found.table[found.table["subject"].isin(invented.TEN[:4])])
    assert {one.verdict for one in sentences.predictions_of(few)} == {stats.FEW}
    assert "too few heads for a verdict" in sentences.predictions(few) and "nan" not in tables.predictions(few).lower()
    alone = replace(found, table=found.table[found.table["method"] == "idr"])
    with pytest.raises(ValueError, match="field: runs of idr-published, baseh3d-published and h3dnet-published"):
        tables.predictions(alone)


# ---- claims


def test_every_comparison_is_a_claim_below_its_group_and_those_across_groups_are_last() -> None:
    found = sentences.claims_of(study("studio"))
    assert [(one.heading, one.first, one.second) for one in found] == [
        ("as published", "BaseH3D-Net", "IDR"),
        ("as published", "H3D-Net", "IDR"),
        ("as published", "H3D-Net", "BaseH3D-Net"),
        ("improved here", "BaseH3D-Net", "IDR"),
        ("improved here", "H3D-Net", "IDR"),
        ("improved here", "H3D-Net", "BaseH3D-Net"),
        ("improved here − as published", "IDR", "IDR"),
        ("improved here − as published", "BaseH3D-Net", "BaseH3D-Net"),
        ("improved here − as published", "H3D-Net", "H3D-Net"),
    ]


def test_methods_without_headings_are_claims_too_and_a_claim_across_headings_names_both() -> None:
    found = study("studio")
    for method in ("idr", "baseh3d", "h3dnet"):
        found.about["methods"][method]["group"] = ""
    claims = sentences.claims_of(found)
    assert [one.words for one in claims[:3]] == ["BaseH3D-Net against IDR", "H3D-Net against IDR", "H3D-Net against BaseH3D-Net"]
    assert claims[-1].words == "H3D-Net against as published" and claims[-1].heading == "here − as published"
    assert [row[0] for row in cells(tables.claims(found, found))][1:4] == [f"{one.first} − {one.second}" for one in claims[:3]]
    found.about["methods"]["idr"]["group"] = "improved here"
    assert "BaseH3D-Net against IDR, improved here" in [one.words for one in sentences.claims_of(found)]


def test_the_table_of_claims_has_the_difference_the_interval_and_the_verdict_of_both_studies() -> None:
    studio, field = study("studio"), study("field")
    header, *rows = cells(tables.claims(studio, field))
    assert header == ["Difference", "studio, face", "studio, head", "field, face", "field, head"]
    assert [row[0].strip("* |") for row in rows][::4] == ["as published", "improved here", "improved here − as published"]
    pair = sentences.compare(field, "h3dnet", "idr", "head")
    assert rows[6][0] == "H3D-Net − IDR" and rows[6][4].replace("\u00a0", " ") == (
        f"{stats.signed(pair.mean)}, {pair.verdict(0.3)} ({stats.ends(pair)})"
    )
    assert "undecided" in rows[5][1] and ", better (−" in rows[1][3].replace("\u00a0", " ") and rows[9][0] == "IDR"
    assert (
        max(len(word) for row in rows for cell in row for word in cell.split(" ")) <= 20
    )  # no wider than five columns of 20 signs
    worse = cells(tables.claims(studio, study("field", h3dnet=5.0)))
    assert "worse" in worse[7][4] and worse[7][:3] == rows[6][:3]


def test_claims_are_told_in_sentences_with_a_verdict_for_each_study_and_region() -> None:
    studio, field = study("studio"), study("field")
    lead, _, *said = sentences.claims(studio, field).splitlines()
    assert len(said) == 9 and "95% intervals (rigid protocol, three photographs, ten heads)" in lead and "† For one prior" in lead
    pairs = {one: sentences.compare(field, "baseh3d", "idr", one) for one in results.REGIONS}
    numbers = [f"on the {region} ({stats.signed(pair.mean)} mm, {stats.ends(pair)})" for region, pair in pairs.items()]
    assert said[3].startswith("- BaseH3D-Net against IDR, improved here: in the studio ")
    assert said[3].endswith(f"in the field better {sentences.listed(numbers)}.")
    assert said[8].startswith("- H3D-Net, improved here against as published: in the studio ")
    assert sentences.claims(studio, field, ["baseh3d"]).count("\n- ") == 2
    other = sentences.claims(studio, study("field", baseh3d=1.0)).splitlines()[5]
    assert "in the field worse on the face" in other and other.partition("; in the")[0] == said[3].partition("; in the")[0]
    with pytest.raises(ValueError, match="studio, field: methods that are compared"):
        sentences.claims(studio, field, ["hull"])


def test_a_claim_that_one_study_did_not_try_or_tried_on_too_few_heads_is_no_verdict() -> None:
    studio, field = study("studio"), study("field")
    less = replace(field, table=field.table[field.table["method"] != "idr"])
    assert cells(tables.claims(studio, less))[6][3:] == ["–", "–"]
    assert "; in the field not tried on a common head." in sentences.claims(studio, less).splitlines()[5]
    few = replace(field, table=field.table[field.table["subject"].isin(invented.TEN[:3])])
    assert cells(tables.claims(studio, few))[2][3].endswith(",\u00a0too\u00a0few\u00a0heads") and "nan" not in tables.claims(
        studio, few
    )
    said = sentences.claims(studio, few)
    assert "three to ten heads" in said and re.search(r"in the field too few heads on the face \(−\d\.\d\d mm\) and on", said)


def test_the_figure_of_claims_has_each_prior_against_no_prior_and_a_band_of_what_does_not_matter() -> None:
    studio, field = study("studio"), study("field")
    lines = tables.claim_lines(studio, field)
    labels = ["BaseH3D-Net as published", "H3D-Net as published", "BaseH3D-Net", "H3D-Net"]
    assert list(lines) == ["face", "head"] and list(lines["face"]) == ["studio", "field"]
    assert all(list(rows["label"]) == labels for of_region in lines.values() for rows in of_region.values())
    pair = sentences.compare(field, "h3dnet", "idr", "head")
    last = lines["head"]["field"].iloc[-1]
    assert (last["mean"], last["low"], last["high"]) == (pair.mean, pair.low, pair.high)

    figure = plots.claims(lines, {"face": 0.1, "head": 0.3}, "IDR", studio.looks)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["face, studio", "face, field", "head, studio", "head, field"]
    axes = figure.axes[3]
    assert [round(one.get_width(), 6) for one in axes.patches] == [0.6] and axes.get_xlim() == figure.axes[2].get_xlim()
    (point, caps, (bar,)) = axes.containers[-1]
    assert point.get_xdata() == pytest.approx([pair.mean]) and len(caps) == 2
    assert bar.get_segments()[0][:, 0] == pytest.approx([pair.low, pair.high])
    assert to_hex(point.get_color()) == plots.PALETTE[3][0] and point.get_ydata() == [-3]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()][:2] == [
        "BaseH3D-Net\nas published",
        "H3D-Net\nas published",
    ]
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.claims({}, {}, "IDR")
    alone = replace(studio, table=studio.table[studio.table["method"] == "idr"])
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.claims(tables.claim_lines(alone, alone), {"face": 0.1, "head": 0.3}, "IDR")
