"""What is written by hand in the pages: no number without a source that still says it, no verdict that results do not give.

blog/numbers.csv has a row for each number that stands in prose: its page, the exact words around it, and its source, one of

- `FILE.csv: COLUMN, AGGREGATE[, COLUMN=VALUE ...][, x FACTOR]`: an aggregate of a column, over the rows with these values
- `FILE.yaml: KEY, KEY, ..., one|count`: a value of a nested table (`FILE.json` too), or how many there are
- `constant: heads.MODULE.NAME.FIELD`: a constant of the code
- `words: FILE | HEADING | WORDS`: words with this number that stand in a file, in the section with this heading if one is given
"""

import functools
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *sorted(f"blog/{path.name}" for path in (ROOT / "blog").glob("*.md")))
RESULT_PAGES = ("blog/baseh3d.md", "blog/h3dnet.md", "blog/index.md", "blog/quick.md")
REGISTER = ROOT / "blog" / "numbers.csv"
AGGREGATES = ("one", "mean", "median", "min", "max", "sum", "nunique", "count")

SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
WORDS = {word: number for number, word in enumerate(SMALL)} | {"nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40}
UNITS = (
    "seconds?|minutes?|hours?|days?|times|millimetres?|percent|GB|cores|heads|people|persons|priors|scans|scenes|seeds|"
    "photographs|views|epochs|steps|fits|runs|studies"
)
NUMBER = re.compile(
    r"(?<![A-Za-z\d_.])(?<![A-Za-z]-)\d+(?:,\d{3})*(?:\.\d+)?(?![\d_]|D\b)"  # not H200, AVX-512, 3D, 01_data
    rf"|\b(?:{'|'.join(word for word in WORDS if word != 'one')}|half|quarter)\b(?=(?:\s+[a-z]+)?\s+(?:{UNITS})\b)"
    r"|\bone(?=\s+(?:second|minute|hour|day)\b)|\b(?:half|quarter)\s+(?:of\s+)?an?\b|\b(?:hundreds|thousands|dozens)\s+of\b",
    re.IGNORECASE,
)
STRUCTURAL = (  # numbers that nobody measured
    r"Python 3\.\d+(?: to 3\.\d+)?",
    r"et al\. \d{4}|Delft, \d{4}",  # years of sources
    r"(?:[Nn]otebooks?|Table) \d(?: and \d)?",
    r"^\d\. ",  # of a list
    r"[Tt]hree\s+photographs",  # the question of the posts, and their title
    r"two\s+cores",  # the machine on which something was measured
)
EVALUATIVE = re.compile(
    r"\b(?:better|worse|best|worst|good|bad|helps?|helped|harm\w*|hurts?|ahead|beats?|beaten|on\s+par|outperform\w*|improv(?!ed\s+here\b)\w+|"
    r"superior|inferior|wins?|winner|gains?|faster|slower|more\s+accurate|less\s+accurate|"
    r"clear\s+difference|no\s+difference|as\s+well\s+as|far\s+(?:below|above)|(?:clearly|slightly|much)\s+(?:lower|higher|closer)|"
    r"excludes?\s+(?:zero|0)|significan\w+|mislead\w*|the\s+less\s+(?:it|there))\b",
    re.IGNORECASE,
)
ALLOWED = (  # sentences with such a word that say how something is done, not how it came out
    'How the error is measured, and when we say "better',
)


class Found(NamedTuple):
    start: int
    end: int
    words: str


# ---- what is written by hand


def blank(text: str, pattern: str, flags: int = re.DOTALL | re.MULTILINE) -> str:
    """The text with spaces instead of what the pattern matches, so that all else stays where it is."""
    return re.sub(pattern, lambda match: re.sub(r"[^\n]", " ", match[0]), text, flags=flags)


def cell(source: str) -> str:
    """A code cell's captions and descriptions of pictures, and the strings of its code that hold several words."""
    head = re.match(r"\A[^\n]*\n---\n.*?^---\n", source, re.DOTALL | re.MULTILINE)
    meta, code = (head[0], source[head.end() :]) if head else ("", source)
    meta = blank(meta, r"^[^\n]*(?:---|\{code-cell\})[^\n]*$|^\s*\w+:( \||(?= ))|(?<=name:) \S+")
    kept = [match.span() for match in re.finditer(r'"[^"\n]*\w \w[^"\n]*"', code)]
    shown = "".join(c if c == "\n" or any(a <= i < b for a, b in kept) else " " for i, c in enumerate(code))
    return meta + blank(shown, r"\{[^}\n]*\}")


@functools.cache
def prose(page: str) -> str:
    """The page with spaces for all that is not prose by hand: code, formulas, names of sources, targets of links."""
    text = (ROOT / page).read_text(encoding="utf-8")
    parts = re.split(r"(^```[^\n]*\n.*?^```$)", blank(text, r"\A---\n.*?\n---\n"), flags=re.DOTALL | re.MULTILINE)
    for i, part in enumerate(parts):
        if part.startswith("```{code-cell}"):
            parts[i] = cell(part)
        elif part.startswith("```"):
            parts[i] = blank(part, r".+")
        else:
            shown = blank(
                part, r"^    \S[^\n]*$|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|(?<=\])\([^)]*\)|^:::\{[^\n]*$|^:(?!alt:)\w+:[^\n]*$"
            )
            parts[i] = shown
    found = "".join(parts)
    assert len(found) == len(text)
    return found


def place(page: str, start: int) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    return f"{page}:{text.count(chr(10), 0, start) + 1}"


def numbers(page: str) -> list[Found]:
    """The numbers in the prose of a page, with the words around them."""
    text = prose(page)
    for pattern in STRUCTURAL:
        text = blank(text, pattern, re.MULTILINE)
    source = (ROOT / page).read_text(encoding="utf-8")
    around = ((match, source[max(match.start() - 40, 0) : match.end() + 30]) for match in NUMBER.finditer(text))
    return [Found(*match.span(), f"{match[0]!r} in … {' '.join(words.split())} …") for match, words in around]


def sentences(page: str) -> Iterator[Found]:
    """The sentences of a page's prose; a heading, a caption and a cell of a table are sentences too."""
    text = prose(page)
    for match in re.finditer(r"\S(?:(?![.?!:;]\s|\n\s*\n|\n- |\"\n|\|).)*\S?", text, re.DOTALL):
        yield Found(*match.span(), " ".join(match[0].split()).strip('#"- '))


def judged(page: str) -> list[Found]:
    """The sentences with an evaluative word, unless they cite who says so or are `ALLOWED`."""
    found = [one for one in sentences(page) if EVALUATIVE.search(one.words)]
    return [one for one in found if "{cite" not in one.words and one.words not in ALLOWED]


# ---- the register


@functools.cache
def register() -> pd.DataFrame:
    return pd.read_csv(REGISTER, dtype=str, keep_default_na=False)


def spans(page: str, words: str) -> list[tuple[int, int]]:
    """Where the words stand on a page, on one line or several."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [match.span() for match in re.finditer(r"\s+".join(map(re.escape, words.split())), text)]


def stated(words: str) -> str:
    """The number as it stands in the words of a row: 1,000.0 as `1000.0`, `ten` as `10`; ValueError unless there is one."""
    found = [match[0] for match in NUMBER.finditer(words)]
    found = found or [word for word in re.findall(r"\w+", words.lower()) if word in WORDS]
    if len(found) != 1:
        raise ValueError(f"one number was expected in {words!r}, not {found}")
    number = found[0].lower()
    return str(WORDS[number]) if number in WORDS else number.replace(",", "")


def value(source: str) -> float | str:
    """What a source says: a number, or words that hold it; ValueError where the source is not understood."""
    kind, _, rest = source.partition(": ")
    if kind == "words":
        return _quoted(*(part.strip() for part in rest.split("|")))
    if kind == "constant":
        return float(_constant(rest))
    *path, last = (part.strip() for part in rest.split(", "))
    if kind.endswith((".json", ".yaml")):
        text = (ROOT / kind).read_text(encoding="utf-8")
        one: Any = json.loads(text) if kind.endswith(".json") else yaml.safe_load(text)
        for key in path:
            one = one[int(key)] if isinstance(one, list) else one[key]
        if last not in ("one", "count"):
            raise ValueError(f"{source}: one or count was expected, not {last}")
        return float(len(one) if last == "count" else one)
    if kind.endswith(".csv"):
        column, aggregate, *rest_of = (part.strip() for part in rest.split(", "))
        return _aggregate(pd.read_csv(ROOT / kind, keep_default_na=False, na_values={}), column, aggregate, rest_of)
    raise ValueError(f"{source}: a source was expected (see the head of tests/test_prose.py)")


def _quoted(file: str, heading: str, words: str) -> str:
    text = (ROOT / file).read_text(encoding="utf-8")
    if heading:
        sections = [part for part in re.split(r"^#+ ", text, flags=re.MULTILINE) if part.startswith(f"{heading}\n")]
        if len(sections) != 1:
            raise ValueError(f"{file}: one section {heading!r} was expected, there are {len(sections)}")
        text = sections[0]
    if " ".join(words.split()) not in " ".join(text.split()):
        raise ValueError(f"{file}: the words {words!r} were expected in {heading or 'it'}")
    return words


def _constant(name: str) -> Any:
    parts = name.split(".")
    for i in range(len(parts) - 1, 0, -1):
        try:
            return functools.reduce(getattr, parts[i:], importlib.import_module(".".join(parts[:i])))
        except ModuleNotFoundError:
            continue
    raise ValueError(f"{name}: a constant was expected")


def _aggregate(table: pd.DataFrame, column: str, aggregate: str, rest: list[str]) -> float:
    factor = 1.0
    for part in rest:
        if part.startswith("x "):
            factor = float(part[2:])
        else:
            key, _, wanted = part.partition("=")
            table = table[table[key].map(str) == wanted]
    if aggregate not in AGGREGATES or table.empty:
        raise ValueError(f"{column}, {aggregate}, {rest}: one of {', '.join(AGGREGATES)}, of at least one row, was expected")
    if aggregate == "one" and len(table) != 1:
        raise ValueError(f"{column}, {rest}: one row was expected, there are {len(table)}")
    cells = table[column]
    found = getattr(cells, aggregate)() if aggregate in ("nunique", "count") else None
    return (
        float(found if found is not None else getattr(pd.to_numeric(cells), "sum" if aggregate == "one" else aggregate)())
        * factor
    )


def holds(said: str, found: float | str) -> bool:
    """Whether a source says the number, to the digits with which it is printed."""
    if isinstance(found, str):
        words = found.replace(",", "").lower()
        digits = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", words)]
        return any(
            holds(said, float(one)) for one in [*digits, *(WORDS[word] for word in re.findall(r"\w+", words) if word in WORDS)]
        )
    return f"{found:.{len(said.partition('.')[2])}f}" == said


# ---- tests


PAGE = """---
title: 1
---
# Heads in 3D on an H200, 7 of them

It took two minutes, or 1,200.5 s by $x = 5$ and `make 6` {cite:p}`polak2022`. Three photographs
(Ramon et al. 2021), [here](9.md).
A quarter of an hour. This is better. They say
it is worse {cite:p}`polak2022`.

    make 8

```{code-cell}
---
mystnb:
  figure:
    name: ten-11
    caption: |
      All 12 of them, which helps.
---
caption = "Within 13 mm of {number[14]}"
```
"""


def test_numbers_and_verdicts_are_found_in_prose_and_captions_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "invented.md").write_text(PAGE)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    found = [PAGE[one.start : one.end] for one in numbers("invented.md")]
    assert found == ["7", "two", "1,200.5", "quarter of an", "12", "13"]
    assert [one.words for one in judged("invented.md")] == ["This is better.", "All 12 of them, which helps."]


def test_a_source_that_says_another_number_is_seen() -> None:
    bench = "results/bench.csv: value, one, name=cached_tracing_step_s"
    assert holds("0.50", value(bench)) and not holds("0.51", value(bench)) and holds("496.5", value(f"{bench}, x 1000"))
    assert value("config/quick.yaml: subjects, count") == 4 and value("results/studio.json: priors, heads, heads, one") == 120
    assert value("constant: heads.methods.idr.LAPTOP.rays") == 1024
    assert holds("10", "every ten seconds, at 2.0 GB") and holds("2", "at 2.0 GB") and not holds("1", "every ten seconds")
    assert stated("took 1,200.0 s") == "1200.0" and stated("on four other people") == "4"
    for broken, sentence in {
        "somewhere": "a source was expected",
        "results/bench.csv: value, one": "one row was expected",
        "results/bench.csv: value, mode": "was expected",
        "words: LOG.md | nowhere | ten": "one section",
        "words: Makefile | | 12345": "the words '12345' were expected",
        "constant: nowhere.X": "a constant was expected",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            value(broken)


@pytest.mark.parametrize("page", PAGES)
def test_every_number_in_prose_has_a_source(page: str) -> None:
    rows = register()
    known = [span for words in rows.loc[rows["page"] == page, "text"] for span in spans(page, words)]
    bare = [one for one in numbers(page) if not any(start <= one.start and one.end <= end for start, end in known)]
    said = "\n".join(f"{place(page, one.start)}: {one.words}" for one in bare)
    assert not bare, f"take these numbers from results, leave them out, or give each a row in blog/numbers.csv:\n{said}"


@pytest.mark.parametrize("row", register().to_dict("records"), ids=lambda row: f"{row['page']}-{row['text']}")
def test_a_number_is_what_its_source_says(row: dict[str, str]) -> None:
    found = spans(row["page"], row["text"])
    assert found, f"{row['page']}: {row['text']!r} does not stand there; its row in blog/numbers.csv has to go"
    said, source = stated(row["text"]), value(row["source"])
    assert holds(said, source), f"{place(row['page'], found[0][0])}: {row['text']!r}, but {row['source']} is {source}"


@pytest.mark.parametrize("page", RESULT_PAGES)
def test_no_verdict_is_written_by_hand(page: str) -> None:
    """Unless the sentence names the paper that says so: verdicts come from `sentences` and `tables`."""
    said = "\n".join(f"{place(page, one.start)}: {one.words}" for one in judged(page))
    assert not said, f"write what was done, and let a function of sentences.py say what came out:\n{said}"
