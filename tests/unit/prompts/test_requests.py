import pytest

from promptmill.errors import DataError
from promptmill.prompts import requests as prompts
from promptmill.records import Message, Prompt, Sampling

CHAT = (Message(role="user", content="a"), Message(role="assistant", content="b"), Message(role="user", content="c"))


def ask(prompt, **options):
    given = {
        "model": "m",
        "k": 1,
        "protocol": "chat",
        "sampling": Sampling(max_tokens=1),
        "template": None,
        "system": None,
    }
    return list(prompts.requests(prompt, **{**given, **options}))


def test_a_raw_prompt_is_one_user_message_under_chat_and_itself_under_completion():
    prompt = Prompt(id="1", source="s", text="hi")
    assert ask(prompt)[0].messages == (Message(role="user", content="hi"),)
    assert ask(prompt, protocol="completion")[0].text == "hi"


def test_a_template_goes_around_the_last_message_or_the_text():
    assert ask(Prompt(id="1", source="s", messages=CHAT), template="Q: {prompt}?")[0].messages[-1].content == "Q: c?"
    prompt = Prompt(id="1", source="s", text="{x}")
    assert ask(prompt, protocol="completion", template="Q: {prompt} A:")[0].text == "Q: {x} A:"


def test_a_system_message_comes_first():
    assert [m.role for m in ask(Prompt(id="1", source="s", messages=CHAT), system="be short")[0].messages] == [
        "system", "user", "assistant", "user"]  # fmt: skip


def test_k_samples_have_k_keys():
    assert len({request.key for request in ask(Prompt(id="1", source="s", text="hi"), k=5)}) == 5


def test_a_chat_of_several_turns_does_not_fit_a_completion_template():
    with pytest.raises(DataError, match=r"prompt 7 .*several turns"):
        ask(Prompt(id="7", source="s", messages=CHAT), protocol="completion", template="{prompt}")
