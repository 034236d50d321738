"""Ten heads, one with a corrupt photograph, one whose fit diverges: eight scores, two reasons, and a post with both."""

import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import copies
import pytest

from heads.posts import results
from heads.scene import Scene

pytestmark = pytest.mark.skipif("HEADS_FAULTS" not in os.environ, reason="it takes minutes: `make faults`")
TEN = ["anna", "boris", "carla", "david", "elif", "farid", "greta", "hiro", "ines", "jamal"]
STUDY = f"""
data: {{notebook: 01_data, kind: h3ds, root: photos, scenes: photos/mine.toml}}
subjects: [{", ".join(TEN)}]
views: [3]
every: {{preset: SMOKE, fit: {{epochs: 20}}}}
methods:
  idr:
    - {{notebook: 03_reconstruct, label: IDR, phrase: a sphere, subjects: [{", ".join(TEN[:-1])}]}}
    - {{subjects: [jamal], fit: {{step_size: 10.0, clip: 0.0, epochs: 200}}}}
table: {{pictures: true}}
"""
SCORES = ["face_toolbox_mm", "head_toolbox_mm", "face_rigid_mm", "head_rigid_mm"]


def test_of_ten_heads_two_fail_each_for_its_reason_and_the_post_says_so(
    tmp_path: Path, ellipsoid_scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    repository = copies.repository(tmp_path / "repository")
    for name in ("blog", "results", "figures"):
        shutil.copytree(copies.ROOT / name, repository / name, ignore=shutil.ignore_patterns("_build", "_generated", "quick*"))
    shutil.copy(copies.ROOT / "blog" / "quick.md", repository / "blog")
    copies.foreign_folder(repository / "photos", ellipsoid_scene, TEN)
    os.truncate(repository / "photos" / "boris" / "image" / "img_0002.jpg", 700)
    (repository / "config" / "quick.yaml").write_text(STUDY)

    done = copies.heads(repository, "study", "config/quick.yaml")
    assert done.returncode == 3, done.stderr
    table = results.read_table(repository / "results" / "quick.csv").set_index("subject")
    assert list(table.index) == TEN and (table["status"] == "ok").sum() == 8
    assert table.loc[table["status"] == "ok", SCORES].notna().all(axis=None)
    reasons = table.loc[table["status"] == "failed", "reason"].to_dict()
    assert list(reasons) == ["boris", "jamal"]
    assert "img_0002.jpg: not a picture that can be read" in reasons["boris"]
    assert "scene jamal: before step" in reasons["jamal"] and "the fit diverged" in reasons["jamal"]
    for subject, reason in reasons.items():
        assert f"failed: {subject}.idr.v3.s0: {reason}" in done.stderr

    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "blog", "blog/_build/html"]
    built = subprocess.run(command, cwd=repository, env=copies.environment(repository), capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-3000:]
    page = (repository / "blog" / "_build" / "html" / "quick.html").read_text()
    said = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert "Of ten reconstructions of the study quick, two failed" in said
    assert all(f"{subject}, IDR, 3 photographs" in said and reason in said for subject, reason in reasons.items())
    record_property("said", "ten heads, eight scores\n" + "\n".join(f"  {name}: {reason}" for name, reason in reasons.items()))
