import pytest

from promptmill.derive.responses import Response, graded_row, of_completion, of_row, plain_row
from promptmill.records import Answer, Completion, Prompt, Reference, Score, Verdict

PROBLEM = Prompt(id="p", source="f:1", text="Which?", reference=Reference(answer="b", choices=("a", "b")), meta={
    "category": "letters", "choice_index_correct": 1, "explanation_correct": "because",
})  # fmt: skip
SAID = Response(key="k", model="m", sample=1, text="It is B.", finish="stop")


def score(value=1.0, *, judged=None, answer=True):
    found = Answer(text="B", method="phrase", span=(6, 7)) if answer else None
    verdict = Verdict(value=value, method="letter", settled=judged is None)
    return Score(
        key="k", prompt_id="p", model="m", sample=1, metric="em_mc", answer=found, verdict=verdict, judged=judged
    )


def test_a_plain_row_is_the_shape_that_other_tools_write():
    row = plain_row(PROBLEM, [SAID])
    assert (row.unique_id, row.problem, row.is_mcq, row.choices) == ("p", "Which?", True, ("a", "b"))
    assert (row.choice_index_correct, row.explanation_correct, row.answer_correct) == (1, "because", "b")
    assert row.category == "letters"
    assert [response.full_response for response in row.responses] == ["It is B."]


@pytest.mark.parametrize(("value", "right"), [(1.0, True), (0.0, False), (0.5, False), (None, None)])
def test_what_cannot_be_graded_is_null_and_not_false(value, right):
    (response,) = graded_row(PROBLEM, [(SAID, score(value))], {}).responses
    assert response.is_correct is right
    assert response.score == value
    assert (response.extracted_answer, response.method, response.span) == ("B", "phrase", (6, 7))
    assert response.judge is None


def test_the_judges_verdict_takes_the_place_of_one_that_is_not_settled():
    judged = Verdict(value=1.0, method="judge: j", detail="the same")
    (response,) = graded_row(PROBLEM, [(SAID, score(0.0, judged=judged))], {"model": "j", "prompt": "f"}).responses
    assert response.is_correct is True
    assert response.verified_by == "judge: j"
    assert response.judge == {"verdict": 1.0, "rules": 0.0, "model": "j", "prompt": "f"}


@pytest.mark.parametrize(
    ("text", "finish", "truncated"),
    [
        ("x", None, None),
        ("x", "stop", False),
        ("x", "length", True),
        ("<think>and on", "stop", True),
        ("<think>a</think>b", "stop", False),
        ("<think>a</think>b", None, None),
    ],
)
def test_a_thought_without_end_is_truncated_whatever_the_server_says(text, finish, truncated):
    assert Response(key="k", model="m", sample=0, text=text, finish=finish).truncated is truncated


def test_a_completion_and_a_row_of_a_file_become_responses():
    completion = Completion(key="k", prompt_id="p", model="m", sample=2, text="t", reasoning="r", finish="length")
    assert of_completion(completion) == Response(key="k", model="m", sample=2, text="t", reasoning="r", finish="length")
    row = {"full_response": "t", "finish_reason": "content_filter", "model": 7}
    assert of_row(row, "k", 3) == Response(key="k", model="", sample=3, text="t", finish="filter")
    assert of_row({"full_response": "t", "finish_reason": "eos"}, "k", 0).finish is None
    assert of_row({"full_response": None}, "k", 0) is None
    assert of_row("t", "k", 0) is None
