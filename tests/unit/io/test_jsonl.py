import gzip

import pytest
import zstandard

from promptmill.errors import DataError
from promptmill.io.jsonl import atomic, iter_jsonl, iter_lines, write_jsonl


def _file(tmp_path, content, name="rows.jsonl"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_lines_are_split_at_newlines_only(tmp_path):
    path = _file(tmp_path, '{"a": "x\u0085y\u2028z"}\r\n\n  \n"b"'.encode())
    assert list(iter_jsonl(path)) == [{"a": "x\u0085y\u2028z"}, "b"]
    assert [number for number, _ in iter_lines(path)] == [1, 4]


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    assert list(iter_jsonl(_file(tmp_path, b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n'))) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": \n', r"rows\.jsonl:2: is not valid JSON \(Input data was truncated\)\. Mend"),
        (b'{"a": 1}\n\n{"s": [-Infinity, 1.0]}\n', r"rows\.jsonl:3: holds -Infinity, which is not valid JSON\. Write"),
        (b'{"s": NaN}\n', r"rows\.jsonl:1: holds NaN"),
        (b'{"a": "NaN"}\n{"a": "caf\xe9"}\n', r"rows\.jsonl:2: is not UTF-8 \(byte 0xe9\)\. Convert"),
        ('{"a": 1}\n'.encode("utf-16"), r"rows\.jsonl: is UTF-16\. Convert"),
        ('{"a": 1}\n'.encode("utf-16-le"), r"rows\.jsonl:1: holds NUL bytes; the file is UTF-16 or damaged"),
        (gzip.compress(b"1\n", mtime=0), r"rows\.jsonl: is packed with gzip\. Let its name end in \.gz"),
        (zstandard.compress(b"1\n"), r"rows\.jsonl: is packed with zstd"),
        (b"[" * 100_000, r"rows\.jsonl:1: is nested too deep"),
    ],
)
def test_a_broken_line_is_told_with_its_place_and_what_to_do(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        list(iter_jsonl(_file(tmp_path, content)))


def test_several_gzip_members_and_zstd_frames_are_one_file(tmp_path):
    one, two = b'{"a": 1}\n', b'{"a": 2}\n' * 100_000
    packed = {
        "a.jsonl.gz": gzip.compress(one, mtime=0) + gzip.compress(two, mtime=0),
        "a.jsonl.zst": zstandard.compress(one) + zstandard.compress(two),
    }
    for name, content in packed.items():
        rows = list(iter_jsonl(_file(tmp_path, content, name)))
        assert len(rows) == 100_001
        assert (rows[0], rows[-1]) == ({"a": 1}, {"a": 2})


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("damage", ["cut", "junk", "foreign"])
def test_a_damaged_packing_is_told_with_the_file(tmp_path, name, damage):
    pack = gzip.compress if name.endswith("gz") else zstandard.compress
    content = pack(b"".join(b'{"a": %d}\n' % i for i in range(20_000)))
    content = {"cut": content[: len(content) // 2], "junk": content + b"junk", "foreign": b'{"a": 1}\n'}[damage]
    with pytest.raises(DataError, match=name.replace(".", r"\.") + ": the packing is broken or cut off"):
        list(iter_jsonl(_file(tmp_path, content, name)))


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: no such file\. Check the path"):
        list(iter_jsonl(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match=r": is a folder\. Name the file in it"):
        list(iter_jsonl(tmp_path))


def test_a_written_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "out.jsonl"

    def rows():
        yield {"a": 1}
        assert not path.exists()
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_jsonl(path, rows())
    assert list(tmp_path.iterdir()) == []
    assert write_jsonl(path, [{"a": 1}, {"a": 2}]) == 2
    assert path.read_bytes() == b'{"a":1}\n{"a":2}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_path_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "plain").write_text("")
    for path, message in [
        (tmp_path, "is a folder, cannot be written as a file"),
        (tmp_path / "no" / "out.jsonl", r"out\.jsonl: cannot be written: No such file or directory"),
        (tmp_path / "plain" / "out.jsonl", r"out\.jsonl: cannot be written: Not a directory"),
    ]:
        with pytest.raises(DataError, match=message):
            write_jsonl(path, [])


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    import resource

    path = tmp_path / "out.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(DataError, match=r"out\.jsonl: cannot be written: File too large"), atomic(path) as file:
            file.write(b"x" * 5_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_half_a_surrogate_pair_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a \\ud800 b"}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl:1: holds half of a surrogate pair"):
        list(iter_jsonl(path))
