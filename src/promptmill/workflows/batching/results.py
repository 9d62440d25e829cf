"""Result files of batches -> outcomes in the parts of a run, merged by `custom_id` in whatever order they come.

A file is read twice: once to learn where each request's line is (the lines themselves stay on the disk), and, part by
part, to turn each line into the outcome that the live endpoint would have made of it. A line of another run refuses the
whole file before anything is kept. Anything else that is odd (no JSON, there twice, nobody asked) is counted and left.

Not covered: fetching the files (see `collecting`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from promptmill.endpoints.batches import ResultLine
from promptmill.endpoints.openai import OpenAI
from promptmill.errors import DataError, EndpointError, Timeout
from promptmill.generate.index import is_lasting
from promptmill.generate.journal import Journal
from promptmill.generate.parts import Part
from promptmill.generate.store import Store
from promptmill.io.jsonl import UNREADABLE
from promptmill.records import Completion, Failure, Outcome, Request
from promptmill.run import Run
from promptmill.workflows.asking import Asking, parts_of
from promptmill.workflows.batching.ledger import Ledger, parse_custom_id

_decode = msgspec.json.Decoder(ResultLine).decode


class Asked(NamedTuple):
    """One request of a part.

    Attributes:
        request: what is asked.
        last: what became of it so far.
        is_open: whether it is still to be asked.
    """

    request: Request
    last: Outcome | None
    is_open: bool


def iter_parts(run: Run, asking: Asking) -> Iterator[tuple[Part, list[Asked]]]:
    """Yield each part with its requests in order; what asks the same is there once a part."""
    for part in parts_of(run, asking):
        journal = Journal(part.outcomes)
        journal.load()
        outcomes, settled = journal.read(), journal.settled(retry_refused=part.retry_refused)
        asked: dict[str, Asked] = {}
        for prompt in part.read_prompts():
            for request in asking.requests(prompt):
                key = request.key
                asked.setdefault(key, Asked(request, outcomes.get(key), key not in settled))
        yield part, list(asked.values())


def keep(part: Part, asked: Sequence[Asked], outcomes: dict[str, Outcome]) -> None:
    """Append outcomes to a part's journal, on the disk when this returns; commit the part when it is complete."""
    journal = Journal(part.outcomes)
    journal.load()
    try:
        for outcome in outcomes.values():
            journal.append(outcome)
    finally:
        journal.close()
    last = [outcomes.get(each.request.key, each.last) for each in asked]
    if all(outcome is not None and is_lasting(outcome) for outcome in last):
        by_prompt: dict[str, list[str]] = {}
        for each in asked:
            by_prompt.setdefault(each.request.prompt_id, []).append(each.request.key)
        journal.commit(list(by_prompt.values()), plan=part.plan)


class _Spot(NamedTuple):
    """Where a line is."""

    file: int
    offset: int
    is_good: bool


class Results:
    """The lines of result files, found by key.

    Attributes:
        counts: lines that are odd: `broken` (no JSON), `doubled`, `unknown` (nobody asked).
    """

    def __init__(self, paths: Sequence[Path], ledger: Ledger) -> None:
        """Read the files once.

        Raises:
            DataError: a file cannot be read, or a line of it belongs to another run.
        """
        self._paths = paths
        self._spots: dict[bytes, _Spot] = {}
        self.counts = dict.fromkeys(("broken", "doubled", "unknown"), 0)
        for number, path in enumerate(paths):
            offset = 0
            with _opened(path) as file:
                for at, line in enumerate(file, 1):
                    if not line.isspace():
                        self._take(line, _Spot(number, offset, is_good=False), f"{path}:{at}", ledger)
                    offset += len(line)

    def __contains__(self, key: bytes) -> bool:
        return key in self._spots

    def __len__(self) -> int:
        return len(self._spots)

    def _take(self, text: bytes, spot: _Spot, where: str, ledger: Ledger) -> None:
        try:
            line = _decode(text)
        except UNREADABLE:
            self.counts["broken"] += 1
            return
        named = parse_custom_id(line.custom_id)
        if named is None:
            self.counts["unknown"] += 1
            return
        run, key = named[0], bytes.fromhex(named[1])
        if run != ledger.run:
            raise DataError(
                f"{where}: answers a request of the run '{run}', and this is the run '{ledger.run}'. Nothing was kept. "
                "Collect it with the folder of that run (batch/ledger.json names it)."
            )
        known = self._spots.get(key)
        self.counts["doubled"] += known is not None
        if known is None or (line.is_good and not known.is_good):
            self._spots[key] = spot._replace(is_good=line.is_good)

    def iter_found(self, asked: Sequence[Asked]) -> Iterator[tuple[Asked, ResultLine]]:
        """Yield each request that has a line, with it."""
        with ExitStack() as stack:
            files: dict[int, IO[bytes]] = {}
            for each in asked:
                spot = self._spots.get(bytes.fromhex(each.request.key))
                if spot is None:
                    continue
                if spot.file not in files:
                    files[spot.file] = stack.enter_context(_opened(self._paths[spot.file]))
                files[spot.file].seek(spot.offset)
                yield each, _decode(files[spot.file].readline())


def merge(
    run: Run, asking: Asking, results: Results, endpoint: OpenAI, *, store: Store | None = None
) -> dict[str, int]:
    """Keep what the results settle, in the store too if there is one, and count what became of each line.

    Returns:
        `answers`, `refused`, `again` (failures that are asked again), `already` (settled before), `unsent` (the batch
        was cancelled before their turn) and the counts of `results`.

    Raises:
        RunError: a journal cannot be written.
    """
    counts = dict.fromkeys(("answers", "refused", "again", "already", "unsent"), 0) | results.counts
    met: set[str] = set()
    begun = False
    for part, asked in iter_parts(run, asking):
        outcomes: dict[str, Outcome] = {}
        for each, line in results.iter_found(asked):
            outcome = _outcome(each, line, endpoint) if each.is_open else None
            word = _word(each, line, outcome)
            counts[word] += each.request.key not in met  # two parts may ask the same
            met.add(each.request.key)
            if outcome is not None and word != "already":
                outcomes[outcome.key] = outcome
        if outcomes:
            if not begun:
                run.begin("generate")
            begun = True
            keep(part, asked, outcomes)
            if store is not None and store.can_write:
                store.put(each for each in outcomes.values() if isinstance(each, Completion))
    counts["unknown"] += len(results) - len(met)
    return counts


def _outcome(each: Asked, line: ResultLine, endpoint: OpenAI) -> Outcome | None:
    """What the live endpoint would have made of a line; None if its turn never came."""
    if line.ending == "cancelled":
        return None
    request = each.request
    attempts = 1 + (each.last.attempts if isinstance(each.last, Failure) else 0)
    limit = request.sampling.max_tokens
    assert isinstance(limit, int)
    try:
        if line.ending == "expired":
            raise Timeout(f"{endpoint.link.shown}: the batch expired before the turn of this request came.")
        completion = endpoint.read_answer(request, line.reply(), max_tokens=limit)
    except EndpointError as error:
        return Failure(
            key=request.key,
            prompt_id=request.prompt_id,
            model=request.model,
            sample=request.sample,
            kind=error.kind,
            detail=f"{error} (batch line {line.id})" if line.id else str(error),
            attempts=attempts,
        )
    return msgspec.structs.replace(completion, attempts=attempts)


def _word(each: Asked, line: ResultLine, outcome: Outcome | None) -> str:
    """What a line is counted as."""
    if not each.is_open:
        return "already"
    if outcome is None:
        return "unsent" if line.ending == "cancelled" else "already"
    if isinstance(outcome, Completion):
        return "answers"
    if isinstance(each.last, Failure) and each.last.detail == outcome.detail:
        return "already"  # the same line again, after a crash between keeping it and saying so
    return "refused" if is_lasting(outcome) else "again"


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Check the path (working folder: {Path.cwd()}).") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}. Name the result file.") from error
