"""Arrays of many people on a disk: written once in shards, files of safetensors with as many people each, and read without a
copy.

A shard says of itself what it was made of. One that says what is wanted is kept, so that an interrupted run goes on; one that
says something else is made anew.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Self

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from heads import files

SIZE = 50  # people


@dataclass(frozen=True)
class People:
    """People in shards; what is not asked for stays on the disk. `rows` says of each in which of the `parts` they are, where."""

    parts: tuple[dict[str, Tensor], ...]
    rows: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, first: int, last: int) -> Self:
        """The people from the first to before the last."""
        if not 0 <= first < last <= len(self):
            raise ValueError(f"there are {len(self)} people; expected some of them, not those from {first} to {last - 1}")
        return replace(self, rows=self.rows[first:last])

    def of(self, person: int, name: str) -> Tensor:
        """One of a person's arrays."""
        part, row = self.rows[person]
        return self.parts[part][name][row]

    def everybody(self, name: str) -> list[Tensor]:
        """One of the arrays of everybody."""
        return [self.of(person, name) for person in range(len(self))]


def write(
    folder: Path,
    people: int,
    about: Mapping[str, object],
    person: Callable[[int], dict[str, np.ndarray]],
    *,
    common: tuple[str, ...] = (),
    each: int = SIZE,
    on_person: Callable[[int], None] = lambda done: None,
) -> None:
    """Write the arrays that `person` makes of each number, by name, `each` people in a file; those named in `common` have to be
    the same for everybody."""
    folder.mkdir(parents=True, exist_ok=True)
    firsts = range(0, people, each)
    for path in set(folder.glob("people-*.safetensors")) - {_path(folder, first) for first in firsts}:
        path.unlink()  # of more people
    for first in firsts:
        path, numbers = _path(folder, first), range(first, min(first + each, people))
        about_it = json.dumps({**about, "people": [first, numbers[-1]]})
        if said(path) != about_it:
            made = [person(number) for number in numbers]
            for one, number in zip(made, numbers, strict=True):
                for name in common:
                    if not np.array_equal(one[name], made[0][name]):
                        raise ValueError(f"{path}: person {number} has other {name} than the first; expected registered meshes")
            tensors = {name: torch.from_numpy(np.stack([one[name] for one in made])).contiguous() for name in made[0]}
            for name in common:
                tensors[name] = tensors[name][0].contiguous()  # of everybody
            with files.replacing(path) as partial:
                partial.write_bytes(safetensors.torch.save(tensors, metadata={"about": about_it}))
        on_person(numbers[-1] + 1)


def program(*modules: ModuleType) -> str:
    """A name for what these modules say."""
    return hashlib.sha256(b"".join(Path(module.__file__ or "").read_bytes() for module in modules)).hexdigest()[:16]


def paths(folder: str | Path) -> list[Path]:
    """The files of a folder of shards; FileNotFoundError where there are none."""
    if found := sorted(Path(folder).glob("people-*.safetensors")):
        return found
    raise FileNotFoundError(f"{folder}: no people-*.safetensors; the run that makes them has not been done, or failed")


def read(folder: str | Path, names: tuple[str, ...], common: tuple[str, ...] = ()) -> list[dict[str, Tensor]]:
    """All shards, of which what is not asked for stays on the disk; ValueError where one is damaged, or not like the first.

    `names` are arrays that each has to have, with a row for each person but for those that are `common`.
    """
    found: list[dict[str, Tensor]] = []
    for path in paths(folder):
        try:
            found.append(safetensors.torch.load_file(path))
        except Exception as error:  # there are many ways to be damaged
            raise ValueError(
                f"{path}: not a shard of people, or cut short ({files.reason(error)}); delete it and run again"
            ) from None
        first, last = found[0], found[-1]
        rows = {len(last[name]) for name in names if name in last and name not in common}
        alike = all(name in last and last[name].shape[1:] == first[name].shape[1:] for name in names)
        if not alike or len(rows) != 1 or any(not torch.equal(last[name], first[name]) for name in common):
            raise ValueError(
                f"{path}: a shard of another version, or of other people than the first; delete the folder and run again"
            )
    counts = [len(shard[next(name for name in names if name not in common)]) for shard in found]
    if any(count != counts[0] for count in counts[:-1]) or counts[-1] > counts[0]:
        raise ValueError(
            f"{folder}: its shards have {counts} people; all but the last need {counts[0]}; delete the folder and run again"
        )
    return found


def rows_of(parts: list[dict[str, Tensor]], name: str) -> tuple[tuple[int, int], ...]:
    """Everybody's place in these shards, by an array that everybody has a row in."""
    return tuple((number, row) for number, part in enumerate(parts) for row in range(len(part[name])))


def _path(folder: Path, first: int) -> Path:
    return folder / f"people-{first:05d}.safetensors"


def said(path: Path) -> str:
    """What a shard says of itself; nothing where there is none, or it cannot be read."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get("about", ""))
    except (OSError, safetensors.SafetensorError):
        return ""
