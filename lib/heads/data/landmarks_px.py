"""Where photographs see landmarks: `landmarks_px.csv` in the folder of a scene, a row for each that is seen in a photograph."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from heads import files

FILE = "landmarks_px.csv"
COLUMNS = ("photograph", "landmark", "column", "row")
FEWEST = 6  # in a photograph
_WHAT = f"a table of the columns {', '.join(COLUMNS)}"


def write(path: Path, names: Sequence[str], px: np.ndarray) -> None:
    """Write the pixels (V, L, 2) at which the photographs, numbered from 0, see the named landmarks; NaN where they do not."""
    photograph, landmark = np.nonzero(np.isfinite(px).all(axis=2))
    at = px[photograph, landmark].round(3)
    named = [names[int(index)] for index in landmark]
    files.write_table(path, pd.DataFrame({"photograph": photograph, "landmark": named, "column": at[:, 0], "row": at[:, 1]}))


def with_landmarks(root: str | Path, scene_id: str, views: Sequence[int], names: tuple[str, ...]) -> list[int]:
    """Those of the photographs `views` that see at least six of the named landmarks; ValueError if none does."""
    path, rows = _read(root, scene_id)
    seen = pd.Series(_numbers(path, rows["photograph"]))[rows["landmark"].isin(names).to_numpy()].value_counts()
    if not (found := [view for view in views if seen.get(view, 0) >= FEWEST]):
        raise ValueError(f"{path}: none of the photographs {', '.join(map(str, views))} has {FEWEST} of the landmarks")
    return found


def load(root: str | Path, scene_id: str, views: Sequence[int], names: tuple[str, ...], size_px: tuple[int, int]) -> np.ndarray:
    """Where photographs `views` of a scene, `size_px` wide and high, see the named landmarks: pixels (V, L, 2), NaN where not.

    Landmarks of other names are ignored. FileNotFoundError without a file; ValueError for what is wrong in it, and for a
    photograph with fewer than six of the landmarks.
    """
    path, rows = _read(root, scene_id)
    numbers = {name: _numbers(path, rows[name]) for name in ("photograph", "column", "row")}
    number_of = {name: index for index, name in enumerate(names)}
    found = np.full((len(views), len(names), 2), np.nan)
    places = zip(rows["landmark"], numbers["photograph"], numbers["column"], numbers["row"], strict=True)
    for name, photograph, column, row in places:
        if photograph not in views or name not in number_of:
            continue
        here = found[list(views).index(int(photograph)), number_of[name]]
        if np.isfinite(here).any():
            raise ValueError(f"{path}: {name} is listed twice for photograph {photograph:g}; expected once")
        if not (-0.5 <= column <= size_px[0] - 0.5 and -0.5 <= row <= size_px[1] - 0.5):
            raise ValueError(
                f"{path}: {name} of photograph {photograph:g} is at column {column:g} and row {row:g}, a face out of the "
                f"picture; expected it within {size_px[0]} x {size_px[1]} pixels"
            )
        here[:] = column, row
    for view, count in zip(views, np.isfinite(found[..., 0]).sum(axis=1), strict=True):
        if not (numbers["photograph"] == view).any():
            raise ValueError(f"{path}: photograph {view} has no landmarks; expected some for each photograph that is used")
        if count < FEWEST:
            raise ValueError(
                f"{path}: photograph {view} has {count} of the landmarks; expected at least {FEWEST} with names like "
                f"{', '.join(names[:2])}"
            )
    return found


def _read(root: str | Path, scene_id: str) -> tuple[Path, pd.DataFrame]:
    """The file of a scene, and its rows as text."""
    path = Path(root, scene_id, FILE)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file; 01_data writes it for built-in people, and for other photographs any detector of the 68 iBUG "
            f"landmarks can make it, as {_WHAT}"
        )
    rows = files.table(path, COLUMNS, _WHAT, dtype=str, keep_default_na=False)
    if unknown := [column for column in rows.columns if column not in COLUMNS]:
        raise ValueError(f"{path}: {_WHAT} was expected; it has another column, {files.shown(unknown[0])}")
    return path, rows


def _numbers(path: Path, column: "pd.Series[str]") -> np.ndarray:
    """A column as numbers; ValueError names the line of one that is none."""
    found = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    wrong = ~np.isfinite(found)
    if column.name == "photograph":
        wrong |= (found < 0) | (found != np.floor(found))
    if wrong.any():
        line = int(np.argmax(wrong))
        expected = "the number of a photograph" if column.name == "photograph" else "a number of pixels"
        raise ValueError(f"{path}, line {line + 2}: {column.name} is {files.shown(column.iloc[line])}; expected {expected}")
    return found
