import json

import pytest

from promptmill.errors import DataError
from promptmill.io import items
from promptmill.io.items import iter_items


def _items(tmp_path, content):
    path = tmp_path / "rows.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(iter_items(path))


def test_every_item_of_an_array_comes_with_its_number_and_its_bytes(tmp_path):
    text = ' [ {"a": "]}\\"{"}, "b,\\\\", [1, [2]], null ,-1.5e3, {} ]\n'
    assert _items(tmp_path, text) == [
        (1, b'{"a": "]}\\"{"}'),
        (2, b'"b,\\\\"'),
        (3, b"[1, [2]]"),
        (4, b"null"),
        (5, b"-1.5e3"),
        (6, b"{}"),
    ]
    assert _items(tmp_path, "[]") == []


@pytest.mark.parametrize(
    "text",
    [
        '{"prompts": ["a", "b"], "count": 2}',
        '{"count": 2, "meta": {"prompts": [1]}, "prompts": ["a", "b"]}',
        '{"note": "prompts", "prompts": ["a", "b"]}',
    ],
)
def test_the_prompts_of_an_object_come_wherever_they_stand(tmp_path, text):
    assert _items(tmp_path, text) == [(1, b'"a"'), (2, b'"b"')]


def test_an_item_may_be_longer_than_a_chunk(tmp_path, monkeypatch):
    rows = [{"text": "x" * n + '\\"]', "n": [n]} for n in range(60)]
    monkeypatch.setattr(items, "_CHUNK", 7)  # a constant, so that every boundary is met in a small file
    found = _items(tmp_path, json.dumps(rows))
    assert [json.loads(item) for _, item in found] == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"a": 1}, {"a": ', r"rows\.json: item 2: the file ends inside the JSON"),
        ('["a", "b', r"rows\.json: item 2: the file ends inside the JSON"),
        ('["a", "b"', r"rows\.json: item 2: the file ends inside the JSON"),
        ('["a" "b"]', r"rows\.json: item 1: expected ',', found '\"'"),
        ('["a",]', r"rows\.json: item 2: expected a value, found '\]'"),
        ('["a"] ["b"]', r"rows\.json: goes on after the end of the JSON value\. For JSON Lines set format: jsonl"),
        ('{"questions": ["a"], "n": 1}', r"rows\.json: no array 'prompts' in the object; its keys are questions, n"),
        ('{"prompts": "a"}', r"rows\.json: no array 'prompts'"),
        ('{"prompts": ["a"], "count": 3}', r"rows\.json: count is 3, but there are 1 prompts"),
        ('{"prompts": ["a"', r"rows\.json: item 1: the file ends inside the JSON"),
        ("17", r"rows\.json: is neither a JSON array nor an object"),
        ('["a"]'.encode("utf-16"), r"rows\.json: is UTF-16"),
    ],
)
def test_broken_json_is_told_with_the_item(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        _items(tmp_path, content)


def test_an_item_without_an_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(items, "_LARGEST_ITEM", 1 << 20)
    with pytest.raises(DataError, match=r"item 1: is larger than 1 MiB or has no end"):
        _items(tmp_path, b'[{"a": "' + b"x" * (8 << 20))
