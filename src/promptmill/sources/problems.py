r"""Problems with reference answers: open questions, multiple choice, code that is judged by tests.

Worked rows:

    {"unique_id": "d2e0...", "question": "What is 2 + 2?", "choices": null, "choice_index_correct": null,
     "explanation_correct": "...", "answer_correct": "4", "category": "Algebra"}
    {"question": "Which is a mammal?", "choices": ["trout", "bat", "wren"], "choice_index_correct": 1,
     "answer_correct": "B"}                                      the letter, or the option's text
    {"question": "Write a function to add.", "tests": ["assert add(1, 2) == 3"]}
    {"task_id": "HumanEval/0", "prompt": "def f(x):\n", "test": "def check(candidate): ...", "entry_point": "f"}

A row that contradicts itself (letter and index disagree, an index that is out of range) is an error with its place, or
is dropped and counted in the log when the recipe says so. In tables (CSV) a list is written as JSON.

Not covered: benchmarks in their own shapes (GSM8K's `#### 4`), and judging an answer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from string import ascii_uppercase
from typing import Any, Literal

import msgspec

from promptmill.errors import DataError
from promptmill.io.jsonl import UNREADABLE
from promptmill.records import Prompt, Reference, content_id
from promptmill.sources.rows import BadRow, Format, Rows, decode_row, first, id_of, kind

MAX_CHOICES = 26
IDS = ("unique_id", "id", "task_id")
TEXTS = ("question", "problem", "prompt", "text")
COLUMNS = (
    *IDS,
    *TEXTS,
    *("choices", "choice_index_correct", "explanation_correct", "answer_correct", "aliases", "category"),
    *("tests", "test", "test_list", "test_setup_code", "test_imports", "entry_point"),
)
LETTERED = re.compile(r"[( ]*(?P<letter>[A-Za-z])(?:[).:\s]*|[).:]+\s*(?P<text>\S.*))", re.DOTALL)
WHOLE = re.compile(r"-?[0-9]{1,9}(?:\.0*)?", re.ASCII)
CHECK = re.compile(r"^check\((?P<name>[A-Za-z_]\w*)\)\s*\Z", re.MULTILINE)
log = logging.getLogger(__name__)


class _Contradiction(BadRow):
    """A row says two things that cannot both be true."""


def problems(
    *,
    path: str | Sequence[str],
    n: int | Literal["all"] = "all",
    contradictions: Literal["error", "drop"] = "error",
    format: Format = "auto",  # noqa: A002 - the recipe's word
) -> Iterator[Prompt]:
    """Read problems with their reference answers from JSON, JSON Lines, CSV or Parquet files.

    Args:
        path: a file, a folder, a pattern like 'data/*.jsonl', or a list of them; .gz and .zst are unpacked.
        n: how many problems to take from the beginning, or all.
        contradictions: what becomes of a row that contradicts itself, such as a letter and an index that disagree.
        format: auto (by the file's ending), json, jsonl, csv or parquet.

    Yields:
        Prompts with `text` and `reference`; meta holds `category`, `explanation_correct` and `choice_index_correct`.

    Raises:
        DataError: a file is missing or broken, a row is wrong or contradicts itself, or an id stands twice.
    """
    reader = ProblemRows(drop=contradictions == "drop")
    return some(Rows(path, format, columns=COLUMNS, read=reader.read), n, reader)


def some(rows: Iterator[Prompt], n: int | Literal["all"], reader: ProblemRows) -> Iterator[Prompt]:
    """The first n problems; says how many were dropped.

    Raises:
        ConfigError: n is less than 1.
        DataError: none is left.
    """
    taken = 0
    for prompt in first((prompt for prompt in rows if prompt is not _DROPPED), n):
        taken += 1
        yield prompt
    if reader.dropped:
        log.warning("%d problems contradict themselves and were dropped, the first: %s", reader.dropped, reader.first)
    if not taken:
        raise DataError(
            "source: no problem is left. Mend the rows that contradict themselves."
            if reader.dropped
            else "source: holds no problem. Check path and format."
        )


_DROPPED = Prompt(id="", source="", text="")


class ProblemRows:
    """Reads one row: JSON bytes -> `Prompt`.

    Args:
        drop: whether a row that contradicts itself is passed over.
        must_be_answered: whether a row must say what is right.
        joined: whether rows that follow each other may be of one problem, each with some of what was said to it.

    Attributes:
        dropped: rows that contradicted themselves.
        first: the first of them, and why.
    """

    def __init__(self, *, drop: bool = False, must_be_answered: bool = True, joined: bool = False) -> None:
        self._drop, self._must, self._joined = drop, must_be_answered, joined
        self._seen: dict[str, str] = {}
        self._last: Prompt | None = None
        self.dropped = 0
        self.first = ""

    def read(self, line: bytes, source: str) -> Prompt:
        """Make a prompt of one row.

        Raises:
            BadRow: the row is no problem, contradicts itself, or its id stood before.
        """
        row = decode_row(line)
        if not isinstance(row, dict):
            raise BadRow(f"is {kind(row)}, not an object with a question. Mend or remove it.")
        try:
            prompt = _prompt(row, source, must_be_answered=self._must)
        except _Contradiction as error:
            if not self._drop:
                raise
            self.dropped += 1
            self.first = self.first or f"{source}: {error}"
            return _DROPPED
        before = self._seen.get(prompt.id)
        if before is None:
            self._seen[prompt.id] = source
        elif not (self._joined and self._last is not None and _is_same(prompt, self._last)):
            has_id = any(row.get(name) not in (None, "") for name in IDS)
            raise BadRow(self._twice(prompt, before, has_id=has_id))
        self._last = prompt
        return prompt

    def _twice(self, prompt: Prompt, before: str, *, has_id: bool) -> str:
        """What is wrong with a problem that stands twice, and what to do."""
        follows = self._joined and self._last is not None and self._last.id == prompt.id
        if follows and has_id:
            return f"the id '{prompt.id}' is another problem at {before}. Give each problem one of its own."
        if follows:
            return (
                f"is the same question as {before} with another right answer, and has no unique_id. Mend one of them."
            )
        do = "Let rows of one problem follow each other." if self._joined else "Give each problem one of its own."
        if has_id:
            return f"the id '{prompt.id}' stands at {before} already. {do}"
        return f"is the same problem as {before}, and has no unique_id. {do}"


def _is_same(one: Prompt, other: Prompt) -> bool:
    return (one.id, one.text, one.reference) == (other.id, other.text, other.reference)


def _prompt(row: dict[str, Any], source: str, *, must_be_answered: bool) -> Prompt:
    text = _question(row)
    choices = _texts(row, "choices")
    reference, index = _reference(row, choices, must_be_answered=must_be_answered)
    own = id_of(row, None, IDS)
    meta = {
        "category": _text(row, "category"),
        "explanation_correct": _text(row, "explanation_correct"),
        "choice_index_correct": index,
    }
    return Prompt(
        id=content_id([text, choices]) if own is None else own,
        source=source,
        text=text,
        reference=reference,
        meta={name: value for name, value in meta.items() if value is not None},
    )


def _question(row: dict[str, Any]) -> str:
    column = next((name for name in TEXTS if row.get(name) is not None), None)
    if column is None and (empty := [name for name in TEXTS if name in row]):
        raise BadRow(f"column '{empty[0]}' is null. A problem needs its question.")
    if column is None:
        there = ", ".join(row) or "none"
        raise BadRow(f"no column {', '.join(TEXTS)}. There are: {there}. A problem needs its question.")
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise BadRow(
            f"column '{column}' holds {'an empty text' if isinstance(value, str) else kind(value)}, not a question. "
            "Mend it."
        )
    return value


def _reference(
    row: dict[str, Any], choices: tuple[str, ...], *, must_be_answered: bool
) -> tuple[Reference, int | None]:
    answer = row.get("answer_correct")
    if answer is not None and not isinstance(answer, str):
        if isinstance(answer, bool) or not isinstance(answer, int | float):
            raise BadRow(f"column 'answer_correct' holds {kind(answer)}, not an answer. Write it as a text.")
        answer = str(answer)
    if answer is not None and not answer.strip():  # an empty cell of a table
        answer = None
    aliases = _texts(row, "aliases")
    tests = next((found for name in ("tests", "test_list", "test") if (found := _texts(row, name))), ())
    index = None
    if not choices and row.get("choice_index_correct") not in (None, ""):
        raise _Contradiction(
            f"choice_index_correct is {row['choice_index_correct']}, and there are no choices. Add them, or write null."
        )
    if choices:
        index = _index(row, choices, answer)
        answer = choices[index] if index is not None else answer
    if must_be_answered and answer is None and index is None and not tests:
        raise BadRow("no 'answer_correct', 'choice_index_correct' or 'tests': nothing says what is right. Add one.")
    entry_point = _text(row, "entry_point")
    if "test" in row and tests:  # HumanEval's; HumanEval-X writes the call itself and names the function nowhere else
        called = CHECK.search(tests[-1])
        if called is None and entry_point is not None:
            tests = tuple(f"{test}\n\ncheck({entry_point})" for test in tests)
        entry_point = entry_point or (called["name"] if called else None)
    setup = row["prompt"] if entry_point is not None and isinstance(row.get("prompt"), str) else None
    before = (*_texts(row, "test_imports"), *filter(None, [_text(row, "test_setup_code")]))  # MBPP's
    tests = (*before, *tests) if tests else ()
    return Reference(
        answer=answer, aliases=aliases, choices=choices, tests=tests, entry_point=entry_point, setup=setup
    ), index


def _index(row: dict[str, Any], choices: tuple[str, ...], answer: str | None) -> int | None:
    """The right option by its index, its letter or its text; they must agree."""
    index = row.get("choice_index_correct")
    if isinstance(index, str) and WHOLE.fullmatch(index.strip()):
        index = float(index)
    if isinstance(index, float) and index.is_integer():  # tables have no whole numbers beside nulls
        index = int(index)
    if index in ("", None):
        index = None
    elif isinstance(index, bool) or not isinstance(index, int):
        raise BadRow(f"column 'choice_index_correct' holds {kind(index)}, not a number from 0. Mend it.")
    if index is not None and not 0 <= index < len(choices):
        raise _Contradiction(f"choice_index_correct is {index}, and there are {len(choices)} choices. Count from 0.")
    same, letters = ([], []) if answer is None else _named(answer, choices)
    if index is None and answer is not None:
        said = same or letters
        if len(said) != 1:
            why = (
                "the text of several choices. Add choice_index_correct"
                if said
                else "no letter and no text of the choices. Mend it"
            )
            raise _Contradiction(f"answer_correct '{answer[:60]}' is {why}.")
        return said[0]
    said = same + letters
    if said and index not in said:
        raise _Contradiction(
            f"answer_correct '{answer}' is option {ascii_uppercase[said[0]]}, and choice_index_correct is {index}. "
            "Mend one of them."
        )
    return index


def _named(answer: str, choices: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """The options that an answer may name: those it is the text of, and the one it is the letter of."""
    texts = [choice.strip().casefold() for choice in choices]
    wanted = answer.strip().casefold()
    same = [index for index, text in enumerate(texts) if text == wanted]
    found = LETTERED.fullmatch(answer.strip())
    if found is None:
        return same, []
    index = ascii_uppercase.index(found["letter"].upper())
    rest = (found["text"] or "").strip().casefold()
    fits = index < len(choices) and rest in ("", texts[index])
    return same, [index] if fits else []


def _texts(row: dict[str, Any], column: str) -> tuple[str, ...]:
    """A list of texts: a JSON list, or in a table the same written as a text; none for null."""
    value = row.get(column)
    if isinstance(value, str) and column != "test" and value.strip():
        try:
            value = msgspec.json.decode(value)
        except UNREADABLE:
            other = " HumanEval's text goes into 'test'." if column == "tests" else ""
            raise BadRow(f'column \'{column}\' is no list. Write it as JSON: ["one", "two"].{other}') from None
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise BadRow(f"column '{column}' holds {kind(value)}, not a list of texts. Mend it.")
    if (odd := next((each for each in value if not isinstance(each, str | int | float)), value)) is not value:
        raise BadRow(f"column '{column}' holds {kind(odd)} in its list, not a text. Mend it.")
    found = tuple(str(each) for each in value)
    if column == "choices" and not 2 <= len(found) <= MAX_CHOICES:
        raise BadRow(f"column 'choices' has {len(found)} options. A question has 2 to {MAX_CHOICES}, or null.")
    if any(not each.strip() for each in found):
        raise BadRow(f"column '{column}' holds an empty text. Mend it.")
    return found


def _text(row: dict[str, Any], column: str) -> str | None:
    value = row.get(column)
    if value is not None and not isinstance(value, str):
        raise BadRow(f"column '{column}' holds {kind(value)}, not a text. Mend it.")
    return value or None
