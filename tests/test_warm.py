"""Warm kernels run a notebook as plain ones do and die with whatever started them; without a server kernels are plain."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import copies
import nbformat
import psutil
import pytest

from heads.study import notebooks, warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no kernels are forked")

TELLS = """# %%
import os, sys
from pathlib import Path
Path("pid").write_text(str(os.getpid()))
"""
SHOWS = """# %%
import random
import numpy as np, torch
from matplotlib.figure import Figure
random.seed(0), np.random.seed(0), torch.manual_seed(0)
print(os.getcwd(), sys.path, sys.warnoptions, {k: v for k, v in os.environ.items() if not k.startswith(("JPY_", "HEADS_"))})
print(torch.get_num_threads(), random.random(), np.random.rand(), torch.rand(3), sys.stdin.closed, __name__, file=sys.stderr)

# %%
figure = Figure(figsize=(1, 1))
figure.add_subplot().plot([1, 2])
display(figure, figure.axes[0].lines)
%matplotlib inline
"""
UNSEEDED = "import random, numpy, torch\nprint(random.random(), numpy.random.rand(), torch.rand(1))"


@pytest.fixture
def folder(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which notebooks are run by a copy of the library."""
    for name, value in copies.environment(repository).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(warm.VARIABLE, raising=False)  # of the fixture `server`
    (tmp_path / "Snakefile").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[str]:
    """The socket of a server for all tests that leave it as it is."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in copies.environment(repository).items():
            patch.setenv(name, value)
        with warm.kernels(["no.such.module"]):
            yield os.environ[warm.VARIABLE]


@pytest.fixture
def offered(folder: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with warm kernels on offer."""
    monkeypatch.setenv(warm.VARIABLE, server)
    return folder


@pytest.fixture
def lost(folder: Path) -> Iterator[Path]:
    """The same, with a server that the test makes useless for others."""
    with warm.kernels(["no.such.module"]):
        yield folder


def job(code: str, **environment: str) -> subprocess.Popen[str]:
    """Begin to run a notebook."""
    name = f"n{time.monotonic_ns()}"
    Path(f"{name}.py").write_text(TELLS + code)
    command = [sys.executable, "-m", "heads", "run", f"{name}.py", "out.ipynb"]
    return subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True)


def run(code: str, **environment: str) -> tuple[bool, str]:
    """Run a notebook; whether its kernel was a warm one, and what it said on the way to its end."""
    code += "\n_ = Path('warm').write_text(str('warm.serve' in Path('/proc/self/cmdline').read_text()))\n"
    _, said = job(code, **environment).communicate(timeout=60)
    return Path("warm").read_text() == "True", said


def outputs() -> list[dict[str, object]]:
    cells = nbformat.read("out.ipynb", as_version=4).cells
    return [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]


def gone(*processes: psutil.Process) -> bool:
    """Whether all of these have ended within a few seconds."""
    return not psutil.wait_procs(processes, timeout=10)[1]


def kernel() -> psutil.Process:
    """The kernel of a job that has begun."""
    began = time.monotonic()
    while not (Path("pid").is_file() and Path("pid").read_text()):
        assert time.monotonic() - began < 60
        time.sleep(0.02)
    return psutil.Process(int(Path("pid").read_text()))


def test_a_warm_kernel_gives_what_a_plain_one_gives_but_draws_its_own_numbers(folder: Path) -> None:
    drawn, shown = [], []
    with warm.kernels(["numpy", "torch", "matplotlib.figure"]):
        for _ in range(2):
            assert run(UNSEEDED)[0]
            drawn += str(outputs()[0]["text"]).split()
        assert run(SHOWS)[0]
        shown.append(outputs())
    assert not run(SHOWS)[0]
    shown.append(outputs())
    assert shown[0] == shown[1] and len(shown[0]) > 3
    assert len(set(drawn)) == len(drawn) == 6


@pytest.mark.parametrize("death", ["os._exit(9)", "os.kill(os.getpid(), 9)", "sys.stdout.flush(); os.kill(os.getpid(), 11)"])
def test_a_warm_kernel_that_dies_is_reported(offered: Path, death: str) -> None:
    dies = job(death)
    assert "its kernel died" in dies.communicate(timeout=60)[1] and dies.returncode == 1


def client(of: subprocess.Popen[str]) -> psutil.Process:
    return next(child for child in psutil.Process(of.pid).children() if "warm.py" in " ".join(child.cmdline()))


VICTIMS = {"client": client, "job": lambda running: psutil.Process(running.pid), "server": lambda running: kernel().parent()}


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_warm_kernel_ends_when_its_client_its_job_or_the_server_is_killed(victim: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("lost" if victim == "server" else "offered")
    running = job("import time; time.sleep(60)")
    tree = [kernel(), client(running)]
    VICTIMS[victim](running).kill()
    assert gone(*tree)
    said = running.communicate(timeout=60)[1]
    assert running.returncode == -signal.SIGKILL if victim == "job" else "its kernel died" in said
    assert run("")[0] == (victim != "server")


def test_an_interrupt_reaches_the_kernel(offered: Path) -> None:
    running = job("import time; time.sleep(60)")
    kernel()
    time.sleep(0.3)
    client(running).send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in running.communicate(timeout=60)[1]


def test_nothing_is_left_of_a_study_that_is_killed(folder: Path) -> None:
    code = "import os, time; from heads.study import warm\n"
    code += "with warm.kernels([]): print(os.environ[warm.VARIABLE], flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as study:
        assert study.stdout
        path = study.stdout.readline().strip()
        running = job("import time; time.sleep(60)", HEADS_WARM=path)
        tree = [kernel(), kernel().parent()]
        study.kill()
        assert gone(*tree) and not Path(path).parent.exists()
        assert "its kernel died" in running.communicate(timeout=60)[1]


def test_nothing_is_left_when_a_study_has_ended(folder: Path) -> None:
    before = psutil.Process().children()
    with warm.kernels([]):
        path = Path(os.environ[warm.VARIABLE])
        assert run("")[0]
        others = [child for child in psutil.Process().children() if child not in before]
        server = next(child for child in others if "warm.serve" in " ".join(child.cmdline()))
    assert gone(server) and not path.parent.exists() and warm.VARIABLE not in os.environ


def test_what_a_warm_kernel_cannot_be_is_a_plain_one(lost: Path, repository: Path) -> None:
    assert run("")[0]
    for other in ({"OMP_NUM_THREADS": "2"}, {"PYTHONWARNINGS": "error"}, {"HEADS_WARM": "/no/such/socket"}):
        assert not run("", **other)[0], other
    snakemake = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMEXPR_NUM_THREADS": "1"}
    assert run("", **snakemake)[0]
    (repository / "lib" / "heads" / "mesh.py").touch()  # the server has imported what is no longer there
    assert not run("")[0]


def test_where_no_server_can_be_started_kernels_are_plain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with warm.kernels([]):
        assert warm.VARIABLE not in os.environ and warm.command()[1:] == ["-m", "ipykernel_launcher"]
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("TMPDIR", "/no/such/folder")
    monkeypatch.setattr("tempfile.tempdir", "/no/such/folder")
    with warm.kernels([]):
        assert warm.VARIABLE not in os.environ
    with pytest.raises(OSError, match="of the body"), warm.kernels([]):
        raise OSError("of the body")


def test_what_notebooks_import_is_found_in_their_top_level() -> None:
    source = "import a.b, c\nfrom d.e import f as g, h\nif c:\n    import i\n"
    assert warm.imported([source, "no ( python", "import c"]) == ["a.b", "c", "d.e", "d.e.f", "d.e.h"]


def test_the_kernel_is_our_own_python_whatever_is_installed_as_python3(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (folder / "home/.local/share/jupyter", folder / "path"):
        (place / "kernels" / "python3").mkdir(parents=True)
        spec = '{"argv": ["/bin/false", "{connection_file}"], "display_name": "Python 3", "language": "python"}'
        (place / "kernels" / "python3" / "kernel.json").write_text(spec)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "path"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    running = job("Path('python').write_text(sys.executable)")
    said = running.communicate(timeout=60)[1]
    assert running.returncode == 0, said
    assert Path("python").read_text() == sys.executable
    assert notebooks.Kernel(kernel_name="python3").kernel_spec.argv[0] == sys.executable
