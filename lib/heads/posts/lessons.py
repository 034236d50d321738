"""The lesson of notebook 7: what happens to the mean of networks' parameters as the networks learn, in numbers and in a figure.

It trains small networks on small photographs, as IDR does, in a minute rather than a day.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd
import torch

from heads.methods import average, idr, priors
from heads.methods.priors import Prior
from heads.posts import plots
from heads.scene import Scene
from heads.surface import ensemble, sdf, trace, training
from heads.surface.colour import ColourNetwork

MEAN = "mean"  # the name of the mean of the parameters, beside the heads' names
UNIT_BALL = math.pi / 6  # its share of the cube [-1, 1]^3
LAPTOP = replace(
    idr.LAPTOP,
    shape=sdf.Shape(width=128, depth=4, feature=32),
    colour_width=64,
    colour_depth=2,
    epochs=120,
    steps_per_view=0.2,
    rays=256,
    grid=32,
    schedule="readme",
    muon_step_size=0.0,
    muon_colour_step_size=0.0,
    step_size=1.5e-3,  # so that 200 steps get as far as thousands of published ones
    cell_mm=6.0,
)
SMOKE = replace(LAPTOP, shape=sdf.Shape(width=32, depth=3, feature=16, octaves=2), colour_width=32, epochs=25, rays=64)
PRESETS = {"PAPER": LAPTOP, "PUBLISHED": LAPTOP, "LAPTOP": LAPTOP, "SMOKE": SMOKE}  # the lesson is the same at any size


def silent(label: str) -> training.OnStep:
    """An `on_step` that says nothing."""
    return lambda *_: None


def trained(
    scenes: Sequence[Scene],
    seeds: Sequence[int],
    config: idr.Config,
    *,
    every: int,
    progress: Callable[[str], training.OnStep] = silent,
) -> dict[int, list[Prior]]:
    """The networks of a fit to each scene, started from its seed: after the first step, every `every` steps, and the last.

    `progress` makes the `on_step` of a fit from its label.
    """
    kept: dict[int, list[Prior]] = {}
    for scene, seed in zip(scenes, seeds, strict=True):
        keep = _keeper(kept, scene.name, config.shape, every, progress(f"{scene.name} from start {seed}"))
        idr.fit(scene, priors.sphere(config.shape, seed), config, seed=seed, on_step=keep)
    return kept


def _keeper(
    kept: dict[int, list[Prior]], name: str, shape: sdf.Shape | ensemble.Shape, every: int, say: training.OnStep
) -> training.OnStep:
    def keep(step: int, total: int, terms: dict[str, float], state: training.StateOf) -> None:
        say(step, total, terms, state)
        if step in (1, total) or step % every == 0:
            kept.setdefault(step, []).append(Prior(name, shape, 0, state()))

    return keep


def course(start: str, kept: Mapping[int, Sequence[Prior]], scene: Scene, config: idr.Config) -> pd.DataFrame:
    """A row with `start`, `step`, `network` and `measures` for each step and network, and for the mean of their parameters."""
    rows = []
    for step, networks in kept.items():
        for prior in (*networks, average.average_weights(MEAN, networks)):
            rows.append({"start": start, "step": step, "network": prior.name} | measures(prior, networks, scene, config))
    return pd.DataFrame(rows)


def measures(
    prior: Prior, of: Sequence[Prior], scene: Scene, config: idr.Config, resolution: int = 24
) -> dict[str, float | bool]:
    """A prior against the mean of the distances of the priors `of`, and the first loss of a fit to `scene` from it."""
    points = trace.lattice(resolution)
    values = average.mean_field([prior])(points)
    return {
        "inside_share": float((values < 0).float().mean()),
        "surface": not refusal(prior),
        **average.agreement(values, average.mean_field(of)(points)),
        "first_loss": first_loss(prior, scene, config),
    }


def refusal(prior: Prior) -> str:
    """The sentence with which a fit rejects the prior; empty if it would start."""
    try:
        priors.check_surface(prior)
    except ValueError as error:
        return str(error)
    return ""


def first_loss(prior: Prior, scene: Scene, config: idr.Config, rays: int = 1024) -> float:
    """The loss of the first step of a fit to the scene from the prior, also without a surface (`idr.fit` requires one)."""
    generator = torch.Generator().manual_seed(0)
    geometry, look = priors.network(prior, generator=generator), ColourNetwork(config.colour_shape, generator)
    if weights := priors.part(prior, "colour"):
        look.load_state_dict(weights)
    config = replace(config, rays=rays)
    batch = idr.Pixels(scene, config, torch.device("cpu")).draw(0, generator)
    field = sdf.distance(geometry)
    grid = trace.CachedField(field, config.grid)
    traced = trace.cached(grid, field, batch.origins, batch.directions, polish=batch.mask)
    terms = idr.losses(geometry, look, traced, batch, idr.in_cube(config, generator), config.alpha)
    rgb, mask, eikonal = (terms[name].item() for name in ("rgb", "mask", "eikonal"))
    return rgb + config.mask_weight * mask + config.eikonal_weight * eikonal


def figure(rows: pd.DataFrame, fields: Mapping[str, sdf.SDF] | None = None) -> plots.Figure:
    """Inside share, overlap and first loss over the steps, by start; below them, if given, sections of named fields.

    A section is the plane x = 0 of the unit frame, the face to the right: the inside in colour, with the circle in which rays
    are traced.
    """
    chart = plots.Figure(figsize=(7.2, 2.6 if fields is None else 4.7), dpi=plots.DPI, facecolor="white", layout="constrained")
    parts = chart.subfigures(1 if fields is None else 2, 1, squeeze=False, height_ratios=[1] if fields is None else [2.6, 2.1])[
        :, 0
    ]
    panels = parts[0].subplots(1, 3)
    said = {
        "inside_share": "share of the cube inside",
        "iou": "overlap with the mean head (IoU)",
        "first_loss": "first loss of a fit",
    }
    for axes, (column, title) in zip(panels, said.items(), strict=True):
        for colour, (start, group) in zip((plots.COLOURS[1], plots.COLOURS[0]), rows.groupby("start", sort=False), strict=False):
            for name, line in group.groupby("network", sort=False):
                what, width = ("mean of parameters", 2.0) if name == MEAN else ("one head", 0.6)
                axes.plot(line["step"], line[column], color=colour, linewidth=width, label=f"{what}, {start} start")
                lost = line[~line["surface"].astype(bool)]
                if len(lost):
                    axes.plot(lost["step"], lost[column], "x", color=colour, label=f"no surface, {start} start")
        axes.set_title(title, fontsize=9, color=plots.INK)
        axes.set_xlabel("step", fontsize=8, color=plots.INK)
        axes.tick_params(which="both", labelsize=7, colors=plots.INK)
        axes.grid(True, color="#e4e6e9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(plots.FAINT)
    panels[0].axhline(UNIT_BALL, color=plots.FAINT, linewidth=0.8, linestyle="--")
    panels[0].text(
        0.98, UNIT_BALL - 0.07, "all that rays reach", transform=panels[0].get_yaxis_transform(), ha="right", fontsize=7
    )
    panels[0].set_ylim(0, 1)
    panels[1].set_ylim(0, 1.02)
    panels[2].set_ylim(bottom=0)
    found: dict[str, object] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    parts[0].legend(found.values(), found.keys(), loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    if fields is not None:
        _sections(parts[1], fields)
    return chart


def _sections(part: plots.Figure, fields: Mapping[str, sdf.SDF], resolution: int = 120) -> None:
    axis = torch.linspace(-1.2, 1.2, resolution)
    y, z = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([torch.zeros_like(y), y, z], dim=-1).reshape(-1, 3)
    angles = torch.linspace(0, 2 * math.pi, 181)
    for axes, (name, field) in zip(part.subplots(1, len(fields), squeeze=False)[0], fields.items(), strict=True):
        values = field(points).view(resolution, resolution)
        axes.contourf(z, y, values, levels=[-10, 0], colors=[plots.COLOURS[0]], alpha=0.25)
        axes.contour(z, y, values, levels=[0], colors=[plots.COLOURS[0]], linewidths=1.5)
        axes.plot(angles.cos(), angles.sin(), color=plots.FAINT, linewidth=0.8, linestyle="--")
        axes.set(aspect="equal", xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
        axes.set_axis_off()
        axes.set_title(name, fontsize=8, color=plots.INK)
