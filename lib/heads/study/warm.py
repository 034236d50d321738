"""Warm kernels: while a study runs, its notebooks' kernels are forked off one process that has already imported what they need.

A fresh kernel spends seconds of a core on imports before its first line. `kernels` starts a server that imports them once and
listens on the socket named by HEADS_WARM. What a job starts as its kernel (`command`) is this file, as a small client: it hands
the server its arguments, environment, folder and standard streams, then stands in for the kernel that is forked for it. It ends
as the kernel ends, and the kernel is killed when the client ends, or the job, the server or the study. If no server answers, or
the job would have started otherwise than the server did, the client turns into a plain kernel.

A warm kernel's peak memory counts what it shares with the server and would else hold itself: it begins with the server's own.

The client takes milliseconds, as long as nothing large is imported at the top of this file.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, cast

VARIABLE = "HEADS_WARM"  # in the environment of a study's jobs: the server's socket
# Environment variables that are read once, on import, or that say in which allocation of a cluster a job runs.
AT_START = ("PYTHON", "OMP_", "MKL_", "OPENBLAS_", "KMP_", "LD_", "MPL", "TORCH", "TZ", "LANG", "LC_", "SLURM_")
PATIENCE_S = 60.0  # of a client with a server that is still importing
PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def command() -> list[str]:
    """The command, without its arguments, that starts a kernel of this Python: a warm one if a server offers that."""
    if os.environ.get(VARIABLE):
        return [sys.executable, "-I", "-S", __file__]
    return [sys.executable, "-m", "ipykernel_launcher"]


def imported(sources: Sequence[str]) -> list[str]:
    """The modules, or names in them, that these Python sources import at their top level."""
    import ast

    found: dict[str, None] = {}
    for source in sources:
        with suppress(SyntaxError, ValueError):  # which its own kernel will report
            for statement in ast.parse(source).body:
                if isinstance(statement, ast.Import):
                    found |= dict.fromkeys(alias.name for alias in statement.names)
                elif isinstance(statement, ast.ImportFrom) and statement.module:
                    found |= dict.fromkeys([statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)])
    return list(found)


@contextmanager
def kernels(modules: Sequence[str]) -> Iterator[None]:
    """Offer kernels that have imported `modules` to everything started meanwhile; offer none where that is impossible."""
    with ExitStack() as stack:
        if sys.platform == "linux" and hasattr(os, "pidfd_open"):  # elsewhere forking is unsafe, or impossible
            with suppress(OSError):
                _start(stack, modules)
        yield


def _start(stack: ExitStack, modules: Sequence[str]) -> None:
    """Start a server that ends with the stack."""
    import shutil
    import subprocess
    import tempfile

    folder = tempfile.mkdtemp(prefix="heads-")  # only this user can enter it
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    path = os.path.join(folder, "kernels")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(path)
        listening.listen(128)  # so that clients can queue while the server still imports
        server = subprocess.Popen(
            [sys.executable, "-c", "from heads.study import warm; warm.serve()", str(listening.fileno()), *modules],
            stdin=subprocess.PIPE,  # it closes when this process ends, however it does
            env={**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")},
            pass_fds=[listening.fileno()],
            start_new_session=True,  # Ctrl-C is for the jobs, not for it
        )

    def end() -> None:
        assert server.stdin
        server.stdin.close()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    stack.callback(end)
    os.environ[VARIABLE] = path
    stack.callback(os.environ.pop, VARIABLE, None)


# ---- the client: nothing is imported that takes time


def ask(path: str, arguments: list[str]) -> int | None:
    """Have the server at `path` start a kernel and wait for its end; its exit code, or None if there is no such kernel."""
    parent = os.getppid()
    request = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "python": sys.executable}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        try:
            server.settimeout(PATIENCE_S)
            server.connect(path)
            socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
            kernel = int(server.recv(100))
        except (OSError, ValueError):
            return None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(kernel, number))
        while not select.select([server], [], [], 1.0)[0]:
            if os.getppid() != parent:  # the job has died
                return 1
        with suppress(OSError, ValueError):
            return int(server.recv(100))
        return 1  # the server has died, and its kernels with it


# ---- the server


def serve() -> None:
    """Import what the command line names, then fork a kernel for each client, until the study ends and closes standard input."""
    import gc
    import importlib

    listening, since = socket.socket(fileno=int(sys.argv[1])), _sources()
    if sys.path[0] == "":
        del sys.path[0]  # as ipykernel_launcher does
    os.environ.pop("JPY_PARENT_PID", None)
    started = _at_start(os.environ)
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # as in any kernel
    for name in ("ipykernel.kernelapp", *sys.argv[2:]):
        with suppress(Exception):  # the notebook that imports it will say what is wrong
            importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        return  # a fork would not have the other threads, and perhaps wait for them forever
    gc.collect()
    gc.freeze()  # or the first collection in each kernel would copy the memory they share

    def fits(request: dict[str, Any]) -> bool:
        same = _at_start(request["environment"]) == started and request["python"] == sys.executable
        return same and _sources() == since

    with listening:
        request = _serve(listening, fits)
    if request:
        _become(request)


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """What of an environment is read once, when Python starts or a library is imported."""
    threads = environment.get("OMP_NUM_THREADS", "")
    found = {"MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}  # unless they say something else, as Snakemake does
    return found | {name: value for name, value in environment.items() if name.startswith(AT_START)}


def _sources() -> dict[str, int]:
    """When each module of the package was last written: a kernel must not run an older one."""
    found = {}
    for folder, _, names in os.walk(os.path.dirname(os.path.dirname(__file__))):
        for path in (os.path.join(folder, name) for name in names if name.endswith(".py")):
            with suppress(OSError):
                found[path] = os.stat(path).st_mtime_ns
    return found


def _serve(listening: socket.socket, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """Fork a kernel for each request that `fits`, and return the request in the kernel; None when the study has ended."""
    import selectors

    clients: dict[int, socket.socket] = {}  # by the process id of their kernel
    ready = selectors.PollSelector()  # unlike epoll, not shared with those that are forked
    ready.register(0, selectors.EVENT_READ)
    ready.register(listening, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fd == 0:
                for pid in clients:
                    _kill(pid)
                with suppress(OSError):  # a study that was killed has not removed it
                    os.unlink(listening.getsockname())
                    os.rmdir(os.path.dirname(listening.getsockname()))
                return None
            if key.fileobj is listening:
                client, _ = listening.accept()
                request = _received(client, fits)
                if request is None:
                    client.close()
                    continue
                try:
                    pid = os.fork()
                except OSError:  # for lack of memory; the client tries on its own
                    pid = -1
                if pid == 0:
                    client.close()
                    for own in [other.fileobj for other in ready.get_map().values()]:
                        os.close(own) if isinstance(own, int) else cast(socket.socket, own).close()
                    return request
                for stream in request["streams"]:
                    os.close(stream)
                if pid < 0:
                    client.close()
                    continue
                clients[pid] = client
                ready.register(client, selectors.EVENT_READ, pid)
                ready.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                _tell(client, pid)
            elif key.data in clients and key.fileobj is clients[key.data]:  # the client has ended
                ready.unregister(key.fileobj)
                _kill(key.data)
            elif isinstance(key.fileobj, int):  # the kernel has ended
                ready.unregister(key.fileobj)
                os.close(key.fileobj)
                client = clients.pop(key.data)
                with suppress(KeyError):
                    ready.unregister(client)
                _tell(client, os.waitstatus_to_exitcode(os.waitpid(key.data, 0)[1]))
                client.close()


def _received(client: socket.socket, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """What a client asks for, with its standard streams; None if that does not fit, or the client is gone already."""
    client.settimeout(5)
    streams: list[int] = []
    try:
        text, streams, _, _ = socket.recv_fds(client, 1 << 20, 3)
        request: dict[str, Any] = json.loads(text)
        if len(streams) == 3 and fits(request) and not select.select([client], [], [], 0)[0]:
            return request | {"streams": streams, "server": os.getpid()}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    for stream in streams:
        os.close(stream)
    return None


def _tell(client: socket.socket, number: int) -> None:
    with suppress(OSError):  # the client has ended, and its kernel will be killed for that
        client.send(str(number).encode())


def _kill(pid: int) -> None:
    """Kill a kernel and what it has started."""
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


def _become(request: dict[str, Any]) -> None:
    """Become the kernel that was asked for, in a process that has just been forked."""
    import ctypes
    import tempfile

    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # when the server has died
    if os.getppid() != request["server"]:
        os._exit(1)
    for number, stream in enumerate(request["streams"]):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    arguments = [*request["arguments"], "--IPKernelApp.parent_handle=1"]  # it watches no parent: the server kills it
    if (torch := sys.modules.get("torch")) and torch.cuda._is_in_bad_fork():  # an import has asked for the GPU: not ours any more
        os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *arguments])
    tempfile.tempdir = None  # until it is asked for again
    if numpy := sys.modules.get("numpy"):  # or all kernels would draw the same; Python's own generator sees to it itself
        numpy.random.seed()
    if torch:
        torch.default_generator.seed()  # without the GPU's
    from ipykernel import kernelapp

    sys.argv = ["ipykernel_launcher", *arguments]
    kernelapp.launch_new_instance()


if __name__ == "__main__":
    code = ask(os.environ[VARIABLE], sys.argv[1:])
    if code is None:
        os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *sys.argv[1:]])
    os._exit(code if code >= 0 else 128 - code)
