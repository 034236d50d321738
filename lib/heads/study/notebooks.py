"""Notebooks: from their sources to .ipynb, and run with parameters.

The source is notebooks/NN_name.py in the percent format. The .ipynb beside it is made from it for Colab and GitHub, always
the same bytes from the same source; nothing reads it back.
"""

import hashlib
import logging
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from heads import files
from heads.study import records as runs
from heads.study.plan import unknown

REPOSITORY = "heads-authors/heads"  # on GitHub, for the badge that opens a notebook in Colab
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/main/notebooks/{name}.ipynb)"
)
SPEAKING = {"ValueError", "FileNotFoundError", "OSError", "PermissionError"}  # their messages are sentences already


class Failed(Exception):
    """A notebook ended with an exception; the message is that exception's, in one line."""


def convert(source: Path) -> nbformat.NotebookNode:
    """The notebook of a source, with a Colab badge on top; ids are counted, so that the same source gives the same bytes."""
    import jupytext  # takes longer than all else that a job starts with, and no job but the first of its kind needs it

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
    """The notebook of a source, converted once and kept in the folder `kept` under the fingerprint of what it is made of."""
    made_of = source.read_bytes() + Path(__file__).read_bytes()
    path = kept / f"{source.stem}.{hashlib.sha256(made_of).hexdigest()[:16]}.ipynb"
    if not path.is_file():
        with files.replacing(path) as partial:
            partial.write_text(nbformat.writes(convert(source)), encoding="utf-8")
    return nbformat.read(path, as_version=4)


def write_all(folder: Path) -> list[Path]:
    """Make every .ipynb of a folder of sources anew; the paths of those that have changed."""
    changed = []
    for source in sorted(folder.glob("[0-9][0-9]_*.py")):
        text = nbformat.writes(convert(source)) + "\n"
        path = source.with_suffix(".ipynb")
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            with files.replacing(path) as partial:
                partial.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def known_parameters(notebook: nbformat.NotebookNode) -> list[str]:
    """The names that the cell tagged `parameters` assigns."""
    tagged = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return [name for source in tagged for name in runs.assigned(source)]


def execute(source: Path, output: Path, parameters: Mapping[str, Any]) -> float:
    """Run a source with papermill from the current folder, leaving the executed notebook at `output`; seconds it took.

    What is converted for it stays beside `output`, in .sources.

    ValueError for an unknown parameter, before any work; Failed when a cell raises; RuntimeError when the kernel dies.
    """
    notebook = converted(source, output.parent / ".sources")
    known = known_parameters(notebook)
    for name in parameters:
        if name not in known:
            raise ValueError(f"{source}: parameter {unknown(name, known)}")
    output.parent.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("papermill")
    logger.addFilter(_progress_only)
    began = time.monotonic()
    try:
        papermill.execute_notebook(
            notebook,
            output,
            dict(parameters),
            kernel_name="python3",
            progress_bar=False,
            log_output=True,
            cwd=Path.cwd(),
            extra_arguments=["--IPKernelApp.log_level=ERROR"],  # else a warning about encryption at each start
            shutdown_kernel="immediate",  # all is on the disk then; Python would take seconds to forget torch
        )
    except PapermillExecutionError as error:
        message = files.line(str(error.evalue), most=1000)
        if message.startswith("[Errno"):  # names no file, or not whose it is
            message = f"{output.stem}: {message.split('] ', 1)[-1]}"
        raise Failed(message if error.ename in SPEAKING and message else f"{error.ename}: {message}".rstrip(": ")) from error
    except OSError as error:
        raise OSError(f"{output}: cannot be written ({error.strerror or error})") from error
    except DeadKernelError as error:
        raise RuntimeError(f"{source}: its kernel died, out of memory perhaps; {output} holds what was done") from error
    finally:
        logger.removeFilter(_progress_only)
    return time.monotonic() - began


def _progress_only(entry: logging.LogRecord) -> bool:
    """Of all that papermill logs, only the lines of `runs.progress`, without the empty ones between."""
    entry.msg, entry.args = entry.getMessage().rstrip(), None
    return re.match(r"[\w. -]+: \d+/\d+ steps", entry.msg) is not None
