"""Copies of the repository in which studies are run, and somebody else's photographs for them."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import trimesh
from PIL import Image

from heads import __main__ as command_line
from heads.scene import Scene
from heads.study import contract, records

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "nobody-may-ever-see-this-token"  # of H3DS, in the environment of everything that is run here


def repository(folder: Path) -> Path:
    """What a study needs, copied into `folder`."""
    for name in ("lib", "notebooks", "profiles", "config"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("Snakefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """The environment of a command in a copy of the repository at `folder`."""
    return os.environ | {
        "PYTHONPATH": str(folder / "lib"),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "default",
        "H3DS_TOKEN": TOKEN,
    }


def heads(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m heads` with these words, in a copy of the repository."""
    command = [sys.executable, "-m", "heads", *words]
    return subprocess.run(command, cwd=repository, env=environment(repository), capture_output=True, text=True)


def forget() -> None:
    """Forget what was read of notebooks, which nobody but a test changes while a program runs."""
    for cached in (contract.parameters, contract.closure, contract._tree, records.code):
        cached.cache_clear()


def again(repository: Path, text: str, name: str = "mine") -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run a study once more, as `text` says it now; the jobs that were run, as many as its status and a dry run announce."""
    path, notebooks = f"config/{name}.yaml", repository / "runs" / name / "notebooks"
    (repository / path).write_text(text, encoding="utf-8")

    def executed() -> dict[str, int]:
        found = [log for log in notebooks.rglob("*.ipynb") if ".sources" not in log.parts]
        return {str(log.relative_to(notebooks).with_suffix("")): log.stat().st_mtime_ns for log in found}

    said = io.StringIO()
    with contextlib.chdir(repository), contextlib.redirect_stdout(said):
        forget()
        for words in (["study", "--dry-run"], ["status"]):
            with mock.patch.object(sys, "argv", ["heads", *words, path]):
                assert command_line.main() == 0
        forget()
    before = executed()
    done = heads(repository, "study", path)
    ran = {job for job, when in executed().items() if before.get(job) != when}
    assert said.getvalue().count(f"to run: {len(ran)} of ") == 2, (said.getvalue(), ran, done.stderr)
    return done, ran


def foreign_folder(root: Path, scene: Scene, names: list[str]) -> None:
    """Somebody else's photographs of an ellipsoid: JPEG and PNG, a TOML of their own, no landmarks, no topology of ours."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    ball.apply_transform(scene.mm_from_unit.numpy() @ np.diag([0.5, 0.7, 0.6, 1.0]))
    cameras: dict[str, np.ndarray] = {}
    for number, (px_from_cam, unit_from_cam) in enumerate(
        zip(scene.px_from_cam.numpy(), scene.unit_from_cam.numpy(), strict=True)
    ):
        mm_from_cam = scene.mm_from_unit.numpy().astype(float) @ unit_from_cam
        mm_from_cam[:3, :3] /= np.linalg.norm(mm_from_cam[:3, 0])
        intrinsics = np.eye(4)
        intrinsics[:3, :3] = px_from_cam
        cameras[f"world_mat_{number}"] = intrinsics @ np.linalg.inv(mm_from_cam)
        cameras[f"scale_mat_{number}"] = scene.mm_from_unit.numpy()
    lines = ['version = "mine"']
    for name in names:
        folder = root / name
        for sub in ("image", "mask", "regions"):
            (folder / sub).mkdir(parents=True)
        for number, (image, mask) in enumerate(zip(scene.images.numpy(), scene.masks.numpy(), strict=True)):
            Image.fromarray((image * 255).astype(np.uint8)).save(folder / "image" / f"img_{number:04d}.jpg", quality=90)
            Image.fromarray((mask * 255).astype(np.uint8)).save(folder / "mask" / f"mask_{number:04d}.png")
        np.savez(folder / "cameras.npz", **cameras)
        (folder / "full_head.obj").write_text(trimesh.exchange.obj.export_obj(ball, include_normals=False))
        front = np.flatnonzero(ball.vertices[:, 2] > 20)
        for region in ("face", "face_sphere"):
            (folder / "regions" / f"{region}.txt").write_text("\n".join(map(str, front)))
        views = len(scene.views)
        lines += [f"[scenes.{name}]", f"views = {views}", f"[scenes.{name}.default_views_configs]", '"3" = [0, 1, 2]']
    (root / "mine.toml").write_text("\n".join(lines) + "\n")


LIGHT = {  # notebooks that do nothing, in no time; where `photos/SUBJECT` says `fail`, the fit does
    "61_person": """
out: str = "runs/demo/person"
root: str = "runs/demo/people"
subject: str = "ada"
# %%
from heads.study import records
run = records.begin("61_person", globals())
# %%
from pathlib import Path
photograph = Path(run.root, run.subject)
if not photograph.is_file():
    raise FileNotFoundError(f"{photograph}: there is no such person")
run.use([photograph])
run.finish()
""",
    "63_fit": """
out: str = "runs/demo/fit"
root: str = "runs/demo/people"
subject: str = "ada"
seed: "int >= 0" = 0
width: "int >= 1" = 8
# %%
from heads.study import records
run = records.begin("63_fit", globals())
if run.width == 13:
    raise ValueError("width must not be 13")
if run.width == 14:
    import time
    open("runs/waits", "w").close()
    time.sleep(60)
# %%
from pathlib import Path
run.use([f"{run.root}/{run.subject}"])
if "fail" in Path(run.root, run.subject).read_text():
    raise ValueError(f"{run.subject}: the fit diverged")
run.finish(losses={"final_loss": 0.5})
""",
    "64_score": """
out: str = "runs/demo/score"
root: str = "runs/demo/people"
subject: str = "ada"
head: str = "runs/demo/fit"
# %%
from heads.study import records
run = records.begin("64_score", globals())
# %%
run.finish(scores={"face_rigid_mm": 1.5})
""",
    "65_table": """
out: str = "runs/demo/table"
study: str = "config/light.yaml"
save: bool = False
# %%
from heads.study import records
run = records.begin("65_table", globals())
# %%
from pathlib import Path
from heads import files
from heads.study import plan
from heads.study.table import table
files.write_table(Path("results", f"{Path(run.study).stem}.csv"), table(plan.read(run.study)))
run.finish()
""",
}
LIGHT_STUDY = """
data: {notebook: 61_person, root: photos}
subjects: [ada, ben]
views: [3]
methods:
  mean: {notebook: 63_fit, label: Mean}
  wide: {notebook: 63_fit, width: 9, subjects: [ada]}
evaluate: {notebook: 64_score}
table: {notebook: 65_table}
"""


def light(repository: Path) -> Path:
    """A study of notebooks that do nothing, in a copy of the repository: config/light.yaml."""
    for name, cells in LIGHT.items():
        (repository / "notebooks" / f"{name}.py").write_text(f'# %% tags=["parameters"]{cells}')
    (repository / "photos").mkdir()
    for name in ("ada", "ben"):
        (repository / "photos" / name).write_text(name)
    (repository / "config" / "light.yaml").write_text(LIGHT_STUDY)
    return repository
