import json

import pytest

from promptmill.errors import DataError
from promptmill.records import Message, Prompt
from promptmill.registry import Expand, Look
from promptmill.select.dedup import dedup
from promptmill.select.language import language
from promptmill.select.outliers import outliers
from promptmill.select.pipeline import dropped_rows, select
from promptmill.select.processed import write_processed
from promptmill.select.sample import sample
from promptmill.select.turns import turns
from promptmill.sources.files import prompts


def _chats():
    said = [["Hello there", "And then?"], ["hello THERE"], [" "], ["Salut"], ["Good morning"], ["x" * 5000]]
    for number, texts in enumerate(said):
        yield Prompt(
            id=f"c{number}",
            source=f"f:{number + 1}",
            messages=tuple(Message(role="user", content=text) for text in texts),
            meta={"language": "French" if texts == ["Salut"] else "English"},
        )


def _steps():
    return [
        ("language", language()),
        ("sample", sample(n=100)),
        ("turns", turns(take="all")),
        ("dedup", dedup()),
        ("outliers", outliers()),
    ]


REPORT = [
    {"step": "language", "in": 6, "out": 5, "dropped": {"language fr": 1}},
    {"step": "sample", "in": 5, "out": 5, "dropped": {}},
    {"step": "turns", "in": 5, "out": 5, "dropped": {"no user turn with text": 1}},
    {"step": "dedup", "in": 5, "out": 4, "dropped": {"duplicate": 1}},
    {"step": "outliers", "in": 4, "out": 3, "dropped": {"too long": 1}},
]


def test_steps_run_in_order_and_every_drop_is_counted_with_its_reason(tmp_path):
    selection = select(_chats(), _steps(), work=tmp_path)
    assert [(p.id, p.plain, p.source) for p in selection.kept] == [
        ("c0-t0", "Hello there", "f:1"),
        ("c0-t1", "And then?", "f:1"),
        ("c4-t0", "Good morning", "f:5"),
    ]
    assert selection.report == REPORT


def test_dropped_prompts_are_written_with_step_and_reason(tmp_path):
    path = tmp_path / "dropped.jsonl"
    with dropped_rows(path) as dropped:
        kept = list(select(_chats(), _steps(), work=tmp_path / "work", dropped=dropped).kept)
        assert not path.exists()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(kept) == 3
    assert rows == [
        {"id": "c3", "source": "f:4", "step": "language", "reason": "language fr"},
        {"id": "c2", "source": "f:3", "step": "turns", "reason": "no user turn with text"},
        {"id": "c1-t0", "source": "f:2", "step": "dedup", "reason": "duplicate"},
        {"id": "c5-t0", "source": "f:6", "step": "outliers", "reason": "too long"},
    ]


def test_without_steps_everything_is_kept(tmp_path):
    selection = select(_chats(), [], work=tmp_path)
    assert [p.id for p in selection] == ["c0", "c1", "c2", "c3", "c4", "c5"]
    assert selection.report == []


def test_a_users_filter_expansion_and_look_are_steps_like_any_other(tmp_path):
    class Twice:
        def expand(self, prompt):
            return [prompt, prompt]

    class AtMostAverage:
        def begin(self, work):  # noqa: ARG002 - the protocol's
            self.lengths = []

        def observe(self, prompt):
            self.lengths.append(len(prompt.plain))

        def filter(self):
            average = sum(self.lengths) / len(self.lengths)
            return lambda prompt: None if len(prompt.plain) <= average else "above average"

    assert isinstance(Twice(), Expand)
    assert isinstance(AtMostAverage(), Look)
    steps = [
        ("short", lambda p: "short" if len(p.plain) < 6 else None),
        ("twice", Twice()),
        ("average", AtMostAverage()),
    ]
    selection = select(_chats(), steps, work=tmp_path)
    assert [p.id for p in selection.kept] == ["c0", "c0", "c1", "c1", "c4", "c4"]
    assert selection.report == [
        {"step": "short", "in": 6, "out": 4, "dropped": {"short": 2}},
        {"step": "twice", "in": 4, "out": 8, "dropped": {}},
        {"step": "average", "in": 8, "out": 6, "dropped": {"above average": 2}},
    ]


def test_nothing_is_left_in_the_work_folder(tmp_path):
    work = tmp_path / "new" / "work"
    selection = select(_chats(), _steps(), work=work)
    next(selection.kept)
    assert list(work.iterdir()) == []
    selection.kept.close()
    assert list(work.iterdir()) == []


def test_a_work_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/work: temporary file: Not a directory\. Free space or set another"):
        list(select(_chats(), _steps(), work=tmp_path / "file" / "work").kept)


def test_an_error_of_the_source_passes_unchanged(tmp_path):
    (tmp_path / "p.jsonl").write_text('"a"\n5\n')
    selection = select(prompts(path=str(tmp_path / "p.jsonl")), [("dedup", dedup())], work=tmp_path)
    with pytest.raises(DataError, match=r"p\.jsonl:2: is the number 5"):
        list(selection.kept)


def test_the_processed_file_has_the_exact_form_and_is_read_back(tmp_path):
    path = tmp_path / "processed_dataset.json"
    texts = ['say "hi"\n', "Grüße \u2028 😀", "{}"]
    rows = [Prompt(id=str(n), source="s", text=text) for n, text in enumerate(texts)]
    assert write_processed(path, iter(rows)) == 3
    assert json.loads(path.read_text(encoding="utf-8")) == {"prompts": texts, "count": 3}
    assert "Grüße" in path.read_text(encoding="utf-8")
    assert [p.text for p in prompts(path=str(path))] == texts
    assert write_processed(path, []) == 0
    assert json.loads(path.read_text()) == {"prompts": [], "count": 0}
