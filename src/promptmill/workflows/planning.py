"""`plan`: what a recipe would send, what it takes over and why not more, and what the rest will cost.

Without a pilot nothing is sent and nothing is written: prompts are selected in a temporary folder, answers are looked
up where they stand. A pilot asks a few prompts for real; its answers are kept in the run folder like any others.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from promptmill.errors import RunError
from promptmill.generate.budget import n_bytes
from promptmill.generate.journal import Journal
from promptmill.generate.lane import parse_price
from promptmill.generate.parts import Part
from promptmill.generate.plan import Estimate, Left, Limit, Observed, Range, choose_pilot, estimate, least_s
from promptmill.generate.reuse import Reuse
from promptmill.generate.store import FILE as STORE_FILE
from promptmill.generate.store import Store
from promptmill.records import Request
from promptmill.run import MANIFEST, Run, open_run, read_manifest, read_status
from promptmill.workflows import stages
from promptmill.workflows.asking import REACHED, Asking, ask, count_open, iter_outcomes, parts_of, reuse_of
from promptmill.workflows.opening import changes_of, foreign, in_words, opened, refuse_folder
from promptmill.workflows.options import GenerateOptions, Recipe
from promptmill.workflows.servers import lane_options, n_lanes
from promptmill.workflows.stages import Reporter

ENOUGH = 2000  # prompts of a run so far that an estimate looks at


class Looked(NamedTuple):
    """A recipe as it would run now.

    Attributes:
        folder: a temporary run with its prompts, and the manifest of the real one.
        parts: its prompts, and the answers of the real one.
        made: the counts of the selection.
        changes: what differs from the recipe that the answers were made by.
    """

    folder: Run
    parts: list[Part]
    made: dict[str, Any]
    changes: list[str]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe would do.

    Attributes:
        prompts: rows.
        requests: prompts x samples.
        to_send: requests that are not answered yet; several samples may travel in one.
        reused: requests that are answered, by where the answer is from.
        why: requests that are to be sent, by the reason why no answer is reused.
        changes: what differs from the recipe that the answers in the folder were made by.
        refused: with what line a run into this folder would end at once; None if it would not.
        later: who else is asked once the answers are there, and is not counted here; None if nobody is.
        basis: what the estimate rests on.
        estimate: of what is still to be sent; None if nothing is known.
    """

    prompts: int
    requests: int
    to_send: int
    reused: dict[str, int]
    why: dict[str, int]
    changes: list[str]
    refused: str | None
    later: str | None
    basis: str
    estimate: Estimate | None


@contextmanager
def looking(recipe: Recipe, asking: Asking, out: Path) -> Iterator[Looked]:
    """Select the prompts in a temporary folder and find their answers in `out`; keeps nothing."""
    steps = stages.steps_of(recipe.source, recipe.select)
    with (
        tempfile.TemporaryDirectory(prefix="promptmill-plan-") as temporary,
        open_run(Path(temporary) / "run", workflow=recipe.workflow, seeds={}) as folder,
    ):
        folder.identify("prompts", stages.source_identity(recipe.source, steps, rows_per_part=recipe.rows_per_part))
        folder.identify("generate", asking.identity())
        changes: list[str] = []
        if (out / MANIFEST).exists():
            known = read_manifest(out)
            folder.manifest["stages"] = dict(known["stages"])
            changes = changes_of(folder)
            folder.manifest["stages"].clear()
            folder.manifest["asked"] = known.get("asked", [])
        made = stages.make_prompts(
            folder, recipe.source, steps, rows_per_part=recipe.rows_per_part, reporter=stages.Silent()
        )
        parts = [part._replace(outcomes=out / "generate" / part.prompts.name) for part in parts_of(folder, asking)]
        yield Looked(folder, parts, made, changes)


def preview(recipe: Recipe, asking: Asking, out: Path) -> tuple[list[str], list[str], int]:
    """What `--dry-run` shows of the first two stages.

    Returns:
        Lines for people, the first three requests as JSON texts, and how many requests there are.
    """
    with looking(recipe, asking, out) as looked:
        refuse_folder(recipe, looked.changes, out)
        found = count_open(asking, looked.parts)
        first = islice((request for _, _, request, _ in iter_outcomes(asking, looked.parts)), 3)
        shown = [msgspec.json.format(msgspec.json.encode(request), indent=2).decode() for request in first]
    made = looked.made
    lines = [
        f"prompts: {step['step']}: {step['in']} -> {step['out']} {step['dropped'] or ''}" for step in made["steps"]
    ]
    lines += [f"prompts: {made['kept']} rows", f"generate: {found.total} requests, {found.left} still to send"]
    return lines, shown, found.total


def make_plan(recipe: Recipe, asking: Asking, out: Path, *, basis: str = "the answers so far") -> Plan:
    """Look what would be sent, why, and what it would cost."""
    with looking(recipe, asking, out) as looked:
        count = Counter[str]()
        why: Counter[str] = Counter()
        reused: Counter[str] = Counter()
        left: list[Left] = []
        seen: list[Observed] = []
        store = _store(asking.options)
        try:
            reuse = reuse_of(looked.folder, asking, store)
            for part in looked.parts:
                _look_at(part, asking, reuse, count=count, why=why, reused=reused, left=left, seen=seen)
        finally:
            if store is not None:
                store.close()
        if foreign(looked.changes, asking.options) and why["never asked"]:
            n_answers = sum(1 for part in looked.parts for _ in Journal(part.outcomes))
            if n_answers:
                why[f"not asked by this recipe: the {n_answers:,} answers in {out} are another's"] = why.pop(
                    "never asked"
                )
        return Plan(
            prompts=count["prompts"],
            requests=count["requests"],
            to_send=sum(why.values()),
            reused=dict(reused),
            why={reason: n for reason, n in why.items() if n},
            changes=[in_words(change) for change in looked.changes],
            refused=_refusal(recipe, looked.changes, out),
            later=recipe.later,
            basis=f"{basis}: {len(seen)} prompts"
            if seen
            else "nothing: none of these very requests is answered yet (--pilot 20 asks some)",
            estimate=_estimate(asking, seen, left, out, n_sends=_sends(count, left)) if seen and left else None,
        )


def _refusal(recipe: Recipe, changes: list[str], out: Path) -> str | None:
    try:
        refuse_folder(recipe, changes, out)
    except RunError as error:
        return str(error)
    return None


def _look_at(
    part: Part,
    asking: Asking,
    reuse: Reuse | None,
    *,
    count: Counter[str],
    why: Counter[str],
    reused: Counter[str],
    left: list[Left],
    seen: list[Observed],
) -> None:
    """Tally one part."""
    journal = Journal(part.outcomes)
    journal.load()
    settled = journal.settled(retry_refused=part.retry_refused)
    asked: set[str] = set()
    for prompt in part.read_prompts():
        requests = list(asking.requests(prompt))
        count["prompts"] += 1
        count["requests"] += len(requests)
        missing = [r for r in requests if r.key not in settled and r.key not in asked]
        reused["equal to another prompt of its part"] += sum(r.key in asked for r in requests)
        reused["answered in this folder"] += sum(r.key in settled and r.key not in asked for r in requests)
        asked.update(r.key for r in requests)
        answered = [request.key for request in requests if request.key in settled]
        taken = reuse.take_over([missing], journal, [answered]) if reuse is not None and missing else []
        reused["taken over"] += len(taken)
        open_ = [request for request in missing if request.key not in {completion.key for completion in taken}]
        for request in open_:
            why[_reason(request, journal, reuse)] += 1
        row, together = _observed(requests, journal)
        count["open"] += len(open_)
        count["together"] += together
        if open_:
            share = len(open_) / len(requests)
            left.append(Left(n_bytes(open_[0]), 1.0 if together else share, share))
        if row is not None and len(seen) < ENOUGH:
            seen.append(row)


def _reason(request: Request, journal: Journal, reuse: Reuse | None) -> str:
    mark = journal.marks.get(request.key)
    if mark is not None:
        return f"failed before ({mark.kind})"
    if reuse is not None and any(key in journal.marks for key in reuse.others(request)):
        return "answered under another max_tokens or seed, but truncated or too long"
    return "never asked"


def _observed(requests: list[Request], journal: Journal) -> tuple[Observed | None, bool]:
    """What a prompt was charged, scaled to all its samples, and whether they travel in one request.

    None where no answer tells, and where one was taken over by the policy `complete`: only those that are short are.
    """
    found = journal.at(dict.fromkeys(request.key for request in requests)).values()
    told = [(each, usage) for each in found if (usage := each.billed or each.usage) is not None]
    together = any(each.choices > 1 for each, _ in told)
    if not told or any(each.reused_from not in (None, each.key) for each in found):
        return None, together
    scale = len({request.key for request in requests}) / len(told)
    observed = Observed(
        n_bytes(requests[0]),
        round(sum(usage.prompt_tokens for _, usage in told) * (1.0 if together else scale)),
        round(sum(usage.completion_tokens for _, usage in told) * scale),
        sum(each.latency_s / each.choices for each, _ in told) * scale,
    )
    return observed, together


def _store(options: GenerateOptions) -> Store | None:
    """The recipe's store if it is there: planning makes none."""
    if options.store is None or not (Path(options.store) / STORE_FILE).exists():
        return None
    return Store(Path(options.store))


def _prices(asking: Asking) -> tuple[float, float] | None:
    """Money per prompt token and per new token, over the lanes by their weights; None if one has no price."""
    uses = asking.options.endpoints
    if asking.serve is not None or not uses:
        return None
    lanes = [lane_options(use) for use in uses]
    weights = [lane.weight * n_lanes(use) for lane, use in zip(lanes, uses, strict=True)]
    price_in = price_out = 0.0
    for lane, weight in zip(lanes, weights, strict=True):
        if lane.price_in is None or lane.price_out is None:
            return None
        price_in += parse_price(lane.price_in, "price_in") * weight / sum(weights)
        price_out += parse_price(lane.price_out, "price_out") * weight / sum(weights)
    return price_in, price_out


def _sends(count: Counter[str], left: list[Left]) -> int:
    """How many requests are to be sent: one a prompt where its samples were seen to travel together."""
    return len(left) if count["together"] else count["open"]


def _limits(asking: Asking) -> list[Limit]:
    """What each lane may be asked in a minute, by the recipe."""
    uses = [] if asking.serve is not None else asking.options.endpoints
    return [Limit(each.rpm, each.tpm) for use in uses for each in [lane_options(use)] * n_lanes(use)]


def _estimate(asking: Asking, seen: list[Observed], left: list[Left], out: Path, *, n_sends: int) -> Estimate:
    """The time: as many in flight as so far; at best the servers do as much for as many as the recipe allows.

    And no less than the limits per minute allow.
    """
    o = asking.options
    most = o.concurrency if isinstance(o.concurrency, int) else o.max_concurrency
    n_open = sum(each.share for each in left) * o.k
    so_far = min(_reached(out) or most, n_open)
    found = estimate(seen, left, prices=_prices(asking), in_flight=so_far)
    fastest = max(1.0, so_far) / max(1.0, so_far, min(most, n_open))
    limits, tokens_in, tokens_out = _limits(asking), found.prompt_tokens, found.new_tokens
    least = Range(
        least_s(n_sends, tokens_in.low + tokens_out.low, limits),
        least_s(n_sends, tokens_in.mid + tokens_out.mid, limits),
        least_s(n_sends, tokens_in.high + tokens_out.high, limits),
    )
    return replace(found, time_s=replace(found.time_s, low=found.time_s.low * fastest).at_least(least))


def _reached(out: Path) -> int | None:
    """Most requests that were in flight in this folder so far."""
    known = read_manifest(out) if (out / MANIFEST).exists() else {}
    return (read_status(out) or {}).get(REACHED) or known.get(REACHED)


def run_pilot(recipe: Recipe, asking: Asking, out: Path, *, count: int, reporter: Reporter) -> None:
    """Ask a few prompts of every size for real. Their answers are kept in the run folder like any others.

    Raises:
        RunError: the folder holds answers of another recipe.
        EndpointError: a server is unreachable or gone.
    """
    asking.check()
    steps = stages.steps_of(recipe.source, recipe.select)
    with opened(recipe, asking, out, only=("prompts", "generate")) as run:
        stages.make_prompts(run, recipe.source, steps, rows_per_part=recipe.rows_per_part, reporter=reporter)
        parts = parts_of(run, asking)
        sizes = [len(prompt.plain.encode()) for part in parts for prompt in part.read_prompts()]
        chosen = set(choose_pilot(sizes, count, seed=0))
        position, ids, with_pilot = 0, set[str](), []
        for part in parts:
            everyone = [prompt.id for prompt in part.read_prompts()]
            here = {each for at, each in enumerate(everyone, position) if at in chosen}
            position += len(everyone)
            ids |= here
            if here:
                with_pilot.append(part._replace(plan=f"{part.plan} pilot {count}"))
        ask(run, asking, reporter=reporter, parts=with_pilot, only=ids)
