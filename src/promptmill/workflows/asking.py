"""The stage `generate` that every workflow shares: requests -> outcomes, and how stored outcomes are read again.

A workflow says who is asked what (`Asking`); `ask` sends what is not answered yet; `iter_outcomes` gives everything in
the order of the prompts. Nothing here knows what is derived.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from promptmill import registry
from promptmill.config import Use
from promptmill.errors import BudgetReached, ConfigError, RunError
from promptmill.generate.budget import Budget, Spent
from promptmill.generate.control import clear_control
from promptmill.generate.journal import Journal
from promptmill.generate.lanes import Lanes
from promptmill.generate.parts import Part, commit_settled, count_part
from promptmill.generate.parts import take_over as take_over_parts
from promptmill.generate.reuse import Earlier, Reuse
from promptmill.generate.status import Progress
from promptmill.generate.store import Store
from promptmill.generate.window import Window
from promptmill.io.jsonl import iter_jsonl
from promptmill.prompts.problems import Templates, in_words
from promptmill.prompts.requests import requests as requests_of
from promptmill.records import Outcome, Prompt, Request, Sampling, content_id
from promptmill.run import Run
from promptmill.workflows import stages
from promptmill.workflows.counting import count_outcomes
from promptmill.workflows.options import GenerateOptions
from promptmill.workflows.servers import endpoints_of, lanes_of, running_endpoints
from promptmill.workflows.stages import Reporter
from promptmill.workflows.steering import Steering

REACHED = "reached"  # in the manifest: most requests that were in flight, for estimates of time


class Asking(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Who is asked what: the `generate:` and `serve:` sections with the model's name settled.

    Attributes:
        options: the `generate:` section.
        serve: the `serve:` section, if there is one.
        model: the name the server knows the model by.
        limit: ask only the first so many prompts.
        only: ask only the prompts with these ids.
        section: where the recipe says it, for messages.
        further: samples beyond k, by part and prompt id, where earlier ones were of no use (`attempts`).
    """

    options: GenerateOptions
    serve: Use | None
    model: str
    limit: int | None = None
    only: frozenset[str] | None = None
    section: str = "generate"
    further: dict[str, dict[str, int]] = {}

    def identity(self) -> dict[str, Any]:
        """What the text of the answers depends on; more samples or other servers do not change what is there."""
        o = self.options
        return {
            "model": self.model,
            "protocol": o.protocol,
            "template": o.template,
            "system": o.system,
            "sampling": msgspec.to_builtins(o.sampling),
            **({} if self._templates is None else {"templates": self._templates}),
        }

    def plan(self, run: Run, part: str = "") -> str:
        """The id of everything that is asked of a part: if it was committed under it, it need not be read again."""
        more = self.further.get(part)
        found = content_id([run.fingerprint("prompts"), self.identity(), self.options.k])
        return f"{found} further {content_id(more)}" if more else found

    def requests(self, prompt: Prompt) -> Iterator[Request]:
        """The requests of one prompt."""
        if self.only is not None and prompt.id not in self.only:
            return iter(())
        return self.samples(prompt, self.options.k + self._more.get(prompt.id, 0))

    def samples(self, prompt: Prompt, count: int) -> Iterator[Request]:
        """The requests for the first `count` samples of a prompt, whoever is asked."""
        o = self.options
        return requests_of(
            prompt if self._templates is None else in_words(prompt, self._templates),
            model=self.model,
            k=count,
            protocol=o.protocol,
            sampling=self._sampling,
            template=o.template,
            system=o.system,
        )

    @cached_property
    def _more(self) -> dict[str, int]:
        return {prompt: n for part in self.further.values() for prompt, n in part.items()}

    @cached_property
    def _templates(self) -> Templates | None:
        return self.options.load_templates()

    @cached_property
    def _sampling(self) -> Sampling:
        return self.options.sampling.record()

    def check(self) -> None:
        """Raise a ConfigError if nobody can be asked."""
        if self.serve is None:
            endpoints_of(self.options)


def asking(
    options: GenerateOptions, serve_use: Use | None, *, limit: int | None = None, known: str | None = None
) -> Asking:
    """Settle the model's name: the recipe's, else `known`, else the one that its server will serve.

    Raises:
        ConfigError: there is neither.
    """
    model = options.model if options.model is not None else known
    if model is None and serve_use is not None:
        model = registry.build("servers", serve_use).model
    if model is None:
        raise ConfigError("generate.model: is missing. Name the model as the server knows it (--model NAME).")
    return Asking(options=options, serve=serve_use, model=model, limit=limit)


def parts_of(run: Run, asking: Asking | None = None) -> list[Part]:
    """The parts of a run: the prompt files that stand, and where their outcomes go.

    Raises:
        RunError: there are no prompts yet.
    """
    found = stages.prompt_files(run)
    if not run.is_finished("prompts") or not found:
        raise RunError(f"{run.path / 'prompts'}: no prompts are here yet. Run the stage 'prompts' first.")
    outcomes = run.folder("generate")
    if asking is None:
        return [Part(path, outcomes / path.name) for path in found]
    parts = []
    limit = asking.limit
    for path in found:
        if limit is not None and limit <= 0:
            break
        rows = None if limit is None else sum(1 for _ in iter_jsonl(path, msgspec.Raw))
        plan = asking.plan(run, path.name)
        whole = limit is None or (rows is not None and rows <= limit)
        parts.append(
            Part(
                path,
                outcomes / path.name,
                None if whole else limit,
                asking.options.retry_refused,
                plan if whole else f"{plan} first {limit}",
            )
        )
        if limit is not None and rows is not None:
            limit -= rows
    return parts


class Open(msgspec.Struct, frozen=True):
    """How much there is to ask: requests of the plan, those still to be sent, and what was charged so far."""

    total: int
    left: int
    tokens: int
    cost: float


def count_open(asking: Asking, parts: list[Part]) -> Open:
    """Count the requests; parts that are done are counted from their summaries."""
    counts = [count_part(part, asking.requests) for part in parts]
    return Open(*(sum(column) for column in zip(*counts, strict=True))) if counts else Open(0, 0, 0, 0.0)


def ask(
    run: Run,
    asking: Asking,
    *,
    reporter: Reporter,
    parts: list[Part] | None = None,
    only: set[str] | None = None,
) -> dict[str, Any]:
    """Stage `generate`: ask the model everything that is not answered yet; return the counts.

    A cap of the recipe that is reached ends it early: the counts then say so under `stopped`.

    Args:
        run: the open run.
        asking: who is asked what.
        reporter: is told what happens.
        parts: parts of the run, all unless given.
        only: ids of the prompts to ask, all unless given.

    Raises:
        EndpointError: a server is unreachable or gone.
        RunError: requests of this run wait in batch files.
        KeyboardInterrupt: stopped; the folder is resumable.
    """
    whole = parts is None
    parts = parts_of(run, asking) if parts is None else parts
    asking = asking if only is None else replace(asking, only=frozenset(only))
    found = count_open(asking, parts)
    if found.left and asking.serve is not None:  # starting a server is dear: perhaps none is needed
        take_over(run, asking, parts, reporter=reporter)
        found = count_open(asking, parts)
    stopped = None
    if found.left == 0:
        reporter.line(f"generate: all {found.total} requests are answered from the run folder, nothing is sent.")
        commit_settled(parts, asking.requests)
    else:
        _refuse_twice(run)
        asking.check()
        rest = "; the rest is answered, or asks the same." if found.left < found.total else "."
        reporter.line(f"generate: {found.left} of {found.total} requests to send{rest}")
        run.begin("generate")
        try:
            _ask(run, asking, parts, found=found, reporter=reporter)
        except BudgetReached as reached:
            stopped = str(reached)
            reporter.line(f"generate: {stopped}")
    counts = count_outcomes(asking.requests, parts)
    if asking.options.k > 1 and counts["completions"]:
        share = counts["repeated"] / counts["completions"]
        reporter.line(
            f"generate: {counts['repeated']} of {counts['completions']} samples ({share:.1%}) repeat another."
        )
    if stopped is not None and counts["missing"]:
        return {**counts, "stopped": stopped}
    if whole:
        run.finish("generate", counts)
    return counts


def _refuse_twice(run: Run) -> None:
    """Raise if requests of a run wait in batch files: they would be asked, and paid for, twice.

    Raises:
        RunError: says which files, and how to collect or cancel them.
    """
    from promptmill.workflows.batching.ledger import load_ledger  # it is asked through this module: not at the top

    ledger = load_ledger(run.path)
    waiting = ledger.waiting if ledger is not None else []
    if waiting:
        first = f"{waiting[0].name} ({waiting[0].state})" + (f" and {len(waiting) - 1} more" if waiting[1:] else "")
        raise RunError(
            f"{run.path}: {sum(file.lines for file in waiting)} requests wait in batch files: {first}. Collect them "
            f"(promptmill batch collect {run.path}) or cancel them (promptmill batch cancel {run.path}), then go on."
        )


def _ask(run: Run, asking: Asking, parts: list[Part], *, found: Open, reporter: Reporter) -> None:
    options = asking.options
    clear_control(run.path)
    with ExitStack() as stack:
        uses = stack.enter_context(running_endpoints(options, asking.serve, reporter))
        each = lanes_of(uses, options)
        budget = Budget(
            options.budget,
            _spent(run, found),
            prices=(max(lane.price_in for lane in each), max(lane.price_out for lane in each)),
            keep=run.write_spent,
            section=asking.section,
        )
        lanes = Lanes(
            each,
            attempts=options.attempts,
            deadline_s=options.deadline_s,
            patience_s=options.patience_s,
            hedge=options.hedge,
            budget=budget,
            say=lambda text: reporter.line(f"generate: {text}"),
        )
        if options.choices == "separate":
            lanes.choices.ask_alone()
        store = stack.enter_context(open_store(options, reporter))
        progress = Progress(found.total)
        steering = Steering(run, options, lanes=lanes, progress=progress, reporter=reporter)
        window: Window = Window(
            lanes,
            progress,
            pace=steering.pace(),
            beat=steering.beat,
            reuse=reuse_of(run, asking, store),
            keep=partial(store.put, give_up=lambda: window.is_interrupted) if store and store.can_write else None,
        )
        steering.window = window
        remember_asked(run, asking)
        stack.callback(_tell, progress, lanes, found=found, reporter=reporter)
        window.run(parts, asking.requests, model=asking.model)
        run.manifest[REACHED] = steering.reached


def _tell(progress: Progress, lanes: Lanes, *, found: Open, reporter: Reporter) -> None:
    """Say what was taken over and what was used."""
    _tell_taken(progress.reused - (found.total - found.left), reporter)
    spent = lanes.budget.spent
    words = [f"{spent.requests:,} requests", f"{spent.tokens:,} tokens"]
    if any(lane.has_price for lane in lanes.lanes):
        words.append(f"cost {spent.cost:.6g}")
    if spent.uncertain_tokens:
        words.append(f"perhaps {spent.uncertain_tokens:,} tokens more, of requests that broke or did not say")
    reporter.line(f"generate: used by this run so far: {', '.join(words)}.")


def _tell_taken(taken: int, reporter: Reporter) -> None:
    if taken > 0:
        reporter.line(f"generate: {taken} answers are taken over (generate.reuse, generate.store); they cost nothing.")


def _spent(run: Run, found: Open) -> Spent:
    """What earlier sessions used: as they noted it, and no less than what the answers tell."""
    return run.read_spent(Spent).gone_on(found.tokens, found.cost)


@contextmanager
def open_store(options: GenerateOptions, reporter: Reporter) -> Iterator[Store | None]:
    """The recipe's store, made if it is not there; None if it names none."""
    if options.store is None:
        yield None
        return
    store = Store(Path(options.store))
    try:
        if not store.can_write:
            reporter.line(f"generate: {options.store}: may not be written; the store is read, nothing is added.")
        yield store
    finally:
        store.close()


def take_over(run: Run, asking: Asking, parts: list[Part], *, reporter: Reporter) -> None:
    """Keep what the store and the earlier answers have for open requests, as asking would; asks nobody."""
    with open_store(asking.options, reporter) as store:
        reuse = reuse_of(run, asking, store)
        if reuse is not None and count_open(asking, parts).left:
            run.begin("generate")
            _tell_taken(take_over_parts(parts, asking.requests, reuse), reporter)


def reuse_of(run: Run, asking: Asking, store: Store | None) -> Reuse | None:
    """What the recipe lets be taken over; None if that is nothing."""
    policy = asking.options.reuse
    if policy == "strict" and store is None:
        return None
    earlier = [msgspec.convert(each, Earlier) for each in run.manifest.get("asked", [])]
    return Reuse(policy, earlier, store)


def remember_asked(run: Run, asking: Asking) -> None:
    """Keep in the manifest how the prompts were asked: what another recipe takes over is found by it."""
    today = msgspec.to_builtins(Earlier(sampling=asking.options.sampling.record(), k=asking.options.k))
    known = run.manifest.setdefault("asked", [])
    if today not in known:
        known.append(today)
        run.save_manifest()


def iter_outcomes(asking: Asking, parts: list[Part]) -> Iterator[tuple[int, Prompt, Request, Outcome | None]]:
    """Yield `(prompt index, prompt, request, outcome or None)` in the order of the prompts and samples."""
    index = 0
    for part in parts:
        outcomes = Journal(part.outcomes).read()
        for prompt in part.read_prompts():
            for request in asking.requests(prompt):
                yield index, prompt, request, outcomes.get(request.key)
            index += 1


def outcome_sizes(parts: list[Part]) -> list[list[Any]]:
    """Name and size of every file of outcomes: they change when an answer comes."""
    files = (file for part in parts for file in (part.outcomes, part.outcomes.with_suffix(".journal")))
    return [[file.name, file.stat().st_size] for file in files if file.exists()]


def is_short_of_answers(options: GenerateOptions, made: dict[str, Any] | None) -> bool:
    """Whether more requests of a stage failed than the recipe allows, or a cap ended it: exit code 1."""
    if not made or not made.get("requests"):
        return False
    failed = sum(made["failures"].values()) + made["missing"]
    return "stopped" in made or bool(failed > options.max_failure_share * made["requests"])
