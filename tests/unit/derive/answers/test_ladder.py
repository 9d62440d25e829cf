"""The ladder as a recipe sees it: options, rules, what ends it; and texts that are made to hurt."""

import pytest

from promptmill import registry
from promptmill.derive.answers import answer
from promptmill.errors import ConfigError
from promptmill.records import Answer, Reference

CHOICES = Reference(choices=("crust", "mantle", "outer core", "inner core"))
OPEN = Reference()


def test_the_recipe_names_it_and_its_options():
    extract = registry.build("extractors", {"kind": "answer", "several": "first"})
    assert extract("The answer is B or C.", CHOICES) == Answer(
        text="B", method="phrase:first_of_several", span=(14, 15)
    )


def test_an_unknown_rule_is_told_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"^rules: no 'boxes'\. There are: answer_tag, boxed, json, hashes, phrase, "):
        answer(rules=["boxes"])


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("<answer>B</answer>", "answer_tag"),
        ("<answer>mantle</answer>", "answer_tag:option_text"),
        (r"\boxed{B}", "boxed"),
        ('{"answer": "B"}', "json"),
        ("#### B", "hashes"),
        ("The answer is B.", "phrase"),
        ("The answer is the mantle.", "phrase:option_text"),
        ("B is correct.", "phrase"),
        ("| Question | Answer |\n|---|---|\n| 1 | B |", "table"),
        ("B) mantle", "letter"),
        ("mantle", "whole:option_text"),
        ("Heat rises.\n\n**mantle**", "bold:option_text"),
        ("Therefore, it is the mantle.", "conclusion:option_text"),
    ],
)
def test_the_method_names_the_rule_that_chose_an_option(text, method):
    found = answer()(text, CHOICES)
    assert (found.text, found.method) == ("B", method)


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("<answer>42</answer>", "answer_tag"),
        (r"\boxed{42}", "boxed"),
        ('{"answer": 42}', "json"),
        ("#### 42", "hashes"),
        ("The answer is 42.", "phrase"),
        ("| Question | Answer |\n|---|---|\n| 6 x 7 | 42 |", "table"),
        ("Six times seven.\n\n**42**", "bold"),
        ("Therefore, he has 42 apples.", "conclusion"),
        ("42", "whole"),
    ],
)
def test_the_method_names_the_rule_that_found_an_open_answer(text, method):
    found = answer(expect="number")(text, OPEN)
    assert (found.text, found.method) == ("42", method)


def test_a_rule_that_is_not_asked_finds_nothing():
    text = r"The answer is 41. \boxed{42}"
    assert answer(rules=["phrase"])(text, OPEN).text == "41"
    assert answer(rules=["boxed"])(text, OPEN).text == "42"
    assert answer(rules=["answer_tag", "hashes"])(text, OPEN) is None
    assert answer(rules=[])(text, OPEN) is None


def test_a_number_is_taken_out_of_a_sentence_only_where_one_is_expected():
    text = "The answer is that Dana can travel 18 miles."
    assert answer()(text, Reference(answer="18")).text == "18"
    assert answer(expect="number")(text, OPEN).text == "18"
    assert answer(expect="text")(text, Reference(answer="18")).text == "that Dana can travel 18 miles"
    assert answer()(text, Reference(answer="Dana")).text == "that Dana can travel 18 miles"


@pytest.mark.parametrize("said", ["x+1", "x + 1", "3 - n", "for all x > 2"])
def test_a_number_is_never_taken_out_of_an_expression(said):
    assert answer()(f"<answer>{said}</answer>", Reference(answer="1")).text == said


def test_the_expected_answer_never_chooses_between_two():
    text = "The answer is 18 or 20."
    assert {answer()(text, Reference(answer=gold)).text for gold in ("18", "20", "7")} == {"18 or 20"}
    text = "The answer is 5. The answer is 6."
    assert {answer()(text, Reference(answer=gold)).text for gold in ("5", "6", "7")} == {"6"}


def test_several_options_are_no_answer_and_what_was_said_before_is_not_taken_instead():
    text = "The answer is A. Or rather, the answer is B or C."
    assert answer(several="none")(text, CHOICES) is None
    assert answer()(text, CHOICES).text == "B"
    tagged = "The answer is A. <answer>B or C</answer>"
    assert answer()(tagged, CHOICES) is None
    assert answer(several="first")(tagged, CHOICES).text == "B"


def test_a_letter_that_no_option_has_is_no_answer_even_where_the_first_of_several_is_taken():
    assert answer(several="first")("<answer>F</answer>", CHOICES) is None


@pytest.mark.parametrize("count", [2, 3, 5, 10, 26])
def test_every_letter_of_any_number_of_options_is_found_and_the_next_one_is_not(count):
    reference = Reference(choices=tuple(f"choice number {i} of the list" for i in range(count)))
    extract = answer()
    for index in range(count):
        letter = chr(65 + index)
        forms = (f"{letter}", f"({letter.lower()})", f"**{letter}**", f"Answer: {letter}", f"The answer is ({letter}).")
        for form in (*forms, f"<answer>\\boxed{{{letter}}}</answer>", f"Antwort: {letter}"):
            assert extract(form, reference).text == letter, form
    if count < 26:
        assert extract(f"The answer is ({chr(65 + count)}).", reference) is None


HOSTILE = [
    *("{", "}", "\\boxed{", "\\boxed{a", "<answer>", "<answer></answer>", "</answer>", "<think></think>", "</think>"),
    *("the answer is ", "answer: ", "answer to ", "answer\n", "Answer: A or B\n", "$", "$a$ ", "*", "**a** ", "`", '"'),
    *(
        " ",
        "\n",
        "(",
        "A) ",
        "A) x\n",
        "\nQ: x",
        "#",
        "#### 5\n",
        "####",
        "1",
        "1,",
        "1=",
        "=",
        '{"answer": ',
        '"answer": "',
    ),
    *(
        "\\",
        "\\text{",
        "|",
        "|answer|\n",
        "答案是",
        "选A ",
        "A is correct ",
        "I choose ",
        "therefore ",
        "So a. ",
        "Dr. ",
    ),
    *(
        "...",
        "<end_of_turn>",
        "\uff21",
        "الإجابة ",
        "A or B, ",
        "\\frac{1}{",
        "\\boxed{1} and ",
        "\x00",
        "not ",
        "cevap ",
    ),
    *("option ", "answer <answer> \\boxed{ **$ the answer is ( \n"),
]


@pytest.mark.parametrize("piece", HOSTILE, ids=repr)
@pytest.mark.parametrize("reference", [CHOICES, Reference(answer="5")], ids=["choice", "open"])
def test_half_a_megabyte_of_anything_is_read_in_bounded_time(piece, reference):
    text = (piece * (500_000 // len(piece) + 1))[:500_000]
    found = answer()(text, reference)
    assert found is None or 0 <= found.span[0] < found.span[1] <= len(text)


def test_an_answer_behind_half_a_megabyte_of_reasoning_is_found():
    text = "We add 3 and 4 and get 7. " * 20_000 + "The answer is 7."
    assert answer()(text, OPEN) == Answer(text="7", method="phrase", span=(len(text) - 2, len(text) - 1))
    deep = "\\boxed{" + "{" * 50_000 + "7" + "}" * 50_000 + "}"
    assert answer()(deep, OPEN).text.strip("{}") == "7"


@pytest.mark.parametrize(
    "text",
    [
        "The answer is B. Wait, that's wrong. Let me recompute",
        "The answer is B. I take that back.",
        "If the crust is meant the answer is A, otherwise it is B.",
        "Use <answer>A</answer> or <answer>B</answer>.",
        "Both B and C are correct.",
        "You might choose B, a common mistake is to choose B.",
    ],
)
def test_what_is_taken_back_or_holds_in_one_case_only_is_no_answer(text):
    assert answer(several="none")(text, CHOICES) is None


def test_what_follows_a_retraction_is_the_answer():
    assert answer()("The answer is B. Scratch that, it is C.", CHOICES).text == "C"
    assert answer()("~~B~~ C", CHOICES).text == "C"


@pytest.mark.parametrize(
    "text", ["It's more than 50.", "There are 40 to 50 of them.", "See page 12.", "x + 3 = 15", "12 or 13"]
)
def test_a_bound_a_range_or_an_unsolved_equation_is_no_number(text):
    assert answer()(text, Reference(answer="7")) is None


def test_an_index_in_json_may_count_from_0_or_from_1_and_names_no_option():
    assert answer()('{"answer": 1}', CHOICES) is None
    assert answer()('{"answer": 3}', Reference(choices=("2", "3", "4"))).text == "B"
    assert answer()('{"A": false, "B": true}', CHOICES).text == "B"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("加拿大的首都是渥太华。", "渥太华"),
        ("カナダの首都はオタワです。", "オタワ"),
        ("캐나다의 수도는 오타와입니다.", "오타와"),
        ("Столица Канады — Оттава.", "Оттава"),
        ("Die Hauptstadt von Kanada ist Ottawa.", "Ottawa"),
    ],
)
def test_what_something_is_is_read_in_other_languages(text, said):
    assert answer()(text, OPEN).text == said
