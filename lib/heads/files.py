"""Files: foreign ones are read within bounds, and their errors are one line; our own are written whole or not at all."""

import io
import json
import math
import os
import reprlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MOST_MB = 16.0  # for a text, a record or a table; scans and photographs have their own limits


def content(path: Path, most_mb: float = MOST_MB) -> bytes:
    """The bytes of a file of at most `most_mb`; ValueError if it is larger, or not a file."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: not a file")
    with path.open("rb") as file:
        found = file.read(int(most_mb * 1e6) + 1)
    if len(found) > most_mb * 1e6:
        raise ValueError(f"{path}: larger than {most_mb:g} MB, the limit for such a file")
    return found


def text(path: Path, most_mb: float = MOST_MB) -> str:
    """The text of a file in UTF-8; ValueError names the file if it is not."""
    try:
        return content(path, most_mb).decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: text in UTF-8 was expected; byte {error.start} is invalid") from None


def table(path: Path, columns: Sequence[str], what: str = "a table", **options: Any) -> "pd.DataFrame":
    """A CSV with these columns, read with the `options` of `pandas.read_csv`; ValueError names the file if it is not."""
    import pandas as pd

    try:
        rows = pd.read_csv(io.BytesIO(content(path)), **options)
    except (ValueError, OverflowError) as error:  # pandas' own errors are among them
        message = reason(error)
        raise ValueError(message if message.startswith(str(path)) else f"{path}: {what} was expected ({message})") from None
    if missing := [column for column in columns if column not in rows.columns]:
        raise ValueError(f"{path}: {what} was expected; it has no column {missing[0]}")
    return rows


def shown(value: object) -> str:
    """A value as Python writes it, shortened to a line."""
    return reprlib.repr(value)


def reason(error: BaseException, most: int = 200) -> str:
    """An error's message as one line of at most `most` printable characters; its type if the message is empty."""
    return line(str(error), most) or type(error).__name__


def line(text: str, most: int) -> str:
    """A text as one line of at most `most` printable characters."""
    printable = " ".join("".join(c if c.isprintable() else " " for c in text[: 10 * most]).split())
    return printable if len(printable) <= most else printable[: most - 1] + "…"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, which is moved to `path` on success; OSError says in a sentence what went wrong.

    What was written is on disk before it is moved, so that not even a power failure leaves an empty file at `path`.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        to_disk(partial)
        os.replace(partial, path)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror or error}); any old file is unchanged") from error
    else:
        with suppress(OSError):  # not every file system can do this for a folder
            to_disk(path.parent)
    finally:
        with suppress(OSError):  # if the folder itself cannot be written, the error above says so
            partial.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_table(path: Path, rows: "pd.DataFrame") -> None:
    """Write a table as CSV."""
    with replacing(path) as partial:
        rows.to_csv(partial, index=False)


def write_json(path: Path, value: Any) -> None:
    """Write dicts, lists, numbers and text as JSON; a number that is not finite becomes null."""
    text = json.dumps(plain(value), indent=1, allow_nan=False)
    with replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """A value as JSON represents it: tuples as lists, keys as text, None for a number that is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
