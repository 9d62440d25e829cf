"""Find a tokenizer by name, path or Hub id, and wrap it with the few things the derived stages need.

Not covered: tokenizers that only transformers' Python code can run (no `tokenizer.json`); they get a message that says
how to convert them.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from promptmill.endpoints.models import NAMED, model_file
from promptmill.errors import ConfigError, DataError, MissingExtra
from promptmill.tokens.pieces import piece_table
from promptmill.tokens.vocabulary import byte_tokenizer, read_gguf

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SLOW_FILES = ("tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tokenizer_config.json")


class Tokenizer:
    """One model's tokenizer.

    Texts are encoded as a model's output: no special token is added, and the spelling of a special token inside a text
    is ordinary text, because servers leave real special tokens out of what they answer.

    Attributes:
        name: as the user named it.
    """

    def __init__(self, name: str, tokenizer: Any) -> None:
        tokenizer.no_truncation()  # a limit left in tokenizer.json would cut answers silently
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        self.name = name
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text."""
        return [found.ids for found in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_spans(self, texts: Sequence[str]) -> list[Any]:
        """Return encodings with `token_to_chars`: slower than `encode`, and slower still on long texts."""
        found: list[Any] = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return found

    @cached_property
    def pieces(self) -> list[bytes] | None:
        """The bytes of each token id, or `None` for a family whose pieces do not spell the text."""
        return piece_table(self._tokenizer)

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token adds to the text; none for special tokens.

        Raises:
            DataError: the id is not in the vocabulary, or the family's pieces do not spell the text.
        """
        if self.pieces is None:
            raise DataError(f"tokenizer {self.name}: its tokens do not spell the text. Use its spans instead.")
        if not 0 <= token < len(self.pieces):
            raise DataError(
                f"tokenizer {self.name}: has no token {token}. Name the tokenizer of the model that answered."
            )
        return self.pieces[token]


def load_tokenizer(name: str, *, threads: int | None = None) -> Tokenizer:
    """Load the tokenizer that `name` stands for; never another one.

    Args:
        name: folder with tokenizer.json, a tokenizer.json or .gguf file, smollm2, qwen2.5-coder-1.5b, a Hub id, or
            bytes (the fake server's: a token is a byte).
        threads: encoding threads; none leaves it to the library. Counts above 1 hold from the process's first use on.

    Raises:
        ConfigError: nothing of that name, or nothing that can be loaded.
        DataError: the file is damaged or of an unknown kind.
        MissingExtra: a library is not installed.
    """
    if importlib.util.find_spec("tokenizers") is None:
        raise MissingExtra("tokens", needed_for=f"tokenizer {name}")
    if threads is not None:
        # The library has no other switch: the first is read at each call, the second when its pool starts.
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
        os.environ["RAYON_NUM_THREADS"] = str(threads)
    if name == "bytes":
        return Tokenizer(name, byte_tokenizer())
    path = _locate(name)
    return Tokenizer(name, read_gguf(path) if path.suffix == ".gguf" else _read_json(path))


def _locate(name: str) -> Path:
    """The file behind a name."""
    if name in NAMED:
        return model_file(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        if path.suffix in {".json", ".gguf"}:
            return path
        raise ConfigError(
            f"tokenizer {name}: is neither .json nor .gguf. Name the model's tokenizer.json or its folder."
        )
    if _HUB_ID.fullmatch(name) and path.suffix not in {".json", ".gguf"} and not name.startswith("."):
        return _from_hub(name)
    raise ConfigError(
        f"tokenizer {name}: no such file or folder. Name a folder with tokenizer.json, a tokenizer.json or .gguf file, "
        f"a Hub id (owner/model), or one of: {', '.join(NAMED)}, bytes."
    )


def _in_folder(folder: Path) -> Path:
    path = folder / "tokenizer.json"
    if path.is_file():
        return path
    slow = [name for name in _SLOW_FILES if (folder / name).is_file()]
    if slow:
        raise ConfigError(
            f"tokenizer {folder}: has {', '.join(slow)} but no tokenizer.json. Convert it once with transformers: "
            f"AutoTokenizer.from_pretrained('{folder}').save_pretrained('{folder}')."
        )
    raise ConfigError(f"tokenizer {folder}: no tokenizer.json in this folder. Name the model's own folder.")


def _read_json(path: Path) -> Any:
    from tokenizers import Tokenizer as Library

    try:
        return Library.from_file(str(path))
    except Exception as error:
        if type(error) is not Exception:  # the library raises bare `Exception` for any fault in the file
            raise
        raise DataError(f"{path}: is not a tokenizer.json: {error}. Name the model's own file.") from error


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise MissingExtra("hub", needed_for=f"tokenizer {name} from the Hub") from error
    try:
        return Path(hf_hub_download(name, "tokenizer.json"))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"tokenizer {name}: not a local folder, and the Hub did not give its tokenizer.json ({reason}). "
            "Check the name, the network and the token, or name a local folder."
        ) from error
