"""Which answers to one problem are one vote."""

import itertools

import pytest

from promptmill.evaluate.votes import spelled, votes


def never(_one, _other):
    return False


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,000", "1000.0"),
        ("$18", "18.00 dollars"),
        ("5 km", "5000 m"),
        ("0.5", r"\frac{1}{2}"),
        (r"\dfrac{a}{b}", r"\frac{a}{b}"),
        ("Eiffel Tower", "eiffel  tower."),
        ("B", "b"),
        ("(1,2)", "(1, 2)"),
        ("Paris.", "paris"),
    ],
)
def test_answers_that_are_spelled_alike_have_one_spelling(one, other):
    assert spelled(one) == spelled(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("18", "180"), ("50%", "50"), ("5 km", "5 m"), ("$5", "€5"), ("11_2", "11_3"), ("B", "C"), ("x+1", "x-1")],
)
def test_answers_that_differ_have_two(one, other):
    assert spelled(one) != spelled(other)


def test_a_text_without_end_is_spelled_as_it_is():
    assert spelled("x" * 10**6) == "x" * 10**6


def test_the_answer_that_most_gave_stands_for_all_that_are_one_with_it():
    given = [("1.0", 0.0), ("1", 0.0), ("2", 0.0), ("1", 0.0), ("one", 0.0)]
    assert votes(given, lambda one, other: {one, other} == {"1", "one"}) == ["1", "1", "2", "1", "1"]


def test_of_answers_given_as_often_the_first_by_its_text_stands_for_the_others():
    assert votes([("b", 0.0), ("a", 0.0)], lambda _one, _other: True) == ["a", "a"]


def test_the_order_of_the_answers_does_not_matter():
    given = [("50%", 0.0), ("50", 0.0), ("0.5", 0.0), ("50 ", 0.0)]  # 50% is taken for either of the others

    def alike(one, other):
        return "50%" in {one, other}

    found = {tuple(sorted(zip(each, votes(each, alike), strict=True))) for each in itertools.permutations(given)}
    assert len(found) == 1


def test_a_right_answer_and_a_wrong_one_are_never_one():
    given = [("5", 1.0), ("5 cm", 1.0), ("5 m", 0.0), ("5.0", 0.0)]
    assert votes(given, lambda _one, _other: True) == ["5", "5", "5 m", "5 m"]


def test_what_could_not_be_graded_is_compared_by_its_spelling_only():
    asked = []
    given = [("9^{9^{9}}", None), ("9^{9^{ 9}}", None), ("8^{9^{9}}", None)]
    assert votes(given, lambda *pair: bool(asked.append(pair))) == ["9^{9^{ 9}}", "9^{9^{ 9}}", "8^{9^{9}}"]
    assert asked == []


def test_answers_of_one_spelling_are_compared_once():
    asked = []

    def alike(one, other):
        asked.append((one, other))
        return False

    votes([("x+1", 0.0), ("x + 1", 0.0), ("x+1", 0.0), ("1+x", 0.0), ("1 + x", 0.0)], alike)
    assert len(asked) == 1


def test_nobody_waits_twice_for_the_answers_to_one_problem():
    asked = []

    def endless(one, other):
        asked.append((one, other))

    given = [(text, 0.0) for text in ("9!", "8!", "7!", "7 !", "6!")]
    assert votes(given, endless) == ["9!", "8!", "7 !", "7 !", "6!"]
    assert asked == [("6!", "7 !")]


def test_no_answers_are_no_votes():
    assert votes([], never) == []
