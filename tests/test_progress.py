"""Progress: a few lines while a fit runs, checkpoints to resume from, and TensorBoard's event files."""

import time
from pathlib import Path

import pytest
import torch

from heads.study import checkpoints
from heads.study import progress as told
from heads.study.progress import progress


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(told.time, "monotonic", lambda: self.now)


def test_ten_hours_of_progress_are_a_few_dozen_lines_and_forty_seconds_a_handful(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for hours, steps, few, many in ((10, 36_000, 20, 90), (40 / 3600, 400, 4, 7)):
        clock = Clock(monkeypatch)
        on_step = progress("ada")
        for step in range(1, steps + 1):
            clock.now += hours * 3600 / steps
            on_step(step, steps, {"step": float(step), "rgb": 0.5}, dict)
        lines = capsys.readouterr().out.splitlines()
        assert few <= len(lines) <= many
        assert lines[-1] == f"ada: {steps}/{steps} steps, {hours * 3600:.0f} s, rgb 0.5"


def test_progress_saves_what_a_fit_can_resume_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, path, asked = Clock(monkeypatch), tmp_path / "unfinished.safetensors", []
    on_step = progress("ada", checkpoint=path, about={"epochs": 5}, checkpoint_s=60)
    for step in range(1, 131):
        clock.now += 1
        on_step(step, 200, {}, lambda step=step: asked.append(step) or {"step": torch.tensor(step)})  # type: ignore[misc]
    assert asked == [61, 122]
    resumed = checkpoints.unfinished(path, {"epochs": 5})
    assert resumed is not None and resumed["step"] == 122


def test_progress_estimates_the_rest_of_a_resumed_fit_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    on_step = progress("ada")
    for step in range(601, 1001):
        clock.now += 0.5
        on_step(step, 1000, {"rgb": 0.5}, dict)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["ada: 601/1000 steps, 0 s, rgb 0.5", "ada: 621/1000 steps, 10 s, about 199 s left, rgb 0.5"]
    assert lines[-1] == "ada: 1000/1000 steps, 200 s, rgb 0.5"


def test_losses_go_to_tensorboard_and_a_resumed_fit_continues_them(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    checkpoint = tmp_path / "unfinished.safetensors"
    for first, last in ((1, 40), (21, 60)):  # interrupted after 40 steps, and resumed from 20
        time.sleep(1.1)  # TensorBoard reads files in the order of their names, which have the second in them
        on_step = progress("ada", checkpoint=checkpoint, about={})
        for step in range(first, last + 1):
            row = (step - 1) // 10 * 10  # a row for every tenth step
            on_step(step, 60, {"step": float(row), "epoch": 0.1 * row, "rgb": first + row / 100}, dict)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "unfinished"))
    events.Reload()
    assert events.Tags()["scalars"] == ["rgb"]
    assert [(event.step, round(event.value, 2)) for event in events.Scalars("rgb")] == [
        (0, 1.0), (10, 1.1), (20, 21.2), (30, 21.3), (40, 21.4), (50, 21.5),
    ]  # fmt: skip
