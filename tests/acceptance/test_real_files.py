"""Sources and selection on the real data, where it is (PROMPTMILL_DATA, default ../shared/data)."""

import os
from pathlib import Path

import pytest

from promptmill.errors import DataError
from promptmill.registry import build
from promptmill.select.pipeline import select
from promptmill.sources.chats import chats
from promptmill.sources.files import prompts

DATA = Path(os.environ.get("PROMPTMILL_DATA", Path(__file__).parents[3] / "shared" / "data"))

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}; set PROMPTMILL_DATA")


def test_all_sharegpt_conversations_are_read_and_selected(tmp_path):
    rows = list(chats(path=str(DATA / "chat" / "sharegpt_dummy_conversation.json")))
    assert len(rows) == 500
    assert {message.role for prompt in rows for message in prompt.messages} == {"user", "assistant"}
    steps = [(kind, build("filters", {"kind": kind})) for kind in ("turns", "dedup")]
    selection = select(rows, steps, work=tmp_path)
    kept = [prompt.plain for prompt in selection.kept]
    assert len(kept) == len({text.strip().casefold() for text in kept}) < 500


def test_real_user_prompts_are_read_line_by_line():
    lottery = list(prompts(path=str(DATA / "oasst" / "prompt_lottery_en_250_text.jsonl")))
    assert len(lottery) == 250
    assert lottery[0].text == "Can you tell me about GLaDOS?"
    arena = list(prompts(path=str(DATA / "chat" / "arena_hard_question.jsonl"), meta=["winner"]))
    assert len(arena) == 478
    assert arena[0].id == "e377ee2fe2d245d3b7b32ed6954485ed"
    assert arena[0].meta["language"] == "English"


def test_a_real_file_with_infinity_is_told_with_its_line():
    with pytest.raises(DataError, match=r"annotations\.jsonl:1: holds -Infinity, which is not valid JSON"):
        list(prompts(path=str(DATA / "quality" / "annotations.jsonl")))


def test_german_and_english_documents_are_told_apart(tmp_path):
    for code in ("de", "en"):
        rows = prompts(path=str(DATA / "quality" / f"25_test_documents_{code}.jsonl"))
        step = build("filters", {"kind": "language", "keep": [code]})
        assert len(list(select(rows, [("language", step)], work=tmp_path).kept)) == 25
