"""What is told of a fit while it runs: a line now and then, a checkpoint to resume from, and TensorBoard's event files."""

import importlib.util
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tqdm

from heads.study import checkpoints

if TYPE_CHECKING:
    from torch import Tensor

    from heads.surface.training import OnStep


def progress(
    label: str,
    *,
    every_s: float = 10.0,
    checkpoint: Path | None = None,
    about: Mapping[str, Any] | None = None,
    checkpoint_s: float = 10.0,
) -> "OnStep":
    """An `on_step` for a fit: a bar in a terminal, elsewhere a line every `every_s` seconds, less often later, with an estimate.

    With `checkpoint`, the fit's state is also saved there every `checkpoint_s` seconds, and its losses go to TensorBoard's event
    files below a folder beside it, where TensorBoard is installed.
    """
    began = saved = time.monotonic()
    due, first = 0.0, 0
    note = events(checkpoint.parent / "tensorboard" / checkpoint.stem) if checkpoint is not None else None
    bar = tqdm.tqdm(desc=label, unit="step", file=sys.stderr) if sys.stderr.isatty() else None

    def on_step(step: int, total: int, terms: dict[str, float], state: Callable[[], dict[str, "Tensor"]]) -> None:
        nonlocal due, saved, first
        now = time.monotonic()
        first = first or step
        if note is not None:
            note(terms, step == total)
        if checkpoint is not None and now - saved > checkpoint_s and step < total:
            checkpoints.save(checkpoint, state(), about or {})
            saved = now
        if bar is not None:
            bar.total = total
            bar.update(step - bar.n)
            if step == total:
                bar.close()
        elif now - began >= due or step == total:
            spent = now - began
            due = spent + max(every_s, 0.1 * spent)  # a fit of ten hours leaves about seventy lines
            shown = ", ".join(f"{name} {value:.3g}" for name, value in terms.items() if name not in ("step", "epoch"))
            left = f", about {spent / (step - first) * (total - step):.0f} s left" if first < step < total else ""
            sys.stdout.write(f"{label}: {step}/{total} steps, {spent:.0f} s{left}, {shown}\n")
            sys.stdout.flush()

    return on_step


def events(folder: Path) -> "Callable[[Mapping[str, float], bool], None] | None":
    """Writes each row of losses once to event files in `folder` and closes them at the end; None without TensorBoard."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    writer: SummaryWriter | None = None
    last = -1.0

    def note(row: Mapping[str, float], ended: bool) -> None:
        nonlocal writer, last
        if row.get("step", last) > last:
            last = row["step"]
            # what an earlier, interrupted call wrote beyond this step no longer counts
            writer = writer or SummaryWriter(folder, purge_step=int(last))  # type: ignore[no-untyped-call]
            for name, value in row.items():
                if name not in ("step", "epoch"):
                    writer.add_scalar(name, value, int(last))  # type: ignore[no-untyped-call]
        if ended and writer is not None:
            writer.close()  # type: ignore[no-untyped-call]

    return note
