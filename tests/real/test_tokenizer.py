import json
import struct
from pathlib import Path

import pytest

from promptmill.derive.slices import cut_ids, cut_texts, slice_rows
from promptmill.tokens import load_tokenizer

pytestmark = pytest.mark.real

TEXTS = Path(__file__).parents[1] / "data" / "texts.jsonl"


def texts():
    return [json.loads(line)["text"] for line in TEXTS.read_bytes().split(b"\n") if line]


@pytest.fixture(scope="module")
def tokenizer(smollm2_file):
    return load_tokenizer("smollm2")


def test_the_ids_are_those_of_the_llama_cpp_server(tokenizer, llama_url, ask):
    given = texts()
    assert len(given) >= 400
    # `parse_special` is off because an answer's text never holds a real special token.
    theirs = [ask(f"{llama_url}/tokenize", {"content": text, "parse_special": False})["tokens"] for text in given]
    assert tokenizer.encode(given) == theirs


def test_the_pieces_of_each_text_spell_it(tokenizer):
    for text, ids in zip(texts(), tokenizer.encode(texts()), strict=True):
        assert b"".join(map(tokenizer.token_bytes, ids)).decode() == text


def test_cuts_by_pieces_and_by_the_librarys_spans_are_the_same(tokenizer):
    from promptmill.derive.slices import cut_spans

    given = texts()
    by_pieces = cut_texts(given, tokenizer, step=3)
    by_spans = [
        cut_spans(text, spans, step=3) for text, spans in zip(given, tokenizer.encode_spans(given), strict=True)
    ]
    assert by_pieces == by_spans


@pytest.mark.parametrize("stop", [None, ["."]])
def test_the_servers_ids_spell_its_answers(tokenizer, llama_url, ask, stop):
    for number, prompt in enumerate(texts()[:8]):
        body = {"prompt": prompt, "n_predict": 60, "return_tokens": True, "seed": number, "temperature": 0.7}
        answer = ask(f"{llama_url}/completion", body | ({"stop": stop} if stop else {}))
        cuts = cut_ids(answer["content"], answer["tokens"], tokenizer.pieces, step=7)
        assert cuts is not None, answer["content"]
        rows = slice_rows(prompt, cuts, step=7)
        assert all(row.output_prompt == answer["content"][: len(row.output_prompt)] for row in rows)
        assert all(row.number_of_output_tokens + row.remaining_tokens == len(answer["tokens"]) for row in rows)
        assert not rows or (rows[-1].output_prompt, rows[-1].remaining_tokens) == (answer["content"], 0)


def renamed_split(model, split, path):
    """The model with another `tokenizer.ggml.pre`; its name gives or takes the difference, so that no tensor moves."""

    def text(value):
        return struct.pack("<Q", len(value)) + value

    raw = model.read_bytes()
    at = raw.index(b"general.name") + len("general.name") + 4
    (length,) = struct.unpack_from("<Q", raw, at)
    name = raw[at + 8 : at + 8 + length]
    other = (name + b"x" * 32)[: length + len("smollm") - len(split)]
    key = b"tokenizer.ggml.pre" + struct.pack("<I", 8)
    assert raw.count(key + text(b"smollm")) == 1
    raw = raw.replace(key + text(b"smollm"), key + text(split.encode()), 1)
    path.write_bytes(raw[:at] + text(other) + raw[at + 8 + length :])
    return path


@pytest.mark.parametrize("split", ["gpt-2", "qwen2", "llama-bpe"])
def test_each_way_of_splitting_gives_the_ids_of_llama_cpp(smollm2_file, llama_server, ask, tmp_path, split):
    # The vocabulary stays SmolLM2's; what is compared is where text is split before the merges.
    path = renamed_split(smollm2_file, split, tmp_path / f"{split}.gguf")
    ours = load_tokenizer(str(path)).encode(texts())
    with llama_server(path) as url:
        theirs = [ask(f"{url}/tokenize", {"content": text, "parse_special": False})["tokens"] for text in texts()]
    path.unlink()
    assert ours == theirs
    assert ours != load_tokenizer("smollm2").encode(texts())
