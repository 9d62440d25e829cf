"""Further samples of a problem where some of its answers were of no use.

A problem wants k answers that can be used. When all requests of an attempt are settled and j of its answers are of no
use, the next attempt asks for j further samples, under sample numbers that were not used before, up to `max_attempts`.
How many there are follows from the stored outcomes alone, so a run that was killed knows it again. A request that
failed for a reason that may pass keeps its attempt open, and one that was refused is not asked in another way.

`attempts.json` remembers the result for parts that did not change since, so that their answers need not be read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from promptmill.generate.index import is_lasting
from promptmill.generate.journal import Journal
from promptmill.generate.parts import Part
from promptmill.io.jsonl import UNREADABLE, atomic
from promptmill.records import Completion, Outcome, Prompt, content_id
from promptmill.run import Run
from promptmill.workflows.asking import Asking, outcome_sizes, parts_of

FILE = "attempts.json"
Usable = Callable[[Prompt, Completion], bool]


class Remembered(msgspec.Struct, frozen=True):
    """What is known of one part.

    Attributes:
        made_of: what it follows from: the rule, and the sizes of the files of outcomes.
        further: samples beyond k, by prompt id.
    """

    made_of: str
    further: dict[str, int]


def further(run: Run, asking: Asking, usable: Usable, *, max_attempts: int, rule: str) -> Asking:
    """The same with the further samples that the stored answers call for.

    Args:
        run: the open run, with its prompts.
        asking: who is asked what.
        usable: whether an answer can be used.
        max_attempts: how often a problem is asked at most.
        rule: an id of what `usable` does.
    """
    first = replace(asking, further={})
    if max_attempts == 1:
        return first
    known = _read(run.path)
    found: dict[str, Remembered] = {}
    for part in parts_of(run, first):
        made_of = content_id([asking.plan(run), part.limit, max_attempts, rule, outcome_sizes([part])])
        memory = known.get(part.prompts.name)
        if memory is None or memory.made_of != made_of:
            memory = Remembered(made_of, _of_part(part, first, usable, max_attempts))
        found[part.prompts.name] = memory
    if found != known:
        with atomic(run.path / FILE) as file:
            file.write(msgspec.json.encode(found))
    return replace(asking, further={name: memory.further for name, memory in found.items() if memory.further})


def remembered(out: Path) -> dict[str, dict[str, int]]:
    """The further samples of a run as they were last found, by part and prompt id."""
    return {name: memory.further for name, memory in _read(out).items() if memory.further}


def _read(out: Path) -> dict[str, Remembered]:
    try:
        return msgspec.json.decode((out / FILE).read_bytes(), type=dict[str, Remembered])
    except (FileNotFoundError, *UNREADABLE):  # it is found anew from the answers
        return {}


def _of_part(part: Part, asking: Asking, usable: Usable, max_attempts: int) -> dict[str, int]:
    outcomes = Journal(part.outcomes).read()
    if not outcomes:
        return {}
    counts = {
        prompt.id: _beyond(prompt, asking, outcomes, usable=usable, max_attempts=max_attempts)
        for prompt in part.read_prompts()
    }
    return {prompt: count for prompt, count in counts.items() if count}


def _beyond(
    prompt: Prompt, asking: Asking, outcomes: Mapping[str, Outcome], *, usable: Usable, max_attempts: int
) -> int:
    """How many samples beyond k a prompt is asked for."""
    k = asking.options.k
    begin, end = 0, k
    for _ in range(max_attempts - 1):
        found = [outcomes.get(request.key) for request in asking.samples(prompt, end)][begin:]
        if any(outcome is None or not is_lasting(outcome) for outcome in found):
            break
        useless = sum(isinstance(outcome, Completion) and not usable(prompt, outcome) for outcome in found)
        if not useless:
            break
        begin, end = end, end + useless
    return end - k


def chosen(prompt: Prompt, outcomes: Iterable[Outcome | None], usable: Usable, *, k: int) -> list[Completion]:
    """The k answers of a problem that count: those that can be used first, then others, each by sample number."""
    found = [outcome for outcome in outcomes if isinstance(outcome, Completion)]
    good = [completion for completion in found if usable(prompt, completion)][:k]
    rest = [completion for completion in found if completion not in good][: k - len(good)]
    return sorted((*good, *rest), key=lambda completion: completion.sample)
