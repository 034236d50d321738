"""How fits are set, in words: the settings of the published program (`idr.PAPER`) beside those of a study's fits.

A *fit* here is a config of `idr` as results/STUDY.json has it. What a fit does not say, because it was made before there was
such a setting, is as published.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

Fit = Mapping[str, Any]
SCHEDULES = {  # of the step sizes, in words
    "readme": "constant",
    "shipped": "halved at epochs 1000 and 1500, the prior's included",
    "cosine": "along a cosine to 5% of the first",
}
TRACERS = {
    "published": "on the network",
    "cached": "on a grid of remembered distances, then corrected on the network",
}
UNTOLD = {  # fields of a config that no setting tells, and why
    "grid": "how the tracer remembers, and not what it finds",
    "refresh_every": "the same",
    "device": "where, not how",
    "cell_mm": "of the mesh that is made of the surface, not of the fit (`sentences.floor`)",
    "code_epochs": "of H3D-Net alone (`sentences.phases`)",
    "code_step_size": "the same",
    "code_weight": "the same",
    "start_code": "the same",
}


@dataclass(frozen=True)
class Setting:
    """A setting: the fields of a config that it tells, what these say in words, and what a change of it is for.

    A `laptop` setting is a size that was cut to a laptop's and is no improvement.
    """

    name: str
    fields: tuple[str, ...]
    words: Callable[[Fit], str]
    purpose: str
    laptop: bool = False


def _network(depth: int, width: int) -> str:
    return f"{depth} layers of {width} units"


def _drawn(fit: Fit) -> str:
    if not fit["mixed_views"]:
        return "anywhere in one photograph"
    shares = {"on the head": fit["rays_in_mask"], f"at most {fit['near_px']:g} pixels beside it": fit["rays_near_mask"]}
    said = [f"{share:.0%} {where}" for where, share in shares.items() if share]
    rest = "the rest anywhere" if said else "anywhere"
    return f"in all photographs: {', '.join([*said, rest] if sum(shares.values()) < 1 else said)}"


def _blur(fit: Fit) -> str:
    pixels = fit["blur_px"]
    return f"blurred inside their masks by {pixels:g} {'pixel' if pixels == 1 else 'pixels'}" if pixels else "as they are"


def _compared(fit: Fit) -> str:
    weight = fit["consistency_weight"]
    return f"each pixel with two other photographs that show its spot, weight {weight:g}" if weight else "none"


def _optimizer(fit: Fit) -> str:
    muon = fit["muon_step_size"] or fit["muon_colour_step_size"]
    return "Muon {cite:p}`jordan2024,liu2025` for the matrices, Adam for the rest" if muon else "Adam"


def _steps(fit: Fit) -> str:
    found = []
    for name, adam, muon in (
        ("distance", "step_size", "muon_step_size"),
        ("colours", "colour_step_size", "muon_colour_step_size"),
    ):
        found.append(f"{name} {fit[adam]:g}" + (f" (Muon: {fit[muon]:g})" if fit[muon] else ""))
    return ", ".join(found)


def _weights(fit: Fit) -> str:
    doubled = ", ".join(f"{epoch:g}" for epoch in fit["alpha_epochs"])
    weights = f"outlines {fit['mask_weight']:g}, slope {fit['eikonal_weight']:g}"
    return f"{weights}; α {fit['alpha']:g}, doubled at epochs {doubled or 'none'}"


SETTINGS = (
    Setting(
        "distance network",
        ("shape",),
        lambda fit: f"{_network(fit['shape']['depth'], fit['shape']['width'])}, {fit['shape']['feature']} features",
        "a laptop's size",
        laptop=True,
    ),
    Setting(
        "colour network",
        ("colour_depth", "colour_width"),
        lambda fit: _network(fit["colour_depth"], fit["colour_width"]),
        "a laptop's size",
        laptop=True,
    ),
    Setting("rays a step", ("rays",), lambda fit: f"{fit['rays']}", "a laptop's size", laptop=True),
    Setting(
        "steps",
        ("epochs", "steps_per_view"),
        lambda fit: f"{fit['epochs'] * fit['steps_per_view']:g} a photograph",
        "a head takes less time",
    ),
    Setting(
        "where rays are drawn",
        ("mixed_views", "rays_in_mask", "rays_near_mask", "near_px"),
        _drawn,
        "every step sees all photographs, and few rays miss the head",
    ),
    Setting("photographs", ("blur_px",), _blur, "a pixel that is drawn once stands for its neighbours too"),
    Setting(
        "comparison between photographs",
        ("consistency_weight",),
        _compared,
        "a spot of the surface has to look alike in the photographs that see it {cite:p}`darmon2022,fu2022`",
    ),
    Setting(
        "gains of photographs",
        ("gain_step_size",),
        lambda fit: f"learned, steps of {fit['gain_step_size']:g}" if fit["gain_step_size"] else "none",
        "neither exposure nor white balance has to be explained by paint or shape: a gain of each photograph's red, green and "
        "blue is learned with the head",
    ),
    Setting(
        "the prior where nothing looks",
        ("hold_weight",),
        lambda fit: f"its surface is held there, weight {fit['hold_weight']:g}" if fit.get("hold_weight") else "nothing holds it",
        "what no photograph shows is left to the prior, and not to how the prior happened to be trained",
    ),
    Setting("optimizer", ("muon_step_size", "muon_colour_step_size"), _optimizer, "fewer steps are needed"),
    Setting(
        "step sizes",
        ("step_size", "colour_step_size"),
        _steps,
        "the colours are learned before the shape is bent to explain them",
    ),
    Setting(
        "step sizes over time", ("schedule",), lambda fit: SCHEDULES[fit["schedule"]], "a short fit, too, ends with small steps"
    ),
    Setting(
        "gradients",
        ("clip",),
        lambda fit: f"no longer than {fit['clip']:g}" if fit["clip"] else "as they are",
        "no single step leads far away",
    ),
    Setting("tracing of rays", ("tracer",), lambda fit: TRACERS[fit["tracer"]], "a step takes less time"),
    Setting(
        "normals and features",
        ("one_pass",),
        lambda fit: "at the fixed end of a ray" if fit["one_pass"] else "at that point as it moves with the surface",
        "one pass through the network does for both",
    ),
    Setting(
        "points where the slope should be one",
        ("eikonal_points",),
        lambda fit: f"{fit['eikonal_points']:g} for each ray",
        "a step takes less time",
    ),
    Setting(
        "places in the colour network",
        ("point_octaves",),
        lambda fit: f"as waves of {fit['point_octaves']} lengths" if fit["point_octaves"] else "as three coordinates",
        "colours can change over short distances",
    ),
    Setting(
        "direction of view in the colour network",
        ("colour_sees", "view_octaves"),
        lambda fit: (
            "none (a mode of the published program)"
            if fit["colour_sees"] == "no_view_dir"
            else f"as waves of {fit['view_octaves']} lengths"
        ),
        "no photograph can have colours of its own, which would explain it whatever the shape",
    ),
    Setting(
        "weights of the losses",
        ("mask_weight", "eikonal_weight", "alpha", "alpha_epochs"),
        _weights,
        "photographs weigh more or less against a smooth surface",
    ),
)


def published() -> dict[str, Any]:
    """The settings of the published program; our own program has its settings, but traces rays faster unless told otherwise."""
    from heads.methods import idr  # with torch, which the other posts do without

    return asdict(idr.PAPER) | {"tracer": "published"}


def told(fit: Fit) -> dict[str, str]:
    """What a fit says of each setting, by its name."""
    whole = published() | dict(fit)
    return {setting.name: setting.words(whole) for setting in SETTINGS}


def changes(fit: Fit) -> list[tuple[Setting, str, str]]:
    """The settings of a fit that are not as published: each with what it says here and in the published program."""
    here, theirs = told(fit), told({})
    return [(one, here[one.name], theirs[one.name]) for one in SETTINGS if here[one.name] != theirs[one.name]]
