"""Foreign files: within bounds, with errors of one line. Our own: whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from heads import files


def test_no_more_of_a_file_is_read_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 1_000_000)
    assert len(files.content(path, most_mb=1)) == 1_000_000
    with pytest.raises(ValueError, match=r"a\.txt: larger than 0\.9 MB"):
        files.content(path, most_mb=0.9)
    with pytest.raises(ValueError, match=r"not a file"):
        files.content(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.content(tmp_path / "b.txt")


def test_text_may_begin_with_a_byte_order_mark_and_have_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\ntwo\r\n".encode())
    assert files.text(path) == "one\ntwo\n"
    path.write_bytes(b"one \xff")
    with pytest.raises(ValueError, match=r"a\.txt: text in UTF-8 was expected; byte 4 is invalid"):
        files.text(path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("one\ntwo\x00\x1b[31m  three"), "one two [31m three"),
        (KeyError(), "KeyError"),
        (ValueError("x" * 500), "x" * 199 + "…"),
        (MemoryError("a" * 10**6), "a" * 199 + "…"),
    ],
)
def test_a_reason_is_one_short_printable_line(error: Exception, message: str) -> None:
    assert files.reason(error) == message


def test_a_value_of_any_size_is_shown_in_one_line() -> None:
    assert files.shown("five") == "'five'"
    assert len(files.shown([list(range(1000))] * 1000)) < 200 and len(files.shown("x" * 10**6)) < 200


def test_a_table_is_read_or_the_error_names_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("name,mm\nada,1.5\n")
    assert files.table(path, ["name", "mm"])["mm"].tolist() == [1.5]
    with pytest.raises(ValueError, match=r"a\.csv: the errors was expected; it has no column seconds"):
        files.table(path, ["name", "seconds"], "the errors")
    for broken in (b"", b"\xff\xfe", b'a,b\n"1,2\n3,4,5,6\n'):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"a\.csv: a table was expected"):
            files.table(path, ["name"])


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    with files.replacing(path) as partial:
        partial.write_text("old")
    with pytest.raises(RuntimeError), files.replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError("killed here")
    assert path.read_text() == "old" and os.listdir(path.parent) == ["table.csv"]
    with path.open() as reading:  # a reader in the meantime reads the old file to its end
        with files.replacing(path) as partial:
            partial.write_text("new")
        assert (reading.read(), path.read_text()) == ("old", "new")


def test_a_full_disk_is_reported_in_a_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    full = r"table\.csv: cannot be written \(No space left on device\); any old file is unchanged"
    with pytest.raises(OSError, match=full), files.replacing(path) as partial:
        partial.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["table.csv"]
