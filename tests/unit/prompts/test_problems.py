import pytest

from promptmill.errors import ConfigError
from promptmill.prompts.problems import KINDS, TemplateOptions, in_words, kind_of, load_templates, packaged
from promptmill.records import Message, Prompt, Reference


def prompt(text="What is 1 + 1?", **reference):
    return Prompt(id="1", source="here:1", text=text, reference=Reference(**reference))


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ({"answer": "2"}, "open"),
        ({"answer": "a", "choices": ("a", "b")}, "choice"),
        ({"tests": ("assert f() == 1",)}, "program"),
        ({"tests": ("assert f() == 1",), "entry_point": "f", "setup": "def f():\n"}, "function"),
    ],
)
def test_the_problem_chooses_its_words(reference, kind):
    assert kind_of(Reference(**reference)) == kind


def test_the_packaged_words_hold_the_question_once_and_ask_for_the_answer_in_a_box():
    templates = load_templates(TemplateOptions())
    for kind in KINDS:
        assert packaged(kind).count("{question}") == 1
    assert r"<answer>\boxed{...}</answer>" in in_words(prompt(answer="2"), templates).text
    asked = in_words(prompt(answer="b", choices=("a", "b", "c")), templates).text
    assert "A. a\nB. b\nC. c" in asked
    assert "What is 1 + 1?" in asked
    assert (
        "assert f() == 1\nassert f() == 2"
        in in_words(prompt(tests=("assert f() == 1", "assert f() == 2")), templates).text
    )


def test_what_a_question_holds_is_not_filled_in():
    templates = load_templates(TemplateOptions())
    asked = in_words(prompt("What does {choices} mean in {question}?", answer="b", choices=("{tests}", "b")), templates)
    assert "What does {choices} mean in {question}?" in asked.text
    assert "A. {tests}" in asked.text


def test_of_a_chat_the_last_message_is_put_into_words():
    chat = Prompt(
        id="1",
        source="here:1",
        messages=(Message(role="system", content="Be brief."), Message(role="user", content="Why?")),
        reference=Reference(answer="so"),
    )
    first, last = in_words(chat, load_templates(TemplateOptions())).messages
    assert first == Message(role="system", content="Be brief.")
    assert "Problem:\nWhy?" in last.content


def test_files_take_the_place_of_the_packaged_words(tmp_path):
    (tmp_path / "mine.txt").write_text("Q: {question}\nA:\n")
    templates = load_templates(TemplateOptions(open=str(tmp_path / "mine.txt")))
    assert in_words(prompt(answer="2"), templates).text == "Q: What is 1 + 1?\nA:"
    assert templates["choice"] == packaged("choice")


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [("open", "no place", "{question}"), ("choice", "{question}", "{choices}"), ("open", None, "No such file")],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, kind, content, words):
    path = tmp_path / "mine.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=rf"templates.{kind}: .*mine.txt.*{words}"):
        load_templates(TemplateOptions(**{kind: str(path)}))
