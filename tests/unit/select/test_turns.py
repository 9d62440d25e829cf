import pytest

from promptmill.errors import ConfigError
from promptmill.records import Message, Prompt, Reference
from promptmill.select.turns import turns


def _chat(*pairs):
    return Prompt(
        id="c",
        source="s:1",
        messages=tuple(Message(role=role, content=content) for role, content in pairs),
        reference=Reference(answer="42"),
        meta={"language": "en"},
    )


CHAT = _chat(
    ("system", "S"), ("user", " "), ("user", "Q1"), ("assistant", "A1"), ("user", "Q2"), ("assistant", "A2")
)  # fmt: skip


def _said(step, prompt):
    result = step.expand(prompt)
    return result if isinstance(result, str) else [(p.id, [m.content for m in p.messages]) for p in result]


def test_first_takes_the_first_user_turn_that_is_not_blank():
    (prompt,) = turns().expand(CHAT)
    assert prompt == Prompt(
        id="c",
        source="s:1",
        messages=(Message(role="user", content="Q1"),),
        reference=Reference(answer="42"),
        meta={"language": "en"},
    )


def test_all_takes_every_user_turn_and_numbers_blank_ones_too():
    assert _said(turns(take="all"), CHAT) == [("c-t1", ["Q1"]), ("c-t2", ["Q2"])]


def test_conversation_takes_everything_up_to_a_user_turn():
    assert _said(turns(take="conversation"), CHAT) == [("c", ["S", " ", "Q1", "A1", "Q2"])]
    assert _said(turns(take="conversation", upto=2), CHAT) == [("c", ["S", " ", "Q1"])]
    assert _said(turns(take="conversation", upto=1), CHAT) == "no user turn with text"
    assert _said(turns(take="conversation", upto=4), CHAT) == "fewer user turns"


@pytest.mark.parametrize("take", ["first", "all", "conversation"])
def test_a_prompt_without_a_user_turn_is_dropped(take):
    for prompt in (_chat(), _chat(("assistant", "A")), _chat(("user", "\n\t "))):
        assert turns(take=take).expand(prompt) == "no user turn with text"


def test_raw_text_stays_as_it_is_and_blank_text_is_dropped():
    text = Prompt(id="t", source="s:1", text=" Q ")
    assert turns(take="all").expand(text) == [text]
    assert turns().expand(Prompt(id="t", source="s:1", text=" \n")) == "no user turn with text"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"take": "frist"}, r"no take 'frist'\. Did you mean 'first'\?"),
        ({"upto": 2}, "upto is for take: conversation, not for first"),
        ({"take": "conversation", "upto": 0}, "upto is 0. User turns are counted from 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        turns(**options)
