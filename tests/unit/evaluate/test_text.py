"""Texts: what counts as the same words, and as the same option."""

# ruff: noqa: RUF001 - tables of pairs, and the odd signs that people type

import pytest

from promptmill.evaluate.text import cem, chosen_option, em_mc, exact, f1, normalise, words
from promptmill.records import Reference

CHOICES = ("trout", "bat", "wren", "the bat and the wren")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("The  Cat.", "cat"),
        ("a cat, an ape & the bee", "cat ape bee"),
        ("Ｔｈｅ Ｃａｔ", "cat"),
        ("ﬁne", "fine"),
        ("Spider-Man", "spiderman"),
        ("don't", "dont"),
        ("1,000", "1000"),
        ("1/2", "1/2"),
        ("-5", "-5"),
        ("5.", "5"),
        ("3.14", "3.14"),
        ("C++", "c++"),
        ("C", "c"),
        ("1990–1995", "1990-1995"),
        ("«Oui» „ja“", "oui ja"),
        ("Straße", "strasse"),
        ("...", ""),
        ("", ""),
    ],
)
def test_texts_are_compared_in_one_form(text, form):
    assert normalise(text) == form


def test_scripts_without_spaces_are_taken_sign_by_sign():
    assert words("中国 Beijing") == ("中", "国", "beijing")
    assert words("東京タワー。")[:2] == ("東", "京")


@pytest.mark.parametrize(
    ("answer", "value", "settled"),
    [
        ("December 1972", 1.0, True),
        ("the december, 1972.", 1.0, True),
        ("14 December 1972 UTC", 1.0, True),
        ("in December 1972", 0.0, False),
        ("", 0.0, True),
        ("1972", 0.0, False),
    ],
)
def test_exact_takes_the_reference_or_an_alias(answer, value, settled):
    verdict = exact()(Reference(answer="14 December 1972 UTC", aliases=("December 1972",)), answer)
    assert (verdict.value, verdict.settled) == (value, settled)


@pytest.mark.parametrize(
    ("gold", "answer", "value"),
    [
        ("1/2", "12", 0.0),
        ("5", "-5", 0.0),
        ("1.5", "15", 0.0),
        ("C++", "C", 0.0),
        ("+", "+", 1.0),
        ("+", "-", 0.0),
        ("The Who", "who", 1.0),
    ],
)
def test_exact_keeps_the_signs_that_make_a_difference(gold, answer, value):
    assert exact()(Reference(answer=gold), answer).value == value


@pytest.mark.parametrize(
    ("gold", "answer", "value"),
    [
        ("Paris", "It is Paris, of course.", 1.0),
        ("Paris", "parisian", 0.0),
        ("art", "The cart", 0.0),
        ("New York", "new york city", 1.0),
        ("New York", "york new", 0.0),
        ("5", "the answer is 15", 0.0),
        ("5", "the answer is -5", 0.0),
        ("5", "the answer is 5.", 1.0),
        ("北京", "首都是北京市", 1.0),
        ("", "anything", 0.0),
    ],
)
def test_cem_asks_for_the_reference_as_whole_words(gold, answer, value):
    assert cem()(Reference(answer=gold), answer).value == value


@pytest.mark.parametrize(
    ("gold", "answer", "value"),
    [
        ("the quick brown fox", "quick fox", 0.8),
        ("fox", "fox", 1.0),
        ("fox", "dog", 0.0),
        ("fox fox", "fox", 2 / 3),
        ("北京市", "北京", 0.8),
        ("", "", 1.0),
        ("fox", "", 0.0),
    ],
)
def test_f1_is_that_of_squad(gold, answer, value):
    assert f1()(Reference(answer=gold), answer).value == pytest.approx(value)


def test_f1_takes_the_best_alias_and_leaves_room_for_a_judge():
    verdict = f1()(Reference(answer="red", aliases=("dark red", "crimson")), "a dark red hue")
    assert verdict.value == pytest.approx(0.8)
    assert not verdict.settled


@pytest.mark.parametrize("metric", [exact(), cem(), f1()])
def test_without_a_reference_texts_are_not_graded(metric):
    assert metric(Reference(), "Paris").value is None


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ("B", 1), ("b", 1), ("(B)", 1), ("B.", 1), ("**B**", 1), ("[B]", 1), ("Ｂ", 1), ("B) bat", 1), ("B: bat.", 1),
        ("bat", 1), ("Bat.", 1), ("the bat", 1), ("The bat and the wren", 3), ("D", 3),
        ("E", None), ("", None), ("fish", None), ("B) wren", None), ("A or B", None), ("bat wren", None), ("?", None),
    ],
)  # fmt: skip
def test_an_option_is_named_by_its_letter_or_its_text(answer, option):
    assert chosen_option(answer, CHOICES) == option


def test_options_that_differ_in_a_sign_are_told_apart():
    choices = ("1", "-1", "1/2", "12", "a")
    assert [chosen_option(text, choices) for text in ("-1", "1", "12", "1/2", "0.5")] == [1, 0, 3, 2, None]
    assert chosen_option("a", ("x", "a", "y")) == 0  # a letter comes first: answers are letters


def test_the_reference_of_multiple_choice_is_the_text_before_the_letter():
    reference = Reference(answer="B", choices=("C", "B", "A"))
    assert em_mc()(reference, "B").value == 1.0
    assert em_mc()(reference, "A").value == 0.0


@pytest.mark.parametrize(
    ("answer", "value", "detail"),
    [("B", 1.0, None), ("A", 0.0, "option A instead of B"), ("none", 0.0, "the answer names no option")],
)
def test_multiple_choice_tells_which_option_was_taken(answer, value, detail):
    verdict = em_mc()(Reference(answer="bat", choices=CHOICES), answer)
    assert (verdict.value, verdict.detail, verdict.settled) == (value, detail, True)


def test_an_option_that_stands_twice_is_right_under_both_letters():
    reference = Reference(answer="lasting", choices=("lasting", "brief", "lasting"))
    assert [em_mc()(reference, letter).value for letter in "ABC"] == [1.0, 0.0, 1.0]
    assert em_mc()(reference, "lasting").value == 1.0
    assert chosen_option("ph", ("pH", "PH", "x")) is None


def test_a_reference_that_is_no_option_is_not_graded():
    assert em_mc()(Reference(answer="whale", choices=CHOICES), "A").value is None
    assert em_mc()(Reference(choices=CHOICES), "A").value is None


def test_twenty_six_options_have_letters():
    choices = tuple(f"thing {n}" for n in range(26))
    assert em_mc()(Reference(answer="thing 25", choices=choices), "z").value == 1.0
