"""Tokenizers: load the model's own one, encode texts, and tell which bytes a token stands for.

There is no fallback: a tokenizer that cannot be built exactly is an error that says what is known. `load` finds and
wraps it, `vocabulary` builds one from the vocabulary inside a GGUF file, `pieces` maps token ids to bytes.

Not covered: chat templates, loss masks and packing.
"""

from promptmill.tokens.load import Tokenizer, load_tokenizer
from promptmill.tokens.pieces import piece_table

__all__ = ["Tokenizer", "load_tokenizer", "piece_table"]
