"""One study at a time in a repository, and nothing of it that goes on when it has died.

The study's process holds runs/.lock (flock) and says in it who it is. Snakemake and every job of it know that line from their
environment, look once a second whether it still stands there and is held, and end where it is not. So a study that is killed, in
whatever way, has stopped a moment later, on every machine that shares the folder. All of them hold runs/.jobs together; a study
takes that alone before it begins, so that nobody is left who still writes.
"""

import fcntl
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

LOCK, JOBS = Path("runs", ".lock"), Path("runs", ".jobs")
VARIABLE = "HEADS_STUDY"  # in the environment of all that a study starts: the line that its lock holds
PATIENCE_S = 30.0  # with what a killed study has left; it ends within two seconds
_JOINED: list[IO[str]] = []  # runs/.jobs, held until this process ends
_OWN: set[str] = set()  # the lines of this process's own locks


@contextmanager
def held(what: str) -> Iterator[None]:
    """Hold the lock of the current repository for `what`; RuntimeError says who holds it already."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+") as file:
        for _ in range(20):  # those who only look hold it for a moment too
            if _taken(file.fileno(), fcntl.LOCK_EX):
                break
            time.sleep(0.05)
        else:
            file.seek(0)
            raise RuntimeError(
                f"another study is running here ({LOCK} is held by {file.read().strip() or '?'}); wait for its end"
            )
        line = f"{what}, process {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T')} ({time.time_ns()})"
        file.truncate(0)
        file.write(line + "\n")
        file.flush()
        _wait_for_leftovers()
        os.environ[VARIABLE] = line
        _OWN.add(line)
        try:
            yield
        finally:
            del os.environ[VARIABLE]


def holder() -> tuple[str, float] | None:
    """The study that is running in the current repository, and since when (`time.time`); None where none is."""
    try:
        with LOCK.open() as file:
            line = file.read().strip()
            if _taken(file.fileno(), fcntl.LOCK_SH):
                return None
    except FileNotFoundError:
        return None
    since = re.search(r"\((\d+)\)$", line)
    return line.partition(", process ")[0], int(since[1]) / 1e9 if since else 0.0


def join(every_s: float = 1.0) -> None:
    """Belong to the study that started this process, if one did: when it has died, end at once, as if killed."""
    line, root = os.environ.get(VARIABLE), Path.cwd()
    if line is None or line in _OWN:  # the study itself, which runs the first cells of its notebooks (runner.check)
        return
    jobs = (root / JOBS).open("a+")  # NFS shares a lock with those only who may read
    fcntl.flock(jobs, fcntl.LOCK_SH)
    _JOINED.append(jobs)

    def watch() -> None:
        while _stands(root / LOCK, line):
            time.sleep(every_s)
        with suppress(OSError):  # nobody reads it where the study was to pass it on
            print(f"the study that started this has ended ({line}); ending too", file=sys.stderr, flush=True)
        os._exit(1)

    if not _stands(root / LOCK, line):
        sys.exit(f"the study that started this has ended ({line})")
    threading.Thread(target=watch, daemon=True).start()


def _stands(path: Path, line: str) -> bool:
    """Whether the lock at `path` is held, by the study that wrote `line`; as long as it cannot be looked at, it is."""
    try:
        with path.open() as file:
            return file.read().strip() == line and not _taken(file.fileno(), fcntl.LOCK_SH)
    except FileNotFoundError:
        return False
    except OSError:  # a share that does not answer for a while
        return True


def _taken(file: int, how: int) -> bool:
    """Take a lock if it is free."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_leftovers() -> None:
    """Wait until all that an earlier study started has ended."""
    with JOBS.open("a") as file:
        began = time.monotonic()
        while not _taken(file.fileno(), fcntl.LOCK_EX):
            if time.monotonic() - began > PATIENCE_S:
                raise RuntimeError(f"jobs of an earlier study are still running here ({JOBS} is held); end them, then try again")
            time.sleep(0.1)
