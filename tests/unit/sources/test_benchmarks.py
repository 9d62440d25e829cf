"""Benchmarks in their authors' shapes."""

import json
from pathlib import Path

import pytest

from promptmill.errors import ConfigError, DataError
from promptmill.evaluate.choose import auto
from promptmill.evaluate.text import cem, f1
from promptmill.records import Reference
from promptmill.registry import build

DATA = Path(__file__).parents[2] / "data"
COMMONSENSE = {
    "id": "q1",
    "answerKey": "B",
    "question": {
        "stem": "Where do fish live?",
        "question_concept": "fish",
        "choices": [{"label": "A", "text": "tree"}, {"label": "B", "text": "water"}],
    },
}


def rows(kind, path, **options):
    return list(build("sources", {"kind": kind, "path": str(path), **options}))


def written(tmp_path, *values):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def test_gsm8k_gives_the_number_and_keeps_the_worked_answer():
    prompts = rows("gsm8k", DATA / "gsm8k_excerpt.jsonl")
    assert len(prompts) == 12
    assert prompts[0].text.startswith("Janet\u2019s ducks lay 16 eggs per day.")
    assert prompts[0].reference == Reference(answer="18")
    assert prompts[0].meta["explanation_correct"].endswith("#### 18")
    assert prompts[0].source == "gsm8k_excerpt.jsonl:1"
    assert len({prompt.id for prompt in prompts}) == 12


def test_nq_open_gives_every_answer():
    prompts = rows("nq_open", DATA / "nq_open_excerpt.jsonl", n=3)
    assert len(prompts) == 3
    assert prompts[0].reference == Reference(answer="14 December 1972 UTC", aliases=("December 1972",))


def test_commonsense_qa_gives_options_and_the_right_ones_text(tmp_path):
    (prompt,) = rows("commonsense_qa", written(tmp_path, COMMONSENSE))
    assert prompt.id == "q1"
    assert prompt.text == "Where do fish live?"
    assert prompt.reference == Reference(answer="water", choices=("tree", "water"))
    assert prompt.meta == {"choice_index_correct": 1, "category": "fish"}


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        (
            "gsm8k",
            {"question": "q", "answer": "no hashes"},
            r"rows\.jsonl:1: column 'answer' does not end in '#### number'",
        ),
        ("gsm8k", {"question": "q"}, r"rows\.jsonl:1: no column 'answer'"),
        ("gsm8k", {"question": " ", "answer": "#### 1"}, r"column 'question' holds a text, not a text|empty"),
        ("gsm8k", ["q"], r"rows\.jsonl:1: is a list, not an object"),
        ("nq_open", {"question": "q", "answer": "a"}, r"column 'answer' holds a text, not a list"),
        ("nq_open", {"question": "q", "answer": []}, r"column 'answer' holds a list, not a list of texts"),
        ("commonsense_qa", {**COMMONSENSE, "answerKey": "C"}, r"answerKey 'C' is none of A, B"),
        ("commonsense_qa", {**COMMONSENSE, "question": "q"}, r"column 'question' holds a text, not an object"),
        (
            "commonsense_qa",
            {**COMMONSENSE, "question": {"stem": "q", "choices": []}},
            r"the labels of the choices are none",
        ),
        ("commonsense_qa", {**COMMONSENSE, "question": {"stem": "q", "choices": ["a"]}}, r"'choices' holds a list"),
    ],
)
def test_a_row_of_another_shape_is_told_with_its_line(tmp_path, kind, row, message):
    with pytest.raises(DataError, match=message):
        rows(kind, written(tmp_path, row))


def test_a_question_that_stands_twice_is_told(tmp_path):
    row = {"question": "q", "answer": "#### 1"}
    with pytest.raises(
        DataError, match=r"rows\.jsonl:2: the question with the id '\w+' stands at rows\.jsonl:1 already"
    ):
        rows("gsm8k", written(tmp_path, row, row))
    with pytest.raises(ConfigError, match=r"source\.n: 0"):
        rows("gsm8k", written(tmp_path, row), n=0)


def test_every_gold_answer_of_the_excerpts_scores_one_against_itself():
    metric = auto(workers=1)
    for prompt in [*rows("gsm8k", DATA / "gsm8k_excerpt.jsonl"), *rows("nq_open", DATA / "nq_open_excerpt.jsonl")]:
        for answer in (prompt.reference.answer, *prompt.reference.aliases):
            values = [each(prompt.reference, answer).value for each in (metric, cem(), f1())]
            assert values == [1.0, 1.0, 1.0], (prompt.text, answer)
    metric.close()
