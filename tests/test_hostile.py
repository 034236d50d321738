"""Files from strangers: a reader takes them, or says in one sentence which is wrong, and does nothing else."""

import functools
import io
import os
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import test_h3ds
import torch
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from heads import files, mesh
from heads.data import h3ds
from heads.data.truth import load_truth
from heads.posts import results, speed
from heads.study import checkpoints, plan, records

EXAMPLES = int(os.environ.get("HEADS_FUZZ", "100"))  # of each reader; `make faults` wants more
TOKENS = [*b'nan 1e999 -1 9999999999999999999999 \x00 \xff\xfe /../ [ { &a*a \x80 0 1e-320 , : "'.split(), b"\n", b" "]
tried: Counter[str] = Counter()
refused: Counter[str] = Counter()


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole`, cut short, or with bytes changed, put in, taken out or said twice in up to four places; or something else."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=200))
    content = whole
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([0, 1, 2, 8, 100]))
        new = draw(
            st.one_of(
                st.just(b""), st.sampled_from(TOKENS), st.binary(min_size=1, max_size=8), st.just(content[first:][:length] * 2)
            )
        )
        content = content[:first] + new + (b"" if draw(st.integers(0, 9)) == 0 else content[first + length :])
    return content


def checked(name: str, path: Path, read: Callable[[], object]) -> None:
    """Read; an error has to be a sentence that names the file, or its folder."""
    tried[name] += 1
    try:
        read()
    except (ValueError, OSError) as error:
        refused[name] += 1
        said = str(error)
        assert "\n" not in said and len(said) < 1000, said
        assert str(path.parent) in said or path.name in said, said


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "data"
    h3ds.write_scene(folder, "s0", **test_h3ds.parts())
    h3ds.register(folder, "s0", n_views=test_h3ds.VIEWS, view_lists={1: [0], 3: [4, 0, 2]}, tags=["test"])
    return folder


STUDY = b"""
data:
  scans: {notebook: 01_data, kind: h3ds, root: photos, scenes: photos/mine.toml}
  people: {notebook: 01_data, seed: 3, size: 48, photographs: 8}
subjects: [anna, bert]
views: {3: {seeds: [0, 1], fit: {epochs: 20}}}
every: {preset: SMOKE}
seeds: [0]
priors:
  single: {notebook: 02_prior, subject: eve, views: 8, data: people}
  many: {notebook: 06_autodecoder, heads: 4}
methods:
  idr: {notebook: 03_reconstruct, label: IDR}
  baseh3d: {notebook: 03_reconstruct, prior: single, carry: [geometry]}
"""
READERS: dict[str, tuple[str, Callable[[Path, Path], object]]] = {  # file -> what reads it, given the data's folder
    "photograph": ("s0/image/img_0002.jpg", lambda root, path: h3ds.load_scene(root, "s0", 3)),
    "mask": ("s0/mask/mask_0002.png", lambda root, path: h3ds.load_scene(root, "s0", 3)),
    "cameras": ("s0/cameras.npz", lambda root, path: h3ds.load_scene(root, "s0", 3)),
    "TOML": ("config.toml", lambda root, path: h3ds.load_scene(root, "s0", 3)),
    "version": ("version.txt", lambda root, path: h3ds.load_scene(root, "s0", 3)),
    "scan": ("s0/full_head.obj", lambda root, path: load_truth(root, "s0")),
    "landmarks": ("s0/landmarks.txt", lambda root, path: load_truth(root, "s0")),
    "region": ("s0/regions/face.txt", lambda root, path: load_truth(root, "s0")),
    "mesh": ("head.ply", lambda root, path: mesh.load(path)),
    "record": ("record.json", lambda root, path: records.read(path)),
    "checkpoint": ("checkpoint.safetensors", lambda root, path: checkpoints.load(path)),
    "table": ("results.csv", lambda root, path: results.read_table(path)),
    "trials": ("trials.csv", lambda root, path: results.read_trials(path)),
    "benchmark": ("results/bench.csv", lambda root, path: speed.read(root)),
    "study": ("config/mine.yaml", lambda root, path: plan.read(path)),
}


@pytest.fixture(scope="module")
def whole(root: Path) -> dict[str, bytes]:
    """What stands in each file when all is well."""
    (root / "config").mkdir()
    (root / "results").mkdir()
    mesh.save(trimesh.creation.icosphere(subdivisions=1), root / "head.ply")
    records.write(root / "record.json", records.Record("03_reconstruct", files=["a"], losses={"rgb": 0.5}))
    tensors = {"geometry.weight": torch.arange(6.0).view(2, 3), "moments.step": torch.tensor(3)}
    checkpoints.save(root / "checkpoint.safetensors", tensors, {"name": "a", "epoch": 3, "shape": {"width": 8}})
    row = dict.fromkeys((*results.REQUIRED, "face_rigid_mm", "seconds"), "0.5") | {
        "status": "ok",
        "subject": "anna",
        "views": "3",
    }
    files.write_table(root / "results.csv", pd.DataFrame([row, row]))
    trial = dict.fromkeys(results.TRIALS, "0.5") | {"subject": "anna", "prior": "one", "views": "3"}
    files.write_table(root / "trials.csv", pd.DataFrame([trial, trial]))
    files.write_table(root / "results" / "bench.csv", pd.DataFrame([dict.fromkeys(speed.COLUMNS, "1.5")]))
    (root / "config" / "mine.yaml").write_bytes(STUDY)
    found = {name: (root / place).read_bytes() for name, (place, _) in READERS.items()}
    for name, (place, read) in READERS.items():
        read(root, root / place)
        assert found[name]
    return found


# ---- what somebody means badly


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.sentinel), "w"))


def zipped(members: dict[str, bytes], link: str = "") -> bytes:
    """A zip of these members; `link` is one that is a symbolic link."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if name == link else 0o644) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


@functools.cache
def picture(width: int, height: int) -> bytes:
    """A black PNG of so many pixels, in few bytes."""
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()


def pickled(sentinel: Path) -> bytes:
    out = io.BytesIO()
    torch.save({"geometry.weight": Trap(sentinel)}, out)
    return out.getvalue()


def cameras(sentinel: Path) -> bytes:
    out = io.BytesIO()
    np.savez(out, allow_pickle=True, world_mat_2=np.array([Trap(sentinel)], dtype=object))
    return out.getvalue()


def large_camera() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, scale_mat_0=np.eye(4), **{f"world_mat_{i}": np.ones((1000, 1000), np.int8) for i in range(5)})
    return out.getvalue()


def word_camera() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, scale_mat_0=np.eye(4), **{f"world_mat_{i}": np.array("x" * 100_000) for i in range(5)})
    return out.getvalue()


def with_line(content: bytes, line: bytes) -> bytes:
    return content + b"\n" + line + b"\n"


def claims(rows: int, kind: str = "<f8") -> bytes:
    """An array that says it is long, and has nothing in it."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": (rows, 4)})
    return out.getvalue()


HEADER = (
    "ply\nformat binary_little_endian 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
)
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD: dict[str, tuple[str, Callable[[bytes, Path], bytes], str]] = {  # what -> reader, content (of the whole file), what is said
    "a photograph of 400 megapixels": ("photograph", lambda was, trap: picture(20000, 20000), "400000000 pixels"),
    "a mask of 400 megapixels": ("mask", lambda was, trap: picture(20000, 20000), "400000000 pixels"),
    "a photograph that is a web page": ("photograph", lambda was, trap: b"<!DOCTYPE html><html>", "not a picture"),
    "a photograph cut short": ("photograph", lambda was, trap: was[: len(was) // 2], "not a picture"),
    "a photograph that is a program (EPS)": (
        "photograph",
        lambda was, trap: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
        "not a picture that can be read (scene s0): cannot identify",
    ),
    "an empty photograph": ("photograph", lambda was, trap: b"", "not a picture"),
    "cameras with a pickle": ("cameras", lambda was, trap: cameras(trap), "cameras of scene s0 cannot be read"),
    "cameras cut short": ("cameras", lambda was, trap: was[:300], "cameras of scene s0 cannot be read"),
    "cameras that unpack to 100 MB": ("cameras", lambda was, trap: zipped({"world_mat_0.npy": bytes(10**8)}), "more than 16 MB"),
    "cameras that unpack to 100 MB, 10 MB each": (
        "cameras",
        lambda was, trap: zipped({f"world_mat_{i}.npy": bytes(10**7) for i in range(10)}),
        "more than 16 MB",
    ),
    "a camera of one long word": ("cameras", lambda was, trap: word_camera(), "not a finite 4x4 matrix: an array of kind U"),
    "a camera of 1000 x 1000 numbers": ("cameras", lambda was, trap: large_camera(), "not a finite 4x4 matrix: 1000 x 1000"),
    "a camera that says it has 10^12 rows": (
        "cameras",
        lambda was, trap: zipped({"world_mat_2.npy": claims(10**12)}),
        "cannot be",
    ),
    "a camera of text": (
        "cameras",
        lambda was, trap: zipped({"world_mat_2.npy": claims(1, "<U9") + bytes(144)}),
        "s0 has no scale_mat_0",
    ),
    "a TOML of 20 MB": ("TOML", lambda was, trap: was + b"#" * 20_000_000, "larger than 16 MB"),
    "a TOML nested 10,000 deep": ("TOML", lambda was, trap: b"a = " + b"[" * 10_000, "not a TOML"),
    "a TOML in another encoding": ("TOML", lambda was, trap: "Å = 1".encode("utf-16"), "text in UTF-8 was expected"),
    "a TOML whose views are words": (
        "TOML",
        lambda was, trap: was.replace(b"views = 5", b'views = "five"'),
        "not the number of its",
    ),
    "a TOML that asks for picture -1": (
        "TOML",
        lambda was, trap: was.replace(b"[4, 0, 2]", b"[4, 0, -1]"),
        "there is no picture -1",
    ),
    "a version of 20 MB": ("version", lambda was, trap: b"1" * 20_000_000, "larger than 16 MB"),
    "a scan with vertex 10^40": ("scan", lambda was, trap: with_line(was, b"f 1 2 " + b"9" * 40), "cannot be read"),
    "a scan with vertex -1": ("scan", lambda was, trap: with_line(was, b"f 1 2 -1"), "a vertex that does not exist"),
    "a scan of NaN": ("scan", lambda was, trap: with_line(was, b"v nan nan nan"), "not finite"),
    "a scan of bytes": ("scan", lambda was, trap: bytes(range(256)) * 40, "0 vertices and 0 faces"),
    "a landmark at vertex 10^40": ("landmarks", lambda was, trap: b"nose " + b"9" * 40, "does not exist"),
    "a region at vertex 10^40": ("region", lambda was, trap: b"9" * 40, "one vertex number a line"),
    "a mesh that says it has 10^12 vertices": ("mesh", lambda was, trap: HEADER.format(10**12).encode() + bytes(120), "head.ply"),
    "a mesh without faces": ("mesh", lambda was, trap: HEADER.format(3).encode() + bytes(36), "head.ply"),
    "a checkpoint that is a pickle": ("checkpoint", lambda was, trap: pickled(trap), "not a checkpoint"),
    "a checkpoint with a header of 10^18 bytes": (
        "checkpoint",
        lambda was, trap: (10**18).to_bytes(8, "little") + was[8:],
        "not a checkpoint",
    ),
    "a checkpoint cut short": ("checkpoint", lambda was, trap: was[:-1], "not a checkpoint"),
    "a record nested 100,000 deep": ("record", lambda was, trap: b'{"files": ' + b"[" * 100_000, "not a record"),
    "a record with a score that is a word": (
        "record",
        lambda was, trap: was.replace(b'"scores": {}', b'"scores": {"face_rigid_mm": "good"}'),
        "'good' is not a number",
    ),
    "a record whose files are numbers": ("record", lambda was, trap: was.replace(b'"a"', b"7"), "not a record"),
    "a record of another program": ("record", lambda was, trap: b'{"loss": 0.1}', "not a record"),
    "a table of words": ("table", lambda was, trap: was.replace(b"0.5", b"high"), "values that are not numbers"),
    "a table that is a photograph": ("table", lambda was, trap: picture(9, 9), "the table of a study was expected"),
    "a study that runs a command": (
        "study",
        lambda was, trap: was.replace(b"SMOKE", f"!!python/object/apply:os.system ['touch {trap}']".encode()),
        "every: preset: ['touch ",
    ),
    "a study that laughs a billion times": ("study", lambda was, trap: LAUGHS.encode() + was, "aliases (*) are not allowed"),
    "a study nested 10,000 deep": ("study", lambda was, trap: was.replace(b"SMOKE", b"[" * 10_000), "cannot be read"),
    "a study with a truth that is none": (
        "study",
        lambda was, trap: was.replace(b"SMOKE", b"!!bool x"),
        "preset: 'x' is not known",
    ),
    "a study with a number that is none": (
        "study",
        lambda was, trap: was.replace(b"SMOKE", b"!!int ''"),
        "preset: '' is not known",
    ),
    "a study with a date that is none": (
        "study",
        lambda was, trap: was.replace(b"SMOKE", b"2001-99-99"),
        "preset: '2001-99-99' is not known",
    ),
    "a study of 20 MB": ("study", lambda was, trap: was + b"#" * 20_000_000, "larger than 16 MB"),
    "a study of ../../anna": (
        "study",
        lambda was, trap: was.replace(b"[anna,", b"[../../anna,"),
        "'../../anna' is not a valid name",
    ),
    "a prior called /etc/passwd": (
        "study",
        lambda was, trap: was.replace(b"single:", b"/etc/passwd:"),
        "'/etc/passwd' is not a valid name",
    ),
    "a study with views: .nan": ("study", lambda was, trap: was.replace(b"{3:", b"{.nan:"), "a whole number"),
    "a zip with ../": ("zip", lambda was, trap: zipped({f"../{trap.name}": b"x"}), "would leave the folder"),
    "a zip with an absolute path": ("zip", lambda was, trap: zipped({str(trap): b"x"}), "would leave the folder"),
    "a zip with a path of Windows": ("zip", lambda was, trap: zipped({"C:\\x": b"x"}), "would leave the folder"),
    "a zip with a symbolic link": (
        "zip",
        lambda was, trap: zipped({"s": b"/etc", "s/x": b"x"}, link="s"),
        "would leave the folder",
    ),
    "a zip cut short": ("zip", lambda was, trap: zipped({"s0/a": bytes(999)})[:-30], "not a zip"),
    "a zip that unpacks to 10^15 bytes": (
        "zip",
        lambda was, trap: swollen(zipped({"s0/a": bytes(999)})),
        "unpacks to 1000000 GB",
    ),
}


def swollen(archive: bytes) -> bytes:
    """A zip whose one member says in the zip's table that it has 10^15 bytes, as Zip64 has it."""
    found = bytearray(archive)
    at = found.index(b"PK\x01\x02")
    name = int.from_bytes(found[at + 28 : at + 30], "little")
    extra = (1).to_bytes(2, "little") + (8).to_bytes(2, "little") + (10**15).to_bytes(8, "little")
    found[at + 24 : at + 28] = b"\xff" * 4
    found[at + 30 : at + 32] = len(extra).to_bytes(2, "little")
    found[at + 46 + name : at + 46 + name] = extra
    end = found.index(b"PK\x05\x06")
    found[end + 12 : end + 16] = (int.from_bytes(found[end + 12 : end + 16], "little") + len(extra)).to_bytes(4, "little")
    return bytes(found)


def test_what_is_meant_badly_is_refused_in_a_sentence_and_nothing_comes_of_it(
    root: Path, whole: dict[str, bytes], record_property: Callable[[str, object], None]
) -> None:
    said: dict[str, str] = {}
    for what, (name, content, sentence) in BAD.items():
        place, read = READERS.get(name, ("data.zip", lambda root, path: h3ds._unzip(path, root / "unpacked", "token")))
        trap = root.parent / "sprung"
        (root / place).write_bytes(content(whole.get(name, b""), trap))
        before = sorted(root.parent.rglob("*"))
        with pytest.raises((ValueError, OSError)) as caught:
            read(root, root / place)
        said[what] = str(caught.value).replace(f"{root}/", "")
        assert sentence in said[what] and "\n" not in said[what] and len(said[what]) < 600, (what, said[what])
        assert sorted(root.parent.rglob("*")) == before and not trap.exists(), what
        if name in whole:
            (root / place).write_bytes(whole[name])
        else:
            (root / place).unlink()
    width = max(map(len, said))
    record_property("said", "\n".join(f"{what:<{width}}  {sentence}" for what, sentence in said.items()))


# ---- what nobody means


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_named_in_one_sentence(name: str, root: Path, whole: dict[str, bytes]) -> None:
    place, read = READERS[name]

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(damaged(whole[name]))
    def each(content: bytes) -> None:
        (root / place).write_bytes(content)
        checked(name, root / place, lambda: read(root, root / place))

    try:
        each()
    finally:
        (root / place).write_bytes(whole[name])


def test_how_many_inputs_were_tried(record_property: Callable[[str, object], None]) -> None:
    assert set(tried) == set(READERS), "run the whole file"
    rows = [f"  {name:<12}{tried[name]:>6}{refused[name]:>6}" for name in READERS]
    total = f"{tried.total()} damaged files tried, {refused.total()} refused, each in a sentence; the others can still be read"
    record_property("said", "\n".join([total, *rows]))
