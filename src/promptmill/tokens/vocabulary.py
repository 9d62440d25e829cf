"""Build a tokenizer from the vocabulary inside a GGUF file, so that it gives the ids that llama.cpp gives.

How text is split before the merges is not in the file, only its name (`tokenizer.ggml.pre`). The splits here are those
of llama.cpp's `llama-vocab.cpp`; the tests compare each with a running llama.cpp server. Like llama.cpp, and unlike
the Hub's files of the same models, nothing is normalised first.

Not covered: SentencePiece vocabularies in GGUF form (scores without merges), WordPiece, and splits not listed here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from promptmill.errors import DataError, MissingExtra
from promptmill.tokens.gguf_file import read_fields
from promptmill.tokens.pieces import byte_alphabet

Split = Literal["words", "digits", "qwen", "llama3"]

# `tokenizer.ggml.pre` -> how text is split before the merges.
SPLITS: dict[str, Split] = {
    "command-r": "digits",
    "dbrx": "llama3",
    "deepseek-r1-qwen": "qwen",
    "gpt-2": "words",
    "llama-bpe": "llama3",
    "llama3": "llama3",
    "mpt": "words",
    "olmo": "words",
    "phi-2": "words",
    "qwen2": "qwen",
    "refact": "digits",
    "smaug-bpe": "llama3",
    "smollm": "digits",
    "stablelm2": "qwen",
    "starcoder": "digits",
}

# A whole word that is in the vocabulary is taken as it is, even where the merges would not lead to it.
_WHOLE_WORDS = {"llama-bpe", "llama3"}

_MODERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PATTERNS: dict[Split, str] = {"qwen": _MODERN % "", "llama3": _MODERN % "{1,3}"}

# Token types of GGUF: what is parsed as a whole in a text, and what is left out of a decoded text.
_CONTROL, _USER_DEFINED = 3, 4


def read_gguf(path: Path) -> Any:
    """Return a `tokenizers.Tokenizer` made of the vocabulary in a GGUF file.

    Raises:
        DataError: not a GGUF file, without a vocabulary, or of a family or split that is not known here.
        MissingExtra: without the extra `tokens`.
    """
    try:
        from tokenizers import AddedToken, Tokenizer, decoders, models
    except ImportError as error:
        raise MissingExtra("tokens", needed_for=f"{path}: reading its vocabulary") from error
    fields = read_fields(path, [f"tokenizer.ggml.{key}" for key in ("model", "pre", "tokens", "token_type", "merges")])
    family = _value(path, fields, "tokenizer.ggml.model")
    if family != "gpt2":
        raise DataError(
            f"{path}: its vocabulary is of the family '{family}', and only 'gpt2' (byte-level BPE) can be read from a "
            "GGUF file. Name the folder with the model's tokenizer.json."
        )
    split = _value(path, fields, "tokenizer.ggml.pre")
    if split not in SPLITS:
        raise DataError(
            f"{path}: its text split '{split}' is not known. Known: {', '.join(SPLITS)}. "
            "Name the folder with the model's tokenizer.json."
        )
    tokens: list[str] = _value(path, fields, "tokenizer.ggml.tokens")
    types: list[int] = _value(path, fields, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in _value(path, fields, "tokenizer.ggml.merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=split in _WHOLE_WORDS))
    tokenizer.pre_tokenizer = _splitter(SPLITS[split])
    tokenizer.decoder = decoders.ByteLevel()
    for kind in (_CONTROL, _USER_DEFINED):
        found = [token for token, of in zip(tokens, types, strict=True) if of == kind]
        added = [AddedToken(token, special=kind == _CONTROL, normalized=False) for token in found]
        (tokenizer.add_special_tokens if kind == _CONTROL else tokenizer.add_tokens)(added)
    return tokenizer


def _value(path: Path, fields: dict[str, Any], key: str) -> Any:
    if key not in fields:
        raise DataError(f"{path}: has no '{key}'. Name the folder with the model's tokenizer.json.")
    return fields[key]


def _splitter(split: Split) -> Any:
    from tokenizers import Regex, pre_tokenizers

    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if split == "words":
        return words
    if split == "digits":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERNS[split]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def byte_tokenizer() -> Any:
    """The fake server's tokenizer: token n is the byte n, and token 256 ends a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(vocab=byte_alphabet(), merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    return tokenizer
