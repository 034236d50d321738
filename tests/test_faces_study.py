"""Faces of single photographs as a study: portraits, a localiser, models, faces, scores, tables; and faces of a folder."""

from pathlib import Path

import copies
import numpy as np
import pandas as pd
import pytest
import trimesh
from PIL import Image

from heads import template
from heads.methods.pixel2mesh import learn, locate, model, predict
from heads.posts import portraits, results
from heads.posts.results import Results

STUDY = """
data:
  portraits: {notebook: 01_data, seed: 7, size: 64, photographs: 8, cameras: portraits, views: 1}
  studio: {notebook: 01_data, seed: 7, size: 48, photographs: 8}
subjects: [ada]
views: [1, 3]
every: {preset: SMOKE}
evaluate: {notebook: 22_evaluate_faces}
table: {notebook: 24_faces_results}
priors:
  people: {notebook: 18_portraits, people: 9, photographs: 2, size: 64, seed: 3}
  others: {notebook: 18_portraits, people: 2, photographs: 2, size: 64, seed: 4}
  localiser: {notebook: 19_localiser, priors: [people, others], unseen: 1}
  mean: {notebook: 20_pixel2mesh, priors: [people, others], prior: localiser, kind: mean}
  published: {notebook: 20_pixel2mesh, priors: [people, others], prior: localiser, kind: published}
  registered: {notebook: 20_pixel2mesh, priors: [people, others], prior: localiser, kind: registered}
  components: {notebook: 20_pixel2mesh, priors: [people, others], prior: localiser, kind: components}
methods:
  mean: {notebook: 21_face, label: mean face, prior: mean, views: [1], given: middle}
  published: {notebook: 21_face, label: Pixel2Mesh, against: [mean], prior: published, views: [1], given: middle}
  registered: {notebook: 21_face, label: registered, against: [mean], prior: registered, views: [1], given: middle}
  oracle: {notebook: 21_face, label: oracle, prior: components, views: [1], given: scan}
  idr: {notebook: 03_reconstruct, label: IDR, data: studio, fit: {epochs: 20}}
"""


def test_a_study_of_faces_ends_in_tables_of_faces_and_of_heads(repository: Path) -> None:
    done, ran = copies.again(repository, STUDY)
    found = results.read_table(repository / "results" / "mine.csv")
    assert found["status"].tolist() == ["ok"] * 6, (found["reason"].tolist(), done.stderr[-2000:])
    assert {"prior/people", "prior/others", "prior/localiser", "prior/registered", "fit/ada.oracle.components.v1"} <= ran
    faces = found[found["method"] != "idr"].set_index("method")
    assert np.isfinite(faces[["face_rigid_mm", "aligned_cd", "aligned_f1_tau", "aligned_nme_eyes", "cd"]].to_numpy()).all()
    assert faces["face_rigid_mm"].idxmin() == "oracle" and faces["face_rigid_mm"].max() < 30
    assert {"faces.png", "people_portraits.png", "localiser_found.png"} <= {
        path.name for path in (repository / "figures" / "mine").iterdir()
    }
    groups = pd.read_csv(repository / "results" / "mine_people.csv")
    assert groups["subject"].tolist() == ["ada"] and set(groups.columns) == {"subject", *portraits.GROUPS}
    left = ["-p", "out", "runs/predicted", "-p", "prior", "runs/mine/prior/registered", "-p", "pictures", "runs/none"]
    refused = copies.heads(repository, "run", "notebooks/25_predict.py", "predict.ipynb", *left)
    assert refused.returncode == 1 and "runs/none: no pictures; expected a folder of JPEG or PNG files" in refused.stderr


def pictured(path: Path, size: int = 90) -> Path:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(path)
    return path


class Sure(locate.Locator):
    """A localiser that finds one face, in the middle of what it sees."""

    def forward(self, pictures: "locate.Tensor") -> "locate.Tensor":
        import torch

        cells = self.size // 8
        found = torch.full((len(pictures), 16, cells, cells), -5.0)
        found[:, 0, cells // 2, cells // 2] = 5.0
        found[:, 1:3] = -0.5
        found[:, 3] = float(np.log(cells / 1.5))
        marks = torch.tensor([[-0.2, -0.2], [0.2, -0.2], [0, 0.1], [-0.1, 0.3], [0.1, 0.3], [0, 0]])
        found[:, 4:] = marks.flatten()[None, :, None, None]
        return found


@pytest.fixture(scope="module")
def registered() -> model.Model:
    from dataclasses import replace

    from test_pixel2mesh import FACES

    return model.learned("registered", "one", FACES, replace(learn.PRESETS["registered"]["SMOKE"], steps=2, whole_steps=1))[0]


def test_a_picture_from_anywhere_becomes_a_face_of_usual_size(registered: model.Model, tmp_path: Path) -> None:
    found = predict.predict(registered, Sure(locate.SMOKE), pictured(tmp_path / "a.png"), 50.0)
    assert [len(points) for points in found.levels_mm] == [141, 492, 1824, 7008]
    assert 80 < np.ptp(found.levels_mm[-1], axis=0).max() < 400 and np.abs(found.levels_mm[-1].mean(axis=0)).max() < 150
    steps = predict.deformation(registered, found.levels_mm, 3)
    assert len(steps) == 12 and np.allclose(steps[-1], found.levels_mm[-1])
    assert np.allclose(steps[0], registered.template.at(0) * 100)


def test_the_hole_of_the_template_is_filled_and_its_rim_is_not() -> None:
    half = template.half_sphere()
    for level in (0, 3):
        face = trimesh.Trimesh(half.at(level), half.levels[level].faces, process=False)
        whole = predict.filled(face)
        more = whole.faces[len(face.faces) :]
        assert len(more) == 3 * 2**level and whole.euler_number == 1 and face.euler_number == 0
        normals = whole.face_normals[len(face.faces) :]
        assert ((normals * whole.triangles_center[len(face.faces) :]).sum(axis=1) > 0).all()  # outwards
        assert len(predict.filled(whole).faces) == len(whole.faces)


def test_exif_turns_a_picture_and_says_its_focal_length(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[:10, :10] = 255
    picture, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif.get_ifd(0x8769)[0xA405] = 28
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright, focal_px = predict.read(tmp_path / "a.jpg")
    assert upright.shape == (60, 40, 3) and upright[:8, -8:].mean() > 200
    assert focal_px == pytest.approx(28 / 36 * 60)


def test_what_cannot_be_used_is_named(registered: model.Model, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.new("RGB", (90, 90), (128, 128, 128)).save(tmp_path / "grey.png")
    pictured(tmp_path / "tiny.png", 20)
    said = {
        "broken.png": "not a picture that can be read",
        "grey.png": "every pixel is about the same; expected a photograph",
        "tiny.png": "a picture of 20 x 20 pixels; expected at least 32 a side",
    }
    for name, sentence in said.items():
        with pytest.raises(ValueError, match=sentence) as error:
            predict.predict(registered, Sure(locate.SMOKE), tmp_path / name, 50.0)
        assert str(error.value).startswith(str(tmp_path / name))
    assert [path.name for path in predict.pictures(tmp_path)] == sorted(said)
    with pytest.raises(FileNotFoundError, match=r"nowhere: no pictures; expected a folder of JPEG or PNG files"):
        predict.pictures(tmp_path / "nowhere")


def test_a_glb_is_in_metres(tmp_path: Path) -> None:
    from heads import mesh

    mesh.save_glb(trimesh.creation.box([100.0, 200, 300]), tmp_path / "box.glb")
    assert np.allclose(trimesh.load(tmp_path / "box.glb", force="mesh").extents, [0.1, 0.2, 0.3])


# ---- tables

ABOUT = {
    "methods": {
        "mean": {"label": "mean face", "prior": "mean", "against": []},
        "net": {"label": "network", "prior": "net", "against": ["mean"]},
    },
    "priors": {},
}


def invented() -> Results:
    """Six people, two of a group of women and four of men; the network is better by 0.2, and once told where the face is."""
    rows = []
    for subject in range(6):
        for method, name, error in (("mean", "", 1.5), ("net", "", 1.3), ("net", "middle", 1.2)):
            scores = dict.fromkeys([*portraits.SCORES, *portraits.PLACED], error + 0.1 * (subject < 2))
            row = {"subject": f"{subject}", "method": method, "prior": method, "name": name, "views": 1, "seed": 0}
            rows.append(row | {"status": "ok", "reason": ""} | scores | {"seconds": 1.0})
    return Results("mine", pd.DataFrame(rows), about=ABOUT)


TOLD = {("mean", ""): "photograph", ("net", ""): "photograph", ("net", "middle"): "middle"}
GROUPS = pd.DataFrame({"sex": ["female"] * 2 + ["male"] * 4}, index=pd.Index([f"{i}" for i in range(6)], name="subject"))


def test_each_way_has_a_row_with_its_interval() -> None:
    found = portraits.gather(invented(), portraits.SCORES, TOLD)
    assert found["told"].tolist() == ["photograph", "photograph", "middle"] and found["people"].tolist() == [6] * 3
    assert found["face, mm"].tolist() == pytest.approx([1.533, 1.333, 1.233], abs=1e-3)
    assert (found["from"] <= found["face, mm"]).all() and (found["to"] >= found["face, mm"]).all()


def test_a_method_of_which_every_run_failed_has_a_row_of_nobody_and_no_difference() -> None:
    found = invented()
    failed = found.table["method"] == "net"
    found.table.loc[failed, "status"] = "failed"
    found.table.loc[failed, [*portraits.SCORES]] = np.nan
    assert portraits.gather(found, portraits.SCORES, TOLD)["people"].tolist() == [6, 0, 0]
    assert portraits.differences(found, "face_rigid_mm") == {}


def test_finding_the_face_costs_what_being_told_saves() -> None:
    assert portraits.cost_of_finding(invented(), "net", "face_rigid_mm").mean == pytest.approx(0.1)


def test_the_mean_over_groups_weighs_them_all_the_same() -> None:
    found = portraits.grouped(invented(), GROUPS, {"aligned_cd": "CD"})
    assert found["over people"].tolist() == pytest.approx([1.533, 1.333], abs=1e-3)
    assert found["over sex"].tolist() == pytest.approx([1.55, 1.35])
    each = portraits.by_group(invented(), GROUPS, "face_rigid_mm")
    assert each.loc["network"].to_dict() == pytest.approx({"female (2)": 1.4, "male (4)": 1.3})


def test_differences_are_those_that_the_study_asks_for() -> None:
    pairs = portraits.differences(invented(), "face_rigid_mm")
    assert list(pairs) == [("network", "mean face")]
    assert pairs["network", "mean face"].mean == pytest.approx(-0.2) and len(pairs["network", "mean face"].lower) == 6
