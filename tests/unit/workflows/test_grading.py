"""Grading: what each answer counts as when the answers to a problem vote."""

import pytest

from promptmill.derive.responses import Response, vote_of
from promptmill.records import Prompt, Reference
from promptmill.workflows.grading import GradeOptions, Grader


def said(answers, *, answer=None, choices=(), tests=(), metric="auto"):
    """What each of some answers to one problem counts as."""
    prompt = Prompt(id="p", source="", text="?", reference=Reference(answer=answer, choices=choices, tests=tests))
    texts = [f"```python\n{each}\n```" if tests else rf"\boxed{{{each}}}" for each in answers]
    responses = [Response(key=str(n), model="m", sample=n, text=text) for n, text in enumerate(texts)]
    with Grader(GradeOptions(metric={"kind": metric})) as grader:
        ((_, graded),) = grader.graded([(prompt, responses)])
    return [vote_of(score) for _, score in graded]


@pytest.mark.parametrize(
    ("answer", "answers", "counted"),
    [
        ("7", ["x+1", "1+x", "x+1", "x-1"], ["x+1", "x+1", "x+1", "x-1"]),
        ("7", [r"\frac{1}{2}", "0.5", "0.5", "2/4"], ["0.5", "0.5", "0.5", "0.5"]),
        ("7", ["(1,2)", "(1, 2)", "(2,1)"], ["(1, 2)", "(1, 2)", "(2,1)"]),
        ("Rome", ["Paris.", "paris", "the Paris", "Lyon"], ["Paris", "Paris", "Paris", "Lyon"]),
        ("7", ["$18", "18.00", "18 dollars"], ["$18", "$18", "$18"]),
        ("5 cm", ["5", "5 cm", "5 m"], ["5", "5", "5 m"]),  # the second is right, the third is not
    ],
)
def test_answers_that_the_metric_takes_for_one_another_are_one_vote(answer, answers, counted):
    assert said(answers, answer=answer) == counted


def test_options_vote_by_what_they_say():
    assert said(["A", "C", "B"], answer="bat", choices=("trout", "bat", "trout")) == ["A", "A", "B"]


def test_metrics_that_do_not_say_whether_two_texts_are_equal_leave_it_to_the_spelling():
    assert said(["Paris", "Big Paris", "paris."], answer="Lyon", metric="cem") == ["Paris", "Big Paris", "Paris"]


def test_programs_vote_by_their_text():
    programs = ["def f():\n    return 1", "def f():\n    return 2", "def f():\n    return  1"]
    assert said(programs, tests=("assert f() == 1",)) == [f"{each}\n" for each in programs]


def test_a_response_without_an_answer_has_no_vote():
    prompt = Prompt(id="p", source="", text="?", reference=Reference(answer="7"))
    responses = [Response(key=str(n), model="m", sample=n, text=text) for n, text in enumerate(("", r"\boxed{8}"))]
    with Grader(GradeOptions()) as grader:
        ((_, graded),) = grader.graded([(prompt, responses)])
    assert [vote_of(score) for _, score in graded] == [None, "8"]
