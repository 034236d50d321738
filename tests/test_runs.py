"""Parameters, records, checkpoints, progress and the table: nothing wrong goes in, nothing that was there is lost."""

import json
import math
import os
import pickle
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from heads.methods import idr, priors
from heads.scene import Scene
from heads.study import plan as study
from heads.study import records as runs
from heads.study.records import Record

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Inner:
    width: int = 8
    radius: float = 0.5


@dataclass(frozen=True)
class Asked:
    name: str = "ada"
    views: int = 3
    step_size: float = 1e-3
    save: bool = False
    carry: list[str] = field(default_factory=lambda: ["geometry"])
    milestones: tuple[int, ...] = (1, 2)
    overrides: dict[str, Any] = field(default_factory=dict)
    inner: Inner = Inner()

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ValueError(f"views must be positive, not {self.views}")


# ---- parameters


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("step_size", "1e-3", 1e-3),  # as YAML 1.1 brings it
        ("step_size", 1, 1.0),
        ("views", 3.0, 3),
        ("views", "03", 3),
        ("views", "1e1", 10),
        ("milestones", [3, 4.0], (3, 4)),
        ("carry", ("a", "b"), ["a", "b"]),
        ("inner", {"width": 4.0, "radius": "2"}, Inner(4, 2.0)),
    ],
)
def test_a_config_field_is_read_as_its_type_wants_it(name: str, value: Any, expected: Any) -> None:
    found = getattr(runs.configured(Asked(), {name: value}), name)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("views", "abc", "views: expected a whole number, not 'abc'"),
        ("views", 2.5, "views: expected a whole number, not 2.5"),
        ("views", True, "views: expected a whole number, not True"),
        ("views", float("inf"), "views: expected a whole number, not inf"),
        ("views", 0, "views must be positive, not 0"),
        ("step_size", "nan", "step_size: expected a number, not 'nan'"),
        ("step_size", None, "step_size: expected a number, not None"),
        ("name", 5, "name: expected text, not 5"),
        ("save", "yes", "save: expected true or false, not 'yes'"),
        ("save", 1, "save: expected true or false, not 1"),
        ("carry", "geometry", "carry: expected a list, not 'geometry'"),
        ("carry", [1], "carry: expected text, not 1"),
        ("overrides", [1], "overrides: expected a table, not [1]"),
        ("inner", 5, "inner: expected a table, not 5"),
        ("inner", {"widht": 5}, "'widht' is not known; did you mean 'width'?"),
        ("stepsize", 1, "overrides: 'stepsize' is not known; did you mean 'step_size'?"),
    ],
)
def test_a_config_field_that_is_wrong_is_said_in_a_sentence(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        runs.configured(Asked(), {name: value})
    assert sentence in str(raised.value)


def notebook_globals(injected: str = "", **changed: Any) -> dict[str, Any]:
    """What `globals()` holds in the second cell of a notebook that papermill has run up to there."""
    cells = ["import os", "views: int = 3", *([f"# Parameters\n{injected}\n"] if injected else [])]
    return {"In": cells, "Out": {}, "os": os, "exit": exit} | asdict(Asked()) | {"inner": Inner()} | changed


def parameters(namespace: dict[str, Any]) -> Asked:
    """As `runs.parameters`, for the fields that a notebook can have."""

    @dataclass(frozen=True)
    class Job:
        name: str
        views: int

    return runs.parameters(namespace, Job)  # type: ignore[return-value]


def test_the_parameters_of_a_notebook_become_its_job() -> None:
    assert parameters(notebook_globals("views = 4", views=4)).views == 4


def test_a_parameter_that_papermill_made_up_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="parameter 'veiws' is not known; did you mean 'views'"):
        parameters(notebook_globals("veiws = 4", veiws=4))


def test_an_ill_typed_parameter_of_a_notebook_is_refused() -> None:
    with pytest.raises(ValueError, match="views: expected a whole number, not 'abc'"):
        parameters(notebook_globals('views = "abc"', views="abc"))


def test_what_later_cells_define_does_not_disturb_when_the_cell_is_run_again() -> None:
    namespace = notebook_globals("views = 4", views=4, scores={"face": 1.0}, began=3.0)
    namespace["In"] += ["scores = {}", "began = 3.0"]
    assert parameters(namespace).views == 4


# ---- files


def test_a_write_that_the_system_cuts_short_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    runs.save_checkpoint(path, {"a": torch.ones(3)}, {"epoch": 1})
    code = (
        "import resource, sys, torch, pathlib; from heads.study import records as runs\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"  # the nearest thing to a full disk that needs no root
        f"try: runs.save_checkpoint(pathlib.Path({str(path)!r}), {{'a': torch.ones(9999)}}, {{'epoch': 2}})\n"
        "except OSError as error: sys.exit(str(error))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "checkpoint.safetensors: cannot be written (File too large)" in done.stderr
    assert runs.load_checkpoint(path)[1] == {"epoch": 1} and os.listdir(tmp_path) == ["checkpoint.safetensors"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    with pytest.raises(OSError, match=r"runs/record\.json: cannot be written"):
        runs.write_record(tmp_path / "runs" / "record.json", Record("01_data"))


# ---- records


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    record = Record("03_reconstruct", "failed", "no mask", {"views": 3}, {"shape": {"width": 8}}, seconds=1.5, files=["mesh.ply"])
    runs.write_record(tmp_path / "record.json", record)
    assert runs.read_record(tmp_path / "record.json") == record


def test_a_number_that_is_none_becomes_null(tmp_path: Path) -> None:
    runs.write_record(tmp_path / "r.json", Record("x", losses={"rgb": float("nan"), "mask": float("inf"), "eikonal": 1.0}))
    assert json.loads((tmp_path / "r.json").read_text())["losses"] == {"rgb": None, "mask": None, "eikonal": 1.0}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"stage": "x", "statsu": "ok"}', "\xff", "[" * 100_000])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"record\.json: not a record of a run"):
        runs.read_record(path)


def test_the_commit_is_that_of_the_repository_around_and_unknown_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert runs.commit() == "unknown"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "a").write_text("1")
    for command in (["init", "-q"], ["add", "a"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert runs.commit() == head
    (tmp_path / "a").write_text("2")
    assert runs.commit() == f"{head}-dirty"


def test_the_root_is_found_from_a_folder_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert runs.root() == tmp_path / "notebooks"
    (tmp_path / "Snakefile").touch()
    assert runs.root() == tmp_path


# ---- checkpoints

TENSORS = {"geometry.weight": torch.arange(6.0).view(2, 3).T, "step": torch.tensor(7), "generator": torch.Generator().get_state()}


def test_a_checkpoint_gives_back_every_bit_and_what_it_is(tmp_path: Path) -> None:
    runs.save_checkpoint(tmp_path / "c.safetensors", TENSORS, {"name": "single", "shape": {"width": 8}, "milestones": (1, 2)})
    tensors, about = runs.load_checkpoint(tmp_path / "c.safetensors")
    assert about == {"name": "single", "shape": {"width": 8}, "milestones": [1, 2]}
    assert set(tensors) == set(TENSORS)
    assert all(torch.equal(tensors[name], TENSORS[name]) and tensors[name].dtype == TENSORS[name].dtype for name in TENSORS)


def test_a_checkpoint_cut_short_anywhere_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    runs.save_checkpoint(path, TENSORS, {"name": "single"})
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"c\.safetensors: not a checkpoint, or cut short"):
            runs.load_checkpoint(path)


def test_no_pickle_is_ever_opened(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "owned").touch, ())

    torch.save({"a": torch.ones(2)}, tmp_path / "torch.safetensors")
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps(Hostile()))
    for name in ("torch", "pickle"):
        with pytest.raises(ValueError, match="not a checkpoint"):
            runs.load_checkpoint(tmp_path / f"{name}.safetensors")
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_without_description_is_none_of_ours(tmp_path: Path) -> None:
    import safetensors.torch

    for metadata in (None, {"about": "[3"}, {"about": "3"}, {"format": "pt"}):
        safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "c.safetensors", metadata=metadata)
        with pytest.raises(ValueError, match="not a checkpoint"):
            runs.load_checkpoint(tmp_path / "c.safetensors")


def test_only_the_same_fit_goes_on_from_what_was_left_unfinished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, about = tmp_path / "unfinished.safetensors", {"config": {"epochs": 5, "milestones": (1, 2)}}
    assert runs.unfinished(path, about) is None
    runs.save_checkpoint(path, TENSORS, about)
    resumed = runs.unfinished(path, about)
    assert resumed is not None and resumed["step"] == 7
    assert runs.unfinished(path, {"config": {"epochs": 6, "milestones": (1, 2)}}) is None
    path.write_bytes(path.read_bytes()[:-1])
    assert runs.unfinished(path, about) is None
    assert f"{path}: not a checkpoint, or cut short" in capsys.readouterr().out


def test_the_digest_is_that_of_all_tensors_and_of_nothing_else(ellipsoid_scene: Scene) -> None:
    prior = priors.sphere(idr.SMOKE.shape, seed=0)
    digest = runs.digest(ellipsoid_scene, prior)
    assert digest == runs.digest(replace(ellipsoid_scene, name="another"), priors.sphere(idr.SMOKE.shape, seed=0))
    others = [
        runs.digest(ellipsoid_scene, priors.sphere(idr.SMOKE.shape, seed=1)),
        runs.digest(replace(ellipsoid_scene, masks=~ellipsoid_scene.masks), prior),
        runs.digest([prior]),
    ]
    assert len({digest, *others}) == 4


# ---- progress


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(runs.time, "monotonic", lambda: self.now)


def test_ten_hours_of_progress_are_a_few_dozen_lines_and_forty_seconds_a_handful(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for hours, steps, few, many in ((10, 36_000, 20, 90), (40 / 3600, 400, 4, 7)):
        clock = Clock(monkeypatch)
        on_step = runs.progress("ada")
        for step in range(1, steps + 1):
            clock.now += hours * 3600 / steps
            on_step(step, steps, {"step": float(step), "rgb": 0.5}, dict)
        lines = capsys.readouterr().out.splitlines()
        assert few <= len(lines) <= many
        assert lines[-1] == f"ada: {steps}/{steps} steps, {hours * 3600:.0f} s, rgb 0.5"


def test_progress_saves_what_can_be_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, path, asked = Clock(monkeypatch), tmp_path / "unfinished.safetensors", []
    on_step = runs.progress("ada", checkpoint=path, about={"epochs": 5}, checkpoint_s=60)
    for step in range(1, 131):
        clock.now += 1
        on_step(step, 200, {}, lambda step=step: asked.append(step) or {"step": torch.tensor(step)})  # type: ignore[misc]
    assert asked == [61, 122]
    resumed = runs.unfinished(path, {"epochs": 5})
    assert resumed is not None and resumed["step"] == 122


def test_progress_says_about_how_long_the_rest_takes_of_an_interrupted_fit_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    on_step = runs.progress("ada")
    for step in range(601, 1001):
        clock.now += 0.5
        on_step(step, 1000, {"rgb": 0.5}, dict)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["ada: 601/1000 steps, 0 s, rgb 0.5", "ada: 621/1000 steps, 10 s, about 199 s left, rgb 0.5"]
    assert lines[-1] == "ada: 1000/1000 steps, 200 s, rgb 0.5"


def test_losses_go_to_tensorboard_and_what_was_interrupted_is_gone_on_with(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    checkpoint = tmp_path / "unfinished.safetensors"
    for first, last in ((1, 40), (21, 60)):  # interrupted after 40 steps, and gone on with from 20
        time.sleep(1.1)  # TensorBoard reads files in the order of their names, which have the second in them
        on_step = runs.progress("ada", checkpoint=checkpoint, about={})
        for step in range(first, last + 1):
            row = (step - 1) // 10 * 10  # a row for every tenth step
            on_step(step, 60, {"step": float(row), "epoch": 0.1 * row, "rgb": first + row / 100}, dict)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["rgb"]
    assert [(event.step, round(event.value, 2)) for event in events.Scalars("rgb")] == [
        (0, 1.0), (10, 1.1), (20, 21.2), (30, 21.3), (40, 21.4), (50, 21.5),
    ]  # fmt: skip


# ---- the table


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> study.Study:
    """A study of two subjects in an empty repository, whose first run has a score and whose second has failed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    (tmp_path / "mine.yaml").write_text(
        "{data: {kind: synthetic}, subjects: [ben, ada], views: [3], preset: SMOKE, "
        "methods: {idr: {prior: sphere}}, seeds: [1, 0]}"
    )
    plan = study.read("mine.yaml")
    fits = plan.fit_jobs()
    scores = {name: 1.23456 + i for i, name in enumerate(runs.METRICS)}
    losses = {"rgb": 0.5, "trial_loss": 0.123456789, "final_loss": float("nan")}
    well = Record("04_evaluate", losses=losses, scores=scores, seconds=12.345, peak_mb=512.7, commit="abc")
    runs.write_record(plan.score_job(fits[0]).record, well)
    runs.write_record(plan.score_job(fits[1]).record, replace(well, status="failed", reason='no "mask", none', scores={}))
    return plan


def test_the_table_has_a_row_for_each_run_in_the_studys_order_failed_and_missing_ones_too(plan: study.Study) -> None:
    rows = runs.table(plan)
    assert list(rows.columns) == list(runs.COLUMNS)
    assert list(zip(rows["subject"], rows["seed"], rows["status"], strict=True)) == [
        ("ben", 1, "ok"), ("ben", 0, "failed"), ("ada", 1, "missing"), ("ada", 0, "missing"),
    ]  # fmt: skip
    assert rows["face_toolbox_mm"][0] == 1.2346 and rows["seconds"][0] == 12.3 and rows["peak_mb"][0] == 513
    assert rows["head_rigid_mm"].isna().tolist() == [False, True, True, True]
    assert rows["carry"].tolist() == ["geometry colour moments"] * 4
    assert rows["trial_loss"][0] == 0.123457 and rows["trial_loss"][2:].isna().all() and rows["final_loss"].isna().all()
    assert rows["reason"].tolist() == ["", 'no "mask", none', "not run yet", "not run yet"]


def test_the_losses_of_the_photographs_are_means_over_a_trial_and_over_the_end_without_the_eikonal_term() -> None:
    steps = [*range(0, 1000, 10), 999]  # as a fit of 1,000 steps keeps them
    rows = [{"step": float(s), "epoch": s / 3, "rgb": s / 1000, "mask": s / 100_000, "eikonal": 9.0} for s in steps]
    losses = runs.photograph_losses(rows)  # rgb + 100 mask = step / 500
    assert losses["trial_loss"] == pytest.approx((150 + 240) / 2 / 500)  # 150, 160 ... 240
    assert losses["final_loss"] == pytest.approx((10 * (900 + 990) / 2 + 999) / 11 / 500)


def test_a_fit_too_short_to_have_had_a_trial_has_no_loss_of_one() -> None:
    row = {"epoch": 0.0, "rgb": 1.0, "mask": 0.01, "eikonal": 9.0}
    short = runs.photograph_losses([row | {"step": 0.0}, row | {"step": 9.0}])
    assert math.isnan(short["trial_loss"]) and short["final_loss"] == 2.0
    assert all(math.isnan(loss) for loss in runs.photograph_losses([]).values())


def test_the_table_is_read_back_as_written_and_the_same_records_give_the_same_bytes(plan: study.Study, tmp_path: Path) -> None:
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    runs.write_table(first, runs.table(plan))
    runs.write_table(second, runs.table(plan))
    assert first.read_bytes() == second.read_bytes()
    pd.testing.assert_frame_equal(runs.read_table(first), runs.table(plan), check_dtype=False)


def test_the_trials_of_a_study_are_those_of_the_choices_that_were_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    (tmp_path / "mine.yaml").write_text(
        "{data: {kind: synthetic}, subjects: [ben, ada, cleo], views: [3], preset: SMOKE, methods: {idr: {prior: sphere}}, "
        "priors: {one: {kind: scan, subject: eve}, two: {kind: scan, subject: fay}}, choose: {of: [one, two]}}"
    )
    plan = study.read("mine.yaml")
    ben, ada, cleo = plan.choose_jobs()
    assert runs.trials(plan).empty and list(runs.trials(plan).columns) == list(runs.TRIALS)
    rows = pd.DataFrame({"prior": ["one", "two"], "loss": [0.12345678, 2.0], "rgb": 0.1, "mask": 0.2, "chosen": [True, False]})
    for job in (ben, ada):
        runs.write_table(job.folder / "trials.csv", rows.assign(fitted="0 1", judged="2"))
    runs.write_record(ben.record, Record("08_choose"))
    runs.write_record(ada.record, Record("08_choose", "failed", "no prior"))  # its table is an earlier run's
    found = runs.trials(plan)
    assert list(found.columns) == list(runs.TRIALS)
    assert found.to_dict("list") == {
        "subject": ["ben", "ben"], "prior": ["one", "two"], "views": [3, 3], "loss": [0.123457, 2.0], "rgb": [0.1, 0.1],
        "mask": [0.2, 0.2], "fitted": ["0 1", "0 1"], "judged": ["2", "2"],
    }  # fmt: skip
    runs.write_table(tmp_path / "t.csv", found)
    pd.testing.assert_frame_equal(runs.read_trials(tmp_path / "t.csv"), found)
    runs.write_record(cleo.record, Record("08_choose"))
    with pytest.raises(FileNotFoundError, match=r"cleo\.v3\.s0/trials\.csv: there are no such trials"):
        runs.trials(plan)


def test_a_table_that_is_missing_or_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"quick\.csv: there is no such table"):
        runs.read_table(tmp_path / "quick.csv")
    (tmp_path / "quick.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"quick\.csv: the table of a study was expected; it has no column subject"):
        runs.read_table(tmp_path / "quick.csv")
