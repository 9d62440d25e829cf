"""Problems with their responses, as files that people exchange: plain, and with every answer taken out and graded.

A line of the plain file:

    {"unique_id": "...", "problem": "...", "is_mcq": false, "choices": null, "choice_index_correct": null,
     "explanation_correct": null, "answer_correct": "4", "category": "Algebra",
     "responses": [{"full_response": "..."}]}

The processed file has the same rows with more in each response. A request that failed is no response and stands in
neither.

Not covered: finding the answers (see `answers`, `programs`) and judging them (see the room `evaluate`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from promptmill.records import Completion, Finish, Prompt, Score

_FINISH = {"content_filter": "filter", "tool_calls": "tool"}
TEXTS = ("full_response", "response", "text", "content", "completion", "output", "generated_text")
"""What the text of a response is called in files, ours first."""
FINISHES: tuple[Finish, ...] = ("stop", "length", "filter", "tool")


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What a model said to a problem, as far as it is known.

    Attributes:
        key: what it is known by, unique in its file.
        model: who said it; empty where nobody knows.
        sample: its place among the responses to the problem.
        text: what was said, without reasoning that came apart.
        reasoning: reasoning that the server gave apart.
        finish: how it ended; None where nobody knows.
    """

    key: str
    model: str
    sample: int
    text: str
    reasoning: str | None = None
    finish: Finish | None = None

    @property
    def truncated(self) -> bool | None:
        """Whether it was cut; None where nobody knows."""
        if self.text.rfind("<think>") > self.text.rfind("</think>"):
            return True
        return None if self.finish is None else self.finish == "length"


class PlainResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response of the plain file.

    Attributes:
        full_response: what the model said.
    """

    full_response: str


class GradedResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response of the processed file.

    Attributes:
        full_response: what the model said.
        extracted_answer: the answer in it; null where there is none.
        is_correct: whether that is right; null where it cannot be graded.
        score: the metric's value, 1 for right; between 0 and 1 for a metric such as f1.
        metric: name of the metric.
        method: the rule that found the answer.
        span: where in the response the answer stands, start and end in characters.
        verified_by: the rule that decided; for code, the isolation it ran under.
        detail: why it is wrong or cannot be graded, where that is known.
        finish_reason: stop, length, filter or tool; null where nobody knows.
        truncated: whether the response was cut; null where nobody knows.
        model: the model asked.
        sample: sample number.
        vote: what the answer counts as in a majority vote: equal answers have equal votes; null where there is none.
        reasoning: reasoning that the server gave apart.
        judge: what the judge said, where the rules could not settle it: its verdict, model and prompt.
    """

    full_response: str
    extracted_answer: str | None
    is_correct: bool | None
    score: float | None
    metric: str
    method: str | None
    span: tuple[int, int] | None
    verified_by: str
    detail: str | None
    finish_reason: Finish | None
    truncated: bool | None
    model: str
    sample: int
    vote: str | None
    reasoning: str | None = None
    judge: dict[str, Any] | None = None


class ProblemRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A line of either file.

    Attributes:
        unique_id: the problem's id.
        problem: the question.
        is_mcq: whether it has options.
        choices: its options.
        choice_index_correct: the right one, from 0.
        explanation_correct: how the right answer is found, where the data tells.
        answer_correct: the right answer; the option's text where there are options.
        category: what kind of problem it is, where the data tells.
        responses: what was said to it.
    """

    unique_id: str
    problem: str
    is_mcq: bool
    choices: tuple[str, ...] | None
    choice_index_correct: int | None
    explanation_correct: str | None
    answer_correct: str | None
    category: str | None
    responses: tuple[PlainResponse, ...] | tuple[GradedResponse, ...]


class CodeRow(ProblemRow, frozen=True, kw_only=True):
    """A line for a problem that is judged by running code.

    Attributes:
        tests: code that must run without an error.
        entry_point: name of the function that the tests call.
        prompt: code that stands before a bare function body.
    """

    tests: tuple[str, ...]
    entry_point: str | None
    prompt: str | None


def of_completion(completion: Completion) -> Response:
    """A stored completion as a response."""
    return Response(
        key=completion.key,
        model=completion.model,
        sample=completion.sample,
        text=completion.text,
        reasoning=completion.reasoning,
        finish=completion.finish,
    )


def of_row(row: Any, key: str, sample: int) -> Response | None:
    """A response of a file, whoever wrote it; None if it holds no text."""
    text = (
        next((row[name] for name in TEXTS if isinstance(row.get(name), str)), None) if isinstance(row, dict) else None
    )
    if text is None:
        return None
    said = row.get("finish_reason")
    said = _FINISH.get(said, said) if isinstance(said, str) else None
    model, reasoning = row.get("model"), row.get("reasoning")
    return Response(
        key=key,
        model=model if isinstance(model, str) else "",
        sample=sample,
        text=text,
        reasoning=reasoning if isinstance(reasoning, str) else None,
        finish=next((finish for finish in FINISHES if finish == said), None),
    )


def plain_row(prompt: Prompt, responses: Iterable[Response]) -> ProblemRow:
    """A line of the plain file."""
    return _row(prompt, tuple(PlainResponse(full_response=response.text) for response in responses))


def graded_row(prompt: Prompt, graded: Iterable[tuple[Response, Score]], judge: dict[str, str]) -> ProblemRow:
    """A line of the processed file.

    Args:
        prompt: the problem.
        graded: its responses, each with its score.
        judge: who judged what the rules could not settle: `model` and `prompt`.
    """
    return _row(prompt, tuple(_graded(response, score, judge) for response, score in graded))


def _graded(response: Response, score: Score, judge: dict[str, str]) -> GradedResponse:
    value, judged = score.value, score.judged
    return GradedResponse(
        full_response=response.text,
        extracted_answer=score.answer.text if score.answer is not None else None,
        is_correct=None if value is None else value >= 1.0,
        score=value,
        metric=score.metric,
        method=score.answer.method if score.answer is not None else None,
        span=score.answer.span if score.answer is not None else None,
        verified_by=score.verdict.method if judged is None else judged.method,
        detail=score.verdict.detail if judged is None else judged.detail,
        finish_reason=response.finish,
        truncated=response.truncated,
        model=response.model,
        sample=response.sample,
        vote=vote_of(score),
        reasoning=response.reasoning,
        judge=None if judged is None else {"verdict": judged.value, "rules": score.verdict.value, **judge},
    )


def vote_of(score: Score) -> str | None:
    """What the answer counts as in a majority vote; None where there is none."""
    return score.answer.text if score.vote is None and score.answer is not None else score.vote


def _row(prompt: Prompt, responses: tuple[PlainResponse, ...] | tuple[GradedResponse, ...]) -> ProblemRow:
    reference, meta = prompt.reference, prompt.meta
    choices = reference.choices if reference is not None else ()
    common: dict[str, Any] = {
        "unique_id": prompt.id,
        "problem": prompt.plain,
        "is_mcq": bool(choices),
        "choices": choices or None,
        "choice_index_correct": meta.get("choice_index_correct"),
        "explanation_correct": meta.get("explanation_correct"),
        "answer_correct": reference.answer if reference is not None else None,
        "category": meta.get("category"),
        "responses": responses,
    }
    if reference is None or not reference.tests:
        return ProblemRow(**common)
    return CodeRow(**common, tests=reference.tests, entry_point=reference.entry_point, prompt=reference.setup)
