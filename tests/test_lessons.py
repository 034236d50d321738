"""The lesson on averages: its numbers are those of the fit that it imitates, and its figure shows them."""

from dataclasses import replace

import pandas as pd
import pytest

from heads.methods import idr, priors
from heads.posts import lessons, plots
from heads.scene import Scene

TINY = replace(lessons.SMOKE, epochs=10)


@pytest.fixture(scope="module")
def kept(ellipsoid_scene: Scene) -> dict[int, list[priors.Prior]]:
    return lessons.trained([ellipsoid_scene, ellipsoid_scene], [0, 1], TINY, every=4)


def test_networks_are_kept_at_the_first_step_every_fourth_and_the_last(kept: dict[int, list[priors.Prior]]) -> None:
    assert list(kept) == [1, 4, 8, 10]
    assert all(len(networks) == 2 for networks in kept.values())


def test_the_first_loss_is_that_of_a_fit(kept: dict[int, list[priors.Prior]], ellipsoid_scene: Scene) -> None:
    start = priors.carrying(kept[10][0], ["geometry", "colour"])
    row = idr.fit(ellipsoid_scene, start, replace(TINY, epochs=1), seed=0).history[0]
    loss = row["rgb"] + TINY.mask_weight * row["mask"] + TINY.eikonal_weight * row["eikonal"]
    assert lessons.first_loss(start, ellipsoid_scene, TINY, rays=TINY.rays) == pytest.approx(loss, rel=1e-5)


def test_a_course_has_each_network_and_the_mean_at_each_step(kept: dict[int, list[priors.Prior]], ellipsoid_scene: Scene) -> None:
    rows = lessons.course("independent", kept, ellipsoid_scene, TINY)
    assert list(rows["step"]) == [step for step in kept for _ in range(3)]
    assert list(rows["network"][:3]) == ["ellipsoid", "ellipsoid", lessons.MEAN]
    assert rows["inside_share"].between(0, 1).all() and (rows["first_loss"] > 0).all()
    alone = lessons.measures(kept[10][0], [kept[10][0]], ellipsoid_scene, TINY)
    assert (alone["iou"], alone["l1"], alone["surface"]) == (1.0, 0.0, True)


def test_the_figure_marks_where_the_mean_has_no_surface() -> None:
    course = {"step": [1, 2, 1, 2], "network": ["ada", "ada", lessons.MEAN, lessons.MEAN], "surface": [True, True, True, False]}
    numbers = {"start": "independent", "inside_share": [0.1, 0.1, 0.2, 0.6], "iou": 0.5, "first_loss": 1.0}
    figure = lessons.figure(pd.DataFrame(course | numbers), {"a ball": lambda points: points.norm(dim=1) - 0.5})
    crosses = [line for line in figure.subfigs[0].axes[0].lines if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[2]]
    assert len(figure.subfigs[1].axes) == 1
    assert plots.png(figure)[:4] == b"\x89PNG"
