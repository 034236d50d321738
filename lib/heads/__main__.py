"""The command line: `python -m heads study FILE` runs a study, `status FILE` says how far it is.

`run NOTEBOOK OUT` runs one notebook, and `notebooks` makes the .ipynb.
"""

import argparse
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import yaml

from heads import files
from heads.study import contract, plan, records, report, runner, status
from heads.study.runner import say


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m heads", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("study", help="run a whole study, only what is missing or outdated of it")
    command.add_argument("file", type=Path)
    command.add_argument("--cores", help="jobs side by side, where the profile's number is not wanted")
    command.add_argument("--profile", default="profiles/local", help="where the jobs run: a folder of profiles/")
    command.add_argument("--dry-run", action="store_true", help="check the study and print what it would run, and run nothing")

    command = commands.add_parser("check", help="check a study and all values that it sets, and run nothing")
    command.add_argument("file", type=Path)

    said = {
        "status": "what of a study is done, running, failed and missing, and how long the rest takes",
        "report": "the same and all scores so far as one HTML page, runs/NAME/report.html",
    }
    for name, text in said.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("file", type=Path)
        command.add_argument("--cores", type=side_by_side, default=2, help="jobs side by side, for the estimate")

    command = commands.add_parser("run", help="run one notebook, as a job of a study does")
    command.add_argument("notebook", type=Path)
    command.add_argument("output", type=Path)
    command.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter; tables and lists as in YAML"
    )
    command.add_argument("--parameters", type=json.loads, default={}, help="parameters as one table in JSON")
    command.add_argument("--record", type=Path, help="the record that the notebook writes, or this command if the notebook fails")
    command.add_argument(
        "--after", type=Path, nargs="*", default=[], help="records of runs that must have succeeded, else this one fails too"
    )
    command.add_argument("--soft", action="store_true", help="exit 0 when a cell raises and the record says so")

    commands.add_parser("notebooks", help="make notebooks/*.ipynb from their sources")

    given = parser.parse_args()
    os.chdir(records.root())
    try:
        if given.command == "study":
            return runner.show_study(given.file) if given.dry_run else runner.run_study(given.file, given.cores, given.profile)
        if given.command == "check":
            return runner.check_study(given.file)
        if given.command == "status":
            print(status.text(plan.read(given.file), given.cores))
            return 0
        if given.command == "report":
            print(report.write(plan.read(given.file), given.cores))
            return 0
        if given.command == "run":
            return runner.run_notebook(
                given.notebook,
                given.output,
                given.parameters | values(given.notebook, given.p),
                given.record,
                given.after,
                given.soft,
            )
        return make_notebooks()
    except (ValueError, OSError, RuntimeError) as error:
        return say(str(error))
    except KeyboardInterrupt:
        return say("stopped", 130)


def values(source: Path, pairs: list[tuple[str, str]]) -> dict[str, object]:
    """The parameters of a notebook as typed on the command line, each as what the notebook takes; ValueError for a wrong one."""
    known = contract.read(source)
    found: dict[str, object] = {}
    for name, text in pairs:
        if name not in known:
            raise ValueError(f"{source}: parameter {contract.unknown(name, known)}")
        value: object = text
        if not known[name].takes.startswith(("str", "Literal")):
            try:
                with suppress(json.JSONDecodeError):
                    value = json.loads(text)
                if value is text and text[:1] in "[{":
                    value = yaml.load(text, yaml.BaseLoader)
            except Exception as error:  # a broken value can break the reader in many ways
                raise ValueError(f"-p {name}: {text!r} cannot be read: {files.reason(error)}") from None
        found[name] = files.plain(contract.typed(value, known[name].takes, f"-p {name}"))
    return found


def side_by_side(value: str) -> int:
    """A number of jobs, at least one; `all` is one for each core."""
    jobs = os.cpu_count() or 1 if value == "all" else int(value)
    if jobs < 1:
        raise argparse.ArgumentTypeError(f"at least one job side by side was expected, not {value}")
    return jobs


def make_notebooks() -> int:
    from heads.study import notebooks

    changed = notebooks.write_all(Path("notebooks"))
    print("\n".join(str(path) for path in changed) or "all notebooks are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
