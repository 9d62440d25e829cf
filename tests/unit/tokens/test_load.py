import json
import struct

import pytest
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, pre_tokenizers

from promptmill.endpoints import models as endpoint_models
from promptmill.errors import ConfigError, DataError
from promptmill.tokens import load_tokenizer


def tiny():
    """Byte-level BPE with one merge, a special token and an added word."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: n for n, letter in enumerate([*letters, "th"])}
    library = Library(models.BPE(vocab=vocabulary, merges=[("t", "h")]))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens(["<|end|>"])
    library.add_tokens(["<think>"])
    return library


@pytest.fixture
def folder(tmp_path):
    tiny().save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_a_folder_and_its_file_give_the_same_tokenizer(folder):
    by_folder, by_file = load_tokenizer(str(folder)), load_tokenizer(str(folder / "tokenizer.json"))
    assert by_folder.encode(["the é"]) == by_file.encode(["the é"])
    assert len(by_folder) == 259
    assert by_folder.name == str(folder)


def test_pieces_spell_the_text_and_special_tokens_spell_nothing(folder):
    tokenizer = load_tokenizer(str(folder))
    text = "the 👩‍👩‍👧 é\u2028\x00"
    assert b"".join(tokenizer.token_bytes(token) for token in tokenizer.encode([text])[0]).decode() == text
    assert tokenizer.token_bytes(257) == b""
    assert tokenizer.token_bytes(258) == b"<think>"


def test_a_special_token_spelled_in_a_text_is_ordinary_text(folder):
    assert 257 not in load_tokenizer(str(folder)).encode(["a<|end|>"])[0]


def test_a_limit_left_in_the_file_cuts_nothing(folder):
    library = tiny()
    library.enable_truncation(3)
    library.enable_padding(length=10)
    library.save(str(folder / "tokenizer.json"))
    assert len(load_tokenizer(str(folder)).encode(["abcdefg"])[0]) == 7


def test_sentencepiece_pieces_give_spaces_and_bytes(tmp_path):
    library = Library(models.BPE(vocab={"<unk>": 0, "<0xF0>": 1, "▁Hi": 2, "é": 3}, merges=[], byte_fallback=True))
    library.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    library.add_special_tokens(["<unk>"])
    library.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(str(tmp_path)).pieces == [b"", b"\xf0", b" Hi", "é".encode()]


def test_wordpiece_has_no_pieces_and_says_so(tmp_path):
    library = Library(models.WordPiece(vocab={"[UNK]": 0, "a": 1}))
    library.decoder = decoders.WordPiece()
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.pieces is None
    with pytest.raises(DataError, match="its tokens do not spell the text"):
        tokenizer.token_bytes(1)


def test_a_token_of_another_model_is_an_error(folder):
    with pytest.raises(DataError, match="has no token 9999"):
        load_tokenizer(str(folder)).token_bytes(9999)


def test_a_slow_tokenizer_is_told_how_to_be_converted(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"has tokenizer.model but no tokenizer.json. Convert it once"):
        load_tokenizer(str(tmp_path))


def test_an_empty_folder_a_missing_file_and_a_foreign_file_are_clear_errors(tmp_path):
    with pytest.raises(ConfigError, match=r"no tokenizer\.json in this folder"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(ConfigError, match=r"no such file or folder\. Name a folder with tokenizer\.json"):
        load_tokenizer(str(tmp_path / "missing.gguf"))
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"a\.txt: is neither \.json nor \.gguf"):
        load_tokenizer(str(tmp_path / "a.txt"))


@pytest.mark.parametrize("content", ["{", "{}", json.dumps({"model": {"type": "BPE"}})])
def test_a_broken_tokenizer_file_is_an_error_and_no_other_is_taken(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(DataError, match=r"tokenizer\.json: is not a tokenizer\.json"):
        load_tokenizer(str(tmp_path))


def test_a_hub_name_without_a_network_is_one_clear_error(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="tokenizer nobody/nothing: not a local folder, and the Hub did not give"):
        load_tokenizer("nobody/nothing")


def test_a_packaged_model_is_looked_for_where_its_server_puts_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assembled = tmp_path / "promptmill" / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
    assembled.parent.mkdir()
    gguf(assembled, fields())
    monkeypatch.setattr(endpoint_models, "QWEN_BYTES", assembled.stat().st_size)
    tokenizer = load_tokenizer("qwen2.5-coder-1.5b")
    assert tokenizer.encode(["the"]) == load_tokenizer(str(assembled)).encode(["the"])
    assert tokenizer.name == "qwen2.5-coder-1.5b"


def test_a_packaged_model_that_is_not_installed_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(ConfigError, match="22 of its 22 packages are missing"):
        load_tokenizer("qwen2.5-coder-1.5b")


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf(path, fields, *, version=3):
    """A GGUF file with metadata alone: texts, numbers, and arrays of both."""
    body = b""
    for key, value in fields.items():
        body += text(key)
        if isinstance(value, str):
            body += struct.pack("<I", 8) + text(value)
        elif isinstance(value, int):
            body += struct.pack("<II", 4, value)
        elif value and isinstance(value[0], str):
            body += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        else:
            body += struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", version, 0, len(fields)) + body)
    return path


def fields(**more):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    given = {
        "general.alignment": 32,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [*letters, "th", "<|end|>"],
        "tokenizer.ggml.token_type": [1] * 257 + [3],
        "tokenizer.ggml.merges": ["t h"],
    }
    return given | {f"tokenizer.ggml.{key}": value for key, value in more.items()}


def test_the_vocabulary_in_a_gguf_file_is_read(tmp_path):
    tokenizer = load_tokenizer(str(gguf(tmp_path / "m.gguf", fields())))
    tiny().save(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode(["the th é"]) == load_tokenizer(str(tmp_path)).encode(["the th é"])
    assert tokenizer.token_bytes(257) == b""


def test_the_splits_differ_where_they_should(tmp_path):
    # "12" is one token only where digits may stay together.
    letters = fields()["tokenizer.ggml.tokens"]
    counts = {}
    for pre in ("gpt-2", "smollm", "qwen2", "llama-bpe"):
        more = {"tokens": [*letters, "12"], "token_type": [1] * 259, "merges": ["t h", "1 2"], "pre": pre}
        counts[pre] = len(load_tokenizer(str(gguf(tmp_path / f"{pre}.gguf", fields(**more)))).encode(["1212"])[0])
    assert counts == {"gpt-2": 2, "smollm": 4, "qwen2": 4, "llama-bpe": 3}


def test_an_unknown_split_or_family_lists_what_is_known(tmp_path):
    with pytest.raises(DataError, match=r"its text split 'tekken' is not known. Known: command-r, .*smollm"):
        load_tokenizer(str(gguf(tmp_path / "a.gguf", fields(pre="tekken"))))
    with pytest.raises(DataError, match="of the family 'llama', and only 'gpt2'"):
        load_tokenizer(str(gguf(tmp_path / "b.gguf", fields(model="llama"))))


def test_a_damaged_gguf_file_is_one_clear_error(tmp_path):
    whole = gguf(tmp_path / "m.gguf", fields()).read_bytes()
    for name, content in {"empty": b"", "short": whole[:300], "foreign": b"PK\x03\x04" + whole[4:]}.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.gguf: is not a readable GGUF file: .*Check that it is whole"):
            load_tokenizer(str(path))
    missing = {key: value for key, value in fields().items() if not key.endswith("merges")}
    with pytest.raises(DataError, match=r"has no 'tokenizer\.ggml\.merges'"):
        load_tokenizer(str(gguf(tmp_path / "n.gguf", missing)))


def test_the_tokenizer_called_bytes_counts_bytes():
    tokenizer = load_tokenizer("bytes")
    assert tokenizer.encode(["né\n"]) == [[110, 195, 169, 10]]
    assert tokenizer.token_bytes(195) == b"\xc3"
    assert tokenizer.token_bytes(256) == b""
