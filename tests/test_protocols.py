"""The page on the metric: its figures show, and its sentences say, what was measured."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trimesh
from scipy.spatial import cKDTree

from heads import metric
from heads.posts import plots, protocols
from heads.truth import Truth

ROOT = Path(__file__).parents[1]
FOUR = ("face_toolbox_mm", "head_toolbox_mm", "face_rigid_mm", "head_rigid_mm")


def head() -> trimesh.Trimesh:
    """A shape with a nose, in millimetres, off the origin."""
    ball = trimesh.creation.icosphere(subdivisions=4)
    directions = np.asarray(ball.vertices)
    nose = 25 * np.exp(-((directions - [0, -0.1, 1]) ** 2).sum(axis=1, keepdims=True) / 0.02)
    return trimesh.Trimesh(directions * [75, 110, 95] + directions * nose + [2.0, -5.0, 4.0], ball.faces, process=False)


@pytest.fixture(scope="module")
def scan() -> Truth:
    return protocols.as_scan(head())


# ---- the head


def test_a_drawn_head_is_read_back(tmp_path: Path) -> None:
    plots.save(plots.interactive(head()), tmp_path / "head.json")
    read = protocols.read_head(tmp_path / "head.json")
    np.testing.assert_allclose(read.vertices, head().vertices, atol=0.0501)
    np.testing.assert_array_equal(read.faces, head().faces)


@pytest.mark.parametrize("text", ["", "{}", '{"data": [{"x": [1, 2]}]}', '{"data": [{"x": {"bdata": "AAA", "dtype": "i2"}}]}'])
def test_an_invalid_head_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "head.json").write_text(text)
    with pytest.raises(ValueError, match=r"head\.json: a 3D head was expected"):
        protocols.read_head(tmp_path / "head.json")
    with pytest.raises(FileNotFoundError, match=r"nose\.json: there is no such head"):
        protocols.read_head(tmp_path / "nose.json")


def test_the_face_is_what_lies_near_the_tip_of_the_nose(scan: Truth) -> None:
    tip = protocols.nose_tip(scan.mesh_mm)
    assert tip[2] == scan.mesh_mm.vertices[:, 2].max()
    far = np.linalg.norm(scan.mesh_mm.vertices - tip, axis=1)
    assert far[scan.regions["face_sphere"]].max() < 95 <= np.delete(far, scan.regions["face_sphere"]).min()
    assert 0 < len(scan.regions["face_sphere"]) < len(scan.regions["face"]) < len(far)


def test_every_scan_that_the_page_might_show_is_a_complete_head(tmp_path: Path) -> None:
    (named,) = (line.split('"')[1] for line in (ROOT / "blog/metric.md").read_text().splitlines() if "first_scan" in line)
    paths = sorted((ROOT / "blog" / named).glob("head_*_truth.json"))  # which are there depends on the last run
    heads = [protocols.read_head(path) for path in paths]
    assert (protocols.first_scan(ROOT / "blog" / named).vertices == heads[0].vertices).all()
    for head in heads:
        assert head.extents.min() > 150
        assert min(len(region) for region in protocols.as_scan(head).regions.values()) > 500
    with pytest.raises(FileNotFoundError, match=r"a 3D scan, head_\*_truth\.json, was expected"):
        protocols.first_scan(tmp_path)


def test_the_regions_are_drawn_in_three_colours(scan: Truth) -> None:
    above, below = (np.stack([axes.images[0].get_array() for axes in axes_of]) for axes_of in _rows(scan.mesh_mm))
    for name, row, colours in (("face", above, {0.0, 0.5}), ("head", below, {0.2, 0.5})):
        seen = row[row.min(axis=-1) < 250] / 255.0
        hues = {value: np.array(plots.ERRORS(value)[:3]) for value in (0.0, 0.2, 0.5)}
        shares = {
            value: float((np.abs(seen / seen.max(axis=1, keepdims=True) - hue / hue.max()).max(axis=1) < 0.03).mean())
            for value, hue in hues.items()
        }
        assert {value for value, share in shares.items() if share > 0.05} == colours, (name, shares)


def _rows(head_mm: trimesh.Trimesh) -> tuple[list, list]:
    axes = protocols.regions_figure(head_mm).axes
    return axes[:3], axes[3:]


# ---- what is measured


def test_the_floor_of_a_perfect_sphere_grows_with_the_cell_in_the_toolbox_only() -> None:
    rows = protocols.floor((2, 4))
    np.testing.assert_allclose(rows["toolbox"] / rows["cell_mm"], 0.37, atol=0.015)
    sagitta = (rows["cell_mm"] * np.sqrt(2)) ** 2 / (8 * protocols.SPHERE_MM)  # of a chord as long as a face's diagonal
    assert (rows["rigid"] < 2 * sagitta).all() and (rows["rigid"] > 0).all()


def test_size_is_seen_by_the_rigid_protocol_only(scan: Truth) -> None:
    rows = protocols.scaled(scan, (0.95, 1.0, 1.05)).set_index("factor")
    assert rows[["face_toolbox_mm", "head_toolbox_mm"]].to_numpy().max() < 0.01
    assert (rows.loc[1.0, list(FOUR)] < 1e-6).all()
    assert (rows.loc[[0.95, 1.05], "head_rigid_mm"] > rows.loc[[0.95, 1.05], "face_rigid_mm"]).all()
    assert (rows.loc[[0.95, 1.05], "face_rigid_mm"] > 0.2).all()


def test_a_hat_is_free_and_what_is_missing_costs_where_it_is(scan: Truth) -> None:
    altered = protocols.variants(scan)
    scores = {name: metric.score(mesh_mm, scan) for name, mesh_mm in altered.items()}
    whole, hat, back, cheek = altered
    assert altered[hat].bounds[1, 1] > altered[whole].bounds[1, 1] + 50
    assert max(scores[name][one] for name in (whole, hat) for one in FOUR) < 1e-6
    assert scores[whole]["head_accuracy_mm"] < 1e-6 < 1 < scores[hat]["head_accuracy_mm"]
    assert scores[whole]["head_f1_at_5mm"] == 1 > scores[hat]["head_f1_at_5mm"]
    table = protocols.judges_table(scores, "mesh").splitlines()
    assert table[0] == "| mesh | rigid, mm | accuracy, mm | F1 at 1 mm | F1 at 5 mm | normals, median ° |"
    assert table[2].startswith(f"| {whole} | 0.00 | 0.00 | 1.000 | 1.000 |") and len(table) == 2 + len(scores)
    assert altered[back].bounds[0, 2] > altered[whole].bounds[0, 2] + 30
    assert scores[back]["face_rigid_mm"] < 1e-6 < 1 < scores[back]["head_rigid_mm"]
    assert scores[cheek]["face_rigid_mm"] > scores[cheek]["head_rigid_mm"] > 1e-3


def test_cutting_triangles_leaves_the_surface_and_changes_the_score(scan: Truth) -> None:
    rows = protocols.weighting(scan)
    plain, nose, rim = rows.values()
    assert nose["vertices"] > plain["vertices"] < rim["vertices"]
    assert nose["score"] > 1.2 * plain["score"] > 1.2 * rim["score"]
    tip = protocols.nose_tip(scan.mesh_mm)
    finer = protocols._finer(scan.mesh_mm, tip, 0.0, 30.0)
    assert finer.area == pytest.approx(scan.mesh_mm.area)
    away = metric.closest_points(np.asarray(finer.vertices), metric.build_surface(scan.mesh_mm)) - finer.vertices
    assert np.abs(away).max() < 1e-9


def test_the_mean_by_area_is_that_over_points_spread_evenly(scan: Truth) -> None:
    """Points drawn evenly on the scan, each with the error of the nearest vertex of a very fine mesh."""
    tip, row = protocols.nose_tip(scan.mesh_mm), protocols.weighting(scan)["finer around the nose"]
    fine = protocols.as_scan(protocols._finer(scan.mesh_mm, tip, 0.0, 30.0))
    longer = np.array(scan.mesh_mm.vertices)
    longer[:, 2] += 8 * np.exp(-((longer - tip) ** 2).sum(axis=1) / (2 * 18**2))
    prediction = trimesh.Trimesh(longer, scan.mesh_mm.faces, process=False)
    errors_mm = metric.errors_mm(prediction, fine, "rigid", region="face_sphere")
    points, _ = trimesh.sample.sample_surface(fine.mesh_mm, 60_000, seed=0)
    nearest = cKDTree(fine.mesh_mm.vertices).query(points)[1]
    in_face = np.isin(nearest, fine.regions["face_sphere"])
    assert row["by_area"] == pytest.approx(errors_mm[nearest[in_face]].mean(), rel=0.05)
    assert row["score"] == pytest.approx(errors_mm[fine.regions["face_sphere"]].mean())
    assert abs(row["score"] / row["by_area"] - 1) > 0.05


# ---- what is said


def test_every_sentence_has_the_numbers_that_were_measured() -> None:
    floor = pd.DataFrame({"cell_mm": [1.0, 2.0], "toolbox": [0.5, 1.0], "rigid": [0.01, 0.04]})
    assert "0.50 of a cell: with cells of 3 mm, as in the preset for laptops, 1.50 mm" in protocols.floor_said(floor, 3.0)
    assert "at most 0.04 mm" in protocols.floor_said(floor, 3.0)
    names = ("factor", "face_toolbox_mm", "head_toolbox_mm", "face_rigid_mm", "head_rigid_mm")
    sizes = pd.DataFrame([(0.9, 0.01, 0.02, 1.5, 4.5), (1.05, 0.03, 0.01, 1.0, 5.5)], columns=names)
    assert protocols.scale_said(sizes) == (
        "Wrong by up to 10 % in size, the heads score at most 0.03 mm in the toolbox, and up to 1.50 mm (face) and 5.50 mm "
        "(head) in the rigid protocol."
    )
    scores = {"a cat": dict(zip(names[1:], (1.0, 2.0, 3.0, 4.0), strict=True))}
    assert protocols.scores_table(scores, "mesh").splitlines()[2] == "| a cat | 1.00 | 3.00 | 2.00 | 4.00 |"
    assert protocols.scores_table(scores, "mesh").startswith(
        "| mesh | face, toolbox | face, rigid | head, toolbox | head, rigid |"
    )
    meshes = {"plain": {"vertices": 10, "score": 1.0, "by_area": 2.0}, "fine": {"vertices": 40, "score": 3.0, "by_area": 2.5}}
    assert protocols.weighting_table(meshes).splitlines()[-1] == "| fine | 40 | 3.00 | 2.50 |"
    assert "between 1.00 and 3.00 mm" in protocols.weighting_said(meshes)
    assert "between 2.00 and 2.50 mm" in protocols.weighting_said(meshes)


def test_figures_show_all_that_was_measured(scan: Truth) -> None:
    rows = pd.DataFrame({"cell_mm": [1.0, 2.0], "toolbox": [0.5, 1.0], "rigid": [0.01, 0.04]})
    lines = protocols.floor_figure(rows).axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["toolbox", "rigid", "0.50 × cell"]
    np.testing.assert_array_equal(lines[0].get_ydata(), [0.5, 1.0])
    names = ("factor", "face_toolbox_mm", "head_toolbox_mm", "face_rigid_mm", "head_rigid_mm")
    sizes = pd.DataFrame([(0.9, 0.01, 0.02, 1.5, 4.5), (1.0, 0.0, 0.0, 0.0, 0.0), (1.1, 0.03, 0.01, 1.0, 5.5)], columns=names)
    assert len(protocols.scale_figure(sizes).axes[0].get_lines()) == 4
    shown = protocols.scale_heads(scan, sizes)
    assert len(shown.axes) == 3 and "rigid: face 1.50, head 4.50" in "\n".join(text.get_text() for text in shown.texts)
    altered = {"whole": scan.mesh_mm, "again": scan.mesh_mm}
    scores = {name: dict(zip(names[1:], (1.0, 2.0, 3.0, 4.0), strict=True)) for name in altered}
    drawn = protocols.variants_figure(altered, scores)
    assert [text.get_text() for text in drawn.texts] == [f"{name}\nface 3.00 mm\nhead 4.00 mm\n(rigid)" for name in altered]
