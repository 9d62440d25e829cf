r"""Benchmarks in the shapes their authors publish them: one function each, with the address and a worked row.

Not covered: downloading (hand the file over, or use `hub`), and judging an answer (`evaluate`).
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from promptmill.records import Prompt, Reference, content_id
from promptmill.sources.rows import BadRow, Format, Rows, decode_row, first, kind, value_of


class _Read(NamedTuple):
    """What a row says: the question, what is right, its own id, and what else is known."""

    question: str
    reference: Reference
    id: str | None = None
    meta: dict[str, Any] | None = None


def gsm8k(
    *,
    path: str | Sequence[str],
    n: int | Literal["all"] = "all",
    format: Format = "auto",  # noqa: A002 - the recipe's word
) -> Iterator[Prompt]:
    r"""Read GSM8K (Cobbe et al. 2021): word problems with a worked answer that ends in `#### number`.

    From https://github.com/openai/grade-school-math. A worked row:

        {"question": "Natalia sold 48 clips in April and half as many in May. How many in all?",
         "answer": "She sold 48/2 = <<48/2=24>>24 in May.\nIn all 48+24 = <<48+24=72>>72.\n#### 72"}

    Args:
        path: a file, a folder, a pattern like 'data/*.jsonl', or a list of them; .gz and .zst are unpacked.
        n: how many problems to take from the beginning, or all.
        format: auto (by the file's ending), json, jsonl, csv or parquet.

    Yields:
        Prompts whose reference is the number after `####`; meta holds the worked answer as `explanation_correct`.

    Raises:
        DataError: a file is missing or broken, a row is no GSM8K row, or a question stands twice.
    """
    return first(Rows(path, format, columns=("question", "answer"), read=_Reader(_gsm8k)), n)


def _gsm8k(row: dict[str, Any]) -> _Read:
    worked = _text(row, "answer")
    _, mark, number = worked.rpartition("####")
    if not mark or not number.strip():
        raise BadRow("column 'answer' does not end in '#### number'. Is this GSM8K? Read others with 'problems'.")
    return _Read(_text(row, "question"), Reference(answer=number.strip()), meta={"explanation_correct": worked})


def nq_open(
    *,
    path: str | Sequence[str],
    n: int | Literal["all"] = "all",
    format: Format = "auto",  # noqa: A002 - the recipe's word
) -> Iterator[Prompt]:
    """Read NQ-open (Lee et al. 2019): questions of web users with all answers that count as right.

    From https://github.com/google-research-datasets/natural-questions (nq_open). A worked row:

        {"question": "when was the last time anyone was on the moon", "answer": ["14 December 1972 UTC",
         "December 1972"]}

    Args:
        path: a file, a folder, a pattern like 'data/*.jsonl', or a list of them; .gz and .zst are unpacked.
        n: how many questions to take from the beginning, or all.
        format: auto (by the file's ending), json, jsonl or parquet.

    Yields:
        Prompts whose reference is the first answer, with the others as aliases.

    Raises:
        DataError: a file is missing or broken, a row is no NQ-open row, or a question stands twice.
    """
    return first(Rows(path, format, columns=("question", "answer"), read=_Reader(_nq_open)), n)


def _nq_open(row: dict[str, Any]) -> _Read:
    answers = value_of(row, "answer")
    if not isinstance(answers, list) or not answers or not all(isinstance(each, str) for each in answers):
        raise BadRow(f"column 'answer' holds {kind(answers)}, not a list of texts. Is this NQ-open?")
    return _Read(_text(row, "question"), Reference(answer=answers[0], aliases=tuple(answers[1:])))


def commonsense_qa(
    *,
    path: str | Sequence[str],
    n: int | Literal["all"] = "all",
    format: Format = "auto",  # noqa: A002 - the recipe's word
) -> Iterator[Prompt]:
    """Read CommonsenseQA (Talmor et al. 2019): questions with five options, one of them right.

    From https://www.tau-nlp.org/commonsenseqa. A worked row:

        {"id": "1", "answerKey": "B", "question": {"stem": "Where do fish live?", "question_concept": "fish",
         "choices": [{"label": "A", "text": "tree"}, {"label": "B", "text": "water"}]}}

    Args:
        path: a file, a folder, a pattern like 'data/*.jsonl', or a list of them; .gz and .zst are unpacked.
        n: how many questions to take from the beginning, or all.
        format: auto (by the file's ending), json or jsonl.

    Yields:
        Prompts whose reference holds the options and the text of the right one; meta holds its index as
        `choice_index_correct` and the concept that the question was made for.

    Raises:
        DataError: a file is missing or broken, a row is no CommonsenseQA row or has no key, or an id stands twice.
    """
    columns = ("id", "question", "answerKey")
    return first(Rows(path, format, columns=columns, read=_Reader(_commonsense_qa)), n)


def _commonsense_qa(row: dict[str, Any]) -> _Read:
    question = value_of(row, "question")
    if not isinstance(question, dict):
        raise BadRow(f"column 'question' holds {kind(question)}, not an object with 'stem' and 'choices'.")
    choices = value_of(question, "choices")
    if not isinstance(choices, list) or not all(isinstance(each, dict) for each in choices):
        raise BadRow(f"'choices' holds {kind(choices)}, not a list of labels and texts.")
    labels = [_text(each, "label") for each in choices]
    if not choices or labels != list(string.ascii_uppercase[: len(labels)]):
        raise BadRow(f"the labels of the choices are {', '.join(labels) or 'none'}, not A, B, C and so on.")
    key = _text(row, "answerKey")
    if key not in labels:
        raise BadRow(f"answerKey '{key}' is none of {', '.join(labels)}. The test split has no keys; take another.")
    texts = tuple(_text(each, "text") for each in choices)
    index = labels.index(key)
    meta = {"choice_index_correct": index}
    if isinstance(question.get("question_concept"), str):
        meta["category"] = question["question_concept"]
    own = row.get("id")
    return _Read(
        _text(question, "stem"),
        Reference(answer=texts[index], choices=texts),
        id=own if isinstance(own, str) else None,
        meta=meta,
    )


def _text(row: dict[str, Any], column: str) -> str:
    value = value_of(row, column)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"column '{column}' holds {kind(value) if value else 'an empty text'}, not a text. Mend it.")
    return value


class _Reader:
    """JSON bytes of a row -> `Prompt`; no question may stand twice."""

    def __init__(self, read: Callable[[dict[str, Any]], _Read]) -> None:
        self._read = read
        self._seen: dict[str, str] = {}

    def __call__(self, line: bytes, source: str) -> Prompt:
        row = decode_row(line)
        if not isinstance(row, dict):
            raise BadRow(f"is {kind(row)}, not an object with a question. Mend or remove it.")
        found = self._read(row)
        own = found.id or content_id([found.question, found.reference.choices])
        if own in self._seen:
            raise BadRow(f"the question with the id '{own}' stands at {self._seen[own]} already. Remove one of them.")
        self._seen[own] = source
        return Prompt(id=own, source=source, text=found.question, reference=found.reference, meta=found.meta or {})
