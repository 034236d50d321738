"""The notebooks: generated faithfully, short, and run as they are shipped: by hand and by the runner."""

import ast
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import copies
import nbformat
import pytest

from heads.study import notebooks
from heads.study import plan as study
from heads.study import records as runs

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
JOBS = {job.notebook: job for job in study.JOBS}
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


# ---- as files


def test_every_notebook_is_the_work_of_one_job() -> None:
    assert [source.stem for source in SOURCES] == list(JOBS)


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
def test_the_parameters_of_a_notebook_are_the_fields_of_its_job_with_their_defaults(source: Path) -> None:
    tagged = [cell for cell in notebooks.convert(source).cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    defaults = {
        node.target.id: ast.literal_eval(node.value)
        for node in ast.parse(tagged[0].source).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
    }
    assert defaults == {
        f.name: f.default_factory() if f.default_factory is not MISSING else f.default for f in fields(JOBS[source.stem])
    }


# ---- as they are run


@pytest.mark.parametrize(
    ("parameter", "sentence"),
    [
        (("nope", "1"), "parameter 'nope' is not known"),
        (("method", "idrr"), "method: 'idrr' is not known; did you mean 'idr'?"),
    ],
)
def test_a_wrong_parameter_by_hand_ends_in_the_second_code_cell_before_any_work(
    repository: Path, tmp_path: Path, parameter: tuple[str, str], sentence: str
) -> None:
    """With plain papermill, on the .ipynb, from the notebooks' folder, as a reader would."""
    command = [
        sys.executable,
        "-m",
        "papermill",
        "-k",
        "python3",
        "03_reconstruct.ipynb",
        str(tmp_path / "out.ipynb"),
        "-p",
        *parameter,
    ]
    done = subprocess.run(
        command, cwd=repository / "notebooks", env=copies.environment(repository), capture_output=True, text=True
    )
    assert done.returncode != 0 and f"ValueError: {sentence}" in done.stderr
    ran = [cell for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells if cell.get("execution_count")]
    assert "runs.parameters(globals()" in ran[-1].source
    assert not (repository / "runs" / "demo").exists()


def test_the_runner_refuses_an_unknown_parameter_without_a_kernel(repository: Path, tmp_path: Path) -> None:
    done = copies.heads(repository, "run", "notebooks/03_reconstruct.py", str(tmp_path / "out.ipynb"), "-p", "veiws", "3")
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        == f"notebooks/03_reconstruct.py: parameter {study.unknown('veiws', [f.name for f in fields(study.FitJob)])}"
    )
    assert not (tmp_path / "out.ipynb").exists()


TINY = """# %% tags=["parameters"]
record: str = ""
reason: str = ""
deadly: bool = False

# %%
import os
from pathlib import Path
from heads.study import records as runs

if reason:
    raise ValueError(reason)
if deadly:
    os._exit(9)
runs.write_record(Path(record), runs.Record("tiny"))
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """An empty repository with one small notebook."""
    (tmp_path / "Snakefile").touch()
    (tmp_path / "tiny.py").write_text(TINY)
    return tmp_path


def run_tiny(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "heads",
        "run",
        "tiny.py",
        "out.ipynb",
        "--record",
        "r.json",
        "-p",
        "record",
        "r.json",
        *words,
    ]
    environment = copies.environment(ROOT)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_notebook_that_ends_well_leaves_its_own_record(tiny: Path) -> None:
    assert run_tiny(tiny).returncode == 0
    assert runs.read_record(tiny / "r.json").status == "ok"


def test_a_failure_leaves_a_record_with_its_reason_and_the_executed_notebook(tiny: Path) -> None:
    hard = run_tiny(tiny, "-p", "reason", "the mask is\n empty")
    assert hard.returncode == 1 and "tiny out: failed: the mask is empty (see out.ipynb)" in hard.stderr.splitlines()
    soft = run_tiny(tiny, "-p", "reason", "the mask is empty", "--soft")
    assert soft.returncode == 0
    record = runs.read_record(tiny / "r.json")
    assert (record.status, record.reason) == ("failed", "the mask is empty")
    assert record.parameters == {"record": "r.json", "reason": "the mask is empty"}
    assert "the mask is empty" in (tiny / "out.ipynb").read_text()


def test_what_failed_before_is_passed_on_without_a_kernel(tiny: Path) -> None:
    runs.write_record(tiny / "before.json", runs.Record("01_data", "failed", "an image is missing"))
    assert run_tiny(tiny, "--after", "before.json", "--soft").returncode == 0
    assert runs.read_record(tiny / "r.json").reason == "an image is missing"
    assert not (tiny / "out.ipynb").exists()


def test_a_kernel_that_dies_is_a_hard_failure_in_one_sentence(tiny: Path) -> None:
    done = run_tiny(tiny, "-p", "deadly", "true", "--soft")
    assert done.returncode == 1 and not (tiny / "r.json").exists()
    assert "tiny.py: its kernel died" in done.stderr and "Traceback" not in done.stderr


def test_a_notebook_that_forgets_its_record_is_a_hard_failure(tiny: Path) -> None:
    runs.write_record(tiny / "r.json", runs.Record("tiny"))
    done = run_tiny(tiny, "-p", "record", "elsewhere.json", "--soft")
    assert done.returncode == 1 and "did not write r.json" in done.stderr
