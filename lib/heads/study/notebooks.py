"""Notebooks: made from their sources, and run with parameters.

A source is notebooks/NN_name.py in the percent format. The .ipynb beside it is generated for Colab and GitHub: the same source
always gives the same bytes, and nothing reads them back.
"""

import hashlib
import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from heads import files
from heads.study import contract, warm

REPOSITORY = "heads-authors/heads"  # on GitHub, for the badge that opens a notebook in Colab
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/main/notebooks/{name}.ipynb)"
)
SPEAKING = {"ValueError", "FileNotFoundError", "OSError", "PermissionError"}  # their messages need no name before them


class Failed(Exception):
    """A cell raised an exception; the message is what that said, in one line."""


class Kernel(AsyncKernelManager):
    """A kernel of the Python that runs this, whatever is installed under the name "python3"; a warm one if that is offered."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=[*warm.command(), "-f", "{connection_file}"], display_name="Python 3", language="python")


def convert(source: Path) -> nbformat.NotebookNode:
    """The notebook of a source, with a Colab badge on top; cells are numbered, so that the same source gives the same bytes."""
    import jupytext  # slower to import than all the rest, and only the first job of each notebook needs it

    notebook = jupytext.read(source, fmt="py:percent")
    badge = nbformat.v4.new_markdown_cell(BADGE.format(repository=REPOSITORY, name=source.stem))
    notebook.cells.insert(0, badge)
    for number, cell in enumerate(notebook.cells):
        cell.id = str(number)
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {
                "file_extension": ".py",
                "mimetype": "text/x-python",
                "name": "python",
                "pygments_lexer": "ipython3",
            },
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def converted(source: Path, kept: Path) -> nbformat.NotebookNode:
    """The notebook of a source, converted once and kept in the folder `kept` under a fingerprint of what it was made from."""
    made_from = source.read_bytes() + Path(__file__).read_bytes()
    path = kept / f"{source.stem}.{hashlib.sha256(made_from).hexdigest()[:16]}.ipynb"
    if not path.is_file():
        with files.replacing(path) as partial:
            partial.write_text(nbformat.writes(convert(source)), encoding="utf-8")
    return nbformat.read(path, as_version=4)


def write_all(folder: Path) -> list[Path]:
    """Make the .ipynb of every source in a folder; the paths of those that changed."""
    changed = []
    for source in sorted(folder.glob("[0-9][0-9]_*.py")):
        text = nbformat.writes(convert(source)) + "\n"
        path = source.with_suffix(".ipynb")
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            with files.replacing(path) as partial:
                partial.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def execute(source: Path, output: Path, parameters: Mapping[str, Any]) -> float:
    """Run a source with papermill in the current folder and leave the executed notebook at `output`; the seconds it took.

    The converted source is kept beside `output`, in .sources. An unknown parameter is a ValueError before any work, a cell that
    raises is Failed, a kernel that dies is a RuntimeError.
    """
    notebook = converted(source, output.parent / ".sources")
    known = contract.read(source)
    for name in parameters:
        if name not in known:
            raise ValueError(f"{source}: parameter {contract.unknown(name, known)}")
    output.parent.mkdir(parents=True, exist_ok=True)
    os.environ["HEADS_RUN"] = "1"  # for the kernel: then the notebook's first cell installs nothing, whatever Python that is
    loggers = [logging.getLogger(name) for name in ("papermill", "papermill.translators")]  # which reads types in quotes badly
    for logger in loggers:
        logger.addFilter(_progress_only)
    began = time.monotonic()
    try:
        papermill.execute_notebook(
            notebook,
            output,
            dict(parameters),
            kernel_name="python3",  # what the metadata call it; the manager decides what runs
            kernel_manager_class=Kernel,
            progress_bar=False,
            log_output=True,
            cwd=Path.cwd(),
            extra_arguments=["--IPKernelApp.log_level=ERROR"],  # or each start would warn about encryption
            shutdown_kernel="immediate",  # by then everything is on disk; an orderly exit takes Python seconds with torch
        )
    except PapermillExecutionError as error:
        message = files.line(str(error.evalue), most=1000)
        if message.startswith("[Errno"):  # it names no file, or does not say whose
            message = f"{output.stem}: {message.split('] ', 1)[-1]}"
        raise Failed(message if error.ename in SPEAKING and message else f"{error.ename}: {message}".rstrip(": ")) from error
    except OSError as error:
        raise OSError(f"{output}: cannot be written ({error.strerror or error})") from error
    except DeadKernelError as error:
        raise RuntimeError(f"{source}: its kernel died, perhaps for lack of memory; {output} shows how far it got") from error
    finally:
        for logger in loggers:
            logger.removeFilter(_progress_only)
    return time.monotonic() - began


def _progress_only(entry: logging.LogRecord) -> bool:
    """Of what papermill logs, let through only the lines of `progress`, without the blank ones between them."""
    entry.msg, entry.args = entry.getMessage().rstrip(), None
    return re.match(r"[\w. -]+: \d+/\d+ steps", entry.msg) is not None
