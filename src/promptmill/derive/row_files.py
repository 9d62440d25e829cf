"""Rows of slices as bytes: `{input_prompt, output_prompt, number_of_output_tokens, remaining_tokens}`, one a line.

An answer is JSON-escaped once, piece by piece between its cuts. A row is its head, a slice of the escaped answer and a
tail, and these three are copied into the file's block: no row is ever built in memory, and nothing is escaped twice.
Censored and split rows carry `prompt_id` and `sample` behind the four keys.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import IO, Literal

import msgspec

from promptmill.derive.blocks import BlockFile
from promptmill.derive.slices import Cuts, SliceOptions, ends_by_itself, points
from promptmill.errors import DataError
from promptmill.records import Completion, Prompt, split_of

_json = msgspec.json.encode


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """Where the training rows of one answer are, and which split they belong to; a row of `<stem>_splits.jsonl`.

    Attributes:
        prompt_id: the prompt.
        sample: sample number.
        split: `train`, `validation` or `test`, the same for all samples of a prompt and for equal prompts.
        first_row: number of its first row in the training file, from 0.
        rows: how many rows it has there, one after the other.
    """

    prompt_id: str
    sample: int
    split: Literal["train", "validation", "test"]
    first_row: int
    rows: int


class RowFiles:
    """The row files of one stage.

    Attributes:
        counts: rows written to each file, and the bytes of the longest row.
    """

    def __init__(
        self, *, training: IO[bytes], censored: IO[bytes], index: IO[bytes], splits: dict[str, IO[bytes]]
    ) -> None:
        names = ("training", "censored", "train", "validation", "test")
        self.counts = {**{f"{name}_rows": 0 for name in names}, "longest_row": 0}
        self._index = index
        self._training = BlockFile(training)
        self._censored = BlockFile(censored)
        self._splits = {split: BlockFile(file) for split, file in splits.items()}

    def add(self, prompt: Prompt, completion: Completion, cuts: Cuts, options: SliceOptions) -> None:
        """Write the rows of one completion."""
        counts = points(cuts.total, step=options.step, zero_row=options.zero_row)
        if not counts:
            return
        ends, buffer = _escaped(cuts)
        view = memoryview(buffer)
        ends = ends if options.zero_row else ends[1:]
        head = b'{"input_prompt":' + _json(prompt.plain) + b',"output_prompt":"'
        who = b',"prompt_id":%s,"sample":%d}\n' % (_json(prompt.id), completion.sample)
        whole = ends_by_itself(completion)
        form = b'","number_of_output_tokens":%d,"remaining_tokens' + (b'":%d' if whole else b'_at_least":%d')
        tails = [form % (count, cuts.total - count) for count in counts]
        rows = [(view[:end], tail) for end, tail in zip(ends, tails, strict=True)]
        longest = len(head) + len(buffer) + len(tails[-1]) + len(who)
        self.counts["longest_row"] = max(self.counts["longest_row"], longest)
        if not whole:
            self._censored.add(piece for prefix, tail in rows for piece in (head, prefix, tail, who))
            self.counts["censored_rows"] += len(counts)
            return
        self._training.add(piece for prefix, tail in rows for piece in (head, prefix, tail, b"}\n"))
        split = split_of(prompt.plain, shares=options.shares, seed=options.split_seed)
        if split in self._splits:
            self._splits[split].add(piece for prefix, tail in rows for piece in (head, prefix, tail, who))
        entry = Located(
            prompt_id=prompt.id,
            sample=completion.sample,
            split=split,
            first_row=self.counts["training_rows"],
            rows=len(counts),
        )
        self._index.write(_json(entry) + b"\n")
        self.counts["training_rows"] += len(counts)
        self.counts[f"{split}_rows"] += len(counts)

    def close(self) -> None:
        """Write what waits."""
        for file in (self._training, self._censored, *self._splits.values()):
            file.close()


def _escaped(cuts: Cuts) -> tuple[list[int], bytes]:
    """The text as the inside of a JSON string, and where in it each cut is, from the cut at 0 on.

    JSON escapes character by character, so the escaped pieces between the cuts join to the escaped whole.
    """
    chunks = [_json(cuts.text[start:end])[1:-1] for start, end in pairwise([0, *cuts.offsets])]
    return [0, *accumulate(map(len, chunks))], b"".join(chunks)


def refuse_surrogates(prompt: Prompt, completion: Completion) -> None:
    """Raise `DataError` for texts that are not Unicode, which neither a tokenizer nor a file takes."""
    for what, text in (("prompt", prompt.plain), ("answer", completion.text)):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"prompt {prompt.id}, sample {completion.sample}: the {what} holds half of a surrogate pair, which no "
                "file can hold. Remove this outcome or ask again."
            ) from error
