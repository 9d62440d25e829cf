"""Thought and answer taken apart, whichever way they come."""

import pytest

from promptmill.endpoints.reasoning import finish_after, pairs_of, split
from promptmill.errors import ConfigError

TAGS = pairs_of(["<think>", "</think>"])


@pytest.mark.parametrize(
    ("text", "answer", "thought"),
    [
        ("plain", "plain", None),
        ("  plain\n", "  plain\n", None),
        ("<think>2 and 2</think>4", "4", "2 and 2"),
        ("\n <think>\n2 and 2\n</think>\n\n4 \n", "4 \n", "2 and 2"),
        ("<think>\n\n</think>\n\n4", "4", ""),
        ("<think>a</think>", "", "a"),
        ("<think>a</think>\n<think>b</think>4", "4", "a\n\nb"),
        ("2 and 2</think>4", "4", "2 and 2"),  # the chat template opened the tag
        ("</think>4", "4", ""),
        ("2 and 2</think><think>again</think>4", "4", "2 and 2\n\nagain"),
        ("a</think>The tag </think> ends a thought.", "The tag </think> ends a thought.", "a"),
        ("<think>a</think>Write `</think>`:\n```\n</think>\n```", "Write `</think>`:\n```\n</think>\n```", "a"),
        ("<think>a</think>b</think>c", "b</think>c", "a"),
        ("Close it with `</think>`.", "Close it with `</think>`.", None),
        ("So:\n```xml\n</think>\n```\nDone.", "So:\n```xml\n</think>\n```\nDone.", None),
        ("I write `</think>` when done.</think>4", "4", "I write `</think>` when done."),
        ("A pair is <think>x</think>.", "A pair is <think>x</think>.", None),
        ("I <think> so", "I <think> so", None),
        ("", "", None),
    ],
)
def test_a_thought_is_a_block_at_the_start_or_what_an_unopened_tag_closes(text, answer, thought):
    assert split(text, given=None, tags=TAGS) == (answer, thought, True)


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("<think>2 and", "2 and"),
        (" <think>", ""),
        ("<think>a</think><think>b", "a\n\nb"),
        ("a</think><think>b", "a\n\nb"),
    ],
)
def test_a_block_without_an_end_has_no_answer(text, thought):
    assert split(text, given=None, tags=TAGS) == ("", thought, False)


def test_what_the_server_gave_apart_is_believed():
    assert split("4", given="2 and 2", tags=TAGS) == ("4", "2 and 2", True)
    assert split("<think>a</think>4", given="", tags=TAGS) == ("4", "a", True)


def test_other_tags_can_be_named_and_none_leaves_the_text_alone():
    tags = pairs_of(["<reasoning>", "</reasoning>", "[THINK]", "[/THINK]"])
    assert split("[THINK]a[/THINK]<reasoning>b</reasoning>4", given=None, tags=tags) == ("4", "a\n\nb", True)
    assert split("<think>a</think>4", given=None, tags=tags) == ("<think>a</think>4", None, True)
    assert split("<think>a</think>4", given=None, tags=pairs_of([])) == ("<think>a</think>4", None, True)


@pytest.mark.parametrize("tags", [["<think>"], ["<a>", "</a>", "<b>"], ["", "</a>"], ["<a>", " "]])
def test_tags_that_are_no_pairs_are_an_error(tags):
    with pytest.raises(ConfigError, match=r"think_tags: .* are no pairs\. Give opening and closing tags in turn"):
        pairs_of(tags)


def test_an_answer_that_ended_inside_a_thought_was_cut_whatever_the_server_says():
    found = {
        (finish, closed): finish_after(finish, closed=closed)
        for finish in ("stop", "length", "filter", "tool")
        for closed in (True, False)
    }
    assert {case: finish for case, finish in found.items() if finish != case[0]} == {("stop", False): "length"}


@pytest.mark.parametrize("piece", ["`</think>", "<think></think>", "</think>", "``` </think>", " \n<think>"])
def test_a_hostile_text_of_many_tags_is_read_in_one_pass(piece):
    # with work that grows with the square of its length this would take hours
    text = piece * (4_000_000 // len(piece))
    assert text.endswith(split(text, given=None, tags=TAGS).text)
