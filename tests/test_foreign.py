"""Files of others: within bounds, and what is wrong in one line."""

from pathlib import Path

import pytest

from heads import foreign


def test_no_more_of_a_file_is_read_than_such_a_file_has(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 1_000_000)
    assert len(foreign.content(path, most_mb=1)) == 1_000_000
    with pytest.raises(ValueError, match=r"a\.txt: larger than 0\.9 MB"):
        foreign.content(path, most_mb=0.9)
    with pytest.raises(ValueError, match=r"a file was expected"):
        foreign.content(tmp_path)
    with pytest.raises(FileNotFoundError):
        foreign.content(tmp_path / "b.txt")


def test_text_may_begin_with_a_mark_and_end_its_lines_as_windows_does(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\ntwo\r\n".encode())
    assert foreign.text(path) == "one\ntwo\n"
    path.write_bytes(b"one \xff")
    with pytest.raises(ValueError, match=r"a\.txt: text in UTF-8 was expected; it ends at byte 4"):
        foreign.text(path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("one\ntwo\x00\x1b[31m  three"), "one two [31m three"),
        (KeyError(), "KeyError"),
        (ValueError("x" * 500), "x" * 199 + "…"),
        (MemoryError("a" * 10**6), "a" * 199 + "…"),
    ],
)
def test_a_reason_is_one_short_line_that_can_be_shown(error: Exception, said: str) -> None:
    assert foreign.reason(error) == said


def test_a_value_is_shown_in_a_line_whatever_its_size() -> None:
    assert foreign.shown("five") == "'five'"
    assert len(foreign.shown([list(range(1000))] * 1000)) < 200 and len(foreign.shown("x" * 10**6)) < 200


def test_a_table_is_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("name,mm\nada,1.5\n")
    assert foreign.table(path, ["name", "mm"])["mm"].tolist() == [1.5]
    with pytest.raises(ValueError, match=r"a\.csv: the errors was expected; it has no column seconds"):
        foreign.table(path, ["name", "seconds"], "the errors")
    for broken in (b"", b"\xff\xfe", b'a,b\n"1,2\n3,4,5,6\n'):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"a\.csv: a table was expected"):
            foreign.table(path, ["name"])
