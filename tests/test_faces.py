"""Portraits to learn from: people written in shards and read back, relatives, and where the template lies on everybody."""

from pathlib import Path

import numpy as np
import pytest
import torch

from heads import camera
from heads.data import anatomy, faces, people, shards, synthetic


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("faces")
    faces.write(made, 3, seed=1, photographs=2, size=48)
    return made


def test_people_are_read_as_they_were_written(folder: Path) -> None:
    many, numbers = faces.read(folder), []
    assert len(many) == 3 and many.photographs == 2
    assert many.of(0, "pictures").shape == (2, 48, 48, 3) and many.of(0, "pictures").dtype == torch.uint8
    assert many.of(1, "face").shape == (7008, 3) and many.of(1, "points").shape == (faces.POINTS, 3)
    assert torch.allclose(many.of(2, "normals").norm(dim=1), torch.ones(faces.POINTS), atol=1e-3)
    faces.write(folder, 3, seed=1, photographs=2, size=48, on_person=numbers.append)
    assert numbers == [3]  # kept as it was


def test_a_photograph_shows_the_face_where_its_camera_says(folder: Path) -> None:
    many = faces.read(folder)
    for person in range(3):
        px_from_mm = many.of(person, "px_from_mm")[0].double().numpy()
        intrinsics, pose = camera.decompose(px_from_mm)
        assert 400 < np.linalg.norm(pose[:3, 3]) < 1800 and intrinsics[0, 0] == pytest.approx(intrinsics[1, 1], rel=1e-3)
        seen = many.of(person, "face").double().numpy() @ px_from_mm[:, :3].T + px_from_mm[:, 3]
        px = seen[:, :2] / seen[:, 2:]
        assert (px > -1).all() and (px < 48).all()


def test_the_registered_vertices_lie_on_the_surface_and_the_landmarks_among_them(folder: Path) -> None:
    from scipy.spatial import cKDTree

    many = faces.read(folder)
    for person in range(3):
        tree = cKDTree(many.of(person, "face").numpy())
        assert tree.query(many.of(person, "landmarks_mm").numpy())[0].max() < 6  # mm: the lids hide the pupils' poles
        near, _ = tree.query(many.of(person, "points").numpy())
        assert np.median(near) < 2


def test_some_people_and_those_of_several_folders(folder: Path, tmp_path: Path) -> None:
    faces.write(tmp_path, 2, seed=2, photographs=2, size=48)
    both = faces.read(folder, tmp_path)
    assert len(both) == 5 and torch.equal(both.of(3, "face"), faces.read(tmp_path).of(0, "face"))
    assert torch.equal(both.part(1, 4).of(0, "face"), both.of(1, "face")) and len(both.part(1, 4)) == 3
    with pytest.raises(ValueError, match="there are 5 people; expected some of them, not those from 4 to 5"):
        both.part(4, 6)
    faces.write(tmp_path / "other", 2, seed=2, photographs=1, size=48)
    with pytest.raises(ValueError, match="photographs of other numbers or sizes"):
        faces.read(folder, tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="no people-"):
        faces.read(tmp_path / "nobody")


def test_too_few_people_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one person and photograph, of 32 pixels; not 0, 1 and 48"):
        faces.write(tmp_path, 0, seed=1, photographs=1, size=48)


def test_a_damaged_shard_is_named(folder: Path, tmp_path: Path) -> None:
    path = shards.paths(folder)[0]
    (tmp_path / path.name).write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"{path.name}: not a shard of people, or cut short"):
        faces.read(tmp_path)


def test_a_relative_has_the_same_traits_hair_and_triangles_and_another_face() -> None:
    first = people.make_person(np.random.SeedSequence([4]))
    one, two = (people.relative(first, np.random.SeedSequence([5, number])) for number in range(2))
    assert one.style == first.style and one.traits == first.traits and np.array_equal(one.faces, first.faces)
    bare = one.material[:, None] <= anatomy.EYE
    skin = np.unique(one.faces[bare[:, 0]])
    assert np.linalg.norm(one.vertices_mm[skin] - two.vertices_mm[skin], axis=1).mean() > 1
    hair = one.numbers < 0
    if hair.any():
        from scipy.spatial import cKDTree

        before, _ = cKDTree(first.head_mm).query(first.vertices_mm[hair])
        after, _ = cKDTree(one.head_mm).query(one.vertices_mm[hair])
        assert np.abs(after - before).mean() < 3  # it stays where it was on the head


def test_groups_are_three_words() -> None:
    traits = {"female": 1.0, "years": 61.0, "african": 0.2, "asian": 0.5, "caucasian": 0.3}
    assert synthetic.groups(traits) == ["female", "asian", "over-60"]
    assert synthetic.groups({**traits, "female": 0.0, "years": 39.9}) == ["male", "asian", "under-40"]


def test_portraits_are_from_cameras_of_their_own_and_written_as_any_scene(tmp_path: Path) -> None:
    from heads.data import h3ds

    synthetic.write_subject(tmp_path, "ann", seed=3, size=32, n_photographs=8, cameras="portraits")
    scene = h3ds.load_scene(tmp_path, "ann", list(range(8)))
    assert len(set(scene.px_from_cam[:, 0, 0].tolist())) == 8
    distances = (scene.unit_from_cam[:, :3, 3]).norm(dim=1) * scene.mm_from_unit[0, 0]
    assert float(distances.max()) > 1.3 * float(distances.min()) and (scene.unit_from_cam[:, 2, 3] > 0).all()
    assert all(scene.masks.flatten(1).any(dim=1)) and len(h3ds.read_config(tmp_path)["scenes"]["ann"]["tags"]) == 5
    with pytest.raises(ValueError, match="cameras must be one of ring, portraits, not 'film'"):
        synthetic.write_subject(tmp_path, "bea", seed=3, size=32, n_photographs=8, cameras="film")
