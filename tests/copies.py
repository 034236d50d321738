"""Copies of the repository in which studies are run, and somebody else's photographs for them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from heads.scene import Scene

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
