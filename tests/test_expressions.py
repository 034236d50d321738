"""Made-up people with expressions, and crowds of them on a disk."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree

from heads import metric
from heads.data import anatomy, crowd, expressions
from heads.data.expressions import RECIPES, Talker, recipe

NAMES = ("mouth closed", "jaw wide open", "smile", "surprise", "eyes closed")


@pytest.fixture(scope="module")
def two() -> list[Talker]:
    return [expressions.talker(name, 7, {one: recipe(one) for one in NAMES}) for name in ("una", "udo")]


def moved(talker: Talker, name: str) -> np.ndarray:
    """How far each vertex (N, 3) is from the neutral head, in mm."""
    return talker.posed_mm[talker.expressions.index(name)] - talker.neutral_mm


def at(talker: Talker, name: str) -> int:
    """A vertex of an anchor, by its name."""
    order = [side for pair in anatomy.ANCHORS["pairs"] for side in (f"right {pair}", f"left {pair}")]
    return int(expressions.topology().anchors[[*order, *anatomy.ANCHORS["middle"]].index(name)])


def test_the_same_name_and_seed_give_the_same_person_and_others_give_another(two: list[Talker]) -> None:
    again = expressions.talker("una", 7, {one: recipe(one) for one in NAMES})
    assert again.posed_mm.tobytes() == two[0].posed_mm.tobytes()
    assert np.abs(two[0].neutral_mm - two[1].neutral_mm).max() > 2


def test_the_refinement_is_loop_subdivision_of_the_skin_as_a_matrix(two: list[Talker]) -> None:
    shared = expressions.topology()
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(shared.refine.shape[1], 3))
    skin = shared.faces[shared.material == anatomy.SKIN]
    first = coarse.shape[0]
    corners = skin[(skin < first).any(axis=1)]  # of each coarse triangle, the parts at its corners
    assert shared.refine.shape[0] == skin.max() + 1 and len(skin) % 4 == 0 and len(corners) * 4 == 3 * len(skin)
    assert np.allclose(np.asarray(shared.refine.sum(axis=1)), 1)
    flat = shared.refine @ np.column_stack([coarse[:, :2], np.ones(first)])
    assert np.allclose(flat[:, 2], 1)  # affine


def test_expressions_do_what_they_say_and_leave_the_rest_of_the_head_alone(two: list[Talker]) -> None:
    shared = expressions.topology()
    for talker in two:
        assert moved(talker, "jaw wide open")[at(talker, "chin"), 1] < -8
        assert moved(talker, "mouth closed")[at(talker, "chin"), 1] > 2
        assert (
            moved(talker, "smile")[at(talker, "left mouth corner"), 0]
            > 2
            > -2
            > moved(talker, "smile")[at(talker, "right mouth corner"), 0]
        )
        assert moved(talker, "eyes closed")[at(talker, "left upper lid"), 1] < -2
        behind = shared.canonical[:, 2] < -20
        assert all(np.linalg.norm(moved(talker, name)[behind], axis=1).max() < 0.2 for name in NAMES)


def test_no_two_people_move_alike_nor_any_of_them_alike_on_both_sides(two: list[Talker]) -> None:
    one, other = (moved(talker, "smile")[expressions.topology().front].ravel() for talker in two)
    assert 0.8 < np.corrcoef(one, other)[0, 1] < 0.995
    assert np.linalg.norm(one - other) > 0.1 * np.linalg.norm(one)
    left, right = (np.linalg.norm(moved(two[0], "smile")[at(two[0], f"{side} mouth corner")]) for side in ("left", "right"))
    assert abs(left - right) > 0.005 * (left + right)


@pytest.mark.parametrize("name", ["", "surprise", "jaw wide open"])
def test_there_are_no_holes_in_the_eyes_nor_in_the_mouth(two: list[Talker], name: str) -> None:
    for talker in two:
        whole = talker.mesh(name)
        scene = anatomy.embree_scene(whole.triangles)
        around = whole.vertices[expressions.topology().anchors].mean(axis=0)
        x, y = np.meshgrid(np.linspace(-50, 50, 120), np.linspace(-95, 30, 150))
        start = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, around[2] + 300)]).astype(np.float32)
        hit = scene.run(start, np.tile(np.float32([0, 0, -1]), (len(start), 1)), query="INTERSECT", output=True)
        met = hit["primID"] >= 0
        assert met.mean() > 0.95
        outside = whole.face_normals[hit["primID"][met]][:, 2] > 0
        assert outside.mean() > 0.998, (name, outside.mean())


def test_an_open_mouth_is_a_hollow(two: list[Talker]) -> None:
    whole = two[0].mesh("jaw wide open")
    lips = [whole.vertices[at(two[0], name)] for name in ("upper lip", "chin")]
    scene = anatomy.embree_scene(whole.triangles)
    start = np.float32([[lips[0][0], (2 * lips[0][1] + lips[1][1]) / 3, 400]])
    away = scene.run(start, np.float32([[0, 0, -1]]), query="DISTANCE")[0]
    assert lips[0][2] - (400 - away) > 10  # mm behind the upper lip


def test_a_view_sees_only_its_own_side(two: list[Talker]) -> None:
    whole, distance = two[0].mesh(), metric.build_surface(two[0].mesh())
    front, behind = (expressions.observe(whole, 500, azimuth=azimuth) for azimuth in (0, 180))
    for points in (front, behind):
        assert points.shape == (500, 3) and np.linalg.norm(metric.closest_points(points, distance) - points, axis=1).max() < 0.01
    assert front[:, 2].mean() > 30 and behind[:, 2].mean() < -30


def test_an_unknown_expression_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="expression 'smirk': expected one of mouth closed, jaw wide open"):
        recipe("smirk")
    assert all(recipe(name).keys() <= set(anatomy.body_model().action_names) for name in RECIPES)


# ---- crowds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crowd")
    crowd.write(path, 3, 2, seed=4)
    return path


def test_still_points_of_a_crowd_are_where_no_expression_moves_anything(folder: Path) -> None:
    many, generator = crowd.read(folder), torch.Generator().manual_seed(0)
    body, manner, _ = np.random.SeedSequence([4, zlib.crc32(b"crowd"), 1]).spawn(3)
    amounts = expressions.drawn_expressions(2, np.random.default_rng(manner))
    talker = expressions.make_talker("1", body, amounts)
    moves = np.linalg.norm(talker.posed_mm - talker.neutral_mm, axis=2).max(axis=0)
    points = many.still(1, 1000, generator).numpy() * crowd.MM_PER_UNIT
    away, nearest = cKDTree(talker.neutral_mm).query(points)
    assert away.max() < 15 and moves[nearest].max() < 3 * crowd.STILL_MM and np.median(moves[nearest]) < 0.05
    assert moves.max() > 5 and np.ptp(points[:, 1]) > 150  # all over the head


def test_a_crowd_has_points_on_its_people_with_their_normals(folder: Path) -> None:
    many, generator = crowd.read(folder), torch.Generator().manual_seed(0)
    assert len(many) == 3 and many.expressions == 2 and many.anchors.shape == (3, 39, 3)
    one = crowd._person(4, 1, 2)
    assert np.array_equal(one["anchors"], many.anchors[1].numpy())
    face, normals = many.surface(1, 300, face=True, generator=generator)
    rest, _ = many.surface(1, 300, face=False, generator=generator)
    assert (normals.norm(dim=1) - 1).abs().max() < 1e-3 and (face[:, 2] > 0).all() and (rest[:, 2] < 0.05).float().mean() > 0.7
    assert normals[:, 2].mean() > 0.4


def test_correspondences_are_the_same_points_of_the_neutral_and_the_moved_face(folder: Path) -> None:
    many, generator = crowd.read(folder), torch.Generator().manual_seed(0)
    shared = expressions.topology()
    neutral, posed = many.correspondences([(2, 1), (0, 0)], 400, (0.0, 0.0), generator)
    assert neutral.shape == posed.shape == (2, 400, 3)
    front = shared.faces[shared.front[shared.faces].all(axis=1)]
    own = np.cumsum(shared.front) - 1
    for row, (person, expression) in enumerate([(2, 1), (0, 0)]):
        vertices = many.shards[0]["neutral"][person].numpy() / 32767
        moves = many.shards[0]["offsets"][person, expression].numpy() / 32767
        for points, at_place in ((neutral[row], vertices), (posed[row], vertices + moves)):
            surface = metric.build_surface(trimesh.Trimesh(at_place, own[front], process=False))
            assert np.abs(metric.closest_points(points.double().numpy(), surface) - points.numpy()).max() < 1e-5
    assert (posed - neutral).norm(dim=2).max() > 2 / crowd.MM_PER_UNIT
    off, _ = many.correspondences([(2, 1)], 400, (0.01, 0.01), generator)
    assert 0.002 < (off.norm(dim=2) - neutral[:1].norm(dim=2)).std() < 0.3


def test_an_interrupted_crowd_goes_on_and_a_damaged_shard_is_named(folder: Path, tmp_path: Path) -> None:
    whole = next(folder.iterdir()).read_bytes()
    crowd.write(tmp_path, 3, 2, seed=4)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == whole
    before = path.stat().st_mtime_ns
    crowd.write(tmp_path, 3, 2, seed=4)
    assert path.stat().st_mtime_ns == before
    crowd.write(tmp_path, 3, 2, seed=5)  # other people: none of the first are kept
    assert path.read_bytes() != whole
    crowd.write(tmp_path, 2, 1, seed=5)
    assert len(crowd.read(tmp_path)) == 2 and crowd.read(tmp_path).expressions == 1
    (tmp_path / "people-00050.safetensors").write_bytes(whole)  # of a larger crowd
    crowd.write(tmp_path, 2, 1, seed=5)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    path.write_bytes(whole[:1000])
    with pytest.raises(ValueError, match=r"people-00000\.safetensors: not a shard of people, or cut short"):
        crowd.read(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no people-\*\.safetensors"):
        crowd.read(tmp_path)
    with pytest.raises(ValueError, match="at least one person and one expression, not 0 and 2"):
        crowd.write(tmp_path, 0, 2, seed=4)
