"""NPM and NPHM: both stages, the way back to the neutral head, and fits to points, on ellipsoids that move."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from heads.methods import priors
from heads.methods.nphm import expression, fitting, heads, identity
from heads.surface import ensemble, sdf, training

MODELS = ("nphm", "npm")
EXPRESSIONS = 3


class Ellipsoids:
    """People who are ellipsoids; in an expression all that is in front of them moves sideways, upwards or forwards."""

    def __init__(self, count: int, anchors: int = 39) -> None:
        generator = torch.Generator().manual_seed(0)
        self.radii = 0.35 + 0.1 * torch.rand((count, 3), generator=generator)
        directions = torch.nn.functional.normalize(torch.randn((anchors, 3), generator=generator), dim=1)
        self.anchors = directions * self.radii[:, None]
        self.expressions = EXPRESSIONS

    def __len__(self) -> int:
        return len(self.radii)

    def surface(self, person: int, count: int, *, face: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        unit = torch.nn.functional.normalize(torch.randn((count, 3), generator=generator), dim=1)
        unit[:, 2] = unit[:, 2].abs() * (1 if face else -1)
        return unit * self.radii[person], torch.nn.functional.normalize(unit / self.radii[person], dim=1)

    def still(self, person: int, count: int, generator: torch.Generator) -> Tensor:
        return self.surface(person, count, face=False, generator=generator)[0]

    def move(self, points: Tensor, expression: int) -> Tensor:
        return points + 0.08 * torch.eye(3)[expression] * (points[..., 2:] * 8).clamp(0, 1)

    def correspondences(
        self, which: Sequence[tuple[int, int]], count: int, spread: Sequence[float], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        neutral = torch.stack([self.surface(person, count, face=True, generator=generator)[0] for person, _ in which])
        return neutral, torch.stack([self.move(points, how) for points, (_, how) in zip(neutral, which, strict=True)])

    def motions(self) -> Tensor:
        still = [
            self.surface(person, 20, face=True, generator=torch.Generator().manual_seed(1))[0] for person in range(len(self))
        ]
        return torch.stack([(self.move(one, how) - one).flatten() for one in still for how in range(self.expressions)])


PEOPLE = Ellipsoids(6)


def settings(model: str, **changed: object) -> identity.Config:
    return replace(identity.MODELS[model]["SMOKE"], steps=300, face_points=60, **changed)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=MODELS)
def trained(request: pytest.FixtureRequest) -> tuple[str, priors.Learned]:
    return request.param, identity.train(request.param, PEOPLE, settings(request.param))


@pytest.fixture(scope="module")
def whole(trained: tuple[str, priors.Learned]) -> heads.Model:
    """A model with both stages."""
    name, learned = trained
    config = replace(expression.MODELS[name]["SMOKE"], steps=400)
    tensors, _ = expression.train(name, PEOPLE, learned.prior, config)
    shape = vars(expression.shape_for(learned.prior, config.shape))
    return heads.Model(learned.prior, expression.restored(tensors, shape), tensors["expressions"])


def test_the_published_settings_are_those_that_were_released() -> None:
    nphm, npm = identity.MODELS["nphm"]["PAPER"], identity.MODELS["npm"]["PAPER"]
    assert isinstance(nphm.shape, ensemble.Shape) and (nphm.shape.code, nphm.shape.sets, nphm.shape.anchors) == (1344, 24, 39)
    assert nphm.weights == {
        "surface": 2.0, "normal": 0.3, "eikonal": 0.1, "far": 0.01, "code": 0.01, "anchors": 7.5, "symmetry": 0.01
    }  # fmt: skip
    assert npm.weights == {"surface": 2.0, "normal": 0.3, "eikonal": 0.1, "far": 0.01, "code": 0.002} and npm.shape.code == 512
    assert expression.MODELS["nphm"]["PAPER"].shape.inputs == 3 + 200 + 32
    assert expression.MODELS["npm"]["PAPER"].shape.inputs == 3 + 200 + 512


def test_stage_1_learns_the_surfaces_and_their_normals(trained: tuple[str, priors.Learned]) -> None:
    _, (prior, history) = trained
    network = priors.network(prior, generator=torch.Generator())
    generator = torch.Generator().manual_seed(5)
    for person in range(len(PEOPLE)):
        points, normals = PEOPLE.surface(person, 200, face=True, generator=generator)
        value, gradient, _ = network.with_gradient(points, prior.tensors["codes"][person])
        assert value.abs().mean() < 0.02
        assert torch.nn.functional.cosine_similarity(gradient, normals, dim=1).mean() > 0.95
    assert history[-1]["surface"] < 0.3 * history[0]["surface"]
    assert torch.equal(prior.tensors["geometry.code"], prior.tensors["codes"].mean(dim=0))
    if isinstance(network, ensemble.Ensemble):
        assert (network.places(prior.tensors["codes"]) - PEOPLE.anchors).abs().mean() < 0.07  # 0.17 at first


def test_far_away_is_outside_only_if_it_is_said() -> None:
    class Inside:
        """A field that is negative everywhere."""

        def with_gradient(self, x: Tensor, code: Tensor, owner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return torch.full((len(x),), -0.5), torch.ones_like(x), torch.zeros(len(x), 0)

    near, far = torch.full((1, 4, 3), 0.1), torch.full((1, 2, 3), 0.7)  # the far ones at 1.2
    batch = identity.Batch(near, near, near, near, near, far)
    codes, anchors = torch.zeros(1, 8), torch.zeros(1, 39, 3)
    either, outside = (
        float(identity.losses(Inside(), codes, batch, anchors, *radius)["far"])  # type: ignore[arg-type]
        for radius in ((), (0.95,))
    )
    assert either == pytest.approx(math.exp(-5)) and outside == pytest.approx(6.0)


@pytest.mark.parametrize("model", MODELS)
def test_a_training_that_was_interrupted_ends_as_one_that_was_not(model: str) -> None:
    config, kept = settings(model, heads=4), {}
    config = replace(config, steps=20)

    def keep(step: int, total: int, terms: dict[str, float], state: training.StateOf) -> None:
        if step == 11:
            kept.update(state())

    straight = identity.train("one", PEOPLE, config, on_step=keep)
    resumed = identity.train("one", PEOPLE, config, resume=kept)
    assert all(torch.equal(value, resumed.prior.tensors[name]) for name, value in straight.prior.tensors.items())
    assert straight.history == resumed.history


def test_everybody_is_seen_once_in_every_pass() -> None:
    seen = [one for step in range(10) for one in identity.turn(10, step, 4, 0)]
    passes = [seen[first : first + 10] for first in range(0, 40, 10)]
    assert all(sorted(one) == list(range(10)) for one in passes) and passes[0] != passes[1]
    assert identity.turn(10, 3, 4, 0) == seen[12:16]


def test_codes_of_people_who_are_not_seen_do_not_move() -> None:
    config = replace(settings("nphm", heads=2), steps=1)
    one = identity.train("one", PEOPLE, config).prior.tensors["codes"]
    other = identity.train("one", PEOPLE, replace(config, code_step_size=0.5)).prior.tensors["codes"]
    moved = (one - other).abs().amax(dim=1) > 0
    assert moved.sum() == 2 and sorted(identity.turn(6, 0, 2, 0)) == moved.nonzero()[:, 0].tolist()


def test_stage_2_moves_points_to_where_the_expression_has_them(whole: heads.Model) -> None:
    assert whole.moves is not None and whole.expressions is not None
    codes = whole.identity.tensors["codes"]
    places = expression.places_of(whole.identity, codes)
    told = whole.moves.condition(
        whole.expressions,
        codes.repeat_interleave(EXPRESSIONS, 0),
        None if places is None else places.repeat_interleave(EXPRESSIONS, 0),
    )
    which = [(person, how) for person in range(len(PEOPLE)) for how in range(EXPRESSIONS)]
    neutral, posed = PEOPLE.correspondences(which, 50, (0.0,), torch.Generator().manual_seed(3))
    owner = torch.arange(len(which)).repeat_interleave(50)
    with torch.no_grad():
        moved = neutral.flatten(0, 1) + whole.moves(neutral.flatten(0, 1), told, owner)
    assert (moved - posed.flatten(0, 1)).norm(dim=1).mean() < 0.35 * (posed - neutral).norm(dim=2).mean()


def test_what_no_expression_moves_is_kept_still_if_the_loss_asks_for_it(trained: tuple[str, priors.Learned]) -> None:
    name, learned = trained

    def moved(weight: float) -> float:
        config = replace(expression.MODELS[name]["SMOKE"], steps=200, still_weight=weight)
        tensors, _ = expression.train(name, PEOPLE, learned.prior, config)
        network = expression.restored(tensors, vars(expression.shape_for(learned.prior, config.shape)))
        codes = learned.prior.tensors["codes"][:1]
        told = network.condition(tensors["expressions"][:1], codes, expression.places_of(learned.prior, codes))
        points = PEOPLE.still(0, 300, torch.Generator().manual_seed(1))
        with torch.no_grad():
            return float(network(points, told, torch.zeros(300, dtype=torch.long)).norm(dim=1).mean())

    assert moved(10.0) < 0.6 * moved(0.0)


def test_codes_that_start_from_components_tell_the_expressions_apart() -> None:
    found = expression.components(PEOPLE.motions(), 4).view(len(PEOPLE), EXPRESSIONS, 4)
    assert found.flatten(0, 1).std(dim=0, unbiased=False)[:2] == pytest.approx([expression.DEVIATION] * 2, rel=1e-4)
    within, between = (found[..., :2].std(dim=0).mean(), found[..., :2].mean(dim=0).std(dim=0).mean())
    assert within < 0.5 * between


def test_the_jacobian_of_a_deformation_is_that_of_autograd() -> None:
    shape = expression.Shape(width=40, depth=4, code=5, who=3, identity=7, anchors=2)
    network = expression.Deformation(shape, torch.Generator().manual_seed(0)).double()
    x = torch.rand((8, 3), dtype=torch.float64)
    told, owner = torch.randn((2, 8), dtype=torch.float64), torch.tensor([0, 1] * 4)
    moved, slope = network.with_jacobian(x, told, owner)
    assert torch.allclose(moved, network(x, told, owner))
    for row in range(8):
        expected = torch.autograd.functional.jacobian(
            lambda point, row=row: network(point[None], told, owner[row : row + 1])[0], x[row]
        )
        assert torch.allclose(slope[row], expected, atol=1e-10)


def bent(size: float) -> tuple[expression.Deformation, Tensor, Tensor, Tensor]:
    """A deformation of some size, and points that it moves to."""
    shape = expression.Shape(width=40, depth=3, code=5, who=0, identity=4, anchors=0)
    network = expression.Deformation(shape, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        network.weights[-1].mul_(size)
    x = torch.rand((200, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5
    told = torch.randn((1, 9), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    owner = torch.zeros(200, dtype=torch.long)
    return network, x, told, owner


def test_both_ways_back_find_the_neutral_places_and_the_published_one_their_derivative() -> None:
    network, x, told, owner = bent(80.0)
    told.requires_grad_(True)
    posed = (x + network(x, told, owner)).detach()
    assert 0.02 < (posed - x).norm(dim=1).mean() < 0.3
    exact, found = fitting.neutral_places(network, posed, told, owner, "broyden")
    assert found.all() and (exact - x).abs().max() < 1e-4
    fast, found = fitting.neutral_places(network, posed, told, owner, "fixed point")
    assert found.all()
    assert (fast - x).norm(dim=1).mean() < 0.02 * (posed - x).norm(dim=1).mean()
    weights = torch.randn_like(x)
    (derivative,) = torch.autograd.grad((exact * weights).sum(), told)
    step = 1e-5 * torch.eye(9, dtype=torch.float64)
    for index in range(9):
        ends = [
            fitting.broyden(network, posed, (told + sign * step[index : index + 1]).detach(), owner, near=1e-12)[0]
            for sign in (1, -1)
        ]
        assert derivative[0, index] == pytest.approx(
            float(((ends[0] - ends[1]) * weights).sum().detach() / 2e-5), rel=0.02, abs=1e-3
        )


def test_the_fixed_point_says_where_it_has_found_nothing() -> None:
    network, x, told, owner = bent(2000.0)  # it moves neighbours apart by more than they are
    posed = (x + network(x, told, owner)).detach()
    back, found = fitting.neutral_places(network, posed, told, owner, "fixed point")
    left = (back + network(back, told, owner) - posed).norm(dim=1)
    assert 0.05 < found.float().mean() < 0.95 and left[found].median() < 0.2 * left[~found].median()


def test_what_an_expression_is_not_to_move_is_drawn_anywhere_or_on_the_rest_of_the_head() -> None:
    config, generator = expression.SMOKE, torch.Generator().manual_seed(0)
    rest = expression.still_points(PEOPLE, [1, 2], config, generator)
    assert rest.shape == (2, config.still_points, 3) and (rest[..., 2] <= 0).all()  # behind, and on the surface
    assert torch.allclose((rest[0] / PEOPLE.radii[1]).norm(dim=1), torch.ones(config.still_points), atol=1e-5)
    anywhere = expression.still_points(PEOPLE, [1, 2], replace(config, still="anywhere", still_points=500), generator)
    assert anywhere.abs().max() > 1.2 and anywhere.mean().abs() < 0.1
    with pytest.raises(ValueError, match="still must be one of anywhere, head, not 'nowhere'"):
        expression.Config(still="nowhere")


@pytest.mark.parametrize("preset", ["LAPTOP", "PAPER"])
def test_a_fit_finds_one_person_and_an_expression_of_each_observation(whole: heads.Model, preset: str) -> None:
    person, generator = 3, torch.Generator().manual_seed(8)
    neutral = PEOPLE.surface(person, 500, face=True, generator=generator)[0]
    posed = [PEOPLE.move(PEOPLE.surface(person, 500, face=True, generator=generator)[0], how) for how in range(EXPRESSIONS)]
    config = replace(fitting.PRESETS[preset], steps=150, points=100, step_size=0.05)
    found = fitting.fit("it", whole, [neutral, *posed], config, posed=[False, True, True, True])
    assert found.identity.shape == (whole.identity.shape.code,) and len(found.expressions) == 4
    network = priors.network(whole.identity, generator=torch.Generator())
    with torch.no_grad():
        away, mean = (
            network.distance(neutral, code).abs().mean() for code in (found.identity, whole.identity.tensors["codes"].mean(dim=0))
        )
    assert away < 0.02 or away < 0.6 * mean
    assert found.history[-1]["surface"] < 0.6 * found.history[0]["surface"]
    assert whole.moves is not None and all(weight.requires_grad for weight in whole.moves.parameters())  # a fit changes nothing
    again = fitting.fit("it", whole, [neutral, *posed], config, posed=[False, True, True, True])
    assert torch.equal(found.identity, again.identity)


def test_the_published_weights_fall_as_published() -> None:
    assert [fitting._divided("symmetry", share) for share in (0.1, 0.3, 0.6)] == [1, 10, 99990]
    assert [fitting._at(fitting._CLAMPS, share) for share in (0, 0.24, 0.25, 0.5, 1)] == [0.1, 0.1, 0.05, 0.0075, 0.0075]


@pytest.mark.parametrize(
    ("cloud", "said"),
    [
        (torch.zeros(0, 3), r"it: observation 0: expected points \(N, 3\), at least one, not an array of shape \(0, 3\)"),
        (torch.zeros(5, 2), r"not an array of shape \(5, 2\)"),
        (torch.tensor([[0.1, math.nan, 0.2], [0.0, 0.1, 0.2]]), "1 of 2 points are not finite"),
        (torch.rand(50, 3) * 0.0004, r"extend over 0\.1.* mm; are they in millimetres"),
        (torch.rand(50, 3) * 0.5 + 3, "more than 250 mm from the origin"),
    ],
)
def test_points_that_no_head_can_be_fitted_to_are_refused(whole: heads.Model, cloud: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fitting.fit("it", whole, [cloud], fitting.SMOKE)


def test_points_that_are_nowhere_near_the_head_are_refused_after_the_fit(whole: heads.Model) -> None:
    shell = 0.9 * torch.nn.functional.normalize(torch.randn((400, 3), generator=torch.Generator().manual_seed(0)), dim=1)
    with pytest.raises(
        ValueError, match=r"it: after step 20, \d% of the points are within 0\.0075 units of the fitted head; expected at"
    ):
        fitting.fit("it", heads.Model(whole.identity), [shell], fitting.SMOKE)


def test_a_checkpoint_of_another_kind_is_refused(trained: tuple[str, priors.Learned]) -> None:
    _, (prior, _) = trained
    about = {"name": "other", "epoch": 0, "shape": vars(prior.shape)}
    with pytest.raises(ValueError, match="prior other: it has no expressions; its heads are in the unit sphere around a head"):
        heads.restored(prior.tensors, about)


def test_other_bad_input_is_refused_in_a_sentence(whole: heads.Model, trained: tuple[str, priors.Learned]) -> None:
    with pytest.raises(ValueError, match="it: 1 observations, but posed has 2 values"):
        fitting.fit("it", whole, [torch.rand(50, 3) - 0.5], fitting.SMOKE, posed=[True, False])
    with pytest.raises(ValueError, match="it: there are no points"):
        fitting.fit("it", whole, [], fitting.SMOKE)
    with pytest.raises(ValueError, match="an observation with an expression needs a stage 2"):
        fitting.fit("it", heads.Model(whole.identity), [torch.rand(50, 3) - 0.5], fitting.SMOKE, posed=[True])
    with pytest.raises(ValueError, match="prior x: there is nobody to learn from"):
        identity.train("x", Ellipsoids(0), settings("npm"))
    with pytest.raises(ValueError, match="prior x: expected 39 anchors, the data have 38"):
        identity.train("x", Ellipsoids(2, anchors=38), settings("nphm"))
    with pytest.raises(ValueError, match="expressions x: 2 people, but the prior has learned 6"):
        expression.train("x", Ellipsoids(2), whole.identity, expression.SMOKE)
    assert whole.moves is not None
    tensors = {f"deformation.{key}": value for key, value in whole.moves.state_dict().items()}
    wrong = vars(whole.moves.shape) | {"width": 48}
    with pytest.raises(ValueError, match=r"tensor deformation\.weights\.0: expected \(\d+, \d+\), found \(\d+, "):
        expression.restored(tensors, wrong)
    with pytest.raises(ValueError, match="root must be one of fixed point, broyden, not 'newton'"):
        fitting.Config(root="newton")


def test_a_model_is_read_from_a_checkpoint_and_takes_the_place_of_any_other_prior(trained: tuple[str, priors.Learned]) -> None:
    _, (prior, _) = trained
    about = {"name": prior.name, "epoch": 0, "shape": vars(prior.shape)}
    with pytest.raises(ValueError, match="its heads are in units of 250 mm"):
        priors.check_surface(priors.restored(prior.tensors, about | {"frame": prior.frame}))
    again = priors.restored(prior.tensors, about)
    assert again.shape == prior.shape
    priors.check_surface(again)
    network = priors.network(again, generator=torch.Generator())
    points = sdf.on_surface(network, 500, torch.Generator().manual_seed(0))
    assert len(points) > 100 and network.distance(points).abs().max() < 0.006
