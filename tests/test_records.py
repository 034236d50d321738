"""Records: what a notebook is given is checked, what a run leaves is whole, and a digest tells what has changed."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from heads.study import records
from heads.study.records import Record


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


# ---- configs


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
    found = getattr(records.configured(Asked(), {name: value}), name)
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
        ("stepsize", 1, "'stepsize' is not known; did you mean 'step_size'?"),
    ],
)
def test_a_config_field_that_is_wrong_is_said_in_a_sentence(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        records.configured(Asked(), {name: value})
    assert sentence in str(raised.value)


# ---- a notebook's run

NOTEBOOK = """# %% tags=["parameters"]
out: str = "runs/demo/it"
name: str = "ada"
views: "int >= 1" = 3
"""


@pytest.fixture
def repository(empty_repository: Path) -> Path:
    """A repository with one notebook more."""
    (empty_repository / "notebooks" / "70_it.py").write_text(NOTEBOOK)
    return empty_repository


def notebook_globals(injected: str = "", **changed: Any) -> dict[str, Any]:
    """What `globals()` holds in the second cell of a notebook that papermill has run up to there."""
    cells = ["import os", "views: int = 3", *([f"# Parameters\n{injected}\n"] if injected else [])]
    return {"In": cells, "Out": {}, "os": os, "exit": exit, "out": "runs/it", "name": "ada", "views": 3} | changed


def test_the_parameters_of_a_notebook_become_its_run(repository: Path) -> None:
    run = records.begin("70_it", notebook_globals("views = 4", views=4))
    assert run.views == 4 and run.name == "ada" and run.out == Path("runs/it")
    assert run.parameters == {"out": "runs/it", "name": "ada", "views": 4}
    with pytest.raises(AttributeError, match="vews is not a parameter of this notebook"):
        _ = run.vews


def test_a_run_begins_in_the_repository_wherever_its_notebook_lies(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "notebooks")
    records.begin("70_it", notebook_globals())
    assert Path.cwd() == repository


def test_a_parameter_that_papermill_made_up_is_refused_by_name(repository: Path) -> None:
    with pytest.raises(ValueError, match="parameter 'veiws' is not known; did you mean 'views'"):
        records.begin("70_it", notebook_globals("veiws = 4", veiws=4))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("views", "abc", "views: expected a whole number, 1 or more, not 'abc'"),
        ("views", 0, "views: expected a whole number, 1 or more, not 0"),
        ("name", 10, "name: expected text, not 10"),
    ],
)
def test_a_parameter_of_the_wrong_type_is_refused(repository: Path, name: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        records.begin("70_it", notebook_globals(f"{name} = {value!r}", **{name: value}))
    assert str(raised.value) == sentence


def test_what_later_cells_define_does_not_disturb_when_the_cell_is_run_again(repository: Path) -> None:
    namespace = notebook_globals("views = 4", views=4, scores={"face": 1.0}, began=3.0)
    namespace["In"] += ["scores = {}", "began = 3.0"]
    assert records.begin("70_it", namespace).views == 4


def test_a_run_leaves_a_record_of_all_it_was_given_and_used(repository: Path) -> None:
    run = records.begin("70_it", notebook_globals())
    (repository / "photograph.jpg").write_text("a head")
    run.use(["photograph.jpg", "nowhere.jpg"])
    run.finish(config=Inner(), losses={"rgb": 0.5}, scores={"face": 1.0}, pictures=(2, 0), files=["mesh.ply", "results/it.csv"])
    record = records.read(repository / "runs" / "it" / "record.json")
    assert (record.notebook, record.status, record.parameters) == ("70_it", "ok", run.parameters)
    assert record.inputs == {"photograph.jpg": records.digest("photograph.jpg"), "nowhere.jpg": ""}
    assert record.code == records.code("70_it") and record.config == {"width": 8, "radius": 0.5}
    assert record.files == ["runs/it/mesh.ply", "results/it.csv"] and record.pictures == [2, 0]
    assert record.seconds is not None and 0 <= record.seconds < 60 and (record.peak_mb or 0) > 1


# ---- files


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    with pytest.raises(OSError, match=r"runs/record\.json: cannot be written"):
        records.write(tmp_path / "runs" / "record.json", Record("01_data"))


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    record = Record("03_reconstruct", "failed", "no mask", {"views": 3}, {"shape": {"width": 8}}, seconds=1.5, files=["mesh.ply"])
    records.write(tmp_path / "record.json", record)
    assert records.read(tmp_path / "record.json") == record


def test_a_run_has_succeeded_where_its_record_says_so(tmp_path: Path) -> None:
    assert not records.succeeded(tmp_path / "record.json")
    for status in ("failed", "ok"):
        records.write(tmp_path / "record.json", Record("01_data", status))
        assert records.succeeded(tmp_path / "record.json") == (status == "ok")


def test_a_number_that_is_not_finite_becomes_null(tmp_path: Path) -> None:
    records.write(tmp_path / "r.json", Record("x", losses={"rgb": float("nan"), "mask": float("inf"), "eikonal": 1.0}))
    assert json.loads((tmp_path / "r.json").read_text())["losses"] == {"rgb": None, "mask": None, "eikonal": 1.0}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"notebook": "x", "statsu": "ok"}', "\xff", "[" * 100_000])
def test_a_file_that_is_not_a_record_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"record\.json: not a record of a run"):
        records.read(path)


def test_a_record_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"record\.json: there is no such record; the stage before this one"):
        records.read(tmp_path / "record.json")


# ---- digests


def test_the_digest_of_a_file_is_that_of_what_stands_in_it_whatever_its_date(tmp_path: Path) -> None:
    path = tmp_path / "photograph.jpg"
    path.write_text("ada")
    first = records.digest(str(path))
    path.write_text("ben")
    os.utime(path, (1, 1))  # older than it was, and of the same size
    assert records.digest(str(path)) not in (first, "")
    path.write_text("ada")
    os.utime(path, (2, 2))
    assert records.digest(str(path)) == first
    path.unlink()
    assert records.digest(str(path)) == ""


def test_the_digest_of_a_folder_is_that_of_the_names_in_it(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("ada")
    first = records.digest(str(tmp_path))
    (tmp_path / "a.jpg").write_text("ben")
    (tmp_path / ".DS_Store").touch()
    assert records.digest(str(tmp_path)) == first
    (tmp_path / "b.jpg").rename(tmp_path / "c.jpg")
    assert records.digest(str(tmp_path)) != first


def test_the_digest_of_a_table_in_a_toml_file_is_that_of_this_table_alone(tmp_path: Path) -> None:
    path, text = tmp_path / "mine.toml", "[scenes.ada]\nviews = [0, 1, 2]\n[scenes.ben]\nviews = [0, 1, 2]\n"
    path.write_text(text)
    ada, ben = (records.digest(f"{path}#scenes.{name}") for name in ("ada", "ben"))
    path.write_text(f"# a comment\n{text.replace('[0, 1, 2]', '[4, 1, 2]', 1)}")
    assert records.digest(f"{path}#scenes.ada") != ada and records.digest(f"{path}#scenes.ben") == ben
    assert records.digest(f"{path}#scenes.cleo") not in (ada, ben)


@pytest.mark.parametrize("text", ["[scenes", "scenes = 3", "\xff"])
def test_a_toml_file_that_cannot_be_read_any_more_has_another_digest_than_before(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[scenes.ada]\nviews = [0, 1, 2]\n")
    before = records.digest(f"{path}#scenes.ada")
    path.write_text(text, encoding="latin-1")
    assert records.digest(f"{path}#scenes.ada") not in (before, "")


def test_a_number_sign_in_the_name_of_a_folder_is_a_part_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "set #3"
    folder.mkdir()
    (folder / "photograph.jpg").write_text("ada")
    (folder / "mine.toml").write_text("[scenes.ada]\nviews = 3\n")
    found = [records.digest(f"{folder}/photograph.jpg"), records.digest(f"{folder}/mine.toml#scenes.ada")]
    (folder / "photograph.jpg").write_text("benno")
    (folder / "mine.toml").write_text("[scenes.ada]\nviews = 40\n")
    assert "" not in found
    assert records.digest(f"{folder}/photograph.jpg") != found[0]
    assert records.digest(f"{folder}/mine.toml#scenes.ada") != found[1]


CODE = NOTEBOOK + "# %%\nfrom heads.surface import sdf\n"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# %%\n", "# %% [markdown]\n# Prose.\n\n# %%\n", True),
        ("sdf\n", "sdf  # a comment\n", True),
        ("import sdf", "import (\n    sdf,\n)", True),
        ("= 3", "= 4", False),
        ("import sdf", "import trace", False),
    ],
)
def test_the_digest_of_code_changes_with_what_it_does_and_not_with_what_it_says(
    empty_repository: Path, forget: Any, old: str, new: str, same: bool
) -> None:
    path = empty_repository / "notebooks" / "70_it.py"
    path.write_text(CODE)
    first = records.code("70_it")
    path.write_text(CODE.replace(old, new))
    forget()
    assert (records.code("70_it") == first) == same


# ---- the repository


def test_the_commit_is_that_of_the_repository_around_and_unknown_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert records.commit() == "unknown"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "a").write_text("1")
    for command in (["init", "-q"], ["add", "a"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert records.commit() == head
    (tmp_path / "a").write_text("2")
    assert records.commit() == f"{head}-dirty"


def test_the_root_is_found_from_a_folder_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert records.root() == tmp_path / "notebooks"
    (tmp_path / "Snakefile").touch()
    assert records.root() == tmp_path
