"""How well heads come out that are harder than the built-in ones: `python benchmarks/generality.py` prints a table.

Two people of config/calibration.yaml are each photographed three times as they are, and once more with one thing changed: skin,
hair and cloth without fine texture; no hair; a single lamp from the side; cameras so near that the frame cuts the bust off. Each
is reconstructed from a sphere. Errors are in mm, those of normals in degrees, the median over the face; nothing here is a test.
"""

import argparse
import itertools
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.spatial
import torch
import trimesh

from heads import metric
from heads.data import anatomy, people, synthetic
from heads.methods import idr, priors
from heads.posts import plots
from heads.scene import Scene
from heads.truth import Truth

NAMES, SEED, SIZE = ("vera", "walt"), 3, 256
VARIANTS = ("as it is", "plain", "bald", "side light", "near")
ALIKE = 48  # neighbouring triangles of one material that share a plain colour: some centimetres
SIDE_DEGREES = 67  # the least azimuth of the single lamp, whose sky is nearly dark
CUT_MM = -125  # canonical height of a near picture's lower edge: the chin


def person(name: str, variant: str) -> people.Person:
    """The person of that name; `bald` and `side light` draw hair and light from the first streams of chance that have them."""
    chance = np.random.SeedSequence([SEED, zlib.crc32(name.encode())])
    found = people.make_person(chance)
    others = map(np.random.SeedSequence, itertools.count())
    if variant == "bald":
        hair = next(s for s in others if people._hair_style(found.traits, np.random.default_rng(s)) == "bald")
        shape = people.head_mm(found.traits, np.random.default_rng(found.streams["shape"]))
        return people._with_hair(*shape, found.traits, found.streams | {"hair": hair})
    if variant == "side light":
        light = next(s for s in others if abs(np.random.default_rng(s).uniform(-70, 70)) > SIDE_DEGREES)
        return replace(found, streams=found.streams | {"light": light})
    return found


def studio(who: people.Person, variant: str) -> synthetic.Studio:
    """The person, painted and lit."""
    made = synthetic.studio(who, SIZE, "varied")
    albedo, _ = synthetic.painted(who)
    if variant == "plain":
        radiance, gloss = made.radiance / albedo, made.gloss.copy()
        centres = who.canonical[who.faces].mean(axis=1)
        for material in (anatomy.SKIN, anatomy.HAIR, anatomy.CLOTH):
            faces = np.flatnonzero(who.material == material)
            if len(faces) >= ALIKE:
                near = faces[scipy.spatial.cKDTree(centres[faces]).query(centres[faces], k=ALIKE)[1]]
                radiance[faces] *= albedo[near].mean(axis=(1, 2))[:, None]
                gloss[faces] = made.gloss[near].mean(axis=(1, 2))[:, None]
        eyes = np.isin(who.material, (anatomy.EYE, anatomy.CUT))
        radiance[eyes] *= albedo[eyes]
        return replace(made, radiance=radiance.astype(np.float32), gloss=gloss)
    if variant == "side light":
        irradiance = 0.06 + made.fields[:, 6:7] * made.colours[0]
        at_faces = np.einsum("tc,fck->ftk", synthetic._barycentric()[0], irradiance[who.faces])
        exposure = float(np.median(made.radiance / albedo)) / float(np.quantile(irradiance, 0.7))
        radiance = (exposure * albedo * at_faces).astype(np.float32)
        return replace(made, radiance=radiance, colours=made.colours * [[1], [0]])
    return made


def photographs(name: str, variant: str) -> tuple[Scene, Truth]:
    """Three photographs of a variant of a person, from the front and both sides, and the scan."""
    who = person(name, variant)
    rng = np.random.default_rng(who.streams["cameras"])
    framed = who.vertices_mm[who.canonical[:, 1] > CUT_MM] if variant == "near" else who.vertices_mm
    intrinsics, poses = synthetic.ring_cameras(framed, SIZE, np.radians([0, 45, -45]), rng)
    images, masks = synthetic._develop(studio(who, variant), intrinsics, poses, rng)
    mm_from_unit = synthetic._unit_frame(who.vertices_mm, rng)
    poses[:, :3, 3] = (poses[:, :3, 3] - mm_from_unit[:3, 3]) / mm_from_unit[0, 0]
    scene = Scene(
        f"{name}, {variant}",
        (0, 1, 2),
        torch.from_numpy(images).float() / 255,
        torch.from_numpy(masks),
        torch.from_numpy(intrinsics).float().expand(3, 3, 3).contiguous(),
        torch.from_numpy(poses).float(),
        torch.from_numpy(mm_from_unit).float(),
    )
    scan = trimesh.Trimesh(who.vertices_mm, who.faces, process=False)
    return scene, Truth(name, scan, who.landmarks, who.regions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=f"of {', '.join(VARIANTS)}; default all")
    parser.add_argument("--sheet", type=Path, help="a PNG to write: photographs, scans and reconstructions of all heads")
    given = parser.parse_args()
    if wrong := [variant for variant in given.variants if variant not in VARIANTS]:
        parser.error(f"{wrong[0]!r} is none of the variants {', '.join(VARIANTS)}")
    rows, pictures = [], []
    for variant, name in itertools.product(given.variants or VARIANTS, NAMES):
        scene, truth = photographs(name, variant)
        began = time.perf_counter()
        head = idr.fit(scene, priors.sphere(idr.LAPTOP.shape, 0), idr.LAPTOP)
        seconds = time.perf_counter() - began
        scores = metric.evaluate(head.mesh_mm, truth, protocols=["rigid"]).scores
        wanted = {column: scores[column] for column in ("face_rigid_mm", "head_rigid_mm", "face_normals_median_deg")}
        rows.append({"variant": variant, "person": name, **wanted, "seconds": seconds})
        clay = [plots.render(mesh, azimuth=turn, size=SIZE) for turn in (0, 45) for mesh in (truth.mesh_mm, head.mesh_mm)]
        pictures.append([*(scene.images.numpy() * 255).astype(np.uint8), *clay])
        print(pd.DataFrame(rows[-1:]).round(2).to_string(index=False, header=len(rows) == 1), flush=True)
    print(pd.DataFrame(rows).groupby("variant", sort=False).mean(numeric_only=True).round(2).to_string())
    if given.sheet:
        plots.save(np.concatenate([np.concatenate(row, axis=1) for row in pictures]), given.sheet)


if __name__ == "__main__":
    main()
