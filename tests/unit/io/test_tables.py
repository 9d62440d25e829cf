import gzip

import duckdb
import pytest

from promptmill.errors import DataError
from promptmill.io.tables import iter_csv, iter_parquet, parquet_columns


def _file(tmp_path, content, name="rows.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_csv_rows_are_objects_of_text_with_their_line(tmp_path):
    content = b'id,prompt\r\n1,"two\nlines, ""quoted"""\r\n\r\n02,caf\xc3\xa9\r\n'
    expected = [
        (3, b'{"id":"1","prompt":"two\\nlines, \\"quoted\\""}'),
        (5, '{"id":"02","prompt":"café"}'.encode()),
    ]
    assert list(iter_csv(_file(tmp_path, content))) == expected
    assert list(iter_csv(_file(tmp_path, b"\xef\xbb\xbf" + content))) == expected
    assert list(iter_csv(_file(tmp_path, gzip.compress(content, mtime=0), "rows.csv.gz"))) == expected
    assert list(iter_csv(_file(tmp_path, b"id\tprompt\n1\ta,b\n", "r.tsv"))) == [(2, b'{"id":"1","prompt":"a,b"}')]


def test_a_csv_cell_may_be_long(tmp_path):
    (row,) = iter_csv(_file(tmp_path, b"prompt\n" + b"x" * 300_000 + b"\n"))
    assert len(row[1]) == 300_000 + len('{"prompt":""}')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,prompt\n1,a\n2,b,c\n", r"rows\.csv:3: 3 fields, the header has 2"),
        (b"id,prompt\n1\n", r"rows\.csv:2: 1 fields, the header has 2"),
        (b'id,prompt\n1,"a\n2,b\n', r"rows\.csv:3: is not valid CSV"),
        (b"id;prompt\n1;a\n", r"rows\.csv:1: is split at ';', not at commas"),
        (b"id,id\n1,2\n", r"rows\.csv:1: a column name stands twice"),
        (b"id,prompt\n1,caf\xe9\n", r"rows\.csv: after line 0: is not UTF-8 \(byte 0xe9\)"),
        ("id,prompt\n1,a\n".encode("utf-16"), r"rows\.csv: is UTF-16"),
    ],
)
def test_broken_csv_is_told_with_the_line(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        list(iter_csv(_file(tmp_path, content)))


def test_parquet_gives_the_wanted_columns_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "rows.parquet"
    turns = "[{'role': 'user', 'content': 'x'}]"
    columns = f"""i as id, 'p' || i as "a ""b", {turns} as turns, i / 2 as other"""
    duckdb.sql(f"copy (select {columns} from range(5000) t(i)) to '{path}' (format parquet, row_group_size 2048)")
    assert parquet_columns(path) == ["id", 'a "b', "turns", "other"]
    rows = list(iter_parquet(path, ["id", 'a "b', "turns"]))
    assert rows[4999] == (5000, b'{"id":4999,"a \\"b":"p4999","turns":[{"role":"user","content":"x"}],"other":null}')
    assert [number for number, _ in rows] == list(range(1, 5001))


def test_what_is_no_parquet_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"rows\.parquet: cannot be read as Parquet \(.*\)\. Fetch or write"):
        parquet_columns(_file(tmp_path, b"PAR1 and no more", "rows.parquet"))
    with pytest.raises(DataError, match=r"none\.parquet: no such file"):
        parquet_columns(tmp_path / "none.parquet")
