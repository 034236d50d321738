"""The identity field: people to learn from, places on a template, the field, its training, tracking, and how faces are scored."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from heads import camera, pictures, rays
from heads.data import drawn, identities, shards
from heads.data.identities import Identities
from heads.gaussians.rasterizer import Gaussians
from heads.methods.identity_field import field as fields
from heads.methods.identity_field import learn, track
from heads.methods.identity_field.field import Field, Modulated, Places, Shape
from heads.methods.identity_field.learn import Model
from heads.morphable import Morphable
from heads.scene import Scene
from heads.surface import training

SIZE = 40
MADE: dict[str, Any] = {"seed": 3, "cameras": 3, "unseen": 1, "size": SIZE}
CONFIG = replace(learn.SMOKE, unseen=1, device="cpu")
TRACKING = track.Config(steps=3, colour_steps=2, free_steps=5, device="cpu")


@pytest.fixture(scope="module")
def head() -> Morphable:
    return drawn.morphable(count=12, components=8, seed=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("identities")
    identities.write(made, 2, **MADE)
    return made


@pytest.fixture(scope="module")
def people(folder: Path) -> Identities:
    return identities.read(folder)


@pytest.fixture(scope="module")
def model(people: Identities, head: Morphable) -> Model:
    return learn.train("one", people, head, replace(CONFIG, steps=60))[0]


@pytest.fixture(scope="module")
def where(head: Morphable) -> Places:
    return fields.places(head, 60, 5)


def equal(one: Model, other: Model) -> bool:
    these, those = learn.tensors(one), learn.tensors(other)
    return these.keys() == those.keys() and all(torch.equal(these[name], those[name]) for name in these)


def loss_of(model: Model, people: Identities) -> float:
    """That of all the pictures of everybody, with their own codes."""
    shots = [learn.shots_of(people, person, [0, 1, 2]) for person in range(2)]
    with torch.no_grad():
        made = model.field(model.codes, model.people_mm)
        return float(np.mean([float(learn.loss(one, own)) for one, own in zip(made, shots, strict=True)]))


# ---- people to learn from


def test_people_are_read_as_they_were_written_and_kept(folder: Path, people: Identities) -> None:
    assert len(people) == 2 and people.cameras == 4 and people.size == SIZE
    assert people.of(0, "pictures").shape == (4, SIZE, SIZE, 3) and people.of(0, "pictures").dtype == torch.uint8
    assert set(people.of(1, "masks").unique().tolist()) <= {0, learn.FACE, learn.HIDDEN}
    before, numbers = [path.stat().st_mtime_ns for path in shards.paths(folder)], list[int]()
    identities.write(folder, 2, **MADE, on_person=numbers.append)
    assert numbers == [2] and before == [path.stat().st_mtime_ns for path in shards.paths(folder)]


def test_a_face_fills_its_picture_and_the_template_lies_where_it_is(people: Identities) -> None:
    for person in range(2):
        template, faces = people.of(person, "template_mm").double().numpy(), people.parts[0]["faces"].numpy()
        for number in range(people.cameras):
            face = people.of(person, "masks")[number].numpy() == learn.FACE
            rows, columns = (np.flatnonzero(face.any(axis=axis)) for axis in (1, 0))
            assert max(np.ptp(rows), np.ptp(columns)) > 0.85 * SIZE
            px_from_cam, pose = camera.decompose(people.of(person, "px_from_mm")[number].double().numpy())
            seen = rays.masks(template, faces, drawn.region_vertices("face"), px_from_cam[None], pose[None], (SIZE, SIZE))[0]
            assert (seen & face).sum() > 0.85 * (seen | face).sum()


def test_a_damaged_shard_and_people_with_other_pictures_are_refused(folder: Path, tmp_path: Path) -> None:
    path = shards.paths(folder)[0]
    (tmp_path / path.name).write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"{path.name}: not a shard of people, or cut short"):
        identities.read(tmp_path)
    identities.write(tmp_path, 1, seed=3, cameras=1, unseen=0, size=32)
    assert identities.read(tmp_path).cameras == 1  # what was damaged is made anew
    with pytest.raises(ValueError, match="their people have other pictures or other templates than each other"):
        identities.read(folder, tmp_path)
    with pytest.raises(FileNotFoundError, match="no people-"):
        identities.read(tmp_path / "nobody")


@pytest.mark.parametrize("wrong", [{"count": 0}, {"cameras": 0}, {"size": 31}, {"region": "nose"}, {"unseen": -1}])
def test_people_that_cannot_be_made_are_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    (value,) = wrong.values()
    with pytest.raises(ValueError, match=f"identities need at least one person and camera, .* not .*{value!r}"):
        identities.write(tmp_path, **({"count": 1, **MADE} | wrong))  # type: ignore[arg-type]


# ---- places on the template


def test_gaussians_lie_on_triangles_of_the_face(head: Morphable, where: Places) -> None:
    region = {tuple(row) for row in head.faces[np.isin(head.faces, head.face).all(axis=1)].tolist()}
    assert where.rows.shape == where.weights.shape == (300, 3) and where.anchor_uv.shape == (60, 2)
    assert all(tuple(row) in region for row in where.rows.tolist())
    assert float(where.weights.min()) >= 0 and torch.allclose(where.weights.sum(dim=1), torch.ones(300), atol=1e-5)
    assert float(where.anchor_uv.min()) >= 0 and float(where.anchor_uv.max()) <= 1


def test_the_gaussians_of_an_anchor_are_those_around_it(head: Morphable, where: Places) -> None:
    means = where.means(torch.from_numpy(head.mean_mm)).reshape(60, 5, 3)
    middles = means.mean(dim=1)
    across = float((means - middles[:, None]).norm(dim=2).max())
    apart = torch.cdist(middles, middles).fill_diagonal_(torch.inf).min(dim=1).values
    assert across < 2 * float(apart.median()) and float(apart.min()) > 0.4 * float(apart.median())


def test_gaussians_are_evenly_spread_and_know_how_far_apart_they_are(head: Morphable, where: Places) -> None:
    means = where.means(torch.from_numpy(head.mean_mm)).numpy()
    away = cKDTree(means).query(means, k=4)[0][:, 1:]
    assert torch.allclose(where.spacing_mm, torch.from_numpy(away.mean(axis=1)).float(), rtol=1e-3)
    assert away[:, 0].std() < 0.3 * away[:, 0].mean()  # of points anywhere it is half
    surface = trimesh.Trimesh(head.mean_mm, head.faces[np.isin(head.faces, head.face).all(axis=1)], process=False)
    covered = cKDTree(means).query(trimesh.sample.sample_surface(surface, 2000, seed=0)[0])[0]
    assert np.percentile(covered, 99) < 1.5 * np.median(away[:, 0])


def test_gaussians_follow_the_template(head: Morphable, where: Places) -> None:
    mean = torch.from_numpy(head.mean_mm)
    assert torch.allclose(where.means(2 * mean + 5), 2 * where.means(mean) + 5, atol=1e-3)
    corner = torch.zeros(len(mean), 3)
    corner[where.rows[7, 2]] = torch.tensor([0.0, 0, 1])
    assert float(where.means(corner)[7, 2]) == pytest.approx(float(where.weights[7, 2]))


def test_anchors_are_the_same_each_time(head: Morphable, where: Places) -> None:
    again = fields.places(head, 60, 5)
    assert all(torch.equal(value, vars(again)[name]) for name, value in vars(where).items())


def test_a_template_without_a_face_is_refused(head: Morphable) -> None:
    with pytest.raises(ValueError, match="the template's face region has no triangle"):
        fields.places(replace(head, face=head.face[:2]), 60, 5)


# ---- the field


@pytest.mark.parametrize("demodulated", [True, False])
def test_a_modulated_convolution_is_that_with_weights_of_each_sample(demodulated: bool) -> None:
    torch.manual_seed(0)
    layer = Modulated(5, 7, 4, demodulated=demodulated)
    torch.nn.init.normal_(layer.bias)
    maps, latents = torch.randn(3, 5, 6, 8), torch.randn(3, 4)
    found = []
    for one, latent in zip(maps, latents, strict=True):
        style = layer.style.weight @ latent / 2 + layer.style.bias  # of four inputs
        weight = layer.weight / 45**0.5 * style[None, :, None, None]
        if demodulated:
            weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        found.append(functional.conv2d(one[None], weight, layer.bias, padding=1)[0])
    assert torch.allclose(layer(maps, latents), torch.stack(found), atol=1e-5)


def test_a_new_field_has_the_same_sizes_turns_and_opacities_for_everybody(head: Morphable, where: Places) -> None:
    torch.manual_seed(0)
    made = Field(replace(learn.SMOKE.shape, anchors=60, each=5, opacity=0.3), 3, where)
    templates = torch.from_numpy(head.mean_mm)[None].repeat(2, 1, 1)
    templates[1] += 3
    one, two = made(torch.stack(list(made.codes[:2])), templates)
    assert [tuple(value.shape) for value in one] == [(300, 3), (300, 3), (300, 4), (300,), (300, 3)]
    assert torch.equal(one.log_scales, two.log_scales) and torch.allclose(one.log_scales.exp()[:, 1], where.spacing_mm)
    assert torch.allclose(one.rotations, two.rotations, atol=1e-5) and torch.allclose(one.opacities, torch.tensor(0.3))
    assert torch.allclose(one.means + 3, two.means, atol=1e-4) and bool(((one.colours - two.colours).abs() > 1e-3).any())
    assert bool(((one.colours > 0) & (one.colours < 1)).all())


def test_scales_stay_within_reach_of_what_is_the_same_for_everybody(head: Morphable, where: Places) -> None:
    made = Field(replace(learn.SMOKE.shape, anchors=60, each=5, reach=0.5), 1, where)
    for parameter in made.scale[2].parameters():
        torch.nn.init.normal_(parameter, std=50.0)
    (found,) = made(made.codes[0][None], torch.from_numpy(head.mean_mm)[None])
    assert float((found.log_scales - made.mean_scale).detach().abs().max()) == pytest.approx(0.5, abs=1e-5)


def test_gaussians_turn_with_the_head(head: Morphable, where: Places) -> None:
    made = Field(replace(learn.SMOKE.shape, anchors=60, each=5), 1, where)
    torch.nn.init.normal_(made.mean_rotation)
    turn = Rotation.from_rotvec([0.3, -2.5, 0.4])
    templates = np.stack([head.mean_mm, turn.apply(head.mean_mm) + 6])
    with torch.no_grad():
        straight, turned = made(made.codes[0][None].repeat(2, 1), torch.from_numpy(templates).float())
    mine = Rotation.from_quat(np.roll(straight.rotations.numpy(), -1, axis=1))
    other = Rotation.from_quat(np.roll(turned.rotations.numpy(), -1, axis=1))
    assert ((turn * mine).inv() * other).magnitude().max() < 1e-3


def test_each_parameter_has_one_step_size(where: Places) -> None:
    made = Field(replace(learn.SMOKE.shape, anchors=60, each=5), 2, where)
    found = [id(value) for begins in learn.PARTS.values() for value in fields.named(made, begins)]
    assert sorted(found) == sorted(id(value) for value in made.parameters())


def test_a_field_goes_to_another_device_with_all_that_it_needs(head: Morphable, where: Places) -> None:
    made = Field(replace(learn.SMOKE.shape, anchors=60, each=5), 1, where).to("meta")
    (found,) = made(made.codes[0][None], torch.from_numpy(head.mean_mm)[None].to("meta"))
    assert {value.device.type for value in found} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_learns_and_tracks(people: Identities, head: Morphable) -> None:
    there, history, _ = learn.train("one", people, head, replace(CONFIG, steps=150, device="cuda"))
    assert history[-1]["picture"] < 0.8 * history[0]["picture"]
    shots = learn.shots_of(people, 0, [0, 1])
    tracked = track.track(there, shots, people.of(0, "template_mm").numpy(), replace(TRACKING, device="cuda"))
    assert tracked.history[-1]["picture"] <= tracked.history[0]["picture"]


@pytest.mark.parametrize("wrong", [{"code": 0}, {"channels": (8, 0)}, {"each": 0}])
def test_a_field_of_no_size_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a field needs sizes of at least 1"):
        Shape(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"opacity must lie between 0 and 1, not 1\.0"):
        Shape(opacity=1.0)


# ---- training


def test_training_lowers_the_loss_and_is_the_same_twice(people: Identities, head: Morphable) -> None:
    config = replace(CONFIG, steps=150)
    one, history, curve = learn.train("one", people, head, config)
    again, again_history, _ = learn.train("one", people, head, config)
    assert equal(one, again) and history == again_history and curve == [] and len(history) == 16
    other, other_history, _ = learn.train("one", people, head, replace(config, steps=1), seed=1)
    assert not torch.equal(one.codes, other.codes) and history[0] != other_history[0]
    assert loss_of(one, people) < 0.7 * loss_of(other, people)


def looks(values: list[float]) -> tuple[list[dict[str, Tensor]], Callable[[Model], float]]:
    """Something that looks, and says these one after the other, and copies of what it looked at."""
    left: Iterator[float] = iter(values)
    seen: list[dict[str, Tensor]] = []

    def look(model: Model) -> float:
        seen.append({name: value.clone() for name, value in model.field.state_dict().items()})
        return next(left)

    return seen, look


def test_what_tracked_validation_people_best_is_kept(people: Identities, head: Morphable) -> None:
    seen, look = looks([5.0, 7.0, 6.0])
    made, _, curve = learn.train("one", people, head, replace(CONFIG, steps=9, looks=3), look=look)
    assert curve == [(3, 5.0), (6, 7.0), (9, 6.0)]
    last = made.field.state_dict()
    assert all(torch.equal(last[name], value) for name, value in seen[1].items())
    assert not torch.equal(last["constant"], seen[2]["constant"])


def test_a_later_field_that_is_about_as_good_as_the_best_is_kept(people: Identities, head: Morphable) -> None:
    seen, look = looks([5.0, 7.0, 6.9])
    made, _, _ = learn.train("one", people, head, replace(CONFIG, steps=9, looks=3, as_good_db=0.2), look=look)
    assert all(torch.equal(made.field.state_dict()[name], value) for name, value in seen[2].items())


@pytest.mark.parametrize("stopped", [3, 7])
def test_training_goes_on_where_it_was_interrupted(stopped: int, people: Identities, head: Morphable) -> None:
    kept: dict[int, dict[str, Tensor]] = {}
    config = replace(CONFIG, steps=9, looks=2)  # after steps 4 and 9

    def keep(step: int, total: int, terms: dict[str, float], state: training.StateOf) -> None:
        kept[step] = state()

    full = learn.train("one", people, head, config, look=looks([7.0, 5.0])[1], on_step=keep)
    said = [7.0, 5.0] if stopped < 4 else [5.0]
    again = learn.train("one", people, head, config, look=looks(said)[1], resume=kept[stopped])
    assert equal(full[0], again[0]) and full[1:] == again[1:] and len(full[2]) == 2


def test_codes_of_people_who_are_not_in_a_step_stay_where_they_are(people: Identities, head: Morphable) -> None:
    codes: list[Tensor] = []

    def keep(step: int, total: int, terms: dict[str, float], state: training.StateOf) -> None:
        found = state()
        codes.append(torch.stack([found[f"codes.{person}"] for person in range(2)]))

    learn.train("one", people, head, replace(CONFIG, steps=8, people=1), on_step=keep)
    moved = [(after != before).any(dim=1).tolist() for before, after in pairwise(codes)]
    assert all(sum(which) == 1 for which in moved) and [True, False] in moved and [False, True] in moved


def test_unseen_pictures_are_not_learned_from(people: Identities, head: Morphable) -> None:
    part = dict(people.parts[0])
    part["pictures"] = part["pictures"].clone()
    part["pictures"][:, -1] = 255 - part["pictures"][:, -1]
    others = replace(people, parts=(part,))
    config = replace(CONFIG, steps=6)
    assert equal(learn.train("one", people, head, config)[0], learn.train("one", others, head, config)[0])
    config = replace(config, unseen=0, pictures=4)
    assert not equal(learn.train("one", people, head, config)[0], learn.train("one", others, head, config)[0])


def test_what_hair_hides_counts_for_nothing(people: Identities) -> None:
    part = {name: value.clone() for name, value in people.parts[0].items()}
    part["masks"][:, :, : SIZE // 2] = torch.where(part["masks"][:, :, : SIZE // 2] > 0, learn.HIDDEN, 0).to(torch.uint8)
    shots = learn.shots_of(replace(people, parts=(part,)), 0, [0, 1])
    template = people.of(0, "template_mm")
    assert float((1 - shots.known).sum()) > 100 and float((shots.pictures * (1 - shots.known)).sum()) == 0
    generator, count = torch.Generator().manual_seed(0), len(drawn.region_vertices("face")[::40])
    colours = torch.rand(count, 3, generator=generator).requires_grad_()
    at = template[drawn.region_vertices("face")[::40]]
    dots = Gaussians(at, torch.ones(count, 3), torch.ones(count, 4), torch.full((count,), 0.9), colours)
    learn.loss(dots, shots).backward()
    assert colours.grad is not None
    same = colours.grad == 0  # of what is drawn only where nothing is known
    with torch.no_grad():
        before, after = (learn.seen(dots._replace(colours=x), shots.views) for x in (colours, torch.where(same, 0.0, colours)))
    assert 0 < int(same.sum()) < same.numel()
    assert float(((before - after).abs() * shots.known).max()) == 0 < float((before - after).abs().max())


@pytest.mark.parametrize("name", ["steps", "people", "pictures", "looks", "codes_step_size"])
def test_a_training_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive, not 0"):
        learn.Config(**{name: 0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="schedule must be constant or cosine, not 'linear'"):
        learn.Config(schedule="linear")


def test_people_of_another_template_are_refused(people: Identities, head: Morphable) -> None:
    part = dict(people.parts[0])
    part["template_mm"] = part["template_mm"][:, :-1]
    with pytest.raises(ValueError, match=r"the first of the people of one: a mesh of \d+ vertices; the template has \d+"):
        learn.train("one", replace(people, parts=(part,)), head, CONFIG)


def test_people_who_have_no_pictures_to_learn_from_are_refused(people: Identities, head: Morphable) -> None:
    with pytest.raises(ValueError, match=r"^one: .* 4 pictures"):
        learn.train("one", people, head, replace(CONFIG, unseen=4))


# ---- checkpoints


def test_a_field_is_restored_from_its_checkpoint(model: Model, people: Identities) -> None:
    again = learn.restored(learn.tensors(model), learn.about(CONFIG, model), "here")
    assert equal(model, again) and not any(value.requires_grad for value in again.field.parameters())
    template = people.of(0, "template_mm")[None]
    with torch.no_grad():
        one, two = (made.field(made.codes[:1], template)[0] for made in (model, again))
    assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))


def test_a_checkpoint_of_something_else_or_of_another_shape_is_refused_in_a_sentence(model: Model) -> None:
    found, said = learn.tensors(model), learn.about(CONFIG, model)
    with pytest.raises(ValueError, match=r"^here: not a checkpoint of an identity field$"):
        learn.restored(found, {**said, "method": "nphm"}, "here")
    for broken in ({**said, "shape": {**said["shape"], "hidden": 9}}, {**said, "people": 3}, {**said, "shape": {"nose": 1}}):
        with pytest.raises(ValueError, match=r"^here: not a field of the shape that it says \(\w+\)$"):
            learn.restored(found, broken, "here")
    for name in ("field.constant", "places.rows", "people_mm"):
        with pytest.raises(ValueError, match=r"^here: not a field of the shape that it says"):
            learn.restored({key: value for key, value in found.items() if key != name}, said, "here")
    with pytest.raises(ValueError, match=r"^here: not a morphable head, mean_mm is missing"):
        learn.restored({key: value for key, value in found.items() if key != "template.mean_mm"}, said, "here")


# ---- tracking


@pytest.mark.parametrize("way", track.WAYS)
@pytest.mark.parametrize("which", [[1], [0, 1, 2]])
def test_a_person_is_tracked_in_every_way(way: str, which: list[int], model: Model, people: Identities) -> None:
    shots, template = learn.shots_of(people, 0, which), people.of(0, "template_mm")
    before = {name: value.clone() for name, value in model.field.state_dict().items()}
    found = track.track(model, shots, template.numpy(), replace(TRACKING, way=way))
    assert torch.allclose(found.gaussians.means, model.field.where.means(template), atol=1e-4)
    assert all(bool(value.isfinite().all()) and not value.requires_grad for value in found.gaussians)
    assert [row["step"] for row in found.history] == [float(step) for step in range(len(found.history))] != []
    assert float(learn.loss(found.gaussians, shots)) < found.history[0]["picture"]
    assert all(torch.equal(value, before[name]) for name, value in model.field.state_dict().items())
    kept = track.tensors(found, np.zeros(8, dtype=np.float32), template.numpy())
    assert ("code" in kept) == (found.code is not None) == (way != "free") and torch.equal(kept["template_mm"], template)
    if way == "mean":
        assert torch.equal(kept["code"], model.codes.mean(dim=0))
    elif way == "nearest":
        assert any(torch.equal(kept["code"], code) for code in model.codes)
    elif way == "code":
        assert not any(torch.equal(kept["code"], code) for code in model.codes)


def test_the_nearest_code_of_somebody_known_is_their_own(model: Model, people: Identities) -> None:
    for person in range(2):
        shots, template = learn.shots_of(people, person, [0, 1, 2]), people.of(person, "template_mm")
        with torch.no_grad():
            losses = [float(learn.loss(model.field(code[None], template[None])[0], shots)) for code in model.codes]
        found = track.nearest(model, shots, template)
        assert torch.equal(found, model.codes[int(np.argmin(losses))]) and losses[0] != losses[1]


@pytest.mark.parametrize("which", [[1], [0, 1, 2]])
def test_tracking_somebody_known_ends_no_worse_than_the_nearest_code(which: list[int], model: Model, people: Identities) -> None:
    shots, template = learn.shots_of(people, 1, which), people.of(1, "template_mm")
    with torch.no_grad():
        nearest = learn.loss(model.field(track.nearest(model, shots, template)[None], template[None])[0], shots)
    found = track.track(model, shots, template.numpy(), replace(TRACKING, steps=15, colour_steps=5))
    assert float(learn.loss(found.gaussians, shots)) < float(nearest)


def test_a_look_is_the_psnr_of_the_pictures_that_nothing_was_tracked_from(model: Model, people: Identities) -> None:
    config = replace(TRACKING, way="nearest")
    expected = []
    for person in range(2):
        template, shots = people.of(person, "template_mm").numpy(), learn.shots_of(people, person, [0, 1, 2, 3])
        tracked = track.track(model, shots.of([1]), template, config)
        rest = shots.of([0, 2, 3])
        expected.append(learn.psnr_db(learn.seen(tracked.gaussians, rest.views), rest))
    assert track.look(model, people, config) == pytest.approx(float(np.mean(expected))) and min(expected) > 5


def test_psnr_is_that_of_the_face() -> None:
    face = torch.zeros(1, 4, 4, 1)
    face[:, :2] = 1
    shots = learn.Shots(torch.zeros(1, 4, 4, 3), torch.ones(1, 4, 4, 1), face, [])
    rendered = torch.where(face.bool(), 0.1, 0.9).expand(1, 4, 4, 3)
    assert learn.psnr_db(rendered, shots) == pytest.approx(20, abs=1e-4)


def test_a_template_of_another_topology_is_refused(model: Model, people: Identities) -> None:
    shots, template = learn.shots_of(people, 0, [0]), people.of(0, "template_mm").numpy()
    with pytest.raises(ValueError, match=rf"^the tracked template: a mesh of 100 vertices; the template has {len(template)}$"):
        track.track(model, shots, template[:100], TRACKING)


def test_ways_and_steps_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match="way must be one of code, mean, nearest, free, not 'best'"):
        track.Config(way="best")
    for wrong in ({"steps": -1}, {"step_size": 0.0}):
        with pytest.raises(ValueError, match="a tracking needs"):
            track.Config(**wrong)  # type: ignore[arg-type]


# ---- photographs of a scene


def scene_of(people: Identities, person: int, *, moved_mm: tuple[float, float, float] = (0, 0, 0)) -> Scene:
    """The pictures of a person as a scene, whose unit is 150 mm, by cameras that may be moved."""
    parts = [camera.decompose(matrix.double().numpy()) for matrix in people.of(person, "px_from_mm")]
    poses = torch.from_numpy(np.stack([pose for _, pose in parts])).float()
    poses[:, :3, 3] += torch.tensor(moved_mm)
    poses[:, :3, 3] /= 150
    shown = people.of(person, "pictures").float() / 255
    return Scene(
        "ada",
        (0, 1, 2, 3),
        shown,
        torch.ones(shown.shape[:3], dtype=torch.bool),
        torch.from_numpy(np.stack([px_from_cam for px_from_cam, _ in parts])).float(),
        poses,
        torch.diag(torch.tensor([150.0, 150.0, 150.0, 1.0])),
    )


def test_photographs_are_cut_about_the_face_and_their_cameras_with_them(people: Identities, head: Morphable) -> None:
    template = people.of(0, "template_mm").numpy()
    scene, shots = scene_of(people, 0), track.shots_in(scene_of(people, 0), template, head)
    assert len(shots.views) == 4 and shots.pictures.shape == (*shots.face.shape[:3], 3)
    for number, view in enumerate(shots.views):
        assert view.size_px == tuple(shots.face.shape[1:3])
        pose = np.linalg.inv(view.cam_from_world.numpy())
        seen = rays.masks(template, head.faces, head.face, view.px_from_cam.numpy()[None], pose[None], view.size_px)[0]
        face = shots.face[number, ..., 0].bool().numpy()
        assert (seen == face).mean() > 0.995 and face.any()
        middle = tuple(np.argwhere(face)[face.sum() // 2])
        whole = people.of(0, "px_from_mm")[number].double().numpy()
        shift = camera.decompose(whole)[0][:2, 2] - view.px_from_cam.numpy()[:2, 2]
        row, column = middle[0] + round(shift[1]), middle[1] + round(shift[0])
        assert torch.equal(shots.pictures[number][middle], scene.images[number, row, column])
    assert float((shots.pictures * (1 - shots.face)).abs().max()) == 0 and float(shots.known.min()) in (0.0, 1.0)


def test_cuts_of_several_sizes_are_unknown_beyond_their_own(people: Identities, head: Morphable) -> None:
    template, scene = people.of(0, "template_mm").numpy(), scene_of(people, 0)
    larger = torch.zeros(4, 60, 60, 3)
    larger[:, :SIZE, :SIZE] = scene.images
    zoom = scene.px_from_cam.clone()
    zoom[0, :2] *= 0.6  # the first sees a smaller face
    made = replace(scene, images=larger, masks=torch.ones(4, 60, 60, dtype=torch.bool), px_from_cam=zoom)
    shots = track.shots_in(made, template, head)
    assert [float(known.mean()) < 1 for known in shots.known].count(True) >= 1 and float(shots.known[0, -1].max()) == 0
    assert float((shots.face * (1 - shots.known)).max()) == 0


@pytest.mark.parametrize(("half", "sign"), [("left", 1), ("right", -1)])
def test_of_half_a_face_only_that_side_is_known(half: str, sign: int, people: Identities, head: Morphable) -> None:
    template, scene = people.of(0, "template_mm").numpy(), scene_of(people, 0)
    whole, shots = track.shots_in(scene, template, head), track.shots_in(scene, template, head, half=half)
    assert 0.2 < float(shots.face[1].sum() / whole.face[1].sum()) < 0.8
    assert float((shots.face * (1 - whole.face)).max()) == 0
    assert torch.equal(shots.known, 1 - (whole.face - shots.face))  # the other side is not, the background is
    own = head.face[sign * head.mean_mm[head.face, 0] > 15]
    view, other = shots.views[1], head.face[sign * head.mean_mm[head.face, 0] < -15]
    pose = np.linalg.inv(view.cam_from_world.numpy())
    for rows, known in ((own, 1.0), (other, 0.0)):
        seen = rays.masks(template, head.faces, rows, view.px_from_cam.numpy()[None], pose[None], view.size_px)[0]
        assert seen.any() and set(shots.face[1, ..., 0][torch.from_numpy(seen)].tolist()) == {known}


def test_a_face_that_is_not_in_its_photograph_is_refused(people: Identities, head: Morphable) -> None:
    template, scene = people.of(0, "template_mm").numpy(), scene_of(people, 0)
    with pytest.raises(ValueError, match=r"^ada: the template's face is not in photograph 0; is it fitted to it"):
        track.shots_in(scene_of(people, 0, moved_mm=(0, 2000, 0)), template, head)
    with pytest.raises(ValueError, match=r"^ada: .*photograph 0"):  # whose camera has it behind itself
        track.shots_in(scene_of(people, 0, moved_mm=(2000, 0, 0)), template, head)
    hidden = replace(scene, masks=scene.masks & (torch.arange(4) != 2)[:, None, None])
    with pytest.raises(ValueError, match=r"^ada: the template's face is not in photograph 2"):
        track.shots_in(hidden, template, head)


def test_a_tracked_person_is_rendered_where_a_camera_sees_them(model: Model, people: Identities, head: Morphable) -> None:
    template, scene = people.of(0, "template_mm").numpy(), scene_of(people, 0)
    tracked = track.track(model, track.shots_in(scene, template, head), template, TRACKING)
    found = track.render(tracked.gaussians, scene.px_from_cam, scene.unit_from_cam, scene.mm_from_unit, (SIZE, SIZE))
    shots = learn.shots_of(people, 0, [0, 1, 2, 3])
    with torch.no_grad():
        expected = learn.seen(tracked.gaussians, shots.views).clamp(0, 1)
    shown, hit = found[0], found[1]
    assert torch.allclose(shown, expected, atol=0.02) and hit.dtype == torch.bool and 0.2 < float(hit.float().mean()) < 1
    none = track.render(tracked.gaussians, scene.px_from_cam[:0], scene.unit_from_cam[:0], scene.mm_from_unit, (9, 8))
    assert none[0].shape == (0, 9, 8, 3) and none[1].shape == (0, 9, 8)


# ---- how faces are scored, and what rays meet


def test_scores_in_faces_are_those_computed_by_hand() -> None:
    rendered, photographs = np.full((1, 20, 20, 3), 0.5), np.full((1, 20, 20, 3), 0.6)
    faces = np.ones((1, 20, 20), dtype=bool)
    whole = pictures.in_faces(rendered, photographs, faces)
    ssim = (2 * 0.5 * 0.6 + 1e-4) / (0.25 + 0.36 + 1e-4)
    assert whole == pytest.approx({"psnr_db": 20, "ssim": ssim, "l1": 0.1, "psnr_whole_db": 20}, abs=1e-4)
    faces[:, :, 10:] = False
    half = pictures.in_faces(rendered, photographs, faces)
    assert half["psnr_db"] == pytest.approx(20) and half["l1"] == pytest.approx(0.1)
    assert half["psnr_whole_db"] == pytest.approx(-10 * np.log10((0.1**2 + 0.5**2) / 2))  # half should have been black
    two = pictures.in_faces(
        np.concatenate([rendered, photographs - 0.01]), photographs.repeat(2, axis=0), faces.repeat(2, axis=0)
    )
    assert two["psnr_db"] == pytest.approx(30) and two["l1"] == pytest.approx(0.055)


def test_equal_faces_score_as_high_as_can_be_and_what_has_none_is_refused() -> None:
    photographs = np.random.default_rng(0).random((2, 16, 18, 3)).astype(np.float32)
    faces = np.zeros((2, 16, 18), dtype=bool)
    faces[:, 4:12, 5:14] = True
    same = pictures.in_faces(photographs * faces[..., None], photographs, faces)
    assert same == pytest.approx({"psnr_db": 100, "ssim": 1, "l1": 0, "psnr_whole_db": 100})
    faces[1] = False
    with pytest.raises(ValueError, match=r"cannot be compared with the faces of"):
        pictures.in_faces(photographs, photographs, faces)
    with pytest.raises(ValueError, match=r"pictures of shape \(2, 8, 18, 3\) cannot be compared"):
        pictures.in_faces(photographs[:, ::2], photographs, faces)


def test_rays_meet_the_front_of_a_cube_where_its_region_is() -> None:
    cube = trimesh.creation.box((2.0, 2.0, 2.0))
    pose = camera.look_at(np.array([0.0, 0.0, 5.0]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
    px_from_cam, corners = np.array([[40.0, 0, 15.2], [0, 40, 12.3], [0, 0, 1]]), np.asarray(cube.vertices, dtype=float)
    row, column = np.mgrid[0:26, 0:32]
    front = (np.abs(column - 15.2) <= 10) & (np.abs(row - 12.3) <= 10)  # 4 units away, a half side is 10 pixels

    def seen(region: np.ndarray) -> np.ndarray:
        return rays.masks(corners, np.asarray(cube.faces), np.flatnonzero(region), px_from_cam[None], pose[None], (26, 32))[0]

    assert np.array_equal(seen(corners[:, 2] > 0), front) and np.array_equal(seen(corners[:, 2] < 9), front)
    assert not seen(corners[:, 2] < 0).any() and not seen(corners[:, 0] > 0).any()  # behind, and edgewise


def test_a_whole_head_is_a_region_too() -> None:
    person = next(one for number in range(20) if (one := identities._drawn(11, number)).style in ("bald", "buzz"))
    of_face, of_head = (identities.photographed(person, 1, 0, SIZE, region)["masks"][0] for region in ("face", "head"))
    assert (of_head == 1).sum() > 0.3 * SIZE**2 and (of_face == 1).sum() > 0.3 * SIZE**2
    assert set(np.unique(of_head)) <= {0, 1, 2} and set(np.unique(of_face)) <= {0, 1, 2}
