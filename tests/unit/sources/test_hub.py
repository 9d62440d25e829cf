import json
from pathlib import Path

import pytest

from promptmill.errors import ConfigError, DataError
from promptmill.records import Message
from promptmill.sources.hub import hub, hub_problems

MT_BENCH = Path(__file__).parents[3] / "examples" / "mt_bench_question.jsonl"
TURNS = [{"role": "user", "content": "Hi"}]


class _Hub:
    """A fake `datasets.load_dataset` that notes how it was called."""

    def __init__(self, rows=(), error=None):
        self.rows, self.error, self.calls = rows, error, []

    def __call__(self, *names, **options):
        self.calls.append((names, options))
        if self.error:
            raise self.error
        return iter(self.rows)


def test_conversations_of_the_hub_are_read_with_their_place():
    fake = _Hub([{"conversation_id": "a", "conversation": TURNS, "language": "English", "image": object()}])
    (prompt,) = hub(dataset="lmsys/lmsys-chat-1m", revision="abc", _load=fake)
    assert fake.calls == [
        (("lmsys/lmsys-chat-1m", None), {"split": "train", "revision": "abc", "streaming": True}),
    ]
    assert (prompt.id, prompt.source) == ("a", "lmsys/lmsys-chat-1m:train:1")
    assert prompt.messages == (Message(role="user", content="Hi"),)
    assert prompt.meta == {"language": "English"}


def test_plain_prompts_of_the_hub_are_read_and_columns_are_mapped():
    rows = [{"prompt": "a", "prompt_id": 1}, {"prompt": "b", "prompt_id": 2}]
    assert [(p.id, p.text) for p in hub(dataset="x/y", _load=_Hub(rows))] == [("1", "a"), ("2", "b")]
    rows = [{"q": "a", "messages": TURNS, "key": "k"}]
    assert [(p.id, p.text) for p in hub(dataset="x/y", columns={"text": "q", "id": "key"}, _load=_Hub(rows))] == [
        ("k", "a")
    ]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            FileNotFoundError("Dataset 'lmsys/lmsys-chat-1m' is a gated dataset on the Hub. You must be authenticated"),
            r"Accept its terms on https://huggingface\.co/datasets/lmsys/lmsys-chat-1m and set .* HF_TOKEN\.",
        ),
        (ConnectionError("Couldn't reach 'lmsys/lmsys-chat-1m' on the Hub"), r"the Hub cannot be reached"),
        (ValueError("Unknown split \"test\". Should be one of ['train']."), r"Unknown split \"test\".* Check dataset"),
    ],
)
def test_what_the_hub_refuses_is_told_in_one_line(error, message):
    with pytest.raises(ConfigError, match=r"lmsys/lmsys-chat-1m:train: .*" + message) as caught:
        list(hub(dataset="lmsys/lmsys-chat-1m", _load=_Hub(error=error)))
    assert "\n" not in str(caught.value)


def test_bad_rows_and_options_are_told():
    with pytest.raises(DataError, match=r"x/y:train:1: no column prompt, .* There are: foo, bar\."):
        list(hub(dataset="x/y", _load=_Hub([{"foo": 1, "bar": 2}])))
    with pytest.raises(DataError, match=r"x/y:train: no rows"):
        list(hub(dataset="x/y", _load=_Hub([])))
    with pytest.raises(ConfigError, match=r"columns: no 'message'\. Did you mean 'messages'\?"):
        list(hub(dataset="x/y", columns={"message": "c"}, _load=_Hub([])))


def test_a_local_folder_is_read_by_the_real_library(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the extra 'hub' is not installed")
    for name in ("HF_DATASETS_CACHE", "DOWNLOADED_DATASETS_PATH", "EXTRACTED_DATASETS_PATH", "HF_MODULES_CACHE"):
        monkeypatch.setattr(datasets.config, name, str(tmp_path / name))  # variables are read once, at the import
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_bytes(MT_BENCH.read_bytes())
    rows = list(hub(dataset=str(folder), meta=["category"]))
    assert len(rows) == 80
    assert rows[79].messages[0].content == json.loads(MT_BENCH.read_text().splitlines()[79])["turns"][0]
    assert rows[0].meta == {"category": "writing"}
    with pytest.raises(ConfigError, match=r":validation: .*Check dataset, config, split"):
        list(hub(dataset=str(folder), split="validation"))


def test_without_a_network_the_real_library_gives_one_clear_error(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the extra 'hub' is not installed")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"lmsys/lmsys-chat-1m:train: the Hub cannot be reached"):
        list(hub(dataset="lmsys/lmsys-chat-1m"))


def test_problems_of_the_hub_are_read_and_columns_are_mapped():
    rows = [
        {"problem": "1 + 1?", "solution": "2", "level": object()},
        {"problem": "2 + 2?", "solution": "4", "level": None},
        {"problem": "3 + 3?", "solution": "6", "level": None},
    ]
    columns = {"question": "problem", "answer_correct": "solution"}
    found = list(hub_problems(dataset="x/maths", n=2, columns=columns, _load=_Hub(rows)))
    assert [(p.text, p.reference.answer, p.source) for p in found] == [
        ("1 + 1?", "2", "x/maths:test:1"),
        ("2 + 2?", "4", "x/maths:test:2"),
    ]


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([{"question": "1?"}], {}, "x/y:test:1: no 'answer_correct'"),
        ([{"question": "1?", "answer_correct": "1"}], {"columns": {"question": "q"}}, "x/y:test:1: no column 'q'"),
        ([], {}, "x/y:test: no rows"),
    ],
)
def test_bad_problems_of_the_hub_are_told_with_their_place(rows, options, words):
    with pytest.raises(DataError, match=words):
        list(hub_problems(dataset="x/y", _load=_Hub(rows), **options))


def test_a_column_that_no_problem_has_is_told():
    with pytest.raises(ConfigError, match="columns: no 'answer'"):
        hub_problems(dataset="x/y", columns={"answer": "solution"}, _load=_Hub())
