"""What everything costs on this machine, and how it grows: `make bench` prints a table and writes it to results/bench.csv.

Each group of measurements runs in a process of its own, so that its peak memory is its own. Times are medians, those of
steps and heads means, with as many threads as torch uses unless a name says otherwise. The heads are built-in ones used in no
study. On a machine with a GPU the fits run there, and the rows belong in a table of their own:
`bench.py --out results/bench_gpu.csv floor published_step laptop_step published_head from_a_sphere head_models`.
Nothing here is a test.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from heads import files, mesh, metric
from heads.data import crowd, drawn, expressions, h3ds, identities, synthetic
from heads.data import faces as portraits
from heads.data.truth import load_truth
from heads.gaussians import rasterizer
from heads.methods import idr, priors
from heads.methods.identity_field import learn as fields
from heads.methods.identity_field import track
from heads.methods.nphm import expression, fitting, heads, identity
from heads.methods.pixel2mesh import learn, locate, model
from heads.scene import Scene
from heads.study import checkpoints, records
from heads.surface import cuda_graph, sdf

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / "runs" / "bench"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PAPER, LAPTOP = replace(idr.PAPER, device=DEVICE), replace(idr.LAPTOP, device=DEVICE)
HEADS, OTHER = ("uma", "vito", "xaver"), "wanda"  # those to reconstruct, and the one for the prior
SEED = 20
STEPS = (75, 150, 240, 300, 600, 1200)  # of the fits whose error is plotted against their seconds
ONCE = "HEADS_BENCH_ONCE" in os.environ  # for the tests, which ignore the times
Rows = list[tuple[str, float, str]]  # name, value, unit


# ---- shared by the measurements


def now() -> float:
    """Seconds, once a GPU has finished all its work so far."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(work: Callable[[], object], repeats: int = 5) -> float:
    """The median of the seconds that `work` takes, after one call that does not count; those of one call if once is enough."""
    if not ONCE:
        work()
    taken = []
    for _ in range(1 if ONCE else repeats):
        began = now()
        work()
        taken.append(now() - began)
    return statistics.median(taken)


class Enough(Exception):
    """Ends a fit before its surface is extracted."""


def step_seconds(scene: Scene, start: priors.Prior, config: idr.Config, steps: int, first: int = 1) -> float:
    """The mean seconds of the steps of a fit after the `first` ones, up to `steps`, including the grid's refreshes.

    ValueError if the fit has fewer steps than that.
    """
    at: list[float] = []

    def on_step(step: int, total: int, terms: dict[str, float], state: object) -> None:
        if step in (first, steps):
            at.append(now())
        if step == steps:
            raise Enough

    with suppress(Enough):
        idr.fit(scene, start, config, on_step=on_step)
        raise ValueError(f"the fit whose step {steps} was to be timed has fewer steps")
    return (at[1] - at[0]) / (steps - first) if steps > first else 0.0


def _warm_up() -> None:
    """The first steps of a process wait for parts of torch; that counts as a cold start, not here."""
    step_seconds(photographs(), sphere(), LAPTOP, 10)


def data() -> Path:
    """The folder of the benchmark's people, made once."""
    for name in (*HEADS, OTHER):
        if not (CACHE / "data" / name).exists():
            synthetic.write_subject(CACHE / "data", name, seed=SEED)
    return CACHE / "data"


def photographs(views: int = 3) -> Scene:
    return h3ds.load_scene(data(), HEADS[0], views)


def sphere(config: idr.Config = LAPTOP) -> priors.Prior:
    return priors.sphere(config.shape, 0)


def single_scan() -> priors.Prior:
    """A prior of one scan, like that of config/quick.yaml, trained once per commit."""
    path = CACHE / "prior.safetensors"
    config = replace(LAPTOP, epochs=500)
    about = {"commit": records.commit(), "config": asdict(config)}
    tensors = checkpoints.unfinished(path, about)
    if tensors is None:
        tensors = idr.fit(h3ds.load_scene(data(), OTHER, 32), sphere(), config).tensors
        checkpoints.save(path, tensors, about)
    return priors.Prior("bench", config.shape, config.epochs, tensors)


def learned_field() -> sdf.SDF:
    """The distance field of a head with all its detail, for the steps after a fit."""
    return sdf.distance(priors.network(single_scan(), generator=torch.Generator()))


# ---- the groups


def cold_start() -> Rows:
    """What a notebook first waits for: its imports in a fresh interpreter; and a whole notebook that does nothing."""
    imports = {
        "a_fit": "import heads.data.h3ds, heads.mesh, heads.methods.idr, heads.posts.plots, heads.study.records",
        "a_judgement": "import heads.data.truth, heads.mesh, heads.metric, heads.posts.plots, heads.study.records",
    }
    rows: Rows = []
    for name, statement in imports.items():
        command = [sys.executable, "-c", statement]
        rows.append((f"imports_of_{name}_s", timed(lambda command=command: subprocess.run(command, check=True), 3), "s"))  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "nothing.py")
        source.write_text("# %%\n1 + 1\n", encoding="utf-8")
        command = [sys.executable, "-m", "heads", "run", str(source), str(source.with_suffix(".ipynb"))]
        seconds = timed(lambda: subprocess.run(command, cwd=ROOT, check=True, capture_output=True), 3)
    return [*rows, ("empty_notebook_s", seconds, "s")]


def published_step() -> Rows:
    """One step at the published size: the published tracing against the cached grid, in turn on one scene.

    The grid's is the mean of 26 steps after the first, where its refreshes are most frequent; on a GPU, whose steps are recorded
    by then, of 100 after the tenth.
    """
    scene, start = photographs(), sphere(PAPER)
    published, (steps, first) = replace(PAPER, tracer="published"), (110, 10) if DEVICE == "cuda" else (27, 1)
    slow, fast = [], []
    for _ in range(3):
        slow.append(step_seconds(scene, start, published, 3))
        fast.append(step_seconds(scene, start, PAPER, steps, first))
    before, after = statistics.median(slow), statistics.median(fast)
    return [
        ("published_tracing_step_s", before, "s"),
        ("cached_tracing_step_s", after, "s"),
        ("published_step_speedup", before / after, "times"),
    ]


class BytesMoved(TorchDispatchMode):
    """Counts the bytes that matrix products read and write, each operand once."""

    PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.name().split(".")[0] in self.PRODUCTS:
            self.bytes += sum(tensor.nbytes for tensor in (*args, result) if isinstance(tensor, Tensor))
        return result


def floor() -> Rows:
    """What the matrix products of a step would take at the rate of a large one, and their operands at that of a large copy.

    The step is one between refreshes, of either size. On a GPU, the rate is that of its tensor cores, where most of them run.
    """
    side = torch.rand((8192 if DEVICE == "cuda" else 2048,) * 2, device=DEVICE)
    rows: Rows = [("matrix_product_gflop_per_s", 2e-9 * len(side) ** 3 / timed(lambda: side @ side), "Gflop/s")]
    if DEVICE == "cuda":
        with cuda_graph.tensor_cores():
            rows.append(("tensor_core_product_gflop_per_s", 2e-9 * len(side) ** 3 / timed(lambda: side @ side), "Gflop/s"))
    rate = 1e9 * rows[-1][1]
    large = torch.rand(2**28 if DEVICE == "cuda" else 2**26, device=DEVICE)
    copy = large.clone()
    bandwidth = 2 * large.nbytes / timed(lambda: copy.copy_(large))
    rows.append(("copy_gb_per_s", bandwidth / 1e9, "GB/s"))
    for name, config in {"published": PAPER, "laptop": LAPTOP}.items():
        counted = []
        for steps in (1, 2):
            with FlopCounterMode(display=False) as counter, BytesMoved() as moved:
                step_seconds(photographs(), sphere(config), config, steps)
            counted.append((counter.get_total_flops(), moved.bytes))
        operations, moved_bytes = (second - first for first, second in zip(*counted, strict=True))
        rows += [
            (f"{name}_step_gflop", operations / 1e9, "Gflop"),
            (f"{name}_step_floor_ms", 1000 * operations / rate, "ms"),
            (f"{name}_step_gb", moved_bytes / 1e9, "GB"),
            (f"{name}_step_floor_of_bytes_ms", 1000 * moved_bytes / bandwidth, "ms"),
        ]
    return rows


def laptop_step() -> Rows:
    """One step of LAPTOP, the mean of its first hundred, with one thread and with all; on a GPU, of those that are recorded."""
    if DEVICE == "cuda":
        return [("laptop_step_ms", 1000 * step_seconds(photographs(), sphere(), LAPTOP, 190, 90), "ms")]
    rows: Rows = []
    for threads in sorted({1, torch.get_num_threads()}):
        torch.set_num_threads(threads)
        seconds = step_seconds(photographs(), sphere(), LAPTOP, 101)
        rows.append((f"laptop_step_with_{threads}_threads_ms", 1000 * seconds, "ms"))
    return rows


def published_head() -> Rows:
    """On a GPU, whole heads at the published size from a sphere, all 6,000 steps: read, fitted, extracted, scored (rigid)."""
    if DEVICE != "cuda":
        print("published_head is left out: without a GPU it takes an hour per head")
        return []
    step_seconds(photographs(), sphere(PAPER), PAPER, 10)
    return _heads("published_head", sphere(PAPER), PAPER)


def from_a_sphere() -> Rows:
    return _error_by_seconds("sphere", sphere())


def from_a_prior() -> Rows:
    rows = _error_by_seconds("prior", single_scan())
    steps = round(3 * LAPTOP.steps_per_view * LAPTOP.epochs)
    value = {name: value for name, value, _ in rows}
    best = min(value[f"head_from_prior_by_steps_{count}_face_mm"] for count in STEPS)
    return [
        *rows,
        ("seconds_per_head", value[f"head_from_prior_by_steps_{steps}_s"], "s"),
        ("face_error_per_head_over_the_best", value[f"head_from_prior_by_steps_{steps}_face_mm"] / best, "times"),
    ]


def _error_by_seconds(name: str, start: priors.Prior) -> Rows:
    """How long heads take and how good they are, by number of steps."""
    rows: Rows = []
    _warm_up()
    for steps in STEPS:
        config = replace(LAPTOP, steps_per_view=steps / (3 * LAPTOP.epochs))
        rows += _heads(f"head_from_{name}_by_steps_{steps}", start, config)
    return rows


def _heads(label: str, start: priors.Prior, config: idr.Config) -> Rows:
    """Heads from three photographs, read, fitted, extracted, scored (rigid): their mean seconds and errors."""
    seconds, scores = [], []
    for head in HEADS:
        began = now()
        found = idr.fit(h3ds.load_scene(data(), head, 3), start, config)
        scores.append(metric.evaluate(found.mesh_mm, load_truth(data(), head), protocols=["rigid"]).scores)
        seconds.append(now() - began)
    means = {region: statistics.mean(score[f"{region}_rigid_mm"] for score in scores) for region in ("face", "head")}
    return [(f"{label}_s", statistics.mean(seconds), "s"), *((f"{label}_{region}_mm", mm, "mm") for region, mm in means.items())]


def prior_of_one_scan() -> Rows:
    """The prior's training, 500 epochs of 32 photographs; the groups after this one reuse it."""
    (CACHE / "prior.safetensors").unlink(missing_ok=True)
    data()
    began = now()
    single_scan()
    return [("prior_of_one_scan_s", now() - began, "s")]


def extraction() -> Rows:
    """The isosurface with finer and finer cells, and its number of vertices, with which the time should grow."""
    field, mm_from_unit = learned_field(), photographs().mm_from_unit
    rows: Rows = []
    for cell_mm in (4.0, 2.0, 1.0):
        made: list[int] = []

        def work(cell_mm: float = cell_mm, made: list[int] = made) -> None:
            made.append(len(mesh.extract(field, mm_from_unit=mm_from_unit, cell_mm=cell_mm).vertices))

        seconds = timed(work, 3)
        rows.append((f"extraction_by_vertices_{made[-1]}_s", seconds, "s"))
    return rows


def judgement() -> Rows:
    """Each protocol alone, and all four scores, as notebook 4 computes them."""
    head = mesh.extract(learned_field(), mm_from_unit=photographs().mm_from_unit, cell_mm=LAPTOP.cell_mm)
    truth = load_truth(data(), HEADS[0])
    rows: Rows = []
    for protocol in metric.PROTOCOLS:
        seconds = timed(lambda protocol=protocol: metric.errors_mm(head, truth, protocol), 3)  # type: ignore[misc]
        rows.append((f"metric_{protocol}_s", seconds, "s"))
    return [*rows, ("evaluation_s", timed(lambda: metric.evaluate(head, truth), 3), "s")]


def synthesis() -> Rows:
    """A person with 40 photographs, and, from the difference to one with 8, a single photograph."""
    seconds = []
    for count in (8, 8, 40):  # the first one waits for the body model
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            synthetic.write_subject(folder, HEADS[0], seed=SEED, n_photographs=count)
            seconds.append(time.perf_counter() - began)
    return [("person_of_40_photographs_s", seconds[2], "s"), ("photograph_ms", 1000 * (seconds[2] - seconds[1]) / 32, "ms")]


def growth() -> Rows:
    """A step of LAPTOP, the mean of its first 25, with more rays, a wider network, a finer grid, more photographs."""
    rows: Rows = []
    _warm_up()

    def measure(what: str, values: Sequence[int], config_of: Callable[[int], idr.Config]) -> None:
        for value in values:
            config, views = config_of(value), value if what == "views" else 3
            seconds = step_seconds(photographs(views), sphere(config), config, 26)
            rows.append((f"step_by_{what}_{value}_ms", 1000 * seconds, "ms"))

    measure("rays", (256, 512, 1024, 2048, 4096), lambda rays: replace(LAPTOP, rays=rays))
    measure("width", (64, 128, 256, 512), lambda width: replace(LAPTOP, shape=replace(LAPTOP.shape, width=width)))
    measure("grid", (32, 48, 64, 96, 128), lambda grid: replace(LAPTOP, grid=grid))
    measure("views", (3, 4, 8, 16, 32), lambda views: LAPTOP)
    return rows


def subjects() -> Rows:
    """Short fits of several heads, one after the other; and two side by side, for comparison, with a thread each."""
    rows: Rows = []
    _warm_up()
    for count in (1, 2, 4):
        began = time.perf_counter()
        for head in range(count):
            _short_fit(head)
        rows.append((f"heads_by_subjects_{count}_s", time.perf_counter() - began, "s"))
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_short_fit, range(2)))  # for the imports
        began = time.perf_counter()
        list(pool.map(_short_fit, range(2)))
        rows.append(("two_heads_side_by_side_s", time.perf_counter() - began, "s"))
    return rows


def _short_fit(seed: int) -> None:
    torch.set_num_threads(1)
    idr.fit(photographs(), sphere(), replace(LAPTOP, steps_per_view=0.01), seed=seed)


def people_who_talk() -> Rows:
    """A head with 20 expressions, and a hundred of them with their points."""
    amounts = expressions.drawn_expressions(20, np.random.default_rng(0))
    rows: Rows = [("head_with_20_expressions_s", timed(lambda: expressions.talker("uma", SEED, amounts)), "s")]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        crowd.write(Path(folder), 100, 20, seed=SEED)
        return [*rows, ("crowd_of_100_s", time.perf_counter() - began, "s")]


def a_crowd() -> crowd.Crowd:
    crowd.write(CACHE / "crowd", 100, 20, seed=SEED)
    return crowd.read(CACHE / "crowd")


def head_models() -> Rows:
    """A step of NPM and NPHM, on a GPU of the published size too, and how NPHM's grows."""
    people = a_crowd()
    rows: Rows = []

    def step(name: str, config: identity.Config, many: identity.People = people) -> None:
        seconds = _first_steps(lambda on_step: identity.train("bench", many, replace(config, device=DEVICE), on_step=on_step))
        rows.append((f"{name}_ms", 1000 * seconds, "ms"))

    for kind, presets in identity.MODELS.items():
        step(f"{kind}_step", presets["LAPTOP"])
        if DEVICE == "cuda":
            step(f"{kind}_published_step", presets["PAPER"])
    laptop = identity.LAPTOP
    for count in (25, 50, 100):
        step(f"nphm_step_by_people_{count}", laptop, replace(people, anchors=people.anchors[:count]))
    for times in (1, 2, 4):
        more = {key: times * getattr(laptop, key) for key in ("face_points", "other_points", "far_points", "near_points")}
        step(f"nphm_step_by_points_{92 * 16 * times}", replace(laptop, **more))  # type: ignore[arg-type]
    for pairs in (2, 8, 16):  # the first ones, and those in the middle
        chosen = [*range(2 * pairs), *range(32, 39)]
        shape = replace(identity.LAPTOP_SHAPE, pairs=pairs, nearest=min(12, len(chosen)))
        few = replace(people, anchors=people.anchors[:, chosen])
        step(f"nphm_step_by_anchors_{len(chosen)}", replace(laptop, shape=shape), few)
    return rows


def fit_to_points() -> Rows:
    """A step of NPHM's expressions, a fit to nine observations of a person, and the mesh of a head."""
    people = a_crowd()
    learned = identity.train("bench", people, replace(identity.LAPTOP, steps=100, device=DEVICE)).prior
    config = replace(expression.MODELS["nphm"]["LAPTOP"], device=DEVICE)
    seconds = _first_steps(lambda on_step: expression.train("bench", people, learned, config, on_step=on_step))
    rows: Rows = [("nphm_expressions_step_ms", 1000 * seconds, "ms")]
    tensors, _ = expression.train("bench", people, learned, replace(config, steps=30))
    moves = expression.restored(tensors, asdict(expression.shape_for(learned, config.shape)))
    model = heads.Model(learned, moves, tensors["expressions"])
    names = ["", *list(expressions.RECIPES)[:8]]
    talker = expressions.talker("uma", SEED, {name: expressions.recipe(name) for name in names[1:]})
    clouds = [torch.from_numpy(talker.observed_mm(name, azimuth=0)).float() / crowd.MM_PER_UNIT for name in names]
    fit, posed = replace(fitting.LAPTOP, device=DEVICE, robust=False), [bool(name) for name in names]
    rows.append(("nphm_fit_of_nine_s", timed(lambda: fitting.fit("bench", model, clouds, fit, posed=posed), 1), "s"))
    made = timed(lambda: heads.neutral_mesh(model, learned.tensors["codes"][0], cell_mm=fit.cell_mm), 3)
    return [*rows, ("nphm_mesh_s", made, "s")]


def faces_of_photographs() -> Rows:
    """A relative with four photographs, steps of both Pixel2Meshes and of the localiser, and a face from its file to its mesh."""
    count = 2 if ONCE else 32
    with tempfile.TemporaryDirectory() as empty:
        began = now()
        portraits.write(Path(empty), count, seed=SEED)
        rows: Rows = [("portraits_person_s", (now() - began) / count, "s")]
        people = portraits.read(empty)
    for kind in ("published", "registered"):
        config = replace(learn.PRESETS[kind]["LAPTOP"], device=DEVICE, whole_steps=0)
        rows.append(
            (f"pixel2mesh_{kind}_step_ms", 1000 * _first_steps(partial(model.learned, kind, "bench", people, config)), "ms")
        )
        if DEVICE == "cuda":
            paper = replace(learn.PRESETS[kind]["PAPER"], whole_steps=0)
            seconds = _first_steps(partial(model.learned, kind, "bench", people, paper))
            rows.append((f"pixel2mesh_{kind}_published_step_ms", 1000 * seconds, "ms"))
    seconds = _first_steps(partial(locate.train, "bench", people, replace(locate.LAPTOP, device=DEVICE)))
    rows.append(("localiser_step_ms", 1000 * seconds, "ms"))
    learned, _ = model.learned("registered", "bench", people, replace(learn.LAPTOP, steps=1, whole_steps=0))
    picture, crop = people.of(0, "pictures")[0].numpy(), learn.crop_of(people, 0, 0, learn.EXACT)
    network = locate.Locator(locate.LAPTOP).eval()

    def one() -> None:
        locate.find(network, picture)
        mesh.save(model.surface(model.levels_mm(learned, picture, crop)[-1]), CACHE / "face.ply")

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    rows.append(("face_of_a_photograph_one_thread_s", timed(one, 5), "s"))
    torch.set_num_threads(before)
    return rows


def face_of_gaussians(count: int) -> rasterizer.Gaussians:
    """Gaussians evenly over a half sphere of 75 mm, as large as they are far apart."""
    number, generator = torch.arange(count) + 0.5, torch.Generator().manual_seed(SEED)
    z, turn = 1 - number / count, np.pi * (1 + 5**0.5) * number
    around = (1 - z**2).sqrt()
    spacing_mm = 75 * (2 * np.pi / count) ** 0.5
    leaves = (
        75 * torch.stack([around * turn.cos(), around * turn.sin(), z], dim=1),
        torch.full((count, 3), float(np.log(spacing_mm))),
        torch.randn(count, 4, generator=generator),
        torch.full((count,), 0.8),
        torch.rand(count, 3, generator=generator),
    )
    return rasterizer.Gaussians(*(leaf.to(DEVICE).requires_grad_() for leaf in leaves))


def face_view(size: int) -> rasterizer.View:
    """A camera 850 mm away, whose picture such a face fills."""
    focal, middle = 0.47 * size * 850 / 75, (size - 1) / 2
    pose = torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 850], [0, 0, 0, 1]])
    return rasterizer.View(torch.tensor([[focal, 0, middle], [0, focal, middle], [0, 0, 1]]), pose, (size, size))


def splatting(name: str, count: int, size: int, way: rasterizer.Way = "auto") -> Rows:
    """The picture of a face of so many Gaussians, and its gradients."""
    leaves, view = face_of_gaussians(count), face_view(size)

    def forward() -> Tensor:
        return rasterizer.rasterize(leaves, view, way=way)[0]

    picture = forward()
    towards = torch.randn(picture.shape, generator=torch.Generator().manual_seed(SEED)).to(picture)
    back = timed(lambda: torch.autograd.grad(picture, leaves, towards, retain_graph=True))
    return [(f"{name}_forward_ms", 1000 * timed(forward), "ms"), (f"{name}_backward_ms", 1000 * back, "ms")]


def gaussians() -> Rows:
    """Pictures of Gaussians and their gradients, on a processor on one thread, how they grow, and steps of the identity field."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows: Rows = []
    for count, size in ((36_084, 128), (36_084, 256), (12_288, 128)):
        rows += splatting(f"gaussians_{count}_at_{size}_px", count, size)
    if DEVICE == "cpu":
        rows += splatting("gaussians_in_tiles_12288_at_128_px", 12_288, 128, "tiles")
    for count in (3_000, 6_000, 12_000, 30_000, 60_000):
        rows += splatting(f"gaussians_by_count_{count}", count, 128)
    for size in (64, 128, 256, 512):
        rows += splatting(f"gaussians_by_width_{size}", 12_288, size)
    torch.set_num_threads(threads)
    template = drawn.morphable(count=12, components=8, seed=5)
    with tempfile.TemporaryDirectory() as empty:
        began = now()
        identities.write(Path(empty), 2, seed=SEED, cameras=4 if ONCE else 16, unseen=4)
        rows.append(("identities_person_s", (now() - began) / 2, "s"))
        people = identities.read(empty)
    config = replace(fields.LAPTOP, device=DEVICE)
    seconds = _first_steps(partial(fields.train, "bench", people, template, config))
    rows.append(("identity_field_step_ms", 1000 * seconds, "ms"))
    if DEVICE == "cuda":
        seconds = _first_steps(partial(fields.train, "bench", people, template, replace(fields.PAPER, unseen=4)))
        rows.append(("identity_field_published_step_ms", 1000 * seconds, "ms"))
    learned, _, _ = fields.train("bench", people, template, replace(config, steps=1))
    fitted = people.of(0, "template_mm").numpy()
    for pictures in (1, 3):
        shots = fields.shots_of(people, 0, list(range(pictures)))

        def tracked(steps: int, shots: fields.Shots = shots) -> float:
            fit = replace(track.LAPTOP, steps=steps, colour_steps=0, device=DEVICE)
            return timed(lambda: track.track(learned, shots, fitted, fit), 3)

        rows.append((f"identity_field_tracking_step_of_{pictures}_ms", 1000 * (tracked(21) - tracked(1)) / 20, "ms"))
    return rows


def _first_steps(train: Callable[..., object]) -> float:
    """The mean seconds of a training's steps after the first two, up to the twentieth; of one, if once is enough."""
    first, last = (1, 2) if ONCE else (2, 20)
    at: list[float] = []

    def on_step(step: int, total: int, terms: dict[str, float], state: object) -> None:
        if step in (first, last):
            at.append(now())
        if step == last:
            raise Enough

    with suppress(Enough):
        train(on_step=on_step)
    return (at[1] - at[0]) / (last - first)


GROUPS: dict[str, Callable[[], Rows]] = {
    group.__name__: group
    for group in (
        cold_start,
        published_step,
        floor,
        laptop_step,
        published_head,
        from_a_sphere,
        prior_of_one_scan,
        from_a_prior,
        extraction,
        judgement,
        synthesis,
        growth,
        subjects,
        people_who_talk,
        head_models,
        fit_to_points,
        faces_of_photographs,
        gaussians,
    )
}


# ---- the table


def measured(group: str) -> Rows:
    """The rows of one group, and the peak memory of the process that made them, this one."""
    rows = GROUPS[group]()
    return [*rows, (f"peak_of_{group}_mb", records.peak_mb(DEVICE), "MB")] if rows else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"what to measure, of {', '.join(GROUPS)}; default all")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench.csv", help="rows of other groups are kept")
    given = parser.parse_args()
    if wrong := [group for group in given.groups if group not in GROUPS]:
        parser.error(f"{wrong[0]!r} is none of the groups {', '.join(GROUPS)}")
    where = {"machine": records.machine(), "commit": records.commit()}
    table = pd.read_csv(given.out) if given.groups and given.out.is_file() else pd.DataFrame({"name": []})
    for group in given.groups or GROUPS:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            rows = alone.submit(measured, group).result()
        if not rows:
            continue
        new = pd.DataFrame([{"name": name, "value": float(f"{value:.4g}"), "unit": unit} | where for name, value, unit in rows])
        print(new[["name", "value", "unit"]].to_string(index=False, header=False), flush=True)
        table = pd.concat([table[~table["name"].isin(new["name"])], new], ignore_index=True)
        files.write_table(given.out, table)


if __name__ == "__main__":
    main()
