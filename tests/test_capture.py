"""Photographs as they are taken: each disturbance changes what it should, by its amount, and nothing else."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heads import camera
from heads.data import anatomy, capture, h3ds, people, synthetic
from heads.data.capture import FIELD, STUDIO, Amounts
from heads.study import contract

SIZE, PHOTOGRAPHS = 48, 8
CHANCE = np.random.SeedSequence([1, zlib.crc32(b"bob")])  # with short hair
Taken = Callable[..., synthetic.Photographs]


@pytest.fixture(scope="module")
def person() -> people.Person:
    return people.make_person(CHANCE)


@pytest.fixture(scope="module")
def studio(person: people.Person) -> synthetic.Studio:
    return synthetic.studio(person, SIZE, "varied")


@pytest.fixture(scope="module", autouse=True)
def known(person: people.Person, studio: synthetic.Studio) -> Iterator[None]:
    """The one person of this file is made and lit once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "make_person", lambda chance: person)
        patch.setattr(synthetic, "studio", lambda *rest: studio)
        yield


@pytest.fixture(scope="module")
def taken(person: people.Person) -> Taken:
    def photographs(**amounts: float) -> synthetic.Photographs:
        return synthetic.photograph(person, size=SIZE, n_photographs=PHOTOGRAPHS, capture=Amounts(**amounts))

    return photographs


@pytest.fixture(scope="module")
def plain(taken: Taken) -> synthetic.Photographs:
    return taken()


def materials(person: people.Person, studio: synthetic.Studio, view: int) -> np.ndarray:
    """What each pixel (SIZE, SIZE) of an undisturbed photograph shows: a material, or -1."""
    rng = np.random.default_rng(person.streams["cameras"])
    azimuths = 2 * np.pi * np.arange(PHOTOGRAPHS) / PHOTOGRAPHS
    intrinsics, poses = synthetic.ring_cameras(person.vertices_mm, SIZE, azimuths, rng)
    _, near, first = synthetic._first_hits(studio, intrinsics, poses[view], SIZE)
    shown = np.full(SIZE * SIZE, -1)
    shown[near] = np.where(first["primID"] >= 0, person.material[first["primID"]], -1)
    return shown.reshape(SIZE, SIZE)


def poses_of(photographs: synthetic.Photographs) -> np.ndarray:
    return np.array([camera.decompose(matrix)[1] for matrix in photographs.px_from_mm])


def degrees(rotations: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((np.trace(rotations, axis1=1, axis2=2) - 1) / 2, -1, 1)))


def test_the_studio_takes_the_pictures_that_a_camera_without_errors_takes(
    person: people.Person, studio: synthetic.Studio, plain: synthetic.Photographs
) -> None:
    """As before there was anything to go wrong, bit for bit: `_develop` knows nothing of it."""
    rng = np.random.default_rng(person.streams["cameras"])
    azimuths = 2 * np.pi * np.arange(PHOTOGRAPHS) / PHOTOGRAPHS
    intrinsics, poses = synthetic.ring_cameras(person.vertices_mm, SIZE, azimuths, rng)
    images, masks = synthetic._develop(studio, intrinsics, poses, rng)
    assert np.array_equal(images, plain.images) and np.array_equal(masks, plain.masks)
    assert np.array_equal(plain.px_from_mm[:, :3], intrinsics @ np.linalg.inv(poses)[:, :3])
    assert np.array_equal(plain.mm_from_unit, synthetic._unit_frame(person.vertices_mm, rng))


CHANGES = {  # amounts, ten times those of a photographer -> what changes
    "camera_rotation_deg": "cameras", "camera_position_mm": "cameras", "focal_percent": "cameras", "outline_mm": "masks",
    "exposure_ev": "images", "white_balance_percent": "images", "read_noise_percent": "images", "photon_noise_percent": "images",
    "blur_mm": "images", "shine": "images", "motion_deg": "images masks", "motion_mm": "images masks",
    "expression_mm": "images masks", "hair_mm": "images masks", "hair_moves_mm": "images masks",
}  # fmt: skip


@pytest.mark.parametrize("name", vars(STUDIO))
def test_a_disturbance_alone_changes_what_it_should_and_nothing_else(
    name: str, taken: Taken, plain: synthetic.Photographs
) -> None:
    other = taken(**{name: 10 * getattr(FIELD, name)})
    pairs = {
        "cameras": (plain.px_from_mm, other.px_from_mm),
        "masks": (plain.masks, other.masks),
        "images": (plain.images, other.images),
    }
    changed = [what for what in ("images", "masks", "cameras") if not np.array_equal(*pairs[what])]
    assert changed == CHANGES[name].split()
    assert np.array_equal(plain.mm_from_unit, other.mm_from_unit) and plain.jpeg_quality == other.jpeg_quality


def test_written_cameras_are_wrong_by_what_was_drawn(person: people.Person, taken: Taken, plain: synthetic.Photographs) -> None:
    true = poses_of(plain)
    turned = taken(camera_rotation_deg=2.0)
    wrong = poses_of(turned)
    angles = degrees(wrong[:, :3, :3] @ true[:, :3, :3].transpose(0, 2, 1))
    np.testing.assert_allclose(angles, np.linalg.norm(turned.drawn.camera_rotation_deg, axis=1), rtol=1e-6)
    assert 1 < angles.mean() < 6
    middle = np.append(synthetic._middle(person.vertices_mm), 1)
    px = turned.px_from_mm @ middle / (turned.px_from_mm @ middle)[:, 2:3]
    np.testing.assert_allclose(px, plain.px_from_mm @ middle / (plain.px_from_mm @ middle)[:, 2:3], atol=1e-6)
    shifted = taken(camera_position_mm=5.0)
    np.testing.assert_allclose(poses_of(shifted)[:, :3, 3] - true[:, :3, 3], shifted.drawn.camera_position_mm, atol=1e-6)
    zoomed = taken(focal_percent=3.0)
    focal = [camera.decompose(one.px_from_mm[5])[0][0, 0] for one in (zoomed, plain)]
    assert focal[0] / focal[1] == pytest.approx(1 + zoomed.drawn.focal_percent / 100, rel=1e-9)
    np.testing.assert_allclose(poses_of(zoomed), true, atol=1e-9)


def test_a_head_that_moves_is_seen_where_it_was_moved_to(
    person: people.Person, taken: Taken, plain: synthetic.Photographs
) -> None:
    moved = taken(motion_deg=1.0, motion_mm=15.0)
    for view in range(PHOTOGRAPHS):
        motion = capture._rigid(moved.drawn.motion_deg[view], moved.drawn.motion_mm[view], synthetic._middle(person.vertices_mm))
        vertices = np.column_stack([person.vertices_mm, np.ones(len(person.vertices_mm))])
        px = vertices @ motion.T @ plain.px_from_mm[view].T
        px = px[:, :2] / px[:, 2:3]
        rows, columns = np.nonzero(moved.masks[view])
        for found, expected in ((columns, px[:, 0]), (rows, px[:, 1])):
            low, high = np.clip([expected.min(), expected.max()], 0, SIZE - 1)
            assert -1e-3 < found.min() - low < 2 and -1e-3 < high - found.max() < 2


@pytest.mark.parametrize("name", ["exposure_ev", "white_balance_percent"])
def test_light_is_multiplied_before_the_tone_curve(name: str, taken: Taken, plain: synthetic.Photographs) -> None:
    """Photographs are brighter exactly where the draw says so, and gains found from the pixels are those drawn."""
    other = taken(**{name: 0.4 if name == "exposure_ev" else 20.0})

    def linear(images: np.ndarray) -> np.ndarray:
        srgb = images / 255
        return -np.log1p(-np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4))

    usable = ((plain.images > 40) & (plain.images < 230) & (other.images > 40) & (other.images < 230)).all(axis=-1)
    for view in range(PHOTOGRAPHS):
        gains = np.median(linear(other.images[view][usable[view]]) / linear(plain.images[view][usable[view]]), axis=0)
        red, blue = np.exp(other.drawn.white_balance_percent[view] / 100)
        np.testing.assert_allclose(gains, 2 ** other.drawn.exposure_ev[view] * np.array([red, 1, blue]), rtol=0.03)


def test_twice_the_amount_is_twice_the_draw_and_what_else_there_is_changes_nothing() -> None:
    one, two = (capture.draw(CHANCE, capture.chosen("field", strength=strength), 20) for strength in (1, 2))
    only = capture.draw(CHANCE, Amounts(exposure_ev=2 * FIELD.exposure_ev), 5)
    for name in vars(one):
        np.testing.assert_allclose(getattr(two, name), 2 * np.asarray(getattr(one, name)), rtol=1e-12)
        assert np.abs(getattr(one, name)).min() > 0
    np.testing.assert_array_equal(only.exposure_ev, two.exposure_ev[:5])  # more photographs, the same first ones
    assert not only.motion_mm.any() and not only.white_balance_percent.any()


def test_twice_the_amount_moves_a_shape_twice_as_far(person: people.Person) -> None:
    for name in ("hair_mm", "hair_moves_mm", "expression_mm"):
        one, two = (next(capture.vertices_mm(person, Amounts(**{name: amount}), 1)) - person.vertices_mm for amount in (0.8, 1.6))
        np.testing.assert_allclose(two, 2 * one, atol=3e-4)  # vertices are rounded to 1e-4 mm
        assert 0.3 < np.linalg.norm(one, axis=1).max() < 6


def test_draws_deviate_by_their_amounts() -> None:
    drawn = vars(capture.draw(CHANCE, FIELD, 4000))
    many = [capture.draw(np.random.SeedSequence(i), FIELD, 1).focal_percent for i in range(1000)]
    for name, values in (drawn | {"focal_percent": np.array(many)}).items():
        found = np.sqrt((np.asarray(values) ** 2).mean(axis=0))
        np.testing.assert_allclose(found, getattr(FIELD, name), rtol=0.08, err_msg=name)


def test_draws_of_different_disturbances_have_nothing_to_do_with_each_other() -> None:
    drawn = vars(capture.draw(CHANCE, FIELD, 4000))
    columns = [values.reshape(4000, -1).T for name, values in drawn.items() if name not in ("focal_percent", "blur_mm")]
    together = np.corrcoef(np.concatenate(columns)) - np.eye(sum(map(len, columns)))
    red = 3 + 3 + 1  # after the cameras and exposure: red and blue, warm against cool, belong together
    assert together[red, red + 1] == pytest.approx(2 * capture.TINT**2 - 1, abs=0.08)
    together[red : red + 2, red : red + 2] = 0
    assert np.abs(together).max() < 0.08


def test_noise_outlines_and_shapes_deviate_by_their_amounts(person: people.Person) -> None:
    drawn, light = capture.draw(CHANCE, STUDIO, 1), np.full((200, 200, 3), 0.25, dtype=np.float32)
    for amounts, expected in ((Amounts(read_noise_percent=2), 0.02), (Amounts(photon_noise_percent=2), 0.01)):
        noisy = capture.exposed(light, amounts, drawn, 0, 1.0, CHANCE)
        assert (noisy - light).std() == pytest.approx(expected, rel=0.02) and noisy.dtype == np.float32
    half = np.broadcast_to(np.arange(120) < 60, (120, 120))
    edges = [capture.outlined(half, Amounts(outline_mm=3), view, 0.5, CHANCE).sum(axis=1) - 60 for view in range(200)]
    assert 0.5 * np.std(edges) == pytest.approx(3, rel=0.1) and 0.5 * abs(np.mean(edges)) < 0.5
    slopes = np.abs(np.diff(edges, axis=1))
    expected = 3 / capture.OUTLINE_LENGTH_MM * np.sqrt(2 / np.pi)
    assert slopes.max() <= 2 and slopes.mean() == pytest.approx(expected, rel=0.1)  # a line that wanders, not a ragged one
    hair = np.unique(person.faces[person.material == anatomy.HAIR])
    loose = person.depth_mm[hair].clip(0)
    moves = [one[hair] - person.vertices_mm[hair] for one in capture.vertices_mm(person, Amounts(hair_moves_mm=2), 60)]
    thick = loose > 6
    share = (loose / (loose + 6))[thick]
    assert (np.std(np.array(moves)[:, thick], axis=(0, 2)) / share).mean() == pytest.approx(2, rel=0.1)


def test_other_hair_hardly_changes_the_skin(
    person: people.Person, studio: synthetic.Studio, taken: Taken, plain: synthetic.Photographs
) -> None:
    other = taken(hair_mm=FIELD.hair_mm)
    for view in (0, 1, 7):
        shown = materials(person, studio, view)
        apart = np.abs(other.images[view].astype(int) - plain.images[view]).max(axis=-1) > 2
        skin, hair = (apart[shown == material].mean() for material in (anatomy.SKIN, anatomy.HAIR))
        assert skin < 0.1 and hair > 0.3


def test_an_expression_moves_the_lower_face_and_neither_hair_nor_eyes(person: people.Person) -> None:
    first, second = capture.vertices_mm(person, Amounts(expression_mm=1.0), 2)
    away = np.linalg.norm(first - person.vertices_mm, axis=1)
    material_of = {material: np.unique(person.faces[person.material == material]) for material in (anatomy.EYE, anatomy.HAIR)}
    assert away[person.landmarks["left_lips"]] > 0.1 and not np.array_equal(first, second)
    assert all(away[which].max() == 0 for which in material_of.values()) and away[person.canonical[:, 1] > -20].max() == 0


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of studio and field, of one person."""
    root = tmp_path_factory.mktemp("capture")
    for name in capture.PRESETS:
        amounts = capture.chosen(name)
        synthetic.write_subject(root / name, "bob", seed=1, size=SIZE, n_photographs=PHOTOGRAPHS, capture=amounts)
    return root


def test_the_scan_is_the_same_in_studio_and_field_and_the_scene_can_be_read(written: Path) -> None:
    for file in ("full_head.obj", "landmarks.txt", "regions/face.txt"):
        assert (written / "studio" / "bob" / file).read_bytes() == (written / "field" / "bob" / file).read_bytes()
    scenes = [h3ds.load_scene(written / name, "bob", 8) for name in capture.PRESETS]
    assert scenes[0].images.shape == scenes[1].images.shape == (8, SIZE, SIZE, 3)
    assert (scenes[0].mm_from_unit == scenes[1].mm_from_unit).all() and (scenes[0].masks != scenes[1].masks).any()
    assert 0 < (scenes[0].unit_from_cam - scenes[1].unit_from_cam).abs().max() < 0.1


def test_the_same_person_is_photographed_the_same_way_again(written: Path, tmp_path: Path) -> None:
    drawn = synthetic.write_subject(tmp_path, "bob", seed=1, size=SIZE, n_photographs=PHOTOGRAPHS, capture=FIELD)
    for path in sorted((written / "field" / "bob").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "bob" / path.relative_to(written / "field" / "bob")).read_bytes(), path
    rows = capture.table(drawn, (0, 1, 7))
    assert [row["photograph"] for row in rows] == [0, 1, 7] and rows[2]["exposure_ev"] == round(drawn.exposure_ev[7], 2)


def test_amounts_are_those_of_the_preset_but_for_what_is_given_times_the_strength() -> None:
    assert capture.chosen("studio") == STUDIO and capture.chosen("field", {}, 0.0) == STUDIO
    assert capture.chosen("studio", {"blur_mm": 2.0}, 3.0) == replace(STUDIO, blur_mm=6.0)
    assert capture.chosen("field", {"blur_mm": 0.0}) == replace(FIELD, blur_mm=0.0)


def test_a_group_alone_leaves_the_others_as_in_the_studio_and_every_amount_is_in_one_group() -> None:
    assert sorted(name for group in capture.GROUPS.values() for name in group) == sorted(vars(STUDIO))
    both = capture.chosen("field", strength=2.0, only=["exposure", "shine"])
    twice = {name: 2 * getattr(FIELD, name) for name in ("exposure_ev", "white_balance_percent", "shine")}
    assert both == replace(STUDIO, **twice)
    assert capture.chosen("field", only=list(capture.GROUPS)) == capture.chosen("field", only=[]) == FIELD
    assert capture.chosen("field", {"blur_mm": 9.0}, only=["hair"]) == replace(
        STUDIO, hair_mm=FIELD.hair_mm, hair_moves_mm=FIELD.hair_moves_mm, blur_mm=9.0
    )
    takes = contract.read(Path(__file__).parents[1] / "notebooks" / "01_data.py")["only"].takes
    assert list(eval(takes.removeprefix("list[Literal").removesuffix("]"))) == list(capture.GROUPS)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf"), "2", True])
def test_an_amount_that_is_none_is_refused_with_its_name(wrong: float) -> None:
    with pytest.raises(ValueError, match=rf"^blur_mm of a capture must be a number, 0 or more, not {wrong!r}$"):
        capture.chosen("field", {"blur_mm": wrong})


def test_an_unknown_preset_amount_or_strength_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^capture must be one of studio, field, not 'phone'$"):
        capture.chosen("phone")
    with pytest.raises(ValueError, match=r"^blur is not an amount of a capture; these are camera_rotation_deg, "):
        capture.chosen("field", {"blur": 1.0})
    with pytest.raises(
        ValueError, match=r"^colour is not a group of disturbances; these are cameras, outlines, exposure, noise, "
    ):
        capture.chosen("field", only=["hair", "colour"])
    with pytest.raises(ValueError, match=r"^strength of a capture must be a number, 0 or more, not -1$"):
        capture.chosen("field", strength=-1)
