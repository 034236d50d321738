"""What a notebook takes: its parameters cell, read from its source without running anything.

The cell is the whole contract. Each parameter is annotated with what it takes:

    views: "int >= 1" = 3                       a whole number with a lower bound; also "0 < float <= 1"
    preset: Literal["LAPTOP", "PAPER"] = "LAPTOP"    one of these words
    carry: list[Literal["geometry", "colour"]] = []  several of them; list is of any text, dict of anything
    fit: "idr.Config" = {}                      a table of fields of that dataclass, each in its own type

Only the standard library is imported, so that a study is planned and a wrong one refused in no time.
"""

import ast
import difflib
import functools
import math
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIB = Path(__file__).resolve().parents[1]
NOTEBOOKS = Path("notebooks")
PICTURES = ("posts/plots", "posts/fields")  # modules that draw and decide nothing that is written
BOUNDS = {">=": "{} or more", ">": "more than {}", "<=": "at most {}", "<": "less than {}"}
OPERATORS = {ast.GtE: ">=", ast.Gt: ">", ast.LtE: "<=", ast.Lt: "<"}
MIRRORED = {">=": "<=", ">": "<", "<=": ">=", "<": ">"}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a notebook: what it takes, as written, and its default."""

    takes: str
    default: Any

    @property
    def takes_many(self) -> bool:
        """Whether it takes a list, so that a list given to it is one value and no sweep."""
        return self.takes.startswith(("list", "tuple"))


@functools.cache
def parameters(notebook: str) -> dict[str, Parameter]:
    """The parameters of notebooks/NOTEBOOK.py, from its cell tagged `parameters`; ValueError where there is no such notebook."""
    path = NOTEBOOKS / f"{notebook}.py"
    if not path.is_file():
        raise ValueError(unknown(notebook, [source.stem for source in NOTEBOOKS.glob("[0-9]*.py")]))
    return read(path)


def read(source: Path) -> dict[str, Parameter]:
    """The parameters of a notebook's source; ValueError for one whose type or default cannot be understood."""
    found = {}
    for cell in cells(source):
        if 'tags=["parameters"]' in cell.split("\n", 1)[0]:
            for node in parsed(cell, source).body:
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                    name, quoted = node.target.id, isinstance(node.annotation, ast.Constant)
                    takes = str(node.annotation.value) if quoted else ast.unparse(node.annotation)  # type: ignore[attr-defined]
                    try:
                        found[name] = Parameter(takes, ast.literal_eval(node.value))
                        known = _is_known(ast.parse(takes, mode="eval").body)
                    except (ValueError, SyntaxError):
                        known = False
                    if not known:
                        raise ValueError(f"{source}: parameter {name}: {ast.unparse(node)!r} cannot be understood")
    return found


def parsed(text: str, source: Path) -> ast.Module:
    """Python as a tree; ValueError names the file that it comes from where it is not Python."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(f"{source}: not valid Python ({getattr(error, 'msg', error)})") from None


def _is_known(kind: ast.expr) -> bool:
    """Whether `typed` knows what this takes."""
    match kind:
        case ast.Compare():
            terms = [kind.left, *kind.comparators]
            numbers = [term for term in terms if isinstance(term, ast.Name) and term.id in ("int", "float")]
            limits = [term for term in terms if isinstance(term, ast.Constant) and isinstance(term.value, int | float)]
            return len(numbers) == 1 and len(limits) == len(terms) - 1 and all(type(sign) in OPERATORS for sign in kind.ops)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            words = ast.literal_eval(choices)
            return all(isinstance(word, str) for word in (words if isinstance(words, tuple) else (words,)))
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return _is_known(inner)
        case ast.Attribute(value=ast.Name(id=module), attr=name):
            return fields(module, name) is not None
    return isinstance(kind, ast.Name) and kind.id in ("str", "int", "float", "bool", "list", "dict")


def cells(source: Path) -> list[str]:
    """The code cells of a notebook's source in the percent format, each with its first line of dashes and tags as a comment."""
    parts = source.read_text(encoding="utf-8").split("\n# %%")
    return [f"#{part}" for part in parts if not part.lstrip("# %").startswith("[markdown]")]


def unknown(word: object, known: Collection[str]) -> str:
    """The sentence for a word that is not among the known ones."""
    close = difflib.get_close_matches(str(word), known, n=1)
    return f"{word!r} is not known" + (f"; did you mean {close[0]!r}?" if close else "") + f" (known: {', '.join(sorted(known))})"


# ---- values


def typed(value: Any, takes: str, where: str) -> Any:
    """`value` as what `takes` says; ValueError begins with `where`.

    Text is accepted for every type, for that is how values come from a YAML or a command line: a name stays as it was typed
    (010, no), and 1e-3 becomes a number.
    """
    return _typed(value, ast.parse(takes, mode="eval").body, where)


def _typed(value: Any, kind: ast.expr, where: str) -> Any:
    match kind:
        case ast.Compare():
            return _bounded(value, kind, where)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            words = ast.literal_eval(choices)
            words = words if isinstance(words, tuple) else (words,)
            if value not in words:
                raise ValueError(f"{where}: {unknown(value, words)}")
            return value
        case ast.Subscript(value=ast.Name(id="list" | "tuple" as name), slice=inner):
            item = inner.elts[0] if isinstance(inner, ast.Tuple) else inner
            return _several(value, item, where, tuple if name == "tuple" else list)
        case ast.Subscript(value=base):
            return _typed(value, base, where)
        case ast.Name(id="list"):
            return _several(value, ast.Name("Any"), where, list)
        case ast.Name(id="dict"):
            return _table(value, where)
        case ast.BinOp(left=one, op=ast.BitOr(), right=other):
            try:
                return _typed(value, one, where)
            except ValueError as error:
                with suppress(ValueError):
                    return _typed(value, other, where)
                raise error
        case ast.Attribute(value=ast.Name(id=module), attr=name) if (of := fields(module, name)) is not None:
            return {key: _field(item, of, key, where) for key, item in _table(value, where).items()}
        case ast.Name(id="int" | "float" | "bool" | "str" as name):
            return _single(value, name, where)
    return value


def _field(value: Any, of: dict[str, str], name: str, where: str) -> Any:
    if name not in of:
        raise ValueError(f"{where}: {unknown(name, of)}")
    return typed(value, of[name], f"{where}: {name}")


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a table, not {value!r}")
    return value


def _several(value: Any, item: ast.expr, where: str, kind: type) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where}: expected a list, not {value!r}")
    return kind(_typed(one, item, where) for one in value)


def _single(value: Any, name: str, where: str, bounds: str = "") -> Any:
    text = isinstance(value, str)
    number = text or (isinstance(value, int | float) and not isinstance(value, bool))
    try:
        if name == "str" and text:
            return value
        if name == "bool" and (isinstance(value, bool) or (text and value.lower() in ("true", "false"))):
            return value if isinstance(value, bool) else value.lower() == "true"
        if name == "float" and number and math.isfinite(float(value)):
            return float(value)
        if name == "int" and number and float(value) == int(float(value)):
            return (
                value if isinstance(value, int) else int(value) if text and value.lstrip("+-").isdecimal() else int(float(value))
            )
    except (ValueError, OverflowError):
        pass
    words = {"str": "text", "bool": "true or false", "int": "a whole number", "float": "a number"}
    raise ValueError(f"{where}: expected {words[name]}{bounds}, not {value!r}")


def _bounded(value: Any, kind: ast.Compare, where: str) -> Any:
    """A number within bounds: `int >= 1`, or `0 < float <= 1`."""
    terms = [kind.left, *kind.comparators]
    at = next(i for i, term in enumerate(terms) if isinstance(term, ast.Name))
    signs = [OPERATORS[type(operator)] for operator in kind.ops]
    limits = [
        (MIRRORED[sign] if i < at else sign, ast.literal_eval(terms[i if i < at else i + 1])) for i, sign in enumerate(signs)
    ]
    said = ", " + " and ".join(BOUNDS[sign].format(limit) for sign, limit in limits)
    name = terms[at].id  # type: ignore[attr-defined]
    number = _single(value, name, where, said)
    compared = {">=": number.__ge__, ">": number.__gt__, "<=": number.__le__, "<": number.__lt__}
    if not all(compared[sign](type(number)(limit)) for sign, limit in limits):
        words = {"int": "a whole number", "float": "a number"}
        raise ValueError(f"{where}: expected {words[name]}{said}, not {value!r}")
    return number


# ---- the library, as its sources say


@functools.cache
def fields(module: str, name: str) -> dict[str, str] | None:
    """The fields of the dataclass `module.name` of the library and what each takes; None where there is no such class."""
    for path in LIB.rglob(f"{module}.py"):
        for node in _tree(path).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return {item.target.id: ast.unparse(item.annotation) for item in node.body if isinstance(item, ast.AnnAssign)}  # type: ignore[union-attr]
    return None


@functools.cache
def _tree(path: Path) -> ast.Module:
    return parsed(path.read_text(encoding="utf-8"), path)


def imported(tree: ast.AST) -> set[str]:
    """The modules of the package that a source imports anywhere, as paths below it: `surface/sdf`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    parts = [name.split(".")[1:] for name in names if name.startswith("heads.")]
    return {found for part in parts if (LIB / f"{(found := '/'.join(part))}.py").is_file()}


@functools.cache
def closure(notebook: str, drawing: bool = False) -> list[Path]:
    """The sources of the library that decide what a notebook writes: what it imports, and what that imports, and so on.

    What runs a study (study/) decides nothing, nor do the pictures (`PICTURES`), unless `drawing`.
    """
    reached: set[str] = set()
    new = imported(_tree(NOTEBOOKS / f"{notebook}.py"))
    while new:
        new = {one for one in new - reached if not one.startswith("study/") and (drawing or one not in PICTURES)}
        reached |= new
        new = set().union(*(imported(_tree(LIB / f"{one}.py")) for one in new))
    return [LIB / f"{one}.py" for one in sorted(reached)]
