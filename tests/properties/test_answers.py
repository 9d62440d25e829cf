"""What extraction promises of every text."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promptmill.derive.answers import answer
from promptmill.records import Reference

EXTRACT = answer()
CHOICES = ("crust", "mantle", "outer core", "inner core")
PIECES = [
    *(
        "<answer>",
        "</answer>",
        "\\boxed{",
        "}",
        "{",
        "The answer is ",
        "Answer: ",
        "(C)",
        "C",
        "B) mantle",
        "42",
        "$",
        "**",
    ),
    *(
        "\n",
        "\n\n",
        " ",
        ".",
        "####",
        "<think>",
        "</think>",
        "Question: ",
        "\nQ: ",
        "Antwort: ",
        "答案是",
        "答えは",
        "です",
    ),
    *(
        "الإجابة ",
        '{"answer": "',
        '"}',
        "|",
        "not ",
        " or ",
        "because ",
        "\\text{",
        "\\frac{1}{2}",
        "=",
        "x",
        "I",
        "a ",
    ),
    *("\uff23", "\uff11\uff12", "\u0664\u0662", "The correct option is ", " is correct", "I choose ", "So ", "mantle"),
    *("crust", "Dr. ", "3.14", "\\", "`", "'", '"', "\u0130", "<|channel|>final<|message|>", "<|im_end|>", "ß", "①"),
]
TEXTS = st.one_of(st.text(max_size=300), st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
REFERENCES = st.sampled_from(
    [
        Reference(),
        Reference(answer="42"),
        Reference(answer="Paris"),
        Reference(choices=CHOICES),
        Reference(choices=("", "a")),
    ]
)
VALUES = st.one_of(
    st.integers(-10_000, 10_000).map(str),
    st.decimals(-1000, 1000, allow_nan=False, allow_infinity=False, places=3).map(str),
    st.text(string.ascii_letters, min_size=3, max_size=12).filter(lambda word: word.lower() not in STANDINS),
    st.sampled_from(
        [r"\frac{1}{2}", r"\sqrt{2}", "(1, 2)", r"\{1, 2\}", "x^{2^{3}}", r"\frac{\frac{a}{b}}{c}", "1,234", "3:4"]
    ),
)
STANDINS = {
    *("answer", "letter", "result", "option", "choice", "solution", "placeholder", "format", "ldots", "cdots", "dots"),
    *("tag", "tags", "and", "with", "block", "blocks"),
}
QUIET = [piece for piece in PIECES if "<" not in piece and "\nQ" not in piece and "Question" not in piece]


@settings(max_examples=400)
@given(TEXTS, REFERENCES)
@example("\\boxed{" * 3 + "}", Reference())
@example("answer is\u0130 <answer>\u0130</answer>", Reference())
def test_any_text_is_read_without_an_error_and_the_place_lies_inside(text, reference):
    found = EXTRACT(text, reference)
    if found is not None:
        assert 0 <= found.span[0] < found.span[1] <= len(text)
        assert found.text.strip()
        assert found.text == found.text.strip()
        if reference.choices:
            assert found.text in "ABCD"[: len(reference.choices)]


@settings(max_examples=200)
@given(
    VALUES,
    st.lists(
        st.sampled_from([p for p in PIECES if "<" not in p and "\nQ" not in p and "Question" not in p]), max_size=12
    ),
)
def test_what_stands_in_the_last_answer_tag_is_found(value, before):
    text = "".join(before) + "\nso\n<answer>\\boxed{" + value + "}</answer>"
    found = EXTRACT(text, Reference())
    assert (found.text, found.method) == (value, "answer_tag")
    again = EXTRACT("<answer>" + found.text + "</answer>", Reference())
    assert again.text == value


@settings(max_examples=200)
@given(
    st.sampled_from("ABCD"),
    st.lists(st.sampled_from(["The answer is A. ", "(B) ", "C) x ", "D is right. ", "crust "]), max_size=6),
)
def test_the_last_answer_tag_wins_over_all_that_was_said_before(letter, before):
    text = "".join(before) + f"<answer>A</answer> {''.join(before)}\n<answer>\\boxed{{{letter}}}</answer>"
    assert EXTRACT(text, Reference(choices=CHOICES)).text == letter


@settings(max_examples=200)
@given(
    st.sampled_from(["The answer is B.", r"\boxed{B}", "<answer>B</answer>", "B", "#### B", "mantle"]),
    st.text("xyz .\n", max_size=40),
)
def test_a_thought_is_never_searched(said, filler):
    reference = Reference(choices=CHOICES)
    assert EXTRACT(f"<think>{filler}{said}{filler}</think>{filler}", reference) is None
    assert EXTRACT(f"<think>{filler}{said}{filler}", reference) is None
    assert EXTRACT(f"{filler}{said}</think>{filler}", reference) is None
    assert EXTRACT(f"<think>{said}</think>{filler}<think>{said}</think>The answer is C.", reference).text == "C"


@pytest.mark.parametrize("depth", [1, 2, 5, 50, 500])
def test_braces_are_counted_to_any_depth(depth):
    value = "\\sqrt{" * depth + "2" + "}" * depth
    assert EXTRACT(f"so $\\boxed{{{value}}}$ holds", Reference()).text == value
    assert EXTRACT(f"so $\\boxed{{{value[:-1]}", Reference()) is None


@settings(max_examples=100)
@given(st.text(max_size=200), st.sampled_from(["The answer is 7.", "<answer>7</answer>", r"\boxed{7}"]))
def test_places_are_those_of_the_response_whatever_stands_before(before, said):
    text = before.replace("<", " ").replace("[", " ") + "\n\n" + said
    found = EXTRACT(text, Reference())
    if found is not None and found.text == "7":
        assert text[slice(*found.span)] == "7"
