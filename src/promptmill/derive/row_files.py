"""Rows of slices as bytes: `{input_prompt, output_prompt, number_of_output_tokens, remaining_tokens}`, one a line.

An answer is JSON-escaped once, piece by piece between its cuts. A row is its head, a slice of the escaped answer and a
tail, and these three are copied into the file's block: no row is ever built in memory, and nothing is escaped twice.
Censored and split rows carry `prompt_id` and `sample` behind the four keys.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import IO

import msgspec

from promptmill.derive.blocks import BlockFile
from promptmill.derive.slices import Cuts, SliceOptions, ends_by_itself, points
from promptmill.errors import DataError
from promptmill.records import Completion, Prompt, split_of

_json = msgspec.json.encode


class RowFiles:
    """The row files of one stage.

    Attributes:
        counts: rows written to each file, and the bytes of the longest row.
    """

    def __init__(self, *, training: IO[bytes], censored: IO[bytes], splits: dict[str, IO[bytes]]) -> None:
        self.counts = dict.fromkeys(("training_rows", "censored_rows", *(f"{split}_rows" for split in splits)), 0)
        self.counts["longest_row"] = 0
        self._training = BlockFile(training)
        self._censored = BlockFile(censored)
        self._splits = {split: BlockFile(file) for split, file in splits.items()}

    def add(self, prompt: Prompt, completion: Completion, cuts: Cuts, options: SliceOptions) -> None:
        """Write the rows of one completion."""
        counts = points(cuts.total, step=options.step, zero_row=options.zero_row)
        if not counts:
            return
        ends, buffer = _escaped(cuts, prompt, completion)
        view = memoryview(buffer)
        ends = ends if options.zero_row else ends[1:]
        head = b'{"input_prompt":' + _json(prompt.plain) + b',"output_prompt":"'
        who = b',"prompt_id":%s,"sample":%d}\n' % (_json(prompt.id), completion.sample)
        whole = ends_by_itself(completion)
        form = b'","number_of_output_tokens":%d,"remaining_tokens' + (b'":%d' if whole else b'_at_least":%d')
        tails = [form % (count, cuts.total - count) for count in counts]
        named = [piece for end, tail in zip(ends, tails, strict=True) for piece in (head, view[:end], tail + who)]
        longest = len(head) + len(buffer) + len(tails[-1]) + len(who)
        self.counts["longest_row"] = max(self.counts["longest_row"], longest)
        if not whole:
            self._censored.add(named)
            self.counts["censored_rows"] += len(counts)
            return
        self._training.add(
            [piece for end, tail in zip(ends, tails, strict=True) for piece in (head, view[:end], tail + b"}\n")]
        )
        split = split_of(prompt.id, shares=options.shares, seed=options.split_seed)
        self._splits[split].add(named)
        self.counts["training_rows"] += len(counts)
        self.counts[f"{split}_rows"] += len(counts)

    def close(self) -> None:
        """Write what waits."""
        for file in (self._training, self._censored, *self._splits.values()):
            file.close()


def _escaped(cuts: Cuts, prompt: Prompt, completion: Completion) -> tuple[list[int], bytes]:
    """The text as the inside of a JSON string, and where in it each cut is, from the cut at 0 on.

    JSON escapes character by character, so the escaped pieces between the cuts join to the escaped whole.
    """
    text = cuts.text
    try:
        chunks = [_json(text[start:end])[1:-1] for start, end in pairwise([0, *cuts.offsets])]
    except UnicodeEncodeError as error:
        raise _surrogate(prompt, completion) from error
    return [0, *accumulate(map(len, chunks))], b"".join(chunks)


def refuse_surrogates(text: str, prompt: Prompt, completion: Completion) -> None:
    """Raise `DataError` for a text that is not Unicode, which neither a tokenizer nor a file takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _surrogate(prompt, completion) from error


def _surrogate(prompt: Prompt, completion: Completion) -> DataError:
    return DataError(
        f"prompt {prompt.id}, sample {completion.sample}: the answer holds half of a surrogate pair, which no file can "
        "hold. Remove this outcome or ask again."
    )
