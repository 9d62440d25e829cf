import json
from pathlib import Path

import duckdb
import pytest

from promptmill.errors import DataError
from promptmill.records import Message, Prompt, content_id
from promptmill.sources.chats import chats

SHAREGPT = Path(__file__).parents[2] / "data" / "sharegpt_excerpt.json"
TURNS = [{"content": "Hi", "role": "user"}, {"content": "Hello!", "role": "assistant"}]
MESSAGES = (Message(role="user", content="Hi"), Message(role="assistant", content="Hello!"))


def _file(tmp_path, *rows, name="c.jsonl"):
    path = tmp_path / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_lmsys_rows_keep_id_language_and_model(tmp_path):
    row = {
        "conversation_id": "33f9", "model": "vicuna-13b", "conversation": TURNS, "turn": 1, "language": "English",
        "openai_moderation": [{"flagged": False, "category_scores": {"hate": 1e-6}}], "redacted": False,
    }  # fmt: skip
    assert list(chats(path=_file(tmp_path, row))) == [
        Prompt(id="33f9", source="c.jsonl:1", messages=MESSAGES, meta={"language": "English", "model": "vicuna-13b"})
    ]


def test_wildchat_rows_are_known_by_conversation_hash(tmp_path):
    turns = [{**turn, "language": "English", "toxic": False, "country": None} for turn in TURNS]
    row = {"conversation_hash": "ab12", "model": "gpt-4", "conversation": turns, "language": "English", "turn": 1}
    assert list(chats(path=_file(tmp_path, row))) == [
        Prompt(id="ab12", source="c.jsonl:1", messages=MESSAGES, meta={"language": "English", "model": "gpt-4"})
    ]


def test_sharegpt_is_read_from_one_array():
    rows = list(chats(path=str(SHAREGPT)))
    assert len(rows) == 12
    assert (rows[2].id, rows[2].source) == ("identity_2", "sharegpt_excerpt.json:3")
    assert [message.role for message in rows[2].messages] == ["user", "assistant"] * 3
    assert rows[2].messages[0].content == "What is up?"


def test_speakers_of_sharegpt_become_roles(tmp_path):
    speakers = ["system", "human", "gpt", "user", "chatgpt", "bing", "bard", "Human"]
    row = {"id": "x", "conversations": [{"from": speaker, "value": "t"} for speaker in speakers]}
    (prompt,) = chats(path=_file(tmp_path, row))
    assert [message.role for message in prompt.messages] == [
        "system", "user", "assistant", "user", "assistant", "assistant", "assistant", "user",
    ]  # fmt: skip


def test_openai_messages_without_an_id_are_known_by_their_content(tmp_path):
    system = {"role": "developer", "content": "Be short."}
    parts = {"role": "user", "content": [{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}]}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    tool = {"role": "tool", "content": "42", "name": "calculator"}
    (prompt,) = chats(path=_file(tmp_path, {"messages": [system, parts, call, tool]}))
    assert prompt.messages == (
        Message(role="system", content="Be short."),
        Message(role="user", content="Hi there"),
        Message(role="assistant", content=""),
        Message(role="tool", content="42", name="calculator"),
    )
    assert prompt.id == content_id(prompt.messages)
    assert prompt.meta == {}


def test_every_row_is_read_by_its_own_schema(tmp_path):
    rows = [
        {"conversation_id": "a", "conversation": TURNS},
        {"id": "b", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]},
        {"id": 3, "messages": TURNS},
    ]
    assert [(p.id, p.messages) for p in chats(path=_file(tmp_path, *rows))] == [
        ("a", MESSAGES),
        ("b", MESSAGES),
        ("3", MESSAGES),
    ]


def test_columns_can_be_mapped_and_further_ones_kept(tmp_path):
    row = {"dialog": TURNS, "uid": 5, "lang": "de", "llm": "m", "topic": {"name": "x"}, "conversation_id": "other"}
    options = {"messages": "dialog", "id": "uid", "language": "lang", "model": "llm"}
    expected = Prompt(id="5", source="c.jsonl:1", messages=MESSAGES, meta={"language": "de", "model": "m"})
    assert list(chats(path=_file(tmp_path, row), **options)) == [expected]
    (kept,) = chats(path=_file(tmp_path, row), **options, meta=["topic"])
    assert kept.meta == {"language": "de", "model": "m", "topic": {"name": "x"}}


def test_parquet_and_jsonl_give_the_same_prompts(tmp_path):
    rows = [
        {"conversation_id": f"c{n}", "conversation": TURNS * n, "language": "English", "model": "m", "turn": n}
        for n in range(1, 6)
    ]
    jsonl = _file(tmp_path, *rows)
    duckdb.sql(f"copy (select * from read_json('{jsonl}')) to '{tmp_path}/c.parquet' (format parquet)")
    lines, table = list(chats(path=jsonl)), list(chats(path=f"{tmp_path}/c.parquet"))
    assert len(lines) == 5
    assert [(p.id, p.messages, p.meta) for p in table] == [(p.id, p.messages, p.meta) for p in lines]
    assert table[4].source == "c.parquet:5"


def test_an_empty_conversation_is_a_prompt_without_turns(tmp_path):
    (prompt,) = chats(path=_file(tmp_path, {"id": "e", "conversations": []}))
    assert prompt.messages == ()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"conversation_id": "a", "text": "x"},
            r"no column conversation or conversations or messages\. There are: con",
        ),
        ({"conversation": None}, r"no column conversation or"),
        ({"conversation": "Hi"}, r"column 'conversation' holds a text, not a list of turns"),
        ({"conversation": [{"content": "Hi"}]}, r"column 'conversation', turn 1 has content, not role and content"),
        ({"conversation": [{"role": "user", "content": 5}]}, r"turn 1 holds the number 5 where a text should be"),
        ({"messages": [{"role": "usr", "content": "x"}]}, r"turn 1: unknown role 'usr'\. Did you mean 'user'\? Known"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, r"turn 1 holds a list where a text"),
        ({"messages": [7]}, r"column 'messages', turn 1 is the number 7, not a text or an object"),
        ({"messages": TURNS, "id": 1.5}, r"column 'id' holds the number 1\.5, not an id"),
        ({"messages": TURNS, "language": 5}, r"column 'language' holds the number 5, not a text"),
        ("[1]", r"is a list, not an object with a conversation\. For plain texts use the source 'prompts'"),
        ('{"messages": [', r"is not valid JSON \(Input data was truncated\)"),
    ],
)
def test_a_bad_row_is_told_with_its_line(tmp_path, row, message):
    good = {"conversation": TURNS}
    with pytest.raises(DataError, match=r"c\.jsonl:2: .*" + message):
        list(chats(path=_file(tmp_path, good, row)))


def test_a_mapped_column_must_be_there_in_every_row(tmp_path):
    rows = [{"dialog": TURNS, "uid": 1}, {"dialogue": TURNS, "uid": 2}]
    with pytest.raises(DataError, match=r"c\.jsonl:2: no column 'dialog'\. Did you mean 'dialogue'\?"):
        list(chats(path=_file(tmp_path, *rows), messages="dialog"))
    with pytest.raises(DataError, match=r"c\.jsonl:1: no column 'key'\. There are: dialog, uid\."):
        list(chats(path=_file(tmp_path, *rows), messages="dialog", id="key"))
    with pytest.raises(DataError, match=r"c\.jsonl:1: no column 'lang'"):
        list(chats(path=_file(tmp_path, *rows), messages="dialog", language="lang"))


def test_names_inside_the_reader_are_no_columns(tmp_path):
    with pytest.raises(DataError, match="no column 'dialog'"):
        list(chats(path=_file(tmp_path, {"turns0": TURNS, "turns1": TURNS}), messages="dialog"))
    with pytest.raises(DataError, match="no column conversation"):
        list(chats(path=_file(tmp_path, {"turns1": TURNS, "id1": "x"})))


def test_heads_leave_the_turns_until_they_are_asked_for(tmp_path):
    bad = [{"role": "user", "content": 5}]
    rows = [{"id": "a", "messages": TURNS, "language": "en"}, {"id": "b", "messages": bad}, {"messages": TURNS}]
    first, second, third = chats(path=_file(tmp_path, *rows)).heads()
    assert (first.id, first.source, first.meta) == ("a", "c.jsonl:1", {"language": "en"})
    assert (first.text, first.messages) == (None, MESSAGES)
    assert second.id == "b"
    with pytest.raises(DataError, match=r"c\.jsonl:2: column 'messages', turn 1 holds the number 5"):
        second.whole()
    assert third == Prompt(id=content_id(MESSAGES), source="c.jsonl:3", messages=MESSAGES)


def test_heads_of_broken_rows_are_told_with_their_line(tmp_path):
    with pytest.raises(DataError, match=r"c\.jsonl:1: column 'id' holds a list, not an id"):
        list(chats(path=_file(tmp_path, {"id": [], "messages": TURNS})).heads())
    with pytest.raises(DataError, match=r"c\.jsonl:1: is not valid JSON"):
        list(chats(path=_file(tmp_path, '{"id": "a", "messages": [')).heads())
