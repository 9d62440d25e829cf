import itertools
import json
import math

import msgspec
import numpy as np
import pytest

from promptmill.errors import DataError
from promptmill.evaluate.estimates import Graded, Summary, majority, pass_at, scores, summarise


def rows(problem, *values, model="m", category=None, answers=None):
    answers = answers or ["a" if value == 1.0 else "b" for value in values]
    return [
        Graded(problem=problem, category=category, model=model, sample=j, value=value, answer=answer)
        for j, (value, answer) in enumerate(zip(values, answers, strict=True))
    ]


def test_accuracy_is_the_mean_over_problems_whatever_their_number_of_samples():
    found = scores([rows("p", 1.0, 1.0, 1.0, 1.0), rows("q", 0.0)])
    assert (found.problems, found.samples, found.k) == (2, 5, 4)
    assert (found.accuracy.value, found.accuracy.problems, found.accuracy.samples) == (0.5, 2, 5)


def test_what_cannot_be_graded_is_not_wrong():
    found = scores([rows("p", 1.0, None), rows("q", None, None), rows("r", 0.0, 1.0)])
    assert (found.accuracy.value, found.accuracy.problems, found.accuracy.samples) == (0.75, 2, 3)
    assert found.ungraded.value == pytest.approx((0.5 + 1 + 0) / 3)
    assert (found.pass_at[1].value, found.pass_at[1].problems) == (0.75, 2)
    assert (found.pass_at[2].value, found.pass_at[2].problems) == (1.0, 1)


def test_shares_count_samples_of_all_problems():
    cut = msgspec.structs.replace(rows("p", 0.0)[0], truncated=True, answer=None)
    found = scores([[cut, *rows("p", 1.0)], rows("q", 1.0, 1.0)])
    assert (found.truncated.value, found.unanswered.value, found.ungraded.value) == (0.25, 0.25, 0.0)


def test_without_a_row_there_are_no_figures():
    assert summarise([]) == []
    empty = scores([])
    assert (empty.accuracy, empty.pass_at, empty.maj_at_k, empty.truncated) == (None, {}, None, None)
    nothing_graded = scores([rows("p", None, None)])
    assert (nothing_graded.accuracy, nothing_graded.pass_at, nothing_graded.maj_at_k) == (None, {}, None)
    assert nothing_graded.ungraded.value == 1.0


@pytest.mark.parametrize(
    ("graded", "right", "k", "expected"),
    [(1, 1, 1, 1.0), (5, 0, 5, 0.0), (5, 2, 1, 0.4), (5, 2, 2, 1 - 3 / 10), (5, 2, 4, 1.0), (200, 1, 100, 0.5)],
)
def test_pass_at_k_is_that_of_chen_et_al(graded, right, k, expected):
    assert pass_at(graded, right, k) == pytest.approx(expected)


def test_pass_at_k_is_the_share_of_all_subsets_with_a_right_sample():
    marks = [1, 1, 0, 0, 0, 0]
    for k in range(1, 7):
        subsets = list(itertools.combinations(marks, k))
        assert pass_at(6, 2, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))
        assert pass_at(6, 2, k) == pytest.approx(1 - math.comb(4, k) / math.comb(6, k))


@pytest.mark.parametrize(("graded", "right", "k"), [(5, 2, 6), (5, 2, 0), (5, 6, 1), (0, 0, 1)])
def test_pass_at_k_of_too_few_samples_is_refused(graded, right, k):
    with pytest.raises(ValueError, match=rf"pass@{k} of {right} right among {graded}"):
        pass_at(graded, right, k)


def test_pass_at_every_k_is_the_mean_over_the_problems_that_have_so_many():
    found = scores([rows("p", 1.0, 0.0, 0.0, 0.0), rows("q", 1.0, 1.0, 0.0), rows("r", 0.0, 0.0)]).pass_at
    assert list(found) == [1, 2, 3, 4]
    assert [one.problems for one in found.values()] == [3, 3, 2, 1]
    expected = [
        [pass_at(4, 1, 1), pass_at(3, 2, 1), pass_at(2, 0, 1)],
        [pass_at(4, 1, 2), pass_at(3, 2, 2), pass_at(2, 0, 2)],
        [pass_at(4, 1, 3), pass_at(3, 2, 3)],
        [pass_at(4, 1, 4)],
    ]
    assert [one.value for one in found.values()] == pytest.approx([np.mean(each) for each in expected])


def test_pass_at_1_is_the_accuracy_and_partly_right_is_no_pass():
    found = scores([rows("p", 1.0, 0.0, 1.0), rows("q", 0.0, 0.0)])
    assert found.pass_at[1].value == pytest.approx(found.accuracy.value)
    assert found.pass_at[1].low == pytest.approx(found.accuracy.low)
    partly = scores([rows("p", 0.9, 0.9)])
    assert (partly.accuracy.value, partly.pass_at[2].value) == (pytest.approx(0.9), 0.0)


@pytest.mark.parametrize(
    ("answers", "values", "expected"),
    [
        ("aab", (1.0, 1.0, 0.0), 1.0),
        ("abb", (1.0, 0.0, 0.0), 0.0),
        ("ab", (1.0, 0.0), 0.5),  # either may be taken
        ("aabbc", (1.0, 1.0, 0.0, 0.0, 1.0), 0.5),  # c has fewer votes
        ("abc", (1.0, 0.0, 0.0), 1 / 3),
        ("a..", (1.0, 0.0, 0.0), 1.0),  # no answer is no vote
        ("..", (0.0, 0.0), 0.0),
        ("..", (None, None), None),
        (".a", (0.0, None), None),  # the vote fell on what could not be graded
        ("aab", (None, None, 0.0), None),
        ("aab", (1.0, None, 0.0), 1.0),  # equal answers: one verdict is enough
        ("aabb", (1.0, 1.0, None, None), None),
        ("aaabb", (1.0, 0.0, 0.0, 1.0, 1.0), 0.5),  # a judge who said this and that of an answer made two of it
    ],
)
def test_the_vote_is_the_one_worked_out_by_hand(answers, values, expected):
    samples = rows("p", *values, answers=[None if mark == "." else mark for mark in answers])
    assert majority(samples) == (expected if expected is None else pytest.approx(expected))


def test_the_vote_of_a_model_is_the_mean_over_problems_that_could_be_decided():
    found = scores([rows("p", 1.0, 1.0, 0.0), rows("q", 0.0, 1.0), rows("r", None, None, answers=["x", "x"])]).maj_at_k
    assert (found.value, found.problems, found.samples) == (0.75, 2, 5)


def test_a_share_of_truncated_responses_is_given_only_where_it_is_known_of_all():
    known = [Graded(problem="p", model="m", sample=n, value=1.0, truncated=n == 0) for n in range(4)]
    assert scores([known]).truncated.value == 0.25
    unknown = Graded(problem="q", model="m", sample=0, value=1.0, truncated=None)
    assert scores([known, [unknown]]).truncated is None


def test_categories_and_models_are_told_apart_and_sorted():
    found = summarise(
        [
            *rows("p", 1.0, 1.0, category="maths", model="b"),
            *rows("q", 0.0, 0.0, category="law", model="b"),
            *rows("r", 0.0, 1.0, model="b"),
            *rows("p", 0.0, model="a"),
        ]
    )
    assert [one.model for one in found] == ["a", "b"]
    assert found[0].by_category == {}
    assert {name: one.accuracy.value for name, one in found[1].by_category.items()} == {
        "law": 0.0,
        "maths": 1.0,
        "uncategorised": 0.5,
    }
    assert list(found[1].by_category) == ["law", "maths", "uncategorised"]
    assert found[1].overall.accuracy.value == 0.5


def test_the_summary_is_json_and_comes_back():
    found = summarise(rows("p", 1.0, 0.0, category="maths") + rows("q", None, category="maths"))
    text = msgspec.json.encode(found)
    assert msgspec.json.decode(text, type=list[Summary]) == found
    assert json.loads(text)[0]["overall"]["pass_at"]["2"]["value"] == 1.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (rows("p", 1.0) + rows("p", 0.0), "problem p: sample 0 of model m is there twice"),
        (rows("p", 1.5), r"problem p: sample 0: the value 1\.5 is not between 0 and 1"),
        (rows("p", float("nan")), "the value nan is not between 0 and 1"),
        (
            [*rows("p", 1.0, category="a"), *(rows("p", 1.0, 1.0, category="b")[1:])],
            "problem p: its samples have two categories, 'a' and 'b'",
        ),
    ],
)
def test_rows_that_contradict_each_other_are_an_error(given, message):
    with pytest.raises(DataError, match=message):
        summarise(given)
