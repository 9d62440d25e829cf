"""Write the slices of many completions: training, censored and split files, targets per prompt, and what was counted.

The rows of one answer are its prefixes, so the files grow with the square of its length. Each answer is therefore
JSON-escaped once and its rows are slices of that one buffer (see `row_files`). Memory is bounded by the batch, whatever
the number of rows. Files appear together, when all are whole and on the disk; `<stem>_training.meta.json` comes last.

Shards: call `write_slices` once for each shard with its own folder, then `merge_slices`. All samples of a prompt must
be in one shard, or it gets more than one row of targets.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import msgspec
from msgspec.structs import replace

from promptmill.derive.lengths import Observed
from promptmill.derive.parquet import COLUMNS, write_parquet
from promptmill.derive.row_files import Located, RowFiles, refuse_surrogates
from promptmill.derive.slices import (
    Cuts,
    SliceOptions,
    Tokenizer,
    cut_generated,
    cut_ids,
    cut_texts,
    ends_by_itself,
    usage_differs,
)
from promptmill.errors import DataError
from promptmill.io.jsonl import atomic, iter_jsonl
from promptmill.records import Completion, Outcome, Prompt

COUNTS = (
    "completions", "whole", "censored", "failures", "filtered", "tool_calls", "reasoning_without_ids", "empty",
    "server_ids", "encoded", "ids_not_matching", "trimmed", "usage_differs", "tokens", "training_rows",
    "censored_rows", "train_rows", "validation_rows", "test_rows", "prompts", "longest_row",
)  # fmt: skip
SPLITS = ("train", "validation", "test")
ROW_FILES = ("training", "censored", "lengths", "index")

_BATCH_CHARACTERS = 1_000_000  # the library's encodings take about 100 bytes a token
_BATCH_COMPLETIONS = 4_000

_json = msgspec.json.encode


def paths(out: Path, stem: str) -> dict[str, Path]:
    """Return the files that `write_slices` makes, without the Parquet ones, which stand beside them."""
    return {
        "training": out / f"{stem}_training.jsonl",
        "censored": out / f"{stem}_censored.jsonl",
        "lengths": out / f"{stem}_lengths.jsonl",
        "index": out / f"{stem}_splits.jsonl",
        "meta": out / f"{stem}_training.meta.json",
        **{split: out / "splits" / f"{split}.jsonl" for split in SPLITS},
    }


def row_files(options: SliceOptions) -> tuple[str, ...]:
    """Names of the files of rows that are made."""
    return (*ROW_FILES, *SPLITS) if options.split_files else ROW_FILES


def write_slices(
    pairs: Iterable[tuple[Prompt, Outcome]], tokenizer: Tokenizer, options: SliceOptions, out: Path, *, stem: str
) -> dict[str, int]:
    """Cut completions and write every file; return the counts (`COUNTS`), which `merge_slices` can add up.

    Failures give no row. Order and content of the rows follow the pairs alone.

    Raises:
        DataError: the disk is full or the folder cannot be written; nothing is left half-written.
    """
    counts = dict.fromkeys(COUNTS, 0)
    files = paths(out, stem)
    _make_folders(out, options)
    targets = [files[name] for name in row_files(options)]
    with _together(targets, before=files["meta"]) as handles, Observed(out) as observed:
        training, censored, lengths, index, *splits = handles
        by_split = dict(zip(SPLITS, splits, strict=False))
        rows = RowFiles(training=training, censored=censored, index=index, splits=by_split)
        for item in _cut(pairs, tokenizer, options, counts):
            rows.add(*item, options)
            whole = bool(ends_by_itself(item.completion))
            observed.add(item.prompt, item.completion.sample, item.cuts.total, censored=not whole)
        rows.close()
        for target in observed.targets():
            lengths.write(_json(target) + b"\n")
            counts["prompts"] += 1
    counts |= rows.counts
    _finish(files, options, counts, tokenizer.name)
    return counts


def merge_slices(
    parts: Sequence[Path], options: SliceOptions, out: Path, *, stem: str, tokenizer: str
) -> dict[str, int]:
    """Join the files that `write_slices` made for each shard, in the order given; return the sums of their counts."""
    found = [paths(part, stem) for part in parts]
    counted = [_read_counts(part["meta"]) for part in found]
    counts = {name: sum(one[name] for one in counted) for name in COUNTS}
    counts["longest_row"] = max((one["longest_row"] for one in counted), default=0)
    files = paths(out, stem)
    _make_folders(out, options)
    names = row_files(options)
    with _together([files[name] for name in names], before=files["meta"]) as handles:
        for name, handle in zip(names, handles, strict=True):
            if name == "index":
                _merge_index(found, [one["training_rows"] for one in counted], handle)
                continue
            for part in found:
                with part[name].open("rb") as file:
                    shutil.copyfileobj(file, handle, 1 << 20)
    _finish(files, options, counts, tokenizer)
    return counts


def _merge_index(parts: Sequence[dict[str, Path]], sizes: Sequence[int], handle: IO[bytes]) -> None:
    """Join the indexes; the rows of a part begin behind those of the parts before it."""
    before = 0
    for part, size in zip(parts, sizes, strict=True):
        for entry in iter_jsonl(part["index"], Located):
            handle.write(_json(replace(entry, first_row=entry.first_row + before)) + b"\n")
        before += size


def _read_counts(meta: Path) -> dict[str, int]:
    """The counts of one shard; a shard without them is not whole."""
    try:
        return msgspec.json.decode(meta.read_bytes(), type=_Meta).counts
    except FileNotFoundError as error:
        raise DataError(f"{meta}: is not there, so this shard is not whole. Cut it again.") from error
    except msgspec.DecodeError as error:
        raise DataError(f"{meta}: {error}. Cut this shard again.") from error


class _Meta(msgspec.Struct):
    counts: dict[str, int]


class _Item(NamedTuple):
    """A completion that gives rows."""

    prompt: Prompt
    completion: Completion
    cuts: Cuts


def _cut(
    pairs: Iterable[tuple[Prompt, Outcome]], tokenizer: Tokenizer, options: SliceOptions, counts: dict[str, int]
) -> Iterator[_Item]:
    """Cut the completions that say something about a length, in their order, batch by batch."""
    batch: list[tuple[Prompt, Completion]] = []
    characters = 0
    for prompt, outcome in pairs:
        if not isinstance(outcome, Completion):
            counts["failures"] += 1
            continue
        counts["completions"] += 1
        if ends_by_itself(outcome) is None:
            counts["filtered" if outcome.finish == "filter" else "tool_calls"] += 1
            continue
        refuse_surrogates(prompt, outcome)
        batch.append((prompt, outcome))
        characters += len(outcome.text)
        if characters >= _BATCH_CHARACTERS or len(batch) >= _BATCH_COMPLETIONS:
            yield from _cut_batch(batch, tokenizer, options, counts)
            batch, characters = [], 0
    yield from _cut_batch(batch, tokenizer, options, counts)


def _cut_batch(
    batch: list[tuple[Prompt, Completion]], tokenizer: Tokenizer, options: SliceOptions, counts: dict[str, int]
) -> Iterator[_Item]:
    found = [_cut_known(completion, tokenizer, options.step) for _, completion in batch]
    left = []
    for number, (cuts, (_, completion)) in enumerate(zip(found, batch, strict=True)):
        if cuts is None and completion.reasoning is not None:
            counts["reasoning_without_ids"] += 1  # what stood between reasoning and answer is not known
        elif cuts is None:
            left.append(number)
            counts["ids_not_matching"] += completion.token_ids is not None
    texts = [batch[number][1].text for number in left]
    for number, cuts in zip(left, cut_texts(texts, tokenizer, step=options.step), strict=True):
        found[number] = cuts
    for (prompt, completion), cuts in zip(batch, found, strict=True):
        if cuts is not None:
            _count(completion, cuts, counts)
            yield _Item(prompt, completion, cuts)


def _cut_known(completion: Completion, tokenizer: Tokenizer, step: int) -> Cuts | None:
    pieces = tokenizer.pieces
    if completion.token_ids is None or pieces is None:
        return None
    if completion.reasoning is not None:
        return cut_generated(completion.token_ids, pieces, step=step)
    return cut_ids(completion.text, completion.token_ids, pieces, step=step)


def _count(completion: Completion, cuts: Cuts, counts: dict[str, int]) -> None:
    counts["whole" if ends_by_itself(completion) else "censored"] += 1
    counts["server_ids" if cuts.counted == "ids" else "encoded"] += 1
    counts["tokens"] += cuts.total
    counts["empty"] += not cuts.total
    counts["trimmed"] += cuts.missing > 0
    counts["usage_differs"] += usage_differs(completion, cuts)


def _finish(files: dict[str, Path], options: SliceOptions, counts: dict[str, int], tokenizer: str) -> None:
    """Convert to Parquet where asked, and say last what the files hold."""
    if "parquet" in options.formats:
        for name in row_files(options):
            write_parquet(files[name], COLUMNS[name if name in COLUMNS else "split"], longest_row=counts["longest_row"])
    if "jsonl" not in options.formats:
        for name in row_files(options):
            files[name].unlink()
    meta = {
        "step": options.step,
        "zero_row": options.zero_row,
        "tokenizer": tokenizer,
        "tokens_counted_from": _counted_from(counts),
        "shares": options.shares,
        "split_seed": options.split_seed,
        "counts": counts,
    }
    with atomic(files["meta"]) as file:
        file.write(msgspec.json.format(_json(meta), indent=2) + b"\n")


def _counted_from(counts: dict[str, int]) -> str:
    """What the token counts of all rows come from."""
    if counts["server_ids"] and counts["encoded"]:
        return "mixed: see counts.server_ids and counts.encoded"
    return "encoded again" if counts["encoded"] else "server ids"


def _make_folders(out: Path, options: SliceOptions) -> None:
    try:
        (out / "splits" if options.split_files else out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be made: {error.strerror}. Name another folder.") from error


@contextmanager
def _together(targets: Sequence[Path], *, before: Path) -> Iterator[list[IO[bytes]]]:
    """Files that appear only when all of them are whole and on the disk; `before` goes first, it vouches for them."""
    with ExitStack() as stack:
        files = [stack.enter_context(atomic(path)) for path in targets]
        yield files
        for file in files:
            file.flush()
            os.fsync(file.fileno())
        before.unlink(missing_ok=True)
