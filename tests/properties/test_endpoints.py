"""What holds for any text in a header, any body and any request to the fake server."""

from hypothesis import given
from hypothesis import strategies as st

from promptmill.endpoints.fake.answers import END_ID, Writer, parse_mixture
from promptmill.endpoints.link import Link, retry_after_s
from promptmill.endpoints.reasoning import split

WRITER = Writer(parse_mixture("0.5:0-30,0.5:100", name="words"))


@given(st.text(max_size=40))
def test_no_text_in_retry_after_breaks_the_reading(text):
    wait_s = retry_after_s({"retry-after": text})
    assert wait_s is None or wait_s >= 0


@given(st.binary(max_size=400))
def test_an_excerpt_of_any_body_is_one_short_printable_line(body):
    text = Link("http://x", api_key_env=None, timeout_s=1, transport=None).excerpt(body)
    assert 0 < len(text) <= 200
    assert text.isprintable()


@given(st.text(max_size=20), st.integers(1, 900), st.lists(st.sampled_from(["the", "日", "x ", ""]), max_size=2))
def test_text_and_ids_of_an_answer_say_the_same(content, max_tokens, stop):
    got = WRITER.write(content, max_tokens=max_tokens, stop=tuple(stop))
    said = bytes(i for i in got.ids if i != END_ID)
    assert 0 < len(got.ids) <= max_tokens
    assert said.startswith(got.text.encode())
    assert got == WRITER.write(content, max_tokens=max_tokens, stop=tuple(stop))
    if got.finish == "length":
        assert len(got.ids) == max_tokens
        assert END_ID not in got.ids
    elif got.ids[-1] == END_ID:
        assert got.text.encode() == said
    else:
        assert any(word and said.endswith(word.encode()) for word in stop)


TAGS = (("<think>", "</think>"), ("[T]", "[/T]"))
PIECES = st.sampled_from(["<think>", "</think>", "[T]", "[/T]", "a", "b c", " ", "\n", "`", "```", "é"])


def bare(text):
    """Without tags and blanks."""
    for pair in TAGS:
        for tag in pair:
            text = text.replace(tag, "")
    return "".join(text.split())


@given(st.lists(PIECES, max_size=14).map("".join))
def test_a_split_loses_nothing_but_tags_and_blanks(text):
    got = split(text, given=None, tags=TAGS)
    assert bare((got.reasoning or "") + got.text) == bare(text)
    assert text.endswith(got.text)
    assert got.closed or got.text == ""
    if got.reasoning is None:
        assert got.text == text


@given(st.text(max_size=60))
def test_a_text_without_tags_is_left_as_it_is(text):
    if not any(tag in text for pair in TAGS for tag in pair):
        assert split(text, given=None, tags=TAGS) == (text, None, True)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_thought_at_the_start_and_the_answer_are_found_whole(thought, answer):
    if not any(tag in thought + answer for pair in TAGS for tag in pair):
        got = split(f"<think>{thought}</think>{answer}", given=None, tags=TAGS)
        assert got == (answer.lstrip(), thought.strip(), True)
