"""Checkpoints: named tensors in a safetensors file whose header says what they are. No pickle is ever read."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heads import files
from heads.files import plain

if TYPE_CHECKING:
    from torch import Tensor


def save(path: Path, tensors: Mapping[str, "Tensor"], about: Mapping[str, Any]) -> None:
    """Write named tensors and, in the same file's header, what they are, as JSON (safetensors)."""
    import safetensors.torch

    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    packed = safetensors.torch.save(whole, metadata={"about": json.dumps(plain(dict(about)))})
    with files.replacing(path) as partial:
        partial.write_bytes(packed)


def load(path: Path | str) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Tensors and description of a checkpoint; ValueError names an invalid or truncated file. No pickle is read."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such checkpoint; the run that makes it has not been done, or failed")
    try:
        return _read_checkpoint(path)
    except ValueError as error:
        raise ValueError(f"{error}; delete it and run again") from None


def unfinished(path: Path, about: Mapping[str, Any]) -> "dict[str, Tensor] | None":
    """The state that `progress` saved of the same fit, if it was interrupted; None where there is none, or it is of another fit.

    One that cannot be read is reported and ignored: the fit starts again and overwrites it.
    """
    if not path.is_file():
        return None
    try:
        tensors, found = _read_checkpoint(path)
    except ValueError as error:
        print(f"{error}: starting again", flush=True)
        return None
    return tensors if found == plain(dict(about)) else None


def _read_checkpoint(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    import safetensors

    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, dict(about)  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path}: not a checkpoint, or cut short ({files.reason(error)})") from None


def digest(*values: object) -> str:
    """Sixteen digits for all tensors in these dataclasses, tables and lists; a fit resumes only with the same ones."""
    import torch

    found = hashlib.blake2b(digest_size=8)

    def add(value: object) -> None:
        if isinstance(value, torch.Tensor):
            found.update(value.detach().cpu().contiguous().numpy().tobytes())
        elif isinstance(value, Mapping):
            add([value[key] for key in sorted(value)])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        elif is_dataclass(value):
            add(vars(value))

    add(values)
    return found.hexdigest()
