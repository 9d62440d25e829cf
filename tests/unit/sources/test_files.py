import gzip
import json
from pathlib import Path

import duckdb
import pytest
import zstandard

from promptmill.errors import ConfigError, DataError
from promptmill.records import Message, Prompt, content_id
from promptmill.sources.files import prompts

MT_BENCH = Path(__file__).parents[3] / "examples" / "mt_bench_question.jsonl"


def _file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def _texts(**options):
    return [prompt.plain for prompt in prompts(**options)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.json", '["a b", "c"]'),
        ("p.json", '[{"prompt": "a b"}, {"prompt": "c"}]'),
        ("p.json", '{"prompts": ["a b", "c"], "count": 2}'),
        ("p.json", '{"count": 2, "prompts": [{"text": "a b"}, {"question": "c"}]}'),
        ("p.json", '{"prompt": "a b"}\n{"prompt": "c"}\n'),
        ("p.json", '"a b"\n"c"\n'),
        ("p.jsonl", '"a b"\n"c"\n'),
        ("p.ndjson", '{"instruction": "a b", "input": "x"}\n{"input": "c"}'),
        ("p.csv", "prompt\na b\nc\n"),
        ("p.tsv", "id\ttext\n1\ta b\n2\tc\n"),
        ("p.txt", "a b\r\n\nc\r\n"),
        ("p.jsonl.gz", gzip.compress(b'"a b"\n"c"\n', mtime=0)),
        ("p.json.zst", zstandard.compress(b'{"prompts": ["a b", "c"], "count": 2}')),
        ("p.txt.gz", gzip.compress(b"a b\nc", mtime=0)),
    ],
)
def test_the_same_prompts_come_out_of_every_format(tmp_path, name, content):
    assert _texts(path=_file(tmp_path, name, content)) == ["a b", "c"]


def test_parquet_columns_of_text_and_of_turns_are_read(tmp_path):
    path = str(tmp_path / "p.parquet")
    duckdb.sql(f"copy (select 7 as id, 'a b' as prompt, 'de' as language, 'x' as note) to '{path}' (format parquet)")
    assert list(prompts(path=path, meta=["note"])) == [
        Prompt(id="7", source="p.parquet:1", text="a b", meta={"language": "de", "note": "x"})
    ]
    duckdb.sql(f"copy (select ['a', 'b'] as turns) to '{path}' (format parquet)")
    assert [p.messages for p in prompts(path=path)] == [
        (Message(role="user", content="a"), Message(role="user", content="b"))
    ]


def test_ids_are_the_datas_own_or_a_hash_of_the_content(tmp_path):
    path = _file(tmp_path, "p.jsonl", '"a"\n{"prompt": "b", "id": 7}\n{"prompt": "c", "uid": "u"}\n')
    assert [(p.id, p.source) for p in prompts(path=path)] == [
        (content_id("a"), "p.jsonl:1"),
        ("7", "p.jsonl:2"),
        (content_id("c"), "p.jsonl:3"),
    ]
    path = _file(tmp_path, "q.jsonl", '{"prompt": "c", "uid": "u", "lang": "de"}\n')
    assert list(prompts(path=path, text="prompt", id="uid", language="lang")) == [
        Prompt(id="u", source="q.jsonl:1", text="c", meta={"language": "de"})
    ]


def test_mt_bench_gives_its_eighty_questions_with_both_turns():
    rows = list(prompts(path=str(MT_BENCH), meta=["category"]))
    assert len(rows) == 80
    assert rows[0].id == "81"
    assert rows[0].source == "mt_bench_question.jsonl:1"
    assert rows[0].meta == {"category": "writing"}
    assert [message.role for message in rows[0].messages] == ["user", "user"]
    assert rows[0].messages[1].content == "Rewrite your previous response. Start every sentence with the letter A."


def test_folders_patterns_and_lists_are_read_in_order(tmp_path):
    (tmp_path / "d" / "sub").mkdir(parents=True)
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl", "_SUCCESS", ".hidden.jsonl", "README.md"):
        _file(tmp_path / "d", name, f'"{name}"\n')
    folder = str(tmp_path / "d")
    assert _texts(path=folder) == ["a.jsonl", "b.jsonl", "sub/c.jsonl"]
    assert _texts(path=f"{folder}/[ab].jsonl") == ["a.jsonl", "b.jsonl"]
    assert _texts(path=f"{folder}/**/*.jsonl") == ["a.jsonl", "b.jsonl", "sub/c.jsonl"]
    assert _texts(path=[f"{folder}/b.jsonl", f"{folder}/a.jsonl"]) == ["b.jsonl", "a.jsonl"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path):
    assert _texts(path=_file(tmp_path, "p[1].txt", "a")) == ["a"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl", '"a"\n17\n', r"p\.jsonl:2: is the number 17, not a text or an object\. Mend"),
        ("p.jsonl", '"a"\nnull\n', r"p\.jsonl:2: is null"),
        ("p.json", '["a", "b", 3.5]', r"p\.json: item 3: is the number 3\.5"),
        ("p.json", '{"prompts": ["a", null], "count": 2}', r"p\.json: item 2: is null"),
        ("p.json", '["a", true]', r"p\.json: item 2: is the truth value true"),
        ("p.jsonl", '{"prompt": 3}\n', r"p\.jsonl:1: column 'prompt' holds the number 3, not a text"),
        ("p.jsonl", '{"prompt": null}\n', r"p\.jsonl:1: column 'prompt' holds null, not a text"),
        ("p.jsonl", '{"promt": "a"}\n', r"p\.jsonl:1: no column prompt, text, .*\. There are: promt\. Name the column"),
        ("p.jsonl", '{"prompt": "a", "id": [1]}\n', r"p\.jsonl:1: column 'id' holds a list, not an id"),
        ("p.jsonl", '{"prompt": "a", "language": 1}\n', r"column 'language' holds the number 1, not a text"),
        ("p.jsonl", '["a", "b"]\n', r"p\.jsonl:1: is a list, not a text or an object"),
        ("p.jsonl", '{"turns": ["a", 5]}\n', r"p\.jsonl:1: column 'turns', turn 2 is the number 5"),
        ("p.jsonl", '"a"\n{"prompt": \n', r"p\.jsonl:2: is not valid JSON"),
        ("p.txt", b"a\ncaf\xe9\n", r"p\.txt:2: is not UTF-8"),
        ("p.jsonl", "", r"p\.jsonl: no rows\. Check that this is the right file"),
        ("p.json", "", r"p\.json: no rows"),
        ("p.json", "[]", r"p\.json: no rows"),
        ("p.csv", "prompt\n", r"p\.csv: no rows"),
        ("p.txt", "\n\n", r"p\.txt: no rows"),
        ("p.xlsx", "x", r"p\.xlsx: unknown ending\. Set format to json"),
    ],
)
def test_a_bad_row_is_told_with_its_place_and_what_to_do(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        _texts(path=_file(tmp_path, name, content))


def test_a_wrong_column_names_the_file_the_column_and_the_nearest_one(tmp_path):
    path = _file(tmp_path, "p.csv", "id,promt\n1,a\n")
    with pytest.raises(
        DataError, match=r"p\.csv:2: no column 'prompt'\. Did you mean 'promt'\? There are: id, promt\."
    ):
        _texts(path=path, text="prompt")
    with pytest.raises(DataError, match=r"p\.csv:2: no column 'topic'\. There are: id, promt\."):
        _texts(path=path, text="promt", meta=["topic"])
    parquet = str(tmp_path / "p.parquet")
    duckdb.sql(f"copy (select 1 as id, 'a' as promt) to '{parquet}' (format parquet)")
    with pytest.raises(DataError, match=r"p\.parquet: row 1: no column 'prompt'\. Did you mean 'promt'\?"):
        _texts(path=parquet, text="prompt")


def test_columns_named_for_rows_without_columns_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"p\.txt:1: is a text without columns, but the recipe names columns"):
        _texts(path=_file(tmp_path, "p.txt", "a"), text="prompt")


def test_missing_files_empty_folders_and_mixed_folders_are_told(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        _texts(path=str(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match=r"\*\.jsonl: no file fits this pattern"):
        _texts(path=str(tmp_path / "*.jsonl"))
    with pytest.raises(DataError, match=r": no data file in this folder"):
        _texts(path=str(tmp_path))
    _file(tmp_path, "a.json", '["a"]')
    _file(tmp_path, "b.csv", "prompt\nb\n")
    with pytest.raises(DataError, match=r": holds csv and json files\. Set format"):
        _texts(path=str(tmp_path))
    assert _texts(path=str(tmp_path), format="csv") == ["b"]
    with pytest.raises(ConfigError, match=r"format: no 'jsnl'\. Did you mean 'jsonl'\?"):
        _texts(path=str(tmp_path / "a.json"), format="jsnl")
    with pytest.raises(DataError, match="empty list"):
        _texts(path=[])


def test_an_empty_file_among_others_is_logged_and_passed_over(tmp_path, caplog):
    files = [_file(tmp_path, "a.jsonl", ""), _file(tmp_path, "b.jsonl", '"b"\n')]
    assert _texts(path=files) == ["b"]
    assert "a.jsonl: no rows" in caplog.text


def test_a_large_array_is_read_without_holding_it(tmp_path):
    path = tmp_path / "big.json"
    with path.open("w") as file:
        file.write("[")
        for number in range(40_000):
            file.write(("," if number else "") + json.dumps({"id": number, "prompt": "x" * 1000}))
        file.write("]")
    import tracemalloc

    tracemalloc.start()
    count = sum(1 for _ in prompts(path=str(path)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 40_000
    assert path.stat().st_size > 40_000_000
    assert peak < 8_000_000
