r"""Rows with responses that other tools wrote: what their columns are called, and what is taken from them.

    {"question": "1 + 1?", "answer_correct": "2", "responses": [{"full_response": "\\boxed{2}"}]}      our own
    {"question": "1 + 1?", "answer_correct": "2", "responses": ["\\boxed{2}", "3"]}
    {"question": "1 + 1?", "answer_correct": "2", "generated_text": "\\boxed{2}", "finish_reason": "stop"}
    {"doc_id": 0, "doc": {"question": "1 + 1?"}, "target": "2", "resps": [["\\boxed{2}"]]}   lm-evaluation-harness

Rows that follow each other may be of one problem, such as a line for each sample of it. Not covered: rows of a problem
with others between them, and answers by likelihood, which hold no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from typing import Any

import msgspec
from msgspec.structs import replace

from promptmill.derive.responses import TEXTS, Response, of_row
from promptmill.evaluate.numbers import final_number
from promptmill.io.jsonl import UNREADABLE
from promptmill.records import Prompt, content_id
from promptmill.sources import problems
from promptmill.sources.rows import BadRow, decode_row, kind

RESPONSES = "responses"
LISTS = (RESPONSES, "resps", "completions", "outputs", "generations")
SINGLE = ("full_response", "response", "completion", "output", "generated_text", "prediction")
ABOUT = ("finish_reason", "reasoning")  # may stand beside one text
HARNESS = ("doc", "doc_id", "target", "filter")  # lm-evaluation-harness, --log_samples
COLUMNS = (*problems.COLUMNS, *LISTS, *SINGLE, *ABOUT, *HARNESS, "model")
SHAPE = f'"{RESPONSES}": [{{"full_response": "..."}}]'


class ResponseRows:
    """Reads one row: JSON bytes -> the problem, with its responses under `meta`.

    Args:
        model: who answered, where the rows do not say.

    Attributes:
        read_from: the columns that the responses were found in.
        missing: responses without a text.
    """

    def __init__(self, model: str = "") -> None:
        self._problems = problems.ProblemRows(must_be_answered=False, joined=True)
        self._model = model
        self._filter: Any = None
        self.read_from: set[str] = set()
        self.missing = 0
        self._unanswerable: set[str] = set()

    def read(self, line: bytes, source: str) -> Prompt:
        """Make a problem of one row.

        Raises:
            BadRow: the row is no problem, or has no responses.
        """
        row = decode_row(line)
        if isinstance(row, dict) and isinstance(row.get("doc"), dict):
            self._filter = row.get("filter") if self._filter is None else self._filter
            if row.get("filter") != self._filter:  # the same responses once more, for another of its filters
                return PASSED
            row = _of_harness(row)
            line = msgspec.json.encode(row)
        prompt = self._problems.read(line, source)
        reference = prompt.reference
        if reference is None or not (reference.answer or reference.aliases or reference.tests):
            self._unanswerable.add(prompt.id)
        return replace(prompt, meta={**prompt.meta, RESPONSES: self._given(row)})

    def _given(self, row: dict[str, Any]) -> list[Any]:
        """What stands under the first column of responses that the row has."""
        there = [name for name in (*LISTS, *SINGLE) if name in row]
        column = next((name for name in there if row[name] is not None), there[0] if there else None)
        if column is None:
            raise BadRow(
                f"no column of responses. There are: {', '.join(row)}. Write {SHAPE}, or a text under one of "
                f"{', '.join(SINGLE)}."
            )
        given = row[column]
        self.read_from.add(column)
        if column in SINGLE:
            about = {name: row[name] for name in ABOUT if name in row}
            given = [{TEXTS[0]: given, **about} if isinstance(given, str) else given]
        elif given is None or given == "":  # nobody answered
            given = []
        elif isinstance(given, str):  # a table holds lists as JSON
            with suppress(*UNREADABLE):
                given = msgspec.json.decode(given)
        if not isinstance(given, list):
            raise BadRow(f"column '{column}' holds {kind(given)}, not a list of responses. Write {SHAPE}.")
        flat = [each for some in given for each in (some if isinstance(some, list) else [some])]  # [["text"]]
        by = row.get("model")
        return [{"model": by, **each} if isinstance(each, dict) and by else each for each in map(_as_row, flat)]

    @property
    def unanswerable(self) -> int:
        """Problems of which nothing says what is right."""
        return len(self._unanswerable)

    def joined(self, rows: Iterable[Prompt]) -> Iterator[Prompt]:
        """The problems of a file's rows: those of one problem, which follow each other, as one."""
        for _, same in groupby((row for row in rows if row is not PASSED), key=lambda row: row.id):
            first, *others = same
            given = [response for row in (first, *others) for response in row.meta[RESPONSES]]
            yield replace(first, meta={**first.meta, RESPONSES: given})

    def responses(self, prompt: Prompt) -> Iterator[Response]:
        """The responses of a problem that hold a text."""
        for sample, row in enumerate(prompt.meta[RESPONSES]):
            response = of_row(row, content_id([prompt.id, sample]), sample)
            if response is None:
                self.missing += 1
            else:
                yield response if response.model else replace(response, model=self._model)


PASSED = Prompt(id="", source="", text="")
"""Stands for a row that is passed over."""


def _as_row(given: Any) -> Any:
    return {TEXTS[0]: given} if isinstance(given, str) else given


def _of_harness(row: dict[str, Any]) -> dict[str, Any]:
    """A sample of lm-evaluation-harness as a problem: its document, and its target as what is right."""
    doc, target = row["doc"], row.get("target")
    found = {name: doc[name] for name in problems.COLUMNS if name in doc}
    if not isinstance(found.get("choices"), list):
        found["choices"] = None
    if not any(found.get(name) is not None for name in problems.IDS) and row.get("doc_id") is not None:
        found["unique_id"] = str(row["doc_id"])
    if isinstance(target, int) and found["choices"]:
        found["choice_index_correct"] = target
    elif target is not None:
        found["answer_correct"] = final_number(target) if isinstance(target, str) else target
    return {**found, "resps": row.get("resps")}
