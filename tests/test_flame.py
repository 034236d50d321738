"""FLAME's files as a morphable head: made up in their forms, read, and refused in a sentence."""

import os
import pickle
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import scipy.sparse

from heads.data import flame
from heads.morphable import Morphable

COLUMNS, ROWS = 8, 5
COUNT = COLUMNS * ROWS


class Ch:
    """Pickles as an array of chumpy's does."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self._dirty_vars = x, {"x"}


def pickled(said: dict[str, Any], protocol: int) -> bytes:
    """A model whose shapedirs are chumpy's, which is gone afterwards."""
    module = types.ModuleType("chumpy.ch")
    module.Ch = Ch  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, {"chumpy": types.ModuleType("chumpy"), "chumpy.ch": module}):
        Ch.__module__ = "chumpy.ch"
        return pickle.dumps(said | {"shapedirs": Ch(said["shapedirs"])}, protocol)


def model() -> dict[str, Any]:
    """A sheet of vertices in metres, with two triangles in each of its cells."""
    rng = np.random.default_rng(0)
    row, column = (axis.ravel() for axis in np.mgrid[:ROWS, :COLUMNS])
    corner = (np.arange(ROWS - 1)[:, None] * COLUMNS + np.arange(COLUMNS - 1)).ravel()
    halves = [corner, corner + 1, corner + COLUMNS], [corner + 1, corner + COLUMNS + 1, corner + COLUMNS]
    return {
        "v_template": np.stack([column, row, 0 * row], axis=1) / 100,
        "f": np.concatenate([np.stack(half, axis=1) for half in halves]).astype(np.uint32),
        "shapedirs": rng.normal(size=(COUNT, 3, 400)) / 1000,
        "J_regressor": scipy.sparse.csc_matrix(np.eye(5, COUNT)),
        "kintree_table": np.zeros((2, 5), dtype=np.uint32),
        "bs_style": "lbs",
    }


def embedding() -> dict[str, Any]:
    return {"lmk_face_idx": np.arange(51, dtype=np.uint32), "lmk_b_coords": np.tile([0.5, 0.3, 0.2], (51, 1))}


def obj(said: dict[str, Any]) -> str:
    """The template, whose vertex 0 is on a seam: its last face has other texture coordinates for it."""
    lines = [f"v {x} {y} {z}" for x, y, z in said["v_template"]]
    lines += [f"vt {(COUNT - 1 - number) / COUNT} {number / COUNT}" for number in range(COUNT)] + ["vt 1.0 1.0"]
    faces = [[f"{vertex + 1}/{COUNT - vertex}" for vertex in face] for face in said["f"].astype(int)]
    return "\n".join(lines + ["f " + " ".join(face) for face in [*faces, [f"1/{COUNT + 1}", "2/39", "3/38"]]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "generic_model.pkl").write_bytes(pickled(model(), protocol=2))
    (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps(embedding(), protocol=2))
    regions = {"face": np.array([9, 8, 10]), "left_eyeball": np.array([20]), "scalp": np.array([1])}
    (tmp_path / "FLAME_masks.pkl").write_bytes(pickle.dumps(regions, protocol=2))
    (tmp_path / "head_template.obj").write_text(obj(model()))
    return tmp_path


def check(read: Morphable) -> None:
    said = model()
    assert read.directions_mm.shape == (300, COUNT, 3) and read.directions_mm.flags.c_contiguous
    code = np.zeros(300)
    code[7] = -2
    origin = 1000 * said["v_template"] - read.mean_mm
    assert np.ptp(origin, axis=0).max() < 1e-4
    expected_mm = 1000 * (said["v_template"] - 2 * said["shapedirs"][:, :, 7]) - origin
    assert np.allclose(read.vertices_mm(code), expected_mm, atol=1e-4)
    eyes = read.landmarks_mm(read.mean_mm)[[index for index, name in enumerate(read.names) if "eye " in name]]
    assert np.allclose(eyes.mean(axis=0)[:2], 0, atol=1e-4) and abs(read.mean_mm[:, 2].min() + read.mean_mm[:, 2].max()) < 1e-3
    where = read.landmarks_mm(read.mean_mm)
    assert read.names[0] == "right brow 1" and read.names[-1] == "mouth 20" and where.shape == (51, 3)
    corners_mm = 1000 * said["v_template"][said["f"][3].astype(int)] - origin[0]
    assert np.allclose(where[3], 0.5 * corners_mm[0] + 0.3 * corners_mm[1] + 0.2 * corners_mm[2], atol=1e-4)
    assert read.face.tolist() == [8, 9, 10, 20]
    vertices = np.arange(COUNT)
    assert np.allclose(read.uv, np.stack([vertices, COUNT - 1 - vertices], axis=1) / COUNT)


def test_names_are_those_of_ibug() -> None:
    assert len(flame.NAMES) == 68
    places = {0: "jaw 1", 8: "jaw 9", 17: "right brow 1", 22: "left brow 1", 30: "nose 4", 36: "right eye 1", 45: "left eye 4"}
    assert {number: flame.NAMES[number] for number in places} == places and flame.NAMES[54] == "mouth 7"


def test_a_model_with_chumpys_arrays_is_read_without_chumpy(folder: Path) -> None:
    check(flame.read(folder))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("old", [True, False])
def test_pickles_of_any_python_are_read(folder: Path, protocol: int, old: bool) -> None:
    data = pickled(model(), protocol)
    if old and protocol < 4:  # names as numpy 1 and SciPy 1.0 wrote them, lines in these protocols
        data = data.replace(b"numpy._core.", b"numpy.core.").replace(b"scipy.sparse._csc\n", b"scipy.sparse.csc\n")
        data = data.replace(b"copyreg\n", b"copy_reg\n").replace(b"cbuiltins\n", b"c__builtin__\n")
    (folder / "flame2023.pkl").write_bytes(data)  # which goes before the other
    (folder / "generic_model.pkl").write_bytes(b"")
    check(flame.read(folder))


def test_the_seeds_vertices_go_before_the_regions(folder: Path) -> None:
    np.save(folder / "FLAME_mask_vertexID.npy", np.array([3, 2, 39]))
    assert flame.read(folder).face.tolist() == [2, 3, 39]


class _Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("echo it ran",)


@pytest.mark.parametrize(
    "what", [_Evil(), {"f": [_Evil()]}, {"f": np.array([_Evil()])}, flame.SHAPES.bit_length, re.compile("x")]
)
def test_only_arrays_are_unpickled(folder: Path, what: object, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "generic_model.pkl").write_bytes(pickle.dumps(what))
    with pytest.raises(ValueError, match=r"generic_model.pkl: not a pickle .* asks for \w+(\.\w+)+; only arrays are read"):
        flame.read(folder)
    assert "it ran" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("generic_model.pkl", {"f": None}, "it has no f, which FLAME's has"),
        ("generic_model.pkl", {"v_template": np.zeros((40, 2))}, "v_template is 40 x 2; expected N x 3 finite numbers"),
        ("generic_model.pkl", {"v_template": np.full((40, 3), np.nan)}, "v_template is 40 x 3; expected N x 3 finite numbers"),
        ("generic_model.pkl", {"v_template": "here"}, "v_template is not an array of numbers"),
        ("generic_model.pkl", {"v_template": 1.0}, "v_template is one number; expected N x 3"),
        ("generic_model.pkl", {"shapedirs": np.zeros((40, 3, 150))}, "has 150 directions; FLAME's first 300 are shapes"),
        ("generic_model.pkl", {"f": np.array([[0, 1, 40]])}, "f goes from 0 to 40; expected whole numbers below 40"),
        ("flame_static_embedding.pkl", {"lmk_face_idx": np.zeros(68)}, "lmk_face_idx is 68; expected 51 finite numbers"),
        ("flame_static_embedding.pkl", {"lmk_face_idx": np.full(51, 0.5)}, "lmk_face_idx goes from 0.5 to 0.5"),
        ("FLAME_masks.pkl", {"face": None}, "it has no face, which FLAME's has"),
        ("FLAME_masks.pkl", {"face": np.array([-1])}, "face goes from -1 to -1; expected whole numbers below 40"),
    ],
)
def test_a_wrong_entry_is_named(folder: Path, file: str, change: dict[str, object], said: str) -> None:
    before = {"generic_model.pkl": model(), "flame_static_embedding.pkl": embedding(), "FLAME_masks.pkl": {}}[file] | change
    (folder / file).write_bytes(pickle.dumps({key: value for key, value in before.items() if value is not None}))
    with pytest.raises(ValueError, match=f"{file}: .*{re.escape(said)}"):
        flame.read(folder)


@pytest.mark.parametrize(
    ("file", "data", "said"),
    [
        ("generic_model.pkl", b"", "not a pickle of FLAME that can be read"),
        ("generic_model.pkl", pickle.dumps([1]), r"expected a table of arrays, not \[1\]"),
        ("FLAME_mask_vertexID.npy", b"no array", "cannot be read as an array"),
        ("FLAME_mask_vertexID.npy", None, "it goes from 0 to 40; expected whole numbers below 40"),
        ("head_template.obj", b"v 0 0 0\nf 1 2 3\n", "gives 0 vertices texture coordinates; the model has 40 vertices"),
        ("head_template.obj", b"vt here 0\n", "cannot be read as an OBJ"),
        ("head_template.obj", "f 1/42 2/1 3/1", "a face names texture coordinates 42; there are 41"),
        ("head_template.obj", "vt 0 -0.5", "texture coordinates from -0.5 to 0.9"),
    ],
)
def test_a_wrong_file_is_named(folder: Path, file: str, data: bytes | str | None, said: str) -> None:
    if data is None:
        np.save(folder / file, np.array([0, 40]))
    elif isinstance(data, str):  # goes before what is there
        (folder / file).write_text(data + "\n" + (folder / file).read_text())
    else:
        (folder / file).write_bytes(data)
    with pytest.raises(ValueError, match=said) as error:
        flame.read(folder)
    assert str(folder / file) in str(error.value)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("generic_model.pkl", "it has no flame2023.pkl or generic_model.pkl; those who accept FLAME's licence get it"),
        ("flame_static_embedding.pkl", "it has no flame_static_embedding.pkl;"),
        ("FLAME_masks.pkl", "it has no FLAME_mask_vertexID.npy or FLAME_masks.pkl;"),
        ("head_template.obj", "it has no head_template.obj or head_template_mesh.obj;"),
    ],
)
def test_a_missing_file_is_named(folder: Path, file: str, said: str) -> None:
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=said):
        flame.read(folder)
    with pytest.raises(FileNotFoundError, match=r"nothing.pkl: no such file"):
        flame.unpickled(folder / "nothing.pkl")
