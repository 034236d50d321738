"""The folders of NPHM's data set: ours, and one in the original's form, with numbers for names and FLAME's throat."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import trimesh

from heads import mesh
from heads.data import crowd, expressions, nphm
from heads.data.crowd import MM_PER_UNIT
from heads.data.expressions import Talker, recipe


@pytest.fixture(scope="module")
def talker() -> Talker:
    return expressions.talker("una", 7, {name: recipe(name) for name in ("smile", "kiss")})


@pytest.fixture
def ours(talker: Talker, tmp_path: Path) -> Path:
    front = {name: expressions.observe(talker.mesh(name), 300, azimuth=0) for name in ("", "smile", "kiss")}
    nphm.write(tmp_path, talker, front, {"": expressions.observe(talker.mesh(), 200, azimuth=180)})
    return tmp_path


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A subject 017 of four scans, the second of them neutral, of which FLAME's and the registered meshes are spheres."""
    ball = trimesh.creation.icosphere(5, 0.4)
    for number in range(4):
        folder = tmp_path / "dataset" / "017" / f"{number:03d}"
        folder.mkdir(parents=True)
        scan = ball.copy()
        scan.vertices += [0, 0.01 * number, 0]
        for name in ("scan", "registration", "flame"):
            mesh.save(scan, folder / f"{name}.ply")
        view = tmp_path / "single_view" / "017" / str(number)
        view.mkdir(parents=True)
        np.save(view / "obs.npy", scan.vertices[scan.vertices[:, 2] > 0.1])
        if number == 1:
            np.save(view / "obs_back.npy", scan.vertices[scan.vertices[:, 2] < -0.1])
    (tmp_path / "dataset" / "neutrals_open.json").write_text(json.dumps({"17": 1, "18": -1, "19": 0}))
    np.save(tmp_path / "dataset" / "anchors.npy", np.arange(39) * 7)
    np.save(tmp_path / "dataset" / "face.npy", np.flatnonzero(ball.vertices[:, 2] > 0.1))
    return tmp_path


def test_what_is_written_is_read_again(ours: Path, talker: Talker) -> None:
    one = nphm.subject(ours, "una")
    assert one.neutral == 0 and one.expressions == {1: "smile", 2: "kiss"}
    for number, expression in enumerate(("", "smile", "kiss")):
        whole, seen = talker.mesh(expression), expressions.topology().seen  # of the scan, what can be seen
        assert np.allclose(one.registration(number).vertices, whole.vertices, atol=1e-4)
        assert np.allclose(one.scan(number).triangles, whole.triangles[seen], atol=1e-4) and not seen.all()
        assert np.array_equal(one.registration(number).faces, expressions.topology().faces)
    assert np.allclose(one.anchors_mm(0), talker.neutral_mm[expressions.topology().anchors], atol=1e-4)
    assert one.observed_mm(0)[:, 2].min() < -60 < one.observed_mm(1)[:, 2].min()  # from behind too, and not
    assert len(one.observed_mm(1)) <= 300 and mesh.above(one.observed_mm(1), one.throat_mm(1)).all()
    vertices, normals = one.face(1)
    assert len(vertices) == expressions.topology().front.sum() and np.allclose(np.linalg.norm(normals, axis=1), 1)
    assert {path.name for path in one.files()} >= {"anchors.npy", "scan.ply", "obs.npy", "obs_back.npy", "expressions.json"}


def test_a_person_who_is_written_anew_keeps_nothing_of_before(ours: Path) -> None:
    other = expressions.talker("una", 8, {"frown": recipe("frown")})
    nphm.write(ours, other, {"": expressions.observe(other.mesh(), 300, azimuth=0)}, {})
    one = nphm.subject(ours, "una")
    assert one.expressions == {1: "frown"} and not (ours / "dataset" / "una" / "002").exists()
    assert {path.name for path in one.files()} == {
        "expressions.json", "anchors.npy", "face.npy", "throat.npy", "scan.ply", "registration.ply", "obs.npy"
    }  # fmt: skip


def test_a_data_set_is_written_as_shards_to_learn_from(original: Path, tmp_path: Path) -> None:
    (original / "dataset" / "018").mkdir()  # somebody without a neutral scan
    with pytest.raises(ValueError, match="018: it has no neutral scan"):
        nphm.subject(original, "018")
    people = nphm.subjects(original)
    assert [one.name for one in people] == ["017"]
    nphm.write_crowd(tmp_path / "crowd", people, 5)
    many, generator = crowd.read(tmp_path / "crowd"), torch.Generator().manual_seed(0)
    assert len(many) == 1 and many.expressions == 5 and many.anchors.shape == (1, 39, 3)
    points, normals = many.surface(0, 500, face=True, generator=generator)
    middle = torch.tensor([0, 0.01, 0])
    assert torch.allclose((points - middle).norm(dim=1), torch.tensor(0.4), atol=2e-3) and points[:, 2].min() > 0.05
    assert torch.allclose(normals, (points - middle) / 0.4, atol=0.05)
    assert many.surface(0, 500, face=False, generator=generator)[0][:, 2].max() < 0.1
    assert many.still(0, 500, generator)[:, 2].max() < 0.0
    for expression, up in enumerate((-0.01, 0.01, 0.02, -0.01, 0.01)):  # three there are, and then again
        neutral, moved = many.correspondences([(0, expression)], 50, (0.002,), generator)
        assert torch.allclose(moved - neutral, torch.tensor([0, up, 0]).expand(1, 50, 3), atol=1e-4)


def test_shards_are_made_anew_when_the_data_set_has_changed(original: Path, tmp_path: Path) -> None:
    nphm.write_crowd(tmp_path, nphm.subjects(original), 2)
    (before,) = (path.stat().st_mtime_ns for path in tmp_path.glob("people-*"))
    nphm.write_crowd(tmp_path, nphm.subjects(original), 2)
    assert [path.stat().st_mtime_ns for path in tmp_path.glob("people-*")] == [before]
    np.save(original / "dataset" / "anchors.npy", np.arange(39) * 9)
    nphm.write_crowd(tmp_path, nphm.subjects(original), 2)
    assert [path.stat().st_mtime_ns for path in tmp_path.glob("people-*")] != [before]


def test_people_with_other_triangles_are_refused_and_so_are_shards_of_another_version(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original / "dataset" / "017", original / "dataset" / "020")
    (original / "dataset" / "neutrals_open.json").write_text(json.dumps({"17": 1, "20": 1}))
    for number in range(4):
        mesh.save(trimesh.creation.icosphere(4, 0.4), original / "dataset" / "020" / f"{number:03d}" / "registration.ply")
    np.save(original / "dataset" / "face.npy", np.flatnonzero(trimesh.creation.icosphere(4).vertices[:, 2] > 0.3))
    with pytest.raises(ValueError, match="person 1 has other triangles than the first; expected registered meshes"):
        nphm.write_crowd(tmp_path / "crowd", nphm.subjects(original), 2)
    nphm.write_crowd(tmp_path / "crowd", nphm.subjects(original, ["020"]), 2)
    (path,) = (tmp_path / "crowd").glob("people-*")
    old = {name: value for name, value in safetensors.torch.load_file(path).items() if name != "still"}
    safetensors.torch.save_file(old, path)
    with pytest.raises(ValueError, match="a shard of another version, or of other people than the first"):
        crowd.read(tmp_path / "crowd")


def test_people_of_a_data_set_who_cannot_be_learned_are_refused_or_left_out(original: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'019', who is to be left out, is not there"):
        nphm.subjects(original, ["019"])
    with pytest.raises(ValueError, match="nobody in its folder dataset has a neutral scan and an expression"):
        nphm.subjects(original, ["017"])
    (original / "dataset" / "017" / "003" / "registration.ply").unlink()
    (one,) = nphm.subjects(original)
    assert list(one.expressions) == [0, 2]
    far = mesh.load(original / "dataset" / "017" / "001" / "registration.ply")
    far.vertices[:, 2] += 3
    mesh.save(far, original / "dataset" / "017" / "001" / "registration.ply")
    with pytest.raises(ValueError, match="017: the scan has nothing above the throat that belongs to the face"):
        nphm.write_crowd(tmp_path / "crowd", [one], 2)


def test_the_originals_layout_is_read(original: Path) -> None:
    one = nphm.subject(original, "017")
    assert one.neutral == 1 and one.expressions == {0: "0", 2: "2", 3: "3"}
    flame = mesh.load(original / "dataset" / "017" / "002" / "flame.ply")
    assert np.allclose(one.throat_mm(2), flame.vertices[[3276, 3207, 3310]] * MM_PER_UNIT)
    assert len(one.anchors_mm(1)) == 39 and len(one.dense_mm(1, 500)) <= 500
    assert np.allclose(np.linalg.norm(one.scan(0).vertices, axis=1), 100)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "018",
            lambda root: (root / "018").mkdir(),
            r"018: it has no neutral scan: neutrals_open\.json says -1, and its scans are \[\]",
        ),
        ("020", lambda root: (root / "020").mkdir(), r"neutrals_open\.json says -1"),
        ("021", lambda root: None, "there is no such subject"),
        ("017", lambda root: (root / "neutrals_open.json").unlink(), r"neutrals_open\.json: there is no such file"),
        ("017", lambda root: (root / "neutrals_open.json").write_text("[1"), r"neutrals_open\.json: not valid JSON"),
        ("017", lambda root: (root / "anchors.npy").write_bytes(b"x"), r"anchors\.npy: cannot be read as an array"),
        ("017", lambda root: np.save(root / "anchors.npy", [[1]]), r"anchors\.npy: expected finite numbers \(N\), .* \(1, 1\)"),
        ("017", lambda root: np.save(root / "anchors.npy", [0, 99999]), r"anchors\.npy: .* vertices, found 0 to 99999"),
        ("017", lambda root: (root / "017" / "001" / "flame.ply").unlink(), r"flame\.ply: there is no such mesh"),
        (
            "017",
            lambda root: mesh.save(trimesh.creation.icosphere(1, 100.0), root / "017" / "001" / "registration.ply"),
            r"registration\.ply: a head of .* units; expected one to two, a unit of 250 mm",
        ),
        (
            "017",
            lambda root: mesh.save(trimesh.creation.icosphere(2, 0.1), root / "017" / "001" / "registration.ply"),  # in metres
            r"registration\.ply: a head of 0\.346 units; expected one to two, a unit of 250 mm",
        ),
        (
            "017",
            lambda root: np.save(
                root.parent / "single_view" / "017" / "1" / "obs.npy", np.random.default_rng(0).random((90, 3)) * 0.1
            ),
            r"obs\.npy: a head of 0\.\d+ units",
        ),
        (
            "017",
            lambda root: np.save(root.parent / "single_view" / "017" / "1" / "obs.npy", [[np.nan, 0, 0]]),
            r"obs\.npy: expected finite numbers \(N, 3\)",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_files_name(
    original: Path, name: str, change: Callable[[Path], object], said: str
) -> None:
    change(original / "dataset")
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        one = nphm.subject(original, name)
        one.anchors_mm(1)
        one.observed_mm(1)
