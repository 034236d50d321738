"""The look: a render of a sphere and of a square is known in closed form; a method looks the same in every figure."""

import io
import json
from dataclasses import replace
from pathlib import Path

import invented
import numpy as np
import pandas as pd
import pytest
import trimesh
from matplotlib.colors import to_hex
from PIL import Image
from skimage.color import rgb2lab

from heads.posts import plots, tables
from heads.posts.results import Results, at
from heads.scene import Scene

SQUARE = trimesh.Trimesh([[-50, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
SPHERE = trimesh.creation.icosphere(subdivisions=4, radius=100)
AROUND = (np.zeros(3), 125.0)


def drawn(picture: np.ndarray) -> np.ndarray:
    return (picture < 250).any(axis=2)


def test_a_sphere_covers_its_share_of_the_picture_and_the_rest_is_white() -> None:
    picture = plots.render(SPHERE, size=200, frame=AROUND)
    assert picture.shape == (200, 200, 3) and picture.dtype == np.uint8
    assert drawn(picture).mean() == pytest.approx(np.pi * 100**2 / 250**2, rel=0.01)
    assert (picture[0] == 255).all() and (picture[:, -1] == 255).all()


def test_a_sphere_looks_the_same_from_every_side() -> None:
    front = plots.render(SPHERE, size=80, frame=AROUND).astype(float)
    for azimuth, elevation in [(45, 0), (90, 20), (200, -30)]:
        other = plots.render(SPHERE, size=80, frame=AROUND, azimuth=azimuth, elevation=elevation)
        inner = np.hypot(*(np.mgrid[:80, :80] - 39.5)) < 28
        assert np.abs(front - other)[inner].max() < 4


@pytest.mark.parametrize(
    ("azimuth", "elevation", "place", "column", "row"),
    [
        (0, 0, (80, 0, 0), 1, 0),  # the head's left is on the right of a front view
        (0, 0, (0, 80, 0), 0, 1),
        (90, 0, (0, 0, 80), -1, 0),  # from the head's left, the face looks to the left
        (90, 0, (80, 0, 0), 0, 0),
        (0, 90, (0, 0, 80), 0, -1),  # from above, the face looks down
    ],
)
def test_a_point_is_where_the_camera_sees_it(azimuth: float, elevation: float, place: tuple, column: int, row: int) -> None:
    ball = trimesh.creation.icosphere(radius=10).apply_translation(place)
    rows, columns = np.nonzero(drawn(plots.render(ball, azimuth=azimuth, elevation=elevation, size=100, frame=AROUND)))
    expected = 49.5 + 40 * column * 80 / 100, 49.5 - 40 * row * 80 / 100
    assert (columns.mean(), rows.mean()) == pytest.approx(expected, abs=0.5)


def test_values_are_interpolated_linearly_between_the_corners() -> None:
    values = SQUARE.vertices[:, 0] / 100 + 0.5  # 0 at the left, 1 at the right
    picture = plots.render(SQUARE, size=100, values=values, limits=(0, 1), frame=(np.zeros(3), 50.0)) / 255
    flat = plots.render(SQUARE, size=100, values=np.zeros(4), limits=(0, 1), frame=(np.zeros(3), 50.0)) / 255
    shade = flat[50, 50] / plots.ERRORS(0.0)[:3]
    expected = plots.ERRORS((np.arange(100) + 0.5) / 100)[:, :3] * shade
    assert np.abs(picture[50, 2:-2] - expected[2:-2]).max() < 0.02


def test_values_of_another_mesh_are_rejected() -> None:
    with pytest.raises(ValueError, match="each of the 4 vertices, not 3"):
        plots.render(SQUARE, values=np.zeros(3))


def test_the_inside_of_a_surface_is_darker_than_its_outside() -> None:
    behind = SQUARE.copy()
    behind.invert()
    assert plots.render(behind, size=20).mean() < plots.render(SQUARE, size=20).mean() - 20


def test_the_light_comes_from_the_upper_left() -> None:
    picture = plots.render(SPHERE, size=100, frame=AROUND)
    assert picture[30, 30].mean() > picture[70, 70].mean() + 30


@pytest.mark.parametrize("azimuth", [0, 30, 45, 90, 135, 200, 300])
def test_nothing_is_cropped_not_even_distant_geometry(azimuth: float) -> None:
    speck = trimesh.creation.box(extents=(30, 30, 30)).apply_translation((300, -250, 280))
    both = trimesh.util.concatenate([SPHERE, speck])
    picture = drawn(plots.render(both, azimuth=azimuth, size=100, frame=plots.frame_of(SPHERE, both)))
    assert not (picture[0].any() or picture[-1].any() or picture[:, 0].any() or picture[:, -1].any())
    assert picture.sum() > drawn(plots.render(SPHERE, azimuth=azimuth, size=100, frame=plots.frame_of(SPHERE, both))).sum()


def test_photographs_are_shown_one_by_one_also_with_an_empty_mask(ellipsoid_scene: Scene) -> None:
    masks = ellipsoid_scene.masks.clone()
    masks[1] = False
    figure = plots.photographs(replace(ellipsoid_scene, masks=masks))
    assert len(figure.axes) == 5
    assert [len(axes.collections) for axes in figure.axes] == [2, 0, 2, 2, 2]
    assert {text.get_text() for text in figure.texts} == {f"photograph {view}" for view in ellipsoid_scene.views}


def test_a_comparison_has_a_row_a_method_and_names_the_protocol() -> None:
    meshes = {"IDR": SPHERE.copy().apply_scale(1.1), "BaseH3D-Net": SPHERE}
    errors = {"IDR": np.full(len(SPHERE.vertices), 10.0), "BaseH3D-Net": np.zeros(len(SPHERE.vertices))}
    scores = {"IDR": {"face_rigid_mm": 10.04, "head_rigid_mm": 11.0}, "BaseH3D-Net": {"face_rigid_mm": 0.0, "head_rigid_mm": 0.5}}
    figure = plots.comparison(SPHERE, meshes, errors, scores, size=40)
    assert len(figure.axes) == 3 + 2 * 6 + 1  # the truth, surfaces and errors, and the bar
    words = " ".join(text.get_text() for text in figure.texts)
    assert "IDR\nface 10.0 mm\nhead 11.0 mm" in words and "three-quarter" in words and "BaseH3D-Net" in words
    assert "(rigid)" in figure.axes[-1].get_xlabel()


def lines(**values: list[float]) -> dict[str, dict[str, pd.DataFrame]]:
    """Region -> method -> means at 3, 8 and 32 views with a spread of 0.1 and an interval of 0.2."""
    made = {
        name: pd.DataFrame({"views": [3, 8, 32], "mean": mean, "std": 0.1}).assign(
            low=lambda rows: rows["mean"] - 0.2, high=lambda rows: rows["mean"] + 0.2
        )
        for name, mean in values.items()
    }
    return {"face": made, "head": made}


def test_a_sweep_has_a_line_for_each_method_over_the_views_on_a_scale_of_powers_of_two() -> None:
    figure = plots.view_sweep(lines(idr=[3.0, 2.0, 1.0], other=[2.0, 2.0, 1.5]))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["face", "head"]
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["3", "8", "32"] and axes.get_xscale() == "log"
    drawn_lines = [line for line in axes.lines if len(line.get_ydata()) == 3 and line.get_linestyle() == "-"]
    assert [list(line.get_ydata()) for line in drawn_lines] == [[3.0, 2.0, 1.0], [2.0, 2.0, 1.5]]
    assert {text.get_text() for text in figure.legends[0].texts} == {"idr", "other"}
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.view_sweep({"face": {"idr": pd.DataFrame()}})


def test_gains_have_a_line_at_zero_and_bars_that_are_the_intervals() -> None:
    axes = plots.view_gains(lines(other=[-1.0, 0.0, 0.5]), "IDR").axes[0]
    assert any(list(line.get_ydata()) == [0, 0] for line in axes.lines)
    assert "difference to IDR" in axes.get_ylabel()
    ends = np.array([segment[:, 1] for segment in axes.collections[0].get_segments()])
    assert ends == pytest.approx(np.array([[-1.2, -0.8], [-0.2, 0.2], [0.3, 0.7]]))


def test_disturbances_have_a_column_each_at_most_four_side_by_side_and_one_scale_for_a_region() -> None:
    names = ["cameras", "outlines", "exposure", "noise", "motion"]
    of = {"IDR": [1.0, 2.0, 3.0], "other": [1.0, 1.0, 1.5]}
    made = {
        name: {
            region: {method: pd.DataFrame({"strength": [0.0, 1.0, 2.0], "mean": np.array(m) * (i + 1) * (1 + (region == "head"))})
                     for method, m in of.items()}
            for region in ("face", "head")
        }
        for i, name in enumerate(names)
    }  # fmt: skip
    figure = plots.disturbances(made, {"IDR": 0, "other": 3})
    panels = np.array(figure.axes).reshape(4, 4)
    assert [axes.get_title(loc="left") for axes in panels[0]] == names[:4] and panels[2, 0].get_title(loc="left") == "motion"
    assert [axes.axison for axes in panels[2:].flat] == [True, False, False, False] * 2
    assert [list(line.get_ydata()) for line in panels[3, 0].lines] == [[10.0, 20.0, 30.0], [10.0, 10.0, 15.0]]
    assert [tick.get_text() for tick in panels[1, 2].get_xticklabels()] == ["0", "1", "2"]
    assert panels[0, 0].get_ylabel() == "face, mm" and panels[3, 0].get_ylabel() == "head, mm"
    for rows in (panels[[0, 2]], panels[[1, 3]]):
        shown = {axes.get_ylim() for axes in rows.flat if axes.axison}
        assert len(shown) == 1
    assert panels[0, 0].get_ylim()[1] > 15 and panels[1, 0].get_ylim()[1] > 30 > 2 * panels[0, 0].get_ylim()[0]
    assert seen(figure) == {"IDR": plots.PALETTE[0], "other": plots.PALETTE[3]}
    assert len(figure.legends[0].texts) == 2 and figure.get_size_inches()[0] <= 5.6
    with pytest.raises(ValueError, match="no method has a number for any disturbance"):
        plots.disturbances({"noise": {"face": {}, "head": {}}})


def test_strips_show_every_head_and_leave_room_for_a_method_without_any() -> None:
    values = {"a b": pd.Series([1.0, 2.0, np.nan]), "none": pd.Series(dtype=float), "c": pd.Series([3.0])}
    axes = plots.strips({"face": values}).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a\nb", "none", "c"]
    shown = {line.get_marker(): list(line.get_ydata()) for line in axes.lines if line.get_marker() not in ("None", None, "")}
    assert shown == {"o": [1.0, 2.0], "D": [3.0]}
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.strips({"face": {"none": pd.Series(dtype=float)}})


def test_choices_mark_the_first_prior_and_those_that_the_rules_choose() -> None:
    errors = pd.DataFrame({"one": [1.0, 2.0], "two": [3.0, 1.0]}, index=["ada", "ben"])
    losses = pd.DataFrame({"one": [0.2, 0.1], "two": [0.1, np.nan]}, index=["ada", "ben"])
    figure = plots.choices({"face": errors}, {"held out": losses, "used": -errors[1:]})
    axes = figure.axes[0]
    marked = {mark: [line.get_ydata()[0] for line in axes.lines if line.get_marker() == mark] for mark in "><^"}
    assert marked == {">": [1.0, 2.0], "<": [3.0], "^": [2.0]}  # for ben a loss is missing, so nothing is chosen; for ada a row
    assert {"a prior", "the first prior", "held out", "used"} == {text.get_text() for text in figure.legends[0].get_texts()}
    for shown, chosen_by in ((errors[:1], losses), (errors[["two", "one"]], losses)):
        with pytest.raises(ValueError, match="an error for each head and prior"):
            plots.choices({"face": shown}, {"held out": chosen_by})


def seen(figure: plots.Figure) -> dict[str, tuple[str, str]]:
    """Label -> colour and mark of every line with a label."""
    found = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            line = handle if hasattr(handle, "get_marker") else handle.lines[0]
            found[label] = (to_hex(line.get_color()), line.get_marker())
    return found


def test_a_method_has_one_colour_and_mark_in_all_figures_whatever_others_are_in_them() -> None:
    study = Results("whole", invented.whole(), about=invented.about())
    without = study.table[~study.table["method"].isin(["baseh3d", "average"])]
    expected = {label: plots.PALETTE[number] for label, number in study.looks.items()}
    assert len(set(expected.values())) == 5
    for found in (study, Results("whole", without, about=study.about)):
        few, known = at(found, 3), found.looks
        shown = seen(plots.view_sweep(tables.sweep_lines(found, "rigid"), known))
        assert shown == {label: expected[label] for label in known}
        shown = seen(plots.view_gains(tables.gain_lines(found, "rigid", "idr"), "IDR", known))
        assert shown == {label: expected[label] for label in known if label != "IDR"}
        shown = seen(plots.losses({label: [{"step": 0.0, "rgb": 1.0}, {"step": 9.0, "rgb": 0.5}] for label in known}, known))
        assert shown == {label: expected[label] for label in known}
        axes = plots.strips(tables.strips(few, "rigid"), known).axes[0]
        points = [(to_hex(line.get_color()), line.get_marker()) for line in axes.lines if len(line.get_xdata()) == 10]
        assert points == [expected[label] for label in known]
        errors = dict.fromkeys(known, np.zeros(len(SPHERE.vertices)))
        scores = {label: {"face_rigid_mm": 1.0, "head_rigid_mm": 1.0} for label in known}
        figure = plots.comparison(SPHERE, dict.fromkeys(known, SPHERE), errors, scores, looks=known, size=20)
        assert [(line.get_color(), line.get_marker()) for line in figure.artists] == [expected[label] for label in known]


def test_a_method_without_a_number_gets_one_that_no_other_has() -> None:
    rows = [{"step": 0.0, "rgb": 1.0}, {"step": 9.0, "rgb": 0.5}]
    shown = seen(plots.losses({"new": rows, "IDR": rows, "newer": rows}, {"IDR": 0}))
    assert shown == {"new": plots.PALETTE[1], "IDR": plots.PALETTE[0], "newer": plots.PALETTE[2]}
    assert seen(plots.losses({"ada": rows, "ben": rows})) == {"ada": plots.PALETTE[0], "ben": plots.PALETTE[1]}


def test_the_palette_differs_in_lightness_hue_and_mark() -> None:
    assert len(plots.PALETTE) >= 10 and len({mark for _, mark in plots.PALETTE}) == len(plots.PALETTE)
    rgb = [[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour, _ in plots.PALETTE]
    lab = rgb2lab(np.array([rgb]))[0]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[np.triu_indices(len(lab), 1)]
    assert apart.min() > 20  # of about 2 that can just be seen
    assert np.ptp(lab[:, 0]) > 50 and (np.linalg.norm(lab - [100, 0, 0], axis=1) > 30).all()  # none is lost on white


def test_a_palette_of_256_colours_keeps_a_rare_one() -> None:
    chance = np.random.default_rng(0)
    picture = chance.normal((190, 150, 120), (25, 25, 25), (200, 200, 3)).clip(0, 255)
    lilac = slice(0, 14), slice(0, 60)
    picture[lilac] = chance.normal((200, 130, 225), 12, (14, 60, 3)).clip(0, 255)
    content = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(content, format="PNG")
    small = np.asarray(Image.open(io.BytesIO(plots.small(content.getvalue()))).convert("RGB"), dtype=float)
    assert np.abs(small - picture)[lilac].mean() < 7.5


def test_a_palette_of_256_colours_keeps_the_picture_and_makes_the_file_smaller(tmp_path: Path) -> None:
    figure = plots.head(SPHERE, size=200)
    plots.save(figure, tmp_path / "whole.png")
    plots.save(figure, tmp_path / "small.png", palette=True)
    assert (tmp_path / "small.png").stat().st_size < 0.6 * (tmp_path / "whole.png").stat().st_size
    whole, small = (np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"), dtype=float) for name in ("whole", "small"))
    assert np.abs(whole - small).mean() < 2


def test_losses_of_long_fits_are_medians_and_of_very_different_lengths_over_the_share_of_the_steps() -> None:
    long = [{"step": float(i), "rgb": i + 1.0} for i in range(6000)]
    (axes,) = plots.losses({"long": long, "short": long[:240], "few": long[:12]}).axes
    assert axes.get_xlabel() == "% of the steps" and [len(line.get_xdata()) for line in axes.lines] == [48, 48, 12]
    assert axes.lines[0].get_ydata()[0] == 63 and max(np.asarray(axes.lines[0].get_xdata())) < 100
    (alone,) = plots.losses({"long": long}).axes
    assert alone.get_xlabel() == "step" and max(np.asarray(alone.lines[0].get_xdata())) > 5900


def test_losses_without_a_history_say_so() -> None:
    with pytest.raises(ValueError, match="every history is empty"):
        plots.losses({"ada": []})
    figure = plots.losses({"ada": [{"step": 0.0, "rgb": 1.0, "mask": 2.0}], "ben": [{"step": 0.0, "rgb": 0.0}]})
    assert [axes.get_title() for axes in figure.axes] == ["rgb", "mask"]


def test_a_saved_figure_is_the_same_bytes_each_time_and_names_no_software(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plots.save(plots.head(SPHERE, size=30), tmp_path / "new" / name)
    first = (tmp_path / "new" / "a.png").read_bytes()
    assert first == (tmp_path / "new" / "b.png").read_bytes()
    assert b"Software" not in first and b"tEXt" not in first and b"tIME" not in first


def test_a_figure_that_cannot_be_saved_leaves_the_old_one(tmp_path: Path) -> None:
    kept = tmp_path / "kept.png"
    plots.save(np.zeros((4, 4, 3), np.uint8), kept)
    before = kept.read_bytes()
    with pytest.raises(ValueError, match=r"kept\.png: a figure of this kind is saved as \.json"):
        plots.save(plots.interactive(SPHERE), kept)
    assert kept.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["kept.png"]


def test_a_3d_head_is_small_and_accurate_to_a_tenth_of_a_millimetre(tmp_path: Path) -> None:
    fine = trimesh.creation.icosphere(subdivisions=6, radius=100)
    figure = plots.interactive(fine, 5000, title="sphere")
    plots.save(figure, tmp_path / "head.json")
    assert (tmp_path / "head.json").stat().st_size < 80_000 < len(fine.faces)
    trace = figure.data[0]
    assert len(trace.i) <= 5000
    radii = np.linalg.norm(np.stack([trace.x, trace.y, trace.z], axis=1) / 10.0, axis=1)
    assert np.abs(radii - 100).max() < 0.5
    saved = json.loads((tmp_path / "head.json").read_text())
    assert saved["data"][0]["type"] == "mesh3d" and saved["data"][0]["x"]["dtype"] == "i2"


def test_a_3d_heat_map_keeps_the_value_of_each_place() -> None:
    figure = plots.interactive(SPHERE, 1000, values=SPHERE.vertices[:, 1] + 100)
    trace = figure.data[0]
    assert np.abs(np.asarray(trace.intensity) - 100 - np.asarray(trace.y) / 10).max() < 8  # an edge of the mesh is 7 mm


def test_a_mesh_in_other_units_is_rejected() -> None:
    with pytest.raises(ValueError, match="it reaches 100000 mm"):
        plots.interactive(SPHERE.copy().apply_scale(1000))


def test_a_table_shows_two_decimals_and_a_dash() -> None:
    rows = pd.DataFrame({"subject": ["ada", "ben"], "face": [1.23456, np.nan], "status": ["ok", "failed"]})
    shown = plots.table(rows).to_html()
    assert "1.23<" in shown and "–" in shown and "1.234" not in shown
