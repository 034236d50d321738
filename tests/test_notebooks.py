"""The notebooks: generated faithfully, short, and run as they are shipped: by hand and by the runner."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

from heads import __main__ as command_line
from heads.study import contract, notebooks, plan, records, runner
from heads.study.records import Record

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


# ---- as files


SHOWN = {
    "17_views",
    "25_predict",
    "32_new_faces",
}  # pictures of what a study has made; nothing is scored by them, and other tests run them


def test_the_notebooks_are_numbered_and_each_is_the_work_of_some_study() -> None:
    assert [source.stem[:2] for source in SOURCES] == [f"{number:02d}" for number in range(1, len(SOURCES) + 1)]
    studies = [plan.read(path) for path in (ROOT / "config").glob("*.yaml")]
    assert {job.notebook for study in studies for job in study.jobs.values()} | SHOWN == {source.stem for source in SOURCES}


@each_source
def test_the_ipynb_is_what_its_source_gives_now(source: Path) -> None:
    text = nbformat.writes(notebooks.convert(source)) + "\n"
    assert source.with_suffix(".ipynb").read_text(encoding="utf-8") == text, "run `make notebooks`"
    nbformat.validate(nbformat.reads(text, as_version=4))


@each_source
def test_a_notebook_is_generated_twice_to_the_same_bytes_and_carries_no_output(source: Path) -> None:
    first, second = (notebooks.convert(source) for _ in range(2))
    assert nbformat.writes(first) == nbformat.writes(second)
    assert [cell.id for cell in first.cells] == [str(number) for number in range(len(first.cells))]
    assert all(not cell.outputs and cell.execution_count is None for cell in first.cells if cell.cell_type == "code")
    assert first.metadata.kernelspec.name == "python3" and "language_info" in first.metadata
    assert f"notebooks/{source.stem}.ipynb" in first.cells[0].source


def test_writing_all_touches_only_what_has_changed(tmp_path: Path) -> None:
    (tmp_path / "01_a.py").write_text("# %%\n1\n")
    (tmp_path / "02_b.py").write_text("# %%\n2\n")
    assert [path.name for path in notebooks.write_all(tmp_path)] == ["01_a.ipynb", "02_b.ipynb"]
    (tmp_path / "02_b.py").write_text("# %%\n3\n")
    assert [path.name for path in notebooks.write_all(tmp_path)] == ["02_b.ipynb"]


@each_source
def test_a_notebook_imports_and_never_defines(source: Path) -> None:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)]
    assert sum(cell.cell_type == "code" for cell in notebooks.convert(source).cells) <= 15


@each_source
def test_a_notebook_has_one_cell_of_parameters_all_annotated_and_begins_its_run_in_the_next(source: Path) -> None:
    code = [cell for cell in notebooks.convert(source).cells if cell.cell_type == "code"]
    (number,) = [i for i, cell in enumerate(code) if "parameters" in cell.metadata.get("tags", [])]
    statements = ast.parse(code[number].source).body
    assert all(isinstance(node, ast.AnnAssign) for node in statements)
    found = contract.read(source)
    assert list(found) == records.assigned(code[number].source) and next(iter(found)) == "out"
    assert {name: one.default for name, one in found.items()} == {
        node.target.id: ast.literal_eval(node.value)  # type: ignore[attr-defined]
        for node in statements
    }
    assert f'run = records.begin("{source.stem}", globals())' in code[number + 1].source
    assert "run.finish(" in code[-1].source


@each_source
def test_the_first_cell_installs_the_package_where_a_reader_lacks_it_and_nothing_in_a_run(
    source: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: called.append(command))
    monkeypatch.chdir(repository / "notebooks")
    for value, expected in (("1", []), (None, [[sys.executable, "-m", "pip", "install", "--quiet", ".."]])):
        monkeypatch.setenv("HEADS_RUN", value) if value else monkeypatch.delenv("HEADS_RUN")
        exec(contract.cells(source)[0], {})
        assert called == expected


# ---- as they are run


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("nope", "1", "parameter 'nope' is not known (known: amounts, cameras, capture, kind, "),
        ("light", "commn", "light: 'commn' is not known; did you mean 'common'?"),
    ],
)
def test_a_wrong_parameter_by_hand_ends_in_the_second_code_cell_before_any_work(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    """With plain papermill, on the .ipynb, from the notebooks' folder, as a reader would."""
    monkeypatch.setenv("PYTHONPATH", str(repository / "lib"))
    folder, out = repository / "notebooks", tmp_path / "out.ipynb"
    with pytest.raises(papermill.PapermillExecutionError) as raised:
        papermill.execute_notebook(folder / "01_data.ipynb", out, {name: value}, kernel_name="python3", cwd=folder)
    assert raised.value.ename == "ValueError" and raised.value.evalue.startswith(sentence)
    ran = [cell for cell in nbformat.read(out, as_version=4).cells if cell.get("execution_count")]
    assert "records.begin(" in ran[-1].source
    assert not (repository / "runs" / "demo").exists()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("veiws", "3", "notebooks/03_reconstruct.py: parameter 'veiws' is not known; did you mean 'views'?"),
        ("preset", "LAPTP", "-p preset: 'LAPTP' is not known; did you mean 'LAPTOP'?"),
        ("views", "0", "-p views: expected a whole number, 1 or more, not 0"),
    ],
)
def test_the_runner_refuses_a_wrong_parameter_without_a_kernel(
    empty_repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    sentence: str,
) -> None:
    words = ["heads", "run", "notebooks/03_reconstruct.py", "out.ipynb", "-p", name, value, "--record", "record.json"]
    monkeypatch.setattr(sys, "argv", words)
    assert command_line.main() == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith(sentence) and "\n" not in said
    assert not Path("out.ipynb").exists() and not Path("record.json").exists()


TINY = """# %% tags=["parameters"]
record: str = ""
subject: str = ""
reason: str = ""
deadly: bool = False

# %%
import os
from pathlib import Path
from heads.study import records

if reason:
    raise ValueError(reason)
if deadly:
    os._exit(9)
records.write(Path(record), records.Record("tiny", parameters={"subject": subject, "run": os.environ["HEADS_RUN"]}))
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository with one small notebook, as the current folder."""
    (tmp_path / "Snakefile").touch()
    (tmp_path / "tiny.py").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "lib"))
    return tmp_path


def run_tiny(*, soft: bool = False, after: tuple[str, ...] = (), **parameters: object) -> int:
    given = {"record": "r.json"} | parameters
    return runner.run_notebook(Path("tiny.py"), Path("out.ipynb"), given, Path("r.json"), list(map(Path, after)), soft)


def test_a_notebook_that_ends_well_leaves_its_own_record(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["heads", "run", "tiny.py", "out.ipynb", "--record", "r.json", "-p", "record", "r.json", "-p", "subject", "010"]
    monkeypatch.setattr(sys, "argv", words)
    assert command_line.main() == 0
    record = records.read(tiny / "r.json")
    assert record.status == "ok" and record.parameters == {"subject": "010", "run": "1"}  # it knows that it is no reader's


def test_a_failure_leaves_a_record_with_its_reason_and_the_executed_notebook(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tiny(reason="the mask is\n empty") == 1
    assert "out: failed: the mask is empty (see out.ipynb)" in capsys.readouterr().err.splitlines()
    assert run_tiny(reason="the mask is empty", soft=True) == 0
    record = records.read(tiny / "r.json")
    assert (record.status, record.reason) == ("failed", "the mask is empty")
    assert record.parameters == {"record": "r.json", "reason": "the mask is empty"}
    assert "the mask is empty" in (tiny / "out.ipynb").read_text()


def test_what_failed_before_is_passed_on_without_a_kernel(tiny: Path) -> None:
    records.write(tiny / "before.json", Record("01_data", "failed", "an image is missing"))
    records.write(tiny / "well.json", Record("02_prior"))
    assert run_tiny(after=("well.json", "before.json"), soft=True) == 0
    assert records.read(tiny / "r.json").reason == "an image is missing"
    assert not (tiny / "out.ipynb").exists()
    assert run_tiny(after=("well.json", "before.json")) == 1
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json: there is no such record"):
        run_tiny(after=("nowhere.json",))


def test_a_kernel_that_dies_is_a_hard_failure_in_one_sentence(tiny: Path) -> None:
    with pytest.raises(RuntimeError, match=r"tiny\.py: its kernel died") as raised:
        run_tiny(deadly=True, soft=True)
    assert "\n" not in str(raised.value) and not (tiny / "r.json").exists()


def test_a_notebook_that_forgets_its_record_is_a_hard_failure(tiny: Path) -> None:
    records.write(tiny / "r.json", Record("tiny"))
    with pytest.raises(RuntimeError, match=r"did not write r\.json"):
        run_tiny(record="elsewhere.json", soft=True)
