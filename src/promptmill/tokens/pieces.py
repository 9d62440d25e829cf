"""Which bytes each token id stands for, for the two families that can be inverted exactly.

Byte-level BPE (GPT-2 and its heirs) writes every byte as one printable letter; SentencePiece with byte fallback writes
a space as `▁` and odd bytes as `<0xNN>`. Special tokens stand for no bytes, because servers leave them out of the text.

Not covered: WordPiece and other families whose pieces do not spell the text; they have no table.
"""

from __future__ import annotations

import json
import re
from typing import Any

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def byte_alphabet() -> dict[str, int]:
    """GPT-2's letters for the 256 bytes: printable Latin-1 stands for itself, the rest follows from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(rest)}


def piece_table(tokenizer: Any) -> list[bytes] | None:
    """Return the bytes of every token id of a `tokenizers.Tokenizer`, or `None` where its pieces do not spell the text.

    The leading space that SentencePiece writes before the first word is kept; servers differ in dropping it.
    """
    to_bytes = _family(tokenizer.decoder)
    if to_bytes is None:
        return None
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    table = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for piece, token in vocabulary.items():
        table[token] = to_bytes(piece)
    for token, added in tokenizer.get_added_tokens_decoder().items():
        table[token] = b"" if added.special else to_bytes(added.content)
    return table


def _family(decoder: Any) -> Any:
    """The function from piece to bytes that the decoder implies."""
    if decoder is None:
        return None
    state = json.loads(decoder.__getstate__())
    steps = state["decoders"] if state["type"] == "Sequence" else [state]
    kinds = {step["type"] for step in steps}
    if kinds == {"ByteLevel"}:
        alphabet = byte_alphabet()
        return lambda piece: _byte_level(piece, alphabet)
    spaced = "Metaspace" in kinds or any(
        step["type"] == "Replace" and step["pattern"] == {"String": "▁"} and step["content"] == " " for step in steps
    )
    return _sentence_piece if spaced and kinds <= {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"} else None


def _byte_level(piece: str, alphabet: dict[str, int]) -> bytes:
    """A piece with a letter outside the alphabet is an added token in plain text, as the library decodes it."""
    try:
        return bytes([alphabet[letter] for letter in piece])
    except KeyError:
        return piece.encode()


def _sentence_piece(piece: str) -> bytes:
    byte = _BYTE_PIECE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode()
