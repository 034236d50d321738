"""One study at a time, and what it started ends with it."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from heads.study import lock

JOB = "import time; from heads.study import lock; lock.join(every_s=0.05); print('joined', flush=True); time.sleep(60)"
STUDY = f"""
import subprocess, sys, time
from heads.study import lock
with lock.held("config/mine.yaml"):
    subprocess.Popen([sys.executable, "-c", {JOB!r}])
    time.sleep(60)
"""


def python(code: str, folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(lock.__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_studies_do_not_run_in_one_folder_and_the_second_says_who_the_first_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lock.holder() is None
    with lock.held("config/mine.yaml"):
        assert lock.holder()
        said = rf"another study is running here \(runs/.lock is held by config/mine.yaml, process {os.getpid()} on .*\); wait for"
        with pytest.raises(RuntimeError, match=said), lock.held("config/other.yaml"):
            pass
        assert lock.holder() and lock.VARIABLE in os.environ
    assert lock.holder() is None and lock.VARIABLE not in os.environ
    with lock.held("config/other.yaml"):
        pass


def test_the_jobs_of_a_study_that_is_killed_end_and_the_next_one_waits_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with python(STUDY, tmp_path) as driver:
        assert driver.stdout and driver.stderr and driver.stdout.readline() == "joined\n"
        driver.kill()
        with lock.held("config/mine.yaml"):  # waits for the job, which holds runs/.jobs
            assert driver.stdout.read() == ""  # nobody has the other end open any more
        assert "the study that started this has ended (config/mine.yaml, process" in driver.stderr.read()


def test_a_job_whose_study_was_to_read_what_it_says_ends_with_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with python(STUDY.replace("])\n", "], stderr=subprocess.PIPE)\n"), tmp_path) as driver:
        assert driver.stdout and driver.stdout.readline() == "joined\n"
        driver.kill()
        with lock.held("config/mine.yaml"):
            assert driver.stdout.read() == ""


def test_a_lock_that_cannot_be_looked_at_for_a_while_still_stands(tmp_path: Path) -> None:
    assert lock._stands(tmp_path, "a line")  # to open a folder is an OSError
    assert not lock._stands(tmp_path / "none", "a line")


def test_a_job_of_a_study_that_has_ended_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with lock.held("config/mine.yaml"):
        line = os.environ[lock.VARIABLE]
    monkeypatch.setenv(lock.VARIABLE, line)
    with lock.held("config/other.yaml"):
        other = os.environ[lock.VARIABLE]
        for said, ends in ((line, True), (other, False)):
            monkeypatch.setenv(lock.VARIABLE, said)
            with python(JOB.replace("sleep(60)", "sleep(0.5)"), tmp_path) as job:
                out, err = job.communicate(timeout=20)
            assert (job.returncode == 1, out == "", "has ended" in err) == (ends,) * 3, err


def test_without_a_study_nothing_is_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lock.VARIABLE, raising=False)
    lock.join()
    assert list(tmp_path.iterdir()) == []


def test_a_study_does_not_join_itself_and_so_does_not_end_with_its_own_lock(tmp_path: Path) -> None:
    code = (
        "import time; from heads.study import lock\nwith lock.held('a'): lock.join(every_s=0.01)\ntime.sleep(0.2); print('well')"
    )
    with python(code, tmp_path) as study:
        assert study.communicate(timeout=20) == ("well\n", "") and study.returncode == 0


def test_leftovers_that_do_not_end_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lock, "PATIENCE_S", 0.3)
    lock.JOBS.parent.mkdir()
    with lock.JOBS.open("a") as job:
        fcntl.flock(job, fcntl.LOCK_SH)
        with pytest.raises(RuntimeError, match="jobs of an earlier study are still running here"), lock.held("config/mine.yaml"):
            pass
        assert lock.holder() is None
    with lock.held("config/mine.yaml"):
        pass
