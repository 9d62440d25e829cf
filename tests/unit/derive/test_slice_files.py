import json
import resource
import subprocess
import sys

import duckdb
import msgspec
import pytest

from promptmill.derive.slice_files import merge_slices, write_slices
from promptmill.derive.slices import SliceOptions
from promptmill.errors import DataError
from promptmill.records import Completion, Failure, Prompt, Usage, split_of


class Letters:
    """A tokenizer with one token per byte, as a plain object: the seam takes anything with these."""

    name = "letters"
    pieces = tuple(bytes([n]) for n in range(256))

    def encode(self, texts):
        return [list(text.encode()) for text in texts]

    def encode_spans(self, texts):
        raise AssertionError(texts)


def prompt(name, text="Say it."):
    return Prompt(id=name, source="test", text=text)


def answer(name, text, **more):
    return Completion(key="k", prompt_id=name, model="m", text=text, **{"finish": "stop", **more})


def rows(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def write(pairs, out, **options):
    return write_slices(pairs, Letters(), SliceOptions(**{"step": 4, **options}), out, stem="r")


def test_the_training_file_has_exactly_the_four_keys_in_their_order(tmp_path):
    write([(prompt("a"), answer("a", 'say "hi"\n'))], tmp_path)
    assert (tmp_path / "r_training.jsonl").read_bytes() == (
        b'{"input_prompt":"Say it.","output_prompt":"say ","number_of_output_tokens":4,"remaining_tokens":5}\n'
        b'{"input_prompt":"Say it.","output_prompt":"say \\"hi\\"","number_of_output_tokens":8,"remaining_tokens":1}\n'
        b'{"input_prompt":"Say it.","output_prompt":"say \\"hi\\"\\n","number_of_output_tokens":9,'
        b'"remaining_tokens":0}\n'
    )


def test_a_cut_answer_is_censored_and_never_in_the_training_file(tmp_path):
    counts = write([(prompt("a"), answer("a", "123456", finish="length", sample=2))], tmp_path)
    assert rows(tmp_path / "r_censored.jsonl") == [
        {
            "input_prompt": "Say it.",
            "output_prompt": "1234",
            "number_of_output_tokens": 4,
            "remaining_tokens_at_least": 2,
            "prompt_id": "a",
            "sample": 2,
        },
        {
            "input_prompt": "Say it.",
            "output_prompt": "123456",
            "number_of_output_tokens": 6,
            "remaining_tokens_at_least": 0,
            "prompt_id": "a",
            "sample": 2,
        },
    ]
    assert (tmp_path / "r_training.jsonl").read_bytes() == b""
    assert (counts["censored"], counts["censored_rows"], counts["training_rows"]) == (1, 2, 0)


def test_failures_and_answers_that_say_nothing_about_a_length_are_counted_and_give_no_row(tmp_path):
    counts = write(
        [
            (prompt("a"), Failure(key="k", prompt_id="a", model="m", kind="timeout", detail="no answer")),
            (prompt("b"), answer("b", "withheld", finish="filter")),
            (prompt("c"), answer("c", "", finish="tool")),
            (prompt("d"), answer("d", "seen", reasoning="hidden")),
        ],
        tmp_path,
    )
    assert {name: count for name, count in counts.items() if count} == {
        "completions": 3,
        "failures": 1,
        "filtered": 1,
        "tool_calls": 1,
        "reasoning_without_ids": 1,
    }
    assert (tmp_path / "r_training.jsonl").read_bytes() == (tmp_path / "r_lengths.jsonl").read_bytes() == b""


@pytest.mark.parametrize(("reasoning", "said"), [("hm", "<t>hm</t>\nYo"), ("", "<t></t>\nYo")])
def test_a_thought_that_was_split_off_counts_where_the_ids_are_known(tmp_path, reasoning, said):
    counts = write(
        [(prompt("a"), answer("a", "Yo", reasoning=reasoning, token_ids=tuple(said.encode())))], tmp_path, step=100
    )
    (row,) = rows(tmp_path / "r_training.jsonl")
    assert (row["output_prompt"], row["number_of_output_tokens"]) == (said, len(said))
    assert (counts["server_ids"], counts["ids_not_matching"], counts["reasoning_without_ids"]) == (1, 0, 0)


def test_the_meta_file_says_where_the_token_counts_come_from(tmp_path):
    known = answer("a", "abc", token_ids=(97, 98, 99), usage=Usage(prompt_tokens=1, completion_tokens=4))
    foreign = answer("c", "abc", token_ids=(1, 2, 3))
    write([(prompt("a"), known), (prompt("b"), answer("b", "abcde")), (prompt("c"), foreign)], tmp_path)
    meta = json.loads((tmp_path / "r_training.meta.json").read_bytes())
    assert meta["tokens_counted_from"] == "mixed: see counts.server_ids and counts.encoded"
    assert (meta["tokenizer"], meta["step"]) == ("letters", 4)
    assert {k: meta["counts"][k] for k in ("server_ids", "encoded", "ids_not_matching", "usage_differs")} == {
        "server_ids": 1,
        "encoded": 2,
        "ids_not_matching": 1,
        "usage_differs": 1,
    }


def test_each_prompt_is_in_one_split_with_all_its_samples(tmp_path):
    pairs = [(prompt(f"p{n}", f"Say {n}."), answer(f"p{n}", "x" * 9, sample=s)) for n in range(60) for s in range(2)]
    counts = write(pairs, tmp_path, shares=(0.5, 0.25, 0.25), split_seed=7, split_files=True)
    found = {}
    for split in ("train", "validation", "test"):
        here = rows(tmp_path / "splits" / f"{split}.jsonl")
        assert len(here) == counts[f"{split}_rows"] > 0
        assert list(here[0])[4:] == ["prompt_id", "sample"]
        found |= {row["prompt_id"]: split for row in here}
    assert found == {f"p{n}": split_of(f"Say {n}.", shares=(0.5, 0.25, 0.25), seed=7) for n in range(60)}
    assert sum(counts[f"{split}_rows"] for split in ("train", "validation", "test")) == counts["training_rows"] == 360


def test_equal_prompts_under_different_ids_are_in_one_split(tmp_path):
    pairs = [(prompt(f"p{n}", f"Say {n % 10}."), answer(f"p{n}", "x" * 9)) for n in range(60)]
    write(pairs, tmp_path, shares=(0.5, 0.25, 0.25), split_files=True)
    texts = [
        {row["input_prompt"] for row in rows(tmp_path / "splits" / f"{split}.jsonl")}
        for split in ("train", "validation", "test")
    ]
    assert all(texts)
    assert sum(map(len, texts)) == 10


def test_the_index_says_which_training_rows_belong_to_which_answer_and_split(tmp_path):
    pairs = [(prompt(f"p{n}", f"Say {n}."), answer(f"p{n}", "x" * (3 + n))) for n in range(12)]
    write(pairs, tmp_path, step=4, shares=(0.5, 0.25, 0.25), split_seed=7)
    training, index = rows(tmp_path / "r_training.jsonl"), rows(tmp_path / "r_splits.jsonl")
    assert not (tmp_path / "splits").exists()
    assert [entry["split"] for entry in index] == [
        split_of(f"Say {n}.", shares=(0.5, 0.25, 0.25), seed=7) for n in range(12)
    ]
    for n, entry in enumerate(index):
        mine = training[entry["first_row"] : entry["first_row"] + entry["rows"]]
        assert {row["input_prompt"] for row in mine} == {f"Say {n}."}
        assert mine[-1]["remaining_tokens"] == 0
    assert sum(entry["rows"] for entry in index) == len(training)


def test_a_prompt_gets_one_row_of_targets_over_its_samples(tmp_path):
    ends = ((4, "stop"), (8, "stop"), (9, "length"))
    pairs = [(prompt("a"), answer("a", "x" * n, finish=f, sample=s)) for s, (n, f) in enumerate(ends)]
    write(pairs, tmp_path)
    (row,) = rows(tmp_path / "r_lengths.jsonl")
    assert (row["prompt_id"], row["n_samples"], row["n_censored"], row["median"], row["mean"]) == ("a", 3, 1, 8.0, None)


def test_rows_above_a_megabyte_are_whole(tmp_path):
    text = "é\n" * 1_300_000  # 3.9 MB a row in UTF-8, more when escaped
    counts = write([(prompt("a"), answer("a", text)), (prompt("b"), answer("b", "end"))], tmp_path, step=2_000_000)
    found = rows(tmp_path / "r_training.jsonl")
    assert found[1]["output_prompt"] == text
    assert found[0]["output_prompt"] == text[: len(found[0]["output_prompt"])]
    assert len(found[0]["output_prompt"].encode()) in (1_999_999, 2_000_000)
    assert found[2]["output_prompt"] == "end"
    assert counts["longest_row"] >= 5_200_000


def test_parquet_holds_the_same_rows(tmp_path):
    pairs = [
        (prompt(f"p{n}"), answer(f"p{n}", "wört\n" * n, finish="length" if n % 3 == 0 else "stop")) for n in range(9)
    ]
    write(pairs, tmp_path, formats=("jsonl", "parquet"), split_files=True)
    for name in ("r_training", "r_censored", "r_lengths", "r_splits", "splits/train"):
        table = duckdb.sql(f"FROM '{tmp_path}/{name}.parquet'")
        found = [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
        assert found == rows(tmp_path / f"{name}.jsonl")


def test_parquet_alone_leaves_no_json_lines_and_works_without_a_row(tmp_path):
    write([], tmp_path, formats=("parquet",))
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "r_censored.parquet",
        "r_lengths.parquet",
        "r_splits.parquet",
        "r_training.meta.json",
        "r_training.parquet",
    ]
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/r_training.parquet'").fetchall() == [(0,)]


def test_shards_merge_to_the_files_of_one_run(tmp_path):
    pairs = [(prompt(f"p{n}"), answer(f"p{n}", "x" * n, sample=s)) for n in range(20) for s in range(2)]
    options = SliceOptions(step=4, split_files=True)
    whole = write_slices(pairs, Letters(), options, tmp_path / "whole", stem="r")
    for number in range(2):
        write_slices(pairs[number * 20 :][:20], Letters(), options, tmp_path / f"{number}", stem="r")
    merged = merge_slices([tmp_path / "0", tmp_path / "1"], options, tmp_path / "merged", stem="r", tokenizer="letters")
    assert merged == whole
    for path in (tmp_path / "whole").rglob("*.json*"):
        assert (tmp_path / "merged" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_half_a_surrogate_pair_is_one_clear_error_and_leaves_no_file(tmp_path):
    with pytest.raises(DataError, match="prompt a, sample 0: the answer holds half of a surrogate pair"):
        write([(prompt("a"), answer("a", "x\ud83d"))], tmp_path)
    with pytest.raises(DataError, match="prompt b, sample 0: the prompt holds half of a surrogate pair"):
        write([(prompt("b", "\ud83d"), answer("b", ""))], tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_error_in_the_middle_leaves_the_old_files(tmp_path):
    write([(prompt("a"), answer("a", "old"))], tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def broken():
        yield prompt("a"), answer("a", "new")
        raise DataError("outcomes.jsonl:2: torn")

    with pytest.raises(DataError, match="torn"):
        write(broken(), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_that_is_a_file_is_one_clear_error(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match=r"out: cannot be made: (Not a directory|File exists)\. Name another folder"):
        write([], tmp_path / "out")


FULL = """
import resource, sys
from pathlib import Path
from promptmill.derive.slice_files import write_slices
from promptmill.derive.slices import SliceOptions
from promptmill.errors import DataError
from promptmill.records import Completion, Prompt
from promptmill.tokens import load_tokenizer
class Letters:
    name, pieces = "letters", [bytes([n]) for n in range(256)]
    def encode(self, texts): return [list(t.encode()) for t in texts]
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
completion = Completion(key="k", prompt_id="a", model="m", text="x" * 40_000, finish="stop")
pairs = [(Prompt(id="a", source="s", text="p"), completion)]
try:
    write_slices(pairs, Letters(), SliceOptions(), Path(sys.argv[1]), stem="r")
except DataError as error:
    print(error)
"""


def test_a_full_disk_is_one_clear_error_and_nothing_is_left_half_written(tmp_path):
    # A limit on the file size stops the writes as a full disk does: in the middle of a block.
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert "cannot be written: File too large. Free space or choose another path." in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 3_000_000


def test_rows_do_not_depend_on_where_batches_end(tmp_path):
    # 4,500 completions are more than one batch.
    pairs = [(prompt(f"p{n}"), answer(f"p{n}", f"answer {n}")) for n in range(4_500)]
    counts = write(pairs, tmp_path, step=100)
    found = rows(tmp_path / "r_training.jsonl")
    assert [row["output_prompt"] for row in found] == [f"answer {n}" for n in range(4_500)]
    assert counts["whole"] == counts["prompts"] == 4_500


def test_the_paths_of_a_stem_with_a_quote_work_for_parquet(tmp_path):
    out = tmp_path / "it's"
    write([(prompt("a"), answer("a", "x"))], out, formats=("jsonl", "parquet"))
    assert (out / "r_training.parquet").is_file()


def test_options_decode_from_yaml_like_data():
    options = msgspec.convert({"step": 10, "shares": [0.6, 0.2, 0.2], "formats": ["parquet"]}, SliceOptions)
    assert options == SliceOptions(step=10, shares=(0.6, 0.2, 0.2), formats=("parquet",))
