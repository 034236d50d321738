"""The fit against a shape known in closed form, its schedules against the published ones, and its reproducibility."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ellipsoid_distance
from torch import Tensor

from heads.methods import idr, priors
from heads.scene import Reconstruction, Scene
from heads.surface import consistency, sdf, trace, training

TINY = replace(idr.SMOKE, epochs=40)


def fit(scene: Scene, config: idr.Config = TINY, prior: priors.Prior | None = None) -> Reconstruction:
    return idr.fit(scene, prior or priors.sphere(config.shape, 0), config, seed=0)


@pytest.fixture(scope="module")
def half() -> dict[str, Tensor]:
    """The checkpoint that `tiny` leaves a little after half its steps."""
    return {}


@pytest.fixture(scope="module")
def tiny(ellipsoid_scene: Scene, half: dict[str, Tensor]) -> Reconstruction:
    """The fit that several tests compare with another."""

    def keep(step: int, total: int, terms: dict[str, float], state: training.StateOf) -> None:
        if step == total // 2 + 3:
            half.update(state())

    return idr.fit(ellipsoid_scene, priors.sphere(TINY.shape, 0), TINY, on_step=keep)


@pytest.fixture(scope="module")
def taught(ellipsoid_scene: Scene) -> priors.Prior:
    """A prior that knows the ellipsoid."""
    return priors.single_scan("ellipsoid", TINY.shape, 100, fit(ellipsoid_scene, replace(TINY, epochs=100)))


def surface_error_mm(result: Reconstruction) -> float:
    points = torch.tensor(np.asarray(result.mesh_mm.vertices) / 150).float()
    return float(ellipsoid_distance(points).abs().mean() * 150)


def beginning(
    scene: Scene, resolution: int
) -> tuple[idr.Pixels, idr.Batch, sdf.ImplicitNetwork, idr.ColourNetwork, trace.CachedField, trace.Trace]:
    """What the losses of a fit's first step are made of, from a sphere, with a cached grid of this resolution."""
    pixels = idr.Pixels(scene, TINY, torch.device("cpu"))
    batch = pixels.draw(0, torch.Generator().manual_seed(0))
    geometry = priors.network(priors.sphere(TINY.shape, 0), generator=torch.Generator())
    colour = idr.ColourNetwork(TINY.colour_shape, torch.Generator().manual_seed(0))
    field = sdf.distance(geometry)
    grid = trace.CachedField(field, resolution)
    return pixels, batch, geometry, colour, grid, trace.cached(grid, field, batch.origins, batch.directions, polish=batch.mask)


def test_published_colour_network_has_the_published_number_of_parameters() -> None:
    network = idr.ColourNetwork(idr.PAPER.colour_shape, torch.Generator())
    assert sum(p.numel() for p in network.parameters()) == 940_038


def test_a_fit_finds_the_ellipsoid(ellipsoid_scene: Scene) -> None:
    small = {"shape": sdf.Shape(width=64, depth=4, feature=16), "colour_width": 64, "rays": 256, "grid": 40, "cell_mm": 4.0}
    config = replace(idr.LAPTOP, epochs=150, steps_per_view=0.2, **small)
    start = surface_error_mm(fit(ellipsoid_scene, replace(config, epochs=1)))
    assert surface_error_mm(fit(ellipsoid_scene, config)) < min(2.5, start / 3)


def test_the_published_tracer_fits_as_the_cached_one_does(ellipsoid_scene: Scene, tiny: Reconstruction) -> None:
    published = fit(ellipsoid_scene, replace(TINY, tracer="published"))
    assert surface_error_mm(published) == pytest.approx(surface_error_mm(tiny), rel=0.1)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(ellipsoid_scene: Scene, tiny: Reconstruction) -> None:
    again, other = fit(ellipsoid_scene), idr.fit(ellipsoid_scene, priors.sphere(TINY.shape, 0), TINY, seed=1)
    assert tiny.mesh_mm.vertices.tobytes() == again.mesh_mm.vertices.tobytes()
    assert tiny.mesh_mm.vertices.tobytes() != other.mesh_mm.vertices.tobytes()


def test_a_resumed_fit_ends_where_an_undisturbed_one_does(
    ellipsoid_scene: Scene, tiny: Reconstruction, half: dict[str, Tensor]
) -> None:
    seen: list[int] = []
    resumed = idr.fit(
        ellipsoid_scene,
        priors.sphere(TINY.shape, 0),
        TINY,
        on_step=lambda step, total, terms, state: seen.append(step),
        resume=half,
    )
    assert seen == list(range(half["step"].item() + 1, seen[-1] + 1))
    assert tiny.mesh_mm.vertices.tobytes() == resumed.mesh_mm.vertices.tobytes()
    assert all(torch.equal(tiny.tensors[name], resumed.tensors[name]) for name in tiny.tensors)


def test_moments_are_taken_over_by_an_optimizer_of_their_kind_alone(ellipsoid_scene: Scene) -> None:
    adam = replace(TINY, muon_step_size=0.0, muon_colour_step_size=0.0)
    by_adam = fit(ellipsoid_scene, adam)
    weights, bias = "moments.geometry.layers.1.parametrizations.weight.original1", "moments.geometry.layers.1.bias"
    assert {f"{weights}.exp_avg", f"{bias}.exp_avg"} <= set(by_adam.tensors)
    state: dict[str, Tensor] = {}
    prior = priors.single_scan("ellipsoid", TINY.shape, 40, by_adam)
    idr.fit(
        ellipsoid_scene, prior, replace(TINY, epochs=1), on_step=lambda step, total, terms, state_of: state.update(state_of())
    )
    steps = state["step"].item()
    assert state[f"{bias}.step"].item() == by_adam.tensors[f"{bias}.step"].item() + steps
    assert f"{weights}.momentum_buffer" in state and f"{weights}.exp_avg" not in state


def test_a_single_scan_prior_starts_where_its_fit_ended(ellipsoid_scene: Scene, taught: priors.Prior) -> None:
    first_loss: dict[tuple[str, ...], dict[str, float]] = {}

    def stop(step: int, total: int, terms: dict[str, float], state: Any) -> None:
        first_loss[parts] = terms
        raise InterruptedError

    for parts in (("geometry", "colour", "moments"), ("geometry",), ("colour",), ()):
        with pytest.raises(InterruptedError):
            idr.fit(ellipsoid_scene, priors.carrying(taught, parts), TINY, on_step=stop)
    everything = first_loss["geometry", "colour", "moments"]
    assert everything["rgb"] < first_loss["geometry",]["rgb"]
    assert everything["mask"] < first_loss["colour",]["mask"]


def test_carrying_moments_changes_the_fit_and_nothing_else_at_the_first_step(
    ellipsoid_scene: Scene, taught: priors.Prior
) -> None:
    config = replace(TINY, epochs=10)
    with_moments = fit(ellipsoid_scene, config, taught)
    without = fit(ellipsoid_scene, config, priors.carrying(taught, ("geometry", "colour")))
    assert with_moments.history[0]["rgb"] == without.history[0]["rgb"]
    assert with_moments.mesh_mm.vertices.tobytes() != without.mesh_mm.vertices.tobytes()


def test_schedules_are_those_of_the_text_and_of_the_shipped_files() -> None:
    readme, shipped, cosine = (replace(idr.PAPER, schedule=name) for name in idr.SCHEDULES)
    epochs = (0, 500, 999, 1000, 1499, 1500, 2499)
    assert [idr.step_size_factor(readme, epoch, 500) for epoch in epochs] == [1] * 7
    assert [idr.step_size_factor(shipped, epoch, 500) for epoch in epochs] == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    assert idr.step_size_factor(cosine, 500, 500) == pytest.approx(1.0)
    assert idr.step_size_factor(cosine, 2500, 500) == pytest.approx(0.05)


def test_alpha_doubles_at_the_published_epochs() -> None:
    assert [idr.alpha_at(idr.PAPER, epoch) for epoch in (0, 249, 250, 500, 1250, 2000)] == [50, 50, 100, 200, 1600, 1600]


def test_the_cached_grid_is_refreshed_most_often_at_first() -> None:
    config = replace(idr.LAPTOP, refresh_every=25)
    kinds = {step: kind for step in range(500) if (kind := idr.refresh_at(config, step, 500))}
    assert [step for step in kinds if step <= 50] == [5, 10, 15, 20, 25, 30, 35, 40, 45, 50]
    assert [step for step in range(150) if idr.refresh_at(config, step, 150)] == [*range(5, 50, 5), *range(50, 150, 25)]
    assert [step for step in kinds if step >= 100] == list(range(100, 500, 25))
    assert [step for step, kind in kinds.items() if kind == "full"] == [25, 50, 100, 200, 400]


def test_the_cached_grid_is_coarser_while_it_is_refreshed_most_often() -> None:
    assert [idr.grid_at(idr.LAPTOP, step, 6000) for step in (0, 99, 100, 5000)] == [32, 32, 64, 64]
    assert [idr.grid_at(idr.LAPTOP, step, 150) for step in (0, 49, 50, 149)] == [32, 32, 64, 64]


def test_losses_of_a_perfect_start_are_those_of_the_definition(ellipsoid_scene: Scene) -> None:
    config = TINY
    pixels = idr.Pixels(ellipsoid_scene, config, torch.device("cpu"))
    batch = pixels.draw(0, torch.Generator().manual_seed(0))
    geometry = priors.network(priors.sphere(config.shape, 0), generator=torch.Generator())
    colour = idr.ColourNetwork(config.colour_shape, torch.Generator().manual_seed(0))
    field = sdf.distance(geometry)
    traced = trace.cached(trace.CachedField(field, 32), field, batch.origins, batch.directions)
    uniform = torch.rand(64, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    terms = idr.losses(geometry, colour, traced, batch, uniform, alpha=50.0)

    surface = traced.hit & batch.mask
    points = batch.origins + traced.t_surface.where(surface, traced.t_closest)[:, None] * batch.directions
    last = -(field(points) / traced.slope)[surface].clamp(-trace.LAST, trace.LAST)
    points[surface] += last[:, None] * batch.directions[surface]
    silhouette, rgb = 0.0, 0.0
    for index in range(len(points)):  # the slow twin: one ray at a time
        value, normal, feature = geometry.with_gradient(points[index : index + 1])
        if surface[index]:
            seen = colour(points[index : index + 1], -batch.directions[index : index + 1], normal, feature)
            rgb += (seen - batch.colours[index]).abs().sum().item()
        else:
            inside = torch.sigmoid(-50.0 * value.double())
            silhouette -= torch.log(inside if batch.mask[index] else 1 - inside).item() / 50
    assert terms["rgb"].item() == pytest.approx(rgb / len(points), rel=1e-3)
    assert terms["mask"].item() == pytest.approx(silhouette / len(points), rel=1e-3)
    _, gradient, _ = geometry.with_gradient(torch.cat([points[surface], uniform]))
    assert terms["eikonal"].item() == pytest.approx(((gradient.norm(dim=1) - 1) ** 2).mean().item(), rel=1e-4)
    assert terms["consistency"].item() == 0  # nobody is compared with


def test_what_photographs_disagree_in_is_a_loss_of_the_geometry_alone(ellipsoid_scene: Scene) -> None:
    pixels, batch, geometry, colour, grid, traced = beginning(ellipsoid_scene, 32)
    assert batch.others.shape == (TINY.rays, 2)
    assert idr.Pixels(ellipsoid_scene, replace(TINY, consistency_weight=0.0), torch.device("cpu")).draw(
        0, torch.Generator().manual_seed(0)
    ).others.shape == (TINY.rays, 0)
    terms = idr.losses(geometry, colour, traced, batch, torch.zeros((1, 3)), 50.0, pixels.photographs, grid)
    terms["consistency"].backward()
    assert all(p.grad is None for p in colour.parameters())
    assert any(p.grad is not None and bool(p.grad.any()) for p in geometry.parameters())


def test_one_pass_asks_the_network_less_and_says_the_same(ellipsoid_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    _, batch, geometry, colour, _, traced = beginning(ellipsoid_scene, 64)
    asked, hidden = 0, sdf.ImplicitNetwork._hidden

    def counting(self: sdf.ImplicitNetwork, x: Tensor, code: Tensor | None, owner: Tensor | None) -> Any:
        nonlocal asked
        asked += len(x)
        return hidden(self, x, code, owner)

    monkeypatch.setattr(sdf.ImplicitNetwork, "_hidden", counting)
    found, points = [], []
    for one_pass in (False, True):
        asked = 0
        found.append(idr.losses(geometry, colour, traced, batch, torch.zeros((9, 3)), 50.0, one_pass=one_pass))
        points.append(asked)
    surface = int((traced.hit & batch.mask).sum())
    assert points == [len(batch.mask) + surface + 9, len(batch.mask) + 9]
    for name, term in found[0].items():
        torch.testing.assert_close(found[1][name], term, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("one_pass", [False, True])
def test_rays_that_a_gpu_computes_but_that_are_not_on_the_surface_do_not_count(
    ellipsoid_scene: Scene, monkeypatch: pytest.MonkeyPatch, one_pass: bool
) -> None:
    pixels, batch, geometry, colour, grid, traced = beginning(ellipsoid_scene, 32)
    parameters = [p for p in (*geometry.parameters(), *colour.parameters()) if p.numel()]
    uniform = torch.rand((30, 3), generator=torch.Generator().manual_seed(1))

    def terms_and_slopes() -> list[Tensor]:
        terms = idr.losses(geometry, colour, traced, batch, uniform, 50.0, pixels.photographs, grid, one_pass)
        return [*terms.values(), *torch.autograd.grad(sum(terms.values()), parameters)]

    alone = terms_and_slopes()
    monkeypatch.setattr(trace, "chosen", lambda wanted: torch.arange(len(wanted)))
    for one, other in zip(alone, terms_and_slopes(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_pixels_are_drawn_with_the_colour_and_mask_of_their_ray(ellipsoid_scene: Scene) -> None:
    pixels = idr.Pixels(ellipsoid_scene, replace(TINY, rays=4000), torch.device("cpu"))
    colours, mask, origins, directions, *_ = pixels.draw(0, torch.Generator().manual_seed(0))
    far = trace.cached(trace.CachedField(ellipsoid_distance, 64), ellipsoid_distance, origins, directions)
    assert (far.hit == mask).float().mean() > 0.995
    assert (colours[~mask] == -1).all()
    assert mask.float().mean() > 0.5  # half inside the masks, and more by chance


def test_rays_are_drawn_in_the_masks_near_them_and_anywhere_by_their_shares(ellipsoid_scene: Scene) -> None:
    shares = {"rays_in_mask": 0.6, "rays_near_mask": 0.3, "near_px": 4.0}
    pixels = idr.Pixels(ellipsoid_scene, replace(TINY, rays=4000, **shares), torch.device("cpu"))
    _, mask, origins, directions, *_ = pixels.draw(0, torch.Generator().manual_seed(0))
    assert mask[:2400].all()
    assert not mask[-1200:].any()

    def larger(points: Tensor) -> Tensor:
        return ellipsoid_distance(points) - 0.1  # 4 pixels are 0.08 at the ellipsoid

    around = trace.cached(trace.CachedField(larger, 64), larger, origins[-1200:], directions[-1200:])
    assert around.hit.float().mean() > 0.99


def test_where_the_head_fills_the_picture_no_ray_is_near_its_mask(ellipsoid_scene: Scene) -> None:
    filled = replace(ellipsoid_scene, masks=torch.ones_like(ellipsoid_scene.masks))
    colours, mask, *_ = idr.Pixels(filled, TINY, torch.device("cpu")).draw(0, torch.Generator().manual_seed(0))
    assert len(colours) == TINY.rays and mask.all()


def test_pixels_near_the_masks_are_those_that_a_search_of_all_finds() -> None:
    masks = torch.rand((2, 9, 11), generator=torch.Generator().manual_seed(0)) > 0.93
    masks[1] = False
    found = idr.near(masks, 2.5)
    for view, row, column in np.ndindex(*masks.shape):
        others = masks[view].nonzero() - torch.tensor([row, column])
        distance = others.float().norm(dim=1).min().item() if len(others) else math.inf
        assert found[view, row, column] == (0 < distance <= 2.5)


def test_blurred_photographs_know_nothing_of_the_background() -> None:
    chance = torch.Generator().manual_seed(0)
    masks = torch.zeros((1, 24, 24), dtype=torch.bool)
    masks[:, 6:18, 4:16] = True
    images = torch.rand((1, 24, 24, 3), generator=chance)
    soft = idr.blurred(images, masks, 1.0)
    assert torch.equal(soft[~masks], images[~masks])
    other = images.where(masks[..., None], torch.rand(images.shape, generator=chance))
    assert torch.allclose(idr.blurred(other, masks, 1.0)[masks], soft[masks])
    even = torch.full_like(images, 0.3).where(masks[..., None], images)
    assert torch.allclose(idr.blurred(even, masks, 1.0)[masks], torch.tensor(0.3))
    offsets = torch.arange(24) - 11  # the slow twin, at a pixel in the middle
    weights = torch.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / 2.0) * masks[0]
    expected = (weights[..., None] * images[0]).sum((0, 1)) / weights.sum()
    assert torch.allclose(soft[0, 11, 11], expected, atol=1e-3)


def test_one_photograph_a_step_as_published(ellipsoid_scene: Scene) -> None:
    pixels = idr.Pixels(ellipsoid_scene, replace(TINY, mixed_views=False), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    for step in range(7):
        origins = pixels.draw(step, generator).origins
        assert torch.allclose(origins, ellipsoid_scene.unit_from_cam[step % 5, :3, 3].expand_as(origins))


def test_a_fit_that_diverges_says_so(ellipsoid_scene: Scene) -> None:
    with pytest.raises(ValueError, match=r"scene ellipsoid: before step 10, the fit diverged \(rgb"):
        fit(ellipsoid_scene, replace(TINY, step_size=10.0, clip=0.0))


def test_a_surface_that_nothing_sees_any_more_is_said_within_a_few_steps(
    ellipsoid_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = trace.cached

    def blind(*arguments: Any, **options: Any) -> trace.Trace:
        traced = seen(*arguments, **options)
        return traced._replace(hit=torch.zeros_like(traced.hit))

    monkeypatch.setattr(trace, "cached", blind)
    with pytest.raises(ValueError, match=r"scene ellipsoid: before step 10, the surface has vanished: .* masks"):
        fit(ellipsoid_scene)


@pytest.mark.parametrize("term", ["rgb", "mask", "eikonal", "consistency"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e6])
def test_losses_out_of_all_bounds_are_a_divergence(term: str, value: float) -> None:
    row = {"rgb": 0.5, "mask": 0.01, "eikonal": 0.1, "consistency": 0.2}
    assert idr.trouble(row, 0) == idr.trouble(row, 1) == ""
    said = idr.trouble(row | {term: value}, 0)
    assert said.startswith("the fit diverged (") and f"{term} {value:.3g}" in said and "are the steps too large" in said


def test_no_checkpoint_of_a_fit_that_has_diverged_takes_the_place_of_an_earlier_one(ellipsoid_scene: Scene) -> None:
    saved: list[int] = []

    def each(step: int, total: int, terms: dict[str, float], state: Any) -> None:
        state()
        saved.append(step)

    with pytest.raises(ValueError, match=r"diverged: after step 1, (geometry|colour)\."):
        idr.fit(ellipsoid_scene, priors.sphere(TINY.shape, 0), replace(TINY, step_size=math.inf), on_step=each)
    assert saved == []


CONVENTIONS: dict[str, tuple[Any, str]] = {
    "millimetres for radii": (lambda pose: pose * torch.tensor([1.0, 1, 1, 1000]), "0% of its mask looks .* 3.01e\\+03 radii"),
    "radii for millimetres": (
        lambda pose: pose * torch.tensor([1.0, 1, 1, 0.001]),
        "taken from inside the unit sphere .* 0.00301",
    ),
    "OpenGL's camera": (lambda pose: pose * torch.tensor([1.0, -1, -1, 1]), "0% of its mask looks"),
    "camera from world": (torch.linalg.inv, "0% of its mask looks"),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_cameras_of_another_convention_or_unit_are_refused_before_the_first_step(ellipsoid_scene: Scene, convention: str) -> None:
    change, sentence = CONVENTIONS[convention]
    poses = change(ellipsoid_scene.unit_from_cam)
    poses[:, 3] = torch.tensor([0.0, 0, 0, 1])
    with pytest.raises(ValueError, match=rf"scene ellipsoid: view \d: (it is )?{sentence}.*another convention or unit"):
        fit(replace(ellipsoid_scene, unit_from_cam=poses))


def test_a_surface_that_runs_out_of_the_cube_is_no_head(ellipsoid_scene: Scene) -> None:
    sentence = r"scene ellipsoid: after step 40, the surface runs out of the cube .* \d+% of whose faces .*; do the masks"
    with pytest.raises(ValueError, match=sentence):
        fit(replace(ellipsoid_scene, masks=torch.ones_like(ellipsoid_scene.masks)))


def test_a_fit_without_a_surface_says_after_which_step(ellipsoid_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdf, "distance", lambda geometry: lambda points: points[:, 0] * 0 + 1)
    monkeypatch.setattr(priors, "check_surface", lambda prior: None)
    monkeypatch.setattr(idr, "trouble", lambda row, unseen: "")
    with pytest.raises(ValueError, match=r"scene ellipsoid: after step 40, the field has no surface: .* do the masks"):
        fit(ellipsoid_scene)


def test_empty_masks_and_senseless_settings_are_refused(ellipsoid_scene: Scene) -> None:
    with pytest.raises(ValueError, match=r"ellipsoid.*empty"):
        fit(replace(ellipsoid_scene, masks=torch.zeros_like(ellipsoid_scene.masks)))
    for name, value in (("schedule", "slow"), ("tracer", "magic"), ("rays", 0), ("step_size", -1.0), ("rays_in_mask", 2.0)):
        with pytest.raises(ValueError, match=name):
            replace(idr.PAPER, **{name: value})


def test_the_losses_of_the_photographs_are_means_over_a_trial_and_over_the_end_without_the_eikonal_term() -> None:
    steps = [*range(0, 1000, 10), 999]  # as a fit of 1,000 steps keeps them
    rows = [{"step": float(s), "epoch": s / 3, "rgb": s / 1000, "mask": s / 100_000, "eikonal": 9.0} for s in steps]
    losses = idr.photograph_losses(rows)  # rgb + 100 mask = step / 500
    assert losses["trial_loss"] == pytest.approx((150 + 240) / 2 / 500)  # 150, 160 ... 240
    assert losses["final_loss"] == pytest.approx((10 * (900 + 990) / 2 + 999) / 11 / 500)


def test_a_fit_too_short_to_have_had_a_trial_has_no_loss_of_one() -> None:
    row = {"epoch": 0.0, "rgb": 1.0, "mask": 0.01, "eikonal": 9.0}
    short = idr.photograph_losses([row | {"step": 0.0}, row | {"step": 9.0}])
    assert math.isnan(short["trial_loss"]) and short["final_loss"] == 2.0
    assert all(math.isnan(loss) for loss in idr.photograph_losses([]).values())


def test_a_fit_learns_by_how_much_a_photograph_is_brighter(ellipsoid_scene: Scene) -> None:
    gains = torch.tensor([-0.25, -0.05, -0.15])
    darker = replace(ellipsoid_scene, images=ellipsoid_scene.images.clone())
    darker.images[1] *= gains.exp()
    learned = fit(darker, replace(TINY, gain_step_size=2e-2)).tensors["gains"]
    assert torch.allclose(learned[1] - learned[0], gains, atol=0.08)
    assert "gains" not in fit(darker, replace(TINY, epochs=1, gain_step_size=0.0)).tensors


def test_a_prior_says_nothing_of_the_gains_of_other_photographs(ellipsoid_scene: Scene) -> None:
    config = replace(TINY, epochs=4, gain_step_size=5e-3)
    prior = priors.single_scan("ellipsoid", config.shape, 4, fit(ellipsoid_scene, config))
    assert any(name.startswith("moments.gains.") for name in prior.tensors)
    few = replace(
        ellipsoid_scene,
        views=ellipsoid_scene.views[:2],
        **{name: getattr(ellipsoid_scene, name)[:2] for name in ("images", "masks", "px_from_cam", "unit_from_cam")},
    )
    assert fit(few, config, prior).tensors["gains"].shape == (2, 3)


def from_one_side(scene: Scene) -> Scene:
    """The scene's first photograph alone."""
    first = {name: getattr(scene, name)[:1] for name in ("images", "masks", "px_from_cam", "unit_from_cam")}
    return replace(scene, views=scene.views[:1], **first)


def test_where_nothing_looks_the_surface_stays_that_of_the_prior(ellipsoid_scene: Scene, taught: priors.Prior) -> None:
    few, start = from_one_side(ellipsoid_scene), priors.carrying(taught, ["geometry"])
    before = sdf.distance(network := priors.network(start, generator=torch.Generator()))
    points = sdf.on_surface(network, 3000, torch.Generator().manual_seed(1))
    assert len(points) > 1000 and before(points).abs().max() < 0.005
    seen_by = (few.masks, few.px_from_cam, few.unit_from_cam)
    hidden = points[consistency.unseen(points, *seen_by, lambda x: before(x.flatten(0, 1)).view(x.shape[:2]))]
    moved = {}
    for weight in (0.0, 1.0):
        head = priors.single_scan("after", TINY.shape, 0, fit(few, replace(TINY, hold_weight=weight), start))
        moved[weight] = sdf.distance(priors.network(head, generator=torch.Generator()))(hidden).abs().mean().item()
    assert moved[1.0] < 0.6 * moved[0.0]


def test_a_resumed_fit_holds_the_same_surface(ellipsoid_scene: Scene, taught: priors.Prior) -> None:
    few, config = from_one_side(ellipsoid_scene), replace(TINY, hold_weight=1.0)
    half: dict[str, Tensor] = {}

    def keep(step: int, total: int, terms: dict[str, float], state: training.StateOf) -> None:
        if step == total // 2:
            half.update(state())

    whole = idr.fit(few, taught, config, on_step=keep)
    again = idr.fit(few, taught, config, resume=half)
    assert len(half["held"]) > 0
    assert all(torch.equal(whole.tensors[name], again.tensors[name]) for name in whole.tensors)
