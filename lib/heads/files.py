"""Files: those of others read within bounds, what is wrong with them said in one line; our own written whole or not at all."""

import io
import os
import reprlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MOST_MB = 16.0  # of a text, a record or a table; scans and photographs have bounds of their own


def content(path: Path, most_mb: float = MOST_MB) -> bytes:
    """The bytes of a file of no more than `most_mb`; ValueError for a larger one, and for what is no file at all."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: a file was expected")
    with path.open("rb") as file:
        found = file.read(int(most_mb * 1e6) + 1)
    if len(found) > most_mb * 1e6:
        raise ValueError(f"{path}: larger than {most_mb:g} MB, which is more than such a file has")
    return found


def text(path: Path, most_mb: float = MOST_MB) -> str:
    """The text of a file in UTF-8; ValueError names the file where it is none."""
    try:
        return content(path, most_mb).decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: text in UTF-8 was expected; it ends at byte {error.start}") from None


def table(path: Path, columns: Sequence[str], what: str = "a table", **options: Any) -> "pd.DataFrame":
    """A CSV that has these columns, read with the `options` of `pandas.read_csv`; ValueError names the file where it is none."""
    import pandas as pd

    try:
        rows = pd.read_csv(io.BytesIO(content(path)), **options)
    except (ValueError, OverflowError) as error:  # pandas' own errors are among them
        said = reason(error)
        raise ValueError(said if said.startswith(str(path)) else f"{path}: {what} was expected ({said})") from None
    if missing := [column for column in columns if column not in rows.columns]:
        raise ValueError(f"{path}: {what} was expected; it has no column {missing[0]}")
    return rows


def shown(value: object) -> str:
    """A value as Python writes it, no longer than a line."""
    return reprlib.repr(value)


def reason(error: BaseException, most: int = 200) -> str:
    """What an error says, in one line of no more than `most` characters that can be shown; its type where it says nothing."""
    return line(str(error), most) or type(error).__name__


def line(text: str, most: int) -> str:
    """A text in one line of no more than `most` characters that can be shown."""
    said = " ".join("".join(c if c.isprintable() else " " for c in text[: 10 * most]).split())
    return said if len(said) <= most else said[: most - 1] + "…"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, which is moved to `path` when all went well; OSError says in a sentence what did not.

    What was written is on the disk before it is moved, so that not even a loss of power leaves an empty file at `path`.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        to_disk(partial)
        os.replace(partial, path)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror or error}); what was there is as it was") from error
    else:
        with suppress(OSError):  # not every file system can do this to a folder
            to_disk(path.parent)
    finally:
        with suppress(OSError):  # where the folder itself cannot be written, that was said above
            partial.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Wait until a file, or the list of files of a folder, is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
